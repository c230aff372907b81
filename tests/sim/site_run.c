/* One world: operations, troubles, crashes, the end (site.h). */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/sim/site.h"

const char *const site_crash_names[4] = {"none", "process", "power", "both"};
const char *const site_faults_names[3] = {"none", "errors", "lies"};

enum { STORM_EVERY = 120 };

static void trouble(struct site *site)
{
    int host = (int)prng_below(&site->prng, SITE_HOSTS);
    struct sim_node *node = initiator_node(site->hosts[host]);
    if (prng_chance(&site->prng, 1, 3)) {
        site_trace(site, "a request to pool %d hangs for a while", host);
        sim_node_fault(site->node, SIM_FAULT_STALL, site->pools[host].path,
                       prng_below(&site->prng, 10));
        return;
    }
    if (prng_chance(&site->prng, 1, 2)) {
        site_trace(site, "host %d reboots", host);
        initiator_reboot(site->hosts[host]);
        return;
    }
    site_trace(site, "the network of host %d is cut", host);
    sim_partition(site->sim, site->node, node);
    site_run_for(site, prng_below(&site->prng, 3 * RT_SECOND));
    sim_heal(site->sim);
}

static void one_op(struct site *site)
{
    static const uint8_t steps[16] = {0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 6, 8, 12, 20, 60};
    uint64_t kind = prng_below(&site->prng, 1000);
    site->ops++;
    if (prng_chance(&site->prng, 1, 8) && !site_tend_replaces(site, false)) return;
    if (kind < (site->options.verbs ? 450 : 700))
        site_command(site);
    else if (kind < 985)
        site_verb(site);
    else if (kind < 989)
        trouble(site);
    else if (kind < 997 && site->lossy)
        site_strike(site);
    else if (kind < 996)
        site_verify(site);
    else if (kind < 997)
        site_settle(site);
    else
        site_run_for(site, prng_below(&site->prng, RT_SECOND));
    if (!site->failed && !site->crashed) site_step(site, steps[prng_below(&site->prng, 16)]);
}

struct site_outcome site_world_run(const struct site_options *options)
{
    struct site *site = site_create(options);
    for (uint32_t i = 0; i < options->op_count && !site->failed; i++) {
        if (options->faults == SITE_FAULTS_ERRORS && i % STORM_EVERY == STORM_EVERY - 1)
            site_storm(site, one_op);
        else
            one_op(site);
        while (site->crashed && !site->failed)
            site_recover(site);
    }
    sim_node_crash_at_write(site->node, 0, SIM_CRASH_PROCESS);
    if (!site->failed && options->faults == SITE_FAULTS_LIES) {
        site_storm(site, one_op);
    } else {
        if (!site->failed) site_settle(site);
        if (!site->failed) site_empty(site);
    }
    for (unsigned i = 0; i < SITE_HOSTS; i++)
        site->logins += initiator_login_count(site->hosts[i]);
    struct site_outcome outcome = {.ok = !site->failed,
                                   .trace_hash = sim_trace_hash(site->sim),
                                   .ops = site->ops,
                                   .commands = site->commands,
                                   .verbs_ok = site->verbs_ok,
                                   .verbs_refused = site->verbs_refused,
                                   .crashes = site->crashes,
                                   .recovery_crashes = site->recovery_crashes,
                                   .verifies = site->verifies,
                                   .cuts = site->cuts,
                                   .logins = site->logins,
                                   .lost = site->lost,
                                   .full = site->full,
                                   .storms = site->storms,
                                   .strikes = site->strikes,
                                   .ill_pools = site->ill_pools,
                                   .parkings = site->parkings,
                                   .views_judged = site->views_judged,
                                   .views_refused = site->views_refused,
                                   .blocks_refused = site->blocks_refused};
    memcpy(outcome.failure, site->failure, sizeof outcome.failure);
    memcpy(outcome.done_by_verb, site->done_by_verb, sizeof outcome.done_by_verb);
    site_destroy(site);
    return outcome;
}

/* ---- In a process of its own ----------------------------------------------------------------- */

static const struct site_options *running;

const char *site_options_text(const struct site_options *o, char *text, size_t size)
{
    snprintf(text, size, "--seed %llu --ops %u --crash %s --crash-every %u%s%s%s%s%s%s",
             (unsigned long long)o->seed, o->op_count, site_crash_names[o->crash], o->crash_every,
             o->full ? " --full" : "", o->verbs ? " --verbs" : "", o->faults ? " --faults " : "",
             o->faults ? site_faults_names[o->faults] : "",
             o->ignore_flush ? " --ignore-flush " : "",
             o->ignore_flush ? rt_flush_site_name(o->ignore_flush) : "");
    return text;
}

static void print_replay(void)
{
    char text[200];
    printf("# replay: tests/sim/tarn-sim %s --trace\n",
           site_options_text(running, text, sizeof text));
    fflush(stdout);
}

struct site_outcome site_child_run(const struct site_options *options)
{
    enum { LIMIT_S = 600 };
    struct site_outcome *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(shared != MAP_FAILED);
    running = options;
    fflush(stdout);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        mallopt(M_MMAP_THRESHOLD, 1 << 30); /* big buffers come and go all the time */
        mallopt(M_TRIM_THRESHOLD, 1 << 30);
        alarm(LIMIT_S);
        check_set_panic_hook(print_replay);
        *shared = site_world_run(options);
        if (!shared->ok) printf("# %s\n", shared->failure);
        if (!shared->ok) print_replay();
        fflush(stdout);
        _exit(0);
    }
    int status;
    check(waitpid(child, &status, 0) == child);
    struct site_outcome outcome = *shared;
    munmap(shared, sizeof *shared);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) outcome.ok = false;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) print_replay();
    return outcome;
}
