/*
 * Start: open the catalog, open the pools, compare rows with points, serve maps.  Nothing else runs
 * meanwhile, so the worker may read the inventory.  Stop: the same backwards.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "control/control_int.h"
#include "control/mutation.h"

#define STOP_POLL_NS (10 * RT_MS)
#define HISTORY_KEPT_NS (7 * 24 * 3600 * RT_SECOND)
/* How long a start waits for pools that another process holds, for all of them together.  A predecessor that was
 * killed holds its pools until the last of its I/O has ended (E15), also when it is a process no more and a service
 * manager has started the next one; Linux gives a disk 30 s for a request before it ends it. */
#define HELD_PATIENCE_NS (30 * RT_SECOND)
#define HELD_LOOK_NS (100 * RT_MS)

struct start {
    struct doomed doomed; /* first: the steps of doomed.c use op->data */
    struct op *op;
    struct list_node *next_pool; /* of this round; see next_of_round */
    struct pool *pool;
    struct volume_pool *opened;
    bool is_later_round;
    unsigned held_count;    /* pools that this round found held by another process */
    uint64_t held_since_ns; /* when the first was met; 0: none was */
    struct rt_timer timer;  /* to the next round */
    unsigned stray_count, next_stray;
    struct stray *strays;
};

/* A point of a set that is known to be aborted (the cut failed, by a flush error, say, and yet it had got
 * through), or one that an update or a replace left over. */
struct stray {
    struct volume_pool *engine;
    struct uuid point;
};

/* ---- The catalog ----------------------------------------------------------------------------- */

static struct err *write_token_file(struct control *control, const char *token)
{
    char path[CATALOG_PATH_SIZE + 16];
    snprintf(path, sizeof path, "%s/admin.token", control->state_directory);
    struct rt_bfile *file = NULL;
    TRY(rt_bfile_open(control->rt, path, RT_BOPEN_CREATE, &file));
    struct err *e = rt_bfile_truncate(file, 0);
    if (!e) e = rt_bfile_write(file, 0, token, strlen(token));
    if (!e) e = rt_bfile_sync(file, RT_FLUSH_CATALOG);
    rt_bfile_close(file);
    return e ? err_wrap(e, "write %s", path) : NULL;
}

static struct err *write_token(struct catalog *catalog, void *arg)
{
    return catalog_put_token(catalog, arg);
}

/* First start: a token for the administrator.  The file comes first: a crash between draws a new
 * one. */
static struct err *make_admin_token(struct control *control)
{
    char text[80];
    struct catalog_token row = {.uuid = rt_uuid(control->rt),
                                .name = "admin",
                                .role = "administrator",
                                .created_ns = rt_wall(control->rt)};
    token_draw(control->rt, text, row.hash);
    TRY(write_token_file(control, text));
    TRY(catalog_transact(control->catalog, write_token, &row, NULL));
    inventory_add_token(control, &row);
    return NULL;
}

static struct err *open_on_worker(struct op *op)
{
    struct control *control = op->control;
    TRY(catalog_open(control->rt, control->state_directory, &control->catalog));
    control->server = catalog_server_uuid(control->catalog);
    TRY(inventory_load(control));
    if (list_is_empty(&control->tokens)) TRY(make_admin_token(control));
    return NULL;
}

static void step_open_catalog(struct op *op)
{
    op_worker(op, open_on_worker);
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static void pool_trouble(struct pool *pool, struct err *e)
{
    if (err_status(e) == STATUS_LOCKED)
        e = err_wrap(e, "still held after %u s; end the process that holds it, then restart tarnd",
                     (unsigned)(HELD_PATIENCE_NS / RT_SECOND));
    err_text(e, pool->trouble, sizeof pool->trouble);
    log_failure("a pool could not be opened; its disks are not served", e);
    err_free(e);
}

static unsigned held_ms(const struct start *start)
{
    return (unsigned)((rt_now(start->op->control->rt) - start->held_since_ns) / RT_MS);
}

/* True: the pool is looked at again in the next round. */
static bool wait_for_holder(struct start *start, struct pool *pool)
{
    if (start->held_since_ns == 0) start->held_since_ns = rt_now(start->op->control->rt);
    unsigned waited_ms = held_ms(start);
    if (waited_ms >= HELD_PATIENCE_NS / RT_MS) return false;
    if (!pool->held)
        log_warn("a pool is held by another process; the start waits for it",
                 "pool=\"%s\" file=\"%s\" at_most_s=%u", pool->row.name, pool->row.path,
                 (unsigned)(HELD_PATIENCE_NS / RT_SECOND) - waited_ms / 1000);
    pool->held = true;
    start->held_count++;
    return true;
}

static void pool_opened(void *arg, struct err *e)
{
    struct op *op = arg;
    struct start *start = op->data;
    struct pool *pool = start->pool;
    struct volume_pool *opened = take_ptr(&start->opened);
    if (err_status(e) == STATUS_LOCKED && wait_for_holder(start, pool)) {
        err_free(e);
        op_next(op);
        return;
    }
    if (pool->held && err_status(e) != STATUS_LOCKED)
        log_info("the other process has let go of a pool", "pool=\"%s\" waited_ms=%u",
                 pool->row.name, held_ms(start));
    pool->held = false;
    if (!e && !uuid_equal(volume_pool_uuid(opened), &pool->row.uuid)) {
        volume_pool_abandon(opened);
        e = err_new(STATUS_CONFLICT, "another pool lies at %s", pool->row.path);
    }
    if (e) {
        pool_trouble(pool, e);
    } else {
        pool->engine = opened;
        pool_watch_space(op->control, pool);
        log_info("pool open", "pool=\"%s\" state=%s", pool->row.name,
                 volume_pool_state_name(volume_pool_state(opened)));
    }
    op_next(op);
}

static void start_free(void *data)
{
    struct start *start = data;
    rt_timer_cancel(start->op->control->rt, &start->timer);
    if (start->opened) volume_pool_abandon(start->opened);
    doomed_fini(&start->doomed);
    free(start->strays);
    free(start);
}

static void begin_round(struct start *start)
{
    start->next_pool = start->op->control->pools.head.next;
    start->held_count = 0;
}

static void look_again(struct rt_timer *timer)
{
    struct start *start = container_of(timer, struct start, timer);
    struct op *op = start->op;
    if (op->control->stopping) {
        op_fail(op,
                err_new(STATUS_CANCELLED, "the server is told to stop while it waits for a pool"));
        return;
    }
    start->is_later_round = true;
    begin_round(start);
    op_next(op);
}

/* NULL: none is left.  The first round opens all that it can, each later one those that were held. */
static struct pool *next_of_round(struct start *start)
{
    while (start->next_pool != &start->op->control->pools.head) {
        struct object *object = list_entry(start->next_pool, struct object, link);
        struct pool *pool = container_of(object, struct pool, object);
        start->next_pool = start->next_pool->next;
        if (pool->held || !start->is_later_round) return pool;
    }
    return NULL;
}

static void step_open_pools(struct op *op)
{
    struct control *control = op->control;
    struct start *start = op->data;
    if (!start) {
        start = op_data(op, sizeof *start);
        op->data_free = start_free;
        start->doomed.tolerant = true;
        start->op = op;
        begin_round(start);
    }
    start->pool = next_of_round(start);
    if (!start->pool && start->held_count == 0) {
        op_next(op);
        return;
    }
    op_repeat(op);
    if (!start->pool) {
        rt_timer_set(control->rt, &start->timer, rt_now(control->rt) + HELD_LOOK_NS, look_again);
        return;
    }
    struct volume_pool_options options = {.cache_bytes = control->options.cache_bytes,
                                          .lock_at_once = true};
    control->options.engine->pool_open(control->rt, start->pool->row.path, &options, &start->opened,
                                       pool_opened, op);
}

/* ---- Rows against points --------------------------------------------------------------------- */

static void decide_pools(struct control *control)
{
    list_for_each (node, &control->pools) {
        struct pool *pool =
            container_of(list_entry(node, struct object, link), struct pool, object);
        if (pool->row.state != CATALOG_CREATING) continue;
        if (pool->engine) {
            pool->row.state = CATALOG_READY;
        } else {
            pool->row.state = CATALOG_DELETING; /* its row goes */
            log_warn("a pool was not made completely and is forgotten", "pool=\"%s\" file=\"%s\"",
                     pool->row.name, pool->row.path);
        }
    }
}

/* A point exists if and only if its revert was made: a row that was ahead of it goes. */
static void decide_undos(struct control *control, struct start *start, struct disk *disk)
{
    list_for_each (node, &disk->undos) {
        struct undo *undo =
            container_of(list_entry(node, struct object, link), struct undo, object);
        struct volume_point_info info;
        bool there = volume_point_find(disk->pool->engine, &undo->row.uuid, &info) &&
                     !control_mutation_is(CONTROL_MUTATION_FORGET_UNDOS);
        if (there && undo->row.state != SNAPSHOT_DELETING) {
            undo->row.state = SNAPSHOT_READY;
            undo->row.size_bytes = info.size_bytes;
            continue;
        }
        if (undo->row.state == SNAPSHOT_PENDING && job_keeps_undo(control, &undo->row.uuid))
            continue;
        if (undo->row.state == SNAPSHOT_READY) {
            log_error("an undo point of the catalog is not in its pool", "disk=\"%s\" undo=\"%s\"",
                      disk->row.name, undo->row.name);
        }
        doom_undo(&start->doomed, undo);
    }
}

/* A branch off a point that was cut through VSS: whether its volumes were made visible is not known. */
static bool may_be_marked(struct control *control, const struct disk *disk)
{
    const struct snapshot *parent = inventory_snapshot(control, &disk->row.parent_point);
    return parent && parent->set->row.vss;
}

static void decide_disks(struct control *control, struct start *start)
{
    list_for_each (node, &control->disks) {
        struct disk *disk =
            container_of(list_entry(node, struct object, link), struct disk, object);
        struct volume_disk_info info;
        if (!pool_may_decide(disk->pool)) continue;
        bool there = volume_disk_find(disk->pool->engine, &disk->row.uuid, &info);
        if (there) disk->row.size_bytes = info.size_bytes;
        if (disk->row.state == CATALOG_CREATING && there && !may_be_marked(control, disk))
            disk->row.state = CATALOG_READY;
        if (disk->row.state == CATALOG_READY || disk->row.state == CATALOG_TRASHED) {
            if (!there)
                log_error("a disk of the catalog is not in its pool", "disk=\"%s\"",
                          disk->row.name);
            decide_undos(control, start, disk);
            continue;
        }
        doom_disk(&start->doomed, disk); /* never answered, or being deleted */
    }
}

static void decide_set(struct control *control, struct start *start, struct set *set)
{
    update_decide(set);
    struct set_findings found = set_look_for_cut(set);
    struct set_decision decision = {0};
    struct set_facts facts = {.now_ns = rt_now(control->rt)};
    set->undecided = set_is_undecided(set, &found);
    if (set->undecided) return; /* kept, shown, not served */
    enum set_event event = set_found_event(set, &found);
    struct err *e = set_decide(set->row.state, event, &facts, &decision);
    check(!e); /* the table has a row for every state */
    if (event == SET_EVENT_FOUND_HALF)
        log_warn("a set was cut in some of its pools only: aborted", "set=\"%s\"", set->row.name);
    else if (decision.to == SET_ABORTED && set->row.state != SET_ABORTED)
        log_error("the points of a committed set are not in its pool", "set=\"%s\"", set->row.name);
    if (set->row.state == SET_CREATED && control_mutation_is(CONTROL_MUTATION_DELETE_CREATED))
        decision.action = SET_DO_DELETE;
    switch (decision.action) {
    case SET_DO_ADOPT:
        set_adopt(set, &found);
        break;
    case SET_DO_ABORT:
        /* Without members it is history, and says whose points may still turn up (write_pruned). */
        if (set->row.state == SET_ABORTED && list_is_empty(&set->members)) break;
        doom_set(&start->doomed, set);
        break;
    case SET_DO_DELETE:
        doom_set(&start->doomed, set);
        break;
    case SET_DO_NOTHING:
    case SET_DO_FALL_BACK:
        break;
    case SET_DO_RENEW:
    case SET_DO_ARM:
    case SET_DO_CUT:
    case SET_DO_CONFIRM:
    case SET_DO_FINISH:
    case SET_DO_TRASH:
    case SET_DO_RESTORE:
    case SET_DO_IMPORT:
    case SET_DO_MASK:
    case SET_DO_BREAK:
    default:
        unreachable("action at start");
    }
    if (decision.to != set->row.state) set_enter(control, set, decision.to, rt_wall(control->rt));
    if (set_in_the_making(set)) {
        set->lease_until_ns = rt_now(control->rt) + set->row.lease_s * RT_SECOND;
    }
    list_for_each (node, &set->members) { /* members of a created set that were being deleted */
        struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (s->row.state == SNAPSHOT_DELETING) doom_snapshot(&start->doomed, s);
    }
}

struct stray_search {
    struct control *control;
    struct start *start;
    struct pool *pool;
};

static void add_stray(struct start *start, struct pool *pool, const struct uuid *point)
{
    if (control_mutation_is(CONTROL_MUTATION_KEEP_STRAYS)) return;
    array_push(start->strays, start->stray_count,
               (struct stray){.engine = pool->engine, .point = *point});
}

/* Of a snapshot's private branch, cut for a replace that ended while the snapshot's pool was away. */
static bool is_left_by_job(struct control *control, const struct uuid *point)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(point, text);
    list_for_each (node, &control->jobs) {
        const struct job *job =
            container_of(list_entry(node, struct object, link), struct job, object);
        const char *temporary = json_string_value(json_object_get(job->work, "temporary"));
        if (temporary && strcmp(temporary, text) == 0 && job_is_over(job)) return true;
    }
    return false;
}

static void note_stray(void *arg, const struct volume_point_info *info)
{
    struct stray_search *search = arg;
    struct start *start = search->start;
    const struct set *set = inventory_set(search->control, &info->set);
    const struct snapshot *s = inventory_snapshot_of_point(search->control, &info->uuid);
    if (s && uuid_equal(&s->row.other_point, &info->uuid)) { /* left over by an update */
        if (!update_is_undecided(s->set)) add_stray(start, search->pool, &info->uuid);
        return;
    }
    if (!s && !set && is_left_by_job(search->control, &info->uuid)) {
        add_stray(start, search->pool, &info->uuid);
        return;
    }
    if (!info->leased || !set || set->row.state != SET_ABORTED) return;
    if (inventory_snapshot_of_point(search->control, &info->uuid)) return; /* its row sees to it */
    add_stray(start, search->pool, &info->uuid);
}

static void stray_deleted(void *arg, struct err *e)
{
    if (e) {
        log_failure("a point that is left over could not be deleted; the next start tries again",
                    e);
        err_free(e);
    }
    op_next(arg);
}

static void step_strays(struct op *op)
{
    struct start *start = op->data;
    if (start->next_stray == start->stray_count) {
        list_for_each (node, &op->control->snapshots) { /* the rows forget them at the next start */
            struct snapshot *s =
                container_of(list_entry(node, struct object, link), struct snapshot, object);
            if (pool_may_decide(s->disk->pool) && !update_is_undecided(s->set))
                memset(&s->row.other_point, 0, sizeof s->row.other_point);
        }
        op_next(op);
        return;
    }
    const struct stray *stray = &start->strays[start->next_stray++];
    op_repeat(op);
    volume_point_delete(stray->engine, &stray->point, stray_deleted, op);
}

static void step_decide(struct op *op)
{
    struct control *control = op->control;
    struct start *start = op->data;
    decide_pools(control);
    decide_disks(control, start);
    list_for_each (node, &control->sets) {
        decide_set(control, start,
                   container_of(list_entry(node, struct object, link), struct set, object));
    }
    list_for_each (node, &control->pools) {
        struct pool *pool =
            container_of(list_entry(node, struct object, link), struct pool, object);
        struct stray_search search = {.control = control, .start = start, .pool = pool};
        if (pool->engine) volume_points(pool->engine, NULL, note_stray, &search);
    }
    op_next(op);
}

static struct err *write_sets(struct catalog *catalog, struct control *control)
{
    list_for_each (node, &control->sets) {
        struct set *set = container_of(list_entry(node, struct object, link), struct set, object);
        if (!set->changed) continue;
        TRY(catalog_put_set(catalog, &set->row));
        TRY(catalog_add_event(catalog, &set->events[set->event_count - 1]));
    }
    list_for_each (node, &control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->disk->pool->engine) TRY(catalog_put_snapshot(catalog, &s->row));
    }
    return NULL;
}

/* Only durable jobs outlive the process. */
static struct err *write_jobs(struct catalog *catalog, struct control *control)
{
    static const char interrupted[] =
        "{\"status\":\"CANCELLED\",\"message\":\"the server was restarted\","
        "\"causes\":[],\"next\":\"start it again\"}";
    unsigned count = 0;
    list_for_each (node, &control->jobs)
        count++;
    list_for_each_safe (node, &control->jobs) {
        struct job *job = container_of(list_entry(node, struct object, link), struct job, object);
        if (!job_is_over(job) && job_can_resume(job)) continue;
        if (!job_is_over(job)) {
            free(job->answer);
            job->answer = strdup(interrupted);
            job->row.answer = job->answer;
            job->row.state = JOB_FAILED;
            job->row.finished_ns = rt_wall(control->rt);
            TRY(catalog_put_job(catalog, &job->row));
        } else if (count > JOB_KEPT_MAX) {
            count--;
            TRY(catalog_delete_job(catalog, &job->row.uuid));
            inventory_remove_job(job);
        }
    }
    return NULL;
}

static struct err *write_decided(struct catalog *catalog, void *arg)
{
    struct control *control = ((struct op *)arg)->control;
    list_for_each_safe (node, &control->pools) {
        struct pool *pool =
            container_of(list_entry(node, struct object, link), struct pool, object);
        if (pool->row.state == CATALOG_DELETING) {
            TRY(catalog_delete_pool(catalog, &pool->row.uuid));
        } else {
            TRY(catalog_put_pool(catalog, &pool->row));
        }
    }
    list_for_each (node, &control->disks) {
        struct disk *disk =
            container_of(list_entry(node, struct object, link), struct disk, object);
        TRY(catalog_put_disk(catalog, &disk->row));
        list_for_each (undo, &disk->undos) {
            TRY(catalog_put_undo(
                catalog,
                &container_of(list_entry(undo, struct object, link), struct undo, object)->row));
        }
    }
    TRY(write_sets(catalog, control));
    return write_jobs(catalog, control);
}

/* The head of the audit goes to the log of each start: a place that a rewritten catalog does not
 * reach. */
static struct err *write_and_tell(struct catalog *catalog, void *arg)
{
    uint64_t sequence = 0;
    uint8_t chain[CATALOG_CHAIN_BYTES];
    char hex[2 * CATALOG_CHAIN_BYTES + 1];
    TRY(catalog_audit_head(catalog, &sequence, chain));
    log_info("audit", "head=%llu:%s", (unsigned long long)sequence,
             text_format_hex(chain, sizeof chain, hex));
    return write_decided(catalog, arg);
}

static void step_write(struct op *op)
{
    op_catalog_audited(op, write_and_tell);
}

/* Old history of aborted and broken sets; they have no members. */
static struct err *write_pruned(struct catalog *catalog, void *arg)
{
    struct control *control = ((struct op *)arg)->control;
    uint64_t now = rt_wall(control->rt);
    list_for_each (node, &control->pools) /* a point may still turn up in it */
        if (!container_of(list_entry(node, struct object, link), struct pool, object)->engine)
            return NULL;
    list_for_each_safe (node, &control->sets) {
        struct set *set = container_of(list_entry(node, struct object, link), struct set, object);
        if (!set_is_record(set->row.state) || !list_is_empty(&set->members)) continue;
        if (now < set->row.created_ns + HISTORY_KEPT_NS) continue;
        TRY(catalog_delete_set(catalog, &set->row.uuid));
        inventory_remove_set(control, set);
    }
    return NULL;
}

static void step_prune(struct op *op)
{
    struct control *control = op->control;
    list_for_each_safe (node, &control->pools) {
        struct pool *pool =
            container_of(list_entry(node, struct object, link), struct pool, object);
        if (pool->row.state == CATALOG_DELETING) inventory_remove_pool(control, pool);
    }
    list_for_each (node, &control->sets) {
        container_of(list_entry(node, struct object, link), struct set, object)->changed = false;
    }
    op_catalog(op, write_pruned);
}

static void step_serve(struct op *op)
{
    struct control *control = op->control;
    list_for_each (node, &control->pools)
        pool_tell_of_start(
            control, container_of(list_entry(node, struct object, link), struct pool, object));
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        struct err *e = scsi_map_create(control->rt, &host->map);
        if (e) {
            op_fail(op, e);
            return;
        }
        list_for_each (map_node, &host->maps) {
            e = serve_map(control, list_entry(map_node, struct map, link));
            if (!e) continue;
            log_failure("a LUN is not served", e);
            err_free(e);
        }
    }
    op_next(op);
}

op_step *const start_steps[] = {
    step_open_catalog, step_open_pools,  step_decide, step_write, doom_step_points, doom_step_disks,
    doom_step_rows,    doom_step_forget, step_strays, step_prune, step_serve,       NULL};

/* ---- Stop ------------------------------------------------------------------------------------ */

static void poll_again(struct rt_timer *timer)
{
    op_next(container_of(timer, struct op, timer));
}

static void step_wait_idle(struct op *op)
{
    struct control *control = op->control;
    bool alone = control->ops.head.next == &op->link && control->ops.head.prev == &op->link;
    if (alone && control->jobs_running == 0) {
        op_next(op);
        return;
    }
    op_repeat(op);
    rt_timer_set(control->rt, &op->timer, rt_now(control->rt) + STOP_POLL_NS, poll_again);
}

static void step_unserve(struct op *op)
{
    struct control *control = op->control;
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        list_for_each (map_node, &host->maps) {
            struct map *map = list_entry(map_node, struct map, link);
            if (!map->lun) continue;
            op_repeat(op);
            unserve_map(map, op_unit_done, op);
            return;
        }
    }
    op_next(op);
}

static void pool_closed(void *arg, struct err *e)
{
    ((struct op *)arg)->control->closing = NULL;
    if (e) {
        log_failure("a pool was not closed cleanly; the next start recovers it", e);
        err_free(e);
    }
    op_next(arg);
}

static void step_close_pools(struct op *op)
{
    list_for_each (node, &op->control->pools) {
        struct pool *pool =
            container_of(list_entry(node, struct object, link), struct pool, object);
        if (!pool->engine) continue;
        op_repeat(op);
        op->control->closing = take_ptr(&pool->engine);
        volume_pool_close(op->control->closing, pool_closed, op);
        return;
    }
    op_next(op);
}

static struct err *close_on_worker(struct op *op)
{
    catalog_close(take_ptr(&op->control->catalog));
    return NULL;
}

static void step_close_catalog(struct op *op)
{
    op_worker(op, close_on_worker);
}

op_step *const stop_steps[] = {step_wait_idle,   step_unserve,       step_close_pools,
                               clock_step_store, step_close_catalog, NULL};
