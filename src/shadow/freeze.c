/*
 * freeze.c - the side of the hold that lives in our process (freeze.h); the watchdog is in
 * watchdog.c.
 */
#include "shadow/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "shadow/watchdog.h"

enum { HELPER_STACK_BYTES = 256 * 1024, NS_PER_MS = 1000 * 1000, READY_TIMEOUT_MS = 5000 };

struct freezer {
    struct watch watch; /* what the watchdog inherits */
    unsigned hold_ms;
    bool allow_unsupported;
    char *mounts[SHADOW_MOUNTS_MAX];
    struct freeze_result results[SHADOW_MOUNTS_MAX];
    uint64_t begun_ns[SHADOW_MOUNTS_MAX];
    uint64_t first_begun_ns, last_ended_ns;
    int channel; /* to the watchdog; its end of file means that we are gone */
    pid_t watchdog;
    bool has_helper, timed_out, watchdog_lost;
    pthread_t helper;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool go, done, quit; /* under the mutex */
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int kernel_freeze(int fd)
{
    return ioctl(fd, FIFREEZE, 0) == 0 ? 0 : errno;
}

static int kernel_thaw(int fd)
{
    return ioctl(fd, FITHAW, 0) == 0 ? 0 : errno;
}

static const struct freeze_ops kernel_ops = {kernel_freeze, kernel_thaw};

static bool is_unsupported(int error)
{
    return error == EOPNOTSUPP || error == ENOTTY || error == ENOSYS;
}

/* ---- The helper thread ---- */

static void freeze_all(struct freezer *f)
{
    struct watch *w = &f->watch;
    for (unsigned i = 0; i < w->count; i++) {
        struct freeze_result *r = &f->results[i];
        /* First the state, then the look at `fired`: the watchdog does it the other way round, so
         * that one of the two always sees the other. */
        atomic_store(&w->shared->state[i], WATCH_FREEZING);
        if (atomic_load(&w->shared->fired)) {
            atomic_store(&w->shared->state[i], WATCH_IDLE);
            r->freeze_error = ETIMEDOUT;
            return;
        }
        f->begun_ns[i] = now_ns();
        r->freeze_error = w->ops->freeze(w->fds[i]);
        r->was_frozen = r->freeze_error == 0;
        atomic_store(&w->shared->state[i], r->was_frozen ? WATCH_FROZEN : WATCH_IDLE);
        if (r->freeze_error && !(f->allow_unsupported && is_unsupported(r->freeze_error))) return;
    }
}

static void *helper_main(void *arg)
{
    struct freezer *f = arg;
    pthread_mutex_lock(&f->mutex);
    while (!f->go && !f->quit)
        pthread_cond_wait(&f->changed, &f->mutex);
    bool quit = f->quit;
    pthread_mutex_unlock(&f->mutex);
    if (!quit) freeze_all(f);
    pthread_mutex_lock(&f->mutex);
    f->done = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mutex);
    return NULL;
}

static struct err *start_helper(struct freezer *f)
{
    pthread_condattr_t monotonic;
    pthread_attr_t attributes;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&f->mutex, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, HELPER_STACK_BYTES);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&f->helper, &attributes, helper_main, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (code) return err_from_code(code, "start the thread that freezes");
    f->has_helper = true;
    return NULL;
}

/* Waits for the helper until `deadline_ns`; true when it has finished. */
static bool wait_for_helper(struct freezer *f, uint64_t deadline_ns)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                             .tv_nsec = (long)(deadline_ns % 1000000000u)};
    pthread_mutex_lock(&f->mutex);
    int code = 0;
    while (!f->done && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&f->changed, &f->mutex, &until);
    bool done = f->done;
    pthread_mutex_unlock(&f->mutex);
    return done;
}

/* ---- Making and ending ---- */

static struct err *start_watchdog(struct freezer *f)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return err_from_errno("start the watchdog");
    f->watchdog = fork();
    if (f->watchdog == 0) {
        close(ends[0]); /* ours alone: its end of file must mean that the requester is gone */
        watchdog_main(&f->watch, ends[1], f->hold_ms);
    }
    int code = errno;
    close(ends[1]);
    if (f->watchdog < 0) {
        close(ends[0]);
        return err_from_code(code, "start the watchdog");
    }
    f->channel = ends[0];
    struct timeval limit = {.tv_sec = READY_TIMEOUT_MS / 1000};
    char ready = 0;
    setsockopt(f->channel, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (recv(f->channel, &ready, 1, 0) != 1 || ready != WATCH_SAY_READY) {
        return err_new(STATUS_OS_ERROR, "the watchdog did not start; nothing was frozen");
    }
    return NULL;
}

/* The watchdog puts /dev/null on 0 to 2; none of ours may be there, even when we were started
 * without them. */
static void fill_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd < 3);
    if (fd >= 0) close(fd);
}

static struct err *open_mounts(struct freezer *f, const char *const *mounts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        f->mounts[i] = strdup(mounts[i]);
        if (!f->mounts[i]) return err_new(STATUS_NO_MEMORY, "open %s", mounts[i]);
        f->watch.fds[i] = open(mounts[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (f->watch.fds[i] < 0) return err_from_errno("open %s", mounts[i]);
        f->watch.count = i + 1;
    }
    return NULL;
}

struct err *freezer_create(const struct freeze_ops *ops, const char *const *mounts, unsigned count,
                           unsigned hold_ms, bool allow_unsupported, struct freezer **ret_freezer)
{
    check(count > 0 && count <= SHADOW_MOUNTS_MAX);
    struct freezer *f = calloc(1, sizeof *f);
    if (!f) return err_new(STATUS_NO_MEMORY, "prepare the freeze");
    f->hold_ms = hold_ms;
    f->allow_unsupported = allow_unsupported;
    f->channel = -1;
    f->watch.ops = ops ? ops : &kernel_ops;
    f->watch.shared = mmap(NULL, sizeof *f->watch.shared, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct err *e = NULL;
    fill_standard_descriptors();
    if (f->watch.shared == MAP_FAILED) {
        f->watch.shared = NULL;
        e = err_from_errno("prepare the freeze");
    }
    if (!e) e = open_mounts(f, mounts, count);
    if (!e) e = start_watchdog(f); /* before the helper thread: fork likes one thread */
    if (!e) e = start_helper(f);
    if (e) {
        freezer_destroy(f);
        return e;
    }
    /* Nothing of us may have to be read from a frozen file system.  Without the right to lock
     * memory it still works: reading a frozen file system does not block. */
    (void)mlockall(MCL_CURRENT | MCL_FUTURE);
    *ret_freezer = f;
    return NULL;
}

static bool is_anything_frozen(const struct freezer *f)
{
    for (unsigned i = 0; i < f->watch.count; i++) {
        if (atomic_load(&f->watch.shared->state[i]) == WATCH_FROZEN) return true;
    }
    return false;
}

void freezer_destroy(struct freezer *f)
{
    if (!f) return;
    if (f->has_helper) {
        pthread_mutex_lock(&f->mutex);
        f->quit = true;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->mutex);
        pthread_join(f->helper, NULL);
        pthread_mutex_destroy(&f->mutex);
        pthread_cond_destroy(&f->changed);
    }
    if (f->channel >= 0) {
        const char done = WATCH_SAY_DONE;
        /* A thaw of ours that failed is still its business: it thaws when it finds us gone. */
        if (!is_anything_frozen(f)) (void)send(f->channel, &done, 1, MSG_NOSIGNAL);
        close(f->channel);
    }
    if (f->watchdog > 0) waitpid(f->watchdog, NULL, 0);
    (void)munlockall();
    for (unsigned i = 0; i < f->watch.count; i++)
        close(f->watch.fds[i]);
    for (unsigned i = 0; i < SHADOW_MOUNTS_MAX; i++)
        free(f->mounts[i]);
    if (f->watch.shared) munmap(f->watch.shared, sizeof *f->watch.shared);
    free(f);
}

/* ---- The hold ---- */

enum status freezer_freeze(struct freezer *f)
{
    const char start = WATCH_SAY_START;
    if (send(f->channel, &start, 1, MSG_NOSIGNAL) != 1) {
        f->watchdog_lost = true; /* nobody would thaw after us */
        return STATUS_OS_ERROR;
    }
    f->first_begun_ns = now_ns();
    pthread_mutex_lock(&f->mutex);
    f->go = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mutex);
    if (!wait_for_helper(f, f->first_begun_ns + (uint64_t)f->hold_ms * NS_PER_MS)) {
        f->timed_out = true;
        return STATUS_TIMED_OUT;
    }
    for (unsigned i = 0; i < f->watch.count; i++) {
        int error = f->results[i].freeze_error;
        if (error && !(f->allow_unsupported && is_unsupported(error))) return STATUS_OS_ERROR;
    }
    return STATUS_OK;
}

/* Thaws in reverse what is frozen and not thawed by us yet. */
static bool thaw_frozen(struct freezer *f, bool thawed[SHADOW_MOUNTS_MAX])
{
    bool held = true;
    for (unsigned i = f->watch.count; i > 0; i--) {
        struct freeze_result *r = &f->results[i - 1];
        int state = atomic_load(&f->watch.shared->state[i - 1]);
        bool is_ours = state == WATCH_FROZEN || state == WATCH_THAWED;
        if (!is_ours || thawed[i - 1]) continue;
        thawed[i - 1] = true;
        r->thaw_error = f->watch.ops->thaw(f->watch.fds[i - 1]);
        f->last_ended_ns = now_ns();
        r->frozen_ns = f->last_ended_ns - f->begun_ns[i - 1];
        /* Any other error leaves it to the watchdog, which goes on trying. */
        if (r->thaw_error == 0 || r->thaw_error == EINVAL)
            atomic_store(&f->watch.shared->state[i - 1], WATCH_THAWED);
        if (r->thaw_error) held = false;
    }
    return held;
}

bool freezer_thaw(struct freezer *f)
{
    bool thawed[SHADOW_MOUNTS_MAX] = {false};
    if (f->watchdog_lost) return false;
    bool held = thaw_frozen(f, thawed);
    /* A freeze that still runs may wait for what was just thawed; it must not outlive us. */
    while (!wait_for_helper(f, now_ns() + 20 * NS_PER_MS))
        held = thaw_frozen(f, thawed) && held;
    held = thaw_frozen(f, thawed) && held;
    return held && !f->timed_out;
}

void freezer_result(const struct freezer *f, unsigned index, struct freeze_result *ret_result)
{
    check(index < f->watch.count);
    *ret_result = f->results[index];
}

bool freezer_watchdog_fired(const struct freezer *f)
{
    return atomic_load(&f->watch.shared->fired) != 0;
}

uint64_t freezer_hold_ns(const struct freezer *f)
{
    return f->last_ended_ns > f->first_begun_ns ? f->last_ended_ns - f->first_begun_ns : 0;
}

static struct err *explain_freeze(const char *mount, int error)
{
    if (is_unsupported(error)) {
        struct err *e = err_new(STATUS_NOT_SUPPORTED, "this kind of file system cannot be frozen");
        return err_next(err_wrap(e, "freeze %s", mount),
                        "with --allow-crash-consistent it is copied as after a power failure");
    }
    struct err *e = err_from_code(error, "freeze %s", mount);
    if (error == EBUSY) {
        return err_next(err_wrap(e, "someone else has frozen it already"),
                        "wait for the other tool, or thaw it with: fsfreeze --unfreeze %s", mount);
    }
    return error == EPERM ? err_next(e, "freezing needs root (CAP_SYS_ADMIN)") : e;
}

struct err *freezer_explain(const struct freezer *f)
{
    if (f->watchdog_lost)
        return err_new(STATUS_OS_ERROR, "the watchdog is gone; nothing was frozen");
    for (unsigned i = 0; i < f->watch.count; i++) {
        int error = f->results[i].freeze_error;
        if (!error || error == ETIMEDOUT || (f->allow_unsupported && is_unsupported(error)))
            continue;
        return explain_freeze(f->mounts[i], error);
    }
    bool fired = freezer_watchdog_fired(f);
    for (unsigned i = 0; i < f->watch.count && !f->timed_out; i++) {
        int error = f->results[i].thaw_error;
        if (error == EINVAL) {
            return err_next(err_new(STATUS_TOO_LATE,
                                    "the hold on %s did not last until the cut: %s", f->mounts[i],
                                    fired ? "the watchdog thawed it" : "something else thawed it"),
                            fired ? "the storage or the server was slow; see how long each step "
                                    "took, or allow more with --timeout"
                                  : "see what else freezes file systems here (a hypervisor's guest "
                                    "agent, another backup)");
        }
        if (error) return err_from_code(error, "thaw %s", f->mounts[i]);
    }
    if (f->timed_out || fired) {
        return err_next(
            err_new(STATUS_TIMED_OUT,
                    "freezing took longer than the hold allows (%u ms); everything was thawed",
                    f->hold_ms),
            "write less just before, or allow more with --timeout (at most 10)");
    }
    return err_new(STATUS_INTERNAL, "the hold failed for no reason that is known");
}
