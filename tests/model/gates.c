/* Dependent writes over several pools (gates.h). */
#include "gates.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gates_int.h"
#include "rt/rt_linux.h"

/* ---- Steps ----------------------------------------------------------------------------------- */

bool gates_failed(struct world *w, const char *format, ...)
{
    va_list args;
    if (w->has_failed) return false;
    w->has_failed = true;
    va_start(args, format);
    vsnprintf(w->result.failure, sizeof w->result.failure, format, args);
    va_end(args);
    return false;
}

bool gates_is_crashed(const struct world *w)
{
    return w->sim && !sim_node_is_up(w->node);
}

static bool condition_holds(void *arg)
{
    struct world *w = arg;
    return w->condition(w) || gates_is_crashed(w) || w->has_failed;
}

static void poll_fired(struct rt_timer *timer)
{
    struct world *w = container_of(timer, struct world, poll);
    if (w->condition(w) || w->has_failed || rt_now(w->rt) > w->limit_ns)
        rt_stop(w->rt);
    else
        rt_timer_set(w->rt, timer, rt_now(w->rt) + RT_MS / 5, poll_fired);
}

/* False: it did not come to be, or the node crashed. */
bool gates_wait(struct world *w, bool (*condition)(struct world *w), const char *what)
{
    w->condition = condition;
    if (w->sim) {
        sim_run_until(w->sim, condition_holds, w, LIMIT_S * RT_SECOND);
        if (gates_is_crashed(w)) return false;
    } else {
        w->limit_ns = rt_now(w->rt) + RUN_LIMIT_S * RT_SECOND;
        rt_timer_set(w->rt, &w->poll, rt_now(w->rt), poll_fired);
        rt_run(w->rt);
    }
    return !w->has_failed && (condition(w) || gates_failed(w, "%s hangs", what));
}

static void call_done(void *arg, struct err *e)
{
    struct world *w = arg;
    w->is_done = true;
    w->error = e;
}

static bool call_is_done(struct world *w)
{
    return w->is_done;
}

/* Waits for a control call with call_done; its outcome. */
static enum status outcome(struct world *w, const char *what)
{
    if (!gates_wait(w, call_is_done, what)) return STATUS_CANCELLED;
    enum status status = err_status(w->error);
    err_free(take_ptr(&w->error));
    w->is_done = false;
    return status;
}

static bool went_well(struct world *w, const char *what)
{
    enum status status = outcome(w, what);
    if (gates_is_crashed(w) || w->has_failed) return false;
    return status == STATUS_OK || gates_failed(w, "%s: %s", what, status_text(status));
}

/* ---- Pools that hear late -------------------------------------------------------------------- */

static void call_due(struct rt_timer *timer);

static void schedule(struct pool *p)
{
    struct world *w = p->world;
    static const uint64_t bounds[] = {1, RT_MS / 2, CALL_DELAY_MAX_MS * RT_MS};
    uint64_t delay = prng_below(&w->prng, bounds[prng_below(&w->prng, countof(bounds))]);
    rt_timer_set(w->rt, &p->timer, rt_now(w->rt) + delay, call_due);
}

static void note_closed(struct pool *p, enum call_kind kind)
{
    struct gates_result *result = &p->world->result;
    uint64_t now = rt_now(p->world->rt);
    if (kind == CALL_CLOSE) p->closed_ns = now;
    if (kind != CALL_OPEN || !p->closed_ns) return;
    result->closed_max_ns = max_of(result->closed_max_ns, now - p->closed_ns);
    p->closed_ns = 0;
}

static void do_call(struct pool *p, struct call call)
{
    note_closed(p, call.kind);
    if (call.kind == CALL_PREPARE) p->own_ops->gate_prepare(p->engine, call.gate);
    if (call.kind == CALL_CLOSE) p->own_ops->gate_close(p->engine, call.gate);
    if (call.kind == CALL_CUT) p->own_ops->gate_cut(p->engine, call.gate);
    if (call.kind == CALL_OPEN) p->own_ops->gate_open(p->engine, call.gate);
}

static void call_due(struct rt_timer *timer)
{
    struct pool *p = container_of(timer, struct pool, timer);
    struct call call = p->calls[p->first_call++ % CALLS];
    p->call_count--;
    do_call(p, call);
    if (p->call_count) schedule(p);
}

static struct world *the_world; /* an engine does not know who slows it down */

static void call_later(struct volume_pool *engine, struct volume_gate *gate, enum call_kind kind)
{
    struct pool *p = the_world->pools;
    while (p->engine != engine)
        p++;
    if (the_world->options.at_once) {
        do_call(p, (struct call){kind, gate});
        return;
    }
    check(p->call_count < CALLS);
    p->calls[(p->first_call + p->call_count++) % CALLS] = (struct call){kind, gate};
    if (p->call_count == 1) schedule(p);
}

static void slow_prepare(struct volume_pool *pool, struct volume_gate *gate)
{
    call_later(pool, gate, CALL_PREPARE);
}
static void slow_close(struct volume_pool *pool, struct volume_gate *gate)
{
    call_later(pool, gate, CALL_CLOSE);
}
static void slow_cut(struct volume_pool *pool, struct volume_gate *gate)
{
    call_later(pool, gate, CALL_CUT);
}
static void slow_open(struct volume_pool *pool, struct volume_gate *gate)
{
    call_later(pool, gate, CALL_OPEN);
}

static void slow_down(struct pool *p)
{
    p->own_ops = p->engine->ops;
    p->slow_ops = *p->own_ops;
    p->slow_ops.gate_prepare = slow_prepare;
    p->slow_ops.gate_close = slow_close;
    p->slow_ops.gate_cut = slow_cut;
    p->slow_ops.gate_open = slow_open;
    p->first_call = p->call_count = 0;
    p->closed_ns = 0;
    p->engine->ops = &p->slow_ops;
}

/* ---- Names ----------------------------------------------------------------------------------- */

static struct uuid uuid_of(unsigned kind, unsigned pool, unsigned number)
{
    struct uuid uuid = {{4}};
    store_le32(uuid.bytes + 4, kind);
    store_le32(uuid.bytes + 8, pool);
    store_le32(uuid.bytes + 12, number);
    return uuid;
}
enum { UUID_POOL, UUID_DISK, UUID_SET, UUID_POINT };

static struct uuid set_uuid(unsigned set)
{
    return uuid_of(UUID_SET, 0, set);
}
struct uuid gates_point(unsigned pool, unsigned set)
{
    return uuid_of(UUID_POINT, pool, set);
}

static void path_of(const struct world *w, unsigned pool, char *path, size_t size)
{
    snprintf(path, size, "%s/pool-%u", w->options.directory ? w->options.directory : "", pool);
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static bool has_point(struct world *w, unsigned pool, unsigned set)
{
    struct uuid uuid = gates_point(pool, set);
    struct volume_point_info info;
    return volume_point_find(w->pools[pool].engine, &uuid, &info);
}

static unsigned points_of(struct world *w, unsigned set)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->options.pool_count; i++)
        count += has_point(w, i, set);
    return count;
}

struct set_search {
    struct uuid set;
    unsigned pool_count;
};

static void look_for_set(void *arg, const struct volume_set_info *info)
{
    struct set_search *search = arg;
    if (uuid_equal(&info->set, &search->set)) search->pool_count = info->pool_count;
}

/* The tables name the pools of a set exactly as long as it has a point there. */
static bool check_tables(struct world *w, unsigned set)
{
    for (unsigned i = 0; i < w->options.pool_count; i++) {
        struct set_search search = {.set = set_uuid(set)};
        volume_pool_sets(w->pools[i].engine, look_for_set, &search);
        unsigned expected = has_point(w, i, set) ? w->options.pool_count : 0;
        if (search.pool_count != expected)
            return gates_failed(w, "set %u in pool %u: %u pools in the table, not %u", set, i,
                                search.pool_count, expected);
    }
    return true;
}

static bool delete_set(struct world *w, unsigned set)
{
    for (unsigned i = 0; i < w->options.pool_count; i++) {
        struct uuid uuid = gates_point(i, set);
        if (!has_point(w, i, set)) continue;
        volume_point_delete(w->pools[i].engine, &uuid, call_done, w);
        if (!went_well(w, "deleting a point")) return false;
    }
    return check_tables(w, set);
}

/* Behind a crash: what is in all pools is a set, what is not is undone (E23). */
static bool decide_set(struct world *w, unsigned set)
{
    unsigned there = points_of(w, set);
    if (!check_tables(w, set)) return false;
    if (w->sets[set] == SET_CUT && there != w->options.pool_count)
        return gates_failed(w, "set %u was answered and is in %u pools only", set, there);
    if (w->sets[set] == SET_REFUSED && there > 0)
        return gates_failed(w, "set %u was refused and is in %u pools", set, there);
    if (there == w->options.pool_count) {
        w->sets[set] = SET_CUT;
        return gates_check_set(w, set);
    }
    if (there > 0) w->result.sets_undone++;
    w->sets[set] = SET_REFUSED;
    return delete_set(w, set);
}

static bool decide_sets(struct world *w)
{
    for (unsigned i = 1; i <= w->set; i++)
        if (w->sets[i] != SET_NONE && !decide_set(w, i)) return false;
    return true;
}

/* ---- Cuts ------------------------------------------------------------------------------------ */

static void begin_cut(struct world *w)
{
    unsigned set = ++w->set;
    check(set < SETS);
    w->sets[set] = SET_UNDER_WAY;
    for (unsigned i = 0; i < w->options.pool_count; i++) {
        w->members[i] = (struct volume_cut_member){
            .disk = w->pools[i].disk, .point = gates_point(i, set), .kind = VOLUME_POINT_SNAPSHOT};
        w->parts[i] = (struct volume_cut_part){
            .pool = w->pools[i].engine,
            .cut = {.set = set_uuid(set), .member_count = 1, .members = &w->members[i]}};
    }
    volume_cut_pools(w->parts, w->options.pool_count,
                     w->options.limit_ns ? w->options.limit_ns : RT_SECOND, call_done, w);
}

static bool one_cut(struct world *w)
{
    begin_cut(w);
    enum status status = outcome(w, "a cut");
    if (gates_is_crashed(w) || w->has_failed) return false;
    if (status == STATUS_TOO_LATE && w->options.limit_ns) {
        w->sets[w->set] = SET_REFUSED;
        w->result.cuts_too_late++;
        if (points_of(w, w->set) == 0) return true;
        return gates_failed(w, "set %u was given up and is in a pool", w->set);
    }
    if (status != STATUS_OK) return gates_failed(w, "a cut: %s", status_text(status));
    w->sets[w->set] = SET_CUT;
    w->result.cuts_done++;
    return true;
}

static void pause_over(struct rt_timer *timer)
{
    container_of(timer, struct world, pause)->is_done = true;
}

static bool pause_a_moment(struct world *w)
{
    rt_timer_set(w->rt, &w->pause, rt_now(w->rt) + prng_below(&w->prng, 4 * RT_MS), pause_over);
    return went_well(w, "a pause");
}

/* A checkpoint of one pool that nobody waits for. */
static void forget(void *arg, struct err *e)
{
    (void)arg;
    err_free(e);
}

static bool some_cuts(struct world *w)
{
    for (unsigned i = 0; i < w->options.cuts; i++) {
        unsigned pool = (unsigned)prng_below(&w->prng, w->options.pool_count);
        if (prng_below(&w->prng, 4) == 0)
            volume_pool_checkpoint(w->pools[pool].engine, forget, NULL);
        if (i + 1 == w->options.cuts && w->options.crash_write)
            sim_node_crash_at_write(w->node, w->options.crash_write,
                                    w->options.crash == GATES_CRASH_POWER ? SIM_CRASH_POWER
                                                                          : SIM_CRASH_PROCESS);
        if (!pause_a_moment(w) || !one_cut(w)) return false;
    }
    return true;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static bool make_pool(struct world *w, unsigned i)
{
    struct pool *p = &w->pools[i];
    struct volume_pool_options options = {.sparse = true, .wal_bytes = WAL_BYTES};
    char path[300];
    path_of(w, i, path, sizeof path);
    volume_pool_create(w->rt, path, POOL_BYTES, &p->uuid, &options, false, NULL, call_done, w);
    if (!went_well(w, "making a pool")) return false;
    volume_pool_open(w->rt, path, &options, &p->engine, call_done, w);
    if (!went_well(w, "opening a new pool")) return false;
    volume_disk_create(p->engine, &p->disk, DISK_BYTES, call_done, w);
    return went_well(w, "making a disk");
}

static bool open_disk(struct pool *p)
{
    struct err *e = volume_open(p->engine, &p->disk, NULL, VOLUME_READ_WRITE, &p->handle);
    if (!e) slow_down(p);
    if (!e) return true;
    err_free(e);
    return gates_failed(p->world, "the disk of pool %u is not there", p->index);
}

static bool open_pools(struct world *w)
{
    for (unsigned i = 0; i < w->options.pool_count; i++) {
        struct pool *p = &w->pools[i];
        char path[300];
        path_of(w, i, path, sizeof path);
        volume_pool_open(w->rt, path, NULL, &p->engine, call_done, w);
        if (!went_well(w, "opening a pool")) return false;
        if (volume_pool_state(p->engine) != VOLUME_POOL_OK)
            return gates_failed(w, "pool %u: %s", i, volume_pool_trouble(p->engine));
        if (!open_disk(p)) return false;
    }
    return true;
}

static bool close_pools(struct world *w)
{
    for (unsigned i = 0; i < w->options.pool_count; i++) {
        struct pool *p = &w->pools[i];
        volume_close(take_ptr(&p->handle));
        p->engine->ops = p->own_ops;
        volume_pool_settle(p->engine, call_done, w);
        if (!went_well(w, "settling")) return false;
        volume_pool_check(p->engine, NULL, call_done, w);
        if (!went_well(w, "the check of a pool")) return false;
        volume_pool_close(take_ptr(&p->engine), call_done, w);
        if (!went_well(w, "closing")) return false;
    }
    return true;
}

static void abandon_pools(struct world *w)
{
    for (unsigned i = 0; i < w->options.pool_count; i++) {
        struct pool *p = &w->pools[i];
        if (p->engine) volume_pool_abandon(take_ptr(&p->engine));
        p->handle = NULL;
    }
}

static bool recover(struct world *w)
{
    w->result.crashes++;
    abandon_pools(w);
    err_free(take_ptr(&w->error));
    w->is_done = false;
    memset(&w->pause, 0, sizeof w->pause);
    for (unsigned i = 0; i < POOLS; i++)
        memset(&w->pools[i].timer, 0, sizeof w->pools[i].timer);
    gates_forget_requests(w);
    sim_node_crash_at_write(w->node, 0, SIM_CRASH_PROCESS);
    w->rt = sim_node_boot(w->node);
    return open_pools(w) && decide_sets(w);
}

static bool run_once(struct world *w, bool with_crash)
{
    if (!gates_begin_actors(w)) return false;
    if (with_crash && !w->options.crash_write)
        sim_node_crash_at_write(w->node, 1 + prng_below(&w->prng, 60 * (uint64_t)w->options.cuts),
                                w->options.crash == GATES_CRASH_POWER ? SIM_CRASH_POWER
                                                                      : SIM_CRASH_PROCESS);
    if (some_cuts(w) && gates_stop_actors(w)) {
        if (with_crash) sim_node_crash_at_write(w->node, 0, SIM_CRASH_PROCESS);
        return decide_sets(w);
    }
    if (!gates_is_crashed(w)) return false;
    w->result.crash_came = true;
    return recover(w);
}

static bool last_of_all(struct world *w)
{
    for (unsigned i = 1; i <= w->set; i++)
        if (w->sets[i] == SET_CUT && !delete_set(w, i)) return false;
    return close_pools(w);
}

static void world_init(struct world *w, const struct gates_options *options)
{
    *w = (struct world){.options = *options};
    the_world = w;
    prng_init(&w->prng, options->seed);
    if (options->directory) {
        struct err *e =
            rt_linux_create(&(struct rt_linux_options){.buffer_bytes = 16 * MIB}, &w->rt);
        check(!e);
    } else {
        w->sim = sim_create(&(struct sim_options){.seed = options->seed});
        w->node = sim_node_create(w->sim, "server");
        w->rt = sim_node_boot(w->node);
    }
    for (unsigned i = 0; i < POOLS; i++) {
        struct pool *p = &w->pools[i];
        p->world = w;
        p->index = i;
        p->uuid =
            uuid_of(UUID_POOL, 7 * (POOLS - i), 0); /* the order of ids is not that of parts */
        p->disk = uuid_of(UUID_DISK, i, 0);
    }
    gates_draw_actors(w);
}

static void world_fini(struct world *w)
{
    if (w->sim && sim_node_is_up(w->node)) sim_node_crash(w->node, SIM_CRASH_PROCESS);
    if (w->sim || w->has_failed) abandon_pools(w);
    err_free(w->error);
    if (w->sim) sim_destroy(w->sim);
    if (w->options.directory && !w->has_failed) rt_linux_destroy(w->rt);
}

static bool make_all(struct world *w)
{
    for (unsigned i = 0; i < w->options.pool_count; i++)
        if (!make_pool(w, i) || !open_disk(&w->pools[i])) return false;
    return true;
}

bool gates_run(const struct gates_options *options, struct gates_result *ret_result)
{
    struct world *w = calloc(1, sizeof *w);
    check(w);
    world_init(w, options);
    unsigned runs = max_of(options->runs, 1u);
    bool good = make_all(w);
    for (unsigned i = 0; good && i < runs; i++)
        good = run_once(w, options->crash != GATES_CRASH_NONE &&
                               (i + 1 < runs || options->crash_write));
    good = good && last_of_all(w) && !w->has_failed;
    *ret_result = w->result;
    world_fini(w);
    free(w);
    return good;
}

void gates_run_until_killed(const struct gates_options *options, int ready_fd)
{
    struct world *w = calloc(1, sizeof *w);
    check(w);
    world_init(w, options);
    bool good = make_all(w) && gates_begin_actors(w) && one_cut(w);
    good = good && write(ready_fd, "!", 1) == 1;
    while (good)
        good = pause_a_moment(w) && one_cut(w);
    printf("# %s\n", w->result.failure);
    abort();
}

bool gates_check_files(const struct gates_options *options, struct gates_result *ret_result)
{
    struct world *w = calloc(1, sizeof *w);
    check(w);
    world_init(w, options);
    bool good = open_pools(w);
    for (unsigned set = 1; good && set < SETS; set++) {
        if (points_of(w, set) == 0) continue;
        w->set = set;
        w->sets[set] = SET_UNDER_WAY;
        good = decide_set(w, set);
    }
    good = good && last_of_all(w);
    *ret_result = w->result;
    world_fini(w);
    free(w);
    return good;
}
