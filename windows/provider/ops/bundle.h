/*
 * bundle.h - one file for support: the doctor's report, the call trace, the provider's events, its
 * registry, and what Windows says of disks and sessions.  No secret: the host's key is never read,
 * and values of the registry are shown only by name from a list.
 */
#ifndef TARN_WINDOWS_OPS_BUNDLE_H
#define TARN_WINDOWS_OPS_BUNDLE_H

#include "windows/provider/ops/doctor.h"

/* An exit status. */
int bundle_write(const struct doctor_report *report, const wchar_t *path);

#endif
