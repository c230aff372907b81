/* The world: node, pool and handles; waiting, crashing, recovering (world.h). */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "world_int.h"

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

bool world_note_crash(struct world *world)
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
    while (!world->failed && !world_note_crash(world)) {
        if (condition(world)) return true;
        if (!step(world) && !world_note_crash(world))
            return world_fail(world, "%s never ends: nothing is left to happen", what);
        if (sim_now(world->sim) > limit_ns) return world_fail(world, "%s hangs", what);
    }
    return false;
}

bool world_step(struct world *world, unsigned steps)
{
    while (steps-- && !world->failed && !world_note_crash(world))
        if (!step(world)) break;
    return !world->failed && !world_note_crash(world);
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

void world_call_done(void *arg, struct err *e)
{
    struct world *world = arg;
    world->call_done = true;
    world->call_error = e;
}

bool world_call_is_done(struct world *world)
{
    return world->call_done;
}

bool world_call(struct world *world, const char *what, world_call_fn *call)
{
    world->call_done = false;
    world->call_error = NULL;
    call(world, world_call_done, world);
    if (!world_wait(world, world_call_is_done, what)) return false;
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
    volume_pool_create(world->rt, WORLD_POOL_PATH, world->options.pool_bytes, &uuid, &options, false, NULL,
                       done, arg);
}

void world_call_open(struct world *world, volume_done_fn *done, void *arg)
{
    struct volume_pool_options options;
    pool_options(world, &options);
    world->pool = NULL;
    volume_pool_open(world->rt, WORLD_POOL_PATH, &options, &world->pool, done, arg);
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
    volume_pool_check(world->pool, NULL, done, arg);
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
bool world_resolve_live(struct world *world, struct model_bound *bound, const char *when)
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

bool world_verify_exact_points(struct world *world)
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
    if (!world_resolve_live(world, &bound, "verify") || !world_verify_exact_points(world)) return false;
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
    if (!world_call(world, "open", world_call_open)) return false;
    world_trace(world, "reopened");
    if (volume_pool_state(world->pool) != VOLUME_POOL_OK)
        return world_fail(world, "after a clean close: %s", volume_pool_trouble(world->pool));
    if (!volume_pool_recovery(world->pool)->clean)
        return world_fail(world, "a clean close left something to replay");
    return world_open_handles(world) && world_verify(world);
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
    if (!world->failed) world_call(world, "open", world_call_open);
    return world;
}

void world_destroy(struct world *world)
{
    if (!world) return;
    if (sim_node_is_up(world->node)) sim_node_crash(world->node, SIM_CRASH_PROCESS);
    world_bury(world);
    for (int i = 0; i < WORLD_DISKS; i++) model_view_fini(&world->disks[i].view);
    for (int i = 0; i < WORLD_POINTS; i++) model_view_fini(&world->points[i].view);
    sim_destroy(world->sim);
    model_destroy(world->model);
    free(world);
}
