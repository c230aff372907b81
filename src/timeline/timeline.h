/*
 * timeline.h - the local engine behind volume.h: a disk is its history, everything else is a number
 * on it.
 *
 * Purpose: makes and opens pools; everything else goes through the vtable (volume/volume_engine.h).
 * How to use: by volume_pool_create and volume_pool_open only.
 * Threads: ON_LOOP; one loop owns a pool (E16).  Ownership, failures, limits: volume.h.
 * Invariants kept here: doc/invariants.md, E1 to E31.
 */
#ifndef TARN_TIMELINE_TIMELINE_H
#define TARN_TIMELINE_TIMELINE_H

#include "volume/volume.h"

void timeline_pool_create(struct rt *rt, const char *path, uint64_t size_bytes,
                          const struct uuid *pool, const struct volume_pool_options *options,
                          bool overwrite,
                          void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
                          volume_done_fn *done, void *arg);
void timeline_pool_open(struct rt *rt, const char *path, const struct volume_pool_options *options,
                        struct volume_pool **ret_pool, volume_done_fn *done, void *arg);

#endif
