#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "tests/sim/sim_int.h"

/* 2026-11-22T00:00:00Z: wall clocks begin at a plausible time. */
#define WALL_EPOCH_NS ((uint64_t)1795305600 * RT_SECOND)

/* ---- Events ---- */

void sim_trace(struct sim *sim, uint64_t value)
{
    sim->trace = (sim->trace ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    sim->trace ^= sim->trace >> 29;
}

uint64_t sim_latency(struct sim *sim, uint64_t max_ns)
{
    return 1 + prng_below(&sim->prng, max_ns);
}

void sim_event_set(struct sim *sim, struct sim_event *event, enum sim_event_kind kind,
                   const struct sim_node *node, uint64_t size, uint64_t delay_ns,
                   void (*fn)(struct rt_timer *timer))
{
    event->sim = sim;
    event->kind = kind;
    event->node = node ? node->number : 0;
    event->size = size;
    event->timer.fn = fn;
    rt_timers_set(&sim->events, &event->timer, sim->now_ns + delay_ns);
}

void sim_event_cancel(struct sim_event *event)
{
    if (sim_event_is_set(event)) rt_timers_remove(&event->sim->events, &event->timer);
}

bool sim_step(struct sim *sim)
{
    struct rt_timer *timer = rt_timers_first(&sim->events);
    if (!timer) return false;
    struct sim_event *event = container_of(timer, struct sim_event, timer);
    rt_timers_remove(&sim->events, timer);
    check(timer->deadline_ns >= sim->now_ns);
    sim->now_ns = timer->deadline_ns;
    sim_trace(sim, event->kind | (uint64_t)event->node << 8);
    sim_trace(sim, sim->now_ns);
    sim_trace(sim, event->size);
    timer->fn(timer);
    return true;
}

bool sim_run_until(struct sim *sim, bool (*condition)(void *arg), void *arg, uint64_t limit_ns)
{
    uint64_t end = sim->now_ns + limit_ns;
    while (!condition(arg)) {
        struct rt_timer *first = rt_timers_first(&sim->events);
        if (!first) return false;
        if (first->deadline_ns > end) {
            sim->now_ns = end;
            return false;
        }
        sim_step(sim);
    }
    return true;
}

void sim_run_for(struct sim *sim, uint64_t duration_ns)
{
    uint64_t end = sim->now_ns + duration_ns;
    struct rt_timer *first;
    while ((first = rt_timers_first(&sim->events)) && first->deadline_ns <= end) {
        sim_step(sim);
    }
    sim->now_ns = end;
}

/* ---- The runtime of a node: time, loop ---- */

static uint64_t rt_sim_now(struct rt *rt)
{
    return sim_rt_of(rt)->node->sim->now_ns;
}

static uint64_t rt_sim_wall(struct rt *rt)
{
    struct sim_node *node = sim_rt_of(rt)->node;
    return WALL_EPOCH_NS + node->sim->now_ns + (uint64_t)node->wall_offset_ns;
}

static void rt_sim_random(struct rt *rt, void *to, size_t size_bytes)
{
    prng_fill(&sim_rt_of(rt)->node->sim->prng, to, size_bytes);
}

static void rt_sim_run(struct rt *rt)
{
    struct sim_rt *srt = sim_rt_of(rt);
    while (!srt->stop && !rt->dead && sim_step(srt->node->sim)) {
    }
    srt->stop = false;
}

static void rt_sim_stop(struct rt *rt)
{
    sim_rt_of(rt)->stop = true;
}

static bool rt_sim_on_loop(struct rt *rt)
{
    return !sim_rt_of(rt)->on_worker;
}

static void timer_due(struct rt_timer *timer)
{
    struct sim_rt *srt = container_of(timer, struct sim_rt, timer_event.timer);
    struct rt_timer *due = rt_timers_first(&srt->base.timers);
    check(due && due->deadline_ns <= srt->node->sim->now_ns);
    rt_timers_remove(&srt->base.timers, due);
    due->fn(due);
    if (!srt->base.dead) srt->base.ops->timers_changed(&srt->base);
}

static void rt_sim_timers_changed(struct rt *rt)
{
    struct sim_rt *srt = sim_rt_of(rt);
    struct sim *sim = srt->node->sim;
    struct rt_timer *first = rt_timers_first(&rt->timers);
    if (!first) {
        sim_event_cancel(&srt->timer_event);
        return;
    }
    uint64_t at = max_of(first->deadline_ns, sim->now_ns);
    if (sim_event_is_set(&srt->timer_event) && srt->timer_event.timer.deadline_ns == at) return;
    sim_event_set(sim, &srt->timer_event, EVENT_TIMER, srt->node, 0, at - sim->now_ns, timer_due);
}

static void buffers_due(struct rt_timer *timer)
{
    struct sim_rt *srt = container_of(timer, struct sim_rt, buffer_event.timer);
    rt_buffers_run_waiters(&srt->base.buffers);
}

static void rt_sim_buffers_returned(struct rt *rt)
{
    struct sim_rt *srt = sim_rt_of(rt);
    sim_event_set(srt->node->sim, &srt->buffer_event, EVENT_BUFFERS, srt->node, 0, 0, buffers_due);
}

static void mail_due(struct rt_timer *timer)
{
    struct sim_rt *srt = container_of(timer, struct sim_rt, mail_event.timer);
    struct rt_message *message =
        list_entry(list_pop_front(&srt->messages), struct rt_message, link);
    message->fn(message);
    if (srt->base.dead || list_is_empty(&srt->messages) || sim_event_is_set(&srt->mail_event))
        return;
    sim_event_set(srt->node->sim, &srt->mail_event, EVENT_MAIL, srt->node, 0, 0, mail_due);
}

static void rt_sim_post(struct rt *rt, struct rt_message *message)
{
    struct sim_rt *srt = sim_rt_of(rt);
    if (rt->dead) return;
    list_push_back(&srt->messages, &message->link);
    if (!sim_event_is_set(&srt->mail_event))
        sim_event_set(srt->node->sim, &srt->mail_event, EVENT_MAIL, srt->node, 0, 0, mail_due);
}

static const struct rt_ops sim_ops = {
    .now = rt_sim_now,
    .wall = rt_sim_wall,
    .random = rt_sim_random,
    .run = rt_sim_run,
    .stop = rt_sim_stop,
    .on_loop = rt_sim_on_loop,
    .timers_changed = rt_sim_timers_changed,
    .buffers_returned = rt_sim_buffers_returned,
    .post = rt_sim_post,
    .worker_create = sim_worker_create,
    .worker_destroy = sim_worker_destroy,
    .work = sim_work,
    .file_open = sim_file_open,
    .file_close = sim_file_close,
    .file_submit = sim_file_submit,
    .bfile_open = sim_bfile_open,
    .bfile_read = sim_bfile_read,
    .bfile_write = sim_bfile_write,
    .bfile_truncate = sim_bfile_truncate,
    .bfile_sync = sim_bfile_sync,
    .bfile_size = sim_bfile_size,
    .bfile_close = sim_bfile_close,
    .path_delete = sim_path_delete,
    .path_rename = sim_path_rename,
    .path_exists = sim_path_exists,
    .path_make_directory = sim_path_make_directory,
    .listen = sim_listen,
    .listener_close = sim_listener_close,
    .sock_submit = sim_sock_submit,
    .sock_close = sim_sock_close,
};

/* ---- Nodes ---- */

struct sim_node *sim_node_create(struct sim *sim, const char *name)
{
    struct sim_node *node = calloc(1, sizeof *node);
    check(node != NULL);
    node->sim = sim;
    node->name = strdup(name);
    node->number = ++sim->node_count;
    list_init(&node->files);
    list_init(&node->limbo);
    list_init(&node->faults);
    list_init(&node->hung);
    list_push_back(&sim->nodes, &node->link);
    return node;
}

static void free_rt(struct sim_rt *srt)
{
    if (!srt) return;
    sim_workers_free(srt);
    sim_files_free(srt);
    sim_bfiles_free(srt);
    sim_net_free(srt);
    rt_fini(&srt->base);
    free(srt);
}

struct rt *sim_node_boot(struct sim_node *node)
{
    if (node->up) sim_node_crash(node, SIM_CRASH_PROCESS);
    free_rt(node->rt);
    struct sim_rt *srt = calloc(1, sizeof *srt);
    check(srt != NULL);
    struct err *e = rt_init(&srt->base, &sim_ops, node->sim->options.buffer_bytes);
    check(!e);
    srt->node = node;
    struct list *lists[] = {&srt->messages,  &srt->workers, &srt->files,   &srt->bfiles,
                            &srt->listeners, &srt->socks,   &srt->connects};
    for (unsigned i = 0; i < countof(lists); i++) {
        list_init(lists[i]);
    }
    node->rt = srt;
    node->up = true;
    sim_trace(node->sim, node->number | UINT64_C(0xB0) << 32);
    return &srt->base;
}

/* The program of a node ends: none of its callbacks runs any more, its structs are not touched
 * again. */
static void kill_rt(struct sim_rt *srt, enum sim_crash kind)
{
    srt->base.dead = true;
    srt->on_worker = false;
    srt->base.timers.count = 0;
    sim_event_cancel(&srt->mail_event);
    sim_event_cancel(&srt->timer_event);
    sim_event_cancel(&srt->buffer_event);
    list_init(&srt->messages);
    list_init(&srt->base.buffers.waiters);
    sim_workers_stop(srt);
    sim_net_crash(srt, kind);
}

void sim_node_crash(struct sim_node *node, enum sim_crash kind)
{
    sim_trace(node->sim, node->number | (uint64_t)(0xC0 + kind) << 32);
    node->crash_at_count = 0;
    if (node->up) {
        node->up = false;
        kill_rt(node->rt, kind);
    }
    sim_files_crash(node, kind); /* power may also be lost while the program is down */
}

bool sim_node_is_up(const struct sim_node *node)
{
    return node->up;
}

void sim_node_crash_at_write(struct sim_node *node, uint64_t k, enum sim_crash kind)
{
    node->crash_at_count = k ? node->write_count + k : 0;
    node->crash_kind = kind;
}

bool sim_node_counts_write(struct sim_node *node)
{
    node->write_count++;
    return node->crash_at_count && node->write_count >= node->crash_at_count;
}

uint64_t sim_node_write_count(const struct sim_node *node)
{
    return node->write_count;
}

void sim_node_ignore_flush(struct sim_node *node, enum rt_flush_site site)
{
    node->ignored_site = site;
}

void sim_node_wall_jump(struct sim_node *node, int64_t by_ns)
{
    node->wall_offset_ns += by_ns;
}

struct sim_counters sim_node_counters(const struct sim_node *node)
{
    return node->counters;
}

/* ---- The world ---- */

struct sim *sim_create(const struct sim_options *options)
{
    struct sim *sim = calloc(1, sizeof *sim);
    check(sim != NULL);
    sim->options = *options;
    if (!sim->options.file_latency_max_ns) sim->options.file_latency_max_ns = 2 * RT_MS;
    if (!sim->options.net_latency_max_ns) sim->options.net_latency_max_ns = RT_MS;
    if (!sim->options.buffer_bytes) sim->options.buffer_bytes = 64 * MIB;
    prng_init(&sim->prng, options->seed);
    sim->trace = options->seed;
    sim->now_ns = RT_SECOND; /* so that 0 never is a time */
    sim->next_port = 40000;
    list_init(&sim->nodes);
    list_init(&sim->listeners);
    list_init(&sim->cuts);
    return sim;
}

static void free_node(struct sim_node *node)
{
    if (node->up) kill_rt(node->rt, SIM_CRASH_PROCESS);
    node->up = false;
    sim_files_heal(node); /* drops the faults */
    free_rt(node->rt);
    sim_node_free_files(node);
    list_remove(&node->link);
    free(node->name);
    free(node);
}

void sim_destroy(struct sim *sim)
{
    if (!sim) return;
    sim_net_heal(sim);
    while (!list_is_empty(&sim->nodes)) {
        free_node(list_entry(list_front(&sim->nodes), struct sim_node, link));
    }
    check(sim->events.count == 0);
    free(sim->events.heap);
    free(sim);
}

void sim_heal(struct sim *sim)
{
    list_for_each (n, &sim->nodes) {
        sim_files_heal(list_entry(n, struct sim_node, link));
    }
    sim_net_heal(sim);
}

struct prng *sim_prng(struct sim *sim)
{
    return &sim->prng;
}

uint64_t sim_now(struct sim *sim)
{
    return sim->now_ns;
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->trace;
}
