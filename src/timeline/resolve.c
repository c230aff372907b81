/* resolve.c - pure: views and what they need. */
#include "timeline/resolve.h"

#include "base/check.h"
#include "pool/format.h"

/* The newest version in (low, high] with that stage; versions are newest first. */
static int newest_in(const struct version *versions, unsigned count, uint64_t low, uint64_t high,
                     uint8_t stage)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t g = version_generation(&versions[i]);
        if (g > high || versions[i].stage != stage) continue;
        return g > low || stage != 0 ? (int)i : RESOLVE_NONE;
    }
    return RESOLVE_NONE;
}

int view_resolve(const struct version *versions, unsigned count, const struct view *view)
{
    uint64_t generation = view->generation;
    unsigned record = view->record_count;
    for (;;) {
        while (record > 0 && view->records[record - 1].c > generation)
            record--;
        if (record == 0) {
            /* Generation 0 does not exist: [..g] is (0, g]. */
            return newest_in(versions, count, 0, generation, 0);
        }
        const struct view_record *r = &view->records[record - 1];
        int found = newest_in(versions, count, r->c, generation, 0);
        if (found == RESOLVE_NONE && r->stage != 0)
            found = newest_in(versions, count, 0, FORMAT_LIVE, r->stage);
        if (found != RESOLVE_NONE) return found;
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

static void mark_view(const struct version *versions, unsigned count,
                      const struct retained *retained, uint64_t generation, bool *needed)
{
    struct view view = {.generation = generation,
                        .records = retained->records,
                        .record_count = retained->record_count};
    int i = view_resolve(versions, count, &view);
    if (i != RESOLVE_NONE) needed[i] = true;
}

void reclaim_needed(const struct version *versions, unsigned count, const struct retained *retained,
                    bool *ret_needed)
{
    uint64_t newer = FORMAT_LIVE;
    for (unsigned i = 0; i < count; i++)
        ret_needed[i] = false;
    if (retained->record_count > 0) {
        if (retained->live) mark_view(versions, count, retained, FORMAT_LIVE, ret_needed);
        for (unsigned p = 0; p < retained->count; p++)
            mark_view(versions, count, retained, retained->generations[p], ret_needed);
    } else {
        for (unsigned i = 0; i < count; i++) {
            uint64_t g = version_generation(&versions[i]);
            ret_needed[i] = (i == 0 && retained->live) || retained_between(retained, g, newer);
            newer = g;
        }
    }
    if (retained->falls_through) return;
    bool below = false;
    for (unsigned i = count; i-- > 0;) {
        if ((versions[i].flags & VERSION_HOLE) && !below) ret_needed[i] = false; /* E21 */
        below = below || ret_needed[i];
    }
}
