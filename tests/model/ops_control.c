/* Control calls of the model test: cuts, points, branches, disks, checkpoints; several at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/endian.h"
#include "ops.h"
#include "ops_int.h"

void ops_control(struct world *world, unsigned which, const uint8_t *bytes);

static bool task_is_free(struct world *world)
{
    for (unsigned i = 0; i < WORLD_TASKS; i++)
        if (!world->tasks[i].busy) return true;
    return false;
}

struct task *ops_task_get(struct world *world, enum task_kind kind)
{
    if (!world_wait(world, task_is_free, "a control call")) return NULL;
    for (unsigned i = 0; i < WORLD_TASKS; i++) {
        if (world->tasks[i].busy) continue;
        world->tasks[i] =
            (struct task){.world = world, .kind = kind, .disk = -1, .point = -1, .set = -1};
        return &world->tasks[i];
    }
    return NULL;
}

static struct uuid new_uuid(struct world *world)
{
    uint8_t random[16];
    prng_fill(&world->prng, random, sizeof random);
    return uuid_from_random(random);
}

void ops_task_start(struct task *task)
{
    task->busy = true;
    task->submitted = model_tick(task->world->model);
}

bool ops_task_ended(struct task *task, const char *what, struct err *e, enum status refusal)
{
    struct world *world = task->world;
    char text[300];
    model_tick(world->model);
    world_trace(world, "  %s (from %u) done: %s", what, task->submitted,
                e ? err_text(e, text, sizeof text) : "ok");
    task->busy = false;
    if (!e && task->refusal_expected) world_fail(world, "%s succeeded, expected a refusal", what);
    if (!e) {
        if (task->kind != TASK_CHECKPOINT && task->kind != TASK_PROMOTE)
            world_made_durable(world, task->submitted);
        return true;
    }
    bool full = err_status(e) == STATUS_POOL_FULL;
    if (full) world->full_count++;
    if (!((task->refusal_expected || task->refusal_allowed) && err_status(e) == refusal) && !full &&
        !world->lossy)
        world_fail(world, "%s: %s", what, err_text(e, text, sizeof text));
    if (full && (task->kind == TASK_POINT_DELETE || task->kind == TASK_DISK_DELETE))
        world_fail(world, "%s: deleting always works, but: %s", what,
                   err_text(e, text, sizeof text));
    err_free(e);
    return false;
}

/* ---- Disks ----------------------------------------------------------------------------------- */

static void disk_created(void *arg, struct err *e)
{
    struct task *task = arg;
    struct world *world = task->world;
    if (!ops_task_ended(task, "disk create", e, STATUS_OK)) {
        if (!world->lossy) world_disk_forget(world, task->disk);
        return;
    }
    world->disks[task->disk].state = THING_THERE;
    world_open_handles(world);
}

static void do_disk_create(struct world *world, const struct choice *choice)
{
    struct task *task = ops_task_get(world, TASK_DISK_CREATE);
    if (!task) return;
    for (int i = 0; i < WORLD_DISKS; i++) {
        struct disk *disk = &world->disks[i];
        if (disk->state != THING_NONE) continue;
        uint32_t blocks = (uint32_t)(LIMIT_DISK_MIN_BYTES / BLOCK_BYTES);
        if (world->options.disk_blocks_max > blocks)
            blocks += choice->count % (world->options.disk_blocks_max - blocks + 1);
        *disk = (struct disk){.state = THING_COMING,
                              .uuid = new_uuid(world),
                              .parent_disk = -1,
                              .parent_point = -1,
                              .number = ++world->disk_number};
        model_view_init(&disk->view, blocks * SECTORS_PER_BLOCK);
        task->disk = i;
        ops_task_start(task);
        disk->submitted = task->submitted;
        world_trace(world, "create disk %d (%u blocks)", i, blocks);
        volume_disk_create(world->pool, &disk->uuid, (uint64_t)blocks * BLOCK_BYTES, disk_created,
                           task);
        return;
    }
}

static void disk_deleted(void *arg, struct err *e)
{
    struct task *task = arg;
    struct world *world = task->world;
    if (ops_task_ended(task, "disk delete", e, STATUS_IN_USE)) {
        world_disk_forget(world, task->disk);
        return;
    }
    if (world->lossy) return;
    world->disks[task->disk].state = THING_THERE;
    world_open_handles(world);
}

/* Points of the disk and branches that hang on it. */
static unsigned dependents(const struct world *world, int disk)
{
    unsigned count = 0;
    for (int i = 0; i < WORLD_POINTS; i++)
        count += world->points[i].state != THING_NONE && world->points[i].disk == disk;
    for (int i = 0; i < WORLD_DISKS; i++)
        count += world->disks[i].state != THING_NONE && world->disks[i].parent_disk == disk;
    return count;
}

/* No answer to "refused?" while a call that would change it is under way. */
static bool family_is_moving(const struct world *world, int disk)
{
    for (int i = 0; i < WORLD_POINTS; i++)
        if (world->points[i].disk == disk && world->points[i].state != THING_NONE &&
            (world->points[i].state != THING_THERE || world->points[i].busy))
            return true;
    for (int i = 0; i < WORLD_DISKS; i++)
        if (world->disks[i].parent_disk == disk && world->disks[i].state != THING_NONE &&
            (world->disks[i].state != THING_THERE || world->disks[i].splitting))
            return true;
    return false;
}

static void delete_disk(struct world *world, int disk)
{
    struct task *task = ops_task_get(world, TASK_DISK_DELETE);
    struct disk *d = &world->disks[disk];
    if (!task || d->state != THING_THERE || d->busy || d->resizing || family_is_moving(world, disk))
        return;
    task->refusal_expected = dependents(world, disk) > 0;
    volume_close(take_ptr(&d->handle));
    task->disk = disk;
    ops_task_start(task);
    d->state = THING_GOING;
    d->submitted = task->submitted;
    world_trace(world, "delete disk %d%s", disk, task->refusal_expected ? " (has dependents)" : "");
    volume_disk_delete(world->pool, &d->uuid, disk_deleted, task);
}

static void do_disk_delete(struct world *world, const struct choice *choice)
{
    int disk = choice->disk % WORLD_DISKS;
    if (world->disks[disk].state != THING_THERE) return;
    if (dependents(world, disk) && (choice->flags & 3)) return; /* refusals: seldom */
    delete_disk(world, disk);
}

static void disk_grown(void *arg, struct err *e)
{
    struct task *task = arg;
    struct world *world = task->world;
    struct disk *disk = &world->disks[task->disk];
    disk->busy--;
    bool ok = ops_task_ended(task, "grow", e, STATUS_OK);
    if (ok || !world->lossy) disk->resizing = false;
    if (!ok) return;
    model_view_grow(&disk->view, task->sector_count);
    if (volume_size_bytes(disk->handle) != (uint64_t)task->sector_count * SECTOR_BYTES)
        world_fail(world, "disk %d was grown to %u sectors, its handle says %llu bytes", task->disk,
                   task->sector_count, (unsigned long long)volume_size_bytes(disk->handle));
}

static void do_grow(struct world *world, const struct choice *choice)
{
    struct task *task = ops_task_get(world, TASK_DISK_GROW);
    int i = choice->disk % WORLD_DISKS;
    struct disk *disk = &world->disks[i];
    if (!task || disk->state != THING_THERE || disk->resizing) return;
    uint32_t limit = world->options.disk_blocks_max * 2 * SECTORS_PER_BLOCK;
    uint32_t to = disk->view.sector_count + (1 + choice->count % 64) * SECTORS_PER_BLOCK;
    if (to > limit) return;
    task->disk = i;
    task->sector_count = disk->new_sector_count = to;
    disk->resizing = true;
    disk->busy++;
    ops_task_start(task);
    world_trace(world, "grow disk %d to %u sectors", i, to);
    volume_disk_resize(world->pool, &disk->uuid, (uint64_t)to * SECTOR_BYTES, disk_grown, task);
}

/* ---- Cuts and points ------------------------------------------------------------------------- */

/* The size may have grown on either side of the cut. */
static bool fit_point(struct world *world, struct point *p, int index)
{
    struct volume_point_info info;
    if (!volume_point_find(world->pool, &p->uuid, &info))
        return world_fail(world, "point %d was cut, but is not there", index);
    uint32_t sectors = (uint32_t)(info.size_bytes / SECTOR_BYTES);
    struct disk *disk = &world->disks[p->disk];
    if (sectors == p->view.sector_count) return true;
    if (disk->resizing && sectors == disk->new_sector_count)
        model_view_grow(&p->view, sectors);
    else if (sectors < p->view.sector_count && disk->new_sector_count == p->view.sector_count)
        p->view.sector_count = sectors;
    else
        return world_fail(world, "point %d has %u sectors, expected %u", index, sectors,
                          p->view.sector_count);
    return true;
}

static void cut_done(void *arg, struct err *e)
{
    struct task *task = arg;
    struct world *world = task->world;
    struct set *set = &world->sets[task->set];
    unsigned count = set->member_count;
    int points[WORLD_MEMBERS];
    memcpy(points, set->points, sizeof points);
    for (unsigned i = 0; i < count; i++)
        world->disks[world->points[points[i]].disk].busy--;
    bool ok = ops_task_ended(task, "cut", e, STATUS_TOO_LATE);
    set->done = model_now(world->model);
    set->acked = ok;
    world->cut_count += ok;
    for (unsigned i = 0; i < count; i++) {
        struct point *p = &world->points[points[i]];
        if (!ok && !world->lossy) {
            world_point_forget(world, points[i]);
            continue;
        }
        model_view_copy(&world->disks[p->disk].view, &p->view);
        if (!ok) continue;
        p->state = THING_THERE;
        fit_point(world, p, points[i]);
    }
}

/* Finds room for a set and its points; false when there is none. */
static bool set_prepare(struct world *world, const int *disks, unsigned count, struct task *task)
{
    for (int s = 0; s < WORLD_SETS; s++) {
        struct set *set = &world->sets[s];
        if (set->used) continue;
        unsigned found = 0;
        for (int i = 0; i < WORLD_POINTS && found < count; i++)
            if (world->points[i].state == THING_NONE) set->points[found++] = i;
        if (found < count) return false;
        *set = (struct set){
            .used = true,
            .uuid = new_uuid(world),
            .member_count = count,
            .points = {set->points[0], set->points[1], set->points[2], set->points[3]}};
        for (unsigned i = 0; i < count; i++) {
            world->points[set->points[i]] = (struct point){
                .state = THING_COMING, .uuid = new_uuid(world), .disk = disks[i], .set = s};
            task->members[i] =
                (struct volume_cut_member){.disk = world->disks[disks[i]].uuid,
                                           .point = world->points[set->points[i]].uuid,
                                           .kind = VOLUME_POINT_SNAPSHOT};
        }
        task->set = s;
        return true;
    }
    return false;
}

static void do_cut(struct world *world, const struct choice *choice)
{
    struct task *task = ops_task_get(world, TASK_CUT);
    if (!task) return;
    int disks[WORLD_MEMBERS];
    unsigned count = 0, wanted = 1 + choice->extra % WORLD_MEMBERS;
    for (unsigned n = 0; n < WORLD_DISKS && count < wanted; n++) {
        int i = (int)((choice->disk + n) % WORLD_DISKS);
        const struct disk *disk = &world->disks[i];
        if (disk->state == THING_THERE && disk->handle && !disk->frozen) disks[count++] = i;
    }
    if (count == 0 || !set_prepare(world, disks, count, task)) return;
    struct set *set = &world->sets[task->set];
    task->cut =
        (struct volume_cut){.set = set->uuid, .member_count = count, .members = task->members};
    if ((choice->flags & 15) == 7) { /* a deadline that may pass */
        task->cut.deadline_ns = rt_now(world->rt) + (choice->count % 4) * RT_MS / 2;
        task->refusal_allowed = true;
    }
    for (unsigned i = 0; i < count; i++)
        world->disks[disks[i]].busy++;
    ops_task_start(task);
    set->submitted = task->submitted;
    world_trace(world, "cut %d: %u members, first disk %d", task->set, count, disks[0]);
    volume_cut(world->pool, &task->cut, &task->result, cut_done, task);
}

static void point_deleted(void *arg, struct err *e)
{
    struct task *task = arg;
    struct world *world = task->world;
    world->points[task->point].busy--;
    if (ops_task_ended(task, "point delete", e, STATUS_IN_USE))
        world_point_forget(world, task->point);
    else if (!world->lossy)
        world->points[task->point].state = THING_THERE;
}

static void delete_point(struct world *world, int point)
{
    struct task *task = ops_task_get(world, TASK_POINT_DELETE);
    struct point *p = &world->points[point];
    if (!task || p->state != THING_THERE || p->busy) return;
    p->state = THING_GOING;
    p->busy++;
    task->point = point;
    ops_task_start(task);
    world_trace(world, "delete point %d of disk %d", point, p->disk);
    volume_point_delete(world->pool, &p->uuid, point_deleted, task);
}

static void do_point_delete(struct world *world, const struct choice *choice)
{
    for (unsigned n = 0; n < WORLD_POINTS; n++) {
        int i = (int)((choice->disk + n) % WORLD_POINTS);
        if (world->points[i].state != THING_THERE || world->points[i].busy) continue;
        if ((choice->flags & 1) && !world->points[i].exact)
            world_resolve_set(world, world->points[i].set);
        if (!world->crashed && !world->failed) delete_point(world, i);
        return;
    }
}

/* ---- Branches -------------------------------------------------------------------------------- */

static void branch_done(void *arg, struct err *e)
{
    struct task *task = arg;
    struct world *world = task->world;
    struct disk *disk = &world->disks[task->disk];
    world->points[task->point].busy--;
    if (!ops_task_ended(task, "branch", e, STATUS_LIMIT_REACHED)) {
        if (!world->lossy) world_disk_forget(world, task->disk);
    } else if (world->points[task->point].exact) {
        model_view_copy(&world->points[task->point].view, &disk->view);
        disk->state = THING_THERE;
        world_open_handles(world);
    } else {
        disk->acked = true;
    }
}

/* A branch of a point whose content is not known yet is made first and looked at afterwards. */
static void do_branch(struct world *world, const struct choice *choice)
{
    struct task *task = ops_task_get(world, TASK_BRANCH);
    int point = -1, disk = -1;
    for (unsigned n = 0; n < WORLD_POINTS && point < 0; n++) {
        int i = (int)((choice->disk + n) % WORLD_POINTS);
        if (world->points[i].state == THING_THERE) point = i;
    }
    for (int i = 0; i < WORLD_DISKS && disk < 0; i++)
        if (world->disks[i].state == THING_NONE) disk = i;
    if (!task || point < 0 || disk < 0) return;
    struct point *p = &world->points[point];
    if (!p->exact && (choice->flags & 1)) {
        if (!world_resolve_set(world, p->set)) return;
        if (p->state != THING_THERE || world->disks[disk].state != THING_NONE || task->busy) return;
    }
    unsigned depth = world->disks[p->disk].depth + 1;
    world->disks[disk] = (struct disk){.state = THING_COMING,
                                       .uuid = new_uuid(world),
                                       .parent_disk = p->disk,
                                       .parent_point = point,
                                       .depth = depth,
                                       .number = ++world->disk_number};
    task->disk = disk;
    task->point = point;
    task->refusal_expected = depth > LIMIT_BRANCH_DEPTH;
    p->busy++;
    ops_task_start(task);
    world->disks[disk].submitted = task->submitted;
    world_trace(world, "branch disk %d from point %d of disk %d", disk, point, p->disk);
    volume_branch(world->pool, &p->uuid, &world->disks[disk].uuid, branch_done, task);
    if (p->exact) return;
    int set = p->set;
    if (!world_drain(world) || world->disks[disk].state != THING_COMING ||
        !world->disks[disk].acked)
        return;
    if (!world_resolve_set(world, set)) return;
    model_view_copy(&p->view, &world->disks[disk].view);
    world->disks[disk].state = THING_THERE;
    world_open_handles(world);
}

/* ---- Revert ---------------------------------------------------------------------------------- */

void world_undo_view(struct world *world, int disk)
{
    struct disk *d = &world->disks[disk];
    struct model_view *undo = &world->points[d->revert_undo].view;
    if (undo->cells) return;
    model_view_copy(&d->view, undo);
    model_write_void(world->model, undo, d->revert_write);
    undo->sector_count = d->revert_from;
}

void world_decide_reverts(struct world *world, const bool *point_there)
{
    for (int i = 0; i < WORLD_DISKS; i++) {
        struct disk *disk = &world->disks[i];
        if (disk->replacing && !disk->revert_write) {
            if (point_there[disk->revert_undo])
                world_fail(world, "disk %d was replaced before its stage was complete", i);
            disk->replacing = disk->frozen = disk->resizing = false;
        }
        if (!disk->revert_write) continue;
        bool done = point_there[disk->revert_undo];
        world_trace(world, "revert of disk %d was %sdone", i, done ? "" : "not ");
        if (done)
            model_write_durable(world->model, disk->revert_write);
        else
            model_write_void(world->model, &disk->view, disk->revert_write);
        disk->view.sector_count = done ? disk->revert_to : disk->revert_from;
        disk->revert_write = 0;
        disk->frozen = disk->resizing = disk->replacing = false;
    }
}

static void check_undo(struct world *world, const struct disk *disk, int undo)
{
    struct volume_point_info info;
    if (!volume_point_find(world->pool, &world->points[undo].uuid, &info))
        world_fail(world, "a revert left no undo point %d", undo);
    else if (info.kind != VOLUME_POINT_UNDO ||
             info.size_bytes != (uint64_t)world->points[undo].view.sector_count * SECTOR_BYTES)
        world_fail(world, "undo point %d is of kind %d and has %llu bytes", undo, info.kind,
                   (unsigned long long)info.size_bytes);
    if (volume_size_bytes(disk->handle) != (uint64_t)disk->view.sector_count * SECTOR_BYTES)
        world_fail(world, "a disk was reverted to %u sectors, its handle says %llu bytes",
                   disk->view.sector_count, (unsigned long long)volume_size_bytes(disk->handle));
}

void ops_revert_ended(struct task *task, bool ok)
{
    struct world *world = task->world;
    struct disk *disk = &world->disks[task->disk];
    int undo = disk->revert_undo;
    model_write_done(world->model, disk->revert_write, ok);
    if (!ok && world->lossy) return; /* in doubt */
    world_undo_view(world, task->disk);
    disk->resizing = disk->frozen = disk->replacing = false;
    disk->view.sector_count = ok ? disk->revert_to : disk->revert_from;
    if (ok) {
        struct set *set = &world->sets[task->set];
        model_write_durable(world->model, disk->revert_write);
        world->points[undo].state = THING_THERE;
        set->acked = true;
        set->done = model_now(world->model);
        check_undo(world, disk, undo);
    } else {
        model_write_void(world->model, &disk->view, disk->revert_write);
        world_point_forget(world, undo);
    }
    disk->revert_write = 0;
}

static void reverted(void *arg, struct err *e)
{
    struct task *task = arg;
    struct world *world = task->world;
    world->disks[task->disk].busy--;
    world->points[task->point].busy--;
    bool ok = ops_task_ended(task, "revert", e, STATUS_OK);
    world->revert_count += ok;
    ops_revert_ended(task, ok);
}

bool ops_undo_prepare(struct world *world, struct task *task)
{
    int undo = -1, set = -1;
    for (int i = 0; i < WORLD_POINTS && undo < 0; i++)
        if (world->points[i].state == THING_NONE) undo = i;
    for (int i = 0; i < WORLD_SETS && set < 0; i++)
        if (!world->sets[i].used) set = i;
    if (undo < 0 || set < 0) return false;
    world->sets[set] =
        (struct set){.used = true, .uuid = new_uuid(world), .member_count = 1, .points = {undo}};
    world->points[undo] = (struct point){
        .state = THING_COMING, .uuid = new_uuid(world), .disk = task->disk, .set = set};
    task->set = set;
    world->disks[task->disk].revert_undo = undo;
    return true;
}

/* A point to go back to whose disk is ready for it, or -1. */
static int pick_revert(const struct world *world, unsigned choice)
{
    for (unsigned n = 0; n < WORLD_POINTS; n++) {
        int i = (int)((choice + n) % WORLD_POINTS);
        if (world->points[i].state != THING_THERE) continue;
        const struct disk *disk = &world->disks[world->points[i].disk];
        if (disk->state == THING_THERE && disk->handle && !disk->resizing) return i;
    }
    return -1;
}

/* Among requests under way; only where the size changes, alone. */
static void do_revert(struct world *world, const struct choice *choice)
{
    struct task *task = ops_task_get(world, TASK_REVERT);
    int point = task ? pick_revert(world, choice->disk) : -1;
    if (point < 0) return;
    if (!world->points[point].exact && !world_resolve_set(world, world->points[point].set)) return;
    point = pick_revert(world, (unsigned)point);
    if (point < 0 || !world->points[point].exact) return;
    struct point *p = &world->points[point];
    struct disk *disk = &world->disks[p->disk];
    if (p->view.sector_count != disk->view.sector_count) {
        if (!world_drain(world)) return;
        if (p->state != THING_THERE || !p->exact || !disk->handle || disk->resizing) return;
    }
    if (task->busy) return;
    task->disk = p->disk;
    task->point = point;
    if (!ops_undo_prepare(world, task)) return;
    disk->frozen = p->view.sector_count != disk->view.sector_count;
    disk->resizing = true;
    disk->revert_from = disk->view.sector_count;
    disk->revert_to = disk->new_sector_count = p->view.sector_count;
    if (disk->revert_to > disk->revert_from) model_view_grow(&disk->view, disk->revert_to);
    disk->busy++;
    p->busy++;
    ops_task_start(task);
    world->sets[task->set].submitted = task->submitted;
    disk->revert_write = model_revert_submit(world->model, &disk->view, &p->view, disk->number,
                                             world_horizon(world));
    world_trace(world, "revert disk %d to point %d, undo point %d, write %u", p->disk, point,
                disk->revert_undo, disk->revert_write);
    volume_revert(world->pool, &disk->uuid, &p->uuid, &world->points[disk->revert_undo].uuid,
                  reverted, task);
}

/* ---- Promote and split ----------------------------------------------------------------------- */

void world_was_split(struct world *world, int disk)
{
    world->disks[disk].parent_disk = world->disks[disk].parent_point = -1;
    for (int lap = 0; lap < WORLD_DISKS; lap++)
        for (int i = 0; i < WORLD_DISKS; i++) {
            int parent = world->disks[i].parent_disk;
            if (world->disks[i].state != THING_NONE)
                world->disks[i].depth = parent < 0 ? 0 : world->disks[parent].depth + 1;
        }
}

void world_decide_split(struct world *world, int disk, unsigned depth)
{
    struct disk *d = &world->disks[disk];
    if (d->parent_disk >= 0 && depth == 0) {
        if (!d->splitting) world_fail(world, "branch %d has lost its parent", disk);
        world_was_split(world, disk);
    }
    d->splitting = d->promoting = false;
}

static void split_done(void *arg, struct err *e)
{
    struct task *task = arg;
    struct world *world = task->world;
    struct disk *disk = &world->disks[task->disk];
    disk->busy--;
    bool ok = ops_task_ended(task, "split", e, STATUS_OK);
    if (!ok && world->lossy) return;
    disk->splitting = false;
    if (!ok) return;
    world_was_split(world, task->disk);
    world->split_count++;
}

static void promoted(struct volume_promotion *job, struct err *e)
{
    struct task *task = container_of(job, struct task, promotion);
    struct world *world = task->world;
    struct disk *disk = &world->disks[task->disk];
    bool ok = ops_task_ended(task, "promote", e, STATUS_CANCELLED);
    disk->promoting = false;
    if (!ok) {
        disk->busy--;
        return;
    }
    world->promote_count++;
    if (task->sector_count & 3) {
        disk->busy--;
        return;
    }
    disk->splitting = true;
    task->kind = TASK_SPLIT;
    ops_task_start(task);
    world_trace(world, "split disk %d", task->disk);
    volume_split(world->pool, &disk->uuid, split_done, task);
}

/* Copies go on beside everything else; now and then the job is paused for a while, or cancelled. */
static void do_promote(struct world *world, const struct choice *choice)
{
    for (unsigned i = 0; i < WORLD_TASKS; i++) {
        struct task *t = &world->tasks[i];
        if (!t->busy || t->kind != TASK_PROMOTE || (choice->flags & 7) != 1) continue;
        volume_promotion_cancel(&t->promotion);
        return;
    }
    struct task *task = ops_task_get(world, TASK_PROMOTE);
    for (unsigned n = 0; task && n < WORLD_DISKS; n++) {
        int i = (int)((choice->disk + n) % WORLD_DISKS);
        struct disk *disk = &world->disks[i];
        if (disk->state != THING_THERE || !disk->handle || disk->parent_disk < 0 ||
            disk->promoting || disk->splitting || disk->frozen)
            continue;
        task->disk = i;
        task->sector_count = choice->extra; /* a quarter is split at once */
        task->refusal_allowed = true;
        task->promotion = (struct volume_promotion){.disk = disk->uuid, .done = promoted};
        disk->busy++;
        disk->promoting = disk->promoted = true;
        ops_task_start(task);
        world_trace(world, "promote disk %d", i);
        volume_promote(world->pool, &task->promotion);
        return;
    }
}

/* ---- Checkpoint, the table, the end ---------------------------------------------------------- */

static void checkpoint_done(void *arg, struct err *e)
{
    ops_task_ended(arg, "checkpoint", e, STATUS_OK);
}

static void do_checkpoint(struct world *world, const struct choice *choice)
{
    struct task *task = ops_task_get(world, TASK_CHECKPOINT);
    if (!task) return;
    ops_task_start(task);
    volume_pool_checkpoint(world->pool, checkpoint_done, task);
}

void ops_control(struct world *world, unsigned which, const uint8_t *bytes)
{
    struct choice choice = {.disk = bytes[1],
                            .flags = bytes[2],
                            .sector = load_le32(bytes + 4),
                            .count = load_le16(bytes + 8),
                            .extra = load_le16(bytes + 10)};
    switch ((enum task_kind)which) {
    case TASK_CUT:
        do_cut(world, &choice);
        break;
    case TASK_POINT_DELETE:
        do_point_delete(world, &choice);
        break;
    case TASK_BRANCH:
        do_branch(world, &choice);
        break;
    case TASK_DISK_CREATE:
        do_disk_create(world, &choice);
        break;
    case TASK_DISK_DELETE:
        do_disk_delete(world, &choice);
        break;
    case TASK_DISK_GROW:
        do_grow(world, &choice);
        break;
    case TASK_CHECKPOINT:
        do_checkpoint(world, &choice);
        break;
    case TASK_REVERT:
        do_revert(world, &choice);
        break;
    case TASK_PROMOTE:
        do_promote(world, &choice);
        break;
    case TASK_REPLACE:
        ops_replace(world, &choice);
        break;
    case TASK_SPLIT:
        break;
    }
}

static void call_settle(struct world *world, volume_done_fn *done, void *arg)
{
    volume_pool_settle(world->pool, done, arg);
}

static void call_check(struct world *world, volume_done_fn *done, void *arg)
{
    volume_pool_check(world->pool, NULL, done, arg);
}

bool world_empty(struct world *world)
{
    for (int i = 0; i < WORLD_POINTS; i++)
        if (world->points[i].state == THING_THERE) delete_point(world, i);
    if (!world_drain(world)) return false;
    for (unsigned lap = 0; lap < WORLD_DISKS; lap++) { /* branches before their parents */
        for (int i = 0; i < WORLD_DISKS; i++)
            if (world->disks[i].state == THING_THERE && !world->disks[i].promoting &&
                dependents(world, i) == 0)
                delete_disk(world, i);
        if (!world_drain(world)) return false;
    }
    for (int i = 0; i < WORLD_DISKS; i++)
        if (world->disks[i].state != THING_NONE)
            return world_fail(world, "disk %d could not be deleted: %u dependents, %u calls", i,
                              dependents(world, i), world->disks[i].busy);
    if (!world_call(world, "settle", call_settle) || !world_call(world, "check", call_check))
        return false;
    struct volume_pool_usage usage;
    volume_pool_usage(world->pool, &usage);
    if (usage.data_bytes != 0)
        return world_fail(world, "everything is deleted, but %llu blocks are in use",
                          (unsigned long long)usage.data_bytes / BLOCK_BYTES);
    return true;
}
