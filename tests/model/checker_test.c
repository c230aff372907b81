/* The model test is tested: over a correct fake engine it is green, over each broken one it is red. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_volume.h"
#include "ops.h"
#include "tests/lib/tap.h"

enum { SEEDS = 16, SEEDS_FOR_A_BUG = 64, OPS = 400 };

static const char *const bug_names[] = {
    "correct",
#define X(name, what) #name,
#include "fake_bugs.def"
#undef X
};

static struct world_options options_for(uint64_t seed)
{
    return (struct world_options){.seed = seed,
                                  .op_count = OPS,
                                  .crash = (enum world_crash)(seed % 4),
                                  .crash_every = 60,
                                  .crash_by_op = true,
                                  .on_crash = fake_volume_crashed,
                                  .no_ragged_zero = true,
                                  .disk_blocks_max = 300,
                                  .trace = getenv("TARN_TEST_TRACE") != NULL};
}

/* True when a world over this fake went red; the text says why. */
static bool is_red(enum fake_bug bug, uint64_t seed, struct ops_outcome *ret_outcome)
{
    struct world_options options = options_for(seed);
    fake_volume_reset(bug, seed);
    *ret_outcome = ops_world_run(&options);
    return !ret_outcome->ok;
}

static bool child_is_red(enum fake_bug bug)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
        struct ops_outcome outcome;
        for (uint64_t seed = 1; seed <= SEEDS_FOR_A_BUG; seed++) {
            if (!is_red(bug, seed, &outcome)) continue;
            printf("# %s, seed %llu: %s\n", bug_names[bug], (unsigned long long)seed, outcome.failure);
            fflush(stdout);
            _exit(1);
        }
        _exit(0);
    }
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 1;
}

static void correct_engine_is_green(void)
{
    struct ops_outcome outcome;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        bool red = is_red(FAKE_NO_BUG, seed, &outcome);
        if (red) printf("# seed %llu: %s\n", (unsigned long long)seed, outcome.failure);
        expect(!red);
    }
}

static void equal_seeds_give_equal_traces(void)
{
    struct ops_outcome a, b, c;
    is_red(FAKE_NO_BUG, 5, &a);
    is_red(FAKE_NO_BUG, 5, &b);
    is_red(FAKE_NO_BUG, 6, &c);
    expect(a.trace_hash == b.trace_hash);
    expect(a.trace_hash != c.trace_hash);
}

int main(void)
{
    run(correct_engine_is_green);
    run(equal_seeds_give_equal_traces);
    for (int bug = 1; bug < FAKE_BUG_COUNT; bug++) {
        char name[80];
        snprintf(name, sizeof name, "fake_bug_%s_is_noticed", bug_names[bug]);
        tap_point(name, child_is_red((enum fake_bug)bug));
    }
    return tap_done();
}
