/*
 * The private branch of a snapshot: a writable engine branch over its point, for Windows, which must be
 * able to write to what it mounts, and for promotion.  It is no disk of the catalog: its id in the engine
 * is the snapshot's, so that it has the identity that the set handed out, and so that engine and catalog
 * can never disagree about whose it is.
 */
#include "base/log.h"
#include "control/host_int.h"

#define RESERVE_SHARE 100
#define RECOVERY_NS (15 * 60 * RT_SECOND)

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

/* Who has it should know that another asked (S6); who asks again and again is noted once a minute. */
static void note_refusal(struct control *control, struct set *set, const struct host *host,
                         const struct host *holder)
{
    uint64_t now = rt_now(control->rt);
    if (set->refusal_noted_ns && now - set->refusal_noted_ns < 60 * RT_SECOND &&
        uuid_equal(&set->refused_host, &host->row.uuid))
        return;
    set->refusal_noted_ns = now;
    set->refused_host = host->row.uuid;
    event_note(control, LEVEL_WARNING, "set", set->row.name,
               "host \"%s\" asked for it and was refused: it is writable on host \"%s\"",
               host->row.name, holder->row.name);
}

struct err *branch_check_host(struct control *control, const struct snapshot *snapshot,
                              const struct host *host)
{
    list_for_each (node, &control->hosts) {
        struct host *other =
            container_of(list_entry(node, struct object, link), struct host, object);
        const struct map *map =
            hosts_are_together(other, host) ? NULL : host_map_of(other, &snapshot->row.uuid);
        if (!map || map->row.read_only) continue;
        note_refusal(control, snapshot->set, host, other);
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

/* ---- Space for writers to recover ------------------------------------------------------------ */

/* Before anybody can use a new copy, writers may repair in it what they found open: per disk 1 %, at most
 * the setting (S3). */
static uint64_t reserve_of_disk(const struct control *control, uint64_t size_bytes)
{
    return min_of(size_bytes / RESERVE_SHARE, control->settings.recovery_bytes);
}

static bool is_for_windows(struct control *control, const struct uuid *host)
{
    const struct host *h = inventory_host(control, host);
    return h && host_wants_branch(h);
}

/* What sets of Windows hosts hold in this pool: until they are created or aborted, and a while longer, since
 * the recovery itself comes with the first import. */
static uint64_t reserved_in(struct control *control, const struct pool *pool)
{
    uint64_t sum = 0, now = rt_wall(control->rt);
    list_for_each (node, &control->snapshots) {
        const struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        const struct set *set = s->set;
        if (s->disk->pool != pool || !is_for_windows(control, &set->row.host)) continue;
        bool is_new = set->row.state == SET_CREATED && set->row.cut_ns + RECOVERY_NS > now;
        struct volume_disk_info branch = {0};
        if (!set_in_the_making(set) && !is_new) continue;
        uint64_t reserve = reserve_of_disk(control, s->row.size_bytes);
        (void)snapshot_branch_find(s, &branch);
        if (branch.own_bytes < reserve) sum += reserve - branch.own_bytes;
    }
    return sum;
}

static struct err *reserve_check_pool(struct control *control, const struct set_draft *draft,
                                      const struct pool *pool)
{
    struct volume_pool_usage usage;
    uint64_t wanted = 0, held = reserved_in(control, pool);
    for (unsigned i = 0; i < draft->count; i++) {
        const struct disk *disk = inventory_disk(control, &draft->snapshots[i].disk);
        if (disk->pool == pool) wanted += reserve_of_disk(control, disk->row.size_bytes);
    }
    volume_pool_usage(pool->engine, &usage);
    if (usage.free_bytes + usage.reclaiming_bytes >= wanted + held) return NULL;
    char free_text[TEXT_SIZE_MAX], wanted_text[TEXT_SIZE_MAX], held_text[TEXT_SIZE_MAX];
    return err_next(
        err_new(STATUS_POOL_FULL,
                "pool \"%s\" has %s free; a copy for Windows wants %s there for writers to recover,"
                " besides %s kept for others",
                pool->row.name, text_format_size(usage.free_bytes, free_text),
                text_format_size(wanted, wanted_text), text_format_size(held, held_text)),
        "delete snapshots or disks, or want less: tarn server set --recovery-reserve SIZE");
}

struct err *reserve_check(struct control *control, const struct set_draft *draft)
{
    if (!is_for_windows(control, &draft->row.host)) return NULL;
    for (unsigned i = 0; i < draft->count; i++) {
        const struct disk *disk = inventory_disk(control, &draft->snapshots[i].disk);
        TRY(reserve_check_pool(control, draft, disk->pool));
    }
    return NULL;
}
