#include "windows/provider/com/os.h"

#include <stdio.h>

#include <shlobj.h>

#include "windows/provider/com/ids.h"
#include "windows/provider/com/trace.h"
#include "windows/provider/com/transport.h"

struct windows {
    struct provider_os os;
    struct transport nobody; /* the transport of a host that is not enrolled */
    struct provider_config config;
    struct provider provider;
    CRITICAL_SECTION section, telling;
};

static struct windows windows;

static void *co_alloc(size_t size_bytes)
{
    return CoTaskMemAlloc(size_bytes);
}

static void co_free(void *memory)
{
    CoTaskMemFree(memory);
}

static void enter(struct provider_os *os)
{
    EnterCriticalSection(&windows.section);
}

static void leave(struct provider_os *os)
{
    LeaveCriticalSection(&windows.section);
}

static void enter_telling(struct provider_os *os)
{
    EnterCriticalSection(&windows.telling);
}

static void leave_telling(struct provider_os *os)
{
    LeaveCriticalSection(&windows.telling);
}

static uint64_t now_ms(struct provider_os *os)
{
    return GetTickCount64();
}

/* By its number and inserts: the text is in the message DLL. */
static void report_event(struct provider_os *os, const struct event *event)
{
    static const WORD types[] = {[EVENT_INFO] = EVENTLOG_INFORMATION_TYPE,
                                 [EVENT_WARNING] = EVENTLOG_WARNING_TYPE,
                                 [EVENT_ERROR] = EVENTLOG_ERROR_TYPE};
    const struct event_kind *kind = event_kind(event->id);
    wchar_t wide[EVENT_INSERTS_MAX][EVENT_INSERT_SIZE];
    const wchar_t *strings[EVENT_INSERTS_MAX];
    char text[EVENT_TEXT_SIZE];
    event_text(event, text);
    trace_text(text);
    for (unsigned i = 0; i < kind->insert_count; i++) {
        /* One that was cut off within a character is told without it. */
        if (!MultiByteToWideChar(CP_UTF8, 0, event->inserts[i], -1, wide[i], EVENT_INSERT_SIZE))
            wide[i][0] = L'\0';
        strings[i] = wide[i];
    }
    HANDLE source = RegisterEventSourceW(NULL, TARN_EVENT_SOURCE);
    if (!source) return;
    ReportEventW(source, types[kind->severity], 0, event_message_id(kind), NULL,
                 (WORD)kind->insert_count, 0, strings, NULL);
    DeregisterEventSource(source);
}

/* ---- A client Windows ------------------------------------------------------------------------ */

bool os_is_client_windows(void)
{
    wchar_t type[32];
    DWORD size = sizeof type;
    return RegGetValueW(HKEY_LOCAL_MACHINE, L"SYSTEM\\CurrentControlSet\\Control\\ProductOptions",
                        L"ProductType", RRF_RT_REG_SZ, NULL, type, &size) == ERROR_SUCCESS &&
           wcscmp(type, L"WinNT") == 0;
}

static void tell(enum event_id id)
{
    struct event event;
    event_init(&event, id, (const char *const[EVENT_INSERTS_MAX]){NULL});
    report_event(&windows.os, &event);
}

void os_tell_client_windows(void)
{
    tell(EVENT_CLIENT_WINDOWS);
}

/* ---- A host that is not enrolled has no server ----------------------------------------------- */

static void no_exchange(struct transport *t, const struct api_request *request,
                        struct api_reply *ret_reply)
{
    *ret_reply = (struct api_reply){0};
}

static bool no_commit(struct transport *t, const struct api_request *request)
{
    return false;
}

static unsigned no_answer(struct transport *t)
{
    return 0;
}

static void nothing(struct transport *t) {}

/* ProgramData\Tarn\tarn-vss.log.  Not by the environment, which a service may not have. */
static void open_trace(void)
{
    wchar_t path[MAX_PATH + 32];
    if (FAILED(SHGetFolderPathW(NULL, CSIDL_COMMON_APPDATA, NULL, SHGFP_TYPE_CURRENT, path))) {
        trace_init(&windows.provider, NULL);
        return;
    }
    wcscat(path, L"\\Tarn");
    CreateDirectoryW(path, NULL); /* it may be there */
    wcscat(path, L"\\tarn-vss.log");
    trace_init(&windows.provider, path);
}

/* Of the server that this host was enrolled with; enrolling again counts from the next start of the
 * service on. */
static struct transport *enrolled_transport(void)
{
    struct credential credential;
    struct transport *transport = NULL;
    windows.nobody = (struct transport){no_exchange, no_commit, no_answer, nothing, nothing};
    if (credential_load(&credential)) {
        snprintf(windows.config.host, sizeof windows.config.host, "%s", credential.host);
        transport = transport_create(&credential);
        credential_wipe(&credential);
    }
    return transport ? transport : &windows.nobody;
}

struct provider *os_provider(void)
{
    InitializeCriticalSection(&windows.section);
    InitializeCriticalSection(&windows.telling);
    windows.os = (struct provider_os){{co_alloc, co_free}, enter,         leave,        now_ms,
                                      report_event,        enter_telling, leave_telling};
    open_trace();
    struct transport *transport = enrolled_transport();
    provider_init(&windows.provider, &windows.os, transport, &windows.config);
    if (os_is_client_windows())
        os_tell_client_windows(); /* one reason is enough */
    else if (transport == &windows.nobody)
        tell(EVENT_NOT_ENROLLED);
    return &windows.provider;
}
