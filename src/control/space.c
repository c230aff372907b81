/* A pool that fills up: who is told before writes fail (E28).  What it gives back then: room.c.
 * And one that fails: people are told once, when it happens. */
#include "base/log.h"
#include "control/control_int.h"

uint64_t pool_warning_bytes(const struct pool *pool)
{
    struct volume_pool_usage usage;
    volume_pool_usage(pool->engine, &usage);
    return usage.capacity_bytes / 100 * (100 - pool->row.warn_percent);
}

/* Only what takes writes: a host can do nothing about a copy that it reads. */
static void tell_hosts(const struct served *served, bool is_low)
{
    if (served->lun[0]) scsi_lun_set_threshold_reached(served->lun[0], is_low);
}

/* LUNs that are made later learn it when they are (serve.c). */
static void set_low(struct control *control, struct pool *pool, bool is_low)
{
    pool->is_low = is_low;
    list_for_each (node, &control->disks) {
        struct disk *disk =
            container_of(list_entry(node, struct object, link), struct disk, object);
        if (disk->pool == pool) tell_hosts(&disk->served, is_low);
    }
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk->pool == pool) tell_hosts(&s->branch, is_low);
    }
}

static void warn_of(struct control *control, const struct pool *pool, uint64_t free_bytes)
{
    char text[TEXT_SIZE_MAX];
    event_note(control, LEVEL_WARNING, "pool", pool->row.name,
               "more than %u %% is used, %s free; hosts that write to it are told",
               pool->row.warn_percent, text_format_size(free_bytes, text));
}

static void space_changed(void *arg)
{
    struct pool *pool = arg;
    struct volume_pool_usage usage;
    if (!pool->engine || pool->control->stopping) return;
    volume_pool_usage(pool->engine, &usage);
    bool is_low = usage.free_bytes < pool_warning_bytes(pool);
    if (is_low)
        warn_of(pool->control, pool, usage.free_bytes);
    else
        log_info("a pool has room again", "pool=\"%s\"", pool->row.name);
    set_low(pool->control, pool, is_low);
}

static void state_changed(void *arg)
{
    struct pool *pool = arg;
    if (!pool->engine || pool->control->stopping) return;
    event_note(pool->control, LEVEL_ALERT, "pool", pool->row.name,
               "the pool has failed: %s; it is read only until the server is started again",
               volume_pool_trouble(pool->engine));
}

void pool_tell_of_start(struct control *control, const struct pool *pool)
{
    if (!pool->engine)
        event_note(control, LEVEL_ALERT, "pool", pool->row.name,
                   "the pool could not be opened, its disks are not served: %s", pool->trouble);
    else if (volume_pool_state(pool->engine) != VOLUME_POOL_OK)
        event_note(control, LEVEL_ALERT, "pool", pool->row.name,
                   "the pool is %s and open read-only: %s",
                   volume_pool_state_name(volume_pool_state(pool->engine)),
                   volume_pool_trouble(pool->engine));
}

void pool_watch_space(struct control *control, struct pool *pool)
{
    struct volume_pool_usage usage;
    pool->control = control;
    volume_pool_usage(pool->engine, &usage);
    /* Below the level the watch tells; above it tells nothing, and another level may have held. */
    if (usage.free_bytes >= pool_warning_bytes(pool)) set_low(control, pool, false);
    volume_pool_watch_space(pool->engine, pool_warning_bytes(pool), space_changed, pool);
    volume_pool_watch_state(pool->engine, state_changed, pool);
}
