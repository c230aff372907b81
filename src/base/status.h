/*
 * status.h - small outcome codes for the data path; one table (status.def) for every front end.
 *
 * Use:  enum status s = volume_...;  if (s != STATUS_OK) return s;
 * Threads: any.  Ownership: none (all strings are static).
 */
#ifndef TARN_BASE_STATUS_H
#define TARN_BASE_STATUS_H

#include <stdint.h>

enum status {
#define X(name, class, key, asc, ascq, http, exit_code, text) STATUS_##name,
#include "base/status.def"
#undef X
    STATUS_COUNT
};

enum status_class {
    STATUS_CLASS_ok,
    STATUS_CLASS_retry,
    STATUS_CLASS_permanent,
    STATUS_CLASS_corrupt,
    STATUS_CLASS_limit,
    STATUS_CLASS_bug,
};

struct status_info {
    const char *name; /* "POOL_FULL" */
    const char *text; /* for people */
    enum status_class class;
    uint8_t sense_key, asc, ascq;
    uint16_t http;
    uint8_t exit_code;
};

/* The row of a status; never NULL. */
const struct status_info *status_info(enum status status);
/* The status of that name, or STATUS_INTERNAL when there is none. */
enum status status_from_name(const char *name);

static inline const char *status_text(enum status status)
{
    return status_info(status)->text;
}

#endif
