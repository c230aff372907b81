/*
 * recover.h - what opening a pool and the engine share.  Threads: the pool's loop.
 */
#ifndef TARN_TIMELINE_RECOVER_H
#define TARN_TIMELINE_RECOVER_H

#include "timeline/timeline.h"
#include "timeline/timeline_int.h"

struct tl_pool *pool_new(struct rt *rt, const struct volume_pool_options *options);
void pool_start(struct tl_pool *p); /* the file is there */
/* The pool failed while it was being opened. */
void open_failed(struct tl_pool *p);

/* Frees what opening held: a crash in the middle. */
void open_free(struct open_op *op);

#endif
