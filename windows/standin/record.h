/*
 * record.h - VDS_LUN_INFORMATION as the VSS service makes, keeps and compares it: from the bytes that
 * a LUN answers, blanks and all.  Written from the contract, and sharing nothing with the provider.
 *
 *     if (!record_from_disk(memory, &disk, &table.disk_id, &lun)) ... out of memory, or no such pages
 *     ... AreLunsSupported(..., &lun, ...) ...
 *     fault = record_fault(memory, &lun);
 *     record_free(memory, &lun);
 *
 * Threads: one.  Ownership: all that hangs on a record is of `memory`, each piece once, freed by
 * record_free.  Failures: false, and nothing is left.
 */
#ifndef TARN_WINDOWS_STANDIN_RECORD_H
#define TARN_WINDOWS_STANDIN_RECORD_H

#include "windows/standin/seams.h"

enum { RECORD_IDENTIFIERS_MAX = 32, RECORD_POINTERS_MAX = 128 };

/* Standard INQUIRY, page 80h, and those designators of page 83h that are of the logical unit.
 * disk_id: of its GPT; NULL: a disk without a table. */
bool record_from_disk(struct si_memory *memory, const struct si_disk *disk, const GUID *disk_id,
                      VDS_LUN_INFORMATION *ret_lun);
/* Without its interconnects. */
bool record_copy(struct si_memory *memory, const VDS_LUN_INFORMATION *lun,
                 VDS_LUN_INFORMATION *ret_lun);
void record_free(struct si_memory *memory, VDS_LUN_INFORMATION *lun);

/* NULL when they are the same to VSS; else what differs. */
const char *record_difference(const VDS_LUN_INFORMATION *a, const VDS_LUN_INFORMATION *b);
/* Also by what does not count to VSS, but must not be changed by a provider: the interconnects. */
const char *record_interconnect_difference(const VDS_LUN_INFORMATION *a,
                                           const VDS_LUN_INFORMATION *b);
/* Every pointer is a block of `memory`, each once; NULL, or what is wrong. */
const char *record_fault(struct si_memory *memory, const VDS_LUN_INFORMATION *lun);
/* A designator that VSS knows a LUN by (type 1, 2, 3 or 8 of the logical unit) is on both. */
bool record_shares_identity(const VDS_LUN_INFORMATION *a, const VDS_LUN_INFORMATION *b);
bool record_has_identity(const VDS_LUN_INFORMATION *lun);

#endif
