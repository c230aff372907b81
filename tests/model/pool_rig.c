#include "tests/model/pool_rig.h"

#include <string.h>

#include "base/check.h"
#include "base/endian.h"

#define POOL_PATH "/pool"
#define LIMIT_NS (3600 * RT_SECOND)

void pool_rig_done(void *arg, struct err *e)
{
    struct pool_rig *r = arg;
    r->is_done = true;
    r->error = e;
}

static bool call_is_done(void *arg)
{
    return ((struct pool_rig *)arg)->is_done;
}

enum status pool_rig_wait(struct pool_rig *r)
{
    check(sim_run_until(r->sim, call_is_done, r, LIMIT_NS));
    enum status status = err_status(r->error);
    r->text[0] = 0;
    if (r->error) err_text(r->error, r->text, sizeof r->text);
    err_free(r->error);
    r->error = NULL;
    r->is_done = false;
    return status;
}

static void wait_ok(struct pool_rig *r)
{
    enum status status = pool_rig_wait(r);
    check(status == STATUS_OK);
}

struct uuid pool_rig_uuid(unsigned kind, unsigned number)
{
    struct uuid uuid = {{3}};
    store_le32(uuid.bytes + 4, kind);
    store_le32(uuid.bytes + 8, number);
    return uuid;
}

static void open_pool(struct pool_rig *r, uint64_t cache_bytes)
{
    struct volume_pool_options options = {.cache_bytes = cache_bytes};
    volume_pool_open(r->rt, POOL_PATH, &options, &r->pool, pool_rig_done, r);
    wait_ok(r);
    check(volume_pool_state(r->pool) == VOLUME_POOL_OK);
}

void pool_rig_init(struct pool_rig *r, uint64_t pool_bytes, uint64_t wal_bytes,
                   uint64_t cache_bytes)
{
    struct uuid uuid = pool_rig_uuid(0, 0);
    struct volume_pool_options options = {.sparse = true, .wal_bytes = wal_bytes};
    *r = (struct pool_rig){0};
    r->sim = sim_create(&(struct sim_options){.seed = 1});
    r->node = sim_node_create(r->sim, "server");
    r->rt = sim_node_boot(r->node);
    volume_pool_create(r->rt, POOL_PATH, pool_bytes, &uuid, &options, false, NULL, pool_rig_done,
                       r);
    wait_ok(r);
    open_pool(r, cache_bytes);
}

static void close_pool(struct pool_rig *r)
{
    volume_pool_close(r->pool, pool_rig_done, r);
    wait_ok(r);
    r->pool = NULL;
}

void pool_rig_reopen(struct pool_rig *r, uint64_t cache_bytes)
{
    close_pool(r);
    open_pool(r, cache_bytes);
}

void pool_rig_fini(struct pool_rig *r)
{
    close_pool(r);
    sim_node_crash(r->node, SIM_CRASH_PROCESS);
    sim_destroy(r->sim);
}

void pool_rig_disk(struct pool_rig *r, const struct uuid *disk, uint64_t size_bytes)
{
    volume_disk_create(r->pool, disk, size_bytes, pool_rig_done, r);
    wait_ok(r);
}

struct volume *pool_rig_open(struct pool_rig *r, const struct uuid *disk, const struct uuid *point)
{
    struct volume *volume;
    struct err *e = volume_open(r->pool, point ? NULL : disk, point,
                                point ? VOLUME_READ_ONLY : VOLUME_READ_WRITE, &volume);
    check(!e);
    return volume;
}

enum status pool_rig_cut_status(struct pool_rig *r, const struct uuid *disk,
                                const struct uuid *point)
{
    struct volume_cut_member member = {
        .disk = *disk, .point = *point, .kind = VOLUME_POINT_SNAPSHOT};
    struct volume_cut cut = {.set = *point, .member_count = 1, .members = &member};
    struct volume_cut_result result;
    volume_cut(r->pool, &cut, &result, pool_rig_done, r);
    return pool_rig_wait(r);
}

enum status pool_rig_branch_status(struct pool_rig *r, const struct uuid *point,
                                   const struct uuid *disk)
{
    volume_branch(r->pool, point, disk, pool_rig_done, r);
    return pool_rig_wait(r);
}

void pool_rig_delete_point(struct pool_rig *r, const struct uuid *point)
{
    volume_point_delete(r->pool, point, pool_rig_done, r);
    wait_ok(r);
}

void pool_rig_delete_disk(struct pool_rig *r, const struct uuid *disk)
{
    volume_disk_delete(r->pool, disk, pool_rig_done, r);
    wait_ok(r);
}

struct volume_pool_usage pool_rig_rest(struct pool_rig *r)
{
    struct volume_pool_usage usage;
    for (unsigned i = 0; i < 2; i++) {
        volume_pool_settle(r->pool, pool_rig_done, r);
        wait_ok(r);
        volume_pool_checkpoint(r->pool, pool_rig_done, r);
        wait_ok(r);
    }
    volume_pool_settle(r->pool, pool_rig_done, r);
    wait_ok(r);
    volume_pool_usage(r->pool, &usage);
    return usage;
}

bool pool_rig_is_exact(struct pool_rig *r)
{
    volume_pool_check(r->pool, NULL, pool_rig_done, r);
    return pool_rig_wait(r) == STATUS_OK;
}

struct tracked_io {
    struct volume_io io;
    bool is_done;
};

static void io_done(struct volume_io *io)
{
    container_of(io, struct tracked_io, io)->is_done = true;
}

static bool io_is_done(void *arg)
{
    return ((struct tracked_io *)arg)->is_done;
}

static void one_block(struct pool_rig *r, struct volume *volume, enum volume_op op, uint64_t block,
                      uint8_t *memory)
{
    struct iovec iov = {.iov_base = memory, .iov_len = BLOCK_BYTES};
    struct tracked_io t = {.io = {.op = op,
                                  .sector = block * SECTORS_PER_BLOCK,
                                  .sector_count = SECTORS_PER_BLOCK,
                                  .iov = &iov,
                                  .iov_count = 1,
                                  .done = io_done}};
    volume_submit(volume, &t.io);
    check(sim_run_until(r->sim, io_is_done, &t, LIMIT_NS));
    check(t.io.status == STATUS_OK);
}

void pool_rig_write(struct pool_rig *r, struct volume *volume, uint64_t block, uint32_t value)
{
    uint8_t memory[BLOCK_BYTES];
    for (unsigned i = 0; i < BLOCK_BYTES; i += 4)
        store_le32(memory + i, value);
    one_block(r, volume, VOLUME_WRITE, block, memory);
}

uint32_t pool_rig_read(struct pool_rig *r, struct volume *volume, uint64_t block)
{
    uint8_t memory[BLOCK_BYTES];
    memset(memory, 0xee, sizeof memory);
    one_block(r, volume, VOLUME_READ, block, memory);
    check(memcmp(memory, memory + 4, BLOCK_BYTES - 4) == 0);
    return load_le32(memory);
}
