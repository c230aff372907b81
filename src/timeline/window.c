/* window.c - puts copied blocks into a batch when there is room (E3, E13). */
#include "timeline/window.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "timeline/tables.h"

enum { SPACE_TRIES = 4 };

void window_init(struct window *w, struct tl_pool *pool, struct tl_disk *disk)
{
    *w = (struct window){.pool = pool, .disk = disk};
    w->buf = aligned_alloc(BLOCK_BYTES, (size_t)WINDOW_BLOCKS * BLOCK_BYTES);
    check(w->buf != NULL);
}

void window_fini(struct window *w)
{
    free(w->buf);
}

void window_wait_anew(struct window *w)
{
    w->space_checkpoint = 0;
}

static bool has_space(struct window *w, enum status *ret_status)
{
    struct tl_pool *p = w->pool;
    uint64_t need = w->wanted_count + map_extra_need(w->leaf, w->wanted_count) + 1 +
                    pool_checkpoint_need(p) + 2 * pool_reserve_blocks(p) + 64 +
                    2 * (uint64_t)p->largest_leaf_blocks;
    if (p->alloc.free_count >= need) {
        w->space_checkpoint = 0;
        return true;
    }
    if (w->space_checkpoint == 0) w->space_checkpoint = p->ckpt.number + SPACE_TRIES;
    if (p->ckpt.number >= w->space_checkpoint && !pool_is_sweeping(p))
        *ret_status = STATUS_POOL_FULL;
    recycle_kick(p);
    checkpoint_want(p);
    return false;
}

static void put_data(const struct window *w, struct wal_record *record, uint64_t generation,
                     struct batch *b, struct buf_writer *body)
{
    uint8_t *from = w->buf + (size_t)(record->lba - w->lba) * BLOCK_BYTES;
    record->count = alloc_take(&w->pool->alloc, record->count, &record->phys);
    check(record->count > 0); /* has_space */
    uint8_t *crcs = wal_put_insert(body, record);
    check(crcs != NULL);
    for (uint32_t i = 0; i < record->count; i++)
        store_le32(crcs + 4 * i,
                   wal_block_crc(crc32c(0, from + (size_t)i * BLOCK_BYTES, BLOCK_BYTES),
                                 record->disk, record->lba + i, generation));
    batch_add_data(b, record->phys, from, record->count);
}

static void put(const struct window *w, const struct window_how *how, struct batch *b)
{
    struct buf_writer body = wal_body(b->wal, FORMAT_BATCH_WAL_BLOCKS * BLOCK_BYTES);
    uint64_t seq = w->pool->next_seq; /* the batch's: nothing comes between */
    for (uint32_t i = 0; i < w->blocks;) {
        struct wal_record record = {.type = WAL_INSERT,
                                    .flags = how->flags,
                                    .disk = w->disk->id,
                                    .lba = w->lba + i,
                                    .count = 1,
                                    .generation = how->generation};
        while (i + record.count < w->blocks && w->kinds[i + record.count] == w->kinds[i])
            record.count++;
        if (w->kinds[i] == BLOCK_HOLE) {
            record.flags |= WAL_HOLE;
            wal_put_insert(&body, &record);
        } else if (w->kinds[i] == BLOCK_DATA) {
            put_data(w, &record, how->generation ? how->generation : seq, b, &body);
        }
        i += record.count;
    }
    batch_close(b, WAL_DATA, &body);
    check(b->header.seq == seq);
}

bool window_write(struct window *w, const struct window_how *how, enum status *ret_status)
{
    struct tl_pool *p = w->pool;
    struct batch *b;
    check(w->wanted_count > 0 && w->leaf);
    *ret_status = STATUS_OK;
    if (p->host_batches >= BATCH_HOST_MAX / 2 || !has_space(w, ret_status)) return false;
    if (!log_has_room(p, WAL_DATA, FORMAT_BATCH_WAL_BLOCKS)) {
        checkpoint_want(p);
        return false;
    }
    if (!(b = batch_get(p))) return false;
    map_expect(w->leaf, w->wanted_count);
    b->arg = how->arg;
    b->published = how->published;
    put(w, how, b);
    return true;
}
