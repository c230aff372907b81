/*
 * Devices that fail and lie: an error or damage is noticed, never served as data (E5, E9, E14, E30).
 *
 * The pool of a finished world is copied, block by block damaged, opened and read: every answer must be an
 * error or what the model allows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/endian.h"
#include "direct.h"
#include "engine_mutation.h"
#include "pool/format.h"
#include "rows.h"
#include "tests/lib/tap.h"

#define POOL_PATH "/pool"

/* ---- A pool at rest, as an image -------------------------------------------------------------------- */

struct image {
    uint64_t size_bytes;
    uint32_t *blocks; /* numbers of those that are not zero */
    uint8_t *content;
    uint32_t count;
};

static void image_take(struct world *world, struct image *image)
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

static void image_free(struct image *image)
{
    free(image->blocks);
    free(image->content);
}

/* What a block is, by its first bytes. */
enum block_kind { KIND_SUPER, KIND_WAL, KIND_DIR, KIND_LEAF, KIND_SYSTEM, KIND_BLOB, KIND_DATA, KIND_COUNT };
static const char *const kind_names[] = {"superblock", "log", "directory", "leaf", "system", "blob", "data"};

static enum block_kind kind_of(const uint8_t *block)
{
    if (load_le64(block) == FORMAT_SUPER_MAGIC) return KIND_SUPER;
    if (load_le64(block) == FORMAT_WAL_MAGIC) return KIND_WAL;
    switch (load_le32(block)) {
    case FORMAT_DIR_MAGIC: return KIND_DIR;
    case FORMAT_LEAF_MAGIC: return KIND_LEAF;
    case FORMAT_SYSTEM_MAGIC: return KIND_SYSTEM;
    case FORMAT_BLOB_MAGIC: return KIND_BLOB;
    default: return KIND_DATA;
    }
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

struct verdict {
    unsigned refused, damaged, errors, clean; /* opens that failed; pools; reads that failed; no effect */
    char problem[512];
};

/* Every readable block of one view must be exactly what the model has. */
static bool trial_check_view(struct trial *t, struct world *world, const struct model_view *view,
                             const struct uuid *disk, const struct uuid *point, struct verdict *verdict)
{
    struct volume *volume;
    struct err *e = volume_open(t->pool, disk, point, VOLUME_READ_ONLY, &volume);
    if (e) {
        bool excused = volume_pool_state(t->pool) != VOLUME_POOL_OK;
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
static bool trial_run(struct world *world, const struct image *image, struct verdict *verdict)
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

/* ---- Bit rot -------------------------------------------------------------------------------------------------- */

/* Writes and flushes only; everything before is on record as durable (D) afterwards. */
static void write_some_more(struct world *world)
{
    enum { KIND_WRITE = 0, KIND_FLUSH = 152, RECORDS = 60 }; /* places in the table of ops.c */
    auto_free uint8_t *records = ops_draw(world->options.seed + 1, RECORDS);
    for (unsigned i = 0; i < RECORDS; i++)
        records[(size_t)i * OPS_RECORD_BYTES] = i % 6 == 5 ? KIND_FLUSH : KIND_WRITE;
    world->hold = model_now(world->model);
    ops_run_only(world, records, RECORDS);
    if (!world->failed && world_drain(world)) world_flush(world);
}

/* A world with history: closed, or as a kill leaves it with a log to replay. */
static struct world *build(uint64_t seed, bool close_cleanly, uint64_t cache_bytes)
{
    struct world *world = world_create(&(struct world_options){
        .seed = seed, .op_count = 250, .pace = 6, .cache_bytes = cache_bytes, .disk_blocks_max = 300});
    auto_free uint8_t *records = ops_draw(seed, 250);
    ops_run_only(world, records, 250);
    if (!world->failed) world_settle(world);
    if (!world->failed && close_cleanly) world_reopen(world);
    if (!world->failed && close_cleanly) world_close(world);
    if (!world->failed && !close_cleanly) write_some_more(world);
    return world;
}

/* One flipped bit (often in the head), zeroes, or another block of the same kind. */
static const char *damage(struct prng *prng, const struct image *image, uint32_t at)
{
    uint8_t *block = image->content + (size_t)at * BLOCK_BYTES;
    uint64_t bit = prng_below(prng, prng_chance(prng, 1, 2) ? 64 * 8 : BLOCK_BYTES * 8);
    uint32_t other = (uint32_t)prng_below(prng, image->count);
    const uint8_t *from = image->content + (size_t)other * BLOCK_BYTES;
    switch (prng_below(prng, 4)) {
    case 0:
        memset(block, 0, BLOCK_BYTES);
        return "zeroed";
    case 1:
        if (other == at || kind_of(from) != kind_of(block)) break;
        memcpy(block, from, BLOCK_BYTES);
        return "replaced by another";
    default: break;
    }
    block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    return "one bit flipped";
}

/* Damages up to `limit` blocks of data and log and all others, one at a time. */
static bool rot(struct world *world, unsigned limit, unsigned counts[KIND_COUNT], struct verdict *verdict)
{
    struct image image;
    image_take(world, &image);
    struct prng prng;
    prng_init(&prng, world->options.seed);
    unsigned step = image.count / limit + 1;
    bool ok = true;
    for (uint32_t i = 0; ok && i < image.count; i++) {
        uint8_t *block = image.content + (size_t)i * BLOCK_BYTES;
        enum block_kind kind = kind_of(block);
        if ((kind == KIND_DATA || kind == KIND_WAL) && i % step != 0) continue;
        uint8_t good[BLOCK_BYTES];
        memcpy(good, block, sizeof good);
        const char *how = damage(&prng, &image, i);
        ok = trial_run(world, &image, verdict);
        if (!ok)
            printf("# block %u (%s), %s: %s\n", image.blocks[i], kind_names[kind], how, verdict->problem);
        memcpy(block, good, sizeof good);
        counts[kind]++;
    }
    image_free(&image);
    return ok;
}

static bool rot_is_noticed(uint64_t seed, bool close_cleanly, unsigned limit)
{
    struct world *world = build(seed, close_cleanly, MODEL_TINY_CACHE_BYTES);
    unsigned counts[KIND_COUNT] = {0};
    struct verdict verdict = {0};
    bool ok = !world->failed;
    if (!ok) printf("# seed %llu: %s\n", (unsigned long long)seed, world->failure);
    ok = ok && rot(world, limit, counts, &verdict);
    printf("# blocks damaged:");
    for (unsigned k = 0; k < KIND_COUNT; k++) printf(" %u %s", counts[k], kind_names[k]);
    printf("; %u refused, %u damaged, %u reads failed, %u without effect\n", verdict.refused,
           verdict.damaged, verdict.errors, verdict.clean);
    ok = ok && counts[KIND_SUPER] && counts[KIND_WAL] && counts[KIND_DATA];
    ok = ok && verdict.errors + verdict.refused + verdict.damaged > 0;
    world_destroy(world);
    return ok;
}

static bool rot_after_close(const void *arg)
{
    return rot_is_noticed(*(const uint64_t *)arg, true, rows_scaled(150));
}

static bool rot_after_crash(const void *arg)
{
    return rot_is_noticed(*(const uint64_t *)arg, false, rows_scaled(150));
}

static void damage_to_a_closed_pool_is_never_served(void)
{
    for (uint64_t seed = 31; seed < 33; seed++)
        expect_eq(rows_run_child(rot_after_close, &seed, 300), ROW_GREEN);
}

static void damage_to_a_crashed_pool_is_never_served(void)
{
    for (uint64_t seed = 41; seed < 43; seed++)
        expect_eq(rows_run_child(rot_after_crash, &seed, 300), ROW_GREEN);
}

/* ---- Faults while it runs --------------------------------------------------------------------------------------- */

struct fault_case {
    const char *name;
    enum sim_fault_kind kind;
    unsigned faults;   /* how many, spread over the run */
    bool pool_must_fail;
};

/* Operations go on with faults; answers may be errors, data may not be wrong.  Then a process crash and, unless
 * the device lied about a write, recovery to an allowed state. */
static bool survives(const void *arg)
{
    const struct fault_case *c = arg;
    bool lied = c->kind == SIM_FAULT_LOST_WRITE || c->kind == SIM_FAULT_MISDIRECTED_WRITE;
    for (uint64_t seed = 1; seed <= rows_scaled(10); seed++) {
        struct world *world = world_create(&(struct world_options){
            .seed = 7000 + seed, .pace = 4, .crash = WORLD_CRASH_BOTH, .crash_by_op = true,
            .crash_every = UINT32_MAX, .cache_bytes = MODEL_TINY_CACHE_BYTES,
            .trace = getenv("TARN_TEST_TRACE") != NULL});
        auto_free uint8_t *records = ops_draw(seed, 400);
        ops_run_only(world, records, 150);
        world->lossy = true;
        bool failed_state = false;
        for (unsigned f = 0; f < c->faults && !world->failed; f++) {
            uint64_t after = prng_below(&world->prng, c->pool_must_fail ? 2 : 6);
            sim_node_fault(world->node, c->kind, POOL_PATH, after);
            ops_run_only(world, records + (size_t)(150 + 40 * f) * OPS_RECORD_BYTES, 40);
            failed_state = failed_state || volume_pool_state(world->pool) == VOLUME_POOL_FAILED;
        }
        if (!world->failed) world_drain(world);
        sim_heal(world->sim);
        if (!world->failed && c->pool_must_fail && !failed_state)
            world_fail(world, "the pool goes on after a failed flush");
        if (!world->failed && c->kind == SIM_FAULT_READ_ERROR) { /* what could not be read once can be read again */
            world->lossy = false;
            if (volume_pool_state(world->pool) != VOLUME_POOL_OK)
                world_fail(world, "a read error has failed the pool: %s", volume_pool_trouble(world->pool));
            else
                world_verify(world);
        }
        if (!world->failed && !lied) {
            world_crash_now(world);
            world->lossy = false;
            while (world->crashed && !world->failed) world_recover(world);
            if (!world->failed) world_settle(world);
        }
        bool green = !world->failed;
        if (!green) printf("# seed %llu: %s\n", (unsigned long long)seed, world->failure);
        world_destroy(world);
        if (!green) return false;
    }
    return true;
}

/* The leaf, then the data: each fails once, and is there the next time; a write in between works. */
static bool read_error_of_a_leaf(const void *arg)
{
    struct world *world = world_create(&(struct world_options){.seed = 4});
    struct volume *volume = direct_disk(world, 1, 1 * MIB);
    struct uuid uuid = direct_uuid(1);
    for (uint64_t b = 0; b < 20 && !world->failed; b++) direct_write(world, volume, b, 50 + b);
    if (volume) volume_close(volume);
    for (uint64_t after = 0; after < 2 && !world->failed; after++) {
        uint8_t data[BLOCK_BYTES];
        if (!world_reopen(world)) break;
        volume = direct_open(world, &uuid, NULL);
        sim_node_fault(world->node, SIM_FAULT_READ_ERROR, POOL_PATH, after);
        if (direct_io(world, volume, VOLUME_READ, 0, SECTORS_PER_BLOCK, data) == STATUS_OK)
            world_fail(world, "a read error was not told");
        if (direct_write(world, volume, 30 + after, 77) != STATUS_OK)
            world_fail(world, "after a read error nothing can be written");
        for (uint64_t b = 0; b < 20 && !world->failed; b++) direct_expect(world, volume, b, 50 + b);
        if (!world->failed) direct_expect(world, volume, 30 + after, 77);
        volume_close(volume);
        if (!world->failed) direct_settle(world);
    }
    return direct_end(world);
}

static void a_read_error_of_the_map_passes_too(void)
{
    expect_eq(rows_run_child(read_error_of_a_leaf, NULL, 60), ROW_GREEN);
}

static bool opens_with_faults(const void *arg)
{
    struct world_options options = {.seed = 8000, .op_count = 300, .pace = 3, .crash = WORLD_CRASH_BOTH,
                                    .crash_every = 40, .recovery_crashes = 1, .open_faults = true,
                                    .cache_bytes = MODEL_TINY_CACHE_BYTES};
    for (unsigned i = 0; i < rows_scaled(12); i++, options.seed++)
        if (!rows_world_is_green(&options)) return false;
    return true;
}

static void an_error_while_opening_is_told_and_harms_nothing(void)
{
    expect_eq(rows_run_child(opens_with_faults, NULL, 300), ROW_GREEN);
}

int main(void)
{
    static const struct fault_case cases[] = {
        {"a_read_error_is_an_error_and_passes", SIM_FAULT_READ_ERROR, 6, false},
        {"a_write_error_loses_nothing", SIM_FAULT_WRITE_ERROR, 6, false},
        {"a_failed_flush_fails_the_pool_and_loses_nothing", SIM_FAULT_FLUSH_ERROR, 1, true},
        {"a_lost_write_is_never_served_as_data", SIM_FAULT_LOST_WRITE, 4, false},
        {"a_misdirected_write_is_never_served_as_data", SIM_FAULT_MISDIRECTED_WRITE, 4, false},
    };
    for (unsigned i = 0; i < countof(cases); i++)
        tap_point(cases[i].name, rows_run_child(survives, &cases[i], 300) == ROW_GREEN);
    run(a_read_error_of_the_map_passes_too);
    run(an_error_while_opening_is_told_and_harms_nothing);
    run(damage_to_a_closed_pool_is_never_served);
    run(damage_to_a_crashed_pool_is_never_served);
    return tap_done();
}
