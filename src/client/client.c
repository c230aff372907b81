/*
 * client.c - calls, answers and errors of the control API (client.h).
 */
#include "client/client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/check.h"
#include "base/text.h"
#include "base/uuid.h"
#include "client/sign.h"

struct client {
    struct transport *transport;
    char *server;
    unsigned timeout_ms;
    enum status fired; /* what the last fire said */
    bool signs;
    struct sign_identity identity;
    unsigned pin_count, pin; /* which of them is signed for */
    char pins[CLIENT_PINS_MAX][SIGNED_HASH_SIZE];
    char nonce[SIGNED_NONCE_SIZE]; /* from the last answer */
    uint64_t nonce_ms;
};

enum { JOB_WAIT_S = 10, SEGMENT_GROWTH = 3, NONCE_FRESH_MS = 60 * 1000 };

struct err *client_create(struct transport *transport, const char *server,
                          struct client **ret_client)
{
    struct client *client = calloc(1, sizeof *client);
    if (client) client->server = strdup(server);
    if (!client || !client->server) {
        free(client);
        transport_destroy(transport);
        return err_new(STATUS_NO_MEMORY, "make a client");
    }
    client->transport = transport;
    client->timeout_ms = CLIENT_TIMEOUT_MS;
    *ret_client = client;
    return NULL;
}

static struct err *take_identity(struct client *client, const struct client_config *config)
{
    struct sign_identity *identity = &client->identity;
    if (strlen(config->credential) != sizeof identity->credential - 1 ||
        strlen(config->key) != 2 * sizeof identity->key ||
        !text_parse_hex(config->key, identity->key, sizeof identity->key)) {
        return err_next(err_new(STATUS_BAD_CONFIG, "the host's credential is damaged"),
                        "enrol the host again: tarn host enrol HOST on the server, then tarn host"
                        " redeem here");
    }
    memcpy(identity->credential, config->credential, sizeof identity->credential);
    for (unsigned i = 0; i < config->pin_count; i++) {
        for (unsigned c = 0; c < SIGNED_HASH_SIZE; c++) /* pins are signed in lower case */
            client->pins[i][c] = (char)tolower((unsigned char)config->pins[i][c]);
    }
    client->pin_count = config->pin_count;
    client->signs = true;
    return NULL;
}

struct err *client_open(const struct client_config *config, struct client **ret_client)
{
    struct transport_options options = {
        .server = config->server,
        .others = (const char *const *)config->others,
        .other_count = config->other_count,
        .pins = (const char *const *)config->pins,
        .pin_count = config->pin_count,
        .token = config->token,
    };
    struct transport *transport;
    TRY(transport_curl_create(&options, &transport));
    TRY(client_create(transport, config->server, ret_client));
    if (!config->credential) return NULL;
    struct err *e = take_identity(*ret_client, config);
    if (e) client_destroy(take_ptr(ret_client));
    return e;
}

void client_destroy(struct client *client)
{
    if (!client) return;
    transport_destroy(client->transport);
    free(client->server);
    explicit_bzero(client, sizeof *client);
    free(client);
}

void client_set_timeout(struct client *client, unsigned timeout_ms)
{
    client->timeout_ms = timeout_ms;
}

char *client_encode_segment(const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *encoded = malloc(strlen(text) * SEGMENT_GROWTH + 1), *at = encoded;
    if (!encoded) return NULL;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-_~", c) || (c == '.' && text[1] != '\0' && text[1] != '.')) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    }
    *at = '\0';
    return encoded;
}

/* ---- Errors ---- */

static enum status status_of_text(const char *text, int http_status)
{
    char name[64];
    snprintf(name, sizeof name, "%s", text);
    for (char *at = name; *at; at++) {
        *at = (char)(*at == '-' || *at == ' ' ? '_' : toupper((unsigned char)*at));
    }
    enum status status = status_from_name(name);
    if (status != STATUS_INTERNAL && status != STATUS_OK) return status;
    /* A name that this client does not know yet: its HTTP code still says what kind it is. */
    switch (http_status) {
    case 400:
        return STATUS_BAD_REQUEST;
    case 401:
        return STATUS_UNAUTHENTICATED;
    case 403:
        return STATUS_DENIED;
    case 404:
        return STATUS_NOT_FOUND;
    case 409:
        return STATUS_CONFLICT;
    case 501:
        return STATUS_NOT_SUPPORTED;
    case 503:
        return STATUS_AGAIN;
    case 504:
        return STATUS_TIMED_OUT;
    default:
        return STATUS_INTERNAL;
    }
}

struct err *client_error_of(const json_t *error, int http_status)
{
    const char *name = json_string_value(json_object_get(error, "status"));
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *next = json_string_value(json_object_get(error, "next"));
    const json_t *causes = json_object_get(error, "causes");
    enum status status = status_of_text(name ? name : "", http_status);
    size_t count = json_array_size(causes);
    struct err *e = NULL;
    for (size_t i = count; i > 0; i--) {
        const char *cause = json_string_value(json_array_get(causes, i - 1));
        if (!cause) continue;
        e = e ? err_wrap(e, "%s", cause) : err_new(status, "%s", cause);
    }
    if (!message || !message[0]) message = e ? NULL : status_text(status);
    if (message) e = e ? err_wrap(e, "%s", message) : err_new(status, "%s", message);
    if (next && next[0]) e = err_next(e, "%s", next);
    return e;
}

static struct err *transport_error(const struct client *client)
{
    const char *why = client->transport->error_text;
    struct err *e =
        err_new(client->fired, "%s: %s", client->server, why[0] ? why : status_text(client->fired));
    if (client->fired == STATUS_UNREACHABLE) {
        return err_next(e, "see whether tarnd runs and whether this address reaches it");
    }
    if (client->fired == STATUS_TIMED_OUT) {
        return err_next(
            e, "the server may still be at it: look at it with the list and show commands");
    }
    if (client->fired == STATUS_UNAUTHENTICATED) {
        return err_next(
            e, "this may be another server than the one of the configuration, or its key was "
               "renewed: take client.json from the server again");
    }
    return e;
}

static struct err *http_error(const struct client *client)
{
    const struct transport *t = client->transport;
    json_t *root = json_loadb(t->answer, t->answer_bytes, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    struct err *e;
    if (json_is_object(error)) {
        e = client_error_of(error, t->http_status);
    } else {
        e = err_new(status_of_text("", t->http_status), "%s answered with HTTP code %d",
                    client->server, t->http_status);
    }
    json_decref(root);
    if (t->http_status == 401 && !err_next_text(e)) {
        e = err_next(e, "the token of the configuration is not known to the server (revoked, or of "
                        "another server)");
    }
    return e;
}

/* ---- Calls ---- */

static void draw_key(char text[UUID_TEXT_SIZE])
{
    uint8_t random[16];
    check(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    struct uuid uuid = uuid_from_random(random);
    uuid_format(&uuid, text);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The nonce of the last answer will do for a while; else one is asked for. */
static struct err *get_nonce(struct client *client)
{
    struct transport *t = client->transport;
    if (client->nonce[0] != '\0' && now_ms() - client->nonce_ms < NONCE_FRESH_MS) return NULL;
    struct transport_request request = {
        .method = "GET", .path = "/v1/nonce", .timeout_ms = client->timeout_ms};
    TRY(t->ops->prepare(t, &request));
    client_fire(client, NULL);
    TRY(client_outcome(client, NULL));
    if (client->nonce[0] != '\0') return NULL;
    return err_new(STATUS_INTERNAL, "%s answered without a nonce", client->server);
}

static struct err *prepare_signed(struct client *client, const char *method, const char *path,
                                  const char *body, unsigned timeout_ms)
{
    char key[UUID_TEXT_SIZE];
    auto_free char *signed_body = NULL;
    bool changes = strcmp(method, "GET") != 0;
    if (changes) draw_key(key);
    TRY(get_nonce(client));
    struct sign_what what = {.method = method,
                             .path = path,
                             .body = body,
                             .idempotency_key = changes ? key : NULL,
                             .nonce = client->nonce,
                             .pin = client->pins[client->pin]};
    TRY(sign_request(&client->identity, &what, &signed_body));
    struct transport_request request = {
        .method = "POST", .path = "/v1/signed", .body = signed_body, .timeout_ms = timeout_ms};
    client->fired = STATUS_UNREACHABLE;
    return client->transport->ops->prepare(client->transport, &request);
}

struct err *client_prepare(struct client *client, const char *method, const char *path,
                           const json_t *body, unsigned timeout_ms)
{
    char key[UUID_TEXT_SIZE];
    auto_free char *text = NULL;
    if (body) {
        text = json_dumps(body, JSON_COMPACT);
        if (!text) return err_new(STATUS_NO_MEMORY, "write a request");
    }
    if (client->signs) return prepare_signed(client, method, path, text, timeout_ms);
    bool changes = strcmp(method, "GET") != 0;
    if (changes) draw_key(key);
    struct transport_request request = {
        .method = method,
        .path = path,
        .body = text,
        .idempotency_key = changes ? key : NULL,
        .timeout_ms = timeout_ms,
    };
    client->fired = STATUS_UNREACHABLE;
    /* The transport copies the request (transport.h). */
    // cppcheck-suppress returnDanglingLifetime
    return client->transport->ops->prepare(client->transport, &request);
}

bool client_fire(struct client *client, bool *ret_connection_reused)
{
    client->fired = client->transport->ops->fire(client->transport);
    if (ret_connection_reused) *ret_connection_reused = client->transport->connection_reused;
    int code = client->transport->http_status;
    if (client->signs && client->transport->nonce[0] != '\0') {
        memcpy(client->nonce, client->transport->nonce, sizeof client->nonce);
        client->nonce_ms = now_ms();
    }
    return client->fired == STATUS_OK && code >= 200 && code < 300;
}

struct err *client_outcome(struct client *client, json_t **ret_answer)
{
    const struct transport *t = client->transport;
    if (client->fired != STATUS_OK) return transport_error(client);
    if (t->http_status < 200 || t->http_status >= 300) return http_error(client);
    if (!ret_answer) return NULL;
    json_error_t where;
    json_t *answer =
        t->answer_bytes == 0 ? json_object() : json_loadb(t->answer, t->answer_bytes, 0, &where);
    if (!answer) {
        return err_new(STATUS_INTERNAL, "%s answered with something that is not JSON: %s",
                       client->server, where.text);
    }
    *ret_answer = answer;
    return NULL;
}

static struct err *call_once(struct client *client, const char *method, const char *path,
                             const json_t *body, json_t **ret_answer)
{
    TRY(client_prepare(client, method, path, body, client->timeout_ms));
    client_fire(client, NULL);
    return client_outcome(client, ret_answer);
}

struct err *client_call(struct client *client, const char *method, const char *path,
                        const json_t *body, json_t **ret_answer)
{
    struct err *e = call_once(client, method, path, body, ret_answer);
    if (!client->signs || !e) return e;
    /* Nothing was done: the server was restarted, or it has a new key that was announced. */
    bool stale = err_status(e) == STATUS_NONCE_STALE;
    bool other = err_status(e) == STATUS_UNAUTHENTICATED && client->pin_count > 1 &&
                 client->fired == STATUS_OK;
    if (!stale && !other) return e;
    if (other) client->pin = (client->pin + 1) % client->pin_count;
    err_free(e);
    return call_once(client, method, path, body, ret_answer);
}

/* ---- Jobs ---- */

/* Takes `job`; *ret_ended says whether it has ended. */
static struct err *look_at_job(json_t *job, bool *ret_ended, json_t **ret_job)
{
    const char *state = json_string_value(json_object_get(job, "state"));
    *ret_ended = false;
    if (!state) {
        json_decref(job);
        return err_new(STATUS_INTERNAL, "the server's answer about a job has no state");
    }
    if (strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0) {
        struct err *e = client_error_of(json_object_get(job, "error"), 500);
        json_decref(job);
        return e;
    }
    *ret_ended = strcmp(state, "done") == 0 || strcmp(state, "succeeded") == 0;
    if (*ret_ended && ret_job)
        *ret_job = job;
    else
        json_decref(job);
    return NULL;
}

struct err *client_wait_job(struct client *client, const char *job_name, uint64_t timeout_ms,
                            client_job_progress *progress, void *arg, json_t **ret_job)
{
    uint64_t started_ms = now_ms();
    auto_free char *name = client_encode_segment(job_name);
    if (!name) return err_new(STATUS_NO_MEMORY, "wait for a job");
    for (unsigned round = 0;; round++) {
        auto_free char *path = NULL;
        uint64_t gone_ms = now_ms() - started_ms, wait_s = progress ? 1 : JOB_WAIT_S;
        if (timeout_ms && gone_ms >= timeout_ms && round > 0) {
            return err_next(err_new(STATUS_TIMED_OUT, "job %s has not ended after %u s", job_name,
                                    (unsigned)(gone_ms / 1000)),
                            "it goes on; wait for it with: tarn job wait %s", job_name);
        }
        if (timeout_ms && timeout_ms - min_of(gone_ms, timeout_ms) < wait_s * 1000) wait_s = 1;
        if (asprintf(&path, "/v1/jobs/%s?wait=%u", name, (unsigned)wait_s) < 0) {
            path = NULL;
            return err_new(STATUS_NO_MEMORY, "wait for a job");
        }
        json_t *answer, *job = NULL;
        bool ended;
        TRY(client_call(client, "GET", path, NULL, &answer));
        job = json_object_get(answer, "job");
        job = json_incref(job ? job : answer);
        json_decref(answer);
        if (progress) progress(arg, job);
        TRY(look_at_job(job, &ended, ret_job));
        if (ended) return NULL;
        /* A server that does not honour ?wait must not be asked in a busy loop. */
        if (now_ms() - started_ms - gone_ms < 50)
            nanosleep(&(struct timespec){.tv_nsec = 200 * 1000 * 1000}, NULL);
    }
}
