/* Preparing a set: everything that can refuse or take time (names, identities, space, depth, LUN
 * numbers). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"
#include "control/host_int.h"

/* A cut itself takes a few blocks; a pool so full that the next writes fail is no place for a
 * snapshot. */
#define SPACE_PER_MEMBER MIB
#define SPACE_SHARE 100

static struct err *check_disk(const struct disk *disk)
{
    if (disk->row.state != CATALOG_READY) {
        return err_new(STATUS_CONFLICT, "disk \"%s\" is %s", disk->row.name,
                       catalog_state_name(disk->row.state));
    }
    TRY(pool_check_open(disk->pool));
    struct volume_disk_info info;
    if (!volume_disk_find(disk->pool->engine, &disk->row.uuid, &info)) {
        return err_new(STATUS_CONFLICT, "disk \"%s\" is missing in its pool", disk->row.name);
    }
    if (info.depth >= LIMIT_BRANCH_DEPTH) {
        return err_new(STATUS_LIMIT_REACHED,
                       "disk \"%s\" is a branch of a branch, %u deep: nothing could"
                       " be branched off its snapshot",
                       disk->row.name, info.depth);
    }
    if (info.point_count >= LIMIT_POINTS_PER_DISK) {
        return err_next(err_new(STATUS_LIMIT_REACHED, "disk \"%s\" has %u snapshots",
                                disk->row.name, info.point_count),
                        "delete old ones: tarn snapshot list");
    }
    return NULL;
}

/* At most so much is copied of it. */
static uint64_t full_bytes(const struct disk *disk)
{
    struct volume_disk_info info = {0};
    (void)volume_disk_find(disk->pool->engine, &disk->row.uuid, &info);
    return info.depth == 0 ? min_of(info.own_bytes, info.size_bytes) : info.size_bytes;
}

static struct err *check_space(const struct pool *pool, unsigned member_count, uint64_t copies_bytes)
{
    struct volume_pool_usage usage;
    volume_pool_usage(pool->engine, &usage);
    uint64_t wanted = max_of(member_count * SPACE_PER_MEMBER, usage.capacity_bytes / SPACE_SHARE) +
                      copies_bytes;
    if (usage.free_bytes + usage.reclaiming_bytes >= wanted)
        return NULL; /* freed: it comes when asked for */
    char free_text[TEXT_SIZE_MAX], wanted_text[TEXT_SIZE_MAX];
    return err_next(err_new(STATUS_POOL_FULL, "pool \"%s\" has %s free; a snapshot here wants %s",
                            pool->row.name, text_format_size(usage.free_bytes, free_text),
                            text_format_size(wanted, wanted_text)),
                    "delete snapshots or disks: tarn snapshot list");
}

/* Each pool for the members that lie in it. */
static struct err *check_spaces(struct control *control, const struct set_draft *draft)
{
    list_for_each (node, &control->pools) {
        struct pool *pool =
            container_of(list_entry(node, struct object, link), struct pool, object);
        unsigned count = 0;
        uint64_t copies_bytes = 0;
        for (unsigned i = 0; i < draft->count; i++) {
            const struct disk *disk = inventory_disk(control, &draft->snapshots[i].disk);
            if (disk->pool != pool) continue;
            count++;
            if (draft->row.wants_full) copies_bytes += full_bytes(disk);
        }
        if (count > 0) TRY(check_space(pool, count, copies_bytes));
    }
    return NULL;
}

static struct err *take_disk(struct op *op, struct set_draft *draft, unsigned position)
{
    const char *text =
        json_string_value(json_array_get(json_object_get(op->arguments, "disks"), position));
    struct disk *disk = NULL;
    TRY(find_disk(op->control, text, &disk));
    for (unsigned i = 0; i < position; i++) {
        if (uuid_equal(&draft->snapshots[i].disk, &disk->row.uuid)) {
            return err_new(STATUS_BAD_REQUEST, "disk \"%s\" is named twice", disk->row.name);
        }
    }
    TRY(check_disk(disk));
    if (!draft->pool) draft->pool = disk->pool;
    struct volume_disk_info info;
    check(volume_disk_find(disk->pool->engine, &disk->row.uuid, &info));
    draft->snapshots[position] = (struct catalog_snapshot){.uuid = rt_uuid(op->control->rt),
                                                           .set = draft->row.uuid,
                                                           .disk = disk->row.uuid,
                                                           .state = SNAPSHOT_PENDING,
                                                           .size_bytes = info.size_bytes,
                                                           .lun = -1,
                                                           .position = position};
    draft->snapshots[position].point = draft->snapshots[position].uuid;
    return NULL;
}

static struct err *take_names(struct op *op, struct set_draft *draft, bool name_alone)
{
    const char *given = arg_text(op, "name");
    if (given) {
        snprintf(draft->row.name, sizeof draft->row.name, "%s", given);
    } else {
        name_by_time(op->control, &op->control->sets, name_alone ? "snapshot" : "set",
                     draft->row.name);
    }
    TRY(name_check_free(&op->control->sets, "set", draft->row.name));
    for (unsigned i = 0; i < draft->count; i++) {
        struct catalog_snapshot *snapshot = &draft->snapshots[i];
        const struct disk *disk = inventory_disk(op->control, &snapshot->disk);
        char name[2 * CATALOG_NAME_SIZE];
        if (name_alone && draft->count == 1) {
            snprintf(name, sizeof name, "%s", draft->row.name);
        } else {
            snprintf(name, sizeof name, "%s-%s", draft->row.name, disk->row.name);
        }
        if (strlen(name) > LIMIT_NAME_BYTES) {
            return err_new(STATUS_BAD_REQUEST,
                           "the name \"%.60s...\" would be longer than %d bytes", name,
                           LIMIT_NAME_BYTES);
        }
        TRY(name_check_free(&op->control->snapshots, "snapshot", name));
        memcpy(snapshot->name, name, strlen(name) + 1);
    }
    return NULL;
}

static struct err *take_luns(struct op *op, struct set_draft *draft)
{
    const char *text = arg_text(op, "host");
    if (!text) return NULL;
    struct host *host = NULL;
    TRY(find_host(op->control, text, &host));
    draft->row.host = host->row.uuid;
    draft->owner = host_owner(host);
    bool taken[LIMIT_LUNS_PER_HOST] = {false};
    for (unsigned i = 0; i < draft->count; i++) {
        unsigned lun = 0;
        TRY(choose_lun(op->control, host, &draft->snapshots[i].uuid, CATALOG_SNAPSHOT, taken,
                       &lun));
        taken[lun] = true;
        draft->snapshots[i].lun = (int)lun;
    }
    return NULL;
}

static struct err *take_uuid(struct op *op, struct set_draft *draft)
{
    const char *text = arg_text(op, "uuid");
    draft->row.uuid = rt_uuid(op->control->rt);
    if (!text) return NULL;
    if (!uuid_parse(text, &draft->row.uuid) || uuid_is_nil(&draft->row.uuid)) {
        return err_new(STATUS_BAD_REQUEST,
                       "\"uuid\" must be an id such as 01234567-89ab-4cde-8f01-23456789abcd");
    }
    struct set *set = inventory_set(op->control, &draft->row.uuid);
    if (!set) return NULL;
    if (set->row.state != SET_PREPARED) {
        return err_new(STATUS_EXISTS, "set \"%s\" has this id already; it is %s", set->row.name,
                       catalog_set_state_name(set->row.state));
    }
    draft->set = set;
    draft->exists = true;
    return NULL;
}

struct err *set_draft_fill(struct op *op, struct set_draft *draft, bool name_alone)
{
    struct control *control = op->control;
    TRY(take_uuid(op, draft));
    if (draft->exists) return NULL;
    uint64_t lease_s = arg_uint(op, "lease_s", SET_LEASE_DEFAULT_S);
    if (lease_s == 0 || lease_s > SET_LEASE_MAX_S) {
        return err_new(STATUS_BAD_REQUEST, "\"lease_s\" must be 1 to %" PRIu64, SET_LEASE_MAX_S);
    }
    draft->count = (unsigned)json_array_size(json_object_get(op->arguments, "disks"));
    if (draft->count > LIMIT_SET_MEMBERS) {
        return err_new(STATUS_LIMIT_REACHED, "a set has at most %d disks", LIMIT_SET_MEMBERS);
    }
    draft->snapshots = calloc(draft->count, sizeof *draft->snapshots);
    if (!draft->snapshots) return err_new(STATUS_NO_MEMORY, "set");
    for (unsigned i = 0; i < draft->count; i++)
        TRY(take_disk(op, draft, i));
    draft->row.wants_full = arg_bool(op, "full");
    TRY(check_spaces(op->control, draft));
    TRY(take_names(op, draft, name_alone));
    TRY(take_luns(op, draft));
    TRY(reserve_check(control, draft));
    draft->row.pool = draft->pool->row.uuid;
    draft->row.state = SET_PREPARED;
    draft->row.lease_s = lease_s;
    draft->row.created_ns = rt_wall(control->rt);
    draft->row.is_volatile = arg_bool(op, "volatile");
    draft->row.transportable = arg_bool(op, "transportable");
    draft->row.vss = arg_bool(op, "vss");
    snprintf(draft->row.created_by, sizeof draft->row.created_by, "%.63s", op->actor.name);
    draft->event = (struct catalog_event){
        .set = draft->row.uuid, .state = SET_PREPARED, .at_ns = draft->row.created_ns};
    return NULL;
}

struct err *set_draft_write(struct catalog *catalog, struct set_draft *draft)
{
    TRY(catalog_put_set(catalog, &draft->row));
    TRY(catalog_add_event(catalog, &draft->event));
    if (!uuid_is_nil(&draft->owner))
        TRY(catalog_put_owner(catalog, &draft->row.uuid, &draft->owner));
    for (unsigned i = 0; i < draft->count; i++) {
        struct catalog_snapshot *snapshot = &draft->snapshots[i];
        TRY(catalog_issue_identity(catalog, &snapshot->uuid, draft->row.created_ns, snapshot->naa));
        TRY(catalog_put_snapshot(catalog, snapshot));
    }
    return NULL;
}

void set_draft_publish(struct op *op, struct set_draft *draft)
{
    struct control *control = op->control;
    struct set *set = inventory_add_set(control, &draft->row);
    set->owner = draft->owner;
    set->events[0] = draft->event;
    set->event_count = 1;
    set->lease_until_ns = rt_now(control->rt) + draft->row.lease_s * RT_SECOND;
    for (unsigned i = 0; i < draft->count; i++)
        inventory_add_snapshot(control, &draft->snapshots[i]);
    draft->set = set;
}
