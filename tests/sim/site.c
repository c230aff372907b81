/* Life of a site: booting, waiting, crashing, recovering (site.h). */
#include "tests/sim/site_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"

#define HANG_NS (400 * RT_SECOND)
#define STALLED_NS (40 * RT_SECOND) /* more than any stall (sim.h) */
#define TARGET_NAME "iqn.2026-11.local.tarn:site"
#define PORTAL "10.0.0.1:3260"
enum { STILL_EVENTS_MAX = 1000000, RECOVERY_CRASHES_MAX = 2 };

/* ---- Failure, trace, stepping ---------------------------------------------------------------- */

bool site_fail(struct site *site, const char *format, ...)
{
    if (site->failed) return false;
    site->failed = true;
    int used = snprintf(site->failure, sizeof site->failure, "op %u, tick %u: ", site->ops,
                        model_now(site->model));
    va_list args;
    va_start(args, format);
    vsnprintf(site->failure + used, sizeof site->failure - (size_t)used, format, args);
    va_end(args);
    site_trace(site, "FAILURE %s", site->failure);
    return false;
}

void site_trace(struct site *site, const char *format, ...)
{
    if (!site->options.trace) return;
    va_list args;
    va_start(args, format);
    printf("# %6u %9.3f ms  ", model_now(site->model), (double)sim_now(site->sim) / 1e6);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
}

static bool note_crash(struct site *site)
{
    if (site->crashed || sim_node_is_up(site->node)) return site->crashed;
    site->crashed = true;
    if (site->crash_kind == SIM_CRASH_POWER) site->power_lost = true;
    site_trace(site, "CRASH (%s)", site->crash_kind == SIM_CRASH_POWER ? "power" : "process");
    return true;
}

static bool step(struct site *site)
{
    if (!sim_step(site->sim)) return false;
    if (site->heal_at_ns && sim_now(site->sim) >= site->heal_at_ns) {
        site_trace(site, "what hung goes on");
        site->heal_at_ns = 0;
        sim_heal(site->sim);
    }
    if (sim_now(site->sim) != site->still_ns) site->still_events = 0;
    site->still_ns = sim_now(site->sim);
    if (++site->still_events < STILL_EVENTS_MAX) return true;
    return site_fail(site, "messages without end, and time stands still");
}

bool site_wait(struct site *site, bool (*condition)(struct site *site), const char *what)
{
    uint64_t limit_ns = sim_now(site->sim) + HANG_NS;
    while (!site->failed && !note_crash(site)) {
        if (condition(site)) return true;
        if (!step(site) && !note_crash(site))
            return site_fail(site, "%s never ends: nothing is left to happen", what);
        if (sim_now(site->sim) > limit_ns) return site_fail(site, "%s hangs", what);
    }
    return false;
}

bool site_step(struct site *site, unsigned steps)
{
    while (steps-- && !site->failed && !note_crash(site))
        if (!step(site)) break;
    return !site->failed && !note_crash(site);
}

bool site_run_for(struct site *site, uint64_t duration_ns)
{
    uint64_t end_ns = sim_now(site->sim) + duration_ns;
    while (!site->failed && !note_crash(site) && sim_now(site->sim) < end_ns)
        if (!step(site)) break;
    return !site->failed && !note_crash(site);
}

bool site_is_idle(struct site *site)
{
    for (unsigned i = 0; i < SITE_SLOTS; i++)
        if (site->slots[i].busy) return false;
    for (unsigned i = 0; i < SITE_CALLS; i++)
        if (site->calls[i].busy) return false;
    return true;
}

void site_made_durable(struct site *site, int pool, uint32_t floor)
{
    if (floor > site->pools[pool].durable) site->pools[pool].durable = floor;
}

/* The oldest tick that any state of the disk asked for later may go back to. */
uint32_t site_horizon(const struct site *site, int disk)
{
    uint32_t horizon = model_now(site->model);
    uint32_t durable = site->pools[site->disks[disk].pool].durable;
    bool power = site->options.crash == SITE_CRASH_POWER || site->options.crash == SITE_CRASH_BOTH;
    if (power && durable < horizon) horizon = durable;
    for (unsigned i = 0; i < SITE_SLOTS; i++)
        if (site->slots[i].busy) horizon = min_of(horizon, site->slots[i].submitted);
    for (unsigned i = 0; i < SITE_CALLS; i++)
        if (site->calls[i].busy) horizon = min_of(horizon, site->calls[i].submitted);
    for (unsigned i = 0; i < site->parked_count; i++)
        horizon = min_of(horizon, site->parked[i].submitted);
    if (site->lossy) horizon = min_of(horizon, site->hold);
    if (site_is_replacing(&site->disks[disk]))
        horizon = min_of(horizon, site->disks[disk].replace_since);
    return horizon;
}

/* ---- The server ------------------------------------------------------------------------------ */

/* Control opens the pools; the checker wants to know them. */
struct opening {
    struct site_pool *pool;
    struct volume_pool **ret_pool;
    volume_done_fn *done;
    void *arg;
};

static struct site *the_site;

static void pool_opened(void *arg, struct err *e)
{
    struct opening opening = *(struct opening *)arg;
    free(arg);
    if (!e && opening.pool) opening.pool->engine = *opening.ret_pool;
    opening.done(opening.arg, e);
}

static void open_pool(struct rt *rt, const char *path, const struct volume_pool_options *options,
                      struct volume_pool **ret_pool, volume_done_fn *done, void *arg)
{
    struct opening *opening = calloc(1, sizeof *opening);
    check(opening != NULL);
    *opening = (struct opening){.ret_pool = ret_pool, .done = done, .arg = arg};
    for (unsigned i = 0; i < SITE_POOLS; i++)
        if (strcmp(the_site->pools[i].path, path) == 0) opening->pool = &the_site->pools[i];
    volume_pool_open(rt, path, options, ret_pool, pool_opened, opening);
}

static const struct control_engine engine = {volume_pool_create, open_pool};

static enum status find_initiator(void *arg, const char *name, struct iscsi_access *ret_access)
{
    struct site *site = arg;
    struct control_host_access access;
    enum status status = control_find_initiator(site->control, name, &access);
    if (status != STATUS_OK) return status;
    *ret_access =
        (struct iscsi_access){.map = access.map, .host = access.host, .auth = ISCSI_AUTH_NONE};
    return STATUS_OK;
}

static void session_changed(void *arg, void *host, const char *initiator_name, bool up)
{
    control_session_changed(((struct site *)arg)->control, host, initiator_name, up);
}

static void drop_host(void *arg, void *host, void (*done)(void *done_arg), void *done_arg)
{
    iscsi_server_drop_host(((struct site *)arg)->target, host, done, done_arg);
}

static const char *portal_address(void *arg, unsigned index)
{
    struct site *site = arg;
    return site->target && index == 0 ? PORTAL : NULL;
}

static const struct iscsi_access_ops access_ops = {.find = find_initiator,
                                                   .session_changed = session_changed};
static const struct control_target_ops target_ops = {.drop_host = drop_host,
                                                     .portal_address = portal_address};

static void on_started(void *arg, struct err *e)
{
    struct site *site = arg;
    site->started = true;
    site->start_error = e;
}

static bool is_started(struct site *site)
{
    return site->started;
}

/* False: it crashed again, or failed. */
static bool boot(struct site *site, uint64_t crash_at)
{
    struct control_options options = {.state_directory = "/state",
                                      .engine = &engine,
                                      .lease_tick_ns = RT_SECOND,
                                      .server_name = "site",
                                      .version = "0",
                                      .target_name = TARGET_NAME};
    char text[400];
    site->crashed = site->started = false;
    site->rt = sim_node_boot(site->node);
    sim_node_ignore_flush(site->node, site->options.ignore_flush);
    sim_node_crash_at_write(site->node, crash_at, site->crash_kind);
    struct err *e = control_create(site->rt, &options, &site->control);
    check(!e);
    control_start(site->control, on_started, site);
    if (!site_wait(site, is_started, "the server's start")) return false;
    sim_node_crash_at_write(site->node, 0, SIM_CRASH_PROCESS);
    if (site->start_error) {
        site_fail(site, "start: %s", err_text(site->start_error, text, sizeof text));
        err_free(take_ptr(&site->start_error));
        return false;
    }
    struct iscsi_server_options target = {
        .target_name = TARGET_NAME, .portal_count = 1, .portals = {{.listen = PORTAL}}};
    e = iscsi_server_create(site->rt, &target, &access_ops, site, &site->target);
    check(!e);
    control_set_target(site->control, &target_ops, site);
    return true;
}

static void connect_hosts(struct site *site)
{
    for (unsigned i = 0; i < SITE_HOSTS; i++)
        initiator_connect(site->hosts[i], PORTAL, TARGET_NAME);
}

/* ---- Crash and recovery ---------------------------------------------------------------------- */

static void draw_crash_kind(struct site *site)
{
    bool power = site->options.crash == SITE_CRASH_POWER;
    if (site->options.crash == SITE_CRASH_BOTH) power = prng_chance(&site->prng, 1, 2);
    site->crash_kind = power ? SIM_CRASH_POWER : SIM_CRASH_PROCESS;
}

void site_arm_crash(struct site *site)
{
    if (site->options.crash == SITE_CRASH_NONE) return;
    uint64_t every = site->options.crash_every ? site->options.crash_every : 1000;
    draw_crash_kind(site);
    sim_node_crash_at_write(site->node, 1 + prng_below(&site->prng, 2 * every), site->crash_kind);
}

void site_crash_now(struct site *site)
{
    draw_crash_kind(site);
    sim_node_crash(site->node, site->crash_kind);
    note_crash(site);
}

/* What the program that died held. */
static void bury(struct site *site)
{
    for (unsigned i = 0; i < SITE_HOSTS; i++)
        initiator_forget(site->hosts[i]);
    for (unsigned i = 0; i < SITE_SLOTS; i++)
        site_slot_drop(&site->slots[i]);
    for (unsigned i = 0; i < SITE_CALLS; i++)
        site_call_drop(&site->calls[i]);
    while (site->parked_count > 0)
        site_call_drop(&site->parked[--site->parked_count]);
    if (site->target) iscsi_server_abandon(take_ptr(&site->target));
    control_destroy(take_ptr(&site->control));
    err_free(take_ptr(&site->start_error));
    site->reader_busy = false;
    for (unsigned i = 0; i < SITE_POOLS; i++)
        site->pools[i].engine = NULL;
    for (int i = 0; i < SITE_DISKS; i++) {
        site->disks[i].busy = 0;
        site_guard_forget(site, i);
        if (site->disks[i].revert_write) site_fill_undo_view(site, i);
        site->disks[i].replace_job[0] = '\0';
    }
    for (unsigned i = 0; i < SITE_POINTS; i++)
        site->points[i].busy = 0;
    for (unsigned i = 0; i < SITE_SETS; i++)
        site->sets[i].busy = false;
}

bool site_start_again(struct site *site)
{
    bury(site);
    return boot(site, 0);
}

/* The start did not have all pools: it is done again.  What had failed by then has been answered when
 * the slowest request has. */
static bool is_ill(struct site *site)
{
    if (site_pools_are_well(site) && (!site_run_for(site, STALLED_NS) || site_pools_are_well(site)))
        return site->failed || site->crashed;
    if (site_stay_without(site)) site_crash_now(site);
    return true;
}

bool site_recover(struct site *site)
{
    unsigned crashes_left = RECOVERY_CRASHES_MAX;
    site->crashes++;
    for (;;) {
        bury(site);
        bool again = crashes_left > 0 && prng_chance(&site->prng, 1, 3);
        bool strikes = again && site->options.faults && prng_chance(&site->prng, 2, 3);
        if (again) crashes_left--;
        if (strikes) site_strike_start(site);
        bool up = boot(site, again && !strikes ? 1 + prng_below(&site->prng, 40) : 0);
        if (strikes) sim_heal(site->sim);
        if (site->failed) return false;
        if (up && !(strikes && is_ill(site)) && site_reconcile(site, true)) break;
        if (site->failed) return false;
        site->recovery_crashes++;
    }
    site->power_lost = false;
    connect_hosts(site);
    site_arm_crash(site);
    return true;
}

/* ---- A verb, waited for ---------------------------------------------------------------------- */

struct asking {
    struct control_call call;
    bool is_done;
};

static void ask_done(struct control_call *call)
{
    ((struct asking *)call->arg)->is_done = true;
}

json_t *site_ask(struct site *site, const char *verb, json_t *arguments)
{
    struct asking *asking = calloc(1, sizeof *asking);
    check(asking && arguments);
    asking->call.verb = verb;
    snprintf(asking->call.actor.name, sizeof asking->call.actor.name, "checker");
    asking->call.actor.role = CONTROL_ROLE_ADMIN;
    asking->call.arguments = arguments;
    asking->call.done = ask_done;
    asking->call.arg = asking;
    control_submit(site->control, &asking->call);
    uint64_t limit_ns = sim_now(site->sim) + HANG_NS;
    while (!asking->is_done && !site->failed && !note_crash(site)) {
        if (!step(site) || sim_now(site->sim) > limit_ns) site_fail(site, "%s hangs", verb);
    }
    json_t *result = NULL;
    if (asking->is_done) {
        char text[300];
        result = asking->call.result;
        if (asking->call.error)
            site_trace(site, "  %s: %s", verb, err_text(asking->call.error, text, sizeof text));
        err_free(asking->call.error);
    }
    json_decref(arguments);
    /* Nobody knows it any more: a crashed server's calls are dropped by control_destroy. */
    if (asking->is_done || site->crashed) free(asking);
    return result;
}

/* ---- Begin and end --------------------------------------------------------------------------- */

struct site *site_create(const struct site_options *options)
{
    static const char *const names[SITE_HOSTS] = {"iqn.2026-11.test:h0", "iqn.2026-11.test:h1"};
    struct site *site = calloc(1, sizeof *site);
    check(site != NULL);
    the_site = site;
    log_set_level(LOG_LEVEL_ERROR);
    site->options = *options;
    prng_init(&site->prng, options->seed * 2 + 1);
    site->model = model_create(prng_u64(&site->prng) | 1);
    site->sim = sim_create(&(struct sim_options){.seed = options->seed});
    site->node = sim_node_create(site->sim, "server");
    for (unsigned i = 0; i < SITE_HOSTS; i++)
        site->hosts[i] =
            initiator_create(site->sim, sim_node_create(site->sim, i ? "h1" : "h0"), names[i]);
    for (unsigned i = 0; i < SITE_SLOTS; i++)
        site->slots[i].site = site;
    for (unsigned i = 0; i < SITE_CALLS; i++)
        site->calls[i].site = site;
    for (unsigned i = 0; i < SITE_POOLS; i++) {
        snprintf(site->pools[i].name, SITE_NAME, "p%u", i);
        snprintf(site->pools[i].path, SITE_NAME, "/pool%u", i);
    }
    for (int i = 0; i < SITE_DISKS; i++)
        site_disk_forget(site, i);
    for (int i = 0; i < SITE_POINTS; i++)
        site_point_forget(site, i);
    if (boot(site, 0) && site_furnish(site)) {
        connect_hosts(site);
        site_arm_crash(site);
    }
    return site;
}

void site_destroy(struct site *site)
{
    if (!site) return;
    if (sim_node_is_up(site->node)) sim_node_crash(site->node, SIM_CRASH_PROCESS);
    bury(site);
    for (int i = 0; i < SITE_DISKS; i++)
        model_view_fini(&site->disks[i].view);
    for (int i = 0; i < SITE_POINTS; i++)
        model_view_fini(&site->points[i].view), model_view_fini(&site->points[i].next);
    for (unsigned i = 0; i < SITE_HOSTS; i++)
        initiator_destroy(site->hosts[i]);
    sim_destroy(site->sim);
    model_destroy(site->model);
    free(site);
}
