/*
 * mutation.h - switches for deliberate bugs, only in the library that the model test links
 * (-DTARN_MUTATIONS); elsewhere mutation_is() is the constant false and costs nothing.
 *
 *     if (batch->complete && (oldest_complete || mutation_is(MUTATION_ACK_OUT_OF_ORDER)))
 * publish(batch);
 *
 * Each mutation must turn the model test red within its seeds (E30).  Threads: set before the pool
 * is opened.  The rows, with their invariants: mutation.def.
 */
#ifndef TARN_TIMELINE_MUTATION_H
#define TARN_TIMELINE_MUTATION_H

#include <stdbool.h>

enum mutation {
    MUTATION_NONE,
#define X(name, invariant, what) MUTATION_##name,
#include "timeline/mutation.def"
#undef X
    MUTATION_COUNT
};

#ifdef TARN_MUTATIONS
extern enum mutation mutation_active; /* defined by the test program */
static inline bool mutation_is(enum mutation mutation)
{
    return mutation_active == mutation;
}
#else
#define mutation_is(mutation) false
#endif

#endif
