/* memvol.c - see memvol.h.  Blocks are counted references, so that a cut copies only a table. */
#include "tests/lib/memvol.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024 };

struct block {
    unsigned refs;
    uint8_t data[BLOCK_BYTES];
};

struct cell {
    struct cell *next;
    uint64_t number;
    struct block *block;
};

struct content {
    struct cell *buckets[BUCKETS];
    uint64_t count;
};

struct mem_disk {
    struct list_node link;
    struct volume_disk_info info;
    struct content content;
};

struct mem_point {
    struct list_node link;
    struct volume_point_info info;
    struct content content;
};

struct mem_handle {
    struct volume base;
    struct content *content;
    struct mem_disk *disk; /* NULL: of a point */
    struct mem_point *point;
};

struct memvol {
    struct volume_pool base;
    struct list disks, points;
    struct list done_ios, done_queries;
    struct rt_message message;
    bool posted, hold;
    uint64_t generation;
    enum volume_op fail_op;
    enum status fail_status;
    struct memvol_counts counts;
};

static struct memvol *memvol_of(struct volume_pool *pool)
{
    return container_of(pool, struct memvol, base);
}

static void *must_alloc(size_t size)
{
    void *p = calloc(1, size);
    check(p != NULL);
    return p;
}

/* ---- Content --------------------------------------------------------------------------------- */

static struct cell **find_cell(struct content *content, uint64_t number)
{
    struct cell **at = &content->buckets[(number * 0x9E3779B97F4A7C15u) >> 54];
    while (*at && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

static void drop_block(struct content *content, uint64_t number)
{
    struct cell **at = find_cell(content, number);
    if (!*at) return;
    struct cell *cell = *at;
    *at = cell->next;
    if (--cell->block->refs == 0) free(cell->block);
    free(cell);
    content->count--;
}

/* The block's bytes, its own copy, made if need be. */
static uint8_t *own_block(struct content *content, uint64_t number)
{
    struct cell **at = find_cell(content, number);
    if (!*at) {
        struct cell *cell = must_alloc(sizeof *cell);
        cell->number = number;
        cell->block = must_alloc(sizeof *cell->block);
        cell->block->refs = 1;
        *at = cell;
        content->count++;
    } else if ((*at)->block->refs > 1) {
        struct block *copy = must_alloc(sizeof *copy);
        memcpy(copy->data, (*at)->block->data, BLOCK_BYTES);
        copy->refs = 1;
        (*at)->block->refs--;
        (*at)->block = copy;
    }
    return (*at)->block->data;
}

static const uint8_t *look_block(struct content *content, uint64_t number)
{
    static const uint8_t zeroes[BLOCK_BYTES];
    struct cell *cell = *find_cell(content, number);
    return cell ? cell->block->data : zeroes;
}

static void clear_content(struct content *content)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (content->buckets[i])
            drop_block(content, content->buckets[i]->number);
    }
}

static void copy_content(struct content *to, const struct content *from)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct cell *cell = from->buckets[i]; cell; cell = cell->next) {
            struct cell *copy = must_alloc(sizeof *copy);
            copy->number = cell->number;
            copy->block = cell->block;
            copy->block->refs++;
            copy->next = to->buckets[i];
            to->buckets[i] = copy;
        }
    }
    to->count = from->count;
}

/* ---- Requests -------------------------------------------------------------------------------- */

/* Copies between an iovec array from byte `offset` on and a range of sectors. */
static void copy_iov(const struct iovec *iov, unsigned count, uint64_t offset, void *data,
                     size_t size, bool to_iov)
{
    uint8_t *at = data;
    for (unsigned i = 0; i < count && size; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t part = min_of(size, iov[i].iov_len - (size_t)offset);
        uint8_t *there = (uint8_t *)iov[i].iov_base + offset;
        if (to_iov) {
            memcpy(there, at, part);
        } else {
            memcpy(at, there, part);
        }
        at += part;
        size -= part;
        offset = 0;
    }
    check(size == 0);
}

static void read_sectors(struct content *content, const struct volume_io *io)
{
    for (uint64_t i = 0; i < io->sector_count; i++) {
        uint64_t sector = io->sector + i;
        uint8_t data[SECTOR_BYTES];
        memcpy(data,
               look_block(content, sector / SECTORS_PER_BLOCK) +
                   sector % SECTORS_PER_BLOCK * SECTOR_BYTES,
               SECTOR_BYTES);
        copy_iov(io->iov, io->iov_count, i * SECTOR_BYTES, data, sizeof data, true);
    }
}

/* iov_skip: bytes of the iovecs before the data to write. */
static void write_sectors(struct content *content, const struct volume_io *io, uint64_t iov_skip)
{
    for (uint64_t i = 0; i < io->sector_count; i++) {
        uint64_t sector = io->sector + i;
        copy_iov(io->iov, io->iov_count, iov_skip + i * SECTOR_BYTES,
                 own_block(content, sector / SECTORS_PER_BLOCK) +
                     sector % SECTORS_PER_BLOCK * SECTOR_BYTES,
                 SECTOR_BYTES, false);
    }
}

static void clear_sectors(struct content *content, const struct volume_io *io, bool edges)
{
    uint64_t at = io->sector, end = io->sector + io->sector_count;
    while (at < end) {
        uint64_t within = at % SECTORS_PER_BLOCK;
        uint64_t part = min_of(end - at, SECTORS_PER_BLOCK - within);
        if (part == SECTORS_PER_BLOCK) {
            drop_block(content, at / SECTORS_PER_BLOCK);
        } else if (edges && *find_cell(content, at / SECTORS_PER_BLOCK)) {
            memset(own_block(content, at / SECTORS_PER_BLOCK) + within * SECTOR_BYTES, 0,
                   (size_t)(part * SECTOR_BYTES));
        }
        at += part;
    }
}

static enum status compare_write(struct content *content, struct volume_io *io)
{
    for (uint64_t i = 0; i < io->sector_count; i++) {
        uint64_t sector = io->sector + i;
        const uint8_t *have = look_block(content, sector / SECTORS_PER_BLOCK) +
                              sector % SECTORS_PER_BLOCK * SECTOR_BYTES;
        uint8_t expected[SECTOR_BYTES];
        copy_iov(io->iov, io->iov_count, i * SECTOR_BYTES, expected, sizeof expected, false);
        for (unsigned b = 0; b < SECTOR_BYTES; b++) {
            if (have[b] == expected[b]) continue;
            io->miscompare_offset = (uint32_t)(i * SECTOR_BYTES + b);
            return STATUS_MISCOMPARE;
        }
    }
    write_sectors(content, io, io->sector_count * SECTOR_BYTES);
    return STATUS_OK;
}

static enum status perform(struct memvol *m, struct content *content, struct volume_io *io)
{
    if (m->fail_status != STATUS_OK && m->fail_op == io->op) {
        enum status status = m->fail_status;
        m->fail_status = STATUS_OK;
        return status;
    }
    if (io->flags & VOLUME_FUA) m->counts.fua++;
    switch (io->op) {
    case VOLUME_READ:
        m->counts.reads++;
        read_sectors(content, io);
        break;
    case VOLUME_WRITE:
        m->counts.writes++;
        write_sectors(content, io, 0);
        break;
    case VOLUME_ZERO:
        m->counts.zeroes++;
        clear_sectors(content, io, true);
        break;
    case VOLUME_UNMAP:
        m->counts.unmaps++;
        clear_sectors(content, io, false);
        break;
    case VOLUME_FLUSH:
        m->counts.flushes++;
        break;
    case VOLUME_COMPARE_WRITE:
        m->counts.compares++;
        return compare_write(content, io);
    }
    return STATUS_OK;
}

static void answer(struct rt_message *message)
{
    struct memvol *m = container_of(message, struct memvol, message);
    struct list ios, queries;
    m->posted = false;
    if (m->hold) return;
    list_init(&ios);
    list_init(&queries);
    list_splice_back(&ios, &m->done_ios);
    list_splice_back(&queries, &m->done_queries);
    for (struct list_node *node; (node = list_pop_front(&ios));) {
        struct volume_io *io = list_entry(node, struct volume_io, link);
        volume_io_complete(io, io->status);
    }
    for (struct list_node *node; (node = list_pop_front(&queries));) {
        volume_query_complete(list_entry(node, struct volume_map_query, link), STATUS_OK);
    }
}

static void answer_later(struct memvol *m)
{
    if (m->posted || m->hold) return;
    m->posted = true;
    m->message.fn = answer;
    rt_post(m->base.rt, &m->message);
}

static void mem_submit(struct volume *volume, struct volume_io *io)
{
    struct memvol *m = memvol_of(volume->pool);
    io->status = perform(m, container_of(volume, struct mem_handle, base)->content, io);
    list_push_back(&m->done_ios, &io->link);
    answer_later(m);
}

static void mem_map_status(struct volume *volume, struct volume_map_query *query)
{
    struct memvol *m = memvol_of(volume->pool);
    struct content *content = container_of(volume, struct mem_handle, base)->content;
    uint64_t at = query->sector / SECTORS_PER_BLOCK;
    uint64_t end = query->sector + query->sector_count;
    m->counts.queries++;
    query->mapped = *find_cell(content, at) != NULL;
    /* At most one bucket array of blocks a query, so that callers meet runs that go on. */
    unsigned steps = 0;
    do {
        at++;
    } while (at * SECTORS_PER_BLOCK < end && ++steps < BUCKETS &&
             (*find_cell(content, at) != NULL) == query->mapped);
    query->run_sectors = min_of(end, at * SECTORS_PER_BLOCK) - query->sector;
    list_push_back(&m->done_queries, &query->link);
    answer_later(m);
}

/* ---- Disks, points, handles ------------------------------------------------------------------ */

static struct mem_disk *find_disk(struct memvol *m, const struct uuid *uuid)
{
    list_for_each (node, &m->disks) {
        struct mem_disk *disk = list_entry(node, struct mem_disk, link);
        if (uuid_equal(&disk->info.uuid, uuid)) return disk;
    }
    return NULL;
}

static struct mem_point *find_point(struct memvol *m, const struct uuid *uuid)
{
    list_for_each (node, &m->points) {
        struct mem_point *point = list_entry(node, struct mem_point, link);
        if (uuid_equal(&point->info.uuid, uuid)) return point;
    }
    return NULL;
}

static struct mem_disk *add_disk(struct memvol *m, const struct uuid *uuid, uint64_t size_bytes)
{
    struct mem_disk *disk = must_alloc(sizeof *disk);
    disk->info.uuid = *uuid;
    disk->info.size_bytes = size_bytes;
    list_push_back(&m->disks, &disk->link);
    return disk;
}

static void mem_disk_create(struct volume_pool *pool, const struct uuid *uuid, uint64_t size_bytes,
                            volume_done_fn *done, void *arg)
{
    add_disk(memvol_of(pool), uuid, size_bytes);
    volume_done_later(pool, done, arg, NULL);
}

static void mem_disk_resize(struct volume_pool *pool, const struct uuid *uuid, uint64_t size_bytes,
                            volume_done_fn *done, void *arg)
{
    struct mem_disk *disk = find_disk(memvol_of(pool), uuid);
    disk->info.size_bytes = size_bytes;
    list_for_each (node, &pool->handles) {
        struct mem_handle *handle = list_entry(node, struct mem_handle, base.link);
        if (handle->disk != disk) continue;
        handle->base.size_bytes = size_bytes;
        volume_notify(&handle->base, VOLUME_EVENT_SIZE);
    }
    volume_done_later(pool, done, arg, NULL);
}

static void free_disk(struct mem_disk *disk)
{
    list_remove(&disk->link);
    clear_content(&disk->content);
    free(disk);
}

static void free_point(struct memvol *m, struct mem_point *point)
{
    struct mem_disk *disk = find_disk(m, &point->info.disk);
    if (disk) disk->info.point_count--;
    list_remove(&point->link);
    clear_content(&point->content);
    free(point);
}

static void mem_disk_delete(struct volume_pool *pool, const struct uuid *uuid, volume_done_fn *done,
                            void *arg)
{
    struct mem_disk *disk = find_disk(memvol_of(pool), uuid);
    struct err *e = NULL;
    if (disk->info.point_count) {
        e = err_new(STATUS_IN_USE, "the disk has %u points", disk->info.point_count);
    } else {
        free_disk(disk);
    }
    volume_done_later(pool, done, arg, e);
}

static bool mem_disk_find(struct volume_pool *pool, const struct uuid *uuid,
                          struct volume_disk_info *ret_info)
{
    struct mem_disk *disk = find_disk(memvol_of(pool), uuid);
    if (!disk) return false;
    disk->info.own_bytes = disk->content.count * BLOCK_BYTES;
    *ret_info = disk->info;
    return true;
}

static void mem_disks(struct volume_pool *pool,
                      void (*fn)(void *arg, const struct volume_disk_info *info), void *arg)
{
    list_for_each (node, &memvol_of(pool)->disks) {
        fn(arg, &list_entry(node, struct mem_disk, link)->info);
    }
}

static void mem_cut(struct volume_pool *pool, const struct volume_cut *cut,
                    struct volume_cut_result *ret_result, volume_done_fn *done, void *arg)
{
    struct memvol *m = memvol_of(pool);
    if (cut->deadline_ns && rt_now(pool->rt) > cut->deadline_ns) {
        volume_done_later(pool, done, arg, err_new(STATUS_TOO_LATE, "the deadline has passed"));
        return;
    }
    *ret_result = (struct volume_cut_result){++m->generation, rt_wall(pool->rt)};
    for (unsigned i = 0; i < cut->member_count; i++) {
        const struct volume_cut_member *member = &cut->members[i];
        struct mem_disk *disk = find_disk(m, &member->disk);
        struct mem_point *point = must_alloc(sizeof *point);
        point->info = (struct volume_point_info){.uuid = member->point,
                                                 .disk = member->disk,
                                                 .set = cut->set,
                                                 .kind = member->kind,
                                                 .generation = m->generation,
                                                 .wall_ns = ret_result->wall_ns,
                                                 .size_bytes = disk->info.size_bytes,
                                                 .leased = cut->leased};
        copy_content(&point->content, &disk->content);
        disk->info.point_count++;
        list_push_back(&m->points, &point->link);
    }
    volume_done_later(pool, done, arg, NULL);
}

static void mem_point_delete(struct volume_pool *pool, const struct uuid *uuid,
                             volume_done_fn *done, void *arg)
{
    struct memvol *m = memvol_of(pool);
    free_point(m, find_point(m, uuid));
    volume_done_later(pool, done, arg, NULL);
}

static bool mem_point_find(struct volume_pool *pool, const struct uuid *uuid,
                           struct volume_point_info *ret_info)
{
    struct mem_point *point = find_point(memvol_of(pool), uuid);
    if (point) *ret_info = point->info;
    return point != NULL;
}

static void mem_points(struct volume_pool *pool, const struct uuid *disk,
                       void (*fn)(void *arg, const struct volume_point_info *info), void *arg)
{
    list_for_each (node, &memvol_of(pool)->points) {
        struct mem_point *point = list_entry(node, struct mem_point, link);
        if (!disk || uuid_equal(disk, &point->info.disk)) fn(arg, &point->info);
    }
}

static void mem_branch(struct volume_pool *pool, const struct uuid *uuid,
                       const struct uuid *new_disk, volume_done_fn *done, void *arg)
{
    struct memvol *m = memvol_of(pool);
    struct mem_point *point = find_point(m, uuid);
    struct mem_disk *parent = find_disk(m, &point->info.disk);
    struct mem_disk *disk = add_disk(m, new_disk, point->info.size_bytes);
    disk->info.parent_point = *uuid;
    disk->info.parent_disk = point->info.disk;
    disk->info.depth = parent ? parent->info.depth + 1 : 1;
    copy_content(&disk->content, &point->content);
    point->info.branch_count++;
    volume_done_later(pool, done, arg, NULL);
}

static struct err *mem_open(struct volume_pool *pool, const struct uuid *disk_uuid,
                            const struct uuid *point_uuid, enum volume_mode mode,
                            struct volume **ret_volume)
{
    struct memvol *m = memvol_of(pool);
    struct mem_handle *handle = must_alloc(sizeof *handle);
    uint64_t size_bytes;
    if (point_uuid) {
        handle->point = find_point(m, point_uuid);
        handle->point->info.handle_count++;
        handle->content = &handle->point->content;
        size_bytes = handle->point->info.size_bytes;
    } else {
        handle->disk = find_disk(m, disk_uuid);
        handle->disk->info.handle_count++;
        handle->content = &handle->disk->content;
        size_bytes = handle->disk->info.size_bytes;
    }
    volume_base_init(&handle->base, pool, size_bytes, mode == VOLUME_READ_ONLY);
    *ret_volume = &handle->base;
    return NULL;
}

static void mem_close(struct volume *volume)
{
    struct mem_handle *handle = container_of(volume, struct mem_handle, base);
    if (handle->disk) handle->disk->info.handle_count--;
    if (handle->point) handle->point->info.handle_count--;
    volume_base_fini(volume);
    free(handle);
}

/* ---- The pool -------------------------------------------------------------------------------- */

static void free_pool(struct memvol *m)
{
    list_for_each_safe (node, &m->base.handles) {
        struct mem_handle *handle = list_entry(node, struct mem_handle, base.link);
        handle->base.in_flight = 0;
        mem_close(&handle->base);
    }
    list_for_each_safe (node, &m->points)
        free_point(m, list_entry(node, struct mem_point, link));
    list_for_each_safe (node, &m->disks)
        free_disk(list_entry(node, struct mem_disk, link));
    volume_pool_base_fini(&m->base);
    free(m);
}

struct closing {
    struct rt_message message;
    struct memvol *pool;
    volume_done_fn *done;
    void *arg;
};

static void close_now(struct rt_message *message)
{
    struct closing closing = *container_of(message, struct closing, message);
    free(container_of(message, struct closing, message));
    free_pool(closing.pool);
    closing.done(closing.arg, NULL);
}

static void mem_pool_close(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    struct closing *closing = must_alloc(sizeof *closing);
    *closing = (struct closing){
        .message.fn = close_now, .pool = memvol_of(pool), .done = done, .arg = arg};
    rt_post(pool->rt, &closing->message);
}

static void mem_pool_abandon(struct volume_pool *pool)
{
    free_pool(memvol_of(pool));
}

static void mem_usage(struct volume_pool *pool, struct volume_pool_usage *ret_usage)
{
    uint64_t blocks = 0;
    list_for_each (node, &memvol_of(pool)->disks) {
        blocks += list_entry(node, struct mem_disk, link)->content.count;
    }
    *ret_usage = (struct volume_pool_usage){.size_bytes = GIB,
                                            .capacity_bytes = GIB,
                                            .used_bytes = blocks * BLOCK_BYTES,
                                            .data_bytes = blocks * BLOCK_BYTES,
                                            .free_bytes = GIB - min_of(GIB, blocks * BLOCK_BYTES)};
}

static const struct volume_recovery *mem_recovery(const struct volume_pool *pool)
{
    static const struct volume_recovery nothing = {.clean = true};
    return &nothing;
}

static void mem_pool_counters(const struct volume_pool *pool,
                              struct volume_pool_counters *ret_counters)
{
    const struct memvol_counts counts = memvol_counts(pool);
    *ret_counters = (struct volume_pool_counters){
        .host_writes = counts.writes, .host_reads = counts.reads, .host_flushes = counts.flushes};
}

static void mem_nothing(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    volume_done_later(pool, done, arg, NULL);
}

static void mem_check(struct volume_pool *pool, struct volume_check_report *ret_report,
                      volume_done_fn *done, void *arg)
{
    if (ret_report) *ret_report = (struct volume_check_report){0};
    volume_done_later(pool, done, arg, NULL);
}

static const struct volume_engine_ops memvol_ops = {
    .name = "memory",
    .capabilities = VOLUME_CAP_CUT | VOLUME_CAP_BRANCH,
    .pool_close = mem_pool_close,
    .pool_abandon = mem_pool_abandon,
    .pool_usage = mem_usage,
    .pool_recovery = mem_recovery,
    .pool_counters = mem_pool_counters,
    .pool_settle = mem_nothing,
    .pool_checkpoint = mem_nothing,
    .pool_check = mem_check,
    .disk_create = mem_disk_create,
    .disk_resize = mem_disk_resize,
    .disk_delete = mem_disk_delete,
    .disk_find = mem_disk_find,
    .disks = mem_disks,
    .cut = mem_cut,
    .point_delete = mem_point_delete,
    .point_find = mem_point_find,
    .points = mem_points,
    .branch = mem_branch,
    .open = mem_open,
    .close = mem_close,
    .submit = mem_submit,
    .map_status = mem_map_status,
};

struct volume_pool *memvol_pool_create(struct rt *rt)
{
    struct memvol *m = must_alloc(sizeof *m);
    struct uuid uuid = rt_uuid(rt);
    volume_pool_base_init(&m->base, rt, &memvol_ops, &uuid);
    list_init(&m->disks);
    list_init(&m->points);
    list_init(&m->done_ios);
    list_init(&m->done_queries);
    return &m->base;
}

struct volume *memvol_disk(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                           enum volume_mode mode)
{
    struct volume *volume = NULL;
    if (!find_disk(memvol_of(pool), disk)) add_disk(memvol_of(pool), disk, size_bytes);
    struct err *e = mem_open(pool, disk, NULL, mode, &volume);
    check(!e);
    return volume;
}

void memvol_hold(struct volume_pool *pool, bool hold)
{
    struct memvol *m = memvol_of(pool);
    m->hold = hold;
    if (!hold) answer_later(m);
}

unsigned memvol_held_count(const struct volume_pool *pool)
{
    const struct memvol *m = (const struct memvol *)(const void *)pool;
    unsigned count = 0;
    list_for_each (node, &m->done_ios)
        count++;
    list_for_each (node, &m->done_queries)
        count++;
    return count;
}

void memvol_fail(struct volume_pool *pool, enum volume_op op, enum status status)
{
    memvol_of(pool)->fail_op = op;
    memvol_of(pool)->fail_status = status;
}

struct memvol_counts memvol_counts(const struct volume_pool *pool)
{
    return ((const struct memvol *)(const void *)pool)->counts;
}
