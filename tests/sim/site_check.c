/* What must hold: what the server lists, what the views hold, the space (site.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/site_int.h"
#include "tests/unit/control_rig.h"

/* ---- Forgetting ------------------------------------------------------------------------------ */

void site_disk_forget(struct site *site, int disk)
{
    struct site_disk *d = &site->disks[disk];
    model_view_fini(&d->view);
    *d = (struct site_disk){
        .parent_point = -1, .from_point = -1, .private_of = -1, .given_point = -1};
    for (unsigned h = 0; h < SITE_HOSTS; h++)
        d->lun[h] = -1;
}

void site_point_forget(struct site *site, int point)
{
    struct site_point *p = &site->points[point];
    if (p->state != SITE_NONE) {
        site_check_kept(site, point);
        if (site_private_of(site, point) >= 0) site_disk_forget(site, site_private_of(site, point));
        struct site_set *set = &site->sets[p->set];
        unsigned left = 0;
        for (unsigned i = 0; i < set->count; i++)
            if (set->points[i] != point) set->points[left++] = set->points[i];
        set->count = left;
        if (left == 0 && (set->is_undo || set->phase == SITE_CREATED || set->abandoned))
            set->used = false;
        if (left == 0) set->cut = false;
        for (unsigned i = 0; i < SITE_DISKS; i++) {
            if (site->disks[i].parent_point == point) site->disks[i].parent_point = -1;
            if (site->disks[i].from_point == point) site->disks[i].from_point = -1;
        }
    }
    model_view_fini(&p->view);
    model_view_fini(&p->next);
    *p = (struct site_point){.disk = -1, .set = -1};
    for (unsigned h = 0; h < SITE_HOSTS; h++)
        p->lun[h] = -1;
}

/* ---- What the server lists ------------------------------------------------------------------- */

bool site_list_all(struct site *site, struct listing *l)
{
    *l = (struct listing){.disks = site_ask(site, "disk_list", json_object())};
    if (l->disks) l->snapshots = site_ask(site, "snapshot_list", json_object());
    if (l->snapshots) l->sets = site_ask(site, "set_list", json_object());
    if (l->sets) l->maps = site_ask(site, "map_list", json_object());
    if (l->maps) l->pools = site_ask(site, "pool_list", json_object());
    if (l->pools) l->trash = site_ask(site, "trash_list", json_object());
    if (l->trash) l->jobs = site_ask(site, "job_list", json_object());
    if (!l->jobs && !site->crashed) site_fail(site, "the server cannot list what it has");
    return l->jobs != NULL;
}

void site_unlist(struct listing *l)
{
    json_decref(l->disks);
    json_decref(l->snapshots);
    json_decref(l->sets);
    json_decref(l->maps);
    json_decref(l->pools);
    json_decref(l->trash);
    json_decref(l->jobs);
}

static const json_t *named(const json_t *list, const char *key, const char *name)
{
    size_t i;
    json_t *item;
    const json_t *found = NULL;
    json_array_foreach(json_object_get(list, key), i, item)
    {
        bool aborted = strcmp(rig_text(item, "state"), "aborted") == 0;
        if (strcmp(rig_text(item, "name"), name) == 0 && !aborted) found = item;
    }
    return found;
}

/* What a thing whose state was `state` is, by where it is listed; NONE: it is gone. */
static enum site_state state_by_lists(enum site_state state, bool is_there, bool is_trashed,
                                      bool *ret_is_right)
{
    enum site_state now = SITE_NONE;
    if (is_trashed) now = SITE_TRASHED;
    if (is_there) now = SITE_THERE;
    bool may_be_there = state == SITE_THERE || state == SITE_COMING || state == SITE_GOING ||
                        state == SITE_LEAVING || state == SITE_RETURNING;
    bool may_be_trashed = state == SITE_TRASHED || state == SITE_LEAVING || state == SITE_RETURNING;
    bool may_be_gone = state == SITE_COMING || state == SITE_GOING;
    *ret_is_right = !(is_there && is_trashed);
    if (now == SITE_THERE) *ret_is_right = *ret_is_right && may_be_there;
    if (now == SITE_TRASHED) *ret_is_right = may_be_trashed || state == SITE_GOING;
    if (now == SITE_NONE) *ret_is_right = may_be_gone;
    return now;
}

static const char *state_name(enum site_state state)
{
    static const char *const names[] = {"nowhere", "coming",       "there",    "going",
                                        "leaving", "in the trash", "returning"};
    return names[state];
}

static int find_disk(const struct site *site, const char *name)
{
    for (int i = 0; i < SITE_DISKS; i++)
        if (site->disks[i].state != SITE_NONE && strcmp(site->disks[i].name, name) == 0) return i;
    return -1;
}

static bool parse_uuid(const json_t *item, const char *key, struct uuid *ret_uuid)
{
    const char *text = rig_text(item, key);
    return *text && uuid_parse(text, ret_uuid);
}

/* A map in doubt is what it is listed as; the others must be as they were. */
static bool reconcile_luns(struct site *site, const json_t *maps, const char *name, int *lun,
                           bool *mapping)
{
    for (int h = 0; h < SITE_HOSTS; h++) {
        size_t i;
        json_t *item;
        int there = -1;
        char host[8];
        snprintf(host, sizeof host, "h%d", h);
        json_array_foreach(json_object_get(maps, "maps"), i, item)
        {
            if (strcmp(rig_text(item, "object"), name) == 0 &&
                strcmp(rig_text(item, "host"), host) == 0)
                there = (int)rig_number(item, "lun");
        }
        if (!mapping[h] && there != lun[h])
            return site_fail(site, "%s was LUN %d of host %s, and is LUN %d", name, lun[h], host,
                             there);
        lun[h] = there;
        mapping[h] = false;
    }
    return true;
}

static bool map_is_protected(const json_t *maps, int host, int lun)
{
    size_t i;
    json_t *item;
    char name[8];
    snprintf(name, sizeof name, "h%d", host);
    json_array_foreach(json_object_get(maps, "maps"), i, item)
    {
        if (strcmp(rig_text(item, "host"), name) == 0 && rig_number(item, "lun") == lun)
            return rig_number(item, "read_only") == 1;
    }
    return false;
}

static bool undo_is_known(const struct site *site, const struct uuid *uuid)
{
    for (int i = 0; i < SITE_POINTS; i++)
        if (site->points[i].state != SITE_NONE && uuid_equal(&site->points[i].uuid, uuid))
            return true;
    return false;
}

/* The undo point that nobody knew: of the revert in doubt. */
bool site_adopt_undo(struct site *site, int disk, const json_t *listed, int *ret_point)
{
    size_t i;
    json_t *item;
    struct uuid uuid;
    *ret_point = -1;
    json_array_foreach(json_object_get(listed, "undo_points"), i, item)
    {
        if (!parse_uuid(item, "uuid", &uuid) || undo_is_known(site, &uuid)) continue;
        if (strcmp(rig_text(item, "state"), "ready") != 0) continue; /* of a job under way */
        for (int p = 0; p < SITE_POINTS; p++) {
            struct site_point *point = &site->points[p];
            if (point->state != SITE_COMING || point->disk != disk ||
                !site->sets[point->set].is_undo)
                continue;
            point->uuid = uuid;
            snprintf(point->name, sizeof point->name, "%s", rig_text(item, "name"));
            *ret_point = p;
        }
        if (*ret_point < 0)
            return site_fail(site, "undo point %s of disk %s is of no revert",
                             rig_text(item, "name"), site->disks[disk].name);
    }
    return true;
}

/* After a crash: was the revert under way done? */
static bool decide_revert(struct site *site, int disk, const json_t *listed)
{
    struct site_disk *d = &site->disks[disk];
    int point;
    if (!site_adopt_undo(site, disk, listed, &point)) return false;
    if (!d->revert_write) return point < 0 || site_fail(site, "a revert that nobody asked for");
    site_trace(site, "revert of %s was %sdone", d->name, point >= 0 ? "" : "not ");
    struct site_set *set = point >= 0 ? &site->sets[site->points[point].set] : NULL;
    if (set && site->power_lost) /* a job went on after it: what was not flushed is not in it */
        set->submitted = min_of(set->submitted, site->pools[d->pool].durable);
    if (set && site->power_lost) model_write_proves_nothing(site->model, d->revert_write);
    if (point >= 0)
        model_write_durable(site->model, d->revert_write);
    else
        model_write_void(site->model, &d->view, d->revert_write);
    for (int p = 0; p < SITE_POINTS; p++) {
        struct site_point *undo = &site->points[p];
        if (undo->state != SITE_COMING || undo->disk != disk || !site->sets[undo->set].is_undo)
            continue;
        if (point < 0) site_point_forget(site, p);
        if (point < 0) break;
        undo->state = SITE_THERE;
        site->sets[undo->set].cut = true;
        site->sets[undo->set].done = model_now(site->model);
    }
    d->view.sector_count = point >= 0 ? d->revert_to : d->revert_from;
    d->revert_write = 0;
    d->frozen = d->resizing = false;
    return true;
}

static bool undo_is_listed(const json_t *listed, const struct uuid *uuid)
{
    size_t i;
    json_t *item;
    struct uuid there;
    json_array_foreach(json_object_get(listed, "undo_points"), i, item)
    {
        if (parse_uuid(item, "uuid", &there) && uuid_equal(&there, uuid)) return true;
    }
    return false;
}

/* They go with their disk only; a deletion in doubt may have begun with them. */
static bool reconcile_undos(struct site *site, int disk, const json_t *listed, bool may_go)
{
    for (int i = 0; i < SITE_POINTS; i++) {
        struct site_point *p = &site->points[i];
        bool was_trashed = p->state == SITE_TRASHED || p->state == SITE_RETURNING;
        bool goes_along = p->disk == disk && (site->sets[p->set].is_undo ? p->state == SITE_THERE
                                                                         : was_trashed && !listed);
        if (!goes_along || undo_is_listed(listed, &p->uuid)) continue;
        if (!may_go && !site->options.full) /* near full they go first, then the trash */
            return site_fail(site, "undo point %s of disk %s is gone", p->name,
                             site->disks[disk].name);
        site_point_forget(site, i);
    }
    return true;
}

static bool job_is_active(const struct listing *l, const char *verb, const char *object)
{
    size_t i;
    json_t *job;
    json_array_foreach(json_object_get(l->jobs, "jobs"), i, job)
    {
        const char *state = rig_text(job, "state");
        if (strcmp(rig_text(job, "verb"), verb) == 0 &&
            strcmp(rig_text(job, "object"), object) == 0 &&
            (strcmp(state, "running") == 0 || strcmp(state, "paused") == 0))
            return true;
    }
    return false;
}

/* The split of a snapshot: it is the disk now, with its LUNs and its content; or not yet; or will
 * never be. */
static void reconcile_becoming(struct site *site, int disk, const struct listing *l)
{
    struct site_disk *d = &site->disks[disk];
    struct site_point *p = &site->points[d->from_point];
    const json_t *item = named(l->disks, "disks", d->name);
    if (item && strcmp(rig_text(item, "state"), "ready") == 0) {
        site_trace(site, "snapshot %s is disk %s now", p->name, d->name);
        memcpy(d->lun, p->lun, sizeof d->lun);
        d->touched_ns = sim_now(site->sim); /* perhaps: the LUN is that of the branch */
        site_private_becomes(site, d->from_point, disk);
        p->state = SITE_GOING;
        site_point_forget(site, d->from_point);
    } else if (!item && !job_is_active(l, "snapshot_split", p->name) &&
               !job_is_active(l, "set_break", site->sets[p->set].name)) {
        p->is_becoming = false;
        d->from_point = -1;
        site_disk_forget(site, disk);
    }
}

static bool reconcile_disk(struct site *site, int disk, const struct listing *l, bool after_crash)
{
    struct site_disk *d = &site->disks[disk];
    if (d->from_point >= 0) reconcile_becoming(site, disk, l);
    if (d->state == SITE_NONE || d->from_point >= 0) return true;
    const json_t *item = named(l->disks, "disks", d->name);
    bool is_right;
    enum site_state was = d->state;
    enum site_state now =
        state_by_lists(was, item != NULL, named(l->trash, "trash", d->name) != NULL, &is_right);
    bool made_room = site->options.full && was == SITE_TRASHED && now == SITE_NONE;
    if (!is_right && !made_room)
        return site_fail(site, "disk %s was %s, and is %s", d->name, state_name(was),
                         state_name(now));
    d->state = now;
    d->was_going = was == SITE_GOING;
    if (now == SITE_TRASHED) return true;
    if (now == SITE_NONE) {
        reconcile_undos(site, disk, NULL, true);
        site_disk_forget(site, disk);
        return true;
    }
    if (!reconcile_undos(site, disk, item, was == SITE_GOING)) return false;
    if (strcmp(rig_text(item, "state"), "ready") != 0)
        return site_fail(site, "disk %s is %s", d->name, rig_text(item, "state"));
    if (!parse_uuid(item, "uuid", &d->uuid)) return site_fail(site, "%s has no id", d->name);
    if (after_crash && !decide_revert(site, disk, item)) return false;
    int strange; /* what was refused has left no undo point */
    if (!after_crash && !d->revert_write && !site_adopt_undo(site, disk, item, &strange))
        return false;
    uint32_t sectors = (uint32_t)((uint64_t)rig_number(item, "size_bytes") / SECTOR_BYTES);
    if (d->resizing && sectors == d->new_sectors && sectors > d->view.sector_count)
        model_view_grow(&d->view, sectors);
    d->resizing = false;
    if (sectors != d->view.sector_count)
        return site_fail(site, "disk %s has %u sectors, expected %u", d->name, sectors,
                         d->view.sector_count);
    if (!reconcile_luns(site, l->maps, d->name, d->lun, d->mapping)) return false;
    for (int h = 0; h < SITE_HOSTS; h++) {
        d->is_protected[h] = d->lun[h] >= 0 && map_is_protected(l->maps, h, d->lun[h]);
        bool expected = !d->becomes_writable && !site_wants_branch(site, h);
        if (d->has_become && d->lun[h] >= 0 && d->is_protected[h] != expected)
            return site_fail(site, "disk %s, of a snapshot, is %swrite-protected for host h%d",
                             d->name, expected ? "not " : "", h);
    }
    d->has_become = false;
    return true;
}

/* A member by the lists.  False: it is where it cannot be. */
static bool reconcile_member(struct site *site, int point, const struct listing *l,
                             enum site_state *ret_state)
{
    struct site_point *p = &site->points[point];
    const struct site_set *s = &site->sets[p->set];
    const json_t *item = named(l->snapshots, "snapshots", p->name);
    bool is_there = item && strcmp(rig_text(item, "state"), "ready") == 0, is_right;
    bool is_trashed = named(l->trash, "trash", p->name) != NULL;
    *ret_state = state_by_lists(p->state, is_there, is_trashed, &is_right);
    bool goes_along =
        site->disks[p->disk].was_going && (p->state == SITE_TRASHED || p->state == SITE_RETURNING);
    bool made_room = site->options.full && p->state != SITE_THERE;
    bool may_lapse =
        *ret_state == SITE_NONE && (s->phase < SITE_CREATED || goes_along || made_room);
    if (!is_right && !may_lapse)
        return site_fail(site, "snapshot %s of set %s was %s, and is %s", p->name, s->name,
                         state_name(p->state), state_name(*ret_state));
    if (is_there && !parse_uuid(item, "point_uuid", &p->uuid) &&
        !parse_uuid(item, "uuid", &p->uuid))
        return site_fail(site, "%s has no id", p->name);
    if (is_there) site_point_identify(site, point);
    uint32_t sectors = is_there ? (uint32_t)(rig_number(item, "size_bytes") / SECTOR_BYTES) : 0;
    if (!is_there || p->state != SITE_COMING || sectors == p->view.sector_count) return true;
    /* The disk grew, and nobody knows on which side of the cut. */
    if (sectors > p->view.sector_count && sectors == site->disks[p->disk].new_sectors)
        model_view_grow(&p->view, sectors);
    else if (sectors < p->view.sector_count && site->disks[p->disk].new_sectors == p->view.sector_count)
        p->view.sector_count = sectors;
    else
        return site_fail(site, "snapshot %s has %u sectors, expected %u", p->name, sectors,
                         p->view.sector_count);
    return true;
}

/* Which members of a set are there: while it is made, all or none. */
static bool reconcile_set(struct site *site, int set, const struct listing *l)
{
    struct site_set *s = &site->sets[set];
    enum site_state states[SITE_MEMBERS] = {SITE_NONE};
    unsigned there = 0, count = s->count;
    int points[SITE_MEMBERS];
    memcpy(points, s->points, sizeof points);
    if (!site_decide_use(site, set)) return false;
    for (unsigned i = 0; i < count; i++) {
        if (!reconcile_member(site, points[i], l, &states[i])) return false;
        there += states[i] == SITE_THERE;
    }
    if (there != 0 && there != count && (!s->cut || s->phase < SITE_CREATED))
        return site_fail(site, "half a set: %u of %u members of %s", there, count, s->name);
    if (there && !s->cut) { /* the commit in doubt was done */
        s->cut = true;
        s->done = model_now(site->model);
    }
    for (unsigned i = 0; i < count; i++) {
        struct site_point *p = &site->points[points[i]];
        p->state = states[i] == SITE_NONE ? SITE_GOING : states[i];
        if (states[i] == SITE_NONE)
            site_point_forget(site, points[i]);
        else if (!reconcile_luns(site, l->maps, p->name, p->lun, p->mapping))
            return false;
    }
    return true;
}

static bool is_named(const struct site *site, const char *name)
{
    for (int i = 0; i < SITE_POINTS; i++)
        if (site->points[i].state != SITE_NONE && strcmp(site->points[i].name, name) == 0)
            return true;
    return false;
}

/* Nothing is there that nobody made, or that was deleted; no point without a name.  A set that is
 * being made has members, and one whose lease has ended may be on its way out. */
static bool check_strangers(struct site *site, const struct listing *l)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(l->disks, "disks"), i, item)
    {
        const char *name = rig_text(item, "name");
        if (find_disk(site, name) < 0 && !site_canary_goes(site, name))
            return site_fail(site, "disk %s is there that nobody made, or that was deleted", name);
    }
    json_array_foreach(json_object_get(l->snapshots, "snapshots"), i, item)
    {
        bool ready = strcmp(rig_text(item, "state"), "ready") == 0;
        if (ready && !is_named(site, rig_text(item, "name")))
            return site_fail(site, "snapshot %s is there that nobody made, or that was deleted",
                             rig_text(item, "name"));
    }
    json_array_foreach(json_object_get(l->trash, "trash"), i, item)
    {
        const char *name = rig_text(item, "name");
        if (find_disk(site, name) < 0 && !is_named(site, name))
            return site_fail(site, "%s is in the trash, and nobody put it there", name);
    }
    json_array_foreach(json_object_get(l->pools, "pools"), i, item)
    {
        if (strcmp(rig_text(item, "state"), "ok") != 0)
            return site_fail(site, "pool %s is %s", rig_text(item, "name"),
                             rig_text(item, "state"));
        if (rig_number(item, "unclaimed_count") > 0 || rig_number(item, "unclaimed_disk_count") > 0)
            return site_fail(site, "pool %s has %lld points and %lld disks without a name",
                             rig_text(item, "name"), rig_number(item, "unclaimed_count"),
                             rig_number(item, "unclaimed_disk_count"));
    }
    return true;
}

/* A number twice on one host, or kept by two sets. */
static bool check_luns(struct site *site, const struct listing *l)
{
    size_t i, j;
    json_t *a, *b;
    json_array_foreach(json_object_get(l->maps, "maps"), i, a)
    {
        json_array_foreach(json_object_get(l->maps, "maps"), j, b)
        {
            if (j <= i || strcmp(rig_text(a, "host"), rig_text(b, "host")) != 0) continue;
            if (rig_number(a, "lun") == rig_number(b, "lun"))
                return site_fail(site, "LUN %lld of host %s twice", rig_number(a, "lun"),
                                 rig_text(a, "host"));
        }
    }
    return true;
}

/* Rules of sets, by their states (set_check.c has them too). */
static bool check_states(struct site *site, const struct listing *l)
{
    size_t i;
    json_t *set;
    json_array_foreach(json_object_get(l->sets, "sets"), i, set)
    {
        const char *state = rig_text(set, "state");
        size_t j;
        json_t *member;
        bool aborted = strcmp(state, "aborted") == 0;
        bool cut = !aborted && strcmp(state, "prepared") != 0 && strcmp(state, "armed") != 0 &&
                   strcmp(state, "broken") != 0 && strcmp(state, "trashed") != 0;
        json_array_foreach(json_object_get(set, "members"), j, member)
        {
            const json_t *snapshot = named(l->snapshots, "snapshots", rig_text(member, "snapshot"));
            bool ready = snapshot && strcmp(rig_text(snapshot, "state"), "ready") == 0;
            bool on_its_way = snapshot && strcmp(rig_text(snapshot, "state"), "deleting") == 0 &&
                              !is_named(site, rig_text(member, "snapshot"));
            if (ready != cut && !on_its_way)
                return site_fail(site, "set %s is %s, but its member %s is %s",
                                 rig_text(set, "name"), state, rig_text(member, "snapshot"),
                                 snapshot ? rig_text(snapshot, "state") : "not there");
        }
    }
    return true;
}

static bool reconcile_content(struct site *site)
{
    struct model_bound bound = {
        .floor = model_tick(site->model), .count_durable = true, .count_seen = true};
    if (!site_resolve_sets(site)) return false;
    if (!site->power_lost)
        return site_resolve_live(site, -1, &bound, "after a process crash") &&
               site_verify_exact_points(site);
    for (int i = 0; i < SITE_POOLS; i++) {
        bound = (struct model_bound){.floor = site->pools[i].durable, .count_durable = true};
        if (!site_resolve_live(site, i, &bound, "after power loss")) return false;
    }
    return site_verify_exact_points(site);
}

/* A branch in doubt that is there begins as its point. */
static void adopt_branches(struct site *site)
{
    for (int i = 0; i < SITE_DISKS; i++) {
        struct site_disk *d = &site->disks[i];
        if (d->state != SITE_COMING || d->parent_point < 0) continue;
        model_view_fini(&d->view);
        model_view_copy(&site->points[d->parent_point].view, &d->view);
    }
}

bool site_reconcile(struct site *site, bool after_crash)
{
    struct listing l = {0};
    bool ok = (!after_crash || site_await_jobs(site)) && site_list_all(site, &l);
    if (ok && after_crash) {
        for (int i = 0; i < SITE_SETS; i++)
            if (site->sets[i].used && site->sets[i].phase < SITE_CREATED && !site->sets[i].is_undo)
                site->sets[i].abandoned = true; /* its client has lost its way */
        adopt_branches(site);
    }
    for (int i = 0; ok && i < SITE_DISKS; i++)
        if (site->disks[i].state != SITE_NONE && site->disks[i].private_of < 0)
            ok = reconcile_disk(site, i, &l, after_crash);
    for (int i = 0; ok && i < SITE_SETS; i++)
        if (site->sets[i].used && !site->sets[i].is_undo) ok = reconcile_set(site, i, &l);
    ok = ok && check_strangers(site, &l) && check_luns(site, &l) && check_states(site, &l) &&
         site_check_verified(site, l.jobs);
    site_unlist(&l);
    site_private_sync(site);
    ok = ok && !site->failed;
    if (ok && after_crash) ok = reconcile_content(site);
    for (int i = 0; ok && after_crash && i < SITE_POOLS; i++) {
        site_made_durable(site, i, model_tick(site->model));
        site->pools[i].unflushed = 0;
    }
    return ok;
}
