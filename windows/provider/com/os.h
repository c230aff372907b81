/*
 * os.h - Windows behind the seams of the core: memory, lock, clock, events; and the one provider of
 * the process.
 */
#ifndef TARN_WINDOWS_COM_OS_H
#define TARN_WINDOWS_COM_OS_H

#include "windows/provider/core/provider.h"

/* Made at the first call, which is before any other thread. */
struct provider *os_provider(void);

/* Hardware providers are for servers only; what is no server need not be told more than that. */
bool os_is_client_windows(void);
/* In the application log. */
void os_tell_client_windows(void);

#endif
