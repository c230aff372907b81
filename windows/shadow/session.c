/* The objects of VSS, waiting for them, and their failures in words. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"

#include "windows/shadow/shadow.h"

/* ---- Texts ----------------------------------------------------------------------------------- */

char *shadow_utf8(const WCHAR *text)
{
    if (!text) text = L"";
    int size = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *utf8 = size > 0 ? malloc((size_t)size) : NULL;
    if (utf8) WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8, size, NULL, NULL);
    return utf8;
}

WCHAR *shadow_wide(const char *text)
{
    int count = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    WCHAR *wide = count > 0 ? malloc((size_t)count * sizeof *wide) : NULL;
    if (wide) MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, count);
    return wide;
}

/* VSS wants the backslash at the end. */
WCHAR *shadow_volume(const char *text)
{
    size_t length = strlen(text);
    char *with = malloc(length + 2);
    if (!with) return NULL;
    bool has = length > 0 && text[length - 1] == '\\';
    snprintf(with, length + 2, "%s%s", text, has ? "" : "\\");
    WCHAR *wide = shadow_wide(with);
    free(with);
    return wide;
}

const char *shadow_guid_text(const GUID *id, char ret[DSH_ID_SIZE])
{
    snprintf(ret, DSH_ID_SIZE, "{%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x}",
             (unsigned long)id->Data1, id->Data2, id->Data3, id->Data4[0], id->Data4[1],
             id->Data4[2], id->Data4[3], id->Data4[4], id->Data4[5], id->Data4[6], id->Data4[7]);
    return ret;
}

struct err *shadow_guid(const char *text, GUID *ret)
{
    struct uuid uuid;
    if (!uuid_parse(text, &uuid)) return err_new(STATUS_BAD_REQUEST, "\"%s\" is not a GUID", text);
    const uint8_t *b = uuid.bytes;
    ret->Data1 =
        (unsigned long)b[0] << 24 | (unsigned long)b[1] << 16 | (unsigned long)b[2] << 8 | b[3];
    ret->Data2 = (unsigned short)(b[4] << 8 | b[5]);
    ret->Data3 = (unsigned short)(b[6] << 8 | b[7]);
    memcpy(ret->Data4, b + 8, sizeof ret->Data4);
    return NULL;
}

static bool write_output(const char *line)
{
    HANDLE console = GetStdHandle(STD_OUTPUT_HANDLE);
    DWORD mode, written;
    WCHAR *wide = GetConsoleMode(console, &mode) ? shadow_wide(line) : NULL;
    bool good = wide ? WriteConsoleW(console, wide, (DWORD)wcslen(wide), &written, NULL) &&
                           WriteConsoleW(console, L"\r\n", 2, &written, NULL)
                     : puts(line) >= 0 && fflush(stdout) == 0;
    free(wide);
    return good;
}

/* What cannot be said where it belongs is said beside it: a failure never goes without a word. */
static void write_line(struct shadow_session *s, const char *line)
{
    if (!write_output(line)) fprintf(stderr, "%s\n", line);
    if (s->log) fprintf(s->log, "%s\n", line);
}

void shadow_say(struct shadow_session *s, const char *format, ...)
{
    char line[3 * DSH_TEXT_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    write_line(s, line);
}

static void print(void *context, const char *line)
{
    struct shadow_session *s = context;
    if (s->is_quiet && strncmp(line, "-> ", 3) == 0) return;
    write_line(s, line);
}

static const char *variable(void *context, const char *name)
{
    struct shadow_session *s = context;
    WCHAR value[DSH_TEXT_MAX_BYTES];
    WCHAR *wide = shadow_wide(name);
    DWORD length = wide ? GetEnvironmentVariableW(wide, value, ARRAYSIZE(value)) : 0;
    free(wide);
    if (length == 0 || length >= ARRAYSIZE(value)) return NULL;
    return WideCharToMultiByte(CP_UTF8, 0, value, -1, s->variable, sizeof s->variable, NULL, NULL) >
                   0
               ? s->variable
               : NULL;
}

/* ---- Failures -------------------------------------------------------------------------------- */

static const struct {
    HRESULT code;
    enum status status;
    const char *name, *next;
} failures[] = {
    {E_ACCESSDENIED, STATUS_DENIED, "E_ACCESSDENIED",
     "run it as a member of Administrators or Backup Operators, from an elevated prompt"},
    {E_INVALIDARG, STATUS_BAD_REQUEST, "E_INVALIDARG", "look at the arguments of this command"},
    {E_OUTOFMEMORY, STATUS_NO_MEMORY, "E_OUTOFMEMORY", NULL},
    {VSS_E_BAD_STATE, STATUS_CONFLICT, "VSS_E_BAD_STATE", NULL},
    {VSS_E_PROVIDER_NOT_REGISTERED, STATUS_NOT_FOUND, "VSS_E_PROVIDER_NOT_REGISTERED",
     "`list providers` tells which there are"},
    {VSS_E_PROVIDER_VETO, STATUS_CONFLICT, "VSS_E_PROVIDER_VETO",
     "the provider wrote the reason, and what to do, to the Application event log"},
    {VSS_E_OBJECT_NOT_FOUND, STATUS_NOT_FOUND, "VSS_E_OBJECT_NOT_FOUND",
     "`list shadows all` tells what there is"},
    {VSS_E_VOLUME_NOT_SUPPORTED, STATUS_NOT_SUPPORTED, "VSS_E_VOLUME_NOT_SUPPORTED",
     "no provider makes shadow copies of this volume; `list providers` tells which there are"},
    {VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, STATUS_NOT_SUPPORTED,
     "VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER", "leave the provider out, or name another"},
    {VSS_E_OBJECT_ALREADY_EXISTS, STATUS_EXISTS, "VSS_E_OBJECT_ALREADY_EXISTS", NULL},
    {VSS_E_UNEXPECTED_PROVIDER_ERROR, STATUS_OS_ERROR, "VSS_E_UNEXPECTED_PROVIDER_ERROR",
     "look into the Application event log"},
    {VSS_E_CORRUPT_XML_DOCUMENT, STATUS_BAD_REQUEST, "VSS_E_CORRUPT_XML_DOCUMENT",
     "the metadata file is damaged: take another copy of it"},
    {VSS_E_INVALID_XML_DOCUMENT, STATUS_BAD_REQUEST, "VSS_E_INVALID_XML_DOCUMENT",
     "the metadata file is damaged: take another copy of it"},
    {VSS_E_FLUSH_WRITES_TIMEOUT, STATUS_TIMED_OUT, "VSS_E_FLUSH_WRITES_TIMEOUT",
     "the volumes are busy: try again later"},
    {VSS_E_HOLD_WRITES_TIMEOUT, STATUS_TIMED_OUT, "VSS_E_HOLD_WRITES_TIMEOUT",
     "the volumes are busy: try again later"},
    {VSS_E_SNAPSHOT_SET_IN_PROGRESS, STATUS_IN_USE, "VSS_E_SNAPSHOT_SET_IN_PROGRESS",
     "another program makes shadow copies right now: try again when it is done"},
    {VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED, STATUS_LIMIT_REACHED,
     "VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED", "a set has at most 64 volumes"},
    {VSS_E_MAXIMUM_NUMBER_OF_SNAPSHOTS_REACHED, STATUS_LIMIT_REACHED,
     "VSS_E_MAXIMUM_NUMBER_OF_SNAPSHOTS_REACHED", "delete shadow copies that are not needed"},
    {VSS_E_UNSUPPORTED_CONTEXT, STATUS_NOT_SUPPORTED, "VSS_E_UNSUPPORTED_CONTEXT",
     "write another set context, or set option"},
    {VSS_E_INSUFFICIENT_STORAGE, STATUS_NO_SPACE, "VSS_E_INSUFFICIENT_STORAGE",
     "the storage has no room for shadow copies: delete some, or make room there"},
    {VSS_E_NO_SNAPSHOTS_IMPORTED, STATUS_NOT_FOUND, "VSS_E_NO_SNAPSHOTS_IMPORTED",
     "did the LUNs arrive at this host?  Look into the Application event log"},
    {VSS_S_SOME_SNAPSHOTS_NOT_IMPORTED, STATUS_NOT_FOUND, "VSS_S_SOME_SNAPSHOTS_NOT_IMPORTED",
     "not all LUNs arrived at this host; look into the Application event log"},
    {VSS_E_BREAK_REVERT_ID_FAILED, STATUS_CONFLICT, "VSS_E_BREAK_REVERT_ID_FAILED",
     "the original disks are visible to this host: hide them first"},
    {VSS_E_LEGACY_PROVIDER, STATUS_NOT_SUPPORTED, "VSS_E_LEGACY_PROVIDER",
     "this provider is too old for that"},
    {VSS_E_NONTRANSPORTABLE_BCD, STATUS_BAD_REQUEST, "VSS_E_NONTRANSPORTABLE_BCD",
     "the set was made without `set option transportable`"},
    {VSS_E_CANNOT_REVERT_DISKID, STATUS_CONFLICT, "VSS_E_CANNOT_REVERT_DISKID",
     "the content is there, but not the disk's old signature; look into the event log"},
    {VSS_E_RESYNC_IN_PROGRESS, STATUS_IN_USE, "VSS_E_RESYNC_IN_PROGRESS",
     "wait for the other resync"},
    {VSS_E_UNSELECTED_VOLUME, STATUS_CONFLICT, "VSS_E_UNSELECTED_VOLUME",
     "another volume lies on the disk: add its shadow copy, or write resync novolcheck, which "
     "takes all of the disk back"},
    {VSS_E_SNAPSHOT_NOT_IN_SET, STATUS_NOT_FOUND, "VSS_E_SNAPSHOT_NOT_IN_SET",
     "this shadow copy is not in the metadata that was loaded"},
    {E_NOTIMPL, STATUS_NOT_SUPPORTED, "E_NOTIMPL", "the provider does not do that"},
    {E_NOINTERFACE, STATUS_NOT_SUPPORTED, "E_NOINTERFACE", "this Windows is too old for that"},
};

struct err *shadow_judge(HRESULT result, const char *what)
{
    if (result == S_OK || result == VSS_S_ASYNC_FINISHED) return NULL;
    for (size_t i = 0; i < ARRAYSIZE(failures); i++) {
        if (failures[i].code != result) continue;
        struct err *e = err_new(failures[i].status, "%s: %s (0x%08lx)", what, failures[i].name,
                                (unsigned long)result);
        return failures[i].next ? err_next(e, "%s", failures[i].next) : e;
    }
    if (result == VSS_S_ASYNC_CANCELLED) return err_new(STATUS_CANCELLED, "%s: cancelled", what);
    return err_new(STATUS_OS_ERROR, "%s: 0x%08lx", what, (unsigned long)result);
}

/* ---- Objects --------------------------------------------------------------------------------- */

static FARPROC bind_either(HMODULE dll, const char *name, const char *other)
{
    FARPROC found = GetProcAddress(dll, name);
    return found ? found : GetProcAddress(dll, other);
}

/* The names that the SDK's headers lead to, and those that older systems have. */
struct err *shadow_open(struct shadow_session *ret)
{
    *ret = (struct shadow_session){0};
    HMODULE dll = LoadLibraryExW(L"vssapi.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (!dll) {
        return err_next(
            err_new(STATUS_NOT_FOUND, "vssapi.dll cannot be loaded (error %lu)", GetLastError()),
            "this Windows has no VSS");
    }
    ret->api.create = (HRESULT(STDAPICALLTYPE *)(IVssBackupComponents **))(void *)bind_either(
        dll, "CreateVssBackupComponentsInternal",
        "?CreateVssBackupComponents@@YAJPEAPEAVIVssBackupComponents@@@Z");
    ret->api.free_properties = (void(APIENTRY *)(VSS_SNAPSHOT_PROP *))(void *)bind_either(
        dll, "VssFreeSnapshotPropertiesInternal", "VssFreeSnapshotProperties");
    if (!ret->api.create || !ret->api.free_properties)
        return err_new(STATUS_NOT_SUPPORTED, "vssapi.dll lacks what a requester needs");
    return NULL;
}

void shadow_close(struct shadow_session *s)
{
    err_free(shadow_reset(s));
    dsh_aliases_fini(&s->names);
    if (s->log) fclose(s->log);
    s->log = NULL;
}

struct err *shadow_object(struct shadow_session *s, LONG context, BSTR xml,
                          IVssBackupComponents **ret)
{
    IVssBackupComponents *vss;
    TRY(shadow_judge(s->api.create(&vss), "CreateVssBackupComponents"));
    struct err *e =
        shadow_judge(IVssBackupComponents_InitializeForBackup(vss, xml), "InitializeForBackup");
    if (!e) e = shadow_judge(IVssBackupComponents_SetContext(vss, context), "SetContext");
    if (e)
        IVssBackupComponents_Release(vss);
    else
        *ret = vss;
    return e;
}

struct err *shadow_interface(IVssBackupComponents *vss, REFIID iid, void **ret)
{
    return shadow_judge(IVssBackupComponents_QueryInterface(vss, iid, ret),
                        "this Windows has not what is needed");
}

struct err *shadow_wait(HRESULT result, IVssAsync **async, const char *what)
{
    HRESULT status = VSS_S_ASYNC_PENDING;
    INT reserved = 0;
    TRY(shadow_judge(result, what));
    while (SUCCEEDED(result) && status == VSS_S_ASYNC_PENDING) {
        result = IVssAsync_Wait(*async, INFINITE);
        if (SUCCEEDED(result)) result = IVssAsync_QueryStatus(*async, &status, &reserved);
    }
    IVssAsync_Release(*async);
    return shadow_judge(FAILED(result) ? result : status, what);
}

/* ---- What the interpreter is given ----------------------------------------------------------- */

static struct err *load_metadata(void *context, const char *file, struct dsh_aliases *aliases)
{
    struct shadow_session *s = context;
    BSTR document;
    TRY(shadow_metadata_load(file, &document, aliases));
    SysFreeString(s->document);
    s->document = document;
    for (unsigned i = 0; i < aliases->count; i++)
        TRY(dsh_aliases_set(&s->names, aliases->list[i].name, aliases->list[i].value));
    return NULL;
}

struct dsh_ops shadow_ops(void)
{
    return (struct dsh_ops){
        .check_volume = shadow_check_volume,
        .create = shadow_create,
        .created = shadow_created,
        .end_backup = shadow_end_backup,
        .load_metadata = load_metadata,
        .begin_restore = shadow_begin_restore,
        .end_restore = shadow_end_restore,
        .import = shadow_import,
        .expose = shadow_expose,
        .unexpose = shadow_unexpose,
        .break_set = shadow_break,
        .mask = shadow_mask,
        .resync = shadow_resync,
        .delete_shadows = shadow_delete,
        .list = shadow_list,
        .exec = shadow_exec,
        .reset = shadow_reset,
        .variable = variable,
        .print = print,
    };
}
