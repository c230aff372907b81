/*
 * upkeep.h - what the server does by itself: its clock, what expires, the room in pools, events and
 * the record of refusals.
 */
#ifndef TARN_CONTROL_UPKEEP_H
#define TARN_CONTROL_UPKEEP_H

#include "control/op.h"

/* clock.c */
/* The server's own time: never goes back, follows the wall clock forward by little steps only. */
uint64_t clock_now(struct control *control);
void clock_load(struct control *control, const struct catalog_clock *row);
void clock_tick(struct control *control); /* stores it now and then */
void clock_step_store(struct op *op);     /* of an operation without data */

/* room.c: a pool that is nearly full gives back what is expendable, in the order of E28. */
void room_tick(struct control *control);

/* expire.c: once a second, what has had its time goes. */
void expire_tick(struct control *control);
/* Adds to would (borrowed) what goes when the clock jumps from now to until. */
void expire_say(struct control *control, uint64_t now_ns, uint64_t until_ns, json_t *would);

/* space.c */
uint64_t pool_warning_bytes(const struct pool *pool); /* less free than this is nearly full */
void pool_watch_space(struct control *control, struct pool *pool); /* it was opened; its state, too */
/* An event, if it is not as it should be. */
void pool_tell_of_start(struct control *control, const struct pool *pool);

/* event.c: tells the log and the list of events; before the thing happens when it is queued before
 * it. */
void event_note(struct control *control, enum catalog_level level, const char *kind,
                const char *object, const char *format, ...) TARN_PRINTF(5, 6);

/* audit.c: a refused login of nobody in particular */
void audit_refused_login(struct control *control);
/* false when the refusal is counted only. */
bool audit_denial_is_first(struct control *control, const char *actor, const char *verb);
void audit_tick(struct control *control); /* about once a second */

#endif
