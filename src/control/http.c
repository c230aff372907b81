#include "control/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "control/verbs.h"

enum { PATH_MAX_BYTES = 2048, CLOSE_POLL_MS = 5, BACKLOG = 64, ENROL_BODY_MAX = 4096 };

struct http {
    struct rt *rt;
    struct control *control;
    struct MHD_Daemon *daemon;
    int socket;
    char address[RT_ADDRESS_MAX];
    atomic_uint in_flight; /* requests between suspension and answer */
    atomic_bool closing;
    atomic_ulong requests, failures;
    struct rt_timer timer;
    void (*closed)(void *arg);
    void *closed_arg;
};

enum request_kind {
    REQUEST_VERB,
    REQUEST_METRICS,
    REQUEST_HEALTH,
    REQUEST_NONCE,
    REQUEST_ENROL,
    REQUEST_SIGNED,
};

struct request {
    struct http *http;
    struct MHD_Connection *connection;
    enum request_kind kind;
    char path[PATH_MAX_BYTES], method[8];
    const struct verb *verb;
    json_t *arguments;
    char *body;
    size_t body_bytes;
    bool too_large, dispatched, authenticated, answered;
    struct err *refusal; /* found before the verb: told after the token was checked */
    char id[17];
    struct control_login login;
    struct control_signed signed_request;
    size_t inner_body; /* where the body inside begins */
    struct control_enrol enrol;
    struct control_call call;
    int http_status;
    char *answer;
    const char *content_type;
};

/* ---- Answers --------------------------------------------------------------------------------- */

static void answer_error(struct request *request, const struct err *e)
{
    json_t *failure = control_failure_json(e);
    json_object_set_new(failure, "request_id", json_string(request->id));
    json_t *json = json_pack("{s:o}", "error", failure);
    free(request->answer);
    request->answer = json_dumps(json, JSON_COMPACT);
    request->http_status = status_info(err_status(e))->http;
    json_decref(json);
    atomic_fetch_add(&request->http->failures, 1);
}

static void answer_refusal(struct request *request, struct err *e)
{
    answer_error(request, e);
    err_free(e);
}

static void answer_status(struct request *request, enum status status, const char *next)
{
    struct err *e = err_new(status, "%s", status_text(status));
    answer_refusal(request, next ? err_next(e, "%s", next) : e);
}

static int success_code(const struct verb *verb, const json_t *result)
{
    static const char *const makers[] = {"create", "add", "prepare", "branch"};
    if (json_object_size(result) == 1 && json_object_get(result, "job")) return 202;
    for (unsigned i = 0; i < countof(makers); i++) {
        if (strcmp(verb->verb, makers[i]) == 0) return 201;
    }
    return 200;
}

static enum MHD_Result queue_answer(struct request *request)
{
    const char *body = request->answer ? request->answer : "{}";
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(body), (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    if (!response) return MHD_NO;
    const char *type = request->content_type ? request->content_type : "application/json";
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Request-Id", request->id);
    if (request->login.nonce[0] != '\0')
        MHD_add_response_header(response, "Tarn-Nonce", request->login.nonce);
    if (request->http_status == 401) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    }
    enum MHD_Result result =
        MHD_queue_response(request->connection, (unsigned)request->http_status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- On the loop ----------------------------------------------------------------------------- */

/* From here on the request is libmicrohttpd's thread's. */
static void hand_back(struct request *request)
{
    struct http *http = request->http;
    MHD_resume_connection(request->connection);
    atomic_fetch_sub(&http->in_flight, 1);
}

static void finish(struct request *request)
{
    request->answered = true;
    hand_back(request);
}

static void verb_done(struct control_call *call)
{
    struct request *request = call->arg;
    if (call->error) {
        answer_refusal(request, take_ptr(&call->error));
    } else {
        request->http_status = success_code(request->verb, call->result);
        request->answer = json_dumps(call->result, JSON_COMPACT);
    }
    json_decref(take_ptr(&call->result));
    finish(request);
}

static void answer_metrics(struct request *request)
{
    struct http *http = request->http;
    char *text = control_metrics(http->control);
    char *all = NULL;
    if (asprintf(
            &all,
            "%s# HELP tarn_http_requests_total Requests\n# TYPE tarn_http_requests_total counter\n"
            "tarn_http_requests_total %lu\n# HELP tarn_http_failures_total Error answers\n"
            "# TYPE tarn_http_failures_total counter\ntarn_http_failures_total %lu\n",
            text ? text : "", atomic_load(&http->requests), atomic_load(&http->failures)) < 0) {
        all = NULL;
    }
    free(text);
    request->answer = all ? all : strdup("");
    request->http_status = 200;
    request->content_type = "text/plain; version=0.0.4; charset=utf-8";
}

static const char *login_next(const struct request *request)
{
    if (request->login.status == STATUS_NONCE_STALE)
        return "sign the request again, with the nonce of this answer's header Tarn-Nonce";
    if (request->login.status != STATUS_UNAUTHENTICATED) return NULL;
    return request->kind == REQUEST_SIGNED
               ? "the host's credential is not known (any more): tarn host enrol HOST makes a code"
                 " for a new one"
               : "send \"Authorization: Bearer TOKEN\" with a token that exists";
}

static void login_done(struct control_login *login)
{
    struct request *request = login->arg;
    if (login->status != STATUS_OK) {
        answer_status(request, login->status, login_next(request));
        finish(request);
    } else if (request->refusal) {
        answer_refusal(request, take_ptr(&request->refusal));
        finish(request);
    } else if (request->kind == REQUEST_METRICS) {
        answer_metrics(request);
        finish(request);
    } else if (request->kind == REQUEST_NONCE) {
        json_t *json = json_pack("{s:s}", "nonce", login->nonce);
        request->answer = json ? json_dumps(json, JSON_COMPACT) : NULL;
        request->http_status = 200;
        json_decref(json);
        finish(request);
    } else { /* only now is anything of it taken apart, and not on the loop */
        request->authenticated = true;
        hand_back(request);
    }
}

static void redeem_done(struct control_enrol *enrol)
{
    struct request *request = enrol->arg;
    if (enrol->error) {
        answer_refusal(request, take_ptr(&enrol->error));
    } else {
        json_t *json =
            json_pack("{s:s, s:s, s:s, s:s}", "host", enrol->host, "credential", enrol->credential,
                      "server_nonce", enrol->server_nonce, "confirm", enrol->confirm);
        request->answer = json ? json_dumps(json, JSON_COMPACT) : NULL;
        request->http_status = 201;
        json_decref(json);
    }
    finish(request);
}

/* ---- On libmicrohttpd's thread --------------------------------------------------------------- */

struct query {
    json_t *arguments;
    struct err *error;
};

static bool add_query(struct query *query, const char *key, const char *value)
{
    auto_free char *name = strdup(key), *text = strdup(value ? value : "true");
    if (!name || !text || !verb_percent_decode(name) || !verb_percent_decode(text)) {
        query->error = err_new(STATUS_BAD_REQUEST, "the query string is not properly encoded");
        return false;
    }
    if (json_object_get(query->arguments, name) ||
        json_object_set_new(query->arguments, name, json_string(text))) {
        query->error =
            err_new(STATUS_BAD_REQUEST, "\"%.60s\" is given twice or is not valid UTF-8", name);
        return false;
    }
    return true;
}

static enum MHD_Result take_query(void *arg, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    struct query *query = arg;
    return !query->error && add_query(query, key, value) ? MHD_YES : MHD_NO;
}

/* Of a path that was signed: libmicrohttpd has not seen it. */
static void take_signed_query(struct query *query, char *text)
{
    for (char *save = NULL, *pair = strtok_r(text, "&", &save); pair && !query->error;
         pair = strtok_r(NULL, "&", &save)) {
        char *equals = strchr(pair, '=');
        if (equals) *equals = '\0';
        add_query(query, pair, equals ? equals + 1 : NULL);
    }
}

static struct err *take_body_and_query(struct request *request)
{
    struct query query = {0};
    if (request->kind == REQUEST_SIGNED) {
        struct signed_request *inner = &request->signed_request.request;
        TRY(verb_parse_body(request->body + request->inner_body,
                            request->body_bytes - request->inner_body, &request->arguments));
        query.arguments = request->arguments;
        char *mark = strchr(inner->path, '?');
        if (mark) *mark = '\0';
        if (mark) take_signed_query(&query, mark + 1);
        snprintf(request->path, sizeof request->path, "%s", inner->path);
        snprintf(request->method, sizeof request->method, "%s", inner->method);
        return query.error;
    }
    TRY(verb_parse_body(request->body, request->body_bytes, &request->arguments));
    query.arguments = request->arguments;
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, take_query, &query);
    return query.error;
}

/* Body, query string and path together make the arguments; no name may come twice. */
static struct err *collect_arguments(struct request *request)
{
    TRY(take_body_and_query(request));
    json_t *from_path = json_object();
    struct err *e = verb_route(request->method, request->path, from_path, &request->verb);
    const char *name;
    json_t *value;
    json_object_foreach(from_path, name, value)
    {
        if (!e && json_object_get(request->arguments, name)) {
            e = err_new(STATUS_BAD_REQUEST, "\"%s\" is in the path already", name);
        }
        json_object_set(request->arguments, name, value);
    }
    json_decref(from_path);
    return e;
}

static enum MHD_Result refuse_now(struct request *request, struct err *e)
{
    answer_refusal(request, e);
    return queue_answer(request);
}

/* False when the server is stopping; then nothing may be handed to the loop. */
static bool begin_flight(struct request *request)
{
    atomic_fetch_add(&request->http->in_flight, 1);
    if (!atomic_load(&request->http->closing)) {
        MHD_suspend_connection(request->connection); /* before the loop may resume it */
        return true;
    }
    atomic_fetch_sub(&request->http->in_flight, 1);
    return false;
}

static struct err *stopping(void)
{
    return err_new(STATUS_AGAIN, "the server is stopping");
}

/* Who asks is known: what is asked? */
static enum MHD_Result submit(struct request *request)
{
    struct err *e = collect_arguments(request);
    if (e) return refuse_now(request, e);
    request->authenticated = false; /* done with */
    request->call.verb = request->verb->id;
    request->call.actor = request->login.actor;
    request->call.arguments = request->arguments;
    request->call.done = verb_done;
    request->call.arg = request;
    if (!begin_flight(request)) return refuse_now(request, stopping());
    control_submit(request->http->control, &request->call);
    return MHD_YES;
}

static void take_header(struct request *request)
{
    struct MHD_Connection *connection = request->connection;
    static const char scheme[] = "Bearer ";
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    if (value && strncasecmp(value, scheme, sizeof scheme - 1) == 0) {
        snprintf(request->login.token, sizeof request->login.token, "%s",
                 value + sizeof scheme - 1);
    }
    value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Idempotency-Key");
    if (!value) return;
    if (strlen(value) >= sizeof request->call.idempotency_key) {
        err_free(request->refusal);
        request->refusal = err_new(STATUS_BAD_REQUEST, "Idempotency-Key has at most 63 bytes");
        return;
    }
    snprintf(request->call.idempotency_key, sizeof request->call.idempotency_key, "%s", value);
}

static struct err *read_signed(struct request *request)
{
    struct control_signed *to = &request->signed_request;
    uint8_t hash[32];
    if (!request->body || !signed_request_read(request->body, request->body_bytes, &to->request,
                                               &request->inner_body)) {
        return err_next(err_new(STATUS_BAD_REQUEST, "this is not a signed request"),
                        "doc/design/0070-host-requests.md describes it");
    }
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, request->body + request->inner_body,
                         request->body_bytes - request->inner_body, hash)) {
        return err_new(STATUS_INTERNAL, "SHA-256");
    }
    text_format_hex(hash, sizeof hash, to->body_hash);
    if (strcmp(to->request.idempotency_key, "-") != 0) {
        snprintf(request->call.idempotency_key, sizeof request->call.idempotency_key, "%s",
                 to->request.idempotency_key);
    }
    request->login.signed_request = to;
    return NULL;
}

static bool take_field(const json_t *json, const char *name, char *to, size_t size)
{
    const char *text = json_string_value(json_object_get(json, name));
    if (!text || strlen(text) + 1 != size) return false;
    memcpy(to, text, size);
    return true;
}

static enum MHD_Result redeem(struct request *request)
{
    struct control_enrol *enrol = &request->enrol;
    json_t *json = request->body ? json_loadb(request->body, request->body_bytes, 0, NULL) : NULL;
    bool ok = take_field(json, "enrolment", enrol->enrolment, sizeof enrol->enrolment) &&
              take_field(json, "client_nonce", enrol->client_nonce, sizeof enrol->client_nonce) &&
              take_field(json, "proof", enrol->proof, sizeof enrol->proof);
    json_decref(json);
    if (!ok) {
        return refuse_now(request, err_next(err_new(STATUS_BAD_REQUEST, "this is not an enrolment"),
                                            "doc/design/0070-host-requests.md describes it"));
    }
    enrol->done = redeem_done;
    enrol->arg = request;
    request->dispatched = true;
    if (!begin_flight(request)) return refuse_now(request, stopping());
    control_redeem(request->http->control, enrol);
    return MHD_YES;
}

/* The whole request is there: who asks? */
static enum MHD_Result dispatch(struct request *request)
{
    struct http *http = request->http;
    atomic_fetch_add(&http->requests, 1);
    if (request->kind == REQUEST_HEALTH) {
        request->answer = strdup("{\"status\":\"ok\"}");
        request->http_status = 200;
        return queue_answer(request);
    }
    if (request->too_large) {
        err_free(request->refusal);
        request->refusal = err_new(STATUS_BAD_REQUEST, "the request has more than %u bytes",
                                   (unsigned)VERB_BODY_MAX);
    }
    if (request->refusal && (request->kind == REQUEST_SIGNED || request->kind == REQUEST_ENROL))
        return refuse_now(request, take_ptr(&request->refusal));
    if (request->kind == REQUEST_ENROL) return redeem(request);
    if (request->kind == REQUEST_SIGNED) {
        struct err *e = read_signed(request);
        if (e) return refuse_now(request, e);
    } else {
        take_header(request);
    }
    request->login.nonce_only = request->kind == REQUEST_NONCE;
    request->login.done = login_done;
    request->login.arg = request;
    request->dispatched = true;
    if (!begin_flight(request)) return refuse_now(request, stopping());
    control_authenticate(http->control, &request->login);
    return MHD_YES;
}

static enum request_kind kind_of(const char *method, const char *path)
{
    static const struct {
        const char *method, *path;
        enum request_kind kind;
    } kinds[] = {
        {"GET", "/metrics", REQUEST_METRICS},   {"GET", "/healthz", REQUEST_HEALTH},
        {"GET", "/v1/nonce", REQUEST_NONCE},    {"POST", "/v1/enrol", REQUEST_ENROL},
        {"POST", "/v1/signed", REQUEST_SIGNED},
    };
    for (unsigned i = 0; i < countof(kinds); i++) {
        if (strcmp(kinds[i].method, method) == 0 && strcmp(kinds[i].path, path) == 0)
            return kinds[i].kind;
    }
    return REQUEST_VERB;
}

static struct request *request_create(struct http *http, struct MHD_Connection *connection,
                                      const char *path, const char *method)
{
    struct request *request = calloc(1, sizeof *request);
    if (!request) return NULL;
    uint8_t id[8];
    rt_random(http->rt, id, sizeof id);
    text_format_hex(id, sizeof id, request->id);
    request->http = http;
    request->connection = connection;
    if (snprintf(request->path, sizeof request->path, "%s", path) >= PATH_MAX_BYTES) {
        request->too_large = true;
    }
    snprintf(request->method, sizeof request->method, "%s", method);
    request->kind = kind_of(method, path);
    return request;
}

static void take_body(struct request *request, const char *data, size_t size)
{
    size_t limit = request->kind == REQUEST_ENROL    ? (size_t)ENROL_BODY_MAX
                   : request->kind == REQUEST_SIGNED ? (size_t)VERB_BODY_MAX + SIGNED_LINE_MAX
                                                     : (size_t)VERB_BODY_MAX;
    if (request->too_large || request->body_bytes + size > limit) {
        request->too_large = true;
        return;
    }
    char *body = realloc(request->body, request->body_bytes + size);
    if (!body) {
        request->too_large = true;
        return;
    }
    memcpy(body + request->body_bytes, data, size);
    request->body = body;
    request->body_bytes += size;
}

/* A client that writes the body behind the head has it held back by its own kernel until the head is
 * acknowledged (RFC 896), which ours would put off for 40 ms (RFC 1122 4.2.3.2), with nothing to send
 * meanwhile.  Each exchange of a Windows host cost that, and each commit. */
static void acknowledge_now(struct MHD_Connection *connection)
{
    const int one = 1;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info) setsockopt(info->connect_fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_data_size, void **connection_data)
{
    struct request *request = *connection_data;
    if ((!request || *upload_data_size) && strcmp(method, "GET") != 0) acknowledge_now(connection);
    if (!request) {
        request = request_create(arg, connection, url, method);
        *connection_data = request;
        return request ? MHD_YES : MHD_NO;
    }
    if (*upload_data_size) {
        take_body(request, upload_data, *upload_data_size);
        *upload_data_size = 0;
        return MHD_YES;
    }
    if (!request->dispatched) return dispatch(request);
    if (request->authenticated) return submit(request);
    return request->answered ? queue_answer(request) : MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **connection_data,
                         enum MHD_RequestTerminationCode code)
{
    struct request *request = *connection_data;
    if (!request) return;
    json_decref(request->arguments);
    err_free(request->refusal);
    if (request->body) explicit_bzero(request->body, request->body_bytes);
    free(request->body);
    if (request->answer) explicit_bzero(request->answer, strlen(request->answer));
    free(request->answer);
    free(request);
    *connection_data = NULL;
}

/* Paths and query strings stay encoded until they were taken apart (names may hold "/"). */
static size_t keep_encoded(void *arg, struct MHD_Connection *connection, char *text)
{
    return strlen(text);
}

/* ---- Life ------------------------------------------------------------------------------------ */

static bool parse_address(const char *text, struct sockaddr_storage *ret_address,
                          socklen_t *ret_size)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || !text_parse_u64(colon + 1, &port) || port > 65535) return false;
    size_t length = (size_t)(colon - text);
    bool v6 = text[0] == '[' && length > 2 && text[length - 1] == ']';
    if (length >= sizeof host) return false;
    snprintf(host, sizeof host, "%.*s", (int)(v6 ? length - 2 : length), text + v6);
    memset(ret_address, 0, sizeof *ret_address);
    if (v6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_address;
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        *ret_size = sizeof *in6;
        return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)ret_address;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    *ret_size = sizeof *in;
    return inet_pton(AF_INET, host, &in->sin_addr) == 1;
}

static void format_address(int fd, char text[RT_ADDRESS_MAX])
{
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    char host[INET6_ADDRSTRLEN] = "?";
    getsockname(fd, (struct sockaddr *)&bound, &size);
    if (bound.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&bound;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(text, RT_ADDRESS_MAX, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&bound;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, RT_ADDRESS_MAX, "%s:%u", host, ntohs(in->sin_port));
    }
}

static struct err *open_socket(struct http *http, const char *address_text)
{
    struct sockaddr_storage address;
    socklen_t size;
    if (!parse_address(address_text, &address, &size)) {
        return err_next(err_new(STATUS_BAD_CONFIG, "\"%s\" is not an address", address_text),
                        "write 127.0.0.1:7260 or [::1]:7260");
    }
    http->socket = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (http->socket < 0) return err_from_errno("socket");
    int on = 1;
    setsockopt(http->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(http->socket, (struct sockaddr *)&address, size) || listen(http->socket, BACKLOG)) {
        return err_from_errno("listen on %s", address_text);
    }
    format_address(http->socket, http->address);
    return NULL;
}

static struct err *start_daemon(struct http *http, const struct tls_identity *identity)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_ALLOW_SUSPEND_RESUME;
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET, http->socket,
        MHD_OPTION_HTTPS_MEM_KEY, identity->key_pem, MHD_OPTION_HTTPS_MEM_CERT,
        identity->certificate_pem, MHD_OPTION_HTTPS_PRIORITIES,
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2", MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        http, MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, http, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)HTTP_CONNECTIONS_PER_ADDRESS, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)HTTP_IDLE_S, MHD_OPTION_END);
    if (!http->daemon)
        return err_new(STATUS_OS_ERROR, "start the HTTPS server on %s", http->address);
    return NULL;
}

struct err *http_create(struct rt *rt, struct control *control, const char *listen_text,
                        const struct tls_identity *identity, struct http **ret_http)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http) return err_new(STATUS_NO_MEMORY, "http");
    http->rt = rt;
    http->control = control;
    http->socket = -1;
    struct err *e = open_socket(http, listen_text);
    if (!e) e = start_daemon(http, identity);
    if (e) {
        if (http->socket >= 0) close(http->socket);
        free(http);
        return err_wrap(e, "API");
    }
    *ret_http = http;
    return NULL;
}

const char *http_address(const struct http *http)
{
    return http->address;
}

static void close_poll(struct rt_timer *timer)
{
    struct http *http = container_of(timer, struct http, timer);
    if (atomic_load(&http->in_flight)) {
        rt_timer_set(http->rt, timer, rt_now(http->rt) + CLOSE_POLL_MS * RT_MS, close_poll);
        return;
    }
    MHD_stop_daemon(http->daemon); /* closes the socket too */
    http->closed(http->closed_arg);
    free(http);
}

void http_close(struct http *http, void (*closed)(void *arg), void *arg)
{
    http->closed = closed;
    http->closed_arg = arg;
    atomic_store(&http->closing, true);
    rt_timer_set(http->rt, &http->timer, rt_now(http->rt), close_poll);
}
