/*
 * PERSISTENT RESERVE OUT (SPC-4 6.16, 5.13): registrations and reservations.
 *
 * Each service action is a function over struct scsi_pr, which is a plain value.  Where the last REGISTER said so
 * (APTPL, SPC-4 5.13.5) all of it is stored after each change, before the command is answered; it is in force at once.
 */
#include "scsi/scsi_int.h"

#include <stdlib.h>

enum { PARAMETER_BYTES = 24 };
enum { REGISTER = 0, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE };

struct pr_request {
    struct scsi_task *task; /* NULL: a registration is forgotten */
    struct scsi_reservations *reservations;
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

static void raise_for_port(struct scsi_reservations *reservations, enum scsi_attention attention,
                           const struct scsi_port *port)
{
    list_for_each (node, &reservations->luns) {
        scsi_lun_raise_for_port(list_entry(node, struct scsi_lun, reservations_link), attention,
                                port);
    }
}

/* Tells all registrants but one port. */
static void tell_registrants(struct pr_request *r, enum scsi_attention attention)
{
    for (unsigned i = 0; i < r->pr->count; i++) {
        const struct scsi_port *port = &r->pr->registrations[i].port;
        if (!scsi_port_equal(port, r->port)) raise_for_port(r->reservations, attention, port);
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

static bool has_room(struct scsi_pr *pr)
{
    if (!pr->registrations)
        pr->registrations = calloc(SCSI_REGISTRATIONS_MAX, sizeof *pr->registrations);
    return pr->registrations && pr->count < SCSI_REGISTRATIONS_MAX;
}

static void add_registration(struct pr_request *r)
{
    struct scsi_pr *pr = r->pr;
    if (!has_room(pr)) {
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
static void cancel_tasks_of(struct scsi_reservations *reservations, const struct scsi_port *port)
{
    list_for_each (lun_node, &reservations->luns) {
        struct scsi_lun *lun = list_entry(lun_node, struct scsi_lun, reservations_link);
        list_for_each (node, &lun->tasks) {
            struct scsi_task *task = list_entry(node, struct scsi_task, lun_link);
            if (scsi_port_equal(&task->nexus->port, port)) scsi_state(task)->cancelled = true;
        }
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
        raise_for_port(r->reservations, SCSI_ATTENTION_REGISTRATIONS_PREEMPTED, &registration->port);
        if (r->action == PREEMPT_AND_ABORT) cancel_tasks_of(r->reservations, &registration->port);
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
static bool is_ending(struct scsi_lun *lun)
{
    list_for_each (node, &lun->tasks) {
        struct scsi_task *task = list_entry(node, struct scsi_task, lun_link);
        const struct scsi_task_state *state = scsi_state(task);
        if (state->cancelled && !state->preempting && state->phase != SCSI_PHASE_BEGUN) return true;
    }
    return false;
}

static bool tasks_are_ending(const struct scsi_reservations *reservations)
{
    list_for_each (node, &reservations->luns) {
        if (is_ending(list_entry(node, struct scsi_lun, reservations_link))) return true;
    }
    return false;
}

void scsi_pr_task_ended(struct scsi_lun *lun)
{
    struct scsi_reservations *reservations = lun->reservations;
    if (list_is_empty(&reservations->preempting) || tasks_are_ending(reservations)) return;
    for (struct list_node *node; (node = list_pop_front(&reservations->preempting));) {
        struct scsi_task *task = list_entry(node, struct scsi_task, query.link);
        scsi_state(task)->preempting = false;
        scsi_complete_later(task);
    }
}

static void end(struct scsi_task *task)
{
    struct scsi_reservations *reservations = task->lun->reservations;
    bool aborts = (task->cdb[1] & 0x1F) == PREEMPT_AND_ABORT;
    if (scsi_has_failed(task) || !aborts || !tasks_are_ending(reservations)) {
        scsi_complete_later(task);
        return;
    }
    list_node_init(&task->query.link);
    list_push_back(&reservations->preempting, &task->query.link);
    scsi_state(task)->preempting = true;
}

/* ---- What outlives a restart (SPC-4 5.13.5) --------------------------------------------------- */

static void store(struct scsi_reservations *reservations, void (*done)(void *arg, struct err *e),
                  void *arg)
{
    struct scsi_pr *pr = &reservations->pr;
    const struct scsi_reservations_options *options = &reservations->options;
    for (unsigned i = 0; i < pr->count; i++)
        pr->registrations[i].holds = scsi_pr_is_holder(pr, (int)i) ? pr->type : 0;
    options->store(options->arg, &options->object, pr->registrations, pr->is_kept ? pr->count : 0,
                   done, arg);
}

/* It is in force; that it would not outlive a restart must not be answered as success. */
static void stored(void *arg, struct err *e)
{
    struct scsi_task *task = arg;
    if (e) scsi_fail_asc(task, SENSE_HARDWARE_ERROR, SCSI_ASC(0x44, 0x00));
    err_free(e);
    end(task);
}

static void forgotten(void *arg, struct err *e)
{
    (void)arg;
    err_free(e); /* who stores has said it; a restart looks at who is served */
}

void scsi_reservations_restore(struct scsi_reservations *reservations,
                               const struct scsi_registration *registration)
{
    struct scsi_pr *pr = &reservations->pr;
    if (!has_room(pr)) return;
    if (registration->holds) {
        pr->type = registration->holds;
        pr->holder = pr->count;
    }
    pr->registrations[pr->count++] = *registration;
    pr->is_kept = true;
}

void scsi_reservations_forget(struct scsi_reservations *reservations, const char *initiator)
{
    struct scsi_pr *pr = &reservations->pr;
    bool found = false;
    for (unsigned i = 0; i < pr->count;) {
        struct scsi_port port = pr->registrations[i].port;
        if (strcmp(port.name, initiator) != 0) {
            i++;
            continue;
        }
        struct pr_request r = {
            .reservations = reservations, .pr = pr, .port = &port, .index = (int)i};
        unregister(&r);
        pr->generation++;
        found = true;
    }
    if (found && pr->is_kept && reservations->options.store) store(reservations, forgotten, NULL);
}

/* SPC-4 6.16.3: SPEC_I_PT and ALL_TG_PT are not among the capabilities; APTPL is for the two REGISTERs, and
 * nothing to the others. */
static bool flags_are_supported(const struct pr_request *r, uint8_t flags)
{
    bool registers = r->action == REGISTER || r->action == REGISTER_AND_IGNORE;
    if (flags & 0x0C) return false;
    return !(flags & 0x01) || !registers || r->reservations->options.store;
}

static bool is_kept_by(const struct pr_request *r, uint8_t flags)
{
    bool registers = r->action == REGISTER || r->action == REGISTER_AND_IGNORE;
    return registers ? flags & 0x01 : r->pr->is_kept;
}

void scsi_pr_out_run(struct scsi_task *task)
{
    uint8_t list[PARAMETER_BYTES];
    struct scsi_reservations *reservations = task->lun->reservations;
    struct scsi_pr *pr = &reservations->pr;
    bool was_kept = pr->is_kept;
    struct pr_request r = {.task = task,
                           .reservations = reservations,
                           .pr = pr,
                           .port = &task->nexus->port,
                           .index = scsi_pr_find(pr, &task->nexus->port),
                           .action = task->cdb[1] & 0x1F,
                           .type = task->cdb[2] & 0x0F};
    if (!scsi_out_copy(task, 0, list, sizeof list)) {
        scsi_fail(task, STATUS_PARAMETER_LENGTH);
    } else if (!flags_are_supported(&r, list[20])) {
        scsi_fail_parameter(task, 20);
    } else {
        r.key = load_be64(list);
        r.action_key = load_be64(list + 8);
        perform(&r);
        if (!scsi_has_failed(task)) pr->is_kept = is_kept_by(&r, list[20]);
    }
    if (!scsi_has_failed(task) && (was_kept || pr->is_kept))
        store(reservations, stored, task);
    else
        end(task);
}
