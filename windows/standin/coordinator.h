/*
 * coordinator.h - the VSS service as the documentation describes it, for tests: which call comes
 * when, with what in it, what is checked after it, and what happens when it fails.
 *
 * The executable specification of what Tarn's provider has to live with.  coordinator.c is the order
 * of calls and reads like the documentation; rules.def names every rule that a provider can break.
 * vssapi.dll (windows/standin/vssapi) is this, behind IVssBackupComponents; the native tests call it
 * directly.
 *
 *     coordinator_create(&seams, &c);
 *     coordinator_start_set(c, &set);
 *     coordinator_add_volume(c, "\\\\?\\Volume{...}\\", NULL, &snapshot);
 *     result = coordinator_do_set(c);
 *     ... coordinator_query(), coordinator_delete(), coordinator_break() ...
 *     coordinator_destroy(c);      volatile shadow copies of this session go
 *
 * Words: a volume is a partition of a GPT disk that this host sees; its name has the partition's GUID.
 * Partitions of several disks with the same name beginning "span:" are one volume over several LUNs
 * (so its broken copy cannot be told from it on the same host).  A session is one
 * IVssBackupComponents.  The document is its backup components document.
 *
 * Threads: one for each coordinator, but for coordinator_cancel, which may come from any.
 * Failures: HRESULT as the requester would get it.  A broken rule of the contract is also kept by
 * name (coordinator_broken_rule): a test fails on it even if the requester saw success.
 */
#ifndef TARN_WINDOWS_STANDIN_COORDINATOR_H
#define TARN_WINDOWS_STANDIN_COORDINATOR_H

#include "windows/standin/seams.h"

struct coordinator;

struct coordinator_seams {
    struct si_registry *registry;
    struct si_memory *memory;
    struct si_machine *machine;
    struct si_host *host;
    char computer[SI_NAME_MAX];
    /* A new provider process for every call outside BeginPrepareSnapshot to PostCommitSnapshots. */
    bool new_process_each_call;
    /* Of the orders that the documentation allows, one drawn from this seed; 0: the usual one. */
    uint64_t order_seed;
};

/* A fault that the test wants, at the named step ("EndPrepareSnapshots", "hold", ...). */
enum coordinator_fault {
    COORDINATOR_ABORT_BEFORE, /* another provider failed: AbortSnapshots instead of this step */
    COORDINATOR_ABORT_AFTER,  /* ... after it */
    COORDINATOR_ABORT_DURING, /* ... beside it, on another thread */
    COORDINATOR_VANISH_AFTER, /* VSS itself dies: nothing more is called */
    COORDINATOR_KILL_BEFORE,  /* the provider's process dies */
    COORDINATOR_KILL_AFTER,
};

int coordinator_create(const struct coordinator_seams *seams, struct coordinator **ret);
void coordinator_destroy(struct coordinator *c);
void coordinator_set_fault(struct coordinator *c, enum coordinator_fault fault, const char *step);
/* NULL, or the name of the first rule that a provider broke, and what was seen. */
const char *coordinator_broken_rule(const struct coordinator *c, const char **ret_what);

/* ---- Making a set ---------------------------------------------------------------------------- */

void coordinator_set_context(struct coordinator *c, LONG context); /* attributes too; default 0 */
HRESULT coordinator_is_volume_supported(struct coordinator *c, const GUID *provider,
                                        const char *volume, BOOL *ret_supported);
HRESULT coordinator_start_set(struct coordinator *c, VSS_ID *ret_set);
HRESULT coordinator_add_volume(struct coordinator *c, const char *volume, const GUID *provider,
                               VSS_ID *ret_snapshot);
HRESULT coordinator_do_set(struct coordinator *c);
/* DoSnapshotSet's IVssAsync::Cancel, AbortBackup: any thread. */
void coordinator_cancel(struct coordinator *c);

/* ---- The document ---------------------------------------------------------------------------- */

char *coordinator_save_document(struct coordinator *c); /* malloc'd XML; NULL: out of memory */
HRESULT coordinator_load_document(struct coordinator *c, const char *xml);

/* ---- Using shadow copies --------------------------------------------------------------------- */

HRESULT coordinator_import(struct coordinator *c); /* the set of the loaded document */
/* Of this host: what it made or imported and did not lose. */
struct coordinator_snapshot {
    VSS_ID id, set, provider;
    unsigned set_count;                            /* shadow copies that the set had at first */
    char volume[SI_NAME_MAX], device[SI_NAME_MAX]; /* device: "" while it is not imported */
    char origin[SI_NAME_MAX];                      /* the computer that made it */
    LONG attributes;
    int64_t created_filetime; /* 100 ns since 1601 */
    /* Where the device is: for who wants to read it. */
    unsigned lun;
    uint64_t first_lba, block_count;
};
unsigned coordinator_query(struct coordinator *c, struct coordinator_snapshot *ret, unsigned max);
HRESULT coordinator_delete(struct coordinator *c, const VSS_ID *id, bool is_set, LONG *ret_deleted,
                           VSS_ID *ret_not_deleted);
/* flags: VSS_HARDWARE_OPTIONS.  is_plain: BreakSnapshotSet, which calls no provider. */
HRESULT coordinator_break(struct coordinator *c, const VSS_ID *set, bool is_plain, DWORD flags);
/* LUN resynchronisation, after load_document: pairs first, then the deed. */
HRESULT coordinator_add_to_recovery_set(struct coordinator *c, const VSS_ID *snapshot,
                                        const char *volume);         /* NULL: the original */
HRESULT coordinator_recover_set(struct coordinator *c, DWORD flags); /* waits for the provider */

/* The volumes of this host, by name. */
unsigned coordinator_volumes(struct coordinator *c, char ret_names[][SI_NAME_MAX], unsigned max);

#endif
