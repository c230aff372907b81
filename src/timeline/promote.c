/* promote.c - copies what a branch reads from its parent, filed at the branch's birth (E1, E20). */
#include <stdlib.h>

#include "base/crc32c.h"
#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"
#include "timeline/tables.h"

enum { WINDOW = FORMAT_BATCH_MAX_BLOCKS, WINDOWS_PER_TURN = 256, SPACE_TRIES = 4 };

enum promote_step {
    PROMOTE_LOOK,    /* for the next window with something to copy */
    PROMOTE_LOADING, /* the leaf */
    PROMOTE_READING, /* the parent */
    PROMOTE_WRITE,   /* waits for a batch, log or space */
    PROMOTE_WRITING,
};

struct promote {
    struct list_node link; /* pool->promotions */
    struct tl_pool *pool;
    struct tl_disk *disk; /* cannot go while it is promoted */
    struct volume_promotion *job;
    enum promote_step step;
    uint64_t lba, end_lba;
    uint32_t blocks; /* of the window at lba */
    bool wanted[WINDOW];
    uint32_t wanted_count;
    struct leaf *leaf; /* pinned */
    struct leaf_waiter waiter;
    uint8_t *buf;
    uint64_t space_checkpoint; /* the checkpoint at which a wait for space is over; 0 = none */
    enum status status;
};

static void promote_end(struct promote *j, struct err *e)
{
    struct volume_promotion *job = j->job;
    struct tl_pool *p = j->pool;
    if (j->leaf) map_unpin(j->leaf);
    j->disk->is_promoting = false;
    j->disk->is_promoted = !e;
    disk_sweep_again(j->disk); /* copies that a write made unneeded before they were filed */
    list_remove(&j->link);
    free(j->buf);
    free(j);
    pump_soon(p);
    job->private_ = NULL;
    job->done(job, e);
}

/* Marks what some view of the window reads from the parent; false: nothing. */
static bool choose(struct promote *j)
{
    struct retained retained = disk_retained(j->disk);
    j->wanted_count = 0;
    for (uint32_t i = 0; i < j->blocks; i++) {
        struct version *versions;
        unsigned n =
            leaf_versions(j->leaf, (unsigned)((j->lba + i) % FORMAT_LEAF_BLOCKS), &versions);
        j->wanted[i] = views_fall_through(versions, n, &retained);
        j->wanted_count += j->wanted[i];
    }
    return j->wanted_count > 0;
}

static void advance(struct promote *j)
{
    uint64_t total = j->end_lba * BLOCK_BYTES;
    j->lba += j->blocks;
    if (j->leaf) map_unpin(take_ptr(&j->leaf));
    j->step = PROMOTE_LOOK;
    if (j->job->progress) j->job->progress(j->job, min_of(j->lba * BLOCK_BYTES, total), total);
}

static void parent_read(struct read_frag *read)
{
    struct promote *j = read->arg;
    j->status = read->status;
    for (uint32_t i = 0; i < j->blocks; i++) {
        if (!j->wanted[i] || read->map[i].phys) continue;
        j->wanted[i] = false; /* zeroes: the branch reads them without its parent too */
        j->wanted_count--;
    }
    j->step = PROMOTE_WRITE;
    read_put(read);
}

static void leaf_loaded(struct leaf_waiter *waiter, enum status status)
{
    struct promote *j = container_of(waiter, struct promote, waiter);
    j->status = status;
    j->step = PROMOTE_LOOK;
    pump_soon(j->pool);
}

/* Nothing of this leaf in the parents: they need not be read. */
static bool parents_have_nothing(const struct tl_disk *disk, uint64_t index)
{
    for (struct tl_disk *d = disk->parent; d; d = d->parent)
        if (!map_leaf_is_absent(d, index)) return false;
    return true;
}

/* The next window with something to copy is being read, or the step is what is waited for. */
static void look(struct promote *j)
{
    struct tl_pool *p = j->pool;
    for (unsigned turns = 0; turns < WINDOWS_PER_TURN && j->lba < j->end_lba; turns++) {
        uint64_t index = j->lba / FORMAT_LEAF_BLOCKS, edge = (index + 1) * FORMAT_LEAF_BLOCKS;
        edge = min_of(edge, j->end_lba);
        if (parents_have_nothing(j->disk, index)) {
            j->blocks = (uint32_t)(edge - j->lba);
            advance(j);
            continue;
        }
        if (!j->leaf) {
            j->leaf = map_leaf(j->disk, index);
            map_pin(j->leaf);
        }
        if (j->leaf->state == LEAF_BROKEN) {
            j->status = STATUS_BLOCK_CORRUPT;
            return;
        }
        if (j->leaf->state != LEAF_READY) {
            j->step = PROMOTE_LOADING;
            map_load(j->leaf, &j->waiter, leaf_loaded);
            return;
        }
        j->blocks = (uint32_t)min_of(edge - j->lba, (uint64_t)WINDOW);
        if (!choose(j)) {
            advance(j);
            continue;
        }
        if (p->free_read_count <= READ_COUNT / 2) return; /* a read that ends pumps */
        struct read_frag *read = read_get(p);
        read->disk = j->disk->parent;
        read->generation = j->disk->parent_generation;
        read->lba = j->lba;
        read->blocks = j->blocks;
        read->buf = j->buf;
        read->done = parent_read;
        read->arg = j;
        j->step = PROMOTE_READING;
        read_start(read);
        return;
    }
    if (j->lba < j->end_lba) pump_soon(p);
}

static void filed(struct batch *b, enum status status)
{
    struct promote *j = b->arg;
    map_unexpect(j->leaf, j->wanted_count);
    j->status = status;
    advance(j);
    pump_soon(j->pool);
}

/* E13: behind everybody else. */
static bool has_space(struct promote *j)
{
    struct tl_pool *p = j->pool;
    uint64_t need = j->wanted_count + map_extra_need(j->leaf, j->wanted_count) + 1 +
                    pool_checkpoint_need(p) + 2 * pool_reserve_blocks(p) + 64 +
                    2 * (uint64_t)p->largest_leaf_blocks;
    if (p->alloc.free_count >= need) {
        j->space_checkpoint = 0;
        return true;
    }
    if (j->space_checkpoint == 0) j->space_checkpoint = p->ckpt.number + SPACE_TRIES;
    if (p->ckpt.number >= j->space_checkpoint && !pool_is_sweeping(p)) j->status = STATUS_POOL_FULL;
    recycle_kick(p);
    checkpoint_want(p);
    return false;
}

static void put_copies(struct promote *j, struct batch *b, struct buf_writer *w)
{
    struct tl_pool *p = j->pool;
    uint64_t birth = mutation_is(MUTATION_PROMOTE_AT_NOW) ? p->next_seq - 1 : j->disk->created_seq;
    for (uint32_t i = 0; i < j->blocks;) {
        uint32_t n = 0;
        uint64_t block;
        while (i + n < j->blocks && j->wanted[i + n])
            n++;
        if (n == 0) {
            i++;
            continue;
        }
        n = alloc_take(&p->alloc, n, &block);
        check(n > 0);
        struct wal_record record = {.type = WAL_INSERT,
                                    .flags = WAL_FILED,
                                    .disk = j->disk->id,
                                    .lba = j->lba + i,
                                    .count = n,
                                    .phys = block,
                                    .generation = birth};
        uint8_t *crcs = wal_put_insert(w, &record), *from = j->buf + (size_t)i * BLOCK_BYTES;
        check(crcs != NULL);
        for (uint32_t k = 0; k < n; k++)
            store_le32(crcs + 4 * k,
                       wal_block_crc(crc32c(0, from + (size_t)k * BLOCK_BYTES, BLOCK_BYTES),
                                     j->disk->id, j->lba + i + k, birth));
        batch_add_data(b, block, from, n);
        i += n;
    }
}

static void write_copies(struct promote *j)
{
    struct tl_pool *p = j->pool;
    struct batch *b;
    if (j->wanted_count == 0) {
        advance(j);
        pump_soon(p);
        return;
    }
    if (p->host_batches >= BATCH_HOST_MAX / 2 || !has_space(j)) return;
    if (!log_has_room(p, WAL_DATA, FORMAT_BATCH_WAL_BLOCKS)) {
        checkpoint_want(p);
        return;
    }
    if (!(b = batch_get(p))) return;
    struct buf_writer w = wal_body(b->wal, FORMAT_BATCH_WAL_BLOCKS * BLOCK_BYTES);
    map_expect(j->leaf, j->wanted_count);
    put_copies(j, b, &w);
    b->arg = j;
    b->published = filed;
    j->step = PROMOTE_WRITING;
    batch_close(b, WAL_DATA, &w);
}

static struct err *error_of(const struct promote *j)
{
    if (j->status == STATUS_POOL_FULL)
        return err_next(err_new(STATUS_POOL_FULL, "the pool is too full to promote the branch"),
                        "make room, and promote it again: what was copied stays");
    if (j->status == STATUS_POOL_FAILED)
        return err_new(STATUS_POOL_FAILED, "the pool has failed: %s", j->pool->base.trouble);
    return err_new(j->status, "what the branch reads from its parent cannot be copied");
}

static void promote_step(struct promote *j)
{
    if (j->step == PROMOTE_LOADING || j->step == PROMOTE_READING || j->step == PROMOTE_WRITING)
        return;
    if (j->status == STATUS_OK && j->job->is_cancelled) {
        promote_end(j, err_new(STATUS_CANCELLED, "the promotion was cancelled"));
        return;
    }
    if (j->status == STATUS_OK && j->job->is_paused) return;
    if (j->status == STATUS_OK && j->step == PROMOTE_WRITE) write_copies(j);
    if (j->status == STATUS_OK && j->step == PROMOTE_LOOK) look(j);
    if (j->status != STATUS_OK)
        promote_end(j, error_of(j));
    else if (j->step == PROMOTE_LOOK && j->lba >= j->end_lba)
        promote_end(j, NULL);
}

void promote_pump(struct tl_pool *p)
{
    list_for_each_safe (node, &p->promotions)
        promote_step(list_entry(node, struct promote, link));
}

/* Those that wait for the device end when it has answered. */
void promote_fail_all(struct tl_pool *p)
{
    list_for_each_safe (node, &p->promotions) {
        struct promote *j = list_entry(node, struct promote, link);
        if (tl_is_ok(p)) j->job->is_cancelled = true;
        if (j->status == STATUS_OK && !tl_is_ok(p)) j->status = STATUS_POOL_FAILED;
    }
    promote_pump(p);
}

void promote_abandon(struct tl_pool *p)
{
    list_for_each_safe (node, &p->promotions) {
        struct promote *j = list_entry(node, struct promote, link);
        free(j->buf);
        free(j);
    }
}

static void already(void *arg, struct err *e)
{
    struct volume_promotion *job = arg;
    job->done(job, e);
}

void promote_begin(struct volume_pool *pool, struct volume_promotion *job)
{
    struct tl_pool *p = tl_pool(pool);
    struct tl_disk *disk = disk_find(p, &job->disk);
    if (disk->is_promoting) {
        volume_done_later(pool, already, job,
                          err_new(STATUS_IN_USE, "the branch is being promoted already"));
        return;
    }
    struct promote *j = calloc(1, sizeof *j);
    check(j != NULL);
    *j = (struct promote){.pool = p, .disk = disk, .job = job};
    j->buf = aligned_alloc(BLOCK_BYTES, (size_t)WINDOW * BLOCK_BYTES);
    check(j->buf != NULL);
    /* A replace may have made it smaller than its points are. */
    j->end_lba = disk->parent_size_bytes / BLOCK_BYTES;
    disk->is_promoting = true;
    job->private_ = j;
    list_push_back(&p->promotions, &j->link);
    pump_soon(p);
}

void volume_promotion_pause(struct volume_promotion *job, bool is_paused)
{
    job->is_paused = is_paused;
    if (job->private_) pump_soon(((struct promote *)job->private_)->pool);
}

void volume_promotion_cancel(struct volume_promotion *job)
{
    job->is_cancelled = true;
    if (job->private_) pump_soon(((struct promote *)job->private_)->pool);
}
