/* Replaces (E19) on a whole engine in the simulated world: a disk takes the content of any view. */
#include "engine_rig.h"

struct replacing {
    struct volume_replacement job;
    struct rig *rig;
    uint64_t progress_bytes, progress_calls;
    uint64_t pause_at_bytes; /* 0: never */
};

static void replaced(struct volume_replacement *job, struct err *e)
{
    call_done(container_of(job, struct replacing, job)->rig, e);
}

static void progressed(struct volume_replacement *job, uint64_t done_bytes, uint64_t total_bytes)
{
    struct replacing *p = container_of(job, struct replacing, job);
    expect(done_bytes >= p->progress_bytes && done_bytes <= total_bytes);
    p->progress_bytes = done_bytes;
    p->progress_calls++;
    if (p->pause_at_bytes && done_bytes >= p->pause_at_bytes) volume_replacement_pause(job, true);
}

static struct volume *view_of(struct volume_pool *pool, unsigned point)
{
    struct uuid uuid = uuid_of(point);
    struct volume *view;
    struct err *e = volume_open(pool, NULL, &uuid, VOLUME_READ_ONLY, &view);
    check(!e);
    return view;
}

static void begin_replace(struct rig *r, struct replacing *p, struct volume *content, unsigned undo)
{
    uint64_t pause_at_bytes = p->pause_at_bytes;
    *p = (struct replacing){.job = {.disk = r->disk,
                                    .undo_point = uuid_of(undo),
                                    .content = content,
                                    .progress = progressed,
                                    .done = replaced},
                            .rig = r,
                            .pause_at_bytes = pause_at_bytes};
    volume_replace(r->pool, &p->job);
}

/* The rig's disk takes the content of a point of its pool. */
static enum status replace(struct rig *r, unsigned point, unsigned undo)
{
    struct replacing p = {0};
    struct volume *content = view_of(r->pool, point);
    begin_replace(r, &p, content, undo);
    enum status status = finish(r);
    volume_close(content);
    return status;
}

static enum status revert(struct rig *r, unsigned point, unsigned undo)
{
    struct uuid to = uuid_of(point), before = uuid_of(undo);
    volume_revert(r->pool, &r->disk, &to, &before, call_done, r);
    return finish(r);
}

/* The rig's disk is another one from now on. */
static void use_disk(struct rig *r, unsigned n)
{
    volume_close(take_ptr(&r->volume));
    r->disk = uuid_of(n);
    open_disk(r);
}

static void make_disk(struct rig *r, unsigned n, uint64_t bytes)
{
    struct uuid uuid = uuid_of(n);
    volume_disk_create(r->pool, &uuid, bytes, call_done, r);
    check(finish(r) == STATUS_OK);
    use_disk(r, n);
}

static void make_branch(struct rig *r, unsigned point, unsigned n)
{
    struct uuid from = uuid_of(point), uuid = uuid_of(n);
    volume_branch(r->pool, &from, &uuid, call_done, r);
    check(finish(r) == STATUS_OK);
    use_disk(r, n);
}

static enum status delete_disk(struct rig *r, unsigned n)
{
    struct uuid uuid = uuid_of(n);
    volume_disk_delete(r->pool, &uuid, call_done, r);
    return finish(r);
}

static bool fill_with(struct rig *r, uint64_t block, uint32_t blocks, unsigned value)
{
    for (uint32_t done = 0; done < blocks; done += 64)
        if (put(r, block + done, min_of(blocks - done, (uint32_t)64), value) != STATUS_OK) return false;
    return true;
}

static bool all_have(struct rig *r, uint64_t block, uint32_t blocks, unsigned value)
{
    for (uint32_t i = 0; i < blocks; i++)
        if (!has(r, block + i, value)) return false;
    return true;
}

static void power_cut(struct rig *r)
{
    crash(r, SIM_CRASH_POWER);
    check(open_pool(r, 0) == STATUS_OK);
    open_disk(r);
}

/* Disk 1 with blocks 0 to 199 = 1, point 10; then 0 to 9 = 2.  Branch 2 of the point: 5 and 100 = 7,
 * 20 a hole, point 20; then 30 = 8. */
static void rig_lineage(struct rig *r, uint64_t seed)
{
    rig_create(r, seed, 64 * MIB, 0);
    check(fill_with(r, 0, 200, 1) && cut(r, 10) == STATUS_OK && put(r, 0, 10, 2) == STATUS_OK);
    make_branch(r, 10, 2);
    check(put(r, 5, 1, 7) == STATUS_OK && put(r, 100, 1, 7) == STATUS_OK);
    check(do_io(r, VOLUME_UNMAP, 20, 1, 0) == STATUS_OK && cut(r, 20) == STATUS_OK);
    check(put(r, 30, 1, 8) == STATUS_OK);
    use_disk(r, 1);
}

static bool is_content_of_branch(struct rig *r)
{
    return all_have(r, 0, 5, 1) && has(r, 5, 7) && all_have(r, 6, 14, 1) && has(r, 20, 0) &&
           all_have(r, 21, 79, 1) && has(r, 100, 7) && has(r, 199, 1) && has(r, 200, 0);
}

static bool is_content_before(struct rig *r)
{
    return all_have(r, 0, 10, 2) && all_have(r, 10, 190, 1) && has(r, 200, 0);
}

static void a_disk_takes_its_branchs_own_content_and_only_that_is_copied(void)
{
    struct rig r;
    rig_lineage(&r, 30);
    expect_eq(data_blocks(&r), 200 + 10 + 3);
    require(replace(&r, 20, 11) == STATUS_OK);
    expect(is_content_of_branch(&r));
    expect_eq(data_blocks(&r), 200 + 10 + 3 + 2); /* the hole takes none */
    expect_eq(check_pool(&r), STATUS_OK);
    power_cut(&r);
    expect(is_content_of_branch(&r));
    require(revert(&r, 11, 12) == STATUS_OK);
    expect(is_content_before(&r));
    require(revert(&r, 12, 13) == STATUS_OK); /* the undo undone */
    expect(is_content_of_branch(&r));
    use_disk(&r, 2);
    expect(has(&r, 5, 7) && has(&r, 30, 8) && has(&r, 0, 1)); /* untouched */
    use_disk(&r, 1);
    require(delete_point(&r, 11) == STATUS_OK && delete_point(&r, 12) == STATUS_OK &&
            delete_point(&r, 13) == STATUS_OK);
    expect(is_content_of_branch(&r));
    expect_eq(data_blocks(&r), 200 + 3 + 2);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_point_of_the_disk_itself_is_taken_without_a_copy(void)
{
    struct rig r;
    rig_lineage(&r, 31);
    require(replace(&r, 10, 11) == STATUS_OK);
    expect(all_have(&r, 0, 200, 1) && has(&r, 200, 0));
    expect_eq(data_blocks(&r), 200 + 10 + 3);
    require(revert(&r, 11, 12) == STATUS_OK);
    expect(is_content_before(&r));
    rig_destroy(&r);
}

/* Disk 1 is at point 15, a replace behind which came reverts and another replace. */
static void nest_further(struct rig *r)
{
    make_branch(r, 15, 3); /* below a replaced disk */
    expect(has(r, 5, 9) && has(r, 6, 1) && has(r, 20, 0) && has(r, 100, 7) && has(r, 200, 0));
    require(put(r, 7, 1, 12) == STATUS_OK && cut(r, 30) == STATUS_OK);
    use_disk(r, 1);
    require(replace(r, 30, 44) == STATUS_OK); /* over a base that is a replace itself */
    expect(has(r, 5, 9) && has(r, 7, 12) && has(r, 20, 0) && has(r, 100, 7) && has(r, 199, 1));
    require(revert(r, 41, 45) == STATUS_OK);
    expect(has(r, 5, 9) && has(r, 6, 9) && has(r, 100, 0));
    require(revert(r, 14, 46) == STATUS_OK);
    expect(is_content_before(r));
    require(revert(r, 44, 47) == STATUS_OK && revert(r, 42, 48) == STATUS_OK);
    expect(all_have(r, 0, 200, 1));
    expect_eq(check_pool(r), STATUS_OK);
    for (unsigned n = 40; n < 49; n++)
        require(delete_point(r, n) == STATUS_OK);
    expect(all_have(r, 0, 200, 1));
    expect_eq(check_pool(r), STATUS_OK);
}

static void replaces_and_reverts_are_exact_in_any_nesting(void)
{
    struct rig r;
    rig_lineage(&r, 32);
    require(cut(&r, 14) == STATUS_OK && replace(&r, 20, 40) == STATUS_OK);
    require(put(&r, 5, 1, 9) == STATUS_OK && cut(&r, 15) == STATUS_OK);
    require(put(&r, 6, 1, 9) == STATUS_OK && do_io(&r, VOLUME_UNMAP, 100, 1, 0) == STATUS_OK);
    require(revert(&r, 10, 41) == STATUS_OK); /* behind a replace, before it */
    expect(all_have(&r, 0, 200, 1));
    require(replace(&r, 20, 42) == STATUS_OK); /* behind a revert */
    expect(is_content_of_branch(&r));
    require(revert(&r, 15, 43) == STATUS_OK); /* into the first replace */
    expect(has(&r, 5, 9) && has(&r, 6, 1) && has(&r, 20, 0) && has(&r, 100, 7));
    power_cut(&r);
    expect(has(&r, 5, 9) && has(&r, 6, 1) && has(&r, 20, 0) && has(&r, 100, 7));
    nest_further(&r);
    rig_destroy(&r);
}

/* ---- Content of other disks ------------------------------------------------------------------- */

/* Disk 5 with some blocks of 9 and a hole between, point 50; the rig's disk is 1 again. */
static void make_other(struct rig *r, uint64_t bytes)
{
    make_disk(r, 5, bytes);
    check(fill_with(r, 10, 90, 9) && fill_with(r, bytes / BLOCK_BYTES - 70, 70, 8));
    check(do_io(r, VOLUME_UNMAP, 50, 3, 0) == STATUS_OK && cut(r, 50) == STATUS_OK);
    check(put(r, 10, 1, 3) == STATUS_OK);
    use_disk(r, 1);
}

static bool is_content_of_other(struct rig *r, uint64_t bytes)
{
    uint64_t end = bytes / BLOCK_BYTES;
    return volume_size_bytes(r->volume) == bytes && has(r, 9, 0) && all_have(r, 10, 40, 9) &&
           all_have(r, 50, 3, 0) && all_have(r, 53, 47, 9) && has(r, 100, 0) &&
           all_have(r, end - 70, 70, 8);
}

static void content_of_another_disk_is_taken_whole_larger_or_smaller(void)
{
    for (unsigned is_larger = 0; is_larger < 2; is_larger++) {
        uint64_t bytes = is_larger ? 100 * MIB : 6 * MIB;
        struct rig r;
        rig_lineage(&r, 33 + is_larger);
        uint64_t before = data_blocks(&r);
        make_other(&r, bytes);
        require(replace(&r, 50, 11) == STATUS_OK);
        expect(is_content_of_other(&r, bytes));
        expect_eq(data_blocks(&r), before + 2 * (90 - 3 + 70) + 1);
        power_cut(&r);
        expect(is_content_of_other(&r, bytes));
        volume_disk_resize(r.pool, &r.disk, 128 * MIB, call_done, &r);
        require(finish(&r) == STATUS_OK);
        expect(has(&r, bytes / BLOCK_BYTES, 0) && has(&r, 3000, 0)); /* nothing old comes up */
        require(revert(&r, 11, 12) == STATUS_OK);
        expect_eq(volume_size_bytes(r.volume), 64 * MIB);
        expect(is_content_before(&r));
        expect_eq(check_pool(&r), STATUS_OK);
        rig_destroy(&r);
    }
}

/* The content does not shine through to the parent where it has nothing. */
static void a_branch_that_was_replaced_reads_its_parent_no_more(void)
{
    struct rig r;
    rig_lineage(&r, 35);
    make_other(&r, 6 * MIB);
    use_disk(&r, 2);
    require(replace(&r, 50, 21) == STATUS_OK);
    expect(is_content_of_other(&r, 6 * MIB));
    require(cut(&r, 22) == STATUS_OK && do_io(&r, VOLUME_UNMAP, 10, 5, 0) == STATUS_OK);
    expect(has(&r, 12, 0) && has(&r, 9, 0) && has(&r, 700, 0));
    require(do_io(&r, VOLUME_FLUSH, 0, 0, 0) == STATUS_OK);
    power_cut(&r);
    expect(has(&r, 12, 0) && has(&r, 9, 0) && has(&r, 700, 0) && has(&r, 60, 9));
    make_branch(&r, 22, 3);
    expect(is_content_of_other(&r, 6 * MIB));
    use_disk(&r, 1);
    require(replace(&r, 22, 11) == STATUS_OK); /* such a branch is copied whole */
    expect(is_content_of_other(&r, 6 * MIB));
    use_disk(&r, 2);
    require(revert(&r, 21, 23) == STATUS_OK);
    expect(has(&r, 0, 1) && has(&r, 5, 7) && has(&r, 20, 0) && has(&r, 30, 8) && has(&r, 150, 1));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static struct rig *promoting;

static void promoted(struct volume_promotion *job, struct err *e)
{
    (void)job;
    call_done(promoting, e);
}

/* What the disk was before was larger than it is now, and read its parent there. */
static void a_promotion_copies_for_points_that_are_larger_than_the_disk(void)
{
    struct rig r;
    struct volume_promotion promotion = {.disk = uuid_of(2), .done = promoted};
    rig_create(&r, 44, 64 * MIB, 0);
    require(fill_with(&r, 5000, 64, 1) && cut(&r, 10) == STATUS_OK);
    make_branch(&r, 10, 2);
    make_other(&r, 6 * MIB);
    use_disk(&r, 2);
    require(replace(&r, 50, 21) == STATUS_OK);
    promoting = &r;
    volume_promote(r.pool, &promotion);
    require(finish(&r) == STATUS_OK);
    volume_split(r.pool, &promotion.disk, call_done, &r);
    require(finish(&r) == STATUS_OK && delete_point(&r, 10) == STATUS_OK);
    expect(is_content_of_other(&r, 6 * MIB));
    require(revert(&r, 21, 22) == STATUS_OK);
    expect(all_have(&r, 5000, 64, 1) && has(&r, 10, 0));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

/* A second pool with a disk 1, on the same device. */
static struct rig make_pool(struct rig *r)
{
    struct rig other = *r;
    struct uuid uuid = uuid_of(98);
    struct volume_pool_options options = {.sparse = true, .wal_bytes = 2 * MIB};
    volume_pool_create(r->rt, "/other", POOL_BYTES, &uuid, &options, false, NULL, call_done, &other);
    check(finish(&other) == STATUS_OK);
    volume_pool_open(r->rt, "/other", &options, &other.pool, call_done, &other);
    check(finish(&other) == STATUS_OK);
    volume_disk_create(other.pool, &other.disk, 64 * MIB, call_done, &other);
    check(finish(&other) == STATUS_OK);
    open_disk(&other);
    return other;
}

static void content_of_another_pool(bool is_own_first)
{
    struct rig r, other;
    struct replacing p = {0};
    rig_lineage(&r, 36);
    other = make_pool(&r);
    make_other(&other, 6 * MIB);
    struct volume *content = view_of(other.pool, 50);
    begin_replace(&r, &p, content, 11);
    require(finish(&r) == STATUS_OK);
    expect(is_content_of_other(&r, 6 * MIB));
    expect_eq(p.progress_bytes, 6 * MIB);
    begin_replace(&r, &p, content, 12);
    for (unsigned i = 0; i < 5; i++)
        expect(sim_step(r.sim));
    sim_node_crash(r.node, SIM_CRASH_POWER); /* in the middle of a read of the other pool */
    if (is_own_first) volume_pool_abandon(take_ptr(&r.pool));
    volume_pool_abandon(take_ptr(&other.pool));
    if (!is_own_first) volume_pool_abandon(take_ptr(&r.pool));
    r.rt = sim_node_boot(r.node);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    expect(is_content_of_other(&r, 6 * MIB));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void content_may_come_from_another_pool(void)
{
    static const bool first[] = {true, false};
    for (unsigned i = 0; i < countof(first); i++)
        content_of_another_pool(first[i]);
}

/* The other pool is given up while the job waits for it: an error, and nothing has changed. */
static void content_that_goes_with_its_pool_ends_the_replace(void)
{
    struct rig r, other;
    struct replacing p = {0};
    rig_lineage(&r, 45);
    uint64_t before = data_blocks(&r);
    other = make_pool(&r);
    make_other(&other, 16 * MIB);
    p.pause_at_bytes = 4 * MIB;
    begin_replace(&r, &p, view_of(other.pool, 50), 11);
    sim_run_for(r.sim, RT_SECOND);
    require(!r.is_done);
    volume_pool_abandon(take_ptr(&other.pool));
    expect_eq(finish(&r), STATUS_POOL_FAILED);
    expect(is_content_before(&r));
    expect_eq(data_blocks(&r), before);
    rig_destroy(&r);
}

/* ---- While it is being staged ----------------------------------------------------------------- */

static void the_disk_goes_on_meanwhile_and_nobody_sees_the_stage(void)
{
    struct rig r;
    struct replacing p = {.pause_at_bytes = 4 * MIB};
    rig_lineage(&r, 37);
    make_other(&r, 16 * MIB);
    struct volume *content = view_of(r.pool, 50);
    begin_replace(&r, &p, content, 11);
    sim_run_for(r.sim, RT_SECOND);
    expect(!r.is_done && p.progress_bytes >= 4 * MIB && p.progress_bytes < 16 * MIB);
    expect(is_content_before(&r));
    require(cut(&r, 13) == STATUS_OK); /* of what it is, not of what it will be */
    require(put(&r, 15, 1, 5) == STATUS_OK && do_io(&r, VOLUME_UNMAP, 16, 1, 0) == STATUS_OK);
    require(revert(&r, 10, 14) == STATUS_OK && put(&r, 17, 1, 6) == STATUS_OK);
    data_blocks(&r); /* a sweep takes nothing of the stage */
    volume_pool_checkpoint(r.pool, call_done, &r);
    require(finish(&r) == STATUS_OK);
    expect_eq(delete_disk(&r, 1), STATUS_IN_USE);
    p.pause_at_bytes = 0;
    volume_replacement_pause(&p.job, false);
    require(finish(&r) == STATUS_OK);
    volume_close(content);
    expect(is_content_of_other(&r, 16 * MIB));
    require(revert(&r, 11, 15) == STATUS_OK);
    expect(has(&r, 17, 6) && has(&r, 15, 1) && has(&r, 0, 1));
    require(revert(&r, 13, 16) == STATUS_OK);
    expect(is_content_before(&r));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void what_was_staged_and_given_up_changes_nothing_and_is_given_back(void)
{
    struct rig r;
    rig_lineage(&r, 38);
    make_other(&r, 16 * MIB);
    uint64_t before = data_blocks(&r);
    for (unsigned way = 0; way < 4; way++) {
        struct replacing p = {.pause_at_bytes = 4 * MIB};
        struct volume *content = view_of(r.pool, 50);
        begin_replace(&r, &p, content, 11);
        sim_run_for(r.sim, RT_SECOND);
        expect(!r.is_done);
        expect_eq(data_blocks(&r), before + 87);
        if (way == 0) {
            volume_replacement_cancel(&p.job);
            expect_eq(finish(&r), STATUS_CANCELLED);
            volume_close(content);
        } else if (way == 1) {
            power_cut(&r);
        } else if (way == 2) {
            crash(&r, SIM_CRASH_PROCESS);
            require(open_pool(&r, 0) == STATUS_OK);
            open_disk(&r);
        } else {
            struct replacing second = {0};
            begin_replace(&r, &second, content, 12);
            expect_eq(finish(&r), STATUS_IN_USE);
            volume_pool_checkpoint(r.pool, call_done, &r);
            require(finish(&r) == STATUS_OK);
            power_cut(&r);
        }
        expect(is_content_before(&r));
        expect_eq(data_blocks(&r), before);
        expect_eq(check_pool(&r), STATUS_OK);
        struct volume_disk_info info;
        expect(volume_disk_find(r.pool, &r.disk, &info) && info.point_count == 1);
    }
    require(replace(&r, 50, 11) == STATUS_OK); /* nothing of those stages is in this one */
    expect(is_content_of_other(&r, 16 * MIB));
    rig_destroy(&r);
}

/* The directory of such a disk has its first page from the stage, at replay: what has it swept must
 * come after that, also when all of the stage is one record. */
static void a_stage_is_given_back_by_a_disk_that_had_nothing_before_a_crash(void)
{
    for (unsigned kind = 0; kind < 2; kind++) {
        struct rig r;
        rig_lineage(&r, 60 + kind);
        make_disk(&r, 5, 16 * MIB);
        require(put(&r, 10, 40, 9) == STATUS_OK && cut(&r, 50) == STATUS_OK);
        make_disk(&r, 6, 16 * MIB);
        uint64_t before = data_blocks(&r);
        struct volume_pool_usage usage;
        struct replacing p = {.pause_at_bytes = 4 * MIB};
        begin_replace(&r, &p, view_of(r.pool, 50), 11);
        sim_run_for(r.sim, RT_SECOND); /* flushed, and no checkpoint has it yet */
        volume_pool_usage(r.pool, &usage);
        require(!r.is_done && usage.data_bytes == (before + 40) * BLOCK_BYTES);
        crash(&r, kind ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        require(open_pool(&r, 0) == STATUS_OK);
        open_disk(&r);
        expect(has(&r, 10, 0) && has(&r, 49, 0));
        expect_eq(data_blocks(&r), before);
        expect_eq(check_pool(&r), STATUS_OK);
        rig_destroy(&r);
    }
}

static void content_that_cannot_be_read_changes_nothing(void)
{
    struct rig r;
    rig_lineage(&r, 46);
    uint64_t before = data_blocks(&r);
    make_other(&r, 16 * MIB);
    before += 87 + 70 + 1;
    sim_node_fault(r.node, SIM_FAULT_READ_ERROR, POOL_PATH, 1); /* the second window */
    expect_eq(replace(&r, 50, 11), STATUS_READ_FAILED);
    expect(is_content_before(&r));
    expect_eq(data_blocks(&r), before);
    expect_eq(check_pool(&r), STATUS_OK);
    require(replace(&r, 50, 11) == STATUS_OK);
    expect(is_content_of_other(&r, 16 * MIB));
    rig_destroy(&r);
}

static void a_pool_that_fails_ends_a_replace_and_is_as_it_was_when_opened_anew(void)
{
    struct rig r;
    struct replacing p = {0};
    rig_lineage(&r, 47);
    make_other(&r, 16 * MIB);
    uint64_t before = data_blocks(&r);
    struct volume *content = view_of(r.pool, 50);
    sim_node_fault(r.node, SIM_FAULT_FLUSH_ERROR, POOL_PATH, 0);
    begin_replace(&r, &p, content, 11);
    expect_eq(finish(&r), STATUS_POOL_FAILED);
    volume_close(content);
    expect(is_content_before(&r));
    expect_eq(close_pool(&r), STATUS_POOL_FAILED);
    require(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    struct volume_point_info info;
    struct uuid undo = uuid_of(11);
    if (volume_point_find(r.pool, &undo, &info)) /* the record may have come to the disk */
        expect(is_content_of_other(&r, 16 * MIB));
    else
        expect(is_content_before(&r) && data_blocks(&r) == before);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void closing_the_pool_ends_a_replace_first(void)
{
    struct rig r, other;
    struct replacing p = {.pause_at_bytes = 4 * MIB};
    rig_lineage(&r, 39);
    make_other(&r, 16 * MIB);
    other = make_pool(&r);
    volume_close(take_ptr(&other.volume));
    struct volume *content = view_of(r.pool, 50);
    begin_replace(&other, &p, content, 11);
    sim_run_for(r.sim, RT_SECOND);
    require(!other.is_done);
    volume_pool_close(other.pool, call_done, &r);
    sim_run_for(r.sim, RT_SECOND);
    expect_eq(finish(&other), STATUS_CANCELLED);
    expect_eq(finish(&r), STATUS_OK);
    volume_close(content);
    rig_destroy(&r);
}

static void a_full_pool_refuses_the_copy_and_is_as_it_was(void)
{
    struct rig r;
    rig_create(&r, 40, 64 * MIB, 0);
    require(put(&r, 3, 1, 3) == STATUS_OK);
    make_disk(&r, 5, 64 * MIB);
    require(fill_with(&r, 0, 8192, 9) && cut(&r, 50) == STATUS_OK); /* half of the pool */
    uint64_t before = data_blocks(&r);
    use_disk(&r, 1);
    expect_eq(replace(&r, 50, 11), STATUS_POOL_FULL);
    expect(has(&r, 3, 3) && has(&r, 4, 0));
    expect_eq(data_blocks(&r), before);
    require(put(&r, 4, 1, 4) == STATUS_OK);
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static unsigned full_count;

static bool wait_when_full(struct volume_replacement *job)
{
    (void)job;
    full_count++;
    return true;
}

static void a_full_pool_is_waited_for_with_what_was_staged(void)
{
    struct rig r;
    struct replacing p;
    rig_create(&r, 44, 64 * MIB, 0);
    require(put(&r, 3, 1, 3) == STATUS_OK);
    make_disk(&r, 6, 64 * MIB);
    require(fill_with(&r, 0, 5120, 8)); /* 20 MiB to be given back later */
    make_disk(&r, 5, 64 * MIB);
    require(fill_with(&r, 0, 5120, 9) && cut(&r, 50) == STATUS_OK);
    use_disk(&r, 1);
    full_count = 0;
    struct volume *content = view_of(r.pool, 50);
    p = (struct replacing){.job = {.disk = r.disk,
                                   .undo_point = uuid_of(11),
                                   .content = content,
                                   .progress = progressed,
                                   .full = wait_when_full,
                                   .done = replaced},
                           .rig = &r};
    volume_replace(r.pool, &p.job);
    sim_run_for(r.sim, 30 * RT_SECOND);
    require(full_count == 1 && !r.is_done);
    expect(p.progress_bytes > 2 * MIB);
    volume_replacement_pause(&p.job, false); /* there is none yet */
    sim_run_for(r.sim, 30 * RT_SECOND);
    expect_eq(full_count, 2);
    uint64_t copied = p.progress_bytes;
    expect(has(&r, 3, 3) && has(&r, 4, 0));
    require(delete_disk(&r, 6) == STATUS_OK);
    expect_eq(p.progress_bytes, copied);
    volume_replacement_pause(&p.job, false); /* goes on there: progressed() */
    expect_eq(finish(&r), STATUS_OK);
    volume_close(content);
    expect(all_have(&r, 0, 5120, 9));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void replaces_without_end_are_fine_when_their_undo_points_go(void)
{
    struct rig r;
    rig_create(&r, 41, 64 * MIB, 0);
    require(fill_with(&r, 0, 64, 1));
    for (unsigned i = 0; i < 2 * LIMIT_REVERTS_PER_DISK; i++) { /* test, keep what was tested */
        require(cut(&r, 100) == STATUS_OK);
        make_branch(&r, 100, 2000 + i);
        require(put(&r, i % 64, 1, 1 + i % 100) == STATUS_OK && cut(&r, 101) == STATUS_OK);
        use_disk(&r, 1);
        require(replace(&r, 101, 102) == STATUS_OK);
        require(delete_point(&r, 101) == STATUS_OK && delete_disk(&r, 2000 + i) == STATUS_OK);
        require(delete_point(&r, 100) == STATUS_OK && delete_point(&r, 102) == STATUS_OK);
        require(has(&r, i % 64, 1 + i % 100));
        if (i % 100 == 99) expect_eq(data_blocks(&r), 64);
    }
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

static void a_replace_that_makes_no_sense_is_refused_and_changes_nothing(void)
{
    struct rig r;
    struct replacing p = {0};
    rig_lineage(&r, 42);
    struct volume *content = view_of(r.pool, 20);
    begin_replace(&r, &p, content, 10);
    expect_eq(finish(&r), STATUS_EXISTS);
    begin_replace(&r, &p, NULL, 11);
    expect_eq(finish(&r), STATUS_BAD_REQUEST);
    begin_replace(&r, &p, r.volume, 11); /* it changes */
    expect_eq(finish(&r), STATUS_BAD_REQUEST);
    r.disk = uuid_of(77);
    begin_replace(&r, &p, content, 11);
    expect_eq(finish(&r), STATUS_NOT_FOUND);
    r.disk = uuid_of(1);
    p = (struct replacing){.job = {.disk = r.disk, .content = content, .done = replaced}, .rig = &r};
    volume_replace(r.pool, &p.job); /* an undo point without a name */
    expect_eq(finish(&r), STATUS_BAD_REQUEST);
    expect(is_content_before(&r));
    rig_destroy(&r);
}

/* Its holes hide nothing for itself any more, and go: they must not be missed in the stage. */
static void a_branch_that_is_split_off_meanwhile_ends_the_replace(void)
{
    struct rig r, beside;
    struct replacing p = {.pause_at_bytes = 1};
    struct volume_promotion promotion = {.disk = uuid_of(2), .done = promoted};
    rig_lineage(&r, 48);
    use_disk(&r, 2);
    require(do_io(&r, VOLUME_UNMAP, 150, 1, 0) == STATUS_OK && cut(&r, 21) == STATUS_OK);
    require(delete_point(&r, 20) == STATUS_OK);
    use_disk(&r, 1);
    struct volume *content = view_of(r.pool, 21);
    begin_replace(&r, &p, content, 11);
    sim_run_for(r.sim, RT_SECOND);
    require(!r.is_done); /* block 150 is not staged yet */
    beside = r;
    promoting = &beside;
    volume_promote(r.pool, &promotion);
    require(finish(&beside) == STATUS_OK);
    volume_split(r.pool, &promotion.disk, call_done, &beside);
    require(finish(&beside) == STATUS_OK);
    data_blocks(&beside);
    p.pause_at_bytes = 0;
    volume_replacement_pause(&p.job, false);
    expect_eq(finish(&r), STATUS_CONFLICT);
    expect(is_content_before(&r));
    volume_close(content);
    require(replace(&r, 21, 11) == STATUS_OK);
    expect(has(&r, 5, 7) && has(&r, 150, 0) && has(&r, 149, 1));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

/* The base of the content was deleted and nothing hangs on it any more. */
static void a_base_that_goes_while_its_branch_is_split_off_ends_the_replace(void)
{
    struct rig r;
    struct replacing p = {.pause_at_bytes = 1};
    struct volume_promotion promotion = {.disk = uuid_of(2), .done = promoted};
    struct rig beside = {0};
    rig_lineage(&r, 43);
    uint64_t before = data_blocks(&r);
    struct volume *content = view_of(r.pool, 20);
    begin_replace(&r, &p, content, 11);
    sim_run_for(r.sim, RT_SECOND);
    require(!r.is_done);
    beside = r;
    promoting = &beside;
    volume_promote(r.pool, &promotion);
    require(finish(&beside) == STATUS_OK);
    volume_split(r.pool, &promotion.disk, call_done, &beside);
    require(finish(&beside) == STATUS_OK);
    require(delete_point(&beside, 10) == STATUS_OK);
    p.pause_at_bytes = 0;
    volume_replacement_pause(&p.job, false);
    expect_eq(finish(&r), STATUS_CONFLICT);
    expect(is_content_before(&r));
    expect_eq(data_blocks(&r), before - 10 + 197); /* the branch's copies; nothing staged */
    volume_close(content);
    require(replace(&r, 20, 11) == STATUS_OK); /* by a whole copy */
    expect(is_content_of_branch(&r));
    expect_eq(check_pool(&r), STATUS_OK);
    rig_destroy(&r);
}

int main(void)
{
    run(a_disk_takes_its_branchs_own_content_and_only_that_is_copied);
    run(a_point_of_the_disk_itself_is_taken_without_a_copy);
    run(replaces_and_reverts_are_exact_in_any_nesting);
    run(content_of_another_disk_is_taken_whole_larger_or_smaller);
    run(a_branch_that_was_replaced_reads_its_parent_no_more);
    run(a_promotion_copies_for_points_that_are_larger_than_the_disk);
    run(content_may_come_from_another_pool);
    run(content_that_goes_with_its_pool_ends_the_replace);
    run(the_disk_goes_on_meanwhile_and_nobody_sees_the_stage);
    run(what_was_staged_and_given_up_changes_nothing_and_is_given_back);
    run(a_stage_is_given_back_by_a_disk_that_had_nothing_before_a_crash);
    run(content_that_cannot_be_read_changes_nothing);
    run(a_pool_that_fails_ends_a_replace_and_is_as_it_was_when_opened_anew);
    run(closing_the_pool_ends_a_replace_first);
    run(a_full_pool_refuses_the_copy_and_is_as_it_was);
    run(a_full_pool_is_waited_for_with_what_was_staged);
    run(replaces_without_end_are_fine_when_their_undo_points_go);
    run(a_replace_that_makes_no_sense_is_refused_and_changes_nothing);
    run(a_branch_that_is_split_off_meanwhile_ends_the_replace);
    run(a_base_that_goes_while_its_branch_is_split_off_ends_the_replace);
    return tap_done();
}
