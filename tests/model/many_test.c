/* Many: 4,096 snapshots of a disk, branches 8 deep, 1,000 disks and a set of 256 of them. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/prng.h"
#include "tests/lib/tap.h"
#include "tests/lib/tell.h"
#include "tests/model/pool_rig.h"

enum { KIND_DISK = 1, KIND_POINT, KIND_SET };

/* ---- 4,096 snapshots ------------------------------------------------------------------------- */

enum { POINTS = LIMIT_POINTS_PER_DISK, BLOCKS = 4096, WRITES = 8 };

/* contents[p][b]: what block b was at point p; the last row is the live disk. */
static uint32_t (*contents)[BLOCKS];
static bool is_deleted[POINTS];
static struct pool_rig many;
static struct uuid disk_uuid;

static struct uuid point_uuid(unsigned p)
{
    return pool_rig_uuid(KIND_POINT, p);
}

static bool point_reads_right(unsigned p, unsigned first, unsigned count, unsigned step)
{
    struct uuid uuid = point_uuid(p);
    struct volume *volume = pool_rig_open(&many, NULL, &uuid);
    bool right = true;
    for (unsigned i = 0; i < count; i++) {
        unsigned block = (first + i * step) % BLOCKS;
        right = right && pool_rig_read(&many, volume, block) == contents[p][block];
    }
    volume_close(volume);
    return right;
}

/* Every block is in the pool as often as retained points and the live disk see it differently. */
static uint64_t blocks_needed(void)
{
    uint64_t needed = 0;
    for (unsigned b = 0; b < BLOCKS; b++) {
        uint32_t last = 0;
        for (unsigned p = 0; p <= POINTS; p++) {
            if (p < POINTS && is_deleted[p]) continue;
            if (contents[p][b] != last) needed++;
            last = contents[p][b];
        }
    }
    return needed;
}

static void the_disk_takes_4096_snapshots(void)
{
    struct prng prng;
    uint32_t value = 0, live[BLOCKS] = {0};
    prng_init(&prng, 4);
    contents = calloc(POINTS + 1, sizeof *contents);
    check(contents != NULL);
    pool_rig_init(&many, 512 * MIB, 32 * MIB, 0);
    disk_uuid = pool_rig_uuid(KIND_DISK, 0);
    pool_rig_disk(&many, &disk_uuid, BLOCKS * BLOCK_BYTES);
    struct volume *volume = pool_rig_open(&many, &disk_uuid, NULL);
    double begin = seconds_now();
    for (unsigned p = 0; p <= POINTS; p++) {
        for (unsigned i = 0; i < WRITES; i++) {
            unsigned block = (unsigned)prng_below(&prng, BLOCKS);
            live[block] = ++value;
            pool_rig_write(&many, volume, block, value);
        }
        memcpy(contents[p], live, sizeof live);
        struct uuid uuid = point_uuid(p);
        if (p < POINTS) require(pool_rig_cut_status(&many, &disk_uuid, &uuid) == STATUS_OK);
    }
    tell("cuts of a disk, with 8 writes between two", POINTS, begin);
    volume_close(volume);
    struct volume_disk_info info;
    require(volume_disk_find(many.pool, &disk_uuid, &info));
    expect_eq(info.point_count, POINTS);
}

static void one_more_is_refused_and_changes_nothing(void)
{
    struct uuid uuid = point_uuid(POINTS);
    struct volume_disk_info info;
    struct volume_point_info point;
    expect_eq(pool_rig_cut_status(&many, &disk_uuid, &uuid), STATUS_LIMIT_REACHED);
    expect(strstr(many.text, "4096 points") != NULL);
    expect(!volume_point_find(many.pool, &uuid, &point));
    require(volume_disk_find(many.pool, &disk_uuid, &info));
    expect_eq(info.point_count, POINTS);
}

static void every_snapshot_reads_as_it_was_taken(void)
{
    double begin = seconds_now();
    unsigned wrong = 0;
    for (unsigned p = 0; p < POINTS; p++)
        if (!point_reads_right(p, p * 37, 4, 1021)) wrong++;
    tell("snapshots opened and read in 4 places", POINTS, begin);
    for (unsigned p = 0; p < POINTS; p += 1365)
        if (!point_reads_right(p, 0, BLOCKS, 1)) wrong++;
    expect_eq(wrong, 0);
}

static void reading_does_not_grow_with_snapshots(void)
{
    struct volume_pool_counters before, after;
    struct uuid oldest = point_uuid(0);
    struct volume *volume = pool_rig_open(&many, NULL, &oldest);
    volume_pool_counters(many.pool, &before);
    for (unsigned b = 0; b < BLOCKS; b += 16)
        pool_rig_read(&many, volume, b);
    volume_pool_counters(many.pool, &after);
    volume_close(volume);
    expect_eq(after.lookup_steps - before.lookup_steps, BLOCKS / 16);
}

static void space_is_exact_with_all_of_them(void)
{
    double begin = seconds_now();
    struct volume_pool_usage usage = pool_rig_rest(&many);
    expect_eq(usage.data_bytes / BLOCK_BYTES, blocks_needed());
    expect(pool_rig_is_exact(&many));
    tell("snapshots settled and checked", POINTS, begin);
}

static void a_restart_knows_them_all(void)
{
    double begin = seconds_now();
    pool_rig_reopen(&many, 0);
    tell("snapshots closed and opened again", POINTS, begin);
    struct volume_disk_info info;
    require(volume_disk_find(many.pool, &disk_uuid, &info));
    expect_eq(info.point_count, POINTS);
    unsigned wrong = 0;
    for (unsigned p = 0; p < POINTS; p += 7)
        if (!point_reads_right(p, p * 11, 2, 2039)) wrong++;
    expect_eq(wrong, 0);
}

static void half_of_them_go_in_random_order(void)
{
    struct prng prng;
    unsigned left = POINTS / 2, wrong = 0;
    prng_init(&prng, 5);
    double begin = seconds_now();
    while (left > 0) {
        unsigned p = (unsigned)prng_below(&prng, POINTS);
        if (is_deleted[p]) continue;
        struct uuid uuid = point_uuid(p);
        pool_rig_delete_point(&many, &uuid);
        is_deleted[p] = true;
        left--;
    }
    tell("random snapshots deleted", POINTS / 2, begin);
    begin = seconds_now();
    struct volume_pool_usage usage = pool_rig_rest(&many);
    tell("deletions swept", POINTS / 2, begin);
    expect_eq(usage.data_bytes / BLOCK_BYTES, blocks_needed());
    expect(pool_rig_is_exact(&many));
    for (unsigned p = 0; p < POINTS; p++)
        if (!is_deleted[p] && !point_reads_right(p, p * 53, 2, 1531)) wrong++;
    expect_eq(wrong, 0);
}

static void without_any_only_the_live_disk_is_left(void)
{
    for (unsigned p = 0; p < POINTS; p++) {
        if (is_deleted[p]) continue;
        struct uuid uuid = point_uuid(p);
        pool_rig_delete_point(&many, &uuid);
        is_deleted[p] = true;
    }
    struct volume_pool_usage usage = pool_rig_rest(&many);
    expect_eq(usage.data_bytes / BLOCK_BYTES, blocks_needed());
    expect(usage.reclaiming_bytes <= 64 * KIB); /* pages that the older superblock names */
    expect(pool_rig_is_exact(&many));
    struct volume *volume = pool_rig_open(&many, &disk_uuid, NULL);
    unsigned wrong = 0;
    for (unsigned b = 0; b < BLOCKS; b++)
        if (pool_rig_read(&many, volume, b) != contents[POINTS][b]) wrong++;
    expect_eq(wrong, 0);
    volume_close(volume);
    pool_rig_delete_disk(&many, &disk_uuid);
    usage = pool_rig_rest(&many);
    expect_eq(usage.data_bytes, 0);
    pool_rig_fini(&many);
    free(contents);
}

/* ---- Branches 8 deep ------------------------------------------------------------------------- */

enum { DEPTH = LIMIT_BRANCH_DEPTH, BRANCH_BLOCKS = 256 };

/* Level n writes the blocks whose number has a remainder of n by 10; blocks of 9 are nobody's. */
static void write_level(struct pool_rig *r, unsigned level, uint32_t base)
{
    struct uuid disk = pool_rig_uuid(KIND_DISK, level);
    struct volume *volume = pool_rig_open(r, &disk, NULL);
    for (unsigned b = level; b < BRANCH_BLOCKS; b += 10)
        pool_rig_write(r, volume, b, base + b);
    volume_close(volume);
}

static unsigned wrong_at_level(struct pool_rig *r, unsigned level, uint32_t own_base)
{
    struct uuid disk = pool_rig_uuid(KIND_DISK, level);
    struct volume *volume = pool_rig_open(r, &disk, NULL);
    unsigned wrong = 0;
    for (unsigned b = 0; b < BRANCH_BLOCKS; b++) {
        unsigned writer = b % 10;
        uint32_t expected = writer > level    ? 0
                            : writer == level ? own_base + b
                                              : 1000 * (writer + 1) + b;
        if (pool_rig_read(r, volume, b) != expected) wrong++;
    }
    volume_close(volume);
    return wrong;
}

static void branches_go_8_deep_and_no_deeper(void)
{
    struct pool_rig r;
    struct volume_disk_info info;
    double begin = seconds_now();
    pool_rig_init(&r, 128 * MIB, 0, 0);
    struct uuid disk = pool_rig_uuid(KIND_DISK, 0), point;
    pool_rig_disk(&r, &disk, BRANCH_BLOCKS * BLOCK_BYTES);
    for (unsigned level = 0; level <= DEPTH; level++) {
        disk = pool_rig_uuid(KIND_DISK, level);
        point = pool_rig_uuid(KIND_POINT, level);
        write_level(&r, level, 1000 * (level + 1));
        require(pool_rig_cut_status(&r, &disk, &point) == STATUS_OK);
        write_level(&r, level, 500000); /* behind the point: no branch sees it */
        if (level == DEPTH) break;
        disk = pool_rig_uuid(KIND_DISK, level + 1);
        require(pool_rig_branch_status(&r, &point, &disk) == STATUS_OK);
    }
    require(volume_disk_find(r.pool, &disk, &info));
    expect_eq(info.depth, DEPTH);
    disk = pool_rig_uuid(KIND_DISK, DEPTH + 1);
    expect_eq(pool_rig_branch_status(&r, &point, &disk), STATUS_LIMIT_REACHED);
    expect(strstr(r.text, "8 deep") != NULL);
    expect(!volume_disk_find(r.pool, &disk, &info));
    for (unsigned level = 0; level <= DEPTH; level++)
        expect_eq(wrong_at_level(&r, level, 500000), 0);
    pool_rig_reopen(&r, 0);
    expect_eq(wrong_at_level(&r, DEPTH, 500000), 0);
    for (unsigned level = DEPTH + 1; level-- > 0;) {
        disk = pool_rig_uuid(KIND_DISK, level);
        point = pool_rig_uuid(KIND_POINT, level);
        pool_rig_delete_point(&r, &point);
        pool_rig_delete_disk(&r, &disk);
    }
    expect_eq(pool_rig_rest(&r).data_bytes, 0);
    expect(pool_rig_is_exact(&r));
    pool_rig_fini(&r);
    tell("levels of branches made, read and removed", DEPTH, begin);
}

/* ---- 1,000 disks ----------------------------------------------------------------------------- */

enum { DISKS = 1000, MEMBERS = LIMIT_SET_MEMBERS, PER_DISK = 2 };

static struct volume_cut_member members[MEMBERS + 1];

/* Writes that are under way when the set is cut. */
struct racing {
    struct volume_io io;
    struct iovec iov;
    uint8_t memory[BLOCK_BYTES];
    bool is_done;
};
static struct racing racing[64];

static void racing_done(struct volume_io *io)
{
    container_of(io, struct racing, io)->is_done = true;
}

static bool racing_is_over(void *arg)
{
    for (unsigned i = 0; i < 64; i++)
        if (!racing[i].is_done) return false;
    return true;
}

static void race(struct sim *sim, struct volume **volumes)
{
    for (unsigned i = 0; i < 64; i++) {
        struct racing *w = &racing[i];
        memset(w->memory, 0x77, sizeof w->memory);
        w->is_done = false;
        w->iov = (struct iovec){.iov_base = w->memory, .iov_len = BLOCK_BYTES};
        w->io = (struct volume_io){.op = VOLUME_WRITE,
                                   .sector = 0,
                                   .sector_count = SECTORS_PER_BLOCK,
                                   .iov = &w->iov,
                                   .iov_count = 1,
                                   .done = racing_done};
        volume_submit(volumes[i * 4], &w->io);
        if (i == 31) sim_run_for(sim, RT_MS); /* the others are still on their way */
    }
}

static uint32_t disk_value(unsigned d, unsigned b)
{
    return d * PER_DISK + b + 1;
}

static void make_disks(struct pool_rig *r, struct volume **volumes)
{
    double begin = seconds_now();
    for (unsigned d = 0; d < DISKS; d++) {
        struct uuid uuid = pool_rig_uuid(KIND_DISK, d);
        pool_rig_disk(r, &uuid, 16 * GIB);
        volumes[d] = pool_rig_open(r, &uuid, NULL);
        for (unsigned b = 0; b < PER_DISK; b++)
            pool_rig_write(r, volumes[d], b * 100000, disk_value(d, b));
        if (d < MEMBERS + 1)
            members[d] = (struct volume_cut_member){
                .disk = uuid, .point = pool_rig_uuid(KIND_POINT, d), .kind = VOLUME_POINT_SNAPSHOT};
    }
    tell("disks of 16 GiB made, opened and written in 2 places", DISKS, begin);
}

static void a_set_over_256_of_1000_disks_is_one_instant(void)
{
    static struct volume *volumes[DISKS];
    struct pool_rig r;
    struct volume_cut cut = {
        .set = pool_rig_uuid(KIND_SET, 0), .member_count = MEMBERS + 1, .members = members};
    struct volume_cut_result result;
    struct volume_pool_usage before;
    unsigned wrong = 0, old = 0;
    pool_rig_init(&r, 256 * MIB, 0, 0);
    make_disks(&r, volumes);
    volume_cut(r.pool, &cut, &result, pool_rig_done, &r);
    expect_eq(pool_rig_wait(&r), STATUS_BAD_REQUEST);
    expect(strstr(r.text, "256") != NULL);
    before = pool_rig_rest(&r);
    expect_eq(before.data_bytes / BLOCK_BYTES, DISKS * PER_DISK);
    cut.member_count = MEMBERS;
    race(r.sim, volumes);
    double begin = seconds_now();
    uint64_t begin_ns = sim_now(r.sim);
    volume_cut(r.pool, &cut, &result, pool_rig_done, &r);
    require(pool_rig_wait(&r) == STATUS_OK);
    tell("disks cut as one set", MEMBERS, begin);
    printf("# in simulated time: %.2f ms\n", (double)(sim_now(r.sim) - begin_ns) / 1e6);
    require(sim_run_until(r.sim, racing_is_over, NULL, 10 * RT_SECOND));
    for (unsigned d = 0; d < MEMBERS; d++) {
        struct volume_point_info info;
        struct volume *volume = pool_rig_open(&r, NULL, &members[d].point);
        require(volume_point_find(r.pool, &members[d].point, &info));
        uint32_t first = pool_rig_read(&r, volume, 0);
        bool was_racing = d % 4 == 0 && d / 4 < 64;
        if (first == disk_value(d, 0))
            old++;
        else if (!was_racing || first != 0x77777777)
            wrong++;
        if (pool_rig_read(&r, volume, 100000) != disk_value(d, 1)) wrong++;
        if (info.generation != result.generation) wrong++;
        volume_close(volume);
    }
    expect_eq(wrong, 0);
    printf("# %u of 64 racing writes were before the cut\n", MEMBERS - old);
    begin = seconds_now();
    for (unsigned d = 0; d < MEMBERS; d++)
        pool_rig_delete_point(&r, &members[d].point);
    for (unsigned d = 0; d < DISKS; d++) {
        struct uuid uuid = pool_rig_uuid(KIND_DISK, d);
        volume_close(volumes[d]);
        if (d % 2) pool_rig_delete_disk(&r, &uuid);
    }
    struct volume_pool_usage after = pool_rig_rest(&r);
    tell("disks deleted and swept", DISKS / 2, begin);
    expect_eq(after.data_bytes / BLOCK_BYTES, DISKS / 2 * PER_DISK);
    begin = seconds_now();
    pool_rig_reopen(&r, 0);
    tell("disks closed and opened again", DISKS / 2, begin);
    expect(pool_rig_is_exact(&r));
    pool_rig_fini(&r);
}

int main(void)
{
    run(the_disk_takes_4096_snapshots);
    run(one_more_is_refused_and_changes_nothing);
    run(every_snapshot_reads_as_it_was_taken);
    run(reading_does_not_grow_with_snapshots);
    run(space_is_exact_with_all_of_them);
    run(a_restart_knows_them_all);
    run(half_of_them_go_in_random_order);
    run(without_any_only_the_live_disk_is_left);
    run(branches_go_8_deep_and_no_deeper);
    run(a_set_over_256_of_1000_disks_is_one_instant);
    return tap_done();
}
