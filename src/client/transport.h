/*
 * transport.h - how the client's requests travel: HTTPS with a pinned key.  Linux: libcurl
 * (transport_curl.c); Windows brings its own over WinHTTP; tests bring a fake.
 *
 * Words: a request is PREPARED (all memory taken, all options set), then FIRED (sent, and its
 * answer read). Between the two nothing is allocated by the caller, so that a commit can be
 * prepared before file systems are frozen and fired while they are.  One request is prepared at a
 * time; an earlier one is forgotten.  The connection is kept and used again.
 *
 * Threads: one at a time.
 * Ownership: request strings are copied by prepare; the answer is the transport's until the next
 * prepare. Failures: fire returns a status (STATUS_OK = an HTTP answer of any code came) and leaves
 * a sentence in error_text.
 */
#ifndef TARN_CLIENT_TRANSPORT_H
#define TARN_CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/signed_request.h"

enum { TRANSPORT_ERROR_MAX = 512, TRANSPORT_ANSWER_MAX = 64 * 1024 * 1024 };

struct transport_request {
    const char *method;          /* "GET", "POST", "DELETE" */
    const char *path;            /* "/v1/disks?x=y", already encoded */
    const char *body;            /* JSON or NULL */
    const char *idempotency_key; /* or NULL */
    unsigned timeout_ms;         /* for the whole exchange */
};

struct transport {
    const struct transport_ops *ops;
    int http_status;        /* of the last answer */
    bool connection_reused; /* by the last fire */
    char *answer;           /* terminated with NUL; never NULL after a successful fire */
    size_t answer_bytes;
    char nonce[SIGNED_NONCE_SIZE]; /* of the last answer's header Tarn-Nonce; "" = had none */
    char error_text[TRANSPORT_ERROR_MAX];
};

struct transport_ops {
    struct err *(*prepare)(struct transport *transport, const struct transport_request *request);
    enum status (*fire)(struct transport *transport);
    void (*destroy)(struct transport *transport);
};

struct transport_options {
    const char *server;      /* "https://192.0.2.1:7260" */
    const char *const *others; /* further addresses of the same server, tried in turn where nothing can be sent */
    unsigned other_count;
    const char *const *pins; /* hex SHA-256 of SubjectPublicKeyInfo; any of them will do */
    unsigned pin_count;      /* 0: the certificate is checked against the system's authorities */
    const char *token;       /* bearer token or NULL */
};

/* The one over libcurl.  The options are copied. */
struct err *transport_curl_create(const struct transport_options *options,
                                  struct transport **ret_transport) MUST_CHECK;

static inline void transport_destroy(struct transport *transport)
{
    if (transport) transport->ops->destroy(transport);
}

#endif
