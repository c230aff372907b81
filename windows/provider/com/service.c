#include "windows/provider/com/service.h"

#include <stdbool.h>
#include <stdio.h>

#include <windows.h>

#include <sddl.h>

#include "windows/provider/com/event_source.h"
#include "windows/provider/com/ids.h"
#include "windows/provider/com/object.h"
#include "windows/provider/com/os.h"
#include "windows/provider/com/register.h"
#include "windows/provider/com/renew.h"
#include "windows/provider/com/trace.h"

/* Execute, local execute and local activation, for SYSTEM and Administrators (by SID: their names
 * are localised). */
#define ACCESS_SDDL L"O:BAG:BAD:(A;;0xB;;;SY)(A;;0xB;;;BA)"

static SERVICE_STATUS_HANDLE status_handle;
static HANDLE stop_event, busy_event;

static void report(DWORD state, DWORD exit_code)
{
    SERVICE_STATUS status = {
        .dwServiceType = SERVICE_WIN32_OWN_PROCESS,
        .dwCurrentState = state,
        .dwControlsAccepted =
            state == SERVICE_RUNNING ? SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN : 0,
        .dwWin32ExitCode = exit_code,
        .dwWaitHint = 30000};
    SetServiceStatus(status_handle, &status);
}

static DWORD WINAPI control(DWORD code, DWORD type, void *data, void *context)
{
    switch (code) {
    case SERVICE_CONTROL_STOP:
    case SERVICE_CONTROL_SHUTDOWN:
        report(SERVICE_STOP_PENDING, NO_ERROR);
        SetEvent(stop_event);
        return NO_ERROR;
    case SERVICE_CONTROL_INTERROGATE:
        return NO_ERROR;
    case SERVICE_CONTROL_IDLE:
        if (provider_is_busy(context))
            SetEvent(busy_event);
        else
            ResetEvent(busy_event);
        return NO_ERROR;
    default:
        return ERROR_CALL_NOT_IMPLEMENTED;
    }
}

/* ---- Security -------------------------------------------------------------------------------- */

/* CoInitializeSecurity wants the absolute form. */
static HRESULT init_security(void)
{
    PSECURITY_DESCRIPTOR relative = NULL;
    static union {
        SECURITY_DESCRIPTOR descriptor;
        BYTE bytes[1024];
    } absolute, dacl, sacl, owner, group;
    DWORD sizes[] = {sizeof absolute, sizeof dacl, sizeof sacl, sizeof owner, sizeof group};
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(ACCESS_SDDL, SDDL_REVISION_1,
                                                              &relative, NULL))
        return HRESULT_FROM_WIN32(GetLastError());
    BOOL ok =
        MakeAbsoluteSD(relative, &absolute.descriptor, &sizes[0], (ACL *)(void *)&dacl, &sizes[1],
                       (ACL *)(void *)&sacl, &sizes[2], &owner, &sizes[3], &group, &sizes[4]);
    DWORD error = GetLastError();
    LocalFree(relative);
    if (!ok) return HRESULT_FROM_WIN32(error);
    return CoInitializeSecurity(&absolute.descriptor, -1, NULL, NULL, RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
                                RPC_C_IMP_LEVEL_IDENTIFY, NULL, EOAC_NONE, NULL);
}

/* ---- Running --------------------------------------------------------------------------------- */

static HRESULT serve(struct provider *provider)
{
    const CLSID clsid = TARN_CLSID;
    DWORD cookie;
    HRESULT result = CoInitializeEx(NULL, COINIT_MULTITHREADED);
    if (FAILED(result)) return result;
    result = init_security();
    if (SUCCEEDED(result))
        result =
            CoRegisterClassObject(&clsid, (IUnknown *)object_factory(provider), CLSCTX_LOCAL_SERVER,
                                  REGCLS_MULTIPLEUSE | REGCLS_SUSPENDED, &cookie);
    if (FAILED(result)) {
        CoUninitialize();
        return result;
    }
    result = CoResumeClassObjects();
    if (SUCCEEDED(result)) {
        report(SERVICE_RUNNING, NO_ERROR);
        HANDLE renewal = renew_start(provider, stop_event);
        WaitForSingleObject(stop_event, INFINITE);
        if (renewal) WaitForSingleObject(renewal, INFINITE);
        if (renewal) CloseHandle(renewal);
    }
    CoRevokeClassObject(cookie);
    provider_unload(provider);
    CoUninitialize();
    return result;
}

static void WINAPI service_main(DWORD argc, wchar_t **argv)
{
    struct provider *provider = os_provider();
    status_handle = RegisterServiceCtrlHandlerExW(TARN_SERVICE_NAME, control, provider);
    if (!status_handle) return;
    report(SERVICE_START_PENDING, NO_ERROR);
    stop_event = CreateEventW(NULL, TRUE, FALSE, NULL);
    busy_event = CreateEventW(NULL, TRUE, FALSE, TARN_BUSY_EVENT);
    HRESULT result = stop_event ? serve(provider) : E_OUTOFMEMORY;
    report(SERVICE_STOPPED, SUCCEEDED(result) ? NO_ERROR : (DWORD)result);
}

int service_run(void)
{
    SERVICE_TABLE_ENTRYW table[] = {{(wchar_t *)(uintptr_t)TARN_SERVICE_NAME, service_main},
                                    {NULL, NULL}};
    if (StartServiceCtrlDispatcherW(table)) return 0;
    fprintf(stderr,
            "tarn-vss: this command is for the service control manager (error %lu); start the "
            "service with: net "
            "start TarnVss\n",
            (unsigned long)GetLastError());
    return 1;
}

/* ---- Registration ---------------------------------------------------------------------------- */

#define CLSID_KEY L"SOFTWARE\\Classes\\CLSID\\" TARN_CLSID_TEXT
#define APPID_KEY L"SOFTWARE\\Classes\\AppID\\" TARN_APPID_TEXT

static LSTATUS set_text(const wchar_t *key, const wchar_t *name, const wchar_t *value)
{
    return RegSetKeyValueW(HKEY_LOCAL_MACHINE, key, name, REG_SZ, value,
                           (DWORD)((wcslen(value) + 1) * sizeof *value));
}

static LSTATUS set_access(const wchar_t *name)
{
    PSECURITY_DESCRIPTOR descriptor = NULL;
    ULONG size;
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(ACCESS_SDDL, SDDL_REVISION_1,
                                                              &descriptor, &size))
        return (LSTATUS)GetLastError();
    LSTATUS status =
        RegSetKeyValueW(HKEY_LOCAL_MACHINE, APPID_KEY, name, REG_BINARY, descriptor, size);
    LocalFree(descriptor);
    return status;
}

static LSTATUS register_class(void)
{
    LSTATUS status = set_text(CLSID_KEY, NULL, TARN_PROVIDER_NAME);
    if (!status) status = set_text(CLSID_KEY, L"AppID", TARN_APPID_TEXT);
    if (!status) status = set_text(APPID_KEY, NULL, TARN_PROVIDER_NAME);
    if (!status) status = set_text(APPID_KEY, L"LocalService", TARN_SERVICE_NAME);
    if (!status) status = set_access(L"LaunchPermission");
    if (!status) status = set_access(L"AccessPermission");
    return status;
}

static DWORD register_service(bool *ret_made)
{
    wchar_t path[MAX_PATH], command[MAX_PATH + 16];
    *ret_made = false;
    DWORD length = GetModuleFileNameW(NULL, path, MAX_PATH);
    if (length == 0 || length == MAX_PATH) return ERROR_BAD_PATHNAME;
    swprintf(command, MAX_PATH + 16, L"\"%ls\" service", path);
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CREATE_SERVICE);
    if (!manager) return GetLastError();
    SC_HANDLE service =
        CreateServiceW(manager, TARN_SERVICE_NAME, TARN_PROVIDER_NAME, SERVICE_ALL_ACCESS,
                       SERVICE_WIN32_OWN_PROCESS, SERVICE_DEMAND_START, SERVICE_ERROR_NORMAL,
                       command, NULL, NULL, NULL, NULL, NULL);
    DWORD error = service ? NO_ERROR : GetLastError();
    *ret_made = service != NULL;
    if (service) CloseServiceHandle(service);
    CloseServiceHandle(manager);
    return error == ERROR_SERVICE_EXISTS ? NO_ERROR : error;
}

static DWORD unregister_service(void)
{
    SERVICE_STATUS status;
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT);
    if (!manager) return GetLastError();
    SC_HANDLE service =
        OpenServiceW(manager, TARN_SERVICE_NAME, SERVICE_STOP | DELETE | SERVICE_QUERY_STATUS);
    DWORD error = service ? NO_ERROR : GetLastError();
    if (service) {
        ControlService(service, SERVICE_CONTROL_STOP, &status); /* it may be stopped already */
        if (!DeleteService(service)) error = GetLastError();
        CloseServiceHandle(service);
    }
    CloseServiceHandle(manager);
    return error == ERROR_SERVICE_DOES_NOT_EXIST || error == ERROR_SERVICE_MARKED_FOR_DELETE
               ? NO_ERROR
               : error;
}

static DWORD unregister_class(void)
{
    LSTATUS clsid = RegDeleteTreeW(HKEY_LOCAL_MACHINE, CLSID_KEY);
    LSTATUS appid = RegDeleteTreeW(HKEY_LOCAL_MACHINE, APPID_KEY);
    if (clsid && clsid != ERROR_FILE_NOT_FOUND) return (DWORD)clsid;
    return appid == ERROR_FILE_NOT_FOUND ? NO_ERROR : (DWORD)appid;
}

static int failed(const char *what, DWORD error)
{
    fprintf(stderr, "tarn-vss: %s: error %lu%s\n", what, (unsigned long)error,
            error == ERROR_ACCESS_DENIED ? "; run it as administrator" : "");
    return 1;
}

/* With VSS; opened and closed again for each call, because that is all that a command does. */
static HRESULT ask_vss(bool is_there)
{
    IVssAdmin *admin;
    HRESULT result = CoInitializeEx(NULL, COINIT_MULTITHREADED);
    if (FAILED(result)) return result;
    result = registration_open(&admin);
    if (SUCCEEDED(result)) {
        result = is_there ? registration_add(admin, TARN_VERSION) : registration_remove(admin);
        admin->lpVtbl->Release(admin);
    }
    CoUninitialize();
    return result;
}

static int vss_refused(const char *what, HRESULT result)
{
    fprintf(stderr, "tarn-vss: %s: error %08lx\n  next: %s\n", what, (unsigned long)result,
            registration_advice(result));
    return 1;
}

/* VSS would refuse, with a code that says nothing.  The source of events stays, so that what is told
 * there can be read. */
static int client_refused(void)
{
    event_source_register();
    os_tell_client_windows();
    fprintf(
        stderr,
        "tarn-vss: this is a client Windows, and VSS takes hardware providers on Windows Server "
        "only\n  next: %s\n",
        registration_advice(E_INVALIDARG));
    return 1;
}

/* VSS comes last, because it may ask for the class at once. What was made here goes again when VSS
 * wants none of it. */
int service_register(void)
{
    bool is_new;
    if (os_is_client_windows()) return client_refused();
    DWORD error = register_service(&is_new);
    if (error) return failed("the service could not be made", error);
    error = (DWORD)register_class();
    if (error) return failed("the COM class could not be registered", error);
    error = event_source_register();
    if (error) return failed("the source of events could not be registered", error);
    HRESULT result = ask_vss(true);
    if (FAILED(result)) {
        if (is_new) {
            unregister_service();
            unregister_class();
            event_source_unregister();
        }
        return vss_refused("Windows did not register the provider", result);
    }
    puts("registered: service TarnVss, its COM class, its events, and the provider with VSS");
    return 0;
}

/* Each part is tried, whatever became of the others: an uninstall must leave as little as it can.
 * What VSS says is told and is no failure: without service and class its entry does nothing, and
 * registering again puts it right. */
int service_unregister(void)
{
    int status = 0;
    HRESULT result = ask_vss(false);
    if (FAILED(result)) vss_refused("Windows did not unregister the provider", result);
    DWORD error = unregister_service();
    if (error) status = failed("the service could not be removed", error);
    error = unregister_class();
    if (error) status = failed("the COM class could not be removed", error);
    event_source_unregister();
    if (status == 0)
        puts("unregistered: service TarnVss, its COM class, its events, and the provider");
    return status;
}
