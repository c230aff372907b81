/*
 * gate.c - one cut over several pools (E22, E23).
 *
 * Pools have no common counter.  What makes their cuts one instant is that from before the first
 * record until behind the last no pool acknowledges or shows a host's write: a write that was
 * acknowledged before is in its pool's cut, and nothing that depends on one that was not can be in
 * any.  Admission goes on; nothing is drained.
 *
 *     prepare, pool by pool  every pool holds a batch and log space for its record; waits are here
 *     close, all at once     each confirms that nothing is acknowledged any more
 *     cut, all at once       each confirms that its record has its number
 *     open                   the gates were closed for a few turns of the loop
 *     durable                all records are on stable storage: done.  Else the others' are undone
 *
 * The pools are prepared in the order of their ids, so that two such cuts cannot wait for each
 * other.  Nothing here relies on the pools' being on one loop: each call is answered later, and
 * nothing is done between the answers of a step.
 */
#include <stdlib.h>
#include <string.h>

#include "volume/volume_engine.h"

enum phase { PHASE_PREPARE, PHASE_CLOSE, PHASE_CUT, PHASE_DURABLE, PHASE_UNDO };

struct part {
    struct volume_gate gate;
    struct gated_cut *cut;
    bool is_begun; /* and not yet opened */
    bool durable_came, is_durable;
    unsigned undo_pending; /* points being deleted again */
};

struct gated_cut {
    struct rt *rt;
    struct volume_cut_part *caller; /* the caller's parts, in its order */
    unsigned count, next;           /* next: to be prepared */
    volume_done_fn *done;
    void *arg;
    enum phase phase;
    unsigned owed;    /* answers of this phase */
    unsigned opening; /* gates that were told to open and have not said that they are */
    struct err *error;
    struct rt_timer limit;
    struct rt_timer again; /* a pool has gone: what it owed will not come */
    struct part **order;   /* by id of their pools */
    struct part parts[];
};

static void go_on(struct gated_cut *c);

/* ---- Its end ----------------------------------------------------------------------------------
 */

static void free_cut(struct gated_cut *c)
{
    rt_timer_cancel(c->rt, &c->limit);
    rt_timer_cancel(c->rt, &c->again);
    for (unsigned i = 0; i < c->count; i++)
        if (c->parts[i].gate.pool) list_remove(&c->parts[i].gate.pool_link);
    err_free(c->error);
    free(c->order);
    free(c);
}

static void end(struct gated_cut *c)
{
    volume_done_fn *done = c->done;
    void *arg = c->arg;
    struct err *e = take_ptr(&c->error);
    for (unsigned i = 0; !e && i < c->count; i++)
        c->caller[i].result = c->parts[i].gate.result;
    free_cut(c);
    done(arg, e);
}

/* The first failure counts. */
static void fail(struct gated_cut *c, struct err *e)
{
    if (c->error)
        err_free(e);
    else
        c->error = e;
}

static void open_part(struct part *part)
{
    struct volume_gate *gate = &part->gate;
    if (!part->is_begun || !gate->pool) return;
    part->is_begun = false;
    if (gate->owes_answer) part->cut->owed--;
    gate->owes_answer = false;
    gate->owes_open = true;
    part->cut->opening++;
    gate->pool->ops->gate_open(gate->pool, gate);
}

static void open_all(struct gated_cut *c)
{
    rt_timer_cancel(c->rt, &c->limit);
    for (unsigned i = 0; i < c->count; i++)
        open_part(&c->parts[i]);
}

/* ---- Undo: a pool could not keep its record, so the others must not either ---------------------
 */

static void point_undone(void *arg, struct err *e)
{
    struct part *part = arg;
    err_free(e); /* a pool that has failed too: the next start finds that the set is not whole */
    part->undo_pending--;
    part->cut->owed--;
    go_on(part->cut);
}

static void undo_all(struct gated_cut *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        struct part *part = &c->parts[i];
        const struct volume_cut *cut = &c->caller[i].cut;
        if (!part->is_durable || !part->gate.pool) continue;
        for (unsigned j = 0; j < cut->member_count; j++) {
            c->owed++;
            part->undo_pending++;
            volume_point_delete(part->gate.pool, &cut->members[j].point, point_undone, part);
        }
    }
}

/* ---- The steps ---------------------------------------------------------------------------------
 */

static struct volume_gate *ask(struct part *part)
{
    part->cut->owed++;
    part->gate.owes_answer = true;
    return &part->gate;
}

static void begin_durable(struct gated_cut *c)
{
    c->phase = PHASE_DURABLE;
    for (unsigned i = 0; i < c->count; i++)
        if (c->parts[i].gate.is_cut && !c->parts[i].durable_came) c->owed++;
}

static void begin_cut(struct gated_cut *c)
{
    c->phase = PHASE_CUT;
    for (unsigned i = 0; i < c->count; i++) {
        struct volume_gate *gate = ask(&c->parts[i]);
        gate->pool->ops->gate_cut(gate->pool, gate);
    }
}

static void too_late(struct rt_timer *timer)
{
    struct gated_cut *c = container_of(timer, struct gated_cut, limit);
    fail(c, err_new(STATUS_TOO_LATE,
                    "the pools could not be brought to one instant in time; nothing was cut"));
    open_all(c);
}

static void begin_close(struct gated_cut *c)
{
    c->phase = PHASE_CLOSE;
    for (unsigned i = 0; i < c->count; i++) {
        struct volume_gate *gate = ask(&c->parts[i]);
        gate->pool->ops->gate_close(gate->pool, gate);
    }
}

static void prepare_next(struct gated_cut *c)
{
    struct part *part = c->order[c->next++];
    struct volume_gate *gate = ask(part);
    part->is_begun = true;
    gate->pool->ops->gate_prepare(gate->pool, gate);
}

/* Nothing may be cut after its time (6.3). */
static void check_deadline(struct gated_cut *c)
{
    uint64_t deadline = c->caller[0].cut.deadline_ns;
    if (deadline && rt_now(c->rt) > deadline)
        fail(c, err_new(STATUS_TOO_LATE, "the cut came too late; nothing was cut"));
}

/* All answers of a phase are there, or it has none. */
static void go_on(struct gated_cut *c)
{
    if (c->owed > 0 || c->opening > 0) return;
    switch (c->phase) {
    case PHASE_PREPARE:
        if (c->error) break;
        if (c->next < c->count)
            prepare_next(c);
        else
            begin_close(c);
        return;
    case PHASE_CLOSE:
        if (!c->error) check_deadline(c);
        if (c->error) break;
        begin_cut(c);
        return;
    case PHASE_CUT:
        open_all(c);
        begin_durable(c);
        go_on(c);
        return;
    case PHASE_DURABLE:
        if (!c->error) break;
        c->phase = PHASE_UNDO;
        undo_all(c);
        go_on(c);
        return;
    case PHASE_UNDO:
        break;
    }
    open_all(c);
    if (c->opening == 0) end(c);
}

static void answered(struct volume_gate *gate, struct err *e)
{
    struct gated_cut *c = container_of(gate, struct part, gate)->cut;
    c->owed--;
    if (e) fail(c, e);
    go_on(c);
}

static void part_opened(struct volume_gate *gate)
{
    struct gated_cut *c = container_of(gate, struct part, gate)->cut;
    c->opening--;
    go_on(c);
}

static void part_durable(struct volume_gate *gate, struct err *e)
{
    struct part *part = container_of(gate, struct part, gate);
    struct gated_cut *c = part->cut;
    part->durable_came = true;
    part->is_durable = !e;
    if (e) fail(c, e);
    if (c->phase != PHASE_DURABLE) return; /* a pool has failed before all were asked */
    c->owed--;
    go_on(c);
}

/* ---- From the engine ----------------------------------------------------------------------------
 */

static void answer_fire(struct rt_timer *timer)
{
    struct volume_gate *gate = container_of(timer, struct volume_gate, timer);
    gate->owes_answer = false;
    gate->answer(gate, take_ptr(&gate->error));
}

void volume_gate_answer(struct volume_gate *gate, struct err *e)
{
    if (!gate->owes_answer) { /* the call was on its way when the gate was told to open */
        err_free(e);
        return;
    }
    check(!rt_timer_is_pending(&gate->timer));
    gate->error = e;
    rt_timer_set(gate->pool->rt, &gate->timer, rt_now(gate->pool->rt), answer_fire);
}

static void opened_fire(struct rt_timer *timer)
{
    struct volume_gate *gate = container_of(timer, struct volume_gate, timer);
    gate->owes_open = false;
    gate->opened(gate);
}

void volume_gate_opened(struct volume_gate *gate)
{
    check(gate->owes_open);
    err_free(take_ptr(&gate->error)); /* of an answer that nobody waits for any more */
    rt_timer_set(gate->pool->rt, &gate->timer, rt_now(gate->pool->rt), opened_fire);
}

static void again_fire(struct rt_timer *timer)
{
    go_on(container_of(timer, struct gated_cut, again));
}

/* What the pool owed will not come. */
static void forgive(struct part *part)
{
    struct gated_cut *c = part->cut;
    struct volume_gate *gate = &part->gate;
    rt_timer_cancel(c->rt, &gate->timer);
    err_free(take_ptr(&gate->error));
    if (gate->owes_answer) c->owed--;
    if (gate->owes_open) c->opening--;
    if (c->phase == PHASE_DURABLE && gate->is_cut && !part->durable_came) c->owed--;
    c->owed -= part->undo_pending;
    part->undo_pending = 0;
    gate->owes_answer = gate->owes_open = gate->is_cut = part->is_durable = false;
    gate->pool = NULL;
}

static void part_gone(struct part *part)
{
    struct gated_cut *c = part->cut;
    unsigned left = 0;
    forgive(part);
    for (unsigned i = 0; i < c->count; i++)
        if (c->parts[i].gate.pool) left++;
    if (left == 0) { /* a crash: nobody is to be called any more */
        free_cut(c);
        return;
    }
    fail(c, err_new(STATUS_POOL_FAILED, "a pool was closed while it was being cut"));
    open_all(c);
    rt_timer_set(c->rt, &c->again, rt_now(c->rt), again_fire);
}

void volume_pool_gates_end(struct volume_pool *pool)
{
    for (struct list_node *node; (node = list_pop_front(&pool->gates));)
        part_gone(container_of(list_entry(node, struct volume_gate, pool_link), struct part, gate));
}

/* ---- The call -------------------------------------------------------------------------------- */

static struct err *check_pair(const struct volume_cut_part *a, const struct volume_cut_part *b)
{
    if (uuid_equal(&a->pool->uuid, &b->pool->uuid))
        return err_next(err_new(STATUS_BAD_REQUEST, "two parts of the cut are in the same pool"),
                        "put its disks into one part; of a copied pool only one may be open");
    if (!uuid_equal(&a->cut.set, &b->cut.set))
        return err_new(STATUS_BAD_REQUEST, "the parts of the cut name different sets");
    for (unsigned i = 0; i < a->cut.member_count; i++)
        for (unsigned j = 0; j < b->cut.member_count; j++)
            if (uuid_equal(&a->cut.members[i].point, &b->cut.members[j].point))
                return err_new(STATUS_BAD_REQUEST, "two members of the cut have the same point");
    return NULL;
}

static struct err *check_parts(const struct volume_cut_part *parts, unsigned count)
{
    unsigned members = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!parts[i].pool->ops->gate_prepare)
            return err_new(STATUS_NOT_SUPPORTED,
                           "pools of this kind cannot be cut together with others");
        TRY(volume_cut_check(parts[i].pool, &parts[i].cut));
        members += parts[i].cut.member_count;
        for (unsigned j = 0; j < i; j++)
            TRY(check_pair(&parts[i], &parts[j]));
    }
    if (members > LIMIT_SET_MEMBERS)
        return err_new(STATUS_BAD_REQUEST, "a cut has at most %d members, not %u",
                       LIMIT_SET_MEMBERS, members);
    return NULL;
}

static int compare_parts(const void *a_, const void *b_)
{
    const struct part *a = *(struct part *const *)a_, *b = *(struct part *const *)b_;
    return memcmp(a->gate.pool->uuid.bytes, b->gate.pool->uuid.bytes,
                  sizeof a->gate.pool->uuid.bytes);
}

static struct gated_cut *cut_new(struct volume_cut_part *parts, unsigned count)
{
    struct gated_cut *c = calloc(1, sizeof *c + count * sizeof c->parts[0]);
    check(c != NULL);
    *c = (struct gated_cut){.rt = parts[0].pool->rt, .caller = parts, .count = count};
    c->order = calloc(count, sizeof(struct part *));
    check(c->order != NULL);
    for (unsigned i = 0; i < count; i++) {
        struct part *part = &c->parts[i];
        part->cut = c;
        part->gate = (struct volume_gate){.pool = parts[i].pool,
                                          .parts = parts,
                                          .part_count = count,
                                          .index = i,
                                          .answer = answered,
                                          .opened = part_opened,
                                          .durable = part_durable};
        list_push_back(&parts[i].pool->gates, &part->gate.pool_link);
        c->order[i] = part;
    }
    qsort(c->order, count, sizeof(struct part *), compare_parts);
    return c;
}

void volume_cut_pools(struct volume_cut_part *parts, unsigned count, uint64_t limit_ns,
                      volume_done_fn *done, void *arg)
{
    check(count > 0);
    if (count == 1) {
        volume_cut(parts[0].pool, &parts[0].cut, &parts[0].result, done, arg);
        return;
    }
    struct err *e = check_parts(parts, count);
    if (e) {
        volume_done_later(parts[0].pool, done, arg, e);
        return;
    }
    struct gated_cut *c = cut_new(parts, count);
    c->done = done;
    c->arg = arg;
    rt_timer_set(c->rt, &c->limit, rt_now(c->rt) + limit_ns, too_late);
    go_on(c);
}

void volume_pool_sets(struct volume_pool *pool,
                      void (*fn)(void *arg, const struct volume_set_info *info), void *arg)
{
    if (pool->ops->sets) pool->ops->sets(pool, fn, arg);
}
