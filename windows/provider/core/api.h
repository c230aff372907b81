/*
 * api.h - what is asked of the server, as values, and the seam through which it is asked.
 *
 * The core decides method, path and body; the transport adds host credentials (signed requests),
 * finds the server, checks its pinned key, and carries bytes.  On Windows it is WinHTTP; in the
 * unit tests a server in memory.
 *
 * The commit goes its own way: commit_open is called in PreCommit and does all that could wait or
 * allocate (connection, pin, headers with Content-Length, the signed body built but held back);
 * commit_send is called while Windows holds all writes, so it writes that body and reads the answer
 * and does nothing else: no file, no log, no allocation.
 *
 * Ownership: an answer's body was allocated with malloc and is freed by api_reply_fini.  Threads:
 * exchange may run on several threads at once; interrupt ends those that wait, from another thread.
 * Failures: http 0 = no answer.
 */
#ifndef TARN_WINDOWS_CORE_API_H
#define TARN_WINDOWS_CORE_API_H

#include <stdbool.h>
#include <stdint.h>

#include "windows/provider/core/json.h"

enum {
    API_PATH_MAX = 1024,
    API_TEXT_MAX = 256,
    API_REPLY_MAX_BYTES = 4 * 1024 * 1024,
    API_SHORT_MS = 30000
};

struct api_request {
    const char *method; /* "GET", "POST", "DELETE" */
    char path[API_PATH_MAX];
    char *body; /* JSON, or NULL; allocated */
    unsigned timeout_ms;
};

struct api_reply {
    unsigned http; /* 0: the server could not be reached, or sent nonsense */
    char *body;
    size_t size;
    struct json value; /* of a body that is JSON; else size 0 */
};

struct transport {
    void (*exchange)(struct transport *t, const struct api_request *request,
                     struct api_reply *ret_reply);
    bool (*commit_open)(struct transport *t, const struct api_request *request);
    unsigned (*commit_send)(struct transport *t); /* the HTTP status; 0: no answer */
    void (*commit_close)(struct transport *t);    /* fine when nothing is open */
    void (*interrupt)(struct transport *t);
};

/* POST with the members of a JSON object, printf-like; false: out of memory.  `path` parts come
 * escaped. */
void api_request_init(struct api_request *request, const char *method, unsigned timeout_ms);
void api_request_fini(struct api_request *request);
/* "/v1/sets", "ID", "arm" -> /v1/sets/ID/arm; each but the first is percent-encoded; ends with
 * NULL.  false: too long */
bool api_request_path(struct api_request *request, const char *first, ...);

/* Builds a body.  Keys are ours, values are escaped. */
struct api_body {
    char *text;
    size_t used, size;
    bool failed; /* out of memory */
};
void api_body_text(struct api_body *body, const char *key, const char *value);
void api_body_bool(struct api_body *body, const char *key, bool value);
void api_body_begin_list(struct api_body *body, const char *key);
void api_body_item(struct api_body *body, const char *value);
void api_body_end_list(struct api_body *body);
/* Hands the finished object to the request; false: out of memory. */
bool api_body_finish(struct api_body *body, struct api_request *request);

/* exchange, and the answer parsed. */
void api_exchange(struct transport *transport, const struct api_request *request,
                  struct api_reply *ret_reply);
void api_reply_fini(struct api_reply *reply);
bool api_is_ok(const struct api_reply *reply);

/* What a refusal says; always filled with something that a person can read. */
struct api_error {
    char status[32]; /* "POOL_FULL"; "UNREACHABLE" when there was no answer */
    char message[API_TEXT_MAX], next[API_TEXT_MAX];
};
void api_error_read(const struct api_reply *reply, struct api_error *ret_error);

#endif
