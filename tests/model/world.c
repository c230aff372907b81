/* The world: node, pool and handles; waiting, crashing, recovering (world.h). */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define POOL_PATH "/pool"
#define HANG_NS (300 * RT_SECOND)
#define STILL_EVENTS_MAX 1000000

/* ---- Failure, trace, stepping ---------------------------------------------------------------- */

bool world_fail(struct world *world, const char *format, ...)
{
    if (world->failed) return false;
    world->failed = true;
    int used = snprintf(world->failure, sizeof world->failure, "tick %u: ", model_now(world->model));
    va_list args;
    va_start(args, format);
    vsnprintf(world->failure + used, sizeof world->failure - (size_t)used, format, args);
    va_end(args);
    world_trace(world, "FAILURE %s", world->failure);
    return false;
}

void world_trace(struct world *world, const char *format, ...)
{
    if (!world->options.trace) return;
    va_list args;
    va_start(args, format);
    printf("# %6u %9.3f ms  ", model_now(world->model), (double)sim_now(world->sim) / 1e6);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
}

static bool note_crash(struct world *world)
{
    if (world->crashed || sim_node_is_up(world->node)) return world->crashed;
    world->crashed = true;
    if (world->crash_kind == SIM_CRASH_POWER) world->power_lost = true;
    if (world->options.on_crash) world->options.on_crash(world->crash_kind);
    world_trace(world, "CRASH (%s)", world->crash_kind == SIM_CRASH_POWER ? "power" : "process");
    return true;
}

/* One event; false when nothing is left to happen or nothing but messages at one moment does. */
static bool step(struct world *world)
{
    if (!sim_step(world->sim)) return false;
    if (sim_now(world->sim) != world->still_ns) world->still_events = 0;
    world->still_ns = sim_now(world->sim);
    if (++world->still_events < STILL_EVENTS_MAX) return true;
    return world_fail(world, "messages without end, and time stands still");
}

bool world_wait(struct world *world, bool (*condition)(struct world *world), const char *what)
{
    uint64_t limit_ns = sim_now(world->sim) + HANG_NS;
    while (!world->failed && !note_crash(world)) {
        if (condition(world)) return true;
        if (!step(world) && !note_crash(world))
            return world_fail(world, "%s never ends: nothing is left to happen", what);
        if (sim_now(world->sim) > limit_ns) return world_fail(world, "%s hangs", what);
    }
    return false;
}

bool world_step(struct world *world, unsigned steps)
{
    while (steps-- && !world->failed && !note_crash(world))
        if (!step(world)) break;
    return !world->failed && !note_crash(world);
}

static bool nothing_in_flight(struct world *world)
{
    for (unsigned i = 0; i < WORLD_SLOTS; i++)
        if (world->slots[i].busy) return false;
    for (unsigned i = 0; i < WORLD_TASKS; i++)
        if (world->tasks[i].busy) return false;
    return true;
}

bool world_drain(struct world *world)
{
    return world_wait(world, nothing_in_flight, "a request");
}

uint32_t world_horizon(const struct world *world)
{
    uint32_t horizon = model_now(world->model);
    bool power = world->options.crash == WORLD_CRASH_POWER || world->options.crash == WORLD_CRASH_BOTH;
    if (power && world->durable < horizon) horizon = world->durable;
    if (world->hold && world->hold < horizon) horizon = world->hold;
    for (unsigned i = 0; i < WORLD_SLOTS; i++)
        if (world->slots[i].busy && world->slots[i].submitted < horizon)
            horizon = world->slots[i].submitted;
    for (unsigned i = 0; i < WORLD_TASKS; i++)
        if (world->tasks[i].busy && world->tasks[i].submitted < horizon)
            horizon = world->tasks[i].submitted;
    return horizon;
}

void world_made_durable(struct world *world, uint32_t floor)
{
    if (floor > world->durable) world->durable = floor;
}

/* ---- Blocking calls -------------------------------------------------------------------------- */

static void call_done(void *arg, struct err *e)
{
    struct world *world = arg;
    world->call_done = true;
    world->call_error = e;
}

static bool call_is_done(struct world *world)
{
    return world->call_done;
}

bool world_call(struct world *world, const char *what, world_call_fn *call)
{
    world->call_done = false;
    world->call_error = NULL;
    call(world, call_done, world);
    if (!world_wait(world, call_is_done, what)) return false;
    if (!world->call_error) return true;
    char text[300];
    world_fail(world, "%s: %s", what, err_text(world->call_error, text, sizeof text));
    err_free(take_ptr(&world->call_error));
    return false;
}

static void pool_options(const struct world *world, struct volume_pool_options *ret_options)
{
    *ret_options = (struct volume_pool_options){.cache_bytes = world->options.cache_bytes,
                                                .sparse = !world->options.written_through,
                                                .wal_bytes = world->options.wal_bytes,
                                                .flush_after_ns = world->options.flush_after_ns};
}

static void call_create(struct world *world, volume_done_fn *done, void *arg)
{
    struct volume_pool_options options;
    pool_options(world, &options);
    struct uuid uuid;
    prng_fill(&world->prng, &uuid, sizeof uuid);
    volume_pool_create(world->rt, POOL_PATH, world->options.pool_bytes, &uuid, &options, false, NULL,
                       done, arg);
}

static void call_open(struct world *world, volume_done_fn *done, void *arg)
{
    struct volume_pool_options options;
    pool_options(world, &options);
    world->pool = NULL;
    volume_pool_open(world->rt, POOL_PATH, &options, &world->pool, done, arg);
}

static void call_close(struct world *world, volume_done_fn *done, void *arg)
{
    volume_pool_close(world->pool, done, arg);
}

static void call_settle(struct world *world, volume_done_fn *done, void *arg)
{
    volume_pool_settle(world->pool, done, arg);
}

static void call_check(struct world *world, volume_done_fn *done, void *arg)
{
    volume_pool_check(world->pool, done, arg);
}

/* ---- Things ---------------------------------------------------------------------------------- */

int world_disk_by_uuid(const struct world *world, const struct uuid *uuid)
{
    for (int i = 0; i < WORLD_DISKS; i++)
        if (world->disks[i].state != THING_NONE && uuid_equal(&world->disks[i].uuid, uuid)) return i;
    return -1;
}

int world_point_by_uuid(const struct world *world, const struct uuid *uuid)
{
    for (int i = 0; i < WORLD_POINTS; i++)
        if (world->points[i].state != THING_NONE && uuid_equal(&world->points[i].uuid, uuid)) return i;
    return -1;
}

void world_disk_forget(struct world *world, int disk)
{
    model_view_fini(&world->disks[disk].view);
    world->disks[disk] = (struct disk){.parent_disk = -1, .parent_point = -1};
}

void world_point_forget(struct world *world, int point)
{
    struct point *p = &world->points[point];
    for (int i = 0; i < WORLD_DISKS; i++)
        if (world->disks[i].parent_point == point) world->disks[i].parent_point = -1;
    struct set *set = &world->sets[p->set];
    unsigned left = 0;
    for (unsigned i = 0; i < set->member_count; i++)
        if (set->points[i] != point) set->points[left++] = set->points[i];
    set->member_count = left;
    if (left == 0) set->used = false;
    model_view_fini(&p->view);
    *p = (struct point){.disk = -1, .set = -1};
}

bool world_open_handles(struct world *world)
{
    for (int i = 0; i < WORLD_DISKS; i++) {
        struct disk *disk = &world->disks[i];
        if (disk->state != THING_THERE || disk->handle) continue;
        struct err *e = volume_open(world->pool, &disk->uuid, NULL, VOLUME_READ_WRITE, &disk->handle);
        char text[300];
        if (e) {
            world_fail(world, "open disk %d: %s", i, err_text(e, text, sizeof text));
            err_free(e);
            return false;
        }
        if (volume_size_bytes(disk->handle) != (uint64_t)disk->view.sector_count * SECTOR_BYTES)
            return world_fail(world, "disk %d is %llu bytes, expected %u sectors", i,
                              (unsigned long long)volume_size_bytes(disk->handle),
                              disk->view.sector_count);
    }
    return true;
}

static void close_handles(struct world *world)
{
    for (int i = 0; i < WORLD_DISKS; i++) {
        volume_close(world->disks[i].handle);
        world->disks[i].handle = NULL;
    }
}

/* ---- Reading whole views --------------------------------------------------------------------- */

static void reader_done(struct volume_io *io)
{
    container_of(io, struct slot, io)->busy = false;
}

static bool reader_is_idle(struct world *world)
{
    return !world->reader.busy;
}

bool world_read_all(struct world *world, struct volume *handle, uint32_t sector_count, uint8_t *data)
{
    struct slot *slot = &world->reader;
    for (uint32_t at = 0; at < sector_count;) {
        uint32_t count = min_of(sector_count - at, (uint32_t)1024);
        slot->iov[0] = (struct iovec){.iov_base = data + (size_t)at * SECTOR_BYTES,
                                      .iov_len = (size_t)count * SECTOR_BYTES};
        slot->io = (struct volume_io){.op = VOLUME_READ, .sector = at, .sector_count = count,
                                      .iov = slot->iov, .iov_count = 1, .done = reader_done};
        slot->busy = true;
        volume_submit(handle, &slot->io);
        if (!world_wait(world, reader_is_idle, "a read")) return false;
        if (slot->io.status != STATUS_OK) {
            if (world->lossy) return false; /* an injected fault was noticed: fine, but no data */
            return world_fail(world, "read of sectors %u+%u failed: %s", at, count,
                              status_text(slot->io.status));
        }
        at += count;
    }
    return true;
}

static bool read_point(struct world *world, int point, uint8_t *data)
{
    struct point *p = &world->points[point];
    struct volume *handle;
    struct err *e = volume_open(world->pool, NULL, &p->uuid, VOLUME_READ_ONLY, &handle);
    char text[300];
    if (e) {
        world_fail(world, "open point %d: %s", point, err_text(e, text, sizeof text));
        err_free(e);
        return false;
    }
    bool ok = volume_size_bytes(handle) == (uint64_t)p->view.sector_count * SECTOR_BYTES ||
              world_fail(world, "point %d is %llu bytes, expected %u sectors", point,
                         (unsigned long long)volume_size_bytes(handle), p->view.sector_count);
    ok = ok && world_read_all(world, handle, p->view.sector_count, data);
    if (!world->crashed) volume_close(handle);
    return ok;
}

/* The members are read one after another while others write: points do not change. */
bool world_resolve_set(struct world *world, int set)
{
    struct set *s = &world->sets[set];
    struct model_frozen frozen[WORLD_MEMBERS] = {{NULL, NULL}};
    uint8_t *data[WORLD_MEMBERS];
    unsigned members = s->member_count, count = 0;
    int points[WORLD_MEMBERS], read[WORLD_MEMBERS];
    memcpy(points, s->points, sizeof points);
    bool ok = true;
    for (unsigned i = 0; ok && i < members; i++) {
        struct point *p = &world->points[points[i]];
        if (p->state != THING_THERE) continue;
        p->busy++;
        data[count] = malloc((size_t)p->view.sector_count * SECTOR_BYTES);
        check(data[count] != NULL);
        frozen[count] = (struct model_frozen){.view = &p->view, .data = data[count]};
        read[count++] = points[i];
        ok = read_point(world, points[i], data[count - 1]);
    }
    struct model_bound bound = {.floor = s->submitted, .count_seen = true};
    if (ok && !model_resolve(world->model, frozen, count, &bound))
        ok = world_fail(world, "cut %d, submitted at %u, done at %u: %s", set, s->submitted, s->done,
                        model_problem(world->model));
    for (unsigned i = 0; i < count; i++) {
        world->points[read[i]].busy--;
        if (ok) world->points[read[i]].exact = true;
        free(data[i]);
    }
    if (ok) world_made_durable(world, bound.floor);
    if (ok) world_trace(world, "cut %d resolved, floor %u", set, bound.floor);
    return ok;
}

bool world_resolve_all(struct world *world)
{
    for (int i = 0; i < WORLD_SETS; i++) {
        struct set *set = &world->sets[i];
        bool open = false;
        for (unsigned m = 0; set->used && set->acked && m < set->member_count; m++)
            open = open || (world->points[set->points[m]].state == THING_THERE &&
                            !world->points[set->points[m]].exact);
        if (open && !world_resolve_set(world, i)) return false;
    }
    return true;
}

/* Every live disk, read while nothing is written, against the bound; then exact. */
static bool resolve_live(struct world *world, struct model_bound *bound, const char *when)
{
    struct model_frozen frozen[WORLD_DISKS];
    uint8_t *data[WORLD_DISKS] = {NULL};
    unsigned count = 0;
    bool ok = true;
    for (int i = 0; ok && i < WORLD_DISKS; i++) {
        struct disk *disk = &world->disks[i];
        if (disk->state != THING_THERE) continue;
        data[count] = malloc((size_t)disk->view.sector_count * SECTOR_BYTES);
        check(data[count] != NULL);
        frozen[count] = (struct model_frozen){.view = &disk->view, .data = data[count]};
        ok = world_read_all(world, disk->handle, disk->view.sector_count, data[count]);
        count++;
    }
    if (ok && !model_resolve(world->model, frozen, count, bound))
        ok = world_fail(world, "%s: %s", when, model_problem(world->model));
    for (unsigned i = 0; i < count; i++) free(data[i]);
    return ok;
}

static bool verify_exact_points(struct world *world)
{
    for (int i = 0; i < WORLD_POINTS; i++) {
        struct point *p = &world->points[i];
        if (p->state != THING_THERE || !p->exact) continue;
        auto_free uint8_t *data = malloc((size_t)p->view.sector_count * SECTOR_BYTES);
        check(data != NULL);
        if (!read_point(world, i, data)) return false;
        struct model_frozen frozen = {.view = &p->view, .data = data};
        struct model_bound bound = {0};
        if (!model_resolve(world->model, &frozen, 1, &bound))
            return world_fail(world, "point %d of disk %d has changed: %s", i, p->disk,
                              model_problem(world->model));
    }
    return true;
}

static void flush_done(struct volume_io *io)
{
    container_of(io, struct slot, io)->busy = false;
}

bool world_flush(struct world *world)
{
    for (int i = 0; i < WORLD_DISKS; i++) {
        if (world->disks[i].state != THING_THERE) continue;
        struct slot *slot = &world->reader;
        slot->io = (struct volume_io){.op = VOLUME_FLUSH, .done = flush_done};
        slot->busy = true;
        uint32_t submitted = model_tick(world->model);
        volume_submit(world->disks[i].handle, &slot->io);
        if (!world_wait(world, reader_is_idle, "a flush")) return false;
        if (slot->io.status != STATUS_OK)
            return world_fail(world, "flush failed: %s", status_text(slot->io.status));
        world_made_durable(world, submitted);
        return true; /* one covers the pool (E5) */
    }
    return true;
}

bool world_verify(struct world *world)
{
    if (!world_drain(world) || !world_resolve_all(world) || !world_flush(world)) return false;
    struct model_bound bound = {.floor = model_tick(world->model), .count_durable = true,
                                .count_seen = true};
    if (!resolve_live(world, &bound, "verify") || !verify_exact_points(world)) return false;
    world->verify_count++;
    world_trace(world, "verified");
    return true;
}

/* ---- At rest --------------------------------------------------------------------------------- */

static bool check_space(struct world *world)
{
    const struct model_view *views[WORLD_DISKS + WORLD_POINTS];
    unsigned count = 0;
    for (int i = 0; i < WORLD_DISKS; i++)
        if (world->disks[i].state == THING_THERE) views[count++] = &world->disks[i].view;
    for (int i = 0; i < WORLD_POINTS; i++)
        if (world->points[i].state == THING_THERE) views[count++] = &world->points[i].view;
    for (int i = 0; i < WORLD_DISKS; i++) { /* a deleted point under a branch keeps what it will */
        const struct disk *disk = &world->disks[i];
        bool is_pinned = disk->parent_disk >= 0 && disk->parent_point < 0;
        if (disk->state == THING_THERE && (disk->promoted || is_pinned)) return true;
    }
    uint64_t blocks = model_block_count(views, count);
    struct volume_pool_usage usage;
    volume_pool_usage(world->pool, &usage);
    world_trace(world, "space: %llu blocks in views, %llu in use", (unsigned long long)blocks,
                (unsigned long long)usage.data_bytes / BLOCK_BYTES);
    if (usage.reclaim_pending) return world_fail(world, "settled, but reclaim is pending");
    if (usage.data_bytes < blocks * BLOCK_BYTES)
        return world_fail(world, "%llu blocks are needed, only %llu are in use",
                          (unsigned long long)blocks,
                          (unsigned long long)usage.data_bytes / BLOCK_BYTES);
    if (world->options.no_ragged_zero && usage.data_bytes != blocks * BLOCK_BYTES)
        return world_fail(world, "space leaks: %llu blocks are needed, %llu are in use",
                          (unsigned long long)blocks,
                          (unsigned long long)usage.data_bytes / BLOCK_BYTES);
    return true;
}

bool world_settle(struct world *world)
{
    return world_verify(world) && world_call(world, "settle", call_settle) && check_space(world) &&
           world_call(world, "check", call_check);
}

bool world_close(struct world *world)
{
    if (!world_drain(world) || !world_resolve_all(world)) return false;
    close_handles(world);
    uint32_t submitted = model_tick(world->model);
    world_count(world);
    if (!world_call(world, "close", call_close)) return false;
    world->pool = NULL;
    world_made_durable(world, submitted);
    world_trace(world, "closed");
    return true;
}

bool world_reopen(struct world *world)
{
    if (!world_close(world)) return false;
    if (!world_call(world, "open", call_open)) return false;
    world_trace(world, "reopened");
    if (volume_pool_state(world->pool) != VOLUME_POOL_OK)
        return world_fail(world, "after a clean close: %s", volume_pool_trouble(world->pool));
    if (!volume_pool_recovery(world->pool)->clean)
        return world_fail(world, "a clean close left something to replay");
    return world_open_handles(world) && world_verify(world);
}

/* ---- Crash and recovery ---------------------------------------------------------------------- */

static enum sim_crash draw_crash_kind(struct world *world)
{
    switch (world->options.crash) {
    case WORLD_CRASH_POWER: return SIM_CRASH_POWER;
    case WORLD_CRASH_BOTH:
        return prng_chance(&world->prng, 1, 2) ? SIM_CRASH_POWER : SIM_CRASH_PROCESS;
    case WORLD_CRASH_NONE:
    case WORLD_CRASH_PROCESS: break;
    }
    return SIM_CRASH_PROCESS;
}

void world_arm_crash(struct world *world)
{
    if (world->options.crash == WORLD_CRASH_NONE || world->options.crash_by_op) return;
    uint64_t every = world->options.crash_every ? world->options.crash_every : 150;
    uint64_t at = 1 + prng_below(&world->prng, 2 * every);
    if (prng_chance(&world->prng, 1, 8)) at = 1 + prng_below(&world->prng, 8);
    if (world->crash_count == 0 && world->options.crash_at) at = world->options.crash_at;
    world->crash_kind = draw_crash_kind(world);
    sim_node_crash_at_write(world->node, at, world->crash_kind);
    world_trace(world, "armed: %s crash at write %llu",
                world->crash_kind == SIM_CRASH_POWER ? "power" : "process", (unsigned long long)at);
}

void world_crash_now(struct world *world)
{
    if (world->options.crash == WORLD_CRASH_NONE) return;
    world->crash_kind = draw_crash_kind(world);
    sim_node_crash(world->node, world->crash_kind);
    note_crash(world);
}

void world_count(struct world *world)
{
    struct volume_pool_counters now, *sum = &world->counters;
    if (!world->pool) return;
    volume_pool_counters(world->pool, &now);
    sum->leaf_loads += now.leaf_loads;
    sum->leaf_writes += now.leaf_writes;
    sum->checkpoints += now.checkpoints;
    sum->reclaimed_blocks += now.reclaimed_blocks;
    sum->batches += now.batches;
}

/* What the program that died held: requests are void, calls are in doubt. */
static void bury(struct world *world)
{
    world_count(world);
    if (world->pool) volume_pool_abandon(take_ptr(&world->pool));
    for (unsigned i = 0; i < WORLD_SLOTS; i++) {
        free(world->slots[i].data);
        world->slots[i] = (struct slot){.world = world};
    }
    world->reader = (struct slot){.world = world};
    err_free(take_ptr(&world->call_error));
    for (unsigned i = 0; i < WORLD_TASKS; i++) {
        struct task *task = &world->tasks[i];
        if (task->busy && task->kind == TASK_CUT) {
            for (unsigned m = 0; m < task->cut.member_count; m++) {
                struct set *set = &world->sets[task->set];
                struct point *p = &world->points[set->points[m]];
                if (!p->view.cells) model_view_copy(&world->disks[p->disk].view, &p->view);
            }
        }
        *task = (struct task){.world = world};
    }
    for (int i = 0; i < WORLD_DISKS; i++) {
        if (world->disks[i].revert_write) world_undo_view(world, i);
        world->disks[i].handle = NULL;
        world->disks[i].busy = 0;
    }
    for (int i = 0; i < WORLD_POINTS; i++) world->points[i].busy = 0;
}

/* One error somewhere in the opening: it is refused with a reason or good, and good the next time. */
static bool open_with_fault(struct world *world)
{
    static const enum sim_fault_kind kinds[] = {SIM_FAULT_READ_ERROR, SIM_FAULT_WRITE_ERROR,
                                                SIM_FAULT_FLUSH_ERROR};
    unsigned which = (unsigned)prng_below(&world->prng, 3);
    sim_node_fault(world->node, kinds[which], POOL_PATH, prng_below(&world->prng, which ? 2 : 30));
    world->call_done = false;
    world->call_error = NULL;
    call_open(world, call_done, world);
    bool ended = world_wait(world, call_is_done, "open with a fault");
    sim_heal(world->sim);
    if (!ended) return false;
    world_trace(world, "open with a fault: %s", world->call_error ? "refused" : "good");
    bool bad = world->call_error && err_frame_count(world->call_error) == 0;
    err_free(take_ptr(&world->call_error));
    sim_node_crash(world->node, SIM_CRASH_PROCESS);
    if (world->pool) volume_pool_abandon(take_ptr(&world->pool));
    world->rt = sim_node_boot(world->node);
    return bad ? world_fail(world, "an open was refused without a reason") : true;
}

static bool boot_and_open(struct world *world)
{
    unsigned left = world->options.recovery_crashes;
    for (;;) {
        world->crashed = false;
        world->rt = sim_node_boot(world->node);
        sim_node_ignore_flush(world->node, world->options.ignore_flush);
        bool arm = left > 0 && prng_chance(&world->prng, 2, 3);
        if (arm) {
            left--;
            world->crash_kind = draw_crash_kind(world);
            uint64_t at = 1 + prng_below(&world->prng, 10);
            world_trace(world, "recovery will crash at write %llu", (unsigned long long)at);
            sim_node_crash_at_write(world->node, at, world->crash_kind);
        }
        bool ok = !world->options.open_faults || arm || open_with_fault(world);
        ok = ok && world_call(world, "open after a crash", call_open);
        if (ok || world->failed) {
            sim_node_crash_at_write(world->node, 0, SIM_CRASH_PROCESS);
            return ok;
        }
        world->recovery_crash_count++;
        if (world->pool) volume_pool_abandon(take_ptr(&world->pool));
        err_free(take_ptr(&world->call_error));
    }
}

struct roll_call {
    struct world *world;
    bool disk_there[WORLD_DISKS], point_there[WORLD_POINTS];
    uint32_t disk_sectors[WORLD_DISKS], point_sectors[WORLD_POINTS];
};

static void call_disk(void *arg, const struct volume_disk_info *info)
{
    struct roll_call *roll = arg;
    char text[UUID_TEXT_SIZE];
    int disk = world_disk_by_uuid(roll->world, &info->uuid);
    if (disk < 0) {
        world_fail(roll->world, "disk %s is there that nobody made, or that was deleted",
                   uuid_format(&info->uuid, text));
        return;
    }
    roll->disk_there[disk] = true;
    world_decide_split(roll->world, disk, info->depth);
    roll->disk_sectors[disk] = (uint32_t)(info->size_bytes / SECTOR_BYTES);
}

static void call_point(void *arg, const struct volume_point_info *info)
{
    struct roll_call *roll = arg;
    char text[UUID_TEXT_SIZE];
    if (info->kind == VOLUME_POINT_PIN) return; /* nameless: was a deleted point of a branch */
    int point = world_point_by_uuid(roll->world, &info->uuid);
    if (point < 0) {
        world_fail(roll->world, "point %s is there that nobody made, or that was deleted",
                   uuid_format(&info->uuid, text));
        return;
    }
    roll->point_there[point] = true;
    roll->point_sectors[point] = (uint32_t)(info->size_bytes / SECTOR_BYTES);
}

/* Which disks are there; what was in doubt is decided. */
static bool decide_disks(struct world *world, const struct roll_call *roll, struct model_bound *bound)
{
    for (int i = 0; i < WORLD_DISKS; i++) {
        struct disk *disk = &world->disks[i];
        if (disk->state == THING_NONE) continue;
        if ((disk->state == THING_THERE || disk->acked) && disk->state != THING_GOING &&
            !roll->disk_there[i])
            return world_fail(world, "disk %d is gone", i);
        if (disk->state == THING_COMING && roll->disk_there[i])
            bound->floor = max_of(bound->floor, disk->submitted);
        if (disk->state == THING_GOING && !roll->disk_there[i])
            bound->floor = max_of(bound->floor, disk->submitted);
        if (!roll->disk_there[i]) {
            world_disk_forget(world, i);
            continue;
        }
        if (disk->resizing && roll->disk_sectors[i] == disk->new_sector_count)
            model_view_grow(&disk->view, disk->new_sector_count);
        disk->resizing = false;
        if (disk->state == THING_COMING && disk->parent_disk >= 0) continue; /* its point comes first */
        disk->state = THING_THERE;
        if (roll->disk_sectors[i] != disk->view.sector_count)
            return world_fail(world, "disk %d has %u sectors, expected %u", i, roll->disk_sectors[i],
                              disk->view.sector_count);
    }
    return true;
}

static bool decide_points(struct world *world, const struct roll_call *roll, struct model_bound *bound)
{
    for (int i = 0; i < WORLD_SETS; i++) {
        struct set *set = &world->sets[i];
        if (!set->used || set->acked) continue;
        unsigned there = 0, count = set->member_count;
        for (unsigned m = 0; m < count; m++) there += roll->point_there[set->points[m]];
        if (there != 0 && there != count)
            return world_fail(world, "half a set: %u of %u members of cut %d", there, count, i);
        if (there) bound->floor = max_of(bound->floor, set->submitted);
        if (there) set->acked = true;
        if (there) set->done = model_now(world->model);
    }
    for (int i = 0; i < WORLD_POINTS; i++) {
        struct point *p = &world->points[i];
        if (p->state == THING_NONE) continue;
        if (p->state == THING_THERE && !roll->point_there[i])
            return world_fail(world, "point %d (cut %d) is gone", i, p->set);
        if (!roll->point_there[i]) {
            world_point_forget(world, i);
            continue;
        }
        p->state = THING_THERE;
        struct disk *disk = &world->disks[p->disk];
        if (roll->point_sectors[i] == p->view.sector_count) continue;
        if (p->exact || roll->point_sectors[i] != disk->view.sector_count)
            return world_fail(world, "point %d has %u sectors, expected %u", i, roll->point_sectors[i],
                              p->view.sector_count);
        model_view_grow(&p->view, roll->point_sectors[i]);
    }
    return true;
}

/* Branches whose call was in doubt and that are there: what they start from is known now. */
static void adopt_branches(struct world *world)
{
    for (int i = 0; i < WORLD_DISKS; i++) {
        struct disk *disk = &world->disks[i];
        if (disk->state != THING_COMING) continue;
        check(disk->parent_point >= 0 && world->points[disk->parent_point].exact);
        model_view_copy(&world->points[disk->parent_point].view, &disk->view);
        disk->state = THING_THERE;
    }
}

static bool check_recovered(struct world *world, struct model_bound *bound)
{
    struct roll_call roll = {.world = world};
    volume_disks(world->pool, call_disk, &roll);
    volume_points(world->pool, NULL, call_point, &roll);
    if (world->failed) return false;
    world_decide_reverts(world, roll.point_there);
    if (!decide_disks(world, &roll, bound) || !decide_points(world, &roll, bound)) return false;
    if (!world_resolve_all(world)) return false;
    bound->floor = max_of(bound->floor, world->power_lost ? world->durable : bound->floor);
    adopt_branches(world);
    if (!world_open_handles(world)) return false;
    return resolve_live(world, bound, world->power_lost ? "after power loss" : "after a process crash") &&
           verify_exact_points(world);
}

bool world_recover(struct world *world)
{
    world->crash_count++;
    uint32_t crashed_at = model_tick(world->model);
    bury(world);
    if (!boot_and_open(world)) return false;
    const struct volume_recovery *recovery = volume_pool_recovery(world->pool);
    world_trace(world, "recovered: %ju batches replayed, %ju blocks verified, %ju batches cut",
                (uintmax_t)recovery->batches_replayed, (uintmax_t)recovery->blocks_verified,
                (uintmax_t)recovery->batches_cut);
    bool is_ok = volume_pool_state(world->pool) == VOLUME_POOL_OK;
    if (!is_ok) return world_fail(world, "after a crash: %s", volume_pool_trouble(world->pool));
    struct model_bound bound = {.floor = world->power_lost ? world->durable : crashed_at,
                                .count_durable = true, .count_seen = !world->power_lost};
    if (!check_recovered(world, &bound)) return false;
    world->durable = model_tick(world->model);
    world->unflushed_writes = world->power_lost = 0;
    world_trace(world, "recovered state is allowed, floor %u", bound.floor);
    world_arm_crash(world);
    return true;
}

/* ---- Begin and end --------------------------------------------------------------------------- */

struct world *world_create_only(const struct world_options *options)
{
    struct world *world = calloc(1, sizeof *world);
    check(world != NULL);
    world->options = *options;
    if (!world->options.pool_bytes) world->options.pool_bytes = LIMIT_POOL_MIN_BYTES;
    if (!world->options.disk_blocks_max) world->options.disk_blocks_max = 512;
    prng_init(&world->prng, options->seed * 2 + 1);
    world->model = model_create(prng_u64(&world->prng) | 1);
    world->sim = sim_create(&(struct sim_options){.seed = options->seed, .buffer_bytes = options->buffer_bytes,
                                                   .file_latency_max_ns = options->latency_ns});
    world->node = sim_node_create(world->sim, "server");
    world->rt = sim_node_boot(world->node);
    for (int i = 0; i < WORLD_DISKS; i++) world->disks[i].parent_disk = world->disks[i].parent_point = -1;
    for (int i = 0; i < WORLD_POINTS; i++) world->points[i].disk = world->points[i].set = -1;
    for (int i = 0; i < WORLD_SLOTS; i++) world->slots[i].world = world;
    for (int i = 0; i < WORLD_TASKS; i++) world->tasks[i].world = world;
    world->reader.world = world;
    sim_node_ignore_flush(world->node, options->ignore_flush);
    world_call(world, "create the pool", call_create);
    return world;
}

struct world *world_create(const struct world_options *options)
{
    struct world *world = world_create_only(options);
    if (!world->failed) world_call(world, "open", call_open);
    return world;
}

void world_destroy(struct world *world)
{
    if (!world) return;
    if (sim_node_is_up(world->node)) sim_node_crash(world->node, SIM_CRASH_PROCESS);
    bury(world);
    for (int i = 0; i < WORLD_DISKS; i++) model_view_fini(&world->disks[i].view);
    for (int i = 0; i < WORLD_POINTS; i++) model_view_fini(&world->points[i].view);
    sim_destroy(world->sim);
    model_destroy(world->model);
    free(world);
}
