#include "iscsi/chap.h"

#include <gnutls/crypto.h>
#include <string.h>

#include "base/attr.h"
#include "iscsi/iscsi.h"
#include "iscsi/keys.h"

/* The registered algorithms (IANA, "CHAP algorithms"), strongest first. */
static const struct iscsi_chap_algorithm algorithms[] = {
    {8, 32, GNUTLS_DIG_SHA3_256},
    {7, 32, GNUTLS_DIG_SHA256},
    {6, 20, GNUTLS_DIG_SHA1},
    {5, 16, GNUTLS_DIG_MD5},
};

const struct iscsi_chap_algorithm *iscsi_chap_choose(const char *list)
{
    for (unsigned i = 0; i < countof(algorithms); i++) {
        char number[2] = {(char)('0' + algorithms[i].number), '\0'};
        if (iscsi_text_list_has(list, number)) return &algorithms[i];
    }
    return NULL;
}

bool iscsi_chap_response(const struct iscsi_chap_algorithm *algorithm, uint8_t id,
                         const char *secret, const void *challenge, size_t challenge_bytes,
                         uint8_t ret_digest[ISCSI_CHAP_DIGEST_MAX])
{
    uint8_t input[1 + ISCSI_CHAP_TEXT_MAX + ISCSI_CHAP_CHALLENGE_MAX];
    size_t secret_bytes = secret ? strlen(secret) : 0;
    if (secret_bytes == 0 || secret_bytes > ISCSI_CHAP_TEXT_MAX ||
        challenge_bytes > ISCSI_CHAP_CHALLENGE_MAX)
        return false;

    /* RFC 1994 4.1: the identifier, the secret, the challenge. */
    input[0] = id;
    memcpy(input + 1, secret, secret_bytes);
    memcpy(input + 1 + secret_bytes, challenge, challenge_bytes);
    int failed = gnutls_hash_fast((gnutls_digest_algorithm_t)algorithm->hash, input,
                                  1 + secret_bytes + challenge_bytes, ret_digest);
    gnutls_memset(input, 0, sizeof input);
    return !failed;
}

bool iscsi_chap_equal(const void *a, const void *b, size_t size_bytes)
{
    return gnutls_memcmp(a, b, size_bytes) == 0;
}

/* ---- Binary values ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
}

static bool decode_hex(const char *text, struct buf_writer *w)
{
    size_t digits = strlen(text);
    /* An odd number of digits has a leading zero left out. */
    if (digits % 2 != 0) {
        int value = hex_digit(*text++);
        if (value < 0) return false;
        buf_put_u8(w, (uint8_t)value);
    }
    for (; *text; text += 2) {
        int high = hex_digit(text[0]), low = hex_digit(text[1]);
        if (high < 0 || low < 0) return false;
        buf_put_u8(w, (uint8_t)(high << 4 | low));
        if (w->failed) return false;
    }
    return true;
}

static bool decode_base64(const char *text, struct buf_writer *w)
{
    size_t size_bytes = strlen(text);
    if (size_bytes % 4 != 0) return false;
    uint32_t bits = 0;
    for (size_t i = 0; i < size_bytes; i++) {
        unsigned padding = 0;
        if (text[i] == '=') {
            /* One or two at the very end. */
            if (i + 2 < size_bytes || (i + 2 == size_bytes && text[i + 1] != '=')) return false;
            padding = (unsigned)(size_bytes - i);
            bits <<= 6 * padding;
            i = size_bytes - 1;
        } else {
            int value = base64_digit(text[i]);
            if (value < 0) return false;
            bits = bits << 6 | (uint32_t)value;
        }
        if (i % 4 != 3) continue;
        buf_put_u8(w, (uint8_t)(bits >> 16));
        if (padding < 2) buf_put_u8(w, (uint8_t)(bits >> 8));
        if (padding < 1) buf_put_u8(w, (uint8_t)bits);
        bits = 0;
    }
    return true;
}

bool iscsi_chap_decode(const char *text, void *ret_data, size_t max, size_t *ret_size_bytes)
{
    if (text[0] != '0') return false;
    struct buf_writer w = buf_writer(ret_data, max);
    bool good = false;
    if (text[1] == 'x' || text[1] == 'X')
        good = decode_hex(text + 2, &w);
    else if (text[1] == 'b' || text[1] == 'B')
        good = decode_base64(text + 2, &w);
    if (!good || w.failed || buf_used(&w) == 0) return false;
    *ret_size_bytes = buf_used(&w);
    return true;
}

void iscsi_chap_put(struct buf_writer *w, const char *name, const void *data, size_t size_bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    buf_put_bytes(w, name, strlen(name));
    buf_put_bytes(w, "=0x", 3);
    for (size_t i = 0; i < size_bytes; i++) {
        buf_put_u8(w, (uint8_t)digits[p[i] >> 4]);
        buf_put_u8(w, (uint8_t)digits[p[i] & 15]);
    }
    buf_put_u8(w, '\0');
}
