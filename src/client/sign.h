/*
 * sign.h - the host's side of signed requests and enrolment, with GnuTLS
 * (base/signed_request.h has the texts, doc/design/0070-host-requests.md the rules).
 *
 * Threads: any.  Ownership: what is returned is the caller's.
 */
#ifndef TARN_CLIENT_SIGN_H
#define TARN_CLIENT_SIGN_H

#include "base/err.h"
#include "base/signed_request.h"

enum { SIGN_KEY_BYTES = 32 };

struct sign_identity {
    char credential[SIGNED_ID_SIZE];
    unsigned char key[SIGN_KEY_BYTES];
};

struct sign_what {
    const char *method, *path, *body; /* body NULL: none */
    const char *idempotency_key;      /* NULL: none */
    const char *nonce, *pin;
};

/* The body of a POST to /v1/signed: the line, then `body`.  Draws the request id. */
struct err *sign_request(const struct sign_identity *identity, const struct sign_what *what,
                         char **ret_body) MUST_CHECK;
/* HMAC-SHA-256 of a text in hex. */
struct err *sign_hmac(const void *key, size_t key_size, const char *text,
                      char ret_hex[SIGNED_HASH_SIZE]) MUST_CHECK;
/* Random bytes in hex; size is that of the text with its NUL. */
void sign_draw_hex(char *text, size_t size);

#endif
