#include "rt/rt_linux.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "rt/rt_linux_int.h"

enum { DEFAULT_QUEUE_DEPTH = 1024, REAP_BATCH = 64 };

/* ---- Time and randomness ---- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    check(clock_gettime(clock, &t) == 0);
    return (uint64_t)t.tv_sec * RT_SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t linux_now(struct rt *rt)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t linux_wall(struct rt *rt)
{
    return clock_ns(CLOCK_REALTIME);
}

static void linux_random(struct rt *rt, void *to, size_t size_bytes)
{
    uint8_t *at = to;
    while (size_bytes > 0) {
        ssize_t n = getrandom(at, size_bytes, 0);
        if (n < 0 && errno == EINTR) continue;
        check(n > 0); /* cannot fail on a kernel that has io_uring */
        at += n;
        size_bytes -= (size_t)n;
    }
}

/* ---- Mail from other threads ---- */

static bool linux_on_loop(struct rt *rt)
{
    return pthread_equal(pthread_self(), rt_linux_of(rt)->loop_thread) != 0;
}

static void wake(struct rt_linux *l)
{
    uint64_t one = 1;
    ssize_t n = write(l->wake_fd, &one, sizeof one);
    check(n == sizeof one || errno == EAGAIN); /* EAGAIN: the counter is full, so it is awake */
}

void rt_linux_mail(struct rt_linux *l, struct list *to, struct list_node *node)
{
    pthread_mutex_lock(&l->lock);
    bool first = !atomic_load_explicit(&l->mail, memory_order_relaxed);
    list_push_back(to, node);
    atomic_store_explicit(&l->mail, true, memory_order_relaxed);
    pthread_mutex_unlock(&l->lock);
    if (first && !linux_on_loop(&l->base)) wake(l);
}

static void linux_post(struct rt *rt, struct rt_message *message)
{
    struct rt_linux *l = rt_linux_of(rt);
    rt_linux_mail(l, &l->posted, &message->link);
}

static void run_mail(struct rt_linux *l)
{
    struct list posted, works;
    if (!atomic_load_explicit(&l->mail, memory_order_relaxed)) return;
    list_init(&posted);
    list_init(&works);
    pthread_mutex_lock(&l->lock);
    list_splice_back(&posted, &l->posted);
    list_splice_back(&works, &l->works_done);
    atomic_store_explicit(&l->mail, false, memory_order_relaxed);
    pthread_mutex_unlock(&l->lock);
    while (!list_is_empty(&posted)) {
        struct rt_message *message = list_entry(list_pop_front(&posted), struct rt_message, link);
        message->fn(message);
    }
    while (!list_is_empty(&works)) {
        struct rt_work *work = list_entry(list_pop_front(&works), struct rt_work, link);
        work->done(work);
    }
}

static void linux_stop(struct rt *rt)
{
    struct rt_linux *l = rt_linux_of(rt);
    atomic_store(&l->stop, true);
    if (!linux_on_loop(rt)) wake(l);
}

/* ---- The ring ---- */

struct io_uring_sqe *rt_linux_sqe(struct rt_linux *l)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);
    if (!sqe && l->ring_enabled) {
        io_uring_submit(&l->ring);
        sqe = io_uring_get_sqe(&l->ring);
    }
    return sqe;
}

void rt_linux_tag(struct io_uring_sqe *sqe, void *pointer, enum rt_linux_tag tag)
{
    check(((uintptr_t)pointer & TAG_MASK) == 0);
    io_uring_sqe_set_data64(sqe, (uintptr_t)pointer | tag);
}

/* Requests that are always there, and those that found no place in the ring. */
static void arm(struct rt_linux *l)
{
    struct io_uring_sqe *sqe;
    if (!l->wake_armed && (sqe = rt_linux_sqe(l))) {
        io_uring_prep_read(sqe, l->wake_fd, &l->wake_value, sizeof l->wake_value, 0);
        rt_linux_tag(sqe, NULL, TAG_WAKE);
        l->wake_armed = true;
    }
    if (l->signal_fd >= 0 && !l->signal_armed && (sqe = rt_linux_sqe(l))) {
        io_uring_prep_poll_add(sqe, l->signal_fd, POLLIN);
        rt_linux_tag(sqe, NULL, TAG_SIGNAL);
        l->signal_armed = true;
    }
    if (l->listeners_unarmed) rt_linux_listeners_arm(l);
    while (!list_is_empty(&l->waiting_files)) {
        struct rt_file_io *io = list_entry(list_front(&l->waiting_files), struct rt_file_io, link);
        list_remove(&io->link);
        if (rt_linux_file_issue(l, io)) continue;
        list_push_front(&l->waiting_files, &io->link);
        break;
    }
    while (!list_is_empty(&l->waiting_socks)) {
        struct rt_sock_io *io = list_entry(list_front(&l->waiting_socks), struct rt_sock_io, link);
        list_remove(&io->link);
        if (rt_linux_sock_issue(l, io)) continue;
        list_push_front(&l->waiting_socks, &io->link);
        break;
    }
}

static void take_signals(struct rt_linux *l)
{
    struct signalfd_siginfo info;
    l->signal_armed = false;
    while (read(l->signal_fd, &info, sizeof info) == sizeof info) {
        l->signal_fn(l->signal_arg, (int)info.ssi_signo);
    }
}

static void complete(struct rt_linux *l, uint64_t data, int result)
{
    void *pointer = (void *)(uintptr_t)(data & ~(uint64_t)TAG_MASK);
    switch ((enum rt_linux_tag)(data & TAG_MASK)) {
    case TAG_FILE:
        rt_linux_file_complete(l, pointer, result);
        return;
    case TAG_SOCK:
        rt_linux_sock_complete(l, pointer, result);
        return;
    case TAG_LISTENER:
        rt_linux_listener_complete(l, pointer, result);
        return;
    case TAG_WAKE:
        l->wake_armed = false;
        return;
    case TAG_SIGNAL:
        take_signals(l);
        return;
    case TAG_NONE:
        return;
    case TAG_MASK:
        break;
    }
    unreachable("unknown completion");
}

/* Takes what has completed by now; what completes meanwhile waits for the next turn. */
static void reap(struct rt_linux *l)
{
    struct io_uring_cqe *cqes[REAP_BATCH];
    unsigned left = io_uring_cq_ready(&l->ring);
    while (left > 0) {
        uint64_t data[REAP_BATCH];
        int results[REAP_BATCH];
        unsigned n = io_uring_peek_batch_cqe(&l->ring, cqes, min_of(left, (unsigned)REAP_BATCH));
        if (n == 0) return;
        for (unsigned i = 0; i < n; i++) {
            data[i] = cqes[i]->user_data;
            results[i] = cqes[i]->res;
        }
        io_uring_cq_advance(&l->ring, n); /* callbacks may submit and so need room */
        for (unsigned i = 0; i < n; i++) {
            complete(l, data[i], results[i]);
        }
        left -= n;
    }
}

static bool has_work(struct rt_linux *l)
{
    return atomic_load(&l->stop) || atomic_load(&l->mail) || l->buffers_returned ||
           !list_is_empty(&l->ready_files) || !list_is_empty(&l->ready_socks) ||
           !list_is_empty(&l->closing_socks);
}

/* Submits everything in one call and sleeps in the same call unless something waits to be run. */
static void submit_and_wait(struct rt_linux *l)
{
    struct io_uring_cqe *cqe;
    struct rt_timer *first = rt_timers_first(&l->base.timers);
    uint64_t now = first ? linux_now(&l->base) : 0;
    int code;
    if (has_work(l) || (first && first->deadline_ns <= now)) {
        code = io_uring_submit_and_get_events(&l->ring);
    } else if (first) {
        uint64_t wait = first->deadline_ns - now;
        struct __kernel_timespec limit = {.tv_sec = (long long)(wait / RT_SECOND),
                                          .tv_nsec = (long long)(wait % RT_SECOND)};
        code = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &limit, NULL);
    } else {
        code = io_uring_submit_and_wait(&l->ring, 1);
    }
    check(code >= 0 || code == -ETIME || code == -EINTR || code == -EAGAIN || code == -EBUSY);
}

static void run_ready(struct rt_linux *l)
{
    struct list files, socks;
    list_init(&files);
    list_init(&socks);
    list_splice_back(&files, &l->ready_files);
    list_splice_back(&socks, &l->ready_socks);
    while (!list_is_empty(&files)) {
        struct rt_file_io *io = list_entry(list_pop_front(&files), struct rt_file_io, link);
        io->done(io);
    }
    while (!list_is_empty(&socks)) {
        struct rt_sock_io *io = list_entry(list_pop_front(&socks), struct rt_sock_io, link);
        io->done(io);
    }
    rt_linux_socks_run_closing(l);
}

static void begin_loop(struct rt_linux *l)
{
    /* The ring belongs to the thread that enables it (liburing 2.3 forgets to export the call). */
    if (l->ring.flags & IORING_SETUP_R_DISABLED) {
        long code =
            syscall(__NR_io_uring_register, l->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
        check(code == 0);
    }
    l->ring_enabled = true;
    if (!linux_on_loop(&l->base)) l->loop_thread = pthread_self();
}

static void linux_run(struct rt *rt)
{
    struct rt_linux *l = rt_linux_of(rt);
    check(!l->is_running);
    if (!l->ring_enabled) {
        begin_loop(l);
    }
    check(linux_on_loop(rt)); /* the ring belongs to the first thread that ran it */
    l->is_running = true;
    while (!atomic_load(&l->stop)) {
        arm(l);
        submit_and_wait(l);
        reap(l);
        run_mail(l);
        run_ready(l);
        if (rt->timers.count) rt_timers_run(&rt->timers, linux_now(rt));
        if (l->buffers_returned) {
            l->buffers_returned = false;
            rt_buffers_run_waiters(&rt->buffers);
        }
    }
    atomic_store(&l->stop, false);
    l->is_running = false;
}

static void linux_timers_changed(struct rt *rt)
{
    /* Looked at before every sleep. */
}

static void linux_buffers_returned(struct rt *rt)
{
    rt_linux_of(rt)->buffers_returned = true;
}

/* ---- Create and destroy ---- */

static const struct rt_ops linux_ops = {
    .now = linux_now,
    .wall = linux_wall,
    .random = linux_random,
    .run = linux_run,
    .stop = linux_stop,
    .on_loop = linux_on_loop,
    .timers_changed = linux_timers_changed,
    .buffers_returned = linux_buffers_returned,
    .post = linux_post,
    .worker_create = rt_linux_worker_create,
    .worker_destroy = rt_linux_worker_destroy,
    .work = rt_linux_work,
    .file_open = rt_linux_file_open,
    .file_close = rt_linux_file_close,
    .file_submit = rt_linux_file_submit,
    .bfile_open = rt_linux_bfile_open,
    .bfile_read = rt_linux_bfile_read,
    .bfile_write = rt_linux_bfile_write,
    .bfile_truncate = rt_linux_bfile_truncate,
    .bfile_sync = rt_linux_bfile_sync,
    .bfile_size = rt_linux_bfile_size,
    .bfile_close = rt_linux_bfile_close,
    .path_delete = rt_linux_path_delete,
    .path_rename = rt_linux_path_rename,
    .path_exists = rt_linux_path_exists,
    .path_make_directory = rt_linux_path_make_directory,
    .listen = rt_linux_listen,
    .listener_close = rt_linux_listener_close,
    .sock_submit = rt_linux_sock_submit,
    .sock_close = rt_linux_sock_close,
};

/* The fast flags came with 6.0 and 6.1; without them everything works, a little slower. */
static struct err *create_ring(struct rt_linux *l, unsigned queue_depth)
{
    static const unsigned flags[] = {
        IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0};
    int code = 0;
    for (unsigned i = 0; i < countof(flags); i++) {
        struct io_uring_params params = {.flags =
                                             flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                         .cq_entries = 4 * queue_depth};
        code = io_uring_queue_init_params(queue_depth, &l->ring, &params);
        if (code == 0) {
            l->ring_exists = true;
            return NULL;
        }
    }
    return err_next(err_from_code(-code, "set up io_uring"),
                    "allow io_uring (sysctl kernel.io_uring_disabled, container profile)");
}

struct err *rt_linux_create(const struct rt_linux_options *options, struct rt **ret_rt)
{
    struct rt_linux *l = calloc(1, sizeof *l);
    if (!l) return err_new(STATUS_NO_MEMORY, "no memory for the runtime");
    struct err *e =
        rt_init(&l->base, &linux_ops, options->buffer_bytes ? options->buffer_bytes : 128 * MIB);
    if (e) {
        free(l);
        return e;
    }
    struct list *lists[] = {&l->posted,        &l->works_done,    &l->ready_files,
                            &l->ready_socks,   &l->waiting_files, &l->waiting_socks,
                            &l->closing_socks, &l->socks,         &l->listeners};
    for (unsigned i = 0; i < countof(lists); i++) {
        list_init(lists[i]);
    }
    pthread_mutex_init(&l->lock, NULL);
    l->loop_thread = pthread_self();
    l->signal_fd = -1;
    l->wake_fd = eventfd(0, EFD_CLOEXEC);
    e = l->wake_fd < 0
            ? err_from_errno("create an eventfd")
            : create_ring(l, options->queue_depth ? options->queue_depth : DEFAULT_QUEUE_DEPTH);
    if (e) {
        rt_linux_destroy(&l->base);
        return e;
    }
    *ret_rt = &l->base;
    return NULL;
}

void rt_linux_destroy(struct rt *rt)
{
    if (!rt) return;
    struct rt_linux *l = rt_linux_of(rt);
    check(!l->is_running);
    if (l->ring_exists) io_uring_queue_exit(&l->ring);
    rt_linux_socks_destroy(l);
    if (l->wake_fd >= 0) close(l->wake_fd);
    if (l->signal_fd >= 0) close(l->signal_fd);
    pthread_mutex_destroy(&l->lock);
    rt_fini(rt);
    free(l);
}

struct err *rt_linux_on_signal(struct rt *rt, void (*fn)(void *arg, int signal), void *arg)
{
    struct rt_linux *l = rt_linux_of(rt);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    if (l->signal_fd < 0) {
        int code = pthread_sigmask(SIG_BLOCK, &signals, NULL);
        if (code) return err_from_code(code, "block signals");
        l->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
        if (l->signal_fd < 0) return err_from_errno("create a signalfd");
    }
    l->signal_fn = fn;
    l->signal_arg = arg;
    return NULL;
}
