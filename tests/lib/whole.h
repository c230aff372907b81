/*
 * whole.h - a whole volume from or to memory, a piece after the other, in the simulated world.
 *
 *     expect(whole_volume(sim, volume, VOLUME_READ, image, sizeof image));
 */
#ifndef TARN_TESTS_LIB_WHOLE_H
#define TARN_TESTS_LIB_WHOLE_H

#include "base/limits.h"
#include "tests/sim/sim.h"
#include "volume/volume.h"

enum { WHOLE_PIECE_BYTES = 1024 * 1024 };

struct whole_piece {
    struct volume_io io;
    struct iovec iov;
    bool is_done;
};

static inline void whole_piece_done(struct volume_io *io)
{
    container_of(io, struct whole_piece, io)->is_done = true;
}

static inline bool whole_piece_is_done(void *arg)
{
    return ((struct whole_piece *)arg)->is_done;
}

/* false: it failed, or took more than a minute. */
static inline bool whole_piece(struct sim *sim, struct volume *volume, enum volume_op op, uint64_t at,
                               uint8_t *memory, uint64_t size_bytes)
{
    struct whole_piece piece = {.iov = {.iov_base = memory, .iov_len = size_bytes}};
    piece.io = (struct volume_io){.op = op,
                                  .sector = at / SECTOR_BYTES,
                                  .sector_count = size_bytes / SECTOR_BYTES,
                                  .iov = &piece.iov,
                                  .iov_count = 1,
                                  .done = whole_piece_done};
    volume_submit(volume, &piece.io);
    return sim_run_until(sim, whole_piece_is_done, &piece, 60 * RT_SECOND) &&
           piece.io.status == STATUS_OK;
}

/* false: a piece failed. */
static inline bool whole_volume(struct sim *sim, struct volume *volume, enum volume_op op,
                                uint8_t *memory, uint64_t size_bytes)
{
    for (uint64_t at = 0; at < size_bytes; at += WHOLE_PIECE_BYTES) {
        uint64_t bytes = min_of(size_bytes - at, (uint64_t)WHOLE_PIECE_BYTES);
        if (!whole_piece(sim, volume, op, at, memory + at, bytes)) return false;
    }
    return true;
}

#endif
