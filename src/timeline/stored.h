/*
 * stored.h - reads a piece of metadata from where it is stored and verifies its checksums, beside the pool's own
 * use of it: what is in memory hides what a restart would meet.
 *
 * Words: a PIECE is the newest stored form of a leaf, of a directory or bitmap page, or of the system tables (all
 * disks and points).  A checkpoint or a leaf's writer may replace it while it is being read; then the new one is
 * read, a bounded number of times.
 *
 *     stored_init(&read, pool);
 *     if (!stored_read(&read, &piece, done)) ...;      // nothing of it is stored
 *     ... done(&read) in a later turn, with read.verdict ...
 *     stored_fini(&read);
 *
 * Threads: the pool's loop.  Ownership: embedded in the caller; one piece at a time; not before done is called does
 * the caller go, unless the pool is abandoned.  Failures: the verdict.
 */
#ifndef TARN_TIMELINE_STORED_H
#define TARN_TIMELINE_STORED_H

#include "timeline/timeline_int.h"

enum stored_kind { STORED_SYSTEM, STORED_BITMAP, STORED_DIR, STORED_LEAF };

struct stored_piece {
    enum stored_kind kind;
    uint32_t disk;  /* DIR, LEAF: its id */
    uint64_t index; /* BITMAP, DIR: of the page; LEAF */
};

enum stored_verdict {
    STORED_GOOD,
    STORED_BAD,   /* twice, and nothing replaced it in between */
    STORED_MOVED, /* it was replaced whenever it was looked at */
};

struct stored_read {
    struct tl_pool *pool;
    struct stored_piece piece;
    struct blob_ref first, ref; /* of the piece; of what is being read */
    unsigned looks, bad_looks;
    bool is_active;
    uint8_t *memory;
    struct rt_file_io io;
    struct iovec iov;
    struct rt_timer timer;
    enum stored_verdict verdict;
    void (*done)(struct stored_read *read);
};

void stored_init(struct stored_read *read, struct tl_pool *pool);
void stored_fini(struct stored_read *read);
bool stored_read(struct stored_read *read, const struct stored_piece *piece,
                 void (*done)(struct stored_read *read));

#endif
