/* Who uses a disk: what a change of its content would pull from under a host. */
#include <stdio.h>

#include "control/control_int.h"

static void note_lun(struct control *control, const struct scsi_lun *lun, struct disk_use *use)
{
    if (!lun) return;
    uint64_t last_ns = scsi_lun_last_use_ns(lun), now = rt_now(control->rt);
    uint64_t ago_ns = now > last_ns ? now - last_ns : 0;
    if (last_ns && ago_ns < use->last_use_ns) use->last_use_ns = ago_ns;
    use->is_reserved = use->is_reserved || scsi_lun_is_reserved(lun);
}

void disk_use(struct control *control, struct disk *disk, struct disk_use *ret_use)
{
    struct disk_use use = {.last_use_ns = UINT64_MAX};
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        if (!host_map_of(host, &disk->row.uuid)) continue;
        use.map_count++;
        list_for_each (session, &host->sessions) {
            use.session_count += list_entry(session, struct session, link)->count;
        }
        if (!use.host || !list_is_empty(&host->sessions)) use.host = host;
    }
    note_lun(control, disk->served.lun[0], &use);
    note_lun(control, disk->served.lun[1], &use);
    *ret_use = use;
}

/* Its members' content must be what the hosts held still. */
static struct err *check_no_cut_under_way(struct control *control, const struct disk *disk)
{
    list_for_each (node, &control->snapshots) {
        const struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        const struct set *set = s->set;
        if (s->disk != disk || !set_in_the_making(set) || set->row.state == SET_PREPARED) continue;
        return err_next(
            err_new(STATUS_CONFLICT, "disk \"%s\" is a member of set \"%s\", which is %s",
                    disk->row.name, set->row.name, catalog_set_state_name(set->row.state)),
            "wait until it is created, or tarn set abort %s", set->row.name);
    }
    return NULL;
}

/* VSS locks the volumes of the host that asks, and of no other (6.7): what that host did with a
 * disk that nobody else sees does not count. */
static bool is_own_resync(struct control *control, const struct disk *disk,
                          const struct uuid *resync_by)
{
    if (!resync_by) return false;
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        if (host_map_of(host, &disk->row.uuid) && !uuid_equal(&host->row.uuid, resync_by))
            return false;
    }
    return true;
}

const struct uuid *op_resync_by(const struct op *op)
{
    return op->actor.role == CONTROL_ROLE_HOST && arg_bool(op, "resync") ? &op->actor.host : NULL;
}

struct err *disk_check_quiet(struct op *op, struct disk *disk)
{
    TRY(check_no_cut_under_way(op->control, disk));
    return arg_bool(op, "force") ? NULL : disk_check_use(op->control, disk, op_resync_by(op));
}

struct err *disk_check_use(struct control *control, struct disk *disk, const struct uuid *resync_by)
{
    struct disk_use use;
    char ago[TEXT_SIZE_MAX];
    disk_use(control, disk, &use);
    if (is_own_resync(control, disk, resync_by)) return NULL;
    if (use.is_reserved) {
        return err_next(
            err_new(STATUS_IN_USE, "a host holds a reservation on disk \"%s\"", disk->row.name),
            "take it out of the cluster first; --force changes its content under the host");
    }
    if (use.last_use_ns >= DISK_USE_NS) return NULL;
    return err_next(
        err_new(STATUS_IN_USE, "disk \"%s\" is in use: %s%s%s read or wrote it %s ago",
                disk->row.name, use.host ? "host \"" : "a host", use.host ? use.host->row.name : "",
                use.host ? "\"" : "", text_format_age(use.last_use_ns, ago)),
        "unmount it there and wait %u seconds; --force changes its content under the host",
        (unsigned)(DISK_USE_NS / RT_SECOND));
}

void disk_say_who_uses(struct op *op, struct disk *disk, json_t *would)
{
    struct disk_use use;
    char age[TEXT_SIZE_MAX];
    disk_use(op->control, disk, &use);
    list_for_each (node, &op->control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        const struct map *map = host_map_of(host, &disk->row.uuid);
        if (!map) continue;
        json_array_append_new(
            would,
            json_sprintf("change it under host \"%s\", which sees it as LUN %u%s", host->row.name,
                         map->row.lun, list_is_empty(&host->sessions) ? " (not logged in)" : ""));
    }
    if (use.last_use_ns < DISK_USE_NS) {
        json_array_append_new(would, json_sprintf("do so although it was read or written %s ago",
                                                  text_format_age(use.last_use_ns, age)));
    }
    if (use.is_reserved) {
        json_array_append_new(would,
                              json_string("do so although a host holds a reservation on it"));
    }
}
