/* Verbs on snapshots.  `snapshot create` walks the table of set_machine.c in one operation,
 * unquiesced. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

/* ---- Create ---------------------------------------------------------------------------------- */

static void step_draft(struct op *op)
{
    struct set_store *store = set_store_begin(op);
    op_done(op, set_draft_fill(op, &store->draft, true));
}

static struct err *draft_write(struct catalog *catalog, void *arg)
{
    struct set_store *store = ((struct op *)arg)->data;
    return set_draft_write(catalog, &store->draft);
}

static void step_draft_store(struct op *op)
{
    op_catalog(op, draft_write);
}

/* Carries out a transition that needs nothing but the table's consent. */
static void enter_by(struct op *op, struct set *set, enum set_event event, uint64_t at_ns)
{
    struct set_facts facts = {.now_ns = rt_now(op->control->rt),
                              .lease_until_ns = set->lease_until_ns,
                              .armed_until_ns = UINT64_MAX};
    struct set_decision decision;
    struct err *e = set_decide(set->row.state, event, &facts, &decision);
    check(!e);
    if (decision.to != set->row.state) set_enter(op->control, set, decision.to, at_ns);
}

static void step_cut(struct op *op)
{
    struct set_store *store = op->data;
    set_draft_publish(op, &store->draft);
    struct set *set = store->draft.set;
    op_take_set(op, set); /* nobody else moves it meanwhile */
    op->undo_due = true;
    set->armed_until_ns = rt_now(op->control->rt) + SET_ARMED_DEFAULT_MS * RT_MS;
    enter_by(op, set, SET_EVENT_ARM, rt_wall(op->control->rt));
    set_cut(op, set, true, op_done);
}

static void step_created(struct op *op)
{
    struct set_store *store = op->data;
    struct set *set = store->draft.set;
    op->undo_due = false; /* the points are there; what is left undone lapses with the lease */
    set_cut_note(op, set);
    enter_by(op, set, SET_EVENT_COMMIT, rt_wall(op->control->rt));
    enter_by(op, set, SET_EVENT_CONFIRM, rt_wall(op->control->rt));
    set->row.application_consistent = false; /* no host was quiesced */
    set_store_fill(store, set, 1);
    store->row.state = SET_CREATED;
    store->events[store->event_count++] = (struct catalog_event){.set = set->row.uuid,
                                                                 .sequence = set->event_count,
                                                                 .state = SET_CREATED,
                                                                 .at_ns = rt_wall(op->control->rt)};
    op_catalog_audited(op, set_store_write);
}

static void step_create_answer(struct op *op)
{
    struct set_store *store = op->data;
    struct set *set = store->draft.set;
    enter_by(op, set, SET_EVENT_FINISH,
             store->events[store->event_count - 1].at_ns); /* as stored */
    json_t *snapshots = json_array();
    list_for_each (node, &set->members) {
        json_array_append_new(
            snapshots, json_snapshot(op->control, list_entry(node, struct snapshot, member_link)));
    }
    op->result = json_pack("{s:o, s:o}", "set", json_set(op->control, set), "snapshots", snapshots);
    op_next(op);
}

static struct err *undo_write(struct catalog *catalog, void *arg)
{
    struct set_store *store = ((struct op *)arg)->data;
    for (unsigned i = 0; i < store->draft.count; i++) {
        TRY(catalog_delete_snapshot(catalog, &store->draft.snapshots[i].uuid));
    }
    TRY(catalog_put_set(catalog, &store->row));
    return catalog_add_event(catalog, &store->events[0]);
}

/* The set stays as aborted: a cut that failed may have got through, and the next start must know
 * whose it is. */
static void step_undo_store(struct op *op)
{
    struct set_store *store = op->data;
    struct set *set = store->draft.set;
    enter_by(op, set, SET_EVENT_ABORT, rt_wall(op->control->rt));
    set_store_fill(store, set, set->event_count - 1);
    op_catalog(op, undo_write);
}

static void step_undo_forget(struct op *op)
{
    struct set *set = ((struct set_store *)op->data)->draft.set;
    while (!list_is_empty(&set->members)) {
        inventory_remove_snapshot(
            list_entry(list_front(&set->members), struct snapshot, member_link));
    }
    op_next(op);
}

static op_step *const create_steps[] = {step_draft,   step_draft_store,   step_cut,
                                        step_created, step_create_answer, NULL};
static op_step *const undo_steps[] = {step_undo_store, step_undo_forget, NULL};

/* ---- Rename ---------------------------------------------------------------------------------- */

struct rename_data {
    struct snapshot *snapshot;
    struct catalog_snapshot row;
};

static struct err *rename_check(struct op *op, struct rename_data *data)
{
    const char *name = arg_text(op, "new_name");
    TRY(find_snapshot(op->control, arg_text(op, "name"), &data->snapshot));
    data->row = data->snapshot->row;
    if (data->snapshot->set->row.state != SET_CREATED) {
        return err_new(STATUS_CONFLICT, "set \"%s\" is %s", data->snapshot->set->row.name,
                       catalog_set_state_name(data->snapshot->set->row.state));
    }
    if (strcmp(name, data->row.name) != 0)
        TRY(name_check_free(&op->control->snapshots, "snapshot", name));
    snprintf(data->row.name, sizeof data->row.name, "%s", name);
    return NULL;
}

static struct err *rename_write(struct catalog *catalog, void *arg)
{
    const struct rename_data *data = ((struct op *)arg)->data;
    return catalog_put_snapshot(catalog, &data->row);
}

static void step_rename(struct op *op)
{
    struct rename_data *data = op_data(op, sizeof *data);
    struct err *e = rename_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    op_catalog_audited(op, rename_write);
}

static void step_renamed(struct op *op)
{
    struct rename_data *data = op->data;
    memcpy(data->snapshot->row.name, data->row.name, sizeof data->row.name);
    op->result = json_snapshot(op->control, data->snapshot);
    op_next(op);
}

static op_step *const rename_steps[] = {step_rename, step_renamed, NULL};

const struct op_plan plans_snapshot[] = {
    {"snapshot_create", OP_LANE_GENERAL, create_steps, undo_steps},
    {"snapshot_rename", OP_LANE_GENERAL, rename_steps, NULL},
    {0},
};
