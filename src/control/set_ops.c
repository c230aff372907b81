/* What the actions of set_machine.c are: the verbs of a set that is being made, and the end of its
 * lease. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

bool set_is_record(enum catalog_set_state state)
{
    return state == SET_ABORTED || state == SET_BROKEN;
}

bool set_in_the_making(const struct set *set)
{
    return set->row.state < SET_CREATED;
}

bool set_is_past(enum catalog_set_state state)
{
    return set_is_record(state) || state == SET_TRASHED || state == SET_DELETING;
}

void set_enter(struct control *control, struct set *set, enum catalog_set_state state,
               uint64_t at_ns)
{
    set->row.state = state;
    set->object.past = set_is_past(state);
    set->changed = true;
    unsigned index = set->event_count < SET_HISTORY_MAX ? set->event_count++ : SET_HISTORY_MAX - 1;
    set->events[index] = (struct catalog_event){
        .set = set->row.uuid, .sequence = index, .state = state, .at_ns = at_ns};
    if (state == SET_COMMITTED) control->counters.sets_committed++;
    if (state == SET_ABORTED) control->counters.sets_aborted++;
}

/* ---- Unit attention: none for a set's hosts between arm and confirm (each costs every LUN a
 * command) ---- */

static void hold_host(struct set *set, struct host *host)
{
    if (set->holder_count == SET_HOLDERS_MAX) return;
    for (unsigned i = 0; i < set->holder_count; i++) {
        if (uuid_equal(&set->holders[i], &host->row.uuid)) return;
    }
    set->holders[set->holder_count++] = host->row.uuid;
    scsi_map_hold_attention(host->map);
}

void set_hold_attention(struct control *control, struct set *set)
{
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        bool concerned = uuid_equal(&host->row.uuid, &set->row.host);
        list_for_each (member, &set->members) {
            const struct snapshot *s = list_entry(member, struct snapshot, member_link);
            concerned = concerned || host_map_of(host, &s->disk->row.uuid);
        }
        if (concerned) hold_host(set, host);
    }
}

void set_release_attention(struct control *control, struct set *set)
{
    for (unsigned i = 0; i < set->holder_count; i++) {
        struct host *host = inventory_host(control, &set->holders[i]);
        if (host) scsi_map_release_attention(host->map);
    }
    set->holder_count = 0;
}

/* ---- Storing --------------------------------------------------------------------------------- */

static void store_free(void *data)
{
    struct set_store *store = data;
    doomed_fini(&store->doomed);
    free(store->snapshots);
    free(store->members);
    free(store->parts);
    free(store->draft.snapshots);
    free(store->copy_text);
    free(store);
}

struct set_store *set_store_begin(struct op *op)
{
    struct set_store *store = op_data(op, sizeof *store);
    op->data_free = store_free;
    return store;
}

void set_store_fill(struct set_store *store, const struct set *set, unsigned first_event)
{
    store->row = set->row;
    store->event_count = 0;
    for (unsigned i = first_event;
         i < set->event_count && store->event_count < countof(store->events); i++) {
        store->events[store->event_count++] = set->events[i];
    }
    unsigned count = 0;
    list_for_each (node, &set->members)
        count++;
    free(store->snapshots);
    store->snapshots = calloc(count + 1, sizeof *store->snapshots);
    check(store->snapshots);
    store->snapshot_count = 0;
    list_for_each (node, &set->members) {
        store->snapshots[store->snapshot_count++] =
            list_entry(node, struct snapshot, member_link)->row;
    }
}

struct err *set_store_write(struct catalog *catalog, void *arg)
{
    const struct set_store *store = ((struct op *)arg)->data;
    TRY(catalog_put_set(catalog, &store->row));
    for (unsigned i = 0; i < store->event_count; i++) {
        TRY(catalog_add_event(catalog, &store->events[i]));
    }
    for (unsigned i = 0; i < store->snapshot_count; i++) {
        TRY(catalog_put_snapshot(catalog, &store->snapshots[i]));
    }
    return store->copy_text ? catalog_put_job(catalog, &store->copy_row) : NULL;
}

/* Rows as they will be once the decision is carried out; memory follows when they are durable. */
static void store_next(struct op *op)
{
    struct set_store *store = op->data;
    struct set *set = op->set;
    set_store_fill(store, set, set->event_count);
    enum catalog_set_state to = store->decision.to;
    store->row.state = to;
    if (to == SET_CONFIRMED) store->row.application_consistent = true;
    if (to == set->row.state) return;
    unsigned sequence = min_of(set->event_count, (unsigned)SET_HISTORY_MAX - 1);
    store->events[store->event_count++] = (struct catalog_event){
        .set = set->row.uuid, .sequence = sequence, .state = to, .at_ns = rt_wall(op->control->rt)};
}

static void step_store(struct op *op)
{
    store_next(op);
    op_catalog_audited(op, set_store_write);
}

static void apply(struct op *op)
{
    struct set_store *store = op->data;
    struct set *set = op->set;
    if (set->row.state != store->decision.to) {
        uint64_t stored_ns = store->event_count ? store->events[store->event_count - 1].at_ns : 0;
        set_enter(op->control, set, store->decision.to,
                  stored_ns ? stored_ns : rt_wall(op->control->rt));
    }
    set->row.application_consistent = store->row.application_consistent;
}

static void renew(struct op *op)
{
    op->set->lease_until_ns = rt_now(op->control->rt) + op->set->row.lease_s * RT_SECOND;
}

static void step_answer_set(struct op *op)
{
    op->result = json_set(op->control, op->set);
    op_next(op);
}

/* ---- Arm, confirm, finish -------------------------------------------------------------------- */

static void step_arm(struct op *op)
{
    uint64_t armed_ms = arg_uint(op, "armed_ms", SET_ARMED_DEFAULT_MS);
    apply(op);
    renew(op);
    op->set->armed_until_ns = rt_now(op->control->rt) + armed_ms * RT_MS;
    set_hold_attention(op->control, op->set);
    op_next(op);
}

static void step_confirm(struct op *op)
{
    apply(op);
    renew(op);
    set_release_attention(op->control, op->set);
    op_next(op);
}

/* Full copies begin where nothing can abort them any more, with the state that says so. */
static void step_finish_store(struct op *op)
{
    struct set_store *store = op->data;
    struct err *e = NULL;
    store_next(op);
    if (op->set->row.wants_full)
        e = promote_set_fill(op, op->set, &store->copy_row, &store->copy_text);
    if (e)
        op_fail(op, e);
    else
        op_catalog_audited(op, set_store_write);
}

static void step_finish(struct op *op)
{
    const struct set_store *store = op->data;
    apply(op);
    set_release_attention(op->control, op->set); /* a set that was never confirmed holds it still */
    if (store->copy_text) job_launch(op->control, &store->copy_row);
    op_next(op);
}

static void step_renew(struct op *op)
{
    renew(op);
    op_next(op);
}

/* ---- Commit: only the engine stands between the request and the answer ----------------------- */

static void step_cut(struct op *op)
{
    set_cut(op, op->set, true, op_done);
}

static void step_cut_answer(struct op *op)
{
    struct set_store *store = op->data;
    unsigned first_event = op->set->event_count;
    set_cut_note(op, op->set);
    store->row.application_consistent = false;
    apply(op);
    renew(op);
    set_store_fill(store, op->set, first_event);
    op_answer(op, json_set(op->control, op->set));
    op_next(op);
}

static void step_cut_store(struct op *op)
{
    op_catalog_audited(op, set_store_write);
}

/* ---- Abort ----------------------------------------------------------------------------------- */

static void step_abort_store(struct op *op)
{
    struct set_store *store = op->data;
    store_next(op);
    for (unsigned i = 0; i < store->snapshot_count; i++)
        store->snapshots[i].state = SNAPSHOT_DELETING;
    op_catalog_audited(op, set_store_write);
}

static void step_abort(struct op *op)
{
    struct set_store *store = op->data;
    apply(op);
    set_release_attention(op->control, op->set);
    list_for_each (node, &op->set->members) {
        list_entry(node, struct snapshot, member_link)->row.state = SNAPSHOT_DELETING;
    }
    if (!list_is_empty(&op->set->members)) doom_set(&store->doomed, op->set);
    op_next(op);
}

/* ---- The verbs ------------------------------------------------------------------------------- */

static op_step *const nothing_steps[] = {step_answer_set, NULL};
static op_step *const renew_steps[] = {step_renew, step_answer_set, NULL};
static op_step *const arm_steps[] = {step_store, step_arm, step_answer_set, NULL};
static op_step *const cut_steps[] = {step_cut, step_cut_answer, step_cut_store, NULL};
static op_step *const confirm_steps[] = {step_store, step_confirm, step_answer_set, NULL};
static op_step *const finish_steps[] = {step_finish_store, step_finish, step_answer_set, NULL};
static op_step *const abort_steps[] = {
    step_abort_store, step_abort, doom_step_points, doom_step_rows, doom_step_forget,
    step_answer_set,  NULL};

static op_step *const *steps_of(enum set_action action)
{
    switch (action) {
    case SET_DO_NOTHING:
        return nothing_steps;
    case SET_DO_RENEW:
        return renew_steps;
    case SET_DO_ARM:
        return arm_steps;
    case SET_DO_CUT:
        return cut_steps;
    case SET_DO_CONFIRM:
        return confirm_steps;
    case SET_DO_FINISH:
        return finish_steps;
    case SET_DO_ABORT:
        return abort_steps;
    case SET_DO_DELETE:
    case SET_DO_TRASH:
    case SET_DO_RESTORE:
    case SET_DO_ADOPT:
    case SET_DO_FALL_BACK:
    case SET_DO_IMPORT:
    case SET_DO_MASK:
    case SET_DO_BREAK:
    default:
        unreachable("action of a verb");
        return NULL;
    }
}

static struct err *check_event(struct op *op, enum set_event event)
{
    const struct set *set = op->set;
    if (set->gone) return err_new(STATUS_NOT_FOUND, "the set was deleted meanwhile");
    uint64_t armed_ms = arg_uint(op, "armed_ms", SET_ARMED_DEFAULT_MS);
    if (event == SET_EVENT_ARM && (armed_ms == 0 || armed_ms > SET_ARMED_DEFAULT_MS)) {
        return err_new(STATUS_BAD_REQUEST, "\"armed_ms\" must be 1 to 10000");
    }
    /* What is in a pool that is absent goes when it is back. */
    if (event == SET_EVENT_ABORT && set_has_open_pool(set)) return NULL;
    return set_check_pools(set);
}

static json_t *would_abort(const struct set *set, enum set_action action)
{
    json_t *would = json_array();
    if (action == SET_DO_NOTHING) return would; /* it was aborted already */
    bool is_cut = set->row.state >= SET_COMMITTED;
    json_array_append_new(would, json_sprintf("abort set \"%s\", which is %s", set->row.name,
                                              catalog_set_state_name(set->row.state)));
    list_for_each (node, &set->members) {
        const struct snapshot *s = list_entry(node, struct snapshot, member_link);
        json_array_append_new(would, json_sprintf("%s snapshot \"%s\" of disk \"%s\"%s",
                                                  is_cut ? "delete" : "give up", s->row.name,
                                                  s->disk->row.name, is_cut ? ", for good" : ""));
    }
    return would;
}

static void set_event(struct op *op, enum set_event event)
{
    struct err *e = check_event(op, event);
    if (e) {
        op_fail(op, e);
        return;
    }
    struct set_store *store = set_store_begin(op);
    struct set_facts facts = {.now_ns = rt_now(op->control->rt),
                              .lease_until_ns = op->set->lease_until_ns,
                              .armed_until_ns = op->set->armed_until_ns};
    e = set_decide(op->set->row.state, event, &facts, &store->decision);
    if (e) {
        op_fail(op, err_wrap(e, "set \"%s\"", op->set->row.name));
        return;
    }
    if (event == SET_EVENT_ABORT && arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_abort(op->set, store->decision.action));
        return;
    }
    op_continue_with(op, steps_of(store->decision.action));
    op_next(op);
}

#define EVENT_STEP(name, event)                                                                    \
    static void step_event_##name(struct op *op)                                                   \
    {                                                                                              \
        set_event(op, event);                                                                      \
    }                                                                                              \
    static op_step *const event_##name[] = {step_event_##name, NULL};
EVENT_STEP(renew, SET_EVENT_RENEW)
EVENT_STEP(arm, SET_EVENT_ARM)
EVENT_STEP(commit, SET_EVENT_COMMIT)
EVENT_STEP(confirm, SET_EVENT_CONFIRM)
EVENT_STEP(finish, SET_EVENT_FINISH)
EVENT_STEP(abort, SET_EVENT_ABORT)
EVENT_STEP(lease_end, SET_EVENT_LEASE_END)
EVENT_STEP(armed_end, SET_EVENT_ARMED_END)

/* ---- The lease ------------------------------------------------------------------------------- */

static void lapsed(struct op *op)
{
    struct set *set = op->set;
    set->lapsing = false;
    if (op->error) {
        log_failure("a set whose lease has ended could not be aborted", op->error);
    } else if (set->row.state == SET_ABORTED) {
        op->control->counters.lapsed++;
        log_warn("the lease of a set has ended: aborted", "set=\"%s\"", set->row.name);
    }
}

static void lapse(struct control *control, struct set *set, uint64_t now_ns)
{
    static const struct op_plan lease_plan = {
        .verb = "set_lease_end", .lane = OP_LANE_SET, .steps = event_lease_end};
    static const struct op_plan armed_plan = {
        .verb = "set_armed_end", .lane = OP_LANE_SET, .steps = event_armed_end};
    if (!set_in_the_making(set) || set->lapsing || !set_pools_are_open(set)) return;
    const struct op_plan *plan = NULL;
    if (set->row.state == SET_ARMED && now_ns >= set->armed_until_ns) plan = &armed_plan;
    if (now_ns >= set->lease_until_ns) plan = &lease_plan;
    if (!plan) return;
    set->lapsing = true;
    op_start_internal(control, plan, set, lapsed, NULL);
}

void set_lease_tick(struct rt_timer *timer)
{
    struct control *control = container_of(timer, struct control, lease_timer);
    uint64_t now = rt_now(control->rt);
    list_for_each (node, &control->sets) {
        lapse(control, container_of(list_entry(node, struct object, link), struct set, object),
              now);
    }
    audit_tick(control);
    clock_tick(control);
    expire_tick(control);
    room_tick(control);
    stale_tick(control);
    rt_timer_set(control->rt, timer, now + control->options.lease_tick_ns, set_lease_tick);
}

/* ---- Prepare --------------------------------------------------------------------------------- */

static json_t *would_prepare(const struct set_draft *draft)
{
    json_t *would = json_array();
    if (draft->exists) return would; /* it is there */
    json_array_append_new(would, json_sprintf("prepare set \"%s\"", draft->row.name));
    for (unsigned i = 0; i < draft->count; i++)
        json_array_append_new(would, json_sprintf("prepare snapshot \"%s\"%s",
                                                  draft->snapshots[i].name,
                                                  draft->row.wants_full
                                                      ? ", to be copied in full"
                                                      : ""));
    return would;
}

static void step_prepare_check(struct op *op)
{
    struct set_store *store = set_store_begin(op);
    struct err *e = set_draft_fill(op, &store->draft, false);
    if (!e && arg_bool(op, "dry_run"))
        op_end_dry_run(op, would_prepare(&store->draft));
    else
        op_done(op, e);
}

static struct err *prepare_write(struct catalog *catalog, void *arg)
{
    struct set_store *store = ((struct op *)arg)->data;
    return set_draft_write(catalog, &store->draft);
}

static void step_prepare_store(struct op *op)
{
    struct set_store *store = op->data;
    if (store->draft.exists) {
        op_next(op);
        return;
    }
    op_catalog_audited(op, prepare_write);
}

static void step_prepare_publish(struct op *op)
{
    struct set_store *store = op->data;
    if (!store->draft.exists) set_draft_publish(op, &store->draft);
    op->result = json_set(op->control, store->draft.set);
    op_next(op);
}

static op_step *const prepare_steps[] = {step_prepare_check, step_prepare_store,
                                         step_prepare_publish, NULL};

const struct op_plan plans_set[] = {
    {"set_prepare", OP_LANE_GENERAL, prepare_steps, NULL},
    {"set_renew", OP_LANE_SET, event_renew, NULL},
    {"set_arm", OP_LANE_SET, event_arm, NULL},
    {"set_commit", OP_LANE_SET, event_commit, NULL},
    {"set_confirm", OP_LANE_SET, event_confirm, NULL},
    {"set_finish", OP_LANE_SET, event_finish, NULL},
    {"set_abort", OP_LANE_SET, event_abort, NULL},
    {0},
};
