#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 2048 };

static enum log_level maximum = LOG_LEVEL_INFO;

static const struct {
    const char *name;
    int syslog;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARN] = {"warn", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

void log_set_level(enum log_level level)
{
    maximum = level;
}

void log_write(enum log_level level, const char *message, const char *format, ...)
{
    if (level > maximum) return;
    char line[LOG_LINE_MAX];
    int n = snprintf(line, sizeof line - 1, "<%d>level=%s msg=\"%s\"", levels[level].syslog,
                     levels[level].name, message);
    if (*format != '\0' && n < LOG_LINE_MAX - 2) {
        line[n++] = ' ';
        va_list arguments;
        va_start(arguments, format);
        int m = vsnprintf(line + n, sizeof line - 1 - (size_t)n, format, arguments);
        va_end(arguments);
        n += m > 0 ? m : 0;
    }
    if (n > LOG_LINE_MAX - 2) n = LOG_LINE_MAX - 2;
    line[n++] = '\n';
    /* One write per line; a log that cannot be written has nowhere to complain. */
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)n);
    (void)ignored;
}

void log_failure(const char *message, const struct err *e)
{
    char text[LOG_LINE_MAX];
    log_write(LOG_LEVEL_ERROR, message, "status=%s error=\"%.1500s\"",
              status_info(err_status(e))->name, err_text(e, text, sizeof text));
}
