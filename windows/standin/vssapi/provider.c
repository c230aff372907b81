/* A provider as it is on Windows: a COM object in a process of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windows/standin/vssapi/vssapi.h"

#include <tlhelp32.h>

struct provider {
    struct si_provider calls;
    IVssHardwareSnapshotProvider *hardware;
    IVssHardwareSnapshotProviderEx *extended; /* NULL: one from before Windows Server 2008 */
    IVssProviderCreateSnapshotSet *creation;
    IVssProviderNotifications *notifications;
    WCHAR service[SI_NAME_MAX]; /* that has its process; "" if there is none */
};

static struct provider *of(struct si_provider *p)
{
    return (struct provider *)p;
}

/* ---- Its process ----------------------------------------------------------------------------- */

/* Class, application, service. */
static void find_service(const CLSID *clsid, WCHAR ret[SI_NAME_MAX])
{
    WCHAR class[64], key[160], application[64] = L"";
    DWORD size = sizeof application;
    ret[0] = L'\0';
    StringFromGUID2(clsid, class, ARRAYSIZE(class));
    _snwprintf(key, ARRAYSIZE(key), L"SOFTWARE\\Classes\\CLSID\\%ls", class);
    if (RegGetValueW(HKEY_LOCAL_MACHINE, key, L"AppID", RRF_RT_REG_SZ, NULL, application, &size) !=
        ERROR_SUCCESS)
        return;
    size = SI_NAME_MAX * sizeof *ret;
    _snwprintf(key, ARRAYSIZE(key), L"SOFTWARE\\Classes\\AppID\\%ls", application);
    if (RegGetValueW(HKEY_LOCAL_MACHINE, key, L"LocalService", RRF_RT_REG_SZ, NULL, ret, &size) !=
        ERROR_SUCCESS)
        ret[0] = L'\0';
}

static bool service_status(SC_HANDLE service, SERVICE_STATUS_PROCESS *ret)
{
    DWORD needed;
    return QueryServiceStatusEx(service, SC_STATUS_PROCESS_INFO, (BYTE *)ret, sizeof *ret, &needed);
}

static void kill_process(DWORD id)
{
    HANDLE process = OpenProcess(PROCESS_TERMINATE | SYNCHRONIZE, FALSE, id);
    if (!process) return;
    TerminateProcess(process, 1);
    WaitForSingleObject(process, 10000);
    CloseHandle(process);
}

/* Wine's rpcss would send the next caller to the process that died; it comes back when asked for. */
static void forget_classes(void)
{
    PROCESSENTRY32W entry = {.dwSize = sizeof entry};
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    if (all == INVALID_HANDLE_VALUE) return;
    for (BOOL more = Process32FirstW(all, &entry); more; more = Process32NextW(all, &entry)) {
        if (_wcsicmp(entry.szExeFile, L"rpcss.exe") == 0) kill_process(entry.th32ProcessID);
    }
    CloseHandle(all);
}

static void with_service(const struct provider *p, void (*deed)(SC_HANDLE service))
{
    SC_HANDLE manager = p->service[0] ? OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT) : NULL;
    if (!manager) return;
    SC_HANDLE service = OpenServiceW(manager, p->service,
                                     SERVICE_QUERY_STATUS | SERVICE_STOP | SERVICE_INTERROGATE);
    if (service) {
        deed(service);
        CloseServiceHandle(service);
    }
    CloseServiceHandle(manager);
}

static void kill_service(SC_HANDLE service)
{
    SERVICE_STATUS_PROCESS status;
    SERVICE_STATUS ignored;
    if (!service_status(service, &status) || status.dwProcessId == 0) return;
    kill_process(status.dwProcessId);
    for (unsigned i = 0; i < 100; i++) {
        /* Wine sees that a service is gone when it is spoken to. */
        ControlService(service, SERVICE_CONTROL_INTERROGATE, &ignored);
        if (!service_status(service, &status) || status.dwCurrentState == SERVICE_STOPPED) break;
        Sleep(50);
    }
    forget_classes();
}

static void stop_service(SC_HANDLE service)
{
    SERVICE_STATUS_PROCESS status;
    SERVICE_STATUS ignored;
    ControlService(service, SERVICE_CONTROL_STOP, &ignored);
    for (unsigned i = 0; i < 200; i++) {
        if (!service_status(service, &status) || status.dwCurrentState == SERVICE_STOPPED) break;
        Sleep(20);
    }
}

/* A new process for every call: the old one is asked to go, unless a death is what is tested. */
static void die(struct si_provider *p)
{
    char fault[SI_NAME_MAX];
    standin_setting("STANDIN_FAULT", fault);
    bool is_asked = standin_setting_number("STANDIN_EACH_CALL") && strncmp(fault, "kill", 4) != 0;
    with_service(of(p), is_asked ? stop_service : kill_service);
}

/* ---- Its methods ----------------------------------------------------------------------------- */

static HRESULT on_load(struct si_provider *p)
{
    IVssProviderNotifications *n = of(p)->notifications;
    return n ? IVssProviderNotifications_OnLoad(n, NULL) : S_OK;
}

static HRESULT on_unload(struct si_provider *p, BOOL force)
{
    IVssProviderNotifications *n = of(p)->notifications;
    return n ? IVssProviderNotifications_OnUnload(n, force) : S_OK;
}

static HRESULT are_luns_supported(struct si_provider *p, LONG count, LONG context,
                                  VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns, BOOL *ret_supported)
{
    return IVssHardwareSnapshotProvider_AreLunsSupported(of(p)->hardware, count, context, devices,
                                                         luns, ret_supported);
}

static HRESULT fill_in_lun_info(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                                BOOL *ret_supported)
{
    return IVssHardwareSnapshotProvider_FillInLunInfo(of(p)->hardware, device, lun, ret_supported);
}

static HRESULT begin_prepare(struct si_provider *p, VSS_ID set, VSS_ID snapshot, LONG context,
                             LONG count, VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns)
{
    return IVssHardwareSnapshotProvider_BeginPrepareSnapshot(of(p)->hardware, set, snapshot,
                                                             context, count, devices, luns);
}

static HRESULT get_target_luns(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                               VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *ret_targets)
{
    return IVssHardwareSnapshotProvider_GetTargetLuns(of(p)->hardware, count, devices, sources,
                                                      ret_targets);
}

static HRESULT locate_luns(struct si_provider *p, LONG count, VDS_LUN_INFORMATION *luns)
{
    return IVssHardwareSnapshotProvider_LocateLuns(of(p)->hardware, count, luns);
}

static HRESULT on_lun_empty(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun)
{
    return IVssHardwareSnapshotProvider_OnLunEmpty(of(p)->hardware, device, lun);
}

static HRESULT on_lun_state_change(struct si_provider *p, VDS_LUN_INFORMATION *snapshots,
                                   VDS_LUN_INFORMATION *originals, DWORD count, DWORD flags)
{
    if (!of(p)->extended) return VSS_E_LEGACY_PROVIDER;
    return IVssHardwareSnapshotProviderEx_OnLunStateChange(of(p)->extended, snapshots, originals,
                                                           count, flags);
}

static HRESULT resync_luns(struct si_provider *p, VDS_LUN_INFORMATION *sources,
                           VDS_LUN_INFORMATION *targets, DWORD count, void **ret_async)
{
    *ret_async = NULL;
    if (!of(p)->extended) return VSS_E_LEGACY_PROVIDER;
    return IVssHardwareSnapshotProviderEx_ResyncLuns(of(p)->extended, sources, targets, count,
                                                     (IVssAsync **)ret_async);
}

static HRESULT async_wait(struct si_provider *p, void *async, DWORD timeout_ms)
{
    (void)p;
    return IVssAsync_Wait((IVssAsync *)async, timeout_ms);
}

static HRESULT async_query(struct si_provider *p, void *async, HRESULT *ret_result)
{
    INT reserved = 0;
    (void)p;
    return IVssAsync_QueryStatus((IVssAsync *)async, ret_result, &reserved);
}

static HRESULT async_cancel(struct si_provider *p, void *async)
{
    (void)p;
    return IVssAsync_Cancel((IVssAsync *)async);
}

static void async_release(struct si_provider *p, void *async)
{
    (void)p;
    IVssAsync_Release((IVssAsync *)async);
}

static HRESULT end_prepare(struct si_provider *p, VSS_ID set)
{
    return IVssProviderCreateSnapshotSet_EndPrepareSnapshots(of(p)->creation, set);
}

static HRESULT pre_commit(struct si_provider *p, VSS_ID set)
{
    return IVssProviderCreateSnapshotSet_PreCommitSnapshots(of(p)->creation, set);
}

static HRESULT commit(struct si_provider *p, VSS_ID set)
{
    return IVssProviderCreateSnapshotSet_CommitSnapshots(of(p)->creation, set);
}

static HRESULT post_commit(struct si_provider *p, VSS_ID set, LONG snapshot_count)
{
    return IVssProviderCreateSnapshotSet_PostCommitSnapshots(of(p)->creation, set, snapshot_count);
}

static HRESULT pre_final_commit(struct si_provider *p, VSS_ID set)
{
    return IVssProviderCreateSnapshotSet_PreFinalCommitSnapshots(of(p)->creation, set);
}

static HRESULT post_final_commit(struct si_provider *p, VSS_ID set)
{
    return IVssProviderCreateSnapshotSet_PostFinalCommitSnapshots(of(p)->creation, set);
}

static HRESULT abort_set(struct si_provider *p, VSS_ID set)
{
    return IVssProviderCreateSnapshotSet_AbortSnapshots(of(p)->creation, set);
}

/* ---- Coming and going ------------------------------------------------------------------------ */

static void release(struct si_provider *calls)
{
    struct provider *p = of(calls);
    if (p->notifications) IVssProviderNotifications_Release(p->notifications);
    if (p->creation) IVssProviderCreateSnapshotSet_Release(p->creation);
    if (p->extended) IVssHardwareSnapshotProviderEx_Release(p->extended);
    if (p->hardware) IVssHardwareSnapshotProvider_Release(p->hardware);
    free(p);
}

static const struct si_provider methods = {
    .on_load = on_load,
    .on_unload = on_unload,
    .are_luns_supported = are_luns_supported,
    .fill_in_lun_info = fill_in_lun_info,
    .begin_prepare = begin_prepare,
    .get_target_luns = get_target_luns,
    .locate_luns = locate_luns,
    .on_lun_empty = on_lun_empty,
    .on_lun_state_change = on_lun_state_change,
    .resync_luns = resync_luns,
    .async_wait = async_wait,
    .async_query = async_query,
    .async_cancel = async_cancel,
    .async_release = async_release,
    .end_prepare = end_prepare,
    .pre_commit = pre_commit,
    .commit = commit,
    .post_commit = post_commit,
    .pre_final_commit = pre_final_commit,
    .post_final_commit = post_final_commit,
    .abort = abort_set,
    .die = die,
    .release = release,
};

/* Without the first two it is no hardware provider; the others came later, or may be left out. */
static bool connect_to(struct provider *p, const CLSID *class)
{
    IUnknown *object;
    if (FAILED(CoCreateInstance(class, NULL, CLSCTX_LOCAL_SERVER, &IID_IUnknown, (void **)&object)))
        return false;
    bool good = SUCCEEDED(IUnknown_QueryInterface(object, &IID_IVssHardwareSnapshotProvider,
                                                  (void **)&p->hardware)) &&
                SUCCEEDED(IUnknown_QueryInterface(object, &IID_IVssProviderCreateSnapshotSet,
                                                  (void **)&p->creation));
    if (FAILED(IUnknown_QueryInterface(object, &IID_IVssHardwareSnapshotProviderEx,
                                       (void **)&p->extended)))
        p->extended = NULL;
    if (FAILED(IUnknown_QueryInterface(object, &IID_IVssProviderNotifications,
                                       (void **)&p->notifications)))
        p->notifications = NULL;
    IUnknown_Release(object);
    return good;
}

struct si_provider *standin_provider_load(const struct si_registered *which)
{
    struct provider *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->calls = methods;
    find_service(&which->clsid, p->service);
    if (connect_to(p, &which->clsid)) return &p->calls;
    release(&p->calls);
    return NULL;
}
