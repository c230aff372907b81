#include "windows/provider/com/event_source.h"

#include "windows/provider/com/ids.h"

#define SOURCE_KEY L"SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\" TARN_EVENT_SOURCE
#define MESSAGE_DLL L"tarn-vss-messages-" TARN_VERSION_W L".dll"

enum { PATH_SIZE = MAX_PATH + 64 };

/* Beside this program. */
static bool dll_path(wchar_t path[PATH_SIZE])
{
    DWORD length = GetModuleFileNameW(NULL, path, MAX_PATH);
    if (length == 0 || length == MAX_PATH) return false;
    wchar_t *slash = wcsrchr(path, L'\\');
    if (!slash) return false;
    wcscpy(slash + 1, MESSAGE_DLL);
    return true;
}

static LSTATUS set_number(const wchar_t *name, DWORD value)
{
    return RegSetKeyValueW(HKEY_LOCAL_MACHINE, SOURCE_KEY, name, REG_DWORD, &value, sizeof value);
}

DWORD event_source_register(void)
{
    wchar_t path[PATH_SIZE];
    if (!dll_path(path)) return ERROR_BAD_PATHNAME;
    LSTATUS status =
        RegSetKeyValueW(HKEY_LOCAL_MACHINE, SOURCE_KEY, L"EventMessageFile", REG_EXPAND_SZ, path,
                        (DWORD)((wcslen(path) + 1) * sizeof *path));
    if (!status)
        status = set_number(L"TypesSupported", EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE |
                                                   EVENTLOG_INFORMATION_TYPE);
    if (!status) status = set_number(L"CustomSource", 1);
    return (DWORD)status;
}

void event_source_unregister(void)
{
    RegDeleteTreeW(HKEY_LOCAL_MACHINE, SOURCE_KEY);
}

bool event_source_is_registered(void)
{
    wchar_t path[PATH_SIZE], registered[PATH_SIZE];
    DWORD size = sizeof registered;
    return dll_path(path) &&
           RegGetValueW(HKEY_LOCAL_MACHINE, SOURCE_KEY, L"EventMessageFile",
                        RRF_RT_REG_EXPAND_SZ | RRF_RT_REG_SZ | RRF_NOEXPAND, NULL, registered,
                        &size) == ERROR_SUCCESS &&
           _wcsicmp(path, registered) == 0;
}
