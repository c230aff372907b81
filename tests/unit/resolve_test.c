/*
 * The pure rules of views (resolve.h) against a model that copies: every short history of one
 * block, with reverts and replaces nested in each other, undone, and cleared away.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/limits.h"
#include "pool/format.h"
#include "tests/lib/tap.h"
#include "timeline/resolve.h"

enum { MOST = 16, ZERO = 0, FALLS = -1, NOTHING = -2 };

/* One block's history beside what each view must hold: the generation that was written, ZERO or
 * FALLS. */
struct history {
    struct version versions[MOST]; /* newest first */
    struct view_record records[MOST];
    uint64_t points[MOST];
    int point_values[MOST], live_value;
    unsigned version_count, record_count, point_count;
    uint64_t now;
    bool falls_through;
    uint64_t open_stage; /* a replace is under way; 0 = none */
    int staged_value;    /* what it has staged of this block, or NOTHING */
};

static unsigned long histories;

static struct retained retained_of(const struct history *h)
{
    return (struct retained){.generations = h->points,
                             .count = h->point_count,
                             .live = true,
                             .falls_through = h->falls_through,
                             .records = h->records,
                             .record_count = h->record_count,
                             .open_stage = h->open_stage};
}

static int empty_value(const struct history *h)
{
    return h->falls_through ? FALLS : ZERO;
}

static int value_at(const struct history *h, uint64_t generation)
{
    struct view view = {
        .generation = generation, .records = h->records, .record_count = h->record_count};
    int i = view_resolve(h->versions, h->version_count, &view);
    if (i == RESOLVE_NONE) return empty_value(h);
    if (i == RESOLVE_ZERO) return ZERO;
    return h->versions[i].flags & VERSION_HOLE ? ZERO : (int)version_generation(&h->versions[i]);
}

static bool views_are_right(const struct history *h)
{
    bool ok = value_at(h, FORMAT_LIVE) == h->live_value;
    for (unsigned i = 0; i < h->point_count; i++)
        ok = ok && value_at(h, h->points[i]) == h->point_values[i];
    return ok;
}

/* How many different data versions the views hold. */
static unsigned values_held(const struct history *h)
{
    unsigned count = h->live_value > 0;
    for (unsigned i = 0; i < h->point_count; i++) {
        bool is_new = h->point_values[i] > 0 && h->point_values[i] != h->live_value;
        for (unsigned j = 0; j < i; j++)
            is_new = is_new && h->point_values[j] != h->point_values[i];
        count += is_new;
    }
    return count;
}

static bool write_is_judged_right(struct history *h)
{
    struct retained retained = retained_of(h);
    const struct version *v = live_version(h->versions, h->version_count, &retained);
    if (!v) return h->live_value == empty_value(h) || h->live_value == ZERO;
    int value = v->flags & VERSION_HOLE ? ZERO : (int)version_generation(v);
    if (value != h->live_value) return false;
    if (value == ZERO) return true;
    bool held = false;
    for (unsigned i = 0; i < h->point_count; i++)
        held = held || h->point_values[i] == value;
    return held == points_need(h->versions, h->version_count, v, &retained);
}

static int insert(struct history *h, unsigned flags)
{
    for (unsigned i = h->version_count++; i > 0; i--)
        h->versions[i] = h->versions[i - 1];
    h->versions[0] = (struct version){.flags = (uint8_t)flags};
    version_set(&h->versions[0], ++h->now, flags & VERSION_HOLE ? 0 : 1);
    return flags & VERSION_HOLE ? ZERO : (int)h->now;
}

static void put(struct history *h, bool is_hole)
{
    h->live_value = insert(h, is_hole ? VERSION_HOLE : 0);
}

static void cut(struct history *h)
{
    h->points[h->point_count] = ++h->now;
    h->point_values[h->point_count++] = h->live_value;
}

static void revert(struct history *h, unsigned point)
{
    uint64_t p = h->points[point];
    int value = h->point_values[point];
    cut(h); /* the undo point */
    h->records[h->record_count++] = (struct view_record){.c = ++h->now, .p = p};
    h->live_value = value;
}

/* The next step of a replace: it begins; it stages the block once; it is given up. */
static void stage(struct history *h, bool is_hole)
{
    if (!h->open_stage) {
        h->open_stage = ++h->now;
        h->staged_value = NOTHING;
    } else if (h->staged_value == NOTHING) {
        h->staged_value = insert(h, VERSION_STAGED | (is_hole ? VERSION_HOLE : 0));
    } else {
        h->open_stage = 0;
    }
}

/* And its end: over a point that was there when it began, or over nothing. */
static void flip(struct history *h, unsigned point)
{
    uint64_t base = 0;
    int value = ZERO;
    if (!h->open_stage) return;
    if (point < h->point_count && h->points[point] <= h->open_stage) {
        base = h->points[point];
        value = h->point_values[point];
    }
    cut(h); /* the undo point */
    h->records[h->record_count++] =
        (struct view_record){.c = ++h->now, .p = base, .s = h->open_stage};
    h->live_value = h->staged_value == NOTHING ? value : h->staged_value;
    h->open_stage = 0;
}

static void drop(struct history *h, unsigned point)
{
    for (unsigned i = point + 1; i < h->point_count; i++) {
        h->points[i - 1] = h->points[i];
        h->point_values[i - 1] = h->point_values[i];
    }
    h->point_count--;
    struct retained retained = retained_of(h);
    h->record_count = records_drop_unreachable(h->records, h->record_count, &retained);
}

/* A lap of the sweep and its end; true when what is left is exactly what is held. */
static bool sweep(struct history *h)
{
    struct retained retained = retained_of(h);
    bool needed[MOST], dead[MOST];
    unsigned kept = 0, data = 0;
    reclaim_needed(h->versions, h->version_count, &retained, needed);
    for (unsigned i = 0; i < h->version_count; i++) {
        if (!needed[i]) continue;
        bool is_open = h->open_stage && version_generation(&h->versions[i]) > h->open_stage &&
                       (h->versions[i].flags & VERSION_STAGED);
        data += !(h->versions[i].flags & VERSION_HOLE) && !is_open;
        h->versions[kept++] = h->versions[i];
    }
    h->version_count = kept;
    for (unsigned i = 0; i < h->record_count; i++)
        dead[i] = record_is_dead(&h->records[i], &retained);
    kept = 0;
    for (unsigned i = 0; i < h->record_count; i++)
        if (!dead[i]) h->records[kept++] = h->records[i];
    h->record_count = kept;
    return data == values_held(h);
}

/* All ways to go on for `left` steps; false at the first that is wrong. */
static bool go_on(const struct history *from, unsigned left)
{
    struct history h;
    histories++;
    if (left == 0) return true;
    for (unsigned way = 0; way < 13; way++) {
        h = *from;
        unsigned newest = h.point_count - 1;
        if (way >= 4 && way <= 8 && h.point_count == 0) continue;
        if ((way == 5 || way == 8) && newest == 0) continue;
        if (way >= 11 && !h.open_stage) continue;
        bool ok = true;
        switch (way) {
        case 0:
            put(&h, false);
            break;
        case 1:
            put(&h, true);
            break;
        case 2:
            cut(&h);
            break;
        case 3:
            ok = sweep(&h);
            break;
        case 4:
            revert(&h, 0);
            break;
        case 5:
            revert(&h, newest);
            break;
        case 6:
            revert(&h, newest / 2);
            break;
        case 7:
            drop(&h, 0);
            break;
        case 9:
            stage(&h, false);
            break;
        case 10:
            stage(&h, true);
            break;
        case 11:
            flip(&h, 0);
            break;
        case 12:
            flip(&h, MOST);
            break;
        default:
            drop(&h, newest);
            break;
        }
        if (!ok || !views_are_right(&h) || !write_is_judged_right(&h)) return false;
        if (!go_on(&h, left - 1)) return false;
    }
    return true;
}

static void every_short_history_reads_right_and_keeps_no_more(void)
{
    struct history h = {.live_value = ZERO};
    expect(go_on(&h, 6));
    h = (struct history){.live_value = FALLS, .falls_through = true};
    expect(go_on(&h, 6));
    printf("# %lu histories\n", histories);
}

/* One step of a long history; what needs room is left out when there is none. */
static bool drawn_step(struct history *h, uint64_t choice)
{
    bool room =
        h->point_count < MOST - 1 && h->version_count < MOST && h->record_count < MOST;
    unsigned point = h->point_count ? (unsigned)(choice >> 20) % h->point_count : 0;
    switch (choice % (room ? 14 : 4)) {
    case 0:
    case 1:
        return sweep(h);
    case 2:
    case 3:
        if (h->point_count) drop(h, point);
        break;
    case 4:
        put(h, true);
        break;
    case 5:
    case 6:
        put(h, false);
        break;
    case 7:
        cut(h);
        break;
    case 10:
    case 11:
        stage(h, choice % 2);
        break;
    case 12:
        flip(h, MOST);
        break;
    case 13:
        flip(h, point);
        break;
    default:
        if (h->point_count) revert(h, point);
        break;
    }
    return true;
}

/* Longer ones, drawn. */
static void long_histories_read_right(void)
{
    uint64_t state = 88172645463325252ull;
    for (unsigned run = 0; run < 200000; run++) {
        struct history h = {.live_value = run % 2 ? FALLS : ZERO, .falls_through = run % 2};
        for (unsigned step = 0; step < 40; step++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bool ok = drawn_step(&h, state >> 20);
            require(ok && views_are_right(&h) && write_is_judged_right(&h));
        }
        while (h.point_count)
            drop(&h, h.point_count / 2);
        h.open_stage = 0;
        require(sweep(&h) && sweep(&h) && views_are_right(&h));
        /* What has a stage, or hides everything, stays while the live view is over it. */
        for (unsigned i = 0; i < h.record_count; i++)
            require(h.records[i].s != 0 || h.records[i].p == 0);
    }
}

static void undo_of_an_undo_brings_back_what_was_undone(void)
{
    struct history h = {.live_value = ZERO};
    put(&h, false); /* 1 */
    cut(&h);
    put(&h, false); /* 3 */
    revert(&h, 0);
    expect_eq(value_at(&h, FORMAT_LIVE), 1);
    revert(&h, 1);
    expect_eq(value_at(&h, FORMAT_LIVE), 3);
    revert(&h, 2);
    expect_eq(value_at(&h, FORMAT_LIVE), 1);
}

int main(void)
{
    run(every_short_history_reads_right_and_keeps_no_more);
    run(long_histories_read_right);
    run(undo_of_an_undo_brings_back_what_was_undone);
    return tap_done();
}
