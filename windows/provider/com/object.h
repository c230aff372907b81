/*
 * object.h - the provider as a COM object: three interfaces over the core (core/provider.h).
 *
 * Every object that COM makes is a thin one over the same core, because VSS loads and unloads
 * providers often and a set may be in the making meanwhile.  Threads: any (multithreaded
 * apartment). Ownership: objects count their references; object_count tells how many there are, for
 * tests and for shutting down.
 */
#ifndef TARN_WINDOWS_COM_OBJECT_H
#define TARN_WINDOWS_COM_OBJECT_H

#include "windows/provider/core/provider.h"

/* The class object of the provider.  The core lives as long as the process. */
IClassFactory *object_factory(struct provider *provider);
LONG object_count(void);

#endif
