/*
 * Devices that fail and lie below a whole site (site.h).  A storm: the site is settled, faults strike
 * its pools while hosts and clients go on, then the server dies and starts again, perhaps with faults
 * at the start as well.
 *
 * Where the device ERRS (errors, short transfers, requests that hang, failing flushes) everything is
 * right again afterwards, space included; until then what failed is in doubt.  Where it LIES (lost,
 * misdirected and repeated writes, rot) every answer is an error or what the model allows, snapshots
 * are exact or refused, and the server stays up; such a world ends with its storm.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/site_int.h"
#include "tests/unit/control_rig.h"

enum { STORM_OPS = 70, RUN_SECTORS = 256 };

#define HANG_MAX_NS (60 * RT_SECOND)
#define CATALOG "/state/catalog.db-wal"

/* ---- Strikes --------------------------------------------------------------------------------- */

static const enum sim_fault_kind errs[] = {
    SIM_FAULT_READ_ERROR, SIM_FAULT_READ_ERROR,  SIM_FAULT_SHORT_READ,  SIM_FAULT_WRITE_ERROR,
    SIM_FAULT_STALL,      SIM_FAULT_WRITE_ERROR, SIM_FAULT_SLOW_READ,   SIM_FAULT_HANG,
    SIM_FAULT_HANG,       SIM_FAULT_SHORT_READ,  SIM_FAULT_FLUSH_ERROR,
};
static const enum sim_fault_kind lies[] = {
    SIM_FAULT_LOST_WRITE,
    SIM_FAULT_MISDIRECTED_WRITE,
    SIM_FAULT_DUPLICATE_WRITE,
};

static void rot(struct site *site, const char *path)
{
    uint64_t block;
    unsigned bit;
    if (sim_file_rot(site->node, path, &site->prng, &block, &bit))
        site_trace(site, "bit %u of block %llu of %s flips", bit, (unsigned long long)block, path);
}

void site_strike(struct site *site)
{
    struct prng *prng = &site->prng;
    const char *path = site->pools[prng_below(prng, SITE_POOLS)].path;
    bool is_liar = site->options.faults == SITE_FAULTS_LIES;
    site->strikes++;
    if (is_liar && prng_chance(prng, 1, 3)) {
        rot(site, path);
        return;
    }
    enum sim_fault_kind kind =
        is_liar ? lies[prng_below(prng, countof(lies))] : errs[prng_below(prng, countof(errs))];
    uint64_t after = prng_below(prng, kind == SIM_FAULT_FLUSH_ERROR ? 20 : 6);
    bool hits_catalog = !is_liar && prng_chance(prng, 1, 12);
    if (hits_catalog) {
        kind = prng_chance(prng, 1, 2) ? SIM_FAULT_WRITE_ERROR : SIM_FAULT_FLUSH_ERROR;
        path = CATALOG;
        site->catalog_erred = true;
    }
    site_trace(site, "a fault of kind %d strikes %s after %llu", (int)kind, path,
               (unsigned long long)after);
    sim_node_fault(site->node, kind, path, after);
    if (kind == SIM_FAULT_HANG && !site->heal_at_ns)
        site->heal_at_ns = sim_now(site->sim) + 1 + prng_below(prng, HANG_MAX_NS);
}

/* ---- What people are told -------------------------------------------------------------------- */

static bool has_alert(const json_t *events, const char *pool)
{
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(events, "events"), i, event)
    {
        if (strcmp(rig_text(event, "kind"), "pool") == 0 &&
            strcmp(rig_text(event, "level"), "alert") == 0 &&
            strcmp(rig_text(event, "object"), pool) == 0)
            return true;
    }
    return false;
}

/* The server is up and can list what it has; a pool that is not well says why, and an event has told.
 * How many there are. */
static bool ask_how_pools_are(struct site *site, unsigned *ret_ill)
{
    struct listing l;
    size_t i;
    json_t *pool;
    *ret_ill = 0;
    if (!site_list_all(site, &l)) return false;
    json_t *events = site_ask(site, "event_list", json_pack("{s:i}", "limit", 1000));
    json_array_foreach(json_object_get(l.pools, "pools"), i, pool)
    {
        const char *state = rig_text(pool, "state"), *name = rig_text(pool, "name");
        if (strcmp(state, "ok") == 0) continue;
        ++*ret_ill;
        site->ill_pools++;
        site_trace(site, "pool %s is %s: %s", name, state, rig_text(pool, "trouble"));
        if (!rig_text(pool, "trouble")[0])
            site_fail(site, "pool %s is %s and says nothing", name, state);
        if (events && !has_alert(events, name) && !site->catalog_erred)
            site_fail(site, "pool %s is %s, and there is no event", name, state);
    }
    json_decref(events);
    site_unlist(&l);
    return !site->failed && !site->crashed;
}

static bool pool_is_well(const struct site *site, int pool)
{
    return site->pools[pool].engine &&
           volume_pool_state(site->pools[pool].engine) == VOLUME_POOL_OK;
}

bool site_canary_goes(struct site *site, const char *name)
{
    if (!site->canary_in_doubt || strncmp(name, "canary", 6) != 0) return false;
    json_decref(site_ask(site, "disk_delete", json_pack("{s:s, s:b}", "name", name, "now", 1)));
    return true;
}

/* With one pool of two out of order the other works: a disk comes and goes.  A fault that waits for
 * it may strike that very disk: then it is the pool's, and the disk in doubt. */
static bool other_pool_works(struct site *site)
{
    char name[24];
    int well = -1;
    snprintf(name, sizeof name, "canary%u", site->ill_pools);
    for (int i = 0; i < SITE_POOLS; i++)
        if (pool_is_well(site, i)) well = i;
    if (well < 0) return true;
    json_t *made = site_ask(
        site, "disk_create",
        json_pack("{s:s, s:s, s:s}", "name", name, "pool", site->pools[well].name, "size", "1M"));
    if (!made) {
        site->canary_in_doubt = true;
        return site->crashed || !pool_is_well(site, well) ||
               site_fail(site, "pool %d does not work any more", well);
    }
    json_decref(made);
    json_t *gone = site_ask(site, "disk_delete", json_pack("{s:s, s:b}", "name", name, "now", 1));
    if (!gone) {
        site->canary_in_doubt = true;
        return site->crashed || !pool_is_well(site, well) ||
               site_fail(site, "pool %d deletes nothing any more", well);
    }
    json_decref(gone);
    return true;
}

/* ---- Starts with faults ---------------------------------------------------------------------- */

void site_strike_start(struct site *site)
{
    static const enum sim_fault_kind kinds[] = {
        SIM_FAULT_READ_ERROR,  SIM_FAULT_READ_ERROR,  SIM_FAULT_SHORT_READ,
        SIM_FAULT_WRITE_ERROR, SIM_FAULT_FLUSH_ERROR, SIM_FAULT_STALL,
    };
    for (unsigned i = 0; i < 3; i++) {
        enum sim_fault_kind kind = kinds[prng_below(&site->prng, countof(kinds))];
        uint64_t after = prng_below(&site->prng, kind == SIM_FAULT_FLUSH_ERROR ? 3 : 30);
        const char *path = site->pools[prng_below(&site->prng, SITE_POOLS)].path;
        site_trace(site, "a fault of kind %d strikes %s at the start, after %llu", (int)kind, path,
                   (unsigned long long)after);
        sim_node_fault(site->node, kind, path, after);
    }
    site->strikes += 3;
}

bool site_pools_are_well(const struct site *site)
{
    for (int i = 0; i < SITE_POOLS; i++)
        if (!site->pools[i].engine || volume_pool_state(site->pools[i].engine) != VOLUME_POOL_OK)
            return false;
    return true;
}

/* Started with a pool that is not there: all wait for it. */
bool site_stay_without(struct site *site)
{
    unsigned ill;
    bool stay_long = prng_chance(&site->prng, 1, 2);
    return ask_how_pools_are(site, &ill) && other_pool_works(site) &&
           site_run_for(site, stay_long ? 200 * RT_SECOND : RT_SECOND) &&
           ask_how_pools_are(site, &ill);
}

/* ---- Devices that lie: what is served -------------------------------------------------------- */

static void read_done(struct volume_io *io)
{
    container_of(io, struct site, reader)->reader_busy = false;
}

static bool reader_is_idle(struct site *site)
{
    return !site->reader_busy;
}

static bool read_run(struct site *site, struct volume *volume, uint32_t sector, uint32_t count,
                     uint8_t *data)
{
    site->reader_iov = (struct iovec){.iov_base = data, .iov_len = (size_t)count * SECTOR_BYTES};
    site->reader = (struct volume_io){.op = VOLUME_READ,
                                      .sector = sector,
                                      .sector_count = count,
                                      .iov = &site->reader_iov,
                                      .iov_count = 1,
                                      .done = read_done};
    site->reader_busy = true;
    volume_submit(volume, &site->reader);
    return site_wait(site, reader_is_idle, "a read of what is damaged");
}

/* What can be read of the view is right; where a run fails, block by block. */
static bool judge_run(struct site *site, struct volume *volume, const char *name,
                      struct model_view *view, uint32_t sector, uint32_t count,
                      const struct model_bound *bound)
{
    uint8_t data[RUN_SECTORS * SECTOR_BYTES];
    if (!read_run(site, volume, sector, count, data)) return false;
    if (site->reader.status == STATUS_OK)
        return model_check_read(site->model, view, sector, count, data, bound) ||
               site_fail(site, "%s, sectors %u+%u: %s", name, sector, count,
                         model_problem(site->model));
    if (count <= SECTORS_PER_BLOCK) {
        site->blocks_refused++;
        return true;
    }
    for (uint32_t at = 0; at < count; at += SECTORS_PER_BLOCK)
        if (!judge_run(site, volume, name, view, sector + at,
                       min_of(count - at, (uint32_t)SECTORS_PER_BLOCK), bound))
            return false;
    return true;
}

static bool judge_view(struct site *site, const char *name, int pool, const struct uuid *disk,
                       const struct uuid *point, const struct model_view *view,
                       const struct model_bound *bound)
{
    struct volume *volume;
    struct model_view copy;
    struct err *e = volume_open(site->pools[pool].engine, disk, point, VOLUME_READ_ONLY, &volume);
    if (e) { /* the device has lost it */
        err_free(e);
        site->views_refused++;
        return true;
    }
    bool ok = true;
    model_view_copy(view, &copy);
    uint32_t sectors =
        (uint32_t)min_of(volume_size_bytes(volume) / SECTOR_BYTES, (uint64_t)view->sector_count);
    for (uint32_t at = 0; ok && at < sectors; at += RUN_SECTORS)
        ok = judge_run(site, volume, name, &copy, at, min_of(sectors - at, (uint32_t)RUN_SECTORS),
                       bound);
    model_view_fini(&copy);
    if (!site->crashed) volume_close(volume);
    site->views_judged++;
    return ok;
}

/* A damaged pool says that it lacks something: its disks are not judged, its snapshots are. */
static bool judge_all(struct site *site)
{
    struct model_bound bound = {.floor = site->hold};
    bool ok = true;
    for (int i = 0; ok && i < SITE_DISKS; i++) {
        const struct site_disk *d = &site->disks[i];
        struct volume_pool *engine = site->pools[d->pool].engine;
        if (d->state != SITE_THERE && d->state != SITE_TRASHED) continue;
        if (!engine || volume_pool_state(engine) == VOLUME_POOL_DAMAGED) continue;
        ok = judge_view(site, d->name, d->pool, &d->uuid, NULL, &d->view, &bound);
    }
    for (int i = 0; ok && i < SITE_POINTS; i++) {
        const struct site_point *p = &site->points[i];
        if ((p->state != SITE_THERE && p->state != SITE_TRASHED) || !p->view.cells) continue;
        int pool = site->disks[p->disk].pool;
        bound.floor = min_of(site->sets[p->set].submitted, site->hold);
        if (site->pools[pool].engine)
            ok = judge_view(site, p->name, pool, NULL, &p->uuid, &p->view, &bound);
    }
    return ok;
}

static bool is_over(const char *state)
{
    return strcmp(state, "running") != 0 && strcmp(state, "paused") != 0;
}

/* Everything is verified, checked, and deleted: whatever comes of it, the server stays up and jobs
 * come to their end. */
static bool use_what_is_left(struct site *site)
{
    size_t i;
    json_t *item;
    site_resume_jobs(site);
    json_t *list = site_ask(site, "snapshot_list", json_object());
    json_array_foreach(json_object_get(list, "snapshots"), i, item)
    {
        if (!site->crashed && !site->failed)
            json_decref(site_ask(site, "snapshot_verify",
                                 json_pack("{s:s}", "name", rig_text(item, "name"))));
    }
    json_decref(list);
    for (int p = 0; p < SITE_POOLS && !site->crashed && !site->failed; p++)
        json_decref(site_ask(site, "pool_check", json_pack("{s:s}", "name", site->pools[p].name)));
    if (!site_run_for(site, 300 * RT_SECOND)) return false;
    list = site_ask(site, "job_list", json_object());
    json_array_foreach(json_object_get(list, "jobs"), i, item)
    {
        bool checks = strcmp(rig_text(item, "verb"), "snapshot_verify") == 0 ||
                      strcmp(rig_text(item, "verb"), "pool_check") == 0;
        if (checks && !is_over(rig_text(item, "state")))
            site_fail(site, "%s never ends", rig_text(item, "verb"));
    }
    json_decref(list);
    return !site->failed && site_delete_all(site) && site_run_for(site, 100 * RT_SECOND);
}

static bool verdict(struct site *site)
{
    unsigned ill;
    if (!site_start_again(site)) return false;
    return ask_how_pools_are(site, &ill) && other_pool_works(site) && judge_all(site) &&
           site_run_for(site, 20 * RT_SECOND) && judge_all(site);
}

/* ---- A storm --------------------------------------------------------------------------------- */

static bool rage(struct site *site, void (*op)(struct site *site))
{
    unsigned ill;
    for (unsigned i = 0; i < STORM_OPS && !site->crashed && !site->failed; i++) {
        if (prng_chance(&site->prng, 1, 5)) site_strike(site);
        op(site);
    }
    sim_heal(site->sim);
    site->heal_at_ns = 0;
    sim_node_crash_at_write(site->node, 0, SIM_CRASH_PROCESS);
    return site_run_for(site, RT_SECOND) && ask_how_pools_are(site, &ill) && other_pool_works(site);
}

void site_storm(struct site *site, void (*op)(struct site *site))
{
    bool is_liar = site->options.faults == SITE_FAULTS_LIES;
    if (!site_settle(site)) return;
    if (is_liar || prng_chance(&site->prng, 1, 2))
        sim_node_crash_at_write(site->node, 0, SIM_CRASH_PROCESS);
    site->lossy = true;
    site->hold = model_now(site->model);
    site->catalog_erred = false;
    site_trace(site, "a storm begins");
    rage(site, op);
    sim_heal(site->sim);
    site->heal_at_ns = 0;
    site->storms++;
    if (site->failed) return;
    if (!site->crashed) site_crash_now(site);
    site->lossy = is_liar; /* what was asked is decided by a start without lies */
    if (!is_liar) return;
    if (verdict(site) && use_what_is_left(site)) {
        site_crash_now(site);
        unsigned ill;
        if (site_start_again(site)) ask_how_pools_are(site, &ill);
    }
    if (site->crashed && !site->failed) site_fail(site, "the server went down");
}
