/*
 * Deleting snapshots, whole sets and disks.  First the rows say so (deleting), then the engine
 * deletes, then the rows go.  A crash between leaves rows that say "deleting", and the next start
 * goes on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "control/control_int.h"

void doomed_fini(struct doomed *doomed)
{
    free(doomed->snapshots);
    free(doomed->sets);
    free(doomed->disks);
    free(doomed->undos);
    free(doomed->snapshot_rows);
    free(doomed->set_rows);
    free(doomed->disk_rows);
    free(doomed->undo_rows);
}

void doom_free(void *data)
{
    doomed_fini(data);
    free(data);
}

struct doomed *doom_begin(struct op *op)
{
    struct doomed *doomed = op_data(op, sizeof *doomed);
    op->data_free = doom_free;
    return doomed;
}

static bool is_doomed(const struct doomed *doomed, const struct snapshot *snapshot)
{
    for (unsigned i = 0; i < doomed->snapshot_count; i++) {
        if (doomed->snapshots[i] == snapshot) return true;
    }
    return false;
}

void doom_snapshot(struct doomed *doomed, struct snapshot *snapshot)
{
    if (is_doomed(doomed, snapshot)) return;
    array_push(doomed->snapshots, doomed->snapshot_count, snapshot);
    struct set *set = snapshot->set;
    if (set_is_record(set->row.state)) return; /* its row stays, as history */
    list_for_each (node, &set->members) {
        if (!is_doomed(doomed, list_entry(node, struct snapshot, member_link))) return;
    }
    array_push(doomed->sets, doomed->set_count, set); /* that was its last member */
}

void doom_set(struct doomed *doomed, struct set *set)
{
    list_for_each (node, &set->members) {
        doom_snapshot(doomed, list_entry(node, struct snapshot, member_link));
    }
    if (list_is_empty(&set->members)) array_push(doomed->sets, doomed->set_count, set);
}

void doom_record(struct doomed *doomed, struct set *set)
{
    check(set_is_record(set->row.state));
    array_push(doomed->sets, doomed->set_count, set);
}

void doom_undo(struct doomed *doomed, struct undo *undo)
{
    array_push(doomed->undos, doomed->undo_count, undo);
}

void doom_disk(struct doomed *doomed, struct disk *disk)
{
    array_push(doomed->disks, doomed->disk_count, disk);
    list_for_each (node, &disk->undos) {
        doom_undo(doomed, container_of(list_entry(node, struct object, link), struct undo, object));
    }
}

struct err *check_snapshot_unused(const struct snapshot *snapshot)
{
    TRY(check_snapshot_idle(snapshot));
    return check_snapshot_unserved(snapshot);
}

struct err *check_snapshot_unserved(const struct snapshot *snapshot)
{
    if (snapshot->map_count == 0) return NULL;
    return err_next(err_new(STATUS_IN_USE, "snapshot \"%s\" is served to %u host%s",
                            snapshot->row.name, snapshot->map_count,
                            snapshot->map_count == 1 ? "" : "s"),
                    "tarn map list; tarn map remove HOST LUN");
}

/* ---- Rows: copies, for the worker ------------------------------------------------------------ */

static void copy_rows(struct doomed *doomed)
{
    free(doomed->snapshot_rows);
    free(doomed->set_rows);
    free(doomed->disk_rows);
    free(doomed->undo_rows);
    doomed->undo_rows = calloc(doomed->undo_count + 1, sizeof *doomed->undo_rows);
    check(doomed->undo_rows);
    for (unsigned i = 0; i < doomed->undo_count; i++) {
        doomed->undo_rows[i] = doomed->undos[i]->row;
        doomed->undo_rows[i].state = SNAPSHOT_DELETING;
    }
    doomed->snapshot_rows = calloc(doomed->snapshot_count + 1, sizeof *doomed->snapshot_rows);
    doomed->set_rows = calloc(doomed->set_count + 1, sizeof *doomed->set_rows);
    doomed->disk_rows = calloc(doomed->disk_count + 1, sizeof *doomed->disk_rows);
    check(doomed->snapshot_rows && doomed->set_rows && doomed->disk_rows);
    for (unsigned i = 0; i < doomed->snapshot_count; i++) {
        doomed->snapshot_rows[i] = doomed->snapshots[i]->row;
        doomed->snapshot_rows[i].state = SNAPSHOT_DELETING;
    }
    for (unsigned i = 0; i < doomed->set_count; i++) {
        doomed->set_rows[i] = doomed->sets[i]->row;
        doomed->set_rows[i].state = SET_DELETING;
    }
    for (unsigned i = 0; i < doomed->disk_count; i++) {
        doomed->disk_rows[i] = doomed->disks[i]->row;
        doomed->disk_rows[i].state = CATALOG_DELETING;
    }
}

static struct err *write_mark(struct catalog *catalog, void *arg)
{
    const struct doomed *doomed = ((struct op *)arg)->data;
    for (unsigned i = 0; i < doomed->snapshot_count; i++) {
        TRY(catalog_put_snapshot(catalog, &doomed->snapshot_rows[i]));
    }
    for (unsigned i = 0; i < doomed->undo_count; i++) {
        TRY(catalog_put_undo(catalog, &doomed->undo_rows[i]));
    }
    for (unsigned i = 0; i < doomed->set_count; i++) {
        TRY(catalog_put_set(catalog, &doomed->set_rows[i]));
    }
    for (unsigned i = 0; i < doomed->disk_count; i++) {
        TRY(catalog_put_disk(catalog, &doomed->disk_rows[i]));
    }
    return NULL;
}

static struct err *write_gone(struct catalog *catalog, void *arg)
{
    const struct doomed *doomed = ((struct op *)arg)->data;
    for (unsigned i = 0; i < doomed->snapshot_count; i++) {
        TRY(catalog_delete_snapshot(catalog, &doomed->snapshot_rows[i].uuid));
    }
    for (unsigned i = 0; i < doomed->undo_count; i++) {
        TRY(catalog_delete_undo(catalog, &doomed->undo_rows[i].uuid));
    }
    for (unsigned i = 0; i < doomed->set_count; i++) {
        TRY(catalog_delete_set(catalog, &doomed->set_rows[i].uuid));
    }
    for (unsigned i = 0; i < doomed->disk_count; i++) {
        TRY(catalog_delete_disk(catalog, &doomed->disk_rows[i].uuid));
    }
    return NULL;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static void step_mark(struct op *op)
{
    copy_rows(op->data);
    op_catalog_audited(op, write_mark);
}

static void step_marked(struct op *op)
{
    struct doomed *doomed = op->data;
    for (unsigned i = 0; i < doomed->snapshot_count; i++) {
        doomed->snapshots[i]->row.state = SNAPSHOT_DELETING;
    }
    for (unsigned i = 0; i < doomed->undo_count; i++)
        doomed->undos[i]->row.state = SNAPSHOT_DELETING;
    for (unsigned i = 0; i < doomed->set_count; i++)
        doomed->sets[i]->row.state = SET_DELETING;
    for (unsigned i = 0; i < doomed->disk_count; i++)
        doomed->disks[i]->row.state = CATALOG_DELETING;
    op_next(op);
}

/* At start: what cannot be deleted now stays marked, with its set and its disk. */
static void spare(struct doomed *doomed, const struct set *set, const struct disk *disk)
{
    for (unsigned i = 0; i < doomed->set_count; i++) {
        if (doomed->sets[i] == set) doomed->sets[i--] = doomed->sets[--doomed->set_count];
    }
    for (unsigned i = 0; i < doomed->disk_count; i++) {
        if (doomed->disks[i] == disk) doomed->disks[i--] = doomed->disks[--doomed->disk_count];
    }
}

/* The point, or the one that an update that failed has left. */
static const struct uuid *point_left(const struct snapshot *snapshot)
{
    struct volume_point_info info;
    struct volume_pool *engine = snapshot->disk->pool->engine;
    if (!engine) return NULL;
    if (volume_point_find(engine, &snapshot->row.point, &info)) return &snapshot->row.point;
    bool other = volume_point_find(engine, &snapshot->row.other_point, &info);
    return other ? &snapshot->row.other_point : NULL;
}

/* At start: it stays, being deleted; the next start goes on with it. */
static void spare_last_snapshot(struct doomed *doomed)
{
    const struct snapshot *snapshot = doomed->snapshots[doomed->next - 1];
    spare(doomed, snapshot->set, snapshot->disk);
    doomed->snapshots[--doomed->next] = doomed->snapshots[--doomed->snapshot_count];
}

static void point_deleted(void *arg, struct err *e);

static void branch_deleted(void *arg, struct err *e)
{
    struct doomed *doomed = ((struct op *)arg)->data;
    if (e) {
        point_deleted(arg, e);
        return;
    }
    doomed->next--; /* the same again: now the point */
    op_next(arg);
}

static void point_deleted(void *arg, struct err *e)
{
    struct op *op = arg;
    struct doomed *doomed = op->data;
    if (e && doomed->tolerant) {
        log_failure("a snapshot could not be deleted; the next start tries again", e);
        err_free(e);
        e = NULL;
        spare_last_snapshot(doomed);
    } else if (!e && point_left(doomed->snapshots[doomed->next - 1])) {
        doomed->next--; /* it has another */
    }
    op_done(op, e);
}

static void undo_deleted(void *arg, struct err *e)
{
    struct op *op = arg;
    struct doomed *doomed = op->data;
    if (e && doomed->tolerant) {
        log_failure("an undo point could not be deleted; the next start tries again", e);
        err_free(e);
        e = NULL;
        spare(doomed, NULL, doomed->undos[doomed->next_undo - 1]->disk);
        doomed->undos[--doomed->next_undo] = doomed->undos[--doomed->undo_count];
    }
    op_done(op, e);
}

static void step_undos(struct op *op)
{
    struct doomed *doomed = op->data;
    while (doomed->next_undo < doomed->undo_count) {
        const struct undo *undo = doomed->undos[doomed->next_undo++];
        struct volume_point_info info;
        struct volume_pool *engine = undo->disk->pool->engine;
        if (!engine || !volume_point_find(engine, &undo->row.uuid, &info)) continue;
        op_repeat(op);
        volume_point_delete(engine, &undo->row.uuid, undo_deleted, op);
        return;
    }
    op_next(op);
}

/* Snapshots, then undo points. */
void doom_step_points(struct op *op)
{
    struct doomed *doomed = op->data;
    while (doomed->next < doomed->snapshot_count) {
        const struct snapshot *snapshot = doomed->snapshots[doomed->next++];
        struct volume_pool *engine = snapshot->disk->pool->engine;
        struct volume_disk_info branch;
        if (doomed->tolerant && !pool_may_decide(snapshot->disk->pool)) {
            spare_last_snapshot(doomed); /* its pool may have the point */
            continue;
        }
        if (!engine) continue;
        if (snapshot_view_find(snapshot, &branch)) {
            op_repeat(op);
            volume_disk_delete(engine, &snapshot->row.view, branch_deleted, op);
            return;
        }
        /* Its private branch goes first, unless that became a disk of its own. */
        if (snapshot_branch_find(snapshot, &branch) &&
            !inventory_disk(op->control, &snapshot->row.uuid)) {
            op_repeat(op);
            volume_disk_delete(engine, &snapshot->row.uuid, branch_deleted, op);
            return;
        }
        const struct uuid *point = point_left(snapshot);
        if (!point) continue;
        op_repeat(op);
        volume_point_delete(engine, point, point_deleted, op);
        return;
    }
    step_undos(op);
}

static void disk_deleted(void *arg, struct err *e)
{
    struct op *op = arg;
    struct doomed *doomed = op->data;
    if (e && doomed->tolerant) {
        log_failure("a disk could not be deleted; the next start tries again", e);
        err_free(e);
        e = NULL;
        doomed->disks[--doomed->next_disk] = doomed->disks[--doomed->disk_count];
    }
    op_done(op, e);
}

void doom_step_disks(struct op *op)
{
    struct doomed *doomed = op->data;
    while (doomed->next_disk < doomed->disk_count) {
        struct disk *disk = doomed->disks[doomed->next_disk++];
        struct volume_disk_info info;
        if (!disk->pool->engine || !volume_disk_find(disk->pool->engine, &disk->row.uuid, &info))
            continue;
        op_repeat(op);
        volume_disk_delete(disk->pool->engine, &disk->row.uuid, disk_deleted, op);
        return;
    }
    op_next(op);
}

void doom_step_rows(struct op *op)
{
    struct doomed *doomed = op->data;
    copy_rows(doomed);
    if (doomed->snapshot_count + doomed->undo_count + doomed->set_count + doomed->disk_count == 0) {
        op_next(op);
        return;
    }
    op_catalog(op, write_gone);
}

void doom_step_forget(struct op *op)
{
    struct doomed *doomed = op->data;
    for (unsigned i = 0; i < doomed->snapshot_count; i++)
        inventory_remove_snapshot(doomed->snapshots[i]);
    for (unsigned i = 0; i < doomed->undo_count; i++)
        inventory_remove_undo(doomed->undos[i]);
    for (unsigned i = 0; i < doomed->set_count; i++)
        inventory_remove_set(op->control, doomed->sets[i]);
    for (unsigned i = 0; i < doomed->disk_count; i++)
        inventory_remove_disk(doomed->disks[i]);
    doomed->snapshot_count = doomed->undo_count = doomed->set_count = doomed->disk_count = 0;
    op_next(op);
}

void doom_run(struct op *op)
{
    const struct doomed *doomed = op->data;
    if (doomed->undo_count + doomed->snapshot_count + doomed->disk_count + doomed->set_count == 0) {
        op_end(op);
        return;
    }
    op_continue_with(op, doom_steps);
    op_next(op);
}

op_step *const doom_steps[] = {
    step_mark,        step_marked, doom_step_points, doom_step_disks, doom_step_rows,
    doom_step_forget, NULL};
