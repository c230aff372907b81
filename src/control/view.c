/*
 * What hosts that are not Windows see of a snapshot cut through VSS: its volumes are hidden and read-only at the
 * point, which never changes.  So a branch of its own is made over the point, the marks are taken off there, and it is
 * served write-protected: nothing is written to it any more (S6, S10).  It is no disk of the catalog; the
 * snapshot's row has its id before the engine has it, and it goes with the snapshot (doomed.c).  A map that was asked
 * for with --keep-vss-flags shows the point.
 */
#include "control/control_int.h"

bool snapshot_needs_view(const struct snapshot *snapshot, bool keeps_flags)
{
    return snapshot->set->row.vss && !keeps_flags;
}

bool snapshot_view_find(const struct snapshot *snapshot, struct volume_disk_info *ret_info)
{
    struct volume_pool *engine = snapshot->disk->pool->engine;
    return engine && !uuid_is_nil(&snapshot->row.view) &&
           volume_disk_find(engine, &snapshot->row.view, ret_info);
}

struct err *snapshot_check_view(const struct snapshot *snapshot)
{
    struct volume_disk_info info;
    struct err *e = snapshot_view_find(snapshot, &info) ? NULL : snapshot_check_branch(snapshot);
    return e ? err_next(e, "serve it as VSS left it, hidden and read-only: --keep-vss-flags") : NULL;
}

static struct err *write_view(struct catalog *catalog, void *arg)
{
    const struct snapshot_viewing *viewing = ((struct op *)arg)->finish_arg;
    return catalog_put_snapshot_view(catalog, &viewing->snapshot->row.uuid, &viewing->view);
}

static void step_row(struct op *op)
{
    struct snapshot_viewing *viewing = op->finish_arg;
    viewing->view = viewing->snapshot->row.view;
    if (!uuid_is_nil(&viewing->view)) {
        op_next(op);
        return;
    }
    viewing->view = rt_uuid(op->control->rt);
    op_catalog(op, write_view);
}

static void step_branch(struct op *op)
{
    struct snapshot_viewing *viewing = op->finish_arg;
    struct snapshot *snapshot = viewing->snapshot;
    struct volume_disk_info info;
    snapshot->row.view = viewing->view;
    if (snapshot_view_find(snapshot, &info)) {
        op_next(op);
        return;
    }
    volume_branch(snapshot->disk->pool->engine, &snapshot->row.point, &viewing->view, op_done, op);
}

/* Also one that was there: a crash may have come before this. */
static void step_flags(struct op *op)
{
    struct snapshot_viewing *viewing = op->finish_arg;
    if (viewing->snapshot->view.volume) { /* a host has it: it was done then, and is sealed */
        op_next(op);
        return;
    }
    vss_flags_clear(op->control, viewing->snapshot->disk->pool->engine, &viewing->view,
                    viewing->text, op_done, op);
}

static void made(struct op *op)
{
    const struct snapshot_viewing *viewing = op->finish_arg;
    struct err *e = take_ptr(&op->error);
    if (e) {
        e = err_next(err_wrap(e, "make the volumes of snapshot \"%s\" visible",
                              viewing->snapshot->row.name),
                     "serve it as VSS left it, hidden and read-only: --keep-vss-flags");
    }
    viewing->done(viewing->arg, e);
}

void snapshot_view_make(struct control *control, struct snapshot *snapshot,
                        struct snapshot_viewing *viewing, volume_done_fn *done, void *arg)
{
    static op_step *const steps[] = {step_row, step_branch, step_flags, NULL};
    static const struct op_plan plan = {
        .verb = "snapshot_view", .lane = OP_LANE_NONE, .steps = steps};
    viewing->snapshot = snapshot;
    viewing->done = done;
    viewing->arg = arg;
    op_start_internal(control, &plan, NULL, made, viewing);
}
