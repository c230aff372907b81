/*
 * rt_linux.h - the runtime on Linux: one loop over io_uring, or over epoll and threads that read and write
 * files where io_uring is refused (container profiles, old kernels, sysctl kernel.io_uring_disabled).
 *
 *     struct rt *rt;
 *     TRY(rt_linux_create(&(struct rt_linux_options){.buffer_bytes = 128 * MIB}, &rt));
 *     log_info("runtime", "backend=%s", rt_linux_backend_name(rt));
 *
 * Both behave alike (one contract test); io_uring is the faster one.  The environment variable TARN_RT
 * (uring or epoll) takes the place of the automatic choice, for tests.
 * Threads: rt_run's caller becomes the loop; until then the creating thread may call ON_LOOP functions.
 */
#ifndef TARN_RT_RT_LINUX_H
#define TARN_RT_RT_LINUX_H

#include "rt/rt.h"

enum rt_linux_backend {
    RT_LINUX_AUTO, /* io_uring, or epoll where io_uring is refused */
    RT_LINUX_URING,
    RT_LINUX_EPOLL,
};

struct rt_linux_options {
    uint64_t buffer_bytes;    /* bound of rt_buf_get; 0 = 128 MiB */
    unsigned queue_depth;     /* of the ring; 0 = 1024.  epoll has no ring and no bound */
    enum rt_linux_backend backend;
};

struct err *rt_linux_create(const struct rt_linux_options *options, struct rt **ret_rt) MUST_CHECK;
/* Everything opened must have been closed.  Accepts NULL. */
void rt_linux_destroy(struct rt *rt);
/* "io_uring" or "epoll". */
const char *rt_linux_backend_name(struct rt *rt);
/* Why io_uring was not taken; NULL unless it was refused.  For the log; belongs to rt. */
const struct err *rt_linux_refusal(struct rt *rt);
/* Calls fn on the loop when SIGTERM or SIGINT comes (through signalfd; the signals are blocked). */
struct err *rt_linux_on_signal(struct rt *rt, void (*fn)(void *arg, int signal), void *arg) MUST_CHECK;

#endif
