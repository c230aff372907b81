/*
 * com_probe - the provider, as COM gives it out: activation, identity of the object, records there
 * and back.  Prints TAP.
 *
 * A client in a process of its own, as the VSS service is one.  The host is not enrolled: no server
 * can be asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>

#include <vdslun.h>
#include <vsprov.h>
#include <vss.h>
#include <vsserror.h>

#include "windows/provider/com/ids.h"

#include "tests/lib/tap.h"

static IVssHardwareSnapshotProviderEx *hardware;
static IVssProviderCreateSnapshotSet *creation;
static IVssProviderNotifications *notifications;

static const VSS_ID set = {1, 2, 3, {4, 5, 6, 7, 8, 9, 10, 11}};

static void activation_starts_the_service(void)
{
    const CLSID clsid = TARN_CLSID;
    HRESULT result = CoCreateInstance(&clsid, NULL, CLSCTX_LOCAL_SERVER,
                                      &IID_IVssHardwareSnapshotProviderEx, (void **)&hardware);
    expect_eq(result, S_OK);
}

static void every_interface_leads_to_every_other(void)
{
    IVssHardwareSnapshotProvider *plain;
    IVssHardwareSnapshotProviderEx *again;
    IUnknown *one, *two, *three;
    require(hardware != NULL);
    require(hardware->lpVtbl->QueryInterface(hardware, &IID_IVssProviderCreateSnapshotSet,
                                             (void **)&creation) == S_OK);
    require(creation->lpVtbl->QueryInterface(creation, &IID_IVssProviderNotifications,
                                             (void **)&notifications) == S_OK);
    require(notifications->lpVtbl->QueryInterface(notifications, &IID_IVssHardwareSnapshotProvider,
                                                  (void **)&plain) == S_OK);
    require(plain->lpVtbl->QueryInterface(plain, &IID_IVssHardwareSnapshotProviderEx,
                                          (void **)&again) == S_OK);
    require(hardware->lpVtbl->QueryInterface(hardware, &IID_IUnknown, (void **)&one) == S_OK);
    require(creation->lpVtbl->QueryInterface(creation, &IID_IUnknown, (void **)&two) == S_OK);
    require(notifications->lpVtbl->QueryInterface(notifications, &IID_IUnknown, (void **)&three) ==
            S_OK);
    expect(one == two && two == three);
    one->lpVtbl->Release(one);
    two->lpVtbl->Release(two);
    three->lpVtbl->Release(three);
    plain->lpVtbl->Release(plain);
    again->lpVtbl->Release(again);
}

static void what_it_is_not_it_says(void)
{
    IUnknown *other = (IUnknown *)hardware;
    require(hardware != NULL);
    expect_eq(hardware->lpVtbl->QueryInterface(hardware, &IID_IVssSoftwareSnapshotProvider,
                                               (void **)&other),
              E_NOINTERFACE);
    expect(other == NULL);
}

static char *text(const char *from)
{
    char *copy = CoTaskMemAlloc(strlen(from) + 1);
    if (copy) memcpy(copy, from, strlen(from) + 1);
    return copy;
}

static void identifier(VDS_STORAGE_IDENTIFIER *id, int code_set, int type, const void *bytes,
                       ULONG size)
{
    *id = (VDS_STORAGE_IDENTIFIER){(VDS_STORAGE_IDENTIFIER_CODE_SET)code_set,
                                   (VDS_STORAGE_IDENTIFIER_TYPE)type, size, CoTaskMemAlloc(size)};
    if (id->m_rgbIdentifier) memcpy(id->m_rgbIdentifier, bytes, size);
}

/* A LUN as VSS reads it from INQUIRY and the pages 80h and 83h, blanks and all. */
static VDS_LUN_INFORMATION make_lun(const char *vendor)
{
    char t10[57];
    VDS_LUN_INFORMATION lun = {
        .m_version = 1, .m_bCommandQueueing = TRUE, .m_BusType = VDSBusTypeiScsi};
    snprintf(t10, sizeof t10, "%-8sVIRTUAL DISK    0123456789abcdef0123456789abcdef", vendor);
    lun.m_szVendorId = CoTaskMemAlloc(9);
    if (lun.m_szVendorId) snprintf(lun.m_szVendorId, 9, "%-8s", vendor);
    lun.m_szProductId = text("VIRTUAL DISK    ");
    lun.m_szProductRevision = text("0001");
    lun.m_szSerialNumber = text("0123456789abcdef0123456789abcdef");
    lun.m_diskSignature = set;
    lun.m_deviceIdDescriptor.m_version = 1;
    lun.m_deviceIdDescriptor.m_cIdentifiers = 3;
    lun.m_deviceIdDescriptor.m_rgIdentifiers = CoTaskMemAlloc(3 * sizeof(VDS_STORAGE_IDENTIFIER));
    identifier(&lun.m_deviceIdDescriptor.m_rgIdentifiers[0], 1, 3, "\x3a\1\2\3\4\5\6\7", 8);
    identifier(&lun.m_deviceIdDescriptor.m_rgIdentifiers[1], 2, 1, t10, 56);
    identifier(&lun.m_deviceIdDescriptor.m_rgIdentifiers[2], 3, 8, "naa.3a01020304050607\0\0\0",
               24);
    return lun;
}

static void a_lun_of_ours_comes_back_in_its_one_form(void)
{
    VDS_LUN_INFORMATION lun = make_lun("TARN");
    BOOL supported = FALSE;
    WCHAR device[] = L"\\\\.\\PhysicalDrive1";
    require(hardware != NULL);
    expect_eq(hardware->lpVtbl->FillInLunInfo(hardware, device, &lun, &supported), S_OK);
    expect(supported);
    expect_str(lun.m_szVendorId, "TARN");
    expect_str(lun.m_szProductId, "VIRTUAL DISK");
    expect_str(lun.m_szSerialNumber, "0123456789abcdef0123456789abcdef");
    expect_eq(lun.m_diskSignature.Data1, 0);
    require(lun.m_deviceIdDescriptor.m_cIdentifiers == 3);
    expect_eq(lun.m_deviceIdDescriptor.m_rgIdentifiers[1].m_cbIdentifier, 56);
    expect(memcmp(lun.m_deviceIdDescriptor.m_rgIdentifiers[0].m_rgbIdentifier, "\x3a\1\2\3\4\5\6\7",
                  8) == 0);
}

static void another_vendors_lun_comes_back_untouched(void)
{
    VDS_LUN_INFORMATION lun = make_lun("ACME");
    BOOL supported = TRUE;
    WCHAR device[] = L"\\\\.\\PhysicalDrive2";
    require(hardware != NULL);
    expect_eq(hardware->lpVtbl->FillInLunInfo(hardware, device, &lun, &supported), S_OK);
    expect(!supported);
    expect_str(lun.m_szVendorId, "ACME    ");
    expect_eq(lun.m_diskSignature.Data1, 1);
}

static void a_host_that_is_not_enrolled_supports_nothing_and_vetoes(void)
{
    VDS_LUN_INFORMATION luns[2] = {make_lun("TARN"), make_lun("TARN")};
    BOOL supported = TRUE;
    WCHAR device[] = L"\\\\.\\PhysicalDrive1";
    VSS_PWSZ devices[] = {device, device};
    require(hardware != NULL && creation != NULL);
    expect_eq(hardware->lpVtbl->AreLunsSupported(hardware, 1, 0, devices, luns, &supported), S_OK);
    expect(!supported);
    expect_eq(hardware->lpVtbl->BeginPrepareSnapshot(hardware, set, set, 0, 2, devices, luns),
              S_OK);
    expect_eq(creation->lpVtbl->EndPrepareSnapshots(creation, set), VSS_E_PROVIDER_VETO);
    expect_eq(creation->lpVtbl->CommitSnapshots(creation, set), VSS_E_PROVIDER_VETO);
    expect_eq(creation->lpVtbl->AbortSnapshots(creation, set), S_OK);
    expect_eq(creation->lpVtbl->EndPrepareSnapshots(creation, set), VSS_E_OBJECT_NOT_FOUND);
}

static void what_is_reserved_is_not_implemented_and_a_failed_resync_gives_nothing(void)
{
    ULONGLONG mask = 5;
    IVssAsync *async = (IVssAsync *)hardware;
    VDS_LUN_INFORMATION lun = make_lun("TARN");
    require(hardware != NULL);
    expect_eq(hardware->lpVtbl->GetProviderCapabilities(hardware, &mask), E_NOTIMPL);
    expect_eq(hardware->lpVtbl->OnReuseLuns(hardware, &lun, &lun, 1), E_NOTIMPL);
    expect_eq(hardware->lpVtbl->ResyncLuns(hardware, &lun, &lun, 1, &async), VSS_E_PROVIDER_VETO);
    expect(async == NULL);
}

static void nonsense_is_refused(void)
{
    BOOL supported;
    require(hardware != NULL && creation != NULL);
    expect_eq(hardware->lpVtbl->LocateLuns(hardware, 0, NULL), E_INVALIDARG);
    expect_eq(hardware->lpVtbl->OnLunEmpty(hardware, NULL, NULL), E_INVALIDARG);
    expect_eq(creation->lpVtbl->PostCommitSnapshots(creation, set, -1), E_INVALIDARG);
    VDS_LUN_INFORMATION empty = {0};
    expect_eq(hardware->lpVtbl->FillInLunInfo(hardware, NULL, &empty, &supported), S_OK);
    expect(!supported);
}

static void it_is_loaded_and_unloaded_a_hundred_times(void)
{
    const CLSID clsid = TARN_CLSID;
    for (unsigned i = 0; i < 100; i++) {
        IVssProviderNotifications *p;
        require(CoCreateInstance(&clsid, NULL, CLSCTX_LOCAL_SERVER, &IID_IVssProviderNotifications,
                                 (void **)&p) == S_OK);
        expect_eq(p->lpVtbl->OnLoad(p, NULL), S_OK);
        expect_eq(p->lpVtbl->OnUnload(p, TRUE), S_OK);
        p->lpVtbl->Release(p);
    }
}

int main(void)
{
    if (FAILED(CoInitializeEx(NULL, COINIT_MULTITHREADED))) return 1;
    run(activation_starts_the_service);
    run(every_interface_leads_to_every_other);
    run(what_it_is_not_it_says);
    run(a_lun_of_ours_comes_back_in_its_one_form);
    run(another_vendors_lun_comes_back_untouched);
    run(a_host_that_is_not_enrolled_supports_nothing_and_vetoes);
    run(what_is_reserved_is_not_implemented_and_a_failed_resync_gives_nothing);
    run(nonsense_is_refused);
    run(it_is_loaded_and_unloaded_a_hundred_times);
    if (notifications) notifications->lpVtbl->Release(notifications);
    if (creation) creation->lpVtbl->Release(creation);
    if (hardware) hardware->lpVtbl->Release(hardware);
    CoUninitialize();
    return tap_done();
}
