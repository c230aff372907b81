/* recover.c - open: superblock, pages, log; the cut; OPEN (E7 to E9, E11, E12). */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"
#include "timeline/recover.h"
#include "timeline/tables.h"

enum {
    WINDOW_BLOCKS = 256,
    LOCK_RETRY_MS = 10,
    LOCK_PATIENCE_S = 10,
    READ_TRIES = 5,
    READ_RETRY_MS = 200,
    SEQ_JUMP = 64, /* past what was under way and never seen (E8) */
};

/* A valid header somewhere in the ring. */
struct seen {
    uint64_t position, seq, prev_seq, epoch;
    uint32_t blocks;
    enum wal_kind kind;
};

struct open_op {
    struct rt *rt;
    char *path;
    struct tl_pool *pool;
    struct volume_pool **ret_pool;
    volume_done_fn *done;
    void *arg;
    struct rt_timer timer;
    struct rt_message message;
    uint64_t begun_ns, patience_ns;
    struct dev_set set;
    uint8_t *memory;        /* WINDOW_BLOCKS */
    uint8_t *verify_memory; /* a batch's data */
    uint8_t **pages;        /* directory and bitmap pages */
    uint32_t page_count, page_capacity;
    uint64_t device_blocks;
    bool needs_successor; /* the superblock may be the older one (E12) */
    unsigned tries;       /* of what could not be read, see try_again */
    uint64_t unread_slot; /* 1 + the place of a superblock that cannot be read; 0: both can */
    struct blob_ref next_ref;
    uint8_t *payload;
    uint64_t payload_bytes;
    struct seen *seen;
    uint32_t seen_count, seen_capacity;
    uint32_t *seen_at; /* 1 + index, by block of the ring */
    uint64_t max_durable, max_seq, max_epoch;
    uint32_t *chain; /* indices of seen */
    uint32_t chain_count, chain_capacity, chain_next;
    uint64_t window_block, window_blocks; /* of the ring, in memory */
    uint64_t scan_block;
    struct wal_header header; /* being verified */
    uint64_t cut_position;
    bool is_cut;
    struct flush_request flush;
    enum status failure; /* of the device, which has failed the pool */
    struct tl_waiter waiter;
};

void open_free(struct open_op *op)
{
    op->pool->opening = NULL;
    for (uint32_t i = 0; i < op->page_count; i++)
        free(op->pages[i]);
    free(op->pages);
    dev_set_fini(&op->set);
    free(op->memory);
    free(op->verify_memory);
    free(op->payload);
    free(op->seen);
    free(op->seen_at);
    free(op->chain);
    free(op->path);
    free(op);
}

static void op_fail(struct open_op *op, struct err *e)
{
    volume_done_fn *done = op->done;
    void *arg = op->arg;
    e = err_wrap(e, "open pool %s", op->path);
    struct tl_pool *p = op->pool;
    *op->ret_pool = NULL;
    open_free(op);
    pool_free(p);
    done(arg, e);
}

static void op_fail_corrupt(struct open_op *op, const char *what)
{
    op_fail(op, err_next(err_new(STATUS_BLOCK_CORRUPT, "%s", what),
                         "the pool cannot be opened; restore it, or look at its device"));
}

/* A path that comes back answers soon.  What is decided on a read that failed for a moment only may
 * be wrong for ever: that a superblock is gone, that a batch was written.  False: it has been tried
 * often enough. */
static bool try_again(struct open_op *op, void (*fn)(struct rt_timer *timer))
{
    if (op->set.status == STATUS_OK || op->tries == READ_TRIES) {
        op->tries = 0;
        return false;
    }
    op->tries++;
    rt_timer_set(op->rt, &op->timer, rt_now(op->rt) + READ_RETRY_MS * RT_MS, fn);
    return true;
}

static void step_soon(struct open_op *op, void (*fn)(struct rt_message *message))
{
    op->message.fn = fn;
    rt_post(op->rt, &op->message);
}

/* ---- Last: OPEN ------------------------------------------------------------------------------ */

static void answer(struct open_op *op)
{
    volume_done_fn *done = op->done;
    void *arg = op->arg;
    op->pool->recovery.duration_ns = rt_now(op->rt) - op->begun_ns;
    open_free(op);
    done(arg, NULL);
}

static void first_checkpoint_done(struct tl_waiter *waiter, enum status status)
{
    (void)status; /* the pool's state tells */
    answer(container_of(waiter, struct open_op, waiter));
}

static void finish(struct open_op *op)
{
    struct tl_pool *p = op->pool;
    p->tables_applied = 0;
    p->is_open = true;
    list_for_each (node, &p->disks) {
        struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        disk->records_await_lap = disk->record_count > 0;
        if (disk->sweep_left)
            disk->sweep_left = disk->dir_count * FORMAT_DIR_ENTRIES; /* it may have grown */
        if (disk_has_dead_records(disk)) disk->sweep_left = disk->dir_count * FORMAT_DIR_ENTRIES;
        for (uint64_t i = 0; i < disk->dir_count && !disk->sweep_left; i++)
            for (unsigned j = 0; disk->dir[i] && j < FORMAT_DIR_ENTRIES; j++)
                if (disk->dir[i]->entries[j].needs_sweep)
                    disk->sweep_left = disk->dir_count * FORMAT_DIR_ENTRIES;
    }
    p->sweep.has_work = true;
    reclaim_poke(p);
    map_trim_soon(p);
    pump_soon(p);
    /* A program that dies soon after each start must not fill the log with OPENs. */
    if (tl_is_ok(p) && p->head_position - p->ckpt.replay_position >= p->super.wal_blocks / 3)
        checkpoint_wait(p, &op->waiter, first_checkpoint_done);
    else
        answer(op);
}

static void open_flushed(struct flush_request *request, enum status status)
{
    struct open_op *op = container_of(request, struct open_op, flush);
    op->failure = status;
    if (status == STATUS_OK) finish(op); /* else open_failed tells it */
}

static void open_published(struct batch *b, enum status status)
{
    struct open_op *op = b->arg;
    op->failure = status;
    if (status != STATUS_OK) return; /* open_failed tells it */
    flusher_submit(&op->pool->flusher, &op->flush, RT_FLUSH_RECOVERY_OPEN, open_flushed);
}

/* The pool has failed, which posts a message to it: only when that has come may it go. */
static void open_device_failed(struct rt_message *message)
{
    struct open_op *op = container_of(message, struct open_op, message);
    bool is_flush = op->failure == STATUS_FLUSH_FAILED;
    op_fail(op, is_flush ? err_new(STATUS_FLUSH_FAILED, "the device failed to flush")
                         : err_new(STATUS_WRITE_FAILED, "the log could not be written"));
}

static void cut_flushed(struct flush_request *request, enum status status)
{
    struct open_op *op = container_of(request, struct open_op, flush);
    struct tl_pool *p = op->pool;
    op->failure = status;
    if (status != STATUS_OK) return; /* open_failed tells it */
    check(p->durable_seq == p->published_seq); /* E8: D = cut */
    if (!log_has_room(p, WAL_OPEN, 2)) {       /* for it and for what a checkpoint needs */
        p->base.state = VOLUME_POOL_DAMAGED;
        snprintf(p->base.trouble, sizeof p->base.trouble,
                 "the log is full: the program ended too often before it could make a checkpoint");
        finish(op);
        return;
    }
    struct batch *b = batch_get(p);
    struct buf_writer w = wal_body(b->wal, BLOCK_BYTES);
    struct wal_record record = {.type = WAL_OPEN_RECORD,
                                .generation = p->published_seq,
                                .durable = p->durable_seq,
                                .epoch = p->epoch};
    wal_put_admin(&w, &record);
    b->arg = op;
    b->published = open_published;
    batch_close(b, WAL_OPEN, &w);
}

/* The cut is known: what was replayed becomes the state; then flush, then OPEN. */
static void set_state(struct open_op *op)
{
    struct tl_pool *p = op->pool;
    struct tl_checkpoint *c = &p->ckpt;
    alloc_take_written(&p->alloc);
    for (uint32_t i = 0; i < c->retiring.count; i++)
        alloc_take_exact(&p->alloc, c->retiring.items[i].block, c->retiring.items[i].blocks);
    p->epoch = max_of(op->max_epoch, p->super.epoch) + 1;
    p->next_seq = max_of(op->max_seq + 1, p->super.next_seq) + SEQ_JUMP; /* E8: never used twice */
    p->last_closed_seq = p->published_seq;
    p->head_position = p->published_position = op->cut_position;
}

static void unread_replaced(struct dev_set *set)
{
    struct open_op *op = container_of(set, struct open_op, set);
    if (set->status != STATUS_OK)
        op_fail(op, err_new(set->status, "a superblock can be neither read nor written"));
    else
        flusher_submit(&op->pool->flusher, &op->flush, RT_FLUSH_RECOVERY_CUT, cut_flushed);
}

/* It may be the newer one, and be readable again one day: then its pages may have been overwritten. */
static void replace_unread(struct open_op *op)
{
    super_encode(&op->pool->super, op->memory);
    dev_set_clear(&op->set);
    dev_set_add(&op->set, RT_FILE_WRITE, op->unread_slot - 1, 1, op->memory);
    dev_set_run(&op->set, unread_replaced);
}

static void decide(struct open_op *op)
{
    struct tl_pool *p = op->pool;
    uint64_t durable = max_of(op->max_durable, p->super.durable);
    for (uint32_t i = 0; i < op->seen_count; i++)
        if (op->seen[i].seq > p->published_seq && op->seen[i].epoch >= p->super.epoch)
            p->recovery.batches_cut++;
    p->recovery.clean = p->recovery.batches_replayed == 0 && p->recovery.batches_cut == 0;
    set_state(op);
    if (durable > p->published_seq) { /* E9 */
        p->base.state = VOLUME_POOL_DAMAGED;
        snprintf(
            p->base.trouble, sizeof p->base.trouble,
            "the log breaks off behind batch %llu, but batches up to %llu had been made durable",
            (unsigned long long)p->published_seq, (unsigned long long)durable);
        finish(op);
        return;
    }
    if (op->unread_slot)
        replace_unread(op);
    else
        flusher_submit(&p->flusher, &op->flush, RT_FLUSH_RECOVERY_CUT, cut_flushed);
}

/* ---- Replay ---------------------------------------------------------------------------------- */

static void replay(struct rt_message *message);
static void verify(struct open_op *op, const uint8_t *batch);

static const uint8_t *batch_in_window(struct open_op *op, const struct seen *s)
{
    uint64_t block = s->position % op->pool->super.wal_blocks;
    if (block < op->window_block || block + s->blocks > op->window_block + op->window_blocks)
        return NULL;
    return op->memory + (block - op->window_block) * BLOCK_BYTES;
}

static bool apply_all(struct open_op *op, const uint8_t *batch, const struct wal_header *h)
{
    struct tl_pool *p = op->pool;
    struct buf_reader r = wal_records(batch, h);
    struct wal_record record;
    while (wal_next(&r, &record)) {
        if (record.type == WAL_INSERT || record.type == WAL_REMOVE) {
            if (!apply_record(p, &record, h->seq)) return false;
        } else if (h->seq > p->tables_applied) { /* E11 */
            if (!tables_apply(p, &record, h->seq, h->wall_ns)) return false;
        }
    }
    return !r.failed;
}

static void replayed(struct open_op *op, const uint8_t *batch)
{
    struct tl_pool *p = op->pool;
    const struct wal_header *h = &op->header;
    if (!apply_all(op, batch, h)) {
        /* Its checksum was right: written by a program that was wrong, or meant for other tables.
         */
        op_fail_corrupt(op, "a record of the log does not fit the pool");
        return;
    }
    if (h->kind == WAL_DATA || h->kind == WAL_ADMIN || h->kind == WAL_RECLAIM)
        p->recovery.batches_replayed++;
    p->published_seq = h->seq;
    op->cut_position = h->position + h->blocks;
    op->chain_next++;
    step_soon(op, replay);
}

/* E7: is every block of the batch what its record says? */
static bool data_is_good(struct open_op *op, const uint8_t *batch)
{
    struct buf_reader r = wal_records(batch, &op->header);
    struct wal_record record;
    uint32_t item = 0;
    while (wal_next(&r, &record)) {
        if (record.type != WAL_INSERT || (record.flags & WAL_HOLE)) continue;
        const struct dev_item *it = &op->set.items[item++];
        if (it->status != STATUS_OK)
            continue; /* a bad sector, not an unwritten one: kept, reads will tell */
        for (uint32_t i = 0; i < record.count; i++) {
            const uint8_t *block = (const uint8_t *)it->memory + (size_t)i * BLOCK_BYTES;
            if (wal_block_crc(crc32c(0, block, BLOCK_BYTES), record.disk, record.lba + i,
                              record.flags & WAL_FILED ? record.generation : op->header.seq) !=
                load_le32(record.crcs + 4 * i))
                return false;
            op->pool->recovery.blocks_verified++;
        }
    }
    return true;
}

static void verify_again(struct rt_timer *timer)
{
    struct open_op *op = container_of(timer, struct open_op, timer);
    verify(op, batch_in_window(op, &op->seen[op->chain[op->chain_next]]));
}

static void verified(struct dev_set *set)
{
    struct open_op *op = container_of(set, struct open_op, set);
    if (try_again(op, verify_again)) return;
    const uint8_t *batch = batch_in_window(op, &op->seen[op->chain[op->chain_next]]);
    if (data_is_good(op, batch))
        replayed(op, batch);
    else
        decide(op); /* the cut is before it */
}

static void verify(struct open_op *op, const uint8_t *batch)
{
    struct tl_pool *p = op->pool;
    struct buf_reader r = wal_records(batch, &op->header);
    struct wal_record record;
    uint32_t blocks = 0;
    dev_set_clear(&op->set);
    while (wal_next(&r, &record)) {
        if (record.type != WAL_INSERT || (record.flags & WAL_HOLE)) continue;
        if (record.phys < p->alloc.start || record.phys >= p->alloc.end ||
            record.count > p->alloc.end - record.phys ||
            blocks + record.count > FORMAT_BATCH_MAX_BLOCKS) {
            op_fail_corrupt(op, "a record of the log does not fit the pool");
            return;
        }
        dev_set_add(&op->set, RT_FILE_READ, record.phys, record.count,
                    op->verify_memory + (size_t)blocks * BLOCK_BYTES);
        blocks += record.count;
    }
    dev_set_run(&op->set, verified);
}

static void window_read(struct dev_set *set)
{
    struct open_op *op = container_of(set, struct open_op, set);
    if (set->status != STATUS_OK)
        op_fail(op, err_new(set->status, "the log could not be read"));
    else
        step_soon(op, replay);
}

static void replay(struct rt_message *message)
{
    struct open_op *op = container_of(message, struct open_op, message);
    struct tl_pool *p = op->pool;
    if (op->chain_next == op->chain_count) {
        decide(op);
        return;
    }
    const struct seen *s = &op->seen[op->chain[op->chain_next]];
    const uint8_t *batch = batch_in_window(op, s);
    if (!batch) {
        op->window_block = s->position % p->super.wal_blocks;
        op->window_blocks = min_of((uint64_t)WINDOW_BLOCKS, p->super.wal_blocks - op->window_block);
        dev_set_clear(&op->set);
        dev_set_add(&op->set, RT_FILE_READ, p->super.wal_start + op->window_block,
                    (uint32_t)op->window_blocks, op->memory);
        dev_set_run(&op->set, window_read);
        return;
    }
    if (!wal_decode_header(batch, &p->super.uuid, &op->header) ||
        !wal_body_is_good(batch, &op->header)) {
        decide(op);
        return;
    }
    if (op->header.seq > op->max_durable && !mutation_is(MUTATION_NO_VERIFY))
        verify(op, batch);
    else
        replayed(op, batch);
}

/* ---- The ring -------------------------------------------------------------------------------- */

static const struct seen *seen_with(const struct open_op *op, uint64_t position, uint64_t prev_seq)
{
    uint32_t at = op->seen_at[position % op->pool->super.wal_blocks];
    if (at == 0) return NULL;
    const struct seen *s = &op->seen[at - 1];
    return s->position == position && s->prev_seq == prev_seq ? s : NULL;
}

/* The batches behind the superblock's replay_seq, each naming the one before it (E8). */
static void build_chain(struct open_op *op)
{
    struct tl_pool *p = op->pool;
    uint64_t wal = p->super.wal_blocks, position = p->super.replay_position,
             seq = p->super.replay_seq, epoch = p->super.epoch;
    for (;;) {
        const struct seen *s = seen_with(op, position, seq);
        if (!s) s = seen_with(op, (position / wal + 1) * wal, seq);
        if (!s || (s->kind == WAL_OPEN ? s->epoch <= epoch : s->epoch != epoch)) break;
        if (op->chain_count == op->chain_capacity) {
            op->chain_capacity = op->chain_capacity ? op->chain_capacity * 2 : 64;
            op->chain = realloc(op->chain, op->chain_capacity * sizeof *op->chain);
            check(op->chain != NULL);
        }
        op->chain[op->chain_count++] = (uint32_t)(s - op->seen);
        seq = s->seq;
        epoch = s->epoch;
        position = s->position + s->blocks;
        if (position - p->super.replay_position > wal) break;
    }
}

static void note_header(struct open_op *op, const struct wal_header *h, uint64_t block)
{
    if (h->position % op->pool->super.wal_blocks != block ||
        block + h->blocks > op->pool->super.wal_blocks)
        return;
    if (op->seen_count == op->seen_capacity) {
        op->seen_capacity = op->seen_capacity ? op->seen_capacity * 2 : 256;
        op->seen = realloc(op->seen, op->seen_capacity * sizeof *op->seen);
        check(op->seen != NULL);
    }
    op->seen[op->seen_count++] = (struct seen){.position = h->position,
                                               .seq = h->seq,
                                               .prev_seq = h->prev_seq,
                                               .epoch = h->epoch,
                                               .blocks = h->blocks,
                                               .kind = h->kind};
    op->seen_at[block] = op->seen_count;
    op->max_durable = max_of(op->max_durable, h->durable); /* E9: of any valid header */
    op->max_seq = max_of(op->max_seq, h->seq);
    op->max_epoch = max_of(op->max_epoch, h->epoch);
}

static void scan(struct open_op *op);

static void scanned(struct dev_set *set)
{
    struct open_op *op = container_of(set, struct open_op, set);
    struct tl_pool *p = op->pool;
    struct wal_header h;
    if (set->status != STATUS_OK) {
        op_fail(op, err_new(set->status, "the log could not be read"));
        return;
    }
    for (uint64_t i = 0; i < op->window_blocks; i++)
        if (wal_decode_header(op->memory + i * BLOCK_BYTES, &p->super.uuid, &h))
            note_header(op, &h, op->scan_block + i);
    op->scan_block += op->window_blocks;
    p->recovery.bytes_scanned += op->window_blocks * BLOCK_BYTES;
    if (op->scan_block < p->super.wal_blocks) {
        scan(op);
        return;
    }
    op->window_blocks = 0;
    build_chain(op);
    if (op->needs_successor && op->chain_count == 0) { /* E12 */
        op_fail_corrupt(op, "only an old superblock is readable and the log behind it is gone");
        return;
    }
    step_soon(op, replay);
}

static void scan(struct open_op *op)
{
    struct tl_pool *p = op->pool;
    op->window_blocks = min_of((uint64_t)WINDOW_BLOCKS, p->super.wal_blocks - op->scan_block);
    dev_set_clear(&op->set);
    dev_set_add(&op->set, RT_FILE_READ, p->super.wal_start + op->scan_block,
                (uint32_t)op->window_blocks, op->memory);
    dev_set_run(&op->set, scanned);
}

/* ---- Pages ----------------------------------------------------------------------------------- */

static void add_page(struct open_op *op, uint64_t block)
{
    if (op->page_count == op->page_capacity) {
        op->page_capacity = op->page_capacity ? op->page_capacity * 2 : 64;
        op->pages = realloc(op->pages, op->page_capacity * sizeof *op->pages);
        check(op->pages != NULL);
    }
    uint8_t *memory = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
    check(memory != NULL);
    op->pages[op->page_count++] = memory;
    dev_set_add(&op->set, RT_FILE_READ, block, 1, memory);
    alloc_take_exact(&op->pool->alloc, block, 1);
    op->pool->metadata_blocks++;
}

static bool take_bitmap(struct tl_pool *p, uint64_t page, const uint8_t *memory)
{
    if (crc32c(0, memory, BLOCK_BYTES) != p->bitmap_refs[page].crc) return false;
    return alloc_load_page(&p->alloc, page, memory);
}

static bool take_pages(struct open_op *op)
{
    struct tl_pool *p = op->pool;
    uint32_t at = 0;
    for (uint64_t i = 0; i < alloc_page_count(&p->alloc); i++)
        if (p->bitmap_refs[i].block && !take_bitmap(p, i, op->pages[at++])) return false;
    list_for_each (node, &p->disks) {
        struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        for (uint64_t i = 0; i < disk->dir_count; i++)
            if (disk->dir[i] && disk->dir[i]->ref.block &&
                !checkpoint_decode_dir(disk, i, op->pages[at++]))
                return false;
    }
    /* What is written and is no data is leaves. */
    uint64_t data = 0;
    list_for_each (node, &p->disks)
        data += list_entry(node, struct tl_disk, link)->own_blocks;
    if (data > p->alloc.written_count) return false;
    p->metadata_blocks += p->alloc.written_count - data;
    return true;
}

static void pages_read(struct dev_set *set)
{
    struct open_op *op = container_of(set, struct open_op, set);
    if (set->status != STATUS_OK) {
        op_fail(op, err_new(set->status, "the pages of the map could not be read"));
        return;
    }
    if (!take_pages(op)) {
        op_fail_corrupt(op, "a page of the map is damaged");
        return;
    }
    scan(op);
}

static void read_pages(struct open_op *op)
{
    struct tl_pool *p = op->pool;
    dev_set_clear(&op->set);
    for (uint64_t i = 0; i < alloc_page_count(&p->alloc); i++)
        if (p->bitmap_refs[i].block) add_page(op, p->bitmap_refs[i].block);
    list_for_each (node, &p->disks) {
        struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        for (uint64_t i = 0; i < disk->dir_count; i++)
            if (disk->dir[i] && disk->dir[i]->ref.block) add_page(op, disk->dir[i]->ref.block);
    }
    dev_set_run(&op->set, pages_read);
}

static void read_system(struct open_op *op);

static void system_read(struct dev_set *set)
{
    struct open_op *op = container_of(set, struct open_op, set);
    struct tl_pool *p = op->pool;
    const uint8_t *payload;
    uint32_t bytes;
    struct blob_ref next;
    if (set->status != STATUS_OK) {
        op_fail(op, err_new(set->status, "the system pages could not be read"));
        return;
    }
    if (!blob_decode(op->memory, &op->next_ref, FORMAT_SYSTEM_MAGIC, &p->alloc, &payload, &bytes,
                     &next) ||
        p->ckpt.system_extents.count > 1u << 16) {
        op_fail_corrupt(op, "the system pages are damaged");
        return;
    }
    op->payload = realloc(op->payload, op->payload_bytes + bytes + 1);
    check(op->payload != NULL);
    memcpy(op->payload + op->payload_bytes, payload, bytes);
    op->payload_bytes += bytes;
    extents_push(&p->ckpt.system_extents, op->next_ref.block, op->next_ref.blocks);
    alloc_take_exact(&p->alloc, op->next_ref.block, op->next_ref.blocks);
    p->metadata_blocks += op->next_ref.blocks;
    op->next_ref = next;
    if (next.block) {
        read_system(op);
        return;
    }
    if (!tables_decode(p, op->payload, op->payload_bytes, &p->tables_applied)) {
        op_fail_corrupt(op, "the system pages are damaged");
        return;
    }
    read_pages(op);
}

static void read_system(struct open_op *op)
{
    dev_set_clear(&op->set);
    dev_set_add(&op->set, RT_FILE_READ, op->next_ref.block, op->next_ref.blocks, op->memory);
    dev_set_run(&op->set, system_read);
}

/* ---- First: the superblock ------------------------------------------------------------------- */

static bool is_zero(const uint8_t *block)
{
    for (unsigned i = 0; i < BLOCK_BYTES; i++)
        if (block[i]) return false;
    return true;
}

/* The newer of the valid slots; sets needs_successor when a newer one may have been lost (E12). */
static enum status choose_super(struct open_op *op, struct super *ret_super,
                                uint64_t *ret_other_position)
{
    struct super s[2];
    enum status status[2];
    for (unsigned i = 0; i < 2; i++)
        status[i] = super_decode(op->memory + i * BLOCK_BYTES, op->device_blocks, &s[i]);
    if (status[0] == STATUS_FORMAT_VERSION || status[1] == STATUS_FORMAT_VERSION)
        return STATUS_FORMAT_VERSION;
    if (status[0] != STATUS_OK && status[1] != STATUS_OK) return STATUS_NOT_A_POOL;
    unsigned newest =
        status[0] != STATUS_OK || (status[1] == STATUS_OK && s[1].checkpoint > s[0].checkpoint);
    unsigned other = 1 - newest;
    *ret_super = s[newest];
    *ret_other_position = s[newest].replay_position;
    if (status[other] == STATUS_OK && uuid_equal(&s[other].uuid, &s[newest].uuid))
        *ret_other_position = min_of(s[other].replay_position, s[newest].replay_position);
    else
        op->needs_successor = !is_zero(op->memory + other * BLOCK_BYTES);
    return STATUS_OK;
}

static void read_supers_again(struct rt_timer *timer);

static void supers_read(struct dev_set *set)
{
    struct open_op *op = container_of(set, struct open_op, set);
    struct tl_pool *p = op->pool;
    uint64_t other_position;
    if (try_again(op, read_supers_again)) return;
    if (set->items[0].status != STATUS_OK && set->items[1].status != STATUS_OK) {
        op_fail(op, err_new(STATUS_READ_FAILED, "the superblocks could not be read"));
        return;
    }
    enum status status = choose_super(op, &p->super, &other_position);
    if (status != STATUS_OK) {
        op_fail(
            op,
            status == STATUS_FORMAT_VERSION
                ? err_next(err_new(status, "its format is not the one that this program knows (%d)",
                                   FORMAT_VERSION),
                           "open it with the version of Tarn that it belongs to")
                : err_new(status,
                          "neither superblock is valid: this is no Tarn pool, or it is destroyed"));
        return;
    }
    for (unsigned i = 0; i < 2; i++)
        if (set->items[i].status != STATUS_OK) op->unread_slot = 1 + set->items[i].block;
    if (op->unread_slot) op->needs_successor = true;
    p->base.uuid = p->super.uuid;
    alloc_init(&p->alloc, p->super.data_start, p->super.size_blocks);
    p->bitmap_refs = calloc(alloc_page_count(&p->alloc), sizeof *p->bitmap_refs);
    op->seen_at = calloc(p->super.wal_blocks, sizeof *op->seen_at);
    check(p->bitmap_refs && op->seen_at);
    p->ckpt.number = p->super.checkpoint;
    p->ckpt.next_number = p->super.checkpoint + 1;
    p->ckpt.replay_seq = p->super.replay_seq;
    p->ckpt.replay_position = p->super.replay_position;
    p->ckpt.previous_position = other_position;
    p->published_seq = p->super.replay_seq;
    op->cut_position = p->super.replay_position;
    op->max_durable = p->super.durable;
    op->next_ref = p->super.system;
    read_system(op);
}

static void read_supers(struct open_op *op)
{
    memset(op->memory, 0, 2 * BLOCK_BYTES);
    dev_set_clear(&op->set);
    dev_set_add(&op->set, RT_FILE_READ, FORMAT_SUPER_A, 1, op->memory);
    dev_set_add(&op->set, RT_FILE_READ, FORMAT_SUPER_B, 1, op->memory + BLOCK_BYTES);
    dev_set_run(&op->set, supers_read);
}

static void read_supers_again(struct rt_timer *timer)
{
    read_supers(container_of(timer, struct open_op, timer));
}

static void open_file(struct open_op *op);

static void open_again(struct rt_timer *timer)
{
    open_file(container_of(timer, struct open_op, timer));
}

static void open_file_soon(struct rt_message *message)
{
    open_file(container_of(message, struct open_op, message));
}

static void open_file(struct open_op *op)
{
    struct rt_file *file;
    struct rt_file_info info;
    struct tl_pool *p = op->pool;
    struct err *e = rt_file_open(op->rt, op->path, RT_OPEN_LOCK | RT_OPEN_DIRECT, &file, &info);
    if (e && err_status(e) == STATUS_LOCKED && rt_now(op->rt) < op->begun_ns + op->patience_ns) {
        err_free(e); /* E15: the I/O of a process that was killed may still be under way */
        rt_timer_set(op->rt, &op->timer, rt_now(op->rt) + LOCK_RETRY_MS * RT_MS, open_again);
        return;
    }
    if (e) {
        op_fail(op, e);
        return;
    }
    p->file = file;
    op->device_blocks = info.size_bytes / BLOCK_BYTES;
    pool_start(p);
    dev_set_init(&op->set, op->rt, file);
    if (op->device_blocks < LIMIT_POOL_MIN_BYTES / BLOCK_BYTES) {
        op_fail(op, err_new(STATUS_NOT_A_POOL, "it is too small to be a pool"));
        return;
    }
    read_supers(op);
}

void timeline_pool_open(struct rt *rt, const char *path, const struct volume_pool_options *options,
                        struct volume_pool **ret_pool, volume_done_fn *done, void *arg)
{
    struct open_op *op = calloc(1, sizeof *op);
    check(op != NULL);
    op->rt = rt;
    op->path = strdup(path);
    op->memory = aligned_alloc(BLOCK_BYTES, (size_t)WINDOW_BLOCKS * BLOCK_BYTES);
    op->verify_memory = aligned_alloc(BLOCK_BYTES, (size_t)FORMAT_BATCH_MAX_BLOCKS * BLOCK_BYTES);
    check(op->path && op->memory && op->verify_memory);
    op->ret_pool = ret_pool;
    op->done = done;
    op->arg = arg;
    op->begun_ns = rt_now(rt);
    op->patience_ns = options && options->lock_at_once ? 0 : LOCK_PATIENCE_S * RT_SECOND;
    op->pool = pool_new(rt, options);
    op->pool->opening = op;
    *ret_pool = &op->pool->base; /* so that a crash in the middle can be abandoned */
    step_soon(op, open_file_soon);
}

void open_failed(struct tl_pool *p)
{
    step_soon(p->opening, open_device_failed);
}
