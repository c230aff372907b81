/* The engine in a simulated world: full pools, failures, old superblocks, locks, paging. */
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

static struct uuid uuid_of(unsigned n)
{
    struct uuid uuid = {{2}};
    store_le32(uuid.bytes + 8, n);
    return uuid;
}

static void call_done(void *arg, struct err *e)
{
    struct rig *r = arg;
    r->is_done = true;
    r->error = e;
}

static bool is_done(void *arg)
{
    return ((struct rig *)arg)->is_done;
}

/* The status of a control call that was just begun. */
static enum status finish(struct rig *r)
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

static void io_done(struct volume_io *io)
{
    container_of(io, struct tracked_io, io)->is_done = true;
}

static bool io_is_done(void *arg)
{
    return ((struct tracked_io *)arg)->is_done;
}

static enum status do_io(struct rig *r, enum volume_op op, uint64_t block, uint32_t blocks,
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

static enum status put(struct rig *r, uint64_t block, uint32_t blocks, unsigned value)
{
    memset(memory, (int)value, (size_t)blocks * BLOCK_BYTES);
    return do_io(r, VOLUME_WRITE, block, blocks, 0);
}

static bool has(struct rig *r, uint64_t block, unsigned value)
{
    memset(memory, 0xee, BLOCK_BYTES);
    return do_io(r, VOLUME_READ, block, 1, 0) == STATUS_OK && memory[0] == value &&
           memory[BLOCK_BYTES - 1] == value;
}

static void open_disk(struct rig *r)
{
    struct err *e = volume_open(r->pool, &r->disk, NULL, VOLUME_READ_WRITE, &r->volume);
    check(!e);
}

static enum status open_pool(struct rig *r, uint64_t cache_bytes)
{
    struct volume_pool_options options = {.cache_bytes = cache_bytes};
    volume_pool_open(r->rt, POOL_PATH, &options, &r->pool, call_done, r);
    return finish(r);
}

static void rig_create(struct rig *r, uint64_t seed, uint64_t disk_bytes, uint64_t cache_bytes)
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

static void rig_destroy(struct rig *r)
{
    sim_node_crash(r->node, SIM_CRASH_PROCESS);
    if (r->pool) volume_pool_abandon(r->pool);
    sim_destroy(r->sim);
}

/* A crash and a new start; the pool is not opened. */
static void crash(struct rig *r, enum sim_crash kind)
{
    sim_node_crash(r->node, kind);
    if (r->pool) volume_pool_abandon(take_ptr(&r->pool));
    r->volume = NULL;
    r->rt = sim_node_boot(r->node);
}

static enum status close_pool(struct rig *r)
{
    volume_close(take_ptr(&r->volume));
    volume_pool_close(take_ptr(&r->pool), call_done, r);
    return finish(r);
}

static enum status cut(struct rig *r, unsigned n)
{
    struct volume_cut_member member = {
        .disk = r->disk, .point = uuid_of(n), .kind = VOLUME_POINT_SNAPSHOT};
    struct volume_cut c = {.set = uuid_of(n), .member_count = 1, .members = &member};
    struct volume_cut_result result;
    volume_cut(r->pool, &c, &result, call_done, r);
    return finish(r);
}

static enum status delete_point(struct rig *r, unsigned n)
{
    struct uuid uuid = uuid_of(n);
    volume_point_delete(r->pool, &uuid, call_done, r);
    return finish(r);
}

static enum status check_pool(struct rig *r)
{
    volume_pool_check(r->pool, call_done, r);
    return finish(r);
}

static uint64_t data_blocks(struct rig *r)
{
    struct volume_pool_usage usage;
    volume_pool_settle(r->pool, call_done, r);
    check(finish(r) == STATUS_OK);
    volume_pool_usage(r->pool, &usage);
    return usage.data_bytes / BLOCK_BYTES;
}

/* Writes new blocks until the pool is full; returns how many. */
static uint64_t fill(struct rig *r)
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

/* ---- A full pool
 * ----------------------------------------------------------------------------------------- */

static void a_full_pool_refuses_new_blocks_and_takes_overwrites(void)
{
    struct rig r;
    struct prng prng;
    prng_init(&prng, 1);
    rig_create(&r, 1, 1 * GIB, 0);
    uint64_t full = fill(&r);
    expect(full > 12000); /* of 15,872 */
    uint64_t more = 0;    /* a leaf of its own costs less than a full one: a few blocks fit there */
    while (more < 16 && put(&r, full + 5000 + more, 1, 1) == STATUS_OK)
        more++;
    expect(more < 16);
    for (unsigned i = 0; i < 3000; i++) { /* six times the recycling reserve (E28) */
        uint64_t block = prng_below(&prng, full);
        require(put(&r, block, 1, i & 0x7f) == STATUS_OK);
        if (i % 100 == 0) expect(has(&r, block, i & 0x7f));
    }
    expect_eq(put(&r, full + 5000 + more, 1, 1), STATUS_POOL_FULL);
    expect_eq(data_blocks(&r), full + more);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void deleting_works_on_a_full_pool_and_gives_all_of_it_back(void)
{
    struct rig r;
    rig_create(&r, 2, 1 * GIB, 0);
    for (unsigned i = 0; i < 140; i++)
        require(put(&r, i * 64, 64, 1) == STATUS_OK);
    expect_eq(cut(&r, 10), STATUS_OK);
    uint64_t written = 0;
    while (written < 8960 && put(&r, written, 64, 2) == STATUS_OK)
        written += 64;
    expect(written > 4000 && written < 8960);
    expect_eq(cut(&r, 11), STATUS_OK); /* a cut needs no space that a host could take */
    expect_eq(delete_point(&r, 11), STATUS_OK);
    expect_eq(delete_point(&r, 10), STATUS_OK);
    expect_eq(data_blocks(&r), 8960);
    for (unsigned i = 0; i < 140; i++)
        require(put(&r, i * 64, 64, 3) == STATUS_OK);
    expect_eq(data_blocks(&r), 8960);
    expect_eq(do_io(&r, VOLUME_UNMAP, 0, 8960, 0), STATUS_OK);
    expect_eq(data_blocks(&r), 0);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_disk_that_was_deleted_leaves_nothing_behind(void)
{
    struct rig r;
    rig_create(&r, 3, 256 * MIB, 64 * KIB);
    volume_pool_settle(r.pool, call_done, &r);
    expect_eq(finish(&r), STATUS_OK);
    for (unsigned i = 0; i < 60; i++)
        require(put(&r, i * 1000, 5, 1) == STATUS_OK);
    expect_eq(data_blocks(&r), 300);
    volume_close(take_ptr(&r.volume));
    volume_disk_delete(r.pool, &r.disk, call_done, &r);
    expect_eq(finish(&r), STATUS_OK);
    expect_eq(data_blocks(&r), 0);
    struct volume_pool_usage usage;
    volume_pool_usage(r.pool, &usage);
    expect(usage.metadata_bytes <= 8 * BLOCK_BYTES && !usage.reclaim_pending);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

/* ---- Paging
 * ---------------------------------------------------------------------------------------------- */

static void more_leaves_than_the_cache_holds_are_paged_and_stay_right(void)
{
    struct rig r;
    rig_create(&r, 4, 1 * GIB, 64 * KIB);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 256; i++)
            require(put(&r, i * 1024 + (i * 37 + round) % 1000, 2, (i + round) & 0x7f) ==
                    STATUS_OK);
    struct volume_pool_counters counters;
    for (unsigned i = 0; i < 256; i++)
        expect(has(&r, i * 1024 + (i * 37 + 2) % 1000, (i + 2) & 0x7f));
    volume_pool_counters(r.pool, &counters);
    expect(counters.leaf_loads > 200 && counters.leaf_writes > 200);
    expect_eq(check_pool(&r), STATUS_OK);
    expect_eq(close_pool(&r), STATUS_OK);
    expect_eq(open_pool(&r, 64 * KIB), STATUS_OK);
    expect(volume_pool_recovery(r.pool)->clean);
    open_disk(&r);
    for (unsigned i = 0; i < 256; i++)
        expect(has(&r, i * 1024 + (i * 37 + 2) % 1000, (i + 2) & 0x7f));
    rig_destroy(&r);
}

static void a_write_does_not_load_its_leaf(void)
{
    struct rig r;
    struct volume_pool_counters before, after;
    rig_create(&r, 5, 1 * GIB, 64 * KIB);
    for (unsigned i = 0; i < 256; i++)
        require(put(&r, i * 1024, 1, 1) == STATUS_OK);
    volume_pool_checkpoint(r.pool, call_done, &r);
    expect_eq(finish(&r), STATUS_OK);
    sim_run_for(r.sim, RT_SECOND);
    volume_pool_counters(r.pool, &before);
    for (unsigned i = 0; i < 16; i++)
        require(put(&r, i * 1024 + 1, 1, 2) == STATUS_OK);
    volume_pool_counters(r.pool, &after);
    expect_eq(after.leaf_loads - before.leaf_loads, 0);
    rig_destroy(&r);
}

/* ---- Superblocks, log, locks
 * ----------------------------------------------------------------------------- */

static void spoil(struct rig *r, uint64_t block)
{
    uint8_t byte;
    sim_file_peek(r->node, POOL_PATH, block * BLOCK_BYTES + 100, &byte, 1);
    byte ^= 0x40;
    sim_file_poke(r->node, POOL_PATH, block * BLOCK_BYTES + 100, &byte, 1);
}

static void either_superblock_alone_opens_the_pool(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct rig r;
        rig_create(&r, 6, 64 * MIB, 0);
        require(put(&r, 1, 1, 5) == STATUS_OK);
        volume_pool_checkpoint(r.pool, call_done, &r);
        expect_eq(finish(&r), STATUS_OK);
        require(put(&r, 2, 1, 6) == STATUS_OK);
        volume_pool_checkpoint(r.pool, call_done, &r);
        expect_eq(finish(&r), STATUS_OK);
        require(put(&r, 3, 1, 7) == STATUS_OK);
        expect_eq(do_io(&r, VOLUME_FLUSH, 0, 0, 0), STATUS_OK);
        crash(&r, SIM_CRASH_POWER);
        spoil(&r, i ? FORMAT_SUPER_B : FORMAT_SUPER_A);
        require(open_pool(&r, 0) == STATUS_OK);
        open_disk(&r);
        expect(has(&r, 1, 5) && has(&r, 2, 6) && has(&r, 3, 7));
        expect_eq(check_pool(&r), STATUS_OK);
        rig_destroy(&r);
    }
}

static void no_superblock_is_an_error_that_says_so(void)
{
    struct rig r;
    rig_create(&r, 7, 64 * MIB, 0);
    crash(&r, SIM_CRASH_PROCESS);
    spoil(&r, FORMAT_SUPER_A);
    spoil(&r, FORMAT_SUPER_B);
    expect_eq(open_pool(&r, 0), STATUS_NOT_A_POOL);
    expect(r.pool == NULL);
    rig_destroy(&r);
}

/* E9: flushed batches behind a rotten one are not silently dropped. */
static void rot_in_the_middle_of_the_log_opens_read_only(void)
{
    struct rig r;
    rig_create(&r, 8, 64 * MIB, 0);
    for (unsigned i = 0; i < 20; i++)
        require(put(&r, i, 1, i) == STATUS_OK);
    expect_eq(do_io(&r, VOLUME_FLUSH, 0, 0, 0), STATUS_OK);
    require(put(&r, 30, 1, 1) == STATUS_OK); /* holds D */
    crash(&r, SIM_CRASH_PROCESS);
    spoil(&r, FORMAT_WAL_START + 8);
    expect_eq(open_pool(&r, 0), STATUS_OK);
    expect_eq(volume_pool_state(r.pool), VOLUME_POOL_DAMAGED);
    expect(strlen(volume_pool_trouble(r.pool)) > 0);
    open_disk(&r);
    expect(has(&r, 1, 1));
    expect_eq(put(&r, 1, 1, 9), STATUS_POOL_DAMAGED);
    expect_eq(cut(&r, 10), STATUS_POOL_DAMAGED);
    expect_eq(close_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_pool_is_opened_once_at_a_time(void)
{
    struct rig r;
    struct volume_pool *second = NULL;
    rig_create(&r, 9, 64 * MIB, 0);
    volume_pool_open(r.rt, POOL_PATH, NULL, &second, call_done, &r);
    expect_eq(finish(&r), STATUS_LOCKED); /* after ten seconds (E15) */
    expect(second == NULL);
    expect_eq(put(&r, 1, 1, 1), STATUS_OK);
    rig_destroy(&r);
}

static void creating_over_something_is_refused_and_changes_nothing(void)
{
    struct rig r;
    struct uuid uuid = uuid_of(50);
    rig_create(&r, 10, 64 * MIB, 0);
    require(put(&r, 1, 1, 3) == STATUS_OK);
    expect_eq(close_pool(&r), STATUS_OK);
    volume_pool_create(r.rt, POOL_PATH, POOL_BYTES, &uuid, NULL, false, NULL, call_done, &r);
    expect_eq(finish(&r), STATUS_EXISTS);
    volume_pool_create(r.rt, "/small", 1 * MIB, &uuid, NULL, false, NULL, call_done, &r);
    expect_eq(finish(&r), STATUS_BAD_REQUEST);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect(has(&r, 1, 3));
    rig_destroy(&r);
}

/* ---- Failures
 * -------------------------------------------------------------------------------------------- */

static void a_write_that_failed_once_is_repeated(void)
{
    struct rig r;
    rig_create(&r, 11, 64 * MIB, 0);
    sim_node_fault(r.node, SIM_FAULT_WRITE_ERROR, POOL_PATH, 0);
    expect_eq(put(&r, 1, 1, 4), STATUS_OK); /* E5 */
    expect_eq(volume_pool_state(r.pool), VOLUME_POOL_OK);
    expect(has(&r, 1, 4));
    rig_destroy(&r);
}

static void a_failed_flush_fails_the_pool_and_reads_go_on(void)
{
    struct rig r;
    rig_create(&r, 12, 64 * MIB, 0);
    require(put(&r, 1, 1, 4) == STATUS_OK);
    sim_node_fault(r.node, SIM_FAULT_FLUSH_ERROR, POOL_PATH, 0);
    expect_eq(do_io(&r, VOLUME_FLUSH, 0, 0, 0), STATUS_POOL_FAILED);
    expect_eq(volume_pool_state(r.pool), VOLUME_POOL_FAILED);
    expect_eq(put(&r, 2, 1, 4), STATUS_POOL_FAILED);
    expect_eq(do_io(&r, VOLUME_FLUSH, 0, 0, 0), STATUS_POOL_FAILED);
    expect_eq(cut(&r, 10), STATUS_POOL_FAILED);
    expect(has(&r, 1, 4));
    expect_eq(close_pool(&r), STATUS_POOL_FAILED); /* said once more, and everything is free */
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect(has(&r, 1, 4));
    rig_destroy(&r);
}

/* How many of 16 worlds lose an acknowledged write that nobody flushed, after so long. */
static unsigned lost_after(uint64_t age_ns)
{
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct rig r;
        rig_create(&r, seed, 64 * MIB, 0);
        check(put(&r, 1, 1, 4) == STATUS_OK);
        sim_run_for(r.sim, age_ns);
        crash(&r, SIM_CRASH_POWER);
        check(open_pool(&r, 0) == STATUS_OK);
        open_disk(&r);
        lost += !has(&r, 1, 4);
        rig_destroy(&r);
    }
    return lost;
}

static void what_nobody_flushes_is_durable_soon(void)
{
    expect(lost_after(0) > 0);           /* acknowledged is not durable */
    expect_eq(lost_after(RT_SECOND), 0); /* 200 ms and an fdatasync (E5) */
}

/* ---- Points
 * ---------------------------------------------------------------------------------------------- */

static void a_cut_behind_its_deadline_cuts_nothing(void)
{
    struct rig r;
    rig_create(&r, 13, 64 * MIB, 0);
    struct volume_cut_member member = {
        .disk = r.disk, .point = uuid_of(10), .kind = VOLUME_POINT_SNAPSHOT};
    struct volume_cut c = {
        .set = uuid_of(10), .deadline_ns = rt_now(r.rt), .member_count = 1, .members = &member};
    struct volume_cut_result result;
    sim_run_for(r.sim, RT_MS);
    volume_cut(r.pool, &c, &result, call_done, &r);
    expect_eq(finish(&r), STATUS_TOO_LATE);
    struct volume_point_info info;
    expect(!volume_point_find(r.pool, &member.point, &info));
    rig_destroy(&r);
}

/* A cut waits for its fdatasync; writers do not wait for the cut (E13, E26). */
static void writers_go_on_while_a_cut_waits_for_its_flush(void)
{
    struct rig r;
    rig_create(&r, 15, 64 * MIB, 0);
    require(put(&r, 1, 1, 3) == STATUS_OK);
    struct volume_cut_member member = {
        .disk = r.disk, .point = uuid_of(10), .kind = VOLUME_POINT_SNAPSHOT};
    struct volume_cut c = {.set = uuid_of(10), .member_count = 1, .members = &member};
    struct volume_cut_result result;
    sim_run_for(r.sim, RT_SECOND);
    sim_node_fault(r.node, SIM_FAULT_HANG, POOL_PATH, 1); /* the record is written, the flush hangs */
    volume_cut(r.pool, &c, &result, call_done, &r);
    sim_run_for(r.sim, RT_SECOND);
    for (unsigned i = 0; i < 50; i++)
        expect_eq(put(&r, 1 + i % 5, 1, 50 + i), STATUS_OK);
    expect(!r.is_done);
    sim_heal(r.sim);
    expect_eq(finish(&r), STATUS_OK);
    expect(has(&r, 1, 95));
    struct volume *live = r.volume;
    struct err *e = volume_open(r.pool, NULL, &member.point, VOLUME_READ_ONLY, &r.volume);
    require(!e);
    expect(has(&r, 1, 3));
    volume_close(r.volume);
    r.volume = live;
    rig_destroy(&r);
}

static void branches_are_eight_deep_and_no_deeper(void)
{
    struct rig r;
    rig_create(&r, 14, 64 * MIB, 0);
    require(put(&r, 7, 1, 100) == STATUS_OK);
    for (unsigned depth = 1; depth <= LIMIT_BRANCH_DEPTH + 1; depth++) {
        require(cut(&r, 10 + depth) == STATUS_OK);
        struct uuid point = uuid_of(10 + depth), branch = uuid_of(100 + depth);
        volume_branch(r.pool, &point, &branch, call_done, &r);
        require(finish(&r) == (depth <= LIMIT_BRANCH_DEPTH ? STATUS_OK : STATUS_LIMIT_REACHED));
        if (depth > LIMIT_BRANCH_DEPTH) break;
        volume_close(take_ptr(&r.volume));
        r.disk = branch;
        open_disk(&r);
        require(has(&r, 7, 99 + depth));
        require(put(&r, 7, 1, 100 + depth) == STATUS_OK);
    }
    expect_eq(do_io(&r, VOLUME_UNMAP, 7, 1, 0), STATUS_OK);
    expect(has(&r, 7, 0)); /* the hole hides the parent (E20) */
    expect_eq(data_blocks(&r),
              LIMIT_BRANCH_DEPTH + 1); /* each disk's one; the last is its point's */
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

/* ---- Reverts (E19)
 * --------------------------------------------------------------------------------------- */

static void begin_revert(struct rig *r, unsigned point, unsigned undo)
{
    struct uuid to = uuid_of(point), before = uuid_of(undo);
    volume_revert(r->pool, &r->disk, &to, &before, call_done, r);
}

static enum status revert(struct rig *r, unsigned point, unsigned undo)
{
    begin_revert(r, point, undo);
    return finish(r);
}

struct heard {
    struct volume_watch watch;
    unsigned events;
};

static void hear(struct volume_watch *watch, unsigned events)
{
    container_of(watch, struct heard, watch)->events |= events;
}

static void begin_write(struct rig *r, struct tracked_io *t, struct iovec *iov, uint64_t block,
                        uint8_t bytes[BLOCK_BYTES])
{
    *iov = (struct iovec){.iov_base = bytes, .iov_len = BLOCK_BYTES};
    *t = (struct tracked_io){.io = {.op = VOLUME_WRITE,
                                    .sector = block * SECTORS_PER_BLOCK,
                                    .sector_count = SECTORS_PER_BLOCK,
                                    .iov = iov,
                                    .iov_count = 1,
                                    .done = io_done}};
    volume_submit(r->volume, &t->io);
}

static void what_is_under_way_comes_before_a_revert_and_what_is_later_behind_it(void)
{
    static uint8_t bytes[2][BLOCK_BYTES];
    struct rig r;
    struct tracked_io before, behind;
    struct iovec iov[2];
    struct heard heard = {.watch.fn = hear};
    rig_create(&r, 15, 64 * MIB, 0);
    volume_watch_add(r.volume, &heard.watch);
    require(put(&r, 1, 1, 1) == STATUS_OK && put(&r, 2, 1, 1) == STATUS_OK &&
            cut(&r, 10) == STATUS_OK);
    memset(bytes[0], 2, BLOCK_BYTES);
    memset(bytes[1], 3, BLOCK_BYTES);
    begin_write(&r, &before, &iov[0], 1, bytes[0]);
    sim_step(r.sim); /* admitted, and on its way */
    begin_revert(&r, 10, 11);
    begin_write(&r, &behind, &iov[1], 2, bytes[1]);
    require(finish(&r) == STATUS_OK && sim_run_until(r.sim, io_is_done, &behind, LIMIT_NS));
    expect(before.is_done && before.io.status == STATUS_OK && behind.io.status == STATUS_OK);
    expect_eq(heard.events, VOLUME_EVENT_CONTENT);
    expect(has(&r, 2, 3));
    require(revert(&r, 11, 12) == STATUS_OK);
    expect(has(&r, 2, 1)); /* it came behind the undo point */
    require(revert(&r, 12, 13) == STATUS_OK);
    expect(has(&r, 2, 3));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_revert_brings_the_size_back_and_refuses_what_no_longer_fits(void)
{
    static uint8_t bytes[BLOCK_BYTES];
    struct rig r;
    struct tracked_io late;
    struct iovec iov;
    struct heard heard = {.watch.fn = hear};
    rig_create(&r, 16, 4 * MIB, 0);
    require(put(&r, 5, 1, 1) == STATUS_OK && cut(&r, 10) == STATUS_OK);
    volume_disk_resize(r.pool, &r.disk, 8 * MIB, call_done, &r);
    require(finish(&r) == STATUS_OK && put(&r, 1500, 1, 2) == STATUS_OK);
    volume_watch_add(r.volume, &heard.watch);
    begin_revert(&r, 10, 11);
    begin_write(&r, &late, &iov, 1500, bytes);
    require(finish(&r) == STATUS_OK && sim_run_until(r.sim, io_is_done, &late, LIMIT_NS));
    expect_eq(late.io.status, STATUS_OUT_OF_RANGE);
    expect_eq(heard.events, VOLUME_EVENT_CONTENT | VOLUME_EVENT_SIZE);
    expect_eq(volume_size_bytes(r.volume), 4 * MIB);
    crash(&r, SIM_CRASH_POWER);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect_eq(volume_size_bytes(r.volume), 4 * MIB);
    volume_disk_resize(r.pool, &r.disk, 8 * MIB, call_done, &r);
    require(finish(&r) == STATUS_OK);
    expect(has(&r, 5, 1) && has(&r, 1500, 0)); /* what was there belongs to the undo point only */
    require(revert(&r, 11, 12) == STATUS_OK);
    expect_eq(volume_size_bytes(r.volume), 8 * MIB);
    expect(has(&r, 1500, 2));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void an_abandoned_future_is_given_back_with_its_undo_point(void)
{
    enum { LEAVES = 60 };
    struct rig r;
    rig_create(&r, 17, 1 * GIB, 64 * KIB);
    for (unsigned i = 0; i < LEAVES; i += 2)
        require(put(&r, (uint64_t)i * FORMAT_LEAF_BLOCKS, 1, 1) == STATUS_OK);
    require(cut(&r, 10) == STATUS_OK);
    for (unsigned i = 0; i < LEAVES; i++)
        require(put(&r, (uint64_t)i * FORMAT_LEAF_BLOCKS, 1, 2) == STATUS_OK);
    expect_eq(data_blocks(&r), LEAVES / 2 + LEAVES);
    require(revert(&r, 10, 11) == STATUS_OK);
    expect_eq(data_blocks(&r), LEAVES / 2 + LEAVES);
    expect_eq(close_pool(&r), STATUS_OK); /* nothing of it is in memory any more */
    require(open_pool(&r, 64 * KIB) == STATUS_OK);
    open_disk(&r);
    require(delete_point(&r, 11) == STATUS_OK);
    expect_eq(data_blocks(&r), LEAVES / 2);
    for (unsigned i = 0; i < LEAVES; i++)
        expect(has(&r, (uint64_t)i * FORMAT_LEAF_BLOCKS, i % 2 ? 0 : 1));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void reverts_without_end_are_fine_when_their_undo_points_go(void)
{
    struct rig r;
    unsigned done = 0;
    rig_create(&r, 18, 64 * MIB, 0);
    require(put(&r, 3, 1, 1) == STATUS_OK && cut(&r, 10) == STATUS_OK);
    for (unsigned i = 0; i < 2 * LIMIT_REVERTS_PER_DISK; i++) {
        require(put(&r, 3 + i % 5, 1, 2) == STATUS_OK && revert(&r, 10, 11) == STATUS_OK);
        require(delete_point(&r, 11) == STATUS_OK);
        if (i % 50 == 0) expect_eq(data_blocks(&r), 1);
    }
    expect_eq(data_blocks(&r), 1);
    while (revert(&r, 10, 1000 + done) == STATUS_OK)
        done++;
    expect_eq(done, LIMIT_REVERTS_PER_DISK);
    expect_eq(revert(&r, 10, 5000), STATUS_LIMIT_REACHED);
    for (unsigned i = 0; i < done; i++)
        require(delete_point(&r, 1000 + i) == STATUS_OK);
    expect_eq(data_blocks(&r), 1);
    expect_eq(revert(&r, 10, 5000), STATUS_OK);
    expect(has(&r, 3, 1));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_revert_that_makes_no_sense_is_refused_and_changes_nothing(void)
{
    struct rig r;
    struct uuid other = uuid_of(2), point = uuid_of(10), undo = uuid_of(11), nil = {{0}};
    rig_create(&r, 19, 64 * MIB, 0);
    require(put(&r, 1, 1, 1) == STATUS_OK && cut(&r, 10) == STATUS_OK &&
            put(&r, 1, 1, 2) == STATUS_OK);
    volume_disk_create(r.pool, &other, 64 * MIB, call_done, &r);
    require(finish(&r) == STATUS_OK);
    volume_revert(r.pool, &other, &point, &undo, call_done, &r);
    expect_eq(finish(&r), STATUS_BAD_REQUEST);
    volume_revert(r.pool, &r.disk, &point, &nil, call_done, &r);
    expect_eq(finish(&r), STATUS_BAD_REQUEST);
    expect_eq(revert(&r, 10, 10), STATUS_EXISTS);
    expect_eq(revert(&r, 77, 11), STATUS_NOT_FOUND);
    expect(has(&r, 1, 2));
    struct volume_disk_info info;
    expect(volume_disk_find(r.pool, &r.disk, &info) && info.point_count == 1);
    rig_destroy(&r);
}

/* ---- Promote and split (E20)
 * ------------------------------------------------------------------------------ */

struct promoting {
    struct volume_promotion job;
    struct rig *rig;
    uint64_t progress_bytes;
};

static void promoted(struct volume_promotion *job, struct err *e)
{
    call_done(container_of(job, struct promoting, job)->rig, e);
}

static void progressed(struct volume_promotion *job, uint64_t done_bytes, uint64_t total_bytes)
{
    struct promoting *p = container_of(job, struct promoting, job);
    expect(done_bytes >= p->progress_bytes && done_bytes <= total_bytes);
    p->progress_bytes = done_bytes;
}

static void begin_promote(struct rig *r, struct promoting *p)
{
    *p = (struct promoting){.job = {.disk = r->disk, .progress = progressed, .done = promoted}, .rig = r};
    volume_promote(r->pool, &p->job);
}

static enum status split(struct rig *r)
{
    volume_split(r->pool, &r->disk, call_done, r);
    return finish(r);
}

/* The rig's disk becomes a branch (uuid 2) of a disk with blocks 0 to 199 = 1. */
static void rig_branch(struct rig *r, uint64_t seed)
{
    struct uuid point = uuid_of(10), branch = uuid_of(2);
    rig_create(r, seed, 64 * MIB, 0);
    for (unsigned i = 0; i < 4; i++)
        check(put(r, i * 50, 50, 1) == STATUS_OK);
    check(cut(r, 10) == STATUS_OK);
    volume_branch(r->pool, &point, &branch, call_done, r);
    check(finish(r) == STATUS_OK);
    volume_close(take_ptr(&r->volume));
    r->disk = branch;
    open_disk(r);
}

static void a_promoted_branch_is_a_disk_of_its_own(void)
{
    struct rig r;
    struct promoting p;
    struct volume_disk_info info;
    struct uuid parent = uuid_of(1);
    rig_branch(&r, 20);
    require(put(&r, 10, 1, 2) == STATUS_OK && cut(&r, 20) == STATUS_OK && put(&r, 20, 1, 2) == STATUS_OK);
    require(do_io(&r, VOLUME_UNMAP, 30, 1, 0) == STATUS_OK);
    expect_eq(split(&r), STATUS_CONFLICT);
    begin_promote(&r, &p);
    require(finish(&r) == STATUS_OK);
    expect_eq(p.progress_bytes, 64 * MIB);
    expect_eq(split(&r), STATUS_OK);
    expect(volume_disk_find(r.pool, &r.disk, &info) && info.depth == 0);
    require(delete_point(&r, 10) == STATUS_OK);
    volume_disk_delete(r.pool, &parent, call_done, &r);
    require(finish(&r) == STATUS_OK);
    expect(has(&r, 10, 2) && has(&r, 20, 2) && has(&r, 30, 0) && has(&r, 199, 1) && has(&r, 200, 0));
    expect_eq(data_blocks(&r), 201); /* block 20 twice: its point has the copy; not 10, and 30 is kept so too */
    expect_eq(revert(&r, 20, 21), STATUS_OK);
    expect(has(&r, 10, 2) && has(&r, 20, 1) && has(&r, 30, 1));
    crash(&r, SIM_CRASH_POWER);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect(has(&r, 10, 2) && has(&r, 20, 1) && has(&r, 30, 1) && has(&r, 199, 1));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_promotion_can_be_paused_cancelled_and_begun_again(void)
{
    struct rig r;
    struct promoting p;
    rig_branch(&r, 21);
    begin_promote(&r, &p);
    volume_promotion_pause(&p.job, true);
    sim_run_for(r.sim, RT_SECOND);
    expect(!r.is_done);
    struct promoting second;
    second = (struct promoting){.job = {.disk = r.disk, .done = promoted}, .rig = &r};
    volume_promote(r.pool, &second.job);
    expect_eq(finish(&r), STATUS_IN_USE);
    volume_promotion_cancel(&p.job);
    expect_eq(finish(&r), STATUS_CANCELLED);
    expect_eq(split(&r), STATUS_CONFLICT);
    begin_promote(&r, &p);
    for (unsigned i = 0; i < 200; i += 3) /* beside it */
        require(put(&r, i, 1, 5) == STATUS_OK);
    require(r.is_done || sim_run_until(r.sim, is_done, &r, LIMIT_NS));
    require(finish(&r) == STATUS_OK && split(&r) == STATUS_OK);
    for (unsigned i = 0; i < 200; i++)
        expect(has(&r, i, i % 3 ? 1 : 5));
    expect_eq(data_blocks(&r), 400); /* both have their own, and nothing twice */
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_split_waits_for_nothing_but_reads_and_survives_a_power_cut(void)
{
    struct rig r;
    struct promoting p;
    rig_branch(&r, 22);
    begin_promote(&r, &p);
    require(finish(&r) == STATUS_OK && split(&r) == STATUS_OK);
    crash(&r, SIM_CRASH_POWER);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    struct volume_disk_info info;
    expect(volume_disk_find(r.pool, &r.disk, &info) && info.depth == 0);
    expect(has(&r, 0, 1) && has(&r, 199, 1));
    expect_eq(data_blocks(&r), 400);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

int main(void)
{
    run(a_full_pool_refuses_new_blocks_and_takes_overwrites);
    run(deleting_works_on_a_full_pool_and_gives_all_of_it_back);
    run(a_disk_that_was_deleted_leaves_nothing_behind);
    run(more_leaves_than_the_cache_holds_are_paged_and_stay_right);
    run(a_write_does_not_load_its_leaf);
    run(either_superblock_alone_opens_the_pool);
    run(no_superblock_is_an_error_that_says_so);
    run(rot_in_the_middle_of_the_log_opens_read_only);
    run(a_pool_is_opened_once_at_a_time);
    run(creating_over_something_is_refused_and_changes_nothing);
    run(a_write_that_failed_once_is_repeated);
    run(a_failed_flush_fails_the_pool_and_reads_go_on);
    run(what_nobody_flushes_is_durable_soon);
    run(a_cut_behind_its_deadline_cuts_nothing);
    run(writers_go_on_while_a_cut_waits_for_its_flush);
    run(branches_are_eight_deep_and_no_deeper);
    run(what_is_under_way_comes_before_a_revert_and_what_is_later_behind_it);
    run(a_revert_brings_the_size_back_and_refuses_what_no_longer_fits);
    run(an_abandoned_future_is_given_back_with_its_undo_point);
    run(reverts_without_end_are_fine_when_their_undo_points_go);
    run(a_revert_that_makes_no_sense_is_refused_and_changes_nothing);
    run(a_promoted_branch_is_a_disk_of_its_own);
    run(a_promotion_can_be_paused_cancelled_and_begun_again);
    run(a_split_waits_for_nothing_but_reads_and_survives_a_power_cut);
    return tap_done();
}
