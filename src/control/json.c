/* Answers: objects as JSON (doc/openapi.yaml). */
#include <stdio.h>
#include <string.h>

#include "control/control_int.h"
#include "control/host_int.h"

json_t *json_time(uint64_t wall_ns)
{
    char text[TEXT_TIME_MAX];
    return wall_ns ? json_string(text_format_time(wall_ns, text)) : json_null();
}

static json_t *uuid_json(const struct uuid *uuid)
{
    char text[UUID_TEXT_SIZE];
    return json_string(uuid_format(uuid, text));
}

static json_t *hex_json(const void *data, size_t size)
{
    char text[33];
    return json_string(text_format_hex(data, size, text));
}

static json_t *number_json(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

json_t *control_failure_json(const struct err *e)
{
    json_t *causes = json_array();
    for (unsigned i = 1; i < err_frame_count(e); i++) {
        json_array_append_new(causes, json_string(err_frame(e, i)));
    }
    return json_pack("{s:s, s:s, s:o, s:o}", "status", status_info(err_status(e))->name, "message",
                     err_frame(e, 0), "causes", causes, "next", text_or_null(err_next_text(e)));
}

json_t *json_failure(const struct err *e)
{
    return control_failure_json(e);
}

json_t *json_deleted(const char *kind, const char *name, const struct uuid *uuid)
{
    return json_pack("{s:{s:s, s:s, s:o}}", "deleted", "kind", kind, "name", name, "uuid",
                     uuid_json(uuid));
}

static unsigned list_count(const struct list *list)
{
    unsigned count = 0;
    list_for_each (node, list)
        count++;
    return count;
}

static unsigned session_count(const struct host *host)
{
    unsigned count = 0;
    list_for_each (node, &host->sessions)
        count += list_entry(node, struct session, link)->count;
    return count;
}

json_t *json_server(struct control *control)
{
    json_t *portals = json_array();
    for (unsigned i = 0; control->target; i++) {
        const char *address = control->target->portal_address(control->target_arg, i);
        if (!address) break;
        json_array_append_new(portals, json_string(address));
    }
    unsigned sessions = 0;
    list_for_each (node, &control->hosts) {
        sessions +=
            session_count(container_of(list_entry(node, struct object, link), struct host, object));
    }
    return json_pack("{s:s, s:I, s:o, s:s, s:s, s:o, s:o, s:i, s:i, s:i, s:i, s:I, s:I, s:I}", "name",
                     control->server_name, "now_wall_ns", (json_int_t)rt_wall(control->rt), "uuid",
                     uuid_json(&control->server), "version", control->version, "target_name",
                     control->target_name, "portals", portals, "started_at",
                     json_time(control->started_ns), "pool_count", list_count(&control->pools),
                     "disk_count", list_count(&control->disks), "host_count",
                     list_count(&control->hosts), "session_count", sessions, "trash_kept_s",
                     (json_int_t)control->settings.trash_s, "recovery_reserve_bytes",
                     (json_int_t)control->settings.recovery_bytes, "remove_stale_s",
                     (json_int_t)control->settings.remove_stale_s);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

struct unclaimed {
    struct control *control;
    json_t *array; /* may be NULL */
    unsigned count;
};

static void note_unclaimed(void *arg, const struct volume_point_info *info)
{
    struct unclaimed *unclaimed = arg;
    if (info->kind == VOLUME_POINT_PIN ||
        inventory_snapshot(unclaimed->control, &info->disk) || /* of a private branch */
        inventory_snapshot_of_point(unclaimed->control, &info->uuid) ||
        inventory_undo(unclaimed->control, &info->uuid)) {
        return;
    }
    unclaimed->count++;
    if (!unclaimed->array) return;
    json_array_append_new(
        unclaimed->array,
        json_pack("{s:o, s:o, s:o, s:I, s:o}", "uuid", uuid_json(&info->uuid), "disk_uuid",
                  uuid_json(&info->disk), "set_uuid", uuid_json(&info->set), "generation",
                  (json_int_t)info->generation, "cut_at", json_time(info->wall_ns)));
}

unsigned pool_unclaimed(struct control *control, struct pool *pool, json_t *array)
{
    struct unclaimed unclaimed = {.control = control, .array = array};
    if (pool->engine) volume_points(pool->engine, NULL, note_unclaimed, &unclaimed);
    return unclaimed.count;
}

static void note_unclaimed_disk(void *arg, const struct volume_disk_info *info)
{
    struct unclaimed *unclaimed = arg;
    if (inventory_disk(unclaimed->control, &info->uuid)) return;
    if (inventory_snapshot(unclaimed->control, &info->uuid)) return; /* its private branch */
    if (inventory_snapshot_of_view(unclaimed->control, &info->uuid)) return;
    unclaimed->count++;
}

static unsigned pool_unclaimed_disks(struct control *control, struct pool *pool)
{
    struct unclaimed unclaimed = {.control = control};
    if (pool->engine) volume_disks(pool->engine, note_unclaimed_disk, &unclaimed);
    return unclaimed.count;
}

static json_t *recovery_json(const struct pool *pool)
{
    const struct volume_recovery *r = pool->engine ? volume_pool_recovery(pool->engine) : NULL;
    if (!r) return json_null();
    return json_pack("{s:b, s:I, s:I, s:I, s:I}", "clean", r->clean, "batches_replayed",
                     (json_int_t)r->batches_replayed, "blocks_verified",
                     (json_int_t)r->blocks_verified, "batches_cut", (json_int_t)r->batches_cut,
                     "duration_ns", (json_int_t)r->duration_ns);
}

static unsigned pool_disks(struct control *control, const struct pool *pool)
{
    unsigned count = 0;
    list_for_each (node, &control->disks) {
        struct disk *d = container_of(list_entry(node, struct object, link), struct disk, object);
        count += d->pool == pool && d->row.state != CATALOG_TRASHED;
    }
    return count;
}

static unsigned pool_snapshots(struct control *control, const struct pool *pool)
{
    unsigned count = 0;
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        count += s->disk->pool == pool && s->row.state != SNAPSHOT_TRASHED;
    }
    return count;
}

json_t *json_pool(struct control *control, struct pool *pool, bool with_unclaimed)
{
    struct volume_pool_usage usage = {0};
    if (pool->engine) volume_pool_usage(pool->engine, &usage);
    json_t *unclaimed = with_unclaimed ? json_array() : NULL;
    unsigned unclaimed_count = pool_unclaimed(control, pool, unclaimed);
    const char *trouble = pool->engine ? volume_pool_trouble(pool->engine) : pool->trouble;
    json_t *json =
        json_pack("{s:s, s:o, s:s, s:s, s:s, s:i, s:i, s:i, s:b, s:o, s:o}", "name", pool->row.name,
                  "uuid", uuid_json(&pool->row.uuid), "path", pool->row.path, "state",
                  pool_state_text(pool), "trouble", trouble, "disk_count",
                  pool_disks(control, pool), "snapshot_count", pool_snapshots(control, pool),
                  "unclaimed_count", unclaimed_count, "reclaim_pending", usage.reclaim_pending,
                  "created_at", json_time(pool->row.created_ns), "recovery", recovery_json(pool));
    const struct {
        const char *name;
        uint64_t value;
    } sizes[] = {
        {"size_bytes", usage.size_bytes},         {"capacity_bytes", usage.capacity_bytes},
        {"used_bytes", usage.used_bytes},         {"data_bytes", usage.data_bytes},
        {"metadata_bytes", usage.metadata_bytes}, {"reclaiming_bytes", usage.reclaiming_bytes},
        {"reserved_bytes", usage.reserved_bytes}, {"free_bytes", usage.free_bytes}};
    for (unsigned i = 0; i < countof(sizes); i++) {
        json_object_set_new(json, sizes[i].name, number_json(sizes[i].value));
    }
    json_object_set_new(json, "unclaimed_disk_count",
                        number_json(pool_unclaimed_disks(control, pool)));
    json_object_set_new(json, "warn_percent", number_json(pool->row.warn_percent));
    if (unclaimed) json_object_set_new(json, "unclaimed", unclaimed);
    return json;
}

/* ---- Disks, hosts, maps ---------------------------------------------------------------------- */

static json_t *maps_of(struct control *control, const struct uuid *object)
{
    json_t *array = json_array();
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        struct map *map = host_map_of(host, object);
        if (!map) continue;
        json_array_append_new(array, json_pack("{s:s, s:i, s:b}", "host", host->row.name, "lun",
                                               (int)map->row.lun, "read_only", map->row.read_only));
    }
    return array;
}

static unsigned snapshots_of(struct control *control, const struct disk *disk)
{
    unsigned count = 0;
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        count += s->disk == disk && s->row.state != SNAPSHOT_TRASHED;
    }
    return count;
}

json_t *json_undo(const struct undo *undo)
{
    return json_pack("{s:s, s:o, s:s, s:s, s:I, s:o, s:o}", "name", undo->row.name, "uuid",
                     uuid_json(&undo->row.uuid), "state",
                     catalog_snapshot_state_name(undo->row.state), "cause", undo->row.cause,
                     "size_bytes", (json_int_t)undo->row.size_bytes, "made_at",
                     json_time(undo->row.made_ns), "expires_at", json_time(undo->row.expires_ns));
}

static json_t *undos_of(const struct disk *disk)
{
    json_t *array = json_array();
    list_for_each (node, &disk->undos) {
        json_array_append_new(array, json_undo(container_of(list_entry(node, struct object, link),
                                                            struct undo, object)));
    }
    return array;
}

json_t *json_disk(struct control *control, struct disk *disk)
{
    struct volume_disk_info info = {.size_bytes = disk->row.size_bytes};
    bool there = disk->pool->engine && volume_disk_find(disk->pool->engine, &disk->row.uuid, &info);
    const char *state = catalog_state_name(disk->row.state);
    if (!there && disk->row.state == CATALOG_READY) state = "missing";
    struct snapshot *parent = inventory_snapshot_of_point(control, &disk->row.parent_point);
    struct disk *parent_disk = inventory_disk(control, &info.parent_disk);
    return json_pack(
        "{s:s, s:o, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:o, s:o}", "name",
        disk->row.name, "uuid", uuid_json(&disk->row.uuid), "pool", disk->pool->row.name, "state",
        state, "size_bytes", (json_int_t)info.size_bytes, "used_bytes", (json_int_t)info.own_bytes,
        "serial", hex_json(disk->row.uuid.bytes, 16), "naa",
        hex_json(disk->row.naa, CATALOG_NAA_BYTES), "created_at", json_time(disk->row.created_ns),
        "parent_snapshot", text_or_null(parent ? parent->row.name : NULL), "parent_disk",
        text_or_null(parent_disk ? parent_disk->row.name : NULL), "depth", (int)info.depth,
        "snapshot_count", snapshots_of(control, disk), "maps", maps_of(control, &disk->row.uuid),
        "undo_points", undos_of(disk));
}

static const char *object_name(const struct map *map)
{
    return map->disk ? map->disk->row.name : map->snapshot->row.name;
}

json_t *json_host(struct host *host)
{
    json_t *initiators = json_array(), *sessions = json_array(), *luns = json_array();
    for (unsigned i = 0; i < host->row.initiator_count; i++) {
        json_array_append_new(initiators, json_string(host->row.initiators[i]));
    }
    list_for_each (node, &host->sessions) {
        const struct session *session = list_entry(node, struct session, link);
        for (unsigned i = 0; i < session->count; i++) {
            json_array_append_new(sessions, json_pack("{s:s}", "initiator", session->initiator));
        }
    }
    list_for_each (node, &host->maps) {
        const struct map *map = list_entry(node, struct map, link);
        json_array_append_new(luns, json_pack("{s:i, s:s, s:s, s:b}", "lun", (int)map->row.lun,
                                              "kind", catalog_kind_name(map->row.kind), "object",
                                              object_name(map), "read_only", map->row.read_only));
    }
    json_t *json = json_pack(
        "{s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:i, s:o, s:o}", "name", host->row.name, "os",
        catalog_os_name(host->row.os), "uuid", uuid_json(&host->row.uuid), "initiators", initiators,
        "auth", host->row.auth, "chap_user", text_or_null(host->row.chap_user), "mutual_user",
        text_or_null(host->row.mutual_user), "created_at", json_time(host->row.created_ns),
        "session_count", session_count(host), "sessions", sessions, "luns", luns);
    json_object_set_new(json, "group", text_or_null(host->group ? host->group->row.name : NULL));
    return json;
}

static bool serves_pool(const struct host *host, const struct pool *pool)
{
    list_for_each (node, &host->maps) {
        const struct map *map = list_entry(node, struct map, link);
        if ((map->disk ? map->disk : map->snapshot->disk)->pool == pool) return true;
    }
    return false;
}

json_t *json_host_whole(struct control *control, struct host *host)
{
    json_t *json = json_host(host), *pools = json_array();
    list_for_each (node, &control->pools) {
        struct pool *pool =
            container_of(list_entry(node, struct object, link), struct pool, object);
        struct volume_pool_usage usage = {0};
        if (!serves_pool(host, pool)) continue;
        if (pool->engine) volume_pool_usage(pool->engine, &usage);
        json_array_append_new(pools, json_pack("{s:s, s:I, s:I, s:b}", "name", pool->row.name,
                                               "capacity_bytes", (json_int_t)usage.capacity_bytes,
                                               "free_bytes", (json_int_t)usage.free_bytes,
                                               "is_nearly_full", pool->is_low));
    }
    json_object_set_new(json, "pools", pools);
    json_object_set_new(json, "free_lun_count", number_json(host_free_lun_count(control, host)));
    return json;
}

json_t *json_map(struct map *map)
{
    const uint8_t *naa = map->disk ? map->disk->row.naa : map->snapshot->row.naa;
    uint64_t size = map->disk ? map->disk->row.size_bytes : map->snapshot->row.size_bytes;
    return json_pack(
        "{s:s, s:i, s:s, s:s, s:o, s:b, s:I, s:o, s:o, s:o}", "host", map->host->row.name, "lun",
        (int)map->row.lun, "kind", catalog_kind_name(map->row.kind), "object", object_name(map),
        "object_uuid", uuid_json(&map->row.object), "read_only", map->row.read_only, "size_bytes",
        (json_int_t)size, "serial", hex_json(map->row.object.bytes, 16), "naa",
        hex_json(naa, CATALOG_NAA_BYTES), "created_at", json_time(map->row.created_ns));
}

/* ---- Sets and snapshots ---------------------------------------------------------------------- */

static json_t *left_ms(bool holds, uint64_t now_ns, uint64_t until_ns)
{
    if (!holds) return json_null();
    return number_json(until_ns > now_ns ? (until_ns - now_ns) / RT_MS : 0);
}

static void members_json(struct set *set, json_t *members, json_t *disks)
{
    list_for_each (node, &set->members) {
        struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (s->row.state == SNAPSHOT_TRASHED && set->row.state != SET_TRASHED) continue;
        json_array_append_new(disks, json_string(s->disk->row.name));
        json_array_append_new(
            members,
            json_pack("{s:s, s:o, s:s, s:o, s:I, s:o, s:o, s:o}", "disk", s->disk->row.name,
                      "disk_uuid", uuid_json(&s->disk->row.uuid), "snapshot", s->row.name,
                      "snapshot_uuid", uuid_json(&s->row.uuid), "size_bytes",
                      (json_int_t)s->row.size_bytes, "serial", hex_json(s->row.uuid.bytes, 16),
                      "naa", hex_json(s->row.naa, CATALOG_NAA_BYTES), "lun",
                      s->row.lun >= 0 ? json_integer(s->row.lun) : json_null()));
    }
}

static json_t *imports_json(struct control *control, const struct set *set)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < set->import_count; i++) {
        const struct catalog_import *row = &set->imports[i];
        const struct host *host = inventory_host(control, &row->host);
        if (!host) continue;
        json_array_append_new(array, json_pack("{s:s, s:s, s:o}", "host", host->row.name, "state",
                                               catalog_import_state_name(row->state), "at",
                                               json_time(row->at_ns)));
    }
    return array;
}

json_t *json_set(struct control *control, struct set *set)
{
    json_t *members = json_array(), *disks = json_array(), *history = json_array();
    members_json(set, members, disks);
    for (unsigned i = 0; i < set->event_count; i++) {
        const struct catalog_event *event = &set->events[i];
        json_array_append_new(
            history, json_pack("{s:s, s:o, s:I}", "state", catalog_set_state_name(event->state),
                               "at", json_time(event->at_ns), "wall_ns", (json_int_t)event->at_ns));
    }
    struct host *host = inventory_host(control, &set->row.host);
    uint64_t now = rt_now(control->rt);
    const struct catalog_set *row = &set->row;
    json_t *json = json_pack(
        "{s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:I, s:o, s:o, s:s,"
        " s:o, s:o}",
        "name", row->name, "uuid", uuid_json(&row->uuid), "state",
        catalog_set_state_name(row->state), "pool", set->pool->row.name, "host",
        text_or_null(host ? host->row.name : NULL), "disks", disks, "members", members,
        "generation", row->cut_ns ? number_json(row->generation) : json_null(), "cut_at",
        json_time(row->cut_ns), "cut_wall_ns", row->cut_ns ? number_json(row->cut_ns) : json_null(),
        "commit_ns", row->cut_ns ? number_json(row->commit_ns) : json_null(),
        "application_consistent", row->application_consistent, "lease_s", (json_int_t)row->lease_s,
        "lease_left_ms", left_ms(set_in_the_making(set), now, set->lease_until_ns), "armed_left_ms",
        left_ms(row->state == SET_ARMED, now, set->armed_until_ns), "created_by", row->created_by,
        "created_at", json_time(row->created_ns), "history", history);
    json_object_set_new(json, "owner", text_or_null(owner_name(control, &set->owner)));
    json_object_set_new(json, "volatile", json_boolean(row->is_volatile));
    json_object_set_new(json, "transportable", json_boolean(row->transportable));
    json_object_set_new(json, "vss", json_boolean(row->vss));
    json_object_set_new(json, "full", json_boolean(row->wants_full));
    json_object_set_new(json, "imports", imports_json(control, set));
    json_object_set_new(json, "pools", set_pools_json(set));
    json_object_set_new(json, "undecided", set_undecided_json(set));
    json_object_set_new(json, "stale", json_boolean(set_is_stale(control, set)));
    return json;
}

static const char *snapshot_state_text(const struct snapshot *snapshot,
                                       struct volume_point_info *ret_info)
{
    struct pool *pool = snapshot->disk->pool;
    bool there = pool->engine && volume_point_find(pool->engine, &snapshot->row.point, ret_info);
    if (!there && snapshot->row.state == SNAPSHOT_READY) return "missing";
    return catalog_snapshot_state_name(snapshot->row.state);
}

static json_t *sha256_json(const uint8_t sha256[CATALOG_CHAIN_BYTES])
{
    char text[2 * CATALOG_CHAIN_BYTES + 1];
    return json_string(text_format_hex(sha256, CATALOG_CHAIN_BYTES, text));
}

json_t *json_snapshot(struct control *control, struct snapshot *snapshot)
{
    struct volume_point_info info = {0};
    const char *state = snapshot_state_text(snapshot, &info);
    struct set *set = snapshot->set;
    struct volume_disk_info branch;
    struct volume_disk_info view;
    bool has_branch = snapshot_branch_find(snapshot, &branch);
    unsigned own = (has_branch ? 1U : 0) + (snapshot_view_find(snapshot, &view) ? 1U : 0);
    json_t *json = json_pack(
        "{s:s, s:o, s:s, s:s, s:o, s:s, s:s, s:o, s:s, s:I, s:o, s:o, s:b, s:o, s:o, s:i, s:o}",
        "name", snapshot->row.name, "uuid", uuid_json(&snapshot->row.uuid), "state", state, "set",
        set->row.name, "set_uuid", uuid_json(&set->row.uuid), "set_state",
        catalog_set_state_name(set->row.state), "disk", snapshot->disk->row.name, "disk_uuid",
        uuid_json(&snapshot->disk->row.uuid), "pool", snapshot->disk->pool->row.name, "size_bytes",
        (json_int_t)snapshot->row.size_bytes, "generation",
        set->row.cut_ns ? number_json(set->row.generation) : json_null(), "cut_at",
        json_time(set->row.cut_ns), "application_consistent", set->row.application_consistent,
        "serial", hex_json(snapshot->row.uuid.bytes, 16), "naa",
        hex_json(snapshot->row.naa, CATALOG_NAA_BYTES), "branch_count",
        (int)(info.branch_count - min_of(own, info.branch_count)), "maps",
        maps_of(control, &snapshot->row.uuid));
    json_object_set_new(json, "type", json_string(snapshot->row.is_full ? "full" : "differential"));
    json_object_set_new(json, "vss", json_boolean(set->row.vss));
    json_object_set_new(json, "branch_bytes",
                        has_branch ? number_json(branch.own_bytes) : json_null());
    json_object_set_new(json, "branch_used", json_boolean(snapshot->row.branch_used));
    json_object_set_new(json, "sha256",
                        snapshot->row.has_sha256 ? sha256_json(snapshot->row.sha256) : json_null());
    json_object_set_new(json, "verified_at", json_time(snapshot->row.verified_ns));
    json_object_set_new(json, "retain_until",
                        json_time(snapshot->row.retain_until_ns / RT_SECOND * RT_SECOND));
    return json;
}

/* ---- Jobs and tokens ------------------------------------------------------------------------- */

json_t *json_job(struct job *job)
{
    json_t *answer = *job->answer ? json_loads(job->answer, 0, NULL) : NULL;
    bool failed = job->row.state == JOB_FAILED;
    json_t *json = json_pack(
        "{s:o, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:O, s:O}", "id", uuid_json(&job->row.uuid),
        "verb", job->row.verb, "object", job->row.object, "state",
        catalog_job_state_name(job->row.state), "done_bytes", (json_int_t)job->done_bytes,
        "total_bytes", (json_int_t)job->total_bytes, "started_at", json_time(job->row.started_ns),
        "finished_at", json_time(job->row.finished_ns), "result",
        answer && !failed ? answer : json_null(), "error", answer && failed ? answer : json_null());
    json_object_set_new(json, "durable", json_boolean(job->type != NULL));
    json_object_set_new(json, "trouble", json_string(job->trouble));
    json_decref(answer);
    return json;
}

json_t *json_token(const struct token *token)
{
    return json_pack("{s:s, s:o, s:s, s:o}", "name", token->row.name, "uuid",
                     uuid_json(&token->row.uuid), "role", token->row.role, "created_at",
                     json_time(token->row.created_ns));
}
