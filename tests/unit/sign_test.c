/* Signed requests and enrolment: the vectors of doc/design/0070-host-requests.md, what is refused,
 * and that nothing is taken twice. */
#include "client/sign.h"

#include <stdlib.h>

#include "base/attr.h"
#include "control/host_int.h"
#include "tests/unit/control_rig.h"

#define PIN "699db1881bd2555c4b4d2374f4258ef30e0ae2424d1e39bbe252958302d69d91"
#define NEXT_PIN "aaaab1881bd2555c4b4d2374f4258ef30e0ae2424d1e39bbe252958302d69d91"
#define DIGITS_32(d) d d d d d d d d d d d d d d d d d d d d d d d d d d d d d d d d
static const char client_nonce[] = DIGITS_32("11"), server_nonce[] = DIGITS_32("22"),
                  fixed_nonce[] = DIGITS_32("33");
static const char enrolment_id[] = "c7724223-3a98-4468-b956-05983cbb1bab",
                  credential_id[] = "df0ca74e-995f-45a9-b8ba-b76c5ea09614";
static const char key_hex[] = "6620a80d924f6eb25735f4c88a59e99f981867f882b277d8bb3526392616974f";

/* ---- Vectors ---- */

static void hmac(const void *key, const char *text, char hex[SIGNED_HASH_SIZE])
{
    struct err *e = sign_hmac(key, SIGN_KEY_BYTES, text, hex);
    check(!e);
}

static void enrolment_is_as_the_document_says(void)
{
    uint8_t secret[SIGN_KEY_BYTES];
    char text[ENROL_TEXT_MAX], hex[SIGNED_HASH_SIZE], other[SIGNED_HASH_SIZE];
    for (unsigned i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)i;
    struct enrol_answer answer = {enrolment_id, client_nonce, server_nonce, credential_id, PIN};
    expect(enrol_proof_text(enrolment_id, client_nonce, PIN, text));
    hmac(secret, text, hex);
    expect_str(hex, "d4b53e3606819d0d747017c34c94cd456c107153852fd4135c52bada522f80d5");
    expect(enrol_confirm_text(&answer, text));
    hmac(secret, text, hex);
    expect_str(hex, "81eeb7bfde2c44b889789b00fb5c128bbb47a7ea52c582ba6dd1715ef24d8c53");
    expect(enrol_key_text(&answer, text));
    hmac(secret, text, hex);
    expect_str(hex, key_hex);
    expect(sign_text(secret, sizeof secret, text, other)); /* the server's side */
    expect_str(other, key_hex);
    answer.credential = "df0ca74e";
    expect(!enrol_key_text(&answer, text));
}

static const struct {
    const char *method, *path, *body_hash, *key, *signature;
} vectors[] = {
    {"POST", "/v1/sets/8f4c1b7e-2d53-4a0e-9c55-0a1b2c3d4e5f/commit",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "-",
     "63a4b7e569a6ada8127f399972c011d581b9769ce6113a31a4e1cb0b2f92187e"},
    {"POST", "/v1/sets", "5046b6db5f8b72d65e2d42515663f1d9b0f344c8880b1a8db3889ef4fe8db7e0",
     "prepare-1", "6e56ec9c9b4e6b3a0fe0113c7585b39c06eceb85749588cfdaa81ed88ee6e6b1"},
    {"GET", "/v1/jobs/0b0e6a3a-5a3c-4c3e-8f5f-0d3f0c7a9b11?wait=10",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "-",
     "62d0790897859c946bb84152f0f7c6ff3247ad54c63eccfcdf99405082a09cdf"},
};

static struct signed_request fixed_request(unsigned i)
{
    struct signed_request r = {.request_id = "44444444444444444444444444444444"};
    snprintf(r.credential, sizeof r.credential, "%s", credential_id);
    snprintf(r.nonce, sizeof r.nonce, "%s", fixed_nonce);
    snprintf(r.idempotency_key, sizeof r.idempotency_key, "%s", vectors[i].key);
    snprintf(r.method, sizeof r.method, "%s", vectors[i].method);
    snprintf(r.path, sizeof r.path, "%s", vectors[i].path);
    return r;
}

static void signatures_are_as_the_document_says(void)
{
    uint8_t key[SIGN_KEY_BYTES];
    char text[SIGNED_TEXT_MAX], line[SIGNED_LINE_MAX];
    require(text_parse_hex(key_hex, key, sizeof key));
    for (unsigned i = 0; i < countof(vectors); i++) {
        struct signed_request r = fixed_request(i), read;
        size_t body = 0;
        expect(signed_request_text(&r, vectors[i].body_hash, PIN, text));
        hmac(key, text, r.signature);
        expect_str(r.signature, vectors[i].signature);
        expect(signed_request_write(&r, line));
        expect(signed_request_read(line, strlen(line), &read, &body));
        expect_eq(body, strlen(line));
        expect(memcmp(&r, &read, sizeof r) == 0 || strcmp(r.path, read.path) == 0);
        expect_str(read.signature, r.signature);
    }
}

static void lines_that_are_not_exactly_so_are_refused(void)
{
    struct signed_request r = fixed_request(0), read;
    size_t body;
    char line[SIGNED_LINE_MAX], bad[SIGNED_LINE_MAX + 8];
    snprintf(r.signature, sizeof r.signature, "%s", vectors[0].signature);
    require(signed_request_write(&r, line));
    size_t length = strlen(line);
    for (size_t cut = 0; cut < length; cut++) /* every truncation */
        expect(!signed_request_read(line, cut, &read, &body));
    static const struct {
        const char *find, *put;
    } changes[] = {
        {"TARN1 ", "TARN2 "},  {"TARN1 ", "TARN1  "},      {" POST ", " PUT "},
        {" POST ", "\tPOST "}, {" /v1/", " /v2/"},         {" /v1/", " http://"},
        {"df0ca", "DF0CA"},    {"df0ca74e-", "df0ca74e0"}, {" - ", "  "},
        {"4444", "444"},       {"3333", "333g"},           {"3333", "33333"},
        {"63a4", "63A4"},      {"63a4", "\0013a4"},        {"\n", " x\n"},
        {"\n", "\r\n"},
    };
    for (unsigned i = 0; i < countof(changes); i++) {
        const char *at = strstr(line, changes[i].find);
        require(at != NULL);
        snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - line), line, changes[i].put,
                 at + strlen(changes[i].find));
        if (signed_request_read(bad, strlen(bad), &read, &body)) printf("# %s", bad);
        expect(!signed_request_read(bad, strlen(bad), &read, &body));
    }
    snprintf(bad, sizeof bad, "%sX", line); /* a body of one byte */
    expect(signed_request_read(bad, strlen(bad), &read, &body));
    expect_eq(body, length);
}

static void codes_are_read_as_they_were_written(void)
{
    struct enrol_code code = {.address_count = 3,
                              .pin_count = 2,
                              .addresses = {"tarn.example:7260", "192.0.2.1:1",
                                            "[2001:db8::1]:7260"},
                              .pins = {PIN, NEXT_PIN}},
                      read;
    char text[ENROL_CODE_MAX], around[ENROL_CODE_MAX + 16];
    memcpy(code.enrolment, enrolment_id, sizeof code.enrolment);
    memcpy(code.secret, key_hex, sizeof code.secret);
    require(enrol_code_write(&code, text));
    expect(strncmp(text, "tarn1+tarn.example:7260,192.0.2.1:1,[2001:db8::1]:7260+" PIN,
                   sizeof PIN + 50) == 0);
    snprintf(around, sizeof around, "  %s \r\n", text);
    require(enrol_code_read(around, &read));
    expect(memcmp(&code, &read, sizeof code) == 0);
    for (size_t cut = 0; cut < strlen(text); cut++) {
        snprintf(around, sizeof around, "%.*s", (int)cut, text);
        expect(!enrol_code_read(around, &read));
    }
    snprintf(around, sizeof around, "%s+", text);
    expect(!enrol_code_read(around, &read));
    static const char *const addresses[] = {"nocolon", ":7260", "a:", "a:123456", "a b:1", "a+b:1"};
    for (unsigned i = 0; i < countof(addresses); i++) {
        snprintf(code.addresses[0], sizeof code.addresses[0], "%s", addresses[i]);
        expect(!enrol_code_write(&code, text));
    }
}

/* ---- A server ---- */

struct world {
    struct rig *rig;
    struct sign_identity identity;
    struct control_signed sent; /* the last request */
    char nonce[SIGNED_NONCE_SIZE], actor[CONTROL_ACTOR_SIZE];
};

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static void on_login(struct control_login *login)
{
    *(bool *)login->arg = true;
}

static enum status authenticate(struct world *world, struct control_login *login)
{
    bool done = false;
    login->done = on_login;
    login->arg = &done;
    control_authenticate(world->rig->control, login);
    check(sim_run_until(world->rig->sim, is_true, &done, RT_SECOND));
    return login->status;
}

static void take_nonce(struct world *world)
{
    struct control_login login = {.nonce_only = true};
    expect_eq(authenticate(world, &login), STATUS_OK);
    expect_eq(strlen(login.nonce), 64);
    memcpy(world->nonce, login.nonce, sizeof world->nonce);
}

static enum status send(struct world *world)
{
    struct control_login login = {.signed_request = &world->sent};
    enum status status = authenticate(world, &login);
    expect_eq(strlen(login.nonce), 64); /* always a new one */
    expect(strcmp(login.nonce, world->nonce) != 0);
    if (status == STATUS_OK) expect_eq(login.actor.role, CONTROL_ROLE_HOST);
    snprintf(world->actor, sizeof world->actor, "%s", login.actor.name);
    return status;
}

static void make(struct world *world, const char *pin)
{
    struct sign_what what = {
        .method = "GET", .path = "/v1/disks", .nonce = world->nonce, .pin = pin};
    auto_free char *body = NULL;
    size_t offset;
    struct err *e = sign_request(&world->identity, &what, &body);
    check(!e);
    check(signed_request_read(body, strlen(body), &world->sent.request, &offset));
    snprintf(world->sent.body_hash, sizeof world->sent.body_hash, "%s", vectors[0].body_hash);
}

static enum status ask(struct world *world, const char *pin)
{
    make(world, pin);
    return send(world);
}

struct redeemed {
    bool done;
    struct control_enrol call;
};

static void on_redeemed(struct control_enrol *call)
{
    ((struct redeemed *)call->arg)->done = true;
}

/* The client's side of it; *ret_identity is what the client now holds. */
static enum status redeem(struct world *world, const char *code_text, const char *pin,
                          struct sign_identity *ret_identity)
{
    struct enrol_code code;
    struct redeemed redeemed = {0};
    uint8_t secret[SIGN_KEY_BYTES];
    char text[ENROL_TEXT_MAX], confirm[SIGNED_HASH_SIZE], key[SIGNED_HASH_SIZE];
    check(enrol_code_read(code_text, &code));
    check(text_parse_hex(code.secret, secret, sizeof secret));
    struct control_enrol *call = &redeemed.call;
    memcpy(call->enrolment, code.enrolment, sizeof call->enrolment);
    sign_draw_hex(call->client_nonce, sizeof call->client_nonce);
    check(enrol_proof_text(call->enrolment, call->client_nonce, pin, text));
    hmac(secret, text, call->proof);
    call->done = on_redeemed;
    call->arg = &redeemed;
    control_redeem(world->rig->control, call);
    check(sim_run_until(world->rig->sim, is_true, &redeemed.done, 10 * RT_SECOND));
    enum status status = err_status(call->error);
    err_free(call->error);
    if (status != STATUS_OK) return status;
    struct enrol_answer answer = {code.enrolment, call->client_nonce, call->server_nonce,
                                  call->credential, pin};
    check(enrol_confirm_text(&answer, text));
    hmac(secret, text, confirm);
    expect_str(call->confirm, confirm);
    check(enrol_key_text(&answer, text));
    hmac(secret, text, key);
    memcpy(ret_identity->credential, call->credential, sizeof ret_identity->credential);
    check(text_parse_hex(key, ret_identity->key, sizeof ret_identity->key));
    return status;
}

static void enrol(struct world *world, const char *host, bool replace, char code[ENROL_CODE_MAX])
{
    json_t *made = rig_ok(world->rig, "host_enrol", "{s:s, s:b}", "name", host, "replace", replace);
    snprintf(code, ENROL_CODE_MAX, "%s", rig_text(made, "code"));
    json_decref(made);
}

static void set_pins(struct world *world)
{
    static const char *const pins[] = {PIN, NEXT_PIN};
    control_set_api(world->rig->control, pins, 2, "192.0.2.1:7260");
}

static struct world world_begin(void)
{
    struct world world = {.rig = rig_create(RIG_MEMORY)};
    char code[ENROL_CODE_MAX];
    set_pins(&world);
    for (unsigned i = 1; i <= 2; i++) {
        char name[8], initiator[32];
        snprintf(name, sizeof name, "h%u", i);
        snprintf(initiator, sizeof initiator, "iqn.2026-11.x:%u", i);
        expect(rig_do(world.rig, "host_create", "{s:s, s:[s], s:s}", "name", name, "initiators",
                      initiator, "auth", "none"));
    }
    enrol(&world, "h1", false, code);
    expect_eq(redeem(&world, code, PIN, &world.identity), STATUS_OK);
    take_nonce(&world);
    return world;
}

static void world_end(struct world *world)
{
    rig_destroy(world->rig);
}

static void a_host_is_known_by_its_signature(void)
{
    struct world world = world_begin();
    expect_eq(ask(&world, PIN), STATUS_OK);
    expect_str(world.actor, "host:h1");
    expect_eq(ask(&world, PIN), STATUS_OK);      /* the same nonce, another id */
    expect_eq(ask(&world, NEXT_PIN), STATUS_OK); /* the key that was announced */
    expect(rig_restart(world.rig));              /* keys are kept, sealed */
    set_pins(&world);
    expect_eq(ask(&world, PIN), STATUS_NONCE_STALE);
    take_nonce(&world);
    expect_eq(ask(&world, PIN), STATUS_OK);
    world_end(&world);
}

/* Each byte of what is signed counts. */
static void whatever_is_changed_does_not_fit(void)
{
    struct world world = world_begin();
    expect_eq(ask(&world, fixed_nonce), STATUS_UNAUTHENTICATED); /* meant for another server */
    struct sign_identity right = world.identity;
    world.identity.key[31] ^= 1;
    expect_eq(ask(&world, PIN), STATUS_UNAUTHENTICATED);
    world.identity = right;
    memcpy(world.identity.credential, credential_id, sizeof credential_id);
    expect_eq(ask(&world, PIN), STATUS_UNAUTHENTICATED);
    world.identity = right;
    struct signed_request *r = &world.sent.request;
    char *const fields[] = {r->nonce, r->request_id, r->signature, world.sent.body_hash};
    for (unsigned i = 0; i < countof(fields); i++) {
        make(&world, PIN);
        fields[i][5] = fields[i][5] == '0' ? '1' : '0';
        expect_eq(send(&world), STATUS_UNAUTHENTICATED);
    }
    make(&world, PIN);
    memcpy(r->method, "DELETE", 7);
    expect_eq(send(&world), STATUS_UNAUTHENTICATED);
    make(&world, PIN);
    r->path[4] = 'D';
    expect_eq(send(&world), STATUS_UNAUTHENTICATED);
    make(&world, PIN);
    memcpy(r->idempotency_key, "x", 2);
    expect_eq(send(&world), STATUS_UNAUTHENTICATED);
    expect_eq(ask(&world, PIN), STATUS_OK);
    world_end(&world);
}

static void a_request_is_taken_once(void)
{
    struct world world = world_begin();
    expect_eq(ask(&world, PIN), STATUS_OK);
    for (unsigned i = 0; i < 3; i++)
        expect_eq(send(&world), STATUS_REPLAYED);
    sim_run_for(world.rig->sim, 119 * RT_SECOND);
    expect_eq(send(&world), STATUS_REPLAYED); /* as long as its nonce is good */
    sim_run_for(world.rig->sim, 2 * RT_SECOND);
    expect_eq(send(&world), STATUS_NONCE_STALE);
    expect_eq(ask(&world, PIN), STATUS_NONCE_STALE);
    take_nonce(&world);
    expect_eq(ask(&world, PIN), STATUS_OK);
    world_end(&world);
}

static void many_requests_are_remembered_and_too_many_wait(void)
{
    struct world world = world_begin();
    unsigned taken = 0;
    make(&world, PIN);
    struct control_signed first = world.sent;
    expect_eq(send(&world), STATUS_OK);
    enum status status = STATUS_OK;
    for (taken = 1; taken < 9000 && status == STATUS_OK; taken++)
        status = ask(&world, PIN);
    expect_eq(status, STATUS_AGAIN);
    expect_eq(taken, 8193);
    world.sent = first;
    expect_eq(send(&world), STATUS_REPLAYED);
    sim_run_for(world.rig->sim, 121 * RT_SECOND);
    take_nonce(&world);
    expect_eq(ask(&world, PIN), STATUS_OK);
    world_end(&world);
}

static void nobody_makes_nonces_but_this_server(void)
{
    struct world world = world_begin();
    memcpy(world.nonce, fixed_nonce, sizeof fixed_nonce);
    expect_eq(ask(&world, PIN), STATUS_NONCE_STALE);
    take_nonce(&world);
    world.nonce[1] = world.nonce[1] == '0' ? '1' : '0'; /* another time */
    expect_eq(ask(&world, PIN), STATUS_NONCE_STALE);
    world_end(&world);
}

static void a_code_is_good_once_and_for_its_time(void)
{
    struct world world = world_begin();
    struct sign_identity identity;
    char code[ENROL_CODE_MAX], older[ENROL_CODE_MAX];
    enrol(&world, "h2", false, older);
    enrol(&world, "h2", false, code);
    expect_eq(redeem(&world, older, PIN, &identity), STATUS_UNAUTHENTICATED);
    expect_eq(redeem(&world, code, fixed_nonce, &identity), STATUS_UNAUTHENTICATED);
    char forged[ENROL_CODE_MAX];
    snprintf(forged, sizeof forged, "%s", code);
    char *last = &forged[strlen(forged) - 1];
    *last = *last == '0' ? '1' : '0'; /* the id is known, the secret is not */
    expect_eq(redeem(&world, forged, PIN, &identity), STATUS_UNAUTHENTICATED);
    expect(rig_restart(world.rig));
    set_pins(&world);
    expect_eq(redeem(&world, code, NEXT_PIN, &identity), STATUS_OK);
    expect_eq(redeem(&world, code, NEXT_PIN, &identity), STATUS_UNAUTHENTICATED);
    enrol(&world, "h2", false, code);
    sim_run_for(world.rig->sim, 3601 * RT_SECOND);
    expect_eq(redeem(&world, code, PIN, &identity), STATUS_UNAUTHENTICATED);
    expect_eq(rig_fails(world.rig, "host_enrol", "{s:s, s:i}", "name", "h2", "expires_s", 0),
              STATUS_BAD_REQUEST);
    expect_eq(rig_fails(world.rig, "host_enrol", "{s:s, s:[s]}", "name", "h2", "addresses", "x"),
              STATUS_BAD_REQUEST);
    world_end(&world);
}

static unsigned credentials_of(struct rig *rig, const char *kind)
{
    unsigned count = 0;
    json_t *list = rig_ok(rig, "credential_list", NULL);
    const json_t *all = json_object_get(list, "credentials");
    for (size_t i = 0; i < json_array_size(all); i++)
        count += strcmp(rig_text(json_array_get(all, i), "kind"), kind) == 0;
    json_decref(list);
    return count;
}

static void a_credential_ends_when_it_is_revoked_or_replaced(void)
{
    struct world world = world_begin();
    struct sign_identity first = world.identity, second;
    char code[ENROL_CODE_MAX];
    enrol(&world, "h1", false, code);
    expect_eq(redeem(&world, code, PIN, &second), STATUS_OK);
    expect_eq(ask(&world, PIN), STATUS_OK); /* both are good */
    expect_eq(credentials_of(world.rig, "credential"), 2);
    enrol(&world, "h1", true, code);
    expect_eq(credentials_of(world.rig, "code"), 1);
    expect_eq(ask(&world, PIN), STATUS_OK); /* until the new one is there */
    expect_eq(redeem(&world, code, PIN, &world.identity), STATUS_OK);
    for (unsigned round = 0; round < 2; round++) {
        struct sign_identity third = world.identity;
        take_nonce(&world);
        expect_eq(ask(&world, PIN), STATUS_OK);
        world.identity = first;
        expect_eq(ask(&world, PIN), STATUS_UNAUTHENTICATED);
        world.identity = second;
        expect_eq(ask(&world, PIN), STATUS_UNAUTHENTICATED);
        world.identity = third;
        expect_eq(credentials_of(world.rig, "credential"), 1);
        expect(rig_restart(world.rig));
        set_pins(&world);
    }
    expect(rig_do(world.rig, "credential_revoke", "{s:s}", "name", world.identity.credential));
    take_nonce(&world);
    expect_eq(ask(&world, PIN), STATUS_UNAUTHENTICATED);
    expect_eq(rig_fails(world.rig, "credential_revoke", "{s:s}", "name", world.identity.credential),
              STATUS_NOT_FOUND);
    world_end(&world);
}

static void a_host_that_goes_takes_its_credentials_along(void)
{
    struct world world = world_begin();
    char code[ENROL_CODE_MAX];
    enrol(&world, "h1", false, code);
    expect(rig_do(world.rig, "host_delete", "{s:s}", "name", "h1"));
    expect_eq(ask(&world, PIN), STATUS_UNAUTHENTICATED);
    struct sign_identity identity;
    expect_eq(redeem(&world, code, PIN, &identity), STATUS_UNAUTHENTICATED);
    expect_eq(credentials_of(world.rig, "credential") + credentials_of(world.rig, "code"), 0);
    world_end(&world);
}

static bool file_holds(struct rig *rig, const char *path, const char *text, size_t length)
{
    uint64_t size = sim_file_size(rig->node, path);
    auto_free char *bytes = calloc(1, size + 1);
    check(bytes);
    sim_file_peek(rig->node, path, 0, bytes, size);
    return memmem(bytes, size, text, length) != NULL;
}

static void keys_and_codes_are_in_no_file_and_no_record(void)
{
    struct world world = world_begin();
    char code[ENROL_CODE_MAX], key[SIGNED_HASH_SIZE];
    enrol(&world, "h2", false, code);
    const char *secret = strrchr(code, '+') + 1;
    uint8_t bytes[SIGN_KEY_BYTES];
    check(text_parse_hex(secret, bytes, sizeof bytes));
    text_format_hex(world.identity.key, sizeof world.identity.key, key);
    static const char *const files[] = {"/state/catalog.db", "/state/catalog.db-wal"};
    bool seen = false;
    for (unsigned i = 0; i < countof(files); i++) {
        const char *path = files[i];
        seen = seen || file_holds(world.rig, path, world.identity.credential, 36);
        expect(!file_holds(world.rig, path, secret, 64));
        expect(!file_holds(world.rig, path, key, 64));
        expect(!file_holds(world.rig, path, (const char *)bytes, sizeof bytes));
        expect(!file_holds(world.rig, path, (const char *)world.identity.key, SIGN_KEY_BYTES));
    }
    expect(seen); /* the search works */
    json_t *list = rig_ok(world.rig, "audit_list", NULL);
    char *text = json_dumps(list, 0);
    expect(strstr(text, "host_redeem") && !strstr(text, secret) && !strstr(text, key));
    free(text);
    json_decref(list);
    world_end(&world);
}

static void refused_logins_are_recorded_and_do_not_flood(void)
{
    struct world world = world_begin();
    world.identity.key[0] ^= 1;
    for (unsigned i = 0; i < 100; i++)
        expect_eq(ask(&world, PIN), STATUS_UNAUTHENTICATED);
    sim_run_for(world.rig->sim, 62 * RT_SECOND);
    json_t *list = rig_ok(world.rig, "audit_list", "{s:s}", "actor", "nobody");
    expect_eq(json_array_size(json_object_get(list, "records")), 2);
    expect_eq(rig_number(list, "records.0.arguments.repeated"), 99);
    expect_str(rig_text(list, "records.1.verb"), "login");
    json_decref(list);
    world_end(&world);
}

int main(void)
{
    run(enrolment_is_as_the_document_says);
    run(signatures_are_as_the_document_says);
    run(lines_that_are_not_exactly_so_are_refused);
    run(codes_are_read_as_they_were_written);
    run(a_host_is_known_by_its_signature);
    run(whatever_is_changed_does_not_fit);
    run(a_request_is_taken_once);
    run(many_requests_are_remembered_and_too_many_wait);
    run(nobody_makes_nonces_but_this_server);
    run(a_code_is_good_once_and_for_its_time);
    run(a_credential_ends_when_it_is_revoked_or_replaced);
    run(a_host_that_goes_takes_its_credentials_along);
    run(keys_and_codes_are_in_no_file_and_no_record);
    run(refused_logins_are_recorded_and_do_not_flood);
    return tap_done();
}
