/* Snapshot sets as clients make them, one step after another, and leave them (site.h). */
#include <string.h>

#include "tests/sim/site_int.h"
#include "tests/unit/control_rig.h"

static void step_begins(const struct site *site, struct site_set *s, const char *verb)
{
    uint64_t now_ns = sim_now(site->sim);
    s->busy = true;
    s->steps++;
    if (strcmp(verb, "set_prepare") == 0 || strcmp(verb, "set_renew") == 0) s->leased_ns = now_ns;
    if (strcmp(verb, "set_arm") == 0) s->armed_ns = now_ns;
}

static void set_stepped(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_set *s = &site->sets[call->set];
    const char *verb = call->call.verb;
    s->busy = false;
    if (strcmp(verb, "set_prepare") == 0 && !ok) s->used = false;
    if (strcmp(verb, "set_arm") == 0 && ok && s->phase < SITE_ARMED) s->phase = SITE_ARMED;
    if (strcmp(verb, "set_confirm") == 0 && ok && s->phase < SITE_CONFIRMED)
        s->phase = SITE_CONFIRMED;
    if (strcmp(verb, "set_finish") == 0 && ok) s->phase = SITE_CREATED;
    if (strcmp(verb, "set_abort") == 0 && ok) site_forget_points(site, call->set);
    if (!ok && s->used && s->phase < SITE_CREATED) s->abandoned = true;
}

static void set_committed(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_set *s = &site->sets[call->set];
    s->busy = false;
    if (!ok) {
        site_forget_points(site, call->set);
        return;
    }
    s->phase = SITE_COMMITTED;
    site_set_was_cut(site, call->set);
    site_take_ids(site, call->set, json_object_get(call->call.result, "members"), "snapshot",
                  "snapshot_uuid");
}

static void commit(struct site *site, struct site_call *call)
{
    struct site_set *s = &site->sets[call->set];
    bool whole = site_free_points(site) >= s->disk_count;
    for (unsigned i = 0; i < s->disk_count; i++) {
        const struct site_disk *d = &site->disks[s->disks[i]];
        whole = whole && d->number == s->disk_numbers[i] && d->state == SITE_THERE && !d->frozen;
    }
    if (!whole) {
        s->abandoned = true;
        return;
    }
    site_stir(site, s->disks, s->disk_count);
    site_add_points(site, call->set, s->disks, s->disk_count, false);
    step_begins(site, s, "set_commit");
    s->submitted = model_tick(site->model);
    site_call_start(call, "set_commit", json_pack("{s:s}", "name", s->name), set_committed);
}

static void prepare(struct site *site, struct site_call *call)
{
    int disks[SITE_MEMBERS];
    unsigned count = site_draw_disks(site, disks);
    if (count == 0 || site_free_set(site) < 0) return;
    call->set = site_new_set(site, "s");
    struct site_set *s = &site->sets[call->set];
    s->disk_count = count;
    for (unsigned i = 0; i < count; i++) {
        s->disks[i] = disks[i];
        s->disk_numbers[i] = site->disks[disks[i]].number;
    }
    step_begins(site, s, "set_prepare");
    site_call_start(call, "set_prepare",
                    json_pack("{s:s, s:o, s:s, s:i}", "name", s->name, "disks",
                              site_names_of(site, disks, count), "host",
                              site_draw(site, 2) ? "h0" : "h1", "lease_s", SITE_LEASE_S),
                    set_stepped);
}

/* A client goes one step further with its set, or aborts it, or dies. */
void site_do_set_step(struct site *site, struct site_call *call)
{
    static const char *const next[] = {"set_arm", NULL, "set_confirm", "set_finish"};
    int set = -1;
    unsigned first = site_draw(site, SITE_SETS);
    for (unsigned n = 0; n < SITE_SETS && set < 0; n++) {
        int i = (int)((first + n) % SITE_SETS);
        const struct site_set *s = &site->sets[i];
        if (s->used && !s->abandoned && !s->busy && !s->is_undo && s->phase < SITE_CREATED) set = i;
    }
    if (set < 0 || site_draw(site, 6) == 0) {
        prepare(site, call);
        return;
    }
    struct site_set *s = &site->sets[set];
    call->set = set;
    switch (site_draw(site, 24)) {
    case 0:
        site_trace(site, "the client of %s dies", s->name);
        s->abandoned = true;
        return;
    case 1:
        step_begins(site, s, "set_abort");
        site_call_start(call, "set_abort", json_pack("{s:s}", "name", s->name), set_stepped);
        return;
    case 2:
        step_begins(site, s, "set_renew");
        site_call_start(call, "set_renew", json_pack("{s:s}", "name", s->name), set_stepped);
        return;
    default:
        break;
    }
    if (s->phase == SITE_ARMED) {
        commit(site, call);
        return;
    }
    step_begins(site, s, next[s->phase]);
    site_call_start(call, next[s->phase], json_pack("{s:s}", "name", s->name), set_stepped);
}

static void set_deleted(struct site_call *call, bool ok)
{
    struct site *site = call->site;
    struct site_set *s = &site->sets[call->set];
    s->busy = false;
    for (unsigned i = 0; ok && i < s->count; i++)
        site_check_kept(site, s->points[i]);
    if (ok && site->points[s->points[0]].state == SITE_GOING) {
        site_forget_points(site, call->set);
        return;
    }
    for (unsigned i = 0; i < s->count; i++)
        site->points[s->points[i]].state = ok ? SITE_TRASHED : SITE_THERE;
}

void site_do_set_delete(struct site *site, struct site_call *call)
{
    int set = (int)site_draw(site, SITE_SETS);
    struct site_set *s = &site->sets[set];
    if (!s->used || s->is_undo || s->busy || s->phase != SITE_CREATED || !s->cut || !s->count)
        return;
    for (unsigned i = 0; i < s->count; i++) {
        const struct site_point *p = &site->points[s->points[i]];
        if (p->state != SITE_THERE || p->busy || p->is_becoming || site_point_is_mapped(p)) return;
    }
    bool for_good = site_draw(site, 2);
    for (unsigned i = 0; i < s->count; i++)
        site->points[s->points[i]].state = for_good ? SITE_GOING : SITE_LEAVING;
    s->busy = true;
    call->set = set;
    site_call_start(call, "set_delete", json_pack("{s:s, s:b}", "name", s->name, "now", for_good),
                    set_deleted);
}
