#include "control/tls.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"

enum { PEM_MAX = 16384, PATH_SIZE = 1100 };
#define YEARS_VALID 30

static struct err *gnutls_err(int code, const char *what)
{
    return err_new(STATUS_INTERNAL, "%s: %s", what, gnutls_strerror(code));
}

#define GT(expression, what)                                                                       \
    do {                                                                                           \
        int gt_code_ = (expression);                                                               \
        if (gt_code_ < 0) {                                                                        \
            e = gnutls_err(gt_code_, what);                                                        \
            goto end;                                                                              \
        }                                                                                          \
    } while (0)

/* ---- Files ----------------------------------------------------------------------------------- */

static struct err *read_file(struct rt *rt, const char *path, char **ret_text)
{
    struct rt_bfile *file = NULL;
    TRY(rt_bfile_open(rt, path, RT_BOPEN_READ_ONLY, &file));
    char *text = calloc(1, PEM_MAX);
    size_t size = 0;
    struct err *e = text ? rt_bfile_read(file, 0, text, PEM_MAX - 1, &size)
                         : err_new(STATUS_NO_MEMORY, "read %s", path);
    rt_bfile_close(file);
    if (e) {
        free(text);
        return e;
    }
    *ret_text = text;
    return NULL;
}

static struct err *write_file(struct rt *rt, const char *path, const gnutls_datum_t *data)
{
    char temporary[PATH_SIZE + 8];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    struct rt_bfile *file = NULL;
    TRY(rt_bfile_open(rt, temporary, RT_BOPEN_CREATE, &file));
    struct err *e = rt_bfile_truncate(file, 0);
    if (!e) e = rt_bfile_write(file, 0, data->data, data->size);
    if (!e) e = rt_bfile_sync(file, RT_FLUSH_CATALOG);
    rt_bfile_close(file);
    return e ? e : rt_path_rename(rt, temporary, path);
}

/* ---- Making ---------------------------------------------------------------------------------- */

static struct err *fill_certificate(struct rt *rt, gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
    static const unsigned char loopback[4] = {127, 0, 0, 1};
    struct err *e = NULL;
    uint8_t serial[16];
    rt_random(rt, serial, sizeof serial);
    serial[0] =
        (uint8_t)((serial[0] & 0x7F) | 0x01); /* positive, no leading zero (RFC 5280 4.1.2.2) */
    time_t now = (time_t)(rt_wall(rt) / RT_SECOND);
    GT(gnutls_x509_crt_set_version(crt, 3), "certificate");
    GT(gnutls_x509_crt_set_serial(crt, serial, sizeof serial), "certificate serial");
    GT(gnutls_x509_crt_set_activation_time(crt, now - 24 * 3600), "certificate time");
    GT(gnutls_x509_crt_set_expiration_time(crt, now + (time_t)YEARS_VALID * 365 * 24 * 3600),
       "certificate time");
    GT(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "tarn", 4),
       "certificate name");
    GT(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "localhost", 9,
                                            GNUTLS_FSAN_SET),
       "certificate name");
    GT(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback, sizeof loopback,
                                            GNUTLS_FSAN_APPEND),
       "certificate address");
    GT(gnutls_x509_crt_set_key(crt, key), "certificate key");
    GT(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), "sign the certificate");
end:
    return e;
}

static struct err *make_identity(struct rt *rt, const char *key_path, const char *certificate_path)
{
    struct err *e = NULL;
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t crt = NULL;
    gnutls_datum_t key_pem = {0}, crt_pem = {0};
    GT(gnutls_x509_privkey_init(&key), "key");
    GT(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
       "generate a key");
    GT(gnutls_x509_crt_init(&crt), "certificate");
    e = fill_certificate(rt, crt, key);
    if (e) goto end;
    GT(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem), "export the key");
    GT(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &crt_pem), "export the certificate");
    e = write_file(rt, key_path, &key_pem);
    if (!e) e = write_file(rt, certificate_path, &crt_pem);
end:
    if (key) gnutls_x509_privkey_deinit(key);
    if (crt) gnutls_x509_crt_deinit(crt);
    gnutls_free(key_pem.data);
    gnutls_free(crt_pem.data);
    return e;
}

static struct err *read_pin(struct tls_identity *identity)
{
    struct err *e = NULL;
    gnutls_x509_crt_t crt = NULL;
    gnutls_pubkey_t public = NULL;
    gnutls_datum_t spki = {0};
    uint8_t hash[32];
    gnutls_datum_t pem = {.data = (unsigned char *)identity->certificate_pem,
                          .size = (unsigned)strlen(identity->certificate_pem)};
    GT(gnutls_x509_crt_init(&crt), "certificate");
    GT(gnutls_x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM), "read the certificate");
    GT(gnutls_pubkey_init(&public), "public key");
    GT(gnutls_pubkey_import_x509(public, crt, 0), "public key");
    GT(gnutls_pubkey_export2(public, GNUTLS_X509_FMT_DER, &spki), "public key");
    GT(gnutls_hash_fast(GNUTLS_DIG_SHA256, spki.data, spki.size, hash), "SHA-256");
    text_format_hex(hash, sizeof hash, identity->pin);
end:
    if (crt) gnutls_x509_crt_deinit(crt);
    if (public) gnutls_pubkey_deinit(public);
    gnutls_free(spki.data);
    return e;
}

struct err *tls_identity_load(struct rt *rt, const char *directory,
                              struct tls_identity *ret_identity)
{
    char key_path[PATH_SIZE], certificate_path[PATH_SIZE];
    snprintf(key_path, sizeof key_path, "%s/key.pem", directory);
    snprintf(certificate_path, sizeof certificate_path, "%s/cert.pem", directory);
    TRY(rt_path_make_directory(rt, directory));
    /* The key first, then the certificate: with only one of them there is no identity yet. */
    if (!rt_path_exists(rt, certificate_path)) TRY(make_identity(rt, key_path, certificate_path));
    struct tls_identity identity = {0};
    struct err *e = read_file(rt, key_path, &identity.key_pem);
    if (!e) e = read_file(rt, certificate_path, &identity.certificate_pem);
    if (!e) e = read_pin(&identity);
    if (e) {
        tls_identity_fini(&identity);
        return err_next(
            err_wrap(e, "TLS identity in %s", directory),
            "remove the directory and a new identity is made; clients need its new pin");
    }
    *ret_identity = identity;
    return NULL;
}

void tls_identity_fini(struct tls_identity *identity)
{
    if (identity->key_pem) gnutls_memset(identity->key_pem, 0, strlen(identity->key_pem));
    free(take_ptr(&identity->key_pem));
    free(take_ptr(&identity->certificate_pem));
}
