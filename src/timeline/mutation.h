/*
 * mutation.h - deliberate bugs of the engine (base/mutation.h), only in the library that the model test
 * links.
 *
 *     if (batch->complete && (oldest_complete || mutation_is(MUTATION_ACK_OUT_OF_ORDER)))
 *         publish(batch);
 *
 * Each mutation must turn the model test red within its seeds (E30).  Threads: set before the pool
 * is opened.  The rows, with their invariants: mutation.def.
 */
#ifndef TARN_TIMELINE_MUTATION_H
#define TARN_TIMELINE_MUTATION_H

#include "base/mutation.h"

enum mutation {
    MUTATION_NONE,
#define X(name, invariant, what) MUTATION_##name,
#include "timeline/mutation.def"
#undef X
    MUTATION_COUNT
};
MUTATION_SWITCH(mutation);

#endif
