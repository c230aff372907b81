/*
 * The durable job behind `disk replace` (and `disk revert` to what a host wrote into a snapshot): a
 * disk takes the content of a snapshot of any disk, of the same or another pool.
 *
 *     ready (an operation: rows, a point of the private branch)  ->  replace (the engine, outside
 * of all lanes)
 *         ->  settle (an operation: rows, what is left over)
 *
 * A snapshot of the disk itself is not copied (one record, as for a plain revert): it comes this way when it was
 * cut through VSS, so that its volumes are made visible even when the server dies in between.
 *
 * The guards are looked at when the job is begun, and again right before the record, which may come days later: while
 * a host uses the disk then, the job waits, with what it has copied (not when forced).  It waits in the same way while
 * the pool is too full for the copy.
 *
 * It waits for its pools too: one that could not be opened at this start, or fails while it works, ends nothing.
 * Only the disk's own pool knows whether the record was made; so the job stays as it is, and goes on at the next
 * start at which both are there.  Until then it cannot be cancelled, unless the disk's pool is there.
 *
 * Until the engine's one record the destination is as it was; so the job may be begun again after a
 * crash at any point.  When its undo point is there it was done: that is asked before all else, and before the
 * point's row could go, since the snapshot, or its pool, may be away by then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

#define USE_RETRY_NS RT_SECOND

struct run {
    struct job *job;
    struct control *control;
    struct uuid disk, snapshot, undo;
    struct uuid
        temporary; /* point of the snapshot's private branch; nil: its own point is copied */
    struct uuid resync_by; /* the host that asked for a resync; nil: none */
    bool is_forced, keeps_flags, in_engine, in_op, is_done;
    bool is_taken; /* in this life of the server: change_count says when */
    uint64_t change_count; /* the disk's when it was taken */
    struct rt_timer timer; /* to look again: is the disk in use, is there space? */
    char text[VSS_TEXT_MAX]; /* what became of the flags of VSS */
    struct volume_replacement replacement;
    struct vss_job vss;       /* clears the flags when settling could not: trouble */
    struct err *vss_trouble;
};

static void go(struct run *run);

static struct disk *disk_of(const struct run *run)
{
    return inventory_disk(run->control, &run->disk);
}

static struct snapshot *snapshot_of(const struct run *run)
{
    return inventory_snapshot(run->control, &run->snapshot);
}

/* The record was made; false also while the disk's pool cannot tell. */
static bool was_made(const struct run *run, struct volume_point_info *ret_undo)
{
    const struct disk *disk = disk_of(run);
    return disk && pool_is_writable(disk->pool) &&
           volume_point_find(disk->pool->engine, &run->undo, ret_undo);
}

/* The pool that it cannot do without just now; NULL: none. */
static const struct pool *pool_away(const struct run *run)
{
    const struct disk *disk = disk_of(run);
    const struct snapshot *snapshot = snapshot_of(run);
    if (disk && !pool_is_writable(disk->pool)) return disk->pool;
    if (disk && snapshot && !pool_is_writable(snapshot->disk->pool)) return snapshot->disk->pool;
    return NULL;
}

static void mark(struct run *run, struct job *job)
{
    struct disk *disk = disk_of(run);
    struct snapshot *snapshot = snapshot_of(run);
    if (disk) disk->job = job;
    if (snapshot) snapshot->job = job;
}

static void drop(struct job *job)
{
    struct run *run = job->run;
    rt_timer_cancel(run->control->rt, &run->timer);
    vss_job_fini(&run->vss);
    err_free(run->vss_trouble);
    free(run);
    job->run = NULL;
}

/* ---- Settle: after success, failure and cancel alike ----------------------------------------- */

struct settle {
    struct run *run;
    struct catalog_undo undo;
    struct catalog_disk disk_row;
    bool has_undo, has_disk;
};

static void left_over_deleted(void *arg, struct err *e)
{
    if (e) log_failure("the copied state of a snapshot's branch could not be deleted", e);
    err_free(e);
    op_next(arg);
}

static void step_left_over(struct op *op)
{
    struct settle *data = op_data(op, sizeof *data);
    struct run *run = op->finish_arg;
    const struct snapshot *snapshot = snapshot_of(run);
    struct volume_point_info info;
    data->run = run;
    if (!snapshot || !pool_is_writable(snapshot->disk->pool) ||
        !volume_point_find(snapshot->disk->pool->engine, &run->temporary, &info)) {
        op_next(op);
        return;
    }
    volume_point_delete(snapshot->disk->pool->engine, &run->temporary, left_over_deleted, op);
}

static void flags_cleared(void *arg, struct err *e)
{
    struct op *op = arg;
    struct run *run = op->finish_arg;
    struct err *no_row = e ? vss_job_fill(op->control, disk_of(run), &run->vss) : NULL;
    check(!no_row);
    run->vss_trouble = e; /* the content is there: that is not undone by it */
    op_next(op);
}

/* Outside of VSS nobody else would make the volumes visible and writable again. */
static void step_flags(struct op *op)
{
    struct run *run = ((struct settle *)op->data)->run;
    const struct snapshot *snapshot = snapshot_of(run);
    const struct disk *disk = disk_of(run);
    if (!run->is_done || !disk || !snapshot || !snapshot->set->row.vss || run->keeps_flags) {
        op_next(op);
        return;
    }
    vss_flags_clear(op->control, disk->pool->engine, &run->disk, run->text, flags_cleared, op);
}

static struct err *write_settled(struct catalog *catalog, void *arg)
{
    const struct settle *data = ((struct op *)arg)->data;
    if (data->has_disk) TRY(catalog_put_disk(catalog, &data->disk_row));
    if (data->run->vss_trouble) TRY(catalog_put_job(catalog, &data->run->vss.row));
    if (!data->has_undo) return NULL;
    return data->run->is_done ? catalog_put_undo(catalog, &data->undo)
                              : catalog_delete_undo(catalog, &data->undo.uuid);
}

static void step_rows(struct op *op)
{
    struct settle *data = op->data;
    struct run *run = data->run;
    const struct undo *undo = inventory_undo(op->control, &run->undo);
    const struct disk *disk = disk_of(run);
    struct volume_disk_info info;
    /* Made or not is known only while the pool has not failed; else the row waits for the next
     * start. */
    data->has_undo = undo && (run->is_done || (disk && pool_is_writable(disk->pool)));
    if (undo) {
        data->undo = undo->row;
        data->undo.state = SNAPSHOT_READY;
        data->undo.made_ns = rt_wall(op->control->rt);
        data->undo.expires_ns = clock_now(op->control) + UNDO_KEPT_NS;
    }
    if (disk && run->is_done && volume_disk_find(disk->pool->engine, &run->disk, &info)) {
        data->has_disk = true;
        data->disk_row = disk->row;
        data->disk_row.size_bytes = info.size_bytes;
    }
    json_object_set_new(op->arguments, "job", json_string(run->job->name));
    if (disk) json_object_set_new(op->arguments, "disk", json_string(disk->row.name));
    op_catalog_audited(op, write_settled);
}

static void step_publish(struct op *op)
{
    struct settle *data = op->data;
    struct undo *undo = inventory_undo(op->control, &data->run->undo);
    struct disk *disk = disk_of(data->run);
    if (disk && data->has_disk) disk->row.size_bytes = data->disk_row.size_bytes;
    if (undo && data->run->is_done) {
        undo->row = data->undo;
    } else if (undo && data->has_undo) {
        inventory_remove_undo(undo);
    }
    op_next(op);
}

/* A revert that is asked for again is found by this, unless a restart lies between. */
static void note_given(const struct run *run, struct disk *disk)
{
    disk->given = (struct disk_given){0};
    if (!run->is_taken || run->vss_trouble || !uuid_is_nil(&run->temporary) || !snapshot_of(run))
        return;
    disk->given = (struct disk_given){.point = snapshot_of(run)->row.point,
                                      .undo = run->undo,
                                      .job = run->job->row.uuid,
                                      .clears_flags = !run->keeps_flags,
                                      .change_count = run->change_count};
}

static void settled(struct op *op)
{
    struct run *run = op->finish_arg;
    struct job *job = run->job;
    struct disk *disk = disk_of(run);
    struct err *e = take_ptr(&job->failure);
    if (!e) e = take_ptr(&op->error);
    mark(run, NULL);
    if (!e && disk) job->result = json_disk(run->control, disk);
    if (job->result && run->text[0])
        json_object_set_new(job->result, "note", json_string(run->text));
    if (!e && disk) note_given(run, disk);
    if (run->vss_trouble && disk) {
        json_t *note = vss_job_go(run->control, disk, &run->vss, take_ptr(&run->vss_trouble));
        if (job->result) json_object_set(job->result, "note", note);
        json_decref(note);
    }
    drop(job);
    job_end(job, e);
}

/* Takes e; NULL: it is done.  What was made before a crash is done, whatever stops the job now; and without a pool
 * nothing has failed yet. */
static void settle(struct run *run, struct err *e)
{
    struct volume_point_info info;
    if (e && was_made(run, &info)) {
        log_failure("a replace that was made before is kept", e);
        err_free(take_ptr(&e));
    }
    const struct pool *away = e && !run->job->is_cancelled ? pool_away(run) : NULL;
    if (away) {
        job_waits_for_pool(run->job, away, e);
        if (run->control->stopping) go(run);
        return;
    }
    static op_step *const steps[] = {step_left_over, step_flags, step_rows, step_publish, NULL};
    static const struct op_plan plan = {
        .verb = "disk_replaced", .lane = OP_LANE_GENERAL, .steps = steps};
    run->job->failure = e;
    run->is_done = e == NULL;
    run->in_op = true;
    op_start_internal(run->control, &plan, NULL, settled, run);
}

/* ---- Replace --------------------------------------------------------------------------------- */

static void progress(struct volume_replacement *replacement, uint64_t done_bytes,
                     uint64_t total_bytes)
{
    struct run *run = container_of(replacement, struct run, replacement);
    run->job->total_bytes = total_bytes;
    job_progress(run->job, done_bytes);
}

static void look_again(struct rt_timer *timer)
{
    struct run *run = container_of(timer, struct run, timer);
    if (run->in_engine && run->job->row.state == JOB_RUNNING)
        volume_replacement_pause(&run->replacement, false);
}

/* A host may have begun to use the disk since the job was begun. */
static bool may_take(struct volume_replacement *replacement)
{
    struct run *run = container_of(replacement, struct run, replacement);
    struct job *job = run->job;
    struct err *e = run->is_forced ? NULL
                                   : disk_check_use(run->control, disk_of(run),
                                                    uuid_is_nil(&run->resync_by) ? NULL : &run->resync_by);
    run->change_count = serve_change_count(&disk_of(run)->served);
    if (!e) return true;
    if (!job->trouble[0]) log_failure("a replace waits until its disk is not in use", e);
    char why[TROUBLE_SIZE - 80];
    snprintf(job->trouble, sizeof job->trouble, "all is copied; it waits to take the disk: %s",
             err_text(e, why, sizeof why));
    err_free(e);
    rt_timer_set(run->control->rt, &run->timer, rt_now(run->control->rt) + USE_RETRY_NS,
                 look_again);
    return false;
}

static bool wait_for_space(struct volume_replacement *replacement)
{
    struct run *run = container_of(replacement, struct run, replacement);
    job_waits_for_space(run->job, disk_of(run)->pool, &run->timer, look_again);
    return true;
}

static void replaced(struct volume_replacement *replacement, struct err *e)
{
    struct run *run = container_of(replacement, struct run, replacement);
    bool stops = run->control->stopping || run->job->is_cancelled;
    run->in_engine = false;
    rt_timer_cancel(run->control->rt, &run->timer);
    run->job->trouble[0] = '\0';
    volume_close(take_ptr(&replacement->content));
    run->is_taken = !e;
    if (stops && err_status(e) == STATUS_CANCELLED) {
        err_free(e);
        go(run);
        return;
    }
    settle(run, e);
}

static void replace(struct run *run)
{
    struct pool *from = snapshot_of(run)->disk->pool, *to = disk_of(run)->pool;
    const struct uuid *point =
        uuid_is_nil(&run->temporary) ? &snapshot_of(run)->row.point : &run->temporary;
    struct volume *content = NULL;
    struct err *e = volume_open(from->engine, NULL, point, VOLUME_READ_ONLY, &content);
    if (e) {
        settle(run, e);
        return;
    }
    run->in_engine = true;
    run->replacement = (struct volume_replacement){.disk = run->disk,
                                                   .undo_point = run->undo,
                                                   .content = content,
                                                   .progress = progress,
                                                   .may_take = may_take,
                                                   .full = wait_for_space,
                                                   .done = replaced};
    volume_replace(to->engine, &run->replacement);
}

/* ---- Ready ----------------------------------------------------------------------------------- */

struct ready {
    struct catalog_undo undo;
    struct volume_cut cut;
    struct volume_cut_member member;
    struct volume_cut_result result;
};

static struct err *check_ready(const struct run *run)
{
    const struct disk *disk = disk_of(run);
    const struct snapshot *snapshot = snapshot_of(run);
    if (!disk || !snapshot) return err_new(STATUS_NOT_FOUND, "it was deleted meanwhile");
    TRY(pool_check_open(disk->pool));
    return pool_check_open(snapshot->disk->pool);
}

static struct err *write_undo(struct catalog *catalog, void *arg)
{
    return catalog_put_undo(catalog, &((const struct ready *)((struct op *)arg)->data)->undo);
}

/* The row of the undo point is there before the point. */
static void step_ready(struct op *op)
{
    struct run *run = op->finish_arg;
    struct ready *data = op_data(op, sizeof *data);
    struct volume_point_info info;
    run->is_done = was_made(run, &info);
    struct err *e = run->is_done ? NULL : check_ready(run);
    if (e) {
        op_fail(op, e);
        return;
    }
    struct disk *disk = disk_of(run);
    const struct snapshot *snapshot = snapshot_of(run);
    if (inventory_undo(op->control, &run->undo)) {
        op_next(op);
        return;
    }
    data->undo = (struct catalog_undo){.uuid = run->undo,
                                       .disk = run->disk,
                                       .state = SNAPSHOT_PENDING,
                                       .size_bytes = run->is_done ? info.size_bytes
                                                                  : disk->row.size_bytes,
                                       .made_ns = rt_wall(op->control->rt),
                                       .expires_ns = clock_now(op->control) + UNDO_KEPT_NS};
    bool reverts = strcmp(run->job->row.verb, "disk_revert") == 0;
    name_by_time(op->control, &disk->undos, reverts ? "before-revert" : "before-replace",
                 data->undo.name);
    snprintf(data->undo.cause, sizeof data->undo.cause, "%s snapshot \"%s\"",
             reverts ? "revert to" : "replace by", snapshot ? snapshot->row.name : "?");
    op_catalog(op, write_undo);
}

/* What a host wrote into its snapshot does not move while it is copied. */
static void step_still(struct op *op)
{
    struct run *run = op->finish_arg;
    struct ready *data = op->data;
    struct volume_point_info info;
    if (!uuid_is_nil(&data->undo.uuid)) inventory_add_undo(op->control, &data->undo);
    if (run->is_done || uuid_is_nil(&run->temporary)) {
        op_next(op);
        return;
    }
    struct volume_pool *engine = snapshot_of(run)->disk->pool->engine;
    if (volume_point_find(engine, &run->temporary, &info)) {
        op_next(op);
        return;
    }
    data->member = (struct volume_cut_member){
        .disk = run->snapshot, .point = run->temporary, .kind = VOLUME_POINT_SNAPSHOT};
    data->cut = (struct volume_cut){
        .set = rt_uuid(op->control->rt), .member_count = 1, .members = &data->member};
    volume_cut(engine, &data->cut, &data->result, op_done, op);
}

static void readied(struct op *op)
{
    struct run *run = op->finish_arg;
    run->in_op = false;
    if (op->error) {
        settle(run, take_ptr(&op->error));
    } else if (run->is_done) {
        settle(run, NULL);
    } else if (!job_goes_on(run->job)) {
        go(run);
    } else {
        replace(run);
    }
}

static void go(struct run *run)
{
    static op_step *const steps[] = {step_ready, step_still, NULL};
    static const struct op_plan plan = {
        .verb = "replace_ready", .lane = OP_LANE_GENERAL, .steps = steps};
    struct job *job = run->job;
    check(!run->in_engine && !run->in_op);
    if (run->control->stopping) {
        drop(job);
        job_suspended(job);
    } else if (job->is_cancelled) {
        settle(run, err_next(err_new(STATUS_CANCELLED, "it was cancelled"),
                             "the disk is as it was; begin again when you like"));
    } else if (job->row.state == JOB_RUNNING) {
        run->in_op = true;
        op_start_internal(run->control, &plan, NULL, readied, run);
    }
}

/* ---- The job --------------------------------------------------------------------------------- */

static void take_uuid(const json_t *work, const char *key, struct uuid *ret_uuid)
{
    const char *text = json_string_value(json_object_get(work, key));
    if (!text || !uuid_parse(text, ret_uuid)) *ret_uuid = (struct uuid){0};
}

static void start(struct job *job)
{
    struct run *run = calloc(1, sizeof *run);
    check(run);
    *run = (struct run){.job = job,
                        .control = job->control,
                        .is_forced = json_is_true(json_object_get(job->work, "force")),
                        .keeps_flags = json_is_true(json_object_get(job->work, "keep_vss_flags"))};
    take_uuid(job->work, "disk", &run->disk);
    take_uuid(job->work, "snapshot", &run->snapshot);
    take_uuid(job->work, "undo", &run->undo);
    take_uuid(job->work, "temporary", &run->temporary);
    take_uuid(job->work, "resync_by", &run->resync_by);
    job->run = run;
    job->done_bytes = 0;
    job->total_bytes = snapshot_of(run) ? snapshot_of(run)->row.size_bytes : 0;
    mark(run, job);
    go(run);
}

static void pause(struct job *job)
{
    struct run *run = job->run;
    if (run->in_engine) {
        volume_replacement_pause(&run->replacement, job->row.state == JOB_PAUSED);
    } else if (!run->in_op && job->row.state == JOB_RUNNING) {
        go(run);
    }
}

static void cancel(struct job *job)
{
    struct run *run = job->run;
    if (run->in_engine) {
        volume_replacement_cancel(&run->replacement);
    } else if (!run->in_op) {
        go(run);
    }
}

static struct err *check_cancel(const struct job *job)
{
    const struct disk *disk = job->run ? disk_of(job->run) : NULL;
    if (!disk || pool_is_writable(disk->pool)) return NULL;
    return job_cancel_needs_pool(job, disk->pool, "whether the disk has the new content already");
}

/* Without waiting: after a crash of the rt the handle goes with its pool. */
const struct job_type job_types_replace[] = {
    {"disk_replace", start, pause, cancel, cancel, drop, check_cancel},
    {"disk_revert", start, pause, cancel, cancel, drop, check_cancel},
    {0},
};

bool job_keeps_undo(struct control *control, const struct uuid *undo)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(undo, text);
    list_for_each (node, &control->jobs) {
        const struct job *job =
            container_of(list_entry(node, struct object, link), struct job, object);
        const char *own = json_string_value(json_object_get(job->work, "undo"));
        if (own && strcmp(own, text) == 0 && !job_is_over(job)) return true;
    }
    return false;
}
