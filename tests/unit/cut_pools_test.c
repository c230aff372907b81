/* Cuts over several pools, and the watch of a pool's space, in the simulated world: what is
 * refused, what ends a cut, and what stays behind (E22, E23). */
#include <stdlib.h>

#include "base/endian.h"
#include "tests/lib/memvol.h"
#include "tests/lib/tap.h"
#include "tests/sim/sim.h"
#include "volume/volume.h"

enum { POOLS = 3, BLOCKS = 8 };
#define LIMIT_NS (600 * RT_SECOND)
#define POOL_BYTES (64 * MIB)

struct pools {
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct volume_pool *pool[POOLS];
    struct volume *volume[POOLS];
    struct volume_cut_part parts[POOLS];
    struct volume_cut_member members[POOLS];
    struct err *error;
    bool is_done;
};

static struct uuid uuid_of(unsigned kind, unsigned number)
{
    struct uuid uuid = {{5}};
    store_le32(uuid.bytes + 4, kind);
    store_le32(uuid.bytes + 8, number);
    return uuid;
}
enum { POOL, DISK, SET, POINT };

static void call_done(void *arg, struct err *e)
{
    struct pools *p = arg;
    p->is_done = true;
    p->error = e;
}

static bool is_done(void *arg)
{
    return ((struct pools *)arg)->is_done;
}

static enum status finish(struct pools *p)
{
    check(sim_run_until(p->sim, is_done, p, LIMIT_NS));
    enum status status = err_status(p->error);
    err_free(take_ptr(&p->error));
    p->is_done = false;
    return status;
}

static const char *path_of(unsigned i)
{
    static const char *const paths[] = {"/pool-0", "/pool-1", "/pool-2"};
    return paths[i];
}

static void open_pool(struct pools *p, unsigned i)
{
    volume_pool_open(p->rt, path_of(i), NULL, &p->pool[i], call_done, p);
    check(finish(p) == STATUS_OK && volume_pool_state(p->pool[i]) == VOLUME_POOL_OK);
}

static void open_disk(struct pools *p, unsigned i)
{
    struct uuid disk = uuid_of(DISK, i);
    struct err *e = volume_open(p->pool[i], &disk, NULL, VOLUME_READ_WRITE, &p->volume[i]);
    check(!e);
}

static void pools_init(struct pools *p, uint64_t seed)
{
    *p = (struct pools){.sim = sim_create(&(struct sim_options){.seed = seed})};
    p->node = sim_node_create(p->sim, "server");
    p->rt = sim_node_boot(p->node);
    for (unsigned i = 0; i < POOLS; i++) {
        struct uuid uuid = uuid_of(POOL, i), disk = uuid_of(DISK, i);
        struct volume_pool_options options = {.sparse = true, .wal_bytes = 2 * MIB};
        volume_pool_create(p->rt, path_of(i), POOL_BYTES, &uuid, &options, false, NULL, call_done,
                           p);
        check(finish(p) == STATUS_OK);
        open_pool(p, i);
        volume_disk_create(p->pool[i], &disk, 32 * MIB, call_done, p);
        check(finish(p) == STATUS_OK);
        open_disk(p, i);
    }
}

static void crash(struct pools *p, enum sim_crash kind)
{
    sim_node_crash(p->node, kind);
    for (unsigned i = 0; i < POOLS; i++) {
        if (p->pool[i]) volume_pool_abandon(take_ptr(&p->pool[i]));
        p->volume[i] = NULL;
    }
    err_free(take_ptr(&p->error));
    p->is_done = false;
}

static void start_again(struct pools *p)
{
    p->rt = sim_node_boot(p->node);
    for (unsigned i = 0; i < POOLS; i++) {
        open_pool(p, i);
        open_disk(p, i);
    }
}

static void pools_fini(struct pools *p)
{
    crash(p, SIM_CRASH_PROCESS);
    sim_destroy(p->sim);
}

/* Fills in parts[0..count) of the set of that number. */
static void describe(struct pools *p, struct volume_cut_part *parts,
                     struct volume_cut_member *members, unsigned count, unsigned number)
{
    for (unsigned i = 0; i < count; i++) {
        members[i] = (struct volume_cut_member){.disk = uuid_of(DISK, i),
                                                .point = uuid_of(POINT, number * POOLS + i),
                                                .kind = VOLUME_POINT_SNAPSHOT};
        parts[i] = (struct volume_cut_part){
            .pool = p->pool[i],
            .cut = {.set = uuid_of(SET, number), .member_count = 1, .members = &members[i]}};
    }
}

static void begin(struct pools *p, unsigned count, unsigned number)
{
    describe(p, p->parts, p->members, count, number);
    volume_cut_pools(p->parts, count, RT_SECOND, call_done, p);
}

static bool has(struct pools *p, unsigned pool, unsigned number)
{
    struct uuid uuid = uuid_of(POINT, number * POOLS + pool);
    struct volume_point_info info;
    return volume_point_find(p->pool[pool], &uuid, &info);
}

static unsigned points(struct pools *p, unsigned number)
{
    unsigned count = 0;
    for (unsigned i = 0; i < POOLS; i++)
        if (p->pool[i] && has(p, i, number)) count++;
    return count;
}

static void count_set(void *arg, const struct volume_set_info *info)
{
    *(unsigned *)arg += info->pool_count;
}

/* Pools of all the sets that the pool has a part of. */
static unsigned set_pools(struct pools *p, unsigned pool)
{
    unsigned count = 0;
    volume_pool_sets(p->pool[pool], count_set, &count);
    return count;
}

struct tracked_io {
    struct volume_io io;
    struct iovec iov;
    bool is_done;
};
static uint8_t memory[256 * KIB];

static void io_done(struct volume_io *io)
{
    container_of(io, struct tracked_io, io)->is_done = true;
}

static bool io_is_done(void *arg)
{
    return ((struct tracked_io *)arg)->is_done;
}

static void begin_write(struct pools *p, unsigned pool, struct tracked_io *t, uint64_t block,
                        uint32_t blocks)
{
    t->is_done = false;
    t->iov = (struct iovec){.iov_base = memory, .iov_len = (size_t)blocks * BLOCK_BYTES};
    t->io = (struct volume_io){.op = VOLUME_WRITE,
                               .sector = block * SECTORS_PER_BLOCK,
                               .sector_count = (uint64_t)blocks * SECTORS_PER_BLOCK,
                               .iov = &t->iov,
                               .iov_count = 1,
                               .done = io_done};
    volume_submit(p->volume[pool], &t->io);
}

static enum status write_blocks(struct pools *p, unsigned pool, uint64_t block, uint32_t blocks)
{
    struct tracked_io t;
    begin_write(p, pool, &t, block, blocks);
    check(sim_run_until(p->sim, io_is_done, &t, LIMIT_NS));
    return t.io.status;
}

static enum status delete_point(struct pools *p, unsigned pool, unsigned number)
{
    struct uuid uuid = uuid_of(POINT, number * POOLS + pool);
    volume_point_delete(p->pool[pool], &uuid, call_done, p);
    return finish(p);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static void a_cut_that_cannot_be_is_refused_and_leaves_nothing(void)
{
    struct pools p;
    pools_init(&p, 1);
    describe(&p, p.parts, p.members, 2, 1);
    p.parts[1].pool = p.parts[0].pool;
    p.members[1].disk = p.members[0].disk;
    volume_cut_pools(p.parts, 2, RT_SECOND, call_done, &p);
    expect_eq(finish(&p), STATUS_BAD_REQUEST);
    describe(&p, p.parts, p.members, 2, 1);
    p.parts[1].cut.set = uuid_of(SET, 9);
    volume_cut_pools(p.parts, 2, RT_SECOND, call_done, &p);
    expect_eq(finish(&p), STATUS_BAD_REQUEST);
    describe(&p, p.parts, p.members, 2, 1);
    p.members[1].point = p.members[0].point;
    volume_cut_pools(p.parts, 2, RT_SECOND, call_done, &p);
    expect_eq(finish(&p), STATUS_BAD_REQUEST);
    describe(&p, p.parts, p.members, 2, 1);
    p.members[1].disk = uuid_of(DISK, 77);
    volume_cut_pools(p.parts, 2, RT_SECOND, call_done, &p);
    expect_eq(finish(&p), STATUS_NOT_FOUND);
    describe(&p, p.parts, p.members, 2, 1);
    p.parts[0].cut.deadline_ns = p.parts[1].cut.deadline_ns = 1;
    volume_cut_pools(p.parts, 2, RT_SECOND, call_done, &p);
    expect_eq(finish(&p), STATUS_TOO_LATE);
    describe(&p, p.parts, p.members, 2, 1);
    p.parts[1].pool = memvol_pool_create(p.rt);
    volume_cut_pools(p.parts, 2, RT_SECOND, call_done, &p);
    expect_eq(finish(&p), STATUS_NOT_SUPPORTED);
    volume_pool_abandon(p.parts[1].pool);
    expect_eq(points(&p, 1), 0);
    begin(&p, 3, 1); /* and nothing is in the way of one that can be */
    expect_eq(finish(&p), STATUS_OK);
    expect_eq(points(&p, 1), 3);
    pools_fini(&p);
}

static void with_one_part_it_is_an_ordinary_cut(void)
{
    struct pools p;
    pools_init(&p, 2);
    begin(&p, 1, 1);
    expect_eq(finish(&p), STATUS_OK);
    expect(has(&p, 0, 1) && p.parts[0].result.generation > 0);
    expect_eq(set_pools(&p, 0), 0);
    pools_fini(&p);
}

/* ---- What the tables keep -------------------------------------------------------------------- */

static void the_pools_of_a_set_are_known_as_long_as_a_point_of_it_is_there(void)
{
    struct pools p;
    pools_init(&p, 3);
    begin(&p, 3, 1);
    expect_eq(finish(&p), STATUS_OK);
    begin(&p, 2, 2);
    expect_eq(finish(&p), STATUS_OK);
    for (unsigned i = 0; i < 3; i++) { /* from the log, from a checkpoint, from both */
        expect(set_pools(&p, 0) == 5 && set_pools(&p, 1) == 5 && set_pools(&p, 2) == 3);
        if (i > 0) {
            volume_pool_checkpoint(p.pool[i], call_done, &p);
            expect_eq(finish(&p), STATUS_OK);
        }
        crash(&p, SIM_CRASH_POWER);
        start_again(&p);
    }
    expect_eq(delete_point(&p, 0, 1), STATUS_OK);
    expect_eq(set_pools(&p, 0), 2);
    struct uuid branch = uuid_of(DISK, 50), point = uuid_of(POINT, 2 * POOLS);
    volume_branch(p.pool[0], &point, &branch, call_done, &p);
    expect_eq(finish(&p), STATUS_OK);
    expect_eq(delete_point(&p, 0, 2), STATUS_OK); /* a nameless pin is no point of the set */
    expect_eq(set_pools(&p, 0), 0);
    volume_pool_checkpoint(p.pool[0], call_done, &p);
    expect_eq(finish(&p), STATUS_OK);
    crash(&p, SIM_CRASH_POWER);
    start_again(&p);
    expect(set_pools(&p, 0) == 0 && set_pools(&p, 1) == 5);
    pools_fini(&p);
}

/* ---- Failures on the way --------------------------------------------------------------------- */

struct other_cut {
    struct volume_cut_part parts[POOLS];
    struct volume_cut_member members[POOLS];
    bool is_done;
    enum status status;
};

static void other_done(void *arg, struct err *e)
{
    struct other_cut *other = arg;
    other->is_done = true;
    other->status = err_status(e);
    err_free(e);
}

static bool other_is_done(void *arg)
{
    return ((struct other_cut *)arg)->is_done;
}

static void a_pool_that_cannot_join_in_time_ends_the_cut_and_holds_nobody_up(void)
{
    enum { WRITES = 10, CALLS = 10 };
    struct pools p;
    static struct tracked_io stuck[WRITES], t;
    static struct other_cut calls[CALLS];
    pools_init(&p, 4);
    memset(calls, 0, sizeof calls);
    sim_node_fault(p.node, SIM_FAULT_HANG, path_of(1), 0);
    for (unsigned i = 0; i < WRITES;
         i++) /* behind the first nothing is published: no batch is free */
        begin_write(&p, 1, &stuck[i], 64 * (uint64_t)i, 64);
    for (unsigned i = 0; i < CALLS; i++) {
        struct uuid disk = uuid_of(DISK, 100 + i);
        volume_disk_create(p.pool[1], &disk, MIB, other_done, &calls[i]);
    }
    sim_run_for(p.sim, RT_SECOND / 10);
    uint64_t begun = sim_now(p.sim);
    begin(&p, 2, 1);
    begin_write(&p, 0, &t, 5, 1);
    expect(sim_run_until(p.sim, io_is_done, &t, RT_SECOND / 10)); /* others are not held up */
    expect_eq(finish(&p), STATUS_TOO_LATE);
    expect(sim_now(p.sim) - begun >= RT_SECOND && sim_now(p.sim) - begun < 2 * RT_SECOND);
    expect_eq(points(&p, 1), 0);
    sim_heal(p.sim);
    for (unsigned i = 0; i < CALLS; i++)
        expect(sim_run_until(p.sim, other_is_done, &calls[i], LIMIT_NS) &&
               calls[i].status == STATUS_OK);
    begin(&p, 2, 1); /* the ids of what was not cut are free */
    expect_eq(finish(&p), STATUS_OK);
    expect_eq(points(&p, 1), 2);
    pools_fini(&p);
}

static void a_pool_whose_record_is_not_durable_takes_the_others_along(void)
{
    struct pools p;
    pools_init(&p, 5);
    require(write_blocks(&p, 0, 0, 1) == STATUS_OK && write_blocks(&p, 1, 0, 1) == STATUS_OK);
    sim_run_for(p.sim, RT_SECOND);
    sim_node_fault(p.node, SIM_FAULT_FLUSH_ERROR, path_of(1), 0);
    begin(&p, 3, 1);
    expect_eq(finish(&p), STATUS_POOL_FAILED);
    expect(!has(&p, 0, 1) && !has(&p, 2, 1));
    expect_eq(volume_pool_state(p.pool[1]), VOLUME_POOL_FAILED);
    expect(set_pools(&p, 0) == 0 && set_pools(&p, 2) == 0);
    expect_eq(write_blocks(&p, 0, 1, 1), STATUS_OK);
    expect_eq(write_blocks(&p, 1, 1, 1), STATUS_POOL_FAILED);
    crash(&p, SIM_CRASH_PROCESS); /* the record was written: who starts it knows whom to ask */
    start_again(&p);
    expect(has(&p, 1, 1) && set_pools(&p, 1) == 3);
    expect(!has(&p, 0, 1) && !has(&p, 2, 1));
    pools_fini(&p);
}

static void a_failed_pool_may_go_while_the_cut_waits_for_another(void)
{
    struct pools p;
    pools_init(&p, 6);
    require(write_blocks(&p, 0, 0, 1) == STATUS_OK && write_blocks(&p, 1, 0, 1) == STATUS_OK);
    sim_run_for(p.sim, RT_SECOND);
    sim_node_fault(p.node, SIM_FAULT_FLUSH_ERROR, path_of(0), 0);
    sim_node_fault(p.node, SIM_FAULT_HANG, path_of(1), 0); /* its record's way to the device */
    begin(&p, 3, 1);
    sim_run_for(p.sim, 5 * RT_SECOND);
    expect(!p.is_done && volume_pool_state(p.pool[0]) == VOLUME_POOL_FAILED);
    p.volume[0] = NULL;
    volume_pool_abandon(take_ptr(&p.pool[0]));
    sim_run_for(p.sim, RT_SECOND);
    expect(!p.is_done);
    sim_heal(p.sim);
    expect_eq(finish(&p), STATUS_POOL_FAILED);
    expect_eq(points(&p, 1), 0);
    expect_eq(write_blocks(&p, 1, 0, 1), STATUS_OK);
    expect_eq(write_blocks(&p, 2, 0, 1), STATUS_OK);
    pools_fini(&p);
}

static void a_crash_in_the_middle_of_a_cut_leaves_no_memory_behind(void)
{
    unsigned ended = 0;
    for (unsigned steps = 0; steps < 60; steps++) {
        struct pools p;
        pools_init(&p, 100 + steps);
        begin(&p, 3, 1);
        for (unsigned i = 0; i < steps && !p.is_done; i++)
            sim_step(p.sim);
        ended += p.is_done;
        crash(&p, SIM_CRASH_PROCESS);
        start_again(&p);
        expect(points(&p, 1) == 3 || ended == 0); /* done: all are durable */
        pools_fini(&p);
    }
    expect(ended > 0 && ended < 60);
}

/* ---- Side by side ---------------------------------------------------------------------------- */

static void cuts_that_meet_in_pools_do_not_wait_for_each_other_for_ever(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct pools p;
        static struct other_cut other;
        pools_init(&p, seed);
        other = (struct other_cut){0};
        describe(&p, other.parts, other.members, 3, 2);
        struct volume_cut_part first = other.parts[0];
        other.parts[0] = other.parts[2];
        other.parts[2] = first;
        begin(&p, 3, 1);
        volume_cut_pools(other.parts, 3, RT_SECOND, other_done, &other);
        expect_eq(finish(&p), STATUS_OK);
        require(sim_run_until(p.sim, other_is_done, &other, LIMIT_NS));
        expect_eq(other.status, STATUS_OK);
        expect_eq(points(&p, 1) + points(&p, 2), 6);
        pools_fini(&p);
    }
}

/* A checkpoint's instant waits for admin records whose publication a gate holds back. */
static void cuts_and_checkpoints_and_other_calls_go_on_beside_each_other(void)
{
    struct pools p;
    static struct tracked_io t[POOLS];
    struct other_cut calls[2 * POOLS];
    pools_init(&p, 7);
    for (unsigned round = 1; round <= 40; round++) {
        memset(calls, 0, sizeof calls);
        for (unsigned i = 0; i < POOLS; i++) {
            struct uuid disk = uuid_of(DISK, 100 + round * POOLS + i);
            begin_write(&p, i, &t[i], round * 64, 64);
            volume_pool_checkpoint(p.pool[i], other_done, &calls[i]);
            volume_disk_create(p.pool[i], &disk, MIB, other_done, &calls[POOLS + i]);
        }
        for (unsigned i = 0; i < round; i++)
            sim_step(p.sim);
        begin(&p, 3, round);
        expect_eq(finish(&p), STATUS_OK);
        for (unsigned i = 0; i < 2 * POOLS; i++) {
            require(sim_run_until(p.sim, other_is_done, &calls[i], LIMIT_NS));
            expect_eq(calls[i].status, STATUS_OK);
        }
        for (unsigned i = 0; i < POOLS; i++)
            require(sim_run_until(p.sim, io_is_done, &t[i], LIMIT_NS));
        expect_eq(points(&p, round), 3);
    }
    pools_fini(&p);
}

/* ---- Space ----------------------------------------------------------------------------------- */

static void count_call(void *arg)
{
    ++*(unsigned *)arg;
}

static uint64_t free_bytes(struct pools *p)
{
    struct volume_pool_usage usage;
    volume_pool_usage(p->pool[0], &usage);
    return usage.free_bytes;
}

static void who_watches_the_space_is_told_when_it_gets_low_and_when_it_is_back(void)
{
    struct pools p;
    unsigned calls = 0, early = 0;
    pools_init(&p, 8);
    uint64_t low = free_bytes(&p) - 12 * MIB;
    volume_pool_watch_space(p.pool[0], UINT64_MAX, count_call, &early); /* it is below already */
    expect_eq(early, 0);                                                /* in a later turn */
    sim_run_for(p.sim, RT_SECOND);
    expect_eq(early, 1);
    volume_pool_watch_space(p.pool[0], low, count_call, &calls); /* the last call counts */
    uint64_t block = 0;
    while (calls == 0 && block < 6144) {
        require(write_blocks(&p, 0, block, 64) == STATUS_OK);
        block += 64;
    }
    sim_run_for(p.sim, RT_SECOND);
    expect(calls == 1 && block >= 2048 && free_bytes(&p) < low);
    require(write_blocks(&p, 0, block, 64) == STATUS_OK);
    sim_run_for(p.sim, RT_SECOND);
    expect_eq(calls, 1); /* only when it passes */
    struct tracked_io t = {
        .io = {.op = VOLUME_UNMAP, .sector_count = 4096 * SECTORS_PER_BLOCK, .done = io_done}};
    volume_submit(p.volume[0], &t.io);
    require(sim_run_until(p.sim, io_is_done, &t, LIMIT_NS));
    volume_pool_settle(p.pool[0], call_done, &p);
    expect_eq(finish(&p), STATUS_OK);
    sim_run_for(p.sim, RT_SECOND);
    expect(calls == 2 && free_bytes(&p) >= low);
    volume_pool_watch_space(p.pool[0], 0, NULL, NULL);
    for (block = 0; block < 6144; block += 64)
        require(write_blocks(&p, 0, block, 64) == STATUS_OK);
    sim_run_for(p.sim, RT_SECOND);
    expect(calls == 2 && early == 1 && free_bytes(&p) < low);
    pools_fini(&p);
}

int main(void)
{
    run(a_cut_that_cannot_be_is_refused_and_leaves_nothing);
    run(with_one_part_it_is_an_ordinary_cut);
    run(the_pools_of_a_set_are_known_as_long_as_a_point_of_it_is_there);
    run(a_pool_that_cannot_join_in_time_ends_the_cut_and_holds_nobody_up);
    run(a_pool_whose_record_is_not_durable_takes_the_others_along);
    run(a_failed_pool_may_go_while_the_cut_waits_for_another);
    run(a_crash_in_the_middle_of_a_cut_leaves_no_memory_behind);
    run(cuts_that_meet_in_pools_do_not_wait_for_each_other_for_ever);
    run(cuts_and_checkpoints_and_other_calls_go_on_beside_each_other);
    run(who_watches_the_space_is_told_when_it_gets_low_and_when_it_is_back);
    return tap_done();
}
