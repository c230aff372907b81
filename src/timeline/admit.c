/* admit.c - from a host's request to frags that are ready for a batch: range lock, staging, edges
 * (E1, E3). */
#include <stdlib.h>

#include "base/crc32c.h"
#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"

/* ---- Parts of a request ---------------------------------------------------------------------- */

static void io_part_done(struct volume_io *io, enum status status, uint64_t seq)
{
    struct io_state *s = io_state(io);
    if (status != STATUS_OK && s->status == STATUS_OK) {
        s->status = status;
        s->left_sectors = 0; /* the rest is not begun */
    }
    s->max_seq = max_of(s->max_seq, seq);
    check(s->outstanding > 0);
    if (--s->outstanding > 0) return;
    if (list_is_linked(&io->link)) return; /* still being cut: admit_front ends it */
    if (s->status == STATUS_OK && (io->flags & VOLUME_FUA))
        flush_io(io, s->max_seq); /* E5 */
    else
        volume_io_complete(io, (enum status)s->status);
}

static bool overlaps(const struct frag *a, const struct frag *b)
{
    return a->lba < b->lba + b->blocks && b->lba < a->lba + a->blocks;
}

static void granted(struct frag *frag);

static void unlock(struct frag *frag)
{
    struct list_node *node = frag->lock_link.next;
    struct list *locks = &frag->disk->locks;
    list_remove(&frag->lock_link);
    while (node != &locks->head) {
        struct frag *later = list_entry(node, struct frag, lock_link);
        node = node->next;
        if (!overlaps(frag, later)) continue;
        check(later->blockers > 0);
        if (--later->blockers == 0) granted(later);
    }
}

void frag_end(struct frag *frag, enum status status, uint64_t seq)
{
    struct tl_pool *p = frag->disk->pool;
    struct volume_io *io = frag->io;
    for (unsigned i = 0; i < frag->leaf_count; i++) {
        if (frag->is_counted) map_unexpect(frag->leaves[i], frag->blocks);
        map_unpin(frag->leaves[i]);
    }
    frag->leaf_count = 0;
    if (frag->buf) rt_buf_put(p->rt, frag->buf, frag->buf_bytes);
    frag->buf = NULL;
    unlock(frag);
    list_push_back(&p->free_frags, &frag->link);
    io_part_done(io, status, seq);
    pump_soon(p);
}

/* Ends a frag that waits for nothing any more but cannot end inside a call of the host. */
static void end_soon(struct frag *frag, enum status status)
{
    struct tl_pool *p = frag->disk->pool;
    frag->status = status;
    list_push_back(&p->ending, &frag->link);
    pump_soon(p);
}

/* ---- Leaves ---------------------------------------------------------------------------------- */

static void ready(struct frag *frag)
{
    struct tl_pool *p = frag->disk->pool;
    if (!tl_is_ok(p)) {
        end_soon(frag, STATUS_POOL_FAILED);
        return;
    }
    frag->wal_bytes =
        frag->blocks * (frag->kind == FRAG_DATA ? WAL_INSERT_BYTES + 4 + WAL_REMOVE_BYTES
                                                : WAL_INSERT_BYTES + WAL_REMOVE_BYTES);
    list_push_back(&p->ready, &frag->link);
    p->ready_blocks += frag->blocks;
    pump_soon(p);
}

static void leaf_loaded(struct leaf_waiter *waiter, enum status status)
{
    struct frag *frag = container_of(waiter, struct frag, leaf_waiter);
    if (status != STATUS_OK)
        end_soon(frag, status);
    else
        frag_load_leaves(frag);
}

void frag_load_leaves(struct frag *frag)
{
    for (unsigned i = 0; frag->wants_leaves && i < frag->leaf_count; i++) {
        struct leaf *leaf = frag->leaves[i];
        if (leaf->state == LEAF_BROKEN) {
            end_soon(frag, STATUS_BLOCK_CORRUPT);
            return;
        }
        if (leaf->state == LEAF_READY) continue;
        map_load(leaf, &frag->leaf_waiter, leaf_loaded);
        return;
    }
    ready(frag);
}

/* E3: from here on the frames of its leaves are held. */
static void hold_leaves(struct frag *frag)
{
    uint64_t first = frag->lba / FORMAT_LEAF_BLOCKS,
             last = (frag->lba + frag->blocks - 1) / FORMAT_LEAF_BLOCKS;
    for (uint64_t i = first; i <= last; i++) {
        struct leaf *leaf = map_leaf(frag->disk, i);
        map_pin(leaf);
        frag->leaves[frag->leaf_count++] = leaf;
        if (leaf->state == LEAF_BROKEN) frag->wants_leaves = true;
    }
    frag_load_leaves(frag);
}

/* ---- Data ------------------------------------------------------------------------------------ */

/* Copies between buf and the io's memory; offset counts bytes of that memory. */
static void copy_iov(const struct volume_io *io, uint64_t offset, uint8_t *buf, size_t bytes)
{
    for (unsigned i = 0; i < io->iov_count && bytes > 0; i++) {
        const struct iovec *v = &io->iov[i];
        if (offset >= v->iov_len) {
            offset -= v->iov_len;
            continue;
        }
        size_t n = min_of(bytes, v->iov_len - (size_t)offset);
        memcpy(buf, (const uint8_t *)v->iov_base + offset, n);
        buf += n;
        bytes -= n;
        offset = 0;
    }
    check(bytes == 0);
}

/* Bytes of the frag's sectors within its buffer. */
static uint8_t *frag_bytes(const struct frag *frag, size_t *ret_bytes)
{
    *ret_bytes = (size_t)frag->sector_count * SECTOR_BYTES;
    return frag->buf + (frag->sector * SECTOR_BYTES - frag->lba * BLOCK_BYTES);
}

static void stage(struct frag *frag)
{
    struct volume_io *io = frag->io;
    size_t bytes;
    uint8_t *to = frag_bytes(frag, &bytes);
    if (io->op == VOLUME_ZERO)
        memset(to, 0, bytes);
    else if (io->op == VOLUME_COMPARE_WRITE)
        copy_iov(io, io->sector_count * SECTOR_BYTES, to, bytes);
    else
        copy_iov(io, (frag->sector - io->sector) * SECTOR_BYTES, to, bytes);
    for (uint32_t i = 0; i < frag->blocks; i++)
        frag->crcs[i] = crc32c(0, frag->buf + (size_t)i * BLOCK_BYTES, BLOCK_BYTES);
    hold_leaves(frag);
}

/* Compares the present content with the first half of the io's memory. */
static bool compare(struct frag *frag)
{
    struct volume_io *io = frag->io;
    size_t bytes, at = 0;
    const uint8_t *have = frag_bytes(frag, &bytes);
    for (unsigned i = 0; i < io->iov_count && at < bytes; i++) {
        const uint8_t *want = io->iov[i].iov_base;
        size_t n = min_of(io->iov[i].iov_len, bytes - at);
        for (size_t j = 0; j < n; j++, at++) {
            if (have[at] == want[j]) continue;
            io->miscompare_offset = (uint32_t)at;
            return false;
        }
    }
    return true;
}

/* Which of its blocks must be read before the write: all for a comparison, else the ragged ends. */
static bool next_pre_image(struct frag *frag, uint64_t *ret_lba, uint32_t *ret_blocks)
{
    uint64_t end = frag->sector + frag->sector_count;
    bool head = frag->sector % SECTORS_PER_BLOCK != 0, tail = end % SECTORS_PER_BLOCK != 0;
    unsigned step = frag->pre_image_step++;
    if (frag->io->op == VOLUME_COMPARE_WRITE) {
        *ret_lba = frag->lba;
        *ret_blocks = frag->blocks;
        return step == 0;
    }
    *ret_blocks = 1;
    if (step == 0 && head) {
        *ret_lba = frag->lba;
        return true;
    }
    if (step == 0) step = frag->pre_image_step++;
    *ret_lba = frag->lba + frag->blocks - 1;
    return step == 1 && tail && !(head && frag->blocks == 1);
}

static void pre_image(struct frag *frag);

static void pre_image_done(struct read_frag *read)
{
    struct frag *frag = read->arg;
    enum status status = read->status;
    read_put(read);
    frag->pre_image = NULL;
    if (status != STATUS_OK)
        end_soon(frag, status);
    else
        pre_image(frag);
}

/* E1: the lock is held, so this reads a published version that nothing can change. */
static void pre_image(struct frag *frag)
{
    struct tl_pool *p = frag->disk->pool;
    uint64_t lba;
    uint32_t blocks;
    struct read_frag *read = list_is_empty(&p->free_reads) ? NULL : read_get(p);
    if (!read) {
        list_push_back(&p->pre_image_waiting, &frag->link);
        return;
    }
    if (!next_pre_image(frag, &lba, &blocks)) {
        read_put(read);
        if (frag->io->op == VOLUME_COMPARE_WRITE && !compare(frag))
            end_soon(frag, STATUS_MISCOMPARE);
        else if (frag->blockers > 0)
            frag->is_early = true; /* only with MUTATION_STAMP_BEFORE_LOCK */
        else
            stage(frag);
        return;
    }
    frag->pre_image = read;
    read->disk = frag->disk;
    read->generation = FORMAT_LIVE;
    read->lba = lba;
    read->blocks = blocks;
    read->buf = frag->buf + (lba - frag->lba) * BLOCK_BYTES;
    read->done = pre_image_done;
    read->arg = frag;
    read_start(read);
}

static bool is_ragged(const struct frag *frag)
{
    return frag->sector % SECTORS_PER_BLOCK ||
           (frag->sector + frag->sector_count) % SECTORS_PER_BLOCK;
}

static void take_buffer(struct frag *frag)
{
    struct tl_pool *p = frag->disk->pool;
    frag->buf_bytes = (size_t)frag->blocks * BLOCK_BYTES;
    frag->buf = rt_buf_get(p->rt, frag->buf_bytes);
    if (!frag->buf) {
        list_push_front(&p->buf_waiting, &frag->link);
        return;
    }
    if (is_ragged(frag) || frag->io->op == VOLUME_COMPARE_WRITE)
        pre_image(frag);
    else
        stage(frag);
}

/* The range lock is ours (E1). */
static void granted(struct frag *frag)
{
    struct tl_pool *p = frag->disk->pool;
    if (!tl_is_ok(p)) {
        end_soon(frag, STATUS_POOL_FAILED);
        return;
    }
    if (frag->is_early) {
        stage(frag);
        return;
    }
    if (frag->has_lock) return; /* its early read is under way */
    frag->has_lock = true;
    list_push_back(&p->buf_waiting, &frag->link);
    pump_soon(p);
}

static void start(struct frag *frag)
{
    struct tl_pool *p = frag->disk->pool;
    if (!tl_is_ok(p)) {
        end_soon(frag, STATUS_POOL_FAILED);
    } else if (frag->kind == FRAG_DATA) {
        take_buffer(frag);
    } else if (!frag->disk->parent &&
               map_leaf_is_absent(frag->disk, frag->lba / FORMAT_LEAF_BLOCKS)) {
        end_soon(frag, STATUS_OK); /* nothing there: no version, no hole */
    } else {
        frag->wants_leaves = true;
        hold_leaves(frag);
    }
}

/* ---- Cutting requests into frags ------------------------------------------------------------- */

static uint64_t blocks_of(uint64_t sectors)
{
    return sectors / SECTORS_PER_BLOCK;
}

/* Sets the frag's extent to the next part of io; false when what is left holds no whole block to
 * unmap. */
static bool next_part(struct volume_io *io, struct frag *frag)
{
    struct io_state *s = io_state(io);
    uint64_t sector = s->next_sector, end = sector + s->left_sectors;
    uint64_t block = sector / SECTORS_PER_BLOCK, stop;
    bool head = sector % SECTORS_PER_BLOCK != 0;
    if (io->op == VOLUME_UNMAP) { /* ragged edges are left alone */
        block = blocks_of(sector + SECTORS_PER_BLOCK - 1);
        if (block >= blocks_of(end)) return false;
        head = false;
    }
    bool holes =
        io->op == VOLUME_UNMAP || (io->op == VOLUME_ZERO && !head && blocks_of(end) > block);
    if (holes) {
        stop = min_of(blocks_of(end), (block / FORMAT_LEAF_BLOCKS + 1) * FORMAT_LEAF_BLOCKS);
        frag->kind = FRAG_HOLE;
    } else {
        stop = min_of(blocks_of(end + SECTORS_PER_BLOCK - 1), block + FORMAT_BATCH_MAX_BLOCKS);
        if (io->op == VOLUME_ZERO) stop = block + 1;
        /* Compare-and-write is one frag: it may begin and end ragged. */
        frag->kind = FRAG_DATA;
    }
    frag->lba = block;
    frag->blocks = (uint32_t)(stop - block);
    frag->sector = max_of(sector, block * SECTORS_PER_BLOCK);
    uint64_t part_end = min_of(end, stop * SECTORS_PER_BLOCK);
    frag->sector_count = part_end - frag->sector;
    s->next_sector = part_end;
    s->left_sectors = end - part_end;
    return true;
}

static void lock(struct frag *frag)
{
    list_for_each (node, &frag->disk->locks)
        if (overlaps(list_entry(node, struct frag, lock_link), frag)) frag->blockers++;
    list_push_back(&frag->disk->locks, &frag->lock_link);
    if (frag->blockers == 0) {
        granted(frag);
    } else if (mutation_is(MUTATION_STAMP_BEFORE_LOCK) && is_ragged(frag)) {
        frag->has_lock = true;
        list_push_back(&frag->disk->pool->buf_waiting, &frag->link);
    }
}

static void admit_one(struct tl_pool *p, struct volume_io *io)
{
    struct frag *frag = list_entry(list_pop_front(&p->free_frags), struct frag, link);
    struct io_state *s = io_state(io);
    *frag = (struct frag){.io = io};
    frag->disk = container_of(io->volume, struct tl_volume, base)->disk;
    if (!next_part(io, frag)) {
        list_push_back(&p->free_frags, &frag->link);
        s->left_sectors = 0;
        return;
    }
    s->outstanding++;
    lock(frag);
}

void admit_io(struct volume_io *io)
{
    struct tl_pool *p = tl_pool(io->volume->pool);
    struct io_state *s = io_state(io);
    *s = (struct io_state){.next_sector = io->sector, .left_sectors = io->sector_count};
    p->counters.host_writes++;
    p->counters.host_write_bytes += io->sector_count * SECTOR_BYTES;
    list_push_back(&p->admit_queue, &io->link);
    pump_soon(p);
}

/* A compare-and-write that spans 65 blocks (ragged, 256 KiB) would not fit a batch. */
static bool admit_front(struct tl_pool *p)
{
    struct list_node *node = list_front(&p->admit_queue);
    struct volume_io *io = list_entry(node, struct volume_io, link);
    struct io_state *s = io_state(io);
    if (s->left_sectors > 0) {
        if (list_is_empty(&p->free_frags)) return false;
        s->outstanding++; /* the part cannot end the io while it is being cut */
        admit_one(p, io);
        s->outstanding--;
    }
    if (s->left_sectors > 0) return true;
    list_remove(node);
    if (s->outstanding > 0) return true;
    /* Nothing to do, or all parts have ended. */
    if (s->status == STATUS_OK && (io->flags & VOLUME_FUA))
        flush_io(io, max_of(s->max_seq, p->published_seq));
    else
        volume_io_complete(io, (enum status)s->status);
    return true;
}

static void end_frags(struct tl_pool *p)
{
    for (struct list_node *node; (node = list_pop_front(&p->ending));) {
        struct frag *frag = list_entry(node, struct frag, link);
        /* Nothing was written: durable when what was published is. */
        frag_end(frag, frag->status, p->published_seq);
    }
}

static struct tl_disk *disk_of(const struct volume_io *io)
{
    return container_of(io->volume, struct tl_volume, base)->disk;
}

bool admit_is_idle(const struct tl_disk *disk)
{
    if (!list_is_empty(&disk->locks)) return false;
    list_for_each (node, &disk->pool->admit_queue) {
        const struct volume_io *io = list_entry(node, struct volume_io, link);
        if (disk_of(io) == disk && io_is_begun(io)) return false;
    }
    return true;
}

/* Those of a disk that is being reverted wait, and are passed. */
static void admit_queue_pump(struct tl_pool *p)
{
    struct list held;
    list_init(&held);
    while (!list_is_empty(&p->admit_queue)) {
        struct volume_io *io = list_entry(list_front(&p->admit_queue), struct volume_io, link);
        if (!io_is_begun(io) && disk_of(io)->holds > 0) {
            list_remove(&io->link);
            list_push_back(&held, &io->link);
            continue;
        }
        if (!io_is_begun(io) && !io_fits(io)) io_refuse(io, STATUS_OUT_OF_RANGE);
        if (!admit_front(p)) break;
    }
    list_splice_back(&held, &p->admit_queue); /* older ones first */
    list_splice_back(&p->admit_queue, &held);
}

void admit_pump(struct tl_pool *p)
{
    end_frags(p);
    admit_queue_pump(p);
    while (!list_is_empty(&p->pre_image_waiting) && !list_is_empty(&p->free_reads))
        pre_image(list_entry(list_pop_front(&p->pre_image_waiting), struct frag, link));
    while (!list_is_empty(&p->buf_waiting)) {
        struct frag *frag = list_entry(list_pop_front(&p->buf_waiting), struct frag, link);
        start(frag);
        if (list_front(&p->buf_waiting) == &frag->link) { /* no buffer */
            if (!p->is_waiting_for_buf) {
                p->is_waiting_for_buf = true;
                rt_buf_wait(p->rt, &p->buf_waiter, admit_buf_came);
            }
            break;
        }
    }
    end_frags(p);
}

void admit_buf_came(struct rt_buf_waiter *waiter)
{
    struct tl_pool *p = container_of(waiter, struct tl_pool, buf_waiter);
    p->is_waiting_for_buf = false;
    pump_soon(p);
}

void admit_fail_all(struct tl_pool *p)
{
    struct list *lists[] = {&p->ready, &p->space_waiting, &p->buf_waiting, &p->pre_image_waiting};
    for (unsigned i = 0; i < countof(lists); i++) {
        for (struct list_node *node; (node = list_pop_front(lists[i]));) {
            struct frag *frag = list_entry(node, struct frag, link);
            frag->status = STATUS_POOL_FAILED;
            list_push_back(&p->ending, &frag->link);
        }
    }
    p->ready_blocks = 0;
    list_for_each_safe (node, &p->admit_queue) {
        struct volume_io *io = list_entry(node, struct volume_io, link);
        struct io_state *s = io_state(io);
        s->status = STATUS_POOL_FAILED;
        s->left_sectors = 0;
        list_remove(node);
        if (s->outstanding == 0) volume_io_complete(io, STATUS_POOL_FAILED);
    }
    end_frags(p);
}

void admit_init(struct tl_pool *p)
{
    list_init(&p->free_frags);
    list_init(&p->admit_queue);
    list_init(&p->buf_waiting);
    list_init(&p->pre_image_waiting);
    list_init(&p->ready);
    list_init(&p->space_waiting);
    list_init(&p->ending);
    p->frags = calloc(FRAG_COUNT, sizeof *p->frags);
    check(p->frags != NULL);
    for (unsigned i = 0; i < FRAG_COUNT; i++)
        list_push_back(&p->free_frags, &p->frags[i].link);
}
