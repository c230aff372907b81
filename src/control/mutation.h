/*
 * mutation.h - deliberate bugs of the control plane, only in start.c as the test of whole sites builds
 * it (-DTARN_MUTATIONS, tests/sim/meson.build); elsewhere control_mutation_is() is false and costs
 * nothing.  Each must turn that test red.
 */
#ifndef TARN_CONTROL_MUTATION_H
#define TARN_CONTROL_MUTATION_H

#include <stdbool.h>

enum control_mutation {
    CONTROL_MUTATION_NONE,
    CONTROL_MUTATION_FORGET_UNDOS,   /* undo points go with a restart */
    CONTROL_MUTATION_DELETE_CREATED, /* a set that was created goes with a restart */
    CONTROL_MUTATION_KEEP_STRAYS,    /* points that an update or an abort left stay */
    CONTROL_MUTATION_COUNT
};

#ifdef TARN_MUTATIONS
extern enum control_mutation control_mutation_active; /* defined by the test program */
static inline bool control_mutation_is(enum control_mutation mutation)
{
    return control_mutation_active == mutation;
}
#else
#define control_mutation_is(mutation) false
#endif

#endif
