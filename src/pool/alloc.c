/* alloc.c - the two bitmaps, next-fit, and the queue of E18. */
#include "pool/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"

enum {
    GROUP_BITS = 32768,
    GOOD_RUN = 8,       /* runs shorter than this are taken only when none is near */
    SEARCH_BITS = 1024, /* how far behind the first free block to look for a good run */
};

static bool get(const uint64_t *bits, uint64_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static void put(uint64_t *bits, uint64_t i, bool value)
{
    uint64_t mask = (uint64_t)1 << (i % 64);
    if (value)
        bits[i / 64] |= mask;
    else
        bits[i / 64] &= ~mask;
}

void alloc_init(struct alloc *a, uint64_t start, uint64_t end)
{
    uint64_t words =
        (end + FORMAT_BITMAP_BITS - 1) / FORMAT_BITMAP_BITS * (FORMAT_BITMAP_BITS / 64);
    *a = (struct alloc){.start = start, .end = end, .cursor = start, .clock = 1};
    a->taken = calloc(words, sizeof *a->taken);
    a->written = calloc(words, sizeof *a->written);
    a->group_count = (end + GROUP_BITS - 1) / GROUP_BITS;
    a->group_free = calloc(a->group_count, sizeof *a->group_free);
    a->page_is_dirty = calloc(alloc_page_count(a), sizeof *a->page_is_dirty);
    check(a->taken && a->written && a->group_free && a->page_is_dirty);
    a->free_count = end - start;
    for (uint64_t i = 0; i < start; i++)
        put(a->taken, i, true);
    for (uint64_t g = 0; g < a->group_count; g++) {
        uint64_t from = max_of(g * GROUP_BITS, start), to = min_of((g + 1) * GROUP_BITS, end);
        a->group_free[g] = to > from ? (uint32_t)(to - from) : 0;
    }
}

void alloc_fini(struct alloc *a)
{
    free(a->taken);
    free(a->written);
    free(a->group_free);
    free(a->page_is_dirty);
    free(a->queue);
    *a = (struct alloc){0};
}

uint64_t alloc_page_count(const struct alloc *a)
{
    return (a->end + FORMAT_BITMAP_BITS - 1) / FORMAT_BITMAP_BITS;
}

static void set_taken(struct alloc *a, uint64_t block, bool value)
{
    check(block >= a->start && block < a->end);
    check(get(a->taken, block) != value); /* E27: each block has one owner */
    put(a->taken, block, value);
    if (value) {
        a->group_free[block / GROUP_BITS]--;
        a->free_count--;
    } else {
        a->group_free[block / GROUP_BITS]++;
        a->free_count++;
    }
}

/* Length of the free run at `block`, at most `limit`. */
static uint32_t run_length(const struct alloc *a, uint64_t block, uint32_t limit)
{
    uint32_t n = 0;
    while (n < limit && block + n < a->end && !get(a->taken, block + n))
        n++;
    return n;
}

/* The first free block at or behind `at` and below `to`; `to` when there is none. */
static uint64_t next_free(const struct alloc *a, uint64_t at, uint64_t to)
{
    while (at < to) {
        if (a->group_free[at / GROUP_BITS] == 0) {
            at = (at / GROUP_BITS + 1) * GROUP_BITS;
        } else if (a->taken[at / 64] == UINT64_MAX) {
            at = (at / 64 + 1) * 64;
        } else if (get(a->taken, at)) {
            at++;
        } else {
            return at;
        }
    }
    return to;
}

/* Looks in [from, to) for a run of at least `good`; keeps the longest seen. */
static bool search(const struct alloc *a, uint64_t from, uint64_t to, uint32_t want, uint32_t good,
                   uint64_t *best_block, uint32_t *best)
{
    uint64_t first = next_free(a, from, to);
    for (uint64_t at = first; at < to; at = next_free(a, at, to)) {
        uint32_t n = run_length(a, at, want);
        if (n > *best) {
            *best = n;
            *best_block = at;
        }
        if (*best >= good) return true;
        if (at - first > SEARCH_BITS) return true;
        at += n;
    }
    return false;
}

uint32_t alloc_take(struct alloc *a, uint32_t want, uint64_t *ret_block)
{
    uint64_t block = 0;
    uint32_t best = 0, good = min_of(want, (uint32_t)GOOD_RUN);
    if (want == 0 || a->free_count == 0) return 0;
    if (!search(a, a->cursor, a->end, want, good, &block, &best))
        search(a, a->start, min_of(a->cursor, a->end), want, good, &block, &best);
    check(best > 0);
    for (uint32_t i = 0; i < best; i++)
        set_taken(a, block + i, true);
    a->cursor = block + best < a->end ? block + best : a->start;
    *ret_block = block;
    return best;
}

void alloc_take_exact(struct alloc *a, uint64_t block, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (!get(a->taken, block + i)) set_taken(a, block + i, true);
}

void alloc_give_back(struct alloc *a, uint64_t block, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        check(!get(a->written, block + i)); /* E27 */
        set_taken(a, block + i, false);
    }
}

static void set_written(struct alloc *a, uint64_t block, uint64_t count, bool value)
{
    for (uint64_t i = block; i < block + count; i++) {
        check(get(a->written, i) != value); /* E27 */
        put(a->written, i, value);
        a->page_is_dirty[i / FORMAT_BITMAP_BITS] = true;
    }
    if (value)
        a->written_count += count;
    else
        a->written_count -= count;
}

void alloc_mark_written(struct alloc *a, uint64_t block, uint64_t count)
{
    set_written(a, block, count, true);
}

void alloc_unmark_written(struct alloc *a, uint64_t block, uint64_t count)
{
    set_written(a, block, count, false);
}

bool alloc_load_page(struct alloc *a, uint64_t page, const void *bits)
{
    uint64_t word = page * (FORMAT_BITMAP_BITS / 64), value;
    for (unsigned i = 0; i < FORMAT_BITMAP_BITS / 64; i++) {
        uint64_t first = (word + i) * 64;
        memcpy(&value, (const uint8_t *)bits + i * sizeof value, sizeof value);
        if (!value) continue;
        if (first < a->start &&
            value & (first + 64 <= a->start ? UINT64_MAX : ((uint64_t)1 << (a->start - first)) - 1))
            return false;
        if (first >= a->end || (first + 64 > a->end && value >> (a->end - first))) return false;
        a->written[word + i] = value;
        a->written_count += (uint64_t)__builtin_popcountll(value);
    }
    return true;
}

void alloc_take_written(struct alloc *a)
{
    for (uint64_t i = 0; i < (a->end + 63) / 64; i++) {
        uint64_t more = a->written[i] & ~a->taken[i];
        uint32_t n = (uint32_t)__builtin_popcountll(more);
        if (!n) continue;
        a->taken[i] |= more;
        a->free_count -= n;
        a->group_free[i * 64 / GROUP_BITS] -= n;
    }
}

bool alloc_is_taken(const struct alloc *a, uint64_t block)
{
    return get(a->taken, block);
}

bool alloc_is_written(const struct alloc *a, uint64_t block)
{
    return get(a->written, block);
}

static struct alloc_queued *queue_at(const struct alloc *a, uint64_t i)
{
    return &a->queue[(a->queue_head + i) % a->queue_capacity];
}

void alloc_queue_push(struct alloc *a, uint64_t block, uint32_t count, uint64_t seq)
{
    uint64_t clock = a->clock++;
    a->queue_blocks += count;
    if (a->queue_count > 0) {
        struct alloc_queued *last = queue_at(a, a->queue_count - 1);
        check(last->seq <= seq); /* E6: batches are published in order */
        if (last->seq == seq && last->block + last->count == block) {
            last->count += count;
            last->clock = clock;
            return;
        }
    }
    if (a->queue_count == a->queue_capacity) {
        uint64_t capacity = max_of(a->queue_capacity * 2, (uint64_t)256);
        struct alloc_queued *bigger = calloc(capacity, sizeof *bigger);
        check(bigger != NULL);
        for (uint64_t i = 0; i < a->queue_count; i++)
            bigger[i] = *queue_at(a, i);
        free(a->queue);
        a->queue = bigger;
        a->queue_head = 0;
        a->queue_capacity = capacity;
    }
    a->queue_count++;
    *queue_at(a, a->queue_count - 1) =
        (struct alloc_queued){.block = block, .count = count, .seq = seq, .clock = clock};
}

uint64_t alloc_queue_release(struct alloc *a, uint64_t drec, uint64_t oldest_mark,
                             void (*trim)(void *arg, uint64_t block, uint32_t count), void *arg)
{
    uint64_t released = 0;
    while (a->queue_count > 0) {
        struct alloc_queued q = *queue_at(a, 0);
        if (q.seq > drec || q.clock >= oldest_mark) break; /* E6, E17 */
        a->queue_head = (a->queue_head + 1) % a->queue_capacity;
        a->queue_count--;
        a->queue_blocks -= q.count;
        released += q.count;
        if (trim)
            trim(arg, q.block, q.count);
        else
            alloc_give_back(a, q.block, q.count);
    }
    return released;
}

bool alloc_queue_peek(const struct alloc *a, uint64_t i, uint64_t *ret_block, uint32_t *ret_count)
{
    if (i >= a->queue_count) return false;
    *ret_block = queue_at(a, i)->block;
    *ret_count = queue_at(a, i)->count;
    return true;
}

uint64_t alloc_queue_oldest(const struct alloc *a)
{
    return a->queue_count ? queue_at(a, 0)->seq : 0;
}
