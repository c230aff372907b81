/*
 * rt_epoll_pool.h - threads that read and write files by blocking calls, for rt_epoll.c.
 *
 * One queue, first come first served, of requests that are embedded in their owners: no bound is needed.
 * Each goes back by mail to the loop (rt_linux.files_done) with the result of its system call.  A sync covers
 * what had completed before it was submitted because it begins later; nothing else is promised, so any
 * thread may take it.
 * Threads: add and flush on the loop.
 */
#ifndef TARN_RT_RT_EPOLL_POOL_H
#define TARN_RT_RT_EPOLL_POOL_H

#include "rt/rt_linux_int.h"

struct rt_epoll_pool;

struct err *rt_epoll_pool_create(struct rt_linux *l, struct rt_epoll_pool **ret_pool) MUST_CHECK;
/* Waits for what is queued.  Accepts NULL. */
void rt_epoll_pool_destroy(struct rt_epoll_pool *pool);
/* Gathers requests, to hand over several at once; flush hands over what is left. */
void rt_epoll_pool_add(struct rt_epoll_pool *pool, struct rt_file_io *io);
void rt_epoll_pool_flush(struct rt_epoll_pool *pool);

#endif
