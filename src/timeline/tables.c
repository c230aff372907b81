/* tables.c - disks and points, and their form on disk. */
#include "timeline/tables.h"

#include <stdlib.h>

#include "base/buf.h"
#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"

enum { DISK_FLAG_DELETED = 1 << 0, DISK_FLAG_SWEEP = 1 << 1 };
enum {
    DISK_BYTES = 132,
    POINT_BYTES = 64,
    DIR_REF_BYTES = 16,
    BITMAP_REF_BYTES = 24,
    EXTENT_BYTES = 12,
    SYSTEM_HEADER_BYTES = 64,
    RECORD_BYTES = 32
};

void tables_init(struct tl_pool *p)
{
    list_init(&p->disks);
    for (unsigned i = 0; i < HASH_BUCKETS; i++) {
        list_init(&p->disk_hash[i]);
        list_init(&p->point_hash[i]);
    }
    sets_init(p);
    p->next_disk_id = 1;
}

void tables_fini(struct tl_pool *p)
{
    list_for_each_safe (node, &p->disks)
        disk_remove(list_entry(node, struct tl_disk, link));
    sets_fini(p);
    free(p->disk_by_id);
}

/* ---- Look-up --------------------------------------------------------------------------------- */

struct tl_disk *disk_by_id(const struct tl_pool *p, uint32_t id)
{
    return id < p->disk_by_id_count ? p->disk_by_id[id] : NULL;
}

struct tl_disk *disk_find(struct tl_pool *p, const struct uuid *uuid)
{
    list_for_each (node, &p->disk_hash[uuid_hash(uuid) % HASH_BUCKETS]) {
        struct tl_disk *d = list_entry(node, struct tl_disk, hash_link);
        if (uuid_equal(&d->uuid, uuid) && !d->deleted) return d;
    }
    return NULL;
}

struct tl_point *point_find(struct tl_pool *p, const struct uuid *uuid)
{
    list_for_each (node, &p->point_hash[uuid_hash(uuid) % HASH_BUCKETS]) {
        struct tl_point *pt = list_entry(node, struct tl_point, hash_link);
        if (uuid_equal(&pt->uuid, uuid) && pt->kind != VOLUME_POINT_PIN) return pt;
    }
    return NULL;
}

struct retained disk_retained(const struct tl_disk *disk)
{
    return (struct retained){.generations = disk->point_generations,
                             .count = disk->point_count,
                             .live = !disk->deleted,
                             .falls_through = disk->parent != NULL && !disk->deleted,
                             .records = disk->records,
                             .record_count = disk->record_count,
                             .open_stage = disk->open_stage};
}

struct view disk_view(const struct tl_disk *disk, uint64_t generation)
{
    return (struct view){
        .generation = generation, .records = disk->records, .record_count = disk->record_count};
}

/* ---- Disks ----------------------------------------------------------------------------------- */

static struct tl_disk *disk_new(struct tl_pool *p, uint32_t id, const struct uuid *uuid)
{
    if (id >= p->disk_by_id_count) {
        uint32_t count = max_of(id + 1, p->disk_by_id_count * 2);
        p->disk_by_id = realloc(p->disk_by_id, count * sizeof(struct tl_disk *));
        check(p->disk_by_id != NULL);
        memset(p->disk_by_id + p->disk_by_id_count, 0,
               (count - p->disk_by_id_count) * sizeof(struct tl_disk *));
        p->disk_by_id_count = count;
    }
    struct tl_disk *disk = calloc(1, sizeof *disk);
    check(disk != NULL);
    disk->pool = p;
    disk->id = id;
    disk->uuid = *uuid;
    list_init(&disk->locks);
    list_push_back(&p->disks, &disk->link);
    list_push_back(&p->disk_hash[uuid_hash(uuid) % HASH_BUCKETS], &disk->hash_link);
    p->disk_by_id[id] = disk;
    p->next_disk_id = max_of(p->next_disk_id, id + 1); /* E20: never reused */
    return disk;
}

static void point_free(struct tl_point *point)
{
    sets_leave(point);
    list_remove(&point->hash_link);
    free(point);
}

void disk_remove(struct tl_disk *disk)
{
    struct tl_pool *p = disk->pool;
    map_free_disk(disk);
    for (unsigned i = 0; i < disk->point_count; i++)
        point_free(disk->points[i]);
    free(disk->points);
    free(disk->point_generations);
    free(disk->records);
    list_remove(&disk->link);
    list_remove(&disk->hash_link);
    p->disk_by_id[disk->id] = NULL;
    free(disk);
}

void disk_sweep_again(struct tl_disk *disk)
{
    disk->sweep_left = disk->dir_count * FORMAT_DIR_ENTRIES; /* E29 */
    disk->lap_missed = false;
    /* A write that was closed before the deletion may still keep for its point what it supersedes.
     */
    disk->sweep_after = disk->pool->last_closed_seq;
    disk->pool->sweep.has_work = true;
    reclaim_poke(disk->pool);
}

/* ---- Points ---------------------------------------------------------------------------------- */

static struct tl_point *point_new(struct tl_disk *disk, const struct uuid *uuid,
                                  uint64_t generation)
{
    if (disk->point_count == disk->point_capacity) {
        disk->point_capacity = disk->point_capacity ? disk->point_capacity * 2 : 4;
        disk->points = realloc(disk->points, disk->point_capacity * sizeof(struct tl_point *));
        disk->point_generations =
            realloc(disk->point_generations, disk->point_capacity * sizeof(uint64_t));
        check(disk->points && disk->point_generations);
    }
    struct tl_point *point = calloc(1, sizeof *point);
    check(point != NULL);
    point->disk = disk;
    point->uuid = *uuid;
    point->generation = generation;
    disk->points[disk->point_count] = point;
    disk->point_generations[disk->point_count++] = generation;
    list_push_back(&disk->pool->point_hash[uuid_hash(uuid) % HASH_BUCKETS], &point->hash_link);
    return point;
}

static void point_remove(struct tl_point *point)
{
    struct tl_disk *disk = point->disk;
    unsigned i = 0;
    while (disk->points[i] != point)
        i++;
    disk->point_count--;
    for (; i < disk->point_count; i++) {
        disk->points[i] = disk->points[i + 1];
        disk->point_generations[i] = disk->point_generations[i + 1];
    }
    point_free(point);
    struct retained retained = disk_retained(disk);
    disk->record_count = records_drop_unreachable(disk->records, disk->record_count, &retained);
    disk->records_await_lap = disk->record_count > 0;
    disk_sweep_again(disk);
}

/* ---- Reverts --------------------------------------------------------------------------------- */

static void record_push(struct tl_disk *disk, const struct view_record *record)
{
    if (disk->record_count == disk->record_capacity) {
        disk->record_capacity = disk->record_capacity ? disk->record_capacity * 2 : 4;
        disk->records = realloc(disk->records, disk->record_capacity * sizeof *disk->records);
        check(disk->records != NULL);
    }
    disk->records[disk->record_count++] = *record;
}

bool disk_has_dead_records(const struct tl_disk *disk)
{
    struct retained retained = disk_retained(disk);
    for (unsigned i = 0; i < disk->record_count; i++)
        if (record_is_dead(&disk->records[i], &retained)) return true;
    return false;
}

void disk_records_swept(struct tl_disk *disk)
{
    struct retained retained = disk_retained(disk);
    unsigned kept = 0;
    disk->records_await_lap = false;
    auto_free bool *dead = calloc(disk->record_count + 1, sizeof *dead);
    check(dead != NULL);
    for (unsigned i = 0; i < disk->record_count; i++)
        dead[i] = record_is_dead(&disk->records[i], &retained);
    for (unsigned i = 0; i < disk->record_count; i++)
        if (!dead[i]) disk->records[kept++] = disk->records[i];
    if (kept == disk->record_count) return;
    disk->record_count = kept;
    if (!disk_has_dead_records(disk)) return;
    disk->records_await_lap = true; /* what these led to has ended only now */
    disk_sweep_again(disk);
}

/* The point that a branch hangs on, named or pin. */
static struct tl_point *parent_point(const struct tl_disk *branch)
{
    for (unsigned i = 0; i < branch->parent->point_count; i++) {
        struct tl_point *point = branch->parent->points[i];
        if (point->generation == branch->parent_generation &&
            uuid_equal(&point->uuid, &branch->parent_point))
            return point;
    }
    return NULL;
}

static void unhook(struct tl_disk *branch)
{
    struct tl_point *point = parent_point(branch);
    branch->parent->child_count--;
    branch->parent = NULL;
    if (!point) return;
    point->branch_count--;
    if (point->branch_count == 0 && point->kind == VOLUME_POINT_PIN) point_remove(point);
}

static bool hook(struct tl_disk *branch, uint32_t parent_id)
{
    branch->parent = disk_by_id(branch->pool, parent_id);
    if (!branch->parent || branch->parent == branch) return false;
    struct tl_point *point = parent_point(branch);
    if (!point) return false;
    point->branch_count++;
    branch->parent->child_count++;
    branch->parent_disk_uuid = branch->parent->uuid;
    branch->depth = branch->parent->depth + 1;
    return branch->depth <= LIMIT_BRANCH_DEPTH;
}

/* ---- Records --------------------------------------------------------------------------------- */

static bool size_is_sane(uint64_t size_bytes)
{
    return size_bytes >= LIMIT_DISK_MIN_BYTES && size_bytes <= LIMIT_DISK_MAX_BYTES &&
           size_bytes % BLOCK_BYTES == 0;
}

static bool apply_create(struct tl_pool *p, const struct wal_record *r, uint64_t seq)
{
    if (r->disk < p->next_disk_id || r->disk > p->next_disk_id + 1000000 ||
        !size_is_sane(r->size_bytes))
        return false;
    struct tl_disk *disk = disk_new(p, r->disk, &r->uuid);
    disk->size_bytes = r->size_bytes;
    disk->created_seq = seq;
    if (r->parent == 0) return true;
    disk->parent_generation = r->generation;
    disk->parent_point = r->uuid2;
    disk->parent_size_bytes = r->parent_size_bytes;
    if (hook(disk, r->parent)) return true;
    disk->parent = NULL;
    return false;
}

static bool apply_delete_point(struct tl_disk *disk, const struct wal_record *r)
{
    for (unsigned i = 0; i < disk->point_count; i++) {
        struct tl_point *point = disk->points[i];
        if (!uuid_equal(&point->uuid, &r->uuid) || point->kind == VOLUME_POINT_PIN) continue;
        sets_leave(point);
        if (point->branch_count > 0)
            point->kind = VOLUME_POINT_PIN;
        else
            point_remove(point);
        return true;
    }
    return false;
}

static bool apply_member(struct tl_disk *disk, const struct wal_record *r, uint64_t seq,
                         uint64_t wall_ns)
{
    if (disk->point_count && disk->point_generations[disk->point_count - 1] >= seq) return false;
    struct tl_point *point = point_new(disk, &r->uuid, seq);
    point->set = r->uuid2;
    sets_join(point);
    point->leased = r->leased;
    point->kind = (enum volume_point_kind)r->kind;
    point->size_bytes = r->size_bytes;
    point->wall_ns = wall_ns;
    return true;
}

/* The old content becomes a point at the last generation before this one; nothing was written
 * since. */
static bool apply_revert(struct tl_disk *disk, const struct wal_record *r, uint64_t seq,
                         uint64_t wall_ns)
{
    uint64_t undo = seq - 1;
    if (r->generation >= undo || !size_is_sane(r->size_bytes)) return false;
    if (r->stage != 0 && (r->stage < r->generation || r->stage >= undo)) return false;
    if (disk->point_count && disk->point_generations[disk->point_count - 1] >= undo) return false;
    if (disk->record_count && disk->records[disk->record_count - 1].c >= undo) return false;
    struct tl_point *point = point_new(disk, &r->uuid, undo);
    point->kind = VOLUME_POINT_UNDO;
    point->size_bytes = disk->size_bytes;
    point->wall_ns = wall_ns;
    record_push(disk, &(struct view_record){.c = seq, .p = r->generation, .s = r->stage});
    if (r->stage != 0) disk->open_stage = 0;
    disk->size_bytes = r->size_bytes;
    return true;
}

/* Its holes hide nothing any more; its branches are nearer to the top. */
static bool apply_split(struct tl_disk *disk)
{
    if (!disk->parent) return false;
    unhook(disk);
    list_for_each (node, &disk->pool->disks) { /* parents before their children */
        struct tl_disk *d = list_entry(node, struct tl_disk, link);
        d->depth = d->parent ? d->parent->depth + 1 : 0;
    }
    disk_sweep_again(disk);
    return true;
}

bool tables_apply(struct tl_pool *p, const struct wal_record *r, uint64_t seq, uint64_t wall_ns)
{
    if (r->type == WAL_CUT || r->type == WAL_CUT_ABROAD || r->type == WAL_OPEN_RECORD) return true;
    if (r->type == WAL_CUT_POOL) return sets_apply_pool(p, r, seq);
    if (r->type == WAL_DISK_CREATE) return apply_create(p, r, seq);
    struct tl_disk *disk = disk_by_id(p, r->disk);
    if (!disk) return false;
    switch (r->type) {
    case WAL_DISK_RESIZE:
        if (!size_is_sane(r->size_bytes)) return false;
        disk->size_bytes = r->size_bytes;
        return true;
    case WAL_DISK_DELETE:
        if (disk->point_count || disk->child_count) return false;
        disk->deleted = true;
        if (disk->parent) unhook(disk);
        disk_sweep_again(disk);
        return true;
    case WAL_DISK_GONE:
        if (!disk->deleted) return false;
        if (!p->is_open) { /* the blobs that an older checkpoint names must be found again */
            disk_sweep_again(disk);
            return true;
        }
        for (uint64_t i = 0; i < disk->dir_count; i++)
            if (disk->dir[i] && disk->dir[i]->ref.block) retire_block(p, disk->dir[i]->ref.block);
        disk_remove(disk);
        return true;
    case WAL_CUT_MEMBER:
        return apply_member(disk, r, seq, wall_ns);
    case WAL_POINT_DELETE:
        return apply_delete_point(disk, r);
    case WAL_SPLIT:
        return apply_split(disk);
    case WAL_REVERT:
        return apply_revert(disk, r, seq, wall_ns);
    case WAL_INSERT:
    case WAL_REMOVE:
    case WAL_DISK_CREATE:
    case WAL_CUT:
    case WAL_CUT_POOL:
    case WAL_CUT_ABROAD:
    case WAL_OPEN_RECORD:
    default:
        return false;
    }
}

/* ---- On disk --------------------------------------------------------------------------------- */

static uint64_t encoded_bytes(const struct tl_pool *p)
{
    uint64_t bytes = SYSTEM_HEADER_BYTES + alloc_page_count(&p->alloc) * BITMAP_REF_BYTES +
                     (uint64_t)p->ckpt.retiring.count * EXTENT_BYTES + sets_encoded_bytes(p);
    list_for_each (node, &p->disks) {
        const struct tl_disk *d = list_entry(node, struct tl_disk, link);
        bytes += DISK_BYTES + d->dir_count * DIR_REF_BYTES +
                 (uint64_t)d->point_count * POINT_BYTES + (uint64_t)d->record_count * RECORD_BYTES;
    }
    return bytes;
}

static void put_disk(struct buf_writer *w, const struct tl_disk *d)
{
    uint32_t pages = 0;
    for (uint64_t i = 0; i < d->dir_count; i++)
        if (d->dir[i] && d->dir[i]->ref.block) pages++;
    buf_put_le32(w, d->id);
    buf_put_le32(
        w,
        (d->deleted ? DISK_FLAG_DELETED : 0u) |
            (d->sweep_left || d->is_promoting || d->is_replacing || d->pool->sweep.is_active
                 ? DISK_FLAG_SWEEP
                 : 0u));
    buf_put_uuid(w, &d->uuid);
    buf_put_le64(w, d->size_bytes);
    buf_put_le64(w, d->created_seq);
    buf_put_le64(w, d->own_blocks);
    buf_put_le32(w, d->parent ? d->parent->id : 0);
    buf_put_le64(w, d->parent_generation);
    buf_put_le64(w, d->parent_size_bytes);
    buf_put_uuid(w, &d->parent_point);
    buf_put_uuid(w, &d->parent_disk_uuid);
    buf_put_le32(w, pages);
    buf_put_le32(w, d->point_count);
    uint32_t records = mutation_is(MUTATION_FORGET_REVERTS) ? 0 : d->record_count;
    buf_put_le32(w, records);
    buf_put_zeroes(w, 20); /* CDP group, stream */
    for (uint64_t i = 0; i < d->dir_count; i++) {
        if (!d->dir[i] || !d->dir[i]->ref.block) continue;
        buf_put_le32(w, (uint32_t)i);
        buf_put_le32(w, d->dir[i]->ref.crc);
        buf_put_le64(w, d->dir[i]->ref.block);
    }
    for (unsigned i = 0; i < d->point_count; i++) {
        const struct tl_point *point = d->points[i];
        buf_put_uuid(w, &point->uuid);
        buf_put_uuid(w, &point->set);
        buf_put_le64(w, point->generation);
        buf_put_le64(w, point->wall_ns);
        buf_put_le64(w, point->size_bytes);
        buf_put_u8(w, (uint8_t)point->kind);
        buf_put_u8(w, point->leased);
        buf_put_zeroes(w, 6);
    }
    for (unsigned i = 0; i < records; i++) {
        buf_put_le64(w, d->records[i].c);
        buf_put_le64(w, d->records[i].p);
        buf_put_le64(w, mutation_is(MUTATION_FORGET_STAGES) ? 0 : d->records[i].s);
        buf_put_zeroes(w, RECORD_BYTES - 24);
    }
}

uint8_t *tables_encode(struct tl_pool *p, uint64_t *ret_bytes)
{
    uint64_t bytes = encoded_bytes(p);
    uint32_t disk_count = 0, bitmap_count = 0;
    uint8_t *payload = malloc(bytes);
    check(payload != NULL);
    struct buf_writer w = buf_writer(payload, bytes);
    list_for_each (node, &p->disks)
        disk_count++;
    for (uint64_t i = 0; i < alloc_page_count(&p->alloc); i++)
        if (p->bitmap_refs[i].block) bitmap_count++;
    buf_put_le64(&w, p->published_seq);
    buf_put_le32(&w, p->next_disk_id);
    buf_put_le32(&w, disk_count);
    buf_put_le32(&w, bitmap_count);
    buf_put_le32(&w, p->ckpt.retiring.count);
    buf_put_le32(&w, sets_count(p));
    buf_put_zeroes(&w, SYSTEM_HEADER_BYTES - buf_used(&w));
    list_for_each (node, &p->disks)
        put_disk(&w, list_entry(node, struct tl_disk, link));
    for (uint64_t i = 0; i < alloc_page_count(&p->alloc); i++) {
        if (!p->bitmap_refs[i].block) continue;
        buf_put_le32(&w, (uint32_t)i);
        buf_put_le32(&w, p->bitmap_refs[i].crc);
        buf_put_le64(&w, p->bitmap_refs[i].block);
        buf_put_le64(&w, p->bitmap_refs[i].applied_seq);
    }
    for (uint32_t i = 0; i < p->ckpt.retiring.count; i++) {
        buf_put_le64(&w, p->ckpt.retiring.items[i].block);
        buf_put_le32(&w, p->ckpt.retiring.items[i].blocks);
    }
    sets_encode(p, &w);
    check(!w.failed);
    *ret_bytes = buf_used(&w);
    return payload;
}

static bool block_is_sane(const struct tl_pool *p, uint64_t block, uint64_t count)
{
    return block >= p->alloc.start && block < p->alloc.end && count >= 1 &&
           count <= p->alloc.end - block;
}

static bool take_points(struct buf_reader *r, struct tl_disk *d, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct uuid uuid = buf_take_uuid(r), set = buf_take_uuid(r);
        uint64_t generation = buf_take_le64(r), wall_ns = buf_take_le64(r), size = buf_take_le64(r);
        uint8_t kind = buf_take_u8(r);
        bool leased = buf_take_u8(r) != 0;
        buf_take(r, 6);
        if (r->failed || kind < VOLUME_POINT_SNAPSHOT || kind > VOLUME_POINT_UNDO) return false;
        if (i > 0 && d->point_generations[i - 1] >= generation) return false;
        struct tl_point *point = point_new(d, &uuid, generation);
        point->set = set;
        point->wall_ns = wall_ns;
        point->size_bytes = size;
        point->kind = (enum volume_point_kind)kind;
        point->leased = leased;
    }
    return true;
}

static bool take_records(struct buf_reader *r, struct tl_disk *d, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct view_record record = {.c = buf_take_le64(r), .p = buf_take_le64(r)};
        record.s = buf_take_le64(r);
        buf_take(r, RECORD_BYTES - 24);
        if (r->failed || record.p >= record.c) return false;
        if (record.s != 0 && (record.s < record.p || record.s >= record.c)) return false;
        if (i > 0 && d->records[i - 1].c >= record.c) return false;
        record_push(d, &record);
    }
    return true;
}

static bool take_disk(struct buf_reader *r, struct tl_pool *p)
{
    uint32_t id = buf_take_le32(r), flags = buf_take_le32(r);
    struct uuid uuid = buf_take_uuid(r);
    uint64_t size = buf_take_le64(r);
    if (r->failed || id == 0 || id >= p->next_disk_id || disk_by_id(p, id) || !size_is_sane(size))
        return false;
    struct tl_disk *d = disk_new(p, id, &uuid);
    d->size_bytes = size;
    d->deleted = flags & DISK_FLAG_DELETED;
    d->created_seq = buf_take_le64(r);
    d->own_blocks = buf_take_le64(r);
    uint32_t parent = buf_take_le32(r);
    d->parent_generation = buf_take_le64(r);
    d->parent_size_bytes = buf_take_le64(r);
    d->parent_point = buf_take_uuid(r);
    d->parent_disk_uuid = buf_take_uuid(r);
    uint32_t pages = buf_take_le32(r), points = buf_take_le32(r);
    uint32_t records = buf_take_le32(r);
    buf_take(r, 20);
    if (r->failed) return false;
    for (uint32_t i = 0; i < pages; i++) {
        uint32_t index = buf_take_le32(r), crc = buf_take_le32(r);
        uint64_t block = buf_take_le64(r);
        if (r->failed || !block_is_sane(p, block, 1) ||
            index > LIMIT_DISK_MAX_BYTES / BLOCK_BYTES / FORMAT_LEAF_BLOCKS / FORMAT_DIR_ENTRIES)
            return false;
        map_page_create(d, index)->ref = (struct blob_ref){.block = block, .blocks = 1, .crc = crc};
    }
    if (!take_points(r, d, points) || !take_records(r, d, records)) return false;
    if (flags & DISK_FLAG_SWEEP) d->sweep_left = d->dir_count * FORMAT_DIR_ENTRIES;
    return parent == 0 || hook(d, parent);
}

bool tables_decode(struct tl_pool *p, const uint8_t *payload, uint64_t bytes,
                   uint64_t *ret_applied_seq)
{
    struct buf_reader r = buf_reader(payload, bytes);
    uint64_t applied = buf_take_le64(&r);
    p->next_disk_id = buf_take_le32(&r);
    uint32_t disk_count = buf_take_le32(&r), bitmap_count = buf_take_le32(&r),
             retired_count = buf_take_le32(&r);
    uint32_t set_count = buf_take_le32(&r);
    buf_take(&r, SYSTEM_HEADER_BYTES - 28);
    if (r.failed || p->next_disk_id == 0 || p->next_disk_id > 1u << 24) return false;
    for (uint32_t i = 0; i < disk_count; i++)
        if (!take_disk(&r, p)) return false;
    for (uint32_t i = 0; i < bitmap_count; i++) {
        uint32_t index = buf_take_le32(&r), crc = buf_take_le32(&r);
        uint64_t block = buf_take_le64(&r), page_applied = buf_take_le64(&r);
        if (r.failed || index >= alloc_page_count(&p->alloc) || !block_is_sane(p, block, 1))
            return false;
        p->bitmap_refs[index] =
            (struct bitmap_ref){.block = block, .crc = crc, .applied_seq = page_applied};
    }
    for (uint32_t i = 0; i < retired_count; i++) {
        uint64_t block = buf_take_le64(&r);
        uint32_t blocks = buf_take_le32(&r);
        if (r.failed || !block_is_sane(p, block, blocks)) return false;
        extents_push(&p->ckpt.retiring, block, blocks);
    }
    if (r.failed || !sets_decode(p, &r, set_count)) return false;
    *ret_applied_seq = applied;
    return true;
}
