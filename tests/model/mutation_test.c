/* Each flush that is dropped and each deliberate bug must turn the model test red (E30). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "engine_mutation.h"
#include "rows.h"
#include "tests/lib/tap.h"

/* The worlds in which a mutation is looked for, one after another, until one goes red. */
static const struct world_options worlds[] = {
    {.op_count = 300, .pace = 3, .crash = WORLD_CRASH_BOTH, .crash_every = 40, .recovery_crashes = 4},
    {.op_count = 500, .pace = 2, .crash = WORLD_CRASH_POWER, .crash_every = 150, .recovery_crashes = 3},
    {.op_count = 500, .pace = 4, .crash = WORLD_CRASH_BOTH, .crash_every = 250, .recovery_crashes = 2,
     .cache_bytes = MODEL_TINY_CACHE_BYTES, .wal_bytes = MODEL_TINY_WAL_BYTES},
    {.op_count = 300, .pace = 3, .crash = WORLD_CRASH_POWER, .crash_every = 30, .recovery_crashes = 2,
     .checkpoint_every = 5},
    {.op_count = 600, .pace = 1, .no_ragged_zero = true},
    {.op_count = 800, .pace = 2, .crash = WORLD_CRASH_POWER, .crash_every = 150, .recovery_crashes = 2,
     .disk_blocks_max = 8000, .wal_bytes = 32 * MIB, .big_requests = true}, /* blocks are reused soon */
    {.op_count = 800, .pace = 3, .slow_reads = true}, /* readers linger */
};
enum { SEEDS_PER_WORLD = 60 };

struct mutant {
    enum rt_flush_site site;
    const char *mutation;
};

static bool one_world(const void *arg)
{
    return rows_world_is_green(arg);
}

/* Red with the bug, green without: the number of worlds it took, 0 when there was none. */
static unsigned worlds_until_red(const struct mutant *mutant)
{
    unsigned tried = 0;
    for (unsigned seed = 1; seed <= SEEDS_PER_WORLD; seed++) {
        for (unsigned i = 0; i < countof(worlds); i++) {
            struct world_options options = worlds[i];
            options.seed = 5000 + seed;
            options.ignore_flush = mutant->site;
            tried++;
            if (mutant->mutation) engine_mutation_set(mutant->mutation);
            bool red = rows_run_child(one_world, &options, 60) != ROW_GREEN;
            engine_mutation_set("NONE");
            options.ignore_flush = RT_FLUSH_NONE;
            if (red && rows_run_child(one_world, &options, 60) == ROW_GREEN) return tried;
        }
    }
    return 0;
}

static void site_point(enum rt_flush_site site)
{
    char name[100];
    snprintf(name, sizeof name, "dropping_flush_%s_is_noticed", rt_flush_site_name(site));
    unsigned tried = worlds_until_red(&(struct mutant){.site = site});
    printf("# %u worlds\n", tried);
    tap_point(name, tried > 0);
}

static void mutation_point(const char *mutation)
{
    char name[100];
    snprintf(name, sizeof name, "mutation_%s_is_noticed", mutation);
    bool known = engine_mutation_set(mutation);
    unsigned tried = known ? worlds_until_red(&(struct mutant){.mutation = mutation}) : 0;
    printf("# %u worlds\n", tried);
    tap_point(name, tried > 0);
}

/* A new pool survives a power cut right after its making was reported. */
static bool new_pool_is_durable(const void *arg)
{
    const struct world_options *options = arg;
    struct world *world = world_create_only(options);
    bool green = !world->failed;
    if (green) {
        world_crash_now(world);
        green = world_recover(world);
    }
    if (!green) printf("# %s\n", world->failure);
    world_destroy(world);
    return green;
}

static void new_pool_survives_a_power_cut(void)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world_options options = {.seed = seed, .crash = WORLD_CRASH_POWER};
        expect_eq(rows_run_child(new_pool_is_durable, &options, 60), ROW_GREEN);
    }
}

static void dropping_flush_POOL_CREATE_is_noticed(void)
{
    bool red = false;
    for (uint64_t seed = 1; seed <= 10 && !red; seed++) {
        struct world_options options = {.seed = seed, .crash = WORLD_CRASH_POWER,
                                        .ignore_flush = RT_FLUSH_POOL_CREATE};
        red = rows_run_child(new_pool_is_durable, &options, 60) != ROW_GREEN;
    }
    expect(red);
}

int main(void)
{
    static const enum rt_flush_site sites[] = {RT_FLUSH_HOST, RT_FLUSH_ADMIN, RT_FLUSH_CHECKPOINT_PAGES,
                                               RT_FLUSH_CHECKPOINT_SUPER, RT_FLUSH_RECOVERY_CUT,
                                               RT_FLUSH_RECOVERY_OPEN};
    static const char *const mutations[] = {
#define X(name, invariant, what) #name,
#include "timeline/mutation.def"
#undef X
    };
    run(new_pool_survives_a_power_cut);
    run(dropping_flush_POOL_CREATE_is_noticed);
    for (unsigned i = 0; i < countof(sites); i++) site_point(sites[i]);
    for (unsigned i = 0; i < countof(mutations); i++)
        if (strcmp(mutations[i], "SERVE_UNVERIFIED") != 0 &&
            strncmp(mutations[i], "GATE_", 5) != 0) /* gate_test.c */
            mutation_point(mutations[i]);
    return tap_done();
}
