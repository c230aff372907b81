/*
 * Who may do what: the one place where it is decided.
 *
 * People and scripts have roles in order of power, and a verb says the least that it takes
 * (verbs.def, VERB).  A host has rights of another kind (verbs.def, HOST_MAY): each verb that a
 * host may call has a rule, and the rule looks at the objects that are named.  Hosts of one group
 * have the same rights.
 *
 *   a disk is a host's when it is served to a host of its group
 *   a set is a host's when it was prepared for a host of its group (its owner, group.c), or when
 * one of its snapshots is served to a host of its group: then it was imported a grant lets a group
 * import sets of another, and see them; nothing else
 *
 * A host names objects exactly, by name or id: a prefix would tell it what others have.  It is
 * looked at twice, when the call comes and again when its turn has come.
 */
#include <stdio.h>
#include <string.h>

#include "control/host_int.h"

enum access_rule {
    ACCESS_NEVER,
    ACCESS_ALWAYS,
    ACCESS_LIST,         /* answers only what the host sees */
    ACCESS_PREPARE,      /* "disks" are the host's; "host" is of its group */
    ACCESS_OWN_SET,      /* "name" was prepared for its group */
    ACCESS_SET,          /* ... or imported by it */
    ACCESS_IMPORT,       /* "name" was prepared for its group or one that it has a grant from */
    ACCESS_SEE_SET,      /* any of these */
    ACCESS_SNAPSHOT,     /* "name" is of a set as for SET */
    ACCESS_SEE_SNAPSHOT, /* ... as for SEE_SET */
    ACCESS_UNMAP,        /* "host" is of its group, the LUN a snapshot of a set as for SET */
    ACCESS_SEE_DISK,     /* "name" is the host's */
    ACCESS_SEE_HOST,     /* "name" is of its group */
    ACCESS_REVERT,       /* "name" is the host's disk, "to" a snapshot or set as for SET */
    ACCESS_REPLACE,      /* the same with "from" */
    ACCESS_JOB,          /* by its whole id, which nobody can guess */
    ACCESS_CANCEL,       /* ... and this host has begun it */
    ACCESS_RULE_COUNT
};

struct access_row {
    const char *verb;
    enum access_rule rule;
};

static const struct access_row host_rows[] = {
#define VERB(id, noun, verb, method, path, role, help)
#define HOST_MAY(id, rule) {#id, ACCESS_##rule},
#include "control/verbs.def"
};

static const char *const rule_names[] = {
    "NEVER",    "ALWAYS",       "LIST",  "PREPARE",  "OWN_SET",  "SET",    "IMPORT",  "SEE_SET",
    "SNAPSHOT", "SEE_SNAPSHOT", "UNMAP", "SEE_DISK", "SEE_HOST", "REVERT", "REPLACE", "JOB", "CANCEL"};
check_static(countof(rule_names) == ACCESS_RULE_COUNT);

static enum access_rule rule_of(const char *verb)
{
    for (unsigned i = 0; i < countof(host_rows); i++) {
        if (strcmp(host_rows[i].verb, verb) == 0) return host_rows[i].rule;
    }
    return ACCESS_NEVER;
}

const char *access_rule_name(const char *verb)
{
    enum access_rule rule = rule_of(verb);
    return rule == ACCESS_NEVER ? NULL : rule_names[rule];
}

/* ---- Roles ---- */

struct err *require_role(const struct op *op, enum control_role role, const char *what)
{
    if (op->actor.role != CONTROL_ROLE_HOST && op->actor.role >= role) return NULL;
    return err_next(err_new(STATUS_DENIED, "%s needs the role %s; \"%s\" is %s", what,
                            control_role_name(role), op->actor.name,
                            control_role_name(op->actor.role)),
                    "use a token with that role (tarn token create)");
}

struct err *access_check_verb(struct op *op)
{
    char what[80];
    snprintf(what, sizeof what, "%s %s", op->verb->noun, op->verb->verb);
    if (op->actor.role != CONTROL_ROLE_HOST) return require_role(op, op->verb->role, what);
    if (rule_of(op->verb->id) != ACCESS_NEVER) return NULL;
    return err_next(
        err_new(STATUS_DENIED, "%s is not for hosts; \"%s\" is one", what, op->actor.name),
        "an administrator or a backup operator may, with a token");
}

/* ---- What is whose ---- */

static bool disk_is_served(struct control *control, const struct host *host,
                           const struct disk *disk)
{
    list_for_each (node, &control->hosts) {
        struct host *other =
            container_of(list_entry(node, struct object, link), struct host, object);
        if (hosts_are_together(host, other) && host_map_of(other, &disk->row.uuid)) return true;
    }
    return false;
}

static bool set_is_imported(struct control *control, const struct host *host, const struct set *set)
{
    list_for_each (node, &control->hosts) {
        struct host *other =
            container_of(list_entry(node, struct object, link), struct host, object);
        if (!hosts_are_together(host, other)) continue;
        if (set_import_of(set, &other->row.uuid)) return true; /* masked meanwhile, perhaps */
        list_for_each (member, &set->members) {
            const struct snapshot *s = list_entry(member, struct snapshot, member_link);
            if (host_map_of(other, &s->row.uuid)) return true;
        }
    }
    return false;
}

static bool set_fits(struct control *control, const struct host *host, const struct set *set,
                     enum access_rule rule)
{
    bool own = host_owns(control, host, &set->owner);
    bool imported = own || set_is_imported(control, host, set);
    switch (rule) {
    case ACCESS_OWN_SET:
        return own;
    case ACCESS_SET:
    case ACCESS_SNAPSHOT:
    case ACCESS_UNMAP:
    case ACCESS_REVERT:
    case ACCESS_REPLACE:
        return imported;
    case ACCESS_IMPORT:
        return own || host_is_granted(control, host, &set->owner);
    case ACCESS_SEE_SET:
    case ACCESS_SEE_SNAPSHOT:
        return imported || host_is_granted(control, host, &set->owner);
    case ACCESS_NEVER:
    case ACCESS_ALWAYS:
    case ACCESS_LIST:
    case ACCESS_PREPARE:
    case ACCESS_SEE_DISK:
    case ACCESS_SEE_HOST:
    case ACCESS_JOB:
    case ACCESS_CANCEL:
    case ACCESS_RULE_COUNT:
    default:
        unreachable("a rule about sets");
        return false;
    }
}

/* ---- Objects that a call names ---- */

static struct err *not_found(const char *kind, const char *text)
{
    return err_next(err_new(STATUS_NOT_FOUND, "no %s is called \"%s\"", kind, text ? text : ""),
                    "a host names things by their whole name or id");
}

static struct err *denied(const struct op *op, const char *what, const char *name, const char *why)
{
    return err_next(err_new(STATUS_DENIED, "%s %s: %s \"%s\" %s of \"%s\"", op->verb->noun,
                            op->verb->verb, what, name, why, op->actor.name),
                    "an administrator sees with tarn host, tarn group and tarn grant who may");
}

static struct object *exact(struct list *list, const char *text)
{
    struct uuid uuid;
    bool is_uuid = text && uuid_parse(text, &uuid);
    struct object *found = NULL;
    list_for_each (node, list) {
        struct object *object = list_entry(node, struct object, link);
        if (is_uuid && uuid_equal(object->uuid, &uuid)) return object;
        if (text && strcmp(object->name, text) == 0 && (!found || found->past)) found = object;
    }
    return found;
}

static struct err *check_disk(const struct op *op, const struct host *host, const char *text)
{
    struct object *object = exact(&op->control->disks, text);
    if (!object) return not_found("disk", text);
    const struct disk *disk = container_of(object, struct disk, object);
    if (disk_is_served(op->control, host, disk)) return NULL;
    return denied(op, "disk", disk->row.name, "is not served to the group");
}

static struct err *check_set(const struct op *op, const struct host *host, const char *text,
                             enum access_rule rule)
{
    struct object *object = exact(&op->control->sets, text);
    if (!object) return not_found("set", text);
    const struct set *set = container_of(object, struct set, object);
    if (set_fits(op->control, host, set, rule)) return NULL;
    return denied(op, "set", set->row.name,
                  rule == ACCESS_IMPORT ? "is not, and no grant lets it be imported by the group"
                                        : "is not");
}

static struct err *check_snapshot(const struct op *op, const struct host *host, const char *text,
                                  enum access_rule rule)
{
    struct object *object = exact(&op->control->snapshots, text);
    if (!object) return not_found("snapshot", text);
    const struct snapshot *snapshot = container_of(object, struct snapshot, object);
    if (set_fits(op->control, host, snapshot->set, rule)) return NULL;
    return denied(op, "snapshot", snapshot->row.name, "is not");
}

static struct err *check_host(const struct op *op, const struct host *host, const char *text)
{
    struct object *object = exact(&op->control->hosts, text);
    if (!object) return not_found("host", text);
    const struct host *other = container_of(object, struct host, object);
    if (hosts_are_together(host, other)) return NULL;
    return denied(op, "host", other->row.name, "is not in the group");
}

/* OnLunEmpty of VSS: one LUN of a set goes, the others stay. */
static struct err *check_served(const struct op *op, const struct host *host)
{
    const char *text = arg_text(op, "host");
    TRY(check_host(op, host, text));
    struct host *other = container_of(exact(&op->control->hosts, text), struct host, object);
    const struct map *map = host_map_at(other, arg_uint(op, "lun", 0));
    if (!map) {
        return err_next(err_new(STATUS_NOT_FOUND, "host \"%s\" has no such LUN", text),
                        "tarn map list");
    }
    if (!map->snapshot) return denied(op, "a disk of host", text, "stays, also for a host");
    if (set_fits(op->control, host, map->snapshot->set, ACCESS_UNMAP)) return NULL;
    return denied(op, "snapshot", map->snapshot->row.name, "is not");
}

static struct err *check_disks(const struct op *op, const struct host *host)
{
    const json_t *disks = json_object_get(op->arguments, "disks");
    for (size_t i = 0; i < json_array_size(disks); i++)
        TRY(check_disk(op, host, json_string_value(json_array_get(disks, i))));
    /* A set that is prepared again under its id is answered as it is. */
    const char *uuid = arg_text(op, "uuid");
    if (uuid && exact(&op->control->sets, uuid)) return check_set(op, host, uuid, ACCESS_OWN_SET);
    return NULL;
}

/* Content comes from a snapshot, or from a set that has one of the disk. */
static struct err *check_content(const struct op *op, const struct host *host, const char *field,
                                 enum access_rule rule)
{
    const char *text = arg_text(op, field);
    TRY(check_disk(op, host, arg_text(op, "name")));
    if (arg_bool(op, "force")) {
        return denied(op, "disk", arg_text(op, "name"), "cannot be forced by a host; this is one");
    }
    if (exact(&op->control->snapshots, text)) return check_snapshot(op, host, text, rule);
    return check_set(op, host, text, rule);
}

/* What others do to its disks it may see, since errors name such jobs, but not end. */
static struct err *check_own_job(const struct op *op, const char *text)
{
    struct object *object = exact(&op->control->jobs, text);
    if (!object) return not_found("job", text);
    const struct job *job = container_of(object, struct job, object);
    const char *actor = json_string_value(json_object_get(job->work, "actor"));
    if (actor && strcmp(actor, op->actor.name) == 0) return NULL;
    return denied(op, "job", job->name, "is not one");
}

static bool takes(const struct verb *verb, const char *name)
{
    for (unsigned i = 0; i < verb_arg_count; i++) {
        if (strcmp(verb_args[i].verb, verb->id) == 0 && strcmp(verb_args[i].name, name) == 0)
            return true;
    }
    return false;
}

static struct err *check_by_rule(struct op *op, const struct host *host, enum access_rule rule)
{
    const char *name = arg_text(op, "name");
    switch (rule) {
    case ACCESS_ALWAYS:
    case ACCESS_LIST:
        return NULL;
    case ACCESS_PREPARE:
        return check_disks(op, host);
    case ACCESS_OWN_SET:
    case ACCESS_SET:
    case ACCESS_IMPORT:
    case ACCESS_SEE_SET:
        return check_set(op, host, name, rule);
    case ACCESS_SNAPSHOT:
    case ACCESS_SEE_SNAPSHOT:
        return check_snapshot(op, host, name, rule);
    case ACCESS_UNMAP:
        return check_served(op, host);
    case ACCESS_SEE_DISK:
        return check_disk(op, host, name);
    case ACCESS_SEE_HOST:
        return check_host(op, host, name);
    case ACCESS_REVERT:
        return check_content(op, host, "to", rule);
    case ACCESS_REPLACE:
        return check_content(op, host, "from", rule);
    case ACCESS_JOB:
        return exact(&op->control->jobs, name) ? NULL : not_found("job", name);
    case ACCESS_CANCEL:
        return check_own_job(op, name);
    case ACCESS_NEVER:
    case ACCESS_RULE_COUNT:
    default:
        return err_new(STATUS_DENIED, "not for hosts");
    }
}

/* What a host asks for, it asks for itself, unless it names another of its group. */
void access_complete(const struct op *op, json_t *given)
{
    if (op->actor.role != CONTROL_ROLE_HOST || !takes(op->verb, "host")) return;
    const struct host *host = inventory_host(op->control, &op->actor.host);
    const json_t *named = json_object_get(given, "host");
    if (host && (!named || json_is_null(named)))
        json_object_set_new(given, "host", json_string(host->row.name));
}

struct err *access_check_objects(struct op *op)
{
    if (op->actor.role != CONTROL_ROLE_HOST || !op->verb) return NULL;
    const struct host *host = inventory_host(op->control, &op->actor.host);
    if (!host || host->leaving) {
        return err_new(STATUS_DENIED, "\"%s\" is not a host any more", op->actor.name);
    }
    if (takes(op->verb, "host")) TRY(check_host(op, host, arg_text(op, "host")));
    return check_by_rule(op, host, rule_of(op->verb->id));
}

/* ---- What lists show ---- */

static const struct host *host_of(const struct op *op)
{
    return inventory_host(op->control, &op->actor.host);
}

bool access_sees_disk(const struct op *op, const struct disk *disk)
{
    if (op->actor.role != CONTROL_ROLE_HOST) return true;
    const struct host *host = host_of(op);
    return host && disk_is_served(op->control, host, disk);
}

bool access_sees_host(const struct op *op, const struct host *other)
{
    if (op->actor.role != CONTROL_ROLE_HOST) return true;
    const struct host *host = host_of(op);
    return host && hosts_are_together(host, other);
}

bool access_sees_set(const struct op *op, const struct set *set)
{
    if (op->actor.role != CONTROL_ROLE_HOST) return true;
    const struct host *host = host_of(op);
    return host && set_fits(op->control, host, set, ACCESS_SEE_SET);
}
