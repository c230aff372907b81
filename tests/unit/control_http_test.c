/* The API over real HTTPS: a server on a thread of its own, the client's transport with the pin. */
#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/text.h"
#include "client/client.h"
#include "client/sign.h"
#include "control/http.h"
#include "control/verbs.h"
#include "rt/rt_linux.h"
#include "tests/lib/tap.h"

static char directory[64];
static struct rt *rt;
static struct control *control;
static struct http *http;
static struct tls_identity identity;
static char token[128], viewer[128], server[128];
static pthread_t thread;
static pthread_barrier_t ready;

/* ---- The server ------------------------------------------------------------------------------ */

static void started(void *arg, struct err *e)
{
    check(!e);
    e = http_create(rt, control, "127.0.0.1:0", &identity, &http);
    check(!e);
    const char *pin = identity.pin;
    control_set_api(control, &pin, 1, http_address(http));
    pthread_barrier_wait(&ready);
}

static void stopped(void *arg)
{
    rt_stop(rt);
}

static void http_closed(void *arg)
{
    control_stop(control, stopped, NULL);
}

static struct rt_message stop_message;

static void stop_now(struct rt_message *message)
{
    http_close(http, http_closed, NULL);
}

static void *serve(void *arg)
{
    static char state[96], tls[96];
    snprintf(state, sizeof state, "%s/state", directory);
    snprintf(tls, sizeof tls, "%s/tls", directory);
    struct err *e = rt_linux_create(&(struct rt_linux_options){.buffer_bytes = 16 << 20}, &rt);
    check(!e);
    e = tls_identity_load(rt, tls, &identity);
    check(!e);
    struct control_options options = {.state_directory = state, .server_name = "t", .version = "0"};
    e = control_create(rt, &options, &control);
    check(!e);
    control_start(control, started, NULL);
    rt_run(rt);
    pthread_barrier_wait(&ready); /* who posted the stop has returned from rt */
    control_destroy(control);
    tls_identity_fini(&identity);
    rt_linux_destroy(rt);
    return NULL;
}

static void read_admin_token(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/state/admin.token", directory);
    FILE *file = fopen(path, "re");
    check(file);
    token[fread(token, 1, sizeof token - 1, file)] = '\0';
    fclose(file);
}

/* ---- The client ------------------------------------------------------------------------------ */

static char answer[1 << 16];

/* The HTTP status; 0 when no answer came. */
static int ask(const char *pin, const char *with, const char *method, const char *path,
               const char *body)
{
    struct transport_options options = {
        .server = server, .pins = &pin, .pin_count = 1, .token = with};
    struct transport *transport = NULL;
    struct err *e = transport_curl_create(&options, &transport);
    check(!e);
    struct transport_request request = {
        .method = method, .path = path, .body = body, .timeout_ms = 20000};
    e = transport->ops->prepare(transport, &request);
    check(!e);
    enum status status = transport->ops->fire(transport);
    int code = status == STATUS_OK ? transport->http_status : 0;
    snprintf(answer, sizeof answer, "%s", code ? transport->answer : transport->error_text);
    transport_destroy(transport);
    return code;
}

static int call(const char *method, const char *path, const char *body)
{
    return ask(identity.pin, token, method, path, body);
}

static bool says(const char *text)
{
    bool there = strstr(answer, text) != NULL;
    if (!there) printf("# %.300s\n", answer);
    return there;
}

/* ---- What the server does to its sockets ----------------------------------------------------- */

static atomic_uint quickacks;

/* Instead of libc's, for all that is linked here. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    if (level == IPPROTO_TCP && name == TCP_QUICKACK) atomic_fetch_add(&quickacks, 1);
    return (int)syscall(SYS_setsockopt, fd, level, name, value, size);
}

/* ---- Behaviours ------------------------------------------------------------------------------ */

static void health_needs_no_token_and_everything_else_does(void)
{
    expect_eq(ask(identity.pin, NULL, "GET", "/healthz", NULL), 200);
    expect_eq(ask(identity.pin, NULL, "GET", "/v1/server", NULL), 401);
    expect(says("\"status\":\"UNAUTHENTICATED\""));
    expect(says("\"request_id\":\""));
    expect(says("\"next\":\""));
    expect_eq(ask(identity.pin, "tarn_wrong", "GET", "/v1/server", NULL), 401);
    expect_eq(ask(identity.pin, NULL, "GET", "/metrics", NULL), 401);
    /* what exists is not told to strangers */
    expect_eq(ask(identity.pin, NULL, "GET", "/nothing", NULL), 401);
    expect_eq(ask(identity.pin, NULL, "POST", "/v1/disks", "{bad"), 401);
}

static unsigned quickacks_before, quickacks_at_body;

/* The body is wanted: the head is with the server. */
static size_t give_body(char *to, size_t size, size_t count, void *arg)
{
    static const char body[] = "{}";
    unsigned *given = arg;
    if ((*given)++) return 0;
    for (unsigned i = 0; i < 1000 && atomic_load(&quickacks) == quickacks_before; i++)
        usleep(10000);
    quickacks_at_body = atomic_load(&quickacks);
    check(size * count >= strlen(body));
    memcpy(to, body, strlen(body));
    return strlen(body);
}

static size_t drop_answer(char *from, size_t size, size_t count, void *arg)
{
    return size * count;
}

/* Or a client that writes it behind the head waits 40 ms for the acknowledgement: RFC 896 there, RFC
 * 1122 4.2.3.2 here. */
static void a_head_is_acknowledged_before_its_body_comes(void)
{
    CURL *easy = curl_easy_init();
    char url[256];
    unsigned given = 0;
    long code = 0;
    check(easy);
    snprintf(url, sizeof url, "%s/v1/disks", server);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 2L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(easy, CURLOPT_READDATA, &given);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop_answer);
    quickacks_before = atomic_load(&quickacks);
    expect_eq(curl_easy_perform(easy), CURLE_OK);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_cleanup(easy);
    expect_eq(code, 401);
    expect(quickacks_at_body > quickacks_before);
    /* What has no body has nothing to wait for. */
    quickacks_before = atomic_load(&quickacks);
    expect_eq(call("GET", "/v1/disks", NULL), 200);
    expect_eq(atomic_load(&quickacks), quickacks_before);
}

static void another_key_than_the_pinned_one_is_refused(void)
{
    char pin[TLS_PIN_SIZE];
    memcpy(pin, identity.pin, sizeof pin);
    pin[0] = pin[0] == '0' ? '1' : '0';
    expect_eq(ask(pin, token, "GET", "/v1/server", NULL), 0);
}

static void verbs_answer_with_their_codes(void)
{
    expect_eq(call("GET", "/v1/server", NULL), 200);
    expect(says("\"name\":\"t\""));
    expect_eq(call("POST", "/v1/hosts", "{\"name\":\"h/1\",\"initiators\":[\"iqn.a\"]}"), 201);
    expect_eq(call("GET", "/v1/hosts/h%2F1", NULL), 200);
    expect_eq(call("POST", "/v1/hosts", "{\"name\":\"h/1\",\"initiators\":[\"iqn.b\"]}"), 409);
    expect_eq(call("GET", "/v1/hosts/other", NULL), 404);
    expect_eq(call("DELETE", "/v1/hosts/h%2F1", NULL), 200);
    expect_eq(call("POST", "/v1/tokens", "{\"name\":\"v\",\"role\":\"viewer\"}"), 201);
    const char *secret = strstr(answer, "\"token\":\"");
    require(secret);
    snprintf(viewer, sizeof viewer, "%.69s", secret + 9);
    expect_eq(ask(identity.pin, viewer, "GET", "/v1/server", NULL), 200);
    expect_eq(
        ask(identity.pin, viewer, "POST", "/v1/tokens", "{\"name\":\"w\",\"role\":\"viewer\"}"),
        403);
}

static void bad_requests_are_told_what_is_wrong(void)
{
    expect_eq(call("POST", "/v1/disks", "{bad"), 400);
    expect(says("not JSON"));
    expect_eq(call("POST", "/v1/disks", "[1]"), 400);
    expect(says("not a JSON object"));
    expect_eq(call("POST", "/v1/disks", "{\"name\":\"a\",\"name\":\"b\",\"size\":1}"), 400);
    expect_eq(call("POST", "/v1/disks", "{\"name\":\"a\",\"size\":\"1M\",\"nmae\":1}"), 400);
    expect(says("no argument"));
    expect_eq(call("POST", "/v1/disks/a/grow", "{\"name\":\"b\",\"size\":\"2M\"}"), 400);
    expect(says("in the path already"));
    expect_eq(call("GET", "/v1/disks/%zz", NULL), 400);
    expect_eq(call("GET", "/v1/disks/%00", NULL), 400);
    expect_eq(call("GET", "/v1/disks/%ff", NULL), 400);
    expect_eq(call("DELETE", "/v1/disks/a?dry_run=perhaps", NULL), 400);
    expect_eq(call("DELETE", "/v1/disks/a?colour=red", NULL), 400);
    expect_eq(call("DELETE", "/v1/disks/a?dry_run=true&dry_run=true", NULL), 400);
    expect_eq(call("GET", "/v1/nothing", NULL), 404);
    expect_eq(call("GET", "/", NULL), 404);
    expect_eq(call("DELETE", "/v1/disks", NULL), 501);
    auto_free char *large = malloc(VERB_BODY_MAX + 100);
    check(large);
    memset(large, ' ', VERB_BODY_MAX + 99);
    large[VERB_BODY_MAX + 99] = '\0';
    expect_eq(call("POST", "/v1/disks", large), 400);
    expect(says("more than"));
}

static void metrics_are_prometheus_text(void)
{
    expect_eq(ask(identity.pin, viewer, "GET", "/metrics", NULL), 200);
    expect(says("# TYPE tarn_sets gauge"));
    expect(says("tarn_sets{state=\"created\"} 0"));
    expect(says("tarn_http_requests_total "));
}

/* ---- Hosts ---- */

static void code_of(const char *host, char code[ENROL_CODE_MAX])
{
    char path[100];
    snprintf(path, sizeof path, "/v1/hosts/%s/enrol", host);
    expect_eq(call("POST", path, NULL), 200);
    const char *at = strstr(answer, "tarn1+");
    snprintf(code, ENROL_CODE_MAX, "%.*s", at ? (int)strcspn(at, "\"") : 0, at ? at : "");
}

static struct client *client_of(json_t *config)
{
    struct client_config read;
    struct client *client = NULL;
    char *text = json_dumps(config, 0);
    struct err *e = client_config_parse(text, &read);
    check(!e);
    e = client_open(&read, &client);
    check(!e);
    client_config_fini(&read);
    free(text);
    return client;
}

static enum status get(struct client *client, const char *method, const char *path,
                       const char *body)
{
    json_t *json = body ? json_loads(body, 0, NULL) : NULL, *got = NULL;
    struct err *e = client_call(client, method, path, json, &got);
    char *text = got ? json_dumps(got, 0) : NULL;
    snprintf(answer, sizeof answer, "%s", text ? text : err_frame(e, 0));
    enum status status = err_status(e);
    err_free(e);
    free(text);
    json_decref(json);
    json_decref(got);
    return status;
}

static json_t *host_config;

static void a_host_enrols_and_its_requests_are_signed(void)
{
    char code[ENROL_CODE_MAX];
    expect_eq(call("POST", "/v1/hosts", "{\"name\":\"h 1\",\"initiators\":[\"iqn.h\"]}"), 201);
    code_of("h%201", code);
    struct err *e = client_redeem(code, &host_config);
    if (e) printf("# %s\n", err_frame(e, 0));
    require(!e);
    expect_str(json_string_value(json_object_get(host_config, "host")), "h 1");
    json_t *again = NULL;
    e = client_redeem(code, &again);
    expect_eq(err_status(e), STATUS_UNAUTHENTICATED);
    err_free(e);
    e = client_redeem("tarn1+nonsense", &again);
    expect_eq(err_status(e), STATUS_BAD_REQUEST);
    err_free(e);
    struct client *client = client_of(host_config);
    expect_eq(get(client, "GET", "/v1/server", NULL), STATUS_OK);
    expect(says("\"name\": \"t\""));
    expect_eq(get(client, "GET", "/v1/hosts/h%201", NULL), STATUS_OK);
    expect_eq(get(client, "GET", "/v1/audit?limit=1", NULL), STATUS_DENIED);
    expect_eq(get(client, "POST", "/v1/disks", "{\"name\":\"x\",\"size\":\"1M\"}"), STATUS_DENIED);
    expect_eq(get(client, "GET", "/v1/nothing", NULL), STATUS_NOT_FOUND);
    expect_eq(get(client, "GET", "/v1/jobs/0?wait=0&wait=1", NULL), STATUS_BAD_REQUEST);
    expect_eq(get(client, "DELETE", "/v1/sets/s?dry_run=perhaps", NULL), STATUS_BAD_REQUEST);
    expect_eq(get(client, "POST", "/v1/sets", "{\"disks\":[\"none\"]}"), STATUS_NOT_FOUND);
    client_destroy(client);
}

/* The code of another server with the address of this one: its key is not the pinned one. */
static void a_code_is_not_redeemed_at_a_server_with_another_key(void)
{
    char code[ENROL_CODE_MAX];
    json_t *config = NULL;
    code_of("h%201", code);
    char *pin = strstr(code, identity.pin);
    require(pin);
    pin[0] = pin[0] == '0' ? '1' : '0';
    struct err *e = client_redeem(code, &config);
    expect(e && !config);
    err_free(e);
    pin[0] = identity.pin[0];
    e = client_redeem(code, &config); /* it was not used up: the proof was never sent */
    expect(!e);
    err_free(e);
    json_decref(config);
}

/* What is sent to /v1/signed by hand. */
static int send_signed(const char *nonce, const char *method, const char *path, const char *inside,
                       char **ret_body)
{
    struct sign_identity who;
    const char *key = json_string_value(json_object_get(host_config, "key"));
    snprintf(who.credential, sizeof who.credential, "%s",
             json_string_value(json_object_get(host_config, "credential")));
    check(text_parse_hex(key, who.key, sizeof who.key));
    struct sign_what what = {
        .method = method, .path = path, .body = inside, .nonce = nonce, .pin = identity.pin};
    struct err *e = sign_request(&who, &what, ret_body);
    check(!e);
    return ask(identity.pin, NULL, "POST", "/v1/signed", *ret_body);
}

static void signed_requests_are_taken_once_and_parsed_only_when_they_fit(void)
{
    char nonce[SIGNED_NONCE_SIZE];
    expect_eq(ask(identity.pin, NULL, "GET", "/v1/nonce", NULL), 200);
    const char *at = strstr(answer, "\":\"");
    require(at && strlen(at) > 68);
    snprintf(nonce, sizeof nonce, "%.64s", at + 3);
    auto_free char *body = NULL, *broken = NULL, *other = NULL;
    expect_eq(send_signed(nonce, "POST", "/v1/sets", "{\"disks\":[\"a\"]}", &body), 404);
    expect_eq(ask(identity.pin, NULL, "POST", "/v1/signed", body), 409);
    expect(says("REPLAYED"));
    expect_eq(send_signed(nonce, "POST", "/v1/sets", "{bad", &broken), 400);
    expect(says("not JSON"));
    broken[strlen(broken) - 1] = 'D'; /* now the signature does not fit, and nobody says more */
    expect_eq(ask(identity.pin, NULL, "POST", "/v1/signed", broken), 401);
    expect(says("UNAUTHENTICATED") && !strstr(answer, "JSON"));
    nonce[20] = nonce[20] == '0' ? '1' : '0';
    expect_eq(send_signed(nonce, "GET", "/v1/server", NULL, &other), 401);
    expect(says("NONCE_STALE"));
    expect_eq(ask(identity.pin, NULL, "POST", "/v1/signed", "TARN1 x\n"), 400);
    expect_eq(ask(identity.pin, NULL, "POST", "/v1/signed", NULL), 400);
    expect_eq(ask(identity.pin, NULL, "POST", "/v1/enrol", "{}"), 400);
    /* a token gets nobody in at the host's door, nor a host's words at the other */
    expect_eq(call("POST", "/v1/signed", "{}"), 400);
    expect_eq(ask(identity.pin, NULL, "POST", "/v1/sets", body), 401);
}

static void one_address_has_not_all_the_connections(void)
{
    struct transport *transports[HTTP_CONNECTIONS_PER_ADDRESS + 8] = {0};
    const char *pin = identity.pin;
    struct transport_options options = {.server = server, .pins = &pin, .pin_count = 1};
    struct transport_request request = {.method = "GET", .path = "/healthz", .timeout_ms = 20000};
    unsigned served = 0;
    for (unsigned i = 0; i < countof(transports); i++) { /* each keeps its connection */
        struct err *e = transport_curl_create(&options, &transports[i]);
        if (!e) e = transports[i]->ops->prepare(transports[i], &request);
        check(!e);
        served += transports[i]->ops->fire(transports[i]) == STATUS_OK;
    }
    expect_eq(served, HTTP_CONNECTIONS_PER_ADDRESS);
    for (unsigned i = 0; i < countof(transports); i++)
        transport_destroy(transports[i]);
    json_decref(take_ptr(&host_config));
}

static void *wait_for_job(void *arg)
{
    struct transport_options options = {.server = server, .token = token};
    const char *pin = identity.pin;
    options.pins = &pin;
    options.pin_count = 1;
    struct transport *transport = NULL;
    struct err *e = transport_curl_create(&options, &transport);
    check(!e);
    struct transport_request request = {.method = "GET", .path = "/v1/server", .timeout_ms = 20000};
    for (unsigned i = 0; i < 50; i++) {
        e = transport->ops->prepare(transport, &request);
        check(!e);
        enum status status = transport->ops->fire(transport);
        if (status != STATUS_OK || transport->http_status != 200) *(unsigned *)arg += 1;
    }
    transport_destroy(transport);
    return NULL;
}

static void clients_at_the_same_time_are_all_served(void)
{
    pthread_t threads[6];
    unsigned failures[6] = {0};
    for (unsigned i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, wait_for_job, &failures[i]);
    for (unsigned i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 6; i++)
        expect_eq(failures[i], 0);
}

static void remove_directory(void)
{
    static const char *const files[] = {
        "state/catalog.db",  "state/catalog.db-wal", "state/catalog.db-journal",
        "state/admin.token", "state/secret.key",     "tls/key.pem",
        "tls/cert.pem"};
    char path[128];
    for (unsigned i = 0; i < countof(files); i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/state", directory);
    rmdir(path);
    snprintf(path, sizeof path, "%s/tls", directory);
    rmdir(path);
    rmdir(directory);
}

static void a_server_stops_in_order(void)
{
    stop_message.fn = stop_now;
    rt_post(rt, &stop_message);
    pthread_barrier_wait(&ready);
    expect_eq(pthread_join(thread, NULL), 0);
    char pin[TLS_PIN_SIZE] = "0000000000000000000000000000000000000000000000000000000000000000";
    expect_eq(ask(pin, token, "GET", "/healthz", NULL), 0);
}

int main(void)
{
    snprintf(directory, sizeof directory, "/tmp/tarn-http-XXXXXX");
    check(mkdtemp(directory));
    pthread_barrier_init(&ready, NULL, 2);
    pthread_create(&thread, NULL, serve, NULL);
    pthread_barrier_wait(&ready);
    read_admin_token();
    snprintf(server, sizeof server, "https://%s", http_address(http));
    run(health_needs_no_token_and_everything_else_does);
    run(a_head_is_acknowledged_before_its_body_comes);
    run(another_key_than_the_pinned_one_is_refused);
    run(verbs_answer_with_their_codes);
    run(bad_requests_are_told_what_is_wrong);
    run(metrics_are_prometheus_text);
    run(a_host_enrols_and_its_requests_are_signed);
    run(a_code_is_not_redeemed_at_a_server_with_another_key);
    run(signed_requests_are_taken_once_and_parsed_only_when_they_fit);
    run(one_address_has_not_all_the_connections);
    run(clients_at_the_same_time_are_all_served);
    run(a_server_stops_in_order);
    remove_directory();
    return tap_done();
}
