#include "windows/provider/core/machine.h"

/* Short names for the table; NO = refused. */
enum {
    NO = SET_STATES,
    IDLE = SET_IDLE,
    PREPG = SET_PREPARING,
    PREPD = SET_PREPARED,
    ARMED = SET_ARMED,
    CMTD = SET_COMMITTED,
    CNFD = SET_CONFIRMED,
    CRTD = SET_CREATED
};

/* What a process that does not know a set may be asked is in the column `idle`. */
/* clang-format off */
static const unsigned char table[SET_EVENTS][SET_STATES] = {
    /*                   idle   preparing prepared armed  committed confirmed created failed */
    [SET_BEGIN]       = {PREPG, PREPG,    NO,      NO,    NO,       NO,       NO,     NO},
    [SET_END_PREPARE] = {NO,    PREPD,    NO,      NO,    NO,       NO,       NO,     NO},
    [SET_PRE_COMMIT]  = {NO,    NO,       ARMED,   NO,    NO,       NO,       NO,     NO},
    [SET_COMMIT]      = {NO,    NO,       NO,      CMTD,  NO,       NO,       NO,     NO},
    [SET_POST_COMMIT] = {NO,    NO,       NO,      NO,    CNFD,     NO,       NO,     NO},
    [SET_FINAL]       = {IDLE,  NO,       NO,      NO,    NO,       CNFD,     CRTD,   NO},
    [SET_TARGETS]     = {IDLE,  NO,       NO,      NO,    NO,       CRTD,     CRTD,   NO},
    [SET_ABORT]       = {IDLE,  IDLE,     IDLE,    IDLE,  IDLE,     IDLE,     CRTD,   IDLE},
};
/* clang-format on */

bool set_next(enum set_state state, enum set_event event, enum set_state *ret_next)
{
    if (table[event][state] == NO) return false;
    *ret_next = (enum set_state)table[event][state];
    return true;
}

const char *set_state_name(enum set_state state)
{
    static const char *const names[SET_STATES] = {"idle",      "preparing", "prepared", "armed",
                                                  "committed", "confirmed", "created",  "failed"};
    return names[state];
}

const char *set_event_name(enum set_event event)
{
    static const char *const names[SET_EVENTS] = {
        "BeginPrepareSnapshot", "EndPrepareSnapshots", "PreCommitSnapshots", "CommitSnapshots",
        "PostCommitSnapshots",  "FinalCommit",         "GetTargetLuns",      "AbortSnapshots"};
    return names[event];
}
