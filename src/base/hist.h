/*
 * hist.h - log-linear histogram of durations (8 steps per octave, <= 12.5 % error), fixed size, no
 * allocation.  Threads: one at a time.
 */
#ifndef TARN_BASE_HIST_H
#define TARN_BASE_HIST_H

#include <stdint.h>

enum { HIST_SLOTS = 64 * 8 };

struct hist {
    uint64_t count, sum, max;
    uint64_t slots[HIST_SLOTS];
};

void hist_add(struct hist *hist, uint64_t value);
/* The value below which `permille` of 1000 lie (upper edge of its slot); 0 when empty. */
uint64_t hist_quantile(const struct hist *hist, unsigned permille);

#endif
