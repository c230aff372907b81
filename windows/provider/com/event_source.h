/*
 * event_source.h - the provider as a source of the application log: where the texts of its events
 * are.
 *
 * They are in a DLL of their own beside the program, because the event log keeps it open; its name
 * has the version, so that an upgrade need not replace one in use.  Failures: an error of Windows.
 */
#ifndef TARN_WINDOWS_COM_EVENT_SOURCE_H
#define TARN_WINDOWS_COM_EVENT_SOURCE_H

#include <stdbool.h>

#include <windows.h>

/* Done already is fine. */
DWORD event_source_register(void);
/* What is not there is fine. */
void event_source_unregister(void);
bool event_source_is_registered(void);

#endif
