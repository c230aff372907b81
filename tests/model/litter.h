/*
 * litter.h - small things of the fake engine that a crash leaves behind; freed with its pool.
 * Threads: one.  Ownership: litter_sweep frees what litter_free did not.  Failures: panic.
 */
#ifndef TARN_TESTS_LITTER_H
#define TARN_TESTS_LITTER_H

#include <stddef.h>

void *litter_new(size_t size_bytes); /* zeroed */
void litter_free(void *thing);       /* accepts NULL */
void litter_sweep(void);

#endif
