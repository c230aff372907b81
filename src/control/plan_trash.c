/* trash list, restore and empty; how long the trash keeps things. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

#define TRASH_MAX_S ((uint64_t)365 * 24 * 3600)

/* ---- List ------------------------------------------------------------------------------------ */

static json_t *entry_json(const char *kind, const struct object *object, const char *disk,
                          const struct pool *pool, uint64_t size_bytes, uint64_t trashed_ns,
                          uint64_t expires_ns)
{
    char uuid[UUID_TEXT_SIZE];
    return json_pack("{s:s, s:s, s:s, s:s?, s:s, s:I, s:o, s:o}", "kind", kind, "name",
                     object->name, "uuid", uuid_format(object->uuid, uuid), "disk", disk, "pool",
                     pool->row.name, "size_bytes", (json_int_t)size_bytes, "trashed_at",
                     json_time(trashed_ns), "expires_at",
                     json_time(expires_ns / RT_SECOND * RT_SECOND));
}

static void step_list(struct op *op)
{
    json_t *array = json_array();
    list_for_each (node, &op->control->disks) {
        const struct disk *d =
            container_of(list_entry(node, struct object, link), struct disk, object);
        if (d->row.state != CATALOG_TRASHED) continue;
        json_array_append_new(array,
                              entry_json("disk", &d->object, NULL, d->pool, d->row.size_bytes,
                                         d->row.trashed_ns, d->row.expires_ns));
    }
    list_for_each (node, &op->control->snapshots) {
        const struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->row.state != SNAPSHOT_TRASHED) continue;
        json_array_append_new(array,
                              entry_json("snapshot", &s->object, s->disk->row.name, s->disk->pool,
                                         s->row.size_bytes, s->row.trashed_ns, s->row.expires_ns));
    }
    op->result = json_pack("{s:o, s:I}", "trash", array, "kept_s",
                           (json_int_t)op->control->settings.trash_s);
    op_next(op);
}

static op_step *const list_steps[] = {step_list, NULL};

/* ---- Finding: disks, sets and snapshots by name or id ---------------------------------------- */

struct found {
    struct disk *disk;
    struct set *set;
    struct snapshot *snapshot;
    unsigned count;
};

static bool is_called(const struct object *object, const char *text)
{
    struct uuid uuid;
    return strcmp(object->name, text) == 0 ||
           (uuid_parse(text, &uuid) && uuid_equal(&uuid, object->uuid));
}

static void look(struct control *control, const char *text, struct found *found)
{
    list_for_each (node, &control->disks) {
        struct disk *d = container_of(list_entry(node, struct object, link), struct disk, object);
        if (d->row.state != CATALOG_TRASHED || !is_called(&d->object, text)) continue;
        found->disk = d;
        found->count++;
    }
    list_for_each (node, &control->sets) {
        struct set *set = container_of(list_entry(node, struct object, link), struct set, object);
        if (set->row.state != SET_TRASHED || !is_called(&set->object, text)) continue;
        found->set = set;
        found->count++;
    }
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->row.state != SNAPSHOT_TRASHED || !is_called(&s->object, text)) continue;
        /* A set of one member is called as its snapshot: that is the same thing. */
        if (found->set && found->set == s->set) continue;
        found->snapshot = s;
        found->count++;
    }
}

static struct err *find_trashed(struct op *op, const char *text, struct found *ret_found)
{
    struct found found = {0};
    look(op->control, text, &found);
    if (found.count == 0) {
        return err_next(err_new(STATUS_NOT_FOUND, "nothing in the trash is called \"%s\"", text),
                        "tarn trash list");
    }
    if (found.count > 1) {
        return err_next(err_new(STATUS_AMBIGUOUS, "%u things in the trash are called \"%s\"",
                                found.count, text),
                        "give the id: tarn trash list --json");
    }
    *ret_found = found;
    return NULL;
}

/* ---- Restore --------------------------------------------------------------------------------- */

static void take_members(struct trashing *trashing, const struct found *found)
{
    if (found->snapshot) untrash_snapshot(trashing, found->snapshot);
    if (!found->set) return;
    list_for_each (node, &found->set->members)
        untrash_snapshot(trashing, list_entry(node, struct snapshot, member_link));
}

/* With a disk comes what went with it. */
static void take_disk(struct op *op, struct trashing *trashing, struct disk *disk)
{
    untrash_disk(trashing, disk);
    list_for_each (node, &op->control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk == disk && s->row.trashed_ns == disk->row.trashed_ns)
            untrash_snapshot(trashing, s);
    }
}

static struct err *check_names(struct op *op, const struct trashing *trashing)
{
    for (unsigned i = 0; i < trashing->disk_count; i++)
        TRY(name_check_free(&op->control->disks, "disk", trashing->disks[i].row.name));
    for (unsigned i = 0; i < trashing->set_count; i++)
        TRY(name_check_free(&op->control->sets, "set", trashing->sets[i].row.name));
    for (unsigned i = 0; i < trashing->snapshot_count; i++)
        TRY(name_check_free(&op->control->snapshots, "snapshot", trashing->snapshots[i].row.name));
    return NULL;
}

static void rename_to(struct trashing *trashing, const struct found *found, const char *name)
{
    for (unsigned i = 0; name && i < trashing->disk_count; i++)
        snprintf(trashing->disks[i].row.name, CATALOG_NAME_SIZE, "%s", name);
    for (unsigned i = 0; name && i < trashing->set_count; i++) {
        if (found->set || trashing->snapshot_count == 1)
            snprintf(trashing->sets[i].row.name, CATALOG_NAME_SIZE, "%s", name);
    }
    if (name && !found->disk && trashing->snapshot_count == 1)
        snprintf(trashing->snapshots[0].row.name, CATALOG_NAME_SIZE, "%s", name);
}

static struct err *check_restore(struct op *op, const struct trashing *trashing)
{
    for (unsigned i = 0; i < trashing->snapshot_count; i++) {
        const struct snapshot *s = trashing->snapshots[i].snapshot;
        if (s->set->lane.busy)
            return err_new(STATUS_AGAIN, "set \"%s\" is being worked on", s->set->row.name);
        if (s->disk->row.state == CATALOG_TRASHED && trashing->disk_count == 0) {
            return err_next(err_new(STATUS_CONFLICT,
                                    "disk \"%s\" of snapshot \"%s\" is in the trash too",
                                    s->disk->row.name, s->row.name),
                            "tarn trash restore %s", s->disk->row.name);
        }
    }
    struct err *e = check_names(op, trashing);
    if (!e) return NULL;
    return err_next(e, "give it another: tarn trash restore %s --new-name NAME",
                    arg_text(op, "name"));
}

static void say(struct op *op, const struct trashing *trashing, json_t *array, const char *what)
{
    for (unsigned i = 0; i < trashing->disk_count; i++) {
        json_array_append_new(array,
                              json_sprintf("%sdisk \"%s\"", what, trashing->disks[i].row.name));
    }
    for (unsigned i = 0; i < trashing->snapshot_count; i++) {
        json_array_append_new(array, json_sprintf("%ssnapshot \"%s\" of disk \"%s\"", what,
                                                  trashing->snapshots[i].row.name,
                                                  trashing->snapshots[i].snapshot->disk->row.name));
    }
}

static void step_restore(struct op *op)
{
    struct found found = {0};
    struct trashing *trashing = trash_begin(op, 0);
    struct err *e = find_trashed(op, arg_text(op, "name"), &found);
    if (!e) {
        take_members(trashing, &found);
        if (found.disk) take_disk(op, trashing, found.disk);
        e = trash_decide_sets(op, trashing);
    }
    if (!e) {
        rename_to(trashing, &found, arg_text(op, "new_name"));
        e = check_restore(op, trashing);
    }
    if (e) {
        op_fail(op, e);
        return;
    }
    json_t *array = json_array();
    if (arg_bool(op, "dry_run")) {
        say(op, trashing, array, "restore ");
        op_end_dry_run(op, array);
        return;
    }
    for (unsigned i = 0; i < trashing->snapshot_count; i++)
        op_take_set(op, trashing->snapshots[i].snapshot->set);
    say(op, trashing, array, "");
    op->result = json_pack("{s:o}", "restored", array);
    op_continue_with(op, trash_steps);
    op_next(op);
}

static op_step *const restore_steps[] = {step_restore, NULL};

/* ---- Empty ----------------------------------------------------------------------------------- */

static bool can_go(const struct op *op, const struct snapshot *s)
{
    return s->row.state == SNAPSHOT_TRASHED && pool_is_writable(s->disk->pool) &&
           (!s->set->lane.busy || op_has_set(op, s->set));
}

void trash_doom_snapshot(struct op *op, struct doomed *doomed, struct snapshot *snapshot)
{
    if (!can_go(op, snapshot)) return;
    op_take_set(op, snapshot->set);
    doom_snapshot(doomed, snapshot);
}

/* Its snapshots are in the trash too, or it could not be there. */
bool trash_doom_disk(struct op *op, struct doomed *doomed, struct disk *disk)
{
    if (disk->row.state != CATALOG_TRASHED || !pool_is_writable(disk->pool)) return false;
    list_for_each (node, &op->control->snapshots) {
        const struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk == disk && s->set->lane.busy && !op_has_set(op, s->set)) return false;
    }
    list_for_each (node, &op->control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk != disk) continue;
        op_take_set(op, s->set);
        doom_snapshot(doomed, s);
    }
    doom_disk(doomed, disk);
    return true;
}

static void doom_undos(const struct op *op, struct doomed *doomed, struct disk *disk)
{
    if (disk->row.state != CATALOG_READY || !pool_is_writable(disk->pool)) return;
    list_for_each (node, &disk->undos) {
        struct undo *undo =
            container_of(list_entry(node, struct object, link), struct undo, object);
        if (undo->row.state == SNAPSHOT_READY && !job_keeps_undo(op->control, &undo->row.uuid))
            doom_undo(doomed, undo);
    }
}

/* What has a name goes whole, or stays and it is told why. */
static struct err *check_can_go(struct op *op, const struct found *found)
{
    if (found->disk) return pool_check_open(found->disk->pool);
    list_for_each (node, &op->control->snapshots) {
        const struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        bool is_named = s == found->snapshot || (found->set && s->set == found->set);
        if (s->row.state != SNAPSHOT_TRASHED || !is_named) continue;
        TRY(pool_check_open(s->disk->pool));
        if (!can_go(op, s))
            return err_next(err_new(STATUS_IN_USE,
                                    "something else is done with set \"%s\" just now",
                                    s->set->row.name),
                            "try again");
    }
    return NULL;
}

/* With "undo" a name is that of a disk, and what is in the trash stays. */
static struct err *doom_what_is_named(struct op *op)
{
    struct found found = {0};
    struct disk *undone = NULL;
    const char *name = arg_text(op, "name");
    bool of_disks = arg_bool(op, "undo");
    if (name && of_disks) {
        TRY(find_disk(op->control, name, &undone));
        TRY(pool_check_open(undone->pool));
    } else if (name) {
        TRY(find_trashed(op, name, &found));
        TRY(check_can_go(op, &found));
    }
    struct doomed *doomed = doom_begin(op);
    list_for_each (node, &op->control->disks) {
        struct disk *d = container_of(list_entry(node, struct object, link), struct disk, object);
        if (!name || d == found.disk) trash_doom_disk(op, doomed, d);
        if (of_disks && (!name || d == undone)) doom_undos(op, doomed, d);
    }
    list_for_each (node, &op->control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (!name || s == found.snapshot || (found.set && s->set == found.set))
            trash_doom_snapshot(op, doomed, s);
    }
    if (found.disk && doomed->disk_count == 0)
        return err_next(err_new(STATUS_IN_USE, "something else is done with a set of disk \"%s\"",
                                found.disk->row.name),
                        "try again");
    return NULL;
}

static void step_empty(struct op *op)
{
    struct err *e = doom_what_is_named(op);
    if (e) {
        op_fail(op, e);
        return;
    }
    struct doomed *doomed = op->data;
    json_t *array = json_array();
    const char *what = arg_bool(op, "dry_run") ? "delete for good " : "";
    for (unsigned i = 0; i < doomed->disk_count; i++) {
        json_array_append_new(array,
                              json_sprintf("%sdisk \"%s\"", what, doomed->disks[i]->row.name));
    }
    for (unsigned i = 0; i < doomed->snapshot_count; i++) {
        json_array_append_new(array, json_sprintf("%ssnapshot \"%s\" of disk \"%s\"", what,
                                                  doomed->snapshots[i]->row.name,
                                                  doomed->snapshots[i]->disk->row.name));
    }
    for (unsigned i = 0; i < doomed->undo_count; i++) {
        const struct undo *undo = doomed->undos[i];
        if (undo->disk->row.state == CATALOG_TRASHED) continue; /* it goes with its disk */
        json_array_append_new(array, json_sprintf("%sundo point \"%s\" of disk \"%s\"", what,
                                                  undo->row.name, undo->disk->row.name));
    }
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, array);
        return;
    }
    op->result = json_pack("{s:o}", "emptied", array);
    op_continue_with(op, doom_steps);
    op_next(op);
}

static op_step *const empty_steps[] = {step_empty, NULL};

/* ---- server set ------------------------------------------------------------------------------ */

static struct err *write_settings(struct catalog *catalog, void *arg)
{
    return catalog_put_settings(catalog, ((struct op *)arg)->data);
}

static void step_set(struct op *op)
{
    struct catalog_settings *row = op_data(op, sizeof *row);
    const char *text = arg_text(op, "trash"), *stale = arg_text(op, "remove_stale");
    uint64_t ns = 0, stale_ns = 0;
    *row = op->control->settings;
    if (!text && !stale && !arg_is_given(op, "recovery_reserve")) {
        op_fail(op, err_next(err_new(STATUS_BAD_REQUEST, "nothing to set was given"),
                             "tarn server set --help"));
        return;
    }
    row->recovery_bytes = arg_uint(op, "recovery_reserve", row->recovery_bytes);
    ns = row->trash_s * RT_SECOND;
    if ((text && !text_parse_duration(text, &ns)) || ns > TRASH_MAX_S * RT_SECOND) {
        op_fail(op,
                err_new(STATUS_BAD_REQUEST,
                        "\"trash\" must be a time such as 24h or 7d, at most a year; 0 = none"));
        return;
    }
    row->trash_s = ns / RT_SECOND;
    stale_ns = row->remove_stale_s * RT_SECOND;
    if ((stale && !text_parse_duration(stale, &stale_ns)) || (stale_ns && stale_ns < DAY_NS) ||
        stale_ns > TRASH_MAX_S * RT_SECOND) {
        op_fail(op, err_new(STATUS_BAD_REQUEST,
                            "\"remove_stale\" must be a time such as 7d, a day at least and"
                            " a year at most; 0 = never"));
        return;
    }
    row->remove_stale_s = stale_ns / RT_SECOND;
    op_catalog_audited(op, write_settings);
}

static void step_set_apply(struct op *op)
{
    op->control->settings = *(const struct catalog_settings *)op->data;
    op->result = json_server(op->control);
    op_next(op);
}

static op_step *const set_steps[] = {step_set, step_set_apply, NULL};

const struct op_plan plans_trash[] = {
    {"trash_list", OP_LANE_NONE, list_steps, NULL},
    {"trash_restore", OP_LANE_GENERAL, restore_steps, NULL},
    {"trash_empty", OP_LANE_GENERAL, empty_steps, NULL},
    {"server_set", OP_LANE_GENERAL, set_steps, NULL},
    {0},
};
