/*
 * machine_wire.h - how a stand-in, under Wine or not, reaches the disks of its host: requests and
 * answers between machine_tcp.c and tests/windows/standin_host.c, on a loopback TCP connection.
 *
 * One request, one answer, in order.  All integers big-endian.
 *
 *     request, 32 bytes      0 magic  4 operation  8 handle  12 blocks  16 lba (64 bits)
 *                           24 size of what follows  28 zero
 *     answer, 24 bytes       0 magic  4 enum si_io  8 size of what follows
 *                           12 how many (RESCAN)  16 zero  20 SCSI status, sense key, ASC, ASCQ
 *
 *     RESCAN    REPORT LUNS, then INQUIRY, the pages 80h and 83h and READ CAPACITY(16) of each.  The
 *               answer is one MACHINE_DISK_BYTES each; SI_IO_ERROR: there is no session.
 *     READ      the answer is the data
 *     WRITE     the data follows; waits while writes are held
 *     FLUSH     SYNCHRONIZE CACHE
 *     HOLD      what was begun is finished, and from now on WRITE waits; another one's hold is
 *               SI_IO_ERROR.  It ends by itself after ten seconds, as volsnap's does, and with the
 *               connection.
 *     RELEASE   SI_IO_OK: it held up to now; SI_IO_ERROR: it had ended before
 *
 * A peer that sends anything else is disconnected.
 */
#ifndef TARN_WINDOWS_STANDIN_MACHINE_WIRE_H
#define TARN_WINDOWS_STANDIN_MACHINE_WIRE_H

#include "windows/standin/seams.h"

enum {
    MACHINE_MAGIC = 0x7461726E, /* "tarn" */
    MACHINE_REQUEST_BYTES = 32,
    MACHINE_ANSWER_BYTES = 24,
    MACHINE_DATA_MAX = 1024 * 1024,
    /* 0 lun  4 block bytes  8 block count  16, 18, 20 sizes of the pages  24 the three pages */
    MACHINE_DISK_BYTES = 24 + 3 * SI_PAGE_MAX,
};

enum machine_operation {
    MACHINE_RESCAN = 1,
    MACHINE_READ,
    MACHINE_WRITE,
    MACHINE_FLUSH,
    MACHINE_HOLD,
    MACHINE_RELEASE,
};

#endif
