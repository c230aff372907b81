/*
 * doctor.h - is this host fit for shadow copies?  One function for each question, over a seam.
 *
 * Words: a *check* asks one question; its *finding* is an answer in plain words and, unless all is
 * well, what to do.  `wrong` means that shadow copies will fail; `warning`, that they may, or that
 * something else will surprise; `unknown`, that the question could not be asked.
 *
 *     struct doctor_report report;
 *     doctor_examine(&os, &report);
 *     doctor_print(&report, is_json, stdout);
 *
 * Nothing is changed.  The server is asked three times at most.  Threads: one.  Ownership: values.
 */
#ifndef TARN_WINDOWS_OPS_DOCTOR_H
#define TARN_WINDOWS_OPS_DOCTOR_H

#include <stdio.h>

#include "windows/provider/core/api.h"

enum doctor_kind { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_WRONG, DOCTOR_UNKNOWN, DOCTOR_KINDS };

enum doctor_start { DOCTOR_START_AUTO, DOCTOR_START_DEMAND, DOCTOR_START_DISABLED };

struct doctor_service {
    bool is_running;
    enum doctor_start start;
};

/* What is looked at.  Keys are below HKEY_LOCAL_MACHINE; a list of texts has '\n' between them. */
struct doctor_os {
    bool (*number)(struct doctor_os *os, const char *key, const char *name, uint32_t *ret_number);
    bool (*text)(struct doctor_os *os, const char *key, const char *name, char *text, size_t size);
    /* false: there is no such service */
    bool (*service)(struct doctor_os *os, const char *name, struct doctor_service *ret_service);
    bool (*is_administrator)(struct doctor_os *os);
    /* Of the iSCSI Initiator; false: it did not tell. */
    bool (*initiator_name)(struct doctor_os *os, char *name, size_t size);
    bool (*persistent_login_count)(struct doctor_os *os, unsigned *ret_count);
    uint64_t (*wall_ns)(struct doctor_os *os);
    bool (*is_event_source)(struct doctor_os *os);
    const char *version; /* of this program */
    const char *host;    /* NULL: not enrolled */
    struct transport *transport;
};

struct doctor_finding {
    const char *check;
    enum doctor_kind kind;
    char text[400], remedy[400];
};

enum { DOCTOR_CHECKS_MAX = 24 };

struct doctor_report {
    unsigned count, kinds[DOCTOR_KINDS];
    struct doctor_finding findings[DOCTOR_CHECKS_MAX];
};

void doctor_examine(struct doctor_os *os, struct doctor_report *ret_report);
/* The exit status that goes with it: 1 when something is wrong. */
int doctor_print(const struct doctor_report *report, bool is_json, FILE *to);

#endif
