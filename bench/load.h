/*
 * load.h - a closed loop of 4 KiB requests at a queue depth, on volumes or on a raw file, over any
 * rt.
 *
 * The Linux bench and the deterministic twins in the simulator drive the engine with this same
 * code.
 *
 *     struct load load = {.rt = rt, .volumes = &v, .volume_count = 1, .depth = 32, .range_blocks =
 * n, .duration_ns = RT_SECOND, .seed = 7, .ended = stop}; load_start(&load);  ... run the loop
 * until ended ...  load_fini(&load);
 *
 * Threads: ON_LOOP.  The load and all it names belong to it until ended was called.
 * Failures: an error of any request ends the load; see status.
 */
#ifndef TARN_BENCH_LOAD_H
#define TARN_BENCH_LOAD_H

#include "base/hist.h"
#include "base/prng.h"
#include "volume/volume.h"

struct load_slot;

struct load {
    /* Set by the caller. */
    struct rt *rt;
    struct volume *const *volumes; /* each request picks one; or else */
    unsigned volume_count;
    struct rt_file *file; /* raw, in place */
    bool is_read, is_fua; /* fua: volumes only */
    bool is_sequential;   /* from block 0 on; ends at range_blocks */
    bool sync_all;        /* file: when all requests are done, sync, and only then count them */
    unsigned depth;
    unsigned io_blocks;          /* 0 = 1 */
    uint64_t jitter_ns;          /* each request waits up to this long before it is submitted */
    uint64_t range_blocks;       /* of each volume, or of the file */
    uint64_t duration_ns, count; /* ends at whichever comes first; 0 = no such end */
    uint64_t seed;
    uint64_t every; /* on_every is called before each so many requests */
    void (*on_every)(struct load *load);
    void (*ended)(struct load *load);
    void *arg;
    /* What came of it. */
    enum status status;
    uint64_t done_count, elapsed_ns;
    struct hist latency; /* nanoseconds, without the jitter */
    /* Private. */
    struct prng prng;
    struct load_slot *slots;
    uint64_t begin_ns, submitted, next_block;
    unsigned active, held;
    bool is_ending;
    struct rt_file_io sync;
};

void load_start(struct load *load);
void load_fini(struct load *load);
double load_iops(const struct load *load);

#endif
