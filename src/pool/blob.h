/*
 * blob.h - metadata of any length as a chain of extents (leaves, system tables).
 *
 * Words: an EXTENT is a run of at most 256 blocks; its first 48 bytes say how much it holds and
 * where the next one is.  The reference to an extent carries its checksum, so a chain is verified
 * from its root; each extent also names its own place.
 *
 *     n = blob_extents(&alloc, bytes, &extents);                 // takes the blocks
 *     ref = blob_encode(extents, n, payload, bytes, memory);     // memory: blob_blocks(extents, n)
 *     ... write each extent; keep ref ...
 *
 * Threads: any.  Ownership: the extents array is malloc'ed and the caller's.
 */
#ifndef TARN_POOL_BLOB_H
#define TARN_POOL_BLOB_H

#include <stddef.h>

#include "pool/alloc.h"
#include "pool/super.h"

struct extent {
    uint64_t block;
    uint32_t blocks;
};

struct extents {
    struct extent *items;
    uint32_t count, capacity;
};

void extents_push(struct extents *list, uint64_t block, uint32_t blocks);
void extents_fini(struct extents *list);
uint64_t extents_blocks(const struct extents *list);

/* Blocks that `bytes` of payload take in one run. */
uint64_t blob_blocks_for(uint64_t bytes);
/* Takes blocks for `bytes` of payload; false (and nothing taken) when there are not enough. */
bool blob_take(struct alloc *alloc, uint64_t bytes, struct extents *list);
/* Lays the payload out over the extents, in their order, in memory. */
struct blob_ref blob_encode(const struct extents *list, uint32_t magic, const void *payload,
                            uint64_t bytes, uint8_t *memory);
/* Checks an extent that was read through `ref`; sets its payload and the next extent's reference.
 */
bool blob_decode(const uint8_t *memory, const struct blob_ref *ref, uint32_t magic,
                 const struct alloc *bounds, const uint8_t **ret_payload, uint32_t *ret_bytes,
                 struct blob_ref *ret_next);
/* May a reference from the disk be followed? */
bool blob_ref_is_sane(const struct blob_ref *ref, const struct alloc *bounds);

#endif
