#include "timeline/timeline.h"

#include <stdlib.h>

/* Not yet. */
struct nothing {
    struct rt_message message;
    volume_done_fn *done;
    void *arg;
};
static void fire(struct rt_message *m)
{
    struct nothing *n = container_of(m, struct nothing, message);
    volume_done_fn *done = n->done;
    void *arg = n->arg;
    free(n);
    done(arg, err_new(STATUS_NOT_SUPPORTED, "the timeline engine is not there yet"));
}
static void later(struct rt *rt, volume_done_fn *done, void *arg)
{
    struct nothing *n = calloc(1, sizeof *n);
    check(n != NULL);
    n->message.fn = fire;
    n->done = done;
    n->arg = arg;
    rt_post(rt, &n->message);
}
void timeline_pool_create(struct rt *rt, const char *path, uint64_t size_bytes, const struct uuid *pool,
                          const struct volume_pool_options *options, bool overwrite,
                          void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
                          volume_done_fn *done, void *arg)
{
    later(rt, done, arg);
}
void timeline_pool_open(struct rt *rt, const char *path, const struct volume_pool_options *options,
                        struct volume_pool **ret_pool, volume_done_fn *done, void *arg)
{
    later(rt, done, arg);
}
