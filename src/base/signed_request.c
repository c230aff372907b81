#include "base/signed_request.h"

#include <stdio.h>
#include <string.h>

static const char marker[] = "TARN1";
static const char code_marker[] = "tarn1";

/* ---- Characters ---- */

static bool is_hex(const char *text, size_t length)
{
    return strlen(text) == length && strspn(text, "0123456789abcdef") == length;
}

static bool is_id(const char *text)
{
    static const unsigned dashes[] = {8, 13, 18, 23};
    if (strlen(text) != SIGNED_ID_SIZE - 1) return false;
    unsigned next = 0;
    for (unsigned i = 0; text[i] != '\0'; i++) {
        if (next < 4 && i == dashes[next]) {
            if (text[i] != '-') return false;
            next++;
        } else if (!strchr("0123456789abcdef", text[i])) {
            return false;
        }
    }
    return true;
}

static bool is_method(const char *text)
{
    return strcmp(text, "GET") == 0 || strcmp(text, "POST") == 0 || strcmp(text, "DELETE") == 0;
}

static bool is_request(const struct signed_request *r)
{
    return is_id(r->credential) && is_hex(r->nonce, SIGNED_NONCE_SIZE - 1) &&
           is_hex(r->request_id, SIGNED_REQUEST_ID_SIZE - 1) && r->idempotency_key[0] != '\0' &&
           is_method(r->method) && strncmp(r->path, "/v1/", 4) == 0;
}

static bool fits(int wrote, size_t size)
{
    return wrote > 0 && (size_t)wrote < size;
}

/* ---- Signed requests ---- */

bool signed_request_write(const struct signed_request *request, char line[SIGNED_LINE_MAX])
{
    const struct signed_request *r = request;
    if (!is_request(r) || !is_hex(r->signature, SIGNED_HASH_SIZE - 1)) return false;
    return fits(snprintf(line, SIGNED_LINE_MAX, "%s %s %s %s %s %s %s %s\n", marker, r->credential,
                         r->nonce, r->request_id, r->idempotency_key, r->method, r->path,
                         r->signature),
                SIGNED_LINE_MAX);
}

struct field {
    char *to;
    size_t size;
};

bool signed_request_read(const void *data, size_t size, struct signed_request *ret_request,
                         size_t *ret_body)
{
    struct signed_request r;
    char version[sizeof marker];
    const struct field fields[] = {{version, sizeof version},
                                   {r.credential, sizeof r.credential},
                                   {r.nonce, sizeof r.nonce},
                                   {r.request_id, sizeof r.request_id},
                                   {r.idempotency_key, sizeof r.idempotency_key},
                                   {r.method, sizeof r.method},
                                   {r.path, sizeof r.path},
                                   {r.signature, sizeof r.signature}};
    const size_t field_count = sizeof fields / sizeof fields[0];
    const char *at = data, *end = at + (size < SIGNED_LINE_MAX ? size : SIGNED_LINE_MAX);
    for (size_t i = 0; i < field_count; i++) {
        size_t length = 0;
        while (at + length < end && at[length] > ' ' && at[length] < 0x7F)
            length++;
        if (length == 0 || length >= fields[i].size || at + length == end) return false;
        if (at[length] != (i + 1 < field_count ? ' ' : '\n')) return false;
        memcpy(fields[i].to, at, length);
        fields[i].to[length] = '\0';
        at += length + 1;
    }
    if (strcmp(version, marker) != 0 || !is_request(&r) ||
        !is_hex(r.signature, SIGNED_HASH_SIZE - 1)) {
        return false;
    }
    *ret_request = r;
    *ret_body = (size_t)(at - (const char *)data);
    return true;
}

bool signed_request_text(const struct signed_request *request, const char *body_hash,
                         const char *pin, char text[SIGNED_TEXT_MAX])
{
    const struct signed_request *r = request;
    if (!is_request(r)) return false;
    return fits(snprintf(text, SIGNED_TEXT_MAX, "tarn-request-1\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n",
                         r->method, r->path, body_hash, r->nonce, r->request_id, r->idempotency_key,
                         r->credential, pin),
                SIGNED_TEXT_MAX);
}

/* ---- The code: tarn1+ADDRESS[,ADDRESS]+PIN[,PIN]+ENROLMENT+SECRET ---- */

static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t length = strlen(text);
    if (!colon || colon == text || length >= ENROL_ADDRESS_SIZE) return false;
    size_t digits = strspn(colon + 1, "0123456789");
    return digits > 0 && digits < 6 && colon[1 + digits] == '\0' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]%") ==
               length;
}

static bool is_code(const struct enrol_code *code)
{
    if (code->address_count == 0 || code->address_count > ENROL_ADDRESSES_MAX) return false;
    if (code->pin_count == 0 || code->pin_count > ENROL_PINS_MAX) return false;
    for (unsigned i = 0; i < code->address_count; i++) {
        if (!is_address(code->addresses[i])) return false;
    }
    for (unsigned i = 0; i < code->pin_count; i++) {
        if (!is_hex(code->pins[i], SIGNED_HASH_SIZE - 1)) return false;
    }
    return is_id(code->enrolment) && is_hex(code->secret, SIGNED_HASH_SIZE - 1);
}

bool enrol_code_write(const struct enrol_code *code, char text[ENROL_CODE_MAX])
{
    if (!is_code(code)) return false;
    size_t used = (size_t)snprintf(text, ENROL_CODE_MAX, "%s", code_marker);
    for (unsigned i = 0; i < code->address_count; i++) {
        used += (size_t)snprintf(text + used, ENROL_CODE_MAX - used, "%c%s", i ? ',' : '+',
                                 code->addresses[i]);
    }
    for (unsigned i = 0; i < code->pin_count; i++) {
        used += (size_t)snprintf(text + used, ENROL_CODE_MAX - used, "%c%s", i ? ',' : '+',
                                 code->pins[i]);
    }
    return fits(
        snprintf(text + used, ENROL_CODE_MAX - used, "+%s+%s", code->enrolment, code->secret),
        ENROL_CODE_MAX - used);
}

/* The items of a list up to the next "+" or the end; *at is left there. */
static bool take_items(const char **at, char *to, size_t item_size, unsigned max,
                       unsigned *ret_count)
{
    for (unsigned count = 0; count < max; count++) {
        size_t length = strcspn(*at, ",+");
        if (length == 0 || length >= item_size) return false;
        memcpy(to + count * item_size, *at, length);
        to[count * item_size + length] = '\0';
        *at += length;
        *ret_count = count + 1;
        if (**at != ',') return true;
        (*at)++;
    }
    return false;
}

static bool take_plus(const char **at)
{
    return *(*at)++ == '+';
}

bool enrol_code_read(const char *text, struct enrol_code *ret_code)
{
    static const char space[] = " \t\r\n";
    char trimmed[ENROL_CODE_MAX];
    struct enrol_code code = {0};
    unsigned one;
    text += strspn(text, space);
    size_t length = strcspn(text, space);
    if (length >= sizeof trimmed || text[length + strspn(text + length, space)] != '\0')
        return false;
    memcpy(trimmed, text, length);
    trimmed[length] = '\0';
    if (strncmp(trimmed, code_marker, sizeof code_marker - 1) != 0) return false;
    const char *at = trimmed + sizeof code_marker - 1;
    bool ok = take_plus(&at) &&
              take_items(&at, code.addresses[0], ENROL_ADDRESS_SIZE, ENROL_ADDRESSES_MAX,
                         &code.address_count) &&
              take_plus(&at) &&
              take_items(&at, code.pins[0], SIGNED_HASH_SIZE, ENROL_PINS_MAX, &code.pin_count) &&
              take_plus(&at) && take_items(&at, code.enrolment, SIGNED_ID_SIZE, 1, &one) &&
              take_plus(&at) && take_items(&at, code.secret, SIGNED_HASH_SIZE, 1, &one) &&
              *at == '\0' && is_code(&code);
    if (ok) *ret_code = code;
    return ok;
}

/* ---- Enrolment ---- */

bool enrol_proof_text(const char *enrolment, const char *client_nonce, const char *pin,
                      char text[ENROL_TEXT_MAX])
{
    if (!is_id(enrolment) || !is_hex(client_nonce, SIGNED_NONCE_SIZE - 1)) return false;
    return fits(snprintf(text, ENROL_TEXT_MAX, "tarn-enrol-proof-1\n%s\n%s\n%s\n", enrolment,
                         client_nonce, pin),
                ENROL_TEXT_MAX);
}

static bool answer_text(const char *label, const struct enrol_answer *a, char text[ENROL_TEXT_MAX])
{
    if (!is_id(a->enrolment) || !is_id(a->credential)) return false;
    if (!is_hex(a->client_nonce, SIGNED_NONCE_SIZE - 1)) return false;
    if (!is_hex(a->server_nonce, SIGNED_NONCE_SIZE - 1)) return false;
    return fits(snprintf(text, ENROL_TEXT_MAX, "%s\n%s\n%s\n%s\n%s\n%s\n", label, a->enrolment,
                         a->client_nonce, a->server_nonce, a->credential, a->pin),
                ENROL_TEXT_MAX);
}

bool enrol_confirm_text(const struct enrol_answer *answer, char text[ENROL_TEXT_MAX])
{
    return answer_text("tarn-enrol-confirm-1", answer, text);
}

bool enrol_key_text(const struct enrol_answer *answer, char text[ENROL_TEXT_MAX])
{
    return answer_text("tarn-credential-1", answer, text);
}
