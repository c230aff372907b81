/* Cuts over several pools: no cut holds an effect without its cause (E22), and a set is whole or is
 * not (E23); simulated with seeds and crashes, on files, and with deliberate bugs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_mutation.h"
#include "gates.h"
#include "rows.h"
#include "tests/lib/tap.h"

enum { SEEDS = 24, MUTANT_SEEDS = 40, STEPS_MAX = 400, KILLS = 6 };

#define PATIENCE_NS (60 * RT_SECOND) /* of a machine that may be busy */

static unsigned sets_checked, sets_undone;

static bool is_green(const struct gates_options *options)
{
    struct gates_result result;
    bool good = gates_run(options, &result);
    if (!good)
        printf("# seed %llu, %u pools, crash %d at %llu: %s\n", (unsigned long long)options->seed,
               options->pool_count, options->crash, (unsigned long long)options->crash_write,
               result.failure);
    sets_checked += result.sets_checked;
    sets_undone += result.sets_undone;
    return good;
}

static void no_cut_over_pools_holds_an_effect_without_its_cause(void)
{
    sets_checked = 0;
    for (uint64_t seed = 1; seed <= rows_scaled(SEEDS); seed++)
        expect(is_green(&(struct gates_options){
            .seed = seed, .pool_count = 2 + seed % 2, .cuts = 12, .at_once = seed % 5 == 0}));
    printf("# %u sets\n", sets_checked);
    expect(sets_checked > 0);
}

static void crashes_leave_whole_sets_or_none(void)
{
    sets_checked = sets_undone = 0;
    for (uint64_t seed = 1; seed <= rows_scaled(SEEDS); seed++)
        expect(is_green(
            &(struct gates_options){.seed = 100 + seed,
                                    .pool_count = 2 + seed % 2,
                                    .cuts = 8,
                                    .runs = 4,
                                    .crash = seed % 3 ? GATES_CRASH_POWER : GATES_CRASH_PROCESS}));
    printf("# %u sets, %u halves undone\n", sets_checked, sets_undone);
    if (rows_scaled(SEEDS) >= SEEDS) expect(sets_undone > 0);
}

/* One cut, with a crash at every second write, until it is over before. */
static void crash_at_each_write(enum gates_crash crash)
{
    struct gates_options options = {.seed = 7, .pool_count = 2, .cuts = 1, .crash = crash};
    struct gates_result result = {.crash_came = true};
    unsigned undone = 0, step = 0, stride = 2 * SEEDS / rows_scaled(SEEDS);
    while (result.crash_came && step < STEPS_MAX) {
        step += stride;
        options.crash_write = step;
        bool good = gates_run(&options, &result);
        if (!good) printf("# write %u: %s\n", step, result.failure);
        expect(good);
        if (!good) return;
        undone += result.sets_undone;
    }
    printf("# %u writes, %u times one pool had its record and the other not\n", step - stride,
           undone);
    expect(!result.crash_came && undone > 0);
}

static void a_power_cut_in_the_middle_of_a_cut_leaves_all_of_it_or_nothing(void)
{
    crash_at_each_write(GATES_CRASH_POWER);
}

static void a_process_killed_in_the_middle_of_a_cut_leaves_all_of_it_or_nothing(void)
{
    crash_at_each_write(GATES_CRASH_PROCESS);
}

/* Calls reach their pools late; the limit strikes before, between and behind the records. */
static void a_cut_that_is_given_up_leaves_nothing_in_any_pool(void)
{
    unsigned late = 0, done = 0;
    for (uint64_t seed = 1; seed <= rows_scaled(SEEDS); seed++) {
        struct gates_options options = {.seed = 300 + seed,
                                        .pool_count = 2 + seed % 2,
                                        .cuts = 20,
                                        .limit_ns = (1 + seed % 12) * RT_MS};
        struct gates_result result;
        bool good = gates_run(&options, &result);
        if (!good) printf("# seed %llu: %s\n", (unsigned long long)options.seed, result.failure);
        expect(good);
        late += result.cuts_too_late;
        done += result.cuts_done;
    }
    printf("# %u given up, %u done\n", late, done);
    expect(late > 0 && done > 0);
}

static void gates_are_closed_for_a_few_turns_of_the_loop_only(void)
{
    struct gates_result result;
    struct gates_options options = {.seed = 3, .pool_count = 3, .cuts = 20};
    expect(gates_run(&options, &result));
    /* Each of close, cut and open reaches a pool up to 10 ms late. */
    printf("# %llu us at most, with calls up to 10 ms late\n",
           (unsigned long long)result.closed_max_ns / 1000);
    expect(result.closed_max_ns > 0 && result.closed_max_ns <= 31 * RT_MS);
}

/* ---- Files of the machine -------------------------------------------------------------------- */

static void remove_files(const char *directory)
{
    char path[300];
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/pool-%u", directory, i);
        unlink(path);
    }
    rmdir(directory);
}

static void make_directory(char *directory, size_t size)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, size, "%s/tarn-gates-XXXXXX", base ? base : "/tmp");
    check(mkdtemp(directory));
}

static void cuts_over_files_are_consistent(void)
{
    char directory[256];
    struct gates_result result;
    make_directory(directory, sizeof directory);
    struct gates_options options = {
        .seed = 5, .pool_count = 2, .cuts = 40, .limit_ns = PATIENCE_NS, .directory = directory};
    bool good = gates_run(&options, &result);
    if (!good) printf("# %s\n", result.failure);
    printf("# %u sets\n", result.sets_checked);
    expect(good && result.sets_checked == 40);
    remove_files(directory);
}

/* As the server does it, one loop for all: how long hosts are held up is printed, not judged. */
static void cuts_over_files_hold_hosts_up_for_a_moment(void)
{
    char directory[256];
    struct gates_result result;
    make_directory(directory, sizeof directory);
    struct gates_options options = {.seed = 6,
                                    .pool_count = 3,
                                    .cuts = 40,
                                    .limit_ns = PATIENCE_NS,
                                    .at_once = true,
                                    .directory = directory};
    bool good = gates_run(&options, &result);
    if (!good) printf("# %s\n", result.failure);
    printf("# gates were closed for %llu us at most\n",
           (unsigned long long)result.closed_max_ns / 1000);
    expect(good && result.sets_checked == 40 && result.closed_max_ns > 0);
    remove_files(directory);
}

static void a_server_on_files_that_is_killed_leaves_whole_sets_or_none(void)
{
    unsigned sets = 0;
    for (unsigned i = 0; i < KILLS; i++) {
        char directory[256];
        struct gates_result result;
        make_directory(directory, sizeof directory);
        struct gates_options options = {
            .seed = 50 + i, .pool_count = 2, .limit_ns = PATIENCE_NS, .directory = directory};
        fflush(stdout);
        int ready[2], status;
        char byte;
        check(pipe(ready) == 0);
        pid_t child = fork();
        if (child == 0) gates_run_until_killed(&options, ready[1]);
        close(ready[1]);
        check(read(ready[0], &byte, 1) == 1);
        close(ready[0]);
        usleep(20000 + 37000 * i);
        check(child > 0 && kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
        expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        bool good = gates_check_files(&options, &result);
        if (!good) printf("# %s\n", result.failure);
        expect(good);
        sets += result.sets_checked;
        remove_files(directory);
    }
    printf("# %u sets\n", sets);
    expect(sets > 0);
}

/* ---- Deliberate bugs ------------------------------------------------------------------------- */

static bool one_row(const void *arg)
{
    return is_green(arg);
}

static void mutation_point(const char *mutation)
{
    char name[100];
    snprintf(name, sizeof name, "mutation_%s_is_noticed", mutation);
    unsigned tried = 0;
    bool red = false;
    for (uint64_t seed = 1; seed <= MUTANT_SEEDS && !red; seed++) {
        struct gates_options options = {.seed = 200 + seed, .pool_count = 2 + seed % 2, .cuts = 12};
        tried++;
        if (!engine_mutation_set(mutation)) break;
        red = rows_run_child(one_row, &options, 60) != ROW_GREEN;
        engine_mutation_set("NONE");
        if (red && rows_run_child(one_row, &options, 60) != ROW_GREEN) red = false;
    }
    printf("# %u worlds\n", tried);
    tap_point(name, red);
}

int main(int argc, char **argv)
{
    static const char *const mutations[] = {"GATE_NOT_HELD", "GATE_ACKNOWLEDGES", "GATE_SHOWS",
                                            "GATE_OPENS_EARLY"};
    if (argc > 1 && argv[1][0] == 'm') {
        for (unsigned i = 0; i < countof(mutations); i++)
            mutation_point(mutations[i]);
        return tap_done();
    }
    run(no_cut_over_pools_holds_an_effect_without_its_cause);
    run(crashes_leave_whole_sets_or_none);
    run(a_power_cut_in_the_middle_of_a_cut_leaves_all_of_it_or_nothing);
    run(a_process_killed_in_the_middle_of_a_cut_leaves_all_of_it_or_nothing);
    run(a_cut_that_is_given_up_leaves_nothing_in_any_pool);
    run(gates_are_closed_for_a_few_turns_of_the_loop_only);
    run(cuts_over_files_are_consistent);
    run(cuts_over_files_hold_hosts_up_for_a_moment);
    run(a_server_on_files_that_is_killed_leaves_whole_sets_or_none);
    return tap_done();
}
