/* What a snapshot can become: reverts, the trash, promotion, splits (site.h). */
#include <stdio.h>
#include <string.h>

#include "tests/sim/site_int.h"
#include "tests/unit/control_rig.h"

enum { UNDO_POINTS_MAX = 8 };

/* ---- Revert and undo ------------------------------------------------------------------------- */

void site_fill_undo_view(struct site *site, int disk)
{
    struct site_disk *d = &site->disks[disk];
    for (int i = 0; i < SITE_POINTS; i++) {
        struct site_point *p = &site->points[i];
        if (p->state != SITE_COMING || p->disk != disk || !site_is_undo(site, i) || p->view.cells)
            continue;
        model_view_copy(&d->view, &p->view);
        model_write_void(site->model, &p->view, d->revert_write);
        p->view.sector_count = d->revert_from;
    }
}

/* `listed` shows the disk's undo points. */
static void revert_ended(struct site *site, int disk, int set, uint32_t submitted, bool ok,
                         const json_t *listed)
{
    struct site_disk *d = &site->disks[disk];
    int undo = -1;
    model_write_done(site->model, d->revert_write, ok);
    site_fill_undo_view(site, disk);
    d->resizing = d->frozen = false;
    d->view.sector_count = ok ? d->revert_to : d->revert_from;
    if (!ok) {
        model_write_void(site->model, &d->view, d->revert_write);
        site_forget_points(site, set);
    } else {
        model_write_durable(site->model, d->revert_write);
        if (site_adopt_undo(site, disk, listed, &undo) && undo < 0 && !site->options.full)
            site_fail(site, "a revert of %s left no undo point", d->name);
        if (undo >= 0) site->points[undo].state = SITE_THERE;
        if (undo < 0) site_forget_points(site, set); /* dropped already, near full */
        if (undo >= 0) site->sets[set].cut = true;
        site->sets[set].done = model_now(site->model);
        site_made_durable(site, d->pool, submitted);
    }
    d->revert_write = 0;
}

static void reverted(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_disk *d = &site->disks[call->disk];
    bool done = site_guard_judge(site, call, ok);
    revert_ended(site, call->disk, call->set, call->submitted, done, call->call.result);
    if (!done) return;
    d->given_point = site_is_undo(site, call->point) ? -1 : call->point;
    d->given_ns = sim_now(site->sim);
}

static unsigned undo_points(const struct site *site)
{
    unsigned count = 0;
    for (int i = 0; i < SITE_POINTS; i++)
        count += site->points[i].state != SITE_NONE && site_is_undo(site, i);
    return count;
}

/* The disk becomes what the point holds: what the model is told. */
static void revert_begins(struct site *site, int disk, int point, int set)
{
    struct site_point *p = &site->points[point];
    struct site_disk *d = &site->disks[disk];
    struct site_set *s = &site->sets[set];
    s->is_undo = true;
    s->phase = SITE_CREATED;
    site_new_point(site, set, disk);
    d->frozen = p->view.sector_count != d->view.sector_count;
    d->resizing = true;
    d->revert_from = d->view.sector_count;
    d->revert_to = d->new_sectors = p->view.sector_count;
    if (d->revert_to > d->revert_from) model_view_grow(&d->view, d->revert_to);
    s->submitted = model_tick(site->model);
    d->revert_write =
        model_revert_submit(site->model, &d->view, &p->view, d->number, site_horizon(site, disk));
}

/* Half of them are not forced; of those some are asked for when nobody is in the way. */
static bool draw_force(struct site *site, bool *ret_is_forced)
{
    *ret_is_forced = site_draw(site, 2);
    return *ret_is_forced || site_draw(site, 3) || site_guard_rest(site);
}

/* Among commands under way; only where the size changes, alone. */
void site_do_revert(struct site *site, struct site_call *call)
{
    int point = site_pick_point(site, true);
    bool is_forced;
    if (point < 0 || undo_points(site) >= UNDO_POINTS_MAX) return;
    struct site_point *p = &site->points[point];
    if (!p->exact && !site_resolve_set(site, p->set)) return;
    if (p->state != SITE_THERE || !p->exact) return;
    struct site_disk *d = &site->disks[p->disk];
    if (p->view.sector_count != d->view.sector_count &&
        !site_wait(site, site_is_idle, "rest before a revert"))
        return;
    if (!draw_force(site, &is_forced)) return;
    if (p->state != SITE_THERE || d->state != SITE_THERE || d->resizing || call->busy) return;
    if (site_free_set(site) < 0 || site_free_point(site) < 0) return;
    call->disk = p->disk;
    call->point = point;
    call->set = site_new_set(site, "undo");
    revert_begins(site, p->disk, point, call->set);
    /* Where no host has a branch of it, or is about to, the bare cut is what there is. */
    bool as_cut = site_draw(site, 2) || site->options.verbs;
    site_guard_ask(site, call, is_forced);
    json_t *arguments =
        json_pack("{s:s, s:s, s:b}", "name", d->name, "to", p->name, "force", is_forced);
    if (!site_is_undo(site, point) && as_cut) json_object_set_new(arguments, "as_cut", json_true());
    site_call_start(call, site_is_undo(site, point) ? "disk_undo" : "disk_revert", arguments,
                    reverted);
}

/* ---- Replace --------------------------------------------------------------------------------- */

bool site_is_replacing(const struct site_disk *disk)
{
    return disk->revert_write && disk->replace_job[0];
}

static void replace_began(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_disk *d = &site->disks[call->disk];
    site_guard_judge(site, call, ok);
    if (!ok) {
        revert_ended(site, call->disk, call->set, call->submitted, false, NULL);
        return;
    }
    snprintf(d->replace_job, sizeof d->replace_job, "%s", rig_text(call->call.result, "job.id"));
    d->replace_set = call->set;
    d->replace_since = site->sets[call->set].submitted;
    d->replace_writes = 0;
    d->replace_forced = call->guard.is_forced;
    d->replace_copies_ns = 0;
    d->given_point = -1;
}

/* Any disk takes the content of any snapshot, in the background. */
void site_do_replace(struct site *site, struct site_call *call)
{
    int point = site_pick_point(site, false), disk = site_pick_disk(site);
    bool is_forced;
    if (point < 0 || disk < 0 || undo_points(site) >= UNDO_POINTS_MAX) return;
    struct site_point *p = &site->points[point];
    struct site_disk *d = &site->disks[disk];
    if (!p->exact && !site_resolve_set(site, p->set)) return;
    if (p->view.sector_count != d->view.sector_count &&
        !site_wait(site, site_is_idle, "rest before a replace"))
        return;
    if (!draw_force(site, &is_forced)) return;
    if (p->state != SITE_THERE || !p->exact || p->is_becoming || d->state != SITE_THERE ||
        d->resizing || call->busy)
        return;
    if (site_free_set(site) < 0 || site_free_point(site) < 0) return;
    call->disk = disk;
    call->point = point;
    call->set = site_new_set(site, "undo");
    revert_begins(site, disk, point, call->set);
    site_guard_ask(site, call, is_forced);
    site_call_start(call, "disk_replace",
                    json_pack("{s:s, s:s, s:b, s:b}", "name", d->name, "from", p->name, "force",
                              is_forced, "as_cut", 1),
                    replace_began);
}

/* False: it goes on. */
static bool tend_replace(struct site *site, int disk)
{
    struct site_disk *d = &site->disks[disk];
    uint64_t asked_ns = sim_now(site->sim);
    json_t *job = site_ask(site, "job_show", json_pack("{s:s}", "name", d->replace_job));
    if (!job) return site->crashed || site->failed || site_fail(site, "a job is gone");
    const char *state = rig_text(job, "state");
    bool is_done = strcmp(state, "done") == 0;
    bool goes_on = strcmp(state, "running") == 0 || strcmp(state, "paused") == 0;
    bool waits_for_pool = goes_on && strstr(rig_text(job, "trouble"), "it waits for pool") != NULL;
    if (goes_on) site_guard_replace_goes_on(site, disk, job, asked_ns);
    if (is_done) site_guard_replace_done(site, disk);
    json_decref(job);
    if (waits_for_pool && !site->lossy)
        return site_fail(site, "the replace of %s waits for a pool that is well", d->name);
    if (goes_on && !waits_for_pool) return false;
    bool in_doubt = waits_for_pool || site->catalog_erred ||
                    volume_pool_state(site->pools[d->pool].engine) != VOLUME_POOL_OK;
    if (!is_done && site->lossy && in_doubt) {
        d->frozen = true; /* in doubt until the next start */
        d->replace_job[0] = '\0';
        return true;
    }
    json_t *listed = site_ask(site, "disk_show", json_pack("{s:s}", "name", d->name));
    if (listed) {
        site_trace(site, "the replace of %s is %sdone", d->name, is_done ? "" : "not ");
        revert_ended(site, disk, d->replace_set, d->replace_since, is_done, listed);
        d->replace_job[0] = '\0';
    } else if (!site->crashed) {
        site_fail(site, "disk %s cannot be shown", d->name);
    }
    json_decref(listed);
    return true;
}

bool site_tend_replaces(struct site *site, bool wait)
{
    uint64_t limit_ns = sim_now(site->sim) + 100 * RT_SECOND;
    for (int i = 0; i < SITE_DISKS; i++) {
        struct site_disk *d = &site->disks[i];
        while (d->replace_job[0] && !site->crashed && !site->failed && !tend_replace(site, i)) {
            if (!wait) break;
            if (sim_now(site->sim) > limit_ns) /* it waits for space */
                json_decref(
                    site_ask(site, "job_cancel", json_pack("{s:s}", "name", d->replace_job)));
            if (!site->crashed) site_run_for(site, 50 * RT_MS);
        }
    }
    return !site->crashed && !site->failed;
}

bool site_await_jobs(struct site *site)
{
    uint64_t limit_ns = sim_now(site->sim) + 100 * RT_SECOND;
    for (;;) {
        size_t i;
        json_t *job, *jobs = site_ask(site, "job_list", json_object());
        bool late = sim_now(site->sim) > limit_ns;
        unsigned active = 0;
        json_array_foreach(json_object_get(jobs, "jobs"), i, job)
        {
            const char *state = rig_text(job, "state");
            if (strcmp(rig_text(job, "verb"), "disk_replace") != 0) continue;
            if (strcmp(state, "running") != 0 && strcmp(state, "paused") != 0) continue;
            active++;
            if (late && !site->crashed)
                json_decref(
                    site_ask(site, "job_cancel", json_pack("{s:s}", "name", rig_text(job, "id"))));
        }
        json_decref(jobs);
        if (site->crashed || site->failed) return false;
        if (!active) return true;
        if (!site_run_for(site, 50 * RT_MS)) return false;
    }
}

/* ---- Trash ----------------------------------------------------------------------------------- */

static enum site_state *state_of(struct site_call *call)
{
    return call->disk >= 0 ? &call->site->disks[call->disk].state
                           : &call->site->points[call->point].state;
}

static void restored(struct site_call *call, bool ok)
{
    if (*state_of(call) == SITE_NONE) return; /* its disk has gone meanwhile, for good */
    *state_of(call) = ok ? SITE_THERE : SITE_TRASHED;
}

static void emptied(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    if (*state_of(call) == SITE_NONE) return;
    if (!ok) {
        *state_of(call) = SITE_TRASHED;
        return;
    }
    for (int i = 0; call->disk >= 0 && i < SITE_POINTS; i++)
        if (site->points[i].state != SITE_NONE && site->points[i].disk == call->disk)
            site_point_forget(site, i);
    if (call->disk >= 0)
        site_disk_forget(site, call->disk);
    else
        site_point_forget(site, call->point);
}

/* Something out of the trash: had back, or gone for good. */
void site_do_trash(struct site *site, struct site_call *call)
{
    const char *name = NULL;
    unsigned first = site_draw(site, SITE_POINTS + SITE_OWN_DISKS);
    for (unsigned n = 0; n < SITE_POINTS + SITE_OWN_DISKS && !name; n++) {
        int i = (int)((first + n) % (SITE_POINTS + SITE_OWN_DISKS));
        call->point = i < SITE_POINTS ? i : -1;
        call->disk = i < SITE_POINTS ? -1 : i - SITE_POINTS;
        if (*state_of(call) != SITE_TRASHED) continue;
        name = i < SITE_POINTS ? site->points[i].name : site->disks[i - SITE_POINTS].name;
    }
    if (!name) return;
    bool back = site_draw(site, 3) > 0;
    *state_of(call) = back ? SITE_RETURNING : SITE_GOING;
    site_call_start(call, back ? "trash_restore" : "trash_empty", json_pack("{s:s}", "name", name),
                    back ? restored : emptied);
}

/* ---- Promote, split, their jobs -------------------------------------------------------------- */

static void job_began(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    const char *id = rig_text(call->call.result, "job.id");
    if (ok && *id) snprintf(site->last_job, sizeof site->last_job, "%s", id);
    if (call->disk < 0 || ok) return;
    site->points[call->point].is_becoming = false; /* a refused split */
    site->disks[call->disk].from_point = -1;
    site_disk_forget(site, call->disk);
}

static void promote_disk(struct site *site, struct site_call *call, bool split)
{
    int i = site_pick_disk(site);
    if (i < 0) return;
    site_call_start(call, split ? "disk_split" : "disk_promote",
                    json_pack("{s:s}", "name", site->disks[i].name), job_began);
}

static void split_snapshot(struct site *site, struct site_call *call, int point)
{
    struct site_point *p = &site->points[point];
    int i = site_free_disk(site);
    if (!p->exact || i < 0 || site->disks[p->disk].state != SITE_THERE) return;
    for (unsigned h = 0; h < SITE_HOSTS; h++)
        if (p->mapping[h]) return;
    struct site_disk *d = &site->disks[i];
    d->number = ++site->disk_number;
    d->pool = site->disks[p->disk].pool;
    d->state = SITE_COMING;
    d->from_point = point;
    snprintf(d->name, sizeof d->name, "d%u", d->number);
    model_view_copy(&p->view, &d->view);
    p->is_becoming = true;
    call->disk = i;
    call->point = point;
    site_call_start(call, "snapshot_split",
                    json_pack("{s:s, s:s}", "name", p->name, "new_name", d->name), job_began);
}

void site_do_promote(struct site *site, struct site_call *call)
{
    unsigned kind = site_draw(site, 4);
    if (kind < 2) {
        promote_disk(site, call, kind);
        return;
    }
    int point = site_pick_point(site, false);
    if (point < 0 || site->points[point].busy) return;
    if (kind == 3) {
        split_snapshot(site, call, point);
        return;
    }
    site_call_start(call, "snapshot_promote", json_pack("{s:s}", "name", site->points[point].name),
                    job_began);
}

void site_do_job(struct site *site, struct site_call *call)
{
    static const char *const verbs[] = {"job_pause", "job_resume", "job_resume", "job_cancel"};
    if (!site->last_job[0]) return;
    site_call_start(call, verbs[site_draw(site, countof(verbs))],
                    json_pack("{s:s}", "name", site->last_job), job_began);
}
