/* poolcheck.c - bitmap == union of the runs in the map + metadata + what comes back; one owner per block
 * (E27); nothing is kept that no view needs (E21).
 *
 * Nobody waits for the check, and it waits for no rest.  The walk over the leaves takes many turns, and
 * batches are published between them.  What they change of a leaf that has been passed is followed: blocks
 * that it took are owned from then on, those that it gave up are not.  A leaf that has not been passed is
 * read later as it is then.  So in the turn in which the last leaf is passed, `owned` is what all leaves hold
 * at that instant; everything else that may have a block is in memory, and is counted in that same turn.
 *
 * What is in memory hides what a restart would meet, so what is stored of the metadata is read back too: tables
 * and pages before the walk, and behind it the leaves that were in memory when it passed them.
 *
 * Whether a leaf keeps what nothing needs is known only when the sweep has passed it (E29).  One for which
 * that is still to come is looked at again later, a bounded number of times; then the report says how many
 * were not judged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/stored.h"
#include "timeline/tables.h"

enum { WALK_BUDGET = 256, LATE_ROUNDS = 50, LATE_PAUSE_MS = 100 };

struct leaf_list {
    struct leaf_name {
        uint64_t index;
        uint32_t disk;
    } * items;
    uint64_t count, capacity;
};

struct pool_check {
    struct list_node link; /* pool->checks */
    struct tl_pool *pool;
    struct volume_check_report *ret_report;
    volume_done_fn *done;
    void *arg;
    struct rt_timer timer;
    struct rt_message message;
    bool is_posted;
    struct leaf_waiter waiter;
    struct volume_check_report report;
    struct err *error; /* the first thing that is wrong */
    /* The walk */
    bool is_walking;
    uint32_t disk_id;                /* disks below it are passed, those that have gone too */
    uint64_t leaf_index, own_blocks; /* of it: leaves below are passed, and have so many blocks */
    uint64_t *owned;                 /* one bit per block */
    /* What is stored */
    struct stored_piece next_piece; /* LEAF: the index is that in cached */
    struct stored_read stored;
    struct leaf_list cached; /* were not read by the walk */
    bool has_walked;
    /* Behind it */
    struct leaf_list late; /* their sweep was still to come */
    uint64_t late_next, late_kept;
    unsigned rounds;
};

static void pool_check_free(struct pool_check *c)
{
    list_remove(&c->link);
    rt_timer_cancel(c->pool->rt, &c->timer);
    err_free(c->error);
    stored_fini(&c->stored);
    free(c->owned);
    free(c->cached.items);
    free(c->late.items);
    free(c);
}

void pool_check_free_node(struct list_node *node)
{
    pool_check_free(list_entry(node, struct pool_check, link));
}

bool pool_check_is_active(const struct tl_pool *p)
{
    list_for_each (node, &p->checks) {
        const struct pool_check *c = list_entry(node, struct pool_check, link);
        if (c->is_posted || c->stored.is_active) return true;
    }
    return false;
}

static void check_end(struct pool_check *c)
{
    struct err *e = take_ptr(&c->error);
    volume_done_fn *done = c->done;
    void *arg = c->arg;
    if (!e && c->ret_report) *c->ret_report = c->report;
    pool_check_free(c);
    done(arg, e);
}

static void post(struct pool_check *c, void (*fn)(struct rt_message *message))
{
    c->is_posted = true;
    c->message.fn = fn;
    rt_post(c->pool->rt, &c->message);
}

/* Called first in each turn; false: nothing goes on. */
static bool goes_on(struct pool_check *c)
{
    struct tl_pool *p = c->pool;
    c->is_posted = false;
    if (p->is_closing) return false; /* it goes with the pool */
    if (tl_is_ok(p)) return true;
    if (!c->error)
        c->error = err_new(STATUS_POOL_FAILED, "the pool has failed: %s", p->base.trouble);
    check_end(c);
    return false;
}

/* Notes the first thing that is wrong. */
#define WRONG(c, ...)                                                                              \
    do {                                                                                           \
        if (!(c)->error) (c)->error = err_new(STATUS_BLOCK_CORRUPT, __VA_ARGS__);                  \
    } while (0)

/* ---- Who owns what --------------------------------------------------------------------------- */

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

static void disown(struct pool_check *c, uint64_t block, uint64_t count, const char *what)
{
    for (uint64_t b = block; b < block + count; b++) {
        uint64_t mask = (uint64_t)1 << (b % 64);
        if (!(c->owned[b / 64] & mask))
            WRONG(c, "block %llu is given up by %s that did not have it", (unsigned long long)b,
                  what);
        c->owned[b / 64] &= ~mask;
    }
}

static void own_extents(struct pool_check *c, const struct extents *list, const char *what)
{
    for (uint32_t i = 0; i < list->count; i++)
        own(c, list->items[i].block, list->items[i].blocks, what);
}

static void own_trim(void *arg, uint64_t block, uint32_t count)
{
    own(arg, block, count, "a trim");
}

/* What batches under way took for data; it becomes the map's when they are published. */
static void own_in_flight(struct pool_check *c)
{
    list_for_each (node, &c->pool->in_flight) {
        const struct batch *b = list_entry(node, struct batch, link);
        struct wal_record record;
        if (b->is_shown || (b->header.kind != WAL_DATA && b->header.kind != WAL_RECLAIM)) continue;
        struct buf_reader r = wal_records(b->wal, &b->header);
        while (wal_next(&r, &record))
            if (record.type == WAL_INSERT && !(record.flags & WAL_HOLE))
                own(c, record.phys, record.count, "a batch");
    }
}

/* What is not of the map, all at this instant. */
static void own_the_rest(struct pool_check *c)
{
    struct tl_pool *p = c->pool;
    uint64_t block;
    uint32_t count;
    own_in_flight(c);
    for (unsigned i = 0; i < LEAF_WRITERS; i++)
        own_extents(c, &p->writers[i].extents, "a leaf that is being written");
    list_for_each (node, &p->disks) {
        const struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        for (uint64_t i = 0; i < disk->dir_count; i++)
            if (disk->dir[i] && disk->dir[i]->ref.block)
                own(c, disk->dir[i]->ref.block, 1, "a directory");
    }
    own_extents(c, &p->ckpt.system_extents, "the system pages");
    own_extents(c, &p->ckpt.releasing, "an older checkpoint");
    own_extents(c, &p->ckpt.retiring, "an older checkpoint");
    own_extents(c, &p->ckpt.retired, "an older checkpoint");
    for (uint64_t i = 0; i < alloc_page_count(&p->alloc); i++)
        if (p->bitmap_refs[i].block) own(c, p->bitmap_refs[i].block, 1, "the bitmap");
    for (uint64_t i = 0; alloc_queue_peek(&p->alloc, i, &block, &count); i++)
        own(c, block, count, "the queue of freed blocks");
    trims_each(p, own_trim, c);
}

static void compare_bits(struct pool_check *c, const uint64_t *bits, const char *owned_only,
                         const char *bits_only)
{
    const struct alloc *a = &c->pool->alloc;
    for (uint64_t b = a->start; b < a->end; b++) {
        uint64_t differ = c->owned[b / 64] ^ bits[b / 64];
        if (differ == 0) {
            b |= 63; /* the next word */
            continue;
        }
        if (!(differ >> (b % 64) & 1)) continue;
        bool is_owned = c->owned[b / 64] >> (b % 64) & 1;
        WRONG(c, "block %llu %s", (unsigned long long)b, is_owned ? owned_only : bits_only);
        return;
    }
}

/* All leaves are passed, in this turn. */
static void compare(struct pool_check *c)
{
    struct tl_pool *p = c->pool;
    compare_bits(c, p->alloc.written, "is in use but not written in the bitmap",
                 "is written in the bitmap but not in use");
    own_the_rest(c);
    compare_bits(c, p->alloc.taken, "is in use but free in the bitmap",
                 "is taken in the bitmap but nobody uses it");
}

/* ---- What is published during the walk -------------------------------------------------------- */

static bool is_passed(const struct pool_check *c, const struct tl_disk *disk, uint64_t leaf_index)
{
    if (!c->is_walking) return false;
    return disk->id < c->disk_id || (disk->id == c->disk_id && leaf_index < c->leaf_index);
}

void pool_check_follow_record(const struct tl_disk *disk, const struct wal_record *r)
{
    if (r->flags & WAL_HOLE) return;
    list_for_each (node, &disk->pool->checks) {
        struct pool_check *c = list_entry(node, struct pool_check, link);
        if (!is_passed(c, disk, r->lba / FORMAT_LEAF_BLOCKS)) continue;
        bool is_current = disk->id == c->disk_id;
        if (r->type == WAL_INSERT) {
            own(c, r->phys, r->count, "new data");
            if (is_current) c->own_blocks += r->count;
        } else {
            disown(c, r->phys, r->count, "data");
            if (is_current) c->own_blocks -= r->count;
        }
    }
}

void pool_check_follow_leaf(const struct leaf *leaf, const struct extents *now)
{
    list_for_each (node, &leaf->disk->pool->checks) {
        struct pool_check *c = list_entry(node, struct pool_check, link);
        if (!is_passed(c, leaf->disk, leaf->index)) continue;
        for (uint32_t i = 0; i < leaf->extents.count; i++)
            disown(c, leaf->extents.items[i].block, leaf->extents.items[i].blocks, "a leaf");
        own_extents(c, now, "a new leaf");
    }
}

/* ---- Is everything that is kept seen by some view, or being staged (E21)? --------------------- */

static void check_needed(struct pool_check *c, const struct leaf *leaf, unsigned block,
                         const struct retained *retained)
{
    struct version *versions;
    unsigned count = leaf_versions(leaf, block, &versions);
    auto_free bool *needed = calloc(count + 1, sizeof *needed);
    check(needed != NULL);
    reclaim_needed(versions, count, retained, needed);
    for (unsigned i = 0; i < count; i++)
        if (!needed[i] && !(versions[i].flags & (VERSION_HOLE | VERSION_REMOVING)))
            WRONG(c, "disk %u keeps a version of block %llu that nothing needs", leaf->disk->id,
                  (unsigned long long)(leaf->index * FORMAT_LEAF_BLOCKS + block));
}

/* A promotion's sweep comes at its end. */
static bool disk_is_swept(const struct tl_disk *disk)
{
    return disk->sweep_left == 0 && !disk->records_await_lap && !disk->is_promoting;
}

/* False: it cannot be said now. */
static bool check_all_needed(struct pool_check *c, const struct leaf *leaf)
{
    if (!disk_is_swept(leaf->disk) || leaf->needs_sweep || leaf == c->pool->sweep.leaf)
        return false;
    struct retained retained = disk_retained(leaf->disk);
    for (uint32_t i = 0; i < leaf->version_count; i++)
        if (i == 0 || leaf->versions[i - 1].block != leaf->versions[i].block)
            check_needed(c, leaf, leaf->versions[i].block, &retained);
    return true;
}

static void leaf_list_push(struct leaf_list *list, const struct leaf *leaf)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        check(list->items != NULL);
    }
    list->items[list->count++] = (struct leaf_name){.index = leaf->index, .disk = leaf->disk->id};
}

static void look_again(struct rt_message *message);

static void late_leaf_loaded(struct leaf_waiter *waiter, enum status status)
{
    struct pool_check *c = container_of(waiter, struct pool_check, waiter);
    if (status != STATUS_OK) c->late.items[c->late_kept++] = c->late.items[c->late_next++];
    post(c, look_again);
}

enum late { LATE_DONE, LATE_KEEP, LATE_WAIT };

static enum late look_at_late(struct pool_check *c, const struct leaf_name *late)
{
    struct tl_disk *disk = disk_by_id(c->pool, late->disk);
    if (!disk || map_leaf_is_absent(disk, late->index)) return LATE_DONE;
    if (!disk_is_swept(disk)) return LATE_KEEP;
    struct leaf *leaf = map_leaf(disk, late->index);
    if (leaf->state == LEAF_BROKEN) return LATE_KEEP;
    if (leaf->state != LEAF_READY) {
        map_load(leaf, &c->waiter, late_leaf_loaded);
        return LATE_WAIT;
    }
    return check_all_needed(c, leaf) ? LATE_DONE : LATE_KEEP;
}

static void look_again_later(struct rt_timer *timer)
{
    post(container_of(timer, struct pool_check, timer), look_again);
}

static void end_round(struct pool_check *c)
{
    struct tl_pool *p = c->pool;
    c->late.count = c->late_kept;
    c->late_next = c->late_kept = 0;
    if (c->error || c->late.count == 0 || c->rounds++ == LATE_ROUNDS) {
        c->report.unjudged_leaves = c->late.count;
        check_end(c);
        return;
    }
    reclaim_poke(p);
    rt_timer_set(p->rt, &c->timer, rt_now(p->rt) + LATE_PAUSE_MS * RT_MS, look_again_later);
}

static void look_again(struct rt_message *message)
{
    struct pool_check *c = container_of(message, struct pool_check, message);
    if (!goes_on(c)) return;
    for (unsigned budget = WALK_BUDGET; budget > 0 && c->late_next < c->late.count; budget--) {
        struct leaf_name late = c->late.items[c->late_next];
        enum late what = look_at_late(c, &late);
        if (what == LATE_WAIT) return;
        c->late_next++;
        if (what == LATE_KEEP) c->late.items[c->late_kept++] = late;
    }
    if (c->late_next < c->late.count)
        post(c, look_again);
    else
        end_round(c);
}

/* ---- The walk -------------------------------------------------------------------------------- */

static void walk(struct rt_message *message);
static void verify(struct rt_message *message);

static void pass_unreadable(struct pool_check *c)
{
    WRONG(c, "leaf %llu of disk %u cannot be read", (unsigned long long)c->leaf_index, c->disk_id);
    c->leaf_index++;
}

static void pass_leaf(struct pool_check *c, struct leaf *leaf)
{
    own_extents(c, &leaf->extents, "a leaf");
    for (uint32_t i = 0; i < leaf->version_count; i++) {
        const struct version *v = &leaf->versions[i];
        if (v->flags & VERSION_HOLE) continue;
        own(c, version_phys(v), 1, "data");
        c->own_blocks++;
    }
    if (!check_all_needed(c, leaf)) leaf_list_push(&c->late, leaf);
    c->report.leaves++;
    c->leaf_index++;
}

/* In the turn that makes it complete: it may be evicted in the next. */
static void leaf_loaded(struct leaf_waiter *waiter, enum status status)
{
    struct pool_check *c = container_of(waiter, struct pool_check, waiter);
    if (status == STATUS_OK)
        pass_leaf(c, map_leaf(disk_by_id(c->pool, c->disk_id), c->leaf_index));
    else
        pass_unreadable(c);
    post(c, walk);
}

/* False when it must be waited for. */
static bool next_leaf(struct pool_check *c, struct tl_disk *disk)
{
    if (!disk->dir[c->leaf_index / FORMAT_DIR_ENTRIES]) {
        c->leaf_index += FORMAT_DIR_ENTRIES - c->leaf_index % FORMAT_DIR_ENTRIES;
        return true;
    }
    if (map_leaf_is_absent(disk, c->leaf_index)) {
        c->leaf_index++;
        return true;
    }
    struct leaf *leaf = map_leaf(disk, c->leaf_index);
    switch (leaf->state) {
    case LEAF_READY:
        leaf_list_push(&c->cached, leaf);
        pass_leaf(c, leaf);
        return true;
    case LEAF_BROKEN:
        pass_unreadable(c);
        return true;
    case LEAF_DELTA:
    case LEAF_LOADING:
        break;
    }
    map_load(leaf, &c->waiter, leaf_loaded);
    return false;
}

static void pass_disk(struct pool_check *c, const struct tl_disk *disk)
{
    if (disk && disk->own_blocks != c->own_blocks)
        WRONG(c, "disk %u counts %llu blocks but its map has %llu", disk->id,
              (unsigned long long)disk->own_blocks, (unsigned long long)c->own_blocks);
    c->disk_id++;
    c->leaf_index = c->own_blocks = 0;
}

static void walk(struct rt_message *message)
{
    struct pool_check *c = container_of(message, struct pool_check, message);
    struct tl_pool *p = c->pool;
    if (!goes_on(c)) return;
    c->is_walking = true;
    for (unsigned budget = WALK_BUDGET; c->disk_id < p->disk_by_id_count; budget--) {
        struct tl_disk *disk = disk_by_id(p, c->disk_id);
        if (budget == 0) {
            post(c, walk);
            return;
        }
        if (!disk || c->leaf_index >= disk->dir_count * FORMAT_DIR_ENTRIES)
            pass_disk(c, disk);
        else if (!next_leaf(c, disk))
            return;
    }
    compare(c);
    c->is_walking = false;
    c->has_walked = true;
    post(c, verify);
}

/* ---- What is stored -------------------------------------------------------------------------- */

static void name_piece(const struct stored_piece *piece, char *ret_text, size_t size)
{
    unsigned long long index = piece->index;
    switch (piece->kind) {
    case STORED_SYSTEM:
        snprintf(ret_text, size, "the table of disks and snapshots");
        break;
    case STORED_BITMAP:
        snprintf(ret_text, size, "page %llu of the bitmap", index);
        break;
    case STORED_DIR:
        snprintf(ret_text, size, "directory page %llu of disk %u", index, piece->disk);
        break;
    case STORED_LEAF:
        snprintf(ret_text, size, "leaf %llu of disk %u", index, piece->disk);
        break;
    }
}

static void piece_read(struct stored_read *read)
{
    struct pool_check *c = container_of(read, struct pool_check, stored);
    char text[80];
    name_piece(&read->piece, text, sizeof text);
    switch (read->verdict) {
    case STORED_GOOD:
        c->report.pages++;
        break;
    case STORED_MOVED:
        c->report.unjudged_pages++;
        break;
    case STORED_BAD:
        WRONG(c, "%s is damaged where it is stored; the pool works on with what is in memory",
              text);
        break;
    }
    post(c, verify);
}

/* Tables and pages, of this instant; then what was cached when it was passed.  False: no more. */
static bool next_piece(struct pool_check *c, struct stored_piece *ret_piece)
{
    struct stored_piece *next = &c->next_piece;
    const struct tl_pool *p = c->pool;
    while (next->kind == STORED_DIR && next->disk < p->disk_by_id_count) {
        const struct tl_disk *disk = disk_by_id(p, next->disk);
        if (disk && next->index < disk->dir_count) break;
        next->disk++;
        next->index = 0;
    }
    uint64_t count = 1;
    if (next->kind == STORED_BITMAP) count = alloc_page_count(&p->alloc);
    if (next->kind == STORED_DIR) count = next->disk < p->disk_by_id_count ? UINT64_MAX : 0;
    if (next->kind == STORED_LEAF) count = c->cached.count;
    if (next->index >= count) return false;
    *ret_piece = *next;
    if (next->kind == STORED_LEAF) {
        ret_piece->disk = c->cached.items[next->index].disk;
        ret_piece->index = c->cached.items[next->index].index;
    }
    next->index++;
    return true;
}

static void verify(struct rt_message *message)
{
    struct pool_check *c = container_of(message, struct pool_check, message);
    struct stored_piece piece;
    if (!goes_on(c)) return;
    for (unsigned budget = WALK_BUDGET; !c->error && budget > 0; budget--) {
        if (next_piece(c, &piece)) {
            if (stored_read(&c->stored, &piece, piece_read)) return;
        } else if (c->next_piece.kind == STORED_LEAF) {
            look_again(message);
            return;
        } else if (c->next_piece.kind == STORED_DIR && !c->has_walked) {
            post(c, walk);
            return;
        } else {
            c->next_piece = (struct stored_piece){.kind = c->next_piece.kind + 1};
        }
    }
    if (c->error)
        check_end(c);
    else
        post(c, verify);
}

void pool_check(struct volume_pool *pool, struct volume_check_report *ret_report,
                volume_done_fn *done, void *arg)
{
    struct tl_pool *p = tl_pool(pool);
    struct pool_check *c = calloc(1, sizeof *c);
    check(c != NULL);
    *c = (struct pool_check){.pool = p, .ret_report = ret_report, .done = done, .arg = arg};
    c->owned = calloc((p->alloc.end + 63) / 64, sizeof *c->owned);
    check(c->owned != NULL);
    stored_init(&c->stored, p);
    list_push_back(&p->checks, &c->link);
    post(c, verify);
}
