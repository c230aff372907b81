/*
 * pool_rig.h - one pool in a simulated world with blocking calls, for tests that count or that are
 * large.
 *
 * The calls check() that they succeed; the *_status ones return how it went.
 */
#ifndef TARN_TESTS_POOL_RIG_H
#define TARN_TESTS_POOL_RIG_H

#include "tests/sim/sim.h"
#include "volume/volume.h"

struct pool_rig {
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct volume_pool *pool;
    bool is_done;
    struct err *error;
    char text[256]; /* of the last refusal */
};

void pool_rig_init(struct pool_rig *r, uint64_t pool_bytes, uint64_t wal_bytes,
                   uint64_t cache_bytes);
/* All handles must have been closed. */
void pool_rig_fini(struct pool_rig *r);
void pool_rig_reopen(struct pool_rig *r, uint64_t cache_bytes);

/* The done of a control call; then the status of the one that was begun. */
void pool_rig_done(void *arg, struct err *e);
enum status pool_rig_wait(struct pool_rig *r);

struct uuid pool_rig_uuid(unsigned kind, unsigned number);
void pool_rig_disk(struct pool_rig *r, const struct uuid *disk, uint64_t size_bytes);
struct volume *pool_rig_open(struct pool_rig *r, const struct uuid *disk, const struct uuid *point);
enum status pool_rig_cut_status(struct pool_rig *r, const struct uuid *disk,
                                const struct uuid *point);
enum status pool_rig_branch_status(struct pool_rig *r, const struct uuid *point,
                                   const struct uuid *disk);
void pool_rig_delete_point(struct pool_rig *r, const struct uuid *point);
void pool_rig_delete_disk(struct pool_rig *r, const struct uuid *disk);
/* Settled, with two checkpoints behind it: nothing is held for an older one. */
struct volume_pool_usage pool_rig_rest(struct pool_rig *r);
/* At rest: bitmap, map and counters agree (E27). */
bool pool_rig_is_exact(struct pool_rig *r);
/* Whole blocks; a written block is filled with its value. */
void pool_rig_write(struct pool_rig *r, struct volume *volume, uint64_t block, uint32_t value);
/* The value of a block; check()s that all of it is the same. */
uint32_t pool_rig_read(struct pool_rig *r, struct volume *volume, uint64_t block);

#endif
