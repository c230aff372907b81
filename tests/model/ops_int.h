/*
 * ops_int.h - what the files of the control calls share (ops.h): choices, tasks, undo points.
 * Threads, ownership, failures: as world.h.
 */
#ifndef TARN_TESTS_OPS_INT_H
#define TARN_TESTS_OPS_INT_H

#include "world.h"

struct choice {
    uint8_t disk, flags;
    uint32_t sector;
    uint16_t count, extra;
};

/* Waits for a free one; NULL: crashed or failed. */
struct task *ops_task_get(struct world *world, enum task_kind kind);
void ops_task_start(struct task *task);
/* True when the call succeeded; a refusal must be an expected one. */
bool ops_task_ended(struct task *task, const char *what, struct err *e, enum status refusal);
/* Finds room for the undo point of the task's disk and its set of one. */
bool ops_undo_prepare(struct world *world, struct task *task);
/* A revert or replace whose write the model has ended: the disk and the undo point are settled. */
void ops_revert_ended(struct task *task, bool ok);

void ops_replace(struct world *world, const struct choice *choice); /* ops_replace.c */

#endif
