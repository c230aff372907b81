/*
 * alloc.h - which blocks of the pool are taken: two bitmaps, a next-fit search and the queue of
 * freed blocks that may not be reused yet (E6, E18).
 *
 * Words: TAKEN blocks may not be handed out (data, reserved for batches in flight, metadata, the
 * queue). WRITTEN blocks are what a checkpoint records: data of published batches and leaves (E27).
 *
 *     n = alloc_take(&a, 64, &block);          // up to 64 blocks in one run; 0 = nothing free
 *     alloc_mark_written(&a, block, n);         // at publication
 *     alloc_unmark_written(...); alloc_queue_push(&a, block, n, seq);   // superseded by batch seq
 *     alloc_queue_release(&a, drec, oldest_reader_mark);                // back to free
 *
 * Threads: the pool's loop.  Ownership: fixed memory; the queue grows by malloc.
 */
#ifndef TARN_POOL_ALLOC_H
#define TARN_POOL_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/format.h"

struct alloc_queued {
    uint64_t block, seq, clock;
    uint32_t count;
};

struct alloc {
    uint64_t start, end;       /* blocks [start, end) can be handed out */
    uint64_t *taken, *written; /* one bit per block of the pool */
    uint32_t *group_free;      /* free blocks per group of bits */
    bool *page_is_dirty;       /* per bitmap page: written bits changed since the last checkpoint */
    uint64_t group_count, free_count, written_count;
    uint64_t cursor;
    struct alloc_queued *queue; /* ring */
    uint64_t queue_head, queue_count, queue_capacity, queue_blocks;
    uint64_t clock; /* counts pushes; readers hold a mark of it (E17) */
};

void alloc_init(struct alloc *a, uint64_t start, uint64_t end);
void alloc_fini(struct alloc *a);
uint32_t alloc_take(struct alloc *a, uint32_t want, uint64_t *ret_block);
void alloc_take_exact(struct alloc *a, uint64_t block,
                      uint64_t count); /* recovery; fine if taken */
void alloc_give_back(struct alloc *a, uint64_t block,
                     uint64_t count); /* never reached the disk's map */
void alloc_mark_written(struct alloc *a, uint64_t block, uint64_t count);
void alloc_unmark_written(struct alloc *a, uint64_t block, uint64_t count);
/* Recovery: the written bits of one bitmap page as stored; false when one is outside of the data
 * area. */
bool alloc_load_page(struct alloc *a, uint64_t page, const void *bits);
/* Recovery: everything written is taken. */
void alloc_take_written(struct alloc *a);
bool alloc_is_taken(const struct alloc *a, uint64_t block);
bool alloc_is_written(const struct alloc *a, uint64_t block);
void alloc_queue_push(struct alloc *a, uint64_t block, uint32_t count, uint64_t seq);
/* Frees from the front what batches <= drec freed and no reader older than oldest_mark can see;
 * calls trimmed for each run unless NULL (which then owns the run until alloc_give_back). */
uint64_t alloc_queue_release(struct alloc *a, uint64_t drec, uint64_t oldest_mark,
                             void (*trim)(void *arg, uint64_t block, uint32_t count), void *arg);
/* The run at place i of the queue, 0 the front; false: no such place. */
bool alloc_queue_peek(const struct alloc *a, uint64_t i, uint64_t *ret_block, uint32_t *ret_count);
/* The sequence at the front of the queue; 0 when empty. */
uint64_t alloc_queue_oldest(const struct alloc *a);
uint64_t alloc_page_count(const struct alloc *a); /* bitmap pages that cover the pool */

#endif
