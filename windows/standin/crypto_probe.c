/* crypto_probe - the vectors of doc/design/0070-host-requests.md with Windows' cryptography, and
 * the credential's store. Prints TAP. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/tap.h"
#include "windows/provider/com/credential.h"

#define PIN "699db1881bd2555c4b4d2374f4258ef30e0ae2424d1e39bbe252958302d69d91"
#define ENROLMENT "c7724223-3a98-4468-b956-05983cbb1bab"
#define CREDENTIAL "df0ca74e-995f-45a9-b8ba-b76c5ea09614"
#define KEY "6620a80d924f6eb25735f4c88a59e99f981867f882b277d8bb3526392616974f"
#define ONES "1111111111111111111111111111111111111111111111111111111111111111"
#define TWOS "2222222222222222222222222222222222222222222222222222222222222222"
#define THREES "3333333333333333333333333333333333333333333333333333333333333333"

static void hmac_of_text(const char *key_hex, const char *text, char hex[CRYPTO_HASH_SIZE])
{
    uint8_t key[CRYPTO_HASH_BYTES];
    hex[0] = '\0';
    require(crypto_from_hex(key_hex, key, sizeof key) && crypto_hmac(key, text, hex));
}

static void an_enrolment_gives_the_documented_key(void)
{
    static const char secret[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const struct enrol_answer answer = {ENROLMENT, ONES, TWOS, CREDENTIAL, PIN};
    char text[ENROL_TEXT_MAX], hex[CRYPTO_HASH_SIZE];
    require(enrol_proof_text(ENROLMENT, ONES, PIN, text));
    hmac_of_text(secret, text, hex);
    expect_str(hex, "d4b53e3606819d0d747017c34c94cd456c107153852fd4135c52bada522f80d5");
    require(enrol_confirm_text(&answer, text));
    hmac_of_text(secret, text, hex);
    expect_str(hex, "81eeb7bfde2c44b889789b00fb5c128bbb47a7ea52c582ba6dd1715ef24d8c53");
    require(enrol_key_text(&answer, text));
    hmac_of_text(secret, text, hex);
    expect_str(hex, KEY);
}

static void signs_as(const char *method, const char *path, const char *key, const char *body,
                     const char *wanted)
{
    struct signed_request r = {.credential = CREDENTIAL,
                               .nonce = THREES,
                               .request_id = "44444444444444444444444444444444"};
    char hash[CRYPTO_HASH_SIZE], text[SIGNED_TEXT_MAX], hex[CRYPTO_HASH_SIZE];
    snprintf(r.method, sizeof r.method, "%s", method);
    snprintf(r.path, sizeof r.path, "%s", path);
    snprintf(r.idempotency_key, sizeof r.idempotency_key, "%s", key);
    require(crypto_sha256(body, strlen(body), hash) && signed_request_text(&r, hash, PIN, text));
    hmac_of_text(KEY, text, hex);
    expect_str(hex, wanted);
}

static void requests_are_signed_as_documented(void)
{
    signs_as("POST", "/v1/sets/8f4c1b7e-2d53-4a0e-9c55-0a1b2c3d4e5f/commit", "-", "",
             "63a4b7e569a6ada8127f399972c011d581b9769ce6113a31a4e1cb0b2f92187e");
    signs_as("POST", "/v1/sets", "prepare-1",
             "{\"disks\":[\"3b01aa9d-83ee-4f53-b165-661953dd09a7\"],\"lease_s\":900}",
             "6e56ec9c9b4e6b3a0fe0113c7585b39c06eceb85749588cfdaa81ed88ee6e6b1");
    signs_as("GET", "/v1/jobs/0b0e6a3a-5a3c-4c3e-8f5f-0d3f0c7a9b11?wait=10", "-", "",
             "62d0790897859c946bb84152f0f7c6ff3247ad54c63eccfcdf99405082a09cdf");
}

static void a_credential_is_read_as_it_was_stored(void)
{
    struct credential stored = {.address_count = 2,
                                .pin_count = 1,
                                .id = CREDENTIAL,
                                .host = "sql 1"},
                      read;
    snprintf(stored.addresses[0], sizeof stored.addresses[0], "10.0.0.1:7260");
    snprintf(stored.addresses[1], sizeof stored.addresses[1], "[::1]:7260");
    snprintf(stored.pins[0], sizeof stored.pins[0], "%s", PIN);
    require(crypto_from_hex(KEY, stored.key, sizeof stored.key));
    require(credential_store(&stored) == 0);
    require(credential_load(&read));
    expect_eq(read.address_count, 2);
    expect_eq(read.pin_count, 1);
    expect_str(read.addresses[1], "[::1]:7260");
    expect_str(read.pins[0], PIN);
    expect_str(read.id, CREDENTIAL);
    expect_str(read.host, "sql 1");
    expect(memcmp(read.key, stored.key, sizeof read.key) == 0);
}

static void random_numbers_differ(void)
{
    char a[65], b[65];
    require(crypto_random_hex(a, sizeof a) && crypto_random_hex(b, sizeof b));
    expect_eq(strlen(a), 64);
    expect(strcmp(a, b) != 0);
}

int main(void)
{
    run(an_enrolment_gives_the_documented_key);
    run(requests_are_signed_as_documented);
    run(a_credential_is_read_as_it_was_stored);
    run(random_numbers_differ);
    return tap_done();
}
