#include "bench/rig.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/status.h"

#define BASE_POOL_BYTES (3 * GIB)
#define BASE_DISK_BYTES (1 * GIB)
#define BASE_WAL_BYTES (64 * MIB) /* small, so that checkpoints fall into every run */

void bench_die(struct err *e, const char *what)
{
    char text[512];
    fprintf(stderr, "bench: %s: %s\n", what, e ? err_text(e, text, sizeof text) : "failed");
    exit(1);
}

void bench_call_done(void *arg, struct err *e)
{
    struct bench *bench = arg;
    bench->call_done = true;
    bench->call_error = e;
    rt_stop(bench->rt);
}

void bench_wait(struct bench *bench, const char *what)
{
    while (!bench->call_done)
        rt_run(bench->rt);
    bench->call_done = false;
    if (bench->call_error) bench_die(bench->call_error, what);
}

char *bench_path(struct bench *bench, const char *name, char *buf, size_t size)
{
    snprintf(buf, size, "%s/%s", bench->dir, name);
    return buf;
}

struct volume_pool *bench_pool_open(struct bench *bench, const char *name, uint64_t cache_bytes)
{
    char path[512];
    struct volume_pool *pool;
    struct volume_pool_options options = {.cache_bytes = cache_bytes};
    volume_pool_open(bench->rt, bench_path(bench, name, path, sizeof path), &options, &pool,
                     bench_call_done, bench);
    bench_wait(bench, "open a pool");
    if (volume_pool_state(pool) != VOLUME_POOL_OK) bench_die(NULL, volume_pool_trouble(pool));
    return pool;
}

struct volume_pool *bench_pool_create(struct bench *bench, const char *name, uint64_t size_bytes,
                                      uint64_t wal_bytes, uint64_t cache_bytes, bool sparse)
{
    char path[512];
    struct uuid uuid = rt_uuid(bench->rt);
    struct volume_pool_options options = {.wal_bytes = wal_bytes, .sparse = sparse};
    volume_pool_create(bench->rt, bench_path(bench, name, path, sizeof path), size_bytes, &uuid,
                       &options, false, NULL, bench_call_done, bench);
    bench_wait(bench, "create a pool");
    return bench_pool_open(bench, name, cache_bytes);
}

void bench_pool_close(struct bench *bench, struct volume_pool *pool, const char *name, bool keep)
{
    char path[512];
    volume_pool_close(pool, bench_call_done, bench);
    bench_wait(bench, "close a pool");
    if (!keep) unlink(bench_path(bench, name, path, sizeof path));
}

struct uuid bench_disk_create(struct bench *bench, struct volume_pool *pool, uint64_t size_bytes)
{
    struct uuid uuid = rt_uuid(bench->rt);
    volume_disk_create(pool, &uuid, size_bytes, bench_call_done, bench);
    bench_wait(bench, "create a disk");
    return uuid;
}

struct volume *bench_open(struct volume_pool *pool, const struct uuid *disk,
                          const struct uuid *point)
{
    struct volume *volume;
    struct err *e = volume_open(pool, point ? NULL : disk, point,
                                point ? VOLUME_READ_ONLY : VOLUME_READ_WRITE, &volume);
    if (e) bench_die(e, "open a volume");
    return volume;
}

struct uuid bench_cut(struct bench *bench, struct volume_pool *pool, const struct uuid *disk)
{
    struct volume_cut_member member = {
        .disk = *disk, .point = rt_uuid(bench->rt), .kind = VOLUME_POINT_SNAPSHOT};
    struct volume_cut cut = {.set = rt_uuid(bench->rt), .member_count = 1, .members = &member};
    struct volume_cut_result result;
    volume_cut(pool, &cut, &result, bench_call_done, bench);
    bench_wait(bench, "cut");
    return member.point;
}

void bench_point_delete(struct bench *bench, struct volume_pool *pool, const struct uuid *point)
{
    volume_point_delete(pool, point, bench_call_done, bench);
    bench_wait(bench, "delete a point");
}

void bench_settle(struct bench *bench, struct volume_pool *pool)
{
    volume_pool_settle(pool, bench_call_done, bench);
    bench_wait(bench, "settle");
}

void bench_checkpoint(struct bench *bench, struct volume_pool *pool)
{
    volume_pool_checkpoint(pool, bench_call_done, bench);
    bench_wait(bench, "checkpoint");
}

static void load_ended(struct load *load)
{
    struct bench *bench = load->arg;
    bench_call_done(bench, NULL);
}

void bench_run(struct bench *bench, struct load *load)
{
    load->rt = bench->rt;
    load->arg = bench;
    load->ended = load_ended;
    load->seed = ++bench->seed;
    load_start(load);
    bench_wait(bench, "load");
    load_fini(load);
    if (load->status != STATUS_OK) bench_die(NULL, status_text(load->status));
}

double bench_speed(struct bench *bench, struct load load)
{
    if (!load.duration_ns) load.duration_ns = bench->run_ns;
    bench_run(bench, &load);
    return load_iops(&load);
}

void bench_fill(struct bench *bench, struct volume *volume, struct rt_file *file, uint64_t blocks)
{
    struct load load = {.volumes = &volume,
                        .volume_count = 1,
                        .file = file,
                        .is_sequential = true,
                        .depth = 8,
                        .io_blocks = 64,
                        .range_blocks = blocks};
    bench_run(bench, &load);
}

struct rt_file *bench_raw_create(struct bench *bench, const char *path, uint64_t blocks)
{
    struct rt_file *file;
    struct rt_file_info info;
    struct err *e = rt_file_open(bench->rt, path, RT_OPEN_CREATE | RT_OPEN_DIRECT, &file, &info);
    if (e) bench_die(e, "create a raw file");
    bench_fill(bench, NULL, file, blocks);
    return file;
}

struct base *bench_base(struct bench *bench)
{
    char path[512];
    if (bench->base) return bench->base;
    struct base *base = calloc(1, sizeof *base);
    check(base != NULL);
    uint64_t disk_bytes = bench->is_quick ? BASE_DISK_BYTES / 4 : BASE_DISK_BYTES;
    base->blocks = disk_bytes / BLOCK_BYTES;
    base->pool = bench_pool_create(bench, "base.pool",
                                   bench->is_quick ? BASE_POOL_BYTES / 2 : BASE_POOL_BYTES,
                                   BASE_WAL_BYTES, 0, false);
    base->disk = bench_disk_create(bench, base->pool, disk_bytes);
    base->volume = bench_open(base->pool, &base->disk, NULL);
    bench_fill(bench, base->volume, NULL, base->blocks);
    base->raw = bench_raw_create(bench, bench_path(bench, "raw", path, sizeof path), base->blocks);
    bench->base = base;
    return base;
}

void bench_base_drop(struct bench *bench)
{
    char path[512];
    struct base *base = bench->base;
    if (!base) return;
    rt_file_close(base->raw);
    unlink(bench_path(bench, "raw", path, sizeof path));
    volume_close(base->volume);
    bench_pool_close(bench, base->pool, "base.pool", false);
    free(base);
    bench->base = NULL;
}

uint64_t bench_bytes_written(void)
{
    char line[128];
    unsigned long long bytes = 0;
    FILE *io = fopen("/proc/self/io", "re");
    if (!io) return 0;
    while (fgets(line, sizeof line, io))
        if (sscanf(line, "write_bytes: %llu", &bytes) == 1) break;
    fclose(io);
    return bytes;
}
