#include "control/set_machine.h"

#include "base/attr.h"
#include "base/check.h"

#define PREPARED (1 << SET_PREPARED)
#define ARMED (1 << SET_ARMED)
#define COMMITTED (1 << SET_COMMITTED)
#define CONFIRMED (1 << SET_CONFIRMED)
#define CREATED (1 << SET_CREATED)
#define ABORTED (1 << SET_ABORTED)
#define DELETING (1 << SET_DELETING)
#define TRASHED (1 << SET_TRASHED)
#define BREAKING (1 << SET_BREAKING)
#define BROKEN (1 << SET_BROKEN)
#define KEEP SET_STATE_COUNT /* the state stays */

const struct set_rule set_rules[] = {
    {PREPARED | ARMED | COMMITTED | CONFIRMED, SET_EVENT_RENEW, SET_IF_ALWAYS, SET_DO_RENEW, KEEP},

    {PREPARED | ARMED, SET_EVENT_ARM, SET_IF_ALWAYS, SET_DO_ARM, SET_ARMED},

    /* A late commit cuts nothing.  A repeated one answers what the first one did. */
    {ARMED, SET_EVENT_COMMIT, SET_IF_IN_TIME, SET_DO_CUT, SET_COMMITTED},
    {COMMITTED | CONFIRMED | CREATED | BREAKING | BROKEN, SET_EVENT_COMMIT, SET_IF_ALWAYS,
     SET_DO_NOTHING, KEEP},

    {COMMITTED, SET_EVENT_CONFIRM, SET_IF_ALWAYS, SET_DO_CONFIRM, SET_CONFIRMED},
    {CONFIRMED | CREATED | BREAKING | BROKEN, SET_EVENT_CONFIRM, SET_IF_ALWAYS, SET_DO_NOTHING,
     KEEP},

    /* Without a confirm nobody proved that writes were held: the set stays crash-consistent. */
    {COMMITTED | CONFIRMED, SET_EVENT_FINISH, SET_IF_ALWAYS, SET_DO_FINISH, SET_CREATED},
    {CREATED | BREAKING | BROKEN, SET_EVENT_FINISH, SET_IF_ALWAYS, SET_DO_NOTHING, KEEP},

    /* Abort is honoured until created, ignored afterwards. */
    {PREPARED | ARMED | COMMITTED | CONFIRMED, SET_EVENT_ABORT, SET_IF_ALWAYS, SET_DO_ABORT,
     SET_ABORTED},
    {ABORTED, SET_EVENT_ABORT, SET_IF_ALWAYS, SET_DO_ABORT,
     SET_ABORTED}, /* goes on where it failed */
    {CREATED | DELETING | TRASHED | BREAKING | BROKEN, SET_EVENT_ABORT, SET_IF_ALWAYS,
     SET_DO_NOTHING, KEEP},

    /* Of a broken set only the record is left. */
    {CREATED | DELETING | TRASHED | BROKEN, SET_EVENT_DELETE, SET_IF_ALWAYS, SET_DO_DELETE,
     SET_DELETING},
    {CREATED, SET_EVENT_TRASH, SET_IF_ALWAYS, SET_DO_TRASH, SET_TRASHED},
    {TRASHED, SET_EVENT_TRASH, SET_IF_ALWAYS, SET_DO_NOTHING, KEEP},
    {TRASHED, SET_EVENT_RESTORE, SET_IF_ALWAYS, SET_DO_RESTORE, SET_CREATED},
    {CREATED, SET_EVENT_RESTORE, SET_IF_ALWAYS, SET_DO_NOTHING, KEEP},
    /* What was in the trash when the others were broken off is still a snapshot of it. */
    {BROKEN, SET_EVENT_TRASH, SET_IF_ALWAYS, SET_DO_NOTHING, KEEP},
    {BROKEN, SET_EVENT_RESTORE, SET_IF_ALWAYS, SET_DO_RESTORE, SET_CREATED},

    {CREATED, SET_EVENT_IMPORT, SET_IF_ALWAYS, SET_DO_IMPORT, KEEP},
    {CREATED, SET_EVENT_MASK, SET_IF_ALWAYS, SET_DO_MASK, KEEP},
    {CREATED, SET_EVENT_BREAK, SET_IF_ALWAYS, SET_DO_BREAK, SET_BREAKING},
    {BREAKING | BROKEN, SET_EVENT_BREAK, SET_IF_ALWAYS, SET_DO_NOTHING, KEEP},
    {BREAKING, SET_EVENT_BREAK_END, SET_IF_ALWAYS, SET_DO_NOTHING, SET_CREATED},
    {CREATED | BREAKING, SET_EVENT_SPLIT, SET_IF_ALWAYS, SET_DO_NOTHING, SET_BROKEN},

    {PREPARED | ARMED | COMMITTED | CONFIRMED, SET_EVENT_LEASE_END, SET_IF_LEASE_OVER, SET_DO_ABORT,
     SET_ABORTED},
    {CREATED | ABORTED | DELETING | TRASHED | BREAKING | BROKEN, SET_EVENT_LEASE_END, SET_IF_ALWAYS,
     SET_DO_NOTHING, KEEP},
    {ARMED, SET_EVENT_ARMED_END, SET_IF_ARMED_OVER, SET_DO_ABORT, SET_ABORTED},
    {PREPARED | COMMITTED | CONFIRMED | CREATED | ABORTED | DELETING | TRASHED | BREAKING | BROKEN,
     SET_EVENT_ARMED_END, SET_IF_ALWAYS, SET_DO_NOTHING, KEEP},

    /* At start the engine is the truth: a point exists if and only if its set is committed. */
    {PREPARED | ARMED, SET_EVENT_FOUND_CUT, SET_IF_ALWAYS, SET_DO_ADOPT, SET_COMMITTED},
    {COMMITTED | CONFIRMED | CREATED | TRASHED | BREAKING, SET_EVENT_FOUND_CUT, SET_IF_ALWAYS,
     SET_DO_ADOPT, KEEP},
    {PREPARED | ARMED, SET_EVENT_FOUND_HALF, SET_IF_ALWAYS, SET_DO_ABORT, SET_ABORTED},
    {ABORTED, SET_EVENT_FOUND_CUT, SET_IF_ALWAYS, SET_DO_ABORT, KEEP},
    {DELETING, SET_EVENT_FOUND_CUT, SET_IF_ALWAYS, SET_DO_DELETE, KEEP},
    {PREPARED, SET_EVENT_FOUND_UNCUT, SET_IF_ALWAYS, SET_DO_NOTHING, KEEP},
    {ARMED, SET_EVENT_FOUND_UNCUT, SET_IF_ALWAYS, SET_DO_FALL_BACK, SET_PREPARED},
    {COMMITTED | CONFIRMED, SET_EVENT_FOUND_UNCUT, SET_IF_ALWAYS, SET_DO_ABORT, SET_ABORTED},
    /* Shown as missing; members that were split are not there either. */
    {CREATED | TRASHED | BREAKING | BROKEN, SET_EVENT_FOUND_UNCUT, SET_IF_ALWAYS, SET_DO_NOTHING,
     KEEP},
    {BROKEN, SET_EVENT_FOUND_CUT, SET_IF_ALWAYS, SET_DO_NOTHING, KEEP},
    {ABORTED, SET_EVENT_FOUND_UNCUT, SET_IF_ALWAYS, SET_DO_ABORT, KEEP},
    {DELETING, SET_EVENT_FOUND_UNCUT, SET_IF_ALWAYS, SET_DO_DELETE, KEEP},
};
const unsigned set_rule_count = countof(set_rules);

const char *set_event_name(enum set_event event)
{
    static const char *const names[] = {
        "renew", "arm",     "commit",    "confirm",   "finish",    "abort",       "delete",
        "trash", "restore", "lease-end", "armed-end", "found-cut", "found-uncut", "import",
        "mask",  "break",   "break-end", "split",     "found-half"};
    check_static(countof(names) == SET_EVENT_COUNT);
    return names[event];
}

const struct set_rule *set_rule_find(enum catalog_set_state state, enum set_event event)
{
    for (unsigned i = 0; i < set_rule_count; i++) {
        if (set_rules[i].event == event && set_rules[i].from & 1U << state) return &set_rules[i];
    }
    return NULL;
}

static const char *what_next(enum catalog_set_state state, enum set_event event)
{
    switch (state) {
    case SET_PREPARED:
        return event == SET_EVENT_COMMIT ? "arm it first" : "arm and commit it, or abort it";
    case SET_ARMED:
        return "commit it, or abort it";
    case SET_COMMITTED:
        return "confirm it, finish it as crash-consistent, or abort it";
    case SET_CONFIRMED:
        return "finish it, or abort it";
    case SET_CREATED:
        return event == SET_EVENT_BREAK_END
                   ? "it is not being broken"
                   : "it is complete; delete it when it is not needed any more";
    case SET_ABORTED:
        return "prepare a new set";
    case SET_DELETING:
        return "prepare a new set";
    case SET_TRASHED:
        return "restore it first: tarn trash list";
    case SET_BREAKING:
        return "wait for its job (tarn job list), or cancel that";
    case SET_BROKEN:
        return "its snapshots are disks now: tarn disk list";
    case SET_STATE_COUNT:
        break;
    default:
        break;
    }
    return "";
}

static bool guard_holds(enum set_guard guard, const struct set_facts *facts)
{
    switch (guard) {
    case SET_IF_ALWAYS:
        return true;
    case SET_IF_IN_TIME:
        return facts->now_ns < facts->armed_until_ns;
    case SET_IF_LEASE_OVER:
        return facts->now_ns >= facts->lease_until_ns;
    case SET_IF_ARMED_OVER:
        return facts->now_ns >= facts->armed_until_ns;
    default:
        unreachable("guard");
        return false;
    }
}

struct err *set_decide(enum catalog_set_state state, enum set_event event,
                       const struct set_facts *facts, struct set_decision *ret_decision)
{
    const struct set_rule *rule = set_rule_find(state, event);
    if (!rule) {
        return err_next(err_new(STATUS_CONFLICT, "%s is not possible: the set is %s",
                                set_event_name(event), catalog_set_state_name(state)),
                        "%s", what_next(state, event));
    }
    struct set_decision decision = {.action = rule->action,
                                    .to = rule->to == SET_STATE_COUNT ? state : rule->to};
    if (!guard_holds(rule->guard, facts)) {
        if (rule->guard == SET_IF_IN_TIME) {
            return err_next(
                err_new(STATUS_TOO_LATE, "the commit came after its time; nothing was cut"),
                "prepare a new set");
        }
        decision = (struct set_decision){.action = SET_DO_NOTHING, .to = state};
    }
    *ret_decision = decision;
    return NULL;
}
