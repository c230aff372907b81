/*
 * ops.h - random operations on a world, drawn from bytes: the same records serve seeded runs,
 * replay, shrinking and libFuzzer.  Any bytes are valid.  Threads: one.
 */
#ifndef TARN_TESTS_OPS_H
#define TARN_TESTS_OPS_H

#include "world.h"

enum { OPS_RECORD_BYTES = 12 };

/* One operation per record; recovers after each crash.  At the end: verify, settle, check, delete
 * everything, all space back.  False when the world has failed. */
bool ops_run(struct world *world, const uint8_t *records, uint32_t record_count);
/* The operations alone (makes the first disks when there are none); no end. */
bool ops_run_only(struct world *world, const uint8_t *records, uint32_t record_count);
/* A whole run with its own world: false and the failure's text (size bytes) when it went red. */
struct ops_outcome {
    bool ok;
    char failure[768];
    uint64_t trace_hash;
    uint32_t crashes, recovery_crashes, cuts, reverts, promotes, splits, replaces, verifies, writes, full;
    struct volume_pool_counters counters;
};
struct ops_outcome ops_world_run(const struct world_options *options);
/* The records that a seed stands for; to be freed. */
uint8_t *ops_draw(uint64_t seed, uint32_t record_count);

#endif
