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
#include <vsbackup.h>
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

/* Another process' set is out of reach for everybody: the SDK has it as not supported. */
static void sets_of_others_are_not_aborted(void)
{
    require(admin != NULL);
    expect_eq(IVssAdmin_AbortAllSnapshotsInProgress(admin), E_NOTIMPL);
}

/* ---- What a requester does besides making a set ---------------------------------------------- */

static IVssBackupComponentsEx4 *open_session(void)
{
    typedef HRESULT WINAPI create(IVssBackupComponents **);
    IVssBackupComponents *made = NULL;
    IVssBackupComponentsEx4 *session = NULL;
    HMODULE dll = LoadLibraryW(L"vssapi.dll");
    create *create_session =
        dll ? (create *)(void *)GetProcAddress(dll, "CreateVssBackupComponentsInternal") : NULL;
    SetEnvironmentVariableW(L"STANDIN_WRITERS", L"Alpha;Beta;Gamma");
    if (!create_session || create_session(&made) != S_OK) return NULL;
    made->lpVtbl->QueryInterface(made, &IID_IVssBackupComponentsEx4, (void **)&session);
    made->lpVtbl->Release(made);
    return session;
}

static bool gather(IVssBackupComponentsEx4 *session)
{
    IVssAsync *async = NULL;
    if (session->lpVtbl->GatherWriterMetadata(session, &async) != S_OK) return false;
    bool ok = IVssAsync_Wait(async, INFINITE) == S_OK;
    IVssAsync_Release(async);
    return ok;
}

/* One of those who take part; '?': something is wrong with it. */
static char initial_of(IVssBackupComponentsEx4 *session, UINT i)
{
    IVssExamineWriterMetadataEx *metadata;
    VSS_ID instance, instance_too, writer;
    BSTR writer_name = NULL, instance_name = NULL;
    VSS_USAGE_TYPE usage;
    VSS_SOURCE_TYPE source;
    UINT included, excluded, components = 9;
    if (session->lpVtbl->GetWriterMetadataEx(session, i, &instance, &metadata) != S_OK) return '?';
    bool ok =
        metadata->lpVtbl->GetIdentityEx(metadata, &instance_too, &writer, &writer_name,
                                        &instance_name, &usage, &source) == S_OK &&
        IsEqualGUID(&instance, &instance_too) && !IsEqualGUID(&instance, &writer) &&
        metadata->lpVtbl->GetFileCounts(metadata, &included, &excluded, &components) == S_OK &&
        components == 0;
    char initial = ok ? (char)writer_name[0] : '?';
    metadata->lpVtbl->Release(metadata);
    SysFreeString(writer_name);
    SysFreeString(instance_name);
    return initial;
}

static bool who(IVssBackupComponentsEx4 *session, const char *expected)
{
    char seen[8] = "";
    UINT count = 0;
    if (session->lpVtbl->GetWriterMetadataCount(session, &count) != S_OK || count > 3) return false;
    for (UINT i = 0; i < count; i++)
        seen[i] = initial_of(session, i);
    if (strcmp(seen, expected) != 0) printf("# %s instead of %s\n", seen, expected);
    return strcmp(seen, expected) == 0;
}

/* The ids of the writer at this place. */
static bool ids_of(UINT wanted, VSS_ID *ret_class, VSS_ID *ret_instance)
{
    IVssBackupComponentsEx4 *session = open_session();
    VSS_WRITER_STATE state;
    HRESULT failure = E_FAIL, application = E_FAIL;
    BSTR writer_name = NULL, message = NULL;
    bool ok =
        session && session->lpVtbl->InitializeForBackup(session, NULL) == S_OK && gather(session) &&
        session->lpVtbl->GetWriterStatusEx(session, wanted, ret_instance, ret_class, &writer_name,
                                           &state, &failure, &application, &message) == S_OK &&
        failure == S_OK && application == S_OK && !message && state == VSS_WS_STABLE;
    SysFreeString(writer_name);
    if (session) session->lpVtbl->Release(session);
    return ok;
}

enum choice { DISABLE_CLASS, DISABLE_INSTANCE, ENABLE_ONE, ENABLE_TWO, ENABLE_AND_DISABLE };

static HRESULT choose(IVssBackupComponentsEx4 *s, enum choice choice, const VSS_ID classes[2],
                      const VSS_ID *instance)
{
    if (choice == DISABLE_CLASS) return s->lpVtbl->DisableWriterClasses(s, &classes[0], 1);
    if (choice == DISABLE_INSTANCE) return s->lpVtbl->DisableWriterInstances(s, instance, 1);
    HRESULT result = s->lpVtbl->EnableWriterClasses(s, &classes[0], 1);
    if (choice == ENABLE_ONE || result != S_OK) return result;
    result = s->lpVtbl->EnableWriterClasses(s, &classes[1], 1);
    if (choice == ENABLE_TWO || result != S_OK) return result;
    return s->lpVtbl->DisableWriterClasses(s, &classes[0], 1);
}

static void writers_take_part_as_they_are_chosen(void)
{
    static const struct {
        enum choice choice;
        const char *who;
    } rows[] = {{DISABLE_CLASS, "BG"},
                {DISABLE_INSTANCE, "AG"},
                {ENABLE_ONE, "A"},
                {ENABLE_TWO, "AB"},
                {ENABLE_AND_DISABLE, "B"}};
    VSS_ID classes[2], instances[2];
    require(ids_of(0, &classes[0], &instances[0]) && ids_of(1, &classes[1], &instances[1]));
    for (size_t i = 0; i < ARRAYSIZE(rows); i++) {
        IVssBackupComponentsEx4 *s = open_session();
        require(s != NULL);
        expect_eq(choose(s, rows[i].choice, classes, &instances[1]), VSS_E_BAD_STATE);
        expect_eq(s->lpVtbl->InitializeForBackup(s, NULL), S_OK);
        expect_eq(choose(s, rows[i].choice, classes, &instances[1]), S_OK);
        expect(gather(s));
        expect(who(s, rows[i].who));
        expect_eq(choose(s, rows[i].choice, classes, &instances[1]), VSS_E_BAD_STATE);
        s->lpVtbl->Release(s);
    }
}

static void reverting_is_for_the_provider_of_windows_only(void)
{
    WCHAR volume[] = L"\\\\?\\Volume{12345678-1234-1234-1234-123456789abc}\\", nonsense[] = L"?";
    IVssBackupComponentsEx4 *s = open_session();
    IVssAsync *async = NULL;
    require(s != NULL);
    expect_eq(s->lpVtbl->RevertToSnapshot(s, provider, TRUE), VSS_E_BAD_STATE);
    expect_eq(s->lpVtbl->InitializeForBackup(s, NULL), S_OK);
    expect_eq(s->lpVtbl->RevertToSnapshot(s, provider, TRUE), VSS_E_OBJECT_NOT_FOUND);
    expect_eq(s->lpVtbl->QueryRevertStatus(s, volume, NULL), E_POINTER);
    expect_eq(s->lpVtbl->QueryRevertStatus(s, nonsense, &async), VSS_E_OBJECT_NOT_FOUND);
    expect_eq(s->lpVtbl->QueryRevertStatus(s, volume, &async), E_NOTIMPL);
    expect(async == NULL);
    s->lpVtbl->Release(s);
}

static void what_is_for_restores_is_refused_in_a_backup(void)
{
    IVssBackupComponentsEx4 *s = open_session();
    IVssWriterComponentsExt *components = NULL;
    require(s != NULL);
    expect_eq(s->lpVtbl->GetWriterComponents(s, 0, &components), VSS_E_BAD_STATE);
    expect_eq(s->lpVtbl->InitializeForBackup(s, NULL), S_OK);
    expect_eq(s->lpVtbl->SetRestoreState(s, VSS_RTYPE_BY_COPY), VSS_E_BAD_STATE);
    expect_eq(s->lpVtbl->GetWriterComponents(s, 0, &components), VSS_E_OBJECT_NOT_FOUND);
    expect_eq(s->lpVtbl->GetWriterComponents(s, 0, NULL), E_INVALIDARG);
    s->lpVtbl->Release(s);
}

#define ID "12345678-1234-1234-1234-123456789abc"
#define RECORD                                                                                     \
    "type=\"0\" modifier=\"0\" queueing=\"1\" bus=\"9\" signature=\"" ID "\" vendor=\"V\" "        \
    "product=\"P\" revision=\"1\" serial=\"S\"><identifier codeSet=\"1\" type=\"3\" "              \
    "bytes=\"6001\"/>"

/* Of one volume on one LUN. */
static const WCHAR document[] =
    L"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<snapshotSet id=\"" ID "\" context=\"9\" computer=\"probe\" created=\"1\" imported=\"0\">\n"
    "<lun provider=\"" ID "\" diskId=\"" ID "\" blocks=\"4096\" gone=\"0\">\n"
    "<source " RECORD "</source>\n<target " RECORD "</target>\n</lun>\n"
    "<snapshot id=\"" ID "\" provider=\"" ID "\" volume=\"\\\\?\\Volume{" ID "}\\\" device=\"\" "
    "attributes=\"9\" gone=\"0\"/>\n"
    "<extent snapshot=\"0\" lun=\"0\" partition=\"" ID "\" firstLba=\"34\" blocks=\"64\"/>\n"
    "</snapshotSet>\n";

static void a_restore_has_a_state(void)
{
    IVssBackupComponentsEx4 *s = open_session();
    BSTR text = SysAllocString(document);
    require(s != NULL && text != NULL);
    expect_eq(s->lpVtbl->InitializeForRestore(s, text), S_OK);
    expect_eq(s->lpVtbl->SetRestoreState(s, VSS_RTYPE_BY_COPY), S_OK);
    expect_eq(s->lpVtbl->SetRestoreState(s, (VSS_RESTORE_TYPE)99), E_INVALIDARG);
    SysFreeString(text);
    s->lpVtbl->Release(s);
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
        run(sets_of_others_are_not_aborted);
        run(writers_take_part_as_they_are_chosen);
        run(reverting_is_for_the_provider_of_windows_only);
        run(what_is_for_restores_is_refused_in_a_backup);
        run(a_restore_has_a_state);
    }
    if (admin) IVssAdmin_Release(admin);
    CoUninitialize();
    return tap_done();
}
