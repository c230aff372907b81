/* replace.c - the choke point of replaces: what must be so before an engine sees one (E19). */
#include "volume/volume_engine.h"

static struct err *check_content(const struct volume_pool *pool, const struct volume *content)
{
    if (!content) return err_new(STATUS_BAD_REQUEST, "no content was named");
    check(content->pool->rt == pool->rt);
    if (!content->is_point || !content->read_only)
        return err_next(err_new(STATUS_BAD_REQUEST, "the content may change while it is copied"),
                        "take a snapshot of it, and name that");
    if (content->size_bytes < LIMIT_DISK_MIN_BYTES || content->size_bytes > LIMIT_DISK_MAX_BYTES ||
        content->size_bytes % BLOCK_BYTES)
        return err_new(STATUS_BAD_REQUEST, "%llu bytes is not a size that a disk can have",
                       (unsigned long long)content->size_bytes);
    return NULL;
}

static struct err *check_replace(struct volume_pool *pool, const struct volume_replacement *job)
{
    struct volume_disk_info disk;
    struct volume_point_info point;
    char text[UUID_TEXT_SIZE];
    TRY(volume_change_check(pool));
    if (!(pool->ops->capabilities & VOLUME_CAP_REPLACE))
        return err_new(STATUS_NOT_SUPPORTED, "disks of this kind of pool cannot be replaced");
    if (!pool->ops->disk_find(pool, &job->disk, &disk))
        return err_new(STATUS_NOT_FOUND, "there is no disk %s in this pool",
                       uuid_format(&job->disk, text));
    if (uuid_is_nil(&job->undo_point))
        return err_new(STATUS_BAD_REQUEST, "the undo point needs an identifier");
    if (pool->ops->point_find(pool, &job->undo_point, &point))
        return err_new(STATUS_EXISTS, "point %s exists already",
                       uuid_format(&job->undo_point, text));
    return check_content(pool, job->content);
}

static void refused(void *arg, struct err *e)
{
    struct volume_replacement *job = arg;
    job->done(job, e);
}

void volume_replace(struct volume_pool *pool, struct volume_replacement *job)
{
    check(rt_on_loop(pool->rt));
    job->pool = pool;
    job->private_ = NULL;
    struct err *e = check_replace(pool, job);
    if (e)
        volume_done_later(pool, refused, job, e);
    else
        pool->ops->replace(pool, job);
}

void volume_replacement_pause(struct volume_replacement *job, bool is_paused)
{
    job->is_paused = is_paused;
    if (job->private_) job->pool->ops->replace_poke(job->pool, job);
}

void volume_replacement_cancel(struct volume_replacement *job)
{
    job->is_cancelled = true;
    if (job->private_) job->pool->ops->replace_poke(job->pool, job);
}
