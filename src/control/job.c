/* Jobs: work that outlives its request.  The engine's part runs outside the lanes; its end is an
 * operation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

struct job *job_begin(struct control *control, const char *verb, const char *object)
{
    struct catalog_job row = {.uuid = rt_uuid(control->rt),
                              .state = JOB_RUNNING,
                              .started_ns = rt_wall(control->rt),
                              .answer = ""};
    snprintf(row.verb, sizeof row.verb, "%s", verb);
    snprintf(row.object, sizeof row.object, "%s", object);
    control->jobs_running++;
    return inventory_add_job(control, &row);
}

void job_wake(struct job *job)
{
    struct list_node *node;
    while ((node = list_pop_front(&job->waiters))) {
        struct op *op = list_entry(node, struct op, lane_link);
        rt_timer_cancel(op->control->rt, &op->timer);
        op_next(op);
    }
}

void job_wait_cancel_all(struct control *control)
{
    list_for_each (node, &control->jobs) {
        job_wake(container_of(list_entry(node, struct object, link), struct job, object));
    }
}

/* ---- The end of a job
 * ------------------------------------------------------------------------------------ */

struct job_end {
    struct job *job;
    struct catalog_job job_row;
    struct catalog_pool pool_row;
    bool keep_pool, drop_pool;
};

static struct err *end_write(struct catalog *catalog, void *arg)
{
    const struct job_end *end = ((struct op *)arg)->data;
    TRY(catalog_put_job(catalog, &end->job_row));
    if (end->keep_pool) TRY(catalog_put_pool(catalog, &end->pool_row));
    if (end->drop_pool) TRY(catalog_delete_pool(catalog, &end->pool_row.uuid));
    return NULL;
}

static void step_end_store(struct op *op)
{
    struct job *job = op->finish_arg;
    struct job_end *end = op_data(op, sizeof *end);
    bool failed = job->failure != NULL;
    if (strcmp(job->row.verb, "pool_create") == 0) {
        end->keep_pool = !failed;
        end->drop_pool = failed;
        end->pool_row = job->pool->row;
        end->pool_row.state = CATALOG_READY;
        if (!failed) job->pool->row.state = CATALOG_READY;
    }
    json_t *answer = failed ? json_failure(job->failure)
                     : end->keep_pool
                         ? json_pool(op->control, job->pool, false)
                         : json_pack("{s:s, s:b}", "pool", job->row.object, "clean", 1);
    free(job->answer);
    job->answer = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    check(job->answer);
    job->row.answer = job->answer;
    job->row.finished_ns = rt_wall(op->control->rt);
    end->job_row = job->row;
    end->job_row.state = failed ? JOB_FAILED : JOB_DONE;
    op_catalog(op, end_write);
}

static op_step *const end_job_steps[] = {step_end_store, NULL};

static void job_ended(struct op *op)
{
    struct job *job = op->finish_arg;
    if (op->error) log_failure("the end of a job could not be recorded", op->error);
    job->row.state = job->failure ? JOB_FAILED : JOB_DONE;
    if (job->failure && strcmp(job->row.verb, "pool_create") == 0) {
        inventory_remove_pool(op->control, job->pool);
    }
    job->pool = NULL;
    err_free(take_ptr(&job->failure));
    op->control->jobs_running--;
    job_wake(job);
}

static void job_end(struct job *job, struct err *e)
{
    static const struct op_plan plan = {
        .verb = "job_end", .lane = OP_LANE_GENERAL, .steps = end_job_steps};
    job->failure = e;
    op_start_internal(job->control, &plan, NULL, job_ended, job);
}

/* ---- Making and checking pools
 * ------------------------------------------------------------------------------ */

static void progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct job *job = arg;
    job->done_bytes = done_bytes;
    job->total_bytes = total_bytes;
}

static void pool_opened(void *arg, struct err *e)
{
    struct job *job = arg;
    struct volume_pool *opened = take_ptr(&job->opened);
    if (!e) job->pool->engine = opened;
    job_end(job, e ? err_wrap(e, "open pool \"%s\"", job->row.object) : NULL);
}

static void pool_created(void *arg, struct err *e)
{
    struct job *job = arg;
    if (e) {
        job_end(job, err_wrap(e, "make pool \"%s\"", job->row.object));
        return;
    }
    struct control *control = job->control;
    control->options.engine->pool_open(control->rt, job->pool->row.path, &job->pool_options,
                                       &job->opened, pool_opened, job);
}

void job_run_pool_create(struct job *job)
{
    struct control *control = job->control;
    control->options.engine->pool_create(control->rt, job->pool->row.path, job->size_bytes,
                                         &job->pool->row.uuid, &job->pool_options, job->overwrite,
                                         progress, pool_created, job);
}

static void pool_checked(void *arg, struct err *e)
{
    struct job *job = arg;
    job_end(job, e ? err_wrap(e, "check pool \"%s\"", job->row.object) : NULL);
}

void job_run_pool_check(struct job *job)
{
    volume_pool_check(job->pool->engine, pool_checked, job);
}
