/* Operations on the world (ops.h): each executor turns one record into calls and model changes. */
#include "ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/endian.h"

enum { UNFLUSHED_WRITES_MAX = 120, CHAIN_WRITES_MAX = 6 };

struct record {
    uint8_t kind, disk, flags, steps;
    uint32_t sector;
    uint16_t count, extra;
};

static struct record record_decode(const uint8_t *bytes)
{
    return (struct record){.kind = bytes[0],
                           .disk = bytes[1],
                           .flags = bytes[2],
                           .steps = bytes[3],
                           .sector = load_le32(bytes + 4),
                           .count = load_le16(bytes + 8),
                           .extra = load_le16(bytes + 10)};
}

/* ---- Picking --------------------------------------------------------------------------------- */

/* A usable disk, or -1. */
static int pick_disk(const struct world *world, unsigned choice)
{
    int there[WORLD_DISKS];
    unsigned count = 0;
    for (int i = 0; i < WORLD_DISKS; i++)
        if (world->disks[i].state == THING_THERE && world->disks[i].handle &&
            !world->disks[i].frozen)
            there[count++] = i;
    return count ? there[choice % count] : -1;
}

static int pick_point(const struct world *world, unsigned choice)
{
    int there[WORLD_POINTS];
    unsigned count = 0;
    for (int i = 0; i < WORLD_POINTS; i++)
        if (world->points[i].state == THING_THERE) there[count++] = i;
    return count ? there[choice % count] : -1;
}

static bool slot_is_free(struct world *world)
{
    for (unsigned i = 0; i < WORLD_SLOTS; i++)
        if (!world->slots[i].busy) return true;
    return false;
}

static struct slot *slot_get(struct world *world)
{
    if (!world_wait(world, slot_is_free, "a request")) return NULL;
    for (unsigned i = 0; i < WORLD_SLOTS; i++) {
        if (world->slots[i].busy) continue;
        world->slots[i] = (struct slot){.world = world, .disk = -1, .point = -1};
        return &world->slots[i];
    }
    return NULL;
}

/* Where and how much: mostly small, often in a hot corner so that requests overlap, sometimes
 * ragged, seldom larger than a batch. */
static void pick_extent(const struct world *world, const struct record *record,
                        uint32_t sector_count, uint32_t *ret_sector, uint32_t *ret_count)
{
    uint32_t count;
    switch (record->extra & 15) {
    case 0:
    case 1:
    case 2:
    case 3:
        count = 1 + record->count % 16;
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        count = 8 * (1 + record->count % 8);
        break;
    case 8:
    case 9:
    case 10:
    case 11:
        count = 8;
        break;
    case 12:
    case 13:
        count = 1 + record->count % 200;
        break;
    case 14:
        count = 8 * (1 + record->count % 64);
        break;
    default:
        count = (record->extra & 0x70) ? 1 + record->count % 100 : 1 + record->count % 1600;
        break;
    }
    if (world->options.big_requests && (record->extra & 15) >= 14) count = 1 + record->count % 8192;
    if (count > sector_count) count = sector_count;
    uint32_t span = record->flags & 1 ? min_of(sector_count, (uint32_t)128) : sector_count;
    uint32_t sector = record->sector % span;
    if ((record->flags & 6) != 6) sector -= sector % SECTORS_PER_BLOCK;
    if (sector > sector_count - count) sector = sector_count - count;
    *ret_sector = sector;
    *ret_count = count;
}

/* One to three iovecs, cut at odd places. */
static void slot_set_iov(struct slot *slot, unsigned choice)
{
    size_t total = slot->data_bytes, first = total, second = 0;
    if (choice % 4 == 1 && total > 600) first = 513 + choice % 80;
    if (choice % 4 == 2 && total > 1500) first = 1, second = 1023;
    slot->iov[0] = (struct iovec){.iov_base = slot->data, .iov_len = first};
    slot->iov[1] = (struct iovec){.iov_base = slot->data + first, .iov_len = second};
    slot->iov[2] =
        (struct iovec){.iov_base = slot->data + first + second, .iov_len = total - first - second};
    unsigned count = 1;
    if (second) count = 2;
    if (first + second < total) slot->iov[count++] = slot->iov[2];
    slot->io.iov = slot->iov;
    slot->io.iov_count = count;
}

/* ---- Completions ----------------------------------------------------------------------------- */

static void submit_chain(struct world *world, const struct slot *previous);

static const char *op_name(enum volume_op op)
{
    static const char *const names[] = {"read", "write", "zero", "unmap", "flush", "compare-write"};
    return names[op];
}

static void finish_read(struct slot *slot)
{
    struct world *world = slot->world;
    struct model_view *view =
        slot->point >= 0 ? &world->points[slot->point].view : &world->disks[slot->disk].view;
    struct model_bound bound = {.floor = slot->submitted, .count_seen = true};
    if (slot->point >= 0) bound.floor = world->sets[world->points[slot->point].set].submitted;
    if (model_check_read(world->model, view, (uint32_t)slot->io.sector,
                         (uint32_t)slot->io.sector_count, slot->data, &bound))
        return;
    world_fail(world, "read of %s %d, sectors %llu+%llu, submitted at %u: %s",
               slot->point >= 0 ? "point" : "disk", slot->point >= 0 ? slot->point : slot->disk,
               (unsigned long long)slot->io.sector, (unsigned long long)slot->io.sector_count,
               slot->submitted, model_problem(world->model));
}

/* What was compared must have been there at some moment; on a difference, it may have been
 * otherwise. */
static void finish_compare(struct slot *slot)
{
    struct world *world = slot->world;
    struct model_view *view = &world->disks[slot->disk].view;
    uint32_t sector = (uint32_t)slot->io.sector, count = (uint32_t)slot->io.sector_count;
    struct model_bound bound = {.floor = slot->submitted, .count_seen = true};
    if (slot->io.status == STATUS_OK) {
        if (!model_check_read(world->model, view, sector, count, slot->data, &bound))
            world_fail(world, "compare-write matched what cannot have been there: %s",
                       model_problem(world->model));
        return;
    }
    uint32_t at = slot->io.miscompare_offset / SECTOR_BYTES;
    if (at >= count) {
        world_fail(world, "miscompare offset %u is beyond the data", slot->io.miscompare_offset);
        return;
    }
    model_write_void(world->model, view, slot->write);
    if (!model_cell_may_differ(world->model, view, sector + at, &bound,
                               slot->data + (size_t)at * SECTOR_BYTES))
        world_fail(world, "compare-write of disk %d sector %u failed, but the data cannot differ",
                   slot->disk, sector + at);
}

static bool changes_data(enum volume_op op)
{
    return op == VOLUME_WRITE || op == VOLUME_ZERO || op == VOLUME_UNMAP ||
           op == VOLUME_COMPARE_WRITE;
}

static void finish_write(struct slot *slot)
{
    struct world *world = slot->world;
    enum status status = slot->io.status;
    if (slot->write == 0) return; /* an unmap without one whole block */
    model_write_done(world->model, slot->write, status == STATUS_OK);
    if (status == STATUS_OK && (slot->io.flags & VOLUME_FUA)) {
        model_write_durable(world->model, slot->write);
        world_made_durable(world, slot->submitted);
    }
    /* What fits one batch is there whole or not at all; a ragged zero is several parts. */
    bool is_one_part = slot->io.op != VOLUME_ZERO && slot->io.op != VOLUME_UNMAP &&
                       slot->io.sector_count <= 256 * KIB / SECTOR_BYTES - SECTORS_PER_BLOCK;
    if (status == STATUS_POOL_FULL && is_one_part)
        model_write_void(world->model, &world->disks[slot->disk].view, slot->write);
}

static bool status_is_allowed(struct slot *slot)
{
    struct world *world = slot->world;
    if (slot->io.status == STATUS_OK || world->lossy) return true;
    if (slot->io.status == STATUS_MISCOMPARE) return slot->io.op == VOLUME_COMPARE_WRITE;
    if (slot->io.status != STATUS_POOL_FULL || !changes_data(slot->io.op)) return false;
    struct volume_pool_usage usage;
    volume_pool_usage(world->pool, &usage);
    world->full_count++;
    return usage.free_bytes < usage.capacity_bytes / 4 || usage.reclaiming_bytes ||
           usage.reclaim_pending;
}

static void slot_done(struct volume_io *io)
{
    struct slot *slot = container_of(io, struct slot, io);
    struct world *world = slot->world;
    uint32_t tick = model_tick(world->model);
    world_trace(world, "  %s %d+%llu of disk %d (from %u, write %u) done at %u: %s",
                op_name(io->op), (int)io->sector, (unsigned long long)io->sector_count, slot->disk,
                slot->submitted, slot->write, tick, status_info(io->status)->name);
    if (!status_is_allowed(slot))
        world_fail(world, "%s of disk %d, sectors %llu+%llu: %s", op_name(io->op), slot->disk,
                   (unsigned long long)io->sector, (unsigned long long)io->sector_count,
                   status_text(io->status));
    bool ok = io->status == STATUS_OK;
    if (ok && io->op == VOLUME_READ) finish_read(slot);
    if (io->op == VOLUME_COMPARE_WRITE && (ok || io->status == STATUS_MISCOMPARE))
        finish_compare(slot);
    if (changes_data(io->op)) finish_write(slot);
    if (ok && io->op == VOLUME_FLUSH) world_made_durable(world, slot->submitted);
    if (slot->handle) volume_close(slot->handle);
    if (slot->disk >= 0) world->disks[slot->disk].busy--;
    if (slot->point >= 0) world->points[slot->point].busy--;
    free(take_ptr(&slot->data));
    slot->busy = false;
    if (ok && slot->chain_left && !world->failed) submit_chain(world, slot);
}

/* ---- Host requests --------------------------------------------------------------------------- */

static void slot_submit(struct slot *slot, int disk)
{
    struct world *world = slot->world;
    slot->disk = disk;
    slot->busy = true;
    slot->io.done = slot_done;
    if (!slot->submitted) slot->submitted = model_tick(world->model);
    world->disks[disk].busy++;
    world_trace(world, "%s %llu+%llu of disk %d%s, write %u, at %u", op_name(slot->io.op),
                (unsigned long long)slot->io.sector, (unsigned long long)slot->io.sector_count,
                disk, slot->io.flags & VOLUME_FUA ? " FUA" : "", slot->write, slot->submitted);
    volume_submit(world->disks[disk].handle, &slot->io);
}

static void slot_write_begin(struct slot *slot, int disk, bool zero, bool atomic)
{
    struct world *world = slot->world;
    uint32_t sector = (uint32_t)slot->io.sector, count = (uint32_t)slot->io.sector_count;
    if (slot->io.op == VOLUME_UNMAP) { /* ragged edges are left alone */
        uint32_t end = (sector + count) / SECTORS_PER_BLOCK * SECTORS_PER_BLOCK;
        sector = (sector + SECTORS_PER_BLOCK - 1) / SECTORS_PER_BLOCK * SECTORS_PER_BLOCK;
        count = end > sector ? end - sector : 0;
        if (count == 0) return;
    }
    slot->write =
        model_write_submit(world->model, &world->disks[disk].view,
                           &(struct model_write_options){.disk = world->disks[disk].number,
                                                         .sector = sector,
                                                         .sector_count = count,
                                                         .horizon = world_horizon(world),
                                                         .zero = zero,
                                                         .atomic = atomic});
    slot->submitted = model_write_submitted_at(world->model, slot->write);
    world->unflushed_writes++;
}

static void slot_take_data(struct slot *slot, size_t size_bytes)
{
    slot->data_bytes = size_bytes;
    slot->data = malloc(size_bytes);
    check(slot->data != NULL);
}

/* For a disk of the record's, which is picked again: while a slot is waited for, disks may go. */
static struct slot *slot_get_for(struct world *world, const struct record *record, int *ret_disk)
{
    if (pick_disk(world, record->disk) < 0) return NULL;
    struct slot *slot = slot_get(world);
    *ret_disk = slot ? pick_disk(world, record->disk) : -1;
    return *ret_disk < 0 ? NULL : slot;
}

static void do_flush(struct world *world, const struct record *record)
{
    int disk = pick_disk(world, record->disk);
    struct slot *slot = disk < 0 ? NULL : slot_get(world);
    if (!slot) return;
    slot->io.op = VOLUME_FLUSH;
    world->unflushed_writes = 0;
    slot_submit(slot, disk);
}

static void submit_write(struct slot *slot, int disk, uint32_t sector, uint32_t count,
                         unsigned choice)
{
    struct world *world = slot->world;
    slot->io = (struct volume_io){.op = VOLUME_WRITE,
                                  .sector = sector,
                                  .sector_count = count,
                                  .flags = choice % 16 == 3 ? VOLUME_FUA : 0};
    slot_write_begin(slot, disk, false, false);
    slot_take_data(slot, (size_t)count * SECTOR_BYTES);
    model_fill(world->model, slot->write, sector, count, slot->data);
    slot_set_iov(slot, choice / 16);
    slot_submit(slot, disk);
}

/* The next of a row of dependent writes: issued when the one before was acknowledged, on another
 * disk. */
static void submit_chain(struct world *world, const struct slot *previous)
{
    int disk = pick_disk(world, (unsigned)previous->disk + 1);
    if (disk < 0 || !slot_is_free(world)) return;
    unsigned left = previous->chain_left;
    uint32_t sector = (previous->write * 40503u) % 96;
    struct slot *slot = slot_get(world);
    slot->chain_left = left - 1;
    submit_write(slot, disk, sector, 1 + previous->write % 9, previous->write);
}

static void do_write(struct world *world, const struct record *record)
{
    if (world->unflushed_writes > UNFLUSHED_WRITES_MAX) do_flush(world, record);
    int disk;
    struct slot *slot = slot_get_for(world, record, &disk);
    if (!slot) return;
    uint32_t sector, count;
    pick_extent(world, record, world->disks[disk].view.sector_count, &sector, &count);
    submit_write(slot, disk, sector, count, record->extra >> 4);
}

static void do_chain(struct world *world, const struct record *record)
{
    int disk;
    struct slot *slot = slot_get_for(world, record, &disk);
    if (!slot) return;
    slot->chain_left = 1 + record->count % CHAIN_WRITES_MAX;
    submit_write(slot, disk, record->sector % 96, 1 + record->flags % 9, record->extra >> 4);
}

static void do_clear(struct world *world, const struct record *record, enum volume_op op)
{
    int disk;
    struct slot *slot = slot_get_for(world, record, &disk);
    if (!slot) return;
    uint32_t sector, count;
    pick_extent(world, record, world->disks[disk].view.sector_count, &sector, &count);
    if (world->options.no_ragged_zero && op == VOLUME_ZERO) {
        sector -= sector % SECTORS_PER_BLOCK;
        count = (count + SECTORS_PER_BLOCK - 1) / SECTORS_PER_BLOCK * SECTORS_PER_BLOCK;
        if (sector + count > world->disks[disk].view.sector_count) return;
    }
    slot->io =
        (struct volume_io){.op = op,
                           .sector = sector,
                           .sector_count = count,
                           .flags = op == VOLUME_ZERO && record->extra >> 12 == 5 ? VOLUME_FUA : 0};
    slot_write_begin(slot, disk, true, false);
    slot_submit(slot, disk);
}

static void do_compare_write(struct world *world, const struct record *record)
{
    int disk;
    struct slot *slot = slot_get_for(world, record, &disk);
    if (!slot) return;
    struct model_view *view = &world->disks[disk].view;
    uint32_t sector, count;
    pick_extent(world, record, view->sector_count, &sector, &count);
    if (count > 24) count = 24;
    slot_take_data(slot, (size_t)count * 2 * SECTOR_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t write = 0;
        if (!model_cell_certain(world->model, view, sector + i, &write)) write = 0;
        model_fill(world->model, write, sector + i, 1, slot->data + (size_t)i * SECTOR_BYTES);
    }
    if (record->extra >> 13 == 0)
        slot->data[(record->count * 37u) % (count * SECTOR_BYTES)] ^= 0x10;
    slot->io =
        (struct volume_io){.op = VOLUME_COMPARE_WRITE, .sector = sector, .sector_count = count};
    slot_write_begin(slot, disk, false, true);
    model_fill(world->model, slot->write, sector, count, slot->data + (size_t)count * SECTOR_BYTES);
    slot_set_iov(slot, record->extra >> 4);
    slot_submit(slot, disk);
}

static void do_read(struct world *world, const struct record *record)
{
    int disk;
    struct slot *slot = slot_get_for(world, record, &disk);
    if (!slot) return;
    uint32_t sector, count;
    pick_extent(world, record, world->disks[disk].view.sector_count, &sector, &count);
    slot->io = (struct volume_io){.op = VOLUME_READ, .sector = sector, .sector_count = count};
    slot_take_data(slot, (size_t)count * SECTOR_BYTES);
    slot_set_iov(slot, record->extra >> 4);
    slot_submit(slot, disk);
}

static void do_point_read(struct world *world, const struct record *record)
{
    struct slot *slot = slot_get(world);
    int point = slot ? pick_point(world, record->disk) : -1;
    if (point < 0) return;
    struct point *p = &world->points[point];
    uint32_t sector, count;
    pick_extent(world, record, p->view.sector_count, &sector, &count);
    struct err *e = volume_open(world->pool, NULL, &p->uuid, VOLUME_READ_ONLY, &slot->handle);
    if (e) {
        char text[200];
        world_fail(world, "open point %d: %s", point, err_text(e, text, sizeof text));
        err_free(e);
        return;
    }
    slot->io = (struct volume_io){
        .op = VOLUME_READ, .sector = sector, .sector_count = count, .done = slot_done};
    slot_take_data(slot, (size_t)count * SECTOR_BYTES);
    slot_set_iov(slot, record->extra >> 4);
    slot->point = point;
    slot->busy = true;
    slot->submitted = model_tick(world->model);
    p->busy++;
    volume_submit(slot->handle, &slot->io);
}

static void query_done(struct volume_map_query *query)
{
    struct slot *slot = container_of(query, struct slot, query);
    struct world *world = slot->world;
    struct model_bound bound = {.floor = slot->submitted, .count_seen = true};
    uint32_t sector = (uint32_t)query->sector;
    model_tick(world->model);
    world->disks[slot->disk].busy--;
    slot->busy = false;
    if (query->status != STATUS_OK && !world->lossy)
        world_fail(world, "map query of disk %d failed: %s", slot->disk,
                   status_text(query->status));
    if (query->status != STATUS_OK) return;
    if (query->run_sectors == 0 || query->run_sectors > query->sector_count)
        world_fail(world, "map query of %llu sectors answers a run of %llu",
                   (unsigned long long)query->sector_count, (unsigned long long)query->run_sectors);
    for (uint32_t i = 0; !query->mapped && i < query->run_sectors && !world->failed; i++)
        if (!model_cell_may_be_zero(world->model, &world->disks[slot->disk].view, sector + i,
                                    &bound))
            world_fail(world, "disk %d, sector %u is told to be unmapped, but holds data",
                       slot->disk, sector + i);
}

static void do_map_query(struct world *world, const struct record *record)
{
    struct slot *slot = slot_get(world);
    int disk = slot ? pick_disk(world, record->disk) : -1;
    if (disk < 0) return;
    uint32_t sector, count;
    pick_extent(world, record, world->disks[disk].view.sector_count, &sector, &count);
    slot->query =
        (struct volume_map_query){.sector = sector, .sector_count = count, .done = query_done};
    slot->disk = disk;
    slot->busy = true;
    slot->submitted = model_tick(world->model);
    world->disks[disk].busy++;
    volume_map_status(world->disks[disk].handle, &slot->query);
}

/* ---- The table ------------------------------------------------------------------------------- */

void ops_control(struct world *world, unsigned which, const uint8_t *bytes); /* ops_control.c */

static void do_resolve(struct world *world, const struct record *record)
{
    world_resolve_all(world);
}

static void do_drain(struct world *world, const struct record *record)
{
    world_drain(world);
}

static void do_verify(struct world *world, const struct record *record)
{
    if (!world->lossy) world_verify(world);
}

static void do_settle(struct world *world, const struct record *record)
{
    if (!world->lossy) world_settle(world);
}

static void do_reopen(struct world *world, const struct record *record)
{
    if (!world->lossy) world_reopen(world);
}

static void do_zero(struct world *world, const struct record *record)
{
    do_clear(world, record, VOLUME_ZERO);
}

static void do_unmap(struct world *world, const struct record *record)
{
    do_clear(world, record, VOLUME_UNMAP);
}

/* Weights add up to 256; the first 9 rows are host requests. */
static const struct {
    unsigned weight;
    void (*run)(struct world *world, const struct record *record); /* NULL: control call `which` */
    unsigned which;
} table[] = {
    {68, do_write, 0},
    {38, do_read, 0},
    {12, do_zero, 0},
    {14, do_unmap, 0},
    {13, do_flush, 0},
    {10, do_compare_write, 0},
    {12, do_chain, 0},
    {15, do_point_read, 0},
    {13, NULL, TASK_CUT},
    {10, NULL, TASK_POINT_DELETE},
    {6, NULL, TASK_BRANCH},
    {4, NULL, TASK_DISK_CREATE},
    {4, NULL, TASK_DISK_DELETE},
    {3, NULL, TASK_DISK_GROW},
    {3, NULL, TASK_CHECKPOINT},
    {6, NULL, TASK_REVERT},
    {5, NULL, TASK_PROMOTE},
    {5, NULL, TASK_REPLACE},
    {5, do_resolve, 0},
    {2, do_drain, 0},
    {2, do_verify, 0},
    {1, do_settle, 0},
    {1, do_reopen, 0},
    {4, do_map_query, 0},
};

static void execute(struct world *world, const uint8_t *bytes)
{
    struct record record = record_decode(bytes);
    unsigned left = record.kind;
    for (unsigned i = 0; i < countof(table); i++) {
        if (left >= table[i].weight) {
            left -= table[i].weight;
            continue;
        }
        if (table[i].run)
            table[i].run(world, &record);
        else
            ops_control(world, table[i].which, bytes);
        break;
    }
    static const uint8_t steps[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 12};
    world_step(world, steps[record.steps & 15] * max_of(world->options.pace, 1u));
}

static void make_first_disks(struct world *world)
{
    for (unsigned i = 0; i < 3 && !world->failed; i++) {
        uint8_t bytes[OPS_RECORD_BYTES] = {[8] = (uint8_t)(i * 100)};
        ops_control(world, TASK_DISK_CREATE, bytes);
    }
    world_drain(world);
    world_arm_crash(world);
}

bool ops_run_only(struct world *world, const uint8_t *records, uint32_t record_count)
{
    if (world->disk_number == 0) make_first_disks(world);
    for (uint32_t i = 0; i < record_count && !world->failed; i++) {
        world_trace(world, "op %u", i);
        if (world->options.slow_reads && i % 8 == 0)
            sim_node_fault(world->node, SIM_FAULT_SLOW_READ, NULL, prng_below(&world->prng, 4));
        execute(world, records + (size_t)i * OPS_RECORD_BYTES);
        uint32_t every = world->options.checkpoint_every;
        if (every && i % every == every - 1 && !world->crashed)
            ops_control(world, TASK_CHECKPOINT, records + (size_t)i * OPS_RECORD_BYTES);
        if (world->options.crash_by_op && prng_chance(&world->prng, 1, world->options.crash_every))
            world_crash_now(world);
        while (world->crashed && !world->failed)
            world_recover(world);
    }
    return !world->failed;
}

/* While a device is honest, what a reader found stays what it was until it has read it (E17): the
 * second look that hides a breach is counted. */
static bool grace_was_kept(struct world *world)
{
    struct volume_pool_counters counters;
    volume_pool_counters(world->pool, &counters);
    return counters.checksum_retries == 0 ||
           world_fail(world, "%llu blocks changed under their readers",
                      (unsigned long long)counters.checksum_retries);
}

bool ops_run(struct world *world, const uint8_t *records, uint32_t record_count)
{
    ops_run_only(world, records, record_count);
    sim_node_crash_at_write(world->node, 0, SIM_CRASH_PROCESS);
    if (!world->failed) world_settle(world);
    if (!world->failed) grace_was_kept(world);
    if (!world->failed) world_empty(world);
    return !world->failed;
}

uint8_t *ops_draw(uint64_t seed, uint32_t record_count)
{
    struct prng prng;
    prng_init(&prng, seed);
    uint8_t *records = malloc((size_t)record_count * OPS_RECORD_BYTES + 1);
    check(records != NULL);
    prng_fill(&prng, records, (size_t)record_count * OPS_RECORD_BYTES);
    return records;
}

struct ops_outcome ops_world_run(const struct world_options *options)
{
    auto_free uint8_t *drawn = options->ops ? NULL : ops_draw(options->seed, options->op_count);
    struct world *world = world_create(options);
    bool ok = ops_run(world, options->ops ? options->ops : drawn, options->op_count);
    if (!world->crashed) world_count(world);
    struct ops_outcome outcome = {.ok = ok,
                                  .trace_hash = sim_trace_hash(world->sim),
                                  .crashes = world->crash_count,
                                  .recovery_crashes = world->recovery_crash_count,
                                  .cuts = world->cut_count,
                                  .reverts = world->revert_count,
                                  .promotes = world->promote_count,
                                  .splits = world->split_count,
                                  .replaces = world->replace_count,
                                  .verifies = world->verify_count,
                                  .writes = model_write_count(world->model),
                                  .full = world->full_count,
                                  .counters = world->counters};
    memcpy(outcome.failure, world->failure, sizeof outcome.failure);
    world_destroy(world);
    return outcome;
}
