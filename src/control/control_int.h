/*
 * control_int.h - shared by the files of src/control only: the inventory in memory, operations and
 * lanes.
 *
 * Words: an OBJECT is a thing with a name and an id.  An OPERATION (op) is a verb being carried
 * out: a list of STEPS, each of which ends by starting one asynchronous thing or by op_next.  A
 * LANE lets one operation pass at a time: the general lane for everything that changes the
 * inventory, a set's own lane for the verbs of a set that is being made, so that a commit never
 * waits for anything else.
 */
#ifndef TARN_CONTROL_INT_H
#define TARN_CONTROL_INT_H

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
/* Who read or wrote a disk so short a time ago may do so again: its content is not changed under
 * it. */
#define DISK_USE_NS (60 * RT_SECOND)

struct op;

/* ---- Inventory ------------------------------------------------------------------------------- */

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
    struct job *job; /* that promotes or splits it; NULL */
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
    struct job *job;      /* that promotes or splits it; NULL */
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

/* reservation.c: persistent reservations that outlive a restart. */
struct err *reservations_of(struct control *control, struct served *served,
                            const struct uuid *object) MUST_CHECK; /* made when there are none */
void reservations_forget(struct map *map); /* the host is about to lose it */
struct err *reservations_load(struct control *control,
                              const struct catalog_registration *row) MUST_CHECK;

/* serve.c */
struct err *serve_map(struct control *control,
                      struct map *map) MUST_CHECK; /* takes a LUN and shows it in the host's map */
/* Takes it from the host's map; done when its last task has ended and the view is closed if unused.
 */
void unserve_map(struct map *map, void (*done)(void *arg), void *arg);
/* The map's row, disk and snapshot say what it shows from now on; `old` is what stood behind its LUN.
 * Commands see the one or the other; done when nothing uses the old one through this map. */
struct err *serve_switch(struct control *control, struct map *map, struct served *old,
                         void (*done)(void *arg), void *arg) MUST_CHECK;
/* How many requests of hosts may have changed what it shows. */
uint64_t serve_change_count(const struct served *served);
void serve_free(struct served *served); /* a simulated crash: without waiting */
/* taken (may be NULL): numbers that the caller has chosen already, LIMIT_LUNS_PER_HOST of them. */
/* Numbers that could be given to it now. */
unsigned host_free_lun_count(struct control *control, struct host *host);
struct err *choose_lun(struct control *control, struct host *host, const struct uuid *object,
                       enum catalog_kind kind, const bool *taken, unsigned *ret_lun) MUST_CHECK;
struct err *check_lun(struct control *control, struct host *host, const struct uuid *object,
                      enum catalog_kind kind, uint64_t lun) MUST_CHECK;
struct map *host_map_of(struct host *host, const struct uuid *object); /* NULL */
struct map *host_map_at(struct host *host, uint64_t lun);

/* ---- Operations ------------------------------------------------------------------------------ */

typedef void op_step(struct op *op);
enum op_lane { OP_LANE_NONE, OP_LANE_GENERAL, OP_LANE_SET };

struct op_plan {
    const char *verb;
    enum op_lane lane;
    op_step *const *steps; /* ends with NULL */
    op_step *const *undo;  /* run after a failure once op->undo_due is set; may be NULL */
};

struct op {
    struct list_node link, lane_link;
    struct control *control;
    struct control_call *call; /* NULL: internal, or already answered */
    const struct verb *verb;   /* NULL: internal */
    const struct op_plan *plan;
    struct control_actor actor;
    json_t *arguments;
    json_t *result;
    struct err *error;
    op_step *const *steps;
    unsigned step;
    bool ready, running, access_due, undo_due, undoing, finishing, repeat, deferred;
    struct lane *lane;
    struct set *set;         /* whose lane is held or waited for */
    struct set **taken_sets; /* whose lanes are held besides */
    unsigned taken_count;
    void *data;
    size_t data_size;
    void (*data_free)(void *data); /* NULL: wiped and freed */
    struct err *(*worker_fn)(struct op *op);
    void (*finish)(struct op *op); /* internal operations: called last */
    void *finish_arg;
    void (*drop)(void *finish_arg); /* frees it where the end never comes: control is destroyed */
    struct rt_timer timer;
    struct rt_work work;
    catalog_fn *catalog_fn;
    bool with_audit, audited;
    const char *audit_verb; /* NULL: the verb's, or the plan's */
    const char *audit_result;
    char *audit_arguments;
    struct err *work_error;
    char idempotency_key[64];
    char *stored_request, *stored_status, *stored_answer;
};

/* A step ends with exactly one of these, or with op_done as the callback of an engine call. */
void op_next(struct op *op);
void op_fail(struct op *op, struct err *e);
void op_done(void *arg, struct err *e); /* volume_done_fn: next or fail */
void op_catalog(struct op *op,
                catalog_fn *fn); /* fn(catalog, op) on the worker, then next or fail */
void op_catalog_audited(struct op *op, catalog_fn *fn);
/* Audited with another result than OK; op->audit_arguments may be set before. */
void op_catalog_record(struct op *op, catalog_fn *fn, const char *result);
void op_worker(struct op *op,
               struct err *(*fn)(struct op *op)); /* on the worker, without a transaction */
void op_end(struct op *op);                       /* no more steps */
/* Before one of the above: run this step again / go on with other steps. */
void op_repeat(struct op *op);
void op_continue_with(struct op *op, op_step *const *steps);
void *op_data(struct op *op, size_t size); /* zeroed, freed with the operation */
/* Answers now; the operation goes on. */
void op_answer(struct op *op, json_t *result);
void op_unit_done(void *arg); /* void done(void *arg) of scsi and iscsi */
/* Starts an operation of our own; drop frees finish_arg if it is under way when control is destroyed. */
void op_start_internal(struct control *control, const struct op_plan *plan, struct set *set,
                       void (*finish)(struct op *op), void *finish_arg);
void op_start_owning(struct control *control, const struct op_plan *plan, struct set *set,
                     void (*finish)(struct op *op), void *finish_arg, void (*drop)(void *finish_arg));
void op_submit(struct control_call *call, struct control *control);
void op_free(struct op *op);
void lane_init(struct lane *lane);
/* Takes the idle lane of a set beside the operation's own; given back at its end.  Fine when taken
 * already. */
void op_take_set(struct op *op, struct set *set);
bool op_has_set(const struct op *op, const struct set *set); /* taken by op_take_set */

const char *arg_text(const struct op *op, const char *name); /* NULL when absent */
uint64_t arg_uint(const struct op *op, const char *name, uint64_t if_absent);
bool arg_bool(const struct op *op, const char *name);
bool arg_is_given(const struct op *op, const char *name);

/* plans: one per verb of verbs.def, by family; each ends with verb NULL */
extern const struct op_plan plans_audit[];
extern const struct op_plan plans_clock[];
extern const struct op_plan plans_credential[];
extern const struct op_plan plans_delete[];
extern const struct op_plan plans_disk[];
extern const struct op_plan plans_event[];
extern const struct op_plan plans_group[];
extern const struct op_plan plans_host[];
extern const struct op_plan plans_host_set[];
extern const struct op_plan plans_import[];
extern const struct op_plan plans_job[];
extern const struct op_plan plans_pool[];
extern const struct op_plan plans_promote[];
extern const struct op_plan plans_read[];
extern const struct op_plan plans_replace[];
extern const struct op_plan plans_retain[];
extern const struct op_plan plans_revert[];
extern const struct op_plan plans_set[];
extern const struct op_plan plans_snapshot[];
extern const struct op_plan plans_token[];
extern const struct op_plan plans_trash[];
extern const struct op_plan plans_update[];
extern const struct op_plan plans_verify[];
const struct op_plan *plan_find(const char *verb);
struct err *require_role(const struct op *op, enum control_role role, const char *what) MUST_CHECK;
/* Answers {"dry_run":true,"would":[...]} (takes would) and ends. */
void op_end_dry_run(struct op *op, json_t *would);

/* doomed.c: deleting snapshots, whole sets and disks: mark, engine, rows. */
struct doomed {
    unsigned snapshot_count, next, set_count;
    unsigned undo_count, next_undo, disk_count, next_disk;
    struct undo **undos;
    struct catalog_undo *undo_rows;
    struct snapshot **snapshots;
    struct set **sets; /* those that go whole */
    struct disk **disks;
    struct catalog_snapshot *snapshot_rows;
    struct catalog_set *set_rows;
    struct catalog_disk *disk_rows;
    bool tolerant; /* at start: what fails is logged and stays for the next start */
};
struct doomed *doom_begin(struct op *op); /* becomes op->data */
void doom_free(void *data);               /* data_free of a struct that begins with a doomed */
void doom_snapshot(struct doomed *doomed, struct snapshot *snapshot); /* the last: with its set */
void doom_set(struct doomed *doomed, struct set *set);                /* with all members */
void doom_record(struct doomed *doomed, struct set *set); /* whose members are doomed */
void doom_disk(struct doomed *doomed, struct disk *disk); /* with its undo points */
void doom_undo(struct doomed *doomed, struct undo *undo);
void doomed_fini(struct doomed *doomed);
void doom_run(struct op *op);       /* goes on with these steps, or ends: nothing was doomed */
extern op_step *const doom_steps[]; /* mark (audited), points, undo points, disks, rows */
void doom_step_points(struct op *op);
void doom_step_disks(struct op *op);
void doom_step_rows(struct op *op);
void doom_step_forget(struct op *op);
struct err *check_snapshot_unused(const struct snapshot *snapshot) MUST_CHECK;
struct err *check_snapshot_unserved(const struct snapshot *snapshot) MUST_CHECK;

struct set_draft;
/* branch_private.c: the writable branch of a snapshot that Windows gets, with the snapshot's identity. */
bool snapshot_branch_find(const struct snapshot *snapshot, struct volume_disk_info *ret_info);
struct err *snapshot_check_branch(const struct snapshot *snapshot) MUST_CHECK; /* can one be made? */
enum { VSS_TEXT_MAX = 320 };
/* view.c: the write-protected view of a snapshot cut through VSS for hosts that are not Windows. */
struct snapshot_viewing { /* the caller's, until done */
    struct snapshot *snapshot;
    struct uuid view;
    char text[VSS_TEXT_MAX]; /* what was found and done */
    volume_done_fn *done;
    void *arg;
};
bool snapshot_needs_view(const struct snapshot *snapshot, bool keeps_flags);
struct err *snapshot_check_view(const struct snapshot *snapshot) MUST_CHECK; /* can it be made? */
bool snapshot_view_find(const struct snapshot *snapshot, struct volume_disk_info *ret_info);
/* Makes it if there is none; done later either way.  The caller holds the general lane. */
void snapshot_view_make(struct control *control, struct snapshot *snapshot,
                        struct snapshot_viewing *viewing, volume_done_fn *done, void *arg);
struct snapshot *inventory_snapshot_of_view(struct control *control, const struct uuid *view);
/* plan_import.c.  Takes the LUNs of snapshots away from all hosts, and begins the operation anew. */
void unmap_snapshots(struct op *op, struct snapshot *const *snapshots, unsigned count);
/* IN_USE when a host calls and another group's host has it. */
struct err *unmap_check(struct op *op, const struct snapshot *snapshot) MUST_CHECK;
/* Makes it if there is none; done later either way. */
void snapshot_branch_make(struct snapshot *snapshot, volume_done_fn *done, void *arg);
bool host_wants_branch(const struct host *host);
/* IN_USE when another host, outside of this one's group, has the branch. */
struct err *branch_check_host(struct control *control, const struct snapshot *snapshot,
                              const struct host *host) MUST_CHECK;
/* Clears what VSS leaves in the partition table of what it cuts (hidden, read-only, shadow copy, no drive
 * letter), by ordinary writes to the live view of a disk; done later. */
/* text (may be NULL): what was found and done, for people, when done comes without an error. */
void vss_flags_clear(struct control *control, struct volume_pool *engine, const struct uuid *disk,
                     char text[VSS_TEXT_MAX], volume_done_fn *done, void *arg);
void vss_flags_abandon(struct control *control); /* after the pools: what a crash leaves */
/* job_vss.c: the same as a durable job, when it failed beside what it belongs to.  Fill, store the row with the
 * other rows, go. */
struct vss_job {
    struct catalog_job row;
    char *text; /* row.work */
};
struct err *vss_job_fill(struct control *control, const struct disk *disk,
                         struct vss_job *job) MUST_CHECK;
/* Says what was not done and who does it: the note of the answer.  Takes e. */
json_t *vss_job_go(struct control *control, struct disk *disk, struct vss_job *job, struct err *e);
void vss_job_fini(struct vss_job *job);
/* What writers may need to recover in a copy for Windows; POOL_FULL when it is not there. */
struct err *reserve_check(struct control *control, const struct set_draft *draft) MUST_CHECK;
/* stale.c */
bool set_is_stale(struct control *control, const struct set *set);
void stale_tick(struct control *control); /* says so once, and removes what is to be removed */
void delete_step_set(struct op *op);      /* plan_delete.c: "name", "unmap" */
struct err *check_disk_idle(const struct disk *disk) MUST_CHECK;
struct err *check_snapshot_idle(const struct snapshot *snapshot) MUST_CHECK; /* no job on it */

/* plan_host_set.c */
struct err *host_take_os(struct op *op, struct catalog_host *row) MUST_CHECK;

/* set_draft.c: a set being prepared; all that can refuse refuses here. */
struct set_draft {
    struct catalog_set row;
    struct catalog_event event;
    struct uuid owner;
    unsigned count;
    struct catalog_snapshot *snapshots;
    struct pool *pool;
    struct set *set; /* once published */
    bool exists;     /* the same set was prepared before (its uuid was given) */
};
/* Fills `draft` from the arguments; name_alone: the snapshot of a single disk is called as the set.
 */
struct err *set_draft_fill(struct op *op, struct set_draft *draft, bool name_alone) MUST_CHECK;
struct err *set_draft_write(struct catalog *catalog, struct set_draft *draft) MUST_CHECK;
void set_draft_publish(struct op *op, struct set_draft *draft); /* once its rows are durable */

/* set_ops.c */
void set_enter(struct control *control, struct set *set, enum catalog_set_state state,
               uint64_t at_ns);
void set_hold_attention(struct control *control, struct set *set);
void set_release_attention(struct control *control, struct set *set);
void set_lease_tick(struct rt_timer *timer);
bool set_in_the_making(const struct set *set);
bool set_is_past(enum catalog_set_state state); /* its name is free */
bool set_is_record(enum catalog_set_state state); /* only history is left of it */

/* The cut of a set: the request, and rows as they are to be stored. */
struct set_store {
    struct doomed doomed; /* first: the steps of doomed.c use op->data */
    struct set_decision decision;
    struct catalog_set row;
    unsigned event_count;
    struct catalog_event events[4];
    unsigned snapshot_count;
    struct catalog_snapshot *snapshots;
    unsigned part_count;
    struct volume_cut_part *parts;     /* one for each pool */
    struct volume_cut_member *members; /* of all parts */
    uint64_t started_ns;
    struct set_draft draft;
    struct catalog_job copy_row; /* of the job that makes the members full */
    char *copy_text;             /* NULL: none */
};
struct set_store *set_store_begin(struct op *op); /* becomes op->data */
/* Copies set and members; its events from `first_event` on. */
void set_store_fill(struct set_store *store, const struct set *set, unsigned first_event);
struct err *set_store_write(struct catalog *catalog, void *arg); /* catalog_fn; arg: op */
/* set_pools.c */
unsigned set_pool_count(const struct set *set);   /* >= 1 */
json_t *set_pools_json(const struct set *set);    /* their names */
json_t *set_undecided_json(const struct set *set);
struct err *set_check_pools(const struct set *set) MUST_CHECK; /* all are open */
bool set_pools_are_open(const struct set *set);
bool set_has_open_pool(const struct set *set);
void set_pool_goes(struct set *set, const struct pool *pool); /* it has no member there any more */
struct set_findings {
    bool is_there, is_lacking; /* points: found in a pool; not found in an open one */
    bool is_absent;            /* a pool is */
    uint64_t generation, wall_ns;
};
struct set_findings set_look_for_cut(const struct set *set);
bool set_is_undecided(const struct set *set, const struct set_findings *found);
enum set_event set_found_event(const struct set *set, const struct set_findings *found);
void set_adopt(struct set *set, const struct set_findings *found);
/* Starts the cut; done gets op.  Afterwards set_cut_note. */
void set_cut(struct op *op, struct set *set, bool leased, volume_done_fn *done);
void set_cut_note(struct op *op, struct set *set);

/* space.c */
uint64_t pool_warning_bytes(const struct pool *pool); /* less free than this is nearly full */
void pool_watch_space(struct control *control, struct pool *pool); /* it was opened; its state, too */
/* An event, if it is not as it should be. */
void pool_tell_of_start(struct control *control, const struct pool *pool);

/* audit.c: a refused login of nobody in particular */
void audit_refused_login(struct control *control);
/* false when the refusal is counted only. */
bool audit_denial_is_first(struct control *control, const char *actor, const char *verb);
void audit_tick(struct control *control); /* about once a second */

/* trash.c: what goes into the trash or comes out of it in one transaction. */
struct trashing_snapshot {
    struct snapshot *snapshot;
    struct catalog_snapshot row;
};
struct trashing_disk {
    struct disk *disk;
    struct catalog_disk row;
};
struct trashing_set {
    struct set *set;
    struct catalog_set row;
    struct catalog_event event;
};
struct trashing {
    uint64_t trashed_ns, expires_ns;
    unsigned snapshot_count, disk_count, set_count;
    struct trashing_snapshot *snapshots;
    struct trashing_disk *disks;
    struct trashing_set *sets; /* whose last member goes, or whose first comes back */
};
struct trashing *trash_begin(struct op *op, uint64_t trash_s); /* becomes op->data */
void trash_snapshot(struct trashing *trashing, struct snapshot *snapshot);
void trash_disk(struct trashing *trashing, struct disk *disk);
void untrash_snapshot(struct trashing *trashing, struct snapshot *snapshot);
void untrash_disk(struct trashing *trashing, struct disk *disk);
struct err *trash_decide_sets(struct op *op, struct trashing *trashing);
extern op_step *const trash_steps[]; /* write (audited), apply */
/* plan_trash.c: out of the trash for good; what cannot go now stays. */
void trash_doom_snapshot(struct op *op, struct doomed *doomed, struct snapshot *snapshot);
bool trash_doom_disk(struct op *op, struct doomed *doomed, struct disk *disk);
/* plan_update.c: at start, was it made or not? */
void update_decide(struct set *set);
/* Some pool of an update in doubt is not there: nothing of it is decided. */
bool update_is_undecided(const struct set *set);
/* plan_delete.c: CONFLICT until its time is over. */
struct err *snapshot_check_not_retained(struct control *control,
                                        const struct snapshot *snapshot) MUST_CHECK;

/* clock.c */
/* The server's own time: never goes back, follows the wall clock forward by little steps only. */
uint64_t clock_now(struct control *control);
void clock_load(struct control *control, const struct catalog_clock *row);
void clock_tick(struct control *control); /* stores it now and then */
void clock_step_store(struct op *op);     /* of an operation without data */

/* event.c: tells the log and the list of events; before the thing happens when it is queued before
 * it. */
void event_note(struct control *control, enum catalog_level level, const char *kind,
                const char *object, const char *format, ...) TARN_PRINTF(5, 6);

/* room.c: a pool that is nearly full gives back what is expendable, in the order of E28. */
void room_tick(struct control *control);

/* expire.c: once a second, what has had its time goes. */
void expire_tick(struct control *control);
/* Adds to would (borrowed) what goes when the clock jumps from now to until. */
void expire_say(struct control *control, uint64_t now_ns, uint64_t until_ns, json_t *would);

/* use.c: who uses a disk. */
struct disk_use {
    unsigned map_count, session_count;
    uint64_t last_use_ns; /* how long ago; UINT64_MAX = never */
    bool is_reserved;
    const struct host *host; /* one that is served it; NULL */
};
void disk_use(struct control *control, struct disk *disk, struct disk_use *ret_use);
/* IN_USE while a host uses it or holds a reservation, unless "force", or "resync" of its only host;
 * CONFLICT while a set cuts it. */
struct err *disk_check_quiet(struct op *op, struct disk *disk) MUST_CHECK;
/* The host that asks for a resync; NULL: none does. */
const struct uuid *op_resync_by(const struct op *op);
/* The same, asked by nobody who could force it; resync_by (or NULL): the host that asked for a resync. */
struct err *disk_check_use(struct control *control, struct disk *disk,
                           const struct uuid *resync_by) MUST_CHECK;
void disk_say_who_uses(struct op *op, struct disk *disk, json_t *would); /* for dry runs */
/* plan_replace.c: is what a host wrote into the snapshot its content? */
bool snapshot_content_is_branch(const struct op *op, const struct snapshot *snapshot);
/* Goes on as a replace by the snapshot's private branch; op has no data yet. */
void replace_instead(struct op *op, struct disk *disk, struct snapshot *snapshot);
/* job_replace.c: an undo point that is still to be made. */
bool job_keeps_undo(struct control *control, const struct uuid *undo);

/* plan_token.c */
void token_draw(struct rt *rt, char text[80], uint8_t hash[32]);

/* job_promote.c: is the snapshot's job one that only copies?  Such a one leaves it to who deletes or breaks it;
 * true: it does so later, and calls done. */
bool promotion_gives_way(const struct snapshot *snapshot);
bool promotion_leave(struct snapshot *snapshot, void (*done)(void *arg), void *arg);
/* plan_promote.c: the job that gives every member of a set a copy of its own; *ret_text is the row's. */
struct err *promote_set_fill(struct op *op, const struct set *set, struct catalog_job *ret_row,
                             char **ret_text) MUST_CHECK;

/* start.c */
extern op_step *const start_steps[], *const stop_steps[];

/* job.c.  A job whose verb has a type is durable: it is begun again at start of tarnd, and can be paused
 * and cancelled. */
struct job_type {
    const char *verb;
    void (*start)(struct job *job);   /* row.state may be PAUSED: then it waits */
    void (*pause)(struct job *job);   /* row.state has changed to PAUSED, or back to RUNNING */
    void (*cancel)(struct job *job);  /* is_cancelled is set: it ends soon, unless it is past that */
    void (*suspend)(struct job *job); /* tarnd stops: job_suspended follows soon */
    void (*drop)(struct job *job);    /* frees run, without waiting */
};
extern const struct job_type job_types_promote[]; /* each ends with verb NULL */
extern const struct job_type job_types_replace[];
extern const struct job_type job_types_verify[];
extern const struct job_type job_types_vss[];
struct job *job_begin(struct control *control, const char *verb, const char *object);
/* The row of a durable job, to be stored by the caller with what belongs to it; text is row->work. */
void job_row_fill(struct control *control, const char *verb, const char *object, const char *text,
                  struct catalog_job *ret_row);
struct job *job_launch(struct control *control, const struct catalog_job *row);
void job_end(struct job *job, struct err *e); /* takes e, and job->result as the answer */
void job_suspended(struct job *job);
void job_resume_all(struct control *control);  /* at start */
void job_suspend_all(struct control *control); /* at stop */
bool job_is_over(const struct job *job);
bool job_can_resume(const struct job *job); /* at start: it is durable, and its row is whole */
/* Its pool is too full: says so (event, once), and sets the timer to look again. */
void job_waits_for_space(struct job *job, const struct pool *pool, struct rt_timer *timer,
                         void (*look_again)(struct rt_timer *timer));
void job_progress(struct job *job, uint64_t done_bytes); /* and what it waited for has come */
bool job_goes_on(const struct job *job); /* neither paused, cancelled nor about to stop */
void job_run_pool_create(struct job *job);
void job_run_pool_check(struct job *job);
void job_wait_cancel_all(struct control *control);
void job_wake(struct job *job);

#endif
