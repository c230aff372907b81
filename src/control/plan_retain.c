/* snapshot retain: kept until a time, by everybody's hands and the server's own; the time only
 * grows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_int.h"

/* A slip of the finger is not for ever: nobody can take it back. */
#define RETAIN_MAX_NS (10 * 366 * DAY_NS)

struct retain_data {
    struct snapshot *snapshot;
    struct catalog_snapshot row;
};

static struct err *take_time(struct op *op, uint64_t *ret_until_ns)
{
    const char *until = arg_text(op, "until"), *period = arg_text(op, "for");
    uint64_t now_ns = clock_now(op->control), value_ns = 0;
    if (!until == !period) {
        return err_next(err_new(STATUS_BAD_REQUEST, "give either \"until\" or \"for\""),
                        "tarn snapshot retain NAME --for 30d");
    }
    if (period && !text_parse_duration(period, &value_ns)) {
        return err_new(STATUS_BAD_REQUEST, "\"for\" must be a time such as 12h, 30d or 4w");
    }
    if (until && !text_parse_time(until, &value_ns)) {
        return err_new(
            STATUS_BAD_REQUEST,
            "\"until\" must be a time in UTC such as 2026-12-31 or 2026-12-31T18:00:00Z");
    }
    if (period) value_ns = value_ns > RETAIN_MAX_NS ? UINT64_MAX : now_ns + value_ns;
    if (value_ns > now_ns + RETAIN_MAX_NS) {
        return err_new(STATUS_BAD_REQUEST, "that is more than ten years");
    }
    if (value_ns <= now_ns) return err_new(STATUS_BAD_REQUEST, "that time has passed");
    *ret_until_ns = value_ns;
    return NULL;
}

static struct err *retain_check(struct op *op, struct retain_data *data)
{
    uint64_t until_ns = 0;
    char time[TEXT_TIME_MAX];
    TRY(find_snapshot(op->control, arg_text(op, "name"), &data->snapshot));
    TRY(take_time(op, &until_ns));
    TRY(snapshot_check_ready(data->snapshot));
    data->row = data->snapshot->row;
    if (until_ns < data->row.retain_until_ns) {
        return err_next(
            err_new(STATUS_CONFLICT, "snapshot \"%s\" is kept until %s already", data->row.name,
                    text_format_time(data->row.retain_until_ns / RT_SECOND * RT_SECOND, time)),
            "nobody can shorten that; give a later time");
    }
    data->row.retain_until_ns = until_ns;
    return NULL;
}

static struct err *retain_write(struct catalog *catalog, void *arg)
{
    const struct retain_data *data = ((struct op *)arg)->data;
    return catalog_put_snapshot(catalog, &data->row);
}

static void step_retain(struct op *op)
{
    char time[TEXT_TIME_MAX];
    struct retain_data *data = op_data(op, sizeof *data);
    struct err *e = retain_check(op, data);
    if (e) {
        op_fail(op, e);
        return;
    }
    if (arg_bool(op, "dry_run")) {
        text_format_time(data->row.retain_until_ns / RT_SECOND * RT_SECOND, time);
        op_end_dry_run(op, json_pack("[o]", json_sprintf("keep snapshot \"%s\" until %s; nobody, an"
                                                         " administrator neither, could delete or"
                                                         " update it before",
                                                         data->row.name, time)));
        return;
    }
    op_catalog_audited(op, retain_write);
}

static void step_retained(struct op *op)
{
    struct retain_data *data = op->data;
    data->snapshot->row.retain_until_ns = data->row.retain_until_ns;
    op->result = json_snapshot(op->control, data->snapshot);
    op_next(op);
}

static op_step *const retain_steps[] = {step_retain, step_retained, NULL};

const struct op_plan plans_retain[] = {
    {"snapshot_retain", OP_LANE_GENERAL, retain_steps, NULL},
    {0},
};
