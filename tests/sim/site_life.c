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

static void reverted(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_disk *d = &site->disks[call->disk];
    int undo = -1;
    site->points[call->point].busy--;
    model_write_done(site->model, d->revert_write, ok);
    site_fill_undo_view(site, call->disk);
    d->resizing = d->frozen = false;
    d->view.sector_count = ok ? d->revert_to : d->revert_from;
    if (!ok) {
        model_write_void(site->model, &d->view, d->revert_write);
        site_forget_points(site, call->set);
    } else {
        model_write_durable(site->model, d->revert_write);
        if (site_adopt_undo(site, call->disk, call->call.result, &undo) && undo < 0)
            site_fail(site, "a revert of %s left no undo point", d->name);
        if (undo >= 0) site->points[undo].state = SITE_THERE;
        site->sets[call->set].cut = true;
        site->sets[call->set].done = model_now(site->model);
        site_made_durable(site, d->pool, call->submitted);
    }
    d->revert_write = 0;
}

static unsigned undo_points(const struct site *site)
{
    unsigned count = 0;
    for (int i = 0; i < SITE_POINTS; i++)
        count += site->points[i].state != SITE_NONE && site_is_undo(site, i);
    return count;
}

/* Among commands under way; only where the size changes, alone. */
void site_do_revert(struct site *site, struct site_call *call)
{
    int point = site_pick_point(site, true);
    if (point < 0 || undo_points(site) >= UNDO_POINTS_MAX) return;
    struct site_point *p = &site->points[point];
    if (!p->exact && !site_resolve_set(site, p->set)) return;
    if (p->state != SITE_THERE || !p->exact) return;
    struct site_disk *d = &site->disks[p->disk];
    if (p->view.sector_count != d->view.sector_count &&
        !site_wait(site, site_is_idle, "rest before a revert"))
        return;
    if (p->state != SITE_THERE || d->state != SITE_THERE || d->resizing || call->busy) return;
    if (site_free_set(site) < 0 || site_free_point(site) < 0) return;
    call->disk = p->disk;
    call->point = point;
    call->set = site_new_set(site, "undo");
    struct site_set *s = &site->sets[call->set];
    s->is_undo = true;
    s->phase = SITE_CREATED;
    site_new_point(site, call->set, p->disk);
    d->frozen = p->view.sector_count != d->view.sector_count;
    d->resizing = true;
    d->revert_from = d->view.sector_count;
    d->revert_to = d->new_sectors = p->view.sector_count;
    if (d->revert_to > d->revert_from) model_view_grow(&d->view, d->revert_to);
    p->busy++;
    s->submitted = model_tick(site->model);
    d->revert_write = model_revert_submit(site->model, &d->view, &p->view, d->number,
                                          site_horizon(site, p->disk));
    site_call_start(call, site_is_undo(site, point) ? "disk_undo" : "disk_revert",
                    json_pack("{s:s, s:s, s:b}", "name", d->name, "to", p->name, "force", 1),
                    reverted);
}

/* ---- Trash ----------------------------------------------------------------------------------- */

static enum site_state *state_of(struct site_call *call)
{
    return call->disk >= 0 ? &call->site->disks[call->disk].state
                           : &call->site->points[call->point].state;
}

static void restored(struct site_call *call, bool ok)
{
    *state_of(call) = ok ? SITE_THERE : SITE_TRASHED;
}

static void emptied(struct site_call *call, bool ok)
{
    struct site *site = call->site;
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
    unsigned first = site_draw(site, SITE_POINTS + SITE_DISKS);
    for (unsigned n = 0; n < SITE_POINTS + SITE_DISKS && !name; n++) {
        int i = (int)((first + n) % (SITE_POINTS + SITE_DISKS));
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
    if (!p->exact || i < 0) return;
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
