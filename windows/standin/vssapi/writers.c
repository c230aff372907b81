/*
 * Writers that only answer: enough for a requester to list them, to demand and exclude them, and to
 * see one fail.  STANDIN_WRITERS names them, with ; between; STANDIN_WRITER_FAILS is the one that
 * fails at the freeze.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windows/standin/vssapi/session.h"

enum { WRITERS_MAX = 32 };

static struct session *of(IVssBackupComponentsEx4 *iface)
{
    return (struct session *)iface;
}

/* The id of a writer's class: its place in the list. */
static VSS_ID class_of(unsigned index)
{
    return (VSS_ID){
        0x7a58c1e0u + index, 0x1f0b, 0x4d6e, {0x8b, 0x51, 0x2c, 0x93, 0x07, 0x4e, 0xda, 0x66}};
}

/* Who takes part in this session, by number; UINT_MAX: there are no more. */
static unsigned nth(const struct session *s, UINT wanted, WCHAR ret_name[SI_NAME_MAX])
{
    WCHAR names[SI_NAME_MAX];
    DWORD length = GetEnvironmentVariableW(L"STANDIN_WRITERS", names, ARRAYSIZE(names));
    UINT seen = 0;
    unsigned index = 0;
    if (length == 0 || length >= ARRAYSIZE(names)) return UINT_MAX;
    for (WCHAR *at = names, *rest; at && *at; at = rest, index++) {
        rest = wcschr(at, L';');
        if (rest) *rest++ = L'\0';
        if (s->excluded_writers & 1u << index || seen++ != wanted) continue;
        wcscpy_s(ret_name, SI_NAME_MAX, at);
        return index;
    }
    return UINT_MAX;
}

static HRESULT STDMETHODCALLTYPE count(IVssBackupComponentsEx4 *iface, UINT *ret_count)
{
    WCHAR name[SI_NAME_MAX];
    if (!ret_count) return E_INVALIDARG;
    *ret_count = 0;
    if (!(of(iface)->steps & SESSION_GATHERED)) return VSS_E_BAD_STATE;
    while (nth(of(iface), *ret_count, name) != UINT_MAX)
        ++*ret_count;
    return S_OK;
}

static VSS_ID instance_of(unsigned index)
{
    VSS_ID id = class_of(index);
    id.Data2++;
    return id;
}

/* A bit for each writer that is named. */
static unsigned find(const VSS_ID *ids, UINT id_count, VSS_ID (*id_of)(unsigned index))
{
    unsigned found = 0;
    for (UINT i = 0; i < id_count; i++) {
        for (unsigned index = 0; index < WRITERS_MAX; index++) {
            VSS_ID id = id_of(index);
            if (IsEqualGUID(&ids[i], &id)) found |= 1u << index;
        }
    }
    return found;
}

/* Before they are asked, or never. */
static HRESULT may_choose(const struct session *s, const VSS_ID *ids, UINT id_count)
{
    if (!ids || id_count == 0) return E_INVALIDARG;
    return s->steps & SESSION_INITIALIZED && !(s->steps & (SESSION_GATHERED | SESSION_RESTORE))
               ? S_OK
               : VSS_E_BAD_STATE;
}

static HRESULT STDMETHODCALLTYPE disable(IVssBackupComponentsEx4 *iface, const VSS_ID *classes,
                                         UINT class_count)
{
    struct session *s = of(iface);
    HRESULT result = may_choose(s, classes, class_count);
    if (result == S_OK) s->excluded_writers |= find(classes, class_count, class_of);
    return result;
}

static HRESULT STDMETHODCALLTYPE disable_instances(IVssBackupComponentsEx4 *iface,
                                                   const VSS_ID *instances, UINT instance_count)
{
    struct session *s = of(iface);
    HRESULT result = may_choose(s, instances, instance_count);
    if (result == S_OK) s->excluded_writers |= find(instances, instance_count, instance_of);
    return result;
}

/* The first call leaves out all others; each further one adds. */
static HRESULT STDMETHODCALLTYPE enable(IVssBackupComponentsEx4 *iface, const VSS_ID *classes,
                                        UINT class_count)
{
    struct session *s = of(iface);
    HRESULT result = may_choose(s, classes, class_count);
    if (result != S_OK) return result;
    if (!s->has_enabled_writers) s->excluded_writers = ~0u;
    s->has_enabled_writers = true;
    s->excluded_writers &= ~find(classes, class_count, class_of);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE status(IVssBackupComponentsEx4 *iface, UINT wanted,
                                        VSS_ID *ret_instance, VSS_ID *ret_class, BSTR *ret_name,
                                        VSS_WRITER_STATE *ret_state, HRESULT *ret_failure)
{
    WCHAR name[SI_NAME_MAX], failing[SI_NAME_MAX] = L"";
    if (!ret_instance || !ret_class || !ret_name || !ret_state || !ret_failure) return E_INVALIDARG;
    unsigned index = nth(of(iface), wanted, name);
    if (index == UINT_MAX) return VSS_E_OBJECT_NOT_FOUND;
    GetEnvironmentVariableW(L"STANDIN_WRITER_FAILS", failing, ARRAYSIZE(failing));
    bool fails = of(iface)->steps & SESSION_DONE && wcscmp(failing, name) == 0;
    *ret_class = class_of(index);
    *ret_instance = instance_of(index);
    *ret_name = SysAllocString(name);
    *ret_state = fails                             ? VSS_WS_FAILED_AT_FREEZE
                 : of(iface)->steps & SESSION_DONE ? VSS_WS_WAITING_FOR_BACKUP_COMPLETE
                                                   : VSS_WS_STABLE;
    *ret_failure = fails ? VSS_E_WRITERERROR_TIMEOUT : S_OK;
    return S_OK;
}

/* No writer of the stand-in has more to say. */
static HRESULT STDMETHODCALLTYPE status_ex(IVssBackupComponentsEx4 *iface, UINT wanted,
                                           VSS_ID *ret_instance, VSS_ID *ret_class, BSTR *ret_name,
                                           VSS_WRITER_STATE *ret_state, HRESULT *ret_failure,
                                           HRESULT *ret_application, BSTR *ret_message)
{
    if (ret_application) *ret_application = S_OK;
    if (ret_message) *ret_message = NULL;
    return status(iface, wanted, ret_instance, ret_class, ret_name, ret_state, ret_failure);
}

/* ---- Their metadata: who they are -------------------------------------------------------------- */

struct metadata {
    IVssExamineWriterMetadataEx iface;
    LONG references;
    unsigned index;
    WCHAR name[SI_NAME_MAX];
};

static HRESULT STDMETHODCALLTYPE query(IVssExamineWriterMetadataEx *iface, REFIID iid, void **ret)
{
    *ret = NULL;
    if (!IsEqualIID(iid, &IID_IUnknown) && !IsEqualIID(iid, &IID_IVssExamineWriterMetadata) &&
        !IsEqualIID(iid, &IID_IVssExamineWriterMetadataEx))
        return E_NOINTERFACE;
    iface->lpVtbl->AddRef(iface);
    *ret = iface;
    return S_OK;
}

static ULONG STDMETHODCALLTYPE add_ref(IVssExamineWriterMetadataEx *iface)
{
    return (ULONG)InterlockedIncrement(&((struct metadata *)iface)->references);
}

static ULONG STDMETHODCALLTYPE release(IVssExamineWriterMetadataEx *iface)
{
    LONG left = InterlockedDecrement(&((struct metadata *)iface)->references);
    if (left == 0) {
        free(iface);
        InterlockedDecrement(&standin_objects);
    }
    return (ULONG)left;
}

static HRESULT STDMETHODCALLTYPE identity(IVssExamineWriterMetadataEx *iface, VSS_ID *ret_instance,
                                          VSS_ID *ret_class, BSTR *ret_name,
                                          VSS_USAGE_TYPE *ret_usage, VSS_SOURCE_TYPE *ret_source)
{
    const struct metadata *m = (const struct metadata *)iface;
    *ret_class = class_of(m->index);
    *ret_instance = instance_of(m->index);
    *ret_name = SysAllocString(m->name);
    *ret_usage = VSS_UT_USERDATA;
    *ret_source = VSS_ST_OTHER;
    return S_OK;
}

/* One instance of each, without a name of its own. */
static HRESULT STDMETHODCALLTYPE identity_ex(IVssExamineWriterMetadataEx *iface,
                                             VSS_ID *ret_instance, VSS_ID *ret_class,
                                             BSTR *ret_name, BSTR *ret_instance_name,
                                             VSS_USAGE_TYPE *ret_usage, VSS_SOURCE_TYPE *ret_source)
{
    *ret_instance_name = SysAllocString(L"");
    return identity(iface, ret_instance, ret_class, ret_name, ret_usage, ret_source);
}

static HRESULT STDMETHODCALLTYPE file_counts(IVssExamineWriterMetadataEx *iface, UINT *ret_included,
                                             UINT *ret_excluded, UINT *ret_components)
{
    (void)iface;
    if (!ret_included || !ret_excluded || !ret_components) return E_INVALIDARG;
    *ret_included = *ret_excluded = *ret_components = 0;
    return S_OK;
}

/* On x64 the caller clears the stack, so that this one fits every method. */
static HRESULT STDMETHODCALLTYPE not_done(IVssExamineWriterMetadataEx *iface)
{
    (void)iface;
    return E_NOTIMPL;
}

static HRESULT STDMETHODCALLTYPE metadata_ex_of(IVssBackupComponentsEx4 *iface, UINT wanted,
                                                VSS_ID *ret_instance,
                                                IVssExamineWriterMetadataEx **ret)
{
    static IVssExamineWriterMetadataExVtbl methods;
    WCHAR name[SI_NAME_MAX];
    typedef void (*slot)(void);
    slot *slots = (slot *)(void *)&methods;
    if (!ret_instance || !ret) return E_INVALIDARG;
    *ret = NULL;
    unsigned index = nth(of(iface), wanted, name);
    if (index == UINT_MAX) return VSS_E_OBJECT_NOT_FOUND;
    struct metadata *m = calloc(1, sizeof *m);
    if (!m) return E_OUTOFMEMORY;
    for (size_t i = 0; i < sizeof methods / sizeof *slots; i++)
        slots[i] = (slot)(void *)not_done;
    methods.QueryInterface = query;
    methods.AddRef = add_ref;
    methods.Release = release;
    methods.GetIdentity = identity;
    methods.GetIdentityEx = identity_ex;
    methods.GetFileCounts = file_counts;
    *m = (struct metadata){.iface.lpVtbl = &methods, .references = 1, .index = index};
    wcscpy_s(m->name, ARRAYSIZE(m->name), name);
    *ret_instance = instance_of(index);
    InterlockedIncrement(&standin_objects);
    *ret = &m->iface;
    return S_OK;
}

/* The newer interface begins as the older one. */
static HRESULT STDMETHODCALLTYPE metadata_of(IVssBackupComponentsEx4 *iface, UINT wanted,
                                             VSS_ID *ret_instance, IVssExamineWriterMetadata **ret)
{
    IVssExamineWriterMetadataEx *metadata = NULL;
    if (!ret) return E_INVALIDARG;
    HRESULT result = metadata_ex_of(iface, wanted, ret_instance, &metadata);
    *ret = (IVssExamineWriterMetadata *)metadata;
    return result;
}

void session_fill_writers(IVssBackupComponentsEx4Vtbl *methods)
{
    methods->GetWriterMetadataCount = count;
    methods->GetWriterMetadata = metadata_of;
    methods->GetWriterStatusCount = count;
    methods->GetWriterStatus = status;
    methods->GetWriterStatusEx = status_ex;
    methods->DisableWriterClasses = disable;
    methods->DisableWriterInstances = disable_instances;
    methods->EnableWriterClasses = enable;
    methods->GetWriterMetadataEx = metadata_ex_of;
}
