#include "windows/provider/com/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windows/provider/com/http.h"

enum { CALLS_MAX = 32, SIGN_TRIES = 3 };

struct host_transport {
    struct transport transport;
    struct credential credential;
    HINTERNET session;
    CRITICAL_SECTION section;
    /* Under the section: */
    char nonce[SIGNED_NONCE_SIZE];           /* "" = none */
    unsigned address;                        /* that answered last */
    struct http_call *long_calls[CALLS_MAX]; /* that interrupt may end */
    /* The commit channel: one set at a time. */
    struct http_call commit;
    char commit_line[SIGNED_LINE_MAX];
    bool is_commit_open;
};

static struct host_transport *host_of(struct transport *t)
{
    return (struct host_transport *)(void *)((char *)t -
                                             offsetof(struct host_transport, transport));
}

/* ---- What both threads may touch ------------------------------------------------------------- */

static void get_nonce(struct host_transport *t, char nonce[SIGNED_NONCE_SIZE],
                      unsigned *ret_address)
{
    EnterCriticalSection(&t->section);
    memcpy(nonce, t->nonce, SIGNED_NONCE_SIZE);
    *ret_address = t->address;
    LeaveCriticalSection(&t->section);
}

static void set_nonce(struct host_transport *t, const char *nonce, unsigned address)
{
    EnterCriticalSection(&t->section);
    if (strlen(nonce) == SIGNED_NONCE_SIZE - 1) memcpy(t->nonce, nonce, SIGNED_NONCE_SIZE);
    t->address = address;
    LeaveCriticalSection(&t->section);
}

/* A long call can be ended by interrupt, until it is unlisted. */
static void list_call(struct host_transport *t, struct http_call *call)
{
    EnterCriticalSection(&t->section);
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        if (t->long_calls[i]) continue;
        t->long_calls[i] = call;
        break;
    }
    LeaveCriticalSection(&t->section);
}

static void unlist_call(struct host_transport *t, struct http_call *call)
{
    EnterCriticalSection(&t->section);
    for (unsigned i = 0; i < CALLS_MAX; i++)
        if (t->long_calls[i] == call) t->long_calls[i] = NULL;
    LeaveCriticalSection(&t->section);
}

static void interrupt(struct transport *transport)
{
    struct host_transport *t = host_of(transport);
    EnterCriticalSection(&t->section);
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        if (!t->long_calls[i]) continue;
        /* The handle's end ends what waits on it; the connection is its owner's to close. */
        if (t->long_calls[i]->request) WinHttpCloseHandle(t->long_calls[i]->request);
        t->long_calls[i]->request = NULL;
        t->long_calls[i] = NULL;
    }
    LeaveCriticalSection(&t->section);
}

/* ---- Signing --------------------------------------------------------------------------------- */

struct job {
    struct signed_request line;
    char hash[SIGNED_HASH_SIZE];
    const char *body;
    size_t line_size, body_size;
};

/* All but the signature, which has the same length for every key. */
static bool job_init(struct host_transport *t, const struct api_request *request, const char *nonce,
                     struct job *job)
{
    char text[SIGNED_LINE_MAX];
    *job = (struct job){.body = request->body ? request->body : ""};
    job->body_size = strlen(job->body);
    snprintf(job->line.credential, sizeof job->line.credential, "%s", t->credential.id);
    snprintf(job->line.nonce, sizeof job->line.nonce, "%s", nonce);
    snprintf(job->line.idempotency_key, sizeof job->line.idempotency_key, "-");
    snprintf(job->line.method, sizeof job->line.method, "%s", request->method);
    snprintf(job->line.path, sizeof job->line.path, "%s", request->path);
    memset(job->line.signature, '0', SIGNED_HASH_SIZE - 1);
    if (!crypto_random_hex(job->line.request_id, sizeof job->line.request_id) ||
        !crypto_sha256(job->body, job->body_size, job->hash) ||
        !signed_request_write(&job->line, text))
        return false;
    job->line_size = strlen(text);
    return true;
}

static bool job_sign(struct host_transport *t, struct job *job, const char *pin,
                     char line[SIGNED_LINE_MAX])
{
    char text[SIGNED_TEXT_MAX];
    return signed_request_text(&job->line, job->hash, pin, text) &&
           crypto_hmac(t->credential.key, text, job->line.signature) &&
           signed_request_write(&job->line, line);
}

static bool begin(struct host_transport *t, unsigned address, bool is_post, const char *path,
                  size_t size, unsigned timeout_ms, struct http_call *call)
{
    const char *pins[ENROL_PINS_MAX];
    for (unsigned i = 0; i < t->credential.pin_count; i++)
        pins[i] = t->credential.pins[i];
    return http_begin(t->session, t->credential.addresses[address], pins, t->credential.pin_count,
                      is_post, path, size, timeout_ms, call);
}

/* The first address that answers, beginning with the one that did last.  Any nonce will do, it is
 * no secret. */
static bool fetch_nonce(struct host_transport *t, char nonce[SIGNED_NONCE_SIZE],
                        unsigned *ret_address)
{
    for (unsigned i = 0; i < t->credential.address_count; i++) {
        unsigned address = (*ret_address + i) % t->credential.address_count;
        struct http_call call;
        struct api_reply reply = {0};
        struct json value;
        if (!begin(t, address, false, "/v1/nonce", 0, 2000, &call)) continue;
        bool ok = http_receive(&call) == 200 && http_read(&call, &reply, NULL) &&
                  json_parse(reply.body ? reply.body : "", reply.size, &value) &&
                  json_text_member(value, "nonce", nonce, SIGNED_NONCE_SIZE);
        http_end(&call);
        api_reply_fini(&reply);
        if (!ok) continue;
        set_nonce(t, nonce, address);
        *ret_address = address;
        return true;
    }
    return false;
}

/* ---- Exchanges ------------------------------------------------------------------------------- */

/* Sends one signed request; false: nothing was carried out, and it may be tried again. */
static bool send_job(struct host_transport *t, struct job *job, unsigned address,
                     unsigned timeout_ms, struct http_call *call)
{
    char line[SIGNED_LINE_MAX];
    if (!begin(t, address, true, "/v1/signed", job->line_size + job->body_size, timeout_ms, call))
        return false;
    if (job_sign(t, job, call->pin, line) && http_send(call, line, job->line_size) &&
        (job->body_size == 0 || http_send(call, job->body, job->body_size)))
        return true;
    http_end(call);
    return false;
}

static bool is_stale(const struct api_reply *reply)
{
    struct json value, error;
    char status[32];
    return reply->http == 401 && reply->body && json_parse(reply->body, reply->size, &value) &&
           json_member(value, "error", &error) &&
           json_text_member(error, "status", status, sizeof status) &&
           strcmp(status, "NONCE_STALE") == 0;
}

/* One try.  true: that was the answer, or there will be none. */
static bool try_exchange(struct host_transport *t, const struct api_request *request,
                         struct api_reply *reply)
{
    struct http_call call;
    struct job job;
    char nonce[SIGNED_NONCE_SIZE];
    unsigned address;
    get_nonce(t, nonce, &address);
    if (!nonce[0] && !fetch_nonce(t, nonce, &address)) return true;
    if (!job_init(t, request, nonce, &job)) return true;
    if (!send_job(t, &job, address, request->timeout_ms, &call)) {
        set_nonce(t, "", (address + 1) % t->credential.address_count);
        EnterCriticalSection(&t->section);
        t->nonce[0] = '\0'; /* another address is another server, perhaps */
        LeaveCriticalSection(&t->section);
        return false;
    }
    bool is_long = request->timeout_ms > API_SHORT_MS;
    if (is_long) list_call(t, &call);
    reply->http = http_receive(&call);
    if (is_long) unlist_call(t, &call);
    if (reply->http && !http_read(&call, reply, nonce)) reply->http = 0;
    if (reply->http) set_nonce(t, nonce, address);
    http_end(&call);
    return !is_stale(reply);
}

static void exchange(struct transport *transport, const struct api_request *request,
                     struct api_reply *ret_reply)
{
    struct host_transport *t = host_of(transport);
    for (unsigned i = 0; i < SIGN_TRIES; i++) {
        api_reply_fini(ret_reply);
        if (try_exchange(t, request, ret_reply)) return;
    }
}

/* ---- The commit channel ---------------------------------------------------------------------- */

static bool commit_open(struct transport *transport, const struct api_request *request)
{
    struct host_transport *t = host_of(transport);
    struct job job;
    char nonce[SIGNED_NONCE_SIZE];
    unsigned address;
    struct api_request empty = *request;
    empty.body = NULL; /* of a commit nothing is asked but that it be done */
    transport->commit_close(transport);
    get_nonce(t, nonce, &address); /* arm's answer had one */
    if ((!nonce[0] && !fetch_nonce(t, nonce, &address)) || !job_init(t, &empty, nonce, &job))
        return false;
    if (!begin(t, address, true, "/v1/signed", job.line_size, request->timeout_ms, &t->commit))
        return false;
    if (!job_sign(t, &job, t->commit.pin, t->commit_line)) {
        http_end(&t->commit);
        return false;
    }
    t->is_commit_open = true;
    return true;
}

static unsigned commit_send(struct transport *transport)
{
    struct host_transport *t = host_of(transport);
    if (!t->is_commit_open || !http_send(&t->commit, t->commit_line, strlen(t->commit_line)))
        return 0;
    return http_receive(&t->commit);
}

static void commit_close(struct transport *transport)
{
    struct host_transport *t = host_of(transport);
    if (t->is_commit_open) http_end(&t->commit);
    t->is_commit_open = false;
}

struct transport *transport_create(const struct credential *credential)
{
    struct host_transport *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->session = http_session();
    if (!t->session) {
        free(t);
        return NULL;
    }
    InitializeCriticalSection(&t->section);
    t->credential = *credential;
    t->transport = (struct transport){exchange, commit_open, commit_send, commit_close, interrupt};
    return &t->transport;
}
