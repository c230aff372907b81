/*
 * http.h - the API over HTTPS (libmicrohttpd, one thread of its own): authenticates, posts a verb
 * to the loop, turns its end into an answer.  Everything else is control.h.
 *
 *     TRY(http_create(rt, control, "127.0.0.1:7260", &identity, &http));
 *     ... http_address(http) ...; http_close(http, closed, arg);
 *
 * Threads: create, close and address ON_LOOP (or before it runs); requests are read on
 * libmicrohttpd's thread. Ownership: the identity stays the caller's until closed.  Failures: of a
 * request: an error answer. Limits: HTTP_CONNECTIONS_MAX connections, VERB_BODY_MAX bytes of body,
 * HTTP_IDLE_S of silence.
 */
#ifndef TARN_CONTROL_HTTP_H
#define TARN_CONTROL_HTTP_H

#include "control/control.h"
#include "control/tls.h"

enum { HTTP_CONNECTIONS_MAX = 256, HTTP_CONNECTIONS_PER_ADDRESS = 64, HTTP_IDLE_S = 120 };

struct http;
struct err *http_create(struct rt *rt, struct control *control, const char *listen,
                        const struct tls_identity *identity, struct http **ret_http) MUST_CHECK;
const char *http_address(const struct http *http); /* the bound one: "127.0.0.1:43211" */
/* Refuses new requests, waits for those under way, then closed(arg); http is gone. */
void http_close(struct http *http, void (*closed)(void *arg), void *arg);

#endif
