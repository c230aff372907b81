/* The world dies and comes back (world.h): crashes, what is in doubt then, and what must be so. */
#include <stdlib.h>

#include "base/check.h"
#include "world_int.h"

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
    world_note_crash(world);
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
void world_bury(struct world *world)
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
    sim_node_fault(world->node, kinds[which], WORLD_POOL_PATH, prng_below(&world->prng, which ? 2 : 30));
    world->call_done = false;
    world->call_error = NULL;
    world_call_open(world, world_call_done, world);
    bool ended = world_wait(world, world_call_is_done, "open with a fault");
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
        ok = ok && world_call(world, "open after a crash", world_call_open);
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
    return world_resolve_live(world, bound, world->power_lost ? "after power loss" : "after a process crash") &&
           world_verify_exact_points(world);
}

bool world_recover(struct world *world)
{
    world->crash_count++;
    uint32_t crashed_at = model_tick(world->model);
    world_bury(world);
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
