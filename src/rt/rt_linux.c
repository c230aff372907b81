#include "rt/rt_linux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "rt/rt_linux_int.h"

enum { DEFAULT_QUEUE_DEPTH = 1024 };

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
        check(n > 0); /* cannot fail since Linux 3.17 */
        at += n;
        size_bytes -= (size_t)n;
    }
}

/* ---- Pieces of memory ---- */

const struct iovec *rt_linux_rest(const struct iovec *iov, unsigned iov_count, size_t done,
                                  struct iovec *part, unsigned *ret_count)
{
    unsigned index = 0;
    size_t skip = 0;
    bool more = rt_iov_seek(iov, iov_count, done, &index, &skip);
    if (more && skip == 0) {
        *ret_count = iov_count - index;
        return &iov[index];
    }
    *part =
        (struct iovec){(uint8_t *)iov[index].iov_base + skip, more ? iov[index].iov_len - skip : 0};
    *ret_count = 1;
    return part;
}

void rt_linux_message(struct msghdr *message, const struct iovec *iov, unsigned iov_count)
{
    *message = (struct msghdr){.msg_iovlen = iov_count};
    memcpy(&message->msg_iov, &iov, sizeof iov); /* not const in POSIX, though nobody writes it */
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
    struct list posted, works, files;
    if (!atomic_load_explicit(&l->mail, memory_order_relaxed)) return;
    list_init(&posted);
    list_init(&works);
    list_init(&files);
    pthread_mutex_lock(&l->lock);
    list_splice_back(&posted, &l->posted);
    list_splice_back(&works, &l->works_done);
    list_splice_back(&files, &l->files_done);
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
    while (!list_is_empty(&files)) {
        struct rt_file_io *io = list_entry(list_pop_front(&files), struct rt_file_io, link);
        rt_linux_file_complete(l, io, (int)(int64_t)io->private_[RT_FILE_PRIVATE_RESULT]);
    }
}

static void linux_stop(struct rt *rt)
{
    struct rt_linux *l = rt_linux_of(rt);
    atomic_store(&l->stop, true);
    if (!linux_on_loop(rt)) wake(l);
}

/* ---- The loop ---- */

void rt_linux_take_signals(struct rt_linux *l)
{
    struct signalfd_siginfo info;
    while (read(l->signal_fd, &info, sizeof info) == sizeof info) {
        l->signal_fn(l->signal_arg, (int)info.ssi_signo);
    }
}

static bool has_work(struct rt_linux *l)
{
    return atomic_load(&l->stop) || atomic_load(&l->mail) || l->buffers_returned ||
           l->listeners_unarmed || !list_is_empty(&l->ready_socks) ||
           !list_is_empty(&l->closing_socks);
}

/* As rt_linux_ops.wait takes it. */
static uint64_t sleep_until(struct rt_linux *l)
{
    struct rt_timer *first = rt_timers_first(&l->base.timers);
    if (has_work(l)) return 0;
    return first ? first->deadline_ns : UINT64_MAX;
}

static void run_ready(struct rt_linux *l)
{
    struct list socks;
    list_init(&socks);
    list_splice_back(&socks, &l->ready_socks);
    while (!list_is_empty(&socks)) {
        struct rt_sock_io *io = list_entry(list_pop_front(&socks), struct rt_sock_io, link);
        io->done(io);
    }
    rt_linux_socks_run_closing(l);
}

static void linux_run(struct rt *rt)
{
    struct rt_linux *l = rt_linux_of(rt);
    check(!l->is_running);
    if (!l->has_begun) {
        l->ops->begin(l);
        l->has_begun = true;
        if (!linux_on_loop(rt)) l->loop_thread = pthread_self();
    }
    check(linux_on_loop(rt)); /* a ring belongs to the first thread that ran it */
    l->is_running = true;
    while (!atomic_load(&l->stop)) {
        if (l->listeners_unarmed) rt_linux_listeners_arm(l);
        l->ops->start(l);
        l->ops->wait(l, sleep_until(l));
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

/* What TARN_RT says takes the place of the automatic choice. */
static struct err *choose(enum rt_linux_backend *backend)
{
    const char *text = getenv("TARN_RT");
    if (*backend != RT_LINUX_AUTO || !text || !*text) return NULL;
    if (strcmp(text, "uring") == 0) {
        *backend = RT_LINUX_URING;
    } else if (strcmp(text, "epoll") == 0) {
        *backend = RT_LINUX_EPOLL;
    } else {
        return err_next(err_new(STATUS_BAD_CONFIG, "TARN_RT=%s is no runtime", text),
                        "set it to uring or epoll, or leave it out");
    }
    return NULL;
}

static struct err *create_backend(struct rt_linux *l, const struct rt_linux_options *options)
{
    enum rt_linux_backend backend = options->backend;
    TRY(choose(&backend));
    if (backend != RT_LINUX_EPOLL) {
        bool refused = false;
        struct err *e = rt_uring_create(
            l, options->queue_depth ? options->queue_depth : DEFAULT_QUEUE_DEPTH, &refused);
        if (!e || !refused) return e;
        e = err_next(e, "allow io_uring (sysctl kernel.io_uring_disabled, container profile, limit "
                        "of locked memory)");
        if (backend == RT_LINUX_URING) return e;
        l->refusal = e;
    }
    return rt_epoll_create(l);
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
    struct list *lists[] = {&l->posted,        &l->works_done, &l->files_done, &l->ready_socks,
                            &l->closing_socks, &l->socks,      &l->listeners};
    for (unsigned i = 0; i < countof(lists); i++) {
        list_init(lists[i]);
    }
    pthread_mutex_init(&l->lock, NULL);
    l->loop_thread = pthread_self();
    l->signal_fd = -1;
    l->wake_fd = eventfd(0, EFD_CLOEXEC);
    e = l->wake_fd < 0 ? err_from_errno("create an eventfd") : create_backend(l, options);
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
    if (l->backend) l->ops->destroy(l);
    l->backend = NULL;
    rt_linux_socks_destroy(l);
    err_free(l->refusal);
    if (l->wake_fd >= 0) close(l->wake_fd);
    if (l->signal_fd >= 0) close(l->signal_fd);
    pthread_mutex_destroy(&l->lock);
    rt_fini(rt);
    free(l);
}

const char *rt_linux_backend_name(struct rt *rt)
{
    return rt_linux_of(rt)->ops->name;
}

const struct err *rt_linux_refusal(struct rt *rt)
{
    return rt_linux_of(rt)->refusal;
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
