/*
 * window.h - a run of blocks that a background job copies into a disk (promote.c, replace.c).
 *
 * The job fills lba, blocks, kinds, wanted_count and the data in buf, and pins the disk's leaf; window_write gives
 * that to a batch when there is room for it.  Copies come behind everybody else (E13).
 *
 *     window_init(&w, pool, disk);
 *     ... choose, read ...
 *     if (window_write(&w, &how, &status)) ... how.published follows, as for any batch
 *     else if (status == STATUS_OK) ... again at the next pump
 *     window_fini(&w);
 *
 * Threads: the pool's loop.  Ownership: embedded in the job; the buffer is the window's own, the leaf's pin the
 * job's.  Failures: POOL_FULL when neither checkpoints nor the sweep make space.
 */
#ifndef TARN_TIMELINE_WINDOW_H
#define TARN_TIMELINE_WINDOW_H

#include "timeline/engine.h"
#include "timeline/map.h"

enum { WINDOW_BLOCKS = FORMAT_BATCH_MAX_BLOCKS };

enum block_kind { BLOCK_SKIP, BLOCK_HOLE, BLOCK_DATA };

struct window {
    struct tl_pool *pool;
    struct tl_disk *disk;
    uint64_t lba;
    uint32_t blocks;
    enum block_kind kinds[WINDOW_BLOCKS];
    uint32_t wanted_count; /* not BLOCK_SKIP; 0 only where nothing is written */
    struct leaf *leaf;     /* of the disk, at lba; pinned; NULL: not yet */
    uint8_t *buf;
    uint64_t space_checkpoint; /* the checkpoint at which a wait for space is over; 0 = none */
};

struct window_how {
    uint8_t flags;       /* WAL_FILED or WAL_STAGED */
    uint64_t generation; /* of FILED copies (E20); 0: the batch's own */
    void (*published)(struct batch *b, enum status status);
    void *arg; /* b->arg */
};

void window_init(struct window *w, struct tl_pool *pool, struct tl_disk *disk);
void window_fini(struct window *w);
/* false: *ret_status says why not ever, or is OK: not yet, and a pump follows when that may have changed. */
bool window_write(struct window *w, const struct window_how *how, enum status *ret_status);
/* Begins a new wait for space. */
void window_wait_anew(struct window *w);

#endif
