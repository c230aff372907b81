/*
 * The deterministic twins of the bench's bars: the same loads (bench/load.h) in the simulator,
 * where device writes, bytes, flushes, leaf loads and look-up steps per host request are counts,
 * not times.  Each twin holds what its bar rests on; the numbers themselves are printed.
 */
#include <stdlib.h>

#include "base/check.h"
#include "bench/load.h"
#include "tests/lib/tap.h"
#include "tests/model/pool_rig.h"

enum { KIND_DISK = 1, KIND_POINT, DEPTH = 32, DISK_BLOCKS = 16384, WRITES = 40000 };
#define JITTER_NS (2 * RT_MS) /* of the order of the simulated device's latency */

static struct pool_rig rig;
static struct uuid disk_uuid;
static struct volume *volume;
static uint64_t seed;

/* What a load cost, per host request. */
struct cost {
    double writes, bytes, flushes, reads; /* of the device; bytes per byte written by the host */
    double leaf_loads, steps, batch_blocks;
    uint64_t checkpoints;
};

static bool load_is_over;

static void load_ended(struct load *load)
{
    load_is_over = true;
}

static bool is_over(void *arg)
{
    return load_is_over;
}

static struct cost run_load(struct load load)
{
    struct volume_pool_counters before, after;
    struct sim_counters device = sim_node_counters(rig.node), device_after;
    volume_pool_counters(rig.pool, &before);
    load.rt = rig.rt;
    load.ended = load_ended;
    load.seed = ++seed;
    load_is_over = false;
    load_start(&load);
    check(sim_run_until(rig.sim, is_over, NULL, 3600 * RT_SECOND));
    load_fini(&load);
    check(load.status == STATUS_OK);
    volume_pool_counters(rig.pool, &after);
    device_after = sim_node_counters(rig.node);
    double n = (double)load.done_count, batches = (double)(after.batches - before.batches);
    uint64_t host_bytes = after.host_write_bytes - before.host_write_bytes;
    return (struct cost){
        .writes = (double)(device_after.writes - device.writes) / n,
        .bytes = host_bytes
                     ? (double)(device_after.write_bytes - device.write_bytes) / (double)host_bytes
                     : 0,
        .flushes = (double)(device_after.syncs - device.syncs) / n,
        .reads = (double)(device_after.reads - device.reads) / n,
        .leaf_loads = (double)(after.leaf_loads - before.leaf_loads) / n,
        .steps = (double)(after.lookup_steps - before.lookup_steps) / n,
        .batch_blocks =
            batches > 0 ? (double)(after.batch_blocks - before.batch_blocks) / batches : 0,
        .checkpoints = after.checkpoints - before.checkpoints,
    };
}

static void tell(const char *what, struct cost c)
{
    printf("# %s: %.4f writes, %.4f bytes per byte, %.4f flushes, %.4f reads, %.4f leaf loads, "
           "%.4f steps; %.2f blocks per batch, %llu checkpoints\n",
           what, c.writes, c.bytes, c.flushes, c.reads, c.leaf_loads, c.steps, c.batch_blocks,
           (unsigned long long)c.checkpoints);
}

static struct load writes(uint64_t count)
{
    return (struct load){.volumes = &volume,
                         .volume_count = 1,
                         .depth = DEPTH,
                         .jitter_ns = JITTER_NS,
                         .range_blocks = DISK_BLOCKS,
                         .count = count};
}

static struct load reads(struct volume *const *from, uint64_t count)
{
    struct load load = writes(count);
    load.volumes = from;
    load.is_read = true;
    load.jitter_ns = 0;
    return load;
}

static void fill(void)
{
    struct load load = writes(0);
    load.is_sequential = true;
    load.io_blocks = 64;
    load.jitter_ns = 0;
    run_load(load);
}

static void begin(uint64_t pool_bytes, uint64_t wal_bytes)
{
    seed = 0;
    pool_rig_init(&rig, pool_bytes, wal_bytes, 0);
    disk_uuid = pool_rig_uuid(KIND_DISK, 0);
    pool_rig_disk(&rig, &disk_uuid, DISK_BLOCKS * BLOCK_BYTES);
    volume = pool_rig_open(&rig, &disk_uuid, NULL);
    fill();
    pool_rig_rest(&rig);
}

static void end(void)
{
    volume_close(volume);
    pool_rig_fini(&rig);
}

static void cut(unsigned number)
{
    struct uuid point = pool_rig_uuid(KIND_POINT, number);
    check(pool_rig_cut_status(&rig, &disk_uuid, &point) == STATUS_OK);
}

/* ---- P1, P2 ---------------------------------------------------------------------------------- */

static void p1_the_first_writes_after_a_snapshot_cost_nothing_more(void)
{
    begin(512 * MIB, 32 * MIB);
    struct cost without = run_load(writes(WRITES));
    pool_rig_rest(&rig);
    cut(0);
    struct cost after = run_load(writes(WRITES));
    tell("P1 without", without);
    tell("P1 after a snapshot", after);
    expect(after.bytes <= without.bytes * 1.02);
    expect(after.writes <= without.writes * 1.02);
    expect(after.flushes <= without.flushes * 1.05 + 0.001);
    expect(after.leaf_loads == 0 && after.reads == 0);
    end();
}

static struct volume_cut_member running_members[16];
static struct volume_cut running_cuts[16];
static struct volume_cut_result running_results[16];
static unsigned running_count, running_done;

static void running_cut_done(void *arg, struct err *e)
{
    check(!e);
    running_done++;
}

static void cut_beside(struct load *load)
{
    unsigned i = running_count;
    if (load->submitted == 0 || i == 16) return;
    running_members[i] = (struct volume_cut_member){
        .disk = disk_uuid, .point = pool_rig_uuid(KIND_POINT, i), .kind = VOLUME_POINT_SNAPSHOT};
    running_cuts[i] = (struct volume_cut){
        .set = running_members[i].point, .member_count = 1, .members = &running_members[i]};
    volume_cut(rig.pool, &running_cuts[i], &running_results[i], running_cut_done, NULL);
    running_count++;
}

static void p2_a_snapshot_every_5000_writes_costs_one_record_and_one_flush(void)
{
    begin(512 * MIB, 32 * MIB);
    struct cost without = run_load(writes(WRITES));
    pool_rig_rest(&rig);
    struct load load = writes(WRITES);
    running_count = running_done = 0;
    load.every = 5000;
    load.on_every = cut_beside;
    struct cost with = run_load(load);
    pool_rig_rest(&rig);
    tell("P2 without", without);
    tell("P2 with", with);
    expect_eq(running_count, WRITES / 5000 - 1);
    expect_eq(running_done, running_count);
    expect(with.bytes <= without.bytes * 1.02);
    expect((with.flushes - without.flushes) * WRITES <= 2.0 * running_count);
    expect((with.writes - without.writes) * WRITES <= 0.02 * WRITES);
    end();
}

/* ---- P4 -------------------------------------------------------------------------------------- */

enum { P4_POINTS = 1000, P4_WRITES = 40, READS = 20000 };

static void p4_reads_cost_the_same_with_1000_snapshots_and_at_the_oldest(void)
{
    begin(512 * MIB, 32 * MIB);
    struct cost none = run_load(reads(&volume, READS));
    for (unsigned i = 0; i < P4_POINTS; i++) {
        cut(i);
        run_load(writes(P4_WRITES));
    }
    struct volume_pool_usage usage = pool_rig_rest(&rig);
    struct uuid oldest_uuid = pool_rig_uuid(KIND_POINT, 0);
    struct volume *oldest = pool_rig_open(&rig, NULL, &oldest_uuid);
    struct cost live = run_load(reads(&volume, READS)), old = run_load(reads(&oldest, READS));
    tell("P4 none", none);
    tell("P4 live", live);
    tell("P4 oldest", old);
    expect(none.steps == 1 && none.reads == 1 && none.leaf_loads == 0);
    expect(live.steps == 1 && live.reads == 1 && live.leaf_loads == 0);
    expect(old.steps == 1 && old.reads == 1 && old.leaf_loads == 0);
    volume_close(oldest);
    volume_close(volume);
    pool_rig_reopen(&rig, usage.metadata_bytes / 16);
    volume = pool_rig_open(&rig, &disk_uuid, NULL);
    oldest = pool_rig_open(&rig, NULL, &oldest_uuid);
    run_load(reads(&volume, READS / 10)); /* what the opening loaded goes */
    live = run_load(reads(&volume, READS));
    old = run_load(reads(&oldest, READS));
    tell("P4 live, cache 1/16", live);
    tell("P4 oldest, cache 1/16", old);
    expect(live.leaf_loads > 0.3 && live.leaf_loads <= 1);
    expect(old.leaf_loads > 0.3 && old.leaf_loads <= 1);
    expect(old.leaf_loads <= live.leaf_loads * 1.1);
    expect(old.reads <= live.reads * 1.1);
    volume_close(oldest);
    end();
}

/* ---- P6, P13 --------------------------------------------------------------------------------- */

static void p6_p13_writes_are_gathered_and_written_little_more_than_once(void)
{
    begin(512 * MIB, 16 * MIB);
    struct cost deep = run_load(writes(200000));
    struct load one = writes(8000);
    one.depth = 1;
    one.jitter_ns = 0;
    struct cost single = run_load(one);
    tell("P6, P13 QD32", deep);
    tell("P6, P13 QD1", single);
    expect(deep.checkpoints >= 3 && single.checkpoints >= 3);
    expect(deep.batch_blocks >= 7);
    expect(deep.bytes <= 1.4);
    expect(deep.writes <= 0.35);
    expect(single.bytes <= 2.4);
    expect(single.writes <= 2.2);
    expect(deep.reads == 0 && deep.leaf_loads == 0);
    end();
}

static void p6_in_an_aged_pool_a_write_costs_no_more_bytes(void)
{
    struct volume_pool_usage usage;
    begin(90 * MIB, 8 * MIB);
    run_load(writes(3 * DISK_BLOCKS));
    volume_pool_usage(rig.pool, &usage);
    double full = (double)usage.used_bytes / (double)usage.capacity_bytes;
    struct cost aged = run_load(writes(WRITES));
    printf("# %.1f %% full\n", 100 * full);
    tell("P6 aged", aged);
    expect(full >= 0.78 && full < 0.95);
    expect(aged.bytes <= 1.4);
    expect(aged.writes <= 1.15); /* one each, at worst, and the log's */
    end();
}

/* ---- P7 -------------------------------------------------------------------------------------- */

static void p7_durable_writes_share_their_flushes(void)
{
    begin(512 * MIB, 32 * MIB);
    struct load load = writes(WRITES / 2);
    load.is_fua = true;
    struct cost fua = run_load(load);
    tell("P7 FUA QD32", fua);
    expect(fua.flushes <= 1.0 / 8);
    expect(fua.bytes <= 1.5);
    end();
}

/* ---- P8, P12 --------------------------------------------------------------------------------- */

static void p8_p12_a_thousand_generations_take_what_was_overwritten(void)
{
    begin(1 * GIB, 32 * MIB);
    struct volume_pool_usage before = pool_rig_rest(&rig);
    uint64_t unique = 0;
    for (unsigned i = 0; i < 1000; i++) {
        struct volume_disk_info was, is;
        cut(i);
        check(volume_disk_find(rig.pool, &disk_uuid, &was));
        run_load(writes(100));
        check(volume_disk_find(rig.pool, &disk_uuid, &is));
        unique += is.own_bytes - was.own_bytes;
    }
    struct volume_pool_usage after = pool_rig_rest(&rig);
    double growth = (double)(after.used_bytes - before.used_bytes) / (double)unique;
    printf("# P8 growth per unique byte: %.4f; P12 metadata per byte of data: %.5f in order, %.5f "
           "at random\n",
           growth, (double)before.metadata_bytes / (double)before.data_bytes,
           (double)after.metadata_bytes / (double)after.data_bytes);
    expect_eq(after.data_bytes - before.data_bytes, unique);
    expect(growth <= 1.05);
    expect((double)before.metadata_bytes <= 0.0015 * (double)before.data_bytes);
    expect((double)after.metadata_bytes <= 0.006 * (double)after.data_bytes + 64.0 * KIB);
    expect(pool_rig_is_exact(&rig));
    end();
}

/* ---- P5 -------------------------------------------------------------------------------------- */

enum { P5_DISKS = 64 };

/* What the device does for a cut of 64 disks of this size, each with something written at its end. */
static struct sim_counters cost_of_a_set(uint64_t disk_bytes)
{
    struct volume_cut_member members[P5_DISKS] = {0};
    struct volume_cut set = {
        .set = pool_rig_uuid(KIND_POINT, 1000), .member_count = P5_DISKS, .members = members};
    struct volume_cut_result result;
    begin(512 * MIB, 32 * MIB);
    for (unsigned i = 0; i < P5_DISKS; i++) {
        struct uuid disk = pool_rig_uuid(KIND_DISK, 1 + i);
        pool_rig_disk(&rig, &disk, disk_bytes);
        struct volume *v = pool_rig_open(&rig, &disk, NULL);
        pool_rig_write(&rig, v, disk_bytes / BLOCK_BYTES - 1, i);
        volume_close(v);
        members[i] = (struct volume_cut_member){.disk = disk,
                                                .point = pool_rig_uuid(KIND_POINT, i),
                                                .kind = VOLUME_POINT_SNAPSHOT};
    }
    pool_rig_rest(&rig);
    struct sim_counters before = sim_node_counters(rig.node);
    volume_cut(rig.pool, &set, &result, pool_rig_done, &rig);
    check(pool_rig_wait(&rig) == STATUS_OK);
    struct sim_counters after = sim_node_counters(rig.node);
    end();
    return (struct sim_counters){.reads = after.reads - before.reads,
                                 .writes = after.writes - before.writes,
                                 .write_bytes = after.write_bytes - before.write_bytes,
                                 .syncs = after.syncs - before.syncs};
}

static void p5_a_set_of_64_disks_is_one_write_and_one_flush_whatever_their_size(void)
{
    struct sim_counters small = cost_of_a_set(1 * MIB), large = cost_of_a_set(1024 * GIB);
    printf("# P5 64 disks of 1 MiB: %llu writes, %llu bytes, %llu flushes, %llu reads; of 1 TiB: "
           "%llu, %llu, %llu, %llu\n",
           (unsigned long long)small.writes, (unsigned long long)small.write_bytes,
           (unsigned long long)small.syncs, (unsigned long long)small.reads,
           (unsigned long long)large.writes, (unsigned long long)large.write_bytes,
           (unsigned long long)large.syncs, (unsigned long long)large.reads);
    expect_eq(small.writes, 1);
    expect_eq(small.syncs, 1);
    expect_eq(small.reads, 0);
    expect(small.write_bytes <= 2 * BLOCK_BYTES);
    expect(memcmp(&small, &large, sizeof small) == 0);
}

/* ---- P11 ------------------------------------------------------------------------------------- */

/* What many deletions in a row free goes into few records. */
static void a_hundred_deletions(void)
{
    struct volume_pool_counters begun, deleted, ended;
    volume_pool_counters(rig.pool, &begun);
    for (unsigned i = 300; i < 400; i++) {
        struct uuid point = pool_rig_uuid(KIND_POINT, i);
        pool_rig_delete_point(&rig, &point);
    }
    volume_pool_counters(rig.pool, &deleted);
    volume_pool_settle(rig.pool, pool_rig_done, &rig);
    check(pool_rig_wait(&rig) == STATUS_OK);
    volume_pool_counters(rig.pool, &ended);
    uint64_t freed = ended.reclaimed_blocks - begun.reclaimed_blocks;
    printf("# P11 100 deletions in a row: %llu bytes of log in %llu batches, %llu blocks freed\n",
           (unsigned long long)(ended.wal_bytes - begun.wal_bytes),
           (unsigned long long)(ended.batches - begun.batches), (unsigned long long)freed);
    expect(freed > 100);
    expect(ended.wal_bytes - begun.wal_bytes <= 100 * 4 * BLOCK_BYTES);
}

static void p11_a_deletion_is_one_record_and_its_sweep_writes_little(void)
{
    struct volume_pool_counters begun, ended;
    begin(512 * MIB, 32 * MIB);
    for (unsigned i = 0; i < P4_POINTS; i++) {
        cut(i);
        run_load(writes(P4_WRITES));
    }
    pool_rig_rest(&rig);
    struct sim_counters before = sim_node_counters(rig.node);
    struct uuid point = pool_rig_uuid(KIND_POINT, P4_POINTS / 2);
    pool_rig_delete_point(&rig, &point);
    struct sim_counters command = sim_node_counters(rig.node);
    volume_pool_counters(rig.pool, &begun);
    volume_pool_settle(rig.pool, pool_rig_done, &rig);
    check(pool_rig_wait(&rig) == STATUS_OK);
    struct sim_counters swept = sim_node_counters(rig.node);
    volume_pool_counters(rig.pool, &ended);
    printf("# P11 command: %llu writes, %llu bytes, %llu flushes; sweep: %llu writes, %llu bytes, "
           "%llu of the log in %llu batches, %llu blocks freed, %llu checkpoints\n",
           (unsigned long long)(command.writes - before.writes),
           (unsigned long long)(command.write_bytes - before.write_bytes),
           (unsigned long long)(command.syncs - before.syncs),
           (unsigned long long)(swept.writes - command.writes),
           (unsigned long long)(swept.write_bytes - command.write_bytes),
           (unsigned long long)(ended.wal_bytes - begun.wal_bytes),
           (unsigned long long)(ended.batches - begun.batches),
           (unsigned long long)(ended.reclaimed_blocks - begun.reclaimed_blocks),
           (unsigned long long)(ended.checkpoints - begun.checkpoints));
    expect_eq(command.writes - before.writes, 1);
    expect_eq(command.write_bytes - before.write_bytes, BLOCK_BYTES);
    expect_eq(command.syncs - before.syncs, 1);
    expect_eq(command.reads - before.reads, 0);
    expect(ended.wal_bytes - begun.wal_bytes <= 32 * KIB); /* the rest is settle's checkpoints */
    a_hundred_deletions();
    end();
}

/* ---- The twins themselves -------------------------------------------------------------------- */

static void equal_seeds_give_equal_counts(void)
{
    struct cost costs[2];
    for (unsigned i = 0; i < 2; i++) {
        begin(512 * MIB, 32 * MIB);
        costs[i] = run_load(writes(WRITES / 4));
        end();
    }
    expect(memcmp(&costs[0], &costs[1], sizeof costs[0]) == 0);
}

int main(void)
{
    run(equal_seeds_give_equal_counts);
    run(p1_the_first_writes_after_a_snapshot_cost_nothing_more);
    run(p2_a_snapshot_every_5000_writes_costs_one_record_and_one_flush);
    run(p4_reads_cost_the_same_with_1000_snapshots_and_at_the_oldest);
    run(p5_a_set_of_64_disks_is_one_write_and_one_flush_whatever_their_size);
    run(p6_p13_writes_are_gathered_and_written_little_more_than_once);
    run(p6_in_an_aged_pool_a_write_costs_no_more_bytes);
    run(p7_durable_writes_share_their_flushes);
    run(p8_p12_a_thousand_generations_take_what_was_overwritten);
    run(p11_a_deletion_is_one_record_and_its_sweep_writes_little);
    return tap_done();
}
