/* promote.c - copies what a branch reads from its parent, filed at the branch's birth (E1, E20). */
#include <stdlib.h>

#include "timeline/mutation.h"
#include "timeline/tables.h"
#include "timeline/window.h"

enum { WINDOWS_PER_TURN = 256 };

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
    uint64_t end_lba;
    struct window window;
    struct leaf_waiter waiter;
    enum status status;
};

static void promote_free(struct promote *j)
{
    window_fini(&j->window);
    free(j);
}

static void promote_end(struct promote *j, struct err *e)
{
    struct volume_promotion *job = j->job;
    struct tl_pool *p = j->pool;
    if (j->window.leaf) map_unpin(j->window.leaf);
    j->disk->is_promoting = false;
    j->disk->is_promoted = !e;
    disk_sweep_again(j->disk); /* copies that a write made unneeded before they were filed */
    list_remove(&j->link);
    promote_free(j);
    pump_soon(p);
    job->private_ = NULL;
    job->done(job, e);
}

/* Marks what some view of the window reads from the parent; false: nothing. */
static bool choose(struct promote *j)
{
    struct window *w = &j->window;
    struct retained retained = disk_retained(j->disk);
    w->wanted_count = 0;
    for (uint32_t i = 0; i < w->blocks; i++) {
        struct version *versions;
        unsigned n =
            leaf_versions(w->leaf, (unsigned)((w->lba + i) % FORMAT_LEAF_BLOCKS), &versions);
        bool is_wanted = views_fall_through(versions, n, &retained);
        w->kinds[i] = is_wanted ? BLOCK_DATA : BLOCK_SKIP;
        w->wanted_count += is_wanted;
    }
    return w->wanted_count > 0;
}

static void advance(struct promote *j)
{
    struct window *w = &j->window;
    uint64_t total = j->end_lba * BLOCK_BYTES;
    w->lba += w->blocks;
    if (w->leaf) map_unpin(take_ptr(&w->leaf));
    j->step = PROMOTE_LOOK;
    if (j->job->progress) j->job->progress(j->job, min_of(w->lba * BLOCK_BYTES, total), total);
}

static void parent_read(struct read_frag *read)
{
    struct promote *j = read->arg;
    struct window *w = &j->window;
    j->status = read->status;
    for (uint32_t i = 0; i < w->blocks; i++) {
        if (w->kinds[i] == BLOCK_SKIP || read->map[i].phys) continue;
        w->kinds[i] = BLOCK_SKIP; /* zeroes: the branch reads them without its parent too */
        w->wanted_count--;
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
    struct window *w = &j->window;
    for (unsigned turns = 0; turns < WINDOWS_PER_TURN && w->lba < j->end_lba; turns++) {
        uint64_t index = w->lba / FORMAT_LEAF_BLOCKS, edge = (index + 1) * FORMAT_LEAF_BLOCKS;
        edge = min_of(edge, j->end_lba);
        if (parents_have_nothing(j->disk, index)) {
            w->blocks = (uint32_t)(edge - w->lba);
            advance(j);
            continue;
        }
        if (!w->leaf) {
            w->leaf = map_leaf(j->disk, index);
            map_pin(w->leaf);
        }
        if (w->leaf->state == LEAF_BROKEN) {
            j->status = STATUS_BLOCK_CORRUPT;
            return;
        }
        if (w->leaf->state != LEAF_READY) {
            j->step = PROMOTE_LOADING;
            map_load(w->leaf, &j->waiter, leaf_loaded);
            return;
        }
        w->blocks = (uint32_t)min_of(edge - w->lba, (uint64_t)WINDOW_BLOCKS);
        if (!choose(j)) {
            advance(j);
            continue;
        }
        if (p->free_read_count <= READ_COUNT / 2) return; /* a read that ends pumps */
        struct read_frag *read = read_get(p);
        read->disk = j->disk->parent;
        read->generation = j->disk->parent_generation;
        read->lba = w->lba;
        read->blocks = w->blocks;
        read->buf = w->buf;
        read->done = parent_read;
        read->arg = j;
        j->step = PROMOTE_READING;
        read_start(read);
        return;
    }
    if (w->lba < j->end_lba) pump_soon(p);
}

static void filed(struct batch *b, enum status status)
{
    struct promote *j = b->arg;
    map_unexpect(j->window.leaf, j->window.wanted_count);
    j->status = status;
    advance(j);
    pump_soon(j->pool);
}

static void write_copies(struct promote *j)
{
    bool at_now = mutation_is(MUTATION_PROMOTE_AT_NOW);
    struct window_how how = {.flags = WAL_FILED,
                             .generation = at_now ? j->pool->next_seq - 1 : j->disk->created_seq,
                             .published = filed,
                             .arg = j};
    if (j->window.wanted_count == 0) {
        advance(j);
        pump_soon(j->pool);
        return;
    }
    if (window_write(&j->window, &how, &j->status)) j->step = PROMOTE_WRITING;
    if (j->status == STATUS_POOL_FULL && j->job->full && j->job->full(j->job)) {
        j->status = STATUS_OK;
        j->job->is_paused = true;
        window_wait_anew(&j->window);
    }
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
    else if (j->step == PROMOTE_LOOK && j->window.lba >= j->end_lba)
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
        promote_free(list_entry(node, struct promote, link));
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
    window_init(&j->window, p, disk);
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
