/* The check of a pool (E27) while the pool is not idle: it ends, nothing that comes between is a finding, and
 * what is damaged is found all the same. */
#include "engine_rig.h"
#include "timeline/timeline_int.h"

enum { LEAVES = 256 };

/* More leaves than the cache holds, so that a walk over them takes long. */
static void create_wide(struct rig *r, uint64_t seed)
{
    rig_create(r, seed, 4 * GIB, 64 * KIB);
    for (unsigned i = 0; i < LEAVES; i++)
        check(put(r, (uint64_t)i * FORMAT_LEAF_BLOCKS, 2, 1) == STATUS_OK);
}

/* ---- Hosts ----------------------------------------------------------------------------------- */

/* A host that writes to, and unmaps from, one leaf after another, and does not pause. */
struct scribe {
    struct rig *rig;
    struct rt_message message;
    struct volume_io io;
    struct iovec iov;
    uint64_t first_leaf;
    unsigned stride, wrote, refused;
    bool is_told_to_stop, has_stopped;
};

static void scribe_write(struct rt_message *message);

static void scribe_wrote(struct volume_io *io)
{
    struct scribe *s = container_of(io, struct scribe, io);
    s->wrote++;
    if (io->status != STATUS_OK) s->refused++;
    s->has_stopped = s->is_told_to_stop;
    s->message.fn = scribe_write;
    if (!s->has_stopped) rt_post(s->rig->rt, &s->message);
}

static void scribe_write(struct rt_message *message)
{
    struct scribe *s = container_of(message, struct scribe, message);
    uint64_t leaf = s->first_leaf + s->wrote * s->stride % LEAVES;
    s->iov = (struct iovec){.iov_base = memory, .iov_len = BLOCK_BYTES};
    s->io =
        (struct volume_io){.op = s->wrote % 7 == 3 ? VOLUME_UNMAP : VOLUME_WRITE,
                           .sector = (leaf * FORMAT_LEAF_BLOCKS + s->wrote % 3) * SECTORS_PER_BLOCK,
                           .sector_count = SECTORS_PER_BLOCK,
                           .iov = &s->iov,
                           .iov_count = 1,
                           .done = scribe_wrote};
    volume_submit(s->rig->volume, &s->io);
}

static void scribe_begin(struct scribe *s, struct rig *r, uint64_t first_leaf, unsigned stride)
{
    *s = (struct scribe){.rig = r, .first_leaf = first_leaf, .stride = stride};
    s->message.fn = scribe_write;
    rt_post(r->rt, &s->message);
}

static bool scribe_has_stopped(void *arg)
{
    return ((struct scribe *)arg)->has_stopped;
}

static void scribe_end(struct scribe *s)
{
    s->is_told_to_stop = true;
    require(sim_run_until(s->rig->sim, scribe_has_stopped, s, LIMIT_NS));
    expect_eq(s->refused, 0);
}

/* An administrator who cuts a snapshot, deletes it, cuts another one, and so on. */
struct clerk {
    struct rig *rig;
    struct volume_cut_member member;
    struct volume_cut cut;
    struct volume_cut_result result;
    unsigned n, refused;
    bool is_told_to_stop, has_stopped;
};

static void clerk_cut(struct clerk *k);

static void clerk_deleted(void *arg, struct err *e)
{
    struct clerk *k = arg;
    k->refused += e != NULL;
    err_free(e);
    k->has_stopped = k->is_told_to_stop;
    if (!k->has_stopped) clerk_cut(k);
}

static void clerk_has_cut(void *arg, struct err *e)
{
    struct clerk *k = arg;
    k->refused += e != NULL;
    err_free(e);
    volume_point_delete(k->rig->pool, &k->member.point, clerk_deleted, k);
}

static void clerk_cut(struct clerk *k)
{
    k->member = (struct volume_cut_member){
        .disk = k->rig->disk, .point = uuid_of(1000 + k->n++), .kind = VOLUME_POINT_SNAPSHOT};
    k->cut = (struct volume_cut){.set = k->member.point, .member_count = 1, .members = &k->member};
    volume_cut(k->rig->pool, &k->cut, &k->result, clerk_has_cut, k);
}

static bool clerk_has_stopped(void *arg)
{
    return ((struct clerk *)arg)->has_stopped;
}

static void clerk_end(struct clerk *k)
{
    k->is_told_to_stop = true;
    require(sim_run_until(k->rig->sim, clerk_has_stopped, k, LIMIT_NS));
    expect_eq(k->refused, 0);
}

static enum status check_with_report(struct rig *r, struct volume_check_report *ret_report)
{
    volume_pool_check(r->pool, ret_report, call_done, r);
    return finish(r);
}

static void a_check_of_a_pool_whose_hosts_never_pause_ends_and_finds_nothing(void)
{
    for (unsigned seed = 1; seed <= 6; seed++) {
        struct rig r;
        struct scribe warm, cold;
        struct volume_check_report report;
        create_wide(&r, seed);
        require(cut(&r, 2) == STATUS_OK);
        scribe_begin(&warm, &r, 0, 0);
        scribe_begin(&cold, &r, seed % 2 ? LEAVES / 2 : 0, 37);
        unsigned wrote = warm.wrote + cold.wrote;
        for (unsigned i = 0; i < 3; i++) {
            report = (struct volume_check_report){0};
            expect_eq(check_with_report(&r, &report), STATUS_OK);
            expect(report.leaves >= LEAVES);
            expect(warm.wrote + cold.wrote > wrote + 50); /* during this one */
            wrote = warm.wrote + cold.wrote;
        }
        scribe_end(&warm);
        scribe_end(&cold);
        expect_eq(check_with_report(&r, &report), STATUS_OK);
        expect_eq(report.unjudged_leaves, 0);
        rig_destroy(&r);
    }
}

static void a_check_ends_while_snapshots_come_and_go_without_a_pause(void)
{
    for (unsigned seed = 1; seed <= 4; seed++) {
        struct rig r;
        struct scribe s;
        create_wide(&r, 10 + seed);
        struct clerk k = {.rig = &r};
        struct volume_check_report report;
        scribe_begin(&s, &r, 0, 37);
        clerk_cut(&k);
        for (unsigned i = 0; i < 2; i++) {
            unsigned n = k.n;
            expect_eq(check_with_report(&r, &report), STATUS_OK);
            expect(report.leaves >= LEAVES && k.n > n);
        }
        clerk_end(&k);
        scribe_end(&s);
        expect_eq(check_with_report(&r, &report), STATUS_OK);
        expect_eq(report.unjudged_leaves, 0);
        rig_destroy(&r);
    }
}

/* ---- Damage ---------------------------------------------------------------------------------- */

static void a_leaf_that_is_damaged_is_found_under_writes(void)
{
    struct rig r;
    struct scribe s;
    uint64_t leaves[64];
    create_wide(&r, 30);
    require(close_pool(&r) == STATUS_OK);
    unsigned count = find_leaves(&r, leaves);
    for (unsigned i = 0; i < count; i++)
        spoil(&r, leaves[i]);
    require(open_pool(&r, 64 * KIB) == STATUS_OK);
    open_disk(&r);
    scribe_begin(&s, &r, LEAVES, 37); /* new ones: what is damaged is not needed for them */
    expect_eq(check_pool(&r), STATUS_BLOCK_CORRUPT);
    scribe_end(&s);
    expect(s.wrote > 0);
    rig_destroy(&r);
}

static void a_block_that_nobody_owns_is_found_under_writes(void)
{
    struct rig r;
    struct scribe s;
    uint64_t block;
    create_wide(&r, 31);
    scribe_begin(&s, &r, 0, 37);
    expect_eq(check_pool(&r), STATUS_OK);
    require(alloc_take(&tl_pool(r.pool)->alloc, 1, &block) == 1);
    expect_eq(check_pool(&r), STATUS_BLOCK_CORRUPT);
    alloc_give_back(&tl_pool(r.pool)->alloc, block, 1);
    expect_eq(check_pool(&r), STATUS_OK);
    scribe_end(&s);
    rig_destroy(&r);
}

/* After a crash such a block would be given to somebody else. */
static void data_that_the_bitmap_does_not_have_is_found_under_writes(void)
{
    struct rig r;
    struct scribe s;
    create_wide(&r, 32);
    require(put(&r, (uint64_t)2 * LEAVES * FORMAT_LEAF_BLOCKS, 1, 1) == STATUS_OK);
    struct alloc *a = &tl_pool(r.pool)->alloc;
    uint64_t block = a->cursor - 1;
    require(alloc_is_written(a, block)); /* that one's */
    scribe_begin(&s, &r, 0, 37);
    expect_eq(check_pool(&r), STATUS_OK);
    a->written[block / 64] ^= (uint64_t)1 << (block % 64);
    expect_eq(check_pool(&r), STATUS_BLOCK_CORRUPT);
    a->written[block / 64] ^= (uint64_t)1 << (block % 64);
    expect_eq(check_pool(&r), STATUS_OK);
    scribe_end(&s);
    rig_destroy(&r);
}

/* ---- Damage where metadata is stored ----------------------------------------------------------- */

/* Turns a bit of every stored piece of that kind, also of those that nothing names any more. */
static unsigned spoil_all(struct rig *r, uint32_t magic)
{
    unsigned count = 0;
    for (uint64_t block = 0; block < POOL_BYTES / BLOCK_BYTES; block++) {
        uint8_t bytes[4];
        sim_file_peek(r->node, POOL_PATH, block * BLOCK_BYTES, bytes, sizeof bytes);
        if (load_le32(bytes) != magic) continue;
        spoil(r, block);
        count++;
    }
    return count;
}

static void checkpoint(struct rig *r)
{
    volume_pool_checkpoint(r->pool, call_done, r);
    require(finish(r) == STATUS_OK);
}

/* In memory they are as they were: only a restart would meet it.  The next checkpoint writes them anew. */
static void stored_points_that_are_damaged_are_found_under_writes(void)
{
    for (unsigned seed = 33; seed < 37; seed++) {
        struct rig r;
        struct scribe s;
        create_wide(&r, seed);
        for (unsigned i = 0; i < 20; i++)
            require(cut(&r, 100 + i) == STATUS_OK);
        checkpoint(&r);
        scribe_begin(&s, &r, 0, 37);
        expect_eq(check_pool(&r), STATUS_OK);
        expect(spoil_all(&r, FORMAT_SYSTEM_MAGIC) > 0);
        expect_eq(check_pool(&r), STATUS_BLOCK_CORRUPT);
        checkpoint(&r);
        expect_eq(check_pool(&r), STATUS_OK);
        scribe_end(&s);
        rig_destroy(&r);
    }
}

static void stored_pages_and_cached_leaves_that_are_damaged_are_found_under_writes(void)
{
    static const uint32_t magics[] = {FORMAT_DIR_MAGIC, FORMAT_LEAF_MAGIC};
    for (unsigned i = 0; i < countof(magics); i++) {
        struct rig r;
        struct scribe s;
        struct volume *cold;
        struct uuid disk = uuid_of(7);
        struct volume_check_report report = {0};
        rig_create(&r, 40 + i, 4 * GIB, 8 * MIB);
        for (unsigned n = 0; n < 64; n++)
            require(put(&r, (uint64_t)n * FORMAT_LEAF_BLOCKS, 1, 1) == STATUS_OK);
        volume_disk_create(r.pool, &disk, 1 * GIB, call_done, &r);
        require(finish(&r) == STATUS_OK);
        checkpoint(&r);
        require(volume_open(r.pool, &disk, NULL, VOLUME_READ_WRITE, &cold) == NULL);
        struct volume *first = r.volume;
        r.volume = cold; /* the host writes to the other disk only */
        scribe_begin(&s, &r, 0, 37);
        expect_eq(check_with_report(&r, &report), STATUS_OK);
        expect(report.pages > 64 && report.unjudged_pages == 0);
        expect(spoil_all(&r, magics[i]) > 0);
        expect_eq(check_pool(&r), STATUS_BLOCK_CORRUPT);
        scribe_end(&s);
        volume_close(first);
        rig_destroy(&r);
    }
}

/* ---- What else goes on ----------------------------------------------------------------------- */

static struct err *promote_error;
static bool promote_is_done;

static void promoted(struct volume_promotion *job, struct err *e)
{
    (void)job;
    promote_error = e;
    promote_is_done = true;
}

static bool promotion_is_done(void *arg)
{
    (void)arg;
    return promote_is_done;
}

/* It was a promotion whose reads had been slow that was taken for lost blocks. */
static void copies_of_a_promotion_under_way_are_no_finding(void)
{
    struct rig r;
    create_wide(&r, 40);
    for (unsigned after = 0; after < 8; after++) {
        struct uuid point = uuid_of(100 + after), branch = uuid_of(200 + after);
        require(cut(&r, 100 + after) == STATUS_OK);
        volume_branch(r.pool, &point, &branch, call_done, &r);
        require(finish(&r) == STATUS_OK);
        struct volume_promotion job = {.disk = branch, .done = promoted};
        promote_is_done = false;
        sim_node_fault(r.node, SIM_FAULT_SLOW_READ, POOL_PATH, after);
        volume_promote(r.pool, &job);
        for (unsigned i = 0; i < 100 && !promote_is_done; i++)
            expect_eq(check_pool(&r), STATUS_OK);
        require(
            sim_run_until(r.sim, promotion_is_done, NULL, LIMIT_NS)); /* it was not left waiting */
        expect(promote_error == NULL);
        sim_heal(r.sim);
        expect_eq(check_pool(&r), STATUS_OK);
        volume_disk_delete(r.pool, &branch, call_done, &r);
        require(finish(&r) == STATUS_OK);
        require(delete_point(&r, 100 + after) == STATUS_OK);
    }
    rig_destroy(&r);
}

/* Copies that nothing needs any more go when the promotion ends. */
static void what_could_not_be_judged_is_counted(void)
{
    struct rig r;
    struct volume_check_report report = {0};
    struct uuid point = uuid_of(100), branch = uuid_of(200);
    struct volume_promotion job = {.disk = branch, .done = promoted};
    rig_create(&r, 60, 1 * GIB, 4 * MIB);
    for (unsigned i = 0; i < LEAVES; i++)
        require(put(&r, (uint64_t)i * FORMAT_LEAF_BLOCKS, 1, 1) == STATUS_OK);
    require(cut(&r, 100) == STATUS_OK);
    volume_branch(r.pool, &point, &branch, call_done, &r);
    require(finish(&r) == STATUS_OK);
    promote_is_done = false;
    sim_node_fault(r.node, SIM_FAULT_HANG, POOL_PATH, 300); /* by then it has copied some leaves */
    volume_promote(r.pool, &job);
    sim_run_for(r.sim, 10 * RT_SECOND);
    require(!promote_is_done);
    expect_eq(check_with_report(&r, &report), STATUS_OK);
    expect(report.unjudged_leaves > 0 && report.leaves == LEAVES + report.unjudged_leaves);
    sim_heal(r.sim);
    require(sim_run_until(r.sim, promotion_is_done, NULL, LIMIT_NS));
    expect(promote_error == NULL);
    expect_eq(check_with_report(&r, &report), STATUS_OK);
    expect(report.unjudged_leaves == 0 && report.leaves == 2 * LEAVES);
    rig_destroy(&r);
}

static void a_disk_that_goes_during_a_check_is_no_finding(void)
{
    for (unsigned after = 0; after < 10; after++) {
        struct rig r;
        create_wide(&r, 50 + after);
        struct rig other = {.sim = r.sim};
        volume_close(take_ptr(&r.volume));
        volume_pool_check(r.pool, NULL, call_done, &r);
        sim_run_for(r.sim, after * 50 * RT_MS);
        volume_disk_delete(r.pool, &r.disk, call_done, &other);
        require(finish(&other) == STATUS_OK);
        expect_eq(finish(&r), STATUS_OK);
        expect_eq(data_blocks(&r), 0);
        rig_destroy(&r);
    }
}

static void never(void *arg, struct err *e)
{
    (void)arg;
    (void)e;
    expect(false);
}

static void a_pool_that_is_closed_ends_its_check_without_an_answer(void)
{
    for (unsigned after = 0; after < 8; after++) {
        struct rig r;
        create_wide(&r, 70 + after);
        volume_pool_check(r.pool, NULL, never, &r);
        sim_run_for(r.sim, after * 3 * RT_MS);
        expect_eq(close_pool(&r), STATUS_OK);
        require(open_pool(&r, 64 * KIB) == STATUS_OK);
        open_disk(&r);
        expect_eq(check_pool(&r), STATUS_OK);
        rig_destroy(&r);
    }
}

int main(void)
{
    run(a_check_of_a_pool_whose_hosts_never_pause_ends_and_finds_nothing);
    run(a_check_ends_while_snapshots_come_and_go_without_a_pause);
    run(a_leaf_that_is_damaged_is_found_under_writes);
    run(a_block_that_nobody_owns_is_found_under_writes);
    run(data_that_the_bitmap_does_not_have_is_found_under_writes);
    run(stored_points_that_are_damaged_are_found_under_writes);
    run(stored_pages_and_cached_leaves_that_are_damaged_are_found_under_writes);
    run(copies_of_a_promotion_under_way_are_no_finding);
    run(what_could_not_be_judged_is_counted);
    run(a_disk_that_goes_during_a_check_is_no_finding);
    run(a_pool_that_is_closed_ends_its_check_without_an_answer);
    return tap_done();
}
