/* The pure parts of the engine: views, reclaim, leaves, log records, superblocks, extents,
 * allocation. */
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/prng.h"
#include "pool/alloc.h"
#include "pool/blob.h"
#include "pool/super.h"
#include "pool/wal.h"
#include "tests/lib/tap.h"
#include "timeline/map.h"
#include "timeline/resolve.h"

static struct version version(uint64_t generation, uint8_t flags, uint8_t stage)
{
    struct version v = {.flags = (uint8_t)(flags | (stage ? VERSION_STAGED : 0))};
    version_set(&v, generation, flags ? 0 : 100000 + generation);
    return v;
}

static int see(const struct version *v, unsigned n, uint64_t generation)
{
    return view_resolve(v, n, &(struct view){.generation = generation});
}

/* ---- Views ----------------------------------------------------------------------------------- */

static void a_view_sees_the_newest_version_not_above_it(void)
{
    struct version v[] = {version(30, 0, 0), version(20, VERSION_HOLE, 0), version(10, 0, 0)};
    expect_eq(see(v, 3, FORMAT_LIVE), 0);
    expect_eq(see(v, 3, 30), 0);
    expect_eq(see(v, 3, 29), 1);
    expect_eq(see(v, 3, 19), 2);
    expect_eq(see(v, 3, 9), RESOLVE_NONE);
    expect_eq(see(v, 0, FORMAT_LIVE), RESOLVE_NONE);
}

static void a_reverted_view_skips_the_abandoned_future(void)
{
    struct version v[] = {version(60, 0, 0), version(40, 0, 0), version(20, 0, 0)};
    struct view_record records[] = {{.c = 50, .p = 30}};
    struct view view = {.generation = FORMAT_LIVE, .records = records, .record_count = 1};
    expect_eq(view_resolve(v, 3, &view), 0);
    expect_eq(view_resolve(v + 1, 2, &view), 1); /* 40 is hidden, 20 is seen */
    view.generation = 49;
    expect_eq(view_resolve(v, 3, &view), 1); /* before the revert 40 was seen */
}

static void undo_of_a_revert_sees_the_future_again(void)
{
    struct version v[] = {version(40, 0, 0), version(20, 0, 0)};
    struct view_record records[] = {{.c = 50, .p = 30}, {.c = 70, .p = 49}};
    struct view view = {.generation = FORMAT_LIVE, .records = records, .record_count = 2};
    expect_eq(view_resolve(v, 2, &view), 0);
    view.generation = 60;
    expect_eq(view_resolve(v, 2, &view), 1);
}

static void a_stage_is_seen_through_its_record_only(void)
{
    struct version v[] = {version(45, 0, 1), version(20, 0, 0)};
    struct view_record records[] = {{.c = 50, .p = 30, .s = 40}};
    struct view view = {.generation = 49, .records = records, .record_count = 1};
    expect_eq(view_resolve(v, 2, &view), 1);
    view.generation = 50;
    expect_eq(view_resolve(v, 2, &view), 0);
}

/* ---- Reclaim --------------------------------------------------------------------------------- */

static void random_versions(struct prng *prng, struct version *v, unsigned *ret_count)
{
    uint64_t generation = 100;
    *ret_count = (unsigned)prng_below(prng, 8);
    for (unsigned i = 0; i < *ret_count; i++) {
        generation -= 1 + prng_below(prng, 12);
        v[i] = version(generation, prng_chance(prng, 1, 4) ? VERSION_HOLE : 0, 0);
    }
}

/* What a view reads: the number of the data block, or 0 for zeroes, or 1 for the parent. */
static uint64_t content(const struct version *v, unsigned n, uint64_t generation,
                        bool falls_through)
{
    int i = see(v, n, generation);
    if (i == RESOLVE_NONE) return falls_through ? 1 : 0;
    return version_phys(&v[i]);
}

static void what_is_not_needed_can_go_without_any_view_noticing(void)
{
    struct prng prng;
    prng_init(&prng, 1);
    for (unsigned round = 0; round < 20000; round++) {
        struct version v[8], kept[8];
        uint64_t points[6];
        unsigned n, kept_count = 0, point_count = (unsigned)prng_below(&prng, 6);
        bool needed[8];
        random_versions(&prng, v, &n);
        uint64_t at = 0;
        for (unsigned i = 0; i < point_count; i++)
            points[i] = at += 1 + prng_below(&prng, 25);
        struct retained retained = {.generations = points,
                                    .count = point_count,
                                    .live = prng_chance(&prng, 9, 10),
                                    .falls_through = prng_chance(&prng, 1, 3)};
        reclaim_needed(v, n, &retained, needed);
        for (unsigned i = 0; i < n; i++)
            if (needed[i]) kept[kept_count++] = v[i];
        for (unsigned i = 0; i <= point_count; i++) {
            uint64_t g = i < point_count ? points[i] : FORMAT_LIVE;
            if (i == point_count && !retained.live) continue;
            require(content(v, n, g, retained.falls_through) ==
                    content(kept, kept_count, g, retained.falls_through));
        }
        /* Nothing too much: each data version kept is what some view reads. */
        for (unsigned i = 0; i < n; i++) {
            bool is_seen = retained.live && see(v, n, FORMAT_LIVE) == (int)i;
            for (unsigned j = 0; j < point_count; j++)
                is_seen = is_seen || see(v, n, points[j]) == (int)i;
            if (!(v[i].flags & VERSION_HOLE)) require(needed[i] == is_seen);
        }
    }
}

static void a_branch_keeps_the_hole_that_hides_its_parent(void)
{
    struct version v[] = {version(20, VERSION_HOLE, 0)};
    bool needed;
    reclaim_needed(v, 1, &(struct retained){.live = true, .falls_through = true}, &needed);
    expect(needed);
    reclaim_needed(v, 1, &(struct retained){.live = true}, &needed);
    expect(!needed);
}

static void reverts_keep_what_either_side_sees(void)
{
    struct version v[] = {version(60, 0, 0), version(40, 0, 0), version(20, 0, 0)};
    struct view_record records[] = {{.c = 50, .p = 30}};
    uint64_t points[] = {49};
    bool needed[3];
    reclaim_needed(
        v, 3,
        &(struct retained){
            .generations = points, .count = 1, .live = true, .records = records, .record_count = 1},
        needed);
    expect(needed[0] && needed[1] && !needed[2]);
    reclaim_needed(v + 1, 2,
                   &(struct retained){.live = true, .records = records, .record_count = 1}, needed);
    expect(!needed[0] && needed[1]);
}

/* ---- Leaves ---------------------------------------------------------------------------------- */

static void a_leaf_survives_its_encoding(void)
{
    struct prng prng;
    prng_init(&prng, 2);
    for (unsigned round = 0; round < 300; round++) {
        struct tl_disk disk = {.id = 7};
        struct leaf a = {.disk = &disk, .index = 5, .state = LEAF_READY}, b = a;
        unsigned writes = (unsigned)prng_below(&prng, 60);
        for (unsigned i = 0; i < writes; i++) {
            unsigned first = (unsigned)prng_below(&prng, FORMAT_LEAF_BLOCKS - 24),
                     count = 1 + (unsigned)prng_below(&prng, 24);
            bool hole = prng_chance(&prng, 1, 5);
            for (unsigned j = 0; j < count; j++)
                leaf_insert(&a, first + j, 10 + i, hole ? 0 : 5000 + 30 * i + j,
                            (uint32_t)prng_u64(&prng) & (hole ? 0 : UINT32_MAX),
                            hole ? VERSION_HOLE : 0);
        }
        uint64_t bytes, applied = 0;
        uint8_t *payload = leaf_encode(&a, 1234, &bytes);
        expect(bytes <= leaf_bytes_for(a.version_count));
        require(leaf_decode(&b, payload, bytes, 1000, 100000, &applied));
        expect_eq(applied, 1234);
        require(a.version_count == b.version_count);
        require(a.version_count == 0 ||
                memcmp(a.versions, b.versions, a.version_count * sizeof *a.versions) == 0);
        struct leaf c = {.disk = &disk, .index = 6, .state = LEAF_READY};
        expect(!leaf_decode(&c, payload, bytes, 1000, 100000, &applied)); /* another place */
        c.index = 5;
        expect(a.version_count == 0 ||
               !leaf_decode(&c, payload, bytes - 1, 1000, 100000, &applied));
        free(payload);
        free(a.versions);
        free(b.versions);
        free(c.versions);
    }
}

static void random_4k_metadata_stays_below_six_tenths_of_a_percent(void)
{
    expect(blob_blocks_for(leaf_bytes_for(FORMAT_LEAF_BLOCKS)) * 1000 <= FORMAT_LEAF_BLOCKS * 6);
}

static void a_leaf_that_was_written_in_order_is_one_block(void)
{
    struct tl_disk disk = {.id = 1};
    struct leaf leaf = {.disk = &disk};
    uint64_t bytes;
    for (unsigned b = 0; b < FORMAT_LEAF_BLOCKS; b++)
        leaf_insert(&leaf, b, 7 + (b + 30) / FORMAT_BATCH_MAX_BLOCKS, 5000 + b, b, 0);
    uint8_t *payload = leaf_encode(&leaf, 7, &bytes);
    expect_eq(blob_blocks_for(bytes), 1);
    free(payload);
    free(leaf.versions);
}

static void changes_are_merged_above_what_the_leaf_contains(void)
{
    struct tl_disk disk = {.id = 1};
    struct leaf leaf = {.disk = &disk, .state = LEAF_DELTA};
    leaf_insert(&leaf, 3, 10, 500, 1, 0);
    leaf_push_op(
        &leaf, &(struct leaf_op){.seq = 10, .generation = 10, .phys = 500, .first = 3, .count = 1});
    leaf_push_op(
        &leaf, &(struct leaf_op){.seq = 20, .generation = 20, .phys = 600, .first = 3, .count = 1});
    leaf_push_op(
        &leaf,
        &(struct leaf_op){.seq = 21, .generation = 10, .first = 3, .count = 1, .is_removal = true});
    leaf_push_op(&leaf, &(struct leaf_op){.seq = 22,
                                          .generation = 22,
                                          .first = 0,
                                          .count = FORMAT_LEAF_BLOCKS,
                                          .flags = VERSION_HOLE});
    leaf_merge_ops(&leaf, 10); /* E11: 10 is in it */
    struct version *v;
    expect_eq(leaf_versions(&leaf, 3, &v), 2);
    expect_eq(version_generation(&v[0]), 22);
    expect_eq(version_generation(&v[1]), 20);
    expect_eq(leaf.version_count, FORMAT_LEAF_BLOCKS + 1);
    free(leaf.versions);
}

/* ---- Log, superblock, extents ---------------------------------------------------------------- */

static void a_batch_survives_its_encoding_and_no_bit_may_turn(void)
{
    uint8_t batch[2 * BLOCK_BYTES];
    struct wal_header h = {.uuid = {{9}},
                           .epoch = 3,
                           .seq = 50,
                           .prev_seq = 49,
                           .durable = 40,
                           .position = 77,
                           .kind = WAL_DATA},
                      g;
    struct buf_writer w = wal_body(batch, sizeof batch);
    struct wal_record insert = {.type = WAL_INSERT,
                                .disk = 4,
                                .lba = FORMAT_LEAF_BLOCKS - 4,
                                .count = 4,
                                .phys = 999},
                      r;
    struct wal_record gone = {
        .type = WAL_REMOVE, .disk = 4, .lba = 1, .count = 2, .phys = 5, .generation = 8};
    uint8_t *crcs = wal_put_insert(&w, &insert);
    memset(crcs, 0x5a, 16);
    wal_put_remove(&w, &gone);
    wal_seal(batch, &w, &h);
    require(wal_decode_header(batch, &h.uuid, &g) && wal_body_is_good(batch, &g));
    expect(g.seq == 50 && g.prev_seq == 49 && g.durable == 40 && g.position == 77 && g.blocks == 1);
    struct buf_reader reader = wal_records(batch, &g);
    require(wal_next(&reader, &r));
    expect(r.type == WAL_INSERT && r.lba == FORMAT_LEAF_BLOCKS - 4 && r.count == 4 && r.phys == 999 &&
           r.crcs[15] == 0x5a);
    require(wal_next(&reader, &r));
    expect(r.type == WAL_REMOVE && r.generation == 8 && r.phys == 5 && r.count == 2);
    expect(!wal_next(&reader, &r) && !reader.failed);
    for (unsigned bit = 0; bit < 8 * (FORMAT_WAL_HEADER_BYTES + g.body_bytes); bit++) {
        batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
        expect(!wal_decode_header(batch, &h.uuid, &g) || !wal_body_is_good(batch, &g));
        batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void a_full_batch_of_overwrites_fits_one_block_of_log(void)
{
    expect(FORMAT_WAL_HEADER_BYTES +
               FORMAT_BATCH_MAX_BLOCKS * (WAL_INSERT_BYTES + 4 + WAL_REMOVE_BYTES) <=
           BLOCK_BYTES);
}

static void a_block_checksum_names_its_place(void)
{
    uint32_t data = crc32c(0, "tarn", 4), crc = wal_block_crc(data, 1, 2, 3);
    expect(crc != wal_block_crc(data, 2, 2, 3) && crc != wal_block_crc(data, 1, 3, 3) &&
           crc != wal_block_crc(data, 1, 2, 4));
}

static void a_superblock_survives_its_encoding_and_no_bit_may_turn(void)
{
    uint8_t block[BLOCK_BYTES];
    struct super s = {.uuid = {{1}},
                      .checkpoint = 5,
                      .size_blocks = 20000,
                      .wal_start = FORMAT_WAL_START,
                      .wal_blocks = 1000,
                      .data_start = FORMAT_WAL_START + 1000,
                      .replay_seq = 7,
                      .durable = 9,
                      .next_seq = 12,
                      .system = {5000, 2, 77}},
                 t;
    super_encode(&s, block);
    require(super_decode(block, 20000, &t) == STATUS_OK);
    expect(t.checkpoint == 5 && t.durable == 9 && t.system.block == 5000 && t.system.crc == 77);
    expect_eq(super_decode(block, 19999, &t), STATUS_NOT_A_POOL); /* a device that shrank */
    for (unsigned bit = 0; bit < 8 * BLOCK_BYTES; bit += 7) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        expect(super_decode(block, 20000, &t) != STATUS_OK);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void a_blob_survives_a_fragmented_pool(void)
{
    struct prng prng;
    prng_init(&prng, 3);
    for (unsigned round = 0; round < 50; round++) {
        struct alloc alloc;
        struct extents list;
        uint64_t bytes = 1 + prng_below(&prng, 600 * KIB), taken;
        alloc_init(&alloc, 100, 2000);
        for (uint64_t b = 100; b < 2000; b += 1 + prng_below(&prng, 20))
            if (round % 2) alloc_take_exact(&alloc, b, 1);
        uint8_t *payload = malloc(bytes), *back = malloc(bytes);
        prng_fill(&prng, payload, bytes);
        uint64_t before = alloc.free_count;
        require(blob_take(&alloc, bytes, &list));
        taken = extents_blocks(&list);
        expect_eq(before - alloc.free_count, taken);
        uint8_t *memory = malloc(taken * BLOCK_BYTES);
        struct blob_ref ref = blob_encode(&list, FORMAT_LEAF_MAGIC, payload, bytes, memory);
        uint64_t at = 0, got = 0;
        for (uint32_t i = 0; i < list.count; i++) {
            const uint8_t *part;
            uint32_t n;
            struct blob_ref next;
            require(ref.block == list.items[i].block &&
                    blob_decode(memory + at, &ref, FORMAT_LEAF_MAGIC, &alloc, &part, &n, &next));
            require(got + n <= bytes);
            memcpy(back + got, part, n);
            got += n;
            at += (uint64_t)ref.blocks * BLOCK_BYTES;
            ref = next;
        }
        expect(ref.block == 0 && got == bytes && memcmp(back, payload, bytes) == 0);
        free(memory);
        free(payload);
        free(back);
        extents_fini(&list);
        alloc_fini(&alloc);
    }
}

/* ---- Allocation ------------------------------------------------------------------------------ */

static void freed_blocks_come_back_in_order_and_not_before_their_time(void)
{
    struct alloc a;
    uint64_t block;
    alloc_init(&a, 10, 74);
    require(alloc_take(&a, 64, &block) == 64 && block == 10);
    expect_eq(alloc_take(&a, 1, &block), 0);
    alloc_queue_push(&a, 10, 4, 100);
    uint64_t mark = a.clock;
    alloc_queue_push(&a, 20, 4, 101);
    expect_eq(alloc_queue_release(&a, 99, UINT64_MAX, NULL, NULL), 0); /* E6 */
    expect_eq(alloc_queue_release(&a, 101, mark, NULL, NULL), 4);      /* E17 */
    expect_eq(alloc_queue_release(&a, 101, UINT64_MAX, NULL, NULL), 4);
    expect_eq(a.free_count, 8);
    alloc_fini(&a);
}

static void allocation_prefers_runs_and_finds_the_last_hole(void)
{
    struct alloc a;
    uint64_t block;
    alloc_init(&a, 0, 100000);
    for (uint64_t b = 0; b < 100000; b += 2)
        if (b < 500 || b >= 516) alloc_take_exact(&a, b, 1);
    expect(alloc_take(&a, 16, &block) >= 15 && block >= 499 && block <= 501);
    uint64_t left = a.free_count;
    while (left > 0) {
        uint32_t n = alloc_take(&a, 64, &block);
        require(n >= 1);
        left -= n;
    }
    expect_eq(a.free_count, 0);
    expect_eq(alloc_take(&a, 1, &block), 0);
    alloc_fini(&a);
}

int main(void)
{
    run(a_view_sees_the_newest_version_not_above_it);
    run(a_reverted_view_skips_the_abandoned_future);
    run(undo_of_a_revert_sees_the_future_again);
    run(a_stage_is_seen_through_its_record_only);
    run(what_is_not_needed_can_go_without_any_view_noticing);
    run(a_branch_keeps_the_hole_that_hides_its_parent);
    run(reverts_keep_what_either_side_sees);
    run(a_leaf_survives_its_encoding);
    run(random_4k_metadata_stays_below_six_tenths_of_a_percent);
    run(a_leaf_that_was_written_in_order_is_one_block);
    run(changes_are_merged_above_what_the_leaf_contains);
    run(a_batch_survives_its_encoding_and_no_bit_may_turn);
    run(a_full_batch_of_overwrites_fits_one_block_of_log);
    run(a_block_checksum_names_its_place);
    run(a_superblock_survives_its_encoding_and_no_bit_may_turn);
    run(a_blob_survives_a_fragmented_pool);
    run(freed_blocks_come_back_in_order_and_not_before_their_time);
    run(allocation_prefers_runs_and_finds_the_last_hole);
    return tap_done();
}
