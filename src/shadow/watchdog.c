/*
 * watchdog.c - a process that only waits, and thaws when it must.
 *
 * It has one thread per file system, so that one thaw that blocks does not hold up the others, and
 * takes no signal that can be refused.  It allocates nothing once it has said that it is ready.
 */
#include "shadow/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STACK_BYTES = 256 * 1024, STAGGER_MS = 50, RETRY_MS = 10, RETRIES_AFTER_DEATH = 1000 };

static const struct watch *watched;
static atomic_int gone;                        /* the requester does not live any more */
static atomic_int finished[SHADOW_MOUNTS_MAX]; /* the thread has nothing left to do */
static atomic_int passed[SHADOW_MOUNTS_MAX];   /* its first round is over */

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Reverse order, where nothing blocks: waits a little for the one that was frozen after this one.
 */
static void wait_for_turn(unsigned index)
{
    if (index + 1 == watched->count) return;
    unsigned waits = (watched->count - index - 1) * STAGGER_MS;
    while (waits-- > 0 && !atomic_load(&passed[index + 1]))
        sleep_ms(1);
}

static void *thaw_one(void *arg)
{
    unsigned index = (unsigned)(uintptr_t)arg, retries = 0;
    atomic_int *state = &watched->shared->state[index];
    while (!atomic_load(&watched->shared->fired))
        sleep_ms(RETRY_MS);
    wait_for_turn(index);
    for (;;) {
        bool is_gone =
            atomic_load(&gone); /* before the state: after death it does not change any more */
        int now = atomic_load(state);
        /* While the requester lives, its freeze comes to an end by itself and becomes FROZEN.  When
         * it is gone, all its threads have ended, and a freeze that was under way may have
         * succeeded. */
        if (now == WATCH_FROZEN || (now == WATCH_FREEZING && is_gone)) {
            int error = watched->ops->thaw(watched->fds[index]);
            if (error == 0 || error == EINVAL)
                atomic_compare_exchange_strong(state, &now, WATCH_THAWED);
            else if (is_gone && ++retries > RETRIES_AFTER_DEATH)
                break;
        } else if (is_gone) {
            break;
        }
        atomic_store(&passed[index], 1);
        sleep_ms(RETRY_MS);
    }
    atomic_store(&passed[index], 1);
    atomic_store(&finished[index], 1);
    return NULL;
}

/* Keeps the mount points and the channel, nothing else: a pipe held open here would keep others
 * waiting. */
static void close_others(int channel)
{
    int null_fd = open("/dev/null", O_RDWR);
    for (int fd = 0; null_fd >= 0 && fd < 3; fd++)
        dup2(null_fd, fd);
    long limit = sysconf(_SC_OPEN_MAX);
    if (limit < 0 || limit > 65536) limit = 65536;
    for (int fd = 3; fd < (int)limit; fd++) {
        bool keep = fd == channel;
        for (unsigned i = 0; i < watched->count && !keep; i++)
            keep = fd == watched->fds[i];
        if (!keep) close(fd);
    }
}

static void become_steady(void)
{
    static const int ignored[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGTSTP,
                                  SIGTTIN, SIGTTOU, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < countof(ignored); i++)
        signal(ignored[i], SIG_IGN);
    setsid();
    (void)!chdir("/");
    prctl(PR_SET_NAME, "tarn-watchdog");
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "-1000", 5);
        close(fd);
    }
    /* Both are wishes: without them it still does its work. */
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    (void)mlockall(MCL_CURRENT | MCL_FUTURE);
}

static bool start_threads(void)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    bool ok = true;
    for (unsigned i = 0; i < watched->count && ok; i++) {
        pthread_t thread;
        ok = pthread_create(&thread, &attributes, thaw_one, (void *)(uintptr_t)i) == 0;
    }
    pthread_attr_destroy(&attributes);
    return ok;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool anything_to_thaw(void)
{
    for (unsigned i = 0; i < watched->count; i++) {
        int state = atomic_load(&watched->shared->state[i]);
        if (state == WATCH_FREEZING || state == WATCH_FROZEN) return true;
    }
    return false;
}

static void thaw_after_death(void)
{
    if (!anything_to_thaw()) return;
    atomic_store(&gone, 1);
    atomic_store(&watched->shared->fired, 1);
    for (unsigned i = 0; i < watched->count; i++) {
        while (!atomic_load(&finished[i]))
            sleep_ms(RETRY_MS);
    }
}

_Noreturn void watchdog_main(const struct watch *watch, int channel, unsigned hold_ms)
{
    watched = watch;
    close_others(channel);
    become_steady();
    const char ready = WATCH_SAY_READY;
    if (!start_threads() || send(channel, &ready, 1, MSG_NOSIGNAL) != 1) _exit(1);
    int64_t deadline_ms = -1;
    for (;;) {
        int wait_ms = -1;
        if (deadline_ms >= 0) wait_ms = (int)max_of(deadline_ms - now_ms(), (int64_t)0);
        struct pollfd look = {.fd = channel, .events = POLLIN};
        int count = poll(&look, 1, wait_ms);
        if (count == 0) {
            atomic_store(&watched->shared->fired, 1);
            deadline_ms = -1;
        }
        if (count <= 0) continue;
        char said = 0;
        ssize_t got = recv(channel, &said, 1, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got == 1 && said == WATCH_SAY_START) deadline_ms = now_ms() + hold_ms;
        if (got == 1 && said == WATCH_SAY_DONE) _exit(0);
        if (got <= 0) {
            thaw_after_death();
            _exit(0);
        }
    }
}
