/*
 * snapshot update and set update: the snapshots of a set show their disks as they are now; ids,
 * names and identities stay.  All members of a set are cut anew at one instant.
 *
 * First the rows name the points to come (other_point), then the engine cuts them, then the rows
 * change places (the old points are other_point now), then the old points go.  At start a set whose
 * new points are all there is updated, and one where any is missing is not; whichever points are
 * left over go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

#define GATE_LIMIT_NS RT_SECOND

struct updated {
    struct snapshot *snapshot;
    struct catalog_snapshot row;
};

struct update {
    struct set *set;
    struct catalog_set set_row;
    unsigned count, next;
    struct updated *members;
    unsigned part_count;
    struct volume_cut_part *parts; /* one for each pool */
    struct volume_cut_member *cut_members;
};

static void update_free(void *data)
{
    struct update *update = data;
    free(update->members);
    free(update->parts);
    free(update->cut_members);
    free(update);
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static struct err *check_member(struct op *op, const struct snapshot *s)
{
    TRY(snapshot_check_ready(s));
    TRY(pool_check_open(s->disk->pool));
    TRY(snapshot_check_not_retained(op->control, s));
    if (s->disk->row.state != CATALOG_READY) {
        return err_new(STATUS_CONFLICT, "disk \"%s\" is %s", s->disk->row.name,
                       catalog_state_name(s->disk->row.state));
    }
    TRY(check_snapshot_idle(s));
    if (s->set->row.vss) {
        return err_next(err_new(STATUS_CONFLICT,
                                "snapshot \"%s\" is a shadow copy made through VSS; a requester"
                                " knows it as it was cut",
                                s->row.name),
                        "make a new shadow copy");
    }
    struct volume_disk_info branch;
    if (snapshot_branch_find(s, &branch)) {
        return err_next(err_new(STATUS_CONFLICT,
                                "snapshot \"%s\" was written to by a host, or promoted",
                                s->row.name),
                        "cut another snapshot");
    }
    struct err *e = check_snapshot_unused(s);
    return e ? err_wrap(e, "its content would change under a host") : NULL;
}

static struct err *take_members(struct op *op, struct update *update, struct set *set)
{
    unsigned count = 0;
    list_for_each (node, &set->members)
        count++;
    update->set = set;
    update->set_row = set->row;
    update->members = calloc(count + 1, sizeof *update->members);
    check(update->members);
    list_for_each (node, &set->members) {
        struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (s->row.state == SNAPSHOT_TRASHED) continue;
        TRY(check_member(op, s));
        update->members[update->count++] = (struct updated){.snapshot = s, .row = s->row};
    }
    if (set->lane.busy)
        return err_new(STATUS_AGAIN, "set \"%s\" is being worked on", set->row.name);
    if (update->count == 0) return err_new(STATUS_CONFLICT, "set \"%s\" is empty", set->row.name);
    return NULL;
}

static struct err *check_snapshot(struct op *op, struct update *update)
{
    struct snapshot *s = NULL;
    TRY(find_snapshot(op->control, arg_text(op, "name"), &s));
    TRY(snapshot_check_ready(s));
    TRY(take_members(op, update, s->set));
    if (update->count == 1) return NULL;
    return err_next(err_new(STATUS_CONFLICT,
                            "snapshot \"%s\" was cut together with %u others, in set \"%s\"",
                            s->row.name, update->count - 1, s->set->row.name),
                    "update them together: tarn set update %s", s->set->row.name);
}

static struct err *check_set(struct op *op, struct update *update)
{
    struct set *set = NULL;
    TRY(find_set(op->control, arg_text(op, "name"), &set));
    if (set->row.state != SET_CREATED) {
        return err_new(STATUS_CONFLICT, "set \"%s\" is %s", set->row.name,
                       catalog_set_state_name(set->row.state));
    }
    return take_members(op, update, set);
}

static json_t *would_do(struct op *op, const struct update *update)
{
    char time[TEXT_TIME_MAX];
    json_t *would = json_array();
    text_format_time(update->set_row.cut_ns / RT_MS * RT_MS, time);
    for (unsigned i = 0; i < update->count; i++) {
        check(update->members[i].snapshot);
        json_array_append_new(
            would, json_sprintf("cut disk \"%s\" anew for snapshot \"%s\"; its content of %s goes"
                                " for good",
                                update->members[i].snapshot->disk->row.name,
                                update->members[i].row.name, time));
    }
    return would;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static struct err *write_members(struct catalog *catalog, void *arg)
{
    const struct update *update = ((struct op *)arg)->data;
    TRY(catalog_put_set(catalog, &update->set_row));
    for (unsigned i = 0; i < update->count; i++)
        TRY(catalog_put_snapshot(catalog, &update->members[i].row));
    return NULL;
}

static void begin(struct op *op, struct err *(*check_fn)(struct op *op, struct update *update))
{
    struct update *update = op_data(op, sizeof *update);
    op->data_free = update_free;
    struct err *e = check_fn(op, update);
    if (e) {
        op_fail(op, e);
        return;
    }
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_do(op, update));
        return;
    }
    op_take_set(op, update->set);
    for (unsigned i = 0; i < update->count; i++)
        update->members[i].row.other_point = rt_uuid(op->control->rt);
    op_catalog(op, write_members);
}

static void step_snapshot(struct op *op)
{
    begin(op, check_snapshot);
}

static void step_set(struct op *op)
{
    begin(op, check_set);
}

/* Memory follows the rows. */
static void publish(struct update *update)
{
    update->set->row.generation = update->set_row.generation;
    update->set->row.cut_ns = update->set_row.cut_ns;
    update->set->row.commit_ns = update->set_row.commit_ns;
    update->set->row.application_consistent = update->set_row.application_consistent;
    for (unsigned i = 0; i < update->count; i++)
        update->members[i].snapshot->row = update->members[i].row;
}

/* ---- The cut --------------------------------------------------------------------------------- */

static struct volume_cut_part *part_of(struct update *update, struct volume_pool *pool)
{
    for (unsigned i = 0; i < update->part_count; i++) {
        if (update->parts[i].pool == pool) return &update->parts[i];
    }
    struct volume_cut_part *part = &update->parts[update->part_count++];
    part->pool = pool;
    return part;
}

/* Members of one pool lie side by side. */
static void fill_parts(struct op *op, struct update *update)
{
    check(update->count > 0);
    struct uuid set = rt_uuid(op->control->rt); /* the set's own names its first cut */
    update->parts = calloc(update->count, sizeof *update->parts);
    update->cut_members = calloc(update->count, sizeof *update->cut_members);
    check(update->parts && update->cut_members);
    for (unsigned i = 0; i < update->count; i++)
        (void)part_of(update, update->members[i].snapshot->disk->pool->engine);
    unsigned filled = 0;
    for (unsigned p = 0; p < update->part_count; p++) {
        struct volume_cut_part *part = &update->parts[p];
        part->cut = (struct volume_cut){.set = set, .members = update->cut_members + filled};
        for (unsigned i = 0; i < update->count; i++) {
            const struct updated *member = &update->members[i];
            if (member->snapshot->disk->pool->engine != part->pool) continue;
            update->cut_members[filled++] =
                (struct volume_cut_member){.disk = member->row.disk,
                                           .point = member->row.other_point,
                                           .kind = VOLUME_POINT_SNAPSHOT};
            part->cut.member_count++;
        }
    }
}

static void step_cut(struct op *op)
{
    struct update *update = op->data;
    for (unsigned i = 0; i < update->count; i++)
        update->members[i].snapshot->row.other_point = update->members[i].row.other_point;
    op->undo_due = true;
    fill_parts(op, update);
    volume_cut_pools(update->parts, update->part_count, GATE_LIMIT_NS, op_done, op);
}

static void change_places(struct catalog_snapshot *row, const struct volume_point_info *info)
{
    struct uuid old = row->point;
    row->point = row->other_point;
    row->other_point = old;
    row->size_bytes = info->size_bytes;
    row->has_sha256 = false; /* another content */
    row->verified_ns = 0;
}

static void step_store(struct op *op)
{
    struct update *update = op->data;
    op->undo_due = false; /* cut: the next start knows by the points */
    for (unsigned i = 0; i < update->count; i++) {
        struct volume_point_info info = {.size_bytes = update->members[i].row.size_bytes};
        volume_point_find(update->members[i].snapshot->disk->pool->engine,
                          &update->members[i].row.other_point, &info);
        change_places(&update->members[i].row, &info);
    }
    update->set_row.generation = update->parts[0].result.generation;
    update->set_row.cut_ns = update->parts[0].result.wall_ns;
    update->set_row.commit_ns = 0;
    update->set_row.application_consistent = false; /* no host was quiesced */
    op_catalog_audited(op, write_members);
}

/* ---- The old points go ----------------------------------------------------------------------- */

static void old_deleted(void *arg, struct err *e)
{
    struct op *op = arg;
    if (e) {
        log_failure("the last content of an updated snapshot could not be deleted;"
                    " the next start tries again",
                    e);
        err_free(e);
    }
    op_next(op);
}

static void step_delete_old(struct op *op)
{
    struct update *update = op->data;
    if (update->next == 0) publish(update);
    while (update->next < update->count) {
        const struct updated *member = &update->members[update->next++];
        struct volume_point_info info;
        struct volume_pool *engine = member->snapshot->disk->pool->engine;
        if (!volume_point_find(engine, &member->row.other_point, &info)) continue;
        op_repeat(op);
        volume_point_delete(engine, &member->row.other_point, old_deleted, op);
        return;
    }
    op_next(op);
}

static void step_clear(struct op *op)
{
    struct update *update = op->data;
    for (unsigned i = 0; i < update->count; i++) {
        struct catalog_snapshot *row = &update->members[i].row;
        struct volume_point_info info;
        const struct pool *pool = update->members[i].snapshot->disk->pool;
        /* A pool that has failed may have forgotten it in memory only. */
        bool stays =
            !pool_is_writable(pool) || volume_point_find(pool->engine, &row->other_point, &info);
        if (!stays) memset(&row->other_point, 0, sizeof row->other_point);
    }
    op_catalog(op, write_members);
}

static void step_answer_snapshot(struct op *op)
{
    struct update *update = op->data;
    publish(update);
    op->result = json_snapshot(op->control, update->members[0].snapshot);
    op_next(op);
}

static void step_answer_set(struct op *op)
{
    struct update *update = op->data;
    publish(update);
    op->result = json_set(op->control, update->set);
    op_next(op);
}

/* Nothing was cut, as far as one can know: a pool that failed is looked at by the next start. */
static void step_back(struct op *op)
{
    struct update *update = op->data;
    for (unsigned i = 0; i < update->part_count; i++) {
        if (volume_pool_state(update->parts[i].pool) == VOLUME_POOL_OK) continue;
        op_end(op);
        return;
    }
    for (unsigned i = 0; i < update->count; i++) {
        struct catalog_snapshot *row = &update->members[i].row;
        memset(&row->other_point, 0, sizeof row->other_point);
        update->members[i].snapshot->row.other_point = row->other_point;
    }
    op_catalog(op, write_members);
}

static op_step *const snapshot_steps[] = {
    step_snapshot, step_cut, step_store, step_delete_old, step_clear, step_answer_snapshot, NULL};
static op_step *const set_steps[] = {step_set,   step_cut,        step_store, step_delete_old,
                                     step_clear, step_answer_set, NULL};
static op_step *const back_steps[] = {step_back, NULL};

const struct op_plan plans_update[] = {
    {"snapshot_update", OP_LANE_GENERAL, snapshot_steps, back_steps},
    {"set_update", OP_LANE_GENERAL, set_steps, back_steps},
    {0},
};

/* ---- At start -------------------------------------------------------------------------------- */

/* Is the next point of this member there, and newer than its point? */
static bool has_newer(const struct snapshot *s, struct volume_point_info *ret_info)
{
    struct volume_point_info now, other;
    const struct volume_pool *engine = s->disk->pool->engine;
    if (!engine || !volume_point_find(s->disk->pool->engine, &s->row.other_point, &other)) {
        return false;
    }
    if (volume_point_find(s->disk->pool->engine, &s->row.point, &now) &&
        now.generation > other.generation) {
        return false; /* it is the old one */
    }
    *ret_info = other;
    return true;
}

/* A pool that is not there may have its part of the cut or not: the others wait for it. */
bool update_is_undecided(const struct set *set)
{
    list_for_each (node, &set->members) {
        const struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (!uuid_is_nil(&s->row.other_point) && !pool_may_decide(s->disk->pool)) return true;
    }
    return false;
}

void update_decide(struct set *set)
{
    struct volume_point_info info;
    bool any = false;
    if (update_is_undecided(set)) return;
    list_for_each (node, &set->members) {
        const struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (uuid_is_nil(&s->row.other_point)) continue;
        any = true;
        if (!has_newer(s, &info)) return; /* not made everywhere, or over: what is left goes */
    }
    if (!any) return;
    list_for_each (node, &set->members) {
        struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (uuid_is_nil(&s->row.other_point) || !has_newer(s, &info)) continue;
        change_places(&s->row, &info);
        set->row.generation = info.generation;
        set->row.cut_ns = info.wall_ns;
        set->row.application_consistent = false;
        set->changed = true;
    }
}
