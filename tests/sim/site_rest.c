/* A site at rest: its views are read, its space is counted, all is deleted (site.h). */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/site_int.h"
#include "tests/unit/control_rig.h"

/* ---- Reading whole views --------------------------------------------------------------------- */

static void reader_done(struct volume_io *io)
{
    container_of(io, struct site, reader)->reader_busy = false;
}

static bool reader_is_idle(struct site *site)
{
    return !site->reader_busy;
}

static bool read_all(struct site *site, struct volume *handle, uint32_t sectors, uint8_t *data)
{
    for (uint32_t at = 0; at < sectors;) {
        uint32_t count = min_of(sectors - at, (uint32_t)1024);
        site->reader_iov = (struct iovec){.iov_base = data + (size_t)at * SECTOR_BYTES,
                                          .iov_len = (size_t)count * SECTOR_BYTES};
        site->reader = (struct volume_io){.op = VOLUME_READ,
                                          .sector = at,
                                          .sector_count = count,
                                          .iov = &site->reader_iov,
                                          .iov_count = 1,
                                          .done = reader_done};
        site->reader_busy = true;
        volume_submit(handle, &site->reader);
        if (!site_wait(site, reader_is_idle, "a read")) return false;
        if (site->reader.status != STATUS_OK)
            return !site->lossy && site_fail(site, "read of sectors %u+%u failed: %s", at, count,
                                             status_text(site->reader.status));
        at += count;
    }
    return true;
}

/* Reads a view of the engine; NULL: it failed, crashed, or is gone and may be. */
static uint8_t *read_view(struct site *site, const char *name, int pool, const struct uuid *disk,
                          const struct uuid *point, uint32_t sectors, bool may_be_gone)
{
    struct volume *handle;
    char text[300];
    struct err *e = volume_open(site->pools[pool].engine, disk, point, VOLUME_READ_ONLY, &handle);
    if (e) {
        if (!may_be_gone) site_fail(site, "open %s: %s", name, err_text(e, text, sizeof text));
        err_free(e);
        return NULL;
    }
    uint8_t *data = malloc((size_t)sectors * SECTOR_BYTES);
    check(data != NULL);
    bool ok = volume_size_bytes(handle) == (uint64_t)sectors * SECTOR_BYTES ||
              site_fail(site, "%s is %llu bytes, expected %u sectors", name,
                        (unsigned long long)volume_size_bytes(handle), sectors);
    ok = ok && read_all(site, handle, sectors, data);
    if (!site->crashed) volume_close(handle);
    if (ok) return data;
    free(data);
    return NULL;
}

static uint8_t *read_point(struct site *site, int point)
{
    struct site_point *p = &site->points[point];
    const struct site_set *set = &site->sets[p->set];
    return read_view(site, p->name, site->disks[p->disk].pool, NULL, &p->uuid, p->view.sector_count,
                     set->phase < SITE_CREATED || p->is_becoming ||
                         (set->is_undo && site->disks[p->disk].state == SITE_GOING) ||
                         (site->options.full && (set->is_undo || p->state == SITE_TRASHED)));
}

/* The members together: one instant, over all pools. */
bool site_resolve_set(struct site *site, int set)
{
    struct site_set *s = &site->sets[set];
    struct model_frozen frozen[SITE_MEMBERS] = {{NULL, NULL}};
    uint8_t *data[SITE_MEMBERS] = {NULL};
    unsigned count = 0, members = s->count;
    int points[SITE_MEMBERS];
    memcpy(points, s->points, sizeof points);
    bool ok = true;
    for (unsigned i = 0; ok && i < members; i++) {
        struct site_point *p = &site->points[points[i]];
        if (p->state != SITE_THERE && p->state != SITE_TRASHED) continue;
        p->busy++;
        data[i] = read_point(site, points[i]);
        p->busy--;
        ok = data[i] != NULL;
        if (ok) frozen[count++] = (struct model_frozen){.view = &p->view, .data = data[i]};
    }
    struct model_bound bound = {.floor = s->submitted, .count_seen = true};
    bool read = ok;
    if (ok && !model_resolve(site->model, frozen, count, &bound))
        ok = site_fail(site, "set %s, submitted at %u, done at %u: %s", s->name, s->submitted,
                       s->done, model_problem(site->model));
    for (unsigned i = 0; i < members; i++) {
        if (ok && data[i]) {
            site->points[points[i]].exact = true;
            site_made_durable(site, site->disks[site->points[points[i]].disk].pool, bound.floor);
        }
        free(data[i]);
    }
    if (ok) site_trace(site, "set %s resolved, floor %u", s->name, bound.floor);
    return ok || (!read && !site->failed && !site->crashed); /* it may be gone */
}

static bool set_is_open(const struct site *site, const struct site_set *set)
{
    for (unsigned i = 0; set->used && set->cut && i < set->count; i++) {
        const struct site_point *p = &site->points[set->points[i]];
        if ((p->state == SITE_THERE || p->state == SITE_TRASHED) && !p->exact) return true;
    }
    return false;
}

bool site_resolve_sets(struct site *site)
{
    for (int i = 0; i < SITE_SETS; i++)
        if (set_is_open(site, &site->sets[i]) && !site_resolve_set(site, i)) return false;
    return true;
}

/* Live disks while nothing is written; pool -1: of all pools, together. */
bool site_resolve_live(struct site *site, int pool, struct model_bound *bound, const char *when)
{
    struct model_frozen frozen[SITE_DISKS] = {{NULL, NULL}};
    uint8_t *data[SITE_DISKS] = {NULL};
    unsigned count = 0;
    bool ok = true;
    for (int i = 0; ok && i < SITE_DISKS; i++) {
        struct site_disk *d = &site->disks[i];
        if (d->state != SITE_THERE && d->state != SITE_TRASHED) continue;
        if (pool >= 0 && d->pool != pool) continue;
        data[count] =
            read_view(site, d->name, d->pool, &d->uuid, NULL, d->view.sector_count, false);
        ok = data[count] != NULL;
        if (ok) frozen[count] = (struct model_frozen){.view = &d->view, .data = data[count]};
        if (ok) count++;
    }
    if (ok && !model_resolve(site->model, frozen, count, bound))
        ok = site_fail(site, "%s: %s", when, model_problem(site->model));
    for (unsigned i = 0; i < count; i++)
        free(data[i]);
    return ok;
}

bool site_verify_exact_points(struct site *site)
{
    for (int i = 0; i < SITE_POINTS; i++) {
        struct site_point *p = &site->points[i];
        if ((p->state != SITE_THERE && p->state != SITE_TRASHED) || !p->exact) continue;
        if (p->is_becoming && !p->is_updating) continue; /* open, it could not go */
        uint8_t *data = read_point(site, i);
        if (!data && (site->failed || site->crashed)) return false;
        if (!data) continue;
        struct model_frozen frozen = {.view = &p->view, .data = data};
        struct model_bound bound = {0};
        bool ok = model_resolve(site->model, &frozen, 1, &bound);
        free(data);
        if (!ok)
            return site_fail(site, "snapshot %s has changed: %s", p->name,
                             model_problem(site->model));
    }
    return true;
}

/* ---- At rest --------------------------------------------------------------------------------- */

/* What was read is the truth from now on: no power loss may take it back. */
static bool flush_pools(struct site *site)
{
    for (int i = 0; i < SITE_POOLS; i++) {
        int disk = 0;
        while (disk < SITE_DISKS &&
               (site->disks[disk].state != SITE_THERE || site->disks[disk].pool != i))
            disk++;
        if (disk == SITE_DISKS) continue;
        struct volume *handle;
        struct err *e = volume_open(site->pools[i].engine, &site->disks[disk].uuid, NULL,
                                    VOLUME_READ_WRITE, &handle);
        check(!e);
        site->reader = (struct volume_io){.op = VOLUME_FLUSH, .done = reader_done};
        site->reader_busy = true;
        uint32_t floor = model_tick(site->model);
        volume_submit(handle, &site->reader);
        if (!site_wait(site, reader_is_idle, "a flush")) return false;
        volume_close(handle);
        if (site->reader.status != STATUS_OK)
            return site_fail(site, "flush: %s", status_text(site->reader.status));
        site_made_durable(site, i, floor);
        site->pools[i].unflushed = 0;
    }
    return true;
}

/* No command, no verb, no replace is under way; one may have begun as a verb ended. */
static bool is_at_rest(struct site *site)
{
    return site_wait(site, site_is_idle, "rest") && site_tend_replaces(site, true) &&
           site_wait(site, site_is_idle, "rest");
}

bool site_verify(struct site *site)
{
    if (!is_at_rest(site) || !site_reconcile(site, false) || !site_resolve_sets(site) ||
        !flush_pools(site))
        return false;
    struct model_bound bound = {
        .floor = model_tick(site->model), .count_durable = true, .count_seen = true};
    if (!site_resolve_live(site, -1, &bound, "verify") || !site_verify_exact_points(site))
        return false;
    site->verifies++;
    site_trace(site, "verified");
    return true;
}

struct waiting {
    bool is_done;
    struct err *error;
};

static void call_done(void *arg, struct err *e)
{
    struct waiting *w = arg;
    *w = (struct waiting){true, e};
}

static bool wait_call(struct site *site, struct waiting *w, const char *what)
{
    uint64_t limit_ns = sim_now(site->sim) + 400 * RT_SECOND;
    char text[300];
    while (!w->is_done) {
        if (!site_step(site, 1)) return false;
        if (sim_now(site->sim) > limit_ns) return site_fail(site, "%s hangs", what);
    }
    if (!w->error) return true;
    site_fail(site, "%s: %s", what, err_text(w->error, text, sizeof text));
    err_free(w->error);
    return false;
}

/* The lease of a set that is short of created ends by itself, also while the site settles; what is
 * no longer there then needs nothing. */
static bool has_lapsed(struct site *site, const struct site_point *p)
{
    struct volume *handle;
    if (site->sets[p->set].phase >= SITE_CREATED) return false;
    struct err *e = volume_open(site->pools[site->disks[p->disk].pool].engine, NULL, &p->uuid,
                                VOLUME_READ_ONLY, &handle);
    if (!e) volume_close(handle);
    err_free(e);
    return e != NULL;
}

/* Blocks that the views of a pool need; more may be in use under branches. */
static bool check_space(struct site *site, int pool)
{
    const struct model_view *views[SITE_DISKS + SITE_POINTS];
    struct volume_pool_usage usage;
    unsigned count = 0;
    for (int i = 0; i < SITE_DISKS; i++)
        if ((site->disks[i].state == SITE_THERE ||
             (site->disks[i].state == SITE_TRASHED && !site->options.full)) &&
            site->disks[i].pool == pool)
            views[count++] = &site->disks[i].view;
    for (int i = 0; i < SITE_POINTS; i++) {
        const struct site_point *p = &site->points[i];
        bool may_go = site->options.full && site->sets[p->set < 0 ? 0 : p->set].is_undo;
        if (p->state == SITE_THERE && p->exact && !may_go && site->disks[p->disk].pool == pool &&
            !has_lapsed(site, p))
            views[count++] = &p->view;
    }
    uint64_t blocks = model_block_count(views, count);
    volume_pool_usage(site->pools[pool].engine, &usage);
    if (usage.data_bytes >= blocks * BLOCK_BYTES) return true;
    return site_fail(site, "pool %d: %llu blocks are needed, only %llu are in use", pool,
                     (unsigned long long)blocks,
                     (unsigned long long)usage.data_bytes / BLOCK_BYTES);
}

bool site_settle(struct site *site)
{
    if (!site_verify(site)) return false;
    for (int i = 0; i < SITE_POOLS; i++) {
        struct waiting settle = {0}, compare = {0};
        volume_pool_settle(site->pools[i].engine, call_done, &settle);
        if (!wait_call(site, &settle, "settle") || !check_space(site, i)) return false;
        volume_pool_check(site->pools[i].engine, NULL, call_done, &compare);
        if (!wait_call(site, &compare, "check")) return false;
    }
    site_trace(site, "settled");
    return true;
}

/* ---- The end --------------------------------------------------------------------------------- */

static void ask_and_forget(struct site *site, const char *verb, json_t *arguments)
{
    if (site->failed || site->crashed)
        json_decref(arguments);
    else
        json_decref(site_ask(site, verb, arguments));
}

static void unmap_all(struct site *site)
{
    size_t i;
    json_t *map, *maps = site_ask(site, "map_list", json_object());
    json_array_foreach(json_object_get(maps, "maps"), i, map)
    {
        ask_and_forget(site, "map_remove",
                       json_pack("{s:s, s:i}", "host", rig_text(map, "host"), "lun",
                                 (int)rig_number(map, "lun")));
    }
    json_decref(maps);
}

static void delete_each(struct site *site, const char *list, const char *key, const char *verb,
                        json_t *more)
{
    size_t i;
    json_t *item, *items = site_ask(site, list, json_object());
    json_array_foreach(json_object_get(items, key), i, item)
    {
        const char *name = rig_text(item, "name");
        json_t *arguments = json_pack("{s:s}", "name", *name ? name : rig_text(item, "id"));
        json_object_update(arguments, more);
        ask_and_forget(site, verb, arguments);
    }
    json_decref(items);
    json_decref(more);
}

/* Every lease has ended: what dead clients had begun has left nothing. */
static bool nothing_is_left_over(struct site *site)
{
    struct listing l;
    size_t i;
    json_t *item;
    if (!site_list_all(site, &l)) return false;
    json_array_foreach(json_object_get(l.sets, "sets"), i, item)
    {
        const char *state = rig_text(item, "state");
        if (strcmp(state, "created") != 0 && strcmp(state, "aborted") != 0 &&
            strcmp(state, "trashed") != 0 && strcmp(state, "broken") != 0)
            site_fail(site, "set %s is %s for ever", rig_text(item, "name"), state);
    }
    json_array_foreach(json_object_get(l.snapshots, "snapshots"), i, item)
    {
        if (strcmp(rig_text(item, "state"), "ready") != 0)
            site_fail(site, "snapshot %s is %s for ever", rig_text(item, "name"),
                      rig_text(item, "state"));
    }
    site_unlist(&l);
    return !site->failed;
}

bool site_delete_all(struct site *site)
{
    unmap_all(site);
    delete_each(site, "job_list", "jobs", "job_cancel", json_object());
    site_run_for(site, 10 * RT_SECOND);
    for (unsigned lap = 0; lap < SITE_OWN_DISKS && !site->failed; lap++) {
        ask_and_forget(site, "trash_empty", json_object());
        delete_each(site, "set_list", "sets", "set_delete", json_pack("{s:b}", "now", 1));
        delete_each(site, "snapshot_list", "snapshots", "snapshot_delete",
                    json_pack("{s:b}", "now", 1));
        delete_each(site, "disk_list", "disks", "disk_delete",
                    json_pack("{s:b, s:b}", "with_snapshots", 1, "now", 1));
    }
    return !site->failed && !site->crashed;
}

/* Nobody comes back to a job that somebody paused; one of a break keeps its set. */
void site_resume_jobs(struct site *site)
{
    size_t i;
    json_t *job, *jobs = site_ask(site, "job_list", json_object());
    json_array_foreach(json_object_get(jobs, "jobs"), i, job)
    {
        if (strcmp(rig_text(job, "state"), "paused") == 0)
            ask_and_forget(site, "job_resume", json_pack("{s:s}", "name", rig_text(job, "id")));
    }
    json_decref(jobs);
}

bool site_empty(struct site *site)
{
    if (!is_at_rest(site)) return false;
    site_resume_jobs(site);
    if (!is_at_rest(site) || !site_run_for(site, 1000 * RT_SECOND) || !nothing_is_left_over(site) ||
        !site_verify(site) || !site_delete_all(site))
        return false;
    for (int i = 0; i < SITE_POINTS; i++)
        if (site->points[i].state != SITE_NONE) site_point_forget(site, i);
    for (int i = 0; i < SITE_DISKS; i++)
        site_disk_forget(site, i);
    for (int i = 0; i < SITE_SETS; i++)
        site->sets[i].used = false;
    if (!site_settle(site)) return false;
    for (int i = 0; i < SITE_POOLS; i++) {
        struct volume_pool_usage usage;
        volume_pool_usage(site->pools[i].engine, &usage);
        if (usage.data_bytes != 0)
            return site_fail(site, "everything is deleted, but %llu blocks of pool %d are in use",
                             (unsigned long long)usage.data_bytes / BLOCK_BYTES, i);
    }
    return true;
}
