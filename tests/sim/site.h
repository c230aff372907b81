/*
 * site.h - a whole site in one thread: a server (control, target, several pools) under a seed, two
 * hosts with iSCSI initiators, control clients that die anywhere, beside the reference model.
 *
 * Words: a SLOT holds one host command in flight, a CALL one verb in flight.  A POINT is a
 * snapshot; its content is OPEN until the points of its SET were read together and found to be one
 * instant.  A set whose client has died is ABANDONED: it may go at any moment, but only whole.
 *
 * Every function that waits steps the simulator and returns false when the server crashes or the
 * site has failed; the one loop in site_run recovers.
 *
 * Threads: one.  Ownership: site_destroy frees everything.  Failure: the first one is in `failure`.
 */
#ifndef TARN_TESTS_SITE_H
#define TARN_TESTS_SITE_H

#include <jansson.h>

#include "control/control.h"
#include "iscsi/iscsi.h"
#include "tests/model/model.h"
#include "tests/sim/initiator.h"
#include "tests/sim/sim.h"
#include "volume/volume.h"

enum {
    SITE_POOLS = 2,
    SITE_HOSTS = 2,
    SITE_OWN_DISKS = 10,
    SITE_DISKS = 16, /* the rest: private branches */
    SITE_POINTS = 32,
    SITE_SETS = 24,
    SITE_MEMBERS = 4,
    SITE_SLOTS = 24,
    SITE_CALLS = 6,
    SITE_PARKED = 32,
    SITE_NAME = 32,
};

/* What devices do: see site_faults.c. */
enum site_faults { SITE_FAULTS_NONE, SITE_FAULTS_ERRORS, SITE_FAULTS_LIES };

enum site_crash { SITE_CRASH_NONE, SITE_CRASH_PROCESS, SITE_CRASH_POWER, SITE_CRASH_BOTH };

struct site_options {
    uint64_t seed;
    uint32_t op_count;
    enum site_crash crash;
    uint32_t crash_every; /* writes of the server, on the average; 0 = 1000 */
    bool full;            /* big disks on small pools */
    bool verbs;           /* mostly verbs, and one of the hosts is Windows */
    enum site_faults faults;
    enum rt_flush_site ignore_flush;
    bool trace;
};

/* GOING: for good.  LEAVING: into the trash.  RETURNING: out of it. */
enum site_state {
    SITE_NONE,
    SITE_COMING,
    SITE_THERE,
    SITE_GOING,
    SITE_LEAVING,
    SITE_TRASHED,
    SITE_RETURNING,
};

struct site_pool {
    char name[SITE_NAME], path[SITE_NAME];
    struct volume_pool *engine;
    uint32_t durable; /* floor after power loss */
    unsigned unflushed;
};

struct site_disk {
    enum site_state state;
    char name[SITE_NAME];
    struct uuid uuid;
    int pool;
    struct model_view view;
    int lun[SITE_HOSTS];      /* -1 */
    bool mapping[SITE_HOSTS]; /* a map is being added or removed */
    bool is_protected[SITE_HOSTS];
    unsigned busy; /* host commands in flight */
    uint32_t number, submitted, new_sectors;
    bool resizing, frozen;
    bool was_going;        /* a deletion in doubt may have begun with what is in the trash */
    uint32_t revert_write; /* of the revert in flight or in doubt */
    uint32_t revert_from, revert_to;
    /* A replace under way: its job, the set of its undo point, since when. */
    char replace_job[48];
    int replace_set;
    uint32_t replace_since;
    unsigned replace_writes;
    /* Who is in the way of what is not forced (site_guard.c): when a host sent the last command that was
     * carried out, over a map that still stands (0: none); when any may have been carried out. */
    uint64_t used_ns[SITE_HOSTS], map_changed_ns[SITE_HOSTS], touched_ns;
    int given_point; /* its content by the last revert, nothing was written since; -1 */
    uint64_t given_ns;
    bool replace_forced;
    uint64_t replace_copies_ns, replace_used_ns[SITE_HOSTS]; /* was seen to copy at that time */
    int parent_point;
    int private_of;        /* the point that a Windows host has as this; -1 */
    int from_point;        /* COMING: a job makes that point this disk, some time or other */
    bool becomes_writable; /* then, for hosts that it was write-protected for */
    bool has_become;       /* a moment ago */
};

struct site_point {
    enum site_state state;
    char name[SITE_NAME * 2];
    struct uuid uuid;
    int disk, set;
    struct model_view view;
    bool exact;
    bool is_becoming; /* a disk, see from_point; or cut anew */
    bool is_updating;
    struct model_view next; /* of an update in doubt */
    uint64_t kept_until_ns;
    unsigned busy;
    int lun[SITE_HOSTS];
    bool mapping[SITE_HOSTS];
};

enum site_phase { SITE_PREPARED, SITE_ARMED, SITE_COMMITTED, SITE_CONFIRMED, SITE_CREATED };

struct site_set {
    bool used, abandoned, busy, is_undo;
    enum site_phase phase;
    char name[SITE_NAME];
    uint32_t submitted, done, next_submitted;
    int showing; /* being imported or masked: 1 + the host */
    bool cut;    /* its points are there */
    unsigned count;
    int points[SITE_MEMBERS];
    unsigned disk_count; /* until it is cut */
    int disks[SITE_MEMBERS];
    uint32_t disk_numbers[SITE_MEMBERS];
    unsigned steps;               /* asked for */
    uint64_t leased_ns, armed_ns; /* when that was */
};

enum site_op {
    SITE_READ,
    SITE_WRITE,
    SITE_ZERO,
    SITE_UNMAP,
    SITE_FLUSH,
    SITE_COMPARE_WRITE,
};

struct site;

struct site_slot {
    struct site *site;
    bool busy;
    struct initiator_request request;
    enum site_op op;
    int host, disk, point;
    uint32_t sector, count, submitted, write;
    bool fua;
    unsigned chain_left;
    uint64_t sent_ns;
    uint8_t *data;
};

/* What was so when a revert was asked for (site_guard.c). */
struct site_guard {
    bool is_forced, was_free;
    uint64_t asked_ns, used_ns[SITE_HOSTS];
    int set; /* in the way; -1 */
    unsigned set_steps;
};

struct site_call;
typedef void site_answer_fn(struct site_call *call, bool ok);

struct site_call {
    struct site *site;
    bool busy;
    struct control_call call;
    site_answer_fn *answer;
    int disk, point, set, host;
    uint32_t submitted, number;
    uint64_t until_ns;
    struct site_guard guard;
};

struct site {
    struct site_options options;
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct control *control;
    struct iscsi_server *target;
    struct initiator *hosts[SITE_HOSTS];
    struct model *model;
    struct prng prng;
    struct site_pool pools[SITE_POOLS];
    struct site_disk disks[SITE_DISKS];
    struct site_point points[SITE_POINTS];
    struct site_set sets[SITE_SETS];
    struct site_slot slots[SITE_SLOTS];
    struct site_call calls[SITE_CALLS];
    struct site_call parked[SITE_PARKED]; /* a device failed them: in doubt until the next start */
    unsigned parked_count;
    bool lossy;          /* a storm rages: errors are allowed answers */
    uint32_t hold;       /* the tick at which it began */
    uint64_t heal_at_ns; /* 0: nothing hangs */
    bool catalog_erred;  /* in this storm: events may be missing */
    bool canary_in_doubt; /* a disk of other_pool_works was neither made nor deleted for certain */
    uint32_t disk_number, set_number;
    char last_job[48];
    bool failed, crashed, power_lost, started;
    struct err *start_error;
    enum sim_crash crash_kind;
    uint64_t still_ns;
    uint32_t still_events;
    char failure[1024];
    /* What happened: */
    uint32_t verbs; /* asked */
    uint32_t ops, commands, verbs_ok, verbs_refused, crashes, recovery_crashes, verifies, cuts,
        logins, lost, full;
    uint32_t storms, strikes, ill_pools, parkings, views_judged, views_refused, blocks_refused;
    uint32_t done_by_verb[32]; /* rows of site_verbs.c */
    struct volume_io reader;
    struct iovec reader_iov;
    bool reader_busy;
};

/* ---- site.c: life, waiting, reading, recovery ---- */
struct site *site_create(const struct site_options *options);
void site_destroy(struct site *site);
TARN_PRINTF(2, 3) bool site_fail(struct site *site, const char *format, ...); /* false */
TARN_PRINTF(2, 3) void site_trace(struct site *site, const char *format, ...);
bool site_wait(struct site *site, bool (*condition)(struct site *site), const char *what);
bool site_step(struct site *site, unsigned steps);
bool site_run_for(struct site *site, uint64_t duration_ns);
bool site_is_idle(struct site *site);
void site_arm_crash(struct site *site);
void site_crash_now(struct site *site);
bool site_recover(struct site *site);
bool site_start_again(
    struct site *site); /* and nothing more: no fault, no crash, nothing decided */
void site_made_durable(struct site *site, int pool, uint32_t floor);
uint32_t site_horizon(const struct site *site, int disk);
/* A verb, waited for; NULL: refused (site_refusal has why) or crashed.  Takes arguments. */
json_t *site_ask(struct site *site, const char *verb, json_t *arguments);

/* ---- site_check.c: what must hold ---- */
/* Reads what the server lists; decides what was in doubt; after a crash bound the content too. */
bool site_reconcile(struct site *site, bool after_crash);
bool site_resolve_set(struct site *site, int set);
bool site_verify(struct site *site);      /* waits until idle; everything is as the model says */
bool site_settle(struct site *site);      /* and the space */
bool site_empty(struct site *site);       /* deletes everything, demands all space back */
bool site_delete_all(struct site *site);  /* as far as the server does it */
void site_resume_jobs(struct site *site); /* those that somebody paused */
void site_disk_forget(struct site *site, int disk);
void site_point_forget(struct site *site, int point);
/* The undo point of a disk's revert gets its name; -1: none came.  False: one came of no revert. */
bool site_adopt_undo(struct site *site, int disk, const json_t *listed, int *ret_point);

/* ---- site_io.c: host commands ---- */
void site_command(struct site *site);
void site_slot_drop(struct site_slot *slot);
/* Rows of dependent writes over all pools, just before a cut that crosses them. */
void site_dependent_writes(struct site *site);

/* ---- site_verbs.c: control calls ---- */
void site_verb(struct site *site);
bool site_furnish(struct site *site);
void site_call_drop(struct site_call *call);
/* Looks after the replaces under way; until they have ended, if told to wait. */
bool site_tend_replaces(struct site *site, bool wait);
bool site_is_replacing(const struct site_disk *disk);
/* After a crash: the jobs that go on by themselves have ended. */
bool site_await_jobs(struct site *site);
unsigned site_verb_count(void);
const char *site_verb_name(unsigned row);

/* ---- site_faults.c: devices that fail and lie ---- */
/* Settled before; it ends with a crash, and where devices lie with the verdict. */
void site_storm(struct site *site, void (*op)(struct site *site));
void site_strike(struct site *site);
void site_strike_start(struct site *site);
/* Is this a disk of the storm's own, in doubt?  Then it is deleted. */
bool site_canary_goes(struct site *site, const char *name);
bool site_pools_are_well(const struct site *site);
bool site_stay_without(struct site *site);

/* ---- site_run.c ---- */
struct site_outcome {
    bool ok;
    char failure[1024];
    uint64_t trace_hash;
    uint32_t ops, commands, verbs_ok, verbs_refused, crashes, recovery_crashes, verifies, cuts,
        logins, lost, full;
    uint32_t storms, strikes, ill_pools, parkings, views_judged, views_refused, blocks_refused;
    uint32_t done_by_verb[32];
};
struct site_outcome site_world_run(const struct site_options *options);
/* In a child process, so that a failed check of the server is one red world; prints what it takes
 * to see a red one again. */
struct site_outcome site_child_run(const struct site_options *options);
/* The options as they are typed. */
const char *site_options_text(const struct site_options *options, char *text, size_t size);
extern const char *const site_crash_names[4];
extern const char *const site_faults_names[3];

#endif
