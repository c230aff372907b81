/* resolve.c - pure: views and what they need. */
#include "timeline/resolve.h"

#include <stddef.h>

#include "base/check.h"
#include "pool/format.h"
#include "timeline/mutation.h"

/* The newest version in (low, high] that is staged or is not; versions are newest first. */
static int newest_in(const struct version *versions, unsigned count, uint64_t low, uint64_t high,
                     unsigned staged)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t g = version_generation(&versions[i]);
        if (g <= low) return RESOLVE_NONE;
        if (g > high) continue;
        if ((versions[i].flags & VERSION_STAGED) == staged || mutation_is(MUTATION_STAGE_IS_SEEN))
            return (int)i;
    }
    return RESOLVE_NONE;
}

/* How many of the first `count` records have c <= generation. */
static unsigned records_until(const struct view_record *records, unsigned count,
                              uint64_t generation)
{
    unsigned low = 0, high = count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (records[middle].c <= generation)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int view_resolve(const struct version *versions, unsigned count, const struct view *view)
{
    uint64_t generation = view->generation;
    unsigned record = view->record_count;
    for (;;) {
        record = records_until(view->records, record, generation);
        if (record == 0) {
            /* Generation 0 does not exist: [..g] is (0, g]. */
            return newest_in(versions, count, 0, generation, 0);
        }
        const struct view_record *r = &view->records[record - 1];
        int found = newest_in(versions, count, r->c, generation, 0);
        if (found == RESOLVE_NONE && r->s != 0)
            found = newest_in(versions, count, mutation_is(MUTATION_STAGE_OF_ANYBODY) ? 0 : r->s,
                              r->c - 1, VERSION_STAGED);
        if (found != RESOLVE_NONE) return found;
        if (r->p == 0) return RESOLVE_ZERO;
        check(r->p < r->c); /* E19: the walk goes back in time, so it ends */
        generation = r->p;
    }
}

bool retained_between(const struct retained *retained, uint64_t from, uint64_t to)
{
    unsigned low = 0, high = retained->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (retained->generations[middle] < from)
            low = middle + 1;
        else
            high = middle;
    }
    return low < retained->count && retained->generations[low] < to;
}

static int resolve_at(const struct version *versions, unsigned count,
                      const struct retained *retained, uint64_t generation)
{
    struct view view = {.generation = generation,
                        .records = retained->records,
                        .record_count = retained->record_count};
    return view_resolve(versions, count, &view);
}

/* Walks back in time: from one birth or record to the next all points see the same. */
struct walk {
    const struct version *versions;
    unsigned count, version, record; /* the next ones, going back */
    uint64_t high;
};

static struct walk walk_begin(const struct version *versions, unsigned count,
                              const struct retained *retained)
{
    return (struct walk){.versions = versions,
                         .count = count,
                         .record = retained->record_count,
                         .high = FORMAT_LIVE};
}

/* The next stretch with a point in it: *ret_index is what they see; false: there is none left. */
static bool walk_next(struct walk *walk, const struct retained *retained, int *ret_index)
{
    while (walk->version < walk->count || walk->record > 0) {
        uint64_t born =
            walk->version < walk->count ? version_generation(&walk->versions[walk->version]) : 0;
        uint64_t turn = walk->record > 0 ? retained->records[walk->record - 1].c : 0;
        uint64_t low = born > turn ? born : turn, high = walk->high;
        if (born == low) walk->version++;
        if (turn == low) walk->record--;
        walk->high = low;
        if (!retained_between(retained, low, high)) continue;
        *ret_index = resolve_at(walk->versions, walk->count, retained, low);
        return true;
    }
    return false;
}

static void mark_views(const struct version *versions, unsigned count,
                       const struct retained *retained, bool *needed)
{
    struct walk walk = walk_begin(versions, count, retained);
    int i = retained->live ? resolve_at(versions, count, retained, FORMAT_LIVE) : RESOLVE_NONE;
    if (i >= 0) needed[i] = true;
    while (walk_next(&walk, retained, &i))
        if (i >= 0) needed[i] = true;
}

bool views_fall_through(const struct version *versions, unsigned count,
                        const struct retained *retained)
{
    struct walk walk = walk_begin(versions, count, retained);
    if (retained->live && resolve_at(versions, count, retained, FORMAT_LIVE) == RESOLVE_NONE)
        return true;
    for (int i; walk_next(&walk, retained, &i);)
        if (i == RESOLVE_NONE) return true;
    return retained_between(retained, 0, walk.high); /* older than all that is here */
}

struct version *live_version(struct version *versions, unsigned count,
                             const struct retained *retained)
{
    if (retained->record_count > 0) {
        int i = resolve_at(versions, count, retained, FORMAT_LIVE);
        /* One that is being removed is a hole with nothing below it. */
        return i < 0 || (versions[i].flags & VERSION_REMOVING) ? NULL : &versions[i];
    }
    for (unsigned i = 0; i < count; i++)
        if (!(versions[i].flags & (VERSION_REMOVING | VERSION_STAGED))) return &versions[i];
    return NULL;
}

bool points_need(const struct version *versions, unsigned count, const struct version *version,
                 const struct retained *retained)
{
    if (!retained_between(retained, version_generation(version), FORMAT_LIVE)) return false;
    if (retained->record_count == 0) return true; /* nothing is newer */
    struct walk walk = walk_begin(versions, count, retained);
    for (int i; walk_next(&walk, retained, &i);)
        if (i >= 0 && &versions[i] == version) return true;
    return false;
}

/* What is being staged will be seen; what is left of a stage that was given up never is. */
static void mark_open_stage(const struct version *versions, unsigned count,
                            const struct retained *retained, bool *needed)
{
    if (retained->open_stage == 0 || mutation_is(MUTATION_SWEEP_OPEN_STAGE)) return;
    for (unsigned i = 0; i < count; i++)
        if ((versions[i].flags & VERSION_STAGED) &&
            version_generation(&versions[i]) > retained->open_stage)
            needed[i] = true;
}

void reclaim_needed(const struct version *versions, unsigned count, const struct retained *retained,
                    bool *ret_needed)
{
    uint64_t newer = FORMAT_LIVE;
    for (unsigned i = 0; i < count; i++)
        ret_needed[i] = false;
    if (retained->record_count > 0) {
        mark_views(versions, count, retained, ret_needed);
    } else {
        for (unsigned i = 0; i < count; i++) {
            uint64_t g = version_generation(&versions[i]);
            if (versions[i].flags & VERSION_STAGED) continue;
            ret_needed[i] = (newer == FORMAT_LIVE && retained->live) ||
                            retained_between(retained, g, newer);
            newer = g;
        }
    }
    mark_open_stage(versions, count, retained, ret_needed);
    if (retained->falls_through) return;
    bool below = false;
    for (unsigned i = count; i-- > 0;) {
        if ((versions[i].flags & VERSION_HOLE) && !below) ret_needed[i] = false; /* E21 */
        below = below || ret_needed[i];
    }
}

/* ---- When a record may go -------------------------------------------------------------------- */

/* Is there a view that begins in [from, to): a point, or the live one? */
static bool begins_in(const struct retained *retained, uint64_t from, uint64_t to)
{
    return (retained->live && to == FORMAT_LIVE) || retained_between(retained, from, to);
}

/* From the newest: a walk comes by record i if a view begins between it and the next one, or if a
 * record that a walk comes by goes back to there. */
unsigned records_drop_unreachable(struct view_record *records, unsigned count,
                                  const struct retained *retained)
{
    unsigned kept = count; /* records[kept..count) are reachable */
    uint64_t next = FORMAT_LIVE;
    for (unsigned i = count; i-- > 0;) {
        bool reachable = begins_in(retained, records[i].c, next);
        for (unsigned j = kept; j < count && !reachable; j++)
            reachable = records[j].p >= records[i].c && records[j].p < next;
        next = records[i].c;
        if (reachable) records[--kept] = records[i];
    }
    for (unsigned i = kept; i < count && kept > 0; i++)
        records[i - kept] = records[i];
    return count - kept;
}

bool record_is_dead(const struct view_record *record, const struct retained *retained)
{
    if (record->s != 0 || record->p == 0) return false;
    if (retained_between(retained, record->p + 1, record->c)) return false;
    for (unsigned i = 0; i < retained->record_count; i++)
        if (retained->records[i].p > record->p && retained->records[i].p < record->c) return false;
    return true;
}
