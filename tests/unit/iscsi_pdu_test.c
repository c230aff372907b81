/* The pure parts of the iSCSI target: headers, text keys and their negotiation, CHAP. */
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/text.h"
#include "iscsi/chap.h"
#include "iscsi/keys.h"
#include "iscsi/pdu.h"
#include "tests/lib/tap.h"

/* ---- Headers ---- */

static unsigned cdb_of(const uint8_t *ahs, unsigned ahs_bytes, uint8_t cdb[32])
{
    /* In memory of exactly this size, so that a sanitizer sees overruns. */
    uint8_t *bhs = calloc(1, ISCSI_BHS_BYTES + (size_t)ahs_bytes);
    check(bhs && ahs_bytes % 4 == 0);
    bhs[4] = (uint8_t)(ahs_bytes / 4);
    for (unsigned i = 0; i < 16; i++)
        bhs[ISCSI_AT_CDB + i] = (uint8_t)(i + 1);
    if (ahs_bytes) memcpy(bhs + ISCSI_BHS_BYTES, ahs, ahs_bytes);
    struct iscsi_pdu pdu;
    iscsi_pdu_decode(bhs, &pdu);
    unsigned size = iscsi_pdu_cdb(&pdu, cdb, 32);
    free(bhs);
    return size;
}

static void long_cdb_is_put_together(void)
{
    uint8_t cdb[32];
    expect_eq(cdb_of(NULL, 0, cdb), 16);
    expect_eq(cdb[15], 16);
    /* AHSLength = CDB length - 15, then the reserved byte (RFC 7143 11.2.2.3). */
    uint8_t ahs[20] = {0, 17, 1, 0, 100, 101};
    ahs[19] = 115;
    expect_eq(cdb_of(ahs, 20, cdb), 32);
    expect_eq(cdb[15], 16);
    expect_eq(cdb[16], 100);
    expect_eq(cdb[31], 115);
    uint8_t odd[8] = {0, 2, 1, 0, 99};
    expect_eq(cdb_of(odd, 8, cdb), 17);
    expect_eq(cdb[16], 99);
}

static void malformed_additional_segments_are_refused(void)
{
    static const struct {
        uint8_t bytes[24];
        unsigned size;
    } rows[] = {
        {{0, 0, 1, 0}, 4}, /* no room for the reserved byte */
        {{0, 2, 1, 0}, 4}, /* longer than what is there */
        {{0xFF, 0xFF, 1, 0}, 4},
        {{0, 5, 2, 0, 0, 0, 2, 0}, 8},    /* bidirectional length: not supported */
        {{0, 5, 0x3F, 0, 0, 0, 0, 0}, 8}, /* unknown */
        {{0, 1, 1, 0, 0, 1, 1, 0}, 8},    /* twice */
        {{0, 18, 1, 0}, 24},              /* a CDB of 33 bytes */
    };
    uint8_t cdb[32];
    for (unsigned i = 0; i < countof(rows); i++)
        expect_eq(cdb_of(rows[i].bytes, rows[i].size, cdb), 0);
    uint8_t full[ISCSI_AHS_MAX] = {0};
    expect_eq(cdb_of(full, sizeof full, cdb), 0);
}

static void serial_numbers_compare_across_the_wrap(void)
{
    expect(iscsi_sn_before(1, 2));
    expect(!iscsi_sn_before(2, 2));
    expect(iscsi_sn_before(0xFFFFFFFF, 0));
    expect(!iscsi_sn_before(0, 0xFFFFFFFF));
}

/* ---- Text ---- */

/* Parses text given with '\n' for NUL; returns "name=value;" for each pair, "!" when malformed. */
static const char *parse(const char *text)
{
    static char out[512];
    size_t size_bytes = strlen(text), used = 0;
    char *copy = malloc(size_bytes ? size_bytes : 1);
    check(copy);
    for (size_t i = 0; i < size_bytes; i++)
        copy[i] = text[i] == '\n' ? '\0' : text[i];
    char *at = copy;
    struct iscsi_text_pair pair;
    bool bad;
    out[0] = '\0';
    while (iscsi_text_next(&at, copy + size_bytes, &pair, &bad))
        used += (size_t)snprintf(out + used, sizeof out - used, "%s=%s;", pair.name, pair.value);
    if (bad) snprintf(out + used, sizeof out - used, "!");
    free(copy);
    return out;
}

static void text_is_cut_into_pairs(void)
{
    expect_str(parse(""), "");
    expect_str(parse("A=1\n"), "A=1;");
    expect_str(parse("A=1\nB=\nC=x=y\n"), "A=1;B=;C=x=y;");
    expect_str(parse("\n\nA=1\n\n\n"), "A=1;");
    expect_str(parse("A=1"), "!");
    expect_str(parse("A=1\nB"), "A=1;!");
    expect_str(parse("A\n"), "!");
    expect_str(parse("=1\n"), "!");
    expect_str(parse("A B=1\n"), "!");
    expect_str(parse("X-com.example@a+b_c-d.e=1\n"), "X-com.example@a+b_c-d.e=1;");
    expect_str(parse("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg=1\n"),
               "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg=1;");
    expect_str(parse("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg=1\n"), "!");
}

static void numbers_are_decimal_or_hexadecimal(void)
{
    static const struct {
        const char *text;
        bool good;
        uint32_t value;
    } rows[] = {
        {"0", true, 0},
        {"262144", true, 262144},
        {"0x10", true, 16},
        {"0XfF", true, 255},
        {"4294967295", true, 4294967295u},
        {"4294967296", false, 0},
        {"0x100000000", false, 0},
        {"", false, 0},
        {"0x", false, 0},
        {"-1", false, 0},
        {"1 ", false, 0},
        {"12a", false, 0},
        {"99999999999999999999", false, 0},
    };
    for (unsigned i = 0; i < countof(rows); i++) {
        uint32_t value = 0;
        expect_eq(iscsi_text_number(rows[i].text, &value), rows[i].good);
        expect_eq(value, rows[i].value);
    }
}

/* ---- Negotiation ---- */

struct offer {
    const char *name, *value, *answer; /* NULL: none */
    enum iscsi_key key;
    uint32_t result;
};

static void each_key_follows_its_rule(void)
{
    static const struct offer offers[] = {
        {"HeaderDigest", "CRC32C,None", "CRC32C", ISCSI_KEY_HEADER_DIGEST, 1},
        {"HeaderDigest", "None,CRC32C", "None", ISCSI_KEY_HEADER_DIGEST, 0},
        {"HeaderDigest", "MD5,CRC32C", "CRC32C", ISCSI_KEY_HEADER_DIGEST, 1},
        {"HeaderDigest", "MD5", "Reject", ISCSI_KEY_HEADER_DIGEST, 0},
        {"HeaderDigest", "", "Reject", ISCSI_KEY_HEADER_DIGEST, 0},
        {"DataDigest", "CRC32C", "CRC32C", ISCSI_KEY_DATA_DIGEST, 1},
        {"MaxConnections", "8", "1", ISCSI_KEY_MAX_CONNECTIONS, 1},
        {"MaxConnections", "0", "Reject", ISCSI_KEY_MAX_CONNECTIONS, 1},
        {"InitialR2T", "Yes", "Yes", ISCSI_KEY_INITIAL_R2T, 1},
        {"InitialR2T", "No", "No", ISCSI_KEY_INITIAL_R2T, 0},
        {"InitialR2T", "yes", "Reject", ISCSI_KEY_INITIAL_R2T, 1},
        {"ImmediateData", "Yes", "Yes", ISCSI_KEY_IMMEDIATE_DATA, 1},
        {"ImmediateData", "No", "No", ISCSI_KEY_IMMEDIATE_DATA, 0},
        {"MaxRecvDataSegmentLength", "65536", "262144", ISCSI_KEY_MAX_RECV_SEGMENT, 65536},
        {"MaxRecvDataSegmentLength", "0x10000", "262144", ISCSI_KEY_MAX_RECV_SEGMENT, 65536},
        {"MaxRecvDataSegmentLength", "511", "Reject", ISCSI_KEY_MAX_RECV_SEGMENT, 8192},
        {"MaxRecvDataSegmentLength", "16777216", "Reject", ISCSI_KEY_MAX_RECV_SEGMENT, 8192},
        {"MaxBurstLength", "262144", "262144", ISCSI_KEY_MAX_BURST, 262144},
        {"MaxBurstLength", "16776192", "1048576", ISCSI_KEY_MAX_BURST, 1048576},
        {"FirstBurstLength", "65536", "65536", ISCSI_KEY_FIRST_BURST, 65536},
        {"FirstBurstLength", "1048576", "262144", ISCSI_KEY_FIRST_BURST, 262144},
        {"DefaultTime2Wait", "0", "2", ISCSI_KEY_TIME2WAIT, 2},
        {"DefaultTime2Wait", "60", "60", ISCSI_KEY_TIME2WAIT, 60},
        {"DefaultTime2Wait", "3601", "Reject", ISCSI_KEY_TIME2WAIT, 2},
        {"DefaultTime2Retain", "20", "0", ISCSI_KEY_TIME2RETAIN, 0},
        {"MaxOutstandingR2T", "1", "1", ISCSI_KEY_MAX_R2T, 1},
        {"MaxOutstandingR2T", "65535", "16", ISCSI_KEY_MAX_R2T, 16},
        {"DataPDUInOrder", "No", "Yes", ISCSI_KEY_DATA_PDU_IN_ORDER, 1},
        {"DataSequenceInOrder", "No", "Yes", ISCSI_KEY_DATA_SEQUENCE_IN_ORDER, 1},
        {"ErrorRecoveryLevel", "2", "0", ISCSI_KEY_ERROR_RECOVERY_LEVEL, 0},
        {"iSCSIProtocolLevel", "2", "1", ISCSI_KEY_PROTOCOL_LEVEL, 1},
        {"TaskReporting", "FastAbort,ResponseFence,RFC3720", "ResponseFence",
         ISCSI_KEY_TASK_REPORTING, 1},
        {"OFMarker", "No", "No", ISCSI_KEY_OF_MARKER, 0},
        {"IFMarkInt", "2048~8192", "Irrelevant", ISCSI_KEY_IF_MARK_INTERVAL, 0},
        {"InitiatorAlias", "anything", NULL, ISCSI_KEY_INITIATOR_ALIAS, 0},
    };
    for (unsigned i = 0; i < countof(offers); i++) {
        const struct offer *o = &offers[i];
        struct iscsi_keys keys;
        char answer[128], expected[128] = "";
        struct buf_writer w = buf_writer(answer, sizeof answer);
        iscsi_keys_init(&keys);
        const struct iscsi_text_pair pair = {o->name, o->value};
        expect_eq(iscsi_keys_answer(&keys, &pair, ISCSI_PHASE_OPERATIONAL, &w), ISCSI_KEYS_OK);
        if (o->answer) snprintf(expected, sizeof expected, "%s=%s", o->name, o->answer);
        expect_eq(buf_used(&w), o->answer ? strlen(expected) + 1 : 0);
        if (o->answer) expect_str(answer, expected);
        if (keys.values[o->key] != o->result) printf("# %s=%s\n", o->name, o->value);
        expect_eq(keys.values[o->key], o->result);
    }
}

static void negotiation_has_limits(void)
{
    struct iscsi_keys keys;
    char answer[24];
    struct buf_writer w = buf_writer(answer, sizeof answer);
    const struct iscsi_text_pair pair = {"InitialR2T", "No"}, unknown = {"X-unknown-and-long", "1"};
    iscsi_keys_init(&keys);
    expect_eq(iscsi_keys_answer(&keys, &pair, ISCSI_PHASE_SECURITY, &w), ISCSI_KEYS_MISPLACED);
    expect_eq(iscsi_keys_answer(&keys, &pair, ISCSI_PHASE_FULL, &w), ISCSI_KEYS_MISPLACED);
    expect_eq(iscsi_keys_answer(&keys, &pair, ISCSI_PHASE_OPERATIONAL, &w), ISCSI_KEYS_OK);
    expect_eq(iscsi_keys_answer(&keys, &pair, ISCSI_PHASE_OPERATIONAL, &w), ISCSI_KEYS_DUPLICATE);
    expect_eq(iscsi_keys_answer(&keys, &unknown, ISCSI_PHASE_OPERATIONAL, &w), ISCSI_KEYS_TOO_LONG);
}

/* ---- CHAP ---- */

static void chap_responses_match_known_vectors(void)
{
    /* Identifier 17h, secret "correct horse battery", challenge 01h to 18h; computed with Python's
     * hashlib. */
    static const struct {
        const char *list, *hex;
    } rows[] = {
        {"5", "8291e38f96e83a2640f19cf93c66244d"},
        {"6", "1f392c79697171690af95b7c1122c78695359a92"},
        {"7", "12688a131d84ccce2fc98a6af969ec824ee1179c387eb571b85bdf4206b93dc4"},
        {"8", "730c4c14f32c0eae5f0c61e23fba3e6c7a291be7ef04459e9ae6ca79d064f1c6"},
    };
    uint8_t challenge[24], digest[ISCSI_CHAP_DIGEST_MAX];
    char hex[2 * ISCSI_CHAP_DIGEST_MAX + 1];
    for (unsigned i = 0; i < sizeof challenge; i++)
        challenge[i] = (uint8_t)(i + 1);
    for (unsigned i = 0; i < countof(rows); i++) {
        const struct iscsi_chap_algorithm *a = iscsi_chap_choose(rows[i].list);
        require(a);
        require(iscsi_chap_response(a, 0x17, "correct horse battery", challenge, sizeof challenge,
                                    digest));
        expect_str(text_format_hex(digest, a->digest_bytes, hex), rows[i].hex);
    }
}

static void strongest_algorithm_is_chosen(void)
{
    expect_eq(iscsi_chap_choose("5,6,7,8")->number, 8);
    expect_eq(iscsi_chap_choose("5,7")->number, 7);
    expect_eq(iscsi_chap_choose("6,5")->number, 6);
    expect_eq(iscsi_chap_choose("5")->number, 5);
    expect(!iscsi_chap_choose(""));
    expect(!iscsi_chap_choose("15,55,0x5"));
}

static void binary_values_are_decoded_within_limits(void)
{
    static const struct {
        const char *text, *hex; /* NULL: refused */
    } rows[] = {
        {"0x00ff", "00ff"},
        {"0XAb1", "0ab1"},
        {"0bAAECAw==", "00010203"},
        {"0BAAEC", "000102"},
        {"0bAAE=", "0001"},
        {"0x", NULL},
        {"0b", NULL},
        {"1234", NULL},
        {"", NULL},
        {"0", NULL},
        {"0xzz", NULL},
        {"0x1g", NULL},
        {"0bAAE", NULL},
        {"0bA===", NULL},
        {"0bAA=A", NULL},
        {"0b=AAA", NULL},
        {"0bAA*=", NULL},
        {"0x001122334455667788", NULL},
        {"0bAAAAAAAAAAAA", NULL},
    };
    for (unsigned i = 0; i < countof(rows); i++) {
        uint8_t data[8];
        char hex[17] = "";
        size_t size_bytes = 0;
        bool good = iscsi_chap_decode(rows[i].text, data, sizeof data, &size_bytes);
        if (good != (rows[i].hex != NULL)) printf("# %s\n", rows[i].text);
        expect_eq(good, rows[i].hex != NULL);
        if (good && rows[i].hex) expect_str(text_format_hex(data, size_bytes, hex), rows[i].hex);
    }
}

int main(void)
{
    run(long_cdb_is_put_together);
    run(malformed_additional_segments_are_refused);
    run(serial_numbers_compare_across_the_wrap);
    run(text_is_cut_into_pairs);
    run(numbers_are_decimal_or_hexadecimal);
    run(each_key_follows_its_rule);
    run(negotiation_has_limits);
    run(chap_responses_match_known_vectors);
    run(strongest_algorithm_is_chosen);
    run(binary_values_are_decoded_within_limits);
    return tap_done();
}
