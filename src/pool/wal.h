/*
 * wal.h - the write-ahead log: encode and decode of batches and their records (E8, E10).
 *
 * Words: a BATCH is a header (128 bytes) and a body of RECORDS, padded to whole blocks.
 *
 *     struct buf_writer w = wal_body(buf, sizeof buf);
 *     wal_put_insert(&w, &insert); wal_put_remove(&w, &remove);
 *     wal_seal(buf, &w, &header);                  // sets blocks, body_bytes and both checksums
 *
 *     if (wal_decode_header(block, &uuid, &header) && wal_body_is_good(batch, &header)) {
 *         struct buf_reader r = wal_records(batch, &header);
 *         while (wal_next(&r, &record)) ...;        // r.failed tells of a malformed body
 *     }
 * Threads: any.  Ownership: the caller's memory.  Failures: false.
 */
#ifndef TARN_POOL_WAL_H
#define TARN_POOL_WAL_H

#include "base/buf.h"
#include "pool/format.h"

enum wal_kind { WAL_DATA = 1, WAL_ADMIN = 2, WAL_RECLAIM = 3, WAL_OPEN = 4, WAL_NOTE = 5 };

struct wal_header {
    struct uuid uuid;
    uint64_t epoch, seq, prev_seq;
    uint64_t durable;  /* D when it was closed */
    uint64_t position; /* over all laps */
    uint32_t blocks;   /* header, body and padding */
    uint32_t body_bytes, body_crc;
    enum wal_kind kind;
    uint64_t wall_ns;
};

enum wal_record_type {
    WAL_INSERT = 1,
    WAL_REMOVE = 2,
    WAL_DISK_CREATE = 16, /* also a branch */
    WAL_DISK_RESIZE = 17,
    WAL_DISK_DELETE = 18, /* hidden; its versions are being removed */
    WAL_DISK_GONE = 19,
    WAL_CUT = 20, /* followed by its members */
    WAL_CUT_MEMBER = 21,
    WAL_POINT_DELETE = 22,
    WAL_OPEN_RECORD = 23,
    WAL_CUT_POOL = 32,   /* between CUT and its members: a pool of a cut over several (E23) */
    WAL_CUT_ABROAD = 33, /* behind it: a member of that cut in that pool */
    WAL_SPLIT = 25,  /* the branch needs its parent no more (E20) */
    WAL_REVERT = 24, /* the disk goes back, or takes its stage; the undo point is at seq - 1 (E19) */
};

enum wal_flags {
    WAL_HOLE = 1 << 0,
    WAL_FILED = 1 << 2,  /* INSERT: a promoted copy, filed at `generation` (E1, E20) */
    WAL_STAGED = 1 << 1, /* INSERT: hidden until a REVERT takes its stage (E19) */
};

struct wal_record {
    enum wal_record_type type;
    uint8_t flags;
    uint16_t reserved; /* 0 */
    uint32_t disk;
    uint64_t lba;            /* INSERT, REMOVE: first block */
    uint32_t count;          /* blocks; never over a leaf's edge */
    uint64_t phys;           /* 0 for holes */
    uint64_t generation;     /* REMOVE: of the version; CREATE: parent's; OPEN: the cut; REVERT: p;
                                FILED: its own */
    uint64_t stage;          /* REVERT: s, 0 = no stage */
    const uint8_t *crcs;     /* INSERT of data: count little-endian words; NULL to encode later */
    struct uuid uuid, uuid2; /* disk; parent's point / point; set / pool; set */
    uint32_t parent;
    uint64_t size_bytes, parent_size_bytes;
    uint8_t kind; /* CUT_MEMBER: volume_point_kind */
    bool leased;
    uint64_t epoch, durable;
};

enum { WAL_INSERT_BYTES = 22, WAL_REMOVE_BYTES = 28 };

struct buf_writer wal_body(void *batch, size_t size_bytes);
/* Room for the crcs of an insert is left behind it; returns where they go (NULL for holes). */
uint8_t *wal_put_insert(struct buf_writer *w, const struct wal_record *record);
void wal_put_remove(struct buf_writer *w, const struct wal_record *record);
void wal_put_admin(struct buf_writer *w, const struct wal_record *record);
/* Zeroes the padding, fills in sizes and checksums. */
void wal_seal(void *batch, const struct buf_writer *w, struct wal_header *header);
uint32_t wal_blocks_for(const struct buf_writer *w);

bool wal_decode_header(const uint8_t *block, const struct uuid *uuid,
                       struct wal_header *ret_header);
bool wal_body_is_good(const uint8_t *batch, const struct wal_header *header);
struct buf_reader wal_records(const uint8_t *batch, const struct wal_header *header);
bool wal_next(struct buf_reader *r, struct wal_record *ret_record);

/* The checksum of a block, from that of its bytes: it also names disk, lba and generation (E14). */
uint32_t wal_block_crc(uint32_t crc_of_data, uint32_t disk, uint64_t lba, uint64_t generation);

#endif
