/*
 * set_machine.h - the life of a snapshot set as one table: {from, event, guard, action, to}.
 *
 *   prepared --arm--> armed --commit--> committed --confirm--> confirmed --finish--> created
 *      |                |                   |  \---------finish (crash-consistent)------^  |
 *      +----------------+---- abort, lease end ----+--> aborted                            |
 *                                                                                          |
 *   created --break--> breaking --split of the last member--> broken      (back on failure)|
 *   created --delete--> deleting                                          <----------------+
 *
 * A lease holds a set until it is created; afterwards only a delete or a break ends it.  Which hosts
 * have it (imported) or gave it back (masked) is kept for each host beside this state: import and mask
 * are possible while the set is created.
 *
 * The table decides; it does nothing itself.  What the actions are is in set_ops.c, doomed.c,
 * plan_import.c and job_promote.c.  An event that no row allows in a state is refused with what to do
 * instead.  Every row and every combination without a row has a test.
 *
 *     TRY(set_decide(state, SET_EVENT_COMMIT, &facts, &decision));
 *     ... carry out decision.action, then the state is decision.to ...
 *
 * Threads: any (pure).
 */
#ifndef TARN_CONTROL_SET_MACHINE_H
#define TARN_CONTROL_SET_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog/catalog.h"

enum set_event {
    SET_EVENT_RENEW,
    SET_EVENT_ARM,
    SET_EVENT_COMMIT,
    SET_EVENT_CONFIRM,
    SET_EVENT_FINISH,
    SET_EVENT_ABORT,
    SET_EVENT_DELETE, /* at once, and from the trash */
    SET_EVENT_TRASH,  /* its last member goes to the trash */
    SET_EVENT_RESTORE,
    SET_EVENT_LEASE_END,   /* the lease was not renewed */
    SET_EVENT_ARMED_END,   /* no commit came while armed */
    SET_EVENT_FOUND_CUT,   /* at start: the engine has the points */
    SET_EVENT_FOUND_UNCUT, /* at start: the engine has none of them */
    SET_EVENT_IMPORT,
    SET_EVENT_MASK,
    SET_EVENT_BREAK,
    SET_EVENT_BREAK_END, /* it was cancelled or failed: what is left is a set as before */
    SET_EVENT_SPLIT,     /* its last member became a disk of its own */
    SET_EVENT_FOUND_HALF,  /* at start: a pool has its points, another one has not (E23) */
    SET_EVENT_COUNT
};

enum set_action {
    SET_DO_NOTHING, /* idempotent repeat, or nothing is left to do */
    SET_DO_RENEW,   /* the lease starts again in full */
    SET_DO_ARM,     /* the window for the commit opens; the hosts' unit attention is held */
    SET_DO_CUT,     /* one cut in the engine, then the rows follow */
    SET_DO_CONFIRM,
    SET_DO_FINISH, /* lease and abort end */
    SET_DO_ABORT,  /* points, snapshots and LUN numbers go; nothing is left but the record */
    SET_DO_DELETE,
    SET_DO_TRASH,    /* its members stay as they are, unserved, until they expire */
    SET_DO_RESTORE,  /* a member has come back */
    SET_DO_ADOPT,    /* at start: take generation and time from the engine */
    SET_DO_FALL_BACK, /* at start: no commit may come from before */
    SET_DO_IMPORT,    /* a host gets all members */
    SET_DO_MASK,      /* and gives them back */
    SET_DO_BREAK,     /* a job promotes and splits all members */
};

enum set_guard {
    SET_IF_ALWAYS,
    SET_IF_IN_TIME,    /* the armed window has not passed; else TOO_LATE */
    SET_IF_LEASE_OVER, /* else the event is ignored: it was renewed meanwhile */
    SET_IF_ARMED_OVER,
};

struct set_rule {
    unsigned from; /* mask of 1 << state */
    enum set_event event;
    enum set_guard guard;
    enum set_action action;
    enum catalog_set_state to;
};

struct set_facts {
    uint64_t now_ns, lease_until_ns, armed_until_ns; /* rt_now */
};

struct set_decision {
    enum set_action action;
    enum catalog_set_state to;
};

extern const struct set_rule set_rules[];
extern const unsigned set_rule_count;
const char *set_event_name(enum set_event event);
const struct set_rule *set_rule_find(enum catalog_set_state state, enum set_event event); /* NULL */
struct err *set_decide(enum catalog_set_state state, enum set_event event,
                       const struct set_facts *facts, struct set_decision *ret_decision) MUST_CHECK;

#endif
