/*
 * vssapi.h - vssapi.dll for tests under Wine: the VSS service (coordinator.h) behind the names and
 * interfaces that requesters and providers' installers bind.
 *
 * backup.c is IVssBackupComponents, admin.c is IVssAdmin, both over what Windows has: the registry
 * (registry.c), COM (provider.c, memory.c), files (host.c).  On Windows the service is a process of
 * its own; here it lives in the requester, and what outlives a requester lies in a directory.
 *
 * What the test wants comes from the environment:
 *
 *     STANDIN_MACHINE    port of the initiator of this host (machine_tcp.h); without: no disks
 *     STANDIN_STATE      directory of what the host remembers, C:\standin by default
 *     STANDIN_TRACE      file that gets a line for every call to a provider
 *     STANDIN_COMPUTER   name of the host; its computer name by default
 *     STANDIN_EACH_CALL  1: a new provider process for every call outside Begin to PostCommit
 *     STANDIN_SEED       of the orders that are allowed, one drawn from this; 0: the usual
 *     STANDIN_FAULT      KIND:STEP, kinds abort-before, abort-after, abort-during, vanish-after,
 *                        kill-before, kill-after
 *     STANDIN_MOUNTS     volumes with a letter: D:=\\?\Volume{...}\;E:=...
 *     STANDIN_EXPOSE_MS  how long to wait for the test to mount what is exposed; 0: not at all
 *     STANDIN_WRITERS, STANDIN_WRITER_FAILS   see writers.c; none by default
 *     STANDIN_LIST_ENDS  a list breaks off behind so many objects; 0: none does
 *     STANDIN_RAISES     a new object raises the exception of this number; 0: none
 *
 * A rule of the contract that a provider breaks makes the call fail with E_FAIL, which VSS itself
 * never answers, and "broken rule: NAME: WHAT" stands in the trace.
 *
 * Threads: requesters have to be in the multithreaded apartment.  One call at a time for one
 * object, except Cancel and AbortBackup.  Ownership: COM's.
 */
#ifndef TARN_WINDOWS_STANDIN_VSSAPI_H
#define TARN_WINDOWS_STANDIN_VSSAPI_H

#include "windows/standin/seams.h"

#include <vsadmin.h>
#include <vsbackup.h>

/* ---- Objects (each starts with one reference) ------------------------------------------------ */

HRESULT standin_admin_create(IVssAdmin **ret);
/* The registered providers, for who asks VSS. */
HRESULT standin_providers(IVssEnumObject **ret);
/* Takes over the properties and their texts, whatever happens. */
HRESULT standin_enum_create(VSS_OBJECT_PROP *properties, ULONG count, IVssEnumObject **ret);
/* deed runs on a thread of its own; cancel, which may be NULL, on that of the caller.  owner is held
 * until the deed is done. */
HRESULT standin_async_create(HRESULT (*deed)(void *context), void (*cancel)(void *context),
                             void *context, IUnknown *owner, IVssAsync **ret);

/* ---- Texts ----------------------------------------------------------------------------------- */

/* A copy for the caller to CoTaskMemFree; NULL: out of memory. */
WCHAR *standin_wide(const char *text);
WCHAR *standin_copy(const WCHAR *text);
/* false: too long, or NULL. */
bool standin_narrow(const WCHAR *text, char ret[SI_NAME_MAX]);
void standin_free_properties(VSS_OBJECT_PROP *property);

/* ---- What the coordinator stands on ---------------------------------------------------------- */

struct si_registry *standin_registry(void);
struct si_memory *standin_memory(void);
/* NULL: such a class cannot be made. */
struct si_provider *standin_provider_load(const struct si_registered *which);

/* ---- What the test wants --------------------------------------------------------------------- */

/* "" when it is not set. */
void standin_setting(const char *name, char ret[SI_NAME_MAX]);
unsigned standin_setting_number(const char *name);
/* D:\ or C:\mount\ or \\?\Volume{...}\ as the requester says; the volume's own name as the disks
 * have it.  false: there is no such volume. */
bool standin_volume_of(const WCHAR *path, char ret_volume[SI_NAME_MAX]);
/* The name by which Windows knows the volume. */
WCHAR *standin_windows_name(const char *volume);

extern volatile LONG standin_objects; /* alive; the DLL must stay */

#endif
