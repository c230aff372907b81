#include "windows/provider/com/crypto.h"

#include <stdio.h>
#include <string.h>

#include <windows.h>

#include <bcrypt.h>

static void put_hex(const uint8_t *bytes, size_t size, char *hex)
{
    for (size_t i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned)bytes[i]);
}

/* key NULL: a plain hash. */
static bool hash(const uint8_t *key, const void *data, size_t size, char hex[CRYPTO_HASH_SIZE])
{
    BCRYPT_ALG_HANDLE algorithm = NULL;
    BCRYPT_HASH_HANDLE handle = NULL;
    uint8_t digest[CRYPTO_HASH_BYTES], key_copy[CRYPTO_HASH_BYTES] = {0};
    if (key) memcpy(key_copy, key, sizeof key_copy);
    bool ok = BCryptOpenAlgorithmProvider(&algorithm, BCRYPT_SHA256_ALGORITHM, NULL,
                                          key ? BCRYPT_ALG_HANDLE_HMAC_FLAG : 0) == 0 &&
              BCryptCreateHash(algorithm, &handle, NULL, 0, key ? key_copy : NULL,
                               key ? CRYPTO_HASH_BYTES : 0, 0) == 0 &&
              BCryptHashData(handle, (UCHAR *)(uintptr_t)data, (ULONG)size, 0) == 0 &&
              BCryptFinishHash(handle, digest, sizeof digest, 0) == 0;
    if (handle) BCryptDestroyHash(handle);
    if (algorithm) BCryptCloseAlgorithmProvider(algorithm, 0);
    SecureZeroMemory(key_copy, sizeof key_copy);
    if (ok) put_hex(digest, sizeof digest, hex);
    return ok;
}

bool crypto_sha256(const void *data, size_t size, char hex[CRYPTO_HASH_SIZE])
{
    return hash(NULL, data, size, hex);
}

bool crypto_hmac(const uint8_t key[CRYPTO_HASH_BYTES], const char *text, char hex[CRYPTO_HASH_SIZE])
{
    return hash(key, text, strlen(text), hex);
}

bool crypto_random_hex(char *hex, size_t hex_size)
{
    uint8_t bytes[64];
    size_t count = (hex_size - 1) / 2;
    if (count > sizeof bytes ||
        BCryptGenRandom(NULL, bytes, (ULONG)count, BCRYPT_USE_SYSTEM_PREFERRED_RNG) != 0)
        return false;
    put_hex(bytes, count, hex);
    return true;
}

bool crypto_from_hex(const char *hex, uint8_t *bytes, size_t size)
{
    if (strlen(hex) != 2 * size || strspn(hex, "0123456789abcdef") != 2 * size) return false;
    for (size_t i = 0; i < size; i++) {
        unsigned value;
        if (sscanf(hex + 2 * i, "%2x", &value) != 1) return false;
        bytes[i] = (uint8_t)value;
    }
    return true;
}
