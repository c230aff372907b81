/*
 * Jobs: work that outlives its request.  The engine's part runs outside the lanes; its end is an
 * operation.  A durable job (one whose verb has a type) outlives the process too: its row says what to
 * begin again, and beginning again does no harm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

void job_row_fill(struct control *control, const char *verb, const char *object, const char *text,
                  struct catalog_job *ret_row)
{
    *ret_row = (struct catalog_job){.uuid = rt_uuid(control->rt),
                                    .state = JOB_RUNNING,
                                    .started_ns = rt_wall(control->rt),
                                    .answer = "",
                                    .work = text};
    snprintf(ret_row->verb, sizeof ret_row->verb, "%s", verb);
    snprintf(ret_row->object, sizeof ret_row->object, "%s", object);
}

struct job *job_begin(struct control *control, const char *verb, const char *object)
{
    struct catalog_job row;
    job_row_fill(control, verb, object, "", &row);
    control->jobs_running++;
    return inventory_add_job(control, &row);
}

bool job_is_over(const struct job *job)
{
    return job->row.state == JOB_DONE || job->row.state == JOB_FAILED;
}

/* ---- Durable jobs ---------------------------------------------------------------------------- */

static const struct job_type *const families[] = {job_types_promote, job_types_replace,
                                                  job_types_verify, job_types_vss};

static const struct job_type *type_find(const char *verb)
{
    for (unsigned i = 0; i < countof(families); i++) {
        for (const struct job_type *type = families[i]; type->verb; type++) {
            if (strcmp(type->verb, verb) == 0) return type;
        }
    }
    return NULL;
}

bool job_goes_on(const struct job *job)
{
    return job->row.state == JOB_RUNNING && !job->is_cancelled && !job->control->stopping;
}

static void job_go(struct job *job)
{
    job->type = type_find(job->row.verb);
    check(job->type && job->work);
    job->control->jobs_running++;
    job->type->start(job);
}

struct job *job_launch(struct control *control, const struct catalog_job *row)
{
    struct job *job = inventory_add_job(control, row);
    job_go(job);
    return job;
}

void job_suspended(struct job *job)
{
    check(job->control->stopping);
    job->control->jobs_running--; /* its row says what to begin again */
    job_wake(job);
}

void job_resume_all(struct control *control)
{
    list_for_each (node, &control->jobs) {
        struct job *job = container_of(list_entry(node, struct object, link), struct job, object);
        if (!job_is_over(job)) job_go(job);
    }
}

void job_suspend_all(struct control *control)
{
    list_for_each (node, &control->jobs) {
        struct job *job = container_of(list_entry(node, struct object, link), struct job, object);
        if (job->run) job->type->suspend(job);
    }
}

bool job_can_resume(const struct job *job)
{
    return type_find(job->row.verb) && json_is_object(job->work);
}

/* ---- A pool that is too full --------------------------------------------------------------------- */

#define SPACE_RETRY_NS (30 * RT_SECOND)

void job_waits_for_space(struct job *job, const struct pool *pool, struct rt_timer *timer,
                         void (*look_again)(struct rt_timer *timer))
{
    struct rt *rt = job->control->rt;
    job->is_short_of_space = true;
    snprintf(job->trouble, sizeof job->trouble,
             "it waits for space in pool \"%s\"; what was copied stays", pool->row.name);
    if (!job->told_space) {
        event_note(job->control, LEVEL_WARNING, "job", job->row.object,
                   "%s waits for space in pool \"%s\", with what it has copied: make room, or tarn job cancel %s",
                   job->row.verb, pool->row.name, job->name);
    }
    job->told_space = true;
    rt_timer_set(rt, timer, rt_now(rt) + SPACE_RETRY_NS, look_again);
}

/* ---- A pool that is not there -------------------------------------------------------------------- */

void job_waits_for_pool(struct job *job, const struct pool *pool, struct err *e)
{
    if (e) log_failure("a job waits for its pool", e);
    err_free(e);
    snprintf(job->trouble, sizeof job->trouble,
             "it waits for pool \"%s\", which is %s; bring the pool back and start the server again: the job goes"
             " on then",
             pool->row.name, pool_state_text(pool));
    if (!job->told_pool) {
        event_note(job->control, LEVEL_WARNING, "job", job->row.object,
                   "%s waits for pool \"%s\", which is %s: bring the pool back and start the server again; it goes"
                   " on then",
                   job->row.verb, pool->row.name, pool_state_text(pool));
    }
    job->told_pool = true;
}

struct err *job_cancel_needs_pool(const struct job *job, const struct pool *pool, const char *what)
{
    return err_next(err_new(STATUS_CONFLICT,
                            "job %s cannot be cancelled while pool \"%s\" is %s: only that pool knows %s", job->name,
                            pool->row.name, pool_state_text(pool), what),
                    "bring the pool back and start the server again, then cancel it or let it go on; tarn pool show"
                    " %s",
                    pool->row.name);
}

void job_progress(struct job *job, uint64_t done_bytes)
{
    bool goes_on = done_bytes > job->done_bytes;
    job->done_bytes = done_bytes;
    if (!job->is_short_of_space || !goes_on) return;
    job->is_short_of_space = false;
    job->trouble[0] = '\0';
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

/* ---- The end of a job ------------------------------------------------------------------------ */

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

static json_t *json_check_report(const struct job *job)
{
    const struct volume_check_report *report = &job->check_report;
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I}", "pool", job->row.object, "clean", 1, "leaves",
                     (json_int_t)report->leaves, "unjudged_leaves",
                     (json_int_t)report->unjudged_leaves, "pages", (json_int_t)report->pages,
                     "unjudged_pages", (json_int_t)report->unjudged_pages);
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
    json_t *answer = failed        ? json_failure(job->failure)
                     : job->result ? json_incref(job->result)
                     : end->keep_pool
                         ? json_pool(op->control, job->pool, false)
                         : json_check_report(job);
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

void job_end(struct job *job, struct err *e)
{
    check(!job->run);
    static const struct op_plan plan = {
        .verb = "job_end", .lane = OP_LANE_GENERAL, .steps = end_job_steps};
    job->failure = e;
    op_start_internal(job->control, &plan, NULL, job_ended, job);
}

/* ---- Making and checking pools --------------------------------------------------------------- */

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
    if (!e) pool_watch_space(job->control, job->pool);
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
    volume_pool_check(job->pool->engine, &job->check_report, pool_checked, job);
}
