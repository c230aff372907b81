/*
 * standin_file.h - disks and records of the program standin as text files, until the coordinator's
 * document takes their place.
 *
 * Threads: one.  Ownership: records are CoTaskMem.  Failures: false; the process ends when memory is
 * out.
 */
#ifndef TARN_WINDOWS_STANDIN_FILE_H
#define TARN_WINDOWS_STANDIN_FILE_H

#include <stdio.h>

#include "windows/standin/record.h"

/* CoTaskMem. */
struct si_memory *standin_memory(void);
/* Three lines of hex: INQUIRY, pages 80h and 83h of a disk.  false at the end of the file, or if
 * they are no such. */
bool standin_read_disk(FILE *file, VDS_LUN_INFORMATION *ret_lun);
/* The document that carries the targets from host to host. */
void standin_write_record(FILE *file, const VDS_LUN_INFORMATION *lun);
bool standin_read_record(FILE *file, VDS_LUN_INFORMATION *ret_lun);

#endif
