/*
 * op.h - operations: how a verb is carried out.
 *
 * Words: an OPERATION (op) is a verb being carried out: a list of STEPS, each of which ends by
 * starting one asynchronous thing or by op_next.  A LANE lets one operation pass at a time: the
 * general lane for everything that changes the inventory, a set's own lane for the verbs of a set
 * that is being made, so that a commit never waits for anything else.
 *
 * Threads: the loop; only worker_fn and catalog_fn run on the worker.
 */
#ifndef TARN_CONTROL_OP_H
#define TARN_CONTROL_OP_H

#include "control/inventory.h"

struct op;
typedef void op_step(struct op *op);
enum op_lane { OP_LANE_NONE, OP_LANE_GENERAL, OP_LANE_SET };

struct op_plan {
    const char *verb;
    enum op_lane lane;
    op_step *const *steps; /* ends with NULL */
    op_step *const *undo;  /* run after a failure once op->undo_due is set; may be NULL */
};

struct op {
    struct list_node link, lane_link;
    struct control *control;
    struct control_call *call; /* NULL: internal, or already answered */
    const struct verb *verb;   /* NULL: internal */
    const struct op_plan *plan;
    struct control_actor actor;
    json_t *arguments;
    json_t *result;
    struct err *error;
    op_step *const *steps;
    unsigned step;
    bool ready, running;     /* the last step has ended; steps are being run (op_run) */
    bool access_due;         /* rights are looked at once more before the first step */
    bool repeat;             /* op_repeat */
    bool undo_due;           /* set by a step: a failure from here on runs plan->undo */
    bool undoing, finishing; /* that is under way; so is the end */
    struct lane *lane;
    struct set *set;         /* whose lane is held or waited for */
    struct set **taken_sets; /* whose lanes are held besides */
    unsigned taken_count;
    void *data;
    size_t data_size;
    void (*data_free)(void *data); /* NULL: wiped and freed */
    struct err *(*worker_fn)(struct op *op);
    void (*finish)(struct op *op); /* internal operations: called last */
    void *finish_arg;
    void (*drop)(void *finish_arg); /* frees it where the end never comes: control is destroyed */
    struct rt_timer timer;
    struct rt_work work;
    catalog_fn *catalog_fn;
    bool with_audit, audited;
    const char *audit_verb; /* NULL: the verb's, or the plan's */
    const char *audit_result;
    char *audit_arguments;
    struct err *work_error;
    char idempotency_key[64];
    char *stored_request, *stored_status, *stored_answer;
};

/* A step ends with exactly one of these, or with op_done as the callback of an engine call. */
void op_next(struct op *op);
void op_fail(struct op *op, struct err *e);
void op_done(void *arg, struct err *e); /* volume_done_fn: next or fail */
void op_catalog(struct op *op,
                catalog_fn *fn); /* fn(catalog, op) on the worker, then next or fail */
void op_catalog_audited(struct op *op, catalog_fn *fn);
/* Audited with another result than OK; op->audit_arguments may be set before. */
void op_catalog_record(struct op *op, catalog_fn *fn, const char *result);
void op_worker(struct op *op,
               struct err *(*fn)(struct op *op)); /* on the worker, without a transaction */
void op_end(struct op *op);                       /* no more steps */
/* Before one of the above: run this step again / go on with other steps. */
void op_repeat(struct op *op);
void op_continue_with(struct op *op, op_step *const *steps);
void *op_data(struct op *op, size_t size); /* zeroed, freed with the operation */
/* Answers now; the operation goes on. */
void op_answer(struct op *op, json_t *result);
void op_unit_done(void *arg); /* void done(void *arg) of scsi and iscsi */
/* Starts an operation of our own; drop frees finish_arg if it is under way when control is destroyed. */
void op_start_internal(struct control *control, const struct op_plan *plan, struct set *set,
                       void (*finish)(struct op *op), void *finish_arg);
void op_start_owning(struct control *control, const struct op_plan *plan, struct set *set,
                     void (*finish)(struct op *op), void *finish_arg, void (*drop)(void *finish_arg));
void op_submit(struct control_call *call, struct control *control);
void op_free(struct op *op);
void lane_init(struct lane *lane);
/* Takes the idle lane of a set beside the operation's own; given back at its end.  Fine when taken
 * already. */
void op_take_set(struct op *op, struct set *set);
bool op_has_set(const struct op *op, const struct set *set); /* taken by op_take_set */

const char *arg_text(const struct op *op, const char *name); /* NULL when absent */
uint64_t arg_uint(const struct op *op, const char *name, uint64_t if_absent);
bool arg_bool(const struct op *op, const char *name);
bool arg_is_given(const struct op *op, const char *name);

/* plans: one per verb of verbs.def, by family; each ends with verb NULL */
extern const struct op_plan plans_audit[];
extern const struct op_plan plans_clock[];
extern const struct op_plan plans_credential[];
extern const struct op_plan plans_delete[];
extern const struct op_plan plans_disk[];
extern const struct op_plan plans_event[];
extern const struct op_plan plans_group[];
extern const struct op_plan plans_host[];
extern const struct op_plan plans_host_set[];
extern const struct op_plan plans_import[];
extern const struct op_plan plans_job[];
extern const struct op_plan plans_pool[];
extern const struct op_plan plans_promote[];
extern const struct op_plan plans_read[];
extern const struct op_plan plans_replace[];
extern const struct op_plan plans_retain[];
extern const struct op_plan plans_revert[];
extern const struct op_plan plans_set[];
extern const struct op_plan plans_snapshot[];
extern const struct op_plan plans_token[];
extern const struct op_plan plans_trash[];
extern const struct op_plan plans_update[];
extern const struct op_plan plans_verify[];
const struct op_plan *plan_find(const char *verb);
struct err *require_role(const struct op *op, enum control_role role, const char *what) MUST_CHECK;
/* Answers {"dry_run":true,"would":[...]} (takes would) and ends. */
void op_end_dry_run(struct op *op, json_t *would);

#endif
