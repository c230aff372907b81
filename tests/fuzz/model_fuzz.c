/* Any bytes are operations on a pool, with crashes (tests/model/ops.h); a disagreement with the model aborts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "tests/model/engine_mutation.h"
#include "tests/model/ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { HEAD_BYTES = 8, RECORDS_MAX = 400 };
    if (size < HEAD_BYTES + OPS_RECORD_BYTES) return 0;
    size_t count = (size - HEAD_BYTES) / OPS_RECORD_BYTES;
    if (count > RECORDS_MAX) count = RECORDS_MAX;
    struct world_options options = {.seed = load_le32(data),
                                    .crash = (enum world_crash)(data[4] % 4),
                                    .crash_every = 10 + data[5] * 4u,
                                    .recovery_crashes = data[6] % 4,
                                    .pace = 1 + data[7] % 8,
                                    .cache_bytes = data[6] & 16 ? MODEL_TINY_CACHE_BYTES : 0,
                                    .wal_bytes = data[6] & 32 ? MODEL_TINY_WAL_BYTES : 0,
                                    .no_ragged_zero = data[6] & 64,
                                    .ops = data + HEAD_BYTES,
                                    .op_count = (uint32_t)count};
    struct ops_outcome outcome = ops_world_run(&options);
    if (outcome.ok) return 0;
    fprintf(stderr, "%s\n", outcome.failure);
    abort();
}
