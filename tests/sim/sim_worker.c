/* Workers: the work runs to its end as one event; how long it waits before is drawn. */
#include <stdlib.h>

#include "tests/sim/sim_int.h"

struct sim_worker {
    struct rt_worker base;
    struct list_node link; /* sim_rt.workers */
    struct list queue, done;
    struct sim_event run_event, done_event;
};

static const uint64_t START_MAX_NS = RT_MS / 10;

static struct sim_rt *srt_of(struct sim_worker *worker)
{
    return sim_rt_of(worker->base.rt);
}

static void schedule(struct sim_worker *worker);

static void done_due(struct rt_timer *timer)
{
    struct sim_worker *worker = container_of(timer, struct sim_worker, done_event.timer);
    struct rt_work *work = list_entry(list_pop_front(&worker->done), struct rt_work, link);
    schedule(worker); /* first: done may destroy the worker */
    work->done(work);
}

static void run_work(struct sim_worker *worker)
{
    struct sim_rt *srt = srt_of(worker);
    struct rt_work *work = list_entry(list_pop_front(&worker->queue), struct rt_work, link);
    bool has_done = work->done != NULL; /* without it, work may be gone when fn returns */
    srt->on_worker = true;
    work->fn(work);
    srt->on_worker = false;
    if (has_done && !srt->base.dead) list_push_back(&worker->done, &work->link);
}

static void run_due(struct rt_timer *timer)
{
    struct sim_worker *worker = container_of(timer, struct sim_worker, run_event.timer);
    run_work(worker);
    if (!worker->base.rt->dead) schedule(worker);
}

static void schedule(struct sim_worker *worker)
{
    struct sim_rt *srt = srt_of(worker);
    struct sim *sim = srt->node->sim;
    if (!list_is_empty(&worker->queue) && !sim_event_is_set(&worker->run_event))
        sim_event_set(sim, &worker->run_event, EVENT_WORK, srt->node, 0,
                      sim_latency(sim, START_MAX_NS), run_due);
    if (!list_is_empty(&worker->done) && !sim_event_is_set(&worker->done_event))
        sim_event_set(sim, &worker->done_event, EVENT_WORK_DONE, srt->node, 0, 1, done_due);
}

struct err *sim_worker_create(struct rt *rt, const char *name, struct rt_worker **ret_worker)
{
    if (rt->dead) return err_new(STATUS_OS_ERROR, "the node is down");
    struct sim_worker *worker = calloc(1, sizeof *worker);
    check(worker != NULL);
    worker->base.rt = rt;
    list_init(&worker->queue);
    list_init(&worker->done);
    list_push_back(&sim_rt_of(rt)->workers, &worker->link);
    *ret_worker = &worker->base;
    return NULL;
}

/* What is done already is still told to the loop: those events outlive the worker, so it stays. */
void sim_worker_destroy(struct rt_worker *base)
{
    struct sim_worker *worker = container_of(base, struct sim_worker, base);
    if (base->rt->dead) return;
    sim_event_cancel(&worker->run_event);
    while (!list_is_empty(&worker->queue) && !base->rt->dead) {
        run_work(worker);
    }
    if (!base->rt->dead) schedule(worker);
}

void sim_work(struct rt_worker *base, struct rt_work *work)
{
    struct sim_worker *worker = container_of(base, struct sim_worker, base);
    if (base->rt->dead) return;
    list_push_back(&worker->queue, &work->link);
    schedule(worker);
}

void sim_workers_stop(struct sim_rt *srt)
{
    list_for_each (node, &srt->workers) {
        struct sim_worker *worker = list_entry(node, struct sim_worker, link);
        sim_event_cancel(&worker->run_event);
        sim_event_cancel(&worker->done_event);
        list_init(&worker->queue);
        list_init(&worker->done);
    }
}

void sim_workers_free(struct sim_rt *srt)
{
    while (!list_is_empty(&srt->workers)) {
        free(list_entry(list_pop_front(&srt->workers), struct sim_worker, link));
    }
}
