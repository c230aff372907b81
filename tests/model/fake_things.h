/*
 * fake_things.h - the disks and points of the fake engine, as arrays of sectors.
 * Threads: one.  Ownership: whoever resets the fake frees them.  Failures: panic when there are too many.
 */
#ifndef TARN_TESTS_FAKE_THINGS_H
#define TARN_TESTS_FAKE_THINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"

enum { FAKE_THINGS = 64 };

/* A disk or a point. */
struct thing {
    bool used, is_point;
    struct uuid uuid, disk, parent;
    uint64_t sectors;
    uint8_t *data;
};

extern struct thing fake_things[FAKE_THINGS];

struct thing *fake_find(const struct uuid *uuid); /* NULL: none */
struct thing *fake_thing_new(const struct uuid *uuid, uint64_t sectors, bool is_point);
void fake_thing_free(struct thing *t);
/* Counts as the model does: blocks of one lineage that are equal are one. */
uint64_t fake_things_blocks(void);

#endif
