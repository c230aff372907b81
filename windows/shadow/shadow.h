/*
 * shadow.h - tarn-shadow: a requester of shadow copies for Windows, over the public interface of
 * VSS alone.
 *
 * It does what DiskShadow scripts say (dsh/run.h), and short commands that become such scripts
 * (main.c).  It knows nothing of Tarn: whatever provider VSS chooses makes the copies.
 *
 *     session.c   the objects of VSS, waiting, failures in words
 *     create.c    add volume, create, end backup, reset
 *     use.c       import, expose, break, mask, resync, delete
 *     list.c      what DiskShadow prints of shadow copies, providers and writers
 *     metadata.c  the .cab files of `set metadata`, made and read by Windows' own cabinet.dll
 *     crash.c     the last words when an exception ends the program
 *
 * Applications are told of a backup of whole volumes (SetBackupState without components): all that
 * lies on the volumes takes part.  A single component can be neither demanded nor left out.
 *
 * Threads: one, in the multithreaded apartment.  Ownership: a session has all it hands out.
 */
#ifndef TARN_WINDOWS_SHADOW_SHADOW_H
#define TARN_WINDOWS_SHADOW_SHADOW_H

#include <stdio.h>

#include "dsh/aliases.h"
#include "dsh/run.h"

#include <windows.h>

#include <vsbackup.h>
#include <vss.h>
#include <vsserror.h>

enum { SHADOW_SETS_MAX = 64, SHADOW_TEXT_MAX = 1024 };

struct shadow_api {
    HRESULT(STDAPICALLTYPE *create)(IVssBackupComponents **ret);
    void(APIENTRY *free_properties)(VSS_SNAPSHOT_PROP *property);
};

/* A set that this session made.  Volatile shadow copies live as long as its object. */
struct shadow_made {
    IVssBackupComponents *vss;
    bool tells_writers, is_complete;
};

struct shadow_session {
    struct shadow_api api;
    struct shadow_made made[SHADOW_SETS_MAX];
    unsigned made_count;
    BSTR document;                 /* of load metadata; NULL: none */
    struct dsh_aliases names;      /* of this session's ids, for lists */
    IVssBackupComponents *restore; /* between begin restore and end restore */
    bool is_quiet;                 /* commands are not echoed */
    FILE *log;
    char variable[DSH_TEXT_MAX_BYTES];
};

struct dsh_ops shadow_ops(void);

/* ---- crash.c --------------------------------------------------------------------------------- */

/* From now on an exception that nobody takes is told on stderr: which, and where. */
void shadow_tell_crashes(void);

/* ---- session.c ------------------------------------------------------------------------------- */

struct err *shadow_open(struct shadow_session *ret) MUST_CHECK;
void shadow_close(struct shadow_session *s);
TARN_PRINTF(2, 3)
void shadow_say(struct shadow_session *s, const char *format, ...);
/* NULL on success; else "what: ...", with what can be done. */
struct err *shadow_judge(HRESULT result, const char *what) MUST_CHECK;
/* An object for everything that is not the making of a set; with xml, of that document. */
struct err *shadow_object(struct shadow_session *s, LONG context, BSTR xml,
                          IVssBackupComponents **ret) MUST_CHECK;
struct err *shadow_interface(IVssBackupComponents *vss, REFIID iid, void **ret) MUST_CHECK;
/* Waits for what a call began, and lets go of it.  result: of the call, which is made in the same
 * breath: so async is looked at only here. */
struct err *shadow_wait(HRESULT result, IVssAsync **async, const char *what) MUST_CHECK;
const char *shadow_guid_text(const GUID *id, char ret[DSH_ID_SIZE]);
struct err *shadow_guid(const char *text, GUID *ret) MUST_CHECK;
char *shadow_utf8(const WCHAR *text); /* malloc'd; NULL becomes "" */
WCHAR *shadow_wide(const char *text); /* malloc'd */
/* D: becomes D:\; malloc'd. */
WCHAR *shadow_volume(const char *text);

/* ---- create.c -------------------------------------------------------------------------------- */

struct err *shadow_check_volume(void *context, const struct dsh_settings *settings,
                                const struct dsh_volume *volume);
struct err *shadow_create(void *context, struct dsh_set *set);
struct err *shadow_created(void *context, const struct dsh_set *set,
                           const struct dsh_aliases *aliases);
struct err *shadow_end_backup(void *context);
struct err *shadow_reset(void *context);

/* ---- use.c ----------------------------------------------------------------------------------- */

struct err *shadow_import(void *context);
struct err *shadow_expose(void *context, const char *id, const char *target);
struct err *shadow_unexpose(void *context, const char *id_or_target);
struct err *shadow_break(void *context, const char *set_id, bool writable);
struct err *shadow_mask(void *context, const char *set_id);
struct err *shadow_resync(void *context, const struct dsh_target *targets, unsigned count,
                          unsigned flags);
struct err *shadow_delete(void *context, enum dsh_kind kind, const char *what);
struct err *shadow_begin_restore(void *context);
struct err *shadow_end_restore(void *context);
struct err *shadow_exec(void *context, const char *file, const struct dsh_aliases *aliases);

/* ---- list.c ---------------------------------------------------------------------------------- */

struct err *shadow_list(void *context, enum dsh_kind kind, const char *id);
/* Every shadow copy of this host; free with shadow_snapshots_free. */
struct err *shadow_snapshots(struct shadow_session *s, VSS_SNAPSHOT_PROP **ret,
                             unsigned *ret_count) MUST_CHECK;
void shadow_snapshots_free(struct shadow_session *s, VSS_SNAPSHOT_PROP *list, unsigned count);

/* ---- metadata.c ------------------------------------------------------------------------------ */

/* Can it be written?  Creates nothing. */
struct err *shadow_metadata_try(const char *file) MUST_CHECK;
struct err *shadow_metadata_save(struct shadow_session *s, const char *file, BSTR document,
                                 const struct dsh_aliases *aliases, bool verbose) MUST_CHECK;
struct err *shadow_metadata_load(const char *file, BSTR *ret_document,
                                 struct dsh_aliases *aliases) MUST_CHECK;

/* ---- cabinet.c ------------------------------------------------------------------------------- */

struct cabinet_file {
    const char *name;
    const void *bytes;
    size_t size;
};

struct err *cabinet_write(const char *path, const struct cabinet_file *files,
                          unsigned count) MUST_CHECK;
/* The bytes of one file, NUL-terminated, malloc'd; *ret NULL: there is no such file in it. */
struct err *cabinet_read(const char *path, const char *name, char **ret,
                         size_t *ret_size) MUST_CHECK;

#endif
