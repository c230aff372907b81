/*
 * format.h - the constants of the pool format; doc/format.md is the description, bit by bit.
 *
 * Words: a BLOCK is 4 KiB, numbered from the start of the pool.  POSITION = place in the log
 * counted in blocks over all laps; its block is wal_start + position % wal_blocks. Everything is
 * little-endian and goes through buf.h.
 */
#ifndef TARN_POOL_FORMAT_H
#define TARN_POOL_FORMAT_H

#include <stdint.h>

#include "base/limits.h"

#define FORMAT_SUPER_MAGIC 0x314c4f4f504e5254ull /* "TRNPOOL1" */
#define FORMAT_WAL_MAGIC 0x314c41574e524154ull   /* "TARNWAL1" */
#define FORMAT_BLOB_MAGIC 0x424e5254u            /* "TRNB" */
#define FORMAT_DIR_MAGIC 0x444e5254u             /* "TRND" */
#define FORMAT_LEAF_MAGIC 0x4c4e5254u            /* "TRNL" */
#define FORMAT_SYSTEM_MAGIC 0x534e5254u          /* "TRNS" */

enum {
    FORMAT_VERSION = 2,
    FORMAT_SUPER_A = 0, /* block of each superblock */
    FORMAT_SUPER_B = 16,
    FORMAT_WAL_START = 32, /* the ring follows the superblocks' area */
    FORMAT_WAL_HEADER_BYTES = 128,
    /* 3.5 MiB of LBA: the leaf of what was written in order by full batches, a run for each and a
     * checksum per block, is one block then.  A multiple of a batch, so that aligned ones lie in
     * one leaf. */
    FORMAT_LEAF_BLOCKS = 896,
    FORMAT_DIR_ENTRIES = 64, /* leaves per directory page: 224 MiB of LBA */
    FORMAT_DIR_ENTRY_BYTES = 56,
    FORMAT_DIR_HEADER_BYTES = 64,
    FORMAT_BITMAP_BITS = BLOCK_BYTES * 8, /* blocks per bitmap page */
    FORMAT_BLOB_HEADER_BYTES = 48,
    FORMAT_EXTENT_MAX_BLOCKS = 256,
    FORMAT_BATCH_MAX_BLOCKS = 64, /* E4: 256 KiB of data */
    FORMAT_BATCH_WAL_BLOCKS = 18, /* 72 KiB of log at most per batch */
};
#define FORMAT_GENERATION_MAX ((uint64_t)0xffffffffffff) /* 48 bits */
#define FORMAT_LIVE FORMAT_GENERATION_MAX                /* the generation of the live view */
#define FORMAT_PHYS_MAX ((uint64_t)0xffffffffff)         /* 40 bits: 4 PiB */

#endif
