/*
 * tell.h - how fast things went, in real time.  Speeds are told, never judged: the machine may be busy.
 *
 *     double begin = seconds_now();
 *     ...
 *     tell("disks made", 1000, begin);
 */
#ifndef TARN_TESTS_LIB_TELL_H
#define TARN_TESTS_LIB_TELL_H

#include <stdio.h>
#include <time.h>

static inline double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void tell(const char *what, unsigned count, double begin)
{
    double took = seconds_now() - begin;
    printf("# %u %s: %.2f s, %.0f per second\n", count, what, took,
           count / (took > 0 ? took : 1e-9));
}

#endif
