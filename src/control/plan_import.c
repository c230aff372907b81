/*
 * Importing a set (all its snapshots appear on a host as LUNs, at once) and masking it again.  What
 * one host has is kept for each host beside the set's state: imported, or masked since.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "control/host_int.h"

struct entry {
    struct snapshot *snapshot;
    struct catalog_snapshot snapshot_row;
    struct host *host;
    struct catalog_map row;
    struct catalog_slot slot; /* mask */
    struct map *map;
};

struct import_data {
    struct set *set;
    struct host *host; /* NULL: mask it on all hosts */
    unsigned count, next;
    struct entry *entries;
    unsigned row_count;
    struct catalog_import *rows;
    struct snapshot_viewing viewing;
    uint64_t at_ns;
};

static void data_free(void *pointer)
{
    struct import_data *data = pointer;
    free(data->entries);
    free(data->rows);
    free(data);
}

static struct import_data *begin(struct op *op)
{
    struct import_data *data = op_data(op, sizeof *data);
    op->data_free = data_free;
    data->at_ns = rt_wall(op->control->rt);
    return data;
}

static void add_row(struct import_data *data, const struct host *host,
                    enum catalog_import_state state)
{
    for (unsigned i = 0; i < data->row_count; i++) {
        if (uuid_equal(&data->rows[i].host, &host->row.uuid)) return;
    }
    array_push(data->rows, data->row_count,
               (struct catalog_import){.set = data->set->row.uuid,
                                       .host = host->row.uuid,
                                       .state = state,
                                       .at_ns = data->at_ns});
}

static struct err *find_and_decide(struct op *op, struct import_data *data, enum set_event event)
{
    TRY(find_set(op->control, arg_text(op, "name"), &data->set));
    struct set *set = data->set;
    struct set_facts facts = {.now_ns = rt_now(op->control->rt)};
    struct set_decision decision;
    struct err *e = set_decide(set->row.state, event, &facts, &decision);
    if (e) return err_wrap(e, "set \"%s\"", set->row.name);
    if (set->lane.busy)
        return err_new(STATUS_AGAIN, "set \"%s\" is being worked on", set->row.name);
    const char *host = arg_text(op, "host");
    return host ? find_host(op->control, host, &data->host) : NULL;
}

static void step_answer(struct op *op)
{
    const struct import_data *data = op->data;
    op->result = json_set(op->control, data->set);
    op_next(op);
}

/* ---- Import: all that can refuse refuses before anything is made ----------------------------- */

static struct err *take_member(struct op *op, struct import_data *data, struct snapshot *snapshot,
                               bool taken[LIMIT_LUNS_PER_HOST])
{
    struct host *host = data->host;
    bool wants_branch = host_wants_branch(host);
    bool keeps_flags = !wants_branch && arg_bool(op, "keep_vss_flags");
    if (inventory_disk(op->control, &snapshot->row.uuid)) return NULL; /* it became one */
    if (host_map_of(host, &snapshot->row.uuid)) return NULL; /* it has it */
    TRY(pool_check_open(snapshot->disk->pool));
    if (snapshot->row.state != SNAPSHOT_READY) {
        return err_new(STATUS_CONFLICT, "snapshot \"%s\" is %s", snapshot->row.name,
                       catalog_snapshot_state_name(snapshot->row.state));
    }
    if (wants_branch) {
        TRY(branch_check_host(op->control, snapshot, host));
        TRY(snapshot_check_branch(snapshot));
    } else if (snapshot_needs_view(snapshot, keeps_flags)) {
        TRY(snapshot_check_view(snapshot));
    }
    unsigned lun = 0;
    TRY(choose_lun(op->control, host, &snapshot->row.uuid, CATALOG_SNAPSHOT, taken, &lun));
    taken[lun] = true;
    struct entry entry = {.snapshot = snapshot, .snapshot_row = snapshot->row, .host = host};
    entry.row = (struct catalog_map){.host = host->row.uuid,
                                     .lun = lun,
                                     .kind = CATALOG_SNAPSHOT,
                                     .object = snapshot->row.uuid,
                                     .read_only = !wants_branch,
                                     .keep_vss_flags = keeps_flags,
                                     .created_ns = data->at_ns};
    entry.snapshot_row.branch_used = snapshot->row.branch_used || wants_branch;
    if (uuid_equal(&data->set->row.host, &host->row.uuid)) entry.snapshot_row.lun = (int)lun;
    array_push(data->entries, data->count, entry);
    return NULL;
}

static struct err *import_check(struct op *op, struct import_data *data)
{
    bool taken[LIMIT_LUNS_PER_HOST] = {false};
    TRY(find_and_decide(op, data, SET_EVENT_IMPORT));
    list_for_each (node, &data->set->members) {
        struct snapshot *snapshot = list_entry(node, struct snapshot, member_link);
        if (snapshot->row.state == SNAPSHOT_TRASHED) continue;
        struct err *e = take_member(op, data, snapshot, taken);
        if (e) return err_wrap(e, "import set \"%s\"", data->set->row.name);
    }
    const struct catalog_import *there = set_import_of(data->set, &data->host->row.uuid);
    if (data->count || !there || there->state != IMPORT_IMPORTED)
        add_row(data, data->host, IMPORT_IMPORTED);
    return NULL;
}

static void step_import(struct op *op)
{
    struct import_data *data = begin(op);
    struct err *e = import_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    if (data->row_count == 0) { /* asked for twice: the same answer */
        op->audited = true;
        op->result = json_set(op->control, data->set);
        op_end(op);
        return;
    }
    op_next(op);
}

static void step_branches(struct op *op)
{
    struct import_data *data = op->data;
    struct volume_disk_info info;
    while (data->next < data->count) {
        struct entry *entry = &data->entries[data->next++];
        bool needs_view = entry->row.read_only &&
                          snapshot_needs_view(entry->snapshot, entry->row.keep_vss_flags);
        bool needs_branch =
            !entry->row.read_only && !snapshot_branch_find(entry->snapshot, &info);
        if (!needs_view && !needs_branch) continue;
        op_repeat(op);
        if (needs_branch) {
            snapshot_branch_make(entry->snapshot, op_done, op);
        } else {
            data->viewing = (struct snapshot_viewing){0};
            snapshot_view_make(op->control, entry->snapshot, &data->viewing, op_done, op);
        }
        return;
    }
    data->next = 0;
    op_next(op);
}

static struct err *import_write(struct catalog *catalog, void *arg)
{
    const struct import_data *data = ((struct op *)arg)->data;
    for (unsigned i = 0; i < data->count; i++) {
        TRY(catalog_put_snapshot(catalog, &data->entries[i].snapshot_row));
        TRY(catalog_add_map(catalog, &data->entries[i].row));
    }
    for (unsigned i = 0; i < data->row_count; i++)
        TRY(catalog_put_import(catalog, &data->rows[i]));
    return NULL;
}

static void step_import_store(struct op *op)
{
    op_catalog_audited(op, import_write);
}

static void put_rows(struct import_data *data)
{
    for (unsigned i = 0; i < data->row_count; i++)
        inventory_put_import(data->set, &data->rows[i]);
}

/* One unit attention for the whole set, however many LUNs appear. */
static void step_import_serve(struct op *op)
{
    struct import_data *data = op->data;
    struct err *e = NULL;
    put_rows(data);
    op->undo_due = true;
    scsi_map_hold_attention(data->host->map);
    for (unsigned i = 0; i < data->count; i++) {
        struct entry *entry = &data->entries[i];
        entry->snapshot->row.lun = entry->snapshot_row.lun;
        entry->snapshot->row.branch_used = entry->snapshot_row.branch_used;
        entry->map = inventory_add_map(op->control, &entry->row);
        if (!e) e = serve_map(op->control, entry->map);
    }
    scsi_map_release_attention(data->host->map);
    op_done(op, e);
}

/* ---- Mask ------------------------------------------------------------------------------------ */

static bool take_map(struct import_data *data, struct host *host, struct snapshot *snapshot)
{
    struct map *map = host_map_of(host, &snapshot->row.uuid);
    /* A snapshot that became a disk may still be on its way out: the LUN is the disk's (S2). */
    if (!map || map->snapshot != snapshot) return false;
    struct entry entry = {.snapshot = snapshot,
                          .snapshot_row = snapshot->row,
                          .host = host,
                          .row = map->row,
                          .map = map};
    entry.slot = (struct catalog_slot){.host = host->row.uuid,
                                       .lun = map->row.lun,
                                       .object = map->row.object,
                                       .freed_ns = data->at_ns};
    if (uuid_equal(&snapshot->set->row.host, &host->row.uuid)) entry.snapshot_row.lun = -1;
    array_push(data->entries, data->count, entry);
    return true;
}

static void take_maps(struct import_data *data, struct host *host)
{
    bool found = false;
    list_for_each (node, &data->set->members) {
        if (take_map(data, host, list_entry(node, struct snapshot, member_link))) found = true;
    }
    const struct catalog_import *there = set_import_of(data->set, &host->row.uuid);
    if (found || (there && there->state == IMPORT_IMPORTED)) add_row(data, host, IMPORT_MASKED);
}

static struct err *mask_check(struct op *op, struct import_data *data)
{
    TRY(find_and_decide(op, data, SET_EVENT_MASK));
    list_for_each (node, &op->control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        if (!data->host || data->host == host) take_maps(data, host);
    }
    return NULL;
}

static json_t *would_mask(const struct import_data *data)
{
    json_t *would = json_array();
    for (unsigned i = 0; i < data->count; i++) {
        const struct entry *entry = &data->entries[i];
        json_array_append_new(
            would, json_sprintf("take LUN %u (snapshot \"%s\") away from host \"%s\"",
                                entry->row.lun, entry->snapshot->row.name, entry->host->row.name));
    }
    return would;
}

static void step_mask(struct op *op)
{
    struct import_data *data = begin(op);
    struct err *e = mask_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_mask(data));
        return;
    }
    if (data->row_count == 0) { /* nobody has it */
        op->audited = true;
        op->result = json_set(op->control, data->set);
        op_end(op);
        return;
    }
    op_next(op);
}

static struct err *mask_write(struct catalog *catalog, void *arg)
{
    struct import_data *data = ((struct op *)arg)->data;
    for (unsigned i = 0; i < data->count; i++) {
        TRY(catalog_put_snapshot(catalog, &data->entries[i].snapshot_row));
        TRY(catalog_remove_map(catalog, &data->entries[i].slot));
    }
    for (unsigned i = 0; i < data->row_count; i++)
        TRY(catalog_put_import(catalog, &data->rows[i]));
    return NULL;
}

static void step_mask_store(struct op *op)
{
    op_catalog_audited(op, mask_write);
}

/* Holds count, so one for each LUN does. */
static void hold_all(const struct import_data *data, void (*fn)(struct scsi_map *map))
{
    for (unsigned i = 0; i < data->count; i++)
        fn(data->entries[i].host->map);
}

static void step_mask_hold(struct op *op)
{
    struct import_data *data = op->data;
    data->next = 0;
    put_rows(data);
    hold_all(data, scsi_map_hold_attention);
    op_next(op);
}

static void step_mask_unserve(struct op *op)
{
    struct import_data *data = op->data;
    while (data->next < data->count) {
        struct map *map = data->entries[data->next++].map;
        if (!map->lun) continue;
        op_repeat(op);
        reservations_forget(map);
        unserve_map(map, op_unit_done, op);
        return;
    }
    op_next(op);
}

static void step_mask_forget(struct op *op)
{
    struct import_data *data = op->data;
    hold_all(data, scsi_map_release_attention);
    for (unsigned i = 0; i < data->count; i++) {
        struct entry *entry = &data->entries[i];
        entry->host->slots[entry->row.lun] =
            (struct slot){.used_before = true,
                          .object = entry->row.object,
                          .freed_sequence = entry->slot.freed_sequence,
                          .freed_at_ns = rt_now(op->control->rt)};
        entry->snapshot->row.lun = entry->snapshot_row.lun;
        inventory_remove_map(entry->map);
    }
    op_next(op);
}

/* ---- Unmapping what is about to be deleted --------------------------------------------------- */

struct err *unmap_check(struct op *op, const struct snapshot *snapshot)
{
    const bool by_host = op->actor.role == CONTROL_ROLE_HOST;
    const struct host *self = by_host ? inventory_host(op->control, &op->actor.host) : NULL;
    const char *only = arg_text(op, "unmap_host");
    struct host *only_host = NULL;
    if (only) TRY(find_host(op->control, only, &only_host));
    list_for_each (node, &op->control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        const struct map *map = host_map_of(host, &snapshot->row.uuid);
        if (!map || map->snapshot != snapshot) continue;
        if (by_host && !(self && hosts_are_together(self, host)))
            return err_new(STATUS_IN_USE, "snapshot \"%s\" is served to a host of another group",
                           snapshot->row.name);
        if (only && host != only_host)
            return err_next(err_new(STATUS_IN_USE, "snapshot \"%s\" is served to host \"%s\" too",
                                    snapshot->row.name, host->row.name),
                            "tarn map list; tarn map remove HOST LUN");
    }
    return NULL;
}

/* From the first step again, now that nothing is mapped. */
static void step_unmapped(struct op *op)
{
    data_free(take_ptr(&op->data));
    op->data_free = NULL;
    op_continue_with(op, op->plan->steps);
    op_next(op);
}

static void step_unmap_store(struct op *op)
{
    op_catalog(op, mask_write);
}

void unmap_snapshots(struct op *op, struct snapshot *const *snapshots, unsigned count)
{
    static op_step *const steps[] = {step_unmap_store, step_mask_hold, step_mask_unserve,
                                     step_mask_forget, step_unmapped,  NULL};
    struct import_data *data = begin(op);
    list_for_each (node, &op->control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        for (unsigned i = 0; i < count; i++) {
            data->set = snapshots[i]->set; /* they are of one */
            if (take_map(data, host, snapshots[i]) && strcmp(op->verb->noun, "set") == 0)
                add_row(data, host, IMPORT_MASKED);
        }
    }
    op_continue_with(op, steps);
    op_next(op);
}

/* An import that could not be served in full is masked again. */
static void step_import_undo(struct op *op)
{
    struct import_data *data = op->data;
    for (unsigned i = 0; i < data->row_count; i++)
        data->rows[i].state = IMPORT_MASKED;
    for (unsigned i = 0; i < data->count; i++) {
        struct entry *entry = &data->entries[i];
        entry->slot = (struct catalog_slot){.host = entry->row.host,
                                            .lun = entry->row.lun,
                                            .object = entry->row.object,
                                            .freed_ns = rt_wall(op->control->rt)};
        if (uuid_equal(&data->set->row.host, &entry->row.host)) entry->snapshot_row.lun = -1;
    }
    op_catalog(op, mask_write);
}

static op_step *const import_steps[] = {step_import,       step_branches, step_import_store,
                                        step_import_serve, step_answer,   NULL};
static op_step *const import_undo_steps[] = {step_import_undo, step_mask_hold, step_mask_unserve,
                                             step_mask_forget, NULL};
static op_step *const mask_steps[] = {
    step_mask, step_mask_store, step_mask_hold, step_mask_unserve, step_mask_forget, step_answer,
    NULL};

const struct op_plan plans_import[] = {
    {"set_import", OP_LANE_GENERAL, import_steps, import_undo_steps},
    {"set_mask", OP_LANE_GENERAL, mask_steps, NULL},
    {0},
};
