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
#include "direct.h"
#include "engine_mutation.h"
#include "rows.h"
#include "tests/lib/tap.h"
#include "trial.h"


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
        if (other == at || image_kind_of(from) != image_kind_of(block)) break;
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
        enum block_kind kind = image_kind_of(block);
        if ((kind == KIND_DATA || kind == KIND_WAL) && i % step != 0) continue;
        uint8_t good[BLOCK_BYTES];
        memcpy(good, block, sizeof good);
        const char *how = damage(&prng, &image, i);
        ok = trial_run(world, &image, verdict);
        if (!ok)
            printf("# block %u (%s), %s: %s\n", image.blocks[i], block_kind_names[kind], how, verdict->problem);
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
    for (unsigned k = 0; k < KIND_COUNT; k++) printf(" %u %s", counts[k], block_kind_names[k]);
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
