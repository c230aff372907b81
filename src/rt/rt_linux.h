/*
 * rt_linux.h - the runtime on Linux: io_uring for files and sockets, threads for workers.
 *
 *     struct rt *rt;
 *     TRY(rt_linux_create(&(struct rt_linux_options){.buffer_bytes = 128 * MIB}, &rt));
 *
 * Threads: rt_run's caller becomes the loop; until then the creating thread may call ON_LOOP functions.
 */
#ifndef TARN_RT_RT_LINUX_H
#define TARN_RT_RT_LINUX_H

#include "rt/rt.h"

struct rt_linux_options {
    uint64_t buffer_bytes;    /* bound of rt_buf_get; 0 = 128 MiB */
    unsigned queue_depth;     /* of the ring; 0 = 1024 */
};

struct err *rt_linux_create(const struct rt_linux_options *options, struct rt **ret_rt) MUST_CHECK;
/* Everything opened must have been closed.  Accepts NULL. */
void rt_linux_destroy(struct rt *rt);
/* Calls fn on the loop when SIGTERM or SIGINT comes (through signalfd; the signals are blocked). */
struct err *rt_linux_on_signal(struct rt *rt, void (*fn)(void *arg, int signal), void *arg) MUST_CHECK;

#endif
