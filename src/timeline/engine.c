/* engine.c - the pool object: the vtable, usage, failure, settle, close. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/recover.h"
#include "timeline/tables.h"

enum { DEFAULT_CACHE_MIB = 256, MIN_CACHE_KIB = 64, RECYCLE_MAX_MIB = 256, QUIET_POLL_MS = 1 };

/* ---- Life ------------------------------------------------------------------------------------ */

struct tl_pool *pool_new(struct rt *rt, const struct volume_pool_options *options)
{
    struct tl_pool *p = calloc(1, sizeof *p);
    const struct uuid nil = {{0}};
    check(p != NULL);
    p->rt = rt;
    if (options) p->options = *options;
    p->cache_bytes = p->options.cache_bytes ? p->options.cache_bytes : DEFAULT_CACHE_MIB * MIB;
    p->cache_bytes = max_of(p->cache_bytes, MIN_CACHE_KIB * KIB);
    volume_pool_base_init(&p->base, rt, &timeline_ops, &nil);
    tables_init(p);
    batch_init(p);
    admit_init(p);
    read_init(p);
    reclaim_init(p);
    gate_init(p);
    list_init(&p->admin_queue);
    list_init(&p->admin_running);
    list_init(&p->reverts);
    list_init(&p->promotions);
    list_init(&p->replaces);
    list_init(&p->settle_waiters);
    list_init(&p->calls);
    list_init(&p->checks);
    return p;
}

void pool_start(struct tl_pool *p)
{
    flush_init(p);
    map_init(p);
    checkpoint_init(p);
    p->is_started = true;
}

void pool_free(struct tl_pool *p)
{
    tables_fini(p);
    if (p->is_started) {
        map_fini(p);
        checkpoint_fini(p);
        flush_fini(p);
    }
    for (unsigned i = 0; i < FRAG_COUNT; i++)
        if (p->frags[i].buf) rt_buf_put(p->rt, p->frags[i].buf, p->frags[i].buf_bytes);
    for (unsigned i = 0; i < READ_COUNT; i++)
        if (p->reads[i].buf && p->reads[i].io)
            rt_buf_put(p->rt, p->reads[i].buf, p->reads[i].buf_bytes);
    batch_fini(p);
    reclaim_fini(p);
    admin_fini(p);
    promote_abandon(p);
    replace_abandon(p);
    if (p->opening) open_free(p->opening);
    rt_file_close(p->file);
    free(p->frags);
    free(p->reads);
    free(p->bitmap_refs);
    list_for_each_safe (node, &p->checks)
        pool_check_free_node(node);
    alloc_fini(&p->alloc);
    volume_pool_base_fini(&p->base);
    free(p);
}

static void fail_fire(struct rt_message *message)
{
    struct tl_pool *p = container_of(message, struct tl_pool, fail_message);
    log_write(LOG_LEVEL_ERROR, "pool failed", "reason=\"%s\"", p->base.trouble);
    if (!p->is_open) {
        open_failed(p);
        return;
    }
    gate_fail_all(p);
    batch_fail_all(p);
    admit_fail_all(p);
    flush_fail_all(p);
    admin_fail_all(p);
    promote_fail_all(p);
    replace_fail_all(p);
    checkpoint_fail_all(p);
    settle_poke(p);
    volume_pool_notify(&p->base, VOLUME_EVENT_STATE);
}

void pool_fail(struct tl_pool *p, const char *why)
{
    if (p->base.state == VOLUME_POOL_FAILED) return;
    p->base.state = VOLUME_POOL_FAILED;
    snprintf(p->base.trouble, sizeof p->base.trouble, "%s", why);
    p->fail_message.fn = fail_fire;
    p->fail_is_posted = true;
    rt_post(p->rt, &p->fail_message);
}

/* ---- Space ----------------------------------------------------------------------------------- */

uint64_t pool_reserve_blocks(const struct tl_pool *p)
{
    return min_of((p->alloc.end - p->alloc.start) / 32, RECYCLE_MAX_MIB * MIB / BLOCK_BYTES);
}

uint64_t pool_checkpoint_need(const struct tl_pool *p)
{
    uint64_t system = extents_blocks(&p->ckpt.system_extents) * 2 + 16;
    return p->leaf_need + p->dirty_dir_pages + alloc_page_count(&p->alloc) + system;
}

static uint64_t held_blocks(const struct tl_pool *p)
{
    uint64_t need = pool_checkpoint_need(p) + 64 + 2 * (uint64_t)p->largest_leaf_blocks;
    return pool_reserve_blocks(p) + need;
}

uint64_t pool_free_bytes(const struct tl_pool *p)
{
    uint64_t held = held_blocks(p);
    return p->alloc.free_count > held ? (p->alloc.free_count - held) * BLOCK_BYTES : 0;
}

static void usage(struct volume_pool *pool, struct volume_pool_usage *ret_usage)
{
    struct tl_pool *p = tl_pool(pool);
    struct volume_pool_usage u = {0};
    uint64_t data = 0;
    list_for_each (node, &p->disks)
        data += list_entry(node, struct tl_disk, link)->own_blocks;
    u.size_bytes = p->super.size_blocks * BLOCK_BYTES;
    u.capacity_bytes = (p->alloc.end - p->alloc.start) * BLOCK_BYTES;
    u.data_bytes = data * BLOCK_BYTES;
    u.metadata_bytes = p->metadata_blocks * BLOCK_BYTES;
    u.reclaiming_bytes =
        (p->alloc.queue_blocks + p->trimming_blocks + retired_blocks(p)) * BLOCK_BYTES;
    u.used_bytes = u.data_bytes + u.metadata_bytes + u.reclaiming_bytes;
    u.reserved_bytes = held_blocks(p) * BLOCK_BYTES;
    u.free_bytes = pool_free_bytes(p);
    u.reclaim_pending = pool_is_sweeping(p);
    *ret_usage = u;
}

static const struct volume_recovery *recovery(const struct volume_pool *pool)
{
    return &tl_pool_const(pool)->recovery;
}

static void counters(const struct volume_pool *pool, struct volume_pool_counters *ret_counters)
{
    *ret_counters = tl_pool_const(pool)->counters;
}

/* ---- Settle: everything durable, swept, recycled --------------------------------------------- */

struct control_call {
    struct list_node link;
    struct tl_pool *pool;
    volume_done_fn *done;
    void *arg;
};

static void call_end(struct control_call *call, struct err *e)
{
    volume_done_fn *done = call->done;
    void *arg = call->arg;
    list_remove(&call->link);
    free(call);
    done(arg, e);
}

static struct control_call *call_new(struct tl_pool *p, struct list *list, volume_done_fn *done,
                                     void *arg)
{
    struct control_call *call = calloc(1, sizeof *call);
    check(call != NULL);
    *call = (struct control_call){.pool = p, .done = done, .arg = arg};
    list_push_back(list, &call->link);
    return call;
}

static void settle_end(struct tl_pool *p)
{
    struct list done;
    list_init(&done);
    list_splice_back(&done, &p->settle_waiters);
    while (!list_is_empty(&done)) {
        struct control_call *call = list_entry(list_front(&done), struct control_call, link);
        call_end(call, tl_is_ok(p) ? NULL
                                   : err_new(STATUS_POOL_FAILED, "the pool has failed: %s",
                                             p->base.trouble));
    }
}

static void settle_step_done(struct tl_waiter *waiter, enum status status)
{
    struct tl_pool *p = container_of(waiter, struct tl_pool, settle_waiter);
    (void)status;
    p->settle_is_waiting = false;
    pump_soon(p);
}

/* Takes the next step; called whenever something ended. */
void settle_poke(struct tl_pool *p)
{
    if (list_is_empty(&p->settle_waiters) || p->settle_is_waiting) return;
    if (!tl_is_ok(p)) {
        settle_end(p);
        return;
    }
    if (!list_is_empty(&p->in_flight) || !list_is_empty(&p->ready)) return;
    if (pool_is_sweeping(p)) {
        p->settle_rounds = 0; /* it goes on by itself */
        return;
    }
    if (p->alloc.queue_count > 0) {
        p->settle_rounds = 0;
        recycle_kick(p);
        return;
    }
    if (p->trimming_blocks > 0) return;
    if (p->settle_rounds < 2) { /* the second frees what the first replaced (E12) */
        p->settle_rounds++;
        p->settle_is_waiting = true;
        checkpoint_wait(p, &p->settle_waiter, settle_step_done);
        return;
    }
    if (p->durable_seq < p->published_seq) {
        p->settle_is_waiting = true;
        flush_wait(p, &p->settle_waiter, p->published_seq, settle_step_done);
        return;
    }
    settle_end(p);
}

static void settle(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    struct tl_pool *p = tl_pool(pool);
    call_new(p, &p->settle_waiters, done, arg);
    p->settle_rounds = 0;
    pump_soon(p);
}

struct checkpoint_call {
    struct control_call call;
    struct tl_waiter waiter;
};

static void checkpoint_called(struct tl_waiter *waiter, enum status status)
{
    struct checkpoint_call *c = container_of(waiter, struct checkpoint_call, waiter);
    call_end(&c->call, status == STATUS_OK ? NULL
                                           : err_new(status, "the pool has failed: %s",
                                                     c->call.pool->base.trouble));
}

static void checkpoint(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    struct tl_pool *p = tl_pool(pool);
    struct checkpoint_call *c = calloc(1, sizeof *c);
    check(c != NULL);
    c->call = (struct control_call){.pool = p, .done = done, .arg = arg};
    list_push_back(&p->calls, &c->call.link);
    checkpoint_wait(p, &c->waiter, checkpoint_called);
}

/* ---- Close ----------------------------------------------------------------------------------- */

static bool is_quiet(const struct tl_pool *p)
{
    return list_is_empty(&p->promotions) && list_is_empty(&p->replaces) &&
           list_is_empty(&p->in_flight) &&
           list_is_empty(&p->readers) && list_is_empty(&p->loads) && list_is_empty(&p->trims) &&
           map_writers_are_idle(p) && p->flusher.active == 0 &&
           p->ckpt.set.active == 0 && (!p->sweep.is_active || !tl_is_ok(p)) && !p->pump_is_posted &&
           !p->trim_map_post && !p->sweep.is_posted && !pool_check_is_active(p) && !p->base.refuse_is_posted &&
           list_is_empty(&p->base.later) && list_is_empty(&p->base.gates) &&
           (p->ckpt.phase == CHECKPOINT_IDLE || !tl_is_ok(p));
}

static void close_step(struct rt_timer *timer);

static void close_soon(struct tl_pool *p)
{
    rt_timer_set(p->rt, &p->close_timer, rt_now(p->rt) + QUIET_POLL_MS * RT_MS, close_step);
}

static void close_checkpointed(struct tl_waiter *waiter, enum status status)
{
    struct tl_pool *p = container_of(waiter, struct tl_pool, close_waiter);
    (void)status;
    close_soon(p);
}

/* First quiet, so that the checkpoint leaves nothing to replay; then quiet again. */
static void close_step(struct rt_timer *timer)
{
    struct tl_pool *p = container_of(timer, struct tl_pool, close_timer);
    if (!is_quiet(p)) {
        close_soon(p);
        return;
    }
    if (tl_is_ok(p) && !p->close_checkpoint_begun) {
        p->close_checkpoint_begun = true;
        checkpoint_wait(p, &p->close_waiter, close_checkpointed);
        return;
    }
    volume_done_fn *done = p->close_done;
    void *arg = p->close_arg;
    struct err *e = NULL;
    if (p->base.state == VOLUME_POOL_FAILED)
        e = err_new(STATUS_POOL_FAILED, "the pool had failed: %s", p->base.trouble);
    p->is_open = false;
    pool_free(p);
    done(arg, e);
}

static void pool_close(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    struct tl_pool *p = tl_pool(pool);
    p->close_done = done;
    p->close_arg = arg;
    promote_fail_all(p);
    replace_fail_all(p);
    p->is_closing = true; /* no reclaim any more; what is left goes on at the next open */
    close_soon(p);
}

static void pool_abandon(struct volume_pool *pool)
{
    struct tl_pool *p = tl_pool(pool);
    struct list *lists[] = {&p->settle_waiters, &p->calls};
    for (unsigned i = 0; i < countof(lists); i++)
        list_for_each_safe (node, lists[i])
            free(list_entry(node, struct control_call, link));
    list_for_each_safe (node, &p->base.handles)
        free(container_of(list_entry(node, struct volume, link), struct tl_volume, base));
    pool_free(p);
}

/* ---- What is there --------------------------------------------------------------------------- */

static bool is_visible(const struct tl_pool *p, uint64_t seq)
{
    return seq <= p->durable_seq || p->base.state != VOLUME_POOL_OK; /* E26 */
}

static void fill_disk(const struct tl_disk *d, struct volume_disk_info *ret_info)
{
    *ret_info = (struct volume_disk_info){.uuid = d->uuid,
                                          .size_bytes = d->size_bytes,
                                          .own_bytes = d->own_blocks * BLOCK_BYTES,
                                          .depth = d->depth,
                                          .handle_count = d->handle_count};
    for (unsigned i = 0; i < d->point_count; i++)
        if (d->points[i]->kind != VOLUME_POINT_PIN) ret_info->point_count++;
    if (!d->parent) return;
    ret_info->is_promoted = d->is_promoted;
    ret_info->parent_point = d->parent_point;
    ret_info->parent_disk = d->parent_disk_uuid;
}

static bool find_disk(struct volume_pool *pool, const struct uuid *uuid,
                      struct volume_disk_info *ret_info)
{
    struct tl_pool *p = tl_pool(pool);
    struct tl_disk *disk = disk_find(p, uuid);
    if (!disk || !is_visible(p, disk->created_seq)) return false;
    fill_disk(disk, ret_info);
    return true;
}

static void each_disk(struct volume_pool *pool,
                      void (*fn)(void *arg, const struct volume_disk_info *info), void *arg)
{
    struct tl_pool *p = tl_pool(pool);
    struct volume_disk_info info;
    list_for_each (node, &p->disks) {
        const struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        if (disk->deleted || !is_visible(p, disk->created_seq)) continue;
        fill_disk(disk, &info);
        fn(arg, &info);
    }
}

static void fill_point(const struct tl_point *point, struct volume_point_info *ret_info)
{
    *ret_info = (struct volume_point_info){.uuid = point->uuid,
                                           .disk = point->disk->uuid,
                                           .set = point->set,
                                           .kind = point->kind,
                                           .generation = point->generation,
                                           .wall_ns = point->wall_ns,
                                           .size_bytes = point->size_bytes,
                                           .branch_count = point->branch_count,
                                           .handle_count = point->handle_count,
                                           .leased = point->leased};
}

static bool find_point(struct volume_pool *pool, const struct uuid *uuid,
                       struct volume_point_info *ret_info)
{
    struct tl_pool *p = tl_pool(pool);
    struct tl_point *point = point_find(p, uuid);
    if (!point || !is_visible(p, point->generation)) return false;
    fill_point(point, ret_info);
    return true;
}

static void each_set(struct volume_pool *pool,
                     void (*fn)(void *arg, const struct volume_set_info *info), void *arg)
{
    const struct tl_pool *p = tl_pool(pool);
    for (unsigned i = 0; i < HASH_BUCKETS; i++) {
        list_for_each (node, &p->set_hash[i]) {
            const struct tl_set *set = list_entry(node, struct tl_set, hash_link);
            if (!is_visible(p, set->seq)) continue;
            fn(arg, &(struct volume_set_info){
                        .set = set->uuid, .pool_count = set->pool_count, .pools = set->pools});
        }
    }
}

static void points_of(struct tl_disk *disk,
                      void (*fn)(void *arg, const struct volume_point_info *info), void *arg)
{
    struct volume_point_info info;
    for (unsigned i = 0; i < disk->point_count; i++) {
        const struct tl_point *point = disk->points[i];
        if (!is_visible(disk->pool, point->generation)) continue;
        fill_point(point, &info);
        fn(arg, &info);
    }
}

static int compare_points(const void *a_, const void *b_)
{
    const struct tl_point *a = *(struct tl_point *const *)a_, *b = *(struct tl_point *const *)b_;
    if (a->generation != b->generation) return a->generation < b->generation ? -1 : 1;
    return a->disk->id < b->disk->id ? -1 : a->disk->id > b->disk->id;
}

static void each_point(struct volume_pool *pool, const struct uuid *uuid,
                       void (*fn)(void *arg, const struct volume_point_info *info), void *arg)
{
    struct tl_pool *p = tl_pool(pool);
    unsigned count = 0, at = 0;
    if (uuid) {
        struct tl_disk *disk = disk_find(p, uuid);
        if (disk) points_of(disk, fn, arg);
        return;
    }
    list_for_each (node, &p->disks)
        count += list_entry(node, struct tl_disk, link)->point_count;
    struct tl_point **all = calloc(count + 1, sizeof(struct tl_point *));
    check(all != NULL);
    list_for_each (node, &p->disks) {
        const struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        for (unsigned i = 0; i < disk->point_count; i++)
            if (is_visible(p, disk->points[i]->generation)) all[at++] = disk->points[i];
    }
    qsort(all, at, sizeof(struct tl_point *), compare_points);
    struct volume_point_info info;
    for (unsigned i = 0; i < at; i++) {
        fill_point(all[i], &info);
        fn(arg, &info);
    }
    free(all);
}

/* ---- Handles --------------------------------------------------------------------------------- */

static struct err *open_view(struct volume_pool *pool, const struct uuid *disk,
                             const struct uuid *point, enum volume_mode mode,
                             struct volume **ret_volume)
{
    struct tl_pool *p = tl_pool(pool);
    struct tl_volume *v = calloc(1, sizeof *v);
    if (!v) return err_new(STATUS_NO_MEMORY, "out of memory");
    uint64_t size;
    if (point) {
        v->point = point_find(p, point);
        v->disk = v->point->disk;
        v->point->handle_count++;
        size = v->point->size_bytes;
    } else {
        v->disk = disk_find(p, disk);
        v->disk->handle_count++;
        size = v->disk->size_bytes;
    }
    volume_base_init(&v->base, pool, size, mode == VOLUME_READ_ONLY);
    *ret_volume = &v->base;
    return NULL;
}

static void close_view(struct volume *volume)
{
    struct tl_volume *v = container_of(volume, struct tl_volume, base);
    if (v->point)
        v->point->handle_count--;
    else
        v->disk->handle_count--;
    volume_base_fini(volume);
    free(v);
}

static void submit(struct volume *volume, struct volume_io *io)
{
    struct tl_pool *p = tl_pool(volume->pool);
    switch (io->op) {
    case VOLUME_READ:
        read_io(io);
        break;
    case VOLUME_WRITE:
    case VOLUME_ZERO:
    case VOLUME_UNMAP:
    case VOLUME_COMPARE_WRITE:
        admit_io(io);
        break;
    case VOLUME_FLUSH:
        *io_state(io) = (struct io_state){0};
        p->counters.host_flushes++;
        flush_io(io, p->published_seq); /* E5: everything acknowledged so far is published */
        break;
    }
}

static void map_status(struct volume *volume, struct volume_map_query *query)
{
    (void)volume;
    query_io(query);
}

const struct volume_engine_ops timeline_ops = {
    .name = "timeline",
    .capabilities = VOLUME_CAP_CUT | VOLUME_CAP_BRANCH | VOLUME_CAP_REVERT | VOLUME_CAP_REPLACE,
    .pool_close = pool_close,
    .pool_abandon = pool_abandon,
    .pool_usage = usage,
    .pool_recovery = recovery,
    .pool_counters = counters,
    .pool_settle = settle,
    .pool_checkpoint = checkpoint,
    .pool_check = pool_check,
    .disk_create = admin_disk_create,
    .disk_resize = admin_disk_resize,
    .disk_delete = admin_disk_delete,
    .disk_find = find_disk,
    .disks = each_disk,
    .cut = admin_cut,
    .gate_prepare = gate_prepare,
    .gate_close = gate_close,
    .gate_cut = gate_cut,
    .gate_open = gate_open,
    .sets = each_set,
    .point_delete = admin_point_delete,
    .point_find = find_point,
    .points = each_point,
    .branch = admin_branch,
    .revert = admin_revert,
    .promote = promote_begin,
    .replace = replace_begin,
    .replace_poke = replace_poke,
    .split = admin_split,
    .open = open_view,
    .close = close_view,
    .submit = submit,
    .map_status = map_status,
};
