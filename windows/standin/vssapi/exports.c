/* What vssapi.dll exports, and the class of the service. */
#include <stdio.h>
#include <stdlib.h>

#include "windows/standin/vssapi/vssapi.h"

/* The headers lack them. */
HRESULT WINAPI DllRegisterServer(void);
HRESULT WINAPI DllUnregisterServer(void);

static HINSTANCE instance;

BOOL WINAPI DllMain(HINSTANCE dll, DWORD reason, LPVOID reserved);
BOOL WINAPI DllMain(HINSTANCE dll, DWORD reason, LPVOID reserved)
{
    (void)reserved;
    if (reason == DLL_PROCESS_ATTACH) {
        instance = dll;
        DisableThreadLibraryCalls(dll);
    }
    return TRUE;
}

/* ---- For requesters -------------------------------------------------------------------------- */

HRESULT STDAPICALLTYPE CreateVssExamineWriterMetadataInternal(BSTR xml,
                                                              IVssExamineWriterMetadata **ret)
{
    (void)xml;
    if (ret) *ret = NULL;
    return E_NOTIMPL; /* writers of the stand-in have no metadata */
}

/* Only the provider of Windows itself makes copies that lie on the volume. */
HRESULT APIENTRY IsVolumeSnapshottedInternal(VSS_PWSZ volume, WINBOOL *ret_present,
                                             LONG *ret_limits)
{
    if (!volume || !ret_present || !ret_limits) return E_INVALIDARG;
    *ret_present = FALSE;
    *ret_limits = 0;
    return S_OK;
}

void APIENTRY VssFreeSnapshotPropertiesInternal(VSS_SNAPSHOT_PROP *property)
{
    VSS_OBJECT_PROP object = {.Type = VSS_OBJECT_SNAPSHOT};
    if (!property) return;
    object.Obj.Snap = *property;
    standin_free_properties(&object);
    *property = object.Obj.Snap;
}

HRESULT APIENTRY GetProviderMgmtInterfaceInternal(VSS_ID provider, IID iid, IUnknown **ret)
{
    (void)provider;
    (void)iid;
    if (ret) *ret = NULL;
    return ret ? E_NOINTERFACE : E_INVALIDARG;
}

HRESULT APIENTRY ShouldBlockRevertInternal(LPCWSTR volume, boolean *ret_block)
{
    if (!volume || !ret_block) return E_INVALIDARG;
    *ret_block = FALSE;
    return S_OK;
}

/* ---- The class, CLSID_VSSCoordinator --------------------------------------------------------- */

static HRESULT STDMETHODCALLTYPE factory_query(IClassFactory *iface, REFIID iid, void **ret)
{
    *ret = NULL;
    if (!IsEqualIID(iid, &IID_IUnknown) && !IsEqualIID(iid, &IID_IClassFactory))
        return E_NOINTERFACE;
    *ret = iface;
    return S_OK;
}

/* It is there as long as the DLL is. */
static ULONG STDMETHODCALLTYPE factory_add_ref(IClassFactory *iface)
{
    (void)iface;
    return 2;
}

static ULONG STDMETHODCALLTYPE factory_release(IClassFactory *iface)
{
    (void)iface;
    return 1;
}

static HRESULT STDMETHODCALLTYPE factory_create(IClassFactory *iface, IUnknown *outer, REFIID iid,
                                                void **ret)
{
    IVssAdmin *admin;
    (void)iface;
    *ret = NULL;
    if (outer) return CLASS_E_NOAGGREGATION;
    HRESULT result = standin_admin_create(&admin);
    if (FAILED(result)) return result;
    result = IVssAdmin_QueryInterface(admin, iid, ret);
    IVssAdmin_Release(admin);
    return result;
}

static HRESULT STDMETHODCALLTYPE factory_lock(IClassFactory *iface, BOOL is_locked)
{
    (void)iface;
    if (is_locked)
        InterlockedIncrement(&standin_objects);
    else
        InterlockedDecrement(&standin_objects);
    return S_OK;
}

HRESULT WINAPI DllGetClassObject(REFCLSID class, REFIID iid, LPVOID *ret)
{
    static IClassFactoryVtbl methods = {factory_query, factory_add_ref, factory_release,
                                        factory_create, factory_lock};
    static IClassFactory factory = {&methods};
    *ret = NULL;
    if (!IsEqualCLSID(class, &CLSID_VSSCoordinator)) return CLASS_E_CLASSNOTAVAILABLE;
    return factory_query(&factory, iid, ret);
}

HRESULT WINAPI DllCanUnloadNow(void)
{
    return standin_objects > 0 ? S_FALSE : S_OK;
}

/* On Windows the class belongs to the service; here it is made in the process that asks. */
static void class_key(WCHAR ret[128])
{
    WCHAR class[64];
    StringFromGUID2(&CLSID_VSSCoordinator, class, ARRAYSIZE(class));
    _snwprintf(ret, 128, L"SOFTWARE\\Classes\\CLSID\\%ls", class);
}

static bool set_text(const WCHAR *key, const WCHAR *name, const WCHAR *text)
{
    DWORD size = (DWORD)((wcslen(text) + 1) * sizeof *text);
    return RegSetKeyValueW(HKEY_LOCAL_MACHINE, key, name, REG_SZ, text, size) == ERROR_SUCCESS;
}

HRESULT WINAPI DllRegisterServer(void)
{
    WCHAR key[128], server[160], file[MAX_PATH];
    class_key(key);
    _snwprintf(server, ARRAYSIZE(server), L"%ls\\InprocServer32", key);
    if (!GetModuleFileNameW(instance, file, ARRAYSIZE(file))) return E_FAIL;
    return set_text(key, NULL, L"VSS coordinator (stand-in)") && set_text(server, NULL, file) &&
                   set_text(server, L"ThreadingModel", L"Both")
               ? S_OK
               : E_FAIL;
}

HRESULT WINAPI DllUnregisterServer(void)
{
    WCHAR key[128];
    class_key(key);
    RegDeleteTreeW(HKEY_LOCAL_MACHINE, key);
    return S_OK;
}
