/*
 * chap.h - the challenge-handshake authentication of RFC 1994 as iSCSI uses it: algorithms,
 * responses, binary values in text.  RFC 7143 12.1.3.
 *
 *     const struct iscsi_chap_algorithm *a = iscsi_chap_choose("5,7");      // the strongest
 * offered iscsi_chap_response(a, id, secret, challenge, challenge_bytes, digest);
 *
 * Pure (GnuTLS for the hashes); randomness is the caller's.  Threads: any.  Limits: challenges of 1
 * to ISCSI_CHAP_CHALLENGE_MAX bytes.
 */
#ifndef TARN_ISCSI_CHAP_H
#define TARN_ISCSI_CHAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { ISCSI_CHAP_CHALLENGE_MAX = 1024, ISCSI_CHAP_DIGEST_MAX = 32 };

struct iscsi_chap_algorithm {
    uint8_t number; /* as in CHAP_A */
    uint8_t digest_bytes;
    int hash; /* gnutls_digest_algorithm_t */
};

/* The strongest of a comma-separated list of numbers; NULL when there is none we know. */
const struct iscsi_chap_algorithm *iscsi_chap_choose(const char *list);

/* hash(id, secret, challenge); false when the library refuses. */
bool iscsi_chap_response(const struct iscsi_chap_algorithm *algorithm, uint8_t id,
                         const char *secret, const void *challenge, size_t challenge_bytes,
                         uint8_t ret_digest[ISCSI_CHAP_DIGEST_MAX]);

/* In constant time. */
bool iscsi_chap_equal(const void *a, const void *b, size_t size_bytes);

/* A binary value "0x..." or "0b..." (RFC 7143 6.1); false when malformed, empty or above `max`. */
bool iscsi_chap_decode(const char *text, void *ret_data, size_t max, size_t *ret_size_bytes);
/* Writes "name=0x..." with its NUL. */
void iscsi_chap_put(struct buf_writer *w, const char *name, const void *data, size_t size_bytes);

#endif
