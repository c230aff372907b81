/*
 * PERSISTENT RESERVE OUT (SPC-4 6.16, 5.13): registrations and reservations, in memory.
 *
 * Each service action is a function over struct scsi_pr, which is a plain value: to make it persistent
 * (APTPL), store the value before the command is answered.
 */
#include "scsi/scsi_int.h"

#include <stdlib.h>

enum { PARAMETER_BYTES = 24 };
enum { REGISTER = 0, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE };

struct pr_request {
    struct scsi_task *task;
    struct scsi_lun *lun;
    struct scsi_pr *pr;
    const struct scsi_port *port;
    int index; /* of the sender's registration, -1 = none */
    uint8_t action, type;
    uint64_t key, action_key;
};

void scsi_pr_out_parse(struct scsi_task *task)
{
    uint32_t bytes = load_be32(task->cdb + 5);
    /* SPC-4 6.16.1: other lengths only with SPEC_I_PT and REGISTER AND MOVE. */
    if (bytes != PARAMETER_BYTES) {
        scsi_fail(task, STATUS_PARAMETER_LENGTH);
        return;
    }
    uint8_t action = task->cdb[1] & 0x1F;
    bool uses_type =
        action == RESERVE || action == RELEASE || action == PREEMPT || action == PREEMPT_AND_ABORT;
    if (uses_type && task->cdb[2] >> 4) { /* scope: the logical unit only */
        scsi_fail_cdb(task, 2, 7);
        return;
    }
    task->transfer = SCSI_TRANSFER_OUT;
    task->transfer_bytes = bytes;
}

static void conflict(struct pr_request *r)
{
    scsi_fail_status(r->task, SCSI_STATUS_RESERVATION_CONFLICT);
}

static bool type_is_valid(uint8_t type)
{
    return type == PR_WRITE_EXCLUSIVE || type == PR_EXCLUSIVE_ACCESS ||
           (type >= PR_WRITE_EXCLUSIVE_REGISTRANTS && type <= PR_EXCLUSIVE_ACCESS_ALL);
}

/* ---- Registrations --------------------------------------------------------------------------- */

static void drop_registration(struct scsi_pr *pr, unsigned index)
{
    pr->count--;
    memmove(&pr->registrations[index], &pr->registrations[index + 1],
            (pr->count - index) * sizeof *pr->registrations);
    if (pr->holder > index) pr->holder--;
}

/* Tells all registrants but one port. */
static void tell_registrants(struct pr_request *r, enum scsi_attention attention)
{
    for (unsigned i = 0; i < r->pr->count; i++) {
        const struct scsi_port *port = &r->pr->registrations[i].port;
        if (!scsi_port_equal(port, r->port)) scsi_lun_raise_for_port(r->lun, attention, port);
    }
}

/* SPC-4 5.13.11.2.2: the holder's registration takes the reservation with it; others hear of it where
 * they had rights by it. */
static void unregister(struct pr_request *r)
{
    bool held = scsi_pr_is_holder(r->pr, r->index);
    uint8_t type = r->pr->type;
    bool ends = held && (!scsi_pr_all_registrants(type) || r->pr->count == 1);
    if (ends) r->pr->type = 0;
    drop_registration(r->pr, (unsigned)r->index);
    if (ends &&
        (type == PR_WRITE_EXCLUSIVE_REGISTRANTS || type == PR_EXCLUSIVE_ACCESS_REGISTRANTS)) {
        tell_registrants(r, SCSI_ATTENTION_RESERVATIONS_RELEASED);
    }
}

static void add_registration(struct pr_request *r)
{
    struct scsi_pr *pr = r->pr;
    if (!pr->registrations) {
        pr->registrations = calloc(SCSI_REGISTRATIONS_MAX, sizeof *pr->registrations);
    }
    if (!pr->registrations || pr->count == SCSI_REGISTRATIONS_MAX) {
        /* INSUFFICIENT REGISTRATION RESOURCES (SPC-4 5.13.7) */
        scsi_fail_asc(r->task, SENSE_ILLEGAL_REQUEST, SCSI_ASC(0x55, 0x04));
        return;
    }
    pr->registrations[pr->count++] =
        (struct scsi_registration){.port = *r->port, .key = r->action_key};
    pr->generation++;
}

static void do_register(struct pr_request *r)
{
    if (r->action == REGISTER) {
        uint64_t expected = r->index < 0 ? 0 : r->pr->registrations[r->index].key;
        if (r->key != expected) {
            conflict(r);
            return;
        }
    }
    if (r->index < 0) {
        if (r->action_key) add_registration(r);
        return;
    }
    if (r->action_key) {
        r->pr->registrations[r->index].key = r->action_key;
    } else {
        unregister(r);
    }
    r->pr->generation++;
}

/* ---- Reservations ---------------------------------------------------------------------------- */

static void do_reserve(struct pr_request *r)
{
    if (!type_is_valid(r->type)) {
        scsi_fail_cdb(r->task, 2, 3);
    } else if (!r->pr->type) {
        r->pr->type = r->type;
        r->pr->holder = (unsigned)r->index;
    } else if (!scsi_pr_is_holder(r->pr, r->index) || r->pr->type != r->type) {
        conflict(r);
    }
}

static void do_release(struct pr_request *r)
{
    if (!r->pr->type || !scsi_pr_is_holder(r->pr, r->index))
        return; /* SPC-4 5.13.11.2.3: nothing to do */
    if (r->pr->type != r->type) {
        /* INVALID RELEASE OF PERSISTENT RESERVATION */
        scsi_fail_asc(r->task, SENSE_ILLEGAL_REQUEST, SCSI_ASC(0x26, 0x04));
        return;
    }
    r->pr->type = 0;
    if (r->type >= PR_WRITE_EXCLUSIVE_REGISTRANTS) {
        tell_registrants(r, SCSI_ATTENTION_RESERVATIONS_RELEASED);
    }
}

static void do_clear(struct pr_request *r)
{
    tell_registrants(r, SCSI_ATTENTION_RESERVATIONS_PREEMPTED);
    r->pr->type = 0;
    r->pr->count = 0;
    r->pr->generation++;
}

/* ---- PREEMPT (SPC-4 5.13.11.2.4 to 5.13.11.2.6) ---------------------------------------------- */

/* Tasks of a port that lost its registration: those that run are waited for, the others will not run. */
static void cancel_tasks_of(struct scsi_lun *lun, const struct scsi_port *port)
{
    list_for_each (node, &lun->tasks) {
        struct scsi_task *task = list_entry(node, struct scsi_task, lun_link);
        if (scsi_port_equal(&task->nexus->port, port)) scsi_state(task)->cancelled = true;
    }
}

/* Removes registrations of the others, of one key or (0) of any; returns how many there were, counting
 * also the sender's own, which stays. */
static unsigned remove_keys(struct pr_request *r, uint64_t key)
{
    unsigned matched = 0;
    for (unsigned i = 0; i < r->pr->count;) {
        struct scsi_registration *registration = &r->pr->registrations[i];
        bool own = scsi_port_equal(&registration->port, r->port);
        if (key ? registration->key != key : own) {
            i++;
            continue;
        }
        matched++;
        if (own) {
            i++;
            continue;
        }
        scsi_lun_raise_for_port(r->lun, SCSI_ATTENTION_REGISTRATIONS_PREEMPTED,
                                &registration->port);
        if (r->action == PREEMPT_AND_ABORT) cancel_tasks_of(r->lun, &registration->port);
        drop_registration(r->pr, i);
    }
    return matched;
}

static void take_reservation(struct pr_request *r)
{
    uint8_t old = r->pr->type;
    (void)remove_keys(r, r->action_key);
    r->pr->type = r->type;
    r->pr->holder = (unsigned)scsi_pr_find(r->pr, r->port);
    r->pr->generation++;
    if (old != r->type) tell_registrants(r, SCSI_ATTENTION_RESERVATIONS_RELEASED);
}

static void do_preempt(struct pr_request *r)
{
    struct scsi_pr *pr = r->pr;
    bool all = pr->type && scsi_pr_all_registrants(pr->type);
    bool takes =
        pr->type && (all ? r->action_key == 0 : pr->registrations[pr->holder].key == r->action_key);
    if (takes) {
        if (!type_is_valid(r->type)) {
            scsi_fail_cdb(r->task, 2, 3);
        } else {
            take_reservation(r);
        }
        return;
    }
    if (!r->action_key) { /* no registration has key 0 */
        scsi_fail_parameter(r->task, 8);
        return;
    }
    if (!remove_keys(r, r->action_key)) {
        conflict(r);
        return;
    }
    pr->generation++;
}

/* ---- The command ----------------------------------------------------------------------------- */

static void perform(struct pr_request *r)
{
    if (r->action == REGISTER || r->action == REGISTER_AND_IGNORE) {
        do_register(r);
        return;
    }
    if (r->index < 0 || r->pr->registrations[r->index].key != r->key) {
        conflict(r);
        return;
    }
    switch (r->action) {
    case RESERVE:
        do_reserve(r);
        break;
    case RELEASE:
        do_release(r);
        break;
    case CLEAR:
        do_clear(r);
        break;
    default:
        do_preempt(r);
        break;
    }
}

/* A PREEMPT AND ABORT that waits has done its work: two of them, each of which cancelled the other,
 * must not wait for each other. */
static bool tasks_are_ending(const struct scsi_lun *lun)
{
    list_for_each (node, &lun->tasks) {
        struct scsi_task *task = list_entry(node, struct scsi_task, lun_link);
        const struct scsi_task_state *state = scsi_state(task);
        if (state->cancelled && !state->preempting && state->phase != SCSI_PHASE_BEGUN) return true;
    }
    return false;
}

void scsi_pr_task_ended(struct scsi_lun *lun)
{
    if (list_is_empty(&lun->preempting) || tasks_are_ending(lun)) return;
    for (struct list_node *node; (node = list_pop_front(&lun->preempting));) {
        struct scsi_task *task = list_entry(node, struct scsi_task, query.link);
        scsi_state(task)->preempting = false;
        scsi_complete_later(task);
    }
}

void scsi_pr_out_run(struct scsi_task *task)
{
    uint8_t list[PARAMETER_BYTES];
    struct scsi_lun *lun = task->lun;
    struct pr_request r = {.task = task,
                           .lun = lun,
                           .pr = &lun->pr,
                           .port = &task->nexus->port,
                           .index = scsi_pr_find(&lun->pr, &task->nexus->port),
                           .action = task->cdb[1] & 0x1F,
                           .type = task->cdb[2] & 0x0F};
    if (!scsi_out_copy(task, 0, list, sizeof list)) {
        scsi_fail(task, STATUS_PARAMETER_LENGTH);
    } else if (list[20] & 0x0D) { /* SPEC_I_PT, ALL_TG_PT, APTPL: not among the capabilities */
        scsi_fail_parameter(task, 20);
    } else {
        r.key = load_be64(list);
        r.action_key = load_be64(list + 8);
        perform(&r);
    }
    if (!scsi_has_failed(task) && r.action == PREEMPT_AND_ABORT && tasks_are_ending(lun)) {
        list_node_init(&task->query.link);
        list_push_back(&lun->preempting, &task->query.link);
        scsi_state(task)->preempting = true;
        return;
    }
    scsi_complete_later(task);
}
