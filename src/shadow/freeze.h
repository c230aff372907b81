/*
 * freeze.h - holding the writes of file systems, with a watchdog that lets go when we cannot.
 *
 * What the kernel does (FIFREEZE, FITHAW): a freeze writes everything out and has no owner and no
 * timeout; it outlives the process that made it.  Who writes to a frozen file system sleeps and
 * cannot be killed.  A second freeze is EBUSY, a thaw of what is not frozen EINVAL.  A freeze can
 * block.
 *
 * So: the watchdog process exists before the first freeze.  It thaws in reverse order when the hold
 * has lasted too long or when we are gone (end of file on a pipe that nobody else holds).  A thread
 * of ours does the freezing.  After the watchdog has thawed, our own thaw gets EINVAL: that is how
 * we know.
 *
 * Threads: one caller.  Ownership: the freezer owns descriptors, thread and watchdog.
 * Between freezer_freeze and freezer_thaw the caller must not allocate much, log, wait for a child
 * or touch any file.
 */
#ifndef TARN_SHADOW_FREEZE_H
#define TARN_SHADOW_FREEZE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "shadow/shadow.h"

struct freezer;

struct freeze_result {
    int freeze_error, thaw_error; /* errno, 0 = done */
    bool was_frozen;
    uint64_t frozen_ns; /* from the call that froze to the end of the call that thawed */
};

/* Opens the mount points (in order of freezing), starts watchdog and helper thread; freezes
 * nothing. */
struct err *freezer_create(const struct freeze_ops *ops, const char *const *mounts, unsigned count,
                           unsigned hold_ms, bool allow_unsupported,
                           struct freezer **ret_freezer) MUST_CHECK;
/* STATUS_OK: all are frozen (or cannot be, if that was allowed).  Whatever it says, call
 * freezer_thaw next. */
enum status freezer_freeze(struct freezer *freezer);
/* True when every file system that was frozen was so until this call: the proof that the hold held.
 */
bool freezer_thaw(struct freezer *freezer);
void freezer_result(const struct freezer *freezer, unsigned index,
                    struct freeze_result *ret_result);
bool freezer_watchdog_fired(const struct freezer *freezer);
uint64_t freezer_hold_ns(const struct freezer *freezer); /* first freeze begun to last thaw ended */
/* Why freezer_freeze or freezer_thaw said no, in words; call it after the thaw. */
struct err *freezer_explain(const struct freezer *freezer) MUST_CHECK;
void freezer_destroy(struct freezer *freezer); /* accepts NULL */

#endif
