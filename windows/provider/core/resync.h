/*
 * resync.h - LUN resynchronisation: disks take the content of shadow copies again
 * (IVssHardwareSnapshotProviderEx:: ResyncLuns), and the truth about how far it is (IVssAsync).
 *
 * All pairs are tried first without changing anything; then each is asked for: the snapshot's own
 * disk is reverted at once, any other disk is replaced by a job of the server, which leaves the
 * destination as it was until all is copied. The snapshot stays and can be used again; the
 * destination keeps its identity.
 *
 *     result = resync_begin(provider, sources, targets, count, &resync);
 *     while (resync_query(resync) == VSS_S_ASYNC_PENDING) ...
 *     resync_destroy(resync);
 *
 * Threads: one at a time for each resync.  Ownership: resync_begin makes it, the caller destroys
 * it; the jobs go on. Failures: the codes of ResyncLuns; a veto has its event.
 */
#ifndef TARN_WINDOWS_CORE_RESYNC_H
#define TARN_WINDOWS_CORE_RESYNC_H

#include "windows/provider/core/provider.h"

struct resync;

HRESULT resync_begin(struct provider *p, VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets,
                     DWORD count, struct resync **ret_resync);
/* VSS_S_ASYNC_PENDING (also while the server does not answer: nobody knows better),
 * VSS_S_ASYNC_FINISHED, VSS_S_ASYNC_CANCELLED, or what it failed with, which stays. */
HRESULT resync_query(struct resync *resync);
/* Asks the server to end the jobs that run; what they end with is resync_query's to tell. */
void resync_cancel(struct resync *resync);
void resync_destroy(struct resync *resync); /* accepts NULL */

#endif
