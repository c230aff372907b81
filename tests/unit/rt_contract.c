/* One contract, two runtimes: every sentence of rt.h, on Linux and in the simulator. */
#include "tests/unit/rt_contract.h"

#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "rt/rt_linux.h"
#include "tests/sim/sim.h"

struct rt *rt;
bool starting;

static struct sim *sim;
static char directory[64];
static bool is_linux;

enum { BUFFER_BYTES = 4 * 1024 * 1024, SMALL_QUEUE = 16, HANG_SECONDS = 120 };

const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", is_linux ? directory : "/sim", name);
    return path;
}

bool err_status_free(struct err *e, enum status status)
{
    char text[256];
    bool same = err_status(e) == status;
    if (!same) printf("# %s\n", e ? err_text(e, text, sizeof text) : "no error");
    err_free(e);
    return same;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static void world_create(void)
{
    if (!is_linux) {
        sim = sim_create(&(struct sim_options){.seed = 42, .buffer_bytes = BUFFER_BYTES});
        rt = sim_node_boot(sim_node_create(sim, "node"));
        return;
    }
    strcpy(directory, "/var/tmp/rt_contract.XXXXXX"); /* /tmp may know no direct I/O */
    check(mkdtemp(directory) != NULL);
    /* A small ring, so that requests also have to wait for a place in it. */
    struct err *e = rt_linux_create(
        &(struct rt_linux_options){.buffer_bytes = BUFFER_BYTES, .queue_depth = SMALL_QUEUE}, &rt);
    check(!e);
}

static void world_destroy(void)
{
    if (!is_linux) {
        sim_destroy(sim);
        return;
    }
    rt_linux_destroy(rt);
    nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void run_cases(const struct contract_case *cases, unsigned count, bool (*failed)(void))
{
    for (unsigned i = 0; i < count; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s: %s", is_linux ? "linux" : "sim", cases[i].name);
        alarm(HANG_SECONDS); /* a callback that never comes */
        world_create();
        cases[i].body();
        world_destroy();
        tap_point(name, !failed());
    }
}

/* ---- What only one runtime has ---- */

static int signal_seen;

static void on_signal(void *arg, int signal)
{
    came();
    signal_seen = signal;
    rt_stop(rt);
}

static void sigterm_is_called_on_the_loop(void)
{
    is_linux = true;
    world_create();
    expect_status(rt_linux_on_signal(rt, on_signal, NULL), STATUS_OK);
    kill(getpid(), SIGTERM);
    rt_run(rt);
    expect_eq(signal_seen, SIGTERM);
    world_destroy();
}

int main(void)
{
    for (int i = 0; i < 2; i++) {
        is_linux = i == 0;
        run_cases(loop_cases, loop_case_count, loop_cases_failed);
        run_cases(file_cases, file_case_count, file_cases_failed);
        run_cases(sock_cases, sock_case_count, sock_cases_failed);
    }
    run(sigterm_is_called_on_the_loop);
    return tap_done();
}
