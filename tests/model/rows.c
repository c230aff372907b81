/* Rows of worlds in child processes (rows.h). */
#include "rows.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

static char command[512];

static void print_command(void)
{
    printf("# died; replay: %s\n", command);
    fflush(stdout);
}

enum row_result rows_run_child(bool (*fn)(const void *arg), const void *arg, unsigned limit_s)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(limit_s);
        check_set_panic_hook(print_command);
        bool green = fn(arg);
        fflush(stdout);
        _exit(green ? 0 : 1);
    }
    int status;
    check(child > 0 && waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGALRM ? ROW_HUNG : ROW_DIED;
    if (WEXITSTATUS(status) == 0) return ROW_GREEN;
    return WEXITSTATUS(status) == 1 ? ROW_RED : ROW_DIED;
}

unsigned rows_scaled(unsigned count)
{
    const char *text = getenv("TARN_TEST_SCALE");
    unsigned percent = text ? (unsigned)atoi(text) : 100;
    unsigned scaled = count * percent / 100;
    return scaled ? scaled : 1;
}

char *rows_command(const struct world_options *o, char *text, size_t size)
{
    static const char *const crashes[] = {"none", "process", "power", "both"};
    int used = snprintf(text, size,
                        "tests/model/tarn-model --seed %llu --ops %u --crash %s --crash-every %u "
                        "--recovery-crashes %u --cache %llu --pool %llu --wal %llu --disk-blocks %u --pace %u "
                        "--buffers %llu "
                        "--checkpoint-every %u --latency-us %llu --flush-after-us %llu",
                        (unsigned long long)o->seed, o->op_count, crashes[o->crash], o->crash_every,
                        o->recovery_crashes, (unsigned long long)o->cache_bytes,
                        (unsigned long long)o->pool_bytes, (unsigned long long)o->wal_bytes,
                        o->disk_blocks_max, o->pace, (unsigned long long)o->buffer_bytes, o->checkpoint_every,
                        (unsigned long long)o->latency_ns / 1000,
                        (unsigned long long)o->flush_after_ns / 1000);
    snprintf(text + used, size - (size_t)used, "%s%s%s%s%s%s%s", o->open_faults ? " --open-faults" : "",
             o->slow_reads ? " --slow-reads" : "",
             o->big_requests ? " --big" : "", o->no_ragged_zero ? " --exact-space" : "",
             o->written_through ? " --written-through" : "", o->ignore_flush ? " --ignore-flush " : "",
             o->ignore_flush ? rt_flush_site_name(o->ignore_flush) : "");
    return text;
}

bool rows_world_is_green(const struct world_options *options)
{
    rows_command(options, command, sizeof command);
    struct ops_outcome outcome = ops_world_run(options);
    if (!outcome.ok) printf("# %s\n# replay: %s\n", outcome.failure, command);
    return outcome.ok;
}
