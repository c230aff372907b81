/* The pools of a set: its members' disks tell them.  The cut over all of them, and what a start
 * finds of it (E22, E23). */
#include <stdlib.h>

#include "control/control_int.h"

#define GATE_LIMIT_NS RT_SECOND /* E22 */

static struct pool *member_pool(struct list_node *node)
{
    return list_entry(node, struct snapshot, member_link)->disk->pool;
}

/* The first member that lies in its pool: each pool comes by once. */
static bool is_first_of_pool(const struct set *set, struct list_node *node)
{
    list_for_each (other, &set->members) {
        if (other == node) return true;
        if (member_pool(other) == member_pool(node)) return false;
    }
    return true;
}

unsigned set_pool_count(const struct set *set)
{
    unsigned count = 0;
    list_for_each (node, &set->members)
        if (is_first_of_pool(set, node)) count++;
    return max_of(count, 1u);
}

json_t *set_pools_json(const struct set *set)
{
    json_t *names = json_array();
    list_for_each (node, &set->members)
        if (is_first_of_pool(set, node))
            json_array_append_new(names, json_string(member_pool(node)->row.name));
    if (json_array_size(names) == 0) json_array_append_new(names, json_string(set->pool->row.name));
    return names;
}

/* Why it is undecided, for people; null when it is not. */
json_t *set_undecided_json(const struct set *set)
{
    list_for_each (node, &set->members)
        if (set->undecided && !pool_may_decide(member_pool(node)))
            return json_sprintf("pool \"%s\" is %s: it may have the cut of this set or not",
                                member_pool(node)->row.name, pool_state_text(member_pool(node)));
    return json_null();
}

struct err *set_check_pools(const struct set *set)
{
    list_for_each (node, &set->members)
        if (!member_pool(node)->engine) TRY(pool_check_open(member_pool(node)));
    if (list_is_empty(&set->members) && !set->pool->engine) TRY(pool_check_open(set->pool));
    return NULL;
}

bool set_pools_are_open(const struct set *set)
{
    auto_err struct err *e = set_check_pools(set);
    return !e;
}

bool set_has_open_pool(const struct set *set)
{
    list_for_each (node, &set->members)
        if (member_pool(node)->engine) return true;
    return list_is_empty(&set->members) && set->pool->engine;
}

void set_pool_goes(struct set *set, const struct pool *pool)
{
    list_for_each (node, &set->members) {
        if (set->pool != pool) return;
        set->pool = member_pool(node);
        set->row.pool = set->pool->row.uuid;
    }
}

/* ---- The cut -----------------------------------------------------------------------------------
 */

static void begin_part(struct set_store *store, const struct set *set, struct list_node *first,
                       bool leased)
{
    struct volume_cut_part *part = &store->parts[store->part_count];
    struct volume_cut_member *members = store->members;
    for (unsigned i = 0; i < store->part_count; i++)
        members += store->parts[i].cut.member_count;
    *part = (struct volume_cut_part){.pool = member_pool(first)->engine,
                                     .cut = {.set = set->row.uuid,
                                             .deadline_ns = set->armed_until_ns,
                                             .leased = leased,
                                             .members = members}};
    list_for_each (node, &set->members) {
        const struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (member_pool(node) != member_pool(first)) continue;
        members[part->cut.member_count++] = (struct volume_cut_member){
            .disk = s->row.disk, .point = s->row.point, .kind = VOLUME_POINT_SNAPSHOT};
    }
    store->part_count++;
}

void set_cut(struct op *op, struct set *set, bool leased, volume_done_fn *done)
{
    struct set_store *store = op->data;
    unsigned count = 0;
    list_for_each (node, &set->members)
        count++;
    free(store->members);
    free(store->parts);
    store->members = calloc(count + 1, sizeof *store->members);
    store->parts = calloc(set_pool_count(set), sizeof *store->parts);
    check(store->members && store->parts && count > 0);
    store->part_count = 0;
    list_for_each (node, &set->members)
        if (is_first_of_pool(set, node)) begin_part(store, set, node, leased);
    store->started_ns = rt_now(op->control->rt);
    volume_cut_pools(store->parts, store->part_count, GATE_LIMIT_NS, done, op);
}

void set_cut_note(struct op *op, struct set *set)
{
    struct set_store *store = op->data;
    set->row.generation = store->parts[0].result.generation;
    set->row.cut_ns = store->parts[0].result.wall_ns;
    set->row.commit_ns = rt_now(op->control->rt) - store->started_ns;
    list_for_each (node, &set->members) {
        struct snapshot *s = list_entry(node, struct snapshot, member_link);
        struct volume_point_info info;
        s->row.state = SNAPSHOT_READY;
        if (volume_point_find(member_pool(node)->engine, &s->row.point, &info))
            s->row.size_bytes = info.size_bytes;
    }
}

/* ---- At start -----------------------------------------------------------------------------------
 */

struct set_findings set_look_for_cut(const struct set *set)
{
    struct set_findings found = {0};
    list_for_each (node, &set->members) {
        const struct snapshot *s = list_entry(node, struct snapshot, member_link);
        struct volume_point_info info;
        const struct pool *pool = s->disk->pool;
        bool is_found = pool->engine && volume_point_find(pool->engine, &s->row.point, &info);
        if (!is_found && !pool_may_decide(pool))
            found.is_absent = true;
        else if (!is_found)
            found.is_lacking = true;
        else if (!found.is_there) {
            found.is_there = true;
            found.generation = info.generation;
            found.wall_ns = info.wall_ns;
        }
    }
    if (list_is_empty(&set->members)) found.is_absent = !pool_may_decide(set->pool);
    return found;
}

/* E23: what an open pool lacks was not committed.  One that is absent may have it or lack it. */
bool set_is_undecided(const struct set *set, const struct set_findings *found)
{
    if (!found->is_absent) return false;
    if (set->row.state == SET_PREPARED || set->row.state == SET_ARMED) return !found->is_lacking;
    return !found->is_there || set_is_past(set->row.state);
}

enum set_event set_found_event(const struct set *set, const struct set_findings *found)
{
    bool is_open = set->row.state == SET_PREPARED || set->row.state == SET_ARMED;
    if (is_open && found->is_there && found->is_lacking) return SET_EVENT_FOUND_HALF;
    return found->is_there ? SET_EVENT_FOUND_CUT : SET_EVENT_FOUND_UNCUT;
}

void set_adopt(struct set *set, const struct set_findings *found)
{
    set->row.generation = found->generation;
    set->row.cut_ns = found->wall_ns;
    list_for_each (node, &set->members) {
        struct snapshot *s = list_entry(node, struct snapshot, member_link);
        struct volume_point_info own;
        if (!s->disk->pool->engine ||
            !volume_point_find(s->disk->pool->engine, &s->row.point, &own))
            continue;
        if (s->row.state == SNAPSHOT_PENDING) s->row.state = SNAPSHOT_READY;
        s->row.size_bytes = own.size_bytes;
    }
}
