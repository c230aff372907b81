/* async.h - IVssAsync over a resynchronisation (core/resync.h).  Threads: any; it outlives the
 * provider's object. */
#ifndef TARN_WINDOWS_COM_ASYNC_H
#define TARN_WINDOWS_COM_ASYNC_H

#include "windows/provider/core/resync.h"

/* Takes the resync; with one reference.  NULL: out of memory, and the resync is destroyed. */
IVssAsync *async_create(struct resync *resync);

#endif
