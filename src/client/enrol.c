/* Redeeming an enrolment code: the secret in it proves who asks and becomes the credential's key;
 * it is never sent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "client/client.h"
#include "client/sign.h"

struct redeem {
    struct enrol_code code;
    unsigned char secret[SIGN_KEY_BYTES];
    char client_nonce[SIGNED_NONCE_SIZE];
};

static struct err *ask(const struct redeem *redeem, const char *server, const char *pin,
                       json_t **ret_answer)
{
    char text[ENROL_TEXT_MAX], proof[SIGNED_HASH_SIZE];
    check(enrol_proof_text(redeem->code.enrolment, redeem->client_nonce, pin, text));
    TRY(sign_hmac(redeem->secret, sizeof redeem->secret, text, proof));
    const char *pins[ENROL_PINS_MAX];
    for (unsigned i = 0; i < redeem->code.pin_count; i++)
        pins[i] = redeem->code.pins[i];
    struct transport_options options = {
        .server = server, .pins = pins, .pin_count = redeem->code.pin_count};
    struct transport *transport = NULL;
    struct client *client = NULL;
    TRY(transport_curl_create(&options, &transport));
    TRY(client_create(transport, server, &client));
    json_t *body = json_pack("{s:s, s:s, s:s}", "enrolment", redeem->code.enrolment, "client_nonce",
                             redeem->client_nonce, "proof", proof);
    struct err *e = body ? client_call(client, "POST", "/v1/enrol", body, ret_answer)
                         : err_new(STATUS_NO_MEMORY, "enrol");
    json_decref(body);
    client_destroy(client);
    return e;
}

static const char *text_of(const json_t *answer, const char *key)
{
    const char *text = json_string_value(json_object_get(answer, key));
    return text ? text : "";
}

/* The server proves that it knows the secret too; then both can make the key. */
static struct err *take_answer(const struct redeem *redeem, const json_t *answer, const char *pin,
                               char ret_key[SIGNED_HASH_SIZE])
{
    struct enrol_answer given = {.enrolment = redeem->code.enrolment,
                                 .client_nonce = redeem->client_nonce,
                                 .server_nonce = text_of(answer, "server_nonce"),
                                 .credential = text_of(answer, "credential"),
                                 .pin = pin};
    char text[ENROL_TEXT_MAX], confirm[SIGNED_HASH_SIZE];
    if (!enrol_confirm_text(&given, text))
        return err_new(STATUS_UNAUTHENTICATED, "the server's answer to the enrolment is damaged");
    TRY(sign_hmac(redeem->secret, sizeof redeem->secret, text, confirm));
    if (strcmp(confirm, text_of(answer, "confirm")) != 0) {
        return err_new(STATUS_UNAUTHENTICATED,
                       "the server did not prove that it knows the code: nothing is enrolled");
    }
    check(enrol_key_text(&given, text));
    return sign_hmac(redeem->secret, sizeof redeem->secret, text, ret_key);
}

static json_t *config_of(const struct redeem *redeem, const char *server, const json_t *answer,
                         const char *key)
{
    json_t *pins = json_array(), *servers = json_array();
    for (unsigned i = 0; i < redeem->code.pin_count; i++)
        json_array_append_new(pins, json_string(redeem->code.pins[i]));
    for (unsigned i = 0; i < redeem->code.address_count; i++)
        json_array_append_new(servers, json_sprintf("https://%s", redeem->code.addresses[i]));
    return json_pack("{s:s, s:o, s:o, s:s, s:s, s:s}", "server", server, "servers", servers, "pin",
                     pins, "host", text_of(answer, "host"), "credential",
                     text_of(answer, "credential"), "key", key);
}

static struct err *redeem_at(const struct redeem *redeem, const char *address, json_t **ret_config)
{
    char server[ENROL_ADDRESS_SIZE + 16], key[SIGNED_HASH_SIZE];
    snprintf(server, sizeof server, "https://%s", address);
    json_t *answer = NULL;
    struct err *e = NULL;
    const char *pin = NULL;
    for (unsigned i = 0; i < redeem->code.pin_count; i++) { /* of this key, or of the next one */
        err_free(e);
        pin = redeem->code.pins[i];
        e = ask(redeem, server, pin, &answer);
        if (err_status(e) != STATUS_UNAUTHENTICATED) break;
    }
    if (e) return e;
    e = take_answer(redeem, answer, pin, key);
    if (!e) *ret_config = config_of(redeem, server, answer, key);
    explicit_bzero(key, sizeof key);
    json_decref(answer);
    return e;
}

struct err *client_redeem(const char *code, json_t **ret_config)
{
    struct redeem redeem;
    if (!enrol_code_read(code, &redeem.code)) {
        return err_next(err_new(STATUS_BAD_REQUEST, "this is not an enrolment code, or not all of"
                                                    " it"),
                        "it is one word that begins with tarn1+; tarn host enrol prints it");
    }
    check(text_parse_hex(redeem.code.secret, redeem.secret, sizeof redeem.secret));
    sign_draw_hex(redeem.client_nonce, sizeof redeem.client_nonce);
    struct err *e = NULL;
    for (unsigned i = 0; i < redeem.code.address_count; i++) {
        err_free(e);
        e = redeem_at(&redeem, redeem.code.addresses[i], ret_config);
        if (err_status(e) != STATUS_UNREACHABLE) break;
    }
    explicit_bzero(&redeem, sizeof redeem);
    return e;
}
