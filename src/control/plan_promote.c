/*
 * Verbs that promote, split and break.  They check, say what would happen (dry run), and leave the work to
 * a durable job (job_promote.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

struct promote_data {
    struct set *set;           /* of the set verbs */
    struct disk *disk;         /* of the disk verbs */
    struct snapshot *snapshot; /* of the snapshot verbs */
    bool is_split, is_break;
    const char *object;
    json_t *targets;
    struct job *job; /* the same was asked for before */
    bool is_done;    /* long ago: its job is forgotten */
    bool is_again;   /* a break that ended without a word in the catalog */
    char *text;
    struct catalog_job job_row;
    struct catalog_set set_row;
    struct catalog_event event;
};

static void data_free(void *pointer)
{
    struct promote_data *data = pointer;
    json_decref(data->targets);
    free(data->text);
    free(data);
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static struct err *check_created(const struct promote_data *data, const struct snapshot *snapshot)
{
    const struct set *set = snapshot->set;
    bool fits = set->row.state == (data->is_again ? SET_BREAKING : SET_CREATED);
    if (fits && snapshot->row.state == SNAPSHOT_READY) return NULL;
    return err_next(err_new(STATUS_CONFLICT, "snapshot \"%s\" belongs to set \"%s\", which is %s",
                            snapshot->row.name, set->row.name,
                            catalog_set_state_name(set->row.state)),
                    "tarn set show %s", set->row.name);
}

static void push_target(struct promote_data *data, const struct uuid *uuid, const char *name)
{
    char text[UUID_TEXT_SIZE];
    json_array_append_new(data->targets,
                          json_pack("{s:s, s:s}", "uuid", uuid_format(uuid, text), "name", name));
}

static struct err *take_snapshot(struct op *op, struct promote_data *data,
                                 struct snapshot *snapshot, const char *name)
{
    struct volume_point_info info;
    TRY(check_created(data, snapshot));
    if (!data->is_break || !promotion_gives_way(snapshot)) TRY(check_snapshot_idle(snapshot));
    TRY(snapshot_check_branch(snapshot));
    if (!volume_point_find(snapshot->disk->pool->engine, &snapshot->row.point, &info)) {
        return err_new(STATUS_CONFLICT, "snapshot \"%s\" is missing in its pool",
                       snapshot->row.name);
    }
    if (data->is_split) {
        TRY(snapshot_check_not_retained(op->control, snapshot)); /* a disk can be written to */
        TRY(name_check_free(&op->control->disks, "disk", name));
    }
    push_target(data, &snapshot->row.uuid, name);
    return NULL;
}

/* Asked for twice: the answer is the job that is at it. */
static bool is_at_it(const struct op *op, const struct job *job)
{
    return job && strcmp(job->row.verb, op->verb->id) == 0;
}

static struct err *check_one(struct op *op, struct promote_data *data)
{
    const char *name = arg_text(op, "new_name");
    TRY(find_snapshot(op->control, arg_text(op, "name"), &data->snapshot));
    data->object = data->snapshot->row.name;
    if (is_at_it(op, data->snapshot->job)) {
        data->job = data->snapshot->job;
        return NULL;
    }
    return take_snapshot(op, data, data->snapshot, name ? name : data->snapshot->row.name);
}

static struct job *job_of_set(struct control *control, const char *verb, const struct set *set)
{
    struct job *found = NULL;
    list_for_each (node, &control->jobs) {
        struct job *job = container_of(list_entry(node, struct object, link), struct job, object);
        struct uuid uuid;
        const char *text = json_string_value(json_object_get(job->work, "set"));
        if (strcmp(job->row.verb, verb) != 0 || !text || !uuid_parse(text, &uuid)) continue;
        if (uuid_equal(&uuid, &set->row.uuid)) found = job; /* the newest */
    }
    return found;
}

static struct err *decide_break(struct op *op, struct promote_data *data)
{
    struct set *set = data->set;
    struct set_facts facts = {.now_ns = rt_now(op->control->rt)};
    struct set_decision decision;
    TRY(set_decide(set->row.state, SET_EVENT_BREAK, &facts, &decision));
    data->is_again = set->row.state == SET_BREAKING;
    if (decision.action == SET_DO_NOTHING && !data->is_again) {
        data->job = job_of_set(op->control, op->verb->id, set);
        data->is_done = data->job == NULL;
        return NULL;
    }
    data->set_row = set->row;
    data->set_row.state = decision.to;
    data->event =
        (struct catalog_event){.set = set->row.uuid,
                               .sequence = min_of(set->event_count, (unsigned)SET_HISTORY_MAX - 1),
                               .state = decision.to,
                               .at_ns = rt_wall(op->control->rt)};
    return NULL;
}

static struct err *check_set(struct op *op, struct promote_data *data)
{
    TRY(find_set(op->control, arg_text(op, "name"), &data->set));
    struct set *set = data->set;
    data->object = set->row.name;
    struct job *job = job_of_set(op->control, op->verb->id, set);
    if (job && !job_is_over(job)) {
        data->job = job;
        return NULL;
    }
    if (set->lane.busy)
        return err_new(STATUS_AGAIN, "set \"%s\" is being worked on", set->row.name);
    if (data->is_break) {
        struct err *e = decide_break(op, data);
        if (e) return err_wrap(e, "set \"%s\"", set->row.name);
        if (data->job || data->is_done) return NULL;
    } else if (set->row.state != SET_CREATED) {
        return err_next(err_new(STATUS_CONFLICT, "set \"%s\" is %s", set->row.name,
                                catalog_set_state_name(set->row.state)),
                        "tarn set show %s", set->row.name);
    }
    list_for_each (node, &set->members) {
        struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (s->row.state == SNAPSHOT_TRASHED) continue;
        if (inventory_disk(op->control, &s->row.uuid)) continue; /* it became one */
        TRY(take_snapshot(op, data, s, s->row.name));
    }
    if (json_array_size(data->targets) > 0) return NULL;
    return err_next(err_new(STATUS_CONFLICT, "set \"%s\" has no snapshot left", set->row.name),
                    "tarn trash list");
}

static struct err *check_disk(struct op *op, struct promote_data *data)
{
    TRY(find_disk(op->control, arg_text(op, "name"), &data->disk));
    struct disk *disk = data->disk;
    struct volume_disk_info info = {0};
    data->object = disk->row.name;
    if (is_at_it(op, disk->job)) {
        data->job = disk->job;
        return NULL;
    }
    if (disk->row.state != CATALOG_READY) {
        return err_new(STATUS_CONFLICT, "disk \"%s\" is %s", disk->row.name,
                       catalog_state_name(disk->row.state));
    }
    TRY(check_disk_idle(disk));
    TRY(pool_check_open(disk->pool));
    if (!volume_disk_find(disk->pool->engine, &disk->row.uuid, &info) || info.depth == 0) {
        return err_next(err_new(STATUS_CONFLICT, "disk \"%s\" is no branch: it depends on nothing",
                                disk->row.name),
                        "tarn disk show %s", disk->row.name);
    }
    push_target(data, &disk->row.uuid, disk->row.name);
    return NULL;
}

/* ---- Dry run --------------------------------------------------------------------------------- */

static void say_copy(json_t *would, const char *what, const char *from, uint64_t size_bytes,
                     uint64_t own_bytes, const struct pool *pool)
{
    struct volume_pool_usage usage;
    char most[TEXT_SIZE_MAX], free_text[TEXT_SIZE_MAX];
    uint64_t left = size_bytes > own_bytes ? size_bytes - own_bytes : 0;
    volume_pool_usage(pool->engine, &usage);
    json_array_append_new(
        would, json_sprintf("copy what %s still reads from \"%s\", at most %s, within pool \"%s\","
                            " which has %s free",
                            what, from, text_format_size(left, most), pool->row.name,
                            text_format_size(usage.free_bytes, free_text)));
}

static void say_no_copy(json_t *would, const char *what)
{
    json_array_append_new(would, json_sprintf("copy nothing: %s has all that it reads", what));
}

static void say_maps(struct control *control, json_t *would, const struct snapshot *snapshot,
                     bool writable)
{
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        const struct map *map = host_map_of(host, &snapshot->row.uuid);
        if (!map) continue;
        json_array_append_new(
            would, json_sprintf("keep LUN %u of host \"%s\", %s", map->row.lun, host->row.name,
                                map->row.read_only && !writable ? "read-only" : "read-write"));
    }
}

static void say_snapshot(struct op *op, const struct promote_data *data, json_t *would,
                         const struct snapshot *snapshot, const char *name)
{
    struct volume_disk_info info = {0};
    char what[CATALOG_NAME_SIZE + 16], naa[2 * CATALOG_NAA_BYTES + 1];
    (void)snapshot_branch_find(snapshot, &info);
    snprintf(what, sizeof what, "snapshot \"%s\"", snapshot->row.name);
    if (snapshot->row.is_full) {
        say_no_copy(would, what); /* its point never changes: nothing comes up anew */
    } else {
        say_copy(would, what, snapshot->disk->row.name, snapshot->row.size_bytes, info.own_bytes,
                 snapshot->disk->pool);
    }
    if (!data->is_split) return;
    json_array_append_new(
        would, json_sprintf("make disk \"%s\" of it, with the same identity (NAA %s)", name,
                            text_format_hex(snapshot->row.naa, CATALOG_NAA_BYTES, naa)));
    say_maps(op->control, would, snapshot, arg_bool(op, "writable"));
    if (snapshot->set->row.vss && !data->is_break && !arg_bool(op, "keep_vss_flags")) {
        json_array_append_new(would, json_string("make its volumes visible and writable: VSS left"
                                                 " them hidden and read-only"));
    }
    json_array_append_new(would, json_sprintf("forget snapshot \"%s\"", snapshot->row.name));
}

static bool is_target(const struct promote_data *data, const struct snapshot *snapshot)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(&snapshot->row.uuid, text);
    for (size_t i = 0; i < json_array_size(data->targets); i++) {
        const json_t *target = json_array_get(data->targets, i);
        if (strcmp(json_string_value(json_object_get(target, "uuid")), text) == 0) return true;
    }
    return false;
}

/* Of a set without snapshots a record stays. */
static void say_set(const struct promote_data *data, json_t *would)
{
    const struct set *set = data->set ? data->set : data->snapshot->set;
    list_for_each (node, &set->members) {
        const struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (s->row.state != SNAPSHOT_TRASHED && !is_target(data, s)) return;
    }
    json_array_append_new(
        would, json_sprintf("let go of set \"%s\", which has no snapshot then", set->row.name));
}

static json_t *say(struct op *op, const struct promote_data *data)
{
    json_t *would = json_array();
    if (data->disk) {
        struct volume_disk_info info = {0};
        char what[CATALOG_NAME_SIZE + 16];
        (void)volume_disk_find(data->disk->pool->engine, &data->disk->row.uuid, &info);
        snprintf(what, sizeof what, "branch \"%s\"", data->disk->row.name);
        if (info.is_promoted) {
            say_no_copy(would, what);
        } else {
            say_copy(would, what, "its snapshot", info.size_bytes, info.own_bytes,
                     data->disk->pool);
        }
        if (data->is_split) {
            json_array_append_new(
                would, json_sprintf("make disk \"%s\" independent", data->disk->row.name));
        }
        return would;
    }
    for (size_t i = 0; i < json_array_size(data->targets); i++) {
        const json_t *target = json_array_get(data->targets, i);
        struct uuid uuid;
        check(uuid_parse(json_string_value(json_object_get(target, "uuid")), &uuid));
        say_snapshot(op, data, would, inventory_snapshot(op->control, &uuid),
                     json_string_value(json_object_get(target, "name")));
    }
    if (data->is_split) say_set(data, would);
    return would;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

struct err *promote_set_fill(struct op *op, const struct set *set, struct catalog_job *ret_row,
                             char **ret_text)
{
    char uuid[UUID_TEXT_SIZE];
    struct promote_data data = {.targets = json_array()};
    list_for_each (node, &set->members) {
        const struct snapshot *s = list_entry(node, struct snapshot, member_link);
        push_target(&data, &s->row.uuid, s->row.name);
    }
    json_t *work = json_pack("{s:s, s:s, s:o}", "actor", op->actor.name, "set",
                             uuid_format(&set->row.uuid, uuid), "targets", data.targets);
    char *text = work ? json_dumps(work, JSON_COMPACT) : NULL;
    json_decref(work);
    if (!text) return err_new(STATUS_NO_MEMORY, "job");
    job_row_fill(op->control, "set_promote", set->row.name, text, ret_row);
    *ret_text = text;
    return NULL;
}

static struct err *fill_job(struct op *op, struct promote_data *data)
{
    char set[UUID_TEXT_SIZE] = "";
    if (data->set) uuid_format(&data->set->row.uuid, set);
    json_t *work = json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:s, s:O}", "actor", op->actor.name,
                             "of_disks", data->disk != NULL, "split", data->is_split, "break",
                             data->is_break, "writable", arg_bool(op, "writable"), "keep_vss_flags",
                             data->is_break || arg_bool(op, "keep_vss_flags"), "set", set,
                             "targets", data->targets);
    data->text = work ? json_dumps(work, JSON_COMPACT) : NULL;
    json_decref(work);
    if (!data->text) return err_new(STATUS_NO_MEMORY, "job");
    job_row_fill(op->control, op->verb->id, data->object, data->text, &data->job_row);
    return NULL;
}

static struct err *begin_write(struct catalog *catalog, void *arg)
{
    const struct promote_data *data = ((struct op *)arg)->data;
    if (data->is_break) {
        TRY(catalog_put_set(catalog, &data->set_row));
        TRY(catalog_add_event(catalog, &data->event));
    }
    return catalog_put_job(catalog, &data->job_row);
}

static void begin(struct op *op, struct err *(*check_fn)(struct op *op, struct promote_data *data))
{
    struct promote_data *data = op_data(op, sizeof *data);
    op->data_free = data_free;
    data->targets = json_array();
    data->is_break = strcmp(op->verb->verb, "break") == 0;
    data->is_split = data->is_break || strcmp(op->verb->verb, "split") == 0;
    struct err *e = check_fn(op, data);
    if (!e && !data->job && !data->is_done) e = fill_job(op, data);
    if (e) {
        op_fail(op, e);
    } else if (data->is_done) {
        op->audited = true;
        op->result = json_set(op->control, data->set);
        op_end(op);
    } else if (data->job) {
        op->result = json_pack("{s:o}", "job", json_job(data->job));
        op_end(op);
    } else if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, say(op, data));
    } else {
        op_next(op);
    }
}

/* A break does not wait for a copy that is being made: it goes on with it. */
static void step_aside(struct op *op)
{
    const struct promote_data *data = op->data;
    for (size_t i = 0; data->is_break && i < json_array_size(data->targets); i++) {
        struct uuid uuid;
        const json_t *target = json_array_get(data->targets, i);
        check(uuid_parse(json_string_value(json_object_get(target, "uuid")), &uuid));
        struct snapshot *s = inventory_snapshot(op->control, &uuid);
        if (!promotion_gives_way(s) || !promotion_leave(s, op_unit_done, op)) continue;
        op_repeat(op);
        return;
    }
    op_next(op);
}

static void step_store(struct op *op)
{
    op_catalog_audited(op, begin_write);
}

static void step_one(struct op *op)
{
    begin(op, check_one);
}

static void step_set(struct op *op)
{
    begin(op, check_set);
}

static void step_disk(struct op *op)
{
    begin(op, check_disk);
}

static void step_launch(struct op *op)
{
    struct promote_data *data = op->data;
    if (data->is_break) {
        set_enter(op->control, data->set, data->set_row.state, data->event.at_ns);
        data->set->changed = false;
    }
    struct job *job = job_launch(op->control, &data->job_row);
    op->result = json_pack("{s:o}", "job", json_job(job));
    op_next(op);
}

static op_step *const one_steps[] = {step_one, step_store, step_launch, NULL};
static op_step *const set_steps[] = {step_set, step_aside, step_store, step_launch, NULL};
static op_step *const disk_steps[] = {step_disk, step_store, step_launch, NULL};

const struct op_plan plans_promote[] = {
    {"snapshot_promote", OP_LANE_GENERAL, one_steps, NULL},
    {"snapshot_split", OP_LANE_GENERAL, one_steps, NULL},
    {"set_promote", OP_LANE_GENERAL, set_steps, NULL},
    {"set_split", OP_LANE_GENERAL, set_steps, NULL},
    {"set_break", OP_LANE_GENERAL, set_steps, NULL},
    {"disk_promote", OP_LANE_GENERAL, disk_steps, NULL},
    {"disk_split", OP_LANE_GENERAL, disk_steps, NULL},
    {0},
};
