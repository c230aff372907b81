/*
 * tap.h - the Test Anything Protocol for our C tests: one named behaviour, one point.
 *
 *     static void cut_covers_everything_acknowledged(void) { ...; expect(a == b); }
 *     int main(void) { run(cut_covers_everything_acknowledged); return tap_done(); }
 *
 * expect() records a failure and goes on; require() ends the test function.
 */
#ifndef TARN_TESTS_TAP_H
#define TARN_TESTS_TAP_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_count, tap_failed_count;
static bool tap_failed;

#define expect(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            printf("# %s:%d: %s: expected %s\n", __FILE__, __LINE__, __func__, #cond);             \
            tap_failed = true;                                                                     \
        }                                                                                          \
    } while (0)

#define expect_eq(a, b)                                                                            \
    do {                                                                                           \
        long long tap_a_ = (long long)(a), tap_b_ = (long long)(b);                                \
        if (tap_a_ != tap_b_) {                                                                    \
            printf("# %s:%d: %s: %s is %lld, expected %s = %lld\n", __FILE__, __LINE__, __func__,  \
                   #a, tap_a_, #b, tap_b_);                                                        \
            tap_failed = true;                                                                     \
        }                                                                                          \
    } while (0)

#define expect_str(a, b)                                                                           \
    do {                                                                                           \
        const char *tap_a_ = (a), *tap_b_ = (b);                                                   \
        if (strcmp(tap_a_, tap_b_) != 0) {                                                         \
            printf("# %s:%d: %s: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, __func__,   \
                   #a, tap_a_, tap_b_);                                                            \
            tap_failed = true;                                                                     \
        }                                                                                          \
    } while (0)

#define require(cond)                                                                              \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            printf("# %s:%d: %s: required %s\n", __FILE__, __LINE__, __func__, #cond);             \
            tap_failed = true;                                                                     \
            return;                                                                                \
        }                                                                                          \
    } while (0)

static inline void tap_point(const char *name, bool ok)
{
    tap_count++;
    if (!ok) tap_failed_count++;
    printf("%s %d - %s\n", ok ? "ok" : "not ok", tap_count, name);
    fflush(stdout);
}

static inline void tap_skip(const char *name, const char *reason)
{
    printf("ok %d - %s # SKIP %s\n", ++tap_count, name, reason);
    fflush(stdout);
}

static inline void tap_run(const char *name, void (*test)(void))
{
    tap_failed = false;
    test();
    tap_point(name, !tap_failed);
}
#define run(test) tap_run(#test, test)

static inline int tap_done(void)
{
    printf("1..%d\n", tap_count);
    return tap_failed_count ? 1 : 0;
}

#endif
