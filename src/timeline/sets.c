/* sets.c - which pools a set was cut over, as long as one of its points is here (E23). */
#include <stdlib.h>

#include "base/array.h"
#include "base/buf.h"
#include "timeline/tables.h"

enum { SET_BYTES = 24, SET_POOL_BYTES = 16 };

static struct list *bucket_of(struct tl_pool *p, const struct uuid *uuid)
{
    return &p->set_hash[uuid_hash(uuid) % HASH_BUCKETS];
}

static struct tl_set *set_find(struct tl_pool *p, const struct uuid *uuid)
{
    list_for_each (node, bucket_of(p, uuid)) {
        struct tl_set *set = list_entry(node, struct tl_set, hash_link);
        if (uuid_equal(&set->uuid, uuid)) return set;
    }
    return NULL;
}

static struct tl_set *set_new(struct tl_pool *p, const struct uuid *uuid)
{
    struct tl_set *set = calloc(1, sizeof *set);
    check(set != NULL);
    set->uuid = *uuid;
    list_push_back(bucket_of(p, uuid), &set->hash_link);
    return set;
}

static void set_free(struct tl_set *set)
{
    list_remove(&set->hash_link);
    free(set->pools);
    free(set);
}

bool sets_apply_pool(struct tl_pool *p, const struct wal_record *r, uint64_t seq)
{
    struct tl_set *set = set_find(p, &r->uuid2);
    if (!set) set = set_new(p, &r->uuid2);
    if (set->point_count > 0 || set->pool_count == LIMIT_SET_MEMBERS) return false;
    set->seq = seq;
    array_push(set->pools, set->pool_count, r->uuid);
    return true;
}

void sets_join(struct tl_point *point)
{
    point->over_pools = set_find(point->disk->pool, &point->set);
    if (point->over_pools) point->over_pools->point_count++;
}

void sets_leave(struct tl_point *point)
{
    struct tl_set *set = take_ptr(&point->over_pools);
    if (set && --set->point_count == 0) set_free(set);
}

void sets_init(struct tl_pool *p)
{
    for (unsigned i = 0; i < HASH_BUCKETS; i++)
        list_init(&p->set_hash[i]);
}

void sets_fini(struct tl_pool *p)
{
    for (unsigned i = 0; i < HASH_BUCKETS; i++)
        list_for_each_safe (node, &p->set_hash[i])
            set_free(list_entry(node, struct tl_set, hash_link));
}

/* ---- On disk ----------------------------------------------------------------------------------
 */

uint32_t sets_count(const struct tl_pool *p)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < HASH_BUCKETS; i++)
        list_for_each (node, &p->set_hash[i])
            count++;
    return count;
}

uint64_t sets_encoded_bytes(const struct tl_pool *p)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < HASH_BUCKETS; i++)
        list_for_each (node, &p->set_hash[i])
            bytes += SET_BYTES + (uint64_t)list_entry(node, struct tl_set, hash_link)->pool_count *
                                     SET_POOL_BYTES;
    return bytes;
}

void sets_encode(const struct tl_pool *p, struct buf_writer *w)
{
    for (unsigned i = 0; i < HASH_BUCKETS; i++) {
        list_for_each (node, &p->set_hash[i]) {
            const struct tl_set *set = list_entry(node, struct tl_set, hash_link);
            buf_put_uuid(w, &set->uuid);
            buf_put_le32(w, set->pool_count);
            buf_put_zeroes(w, 4);
            for (unsigned j = 0; j < set->pool_count; j++)
                buf_put_uuid(w, &set->pools[j]);
        }
    }
}

static void join_all(struct tl_pool *p)
{
    list_for_each (node, &p->disks) {
        const struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        for (unsigned i = 0; i < disk->point_count; i++) {
            struct tl_point *point = disk->points[i];
            if (point->kind == VOLUME_POINT_PIN) continue;
            sets_join(point);
            if (point->over_pools) point->over_pools->seq = point->generation;
        }
    }
}

bool sets_decode(struct tl_pool *p, struct buf_reader *r, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct uuid uuid = buf_take_uuid(r);
        uint32_t pools = buf_take_le32(r);
        buf_take(r, 4);
        if (r->failed || pools < 2 || pools > LIMIT_SET_MEMBERS || set_find(p, &uuid)) return false;
        struct tl_set *set = set_new(p, &uuid);
        for (uint32_t j = 0; j < pools; j++) {
            struct uuid pool = buf_take_uuid(r);
            array_push(set->pools, set->pool_count, pool);
        }
    }
    if (r->failed) return false;
    if (count > 0) join_all(p);
    for (unsigned i = 0; i < HASH_BUCKETS; i++)
        list_for_each (node, &p->set_hash[i])
            if (list_entry(node, struct tl_set, hash_link)->point_count == 0) return false;
    return true;
}
