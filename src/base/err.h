/*
 * err.h - failures of the control path: a status and a chain of plain sentences, outermost first.
 *
 *     struct err *e = pool_open(...);
 *     if (e) return err_wrap(e, "open pool %s", name);
 *
 * NULL means success.  `next` tells a person what to do; set it where it is known.
 * Ownership: whoever holds the pointer frees it with err_free, or returns it further.
 * Threads: any (an error belongs to one thread at a time).
 * Failures: when memory is out, err_new returns a static instance that err_free accepts.
 */
#ifndef TARN_BASE_ERR_H
#define TARN_BASE_ERR_H

#include <stddef.h>

#include "base/attr.h"
#include "base/status.h"

struct err;

struct err *err_new(enum status status, const char *format, ...) TARN_PRINTF(2, 3) MUST_CHECK;
/* "<what>: <strerror>"; errno is read first; maps EACCES, ENOSPC, ENOENT... to a status. */
struct err *err_from_errno(const char *format, ...) TARN_PRINTF(1, 2) MUST_CHECK;
/* The same for an explicit errno value (positive). */
struct err *err_from_code(int errno_value, const char *format, ...) TARN_PRINTF(2, 3) MUST_CHECK;
/* Puts a frame around e (taken); the status stays. */
struct err *err_wrap(struct err *e, const char *format, ...) TARN_PRINTF(2, 3) MUST_CHECK;
/* Sets what a person can do about it; returns e. */
struct err *err_next(struct err *e, const char *format, ...) TARN_PRINTF(2, 3);
struct err *err_copy(const struct err *e) MUST_CHECK;
void err_free(struct err *e); /* accepts NULL */

enum status err_status(const struct err *e);      /* STATUS_OK for NULL */
unsigned err_frame_count(const struct err *e);    /* >= 1 */
const char *err_frame(const struct err *e, unsigned index); /* 0 = outermost */
const char *err_next_text(const struct err *e);   /* NULL when not set */
/* "outer: inner: innermost" into buf (always terminated); returns buf. */
char *err_text(const struct err *e, char *buf, size_t size);

/* Returns from the calling function (which returns struct err *) when the expression failed. */
#define TRY(expression)                                                                            \
    do {                                                                                           \
        struct err *try_error_ = (expression);                                                     \
        if (try_error_) return try_error_;                                                         \
    } while (0)

static inline void auto_err_cleanup_(struct err **e)
{
    err_free(*e);
}
#define auto_err __attribute__((cleanup(auto_err_cleanup_)))

#endif
