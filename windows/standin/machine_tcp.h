/*
 * machine_tcp.h - the disks of a host as struct si_machine, through a helper that has the iSCSI
 * session (tests/windows/standin_host.c) on a loopback TCP port.
 *
 *     struct si_machine *m;
 *     if (!machine_tcp_open(7301, &m)) ...
 *     m->rescan(m, disks);
 *     machine_tcp_close(m);
 *
 * The helper is the host's I/O stack: machine_tcp_hold makes the writes of all its clients wait, as
 * volsnap does with those of a volume, for at most ten seconds.
 *
 * Threads: one for each machine.  Ownership: the caller's, until machine_tcp_close (which accepts
 * NULL).  Failures: a helper that is gone is SI_IO_ERROR, and UINT_MAX disks.
 */
#ifndef TARN_WINDOWS_STANDIN_MACHINE_TCP_H
#define TARN_WINDOWS_STANDIN_MACHINE_TCP_H

#include "windows/standin/seams.h"

bool machine_tcp_open(unsigned short port, struct si_machine **ret);
void machine_tcp_close(struct si_machine *m);
/* false: it could not be held; held by another. */
bool machine_tcp_hold(struct si_machine *m);
/* false: it was lost before: what was cut in between is not consistent. */
bool machine_tcp_release(struct si_machine *m);

#endif
