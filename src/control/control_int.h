/*
 * control_int.h - shared by the files of src/control only: all of it.
 *
 *     inventory.h   what is known, in memory
 *     op.h          how a verb is carried out: operations, steps, lanes
 *     serve.h       what hosts see
 *     set_int.h     sets being made, found and left over
 *     trash.h       what goes
 *     job.h         what takes long
 *     upkeep.h      what the server does by itself
 *     host_int.h    groups, grants and enrolment (not included here)
 */
#ifndef TARN_CONTROL_INT_H
#define TARN_CONTROL_INT_H

#include "control/inventory.h"
#include "control/job.h"
#include "control/op.h"
#include "control/serve.h"
#include "control/set_int.h"
#include "control/trash.h"
#include "control/upkeep.h"

/* start.c */
extern op_step *const start_steps[], *const stop_steps[];

/* plan_host_set.c */
struct err *host_take_os(struct op *op, struct catalog_host *row) MUST_CHECK;

/* plan_token.c */
void token_draw(struct rt *rt, char text[80], uint8_t hash[32]);

#endif
