/*
 * Who is in the way of a revert or replace that is not forced (S7), as hosts and clients know it: they know
 * when a command went out and when its answer came, not when the server carried it out.  So an answer is judged
 * only where every order that agrees with these times leads to it; most do.
 */
#include <string.h>

#include "tests/sim/site_int.h"
#include "tests/unit/control_rig.h"

/* Read or written so short a time ago, a disk is in use; a set that is armed keeps its disks for so long. */
#define USE_NS (60 * RT_SECOND)
#define ARMED_NS (10 * RT_SECOND)

/* ---- What hosts do --------------------------------------------------------------------------- */

void site_guard_map_changes(struct site *site, int disk, int host)
{
    struct site_disk *d = &site->disks[disk];
    d->used_ns[host] = 0;
    d->map_changed_ns[host] = sim_now(site->sim);
}

void site_guard_touched(struct site *site, const struct site_slot *slot, bool ok)
{
    struct site_disk *d = &site->disks[slot->disk];
    if (slot->op == SITE_FLUSH) return;
    d->touched_ns = sim_now(site->sim);
    bool is_mapped = !d->mapping[slot->host] && d->lun[slot->host] == (int)slot->request.lun &&
                     slot->sent_ns > d->map_changed_ns[slot->host];
    if (ok && is_mapped) d->used_ns[slot->host] = slot->sent_ns;
    if (ok && slot->op == SITE_WRITE && slot->sent_ns > d->given_ns) d->given_point = -1;
}

void site_guard_forget(struct site *site, int disk)
{
    struct site_disk *d = &site->disks[disk];
    memset(d->used_ns, 0, sizeof d->used_ns);
    d->touched_ns = 0;
    d->given_point = -1;
}

static bool is_mapped_anywhere(const struct site_disk *d)
{
    for (unsigned h = 0; h < SITE_HOSTS; h++)
        if (d->lun[h] >= 0 || d->mapping[h]) return true;
    return false;
}

/* ---- Sets in the making ---------------------------------------------------------------------- */

/* Armed, committed or confirmed, with no step under way, before its time or lease could end. */
static bool holds_still(const struct site *site, const struct site_set *s, int disk,
                        uint64_t now_ns)
{
    bool is_in_the_way = s->used && !s->abandoned && !s->busy && !s->is_undo &&
                         s->phase >= SITE_ARMED && s->phase < SITE_CREATED &&
                         now_ns < s->leased_ns + SITE_LEASE_S * RT_SECOND &&
                         (s->phase != SITE_ARMED || now_ns < s->armed_ns + ARMED_NS);
    for (unsigned i = 0; is_in_the_way && i < s->disk_count; i++)
        if (s->disks[i] == disk && s->disk_numbers[i] == site->disks[disk].number) return true;
    return false;
}

static int set_in_the_way(const struct site *site, int disk)
{
    for (int i = 0; i < SITE_SETS; i++)
        if (holds_still(site, &site->sets[i], disk, sim_now(site->sim))) return i;
    return -1;
}

/* ---- Asking and the answer ------------------------------------------------------------------- */

bool site_guard_rest(struct site *site)
{
    return site_wait(site, site_is_idle, "rest before a revert") &&
           site_run_for(site, USE_NS + RT_SECOND);
}

void site_guard_ask(struct site *site, struct site_call *call, bool is_forced)
{
    const struct site_disk *d = &site->disks[call->disk];
    struct site_guard *g = &call->guard;
    uint64_t now_ns = sim_now(site->sim);
    bool is_quiet = !d->busy && (now_ns >= d->touched_ns + USE_NS || !d->touched_ns);
    *g = (struct site_guard){.is_forced = is_forced,
                             .asked_ns = now_ns,
                             .was_free = is_quiet || (!d->busy && !is_mapped_anywhere(d)),
                             .set = set_in_the_way(site, call->disk)};
    for (unsigned h = 0; h < SITE_HOSTS; h++)
        g->used_ns[h] = d->used_ns[h];
    if (g->set >= 0) g->set_steps = site->sets[g->set].steps;
}

/* Used when it was asked, and still when it was answered, by a host that saw it all the time. */
static bool was_surely_used(const struct site_guard *g, const struct site_disk *d, uint64_t now_ns)
{
    for (unsigned h = 0; h < SITE_HOSTS; h++)
        if (g->used_ns[h] && d->used_ns[h] >= g->used_ns[h] && now_ns < g->used_ns[h] + USE_NS)
            return true;
    return false;
}

static bool was_surely_free(const struct site_guard *g, const struct site_disk *d)
{
    return g->was_free && !d->busy && d->touched_ns <= g->asked_ns;
}

static bool was_in_the_way(const struct site *site, const struct site_guard *g, int disk)
{
    return g->set >= 0 && site->sets[g->set].steps == g->set_steps &&
           holds_still(site, &site->sets[g->set], disk, sim_now(site->sim));
}

/* Asked for again, by who did not get the answer: nothing changes, and no undo point is made. */
static bool is_repetition(struct site *site, const struct site_call *call)
{
    const struct site_disk *d = &site->disks[call->disk];
    if (!strstr(rig_text(call->call.result, "note"), "has that content already")) return false;
    if (call->guard.is_forced || (!site->lossy && d->given_point != call->point))
        site_fail(site, "a revert of %s to %s was taken for the one before", d->name,
                  site->points[call->point].name);
    return true;
}

bool site_guard_judge(struct site *site, struct site_call *call, bool ok)
{
    const struct site_guard *g = &call->guard;
    const struct site_disk *d = &site->disks[call->disk];
    const char *verb = call->call.verb;
    char text[400];
    uint64_t now_ns = sim_now(site->sim);
    bool in_use = !ok && err_status(call->call.error) == STATUS_IN_USE &&
                  strstr(err_text(call->call.error, text, sizeof text), "is in use: ");
    if (ok && is_repetition(site, call)) return false;
    if (in_use && g->is_forced) site_fail(site, "%s of %s, forced: %s", verb, d->name, text);
    if (in_use && was_surely_free(g, d))
        site_fail(site, "%s of %s, which nobody uses: %s", verb, d->name, text);
    if (ok && !g->is_forced && was_surely_used(g, d, now_ns))
        site_fail(site, "%s of %s was done under a host that uses it", verb, d->name);
    if (ok && !site->lossy && was_in_the_way(site, g, call->disk))
        site_fail(site, "%s of %s was done under set %s, which is being made", verb, d->name,
                  site->sets[g->set].name);
    if (in_use) site_count(site, SITE_COUNT_REFUSED);
    if (ok && !g->is_forced) site_count(site, SITE_COUNT_UNFORCED);
    return ok;
}

/* ---- A replace under way --------------------------------------------------------------------- */

/* It looks again before it takes the disk.  `job` is of an answer that was asked for at asked_ns. */
void site_guard_replace_goes_on(struct site *site, int disk, const json_t *job, uint64_t asked_ns)
{
    struct site_disk *d = &site->disks[disk];
    bool waits = strstr(rig_text(job, "trouble"), "waits to take the disk") != NULL;
    bool copies = rig_number(job, "done_bytes") < rig_number(job, "total_bytes");
    if (waits && d->replace_forced)
        site_fail(site, "the replace of %s waits, and is forced", d->name);
    if (waits) site_count(site, SITE_COUNT_WAITED);
    d->replace_copies_ns = copies ? asked_ns : d->replace_copies_ns;
    if (copies) memcpy(d->replace_used_ns, d->used_ns, sizeof d->used_ns);
}

void site_guard_replace_done(struct site *site, int disk)
{
    const struct site_disk *d = &site->disks[disk];
    for (unsigned h = 0; h < SITE_HOSTS && d->replace_copies_ns && !d->replace_forced; h++) {
        uint64_t used_ns = d->replace_used_ns[h];
        if (used_ns && d->used_ns[h] >= used_ns && sim_now(site->sim) < used_ns + USE_NS)
            site_fail(site, "the replace of %s took it under a host that uses it", d->name);
    }
}
