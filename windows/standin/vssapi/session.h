/*
 * session.h - what the files behind IVssBackupComponents share.  Threads: as vssapi.h says.
 */
#ifndef TARN_WINDOWS_STANDIN_SESSION_H
#define TARN_WINDOWS_STANDIN_SESSION_H

#include "windows/standin/coordinator.h"
#include "windows/standin/vssapi/vssapi.h"

/* What a session has gone through: most calls come only after others. */
enum session_step {
    SESSION_INITIALIZED = 1 << 0,
    SESSION_RESTORE = 1 << 1, /* InitializeForRestore */
    SESSION_CONTEXT = 1 << 2,
    SESSION_STATE = 1 << 3,    /* SetBackupState */
    SESSION_GATHERED = 1 << 4, /* GatherWriterMetadata */
    SESSION_STARTED = 1 << 5,  /* StartSnapshotSet */
    SESSION_HAS_VOLUME = 1 << 6,
    SESSION_PREPARED = 1 << 7, /* PrepareForBackup */
    SESSION_DONE = 1 << 8,     /* DoSnapshotSet */
    SESSION_DOCUMENT = 1 << 9,
    SESSION_RECOVERY = 1 << 10, /* AddSnapshotToRecoverySet */
};

struct session {
    IVssBackupComponentsEx4 iface;
    LONG references;
    struct coordinator *coordinator;
    struct si_host *host;
    LONG context;
    unsigned steps; /* enum session_step */
    VSS_ID id;
    unsigned excluded_writers; /* a bit for each, in the order of STANDIN_WRITERS */
    bool has_enabled_writers;
    /* Of the deed that is under way. */
    VSS_ID set;
    DWORD flags;
};

/* ---- shadow copies ---------------------------------------------------------------------------- */

HRESULT session_properties(struct session *s, const VSS_ID *id, VSS_SNAPSHOT_PROP *ret);
HRESULT session_query(struct session *s, IVssEnumObject **ret);
bool session_find(struct session *s, const VSS_ID *id, struct coordinator_snapshot *ret);

/* ---- What is exposed, exposed.c ---------------------------------------------------------------- */

bool standin_exposed_as(const VSS_ID *id, char ret_name[SI_NAME_MAX]);
HRESULT standin_expose(const struct coordinator_snapshot *snapshot, const char *name);
HRESULT standin_unexpose(const VSS_ID *id);

/* ---- The host, host.c -------------------------------------------------------------------------- */

/* The machine lives as long as the host; NULL: out of memory. */
struct si_host *standin_host_create(struct si_machine **ret_machine);
void standin_host_destroy(struct si_host *h);
/* DIRECTORY\KIND\NAME END; the directories are made. */
void standin_state_path(const char *kind, const char *name, const char *end, char ret[MAX_PATH]);
char *standin_file_read(const char *path); /* malloc'd; NULL: not there */
bool standin_file_write(const char *path, const char *text);

/* ---- What the stand-in does not do, backup_rest.c ---------------------------------------------- */

void session_fill_rest(IVssBackupComponentsEx4Vtbl *methods);
void session_fill_writers(IVssBackupComponentsEx4Vtbl *methods); /* writers.c */

#endif
