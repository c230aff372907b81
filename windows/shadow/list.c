/* What there is, in DiskShadow's form: scripts in the field read it. */
#include <stdlib.h>
#include <string.h>

#include "windows/shadow/shadow.h"

static struct err *query(struct shadow_session *s, VSS_OBJECT_TYPE type, IVssEnumObject **ret)
{
    IVssBackupComponents *vss;
    VSS_ID none = {0};
    TRY(shadow_object(s, (LONG)VSS_CTX_ALL, NULL, &vss));
    HRESULT result = IVssBackupComponents_Query(vss, none, VSS_OBJECT_NONE, type, ret);
    IVssBackupComponents_Release(vss);
    return shadow_judge(result, "Query");
}

/* A list that breaks off is a failure, and not the whole list: what is done to it goes by all. */
static struct err *next(IVssEnumObject *objects, VSS_OBJECT_PROP *ret, bool *ret_has)
{
    ULONG got = 0;
    HRESULT result = IVssEnumObject_Next(objects, 1, ret, &got);
    *ret_has = result == S_OK && got == 1;
    return FAILED(result) ? shadow_judge(result, "Next") : NULL;
}

static struct err *add(VSS_SNAPSHOT_PROP **list, unsigned *count, const VSS_SNAPSHOT_PROP *one)
{
    VSS_SNAPSHOT_PROP *more = realloc(*list, (*count + 1) * sizeof *more);
    if (!more) return err_new(STATUS_NO_MEMORY, "list the shadow copies");
    more[(*count)++] = *one;
    *list = more;
    return NULL;
}

struct err *shadow_snapshots(struct shadow_session *s, VSS_SNAPSHOT_PROP **ret, unsigned *ret_count)
{
    IVssEnumObject *objects;
    VSS_SNAPSHOT_PROP *list = NULL;
    VSS_OBJECT_PROP object;
    unsigned count = 0;
    bool has = false;
    TRY(query(s, VSS_OBJECT_SNAPSHOT, &objects));
    struct err *e = next(objects, &object, &has);
    while (!e && has) {
        e = add(&list, &count, &object.Obj.Snap);
        if (e)
            s->api.free_properties(&object.Obj.Snap);
        else
            e = next(objects, &object, &has);
    }
    IVssEnumObject_Release(objects);
    if (e) {
        shadow_snapshots_free(s, list, count);
        return e;
    }
    *ret = list;
    *ret_count = count;
    return NULL;
}

void shadow_snapshots_free(struct shadow_session *s, VSS_SNAPSHOT_PROP *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        s->api.free_properties(&list[i]);
    free(list);
}

/* ---- Shadow copies --------------------------------------------------------------------------- */

static void say_text(struct shadow_session *s, const char *name, const WCHAR *text)
{
    char *utf8 = shadow_utf8(text);
    shadow_say(s, "\t\t- %s: %s", name, utf8 ? utf8 : "");
    free(utf8);
}

/* %alias% of an id, or nothing. */
static const char *name_of(const struct shadow_session *s, const char *id,
                           char ret[SHADOW_TEXT_MAX])
{
    ret[0] = '\0';
    for (unsigned i = 0; i < s->names.count; i++) {
        if (!dsh_same_word(s->names.list[i].value, id)) continue;
        snprintf(ret, SHADOW_TEXT_MAX, "\t\t%%%s%%", s->names.list[i].name);
        break;
    }
    return ret;
}

static void say_id(struct shadow_session *s, const char *name, const VSS_ID *id)
{
    char text[DSH_ID_SIZE], alias[SHADOW_TEXT_MAX];
    shadow_guid_text(id, text);
    shadow_say(s, "%s %s%s", name, text, name_of(s, text, alias));
}

static void say_volume(struct shadow_session *s, const WCHAR *volume)
{
    WCHAR paths[SHADOW_TEXT_MAX] = L"";
    DWORD length;
    char *name = shadow_utf8(volume);
    if (!GetVolumePathNamesForVolumeNameW(volume, paths, ARRAYSIZE(paths), &length))
        paths[0] = L'\0';
    char *path = shadow_utf8(paths);
    shadow_say(s, "\t\t- Original volume name: %s%s%s%s", name ? name : "",
               path && *path ? " [" : "", path ? path : "", path && *path ? "]" : "");
    free(path);
    free(name);
}

static void say_time(struct shadow_session *s, VSS_TIMESTAMP timestamp)
{
    ULARGE_INTEGER number = {.QuadPart = (ULONGLONG)timestamp};
    FILETIME utc = {number.LowPart, number.HighPart}, local;
    SYSTEMTIME time;
    WCHAR date[64] = L"", clock[64] = L"", both[132];
    if (FileTimeToLocalFileTime(&utc, &local) && FileTimeToSystemTime(&local, &time)) {
        GetDateFormatW(LOCALE_USER_DEFAULT, DATE_SHORTDATE, &time, NULL, date, ARRAYSIZE(date));
        GetTimeFormatW(LOCALE_USER_DEFAULT, 0, &time, NULL, clock, ARRAYSIZE(clock));
    }
    _snwprintf(both, ARRAYSIZE(both), L"%ls %ls", date, clock);
    say_text(s, "Creation time", both);
}

static void say_attributes(struct shadow_session *s, LONG attributes)
{
    static const struct {
        LONG bit;
        const char *word;
    } words[] = {
        {VSS_VOLSNAP_ATTR_TRANSPORTABLE, "Transportable"},
        {VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE, "No_Auto_Release"},
        {VSS_VOLSNAP_ATTR_PERSISTENT, "Persistent"},
        {VSS_VOLSNAP_ATTR_CLIENT_ACCESSIBLE, "Client_accessible"},
        {VSS_VOLSNAP_ATTR_HARDWARE_ASSISTED, "Hardware_assisted"},
        {VSS_VOLSNAP_ATTR_NO_WRITERS, "No_Writers"},
        {VSS_VOLSNAP_ATTR_IMPORTED, "Imported"},
        {VSS_VOLSNAP_ATTR_PLEX, "Plex"},
        {VSS_VOLSNAP_ATTR_DIFFERENTIAL, "Differential"},
        {VSS_VOLSNAP_ATTR_EXPOSED_LOCALLY, "Exposed_locally"},
        {VSS_VOLSNAP_ATTR_EXPOSED_REMOTELY, "Exposed_remotely"},
        {VSS_VOLSNAP_ATTR_NO_AUTORECOVERY, "No_Autorecovery"},
        {VSS_VOLSNAP_ATTR_ROLLBACK_RECOVERY, "Rollback_recovery"},
        {VSS_VOLSNAP_ATTR_TXF_RECOVERY, "TxF_recovery"},
        {VSS_VOLSNAP_ATTR_FILE_SHARE, "FileShare"},
    };
    char line[SHADOW_TEXT_MAX] = "\t\t- Attributes: ";
    for (size_t i = 0; i < ARRAYSIZE(words); i++) {
        size_t used = strlen(line);
        if (attributes & words[i].bit)
            snprintf(line + used, sizeof line - used, " %s", words[i].word);
    }
    shadow_say(s, "%s", line);
}

static void say_snapshot(struct shadow_session *s, const VSS_SNAPSHOT_PROP *snapshot)
{
    char id[DSH_ID_SIZE];
    say_id(s, "\t* Shadow copy ID =", &snapshot->m_SnapshotId);
    say_id(s, "\t\t- Shadow copy set:", &snapshot->m_SnapshotSetId);
    shadow_say(s, "\t\t- Original count of shadow copies = %ld", snapshot->m_lSnapshotsCount);
    say_volume(s, snapshot->m_pwszOriginalVolumeName ? snapshot->m_pwszOriginalVolumeName : L"");
    say_time(s, snapshot->m_tsCreationTimestamp);
    say_text(s, "Shadow copy device name", snapshot->m_pwszSnapshotDeviceObject);
    say_text(s, "Originating machine", snapshot->m_pwszOriginatingMachine);
    say_text(s, "Service machine", snapshot->m_pwszServiceMachine);
    if (snapshot->m_pwszExposedName)
        say_text(s, "Exposed as", snapshot->m_pwszExposedName);
    else
        shadow_say(s, "\t\t- Not exposed");
    shadow_say(s, "\t\t- Provider ID: %s", shadow_guid_text(&snapshot->m_ProviderId, id));
    say_attributes(s, snapshot->m_lSnapshotAttributes);
    shadow_say(s, "%s", "");
}

static struct err *list_shadows(struct shadow_session *s, enum dsh_kind kind, const char *text)
{
    VSS_SNAPSHOT_PROP *list;
    VSS_ID id = {0};
    unsigned count, listed = 0;
    if (text) TRY(shadow_guid(text, &id));
    TRY(shadow_snapshots(s, &list, &count));
    shadow_say(s, "%s", "");
    if (kind == DSH_LIST_SHADOWS_SET)
        shadow_say(s, "Querying all shadow copies with the shadow copy set ID %s\n", text);
    else if (kind == DSH_LIST_SHADOWS_ALL)
        shadow_say(s, "Querying all shadow copies on the computer ...\n");
    for (unsigned i = 0; i < count; i++) {
        const VSS_ID *compared =
            kind == DSH_LIST_SHADOWS_SET ? &list[i].m_SnapshotSetId : &list[i].m_SnapshotId;
        if (kind != DSH_LIST_SHADOWS_ALL && !IsEqualGUID(compared, &id)) continue;
        say_snapshot(s, &list[i]);
        listed++;
    }
    shadow_snapshots_free(s, list, count);
    if (listed > 0)
        shadow_say(s, "Number of shadow copies listed: %u", listed);
    else
        shadow_say(s, "No shadow copies found in system.");
    return NULL;
}

/* ---- Providers and writers ------------------------------------------------------------------- */

static const char *type_name(VSS_PROVIDER_TYPE type)
{
    static const char *const names[] = {"VSS_PROV_UNKNOWN", "VSS_PROV_SYSTEM", "VSS_PROV_SOFTWARE",
                                        "VSS_PROV_HARDWARE", "VSS_PROV_FILESHARE"};
    return (unsigned)type < ARRAYSIZE(names) ? names[type] : names[0];
}

static void say_provider(struct shadow_session *s, const VSS_PROVIDER_PROP *provider)
{
    char id[DSH_ID_SIZE];
    shadow_say(s, "\t* ProviderID: %s", shadow_guid_text(&provider->m_ProviderId, id));
    shadow_say(s, "\t\tType: [%d] %s", (int)provider->m_eProviderType,
               type_name(provider->m_eProviderType));
    char *name = shadow_utf8(provider->m_pwszProviderName);
    char *version = shadow_utf8(provider->m_pwszProviderVersion);
    shadow_say(s, "\t\tName: %s", name ? name : "");
    shadow_say(s, "\t\tVersion: %s", version ? version : "");
    shadow_say(s, "\t\tCLSID: %s\n", shadow_guid_text(&provider->m_ClassId, id));
    free(name);
    free(version);
}

static struct err *list_providers(struct shadow_session *s)
{
    IVssEnumObject *objects;
    VSS_OBJECT_PROP object;
    unsigned count = 0;
    bool has = false;
    TRY(query(s, VSS_OBJECT_PROVIDER, &objects));
    struct err *e = next(objects, &object, &has);
    while (!e && has) {
        say_provider(s, &object.Obj.Prov);
        CoTaskMemFree(object.Obj.Prov.m_pwszProviderName);
        CoTaskMemFree(object.Obj.Prov.m_pwszProviderVersion);
        count++;
        e = next(objects, &object, &has);
    }
    IVssEnumObject_Release(objects);
    if (!e) shadow_say(s, "Number of providers registered: %u", count);
    return e;
}

static struct err *ask_writers(IVssBackupComponents *vss, UINT *ret_count)
{
    IVssAsync *async = NULL;
    TRY(shadow_judge(IVssBackupComponents_SetBackupState(vss, FALSE, FALSE, VSS_BT_COPY, FALSE),
                     "SetBackupState"));
    TRY(shadow_wait(IVssBackupComponents_GatherWriterMetadata(vss, &async), &async,
                    "GatherWriterMetadata"));
    TRY(shadow_wait(IVssBackupComponents_GatherWriterStatus(vss, &async), &async,
                    "GatherWriterStatus"));
    return shadow_judge(IVssBackupComponents_GetWriterStatusCount(vss, ret_count),
                        "GetWriterStatusCount");
}

static struct err *say_writer(struct shadow_session *s, IVssBackupComponents *vss, UINT index)
{
    static const char *const states[] = {
        "VSS_WS_UNKNOWN",
        "VSS_WS_STABLE",
        "VSS_WS_WAITING_FOR_FREEZE",
        "VSS_WS_WAITING_FOR_THAW",
        "VSS_WS_WAITING_FOR_POST_SNAPSHOT",
        "VSS_WS_WAITING_FOR_BACKUP_COMPLETE",
    };
    char id[DSH_ID_SIZE];
    VSS_ID instance, class;
    BSTR name = NULL;
    VSS_WRITER_STATE state;
    HRESULT failure;
    TRY(shadow_judge(IVssBackupComponents_GetWriterStatus(vss, index, &instance, &class, &name,
                                                          &state, &failure),
                     "GetWriterStatus"));
    char *utf8 = shadow_utf8(name);
    shadow_say(s, "\t* WRITER \"%s\"", utf8 ? utf8 : "");
    shadow_say(s, "\t\t- Status: %d (%s)", (int)state,
               (unsigned)state < ARRAYSIZE(states) ? states[state] : "failed");
    shadow_say(s, "\t\t- Writer Failure code: 0x%08lx%s", (unsigned long)failure,
               failure == S_OK ? " (S_OK)" : "");
    shadow_say(s, "\t\t- Writer ID: %s", shadow_guid_text(&class, id));
    shadow_say(s, "\t\t- Instance ID: %s\n", shadow_guid_text(&instance, id));
    free(utf8);
    SysFreeString(name);
    return NULL;
}

static struct err *list_writers(struct shadow_session *s)
{
    IVssBackupComponents *vss;
    UINT count = 0;
    TRY(shadow_object(s, VSS_CTX_BACKUP, NULL, &vss));
    struct err *e = ask_writers(vss, &count);
    for (UINT i = 0; !e && i < count; i++)
        e = say_writer(s, vss, i);
    IVssBackupComponents_Release(vss);
    if (!e) shadow_say(s, "Number of writers listed: %u", count);
    return e;
}

struct err *shadow_list(void *context, enum dsh_kind kind, const char *id)
{
    struct shadow_session *s = context;
    if (kind == DSH_LIST_PROVIDERS) return list_providers(s);
    if (kind >= DSH_LIST_WRITERS_METADATA && kind <= DSH_LIST_WRITERS) return list_writers(s);
    return list_shadows(s, kind, id);
}
