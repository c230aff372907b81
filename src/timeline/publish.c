/* publish.c - a batch that is complete, and all before it, becomes what is read, and is
 * acknowledged (E4); also what recovery applies (E11). */
#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"
#include "timeline/tables.h"

static bool bitmap_wants(const struct tl_pool *p, uint64_t block, uint64_t seq)
{
    return p->is_open || mutation_is(MUTATION_SKIP_APPLIED_SEQ) ||
           seq > p->bitmap_refs[block / FORMAT_BITMAP_BITS].applied_seq; /* E11 */
}

static void apply_bitmap(struct tl_pool *p, const struct wal_record *r, uint64_t seq,
                         bool is_insert)
{
    for (uint32_t i = 0; i < r->count; i++) {
        uint64_t block = r->phys + i;
        if (!bitmap_wants(p, block, seq)) continue;
        if (alloc_is_written(&p->alloc, block) == is_insert) {
            check(!p->is_open); /* E27 */
            continue;
        }
        if (is_insert)
            alloc_mark_written(&p->alloc, block, 1);
        else
            alloc_unmark_written(&p->alloc, block, 1);
    }
    if (!is_insert && p->is_open) alloc_queue_push(&p->alloc, r->phys, r->count, seq);
}

static uint8_t version_flags_of(const struct wal_record *r)
{
    return (uint8_t)((r->flags & WAL_HOLE ? VERSION_HOLE : 0) |
                     (r->flags & WAL_STAGED ? VERSION_STAGED : 0));
}

static void apply_to_complete(struct leaf *leaf, const struct wal_record *r, uint64_t seq)
{
    bool is_hole = r->flags & WAL_HOLE;
    unsigned first = (unsigned)(r->lba % FORMAT_LEAF_BLOCKS);
    uint64_t generation = r->flags & WAL_FILED ? r->generation : seq;
    uint8_t flags = version_flags_of(r);
    for (unsigned i = 0; i < r->count; i++) {
        if (r->type == WAL_REMOVE) {
            bool was_there = leaf_remove(leaf, first + i, r->generation);
            check(was_there || !leaf->disk->pool->is_open); /* E10 */
        } else {
            leaf_insert(leaf, first + i, generation, is_hole ? 0 : r->phys + i,
                        is_hole ? 0 : load_le32(r->crcs + 4 * i), flags);
        }
    }
}

static void apply_to_leaf(struct leaf *leaf, const struct wal_record *r, uint64_t seq)
{
    bool is_hole = r->flags & WAL_HOLE;
    unsigned first = (unsigned)(r->lba % FORMAT_LEAF_BLOCKS);
    if (leaf->state == LEAF_READY) {
        apply_to_complete(leaf, r, seq);
        return;
    }
    /* Removals are named for complete leaves only. */
    check(r->type == WAL_INSERT || !leaf->disk->pool->is_open);
    struct leaf_op op = {.seq = seq, .first = (uint16_t)first, .count = (uint16_t)r->count};
    op.is_removal = r->type == WAL_REMOVE;
    op.generation = op.is_removal || (r->flags & WAL_FILED) ? r->generation : seq;
    op.flags = version_flags_of(r);
    if (op.is_removal || is_hole) {
        op.phys = is_hole ? 0 : r->phys;
        leaf_push_op(leaf, &op);
        return;
    }
    op.count = 1;
    for (unsigned i = 0; i < r->count; i++) {
        op.first = (uint16_t)(first + i);
        op.phys = r->phys + i;
        op.crc = load_le32(r->crcs + 4 * i);
        leaf_push_op(leaf, &op);
    }
}

static bool record_is_sane(const struct tl_pool *p, const struct wal_record *r, uint64_t seq)
{
    bool is_filed = r->flags & WAL_FILED, is_staged = r->flags & WAL_STAGED;
    if (r->reserved != 0 || (r->flags & ~(WAL_HOLE | WAL_FILED | WAL_STAGED))) return false;
    if (is_filed && (r->type != WAL_INSERT || (r->flags & (WAL_HOLE | WAL_STAGED)))) return false;
    if (is_staged && r->type != WAL_INSERT) return false;
    if ((is_filed || r->type == WAL_REMOVE) && (r->generation == 0 || r->generation >= seq))
        return false;
    if (r->lba + r->count > LIMIT_DISK_MAX_BYTES / BLOCK_BYTES) return false;
    if (r->flags & WAL_HOLE) return r->phys == 0;
    return r->phys >= p->alloc.start && r->phys < p->alloc.end &&
           r->count <= p->alloc.end - r->phys;
}

bool apply_record(struct tl_pool *p, const struct wal_record *r, uint64_t seq)
{
    if (!record_is_sane(p, r, seq)) return false;
    bool is_insert = r->type == WAL_INSERT, is_hole = r->flags & WAL_HOLE;
    if (!is_hole) apply_bitmap(p, r, seq, is_insert);
    struct tl_disk *disk = disk_by_id(p, r->disk);
    if (!disk) return !p->is_open && seq <= p->tables_applied;
    if (!is_hole && seq > p->tables_applied) {
        if (is_insert)
            disk->own_blocks += r->count;
        else
            disk->own_blocks -= min_of(disk->own_blocks, (uint64_t)r->count);
    }
    uint64_t index = r->lba / FORMAT_LEAF_BLOCKS;
    struct dir_entry *entry = map_entry_create(disk, index);
    /* What made it unneeded meanwhile did not know of it; a stage may have been given up.  Here,
     * where the directory has its page: a lap is as long as that. */
    if (!p->is_open && (r->flags & (WAL_FILED | WAL_STAGED))) disk_sweep_again(disk);
    if (seq <= entry->applied_seq && !mutation_is(MUTATION_SKIP_APPLIED_SEQ)) {
        check(!p->is_open); /* E11 */
        return true;
    }
    struct leaf *leaf = map_leaf(disk, index);
    apply_to_leaf(leaf, r, seq);
    pool_check_follow_record(disk, r);
    map_dirty(leaf, seq);
    map_account(leaf);
    if (is_insert && seq > entry->max_generation) {
        entry->max_generation = seq;
        map_dirty_page(disk, index);
    }
    return true;
}

static void apply_batch(struct batch *b)
{
    struct tl_pool *p = b->pool;
    struct buf_reader r = wal_records(b->wal, &b->header);
    struct wal_record record;
    if (b->header.kind != WAL_DATA && b->header.kind != WAL_RECLAIM) return;
    while (wal_next(&r, &record)) {
        bool good = apply_record(p, &record, b->header.seq);
        check(good);
    }
    check(!r.failed);
}

static void publish_one(struct batch *b, enum status status)
{
    struct tl_pool *p = b->pool;
    uint64_t seq = b->header.seq, bytes = 0;
    check(seq > p->published_seq && b->header.prev_seq == p->published_seq); /* E2, E4 */
    if (!b->is_shown) apply_batch(b);
    p->published_seq = seq;
    p->published_position = b->end_position;
    for (unsigned i = 0; i < b->iov_count; i++)
        bytes += b->iovs[i].iov_len;
    flush_note_published(p, bytes);
    if (b->header.kind == WAL_DATA) p->host_batches--;
    for (struct list_node *node; (node = list_pop_front(&b->frags));) {
        struct frag *frag = list_entry(node, struct frag, link);
        /* Loaded since it was closed: what it superseded must be looked for (E10). */
        for (unsigned i = 0; frag->is_blind && i < frag->leaf_count; i++)
            if (frag->leaves[i]->state == LEAF_READY) reclaim_note_leaf(frag->leaves[i]);
        frag_end(frag, status, seq);
    }
    if (b->published) b->published(b, status);
}

/* Only for MUTATION_ACK_OUT_OF_ORDER and _GATE_ACKNOWLEDGES. */
static void ack_complete(struct tl_pool *p)
{
    list_for_each (node, &p->in_flight) {
        struct batch *b = list_entry(node, struct batch, link);
        if (b->state != BATCH_COMPLETE && mutation_is(MUTATION_GATE_ACKNOWLEDGES)) return;
        if (b->state != BATCH_COMPLETE) continue;
        for (struct list_node *f; (f = list_pop_front(&b->frags));)
            frag_end(list_entry(f, struct frag, link), STATUS_OK, b->header.seq);
    }
}

/* Only for MUTATION_GATE_SHOWS. */
static void show_complete(struct tl_pool *p)
{
    list_for_each (node, &p->in_flight) {
        struct batch *b = list_entry(node, struct batch, link);
        if (b->state != BATCH_COMPLETE) return;
        if (!b->is_shown) apply_batch(b);
        b->is_shown = true;
    }
}

/* E22: neither acknowledged nor seen, until all pools have their record. */
static bool is_held_back(struct tl_pool *p)
{
    if (!p->gate.is_closed || mutation_is(MUTATION_GATE_NOT_HELD)) return false;
    if (mutation_is(MUTATION_GATE_ACKNOWLEDGES)) ack_complete(p);
    if (mutation_is(MUTATION_GATE_SHOWS)) show_complete(p);
    p->gate.holds_back = true;
    return true;
}

void batch_publish(struct tl_pool *p)
{
    struct list_node *node;
    if (is_held_back(p)) return;
    p->gate.holds_back = false;
    if (mutation_is(MUTATION_ACK_OUT_OF_ORDER)) ack_complete(p);
    while ((node = list_front(&p->in_flight))) {
        struct batch *b = list_entry(node, struct batch, link);
        if (b->state != BATCH_COMPLETE || b->has_failed) break; /* E4 */
        list_remove(node);
        p->batch_count--;
        /* In a failed pool too: recovery will find it, so reads must not show what was before. */
        publish_one(b, tl_is_ok(p) ? STATUS_OK : STATUS_POOL_FAILED);
        batch_put(b);
    }
    if (!tl_is_ok(p)) batch_fail_all(p);
    pump_soon(p);
    reclaim_poke(p);
    checkpoint_poke(p);
}

/* The pool has failed: a batch that cannot be completed, and those behind it, end when their I/O
 * has. */
void batch_fail_all(struct tl_pool *p)
{
    bool is_behind = false;
    check(p->in_flight.head.next != NULL); /* for the analyzer: an initialised list has no NULL */
    list_for_each_safe (node, &p->in_flight) {
        struct batch *b = list_entry(node, struct batch, link);
        is_behind = is_behind || (b->has_failed && b->pending == 0);
        if (is_behind) b->has_failed = true; /* later too, when what it is behind is gone */
        if (!is_behind || b->pending > 0) continue;
        list_remove(node);
        p->batch_count--;
        if (b->header.kind == WAL_DATA) p->host_batches--;
        for (struct list_node *f; (f = list_pop_front(&b->frags));)
            frag_end(list_entry(f, struct frag, link), STATUS_POOL_FAILED, 0);
        if (b->published) b->published(b, STATUS_POOL_FAILED);
        batch_put(b);
    }
}
