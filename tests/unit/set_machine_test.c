/* The table of set_machine.c: every row, and every combination that has none. */
#include "control/set_machine.h"

#include <stdio.h>

#include "base/attr.h"
#include "tests/lib/tap.h"

enum {
    P = SET_PREPARED,
    A = SET_ARMED,
    C = SET_COMMITTED,
    F = SET_CONFIRMED,
    D = SET_CREATED,
    X = SET_ABORTED,
    G = SET_DELETING,
    T = SET_TRASHED,
    B = SET_BREAKING,
    K = SET_BROKEN,
    NO = -1
};

/* clang-format off */
/* What must come of each event in each state: the state afterwards, or NO for a refusal.  Written down apart from the
 * table, in the order of the states. */
static const struct {
    enum set_event event;
    int to[SET_STATE_COUNT];
} expected[] = {
    /*                        P   A   C   F   D   X   G   T   B   K */
    {SET_EVENT_RENEW,       { P,  A,  C,  F, NO, NO, NO, NO, NO, NO}},
    {SET_EVENT_ARM,         { A,  A, NO, NO, NO, NO, NO, NO, NO, NO}},
    {SET_EVENT_COMMIT,      {NO,  C,  C,  F,  D, NO, NO, NO,  B,  K}},
    {SET_EVENT_CONFIRM,     {NO, NO,  F,  F,  D, NO, NO, NO,  B,  K}},
    {SET_EVENT_FINISH,      {NO, NO,  D,  D,  D, NO, NO, NO,  B,  K}},
    {SET_EVENT_ABORT,       { X,  X,  X,  X,  D,  X,  G,  T,  B,  K}},
    {SET_EVENT_DELETE,      {NO, NO, NO, NO,  G, NO,  G,  G, NO,  G}},
    {SET_EVENT_TRASH,       {NO, NO, NO, NO,  T, NO, NO,  T, NO,  K}},
    {SET_EVENT_RESTORE,     {NO, NO, NO, NO,  D, NO, NO,  D, NO,  D}},
    {SET_EVENT_LEASE_END,   { X,  X,  X,  X,  D,  X,  G,  T,  B,  K}},
    {SET_EVENT_ARMED_END,   { P,  X,  C,  F,  D,  X,  G,  T,  B,  K}},
    {SET_EVENT_FOUND_CUT,   { C,  C,  C,  F,  D,  X,  G,  T,  B,  K}},
    {SET_EVENT_FOUND_UNCUT, { P,  P,  X,  X,  D,  X,  G,  T,  B,  K}},
    {SET_EVENT_IMPORT,      {NO, NO, NO, NO,  D, NO, NO, NO, NO, NO}},
    {SET_EVENT_MASK,        {NO, NO, NO, NO,  D, NO, NO, NO, NO, NO}},
    {SET_EVENT_BREAK,       {NO, NO, NO, NO,  B, NO, NO, NO,  B,  K}},
    {SET_EVENT_BREAK_END,   {NO, NO, NO, NO, NO, NO, NO, NO,  D, NO}},
    {SET_EVENT_SPLIT,       {NO, NO, NO, NO,  K, NO, NO, NO,  K, NO}},
    {SET_EVENT_FOUND_HALF,  { X,  X, NO, NO, NO, NO, NO, NO, NO, NO}},
};
/* clang-format on */

/* Guards hold: armed in time for a commit, lease and arming over for their ends. */
static struct set_facts facts_for(enum set_event event)
{
    struct set_facts facts = {.now_ns = 1000, .lease_until_ns = 2000, .armed_until_ns = 2000};
    if (event == SET_EVENT_LEASE_END) facts.lease_until_ns = 1000;
    if (event == SET_EVENT_ARMED_END) facts.armed_until_ns = 1000;
    return facts;
}

static void each_event_in_each_state_does_what_the_design_says(void)
{
    expect_eq(countof(expected), SET_EVENT_COUNT);
    for (unsigned i = 0; i < countof(expected); i++) {
        for (unsigned state = 0; state < SET_STATE_COUNT; state++) {
            struct set_facts facts = facts_for(expected[i].event);
            struct set_decision decision = {.to = SET_STATE_COUNT};
            struct err *e =
                set_decide((enum catalog_set_state)state, expected[i].event, &facts, &decision);
            int got = e ? NO : (int)decision.to;
            if (got != expected[i].to[state]) {
                printf("# %s in %s gives %d, expected %d\n", set_event_name(expected[i].event),
                       catalog_set_state_name((enum catalog_set_state)state), got,
                       expected[i].to[state]);
            }
            expect_eq(got, expected[i].to[state]);
            if (e) expect_eq(err_status(e), STATUS_CONFLICT);
            if (e) expect(err_next_text(e) != NULL);
            err_free(e);
        }
    }
}

/* One point for each row, so that a row that goes missing is seen. */
static void row_point(const struct set_rule *rule)
{
    bool ok = true;
    for (unsigned state = 0; state < SET_STATE_COUNT; state++) {
        if (!(rule->from & 1U << state)) continue;
        struct set_facts facts = facts_for(rule->event);
        struct set_decision decision;
        struct err *e = set_decide((enum catalog_set_state)state, rule->event, &facts, &decision);
        ok = ok && !e && decision.action == rule->action &&
             set_rule_find((enum catalog_set_state)state, rule->event) == rule;
        err_free(e);
    }
    char name[100];
    snprintf(name, sizeof name, "row_of_%s_from_mask_%02x", set_event_name(rule->event),
             rule->from);
    tap_point(name, ok && rule->from != 0);
}

static void no_state_and_event_has_two_rows(void)
{
    for (unsigned i = 0; i < set_rule_count; i++) {
        for (unsigned j = i + 1; j < set_rule_count; j++) {
            expect(set_rules[i].event != set_rules[j].event ||
                   (set_rules[i].from & set_rules[j].from) == 0);
        }
    }
}

static void a_late_commit_is_refused(void)
{
    struct set_facts facts = {.now_ns = 2000, .armed_until_ns = 2000, .lease_until_ns = 9000};
    struct set_decision decision;
    struct err *e = set_decide(SET_ARMED, SET_EVENT_COMMIT, &facts, &decision);
    expect_eq(err_status(e), STATUS_TOO_LATE);
    err_free(e);
    facts.now_ns = 1999;
    e = set_decide(SET_ARMED, SET_EVENT_COMMIT, &facts, &decision);
    expect(!e && decision.action == SET_DO_CUT);
    err_free(e);
}

static void a_lease_that_was_renewed_meanwhile_does_not_end(void)
{
    struct set_facts facts = {.now_ns = 1999, .armed_until_ns = 2000, .lease_until_ns = 2000};
    struct set_decision decision;
    struct err *e = set_decide(SET_COMMITTED, SET_EVENT_LEASE_END, &facts, &decision);
    expect(!e && decision.action == SET_DO_NOTHING && decision.to == SET_COMMITTED);
    err_free(e);
    e = set_decide(SET_ARMED, SET_EVENT_ARMED_END, &facts, &decision);
    expect(!e && decision.action == SET_DO_NOTHING && decision.to == SET_ARMED);
    err_free(e);
}

int main(void)
{
    run(each_event_in_each_state_does_what_the_design_says);
    for (unsigned i = 0; i < set_rule_count; i++)
        row_point(&set_rules[i]);
    run(no_state_and_event_has_two_rows);
    run(a_late_commit_is_refused);
    run(a_lease_that_was_renewed_meanwhile_does_not_end);
    return tap_done();
}
