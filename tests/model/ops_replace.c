/* Replaces in the model test: a disk takes the content of any point, its own, a branch's, another's. */
#include <string.h>

#include "base/check.h"
#include "ops.h"
#include "ops_int.h"

/* The last of it is staged: from now on it may happen. */
static void submit(struct task *task)
{
    struct world *world = task->world;
    struct disk *disk = &world->disks[task->disk];
    const struct point *p = &world->points[task->point];
    if (disk->revert_to > disk->revert_from) model_view_grow(&disk->view, disk->revert_to);
    disk->revert_write = model_revert_submit(world->model, &disk->view, &p->view, disk->number,
                                             world_horizon(world));
    world->sets[task->set].submitted =
        model_write_submitted_at(world->model, disk->revert_write);
    world_trace(world, "  replace of disk %d is staged, write %u", task->disk, disk->revert_write);
}

static void progressed(struct volume_replacement *job, uint64_t done_bytes, uint64_t total_bytes)
{
    struct task *task = container_of(job, struct task, replacement);
    struct world *world = task->world;
    uint64_t expected = (uint64_t)world->disks[task->disk].revert_to * SECTOR_BYTES;
    if (total_bytes != expected || done_bytes > total_bytes)
        world_fail(world, "a replace tells %llu of %llu bytes, expected of %llu",
                   (unsigned long long)done_bytes, (unsigned long long)total_bytes,
                   (unsigned long long)expected);
    if (done_bytes == total_bytes && !world->disks[task->disk].revert_write) submit(task);
}

static void replaced(struct volume_replacement *job, struct err *e)
{
    struct task *task = container_of(job, struct task, replacement);
    struct world *world = task->world;
    struct disk *disk = &world->disks[task->disk];
    /* CONFLICT: its base went with the last that hung on it. */
    enum status refusal = err_status(e) == STATUS_CONFLICT ? STATUS_CONFLICT : STATUS_CANCELLED;
    disk->busy--;
    world->points[task->point].busy--;
    volume_close(job->content);
    bool ok = ops_task_ended(task, "replace", e, refusal);
    world->replace_count += ok;
    if (disk->revert_write) {
        ops_revert_ended(task, ok);
        return;
    }
    if (ok) world_fail(world, "disk %d was replaced before all of it was staged", task->disk);
    disk->resizing = disk->frozen = disk->replacing = false;
    world_point_forget(world, disk->revert_undo);
}

static bool cancelled_one(struct world *world)
{
    for (unsigned i = 0; i < WORLD_TASKS; i++) {
        struct task *task = &world->tasks[i];
        if (!task->busy || task->kind != TASK_REPLACE) continue;
        world_trace(world, "cancel the replace of disk %d", task->disk);
        volume_replacement_cancel(&task->replacement);
        return true;
    }
    return false;
}

static bool disk_is_ready(const struct disk *disk)
{
    return disk->state == THING_THERE && disk->handle && !disk->resizing && !disk->frozen;
}

/* A disk; and a point, mostly one of a branch of it. */
static bool pick(const struct world *world, const struct choice *choice, int *ret_disk,
                 int *ret_point)
{
    int any = -1;
    for (unsigned n = 0; n < WORLD_DISKS * WORLD_POINTS; n++) {
        int d = (int)((choice->disk + n / WORLD_POINTS) % WORLD_DISKS);
        int p = (int)((choice->count + n) % WORLD_POINTS);
        if (!disk_is_ready(&world->disks[d]) || world->points[p].state != THING_THERE) continue;
        bool is_branch = world->disks[world->points[p].disk].parent_disk == d;
        if (any < 0) any = d * WORLD_POINTS + p;
        if (!is_branch && (choice->flags & 0x30)) continue;
        *ret_disk = d;
        *ret_point = p;
        return true;
    }
    if (any < 0) return false;
    *ret_disk = any / WORLD_POINTS;
    *ret_point = any % WORLD_POINTS;
    return true;
}

static bool begin(struct task *task, int disk, int point)
{
    struct world *world = task->world;
    struct disk *d = &world->disks[disk];
    struct point *p = &world->points[point];
    struct volume *content;
    task->disk = disk;
    task->point = point;
    if (!ops_undo_prepare(world, task)) return false;
    struct err *e = volume_open(world->pool, NULL, &p->uuid, VOLUME_READ_ONLY, &content);
    if (e) {
        err_free(e);
        return world_fail(world, "open point %d", point);
    }
    d->frozen = p->view.sector_count != d->view.sector_count;
    d->resizing = d->replacing = true;
    d->revert_from = d->view.sector_count;
    d->revert_to = d->new_sector_count = p->view.sector_count;
    d->busy++;
    p->busy++;
    if (p->disk != disk) d->promoted = true; /* blocks are there twice */
    task->refusal_allowed = true;
    task->replacement = (struct volume_replacement){.disk = d->uuid,
                                                    .undo_point = world->points[d->revert_undo].uuid,
                                                    .content = content,
                                                    .progress = progressed,
                                                    .done = replaced};
    return true;
}

/* Among requests under way; only where the size changes, alone on its disk. */
void ops_replace(struct world *world, const struct choice *choice)
{
    int disk, point;
    if ((choice->flags & 7) == 1 && cancelled_one(world)) return;
    struct task *task = ops_task_get(world, TASK_REPLACE);
    if (!task || !pick(world, choice, &disk, &point)) return;
    struct disk *d = &world->disks[disk];
    struct point *p = &world->points[point];
    uint32_t number = d->number;
    struct uuid uuid = p->uuid;
    if (!p->exact && !world_resolve_set(world, p->set)) return;
    if (p->view.sector_count != d->view.sector_count && !world_drain(world)) return;
    /* Something may have happened meanwhile. */
    if (task->busy || !disk_is_ready(d) || d->number != number) return;
    if (p->state != THING_THERE || !uuid_equal(&p->uuid, &uuid) || !p->exact) return;
    if (!begin(task, disk, point)) return;
    ops_task_start(task);
    world->sets[task->set].submitted = task->submitted;
    world_trace(world, "replace disk %d by point %d of disk %d, undo point %d", disk, point, p->disk,
                d->revert_undo);
    if (p->disk == disk) submit(task); /* nothing is staged: a revert */
    volume_replace(world->pool, &task->replacement);
}
