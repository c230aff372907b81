/* reclaim.c - background removal of versions that no retained view needs (E10, E21, E29). */
#include <stdlib.h>

#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/tables.h"

enum { SKIPS_PER_TURN = 4096, LEAVES_PER_BATCH = 4 };

static void step(struct rt_message *message);

void reclaim_poke(struct tl_pool *p)
{
    if (!p->sweep.has_work || !p->is_open || p->sweep.is_active || p->sweep.is_posted) return;
    if (!tl_is_ok(p) || p->is_closing) return;
    p->sweep.has_work = pool_is_sweeping(p);
    if (!p->sweep.has_work) {
        pump_soon(p); /* who waits for its end */
        return;
    }
    p->sweep.is_posted = true;
    p->sweep_message.fn = step;
    rt_post(p->rt, &p->sweep_message);
}

void reclaim_note_leaf(struct leaf *leaf)
{
    struct tl_pool *p = leaf->disk->pool;
    if (leaf->needs_sweep) return;
    leaf->needs_sweep = true;
    p->sweep.has_work = true;
    map_pin(leaf); /* what is to be removed is known while it is in memory */
    list_push_back(&p->sweep_leaves, &leaf->sweep_link);
    reclaim_poke(p);
}

/* ---- One leaf -------------------------------------------------------------------------------- */

static void pin_for_batch(struct batch *b, struct leaf *leaf)
{
    if (b->pinned_count > 0 && b->pinned[b->pinned_count - 1] == leaf) return;
    if (b->pinned_count == b->pinned_capacity) {
        b->pinned_capacity = b->pinned_capacity ? b->pinned_capacity * 2 : 16;
        b->pinned = realloc(b->pinned, b->pinned_capacity * sizeof *b->pinned);
        check(b->pinned != NULL);
    }
    map_pin(leaf);
    b->pinned[b->pinned_count++] = leaf;
}

/* Names what is not needed of one block, oldest first, so that a hole never goes before what it
 * hides; false when the batch has no room for it. */
static bool sweep_block(struct tl_sweep *sweep, struct leaf *leaf, struct version *versions,
                        unsigned count, const struct retained *retained, struct removals *removals)
{
    if (count > sweep->needed_capacity) {
        sweep->needed_capacity = count * 2;
        sweep->needed = realloc(sweep->needed, sweep->needed_capacity * sizeof *sweep->needed);
        check(sweep->needed != NULL);
    }
    reclaim_needed(versions, count, retained, sweep->needed);
    for (unsigned i = count; i-- > 0;) {
        if (sweep->needed[i] || (versions[i].flags & VERSION_REMOVING)) continue;
        if ((size_t)(removals->w->end - removals->w->at) < 2 * WAL_REMOVE_BYTES) return false;
        removals_add(removals, leaf->disk->id, leaf->index * FORMAT_LEAF_BLOCKS + versions[i].block,
                     &versions[i]);
    }
    return true;
}

/* True when the whole leaf has been passed. */
static bool sweep_leaf(struct tl_sweep *sweep, struct leaf *leaf, struct removals *removals)
{
    struct retained retained = disk_retained(leaf->disk);
    for (uint32_t i = 0, next; i < leaf->version_count; i = next) {
        unsigned block = leaf->versions[i].block;
        for (next = i + 1; next < leaf->version_count && leaf->versions[next].block == block;)
            next++;
        if (block >= sweep->resume_block &&
            !sweep_block(sweep, leaf, &leaf->versions[i], next - i, &retained, removals)) {
            sweep->resume_block = block;
            return false;
        }
    }
    sweep->resume_block = 0;
    return true;
}

/* ---- Which leaf ------------------------------------------------------------------------------ */

static bool is_candidate(struct tl_disk *disk, uint64_t index)
{
    struct dir_entry *entry = map_entry(disk, index);
    if (!entry) return false;
    if (entry->leaf && (entry->leaf->dirty || entry->leaf->state == LEAF_READY))
        return entry->leaf->state != LEAF_BROKEN;
    if (entry->ref.block == 0) return false;
    if (disk->deleted || entry->oldest_superseded != 0) return true;
    /* Its newest versions may be in no view: written after p and abandoned (E19). */
    for (unsigned i = 0; i < disk->record_count; i++)
        if (entry->max_generation > disk->records[i].p) return true;
    return false;
}

/* The sweep passes over a leaf that cannot be read; a later start may be able to.  Until then what
 * is unneeded in it takes its space, and the records stay, which hide it (E19). */
static void pass_unreadable(struct tl_disk *disk, uint64_t index)
{
    disk->lap_missed = true;
    disk->records_await_lap = false;
    map_entry(disk, index)->needs_sweep = true;
    map_dirty_page(disk, index);
}

static bool is_broken(struct tl_disk *disk, uint64_t index)
{
    struct dir_entry *entry = map_entry(disk, index);
    return entry && entry->leaf && entry->leaf->state == LEAF_BROKEN;
}

static bool may_sweep(const struct tl_disk *disk)
{
    return disk->sweep_left > 0 && disk->sweep_after <= disk->pool->published_seq;
}

/* The next leaf of a disk to look at; NULL when its lap is over or this turn's budget is. */
static struct leaf *next_of_disk(struct tl_disk *disk, unsigned *budget)
{
    while (may_sweep(disk) && *budget > 0) {
        uint64_t total = disk->dir_count * FORMAT_DIR_ENTRIES;
        if (disk->sweep_cursor >= total) disk->sweep_cursor = 0;
        uint64_t index = disk->sweep_cursor++;
        disk->sweep_left--;
        if (index % FORMAT_DIR_ENTRIES == 0 && !disk->dir[index / FORMAT_DIR_ENTRIES]) {
            uint64_t skip = min_of((uint64_t)FORMAT_DIR_ENTRIES - 1, disk->sweep_left);
            disk->sweep_cursor += skip;
            disk->sweep_left -= skip;
        }
        (*budget)--;
        if (is_broken(disk, index)) pass_unreadable(disk, index);
        if (is_candidate(disk, index)) return map_leaf(disk, index);
    }
    return NULL;
}

static struct leaf *next_leaf(struct tl_pool *p, unsigned *budget)
{
    struct list_node *node = list_pop_front(&p->sweep_leaves);
    if (node) {
        struct leaf *leaf = list_entry(node, struct leaf, sweep_link);
        leaf->needs_sweep = false; /* its pin is ours now */
        return leaf;
    }
    list_for_each (disk_node, &p->disks) {
        struct tl_disk *disk = list_entry(disk_node, struct tl_disk, link);
        struct leaf *leaf = next_of_disk(disk, budget);
        if (!leaf) continue;
        map_pin(leaf);
        return leaf;
    }
    return NULL;
}

/* ---- The end of a deleted disk --------------------------------------------------------------- */

static void gone_published(struct batch *b, enum status status)
{
    (void)status;
    b->pool->admin_in_flight--;
    reclaim_poke(b->pool);
}

/* True when nothing of it is left in memory or on disk. */
static bool is_empty(struct tl_disk *disk)
{
    for (uint64_t i = 0; i < disk->dir_count; i++) {
        if (!disk->dir[i]) continue;
        for (unsigned j = 0; j < FORMAT_DIR_ENTRIES; j++) {
            struct dir_entry *entry = &disk->dir[i]->entries[j];
            struct leaf *leaf = entry->leaf;
            if (leaf && leaf->pins == 0 && !leaf->dirty && !leaf->is_writing &&
                leaf->state == LEAF_READY && leaf->version_count == 0 && entry->ref.block == 0)
                map_free_leaf(leaf);
            if (entry->leaf || entry->ref.block) return false;
        }
    }
    return true;
}

/* Another lap and another checkpoint may empty it.  Not if a leaf of it cannot be read: this would
 * go on for ever, and who waits for the space of the pool would wait as long.  That is tried again
 * when the sweep has other work and the checkpoints have moved on, and at a start. */
static void try_again(struct tl_disk *disk)
{
    struct tl_pool *p = disk->pool;
    bool has_progress = disk->own_blocks > 0 && disk->own_blocks != disk->bury_blocks;
    if (!disk->lap_missed) checkpoint_want(p);
    if (!(has_progress && !disk->lap_missed) && disk->bury_checkpoint + 2 >= p->ckpt.number) return;
    disk->bury_checkpoint = p->ckpt.number;
    disk->bury_blocks = disk->own_blocks;
    disk->lap_missed = false;
    disk->sweep_left = disk->dir_count * FORMAT_DIR_ENTRIES;
}

/* Takes deleted disks out of the tables when they are empty. */
static void bury(struct tl_pool *p)
{
    list_for_each_safe (node, &p->disks) {
        struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        if (!disk->deleted || disk->sweep_left > 0) continue;
        if (!is_empty(disk)) {
            try_again(disk);
            continue;
        }
        struct batch *b;
        if (p->ckpt.wants_instant || !log_has_room(p, WAL_ADMIN, 1) || !(b = batch_get(p)))
            continue;
        struct buf_writer w = wal_body(b->wal, BLOCK_BYTES);
        struct wal_record record = {.type = WAL_DISK_GONE, .disk = disk->id};
        wal_put_admin(&w, &record);
        b->published = gone_published;
        admin_append(p, b, &w);
    }
}

/* ---- The sweep ------------------------------------------------------------------------------- */

static void sweep_end_turn(struct tl_pool *p)
{
    p->sweep.is_active = false;
    p->sweep.disk = NULL;
    reclaim_poke(p);
}

static void removed(struct batch *b, enum status status)
{
    (void)status;
    sweep_end_turn(b->pool);
}

static bool has_space(struct tl_pool *p, struct leaf *leaf)
{
    return p->alloc.free_count >= pool_checkpoint_need(p) + map_extra_need(leaf, 0) + 4;
}

static void sweep(struct tl_pool *p);

static void leaf_loaded(struct leaf_waiter *waiter, enum status status)
{
    struct tl_sweep *s = container_of(waiter, struct tl_sweep, waiter);
    if (status != STATUS_OK) {
        pass_unreadable(s->leaf->disk, s->leaf->index);
        map_unpin(s->leaf);
        s->leaf = NULL;
    }
    sweep(s->pool);
}

static void close_batch(struct tl_pool *p, struct batch *b, struct removals *removals)
{
    removals_flush(removals);
    if (buf_used(removals->w) == FORMAT_WAL_HEADER_BYTES) {
        batch_put(b);
        sweep_end_turn(p);
        return;
    }
    b->published = removed;
    batch_close(b, WAL_RECLAIM, removals->w); /* E10 */
}

/* Fills one batch with removals; everything that must be waited for ends the turn. */
static void sweep(struct tl_pool *p)
{
    struct tl_sweep *s = &p->sweep;
    unsigned budget = SKIPS_PER_TURN;
    struct batch *b = NULL;
    if (!tl_is_ok(p)) return;
    if (!log_has_room(p, WAL_RECLAIM, FORMAT_BATCH_WAL_BLOCKS) || !(b = batch_get(p))) {
        s->is_active = false;
        checkpoint_want(p);
        return;
    }
    struct buf_writer w = wal_body(b->wal, FORMAT_BATCH_WAL_BLOCKS * BLOCK_BYTES);
    struct removals removals = {.w = &w};
    bool is_full = false, is_stalled = false;
    while (!is_full && b->pinned_count < LEAVES_PER_BATCH &&
           (s->leaf || (s->leaf = next_leaf(p, &budget)))) {
        if (!has_space(p, s->leaf)) {
            is_stalled = true;
            break;
        }
        if (s->leaf->state == LEAF_DELTA || s->leaf->state == LEAF_LOADING) {
            if (removals.run.count || buf_used(&w) > FORMAT_WAL_HEADER_BYTES)
                break; /* first close this one */
            batch_put(b);
            map_load(s->leaf, &s->waiter, leaf_loaded);
            return;
        }
        s->disk = s->leaf->disk;
        if (s->leaf->state == LEAF_READY) {
            is_full = !sweep_leaf(s, s->leaf, &removals);
            pin_for_batch(b, s->leaf);
            map_expect(s->leaf, 0);
        } else {
            pass_unreadable(s->leaf->disk, s->leaf->index);
        }
        if (!is_full) {
            map_unpin(s->leaf);
            s->leaf = NULL;
        }
    }
    if (is_stalled && buf_used(&w) == FORMAT_WAL_HEADER_BYTES && !removals.run.count) {
        batch_put(b);
        s->is_active = false;
        checkpoint_want(p); /* its flip gives space back and goes on here */
        return;
    }
    close_batch(p, b, &removals);
}

/* The lap of a disk is over, and all that it removed is published. */
static void end_laps(struct tl_pool *p)
{
    if (p->sweep.leaf || !list_is_empty(&p->sweep_leaves)) return;
    list_for_each (node, &p->disks) {
        struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        if (disk->records_await_lap && disk->sweep_left == 0) disk_records_swept(disk);
    }
}

static void step(struct rt_message *message)
{
    struct tl_pool *p = container_of(message, struct tl_pool, sweep_message);
    p->sweep.is_posted = false;
    if (p->sweep.is_active || !tl_is_ok(p) || p->is_closing) return;
    end_laps(p);
    bury(p);
    if (!p->sweep.leaf && list_is_empty(&p->sweep_leaves) && !disks_to_sweep(p)) {
        if (!pool_is_sweeping(p)) pump_soon(p);
        return;
    }
    p->sweep.is_active = true;
    sweep(p);
}

bool disks_to_sweep(struct tl_pool *p)
{
    list_for_each (node, &p->disks)
        if (may_sweep(list_entry(node, struct tl_disk, link))) return true;
    return false;
}

bool pool_is_sweeping(struct tl_pool *p)
{
    if (p->sweep.is_active || p->sweep.leaf || !list_is_empty(&p->sweep_leaves)) return true;
    list_for_each (node, &p->disks) {
        struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        if (disk->sweep_left > 0 || disk->records_await_lap) return true;
        if (disk->deleted && !disk->lap_missed) return true;
    }
    return false;
}

void reclaim_init(struct tl_pool *p)
{
    p->sweep.pool = p;
}

void reclaim_fini(struct tl_pool *p)
{
    free(p->sweep.needed);
}
