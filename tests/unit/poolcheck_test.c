/* The check of a pool (E27) while the pool is not idle: nothing that comes between is a finding. */
#include "engine_rig.h"

enum { LEAVES = 256 };

/* More leaves than the cache holds, so that a walk over them takes long. */
static void create_wide(struct rig *r, uint64_t seed)
{
    rig_create(r, seed, 1 * GIB, 64 * KIB);
    for (unsigned i = 0; i < LEAVES; i++)
        check(put(r, (uint64_t)i * FORMAT_LEAF_BLOCKS, 2, 1) == STATUS_OK);
}

/* A host that writes to one leaf after another, with a pause behind each write. */
struct scribe {
    struct rig *rig;
    struct rt_timer timer;
    struct volume_io io;
    struct iovec iov;
    uint64_t pause_ns, first_leaf;
    unsigned left, wrote, refused;
};

static void scribe_write(struct rt_timer *timer);

static void scribe_wrote(struct volume_io *io)
{
    struct scribe *s = container_of(io, struct scribe, io);
    s->wrote++;
    if (io->status != STATUS_OK) s->refused++;
    if (--s->left > 0)
        rt_timer_set(s->rig->rt, &s->timer, rt_now(s->rig->rt) + s->pause_ns, scribe_write);
}

static void scribe_write(struct rt_timer *timer)
{
    struct scribe *s = container_of(timer, struct scribe, timer);
    s->iov = (struct iovec){.iov_base = memory, .iov_len = BLOCK_BYTES};
    s->io = (struct volume_io){.op = VOLUME_WRITE,
                               .sector = (s->first_leaf + s->wrote * 37 % LEAVES) *
                                         FORMAT_LEAF_BLOCKS * SECTORS_PER_BLOCK,
                               .sector_count = SECTORS_PER_BLOCK,
                               .iov = &s->iov,
                               .iov_count = 1,
                               .done = scribe_wrote};
    volume_submit(s->rig->volume, &s->io);
}

static void scribe_begin(struct scribe *s, struct rig *r, unsigned count, uint64_t pause_ns)
{
    *s = (struct scribe){.rig = r, .left = count, .pause_ns = pause_ns};
    rt_timer_set(r->rt, &s->timer, rt_now(r->rt) + pause_ns, scribe_write);
}

static bool scribe_is_done(void *arg)
{
    return ((struct scribe *)arg)->left == 0;
}

/* Its writes come at any moment of a walk; some walks find a long enough pause. */
static void what_a_host_writes_during_a_check_is_no_finding(void)
{
    unsigned during = 0, found_whole = 0;
    for (unsigned seed = 1; seed <= 8; seed++) {
        struct rig r;
        struct scribe s;
        create_wide(&r, seed);
        scribe_begin(&s, &r, 60, seed * 100 * RT_MS);
        for (unsigned i = 0; i < 4 && s.left > 0; i++) {
            enum status status = check_pool(&r);
            if (s.left == 0) break;
            found_whole += status == STATUS_OK;
            expect(status == STATUS_OK || status == STATUS_IN_USE);
        }
        during += s.wrote;
        require(sim_run_until(r.sim, scribe_is_done, &s, LIMIT_NS));
        expect(s.refused == 0);
        expect_eq(check_pool(&r), STATUS_OK);
        rig_destroy(&r);
    }
    expect(during > 100 && found_whole > 5);
}

static void a_pool_that_never_rests_is_called_in_use_and_not_damaged(void)
{
    struct rig r;
    struct scribe s;
    create_wide(&r, 20);
    scribe_begin(&s, &r, 1000000, 8 * RT_MS);
    volume_pool_check(r.pool, call_done, &r);
    require(sim_run_until(r.sim, is_done, &r, LIMIT_NS));
    expect_eq(finish(&r), STATUS_IN_USE);
    expect(s.wrote > 50 && s.refused == 0);
    rig_destroy(&r);
}

static void a_leaf_that_is_damaged_is_found_all_the_same(void)
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
    scribe_begin(&s, &r, 1, 50 * RT_MS);
    s.first_leaf = LEAVES; /* a new one: what is damaged is not needed for it */
    expect_eq(check_pool(&r), STATUS_BLOCK_CORRUPT);
    expect(s.wrote == 1);
    rig_destroy(&r);
}

/* ---- What else goes on ----------------------------------------------------------------------- */

static struct rig *promoting;
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
    promoting = &r;
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

static void a_disk_that_goes_during_a_check_is_no_finding(void)
{
    for (unsigned after = 0; after < 10; after++) {
        struct rig r;
        create_wide(&r, 50 + after);
        struct rig other = {.sim = r.sim};
        volume_close(take_ptr(&r.volume));
        volume_pool_check(r.pool, call_done, &r);
        sim_run_for(r.sim, after * 50 * RT_MS);
        volume_disk_delete(r.pool, &r.disk, call_done, &other);
        require(finish(&other) == STATUS_OK);
        expect_eq(finish(&r), STATUS_OK);
        expect_eq(data_blocks(&r), 0);
        rig_destroy(&r);
    }
}

int main(void)
{
    run(what_a_host_writes_during_a_check_is_no_finding);
    run(a_pool_that_never_rests_is_called_in_use_and_not_damaged);
    run(a_leaf_that_is_damaged_is_found_all_the_same);
    run(copies_of_a_promotion_under_way_are_no_finding);
    run(a_disk_that_goes_during_a_check_is_no_finding);
    return tap_done();
}
