/*
 * world.h - a simulated server with one pool, driven beside the reference model (model.h).
 *
 * Words: a SLOT holds one host request in flight, a TASK one control call in flight.  A POINT whose
 * content was not read yet is OPEN: several contents are allowed; resolving reads the points of its
 * SET together, checks them and makes them exact.  A BASE is the state after a recovery, which
 * becomes the model's.
 *
 * Every wait steps the simulator and ends early when the node crashes or the world has failed: each
 * function that waits returns false then, and its caller goes home.  The one loop in ops.c
 * recovers.
 *
 * Threads: one.  Ownership: world_destroy frees everything.  Failure: the first one is kept in
 * `failure`.
 */
#ifndef TARN_TESTS_WORLD_H
#define TARN_TESTS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"
#include "tests/sim/sim.h"
#include "volume/volume.h"

enum { WORLD_DISKS = 8, WORLD_POINTS = 24, WORLD_SLOTS = 32, WORLD_TASKS = 6, WORLD_MEMBERS = 4 };

enum world_crash { WORLD_CRASH_NONE, WORLD_CRASH_PROCESS, WORLD_CRASH_POWER, WORLD_CRASH_BOTH };

struct world_options {
    uint64_t seed;
    uint32_t op_count;
    enum world_crash crash;
    uint32_t crash_every;      /* crash at a write drawn from 1 to twice this; 0 = 150 */
    uint32_t checkpoint_every; /* also one after so many operations; 0 = none */
    uint32_t crash_at;         /* the first crash at exactly this write; 0 = drawn */
    uint32_t recovery_crashes; /* at most so many crashes of one recovery */
    uint64_t cache_bytes;
    uint64_t pool_bytes, wal_bytes;
    uint64_t flush_after_ns;
    uint64_t buffer_bytes;    /* bound of rt_buf; 0 = 64 MiB */
    uint64_t latency_ns;      /* of the device, at most; 0 = 2 ms */
    bool big_requests;        /* now and then up to 4 MiB */
    uint32_t disk_blocks_max; /* of a new disk */
    unsigned pace;            /* events between operations: 1 = many in flight, 10 = few; 0 = 1 */
    bool written_through;     /* not sparse */
    bool no_ragged_zero;      /* so that the space oracle is exact */
    bool open_faults; /* errors of the device while a crashed pool is opened; then once more */
    bool slow_reads;  /* of the device: now and then one takes seconds */
    bool trace;
    enum rt_flush_site ignore_flush;
    bool crash_by_op; /* crash between events, not at a write (for an engine without files) */
    void (*on_crash)(enum sim_crash kind);
    const uint8_t *ops; /* records to replay instead of drawing them; op_count of them */
};

struct world;

struct slot {
    struct volume_io io;
    struct volume_map_query query;
    struct iovec iov[3];
    struct world *world;
    uint8_t *data;
    size_t data_bytes;
    struct volume *handle; /* to close afterwards (reads of points) */
    int disk, point;       /* -1 */
    uint32_t submitted, write, horizon;
    unsigned chain_left; /* dependent writes still to come (ops.c) */
    uint32_t expect_sectors;
    bool busy;
};

enum task_kind {
    TASK_CUT,
    TASK_POINT_DELETE,
    TASK_BRANCH,
    TASK_DISK_CREATE,
    TASK_DISK_DELETE,
    TASK_DISK_GROW,
    TASK_CHECKPOINT,
    TASK_REVERT,
    TASK_PROMOTE,
    TASK_SPLIT,
    TASK_REPLACE,
};

struct task {
    struct world *world;
    enum task_kind kind;
    int disk, point, set; /* -1 */
    uint32_t submitted, sector_count;
    bool busy, refusal_expected, refusal_allowed;
    struct volume_promotion promotion;
    struct volume_replacement replacement;
    struct volume_cut cut;
    struct volume_cut_member members[WORLD_MEMBERS];
    struct volume_cut_result result;
};

enum thing_state { THING_NONE, THING_COMING, THING_THERE, THING_GOING };

struct disk {
    enum thing_state state;
    struct uuid uuid;
    struct model_view view;
    struct volume *handle;
    int parent_disk;      /* -1; a branch */
    int parent_point;     /* the point while it still exists; -1 */
    unsigned depth, busy; /* busy: requests and tasks in flight on it */
    bool resizing;
    bool promoting, promoted, splitting; /* promoted: blocks may be there twice */
    bool frozen;                         /* nothing new: a revert under way changes its size */
    bool replacing;
    uint32_t revert_write; /* of the revert or the end of a replace under way or in doubt; 0 = none */
    uint32_t revert_from, revert_to;     /* sectors */
    int revert_undo;                     /* point */
    bool acked;                /* made for certain, although the content is not known yet */
    uint32_t number;           /* unique in the run, for stamps */
    uint32_t submitted;        /* of the create, branch or delete under way */
    uint32_t new_sector_count; /* of the resize under way */
};

struct point {
    enum thing_state state;
    struct uuid uuid;
    struct model_view view;
    int disk, set;
    bool exact; /* was read; must never change */
    unsigned busy;
};

struct set {
    bool used;
    struct uuid uuid;
    uint32_t submitted; /* the cut contains all that completed before */
    uint32_t done;
    bool acked;
    unsigned member_count;
    int points[WORLD_MEMBERS];
};
enum { WORLD_SETS = WORLD_POINTS };

struct world {
    struct world_options options;
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct model *model;
    struct volume_pool *pool;
    struct prng prng; /* crashes and other things that are not ops */
    struct disk disks[WORLD_DISKS];
    struct point points[WORLD_POINTS];
    struct set sets[WORLD_SETS];
    struct slot slots[WORLD_SLOTS];
    struct task tasks[WORLD_TASKS];
    uint32_t durable;     /* floor after power loss */
    uint32_t hold;        /* states since this tick will be asked for; 0 = none */
    uint32_t disk_number; /* of the newest disk */
    unsigned unflushed_writes;
    uint64_t still_ns; /* the time, and how many events it has stood still for */
    uint32_t still_events;
    bool failed, crashed, done;
    bool lossy; /* faults were injected: errors are allowed, failed calls are in doubt */
    enum sim_crash crash_kind; /* of the armed crash */
    bool power_lost;           /* in this series of crashes */
    uint32_t crash_count, recovery_crash_count, cut_count, revert_count, promote_count, split_count,
        replace_count, verify_count, full_count;
    struct volume_pool_counters counters; /* of the pools before this one, some of them */
    char failure[768];
    struct slot reader; /* of world_read_all */
    bool call_done;     /* of world_call */
    struct err *call_error;
};

/* Makes the pool, and opens it. */
struct world *world_create(const struct world_options *options);
struct world *world_create_only(const struct world_options *options);
void world_destroy(struct world *world);
TARN_PRINTF(2, 3) bool world_fail(struct world *world, const char *format, ...); /* false */
TARN_PRINTF(2, 3) void world_trace(struct world *world, const char *format, ...);

/* Steps until condition(world) or everything in hand is over; false: crashed or failed. */
bool world_wait(struct world *world, bool (*condition)(struct world *world), const char *what);
bool world_step(struct world *world, unsigned steps);
bool world_drain(struct world *world); /* nothing in flight */

/* The oldest tick that any state asked for later may go back to. */
uint32_t world_horizon(const struct world *world);
void world_made_durable(struct world *world, uint32_t floor);

/* Blocking control calls: issue, wait, free the error. */
typedef void world_call_fn(struct world *world, volume_done_fn *done, void *arg);
bool world_call(struct world *world, const char *what, world_call_fn *call);

bool world_open_handles(struct world *world);
/* Reads a whole view (blocking; handle is closed by the caller).  data: sector_count sectors. */
bool world_read_all(struct world *world, struct volume *handle, uint32_t sector_count,
                    uint8_t *data);
bool world_resolve_set(struct world *world, int set);
bool world_resolve_all(struct world *world);
bool world_verify(struct world *world);  /* everything is as the model says; drains first */
bool world_settle(struct world *world);  /* and the space oracle */
bool world_close(struct world *world);   /* cleanly; the end */
bool world_reopen(struct world *world);  /* clean close and open */
bool world_recover(struct world *world); /* after a crash; new base */
void world_arm_crash(struct world *world);
void world_crash_now(struct world *world);
/* Deletes everything and demands all space back. */
bool world_empty(struct world *world);

bool world_flush(struct world *world); /* while nothing is in flight: all is durable */

void world_count(struct world *world); /* adds the pool's counters up, before it goes */
int world_disk_by_uuid(const struct world *world, const struct uuid *uuid);
int world_point_by_uuid(const struct world *world, const struct uuid *uuid);
void world_disk_forget(struct world *world, int disk);
void world_point_forget(struct world *world, int point);
/* The undo point's content: the disk without the revert that is under way. */
/* The disk is a branch no more. */
void world_was_split(struct world *world, int disk);
/* A split in doubt was done if the disk has no parent. */
void world_decide_split(struct world *world, int disk, unsigned depth);
void world_undo_view(struct world *world, int disk);
/* Reverts in doubt were done if their undo points are there. */
void world_decide_reverts(struct world *world, const bool *point_there);

#endif
