/*
 * world_int.h - what the files of the world share (world.h): its calls, and reading all of it.
 * Threads, ownership, failures: as world.h.
 */
#ifndef TARN_TESTS_WORLD_INT_H
#define TARN_TESTS_WORLD_INT_H

#include "world.h"

#define WORLD_POOL_PATH "/pool"

/* Notices that the node went down; true when it has. */
bool world_note_crash(struct world *world);
void world_call_done(void *arg, struct err *e);
bool world_call_is_done(struct world *world);
void world_call_open(struct world *world, volume_done_fn *done, void *arg);
/* Every live disk, read while nothing is written, against the bound; then exact. */
bool world_resolve_live(struct world *world, struct model_bound *bound, const char *when);
bool world_verify_exact_points(struct world *world);
/* What the program that died held: requests are void, calls are in doubt. */
void world_bury(struct world *world);

#endif
