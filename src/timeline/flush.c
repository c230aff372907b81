/* flush.c - D and Drec, who waits for them, and the queue of freed blocks behind them (E5, E6,
 * E18). */
#include <stdlib.h>

#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"

enum { UNFLUSHED_MAX_MIB = 64, DEFAULT_FLUSH_AFTER_MS = 200 };

/* ---- D and Drec ------------------------------------------------------------------------------ */

void flush_note_batch(struct tl_pool *p, const struct batch *b)
{
    uint64_t durable = b->header.durable, newest = p->recorded_seq;
    if (p->recording_count > 0) newest = p->recording[p->recording_count - 1].durable;
    if (durable <= newest || p->recording_count == RECORDINGS) return;
    p->recording[p->recording_count].in = b->header.seq;
    p->recording[p->recording_count++].durable = durable;
}

static void note_durable(struct tl_pool *p, uint64_t seq)
{
    if (seq <= p->durable_seq) return;
    check(seq <= p->published_seq); /* E5 */
    p->durable_seq = seq;
    unsigned done = 0;
    while (done < p->recording_count && p->recording[done].in <= seq)
        p->recorded_seq = max_of(p->recorded_seq, p->recording[done++].durable);
    for (unsigned i = done; i < p->recording_count; i++)
        p->recording[i - done] = p->recording[i];
    p->recording_count -= done;
    check(p->recorded_seq <= p->durable_seq);
}

/* ---- The flusher's view ---------------------------------------------------------------------- */

static uint64_t complete_seq(void *arg)
{
    struct tl_pool *p = arg;
    uint64_t bytes = p->unflushed_bytes;
    for (unsigned i = 0; i < p->flushing_count; i++)
        bytes -= p->flushing_bytes[i];
    p->flushing_bytes[p->flushing_count++] = bytes;
    p->flush_begun_seq = p->published_seq;
    return p->published_seq;
}

static void flushed(void *arg, uint64_t seq)
{
    struct tl_pool *p = arg;
    p->counters.device_flushes++;
    if (mutation_is(MUTATION_LATE_FLUSH_JOINS)) seq = p->published_seq;
    p->unflushed_bytes -= p->flushing_bytes[0];
    for (unsigned i = 1; i < p->flushing_count; i++)
        p->flushing_bytes[i - 1] = p->flushing_bytes[i];
    p->flushing_count--;
    note_durable(p, seq);
    queue_release(p);
    pump_soon(p);
}

static void flush_failed(void *arg)
{
    pool_fail(arg, "the device failed to flush"); /* E5: never tried again */
}

/* ---- Waiting for D --------------------------------------------------------------------------- */

static void request_done(struct tl_pool *p, bool *is_active, enum status status)
{
    *is_active = false;
    if (status == STATUS_OK) pump_soon(p);
}

static void host_flush_done(struct flush_request *r, enum status status)
{
    unsigned which = r->number;
    struct tl_pool *p = container_of(r - which, struct tl_pool, host_flushes[0]);
    request_done(p, &p->host_flush_is_active[which], status);
}

static void self_flush_done(struct flush_request *r, enum status status)
{
    struct tl_pool *p = container_of(r, struct tl_pool, self_flush);
    request_done(p, &p->self_flush_is_active, status);
}

static void admin_flush_done(struct flush_request *r, enum status status)
{
    struct tl_pool *p = container_of(r, struct tl_pool, admin_flush);
    request_done(p, &p->admin_flush_is_active, status);
}

static void self_flush(struct tl_pool *p)
{
    if (p->self_flush_is_active || !tl_is_ok(p)) return;
    p->self_flush_is_active = true;
    flusher_submit(&p->flusher, &p->self_flush, RT_FLUSH_HOST, self_flush_done);
}

static void flush_timer_fired(struct rt_timer *timer)
{
    struct tl_pool *p = container_of(timer, struct tl_pool, flush_timer);
    if (p->published_seq > p->durable_seq) self_flush(p);
}

void flush_note_published(struct tl_pool *p, uint64_t bytes)
{
    uint64_t after =
        p->options.flush_after_ns ? p->options.flush_after_ns : DEFAULT_FLUSH_AFTER_MS * RT_MS;
    p->unflushed_bytes += bytes;
    uint64_t bound =
        min_of((uint64_t)UNFLUSHED_MAX_MIB * MIB, p->super.wal_blocks * BLOCK_BYTES / 4);
    if (p->unflushed_bytes >= bound) self_flush(p); /* E5 */
    if (!rt_timer_is_pending(&p->flush_timer))
        rt_timer_set(p->rt, &p->flush_timer, rt_now(p->rt) + after, flush_timer_fired);
}

void flush_io(struct volume_io *io, uint64_t target)
{
    struct tl_pool *p = tl_pool(io->volume->pool);
    io_state(io)->target = target;
    list_node_init(&io_state(io)->wait_link);
    list_push_back(&p->flush_waiters, &io_state(io)->wait_link);
    pump_soon(p);
}

void flush_wait(struct tl_pool *p, struct tl_waiter *waiter, uint64_t seq,
                void (*fn)(struct tl_waiter *waiter, enum status status))
{
    waiter->seq = seq;
    waiter->fn = fn;
    list_node_init(&waiter->link);
    list_push_back(&p->admin_waiters, &waiter->link);
    pump_soon(p);
}

static struct volume_io *waiting_io(struct list_node *node)
{
    struct io_state *state = container_of(node, struct io_state, wait_link);
    return container_of(state, struct volume_io, private_);
}

static bool finish_ios(struct tl_pool *p)
{
    bool is_waiting = false;
    struct list done;
    list_init(&done);
    list_for_each_safe (node, &p->flush_waiters) {
        if (io_state(waiting_io(node))->target > p->durable_seq) {
            is_waiting = true;
            continue;
        }
        list_remove(node);
        list_push_back(&done, node);
    }
    for (struct list_node *node; (node = list_pop_front(&done));)
        volume_io_complete(waiting_io(node), STATUS_OK); /* E5 */
    return is_waiting;
}

static bool finish_admin(struct tl_pool *p)
{
    bool is_waiting = false;
    struct list done;
    list_init(&done);
    list_for_each_safe (node, &p->admin_waiters) {
        struct tl_waiter *w = list_entry(node, struct tl_waiter, link);
        if (w->seq > p->durable_seq) {
            is_waiting = true;
            continue;
        }
        list_remove(node);
        list_push_back(&done, node);
    }
    for (struct list_node *node; (node = list_pop_front(&done));) {
        struct tl_waiter *w = list_entry(node, struct tl_waiter, link);
        w->fn(w, STATUS_OK); /* E26 */
    }
    return is_waiting;
}

/* One for those who wait; a second beside it if it covers more: they come one after the other all the
 * same, but the device need not be idle between them. */
static void host_flush(struct tl_pool *p)
{
    unsigned active = 0, free_one = 0;
    for (unsigned i = 0; i < FLUSH_SLOTS; i++) {
        if (p->host_flush_is_active[i])
            active++;
        else
            free_one = i;
    }
    if (active == FLUSH_SLOTS || (active > 0 && p->published_seq <= p->flush_begun_seq)) return;
    p->host_flush_is_active[free_one] = true;
    p->host_flushes[free_one].number = free_one;
    flusher_submit(&p->flusher, &p->host_flushes[free_one], RT_FLUSH_HOST, host_flush_done);
}

void flush_pump(struct tl_pool *p)
{
    if (p->base.state == VOLUME_POOL_DAMAGED)
        finish_ios(p); /* nothing was written: nothing to flush */
    if (!tl_is_ok(p)) return;
    if (finish_ios(p)) host_flush(p);
    /* A flush that covers unpublished batches is of no use to their waiters. */
    if (finish_admin(p) && !p->admin_flush_is_active && p->published_seq > p->durable_seq) {
        p->admin_flush_is_active = true;
        flusher_submit(&p->flusher, &p->admin_flush, RT_FLUSH_ADMIN, admin_flush_done);
    }
}

void flush_fail_all(struct tl_pool *p)
{
    for (struct list_node *node; (node = list_pop_front(&p->flush_waiters));)
        volume_io_complete(waiting_io(node), STATUS_POOL_FAILED);
    for (struct list_node *node; (node = list_pop_front(&p->admin_waiters));) {
        struct tl_waiter *w = list_entry(node, struct tl_waiter, link);
        w->fn(w, STATUS_POOL_FAILED);
    }
}

/* ---- The queue ------------------------------------------------------------------------------- */

struct trim {
    struct list_node link; /* pool->trims */
    struct tl_pool *pool;
    struct rt_file_io io;
    uint64_t block;
    uint32_t count;
};

static void trim_done(struct rt_file_io *io)
{
    struct trim *t = container_of(io, struct trim, io);
    struct tl_pool *p = t->pool;
    alloc_give_back(&p->alloc, t->block, t->count); /* E18: trim complete -> allocatable */
    p->trimming_blocks -= t->count;
    list_remove(&t->link);
    free(t);
    pump_soon(p);
}

static void trim(void *arg, uint64_t block, uint32_t count)
{
    struct tl_pool *p = arg;
    struct trim *t = calloc(1, sizeof *t);
    check(t != NULL);
    *t = (struct trim){.pool = p, .block = block, .count = count};
    t->io = (struct rt_file_io){.op = RT_FILE_DISCARD,
                                .file = p->file,
                                .offset = block * BLOCK_BYTES,
                                .length = (uint64_t)count * BLOCK_BYTES,
                                .done = trim_done};
    p->trimming_blocks += count;
    list_push_back(&p->trims, &t->link);
    rt_file_submit(p->rt, &t->io);
}

void trims_each(struct tl_pool *p, void (*fn)(void *arg, uint64_t block, uint32_t count), void *arg)
{
    list_for_each (node, &p->trims) {
        const struct trim *t = list_entry(node, struct trim, link);
        fn(arg, t->block, t->count);
    }
}

void queue_release(struct tl_pool *p)
{
    bool sparse = p->super.flags & SUPER_SPARSE;
    uint64_t recorded =
        mutation_is(MUTATION_REUSE_AT_D) ? p->durable_seq : p->recorded_seq; /* E6 */
    uint64_t n =
        alloc_queue_release(&p->alloc, recorded, read_oldest_mark(p), sparse ? trim : NULL, p);
    p->counters.reclaimed_blocks += n;
    if (n) pump_soon(p);
}

static void note_flushed(struct tl_waiter *waiter, enum status status)
{
    struct tl_pool *p = container_of(waiter, struct tl_pool, note_waiter);
    p->note_is_active = false;
    if (status == STATUS_OK) queue_release(p);
    pump_soon(p);
}

static void note_published(struct batch *b, enum status status)
{
    struct tl_pool *p = b->pool;
    if (status == STATUS_OK)
        flush_wait(p, &p->note_waiter, b->header.seq, note_flushed);
    else
        p->note_is_active = false;
}

/* One step: as long as the queue waits for Drec, records D (when it covers the queue) or moves D.
 */
void recycle_kick(struct tl_pool *p)
{
    if (p->note_is_active || p->alloc.queue_count == 0 || !tl_is_ok(p)) return;
    uint64_t oldest = alloc_queue_oldest(&p->alloc);
    if (p->recorded_seq >= oldest) {
        queue_release(p);
        return;
    }
    if (p->durable_seq < p->published_seq && p->durable_seq < oldest) {
        self_flush(p);
        return;
    }
    if (!log_has_room(p, WAL_RECLAIM, 1)) {
        checkpoint_want(p);
        return;
    }
    struct batch *b = batch_get(p);
    if (!b) return;
    struct buf_writer w = wal_body(b->wal, BLOCK_BYTES);
    p->note_is_active = true;
    b->published = note_published;
    batch_close(b, WAL_NOTE, &w); /* E6: an empty batch that records D */
}

void flush_init(struct tl_pool *p)
{
    list_init(&p->flush_waiters);
    list_init(&p->admin_waiters);
    list_init(&p->trims);
    flusher_init(&p->flusher, p->rt, p->file);
    p->flusher.complete = complete_seq;
    p->flusher.flushed = flushed;
    p->flusher.failed = flush_failed;
    p->flusher.arg = p;
}

void flush_fini(struct tl_pool *p)
{
    rt_timer_cancel(p->rt, &p->flush_timer);
    list_for_each_safe (node, &p->trims)
        free(list_entry(node, struct trim, link));
}
