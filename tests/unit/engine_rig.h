/*
 * engine_rig.h - a pool with one disk in the simulated world, for the engine's unit tests: open, write, cut,
 * crash, settle and count.  Everything is driven until it is done; statuses come back.
 */
#ifndef TARN_TESTS_ENGINE_RIG_H
#define TARN_TESTS_ENGINE_RIG_H

#include <stdlib.h>
#include "base/endian.h"
#include "base/prng.h"
#include "pool/format.h"
#include "tests/lib/tap.h"
#include "tests/sim/sim.h"
#include "volume/volume.h"

#define POOL_PATH "/pool"
#define POOL_BYTES (64 * MIB)
#define LIMIT_NS (600 * RT_SECOND)

struct rig {
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct volume_pool *pool;
    struct volume *volume;
    struct uuid disk;
    struct err *error;
    bool is_done;
};

static uint8_t memory[1 * MIB];

static inline struct uuid uuid_of(unsigned n)
{
    struct uuid uuid = {{2}};
    store_le32(uuid.bytes + 8, n);
    return uuid;
}

static inline void call_done(void *arg, struct err *e)
{
    struct rig *r = arg;
    r->is_done = true;
    r->error = e;
}

static inline bool is_done(void *arg)
{
    return ((struct rig *)arg)->is_done;
}

/* The status of a control call that was just begun. */
static inline enum status finish(struct rig *r)
{
    check(sim_run_until(r->sim, is_done, r, LIMIT_NS));
    enum status status = err_status(r->error);
    err_free(take_ptr(&r->error));
    r->is_done = false;
    return status;
}

struct tracked_io {
    struct volume_io io;
    bool is_done;
};

static inline void io_done(struct volume_io *io)
{
    container_of(io, struct tracked_io, io)->is_done = true;
}

static inline bool io_is_done(void *arg)
{
    return ((struct tracked_io *)arg)->is_done;
}

static inline enum status do_io(struct rig *r, enum volume_op op, uint64_t block, uint32_t blocks,
                         unsigned flags)
{
    struct iovec iov = {.iov_base = memory, .iov_len = (size_t)blocks * BLOCK_BYTES};
    struct tracked_io t = {
        .io = {.op = op,
               .flags = flags,
               .sector = block * SECTORS_PER_BLOCK,
               .sector_count = op == VOLUME_FLUSH ? 0 : blocks * SECTORS_PER_BLOCK,
               .iov = &iov,
               .iov_count = 1,
               .done = io_done}};
    volume_submit(r->volume, &t.io);
    check(sim_run_until(r->sim, io_is_done, &t, LIMIT_NS));
    return t.io.status;
}

static inline enum status put(struct rig *r, uint64_t block, uint32_t blocks, unsigned value)
{
    memset(memory, (int)value, (size_t)blocks * BLOCK_BYTES);
    return do_io(r, VOLUME_WRITE, block, blocks, 0);
}

static inline bool has(struct rig *r, uint64_t block, unsigned value)
{
    memset(memory, 0xee, BLOCK_BYTES);
    return do_io(r, VOLUME_READ, block, 1, 0) == STATUS_OK && memory[0] == value &&
           memory[BLOCK_BYTES - 1] == value;
}

static inline void open_disk(struct rig *r)
{
    struct err *e = volume_open(r->pool, &r->disk, NULL, VOLUME_READ_WRITE, &r->volume);
    check(!e);
}

static inline enum status open_pool(struct rig *r, uint64_t cache_bytes)
{
    struct volume_pool_options options = {.cache_bytes = cache_bytes};
    volume_pool_open(r->rt, POOL_PATH, &options, &r->pool, call_done, r);
    return finish(r);
}

static inline void rig_create(struct rig *r, uint64_t seed, uint64_t disk_bytes, uint64_t cache_bytes)
{
    struct uuid uuid = uuid_of(99);
    *r = (struct rig){.disk = uuid_of(1)};
    r->sim = sim_create(&(struct sim_options){.seed = seed});
    r->node = sim_node_create(r->sim, "server");
    r->rt = sim_node_boot(r->node);
    struct volume_pool_options options = {.sparse = true, .wal_bytes = 2 * MIB};
    volume_pool_create(r->rt, POOL_PATH, POOL_BYTES, &uuid, &options, false, NULL, call_done, r);
    check(finish(r) == STATUS_OK);
    check(open_pool(r, cache_bytes) == STATUS_OK);
    volume_disk_create(r->pool, &r->disk, disk_bytes, call_done, r);
    check(finish(r) == STATUS_OK);
    open_disk(r);
}

static inline void rig_destroy(struct rig *r)
{
    sim_node_crash(r->node, SIM_CRASH_PROCESS);
    if (r->pool) volume_pool_abandon(r->pool);
    sim_destroy(r->sim);
}

/* A crash and a new start; the pool is not opened. */
static inline void crash(struct rig *r, enum sim_crash kind)
{
    sim_node_crash(r->node, kind);
    if (r->pool) volume_pool_abandon(take_ptr(&r->pool));
    r->volume = NULL;
    r->rt = sim_node_boot(r->node);
}

static inline enum status close_pool(struct rig *r)
{
    volume_close(take_ptr(&r->volume));
    volume_pool_close(take_ptr(&r->pool), call_done, r);
    return finish(r);
}

static inline enum status cut(struct rig *r, unsigned n)
{
    struct volume_cut_member member = {
        .disk = r->disk, .point = uuid_of(n), .kind = VOLUME_POINT_SNAPSHOT};
    struct volume_cut c = {.set = uuid_of(n), .member_count = 1, .members = &member};
    struct volume_cut_result result;
    volume_cut(r->pool, &c, &result, call_done, r);
    return finish(r);
}

static inline enum status delete_point(struct rig *r, unsigned n)
{
    struct uuid uuid = uuid_of(n);
    volume_point_delete(r->pool, &uuid, call_done, r);
    return finish(r);
}

static inline enum status check_pool(struct rig *r)
{
    volume_pool_check(r->pool, NULL, call_done, r);
    return finish(r);
}

static inline uint64_t data_blocks(struct rig *r)
{
    struct volume_pool_usage usage;
    volume_pool_settle(r->pool, call_done, r);
    check(finish(r) == STATUS_OK);
    volume_pool_usage(r->pool, &usage);
    return usage.data_bytes / BLOCK_BYTES;
}

/* Turns a bit of a block of the pool; the second time turns it back. */
static inline void spoil(struct rig *r, uint64_t block)
{
    uint8_t byte;
    sim_file_peek(r->node, POOL_PATH, block * BLOCK_BYTES + 100, &byte, 1);
    byte ^= 0x40;
    sim_file_poke(r->node, POOL_PATH, block * BLOCK_BYTES + 100, &byte, 1);
}

/* Where leaves are or were, in `ret_blocks`; returns how many. */
static inline unsigned find_leaves(struct rig *r, uint64_t ret_blocks[64])
{
    unsigned count = 0;
    for (uint64_t block = 0; block < POOL_BYTES / BLOCK_BYTES && count < 64; block++) {
        uint8_t magic[4];
        sim_file_peek(r->node, POOL_PATH, block * BLOCK_BYTES, magic, sizeof magic);
        if (load_le32(magic) == FORMAT_LEAF_MAGIC) ret_blocks[count++] = block;
    }
    return count;
}

/* Writes new blocks until the pool is full; returns how many. */
static inline uint64_t fill(struct rig *r)
{
    uint64_t block = 0;
    while (put(r, block, 64, (unsigned)(block / 64) & 0x7f) == STATUS_OK)
        block += 64;
    /* A refusal makes checkpoints, which may free the pages that they replace. */
    for (unsigned refusals = 0; refusals < 4; refusals++)
        while (put(r, block, 1, 1) == STATUS_OK)
            block++;
    return block;
}

#endif
