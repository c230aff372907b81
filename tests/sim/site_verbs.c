/* Control calls: drawn, several in flight, each with what it means to the model (site.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/site_int.h"
#include "tests/unit/control_rig.h"

enum { DISK_BLOCKS_MAX = 768, FULL_BLOCKS_MAX = 6000, UNDO_POINTS_MAX = 8 };

/* ---- Calls ----------------------------------------------------------------------------------- */

static bool call_is_free(struct site *site)
{
    for (unsigned i = 0; i < SITE_CALLS; i++)
        if (!site->calls[i].busy) return true;
    return false;
}

static struct site_call *call_get(struct site *site)
{
    if (!site_wait(site, call_is_free, "a verb")) return NULL;
    for (unsigned i = 0; i < SITE_CALLS; i++) {
        if (site->calls[i].busy) continue;
        site->calls[i] =
            (struct site_call){.site = site, .disk = -1, .point = -1, .set = -1, .host = -1};
        return &site->calls[i];
    }
    return NULL;
}

/* Refusals that are never right: the server is broken, or the test asks nonsense. */
static bool is_broken(enum status status)
{
    static const enum status broken[] = {
        STATUS_INTERNAL,     STATUS_BLOCK_CORRUPT, STATUS_READ_FAILED, STATUS_WRITE_FAILED,
        STATUS_FLUSH_FAILED, STATUS_POOL_FAILED,   STATUS_OS_ERROR,    STATUS_POOL_DAMAGED,
        STATUS_NO_MEMORY,    STATUS_INVALID_FIELD, STATUS_DENIED};
    for (unsigned i = 0; i < countof(broken); i++)
        if (broken[i] == status) return true;
    return false;
}

static void verb_answered(struct control_call *control_call)
{
    struct site_call *call = control_call->arg;
    struct site *site = call->site;
    char text[400] = "ok";
    bool ok = !control_call->error;
    model_tick(site->model);
    if (!ok) err_text(control_call->error, text, sizeof text);
    site_trace(site, "  %s (from %u): %s", control_call->verb, call->submitted, text);
    bool deletes = strcmp(control_call->verb, "snapshot_delete") == 0 ||
                   strcmp(control_call->verb, "set_delete") == 0 ||
                   strcmp(control_call->verb, "disk_delete") == 0 ||
                   strcmp(control_call->verb, "trash_empty") == 0;
    if (!ok && (is_broken(err_status(control_call->error)) ||
                (deletes && err_status(control_call->error) == STATUS_POOL_FULL)))
        site_fail(site, "%s: %s", control_call->verb, text);
    call->busy = false;
    site->verbs_ok += ok;
    site->verbs_refused += !ok;
    site->full += !ok && err_status(control_call->error) == STATUS_POOL_FULL;
    site->done_by_verb[call->number] += ok;
    call->answer(call, ok);
    err_free(control_call->error);
    json_decref(control_call->result);
    json_decref(control_call->arguments);
}

void site_call_start(struct site_call *call, const char *verb, json_t *arguments,
                     site_answer_fn *answer)
{
    struct site *site = call->site;
    check(arguments != NULL);
    char *text = site->options.trace ? json_dumps(arguments, JSON_COMPACT) : NULL;
    call->busy = true;
    call->answer = answer;
    call->submitted = model_tick(site->model);
    call->call = (struct control_call){.verb = verb,
                                       .actor = {.name = "client", .role = CONTROL_ROLE_ADMIN},
                                       .arguments = arguments,
                                       .done = verb_answered,
                                       .arg = call};
    site_trace(site, "%s %s at %u", verb, text ? text : "", call->submitted);
    free(text);
    control_submit(site->control, &call->call);
}

/* ---- Picking --------------------------------------------------------------------------------- */

unsigned site_draw(struct site *site, unsigned below)
{
    return (unsigned)prng_below(&site->prng, below);
}

static int pick_disk(struct site *site)
{
    unsigned first = site_draw(site, SITE_DISKS);
    for (unsigned n = 0; n < SITE_DISKS; n++) {
        int i = (int)((first + n) % SITE_DISKS);
        if (site->disks[i].state == SITE_THERE) return i;
    }
    return -1;
}

static int free_disk(const struct site *site)
{
    for (int i = 0; i < SITE_DISKS; i++)
        if (site->disks[i].state == SITE_NONE) return i;
    return -1;
}

static bool is_undo(const struct site *site, int point)
{
    return site->sets[site->points[point].set].is_undo;
}

/* A point of a set that nothing will take away. */
static int pick_point(struct site *site, bool with_undo)
{
    unsigned first = site_draw(site, SITE_POINTS);
    for (unsigned n = 0; n < SITE_POINTS; n++) {
        int i = (int)((first + n) % SITE_POINTS);
        const struct site_point *p = &site->points[i];
        if (p->state != SITE_THERE || site->sets[p->set].phase != SITE_CREATED || p->is_becoming)
            continue;
        if (with_undo || !is_undo(site, i)) return i;
    }
    return -1;
}

int site_free_set(const struct site *site)
{
    for (int i = 0; i < SITE_SETS; i++)
        if (!site->sets[i].used) return i;
    return -1;
}

static int free_point(const struct site *site)
{
    for (int i = 0; i < SITE_POINTS; i++)
        if (site->points[i].state == SITE_NONE) return i;
    return -1;
}

unsigned site_free_points(const struct site *site)
{
    unsigned count = 0;
    for (int i = 0; i < SITE_POINTS; i++)
        count += site->points[i].state == SITE_NONE;
    return count;
}

static int new_point(struct site *site, int set, int disk)
{
    struct site_set *s = &site->sets[set];
    int i = free_point(site);
    struct site_point *p = &site->points[i];
    p->state = SITE_COMING;
    p->disk = disk;
    p->set = set;
    s->points[s->count++] = i;
    return i;
}

/* ---- Disks ----------------------------------------------------------------------------------- */

static void disk_created(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_disk *d = &site->disks[call->disk];
    if (!ok) {
        site_disk_forget(site, call->disk);
        return;
    }
    d->state = SITE_THERE;
    if (!uuid_parse(rig_text(call->call.result, "uuid"), &d->uuid))
        site_fail(site, "a new disk has no id");
}

static void do_disk_create(struct site *site, struct site_call *call)
{
    int i = free_disk(site);
    if (i < 0) return;
    struct site_disk *d = &site->disks[i];
    uint32_t blocks = 256 + site_draw(site, site->options.full ? FULL_BLOCKS_MAX : DISK_BLOCKS_MAX);
    d->number = ++site->disk_number;
    d->pool = (int)site_draw(site, SITE_POOLS);
    if (site->options.full && site_draw(site, 4)) d->pool = 0;
    d->state = SITE_COMING;
    snprintf(d->name, sizeof d->name, "d%u", d->number);
    model_view_init(&d->view, blocks * SECTORS_PER_BLOCK);
    call->disk = i;
    site_call_start(call, "disk_create",
                    json_pack("{s:s, s:s, s:I}", "name", d->name, "pool", site->pools[d->pool].name,
                              "size", (json_int_t)blocks * BLOCK_BYTES),
                    disk_created);
}

static bool has_points(const struct site *site, int disk)
{
    for (int i = 0; i < SITE_POINTS; i++)
        if (site->points[i].state == SITE_THERE && site->points[i].disk == disk &&
            !is_undo(site, i) && site->sets[site->points[i].set].phase == SITE_CREATED)
            return true;
    return false;
}

static void disk_deleted(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_disk *d = &site->disks[call->disk];
    if (!ok || d->state == SITE_LEAVING) {
        d->state = ok ? SITE_TRASHED : SITE_THERE;
        return;
    }
    if (has_points(site, call->disk))
        site_fail(site, "disk %s was deleted under its snapshots", d->name);
    for (int i = 0; i < SITE_POINTS; i++)
        if (site->points[i].state != SITE_NONE && site->points[i].disk == call->disk)
            site_point_forget(site, i);
    site_disk_forget(site, call->disk);
}

static void do_disk_delete(struct site *site, struct site_call *call)
{
    int i = pick_disk(site);
    if (i < 0 || site->disks[i].resizing || site->disks[i].busy) return;
    for (unsigned h = 0; h < SITE_HOSTS; h++)
        if (site->disks[i].lun[h] >= 0 || site->disks[i].mapping[h]) return;
    call->disk = i;
    bool for_good = site_draw(site, 2);
    site->disks[i].state = for_good ? SITE_GOING : SITE_LEAVING;
    site_call_start(call, "disk_delete",
                    json_pack("{s:s, s:b}", "name", site->disks[i].name, "now", for_good),
                    disk_deleted);
}

static void disk_grown(struct site_call *call, bool ok)
{
    struct site_disk *d = &call->site->disks[call->disk];
    d->resizing = false;
    if (ok) model_view_grow(&d->view, d->new_sectors);
}

static void do_disk_grow(struct site *site, struct site_call *call)
{
    int i = pick_disk(site);
    struct site_disk *d = i < 0 ? NULL : &site->disks[i];
    if (!d || d->resizing) return;
    uint32_t to = d->view.sector_count + (1 + site_draw(site, 32)) * SECTORS_PER_BLOCK;
    if (to > 2 * DISK_BLOCKS_MAX * SECTORS_PER_BLOCK) return;
    call->disk = i;
    d->resizing = true;
    d->new_sectors = to;
    site_call_start(call, "disk_grow",
                    json_pack("{s:s, s:I}", "name", d->name, "size", (json_int_t)to * SECTOR_BYTES),
                    disk_grown);
}

/* ---- Maps ------------------------------------------------------------------------------------ */

static void mapped(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    int *lun = call->disk >= 0 ? site->disks[call->disk].lun : site->points[call->point].lun;
    bool *mapping =
        call->disk >= 0 ? site->disks[call->disk].mapping : site->points[call->point].mapping;
    mapping[call->host] = false;
    if (!ok) return;
    lun[call->host] = (int)rig_number(call->call.result, "lun");
    if (lun[call->host] <= 0) site_fail(site, "a map has LUN %d", lun[call->host]);
}

static void unmapped(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    int *lun = call->disk >= 0 ? site->disks[call->disk].lun : site->points[call->point].lun;
    bool *mapping =
        call->disk >= 0 ? site->disks[call->disk].mapping : site->points[call->point].mapping;
    mapping[call->host] = false;
    if (ok) lun[call->host] = -1;
}

static void change_map(struct site *site, struct site_call *call, const char *kind,
                       const char *name, int *lun, bool *mapping, unsigned keep_of_8)
{
    char host[8];
    call->host = (int)site_draw(site, SITE_HOSTS);
    snprintf(host, sizeof host, "h%d", call->host);
    if (mapping[call->host]) return;
    if (lun[call->host] < 0) {
        mapping[call->host] = true;
        site_call_start(call, "map_add", json_pack("{s:s, s:s}", "host", host, kind, name), mapped);
    } else if (site_draw(site, 8) >= keep_of_8) {
        mapping[call->host] = true;
        site_call_start(call, "map_remove",
                        json_pack("{s:s, s:i}", "host", host, "lun", lun[call->host]), unmapped);
    }
}

static void do_map_disk(struct site *site, struct site_call *call)
{
    call->disk = pick_disk(site);
    if (call->disk < 0) return;
    struct site_disk *d = &site->disks[call->disk];
    change_map(site, call, "disk", d->name, d->lun, d->mapping, 6);
}

static void do_map_snapshot(struct site *site, struct site_call *call)
{
    call->point = pick_point(site, false);
    if (call->point < 0) return;
    struct site_point *p = &site->points[call->point];
    change_map(site, call, "snapshot", p->name, p->lun, p->mapping, 3);
}

/* ---- Snapshots ------------------------------------------------------------------------------- */

/* All of a set's points at once, as the call answers. */
void site_set_was_cut(struct site *site, int set)
{
    struct site_set *s = &site->sets[set];
    s->cut = true;
    s->done = model_now(site->model);
    site->cuts++;
    for (unsigned i = 0; i < s->count; i++) {
        struct site_point *p = &site->points[s->points[i]];
        p->state = SITE_THERE;
        model_view_copy(&site->disks[p->disk].view, &p->view);
        site_made_durable(site, site->disks[p->disk].pool, s->submitted);
    }
}

void site_forget_points(struct site *site, int set)
{
    struct site_set *s = &site->sets[set];
    while (s->used && s->count > 0)
        site_point_forget(site, s->points[0]);
    s->used = false;
}

/* The engine's ids: as the server lists them. */
void site_take_ids(struct site *site, int set, const json_t *array, const char *name_key,
                   const char *id_key)
{
    struct site_set *s = &site->sets[set];
    for (unsigned i = 0; i < s->count; i++) {
        struct site_point *p = &site->points[s->points[i]];
        size_t j;
        json_t *item;
        bool found = false;
        json_array_foreach(array, j, item)
        {
            if (strcmp(rig_text(item, name_key), p->name) != 0) continue;
            found = uuid_parse(rig_text(item, "point_uuid"), &p->uuid) ||
                    uuid_parse(rig_text(item, id_key), &p->uuid);
            uint32_t sectors = (uint32_t)(rig_number(item, "size_bytes") / SECTOR_BYTES);
            struct site_disk *d = &site->disks[p->disk];
            if (sectors == p->view.sector_count) continue;
            if (d->resizing && sectors == d->new_sectors && sectors > p->view.sector_count)
                model_view_grow(&p->view, sectors); /* grown on the other side of the cut */
            else if (sectors < p->view.sector_count && d->new_sectors == p->view.sector_count)
                p->view.sector_count = sectors;
        }
        if (!found) site_fail(site, "snapshot %s was made, but is not in the answer", p->name);
    }
}

static void snapshot_created(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    if (!ok) {
        site_forget_points(site, call->set);
        return;
    }
    site_set_was_cut(site, call->set);
    site_take_ids(site, call->set, json_object_get(call->call.result, "snapshots"), "name", "uuid");
}

/* Up to four disks, of several pools as well; none twice. */
unsigned site_draw_disks(struct site *site, int disks[SITE_MEMBERS])
{
    unsigned count = 0, wanted = 1 + site_draw(site, SITE_MEMBERS),
             first = site_draw(site, SITE_DISKS);
    for (unsigned n = 0; n < SITE_DISKS && count < wanted; n++) {
        int i = (int)((first + n) % SITE_DISKS);
        const struct site_disk *d = &site->disks[i];
        if (d->state == SITE_THERE && !d->frozen) disks[count++] = i;
    }
    if (count && site_draw(site, 2)) { /* of one pool only */
        unsigned kept = 1;
        for (unsigned i = 1; i < count; i++)
            if (site->disks[disks[i]].pool == site->disks[disks[0]].pool) disks[kept++] = disks[i];
        count = kept;
    }
    return count;
}

json_t *site_names_of(const struct site *site, const int *disks, unsigned count)
{
    json_t *names = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(names, json_string(site->disks[disks[i]].name));
    return names;
}

int site_new_set(struct site *site, const char *prefix)
{
    int set = site_free_set(site);
    struct site_set *s = &site->sets[set];
    *s = (struct site_set){.used = true};
    snprintf(s->name, sizeof s->name, "%s%u", prefix, ++site->set_number);
    return set;
}

void site_add_points(struct site *site, int set, const int *disks, unsigned count, bool is_single)
{
    struct site_set *s = &site->sets[set];
    for (unsigned i = 0; i < count; i++) {
        struct site_point *p = &site->points[new_point(site, set, disks[i])];
        char name[sizeof p->name];
        if (is_single)
            snprintf(name, sizeof name, "%s", s->name);
        else
            snprintf(name, sizeof name, "%s-%s", s->name, site->disks[disks[i]].name);
        memcpy(p->name, name, sizeof name);
    }
}

static void do_snapshot_create(struct site *site, struct site_call *call)
{
    int disks[SITE_MEMBERS];
    unsigned count = site_draw_disks(site, disks);
    if (count == 0 || site_free_set(site) < 0 || site_free_points(site) < count) return;
    call->set = site_new_set(site, "n");
    struct site_set *s = &site->sets[call->set];
    s->phase = SITE_CREATED;
    site_add_points(site, call->set, disks, count, count == 1);
    s->submitted = model_tick(site->model);
    site_call_start(
        call, "snapshot_create",
        json_pack("{s:s, s:o}", "name", s->name, "disks", site_names_of(site, disks, count)),
        snapshot_created);
}

static void snapshot_deleted(struct site_call *call, bool ok)
{
    struct site_point *p = &call->site->points[call->point];
    if (!ok || p->state == SITE_LEAVING)
        p->state = ok ? SITE_TRASHED : SITE_THERE;
    else
        site_point_forget(call->site, call->point);
}

bool site_point_is_mapped(const struct site_point *p)
{
    for (unsigned h = 0; h < SITE_HOSTS; h++)
        if (p->lun[h] >= 0 || p->mapping[h]) return true;
    return false;
}

static void do_snapshot_delete(struct site *site, struct site_call *call)
{
    int i = pick_point(site, false);
    if (i < 0 || site->points[i].busy || site_point_is_mapped(&site->points[i])) return;
    if (site_draw(site, 2) && !site->points[i].exact &&
        !site_resolve_set(site, site->points[i].set))
        return;
    if (site->points[i].state != SITE_THERE || site->points[i].busy || call->busy) return;
    call->point = i;
    bool for_good = site_draw(site, 2);
    site->points[i].state = for_good ? SITE_GOING : SITE_LEAVING;
    site_call_start(call, "snapshot_delete",
                    json_pack("{s:s, s:b}", "name", site->points[i].name, "now", for_good),
                    snapshot_deleted);
}

static void branched(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_disk *d = &site->disks[call->disk];
    site->points[call->point].busy--;
    if (!ok) {
        site_disk_forget(site, call->disk);
        return;
    }
    d->state = SITE_THERE;
    if (!uuid_parse(rig_text(call->call.result, "uuid"), &d->uuid))
        site_fail(site, "a new branch has no id");
}

static void do_branch(struct site *site, struct site_call *call)
{
    int point = pick_point(site, false);
    if (point < 0) return;
    struct site_point *p = &site->points[point];
    if (!p->exact && !site_resolve_set(site, p->set)) return;
    int i = free_disk(site);
    if (i < 0 || p->state != SITE_THERE || !p->exact || call->busy) return;
    struct site_disk *d = &site->disks[i];
    d->number = ++site->disk_number;
    d->pool = site->disks[p->disk].pool;
    d->state = SITE_COMING;
    d->parent_point = point;
    snprintf(d->name, sizeof d->name, "d%u", d->number);
    model_view_copy(&p->view, &d->view);
    p->busy++;
    call->disk = i;
    call->point = point;
    site_call_start(call, "snapshot_branch",
                    json_pack("{s:s, s:s}", "name", p->name, "new_name", d->name), branched);
}

/* ---- Revert and undo ------------------------------------------------------------------------- */

static void fill_undo_view(struct site *site, int disk)
{
    struct site_disk *d = &site->disks[disk];
    for (int i = 0; i < SITE_POINTS; i++) {
        struct site_point *p = &site->points[i];
        if (p->state != SITE_COMING || p->disk != disk || !is_undo(site, i) || p->view.cells)
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
    fill_undo_view(site, call->disk);
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
        count += site->points[i].state != SITE_NONE && is_undo(site, i);
    return count;
}

/* Among commands under way; only where the size changes, alone. */
static void do_revert(struct site *site, struct site_call *call)
{
    int point = pick_point(site, true);
    if (point < 0 || undo_points(site) >= UNDO_POINTS_MAX) return;
    struct site_point *p = &site->points[point];
    if (!p->exact && !site_resolve_set(site, p->set)) return;
    if (p->state != SITE_THERE || !p->exact) return;
    struct site_disk *d = &site->disks[p->disk];
    if (p->view.sector_count != d->view.sector_count &&
        !site_wait(site, site_is_idle, "rest before a revert"))
        return;
    if (p->state != SITE_THERE || d->state != SITE_THERE || d->resizing || call->busy) return;
    if (site_free_set(site) < 0 || free_point(site) < 0) return;
    call->disk = p->disk;
    call->point = point;
    call->set = site_new_set(site, "undo");
    struct site_set *s = &site->sets[call->set];
    s->is_undo = true;
    s->phase = SITE_CREATED;
    new_point(site, call->set, p->disk);
    d->frozen = p->view.sector_count != d->view.sector_count;
    d->resizing = true;
    d->revert_from = d->view.sector_count;
    d->revert_to = d->new_sectors = p->view.sector_count;
    if (d->revert_to > d->revert_from) model_view_grow(&d->view, d->revert_to);
    p->busy++;
    s->submitted = model_tick(site->model);
    d->revert_write = model_revert_submit(site->model, &d->view, &p->view, d->number,
                                          site_horizon(site, p->disk));
    site_call_start(call, is_undo(site, point) ? "disk_undo" : "disk_revert",
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
static void do_trash(struct site *site, struct site_call *call)
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
    int i = pick_disk(site);
    if (i < 0) return;
    site_call_start(call, split ? "disk_split" : "disk_promote",
                    json_pack("{s:s}", "name", site->disks[i].name), job_began);
}

static void split_snapshot(struct site *site, struct site_call *call, int point)
{
    struct site_point *p = &site->points[point];
    int i = free_disk(site);
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

static void do_promote(struct site *site, struct site_call *call)
{
    unsigned kind = site_draw(site, 4);
    if (kind < 2) {
        promote_disk(site, call, kind);
        return;
    }
    int point = pick_point(site, false);
    if (point < 0 || site->points[point].busy) return;
    if (kind == 3) {
        split_snapshot(site, call, point);
        return;
    }
    site_call_start(call, "snapshot_promote", json_pack("{s:s}", "name", site->points[point].name),
                    job_began);
}

static void do_job(struct site *site, struct site_call *call)
{
    static const char *const verbs[] = {"job_pause", "job_resume", "job_resume", "job_cancel"};
    if (!site->last_job[0]) return;
    site_call_start(call, verbs[site_draw(site, countof(verbs))],
                    json_pack("{s:s}", "name", site->last_job), job_began);
}

/* ---- The table ------------------------------------------------------------------------------- */

static const struct {
    unsigned weight;
    const char *name;
    void (*draw_it)(struct site *site, struct site_call *call);
} table[] = {
    {8, "disk create", do_disk_create},
    {4, "disk delete", do_disk_delete},
    {3, "disk grow", do_disk_grow},
    {14, "disk map, unmap", do_map_disk},
    {8, "snapshot map", do_map_snapshot},
    {12, "snapshot create", do_snapshot_create},
    {8, "snapshot delete", do_snapshot_delete},
    {5, "snapshot branch", do_branch},
    {6, "disk revert, undo", do_revert},
    {18, "set step", site_do_set_step},
    {4, "set delete", site_do_set_delete},
    {4, "trash restore, empty", do_trash},
    {4, "promote, split", do_promote},
    {2, "job pause, resume, cancel", do_job},
};

unsigned site_verb_count(void)
{
    return countof(table);
}

const char *site_verb_name(unsigned row)
{
    return table[row].name;
}

void site_verb(struct site *site)
{
    struct site_call *call = call_get(site);
    unsigned left = site_draw(site, 100);
    for (unsigned i = 0; call && i < countof(table); i++) {
        if (left >= table[i].weight) {
            left -= table[i].weight;
            continue;
        }
        call->number = i;
        table[i].draw_it(site, call);
        return;
    }
}

/* The server died with the call in flight: what it was about is in doubt. */
void site_call_drop(struct site_call *call)
{
    struct site *site = call->site;
    if (call->busy) {
        if (call->disk >= 0 && site->disks[call->disk].revert_write)
            fill_undo_view(site, call->disk);
        if (call->set >= 0 && !site->sets[call->set].is_undo) {
            struct site_set *s = &site->sets[call->set];
            for (unsigned i = 0; s->used && i < s->count; i++) {
                struct site_point *p = &site->points[s->points[i]];
                if (p->state == SITE_COMING && !p->view.cells)
                    model_view_copy(&site->disks[p->disk].view, &p->view);
            }
            /* Unanswered, it may be short of created, with a lease that ends it. */
            bool was_making = strcmp(call->call.verb, "set_finish") == 0 ||
                              strcmp(call->call.verb, "snapshot_create") == 0;
            if (was_making) s->phase = SITE_CONFIRMED;
        }
        json_decref(call->call.arguments);
    }
    *call = (struct site_call){.site = site, .disk = -1, .point = -1, .set = -1, .host = -1};
}

bool site_furnish(struct site *site)
{
    for (unsigned i = 0; i < SITE_POOLS; i++) {
        json_t *made = site_ask(site, "pool_create",
                                json_pack("{s:s, s:s, s:s, s:b}", "name", site->pools[i].name,
                                          "path", site->pools[i].path, "size", "64M", "sparse", 1));
        if (!made) return site_fail(site, "cannot make pool %u", i);
        json_t *job =
            site_ask(site, "job_show",
                     json_pack("{s:s, s:i}", "name", rig_text(made, "job.id"), "wait", 30));
        bool ok = strcmp(rig_text(job, "state"), "done") == 0;
        json_decref(made);
        json_decref(job);
        if (!ok || !site->pools[i].engine) return site_fail(site, "pool %u was not made", i);
    }
    for (unsigned i = 0; i < SITE_HOSTS; i++) {
        json_t *made =
            site_ask(site, "host_create",
                     json_pack("{s:s, s:[s], s:s}", "name", i ? "h1" : "h0", "initiators",
                               i ? "iqn.2026-11.test:h1" : "iqn.2026-11.test:h0", "auth", "none"));
        if (!made) return site_fail(site, "cannot make host %u", i);
        json_decref(made);
    }
    return true;
}
