/* Full pools, many points, deep branches, short buffers, damaged pools. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "direct.h"
#include "rows.h"
#include "tests/lib/tap.h"

/* ---- Space ----------------------------------------------------------------------------------- */

enum { FULL_BLOCKS = 16384 };

/* Writes blocks until the pool is full; returns how many. */
static uint32_t fill_up(struct world *world, struct volume *volume, uint64_t value)
{
    uint32_t block = 0;
    enum status status = STATUS_OK;
    while (!world->failed && block < FULL_BLOCKS &&
           (status = direct_write(world, volume, block, value + block)) == STATUS_OK)
        block++;
    if (status != STATUS_POOL_FULL)
        world_fail(world, "block %u: %s, expected a full pool", block, status_text(status));
    return block;
}

/* E28: without history, what frees as much as it takes succeeds. */
static bool full_overwrite(const void *arg)
{
    struct world *world = world_create(&(struct world_options){.seed = 1, .wal_bytes = 32 * MIB});
    struct volume *volume = direct_disk(world, 1, 64 * MIB);
    uint32_t blocks = world->failed ? 0 : fill_up(world, volume, 1000);
    struct prng prng;
    prng_init(&prng, 3);
    printf("# full with %u blocks\n", blocks);
    for (unsigned i = 0; i < 4000 && !world->failed; i++) {
        uint32_t block = (uint32_t)prng_below(&prng, blocks);
        enum status status = direct_write(world, volume, block, 1000 + block);
        if (status != STATUS_OK) world_fail(world, "overwrite %u: %s", i, status_text(status));
    }
    for (uint32_t b = 0; b < blocks && !world->failed; b++) direct_expect(world, volume, b, 1000 + b);
    /* Discarding works and gives room. */
    if (!world->failed && direct_io(world, volume, VOLUME_UNMAP, 0, 8 * 1000, NULL) != STATUS_OK)
        world_fail(world, "a full pool cannot be discarded from");
    for (uint32_t b = 0; b < 900 && !world->failed; b++)
        if (direct_write(world, volume, FULL_BLOCKS - 1 - b, 7) != STATUS_OK)
            world_fail(world, "no room after a discard, at block %u", b);
    if (!world->failed) direct_settle(world);
    if (volume) volume_close(volume);
    return direct_end(world);
}

static void a_full_pool_without_history_can_be_overwritten(void)
{
    expect_eq(rows_run_child(full_overwrite, NULL, 300), ROW_GREEN);
}

/* Deleting always works, and gives the room back. */
static bool full_of_history(const void *arg)
{
    struct world *world = world_create(&(struct world_options){.seed = 2, .wal_bytes = 32 * MIB});
    struct volume *volume = direct_disk(world, 1, 8 * MIB);
    uint32_t point = 100;
    enum status status = STATUS_OK;
    for (uint64_t lap = 0; !world->failed && status == STATUS_OK && lap < 100; lap++) {
        for (uint64_t b = 0; status == STATUS_OK && b < 1024; b++)
            status = direct_write(world, volume, b, lap * 10000 + b);
        if (status == STATUS_OK) status = direct_cut(world, 1, point++);
    }
    if (status != STATUS_POOL_FULL) world_fail(world, "%s, expected a full pool", status_text(status));
    printf("# full with %u points\n", point - 100);
    for (uint32_t p = 100; p < point && !world->failed; p++)
        if ((status = direct_point_delete(world, p)) != STATUS_OK)
            world_fail(world, "deleting point %u of a full pool: %s", p, status_text(status));
    for (uint64_t b = 0; b < 1024 && !world->failed; b++)
        if ((status = direct_write(world, volume, b, b)) != STATUS_OK)
            world_fail(world, "no room after all points were deleted: %s", status_text(status));
    if (!world->failed && direct_settle(world) && direct_data_blocks(world) != 1024)
        world_fail(world, "%llu blocks in use, expected 1024", (unsigned long long)direct_data_blocks(world));
    if (volume) volume_close(volume);
    return direct_end(world);
}

static void deleting_works_on_a_pool_full_of_history(void)
{
    expect_eq(rows_run_child(full_of_history, NULL, 300), ROW_GREEN);
}

/* ---- Many ------------------------------------------------------------------------------------ */

/* Every point keeps its own version of a hot block, whatever is deleted around it. */
static bool many_points(const void *arg)
{
    struct world *world = world_create(&(struct world_options){.seed = 3, .pool_bytes = 128 * MIB});
    struct volume *volume = direct_disk(world, 1, 1 * MIB);
    enum { POINTS = LIMIT_POINTS_PER_DISK, FIRST = 10 };
    static bool there[POINTS];
    struct prng prng;
    prng_init(&prng, 4);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < POINTS && !world->failed; i++) {
        if (i % 3 == 0) direct_write(world, volume, 5, i);
        status = direct_cut(world, 1, FIRST + i);
        there[i] = true;
        if (status != STATUS_OK) world_fail(world, "cut %u: %s", i, status_text(status));
    }
    status = direct_cut(world, 1, FIRST + POINTS);
    if (!world->failed && status != STATUS_LIMIT_REACHED)
        world_fail(world, "cut %u: %s, expected a limit", POINTS, status_text(status));
    for (unsigned i = 0; i < POINTS * 3 / 4 && !world->failed; i++) {
        uint32_t p = (uint32_t)prng_below(&prng, POINTS);
        if (!there[p]) continue;
        there[p] = false;
        if (direct_point_delete(world, FIRST + p) != STATUS_OK) world_fail(world, "point %u stays", p);
    }
    if (!world->failed) direct_settle(world);
    uint64_t versions = 1; /* the live one */
    for (uint32_t i = 0, last = UINT32_MAX; i < POINTS && !world->failed; i++) {
        if (!there[i]) continue;
        struct uuid uuid = direct_uuid(FIRST + i);
        struct volume *view = direct_open(world, NULL, &uuid);
        if (view) direct_expect(world, view, 5, i / 3 * 3);
        if (view) volume_close(view);
        if (i / 3 != last && i / 3 != (POINTS - 1) / 3) versions++;
        last = i / 3;
    }
    if (!world->failed && direct_data_blocks(world) != versions)
        world_fail(world, "%llu blocks in use, expected %llu",
                   (unsigned long long)direct_data_blocks(world), (unsigned long long)versions);
    if (volume) volume_close(volume);
    return direct_end(world);
}

static void every_point_of_many_keeps_its_content(void)
{
    expect_eq(rows_run_child(many_points, NULL, 300), ROW_GREEN);
}

/* Disk n is a branch of a point of disk n - 1; each writes one block of its own. */
static bool deep_branches(const void *arg)
{
    struct world *world = world_create(&(struct world_options){.seed = 5});
    struct volume *volumes[LIMIT_BRANCH_DEPTH + 1];
    volumes[0] = direct_disk(world, 1, 1 * MIB);
    for (uint32_t d = 0; d <= LIMIT_BRANCH_DEPTH && !world->failed; d++) {
        direct_write(world, volumes[d], d, 500 + d);
        if (direct_cut(world, 1 + d, 100 + d) != STATUS_OK) world_fail(world, "cut at depth %u", d);
        enum status status = direct_branch(world, 100 + d, 2 + d);
        if (d == LIMIT_BRANCH_DEPTH) {
            if (status != STATUS_LIMIT_REACHED) world_fail(world, "depth %u: %s", d + 1, status_text(status));
            break;
        }
        if (status != STATUS_OK) world_fail(world, "depth %u: %s", d + 1, status_text(status));
        struct uuid uuid = direct_uuid(2 + d);
        volumes[d + 1] = direct_open(world, &uuid, NULL);
        direct_write(world, volumes[d], d, 9); /* behind the point: the branch must not see it */
    }
    for (uint32_t d = 0; d < LIMIT_BRANCH_DEPTH && !world->failed; d++)
        direct_expect(world, volumes[LIMIT_BRANCH_DEPTH], d, 500 + d);
    for (uint32_t d = 0; d <= LIMIT_BRANCH_DEPTH && !world->failed; d++)
        if (direct_point_delete(world, 100 + d) != STATUS_OK) world_fail(world, "point %u stays", d);
    if (!world->failed) direct_settle(world);
    for (uint32_t d = 0; d < LIMIT_BRANCH_DEPTH && !world->failed; d++)
        direct_expect(world, volumes[LIMIT_BRANCH_DEPTH], d, 500 + d);
    for (uint32_t d = LIMIT_BRANCH_DEPTH + 1; d-- > 0 && !world->failed;) {
        volume_close(volumes[d]);
        if (direct_disk_delete(world, 1 + d) != STATUS_OK) world_fail(world, "disk %u stays", d);
    }
    if (!world->failed && direct_settle(world) && direct_data_blocks(world) != 0)
        world_fail(world, "%llu blocks left", (unsigned long long)direct_data_blocks(world));
    return direct_end(world);
}

static void branches_read_through_every_level(void)
{
    expect_eq(rows_run_child(deep_branches, NULL, 60), ROW_GREEN);
}

/* ---- Short buffers --------------------------------------------------------------------------- */

struct flood {
    struct volume_io io;
    struct iovec iov;
    unsigned *left;
};

static void flood_done(struct volume_io *io)
{
    (*container_of(io, struct flood, io)->left)--;
}

static bool none_left(void *arg)
{
    return *(unsigned *)arg == 0;
}

/* More reads than the engine has parts for, and ragged writes that need a read each, in 1 MiB of buffers. */
static bool flood(const void *arg)
{
    enum { READS = 24, WRITES = 600, READ_SECTORS = 8192 };
    unsigned order = (unsigned)(*(const uint64_t *)arg % 3);
    struct world *world = world_create(&(struct world_options){
        .seed = *(const uint64_t *)arg, .buffer_bytes = 1 * MIB, .pool_bytes = 256 * MIB});
    struct volume *volume = direct_disk(world, 1, 8 * MIB);
    uint8_t *data = calloc(READS * (size_t)READ_SECTORS, SECTOR_BYTES);
    struct flood *floods = calloc(READS + WRITES, sizeof *floods);
    unsigned left = READS + WRITES;
    check(data && floods);
    for (uint64_t s = 0; s < 8 * MIB / SECTOR_BYTES && !world->failed; s += 2048)
        if (direct_io(world, volume, VOLUME_WRITE, s, 2048, data + 99) != STATUS_OK) world_fail(world, "write");
    for (unsigned i = 0; i < READS + WRITES && !world->failed; i++) {
        struct flood *f = &floods[i];
        bool read = order == 0 ? i % 17 == 0 && i / 17 < READS : order == 1 ? i < READS : i >= WRITES;
        unsigned nth = order == 0 ? i / 17 : order == 1 ? i : i - WRITES;
        size_t bytes = (read ? READ_SECTORS : 1) * (size_t)SECTOR_BYTES;
        if (order == 2 && i == WRITES) world_step(world, (unsigned)*(const uint64_t *)arg * 3);
        f->left = &left;
        f->iov = (struct iovec){.iov_base = data + (read ? nth * bytes : 0), .iov_len = bytes};
        f->io = (struct volume_io){.op = read ? VOLUME_READ : VOLUME_WRITE, .iov = &f->iov, .iov_count = 1,
                                   .done = flood_done};
        f->io.sector = read ? i % 7 : (i * 40u) % (8 * MIB / SECTOR_BYTES) + 3;
        f->io.sector_count = bytes / SECTOR_BYTES;
        volume_submit(volume, &f->io);
    }
    if (!world->failed && !sim_run_until(world->sim, none_left, &left, 1000 * RT_SECOND))
        world_fail(world, "%u requests hang", left);
    bool hangs = world->failed;
    if (!hangs) volume_close(volume);
    bool green = direct_end(world);
    free(data);
    free(floods);
    return green;
}

static void reads_and_ragged_writes_do_not_wait_for_each_other(void)
{
    for (uint64_t seed = 1; seed <= 24; seed++)
        expect_eq(rows_run_child(flood, &seed, 100), ROW_GREEN);
}

/* ---- A deletion beside a write ---------------------------------------------------------------------------------- */

static void deleted(void *arg, struct err *e)
{
    unsigned *left = arg;
    if (!e) (*left)--;
    err_free(e);
}

/* The write still keeps for the point what it supersedes; the sweep for the point must not pass before it. */
static bool delete_beside_write(const void *arg)
{
    enum { ROUNDS = 150 };
    struct world *world = world_create(&(struct world_options){.seed = *(const uint64_t *)arg});
    struct volume *volume = direct_disk(world, 1, 1 * MIB);
    uint8_t data[BLOCK_BYTES] = {1};
    for (uint32_t i = 0; i < ROUNDS && !world->failed; i++) {
        unsigned left = 2;
        struct uuid point = direct_uuid(100 + i);
        struct flood f = {.left = &left, .iov = {.iov_base = data, .iov_len = BLOCK_BYTES}};
        direct_write(world, volume, i, i);
        if (direct_cut(world, 1, 100 + i) != STATUS_OK) world_fail(world, "cut %u", i);
        f.io = (struct volume_io){.op = VOLUME_WRITE, .sector = i * SECTORS_PER_BLOCK,
                                  .sector_count = SECTORS_PER_BLOCK, .iov = &f.iov, .iov_count = 1,
                                  .done = flood_done};
        volume_submit(volume, &f.io);
        world_step(world, i % 7);
        volume_point_delete(world->pool, &point, deleted, &left);
        if (!world->failed && !sim_run_until(world->sim, none_left, &left, 100 * RT_SECOND))
            world_fail(world, "a deletion beside a write hangs or fails");
    }
    if (!world->failed && direct_settle(world) && direct_data_blocks(world) != ROUNDS)
        world_fail(world, "%llu blocks in use, expected %d", (unsigned long long)direct_data_blocks(world),
                   ROUNDS);
    if (volume && !world->failed) volume_close(volume);
    return direct_end(world);
}

static void a_deletion_beside_a_write_gives_all_space_back(void)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        expect_eq(rows_run_child(delete_beside_write, &seed, 60), ROW_GREEN);
}

int main(void)
{
    run(a_full_pool_without_history_can_be_overwritten);
    run(deleting_works_on_a_pool_full_of_history);
    run(every_point_of_many_keeps_its_content);
    run(branches_read_through_every_level);
    run(reads_and_ragged_writes_do_not_wait_for_each_other);
    run(a_deletion_beside_a_write_gives_all_space_back);
    return tap_done();
}
