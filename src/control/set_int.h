/*
 * set_int.h - sets: being prepared, cut, looked for in the pools at a start, and left over.
 *
 * Which event is possible in which state is in set_machine.h; the rules are in doc/sets.md.
 */
#ifndef TARN_CONTROL_SET_INT_H
#define TARN_CONTROL_SET_INT_H

#include "control/trash.h"

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
/* What writers may need to recover in a copy for Windows; POOL_FULL when it is not there. */
struct err *reserve_check(struct control *control, const struct set_draft *draft) MUST_CHECK;

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

/* plan_update.c: at start, was it made or not? */
void update_decide(struct set *set);
/* Some pool of an update in doubt is not there: nothing of it is decided. */
bool update_is_undecided(const struct set *set);

/* stale.c */
bool set_is_stale(struct control *control, const struct set *set);
void stale_tick(struct control *control); /* says so once, and removes what is to be removed */

#endif
