/*
 * super.h - the superblock: the root of everything in a pool (E12).
 *
 * Purpose: encode and decode one slot.  Two slots alternate; the newer valid one counts.
 * Threads: any.  Ownership: the caller's memory.  Failures: STATUS_NOT_A_POOL (no magic or a wrong
 * checksum), STATUS_FORMAT_VERSION (a feature that this program does not know).
 */
#ifndef TARN_POOL_SUPER_H
#define TARN_POOL_SUPER_H

#include "base/status.h"
#include "base/uuid.h"
#include "pool/format.h"

enum super_flags { SUPER_SPARSE = 1 << 0 };

/* A chain of extents; see blob.h. */
struct blob_ref {
    uint64_t block;  /* of the first extent; 0 = none */
    uint32_t blocks; /* of the first extent */
    uint32_t crc;    /* of the first extent */
};

struct super {
    struct uuid uuid;
    uint64_t checkpoint; /* number of the checkpoint; slot = checkpoint % 2 */
    uint64_t size_blocks;
    uint64_t wal_start, wal_blocks, data_start;
    uint64_t replay_seq;      /* everything up to here is in the pages */
    uint64_t replay_position; /* where the batch after replay_seq begins (or the next lap does) */
    uint64_t epoch;           /* open epoch in which it was written */
    uint64_t durable;         /* D */
    uint64_t next_seq;        /* no sequence number from here on had been used */
    uint64_t wall_ns;
    uint32_t flags;
    struct blob_ref system;
};

void super_encode(const struct super *super, uint8_t block[BLOCK_BYTES]);
enum status super_decode(const uint8_t block[BLOCK_BYTES], uint64_t device_blocks,
                         struct super *ret_super);

#endif
