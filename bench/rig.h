/*
 * rig.h - pools, disks and raw files on a real file system for the bench, with blocking calls.
 *
 * Every failure of a step ends the program with its text: a bench has nothing to rescue.
 * Threads: one.  The rt is run inside the blocking calls.
 */
#ifndef TARN_BENCH_RIG_H
#define TARN_BENCH_RIG_H

#include "bench/load.h"
#include "bench/stats.h"

struct bench {
    struct rt *rt;
    struct report report;
    const char *dir;     /* where all files are made */
    const char *xfs_dir; /* a mounted XFS with reflink; NULL = skip */
    unsigned pairs;
    uint64_t run_ns; /* of one side of a pair */
    bool is_quick;
    bool qcow2;        /* qemu-img is there */
    struct base *base; /* made at first use */
    uint64_t seed;
    bool call_done;
    struct err *call_error;
};

/* What most scenarios share: a pool with a disk that was written once, and a raw file likewise. */
struct base {
    struct volume_pool *pool;
    struct uuid disk;
    struct volume *volume;
    struct rt_file *raw;
    uint64_t blocks; /* of the disk and of the raw file */
};

void bench_die(struct err *e, const char *what) __attribute__((noreturn));
/* For the done of a control call: volume_x(..., bench_call_done, bench); bench_wait(bench, "x"); */
void bench_call_done(void *arg, struct err *e);
void bench_wait(struct bench *bench, const char *what);

struct base *bench_base(struct bench *bench);
void bench_base_drop(struct bench *bench);

char *bench_path(struct bench *bench, const char *name, char *buf, size_t size);
struct volume_pool *bench_pool_create(struct bench *bench, const char *name, uint64_t size_bytes,
                                      uint64_t wal_bytes, uint64_t cache_bytes, bool sparse);
struct volume_pool *bench_pool_open(struct bench *bench, const char *name, uint64_t cache_bytes);
/* Closes and deletes the file unless keep. */
void bench_pool_close(struct bench *bench, struct volume_pool *pool, const char *name, bool keep);
struct uuid bench_disk_create(struct bench *bench, struct volume_pool *pool, uint64_t size_bytes);
struct volume *bench_open(struct volume_pool *pool, const struct uuid *disk,
                          const struct uuid *point);
/* A cut of one disk. */
struct uuid bench_cut(struct bench *bench, struct volume_pool *pool, const struct uuid *disk);
void bench_point_delete(struct bench *bench, struct volume_pool *pool, const struct uuid *point);
void bench_settle(struct bench *bench, struct volume_pool *pool);
void bench_checkpoint(struct bench *bench, struct volume_pool *pool);
struct rt_file *bench_raw_create(struct bench *bench, const char *path, uint64_t blocks);

/* Fills rt, ended and a seed, runs to the end, frees; the results stay. */
void bench_run(struct bench *bench, struct load *load);
/* The whole range in order, with 256 KiB requests. */
void bench_fill(struct bench *bench, struct volume *volume, struct rt_file *file, uint64_t blocks);
double bench_speed(struct bench *bench, struct load load);
uint64_t bench_bytes_written(void); /* by this process, to devices (/proc/self/io) */

/* The scenarios. */
void speed_p1(struct bench *bench);
void speed_p2(struct bench *bench);
void speed_p4(struct bench *bench);
void speed_p6(struct bench *bench);
void speed_p6_aged(struct bench *bench);
void speed_p7(struct bench *bench);
void sets_p5(struct bench *bench);
void sets_p11(struct bench *bench);
void size_p8(struct bench *bench);
void size_p12(struct bench *bench);
void size_p13(struct bench *bench);
void peers_run(struct bench *bench);
/* Durable writes through O_DSYNC at a queue depth; requests per second, 0 where io_uring is
 * refused. */
double peers_dsync_iops(struct bench *bench, const char *path, unsigned depth, uint64_t blocks);

#endif
