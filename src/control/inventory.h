/*
 * inventory.h - what the control plane knows, in memory: pools, disks, hosts, sets, snapshots, jobs
 * and struct control, which holds them all; how they are found, and how they look as JSON.
 *
 * Words: an OBJECT is a thing with a name and an id; its ROW is what the catalog keeps of it.
 * Threads: the loop, but for what is marked ON_WORKER.  What is found is borrowed, until its
 * inventory_remove_*.
 */
#ifndef TARN_CONTROL_INVENTORY_H
#define TARN_CONTROL_INVENTORY_H

#include "base/check.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/control.h"
#include "control/set_machine.h"
#include "control/verbs.h"
#include "volume/volume.h"

enum {
    SET_HISTORY_MAX = 32,
    SET_HOLDERS_MAX = 64,
    JOB_KEPT_MAX = 200,
    JOB_WAIT_MAX_S = 30,
    TROUBLE_SIZE = 512,
};
#define SET_LEASE_DEFAULT_S ((uint64_t)900)
#define SET_LEASE_MAX_S ((uint64_t)24 * 3600)
#define SET_ARMED_DEFAULT_MS ((uint64_t)10000)
#define LUN_REUSE_NS (600 * RT_SECOND)
#define HOUR_NS (3600 * RT_SECOND)
#define DAY_NS (24 * HOUR_NS)
#define UNDO_KEPT_NS DAY_NS
/* Who used a disk so short a time ago may do so again: its content is not changed under it (S7). */
#define DISK_USE_NS (60 * RT_SECOND)

/* ---- Objects --------------------------------------------------------------------------------- */

struct object {
    struct list_node link;
    const struct uuid *uuid;
    const char *name;
    bool past; /* found by id, and by name only if nothing else has it (aborted sets) */
    struct object_index *index; /* in which it is; NULL */
    struct object *next_in_bucket;
};

/* What there may be many of, by id (inventory.c). */
struct object_index {
    struct object **buckets;
    size_t bucket_count, count;
};

struct pool {
    struct object object;
    struct catalog_pool row;
    struct volume_pool *engine; /* NULL: missing or being made */
    char trouble[TROUBLE_SIZE];
    bool held;        /* by another process; the start waits for it (start.c) */
    bool out_of_room; /* nothing is left to give back */
    bool is_low;      /* less free than its level of warning; hosts are told (space.c) */
    struct control *control; /* once its space is watched (space.c) */
};

/* What stands between a view and the LUNs that serve it. */
struct served {
    struct volume *volume;
    struct scsi_lun *lun[2]; /* by write protection */
    unsigned users[2];
    uint64_t change_count; /* of volumes that were closed */
    struct scsi_reservations *reservations; /* of both LUNs (reservation.c); NULL: none yet, or their own */
};

/* The last revert of a disk since the server started: what is asked for again may be there already. */
struct disk_given {
    struct uuid point, undo; /* undo nil: none */
    struct uuid job;         /* that did it; or nil */
    bool clears_flags;
    uint64_t change_count;
};

struct disk {
    struct object object;
    struct catalog_disk row;
    struct pool *pool;
    struct served served;
    struct disk_given given;
    unsigned map_count;
    struct job *job; /* that works on it, so that nothing else does; NULL */
    struct list undos; /* undo.object.link, oldest first */
};

/* What a disk was before a revert or replace; named among its disk's. */
struct undo {
    struct object object;
    struct catalog_undo row;
    struct disk *disk;
};

struct lane {
    bool busy;
    struct list waiting; /* op.lane_link */
};

struct set {
    struct object object;
    struct catalog_set row;
    struct pool *pool;   /* of its first member when it was prepared; the others: set_pools.c */
    struct uuid owner;   /* group or host (group.c); nil: administrators only */
    struct list members; /* snapshot.member_link, in order of position */
    unsigned event_count;
    struct catalog_event events[SET_HISTORY_MAX];
    uint64_t lease_until_ns, armed_until_ns; /* rt_now */
    struct lane lane;
    bool lapsing; /* an operation that ends it is under way */
    uint64_t rest_after_ns; /* rt_now; what an abort has left is tried again then (room.c) */
    bool gone;    /* forgotten; freed when its lane is empty */
    bool changed; /* at start: its state is to be written */
    bool undecided; /* since the start: a pool is absent that may have its cut or not (E23) */
    uint64_t refusal_noted_ns; /* rt_now; of an import that another host's branch stood against; 0 = never */
    struct uuid refused_host;
    bool is_stale; /* volatile, and none of its hosts was there for a day */
    uint64_t remove_after_ns; /* rt_now; an attempt to remove it failed: not again before */
    unsigned holder_count;
    struct uuid holders[SET_HOLDERS_MAX]; /* hosts whose unit attention is held */
    unsigned import_count;
    struct catalog_import *imports; /* one for each host that ever imported it */
};

struct snapshot {
    struct object object;
    struct list_node member_link;
    struct catalog_snapshot row;
    struct set *set;
    struct disk *disk;
    struct served served; /* the point, write-protected */
    struct served view;   /* the same without the marks of VSS (view.c) */
    struct served branch; /* its private branch */
    unsigned map_count;   /* of all three */
    struct job *job;      /* that works on it or reads it; NULL */
};

struct slot {
    bool used_before;
    struct uuid object;
    uint64_t freed_sequence;
    uint64_t freed_at_ns; /* rt_now; at start: then */
};

struct session {
    struct list_node link;
    char initiator[CATALOG_INITIATOR_SIZE];
    unsigned count;
};

struct host {
    struct object object;
    struct catalog_host row;
    struct scsi_map *map;
    struct group *group; /* NULL: in none */
    struct list maps, sessions;
    uint64_t last_seen_ns; /* rt_now at the end of its last session; at first: at start */
    struct slot slots[LIMIT_LUNS_PER_HOST];
    bool leaving;
};

struct map {
    struct list_node link; /* host.maps, in order of LUN */
    struct catalog_map row;
    struct host *host;
    struct disk *disk; /* one of the two */
    struct snapshot *snapshot;
    struct scsi_lun *lun; /* NULL: not served (its pool is missing) */
};

struct token {
    struct object object;
    struct catalog_token row;
    enum control_role role;
};

struct job {
    struct object object;
    struct catalog_job row; /* row.answer == answer, row.work == work_text */
    char *answer, *work_text;
    const struct job_type *type; /* NULL: it does not outlive the process */
    json_t *work;                /* what work_text says */
    json_t *result;              /* becomes the answer */
    void *run;                   /* the type's own, while it runs */
    bool is_cancelled;
    bool is_short_of_space, told_space; /* it waits; that was told once */
    bool told_pool;                     /* the same, of a pool that is not there */
    char trouble[TROUBLE_SIZE];
    char name[UUID_TEXT_SIZE];
    uint64_t done_bytes, total_bytes;
    struct list waiters; /* op.lane_link of job_show?wait= */
    struct control *control;
    struct err *failure;
    struct pool *pool;          /* while it works on it */
    struct volume_pool *opened; /* while it is being opened */
    struct volume_pool_options pool_options;
    bool overwrite;
    uint64_t size_bytes;
    struct volume_check_report check_report; /* of pool check */
};

/* Refused calls of one actor and verb within a minute (audit.c). */
enum { DENIALS_MAX = 64 };
struct denial {
    const char *verb; /* NULL: free */
    char actor[CONTROL_ACTOR_SIZE];
    uint64_t until_ns, repeated;
};

/* The clock that retention and expiry run on (clock.c). */
struct own_clock {
    struct catalog_clock row;
    uint64_t mono_ns;      /* rt_now at row.now_ns */
    uint64_t jump_ns;      /* how far the wall clock is ahead, unconfirmed; 0 = it is not */
    uint64_t stored_at_ns; /* rt_now */
};

struct control_counters {
    uint64_t calls, failures, sets_committed, sets_aborted, lapsed;
};

struct control {
    struct rt *rt;
    struct control_options options;
    char state_directory[CATALOG_PATH_SIZE];
    char server_name[CATALOG_NAME_SIZE], version[64], target_name[CATALOG_INITIATOR_SIZE];
    struct rt_worker *worker;
    struct catalog *catalog;
    struct uuid server;
    bool nonce_key_drawn;
    char api_address[ENROL_ADDRESS_SIZE];
    char pins[ENROL_PINS_MAX][SIGNED_HASH_SIZE];
    struct list clearings;      /* vss_flags.c */
    struct list groups, grants, credentials, enrolments; /* group.c, credential.c */
    uint8_t nonce_key[32];
    unsigned pin_count;
    struct list pools, disks, hosts, sets, snapshots, tokens, jobs; /* object.link */
    struct object_index disk_index, set_index, snapshot_index;
    struct lane lane;
    struct list ops;       /* op.link */
    struct list gone_sets; /* forgotten, but an operation still holds their lane */
    unsigned jobs_running;
    struct volume_pool *closing; /* until its close has ended: for a simulated crash */
    struct rt_timer lease_timer;
    struct own_clock clock;
    struct catalog_settings settings;
    bool tidying; /* what has expired is being deleted (expire.c) */
    bool removing_stale;
    const struct control_target_ops *target;
    void *target_arg;
    bool started, stopping, stopped;
    uint64_t started_ns; /* wall */
    struct control_counters counters;
    struct denial denials[DENIALS_MAX + 1]; /* the last: of all that find no place of their own */
    void (*on_started)(void *arg, struct err *e);
    void (*on_stopped)(void *arg);
    void *start_arg, *stop_arg;
};

/* ---- Making, finding and forgetting them ----------------------------------------------------- */

/* inventory.c */
struct pool *inventory_add_pool(struct control *control, const struct catalog_pool *row);
struct disk *inventory_add_disk(struct control *control, const struct catalog_disk *row);
struct host *inventory_add_host(struct control *control, const struct catalog_host *row);
struct set *inventory_add_set(struct control *control, const struct catalog_set *row);
struct snapshot *inventory_add_snapshot(struct control *control,
                                        const struct catalog_snapshot *row);
struct token *inventory_add_token(struct control *control, const struct catalog_token *row);
struct job *inventory_add_job(struct control *control, const struct catalog_job *row);
struct map *inventory_add_map(struct control *control, const struct catalog_map *row);
struct undo *inventory_add_undo(struct control *control, const struct catalog_undo *row);
struct catalog_import *set_import_of(const struct set *set, const struct uuid *host); /* NULL */
void inventory_put_import(struct set *set, const struct catalog_import *row);
/* The private branch of the snapshot is a disk of its own from now on; its maps are the disk's.  The
 * snapshot stays, with what serves the point. */
void inventory_branch_becomes_disk(struct control *control, struct snapshot *snapshot,
                                   struct disk *disk);
void inventory_remove_pool(struct control *control, struct pool *pool);
void inventory_remove_disk(struct disk *disk);
void inventory_remove_host(struct host *host);
void inventory_remove_set(struct control *control, struct set *set);
void inventory_remove_snapshot(struct snapshot *snapshot);
void inventory_remove_token(struct token *token);
void inventory_remove_job(struct job *job);
void inventory_remove_map(struct map *map);
void inventory_remove_undo(struct undo *undo);
/* Sets keep no LUN numbers for a host that is not there (any more). */
void inventory_forget_hosts_of_sets(struct control *control);
void inventory_free(struct control *control);
ON_WORKER struct err *inventory_load(struct control *control) MUST_CHECK;
struct pool *inventory_pool(struct control *control, const struct uuid *uuid); /* NULL */
struct disk *inventory_disk(struct control *control, const struct uuid *uuid);
struct host *inventory_host(struct control *control, const struct uuid *uuid);
struct set *inventory_set(struct control *control, const struct uuid *uuid);
struct snapshot *inventory_snapshot(struct control *control, const struct uuid *uuid);
struct snapshot *inventory_snapshot_of_point(struct control *control, const struct uuid *point);
struct undo *inventory_undo(struct control *control, const struct uuid *uuid);
const char *pool_state_text(const struct pool *pool);
bool pool_is_writable(const struct pool *pool);
/* What it lacks is not there: one that is damaged may lack what was acknowledged (E9). */
bool pool_may_decide(const struct pool *pool);
/* CONFLICT unless the pool is open and writable. */
struct err *pool_check_open(const struct pool *pool) MUST_CHECK;

/* lookup.c: by name, id or unique prefix; NOT_FOUND, AMBIGUOUS.  kind is also the CLI's noun. */
struct err *object_find(struct list *list, const char *kind, const char *text,
                        struct object **ret_object) MUST_CHECK;
struct err *find_pool(struct control *control, const char *text, struct pool **ret_pool) MUST_CHECK;
struct err *find_disk(struct control *control, const char *text, struct disk **ret_disk) MUST_CHECK;
struct err *find_host(struct control *control, const char *text, struct host **ret_host) MUST_CHECK;
struct err *find_set(struct control *control, const char *text, struct set **ret_set) MUST_CHECK;
struct err *find_snapshot(struct control *control, const char *text,
                          struct snapshot **ret_snapshot) MUST_CHECK;
struct err *find_token(struct control *control, const char *text,
                       struct token **ret_token) MUST_CHECK;
struct err *find_job(struct control *control, const char *text, struct job **ret_job) MUST_CHECK;
/* EXISTS when a live object of the list has this name. */
struct err *name_check_free(struct list *list, const char *kind, const char *name) MUST_CHECK;
/* PREFIX-20261122T160500Z, with -2, -3, ... when the list has that already. */
void name_by_time(struct control *control, struct list *list, const char *prefix,
                  char name[CATALOG_NAME_SIZE]);
/* A snapshot that can be used: of a set that is created, with its point there. */
struct err *snapshot_check_ready(const struct snapshot *snapshot) MUST_CHECK;
/* The snapshot of that name, or of this disk in the set of that name. */
struct err *find_snapshot_of(struct control *control, const char *text, const struct disk *disk,
                             struct snapshot **ret_snapshot) MUST_CHECK;

/* ---- As JSON --------------------------------------------------------------------------------- */

/* json.c */
json_t *json_server(struct control *control);
json_t *json_pool(struct control *control, struct pool *pool, bool with_unclaimed);
json_t *json_disk(struct control *control, struct disk *disk);
json_t *json_host(struct host *host);
/* And what is left for it: LUN numbers, room in the pools of its disks. */
json_t *json_host_whole(struct control *control, struct host *host);
json_t *json_map(struct map *map);
json_t *json_set(struct control *control, struct set *set);
json_t *json_snapshot(struct control *control, struct snapshot *snapshot);
json_t *json_job(struct job *job);
json_t *json_token(const struct token *token);
json_t *json_deleted(const char *kind, const char *name, const struct uuid *uuid);
json_t *json_failure(const struct err *e); /* {"status","message","causes","next"} */
json_t *json_undo(const struct undo *undo);
json_t *json_time(uint64_t wall_ns); /* null for 0 */
/* Points of the pool that nothing in the catalog names. */
unsigned pool_unclaimed(struct control *control, struct pool *pool, json_t *array);

#endif
