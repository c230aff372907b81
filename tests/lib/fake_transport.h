/*
 * fake_transport.h - an API server inside the test: a table of answers by "METHOD path", and a
 * record of what was asked.  Header-only, one per test program.
 *
 *     fake_answer("GET /v1/disks", 200, "{\"disks\":[]}");
 *     struct transport *t = fake_transport();
 */
#ifndef TARN_TESTS_FAKE_TRANSPORT_H
#define TARN_TESTS_FAKE_TRANSPORT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/transport.h"

enum { FAKE_ANSWERS_MAX = 64, FAKE_CALLS_MAX = 64, FAKE_CALL_BYTES = 1024 };

struct fake_answer {
    const char *request, *body;
    int http_status;
    enum status status; /* not OK: no answer at all */
    unsigned uses;      /* 0 = any number; else it gives way to the next of the same request */
};

static struct fake_answer fake_answers[FAKE_ANSWERS_MAX];
static unsigned fake_answer_count, fake_call_count;
static char fake_calls[FAKE_CALLS_MAX][FAKE_CALL_BYTES]; /* "POST /v1/disks {...}" */
static char fake_next[FAKE_CALL_BYTES], fake_request[FAKE_CALL_BYTES];

static inline void fake_reset(void)
{
    fake_answer_count = fake_call_count = 0;
}

static inline void fake_answer(const char *request, int http_status, const char *body)
{
    fake_answers[fake_answer_count++] =
        (struct fake_answer){request, body, http_status, STATUS_OK, 0};
}

static inline void fake_answer_once(const char *request, int http_status, const char *body)
{
    fake_answers[fake_answer_count++] =
        (struct fake_answer){request, body, http_status, STATUS_OK, 1};
}

static inline void fake_failure(const char *request, enum status status)
{
    fake_answers[fake_answer_count++] = (struct fake_answer){request, "", 0, status, 0};
}

static inline bool fake_was_called(const char *call)
{
    for (unsigned i = 0; i < fake_call_count; i++) {
        if (strcmp(fake_calls[i], call) == 0) return true;
    }
    return false;
}

static inline struct err *fake_prepare(struct transport *t, const struct transport_request *request)
{
    snprintf(fake_request, sizeof fake_request, "%s %s", request->method, request->path);
    snprintf(fake_next, sizeof fake_next, "%.300s%s%.600s", fake_request, request->body ? " " : "",
             request->body ? request->body : "");
    (void)t;
    return NULL;
}

static inline enum status fake_fire(struct transport *t)
{
    if (fake_call_count < FAKE_CALLS_MAX)
        memcpy(fake_calls[fake_call_count++], fake_next, FAKE_CALL_BYTES);
    t->connection_reused = fake_call_count > 1;
    t->http_status = 404;
    const char *body =
        "{\"error\":{\"status\":\"NOT_FOUND\",\"message\":\"the fake server has no such thing\"}}";
    for (unsigned i = 0; i < fake_answer_count; i++) {
        struct fake_answer *a = &fake_answers[i];
        if (strcmp(a->request, fake_request) != 0) continue;
        if (a->status != STATUS_OK) {
            snprintf(t->error_text, sizeof t->error_text, "as the test wanted");
            return a->status;
        }
        body = a->body;
        t->http_status = a->http_status;
        if (a->uses == 1) a->request = "used up";
        break;
    }
    free(t->answer);
    t->answer = strdup(body);
    t->answer_bytes = t->answer ? strlen(body) : 0;
    return t->answer ? STATUS_OK : STATUS_NO_MEMORY;
}

static inline void fake_destroy(struct transport *t)
{
    free(t->answer);
    free(t);
}

static inline struct transport *fake_transport(void)
{
    static const struct transport_ops ops = {fake_prepare, fake_fire, fake_destroy};
    struct transport *t = calloc(1, sizeof *t);
    if (t) t->ops = &ops;
    return t;
}

#endif
