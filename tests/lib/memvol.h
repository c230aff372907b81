/*
 * memvol.h - an engine in memory behind volume.h, so that front ends can be tested without a pool.
 *
 * It has disks, cuts, points and branches; it keeps nothing and loses nothing.  Requests take effect, in
 * order, when they are submitted and are answered in a later turn of the loop, or when the test lets them
 * (memvol_hold).
 *
 *     struct volume_pool *pool = memvol_pool_create(rt);
 *     volume_disk_create(pool, &disk, 16 * MIB, done, arg);  ... volume_open(pool, &disk, ...) ...
 *     volume_pool_abandon(pool);          // frees everything; or volume_pool_close
 */
#ifndef TARN_TESTS_LIB_MEMVOL_H
#define TARN_TESTS_LIB_MEMVOL_H

#include "volume/volume_engine.h"

struct memvol_counts {
    uint64_t reads, writes, fua, flushes, zeroes, unmaps, compares, queries;
};

struct volume_pool *memvol_pool_create(struct rt *rt);
/* Makes a disk at once and opens it; for tests of front ends. */
struct volume *memvol_disk(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                           enum volume_mode mode);
/* While held, requests are done but not answered. */
void memvol_hold(struct volume_pool *pool, bool hold);
unsigned memvol_held_count(const struct volume_pool *pool);
/* The next request of this kind fails with this status and changes nothing. */
void memvol_fail(struct volume_pool *pool, enum volume_op op, enum status status);
struct memvol_counts memvol_counts(const struct volume_pool *pool);

#endif
