/*
 * Events: what the server did by itself, or is about to do, for people who were not there.  Each
 * goes to the log at once and to the catalog's table; the catalog's worker is serial, so an event
 * is on stable storage before what is queued behind it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

enum { EVENT_TEXT_SIZE = 512, EVENTS_DEFAULT = 100, EVENTS_MAX = 1000 };

struct event {
    struct catalog_notice row;
    char object[CATALOG_NAME_SIZE];
    char text[EVENT_TEXT_SIZE];
};

static struct err *event_write(struct catalog *catalog, void *arg)
{
    const struct event *event = ((struct op *)arg)->finish_arg;
    return catalog_add_notice(catalog, &event->row);
}

static void step_event(struct op *op)
{
    op_catalog(op, event_write);
}

static void event_written(struct op *op)
{
    if (op->error) log_failure("an event could not be recorded", op->error);
    free(op->finish_arg);
}

void event_note(struct control *control, enum catalog_level level, const char *kind,
                const char *object, const char *format, ...)
{
    static op_step *const steps[] = {step_event, NULL};
    static const struct op_plan plan = {.verb = "event", .lane = OP_LANE_NONE, .steps = steps};
    struct event *event = calloc(1, sizeof *event);
    check(event);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(event->text, sizeof event->text, format, arguments);
    va_end(arguments);
    snprintf(event->object, sizeof event->object, "%s", object);
    event->row = (struct catalog_notice){.at_ns = rt_wall(control->rt),
                                         .level = level,
                                         .kind = kind,
                                         .object = event->object,
                                         .text = event->text};
    if (level == LEVEL_INFO)
        log_info(event->text, "%s=\"%s\"", kind, event->object);
    else
        log_warn(event->text, "%s=\"%s\"", kind, event->object);
    op_start_owning(control, &plan, NULL, event_written, event, free);
}

/* ---- event list ------------------------------------------------------------------------------ */

static void add_json(void *arg, const struct catalog_notice *row)
{
    json_array_append_new(arg, json_pack("{s:I, s:o, s:s, s:s, s:s, s:s}", "sequence",
                                         (json_int_t)row->sequence, "at", json_time(row->at_ns),
                                         "level", catalog_level_name(row->level), "kind", row->kind,
                                         "object", row->object, "text", row->text));
}

static struct err *read_events(struct catalog *catalog, void *arg)
{
    struct op *op = arg;
    uint64_t limit = min_of(arg_uint(op, "limit", EVENTS_DEFAULT), (uint64_t)EVENTS_MAX);
    return catalog_notices(catalog, limit, add_json, op->data);
}

static void free_array(void *data)
{
    json_decref(data);
}

static void step_list(struct op *op)
{
    op->data = json_array();
    op->data_free = free_array;
    op_catalog(op, read_events);
}

static void step_answer(struct op *op)
{
    op->result = json_pack("{s:O}", "events", op->data);
    op_next(op);
}

static op_step *const list_steps[] = {step_list, step_answer, NULL};

/* ---- pool set -------------------------------------------------------------------------------- */

struct pool_setting {
    struct pool *pool;
    struct catalog_pool row;
};

static struct err *pool_write(struct catalog *catalog, void *arg)
{
    const struct pool_setting *data = ((struct op *)arg)->data;
    return catalog_put_pool(catalog, &data->row);
}

static void step_pool_set(struct op *op)
{
    struct pool_setting *data = op_data(op, sizeof *data);
    uint64_t percent = arg_uint(op, "warn", 0);
    struct err *e = find_pool(op->control, arg_text(op, "name"), &data->pool);
    if (!e && (percent < 1 || percent > 99)) {
        e = err_new(STATUS_BAD_REQUEST, "\"warn\" must be 1 to 99 percent");
    }
    if (e) {
        op_fail(op, e);
        return;
    }
    data->row = data->pool->row;
    data->row.warn_percent = (unsigned)percent;
    op_catalog_audited(op, pool_write);
}

static void step_pool_is_set(struct op *op)
{
    struct pool_setting *data = op->data;
    data->pool->row.warn_percent = data->row.warn_percent;
    if (data->pool->engine) pool_watch_space(op->control, data->pool);
    op->result = json_pool(op->control, data->pool, false);
    op_next(op);
}

static op_step *const pool_set_steps[] = {step_pool_set, step_pool_is_set, NULL};

const struct op_plan plans_event[] = {
    {"event_list", OP_LANE_NONE, list_steps, NULL},
    {"pool_set", OP_LANE_GENERAL, pool_set_steps, NULL},
    {0},
};
