/* Random operations over the real engine against the reference model, with and without crashes. */
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "engine_mutation.h"
#include "rows.h"
#include "tests/lib/tap.h"

struct row {
    const char *name;
    unsigned seeds;
    struct world_options options;
};

/* 100,000 operations together at full scale. */
static const struct row rows[] = {
    {"without_crashes", 7,
     {.seed = 1, .op_count = 2500, .pace = 6}},
    {"many_in_flight", 4,
     {.seed = 100, .op_count = 2500, .pace = 1, .no_ragged_zero = true, .written_through = true}},
    {"with_a_tiny_cache", 4,
     {.seed = 200, .op_count = 2500, .pace = 4, .cache_bytes = MODEL_TINY_CACHE_BYTES,
      .disk_blocks_max = 2048}},
    {"space_is_exact", 4,
     {.seed = 300, .op_count = 2500, .pace = 4, .no_ragged_zero = true}},
    {"a_full_pool", 4,
     {.seed = 400, .op_count = 1500, .pace = 6, .disk_blocks_max = 6000, .wal_bytes = 32 * MIB,
      .big_requests = true}},
    {"big_requests_and_few_buffers", 4,
     {.seed = 450, .op_count = 1000, .pace = 2, .disk_blocks_max = 1500, .big_requests = true,
      .buffer_bytes = 2 * MIB, .pool_bytes = 256 * MIB}},
    {"process_crashes", 6,
     {.seed = 500, .op_count = 2000, .pace = 4, .crash = WORLD_CRASH_PROCESS, .crash_every = 300,
      .recovery_crashes = 2}},
    {"power_cuts", 6,
     {.seed = 600, .op_count = 2000, .pace = 4, .crash = WORLD_CRASH_POWER, .crash_every = 300,
      .recovery_crashes = 2}},
    {"both_crashes_often", 6,
     {.seed = 700, .op_count = 1000, .pace = 3, .crash = WORLD_CRASH_BOTH, .crash_every = 60,
      .recovery_crashes = 4, .no_ragged_zero = true}},
    {"both_crashes_with_a_tiny_cache_and_log", 4,
     {.seed = 800, .op_count = 2000, .pace = 4, .crash = WORLD_CRASH_BOTH, .crash_every = 400,
      .recovery_crashes = 2, .cache_bytes = MODEL_TINY_CACHE_BYTES, .wal_bytes = MODEL_TINY_WAL_BYTES}},
    {"a_slow_device_that_flushes_often", 4,
     {.seed = 1000, .op_count = 700, .pace = 2, .crash = WORLD_CRASH_BOTH, .crash_every = 120,
      .recovery_crashes = 2, .latency_ns = 20 * RT_MS, .flush_after_ns = RT_MS, .no_ragged_zero = true}},
    {"readers_that_linger", 4, {.seed = 1100, .op_count = 1000, .pace = 3, .slow_reads = true}},
    {"crashes_on_a_full_pool", 4,
     {.seed = 900, .op_count = 1500, .pace = 6, .crash = WORLD_CRASH_BOTH, .crash_every = 400,
      .recovery_crashes = 2, .disk_blocks_max = 6000, .wal_bytes = 32 * MIB, .big_requests = true}},
};

static bool row_is_green(const void *arg)
{
    const struct row *row = arg;
    struct world_options options = row->options;
    for (unsigned i = 0; i < rows_scaled(row->seeds); i++, options.seed++)
        if (!rows_world_is_green(&options)) return false;
    return true;
}

static void equal_seeds_give_equal_traces(void)
{
    struct world_options options = rows[8].options;
    options.op_count = 300;
    struct ops_outcome a = ops_world_run(&options), b = ops_world_run(&options);
    options.seed++;
    struct ops_outcome c = ops_world_run(&options);
    expect(a.ok && b.ok);
    expect(a.trace_hash == b.trace_hash);
    expect(a.trace_hash != c.trace_hash);
}

int main(void)
{
    static const char *const results[] = {"green", "red", "died", "hung"};
    for (unsigned i = 0; i < countof(rows); i++) {
        enum row_result result = rows_run_child(row_is_green, &rows[i], 900);
        if (result != ROW_GREEN) printf("# %s: %s\n", rows[i].name, results[result]);
        tap_point(rows[i].name, result == ROW_GREEN);
    }
    run(equal_seeds_give_equal_traces);
    return tap_done();
}
