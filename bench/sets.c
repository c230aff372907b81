/* sets.c - cuts and deletions while a load runs: P5, P11. */
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/status.h"
#include "bench/rig.h"

enum { DEPTH = 32, MEMBERS = 64, CUTS_PER_RUN = 40, RUN_MAX = 60000, WORKING_BLOCKS = 2048 };
#define CUT_PERIOD_NS (20 * RT_MS)

/* ---- P5: one set of 64 disks ----------------------------------------------------------------- */

struct set_pool {
    struct volume_pool *pool;
    struct uuid disks[MEMBERS];
    struct volume *volumes[MEMBERS];
};

static void set_pool_create(struct bench *bench, struct set_pool *sp, const char *name,
                            uint64_t disk_bytes)
{
    sp->pool = bench_pool_create(bench, name, 2 * GIB, 128 * MIB, 0, false);
    for (unsigned i = 0; i < MEMBERS; i++) {
        sp->disks[i] = bench_disk_create(bench, sp->pool, disk_bytes);
        sp->volumes[i] = bench_open(sp->pool, &sp->disks[i], NULL);
        bench_fill(bench, sp->volumes[i], NULL, WORKING_BLOCKS);
    }
}

static void set_pool_destroy(struct bench *bench, struct set_pool *sp, const char *name)
{
    for (unsigned i = 0; i < MEMBERS; i++)
        volume_close(sp->volumes[i]);
    bench_pool_close(bench, sp->pool, name, false);
}

/* What happens beside the load, 20 ms after it happened last: a cut of all disks, or a neighbour
 * file's write and fdatasync. */
struct beside {
    struct bench *bench;
    struct set_pool *sp;
    enum beside_what { NOTHING, CUTS, NEIGHBOUR } what;
    struct rt_timer timer;
    struct load load;
    bool is_busy, load_is_over;
    unsigned count;
    uint64_t begin_ns;
    struct samples *took_ms;
    struct volume_cut cut;
    struct volume_cut_result result;
    struct volume_cut_member members[CUTS_PER_RUN][MEMBERS];
    struct rt_file *neighbour;
    struct rt_file_io io;
    struct iovec iov;
};

static void beside_tick(struct rt_timer *timer);

static void beside_ended(struct beside *b)
{
    samples_add(b->took_ms, (double)(rt_now(b->bench->rt) - b->begin_ns) / 1e6);
    b->is_busy = false;
    b->count++;
    if (b->load_is_over) {
        bench_call_done(b->bench, NULL);
        return;
    }
    rt_timer_set(b->bench->rt, &b->timer, rt_now(b->bench->rt) + CUT_PERIOD_NS, beside_tick);
}

static void beside_cut_done(void *arg, struct err *e)
{
    if (e) bench_die(e, "cut of a set");
    beside_ended(arg);
}

static void neighbour_synced(struct rt_file_io *io)
{
    if (io->status != STATUS_OK) bench_die(NULL, "sync of a neighbour file");
    beside_ended(container_of(io, struct beside, io));
}

static void neighbour_written(struct rt_file_io *io)
{
    struct beside *b = container_of(io, struct beside, io);
    b->begin_ns = rt_now(b->bench->rt);
    b->io = (struct rt_file_io){
        .op = RT_FILE_SYNC, .site = RT_FLUSH_HOST, .file = b->neighbour, .done = neighbour_synced};
    rt_file_submit(b->bench->rt, &b->io);
}

static void beside_tick(struct rt_timer *timer)
{
    struct beside *b = container_of(timer, struct beside, timer);
    if (b->load_is_over || b->count == CUTS_PER_RUN || b->what == NOTHING) return;
    b->is_busy = true;
    b->begin_ns = rt_now(b->bench->rt);
    if (b->what == NEIGHBOUR) {
        b->io = (struct rt_file_io){.op = RT_FILE_WRITE,
                                    .file = b->neighbour,
                                    .iov = &b->iov,
                                    .iov_count = 1,
                                    .done = neighbour_written};
        rt_file_submit(b->bench->rt, &b->io);
        return;
    }
    for (unsigned i = 0; i < MEMBERS; i++)
        b->members[b->count][i] = (struct volume_cut_member){
            .disk = b->sp->disks[i], .point = rt_uuid(b->bench->rt), .kind = VOLUME_POINT_SNAPSHOT};
    b->cut = (struct volume_cut){
        .set = rt_uuid(b->bench->rt), .member_count = MEMBERS, .members = b->members[b->count]};
    volume_cut(b->sp->pool, &b->cut, &b->result, beside_cut_done, b);
}

static void beside_load_ended(struct load *load)
{
    struct beside *b = load->arg;
    b->load_is_over = true;
    rt_timer_cancel(b->bench->rt, &b->timer);
    if (!b->is_busy) bench_call_done(b->bench, NULL);
}

/* One run of the load over sp's disks; returns the p99 of its writes in milliseconds. */
static double beside_run(struct bench *bench, struct set_pool *sp, enum beside_what what,
                         struct rt_file *neighbour, struct samples *took_ms)
{
    struct beside *b = calloc(1, sizeof *b);
    check(b != NULL);
    b->bench = bench;
    b->sp = sp;
    b->what = what;
    b->neighbour = neighbour;
    b->took_ms = took_ms;
    b->iov =
        (struct iovec){.iov_base = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES), .iov_len = BLOCK_BYTES};
    check(b->iov.iov_base != NULL);
    b->load = (struct load){.rt = bench->rt,
                            .volumes = sp->volumes,
                            .volume_count = MEMBERS,
                            .depth = DEPTH,
                            .range_blocks = WORKING_BLOCKS,
                            .duration_ns = bench->run_ns,
                            .count = RUN_MAX,
                            .seed = ++bench->seed,
                            .ended = beside_load_ended,
                            .arg = b};
    load_start(&b->load);
    rt_timer_set(bench->rt, &b->timer, rt_now(bench->rt) + CUT_PERIOD_NS, beside_tick);
    bench_wait(bench, "load with cuts");
    load_fini(&b->load);
    if (b->load.status != STATUS_OK) bench_die(NULL, status_text(b->load.status));
    double p99 = (double)hist_quantile(&b->load.latency, 990) / 1e6;
    for (unsigned i = 0; what == CUTS && i < b->count; i++)
        for (unsigned j = 0; j < MEMBERS; j++)
            bench_point_delete(bench, sp->pool, &b->members[i][j].point);
    bench_settle(bench, sp->pool);
    free(b->iov.iov_base);
    free(b);
    return p99;
}

void sets_p5(struct bench *bench)
{
    static struct set_pool tib, gib;
    static struct samples cuts_tib, cuts_gib, syncs, with, without, added;
    char path[512], note[96];
    struct samples medians_tib = {0}, medians_gib = {0};
    struct rt_file *neighbour =
        bench_raw_create(bench, bench_path(bench, "neighbour", path, sizeof path), 64);
    set_pool_create(bench, &tib, "set-tib.pool", 16 * GIB);
    set_pool_create(bench, &gib, "set-gib.pool", 16 * MIB);
    for (unsigned i = 0; i < bench->pairs; i++) {
        struct samples one = {0};
        samples_add(&with, beside_run(bench, &tib, CUTS, NULL, &one));
        samples_add(&without, beside_run(bench, &tib, NOTHING, NULL, NULL));
        beside_run(bench, &tib, NEIGHBOUR, neighbour, &syncs);
        samples_add(&added, with.values[i] - without.values[i]);
        for (unsigned j = 0; j < one.count; j++)
            samples_add(&cuts_tib, one.values[j]);
        samples_add(&medians_tib, samples_estimate(&one).median);
        one.count = 0;
        beside_run(bench, &gib, CUTS, NULL, &one);
        samples_add(&medians_gib, samples_estimate(&one).median);
        for (unsigned j = 0; j < one.count; j++)
            samples_add(&cuts_gib, one.values[j]);
    }
    double p99 = samples_quantile(&cuts_tib, 990), sync_p99 = samples_quantile(&syncs, 990);
    snprintf(note, sizeof note,
             "%u cuts, median %.2f ms; a neighbour's fdatasync: p99 %.2f ms of %u", cuts_tib.count,
             samples_estimate(&cuts_tib).median, sync_p99, syncs.count);
    report_value(&bench->report, "P5", "snapshot of a set of 64 disks under QD32 load, p99", "ms",
                 p99, AT_MOST, 3 * sync_p99 > 10 ? 3 * sync_p99 : 10, note);
    snprintf(note, sizeof note, "p99 %.2f with cuts each 20 ms, %.2f without",
             samples_estimate(&with).median, samples_estimate(&without).median);
    report_finding(&bench->report, &(struct finding){.bar = "P5",
                                                     .what = "p99 write latency that cuts add",
                                                     .unit = "ms",
                                                     .estimate = samples_estimate(&added),
                                                     .sense = AT_MOST,
                                                     .wanted = 1,
                                                     .a = &with,
                                                     .b = &without,
                                                     .note = note});
    report_ratio(&bench->report, "P5", "time of a set: 64 x 16 GiB / 64 x 16 MiB provisioned",
                 &medians_tib, &medians_gib, AT_MOST, 1.5, "ms");
    set_pool_destroy(bench, &tib, "set-tib.pool");
    set_pool_destroy(bench, &gib, "set-gib.pool");
    rt_file_close(neighbour);
    unlink(bench_path(bench, "neighbour", path, sizeof path));
}

/* ---- P11: deletions beside a load ------------------------------------------------------------ */

enum { P11_POINTS = 1000, P11_WRITES = 100 };

struct deleter {
    struct bench *bench;
    struct volume_pool *pool;
    struct rt_timer timer;
    struct load load;
    struct uuid *points; /* of P11_POINTS; nil: deleted */
    unsigned at;
    bool is_busy, load_is_over;
    uint64_t begin_ns;
    struct samples *took_ms;
};

static void delete_tick(struct rt_timer *timer);

static void delete_done(void *arg, struct err *e)
{
    struct deleter *d = arg;
    if (e) bench_die(e, "delete a point");
    samples_add(d->took_ms, (double)(rt_now(d->bench->rt) - d->begin_ns) / 1e6);
    d->is_busy = false;
    if (d->load_is_over)
        bench_call_done(d->bench, NULL);
    else
        rt_timer_set(d->bench->rt, &d->timer, rt_now(d->bench->rt) + d->bench->run_ns / 4,
                     delete_tick);
}

static void delete_tick(struct rt_timer *timer)
{
    struct deleter *d = container_of(timer, struct deleter, timer);
    d->is_busy = true;
    d->begin_ns = rt_now(d->bench->rt);
    d->at = (d->at + 367) % P11_POINTS; /* spread over the life of the disk; prime to its size */
    volume_point_delete(d->pool, &d->points[d->at], delete_done, d);
}

static void delete_load_ended(struct load *load)
{
    struct deleter *d = load->arg;
    d->load_is_over = true;
    rt_timer_cancel(d->bench->rt, &d->timer);
    if (!d->is_busy) bench_call_done(d->bench, NULL);
}

static double p11_run(struct deleter *d, struct volume *volume, uint64_t blocks, bool deletes)
{
    struct bench *bench = d->bench;
    d->load_is_over = false;
    d->load = (struct load){.rt = bench->rt,
                            .volumes = &volume,
                            .volume_count = 1,
                            .depth = DEPTH,
                            .range_blocks = blocks,
                            .duration_ns = bench->run_ns,
                            .seed = ++bench->seed,
                            .ended = delete_load_ended,
                            .arg = d};
    load_start(&d->load);
    if (deletes) rt_timer_set(bench->rt, &d->timer, rt_now(bench->rt) + RT_MS, delete_tick);
    bench_wait(bench, "load with deletions");
    load_fini(&d->load);
    if (d->load.status != STATUS_OK) bench_die(NULL, status_text(d->load.status));
    bench_settle(bench, d->pool);
    return load_iops(&d->load);
}

void sets_p11(struct bench *bench)
{
    static struct uuid points[P11_POINTS];
    static struct samples took_ms;
    struct samples a = {0}, b = {0};
    char note[96];
    uint64_t bytes = 256 * MIB, blocks = bytes / BLOCK_BYTES;
    struct volume_pool *pool = bench_pool_create(bench, "p11.pool", 2 * GIB, 64 * MIB, 0, false);
    struct uuid disk = bench_disk_create(bench, pool, bytes);
    struct volume *volume = bench_open(pool, &disk, NULL);
    struct deleter d = {.bench = bench, .pool = pool, .points = points, .took_ms = &took_ms};
    bench_fill(bench, volume, NULL, blocks);
    for (unsigned i = 0; i < P11_POINTS; i++) {
        struct load load = {.volumes = &volume,
                            .volume_count = 1,
                            .depth = DEPTH,
                            .range_blocks = blocks,
                            .count = P11_WRITES};
        bench_run(bench, &load);
        points[i] = bench_cut(bench, pool, &disk);
    }
    bench_settle(bench, pool);
    for (unsigned i = 0; i < bench->pairs * 2; i++) {
        bool deletes = i % 4 == 0 || i % 4 == 3;
        samples_add(deletes ? &a : &b, p11_run(&d, volume, blocks, deletes));
    }
    snprintf(note, sizeof note, "%u deletions, median %.2f ms", took_ms.count,
             samples_estimate(&took_ms).median);
    report_value(&bench->report, "P11", "delete 1 of 1,000 snapshots under QD32 load, p99", "ms",
                 samples_quantile(&took_ms, 990), AT_MOST, 10, note);
    report_ratio(&bench->report, "P11", "4K random write QD32 meanwhile / without deletions", &a,
                 &b, AT_LEAST, 0.9, NULL);
    volume_close(volume);
    bench_pool_close(bench, pool, "p11.pool", false);
}
