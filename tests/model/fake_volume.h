/*
 * fake_volume.h - a volume engine of arrays in memory, to prove the checkers: correct without a bug, and
 * each bug must be noticed.  It stands in for the real engine at link time (volume.h).
 *
 * It is a log: every change is an entry; entries complete in any order, are applied and acknowledged in
 * order; a crash keeps a prefix.
 */
#ifndef TARN_TESTS_FAKE_VOLUME_H
#define TARN_TESTS_FAKE_VOLUME_H

#include "tests/sim/sim.h"

enum fake_bug {
    FAKE_NO_BUG,
#define X(name, what) FAKE_##name,
#include "fake_bugs.def"
#undef X
    FAKE_BUG_COUNT
};

void fake_volume_reset(enum fake_bug bug, uint64_t seed); /* an empty device */
void fake_volume_crashed(enum sim_crash kind);            /* world_options.on_crash */

#endif
