/*
 * identity.h - which LUN is this: from and to VDS_LUN_INFORMATION, the form in which VSS passes
 * LUNs around.
 *
 * VSS finds a shadow copy again by comparing the record that GetTargetLuns gave with the one that
 * it builds from INQUIRY and the pages 80h and 83h of each disk that arrives, after FillInLunInfo.
 * So both records come from the same code here, and neither needs the network.
 *
 * Words: a LUN is OURS when its vendor and product are Tarn's and its serial number and identifiers
 * agree with each other.  Its serial number is the id of the disk or snapshot on the server.
 * Ownership: all that hangs on a VDS_LUN_INFORMATION was allocated with `memory` (on Windows:
 * CoTaskMemAlloc), each piece once; the structs themselves are the caller's.  A pointer is NULL or
 * whole, also after a failure. Threads: any.  All contents may be hostile; strings end with NUL,
 * and counts and lengths are what the stub of COM allocated.
 */
#ifndef TARN_WINDOWS_CORE_IDENTITY_H
#define TARN_WINDOWS_CORE_IDENTITY_H

#include <stdbool.h>

#include "windows/provider/core/win.h"

struct memory {
    void *(*alloc)(size_t size_bytes); /* NULL: none left */
    void (*free)(void *memory);        /* accepts NULL */
};

enum { IDENTITY_SERIAL_CHARS = 32, IDENTITY_NAA_MAX_BYTES = 16, IDENTITY_ID_TEXT = 37 };

struct lun_identity {
    char serial[IDENTITY_SERIAL_CHARS + 1]; /* lower-case hex */
    uint8_t naa[IDENTITY_NAA_MAX_BYTES];
    unsigned naa_bytes; /* 8 (NAA 3h) or 16 (NAA 6h) */
};

/* Vendor and product are Tarn's: cheap, for whatever arrives. */
bool identity_is_tarn(const VDS_LUN_INFORMATION *lun);
/* Ours, and complete. */
bool identity_read(const VDS_LUN_INFORMATION *lun, struct lun_identity *ret_identity);
/* From the API's "serial" and "naa". */
bool identity_parse(const char *serial, const char *naa, struct lun_identity *ret_identity);
/* The id on the server, with dashes. */
char *identity_id(const struct lun_identity *identity, char text[IDENTITY_ID_TEXT]);

/* Makes the whole record; what hung on *lun before is not looked at (GetTargetLuns: it is empty).
 * false: out of memory, and *lun is empty. */
bool identity_fill(const struct memory *memory, const struct lun_identity *identity,
                   VDS_LUN_INFORMATION *lun);
/* Makes of a record that VSS built, and of which identity_read said yes, the same record but for
 * its interconnects. No string becomes longer than it was.  false: out of memory; *lun is whole, at
 * most trimmed. */
bool identity_normalise(const struct memory *memory, const struct lun_identity *identity,
                        VDS_LUN_INFORMATION *lun);
/* Frees all that hangs on it, and leaves it empty. */
void identity_clear(const struct memory *memory, VDS_LUN_INFORMATION *lun);

#endif
