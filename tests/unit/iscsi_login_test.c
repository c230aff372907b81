/* The login phase of the iSCSI target, discovery included: RFC 7143 6.3, 11.12, 11.13 and appendix
 * C. */
#include "iscsi/chap.h"
#include "tests/unit/iscsi_rig.h"

#include <stdlib.h>

#define IDENTITY "InitiatorName=" RIG_ONE "\nSessionType=Normal\nTargetName=" RIG_TARGET "\n"

/* One first request; returns status class and detail, 0xFFFF when no response came. */
static unsigned first_status(uint8_t flags, const char *text)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    unsigned status = wire_login_step(w, flags, text) ? w->login_status : 0xFFFF;
    if (status != 0) expect(wire_is_gone(w));
    wire_close(w);
    rig_fini(&rig);
    return status;
}

static void login_goes_straight_to_full_feature_phase(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    require(wire_login_step(w, 0x87, IDENTITY "InitialR2T=No\nMaxBurstLength=16777215\nX-new=1\n"));
    expect_eq(w->login_status, 0);
    expect_eq(w->login_flags, 0x87);
    expect(w->tsih != 0);
    expect_str(wire_answer(w, "TargetPortalGroupTag"), "1");
    expect_str(wire_answer(w, "TargetAlias"), "the rig");
    expect_str(wire_answer(w, "InitialR2T"), "No");
    expect_str(wire_answer(w, "MaxBurstLength"), "1048576");
    expect_str(wire_answer(w, "MaxRecvDataSegmentLength"), "262144");
    expect_str(wire_answer(w, "X-new"), "NotUnderstood");
    expect_eq(rig.ups, 1);
    wire_close(w);
    expect_eq(rig.downs, 1);
    rig_fini(&rig);
}

static void login_goes_through_all_stages(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    require(wire_login_step(w, 0x81, IDENTITY "AuthMethod=CHAP,None\n"));
    expect_eq(w->login_flags, 0x81);
    expect_str(wire_answer(w, "AuthMethod"), "None");
    require(wire_login_step(w, 0x04, "HeaderDigest=None\n"));
    expect_eq(w->login_flags, 0x04);
    require(wire_login_step(w, 0x87, "DataDigest=None\n"));
    expect_eq(w->login_flags, 0x87);
    expect_eq(w->login_status, 0);
    wire_close(w);
    rig_fini(&rig);
}

static void security_stage_may_lead_to_full_feature_phase(void)
{
    expect_eq(first_status(0x83, IDENTITY), 0);
}

static void bad_first_requests_get_their_status(void)
{
    static const struct {
        uint8_t flags;
        uint16_t status;
        const char *text;
    } rows[] = {
        {0x87, 0x0203, "InitiatorName=" RIG_ONE "\nTargetName=iqn.other\n"},
        {0x87, 0x0202, "InitiatorName=iqn.stranger\nTargetName=" RIG_TARGET "\n"},
        {0x87, 0x0207, "TargetName=" RIG_TARGET "\n"},
        {0x87, 0x0207, "InitiatorName=" RIG_ONE "\n"},
        {0x87, 0x0209, "InitiatorName=" RIG_ONE "\nSessionType=Strange\n"},
        {0xC7, 0x0200, IDENTITY}, /* T and C */
        {0x85, 0x0200, IDENTITY}, /* a stage to itself */
        {0x86, 0x0200, IDENTITY}, /* stage 2 does not exist */
        {0x8B, 0x0200, IDENTITY}, /* from stage 2 */
        {0x8F, 0x0200, IDENTITY}, /* from full feature phase */
        {0x80, 0x0200, IDENTITY}, /* security to security */
        {0x87, 0x0200, IDENTITY "InitialR2T=No\nInitialR2T=No\n"},
        {0x87, 0x0200, IDENTITY "SendTargets=All\n"},      /* not before full feature phase */
        {0x87, 0x0200, IDENTITY "AuthMethod=None\n"},      /* not in this stage */
        {0x81, 0x0200, IDENTITY "MaxBurstLength=65536\n"}, /* not in this stage */
        {0x87, 0x0200, IDENTITY "noequals\n"},
        {0x87, 0x0200, IDENTITY "=1\n"},
        {0x87, 0x0200, IDENTITY "bad name=1\n"},
        {0x87, 0x0200, IDENTITY "Unterminated=1"},
        {0x87, 0x0200, "InitiatorName=\nTargetName=" RIG_TARGET "\n"},
        {0x87, 0x0200, "InitiatorName=iqn.with space\nTargetName=" RIG_TARGET "\n"},
        {0x81, 0x0201, IDENTITY "AuthMethod=SPKM1\n"},
        {0x81, 0x0200, IDENTITY "CHAP_A=5\n"}, /* no method was chosen */
        {0x81, 0x0200, IDENTITY "CHAP_N=x\nCHAP_R=0x00\n"},
    };
    for (unsigned i = 0; i < countof(rows); i++) {
        unsigned status = first_status(rows[i].flags, rows[i].text);
        if (status != rows[i].status)
            printf("# row %u: %04x, expected %04x\n", i, status, rows[i].status);
        expect_eq(status, rows[i].status);
    }
}

static void target_name_is_compared_without_case(void)
{
    expect_eq(
        first_status(0x87,
                     "InitiatorName=IQN.2026-11.TEST:ONE\nTargetName=IQN.2026-11.Local.Tarn:rig\n"),
        0);
}

static void newer_protocol_version_is_refused(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    struct wire_pdu p;
    uint8_t bhs[ISCSI_BHS_BYTES];
    iscsi_pdu_start(bhs, ISCSI_OP_LOGIN_REQUEST, 0x87);
    bhs[0] |= ISCSI_OP_IMMEDIATE;
    bhs[2] = bhs[3] = 1;
    wire_send(w, bhs, "InitiatorName=x\0", 16);
    require(wire_next(w, &p));
    expect_eq(load_be16(p.bhs + ISCSI_AT_LOGIN_STATUS), 0x0205);
    expect(wire_is_gone(w));
    wire_close(w);
    rig_fini(&rig);
}

static void session_handles_are_checked(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *first = wire_login(&rig, RIG_ONE, NULL);
    struct wire *w = wire_connect(&rig);
    w->tsih = first->tsih;
    w->cid = 1;
    require(wire_login_step(w, 0x87, IDENTITY));
    expect_eq(w->login_status, 0x0206); /* a second connection */
    wire_close(w);
    w = wire_connect(&rig);
    w->tsih = (uint16_t)(first->tsih + 1);
    require(wire_login_step(w, 0x87, IDENTITY));
    expect_eq(w->login_status, 0x020A);
    wire_close(w);
    wire_close(first);
    rig_fini(&rig);
}

static void changed_isid_or_stage_is_refused(void)
{
    for (unsigned kind = 0; kind < 2; kind++) {
        struct rig rig;
        rig_init(&rig, 0);
        struct wire *w = wire_connect(&rig);
        require(wire_login_step(w, 0x04, IDENTITY));
        expect_eq(w->login_status, 0);
        if (kind == 0) w->isid[0] ^= 1;
        require(wire_login_step(w, kind == 0 ? 0x87 : 0x83, ""));
        expect_eq(w->login_status, 0x020B);
        wire_close(w);
        rig_fini(&rig);
    }
}

static void text_may_be_continued(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    /* Cut in the middle of a name. */
    require(wire_login_step(w, 0x44, "InitiatorName=" RIG_ONE "\nTarget"));
    expect_eq(w->login_flags, 0x04);
    expect_eq(w->login_text_bytes, 0);
    require(wire_login_step(w, 0x87, "Name=" RIG_TARGET "\nInitialR2T=Yes\n"));
    expect_eq(w->login_status, 0);
    expect_str(wire_answer(w, "InitialR2T"), "Yes");
    wire_close(w);
    rig_fini(&rig);
}

static void endless_text_is_refused(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    char text[8001];
    memset(text, 'a', 8000);
    text[8000] = '\0';
    unsigned rounds = 0;
    while (wire_login_step(w, 0x44, text) && w->login_status == 0)
        rounds++;
    expect_eq(rounds, 2);
    expect_eq(w->login_status, 0x0200);
    wire_close(w);
    rig_fini(&rig);
}

static void too_many_keys_are_refused(void)
{
    char text[8192] = IDENTITY;
    for (unsigned i = 0; i < 100; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "X-%u=1\n", i);
    }
    expect_eq(first_status(0x87, text), 0x0200);
}

static void pipelined_requests_are_answered_one_by_one(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    wire_login_send(w, 0x04, IDENTITY);
    for (unsigned i = 0; i < 40; i++)
        wire_login_send(w, 0x04, "");
    struct wire_pdu p;
    for (unsigned i = 0; i < 41; i++)
        require(wire_expect(w, ISCSI_OP_LOGIN_RESPONSE, 0, &p));
    wire_close(w);
    rig_fini(&rig);
}

static void anything_else_before_login_ends_the_connection(void)
{
    static const uint8_t opcodes[] = {ISCSI_OP_NOP_OUT, ISCSI_OP_COMMAND, ISCSI_OP_TEXT_REQUEST,
                                      0x1F, 0x3F};
    for (unsigned i = 0; i < countof(opcodes); i++) {
        struct rig rig;
        rig_init(&rig, 0);
        struct wire *w = wire_connect(&rig);
        uint8_t bhs[ISCSI_BHS_BYTES] = {opcodes[i], 0x80};
        wire_send(w, bhs, NULL, 0);
        expect(wire_is_gone(w));
        expect_eq(w->end, 0);
        wire_close(w);
        rig_fini(&rig);
    }
}

static void long_segment_during_login_ends_the_connection(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    uint8_t bhs[ISCSI_BHS_BYTES] = {0x43, 0x87};
    store_be24(bhs + 5, 0xFFFFFF);
    wire_send_bytes(w, bhs, sizeof bhs);
    expect(wire_is_gone(w));
    wire_close(w);
    rig_fini(&rig);
}

static void slow_login_is_ended(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    require(wire_login_step(w, 0x04, IDENTITY));
    expect(!wire_is_gone_within(w, 14));
    expect(wire_is_gone_within(w, 2));
    wire_close(w);
    rig_fini(&rig);
}

/* ---- CHAP ---- */

struct chap_case {
    const char *initiator, *algorithms, *user, *secret;
    bool mutual, reflect;
};

static const uint8_t our_challenge[24] = "a challenge of our own.";

/* The answer to the target's challenge, and our own challenge; false: no response came. */
static bool chap_answer(struct wire *w, const struct chap_case *c)
{
    char text[4096];
    uint8_t challenge[64], digest[ISCSI_CHAP_DIGEST_MAX];
    size_t size_bytes;
    const struct iscsi_chap_algorithm *a = iscsi_chap_choose(wire_answer(w, "CHAP_A"));
    uint32_t id = (uint32_t)atoi(wire_answer(w, "CHAP_I"));
    const char *theirs = wire_answer(w, "CHAP_C");
    check(iscsi_chap_decode(theirs, challenge, sizeof challenge, &size_bytes));
    check(iscsi_chap_response(a, (uint8_t)id, c->secret, challenge, size_bytes, digest));
    struct buf_writer out = buf_writer(text, sizeof text);
    iscsi_text_put(&out, "CHAP_N", c->user);
    iscsi_chap_put(&out, "CHAP_R", digest, a->digest_bytes);
    if (c->mutual) iscsi_text_put(&out, "CHAP_I", "77");
    if (c->mutual && c->reflect) iscsi_text_put(&out, "CHAP_C", theirs);
    if (c->mutual && !c->reflect)
        iscsi_chap_put(&out, "CHAP_C", our_challenge, sizeof our_challenge);
    for (size_t i = 0; i < buf_used(&out); i++) {
        if (text[i] == '\0') text[i] = '\n';
    }
    text[buf_used(&out)] = '\0';
    return wire_login_step(w, 0x81, text);
}

/* Does the target know its own secret? */
static bool chap_proved(const struct wire *w, unsigned algorithm)
{
    uint8_t theirs[64], digest[ISCSI_CHAP_DIGEST_MAX];
    char number[2] = {(char)('0' + algorithm), '\0'};
    size_t size_bytes;
    const struct iscsi_chap_algorithm *a = iscsi_chap_choose(number);
    const char *proof = wire_answer(w, "CHAP_R"), *name = wire_answer(w, "CHAP_N");
    if (!proof || !name || strcmp(name, "tarn") != 0) return false;
    if (!iscsi_chap_decode(proof, theirs, sizeof theirs, &size_bytes)) return false;
    check(iscsi_chap_response(a, 77, RIG_OUR_SECRET, our_challenge, sizeof our_challenge, digest));
    return size_bytes == a->digest_bytes && memcmp(theirs, digest, size_bytes) == 0;
}

/* Runs the exchange; returns the last status.  *ret_proved: the target's own answer was right. */
static unsigned chap_login(const struct chap_case *c, bool *ret_proved)
{
    struct rig rig;
    char text[512];
    *ret_proved = false;
    rig_init(&rig, 0);
    struct wire *w = wire_connect(&rig);
    snprintf(text, sizeof text,
             "InitiatorName=%s\nTargetName=" RIG_TARGET "\nAuthMethod=CHAP,None\n", c->initiator);
    bool good = wire_login_step(w, 0x81, text);
    if (good) expect_eq(w->login_flags, 0x00); /* not yet */
    snprintf(text, sizeof text, "CHAP_A=%s\n", c->algorithms);
    if (good && w->login_status == 0) good = wire_login_step(w, 0x00, text);
    if (good && w->login_status == 0) {
        unsigned algorithm = (unsigned)atoi(wire_answer(w, "CHAP_A"));
        good = chap_answer(w, c);
        if (good && w->login_status == 0) expect_eq(w->login_flags, 0x81);
        *ret_proved = good && chap_proved(w, algorithm);
    }
    if (good && w->login_status == 0) good = wire_login_step(w, 0x87, "");
    unsigned status = good ? w->login_status : 0xFFFF;
    wire_close(w);
    rig_fini(&rig);
    return status;
}

static void chap_lets_in_who_knows_the_secret(void)
{
    static const char *const lists[] = {"5", "6", "7", "8", "5,7", "99,6,5"};
    bool proved;
    for (unsigned i = 0; i < countof(lists); i++) {
        struct chap_case c = {RIG_CHAP, lists[i], "alice", RIG_SECRET, false, false};
        expect_eq(chap_login(&c, &proved), 0);
        expect(!proved);
    }
}

/* Computed with another library: MD5, SHA-1, SHA-256, SHA3-256 over identifier, secret, challenge. */
static void responses_are_those_of_the_registered_hashes(void)
{
    static const struct {
        const char *list, *digest;
    } wanted[] = {
        {"5", "0x8932cabbad7c42bb3333a152d9788f08"},
        {"6", "0x81a18461b50d21082ca558caba48c5b4e84832e0"},
        {"7", "0x2d181eac18fb1d54a5a1e39e891eb1aba7a971f8974808a7549b834b912dbb3b"},
        {"8", "0x2d50da028db8adfeff0497c77b461f7b1646ef0851a699e3ba48f56857697720"},
    };
    uint8_t challenge[16], digest[ISCSI_CHAP_DIGEST_MAX], expected[ISCSI_CHAP_DIGEST_MAX];
    for (unsigned i = 0; i < sizeof challenge; i++)
        challenge[i] = (uint8_t)i;
    for (unsigned i = 0; i < countof(wanted); i++) {
        const struct iscsi_chap_algorithm *a = iscsi_chap_choose(wanted[i].list);
        size_t size_bytes = 0;
        require(a != NULL);
        expect(iscsi_chap_decode(wanted[i].digest, expected, sizeof expected, &size_bytes));
        expect(iscsi_chap_response(a, 0x27, RIG_SECRET, challenge, sizeof challenge, digest));
        expect_eq(size_bytes, a->digest_bytes);
        expect(memcmp(digest, expected, size_bytes) == 0);
    }
}

static void every_algorithm_proves_one_way_and_both_ways(void)
{
    static const char *const numbers[] = {"5", "6", "7", "8"};
    bool proved;
    for (unsigned i = 0; i < countof(numbers); i++) {
        struct chap_case one = {RIG_CHAP, numbers[i], "alice", RIG_SECRET, false, false};
        struct chap_case both = {RIG_MUTUAL, numbers[i], "alice", RIG_SECRET, true, false};
        expect_eq(chap_login(&one, &proved), 0);
        expect(!proved);
        expect_eq(chap_login(&both, &proved), 0);
        expect(proved);
        one.secret = both.secret = "wrong horse battery";
        expect_eq(chap_login(&one, &proved), 0x0201);
        expect_eq(chap_login(&both, &proved), 0x0201);
        expect(!proved); /* nothing of ours is told to who has not proved himself */
        both = (struct chap_case){RIG_MUTUAL, numbers[i], "alice", RIG_SECRET, true, true};
        expect_eq(chap_login(&both, &proved), 0x0201); /* our own challenge come back */
        expect(!proved);
    }
}

static void chap_refuses_wrong_secret_or_name(void)
{
    bool proved;
    struct chap_case secret = {RIG_CHAP, "5", "alice", "wrong horse battery", false, false};
    expect_eq(chap_login(&secret, &proved), 0x0201);
    struct chap_case name = {RIG_CHAP, "7", "mallory", RIG_SECRET, false, false};
    expect_eq(chap_login(&name, &proved), 0x0201);
    struct chap_case algorithm = {RIG_CHAP, "1,2,99", "alice", RIG_SECRET, false, false};
    expect_eq(chap_login(&algorithm, &proved), 0x0201);
}

static void mutual_chap_proves_both(void)
{
    bool proved;
    struct chap_case c = {RIG_MUTUAL, "7,5", "alice", RIG_SECRET, true, false};
    expect_eq(chap_login(&c, &proved), 0);
    expect(proved);
}

static void reflected_challenge_is_refused(void)
{
    bool proved;
    struct chap_case c = {RIG_MUTUAL, "5", "alice", RIG_SECRET, true, true};
    expect_eq(chap_login(&c, &proved), 0x0201);
    expect(!proved);
}

static void mutual_chap_needs_a_secret_of_ours(void)
{
    bool proved;
    struct chap_case c = {RIG_CHAP, "5", "alice", RIG_SECRET, true, false};
    expect_eq(chap_login(&c, &proved), 0x0201);
}

static void chap_cannot_be_gone_round(void)
{
    static const char identity[] = "InitiatorName=" RIG_CHAP "\nTargetName=" RIG_TARGET "\n";
    char text[512];
    expect_eq(first_status(0x87, identity), 0x0201); /* security stage left out */
    expect_eq(first_status(0x04, identity), 0x0201); /* also while it goes on */
    expect_eq(first_status(0x83, identity), 0x0201);
    expect_eq(first_status(0x81, identity), 0x0201);
    snprintf(text, sizeof text, "%sAuthMethod=None\n", identity);
    expect_eq(first_status(0x81, text), 0x0201);
    snprintf(text, sizeof text, "%sAuthMethod=CHAP\nCHAP_A=5\nCHAP_N=alice\nCHAP_R=0x00\n",
             identity);
    expect_eq(first_status(0x83, text), 0x0201);
}

/* ---- Discovery ---- */

static struct wire *discover(struct rig *rig, const char *initiator, const char *keys)
{
    char text[512];
    struct wire *w = wire_connect(rig);
    snprintf(text, sizeof text, "InitiatorName=%s\nSessionType=Discovery\n%s", initiator, keys);
    bool good = wire_login_step(w, 0x87, text);
    check(good);
    return w;
}

/* One Text Request; the answer as one string with '\n' for NUL. */
static const char *ask(struct wire *w, const char *pair)
{
    static char all[4096];
    size_t used = 0;
    uint8_t bhs[ISCSI_BHS_BYTES];
    uint32_t tag = ISCSI_TAG_NONE, itt = w->next_itt++;
    for (unsigned round = 0; round < 20; round++) {
        struct wire_pdu p;
        iscsi_pdu_start(bhs, ISCSI_OP_TEXT_REQUEST, 0x80);
        store_be32(bhs + ISCSI_AT_ITT, itt);
        store_be32(bhs + ISCSI_AT_TTT, tag);
        store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn++);
        wire_send(w, bhs, pair, round ? 0 : (uint32_t)strlen(pair) + 1);
        if (!wire_next(w, &p)) return "no answer";
        if (p.opcode == ISCSI_OP_REJECT) return "rejected";
        for (uint32_t i = 0; i < p.data_bytes; i++)
            all[used++] = p.data[i] ? (char)p.data[i] : '\n';
        tag = load_be32(p.bhs + ISCSI_AT_TTT);
        if (p.flags & 0x80) break;
    }
    all[used] = '\0';
    return all;
}

#define BOTH                                                                                       \
    "TargetName=" RIG_TARGET "\nTargetAddress=10.0.0.1:3260,1\nTargetAddress=192.0.2.9:3333,2\n"

static void discovery_tells_name_and_addresses(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = discover(&rig, RIG_ONE, "MaxBurstLength=65536\n");
    expect_eq(w->login_status, 0);
    expect_str(wire_answer(w, "MaxBurstLength"), "Irrelevant");
    expect_str(ask(w, "SendTargets=All"), BOTH);
    expect_str(ask(w, "SendTargets=" RIG_TARGET), BOTH);
    expect_str(ask(w, "SendTargets=iqn.other"), "");
    expect_str(ask(w, "Strange=1"), "Strange=NotUnderstood\n");
    expect_str(ask(w, "no pair"), "rejected");
    expect_eq(rig.ups, 0); /* not a session of a host */
    wire_close(w);
    rig_fini(&rig);
}

static void long_answers_are_continued(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = discover(&rig, RIG_ONE, "MaxRecvDataSegmentLength=512\n");
    /* Unknown keys make the answer long. */
    uint8_t bhs[ISCSI_BHS_BYTES];
    char request[2000];
    uint32_t n = 0;
    for (unsigned i = 0; i < 40; i++) {
        n += (uint32_t)snprintf(request + n, sizeof request - n, "X-a-rather-long-name-%02u=1", i) +
             1;
    }
    iscsi_pdu_start(bhs, ISCSI_OP_TEXT_REQUEST, 0x80);
    store_be32(bhs + ISCSI_AT_ITT, 9);
    store_be32(bhs + ISCSI_AT_TTT, ISCSI_TAG_NONE);
    store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn++);
    wire_send(w, bhs, request, n);
    struct wire_pdu p;
    size_t total = 0;
    unsigned pieces = 0;
    for (;;) {
        require(wire_expect(w, ISCSI_OP_TEXT_RESPONSE, 9, &p));
        total += p.data_bytes;
        expect(p.data_bytes <= 512);
        pieces++;
        if (p.flags & 0x80) break;
        expect_eq(p.flags, 0x40);
        store_be32(bhs + ISCSI_AT_TTT, load_be32(p.bhs + ISCSI_AT_TTT));
        store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn++);
        wire_send(w, bhs, NULL, 0);
    }
    expect_eq(total, 40 * (23 + 1 + 13 + 1));
    expect_eq(pieces, 3);
    wire_close(w);
    rig_fini(&rig);
}

static void discovery_session_has_no_scsi(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = discover(&rig, RIG_ONE, "");
    struct wire_pdu p;
    wire_read(w, 0, 8);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    expect_eq(p.bhs[2], ISCSI_REJECT_PROTOCOL);
    wire_tmf(w, ISCSI_TMF_LUN_RESET, 0, ISCSI_TAG_NONE);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    wire_data_out(w, 0x80, 5, 0, 0, 0, "x", 1);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    wire_close(w);
    rig_fini(&rig);
}

/* No secret was asked for: it must not hold memory that the I/O of others needs. */
static void discovery_session_gets_no_ping_data_back(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = discover(&rig, RIG_ONE, "");
    struct wire_pdu p;
    for (uint32_t data_bytes = 512;; data_bytes = 0) {
        uint8_t bhs[ISCSI_BHS_BYTES];
        iscsi_pdu_start(bhs, ISCSI_OP_NOP_OUT, 0x80);
        store_be32(bhs + ISCSI_AT_ITT, 700);
        store_be32(bhs + ISCSI_AT_TTT, ISCSI_TAG_NONE);
        store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn++);
        wire_send(w, bhs, rig_pattern, data_bytes);
        if (data_bytes == 0) break;
        require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
        expect_eq(p.bhs[2], ISCSI_REJECT_PROTOCOL);
    }
    require(wire_expect(w, ISCSI_OP_NOP_IN, 700, &p));
    wire_close(w);
    rig_fini(&rig);
}

static void discovery_is_for_known_initiators(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = discover(&rig, "iqn.stranger", "");
    expect_eq(w->login_status, 0x0202);
    wire_close(w);
    w = discover(&rig, RIG_CHAP, ""); /* the name and the addresses are no secret */
    expect_eq(w->login_status, 0);
    wire_close(w);
    rig_fini(&rig);
}

static void normal_session_may_ask_for_its_own_target(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_login(&rig, RIG_ONE, NULL);
    expect_str(ask(w, "SendTargets="), BOTH);
    expect_str(ask(w, "SendTargets=All"), "SendTargets=Reject\n");
    wire_close(w);
    rig_fini(&rig);
}

/* ---- Reinstatement ---- */

static void same_nexus_ends_the_old_session(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *old = wire_login(&rig, RIG_ONE, NULL);
    struct wire *other = wire_login_isid(&rig, RIG_ONE, NULL, 99);
    struct wire *new = wire_login(&rig, RIG_ONE, NULL);
    expect(wire_is_gone(old));
    expect(new->tsih != old->tsih);
    expect(wire_is_silent(other)); /* another ISID is another nexus */
    wire_close(old);
    wire_close(other);
    wire_close(new);
    rig_fini(&rig);
}

static void new_session_waits_for_the_old_ones_tasks(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *old = wire_session(&rig, NULL);
    memvol_hold(rig.pool, true);
    wire_read(old, 0, 8);
    rig_run_ms(&rig, 100);
    struct wire *new = wire_connect(&rig);
    wire_login_send(new, 0x87, IDENTITY);
    expect(wire_is_gone(old));
    expect(wire_is_silent(new));
    expect_eq(rig.downs, 0);
    memvol_hold(rig.pool, false);
    struct wire_pdu p;
    require(wire_expect(new, ISCSI_OP_LOGIN_RESPONSE, 0, &p));
    expect_eq(load_be16(p.bhs + ISCSI_AT_LOGIN_STATUS), 0);
    expect_eq(rig.downs, 1);
    expect_eq(rig.ups, 2);
    wire_close(old);
    wire_close(new);
    rig_fini(&rig);
}

int main(void)
{
    run(login_goes_straight_to_full_feature_phase);
    run(login_goes_through_all_stages);
    run(security_stage_may_lead_to_full_feature_phase);
    run(bad_first_requests_get_their_status);
    run(target_name_is_compared_without_case);
    run(newer_protocol_version_is_refused);
    run(session_handles_are_checked);
    run(changed_isid_or_stage_is_refused);
    run(text_may_be_continued);
    run(endless_text_is_refused);
    run(too_many_keys_are_refused);
    run(pipelined_requests_are_answered_one_by_one);
    run(anything_else_before_login_ends_the_connection);
    run(long_segment_during_login_ends_the_connection);
    run(slow_login_is_ended);
    run(chap_lets_in_who_knows_the_secret);
    run(responses_are_those_of_the_registered_hashes);
    run(every_algorithm_proves_one_way_and_both_ways);
    run(chap_refuses_wrong_secret_or_name);
    run(mutual_chap_proves_both);
    run(reflected_challenge_is_refused);
    run(mutual_chap_needs_a_secret_of_ours);
    run(chap_cannot_be_gone_round);
    run(discovery_tells_name_and_addresses);
    run(long_answers_are_continued);
    run(discovery_session_has_no_scsi);
    run(discovery_session_gets_no_ping_data_back);
    run(discovery_is_for_known_initiators);
    run(normal_session_may_ask_for_its_own_target);
    run(same_nexus_ends_the_old_session);
    run(new_session_waits_for_the_old_ones_tasks);
    return tap_done();
}
