/*
 * cli_client_test.c - the client over real TLS: a small HTTPS server with a key of its own inside
 * the test.
 */
#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/text.h"
#include "client/client.h"
#include "tests/lib/tap.h"

static struct MHD_Daemon *httpd;
static char pin[65], wrong_pin[65], url[64];
static char last_authorization[128], last_key[128], last_body[256], last_method[16];
static unsigned connections;
static pthread_mutex_t silence = PTHREAD_MUTEX_INITIALIZER; /* held: /v1/silent does not answer */

/* ---- The server ---- */

static char *exported(gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key)
{
    gnutls_datum_t text = {NULL, 0};
    if (certificate)
        gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &text);
    else
        gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text);
    char *copy = text.data ? strdup((char *)text.data) : NULL;
    gnutls_free(text.data);
    return copy;
}

/* An ECDSA P-256 key and a certificate signed with it, and its pin. */
static bool make_identity(char **ret_key, char **ret_certificate)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t certificate;
    unsigned char serial[] = {1}, hash[32];
    size_t hash_size = sizeof hash;
    gnutls_x509_privkey_init(&key);
    gnutls_x509_crt_init(&certificate);
    gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    gnutls_x509_crt_set_version(certificate, 3);
    gnutls_x509_crt_set_serial(certificate, serial, sizeof serial);
    gnutls_x509_crt_set_activation_time(certificate, time(NULL) - 3600);
    gnutls_x509_crt_set_expiration_time(certificate, time(NULL) + 3600);
    gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, "tarn", 4);
    gnutls_x509_crt_set_key(certificate, key);
    bool ok =
        gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0) == 0 &&
        gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, hash, &hash_size) == 0;
    if (ok) text_format_hex(hash, sizeof hash, pin);
    memcpy(wrong_pin, pin, sizeof pin);
    wrong_pin[0] = wrong_pin[0] == '0' ? '1' : '0';
    *ret_key = exported(NULL, key);
    *ret_certificate = exported(certificate, NULL);
    gnutls_x509_crt_deinit(certificate);
    gnutls_x509_privkey_deinit(key);
    return ok && *ret_key && *ret_certificate;
}

static void note_header(struct MHD_Connection *connection, const char *name, char *text,
                        size_t size)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    snprintf(text, size, "%s", value ? value : "");
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **state)
{
    static char begun;
    (void)arg;
    (void)version;
    if (!*state) {
        *state = &begun;
        last_body[0] = '\0';
        return MHD_YES;
    }
    if (*upload_bytes) {
        size_t used = strlen(last_body);
        snprintf(last_body + used, sizeof last_body - used, "%.*s", (int)*upload_bytes, upload);
        *upload_bytes = 0;
        return MHD_YES;
    }
    note_header(connection, "Authorization", last_authorization, sizeof last_authorization);
    note_header(connection, "Idempotency-Key", last_key, sizeof last_key);
    snprintf(last_method, sizeof last_method, "%s", method);
    if (strcmp(path, "/v1/silent") == 0) {
        pthread_mutex_lock(&silence);
        pthread_mutex_unlock(&silence);
    }
    if (strcmp(path, "/v1/refused") == 0) {
        return answer(connection, 409,
                      "{\"error\":{\"status\":\"IN_USE\",\"message\":\"delete disk "
                      "a\",\"causes\":[\"host web1 uses it\"],"
                      "\"next\":\"tarn map remove web1 3\"}}");
    }
    return answer(connection, 200, "{\"fine\":true}");
}

static void note_connection(void *arg, struct MHD_Connection *connection, void **socket_state,
                            enum MHD_ConnectionNotificationCode code)
{
    (void)arg;
    (void)connection;
    (void)socket_state;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) connections++;
}

static bool start_server(void)
{
    char *key, *certificate;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (!make_identity(&key, &certificate)) return false;
    httpd = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                                 MHD_USE_TLS,
                             0, NULL, NULL, handle, NULL, MHD_OPTION_SOCK_ADDR, &address,
                             MHD_OPTION_HTTPS_MEM_KEY, key, MHD_OPTION_HTTPS_MEM_CERT, certificate,
                             MHD_OPTION_NOTIFY_CONNECTION, note_connection, NULL, MHD_OPTION_END);
    free(key);
    free(certificate);
    if (!httpd) return false;
    snprintf(url, sizeof url, "https://127.0.0.1:%u",
             MHD_get_daemon_info(httpd, MHD_DAEMON_INFO_BIND_PORT)->port);
    return true;
}

static struct client *open_client(const char *with_pin)
{
    char text[512];
    struct client_config config;
    struct client *client = NULL;
    snprintf(text, sizeof text, "{\"server\":\"%s/\",\"pin\":\"%s\",\"token\":\"secret\"}", url,
             with_pin);
    struct err *e = client_config_parse(text, &config);
    if (!e) {
        e = client_open(&config, &client);
        client_config_fini(&config);
    }
    expect(!e);
    err_free(e);
    return client;
}

/* ---- Behaviours ---- */

static void the_pinned_key_is_enough_and_the_token_travels(void)
{
    struct client *client = open_client(pin);
    json_t *got = NULL;
    require(client);
    struct err *e = client_call(client, "GET", "/v1/server", NULL, &got);
    expect(!e);
    expect(json_is_true(json_object_get(got, "fine")));
    expect_str(last_authorization, "Bearer secret");
    expect_str(last_key, "");
    json_decref(got);
    err_free(e);
    client_destroy(client);
}

static void another_key_is_refused_before_the_token_is_sent(void)
{
    struct client *client = open_client(wrong_pin);
    require(client);
    last_authorization[0] = '\0';
    struct err *e = client_call(client, "GET", "/v1/server", NULL, NULL);
    expect_eq(err_status(e), STATUS_UNAUTHENTICATED);
    expect(err_next_text(e) != NULL);
    expect_str(last_authorization, "");
    err_free(e);
    client_destroy(client);
}

static void without_a_pin_a_self_signed_certificate_is_refused(void)
{
    struct client_config config = {.server = url};
    struct client *client = NULL;
    require(!client_open(&config, &client));
    struct err *e = client_call(client, "GET", "/v1/server", NULL, NULL);
    expect_eq(err_status(e), STATUS_UNAUTHENTICATED);
    err_free(e);
    client_destroy(client);
}

static void changes_carry_a_body_and_an_idempotency_key(void)
{
    struct client *client = open_client(pin);
    char first[128];
    json_t *body = json_pack("{s:s}", "name", "a");
    require(client);
    expect(!client_call(client, "POST", "/v1/disks", body, NULL));
    expect_str(last_body, "{\"name\":\"a\"}");
    expect(strlen(last_key) == 36);
    memcpy(first, last_key, sizeof first);
    expect(!client_call(client, "DELETE", "/v1/disks/a", NULL, NULL));
    expect_str(last_method, "DELETE");
    expect_str(last_body, "");
    expect(strcmp(first, last_key) != 0);
    json_decref(body);
    client_destroy(client);
}

static void a_prepared_request_goes_over_the_connection_that_is_open(void)
{
    struct client *client = open_client(pin);
    bool reused = false;
    json_t *got = NULL;
    require(client);
    unsigned before = connections;
    expect(!client_call(client, "POST", "/v1/sets/a/arm", NULL, NULL));
    expect(!client_prepare(client, "POST", "/v1/sets/a/commit", NULL, 4000));
    expect(client_fire(client, &reused));
    expect(reused);
    expect(!client_outcome(client, &got));
    expect(json_is_true(json_object_get(got, "fine")));
    expect_eq(connections - before, 1);
    json_decref(got);
    client_destroy(client);
}

static void an_error_of_the_server_keeps_status_causes_and_what_to_do(void)
{
    struct client *client = open_client(pin);
    char text[256];
    require(client);
    struct err *e = client_call(client, "DELETE", "/v1/refused", NULL, NULL);
    expect_eq(err_status(e), STATUS_IN_USE);
    expect_str(err_text(e, text, sizeof text), "delete disk a: host web1 uses it");
    expect_str(err_next_text(e), "tarn map remove web1 3");
    err_free(e);
    client_destroy(client);
}

static void a_server_that_says_nothing_is_a_timeout(void)
{
    struct client *client = open_client(pin);
    require(client);
    expect(!client_call(client, "GET", "/v1/server", NULL, NULL));
    pthread_mutex_lock(&silence);
    client_set_timeout(client, 100);
    struct err *e = client_call(client, "GET", "/v1/silent", NULL, NULL);
    pthread_mutex_unlock(&silence);
    expect_eq(err_status(e), STATUS_TIMED_OUT);
    err_free(e);
    client_destroy(client);
}

/* A port that was free a moment ago, on which nobody listens. */
static void nobody_there_is_unreachable(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    char server[64];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    require(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    snprintf(server, sizeof server, "https://127.0.0.1:%u", ntohs(address.sin_port));
    struct client_config config = {.server = server};
    struct client *client = NULL;
    require(!client_open(&config, &client));
    struct err *e = client_call(client, "GET", "/v1/server", NULL, NULL);
    expect_eq(err_status(e), STATUS_UNREACHABLE);
    err_free(e);
    client_destroy(client);
    close(fd);
}

static void bad_configurations_are_refused_in_words(void)
{
    static const char *const texts[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"server\":1}",
                                        "{\"server\":\"https://x\",\"pin\":\"12\"}",
                                        "{\"server\":\"https://x\",\"pin\":[\"a\"]}",
                                        "{\"server\":\"https://x\",\"token\":[]}",
                                        "{\"server\":"};
    for (size_t i = 0; i < countof(texts); i++) {
        struct client_config config;
        struct err *e = client_config_parse(texts[i], &config);
        expect_eq(err_status(e), STATUS_BAD_CONFIG);
        err_free(e);
    }
}

static void a_token_never_travels_in_clear_text(void)
{
    char server[] = "http://127.0.0.1:1";
    struct client_config config = {.server = server};
    struct client *client = NULL;
    struct err *e = client_open(&config, &client);
    expect_eq(err_status(e), STATUS_BAD_CONFIG);
    expect(!client);
    err_free(e);
}

static void the_configuration_named_by_the_environment_is_used(void)
{
    char path[] = "/tmp/tarn-client.XXXXXX";
    struct client_config config;
    int fd = mkstemp(path);
    require(fd >= 0);
    dprintf(fd, "{\"server\":\"https://here\",\"pin\":[\"%s\",\"%s\"]}", pin, wrong_pin);
    close(fd);
    setenv("TARN_CONFIG", path, 1);
    struct err *e = client_config_find(NULL, &config);
    expect(!e);
    if (!e) {
        expect_str(config.server, "https://here");
        expect_eq(config.pin_count, 2);
        expect_str(config.path, path);
        client_config_fini(&config);
    }
    err_free(e);
    unlink(path);
    e = client_config_find(NULL, &config);
    expect_eq(err_status(e), STATUS_BAD_CONFIG);
    err_free(e);
    unsetenv("TARN_CONFIG");
}

static void one_of_two_pins_is_enough(void)
{
    char *pins[] = {wrong_pin, pin};
    struct client_config config = {.server = url, .pins = {pins[0], pins[1]}, .pin_count = 2};
    struct client *client = NULL;
    require(!client_open(&config, &client));
    struct err *e = client_call(client, "GET", "/v1/server", NULL, NULL);
    expect(!e);
    err_free(e);
    client_destroy(client);
}

/* A port of this machine that nobody listens on. */
static unsigned closed_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0);
    check(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

static struct err *ask_several(const char *servers, const char *with_pin)
{
    char text[1024];
    struct client_config config;
    struct client *client = NULL;
    json_t *answer = NULL;
    snprintf(text, sizeof text, "{\"server\":\"https://127.0.0.1:%u\",\"servers\":[%s],\"pin\":\"%s\","
             "\"token\":\"secret\"}", closed_port(), servers, with_pin);
    struct err *e = client_config_parse(text, &config);
    if (e) return e;
    e = client_open(&config, &client);
    check(!e);
    client_config_fini(&config);
    e = client_call(client, "GET", "/v1/server", NULL, &answer);
    json_decref(answer);
    if (!e) { /* the one that answered is asked first from then on, over its connection */
        unsigned before = connections;
        answer = NULL;
        e = client_call(client, "GET", "/v1/server", NULL, &answer);
        json_decref(answer);
        expect_eq(connections, before);
    }
    client_destroy(client);
    return e;
}

static void all_addresses_of_a_server_are_tried(void)
{
    char servers[256];
    snprintf(servers, sizeof servers, "\"https://127.0.0.1:%u\",\"%s/\"", closed_port(), url);
    struct err *e = ask_several(servers, pin);
    expect(!e);
    err_free(e);
}

static void an_address_with_another_key_gets_nothing_whatever_the_order(void)
{
    char servers[256];
    last_authorization[0] = '\0';
    snprintf(servers, sizeof servers, "\"%s\"", url);
    struct err *e = ask_several(servers, wrong_pin);
    expect_eq(err_status(e), STATUS_UNAUTHENTICATED);
    expect_str(last_authorization, "");
    err_free(e);
    e = ask_several("1", pin);
    expect_eq(err_status(e), STATUS_BAD_CONFIG);
    err_free(e);
}

static void names_are_encoded_in_paths(void)
{
    char *text = client_encode_segment("a b/ü?..");
    expect_str(text, "a%20b%2F%C3%BC%3F%2E%2E");
    free(text);
}

int main(void)
{
    if (!start_server()) return 1;
    run(the_pinned_key_is_enough_and_the_token_travels);
    run(another_key_is_refused_before_the_token_is_sent);
    run(without_a_pin_a_self_signed_certificate_is_refused);
    run(changes_carry_a_body_and_an_idempotency_key);
    run(a_prepared_request_goes_over_the_connection_that_is_open);
    run(an_error_of_the_server_keeps_status_causes_and_what_to_do);
    run(a_server_that_says_nothing_is_a_timeout);
    run(nobody_there_is_unreachable);
    run(bad_configurations_are_refused_in_words);
    run(a_token_never_travels_in_clear_text);
    run(the_configuration_named_by_the_environment_is_used);
    run(one_of_two_pins_is_enough);
    run(all_addresses_of_a_server_are_tried);
    run(an_address_with_another_key_gets_nothing_whatever_the_order);
    run(names_are_encoded_in_paths);
    MHD_stop_daemon(httpd);
    return tap_done();
}
