/* blob.c - metadata as a chain of extents. */
#include "pool/blob.h"

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"

void extents_push(struct extents *list, uint64_t block, uint32_t blocks)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 4;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        check(list->items != NULL);
    }
    list->items[list->count++] = (struct extent){.block = block, .blocks = blocks};
}

void extents_fini(struct extents *list)
{
    free(list->items);
    *list = (struct extents){0};
}

uint64_t extents_blocks(const struct extents *list)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < list->count; i++)
        n += list->items[i].blocks;
    return n;
}

static uint64_t capacity_of(uint32_t blocks)
{
    return (uint64_t)blocks * BLOCK_BYTES - FORMAT_BLOB_HEADER_BYTES;
}

uint64_t blob_blocks_for(uint64_t bytes)
{
    uint64_t blocks = 0, most = capacity_of(FORMAT_EXTENT_MAX_BLOCKS);
    for (; bytes > most; bytes -= most)
        blocks += FORMAT_EXTENT_MAX_BLOCKS;
    return blocks + (bytes + FORMAT_BLOB_HEADER_BYTES + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

bool blob_take(struct alloc *alloc, uint64_t bytes, struct extents *list)
{
    uint64_t left = bytes;
    *list = (struct extents){0};
    do {
        uint64_t block, want = blob_blocks_for(left);
        uint32_t n =
            alloc_take(alloc, (uint32_t)min_of(want, (uint64_t)FORMAT_EXTENT_MAX_BLOCKS), &block);
        if (n == 0) {
            for (uint32_t i = 0; i < list->count; i++)
                alloc_give_back(alloc, list->items[i].block, list->items[i].blocks);
            extents_fini(list);
            return false;
        }
        extents_push(list, block, n);
        left -= min_of(left, capacity_of(n));
    } while (left > 0);
    return true;
}

struct blob_ref blob_encode(const struct extents *list, uint32_t magic, const void *payload,
                            uint64_t bytes, uint8_t *memory)
{
    struct blob_ref next = {0};
    uint64_t at = extents_blocks(list) * BLOCK_BYTES, before = 0;
    for (uint32_t i = 0; i + 1 < list->count; i++)
        before += capacity_of(list->items[i].blocks);
    for (uint32_t i = list->count; i-- > 0;) {
        const struct extent *e = &list->items[i];
        uint64_t size = (uint64_t)e->blocks * BLOCK_BYTES,
                 here = min_of(bytes - before, capacity_of(e->blocks));
        at -= size;
        struct buf_writer w = buf_writer(memory + at, size);
        buf_put_le32(&w, magic);
        buf_put_le32(&w, (uint32_t)here);
        buf_put_le64(&w, bytes);
        buf_put_le64(&w, e->block);
        buf_put_le64(&w, next.block);
        buf_put_le32(&w, next.blocks);
        buf_put_le32(&w, next.crc);
        buf_put_zeroes(&w, FORMAT_BLOB_HEADER_BYTES - buf_used(&w));
        buf_put_bytes(&w, (const uint8_t *)payload + before, here);
        buf_put_zeroes(&w, size - buf_used(&w));
        check(!w.failed);
        next = (struct blob_ref){
            .block = e->block, .blocks = e->blocks, .crc = crc32c(0, memory + at, size)};
        if (i > 0) before -= capacity_of(list->items[i - 1].blocks);
    }
    return next;
}

bool blob_ref_is_sane(const struct blob_ref *ref, const struct alloc *bounds)
{
    return ref->blocks >= 1 && ref->blocks <= FORMAT_EXTENT_MAX_BLOCKS &&
           ref->block >= bounds->start && ref->block < bounds->end &&
           ref->blocks <= bounds->end - ref->block;
}

bool blob_decode(const uint8_t *memory, const struct blob_ref *ref, uint32_t magic,
                 const struct alloc *bounds, const uint8_t **ret_payload, uint32_t *ret_bytes,
                 struct blob_ref *ret_next)
{
    uint64_t size = (uint64_t)ref->blocks * BLOCK_BYTES;
    struct buf_reader r = buf_reader(memory, size);
    if (crc32c(0, memory, size) != ref->crc) return false;
    if (buf_take_le32(&r) != magic) return false;
    uint32_t here = buf_take_le32(&r);
    buf_take_le64(&r);
    if (buf_take_le64(&r) != ref->block || here > capacity_of(ref->blocks)) return false;
    struct blob_ref next;
    next.block = buf_take_le64(&r);
    next.blocks = buf_take_le32(&r);
    next.crc = buf_take_le32(&r);
    if (next.block != 0 && !blob_ref_is_sane(&next, bounds)) return false;
    *ret_payload = memory + FORMAT_BLOB_HEADER_BYTES;
    *ret_bytes = here;
    *ret_next = next;
    return true;
}
