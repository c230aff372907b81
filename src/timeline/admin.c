/* admin.c - cut, branch, disks, deletion: each a batch of its own, answered when it is durable (E2,
 * E26). */
#include <stdlib.h>

#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"
#include "timeline/tables.h"

enum admin_kind {
    ADMIN_CREATE,
    ADMIN_RESIZE,
    ADMIN_DELETE,
    ADMIN_CUT,
    ADMIN_POINT_DELETE,
    ADMIN_BRANCH,
    ADMIN_REVERT,
    ADMIN_REPLACE,
    ADMIN_SPLIT,
};

struct admin_op {
    struct list_node link; /* pool->reverts, pool->admin_queue, then pool->admin_running */
    struct tl_pool *pool;
    enum admin_kind kind;
    struct uuid uuid, point, undo;
    uint64_t reads_before; /* SPLIT: reads that may still be at the parent */
    uint32_t held_disk;    /* REVERT, REPLACE: its requests wait; 0 = none */
    uint64_t base, stage;  /* REPLACE */
    uint64_t size_bytes;
    struct volume_cut cut;
    struct volume_cut_result *result, value;
    volume_done_fn *done;
    void *arg;
    struct tl_waiter waiter;
};

static void op_end(struct admin_op *op, struct err *e)
{
    volume_done_fn *done = op->done;
    void *arg = op->arg;
    if (!e && op->result) *op->result = op->value;
    struct tl_disk *held = op->held_disk ? disk_by_id(op->pool, op->held_disk) : NULL;
    if (held) {
        check(held->holds > 0);
        held->holds--;
        pump_soon(op->pool);
    }
    list_remove(&op->link);
    free(op);
    done(arg, e);
}

static struct err *failed_error(struct tl_pool *p)
{
    return err_next(err_new(STATUS_POOL_FAILED, "the pool has failed: %s", p->base.trouble),
                    "look at its device, then open the pool anew");
}

/* ---- What each call puts in the log: checked here again, since it may have waited ------------ */

static struct err *put_create(struct admin_op *op, struct buf_writer *w)
{
    struct tl_pool *p = op->pool;
    unsigned count = 0;
    list_for_each (node, &p->disks)
        count++;
    if (count >= LIMIT_DISKS_PER_POOL)
        return err_new(STATUS_LIMIT_REACHED, "the pool has %u disks, the most that it can have",
                       count);
    if (disk_find(p, &op->uuid)) return err_new(STATUS_EXISTS, "the disk exists already");
    struct wal_record r = {.type = WAL_DISK_CREATE,
                           .disk = p->next_disk_id,
                           .uuid = op->uuid,
                           .size_bytes = op->size_bytes};
    if (op->kind == ADMIN_BRANCH) {
        struct tl_point *point = point_find(p, &op->point);
        if (!point) return err_new(STATUS_NOT_FOUND, "the point does not exist any more");
        if (point->disk->depth >= LIMIT_BRANCH_DEPTH) /* E20 */
            return err_next(
                err_new(STATUS_LIMIT_REACHED, "branches are at most %d deep", LIMIT_BRANCH_DEPTH),
                "promote one of its parents first");
        r.size_bytes = r.parent_size_bytes = point->size_bytes;
        r.parent = point->disk->id;
        r.generation = point->generation;
        r.uuid2 = op->point;
    }
    wal_put_admin(w, &r);
    return NULL;
}

static struct err *put_disk(struct admin_op *op, struct buf_writer *w)
{
    struct tl_disk *disk = disk_find(op->pool, &op->uuid);
    if (!disk) return err_new(STATUS_NOT_FOUND, "the disk does not exist any more");
    struct wal_record r = {.disk = disk->id, .size_bytes = op->size_bytes};
    r.type = op->kind == ADMIN_RESIZE ? WAL_DISK_RESIZE : WAL_DISK_DELETE;
    if (op->kind == ADMIN_RESIZE && op->size_bytes < disk->size_bytes)
        return err_new(STATUS_CONFLICT, "the disk has become larger meanwhile");
    if (op->kind == ADMIN_DELETE && (disk->point_count || disk->child_count))
        return err_next(err_new(STATUS_IN_USE,
                                "the disk has %u points and %u branches that depend on it",
                                disk->point_count, disk->child_count),
                        "delete or promote them first");
    if (op->kind == ADMIN_DELETE && disk->is_promoting)
        return err_new(STATUS_IN_USE, "the disk is being promoted");
    if (op->kind == ADMIN_DELETE && disk->is_replacing)
        return err_next(err_new(STATUS_IN_USE, "the disk is being replaced"),
                        "wait for it, or cancel it");
    if (op->kind == ADMIN_DELETE && disk->handle_count)
        return err_new(STATUS_IN_USE, "the disk is open");
    wal_put_admin(w, &r);
    return NULL;
}

struct err *admin_may_revert(struct tl_disk *disk, const struct uuid *undo)
{
    if (point_find(disk->pool, undo))
        return err_new(STATUS_EXISTS, "the undo point exists already");
    if (disk->point_count >= LIMIT_POINTS_PER_DISK)
        return err_next(err_new(STATUS_LIMIT_REACHED,
                                "the disk has %u points, the most that it can have",
                                disk->point_count),
                        "delete snapshots that are not needed");
    if (disk->record_count >= LIMIT_REVERTS_PER_DISK)
        return err_next(
            err_new(STATUS_LIMIT_REACHED,
                    "the disk was reverted %u times and can still be taken back to before each",
                    disk->record_count),
            "delete undo points that are not needed, and try again when their space was reclaimed");
    return NULL;
}

static struct err *put_revert(struct admin_op *op, struct buf_writer *w)
{
    struct tl_disk *disk = disk_find(op->pool, &op->uuid);
    struct tl_point *point = point_find(op->pool, &op->point);
    if (!disk) return err_new(STATUS_NOT_FOUND, "the disk does not exist any more");
    if (!point || point->disk != disk)
        return err_new(STATUS_NOT_FOUND, "the point does not exist any more");
    TRY(admin_may_revert(disk, &op->undo));
    struct wal_record r = {.type = WAL_REVERT,
                           .disk = disk->id,
                           .uuid = op->undo,
                           .generation = point->generation,
                           .size_bytes = point->size_bytes};
    wal_put_admin(w, &r);
    return NULL;
}

/* The stage is in the log, all of it (E19). */
static struct err *put_replace(struct admin_op *op, struct buf_writer *w)
{
    struct tl_disk *disk = disk_find(op->pool, &op->uuid);
    check(disk && disk->is_replacing); /* so it cannot be deleted */
    struct retained retained = disk_retained(disk);
    if (op->base && !retained_between(&retained, op->base, op->base + 1))
        return err_next(err_new(STATUS_CONFLICT, "the point that the content goes back to is gone"),
                        "begin again: more will be copied");
    TRY(admin_may_revert(disk, &op->undo));
    struct wal_record r = {.type = WAL_REVERT,
                           .disk = disk->id,
                           .uuid = op->undo,
                           .generation = op->base,
                           .stage = op->stage,
                           .size_bytes = op->size_bytes};
    wal_put_admin(w, &r);
    return NULL;
}

static struct err *put_split(struct admin_op *op, struct buf_writer *w)
{
    struct tl_disk *disk = disk_find(op->pool, &op->uuid);
    if (!disk) return err_new(STATUS_NOT_FOUND, "the disk does not exist any more");
    if (!disk->parent) return err_new(STATUS_CONFLICT, "the disk is no branch any more");
    if (!disk->is_promoted)
        return err_next(err_new(STATUS_CONFLICT, "the branch may still read its parent"),
                        "promote it first");
    wal_put_admin(w, &(struct wal_record){.type = WAL_SPLIT, .disk = disk->id});
    return NULL;
}

struct err *admin_put_cut(struct tl_pool *p, const struct volume_cut *cut,
                          const struct volume_gate *gate, struct buf_writer *w)
{
    if (cut->deadline_ns && rt_now(p->rt) > cut->deadline_ns)
        return err_new(STATUS_TOO_LATE, "the cut came too late; nothing was cut");
    struct wal_record head = {
        .type = WAL_CUT, .uuid2 = cut->set, .leased = cut->leased, .count = cut->member_count};
    wal_put_admin(w, &head);
    if (gate) gate_put_others(gate, w);
    for (unsigned i = 0; i < cut->member_count; i++) {
        const struct volume_cut_member *m = &cut->members[i];
        struct tl_disk *disk = disk_find(p, &m->disk);
        if (!disk) return err_new(STATUS_NOT_FOUND, "a disk of the cut does not exist any more");
        if (point_find(p, &m->point))
            return err_new(STATUS_EXISTS, "a point of the cut exists already");
        struct wal_record r = {.type = WAL_CUT_MEMBER,
                               .disk = disk->id,
                               .uuid = m->point,
                               .uuid2 = cut->set,
                               .kind = (uint8_t)m->kind,
                               .leased = cut->leased,
                               .size_bytes = disk->size_bytes};
        wal_put_admin(w, &r);
    }
    return NULL;
}

static struct err *put_point_delete(struct admin_op *op, struct buf_writer *w)
{
    struct tl_point *point = point_find(op->pool, &op->point);
    if (!point) return err_new(STATUS_NOT_FOUND, "the point does not exist any more");
    if (point->handle_count) return err_new(STATUS_IN_USE, "the point is open");
    struct wal_record r = {.type = WAL_POINT_DELETE, .disk = point->disk->id, .uuid = op->point};
    wal_put_admin(w, &r);
    return NULL;
}

static struct err *put_records(struct admin_op *op, struct buf_writer *w)
{
    switch (op->kind) {
    case ADMIN_CREATE:
    case ADMIN_BRANCH:
        return put_create(op, w);
    case ADMIN_RESIZE:
    case ADMIN_DELETE:
        return put_disk(op, w);
    case ADMIN_CUT:
        return admin_put_cut(op->pool, &op->cut, NULL, w);
    case ADMIN_POINT_DELETE:
        return put_point_delete(op, w);
    case ADMIN_REVERT:
        return put_revert(op, w);
    case ADMIN_REPLACE:
        return put_replace(op, w);
    case ADMIN_SPLIT:
        return put_split(op, w);
    }
    unreachable("kind");
}

/* ---- The life of a call: append, apply, publish, durable, answer ----------------------------- */

static bool is_revert(const struct admin_op *op)
{
    return op->kind == ADMIN_REVERT || op->kind == ADMIN_REPLACE;
}

/* The open handles of the live view learn of the new size or content. */
static void tell_handles(struct admin_op *op)
{
    struct tl_disk *disk = disk_find(op->pool, &op->uuid);
    unsigned content = is_revert(op) ? VOLUME_EVENT_CONTENT : 0;
    if (!disk) return;
    list_for_each_safe (node, &op->pool->base.handles) {
        struct tl_volume *v =
            container_of(list_entry(node, struct volume, link), struct tl_volume, base);
        if (v->disk != disk || v->point) continue;
        bool is_resized = v->base.size_bytes != disk->size_bytes || op->kind == ADMIN_RESIZE;
        v->base.size_bytes = disk->size_bytes;
        volume_notify(&v->base, content | (is_resized ? VOLUME_EVENT_SIZE : 0));
    }
}

static void op_durable(struct tl_waiter *waiter, enum status status)
{
    struct admin_op *op = container_of(waiter, struct admin_op, waiter);
    if (status == STATUS_OK && (op->kind == ADMIN_RESIZE || is_revert(op))) tell_handles(op);
    op_end(op, status == STATUS_OK ? NULL : failed_error(op->pool));
}

static void op_published(struct batch *b, enum status status)
{
    struct admin_op *op = b->arg;
    struct tl_pool *p = op->pool;
    p->admin_in_flight--;
    if (status == STATUS_OK)
        flush_wait(p, &op->waiter, b->header.seq, op_durable);
    else
        op_end(op, failed_error(p));
}

void admin_append(struct tl_pool *p, struct batch *b, const struct buf_writer *w)
{
    p->admin_in_flight++;
    batch_close(b, WAL_ADMIN, w);
    struct buf_reader r = wal_records(b->wal, &b->header);
    struct wal_record record;
    while (wal_next(&r, &record)) {
        bool good = tables_apply(p, &record, b->header.seq, b->header.wall_ns); /* E2 */
        check(good);
    }
    check(!r.failed);
}

static void op_append(struct admin_op *op, struct batch *b, const struct buf_writer *w)
{
    b->arg = op;
    b->published = op_published;
    if (is_revert(op)) op->pool->next_seq++; /* the generation of the undo point */
    admin_append(op->pool, b, w);
    op->value =
        (struct volume_cut_result){.generation = b->header.seq, .wall_ns = b->header.wall_ns};
}

static bool op_start(struct admin_op *op)
{
    struct tl_pool *p = op->pool;
    struct batch *b = batch_get(p);
    if (!b) return false;
    struct buf_writer w = wal_body(b->wal, FORMAT_BATCH_WAL_BLOCKS * BLOCK_BYTES);
    struct err *e = put_records(op, &w);
    list_remove(&op->link);
    list_push_back(&p->admin_running, &op->link);
    if (e) {
        batch_put(b);
        op_end(op, e);
        return true;
    }
    op_append(op, b, &w);
    return true;
}

/* Those whose disk is idle by now go on: requests that came later wait for them (E19). */
static void reverts_pump(struct tl_pool *p)
{
    list_for_each_safe (node, &p->reverts) {
        struct admin_op *op = list_entry(node, struct admin_op, link);
        const struct tl_disk *disk = op->held_disk ? disk_by_id(p, op->held_disk) : NULL;
        bool is_idle = !disk || (admit_is_idle(disk) && read_is_idle(disk));
        if (op->kind == ADMIN_SPLIT && !read_is_over(p, op->reads_before)) continue;
        if (!is_idle && !mutation_is(MUTATION_REVERT_WITHOUT_DRAIN)) continue;
        list_remove(node);
        list_push_back(&p->admin_queue, node);
    }
}

void admin_pump(struct tl_pool *p)
{
    struct list_node *node;
    reverts_pump(p);
    if (p->gate.is_closed) return; /* the record that was put must stay right (E22) */
    while ((node = list_front(&p->admin_queue)) && !p->ckpt.wants_instant) {
        if (!log_has_room(p, WAL_ADMIN, FORMAT_BATCH_WAL_BLOCKS)) {
            checkpoint_want(p);
            return;
        }
        if (!op_start(list_entry(node, struct admin_op, link))) return;
    }
}

void admin_fail_all(struct tl_pool *p)
{
    list_splice_back(&p->admin_queue, &p->reverts);
    for (struct list_node *node; (node = list_front(&p->admin_queue));)
        op_end(list_entry(node, struct admin_op, link), failed_error(p));
}

void admin_fini(struct tl_pool *p)
{
    struct list *lists[] = {&p->admin_queue, &p->admin_running, &p->reverts};
    for (unsigned i = 0; i < countof(lists); i++)
        list_for_each_safe (node, lists[i])
            free(list_entry(node, struct admin_op, link));
}

/* ---- The calls ------------------------------------------------------------------------------- */

static struct admin_op *op_new(struct volume_pool *pool, enum admin_kind kind, volume_done_fn *done,
                               void *arg)
{
    struct admin_op *op = calloc(1, sizeof *op);
    check(op != NULL);
    op->pool = tl_pool(pool);
    op->kind = kind;
    op->done = done;
    op->arg = arg;
    list_push_back(&op->pool->admin_queue, &op->link);
    pump_soon(op->pool);
    return op;
}

/* Not through the queue: a checkpoint that waits for its instant may wait for what the gate holds. */
void admin_cut_now(struct tl_pool *p, struct batch *b, const struct buf_writer *records,
                   struct volume_cut_result *ret_result, volume_done_fn *done, void *arg)
{
    struct admin_op *op = op_new(&p->base, ADMIN_CUT, done, arg);
    list_remove(&op->link);
    list_push_back(&p->admin_running, &op->link);
    op_append(op, b, records);
    *ret_result = op->value;
}

void admin_disk_create(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                       volume_done_fn *done, void *arg)
{
    struct admin_op *op = op_new(pool, ADMIN_CREATE, done, arg);
    op->uuid = *disk;
    op->size_bytes = size_bytes;
}

void admin_disk_resize(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                       volume_done_fn *done, void *arg)
{
    struct admin_op *op = op_new(pool, ADMIN_RESIZE, done, arg);
    op->uuid = *disk;
    op->size_bytes = size_bytes;
}

void admin_disk_delete(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                       void *arg)
{
    op_new(pool, ADMIN_DELETE, done, arg)->uuid = *disk;
}

void admin_cut(struct volume_pool *pool, const struct volume_cut *cut,
               struct volume_cut_result *ret_result, volume_done_fn *done, void *arg)
{
    struct admin_op *op = op_new(pool, ADMIN_CUT, done, arg);
    op->cut = *cut;
    op->result = ret_result;
}

void admin_point_delete(struct volume_pool *pool, const struct uuid *point, volume_done_fn *done,
                        void *arg)
{
    op_new(pool, ADMIN_POINT_DELETE, done, arg)->point = *point;
}

void admin_branch(struct volume_pool *pool, const struct uuid *point, const struct uuid *new_disk,
                  volume_done_fn *done, void *arg)
{
    struct admin_op *op = op_new(pool, ADMIN_BRANCH, done, arg);
    op->uuid = *new_disk;
    op->point = *point;
}

/* Requests that are not begun wait from here on until it is durable. */
static void hold(struct admin_op *op, struct tl_disk *disk)
{
    op->uuid = disk->uuid;
    op->held_disk = disk->id;
    disk->holds++;
    list_remove(&op->link);
    list_push_back(&op->pool->reverts, &op->link);
}

void admin_revert(struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
                  const struct uuid *undo, volume_done_fn *done, void *arg)
{
    struct admin_op *op = op_new(pool, ADMIN_REVERT, done, arg);
    op->point = *point;
    op->undo = *undo;
    hold(op, disk_find(op->pool, disk));
}

void admin_replace(struct tl_disk *disk, const struct admin_flip *flip, volume_done_fn *done,
                   void *arg)
{
    struct admin_op *op = op_new(&disk->pool->base, ADMIN_REPLACE, done, arg);
    op->undo = flip->undo;
    op->base = flip->base;
    op->stage = flip->stage;
    op->size_bytes = flip->size_bytes;
    hold(op, disk);
}

/* A read that found nothing in the branch may be at the parent yet: what it is after must not go.
 */
void admin_split(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done, void *arg)
{
    struct admin_op *op = op_new(pool, ADMIN_SPLIT, done, arg);
    op->uuid = *disk;
    op->reads_before = op->pool->read_serial;
    list_remove(&op->link);
    list_push_back(&op->pool->reverts, &op->link);
}
