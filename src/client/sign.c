#include "client/sign.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/text.h"

enum { HASH_BYTES = 32 };

void sign_draw_hex(char *text, size_t size)
{
    uint8_t random[HASH_BYTES];
    size_t bytes = (size - 1) / 2;
    check(bytes <= sizeof random);
    check(getrandom(random, bytes, 0) == (ssize_t)bytes);
    text_format_hex(random, bytes, text);
}

struct err *sign_hmac(const void *key, size_t key_size, const char *text,
                      char ret_hex[SIGNED_HASH_SIZE])
{
    uint8_t value[HASH_BYTES];
    int code = gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, key_size, text, strlen(text), value);
    if (code) return err_new(STATUS_INTERNAL, "HMAC: %s", gnutls_strerror(code));
    text_format_hex(value, sizeof value, ret_hex);
    return NULL;
}

static struct err *hash_hex(const char *text, char ret_hex[SIGNED_HASH_SIZE])
{
    uint8_t value[HASH_BYTES];
    int code = gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), value);
    if (code) return err_new(STATUS_INTERNAL, "SHA-256: %s", gnutls_strerror(code));
    text_format_hex(value, sizeof value, ret_hex);
    return NULL;
}

struct err *sign_request(const struct sign_identity *identity, const struct sign_what *what,
                         char **ret_body)
{
    struct signed_request request = {0};
    const char *body = what->body ? what->body : "";
    char hash[SIGNED_HASH_SIZE], text[SIGNED_TEXT_MAX], line[SIGNED_LINE_MAX];
    if (strlen(what->path) >= sizeof request.path || strlen(what->method) >= sizeof request.method)
        return err_new(STATUS_BAD_REQUEST, "the request's path is too long to be signed");
    snprintf(request.credential, sizeof request.credential, "%s", identity->credential);
    snprintf(request.nonce, sizeof request.nonce, "%s", what->nonce);
    snprintf(request.idempotency_key, sizeof request.idempotency_key, "%s",
             what->idempotency_key ? what->idempotency_key : "-");
    memcpy(request.method, what->method, strlen(what->method) + 1);
    memcpy(request.path, what->path, strlen(what->path) + 1);
    sign_draw_hex(request.request_id, sizeof request.request_id);
    TRY(hash_hex(body, hash));
    if (!signed_request_text(&request, hash, what->pin, text))
        return err_new(STATUS_BAD_REQUEST, "this request cannot be signed");
    TRY(sign_hmac(identity->key, sizeof identity->key, text, request.signature));
    check(signed_request_write(&request, line));
    if (asprintf(ret_body, "%s%s", line, body) < 0) {
        *ret_body = NULL;
        return err_new(STATUS_NO_MEMORY, "sign a request");
    }
    return NULL;
}
