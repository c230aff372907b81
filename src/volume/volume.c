/* volume.c - the choke point: every call is checked here before an engine sees it. */
#include <stdlib.h>

#include "timeline/timeline.h"
#include "volume/volume_engine.h"

struct later {
    struct rt_message message;
    struct list_node link; /* pool->later */
    volume_done_fn *done;
    void *arg;
    struct err *error;
};

const char *volume_pool_state_name(enum volume_pool_state state)
{
    switch (state) {
    case VOLUME_POOL_OK:
        return "ok";
    case VOLUME_POOL_DAMAGED:
        return "damaged";
    case VOLUME_POOL_FAILED:
        return "failed";
    }
    return "unknown";
}

/* ---- Base objects ---------------------------------------------------------------------------- */

void volume_pool_base_init(struct volume_pool *pool, struct rt *rt,
                           const struct volume_engine_ops *ops, const struct uuid *uuid)
{
    *pool = (struct volume_pool){.ops = ops, .rt = rt, .uuid = *uuid};
    list_init(&pool->handles);
    list_init(&pool->refused);
    list_init(&pool->later);
    list_init(&pool->gates);
    list_init(&pool->guests);
}

void volume_pool_base_fini(struct volume_pool *pool)
{
    volume_pool_gates_end(pool);
    rt_timer_cancel(pool->rt, &pool->space.timer);
    for (struct list_node *node; (node = list_pop_front(&pool->guests));) {
        struct volume_guest *guest = list_entry(node, struct volume_guest, link);
        guest->gone(guest);
    }
    list_for_each_safe (node, &pool->later) {
        struct later *l = list_entry(node, struct later, link);
        list_remove(node);
        err_free(l->error);
        free(l);
    }
}

void volume_base_init(struct volume *volume, struct volume_pool *pool, uint64_t size_bytes,
                      bool read_only)
{
    *volume = (struct volume){.pool = pool, .size_bytes = size_bytes, .read_only = read_only};
    list_init(&volume->watches);
    list_push_back(&pool->handles, &volume->link);
    pool->handle_count++;
}

void volume_base_fini(struct volume *volume)
{
    check(volume->in_flight == 0);
    list_for_each_safe (node, &volume->watches)
        list_remove(node);
    list_remove(&volume->link);
    volume->pool->handle_count--;
}

static void later_fire(struct rt_message *message)
{
    struct later *l = container_of(message, struct later, message);
    volume_done_fn *done = l->done;
    void *arg = l->arg;
    struct err *e = l->error;
    list_remove(&l->link);
    free(l);
    done(arg, e);
}

void volume_done_later(struct volume_pool *pool, volume_done_fn *done, void *arg, struct err *e)
{
    struct later *l = calloc(1, sizeof *l);
    check(l != NULL);
    l->done = done;
    l->arg = arg;
    l->error = e;
    l->message.fn = later_fire;
    list_push_back(&pool->later, &l->link);
    rt_post(pool->rt, &l->message);
}

void volume_notify(struct volume *volume, unsigned events)
{
    list_for_each_safe (node, &volume->watches) {
        struct volume_watch *w = list_entry(node, struct volume_watch, link);
        w->fn(w, events);
    }
}

void volume_pool_notify(struct volume_pool *pool, unsigned events)
{
    list_for_each_safe (node, &pool->handles)
        volume_notify(list_entry(node, struct volume, link), events);
    if ((events & VOLUME_EVENT_STATE) && pool->state_watch.fn)
        pool->state_watch.fn(pool->state_watch.arg);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

struct refused_call {
    struct rt_message message;
    volume_done_fn *done;
    void *arg;
    struct err *error;
};

static void refused_call_fire(struct rt_message *message)
{
    struct refused_call *c = container_of(message, struct refused_call, message);
    volume_done_fn *done = c->done;
    void *arg = c->arg;
    struct err *e = c->error;
    free(c);
    done(arg, e);
}

/* As volume_done_later where there is no pool yet. */
static void refuse_call(struct rt *rt, volume_done_fn *done, void *arg, struct err *e)
{
    struct refused_call *c = calloc(1, sizeof *c);
    check(c != NULL);
    *c = (struct refused_call){
        .message.fn = refused_call_fire, .done = done, .arg = arg, .error = e};
    rt_post(rt, &c->message);
}

void volume_pool_create(struct rt *rt, const char *path, uint64_t size_bytes,
                        const struct uuid *pool, const struct volume_pool_options *options,
                        bool overwrite,
                        void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
                        volume_done_fn *done, void *arg)
{
    check(rt_on_loop(rt));
    if (uuid_is_nil(pool)) {
        refuse_call(rt, done, arg, err_new(STATUS_BAD_REQUEST, "a pool needs an identifier"));
        return;
    }
    if (size_bytes != 0 && size_bytes < LIMIT_POOL_MIN_BYTES) {
        refuse_call(rt, done, arg,
                    err_next(err_new(STATUS_BAD_REQUEST, "a pool of %llu bytes is too small",
                                     (unsigned long long)size_bytes),
                             "give it at least 64M"));
        return;
    }
    timeline_pool_create(rt, path, size_bytes, pool, options, overwrite, progress, done, arg);
}

void volume_pool_open(struct rt *rt, const char *path, const struct volume_pool_options *options,
                      struct volume_pool **ret_pool, volume_done_fn *done, void *arg)
{
    check(rt_on_loop(rt));
    timeline_pool_open(rt, path, options, ret_pool, done, arg);
}

void volume_pool_close(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    check(rt_on_loop(pool->rt));
    check(pool->handle_count == 0);
    pool->ops->pool_close(pool, done, arg);
}

void volume_pool_abandon(struct volume_pool *pool)
{
    pool->ops->pool_abandon(pool);
}

const struct uuid *volume_pool_uuid(const struct volume_pool *pool)
{
    return &pool->uuid;
}

enum volume_pool_state volume_pool_state(const struct volume_pool *pool)
{
    return pool->state;
}

const char *volume_pool_trouble(const struct volume_pool *pool)
{
    return pool->trouble;
}

void volume_pool_usage(struct volume_pool *pool, struct volume_pool_usage *ret_usage)
{
    pool->ops->pool_usage(pool, ret_usage);
}

const struct volume_recovery *volume_pool_recovery(const struct volume_pool *pool)
{
    return pool->ops->pool_recovery(pool);
}

unsigned volume_pool_capabilities(const struct volume_pool *pool)
{
    return pool->ops->capabilities;
}

void volume_pool_counters(const struct volume_pool *pool, struct volume_pool_counters *ret_counters)
{
    pool->ops->pool_counters(pool, ret_counters);
}

/* What a call that changes something meets in a pool that cannot be changed; NULL when it can. */
static struct err *refuse_state(const struct volume_pool *pool)
{
    switch (pool->state) {
    case VOLUME_POOL_OK:
        return NULL;
    case VOLUME_POOL_DAMAGED:
        return err_next(
            err_new(STATUS_POOL_DAMAGED, "the pool is open read-only: %s", pool->trouble),
            "copy what can be read to another pool");
    case VOLUME_POOL_FAILED:
        return err_next(err_new(STATUS_POOL_FAILED, "the pool has failed: %s", pool->trouble),
                        "look at its device, then open the pool anew");
    }
    return NULL;
}

struct err *volume_change_check(const struct volume_pool *pool)
{
    return refuse_state(pool);
}

/* Posts e as the answer and says so; false when there is nothing to refuse. */
static bool refused(struct volume_pool *pool, struct err *e, volume_done_fn *done, void *arg)
{
    if (!e) return false;
    volume_done_later(pool, done, arg, e);
    return true;
}

void volume_pool_settle(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    if (refused(pool, refuse_state(pool), done, arg)) return;
    pool->ops->pool_settle(pool, done, arg);
}

void volume_pool_checkpoint(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    if (refused(pool, refuse_state(pool), done, arg)) return;
    pool->ops->pool_checkpoint(pool, done, arg);
}

void volume_pool_check(struct volume_pool *pool, struct volume_check_report *ret_report,
                       volume_done_fn *done, void *arg)
{
    if (refused(pool, refuse_state(pool), done, arg)) return;
    pool->ops->pool_check(pool, ret_report, done, arg);
}

/* ---- Disks ----------------------------------------------------------------------------------- */

static struct err *check_size(uint64_t size_bytes)
{
    if (size_bytes < LIMIT_DISK_MIN_BYTES || size_bytes > LIMIT_DISK_MAX_BYTES)
        return err_next(err_new(STATUS_BAD_REQUEST, "%llu bytes is not a size that a disk can have",
                                (unsigned long long)size_bytes),
                        "choose a size between 1M and 256T");
    if (size_bytes % BLOCK_BYTES)
        return err_next(err_new(STATUS_BAD_REQUEST, "%llu bytes is not a multiple of 4096",
                                (unsigned long long)size_bytes),
                        "choose a multiple of 4K");
    return NULL;
}

static struct err *no_such(const char *what, const struct uuid *uuid)
{
    char text[UUID_TEXT_SIZE];
    return err_new(STATUS_NOT_FOUND, "there is no %s %s in this pool", what,
                   uuid_format(uuid, text));
}

static struct err *check_new_disk(struct volume_pool *pool, const struct uuid *disk)
{
    struct volume_disk_info info;
    char text[UUID_TEXT_SIZE];
    TRY(refuse_state(pool));
    if (uuid_is_nil(disk)) return err_new(STATUS_BAD_REQUEST, "a disk needs an identifier");
    if (pool->ops->disk_find(pool, disk, &info))
        return err_new(STATUS_EXISTS, "disk %s exists already", uuid_format(disk, text));
    return NULL;
}

void volume_disk_create(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                        volume_done_fn *done, void *arg)
{
    struct err *e = check_new_disk(pool, disk);
    if (!e) e = check_size(size_bytes);
    if (refused(pool, e, done, arg)) return;
    pool->ops->disk_create(pool, disk, size_bytes, done, arg);
}

static struct err *check_resize(struct volume_pool *pool, const struct uuid *disk,
                                uint64_t size_bytes)
{
    struct volume_disk_info info;
    TRY(refuse_state(pool));
    if (!pool->ops->disk_find(pool, disk, &info)) return no_such("disk", disk);
    TRY(check_size(size_bytes));
    if (size_bytes < info.size_bytes)
        return err_new(STATUS_NOT_SUPPORTED,
                       "a disk cannot be made smaller than it is (%llu bytes)",
                       (unsigned long long)info.size_bytes);
    return NULL;
}

void volume_disk_resize(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                        volume_done_fn *done, void *arg)
{
    if (refused(pool, check_resize(pool, disk, size_bytes), done, arg)) return;
    pool->ops->disk_resize(pool, disk, size_bytes, done, arg);
}

static struct err *check_disk_delete(struct volume_pool *pool, const struct uuid *disk)
{
    struct volume_disk_info info;
    char text[UUID_TEXT_SIZE];
    TRY(refuse_state(pool));
    if (!pool->ops->disk_find(pool, disk, &info)) return no_such("disk", disk);
    if (info.handle_count)
        return err_next(err_new(STATUS_IN_USE, "disk %s is open", uuid_format(disk, text)),
                        "unmap it from its hosts first");
    return NULL;
}

void volume_disk_delete(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                        void *arg)
{
    if (refused(pool, check_disk_delete(pool, disk), done, arg)) return;
    pool->ops->disk_delete(pool, disk, done, arg);
}

bool volume_disk_find(struct volume_pool *pool, const struct uuid *disk,
                      struct volume_disk_info *ret_info)
{
    return pool->ops->disk_find(pool, disk, ret_info);
}

void volume_disks(struct volume_pool *pool,
                  void (*fn)(void *arg, const struct volume_disk_info *info), void *arg)
{
    pool->ops->disks(pool, fn, arg);
}

/* ---- Points and cuts ------------------------------------------------------------------------- */

static struct err *check_member(struct volume_pool *pool, const struct volume_cut *cut,
                                unsigned index)
{
    const struct volume_cut_member *m = &cut->members[index];
    struct volume_disk_info disk;
    struct volume_point_info point;
    char text[UUID_TEXT_SIZE];
    if (!pool->ops->disk_find(pool, &m->disk, &disk)) return no_such("disk", &m->disk);
    if (m->kind < VOLUME_POINT_SNAPSHOT || m->kind > VOLUME_POINT_MARKER || uuid_is_nil(&m->point))
        return err_new(STATUS_BAD_REQUEST, "member %u of the cut is not valid", index);
    if (pool->ops->point_find(pool, &m->point, &point))
        return err_new(STATUS_EXISTS, "point %s exists already", uuid_format(&m->point, text));
    if (disk.point_count >= LIMIT_POINTS_PER_DISK)
        return err_next(err_new(STATUS_LIMIT_REACHED,
                                "disk %s has %u points, the most that it can have",
                                uuid_format(&m->disk, text), disk.point_count),
                        "delete snapshots that are not needed");
    for (unsigned i = 0; i < index; i++)
        if (uuid_equal(&cut->members[i].point, &m->point) ||
            uuid_equal(&cut->members[i].disk, &m->disk))
            return err_new(STATUS_BAD_REQUEST, "members %u and %u of the cut are the same", i,
                           index);
    return NULL;
}

struct err *volume_cut_check(struct volume_pool *pool, const struct volume_cut *cut)
{
    TRY(refuse_state(pool));
    if (!(pool->ops->capabilities & VOLUME_CAP_CUT))
        return err_new(STATUS_NOT_SUPPORTED, "this kind of pool has no snapshots");
    if (cut->member_count == 0 || cut->member_count > LIMIT_SET_MEMBERS)
        return err_new(STATUS_BAD_REQUEST, "a cut has 1 to %d members, not %u", LIMIT_SET_MEMBERS,
                       cut->member_count);
    for (unsigned i = 0; i < cut->member_count; i++)
        TRY(check_member(pool, cut, i));
    return NULL;
}

void volume_cut(struct volume_pool *pool, const struct volume_cut *cut,
                struct volume_cut_result *ret_result, volume_done_fn *done, void *arg)
{
    if (refused(pool, volume_cut_check(pool, cut), done, arg)) return;
    pool->ops->cut(pool, cut, ret_result, done, arg);
}

static struct err *check_point_delete(struct volume_pool *pool, const struct uuid *point)
{
    struct volume_point_info info;
    char text[UUID_TEXT_SIZE];
    TRY(refuse_state(pool));
    if (!pool->ops->point_find(pool, point, &info)) return no_such("point", point);
    if (info.handle_count)
        return err_next(err_new(STATUS_IN_USE, "point %s is open", uuid_format(point, text)),
                        "unmap it from its hosts first");
    return NULL;
}

void volume_point_delete(struct volume_pool *pool, const struct uuid *point, volume_done_fn *done,
                         void *arg)
{
    if (refused(pool, check_point_delete(pool, point), done, arg)) return;
    pool->ops->point_delete(pool, point, done, arg);
}

bool volume_point_find(struct volume_pool *pool, const struct uuid *point,
                       struct volume_point_info *ret_info)
{
    return pool->ops->point_find(pool, point, ret_info);
}

void volume_points(struct volume_pool *pool, const struct uuid *disk,
                   void (*fn)(void *arg, const struct volume_point_info *info), void *arg)
{
    pool->ops->points(pool, disk, fn, arg);
}

static struct err *check_branch(struct volume_pool *pool, const struct uuid *point,
                                const struct uuid *new_disk)
{
    struct volume_point_info info;
    TRY(check_new_disk(pool, new_disk));
    if (!(pool->ops->capabilities & VOLUME_CAP_BRANCH))
        return err_new(STATUS_NOT_SUPPORTED, "this kind of pool has no branches");
    if (!pool->ops->point_find(pool, point, &info)) return no_such("point", point);
    return NULL;
}

void volume_branch(struct volume_pool *pool, const struct uuid *point, const struct uuid *new_disk,
                   volume_done_fn *done, void *arg)
{
    if (refused(pool, check_branch(pool, point, new_disk), done, arg)) return;
    pool->ops->branch(pool, point, new_disk, done, arg);
}

static struct err *check_revert(struct volume_pool *pool, const struct uuid *disk,
                                const struct uuid *point, const struct uuid *undo_point)
{
    struct volume_disk_info disk_info;
    struct volume_point_info info;
    char text[UUID_TEXT_SIZE];
    TRY(refuse_state(pool));
    if (!(pool->ops->capabilities & VOLUME_CAP_REVERT))
        return err_new(STATUS_NOT_SUPPORTED, "disks of this kind of pool cannot be reverted");
    if (!pool->ops->disk_find(pool, disk, &disk_info)) return no_such("disk", disk);
    if (!pool->ops->point_find(pool, point, &info)) return no_such("point", point);
    if (!uuid_equal(&info.disk, disk))
        return err_new(STATUS_BAD_REQUEST, "point %s belongs to another disk",
                       uuid_format(point, text));
    if (uuid_is_nil(undo_point))
        return err_new(STATUS_BAD_REQUEST, "the undo point needs an identifier");
    if (pool->ops->point_find(pool, undo_point, &info))
        return err_new(STATUS_EXISTS, "point %s exists already", uuid_format(undo_point, text));
    return NULL;
}

void volume_revert(struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
                   const struct uuid *undo_point, volume_done_fn *done, void *arg)
{
    if (refused(pool, check_revert(pool, disk, point, undo_point), done, arg)) return;
    pool->ops->revert(pool, disk, point, undo_point, done, arg);
}

static struct err *check_promote(struct volume_pool *pool, const struct uuid *disk)
{
    struct volume_disk_info info;
    TRY(refuse_state(pool));
    if (!(pool->ops->capabilities & VOLUME_CAP_BRANCH))
        return err_new(STATUS_NOT_SUPPORTED, "this kind of pool has no branches");
    if (!pool->ops->disk_find(pool, disk, &info)) return no_such("disk", disk);
    if (info.depth == 0) return err_new(STATUS_CONFLICT, "the disk is not a branch");
    if (!pool->ops->promote)
        return err_new(STATUS_NOT_SUPPORTED, "this kind of pool cannot promote branches");
    return NULL;
}

static void promote_refused(void *arg, struct err *e)
{
    struct volume_promotion *job = arg;
    job->done(job, e);
}

void volume_promote(struct volume_pool *pool, struct volume_promotion *job)
{
    job->pool = pool;
    job->private_ = NULL;
    if (refused(pool, check_promote(pool, &job->disk), promote_refused, job)) return;
    pool->ops->promote(pool, job);
}

void volume_split(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                  void *arg)
{
    if (refused(pool, check_promote(pool, disk), done, arg)) return;
    pool->ops->split(pool, disk, done, arg);
}


/* ---- Views and I/O --------------------------------------------------------------------------- */

struct err *volume_open(struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
                        enum volume_mode mode, struct volume **ret_volume)
{
    struct volume_point_info point_info;
    struct volume_disk_info disk_info;
    if (point) {
        if (!pool->ops->point_find(pool, point, &point_info)) return no_such("point", point);
        if (mode != VOLUME_READ_ONLY)
            return err_next(err_new(STATUS_WRITE_PROTECTED, "a point cannot be opened for writing"),
                            "make a branch of it");
        if (disk && !uuid_equal(disk, &point_info.disk))
            return err_new(STATUS_BAD_REQUEST, "the point belongs to another disk");
    } else if (!disk || !pool->ops->disk_find(pool, disk, &disk_info)) {
        return disk ? no_such("disk", disk) : err_new(STATUS_BAD_REQUEST, "no disk was named");
    }
    TRY(pool->ops->open(pool, disk, point, mode, ret_volume));
    (*ret_volume)->is_point = point != NULL;
    return NULL;
}

void volume_close(struct volume *volume)
{
    if (!volume) return;
    check(volume->in_flight == 0);
    volume->pool->ops->close(volume);
}

uint64_t volume_change_count(const struct volume *volume)
{
    return volume->change_count;
}

uint64_t volume_size_bytes(const struct volume *volume)
{
    return volume->size_bytes;
}

bool volume_is_read_only(const struct volume *volume)
{
    return volume->read_only;
}

static bool op_is_known(enum volume_op op)
{
    return (unsigned)op <= VOLUME_COMPARE_WRITE;
}

static bool op_changes(enum volume_op op)
{
    return op == VOLUME_WRITE || op == VOLUME_ZERO || op == VOLUME_UNMAP ||
           op == VOLUME_COMPARE_WRITE;
}

static bool iov_is_right(const struct volume_io *io, uint64_t expected_bytes)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < io->iov_count; i++)
        if (__builtin_add_overflow(total, io->iov[i].iov_len, &total)) return false;
    return total == expected_bytes;
}

static enum status check_extent(const struct volume *volume, uint64_t sector, uint64_t sector_count)
{
    uint64_t end;
    if (__builtin_add_overflow(sector, sector_count, &end) ||
        end > volume->size_bytes / SECTOR_BYTES)
        return STATUS_OUT_OF_RANGE;
    return STATUS_OK;
}

static enum status check_io(const struct volume *volume, const struct volume_io *io)
{
    if (!op_is_known(io->op)) return STATUS_INVALID_FIELD;
    if (io->op == VOLUME_FLUSH)
        return volume->pool->state == VOLUME_POOL_FAILED ? STATUS_POOL_FAILED : STATUS_OK;
    enum status s = check_extent(volume, io->sector, io->sector_count);
    if (s != STATUS_OK) return s;
    if (op_changes(io->op)) {
        if (volume->read_only) return STATUS_WRITE_PROTECTED;
        if (volume->pool->state == VOLUME_POOL_FAILED) return STATUS_POOL_FAILED;
        if (volume->pool->state == VOLUME_POOL_DAMAGED) return STATUS_POOL_DAMAGED;
    }
    uint64_t bytes = io->sector_count <= LIMIT_DISK_MAX_BYTES / SECTOR_BYTES
                         ? io->sector_count * SECTOR_BYTES
                         : 0;
    if (io->op == VOLUME_READ || io->op == VOLUME_WRITE) {
        if (bytes > LIMIT_TRANSFER_BYTES || !iov_is_right(io, bytes)) return STATUS_INVALID_FIELD;
    } else if (io->op == VOLUME_COMPARE_WRITE) {
        uint64_t first = io->sector / SECTORS_PER_BLOCK;
        uint64_t end = (io->sector + io->sector_count + SECTORS_PER_BLOCK - 1) / SECTORS_PER_BLOCK;
        if (end - first > LIMIT_COMPARE_BYTES / BLOCK_BYTES || !iov_is_right(io, 2 * bytes))
            return STATUS_INVALID_FIELD; /* E4: it fits one batch */
    } else if (io->op == VOLUME_UNMAP && bytes > LIMIT_UNMAP_BYTES) {
        return STATUS_INVALID_FIELD;
    }
    return STATUS_OK;
}

static void refuse_fire(struct rt_message *message)
{
    struct volume_pool *pool = container_of(message, struct volume_pool, refuse_message);
    struct list now;
    list_init(&now);
    list_splice_back(&now, &pool->refused);
    pool->refuse_is_posted = false;
    for (struct list_node *node; (node = list_pop_front(&now));) {
        struct volume_io *io = list_entry(node, struct volume_io, link);
        volume_io_complete(io, io->status);
    }
}

static void refuse_query_fire(void *arg, struct err *e)
{
    struct volume_map_query *query = arg;
    err_free(e);
    volume_query_complete(query, query->status);
}

void volume_submit(struct volume *volume, struct volume_io *io)
{
    struct volume_pool *pool = volume->pool;
    check(rt_on_loop(pool->rt));
    io->volume = volume;
    io->status = STATUS_OK;
    io->miscompare_offset = 0;
    list_node_init(&io->link);
    volume->in_flight++;
    volume->change_count += io->op != VOLUME_READ && io->op != VOLUME_FLUSH;
    enum status s = check_io(volume, io);
    if (s == STATUS_OK && (io->sector_count > 0 || io->op == VOLUME_FLUSH)) {
        pool->ops->submit(volume, io);
        return;
    }
    io->status = s;
    list_push_back(&pool->refused, &io->link);
    if (!pool->refuse_is_posted) {
        pool->refuse_is_posted = true;
        pool->refuse_message.fn = refuse_fire;
        rt_post(pool->rt, &pool->refuse_message);
    }
}

void volume_map_status(struct volume *volume, struct volume_map_query *query)
{
    query->volume = volume;
    list_node_init(&query->link);
    volume->in_flight++;
    query->status = check_extent(volume, query->sector, query->sector_count);
    if (query->status == STATUS_OK && query->sector_count == 0)
        query->status = STATUS_INVALID_FIELD;
    if (query->status == STATUS_OK)
        volume->pool->ops->map_status(volume, query);
    else
        volume_done_later(volume->pool, refuse_query_fire, query, NULL);
}

void volume_watch_add(struct volume *volume, struct volume_watch *watch)
{
    list_node_init(&watch->link);
    list_push_back(&volume->watches, &watch->link);
}

void volume_watch_remove(struct volume_watch *watch)
{
    if (list_is_linked(&watch->link)) list_remove(&watch->link);
}
