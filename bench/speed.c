/* speed.c - pairs of loads that differ in one thing: P1, P2, P4, P6, P7. */
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "bench/rig.h"

enum { DEPTH = 32, RUN_MAX = 100000, JITTER_NS = 50000 };

static struct load on_volume(struct volume *const *volume, uint64_t blocks)
{
    return (struct load){
        .volumes = volume, .volume_count = 1, .depth = DEPTH, .range_blocks = blocks};
}

static struct load on_raw(struct rt_file *file, uint64_t blocks)
{
    return (struct load){.file = file, .depth = DEPTH, .range_blocks = blocks};
}

/* ---- P1, P2 ---------------------------------------------------------------------------------- */

static double after_snapshot(struct bench *bench, struct base *base)
{
    struct load load = on_volume(&base->volume, base->blocks);
    load.count = RUN_MAX;
    struct uuid point = bench_cut(bench, base->pool, &base->disk);
    double iops = bench_speed(bench, load);
    bench_point_delete(bench, base->pool, &point);
    bench_settle(bench, base->pool);
    return iops;
}

static double without_snapshot(struct bench *bench, struct base *base)
{
    struct load load = on_volume(&base->volume, base->blocks);
    load.count = RUN_MAX;
    double iops = bench_speed(bench, load);
    bench_settle(bench, base->pool);
    return iops;
}

typedef double side_fn(struct bench *bench, struct base *base);

static void pairs(struct bench *bench, side_fn *a, side_fn *b, struct samples *ret_a,
                  struct samples *ret_b)
{
    struct base *base = bench_base(bench);
    *ret_a = *ret_b = (struct samples){0};
    for (unsigned i = 0; i < bench->pairs; i++) {
        if (i % 2 == 0) samples_add(ret_a, a(bench, base));
        samples_add(ret_b, b(bench, base));
        if (i % 2 == 1) samples_add(ret_a, a(bench, base));
    }
}

void speed_p1(struct bench *bench)
{
    struct samples a, b;
    pairs(bench, after_snapshot, without_snapshot, &a, &b);
    report_ratio(&bench->report, "P1", "4K random write QD32, just after a snapshot / without", &a,
                 &b, AT_LEAST, 0.90, NULL);
}

enum { CUT_EVERY = 5000, CUTS_MAX = RUN_MAX / CUT_EVERY + 1 };

static struct cuts {
    struct base *base;
    unsigned count, pending;
    struct volume_cut_member members[CUTS_MAX];
    struct volume_cut cuts[CUTS_MAX];
    struct volume_cut_result results[CUTS_MAX];
} running;

static void running_cut_done(void *arg, struct err *e)
{
    if (e) bench_die(e, "cut");
    running.pending--;
}

/* The load does not wait for it. */
static void cut_now(struct load *load)
{
    if (running.count == CUTS_MAX || load->submitted == 0) return;
    unsigned i = running.count++;
    running.members[i] = (struct volume_cut_member){
        .disk = running.base->disk, .point = rt_uuid(load->rt), .kind = VOLUME_POINT_SNAPSHOT};
    running.cuts[i] = (struct volume_cut){
        .set = rt_uuid(load->rt), .member_count = 1, .members = &running.members[i]};
    running.pending++;
    volume_cut(running.base->pool, &running.cuts[i], &running.results[i], running_cut_done, NULL);
}

static double with_cuts(struct bench *bench, struct base *base)
{
    struct load load = on_volume(&base->volume, base->blocks);
    running = (struct cuts){.base = base};
    load.count = RUN_MAX;
    load.every = CUT_EVERY;
    load.on_every = cut_now;
    double iops = bench_speed(bench, load);
    bench_settle(bench, base->pool);
    check(running.pending == 0);
    for (unsigned i = 0; i < running.count; i++)
        bench_point_delete(bench, base->pool, &running.members[i].point);
    bench_settle(bench, base->pool);
    return iops;
}

void speed_p2(struct bench *bench)
{
    struct samples a, b;
    pairs(bench, with_cuts, without_snapshot, &a, &b);
    report_ratio(&bench->report, "P2", "4K random write QD32, a snapshot every 5,000 writes / none",
                 &a, &b, AT_LEAST, 0.80, NULL);
}

/* ---- P4 -------------------------------------------------------------------------------------- */

enum { P4_POINTS = 1000, P4_WRITES = 100 };
#define P4_DISK_BYTES (256 * MIB)

struct p4 {
    struct volume_pool *pool;
    struct uuid with, without, oldest_point;
    struct volume *live, *plain, *oldest;
};

static void p4_build(struct bench *bench, struct p4 *p4)
{
    uint64_t blocks = P4_DISK_BYTES / BLOCK_BYTES;
    unsigned points = bench->is_quick ? P4_POINTS / 10 : P4_POINTS;
    p4->pool = bench_pool_create(bench, "p4.pool", 3 * GIB / 2, 64 * MIB, 0, false);
    p4->with = bench_disk_create(bench, p4->pool, P4_DISK_BYTES);
    p4->without = bench_disk_create(bench, p4->pool, P4_DISK_BYTES);
    p4->live = bench_open(p4->pool, &p4->with, NULL);
    p4->plain = bench_open(p4->pool, &p4->without, NULL);
    bench_fill(bench, p4->live, NULL, blocks);
    bench_fill(bench, p4->plain, NULL, blocks);
    for (unsigned i = 0; i < points; i++) {
        struct uuid point = bench_cut(bench, p4->pool, &p4->with);
        if (i == 0) p4->oldest_point = point;
        struct load load = on_volume(&p4->live, blocks);
        load.count = P4_WRITES;
        bench_speed(bench, load);
        load.volumes = &p4->plain;
        bench_speed(bench, load);
    }
    bench_settle(bench, p4->pool);
    bench_checkpoint(bench, p4->pool);
    p4->oldest = bench_open(p4->pool, NULL, &p4->oldest_point);
}

static void p4_close_volumes(struct p4 *p4)
{
    volume_close(p4->live);
    volume_close(p4->plain);
    volume_close(p4->oldest);
}

static double p4_read(struct bench *bench, struct volume *volume)
{
    struct load load = on_volume(&volume, P4_DISK_BYTES / BLOCK_BYTES);
    load.is_read = true;
    return bench_speed(bench, load);
}

static void p4_pairs(struct bench *bench, struct volume *a, struct volume *b, struct samples *ret_a,
                     struct samples *ret_b)
{
    *ret_a = *ret_b = (struct samples){0};
    p4_read(bench, a); /* warm */
    p4_read(bench, b);
    for (unsigned i = 0; i < bench->pairs; i++) {
        if (i % 2 == 0) samples_add(ret_a, p4_read(bench, a));
        samples_add(ret_b, p4_read(bench, b));
        if (i % 2 == 1) samples_add(ret_a, p4_read(bench, a));
    }
}

void speed_p4(struct bench *bench)
{
    struct p4 p4;
    struct samples a, b;
    struct volume_pool_usage usage;
    p4_build(bench, &p4);
    p4_pairs(bench, p4.live, p4.plain, &a, &b);
    report_ratio(&bench->report, "P4", "4K random read QD32, live: with 1,000 snapshots / none", &a,
                 &b, AT_LEAST, 0.95, NULL);
    p4_pairs(bench, p4.oldest, p4.live, &a, &b);
    report_ratio(&bench->report, "P4", "4K random read QD32, warm: oldest of 1,000 / live", &a, &b,
                 AT_LEAST, 0.90, NULL);
    struct estimate warm = samples_estimate(&b);
    volume_pool_usage(p4.pool, &usage);
    p4_close_volumes(&p4);
    bench_pool_close(bench, p4.pool, "p4.pool", true);
    p4.pool = bench_pool_open(bench, "p4.pool", usage.metadata_bytes / 16);
    p4.live = bench_open(p4.pool, &p4.with, NULL);
    p4.plain = bench_open(p4.pool, &p4.without, NULL);
    p4.oldest = bench_open(p4.pool, NULL, &p4.oldest_point);
    p4_pairs(bench, p4.oldest, p4.live, &a, &b);
    report_ratio(&bench->report, "P4", "the same with a cache of 1/16 of the metadata", &a, &b,
                 AT_LEAST, 0.45, NULL);
    report_value(&bench->report, "P4", "oldest with cache 1/16 / live warm (not interleaved)",
                 "ratio", samples_estimate(&a).median / warm.median, NO_BAR, 0, NULL);
    p4_close_volumes(&p4);
    bench_pool_close(bench, p4.pool, "p4.pool", false);
}

/* ---- P6 -------------------------------------------------------------------------------------- */

struct p6_case {
    const char *what;
    unsigned depth;
    uint64_t jitter_ns;
    double bar; /* 0: told, not judged */
};

static void p6_pairs(struct bench *bench, const struct p6_case *c, struct volume_pool *pool,
                     struct volume *volume, uint64_t blocks)
{
    struct base *base = bench_base(bench);
    struct samples a = {0}, b = {0};
    struct volume_pool_counters before, after;
    char note[128];
    volume_pool_counters(pool, &before);
    for (unsigned i = 0; i < bench->pairs * 2; i++) {
        bool is_ours = i % 4 == 0 || i % 4 == 3;
        struct load load = is_ours ? on_volume(&volume, blocks) : on_raw(base->raw, base->blocks);
        load.depth = c->depth;
        load.jitter_ns = c->jitter_ns;
        samples_add(is_ours ? &a : &b, bench_speed(bench, load));
    }
    volume_pool_counters(pool, &after);
    snprintf(note, sizeof note, "%.1f blocks per batch, %llu checkpoints, %llu leaf writes",
             (double)(after.batch_blocks - before.batch_blocks) /
                 (double)(after.batches - before.batches),
             (unsigned long long)(after.checkpoints - before.checkpoints),
             (unsigned long long)(after.leaf_writes - before.leaf_writes));
    report_ratio(&bench->report, "P6", c->what, &a, &b, c->bar > 0 ? AT_LEAST : NO_BAR, c->bar,
                 note);
}

/* A pool at 83 %, overwritten until nothing lies in order any more. */
void speed_p6_aged(struct bench *bench)
{
    uint64_t pool_bytes = bench->is_quick ? GIB / 2 : GIB, wal = 32 * MIB;
    uint64_t blocks = (pool_bytes - wal) / BLOCK_BYTES / 100 * 82;
    static const struct p6_case qd32 = {"4K random write QD32, aged at 83 % full / raw in place",
                                        DEPTH, JITTER_NS, 0.85};
    struct volume_pool_usage usage;
    blocks -= blocks % 256;
    struct volume_pool *pool = bench_pool_create(bench, "aged.pool", pool_bytes, wal, 0, false);
    struct uuid disk = bench_disk_create(bench, pool, blocks * BLOCK_BYTES);
    struct volume *volume = bench_open(pool, &disk, NULL);
    bench_fill(bench, volume, NULL, blocks);
    struct load age = on_volume(&volume, blocks);
    age.count = 2 * blocks;
    bench_run(bench, &age);
    volume_pool_usage(pool, &usage);
    report_value(&bench->report, "P6", "  (aged pool: used)", "%",
                 100.0 * (double)usage.used_bytes / (double)usage.capacity_bytes, NO_BAR, 0, NULL);
    p6_pairs(bench, &qd32, pool, volume, blocks);
    volume_close(volume);
    bench_pool_close(bench, pool, "aged.pool", false);
}

void speed_p6(struct bench *bench)
{
    static const struct p6_case fresh[] = {
        {"4K random write QD32, fresh / raw in place", DEPTH, JITTER_NS, 1.2},
        {"  the same without jitter", DEPTH, 0, 0},
        {"4K random write QD1 / raw in place", 1, 0, 0.85},
    };
    struct base *base = bench_base(bench);
    for (unsigned i = 0; i < sizeof fresh / sizeof fresh[0]; i++)
        p6_pairs(bench, &fresh[i], base->pool, base->volume, base->blocks);
}

/* ---- P7 -------------------------------------------------------------------------------------- */

static struct hist fua_latency;

static double fua(struct bench *bench, struct base *base)
{
    struct load load = on_volume(&base->volume, base->blocks);
    load.is_fua = true;
    load.jitter_ns = JITTER_NS;
    load.duration_ns = bench->run_ns;
    bench_run(bench, &load);
    fua_latency = load.latency;
    return load_iops(&load);
}

static double raw_synced(struct bench *bench, struct base *base)
{
    struct load load = on_raw(base->raw, base->blocks);
    load.sync_all = true;
    load.jitter_ns = JITTER_NS;
    return bench_speed(bench, load);
}

static double raw_dsync(struct bench *bench, struct base *base)
{
    char path[512];
    return peers_dsync_iops(bench, bench_path(bench, "raw", path, sizeof path), DEPTH,
                            base->blocks);
}

void speed_p7(struct bench *bench)
{
    struct samples a, b;
    char note[96];
    pairs(bench, fua, raw_synced, &a, &b);
    snprintf(note, sizeof note, "FUA latency p50 %.2f ms, p99 %.2f ms",
             (double)hist_quantile(&fua_latency, 500) / 1e6,
             (double)hist_quantile(&fua_latency, 990) / 1e6);
    report_ratio(&bench->report, "P7", "FUA 4K random write QD32 / raw with fdatasync per 32", &a,
                 &b, AT_LEAST, 0.80, note);
    pairs(bench, fua, raw_dsync, &a, &b);
    if (samples_estimate(&b).median > 0)
        report_ratio(&bench->report, "P7", "FUA 4K random write QD32 / raw O_DSYNC", &a, &b,
                     AT_LEAST, 1.0, NULL);
}
