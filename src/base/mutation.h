/*
 * mutation.h - a module's switch for deliberate bugs, by which a test proves that it sees them.
 *
 *     enum thing_mutation { THING_MUTATION_NONE, THING_MUTATION_FORGET, ... };
 *     MUTATION_SWITCH(thing_mutation);
 *     ...
 *     if (thing_mutation_is(THING_MUTATION_FORGET)) return;
 *
 * Only what is compiled with -DTARN_MUTATIONS has it; there the test program defines, and sets before
 * anything runs, `enum thing_mutation thing_mutation_active`.  Elsewhere thing_mutation_is() is the
 * constant false and costs nothing.  Threads: none starts between setting and reading.
 */
#ifndef TARN_BASE_MUTATION_H
#define TARN_BASE_MUTATION_H

#include <stdbool.h>

#ifdef TARN_MUTATIONS
#define MUTATION_SWITCH(kind)                                                                      \
    extern enum kind kind##_active;                                                                \
    static inline bool kind##_is(enum kind mutation)                                               \
    {                                                                                              \
        return kind##_active == mutation;                                                          \
    }                                                                                              \
    _Static_assert(true, "takes the semicolon")
#else
#define MUTATION_SWITCH(kind)                                                                      \
    static inline bool kind##_is(enum kind mutation)                                               \
    {                                                                                              \
        return (void)mutation, false;                                                              \
    }                                                                                              \
    _Static_assert(true, "takes the semicolon")
#endif

#endif
