/* Shapes that random operations do not reach: crash loops, half-made pools, hung devices, huge requests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "engine_mutation.h"
#include "rows.h"
#include "tests/lib/tap.h"

#define POOL_PATH "/pool"

/* ---- Helpers --------------------------------------------------------------------------------- */

static void quick_ops(struct world *world, uint64_t seed, uint32_t count)
{
    auto_free uint8_t *records = ops_draw(seed, count);
    ops_run_only(world, records, count);
}

static bool ended_well(struct world *world)
{
    bool green = !world->failed;
    if (!green) printf("# %s\n", world->failure);
    world_destroy(world);
    return green;
}

struct waiting {
    bool done;
    struct err *e;
};

static void waiting_done(void *arg, struct err *e)
{
    struct waiting *w = arg;
    w->done = true;
    w->e = e;
}

static bool is_done(void *arg)
{
    return ((struct waiting *)arg)->done;
}

struct request {
    struct volume_io io;
    struct iovec iov;
    struct waiting waiting;
};

static void request_done(struct volume_io *io)
{
    container_of(io, struct request, io)->waiting.done = true;
}

static enum status submit_and_wait(struct world *world, struct volume *volume, enum volume_op op,
                                   uint64_t sector, uint64_t sector_count, void *data)
{
    struct request *r = calloc(1, sizeof *r);
    check(r != NULL);
    r->iov = (struct iovec){.iov_base = data, .iov_len = data ? sector_count * SECTOR_BYTES : 0};
    r->io = (struct volume_io){.op = op, .sector = sector, .sector_count = sector_count, .iov = &r->iov,
                               .iov_count = data ? 1 : 0, .done = request_done};
    volume_submit(volume, &r->io);
    bool ended = sim_run_until(world->sim, is_done, &r->waiting, 1000 * RT_SECOND);
    enum status status = ended ? r->io.status : STATUS_TIMED_OUT;
    if (ended) free(r);
    return status;
}

/* ---- Crash loops ----------------------------------------------------------------------------- */

/* Each start dies at its first write after it was up: the log must not fill up with OPENs. */
static bool crash_loop(const void *arg)
{
    const uint64_t *seed = arg;
    struct world *world = world_create(&(struct world_options){
        .seed = *seed, .pace = 3, .wal_bytes = 1 * MIB, .crash = WORLD_CRASH_PROCESS, .crash_by_op = true,
        .crash_every = UINT32_MAX});
    unsigned opened = 0;
    quick_ops(world, *seed, 60);
    if (!world->failed) world_verify(world);
    if (!world->failed) world_crash_now(world);
    if (world->pool && !world->failed) volume_pool_abandon(take_ptr(&world->pool));
    for (unsigned i = 0; i < 600 && !world->failed; i++) {
        struct volume_pool *pool = NULL;
        struct waiting w = {0};
        struct rt *rt = sim_node_boot(world->node);
        volume_pool_open(rt, POOL_PATH, NULL, &pool, waiting_done, &w);
        sim_run_until(world->sim, is_done, &w, 100 * RT_SECOND);
        if (w.e) world_fail(world, "start %u was refused", i);
        opened += w.done && !w.e;
        sim_node_crash_at_write(world->node, 1, SIM_CRASH_PROCESS);
        if (sim_node_is_up(world->node)) sim_run_for(world->sim, RT_SECOND);
        if (sim_node_is_up(world->node)) sim_node_crash(world->node, SIM_CRASH_PROCESS);
        if (pool) volume_pool_abandon(pool);
        err_free(w.e);
    }
    if (!world->failed && opened < 300) world_fail(world, "only %u starts came to their end", opened);
    if (!world->failed) world_recover(world);
    if (!world->failed) world_settle(world);
    return ended_well(world);
}

static void a_crash_loop_does_not_fill_the_log(void)
{
    for (uint64_t seed = 1; seed <= 2; seed++)
        expect_eq(rows_run_child(crash_loop, &seed, 300), ROW_GREEN);
}

/* ---- Making a pool --------------------------------------------------------------------------- */

static void create(struct rt *rt, bool overwrite, struct waiting *w)
{
    struct volume_pool_options options = {.sparse = true};
    struct uuid uuid = {{1, 2, 3}};
    volume_pool_create(rt, POOL_PATH, LIMIT_POOL_MIN_BYTES, &uuid, &options, overwrite, NULL, waiting_done, w);
}

/* Power fails at write k of the making; then the pool opens and is empty, or is refused with a reason, and
 * can be made again. */
static bool half_made(const void *arg)
{
    unsigned crashes = 0;
    for (uint64_t k = 1; k < 40; k++) {
        struct sim *sim = sim_create(&(struct sim_options){.seed = *(const uint64_t *)arg + k});
        struct sim_node *node = sim_node_create(sim, "server");
        struct waiting w = {0}, o = {0}, again = {0};
        struct rt *rt = sim_node_boot(node);
        sim_node_crash_at_write(node, k, SIM_CRASH_POWER);
        create(rt, false, &w);
        sim_run_until(sim, is_done, &w, 100 * RT_SECOND);
        bool crashed = !sim_node_is_up(node);
        crashes += crashed;
        if (!crashed) sim_node_crash(node, SIM_CRASH_POWER);
        bool good = crashed || (w.done && !w.e);
        rt = sim_node_boot(node);
        struct volume_pool *pool = NULL;
        volume_pool_open(rt, POOL_PATH, NULL, &pool, waiting_done, &o);
        good = good && sim_run_until(sim, is_done, &o, 100 * RT_SECOND);
        good = good && (crashed || !o.e);
        if (pool && !o.e) good = good && volume_pool_state(pool) == VOLUME_POOL_OK;
        bool made = !o.e;
        sim_node_crash(node, SIM_CRASH_PROCESS);
        if (pool && made) volume_pool_abandon(pool);
        err_free(o.e);
        rt = sim_node_boot(node);
        if (!made) {
            if (rt_path_exists(rt, POOL_PATH)) {
                struct err *e = rt_path_delete(rt, POOL_PATH, true);
                err_free(e);
            }
            create(rt, false, &again);
            good = good && sim_run_until(sim, is_done, &again, 100 * RT_SECOND) && !again.e;
        }
        err_free(w.e);
        err_free(again.e);
        if (!good) printf("# power cut at write %llu of the making: not as it should be\n", (unsigned long long)k);
        sim_node_crash(node, SIM_CRASH_PROCESS);
        sim_destroy(sim);
        if (!good) return false;
    }
    return crashes > 0;
}

static void a_pool_that_was_half_made_is_refused_or_empty(void)
{
    for (uint64_t seed = 1; seed < 400; seed += 100)
        expect_eq(rows_run_child(half_made, &seed, 120), ROW_GREEN);
}

static bool second_open(const void *arg)
{
    struct world *world = world_create(&(struct world_options){.seed = 1});
    struct waiting w = {0};
    struct volume_pool *pool = NULL;
    volume_pool_open(world->rt, POOL_PATH, NULL, &pool, waiting_done, &w);
    bool good = sim_run_until(world->sim, is_done, &w, 100 * RT_SECOND) && err_status(w.e) == STATUS_LOCKED;
    good = good && volume_pool_state(world->pool) == VOLUME_POOL_OK;
    err_free(w.e);
    return ended_well(world) && good;
}

static void a_pool_in_use_cannot_be_opened_again(void)
{
    expect_eq(rows_run_child(second_open, NULL, 60), ROW_GREEN);
}

/* ---- A device that hangs --------------------------------------------------------------------- */

static bool hang(const void *arg)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *world = world_create(&(struct world_options){.seed = seed, .pace = 4});
        quick_ops(world, seed, 100);
        world_drain(world);
        auto_free uint8_t *records = ops_draw(seed + 1, 12);
        for (unsigned i = 0; i < 12; i++) /* requests only: nothing that waits */
            records[i * OPS_RECORD_BYTES] %= 150;
        sim_node_fault(world->node, SIM_FAULT_HANG, POOL_PATH, prng_below(&world->prng, 3));
        ops_run_only(world, records, 12);
        if (!world->failed) sim_run_for(world->sim, 20 * RT_SECOND);
        sim_heal(world->sim);
        if (!world->failed) world_settle(world);
        if (!ended_well(world)) return false;
    }
    return true;
}

static void a_hung_request_delays_and_loses_nothing(void)
{
    expect_eq(rows_run_child(hang, NULL, 120), ROW_GREEN);
}

/* ---- Large and many -------------------------------------------------------------------------- */

static struct uuid big_disk;

static void call_create_big(struct world *world, volume_done_fn *done, void *arg)
{
    volume_disk_create(world->pool, &big_disk, 64 * GIB, done, arg);
}

/* More leaves than the engine has parts for: zeroes over 64 GiB with a block here and there. */
static bool huge_zero(const void *arg)
{
    struct world *world = world_create(&(struct world_options){.seed = 9});
    uint8_t *data = calloc(1, BLOCK_BYTES);
    struct volume *volume = NULL;
    big_disk = (struct uuid){{7, 7, 7}};
    bool good = world_call(world, "create", call_create_big);
    struct err *e = good ? volume_open(world->pool, &big_disk, NULL, VOLUME_READ_WRITE, &volume) : NULL;
    check(data && !e);
    uint64_t sectors = 64 * GIB / SECTOR_BYTES;
    for (uint64_t i = 0; good && i < 200; i++) {
        memset(data, 0x55, BLOCK_BYTES);
        uint64_t sector = i * (sectors / 200) / 8 * 8;
        good = submit_and_wait(world, volume, VOLUME_WRITE, sector, 8, data) == STATUS_OK;
    }
    good = good && submit_and_wait(world, volume, VOLUME_ZERO, 3, sectors - 5, NULL) == STATUS_OK;
    for (uint64_t i = 0; good && i < 200; i++) {
        uint64_t sector = i * (sectors / 200) / 8 * 8;
        good = submit_and_wait(world, volume, VOLUME_READ, sector, 8, data) == STATUS_OK;
        for (unsigned b = i == 0 ? 3 * SECTOR_BYTES : 0; good && b < BLOCK_BYTES; b++) good = data[b] == 0;
    }
    if (!good) printf("# zeroing 64 GiB: a request failed or data was left\n");
    volume_close(volume);
    free(data);
    return ended_well(world) && good;
}

static void zeroes_over_64_gib(void)
{
    expect_eq(rows_run_child(huge_zero, NULL, 120), ROW_GREEN);
}

int main(void)
{
    run(a_crash_loop_does_not_fill_the_log);
    run(a_pool_that_was_half_made_is_refused_or_empty);
    run(a_pool_in_use_cannot_be_opened_again);
    run(a_hung_request_delays_and_loses_nothing);
    run(zeroes_over_64_gib);
    return tap_done();
}
