/*
 * The clock that retention and expiry run on.  It is the later of the wall clock and of its own
 * count, kept in the catalog; so setting the wall clock back changes nothing, and nothing that was
 * promised until a time goes before as much time has really passed.
 *
 * Forward, the wall clock pulls it along by little steps: CLOCK_SLACK_NS in total, which come back
 * slowly.  So a restart and the corrections of NTP need nobody, and a wall clock that is set
 * forward, at once or bit by bit, expires nothing: the jump waits until an administrator confirms
 * it.
 */
#include <stdio.h>

#include "base/log.h"
#include "control/control_int.h"

#define CLOCK_SLACK_NS HOUR_NS
#define CLOCK_SLACK_SHARE 24 /* an hour comes back in a day */
#define CLOCK_STORE_NS (60 * RT_SECOND)

static void pull_forward(struct control *control, uint64_t wall_ns)
{
    struct own_clock *clock = &control->clock;
    uint64_t ahead_ns = wall_ns > clock->row.now_ns ? wall_ns - clock->row.now_ns : 0;
    if (ahead_ns <= clock->row.slack_ns) {
        clock->row.now_ns += ahead_ns;
        clock->row.slack_ns -= ahead_ns;
        clock->jump_ns = 0;
        return;
    }
    if (!clock->jump_ns) {
        char text[TEXT_SIZE_MAX];
        event_note(control, LEVEL_WARNING, "clock", control->server_name,
                   "the wall clock is %s ahead of this server's own; nothing expires by it until an"
                   " administrator confirms it: tarn server clock --confirm",
                   text_format_age(ahead_ns, text));
    }
    clock->jump_ns = ahead_ns;
}

uint64_t clock_now(struct control *control)
{
    struct own_clock *clock = &control->clock;
    uint64_t now = rt_now(control->rt);
    uint64_t elapsed_ns = now - clock->mono_ns;
    clock->mono_ns = now;
    clock->row.now_ns += elapsed_ns;
    clock->row.slack_ns =
        min_of(clock->row.slack_ns + elapsed_ns / CLOCK_SLACK_SHARE, (uint64_t)CLOCK_SLACK_NS);
    pull_forward(control, rt_wall(control->rt));
    return clock->row.now_ns;
}

void clock_load(struct control *control, const struct catalog_clock *row)
{
    struct own_clock *clock = &control->clock;
    *clock = (struct own_clock){.row = *row, .mono_ns = rt_now(control->rt)};
    if (row->now_ns == 0) { /* the first start */
        clock->row =
            (struct catalog_clock){.now_ns = rt_wall(control->rt), .slack_ns = CLOCK_SLACK_NS};
    }
}

/* ---- Storing --------------------------------------------------------------------------------- */

static struct err *store_write(struct catalog *catalog, void *arg)
{
    return catalog_put_clock(catalog, ((struct op *)arg)->data);
}

void clock_step_store(struct op *op)
{
    struct catalog_clock *row = op_data(op, sizeof *row);
    (void)clock_now(op->control);
    *row = op->control->clock.row;
    op_catalog(op, store_write);
}

static void stored(struct op *op)
{
    if (op->error) log_failure("the clock could not be stored", op->error);
}

void clock_tick(struct control *control)
{
    static op_step *const steps[] = {clock_step_store, NULL};
    static const struct op_plan plan = {.verb = "clock", .lane = OP_LANE_NONE, .steps = steps};
    struct own_clock *clock = &control->clock;
    uint64_t now = rt_now(control->rt);
    (void)clock_now(control);
    if (clock->stored_at_ns && now - clock->stored_at_ns < CLOCK_STORE_NS) return;
    clock->stored_at_ns = now;
    op_start_internal(control, &plan, NULL, stored, NULL);
}

/* ---- server clock ---------------------------------------------------------------------------- */

static json_t *clock_json(struct control *control)
{
    uint64_t now_ns = clock_now(control);
    return json_pack("{s:o, s:o, s:b, s:I}", "clock_at", json_time(now_ns), "wall_at",
                     json_time(rt_wall(control->rt)), "jump_pending", control->clock.jump_ns != 0,
                     "jump_s", (json_int_t)(control->clock.jump_ns / RT_SECOND));
}

static json_t *would_confirm(struct control *control)
{
    char time[TEXT_TIME_MAX], age[TEXT_SIZE_MAX];
    json_t *would = json_array();
    uint64_t now_ns = clock_now(control), wall_ns = rt_wall(control->rt);
    if (wall_ns <= now_ns) return would; /* it never goes back */
    json_array_append_new(would, json_sprintf("set this server's own clock forward by %s, to %s",
                                              text_format_age(wall_ns - now_ns, age),
                                              text_format_time(wall_ns, time)));
    expire_say(control, now_ns, wall_ns, would);
    return would;
}

static void step_clock(struct op *op)
{
    struct control *control = op->control;
    (void)clock_now(control);
    if (arg_bool(op, "dry_run")) {
        op_end_dry_run(op, would_confirm(control));
        return;
    }
    if (!arg_bool(op, "confirm")) {
        op->audited = true;
        op->result = clock_json(control);
        op_end(op);
        return;
    }
    struct catalog_clock *row = op_data(op, sizeof *row);
    *row = control->clock.row;
    row->now_ns = max_of(row->now_ns, rt_wall(control->rt));
    op_catalog_audited(op, store_write);
}

static void step_confirmed(struct op *op)
{
    const struct catalog_clock *row = op->data;
    struct own_clock *clock = &op->control->clock;
    clock->row.now_ns = max_of(clock->row.now_ns, row->now_ns);
    op->result = clock_json(op->control);
    op_next(op);
}

static op_step *const clock_steps[] = {step_clock, step_confirmed, NULL};

const struct op_plan plans_clock[] = {
    {"server_clock", OP_LANE_GENERAL, clock_steps, NULL},
    {0},
};
