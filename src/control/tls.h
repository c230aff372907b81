/*
 * tls.h - the server's key and certificate: made by itself at first start, known to clients by a
 * pin.
 *
 * ECDSA P-256, self-signed, in DIRECTORY/key.pem and cert.pem.  The pin is the SHA-256 of the
 * certificate's SubjectPublicKeyInfo, so that a renewed certificate with the same key keeps it.
 *
 * Threads: at start-up, before the loop runs.  Ownership: tls_identity_fini frees.  Failures:
 * struct err *.
 */
#ifndef TARN_CONTROL_TLS_H
#define TARN_CONTROL_TLS_H

#include "base/err.h"
#include "rt/rt.h"

enum { TLS_PIN_SIZE = 65 };

struct tls_identity {
    char *key_pem, *certificate_pem;
    char pin[TLS_PIN_SIZE]; /* 64 hex digits */
};

struct err *tls_identity_load(struct rt *rt, const char *directory,
                              struct tls_identity *ret_identity) MUST_CHECK;
void tls_identity_fini(struct tls_identity *identity);

#endif
