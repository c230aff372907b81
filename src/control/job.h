/*
 * job.h - jobs: what takes long, is seen with `tarn job`, and, if its verb has a type, outlives tarnd.
 */
#ifndef TARN_CONTROL_JOB_H
#define TARN_CONTROL_JOB_H

#include "control/op.h"

/* job.c.  A job whose verb has a type is durable: it is begun again at start of tarnd, and can be paused
 * and cancelled. */
struct job_type {
    const char *verb;
    void (*start)(struct job *job);   /* row.state may be PAUSED: then it waits */
    void (*pause)(struct job *job);   /* row.state has changed to PAUSED, or back to RUNNING */
    void (*cancel)(struct job *job);  /* is_cancelled is set: it ends soon, unless it is past that */
    void (*suspend)(struct job *job); /* tarnd stops: job_suspended follows soon */
    void (*drop)(struct job *job);    /* frees run, without waiting */
    /* NULL, or why it cannot be cancelled now: what it has done already cannot be told. */
    struct err *(*check_cancel)(const struct job *job);
};
extern const struct job_type job_types_promote[]; /* each ends with verb NULL */
extern const struct job_type job_types_replace[];
extern const struct job_type job_types_verify[];
extern const struct job_type job_types_vss[];
struct job *job_begin(struct control *control, const char *verb, const char *object);
/* The row of a durable job, to be stored by the caller with what belongs to it; text is row->work. */
void job_row_fill(struct control *control, const char *verb, const char *object, const char *text,
                  struct catalog_job *ret_row);
struct job *job_launch(struct control *control, const struct catalog_job *row);
void job_end(struct job *job, struct err *e); /* takes e, and job->result as the answer */
void job_suspended(struct job *job);
void job_resume_all(struct control *control);  /* at start */
void job_suspend_all(struct control *control); /* at stop */
bool job_is_over(const struct job *job);
bool job_can_resume(const struct job *job); /* at start: it is durable, and its row is whole */
/* Its pool is too full: says so (event, once), and sets the timer to look again. */
void job_waits_for_space(struct job *job, const struct pool *pool, struct rt_timer *timer,
                         void (*look_again)(struct rt_timer *timer));
/* Its pool is not open, or failed: it is not over, and goes on at the next start that has the pool.  Says so
 * (event, once).  Takes e, which may be NULL. */
void job_waits_for_pool(struct job *job, const struct pool *pool, struct err *e);
/* CONFLICT: what the job has done of "what" can only be seen in that pool. */
struct err *job_cancel_needs_pool(const struct job *job, const struct pool *pool,
                                  const char *what) MUST_CHECK;
void job_progress(struct job *job, uint64_t done_bytes); /* and what it waited for has come */
bool job_goes_on(const struct job *job); /* neither paused, cancelled nor about to stop */
void job_run_pool_create(struct job *job);
void job_run_pool_check(struct job *job);
void job_wait_cancel_all(struct control *control);
void job_wake(struct job *job);

/* ---- Promote and break ----------------------------------------------------------------------- */

/* job_promote.c: is the snapshot's job one that only copies?  Such a one leaves it to who deletes or breaks it;
 * true: it does so later, and calls done. */
bool promotion_gives_way(const struct snapshot *snapshot);
bool promotion_leave(struct snapshot *snapshot, void (*done)(void *arg), void *arg);
/* plan_promote.c: the job that gives every member of a set a copy of its own; *ret_text is the row's. */
struct err *promote_set_fill(struct op *op, const struct set *set, struct catalog_job *ret_row,
                             char **ret_text) MUST_CHECK;

/* ---- Replace --------------------------------------------------------------------------------- */

/* plan_replace.c: is what a host wrote into the snapshot its content? */
bool snapshot_content_is_branch(const struct op *op, const struct snapshot *snapshot);
/* Goes on as a replace by the snapshot's private branch; op has no data yet. */
void replace_instead(struct op *op, struct disk *disk, struct snapshot *snapshot);
/* job_replace.c: an undo point of a job that has not ended: whether it is there says what the job did, so nobody
 * else takes it away. */
bool job_keeps_undo(struct control *control, const struct uuid *undo);

/* ---- Clearing the marks of VSS --------------------------------------------------------------- */

/* job_vss.c: the same as a durable job, when it failed beside what it belongs to.  Fill, store the row with the
 * other rows, go. */
struct vss_job {
    struct catalog_job row;
    char *text; /* row.work */
};
struct err *vss_job_fill(struct control *control, const struct disk *disk,
                         struct vss_job *job) MUST_CHECK;
/* Says what was not done and who does it: the note of the answer.  Takes e. */
json_t *vss_job_go(struct control *control, struct disk *disk, struct vss_job *job, struct err *e);
void vss_job_fini(struct vss_job *job);

#endif
