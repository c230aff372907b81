/* engine_mutation.h - mutations by name; only the engine built with -DTARN_MUTATIONS knows them. */
#ifndef TARN_TESTS_ENGINE_MUTATION_H
#define TARN_TESTS_ENGINE_MUTATION_H

#include <stdbool.h>

#include "base/limits.h"

/* A few leaves, so that every operation pages. */
#define MODEL_TINY_CACHE_BYTES (64 * KIB)
/* A ring that goes round often. */
#define MODEL_TINY_WAL_BYTES (4 * MIB)

/* "NONE" or a name of timeline/mutation.def; false when unknown or not built in. */
bool engine_mutation_set(const char *name);

#endif
