/* The inventory in memory: what the catalog says, as objects that point to each other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/endian.h"
#include "control/control_int.h"
#include "control/host_int.h"

/* Control objects are small and few; when there is no memory for one the program cannot go on
 * sensibly. */
static void *object_alloc(size_t size)
{
    void *object = calloc(1, size);
    check(object);
    return object;
}

#define ADD_OBJECT(list, type, row_pointer)                                                        \
    ({                                                                                             \
        struct type *new_ = object_alloc(sizeof *new_);                                            \
        new_->row = *(row_pointer);                                                                \
        new_->object.uuid = &new_->row.uuid;                                                       \
        new_->object.name = new_->row.name;                                                        \
        list_push_back(list, &new_->object.link);                                                  \
        new_;                                                                                      \
    })

#define FIND_OBJECT(list, type, wanted)                                                            \
    ({                                                                                             \
        struct type *found_ = NULL;                                                                \
        list_for_each (node, list) {                                                               \
            struct object *object_ = list_entry(node, struct object, link);                        \
            if (uuid_equal(object_->uuid, wanted)) {                                               \
                found_ = container_of(object_, struct type, object);                               \
                break;                                                                             \
            }                                                                                      \
        }                                                                                          \
        found_;                                                                                    \
    })

/* ---- Disks, sets and snapshots by id: thousands of each, and a look for each of thousands ---- */

static struct object **bucket_of(const struct object_index *index, const struct uuid *uuid)
{
    uint64_t hash = (load_le64(uuid->bytes) ^ load_le64(uuid->bytes + 8)) * 0x9E3779B97F4A7C15U;
    return &index->buckets[(hash >> 32) & (index->bucket_count - 1)];
}

static void index_link(struct object_index *index, struct object *object)
{
    struct object **bucket = bucket_of(index, object->uuid);
    object->index = index;
    object->next_in_bucket = *bucket;
    *bucket = object;
}

static void index_grow(struct object_index *index)
{
    struct object_index old = *index;
    index->bucket_count = old.bucket_count ? 2 * old.bucket_count : 64;
    index->buckets = calloc(index->bucket_count, sizeof(struct object *));
    check(index->buckets);
    for (size_t i = 0; i < old.bucket_count; i++) {
        for (struct object *object = old.buckets[i], *next; object; object = next) {
            next = object->next_in_bucket;
            index_link(index, object);
        }
    }
    free(old.buckets);
}

static void index_add(struct object_index *index, struct object *object)
{
    if (index->count == index->bucket_count) index_grow(index);
    index_link(index, object);
    index->count++;
}

static void index_remove(struct object *object)
{
    struct object_index *index = object->index;
    if (!index) return;
    struct object **at = bucket_of(index, object->uuid);
    while (*at != object)
        at = &(*at)->next_in_bucket;
    *at = object->next_in_bucket;
    object->index = NULL;
    index->count--;
}

static struct object *index_find(const struct object_index *index, const struct uuid *uuid)
{
    if (index->count == 0) return NULL;
    struct object *object = *bucket_of(index, uuid);
    while (object && !uuid_equal(object->uuid, uuid))
        object = object->next_in_bucket;
    return object;
}

static void index_fini(struct object_index *index)
{
    check(index->count == 0);
    free(index->buckets);
    *index = (struct object_index){0};
}

#define FIND_INDEXED(index, type, wanted)                                                          \
    ({                                                                                             \
        struct object *object_ = index_find(index, wanted);                                        \
        object_ ? container_of(object_, struct type, object) : NULL;                               \
    })

struct pool *inventory_pool(struct control *control, const struct uuid *uuid)
{
    return FIND_OBJECT(&control->pools, pool, uuid);
}

struct disk *inventory_disk(struct control *control, const struct uuid *uuid)
{
    return FIND_INDEXED(&control->disk_index, disk, uuid);
}

struct host *inventory_host(struct control *control, const struct uuid *uuid)
{
    return FIND_OBJECT(&control->hosts, host, uuid);
}

struct set *inventory_set(struct control *control, const struct uuid *uuid)
{
    return FIND_INDEXED(&control->set_index, set, uuid);
}

struct snapshot *inventory_snapshot(struct control *control, const struct uuid *uuid)
{
    return FIND_INDEXED(&control->snapshot_index, snapshot, uuid);
}

struct snapshot *inventory_snapshot_of_point(struct control *control, const struct uuid *point)
{
    if (uuid_is_nil(point)) return NULL;
    /* Until its first update a snapshot's point has its own id (set_draft.c). */
    struct snapshot *same = inventory_snapshot(control, point);
    if (same && uuid_equal(&same->row.point, point)) return same;
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (uuid_equal(&s->row.point, point) || uuid_equal(&s->row.other_point, point)) return s;
    }
    return NULL;
}

struct undo *inventory_undo(struct control *control, const struct uuid *uuid)
{
    list_for_each (disk_node, &control->disks) {
        struct disk *disk =
            container_of(list_entry(disk_node, struct object, link), struct disk, object);
        struct undo *undo = FIND_OBJECT(&disk->undos, undo, uuid);
        if (undo) return undo;
    }
    return NULL;
}

/* ---- Adding ---------------------------------------------------------------------------------- */

struct pool *inventory_add_pool(struct control *control, const struct catalog_pool *row)
{
    struct pool *pool = ADD_OBJECT(&control->pools, pool, row);
    if (!pool->row.warn_percent) pool->row.warn_percent = CATALOG_WARN_PERCENT;
    return pool;
}

struct disk *inventory_add_disk(struct control *control, const struct catalog_disk *row)
{
    struct disk *disk = ADD_OBJECT(&control->disks, disk, row);
    index_add(&control->disk_index, &disk->object);
    disk->pool = inventory_pool(control, &row->pool);
    list_init(&disk->undos);
    disk->object.past = row->state == CATALOG_TRASHED || row->state == CATALOG_DELETING;
    return disk;
}

struct undo *inventory_add_undo(struct control *control, const struct catalog_undo *row)
{
    struct disk *disk = inventory_disk(control, &row->disk);
    struct undo *undo = ADD_OBJECT(&disk->undos, undo, row);
    undo->disk = disk;
    return undo;
}

struct host *inventory_add_host(struct control *control, const struct catalog_host *row)
{
    struct host *host = ADD_OBJECT(&control->hosts, host, row);
    host->last_seen_ns = rt_now(control->rt);
    list_init(&host->maps);
    list_init(&host->sessions);
    return host;
}

struct set *inventory_add_set(struct control *control, const struct catalog_set *row)
{
    struct set *set = ADD_OBJECT(&control->sets, set, row);
    index_add(&control->set_index, &set->object);
    list_init(&set->members);
    lane_init(&set->lane);
    set->pool = inventory_pool(control, &row->pool);
    set->object.past = set_is_past(row->state);
    return set;
}

struct snapshot *inventory_add_snapshot(struct control *control, const struct catalog_snapshot *row)
{
    struct snapshot *snapshot = ADD_OBJECT(&control->snapshots, snapshot, row);
    index_add(&control->snapshot_index, &snapshot->object);
    snapshot->set = inventory_set(control, &row->set);
    snapshot->disk = inventory_disk(control, &row->disk);
    snapshot->object.past = row->state == SNAPSHOT_TRASHED || row->state == SNAPSHOT_DELETING;
    list_push_back(&snapshot->set->members, &snapshot->member_link);
    return snapshot;
}

struct token *inventory_add_token(struct control *control, const struct catalog_token *row)
{
    struct token *token = ADD_OBJECT(&control->tokens, token, row);
    token->role = CONTROL_ROLE_NONE;
    for (enum control_role role = CONTROL_ROLE_VIEWER; role <= CONTROL_ROLE_ADMIN; role++) {
        if (strcmp(row->role, control_role_name(role)) == 0) token->role = role;
    }
    return token;
}

struct job *inventory_add_job(struct control *control, const struct catalog_job *row)
{
    struct job *job = object_alloc(sizeof *job);
    job->row = *row;
    job->answer = strdup(row->answer ? row->answer : "");
    job->row.answer = job->answer;
    job->work_text = strdup(row->work ? row->work : "");
    job->row.work = job->work_text;
    if (*job->work_text != '\0') job->work = json_loads(job->work_text, 0, NULL);
    job->control = control;
    uuid_format(&job->row.uuid, job->name);
    job->object.uuid = &job->row.uuid;
    job->object.name = job->name;
    list_init(&job->waiters);
    list_push_back(&control->jobs, &job->object.link);
    return job;
}

struct catalog_import *set_import_of(const struct set *set, const struct uuid *host)
{
    for (unsigned i = 0; i < set->import_count; i++) {
        if (uuid_equal(&set->imports[i].host, host)) return &set->imports[i];
    }
    return NULL;
}

void inventory_put_import(struct set *set, const struct catalog_import *row)
{
    struct catalog_import *there = set_import_of(set, &row->host);
    if (there)
        *there = *row;
    else
        array_push(set->imports, set->import_count, *row);
}

struct map *inventory_add_map(struct control *control, const struct catalog_map *row)
{
    struct map *map = object_alloc(sizeof *map);
    map->row = *row;
    map->host = inventory_host(control, &row->host);
    map->disk = row->kind == CATALOG_DISK ? inventory_disk(control, &row->object) : NULL;
    map->snapshot =
        row->kind == CATALOG_SNAPSHOT ? inventory_snapshot(control, &row->object) : NULL;
    if (map->disk) map->disk->map_count++;
    if (map->snapshot) map->snapshot->map_count++;
    struct list_node *before = map->host->maps.head.next;
    while (before != &map->host->maps.head &&
           list_entry(before, struct map, link)->row.lun < row->lun) {
        before = before->next;
    }
    list_insert_between(before->prev, &map->link, before);
    return map;
}

/* ---- Removing -------------------------------------------------------------------------------- */

void inventory_remove_pool(struct control *control, struct pool *pool)
{
    list_for_each_safe (node, &control->sets) { /* history of aborted sets goes with the pool */
        struct set *set = container_of(list_entry(node, struct object, link), struct set, object);
        set_pool_goes(set, pool);
        if (set->pool == pool) inventory_remove_set(control, set);
    }
    list_remove(&pool->object.link);
    free(pool);
}

void inventory_remove_undo(struct undo *undo)
{
    list_remove(&undo->object.link);
    free(undo);
}

void inventory_remove_disk(struct disk *disk)
{
    check(disk->map_count == 0 && !disk->served.volume);
    list_for_each_safe (node, &disk->undos) {
        inventory_remove_undo(
            container_of(list_entry(node, struct object, link), struct undo, object));
    }
    scsi_reservations_destroy(disk->served.reservations);
    index_remove(&disk->object);
    list_remove(&disk->object.link);
    free(disk);
}

void inventory_remove_host(struct host *host)
{
    check(list_is_empty(&host->maps));
    scsi_map_destroy(host->map);
    list_for_each_safe (node, &host->sessions) {
        list_remove(node);
        free(list_entry(node, struct session, link));
    }
    list_remove(&host->object.link);
    explicit_bzero(&host->row, sizeof host->row); /* CHAP secrets */
    free(host);
}

void inventory_remove_set(struct control *control, struct set *set)
{
    check(list_is_empty(&set->members));
    index_remove(&set->object);
    if (list_is_linked(&set->object.link)) list_remove(&set->object.link);
    set->gone = true;
    if (set->lane.busy || !list_is_empty(&set->lane.waiting)) {
        list_push_back(&control->gone_sets, &set->object.link); /* lane_leave frees it */
        return;
    }
    free(set->imports);
    free(set);
}

void inventory_remove_snapshot(struct snapshot *snapshot)
{
    check(snapshot->map_count == 0 && !snapshot->served.volume && !snapshot->view.volume &&
          !snapshot->branch.volume);
    scsi_reservations_destroy(snapshot->branch.reservations);
    list_remove(&snapshot->member_link);
    index_remove(&snapshot->object);
    list_remove(&snapshot->object.link);
    free(snapshot);
}

void inventory_remove_token(struct token *token)
{
    list_remove(&token->object.link);
    free(token);
}

void inventory_remove_job(struct job *job)
{
    list_remove(&job->object.link);
    if (job->opened) volume_pool_abandon(job->opened);
    if (job->run) job->type->drop(job);
    err_free(job->failure);
    json_decref(job->work);
    json_decref(job->result);
    free(job->work_text);
    free(job->answer);
    free(job);
}

void inventory_remove_map(struct map *map)
{
    if (map->disk) map->disk->map_count--;
    if (map->snapshot) map->snapshot->map_count--;
    list_remove(&map->link);
    free(map);
}

#define FREE_ALL(list, type, ...)                                                                  \
    list_for_each_safe (node, list) {                                                              \
        struct type *gone =                                                                        \
            container_of(list_entry(node, struct object, link), struct type, object);              \
        __VA_ARGS__;                                                                               \
    }

/* After stop, or abandoning what a simulated crash left: nothing here waits. */
void inventory_free(struct control *control)
{
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        list_for_each_safe (map_node, &host->maps) {
            struct map *map = list_entry(map_node, struct map, link);
            if (map->lun) scsi_map_remove(host->map, map->row.lun, NULL, NULL);
            inventory_remove_map(map);
        }
    }
    if (control->closing) volume_pool_abandon(take_ptr(&control->closing));
    FREE_ALL(&control->jobs, job, inventory_remove_job(gone));
    credential_forget(control, NULL);
    FREE_ALL(&control->hosts, host, inventory_remove_host(gone));
    FREE_ALL(&control->snapshots, snapshot, serve_free(&gone->served); serve_free(&gone->view);
             serve_free(&gone->branch);
             inventory_remove_snapshot(gone));
    list_for_each (node, &control->sets) { /* no operation is left to wait for */
        lane_init(&container_of(list_entry(node, struct object, link), struct set, object)->lane);
    }
    FREE_ALL(&control->gone_sets, set, list_remove(&gone->object.link); free(gone->imports);
             free(gone));
    FREE_ALL(&control->sets, set, inventory_remove_set(control, gone));
    FREE_ALL(&control->disks, disk, serve_free(&gone->served); inventory_remove_disk(gone));
    FREE_ALL(&control->pools, pool, if (gone->engine) volume_pool_abandon(gone->engine);
             inventory_remove_pool(control, gone));
    index_fini(&control->disk_index);
    index_fini(&control->set_index);
    index_fini(&control->snapshot_index);
    group_free(control);
    vss_flags_abandon(control);
    FREE_ALL(&control->tokens, token, inventory_remove_token(gone));
}

void inventory_branch_becomes_disk(struct control *control, struct snapshot *snapshot,
                                   struct disk *disk)
{
    disk->served = snapshot->branch;
    snapshot->branch = (struct served){0};
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        struct map *map = host_map_of(host, &snapshot->row.uuid);
        if (!map) continue;
        map->row.kind = CATALOG_DISK;
        map->disk = disk;
        map->snapshot = NULL;
        snapshot->map_count--;
        disk->map_count++;
    }
}

struct snapshot *inventory_snapshot_of_view(struct control *control, const struct uuid *view)
{
    list_for_each (node, &control->snapshots) {
        struct snapshot *snapshot =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (uuid_equal(&snapshot->row.view, view)) return snapshot;
    }
    return NULL;
}

void inventory_forget_hosts_of_sets(struct control *control)
{
    list_for_each (node, &control->sets) {
        struct set *set = container_of(list_entry(node, struct object, link), struct set, object);
        for (unsigned i = 0; i < set->import_count; i++) {
            if (!inventory_host(control, &set->imports[i].host))
                set->imports[i--] = set->imports[--set->import_count];
        }
        if (uuid_is_nil(&set->row.host) || inventory_host(control, &set->row.host)) continue;
        memset(&set->row.host, 0, sizeof set->row.host);
        list_for_each (member, &set->members) {
            list_entry(member, struct snapshot, member_link)->row.lun = -1;
        }
    }
}

/* ---- Loading --------------------------------------------------------------------------------- */

static struct err *load_pool(void *arg, const struct catalog_pool *row)
{
    inventory_add_pool(arg, row);
    return NULL;
}

static struct err *load_disk(void *arg, const struct catalog_disk *row)
{
    inventory_add_disk(arg, row);
    return NULL;
}

static struct err *load_host(void *arg, const struct catalog_host *row)
{
    inventory_add_host(arg, row);
    return NULL;
}

static struct err *load_set(void *arg, const struct catalog_set *row)
{
    inventory_add_set(arg, row);
    return NULL;
}

static struct err *load_event(void *arg, const struct catalog_event *row)
{
    struct set *set = inventory_set(arg, &row->set);
    if (set && set->event_count < SET_HISTORY_MAX) set->events[set->event_count++] = *row;
    return NULL;
}

static struct err *load_snapshot(void *arg, const struct catalog_snapshot *row)
{
    inventory_add_snapshot(arg, row); /* foreign keys hold its set and disk */
    return NULL;
}

static struct err *load_undo(void *arg, const struct catalog_undo *row)
{
    inventory_add_undo(arg, row); /* foreign keys hold its disk */
    return NULL;
}

static struct err *load_clock(void *arg, const struct catalog_clock *row)
{
    clock_load(arg, row);
    return NULL;
}

static struct err *load_settings(void *arg, const struct catalog_settings *row)
{
    ((struct control *)arg)->settings = *row;
    return NULL;
}

static struct err *load_map(void *arg, const struct catalog_map *row)
{
    struct control *control = arg;
    bool there = row->kind == CATALOG_DISK ? inventory_disk(control, &row->object) != NULL
                                           : inventory_snapshot(control, &row->object) != NULL;
    if (!there) {
        return err_new(STATUS_BLOCK_CORRUPT, "the catalog maps LUN %u to nothing", row->lun);
    }
    inventory_add_map(control, row);
    return NULL;
}

static struct err *load_slot(void *arg, const struct catalog_slot *row)
{
    struct control *control = arg;
    struct host *host = inventory_host(control, &row->host);
    if (!host || row->lun >= LIMIT_LUNS_PER_HOST) return NULL;
    host->slots[row->lun] = (struct slot){.used_before = true,
                                          .object = row->object,
                                          .freed_sequence = row->freed_sequence,
                                          .freed_at_ns = rt_now(control->rt)};
    return NULL;
}

static struct err *load_token(void *arg, const struct catalog_token *row)
{
    inventory_add_token(arg, row);
    return NULL;
}

static struct err *load_job(void *arg, const struct catalog_job *row)
{
    inventory_add_job(arg, row);
    return NULL;
}

static struct err *load_import(void *arg, const struct catalog_import *row)
{
    inventory_put_import(inventory_set(arg, &row->set), row); /* foreign keys hold both */
    return NULL;
}

static struct err *load_registration(void *arg, const struct catalog_registration *row)
{
    return reservations_load(arg, row);
}

struct err *inventory_load(struct control *control)
{
    static const struct catalog_reader reader = {
        .pool = load_pool,
        .disk = load_disk,
        .host = load_host,
        .set = load_set,
        .event = load_event,
        .snapshot = load_snapshot,
        .undo = load_undo,
        .clock = load_clock,
        .settings = load_settings,
        .map = load_map,
        .slot = load_slot,
        .token = load_token,
        .job = load_job,
        .import = load_import,
        .registration = load_registration,
    };
    TRY(catalog_load(control->catalog, &reader, control));
    TRY(group_load(control));
    inventory_forget_hosts_of_sets(control);
    return NULL;
}

/* ---- Pools ----------------------------------------------------------------------------------- */

const char *pool_state_text(const struct pool *pool)
{
    if (pool->row.state == CATALOG_CREATING) return "creating";
    if (!pool->engine) return "missing";
    return volume_pool_state_name(volume_pool_state(pool->engine));
}

bool pool_is_writable(const struct pool *pool)
{
    return pool->engine && pool->row.state == CATALOG_READY &&
           volume_pool_state(pool->engine) == VOLUME_POOL_OK;
}

bool pool_may_decide(const struct pool *pool)
{
    return pool->engine && volume_pool_state(pool->engine) != VOLUME_POOL_DAMAGED;
}

struct err *pool_check_open(const struct pool *pool)
{
    if (pool_is_writable(pool)) return NULL;
    const char *trouble = pool->engine ? volume_pool_trouble(pool->engine) : pool->trouble;
    return err_next(err_new(STATUS_CONFLICT, "pool \"%s\" is %s%s%s", pool->row.name,
                            pool_state_text(pool), *trouble ? ": " : "", trouble),
                    "tarn pool show %s", pool->row.name);
}
