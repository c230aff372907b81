/* IVssBackupComponents: what comes to nothing without components, and what the stand-in does not do. */
#include "windows/standin/vssapi/session.h"

static struct session *of(IVssBackupComponentsEx4 *iface)
{
    return (struct session *)iface;
}

/* On x64 the caller clears the stack, so that this one fits every method. */
static HRESULT STDMETHODCALLTYPE not_done(IVssBackupComponentsEx4 *iface)
{
    (void)iface;
    return E_NOTIMPL;
}

static HRESULT nothing_to_do(void *context)
{
    (void)context;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE count_components(IVssBackupComponentsEx4 *iface, UINT *ret_count)
{
    (void)iface;
    if (!ret_count) return E_INVALIDARG;
    *ret_count = 0;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE forget(IVssBackupComponentsEx4 *iface)
{
    return of(iface)->steps & SESSION_INITIALIZED ? S_OK : VSS_E_BAD_STATE;
}

static HRESULT STDMETHODCALLTYPE gather_status(IVssBackupComponentsEx4 *iface, IVssAsync **ret)
{
    if (!ret) return E_INVALIDARG;
    if (!(of(iface)->steps & SESSION_GATHERED)) return VSS_E_BAD_STATE;
    return standin_async_create(nothing_to_do, NULL, of(iface), (IUnknown *)iface, ret);
}

static HRESULT STDMETHODCALLTYPE tell_restore(IVssBackupComponentsEx4 *iface, IVssAsync **ret)
{
    if (!ret) return E_INVALIDARG;
    if (!(of(iface)->steps & SESSION_RESTORE) || !(of(iface)->steps & SESSION_GATHERED))
        return VSS_E_BAD_STATE;
    return standin_async_create(nothing_to_do, NULL, of(iface), (IUnknown *)iface, ret);
}

static HRESULT STDMETHODCALLTYPE set_restore_state(IVssBackupComponentsEx4 *iface,
                                                   VSS_RESTORE_TYPE type)
{
    if (!(of(iface)->steps & SESSION_RESTORE)) return VSS_E_BAD_STATE;
    return type >= VSS_RTYPE_UNDEFINED && type <= VSS_RTYPE_OTHER ? S_OK : E_INVALIDARG;
}

/* Of no writer: they have none. */
static HRESULT STDMETHODCALLTYPE components_of(IVssBackupComponentsEx4 *iface, UINT writer,
                                               IVssWriterComponentsExt **ret)
{
    (void)writer;
    if (!ret) return E_INVALIDARG;
    *ret = NULL;
    return of(iface)->steps & SESSION_INITIALIZED ? VSS_E_OBJECT_NOT_FOUND : VSS_E_BAD_STATE;
}

/* ---- Reverting a volume: what only the provider of Windows itself does ------------------------- */

/* A hardware provider gives back a LUN's content by RecoverSet (ResyncLuns). */
static HRESULT STDMETHODCALLTYPE revert(IVssBackupComponentsEx4 *iface, VSS_ID id, WINBOOL force)
{
    struct coordinator_snapshot found;
    (void)force;
    if (!(of(iface)->steps & SESSION_INITIALIZED)) return VSS_E_BAD_STATE;
    if (!session_find(of(iface), &id, &found)) return VSS_E_OBJECT_NOT_FOUND;
    return found.attributes & VSS_VOLSNAP_ATTR_PERSISTENT ? E_NOTIMPL : VSS_E_UNSUPPORTED_CONTEXT;
}

static HRESULT STDMETHODCALLTYPE revert_status(IVssBackupComponentsEx4 *iface, VSS_PWSZ path,
                                               IVssAsync **ret)
{
    char volume[SI_NAME_MAX];
    if (!path || !ret) return E_POINTER;
    *ret = NULL;
    if (!(of(iface)->steps & SESSION_INITIALIZED)) return VSS_E_BAD_STATE;
    return standin_volume_of(path, volume) ? E_NOTIMPL : VSS_E_OBJECT_NOT_FOUND;
}

static HRESULT STDMETHODCALLTYPE session_id(IVssBackupComponentsEx4 *iface, VSS_ID *ret)
{
    if (!ret) return E_INVALIDARG;
    *ret = of(iface)->id;
    return S_OK;
}

void session_fill_rest(IVssBackupComponentsEx4Vtbl *methods)
{
    typedef void (*slot)(void);
    slot *slots = (slot *)(void *)methods;
    for (size_t i = 0; i < sizeof *methods / sizeof *slots; i++)
        slots[i] = (slot)(void *)not_done;
    methods->GetWriterComponentsCount = count_components;
    methods->FreeWriterMetadata = forget;
    methods->GatherWriterStatus = gather_status;
    methods->FreeWriterStatus = forget;
    methods->PreRestore = tell_restore;
    methods->PostRestore = tell_restore;
    methods->GetSessionId = session_id;
    methods->SetRestoreState = set_restore_state;
    methods->GetWriterComponents = components_of;
    methods->RevertToSnapshot = revert;
    methods->QueryRevertStatus = revert_status;
}
