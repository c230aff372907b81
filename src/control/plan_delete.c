/*
 * Deleting snapshots, sets and disks: into the trash, or with `now` at once.  What is in the trash
 * keeps its identity and its space, is served to nobody, and its name is free for others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "control/control_int.h"

/* What goes together. */
struct victims {
    const char *kind, *name;
    const struct uuid *uuid;
    struct disk *disk;  /* NULL: snapshots only */
    struct set *record; /* a set of which only the record is left */
    bool trashed;       /* they are in the trash already */
    unsigned count;
    struct snapshot **snapshots;
    uint64_t trash_s;
};

/* ---- Checks ---------------------------------------------------------------------------------- */

struct err *snapshot_check_not_retained(struct control *control, const struct snapshot *snapshot)
{
    char time[TEXT_TIME_MAX];
    if (snapshot->row.retain_until_ns <= clock_now(control)) return NULL;
    return err_next(
        err_new(STATUS_CONFLICT, "snapshot \"%s\" is kept until %s", snapshot->row.name,
                text_format_time(snapshot->row.retain_until_ns / RT_SECOND * RT_SECOND, time)),
        "nobody can shorten that");
}

static struct err *check_snapshot(struct op *op, const struct snapshot *snapshot)
{
    struct set *set = snapshot->set;
    if (set_in_the_making(set)) {
        return err_next(
            err_new(STATUS_CONFLICT, "snapshot \"%s\" belongs to set \"%s\", which is %s",
                    snapshot->row.name, set->row.name, catalog_set_state_name(set->row.state)),
            "tarn set abort %s", set->row.name);
    }
    if (set->lane.busy)
        return err_new(STATUS_AGAIN, "set \"%s\" is being worked on", set->row.name);
    if (set->row.state == SET_BREAKING && snapshot->row.state != SNAPSHOT_TRASHED) {
        return err_next(err_new(STATUS_CONFLICT, "snapshot \"%s\" becomes a disk: set \"%s\" is %s",
                                snapshot->row.name, set->row.name,
                                catalog_set_state_name(set->row.state)),
                        "wait for its job (tarn job list), or cancel that; if it has none: tarn set"
                        " break %s",
                        set->row.name);
    }
    if (!snapshot->disk->pool->engine) TRY(pool_check_open(snapshot->disk->pool));
    if (!promotion_gives_way(snapshot)) TRY(check_snapshot_idle(snapshot));
    if (arg_bool(op, "unmap") || arg_text(op, "unmap_host")) {
        TRY(unmap_check(op, snapshot));
    } else {
        TRY(check_snapshot_unserved(snapshot));
    }
    return snapshot_check_not_retained(op->control, snapshot);
}

/* The record of a set goes at once, and would take along what can still be had back. */
static struct err *check_record(const struct victims *victims)
{
    for (unsigned i = 0; i < victims->count; i++) {
        const struct catalog_snapshot *row = &victims->snapshots[i]->row;
        if (row->state != SNAPSHOT_TRASHED) continue;
        return err_next(err_new(STATUS_CONFLICT, "snapshot \"%s\" of set \"%s\" is in the trash",
                                row->name, victims->name),
                        "tarn trash restore %s; or both for good: tarn set delete %s --now",
                        row->name, victims->name);
    }
    return NULL;
}

static struct err *check_all(struct op *op, const struct victims *victims)
{
    for (unsigned i = 0; i < victims->count; i++)
        TRY(check_snapshot(op, victims->snapshots[i]));
    if (arg_bool(op, "now")) {
        return require_role(op, CONTROL_ROLE_ADMIN, "deleting at once, without the trash,");
    }
    return victims->record ? check_record(victims) : NULL;
}

/* ---- What goes ------------------------------------------------------------------------------- */

static struct err *take_snapshot(struct op *op, struct victims *victims)
{
    struct snapshot *snapshot = NULL;
    TRY(find_snapshot(op->control, arg_text(op, "name"), &snapshot));
    victims->name = snapshot->row.name;
    victims->uuid = &snapshot->row.uuid;
    victims->trashed = snapshot->row.state == SNAPSHOT_TRASHED;
    array_push(victims->snapshots, victims->count, snapshot);
    return NULL;
}

static struct err *take_set(struct op *op, struct victims *victims)
{
    struct set *set = NULL;
    TRY(find_set(op->control, arg_text(op, "name"), &set));
    struct set_facts facts = {.now_ns = rt_now(op->control->rt)};
    struct set_decision decision;
    struct err *e = set_decide(set->row.state, SET_EVENT_DELETE, &facts, &decision);
    if (e) return err_wrap(e, "delete set \"%s\"", set->row.name);
    victims->name = set->row.name;
    victims->uuid = &set->row.uuid;
    victims->trashed = set->row.state == SET_TRASHED;
    if (set_is_record(set->row.state)) victims->record = set;
    if (set->row.is_volatile) victims->trash_s = 0; /* nobody comes back for it */
    list_for_each (node, &set->members) {
        array_push(victims->snapshots, victims->count,
                   list_entry(node, struct snapshot, member_link));
    }
    return NULL;
}

struct branch_search {
    struct control *control;
    struct uuid parent;
    struct disk *found;
    unsigned count;
};

static void note_branch(void *arg, const struct volume_disk_info *info)
{
    struct branch_search *search = arg;
    if (!uuid_equal(&info->parent_disk, &search->parent)) return;
    if (inventory_snapshot(search->control, &info->uuid)) return; /* goes with its snapshot */
    if (inventory_snapshot_of_view(search->control, &info->uuid)) return;
    search->count++;
    search->found = inventory_disk(search->control, &info->uuid);
}

static struct err *check_no_branches(struct op *op, struct disk *disk)
{
    struct branch_search search = {.control = op->control, .parent = disk->row.uuid};
    volume_disks(disk->pool->engine, note_branch, &search);
    if (search.count == 0) return NULL;
    return err_next(
        err_new(STATUS_IN_USE, "disk \"%s\" has %u branch%s, such as \"%s\"%s", disk->row.name,
                search.count, search.count == 1 ? "" : "es",
                search.found ? search.found->row.name : "?",
                search.found && search.found->row.state == CATALOG_TRASHED ? " in the trash" : ""),
        "delete the branches first: tarn disk list, tarn trash list");
}

/* Snapshots in the trash go along unasked. */
static struct err *take_snapshots(struct op *op, struct victims *victims, struct disk *disk)
{
    unsigned live = 0;
    list_for_each (node, &op->control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk != disk) continue;
        live += s->row.state != SNAPSHOT_TRASHED;
        if (set_in_the_making(s->set)) {
            return err_next(err_new(STATUS_IN_USE,
                                    "disk \"%s\" is a member of set \"%s\", which is %s",
                                    disk->row.name, s->set->row.name,
                                    catalog_set_state_name(s->set->row.state)),
                            "tarn set abort %s", s->set->row.name);
        }
        array_push(victims->snapshots, victims->count, s);
    }
    if (live == 0 || arg_bool(op, "with_snapshots") || victims->trashed) return NULL;
    return err_next(err_new(STATUS_IN_USE, "disk \"%s\" has %u snapshot%s", disk->row.name, live,
                            live == 1 ? "" : "s"),
                    "delete them first (tarn snapshot list), or with the disk: --with-snapshots");
}

static struct err *check_all_known(struct disk *disk, const struct victims *victims)
{
    unsigned known = victims->count;
    struct volume_disk_info info;
    list_for_each (node, &disk->undos)
        known++; /* they go along */
    if (!volume_disk_find(disk->pool->engine, &disk->row.uuid, &info) ||
        info.point_count <= known) {
        return NULL;
    }
    return err_next(err_new(STATUS_IN_USE, "disk \"%s\" has points that the catalog does not know",
                            disk->row.name),
                    "tarn pool show %s", disk->pool->row.name);
}

static struct err *take_disk(struct op *op, struct victims *victims)
{
    struct disk *disk = NULL;
    TRY(find_disk(op->control, arg_text(op, "name"), &disk));
    TRY(pool_check_open(disk->pool));
    TRY(check_disk_idle(disk));
    if (disk->map_count) {
        return err_next(err_new(STATUS_IN_USE, "disk \"%s\" is served to %u host%s", disk->row.name,
                                disk->map_count, disk->map_count == 1 ? "" : "s"),
                        "tarn map list; tarn map remove HOST LUN");
    }
    victims->name = disk->row.name;
    victims->uuid = &disk->row.uuid;
    victims->disk = disk;
    victims->trashed = disk->row.state == CATALOG_TRASHED;
    TRY(take_snapshots(op, victims, disk));
    TRY(check_no_branches(op, disk));
    return check_all_known(disk, victims);
}

/* ---- Carrying it out ------------------------------------------------------------------------- */

static bool is_victim(const struct victims *victims, const struct snapshot *snapshot)
{
    for (unsigned i = 0; i < victims->count; i++) {
        if (victims->snapshots[i] == snapshot) return true;
    }
    return false;
}

/* A set goes with the last of its snapshots. */
static void say_set(const struct victims *victims, unsigned index, const char *what, json_t *would)
{
    const struct set *set = victims->snapshots[index]->set;
    for (unsigned i = 0; i < index; i++) {
        if (victims->snapshots[i]->set == set) return; /* it was looked at */
    }
    list_for_each (node, &set->members) {
        const struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (s->row.state != SNAPSHOT_TRASHED && !is_victim(victims, s)) return;
    }
    json_array_append_new(would, json_sprintf("delete set \"%s\", which has no other snapshot%s",
                                              set->row.name, what));
}

static json_t *would_do(struct op *op, const struct victims *victims, bool at_once)
{
    char until[TEXT_TIME_MAX] = "", what[64 + TEXT_TIME_MAX] = "";
    json_t *would = json_array();
    if (!at_once) {
        uint64_t expires_ns = clock_now(op->control) + victims->trash_s * RT_SECOND;
        text_format_time(expires_ns / RT_SECOND * RT_SECOND, until);
        snprintf(what, sizeof what, " (in the trash until %s; the space stays taken)", until);
    }
    for (unsigned i = 0; i < victims->count; i++) {
        if (victims->snapshots[i]->map_count) {
            json_array_append_new(would,
                                  json_sprintf("take snapshot \"%s\" away from %u host%s",
                                               victims->snapshots[i]->row.name,
                                               victims->snapshots[i]->map_count,
                                               victims->snapshots[i]->map_count == 1 ? "" : "s"));
        }
        if (promotion_gives_way(victims->snapshots[i]))
            json_array_append_new(would, json_sprintf("give up the copy that job %s makes of it",
                                                      victims->snapshots[i]->job->name));
        json_array_append_new(would, json_sprintf("delete snapshot \"%s\" of disk \"%s\"%s",
                                                  victims->snapshots[i]->row.name,
                                                  victims->snapshots[i]->disk->row.name, what));
        if (strcmp(victims->kind, "set") != 0) say_set(victims, i, what, would);
    }
    if (victims->disk || strcmp(victims->kind, "set") == 0) {
        json_array_append_new(would,
                              json_sprintf("delete %s \"%s\"%s%s", victims->kind, victims->name,
                                           victims->disk ? " and its data" : "", what));
    }
    return would;
}

static void take_lanes(struct op *op, const struct victims *victims)
{
    for (unsigned i = 0; i < victims->count; i++)
        op_take_set(op, victims->snapshots[i]->set);
}

static void delete_at_once(struct op *op, const struct victims *victims)
{
    struct doomed *doomed = doom_begin(op);
    take_lanes(op, victims);
    for (unsigned i = 0; i < victims->count; i++)
        doom_snapshot(doomed, victims->snapshots[i]);
    if (victims->disk) doom_disk(doomed, victims->disk);
    if (victims->record) doom_record(doomed, victims->record);
    doom_run(op);
}

static void put_into_trash(struct op *op, const struct victims *victims)
{
    struct trashing *trashing = trash_begin(op, victims->trash_s);
    take_lanes(op, victims);
    for (unsigned i = 0; i < victims->count; i++)
        trash_snapshot(trashing, victims->snapshots[i]);
    if (victims->disk) trash_disk(trashing, victims->disk);
    json_object_set_new(op->result, "expires_at",
                        json_time(trashing->expires_ns / RT_SECOND * RT_SECOND));
    op_continue_with(op, trash_steps);
    op_next(op);
}

static void carry_out(struct op *op, const struct victims *victims)
{
    bool at_once = arg_bool(op, "now") || victims->trash_s == 0 || victims->record;
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_do(op, victims, at_once));
        return;
    }
    op->result = json_deleted(victims->kind, victims->name, victims->uuid);
    if (at_once) {
        delete_at_once(op, victims);
    } else if (victims->trashed) { /* asked for twice */
        op->audited = true;
        op_end(op);
    } else {
        put_into_trash(op, victims);
    }
}

/* false: a job that copies one of them is about to let go of it. */
static bool is_left_alone(struct op *op, const struct victims *victims)
{
    for (unsigned i = 0; i < victims->count && !arg_bool(op, "dry_run"); i++) {
        struct snapshot *s = victims->snapshots[i];
        if (promotion_gives_way(s) && promotion_leave(s, op_unit_done, op)) return false;
    }
    return true;
}

static void delete_what(struct op *op, const char *kind,
                        struct err *(*take_fn)(struct op *op, struct victims *victims))
{
    struct victims victims = {.kind = kind, .trash_s = op->control->settings.trash_s};
    struct err *e = take_fn(op, &victims);
    if (!e) e = check_all(op, &victims);
    unsigned mapped = 0;
    for (unsigned i = 0; i < victims.count; i++)
        mapped += victims.snapshots[i]->map_count;
    if (e) {
        op_fail(op, e);
    } else if (!is_left_alone(op, &victims)) {
        op_repeat(op);
    } else if (mapped && !arg_bool(op, "dry_run")) {
        unmap_snapshots(op, victims.snapshots, victims.count);
    } else {
        carry_out(op, &victims);
    }
    free(victims.snapshots);
}

static void step_snapshot(struct op *op)
{
    delete_what(op, "snapshot", take_snapshot);
}

void delete_step_set(struct op *op)
{
    delete_what(op, "set", take_set);
}

static void step_disk(struct op *op)
{
    delete_what(op, "disk", take_disk);
}

static op_step *const snapshot_steps[] = {step_snapshot, NULL};
static op_step *const set_steps[] = {delete_step_set, NULL};
static op_step *const disk_steps[] = {step_disk, NULL};

const struct op_plan plans_delete[] = {
    {"snapshot_delete", OP_LANE_GENERAL, snapshot_steps, NULL},
    {"set_delete", OP_LANE_GENERAL, set_steps, NULL},
    {"disk_delete", OP_LANE_GENERAL, disk_steps, NULL},
    {0},
};
