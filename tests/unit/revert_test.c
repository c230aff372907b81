/* Reverts, promotion and split (E19, E20) on a whole engine in the simulated world. */
#include "engine_rig.h"

/* ---- Reverts (E19) --------------------------------------------------------------------------- */

static void begin_revert(struct rig *r, unsigned point, unsigned undo)
{
    struct uuid to = uuid_of(point), before = uuid_of(undo);
    volume_revert(r->pool, &r->disk, &to, &before, call_done, r);
}

static enum status revert(struct rig *r, unsigned point, unsigned undo)
{
    begin_revert(r, point, undo);
    return finish(r);
}

struct heard {
    struct volume_watch watch;
    unsigned events;
};

static void hear(struct volume_watch *watch, unsigned events)
{
    container_of(watch, struct heard, watch)->events |= events;
}

static void begin_write(struct rig *r, struct tracked_io *t, struct iovec *iov, uint64_t block,
                        uint8_t bytes[BLOCK_BYTES])
{
    *iov = (struct iovec){.iov_base = bytes, .iov_len = BLOCK_BYTES};
    *t = (struct tracked_io){.io = {.op = VOLUME_WRITE,
                                    .sector = block * SECTORS_PER_BLOCK,
                                    .sector_count = SECTORS_PER_BLOCK,
                                    .iov = iov,
                                    .iov_count = 1,
                                    .done = io_done}};
    volume_submit(r->volume, &t->io);
}

static void what_is_under_way_comes_before_a_revert_and_what_is_later_behind_it(void)
{
    static uint8_t bytes[2][BLOCK_BYTES];
    struct rig r;
    struct tracked_io before, behind;
    struct iovec iov[2];
    struct heard heard = {.watch.fn = hear};
    rig_create(&r, 15, 64 * MIB, 0);
    volume_watch_add(r.volume, &heard.watch);
    require(put(&r, 1, 1, 1) == STATUS_OK && put(&r, 2, 1, 1) == STATUS_OK &&
            cut(&r, 10) == STATUS_OK);
    memset(bytes[0], 2, BLOCK_BYTES);
    memset(bytes[1], 3, BLOCK_BYTES);
    begin_write(&r, &before, &iov[0], 1, bytes[0]);
    sim_step(r.sim); /* admitted, and on its way */
    begin_revert(&r, 10, 11);
    begin_write(&r, &behind, &iov[1], 2, bytes[1]);
    require(finish(&r) == STATUS_OK && sim_run_until(r.sim, io_is_done, &behind, LIMIT_NS));
    expect(before.is_done && before.io.status == STATUS_OK && behind.io.status == STATUS_OK);
    expect_eq(heard.events, VOLUME_EVENT_CONTENT);
    expect(has(&r, 2, 3));
    require(revert(&r, 11, 12) == STATUS_OK);
    expect(has(&r, 2, 1)); /* it came behind the undo point */
    require(revert(&r, 12, 13) == STATUS_OK);
    expect(has(&r, 2, 3));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_revert_brings_the_size_back_and_refuses_what_no_longer_fits(void)
{
    static uint8_t bytes[BLOCK_BYTES];
    struct rig r;
    struct tracked_io late;
    struct iovec iov;
    struct heard heard = {.watch.fn = hear};
    rig_create(&r, 16, 4 * MIB, 0);
    require(put(&r, 5, 1, 1) == STATUS_OK && cut(&r, 10) == STATUS_OK);
    volume_disk_resize(r.pool, &r.disk, 8 * MIB, call_done, &r);
    require(finish(&r) == STATUS_OK && put(&r, 1500, 1, 2) == STATUS_OK);
    volume_watch_add(r.volume, &heard.watch);
    begin_revert(&r, 10, 11);
    begin_write(&r, &late, &iov, 1500, bytes);
    require(finish(&r) == STATUS_OK && sim_run_until(r.sim, io_is_done, &late, LIMIT_NS));
    expect_eq(late.io.status, STATUS_OUT_OF_RANGE);
    expect_eq(heard.events, VOLUME_EVENT_CONTENT | VOLUME_EVENT_SIZE);
    expect_eq(volume_size_bytes(r.volume), 4 * MIB);
    crash(&r, SIM_CRASH_POWER);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect_eq(volume_size_bytes(r.volume), 4 * MIB);
    volume_disk_resize(r.pool, &r.disk, 8 * MIB, call_done, &r);
    require(finish(&r) == STATUS_OK);
    expect(has(&r, 5, 1) && has(&r, 1500, 0)); /* what was there belongs to the undo point only */
    require(revert(&r, 11, 12) == STATUS_OK);
    expect_eq(volume_size_bytes(r.volume), 8 * MIB);
    expect(has(&r, 1500, 2));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void an_abandoned_future_is_given_back_with_its_undo_point(void)
{
    enum { LEAVES = 60 };
    struct rig r;
    rig_create(&r, 17, 1 * GIB, 64 * KIB);
    for (unsigned i = 0; i < LEAVES; i += 2)
        require(put(&r, (uint64_t)i * FORMAT_LEAF_BLOCKS, 1, 1) == STATUS_OK);
    require(cut(&r, 10) == STATUS_OK);
    for (unsigned i = 0; i < LEAVES; i++)
        require(put(&r, (uint64_t)i * FORMAT_LEAF_BLOCKS, 1, 2) == STATUS_OK);
    expect_eq(data_blocks(&r), LEAVES / 2 + LEAVES);
    require(revert(&r, 10, 11) == STATUS_OK);
    expect_eq(data_blocks(&r), LEAVES / 2 + LEAVES);
    expect_eq(close_pool(&r), STATUS_OK); /* nothing of it is in memory any more */
    require(open_pool(&r, 64 * KIB) == STATUS_OK);
    open_disk(&r);
    require(delete_point(&r, 11) == STATUS_OK);
    expect_eq(data_blocks(&r), LEAVES / 2);
    for (unsigned i = 0; i < LEAVES; i++)
        expect(has(&r, (uint64_t)i * FORMAT_LEAF_BLOCKS, i % 2 ? 0 : 1));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void reverts_without_end_are_fine_when_their_undo_points_go(void)
{
    struct rig r;
    unsigned done = 0;
    rig_create(&r, 18, 64 * MIB, 0);
    require(put(&r, 3, 1, 1) == STATUS_OK && cut(&r, 10) == STATUS_OK);
    for (unsigned i = 0; i < 2 * LIMIT_REVERTS_PER_DISK; i++) {
        require(put(&r, 3 + i % 5, 1, 2) == STATUS_OK && revert(&r, 10, 11) == STATUS_OK);
        require(delete_point(&r, 11) == STATUS_OK);
        if (i % 50 == 0) expect_eq(data_blocks(&r), 1);
    }
    expect_eq(data_blocks(&r), 1);
    while (revert(&r, 10, 1000 + done) == STATUS_OK)
        done++;
    expect_eq(done, LIMIT_REVERTS_PER_DISK);
    expect_eq(revert(&r, 10, 5000), STATUS_LIMIT_REACHED);
    for (unsigned i = 0; i < done; i++)
        require(delete_point(&r, 1000 + i) == STATUS_OK);
    expect_eq(data_blocks(&r), 1);
    expect_eq(revert(&r, 10, 5000), STATUS_OK);
    expect(has(&r, 3, 1));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_revert_that_makes_no_sense_is_refused_and_changes_nothing(void)
{
    struct rig r;
    struct uuid other = uuid_of(2), point = uuid_of(10), undo = uuid_of(11), nil = {{0}};
    rig_create(&r, 19, 64 * MIB, 0);
    require(put(&r, 1, 1, 1) == STATUS_OK && cut(&r, 10) == STATUS_OK &&
            put(&r, 1, 1, 2) == STATUS_OK);
    volume_disk_create(r.pool, &other, 64 * MIB, call_done, &r);
    require(finish(&r) == STATUS_OK);
    volume_revert(r.pool, &other, &point, &undo, call_done, &r);
    expect_eq(finish(&r), STATUS_BAD_REQUEST);
    volume_revert(r.pool, &r.disk, &point, &nil, call_done, &r);
    expect_eq(finish(&r), STATUS_BAD_REQUEST);
    expect_eq(revert(&r, 10, 10), STATUS_EXISTS);
    expect_eq(revert(&r, 77, 11), STATUS_NOT_FOUND);
    expect(has(&r, 1, 2));
    struct volume_disk_info info;
    expect(volume_disk_find(r.pool, &r.disk, &info) && info.point_count == 1);
    rig_destroy(&r);
}

/* A host met the leaf that cannot be read, then the sweep passed it: what it hides (E19) must not
 * come to light when the leaf can be read again. */
static void what_was_abandoned_stays_hidden_in_a_leaf_that_cannot_be_read(void)
{
    struct rig r;
    uint64_t leaves[64];
    rig_create(&r, 24, 64 * MIB, 0);
    require(put(&r, 1, 1, 1) == STATUS_OK && cut(&r, 10) == STATUS_OK);
    require(put(&r, 1, 1, 2) == STATUS_OK && put(&r, 2, 1, 2) == STATUS_OK);
    require(revert(&r, 10, 11) == STATUS_OK && close_pool(&r) == STATUS_OK);
    unsigned count = find_leaves(&r, leaves);
    for (unsigned i = 0; i < count; i++)
        spoil(&r, leaves[i]);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect_eq(do_io(&r, VOLUME_READ, 1, 1, 0), STATUS_BLOCK_CORRUPT);
    expect_eq(delete_point(&r, 11), STATUS_OK);
    data_blocks(&r);                     /* the sweep is over, and durable */
    for (unsigned i = 0; i < count; i++) /* right again */
        spoil(&r, leaves[i]);
    crash(&r, SIM_CRASH_PROCESS);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect(has(&r, 1, 1) && has(&r, 2, 0));
    expect_eq(data_blocks(&r), 1);
    expect(has(&r, 1, 1) && has(&r, 2, 0));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

/* ---- Promote and split (E20) ----------------------------------------------------------------- */

struct promoting {
    struct volume_promotion job;
    struct rig *rig;
    uint64_t progress_bytes;
};

static void promoted(struct volume_promotion *job, struct err *e)
{
    call_done(container_of(job, struct promoting, job)->rig, e);
}

static void progressed(struct volume_promotion *job, uint64_t done_bytes, uint64_t total_bytes)
{
    struct promoting *p = container_of(job, struct promoting, job);
    expect(done_bytes >= p->progress_bytes && done_bytes <= total_bytes);
    p->progress_bytes = done_bytes;
}

static void begin_promote(struct rig *r, struct promoting *p)
{
    *p = (struct promoting){.job = {.disk = r->disk, .progress = progressed, .done = promoted},
                            .rig = r};
    volume_promote(r->pool, &p->job);
}

static enum status split(struct rig *r)
{
    volume_split(r->pool, &r->disk, call_done, r);
    return finish(r);
}

/* The rig's disk becomes a branch (uuid 2) of a disk with blocks 0 to 199 = 1. */
static void rig_branch(struct rig *r, uint64_t seed)
{
    struct uuid point = uuid_of(10), branch = uuid_of(2);
    rig_create(r, seed, 64 * MIB, 0);
    for (unsigned i = 0; i < 4; i++)
        check(put(r, i * 50, 50, 1) == STATUS_OK);
    check(cut(r, 10) == STATUS_OK);
    volume_branch(r->pool, &point, &branch, call_done, r);
    check(finish(r) == STATUS_OK);
    volume_close(take_ptr(&r->volume));
    r->disk = branch;
    open_disk(r);
}

static void a_promoted_branch_is_a_disk_of_its_own(void)
{
    struct rig r;
    struct promoting p;
    struct volume_disk_info info;
    struct uuid parent = uuid_of(1);
    rig_branch(&r, 20);
    require(put(&r, 10, 1, 2) == STATUS_OK && cut(&r, 20) == STATUS_OK &&
            put(&r, 20, 1, 2) == STATUS_OK);
    require(do_io(&r, VOLUME_UNMAP, 30, 1, 0) == STATUS_OK);
    expect_eq(split(&r), STATUS_CONFLICT);
    begin_promote(&r, &p);
    require(finish(&r) == STATUS_OK);
    expect_eq(p.progress_bytes, 64 * MIB);
    expect_eq(split(&r), STATUS_OK);
    expect(volume_disk_find(r.pool, &r.disk, &info) && info.depth == 0);
    require(delete_point(&r, 10) == STATUS_OK);
    volume_disk_delete(r.pool, &parent, call_done, &r);
    require(finish(&r) == STATUS_OK);
    expect(has(&r, 10, 2) && has(&r, 20, 2) && has(&r, 30, 0) && has(&r, 199, 1) &&
           has(&r, 200, 0));
    expect_eq(data_blocks(&r),
              201); /* block 20 twice: its point has the copy; not 10, and 30 is kept so too */
    expect_eq(revert(&r, 20, 21), STATUS_OK);
    expect(has(&r, 10, 2) && has(&r, 20, 1) && has(&r, 30, 1));
    crash(&r, SIM_CRASH_POWER);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect(has(&r, 10, 2) && has(&r, 20, 1) && has(&r, 30, 1) && has(&r, 199, 1));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_promotion_can_be_paused_cancelled_and_begun_again(void)
{
    struct rig r;
    struct promoting p;
    rig_branch(&r, 21);
    begin_promote(&r, &p);
    volume_promotion_pause(&p.job, true);
    sim_run_for(r.sim, RT_SECOND);
    expect(!r.is_done);
    struct promoting second;
    second = (struct promoting){.job = {.disk = r.disk, .done = promoted}, .rig = &r};
    volume_promote(r.pool, &second.job);
    expect_eq(finish(&r), STATUS_IN_USE);
    volume_promotion_cancel(&p.job);
    expect_eq(finish(&r), STATUS_CANCELLED);
    expect_eq(split(&r), STATUS_CONFLICT);
    begin_promote(&r, &p);
    for (unsigned i = 0; i < 200; i += 3) /* beside it */
        require(put(&r, i, 1, 5) == STATUS_OK);
    require(r.is_done || sim_run_until(r.sim, is_done, &r, LIMIT_NS));
    require(finish(&r) == STATUS_OK && split(&r) == STATUS_OK);
    for (unsigned i = 0; i < 200; i++)
        expect(has(&r, i, i % 3 ? 1 : 5));
    expect_eq(data_blocks(&r), 400); /* both have their own, and nothing twice */
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_split_waits_for_nothing_but_reads_and_survives_a_power_cut(void)
{
    struct rig r;
    struct promoting p;
    rig_branch(&r, 22);
    begin_promote(&r, &p);
    require(finish(&r) == STATUS_OK && split(&r) == STATUS_OK);
    crash(&r, SIM_CRASH_POWER);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    struct volume_disk_info info;
    expect(volume_disk_find(r.pool, &r.disk, &info) && info.depth == 0);
    expect(has(&r, 0, 1) && has(&r, 199, 1));
    expect_eq(data_blocks(&r), 400);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

int main(void)
{
    run(what_is_under_way_comes_before_a_revert_and_what_is_later_behind_it);
    run(a_revert_brings_the_size_back_and_refuses_what_no_longer_fits);
    run(an_abandoned_future_is_given_back_with_its_undo_point);
    run(reverts_without_end_are_fine_when_their_undo_points_go);
    run(a_revert_that_makes_no_sense_is_refused_and_changes_nothing);
    run(what_was_abandoned_stays_hidden_in_a_leaf_that_cannot_be_read);
    run(a_promoted_branch_is_a_disk_of_its_own);
    run(a_promotion_can_be_paused_cancelled_and_begun_again);
    run(a_split_waits_for_nothing_but_reads_and_survives_a_power_cut);
    return tap_done();
}
