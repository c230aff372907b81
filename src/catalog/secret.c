/* Secrets of hosts: AES-256-GCM under DIRECTORY/secret.key; nonce (12), ciphertext, tag (16). */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#include "catalog/catalog_int.h"

enum { SEAL_NONCE = 12, SEAL_TAG = 16, SEAL_WHO_MAX = 64 };

static struct err *key_make(struct catalog *catalog, const char *path)
{
    char temporary[CATALOG_PATH_SIZE + 8];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    rt_random(catalog->rt, catalog->key, sizeof catalog->key);
    if (rt_path_exists(catalog->rt, temporary)) TRY(rt_path_delete(catalog->rt, temporary, false));
    struct rt_bfile *file = NULL;
    TRY(rt_bfile_open(catalog->rt, temporary, RT_BOPEN_CREATE | RT_BOPEN_EXCLUSIVE, &file));
    struct err *e = rt_bfile_write(file, 0, catalog->key, sizeof catalog->key);
    if (!e) e = rt_bfile_sync(file, RT_FLUSH_CATALOG);
    rt_bfile_close(file);
    if (!e) e = rt_path_rename(catalog->rt, temporary, path);
    return e ? err_wrap(e, "make the key file %s", path) : NULL;
}

struct err *catalog_key_load(struct catalog *catalog, const char *directory)
{
    char path[CATALOG_PATH_SIZE];
    snprintf(path, sizeof path, "%s/secret.key", directory);
    if (!rt_path_exists(catalog->rt, path)) return key_make(catalog, path);
    struct rt_bfile *file = NULL;
    TRY(rt_bfile_open(catalog->rt, path, RT_BOPEN_READ_ONLY, &file));
    size_t size = 0;
    struct err *e = rt_bfile_read(file, 0, catalog->key, sizeof catalog->key, &size);
    rt_bfile_close(file);
    if (e) return err_wrap(e, "read the key file %s", path);
    if (size != sizeof catalog->key) {
        return err_next(err_new(STATUS_BAD_CONFIG, "the key file %s is too short", path),
                        "restore it from a backup");
    }
    return NULL;
}

static size_t bind_text(const struct uuid *who, const char *field, char text[SEAL_WHO_MAX])
{
    char uuid[UUID_TEXT_SIZE];
    return (size_t)snprintf(text, SEAL_WHO_MAX, "%s/%s", uuid_format(who, uuid), field);
}

static struct err *cipher_open(struct catalog *catalog, gnutls_aead_cipher_hd_t *ret_cipher)
{
    gnutls_datum_t key = {.data = catalog->key, .size = sizeof catalog->key};
    int code = gnutls_aead_cipher_init(ret_cipher, GNUTLS_CIPHER_AES_256_GCM, &key);
    if (code) return err_new(STATUS_INTERNAL, "AES-256-GCM: %s", gnutls_strerror(code));
    return NULL;
}

struct err *catalog_seal(struct catalog *catalog, const struct uuid *who, const char *field,
                         const char *secret, uint8_t ret_sealed[CATALOG_SEALED_MAX],
                         size_t *ret_size)
{
    size_t length = strlen(secret);
    if (length == 0) {
        *ret_size = 0;
        return NULL;
    }
    char bound[SEAL_WHO_MAX];
    size_t bound_size = bind_text(who, field, bound);
    gnutls_aead_cipher_hd_t cipher;
    TRY(cipher_open(catalog, &cipher));
    rt_random(catalog->rt, ret_sealed, SEAL_NONCE);
    size_t size = CATALOG_SEALED_MAX - SEAL_NONCE;
    int code = gnutls_aead_cipher_encrypt(cipher, ret_sealed, SEAL_NONCE, bound, bound_size,
                                          SEAL_TAG, secret, length, ret_sealed + SEAL_NONCE, &size);
    gnutls_aead_cipher_deinit(cipher);
    if (code) return err_new(STATUS_INTERNAL, "seal a secret: %s", gnutls_strerror(code));
    *ret_size = size + SEAL_NONCE;
    return NULL;
}

struct err *catalog_unseal(struct catalog *catalog, const struct uuid *who, const char *field,
                           const void *sealed, size_t size, char ret_secret[CATALOG_SECRET_SIZE])
{
    if (size == 0) {
        ret_secret[0] = '\0';
        return NULL;
    }
    char bound[SEAL_WHO_MAX];
    size_t bound_size = bind_text(who, field, bound);
    gnutls_aead_cipher_hd_t cipher;
    TRY(cipher_open(catalog, &cipher));
    size_t length = CATALOG_SECRET_SIZE - 1;
    int code = GNUTLS_E_DECRYPTION_FAILED;
    if (size > SEAL_NONCE + SEAL_TAG && size < CATALOG_SEALED_MAX) {
        code = gnutls_aead_cipher_decrypt(cipher, sealed, SEAL_NONCE, bound, bound_size, SEAL_TAG,
                                          (const uint8_t *)sealed + SEAL_NONCE, size - SEAL_NONCE,
                                          ret_secret, &length);
    }
    gnutls_aead_cipher_deinit(cipher);
    if (code) {
        return err_next(
            err_new(STATUS_BAD_CONFIG, "a stored CHAP secret does not open with secret.key"),
            "restore the key file that belongs to this catalog");
    }
    ret_secret[length] = '\0';
    return NULL;
}
