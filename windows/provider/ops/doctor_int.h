/* doctor_int.h - what the files of the doctor share. */
#ifndef TARN_WINDOWS_OPS_DOCTOR_INT_H
#define TARN_WINDOWS_OPS_DOCTOR_INT_H

#include "windows/provider/ops/doctor.h"

#if defined(__MINGW32__)
#define DOCTOR_PRINTF(f, a) __attribute__((format(gnu_printf, f, a)))
#else
#define DOCTOR_PRINTF(f, a) __attribute__((format(printf, f, a)))
#endif

struct doctor {
    struct doctor_os *os;
    struct api_reply server, host; /* http 0: no answer, or not enrolled */
};

typedef void doctor_check(struct doctor *doctor, struct doctor_finding *finding);

void found_ok(struct doctor_finding *f, const char *format, ...) DOCTOR_PRINTF(2, 3);
void found(struct doctor_finding *f, enum doctor_kind kind, const char *remedy, const char *format,
           ...) DOCTOR_PRINTF(4, 5);

/* Of this machine */
doctor_check check_administrator, check_windows, check_san_policy, check_initiator, check_mpio,
    check_service, check_vss, check_events, check_cluster;
/* Of the server, and of both */
doctor_check check_enrolment, check_server, check_version, check_clock, check_initiator_name,
    check_sessions, check_lun_numbers, check_pools;

#endif
