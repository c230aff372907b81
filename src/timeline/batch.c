/* batch.c - gather, close, submit: the write path under E1 to E6, up to publication (publish.c). */
#include <stdlib.h>

#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"
#include "timeline/tables.h"

enum { GATHER_BLOCKS = 8 }; /* per batch in flight: how much must have gathered to close another */

void pump_soon(struct tl_pool *p)
{
    if (p->pump_is_posted) return;
    p->pump_is_posted = true;
    rt_post(p->rt, &p->pump_message);
}

struct batch *batch_get(struct tl_pool *p)
{
    struct list_node *node = list_pop_front(&p->free_batches);
    if (!node) return NULL;
    struct batch *b = list_entry(node, struct batch, link);
    check(b->state == BATCH_FREE);
    b->io_count = b->pending = b->tries = b->iov_count = 0;
    b->data_blocks = 0;
    b->has_failed = b->is_shown = false;
    b->published = NULL;
    b->pinned_count = 0;
    list_init(&b->frags);
    return b;
}

void batch_put(struct batch *b)
{
    for (unsigned i = 0; i < b->pinned_count; i++)
        map_unpin(b->pinned[i]);
    b->pinned_count = 0;
    b->state = BATCH_FREE;
    list_push_back(&b->pool->free_batches, &b->link);
}

/* ---- The log --------------------------------------------------------------------------------- */

/* Where a batch of that size goes: never over the end of the ring. */
static uint64_t position_for(const struct tl_pool *p, uint32_t blocks)
{
    uint64_t wal = p->super.wal_blocks, offset = p->head_position % wal;
    return offset + blocks <= wal ? p->head_position : p->head_position + wal - offset;
}

bool log_has_room(const struct tl_pool *p, enum wal_kind kind, uint32_t blocks)
{
    uint64_t wal = p->super.wal_blocks, reserve = 0; /* E13 */
    switch (kind) {
    case WAL_DATA:
        reserve = wal / 8;
        break;
    case WAL_RECLAIM:
        reserve = wal / 16;
        break;
    case WAL_ADMIN:
        reserve = wal / 32;
        break;
    case WAL_OPEN:
    case WAL_NOTE:
        break;
    }
    /* What a cut over several pools has been promised (E22). */
    if (p->gate.batch && (kind == WAL_DATA || kind == WAL_RECLAIM || kind == WAL_ADMIN))
        reserve += GATE_LOG_BLOCKS;
    uint64_t end = position_for(p, blocks) + blocks;
    return end - p->ckpt.previous_position + reserve <= wal;
}

/* ---- Submission ------------------------------------------------------------------------------ */

static void batch_settled(struct batch *b);

static void batch_io_done(struct rt_file_io *io)
{
    struct batch_io *bio = container_of(io, struct batch_io, io);
    struct batch *b = bio->batch;
    if (io->status == STATUS_OK)
        bio->is_done = true;
    else
        b->has_failed = true;
    check(b->pending > 0);
    if (--b->pending == 0) batch_settled(b);
}

static void submit_ios(struct batch *b)
{
    b->has_failed = false;
    for (unsigned i = 0; i < b->io_count; i++)
        if (!b->ios[i].is_done) b->pending++;
    for (unsigned i = 0; i < b->io_count; i++) {
        struct batch_io *bio = &b->ios[i];
        if (bio->is_done) continue;
        bio->io.iov = &b->iovs[bio->iov_first];
        bio->io.iov_count = bio->iov_count;
        rt_file_submit(b->pool->rt, &bio->io);
    }
}

static void batch_settled(struct batch *b)
{
    struct tl_pool *p = b->pool;
    if (!b->has_failed) {
        b->state = BATCH_COMPLETE;
        batch_publish(p);
        return;
    }
    if (tl_is_ok(p) && ++b->tries < BATCH_TRIES) {
        submit_ios(b); /* E5: reissued under its seq */
        return;
    }
    b->state = BATCH_COMPLETE;
    pool_fail(p, "a write failed and could not be repeated");
    batch_publish(p);
}

static struct batch_io *add_io(struct batch *b, uint64_t block)
{
    struct batch_io *bio = &b->ios[b->io_count++];
    *bio = (struct batch_io){.batch = b, .iov_first = b->iov_count};
    bio->io = (struct rt_file_io){.op = RT_FILE_WRITE,
                                  .file = b->pool->file,
                                  .offset = block * BLOCK_BYTES,
                                  .done = batch_io_done};
    return bio;
}

static void number(struct batch *b, enum wal_kind kind)
{
    struct tl_pool *p = b->pool;
    check(p->next_seq < FORMAT_GENERATION_MAX - 1);
    b->header = (struct wal_header){.uuid = p->super.uuid,
                                    .epoch = p->epoch,
                                    .seq = p->next_seq++,
                                    .prev_seq = p->last_closed_seq,
                                    .durable = p->durable_seq,
                                    .kind = kind,
                                    .wall_ns = rt_wall(p->rt)};
    p->last_closed_seq = b->header.seq;
    b->state = BATCH_SUBMITTED;
    list_push_back(&p->in_flight, &b->link); /* E2: the order of seq */
    p->batch_count++;
}

/* Behind number(): the log record is complete; everything goes to the device at once. */
static void seal_and_submit(struct batch *b, const struct buf_writer *w)
{
    struct tl_pool *p = b->pool;
    uint32_t blocks = wal_blocks_for(w);
    b->header.position = position_for(p, blocks);
    wal_seal(b->wal, w, &b->header);
    b->end_position = b->header.position + blocks;
    check(b->end_position - p->ckpt.previous_position <= p->super.wal_blocks); /* E8, E12 */
    p->head_position = b->end_position;
    struct batch_io *bio = add_io(b, p->super.wal_start + b->header.position % p->super.wal_blocks);
    b->iovs[b->iov_count++] =
        (struct iovec){.iov_base = b->wal, .iov_len = (size_t)blocks * BLOCK_BYTES};
    bio->iov_count = 1;
    flush_note_batch(p, b);
    p->counters.batches++;
    p->counters.batch_blocks += b->data_blocks;
    p->counters.wal_bytes += (uint64_t)blocks * BLOCK_BYTES;
    p->counters.data_bytes += (uint64_t)b->data_blocks * BLOCK_BYTES;
    submit_ios(b);
}

void batch_add_data(struct batch *b, uint64_t block, uint8_t *from, uint32_t blocks)
{
    struct batch_io *io = add_io(b, block);
    b->iovs[b->iov_count++] = (struct iovec){.iov_base = from, .iov_len = (size_t)blocks * BLOCK_BYTES};
    io->iov_count = 1;
    b->data_blocks += blocks;
}

void batch_close(struct batch *b, enum wal_kind kind, const struct buf_writer *w)
{
    if (kind == WAL_DATA) b->pool->host_batches++; /* promoted copies */
    number(b, kind);
    seal_and_submit(b, w);
}

/* ---- Records of a host's batch --------------------------------------------------------------- */

void removals_flush(struct removals *r)
{
    if (r->run.count) wal_put_remove(r->w, &r->run);
    r->run.count = 0;
}

void removals_add(struct removals *r, uint32_t disk, uint64_t lba, struct version *v)
{
    uint64_t generation = version_generation(v), phys = version_phys(v);
    uint8_t flags = v->flags & VERSION_HOLE ? WAL_HOLE : 0;
    v->flags |= VERSION_REMOVING;
    if (r->run.count && r->run.disk == disk && r->run.lba + r->run.count == lba &&
        r->run.generation == generation && r->run.flags == flags && lba % FORMAT_LEAF_BLOCKS != 0 &&
        (flags || r->run.phys + r->run.count == phys)) {
        r->run.count++;
        return;
    }
    removals_flush(r);
    r->run = (struct wal_record){.type = WAL_REMOVE,
                                 .flags = flags,
                                 .disk = disk,
                                 .lba = lba,
                                 .count = 1,
                                 .phys = phys,
                                 .generation = generation};
}

/* What a write to a block supersedes: the version of the live view that no closed batch removes. */
struct superseded {
    struct version *version; /* NULL: none */
    bool is_needed;          /* a point sees it */
    unsigned count;          /* versions of the block that no closed batch removes */
};

static struct superseded superseded_by(struct leaf *leaf, uint64_t lba,
                                       const struct retained *retained)
{
    struct version *first;
    unsigned n = leaf_versions(leaf, (unsigned)(lba % FORMAT_LEAF_BLOCKS), &first);
    struct superseded s = {.version = live_version(first, n, retained)};
    for (unsigned i = 0; i < n; i++)
        if (!(first[i].flags & VERSION_REMOVING)) s.count++;
    if (s.version) s.is_needed = points_need(first, n, s.version, retained);
    return s;
}

static struct leaf *frag_leaf(const struct frag *frag, uint64_t lba)
{
    uint64_t index = lba / FORMAT_LEAF_BLOCKS;
    for (unsigned i = 0; i < frag->leaf_count; i++)
        if (frag->leaves[i]->index == index) return frag->leaves[i];
    unreachable("a frag holds the leaves of all its blocks (E3)");
}

/* How many data blocks the frag's batch would free; what it cannot see counts as none. */
static uint32_t blocks_freed_by(const struct frag *frag)
{
    struct retained retained = disk_retained(frag->disk);
    uint32_t freed = 0;
    for (uint32_t i = 0; i < frag->blocks; i++) {
        uint64_t lba = frag->lba + i;
        struct leaf *leaf = frag_leaf(frag, lba);
        if (leaf->state != LEAF_READY) continue;
        struct superseded s = superseded_by(leaf, lba, &retained);
        if (s.version && !(s.version->flags & VERSION_HOLE) && !s.is_needed) freed++;
    }
    return freed;
}

/* E10: names the version that this write supersedes and that nothing else needs. */
static void remove_superseded(struct frag *frag, uint64_t seq, struct removals *removals)
{
    struct retained retained = disk_retained(frag->disk);
    for (uint32_t i = 0; i < frag->blocks; i++) {
        uint64_t lba = frag->lba + i;
        struct leaf *leaf = frag_leaf(frag, lba);
        if (leaf->state != LEAF_READY) continue; /* found at merge, removed by reclaim */
        struct superseded s = superseded_by(leaf, lba, &retained);
        if (!s.version) continue;
        check(version_generation(s.version) < seq); /* E1 */
        if (!s.is_needed || mutation_is(MUTATION_FREE_POINT_BLOCKS))
            removals_add(removals, frag->disk->id, lba, s.version);
    }
}

struct holes {
    struct buf_writer *w;
    struct wal_record run;
};

static void holes_flush(struct holes *h)
{
    if (h->run.count) wal_put_insert(h->w, &h->run);
    h->run.count = 0;
}

static void holes_add(struct holes *h, uint32_t disk, uint64_t lba)
{
    if (h->run.count && h->run.lba + h->run.count == lba) {
        h->run.count++;
        return;
    }
    holes_flush(h);
    h->run = (struct wal_record){
        .type = WAL_INSERT, .flags = WAL_HOLE, .disk = disk, .lba = lba, .count = 1};
}

/* A discard: the version goes where nothing needs it; a HOLE hides it, or the parent, elsewhere
 * (E20). */
static void put_holes(struct frag *frag, struct buf_writer *w, struct removals *removals)
{
    struct retained retained = disk_retained(frag->disk);
    struct holes holes = {.w = w};
    struct leaf *leaf = frag->leaves[0];
    for (uint32_t i = 0; i < frag->blocks; i++) {
        uint64_t lba = frag->lba + i;
        struct superseded s = superseded_by(leaf, lba, &retained);
        if (!s.version) {
            if (retained.falls_through) holes_add(&holes, frag->disk->id, lba);
            continue;
        }
        if (s.version->flags & VERSION_HOLE) continue;
        if (s.is_needed || s.count > 1 || retained.falls_through)
            holes_add(&holes, frag->disk->id, lba);
        if (!s.is_needed) removals_add(removals, frag->disk->id, lba, s.version);
    }
    holes_flush(&holes);
}

/* ---- Data of a host's batch ------------------------------------------------------------------ */

struct placing {
    struct batch *b;
    struct batch_io *io;
    uint64_t run_block;
    uint32_t run_left, left; /* left: data blocks of the batch without a place yet */
};

static void place_more(struct placing *at)
{
    struct tl_pool *p = at->b->pool;
    at->run_left = alloc_take(&p->alloc, at->left, &at->run_block);
    check(at->run_left > 0); /* E3: held before it is closed */
    at->io = add_io(at->b, at->run_block);
}

static void place_iov(struct placing *at, uint8_t *from, uint32_t blocks)
{
    struct batch *b = at->b;
    size_t bytes = (size_t)blocks * BLOCK_BYTES;
    if (at->io->iov_count > 0) {
        struct iovec *last = &b->iovs[b->iov_count - 1];
        if ((uint8_t *)last->iov_base + last->iov_len == from) {
            last->iov_len += bytes;
            return;
        }
    }
    b->iovs[b->iov_count++] = (struct iovec){.iov_base = from, .iov_len = bytes};
    at->io->iov_count++;
}

static void place_frag(struct placing *at, struct frag *frag, struct buf_writer *w)
{
    uint64_t seq = at->b->header.seq;
    for (uint32_t done = 0; done < frag->blocks;) {
        if (at->run_left == 0) place_more(at);
        uint64_t lba = frag->lba + done;
        uint32_t to_edge = (uint32_t)(FORMAT_LEAF_BLOCKS - lba % FORMAT_LEAF_BLOCKS);
        uint32_t n = min_of(frag->blocks - done, at->run_left);
        n = min_of(n, to_edge);
        struct wal_record record = {.type = WAL_INSERT,
                                    .disk = frag->disk->id,
                                    .lba = lba,
                                    .count = n,
                                    .phys = at->run_block};
        uint8_t *crcs = wal_put_insert(w, &record);
        check(crcs != NULL);
        for (uint32_t i = 0; i < n; i++)
            store_le32(crcs + 4 * i,
                       wal_block_crc(frag->crcs[done + i], frag->disk->id, lba + i, seq));
        place_iov(at, frag->buf + (size_t)done * BLOCK_BYTES, n);
        at->run_block += n;
        at->run_left -= n;
        at->left -= n;
        done += n;
    }
}

static void close_host_batch(struct batch *b)
{
    struct tl_pool *p = b->pool;
    struct buf_writer w = wal_body(b->wal, FORMAT_BATCH_WAL_BLOCKS * BLOCK_BYTES);
    struct removals removals = {.w = &w};
    struct placing placing = {.b = b, .left = b->data_blocks};
    number(b, WAL_DATA); /* E1: here and nowhere else */
    list_for_each (node, &b->frags) {
        struct frag *frag = list_entry(node, struct frag, link);
        for (unsigned i = 0; i < frag->leaf_count; i++)
            if (frag->leaves[i]->state != LEAF_READY) frag->is_blind = true;
        if (frag->kind == FRAG_HOLE) {
            put_holes(frag, &w, &removals);
        } else {
            remove_superseded(frag, b->header.seq, &removals);
            place_frag(&placing, frag, &w);
        }
    }
    removals_flush(&removals);
    check(placing.left == 0 && placing.run_left == 0);
    p->host_batches++;
    seal_and_submit(b, &w);
}

/* ---- Gathering ------------------------------------------------------------------------------- */

enum space { SPACE_GO, SPACE_WAIT, SPACE_LOAD, SPACE_FULL };

/* May the frag take its blocks now? taken: what the open batch holds already (E13, E28). */
static enum space space_for(struct tl_pool *p, struct frag *frag, uint64_t taken)
{
    uint64_t want = taken, extra = 0;
    if (frag->kind == FRAG_DATA) want += frag->blocks;
    for (unsigned i = 0; i < frag->leaf_count; i++)
        extra += map_extra_need(frag->leaves[i], frag->blocks) + 1;
    uint64_t need = want + extra + pool_checkpoint_need(p), reserve = pool_reserve_blocks(p);
    uint64_t reclaim_reserve = 64 + 2 * (uint64_t)p->largest_leaf_blocks;
    if (p->alloc.free_count >= need + reserve + reclaim_reserve) return SPACE_GO;
    bool frees = frag->kind == FRAG_HOLE;
    if (!frees) {
        for (unsigned i = 0; i < frag->leaf_count; i++)
            if (frag->leaves[i]->state != LEAF_READY) return SPACE_LOAD;
        frees = blocks_freed_by(frag) >= frag->blocks;
    }
    /* E28: what frees as much as it takes may use the recycling reserve. */
    if (frees && p->alloc.free_count >= need + reclaim_reserve / 2) return SPACE_GO;
    if (frag->space_limit == 0) frag->space_limit = p->ckpt.number + 3;
    /* What recycling and a few checkpoints can bring at most. */
    uint64_t coming = p->alloc.queue_blocks + retired_blocks(p) + p->leaf_need + p->dirty_dir_pages;
    bool is_busy = !list_is_empty(&p->in_flight) || pool_is_sweeping(p);
    if (!is_busy && !frees && p->alloc.free_count + coming < need + reserve) return SPACE_FULL;
    if (!is_busy && p->alloc.queue_blocks == 0 && p->ckpt.number >= frag->space_limit)
        return SPACE_FULL;
    return SPACE_WAIT;
}

static bool batch_takes(const struct batch *b, const struct frag *frag, uint32_t wal_bytes)
{
    uint32_t blocks = frag->kind == FRAG_DATA ? frag->blocks : 0;
    return b->data_blocks + blocks <= FORMAT_BATCH_MAX_BLOCKS &&
           wal_bytes + frag->wal_bytes <= FORMAT_BATCH_WAL_BLOCKS * BLOCK_BYTES;
}

/* Moves ready frags into b; false when none could be taken. */
static bool gather(struct batch *b)
{
    struct tl_pool *p = b->pool;
    uint32_t wal_bytes = FORMAT_WAL_HEADER_BYTES;
    list_for_each_safe (node, &p->ready) {
        struct frag *frag = list_entry(node, struct frag, link);
        if (!batch_takes(b, frag, wal_bytes)) break;
        enum space space = space_for(p, frag, b->data_blocks);
        list_remove(node);
        p->ready_blocks -= frag->blocks;
        switch (space) {
        case SPACE_GO:
            wal_bytes += frag->wal_bytes;
            frag->is_counted = true;
            for (unsigned i = 0; i < frag->leaf_count; i++)
                map_expect(frag->leaves[i], frag->blocks);
            if (frag->kind == FRAG_DATA) b->data_blocks += frag->blocks;
            list_push_back(&b->frags, &frag->link);
            break;
        case SPACE_LOAD:
            frag->wants_leaves = true;
            frag_load_leaves(frag);
            break;
        case SPACE_WAIT:
            list_push_back(&p->space_waiting, &frag->link);
            break;
        case SPACE_FULL:
            frag_end(frag, STATUS_POOL_FULL, 0);
            break;
        }
    }
    return !list_is_empty(&b->frags);
}

static bool may_close(const struct tl_pool *p)
{
    if (list_is_empty(&p->ready) || p->host_batches >= BATCH_HOST_MAX) return false;
    if (p->host_batches == 0) return true; /* QD1 does not wait */
    return p->ready_blocks >=
           min_of((uint32_t)FORMAT_BATCH_MAX_BLOCKS, GATHER_BLOCKS * p->host_batches);
}

static void retry_space(struct tl_pool *p)
{
    if (list_is_empty(&p->space_waiting)) return;
    struct list again;
    list_init(&again);
    list_splice_back(&again, &p->space_waiting);
    list_for_each (node, &again)
        p->ready_blocks += list_entry(node, struct frag, link)->blocks;
    list_splice_back(&again, &p->ready); /* older ones first */
    list_splice_back(&p->ready, &again);
}

static void pump(struct rt_message *message)
{
    struct tl_pool *p = container_of(message, struct tl_pool, pump_message);
    p->pump_is_posted = false;
    if (!p->is_open) return;
    flush_pump(p);
    read_pump(p);
    if (p->base.state == VOLUME_POOL_FAILED) {
        admit_fail_all(p);
        promote_fail_all(p);
        replace_fail_all(p);
    }
    if (p->gate.holds_back && !p->gate.is_closed) batch_publish(p);
    if (!tl_is_ok(p)) return;
    gate_pump(p);
    admin_pump(p);
    admit_pump(p);
    retry_space(p);
    while (may_close(p)) {
        if (!log_has_room(p, WAL_DATA, FORMAT_BATCH_WAL_BLOCKS)) {
            checkpoint_want(p);
            break;
        }
        struct batch *b = batch_get(p);
        if (!b) break;
        if (!gather(b)) {
            batch_put(b);
            break;
        }
        close_host_batch(b);
    }
    if (!list_is_empty(&p->space_waiting)) {
        recycle_kick(p);
        checkpoint_want(p);
        reclaim_poke(p);
    }
    if (p->head_position - p->ckpt.replay_position >= p->super.wal_blocks / 3) checkpoint_want(p);
    volume_pool_space_is(&p->base, pool_free_bytes(p));
    promote_pump(p);
    replace_pump(p);
    settle_poke(p);
}

/* ---- Life ------------------------------------------------------------------------------------ */

void batch_init(struct tl_pool *p)
{
    list_init(&p->free_batches);
    list_init(&p->in_flight);
    p->pump_message.fn = pump;
    p->batches = calloc(BATCH_COUNT, sizeof *p->batches);
    check(p->batches != NULL);
    for (unsigned i = 0; i < BATCH_COUNT; i++) {
        struct batch *b = &p->batches[i];
        b->pool = p;
        b->wal = aligned_alloc(BLOCK_BYTES, FORMAT_BATCH_WAL_BLOCKS * BLOCK_BYTES);
        check(b->wal != NULL);
        list_push_back(&p->free_batches, &b->link);
    }
}

void batch_fini(struct tl_pool *p)
{
    for (unsigned i = 0; p->batches && i < BATCH_COUNT; i++) {
        free(p->batches[i].wal);
        free(p->batches[i].pinned);
    }
    free(p->batches);
    p->batches = NULL;
}
