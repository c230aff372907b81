/*
 * watchdog.h - the process that thaws when the requester cannot (see freeze.h).  Private to
 * shadow/.
 *
 * Threads: the shared page is written by the requester's helper thread and by the watchdog; all
 * fields are atomic.
 */
#ifndef TARN_SHADOW_WATCHDOG_H
#define TARN_SHADOW_WATCHDOG_H

#include <stdatomic.h>

#include "shadow/shadow.h"

enum watch_state {
    WATCH_IDLE,     /* nothing to thaw */
    WATCH_FREEZING, /* inside FIFREEZE */
    WATCH_FROZEN,
    WATCH_THAWED,
};

/* One page that both processes see. */
struct watch_shared {
    atomic_int fired; /* the watchdog thaws: begin no other freeze */
    atomic_int state[SHADOW_MOUNTS_MAX];
};

struct watch {
    const struct freeze_ops *ops;
    struct watch_shared *shared;
    int fds[SHADOW_MOUNTS_MAX];
    unsigned count;
};

/* One byte each: the watchdog says ready; the requester start (the hold begins) and done (go away).
 */
enum { WATCH_SAY_READY = 'r', WATCH_SAY_START = 's', WATCH_SAY_DONE = 'd' };

/* Runs in the forked child. */
_Noreturn void watchdog_main(const struct watch *watch, int channel, unsigned hold_ms);

#endif
