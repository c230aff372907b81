/* Control calls: drawn, several in flight, each with what it means to the model (site.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/site_int.h"
#include "tests/unit/control_rig.h"

enum { DISK_BLOCKS_MAX = 768, FULL_BLOCKS_MAX = 6000 };

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

/* In a storm such an answer leaves in doubt what became of it, until the server has started anew. */
static bool is_of_the_device(enum status status)
{
    static const enum status of_device[] = {
        STATUS_BLOCK_CORRUPT, STATUS_READ_FAILED, STATUS_WRITE_FAILED, STATUS_FLUSH_FAILED,
        STATUS_POOL_FAILED,   STATUS_OS_ERROR,    STATUS_POOL_DAMAGED};
    for (unsigned i = 0; i < countof(of_device); i++)
        if (of_device[i] == status) return true;
    return false;
}

/* What it is about may be there, and then as it is now. */
static void note_doubt(struct site_call *call)
{
    struct site *site = call->site;
    if (call->disk >= 0 && site->disks[call->disk].revert_write)
        site_fill_undo_view(site, call->disk);
    if (call->set < 0 || site->sets[call->set].is_undo) return;
    struct site_set *s = &site->sets[call->set];
    for (unsigned i = 0; s->used && i < s->count; i++) {
        struct site_point *p = &site->points[s->points[i]];
        if (p->state == SITE_COMING && !p->view.cells)
            model_view_copy(&site->disks[p->disk].view, &p->view);
    }
    site_update_dropped(call);
}

static bool park(struct site_call *call)
{
    struct site *site = call->site;
    enum status status = err_status(call->call.error);
    if (!site->lossy || !is_of_the_device(status) || site->parked_count == SITE_PARKED)
        return false;
    note_doubt(call);
    err_free(take_ptr(&call->call.error));
    site->parked[site->parked_count++] = *call;
    site->parkings++;
    call->busy = false;
    return true;
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
    if (!ok && park(call)) return;
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
    site_private_sync(site);
    err_free(control_call->error);
    json_decref(control_call->result);
    json_decref(control_call->arguments);
}

void site_call_start(struct site_call *call, const char *verb, json_t *arguments,
                     site_answer_fn *answer)
{
    struct site *site = call->site;
    check(arguments != NULL);
    site->verbs++;
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
    site_private_sync(site);
    control_submit(site->control, &call->call);
}

/* ---- Picking --------------------------------------------------------------------------------- */

unsigned site_draw(struct site *site, unsigned below)
{
    return (unsigned)prng_below(&site->prng, below);
}

int site_pick_disk(struct site *site)
{
    unsigned first = site_draw(site, SITE_OWN_DISKS);
    for (unsigned n = 0; n < SITE_OWN_DISKS; n++) {
        int i = (int)((first + n) % SITE_OWN_DISKS);
        if (site->disks[i].state == SITE_THERE) return i;
    }
    return -1;
}

int site_free_disk(const struct site *site)
{
    for (int i = 0; i < SITE_OWN_DISKS; i++)
        if (site->disks[i].state == SITE_NONE) return i;
    return -1;
}

bool site_is_undo(const struct site *site, int point)
{
    return site->sets[site->points[point].set].is_undo;
}

/* A point of a set that nothing will take away. */
int site_pick_point(struct site *site, bool with_undo)
{
    unsigned first = site_draw(site, SITE_POINTS);
    for (unsigned n = 0; n < SITE_POINTS; n++) {
        int i = (int)((first + n) % SITE_POINTS);
        const struct site_point *p = &site->points[i];
        if (p->state != SITE_THERE || site->sets[p->set].phase != SITE_CREATED || p->is_becoming)
            continue;
        if (with_undo || !site_is_undo(site, i)) return i;
    }
    return -1;
}

int site_free_set(const struct site *site)
{
    for (int i = 0; i < SITE_SETS; i++)
        if (!site->sets[i].used) return i;
    return -1;
}

int site_free_point(const struct site *site)
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

int site_new_point(struct site *site, int set, int disk)
{
    struct site_set *s = &site->sets[set];
    int i = site_free_point(site);
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
    int i = site_free_disk(site);
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
            !site_is_undo(site, i) && site->sets[site->points[i].set].phase == SITE_CREATED)
            return true;
    return false;
}

/* Some snapshot of it will be a disk of its own, nobody knows when. */
static bool has_becoming(const struct site *site, int disk)
{
    for (int i = 0; i < SITE_POINTS; i++)
        if (site->points[i].state != SITE_NONE && site->points[i].disk == disk &&
            site->points[i].is_becoming)
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
    int i = site_pick_disk(site);
    if (i < 0 || site->disks[i].resizing || site->disks[i].busy || has_becoming(site, i)) return;
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
    int i = site_pick_disk(site);
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
    if (call->disk >= 0) site_guard_map_changes(site, call->disk, call->host);
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
    if (call->disk >= 0) site_guard_map_changes(site, call->disk, call->host);
    if (ok) lun[call->host] = -1;
}

static void change_map(struct site *site, struct site_call *call, const char *kind,
                       const char *name, int *lun, bool *mapping, unsigned keep_of_8)
{
    char host[8];
    call->host = (int)site_draw(site, SITE_HOSTS);
    snprintf(host, sizeof host, "h%d", call->host);
    if (mapping[call->host]) return;
    bool for_windows = call->point >= 0 && site_wants_branch(site, call->host);
    if (for_windows && !site_private_room(site, &call->point, 1)) return;
    if (lun[call->host] < 0) {
        mapping[call->host] = true;
        site_call_start(call, "map_add", json_pack("{s:s, s:s}", "host", host, kind, name), mapped);
    } else if (site_draw(site, 8) >= keep_of_8) {
        mapping[call->host] = true;
        if (call->disk >= 0) site_guard_map_changes(site, call->disk, call->host);
        site_call_start(call, "map_remove",
                        json_pack("{s:s, s:i}", "host", host, "lun", lun[call->host]), unmapped);
    }
}

static void do_map_disk(struct site *site, struct site_call *call)
{
    call->disk = site_pick_disk(site);
    if (call->disk < 0) return;
    struct site_disk *d = &site->disks[call->disk];
    change_map(site, call, "disk", d->name, d->lun, d->mapping, 6);
}

static void do_map_snapshot(struct site *site, struct site_call *call)
{
    call->point = site_pick_point(site, false);
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
            site_point_identify(site, s->points[i]);
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
             first = site_draw(site, SITE_OWN_DISKS);
    for (unsigned n = 0; n < SITE_OWN_DISKS && count < wanted; n++) {
        int i = (int)((first + n) % SITE_OWN_DISKS);
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

void site_stir(struct site *site, const int *disks, unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        if (site->disks[disks[i]].pool == site->disks[disks[0]].pool) continue;
        site_dependent_writes(site);
        site_step(site, site_draw(site, 40));
        return;
    }
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
        struct site_point *p = &site->points[site_new_point(site, set, disks[i])];
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
    site_stir(site, disks, count);
    for (unsigned i = 0; i < count; i++)
        if (site->disks[disks[i]].state != SITE_THERE) return; /* gone meanwhile */
    if (site->crashed || site->failed || site_free_points(site) < count) return;
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
    if (p->state == SITE_NONE) return; /* its disk has gone meanwhile */
    if (ok) site_check_kept(call->site, call->point);
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
    int i = site_pick_point(site, false);
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
    int point = site_pick_point(site, false);
    if (point < 0) return;
    struct site_point *p = &site->points[point];
    if (!p->exact && !site_resolve_set(site, p->set)) return;
    int i = site_free_disk(site);
    if (i < 0 || p->state != SITE_THERE || !p->exact || call->busy) return;
    struct site_disk *d = &site->disks[i];
    d->number = ++site->disk_number;
    d->pool = site->disks[p->disk].pool;
    d->state = SITE_COMING;
    d->parent_point = point;
    snprintf(d->name, sizeof d->name, "d%u", d->number);
    model_view_copy(&p->view, &d->view);
    call->disk = i;
    call->point = point;
    site_call_start(call, "snapshot_branch",
                    json_pack("{s:s, s:s}", "name", p->name, "new_name", d->name), branched);
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
    {6, "disk revert, undo", site_do_revert},
    {14, "set step", site_do_set_step},
    {4, "set delete", site_do_set_delete},
    {4, "trash restore, empty", site_do_trash},
    {4, "promote, split", site_do_promote},
    {4, "disk replace", site_do_replace},
    {2, "job pause, resume, cancel", site_do_job},
    {8, "set import", site_do_import},
    {6, "set mask", site_do_mask},
    {8, "snapshot, set update", site_do_update},
    {3, "snapshot retain", site_do_retain},
    {4, "snapshot verify", site_do_snapshot_verify},
    {3, "set break", site_do_break},
    {0, "private branch", NULL}, /* these are counted where they happen: enum site_count */
    {0, "write into one", NULL},
    {0, "private branch that became a disk", NULL},
    {0, "revert or replace that was not forced", NULL},
    {0, "revert or replace of a disk in use, refused", NULL},
    {0, "replace that was seen waiting for a disk in use", NULL},
};

void site_count(struct site *site, enum site_count what)
{
    site->done_by_verb[countof(table) - SITE_COUNTS + (unsigned)what]++;
}

unsigned site_verb_count(void)
{
    return countof(table);
}

const char *site_verb_name(unsigned row)
{
    return table[row].name;
}

static void draw_verb(struct site *site)
{
    unsigned sum = 0;
    struct site_call *call = call_get(site);
    for (unsigned i = 0; i < countof(table); i++)
        sum += table[i].weight;
    unsigned left = site_draw(site, sum);
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

void site_verb(struct site *site)
{
    unsigned tries = site->options.verbs ? 6 : 1;
    if (site->parked_count + SITE_CALLS >= SITE_PARKED) return;
    for (uint32_t drawn = site->verbs; tries && site->verbs == drawn; tries--) {
        if (site->crashed || site->failed) return;
        draw_verb(site);
    }
}

/* The server died with the call in flight: what it was about is in doubt. */
void site_call_drop(struct site_call *call)
{
    struct site *site = call->site;
    if (call->busy) {
        note_doubt(call);
        /* Unanswered, it may be short of created, with a lease that ends it. */
        bool was_making = strcmp(call->call.verb, "set_finish") == 0 ||
                          strcmp(call->call.verb, "snapshot_create") == 0;
        if (call->set >= 0 && was_making) site->sets[call->set].phase = SITE_CONFIRMED;
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
                     json_pack("{s:s, s:[s], s:s, s:s}", "name", i ? "h1" : "h0", "initiators",
                               i ? "iqn.2026-11.test:h1" : "iqn.2026-11.test:h0", "auth", "none",
                               "os", site_wants_branch(site, (int)i) ? "windows" : "linux"));
        if (!made) return site_fail(site, "cannot make host %u", i);
        json_decref(made);
    }
    return true;
}
