/*
 * machine.h - Windows behind the doctor's seam.  Its transport is asked of the server that this host
 * is enrolled with.
 */
#ifndef TARN_WINDOWS_OPS_MACHINE_H
#define TARN_WINDOWS_OPS_MACHINE_H

#include "windows/provider/com/credential.h"
#include "windows/provider/com/trail_file.h"
#include "windows/provider/ops/doctor.h"

struct machine {
    struct doctor_os os;
    struct credential credential; /* wiped by machine_fini */
};

void machine_init(struct machine *machine);
void machine_fini(struct machine *machine);

/* ProgramData\Tarn\tarn-vss.log, and its predecessor: the call trace. */
bool machine_log(struct trail_file *ret_log);

#endif
