/*
 * http.h - HTTPS to the server with a pinned key, through WinHTTP: what the transport and the
 * enrolment share.
 *
 * WinHTTP sends the headers of a request before the server's certificate can be looked at.  So a
 * request here has nothing in its path and headers that is worth anything; its body is made for the
 * key that was seen, and is sent when that key is one of the pinned ones.
 *
 * Threads: a call is one thread's; http_call_cancel may come from another one.  Failures: false;
 * last_error says why.
 */
#ifndef TARN_WINDOWS_COM_HTTP_H
#define TARN_WINDOWS_COM_HTTP_H

#include "windows/provider/com/credential.h"
#include "windows/provider/core/api.h"

#include <winhttp.h>

/* No proxy, no cookies, redirects or logons; NULL on failure. */
HINTERNET http_session(void);

struct http_call {
    HINTERNET connection, request;
    char pin[SIGNED_HASH_SIZE]; /* of the server, one of those given */
    bool is_pin_wrong;
};

/* Connects, sends the headers of a POST with a body of body_size (a GET has none), and checks the
 * key. */
bool http_begin(HINTERNET session, const char *address, const char *const *pins, unsigned pin_count,
                bool is_post, const char *path, size_t body_size, unsigned timeout_ms,
                struct http_call *ret_call);
/* Sends the body. */
bool http_send(struct http_call *call, const void *body, size_t size);
/* Receives the answer's status; 0: none. */
unsigned http_receive(struct http_call *call);
/* Reads the rest of the answer; nonce (may be NULL) gets the header Tarn-Nonce, or "". */
bool http_read(struct http_call *call, struct api_reply *reply, char nonce[SIGNED_NONCE_SIZE]);
void http_end(struct http_call *call);

#endif
