/*
 * signed_request.h - the texts of requests that a host signs, and of its enrolment: writing them,
 * reading them, what is hashed.  The cryptography is the caller's (GnuTLS here, CNG on Windows):
 * SHA-256 and HMAC-SHA-256 and nothing else.  Described with test vectors in
 * doc/design/0070-host-requests.md.
 *
 * Words: a SIGNED REQUEST is the body of a POST to /v1/signed: one line, then the body of the
 * request inside.  An ENROLMENT CODE is one word that an administrator hands to a host: addresses,
 * pins, enrolment id and one-time secret.
 *
 * Threads: any; nothing is kept.  Ownership: the caller's buffers.  Failures: false, and nothing is
 * written.  Parses hostile bytes: fuzzed.
 */
#ifndef TARN_BASE_SIGNED_REQUEST_H
#define TARN_BASE_SIGNED_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SIGNED_ID_SIZE = 37,         /* a uuid, with NUL */
    SIGNED_NONCE_SIZE = 65,      /* 64 hex digits */
    SIGNED_REQUEST_ID_SIZE = 33, /* 32 hex digits, never used twice */
    SIGNED_KEY_SIZE = 64,        /* of the idempotency key; "-" = none */
    SIGNED_HASH_SIZE = 65,       /* SHA-256 in hex */
    SIGNED_METHOD_SIZE = 8,
    SIGNED_PATH_SIZE = 2048,
    SIGNED_LINE_MAX = 2400,
    SIGNED_TEXT_MAX = 2700,
    ENROL_ADDRESSES_MAX = 8,
    ENROL_ADDRESS_SIZE = 128,
    ENROL_PINS_MAX = 2,
    ENROL_CODE_MAX = 1500,
    ENROL_TEXT_MAX = 400,
};

struct signed_request {
    char credential[SIGNED_ID_SIZE];
    char nonce[SIGNED_NONCE_SIZE];
    char request_id[SIGNED_REQUEST_ID_SIZE];
    char idempotency_key[SIGNED_KEY_SIZE];
    char method[SIGNED_METHOD_SIZE];
    char path[SIGNED_PATH_SIZE];
    char signature[SIGNED_HASH_SIZE];
};

/* "TARN1 CREDENTIAL NONCE REQUEST-ID IDEMPOTENCY-KEY METHOD PATH SIGNATURE\n" */
bool signed_request_write(const struct signed_request *request, char line[SIGNED_LINE_MAX]);
/* Reads the line; the body of the request inside begins at *ret_body. */
bool signed_request_read(const void *data, size_t size, struct signed_request *ret_request,
                         size_t *ret_body);
/* What is signed: the fields, the hash of the body inside and the pin of the server that it is
 * meant for. */
bool signed_request_text(const struct signed_request *request, const char *body_hash,
                         const char *pin, char text[SIGNED_TEXT_MAX]);

struct enrol_code {
    unsigned address_count, pin_count;
    char addresses[ENROL_ADDRESSES_MAX][ENROL_ADDRESS_SIZE]; /* HOST:PORT, [::1]:PORT */
    char pins[ENROL_PINS_MAX][SIGNED_HASH_SIZE];
    char enrolment[SIGNED_ID_SIZE];
    char secret[SIGNED_HASH_SIZE]; /* 32 bytes in hex; the bytes are the HMAC's key */
};

bool enrol_code_write(const struct enrol_code *code, char text[ENROL_CODE_MAX]);
/* White space around it does not matter. */
bool enrol_code_read(const char *text, struct enrol_code *ret_code);

/* The three texts that are hashed with the one-time secret as key.  Nonces: 64 hex digits. */
bool enrol_proof_text(const char *enrolment, const char *client_nonce, const char *pin,
                      char text[ENROL_TEXT_MAX]);
struct enrol_answer {
    const char *enrolment, *client_nonce, *server_nonce, *credential, *pin;
};
bool enrol_confirm_text(const struct enrol_answer *answer, char text[ENROL_TEXT_MAX]);
bool enrol_key_text(const struct enrol_answer *answer, char text[ENROL_TEXT_MAX]);

#endif
