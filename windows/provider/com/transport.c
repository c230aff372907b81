#include "windows/provider/com/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windows/provider/com/bounded.h"
#include "windows/provider/com/http.h"

/* COMMIT_MS: all that Windows lets a commit take is ten seconds. */
enum { CALLS_MAX = 32, SIGN_TRIES = 3, CONNECTING_MS = 2000, COMMIT_MS = 4000 };

struct commit;

struct host_transport {
    struct transport transport;
    struct credential credential;
    HINTERNET session;
    CRITICAL_SECTION section;
    /* Under the section: */
    char nonce[SIGNED_NONCE_SIZE];         /* "" = none */
    unsigned address;                      /* that answered last */
    struct bounded *long_calls[CALLS_MAX]; /* whose wait interrupt may end */
    struct commit *commit;                 /* one set at a time; NULL: none is open */
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

/* The wait for a long call can be ended by interrupt, until it is unlisted. */
static void list_call(struct host_transport *t, struct bounded *call)
{
    EnterCriticalSection(&t->section);
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        if (t->long_calls[i]) continue;
        t->long_calls[i] = call;
        break;
    }
    LeaveCriticalSection(&t->section);
}

static void unlist_call(struct host_transport *t, struct bounded *call)
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
        if (t->long_calls[i]) bounded_interrupt(t->long_calls[i]);
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

/* In one piece: a second one would wait until the first is acknowledged. */
static bool send_both(struct http_call *call, const char *line, const struct job *job)
{
    char *both = malloc(job->line_size + job->body_size);
    if (!both) return false;
    memcpy(both, line, job->line_size);
    memcpy(both + job->line_size, job->body, job->body_size);
    bool ok = http_send(call, both, job->line_size + job->body_size);
    free(both);
    return ok;
}

/* Sends one signed request; false: nothing was carried out, and it may be tried again. */
static bool send_job(struct host_transport *t, struct job *job, unsigned address,
                     unsigned timeout_ms, struct http_call *call)
{
    char line[SIGNED_LINE_MAX];
    if (!begin(t, address, true, "/v1/signed", job->line_size + job->body_size, timeout_ms, call))
        return false;
    if (job_sign(t, job, call->pin, line) && send_both(call, line, job)) return true;
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
    reply->http = http_receive(&call);
    if (reply->http && !http_read(&call, reply, nonce)) reply->http = 0;
    if (reply->http) set_nonce(t, nonce, address);
    http_end(&call);
    return !is_stale(reply);
}

/* One exchange on its worker. */
struct exchange_job {
    struct bounded job;
    struct host_transport *t;
    struct api_request request;
    struct api_reply reply;
};

static void exchange_run(struct bounded *job)
{
    struct exchange_job *e = (struct exchange_job *)job;
    for (unsigned i = 0; i < SIGN_TRIES; i++) {
        api_reply_fini(&e->reply);
        if (try_exchange(e->t, &e->request, &e->reply)) return;
    }
}

static void exchange_free(struct bounded *job)
{
    struct exchange_job *e = (struct exchange_job *)job;
    api_request_fini(&e->request);
    api_reply_fini(&e->reply);
    free(e);
}

static struct exchange_job *exchange_create(struct host_transport *t,
                                            const struct api_request *request)
{
    struct exchange_job *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->t = t;
    e->request = *request;
    e->request.body = request->body ? _strdup(request->body) : NULL;
    if (request->body && !e->request.body) {
        free(e);
        return NULL;
    }
    return bounded_start(&e->job, exchange_run, exchange_free) ? e : NULL;
}

static void exchange(struct transport *transport, const struct api_request *request,
                     struct api_reply *ret_reply)
{
    struct host_transport *t = host_of(transport);
    struct exchange_job *e = exchange_create(t, request);
    api_reply_fini(ret_reply);
    if (!e) return;
    bool is_long = request->timeout_ms > API_SHORT_MS;
    if (is_long) list_call(t, &e->job);
    if (bounded_wait(&e->job, request->timeout_ms + CONNECTING_MS)) {
        *ret_reply = e->reply;
        e->reply = (struct api_reply){0};
    }
    if (is_long) unlist_call(t, &e->job);
    bounded_leave(&e->job);
}

/* ---- The commit channel ---------------------------------------------------------------------- */

/* Its worker opens it, waits for the word, and then writes the line and reads the status.  So a
 * commit can be given up in time, whatever it hangs on. */
struct commit {
    struct bounded job;
    struct host_transport *t;
    struct api_request request;
    HANDLE opened, go; /* opened: or it could not be */
    volatile LONG is_open, is_wanted;
    struct http_call call;
    char line[SIGNED_LINE_MAX];
    unsigned http;
};

static bool commit_connect(struct commit *c)
{
    struct host_transport *t = c->t;
    struct job job;
    char nonce[SIGNED_NONCE_SIZE];
    unsigned address;
    get_nonce(t, nonce, &address); /* arm's answer had one */
    if ((!nonce[0] && !fetch_nonce(t, nonce, &address)) || !job_init(t, &c->request, nonce, &job))
        return false;
    return begin(t, address, true, "/v1/signed", job.line_size, c->request.timeout_ms, &c->call) &&
           job_sign(t, &job, c->call.pin, c->line);
}

static void commit_run(struct bounded *job)
{
    struct commit *c = (struct commit *)job;
    bool is_open = commit_connect(c);
    InterlockedExchange(&c->is_open, is_open);
    SetEvent(c->opened);
    if (is_open) WaitForSingleObject(c->go, INFINITE);
    if (is_open && c->is_wanted && http_send(&c->call, c->line, strlen(c->line)))
        c->http = http_receive(&c->call);
}

static void commit_free(struct bounded *job)
{
    struct commit *c = (struct commit *)job;
    http_end(&c->call);
    if (c->opened) CloseHandle(c->opened);
    if (c->go) CloseHandle(c->go);
    free(c);
}

/* The commit that is open, with a hold on it of the caller's; `is_taken`: and it is open no more. */
static struct commit *commit_of(struct host_transport *t, bool is_taken)
{
    EnterCriticalSection(&t->section);
    struct commit *c = t->commit;
    if (is_taken) t->commit = NULL;
    if (c && !is_taken) bounded_enter(&c->job);
    LeaveCriticalSection(&t->section);
    return c;
}

static void commit_close(struct transport *transport)
{
    struct commit *c = commit_of(host_of(transport), true);
    if (!c) return;
    SetEvent(c->go); /* what was not wanted until now is not sent */
    bounded_leave(&c->job);
}

static bool commit_open(struct transport *transport, const struct api_request *request)
{
    struct host_transport *t = host_of(transport);
    commit_close(transport);
    struct commit *c = calloc(1, sizeof *c);
    if (!c) return false;
    c->t = t;
    c->request = *request;
    c->request.body = NULL; /* of a commit nothing is asked but that it be done */
    c->opened = CreateEventW(NULL, TRUE, FALSE, NULL);
    c->go = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!c->opened || !c->go) {
        commit_free(&c->job);
        return false;
    }
    if (!bounded_start(&c->job, commit_run, commit_free)) return false;
    EnterCriticalSection(&t->section);
    t->commit = c;
    LeaveCriticalSection(&t->section);
    WaitForSingleObject(c->opened, request->timeout_ms);
    if (InterlockedCompareExchange(&c->is_open, 1, 1)) return true;
    commit_close(transport);
    return false;
}

static unsigned commit_send(struct transport *transport)
{
    struct commit *c = commit_of(host_of(transport), false);
    if (!c) return 0;
    InterlockedExchange(&c->is_wanted, 1);
    SetEvent(c->go);
    unsigned http = bounded_wait(&c->job, COMMIT_MS) ? c->http : 0;
    bounded_leave(&c->job);
    return http;
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
