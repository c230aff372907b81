/*
 * The durable job that makes the volumes of a disk visible and writable when that could not be done along
 * with the change of its content to a point cut through VSS (a full pool, say).  The change stays made;
 * this tries until it is done or cancelled, over restarts too.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

#define RETRY_NS (5 * RT_SECOND)

struct run {
    struct job *job;
    struct control *control;
    struct uuid disk;
    bool in_op, is_past; /* is_past: the disk is gone */
    char text[VSS_TEXT_MAX];
    struct rt_timer timer;
};

static void go(struct run *run);

struct err *vss_job_fill(struct control *control, const struct disk *disk, struct vss_job *job)
{
    char disk_text[UUID_TEXT_SIZE];
    json_t *work = json_pack("{s:s}", "disk", uuid_format(&disk->row.uuid, disk_text));
    job->text = work ? json_dumps(work, JSON_COMPACT) : NULL;
    json_decref(work);
    if (!job->text) return err_new(STATUS_NO_MEMORY, "job");
    job_row_fill(control, "vss_flags", disk->row.name, job->text, &job->row);
    return NULL;
}

json_t *vss_job_go(struct control *control, struct disk *disk, struct vss_job *vss, struct err *e)
{
    char why[TROUBLE_SIZE];
    err_text(e, why, sizeof why);
    log_failure("VSS flags stay on a disk for now", e);
    event_note(control, LEVEL_WARNING, "disk", disk->row.name,
               "its content was changed, but its volumes are still hidden and read-only: %s", why);
    err_free(e);
    const struct job *job = job_launch(control, &vss->row);
    return json_sprintf("the disk has the content, but its volumes are still hidden and read-only, as"
                        " VSS marked them (%s); job %s goes on trying: tarn job show %s",
                        why, job->name, job->name);
}

void vss_job_fini(struct vss_job *job)
{
    free(take_ptr(&job->text));
}

static void drop(struct job *job)
{
    struct run *run = job->run;
    rt_timer_cancel(run->control->rt, &run->timer);
    free(run);
    job->run = NULL;
}

static void end(struct run *run, struct err *e)
{
    struct job *job = run->job;
    struct disk *disk = inventory_disk(run->control, &run->disk);
    if (disk && disk->job == job) disk->job = NULL;
    if (!e && disk) job->result = json_disk(run->control, disk);
    if (job->result && run->text[0])
        json_object_set_new(job->result, "note", json_string(run->text));
    job->trouble[0] = '\0';
    drop(job);
    job_end(job, e);
}

/* ---- One attempt ---- */

static void step_clear(struct op *op)
{
    struct run *run = op->finish_arg;
    struct disk *disk = inventory_disk(op->control, &run->disk);
    run->is_past = !disk || disk->row.state != CATALOG_READY;
    struct err *e = run->is_past ? NULL : pool_check_open(disk->pool);
    if (run->is_past || e) {
        op_done(op, e);
    } else {
        vss_flags_clear(op->control, disk->pool->engine, &run->disk, run->text, op_done, op);
    }
}

static void try_again(struct rt_timer *timer)
{
    go(container_of(timer, struct run, timer));
}

static void tried(struct op *op)
{
    struct run *run = op->finish_arg;
    struct err *e = take_ptr(&op->error);
    run->in_op = false;
    if (run->is_past) {
        err_free(e);
        end(run, err_new(STATUS_NOT_FOUND, "the disk was deleted meanwhile"));
    } else if (!e) {
        end(run, NULL);
    } else {
        if (!run->job->trouble[0]) log_failure("VSS flags stay on a disk for now", e);
        err_text(e, run->job->trouble, sizeof run->job->trouble);
        err_free(e);
        rt_timer_set(run->control->rt, &run->timer, rt_now(run->control->rt) + RETRY_NS, try_again);
        if (!job_goes_on(run->job)) go(run);
    }
}

static void go(struct run *run)
{
    static op_step *const steps[] = {step_clear, NULL};
    static const struct op_plan plan = {
        .verb = "vss_flags", .lane = OP_LANE_GENERAL, .steps = steps};
    struct job *job = run->job;
    rt_timer_cancel(run->control->rt, &run->timer);
    if (run->in_op) return;
    if (run->control->stopping) {
        drop(job);
        job_suspended(job);
    } else if (job->is_cancelled) {
        end(run, err_next(err_new(STATUS_CANCELLED, "it was cancelled"),
                          "volumes of the disk are still hidden and read-only, as VSS marked them;"
                          " on Windows: diskpart, attributes volume clear"));
    } else if (job->row.state == JOB_RUNNING) {
        run->in_op = true;
        op_start_internal(run->control, &plan, NULL, tried, run);
    }
}

/* ---- The job ---- */

static void start(struct job *job)
{
    struct run *run = calloc(1, sizeof *run);
    check(run);
    *run = (struct run){.job = job,
                        .control = job->control};
    const char *disk_text = json_string_value(json_object_get(job->work, "disk"));
    if (!disk_text || !uuid_parse(disk_text, &run->disk)) run->disk = (struct uuid){0};
    job->run = run;
    struct disk *disk = inventory_disk(run->control, &run->disk);
    if (disk && !disk->job) disk->job = job;
    go(run);
}

static void poke(struct job *job)
{
    go(job->run);
}

const struct job_type job_types_vss[] = {
    {"vss_flags", start, poke, poke, poke, drop, NULL},
    {0},
};
