/* The engine in a simulated world: full pools, failures, old superblocks, locks, paging. */
#include "base/crc32c.h"
#include "engine_rig.h"

/* ---- A full pool ----------------------------------------------------------------------------- */

static void a_full_pool_refuses_new_blocks_and_takes_overwrites(void)
{
    struct rig r;
    struct prng prng;
    prng_init(&prng, 1);
    rig_create(&r, 1, 1 * GIB, 0);
    uint64_t full = fill(&r);
    expect(full > 12000); /* of 15,872 */
    uint64_t more = 0;    /* a leaf of its own costs less than a full one: a few blocks fit there */
    while (more < 16 && put(&r, full + 5000 + more, 1, 1) == STATUS_OK)
        more++;
    expect(more < 16);
    for (unsigned i = 0; i < 3000; i++) { /* six times the recycling reserve (E28) */
        uint64_t block = prng_below(&prng, full);
        require(put(&r, block, 1, i & 0x7f) == STATUS_OK);
        if (i % 100 == 0) expect(has(&r, block, i & 0x7f));
    }
    expect_eq(put(&r, full + 5000 + more, 1, 1), STATUS_POOL_FULL);
    expect_eq(data_blocks(&r), full + more);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

/* As many writers as a host has, each over what is there (E28). */
struct overwriter {
    struct rig *rig;
    struct volume_io io;
    struct iovec iov;
    uint8_t *memory;
    struct prng *prng;
    uint64_t range;
    unsigned left, refused;
};

static void overwrite(struct overwriter *w);

static void overwritten(struct volume_io *io)
{
    struct overwriter *w = container_of(io, struct overwriter, io);
    if (io->status != STATUS_OK) w->refused++;
    w->left--;
    overwrite(w);
}

static void overwrite(struct overwriter *w)
{
    if (w->left == 0) return;
    uint32_t blocks = (uint32_t)(1 + prng_below(w->prng, 16));
    w->iov = (struct iovec){.iov_base = w->memory, .iov_len = (size_t)blocks * BLOCK_BYTES};
    w->io = (struct volume_io){.op = VOLUME_WRITE,
                               .sector = prng_below(w->prng, w->range - 16) * SECTORS_PER_BLOCK,
                               .sector_count = blocks * SECTORS_PER_BLOCK,
                               .iov = &w->iov,
                               .iov_count = 1,
                               .done = overwritten};
    volume_submit(w->rig->volume, &w->io);
}

static bool all_overwritten(void *arg)
{
    struct overwriter *w = arg;
    for (unsigned i = 0; i < 32; i++)
        if (w[i].left) return false;
    return true;
}

static void many_writers_overwrite_a_full_pool_for_long(void)
{
    struct rig r;
    struct prng prng;
    struct overwriter w[32];
    unsigned refused = 0;
    prng_init(&prng, 2);
    rig_create(&r, 41, 1 * GIB, 0);
    uint64_t full = fill(&r);
    for (unsigned i = 0; i < countof(w); i++)
        w[i] = (struct overwriter){
            .rig = &r, .memory = memory, .prng = &prng, .range = full, .left = 500};
    for (unsigned i = 0; i < countof(w); i++)
        overwrite(&w[i]);
    expect(sim_run_until(r.sim, all_overwritten, w, LIMIT_NS)); /* nine times the pool */
    for (unsigned i = 0; i < countof(w); i++)
        refused += w[i].refused;
    expect_eq(refused, 0);
    expect_eq(data_blocks(&r), full);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void deleting_works_on_a_full_pool_and_gives_all_of_it_back(void)
{
    struct rig r;
    rig_create(&r, 2, 1 * GIB, 0);
    for (unsigned i = 0; i < 140; i++)
        require(put(&r, i * 64, 64, 1) == STATUS_OK);
    expect_eq(cut(&r, 10), STATUS_OK);
    uint64_t written = 0;
    while (written < 8960 && put(&r, written, 64, 2) == STATUS_OK)
        written += 64;
    expect(written > 4000 && written < 8960);
    expect_eq(cut(&r, 11), STATUS_OK); /* a cut needs no space that a host could take */
    expect_eq(delete_point(&r, 11), STATUS_OK);
    expect_eq(delete_point(&r, 10), STATUS_OK);
    expect_eq(data_blocks(&r), 8960);
    for (unsigned i = 0; i < 140; i++)
        require(put(&r, i * 64, 64, 3) == STATUS_OK);
    expect_eq(data_blocks(&r), 8960);
    expect_eq(do_io(&r, VOLUME_UNMAP, 0, 8960, 0), STATUS_OK);
    expect_eq(data_blocks(&r), 0);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_disk_that_was_deleted_leaves_nothing_behind(void)
{
    struct rig r;
    rig_create(&r, 3, 256 * MIB, 64 * KIB);
    volume_pool_settle(r.pool, call_done, &r);
    expect_eq(finish(&r), STATUS_OK);
    for (unsigned i = 0; i < 60; i++)
        require(put(&r, i * 1000, 5, 1) == STATUS_OK);
    expect_eq(data_blocks(&r), 300);
    volume_close(take_ptr(&r.volume));
    volume_disk_delete(r.pool, &r.disk, call_done, &r);
    expect_eq(finish(&r), STATUS_OK);
    expect_eq(data_blocks(&r), 0);
    struct volume_pool_usage usage;
    volume_pool_usage(r.pool, &usage);
    expect(usage.metadata_bytes <= 8 * BLOCK_BYTES && !usage.reclaim_pending);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

/* Its space stays lost until a start can read the leaf; nothing waits for that, and no core is busy
 * with it (time stood still here). */
static void a_deleted_disk_of_which_a_leaf_cannot_be_read_keeps_nobody_waiting(void)
{
    struct rig r;
    uint64_t leaves[64];
    rig_create(&r, 23, 64 * MIB, 0);
    require(put(&r, 0, 5, 1) == STATUS_OK && put(&r, FORMAT_LEAF_BLOCKS, 7, 1) == STATUS_OK);
    require(close_pool(&r) == STATUS_OK);
    unsigned count = find_leaves(&r, leaves);
    for (unsigned i = 0; i < count; i++)
        spoil(&r, leaves[i]);
    require(open_pool(&r, 0) == STATUS_OK);
    volume_disk_delete(r.pool, &r.disk, call_done, &r);
    require(finish(&r) == STATUS_OK);
    volume_pool_settle(r.pool, call_done, &r);
    for (unsigned i = 0; i < 100000 && !r.is_done; i++)
        require(sim_step(r.sim));
    require(r.is_done && finish(&r) == STATUS_OK);
    struct volume_pool_usage usage;
    volume_pool_usage(r.pool, &usage);
    expect(usage.data_bytes == 12 * BLOCK_BYTES && !usage.reclaim_pending);

    r.disk = uuid_of(2);
    volume_disk_create(r.pool, &r.disk, 1 * GIB, call_done, &r);
    require(finish(&r) == STATUS_OK);
    open_disk(&r);
    expect(fill(&r) > 8000); /* a full pool says so */
    require(do_io(&r, VOLUME_UNMAP, 0, 20000, 0) == STATUS_OK);

    for (unsigned i = 0; i < count; i++) /* right again */
        spoil(&r, leaves[i]);
    crash(&r, SIM_CRASH_PROCESS);
    require(open_pool(&r, 0) == STATUS_OK);
    expect_eq(data_blocks(&r), 0);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

/* ---- Paging ---------------------------------------------------------------------------------- */

static void more_leaves_than_the_cache_holds_are_paged_and_stay_right(void)
{
    struct rig r;
    rig_create(&r, 4, 1 * GIB, 64 * KIB);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 256; i++)
            require(put(&r, i * 1024 + (i * 37 + round) % 1000, 2, (i + round) & 0x7f) ==
                    STATUS_OK);
    struct volume_pool_counters counters;
    for (unsigned i = 0; i < 256; i++)
        expect(has(&r, i * 1024 + (i * 37 + 2) % 1000, (i + 2) & 0x7f));
    volume_pool_counters(r.pool, &counters);
    expect(counters.leaf_loads > 200 && counters.leaf_writes > 200);
    expect_eq(check_pool(&r), STATUS_OK);
    expect_eq(close_pool(&r), STATUS_OK);
    expect_eq(open_pool(&r, 64 * KIB), STATUS_OK);
    expect(volume_pool_recovery(r.pool)->clean);
    open_disk(&r);
    for (unsigned i = 0; i < 256; i++)
        expect(has(&r, i * 1024 + (i * 37 + 2) % 1000, (i + 2) & 0x7f));
    rig_destroy(&r);
}

static void a_write_does_not_load_its_leaf(void)
{
    struct rig r;
    struct volume_pool_counters before, after;
    rig_create(&r, 5, 1 * GIB, 64 * KIB);
    for (unsigned i = 0; i < 256; i++)
        require(put(&r, i * 1024, 1, 1) == STATUS_OK);
    volume_pool_checkpoint(r.pool, call_done, &r);
    expect_eq(finish(&r), STATUS_OK);
    sim_run_for(r.sim, RT_SECOND);
    volume_pool_counters(r.pool, &before);
    for (unsigned i = 0; i < 16; i++)
        require(put(&r, i * 1024 + 1, 1, 2) == STATUS_OK);
    volume_pool_counters(r.pool, &after);
    expect_eq(after.leaf_loads - before.leaf_loads, 0);
    rig_destroy(&r);
}

/* ---- Superblocks, log, locks ----------------------------------------------------------------- */

static void either_superblock_alone_opens_the_pool(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct rig r;
        rig_create(&r, 6, 64 * MIB, 0);
        require(put(&r, 1, 1, 5) == STATUS_OK);
        volume_pool_checkpoint(r.pool, call_done, &r);
        expect_eq(finish(&r), STATUS_OK);
        require(put(&r, 2, 1, 6) == STATUS_OK);
        volume_pool_checkpoint(r.pool, call_done, &r);
        expect_eq(finish(&r), STATUS_OK);
        require(put(&r, 3, 1, 7) == STATUS_OK);
        expect_eq(do_io(&r, VOLUME_FLUSH, 0, 0, 0), STATUS_OK);
        crash(&r, SIM_CRASH_POWER);
        spoil(&r, i ? FORMAT_SUPER_B : FORMAT_SUPER_A);
        require(open_pool(&r, 0) == STATUS_OK);
        open_disk(&r);
        expect(has(&r, 1, 5) && has(&r, 2, 6) && has(&r, 3, 7));
        expect_eq(check_pool(&r), STATUS_OK);
        rig_destroy(&r);
    }
}

static void no_superblock_is_an_error_that_says_so(void)
{
    struct rig r;
    rig_create(&r, 7, 64 * MIB, 0);
    crash(&r, SIM_CRASH_PROCESS);
    spoil(&r, FORMAT_SUPER_A);
    spoil(&r, FORMAT_SUPER_B);
    expect_eq(open_pool(&r, 0), STATUS_NOT_A_POOL);
    expect(r.pool == NULL);
    rig_destroy(&r);
}

/* E9: flushed batches behind a rotten one are not silently dropped. */
static void a_pool_of_another_format_is_refused_in_plain_words(void)
{
    static const uint64_t slots[] = {FORMAT_SUPER_A, FORMAT_SUPER_B};
    struct rig r;
    uint8_t block[BLOCK_BYTES];
    char text[200];
    rig_create(&r, 8, 64 * MIB, 0);
    crash(&r, SIM_CRASH_PROCESS);
    for (unsigned i = 0; i < countof(slots); i++) {
        sim_file_peek(r.node, POOL_PATH, slots[i] * BLOCK_BYTES, block, sizeof block);
        store_le32(block + 8, FORMAT_VERSION - 1); /* doc/format.md */
        store_le32(block + BLOCK_BYTES - 4, crc32c(0, block, BLOCK_BYTES - 4));
        if (load_le64(block))
            sim_file_poke(r.node, POOL_PATH, slots[i] * BLOCK_BYTES, block, sizeof block);
    }
    volume_pool_open(r.rt, POOL_PATH, NULL, &r.pool, call_done, &r);
    require(sim_run_until(r.sim, is_done, &r, LIMIT_NS));
    expect(strstr(err_text(r.error, text, sizeof text), "format is not the one") != NULL);
    expect_eq(finish(&r), STATUS_FORMAT_VERSION);
    rig_destroy(&r);
}

static void rot_in_the_middle_of_the_log_opens_read_only(void)
{
    struct rig r;
    rig_create(&r, 8, 64 * MIB, 0);
    for (unsigned i = 0; i < 20; i++)
        require(put(&r, i, 1, i) == STATUS_OK);
    expect_eq(do_io(&r, VOLUME_FLUSH, 0, 0, 0), STATUS_OK);
    require(put(&r, 30, 1, 1) == STATUS_OK); /* holds D */
    crash(&r, SIM_CRASH_PROCESS);
    spoil(&r, FORMAT_WAL_START + 8);
    expect_eq(open_pool(&r, 0), STATUS_OK);
    expect_eq(volume_pool_state(r.pool), VOLUME_POOL_DAMAGED);
    expect(strlen(volume_pool_trouble(r.pool)) > 0);
    open_disk(&r);
    expect(has(&r, 1, 1));
    expect_eq(put(&r, 1, 1, 9), STATUS_POOL_DAMAGED);
    expect_eq(cut(&r, 10), STATUS_POOL_DAMAGED);
    expect_eq(close_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_pool_is_opened_once_at_a_time(void)
{
    struct rig r;
    struct volume_pool *second = NULL;
    rig_create(&r, 9, 64 * MIB, 0);
    volume_pool_open(r.rt, POOL_PATH, NULL, &second, call_done, &r);
    expect_eq(finish(&r), STATUS_LOCKED); /* after ten seconds (E15) */
    expect(second == NULL);
    expect_eq(put(&r, 1, 1, 1), STATUS_OK);
    uint64_t asked_ns = rt_now(r.rt);
    struct volume_pool_options at_once = {.lock_at_once = true};
    volume_pool_open(r.rt, POOL_PATH, &at_once, &second, call_done, &r);
    expect_eq(finish(&r), STATUS_LOCKED);
    expect(rt_now(r.rt) - asked_ns < RT_SECOND);
    expect(second == NULL);
    rig_destroy(&r);
}

static void creating_over_something_is_refused_and_changes_nothing(void)
{
    struct rig r;
    struct uuid uuid = uuid_of(50);
    rig_create(&r, 10, 64 * MIB, 0);
    require(put(&r, 1, 1, 3) == STATUS_OK);
    expect_eq(close_pool(&r), STATUS_OK);
    volume_pool_create(r.rt, POOL_PATH, POOL_BYTES, &uuid, NULL, false, NULL, call_done, &r);
    expect_eq(finish(&r), STATUS_EXISTS);
    volume_pool_create(r.rt, "/small", 1 * MIB, &uuid, NULL, false, NULL, call_done, &r);
    expect_eq(finish(&r), STATUS_BAD_REQUEST);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect(has(&r, 1, 3));
    rig_destroy(&r);
}

/* ---- Failures -------------------------------------------------------------------------------- */

static void a_write_that_failed_once_is_repeated(void)
{
    struct rig r;
    rig_create(&r, 11, 64 * MIB, 0);
    sim_node_fault(r.node, SIM_FAULT_WRITE_ERROR, POOL_PATH, 0);
    expect_eq(put(&r, 1, 1, 4), STATUS_OK); /* E5 */
    expect_eq(volume_pool_state(r.pool), VOLUME_POOL_OK);
    expect(has(&r, 1, 4));
    rig_destroy(&r);
}

/* Slot 0 or 1 cannot be read at so many reads of the next open, one after another. */
static void fail_super(struct rig *r, unsigned slot, unsigned times)
{
    for (unsigned i = 0; i < times; i++) /* each counts only the reads that no other has struck */
        sim_node_fault(r->node, SIM_FAULT_READ_ERROR, POOL_PATH, slot + i);
}

/* With its pages given up for the older one's log, it would be the newest again at a later start. */
static void superblock_fails(unsigned slot, unsigned times, unsigned writes)
{
    struct rig r;
    rig_create(&r, 40 + slot, 64 * MIB, 0);
    for (unsigned lap = 1; lap < 6; lap++) {
        require(put(&r, lap * 16, 16, lap) == STATUS_OK);
        volume_pool_checkpoint(r.pool, call_done, &r);
        require(finish(&r) == STATUS_OK);
        require(put(&r, lap * 16, 8, 0x40 + lap) == STATUS_OK);
        require(do_io(&r, VOLUME_FLUSH, 0, 0, 0) == STATUS_OK);
    }
    crash(&r, SIM_CRASH_PROCESS);
    fail_super(&r, slot, times);
    require(open_pool(&r, 0) == STATUS_OK);
    sim_heal(r.sim);
    open_disk(&r);
    for (unsigned i = 0; i < writes; i++) /* to places that were free */
        require(put(&r, 1000 + i * 4, 4, 0x33) == STATUS_OK);
    require(do_io(&r, VOLUME_FLUSH, 0, 0, 0) == STATUS_OK);
    crash(&r, SIM_CRASH_PROCESS);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    for (unsigned lap = 1; lap < 6; lap++)
        expect(has(&r, lap * 16, 0x40 + lap) && has(&r, lap * 16 + 12, lap));
    expect(has(&r, 1000, 0x33) && has(&r, 1000 + writes * 4 - 1, 0x33));
    (void)data_blocks(&r);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_superblock_that_cannot_be_read_once_is_not_passed_over(void)
{
    for (unsigned writes = 1; writes < 200; writes += writes / 2 + 1) {
        superblock_fails(0, 1, writes);
        superblock_fails(1, 1, writes);
    }
}

static void a_superblock_that_cannot_be_read_at_a_start_never_counts_again(void)
{
    for (unsigned writes = 1; writes < 200; writes += writes / 2 + 1) {
        superblock_fails(0, 6, writes);
        superblock_fails(1, 6, writes);
    }
}

/* Two flushes: of the cut and of OPEN. */
static void a_flush_that_fails_while_a_pool_is_opened_is_told_and_harms_nothing(void)
{
    struct rig r;
    rig_create(&r, 17, 64 * MIB, 0);
    require(put(&r, 3, 1, 5) == STATUS_OK && do_io(&r, VOLUME_FLUSH, 0, 0, 0) == STATUS_OK);
    for (unsigned after = 0; after < 2; after++) {
        crash(&r, SIM_CRASH_PROCESS);
        sim_node_fault(r.node, SIM_FAULT_FLUSH_ERROR, POOL_PATH, after);
        expect_eq(open_pool(&r, 0), STATUS_FLUSH_FAILED);
        expect(r.pool == NULL);
        expect_eq(open_pool(&r, 0), STATUS_OK); /* messages go on */
        open_disk(&r);
        expect(has(&r, 3, 5));
    }
    crash(&r, SIM_CRASH_PROCESS);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect(has(&r, 3, 5));
    rig_destroy(&r);
}

static void a_failed_flush_fails_the_pool_and_reads_go_on(void)
{
    struct rig r;
    rig_create(&r, 12, 64 * MIB, 0);
    require(put(&r, 1, 1, 4) == STATUS_OK);
    sim_node_fault(r.node, SIM_FAULT_FLUSH_ERROR, POOL_PATH, 0);
    expect_eq(do_io(&r, VOLUME_FLUSH, 0, 0, 0), STATUS_POOL_FAILED);
    expect_eq(volume_pool_state(r.pool), VOLUME_POOL_FAILED);
    expect_eq(put(&r, 2, 1, 4), STATUS_POOL_FAILED);
    expect_eq(do_io(&r, VOLUME_FLUSH, 0, 0, 0), STATUS_POOL_FAILED);
    expect_eq(cut(&r, 10), STATUS_POOL_FAILED);
    expect(has(&r, 1, 4));
    expect_eq(close_pool(&r), STATUS_POOL_FAILED); /* said once more, and everything is free */
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect(has(&r, 1, 4));
    rig_destroy(&r);
}

/* ---- Behind a batch that cannot be written --------------------------------------------------- */

enum { BEHIND_BLOCKS = 64 }; /* enough for a batch of its own while another is under way */

/* Blocks 1 and 8 to 71 hold 7; block 1 is being written with 5, and the device has refused it once. */
struct behind {
    struct rig r;
    struct tracked_io first, write;
    struct iovec iov[2];
};

static void begin_put(struct behind *b, struct tracked_io *t, uint64_t block, uint32_t blocks, int value)
{
    static uint8_t bytes[2][BEHIND_BLOCKS * BLOCK_BYTES];
    unsigned i = t == &b->write;
    memset(bytes[i], value, sizeof bytes[i]);
    b->iov[i] = (struct iovec){.iov_base = bytes[i], .iov_len = (size_t)blocks * BLOCK_BYTES};
    *t = (struct tracked_io){.io = {.op = VOLUME_WRITE,
                                    .sector = block * SECTORS_PER_BLOCK,
                                    .sector_count = blocks * SECTORS_PER_BLOCK,
                                    .iov = &b->iov[i],
                                    .iov_count = 1,
                                    .done = io_done}};
    volume_submit(b->r.volume, &t->io);
}

/* Until the engine has given the device more to write. */
static void await_writes(struct rig *r)
{
    uint64_t before = sim_node_write_count(r->node);
    while (sim_node_write_count(r->node) == before)
        check(sim_step(r->sim));
}

static void behind_create(struct behind *b, uint64_t seed)
{
    struct rig *r = &b->r;
    *b = (struct behind){0};
    rig_create(r, seed, 64 * MIB, 0);
    check(put(r, 1, 1, 7) == STATUS_OK && put(r, 8, BEHIND_BLOCKS, 7) == STATUS_OK);
    check(do_io(r, VOLUME_FLUSH, 0, 0, 0) == STATUS_OK);
    sim_run_for(r->sim, RT_SECOND); /* at rest */
    sim_node_fault(r->node, SIM_FAULT_WRITE_ERROR, POOL_PATH, 0);
    begin_put(b, &b->first, 1, 1, 5);
    await_writes(r);
    sim_node_fault(r->node, SIM_FAULT_HANG, POOL_PATH, 0); /* for what comes behind it */
}

/* The second and the third try fail too, and the batch goes with its pool.  What is behind it is still
 * in the device, and ends when that works again. */
static void fail_the_first(struct behind *b)
{
    struct rig *r = &b->r;
    await_writes(r);
    check(!b->first.is_done);
    sim_node_fault(r->node, SIM_FAULT_WRITE_ERROR, POOL_PATH, 0);
    sim_node_fault(r->node, SIM_FAULT_WRITE_ERROR, POOL_PATH, 0);
    require(sim_run_until(r->sim, io_is_done, &b->first, RT_SECOND));
    expect_eq(b->first.io.status, STATUS_POOL_FAILED);
    sim_run_for(r->sim, RT_SECOND);
    expect_eq(volume_pool_state(r->pool), VOLUME_POOL_FAILED);
    expect(!b->write.is_done && !r->is_done);
    sim_heal(r->sim);
}

/* A start after it.  True: the first one is there (the device wrote it, and said that it had not). */
static bool behind_look(struct behind *b)
{
    struct rig *r = &b->r;
    crash(r, SIM_CRASH_PROCESS);
    check(open_pool(r, 0) == STATUS_OK);
    open_disk(r);
    bool is_first_there = has(r, 1, 5);
    expect(is_first_there || has(r, 1, 7));
    expect_eq(check_pool(r), STATUS_OK);
    return is_first_there;
}

static void a_write_that_hangs_behind_a_failed_batch_is_not_published(void)
{
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct behind b;
        behind_create(&b, seed);
        begin_put(&b, &b.write, 8, BEHIND_BLOCKS, 9);
        fail_the_first(&b);
        require(sim_run_until(b.r.sim, io_is_done, &b.write, RT_SECOND));
        expect_eq(b.write.io.status, STATUS_POOL_FAILED);
        expect(has(&b.r, 1, 7) && has(&b.r, 8, 7)); /* reads go on */
        bool is_first_there = behind_look(&b);
        lost += !is_first_there;
        for (unsigned i = 0; i < BEHIND_BLOCKS; i++)
            expect(has(&b.r, 8 + i, is_first_there ? 9 : 7)); /* E4: none without those before */
        rig_destroy(&b.r);
    }
    expect(lost > 0);
}

static void a_cut_that_hangs_behind_a_failed_batch_is_not_published(void)
{
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct behind b;
        struct volume_point_info info;
        struct volume_cut_result result;
        struct volume_cut_member member = {.point = uuid_of(10), .kind = VOLUME_POINT_SNAPSHOT};
        struct volume_cut c = {.set = uuid_of(10), .member_count = 1, .members = &member};
        behind_create(&b, seed);
        member.disk = b.r.disk;
        volume_cut(b.r.pool, &c, &result, call_done, &b.r);
        fail_the_first(&b);
        expect_eq(finish(&b.r), STATUS_POOL_FAILED);
        expect(has(&b.r, 1, 7));
        bool is_first_there = behind_look(&b);
        lost += !is_first_there;
        expect_eq(volume_point_find(b.r.pool, &member.point, &info), is_first_there);
        rig_destroy(&b.r);
    }
    expect(lost > 0);
}

/* How many of 16 worlds lose an acknowledged write that nobody flushed, after so long. */
static unsigned lost_after(uint64_t age_ns)
{
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct rig r;
        rig_create(&r, seed, 64 * MIB, 0);
        check(put(&r, 1, 1, 4) == STATUS_OK);
        sim_run_for(r.sim, age_ns);
        crash(&r, SIM_CRASH_POWER);
        check(open_pool(&r, 0) == STATUS_OK);
        open_disk(&r);
        lost += !has(&r, 1, 4);
        rig_destroy(&r);
    }
    return lost;
}

static void what_nobody_flushes_is_durable_soon(void)
{
    expect(lost_after(0) > 0);           /* acknowledged is not durable */
    expect_eq(lost_after(RT_SECOND), 0); /* 200 ms and an fdatasync (E5) */
}

/* ---- Points ---------------------------------------------------------------------------------- */

static void a_cut_behind_its_deadline_cuts_nothing(void)
{
    struct rig r;
    rig_create(&r, 13, 64 * MIB, 0);
    struct volume_cut_member member = {
        .disk = r.disk, .point = uuid_of(10), .kind = VOLUME_POINT_SNAPSHOT};
    struct volume_cut c = {
        .set = uuid_of(10), .deadline_ns = rt_now(r.rt), .member_count = 1, .members = &member};
    struct volume_cut_result result;
    sim_run_for(r.sim, RT_MS);
    volume_cut(r.pool, &c, &result, call_done, &r);
    expect_eq(finish(&r), STATUS_TOO_LATE);
    struct volume_point_info info;
    expect(!volume_point_find(r.pool, &member.point, &info));
    rig_destroy(&r);
}

/* A cut waits for its fdatasync; writers do not wait for the cut (E13, E26). */
static void writers_go_on_while_a_cut_waits_for_its_flush(void)
{
    struct rig r;
    rig_create(&r, 15, 64 * MIB, 0);
    require(put(&r, 1, 1, 3) == STATUS_OK);
    struct volume_cut_member member = {
        .disk = r.disk, .point = uuid_of(10), .kind = VOLUME_POINT_SNAPSHOT};
    struct volume_cut c = {.set = uuid_of(10), .member_count = 1, .members = &member};
    struct volume_cut_result result;
    sim_run_for(r.sim, RT_SECOND);
    sim_node_fault(r.node, SIM_FAULT_HANG, POOL_PATH,
                   1); /* the record is written, the flush hangs */
    volume_cut(r.pool, &c, &result, call_done, &r);
    sim_run_for(r.sim, RT_SECOND);
    for (unsigned i = 0; i < 50; i++)
        expect_eq(put(&r, 1 + i % 5, 1, 50 + i), STATUS_OK);
    expect(!r.is_done);
    sim_heal(r.sim);
    expect_eq(finish(&r), STATUS_OK);
    expect(has(&r, 1, 95));
    struct volume *live = r.volume;
    struct err *e = volume_open(r.pool, NULL, &member.point, VOLUME_READ_ONLY, &r.volume);
    require(!e);
    expect(has(&r, 1, 3));
    volume_close(r.volume);
    r.volume = live;
    rig_destroy(&r);
}

static void branches_are_eight_deep_and_no_deeper(void)
{
    struct rig r;
    rig_create(&r, 14, 64 * MIB, 0);
    require(put(&r, 7, 1, 100) == STATUS_OK);
    for (unsigned depth = 1; depth <= LIMIT_BRANCH_DEPTH + 1; depth++) {
        require(cut(&r, 10 + depth) == STATUS_OK);
        struct uuid point = uuid_of(10 + depth), branch = uuid_of(100 + depth);
        volume_branch(r.pool, &point, &branch, call_done, &r);
        require(finish(&r) == (depth <= LIMIT_BRANCH_DEPTH ? STATUS_OK : STATUS_LIMIT_REACHED));
        if (depth > LIMIT_BRANCH_DEPTH) break;
        volume_close(take_ptr(&r.volume));
        r.disk = branch;
        open_disk(&r);
        require(has(&r, 7, 99 + depth));
        require(put(&r, 7, 1, 100 + depth) == STATUS_OK);
    }
    expect_eq(do_io(&r, VOLUME_UNMAP, 7, 1, 0), STATUS_OK);
    expect(has(&r, 7, 0)); /* the hole hides the parent (E20) */
    expect_eq(data_blocks(&r),
              LIMIT_BRANCH_DEPTH + 1); /* each disk's one; the last is its point's */
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

int main(void)
{
    run(a_full_pool_refuses_new_blocks_and_takes_overwrites);
    run(many_writers_overwrite_a_full_pool_for_long);
    run(deleting_works_on_a_full_pool_and_gives_all_of_it_back);
    run(a_disk_that_was_deleted_leaves_nothing_behind);
    run(a_deleted_disk_of_which_a_leaf_cannot_be_read_keeps_nobody_waiting);
    run(more_leaves_than_the_cache_holds_are_paged_and_stay_right);
    run(a_write_does_not_load_its_leaf);
    run(either_superblock_alone_opens_the_pool);
    run(no_superblock_is_an_error_that_says_so);
    run(a_pool_of_another_format_is_refused_in_plain_words);
    run(rot_in_the_middle_of_the_log_opens_read_only);
    run(a_pool_is_opened_once_at_a_time);
    run(creating_over_something_is_refused_and_changes_nothing);
    run(a_write_that_failed_once_is_repeated);
    run(a_superblock_that_cannot_be_read_once_is_not_passed_over);
    run(a_superblock_that_cannot_be_read_at_a_start_never_counts_again);
    run(a_flush_that_fails_while_a_pool_is_opened_is_told_and_harms_nothing);
    run(a_failed_flush_fails_the_pool_and_reads_go_on);
    run(a_write_that_hangs_behind_a_failed_batch_is_not_published);
    run(a_cut_that_hangs_behind_a_failed_batch_is_not_published);
    run(what_nobody_flushes_is_durable_soon);
    run(a_cut_behind_its_deadline_cuts_nothing);
    run(writers_go_on_while_a_cut_waits_for_its_flush);
    run(branches_are_eight_deep_and_no_deeper);
    return tap_done();
}
