/* Verbs on pools. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

struct pool_data {
    struct pool *pool;
    struct job *job;
    struct catalog_pool row;
    struct catalog_job job_row;
};

/* ---- Create ---------------------------------------------------------------------------------- */

static struct err *check_path(struct control *control, const char *path)
{
    if (path[0] != '/' || strlen(path) >= CATALOG_PATH_SIZE) {
        return err_new(STATUS_BAD_REQUEST, "\"path\" must be an absolute path of at most %d bytes",
                       CATALOG_PATH_SIZE - 1);
    }
    list_for_each (node, &control->pools) {
        struct pool *pool =
            container_of(list_entry(node, struct object, link), struct pool, object);
        if (strcmp(pool->row.path, path) == 0) {
            return err_new(STATUS_EXISTS, "pool \"%s\" lies at %s already", pool->row.name, path);
        }
    }
    return NULL;
}

static struct err *create_check(struct op *op, struct pool_data *data)
{
    const char *name = arg_text(op, "name"), *path = arg_text(op, "path");
    uint64_t size = arg_uint(op, "size", 0);
    TRY(name_check_free(&op->control->pools, "pool", name));
    TRY(check_path(op->control, path));
    if (arg_is_given(op, "size") && size < LIMIT_POOL_MIN_BYTES) {
        return err_new(STATUS_BAD_REQUEST, "a pool has at least 64M");
    }
    data->row = (struct catalog_pool){.uuid = rt_uuid(op->control->rt),
                                      .state = CATALOG_CREATING,
                                      .created_ns = rt_wall(op->control->rt)};
    snprintf(data->row.name, sizeof data->row.name, "%s", name);
    snprintf(data->row.path, sizeof data->row.path, "%s", path);
    return NULL;
}

static struct err *create_write(struct catalog *catalog, void *arg)
{
    const struct pool_data *data = ((struct op *)arg)->data;
    TRY(catalog_put_pool(catalog, &data->row));
    return catalog_put_job(catalog, &data->job_row);
}

static json_t *would_create(struct op *op, const struct pool_data *data)
{
    json_t *would =
        json_pack("[o]", json_sprintf("make pool \"%s\" on %s", data->row.name, data->row.path));
    json_array_append_new(
        would, json_string(arg_bool(op, "overwrite")
                               ? "destroy everything that is there, if it is a device"
                               : "fail, and change nothing, if there is something already"));
    return would;
}

static void step_create(struct op *op)
{
    struct pool_data *data = op_data(op, sizeof *data);
    struct err *e = create_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_create(op, data));
        return;
    }
    data->job = job_begin(op->control, "pool_create", data->row.name);
    data->job_row = data->job->row;
    data->job_row.answer = "";
    op->undo_due = true;
    op_catalog_audited(op, create_write);
}

static void step_create_run(struct op *op)
{
    struct pool_data *data = op->data;
    struct job *job = data->job;
    job->pool = inventory_add_pool(op->control, &data->row);
    job->size_bytes = arg_uint(op, "size", 0);
    job->overwrite = arg_bool(op, "overwrite");
    job->pool_options = (struct volume_pool_options){
        .cache_bytes = op->control->options.cache_bytes, .sparse = arg_bool(op, "sparse")};
    op->result = json_pack("{s:o}", "job", json_job(job));
    job_run_pool_create(job);
    op_next(op);
}

static void step_forget_job(struct op *op)
{
    struct pool_data *data = op->data;
    op->control->jobs_running--;
    inventory_remove_job(data->job);
    op_next(op);
}

static op_step *const create_steps[] = {step_create, step_create_run, NULL};
static op_step *const undo_job_steps[] = {step_forget_job, NULL};

/* ---- Check ----------------------------------------------------------------------------------- */

static struct err *check_write(struct catalog *catalog, void *arg)
{
    const struct pool_data *data = ((struct op *)arg)->data;
    return catalog_put_job(catalog, &data->job_row);
}

static void step_check(struct op *op)
{
    struct pool_data *data = op_data(op, sizeof *data);
    struct err *e = find_pool(op->control, arg_text(op, "name"), &data->pool);
    if (!e && !data->pool->engine) e = pool_check_open(data->pool);
    if (e) {
        op_fail(op, e);
        return;
    }
    data->job = job_begin(op->control, "pool_check", data->pool->row.name);
    data->job->pool = data->pool;
    data->job_row = data->job->row;
    data->job_row.answer = "";
    op->undo_due = true;
    op_catalog_audited(op, check_write);
}

static void step_check_run(struct op *op)
{
    struct pool_data *data = op->data;
    op->result = json_pack("{s:o}", "job", json_job(data->job));
    job_run_pool_check(data->job);
    op_next(op);
}

static op_step *const check_steps[] = {step_check, step_check_run, NULL};

/* ---- Forget ---------------------------------------------------------------------------------- */

static struct err *forget_check(struct op *op, struct pool_data *data)
{
    TRY(find_pool(op->control, arg_text(op, "name"), &data->pool));
    struct pool *pool = data->pool;
    data->row = pool->row;
    if (pool->row.state != CATALOG_READY) {
        return err_new(STATUS_CONFLICT, "pool \"%s\" is being made", pool->row.name);
    }
    list_for_each (node, &op->control->disks) {
        struct disk *disk =
            container_of(list_entry(node, struct object, link), struct disk, object);
        if (disk->pool == pool) {
            return err_next(err_new(STATUS_IN_USE, "pool \"%s\" holds disk \"%s\"", pool->row.name,
                                    disk->row.name),
                            "delete its disks first: tarn disk list");
        }
    }
    list_for_each (node, &op->control->jobs) {
        struct job *job = container_of(list_entry(node, struct object, link), struct job, object);
        if (job->pool == pool)
            return err_new(STATUS_IN_USE, "a job works on pool \"%s\"", pool->row.name);
    }
    unsigned unclaimed = pool_unclaimed(op->control, pool, NULL);
    if (unclaimed) {
        return err_new(STATUS_IN_USE, "pool \"%s\" holds %u points that the catalog does not know",
                       pool->row.name, unclaimed);
    }
    return NULL;
}

static struct err *forget_write(struct catalog *catalog, void *arg)
{
    const struct pool_data *data = ((struct op *)arg)->data;
    return catalog_delete_pool(catalog, &data->row.uuid);
}

static json_t *would_forget(struct op *op, const struct pool *pool)
{
    json_t *would =
        json_pack("[o]", json_sprintf("close pool \"%s\" and forget it; %s stays as it is",
                                      pool->row.name, pool->row.path));
    list_for_each (node, &op->control->sets) {
        const struct set *set =
            container_of(list_entry(node, struct object, link), struct set, object);
        if (set->pool != pool || !list_is_empty(&set->members)) continue;
        json_array_append_new(would,
                              json_sprintf("forget the history of set \"%s\", which is %s",
                                           set->row.name, catalog_set_state_name(set->row.state)));
    }
    return would;
}

static void step_forget(struct op *op)
{
    struct pool_data *data = op_data(op, sizeof *data);
    struct err *e = forget_check(op, data);
    if (e) {
        op_fail(op, e);
    } else if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_forget(op, data->pool));
    } else {
        op_catalog_audited(op, forget_write);
    }
}

static void pool_closed(void *arg, struct err *e)
{
    ((struct op *)arg)->control->closing = NULL;
    op_done(arg, e);
}

static void step_forget_close(struct op *op)
{
    struct pool_data *data = op->data;
    op->result = json_deleted("pool", data->row.name, &data->row.uuid);
    struct volume_pool *engine = take_ptr(&data->pool->engine);
    if (engine) volume_pool_watch_space(engine, 0, NULL, NULL);
    if (engine) volume_pool_watch_state(engine, NULL, NULL);
    inventory_remove_pool(op->control, data->pool);
    if (engine) {
        op->control->closing = engine;
        volume_pool_close(engine, pool_closed, op);
    } else {
        op_next(op);
    }
}

static op_step *const forget_steps[] = {step_forget, step_forget_close, NULL};

const struct op_plan plans_pool[] = {
    {"pool_create", OP_LANE_GENERAL, create_steps, undo_job_steps},
    {"pool_check", OP_LANE_GENERAL, check_steps, undo_job_steps},
    {"pool_forget", OP_LANE_GENERAL, forget_steps, NULL},
    {0},
};
