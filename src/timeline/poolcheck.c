/* poolcheck.c - at rest: bitmap == union of the runs in the map + metadata; one owner per block
 * (E27); nothing is kept that no view needs (E21).
 *
 * Rest does not last: the walk over the leaves takes many turns, and a batch between two of them moves
 * blocks from what is passed to what is not.  Such a walk says nothing, neither good nor bad, and is
 * made again.  Copies in the background wait meanwhile (window_write). */
#include <stdlib.h>
#include <string.h>

#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/tables.h"

enum { WALK_TRIES = 50, WALK_PAUSE_MS = 100 }; /* 5 s: a file system's journal comes as often */

struct pool_check {
    struct list_node link; /* pool->checks */
    struct tl_pool *pool;
    bool is_walking;
    unsigned tries;
    uint64_t next_seq; /* when the walk began: nothing moves without a batch */
    struct rt_timer timer;
    volume_done_fn *done;
    void *arg;
    struct tl_disk *disk;
    uint64_t leaf_index, own_blocks;
    uint64_t *owned; /* one bit per block */
    struct leaf_waiter waiter;
    struct rt_message message;
    struct err *error;
};

static void pool_check_free(struct pool_check *c)
{
    list_remove(&c->link);
    rt_timer_cancel(c->pool->rt, &c->timer);
    err_free(c->error);
    free(c->owned);
    free(c);
}

void pool_check_free_node(struct list_node *node)
{
    pool_check_free(list_entry(node, struct pool_check, link));
}

static void check_end(struct pool_check *c, struct err *e)
{
    volume_done_fn *done = c->done;
    void *arg = c->arg;
    pump_soon(c->pool); /* who waits for the end of the walk */
    pool_check_free(c);
    done(arg, e);
}

bool pool_is_walked(const struct tl_pool *p)
{
    check(p->checks.head.next != NULL); /* for the analyzer: an initialised list has no NULL */
    list_for_each (node, &p->checks)
        if (list_entry(node, struct pool_check, link)->is_walking) return true;
    return false;
}

/* Every block that is taken is in the map, in a page, or kept for an older checkpoint. */
static bool is_at_rest(struct tl_pool *p)
{
    return tl_is_ok(p) && list_is_empty(&p->in_flight) && p->alloc.queue_count == 0 &&
           list_is_empty(&p->trims) && map_writers_are_idle(p) && p->ckpt.phase == CHECKPOINT_IDLE;
}

static bool is_undisturbed(const struct pool_check *c)
{
    return c->pool->next_seq == c->next_seq && is_at_rest(c->pool);
}

/* Notes the first thing that is wrong. */
#define WRONG(c, ...)                                                                              \
    do {                                                                                           \
        if (!(c)->error) (c)->error = err_new(STATUS_BLOCK_CORRUPT, __VA_ARGS__);                  \
    } while (0)

static void own(struct pool_check *c, uint64_t block, uint64_t count, const char *what)
{
    for (uint64_t b = block; b < block + count; b++) {
        if (b < c->pool->alloc.start || b >= c->pool->alloc.end) {
            WRONG(c, "block %llu of %s is outside of the data area", (unsigned long long)b, what);
            return;
        }
        uint64_t mask = (uint64_t)1 << (b % 64);
        if (c->owned[b / 64] & mask)
            WRONG(c, "block %llu has two owners, one is %s", (unsigned long long)b, what);
        c->owned[b / 64] |= mask;
    }
}

static void own_extents(struct pool_check *c, const struct extents *list, const char *what)
{
    for (uint32_t i = 0; i < list->count; i++)
        own(c, list->items[i].block, list->items[i].blocks, what);
}

static void compare(struct pool_check *c)
{
    struct tl_pool *p = c->pool;
    own_extents(c, &p->ckpt.system_extents, "the system pages");
    own_extents(c, &p->ckpt.releasing, "an older checkpoint");
    own_extents(c, &p->ckpt.retiring, "an older checkpoint");
    own_extents(c, &p->ckpt.retired, "an older checkpoint");
    for (uint64_t i = 0; i < alloc_page_count(&p->alloc); i++)
        if (p->bitmap_refs[i].block) own(c, p->bitmap_refs[i].block, 1, "the bitmap");
    for (uint64_t b = p->alloc.start; b < p->alloc.end; b++) {
        bool owned = c->owned[b / 64] >> (b % 64) & 1;
        if (owned && !alloc_is_taken(&p->alloc, b))
            WRONG(c, "block %llu is in use but free in the bitmap", (unsigned long long)b);
        if (!owned && alloc_is_taken(&p->alloc, b))
            WRONG(c, "block %llu is taken in the bitmap but nobody uses it", (unsigned long long)b);
    }
}

static void own_leaf(struct pool_check *c, struct leaf *leaf)
{
    own_extents(c, &leaf->extents, "a leaf");
    for (uint32_t i = 0; i < leaf->version_count; i++) {
        const struct version *v = &leaf->versions[i];
        if (v->flags & VERSION_HOLE) continue;
        own(c, version_phys(v), 1, "data");
        c->own_blocks++;
    }
}

/* Is everything of a block seen by some view, or being staged (E21)? */
static void check_needed(struct pool_check *c, const struct leaf *leaf, unsigned block,
                         const struct retained *retained)
{
    struct version *versions;
    unsigned count = leaf_versions(leaf, block, &versions);
    auto_free bool *needed = calloc(count + 1, sizeof *needed);
    check(needed != NULL);
    reclaim_needed(versions, count, retained, needed);
    for (unsigned i = 0; i < count; i++)
        if (!needed[i] && !(versions[i].flags & VERSION_HOLE))
            WRONG(c, "disk %u keeps a version of block %llu that nothing needs", c->disk->id,
                  (unsigned long long)(leaf->index * FORMAT_LEAF_BLOCKS + block));
}

static void check_all_needed(struct pool_check *c, const struct leaf *leaf)
{
    struct retained retained = disk_retained(leaf->disk);
    if (leaf->disk->is_promoting) return; /* its sweep comes at its end */
    for (uint32_t i = 0; i < leaf->version_count; i++)
        if (i == 0 || leaf->versions[i - 1].block != leaf->versions[i].block)
            check_needed(c, leaf, leaf->versions[i].block, &retained);
}

static void walk(struct rt_message *message);

static void walk_soon(struct pool_check *c)
{
    c->message.fn = walk;
    rt_post(c->pool->rt, &c->message);
}

static void pass_unreadable(struct pool_check *c)
{
    WRONG(c, "leaf %llu of disk %u cannot be read", (unsigned long long)c->leaf_index, c->disk->id);
    c->leaf_index++;
}

static void leaf_loaded(struct leaf_waiter *waiter, enum status status)
{
    struct pool_check *c = container_of(waiter, struct pool_check, waiter);
    if (status != STATUS_OK) pass_unreadable(c);
    walk_soon(c);
}

/* One leaf; false when it must be waited for. */
static bool walk_leaf(struct pool_check *c)
{
    if (!map_leaf_is_absent(c->disk, c->leaf_index)) {
        struct leaf *leaf = map_leaf(c->disk, c->leaf_index);
        if (leaf->state == LEAF_DELTA || leaf->state == LEAF_LOADING) {
            map_load(leaf, &c->waiter, leaf_loaded);
            return false;
        }
        if (leaf->state == LEAF_BROKEN) {
            pass_unreadable(c);
            return true;
        }
        own_leaf(c, leaf);
        check_all_needed(c, leaf);
    }
    c->leaf_index++;
    return true;
}

static void next_disk(struct pool_check *c)
{
    struct tl_disk *disk = c->disk;
    for (uint64_t i = 0; i < disk->dir_count; i++)
        if (disk->dir[i] && disk->dir[i]->ref.block)
            own(c, disk->dir[i]->ref.block, 1, "a directory");
    if (disk->own_blocks != c->own_blocks)
        WRONG(c, "disk %u counts %llu blocks but its map has %llu", disk->id,
              (unsigned long long)disk->own_blocks, (unsigned long long)c->own_blocks);
    struct list_node *next = disk->link.next;
    c->disk = next == &c->pool->disks.head ? NULL : list_entry(next, struct tl_disk, link);
    c->leaf_index = c->own_blocks = 0;
}

static void settled(void *arg, struct err *e);

static void settle_again(struct rt_timer *timer)
{
    struct pool_check *c = container_of(timer, struct pool_check, timer);
    c->pool->base.ops->pool_settle(&c->pool->base, settled, c);
}

/* What was seen so far is no finding; disks may have gone. */
static void begin_again(struct pool_check *c)
{
    struct tl_pool *p = c->pool;
    c->is_walking = false;
    c->disk = NULL;
    err_free(take_ptr(&c->error));
    if (tl_is_ok(p) && ++c->tries >= WALK_TRIES) {
        struct err *e = err_new(STATUS_IN_USE, "the pool was written to whenever it was looked at");
        check_end(c, err_next(e, "check it while its hosts write less; nothing is known yet"));
        return;
    }
    pump_soon(p);
    rt_timer_set(p->rt, &c->timer, rt_now(p->rt) + WALK_PAUSE_MS * RT_MS, settle_again);
}

static void walk(struct rt_message *message)
{
    struct pool_check *c = container_of(message, struct pool_check, message);
    if (!is_undisturbed(c)) {
        begin_again(c);
        return;
    }
    for (unsigned budget = 256; c->disk && budget > 0; budget--) {
        if (c->leaf_index >= c->disk->dir_count * FORMAT_DIR_ENTRIES)
            next_disk(c);
        else if (!walk_leaf(c))
            return;
    }
    if (c->disk) {
        walk_soon(c);
        return;
    }
    compare(c);
    check_end(c, take_ptr(&c->error));
}

static void settled(void *arg, struct err *e)
{
    struct pool_check *c = arg;
    if (e) {
        check_end(c, e);
        return;
    }
    struct list_node *first = list_front(&c->pool->disks);
    memset(c->owned, 0, (c->pool->alloc.end + 63) / 64 * sizeof *c->owned);
    c->leaf_index = c->own_blocks = 0;
    c->next_seq = c->pool->next_seq;
    c->is_walking = true;
    c->disk = first ? list_entry(first, struct tl_disk, link) : NULL;
    walk_soon(c);
}

void pool_check(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    struct tl_pool *p = tl_pool(pool);
    struct pool_check *c = calloc(1, sizeof *c);
    check(c != NULL);
    *c = (struct pool_check){.pool = p, .done = done, .arg = arg};
    c->owned = calloc((p->alloc.end + 63) / 64, sizeof *c->owned);
    check(c->owned != NULL);
    list_push_back(&p->checks, &c->link);
    pool->ops->pool_settle(pool, settled, c);
}
