/*
 * prng.h - xoshiro256** : fast, seedable, for simulators, tests and load; never for secrets
 * (those come from rt_random).  Ownership: the caller's struct.  Threads: one at a time.
 */
#ifndef TARN_BASE_PRNG_H
#define TARN_BASE_PRNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prng {
    uint64_t state[4];
};

void prng_init(struct prng *prng, uint64_t seed);
uint64_t prng_u64(struct prng *prng);
/* Uniform in [0, bound); bound > 0. */
uint64_t prng_below(struct prng *prng, uint64_t bound);
/* True with probability numerator/denominator. */
bool prng_chance(struct prng *prng, uint64_t numerator, uint64_t denominator);
void prng_fill(struct prng *prng, void *to, size_t size_bytes);

#endif
