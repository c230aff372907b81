/* crypto.h - SHA-256, HMAC-SHA-256 and randomness, from Windows (CNG); all in lower-case hex.
 * Threads: any. Failures: false, which means that Windows' own cryptography is broken. */
#ifndef TARN_WINDOWS_COM_CRYPTO_H
#define TARN_WINDOWS_COM_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CRYPTO_HASH_BYTES = 32, CRYPTO_HASH_SIZE = 2 * CRYPTO_HASH_BYTES + 1 };

bool crypto_sha256(const void *data, size_t size, char hex[CRYPTO_HASH_SIZE]);
bool crypto_hmac(const uint8_t key[CRYPTO_HASH_BYTES], const char *text,
                 char hex[CRYPTO_HASH_SIZE]);
/* hex_size includes the NUL. */
bool crypto_random_hex(char *hex, size_t hex_size);
bool crypto_from_hex(const char *hex, uint8_t *bytes, size_t size);

#endif
