/* A pool that fills up: who is told before writes fail (E28).  What it gives back then: room.c. */
#include "base/log.h"
#include "control/control_int.h"

uint64_t pool_warning_bytes(const struct pool *pool)
{
    struct volume_pool_usage usage;
    volume_pool_usage(pool->engine, &usage);
    return usage.capacity_bytes / 100 * (100 - pool->row.warn_percent);
}

/* Only what takes writes: a host can do nothing about a copy that it reads. */
static void tell_hosts(const struct served *served)
{
    if (served->lun[0]) scsi_lun_threshold_reached(served->lun[0]);
}

void pool_space_low(struct control *control, struct pool *pool)
{
    char free_text[TEXT_SIZE_MAX];
    struct volume_pool_usage usage;
    volume_pool_usage(pool->engine, &usage);
    event_note(control, LEVEL_WARNING, "pool", pool->row.name,
               "more than %u %% is used, %s free; hosts that write to it are told",
               pool->row.warn_percent, text_format_size(usage.free_bytes, free_text));
    list_for_each (node, &control->disks) {
        struct disk *disk =
            container_of(list_entry(node, struct object, link), struct disk, object);
        if (disk->pool == pool) tell_hosts(&disk->served);
    }
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk->pool == pool) tell_hosts(&s->branch);
    }
}

static void space_changed(void *arg)
{
    struct pool *pool = arg;
    struct volume_pool_usage usage;
    if (!pool->engine || pool->control->stopping) return;
    volume_pool_usage(pool->engine, &usage);
    if (usage.free_bytes < pool_warning_bytes(pool))
        pool_space_low(pool->control, pool);
    else
        log_info("a pool has room again", "pool=\"%s\"", pool->row.name);
}

void pool_watch_space(struct control *control, struct pool *pool)
{
    pool->control = control;
    volume_pool_watch_space(pool->engine, pool_warning_bytes(pool), space_changed, pool);
}
