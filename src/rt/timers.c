#include <stdlib.h>

#include "rt/rt_int.h"

static bool is_before(const struct rt_timer *a, const struct rt_timer *b)
{
    if (a->deadline_ns != b->deadline_ns) return a->deadline_ns < b->deadline_ns;
    return a->order < b->order;
}

static void place(struct rt_timers *timers, unsigned index, struct rt_timer *timer)
{
    timers->heap[index] = timer;
    timer->heap_index = index + 1;
}

static void sift_up(struct rt_timers *timers, unsigned index)
{
    struct rt_timer *timer = timers->heap[index];
    while (index > 0) {
        unsigned parent = (index - 1) / 2;
        if (!is_before(timer, timers->heap[parent])) break;
        place(timers, index, timers->heap[parent]);
        index = parent;
    }
    place(timers, index, timer);
}

static void sift_down(struct rt_timers *timers, unsigned index)
{
    struct rt_timer *timer = timers->heap[index];
    for (;;) {
        unsigned child = 2 * index + 1;
        if (child >= timers->count) break;
        if (child + 1 < timers->count && is_before(timers->heap[child + 1], timers->heap[child]))
            child++;
        if (!is_before(timers->heap[child], timer)) break;
        place(timers, index, timers->heap[child]);
        index = child;
    }
    place(timers, index, timer);
}

struct rt_timer *rt_timers_first(const struct rt_timers *timers)
{
    return timers->count ? timers->heap[0] : NULL;
}

void rt_timers_set(struct rt_timers *timers, struct rt_timer *timer, uint64_t deadline_ns)
{
    if (timer->heap_index) rt_timers_remove(timers, timer);
    if (timers->count == timers->capacity) {
        timers->capacity = timers->capacity ? 2 * timers->capacity : 64;
        timers->heap = realloc(timers->heap, timers->capacity * sizeof(struct rt_timer *));
        check(timers->heap != NULL);
    }
    timer->deadline_ns = deadline_ns;
    timer->order = timers->next_order++;
    place(timers, timers->count++, timer);
    sift_up(timers, timers->count - 1);
}

void rt_timers_remove(struct rt_timers *timers, struct rt_timer *timer)
{
    unsigned index = timer->heap_index - 1;
    check(index < timers->count && timers->heap[index] == timer);
    struct rt_timer *last = timers->heap[--timers->count];
    timer->heap_index = 0;
    if (last == timer) return;
    place(timers, index, last);
    sift_up(timers, index);
    sift_down(timers, last->heap_index - 1);
}

void rt_timers_run(struct rt_timers *timers, uint64_t now_ns)
{
    uint64_t limit = timers->next_order;
    for (;;) {
        struct rt_timer *timer = rt_timers_first(timers);
        if (!timer || timer->deadline_ns > now_ns || timer->order >= limit) return;
        rt_timers_remove(timers, timer);
        timer->fn(timer);
    }
}
