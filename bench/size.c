/* size.c - space, memory and what is written: P8, P12, P13. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "bench/rig.h"

enum { DEPTH = 32 };

static void write_blocks(struct bench *bench, struct volume *volume, uint64_t blocks,
                         uint64_t count)
{
    struct load load = {.volumes = &volume,
                        .volume_count = 1,
                        .depth = DEPTH,
                        .range_blocks = blocks,
                        .count = count};
    bench_run(bench, &load);
}

/* At rest: settled, and a checkpoint behind it, twice, so that nothing of an older one is held. */
static struct volume_pool_usage at_rest(struct bench *bench, struct volume_pool *pool)
{
    struct volume_pool_usage usage;
    bench_settle(bench, pool);
    bench_checkpoint(bench, pool);
    bench_checkpoint(bench, pool);
    bench_settle(bench, pool);
    volume_pool_usage(pool, &usage);
    return usage;
}

/* ---- P8 -------------------------------------------------------------------------------------- */

void size_p8(struct bench *bench)
{
    unsigned generations = 1000, writes = 200;
    uint64_t blocks = 64 * MIB / BLOCK_BYTES;
    char note[96];
    struct volume_pool *pool = bench_pool_create(bench, "p8.pool", 2 * GIB, 64 * MIB, 0, true);
    struct uuid disk = bench_disk_create(bench, pool, blocks * BLOCK_BYTES);
    struct volume *volume = bench_open(pool, &disk, NULL);
    bench_fill(bench, volume, NULL, blocks);
    struct volume_pool_usage before = at_rest(bench, pool);
    uint64_t unique_bytes = 0;
    for (unsigned i = 0; i < generations; i++) {
        struct volume_disk_info was, is;
        bench_cut(bench, pool, &disk);
        check(volume_disk_find(pool, &disk, &was));
        write_blocks(bench, volume, blocks, writes);
        check(volume_disk_find(pool, &disk, &is));
        /* A block written twice in a generation counts once: so it does in the disk's own versions.
         */
        unique_bytes += is.own_bytes - was.own_bytes;
    }
    struct volume_pool_usage after = at_rest(bench, pool);
    uint64_t growth = after.used_bytes - before.used_bytes;
    snprintf(note, sizeof note, "%.1f MiB for %.1f MiB; metadata %.1f MiB",
             (double)growth / (double)MIB, (double)unique_bytes / (double)MIB,
             (double)(after.metadata_bytes - before.metadata_bytes) / (double)MIB);
    check(after.data_bytes - before.data_bytes == unique_bytes);
    report_value(&bench->report, "P8", "space growth / unique bytes overwritten, 1,000 generations",
                 "ratio", (double)growth / (double)unique_bytes, AT_MOST, 1.05, note);
    volume_close(volume);
    bench_pool_close(bench, pool, "p8.pool", false);
}

/* ---- P12 ------------------------------------------------------------------------------------- */

static double memory_peak_mib(void)
{
    char line[128];
    unsigned long kib = 0;
    FILE *status = fopen("/proc/self/status", "re");
    check(status != NULL);
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %lu kB", &kib) == 1) break;
    fclose(status);
    return (double)kib / 1024;
}

/* In a process of its own, before anything else was done in it. */
void size_p12(struct bench *bench)
{
    enum { CACHE_MIB = 16 };
    uint64_t pool_bytes = bench->is_quick ? GIB / 2 : 3 * GIB / 2;
    uint64_t blocks = (bench->is_quick ? GIB / 4 : GIB) / BLOCK_BYTES;
    double bound = CACHE_MIB + 48.0 * (double)pool_bytes / (double)TIB + 128;
    char note[96];
    struct volume_pool *pool =
        bench_pool_create(bench, "p12.pool", pool_bytes, 64 * MIB, CACHE_MIB * MIB, false);
    struct uuid disk = bench_disk_create(bench, pool, blocks * BLOCK_BYTES);
    struct volume_pool_usage empty = at_rest(bench, pool);
    struct volume *volume = bench_open(pool, &disk, NULL);
    bench_fill(bench, volume, NULL, blocks);
    struct volume_pool_usage sequential = at_rest(bench, pool);
    write_blocks(bench, volume, blocks, 3 * blocks);
    struct volume_pool_usage random = at_rest(bench, pool);
    struct load reads = {.volumes = &volume,
                         .volume_count = 1,
                         .is_read = true,
                         .depth = DEPTH,
                         .range_blocks = blocks,
                         .duration_ns = bench->run_ns};
    bench_run(bench, &reads);
    snprintf(note, sizeof note, "cache setting %d MiB", CACHE_MIB);
    report_value(&bench->report, "P12", "memory, at most, of this process", "MiB",
                 memory_peak_mib(), AT_MOST, bound, note);
    snprintf(note, sizeof note, "%.2f MiB, %.2f of them in an empty pool",
             (double)sequential.metadata_bytes / (double)MIB,
             (double)empty.metadata_bytes / (double)MIB);
    report_value(&bench->report, "P12", "metadata on disk / data, written in order", "%",
                 100.0 * (double)sequential.metadata_bytes / (double)sequential.data_bytes, AT_MOST,
                 0.15, note);
    snprintf(note, sizeof note, "%.2f MiB", (double)random.metadata_bytes / (double)MIB);
    report_value(&bench->report, "P12", "metadata on disk / data, overwritten at random", "%",
                 100.0 * (double)random.metadata_bytes / (double)random.data_bytes, AT_MOST, 0.6,
                 note);
    volume_close(volume);
    bench_pool_close(bench, pool, "p12.pool", false);
}

/* ---- P13 ------------------------------------------------------------------------------------- */

/* Ends after three checkpoints of the log's own making, or at the time limit. */
static void p13_case(struct bench *bench, struct volume_pool *pool, struct volume *volume,
                     uint64_t blocks, unsigned depth, uint64_t jitter_ns, const char *what,
                     double bar)
{
    struct volume_pool_counters before, now;
    char note[128];
    uint64_t bytes = bench_bytes_written(), deadline_ns = rt_now(bench->rt) + 60 * RT_SECOND;
    volume_pool_counters(pool, &before);
    do {
        struct load load = {.volumes = &volume,
                            .volume_count = 1,
                            .depth = depth,
                            .jitter_ns = jitter_ns,
                            .range_blocks = blocks,
                            .duration_ns = bench->run_ns};
        bench_run(bench, &load);
        volume_pool_counters(pool, &now);
    } while (now.checkpoints - before.checkpoints < (bench->is_quick ? 1 : 3) &&
             rt_now(bench->rt) < deadline_ns);
    bench_settle(bench, pool);
    volume_pool_counters(pool, &now);
    bytes = bench_bytes_written() - bytes;
    double host = (double)(now.host_write_bytes - before.host_write_bytes);
    snprintf(
        note, sizeof note, "%.1f blocks per batch, log %.2f, %llu checkpoints, %llu leaf writes",
        (double)(now.batch_blocks - before.batch_blocks) / (double)(now.batches - before.batches),
        (double)(now.wal_bytes - before.wal_bytes) / host,
        (unsigned long long)(now.checkpoints - before.checkpoints),
        (unsigned long long)(now.leaf_writes - before.leaf_writes));
    report_value(&bench->report, "P13", what, "ratio", (double)bytes / host, AT_MOST, bar, note);
}

void size_p13(struct bench *bench)
{
    uint64_t blocks = (bench->is_quick ? GIB / 4 : GIB) / BLOCK_BYTES;
    struct volume_pool *pool = bench_pool_create(bench, "p13.pool", bench->is_quick ? GIB : 2 * GIB,
                                                 (bench->is_quick ? 32 : 256) * MIB, 0, false);
    struct uuid disk = bench_disk_create(bench, pool, blocks * BLOCK_BYTES);
    struct volume *volume = bench_open(pool, &disk, NULL);
    bench_fill(bench, volume, NULL, blocks);
    bench_settle(bench, pool);
    p13_case(bench, pool, volume, blocks, DEPTH, 50000,
             "device bytes / host bytes, 4K random write QD32", 1.4);
    p13_case(bench, pool, volume, blocks, 1, 0, "device bytes / host bytes, 4K random write QD1",
             2.4);
    volume_close(volume);
    bench_pool_close(bench, pool, "p13.pool", false);
}
