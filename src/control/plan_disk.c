/* Verbs on disks and branches.  A row says "creating" before the engine makes the disk and
 * "deleting" before it deletes it, so that a crash between leaves neither a disk without a name nor
 * a name without a disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

struct disk_data {
    struct disk *disk;
    struct pool *pool;
    struct uuid point; /* of a branch */
    struct catalog_disk row;
    bool is_vss; /* branched off a point that was cut through VSS */
    char text[VSS_TEXT_MAX];
};

static struct err *disk_write(struct catalog *catalog, void *arg)
{
    const struct disk_data *data = ((struct op *)arg)->data;
    return catalog_put_disk(catalog, &data->row);
}

static struct err *disk_write_new(struct catalog *catalog, void *arg)
{
    struct disk_data *data = ((struct op *)arg)->data;
    TRY(catalog_issue_identity(catalog, &data->row.uuid, data->row.created_ns, data->row.naa));
    return catalog_put_disk(catalog, &data->row);
}

static struct err *disk_write_gone(struct catalog *catalog, void *arg)
{
    const struct disk_data *data = ((struct op *)arg)->data;
    return catalog_delete_disk(catalog, &data->row.uuid);
}

/* ---- Create and branch ----------------------------------------------------------------------- */

static struct err *check_size(uint64_t size)
{
    if (size % BLOCK_BYTES) {
        return err_new(STATUS_BAD_REQUEST, "\"size\" must be a multiple of 4 KiB");
    }
    if (size < LIMIT_DISK_MIN_BYTES || size > LIMIT_DISK_MAX_BYTES) {
        return err_new(STATUS_BAD_REQUEST, "\"size\" must be 1M to 256T");
    }
    return NULL;
}

static struct err *default_pool(struct op *op, struct pool **ret_pool)
{
    const char *text = arg_text(op, "pool");
    if (text) return find_pool(op->control, text, ret_pool);
    struct list_node *first = list_front(&op->control->pools);
    if (!first) {
        return err_next(err_new(STATUS_NOT_FOUND, "there is no pool yet"),
                        "tarn pool create NAME --path FILE --size SIZE");
    }
    if (first->next != &op->control->pools.head) {
        return err_next(err_new(STATUS_BAD_REQUEST, "there are several pools: \"pool\" is missing"),
                        "tarn pool list");
    }
    *ret_pool = container_of(list_entry(first, struct object, link), struct pool, object);
    return NULL;
}

static void fill_row(struct op *op, struct disk_data *data, const char *name, uint64_t size)
{
    data->row = (struct catalog_disk){.uuid = rt_uuid(op->control->rt),
                                      .pool = data->pool->row.uuid,
                                      .state = CATALOG_CREATING,
                                      .size_bytes = size,
                                      .parent_point = data->point,
                                      .created_ns = rt_wall(op->control->rt)};
    snprintf(data->row.name, sizeof data->row.name, "%s", name);
}

static struct err *create_check(struct op *op, struct disk_data *data)
{
    TRY(check_size(arg_uint(op, "size", 0)));
    TRY(name_check_free(&op->control->disks, "disk", arg_text(op, "name")));
    TRY(default_pool(op, &data->pool));
    TRY(pool_check_open(data->pool));
    fill_row(op, data, arg_text(op, "name"), arg_uint(op, "size", 0));
    return NULL;
}

static struct err *branch_check(struct op *op, struct disk_data *data)
{
    struct snapshot *snapshot = NULL;
    TRY(find_snapshot(op->control, arg_text(op, "name"), &snapshot));
    TRY(name_check_free(&op->control->disks, "disk", arg_text(op, "new_name")));
    TRY(snapshot_check_ready(snapshot));
    data->pool = snapshot->disk->pool;
    TRY(pool_check_open(data->pool));
    struct volume_disk_info info;
    if (volume_disk_find(data->pool->engine, &snapshot->disk->row.uuid, &info) &&
        info.depth >= LIMIT_BRANCH_DEPTH) {
        return err_new(STATUS_LIMIT_REACHED, "branches are at most %d deep", LIMIT_BRANCH_DEPTH);
    }
    data->point = snapshot->row.point;
    data->is_vss = snapshot->set->row.vss;
    fill_row(op, data, arg_text(op, "new_name"), snapshot->row.size_bytes);
    return NULL;
}

static void begin(struct op *op, struct err *(*check_fn)(struct op *op, struct disk_data *data))
{
    struct disk_data *data = op_data(op, sizeof *data);
    struct err *e = check_fn(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    op_catalog(op, disk_write_new);
}

static void step_create(struct op *op)
{
    begin(op, create_check);
}

static void step_branch(struct op *op)
{
    begin(op, branch_check);
}

static void step_engine(struct op *op)
{
    struct disk_data *data = op->data;
    op->undo_due = true;
    if (uuid_is_nil(&data->point)) {
        volume_disk_create(data->pool->engine, &data->row.uuid, data->row.size_bytes, op_done, op);
    } else {
        volume_branch(data->pool->engine, &data->point, &data->row.uuid, op_done, op);
    }
}

/* Outside of VSS nobody else makes its volumes visible (S10). */
static void step_flags(struct op *op)
{
    struct disk_data *data = op->data;
    if (!data->is_vss || arg_bool(op, "keep_vss_flags")) {
        op_next(op);
        return;
    }
    vss_flags_clear(op->control, data->pool->engine, &data->row.uuid, data->text, op_done, op);
}

static void step_ready(struct op *op)
{
    struct disk_data *data = op->data;
    data->row.state = CATALOG_READY;
    op_catalog_audited(op, disk_write);
}

static void step_publish(struct op *op)
{
    struct disk_data *data = op->data;
    op->result = json_disk(op->control, inventory_add_disk(op->control, &data->row));
    if (data->text[0]) json_object_set_new(op->result, "note", json_string(data->text));
    op_next(op);
}

/* Made or not, gone or not is not known: the row stays "creating", and the next start decides. */
static void engine_undone(void *arg, struct err *e)
{
    struct op *op = arg;
    if (e) {
        log_failure("a disk that could not be made could not be deleted; the next start does it", e);
        err_free(e);
        op_end(op);
        return;
    }
    op_next(op);
}

/* The engine may have made the disk and the row could not be written: the disk goes too. */
static void step_undo_engine(struct op *op)
{
    struct disk_data *data = op->data;
    struct volume_disk_info info;
    if (volume_pool_state(data->pool->engine) != VOLUME_POOL_OK) {
        op_end(op); /* as in engine_undone */
        return;
    }
    if (volume_disk_find(data->pool->engine, &data->row.uuid, &info)) {
        volume_disk_delete(data->pool->engine, &data->row.uuid, engine_undone, op);
    } else {
        op_next(op);
    }
}

static void step_undo_row(struct op *op)
{
    op_catalog(op, disk_write_gone);
}

static op_step *const create_steps[] = {step_create, step_engine, step_ready, step_publish, NULL};
static op_step *const branch_steps[] = {step_branch, step_engine,  step_flags,
                                        step_ready,  step_publish, NULL};
static op_step *const undo_steps[] = {step_undo_engine, step_undo_row, NULL};

/* ---- Grow, rename ---------------------------------------------------------------------------- */

static struct err *find_ready(struct op *op, struct disk_data *data)
{
    TRY(find_disk(op->control, arg_text(op, "name"), &data->disk));
    data->pool = data->disk->pool;
    data->row = data->disk->row;
    if (data->row.state != CATALOG_READY) {
        return err_new(STATUS_CONFLICT, "disk \"%s\" is %s", data->row.name,
                       catalog_state_name(data->row.state));
    }
    return NULL;
}

static struct err *grow_check(struct op *op, struct disk_data *data)
{
    uint64_t size = arg_uint(op, "size", 0);
    TRY(check_size(size));
    TRY(find_ready(op, data));
    TRY(pool_check_open(data->pool));
    if (size < data->row.size_bytes) {
        char text[TEXT_SIZE_MAX];
        return err_next(err_new(STATUS_BAD_REQUEST, "disk \"%s\" has %s; a disk can only grow",
                                data->row.name, text_format_size(data->row.size_bytes, text)),
                        "give a larger size");
    }
    data->row.size_bytes = size;
    return NULL;
}

static void step_grow(struct op *op)
{
    struct disk_data *data = op_data(op, sizeof *data);
    struct err *e = grow_check(op, data);
    if (e) {
        op_fail(op, e);
    } else if (data->row.size_bytes == data->disk->row.size_bytes) {
        op_next(op);
    } else {
        volume_disk_resize(data->pool->engine, &data->row.uuid, data->row.size_bytes, op_done, op);
    }
}

static void step_store(struct op *op)
{
    op_catalog_audited(op, disk_write);
}

static void step_stored(struct op *op)
{
    struct disk_data *data = op->data;
    data->disk->row = data->row;
    op->result = json_disk(op->control, data->disk);
    op_next(op);
}

static void step_rename(struct op *op)
{
    struct disk_data *data = op_data(op, sizeof *data);
    const char *name = arg_text(op, "new_name");
    struct err *e = find_ready(op, data);
    if (!e && strcmp(name, data->row.name) != 0)
        e = name_check_free(&op->control->disks, "disk", name);
    if (!e) snprintf(data->row.name, sizeof data->row.name, "%s", name);
    op_done(op, e);
}

static op_step *const grow_steps[] = {step_grow, step_store, step_stored, NULL};
static op_step *const rename_steps[] = {step_rename, step_store, step_stored, NULL};

const struct op_plan plans_disk[] = {
    {"disk_create", OP_LANE_GENERAL, create_steps, undo_steps},
    {"disk_grow", OP_LANE_GENERAL, grow_steps, NULL},
    {"disk_rename", OP_LANE_GENERAL, rename_steps, NULL},
    {"snapshot_branch", OP_LANE_GENERAL, branch_steps, undo_steps},
    {0},
};
