/* Pausing, resuming and cancelling durable jobs. */
#include <string.h>

#include "control/control_int.h"

struct job_data {
    struct job *job;
    struct catalog_job row;
};

static struct err *job_check(struct op *op, struct job_data *data)
{
    TRY(find_job(op->control, arg_text(op, "name"), &data->job));
    struct job *job = data->job;
    data->row = job->row;
    if (job_is_over(job)) {
        return err_next(err_new(STATUS_CONFLICT, "job %s has ended: it is %s", job->name,
                                catalog_job_state_name(job->row.state)),
                        "tarn job show %s", job->name);
    }
    if (!job->type) {
        return err_next(
            err_new(STATUS_NOT_SUPPORTED, "%s cannot be paused or cancelled", job->row.verb),
            "tarn job wait %s", job->name);
    }
    return NULL;
}

static struct err *job_write(struct catalog *catalog, void *arg)
{
    const struct job_data *data = ((struct op *)arg)->data;
    return catalog_put_job(catalog, &data->row);
}

static void to_state(struct op *op, enum catalog_job_state state)
{
    struct job_data *data = op_data(op, sizeof *data);
    struct err *e = job_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    data->row.state = state;
    op_catalog_audited(op, job_write);
}

static void step_pause(struct op *op)
{
    to_state(op, JOB_PAUSED);
}

static void step_resume(struct op *op)
{
    to_state(op, JOB_RUNNING);
}

static void step_told(struct op *op)
{
    struct job_data *data = op->data;
    struct job *job = data->job;
    bool changes = !job_is_over(job) && job->row.state != data->row.state;
    if (changes) job->row.state = data->row.state;
    if (changes && job->run) job->type->pause(job);
    op->result = json_pack("{s:o}", "job", json_job(job));
    op_next(op);
}

/* As the jobs themselves do it: job_promote.c, job_replace.c, job_verify.c, job_vss.c. */
static json_t *would_cancel(const struct job *job)
{
    static const struct {
        const char *verb, *leaves;
    } kinds[] = {
        {"disk_replace", "leave the disk as it is; what was copied goes"},
        {"disk_revert", "leave the disk as it is; what was copied goes"},
        {"vss_flags", "leave volumes of the disk hidden and read-only, as VSS marked them"},
        {"snapshot_verify", "leave the snapshots as they are"},
        {"set_break", "leave what became a disk already, and keep the rest of the set as it was;"
                      " what was copied stays"},
    };
    const char *leaves = "leave what is done already as it is; what was copied stays";
    for (unsigned i = 0; i < countof(kinds); i++) {
        if (strcmp(kinds[i].verb, job->row.verb) == 0) leaves = kinds[i].leaves;
    }
    json_t *would = json_array();
    if (job->is_cancelled) return would;
    json_array_append_new(
        would, json_sprintf("end job %s: %s of \"%s\"", job->name, job->row.verb, job->row.object));
    json_array_append_new(would, json_string(leaves));
    return would;
}

static void step_cancel(struct op *op)
{
    struct job_data *data = op_data(op, sizeof *data);
    struct err *e = job_check(op, data);
    if (!e && data->job->type->check_cancel) e = data->job->type->check_cancel(data->job);
    if (e) {
        op_fail(op, e);
    } else if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_cancel(data->job));
    } else {
        op_catalog_audited(op, NULL);
    }
}

static void step_cancelled(struct op *op)
{
    struct job *job = ((struct job_data *)op->data)->job;
    if (!job_is_over(job) && !job->is_cancelled) {
        job->is_cancelled = true;
        if (job->run) job->type->cancel(job);
    }
    op->result = json_pack("{s:o}", "job", json_job(job));
    op_next(op);
}

static op_step *const pause_steps[] = {step_pause, step_told, NULL};
static op_step *const resume_steps[] = {step_resume, step_told, NULL};
static op_step *const cancel_steps[] = {step_cancel, step_cancelled, NULL};

const struct op_plan plans_job[] = {
    {"job_pause", OP_LANE_GENERAL, pause_steps, NULL},
    {"job_resume", OP_LANE_GENERAL, resume_steps, NULL},
    {"job_cancel", OP_LANE_GENERAL, cancel_steps, NULL},
    {0},
};
