/*
 * gate.c - this pool's part in a cut over several (E22, E23; the whole: volume/gate.c).
 *
 * While the gate is closed batches go on being closed and written, but none is published: that is
 * the instant at which acknowledgements and what reads see change, together.  Everything the record
 * needs was taken before (E13), and admin records wait, so appending it cannot fail: publication
 * may hold back all other batches, and what waits for them, for as long as the gate is closed.
 */
#include <stdlib.h>

#include "timeline/engine.h"
#include "timeline/mutation.h"

static struct err *failed_error(const struct tl_pool *p)
{
    return err_next(err_new(STATUS_POOL_FAILED, "the pool has failed: %s", p->base.trouble),
                    "look at its device, then open the pool anew");
}

void gate_init(struct tl_pool *p)
{
    list_init(&p->gate.waiting);
}

void gate_prepare(struct volume_pool *pool, struct volume_gate *gate)
{
    struct tl_pool *p = tl_pool(pool);
    list_node_init(&gate->link);
    if (!tl_is_ok(p)) {
        volume_gate_answer(gate, failed_error(p));
        return;
    }
    list_push_back(&p->gate.waiting, &gate->link);
    pump_soon(p);
}

/* The next one, when there is room for its record. */
void gate_pump(struct tl_pool *p)
{
    struct tl_gate *g = &p->gate;
    if (g->gate || list_is_empty(&g->waiting)) return;
    if (!log_has_room(p, WAL_ADMIN, GATE_LOG_BLOCKS)) {
        checkpoint_want(p);
        return;
    }
    g->batch = batch_get(p);
    if (!g->batch) return;
    g->gate = list_entry(list_pop_front(&g->waiting), struct volume_gate, link);
    volume_gate_answer(g->gate, NULL);
}

void gate_close(struct volume_pool *pool, struct volume_gate *gate)
{
    struct tl_pool *p = tl_pool(pool);
    struct tl_gate *g = &p->gate;
    if (!tl_is_ok(p)) {
        volume_gate_answer(gate, failed_error(p));
        return;
    }
    check(g->gate == gate);
    g->records = wal_body(g->batch->wal, FORMAT_BATCH_WAL_BLOCKS * BLOCK_BYTES);
    struct err *e = admin_put_cut(p, &gate->parts[gate->index].cut, gate, &g->records);
    g->is_closed = !e;
    volume_gate_answer(gate, e);
}

static void durable(void *arg, struct err *e)
{
    struct volume_gate *gate = arg;
    gate->durable(gate, e);
}

void gate_cut(struct volume_pool *pool, struct volume_gate *gate)
{
    struct tl_pool *p = tl_pool(pool);
    struct tl_gate *g = &p->gate;
    if (!tl_is_ok(p)) {
        volume_gate_answer(gate, failed_error(p));
        return;
    }
    check(g->gate == gate && g->is_closed);
    gate->is_cut = true;
    admin_cut_now(p, take_ptr(&g->batch), &g->records, &gate->result, durable, gate);
    if (mutation_is(MUTATION_GATE_OPENS_EARLY)) {
        g->is_closed = false;
        pump_soon(p);
    }
    volume_gate_answer(gate, NULL);
}

void gate_open(struct volume_pool *pool, struct volume_gate *gate)
{
    struct tl_pool *p = tl_pool(pool);
    struct tl_gate *g = &p->gate;
    if (list_is_linked(&gate->link)) list_remove(&gate->link);
    if (g->gate == gate) {
        if (g->batch) batch_put(take_ptr(&g->batch));
        g->gate = NULL;
        g->is_closed = false;
        pump_soon(p); /* what was held back, and the next gate */
    }
    volume_gate_opened(gate);
}

/* Nothing of this pool will be in the cut; those who wait for its answers learn of it. */
void gate_fail_all(struct tl_pool *p)
{
    p->gate.is_closed = false;
    for (struct list_node *node; (node = list_pop_front(&p->gate.waiting));)
        volume_gate_answer(list_entry(node, struct volume_gate, link), failed_error(p));
    batch_publish(p);
}

void gate_put_others(const struct volume_gate *gate, struct buf_writer *w)
{
    for (unsigned i = 0; i < gate->part_count; i++) {
        const struct volume_cut_part *part = &gate->parts[i];
        struct wal_record head = {.type = WAL_CUT_POOL,
                                  .uuid = part->pool->uuid,
                                  .uuid2 = part->cut.set,
                                  .count = part->cut.member_count};
        wal_put_admin(w, &head);
        if (i == gate->index) continue; /* its members follow the pools */
        for (unsigned j = 0; j < part->cut.member_count; j++) {
            struct wal_record r = {.type = WAL_CUT_ABROAD,
                                   .uuid = part->cut.members[j].point,
                                   .uuid2 = part->cut.members[j].disk};
            wal_put_admin(w, &r);
        }
    }
}
