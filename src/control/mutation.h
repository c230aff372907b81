/*
 * mutation.h - deliberate bugs of the control plane (base/mutation.h), only in start.c as the test of
 * whole sites builds it (tests/sim/meson.build).  Each must turn that test red.
 */
#ifndef TARN_CONTROL_MUTATION_H
#define TARN_CONTROL_MUTATION_H

#include "base/mutation.h"

enum control_mutation {
    CONTROL_MUTATION_NONE,
    CONTROL_MUTATION_FORGET_UNDOS,   /* undo points go with a restart */
    CONTROL_MUTATION_DELETE_CREATED, /* a set that was created goes with a restart */
    CONTROL_MUTATION_KEEP_STRAYS,    /* points that an update or an abort left stay */
    CONTROL_MUTATION_COUNT
};
MUTATION_SWITCH(control_mutation);

#endif
