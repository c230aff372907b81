/*
 * A pool that is nearly full gives back what is expendable, in this order (E28): what has expired
 * and what is left of aborted sets, undo points, (histories of continuous data protection, once
 * there are any), the trash but for what is kept until a time.  One thing at a time, the next one
 * only when the space of the last has come back; and each is an event before it goes.  A named
 * snapshot never goes.  When nothing is left, prepare refuses and writes fail.
 */
#include <stdio.h>

#include "base/log.h"
#include "control/control_int.h"

/* Below this share of the pool free: more than prepare wants (set_draft.c), so that shadow copies
 * go on. */
#define ROOM_SHARE 20

/* What goes next; one of them. */
struct expendable {
    struct set *aborted; /* whose points could not be deleted then */
    struct undo *undo;
    struct snapshot *snapshot; /* in the trash */
    struct disk *disk;         /* in the trash */
};

static bool is_short(const struct pool *pool, struct volume_pool_usage *ret_usage)
{
    if (!pool_is_writable(pool)) return false;
    volume_pool_usage(pool->engine, ret_usage);
    /* What was freed and is not yet reusable is there when a write asks for it (E28). */
    return ret_usage->free_bytes + ret_usage->reclaiming_bytes <
           ret_usage->capacity_bytes / ROOM_SHARE;
}

/* One that cannot go (somebody reads it) does not stand before all others for ever. */
#define REST_AGAIN_NS (60 * RT_SECOND)

static struct set *aborted_rest(struct control *control, const struct pool *pool)
{
    uint64_t now_ns = rt_now(control->rt);
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk->pool == pool && s->set->row.state == SET_ABORTED && !s->set->lane.busy &&
            s->set->rest_after_ns <= now_ns) {
            return s->set;
        }
    }
    return NULL;
}

/* The one that would have gone first anyway. */
static struct undo *first_undo(struct control *control, const struct pool *pool)
{
    struct undo *first = NULL;
    list_for_each (node, &control->disks) {
        struct disk *disk =
            container_of(list_entry(node, struct object, link), struct disk, object);
        if (disk->pool != pool) continue;
        list_for_each (undo_node, &disk->undos) {
            struct undo *undo =
                container_of(list_entry(undo_node, struct object, link), struct undo, object);
            if (undo->row.state != SNAPSHOT_READY || job_keeps_undo(control, &undo->row.uuid)) continue;
            if (!first || undo->row.expires_ns < first->row.expires_ns) first = undo;
        }
    }
    return first;
}

static bool snapshot_can_go(struct control *control, const struct snapshot *s)
{
    return s->row.state == SNAPSHOT_TRASHED && !s->set->lane.busy && !s->job &&
           s->row.retain_until_ns <= clock_now(control);
}

/* As trash_doom_disk finds it: an event that is told and then nothing would be told every second.
 */
static bool disk_can_go(struct control *control, const struct disk *disk)
{
    if (disk->row.state != CATALOG_TRASHED || disk->job) return false;
    list_for_each (node, &control->snapshots) {
        const struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk == disk && !snapshot_can_go(control, s)) return false;
    }
    return true;
}

static void first_trashed(struct control *control, const struct pool *pool, struct expendable *what)
{
    uint64_t first_ns = UINT64_MAX;
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk->pool != pool || !snapshot_can_go(control, s)) continue;
        if (s->row.expires_ns >= first_ns) continue;
        first_ns = s->row.expires_ns;
        what->snapshot = s;
    }
    list_for_each (node, &control->disks) {
        struct disk *d = container_of(list_entry(node, struct object, link), struct disk, object);
        if (d->pool != pool || d->row.expires_ns >= first_ns) continue; /* its snapshots go first */
        if (!disk_can_go(control, d)) continue;
        first_ns = d->row.expires_ns;
        *what = (struct expendable){.disk = d};
    }
}

static bool find_expendable(struct control *control, const struct pool *pool,
                            struct expendable *ret_what)
{
    *ret_what = (struct expendable){.aborted = aborted_rest(control, pool)};
    if (ret_what->aborted) return true;
    ret_what->undo = first_undo(control, pool);
    if (!ret_what->undo) first_trashed(control, pool, ret_what);
    return ret_what->undo || ret_what->snapshot || ret_what->disk;
}

/* ---- Giving it back -------------------------------------------------------------------------- */

static void doom_it(struct op *op, struct doomed *doomed, const struct expendable *what,
                    const struct pool *pool)
{
    struct control *control = op->control;
    if (what->aborted) {
        what->aborted->rest_after_ns = rt_now(control->rt) + REST_AGAIN_NS;
        op_take_set(op, what->aborted);
        doom_set(doomed, what->aborted);
    } else if (what->undo) {
        event_note(control, LEVEL_WARNING, "undo", what->undo->disk->row.name,
                   "pool \"%s\" is nearly full: undo point \"%s\" goes before its time",
                   pool->row.name, what->undo->row.name);
        doom_undo(doomed, what->undo);
    } else if (what->snapshot) {
        event_note(
            control, LEVEL_WARNING, "trash", what->snapshot->row.name,
            "pool \"%s\" is nearly full: this snapshot of disk \"%s\" leaves the trash before"
            " its time",
            pool->row.name, what->snapshot->disk->row.name);
        trash_doom_snapshot(op, doomed, what->snapshot);
    } else {
        event_note(control, LEVEL_WARNING, "trash", what->disk->row.name,
                   "pool \"%s\" is nearly full: this disk leaves the trash before its time",
                   pool->row.name);
        (void)trash_doom_disk(op, doomed, what->disk);
    }
}

static struct pool *find_short(struct control *control, struct expendable *ret_what)
{
    list_for_each (node, &control->pools) {
        struct pool *pool =
            container_of(list_entry(node, struct object, link), struct pool, object);
        struct volume_pool_usage usage = {0};
        if (!is_short(pool, &usage)) {
            pool->out_of_room = false;
            continue;
        }
        if (usage.reclaim_pending) continue; /* some is on its way */
        if (find_expendable(control, pool, ret_what)) return pool;
        if (pool->out_of_room) continue;
        pool->out_of_room = true;
        char text[TEXT_SIZE_MAX];
        event_note(control, LEVEL_ALERT, "pool", pool->row.name,
                   "%s free, and nothing is left that could be given back: new snapshots will be"
                   " refused, then writes will fail; delete snapshots or disks with --now",
                   text_format_size(usage.free_bytes, text));
    }
    return NULL;
}

static void step_room(struct op *op)
{
    struct expendable what;
    struct doomed *doomed = doom_begin(op);
    const struct pool *pool =
        find_short(op->control, &what); /* again: the lane may have been long */
    if (pool) doom_it(op, doomed, &what, pool);
    doom_run(op);
}

static void made_room(struct op *op)
{
    op->control->tidying = false;
    if (op->error) log_failure("a pool that is nearly full could give nothing back", op->error);
}

void room_tick(struct control *control)
{
    static op_step *const steps[] = {step_room, NULL};
    static const struct op_plan plan = {.verb = "room", .lane = OP_LANE_GENERAL, .steps = steps};
    struct expendable what;
    if (control->tidying || !find_short(control, &what)) return;
    control->tidying = true;
    op_start_internal(control, &plan, NULL, made_room, NULL);
}
