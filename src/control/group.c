/* Groups of hosts and grants: the rows in memory, what they mean, and their verbs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/host_int.h"

static struct group *group_of(struct list_node *node)
{
    return container_of(list_entry(node, struct object, link), struct group, object);
}

static struct host *host_of(struct list_node *node)
{
    return container_of(list_entry(node, struct object, link), struct host, object);
}

static struct group *group_by_id(struct control *control, const struct uuid *uuid)
{
    list_for_each (node, &control->groups) {
        if (uuid_equal(&group_of(node)->row.uuid, uuid)) return group_of(node);
    }
    return NULL;
}

static struct err *find_group(struct control *control, const char *text, struct group **ret_group)
{
    struct object *object = NULL;
    TRY(object_find(&control->groups, "group", text, &object));
    *ret_group = container_of(object, struct group, object);
    return NULL;
}

unsigned group_size(struct control *control, const struct group *group)
{
    unsigned count = 0;
    list_for_each (node, &control->hosts)
        count += host_of(node)->group == group;
    return count;
}

/* ---- What they mean ---- */

struct uuid host_owner(const struct host *host)
{
    return host->group ? host->group->row.uuid : host->row.uuid;
}

bool hosts_are_together(const struct host *a, const struct host *b)
{
    return a == b || (a->group && a->group == b->group);
}

bool host_owns(struct control *control, const struct host *host, const struct uuid *owner)
{
    if (uuid_is_nil(owner)) return false;
    if (host->group && uuid_equal(&host->group->row.uuid, owner)) return true;
    const struct host *maker = inventory_host(control, owner); /* made before it joined a group */
    return maker && hosts_are_together(host, maker);
}

bool host_is_granted(struct control *control, const struct host *host, const struct uuid *owner)
{
    const struct host *maker = inventory_host(control, owner);
    list_for_each (node, &control->grants) {
        const struct grant *grant = list_entry(node, struct grant, link);
        if (grant->to != host->group) continue;
        if (uuid_equal(&grant->row.from, owner)) return true;
        if (maker && maker->group == grant->from) return true;
    }
    return false;
}

const char *owner_name(struct control *control, const struct uuid *owner)
{
    const struct group *group = group_by_id(control, owner);
    const struct host *host = inventory_host(control, owner);
    return group ? group->row.name : host ? host->row.name : NULL;
}

/* ---- In memory ---- */

static struct group *add_group(struct control *control, const struct catalog_group *row)
{
    struct group *group = calloc(1, sizeof *group);
    check(group);
    group->row = *row;
    group->object.uuid = &group->row.uuid;
    group->object.name = group->row.name;
    list_push_back(&control->groups, &group->object.link);
    return group;
}

static void add_grant(struct control *control, const struct catalog_grant *row)
{
    struct grant *grant = calloc(1, sizeof *grant);
    check(grant);
    grant->row = *row;
    grant->to = group_by_id(control, &row->to);
    grant->from = group_by_id(control, &row->from);
    check(grant->to && grant->from);
    list_push_back(&control->grants, &grant->link);
}

static void remove_grant(struct grant *grant)
{
    list_remove(&grant->link);
    free(grant);
}

static void remove_group(struct control *control, struct group *group)
{
    list_for_each_safe (node, &control->grants) {
        struct grant *grant = list_entry(node, struct grant, link);
        if (grant->to == group || grant->from == group) remove_grant(grant);
    }
    list_remove(&group->object.link);
    free(group);
}

static struct err *load_group(void *arg, const struct catalog_group *row)
{
    add_group(arg, row);
    return NULL;
}

static struct err *load_member(void *arg, const struct uuid *host, const struct uuid *group)
{
    struct host *member = inventory_host(arg, host); /* foreign keys hold both */
    if (member) member->group = group_by_id(arg, group);
    return NULL;
}

static struct err *load_grant(void *arg, const struct catalog_grant *row)
{
    add_grant(arg, row);
    return NULL;
}

static struct err *load_owner(void *arg, const struct uuid *set, const struct uuid *owner)
{
    struct set *owned = inventory_set(arg, set);
    if (owned) owned->owner = *owner;
    return NULL;
}

static struct err *load_credential(void *arg, const struct catalog_credential *row)
{
    credential_add(arg, row);
    return NULL;
}

static struct err *load_enrolment(void *arg, const struct catalog_enrolment *row)
{
    enrolment_add(arg, row);
    return NULL;
}

struct err *group_load(struct control *control)
{
    static const struct catalog_host_reader reader = {load_group, load_member,     load_grant,
                                                      load_owner, load_credential, load_enrolment};
    return catalog_load_hosts(control->catalog, &reader, control);
}

void group_free(struct control *control)
{
    credential_forget(control, NULL);
    list_for_each_safe (node, &control->grants)
        remove_grant(list_entry(node, struct grant, link));
    list_for_each_safe (node, &control->groups)
        remove_group(control, group_of(node));
}

/* ---- Answers ---- */

static json_t *json_group(struct control *control, const struct group *group)
{
    json_t *hosts = json_array(), *from = json_array();
    char uuid[UUID_TEXT_SIZE];
    list_for_each (node, &control->hosts) {
        if (host_of(node)->group == group)
            json_array_append_new(hosts, json_string(host_of(node)->row.name));
    }
    list_for_each (node, &control->grants) {
        const struct grant *grant = list_entry(node, struct grant, link);
        if (grant->to == group) json_array_append_new(from, json_string(grant->from->row.name));
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", group->row.name, "uuid",
                     uuid_format(&group->row.uuid, uuid), "hosts", hosts, "imports_from", from,
                     "created_at", json_time(group->row.created_ns));
}

static json_t *json_grant(const struct catalog_grant *row, const struct group *to,
                          const struct group *from)
{
    return json_pack("{s:s, s:s, s:o}", "to", to->row.name, "from", from->row.name, "created_at",
                     json_time(row->created_ns));
}

/* ---- Verbs on groups ---- */

struct group_data {
    struct catalog_group row;
    struct group *group;
    struct host *host;
    unsigned host_count;
    struct host **hosts;
    bool join;
};

static void data_free(void *arg)
{
    struct group_data *data = arg;
    free(data->hosts);
    free(data);
}

static struct group_data *data_begin(struct op *op)
{
    struct group_data *data = op_data(op, sizeof *data);
    op->data_free = data_free;
    return data;
}

static struct err *check_not_elsewhere(const struct host *host, const struct group *group)
{
    if (!host->group || host->group == group) return NULL;
    return err_next(err_new(STATUS_CONFLICT,
                            "host \"%s\" is in group \"%s\"; a host is in one"
                            " group at most",
                            host->row.name, host->group->row.name),
                    "tarn group remove %s %s", host->group->row.name, host->row.name);
}

static struct err *create_check(struct op *op, struct group_data *data)
{
    const json_t *names = json_object_get(op->arguments, "hosts");
    TRY(name_check_free(&op->control->groups, "group", arg_text(op, "name")));
    data->row = (struct catalog_group){.uuid = rt_uuid(op->control->rt),
                                       .created_ns = rt_wall(op->control->rt)};
    snprintf(data->row.name, sizeof data->row.name, "%s", arg_text(op, "name"));
    data->hosts = calloc(json_array_size(names) + 1, sizeof(struct host *));
    check(data->hosts);
    for (size_t i = 0; i < json_array_size(names); i++) {
        struct host *host = NULL;
        TRY(find_host(op->control, json_string_value(json_array_get(names, i)), &host));
        TRY(check_not_elsewhere(host, NULL));
        data->hosts[data->host_count++] = host;
    }
    return NULL;
}

static struct err *create_write(struct catalog *catalog, void *arg)
{
    const struct group_data *data = ((struct op *)arg)->data;
    TRY(catalog_put_group(catalog, &data->row));
    for (unsigned i = 0; i < data->host_count; i++)
        TRY(catalog_put_member(catalog, &data->hosts[i]->row.uuid, &data->row.uuid));
    return NULL;
}

static void step_create(struct op *op)
{
    struct err *e = create_check(op, data_begin(op));
    if (e) {
        op_fail(op, e);
        return;
    }
    op_catalog_audited(op, create_write);
}

static void step_publish(struct op *op)
{
    struct group_data *data = op->data;
    struct group *group = add_group(op->control, &data->row);
    for (unsigned i = 0; i < data->host_count; i++)
        data->hosts[i]->group = group;
    op->result = json_group(op->control, group);
    op_next(op);
}

static unsigned sets_of(struct control *control, const struct group *group)
{
    unsigned count = 0;
    list_for_each (node, &control->sets) {
        const struct set *set =
            container_of(list_entry(node, struct object, link), struct set, object);
        count += uuid_equal(&set->owner, &group->row.uuid);
    }
    return count;
}

static struct err *member_check(struct op *op, struct group_data *data)
{
    TRY(find_group(op->control, arg_text(op, "name"), &data->group));
    TRY(find_host(op->control, arg_text(op, "host"), &data->host));
    if (data->join) return check_not_elsewhere(data->host, data->group);
    if (data->host->group == data->group || !data->host->group) return NULL;
    return err_new(STATUS_CONFLICT, "host \"%s\" is in group \"%s\", not in \"%s\"",
                   data->host->row.name, data->host->group->row.name, data->group->row.name);
}

static struct err *member_write(struct catalog *catalog, void *arg)
{
    const struct group_data *data = ((struct op *)arg)->data;
    return catalog_put_member(catalog, &data->host->row.uuid,
                              data->join ? &data->group->row.uuid : NULL);
}

static json_t *would_leave(struct op *op, const struct group_data *data)
{
    json_t *would = json_array();
    if (data->host->group != data->group) return would; /* so it is already */
    unsigned sets = sets_of(op->control, data->group);
    json_array_append_new(would, json_sprintf("take host \"%s\" out of group \"%s\"",
                                              data->host->row.name, data->group->row.name));
    if (sets) {
        json_array_append_new(would, json_sprintf("leave the group's %u set%s to its other hosts;"
                                                  " this one keeps what it has imported",
                                                  sets, sets == 1 ? "" : "s"));
    }
    list_for_each (node, &op->control->grants) {
        const struct grant *grant = list_entry(node, struct grant, link);
        if (grant->to != data->group) continue;
        json_array_append_new(
            would, json_sprintf("end its right to import from \"%s\"", grant->from->row.name));
    }
    return would;
}

static void step_member(struct op *op)
{
    struct group_data *data = data_begin(op);
    data->join = strcmp(op->verb->id, "group_add") == 0;
    struct err *e = member_check(op, data);
    if (e) {
        op_fail(op, e);
    } else if (!data->join && arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_leave(op, data));
    } else if ((data->host->group == data->group) == data->join) {
        op_next(op); /* so it is already */
    } else {
        op_catalog_audited(op, member_write);
    }
}

static void step_member_changed(struct op *op)
{
    struct group_data *data = op->data;
    data->host->group = data->join ? data->group : NULL;
    op->result = json_group(op->control, data->group);
    op_next(op);
}

static struct err *delete_check(struct op *op, struct group_data *data)
{
    TRY(find_group(op->control, arg_text(op, "name"), &data->group));
    unsigned size = group_size(op->control, data->group);
    if (size == 0) return NULL;
    return err_next(err_new(STATUS_IN_USE, "group \"%s\" has %u host%s", data->group->row.name,
                            size, size == 1 ? "" : "s"),
                    "take them out first: tarn group remove %s HOST", data->group->row.name);
}

static struct err *delete_write(struct catalog *catalog, void *arg)
{
    const struct group_data *data = ((struct op *)arg)->data;
    return catalog_delete_group(catalog, &data->row.uuid);
}

static json_t *would_delete(struct op *op, const struct group *group)
{
    json_t *would = json_pack("[o]", json_sprintf("delete group \"%s\"", group->row.name));
    unsigned sets = sets_of(op->control, group);
    list_for_each (node, &op->control->grants) {
        const struct grant *grant = list_entry(node, struct grant, link);
        if (grant->to != group && grant->from != group) continue;
        json_array_append_new(would, json_sprintf("end the grant that \"%s\" imports from \"%s\"",
                                                  grant->to->row.name, grant->from->row.name));
    }
    if (sets) {
        json_array_append_new(would,
                              json_sprintf("leave %u set%s to administrators and backup operators",
                                           sets, sets == 1 ? "" : "s"));
    }
    return would;
}

static void step_delete(struct op *op)
{
    struct group_data *data = data_begin(op);
    struct err *e = delete_check(op, data);
    if (e) {
        op_fail(op, e);
    } else if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_delete(op, data->group));
    } else {
        data->row = data->group->row;
        op_catalog_audited(op, delete_write);
    }
}

static void step_forget(struct op *op)
{
    struct group_data *data = op->data;
    op->result = json_deleted("group", data->row.name, &data->row.uuid);
    remove_group(op->control, data->group);
    op_next(op);
}

static void step_list(struct op *op)
{
    json_t *array = json_array();
    list_for_each (node, &op->control->groups)
        json_array_append_new(array, json_group(op->control, group_of(node)));
    op->result = json_pack("{s:o}", "groups", array);
    op_next(op);
}

static void step_show(struct op *op)
{
    struct group *group = NULL;
    struct err *e = find_group(op->control, arg_text(op, "name"), &group);
    if (!e) op->result = json_group(op->control, group);
    op_done(op, e);
}

/* ---- Verbs on grants ---- */

struct grant_data {
    struct group *to, *from;
    struct grant *there;
    struct catalog_grant row;
};

static struct err *grant_find(struct op *op, struct grant_data *data)
{
    TRY(find_group(op->control, arg_text(op, "to"), &data->to));
    TRY(find_group(op->control, arg_text(op, "from"), &data->from));
    data->row = (struct catalog_grant){.to = data->to->row.uuid,
                                       .from = data->from->row.uuid,
                                       .created_ns = rt_wall(op->control->rt)};
    list_for_each (node, &op->control->grants) {
        struct grant *grant = list_entry(node, struct grant, link);
        if (grant->to == data->to && grant->from == data->from) data->there = grant;
    }
    if (data->to != data->from) return NULL;
    return err_new(STATUS_BAD_REQUEST, "a group imports its own sets without a grant");
}

static struct err *grant_write(struct catalog *catalog, void *arg)
{
    return catalog_put_grant(catalog, &((struct grant_data *)((struct op *)arg)->data)->row);
}

static void step_grant(struct op *op)
{
    struct grant_data *data = op_data(op, sizeof *data);
    struct err *e = grant_find(op, data);
    if (e) {
        op_fail(op, e);
    } else if (data->there) {
        op->result = json_grant(&data->there->row, data->to, data->from);
        op_end(op);
    } else {
        op_catalog_audited(op, grant_write);
    }
}

static void step_granted(struct op *op)
{
    const struct grant_data *data = op->data;
    add_grant(op->control, &data->row);
    op->result = json_grant(&data->row, data->to, data->from);
    op_next(op);
}

static struct err *revoke_write(struct catalog *catalog, void *arg)
{
    const struct grant_data *data = ((struct op *)arg)->data;
    return catalog_delete_grant(catalog, &data->row.to, &data->row.from);
}

static json_t *would_revoke(struct op *op, const struct grant_data *data)
{
    json_t *would = json_pack("[o]", json_sprintf("end the grant that \"%s\" imports from \"%s\"",
                                                  data->to->row.name, data->from->row.name));
    list_for_each (node, &op->control->sets) {
        const struct set *set =
            container_of(list_entry(node, struct object, link), struct set, object);
        if (!uuid_equal(&set->owner, &data->from->row.uuid)) continue;
        list_for_each (other, &op->control->hosts) {
            const struct host *host = host_of(other);
            const struct catalog_import *there = set_import_of(set, &host->row.uuid);
            if (host->group != data->to || !there || there->state != IMPORT_IMPORTED) continue;
            json_array_append_new(would, json_sprintf("leave set \"%s\" to host \"%s\", which has"
                                                      " imported it",
                                                      set->row.name, host->row.name));
        }
    }
    return would;
}

static void step_revoke(struct op *op)
{
    struct grant_data *data = op_data(op, sizeof *data);
    struct err *e = grant_find(op, data);
    if (!e && !data->there) {
        e = err_next(err_new(STATUS_NOT_FOUND, "\"%s\" has no grant to import from \"%s\"",
                             data->to->row.name, data->from->row.name),
                     "tarn grant list");
    }
    if (e) {
        op_fail(op, e);
    } else if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_revoke(op, data));
    } else {
        op_catalog_audited(op, revoke_write);
    }
}

static void step_revoked(struct op *op)
{
    const struct grant_data *data = op->data;
    op->result = json_pack("{s:{s:s, s:o}}", "deleted", "kind", "grant", "name",
                           json_sprintf("%s from %s", data->to->row.name, data->from->row.name));
    remove_grant(data->there);
    op_next(op);
}

static void step_grant_list(struct op *op)
{
    json_t *array = json_array();
    list_for_each (node, &op->control->grants) {
        const struct grant *grant = list_entry(node, struct grant, link);
        json_array_append_new(array, json_grant(&grant->row, grant->to, grant->from));
    }
    op->result = json_pack("{s:o}", "grants", array);
    op_next(op);
}

static op_step *const create_steps[] = {step_create, step_publish, NULL};
static op_step *const member_steps[] = {step_member, step_member_changed, NULL};
static op_step *const delete_steps[] = {step_delete, step_forget, NULL};
static op_step *const list_steps[] = {step_list, NULL};
static op_step *const show_steps[] = {step_show, NULL};
static op_step *const grant_steps[] = {step_grant, step_granted, NULL};
static op_step *const revoke_steps[] = {step_revoke, step_revoked, NULL};
static op_step *const grant_list_steps[] = {step_grant_list, NULL};

const struct op_plan plans_group[] = {
    {"group_create", OP_LANE_GENERAL, create_steps, NULL},
    {"group_list", OP_LANE_NONE, list_steps, NULL},
    {"group_show", OP_LANE_NONE, show_steps, NULL},
    {"group_add", OP_LANE_GENERAL, member_steps, NULL},
    {"group_remove", OP_LANE_GENERAL, member_steps, NULL},
    {"group_delete", OP_LANE_GENERAL, delete_steps, NULL},
    {"grant_add", OP_LANE_GENERAL, grant_steps, NULL},
    {"grant_list", OP_LANE_NONE, grant_list_steps, NULL},
    {"grant_remove", OP_LANE_GENERAL, revoke_steps, NULL},
    {0},
};
