/*
 * disk revert and disk undo: a disk's content becomes that of one of its own points (one record of
 * the engine); what it was is kept as an undo point.  The undo point's row is there, pending,
 * before the engine makes the point, so that a crash between leaves neither a point without a name
 * nor a name without a point.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

struct revert_data {
    struct disk *disk;
    struct uuid point; /* what it becomes */
    uint64_t point_size_bytes, point_wall_ns;
    struct snapshot *by_job;  /* its content takes more than the one record */
    struct job *repeats_job;
    bool repeats;             /* it has that content by the last revert, nothing was written since */
    uint64_t change_count;
    struct catalog_undo undo; /* what it was */
    struct catalog_disk row;
};

/* ---- What would happen ----------------------------------------------------------------------- */

static const char *ago(struct control *control, uint64_t wall_ns, char text[TEXT_SIZE_MAX])
{
    uint64_t now = rt_wall(control->rt);
    return text_format_age(now > wall_ns ? now - wall_ns : 0, text);
}

static void say_newer(struct op *op, const struct revert_data *data, json_t *would)
{
    struct volume_point_info then, info;
    if (!volume_point_find(data->disk->pool->engine, &data->point, &then)) return;
    list_for_each (node, &op->control->snapshots) {
        const struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk != data->disk || uuid_equal(&s->row.point, &data->point)) continue;
        if (!volume_point_find(data->disk->pool->engine, &s->row.point, &info)) continue;
        if (info.generation <= then.generation) continue;
        json_array_append_new(would,
                              json_sprintf("keep snapshot \"%s\", which is newer", s->row.name));
    }
}

static json_t *would_do(struct op *op, const struct revert_data *data)
{
    char from[TEXT_SIZE_MAX], to[TEXT_SIZE_MAX], age[TEXT_SIZE_MAX], time[TEXT_TIME_MAX];
    json_t *would = json_array();
    json_array_append_new(would, json_sprintf("give disk \"%s\" the content it had at %s, %s ago",
                                              data->disk->row.name,
                                              text_format_time(data->point_wall_ns, time),
                                              ago(op->control, data->point_wall_ns, age)));
    json_array_append_new(
        would, json_sprintf("take away everything that was written to it since; keep that"
                            " for 24 hours as undo point \"%s\"",
                            data->undo.name));
    if (data->point_size_bytes != data->row.size_bytes) {
        json_array_append_new(would, json_sprintf("change its size from %s to %s",
                                                  text_format_size(data->row.size_bytes, from),
                                                  text_format_size(data->point_size_bytes, to)));
    }
    say_newer(op, data, would);
    disk_say_who_uses(op, data->disk, would);
    return would;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static struct err *take_disk(struct op *op, struct revert_data *data)
{
    TRY(find_disk(op->control, arg_text(op, "name"), &data->disk));
    data->row = data->disk->row;
    if (data->row.state != CATALOG_READY) {
        return err_new(STATUS_CONFLICT, "disk \"%s\" is %s", data->row.name,
                       catalog_state_name(data->row.state));
    }
    return pool_check_open(data->disk->pool);
}

static struct err *take_point(struct revert_data *data, const struct uuid *point)
{
    struct volume_point_info info;
    check(point);
    if (!volume_point_find(data->disk->pool->engine, point, &info)) {
        return err_new(STATUS_CONFLICT, "the point is missing in pool \"%s\"",
                       data->disk->pool->row.name);
    }
    data->point = *point;
    data->point_size_bytes = info.size_bytes;
    data->point_wall_ns = info.wall_ns;
    return NULL;
}

static void fill_undo(struct op *op, struct revert_data *data, const char *what, const char *name)
{
    struct control *control = op->control;
    data->undo = (struct catalog_undo){.uuid = rt_uuid(control->rt),
                                       .disk = data->row.uuid,
                                       .state = SNAPSHOT_PENDING,
                                       .size_bytes = data->row.size_bytes,
                                       .made_ns = rt_wall(control->rt),
                                       .expires_ns = clock_now(control) + UNDO_KEPT_NS};
    name_by_time(control, &data->disk->undos, "before-revert", data->undo.name);
    snprintf(data->undo.cause, sizeof data->undo.cause, "%s \"%s\"", what, name);
}

static struct job *job_of(struct control *control, const struct uuid *uuid)
{
    list_for_each (node, &control->jobs) {
        struct object *object = list_entry(node, struct object, link);
        if (uuid_equal(object->uuid, uuid)) return container_of(object, struct job, object);
    }
    return NULL;
}

/* Who did not get the answer asks again: a second undo point would stand before the one that he wants. */
static bool is_repeated(struct op *op, struct revert_data *data, const struct snapshot *snapshot,
                        bool clears_flags)
{
    const struct disk_given *given = &data->disk->given;
    const struct undo *newest = NULL;
    list_for_each (node, &data->disk->undos)
        newest = container_of(list_entry(node, struct object, link), struct undo, object);
    if (arg_bool(op, "force") || !newest || !uuid_equal(&newest->row.uuid, &given->undo) ||
        newest->row.state != SNAPSHOT_READY)
        return false;
    data->repeats_job = job_of(op->control, &given->job);
    return uuid_equal(&given->point, &snapshot->row.point) && given->clears_flags == clears_flags &&
           (uuid_is_nil(&given->job) || data->repeats_job) &&
           data->row.size_bytes == data->point_size_bytes &&
           given->change_count == serve_change_count(&data->disk->served);
}

static void answer_again(struct op *op, const struct revert_data *data)
{
    const char *undo = inventory_undo(op->control, &data->disk->given.undo)->row.name;
    json_t *note = json_sprintf("disk \"%s\" has that content already by its last revert, and nothing"
                                " was written since; what it was before is undo point \"%s\"",
                                data->disk->row.name, undo);
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, json_pack("[o]", json_sprintf("change nothing: %s", json_string_value(note))));
        json_decref(note);
    } else if (data->repeats_job) {
        op->result = json_pack("{s:o, s:o}", "job", json_job(data->repeats_job), "note", note);
        op_end(op);
    } else {
        op->result = json_disk(op->control, data->disk);
        json_object_set_new(op->result, "note", note);
        op_end(op);
    }
}

static struct err *revert_check(struct op *op, struct revert_data *data)
{
    struct snapshot *snapshot = NULL;
    TRY(take_disk(op, data));
    TRY(find_snapshot_of(op->control, arg_text(op, "to"), data->disk, &snapshot));
    if (snapshot->disk != data->disk) {
        return err_next(err_new(STATUS_CONFLICT,
                                "snapshot \"%s\" is one of disk \"%s\", not of \"%s\"",
                                snapshot->row.name, snapshot->disk->row.name, data->row.name),
                        "tarn disk replace %s --from %s", data->row.name, snapshot->row.name);
    }
    TRY(snapshot_check_ready(snapshot));
    TRY(check_disk_idle(data->disk));
    /* What was cut through VSS is made visible behind the record, whatever happens between: a dry
     * run says the same of it as of any other revert. */
    bool is_written = snapshot_content_is_branch(op, snapshot);
    bool clears_flags = snapshot->set->row.vss && !arg_bool(op, "keep_vss_flags");
    TRY(take_point(data, &snapshot->row.point));
    data->repeats = !is_written && is_repeated(op, data, snapshot, clears_flags);
    if (data->repeats) return NULL;
    if (is_written || (clears_flags && !arg_bool(op, "dry_run"))) {
        data->by_job = snapshot;
        return NULL;
    }
    fill_undo(op, data, "revert to snapshot", snapshot->row.name);
    return disk_check_quiet(op, data->disk);
}

static struct err *find_undo(struct revert_data *data, const char *text, struct undo **ret_undo)
{
    struct object *object = NULL;
    if (text) {
        TRY(object_find(&data->disk->undos, "undo point", text, &object));
    } else {
        list_for_each (node, &data->disk->undos) { /* the newest that is there */
            struct object *o = list_entry(node, struct object, link);
            if (container_of(o, struct undo, object)->row.state == SNAPSHOT_READY) object = o;
        }
    }
    if (!object) {
        return err_next(
            err_new(STATUS_NOT_FOUND, "disk \"%s\" has nothing to undo", data->row.name),
            "undo points are kept for 24 hours: tarn disk undo %s --list", data->row.name);
    }
    *ret_undo = container_of(object, struct undo, object);
    return NULL;
}

static struct err *undo_check(struct op *op, struct revert_data *data)
{
    struct undo *undo = NULL;
    TRY(take_disk(op, data));
    TRY(check_disk_idle(data->disk));
    TRY(find_undo(data, arg_text(op, "to"), &undo));
    TRY(take_point(data, &undo->row.uuid));
    fill_undo(op, data, "undo to", undo->row.name);
    return disk_check_quiet(op, data->disk);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static struct err *write_pending(struct catalog *catalog, void *arg)
{
    const struct revert_data *data = ((struct op *)arg)->data;
    return catalog_put_undo(catalog, &data->undo);
}

static void begin(struct op *op, struct err *(*check_fn)(struct op *op, struct revert_data *data))
{
    struct revert_data *data = op_data(op, sizeof *data);
    struct err *e = check_fn(op, data);
    if (e) {
        op_fail(op, e);
    } else if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_do(op, data));
    } else {
        op_catalog(op, write_pending);
    }
}

static void step_revert(struct op *op)
{
    struct revert_data found = {0};
    struct err *e = revert_check(op, &found);
    err_free(e); /* begin finds it again */
    if (!e && found.repeats) {
        answer_again(op, &found);
    } else if (!e && found.by_job) {
        replace_instead(op, found.disk, found.by_job);
    } else {
        begin(op, revert_check);
    }
}

static void step_list(struct op *op)
{
    struct disk *disk = NULL;
    struct err *e = find_disk(op->control, arg_text(op, "name"), &disk);
    if (e) {
        op_fail(op, e);
        return;
    }
    json_t *array = json_array();
    list_for_each (node, &disk->undos) {
        json_array_append_new(array, json_undo(container_of(list_entry(node, struct object, link),
                                                            struct undo, object)));
    }
    op->result = json_pack("{s:s, s:o}", "disk", disk->row.name, "undo_points", array);
    op_end(op);
}

static void step_undo(struct op *op)
{
    if (arg_bool(op, "list")) {
        step_list(op);
    } else {
        begin(op, undo_check);
    }
}

static void step_engine(struct op *op)
{
    struct revert_data *data = op->data;
    op->undo_due = true;
    data->change_count = serve_change_count(&data->disk->served);
    volume_revert(data->disk->pool->engine, &data->row.uuid, &data->point, &data->undo.uuid,
                  op_done, op);
}

static struct err *write_done(struct catalog *catalog, void *arg)
{
    const struct revert_data *data = ((struct op *)arg)->data;
    TRY(catalog_put_disk(catalog, &data->row));
    return catalog_put_undo(catalog, &data->undo);
}

static void step_store(struct op *op)
{
    struct revert_data *data = op->data;
    op->undo_due =
        false; /* it is done; a row that cannot be written is put right by the next start */
    data->undo.state = SNAPSHOT_READY;
    data->row.size_bytes = data->point_size_bytes;
    inventory_add_undo(op->control, &data->undo);
    data->disk->given = (struct disk_given){
        .point = data->point, .undo = data->undo.uuid, .change_count = data->change_count};
    data->disk->row.size_bytes = data->point_size_bytes;
    op_catalog_audited(op, write_done);
}

static void step_answer(struct op *op)
{
    struct revert_data *data = op->data;
    op->result = json_disk(op->control, data->disk);
    op_next(op);
}

static struct err *write_gone(struct catalog *catalog, void *arg)
{
    const struct revert_data *data = ((struct op *)arg)->data;
    return catalog_delete_undo(catalog, &data->undo.uuid);
}

/* Made or not is known only while the pool has not failed; else the row waits for the next start.
 */
static void step_back(struct op *op)
{
    struct revert_data *data = op->data;
    struct volume_point_info info;
    struct volume_pool *engine = data->disk->pool->engine;
    if (volume_pool_state(engine) != VOLUME_POOL_OK ||
        volume_point_find(engine, &data->undo.uuid, &info)) {
        op_end(op);
        return;
    }
    op_catalog(op, write_gone);
}

static op_step *const revert_steps[] = {step_revert, step_engine, step_store, step_answer, NULL};
static op_step *const undo_steps[] = {step_undo, step_engine, step_store, step_answer, NULL};
static op_step *const back_steps[] = {step_back, NULL};

const struct op_plan plans_revert[] = {
    {"disk_revert", OP_LANE_GENERAL, revert_steps, back_steps},
    {"disk_undo", OP_LANE_GENERAL, undo_steps, back_steps},
    {0},
};
