/*
 * transport_curl.c - transport.h over libcurl.
 *
 * With a pin, the server's public key is its identity: the chain and the name in the certificate
 * are not looked at (the server signed it itself), the key must be the pinned one, and it is
 * checked in the TLS handshake, before the token is sent.
 *
 * Of several addresses the one that answered last is asked first.  The next is tried only where
 * nothing of the request was sent, so that nothing is ever done twice.
 */
#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/check.h"
#include "base/text.h"
#include "client/transport.h"

enum { CONNECT_TIMEOUT_MS = 5000, FIRST_CAPACITY = 64 * 1024, SERVERS_MAX = 9 };

struct transport_curl {
    struct transport base;
    CURL *easy;
    struct curl_slist *headers;
    char *servers[SERVERS_MAX], *urls[SERVERS_MAX]; /* urls: of the request that is prepared */
    unsigned server_count, at;                      /* at: the one that answered last */
    char *authorization, *body;
    long timeout_ms;
    size_t capacity;
    char curl_error[CURL_ERROR_SIZE];
};

static struct transport_curl *curl_of(struct transport *transport)
{
    return container_of(transport, struct transport_curl, base);
}

/* Curl hands over pieces; they are gathered in one terminated block. */
static size_t answer_arrived(char *data, size_t size, size_t count, void *arg)
{
    struct transport_curl *t = arg;
    size_t bytes = size * count;
    size_t need = t->base.answer_bytes + bytes + 1;
    if (need > TRANSPORT_ANSWER_MAX) return 0;
    if (need > t->capacity) {
        size_t capacity = max_of(need, t->capacity * 2);
        char *larger = realloc(t->base.answer, capacity);
        if (!larger) return 0;
        t->base.answer = larger;
        t->capacity = capacity;
    }
    memcpy(t->base.answer + t->base.answer_bytes, data, bytes);
    t->base.answer_bytes += bytes;
    t->base.answer[t->base.answer_bytes] = '\0';
    return bytes;
}

static size_t header_arrived(char *data, size_t size, size_t count, void *arg)
{
    static const char name[] = "Tarn-Nonce:";
    struct transport_curl *t = arg;
    size_t bytes = size * count, at = sizeof name - 1;
    if (bytes <= at || strncasecmp(data, name, at) != 0) return bytes;
    while (at < bytes && data[at] == ' ')
        at++;
    if (bytes - at < sizeof t->base.nonce - 1) return bytes;
    memcpy(t->base.nonce, data + at, sizeof t->base.nonce - 1);
    t->base.nonce[sizeof t->base.nonce - 1] = '\0';
    return bytes;
}

static bool add_header(struct curl_slist **headers, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*headers, line);
    if (!longer) return false;
    *headers = longer;
    return true;
}

static struct err *set_headers(struct transport_curl *t, const struct transport_request *request)
{
    struct curl_slist *headers = NULL;
    char key[160];
    bool ok = add_header(&headers, "Accept: application/json") && add_header(&headers, "Expect:");
    if (ok && t->authorization) ok = add_header(&headers, t->authorization);
    if (ok && request->body) ok = add_header(&headers, "Content-Type: application/json");
    if (ok && request->idempotency_key) {
        snprintf(key, sizeof key, "Idempotency-Key: %s", request->idempotency_key);
        ok = add_header(&headers, key);
    }
    if (!ok) {
        curl_slist_free_all(headers);
        return err_new(STATUS_NO_MEMORY, "prepare a request");
    }
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, headers);
    curl_slist_free_all(t->headers);
    t->headers = headers;
    return NULL;
}

static struct err *set_urls(struct transport_curl *t, const char *path)
{
    for (unsigned i = 0; i < t->server_count; i++) {
        free(take_ptr(&t->urls[i]));
        if (asprintf(&t->urls[i], "%s%s", t->servers[i], path) < 0) {
            t->urls[i] = NULL;
            return err_new(STATUS_NO_MEMORY, "prepare a request");
        }
    }
    return NULL;
}

static struct err *curl_prepare(struct transport *transport,
                                const struct transport_request *request)
{
    struct transport_curl *t = curl_of(transport);
    TRY(set_urls(t, request->path));
    TRY(set_headers(t, request));
    free(t->body);
    t->body = request->body ? strdup(request->body) : NULL;
    if (request->body && !t->body) return err_new(STATUS_NO_MEMORY, "prepare a request");

    CURLcode c = curl_easy_setopt(t->easy, CURLOPT_URL, t->urls[t->at]);
    curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
    if (t->body) {
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(t->body));
    } else if (strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, "");
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
    }
    if (c == CURLE_OK) c = curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, request->method);
    t->timeout_ms = (long)request->timeout_ms;
    curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, t->timeout_ms);
    t->base.answer_bytes = 0;
    t->base.answer[0] = '\0';
    t->base.http_status = 0;
    t->base.nonce[0] = '\0';
    t->base.error_text[0] = '\0';
    if (c != CURLE_OK) return err_new(STATUS_NO_MEMORY, "prepare a request");
    return NULL;
}

/* What a person needs to know of curl's many codes. */
static enum status status_of_curl(CURLcode c, const struct transport_curl *t)
{
    if (c == CURLE_OPERATION_TIMEDOUT) {
        long sent = 0; /* bytes of the request */
        curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent);
        return sent > 0 ? STATUS_TIMED_OUT : STATUS_UNREACHABLE;
    }
    if (c == CURLE_SSL_PINNEDPUBKEYNOTMATCH || c == CURLE_PEER_FAILED_VERIFICATION) {
        return STATUS_UNAUTHENTICATED;
    }
    if (c == CURLE_OUT_OF_MEMORY) return STATUS_NO_MEMORY;
    return STATUS_UNREACHABLE;
}

static enum status curl_fire_once(struct transport_curl *t)
{
    t->curl_error[0] = '\0';
    CURLcode c = curl_easy_perform(t->easy);
    long code = 0, connects = 0;
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    t->base.connection_reused = c == CURLE_OK && connects == 0;
    if (c != CURLE_OK) {
        const char *why = t->curl_error[0] ? t->curl_error : curl_easy_strerror(c);
        if (c == CURLE_SSL_PINNEDPUBKEYNOTMATCH) why = "its key is not the one that was pinned";
        snprintf(t->base.error_text, sizeof t->base.error_text, "%s", why);
        return status_of_curl(c, t);
    }
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
    t->base.http_status = (int)code;
    return STATUS_OK;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Another machine may have the address by now (its key is not the pinned one): that is no answer. */
static bool was_not_sent(const struct transport_curl *t, enum status status)
{
    long sent = 0;
    curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent);
    return sent == 0 && (status == STATUS_UNREACHABLE || status == STATUS_UNAUTHENTICATED);
}

static enum status curl_fire(struct transport *transport)
{
    struct transport_curl *t = curl_of(transport);
    long started_ms = now_ms();
    unsigned first = t->at;
    enum status status = curl_fire_once(t), worst = status;
    while (status != STATUS_OK && was_not_sent(t, status)) {
        unsigned next = (t->at + 1) % t->server_count;
        long left_ms = t->timeout_ms - (now_ms() - started_ms);
        if (next == first || left_ms <= 0) break;
        t->at = next;
        curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, left_ms);
        if (curl_easy_setopt(t->easy, CURLOPT_URL, t->urls[next]) != CURLE_OK)
            return STATUS_NO_MEMORY;
        status = curl_fire_once(t);
        if (status == STATUS_UNAUTHENTICATED) worst = status;
    }
    if (status == STATUS_OK || !was_not_sent(t, status)) return status;
    t->at = 0;
    if (t->server_count > 1) {
        size_t used = strlen(t->base.error_text);
        snprintf(t->base.error_text + used, sizeof t->base.error_text - used,
                 " (nor do its %u other addresses do)", t->server_count - 1);
    }
    return worst;
}

static void curl_destroy(struct transport *transport)
{
    struct transport_curl *t = curl_of(transport);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    for (unsigned i = 0; i < SERVERS_MAX; i++) {
        free(t->servers[i]);
        free(t->urls[i]);
    }
    free(t->authorization);
    free(t->body);
    free(t->base.answer);
    free(t);
}

static const struct transport_ops curl_ops = {curl_prepare, curl_fire, curl_destroy};

static void encode_base64(const uint8_t *data, size_t size_bytes, char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t i = 0;
    for (; i < size_bytes; i += 3) {
        size_t left = size_bytes - i;
        uint32_t v = (uint32_t)data[i] << 16;
        if (left > 1) v |= (uint32_t)data[i + 1] << 8;
        if (left > 2) v |= data[i + 2];
        *text++ = digits[v >> 18 & 63];
        *text++ = digits[v >> 12 & 63];
        *text++ = left > 1 ? digits[v >> 6 & 63] : '=';
        *text++ = left > 2 ? digits[v & 63] : '=';
    }
    *text = '\0';
}

static struct err *set_pins(struct transport_curl *t, const struct transport_options *options)
{
    enum { PIN_BYTES = 32, ONE_PIN_TEXT = 64, PINS_MAX = 4 };
    char text[PINS_MAX * ONE_PIN_TEXT];
    size_t used = 0;
    if (options->pin_count == 0) return NULL;
    if (options->pin_count > PINS_MAX)
        return err_new(STATUS_BAD_CONFIG, "more than %d pins", PINS_MAX);
    for (unsigned i = 0; i < options->pin_count; i++) {
        uint8_t pin[PIN_BYTES];
        char encoded[48];
        if (strlen(options->pins[i]) != 2 * PIN_BYTES ||
            !text_parse_hex(options->pins[i], pin, sizeof pin)) {
            return err_new(STATUS_BAD_CONFIG, "pin \"%s\" is not 64 hexadecimal digits",
                           options->pins[i]);
        }
        encode_base64(pin, sizeof pin, encoded);
        int wrote =
            snprintf(text + used, sizeof text - used, "%ssha256//%s", used ? ";" : "", encoded);
        check(wrote > 0 && (size_t)wrote < sizeof text - used);
        used += (size_t)wrote;
    }
    /* The pin is the identity; chain and name say nothing about a certificate the server signed
     * itself. */
    curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    /* Nor do the authorities that this machine trusts: more than a hundred files to be read and parsed. */
    curl_easy_setopt(t->easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(t->easy, CURLOPT_CAPATH, NULL);
    if (curl_easy_setopt(t->easy, CURLOPT_PINNEDPUBLICKEY, text) != CURLE_OK) {
        return err_new(STATUS_NOT_SUPPORTED, "this libcurl cannot pin a public key");
    }
    return NULL;
}

static struct err *add_server(struct transport_curl *t, const char *server)
{
    if (strncmp(server, "https://", 8) != 0) {
        return err_next(
            err_new(STATUS_BAD_CONFIG, "server \"%s\" is not an https:// address", server),
            "write it as https://HOST:PORT; a token never travels in clear text");
    }
    if (t->server_count == SERVERS_MAX)
        return err_new(STATUS_BAD_CONFIG, "more than %d addresses", SERVERS_MAX);
    char *copy = strdup(server);
    if (!copy) return err_new(STATUS_NO_MEMORY, "make a client");
    size_t length = strlen(copy);
    while (length > 0 && copy[length - 1] == '/')
        copy[--length] = '\0';
    t->servers[t->server_count++] = copy;
    return NULL;
}

static struct err *set_up(struct transport_curl *t, const struct transport_options *options)
{
    TRY(add_server(t, options->server));
    for (unsigned i = 0; i < options->other_count; i++)
        TRY(add_server(t, options->others[i]));
    t->easy = curl_easy_init();
    t->base.answer = malloc(FIRST_CAPACITY);
    t->capacity = FIRST_CAPACITY;
    if (options->token &&
        asprintf(&t->authorization, "Authorization: Bearer %s", options->token) < 0) {
        t->authorization = NULL;
        return err_new(STATUS_NO_MEMORY, "make a client");
    }
    if (!t->easy || !t->base.answer) return err_new(STATUS_NO_MEMORY, "make a client");
    t->base.answer[0] = '\0';

    curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(t->easy, CURLOPT_PROXY, ""); /* never by a proxy named in the environment */
    curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(t->easy, CURLOPT_USERAGENT, "tarn");
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->curl_error);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, answer_arrived);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, header_arrived);
    curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    return set_pins(t, options);
}

struct err *transport_curl_create(const struct transport_options *options,
                                  struct transport **ret_transport)
{
    static bool curl_ready;
    if (!curl_ready && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return err_new(STATUS_NO_MEMORY, "start libcurl");
    }
    curl_ready = true;
    struct transport_curl *t = calloc(1, sizeof *t);
    if (!t) return err_new(STATUS_NO_MEMORY, "make a client");
    t->base.ops = &curl_ops;
    struct err *e = set_up(t, options);
    if (e) {
        curl_destroy(&t->base);
        return e;
    }
    *ret_transport = &t->base;
    return NULL;
}
