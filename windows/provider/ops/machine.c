#include "windows/provider/ops/machine.h"

#include <stdlib.h>
#include <string.h>

#include <shlobj.h>

#include "windows/provider/com/event_source.h"
#include "windows/provider/com/transport.h"

/* ---- The registry ---------------------------------------------------------------------------- */

static bool number(struct doctor_os *os, const char *key, const char *name, uint32_t *ret_number)
{
    DWORD value, size = sizeof value;
    if (RegGetValueA(HKEY_LOCAL_MACHINE, key, name, RRF_RT_REG_DWORD, NULL, &value, &size) !=
        ERROR_SUCCESS)
        return false;
    *ret_number = value;
    return true;
}

static bool text(struct doctor_os *os, const char *key, const char *name, char *to, size_t size)
{
    DWORD type, used = (DWORD)size - 1;
    if (RegGetValueA(HKEY_LOCAL_MACHINE, key, name[0] ? name : NULL,
                     RRF_RT_REG_SZ | RRF_RT_REG_EXPAND_SZ | RRF_RT_REG_MULTI_SZ | RRF_NOEXPAND,
                     &type, to, &used) != ERROR_SUCCESS)
        return false;
    to[used] = '\0';
    /* A list: texts with NUL behind each, and one more. */
    for (DWORD i = 0; type == REG_MULTI_SZ && i + 2 < used; i++)
        if (to[i] == '\0') to[i] = '\n';
    return true;
}

/* ---- Services -------------------------------------------------------------------------------- */

static enum doctor_start start_of(DWORD type)
{
    return type == SERVICE_DISABLED       ? DOCTOR_START_DISABLED
           : type == SERVICE_DEMAND_START ? DOCTOR_START_DEMAND
                                          : DOCTOR_START_AUTO;
}

static bool query_service(SC_HANDLE service, struct doctor_service *ret_service)
{
    union {
        QUERY_SERVICE_CONFIGA config;
        BYTE bytes[8192]; /* the most that there can be */
    } answer;
    DWORD needed;
    SERVICE_STATUS status;
    if (!QueryServiceConfigA(service, &answer.config, sizeof answer, &needed) ||
        !QueryServiceStatus(service, &status))
        return false;
    *ret_service = (struct doctor_service){status.dwCurrentState == SERVICE_RUNNING,
                                           start_of(answer.config.dwStartType)};
    return true;
}

static bool service(struct doctor_os *os, const char *name, struct doctor_service *ret_service)
{
    SC_HANDLE manager = OpenSCManagerA(NULL, NULL, SC_MANAGER_CONNECT);
    if (!manager) return false;
    SC_HANDLE handle = OpenServiceA(manager, name, SERVICE_QUERY_CONFIG | SERVICE_QUERY_STATUS);
    bool is_there = handle && query_service(handle, ret_service);
    if (handle) CloseServiceHandle(handle);
    CloseServiceHandle(manager);
    return is_there;
}

static bool is_administrator(struct doctor_os *os)
{
    SID_IDENTIFIER_AUTHORITY authority = {SECURITY_NT_AUTHORITY};
    PSID group;
    BOOL is_member = FALSE;
    if (!AllocateAndInitializeSid(&authority, 2, SECURITY_BUILTIN_DOMAIN_RID,
                                  DOMAIN_ALIAS_RID_ADMINS, 0, 0, 0, 0, 0, 0, &group))
        return false;
    if (!CheckTokenMembership(NULL, group, &is_member)) is_member = FALSE;
    FreeSid(group);
    return is_member;
}

/* ---- The iSCSI Initiator --------------------------------------------------------------------- */

/* Loaded when it is asked: a machine without it must still run this program. */
static FARPROC iscsi_function(const char *name)
{
    HMODULE dll = LoadLibraryExW(L"iscsidsc.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    return dll ? GetProcAddress(dll, name) : NULL;
}

enum { ISCSI_NAME_SIZE = 224 };

static bool initiator_name(struct doctor_os *os, char *name, size_t size)
{
    typedef DWORD WINAPI get_name(CHAR * name);
    char known[ISCSI_NAME_SIZE] = "";
    get_name *get = (get_name *)(void *)iscsi_function("GetIScsiInitiatorNodeNameA");
    if (!get || get(known) != ERROR_SUCCESS || strlen(known) >= size) return false;
    memcpy(name, known, strlen(known) + 1);
    return true;
}

/* With no buffer it only counts. */
static bool persistent_login_count(struct doctor_os *os, unsigned *ret_count)
{
    typedef DWORD WINAPI report(ULONG * count, void *logins, ULONG *size);
    ULONG count = 0, size = 0;
    report *ask = (report *)(void *)iscsi_function("ReportIScsiPersistentLoginsA");
    if (!ask) return false;
    DWORD error = ask(&count, NULL, &size);
    if (error != ERROR_SUCCESS && error != ERROR_INSUFFICIENT_BUFFER) return false;
    *ret_count = error == ERROR_INSUFFICIENT_BUFFER && count == 0 ? 1 : count;
    return true;
}

/* ---- The rest -------------------------------------------------------------------------------- */

/* Windows counts 100 ns from 1601. */
static uint64_t wall_ns(struct doctor_os *os)
{
    const uint64_t from_1601_to_1970 = 116444736000000000u;
    FILETIME time;
    GetSystemTimeAsFileTime(&time);
    return (((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) - from_1601_to_1970) * 100;
}

static bool is_event_source(struct doctor_os *os)
{
    return event_source_is_registered();
}

bool machine_log(struct trail_file *ret_log)
{
    static const wchar_t name[] = L"\\Tarn\\tarn-vss.log";
    wchar_t path[MAX_PATH];
    if (FAILED(SHGetFolderPathW(NULL, CSIDL_COMMON_APPDATA, NULL, SHGFP_TYPE_CURRENT, path)) ||
        wcslen(path) + sizeof name / sizeof *name > MAX_PATH)
        return false;
    wcscat(path, name);
    return trail_file_init(ret_log, path);
}

void machine_init(struct machine *machine)
{
    *machine = (struct machine){.os = {.number = number,
                                       .text = text,
                                       .service = service,
                                       .is_administrator = is_administrator,
                                       .initiator_name = initiator_name,
                                       .persistent_login_count = persistent_login_count,
                                       .wall_ns = wall_ns,
                                       .is_event_source = is_event_source,
                                       .version = TARN_VERSION}};
    if (!credential_load(&machine->credential)) return;
    machine->os.host = machine->credential.host;
    machine->os.transport = transport_create(&machine->credential);
}

void machine_fini(struct machine *machine)
{
    credential_wipe(&machine->credential);
}
