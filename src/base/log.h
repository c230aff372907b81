/*
 * log.h - structured log lines to stderr in logfmt, with the <N> prefix that journald reads.
 *
 *     log_warn("replication paused", "disk=%s lag_ms=%u", name, lag);
 *  -> <4>level=warn msg="replication paused" disk=mail lag_ms=120
 *
 * Library functions return errors and do not log them; the place that ends an error's travel logs it.
 * Never on the data path.  Threads: any (one write per line).
 */
#ifndef TARN_BASE_LOG_H
#define TARN_BASE_LOG_H

#include "base/attr.h"
#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level); /* default info */
void log_write(enum log_level level, const char *message, const char *format, ...)
    TARN_PRINTF(3, 4);
/* One line with the chain of e as error="..."; e stays the caller's. */
void log_failure(const char *message, const struct err *e);

#define log_error(message, ...) log_write(LOG_LEVEL_ERROR, message, "" __VA_ARGS__)
#define log_warn(message, ...) log_write(LOG_LEVEL_WARN, message, "" __VA_ARGS__)
#define log_info(message, ...) log_write(LOG_LEVEL_INFO, message, "" __VA_ARGS__)
#define log_debug(message, ...) log_write(LOG_LEVEL_DEBUG, message, "" __VA_ARGS__)

#endif
