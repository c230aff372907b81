/*
 * Volatile sets of which no host was there for a day: they are listed, and an event says so.
 * Nothing removes them but a person (a set may have been broken without any call to us and be a
 * production disk), or, where an administrator has decided that (`server set --remove-stale`), the
 * server after that time, with their LUNs (S2).
 */
#include "base/log.h"
#include "control/host_int.h"

#define RETRY_NS HOUR_NS

static bool is_away(struct control *control, const struct uuid *uuid, uint64_t for_ns)
{
    const struct host *host = inventory_host(control, uuid);
    if (!host) return true;
    return list_is_empty(&host->sessions) && rt_now(control->rt) - host->last_seen_ns >= for_ns;
}

static bool is_left_over(struct control *control, const struct set *set, uint64_t for_ns)
{
    if (!set->row.is_volatile || set->row.state != SET_CREATED) return false;
    if (rt_wall(control->rt) < set->row.created_ns + for_ns) return false;
    if (!is_away(control, &set->row.host, for_ns)) return false;
    for (unsigned i = 0; i < set->import_count; i++) {
        if (set->imports[i].state == IMPORT_IMPORTED &&
            !is_away(control, &set->imports[i].host, for_ns))
            return false;
    }
    return true;
}

bool set_is_stale(struct control *control, const struct set *set)
{
    return is_left_over(control, set, DAY_NS);
}

/* ---- Removing them, where that was decided -------------------------------------------------------- */

static struct set *set_to_remove(struct control *control)
{
    uint64_t after_ns = control->settings.remove_stale_s * RT_SECOND;
    if (after_ns == 0) return NULL;
    list_for_each (node, &control->sets) {
        struct set *set = container_of(list_entry(node, struct object, link), struct set, object);
        if (rt_now(control->rt) >= set->remove_after_ns && is_left_over(control, set, after_ns))
            return set;
    }
    return NULL;
}

/* As `set delete --unmap` by an administrator: with its rules (retention, jobs) and its audit record.  Looks again:
 * the lane may have been long; and comes again when the LUNs are gone. */
static void step_remove(struct op *op)
{
    char uuid[UUID_TEXT_SIZE];
    struct set *set = op->verb ? NULL : set_to_remove(op->control);
    if (!op->verb && !set) {
        op_end(op);
        return;
    }
    if (set) {
        char after[TEXT_SIZE_MAX];
        set->remove_after_ns = rt_now(op->control->rt) + RETRY_NS; /* if it cannot be now */
        op->verb = verb_find("set_delete");
        json_object_set_new(op->arguments, "name", json_string(uuid_format(&set->row.uuid, uuid)));
        json_object_set_new(op->arguments, "unmap", json_true());
        event_note(op->control, LEVEL_WARNING, "set", set->row.name,
                   "a volatile set is removed, with its LUNs: none of its hosts was there for %s"
                   " (tarn server set --remove-stale)",
                   text_format_age(op->control->settings.remove_stale_s * RT_SECOND, after));
    }
    delete_step_set(op);
}

static void removed(struct op *op)
{
    op->control->removing_stale = false;
    if (op->error) log_failure("a volatile set that is left over could not be removed", op->error);
}

void stale_tick(struct control *control)
{
    static op_step *const steps[] = {step_remove, NULL};
    static const struct op_plan plan = {
        .verb = "remove_stale", .lane = OP_LANE_GENERAL, .steps = steps};
    list_for_each (node, &control->sets) {
        struct set *set = container_of(list_entry(node, struct object, link), struct set, object);
        bool is_stale = set_is_stale(control, set);
        if (is_stale && !set->is_stale) {
            event_note(control, LEVEL_WARNING, "set", set->row.name,
                       "a volatile set is left over: none of its hosts was there for a day");
        }
        set->is_stale = is_stale;
    }
    if (control->removing_stale || !set_to_remove(control)) return;
    control->removing_stale = true;
    op_start_internal(control, &plan, NULL, removed, NULL);
}
