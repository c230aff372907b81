/*
 * renew.h - a thread of the service that renews the lease of the set in the making, every five
 * minutes: writers may take longer than a lease between two calls of VSS.
 *
 * Threads: its own, beside those of COM. Failures: without the thread sets are made all the same, as
 * long as no call takes longer than the server's lease.
 */
#ifndef TARN_WINDOWS_COM_RENEW_H
#define TARN_WINDOWS_COM_RENEW_H

#include <windows.h>

#include "windows/provider/core/provider.h"

/* Goes on until stop (an event) is set; NULL: there is no thread.  To be waited for and closed. */
HANDLE renew_start(struct provider *provider, HANDLE stop);

#endif
