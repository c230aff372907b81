/* stored.c - verifies metadata where it is stored, while checkpoints and writers replace it. */
#include "timeline/stored.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "timeline/map.h"
#include "timeline/tables.h"

enum { LOOKS = 50, BAD_LOOKS = 2, PAUSE_MS = 10 };

/* ---- Where a piece is ------------------------------------------------------------------------ */

/* What names its newest form; block 0: there is none. */
static struct blob_ref ref_of(const struct tl_pool *p, const struct stored_piece *piece)
{
    struct tl_disk *disk = disk_by_id(p, piece->disk);
    switch (piece->kind) {
    case STORED_SYSTEM:
        return p->super.system;
    case STORED_BITMAP: {
        const struct bitmap_ref *page = &p->bitmap_refs[piece->index];
        return (struct blob_ref){.block = page->block, .blocks = 1, .crc = page->crc};
    }
    case STORED_DIR:
        if (!disk || piece->index >= disk->dir_count || !disk->dir[piece->index]) break;
        return disk->dir[piece->index]->ref;
    case STORED_LEAF: {
        const struct dir_entry *entry = disk ? map_entry(disk, piece->index) : NULL;
        if (entry) return entry->ref;
        break;
    }
    }
    return (struct blob_ref){0};
}

/* The pages of a new image have their places before they are written (E11). */
static bool is_being_written(const struct stored_read *r)
{
    return r->pool->ckpt.phase == CHECKPOINT_PAGES &&
           (r->piece.kind == STORED_BITMAP || r->piece.kind == STORED_DIR);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void look(struct stored_read *r);

static void end(struct stored_read *r, enum stored_verdict verdict)
{
    free(take_ptr(&r->memory));
    r->is_active = false;
    r->verdict = verdict;
    r->done(r);
}

static bool ref_equal(const struct blob_ref *a, const struct blob_ref *b)
{
    return a->block == b->block && a->blocks == b->blocks && a->crc == b->crc;
}

static void look_again(struct rt_timer *timer)
{
    look(container_of(timer, struct stored_read, timer));
}

static void look_later(struct stored_read *r)
{
    struct rt *rt = r->pool->rt;
    rt_timer_set(rt, &r->timer, rt_now(rt) + PAUSE_MS * RT_MS, look_again);
}

/* What was read does not match; that says something only if it is still what counts. */
static void mismatched(struct stored_read *r)
{
    struct blob_ref now = ref_of(r->pool, &r->piece);
    r->bad_looks = ref_equal(&now, &r->first) ? r->bad_looks + 1 : 0;
    if (r->bad_looks == BAD_LOOKS)
        end(r, STORED_BAD);
    else
        look(r);
}

static void read_extent(struct stored_read *r);

/* False: it does not match.  *ret_next: what follows in the chain; block 0: nothing. */
static bool matches(const struct stored_read *r, struct blob_ref *ret_next)
{
    const uint8_t *payload;
    uint32_t bytes, magic = FORMAT_SYSTEM_MAGIC;
    *ret_next = (struct blob_ref){0};
    switch (r->piece.kind) {
    case STORED_BITMAP:
    case STORED_DIR:
        return crc32c(0, r->memory, BLOCK_BYTES) == r->ref.crc;
    case STORED_LEAF:
        magic = FORMAT_LEAF_MAGIC;
        break;
    case STORED_SYSTEM:
        break;
    }
    return blob_decode(r->memory, &r->ref, magic, &r->pool->alloc, &payload, &bytes, ret_next);
}

static void extent_read(struct rt_file_io *io)
{
    struct stored_read *r = container_of(io, struct stored_read, io);
    struct blob_ref next;
    if (io->status != STATUS_OK || !matches(r, &next)) {
        mismatched(r);
        return;
    }
    r->ref = next;
    if (next.block == 0)
        end(r, STORED_GOOD);
    else
        read_extent(r);
}

static void read_extent(struct stored_read *r)
{
    struct tl_pool *p = r->pool;
    size_t bytes = (size_t)r->ref.blocks * BLOCK_BYTES;
    free(r->memory);
    r->memory = aligned_alloc(BLOCK_BYTES, bytes);
    check(r->memory != NULL);
    r->iov = (struct iovec){.iov_base = r->memory, .iov_len = bytes};
    r->io = (struct rt_file_io){.op = RT_FILE_READ,
                                .file = p->file,
                                .offset = r->ref.block * BLOCK_BYTES,
                                .iov = &r->iov,
                                .iov_count = 1,
                                .done = extent_read};
    rt_file_submit(p->rt, &r->io);
}

static void look(struct stored_read *r)
{
    struct blob_ref ref = ref_of(r->pool, &r->piece);
    if (r->looks++ == LOOKS || !tl_is_ok(r->pool) || r->pool->is_closing) {
        end(r, STORED_MOVED);
    } else if (ref.block == 0) {
        end(r, STORED_GOOD); /* it has gone meanwhile */
    } else if (is_being_written(r)) {
        look_later(r);
    } else {
        r->first = r->ref = ref;
        read_extent(r);
    }
}

bool stored_read(struct stored_read *r, const struct stored_piece *piece,
                 void (*done)(struct stored_read *read))
{
    check(!r->is_active);
    struct blob_ref ref = ref_of(r->pool, piece);
    if (ref.block == 0) return false;
    r->piece = *piece;
    r->done = done;
    r->looks = r->bad_looks = 0;
    r->is_active = true;
    look(r); /* it does not end in this turn: there is something to read */
    return true;
}

void stored_init(struct stored_read *r, struct tl_pool *pool)
{
    *r = (struct stored_read){.pool = pool};
}

void stored_fini(struct stored_read *r)
{
    rt_timer_cancel(r->pool->rt, &r->timer);
    free(r->memory);
}
