/*
 * model.h - the trivial reference that the engine is held against: which write may be seen where.
 *
 * Words: a WRITE is one request that changes content (write, zero, unmap, compare-write), numbered
 * from 1; number 0 is "never written".  Each sector written carries (nonce, disk, sector, write),
 * so that a reader can name what it found.  TICKS count submissions and completions: A came before
 * B for certain if A completed at an earlier tick than B was submitted at; otherwise either order
 * is allowed.  A CELL is what is known of one sector: a chain of writes, newest submission first,
 * that ends in an exact value.  A VIEW is an array of cells: a disk, or a point (a copy of the
 * cells at the cut).
 *
 * The rule that everything is checked by: a state holds a PREFIX of the engine's order of writes
 * over all disks.  FLOOR is a tick: writes that completed before it are in the prefix.  A value is
 * allowed unless a write in the prefix is certain to have come after it.  A write that is found
 * raises the floor to its own submission: what had completed by then must be there too, on every
 * disk (dependent writes).
 *
 * Ownership: the model owns writes and chains; views belong to the caller.  Threads: one.
 * Failures: checks return false and leave a sentence in model_problem().
 */
#ifndef TARN_TESTS_MODEL_H
#define TARN_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/limits.h"

/* Each sector written begins with it. */
#define MODEL_STAMP_MAGIC ((uint64_t)0x3a504d4154536e72)

struct model;

struct model_view {
    uint32_t sector_count;
    uint32_t *cells; /* private */
};

/* What must be, and what counts as certain. */
struct model_bound {
    uint32_t floor;
    bool count_durable; /* a completed FUA write is in the prefix (after a crash) */
    bool count_seen;    /* a write whose content a read returned is in the prefix (not after power
                           loss) */
};

struct model *model_create(uint64_t nonce);
void model_destroy(struct model *model);
uint32_t model_tick(struct model *model); /* a new tick */
uint32_t model_now(const struct model *model);
const char *model_problem(const struct model *model);
uint32_t model_write_count(const struct model *model);

void model_view_init(struct model_view *view, uint32_t sector_count);
void model_view_fini(struct model_view *view);
void model_view_copy(const struct model_view *from, struct model_view *to); /* to: uninitialised */
void model_view_grow(struct model_view *view, uint32_t sector_count);
bool model_view_is_exact(const struct model_view *view);

/* A write is submitted now.  horizon: no state older than what floor = horizon allows will ever be
 * asked for again (chains are cut there).  zero: reads as zeroes.  atomic: all of its blocks or
 * none. */
struct model_write_options {
    uint32_t disk, sector, sector_count, horizon;
    bool zero, atomic;
};
uint32_t model_write_submit(struct model *model, struct model_view *view,
                            const struct model_write_options *options);
/* A revert to an exact view is a write over all of it, with the content that the point's sectors
 * have. */
uint32_t model_revert_submit(struct model *model, struct model_view *view,
                             const struct model_view *point, uint32_t disk, uint32_t horizon);
void model_write_done(struct model *model, uint32_t write, bool ok);
/* The write was refused: it is in no state from now on (views copied meanwhile still allow it). */
void model_write_void(struct model *model, struct model_view *view, uint32_t write);
void model_write_durable(struct model *model, uint32_t write);
/* It was perhaps carried out after a loss of power, by a job that went on: finding it does not prove
 * that what had completed before its submission is there. */
void model_write_proves_nothing(struct model *model, uint32_t write);
uint32_t model_write_submitted_at(const struct model *model, uint32_t write);
/* The bytes of the sectors of a write; first = the first sector of the disk to fill in. */
void model_fill(const struct model *model, uint32_t write, uint32_t first, uint32_t sector_count,
                uint8_t *to);

/* The one value of a cell, if it is certain: write number, 0 when it reads as zeroes. */
bool model_cell_certain(const struct model *model, const struct model_view *view, uint32_t sector,
                        uint32_t *ret_write);
/* Could this sector differ from the given content under the bound? */
bool model_cell_may_differ(const struct model *model, const struct model_view *view,
                           uint32_t sector, const struct model_bound *bound,
                           const uint8_t *content);

/* May this sector read as zeroes under the bound? */
bool model_cell_may_be_zero(const struct model *model, const struct model_view *view,
                            uint32_t sector, const struct model_bound *bound);

/* A read of a changing view returned data: every sector must be allowed and no block torn; what was
 * seen is remembered. */
bool model_check_read(struct model *model, struct model_view *view, uint32_t sector,
                      uint32_t sector_count, const uint8_t *data, const struct model_bound *bound);

/* Joint check of complete views that were frozen at one instant: raises bound->floor to what they
 * prove. On success the views are exact: they hold what was found and nothing else. */
struct model_frozen {
    struct model_view *view;
    const uint8_t *data; /* sector_count sectors */
};
bool model_resolve(struct model *model, const struct model_frozen *frozen, unsigned count,
                   struct model_bound *bound);

/* At rest, exact views: how many 4K blocks with content the views hold, blocks equal at the same
 * place of the same lineage counted once. */
uint64_t model_block_count(const struct model_view *const *views, unsigned count);

/* "write 12 to disk 3, sectors 8+16, ticks 40 to 52" */
const char *model_describe(const struct model *model, uint32_t write, char *text, size_t size);

#endif
