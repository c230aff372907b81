/* IVssEnumObject: shadow copies and providers, one after the other. */
#include <stdlib.h>
#include <string.h>

#include "windows/standin/vssapi/vssapi.h"

struct list {
    VSS_OBJECT_PROP *properties;
    ULONG count;
    LONG references;
};

struct enumeration {
    IVssEnumObject iface;
    LONG references;
    struct list *list; /* shared by clones */
    ULONG next;
};

static struct enumeration *of(IVssEnumObject *iface)
{
    return (struct enumeration *)iface;
}

static HRESULT STDMETHODCALLTYPE query(IVssEnumObject *iface, REFIID iid, void **ret)
{
    *ret = NULL;
    if (!IsEqualIID(iid, &IID_IUnknown) && !IsEqualIID(iid, &IID_IVssEnumObject))
        return E_NOINTERFACE;
    IVssEnumObject_AddRef(iface);
    *ret = iface;
    return S_OK;
}

static ULONG STDMETHODCALLTYPE add_ref(IVssEnumObject *iface)
{
    return (ULONG)InterlockedIncrement(&of(iface)->references);
}

static void list_release(struct list *list)
{
    if (InterlockedDecrement(&list->references) > 0) return;
    for (ULONG i = 0; i < list->count; i++)
        standin_free_properties(&list->properties[i]);
    free(list->properties);
    free(list);
}

static ULONG STDMETHODCALLTYPE release(IVssEnumObject *iface)
{
    LONG left = InterlockedDecrement(&of(iface)->references);
    if (left == 0) {
        list_release(of(iface)->list);
        free(iface);
        InterlockedDecrement(&standin_objects);
    }
    return (ULONG)left;
}

static bool copy_text(VSS_PWSZ *text)
{
    if (!*text) return true;
    *text = standin_copy(*text);
    return *text;
}

/* With texts of its own. */
static bool copy(const VSS_OBJECT_PROP *from, VSS_OBJECT_PROP *ret)
{
    *ret = *from;
    if (from->Type == VSS_OBJECT_PROVIDER) {
        return copy_text(&ret->Obj.Prov.m_pwszProviderName) &
               copy_text(&ret->Obj.Prov.m_pwszProviderVersion);
    }
    VSS_SNAPSHOT_PROP *snapshot = &ret->Obj.Snap;
    return copy_text(&snapshot->m_pwszSnapshotDeviceObject) &
           copy_text(&snapshot->m_pwszOriginalVolumeName) &
           copy_text(&snapshot->m_pwszOriginatingMachine) &
           copy_text(&snapshot->m_pwszServiceMachine) & copy_text(&snapshot->m_pwszExposedName) &
           copy_text(&snapshot->m_pwszExposedPath);
}

static HRESULT STDMETHODCALLTYPE next(IVssEnumObject *iface, ULONG wanted, VSS_OBJECT_PROP *ret,
                                      ULONG *ret_count)
{
    struct enumeration *e = of(iface);
    if (!ret || !ret_count) return E_POINTER;
    *ret_count = 0;
    ULONG end = standin_setting_number("STANDIN_LIST_ENDS");
    while (*ret_count < wanted) {
        if (end > 0 && e->next == end) return E_OUTOFMEMORY;
        if (e->next == e->list->count) break;
        if (!copy(&e->list->properties[e->next], &ret[*ret_count])) return E_OUTOFMEMORY;
        e->next++;
        ++*ret_count;
    }
    return *ret_count == wanted ? S_OK : S_FALSE;
}

static HRESULT STDMETHODCALLTYPE skip(IVssEnumObject *iface, ULONG count)
{
    struct enumeration *e = of(iface);
    bool enough = count <= e->list->count - e->next;
    e->next = enough ? e->next + count : e->list->count;
    return enough ? S_OK : S_FALSE;
}

static HRESULT STDMETHODCALLTYPE reset(IVssEnumObject *iface)
{
    of(iface)->next = 0;
    return S_OK;
}

static HRESULT create(struct list *list, ULONG first, IVssEnumObject **ret);

static HRESULT STDMETHODCALLTYPE clone(IVssEnumObject *iface, IVssEnumObject **ret)
{
    if (!ret) return E_POINTER;
    InterlockedIncrement(&of(iface)->list->references);
    return create(of(iface)->list, of(iface)->next, ret);
}

/* Takes over a reference to the list. */
static HRESULT create(struct list *list, ULONG first, IVssEnumObject **ret)
{
    static IVssEnumObjectVtbl methods = {query, add_ref, release, next, skip, reset, clone};
    struct enumeration *e = calloc(1, sizeof *e);
    *ret = NULL;
    if (!e) {
        list_release(list);
        return E_OUTOFMEMORY;
    }
    *e = (struct enumeration){
        .iface.lpVtbl = &methods, .references = 1, .list = list, .next = first};
    InterlockedIncrement(&standin_objects);
    *ret = &e->iface;
    return S_OK;
}

HRESULT standin_enum_create(VSS_OBJECT_PROP *properties, ULONG count, IVssEnumObject **ret)
{
    struct list *list = calloc(1, sizeof *list);
    *ret = NULL;
    if (!list) {
        for (ULONG i = 0; i < count; i++)
            standin_free_properties(&properties[i]);
        free(properties);
        return E_OUTOFMEMORY;
    }
    *list = (struct list){properties, count, 1};
    return create(list, 0, ret);
}
