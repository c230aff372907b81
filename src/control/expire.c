/* What has had its time goes: once a second, a few at a time, by the server's own clock. */
#include "base/log.h"
#include "control/control_int.h"

enum { EXPIRE_AT_ONCE = 64 };

typedef void expired_fn(void *arg, struct undo *undo);

static unsigned each_expired(struct control *control, uint64_t now_ns, expired_fn *fn, void *arg)
{
    unsigned count = 0;
    list_for_each (node, &control->disks) {
        struct disk *disk =
            container_of(list_entry(node, struct object, link), struct disk, object);
        if (!disk->pool->engine || volume_pool_state(disk->pool->engine) != VOLUME_POOL_OK)
            continue;
        list_for_each (undo_node, &disk->undos) {
            struct undo *undo =
                container_of(list_entry(undo_node, struct object, link), struct undo, object);
            if (undo->row.state != SNAPSHOT_READY || undo->row.expires_ns > now_ns) continue;
            if (++count > EXPIRE_AT_ONCE) return count;
            if (fn) fn(arg, undo);
        }
    }
    return count;
}

static void doom_expired(void *arg, struct undo *undo)
{
    log_info("an undo point has had its time", "disk=\"%s\" undo=\"%s\"", undo->disk->row.name,
             undo->row.name);
    doom_undo(arg, undo);
}

/* Looks again: the lane may have been long. */
static void step_expire(struct op *op)
{
    struct doomed *doomed = doom_begin(op);
    if (each_expired(op->control, clock_now(op->control), doom_expired, doomed) == 0) {
        op_end(op);
        return;
    }
    op_continue_with(op, doom_steps);
    op_next(op);
}

static void expired(struct op *op)
{
    op->control->tidying = false;
    if (op->error) log_failure("what has had its time could not be deleted", op->error);
}

void expire_tick(struct control *control)
{
    static op_step *const steps[] = {step_expire, NULL};
    static const struct op_plan plan = {.verb = "expire", .lane = OP_LANE_GENERAL, .steps = steps};
    if (control->tidying || !each_expired(control, clock_now(control), NULL, NULL)) return;
    control->tidying = true;
    op_start_internal(control, &plan, NULL, expired, NULL);
}
