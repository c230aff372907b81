/*
 * vssapi_probe - what vssapi.dll of the stand-in answers, as the SDK documents it.  Prints TAP.
 *
 * Run on a server first; `vssapi_probe client` is for one that is none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>

#include <vsadmin.h>
#include <vss.h>
#include <vsserror.h>

#include "tests/lib/tap.h"

static IVssAdmin *admin;

static const VSS_ID provider = {0x11111111, 2, 3, {4, 5, 6, 7, 8, 9, 10, 11}};
static const CLSID class = {0x22222222, 2, 3, {4, 5, 6, 7, 8, 9, 10, 11}};
static const VSS_ID version = {0x33333333, 2, 3, {4, 5, 6, 7, 8, 9, 10, 11}};
static const VSS_ID nothing;
static WCHAR name[] = L"a provider of the probe", version_text[] = L"1.0";

static HRESULT add(VSS_ID id, VSS_PROVIDER_TYPE type)
{
    return IVssAdmin_RegisterProvider(admin, id, class, name, type, version_text, version);
}

static void the_service_has_its_documented_class(void)
{
    IVssAdmin *again = NULL;
    IUnknown *other = NULL;
    require(CoCreateInstance(&CLSID_VSSCoordinator, NULL, CLSCTX_ALL, &IID_IVssAdmin,
                             (void **)&admin) == S_OK);
    expect_eq(IVssAdmin_QueryInterface(admin, &IID_IVssAdmin, (void **)&again), S_OK);
    expect(again == admin);
    IVssAdmin_Release(again);
    expect_eq(IVssAdmin_QueryInterface(admin, &IID_IVssAsync, (void **)&other), E_NOINTERFACE);
    expect(other == NULL);
}

static void a_provider_is_registered_once(void)
{
    require(admin != NULL);
    expect_eq(add(provider, VSS_PROV_HARDWARE), S_OK);
    expect_eq(add(provider, VSS_PROV_HARDWARE), VSS_E_PROVIDER_ALREADY_REGISTERED);
}

static void registration_is_judged(void)
{
    VSS_ID other = provider;
    other.Data1++;
    require(admin != NULL);
    expect_eq(add(nothing, VSS_PROV_HARDWARE), E_INVALIDARG);
    expect_eq(add(other, VSS_PROV_UNKNOWN), E_INVALIDARG);
    expect_eq(add(other, VSS_PROV_SYSTEM), E_INVALIDARG);
    expect_eq(IVssAdmin_RegisterProvider(admin, other, class, NULL, VSS_PROV_HARDWARE, version_text,
                                         version),
              E_INVALIDARG);
    expect_eq(IVssAdmin_RegisterProvider(admin, other, nothing, name, VSS_PROV_HARDWARE,
                                         version_text, version),
              E_INVALIDARG);
    expect_eq(IVssAdmin_RegisterProvider(admin, other, class, name, VSS_PROV_HARDWARE, version_text,
                                         nothing),
              E_INVALIDARG);
    expect_eq(IVssAdmin_UnregisterProvider(admin, other), VSS_E_PROVIDER_NOT_REGISTERED);
}

static void take(VSS_OBJECT_PROP *property)
{
    CoTaskMemFree(property->Obj.Prov.m_pwszProviderName);
    CoTaskMemFree(property->Obj.Prov.m_pwszProviderVersion);
}

static void providers_are_listed(void)
{
    IVssEnumObject *list, *again;
    VSS_OBJECT_PROP property[2];
    ULONG count = 7;
    require(admin != NULL && IVssAdmin_QueryProviders(admin, &list) == S_OK);
    expect_eq(IVssEnumObject_Next(list, 2, property, &count), S_FALSE);
    require(count == 1);
    expect_eq(property[0].Type, VSS_OBJECT_PROVIDER);
    expect(IsEqualGUID(&property[0].Obj.Prov.m_ProviderId, &provider));
    expect(IsEqualGUID(&property[0].Obj.Prov.m_ClassId, &class));
    expect(IsEqualGUID(&property[0].Obj.Prov.m_ProviderVersionId, &version));
    expect_eq(property[0].Obj.Prov.m_eProviderType, VSS_PROV_HARDWARE);
    expect(wcscmp(property[0].Obj.Prov.m_pwszProviderName, name) == 0);
    expect(wcscmp(property[0].Obj.Prov.m_pwszProviderVersion, version_text) == 0);
    take(&property[0]);
    expect_eq(IVssEnumObject_Next(list, 1, property, &count), S_FALSE);
    expect_eq(count, 0);
    expect_eq(IVssEnumObject_Reset(list), S_OK);
    require(IVssEnumObject_Clone(list, &again) == S_OK);
    IVssEnumObject_Release(list);
    expect_eq(IVssEnumObject_Next(again, 1, property, &count), S_OK);
    take(&property[0]);
    expect_eq(IVssEnumObject_Skip(again, 1), S_FALSE);
    IVssEnumObject_Release(again);
}

static void a_provider_is_unregistered_once(void)
{
    require(admin != NULL);
    expect_eq(IVssAdmin_UnregisterProvider(admin, provider), S_OK);
    expect_eq(IVssAdmin_UnregisterProvider(admin, provider), VSS_E_PROVIDER_NOT_REGISTERED);
}

static void hardware_providers_are_for_servers_only(void)
{
    require(admin != NULL);
    expect_eq(add(provider, VSS_PROV_HARDWARE), E_INVALIDARG);
    expect_eq(IVssAdmin_UnregisterProvider(admin, provider), VSS_E_PROVIDER_NOT_REGISTERED);
    expect_eq(add(provider, VSS_PROV_SOFTWARE), S_OK);
    expect_eq(IVssAdmin_UnregisterProvider(admin, provider), S_OK);
}

/* Every name that requesters are known to ask for. */
static void the_names_that_requesters_bind_are_there(void)
{
    static const char *const names[] = {
        "CreateVssBackupComponentsInternal",
        "?CreateVssBackupComponents@@YAJPEAPEAVIVssBackupComponents@@@Z",
        "CreateVssExamineWriterMetadataInternal",
        "?CreateVssExamineWriterMetadata@@YAJPEAGPEAPEAVIVssExamineWriterMetadata@@@Z",
        "VssFreeSnapshotProperties",
        "VssFreeSnapshotPropertiesInternal",
        "IsVolumeSnapshotted",
        "IsVolumeSnapshottedInternal",
        "ShouldBlockRevert",
        "ShouldBlockRevertInternal",
        "GetProviderMgmtInterface",
        "GetProviderMgmtInterfaceInternal",
    };
    HMODULE dll = LoadLibraryW(L"vssapi.dll");
    require(dll != NULL);
    for (size_t i = 0; i < ARRAYSIZE(names); i++) {
        bool there = GetProcAddress(dll, names[i]) != NULL;
        if (!there) printf("# %s\n", names[i]);
        expect(there);
    }
}

int main(int argc, char **argv)
{
    bool is_client = argc > 1 && strcmp(argv[1], "client") == 0;
    if (FAILED(CoInitializeEx(NULL, COINIT_MULTITHREADED))) return 1;
    run(the_service_has_its_documented_class);
    if (is_client) {
        run(hardware_providers_are_for_servers_only);
    } else {
        run(a_provider_is_registered_once);
        run(registration_is_judged);
        run(providers_are_listed);
        run(a_provider_is_unregistered_once);
        run(the_names_that_requesters_bind_are_there);
    }
    if (admin) IVssAdmin_Release(admin);
    CoUninitialize();
    return tap_done();
}
