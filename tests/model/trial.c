/* A damaged pool in a world of its own (trial.h). */
#include "trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/endian.h"
#include "pool/format.h"

/* ---- A pool at rest, as an image -------------------------------------------------------------------- */

void image_take(struct world *world, struct image *image)
{
    static const uint8_t zeroes[BLOCK_BYTES];
    uint8_t block[BLOCK_BYTES];
    *image = (struct image){.size_bytes = sim_file_size(world->node, POOL_PATH)};
    uint32_t total = (uint32_t)(image->size_bytes / BLOCK_BYTES);
    image->blocks = calloc(total, sizeof *image->blocks);
    image->content = malloc(image->size_bytes);
    check(image->blocks && image->content);
    for (uint32_t b = 0; b < total; b++) {
        sim_file_peek(world->node, POOL_PATH, (uint64_t)b * BLOCK_BYTES, block, sizeof block);
        if (memcmp(block, zeroes, sizeof block) == 0) continue;
        memcpy(image->content + (size_t)image->count * BLOCK_BYTES, block, sizeof block);
        image->blocks[image->count++] = b;
    }
}

void image_free(struct image *image)
{
    free(image->blocks);
    free(image->content);
}

/* What a block is, by its first bytes. */
const char *const block_kind_names[] = {"superblock", "log",  "directory", "leaf",
                                        "system",     "blob", "bitmap",    "data"};

enum block_kind image_kind_of(const uint8_t *block)
{
    if (load_le64(block) == FORMAT_SUPER_MAGIC) return KIND_SUPER;
    if (load_le64(block) == FORMAT_WAL_MAGIC) return KIND_WAL;
    switch (load_le32(block)) {
    case FORMAT_DIR_MAGIC: return KIND_DIR;
    case FORMAT_LEAF_MAGIC: return KIND_LEAF;
    case FORMAT_SYSTEM_MAGIC: return KIND_SYSTEM;
    case FORMAT_BLOB_MAGIC: return KIND_BLOB;
    default: break;
    }
    for (unsigned at = 0; at < BLOCK_BYTES; at += SECTOR_BYTES)
        if (load_le64(block + at) == MODEL_STAMP_MAGIC) return KIND_DATA;
    return KIND_BITMAP;
}

/* ---- A second world on the damaged image ----------------------------------------------------------------- */

struct trial {
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct volume_pool *pool;
    struct volume_io io;
    struct iovec iov;
    bool done;
    struct err *error;
};

static void trial_call_done(void *arg, struct err *e)
{
    struct trial *t = arg;
    t->done = true;
    t->error = e;
}

static void trial_io_done(struct volume_io *io)
{
    container_of(io, struct trial, io)->done = true;
}

static bool trial_is_done(void *arg)
{
    return ((struct trial *)arg)->done;
}

static bool trial_wait(struct trial *t)
{
    return sim_run_until(t->sim, trial_is_done, t, 100 * RT_SECOND);
}

static void trial_open(struct trial *t, const struct image *image, uint64_t seed)
{
    t->sim = sim_create(&(struct sim_options){.seed = seed});
    t->node = sim_node_create(t->sim, "server");
    sim_file_create(t->node, POOL_PATH, image->size_bytes);
    for (uint32_t i = 0; i < image->count; i++)
        sim_file_poke(t->node, POOL_PATH, (uint64_t)image->blocks[i] * BLOCK_BYTES,
                      image->content + (size_t)i * BLOCK_BYTES, BLOCK_BYTES);
    t->rt = sim_node_boot(t->node);
}

static void trial_close(struct trial *t)
{
    if (sim_node_is_up(t->node)) sim_node_crash(t->node, SIM_CRASH_PROCESS);
    if (t->pool) volume_pool_abandon(t->pool);
    err_free(t->error);
    sim_destroy(t->sim);
}

/* Reads the view; blocks that answer with an error keep what the model allows (NULL data). */
static bool trial_read(struct trial *t, struct volume *volume, uint32_t sector_count, uint8_t *data,
                       bool *readable)
{
    for (uint32_t at = 0; at < sector_count; at += SECTORS_PER_BLOCK) {
        t->iov = (struct iovec){.iov_base = data + (size_t)at * SECTOR_BYTES, .iov_len = BLOCK_BYTES};
        t->io = (struct volume_io){.op = VOLUME_READ, .sector = at, .sector_count = SECTORS_PER_BLOCK,
                                   .iov = &t->iov, .iov_count = 1, .done = trial_io_done};
        t->done = false;
        volume_submit(volume, &t->io);
        if (!trial_wait(t)) return false;
        readable[at / SECTORS_PER_BLOCK] = t->io.status == STATUS_OK;
    }
    return true;
}

/* Every readable block of one view must be exactly what the model has. */
static bool trial_check_view(struct trial *t, struct world *world, const struct model_view *view,
                             const struct uuid *disk, const struct uuid *point, struct verdict *verdict)
{
    struct volume *volume;
    struct err *e = volume_open(t->pool, disk, point, VOLUME_READ_ONLY, &volume);
    if (e) {
        bool excused = volume_pool_state(t->pool) != VOLUME_POOL_OK || verdict->excuse_missing;
        char text[200];
        if (!excused)
            snprintf(verdict->problem, sizeof verdict->problem, "a view is gone from a pool that is fine: %s",
                     err_text(e, text, sizeof text));
        err_free(e);
        return excused;
    }
    bool ok = true;
    auto_free uint8_t *data = malloc((size_t)view->sector_count * SECTOR_BYTES);
    auto_free bool *readable = calloc(view->sector_count / SECTORS_PER_BLOCK + 1, sizeof *readable);
    struct model_view copy;
    check(data && readable);
    model_view_copy(view, &copy);
    if (!trial_read(t, volume, view->sector_count, data, readable)) {
        snprintf(verdict->problem, sizeof verdict->problem, "a read hangs");
        ok = false;
    }
    struct model_bound bound = {.floor = world->hold ? world->hold : world->durable};
    for (uint32_t s = 0; ok && s < view->sector_count; s += SECTORS_PER_BLOCK) {
        if (!readable[s / SECTORS_PER_BLOCK]) {
            verdict->errors++;
            continue;
        }
        ok = model_check_read(world->model, &copy, s, SECTORS_PER_BLOCK, data + (size_t)s * SECTOR_BYTES,
                              &bound);
        if (!ok)
            snprintf(verdict->problem, sizeof verdict->problem, "%s served as data: %s",
                     point ? "point" : "disk", model_problem(world->model));
    }
    model_view_fini(&copy);
    volume_close(volume);
    return ok;
}

static bool trial_check_all(struct trial *t, struct world *world, struct verdict *verdict)
{
    for (int i = 0; i < WORLD_DISKS; i++)
        if (world->disks[i].state == THING_THERE &&
            !trial_check_view(t, world, &world->disks[i].view, &world->disks[i].uuid, NULL, verdict))
            return false;
    for (int i = 0; i < WORLD_POINTS; i++)
        if (world->points[i].state == THING_THERE &&
            !trial_check_view(t, world, &world->points[i].view, NULL, &world->points[i].uuid, verdict))
            return false;
    return true;
}

/* Damaged means read-only: a write is refused and the device is left alone. */
static bool trial_refuses_writes(struct trial *t, struct world *world, struct verdict *verdict)
{
    uint64_t before = sim_node_write_count(t->node);
    uint8_t data[BLOCK_BYTES] = {1};
    bool ok = true;
    for (int i = 0; ok && i < WORLD_DISKS; i++) {
        struct volume *volume;
        if (world->disks[i].state != THING_THERE) continue;
        struct err *e = volume_open(t->pool, &world->disks[i].uuid, NULL, VOLUME_READ_WRITE, &volume);
        bool refused = e != NULL;
        err_free(e);
        if (refused) continue;
        t->iov = (struct iovec){.iov_base = data, .iov_len = BLOCK_BYTES};
        t->io = (struct volume_io){.op = VOLUME_WRITE, .sector_count = SECTORS_PER_BLOCK, .iov = &t->iov,
                                   .iov_count = 1, .done = trial_io_done};
        t->done = false;
        volume_submit(volume, &t->io);
        ok = trial_wait(t) && t->io.status != STATUS_OK;
        volume_close(volume);
    }
    sim_run_for(t->sim, RT_SECOND);
    ok = ok && sim_node_write_count(t->node) == before && volume_pool_trouble(t->pool)[0] != 0;
    if (!ok) snprintf(verdict->problem, sizeof verdict->problem, "a damaged pool is written to");
    return ok;
}

/* Opens the image as it is now; true when nothing wrong was served. */
bool trial_run(struct world *world, const struct image *image, struct verdict *verdict)
{
    struct trial t = {0};
    struct volume_pool_options options = {.cache_bytes = world->options.cache_bytes, .sparse = true};
    bool ok = true;
    trial_open(&t, image, world->options.seed);
    volume_pool_open(t.rt, POOL_PATH, &options, &t.pool, trial_call_done, &t);
    if (!trial_wait(&t)) {
        snprintf(verdict->problem, sizeof verdict->problem, "open hangs");
        ok = false;
    } else if (t.error) {
        t.pool = NULL;
        verdict->refused++;
    } else {
        if (volume_pool_state(t.pool) != VOLUME_POOL_OK) verdict->damaged++;
        unsigned before = verdict->errors;
        /* A damaged pool says that it lacks something; what it has is not judged. */
        if (volume_pool_state(t.pool) == VOLUME_POOL_DAMAGED)
            ok = trial_refuses_writes(&t, world, verdict);
        else
            ok = trial_check_all(&t, world, verdict);
        if (verdict->errors == before && volume_pool_state(t.pool) == VOLUME_POOL_OK) verdict->clean++;
    }
    trial_close(&t);
    return ok;
}

