/* Making a set: the order of calls is that of Microsoft's overview for requesters. */
#include <stdlib.h>
#include <string.h>

#include "windows/shadow/shadow.h"

static LONG context_of(const struct dsh_settings *settings)
{
    static const struct {
        unsigned option;
        LONG attribute;
    } options[] = {
        {DSH_DIFFERENTIAL, VSS_VOLSNAP_ATTR_DIFFERENTIAL},
        {DSH_PLEX, VSS_VOLSNAP_ATTR_PLEX},
        {DSH_TRANSPORTABLE, VSS_VOLSNAP_ATTR_TRANSPORTABLE},
        {DSH_ROLLBACK_RECOVER, VSS_VOLSNAP_ATTR_ROLLBACK_RECOVERY},
        {DSH_TXF_RECOVER, VSS_VOLSNAP_ATTR_TXF_RECOVERY},
        {DSH_NO_AUTORECOVER, VSS_VOLSNAP_ATTR_NO_AUTORECOVERY},
    };
    LONG context = settings->persistent ? VSS_CTX_APP_ROLLBACK : VSS_CTX_BACKUP;
    if (settings->nowriters) context |= VSS_VOLSNAP_ATTR_NO_WRITERS;
    for (size_t i = 0; i < ARRAYSIZE(options); i++)
        if (settings->options & options[i].option) context |= options[i].attribute;
    return context;
}

static struct err *provider_id(const struct dsh_volume *volume, VSS_ID *ret)
{
    memset(ret, 0, sizeof *ret);
    return volume->provider ? shadow_guid(volume->provider, ret) : NULL;
}

struct err *shadow_check_volume(void *context, const struct dsh_settings *settings,
                                const struct dsh_volume *volume)
{
    struct shadow_session *s = context;
    IVssBackupComponents *vss;
    WINBOOL supported = FALSE;
    VSS_ID provider;
    TRY(provider_id(volume, &provider));
    TRY(shadow_object(s, context_of(settings), NULL, &vss));
    WCHAR *path = shadow_volume(volume->volume);
    HRESULT result = path ? IVssBackupComponents_IsVolumeSupported(vss, provider, path, &supported)
                          : E_OUTOFMEMORY;
    free(path);
    IVssBackupComponents_Release(vss);
    if (result == VSS_E_OBJECT_NOT_FOUND) {
        return err_next(err_new(STATUS_NOT_FOUND, "there is no volume %s", volume->volume),
                        "write D:, a mount point, or \\\\?\\Volume{...}\\");
    }
    TRY(shadow_judge(result, "IsVolumeSupported"));
    if (supported) return NULL;
    return err_next(err_new(STATUS_NOT_SUPPORTED, "no provider takes volume %s with these settings",
                            volume->volume),
                    "`list providers` tells which there are; that of a storage server needs its "
                    "server, and is told of it in the Application event log");
}

/* ---- Writers --------------------------------------------------------------------------------- */

/* {GUID} or the name. */
static bool is_meant(const char *rule, const WCHAR *name, const VSS_ID *writer,
                     const VSS_ID *instance)
{
    char id[DSH_ID_SIZE];
    char *utf8 = shadow_utf8(name);
    bool is = (utf8 && dsh_same_word(rule, utf8)) ||
              dsh_same_word(rule, shadow_guid_text(writer, id)) ||
              dsh_same_word(rule, shadow_guid_text(instance, id));
    free(utf8);
    return is;
}

/* The class of the writer that a rule means, among those that answered; false: none. */
static bool find_writer(IVssBackupComponents *vss, const char *rule, VSS_ID *ret_class)
{
    UINT count = 0;
    bool found = false;
    if (FAILED(IVssBackupComponents_GetWriterMetadataCount(vss, &count))) return false;
    for (UINT i = 0; i < count && !found; i++) {
        IVssExamineWriterMetadata *metadata;
        VSS_ID instance, class;
        VSS_USAGE_TYPE usage;
        VSS_SOURCE_TYPE source;
        BSTR name = NULL;
        if (FAILED(IVssBackupComponents_GetWriterMetadata(vss, i, &instance, &metadata))) continue;
        if (metadata->lpVtbl->GetIdentity(metadata, &instance, &class, &name, &usage, &source) ==
            S_OK) {
            found = is_meant(rule, name, &class, &instance);
            *ret_class = class;
        }
        SysFreeString(name);
        metadata->lpVtbl->Release(metadata);
    }
    return found;
}

static struct err *gather(IVssBackupComponents *vss)
{
    IVssAsync *async = NULL;
    return shadow_wait(IVssBackupComponents_GatherWriterMetadata(vss, &async), &async,
                       "GatherWriterMetadata");
}

/* Who is left out has to be named before the writers are asked, and is known only after: so they
 * are asked twice. */
static struct err *exclude_writers(struct shadow_session *s, const struct dsh_set *set,
                                   IVssBackupComponents *vss)
{
    IVssBackupComponents *asked = NULL;
    struct err *e = NULL;
    for (unsigned i = 0; i < set->writer_count && !e; i++) {
        VSS_ID class;
        if (!set->writers[i].exclude) continue;
        if (!asked) {
            e = shadow_object(s, VSS_CTX_BACKUP, NULL, &asked);
            if (!e) e = gather(asked);
            if (e) break;
        }
        if (find_writer(asked, set->writers[i].writer, &class))
            e = shadow_judge(IVssBackupComponents_DisableWriterClasses(vss, &class, 1),
                             "DisableWriterClasses");
        else
            e = err_next(
                err_new(STATUS_NOT_FOUND, "there is no writer \"%s\"", set->writers[i].writer),
                "`list writers` tells which there are; single components cannot be named");
    }
    if (asked) IVssBackupComponents_Release(asked);
    return e;
}

static struct err *begin_writers(struct shadow_session *s, const struct dsh_set *set,
                                 IVssBackupComponents *vss)
{
    VSS_BACKUP_TYPE type = set->full_backup ? VSS_BT_FULL : VSS_BT_COPY;
    TRY(exclude_writers(s, set, vss));
    TRY(shadow_judge(IVssBackupComponents_SetBackupState(vss, FALSE, FALSE, type, FALSE),
                     "SetBackupState"));
    TRY(gather(vss));
    for (unsigned i = 0; i < set->writer_count; i++) {
        VSS_ID class;
        if (set->writers[i].exclude || find_writer(vss, set->writers[i].writer, &class)) continue;
        return err_next(
            err_new(STATUS_NOT_FOUND, "writer \"%s\" does not take part", set->writers[i].writer),
            "`list writers` tells which there are");
    }
    return NULL;
}

/* A writer that failed makes the set worthless for its application. */
static struct err *judge_writers(IVssBackupComponents *vss)
{
    IVssAsync *async = NULL;
    UINT count = 0;
    struct err *e = shadow_wait(IVssBackupComponents_GatherWriterStatus(vss, &async), &async,
                                "GatherWriterStatus");
    if (!e)
        e = shadow_judge(IVssBackupComponents_GetWriterStatusCount(vss, &count),
                         "GetWriterStatusCount");
    for (UINT i = 0; !e && i < count; i++) {
        VSS_ID instance, class;
        BSTR name = NULL;
        VSS_WRITER_STATE state;
        HRESULT failure = S_OK;
        HRESULT result = IVssBackupComponents_GetWriterStatus(vss, i, &instance, &class, &name,
                                                              &state, &failure);
        e = shadow_judge(result, "GetWriterStatus");
        if (!e && state >= VSS_WS_FAILED_AT_IDENTIFY && state <= VSS_WS_FAILED_AT_BACKUPSHUTDOWN) {
            char *utf8 = shadow_utf8(name);
            e = err_next(err_new(STATUS_CONFLICT, "writer \"%s\" failed with 0x%08lx",
                                 utf8 ? utf8 : "", (unsigned long)failure),
                         "look into the Application event log, or leave it out: writer exclude");
            free(utf8);
        }
        SysFreeString(name);
    }
    IVssBackupComponents_FreeWriterStatus(vss);
    return e;
}

/* ---- The set --------------------------------------------------------------------------------- */

static struct err *add_volumes(IVssBackupComponents *vss, struct dsh_set *set)
{
    VSS_ID id;
    TRY(shadow_judge(IVssBackupComponents_StartSnapshotSet(vss, &id), "StartSnapshotSet"));
    shadow_guid_text(&id, set->id);
    for (unsigned i = 0; i < set->volume_count; i++) {
        VSS_ID provider;
        TRY(provider_id(&set->volumes[i], &provider));
        WCHAR *path = shadow_volume(set->volumes[i].volume);
        HRESULT result =
            path ? IVssBackupComponents_AddToSnapshotSet(vss, path, provider, &id) : E_OUTOFMEMORY;
        free(path);
        struct err *e = shadow_judge(result, "AddToSnapshotSet");
        if (e) return err_wrap(e, "volume %s", set->volumes[i].volume);
        shadow_guid_text(&id, set->volumes[i].id);
    }
    return NULL;
}

static struct err *complete(struct shadow_made *made)
{
    IVssAsync *async = NULL;
    if (made->is_complete || !made->tells_writers) return NULL;
    made->is_complete = true;
    return shadow_wait(IVssBackupComponents_BackupComplete(made->vss, &async), &async,
                       "BackupComplete");
}

/* What an application did not take part in is not what was asked for. */
static struct err *take_back(IVssBackupComponents *vss, const struct dsh_set *set, struct err *why)
{
    VSS_ID id, kept;
    LONG deleted = 0;
    HRESULT result = E_INVALIDARG;
    struct err *e = shadow_guid(set->id, &id);
    if (!e)
        result = IVssBackupComponents_DeleteSnapshots(vss, id, VSS_OBJECT_SNAPSHOT_SET, TRUE,
                                                      &deleted, &kept);
    err_free(e);
    if (SUCCEEDED(result)) return err_wrap(why, "the shadow copies were deleted again");
    return err_wrap(why, "the shadow copies of set %s are there, but not good", set->id);
}

static struct err *make(struct shadow_session *s, struct dsh_set *set, IVssBackupComponents *vss)
{
    IVssAsync *async = NULL;
    bool has_writers = !set->settings.nowriters;
    if (has_writers) TRY(begin_writers(s, set, vss));
    TRY(add_volumes(vss, set));
    if (has_writers) {
        TRY(shadow_wait(IVssBackupComponents_PrepareForBackup(vss, &async), &async,
                        "PrepareForBackup"));
        TRY(judge_writers(vss));
    }
    TRY(shadow_wait(IVssBackupComponents_DoSnapshotSet(vss, &async), &async, "DoSnapshotSet"));
    struct err *e = has_writers ? judge_writers(vss) : NULL;
    return e ? take_back(vss, set, e) : NULL;
}

struct err *shadow_create(void *context, struct dsh_set *set)
{
    struct shadow_session *s = context;
    IVssBackupComponents *vss;
    if (s->made_count == SHADOW_SETS_MAX)
        return err_next(
            err_new(STATUS_LIMIT_REACHED, "more than %d sets in one session", SHADOW_SETS_MAX),
            "write first: reset");
    if (set->settings.metadata) TRY(shadow_metadata_try(set->settings.metadata));
    TRY(shadow_object(s, context_of(&set->settings), NULL, &vss));
    struct err *e = make(s, set, vss);
    if (e) {
        IVssBackupComponents_AbortBackup(vss);
        IVssBackupComponents_Release(vss);
        return e;
    }
    struct shadow_made *made = &s->made[s->made_count++];
    *made = (struct shadow_made){vss, !set->settings.nowriters, false};
    /* A copy is done when it is made; a backup, when the script says so. */
    return set->full_backup ? NULL : complete(made);
}

/* DiskShadow's own choice: today's date and the computer, here. */
static void standard_name(char ret[SHADOW_TEXT_MAX])
{
    SYSTEMTIME now;
    WCHAR computer[MAX_COMPUTERNAME_LENGTH + 1] = L"";
    DWORD length = ARRAYSIZE(computer);
    GetLocalTime(&now);
    GetComputerNameW(computer, &length);
    char *utf8 = shadow_utf8(computer);
    snprintf(ret, SHADOW_TEXT_MAX, "%04u-%02u-%02u_%02u-%02u-%02u_%s.cab", now.wYear, now.wMonth,
             now.wDay, now.wHour, now.wMinute, now.wSecond, utf8 ? utf8 : "");
    free(utf8);
}

struct err *shadow_created(void *context, const struct dsh_set *set,
                           const struct dsh_aliases *aliases)
{
    struct shadow_session *s = context;
    char name[SHADOW_TEXT_MAX];
    BSTR document = NULL;
    for (unsigned i = 0; i < aliases->count; i++)
        TRY(dsh_aliases_set(&s->names, aliases->list[i].name, aliases->list[i].value));
    standard_name(name);
    const char *file = set->settings.metadata ? set->settings.metadata : name;
    /* Without transport, nobody needs the file unless it was asked for. */
    if (set->settings.metadata || set->settings.options & DSH_TRANSPORTABLE) {
        TRY(shadow_judge(IVssBackupComponents_SaveAsXML(s->made[s->made_count - 1].vss, &document),
                         "SaveAsXML"));
        struct err *e = shadow_metadata_save(s, file, document, aliases, set->settings.verbose);
        SysFreeString(document);
        if (e)
            return err_next(err_wrap(e, "the shadow copies are made, but %s is not written", file),
                            "delete shadows set %s", set->id);
    }
    if (!(set->settings.options & DSH_TRANSPORTABLE))
        return shadow_list(s, DSH_LIST_SHADOWS_SET, set->id);
    /* VSS does not list what no host has imported. */
    shadow_say(s, "The set is transportable: %s tells a host what to import.", file);
    return NULL;
}

struct err *shadow_end_backup(void *context)
{
    struct shadow_session *s = context;
    for (unsigned i = 0; i < s->made_count; i++)
        TRY(complete(&s->made[i]));
    return NULL;
}

struct err *shadow_reset(void *context)
{
    struct shadow_session *s = context;
    for (unsigned i = 0; i < s->made_count; i++) {
        struct shadow_made *made = &s->made[i];
        if (made->tells_writers && !made->is_complete) IVssBackupComponents_AbortBackup(made->vss);
        IVssBackupComponents_Release(made->vss);
    }
    s->made_count = 0;
    SysFreeString(s->document);
    s->document = NULL;
    if (s->restore) IVssBackupComponents_Release(s->restore);
    s->restore = NULL;
    return NULL;
}
