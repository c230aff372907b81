/*
 * trial.h - the pool of a world as an image that can be damaged, opened in a second world and read:
 * every answer must be an error or what the model allows (E9, E14, E30).
 *
 *     image_take(world, &image);  image.content[...] ^= 1;
 *     if (!trial_run(world, &image, &verdict)) puts(verdict.problem);
 *     image_free(&image);
 *
 * Threads: one.  Ownership: the image is the caller's.  world->hold, when set, is the oldest state
 * that may be served.
 */
#ifndef TARN_TESTS_TRIAL_H
#define TARN_TESTS_TRIAL_H

#include "world.h"

#define POOL_PATH "/pool"

struct image {
    uint64_t size_bytes;
    uint32_t *blocks; /* numbers of those that are not zero */
    uint8_t *content;
    uint32_t count;
};

void image_take(struct world *world, struct image *image);
void image_free(struct image *image);

/* What a block is, by its content; what has neither magic nor the stamps of data is of the bitmap. */
enum block_kind {
    KIND_SUPER,
    KIND_WAL,
    KIND_DIR,
    KIND_LEAF,
    KIND_SYSTEM,
    KIND_BLOB,
    KIND_BITMAP,
    KIND_DATA,
    KIND_COUNT
};
extern const char *const block_kind_names[];
enum block_kind image_kind_of(const uint8_t *block);

struct verdict {
    unsigned refused, damaged, errors, clean; /* opens; pools; reads that failed; no effect */
    bool excuse_missing;                      /* the device lied: what was made may be gone */
    char problem[512];
};

/* Opens the image as it is now; true when nothing wrong was served. */
bool trial_run(struct world *world, const struct image *image, struct verdict *verdict);

#endif
