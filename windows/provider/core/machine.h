/*
 * machine.h - the life of a shadow copy set in the provider: which call may come when.
 *
 *     idle -> preparing -> prepared -> armed -> committed -> confirmed -> created
 *
 * BeginPrepare, EndPrepare, PreCommit, Commit, PostCommit, the first GetTargetLuns lead from one to
 * the next.  A call that failed leads to `failed`, from where only Abort and a new Begin go on.  An
 * Abort ends every state but created: then the identities are out, and VSS has them on record.
 * Begin with another set id begins anew at any time, because VSS does not tell when it gives a set
 * up before DoSnapshotSet.  PreFinalCommit and PostFinalCommit change nothing; they come before
 * GetTargetLuns or after it.
 */
#ifndef TARN_WINDOWS_CORE_MACHINE_H
#define TARN_WINDOWS_CORE_MACHINE_H

#include <stdbool.h>

enum set_state {
    SET_IDLE,
    SET_PREPARING,
    SET_PREPARED,
    SET_ARMED,
    SET_COMMITTED,
    SET_CONFIRMED,
    SET_CREATED,
    SET_FAILED,
    SET_STATES
};

enum set_event {
    SET_BEGIN,
    SET_END_PREPARE,
    SET_PRE_COMMIT,
    SET_COMMIT,
    SET_POST_COMMIT,
    SET_FINAL, /* PreFinalCommit, PostFinalCommit */
    SET_TARGETS,
    SET_ABORT,
    SET_EVENTS
};

/* The state afterwards; false: the call may not come now. */
bool set_next(enum set_state state, enum set_event event, enum set_state *ret_next);
const char *set_state_name(enum set_state state);
const char *set_event_name(enum set_event event);

#endif
