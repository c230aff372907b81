/* IVssBackupComponents: making a set, and the documents.  What comes before what: the pages of the
 * methods in the SDK. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windows/standin/vssapi/session.h"

static struct session *of(IVssBackupComponentsEx4 *iface)
{
    return (struct session *)iface;
}

/* ---- The object ------------------------------------------------------------------------------ */

static HRESULT STDMETHODCALLTYPE query_interface(IVssBackupComponentsEx4 *iface, REFIID iid,
                                                 void **ret)
{
    static const IID *const mine[] = {&IID_IUnknown,
                                      &IID_IVssBackupComponents,
                                      &IID_IVssBackupComponentsEx,
                                      &IID_IVssBackupComponentsEx2,
                                      &IID_IVssBackupComponentsEx3,
                                      &IID_IVssBackupComponentsEx4};
    *ret = NULL;
    for (size_t i = 0; i < ARRAYSIZE(mine); i++) {
        if (!IsEqualIID(iid, mine[i])) continue;
        IVssBackupComponentsEx4_AddRef(iface);
        *ret = iface;
        return S_OK;
    }
    return E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE add_ref(IVssBackupComponentsEx4 *iface)
{
    return (ULONG)InterlockedIncrement(&of(iface)->references);
}

static ULONG STDMETHODCALLTYPE release(IVssBackupComponentsEx4 *iface)
{
    struct session *s = of(iface);
    LONG left = InterlockedDecrement(&s->references);
    if (left > 0) return (ULONG)left;
    coordinator_destroy(s->coordinator);
    standin_host_destroy(s->host);
    free(s);
    InterlockedDecrement(&standin_objects);
    return 0;
}

/* ---- The rules ------------------------------------------------------------------------------- */

static HRESULT needs(const struct session *s, unsigned steps)
{
    return (s->steps & steps) == steps ? S_OK : VSS_E_BAD_STATE;
}

/* A broken rule of the contract is never a success. */
static HRESULT judged(const struct session *s, HRESULT result)
{
    const char *what;
    const char *rule = coordinator_broken_rule(s->coordinator, &what);
    char line[2 * SI_NAME_MAX];
    if (!rule) return result;
    snprintf(line, sizeof line, "broken rule: %s: %s", rule, what);
    s->host->say(s->host, line);
    return E_FAIL;
}

static HRESULT run_later(struct session *s, HRESULT (*deed)(void *context),
                         void (*cancel)(void *context), IVssAsync **ret)
{
    return standin_async_create(deed, cancel, s, (IUnknown *)&s->iface, ret);
}

static HRESULT nothing_to_do(void *context)
{
    (void)context;
    return S_OK;
}

static bool has_writers(const struct session *s)
{
    return !(s->context & VSS_VOLSNAP_ATTR_NO_WRITERS);
}

/* ---- Beginning ------------------------------------------------------------------------------- */

static HRESULT load_document(struct session *s, BSTR xml)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, xml, -1, NULL, 0, NULL, NULL);
    char *text = size > 0 ? malloc((size_t)size) : NULL;
    if (!text) return E_OUTOFMEMORY;
    WideCharToMultiByte(CP_UTF8, 0, xml, -1, text, size, NULL, NULL);
    HRESULT result = coordinator_load_document(s->coordinator, text);
    free(text);
    if (SUCCEEDED(result)) s->steps |= SESSION_DOCUMENT;
    return result;
}

static HRESULT STDMETHODCALLTYPE initialize_for_backup(IVssBackupComponentsEx4 *iface, BSTR xml)
{
    struct session *s = of(iface);
    if (s->steps & SESSION_INITIALIZED) return VSS_E_BAD_STATE;
    HRESULT result = xml ? load_document(s, xml) : S_OK;
    if (SUCCEEDED(result)) s->steps |= SESSION_INITIALIZED;
    return result;
}

static HRESULT STDMETHODCALLTYPE initialize_for_restore(IVssBackupComponentsEx4 *iface, BSTR xml)
{
    struct session *s = of(iface);
    if (!xml) return E_INVALIDARG;
    if (s->steps & SESSION_INITIALIZED) return VSS_E_BAD_STATE;
    HRESULT result = load_document(s, xml);
    if (SUCCEEDED(result)) s->steps |= SESSION_INITIALIZED | SESSION_RESTORE;
    return result;
}

/* Once, and before anything that depends on it. */
static HRESULT STDMETHODCALLTYPE set_context(IVssBackupComponentsEx4 *iface, LONG context)
{
    struct session *s = of(iface);
    LONG plain = context & (VSS_VOLSNAP_ATTR_PERSISTENT | VSS_VOLSNAP_ATTR_CLIENT_ACCESSIBLE |
                            VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE | VSS_VOLSNAP_ATTR_NO_WRITERS);
    if (needs(s, SESSION_INITIALIZED) != S_OK || s->steps & SESSION_RESTORE) return VSS_E_BAD_STATE;
    if (s->steps & (SESSION_CONTEXT | SESSION_GATHERED | SESSION_STARTED)) return VSS_E_BAD_STATE;
    if (context != (LONG)VSS_CTX_ALL) {
        if (plain != VSS_CTX_BACKUP && plain != VSS_CTX_FILE_SHARE_BACKUP &&
            plain != VSS_CTX_NAS_ROLLBACK && plain != VSS_CTX_APP_ROLLBACK &&
            plain != VSS_CTX_CLIENT_ACCESSIBLE && plain != VSS_CTX_CLIENT_ACCESSIBLE_WRITERS)
            return E_INVALIDARG;
        coordinator_set_context(s->coordinator, context);
    }
    s->context = context;
    s->steps |= SESSION_CONTEXT;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE set_backup_state(IVssBackupComponentsEx4 *iface,
                                                  boolean components, boolean bootable,
                                                  VSS_BACKUP_TYPE type, boolean partial)
{
    (void)components;
    (void)bootable;
    (void)partial;
    if (needs(of(iface), SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    if (type <= VSS_BT_UNDEFINED || type > VSS_BT_OTHER) return E_INVALIDARG;
    of(iface)->steps |= SESSION_STATE;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE gather_writer_metadata(IVssBackupComponentsEx4 *iface,
                                                        IVssAsync **ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    if (needs(s, SESSION_INITIALIZED) != S_OK || s->steps & SESSION_GATHERED)
        return VSS_E_BAD_STATE;
    s->steps |= SESSION_GATHERED;
    return run_later(s, nothing_to_do, NULL, ret);
}

/* ---- A set ----------------------------------------------------------------------------------- */

static HRESULT STDMETHODCALLTYPE is_volume_supported(IVssBackupComponentsEx4 *iface,
                                                     VSS_ID provider, VSS_PWSZ path,
                                                     WINBOOL *ret_supported)
{
    static const VSS_ID none;
    struct session *s = of(iface);
    char volume[SI_NAME_MAX];
    BOOL supported = FALSE;
    if (!path || !ret_supported) return E_INVALIDARG;
    *ret_supported = FALSE;
    if (needs(s, SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    if (!standin_volume_of(path, volume)) return VSS_E_OBJECT_NOT_FOUND;
    HRESULT result = coordinator_is_volume_supported(
        s->coordinator, IsEqualGUID(&provider, &none) ? NULL : &provider, volume, &supported);
    *ret_supported = supported;
    return judged(s, result);
}

static HRESULT STDMETHODCALLTYPE start_snapshot_set(IVssBackupComponentsEx4 *iface, VSS_ID *ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    if (needs(s, SESSION_INITIALIZED) != S_OK || s->steps & SESSION_RESTORE) return VSS_E_BAD_STATE;
    if (has_writers(s) && needs(s, SESSION_STATE | SESSION_GATHERED) != S_OK)
        return VSS_E_BAD_STATE;
    if (s->steps & SESSION_STARTED) return VSS_E_SNAPSHOT_SET_IN_PROGRESS;
    HRESULT result = coordinator_start_set(s->coordinator, ret);
    if (SUCCEEDED(result)) s->steps |= SESSION_STARTED;
    return judged(s, result);
}

static HRESULT STDMETHODCALLTYPE add_to_snapshot_set(IVssBackupComponentsEx4 *iface, VSS_PWSZ path,
                                                     VSS_ID provider, VSS_ID *ret)
{
    static const VSS_ID none;
    struct session *s = of(iface);
    char volume[SI_NAME_MAX];
    if (!path || !ret) return E_INVALIDARG;
    if (needs(s, SESSION_STARTED) != S_OK || s->steps & SESSION_PREPARED) return VSS_E_BAD_STATE;
    if (!standin_volume_of(path, volume)) return VSS_E_OBJECT_NOT_FOUND;
    HRESULT result = coordinator_add_volume(s->coordinator, volume,
                                            IsEqualGUID(&provider, &none) ? NULL : &provider, ret);
    if (SUCCEEDED(result)) s->steps |= SESSION_HAS_VOLUME;
    return judged(s, result);
}

static HRESULT STDMETHODCALLTYPE prepare_for_backup(IVssBackupComponentsEx4 *iface, IVssAsync **ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    if (needs(s, SESSION_STARTED | SESSION_HAS_VOLUME) != S_OK) return VSS_E_BAD_STATE;
    s->steps |= SESSION_PREPARED;
    return run_later(s, nothing_to_do, NULL, ret);
}

static HRESULT do_set(void *context)
{
    struct session *s = context;
    return judged(s, coordinator_do_set(s->coordinator));
}

static void cancel_set(void *context)
{
    coordinator_cancel(((struct session *)context)->coordinator);
}

static HRESULT STDMETHODCALLTYPE do_snapshot_set(IVssBackupComponentsEx4 *iface, IVssAsync **ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    if (needs(s, SESSION_STARTED | SESSION_HAS_VOLUME) != S_OK || s->steps & SESSION_DONE)
        return VSS_E_BAD_STATE;
    if (has_writers(s) && needs(s, SESSION_PREPARED) != S_OK) return VSS_E_BAD_STATE;
    s->steps |= SESSION_DONE;
    return run_later(s, do_set, cancel_set, ret);
}

static HRESULT STDMETHODCALLTYPE abort_backup(IVssBackupComponentsEx4 *iface)
{
    struct session *s = of(iface);
    if (needs(s, SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    if (s->steps & SESSION_STARTED) coordinator_cancel(s->coordinator);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE backup_complete(IVssBackupComponentsEx4 *iface, IVssAsync **ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    if (needs(s, SESSION_DONE) != S_OK) return VSS_E_BAD_STATE;
    return run_later(s, nothing_to_do, NULL, ret);
}

static HRESULT STDMETHODCALLTYPE save_as_xml(IVssBackupComponentsEx4 *iface, BSTR *ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    *ret = NULL;
    if (needs(s, SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    char *text = coordinator_save_document(s->coordinator);
    WCHAR *wide = text ? standin_wide(text) : NULL;
    if (wide) *ret = SysAllocString(wide);
    CoTaskMemFree(wide);
    free(text);
    return *ret ? S_OK : E_OUTOFMEMORY;
}

/* ---- Using shadow copies --------------------------------------------------------------------- */

static HRESULT import_set(void *context)
{
    struct session *s = context;
    return judged(s, coordinator_import(s->coordinator));
}

static HRESULT STDMETHODCALLTYPE import_snapshots(IVssBackupComponentsEx4 *iface, IVssAsync **ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    if (needs(s, SESSION_INITIALIZED | SESSION_DOCUMENT) != S_OK || s->steps & SESSION_RESTORE)
        return VSS_E_BAD_STATE;
    return run_later(s, import_set, NULL, ret);
}

static HRESULT STDMETHODCALLTYPE delete_snapshots(IVssBackupComponentsEx4 *iface, VSS_ID id,
                                                  VSS_OBJECT_TYPE type, WINBOOL force,
                                                  LONG *ret_deleted, VSS_ID *ret_kept)
{
    struct session *s = of(iface);
    (void)force;
    if (!ret_deleted || !ret_kept) return E_INVALIDARG;
    if (type != VSS_OBJECT_SNAPSHOT && type != VSS_OBJECT_SNAPSHOT_SET) return E_INVALIDARG;
    if (needs(s, SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    return judged(s, coordinator_delete(s->coordinator, &id, type == VSS_OBJECT_SNAPSHOT_SET,
                                        ret_deleted, ret_kept));
}

static HRESULT break_set(void *context)
{
    struct session *s = context;
    return judged(s, coordinator_break(s->coordinator, &s->set, false, s->flags));
}

static HRESULT STDMETHODCALLTYPE break_snapshot_set_ex(IVssBackupComponentsEx4 *iface, VSS_ID set,
                                                       DWORD flags, IVssAsync **ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    if (needs(s, SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    s->set = set;
    s->flags = flags;
    return run_later(s, break_set, NULL, ret);
}

static HRESULT STDMETHODCALLTYPE break_snapshot_set(IVssBackupComponentsEx4 *iface, VSS_ID set)
{
    struct session *s = of(iface);
    if (needs(s, SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    return judged(s, coordinator_break(s->coordinator, &set, true, 0));
}

static HRESULT STDMETHODCALLTYPE add_snapshot_to_recovery_set(IVssBackupComponentsEx4 *iface,
                                                              VSS_ID id, DWORD flags, VSS_PWSZ path)
{
    struct session *s = of(iface);
    char volume[SI_NAME_MAX];
    if (flags) return E_INVALIDARG;
    if (needs(s, SESSION_INITIALIZED | SESSION_RESTORE) != S_OK) return VSS_E_BAD_STATE;
    if (path && !standin_volume_of(path, volume)) return VSS_E_OBJECT_NOT_FOUND;
    HRESULT result = coordinator_add_to_recovery_set(s->coordinator, &id, path ? volume : NULL);
    if (SUCCEEDED(result)) s->steps |= SESSION_RECOVERY;
    return judged(s, result);
}

static HRESULT recover(void *context)
{
    struct session *s = context;
    return judged(s, coordinator_recover_set(s->coordinator, s->flags));
}

static HRESULT STDMETHODCALLTYPE recover_set(IVssBackupComponentsEx4 *iface, DWORD flags,
                                             IVssAsync **ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    if (needs(s, SESSION_RESTORE | SESSION_RECOVERY) != S_OK) return VSS_E_BAD_STATE;
    s->flags = flags;
    return run_later(s, recover, cancel_set, ret);
}

static HRESULT STDMETHODCALLTYPE get_properties(IVssBackupComponentsEx4 *iface, VSS_ID id,
                                                VSS_SNAPSHOT_PROP *ret)
{
    struct session *s = of(iface);
    if (!ret) return E_INVALIDARG;
    if (needs(s, SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    return session_properties(s, &id, ret);
}

static HRESULT STDMETHODCALLTYPE query(IVssBackupComponentsEx4 *iface, VSS_ID object,
                                       VSS_OBJECT_TYPE type, VSS_OBJECT_TYPE wanted,
                                       IVssEnumObject **ret)
{
    static const VSS_ID none;
    struct session *s = of(iface);
    if (!ret || !IsEqualGUID(&object, &none) || type != VSS_OBJECT_NONE) return E_INVALIDARG;
    if (needs(s, SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    if (wanted == VSS_OBJECT_PROVIDER) return standin_providers(ret);
    return wanted == VSS_OBJECT_SNAPSHOT ? session_query(s, ret) : E_INVALIDARG;
}

static HRESULT STDMETHODCALLTYPE expose_snapshot(IVssBackupComponentsEx4 *iface, VSS_ID id,
                                                 VSS_PWSZ path, LONG attributes, VSS_PWSZ name,
                                                 VSS_PWSZ *ret_name)
{
    struct session *s = of(iface);
    struct coordinator_snapshot found;
    char text[SI_NAME_MAX];
    if (!ret_name) return E_INVALIDARG;
    *ret_name = NULL;
    if (needs(s, SESSION_INITIALIZED) != S_OK) return VSS_E_BAD_STATE;
    /* Shares are Windows' own affair: the stand-in has letters and folders only. */
    if (attributes != VSS_VOLSNAP_ATTR_EXPOSED_LOCALLY || path || !standin_narrow(name, text))
        return E_INVALIDARG;
    if (!session_find(s, &id, &found)) return VSS_E_OBJECT_NOT_FOUND;
    if (!(found.attributes & VSS_VOLSNAP_ATTR_PERSISTENT)) return E_INVALIDARG;
    if (!found.device[0]) return VSS_E_BAD_STATE;
    HRESULT result = standin_expose(&found, text);
    if (SUCCEEDED(result)) *ret_name = standin_copy(name);
    return result;
}

static HRESULT STDMETHODCALLTYPE unexpose_snapshot(IVssBackupComponentsEx4 *iface, VSS_ID id)
{
    return needs(of(iface), SESSION_INITIALIZED) == S_OK ? standin_unexpose(&id) : VSS_E_BAD_STATE;
}

/* ---- Creation -------------------------------------------------------------------------------- */

static void fill_methods(IVssBackupComponentsEx4Vtbl *methods)
{
    session_fill_rest(methods);
    session_fill_writers(methods);
    methods->QueryInterface = query_interface;
    methods->AddRef = add_ref;
    methods->Release = release;
    methods->InitializeForBackup = initialize_for_backup;
    methods->InitializeForRestore = initialize_for_restore;
    methods->SetContext = set_context;
    methods->SetBackupState = set_backup_state;
    methods->GatherWriterMetadata = gather_writer_metadata;
    methods->IsVolumeSupported = is_volume_supported;
    methods->StartSnapshotSet = start_snapshot_set;
    methods->AddToSnapshotSet = add_to_snapshot_set;
    methods->PrepareForBackup = prepare_for_backup;
    methods->DoSnapshotSet = do_snapshot_set;
    methods->AbortBackup = abort_backup;
    methods->BackupComplete = backup_complete;
    methods->SaveAsXML = save_as_xml;
    methods->ImportSnapshots = import_snapshots;
    methods->DeleteSnapshots = delete_snapshots;
    methods->BreakSnapshotSet = break_snapshot_set;
    methods->BreakSnapshotSetEx = break_snapshot_set_ex;
    methods->AddSnapshotToRecoverySet = add_snapshot_to_recovery_set;
    methods->RecoverSet = recover_set;
    methods->GetSnapshotProperties = get_properties;
    methods->Query = query;
    methods->ExposeSnapshot = expose_snapshot;
    methods->UnexposeSnapshot = unexpose_snapshot;
}

/* STANDIN_FAULT: KIND:STEP. */
static void set_fault(struct coordinator *c)
{
    static const struct {
        const char *kind;
        enum coordinator_fault fault;
    } kinds[] = {
        {"abort-before:", COORDINATOR_ABORT_BEFORE}, {"abort-after:", COORDINATOR_ABORT_AFTER},
        {"abort-during:", COORDINATOR_ABORT_DURING}, {"vanish-after:", COORDINATOR_VANISH_AFTER},
        {"kill-before:", COORDINATOR_KILL_BEFORE},   {"kill-after:", COORDINATOR_KILL_AFTER},
    };
    char text[SI_NAME_MAX];
    standin_setting("STANDIN_FAULT", text);
    for (size_t i = 0; i < ARRAYSIZE(kinds); i++) {
        size_t length = strlen(kinds[i].kind);
        if (strncmp(text, kinds[i].kind, length) == 0)
            coordinator_set_fault(c, kinds[i].fault, text + length);
    }
}

static bool open_coordinator(struct session *s)
{
    struct coordinator_seams seams = {
        .registry = standin_registry(),
        .memory = standin_memory(),
        .new_process_each_call = standin_setting_number("STANDIN_EACH_CALL"),
        .order_seed = standin_setting_number("STANDIN_SEED"),
    };
    DWORD length = ARRAYSIZE(seams.computer);
    standin_setting("STANDIN_COMPUTER", seams.computer);
    if (!seams.computer[0]) GetComputerNameA(seams.computer, &length);
    s->host = standin_host_create(&seams.machine);
    if (!s->host) return false;
    seams.host = s->host;
    if (coordinator_create(&seams, &s->coordinator) == 0) {
        set_fault(s->coordinator);
        return true;
    }
    standin_host_destroy(s->host);
    return false;
}

static HRESULT create(IVssBackupComponents **ret)
{
    static IVssBackupComponentsEx4Vtbl methods;
    struct session *s = calloc(1, sizeof *s);
    *ret = NULL;
    if (!s) return E_OUTOFMEMORY;
    fill_methods(&methods);
    s->iface.lpVtbl = &methods;
    s->references = 1;
    if (FAILED(CoCreateGuid(&s->id)) || !open_coordinator(s)) {
        free(s);
        return E_OUTOFMEMORY;
    }
    InterlockedIncrement(&standin_objects);
    *ret = (IVssBackupComponents *)&s->iface;
    return S_OK;
}

HRESULT STDAPICALLTYPE CreateVssBackupComponentsInternal(IVssBackupComponents **ret)
{
    DWORD exception = standin_setting_number("STANDIN_RAISES");
    if (exception) RaiseException(exception, 0, 0, NULL);
    return ret ? create(ret) : E_INVALIDARG;
}
