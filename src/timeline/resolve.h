/*
 * resolve.h - pure functions over the versions of one block: which version does a view see, and
 * which versions does any view need.  Nothing here does I/O or allocates;
 * tests/unit/timeline_test.c.
 *
 * Words: versions are given newest first.  A view is (generation, records); RECORDS are the reverts
 * and replaces of the disk in order of c (E19): after a record {c, p, s} the disk is what it was at
 * p, with its STAGE over it, and then what was written after c. A stage is the staged versions that
 * were born in (s, c); s = 0: none. p = 0: nothing at all, not even the parent's blocks. Limits:
 * generations have 48 bits; FORMAT_LIVE is the live view.
 */
#ifndef TARN_TIMELINE_RESOLVE_H
#define TARN_TIMELINE_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

/* One version of one block, packed: a leaf holds thousands. */
struct version {
    uint32_t generation_low, phys_low, crc;
    uint16_t generation_high, phys_high;
    uint16_t block; /* within the leaf */
    uint8_t flags;
    uint8_t unused;
};
enum version_flags {
    VERSION_HOLE = 1 << 0,     /* reads zero; holds no block */
    VERSION_REMOVING = 1 << 1, /* in memory only: a closed batch names its removal */
    VERSION_STAGED = 1 << 2,   /* seen through the record whose stage it is in, only (E19) */
};

static inline uint64_t version_generation(const struct version *v)
{
    return (uint64_t)v->generation_high << 32 | v->generation_low;
}
static inline uint64_t version_phys(const struct version *v)
{
    return (uint64_t)v->phys_high << 32 | v->phys_low;
}
static inline void version_set(struct version *v, uint64_t generation, uint64_t phys)
{
    v->generation_low = (uint32_t)generation;
    v->generation_high = (uint16_t)(generation >> 32);
    v->phys_low = (uint32_t)phys;
    v->phys_high = (uint16_t)(phys >> 32);
}

struct view_record {
    uint64_t c, p; /* c: its own generation; p: the generation it went back to; 0 = nothing */
    uint64_t s;    /* its stage was born in (s, c); 0 = it has none; else p <= s < c */
};

struct view {
    uint64_t generation;
    const struct view_record *records; /* rising c */
    unsigned record_count;
};

enum {
    RESOLVE_NONE = -1, /* nothing: falls through (or zero) */
    RESOLVE_ZERO = -2, /* zero: a record with p = 0 hides the parent */
};

/* Index of the version that the view sees, or one of the above. */
int view_resolve(const struct version *versions, unsigned count, const struct view *view);

/* What keeps versions: the generations of points (rising), and the live view unless the disk is
 * deleted. */
struct retained {
    const uint64_t *generations;
    unsigned count;
    bool live;
    bool falls_through; /* a branch: HOLEs hide the parent (E20) */
    const struct view_record *records;
    unsigned record_count;
    uint64_t open_stage; /* staged versions born after it are kept for a record to come; 0 = none */
};

/* Sets needed[i] for each version: true iff a retained view resolves to it (E21); a HOLE with
 * nothing needed below it is not needed where nothing falls through. */
void reclaim_needed(const struct version *versions, unsigned count, const struct retained *retained,
                    bool *ret_needed);
/* Is there a point in [from, to)? */
bool retained_between(const struct retained *retained, uint64_t from, uint64_t to);

/* What the live view sees of a block, as if the versions being removed were gone; NULL: nothing. */
struct version *live_version(struct version *versions, unsigned count,
                             const struct retained *retained);
/* Does a point see this version, which is live_version()? */
bool points_need(const struct version *versions, unsigned count, const struct version *version,
                 const struct retained *retained);

/* Does a view of a branch find nothing here and read its parent (E20)? */
bool views_fall_through(const struct version *versions, unsigned count,
                        const struct retained *retained);

/* ---- When a record may go -------------------------------------------------------------------- */

/* Drops the records that no view's walk comes by; returns how many are left (in order). */
unsigned records_drop_unreachable(struct view_record *records, unsigned count,
                                  const struct retained *retained);
/* Among reachable records: is nothing of (p, c) seen by any view?  Then every version in it is
 * unneeded, and when they are gone the record says nothing any more.  One with a stage, or that
 * hides everything, always says something. */
bool record_is_dead(const struct view_record *record, const struct retained *retained);

#endif
