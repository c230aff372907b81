/* peers.c - the same writes on the same disk through others: qcow2 (qemu-img bench), XFS reflink,
 * O_DSYNC. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "bench/rig.h"

enum { DEPTH = 32 };

/* ---- O_DSYNC --------------------------------------------------------------------------------- */

static void dsync_submit(struct io_uring *ring, int fd, void *buf, struct prng *prng,
                         uint64_t blocks)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    check(sqe != NULL);
    io_uring_prep_write(sqe, fd, buf, BLOCK_BYTES, prng_below(prng, blocks) * BLOCK_BYTES);
    io_uring_sqe_set_data(sqe, buf);
}

double peers_dsync_iops(struct bench *bench, const char *path, unsigned depth, uint64_t blocks)
{
    struct io_uring ring;
    struct prng prng;
    if (io_uring_queue_init(depth, &ring, 0) < 0) return 0;
    int fd = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (fd < 0) bench_die(NULL, "open with O_DSYNC");
    uint8_t *memory = aligned_alloc(BLOCK_BYTES, (size_t)depth * BLOCK_BYTES);
    check(memory != NULL);
    prng_init(&prng, ++bench->seed);
    prng_fill(&prng, memory, (size_t)depth * BLOCK_BYTES);
    uint64_t begin_ns = rt_now(bench->rt), done = 0;
    for (unsigned i = 0; i < depth; i++)
        dsync_submit(&ring, fd, memory + (size_t)i * BLOCK_BYTES, &prng, blocks);
    for (unsigned active = depth; active > 0;) {
        struct io_uring_cqe *cqe;
        io_uring_submit_and_wait(&ring, 1);
        while (io_uring_peek_cqe(&ring, &cqe) == 0) {
            void *buf = io_uring_cqe_get_data(cqe);
            if (cqe->res != BLOCK_BYTES) bench_die(NULL, "write with O_DSYNC");
            io_uring_cqe_seen(&ring, cqe);
            done++;
            if (rt_now(bench->rt) - begin_ns < bench->run_ns)
                dsync_submit(&ring, fd, buf, &prng, blocks);
            else
                active--;
        }
    }
    double iops = (double)done * 1e9 / (double)(rt_now(bench->rt) - begin_ns);
    io_uring_queue_exit(&ring);
    free(memory);
    close(fd);
    return iops;
}

/* ---- qcow2 ----------------------------------------------------------------------------------- */

static double run_text(const char *command)
{
    char line[256];
    double seconds = 0;
    FILE *pipe = popen(command, "re");
    check(pipe != NULL);
    while (fgets(line, sizeof line, pipe)) {
        const char *at = strstr(line, "completed in ");
        if (at) seconds = strtod(at + strlen("completed in "), NULL);
    }
    if (pclose(pipe) != 0) bench_die(NULL, command);
    return seconds;
}

/* 4K writes QD32 without the host's cache.  qemu-img bench strides: a step of an odd number of
 * blocks that goes over the image many times hits each cluster like a random order does. */
static double qcow2_iops(struct bench *bench, unsigned long count, uint64_t blocks)
{
    char command[768];
    uint64_t step = (blocks * 6180 / 10000) | 1,
             at = prng_below(&(struct prng){{1, 2, 3, ++bench->seed}}, blocks);
    snprintf(command, sizeof command,
             "qemu-img bench -w -f qcow2 -t none -i io_uring -d %d -s 4096 -S %llu -o %llu -c %lu "
             "'%s/q.qcow2'",
             DEPTH, (unsigned long long)step * BLOCK_BYTES, (unsigned long long)at * BLOCK_BYTES,
             count, bench->dir);
    double seconds = run_text(command);
    return seconds > 0 ? (double)count / seconds : 0;
}

static void peers_qcow2(struct bench *bench)
{
    struct base *base = bench_base(bench);
    struct samples ours = {0}, before = {0}, ours_after = {0}, after = {0};
    char command[768];
    unsigned long count = bench->is_quick ? 5000 : 20000;
    snprintf(command, sizeof command,
             "qemu-img create -q -f qcow2 -o preallocation=full '%s/q.qcow2' %llu", bench->dir,
             (unsigned long long)base->blocks * BLOCK_BYTES);
    run_text(command);
    struct load load = {
        .volumes = &base->volume, .volume_count = 1, .depth = DEPTH, .range_blocks = base->blocks};
    for (unsigned i = 0; i < bench->pairs; i++) {
        samples_add(&before, qcow2_iops(bench, count, base->blocks));
        samples_add(&ours, bench_speed(bench, load));
        snprintf(command, sizeof command, "qemu-img snapshot -c s '%s/q.qcow2'", bench->dir);
        run_text(command);
        samples_add(&after, qcow2_iops(bench, count / 10, base->blocks));
        snprintf(command, sizeof command, "qemu-img snapshot -d s '%s/q.qcow2'", bench->dir);
        run_text(command);
        struct uuid point = bench_cut(bench, base->pool, &base->disk);
        struct load limited = load;
        limited.count = 100000;
        samples_add(&ours_after, bench_speed(bench, limited));
        bench_point_delete(bench, base->pool, &point);
        bench_settle(bench, base->pool);
    }
    report_ratio(&bench->report, "peer", "4K random write QD32: tarn / qcow2", &ours, &before,
                 NO_BAR, 0, NULL);
    report_ratio(&bench->report, "peer", "just after a snapshot: tarn / qcow2 internal snapshot",
                 &ours_after, &after, NO_BAR, 0, NULL);
    report_ratio(&bench->report, "peer", "qcow2 just after a snapshot / qcow2 before", &after,
                 &before, NO_BAR, 0, NULL);
    snprintf(command, sizeof command, "%s/q.qcow2", bench->dir);
    unlink(command);
}

/* ---- XFS reflink ----------------------------------------------------------------------------- */

static void reflink(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC),
        out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (in < 0 || out < 0 || ioctl(out, FICLONE, in) != 0) bench_die(NULL, "reflink a file");
    close(in);
    close(out);
}

static void peers_xfs(struct bench *bench)
{
    struct base *base = bench_base(bench);
    struct samples ours = {0}, before = {0}, ours_after = {0}, after = {0}, clone_ms = {0};
    char path[512], copy[512];
    uint64_t blocks = base->blocks / 2; /* file and copy share a loop device of their size */
    snprintf(path, sizeof path, "%s/disk", bench->xfs_dir);
    snprintf(copy, sizeof copy, "%s/snapshot", bench->xfs_dir);
    struct rt_file *file = bench_raw_create(bench, path, blocks);
    struct load load = {
        .volumes = &base->volume, .volume_count = 1, .depth = DEPTH, .range_blocks = blocks};
    struct load theirs = {.file = file, .depth = DEPTH, .range_blocks = blocks};
    for (unsigned i = 0; i < bench->pairs; i++) {
        samples_add(&before, bench_speed(bench, theirs));
        samples_add(&ours, bench_speed(bench, load));
        uint64_t begin_ns = rt_now(bench->rt);
        reflink(path, copy);
        samples_add(&clone_ms, (double)(rt_now(bench->rt) - begin_ns) / 1e6);
        samples_add(&after, bench_speed(bench, theirs));
        unlink(copy);
        struct uuid point = bench_cut(bench, base->pool, &base->disk);
        struct load limited = load;
        limited.count = 100000;
        samples_add(&ours_after, bench_speed(bench, limited));
        bench_point_delete(bench, base->pool, &point);
        bench_settle(bench, base->pool);
    }
    rt_file_close(file);
    unlink(path);
    report_ratio(&bench->report, "peer", "4K random write QD32: tarn / file on XFS (loop)", &ours,
                 &before, NO_BAR, 0, NULL);
    report_ratio(&bench->report, "peer", "just after a snapshot: tarn / XFS reflink", &ours_after,
                 &after, NO_BAR, 0, NULL);
    report_ratio(&bench->report, "peer", "XFS just after a reflink / before", &after, &before,
                 NO_BAR, 0, NULL);
    report_finding(&bench->report, &(struct finding){.bar = "peer",
                                                     .what = "time of the reflink",
                                                     .unit = "ms",
                                                     .estimate = samples_estimate(&clone_ms),
                                                     .sense = NO_BAR,
                                                     .a = &clone_ms});
}

void peers_run(struct bench *bench)
{
    if (bench->qcow2) peers_qcow2(bench);
    if (bench->xfs_dir) peers_xfs(bench);
}
