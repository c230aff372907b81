/* Operations: lanes, steps, catalog transactions, audit and idempotency. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "control/host_int.h"

static void op_run(struct op *op);
static void op_finish(struct op *op);

/* ---- Arguments ------------------------------------------------------------------------------- */

const char *arg_text(const struct op *op, const char *name)
{
    return json_string_value(json_object_get(op->arguments, name));
}

uint64_t arg_uint(const struct op *op, const char *name, uint64_t if_absent)
{
    const json_t *value = json_object_get(op->arguments, name);
    return value ? (uint64_t)json_integer_value(value) : if_absent;
}

bool arg_bool(const struct op *op, const char *name)
{
    return json_is_true(json_object_get(op->arguments, name));
}

bool arg_is_given(const struct op *op, const char *name)
{
    return json_object_get(op->arguments, name) != NULL;
}

/* ---- Lanes ----------------------------------------------------------------------------------- */

void lane_init(struct lane *lane)
{
    lane->busy = false;
    list_init(&lane->waiting);
}

static void lane_enter(struct op *op)
{
    if (!op->lane || !op->lane->busy) {
        if (op->lane) op->lane->busy = true;
        op->ready = true;
        op_run(op);
    } else {
        list_push_back(&op->lane->waiting, &op->lane_link);
    }
}

/* set: whose lane it is; NULL = the general one.  A forgotten set goes with its last operation. */
static void lane_leave(struct lane *lane, struct set *set)
{
    struct list_node *node = list_pop_front(&lane->waiting);
    if (!node) {
        lane->busy = false;
        if (set && set->gone) {
            list_remove(&set->object.link);
            free(set->imports);
            free(set);
        }
        return;
    }
    struct op *next = list_entry(node, struct op, lane_link);
    next->ready = true;
    op_run(next);
}

bool op_has_set(const struct op *op, const struct set *set)
{
    for (unsigned i = 0; i < op->taken_count; i++) {
        if (op->taken_sets[i] == set) return true;
    }
    return false;
}

void op_take_set(struct op *op, struct set *set)
{
    if (op_has_set(op, set)) return;
    check(!set->lane.busy);
    set->lane.busy = true;
    array_push(op->taken_sets, op->taken_count, set);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

void *op_data(struct op *op, size_t size)
{
    check(!op->data);
    op->data = calloc(1, size);
    check(op->data);
    op->data_size = size;
    return op->data;
}

void op_next(struct op *op)
{
    op->ready = true;
    if (!op->running) op_run(op);
}

void op_fail(struct op *op, struct err *e)
{
    check(e);
    if (op->undoing || op->finishing) { /* the first failure is the answer */
        log_failure("undoing a change failed; the next start puts it right", e);
        err_free(e);
    } else {
        op->error = e;
        op->undoing = op->undo_due && op->plan->undo;
        op->steps = op->undoing ? op->plan->undo : NULL;
        op->step = 0;
        op->repeat = false;
    }
    op_next(op);
}

void op_done(void *arg, struct err *e)
{
    struct op *op = arg;
    if (e) {
        op_fail(op, e);
    } else {
        op_next(op);
    }
}

void op_unit_done(void *arg)
{
    op_next(arg);
}

void op_repeat(struct op *op)
{
    op->repeat = true;
}

void op_continue_with(struct op *op, op_step *const *steps)
{
    op->steps = steps;
    op->step = 0;
}

void op_end(struct op *op)
{
    op->steps = NULL;
    op_next(op);
}

static void op_run(struct op *op)
{
    check(!op->running);
    op->running = true;
    while (op->ready) {
        op->ready = false;
        if (op->repeat) {
            op->repeat = false;
            check(op->step > 0);
            op->step--;
        }
        if (op->access_due) { /* its turn has come: rights may have gone while it waited */
            op->access_due = false;
            struct err *e = access_check_objects(op);
            if (e) {
                op_fail(op, e);
                continue;
            }
        }
        op_step *step = op->steps ? op->steps[op->step] : NULL;
        if (!step) {
            op_finish(op); /* may free it */
            return;
        }
        op->step++;
        step(op);
    }
    op->running = false;
}

/* ---- The catalog ----------------------------------------------------------------------------- */

/* What the audit says of the arguments: everything but secrets. */
static char *audit_arguments(const struct op *op)
{
    static const char *const secrets[] = {"chap_secret", "mutual_secret"};
    json_t *copy = json_copy(op->arguments);
    for (unsigned i = 0; copy && i < countof(secrets); i++) {
        if (json_object_get(copy, secrets[i]))
            json_object_set_new(copy, secrets[i], json_string("***"));
    }
    char *text = copy ? json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(copy);
    return text ? text : strdup("{}");
}

static void catalog_work(struct rt_work *work)
{
    struct op *op = container_of(work, struct op, work);
    struct catalog_audit audit = {.at_ns = rt_wall(op->control->rt),
                                  .actor = op->actor.name,
                                  .verb = op->audit_verb ? op->audit_verb
                                          : op->verb     ? op->verb->id
                                                         : op->plan->verb,
                                  .arguments = op->audit_arguments,
                                  .result = op->audit_result};
    op->work_error =
        catalog_transact(op->control->catalog, op->catalog_fn, op, op->with_audit ? &audit : NULL);
}

static void catalog_worked(struct rt_work *work)
{
    struct op *op = container_of(work, struct op, work);
    struct err *e = take_ptr(&op->work_error);
    if (!e && op->with_audit) op->audited = true;
    op_done(op, e);
}

static void catalog_start(struct op *op, catalog_fn *fn, bool with_audit, const char *result)
{
    op->catalog_fn = fn;
    op->with_audit = with_audit;
    op->audit_result = result;
    if (with_audit && !op->audit_arguments) op->audit_arguments = audit_arguments(op);
    op->work.fn = catalog_work;
    op->work.done = catalog_worked;
    rt_work(op->control->worker, &op->work);
}

static void plain_work(struct rt_work *work)
{
    struct op *op = container_of(work, struct op, work);
    op->work_error = op->worker_fn(op);
}

static void plain_worked(struct rt_work *work)
{
    struct op *op = container_of(work, struct op, work);
    op_done(op, take_ptr(&op->work_error));
}

void op_worker(struct op *op, struct err *(*fn)(struct op *op))
{
    op->worker_fn = fn;
    op->work.fn = plain_work;
    op->work.done = plain_worked;
    rt_work(op->control->worker, &op->work);
}

void op_catalog(struct op *op, catalog_fn *fn)
{
    catalog_start(op, fn, false, "");
}

void op_catalog_audited(struct op *op, catalog_fn *fn)
{
    catalog_start(op, fn, true, "OK");
}

void op_catalog_record(struct op *op, catalog_fn *fn, const char *result)
{
    catalog_start(op, fn, true, result);
}

/* ---- Idempotency: the answer to the same request under the same key is the same for 24 h ----- */

/* Verb and SHA-256 of the arguments: they may hold secrets, which are stored nowhere in the clear. */
static char *request_text(const struct op *op)
{
    char *arguments = json_dumps(op->arguments, JSON_COMPACT | JSON_SORT_KEYS);
    uint8_t hash[32];
    char hex[65], *text = NULL;
    if (arguments && !gnutls_hash_fast(GNUTLS_DIG_SHA256, arguments, strlen(arguments), hash) &&
        asprintf(&text, "%s %s", op->verb->id, text_format_hex(hash, sizeof hash, hex)) < 0) {
        text = NULL;
    }
    free(arguments);
    return text;
}

static struct err *idempotency_find(struct catalog *catalog, void *arg)
{
    struct op *op = arg;
    return catalog_find_idempotency(catalog, op->idempotency_key, op->actor.name,
                                    rt_wall(op->control->rt), &op->stored_request,
                                    &op->stored_status, &op->stored_answer);
}

static struct err *stored_error(const char *status, const json_t *stored)
{
    const char *message = json_string_value(json_object_get(stored, "message"));
    struct err *e = err_new(status_from_name(status), "%s", message ? message : status);
    const char *next = json_string_value(json_object_get(stored, "next"));
    return next ? err_next(e, "%s", next) : e;
}

static void step_idempotency_check(struct op *op)
{
    if (!op->stored_request) {
        op_continue_with(op, op->plan->steps);
        op_next(op);
        return;
    }
    auto_free char *request = request_text(op);
    op->audited = true;            /* this call changes nothing */
    op->idempotency_key[0] = '\0'; /* and stores nothing */
    if (!request || strcmp(request, op->stored_request) != 0) {
        op_fail(op, err_new(STATUS_CONFLICT, "this idempotency key was used for another request"));
        return;
    }
    json_t *stored = json_loads(op->stored_answer, 0, NULL);
    if (strcmp(op->stored_status, "OK") != 0) {
        struct err *e = stored_error(op->stored_status, stored);
        json_decref(stored);
        op_fail(op, e);
        return;
    }
    op->result = stored;
    op_end(op);
}

static void step_idempotency_find(struct op *op)
{
    op_catalog(op, idempotency_find);
}

static op_step *const idempotency_steps[] = {step_idempotency_find, step_idempotency_check, NULL};

static struct err *idempotency_store(struct catalog *catalog, void *arg)
{
    struct op *op = arg;
    struct catalog_idempotency row = {.key = op->idempotency_key,
                                      .actor = op->actor.name,
                                      .request = op->stored_request,
                                      .status = op->stored_status,
                                      .answer = op->stored_answer,
                                      .at_ns = rt_wall(op->control->rt)};
    return catalog_put_idempotency(catalog, &row);
}

/* ---- The end --------------------------------------------------------------------------------- */

void op_answer(struct op *op, json_t *result)
{
    struct control_call *call = take_ptr(&op->call);
    if (!call) {
        json_decref(result);
        return;
    }
    call->result = result;
    call->error = NULL;
    call->done(call);
}

static bool worth_an_audit(const struct op *op)
{
    if (!op->verb && !op->audit_verb) return false;
    if (op->verb && op->verb->method == VERB_GET && err_status(op->error) != STATUS_DENIED)
        return false;
    if (op->audited || !op->error) return false;
    enum status status = err_status(op->error);
    if (status == STATUS_DENIED || status == STATUS_UNAUTHENTICATED) {
        return audit_denial_is_first(op->control, op->actor.name,
                                     op->verb ? op->verb->id : op->audit_verb);
    }
    return status != STATUS_BAD_REQUEST && status != STATUS_NOT_FOUND && status != STATUS_AMBIGUOUS;
}

static void step_audit_failure(struct op *op)
{
    op->audited = true;
    catalog_start(op, NULL, true, status_info(err_status(op->error))->name);
}

static void step_idempotency_store(struct op *op)
{
    json_t *answer = op->error ? json_failure(op->error) : json_incref(op->result);
    free(op->stored_request);
    free(op->stored_status);
    free(op->stored_answer);
    op->stored_request = request_text(op);
    op->stored_status = strdup(op->error ? status_info(err_status(op->error))->name : "OK");
    op->stored_answer = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    if (!op->stored_request || !op->stored_status || !op->stored_answer) {
        op_next(op);
        return;
    }
    op_catalog(op, idempotency_store);
}

static void step_answer(struct op *op)
{
    struct control *control = op->control;
    control->counters.calls++;
    if (op->error) control->counters.failures++;
    struct control_call *call = take_ptr(&op->call);
    if (call) {
        call->result = take_ptr(&op->result);
        call->error = take_ptr(&op->error);
        if (call->error && call->result) json_decref(take_ptr(&call->result));
        call->done(call);
    } else if (op->error && op->verb) {
        log_failure("an answered verb could not be recorded; the next start puts it right",
                    op->error);
    }
    op_end(op);
}

static op_step *const end_steps[] = {step_answer, NULL};
static op_step *const end_stored_steps[] = {step_idempotency_store, step_answer, NULL};
static op_step *const end_audit_steps[] = {step_audit_failure, step_answer, NULL};
static op_step *const end_audit_stored_steps[] = {step_audit_failure, step_idempotency_store,
                                                  step_answer, NULL};

void op_free(struct op *op)
{
    if (list_is_linked(&op->link)) list_remove(&op->link);
    if (list_is_linked(&op->lane_link)) list_remove(&op->lane_link);
    if (op->drop) op->drop(op->finish_arg);
    json_decref(op->arguments);
    json_decref(op->result);
    err_free(op->error);
    err_free(op->work_error);
    if (op->data_free) {
        op->data_free(op->data);
    } else {
        if (op->data) explicit_bzero(op->data, op->data_size); /* it may hold a drawn secret */
        free(op->data);
    }
    free(op->taken_sets);
    free(op->audit_arguments);
    free(op->stored_request);
    free(op->stored_status);
    free(op->stored_answer);
    free(op);
}

static void op_finish(struct op *op)
{
    if (!op->finishing) {
        op->finishing = true;
        bool keyed = op->idempotency_key[0] != '\0' && op->call;
        bool audit = worth_an_audit(op);
        op->steps = audit ? (keyed ? end_audit_stored_steps : end_audit_steps)
                          : (keyed ? end_stored_steps : end_steps);
        op->step = 0;
        op->running = false;
        op_next(op);
        return;
    }
    struct lane *lane = op->lane;
    struct set *set = op->set, **taken_sets = take_ptr(&op->taken_sets);
    unsigned taken_count = op->taken_count;
    if (op->finish) op->finish(op);
    op->drop = NULL;
    op_free(op);
    for (unsigned i = 0; i < taken_count; i++) lane_leave(&taken_sets[i]->lane, taken_sets[i]);
    free(taken_sets);
    if (lane) lane_leave(lane, set);
}

void op_end_dry_run(struct op *op, json_t *would)
{
    op->audited = true;
    op->result = json_pack("{s:b, s:o}", "dry_run", 1, "would", would);
    op_end(op);
}

/* ---- The beginning --------------------------------------------------------------------------- */

static struct op *op_create(struct control *control, const struct op_plan *plan)
{
    struct op *op = calloc(1, sizeof *op);
    check(op);
    op->control = control;
    op->plan = plan;
    op->steps = plan->steps;
    list_push_back(&control->ops, &op->link);
    return op;
}

void op_start_internal(struct control *control, const struct op_plan *plan, struct set *set,
                       void (*finish)(struct op *op), void *finish_arg)
{
    op_start_owning(control, plan, set, finish, finish_arg, NULL);
}

void op_start_owning(struct control *control, const struct op_plan *plan, struct set *set,
                     void (*finish)(struct op *op), void *finish_arg, void (*drop)(void *finish_arg))
{
    struct op *op = op_create(control, plan);
    snprintf(op->actor.name, sizeof op->actor.name, "tarnd");
    op->actor.role = CONTROL_ROLE_ADMIN;
    op->arguments = json_object();
    op->set = set;
    op->finish = finish;
    op->finish_arg = finish_arg;
    op->drop = drop;
    switch (plan->lane) {
    case OP_LANE_GENERAL:
        op->lane = &control->lane;
        break;
    case OP_LANE_SET:
        op->lane = &set->lane;
        break;
    case OP_LANE_NONE:
        break;
    default:
        unreachable("lane");
    }
    lane_enter(op);
}

static struct err *op_prepare(struct op *op, struct control_call *call)
{
    struct control *control = op->control;
    op->verb = verb_find(call->verb);
    if (!op->verb || strcmp(op->plan->verb, call->verb) != 0) {
        return err_new(STATUS_NOT_SUPPORTED, "there is no verb \"%s\"", call->verb);
    }
    if (!control->started || control->stopping) {
        return err_new(STATUS_AGAIN, "the server is %s",
                       control->stopping ? "stopping" : "starting");
    }
    TRY(access_check_verb(op));
    json_t *given = call->arguments ? json_copy(call->arguments) : json_object();
    access_complete(op, given);
    struct err *e = verb_arguments(op->verb, given, &op->arguments);
    json_decref(given);
    if (e) return e;
    TRY(access_check_objects(op));
    op->access_due = true;
    if (op->plan->lane == OP_LANE_GENERAL) op->lane = &control->lane;
    if (op->plan->lane == OP_LANE_SET) {
        TRY(find_set(control, arg_text(op, "name"), &op->set));
        op->lane = &op->set->lane;
    }
    return NULL;
}

static void submit_on_loop(struct rt_message *message)
{
    struct control_call *call = container_of(message, struct control_call, message);
    struct control *control = call->private_;
    static const struct op_plan unknown = {.verb = ""};
    const struct op_plan *plan = plan_find(call->verb);
    struct op *op = op_create(control, plan ? plan : &unknown);
    op->call = call;
    op->actor = call->actor;
    struct err *e = op_prepare(op, call);
    if (e) {
        if (!op->arguments) op->arguments = json_object();
        op->lane = NULL;
        op->set = NULL;
        if (!control->started || control->stopping) op->audited = true; /* no catalog to write to */
        op_fail(op, e);
        return;
    }
    check(plan);
    /* A commit never waits for the catalog; it may be repeated anyway. */
    if (call->idempotency_key[0] != '\0' && op->verb->method != VERB_GET &&
        plan->lane != OP_LANE_SET) {
        snprintf(op->idempotency_key, sizeof op->idempotency_key, "%s", call->idempotency_key);
        op->steps = idempotency_steps;
    }
    lane_enter(op);
}

void control_submit(struct control *control, struct control_call *call)
{
    call->result = NULL;
    call->error = NULL;
    call->private_ = control;
    call->message.fn = submit_on_loop;
    rt_post(control->rt, &call->message);
}
