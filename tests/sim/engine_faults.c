/*
 * engine_faults.c - everything that a device can do wrong, to an engine at work: errors, short
 * transfers, lost, misdirected and repeated writes, rot, failing flushes, requests that hang; and a
 * flipped bit in every field of every kind of metadata.  Nothing wrong is ever served: a request
 * answers with an error or with what the model allows, a pool opens, opens read-only or is refused.
 *
 *     engine_faults [SEED [SEEDS]]      a failure prints its seed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "tests/lib/tap.h"
#include "tests/model/engine_mutation.h"
#include "tests/model/rows.h"
#include "tests/model/trial.h"

static uint64_t first_seed = 1, seed_count = 8;

/* ---- A flipped bit in every field ------------------------------------------------------------ */

struct field {
    enum block_kind kind;
    unsigned offset, bytes;
    const char *name;
};

/* doc/format.md, in its order. */
static const struct field fields[] = {
    {KIND_SUPER, 0, 8, "magic"},
    {KIND_SUPER, 8, 4, "format version"},
    {KIND_SUPER, 12, 4, "flags"},
    {KIND_SUPER, 16, 8, "features for writing"},
    {KIND_SUPER, 24, 8, "features for opening"},
    {KIND_SUPER, 32, 16, "pool uuid"},
    {KIND_SUPER, 48, 8, "checkpoint number"},
    {KIND_SUPER, 56, 8, "size"},
    {KIND_SUPER, 64, 8, "start of the log"},
    {KIND_SUPER, 72, 8, "blocks of the log"},
    {KIND_SUPER, 80, 8, "start of data"},
    {KIND_SUPER, 88, 8, "replay seq"},
    {KIND_SUPER, 96, 8, "replay position"},
    {KIND_SUPER, 104, 8, "epoch"},
    {KIND_SUPER, 112, 8, "D"},
    {KIND_SUPER, 120, 8, "next seq"},
    {KIND_SUPER, 128, 8, "wall clock"},
    {KIND_SUPER, 136, 16, "system blob"},
    {KIND_SUPER, 152, 3940, "reserved"},
    {KIND_SUPER, 4092, 4, "checksum"},
    {KIND_WAL, 0, 8, "magic"},
    {KIND_WAL, 8, 16, "pool uuid"},
    {KIND_WAL, 24, 8, "epoch"},
    {KIND_WAL, 32, 8, "seq"},
    {KIND_WAL, 40, 8, "seq before"},
    {KIND_WAL, 48, 8, "D"},
    {KIND_WAL, 56, 8, "position"},
    {KIND_WAL, 64, 4, "blocks"},
    {KIND_WAL, 68, 4, "bytes of the body"},
    {KIND_WAL, 72, 4, "checksum of the body"},
    {KIND_WAL, 76, 2, "kind"},
    {KIND_WAL, 78, 2, "zero"},
    {KIND_WAL, 80, 8, "wall clock"},
    {KIND_WAL, 88, 36, "reserved"},
    {KIND_WAL, 124, 4, "checksum"},
    {KIND_WAL, 128, 1, "type of a record"},
    {KIND_WAL, 129, 1, "flags of a record"},
    {KIND_WAL, 132, 4, "disk of a record"},
    {KIND_WAL, 136, 8, "extent of a record"},
    {KIND_WAL, 144, 6, "place of a record"},
    {KIND_WAL, 150, 4, "checksum in a record"},
    {KIND_DIR, 0, 4, "magic"},
    {KIND_DIR, 4, 4, "disk"},
    {KIND_DIR, 8, 8, "index"},
    {KIND_DIR, 16, 8, "applied seq"},
    {KIND_DIR, 24, 40, "reserved"},
    {KIND_DIR, 64, 16, "reference"},
    {KIND_DIR, 80, 8, "applied seq of a leaf"},
    {KIND_DIR, 88, 8, "highest generation"},
    {KIND_DIR, 96, 8, "oldest superseded"},
    {KIND_DIR, 104, 4, "versions"},
    {KIND_DIR, 108, 4, "flags"},
    {KIND_LEAF, 0, 4, "magic"},
    {KIND_LEAF, 4, 4, "bytes here"},
    {KIND_LEAF, 8, 8, "bytes of the blob"},
    {KIND_LEAF, 16, 8, "own block"},
    {KIND_LEAF, 24, 16, "next extent"},
    {KIND_LEAF, 48, 4, "disk"},
    {KIND_LEAF, 52, 8, "index"},
    {KIND_LEAF, 60, 8, "applied seq"},
    {KIND_LEAF, 68, 4, "versions"},
    {KIND_LEAF, 72, 4, "runs"},
    {KIND_LEAF, 80, 2, "first block of a run"},
    {KIND_LEAF, 82, 2, "blocks of a run"},
    {KIND_LEAF, 84, 6, "generation of a run"},
    {KIND_LEAF, 90, 5, "place of a run"},
    {KIND_LEAF, 95, 1, "flags of a run"},
    {KIND_LEAF, 96, 4, "checksum in a run"},
    {KIND_SYSTEM, 0, 48, "head of the extent"},
    {KIND_SYSTEM, 48, 8, "applied seq"},
    {KIND_SYSTEM, 56, 4, "next disk"},
    {KIND_SYSTEM, 60, 4, "disks"},
    {KIND_SYSTEM, 64, 4, "bitmap pages"},
    {KIND_SYSTEM, 68, 4, "retired extents"},
    {KIND_SYSTEM, 112, 4, "id of a disk"},
    {KIND_SYSTEM, 116, 4, "flags of a disk"},
    {KIND_SYSTEM, 120, 16, "uuid of a disk"},
    {KIND_SYSTEM, 136, 8, "size of a disk"},
    {KIND_SYSTEM, 144, 60, "birth, bytes and parent of a disk"},
    {KIND_SYSTEM, 204, 40, "counts of a disk"},
    {KIND_SYSTEM, 244, 16, "directory page"},
    {KIND_SYSTEM, 260, 64, "point"},
    {KIND_SYSTEM, 324, 600, "more of it"},
    {KIND_BITMAP, 0, 64, "bits"},
    {KIND_BITMAP, 64, 4032, "more bits"},
};

enum { BLOCKS_PER_KIND = 4 };

/* Blocks of a kind, spread over the pool; the newest of each kind are among them by chance. */
static unsigned choose(struct prng *prng, const struct image *image, enum block_kind kind,
                       uint32_t chosen[BLOCKS_PER_KIND])
{
    unsigned seen = 0;
    for (uint32_t i = 0; i < image->count; i++) {
        if (image_kind_of(image->content + (size_t)i * BLOCK_BYTES) != kind) continue;
        uint64_t place = seen < BLOCKS_PER_KIND ? seen : prng_below(prng, seen + 1);
        if (place < BLOCKS_PER_KIND) chosen[place] = i;
        seen++;
    }
    return min_of(seen, (unsigned)BLOCKS_PER_KIND);
}

static bool flip(struct world *world, struct image *image, const struct field *field, uint32_t at,
                 struct verdict *verdict)
{
    uint64_t bit = prng_below(&world->prng, (uint64_t)field->bytes * 8);
    uint8_t *byte = image->content + (size_t)at * BLOCK_BYTES + field->offset + bit / 8;
    *byte ^= (uint8_t)(1 << bit % 8);
    bool ok = trial_run(world, image, verdict);
    *byte ^= (uint8_t)(1 << bit % 8);
    if (!ok)
        printf("# seed %llu, block %u (%s), field \"%s\", bit %llu: %s\n",
               (unsigned long long)world->options.seed, image->blocks[at],
               block_kind_names[field->kind], field->name, (unsigned long long)bit,
               verdict->problem);
    return ok;
}

static struct world *world_with_history(uint64_t seed, unsigned ops)
{
    struct world *world = world_create(&(struct world_options){
        .seed = seed, .pace = 5, .cache_bytes = MODEL_TINY_CACHE_BYTES, .disk_blocks_max = 300});
    auto_free uint8_t *records = ops_draw(seed, ops);
    ops_run_only(world, records, ops);
    if (!world->failed) world_settle(world);
    if (!world->failed) world->hold = model_now(world->model);
    return world;
}

static bool every_field(const void *arg)
{
    struct world *world = world_with_history(*(const uint64_t *)arg, 250);
    struct image image;
    struct verdict verdict = {0};
    unsigned flips = 0, missing = 0;
    bool ok = !world->failed;
    if (!ok) printf("# seed %llu: %s\n", (unsigned long long)world->options.seed, world->failure);
    image_take(world, &image);
    for (unsigned f = 0; ok && f < countof(fields); f++) {
        uint32_t chosen[BLOCKS_PER_KIND];
        unsigned count = choose(&world->prng, &image, fields[f].kind, chosen);
        missing += count == 0;
        for (unsigned i = 0; ok && i < count; i++, flips++)
            ok = flip(world, &image, &fields[f], chosen[i], &verdict);
    }
    printf("# %u flips in %u fields: %u refused, %u damaged, %u reads failed, %u without effect\n",
           flips, (unsigned)countof(fields), verdict.refused, verdict.damaged, verdict.errors,
           verdict.clean);
    image_free(&image);
    world_destroy(world);
    return ok && missing == 0 && verdict.errors && verdict.refused + verdict.damaged;
}

static void a_flipped_bit_in_any_field_is_never_served(void)
{
    for (uint64_t i = 0; i < rows_scaled(2); i++) {
        uint64_t seed = first_seed + 100 + i;
        expect_eq(rows_run_child(every_field, &seed, 300), ROW_GREEN);
    }
}

/* ---- A storm of faults ----------------------------------------------------------------------- */

struct storm {
    const char *name;
    unsigned kinds; /* bits of enum sim_fault_kind */
    bool rot;       /* bits flip on the device meanwhile */
};

#define KIND(k) (1u << SIM_FAULT_##k)
static const struct storm storms[] = {
    {"errors_and_short_transfers", KIND(READ_ERROR) | KIND(SHORT_READ) | KIND(WRITE_ERROR), false},
    {"requests_that_stall", KIND(STALL), false},
    {"errors_stalls_and_a_failing_flush",
     KIND(READ_ERROR) | KIND(WRITE_ERROR) | KIND(STALL) | KIND(FLUSH_ERROR), false},
    {"repeated_writes", KIND(DUPLICATE_WRITE), false},
    {"lost_and_misdirected_writes", KIND(LOST_WRITE) | KIND(MISDIRECTED_WRITE), false},
    {"rot", 0, true},
    {"everything_at_once",
     KIND(READ_ERROR) | KIND(SHORT_READ) | KIND(WRITE_ERROR) | KIND(STALL) | KIND(DUPLICATE_WRITE) |
         KIND(LOST_WRITE) | KIND(MISDIRECTED_WRITE),
     true},
};

static bool storm_lies(const struct storm *storm)
{
    return storm->rot ||
           (storm->kinds & (KIND(LOST_WRITE) | KIND(MISDIRECTED_WRITE) | KIND(DUPLICATE_WRITE)));
}

static void rot_somewhere(struct world *world)
{
    uint64_t block;
    unsigned bit;
    if (sim_file_rot(world->node, POOL_PATH, &world->prng, &block, &bit))
        world_trace(world, "bit %u of block %llu flips", bit, (unsigned long long)block);
}

static void strike(struct world *world, const struct storm *storm)
{
    if (storm->rot && (!storm->kinds || prng_chance(&world->prng, 1, 4))) {
        rot_somewhere(world);
        return;
    }
    unsigned kind = (unsigned)prng_below(&world->prng, 16);
    while (!(storm->kinds >> kind & 1))
        kind = (kind + 1) % 16;
    sim_node_fault(world->node, (enum sim_fault_kind)kind, POOL_PATH, prng_below(&world->prng, 8));
    world_trace(world, "fault of kind %u", kind);
}

/* What the device holds at the end, opened in a world without faults. */
static bool image_is_honest(struct world *world, struct verdict *verdict)
{
    struct image image;
    image_take(world, &image);
    bool ok = trial_run(world, &image, verdict);
    if (!ok) printf("# seed %llu: %s\n", (unsigned long long)world->options.seed, verdict->problem);
    image_free(&image);
    return ok;
}

enum { STORM_ROUNDS = 12, STORM_OPS = 25 };

static bool storm_seed(const struct storm *storm, uint64_t seed, struct verdict *verdict)
{
    struct world *world = world_with_history(seed, 150);
    auto_free uint8_t *records = ops_draw(seed + 77, STORM_ROUNDS * STORM_OPS);
    world->options.trace = getenv("TARN_TEST_TRACE") != NULL;
    world->options.crash = WORLD_CRASH_BOTH;
    world->options.crash_by_op = true;
    world->options.crash_every = UINT32_MAX;
    world->lossy = true;
    for (unsigned r = 0; r < STORM_ROUNDS && !world->failed; r++) {
        strike(world, storm);
        ops_run_only(world, records + (size_t)r * STORM_OPS * OPS_RECORD_BYTES, STORM_OPS);
        if (prng_chance(&world->prng, 1, 4)) sim_heal(world->sim);
    }
    sim_heal(world->sim);
    if (!world->failed) world_drain(world);
    if (!world->failed) world_crash_now(world);
    bool ok = !world->failed;
    if (ok && storm_lies(storm)) {
        verdict->excuse_missing = true;
        ok = image_is_honest(world, verdict);
    } else if (ok) {
        world->lossy = false;
        while (world->crashed && !world->failed)
            world_recover(world);
        if (!world->failed) world_settle(world);
        ok = !world->failed;
    }
    if (world->failed) printf("# seed %llu: %s\n", (unsigned long long)seed, world->failure);
    world_destroy(world);
    return ok;
}

struct storm_row {
    const struct storm *storm;
    uint64_t seed;
};

static bool storm_row(const void *arg)
{
    const struct storm_row *row = arg;
    struct verdict verdict = {0};
    bool ok = storm_seed(row->storm, row->seed, &verdict);
    if (storm_lies(row->storm))
        printf("# seed %llu: %u refused, %u damaged, %u reads failed, %u without effect\n",
               (unsigned long long)row->seed, verdict.refused, verdict.damaged, verdict.errors,
               verdict.clean);
    return ok;
}

static void storm_point(const struct storm *storm)
{
    char name[120];
    bool ok = true;
    for (uint64_t i = 0; ok && i < rows_scaled((unsigned)seed_count); i++) {
        struct storm_row row = {storm, first_seed + i};
        ok = rows_run_child(storm_row, &row, 120) == ROW_GREEN;
        if (!ok)
            printf("# %s; replay: tests/sim/engine_faults %llu 1\n", storm->name,
                   (unsigned long long)row.seed);
    }
    snprintf(name, sizeof name, "%s_lose_nothing_and_are_never_served", storm->name);
    tap_point(name, ok);
}

#ifdef TARN_MUTATIONS
/* The proof that this suite sees anything: an engine that does not compare checksums turns it red.
 */
static void serving_what_was_not_verified_is_noticed(void)
{
    struct storm_row row = {&storms[countof(storms) - 2], first_seed};
    unsigned red = 0;
    check(engine_mutation_set("SERVE_UNVERIFIED"));
    for (uint64_t i = 0; i < 8; i++, row.seed++)
        red += rows_run_child(storm_row, &row, 120) == ROW_RED;
    check(engine_mutation_set("NONE"));
    expect(red >= 4);
}
#endif

int main(int argc, char **argv)
{
    if (argc > 1) text_parse_u64(argv[1], &first_seed);
    if (argc > 2) text_parse_u64(argv[2], &seed_count);
#ifdef TARN_MUTATIONS
    run(serving_what_was_not_verified_is_noticed);
    return tap_done();
#endif
    run(a_flipped_bit_in_any_field_is_never_served);
    for (unsigned i = 0; i < countof(storms); i++)
        storm_point(&storms[i]);
    return tap_done();
}
