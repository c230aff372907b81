#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/log.h"
#include "iscsi/iscsi_int.h"

/*
 * The login phase (RFC 7143 6.3, 11.12, 11.13).
 *
 *     security (CHAP) --T--> operational (keys) --T--> full feature
 *          |                                             ^
 *          +---------------------T-----------------------+
 *
 * Each complete request is: its pairs parsed; the first one identifies initiator and target; the
 * pairs of the stage are answered; the transition is granted or not.  Anything wrong ends in one
 * Login Response with a status of RFC 7143 11.13.5 and the end of the connection.
 */

enum login_status {
    LOGIN_OK = 0x0000,
    LOGIN_INITIATOR_ERROR = 0x0200,
    LOGIN_AUTHENTICATION = 0x0201,
    LOGIN_AUTHORIZATION = 0x0202,
    LOGIN_NOT_FOUND = 0x0203,
    LOGIN_VERSION = 0x0205,
    LOGIN_TOO_MANY_CONNECTIONS = 0x0206,
    LOGIN_MISSING_PARAMETER = 0x0207,
    LOGIN_SESSION_TYPE = 0x0209,
    LOGIN_NO_SESSION = 0x020A,
    LOGIN_INVALID_REQUEST = 0x020B,
    LOGIN_UNAVAILABLE = 0x0301,
    LOGIN_NO_RESOURCES = 0x0302,
};

static const struct {
    enum login_status status;
    const char *text;
} reasons[] = {
    {LOGIN_INITIATOR_ERROR, "malformed or contradictory request"},
    {LOGIN_AUTHENTICATION, "authentication failed"},
    {LOGIN_AUTHORIZATION, "no host has this initiator"},
    {LOGIN_NOT_FOUND, "no such target"},
    {LOGIN_VERSION, "protocol version not supported"},
    {LOGIN_TOO_MANY_CONNECTIONS, "one connection per session"},
    {LOGIN_MISSING_PARAMETER, "InitiatorName or TargetName missing"},
    {LOGIN_SESSION_TYPE, "session type not supported"},
    {LOGIN_NO_SESSION, "no such session"},
    {LOGIN_INVALID_REQUEST, "request out of place"},
    {LOGIN_UNAVAILABLE, "the server is closing"},
    {LOGIN_NO_RESOURCES, "out of memory or of sessions"},
};

/* Which requests may end a stage where (bits of NSG). */
static const struct {
    enum login_stage from;
    unsigned to_mask;
} transitions[] = {
    {STAGE_SECURITY, 1u << STAGE_OPERATIONAL | 1u << STAGE_FULL},
    {STAGE_OPERATIONAL, 1u << STAGE_FULL},
};

enum { PAIRS_MAX = 64 };

struct pairs {
    struct iscsi_text_pair list[PAIRS_MAX];
    unsigned count;
};

static const char *pairs_find(const struct pairs *pairs, const char *name)
{
    for (unsigned i = 0; i < pairs->count; i++) {
        if (strcmp(pairs->list[i].name, name) == 0) return pairs->list[i].value;
    }
    return NULL;
}

/* ---- Responses ---- */

static struct iscsi_reply *response(struct iscsi_conn *conn, uint8_t flags)
{
    /* login_begin waits until the last one has been sent, so there is always one. */
    struct iscsi_reply *reply = reply_get(conn, ISCSI_OP_LOGIN_RESPONSE, flags);
    check(reply);
    memcpy(reply->bhs + ISCSI_AT_ISID, conn->isid, sizeof conn->isid);
    store_be16(reply->bhs + ISCSI_AT_TSIH, conn->tsih);
    store_be32(reply->bhs + ISCSI_AT_ITT, conn->login.itt);
    return reply;
}

static void refuse(struct iscsi_conn *conn, enum login_status status)
{
    const char *text = "";
    for (unsigned i = 0; i < countof(reasons); i++) {
        if (reasons[i].status == status) text = reasons[i].text;
    }
    if (guard_may_log(conn->server)) {
        log_warn("iscsi login refused", "initiator=%s peer=%s status=%04x reason=\"%s\"",
                 conn->initiator_name[0] ? conn->initiator_name : "-", rt_sock_peer(conn->sock),
                 (unsigned)status, text);
    }
    struct iscsi_reply *reply = response(conn, 0);
    store_be16(reply->bhs + ISCSI_AT_LOGIN_STATUS, (uint16_t)status);
    reply->after = AFTER_CLOSE;
    conn->state = CONN_LOGGED_OUT;
    reply_send(conn, reply);
}

/* ---- Who is it? ---- */

/* An iSCSI name in its normal form: lower case, printable, of legal length (RFC 7143 4.2.7). */
static bool copy_name(const char *from, char to[ISCSI_NAME_MAX + 1])
{
    size_t n = strlen(from);
    if (n == 0 || n > ISCSI_NAME_MAX) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)from[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == 0x7F) return false;
        to[i] = (char)tolower(c);
    }
    to[n] = '\0';
    return true;
}

static enum login_status check_session_handle(struct iscsi_conn *conn, uint16_t tsih)
{
    if (tsih == 0) return LOGIN_OK;
    list_for_each (node, &conn->server->conns) {
        const struct iscsi_conn *other = list_entry(node, struct iscsi_conn, link);
        if (other != conn && other->nexus && other->tsih == tsih &&
            strcmp(other->initiator_name, conn->initiator_name) == 0)
            return LOGIN_TOO_MANY_CONNECTIONS; /* a second connection: MaxConnections is 1 */
    }
    return LOGIN_NO_SESSION;
}

static enum login_status identify(struct iscsi_conn *conn, const struct pairs *pairs)
{
    struct iscsi_server *server = conn->server;
    const uint8_t *bhs = conn->rx.pdu.bhs;
    if (bhs[3] > 0) return LOGIN_VERSION; /* Version-min: only 0 exists */

    const char *name = pairs_find(pairs, "InitiatorName");
    if (!name) return LOGIN_MISSING_PARAMETER;
    if (!copy_name(name, conn->initiator_name)) return LOGIN_INITIATOR_ERROR;
    const char *type = pairs_find(pairs, "SessionType");
    conn->discovery = type && strcmp(type, "Discovery") == 0;
    if (type && !conn->discovery && strcmp(type, "Normal") != 0) return LOGIN_SESSION_TYPE;
    conn->login.keys.discovery = conn->discovery;

    if (!conn->discovery) {
        const char *target = pairs_find(pairs, "TargetName");
        if (!target) return LOGIN_MISSING_PARAMETER;
        if (strcasecmp(target, server->target_name) != 0) return LOGIN_NOT_FOUND;
    }
    if (server->closing) return LOGIN_UNAVAILABLE;
    if (!conn->discovery && server->session_count >= ISCSI_SESSIONS_MAX) return LOGIN_NO_RESOURCES;
    if (server->ops.find(server->arg, conn->initiator_name, &conn->access) != STATUS_OK)
        return LOGIN_AUTHORIZATION;
    conn->has_access = true;
    return check_session_handle(conn, load_be16(bhs + ISCSI_AT_TSIH));
}

/* A discovery session tells the target's name and addresses only, so it needs no secret. */
static bool must_authenticate(const struct iscsi_conn *conn)
{
    return conn->access.auth != ISCSI_AUTH_NONE && !conn->discovery;
}

/* ---- Security stage ---- */

static enum login_status choose_method(struct iscsi_conn *conn, const char *offered,
                                       struct buf_writer *answer)
{
    struct iscsi_login *login = &conn->login;
    bool none = iscsi_text_list_has(offered, "None"), chap = iscsi_text_list_has(offered, "CHAP");
    if (conn->access.auth != ISCSI_AUTH_NONE && chap && (must_authenticate(conn) || !none)) {
        login->method_chosen = true;
        iscsi_text_put(answer, "AuthMethod", "CHAP");
        return LOGIN_OK;
    }
    if (!none || must_authenticate(conn)) return LOGIN_AUTHENTICATION;
    iscsi_text_put(answer, "AuthMethod", "None");
    return LOGIN_OK;
}

static enum login_status challenge(struct iscsi_conn *conn, const char *algorithms,
                                   struct buf_writer *answer)
{
    struct iscsi_login *login = &conn->login;
    if (!login->method_chosen || login->chap) return LOGIN_INITIATOR_ERROR;
    login->chap = iscsi_chap_choose(algorithms);
    if (!login->chap) return LOGIN_AUTHENTICATION;
    rt_random(conn->rt, &login->chap_id, 1);
    rt_random(conn->rt, login->challenge, login->chap->digest_bytes);
    iscsi_text_put_number(answer, "CHAP_A", login->chap->number);
    iscsi_text_put_number(answer, "CHAP_I", login->chap_id);
    iscsi_chap_put(answer, "CHAP_C", login->challenge, login->chap->digest_bytes);
    return LOGIN_OK;
}

/* The initiator wants to know that we know our secret too. */
static enum login_status answer_challenge(struct iscsi_conn *conn, const char *id_text,
                                          const char *text, struct buf_writer *answer)
{
    const struct iscsi_login *login = &conn->login;
    uint8_t theirs[ISCSI_CHAP_CHALLENGE_MAX], digest[ISCSI_CHAP_DIGEST_MAX];
    size_t size_bytes;
    uint32_t id;
    if (conn->access.auth != ISCSI_AUTH_MUTUAL || !conn->access.mutual_user)
        return LOGIN_AUTHENTICATION;
    if (!id_text || !text || !iscsi_text_number(id_text, &id) || id > 255)
        return LOGIN_INITIATOR_ERROR;
    if (!iscsi_chap_decode(text, theirs, sizeof theirs, &size_bytes)) return LOGIN_INITIATOR_ERROR;
    /* Our own challenge come back would have us compute the answer for them (RFC 7143 9.2.1). */
    if (size_bytes == login->chap->digest_bytes &&
        memcmp(theirs, login->challenge, size_bytes) == 0)
        return LOGIN_AUTHENTICATION;
    if (!iscsi_chap_response(login->chap, (uint8_t)id, conn->access.mutual_secret, theirs,
                             size_bytes, digest))
        return LOGIN_NO_RESOURCES;
    iscsi_text_put(answer, "CHAP_N", conn->access.mutual_user);
    iscsi_chap_put(answer, "CHAP_R", digest, login->chap->digest_bytes);
    return LOGIN_OK;
}

static enum login_status verify(struct iscsi_conn *conn, const struct pairs *pairs,
                                struct buf_writer *answer)
{
    struct iscsi_login *login = &conn->login;
    const char *name = pairs_find(pairs, "CHAP_N"), *text = pairs_find(pairs, "CHAP_R");
    uint8_t expected[ISCSI_CHAP_DIGEST_MAX], given[ISCSI_CHAP_DIGEST_MAX];
    size_t size_bytes;
    if (!login->chap || login->authenticated || !name || !text) return LOGIN_INITIATOR_ERROR;
    if (!iscsi_chap_decode(text, given, sizeof given, &size_bytes)) return LOGIN_AUTHENTICATION;
    if (!iscsi_chap_response(login->chap, login->chap_id, conn->access.chap_secret,
                             login->challenge, login->chap->digest_bytes, expected))
        return LOGIN_NO_RESOURCES;
    bool fits =
        size_bytes == login->chap->digest_bytes && iscsi_chap_equal(given, expected, size_bytes);
    explicit_bzero(expected, sizeof expected);
    if (!fits) return LOGIN_AUTHENTICATION;
    if (!conn->access.chap_user || strcmp(name, conn->access.chap_user) != 0)
        return LOGIN_AUTHENTICATION;
    login->authenticated = true;

    const char *id = pairs_find(pairs, "CHAP_I"), *their_challenge = pairs_find(pairs, "CHAP_C");
    if (!id && !their_challenge) return LOGIN_OK;
    return answer_challenge(conn, id, their_challenge, answer);
}

static bool is_chap_key(const char *name)
{
    static const char *const names[] = {"CHAP_A", "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"};
    for (unsigned i = 0; i < countof(names); i++) {
        if (strcmp(name, names[i]) == 0) return true;
    }
    return false;
}

static enum login_status from_outcome(enum iscsi_key_outcome outcome)
{
    return outcome == ISCSI_KEYS_OK ? LOGIN_OK : LOGIN_INITIATOR_ERROR;
}

static enum login_status security_stage(struct iscsi_conn *conn, const struct pairs *pairs,
                                        struct buf_writer *answer)
{
    for (unsigned i = 0; i < pairs->count; i++) {
        const struct iscsi_text_pair *pair = &pairs->list[i];
        if (is_chap_key(pair->name)) {
            for (unsigned j = 0; j < i; j++) {
                if (strcmp(pairs->list[j].name, pair->name) == 0) return LOGIN_INITIATOR_ERROR;
            }
            continue;
        }
        enum login_status status =
            from_outcome(iscsi_keys_answer(&conn->login.keys, pair, ISCSI_PHASE_SECURITY, answer));
        if (status != LOGIN_OK) return status;
    }
    const char *methods = pairs_find(pairs, "AuthMethod"),
               *algorithms = pairs_find(pairs, "CHAP_A");
    enum login_status status = LOGIN_OK;
    if (methods) status = choose_method(conn, methods, answer);
    if (status == LOGIN_OK && algorithms) status = challenge(conn, algorithms, answer);
    if (status == LOGIN_OK && (pairs_find(pairs, "CHAP_R") || pairs_find(pairs, "CHAP_N")))
        status = verify(conn, pairs, answer);
    return status;
}

/* ---- Operational stage ---- */

static enum login_status operational_stage(struct iscsi_conn *conn, const struct pairs *pairs,
                                           struct buf_writer *answer)
{
    struct iscsi_keys *keys = &conn->login.keys;
    if (must_authenticate(conn) && !conn->login.authenticated) return LOGIN_AUTHENTICATION;
    for (unsigned i = 0; i < pairs->count; i++) {
        enum login_status status =
            from_outcome(iscsi_keys_answer(keys, &pairs->list[i], ISCSI_PHASE_OPERATIONAL, answer));
        if (status != LOGIN_OK) return status;
    }
    if (!keys->told_segment) {
        keys->told_segment = true;
        iscsi_text_put_number(answer, "MaxRecvDataSegmentLength", ISCSI_MAX_RECV_SEGMENT);
    }
    return LOGIN_OK;
}

static void tell_target(struct iscsi_conn *conn, struct buf_writer *answer)
{
    const struct iscsi_server *server = conn->server;
    if (conn->login.told_portal_group || conn->discovery) return;
    conn->login.told_portal_group = true;
    /* In the first response of a normal session (RFC 7143 13.9). */
    iscsi_text_put_number(answer, "TargetPortalGroupTag", conn->portal_index + 1);
    if (server->target_alias) iscsi_text_put(answer, "TargetAlias", server->target_alias);
}

/* ---- Full feature phase ---- */

static bool is_same_nexus(const struct iscsi_conn *a, const struct iscsi_conn *b)
{
    return a->portal_index == b->portal_index && memcmp(a->isid, b->isid, sizeof a->isid) == 0 &&
           strcmp(a->initiator_name, b->initiator_name) == 0;
}

/* Ends older sessions of the same nexus (RFC 7143 6.3.5); true when none is left. */
static bool reinstate(struct iscsi_conn *conn)
{
    bool alone = true;
    if (conn->discovery) return true;
    list_for_each (node, &conn->server->conns) {
        struct iscsi_conn *other = list_entry(node, struct iscsi_conn, link);
        bool session = other->nexus || other->state == CONN_REINSTATING;
        if (other == conn || other->discovery || !session || !is_same_nexus(conn, other)) continue;
        conn_close(other);
        if (other->nexus) alone = false;
    }
    return alone;
}

static void take_params(struct iscsi_conn *conn)
{
    const uint32_t *values = conn->login.keys.values;
    struct iscsi_params *p = &conn->params;
    p->initial_r2t = values[ISCSI_KEY_INITIAL_R2T] != 0;
    p->immediate_data = values[ISCSI_KEY_IMMEDIATE_DATA] != 0;
    p->max_send_segment = values[ISCSI_KEY_MAX_RECV_SEGMENT];
    p->max_burst = values[ISCSI_KEY_MAX_BURST];
    p->first_burst = min_of(values[ISCSI_KEY_FIRST_BURST], p->max_burst);
    p->max_r2t = values[ISCSI_KEY_MAX_R2T];
}

static void draw_tsih(struct iscsi_conn *conn)
{
    struct iscsi_server *server = conn->server;
    bool taken;
    do {
        server->last_tsih++;
        taken = server->last_tsih == 0;
        list_for_each (node, &server->conns) {
            if (list_entry(node, struct iscsi_conn, link)->tsih == server->last_tsih) taken = true;
        }
    } while (taken);
    conn->tsih = server->last_tsih;
}

/* The session begins and the held response says so. */
static void finish(struct iscsi_conn *conn)
{
    struct iscsi_reply *reply = take_ptr(&conn->login.held);
    enum status status = session_init(conn);
    if (status != STATUS_OK) {
        reply_release(conn, reply);
        refuse(conn, LOGIN_NO_RESOURCES);
        return;
    }
    draw_tsih(conn);
    store_be16(reply->bhs + ISCSI_AT_TSIH, conn->tsih);
    reply->after = AFTER_LOGIN;
    conn->state = CONN_FULL;
    conn->rx.header_digest = conn->login.keys.values[ISCSI_KEY_HEADER_DIGEST] == 1;
    conn->rx.data_digest = conn->login.keys.values[ISCSI_KEY_DATA_DIGEST] == 1;
    reply_send(conn, reply);
}

void login_resume_waiting(struct iscsi_server *server)
{
    list_for_each_safe (node, &server->conns) {
        struct iscsi_conn *conn = list_entry(node, struct iscsi_conn, link);
        if (conn->state != CONN_REINSTATING || !reinstate(conn)) continue;
        finish(conn);
        receive_resume(conn);
    }
}

void login_sent(struct iscsi_conn *conn)
{
    login_fini(conn);
    if (conn->discovery && !guard_may_log(conn->server)) return;
    log_info("iscsi session up", "initiator=%s peer=%s type=%s", conn->initiator_name,
             rt_sock_peer(conn->sock), conn->discovery ? "discovery" : "normal");
}

/* ---- Requests ---- */

/* Answers the complete text; *ret_next is the stage granted, or STAGE_NONE. */
static enum login_status negotiate(struct iscsi_conn *conn, struct buf_writer *answer,
                                   enum login_stage *ret_next)
{
    struct iscsi_login *login = &conn->login;
    uint8_t flags = conn->rx.pdu.flags;
    struct pairs pairs = {.count = 0};
    char *at = login->text, *end = login->text + login->text_bytes;
    bool bad = false;
    while (pairs.count < PAIRS_MAX && iscsi_text_next(&at, end, &pairs.list[pairs.count], &bad))
        pairs.count++;
    if (bad || pairs.count == PAIRS_MAX) return LOGIN_INITIATOR_ERROR;

    enum login_status status = LOGIN_OK;
    if (!conn->has_access) status = identify(conn, &pairs);
    if (status == LOGIN_OK) {
        status = login->stage == STAGE_SECURITY ? security_stage(conn, &pairs, answer)
                                                : operational_stage(conn, &pairs, answer);
    }
    if (status != LOGIN_OK) return status;
    tell_target(conn, answer);
    if (answer->failed) return LOGIN_INITIATOR_ERROR;

    if (!(flags & ISCSI_LOGIN_TRANSIT)) return LOGIN_OK;
    enum login_stage next = flags & 3;
    bool legal = false;
    for (unsigned i = 0; i < countof(transitions); i++) {
        if (transitions[i].from == login->stage && transitions[i].to_mask & 1u << next)
            legal = true;
    }
    if (!legal) return LOGIN_INITIATOR_ERROR;
    if (login->method_chosen && !login->authenticated) return LOGIN_OK; /* not yet */
    if (must_authenticate(conn) && !login->authenticated) return LOGIN_AUTHENTICATION;
    *ret_next = next;
    return LOGIN_OK;
}

/* The fixed fields: of the first request they are learned, afterwards they must stay (RFC
 * 7143 11.12). */
static enum login_status check_header(struct iscsi_conn *conn)
{
    struct iscsi_login *login = &conn->login;
    const struct iscsi_pdu *pdu = &conn->rx.pdu;
    enum login_stage stage = pdu->flags >> 2 & 3;
    bool transit = (pdu->flags & ISCSI_LOGIN_TRANSIT) != 0;
    if (!login->started) {
        login->started = true;
        login->stage = stage;
        login->itt = pdu->itt;
        memcpy(conn->isid, pdu->bhs + ISCSI_AT_ISID, sizeof conn->isid);
        conn->cid = load_be16(pdu->bhs + ISCSI_AT_CID);
        conn->exp_cmd_sn = load_be32(pdu->bhs + ISCSI_AT_CMDSN);
        conn->stat_sn = load_be32(pdu->bhs + ISCSI_AT_EXPSTATSN);
        if (stage != STAGE_SECURITY && stage != STAGE_OPERATIONAL) return LOGIN_INITIATOR_ERROR;
    }
    if (transit && pdu->flags & ISCSI_FLAG_CONTINUE) return LOGIN_INITIATOR_ERROR;
    if (stage != login->stage || pdu->itt != login->itt ||
        memcmp(conn->isid, pdu->bhs + ISCSI_AT_ISID, sizeof conn->isid) != 0)
        return LOGIN_INVALID_REQUEST;
    return LOGIN_OK;
}

enum rx_verdict login_begin(struct iscsi_conn *conn)
{
    struct iscsi_login *login = &conn->login;
    struct iscsi_rx *rx = &conn->rx;
    if (rx->pdu.opcode != ISCSI_OP_LOGIN_REQUEST) {
        /* RFC 7143 6.3: anything else before the login is over ends the connection. */
        conn_fail(conn, "not a login request");
        return RX_STOP;
    }
    /* Requests and responses alternate; the answer's memory is still being sent. */
    for (unsigned i = 0; i < REPLIES; i++) {
        if (conn->replies[i].used) return RX_WAIT;
    }
    enum login_status status = check_header(conn);
    if (status == LOGIN_OK && login->text_bytes + rx->pdu.data_bytes > LOGIN_TEXT_MAX)
        status = LOGIN_INITIATOR_ERROR;
    if (status != LOGIN_OK) {
        refuse(conn, status);
        return RX_STOP;
    }
    rx->dest[0] =
        (struct iovec){.iov_base = login->text + login->text_bytes, .iov_len = rx->pdu.data_bytes};
    rx->dest_count = rx->pdu.data_bytes ? 1 : 0;
    return RX_TAKE;
}

void login_end(struct iscsi_conn *conn)
{
    struct iscsi_login *login = &conn->login;
    uint8_t flags = conn->rx.pdu.flags;
    login->text_bytes += conn->rx.pdu.data_bytes;
    if (flags & ISCSI_FLAG_CONTINUE) {
        /* More text follows: an empty response asks for it (RFC 7143 6.2). */
        reply_send(conn, response(conn, (uint8_t)(login->stage << 2)));
        return;
    }
    struct buf_writer answer = buf_writer(login->answer, LOGIN_SEGMENT_MAX);
    enum login_stage next = STAGE_NONE;
    enum login_status status = negotiate(conn, &answer, &next);
    login->text_bytes = 0;
    if (status != LOGIN_OK) {
        refuse(conn, status);
        return;
    }
    uint8_t out = (uint8_t)(login->stage << 2);
    if (next != STAGE_NONE) out = (uint8_t)(out | ISCSI_LOGIN_TRANSIT | next);
    struct iscsi_reply *reply = response(conn, out);
    reply->data = login->answer;
    reply->data_bytes = (uint32_t)buf_used(&answer);
    if (next != STAGE_FULL) {
        if (next != STAGE_NONE) login->stage = next;
        reply_send(conn, reply);
        return;
    }
    take_params(conn);
    login->held = reply;
    if (reinstate(conn))
        finish(conn);
    else
        conn->state = CONN_REINSTATING;
}

void login_fini(struct iscsi_conn *conn)
{
    free(conn->login.text);
    free(conn->login.answer);
    conn->login.text = conn->login.answer = NULL;
    explicit_bzero(conn->login.challenge, sizeof conn->login.challenge);
}
