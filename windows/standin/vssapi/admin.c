/* IVssAdmin: providers come and go.  Codes: RegisterProvider and UnregisterProvider of the SDK. */
#include <stdio.h>
#include <stdlib.h>

#include "windows/standin/vssapi/registry.h"

struct admin {
    IVssAdmin iface;
    LONG references;
};

static HRESULT STDMETHODCALLTYPE query(IVssAdmin *iface, REFIID iid, void **ret)
{
    *ret = NULL;
    if (!IsEqualIID(iid, &IID_IUnknown) && !IsEqualIID(iid, &IID_IVssAdmin)) return E_NOINTERFACE;
    IVssAdmin_AddRef(iface);
    *ret = iface;
    return S_OK;
}

static ULONG STDMETHODCALLTYPE add_ref(IVssAdmin *iface)
{
    return (ULONG)InterlockedIncrement(&((struct admin *)iface)->references);
}

static ULONG STDMETHODCALLTYPE release(IVssAdmin *iface)
{
    LONG left = InterlockedDecrement(&((struct admin *)iface)->references);
    if (left == 0) {
        free(iface);
        InterlockedDecrement(&standin_objects);
    }
    return (ULONG)left;
}

/* ---- Registration ---------------------------------------------------------------------------- */

static bool is_administrator(void)
{
    SID_IDENTIFIER_AUTHORITY authority = SECURITY_NT_AUTHORITY;
    PSID administrators;
    BOOL is_member = FALSE;
    if (!AllocateAndInitializeSid(&authority, 2, SECURITY_BUILTIN_DOMAIN_RID,
                                  DOMAIN_ALIAS_RID_ADMINS, 0, 0, 0, 0, 0, 0, &administrators))
        return false;
    if (!CheckTokenMembership(NULL, administrators, &is_member)) is_member = FALSE;
    FreeSid(administrators);
    return is_member;
}

static bool is_server(void)
{
    WCHAR type[32] = L"";
    DWORD size = sizeof type;
    RegGetValueW(HKEY_LOCAL_MACHINE, L"SYSTEM\\CurrentControlSet\\Control\\ProductOptions",
                 L"ProductType", RRF_RT_REG_SZ, NULL, type, &size);
    return wcscmp(type, L"ServerNT") == 0 || wcscmp(type, L"LanmanNT") == 0;
}

static void key_of(const VSS_ID *provider, WCHAR ret[128])
{
    WCHAR id[64];
    StringFromGUID2(provider, id, ARRAYSIZE(id));
    _snwprintf(ret, 128, L"%ls\\%ls", STANDIN_PROVIDERS, id);
}

static bool write_text(HKEY key, const WCHAR *name, const WCHAR *text)
{
    DWORD size = (DWORD)((wcslen(text) + 1) * sizeof *text);
    return RegSetValueExW(key, name, 0, REG_SZ, (const BYTE *)text, size) == ERROR_SUCCESS;
}

static bool write_guid(HKEY key, const WCHAR *name, const GUID *guid)
{
    WCHAR text[64];
    StringFromGUID2(guid, text, ARRAYSIZE(text));
    return write_text(key, name, text);
}

static bool write_class(HKEY key, const CLSID *class)
{
    HKEY below;
    if (RegCreateKeyExW(key, L"CLSID", 0, NULL, 0, KEY_WRITE, NULL, &below, NULL) != ERROR_SUCCESS)
        return false;
    bool good = write_guid(below, NULL, class);
    RegCloseKey(below);
    return good;
}

static HRESULT STDMETHODCALLTYPE register_provider(IVssAdmin *iface, VSS_ID provider, CLSID class,
                                                   VSS_PWSZ name, VSS_PROVIDER_TYPE type,
                                                   VSS_PWSZ version, VSS_ID version_id)
{
    static const GUID none;
    WCHAR path[128];
    DWORD type_number = (DWORD)type, disposition;
    HKEY key;
    (void)iface;
    if (!is_administrator()) return E_ACCESSDENIED;
    if (!name || !*name || !version || IsEqualGUID(&provider, &none) ||
        IsEqualGUID(&class, &none) || IsEqualGUID(&version_id, &none) ||
        (type != VSS_PROV_HARDWARE && type != VSS_PROV_SOFTWARE && type != VSS_PROV_FILESHARE))
        return E_INVALIDARG;
    if (type == VSS_PROV_HARDWARE && !is_server()) return E_INVALIDARG;
    key_of(&provider, path);
    if (RegCreateKeyExW(HKEY_LOCAL_MACHINE, path, 0, NULL, 0, KEY_ALL_ACCESS, NULL, &key,
                        &disposition) != ERROR_SUCCESS)
        return VSS_E_UNEXPECTED;
    if (disposition == REG_OPENED_EXISTING_KEY) {
        RegCloseKey(key);
        return VSS_E_PROVIDER_ALREADY_REGISTERED;
    }
    bool good = write_text(key, NULL, name) && write_text(key, L"Version", version) &&
                write_guid(key, L"VersionId", &version_id) && write_class(key, &class) &&
                RegSetValueExW(key, L"Type", 0, REG_DWORD, (const BYTE *)&type_number,
                               sizeof type_number) == ERROR_SUCCESS;
    RegCloseKey(key);
    if (!good) RegDeleteTreeW(HKEY_LOCAL_MACHINE, path);
    return good ? S_OK : VSS_E_UNEXPECTED;
}

static HRESULT STDMETHODCALLTYPE unregister_provider(IVssAdmin *iface, VSS_ID provider)
{
    WCHAR path[128];
    (void)iface;
    if (!is_administrator()) return E_ACCESSDENIED;
    key_of(&provider, path);
    LONG result = RegDeleteTreeW(HKEY_LOCAL_MACHINE, path);
    if (result == ERROR_FILE_NOT_FOUND) return VSS_E_PROVIDER_NOT_REGISTERED;
    return result == ERROR_SUCCESS ? S_OK : VSS_E_UNEXPECTED;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

HRESULT standin_providers(IVssEnumObject **ret)
{
    static struct si_registered providers[SI_PROVIDERS_MAX];
    unsigned count = standin_registered(providers);
    VSS_OBJECT_PROP *properties = calloc(SI_PROVIDERS_MAX, sizeof *properties);
    if (!properties) return E_OUTOFMEMORY;
    for (unsigned i = 0; i < count; i++) {
        VSS_PROVIDER_PROP *property = &properties[i].Obj.Prov;
        properties[i].Type = VSS_OBJECT_PROVIDER;
        property->m_ProviderId = providers[i].id;
        property->m_pwszProviderName = standin_wide(providers[i].name);
        property->m_eProviderType = (VSS_PROVIDER_TYPE)providers[i].type;
        property->m_pwszProviderVersion = standin_wide(providers[i].version);
        property->m_ProviderVersionId = providers[i].version_id;
        property->m_ClassId = providers[i].clsid;
    }
    return standin_enum_create(properties, count, ret);
}

static HRESULT STDMETHODCALLTYPE query_providers(IVssAdmin *iface, IVssEnumObject **ret)
{
    (void)iface;
    return ret ? standin_providers(ret) : E_INVALIDARG;
}

/* "Not supported. This method is reserved for system use." */
static HRESULT STDMETHODCALLTYPE abort_all(IVssAdmin *iface)
{
    (void)iface;
    return E_NOTIMPL;
}

HRESULT standin_admin_create(IVssAdmin **ret)
{
    static IVssAdminVtbl methods = {
        query,           add_ref,  release, register_provider, unregister_provider,
        query_providers, abort_all};
    struct admin *admin = calloc(1, sizeof *admin);
    *ret = NULL;
    if (!admin) return E_OUTOFMEMORY;
    admin->iface.lpVtbl = &methods;
    admin->references = 1;
    InterlockedIncrement(&standin_objects);
    *ret = &admin->iface;
    return S_OK;
}
