#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

enum { ERR_FRAMES_MAX = 12, ERR_TEXT_MAX = 1024 };

struct err {
    enum status status;
    unsigned frame_count;
    char *frames[ERR_FRAMES_MAX]; /* [0] is the innermost; err_frame turns the order round */
    char *next;
};

/* Returned when there is no memory for a real one; never freed, never changed. */
static struct err out_of_memory = {.status = STATUS_NO_MEMORY};

TARN_PRINTF(1, 0)
static char *format_text(const char *format, va_list arguments)
{
    char buf[ERR_TEXT_MAX];
    vsnprintf(buf, sizeof buf, format, arguments);
    return strdup(buf);
}

static struct err *add_frame(struct err *e, char *text)
{
    if (!text || e == &out_of_memory || e->frame_count == ERR_FRAMES_MAX) {
        free(text);
        return e;
    }
    e->frames[e->frame_count++] = text;
    return e;
}

static struct err *new_with_text(enum status status, char *text)
{
    check(status != STATUS_OK);
    struct err *e = calloc(1, sizeof *e);
    if (!e) {
        free(text);
        return &out_of_memory;
    }
    e->status = status;
    return add_frame(e, text);
}

struct err *err_new(enum status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = format_text(format, arguments);
    va_end(arguments);
    return new_with_text(status, text);
}

static enum status status_from_errno(int code)
{
    switch (code) {
    case EACCES:
    case EPERM: return STATUS_DENIED;
    case ENOENT: return STATUS_NOT_FOUND;
    case EEXIST: return STATUS_EXISTS;
#ifdef EDQUOT /* not on Windows */
    case EDQUOT:
#endif
    case ENOSPC: return STATUS_NO_SPACE;
    case ENOMEM: return STATUS_NO_MEMORY;
    case EAGAIN: return STATUS_LOCKED;
    case EBUSY:
    case EADDRINUSE: return STATUS_IN_USE;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH: return STATUS_UNREACHABLE;
    case ETIMEDOUT: return STATUS_TIMED_OUT;
    default: return STATUS_OS_ERROR;
    }
}

TARN_PRINTF(2, 0)
static struct err *from_code(int code, const char *format, va_list arguments)
{
    char what[ERR_TEXT_MAX];
    char full[ERR_TEXT_MAX];
    vsnprintf(what, sizeof what, format, arguments);
    snprintf(full, sizeof full, "%.800s: %s", what, strerror(code));
    return new_with_text(status_from_errno(code), strdup(full));
}

struct err *err_from_errno(const char *format, ...)
{
    int code = errno;
    va_list arguments;
    va_start(arguments, format);
    struct err *e = from_code(code, format, arguments);
    va_end(arguments);
    return e;
}

struct err *err_from_code(int errno_value, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct err *e = from_code(errno_value, format, arguments);
    va_end(arguments);
    return e;
}

struct err *err_wrap(struct err *e, const char *format, ...)
{
    check(e != NULL);
    va_list arguments;
    va_start(arguments, format);
    char *text = format_text(format, arguments);
    va_end(arguments);
    return add_frame(e, text);
}

struct err *err_next(struct err *e, const char *format, ...)
{
    if (e == &out_of_memory) return e;
    va_list arguments;
    va_start(arguments, format);
    free(e->next);
    e->next = format_text(format, arguments);
    va_end(arguments);
    return e;
}

struct err *err_copy(const struct err *e)
{
    check(e != NULL);
    if (e == &out_of_memory) return &out_of_memory;
    struct err *copy = calloc(1, sizeof *copy);
    if (!copy) return &out_of_memory;
    copy->status = e->status;
    for (unsigned i = 0; i < e->frame_count; i++) {
        add_frame(copy, strdup(e->frames[i]));
    }
    if (e->next) copy->next = strdup(e->next);
    return copy;
}

void err_free(struct err *e)
{
    if (!e || e == &out_of_memory) return;
    for (unsigned i = 0; i < e->frame_count; i++) {
        free(e->frames[i]);
    }
    free(e->next);
    free(e);
}

enum status err_status(const struct err *e)
{
    return e ? e->status : STATUS_OK;
}

unsigned err_frame_count(const struct err *e)
{
    return e->frame_count ? e->frame_count : 1;
}

const char *err_frame(const struct err *e, unsigned index)
{
    check(index < err_frame_count(e));
    if (e->frame_count == 0) return status_text(e->status);
    return e->frames[e->frame_count - 1 - index];
}

const char *err_next_text(const struct err *e)
{
    return e->next;
}

char *err_text(const struct err *e, char *buf, size_t size)
{
    check(size > 0);
    size_t used = 0;
    buf[0] = '\0';
    for (unsigned i = 0; i < err_frame_count(e) && used < size; i++) {
        int n = snprintf(buf + used, size - used, "%s%s", i ? ": " : "", err_frame(e, i));
        if (n < 0) break;
        used += (size_t)n;
    }
    return buf;
}
