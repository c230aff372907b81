/* coordinator_int.h - what the files of the coordinator share: its state, and what each file gives
 * to the others.  See coordinator.h for what it is. */
#ifndef TARN_WINDOWS_STANDIN_COORDINATOR_INT_H
#define TARN_WINDOWS_STANDIN_COORDINATOR_INT_H

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "windows/standin/coordinator.h"
#include "windows/standin/gpt.h"
#include "windows/standin/record.h"
#include "windows/standin/words.h"

enum {
    SET_VOLUMES_MAX = 64, /* of a set, by the documentation */
    SET_LUNS_MAX = 256,
    SET_EXTENTS_MAX = 320,
    VOLUME_EXTENTS_MAX = 32,
    HOST_SETS_MAX = 256,
    COMMIT_MAX_MS = 10000, /* not configurable in Windows */
    WRITERS_MAX_MS = 60000,
    WHAT_MAX = 256,
};

/* ---- The set, as the backup components document has it --------------------------------------- */

struct set_lun {
    VDS_LUN_INFORMATION source, target;
    GUID provider, disk_id; /* disk_id: on the source when the set was made */
    uint64_t block_count;   /* the same */
    bool is_gone;           /* deleted through VSS */
    unsigned seen;          /* where in coordinator.disks; UINT_MAX: not there */
};

/* A stretch of a volume. */
struct set_extent {
    unsigned snapshot, lun; /* of the set */
    GUID partition;         /* on the source */
    uint64_t first_lba, block_count;
};

struct set_snapshot {
    VSS_ID id, provider;
    char volume[SI_NAME_MAX], device[SI_NAME_MAX];
    LONG attributes;
    bool is_gone;
};

struct snapshot_set {
    VSS_ID id;
    LONG context;
    char computer[SI_NAME_MAX];
    int64_t created_filetime;
    bool is_imported;
    unsigned snapshot_count, lun_count, extent_count;
    struct set_snapshot snapshots[SET_VOLUMES_MAX];
    struct set_lun luns[SET_LUNS_MAX];
    struct set_extent extents[SET_EXTENTS_MAX];
};

struct snapshot_set *set_create(void);
void set_destroy(struct si_memory *memory, struct snapshot_set *set); /* accepts NULL */
/* The document: malloc'd XML; NULL: out of memory. */
char *document_write(const struct snapshot_set *set);
/* NULL: not such a document, or out of memory. */
struct snapshot_set *document_read(struct si_memory *memory, const char *xml);

/* ---- The host -------------------------------------------------------------------------------- */

struct seen_disk {
    struct si_disk disk;
    VDS_LUN_INFORMATION record;
    struct si_gpt table;
};

struct seen_disks {
    unsigned count;
    struct seen_disk *at[SI_DISKS_MAX];
};

struct volume {
    char name[SI_NAME_MAX];
    unsigned count;
    struct {
        unsigned disk; /* of coordinator.disks */
        GUID partition;
        uint64_t first_lba, block_count;
    } extents[VOLUME_EXTENTS_MAX];
};

/* ---- The coordinator ------------------------------------------------------------------------- */

enum rule {
#define RULE(name, text, page) RULE_##name,
#include "windows/standin/rules.def"
#undef RULE
};

/* A registered provider, and its process while there is one. */
struct provider_slot {
    struct si_registered registered;
    struct si_provider *p;
    bool is_in_set;      /* has volumes of the set in the making */
    unsigned hold_count; /* > 0: this process must live on */
};

struct recovery_pair {
    VSS_ID snapshot;
    char volume[SI_NAME_MAX]; /* "" = the original */
};

struct coordinator {
    struct coordinator_seams seams;
    LONG context;
    struct provider_slot slots[SI_PROVIDERS_MAX];
    unsigned slot_count;
    struct seen_disks disks, before; /* after the latest rescan, and the one before it */

    struct snapshot_set *set; /* in the making, or just made */
    bool is_set_open;         /* between StartSnapshotSet and the end of DoSnapshotSet */
    struct snapshot_set *document;
    struct recovery_pair recovery[SET_VOLUMES_MAX];
    unsigned recovery_count;
    VSS_ID volatile_sets[HOST_SETS_MAX]; /* that go with this session */
    unsigned volatile_count;

    /* While a set is made: what has to be undone. */
    bool was_ended;   /* EndPrepareSnapshots was called: from here on there is AbortSnapshots */
    bool was_aborted; /* ... and it was called */
    bool was_located;
    bool are_marked, are_frozen, are_held;
    unsigned marked_count; /* extents */
    uint64_t frozen_ms, held_ms;
    bool is_quiet; /* from PreCommitSnapshots to the release of writes: no events */
    bool has_held_veto;
    uint64_t quiet_events;

    enum coordinator_fault fault;
    char fault_step[SI_NAME_MAX]; /* "" = none */
    bool is_dead;                 /* VSS died: nothing is called any more */
    atomic_bool is_cancelled;
    atomic_int cancel_depth; /* coordinator_cancel is calling AbortSnapshots */
    atomic_bool is_ending;   /* EndPrepareSnapshots is called */

    const char *broken_rule;
    char broken_what[WHAT_MAX];
    uint64_t draw_state;
};

/* session.c */
void rule_broken(struct coordinator *c, enum rule rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Below `choices`; 0, the usual, when there is no seed. */
unsigned draw(struct coordinator *c, unsigned choices);
bool fault_at(const struct coordinator *c, enum coordinator_fault fault, const char *step);
uint64_t now_ms(struct coordinator *c);
/* What this host knows, by set: kept as documents under "set-ID". */
bool host_save_set(struct coordinator *c, const struct snapshot_set *set);
void host_forget_set(struct coordinator *c, const VSS_ID *set);
struct snapshot_set *host_load_set(struct coordinator *c, const VSS_ID *set); /* NULL: unknown */
unsigned host_list_sets(struct coordinator *c, VSS_ID ret[HOST_SETS_MAX]);

/* calls.c: each method once, with all that has to hold of it. */
HRESULT call_are_luns_supported(struct coordinator *c, struct provider_slot *slot, LONG context,
                                LONG count, VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns,
                                bool *ret_supported);
/* The record in place; false: not the provider's. */
/* What FillInLunInfo said; of a process that cannot be had, or died in the call, nothing is known. */
enum lun_answer { LUN_UNANSWERED, LUN_IS_FOREIGN, LUN_IS_OWN };
enum lun_answer call_fill_in_lun_info(struct coordinator *c, struct provider_slot *slot,
                                      VSS_PWSZ device, VDS_LUN_INFORMATION *lun);
HRESULT call_begin_prepare(struct coordinator *c, struct provider_slot *slot,
                           const VSS_ID *snapshot, LONG count, VSS_PWSZ *devices,
                           VDS_LUN_INFORMATION *luns);
HRESULT call_get_target_luns(struct coordinator *c, struct provider_slot *slot, LONG count,
                             VSS_PWSZ *devices, VDS_LUN_INFORMATION *sources,
                             VDS_LUN_INFORMATION *ret_targets);
HRESULT call_locate_luns(struct coordinator *c, struct provider_slot *slot, LONG count,
                         VDS_LUN_INFORMATION *luns);
HRESULT call_on_lun_empty(struct coordinator *c, struct provider_slot *slot, VSS_PWSZ device,
                          VDS_LUN_INFORMATION *lun);
HRESULT call_on_lun_state_change(struct coordinator *c, struct provider_slot *slot,
                                 VDS_LUN_INFORMATION *snapshots, VDS_LUN_INFORMATION *originals,
                                 DWORD count, DWORD flags);
/* Waits for its end; what the IVssAsync ended with, or the refusal. */
HRESULT call_resync_luns(struct coordinator *c, struct provider_slot *slot,
                         VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets, DWORD count);
/* IVssProviderCreateSnapshotSet, about coordinator.set. */
enum set_call { END_PREPARE, PRE_COMMIT, COMMIT, POST_COMMIT, PRE_FINAL, POST_FINAL, ABORT };
HRESULT call_of_set(struct coordinator *c, struct provider_slot *slot, enum set_call which);
/* Their process may not end until the same number of slot_let_go. */
bool slot_hold(struct coordinator *c, struct provider_slot *slot);
void slot_let_go(struct coordinator *c, struct provider_slot *slot);
void slot_unload(struct coordinator *c, struct provider_slot *slot);

/* disks.c */
bool disks_rescan(struct coordinator *c); /* false: no session */
void disks_forget(struct coordinator *c, struct seen_disks *disks);
unsigned disks_find(const struct seen_disks *disks, const VDS_LUN_INFORMATION *lun); /* UINT_MAX */
unsigned disks_count(const struct seen_disks *disks, const VDS_LUN_INFORMATION *lun);
/* A disk that the rescan before saw and this one does not, but for those that may have gone. */
const struct seen_disk *disks_lost(const struct coordinator *c, const VDS_LUN_INFORMATION *may_go,
                                   unsigned may_go_count);
/* The name with or without its last backslash. */
bool volume_find(struct coordinator *c, const char *name, struct volume *ret_volume);
unsigned volume_list(struct coordinator *c, char ret_names[][SI_NAME_MAX], unsigned max);
/* The name of a disk for a provider: "\\?\PhysicalDriveN". */
enum { DEVICE_CHARS = 40 };
struct device_names {
    WCHAR text[SET_LUNS_MAX][DEVICE_CHARS];
    VSS_PWSZ at[SET_LUNS_MAX];
};
void device_name(struct device_names *names, unsigned i, unsigned disk);
/* What Windows wrote went through?  Else the rule that it broke, and the requester's code. */
HRESULT windows_wrote(struct coordinator *c, enum si_io io, const char *what);

/* select.c */
struct provider_slot *slot_find(struct coordinator *c, const GUID *provider);
HRESULT select_provider(struct coordinator *c, const GUID *provider, const struct volume *volume,
                        struct provider_slot **ret_slot);
/* A record for each LUN of the volume, made from the bytes of its disks now. */
struct volume_luns {
    LONG count;
    unsigned disks[VOLUME_EXTENTS_MAX];
    VDS_LUN_INFORMATION at[VOLUME_EXTENTS_MAX];
    struct device_names names;
};
bool volume_luns_make(struct coordinator *c, const struct volume *volume,
                      struct volume_luns **ret_luns);
void volume_luns_free(struct coordinator *c, struct volume_luns *luns);

/* arrival.c: LocateLuns, the rescan, FillInLunInfo; then what Windows writes.  S_OK: all there. */
HRESULT arrive(struct coordinator *c, struct snapshot_set *set);
HRESULT arrival_write_ids(struct coordinator *c, struct snapshot_set *set);
/* Devices for the shadow copies, and the host knows them from here on. */
bool arrival_surface(struct coordinator *c, struct snapshot_set *set);

#endif
