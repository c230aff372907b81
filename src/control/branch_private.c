/*
 * The private branch of a snapshot: a writable engine branch over its point, for Windows, which must be
 * able to write to what it mounts, and for promotion.  It is no disk of the catalog: its id in the engine
 * is the snapshot's, so that it has the identity that the set handed out, and so that engine and catalog
 * can never disagree about whose it is.
 */
#include "control/control_int.h"

bool snapshot_branch_find(const struct snapshot *snapshot, struct volume_disk_info *ret_info)
{
    struct volume_pool *engine = snapshot->disk->pool->engine;
    return engine && volume_disk_find(engine, &snapshot->row.uuid, ret_info);
}

struct err *snapshot_check_branch(const struct snapshot *snapshot)
{
    struct volume_disk_info info;
    struct pool *pool = snapshot->disk->pool;
    TRY(pool_check_open(pool));
    if (snapshot_branch_find(snapshot, &info)) return NULL;
    if (volume_disk_find(pool->engine, &snapshot->disk->row.uuid, &info) &&
        info.depth >= LIMIT_BRANCH_DEPTH) {
        return err_next(err_new(STATUS_LIMIT_REACHED,
                                "disk \"%s\" is a branch of a branch, %u deep: nothing can be"
                                " branched off its snapshots",
                                snapshot->disk->row.name, info.depth),
                        "promote and split it first: tarn disk split %s",
                        snapshot->disk->row.name);
    }
    return NULL;
}

void snapshot_branch_make(struct snapshot *snapshot, volume_done_fn *done, void *arg)
{
    struct volume_pool *engine = snapshot->disk->pool->engine;
    volume_branch(engine, &snapshot->row.point, &snapshot->row.uuid, done, arg);
}

bool host_wants_branch(const struct host *host)
{
    return host->row.os == OS_WINDOWS;
}

struct err *branch_check_host(struct control *control, const struct snapshot *snapshot,
                              const struct host *host)
{
    list_for_each (node, &control->hosts) {
        struct host *other =
            container_of(list_entry(node, struct object, link), struct host, object);
        const struct map *map =
            other == host ? NULL : host_map_of(other, &snapshot->row.uuid);
        if (!map || map->row.read_only) continue;
        return err_next(err_new(STATUS_IN_USE,
                                "snapshot \"%s\" is writable on host \"%s\" (LUN %u), and only on"
                                " one host or host group at a time",
                                snapshot->row.name, other->row.name, map->row.lun),
                        "give it back there first: tarn set mask %s --host %s",
                        snapshot->set->row.name, other->row.name);
    }
    return NULL;
}

struct err *check_disk_idle(const struct disk *disk)
{
    if (!disk->job) return NULL;
    return err_next(err_new(STATUS_IN_USE, "a job works on disk \"%s\" (%s)", disk->row.name,
                            disk->job->row.verb),
                    "tarn job show %s; tarn job cancel %s", disk->job->name, disk->job->name);
}

struct err *check_snapshot_idle(const struct snapshot *snapshot)
{
    if (!snapshot->job) return NULL;
    return err_next(err_new(STATUS_IN_USE, "a job works on snapshot \"%s\" (%s)",
                            snapshot->row.name, snapshot->job->row.verb),
                    "tarn job show %s; tarn job cancel %s", snapshot->job->name,
                    snapshot->job->name);
}
