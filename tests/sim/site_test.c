/*
 * Whole sites (site.h): under fixed seeds and one that comes from the commit (TARN_SEED, set by
 * ./check); equal seeds give equal traces; each verb of the walk did its work; and the same walk
 * over a server with a deliberate bug or without one of its flushes turns red.
 *
 *     site_test            TARN_TEST_SCALE=10: a tenth of the worlds
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/text.h"
#include "control/mutation.h"
#include "tests/lib/tap.h"
#include "tests/model/engine_mutation.h"
#include "tests/model/rows.h"
#include "tests/sim/site.h"

static uint64_t done[32];

static bool worlds_are_green(struct site_options options, unsigned count)
{
    for (unsigned n = rows_scaled(count), i = 0; i < n; i++, options.seed++) {
        struct site_outcome outcome = site_child_run(&options);
        for (unsigned v = 0; v < site_verb_count(); v++)
            done[v] += outcome.done_by_verb[v];
        if (!outcome.ok) return false;
    }
    return true;
}

static uint64_t seed_of_the_commit(void)
{
    const char *text = getenv("TARN_SEED");
    uint64_t seed = 77;
    if (text) text_parse_u64(text, &seed);
    printf("# the commit's seed is %llu\n", (unsigned long long)seed);
    return seed;
}

static void equal_seeds_give_equal_traces(void)
{
    struct site_options options = {
        .seed = 9, .op_count = 600, .crash = SITE_CRASH_BOTH, .crash_every = 300};
    struct site_outcome a = site_child_run(&options), b = site_child_run(&options);
    options.seed = 10;
    struct site_outcome c = site_child_run(&options);
    expect(a.ok && b.ok && c.ok);
    expect(a.trace_hash == b.trace_hash);
    expect(a.trace_hash != c.trace_hash);
}

/* In one world of a hundred a host uses a disk in just the moment of its copy; whether one of these is it changes
 * with any change of timing.  control_replace_test shows it. */
static bool is_rare(unsigned row)
{
    return strstr(site_verb_name(row), "waiting for a disk in use") != NULL;
}

static void every_verb_of_the_walk_did_something(void)
{
    for (unsigned v = 0; v < site_verb_count(); v++) {
        if (done[v] == 0) printf("# no %s\n", site_verb_name(v));
        expect(done[v] > 0 || is_rare(v) || rows_scaled(100) < 100);
    }
}

#ifdef TARN_MUTATIONS

/* Worlds until one is red, at most so many. */
static unsigned worlds_until_red(struct site_options options, unsigned limit)
{
    for (unsigned i = 1; i <= limit; i++, options.seed++)
        if (!site_child_run(&options).ok) return i;
    return 0;
}

static void dropped_flush(enum rt_flush_site site)
{
    struct site_options options = {.seed = 1,
                                   .op_count = 1000,
                                   .crash = SITE_CRASH_POWER,
                                   .crash_every = 100,
                                   .ignore_flush = site};
    char name[100];
    snprintf(name, sizeof name, "a_site_without_flush_%s_is_noticed", rt_flush_site_name(site));
    tap_point(name, worlds_until_red(options, 20) > 0);
}

static void mutation(const char *which)
{
    struct site_options options = {
        .seed = 1, .op_count = 1500, .crash = SITE_CRASH_BOTH, .crash_every = 200};
    char name[100];
    snprintf(name, sizeof name, "a_site_with_the_bug_%s_is_noticed", which);
    bool known = engine_mutation_set(which);
    tap_point(name, known && worlds_until_red(options, 30) > 0);
    engine_mutation_set("NONE");
}

enum control_mutation control_mutation_active;

/* The walk over a server that starts with a bug; and, so that it is the bug that is seen, without. */
static void control_mutation(enum control_mutation which, const char *name, enum site_faults faults)
{
    struct site_options options = {.seed = 1,
                                   .op_count = 800,
                                   .crash = SITE_CRASH_BOTH,
                                   .crash_every = 200,
                                   .faults = faults,
                                   .verbs = true};
    control_mutation_active = which;
    unsigned worlds = worlds_until_red(options, 40);
    control_mutation_active = CONTROL_MUTATION_NONE;
    if (worlds) options.seed += worlds - 1;
    printf("# %u worlds\n", worlds);
    tap_point(name, worlds > 0 && site_child_run(&options).ok);
}

/* A device that lies, below an engine that does not look. */
static void serving_what_was_not_verified_is_noticed(void)
{
    struct site_options options = {.seed = 9000, .op_count = 300, .faults = SITE_FAULTS_LIES};
    expect(engine_mutation_set("SERVE_UNVERIFIED"));
    expect(worlds_until_red(options, 30) > 0);
    engine_mutation_set("NONE");
}

int main(void)
{
    static const enum rt_flush_site sites[] = {RT_FLUSH_HOST, RT_FLUSH_ADMIN, RT_FLUSH_CATALOG};
    static const char *const bugs[] = {"ACK_OUT_OF_ORDER", "FREE_POINT_BLOCKS", "FORGET_REVERTS"};
    for (unsigned i = 0; i < countof(sites); i++)
        dropped_flush(sites[i]);
    for (unsigned i = 0; i < countof(bugs); i++)
        mutation(bugs[i]);
    run(serving_what_was_not_verified_is_noticed);
    control_mutation(CONTROL_MUTATION_FORGET_UNDOS, "a_site_that_forgets_undo_points_is_noticed",
                     SITE_FAULTS_NONE);
    control_mutation(CONTROL_MUTATION_DELETE_CREATED, "a_site_that_deletes_created_sets_is_noticed",
                     SITE_FAULTS_NONE);
    control_mutation(CONTROL_MUTATION_KEEP_STRAYS, "a_site_that_keeps_strays_is_noticed",
                     SITE_FAULTS_ERRORS);
    (void)worlds_are_green, (void)seed_of_the_commit;
    (void)equal_seeds_give_equal_traces, (void)every_verb_of_the_walk_did_something;
    return tap_done();
}

#else

int main(void)
{
    static const struct {
        const char *name;
        unsigned worlds;
        struct site_options options;
    } rows[] = {
        {"a_site_without_crashes", 8, {.seed = 1000, .op_count = 2000}},
        {"a_site_whose_server_is_killed",
         10,
         {.seed = 2000, .op_count = 1500, .crash = SITE_CRASH_PROCESS, .crash_every = 500}},
        {"a_site_whose_power_fails",
         10,
         {.seed = 3000, .op_count = 1500, .crash = SITE_CRASH_POWER, .crash_every = 500}},
        {"a_site_that_crashes_often",
         10,
         {.seed = 4000, .op_count = 1500, .crash = SITE_CRASH_BOTH, .crash_every = 120}},
        {"a_site_busy_with_the_life_of_snapshots",
         12,
         {.seed = 7000,
          .op_count = 1500,
          .crash = SITE_CRASH_BOTH,
          .crash_every = 600,
          .verbs = true}},
        {"a_site_with_full_pools",
         3,
         {.seed = 6000,
          .op_count = 3000,
          .crash = SITE_CRASH_BOTH,
          .crash_every = 2000,
          .full = true}},
        {"a_site_whose_devices_err_is_right_again_afterwards",
         12,
         {.seed = 8000,
          .op_count = 700,
          .crash = SITE_CRASH_BOTH,
          .crash_every = 1000,
          .faults = SITE_FAULTS_ERRORS}},
        {"a_site_whose_devices_lie_serves_nothing_wrong_and_stays_up",
         16,
         {.seed = 9000, .op_count = 300, .faults = SITE_FAULTS_LIES}},
        {"a_site_where_a_pool_fails_with_writes_behind_the_failed_one",
         1,
         {.seed = 3819, .op_count = 2000, .crash = SITE_CRASH_BOTH, .faults = SITE_FAULTS_ERRORS}},
    };
    for (unsigned i = 0; i < countof(rows); i++)
        tap_point(rows[i].name, worlds_are_green(rows[i].options, rows[i].worlds));
    struct site_options options = {.seed = seed_of_the_commit() * 1000,
                                   .op_count = 1500,
                                   .crash = SITE_CRASH_BOTH,
                                   .crash_every = 400};
    tap_point("a_site_under_the_commits_seed", worlds_are_green(options, 14));
    run(equal_seeds_give_equal_traces);
    run(every_verb_of_the_walk_did_something);
    return tap_done();
}

#endif
