/* Dependent writes over several pools: chains and observers (gates.h). */
#include <stdio.h>
#include <string.h>

#include "gates_int.h"

static void io_done(struct volume_io *io)
{
    struct one_io *one = container_of(io, struct one_io, io);
    struct world *w = one->world;
    w->io_pending--;
    if (io->status != STATUS_OK) {
        gates_failed(w, "a request ended with %s", status_text(io->status));
        return;
    }
    one->next(one);
}

static void submit(struct world *w, struct one_io *one, enum volume_op op, unsigned pool,
                   unsigned block, void (*next)(struct one_io *one))
{
    one->world = w;
    one->next = next;
    bool is_span = op == VOLUME_WRITE && (block >= CHAINS || block % 2 == 0);
    unsigned blocks = is_span ? SPAN_BLOCKS : 1;
    one->iov = (struct iovec){.iov_base = one->data, .iov_len = blocks * (size_t)BLOCK_BYTES};
    one->io = (struct volume_io){.op = op,
                                 .sector = (uint64_t)block * SPAN_BLOCKS * SECTORS_PER_BLOCK,
                                 .sector_count = (uint64_t)blocks * SECTORS_PER_BLOCK,
                                 .iov = &one->iov,
                                 .iov_count = 1,
                                 .done = io_done};
    w->io_pending++;
    volume_submit(w->pools[pool].handle, &one->io);
}

static void put(struct world *w, struct one_io *one, unsigned pool, unsigned block, uint32_t number,
                void (*next)(struct one_io *one))
{
    for (unsigned i = 0; i < sizeof one->data; i += 4)
        store_le32(one->data + i, number);
    submit(w, one, VOLUME_WRITE, pool, block, next);
}

static void chain_next(struct one_io *one)
{
    struct chain *c = container_of(one, struct chain, one);
    struct world *w = one->world;
    if (++c->at == w->options.pool_count) {
        c->at = 0;
        c->number++;
    }
    if (!w->is_stopping) put(w, one, c->order[c->at], c->block, c->number, chain_next);
}

static struct observer *observer_of(struct one_io *one)
{
    struct observer *o = one->world->observers;
    while ((void *)one >= (void *)(o + 1))
        o++;
    return o;
}

static void writer_next(struct one_io *one);

static void write_slot(struct one_io *one)
{
    struct observer *o = observer_of(one);
    unsigned slot = (unsigned)(one - o->writers);
    put(one->world, one, o->from, o->first_block + slot, ++o->number, writer_next);
}

static void paused(struct rt_timer *timer)
{
    struct one_io *one = container_of(timer, struct one_io, pause);
    one->world->io_pending--;
    if (!one->world->is_stopping) one->next(one);
}

/* Most of the time an observer's requests are none that a closed gate could hold up. */
static void pause_then(struct one_io *one, void (*next)(struct one_io *one))
{
    struct world *w = one->world;
    if (w->is_stopping) return;
    one->next = next;
    w->io_pending++;
    rt_timer_set(w->rt, &one->pause, rt_now(w->rt) + prng_below(&w->prng, 6 * RT_MS), paused);
}

static void writer_next(struct one_io *one)
{
    pause_then(one, write_slot);
}

static void reader_wrote(struct one_io *one);

static void reader_read(struct one_io *one)
{
    struct observer *o = observer_of(one);
    o->seen = max_of(o->seen, load_le32(one->data));
    if (!one->world->is_stopping) put(one->world, one, o->to, o->to_block, o->seen, reader_wrote);
}

static void reader_reads(struct one_io *one)
{
    struct world *w = one->world;
    struct observer *o = observer_of(one);
    unsigned slot = (unsigned)prng_below(&w->prng, SLOTS);
    submit(w, one, VOLUME_READ, o->from, o->first_block + slot, reader_read);
}

static void reader_wrote(struct one_io *one)
{
    pause_then(one, reader_reads);
}

static void base_written(struct one_io *one)
{
    (void)one;
}

static bool is_quiet(struct world *w)
{
    return w->io_pending == 0;
}

void gates_draw_actors(struct world *w)
{
    unsigned n = w->options.pool_count;
    for (unsigned i = 0; i < CHAINS; i++) {
        struct chain *c = &w->chains[i];
        unsigned first = (unsigned)prng_below(&w->prng, n);
        unsigned step = n == 2 ? 1 : 1 + (unsigned)prng_below(&w->prng, 2);
        c->block = i;
        for (unsigned j = 0; j < n; j++)
            c->order[j] = (first + j * step) % n;
    }
    for (unsigned i = 0; i < OBSERVERS; i++) {
        struct observer *o = &w->observers[i];
        o->from = i % n;
        o->to = (o->from + 1 + (unsigned)prng_below(&w->prng, n - 1)) % n;
        o->first_block = CHAINS + (SLOTS + 1) * i;
        o->to_block = o->first_block + SLOTS;
    }
}

/* Behind a crash the pools may have lost different amounts: all begin with one number again. */
bool gates_begin_actors(struct world *w)
{
    static struct one_io ones[POOLS][BLOCKS];
    w->is_stopping = false;
    w->base += 1000000;
    for (unsigned i = 0; i < w->options.pool_count; i++)
        for (unsigned j = 0; j < BLOCKS; j++)
            put(w, &ones[i][j], i, j, w->base, base_written);
    if (!gates_wait(w, is_quiet, "writing the first numbers")) return false;
    for (unsigned i = 0; i < CHAINS; i++) {
        struct chain *c = &w->chains[i];
        c->at = 0;
        c->number = w->base + 1;
        put(w, &c->one, c->order[0], c->block, c->number, chain_next);
    }
    for (unsigned i = 0; i < OBSERVERS; i++) {
        struct observer *o = &w->observers[i];
        o->number = o->seen = w->base;
        for (unsigned j = 0; j < SLOTS; j++) {
            o->writers[j].world = w;
            write_slot(&o->writers[j]);
        }
        submit(w, &o->reader, VOLUME_READ, o->from, o->first_block, reader_read);
    }
    return true;
}

void gates_forget_requests(struct world *w)
{
    w->io_pending = 0;
    for (unsigned i = 0; i < OBSERVERS; i++) {
        memset(&w->observers[i].reader.pause, 0, sizeof(struct rt_timer));
        for (unsigned j = 0; j < SLOTS; j++)
            memset(&w->observers[i].writers[j].pause, 0, sizeof(struct rt_timer));
    }
}

bool gates_stop_actors(struct world *w)
{
    w->is_stopping = true;
    return gates_wait(w, is_quiet, "stopping");
}

static bool read_point(struct world *w, unsigned pool, unsigned set, uint32_t *ret_numbers)
{
    static struct one_io ones[BLOCKS];
    struct uuid uuid = gates_point(pool, set);
    struct volume *point, *live = w->pools[pool].handle;
    struct err *e = volume_open(w->pools[pool].engine, NULL, &uuid, VOLUME_READ_ONLY, &point);
    if (e) {
        gates_failed(w, "point of set %u in pool %u: %s", set, pool, status_text(err_status(e)));
        err_free(e);
        return false;
    }
    unsigned pending = w->io_pending;
    w->pools[pool].handle = point;
    for (unsigned i = 0; i < BLOCKS; i++)
        submit(w, &ones[i], VOLUME_READ, pool, i, base_written);
    w->pools[pool].handle = live;
    bool good = pending == 0 && gates_wait(w, is_quiet, "reading a point");
    if (gates_is_crashed(w)) return false;
    volume_close(point);
    for (unsigned i = 0; i < BLOCKS; i++)
        ret_numbers[i] = load_le32(ones[i].data);
    return good;
}

/* Every number along a chain depends on the one before it. */
bool gates_check_set(struct world *w, unsigned set)
{
    static uint32_t v[POOLS][BLOCKS];
    unsigned n = w->options.pool_count;
    for (unsigned i = 0; i < n; i++)
        if (!read_point(w, i, set, v[i])) return false;
    for (unsigned i = 0; i < CHAINS; i++) {
        const struct chain *c = &w->chains[i];
        uint32_t first = v[c->order[0]][c->block], last = v[c->order[n - 1]][c->block];
        for (unsigned j = 1; j < n; j++)
            if (v[c->order[j]][c->block] > v[c->order[j - 1]][c->block])
                return gates_failed(w,
                                    "set %u, chain %u: %u in pool %u, but %u in pool %u before it",
                                    set, i, v[c->order[j]][c->block], c->order[j],
                                    v[c->order[j - 1]][c->block], c->order[j - 1]);
        if (last + 1 < first)
            return gates_failed(w,
                                "set %u, chain %u: %u in the first pool, but only %u in the last",
                                set, i, first, last);
    }
    for (unsigned i = 0; i < OBSERVERS; i++) {
        const struct observer *o = &w->observers[i];
        uint32_t written = 0;
        for (unsigned j = 0; j < SLOTS; j++)
            written = max_of(written, v[o->from][o->first_block + j]);
        if (v[o->to][o->to_block] > written)
            return gates_failed(w, "set %u, observer %u: saw %u, but only %u was written", set, i,
                                v[o->to][o->to_block], written);
    }
    w->result.sets_checked++;
    return true;
}
