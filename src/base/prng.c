#include "base/prng.h"

#include <string.h>

#include "base/check.h"

static uint64_t rotate_left(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

void prng_init(struct prng *prng, uint64_t seed)
{
    /* splitmix64, as the authors of xoshiro advise for seeding. */
    for (int i = 0; i < 4; i++) {
        seed += 0x9E3779B97F4A7C15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        prng->state[i] = z ^ z >> 31;
    }
}

uint64_t prng_u64(struct prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    check(bound > 0);
    return (uint64_t)(((unsigned __int128)prng_u64(prng) * bound) >> 64);
}

bool prng_chance(struct prng *prng, uint64_t numerator, uint64_t denominator)
{
    return prng_below(prng, denominator) < numerator;
}

void prng_fill(struct prng *prng, void *to, size_t size_bytes)
{
    uint8_t *p = to;
    while (size_bytes > 0) {
        uint64_t value = prng_u64(prng);
        size_t part = size_bytes < sizeof value ? size_bytes : sizeof value;
        memcpy(p, &value, part);
        p += part;
        size_bytes -= part;
    }
}
