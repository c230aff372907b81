#include "windows/provider/com/enrol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windows/provider/com/http.h"
#include "windows/provider/com/transport.h"

enum { PROOF_BODY_MAX = 512, ENROL_MS = 10000 };

struct enrolment {
    struct enrol_code code;
    uint8_t secret[CRYPTO_HASH_BYTES];
    char client_nonce[SIGNED_NONCE_SIZE];
    char pin[SIGNED_HASH_SIZE];
};

static int failed(const char *what, const char *next)
{
    fprintf(stderr, "tarn-vss: %s\n  next: %s\n", what, next);
    return 1;
}

static bool make_body(const struct enrolment *e, const char *pin, char body[PROOF_BODY_MAX])
{
    char text[ENROL_TEXT_MAX], proof[CRYPTO_HASH_SIZE];
    if (!enrol_proof_text(e->code.enrolment, e->client_nonce, pin, text) ||
        !crypto_hmac(e->secret, text, proof))
        return false;
    snprintf(body, PROOF_BODY_MAX,
             "{\"enrolment\":\"%s\",\"client_nonce\":\"%s\",\"proof\":\"%s\"}", e->code.enrolment,
             e->client_nonce, proof);
    return true;
}

/* Asks the addresses in order; the body is sent only to a server whose key is in the code. */
static bool ask_server(struct enrolment *e, struct api_reply *reply, bool *ret_pin_wrong)
{
    const char *pins[ENROL_PINS_MAX];
    char body[PROOF_BODY_MAX];
    HINTERNET session = http_session();
    bool is_done = false;
    if (!session || !make_body(e, e->code.pins[0], body))
        return false; /* its length is the same for every key */
    for (unsigned i = 0; i < e->code.pin_count; i++)
        pins[i] = e->code.pins[i];
    for (unsigned i = 0; i < e->code.address_count && !is_done; i++) {
        struct http_call call;
        if (!http_begin(session, e->code.addresses[i], pins, e->code.pin_count, true, "/v1/enrol",
                        strlen(body), ENROL_MS, &call)) {
            *ret_pin_wrong |= call.is_pin_wrong;
            continue;
        }
        memcpy(e->pin, call.pin, sizeof e->pin);
        if (make_body(e, call.pin, body) && http_send(&call, body, strlen(body)))
            reply->http = http_receive(&call);
        is_done = reply->http != 0 && http_read(&call, reply, NULL);
        http_end(&call);
    }
    WinHttpCloseHandle(session);
    return is_done;
}

/* The server proves that it knows the code too; then the key is made, which was never sent. */
static bool take_answer(const struct enrolment *e, struct json answer,
                        struct credential *credential)
{
    char server_nonce[SIGNED_NONCE_SIZE], confirm[CRYPTO_HASH_SIZE], expected[CRYPTO_HASH_SIZE],
        key[CRYPTO_HASH_SIZE];
    char text[ENROL_TEXT_MAX];
    struct credential c = {.address_count = e->code.address_count, .pin_count = e->code.pin_count};
    if (!json_text_member(answer, "credential", c.id, sizeof c.id) ||
        !json_text_member(answer, "host", c.host, sizeof c.host) ||
        !json_text_member(answer, "server_nonce", server_nonce, sizeof server_nonce) ||
        !json_text_member(answer, "confirm", confirm, sizeof confirm))
        return false;
    const struct enrol_answer parts = {e->code.enrolment, e->client_nonce, server_nonce, c.id,
                                       e->pin};
    if (!enrol_confirm_text(&parts, text) || !crypto_hmac(e->secret, text, expected) ||
        strcmp(confirm, expected) != 0)
        return false;
    bool ok = enrol_key_text(&parts, text) && crypto_hmac(e->secret, text, key) &&
              crypto_from_hex(key, c.key, sizeof c.key);
    memcpy(c.addresses, e->code.addresses, sizeof c.addresses);
    memcpy(c.pins, e->code.pins, sizeof c.pins);
    if (ok) *credential = c;
    SecureZeroMemory(key, sizeof key);
    credential_wipe(&c);
    return ok;
}

static int refused(const struct api_reply *reply)
{
    struct api_error error;
    struct api_reply copy = *reply;
    if (!reply->body || !json_parse(reply->body, reply->size, &copy.value))
        copy.value = (struct json){0};
    api_error_read(&copy, &error);
    return failed(error.message,
                  error.next[0] ? error.next : "have a new code made: tarn host enrol HOST");
}

static int store(const struct enrolment *e, const struct api_reply *reply)
{
    struct credential credential;
    struct json answer;
    if (!reply->body || !json_parse(reply->body, reply->size, &answer) ||
        !take_answer(e, answer, &credential))
        return failed("the server's answer does not prove that it knows the code",
                      "see who answers at these addresses, and have a new code made");
    DWORD error = credential_store(&credential);
    if (!error) printf("enrolled as %s\n", credential.host);
    credential_wipe(&credential);
    if (!error) return 0;
    fprintf(stderr, "tarn-vss: the credential could not be stored: error %lu\n",
            (unsigned long)error);
    return failed("this code is used up",
                  "run as administrator, with a new code: tarn host enrol HOST");
}

int enrol_redeem(const char *code)
{
    struct enrolment e = {0};
    struct api_reply reply = {0};
    bool is_pin_wrong = false;
    int result;
    if (!enrol_code_read(code, &e.code) ||
        !crypto_from_hex(e.code.secret, e.secret, sizeof e.secret))
        return failed("that is not an enrolment code",
                      "copy it whole: it begins with tarn1+ and has no spaces");
    if (!crypto_random_hex(e.client_nonce, sizeof e.client_nonce))
        return failed("Windows gave no random numbers", "repair Windows");
    if (!ask_server(&e, &reply, &is_pin_wrong))
        result =
            is_pin_wrong
                ? failed(
                      "another server answers than the one that made the code: its key is not the "
                      "pinned one; nothing was sent to it",
                      "see that the addresses in the code lead to the right server")
                : failed("no server answers at the addresses in the code",
                         "see that the server runs and that its API can be reached from here");
    else
        result = reply.http == 201 || reply.http == 200 ? store(&e, &reply) : refused(&reply);
    api_reply_fini(&reply);
    SecureZeroMemory(&e, sizeof e);
    return result;
}

int enrol_status(void)
{
    struct credential credential;
    struct api_request request;
    struct api_reply reply = {0};
    if (!credential_load(&credential))
        return failed("this host is not enrolled", "tarn-vss enrol CODE");
    printf("host %s, credential %s\n", credential.host, credential.id);
    struct transport *transport = transport_create(&credential);
    api_request_init(&request, "GET", 4000);
    if (transport && api_request_path(&request, "/v1/hosts", credential.host, NULL))
        api_exchange(transport, &request, &reply);
    int result = api_is_ok(&reply) ? 0 : refused(&reply);
    if (result == 0) puts("the server answers");
    api_reply_fini(&reply);
    credential_wipe(&credential);
    return result;
}
