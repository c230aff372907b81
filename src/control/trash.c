/*
 * The trash: rows change, the engine's points stay.  Moving in and out is one transaction for all
 * that goes together, so a crash leaves everything on one side.  What went in together has the same
 * time, and comes back together.
 */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "control/control_int.h"

static void trashing_free(void *data)
{
    struct trashing *trashing = data;
    free(trashing->snapshots);
    free(trashing->disks);
    free(trashing->sets);
    free(trashing);
}

struct trashing *trash_begin(struct op *op, uint64_t trash_s)
{
    struct trashing *trashing = op_data(op, sizeof *trashing);
    op->data_free = trashing_free;
    trashing->trashed_ns = rt_wall(op->control->rt);
    trashing->expires_ns = clock_now(op->control) + trash_s * RT_SECOND;
    return trashing;
}

static struct trashing_snapshot *find_entry(const struct trashing *trashing,
                                            const struct snapshot *snapshot)
{
    for (unsigned i = 0; i < trashing->snapshot_count; i++) {
        if (trashing->snapshots[i].snapshot == snapshot) return &trashing->snapshots[i];
    }
    return NULL;
}

void trash_snapshot(struct trashing *trashing, struct snapshot *snapshot)
{
    if (snapshot->row.state == SNAPSHOT_TRASHED || find_entry(trashing, snapshot)) return;
    if (snapshot->row.state == SNAPSHOT_DELETING) return; /* no way back: it may be a disk by now */
    struct trashing_snapshot entry = {.snapshot = snapshot, .row = snapshot->row};
    entry.row.state = SNAPSHOT_TRASHED;
    entry.row.trashed_ns = trashing->trashed_ns;
    entry.row.expires_ns = trashing->expires_ns;
    entry.row.lun = -1; /* its number is free for others */
    array_push(trashing->snapshots, trashing->snapshot_count, entry);
}

void trash_disk(struct trashing *trashing, struct disk *disk)
{
    struct trashing_disk entry = {.disk = disk, .row = disk->row};
    entry.row.state = CATALOG_TRASHED;
    entry.row.trashed_ns = trashing->trashed_ns;
    entry.row.expires_ns = trashing->expires_ns;
    array_push(trashing->disks, trashing->disk_count, entry);
}

void untrash_snapshot(struct trashing *trashing, struct snapshot *snapshot)
{
    if (snapshot->row.state != SNAPSHOT_TRASHED || find_entry(trashing, snapshot)) return;
    struct trashing_snapshot entry = {.snapshot = snapshot, .row = snapshot->row};
    entry.row.state = SNAPSHOT_READY;
    entry.row.trashed_ns = entry.row.expires_ns = 0;
    array_push(trashing->snapshots, trashing->snapshot_count, entry);
}

void untrash_disk(struct trashing *trashing, struct disk *disk)
{
    struct trashing_disk entry = {.disk = disk, .row = disk->row};
    entry.row.state = CATALOG_READY;
    entry.row.trashed_ns = entry.row.expires_ns = 0;
    array_push(trashing->disks, trashing->disk_count, entry);
}

/* ---- Sets follow their members --------------------------------------------------------------- */

/* Not what is being deleted, or became a disk and could not be forgotten yet: a set that has only that
 * and the trash is in the trash. */
static bool lives(const struct trashing *trashing, const struct snapshot *snapshot)
{
    const struct trashing_snapshot *entry = find_entry(trashing, snapshot);
    enum catalog_snapshot_state state = entry ? entry->row.state : snapshot->row.state;
    return state != SNAPSHOT_TRASHED && state != SNAPSHOT_DELETING;
}

static struct err *follow(struct op *op, struct trashing *trashing, struct set *set)
{
    for (unsigned i = 0; i < trashing->set_count; i++) {
        if (trashing->sets[i].set == set) return NULL;
    }
    bool any = false;
    list_for_each (node, &set->members) {
        any = any || lives(trashing, list_entry(node, struct snapshot, member_link));
    }
    struct set_facts facts = {.now_ns = rt_now(op->control->rt)};
    struct set_decision decision;
    struct err *e =
        set_decide(set->row.state, any ? SET_EVENT_RESTORE : SET_EVENT_TRASH, &facts, &decision);
    if (e) return err_wrap(e, "set \"%s\"", set->row.name);
    if (decision.to == set->row.state) return NULL;
    struct trashing_set entry = {.set = set, .row = set->row};
    entry.row.state = decision.to;
    entry.event =
        (struct catalog_event){.set = set->row.uuid,
                               .sequence = min_of(set->event_count, (unsigned)SET_HISTORY_MAX - 1),
                               .state = decision.to,
                               .at_ns = rt_wall(op->control->rt)};
    array_push(trashing->sets, trashing->set_count, entry);
    return NULL;
}

struct err *trash_decide_sets(struct op *op, struct trashing *trashing)
{
    for (unsigned i = 0; i < trashing->snapshot_count; i++)
        TRY(follow(op, trashing, trashing->snapshots[i].snapshot->set));
    return NULL;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static struct err *write_rows(struct catalog *catalog, void *arg)
{
    const struct trashing *trashing = ((struct op *)arg)->data;
    for (unsigned i = 0; i < trashing->disk_count; i++)
        TRY(catalog_put_disk(catalog, &trashing->disks[i].row));
    for (unsigned i = 0; i < trashing->set_count; i++) {
        TRY(catalog_put_set(catalog, &trashing->sets[i].row));
        TRY(catalog_add_event(catalog, &trashing->sets[i].event));
    }
    for (unsigned i = 0; i < trashing->snapshot_count; i++)
        TRY(catalog_put_snapshot(catalog, &trashing->snapshots[i].row));
    return NULL;
}

static void step_write(struct op *op)
{
    struct err *e = trash_decide_sets(op, op->data);
    if (e)
        op_fail(op, e);
    else
        op_catalog_audited(op, write_rows);
}

static void step_apply(struct op *op)
{
    struct trashing *trashing = op->data;
    for (unsigned i = 0; i < trashing->disk_count; i++) {
        struct disk *disk = trashing->disks[i].disk;
        disk->row = trashing->disks[i].row;
        disk->object.past = disk->row.state == CATALOG_TRASHED;
    }
    for (unsigned i = 0; i < trashing->snapshot_count; i++) {
        struct snapshot *snapshot = trashing->snapshots[i].snapshot;
        snapshot->row = trashing->snapshots[i].row;
        snapshot->object.past = snapshot->row.state == SNAPSHOT_TRASHED;
    }
    for (unsigned i = 0; i < trashing->set_count; i++) {
        struct trashing_set *entry = &trashing->sets[i];
        memcpy(entry->set->row.name, entry->row.name, sizeof entry->row.name);
        set_enter(op->control, entry->set, entry->row.state, entry->event.at_ns);
        entry->set->changed = false;
    }
    op_next(op);
}

op_step *const trash_steps[] = {step_write, step_apply, NULL};
