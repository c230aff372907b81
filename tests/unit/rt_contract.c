/* One contract, three runtimes: every sentence of rt.h, on Linux over io_uring and over epoll, and
 * in the simulator. */
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
static enum { ON_URING, ON_EPOLL, IN_SIM } where;

enum { BUFFER_BYTES = 4 * 1024 * 1024, SMALL_QUEUE = 16, HANG_SECONDS = 120 };

const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", where == IN_SIM ? "/sim" : directory, name);
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
    if (where == IN_SIM) {
        sim = sim_create(&(struct sim_options){.seed = 42, .buffer_bytes = BUFFER_BYTES});
        rt = sim_node_boot(sim_node_create(sim, "node"));
        return;
    }
    strcpy(directory, "/var/tmp/rt_contract.XXXXXX"); /* /tmp may know no direct I/O */
    check(mkdtemp(directory) != NULL);
    /* A small ring, so that requests also have to wait for a place in it. */
    struct rt_linux_options options = {.buffer_bytes = BUFFER_BYTES,
                                       .queue_depth = SMALL_QUEUE,
                                       .backend =
                                           where == ON_URING ? RT_LINUX_URING : RT_LINUX_EPOLL};
    struct err *e = rt_linux_create(&options, &rt);
    check(!e);
}

static void world_destroy(void)
{
    if (where == IN_SIM) {
        sim_destroy(sim);
        return;
    }
    rt_linux_destroy(rt);
    nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Why there is no io_uring here; NULL where there is. */
static const char *uring_refused;

static void look_for_uring(void)
{
    static char reason[256];
    struct rt *found;
    struct err *e = rt_linux_create(&(struct rt_linux_options){.backend = RT_LINUX_URING}, &found);
    if (!e) {
        rt_linux_destroy(found);
        return;
    }
    uring_refused = err_text(e, reason, sizeof reason);
    err_free(e);
}

static void run_case(const struct contract_case *c, bool (*failed)(void))
{
    static const char *const names[] = {"io_uring", "epoll", "sim"};
    char name[128];
    snprintf(name, sizeof name, "%s: %s", names[where], c->name);
    if (where == ON_URING && uring_refused) {
        tap_skip(name, uring_refused);
        return;
    }
    alarm(HANG_SECONDS); /* a callback that never comes */
    world_create();
    c->body();
    world_destroy();
    tap_point(name, !failed());
}

static void run_cases(const struct contract_case *cases, unsigned count, bool (*failed)(void))
{
    for (unsigned i = 0; i < count; i++) {
        run_case(&cases[i], failed);
    }
}

/* ---- What only Linux has ---- */

static int signal_seen;

static void on_signal(void *arg, int signal)
{
    came();
    signal_seen = signal;
    rt_stop(rt);
}

static void sigterm_is_called_on_the_loop(void)
{
    signal_seen = 0;
    expect_status(rt_linux_on_signal(rt, on_signal, NULL), STATUS_OK);
    kill(getpid(), SIGTERM);
    rt_run(rt);
    expect_eq(signal_seen, SIGTERM);
}

/* The kernel moves at most 2 GiB - 4 KiB at once, so the rest comes in a second transfer, which
 * begins in the middle of a piece of memory. */
static enum status long_read_status;

static void long_read_done(struct rt_file_io *io)
{
    came();
    long_read_status = io->status;
    rt_stop(rt);
}

enum { PIECE_BYTES = 64 * 1024 * 1024, PIECES = 33 };

static void long_read(uint8_t *shared, uint8_t *middle, uint8_t *last)
{
    const uint64_t limit = 2 * GIB - BLOCK_BYTES;
    struct rt_bfile *b;
    struct rt_file *file;
    uint8_t pattern[2 * BLOCK_BYTES];
    memset(pattern, 'a', BLOCK_BYTES);
    memset(pattern + BLOCK_BYTES, 'b', BLOCK_BYTES);
    expect_status(rt_bfile_open(rt, path_of("f"), RT_BOPEN_CREATE, &b), STATUS_OK);
    expect_status(rt_bfile_write(b, limit - BLOCK_BYTES, pattern, sizeof pattern), STATUS_OK);
    expect_status(rt_bfile_write(b, 2 * GIB, "c", 1), STATUS_OK);
    expect_status(rt_bfile_truncate(b, 2 * GIB + BLOCK_BYTES), STATUS_OK);
    rt_bfile_close(b);
    expect_status(rt_file_open(rt, path_of("f"), RT_OPEN_DIRECT, &file, NULL), STATUS_OK);
    struct iovec v[PIECES];
    for (unsigned i = 0; i < PIECES; i++) {
        v[i] = (struct iovec){shared, PIECE_BYTES};
    }
    v[PIECES - 2].iov_base = middle;
    v[PIECES - 1] = (struct iovec){last, BLOCK_BYTES};
    struct rt_file_io io = {
        .op = RT_FILE_READ, .file = file, .iov = v, .iov_count = PIECES, .done = long_read_done};
    rt_file_submit(rt, &io);
    rt_run(rt);
    rt_file_close(file);
    expect_eq(long_read_status, STATUS_OK);
    expect(memcmp(middle + PIECE_BYTES - sizeof pattern, pattern, sizeof pattern) == 0);
    expect(last[0] == 'c' && last[1] == 0);
}

static void a_transfer_longer_than_the_kernel_allows_is_whole(void)
{
    uint8_t *memory[3];
    for (unsigned i = 0; i < 3; i++) {
        memory[i] = aligned_alloc(BLOCK_BYTES, PIECE_BYTES);
        check(memory[i] != NULL);
    }
    long_read(memory[0], memory[1], memory[2]);
    for (unsigned i = 0; i < 3; i++) {
        free(memory[i]);
    }
}

static void io_uring_is_chosen_unless_it_is_refused(void)
{
    struct rt *chosen;
    unsetenv("TARN_RT");
    struct err *e = rt_linux_create(&(struct rt_linux_options){.backend = RT_LINUX_AUTO}, &chosen);
    expect_status(e, STATUS_OK);
    if (e) return;
    expect_str(rt_linux_backend_name(chosen), uring_refused ? "epoll" : "io_uring");
    expect((rt_linux_refusal(chosen) != NULL) == (uring_refused != NULL));
    rt_linux_destroy(chosen);
}

static bool linux_cases_failed(void)
{
    bool failed = tap_failed;
    tap_failed = false;
    return failed;
}

static const struct contract_case linux_cases[] = {
    CASE(sigterm_is_called_on_the_loop),
    CASE(a_transfer_longer_than_the_kernel_allows_is_whole),
};

int main(void)
{
    look_for_uring();
    for (where = ON_URING; where <= IN_SIM; where++) {
        run_cases(loop_cases, loop_case_count, loop_cases_failed);
        run_cases(file_cases, file_case_count, file_cases_failed);
        run_cases(sock_cases, sock_case_count, sock_cases_failed);
        if (where != IN_SIM) run_cases(linux_cases, countof(linux_cases), linux_cases_failed);
    }
    run(io_uring_is_chosen_unless_it_is_refused);
    return tap_done();
}
