/* Whole sets at a host, and snapshots that are kept, verified and cut anew (site.h). */
#include <stdio.h>
#include <string.h>

#include "control/host_int.h"
#include "tests/sim/site_int.h"
#include "tests/unit/control_rig.h"

/* ---- What no list of the server says ----------------------------------------------------------
 */

static struct snapshot *snapshot_of(const struct site *site, const char *name)
{
    list_for_each (node, &site->control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (strcmp(s->row.name, name) == 0 && s->row.state == SNAPSHOT_READY) return s;
    }
    return NULL;
}

/* An updated snapshot is another point of the engine than the one it was named after. */
void site_point_identify(struct site *site, int point)
{
    const struct snapshot *s = snapshot_of(site, site->points[point].name);
    if (s) site->points[point].uuid = s->row.point;
}

void site_snapshot_id(const struct site *site, int point, struct uuid *ret_uuid)
{
    const struct snapshot *s = snapshot_of(site, site->points[point].name);
    if (s) *ret_uuid = s->row.uuid;
}

static int lun_at(const struct site *site, int point, int host)
{
    char name[16];
    const struct snapshot *s = snapshot_of(site, site->points[point].name);
    snprintf(name, sizeof name, "h%d", host);
    list_for_each (node, &site->control->hosts) {
        struct host *h = container_of(list_entry(node, struct object, link), struct host, object);
        const struct map *map =
            s && strcmp(h->row.name, name) == 0 ? host_map_of(h, &s->row.uuid) : NULL;
        if (map) return (int)map->row.lun;
    }
    return -1;
}

/* ---- Import and mask --------------------------------------------------------------------------
 */

/* Created and whole, with nothing under way. */
static bool set_is_still(const struct site *site, int set)
{
    const struct site_set *s = &site->sets[set];
    if (!s->used || s->is_undo || s->busy || s->abandoned || !s->cut || !s->count ||
        s->phase != SITE_CREATED)
        return false;
    for (unsigned i = 0; i < s->count; i++) {
        const struct site_point *p = &site->points[s->points[i]];
        if (p->state != SITE_THERE || p->is_becoming) return false;
        for (unsigned h = 0; h < SITE_HOSTS; h++)
            if (p->mapping[h]) return false;
    }
    return true;
}

/* -1: none. */
static int pick_set(struct site *site)
{
    unsigned first = site_draw(site, SITE_SETS);
    for (unsigned n = 0; n < SITE_SETS; n++) {
        int set = (int)((first + n) % SITE_SETS);
        if (set_is_still(site, set)) return set;
    }
    return -1;
}

/* All members at that host, or as before; at the other as before anyhow. */
static void set_shown(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_set *s = &site->sets[call->set];
    bool is_import = strcmp(call->call.verb, "set_import") == 0;
    s->busy = false;
    for (unsigned i = 0; i < s->count; i++) {
        struct site_point *p = &site->points[s->points[i]];
        p->mapping[call->host] = false;
        for (int h = 0; h < SITE_HOSTS; h++) {
            int lun = lun_at(site, s->points[i], h);
            if (p->mapping[h]) continue;
            if (h == call->host && ok && (is_import ? lun > 0 : lun < 0)) p->lun[h] = lun;
            if (lun != p->lun[h] || (h == call->host && ok && is_import && lun < 0))
                site_fail(site, "%s of set %s at host h%d: %s is LUN %d of h%d, was %d",
                          call->call.verb, s->name, call->host, p->name, lun, h, p->lun[h]);
        }
    }
}

static void show_set(struct site *site, struct site_call *call, const char *verb)
{
    char host[16];
    int set = pick_set(site);
    if (set < 0) return;
    struct site_set *s = &site->sets[set];
    int at = (int)site_draw(site, SITE_HOSTS);
    if (site_wants_branch(site, at)) {
        for (unsigned i = 0; i < s->count; i++)
            if (!site->points[s->points[i]].exact && !site_resolve_set(site, set)) return;
        if (!set_is_still(site, set) || !site_private_room(site, s->points, s->count)) return;
    }
    call->set = set;
    call->host = at;
    snprintf(host, sizeof host, "h%d", call->host);
    s->busy = true;
    for (unsigned i = 0; i < s->count; i++)
        site->points[s->points[i]].mapping[call->host] = true;
    s->showing = call->host + 1;
    site_call_start(call, verb, json_pack("{s:s, s:s}", "name", s->name, "host", host), set_shown);
}

void site_do_import(struct site *site, struct site_call *call)
{
    show_set(site, call, "set_import");
}

void site_do_mask(struct site *site, struct site_call *call)
{
    show_set(site, call, "set_mask");
}

/* ---- Kept until a time ------------------------------------------------------------------------
 */

bool site_check_kept(struct site *site, int point)
{
    const struct site_point *p = &site->points[point];
    return p->kept_until_ns <= sim_now(site->sim) ||
           site_fail(site, "snapshot %s went, and is to be kept", p->name);
}

static void retained(struct site_call *call, bool ok)
{
    struct site_point *p = &call->site->points[call->point];
    if (ok && p->state == SITE_THERE) p->kept_until_ns = max_of(p->kept_until_ns, call->until_ns);
    if (p->busy) p->busy--;
}

void site_do_retain(struct site *site, struct site_call *call)
{
    char period[16];
    unsigned seconds = 1 + site_draw(site, 20);
    call->point = site_pick_point(site, false);
    if (call->point < 0) return;
    site->points[call->point].busy++; /* nobody else begins to delete it */
    call->until_ns = sim_now(site->sim) + seconds * RT_SECOND;
    snprintf(period, sizeof period, "%us", seconds);
    site_call_start(call, "snapshot_retain",
                    json_pack("{s:s, s:s}", "name", site->points[call->point].name, "for", period),
                    retained);
}

/* ---- Verified ---------------------------------------------------------------------------------
 */

static void verify_began(struct site_call *call, bool ok)
{
    const char *id = rig_text(call->call.result, "job.id");
    if (ok && *id) snprintf(call->site->last_job, sizeof call->site->last_job, "%s", id);
}

void site_do_snapshot_verify(struct site *site, struct site_call *call)
{
    int point = site_pick_point(site, false);
    if (point < 0) return;
    site_call_start(call, "snapshot_verify", json_pack("{s:s}", "name", site->points[point].name),
                    verify_began);
}

bool site_check_verified(struct site *site, const json_t *jobs)
{
    size_t i;
    json_t *job;
    if (site->options.faults) return true; /* it may have seen a read fail */
    json_array_foreach(json_object_get(jobs, "jobs"), i, job)
    {
        char *text = strcmp(rig_text(job, "verb"), "snapshot_verify") == 0
                         ? json_dumps(job, JSON_COMPACT)
                         : NULL;
        if (text && strstr(text, "damaged")) site_fail(site, "not as verified first: %s", text);
        free(text);
    }
    return !site->failed;
}

/* ---- Cut anew ---------------------------------------------------------------------------------
 */

static bool is_in_use(const struct site *site, int set)
{
    const struct site_set *s = &site->sets[set];
    for (unsigned i = 0; i < SITE_CALLS; i++) {
        const struct site_call *call = &site->calls[i];
        if (call->busy && call->point >= 0 && site->points[call->point].set == set) return true;
    }
    for (unsigned i = 0; i < s->count; i++) {
        const struct site_point *p = &site->points[s->points[i]];
        const struct site_disk *d = &site->disks[p->disk];
        if (p->busy || site_point_is_mapped(p) || d->state != SITE_THERE || d->frozen) return true;
    }
    return false;
}

static void updated(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_set *s = &site->sets[call->set];
    json_t *members = json_object_get(call->call.result, "members");
    bool is_single = strcmp(call->call.verb, "snapshot_update") == 0;
    s->busy = false;
    for (unsigned i = 0; i < s->count; i++) {
        struct site_point *p = &site->points[s->points[i]];
        p->is_becoming = p->is_updating = false;
        if (!ok) continue;
        if (p->kept_until_ns > sim_now(site->sim))
            site_fail(site, "snapshot %s was updated, and is to be kept", p->name);
        model_view_fini(&p->view);
        p->exact = false;
    }
    if (!ok) return;
    s->submitted = call->submitted;
    site_set_was_cut(site, call->set);
    members = is_single ? json_pack("[O]", call->call.result) : json_incref(members);
    site_take_ids(site, call->set, members, is_single ? "name" : "snapshot",
                  is_single ? "uuid" : "snapshot_uuid");
    json_decref(members);
}

void site_do_update(struct site *site, struct site_call *call)
{
    int set = pick_set(site), disks[SITE_MEMBERS];
    if (set < 0 || is_in_use(site, set)) return;
    struct site_set *s = &site->sets[set];
    for (unsigned i = 0; i < s->count; i++)
        disks[i] = site->points[s->points[i]].disk;
    s->busy = true;
    site_stir(site, disks, s->count);
    if (site->crashed || site->failed) return;
    s->busy = false;
    if (!set_is_still(site, set) || is_in_use(site, set)) return;
    for (unsigned i = 0; i < s->count; i++)
        site->points[s->points[i]].is_becoming = site->points[s->points[i]].is_updating = true;
    s->busy = true;
    call->set = set;
    call->point = -1;
    bool single = s->count == 1;
    site_call_start(call, single ? "snapshot_update" : "set_update",
                    json_pack("{s:s}", "name", single ? site->points[s->points[0]].name : s->name),
                    updated);
}

/* ---- Let go of --------------------------------------------------------------------------------
 */

static void break_began(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_set *s = &site->sets[call->set];
    for (unsigned i = 0; ok && i < s->count; i++)
        if (site->points[s->points[i]].kept_until_ns > sim_now(site->sim))
            site_fail(site, "set %s is being broken, and %s is to be kept", s->name,
                      site->points[s->points[i]].name);
    const char *id = rig_text(call->call.result, "job.id");
    if (ok && *id) snprintf(site->last_job, sizeof site->last_job, "%s", id);
    for (int i = 0; !ok && i < SITE_DISKS; i++) {
        int point = site->disks[i].from_point;
        if (site->disks[i].state != SITE_COMING || point < 0 ||
            site->points[point].set != call->set)
            continue;
        site->points[point].is_becoming = false;
        site_disk_forget(site, i);
    }
}

/* Its snapshots become disks of their names, with their LUNs and their content. */
void site_do_break(struct site *site, struct site_call *call)
{
    int set = pick_set(site);
    if (set < 0) return;
    struct site_set *s = &site->sets[set];
    bool is_writable = site_draw(site, 2);
    unsigned free_count = 0;
    for (int i = 0; i < SITE_OWN_DISKS; i++)
        free_count += site->disks[i].state == SITE_NONE;
    if (free_count < s->count) return;
    if (!site->points[s->points[0]].exact && !site_resolve_set(site, set)) return;
    if (!set_is_still(site, set)) return;
    for (unsigned i = 0; i < s->count; i++) {
        const struct site_point *p = &site->points[s->points[i]];
        int private = site_private_of(site, s->points[i]);
        unsigned of_private = private < 0 ? 0 : site->disks[private].busy;
        if (!p->exact || p->busy > of_private || site->disks[p->disk].state != SITE_THERE) return;
    }
    for (unsigned i = 0; i < s->count; i++) {
        struct site_point *p = &site->points[s->points[i]];
        struct site_disk *d = &site->disks[site_free_disk(site)];
        d->number = ++site->disk_number;
        d->pool = site->disks[p->disk].pool;
        d->state = SITE_COMING;
        d->from_point = s->points[i];
        d->becomes_writable = is_writable;
        memcpy(d->name, p->name, sizeof d->name - 1);
        model_view_copy(&p->view, &d->view);
        p->is_becoming = true;
    }
    call->set = set;
    site_call_start(call, "set_break",
                    json_pack("{s:s, s:b}", "name", s->name, "writable", is_writable), break_began);
}

/* ---- After a crash ----------------------------------------------------------------------------
 */

void site_update_dropped(struct site_call *call)
{
    struct site *site = call->site;
    struct site_set *s = &site->sets[call->set];
    for (unsigned i = 0; i < s->count; i++) {
        struct site_point *p = &site->points[s->points[i]];
        if (!p->is_updating || p->next.cells) continue;
        model_view_copy(&site->disks[p->disk].view, &p->next);
        s->next_submitted = call->submitted;
    }
}

static bool take_next(struct site *site, int point, uint32_t sectors)
{
    struct site_point *p = &site->points[point];
    model_view_fini(&p->view);
    p->view = p->next;
    p->next = (struct model_view){0};
    p->exact = false;
    if (sectors == p->view.sector_count) return true;
    if (sectors < p->view.sector_count || sectors != site->disks[p->disk].new_sectors)
        return site_fail(site, "snapshot %s has %u sectors after its update, expected %u", p->name,
                         sectors, p->view.sector_count);
    model_view_grow(&p->view, sectors);
    return true;
}

/* An update in doubt was made of all members, or of none. */
static bool decide_update(struct site *site, int set)
{
    struct site_set *s = &site->sets[set];
    unsigned asked = 0, made = 0;
    for (unsigned i = 0; i < s->count; i++) {
        struct site_point *p = &site->points[s->points[i]];
        const struct snapshot *there = snapshot_of(site, p->name);
        if (!p->is_updating || !there) continue;
        asked++;
        p->is_updating = p->is_becoming = false;
        bool is_new = !uuid_equal(&there->row.point, &p->uuid);
        made += is_new;
        if (is_new && p->kept_until_ns > sim_now(site->sim))
            return site_fail(site, "snapshot %s was updated, and is to be kept", p->name);
        if (is_new &&
            !take_next(site, s->points[i], (uint32_t)(there->row.size_bytes / SECTOR_BYTES)))
            return false;
        model_view_fini(&p->next);
    }
    if (made) s->submitted = s->next_submitted;
    if (asked) site_trace(site, "update of %s was %sdone", s->name, made ? "" : "not ");
    return made == 0 || made == asked ||
           site_fail(site, "half an update: %u of %u members of %s", made, asked, s->name);
}

/* A set's LUNs appear and go together. */
static bool decide_showing(struct site *site, int set)
{
    struct site_set *s = &site->sets[set];
    int host = s->showing - 1;
    unsigned there = 0, before = 0, count = 0;
    s->showing = 0;
    for (unsigned i = 0; host >= 0 && i < s->count; i++) {
        const struct site_point *p = &site->points[s->points[i]];
        if (!p->mapping[host]) return true; /* it was answered */
        count++;
        before += p->lun[host] >= 0;
        there += lun_at(site, s->points[i], host) >= 0;
    }
    return there == count || there == 0 || there == before ||
           site_fail(site, "half of set %s at host h%d: %u of %u members, %u before", s->name, host,
                     there, count, before);
}

bool site_decide_use(struct site *site, int set)
{
    return decide_update(site, set) && decide_showing(site, set);
}
