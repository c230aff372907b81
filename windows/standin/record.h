/*
 * record.h - VDS_LUN_INFORMATION as the VSS service makes, keeps and compares it; written from the
 * contract, and sharing nothing with the provider.
 *
 * Threads: one.  Ownership: all that hangs on a record is CoTaskMem, freed by record_free.
 * Failures: false; the process ends when memory is out.
 */
#ifndef TARN_WINDOWS_STANDIN_RECORD_H
#define TARN_WINDOWS_STANDIN_RECORD_H

#include <stdbool.h>
#include <stdio.h>

#include <windows.h>

#include <vdslun.h>
#include <vss.h>

/* Three lines of hex: INQUIRY, pages 80h and 83h of a disk.  false at the end of the file, or if
 * they are no such. */
bool record_from_disk(FILE *file, VDS_LUN_INFORMATION *ret_lun);
/* The document that carries the targets from host to host. */
void record_write(FILE *file, const VDS_LUN_INFORMATION *lun);
bool record_read(FILE *file, VDS_LUN_INFORMATION *ret_lun);
/* NULL when they are the same to VSS; else what differs. */
const char *record_difference(const VDS_LUN_INFORMATION *a, const VDS_LUN_INFORMATION *b);
/* Every pointer is a block of COM's allocator, each once; NULL, or what is wrong. */
const char *record_fault(const VDS_LUN_INFORMATION *lun);
VDS_LUN_INFORMATION record_copy(const VDS_LUN_INFORMATION *lun);
void record_free(VDS_LUN_INFORMATION *lun);

#endif
