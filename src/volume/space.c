/* space.c - telling somebody that a pool fills up, or has room again, or has failed. */
#include "volume/volume_engine.h"

static void tell(struct rt_timer *timer)
{
    struct volume_pool *pool = container_of(timer, struct volume_pool, space.timer);
    if (pool->space.fn) pool->space.fn(pool->space.arg);
}

void volume_pool_space_is(struct volume_pool *pool, uint64_t free_bytes)
{
    bool is_low = free_bytes < pool->space.low_bytes;
    if (!pool->space.fn || is_low == pool->space.is_low) return;
    pool->space.is_low = is_low;
    if (!rt_timer_is_pending(&pool->space.timer))
        rt_timer_set(pool->rt, &pool->space.timer, rt_now(pool->rt), tell);
}

void volume_pool_watch_space(struct volume_pool *pool, uint64_t low_bytes, void (*fn)(void *arg),
                             void *arg)
{
    struct volume_pool_usage usage;
    rt_timer_cancel(pool->rt, &pool->space.timer); /* what was to be told is old */
    pool->space.low_bytes = low_bytes;
    pool->space.fn = fn;
    pool->space.arg = arg;
    pool->space.is_low = false;
    if (!fn) return;
    pool->ops->pool_usage(pool, &usage);
    volume_pool_space_is(pool, usage.free_bytes);
}

void volume_pool_watch_state(struct volume_pool *pool, void (*fn)(void *arg), void *arg)
{
    pool->state_watch.fn = fn;
    pool->state_watch.arg = arg;
}
