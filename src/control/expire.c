/* What has had its time goes: once a second, a few at a time, by the server's own clock. */
#include "base/log.h"
#include "control/host_int.h"

enum { EXPIRE_AT_ONCE = 64 };

static bool undo_is_over(struct control *control, const struct undo *undo, uint64_t now_ns)
{
    return undo->row.state == SNAPSHOT_READY && undo->row.expires_ns <= now_ns &&
           pool_is_writable(undo->disk->pool) && !job_keeps_undo(control, &undo->row.uuid);
}

static bool snapshot_is_over(const struct snapshot *s, uint64_t now_ns)
{
    return s->row.state == SNAPSHOT_TRASHED && s->row.expires_ns <= now_ns &&
           pool_is_writable(s->disk->pool);
}

static bool disk_is_over(const struct disk *disk, uint64_t now_ns)
{
    return disk->row.state == CATALOG_TRASHED && disk->row.expires_ns <= now_ns &&
           pool_is_writable(disk->pool);
}

/* doomed NULL: only counts. */
static unsigned undos_over(struct control *control, struct disk *disk, uint64_t now_ns, struct doomed *doomed)
{
    unsigned count = 0;
    list_for_each (node, &disk->undos) {
        struct undo *undo =
            container_of(list_entry(node, struct object, link), struct undo, object);
        if (!undo_is_over(control, undo, now_ns)) continue;
        count++;
        if (!doomed) continue;
        log_info("an undo point has had its time", "disk=\"%s\" undo=\"%s\"", disk->row.name,
                 undo->row.name);
        doom_undo(doomed, undo);
    }
    return count;
}

static unsigned disks_over(struct op *op, struct control *control, uint64_t now_ns,
                           struct doomed *doomed)
{
    unsigned count = 0;
    list_for_each (node, &control->disks) {
        struct disk *disk =
            container_of(list_entry(node, struct object, link), struct disk, object);
        if (count >= EXPIRE_AT_ONCE) break;
        if (!disk_is_over(disk, now_ns)) {
            count += undos_over(control, disk, now_ns, doomed);
            continue;
        }
        count++;
        if (!doomed || !trash_doom_disk(op, doomed, disk)) continue;
        log_info("a disk in the trash has had its time", "disk=\"%s\"", disk->row.name);
    }
    return count;
}

static unsigned snapshots_over(struct op *op, struct control *control, uint64_t now_ns,
                               struct doomed *doomed)
{
    unsigned count = 0;
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (count >= EXPIRE_AT_ONCE) break;
        if (!snapshot_is_over(s, now_ns)) continue;
        count++;
        if (!doomed) continue;
        log_info("a snapshot in the trash has had its time", "snapshot=\"%s\"", s->row.name);
        trash_doom_snapshot(op, doomed, s);
    }
    return count;
}

/* ---- What would expire by a clock that jumps ------------------------------------------------- */

static void say_disk(struct control *control, struct disk *disk, uint64_t until_ns, json_t *would)
{
    if (disk_is_over(disk, until_ns)) {
        json_array_append_new(
            would, json_sprintf("delete for good disk \"%s\" from the trash", disk->row.name));
    }
    list_for_each (node, &disk->undos) {
        const struct undo *undo =
            container_of(list_entry(node, struct object, link), struct undo, object);
        if (!undo_is_over(control, undo, until_ns)) continue;
        json_array_append_new(would, json_sprintf("delete undo point \"%s\" of disk \"%s\"",
                                                  undo->row.name, disk->row.name));
    }
}

static void say_snapshot(const struct snapshot *s, uint64_t now_ns, uint64_t until_ns,
                         json_t *would)
{
    if (snapshot_is_over(s, until_ns)) {
        json_array_append_new(
            would, json_sprintf("delete for good snapshot \"%s\" from the trash", s->row.name));
    }
    if (s->row.retain_until_ns > now_ns && s->row.retain_until_ns <= until_ns) {
        json_array_append_new(would, json_sprintf("end the retention of snapshot \"%s\": it can be"
                                                  " deleted then",
                                                  s->row.name));
    }
}

void expire_say(struct control *control, uint64_t now_ns, uint64_t until_ns, json_t *would)
{
    list_for_each (node, &control->disks) {
        say_disk(control, container_of(list_entry(node, struct object, link), struct disk, object),
                 until_ns, would);
    }
    list_for_each (node, &control->snapshots) {
        say_snapshot(container_of(list_entry(node, struct object, link), struct snapshot, object),
                     now_ns, until_ns, would);
    }
    list_for_each (node, &control->enrolments) {
        const struct enrolment *enrolment = list_entry(node, struct enrolment, link);
        if (enrolment->row.expires_ns <= now_ns || enrolment->row.expires_ns > until_ns) continue;
        json_array_append_new(would, json_sprintf("end the enrolment code of host \"%s\"",
                                                  enrolment->host->row.name));
    }
}

/* Looks again: the lane may have been long. */
static void step_expire(struct op *op)
{
    struct doomed *doomed = doom_begin(op);
    uint64_t now_ns = clock_now(op->control);
    disks_over(op, op->control, now_ns, doomed);
    snapshots_over(op, op->control, now_ns, doomed);
    doom_run(op);
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
    uint64_t now_ns = clock_now(control);
    if (control->tidying) return;
    if (disks_over(NULL, control, now_ns, NULL) + snapshots_over(NULL, control, now_ns, NULL) ==
        0) {
        return;
    }
    control->tidying = true;
    op_start_internal(control, &plan, NULL, expired, NULL);
}
