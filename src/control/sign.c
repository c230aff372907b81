/*
 * Requests that a host has signed: nonces, signatures, and that none is taken twice
 * (doc/design/0070-host-requests.md).
 *
 * A nonce is made of the time, random bytes and a MAC of both under a key of this process: nothing
 * is kept for it, so asking for nonces costs us nothing.  It is good for two minutes; for that long
 * the ids of the requests that came with one are remembered.  After a restart every old nonce is
 * stale, so what was remembered is not missed.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "control/host_int.h"

enum { NONCE_BYTES = 32, NONCE_SIGNED_BYTES = 16, MAC_BYTES = 32, SEEN_FIRST = 64 };
enum { SEEN_MAX = 8192 }; /* requests of one credential in NONCE_LIFE_NS */
#define NONCE_LIFE_NS (120 * RT_SECOND)

check_static(2 * NONCE_BYTES + 1 == SIGNED_NONCE_SIZE);
check_static(2 * MAC_BYTES + 1 == SIGNED_HASH_SIZE);
check_static(2 * REQUEST_ID_BYTES + 1 == SIGNED_REQUEST_ID_SIZE);

static bool mac(const void *key, size_t key_size, const void *text, size_t size,
                uint8_t ret_mac[MAC_BYTES])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, key_size, text, size, ret_mac) == 0;
}

bool sign_text(const void *key, size_t key_size, const char *text, char ret_hex[SIGNED_HASH_SIZE])
{
    uint8_t value[MAC_BYTES];
    if (!mac(key, key_size, text, strlen(text), value)) return false;
    text_format_hex(value, sizeof value, ret_hex);
    return true;
}

/* ---- Nonces ---- */

static bool nonce_seal(const struct control *control, uint8_t nonce[NONCE_BYTES])
{
    uint8_t value[MAC_BYTES];
    if (!mac(control->nonce_key, sizeof control->nonce_key, nonce, NONCE_SIGNED_BYTES, value))
        return false;
    memcpy(nonce + NONCE_SIGNED_BYTES, value, NONCE_BYTES - NONCE_SIGNED_BYTES);
    return true;
}

void sign_nonce(struct control *control, char nonce[SIGNED_NONCE_SIZE])
{
    uint8_t bytes[NONCE_BYTES];
    if (!control->nonce_key_drawn)
        rt_random(control->rt, control->nonce_key, sizeof control->nonce_key);
    control->nonce_key_drawn = true;
    store_be64(bytes, rt_now(control->rt));
    rt_random(control->rt, bytes + 8, NONCE_SIGNED_BYTES - 8);
    check(nonce_seal(control, bytes));
    text_format_hex(bytes, sizeof bytes, nonce);
}

static bool nonce_is_fresh(struct control *control, const char *nonce)
{
    uint8_t given[NONCE_BYTES], wanted[NONCE_BYTES];
    if (!control->nonce_key_drawn || !text_parse_hex(nonce, given, sizeof given)) return false;
    memcpy(wanted, given, NONCE_SIGNED_BYTES);
    if (!nonce_seal(control, wanted)) return false;
    if (gnutls_memcmp(given, wanted, sizeof given) != 0) return false;
    uint64_t at = load_be64(given), now = rt_now(control->rt);
    return at <= now && now - at < NONCE_LIFE_NS;
}

/* ---- Requests that were seen: a ring, oldest first ---- */

void seen_free(struct seen *seen)
{
    free(seen->entries);
    *seen = (struct seen){0};
}

static bool seen_grow(struct seen *seen)
{
    unsigned size = seen->size ? 2 * seen->size : SEEN_FIRST;
    if (size > SEEN_MAX) return false;
    struct seen_entry *entries = calloc(size, sizeof *entries);
    if (!entries) return false;
    for (unsigned i = 0; i < seen->count; i++)
        entries[i] = seen->entries[(seen->first + i) % seen->size];
    free(seen->entries);
    seen->entries = entries;
    seen->size = size;
    seen->first = 0;
    return true;
}

static enum status seen_note(struct seen *seen, const char *request_id, uint64_t now_ns)
{
    uint8_t id[REQUEST_ID_BYTES];
    if (!text_parse_hex(request_id, id, sizeof id)) return STATUS_BAD_REQUEST;
    while (seen->count && seen->entries[seen->first].until_ns <= now_ns) {
        seen->first = (seen->first + 1) % seen->size;
        seen->count--;
    }
    for (unsigned i = 0; i < seen->count; i++) {
        const struct seen_entry *entry = &seen->entries[(seen->first + i) % seen->size];
        if (memcmp(entry->id, id, sizeof id) == 0) return STATUS_REPLAYED;
    }
    if (seen->count == seen->size && !seen_grow(seen)) return STATUS_AGAIN;
    struct seen_entry *entry = &seen->entries[(seen->first + seen->count++) % seen->size];
    memcpy(entry->id, id, sizeof id);
    entry->until_ns = now_ns + NONCE_LIFE_NS;
    return STATUS_OK;
}

/* ---- Signatures ---- */

static bool signature_fits(struct control *control, const struct control_signed *given,
                           const struct credential *credential)
{
    char text[SIGNED_TEXT_MAX], wanted[SIGNED_HASH_SIZE];
    bool fits = false;
    for (unsigned i = 0; i < control->pin_count;
         i++) { /* of the key that is, and of the next one */
        if (!signed_request_text(&given->request, given->body_hash, control->pins[i], text))
            return false;
        if (!sign_text(credential->row.key, sizeof credential->row.key, text, wanted)) return false;
        fits |= gnutls_memcmp(wanted, given->request.signature, sizeof wanted) == 0;
    }
    return fits;
}

/* Only who holds the key is told whether the nonce is stale or the request was seen. */
enum status sign_check(struct control *control, const struct control_signed *given,
                       struct credential **ret_credential)
{
    struct credential *credential = credential_by_id(control, given->request.credential);
    if (!credential || credential->host->leaving) return STATUS_UNAUTHENTICATED;
    if (!signature_fits(control, given, credential)) return STATUS_UNAUTHENTICATED;
    if (!nonce_is_fresh(control, given->request.nonce)) return STATUS_NONCE_STALE;
    enum status status =
        seen_note(&credential->seen, given->request.request_id, rt_now(control->rt));
    if (status != STATUS_OK) return status;
    credential->used_ns = rt_wall(control->rt);
    *ret_credential = credential;
    return STATUS_OK;
}
