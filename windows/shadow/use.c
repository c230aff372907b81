/* What is done with shadow copies that are there. */
#include <stdlib.h>
#include <string.h>

#include "windows/shadow/shadow.h"

static struct err *object(struct shadow_session *s, IVssBackupComponents **ret)
{
    return shadow_object(s, (LONG)VSS_CTX_ALL, NULL, ret);
}

/* ---- Import, break, mask --------------------------------------------------------------------- */

struct err *shadow_import(void *context)
{
    struct shadow_session *s = context;
    IVssBackupComponents *vss;
    IVssAsync *async = NULL;
    TRY(shadow_object(s, (LONG)VSS_CTX_ALL, s->document, &vss));
    struct err *e =
        shadow_wait(IVssBackupComponents_ImportSnapshots(vss, &async), &async, "ImportSnapshots");
    IVssBackupComponents_Release(vss);
    return e;
}

static struct err *break_with(struct shadow_session *s, const char *set_id, DWORD flags)
{
    IVssBackupComponents *vss;
    IVssBackupComponentsEx2 *extended;
    IVssAsync *async = NULL;
    VSS_ID set;
    TRY(shadow_guid(set_id, &set));
    TRY(object(s, &vss));
    struct err *e = shadow_interface(vss, &IID_IVssBackupComponentsEx2, (void **)&extended);
    if (!e) {
        e = shadow_wait(IVssBackupComponentsEx2_BreakSnapshotSetEx(extended, set, flags, &async),
                        &async, "BreakSnapshotSetEx");
        IVssBackupComponentsEx2_Release(extended);
    }
    IVssBackupComponents_Release(vss);
    return e;
}

struct err *shadow_break(void *context, const char *set_id, bool writable)
{
    return break_with(context, set_id, writable ? VSS_BREAKEX_FLAG_MAKE_READ_WRITE : 0);
}

struct err *shadow_mask(void *context, const char *set_id)
{
    return break_with(context, set_id, VSS_BREAKEX_FLAG_MASK_LUNS);
}

/* ---- Expose ---------------------------------------------------------------------------------- */

/* X:, X:\folder: here.  Anything else is the name of a share. */
static bool is_local(const char *target)
{
    return target[0] && target[1] == ':';
}

struct err *shadow_expose(void *context, const char *id_text, const char *target)
{
    struct shadow_session *s = context;
    IVssBackupComponents *vss;
    WCHAR *exposed = NULL;
    VSS_ID id;
    TRY(shadow_guid(id_text, &id));
    TRY(object(s, &vss));
    WCHAR *wide = shadow_wide(target);
    /* A drive is meant with or without its backslash; VSS wants it without. */
    if (wide && wcslen(wide) == 3 && wcscmp(wide + 1, L":\\") == 0) wide[2] = L'\0';
    LONG attributes =
        is_local(target) ? VSS_VOLSNAP_ATTR_EXPOSED_LOCALLY : VSS_VOLSNAP_ATTR_EXPOSED_REMOTELY;
    HRESULT result =
        wide ? IVssBackupComponents_ExposeSnapshot(vss, id, NULL, attributes, wide, &exposed)
             : E_OUTOFMEMORY;
    free(wide);
    IVssBackupComponents_Release(vss);
    TRY(shadow_judge(result, "ExposeSnapshot"));
    char *utf8 = shadow_utf8(exposed);
    shadow_say(s, "The shadow copy was successfully exposed as %s%s.", utf8 ? utf8 : target,
               utf8 && is_local(utf8) && !utf8[2] ? "\\" : "");
    free(utf8);
    CoTaskMemFree(exposed);
    return NULL;
}

/* X: and X:\ are the same. */
static bool is_same_place(const WCHAR *exposed, const char *target)
{
    char *utf8 = shadow_utf8(exposed);
    size_t a = utf8 ? strlen(utf8) : 0, b = strlen(target);
    char *wanted = strdup(target);
    if (a > 0 && utf8[a - 1] == '\\') utf8[a - 1] = '\0';
    if (wanted && b > 0 && wanted[b - 1] == '\\') wanted[b - 1] = '\0';
    bool same = a > 0 && wanted && dsh_same_word(utf8, wanted);
    free(utf8);
    free(wanted);
    return same;
}

/* The id, or that of the shadow copy which is exposed under this name. */
static struct err *find_exposed(struct shadow_session *s, const char *target, VSS_ID *ret)
{
    VSS_SNAPSHOT_PROP *list;
    unsigned count;
    bool found = false;
    if (target[0] == '{') return shadow_guid(target, ret);
    TRY(shadow_snapshots(s, &list, &count));
    for (unsigned i = 0; i < count && !found; i++) {
        if (!list[i].m_pwszExposedName || !is_same_place(list[i].m_pwszExposedName, target))
            continue;
        *ret = list[i].m_SnapshotId;
        found = true;
    }
    shadow_snapshots_free(s, list, count);
    if (found) return NULL;
    return err_next(err_new(STATUS_NOT_FOUND, "no shadow copy is exposed as %s", target),
                    "`list shadows all` tells which are");
}

struct err *shadow_unexpose(void *context, const char *id_or_target)
{
    struct shadow_session *s = context;
    IVssBackupComponents *vss;
    IVssBackupComponentsEx2 *extended;
    VSS_ID id;
    TRY(find_exposed(s, id_or_target, &id));
    TRY(object(s, &vss));
    struct err *e = shadow_interface(vss, &IID_IVssBackupComponentsEx2, (void **)&extended);
    if (!e) {
        e = shadow_judge(IVssBackupComponentsEx2_UnexposeSnapshot(extended, id),
                         "UnexposeSnapshot");
        IVssBackupComponentsEx2_Release(extended);
    }
    IVssBackupComponents_Release(vss);
    if (!e) shadow_say(s, "The shadow copy is no longer exposed as %s.", id_or_target);
    return e;
}

/* ---- Resync and restore ---------------------------------------------------------------------- */

static struct err *open_restore(struct shadow_session *s, IVssBackupComponents **ret)
{
    IVssBackupComponents *vss;
    TRY(shadow_judge(s->api.create(&vss), "CreateVssBackupComponents"));
    struct err *e = shadow_judge(IVssBackupComponents_InitializeForRestore(vss, s->document),
                                 "InitializeForRestore");
    if (e)
        IVssBackupComponents_Release(vss);
    else
        *ret = vss;
    return e;
}

static struct err *add_target(IVssBackupComponentsEx3 *vss, const struct dsh_target *target)
{
    VSS_ID id;
    TRY(shadow_guid(target->id, &id));
    WCHAR *volume = target->volume ? shadow_volume(target->volume) : NULL;
    HRESULT result = target->volume && !volume
                         ? E_OUTOFMEMORY
                         : IVssBackupComponentsEx3_AddSnapshotToRecoverySet(vss, id, 0, volume);
    free(volume);
    struct err *e = shadow_judge(result, "AddSnapshotToRecoverySet");
    return e ? err_wrap(e, "shadow copy %s", target->id) : NULL;
}

struct err *shadow_resync(void *context, const struct dsh_target *targets, unsigned count,
                          unsigned flags)
{
    struct shadow_session *s = context;
    IVssBackupComponents *vss;
    IVssBackupComponentsEx3 *extended;
    IVssAsync *async = NULL;
    DWORD options = (flags & DSH_NO_VOLUME_CHECK ? VSS_RECOVERY_NO_VOLUME_CHECK : 0) |
                    (flags & DSH_ORIGINAL_SIGNATURE ? VSS_RECOVERY_REVERT_IDENTITY_ALL : 0);
    TRY(open_restore(s, &vss));
    struct err *e = shadow_interface(vss, &IID_IVssBackupComponentsEx3, (void **)&extended);
    if (!e) {
        for (unsigned i = 0; i < count && !e; i++)
            e = add_target(extended, &targets[i]);
        if (!e)
            e = shadow_wait(IVssBackupComponentsEx3_RecoverSet(extended, options, &async), &async,
                            "RecoverSet");
        IVssBackupComponentsEx3_Release(extended);
    }
    IVssBackupComponents_Release(vss);
    return e;
}

struct err *shadow_begin_restore(void *context)
{
    struct shadow_session *s = context;
    IVssAsync *async = NULL;
    TRY(open_restore(s, &s->restore));
    TRY(shadow_wait(IVssBackupComponents_GatherWriterMetadata(s->restore, &async), &async,
                    "GatherWriterMetadata"));
    return shadow_wait(IVssBackupComponents_PreRestore(s->restore, &async), &async, "PreRestore");
}

struct err *shadow_end_restore(void *context)
{
    struct shadow_session *s = context;
    IVssAsync *async = NULL;
    struct err *e =
        shadow_wait(IVssBackupComponents_PostRestore(s->restore, &async), &async, "PostRestore");
    IVssBackupComponents_Release(s->restore);
    s->restore = NULL;
    return e;
}

/* ---- Delete ---------------------------------------------------------------------------------- */

static struct err *delete_object(struct shadow_session *s, const VSS_ID *id, VSS_OBJECT_TYPE type,
                                 LONG *deleted)
{
    IVssBackupComponents *vss;
    VSS_ID kept;
    LONG count = 0;
    TRY(object(s, &vss));
    HRESULT result = IVssBackupComponents_DeleteSnapshots(vss, *id, type, TRUE, &count, &kept);
    IVssBackupComponents_Release(vss);
    *deleted += count;
    return shadow_judge(result, "DeleteSnapshots");
}

/* As Windows itself names volumes; what it does not know stays as it was said. */
static bool is_volume(const VSS_SNAPSHOT_PROP *snapshot, const char *said)
{
    WCHAR name[64];
    WCHAR *path = shadow_volume(said);
    bool same = false;
    if (path) {
        const WCHAR *full =
            GetVolumeNameForVolumeMountPointW(path, name, ARRAYSIZE(name)) ? name : path;
        same = snapshot->m_pwszOriginalVolumeName &&
               _wcsicmp(snapshot->m_pwszOriginalVolumeName, full) == 0;
    }
    free(path);
    return same;
}

static bool is_deleted(enum dsh_kind kind, const VSS_SNAPSHOT_PROP *snapshot, const char *what)
{
    if (kind == DSH_DELETE_ALL) return true;
    if (kind == DSH_DELETE_VOLUME || kind == DSH_DELETE_OLDEST) return is_volume(snapshot, what);
    return snapshot->m_pwszExposedName && is_same_place(snapshot->m_pwszExposedName, what);
}

static struct err *delete_one(struct shadow_session *s, const VSS_SNAPSHOT_PROP *snapshot,
                              LONG *deleted)
{
    char id[DSH_ID_SIZE], provider[DSH_ID_SIZE];
    char *volume = shadow_utf8(snapshot->m_pwszOriginalVolumeName);
    shadow_say(s, "Deleting shadow copy %s on volume %s from provider %s [Attributes: 0x%08lx]...",
               shadow_guid_text(&snapshot->m_SnapshotId, id), volume ? volume : "",
               shadow_guid_text(&snapshot->m_ProviderId, provider),
               (unsigned long)snapshot->m_lSnapshotAttributes);
    free(volume);
    return delete_object(s, &snapshot->m_SnapshotId, VSS_OBJECT_SNAPSHOT, deleted);
}

static struct err *delete_matching(struct shadow_session *s, enum dsh_kind kind, const char *what,
                                   LONG *deleted)
{
    VSS_SNAPSHOT_PROP *list;
    const VSS_SNAPSHOT_PROP *oldest = NULL;
    unsigned count;
    struct err *e = NULL;
    TRY(shadow_snapshots(s, &list, &count));
    for (unsigned i = 0; i < count && !e; i++) {
        if (!is_deleted(kind, &list[i], what)) continue;
        if (kind != DSH_DELETE_OLDEST)
            e = delete_one(s, &list[i], deleted);
        else if (!oldest || list[i].m_tsCreationTimestamp < oldest->m_tsCreationTimestamp)
            oldest = &list[i];
    }
    if (!e && oldest) e = delete_one(s, oldest, deleted);
    shadow_snapshots_free(s, list, count);
    return e;
}

struct err *shadow_delete(void *context, enum dsh_kind kind, const char *what)
{
    struct shadow_session *s = context;
    struct err *e;
    LONG deleted = 0;
    VSS_ID id;
    if (kind == DSH_DELETE_SET || kind == DSH_DELETE_ID) {
        TRY(shadow_guid(what, &id));
        e = delete_object(s, &id,
                          kind == DSH_DELETE_SET ? VSS_OBJECT_SNAPSHOT_SET : VSS_OBJECT_SNAPSHOT,
                          &deleted);
    } else {
        e = delete_matching(s, kind, what, &deleted);
    }
    shadow_say(s, "Number of shadow copies deleted: %ld", deleted);
    return e;
}

/* ---- Exec ------------------------------------------------------------------------------------ */

static struct err *start(const WCHAR *file, PROCESS_INFORMATION *ret)
{
    STARTUPINFOW startup = {.cb = sizeof startup};
    WCHAR line[2 * MAX_PATH];
    if (wcslen(file) > MAX_PATH || wcspbrk(file, L"\"%^&|<>"))
        return err_new(STATUS_BAD_REQUEST, "The script file name is not valid.");
    _snwprintf(line, ARRAYSIZE(line), L"cmd.exe /d /c \"\"%ls\"\"", file);
    if (CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, ret)) return NULL;
    return err_new(STATUS_OS_ERROR, "cmd.exe does not start (error %lu)", GetLastError());
}

/* What it is told: the aliases, in the environment. */
static void export_names(const struct dsh_aliases *aliases)
{
    for (unsigned i = 0; i < aliases->count; i++) {
        WCHAR *name = shadow_wide(aliases->list[i].name);
        WCHAR *value = shadow_wide(aliases->list[i].value);
        if (name && value) SetEnvironmentVariableW(name, value);
        free(name);
        free(value);
    }
}

struct err *shadow_exec(void *context, const char *file, const struct dsh_aliases *aliases)
{
    PROCESS_INFORMATION process;
    DWORD code = 1;
    (void)context;
    WCHAR *wide = shadow_wide(file);
    if (!wide) return err_new(STATUS_NO_MEMORY, "run a command file");
    struct err *e = NULL;
    if (GetFileAttributesW(wide) == INVALID_FILE_ATTRIBUTES)
        e = err_next(err_new(STATUS_NOT_FOUND, "The script file name is not valid."),
                     "write the whole path of a .cmd file: %s is not there", file);
    export_names(aliases);
    fflush(NULL);
    if (!e) e = start(wide, &process);
    free(wide);
    if (e) return e;
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    CloseHandle(process.hProcess);
    CloseHandle(process.hThread);
    if (code == 0) return NULL;
    return err_new(STATUS_CONFLICT, "The command script returned failure exit code %lu.", code);
}
