/* LUNs: numbers of a host, and views behind them.  A view is opened once, however many maps show
 * it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

/* ---- Views ----------------------------------------------------------------------------------- */

/* Made before the map was. */
static bool shows_view(const struct map *map)
{
    return snapshot_needs_view(map->snapshot, map->row.keep_vss_flags);
}

static struct served *served_of(struct map *map)
{
    if (map->disk) return &map->disk->served;
    if (!map->row.read_only) return &map->snapshot->branch;
    return shows_view(map) ? &map->snapshot->view : &map->snapshot->served;
}

static struct scsi_identity identity_of(const struct map *map)
{
    struct scsi_identity identity = {.naa_bytes = CATALOG_NAA_BYTES};
    const uint8_t *naa = map->disk ? map->disk->row.naa : map->snapshot->row.naa;
    const struct uuid *uuid = map->disk ? &map->disk->row.uuid : &map->snapshot->row.uuid;
    memcpy(identity.naa, naa, CATALOG_NAA_BYTES);
    text_format_hex(uuid->bytes, sizeof uuid->bytes, identity.serial);
    return identity;
}

static struct pool *pool_of(const struct map *map)
{
    return map->disk ? map->disk->pool : map->snapshot->disk->pool;
}

static struct err *open_view(struct map *map, struct volume **ret_volume)
{
    struct pool *pool = pool_of(map);
    if (!pool->engine) return pool_check_open(pool);
    if (!map->disk && map->row.read_only && shows_view(map)) {
        return volume_open(pool->engine, &map->snapshot->row.view, NULL, VOLUME_READ_ONLY,
                           ret_volume);
    }
    if (!map->disk && map->row.read_only) {
        return volume_open(pool->engine, NULL, &map->snapshot->row.point, VOLUME_READ_ONLY,
                           ret_volume);
    }
    /* A damaged pool still serves reads. */
    bool writable = volume_pool_state(pool->engine) == VOLUME_POOL_OK;
    /* A private branch has the id of its snapshot. */
    return volume_open(pool->engine, &map->row.object, NULL,
                       writable ? VOLUME_READ_WRITE : VOLUME_READ_ONLY, ret_volume);
}

static void served_trim(struct served *served)
{
    for (unsigned i = 0; i < 2; i++) {
        if (served->users[i] == 0) scsi_lun_destroy(take_ptr(&served->lun[i]));
    }
    if (served->users[0] + served->users[1] > 0) return;
    served->change_count = serve_change_count(served);
    volume_close(take_ptr(&served->volume));
}

uint64_t serve_change_count(const struct served *served)
{
    return served->change_count + (served->volume ? volume_change_count(served->volume) : 0);
}

void serve_free(struct served *served)
{
    served->users[0] = served->users[1] = 0;
    served->volume = NULL; /* requests may be in flight: it goes with its pool */
    served_trim(served);
    scsi_reservations_destroy(take_ptr(&served->reservations));
}

/* The LUN that shows what the map's row says. */
static struct err *lun_of(struct control *control, struct map *map, unsigned *ret_protect)
{
    check(map->disk || map->snapshot);
    struct served *served = served_of(map);
    unsigned protect = map->row.read_only;
    struct err *e = NULL;
    if (!served->volume) e = open_view(map, &served->volume);
    if (!e && volume_is_read_only(served->volume)) protect = 1;
    bool is_point = !map->disk && map->row.read_only;
    if (!e && !is_point) e = reservations_of(control, served, &map->row.object);
    if (!e && !served->lun[protect]) {
        struct scsi_lun_options options = {.volume = served->volume,
                                           .identity = identity_of(map),
                                           .write_protected = protect,
                                           .reservations = served->reservations};
        e = scsi_lun_create(control->rt, &options, &served->lun[protect]);
        if (!e && !protect) scsi_lun_set_threshold_reached(served->lun[0], pool_of(map)->is_low);
    }
    *ret_protect = protect;
    if (e) served_trim(served);
    return e;
}

struct err *serve_map(struct control *control, struct map *map)
{
    unsigned protect = 0;
    struct served *served = served_of(map);
    struct err *e = lun_of(control, map, &protect);
    if (!e) {
        e = scsi_map_add(map->host->map, map->row.lun, served->lun[protect]);
        if (e) served_trim(served);
    }
    if (e) {
        return err_wrap(e, "serve LUN %u to host \"%s\"", map->row.lun, map->host->row.name);
    }
    served->users[protect]++;
    map->lun = served->lun[protect];
    return NULL;
}

struct unserve {
    struct served *served;
    unsigned protect;
    void (*done)(void *arg);
    void *arg;
};

static void unserved(void *arg)
{
    struct unserve *unserve = arg;
    unserve->served->users[unserve->protect]--;
    served_trim(unserve->served);
    unserve->done(unserve->arg);
    free(unserve);
}

void unserve_map(struct map *map, void (*done)(void *arg), void *arg)
{
    check(map->lun);
    struct unserve *unserve = calloc(1, sizeof *unserve);
    check(unserve);
    *unserve = (struct unserve){.served = served_of(map), .done = done, .arg = arg};
    unserve->protect = map->lun == unserve->served->lun[1];
    map->lun = NULL;
    scsi_map_remove(map->host->map, map->row.lun, unserved, unserve);
}

struct err *serve_switch(struct control *control, struct map *map, struct served *old,
                         void (*done)(void *arg), void *arg)
{
    check(map->lun);
    unsigned protect = 0;
    struct served *served = served_of(map);
    struct err *e = lun_of(control, map, &protect);
    if (e) return err_wrap(e, "serve LUN %u to host \"%s\"", map->row.lun, map->host->row.name);
    struct unserve *unserve = calloc(1, sizeof *unserve);
    check(unserve);
    *unserve = (struct unserve){.served = old, .done = done, .arg = arg};
    unserve->protect = map->lun == old->lun[1];
    served->users[protect]++;
    map->lun = served->lun[protect];
    scsi_map_replace(map->host->map, map->row.lun, map->lun, unserved, unserve);
    return NULL;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

struct map *host_map_of(struct host *host, const struct uuid *object)
{
    list_for_each (node, &host->maps) {
        struct map *map = list_entry(node, struct map, link);
        if (uuid_equal(&map->row.object, object)) return map;
    }
    return NULL;
}

struct map *host_map_at(struct host *host, uint64_t lun)
{
    list_for_each (node, &host->maps) {
        struct map *map = list_entry(node, struct map, link);
        if (map->row.lun == lun) return map;
    }
    return NULL;
}

/* The snapshot of a set that keeps this number for the host since prepare; NULL. */
static struct snapshot *reserved_by(struct control *control, const struct host *host, unsigned lun)
{
    list_for_each (node, &control->snapshots) {
        struct snapshot *snapshot =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (snapshot->row.lun == (int)lun &&
            uuid_equal(&snapshot->set->row.host, &host->row.uuid)) {
            return snapshot;
        }
    }
    return NULL;
}

/* A number that something else had may be used again when REPORT LUNS has been answered to every
 * live session since, and 10 minutes have passed: until then an initiator may still write to the
 * old disk. */
static bool slot_is_rested(struct control *control, const struct host *host, unsigned lun)
{
    const struct slot *slot = &host->slots[lun];
    if (!slot->used_before) return true;
    return rt_now(control->rt) - slot->freed_at_ns >= LUN_REUSE_NS &&
           scsi_map_is_reported(host->map);
}

struct err *check_lun(struct control *control, struct host *host, const struct uuid *object,
                      enum catalog_kind kind, uint64_t lun)
{
    if (lun >= LIMIT_LUNS_PER_HOST) {
        return err_new(STATUS_BAD_REQUEST, "LUN %llu is out of range: 0 to %d",
                       (unsigned long long)lun, LIMIT_LUNS_PER_HOST - 1);
    }
    unsigned number = (unsigned)lun;
    if (kind == CATALOG_SNAPSHOT && lun == 0) {
        return err_new(STATUS_BAD_REQUEST,
                       "a snapshot is never LUN 0: hosts may have a boot disk there");
    }
    if (host_map_at(host, lun)) {
        return err_next(
            err_new(STATUS_IN_USE, "LUN %u of host \"%s\" is in use", number, host->row.name),
            "leave the number out, or tarn map list");
    }
    const struct snapshot *keeper = reserved_by(control, host, number);
    if (keeper && !uuid_equal(&keeper->row.uuid, object)) {
        return err_next(err_new(STATUS_IN_USE, "LUN %u of host \"%s\" is kept for snapshot \"%s\"",
                                number, host->row.name, keeper->row.name),
                        "leave the number out");
    }
    const struct slot *slot = &host->slots[number];
    if (slot->used_before && !uuid_equal(&slot->object, object) &&
        !slot_is_rested(control, host, number)) {
        return err_next(err_new(STATUS_CONFLICT,
                                "LUN %u of host \"%s\" was something else until a moment ago",
                                number, host->row.name),
                        "leave the number out; it can be used again 10 minutes after the host has"
                        " asked for its LUNs");
    }
    return NULL;
}

unsigned host_free_lun_count(struct control *control, struct host *host)
{
    bool taken[LIMIT_LUNS_PER_HOST] = {false};
    unsigned count = 0;
    list_for_each (node, &host->maps) {
        taken[list_entry(node, struct map, link)->row.lun] = true;
    }
    list_for_each (node, &control->snapshots) {
        struct snapshot *snapshot =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (snapshot->row.lun > 0 && uuid_equal(&snapshot->set->row.host, &host->row.uuid)) {
            taken[snapshot->row.lun] = true;
        }
    }
    for (unsigned lun = 1; lun < LIMIT_LUNS_PER_HOST; lun++) {
        count += !taken[lun] && slot_is_rested(control, host, lun);
    }
    return count;
}

/* Disks: the lowest.  Snapshots: never used before, else least recently freed. */
struct err *choose_lun(struct control *control, struct host *host, const struct uuid *object,
                       enum catalog_kind kind, const bool *taken, unsigned *ret_lun)
{
    unsigned best = 0;
    for (unsigned lun = 1; lun < LIMIT_LUNS_PER_HOST; lun++) {
        if (taken && taken[lun]) continue;
        const struct snapshot *keeper = reserved_by(control, host, lun);
        bool own = keeper && uuid_equal(&keeper->row.uuid, object);
        if (own && !host_map_at(host, lun)) {
            best = lun;
            break;
        }
        if (keeper || host_map_at(host, lun) || !slot_is_rested(control, host, lun)) continue;
        if (best == 0 || (kind == CATALOG_SNAPSHOT &&
                          host->slots[lun].freed_sequence < host->slots[best].freed_sequence)) {
            best = lun;
        }
    }
    if (best == 0) {
        return err_next(
            err_new(STATUS_LIMIT_REACHED, "host \"%s\" has no free LUN number", host->row.name),
            "unmap what is not needed (tarn map list); a number rests for 10 minutes");
    }
    *ret_lun = best;
    return NULL;
}
