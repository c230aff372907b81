/* Verbs on hosts and maps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/host_int.h"

enum { SECRET_MIN_BYTES = 12, SECRET_DRAWN_BYTES = 12 /* 24 hex digits */ };

/* ---- Host create ----------------------------------------------------------------------------- */

struct host_data {
    struct catalog_host row;
    bool chap_drawn, mutual_drawn;
    struct host *host;
};

/* RFC 7143 4.2.7: iqn., eui. or naa., at most 223 bytes, no white space. */
static bool is_iscsi_name(const char *name)
{
    if (strlen(name) >= CATALOG_INITIATOR_SIZE) return false;
    if (strncmp(name, "iqn.", 4) != 0 && strncmp(name, "eui.", 4) != 0 &&
        strncmp(name, "naa.", 4) != 0) {
        return false;
    }
    if (name[4] == '\0') return false;
    for (const char *p = name; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || *p == ',' || *p == '/') return false;
    }
    return true;
}

static struct err *take_initiators(struct op *op, struct catalog_host *row)
{
    const json_t *given = json_object_get(op->arguments, "initiators");
    size_t count = json_array_size(given);
    if (count > CATALOG_INITIATORS_MAX) {
        return err_new(STATUS_LIMIT_REACHED, "a host has at most %d initiators",
                       CATALOG_INITIATORS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(given, i));
        struct control_host_access access;
        if (!is_iscsi_name(name)) {
            return err_next(err_new(STATUS_BAD_REQUEST, "\"%s\" is not an iSCSI name", name),
                            "iqn.YEAR-MONTH.DOMAIN:NAME, eui.HEX or naa.HEX");
        }
        for (unsigned j = 0; j < row->initiator_count; j++) {
            if (strcasecmp(row->initiators[j], name) == 0) {
                return err_new(STATUS_BAD_REQUEST, "initiator \"%s\" is named twice", name);
            }
        }
        if (control_find_initiator(op->control, name, &access) == STATUS_OK) {
            return err_new(STATUS_EXISTS, "initiator \"%s\" belongs to host \"%s\"", name,
                           ((struct host *)access.host)->row.name);
        }
        memcpy(row->initiators[row->initiator_count++], name, strlen(name) + 1);
    }
    return NULL;
}

static struct err *take_secret(struct op *op, const char *field, char *to, bool *ret_drawn)
{
    const char *given = arg_text(op, field);
    if (!given) {
        uint8_t random[SECRET_DRAWN_BYTES];
        rt_random(op->control->rt, random, sizeof random);
        text_format_hex(random, sizeof random, to);
        *ret_drawn = true;
        return NULL;
    }
    if (strlen(given) < SECRET_MIN_BYTES || strlen(given) >= CATALOG_SECRET_SIZE) {
        return err_next(err_new(STATUS_BAD_REQUEST, "\"%s\" must have 12 to 255 bytes", field),
                        "leave it out and one is drawn");
    }
    snprintf(to, CATALOG_SECRET_SIZE, "%s", given);
    return NULL;
}

static struct err *take_user(struct op *op, const char *field, const char *if_absent, char *to)
{
    const char *given = arg_text(op, field);
    if (given && (*given == '\0' || strlen(given) > LIMIT_NAME_BYTES)) {
        return err_new(STATUS_BAD_REQUEST, "\"%s\" must have 1 to 255 bytes", field);
    }
    snprintf(to, CATALOG_NAME_SIZE, "%s", given ? given : if_absent);
    return NULL;
}

static struct err *take_auth(struct op *op, struct host_data *data)
{
    static const char *const fields[] = {"chap_user", "chap_secret", "mutual_user",
                                         "mutual_secret"};
    struct catalog_host *row = &data->row;
    const char *auth = arg_text(op, "auth") ? arg_text(op, "auth") : "chap";
    unsigned level = strcmp(auth, "none") == 0 ? 0 : strcmp(auth, "chap") == 0 ? 1 : 2;
    if (level == 2 && strcmp(auth, "mutual") != 0) {
        return err_new(STATUS_BAD_REQUEST, "\"auth\" must be none, chap or mutual");
    }
    for (unsigned i = 2 * level; i < countof(fields); i++) {
        if (arg_is_given(op, fields[i])) {
            return err_new(STATUS_BAD_REQUEST, "\"%s\" makes no sense with auth %s", fields[i],
                           auth);
        }
    }
    snprintf(row->auth, sizeof row->auth, "%s", auth);
    if (level >= 1) {
        TRY(take_user(op, "chap_user", row->name, row->chap_user));
        TRY(take_secret(op, "chap_secret", row->chap_secret, &data->chap_drawn));
    }
    if (level == 2) {
        TRY(take_user(op, "mutual_user", op->control->target_name, row->mutual_user));
        TRY(take_secret(op, "mutual_secret", row->mutual_secret, &data->mutual_drawn));
        if (strcmp(row->chap_secret, row->mutual_secret) == 0) { /* RFC 7143 12.1.3: reflection */
            return err_new(STATUS_BAD_REQUEST,
                           "\"mutual_secret\" must differ from \"chap_secret\"");
        }
    }
    return NULL;
}

static struct err *host_check(struct op *op, struct host_data *data)
{
    const char *name = arg_text(op, "name");
    TRY(name_check_free(&op->control->hosts, "host", name));
    data->row = (struct catalog_host){.uuid = rt_uuid(op->control->rt),
                                      .created_ns = rt_wall(op->control->rt)};
    snprintf(data->row.name, sizeof data->row.name, "%s", name);
    TRY(take_initiators(op, &data->row));
    TRY(host_take_os(op, &data->row));
    return take_auth(op, data);
}

static struct err *host_write(struct catalog *catalog, void *arg)
{
    const struct host_data *data = ((struct op *)arg)->data;
    return catalog_put_host(catalog, &data->row);
}

static void step_host_create(struct op *op)
{
    struct host_data *data = op_data(op, sizeof *data);
    struct err *e = host_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    /* An answer with a secret in it is not kept, so it cannot be repeated. */
    if (data->chap_drawn || data->mutual_drawn) op->idempotency_key[0] = '\0';
    op_catalog_audited(op, host_write);
}

static void step_host_publish(struct op *op)
{
    struct host_data *data = op->data;
    struct host *host = inventory_add_host(op->control, &data->row);
    struct err *e = scsi_map_create(op->control->rt, &host->map);
    if (e) { /* it is served from the next start on */
        op_fail(op, e);
        return;
    }
    op->result = json_host(host);
    if (data->chap_drawn) {
        json_object_set_new(op->result, "chap_secret", json_string(data->row.chap_secret));
    }
    if (data->mutual_drawn) {
        json_object_set_new(op->result, "mutual_secret", json_string(data->row.mutual_secret));
    }
    op_next(op);
}

/* ---- Host delete: sessions end, then the rows go, then the LUNs ------------------------------ */

static json_t *say_lun(const struct map *map)
{
    return json_sprintf("take LUN %u (%s \"%s\") away from host \"%s\"", map->row.lun,
                        catalog_kind_name(map->row.kind),
                        map->disk ? map->disk->row.name : map->snapshot->row.name,
                        map->host->row.name);
}

static json_t *would_delete(struct op *op, const struct host *host)
{
    json_t *would = json_array();
    list_for_each (node, &host->sessions) {
        const struct session *session = list_entry(node, struct session, link);
        if (session->count == 0) continue;
        json_array_append_new(would,
                              json_sprintf("end %u iSCSI session%s of %s", session->count,
                                           session->count == 1 ? "" : "s", session->initiator));
    }
    list_for_each (node, &host->maps)
        json_array_append_new(would, say_lun(list_entry(node, struct map, link)));
    credential_say(op->control, host, would);
    list_for_each (node, &op->control->sets) {
        const struct set *set =
            container_of(list_entry(node, struct object, link), struct set, object);
        if (set_is_past(set->row.state) || !uuid_equal(&set->row.host, &host->row.uuid)) continue;
        json_array_append_new(
            would, json_sprintf("keep set \"%s\", which was made for it", set->row.name));
    }
    if (host->group) {
        json_array_append_new(would, json_sprintf("take host \"%s\" out of group \"%s\"",
                                                  host->row.name, host->group->row.name));
    }
    json_array_append_new(would, json_sprintf("forget host \"%s\"", host->row.name));
    return would;
}

static void step_host_leave(struct op *op)
{
    struct host_data *data = op_data(op, sizeof *data);
    struct err *e = find_host(op->control, arg_text(op, "name"), &data->host);
    if (e) {
        op_fail(op, e);
        return;
    }
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_delete(op, data->host));
        return;
    }
    data->host->leaving = true; /* no new session from here on */
    data->row.uuid = data->host->row.uuid;
    op->undo_due = true;
    if (op->control->target) {
        op->control->target->drop_host(op->control->target_arg, data->host, op_unit_done, op);
    } else {
        op_next(op);
    }
}

static struct err *host_write_gone(struct catalog *catalog, void *arg)
{
    const struct host_data *data = ((struct op *)arg)->data;
    return catalog_delete_host(catalog, &data->row.uuid);
}

static void step_host_rows(struct op *op)
{
    op_catalog_audited(op, host_write_gone);
}

static void step_host_unserve(struct op *op)
{
    struct host *host = ((struct host_data *)op->data)->host;
    op->undo_due = false;
    while (!list_is_empty(&host->maps)) {
        struct map *map = list_entry(list_front(&host->maps), struct map, link);
        if (map->lun) {
            op_repeat(op);
            reservations_forget(map);
            unserve_map(map, op_unit_done, op);
            return;
        }
        inventory_remove_map(map);
    }
    op_next(op);
}

static void step_host_forget(struct op *op)
{
    struct host *host = ((struct host_data *)op->data)->host;
    op->result = json_deleted("host", host->row.name, &host->row.uuid);
    credential_forget(op->control, host);
    inventory_remove_host(host);
    inventory_forget_hosts_of_sets(op->control);
    op_next(op);
}

static void step_host_stay(struct op *op)
{
    ((struct host_data *)op->data)->host->leaving = false;
    op_next(op);
}

static op_step *const host_create_steps[] = {step_host_create, step_host_publish, NULL};
static op_step *const host_delete_steps[] = {step_host_leave, step_host_rows, step_host_unserve,
                                             step_host_forget, NULL};
static op_step *const host_undo_steps[] = {step_host_stay, NULL};

/* ---- Map add --------------------------------------------------------------------------------- */

struct map_data {
    struct host *host;
    struct map *map;
    struct disk *disk;
    struct snapshot *snapshot;
    struct catalog_map row;
    struct catalog_slot slot;
    struct catalog_snapshot snapshot_row; /* its kept LUN number changes */
    bool write_snapshot;
    char text[VSS_TEXT_MAX];
    struct snapshot_viewing viewing;
};

static struct err *find_object(struct op *op, struct map_data *data)
{
    const char *disk = arg_text(op, "disk"), *snapshot = arg_text(op, "snapshot");
    if (!disk == !snapshot) {
        return err_new(STATUS_BAD_REQUEST, "give either \"disk\" or \"snapshot\"");
    }
    if (disk) {
        TRY(require_role(op, CONTROL_ROLE_ADMIN, "serving a disk"));
        TRY(find_disk(op->control, disk, &data->disk));
        if (data->disk->row.state != CATALOG_READY) {
            return err_new(STATUS_CONFLICT, "disk \"%s\" is %s", data->disk->row.name,
                           catalog_state_name(data->disk->row.state));
        }
        data->row.object = data->disk->row.uuid;
        data->row.kind = CATALOG_DISK;
        data->row.read_only = arg_bool(op, "read_only");
        return NULL;
    }
    TRY(find_snapshot(op->control, snapshot, &data->snapshot));
    const struct set *set = data->snapshot->set;
    if (set->row.state != SET_CREATED || data->snapshot->row.state != SNAPSHOT_READY) {
        return err_next(err_new(STATUS_CONFLICT,
                                "snapshot \"%s\" belongs to set \"%s\", which is %s",
                                data->snapshot->row.name, set->row.name,
                                catalog_set_state_name(set->row.state)),
                        "a snapshot can be served once its set is created");
    }
    data->row.object = data->snapshot->row.uuid;
    data->row.kind = CATALOG_SNAPSHOT;
    data->row.read_only = !host_wants_branch(data->host);
    data->row.keep_vss_flags = data->row.read_only && arg_bool(op, "keep_vss_flags");
    if (data->row.read_only) {
        bool needs_view = snapshot_needs_view(data->snapshot, data->row.keep_vss_flags);
        return needs_view ? snapshot_check_view(data->snapshot) : NULL;
    }
    TRY(branch_check_host(op->control, data->snapshot, data->host));
    return snapshot_check_branch(data->snapshot);
}

static struct err *map_check(struct op *op, struct map_data *data)
{
    TRY(find_host(op->control, arg_text(op, "host"), &data->host));
    TRY(find_object(op, data));
    struct host *host = data->host;
    bool lun_given = arg_is_given(op, "lun");
    uint64_t lun = arg_uint(op, "lun", 0);
    struct map *there = host_map_of(host, &data->row.object);
    if (there) {
        if ((!lun_given || lun == there->row.lun) && there->row.read_only == data->row.read_only &&
            there->row.keep_vss_flags == data->row.keep_vss_flags) {
            data->map = there; /* asked for twice: the same answer */
            return NULL;
        }
        return err_next(err_new(STATUS_EXISTS, "host \"%s\" has it as LUN %u%s", host->row.name,
                                there->row.lun, there->row.read_only ? ", read-only" : ""),
                        "tarn map remove %s %u", host->row.name, there->row.lun);
    }
    if (lun_given) {
        TRY(check_lun(op->control, host, &data->row.object, data->row.kind, lun));
        data->row.lun = (unsigned)lun;
    } else {
        TRY(choose_lun(op->control, host, &data->row.object, data->row.kind, NULL, &data->row.lun));
    }
    data->row.host = host->row.uuid;
    data->row.created_ns = rt_wall(op->control->rt);
    return NULL;
}

static struct err *map_write(struct catalog *catalog, void *arg)
{
    const struct map_data *data = ((struct op *)arg)->data;
    if (data->write_snapshot) TRY(catalog_put_snapshot(catalog, &data->snapshot_row));
    return catalog_add_map(catalog, &data->row);
}

/* The number that the set keeps for its host is the one that the snapshot is mapped at. */
static void note_kept_lun(struct map_data *data, int lun)
{
    struct snapshot *snapshot = data->snapshot;
    if (!snapshot) return;
    bool keeps = uuid_equal(&snapshot->set->row.host, &data->host->row.uuid);
    bool is_used = snapshot->row.branch_used || !data->row.read_only;
    if (!keeps && is_used == snapshot->row.branch_used) return;
    data->snapshot_row = snapshot->row;
    data->snapshot_row.branch_used = is_used;
    if (keeps) data->snapshot_row.lun = lun;
    data->write_snapshot = true;
}

static void step_map_check(struct op *op)
{
    struct map_data *data = op_data(op, sizeof *data);
    struct err *e = map_check(op, data);
    if (e) {
        op_fail(op, e);
    } else if (data->map) {
        op->result = json_map(data->map);
        op_end(op);
    } else {
        note_kept_lun(data, (int)data->row.lun);
        op_next(op);
    }
}

/* Windows writes to what it mounts. */
static void step_map_branch(struct op *op)
{
    struct map_data *data = op->data;
    struct volume_disk_info info;
    if (!data->snapshot || data->row.read_only || snapshot_branch_find(data->snapshot, &info)) {
        op_next(op);
        return;
    }
    snapshot_branch_make(data->snapshot, op_done, op);
}

/* Outside of VSS nobody else makes its volumes visible (S10); import leaves them to VSS,
 * and what a host has already is that host's. */
static void step_map_flags(struct op *op)
{
    struct map_data *data = op->data;
    if (!data->snapshot || data->row.read_only || !data->snapshot->set->row.vss ||
        data->snapshot->branch.volume || arg_bool(op, "keep_vss_flags")) {
        op_next(op);
        return;
    }
    vss_flags_clear(op->control, data->snapshot->disk->pool->engine, &data->snapshot->row.uuid,
                    data->text, op_done, op);
}

/* The same for hosts that only read it. */
static void step_map_view(struct op *op)
{
    struct map_data *data = op->data;
    if (!data->snapshot || !data->row.read_only ||
        !snapshot_needs_view(data->snapshot, data->row.keep_vss_flags)) {
        op_next(op);
        return;
    }
    snapshot_view_make(op->control, data->snapshot, &data->viewing, op_done, op);
}

static void step_map_store(struct op *op)
{
    op_catalog_audited(op, map_write);
}

static void step_map_serve(struct op *op)
{
    struct map_data *data = op->data;
    data->map = inventory_add_map(op->control, &data->row);
    if (data->write_snapshot) {
        data->snapshot->row.lun = data->snapshot_row.lun;
        data->snapshot->row.branch_used = data->snapshot_row.branch_used;
    }
    struct err *e = serve_map(op->control, data->map);
    if (e) {
        op->undo_due = true;
        op_fail(op, e);
        return;
    }
    op->result = json_map(data->map);
    const char *text = data->text[0] ? data->text : data->viewing.text;
    if (text[0]) json_object_set_new(op->result, "note", json_string(text));
    op_next(op);
}

static struct err *map_write_undone(struct catalog *catalog, void *arg)
{
    struct map_data *data = ((struct op *)arg)->data;
    return catalog_remove_map(catalog, &data->slot);
}

static void step_map_undo(struct op *op)
{
    struct map_data *data = op->data;
    data->slot = (struct catalog_slot){.host = data->row.host,
                                       .lun = data->row.lun,
                                       .object = data->row.object,
                                       .freed_ns = rt_wall(op->control->rt)};
    inventory_remove_map(take_ptr(&data->map));
    op_catalog(op, map_write_undone);
}

/* ---- Map remove ------------------------------------------------------------------------------ */

static struct err *remove_check(struct op *op, struct map_data *data)
{
    TRY(find_host(op->control, arg_text(op, "host"), &data->host));
    uint64_t lun = arg_uint(op, "lun", 0);
    data->map = host_map_at(data->host, lun);
    if (!data->map) {
        return err_next(err_new(STATUS_NOT_FOUND, "host \"%s\" has no LUN %llu",
                                data->host->row.name, (unsigned long long)lun),
                        "tarn map list");
    }
    if (data->map->disk) TRY(require_role(op, CONTROL_ROLE_ADMIN, "unmapping a disk"));
    data->snapshot = data->map->snapshot;
    data->row = data->map->row;
    data->slot = (struct catalog_slot){.host = data->row.host,
                                       .lun = data->row.lun,
                                       .object = data->row.object,
                                       .freed_ns = rt_wall(op->control->rt)};
    return NULL;
}

static struct err *remove_write(struct catalog *catalog, void *arg)
{
    struct map_data *data = ((struct op *)arg)->data;
    if (data->write_snapshot) TRY(catalog_put_snapshot(catalog, &data->snapshot_row));
    return catalog_remove_map(catalog, &data->slot);
}

static void step_remove_check(struct op *op)
{
    struct map_data *data = op_data(op, sizeof *data);
    struct err *e = remove_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, json_pack("[o]", say_lun(data->map)));
        return;
    }
    note_kept_lun(data, -1);
    op_catalog_audited(op, remove_write);
}

static void step_remove_unserve(struct op *op)
{
    struct map_data *data = op->data;
    if (data->map->lun) {
        reservations_forget(data->map);
        unserve_map(data->map, op_unit_done, op);
    } else {
        op_next(op);
    }
}

static void step_remove_forget(struct op *op)
{
    struct map_data *data = op->data;
    data->host->slots[data->row.lun] = (struct slot){.used_before = true,
                                                     .object = data->row.object,
                                                     .freed_sequence = data->slot.freed_sequence,
                                                     .freed_at_ns = rt_now(op->control->rt)};
    if (data->write_snapshot) data->snapshot->row.lun = data->snapshot_row.lun;
    inventory_remove_map(data->map);
    op->result = json_pack("{s:{s:s, s:s, s:i}}", "deleted", "kind", "map", "host",
                           data->host->row.name, "lun", (int)data->row.lun);
    op_next(op);
}

static op_step *const map_add_steps[] = {step_map_check, step_map_branch, step_map_flags, step_map_view,
                                         step_map_store, step_map_serve,  NULL};
static op_step *const map_undo_steps[] = {step_map_undo, NULL};
static op_step *const map_remove_steps[] = {step_remove_check, step_remove_unserve,
                                            step_remove_forget, NULL};

const struct op_plan plans_host[] = {
    {"host_create", OP_LANE_GENERAL, host_create_steps, NULL},
    {"host_delete", OP_LANE_GENERAL, host_delete_steps, host_undo_steps},
    {"map_add", OP_LANE_GENERAL, map_add_steps, map_undo_steps},
    {"map_remove", OP_LANE_GENERAL, map_remove_steps, NULL},
    {0},
};
