/* replace.c - gives a disk the content of another view: what it does not have is copied into a
 * stage that no view sees, then one record makes it visible (E19).
 *
 * Where the content is a branch of a point p of the disk, only what the branch has of its own is
 * staged, over p; a point of the disk itself needs no stage at all.  Everything else is copied
 * whole over nothing (p = 0).  A stage that is given up is garbage: no record will name it, and the
 * sweep removes it; after a crash likewise. */
#include <stdlib.h>

#include "timeline/mutation.h"
#include "timeline/tables.h"
#include "timeline/window.h"

enum {
    WINDOWS_PER_TURN = 256,
    ASK_BLOCKS = 4 * FORMAT_LEAF_BLOCKS, /* of the content's map; more while nothing is mapped */
};

enum replace_step {
    REPLACE_LOOK,    /* for the next window with something to stage */
    REPLACE_ASKING,  /* the content's map */
    REPLACE_LOADING, /* a leaf of the branch */
    REPLACE_READING, /* the content */
    REPLACE_WRITE,   /* waits for a batch, log or space */
    REPLACE_WRITING,
    REPLACE_FLIPPING,
};

struct replace {
    struct list_node link; /* pool->replaces */
    struct tl_pool *pool;  /* NULL: it has gone, and a read of another pool is under way */
    struct tl_disk *disk;  /* cannot go while it is replaced */
    struct volume_replacement *job;
    struct volume_guest guest; /* of the content's pool, if that is another one */
    uint64_t size_bytes;       /* the content's */
    enum replace_step step;
    uint64_t base;            /* p; 0: nothing */
    uint64_t stage;           /* s */
    struct tl_volume *branch; /* what it has of its own is staged; NULL: all that is mapped */
    bool has_staged;
    uint64_t end_lba;
    uint64_t ask_blocks, mapped_lba; /* known to be mapped up to there */
    struct window window;
    struct leaf *source; /* pinned: the branch's */
    struct leaf_waiter waiter;
    struct volume_map_query query;
    struct volume_io io;
    struct iovec iov;
    enum status status;
    bool is_content; /* it was the content that could not be read */
};

/* ---- Its end ---------------------------------------------------------------------------------- */

static void replace_free(struct replace *j)
{
    volume_guest_remove(&j->guest);
    window_fini(&j->window);
    free(j);
}

static void replace_end(struct replace *j, struct err *e)
{
    struct volume_replacement *job = j->job;
    struct tl_pool *p = j->pool;
    if (j->source) map_unpin(j->source);
    if (j->window.leaf) map_unpin(j->window.leaf);
    j->disk->is_replacing = false;
    j->disk->open_stage = 0;
    if (e && j->has_staged && !mutation_is(MUTATION_KEEP_GIVEN_UP_STAGE))
        disk_sweep_again(j->disk); /* no record will name it */
    list_remove(&j->link);
    replace_free(j);
    pump_soon(p);
    job->private_ = NULL;
    job->done(job, e);
}

static void flipped(void *arg, struct err *e)
{
    replace_end(arg, e);
}

static void flip(struct replace *j)
{
    if (j->job->may_take && !j->job->may_take(j->job)) {
        j->job->is_paused = true;
        return;
    }
    struct admin_flip flip = {.undo = j->job->undo_point,
                              .base = j->base,
                              .stage = j->has_staged ? j->stage : 0,
                              .size_bytes = j->size_bytes};
    j->step = REPLACE_FLIPPING;
    admin_replace(j->disk, &flip, flipped, j);
}

/* ---- What is to be staged --------------------------------------------------------------------- */

static void tell_progress(struct replace *j)
{
    uint64_t done = min_of(j->window.lba * BLOCK_BYTES, j->size_bytes);
    if (j->job->progress) j->job->progress(j->job, done, j->size_bytes);
}

static void advance(struct replace *j, uint64_t blocks)
{
    j->window.lba += blocks;
    j->step = REPLACE_LOOK;
    if (j->window.leaf) map_unpin(take_ptr(&j->window.leaf));
    if (j->source && j->source->index != j->window.lba / FORMAT_LEAF_BLOCKS)
        map_unpin(take_ptr(&j->source));
    tell_progress(j);
}

/* A window never goes over the edge of a leaf. */
static uint64_t to_edge(const struct replace *j)
{
    uint64_t edge = (j->window.lba / FORMAT_LEAF_BLOCKS + 1) * FORMAT_LEAF_BLOCKS;
    return min_of(edge, j->end_lba) - j->window.lba;
}

/* An answer of the content's pool came; false: this pool has gone meanwhile. */
static bool came_back(struct replace *j, enum status status)
{
    if (!j->pool) {
        replace_free(j);
        return false;
    }
    if (status != STATUS_OK && j->status == STATUS_OK) {
        j->status = status;
        j->is_content = true;
    }
    pump_soon(j->pool);
    return true;
}

static void content_read(struct volume_io *io)
{
    struct replace *j = container_of(io, struct replace, io);
    if (came_back(j, io->status)) j->step = REPLACE_WRITE;
}

/* Reads from the first block with data to the last. */
static void read_content(struct replace *j)
{
    uint32_t first = 0, end = j->window.blocks;
    while (first < end && j->window.kinds[first] != BLOCK_DATA)
        first++;
    while (end > first && j->window.kinds[end - 1] != BLOCK_DATA)
        end--;
    if (first == end) {
        j->step = REPLACE_WRITE;
        pump_soon(j->pool);
        return;
    }
    j->iov = (struct iovec){.iov_base = j->window.buf + (size_t)first * BLOCK_BYTES,
                            .iov_len = (size_t)(end - first) * BLOCK_BYTES};
    j->io = (struct volume_io){.op = VOLUME_READ,
                               .sector = (j->window.lba + first) * SECTORS_PER_BLOCK,
                               .sector_count = (uint64_t)(end - first) * SECTORS_PER_BLOCK,
                               .iov = &j->iov,
                               .iov_count = 1,
                               .done = content_read};
    j->step = REPLACE_READING;
    volume_submit(j->job->content, &j->io);
}

static void source_loaded(struct leaf_waiter *waiter, enum status status)
{
    struct replace *j = container_of(waiter, struct replace, waiter);
    j->step = REPLACE_LOOK;
    came_back(j, status);
}

/* Marks what the branch has of its own in the window; false: nothing. */
static bool choose_own(struct replace *j)
{
    struct view view = disk_view(j->branch->disk, j->branch->point->generation);
    j->window.wanted_count = 0;
    for (uint32_t i = 0; i < j->window.blocks; i++) {
        struct version *versions;
        unsigned n = leaf_versions(j->source, (unsigned)((j->window.lba + i) % FORMAT_LEAF_BLOCKS),
                                   &versions);
        int at = view_resolve(versions, n, &view);
        j->window.kinds[i] = BLOCK_SKIP;
        if (at == RESOLVE_NONE) continue;
        bool is_hole = at == RESOLVE_ZERO || (versions[at].flags & VERSION_HOLE);
        j->window.kinds[i] = is_hole ? BLOCK_HOLE : BLOCK_DATA;
        j->window.wanted_count++;
    }
    return j->window.wanted_count > 0;
}

/* The next window of what the branch has of its own. */
static void look_own(struct replace *j)
{
    for (unsigned turns = 0; turns < WINDOWS_PER_TURN && j->window.lba < j->end_lba; turns++) {
        struct tl_disk *disk = j->branch->disk;
        if (map_leaf_is_absent(disk, j->window.lba / FORMAT_LEAF_BLOCKS)) {
            advance(j, to_edge(j));
            continue;
        }
        if (!j->source) {
            j->source = map_leaf(disk, j->window.lba / FORMAT_LEAF_BLOCKS);
            map_pin(j->source);
        }
        if (j->source->state == LEAF_BROKEN) {
            j->status = STATUS_BLOCK_CORRUPT;
            j->is_content = true;
            return;
        }
        if (j->source->state != LEAF_READY) {
            j->step = REPLACE_LOADING;
            map_load(j->source, &j->waiter, source_loaded);
            return;
        }
        j->window.blocks = (uint32_t)min_of(to_edge(j), (uint64_t)WINDOW_BLOCKS);
        if (choose_own(j)) {
            read_content(j);
            return;
        }
        advance(j, j->window.blocks);
    }
    if (j->window.lba < j->end_lba) pump_soon(j->pool);
}

/* Units of the content may be other than blocks: what is mapped in part is copied. */
static void map_came(struct volume_map_query *query)
{
    struct replace *j = container_of(query, struct replace, query);
    if (!came_back(j, query->status)) return;
    j->step = REPLACE_LOOK;
    if (j->status != STATUS_OK) return;
    uint64_t run = query->run_sectors / SECTORS_PER_BLOCK;
    if (query->mapped || run == 0) {
        j->mapped_lba = j->window.lba + max_of(run, (uint64_t)1);
        j->ask_blocks = ASK_BLOCKS;
        return;
    }
    j->ask_blocks *= 2;
    advance(j, min_of(run, j->end_lba - j->window.lba));
}

/* The next window of what is mapped. */
static void look_mapped(struct replace *j)
{
    if (j->window.lba >= j->mapped_lba) {
        uint64_t blocks = min_of(j->ask_blocks, j->end_lba - j->window.lba);
        j->query = (struct volume_map_query){.sector = j->window.lba * SECTORS_PER_BLOCK,
                                             .sector_count = blocks * SECTORS_PER_BLOCK,
                                             .done = map_came};
        j->step = REPLACE_ASKING;
        volume_map_status(j->job->content, &j->query);
        return;
    }
    uint64_t blocks = min_of(to_edge(j), j->mapped_lba - j->window.lba);
    j->window.blocks = j->window.wanted_count = (uint32_t)min_of(blocks, (uint64_t)WINDOW_BLOCKS);
    for (uint32_t i = 0; i < j->window.blocks; i++)
        j->window.kinds[i] = BLOCK_DATA;
    read_content(j);
}

/* ---- Staging ---------------------------------------------------------------------------------- */

static void staged(struct batch *b, enum status status)
{
    struct replace *j = b->arg;
    check(b->header.seq > j->stage);
    map_unexpect(j->window.leaf, j->window.wanted_count);
    if (status != STATUS_OK) j->status = status;
    advance(j, j->window.blocks);
    pump_soon(j->pool);
}

/* It keeps what it has staged, if who asked for it can wait. */
static void wait_for_space(struct replace *j)
{
    if (!j->job->full || !j->job->full(j->job)) return;
    j->status = STATUS_OK;
    j->job->is_paused = true;
    window_wait_anew(&j->window);
}

static void write_window(struct replace *j)
{
    struct window *w = &j->window;
    struct window_how how = {.flags = WAL_STAGED, .published = staged, .arg = j};
    if (!w->leaf) {
        w->leaf = map_leaf(j->disk, w->lba / FORMAT_LEAF_BLOCKS);
        map_pin(w->leaf);
    }
    if (w->leaf->state == LEAF_BROKEN) {
        j->status = STATUS_BLOCK_CORRUPT;
        return;
    }
    if (window_write(w, &how, &j->status)) {
        j->step = REPLACE_WRITING;
        j->has_staged = true;
    }
    if (j->status == STATUS_POOL_FULL) wait_for_space(j);
}

/* ---- The job ---------------------------------------------------------------------------------- */

static struct err *error_of(const struct replace *j)
{
    if (j->status == STATUS_POOL_FULL)
        return err_next(err_new(STATUS_POOL_FULL, "the pool is too full for a copy of the content"),
                        "make room, and begin again; nothing has changed");
    if (!tl_is_ok(j->pool))
        return err_new(STATUS_POOL_FAILED, "the pool has failed: %s", j->pool->base.trouble);
    if (j->is_content)
        return err_next(
            err_new(j->status, "the content cannot be read: %s", status_text(j->status)),
            "nothing has changed; look at the pool of the content");
    return err_new(j->status, "the disk's map cannot be read; nothing has changed");
}

static bool is_waiting(const struct replace *j)
{
    return j->step != REPLACE_LOOK && j->step != REPLACE_WRITE;
}

static void replace_step(struct replace *j)
{
    if (is_waiting(j)) return;
    if (j->status == STATUS_OK && j->job->is_cancelled) {
        replace_end(j, err_new(STATUS_CANCELLED, "the replace was cancelled; nothing has changed"));
        return;
    }
    /* What a branch has of its own says nothing any more when it was split off: its holes go. */
    if (j->status == STATUS_OK && j->branch && j->branch->disk->parent != j->disk) {
        replace_end(j, err_next(err_new(STATUS_CONFLICT, "the branch was split off meanwhile"),
                                "begin again: all of it will be copied"));
        return;
    }
    if (j->status == STATUS_OK && j->job->is_paused) return;
    bool is_early = mutation_is(MUTATION_FLIP_BEFORE_SEALED) && j->window.lba * 2 > j->end_lba;
    if (j->status == STATUS_OK && (j->window.lba >= j->end_lba || is_early)) {
        flip(j);
        return;
    }
    if (j->status == STATUS_OK && j->step == REPLACE_WRITE)
        write_window(j);
    else if (j->status == STATUS_OK && j->branch)
        look_own(j);
    else if (j->status == STATUS_OK)
        look_mapped(j);
    if (j->status != STATUS_OK && !is_waiting(j))
        replace_end(j, error_of(j));
    else if (j->step == REPLACE_LOOK && j->window.lba >= j->end_lba)
        pump_soon(j->pool); /* to flip */
}

void replace_pump(struct tl_pool *p)
{
    list_for_each_safe (node, &p->replaces)
        replace_step(list_entry(node, struct replace, link));
}

/* Those that wait for a device end when it has answered. */
void replace_fail_all(struct tl_pool *p)
{
    list_for_each_safe (node, &p->replaces) {
        struct replace *j = list_entry(node, struct replace, link);
        if (tl_is_ok(p)) j->job->is_cancelled = true;
        if (j->status == STATUS_OK && !tl_is_ok(p)) j->status = STATUS_POOL_FAILED;
    }
    replace_pump(p);
}

static bool is_elsewhere(const struct replace *j)
{
    return (j->step == REPLACE_ASKING || j->step == REPLACE_READING) &&
           list_is_linked(&j->guest.link);
}

void replace_abandon(struct tl_pool *p)
{
    list_for_each_safe (node, &p->replaces) {
        struct replace *j = list_entry(node, struct replace, link);
        list_remove(node);
        j->pool = NULL;
        if (!is_elsewhere(j)) replace_free(j); /* else its answer frees it, or content_gone */
    }
}

/* The content's pool was abandoned: what it owes never comes. */
static void content_gone(struct volume_guest *guest)
{
    struct replace *j = container_of(guest, struct replace, guest);
    if (!j->pool) {
        replace_free(j);
        return;
    }
    if (j->step == REPLACE_ASKING || j->step == REPLACE_READING) j->step = REPLACE_LOOK;
    j->status = STATUS_POOL_FAILED;
    j->is_content = true;
    pump_soon(j->pool);
}

/* What of the content the disk has already. */
static void choose_base(struct replace *j)
{
    struct volume *content = j->job->content;
    if (content->pool != &j->pool->base) return;
    struct tl_volume *v = container_of(content, struct tl_volume, base);
    struct tl_disk *disk = v->disk;
    if (disk == j->disk) {
        j->base = v->point->generation;
        j->end_lba = 0;
        return;
    }
    struct view view = disk_view(disk, v->point->generation);
    if (disk->parent != j->disk || content->size_bytes < disk->parent_size_bytes ||
        view_resolve(NULL, 0, &view) != RESOLVE_NONE)
        return;
    /* Each such record lives as long as what is over it: in time a whole copy ends the chain. */
    if (j->disk->record_count >= LIMIT_REVERTS_PER_DISK / 2) return;
    j->base = disk->parent_generation;
    j->branch = v;
}

static void already(void *arg, struct err *e)
{
    struct volume_replacement *job = arg;
    job->done(job, e);
}

void replace_begin(struct volume_pool *pool, struct volume_replacement *job)
{
    struct tl_pool *p = tl_pool(pool);
    struct tl_disk *disk = disk_find(p, &job->disk);
    struct err *e = admin_may_revert(disk, &job->undo_point);
    if (!e && disk->is_replacing)
        e = err_next(err_new(STATUS_IN_USE, "the disk is being replaced already"),
                     "wait for it, or cancel it");
    if (e) {
        volume_done_later(pool, already, job, e);
        return;
    }
    struct replace *j = calloc(1, sizeof *j);
    check(j != NULL);
    *j = (struct replace){.pool = p, .disk = disk, .job = job, .ask_blocks = ASK_BLOCKS};
    window_init(&j->window, p, disk);
    j->size_bytes = volume_size_bytes(job->content);
    j->end_lba = j->size_bytes / BLOCK_BYTES;
    j->guest.gone = content_gone;
    if (job->content->pool != pool) volume_guest_add(job->content->pool, &j->guest);
    choose_base(j);
    j->stage = p->last_closed_seq; /* what was staged before and given up is not newer */
    check(j->stage > 0 && j->base <= j->stage);
    disk->open_stage = j->stage;
    disk->is_replacing = true;
    job->private_ = j;
    list_push_back(&p->replaces, &j->link);
    pump_soon(p);
}

void replace_poke(struct volume_pool *pool, struct volume_replacement *job)
{
    (void)job;
    pump_soon(tl_pool(pool));
}
