/*
 * The durable job behind promote, split and break: one target after the other, each
 *
 *     ready (an operation: the branch is made)  ->  promote (the engine, outside of all lanes)
 *         ->  settle (an operation: rows, and what splitting means)
 *
 * Everything may be begun again after a crash at any point: a branch that is there is not made again, what
 * was promoted is found so, a disk that was split is one, and a snapshot that became a disk is passed over.
 *
 * A target whose pool could not be opened at this start, or fails meanwhile, ends nothing: the job waits, and goes on
 * at the next start that has the pool.  A split or break cannot be cancelled until then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

struct target {
    struct uuid uuid;
    char name[CATALOG_NAME_SIZE]; /* of the disk that it becomes */
    char text[VSS_TEXT_MAX];      /* what became of the flags of VSS */
    bool is_left;                 /* to somebody who deletes or breaks it */
};

struct run {
    struct job *job;
    struct control *control;
    bool of_disks, is_split, is_break, is_writable, keeps_flags;
    struct uuid set;
    unsigned count, next;
    struct target *targets;
    uint64_t before_bytes; /* of the targets that are done */
    bool in_engine, in_op; /* neither: it waits for resume or its end */
    bool is_passed_over;   /* the target of now became a disk before */
    struct volume_promotion promotion;
    struct rt_timer timer;
    unsigned left_count;
    void (*left)(void *arg); /* once the engine has let go of the target of now; or NULL */
    void *left_arg;
};

static void go(struct run *run);

/* ---- What it works on ------------------------------------------------------------------------ */

static struct snapshot *snapshot_of(const struct run *run, unsigned index)
{
    return run->of_disks ? NULL : inventory_snapshot(run->control, &run->targets[index].uuid);
}

/* The pool of the target, whatever it is by now; NULL when it is gone or none is left. */
static struct pool *pool_of(const struct run *run, unsigned index)
{
    if (index == run->count) return NULL;
    const struct snapshot *snapshot = snapshot_of(run, index);
    if (snapshot) return snapshot->disk->pool;
    const struct disk *disk = inventory_disk(run->control, &run->targets[index].uuid);
    return disk ? disk->pool : NULL;
}

static void mark(struct run *run, struct job *job)
{
    for (unsigned i = 0; i < run->count; i++) {
        if (run->targets[i].is_left) continue;
        struct snapshot *snapshot = snapshot_of(run, i);
        struct disk *disk = inventory_disk(run->control, &run->targets[i].uuid);
        if (snapshot) snapshot->job = job;
        if (disk && run->of_disks) disk->job = job;
    }
}

static uint64_t size_of(const struct run *run, unsigned index)
{
    const struct snapshot *snapshot = snapshot_of(run, index);
    if (snapshot) return snapshot->row.size_bytes;
    const struct disk *disk = inventory_disk(run->control, &run->targets[index].uuid);
    return disk ? disk->row.size_bytes : 0;
}

/* ---- The end --------------------------------------------------------------------------------- */

static void drop(struct job *job)
{
    struct run *run = job->run;
    free(run->targets);
    free(run);
    job->run = NULL;
}

static json_t *result_of(const struct run *run)
{
    bool disks = run->of_disks || run->is_split;
    json_t *array = json_array();
    for (unsigned i = 0; i < run->count; i++) {
        struct disk *disk = inventory_disk(run->control, &run->targets[i].uuid);
        struct snapshot *snapshot = snapshot_of(run, i);
        if (disks && disk) {
            json_t *json = json_disk(run->control, disk);
            const char *text = run->targets[i].text;
            if (*text) json_object_set_new(json, "note", json_string(text));
            json_array_append_new(array, json);
        }
        if (!disks && snapshot) json_array_append_new(array, json_snapshot(run->control, snapshot));
    }
    return json_pack("{s:o}", disks ? "disks" : "snapshots", array);
}

static void over(struct run *run, struct err *e)
{
    struct job *job = run->job;
    if (!e && run->left_count > 0)
        e = err_new(STATUS_CANCELLED, "%u of %u snapshots were deleted or broken before",
                    run->left_count, run->count);
    mark(run, NULL);
    rt_timer_cancel(run->control->rt, &run->timer);
    if (!e) job->result = result_of(run);
    drop(job);
    job_end(job, e);
}

/* A break that did not come to its end: what is left of the set is a set as before. */
struct unbreak {
    struct set *set;
    struct catalog_set row;
    struct catalog_event event;
};

static struct err *unbreak_write(struct catalog *catalog, void *arg)
{
    const struct unbreak *data = ((struct op *)arg)->data;
    TRY(catalog_put_set(catalog, &data->row));
    return catalog_add_event(catalog, &data->event);
}

static void set_event_fill(struct control *control, const struct set *set,
                           enum catalog_set_state to, struct catalog_set *ret_row,
                           struct catalog_event *ret_event)
{
    *ret_row = set->row;
    ret_row->state = to;
    *ret_event =
        (struct catalog_event){.set = set->row.uuid,
                               .sequence = min_of(set->event_count, (unsigned)SET_HISTORY_MAX - 1),
                               .state = to,
                               .at_ns = rt_wall(control->rt)};
}

/* The state that the set goes to, or its own when the table says nothing of the event. */
static enum catalog_set_state state_after(const struct set *set, enum set_event event)
{
    struct set_facts facts = {0};
    struct set_decision decision = {.to = set->row.state};
    struct err *e = set_decide(set->row.state, event, &facts, &decision);
    err_free(e);
    return decision.to;
}

static void step_unbreak(struct op *op)
{
    const struct run *run = op->finish_arg;
    struct unbreak *data = op_data(op, sizeof *data);
    data->set = inventory_set(op->control, &run->set);
    enum catalog_set_state to =
        data->set ? state_after(data->set, SET_EVENT_BREAK_END) : SET_CREATED;
    if (!data->set || to == data->set->row.state) {
        op_end(op);
        return;
    }
    set_event_fill(op->control, data->set, to, &data->row, &data->event);
    op_catalog_audited(op, unbreak_write);
}

static void step_unbroken(struct op *op)
{
    const struct unbreak *data = op->data;
    set_enter(op->control, data->set, data->row.state, data->event.at_ns);
    data->set->changed = false;
    op_next(op);
}

static void unbroken(struct op *op)
{
    struct run *run = op->finish_arg;
    struct job *job = run->job;
    if (op->error) log_failure("a set stays \"breaking\"; break it again", op->error);
    over(run, take_ptr(&job->failure));
}

static void end(struct run *run, struct err *e)
{
    static op_step *const steps[] = {step_unbreak, step_unbroken, NULL};
    static const struct op_plan plan = {
        .verb = "set_break_end", .lane = OP_LANE_GENERAL, .steps = steps};
    const struct pool *pool = pool_of(run, run->next);
    if (e && !run->job->is_cancelled && pool && !pool_is_writable(pool)) {
        job_waits_for_pool(run->job, pool, e);
        if (run->control->stopping) go(run);
        return;
    }
    if (!run->is_break || !e) {
        over(run, e);
        return;
    }
    run->in_op = true;
    run->job->failure = e;
    op_start_internal(run->control, &plan, NULL, unbroken, run);
}

static void suspend_now(struct run *run)
{
    struct job *job = run->job;
    rt_timer_cancel(run->control->rt, &run->timer);
    drop(job);
    job_suspended(job);
}

/* ---- Settle ---------------------------------------------------------------------------------- */

struct settle {
    struct doomed doomed; /* first: the steps of doomed.c use op->data */
    struct run *run;
    struct snapshot *snapshot;
    struct disk *disk;
    struct catalog_disk disk_row;
    struct catalog_snapshot snapshot_row;
    struct set *set; /* when its last member leaves it */
    struct catalog_set set_row;
    struct catalog_event event;
};

static const struct uuid *target_uuid(const struct settle *data)
{
    return &data->run->targets[data->run->next].uuid;
}

static void step_settle(struct op *op)
{
    struct run *run = op->finish_arg;
    struct settle *data = op_data(op, sizeof *data);
    op->data_free = doom_free;
    if (run->targets[run->next].is_left) {
        op_end(op);
        return;
    }
    data->run = run;
    data->snapshot = snapshot_of(run, run->next);
    data->disk = inventory_disk(op->control, &run->targets[run->next].uuid);
    bool there = run->of_disks ? data->disk != NULL : data->snapshot != NULL;
    op_done(op, there ? NULL : err_new(STATUS_NOT_FOUND, "it was deleted meanwhile"));
}

/* Outside of VSS nobody else would make the volumes visible and writable again (S10). */
static void step_flags(struct op *op)
{
    const struct settle *data = op->data;
    const struct run *run = data->run;
    if (!data->snapshot || !data->snapshot->set->row.vss || run->keeps_flags ||
        data->snapshot->branch.volume) { /* a host has it: its own tools changed what it needs */
        op_next(op);
        return;
    }
    vss_flags_clear(op->control, data->snapshot->disk->pool->engine, target_uuid(data),
                    run->targets[run->next].text, op_done, op);
}

static void step_split(struct op *op)
{
    const struct settle *data = op->data;
    struct pool *pool = pool_of(data->run, data->run->next);
    struct volume_disk_info info;
    if (volume_disk_find(pool->engine, target_uuid(data), &info) && info.depth == 0) {
        op_next(op); /* the record is there since before a restart */
        return;
    }
    volume_split(pool->engine, target_uuid(data), op_done, op);
}

static bool is_last_member(const struct snapshot *snapshot)
{
    list_for_each (node, &snapshot->set->members) {
        const struct snapshot *s = list_entry(node, struct snapshot, member_link);
        if (s != snapshot && s->row.state != SNAPSHOT_DELETING && s->row.state != SNAPSHOT_TRASHED)
            return false;
    }
    return true;
}

static void fill_name(struct op *op, const struct run *run, char name[CATALOG_NAME_SIZE])
{
    const char *wanted = run->targets[run->next].name;
    snprintf(name, CATALOG_NAME_SIZE, "%s", wanted);
    for (unsigned i = 2; i < 10000; i++) {
        struct err *e = name_check_free(&op->control->disks, "disk", name);
        if (!e) return;
        err_free(e); /* taken since the verb was answered */
        snprintf(name, CATALOG_NAME_SIZE, "%.240s-%u", wanted, i);
    }
}

static struct err *split_write(struct catalog *catalog, void *arg)
{
    const struct settle *data = ((struct op *)arg)->data;
    TRY(catalog_put_disk(catalog, &data->disk_row));
    if (!data->snapshot) return NULL;
    TRY(catalog_put_snapshot(catalog, &data->snapshot_row));
    TRY(catalog_maps_become_disk(catalog, &data->disk_row.uuid, data->run->is_writable));
    if (!data->set) return NULL;
    TRY(catalog_put_set(catalog, &data->set_row));
    return catalog_add_event(catalog, &data->event);
}

static void step_split_rows(struct op *op)
{
    struct settle *data = op->data;
    struct snapshot *snapshot = data->snapshot;
    json_object_set_new(op->arguments, "job", json_string(data->run->job->name));
    if (!snapshot) {
        data->disk_row = data->disk->row;
        data->disk_row.parent_point = (struct uuid){0};
        json_object_set_new(op->arguments, "disk", json_string(data->disk->row.name));
        op_catalog_audited(op, split_write);
        return;
    }
    struct volume_disk_info info = {.size_bytes = snapshot->row.size_bytes};
    (void)snapshot_branch_find(snapshot, &info);
    data->disk_row = (struct catalog_disk){.uuid = snapshot->row.uuid,
                                           .pool = snapshot->disk->pool->row.uuid,
                                           .state = CATALOG_READY,
                                           .size_bytes = info.size_bytes,
                                           .created_ns = rt_wall(op->control->rt)};
    memcpy(data->disk_row.naa, snapshot->row.naa, sizeof data->disk_row.naa);
    fill_name(op, data->run, data->disk_row.name);
    data->snapshot_row = snapshot->row;
    data->snapshot_row.state = SNAPSHOT_DELETING;
    if (is_last_member(snapshot)) {
        data->set = snapshot->set;
        set_event_fill(op->control, data->set, state_after(data->set, SET_EVENT_SPLIT),
                       &data->set_row, &data->event);
    }
    json_object_set_new(op->arguments, "snapshot", json_string(snapshot->row.name));
    json_object_set_new(op->arguments, "disk", json_string(data->disk_row.name));
    op_catalog_audited(op, split_write);
}

static void step_publish(struct op *op)
{
    struct settle *data = op->data;
    if (!data->snapshot) {
        data->disk->row.parent_point = (struct uuid){0};
        op_end(op);
        return;
    }
    data->disk = inventory_add_disk(op->control, &data->disk_row);
    data->snapshot->row.state = SNAPSHOT_DELETING;
    inventory_branch_becomes_disk(op->control, data->snapshot, data->disk);
    if (data->set) set_enter(op->control, data->set, data->set_row.state, data->event.at_ns);
    if (data->set) data->set->changed = false;
    doom_snapshot(&data->doomed, data->snapshot);
    op_next(op);
}

static bool is_of(const struct scsi_lun *lun, const struct served *served)
{
    return lun && (lun == served->lun[0] || lun == served->lun[1]);
}

/* What the map still shows of the snapshot, write-protected; NULL: the disk already. */
static struct served *shown_of_point(const struct map *map, const struct settle *data)
{
    if (map->disk != data->disk) return NULL;
    if (is_of(map->lun, &data->snapshot->served)) return &data->snapshot->served;
    return is_of(map->lun, &data->snapshot->view) ? &data->snapshot->view : NULL;
}

/* Hosts that read the point, write-protected, read the disk from now on: it holds the same. */
static void step_switch(struct op *op)
{
    struct settle *data = op->data;
    list_for_each (node, &op->control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        struct map *map = host_map_of(host, &data->disk->row.uuid);
        if (!map) continue;
        if (data->run->is_writable) map->row.read_only = false;
        struct served *old = shown_of_point(map, data);
        if (!old) continue;
        op_repeat(op);
        struct err *e = serve_switch(op->control, map, old, op_unit_done, op);
        if (e) op_fail(op, e);
        return;
    }
    op_next(op);
}

static struct err *full_write(struct catalog *catalog, void *arg)
{
    const struct settle *data = ((struct op *)arg)->data;
    return catalog_put_snapshot(catalog, &data->snapshot_row);
}

static void step_full_rows(struct op *op)
{
    struct settle *data = op->data;
    if (!data->snapshot) {
        op_end(op); /* that a branch was promoted is not kept: it is found out again at once */
        return;
    }
    data->snapshot_row = data->snapshot->row;
    data->snapshot_row.is_full = true;
    json_object_set_new(op->arguments, "snapshot", json_string(data->snapshot->row.name));
    op_catalog_audited(op, full_write);
}

static void step_full(struct op *op)
{
    ((struct settle *)op->data)->snapshot->row.is_full = true;
    op_next(op);
}

static op_step *const promote_steps[] = {step_settle, step_full_rows, step_full, NULL};
static op_step *const split_steps[] = {
    step_settle, step_flags,       step_split,     step_split_rows,  step_publish,
    step_switch, doom_step_points, doom_step_rows, doom_step_forget, NULL};

static void settled(struct op *op)
{
    struct run *run = op->finish_arg;
    run->in_op = false;
    if (op->error) {
        end(run, take_ptr(&op->error));
        return;
    }
    run->before_bytes += size_of(run, run->next);
    run->job->done_bytes = run->before_bytes;
    run->next++;
    go(run);
}

static void settle(struct run *run)
{
    static const struct op_plan promote_plan = {
        .verb = "promote_settle", .lane = OP_LANE_GENERAL, .steps = promote_steps};
    static const struct op_plan split_plan = {
        .verb = "split_settle", .lane = OP_LANE_GENERAL, .steps = split_steps};
    run->in_op = true;
    op_start_internal(run->control, run->is_split ? &split_plan : &promote_plan, NULL, settled,
                      run);
}

/* ---- Promote --------------------------------------------------------------------------------- */

static void progress(struct volume_promotion *promotion, uint64_t done_bytes, uint64_t total_bytes)
{
    struct run *run = container_of(promotion, struct run, promotion);
    job_progress(run->job, run->before_bytes + min_of(done_bytes, total_bytes));
}

static void look_again(struct rt_timer *timer)
{
    struct run *run = container_of(timer, struct run, timer);
    if (run->in_engine && run->job->row.state == JOB_RUNNING)
        volume_promotion_pause(&run->promotion, false);
}

/* A break is never refused for space; it goes on when there is some. */
static bool wait_for_space(struct volume_promotion *promotion)
{
    struct run *run = container_of(promotion, struct run, promotion);
    job_waits_for_space(run->job, pool_of(run, run->next), &run->timer, look_again);
    return true;
}

static void promoted(struct volume_promotion *promotion, struct err *e)
{
    struct run *run = container_of(promotion, struct run, promotion);
    bool stops = run->control->stopping || run->job->is_cancelled;
    run->in_engine = false;
    run->job->trouble[0] = '\0';
    rt_timer_cancel(run->control->rt, &run->timer);
    if (run->left) {
        void (*left)(void *arg) = take_ptr(&run->left);
        void *arg = run->left_arg;
        err_free(e);
        run->next++;
        go(run); /* queues behind the operation that waits; the run may be over and gone */
        left(arg);
    } else if (!e) {
        settle(run);
    } else if (stops && err_status(e) == STATUS_CANCELLED) {
        err_free(e);
        go(run);
    } else {
        end(run, e);
    }
}

/* ---- Ready ----------------------------------------------------------------------------------- */

static void step_ready(struct op *op)
{
    struct run *run = op->finish_arg;
    struct snapshot *snapshot = snapshot_of(run, run->next);
    struct pool *pool = pool_of(run, run->next);
    struct volume_disk_info info;
    run->is_passed_over = run->targets[run->next].is_left || (!run->of_disks && !snapshot && pool);
    struct err *e = NULL;
    if (!run->is_passed_over) {
        e = pool ? pool_check_open(pool) : err_new(STATUS_NOT_FOUND, "it was deleted meanwhile");
    }
    if (e || run->is_passed_over || run->of_disks) {
        op_done(op, e);
        return;
    }
    e = snapshot_check_branch(snapshot);
    if (e || snapshot_branch_find(snapshot, &info)) {
        op_done(op, e);
    } else {
        snapshot_branch_make(snapshot, op_done, op);
    }
}

static void readied(struct op *op)
{
    struct run *run = op->finish_arg;
    struct volume_disk_info info;
    run->in_op = false;
    if (op->error) {
        end(run, take_ptr(&op->error));
        return;
    }
    if (run->is_passed_over) {
        run->next++;
        go(run);
        return;
    }
    const struct uuid *uuid = &run->targets[run->next].uuid;
    struct volume_pool *engine = pool_of(run, run->next)->engine;
    if (volume_disk_find(engine, uuid, &info) && info.depth == 0) {
        settle(run);
        return;
    }
    if (!job_goes_on(run->job)) {
        go(run);
        return;
    }
    run->in_engine = true;
    run->promotion = (struct volume_promotion){
        .disk = *uuid, .progress = progress, .full = wait_for_space, .done = promoted};
    volume_promote(engine, &run->promotion);
}

static void go(struct run *run)
{
    static op_step *const steps[] = {step_ready, NULL};
    static const struct op_plan plan = {
        .verb = "promote_ready", .lane = OP_LANE_GENERAL, .steps = steps};
    struct job *job = run->job;
    check(!run->in_engine && !run->in_op);
    if (run->next == run->count) {
        end(run, NULL);
    } else if (run->control->stopping) {
        suspend_now(run);
    } else if (job->is_cancelled) {
        end(run, err_next(err_new(STATUS_CANCELLED, "it was cancelled"),
                          "what was copied stays; begin again when you like"));
    } else if (job->row.state == JOB_RUNNING) {
        run->in_op = true;
        op_start_internal(run->control, &plan, NULL, readied, run);
    }
}

/* ---- The job --------------------------------------------------------------------------------- */

static bool flag_of(const json_t *work, const char *key)
{
    return json_is_true(json_object_get(work, key));
}

static bool uuid_of(const json_t *work, const char *key, struct uuid *ret_uuid)
{
    const char *text = json_string_value(json_object_get(work, key));
    return text && uuid_parse(text, ret_uuid);
}

/* After a restart: what was left before. */
static void note_left(struct run *run)
{
    for (unsigned i = 0; i < run->count && !run->of_disks && !run->is_split; i++) {
        const struct snapshot *s = snapshot_of(run, i);
        if (s && s->set->row.state != SET_BREAKING && s->row.state == SNAPSHOT_READY) continue;
        run->targets[i].is_left = true;
        run->left_count++;
    }
}

static void start(struct job *job)
{
    struct run *run = calloc(1, sizeof *run);
    check(run);
    const json_t *targets = json_object_get(job->work, "targets");
    *run = (struct run){.job = job,
                        .control = job->control,
                        .of_disks = flag_of(job->work, "of_disks"),
                        .is_split = flag_of(job->work, "split"),
                        .is_break = flag_of(job->work, "break"),
                        .is_writable = flag_of(job->work, "writable"),
                        .keeps_flags = flag_of(job->work, "keep_vss_flags")};
    (void)uuid_of(job->work, "set", &run->set);
    run->targets = calloc(json_array_size(targets) + 1, sizeof *run->targets);
    check(run->targets);
    for (unsigned i = 0; i < json_array_size(targets); i++) {
        const json_t *target = json_array_get(targets, i);
        const char *name = json_string_value(json_object_get(target, "name"));
        if (!uuid_of(target, "uuid", &run->targets[run->count].uuid)) continue;
        snprintf(run->targets[run->count].name, CATALOG_NAME_SIZE, "%s", name ? name : "disk");
        run->count++;
    }
    job->run = run;
    job->done_bytes = job->total_bytes = 0;
    for (unsigned i = 0; i < run->count; i++)
        job->total_bytes += size_of(run, i);
    note_left(run);
    mark(run, job);
    go(run);
}

static void pause(struct job *job)
{
    struct run *run = job->run;
    bool is_paused = job->row.state == JOB_PAUSED;
    if (run->in_engine) {
        volume_promotion_pause(&run->promotion, is_paused);
    } else if (!run->in_op && !is_paused) {
        go(run);
    }
}

static void cancel(struct job *job)
{
    struct run *run = job->run;
    if (run->in_engine) {
        volume_promotion_cancel(&run->promotion);
    } else if (!run->in_op) {
        go(run);
    }
}

/* What is only copied stays whatever becomes of the job. */
static struct err *check_cancel(const struct job *job)
{
    const struct run *run = job->run;
    const struct pool *pool = run && run->is_split ? pool_of(run, run->next) : NULL;
    if (!pool || pool_is_writable(pool)) return NULL;
    return job_cancel_needs_pool(job, pool, "what became a disk of its own already");
}

/* ---- Stepping aside -------------------------------------------------------------------------- */

/* What only copies gives way to who deletes or breaks the snapshot: for neither the copy is needed
 * any more, or it is made all the same. */
bool promotion_gives_way(const struct snapshot *snapshot)
{
    const struct job *job = snapshot->job;
    if (!job || !job->run) return false;
    return strcmp(job->row.verb, "set_promote") == 0 ||
           strcmp(job->row.verb, "snapshot_promote") == 0;
}

bool promotion_leave(struct snapshot *snapshot, void (*done)(void *arg), void *arg)
{
    struct run *run = snapshot->job->run;
    unsigned i = 0;
    while (i < run->count && !uuid_equal(&run->targets[i].uuid, &snapshot->row.uuid))
        i++;
    check(i < run->count);
    run->targets[i].is_left = true;
    run->left_count++;
    snapshot->job = NULL;
    if (!run->in_engine || i != run->next) return false;
    run->left = done;
    run->left_arg = arg;
    volume_promotion_cancel(&run->promotion);
    return true;
}

#define TYPE(verb)                                                                                 \
    {                                                                                              \
        verb, start, pause, cancel, cancel, drop, check_cancel                                     \
    }
const struct job_type job_types_promote[] = {
    TYPE("snapshot_promote"), TYPE("snapshot_split"), TYPE("set_promote"), TYPE("set_split"),
    TYPE("set_break"),        TYPE("disk_promote"),   TYPE("disk_split"),  {0},
};
