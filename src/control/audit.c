/*
 * The audit: looking at it, verifying it, and keeping refused calls from flooding it.
 *
 * A refusal (DENIED) is recorded when it is the first of its actor and verb; those of the next
 * minute are counted and become one record with their number.  When more actors and verbs are refused
 * than are kept apart, the others become one record together, of "several".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

enum {
    AUDIT_LIST_DEFAULT = 100,
    AUDIT_LIST_MAX = 1000,
    AUDIT_VERIFY_ROWS = 500, /* a step; other verbs pass between two */
};
#define DENIAL_WINDOW_NS (60 * RT_SECOND)

/* ---- Refusals ---- */

static struct denial *denial_of(struct control *control, const char *actor, const char *verb)
{
    struct denial *free_slot = NULL;
    for (unsigned i = 0; i < DENIALS_MAX; i++) {
        struct denial *denial = &control->denials[i];
        if (!denial->verb) {
            free_slot = free_slot ? free_slot : denial;
        } else if (strcmp(denial->verb, verb) == 0 && strcmp(denial->actor, actor) == 0) {
            return denial;
        }
    }
    return free_slot;
}

static void begin(struct control *control, struct denial *denial, const char *actor,
                  const char *verb)
{
    denial->verb = verb;
    snprintf(denial->actor, sizeof denial->actor, "%s", actor);
    denial->until_ns = rt_now(control->rt) + DENIAL_WINDOW_NS;
    denial->repeated = 0;
}

bool audit_denial_is_first(struct control *control, const char *actor, const char *verb)
{
    struct denial *denial = denial_of(control, actor, verb);
    if (!denial) { /* more actors and verbs than one keeps apart */
        denial = &control->denials[DENIALS_MAX];
        if (!denial->verb) begin(control, denial, "several", "several");
        denial->repeated++;
        return false;
    }
    if (denial->verb) {
        denial->repeated++;
        return false;
    }
    begin(control, denial, actor, verb);
    return true;
}

static void step_summary(struct op *op)
{
    const struct denial *denial = op->finish_arg;
    op->audit_verb = denial->verb;
    snprintf(op->actor.name, sizeof op->actor.name, "%s", denial->actor);
    json_t *arguments = json_pack("{s:I, s:i}", "repeated", (json_int_t)denial->repeated,
                                  "within_s", (int)(DENIAL_WINDOW_NS / RT_SECOND));
    op->audit_arguments = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;
    json_decref(arguments);
    op_catalog_record(op, NULL, "DENIED");
}

static void summary_written(struct op *op)
{
    if (op->error) log_failure("refused calls could not be recorded", op->error);
    free(op->finish_arg);
}

/* ---- Logins ---- */

static void step_login_refused(struct op *op)
{
    op->audit_verb = "login";
    snprintf(op->actor.name, sizeof op->actor.name, "nobody");
    op_catalog_record(op, NULL, "UNAUTHENTICATED");
}

static void login_recorded(struct op *op)
{
    if (op->error) log_failure("a refused login could not be recorded", op->error);
}

void audit_refused_login(struct control *control)
{
    static op_step *const steps[] = {step_login_refused, NULL};
    static const struct op_plan plan = {.verb = "login", .lane = OP_LANE_NONE, .steps = steps};
    if (control->stopping || !audit_denial_is_first(control, "nobody", "login")) return;
    op_start_internal(control, &plan, NULL, login_recorded, NULL);
}

void audit_tick(struct control *control)
{
    static op_step *const steps[] = {step_summary, NULL};
    static const struct op_plan plan = {.verb = "denials", .lane = OP_LANE_NONE, .steps = steps};
    uint64_t now = rt_now(control->rt);
    for (unsigned i = 0; i <= DENIALS_MAX && !control->stopping; i++) {
        struct denial *denial = &control->denials[i];
        if (!denial->verb || now < denial->until_ns) continue;
        struct denial *copy = denial->repeated ? malloc(sizeof *copy) : NULL;
        if (copy) {
            *copy = *denial;
            op_start_owning(control, &plan, NULL, summary_written, copy, free);
        }
        denial->verb = NULL;
    }
}

/* ---- Looking ---- */

struct list_data {
    struct catalog_audit_query query;
    json_t *array;
};

static void list_free(void *arg)
{
    struct list_data *data = arg;
    json_decref(data->array);
    free(data);
}

static void add_row(void *arg, uint64_t sequence, const struct catalog_audit *row)
{
    char time[TEXT_TIME_MAX];
    json_t *arguments = json_loads(row->arguments, 0, NULL);
    json_array_append_new(
        arg, json_pack("{s:I, s:s, s:s, s:s, s:s, s:o}", "sequence", (json_int_t)sequence, "at",
                       text_format_time(row->at_ns, time), "actor", row->actor, "verb", row->verb,
                       "result", row->result, "arguments", arguments ? arguments : json_null()));
}

static struct err *list_read(struct catalog *catalog, void *arg)
{
    struct list_data *data = ((struct op *)arg)->data;
    return catalog_audit_list(catalog, &data->query, add_row, data->array);
}

static void step_list(struct op *op)
{
    struct list_data *data = op_data(op, sizeof *data);
    op->data_free = list_free;
    data->array = json_array();
    uint64_t limit = arg_uint(op, "limit", AUDIT_LIST_DEFAULT);
    if (limit == 0 || limit > AUDIT_LIST_MAX) {
        op_fail(op, err_new(STATUS_BAD_REQUEST, "\"limit\" must be 1 to %d", AUDIT_LIST_MAX));
        return;
    }
    data->query = (struct catalog_audit_query){.before = arg_uint(op, "before", INT64_MAX),
                                               .limit = (unsigned)limit,
                                               .actor = arg_text(op, "actor"),
                                               .verb = arg_text(op, "verb")};
    op_catalog(op, list_read);
}

static void step_listed(struct op *op)
{
    struct list_data *data = op->data;
    op->result = json_pack("{s:O}", "records", data->array);
    op_next(op);
}

/* ---- Verifying ---- */

static struct err *take_head(const char *text, struct catalog_audit_check *check)
{
    char number[24];
    size_t length = strcspn(text, ":");
    if (length > 0 && length < sizeof number && text[length] == ':') {
        snprintf(number, sizeof number, "%.*s", (int)length, text);
        if (text_parse_u64(number, &check->noted_sequence) && check->noted_sequence > 0 &&
            strlen(text + length + 1) == 2 * CATALOG_CHAIN_BYTES &&
            text_parse_hex(text + length + 1, check->noted_chain, CATALOG_CHAIN_BYTES)) {
            return NULL;
        }
    }
    return err_next(err_new(STATUS_BAD_REQUEST, "\"head\" must be NUMBER:64 hexadecimal digits"),
                    "tarn audit verify prints it");
}

static struct err *verify_some(struct catalog *catalog, void *arg)
{
    return catalog_audit_verify(catalog, ((struct op *)arg)->data, AUDIT_VERIFY_ROWS);
}

static void step_verify(struct op *op)
{
    struct catalog_audit_check *check = op_data(op, sizeof *check);
    struct err *e = arg_text(op, "head") ? take_head(arg_text(op, "head"), check) : NULL;
    op_done(op, e);
}

static void step_verify_some(struct op *op)
{
    const struct catalog_audit_check *check = op->data;
    if (check->ended) {
        op_next(op);
        return;
    }
    op_repeat(op);
    op_catalog(op, verify_some);
}

static void step_verified(struct op *op)
{
    const struct catalog_audit_check *check = op->data;
    char hex[2 * CATALOG_CHAIN_BYTES + 1];
    if (check->is_broken) {
        op_fail(op, err_next(err_new(STATUS_BLOCK_CORRUPT, "the audit is broken at record %llu: %s",
                                     (unsigned long long)check->broken_sequence, check->reason),
                             "the records before it are as they were written; compare the rest with"
                             " a backup of the state directory"));
        return;
    }
    text_format_hex(check->chain, sizeof check->chain, hex);
    op->result =
        json_pack("{s:b, s:I, s:o}", "ok", 1, "records", (json_int_t)check->sequence, "head",
                  json_sprintf("%llu:%s", (unsigned long long)check->sequence, hex));
    op_next(op);
}

static op_step *const list_steps[] = {step_list, step_listed, NULL};
static op_step *const verify_steps[] = {step_verify, step_verify_some, step_verified, NULL};

const struct op_plan plans_audit[] = {
    {"audit_list", OP_LANE_NONE, list_steps, NULL},
    {"audit_verify", OP_LANE_NONE, verify_steps, NULL},
    {0},
};
