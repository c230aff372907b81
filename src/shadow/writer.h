/*
 * writer.h - a program that quiesces an application, spoken to line by line (doc/writers.md).
 *
 *     TRY(writer_start("postgresql:host=/run/postgresql", &environment, &writer));
 *     TRY(writer_ask(writer, "prepare", 600000, &asking, answer));
 *
 * Threads: one.  Ownership: the writer owns its process and pipes.  A writer that dies, says
 * nothing in time or speaks nonsense is an error; what it held is let go when its input ends, so
 * stopping it is always enough.
 */
#ifndef TARN_SHADOW_WRITER_H
#define TARN_SHADOW_WRITER_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum { WRITER_LINE_MAX = 4096 };

struct writer;

struct writer_environment {
    const char
        *directory; /* where writers without a slash in their name are; NULL = the usual places */
    const char *set_name;
    const char *mounts; /* one a line */
    FILE *progress;     /* what writers say while they work; or NULL */
};

/* Called now and then while an answer is awaited; an error ends the wait. */
struct writer_tick {
    struct err *(*fn)(void *arg);
    void *arg;
};

struct err *writer_start(const char *spec, const struct writer_environment *environment,
                         struct writer **ret_writer) MUST_CHECK;
/* Sends one command and waits for ok; ret_text (may be NULL) is what follows "ok ". */
struct err *writer_ask(struct writer *writer, const char *command, unsigned timeout_ms,
                       const struct writer_tick *tick, char ret_text[WRITER_LINE_MAX]) MUST_CHECK;
const char *writer_name(const struct writer *writer);
/* Ends its input, waits a moment, then kills it and what it started.  Accepts NULL. */
void writer_stop(struct writer *writer);

#endif
