#include <stdio.h>
#include <stdlib.h>

#include "windows/provider/com/async.h"
#include "windows/provider/com/object.h"
#include "windows/provider/com/trace.h"

/* The first member is the object's identity: what IUnknown is. */
struct object {
    IVssHardwareSnapshotProviderEx hardware;
    IVssProviderCreateSnapshotSet creation;
    IVssProviderNotifications notifications;
    LONG references;
};

static struct provider *core;
static LONG objects;

LONG object_count(void)
{
    return InterlockedCompareExchange(&objects, 0, 0);
}

#define OBJECT_OF(pointer, member)                                                                 \
    ((struct object *)(void *)((char *)(pointer)-offsetof(struct object, member)))

/* One line of the trace for each call, written when nothing is frozen. */
#define TRACED(call) TRACED_WITH(call, "%s", "")
#define TRACED_WITH(call, ...)                                                                     \
    do {                                                                                           \
        char arguments_[64];                                                                       \
        uint64_t start_us_ = trace_now_us();                                                       \
        HRESULT result_ = (call);                                                                  \
        uint64_t duration_us_ = trace_now_us() - start_us_;                                        \
        snprintf(arguments_, sizeof arguments_, __VA_ARGS__);                                      \
        trace_call(core, __func__, arguments_, result_, duration_us_);                             \
        return result_;                                                                            \
    } while (0)
#define LUNS_AND_CONTEXT "luns=%ld context=0x%lx", (long)count, (unsigned long)context
#define LUNS "luns=%ld", (long)count

/* ---- IUnknown -------------------------------------------------------------------------------- */

static HRESULT query(struct object *object, REFIID iid, void **ret_interface)
{
    if (!ret_interface) return E_POINTER;
    *ret_interface = NULL;
    if (IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IVssHardwareSnapshotProvider) ||
        IsEqualIID(iid, &IID_IVssHardwareSnapshotProviderEx))
        *ret_interface = &object->hardware;
    else if (IsEqualIID(iid, &IID_IVssProviderCreateSnapshotSet))
        *ret_interface = &object->creation;
    else if (IsEqualIID(iid, &IID_IVssProviderNotifications))
        *ret_interface = &object->notifications;
    if (!*ret_interface) return E_NOINTERFACE;
    InterlockedIncrement(&object->references);
    return S_OK;
}

static ULONG add_reference(struct object *object)
{
    return (ULONG)InterlockedIncrement(&object->references);
}

static ULONG release(struct object *object)
{
    LONG left = InterlockedDecrement(&object->references);
    if (left == 0) {
        free(object);
        InterlockedDecrement(&objects);
    }
    return (ULONG)left;
}

#define UNKNOWN_METHODS(prefix, interface, member)                                                 \
    static HRESULT STDMETHODCALLTYPE prefix##_QueryInterface(interface *this, REFIID iid,          \
                                                             void **ret_interface)                 \
    {                                                                                              \
        return query(OBJECT_OF(this, member), iid, ret_interface);                                 \
    }                                                                                              \
    static ULONG STDMETHODCALLTYPE prefix##_AddRef(interface *this)                                \
    {                                                                                              \
        return add_reference(OBJECT_OF(this, member));                                             \
    }                                                                                              \
    static ULONG STDMETHODCALLTYPE prefix##_Release(interface *this)                               \
    {                                                                                              \
        return release(OBJECT_OF(this, member));                                                   \
    }
UNKNOWN_METHODS(hardware, IVssHardwareSnapshotProviderEx, hardware)
UNKNOWN_METHODS(creation, IVssProviderCreateSnapshotSet, creation)
UNKNOWN_METHODS(notifications, IVssProviderNotifications, notifications)

/* ---- IVssHardwareSnapshotProviderEx ---------------------------------------------------------- */

static HRESULT STDMETHODCALLTYPE AreLunsSupported(IVssHardwareSnapshotProviderEx *this, LONG count,
                                                  LONG context, VSS_PWSZ *devices,
                                                  VDS_LUN_INFORMATION *luns, BOOL *ret_supported)
{
    TRACED_WITH(provider_are_luns_supported(core, count, context, devices, luns, ret_supported),
                LUNS_AND_CONTEXT);
}

static HRESULT STDMETHODCALLTYPE FillInLunInfo(IVssHardwareSnapshotProviderEx *this,
                                               VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                                               BOOL *ret_supported)
{
    TRACED(provider_fill_in_lun_info(core, device, lun, ret_supported));
}

static HRESULT STDMETHODCALLTYPE BeginPrepareSnapshot(IVssHardwareSnapshotProviderEx *this,
                                                      VSS_ID set, VSS_ID snapshot, LONG context,
                                                      LONG count, VSS_PWSZ *devices,
                                                      VDS_LUN_INFORMATION *luns)
{
    TRACED_WITH(provider_begin_prepare(core, set, snapshot, context, count, devices, luns),
                LUNS_AND_CONTEXT);
}

static HRESULT STDMETHODCALLTYPE GetTargetLuns(IVssHardwareSnapshotProviderEx *this, LONG count,
                                               VSS_PWSZ *devices, VDS_LUN_INFORMATION *sources,
                                               VDS_LUN_INFORMATION *targets)
{
    TRACED_WITH(provider_get_target_luns(core, count, devices, sources, targets), LUNS);
}

static HRESULT STDMETHODCALLTYPE LocateLuns(IVssHardwareSnapshotProviderEx *this, LONG count,
                                            VDS_LUN_INFORMATION *luns)
{
    TRACED_WITH(provider_locate_luns(core, count, luns), LUNS);
}

static HRESULT STDMETHODCALLTYPE OnLunEmpty(IVssHardwareSnapshotProviderEx *this, VSS_PWSZ device,
                                            VDS_LUN_INFORMATION *lun)
{
    TRACED(provider_on_lun_empty(core, device, lun));
}

/* Reserved, and documented as not supported. */
static HRESULT STDMETHODCALLTYPE GetProviderCapabilities(IVssHardwareSnapshotProviderEx *this,
                                                         ULONGLONG *ret_mask)
{
    if (!ret_mask) return E_INVALIDARG;
    *ret_mask = 0;
    return E_NOTIMPL;
}

static HRESULT STDMETHODCALLTYPE OnLunStateChange(IVssHardwareSnapshotProviderEx *this,
                                                  VDS_LUN_INFORMATION *snapshots,
                                                  VDS_LUN_INFORMATION *originals, DWORD count,
                                                  DWORD flags)
{
    TRACED_WITH(provider_on_lun_state_change(core, snapshots, originals, count, flags),
                "luns=%ld flags=0x%lx", (long)count, (unsigned long)flags);
}

static HRESULT begin_resync(VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets, DWORD count,
                            IVssAsync **ret_async)
{
    struct resync *resync;
    if (!ret_async) return E_INVALIDARG;
    *ret_async = NULL;
    HRESULT result = resync_begin(core, sources, targets, count, &resync);
    if (result == S_OK) *ret_async = async_create(resync);
    return result == S_OK && !*ret_async ? E_OUTOFMEMORY : result;
}

static HRESULT STDMETHODCALLTYPE ResyncLuns(IVssHardwareSnapshotProviderEx *this,
                                            VDS_LUN_INFORMATION *sources,
                                            VDS_LUN_INFORMATION *targets, DWORD count,
                                            IVssAsync **ret_async)
{
    TRACED_WITH(begin_resync(sources, targets, count, ret_async), LUNS);
}

/* Reserved, and documented as not supported. */
static HRESULT STDMETHODCALLTYPE OnReuseLuns(IVssHardwareSnapshotProviderEx *this,
                                             VDS_LUN_INFORMATION *snapshots,
                                             VDS_LUN_INFORMATION *originals, DWORD count)
{
    return E_NOTIMPL;
}

static const IVssHardwareSnapshotProviderExVtbl hardware_methods = {
    hardware_QueryInterface,
    hardware_AddRef,
    hardware_Release,
    AreLunsSupported,
    FillInLunInfo,
    BeginPrepareSnapshot,
    GetTargetLuns,
    LocateLuns,
    OnLunEmpty,
    GetProviderCapabilities,
    OnLunStateChange,
    ResyncLuns,
    OnReuseLuns,
};

/* ---- IVssProviderCreateSnapshotSet ----------------------------------------------------------- */

static HRESULT STDMETHODCALLTYPE EndPrepareSnapshots(IVssProviderCreateSnapshotSet *this,
                                                     VSS_ID set)
{
    TRACED(provider_end_prepare(core, set));
}

static HRESULT STDMETHODCALLTYPE PreCommitSnapshots(IVssProviderCreateSnapshotSet *this, VSS_ID set)
{
    TRACED(provider_pre_commit(core, set));
}

static HRESULT STDMETHODCALLTYPE CommitSnapshots(IVssProviderCreateSnapshotSet *this, VSS_ID set)
{
    TRACED(provider_commit(core, set));
}

static HRESULT STDMETHODCALLTYPE PostCommitSnapshots(IVssProviderCreateSnapshotSet *this,
                                                     VSS_ID set, LONG count)
{
    TRACED_WITH(provider_post_commit(core, set, count), "count=%ld", (long)count);
}

static HRESULT STDMETHODCALLTYPE PreFinalCommitSnapshots(IVssProviderCreateSnapshotSet *this,
                                                         VSS_ID set)
{
    TRACED(provider_pre_final_commit(core, set));
}

static HRESULT STDMETHODCALLTYPE PostFinalCommitSnapshots(IVssProviderCreateSnapshotSet *this,
                                                          VSS_ID set)
{
    TRACED(provider_post_final_commit(core, set));
}

static HRESULT STDMETHODCALLTYPE AbortSnapshots(IVssProviderCreateSnapshotSet *this, VSS_ID set)
{
    TRACED(provider_abort(core, set));
}

static const IVssProviderCreateSnapshotSetVtbl creation_methods = {
    creation_QueryInterface,  creation_AddRef, creation_Release,    EndPrepareSnapshots,
    PreCommitSnapshots,       CommitSnapshots, PostCommitSnapshots, PreFinalCommitSnapshots,
    PostFinalCommitSnapshots, AbortSnapshots,
};

/* ---- IVssProviderNotifications --------------------------------------------------------------- */

static HRESULT STDMETHODCALLTYPE OnLoad(IVssProviderNotifications *this, IUnknown *callback)
{
    TRACED(S_OK);
}

static HRESULT STDMETHODCALLTYPE OnUnload(IVssProviderNotifications *this, BOOL is_forced)
{
    provider_unload(core);
    TRACED(S_OK);
}

static const IVssProviderNotificationsVtbl notifications_methods = {
    notifications_QueryInterface, notifications_AddRef, notifications_Release, OnLoad, OnUnload,
};

/* ---- The class object ------------------------------------------------------------------------ */

static HRESULT STDMETHODCALLTYPE factory_QueryInterface(IClassFactory *this, REFIID iid,
                                                        void **ret_interface)
{
    if (!ret_interface) return E_POINTER;
    *ret_interface =
        IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IClassFactory) ? this : NULL;
    return *ret_interface ? S_OK : E_NOINTERFACE;
}

/* It lives as long as the process. */
static ULONG STDMETHODCALLTYPE factory_AddRef(IClassFactory *this)
{
    return 2;
}

static ULONG STDMETHODCALLTYPE factory_Release(IClassFactory *this)
{
    return 1;
}

static HRESULT STDMETHODCALLTYPE factory_CreateInstance(IClassFactory *this, IUnknown *outer,
                                                        REFIID iid, void **ret_interface)
{
    if (!ret_interface) return E_POINTER;
    *ret_interface = NULL;
    if (outer) return CLASS_E_NOAGGREGATION;
    struct object *object = calloc(1, sizeof *object);
    if (!object) return E_OUTOFMEMORY;
    object->hardware.lpVtbl = (IVssHardwareSnapshotProviderExVtbl *)(uintptr_t)&hardware_methods;
    object->creation.lpVtbl = (IVssProviderCreateSnapshotSetVtbl *)(uintptr_t)&creation_methods;
    object->notifications.lpVtbl =
        (IVssProviderNotificationsVtbl *)(uintptr_t)&notifications_methods;
    object->references = 1;
    InterlockedIncrement(&objects);
    HRESULT result = query(object, iid, ret_interface);
    release(object);
    return result;
}

static HRESULT STDMETHODCALLTYPE factory_LockServer(IClassFactory *this, BOOL is_locked)
{
    return S_OK;
}

static const IClassFactoryVtbl factory_methods = {factory_QueryInterface, factory_AddRef,
                                                  factory_Release, factory_CreateInstance,
                                                  factory_LockServer};

IClassFactory *object_factory(struct provider *provider)
{
    static IClassFactory factory;
    core = provider;
    factory.lpVtbl = (IClassFactoryVtbl *)(uintptr_t)&factory_methods;
    return &factory;
}
