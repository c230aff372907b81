/* A world driven by hand (direct.h). */
#include "direct.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/endian.h"

#define PATIENCE_NS (1000 * RT_SECOND)

struct direct_call {
    struct volume_io io;
    struct iovec iov;
    struct volume_cut cut;
    struct volume_cut_member member;
    struct volume_cut_result result;
    bool done;
    enum status status;
};

struct uuid direct_uuid(uint32_t number)
{
    struct uuid uuid = {{0xd1}};
    store_le32(uuid.bytes + 8, number);
    return uuid;
}

static struct direct_call *call_new(void)
{
    struct direct_call *call = calloc(1, sizeof *call);
    check(call != NULL);
    return call;
}

static bool is_done(void *arg)
{
    return ((struct direct_call *)arg)->done;
}

static void io_done(struct volume_io *io)
{
    struct direct_call *call = container_of(io, struct direct_call, io);
    call->status = io->status;
    call->done = true;
}

static void control_done(void *arg, struct err *e)
{
    struct direct_call *call = arg;
    call->status = err_status(e);
    call->done = true;
    err_free(e);
}

static enum status finish(struct world *world, struct direct_call *call, const char *what)
{
    if (!sim_run_until(world->sim, is_done, call, PATIENCE_NS)) {
        world_fail(world, "%s hangs", what);
        return STATUS_TIMED_OUT; /* the engine still knows the call: it is not freed */
    }
    enum status status = call->status;
    free(call);
    return status;
}

struct volume *direct_open(struct world *world, const struct uuid *disk, const struct uuid *point)
{
    struct volume *volume = NULL;
    struct err *e = volume_open(world->pool, disk, point, point ? VOLUME_READ_ONLY : VOLUME_READ_WRITE, &volume);
    char text[200];
    if (e) world_fail(world, "open: %s", err_text(e, text, sizeof text));
    err_free(e);
    return volume;
}

struct volume *direct_disk(struct world *world, uint32_t number, uint64_t size_bytes)
{
    struct direct_call *call = call_new();
    struct uuid uuid = direct_uuid(number);
    volume_disk_create(world->pool, &uuid, size_bytes, control_done, call);
    if (finish(world, call, "create") != STATUS_OK) {
        world_fail(world, "a disk could not be made");
        return NULL;
    }
    return direct_open(world, &uuid, NULL);
}

enum status direct_io(struct world *world, struct volume *volume, enum volume_op op, uint64_t sector,
                      uint64_t sector_count, void *data)
{
    struct direct_call *call = call_new();
    call->iov = (struct iovec){.iov_base = data, .iov_len = sector_count * SECTOR_BYTES};
    call->io = (struct volume_io){.op = op, .sector = sector, .sector_count = sector_count,
                                  .iov = &call->iov, .iov_count = data ? 1 : 0, .done = io_done};
    volume_submit(volume, &call->io);
    return finish(world, call, "a request");
}

static void fill(uint8_t *data, uint64_t value)
{
    for (size_t i = 0; i < BLOCK_BYTES; i += 8) store_le64(data + i, value);
}

enum status direct_write(struct world *world, struct volume *volume, uint64_t block, uint64_t value)
{
    uint8_t data[BLOCK_BYTES];
    fill(data, value);
    return direct_io(world, volume, VOLUME_WRITE, block * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK, data);
}

bool direct_expect(struct world *world, struct volume *volume, uint64_t block, uint64_t value)
{
    uint8_t data[BLOCK_BYTES], want[BLOCK_BYTES];
    fill(want, value);
    enum status status =
        direct_io(world, volume, VOLUME_READ, block * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK, data);
    if (status != STATUS_OK)
        return world_fail(world, "read of block %llu: %s", (unsigned long long)block, status_text(status));
    if (memcmp(data, want, sizeof data) == 0) return true;
    return world_fail(world, "block %llu holds %llu, expected %llu", (unsigned long long)block,
                      (unsigned long long)load_le64(data), (unsigned long long)value);
}

enum status direct_cut(struct world *world, uint32_t disk, uint32_t point)
{
    struct direct_call *call = call_new();
    call->member = (struct volume_cut_member){
        .disk = direct_uuid(disk), .point = direct_uuid(point), .kind = VOLUME_POINT_SNAPSHOT};
    call->cut = (struct volume_cut){.set = direct_uuid(point | 1u << 31), .member_count = 1,
                                    .members = &call->member};
    volume_cut(world->pool, &call->cut, &call->result, control_done, call);
    return finish(world, call, "a cut");
}

enum status direct_point_delete(struct world *world, uint32_t point)
{
    struct direct_call *call = call_new();
    struct uuid uuid = direct_uuid(point);
    volume_point_delete(world->pool, &uuid, control_done, call);
    return finish(world, call, "a deletion");
}

enum status direct_branch(struct world *world, uint32_t point, uint32_t disk)
{
    struct direct_call *call = call_new();
    struct uuid from = direct_uuid(point), to = direct_uuid(disk);
    volume_branch(world->pool, &from, &to, control_done, call);
    return finish(world, call, "a branch");
}

enum status direct_disk_delete(struct world *world, uint32_t disk)
{
    struct direct_call *call = call_new();
    struct uuid uuid = direct_uuid(disk);
    volume_disk_delete(world->pool, &uuid, control_done, call);
    return finish(world, call, "a deletion");
}

bool direct_settle(struct world *world)
{
    struct direct_call *settle = call_new(), *verify = call_new();
    volume_pool_settle(world->pool, control_done, settle);
    if (finish(world, settle, "settle") != STATUS_OK) return world_fail(world, "settle failed");
    volume_pool_check(world->pool, NULL, control_done, verify);
    if (finish(world, verify, "check") != STATUS_OK) return world_fail(world, "the check failed");
    return true;
}

uint64_t direct_data_blocks(struct world *world)
{
    struct volume_pool_usage usage;
    volume_pool_usage(world->pool, &usage);
    return usage.data_bytes / BLOCK_BYTES;
}

bool direct_end(struct world *world)
{
    bool green = !world->failed;
    if (!green) printf("# %s\n", world->failure);
    world_destroy(world);
    return green;
}
