/* standin_bad.h - providers that are Tarn's but for one thing each, and the rule that it breaks. */
#ifndef TARN_TESTS_STANDIN_BAD_H
#define TARN_TESTS_STANDIN_BAD_H

#include "tests/unit/standin_world.h"

struct bad_provider {
    const char *what, *rule;
    void (*spoil)(struct si_provider *provider);
};

extern const struct bad_provider bad_providers[];
extern const unsigned bad_provider_count;

#endif
