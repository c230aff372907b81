/* The verbs that only look, and the list of all plans. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/host_int.h"

/* One a line, so that changes meet less often. */
/* clang-format off */
static const struct op_plan *const families[] = {
    plans_audit,
    plans_clock,
    plans_credential,
    plans_delete,
    plans_disk,
    plans_event,
    plans_group,
    plans_host,
    plans_host_set,
    plans_import,
    plans_job,
    plans_pool,
    plans_promote,
    plans_read,
    plans_replace,
    plans_retain,
    plans_revert,
    plans_set,
    plans_snapshot,
    plans_token,
    plans_trash,
    plans_update,
    plans_verify,
};
/* clang-format on */

const struct op_plan *plan_find(const char *verb)
{
    for (unsigned i = 0; i < countof(families); i++) {
        for (const struct op_plan *plan = families[i]; plan->verb; plan++) {
            if (strcmp(plan->verb, verb) == 0) return plan;
        }
    }
    return NULL;
}

static void step_server(struct op *op)
{
    op->result = json_server(op->control);
    op_next(op);
}

/* A thing for which `hidden` holds is left out. */
#define LIST_STEP(type, list, key, to_json, hidden)                                                \
    static void step_##type##_list(struct op *op)                                                  \
    {                                                                                              \
        json_t *array = json_array();                                                              \
        list_for_each (node, &op->control->list) {                                                 \
            struct type *type =                                                                    \
                container_of(list_entry(node, struct object, link), struct type, object);          \
            if (!(hidden)) json_array_append_new(array, to_json);                                  \
        }                                                                                          \
        op->result = json_pack("{s:o}", key, array);                                               \
        op_next(op);                                                                               \
    }                                                                                              \
    static op_step *const type##_list_steps[] = {step_##type##_list, NULL};

#define SHOW_STEP(type, to_json)                                                                   \
    static void step_##type##_show(struct op *op)                                                  \
    {                                                                                              \
        struct type *type = NULL;                                                                  \
        struct err *e = find_##type(op->control, arg_text(op, "name"), &type);                     \
        if (!e) op->result = to_json;                                                              \
        op_done(op, e);                                                                            \
    }                                                                                              \
    static op_step *const type##_show_steps[] = {step_##type##_show, NULL};

LIST_STEP(pool, pools, "pools", json_pool(op->control, pool, false), false)
LIST_STEP(disk, disks, "disks", json_disk(op->control, disk),
          disk->row.state == CATALOG_TRASHED || !access_sees_disk(op, disk))
LIST_STEP(host, hosts, "hosts", json_host(host), !access_sees_host(op, host))
LIST_STEP(job, jobs, "jobs", json_job(job), false)
LIST_STEP(token, tokens, "tokens", json_token(token), false)
SHOW_STEP(pool, json_pool(op->control, pool, true))
SHOW_STEP(disk, json_disk(op->control, disk))
SHOW_STEP(host, json_host_whole(op->control, host))
SHOW_STEP(set, json_set(op->control, set))
SHOW_STEP(snapshot, json_snapshot(op->control, snapshot))

static void step_set_list(struct op *op)
{
    json_t *array = json_array();
    list_for_each (node, &op->control->sets) {
        struct set *set = container_of(list_entry(node, struct object, link), struct set, object);
        if (set->row.state == SET_TRASHED || !access_sees_set(op, set)) continue;
        if (arg_bool(op, "stale") && !set_is_stale(op->control, set)) continue;
        json_array_append_new(array, json_set(op->control, set));
    }
    op->result = json_pack("{s:o}", "sets", array);
    op_next(op);
}

static op_step *const set_list_steps[] = {step_set_list, NULL};

static void step_map_list(struct op *op)
{
    json_t *array = json_array();
    list_for_each (node, &op->control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        if (!access_sees_host(op, host)) continue;
        list_for_each (map_node, &host->maps) {
            json_array_append_new(array, json_map(list_entry(map_node, struct map, link)));
        }
    }
    op->result = json_pack("{s:o}", "maps", array);
    op_next(op);
}

/* ---- Snapshots, oldest first: by generation, not by clock ------------------------------------ */

static int compare_snapshots(const void *a, const void *b)
{
    const struct snapshot *first = *(struct snapshot *const *)a,
                          *second = *(struct snapshot *const *)b;
    const struct catalog_set *x = &first->set->row, *y = &second->set->row;
    if ((x->cut_ns == 0) != (y->cut_ns == 0)) return x->cut_ns == 0 ? 1 : -1; /* uncut ones last */
    if (!uuid_equal(&x->pool, &y->pool)) return x->cut_ns < y->cut_ns ? -1 : x->cut_ns > y->cut_ns;
    if (x->generation != y->generation) return x->generation < y->generation ? -1 : 1;
    return first->row.position < second->row.position ? -1 : 1;
}

static void step_snapshot_list(struct op *op)
{
    unsigned count = 0;
    list_for_each (node, &op->control->snapshots)
        count++;
    auto_free struct snapshot **sorted = calloc(count + 1, sizeof *sorted);
    check(sorted);
    count = 0;
    list_for_each (node, &op->control->snapshots) {
        struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (s->row.state != SNAPSHOT_TRASHED && access_sees_set(op, s->set)) sorted[count++] = s;
    }
    if (count) qsort(sorted, count, sizeof *sorted, compare_snapshots);
    json_t *array = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(array, json_snapshot(op->control, sorted[i]));
    op->result = json_pack("{s:o}", "snapshots", array);
    op_next(op);
}

/* ---- A job, waiting for its end -------------------------------------------------------------- */

static struct err *job_result(struct op *op)
{
    struct job *job = NULL;
    TRY(find_job(op->control, arg_text(op, "name"), &job));
    op->result = json_job(job);
    return NULL;
}

static void step_job_answer(struct op *op)
{
    op_done(op, job_result(op));
}

static void wait_over(struct rt_timer *timer)
{
    struct op *op = container_of(timer, struct op, timer);
    if (list_is_linked(&op->lane_link)) list_remove(&op->lane_link);
    op_next(op);
}

static void step_job_wait(struct op *op)
{
    struct job *job = NULL;
    uint64_t wait_s = min_of(arg_uint(op, "wait", 0), (uint64_t)JOB_WAIT_MAX_S);
    struct err *e = find_job(op->control, arg_text(op, "name"), &job);
    if (e || job_is_over(job) || wait_s == 0) {
        op_done(op, e);
        return;
    }
    list_push_back(&job->waiters, &op->lane_link);
    rt_timer_set(op->control->rt, &op->timer, rt_now(op->control->rt) + wait_s * RT_SECOND,
                 wait_over);
}

static op_step *const server_steps[] = {step_server, NULL};
static op_step *const map_list_steps[] = {step_map_list, NULL};
static op_step *const snapshot_list_steps[] = {step_snapshot_list, NULL};
static op_step *const job_show_steps[] = {step_job_wait, step_job_answer, NULL};

const struct op_plan plans_read[] = {
    {"server_show", OP_LANE_NONE, server_steps, NULL},
    {"pool_list", OP_LANE_NONE, pool_list_steps, NULL},
    {"pool_show", OP_LANE_NONE, pool_show_steps, NULL},
    {"disk_list", OP_LANE_NONE, disk_list_steps, NULL},
    {"disk_show", OP_LANE_NONE, disk_show_steps, NULL},
    {"host_list", OP_LANE_NONE, host_list_steps, NULL},
    {"host_show", OP_LANE_NONE, host_show_steps, NULL},
    {"map_list", OP_LANE_NONE, map_list_steps, NULL},
    {"set_list", OP_LANE_NONE, set_list_steps, NULL},
    {"set_show", OP_LANE_NONE, set_show_steps, NULL},
    {"snapshot_list", OP_LANE_NONE, snapshot_list_steps, NULL},
    {"snapshot_show", OP_LANE_NONE, snapshot_show_steps, NULL},
    {"job_list", OP_LANE_NONE, job_list_steps, NULL},
    {"job_show", OP_LANE_NONE, job_show_steps, NULL},
    {"token_list", OP_LANE_NONE, token_list_steps, NULL},
    {0},
};
