#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "iscsi/iscsi_int.h"

/*
 * Text requests in full feature phase: SendTargets and declarations (RFC 7143 11.10, 11.11 and
 * appendix C). One exchange at a time; requests and answers may be continued (C bit).
 */

enum { ANSWER_TAG = 0xE0000000u };

/* "[::ffff:192.0.2.1]:3260" is 192.0.2.1:3260 to an initiator that came over IPv4. */
static void put_address(struct buf_writer *w, const char *address, unsigned portal_group)
{
    static const char mapped[] = "[::ffff:";
    char line[RT_ADDRESS_MAX + 16];
    const char *rest = address, *bracket = NULL;
    if (strncasecmp(address, mapped, sizeof mapped - 1) == 0 && strchr(address, '.')) {
        rest = address + sizeof mapped - 1;
        bracket = strchr(rest, ']');
    }
    if (bracket)
        snprintf(line, sizeof line, "%.*s%s,%u", (int)(bracket - rest), rest, bracket + 1,
                 portal_group);
    else
        snprintf(line, sizeof line, "%s,%u", address, portal_group);
    iscsi_text_put(w, "TargetAddress", line);
}

static bool is_wildcard(const char *address)
{
    return strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
}

static void put_targets(struct iscsi_conn *conn, struct buf_writer *w)
{
    const struct iscsi_server *server = conn->server;
    iscsi_text_put(w, "TargetName", server->target_name);
    for (unsigned i = 0; i < server->portal_count; i++) {
        const struct iscsi_portal *portal = &server->portals[i];
        const char *address = portal->advertise;
        if (!address && i == conn->portal_index) address = rt_sock_local(conn->sock);
        if (!address && portal->listener) address = rt_listener_address(portal->listener);
        if (!address || is_wildcard(address))
            continue; /* which of our addresses reaches it is not known */
        put_address(w, address, i + 1);
    }
}

/* One pair of the request; false: the request is at fault. */
static bool answer_pair(struct iscsi_conn *conn, const struct iscsi_text_pair *pair,
                        struct buf_writer *w)
{
    if (strcmp(pair->name, "SendTargets") == 0) {
        bool all = strcmp(pair->value, "All") == 0;
        if (all && !conn->discovery) {
            /* "All" belongs to discovery sessions (RFC 7143 C). */
            iscsi_text_put(w, pair->name, "Reject");
            return true;
        }
        bool current = pair->value[0] == '\0' && !conn->discovery;
        if (all || current || strcasecmp(pair->value, conn->server->target_name) == 0)
            put_targets(conn, w);
        return true;
    }
    struct iscsi_keys *keys = &conn->login.keys;
    enum iscsi_key_outcome outcome = iscsi_keys_answer(keys, pair, ISCSI_PHASE_FULL, w);
    conn->params.max_send_segment = keys->values[ISCSI_KEY_MAX_RECV_SEGMENT];
    return outcome == ISCSI_KEYS_OK;
}

static bool answer_request(struct iscsi_conn *conn)
{
    struct iscsi_text *text = &conn->text;
    struct buf_writer w = buf_writer(text->answer, TEXT_MAX);
    struct iscsi_text_pair pair;
    bool bad;
    char *at = text->request, *end = at + text->request_bytes;
    while (iscsi_text_next(&at, end, &pair, &bad)) {
        if (!answer_pair(conn, &pair, &w)) return false;
    }
    if (bad || w.failed) return false;
    text->answer_bytes = (uint32_t)buf_used(&w);
    text->answer_at = 0;
    return true;
}

static bool prepare(struct iscsi_text *text)
{
    if (!text->request) text->request = malloc(TEXT_MAX);
    if (!text->answer) text->answer = malloc(TEXT_MAX);
    return text->request && text->answer;
}

enum rx_verdict text_begin(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    struct iscsi_text *text = &conn->text;
    uint32_t tag = load_be32(rx->pdu.bhs + ISCSI_AT_TTT);
    bool more = text->active && tag == ANSWER_TAG && rx->pdu.itt == text->itt;

    /* The last answer may still be being sent from the same memory. */
    if (!reply_take(&text->reply, ISCSI_OP_TEXT_RESPONSE, 0)) return RX_WAIT;
    rx->reply = &text->reply;
    if (!more) {
        text->active = tag == ISCSI_TAG_NONE && rx->pdu.itt != ISCSI_TAG_NONE;
        text->itt = rx->pdu.itt;
        text->request_bytes = text->answer_bytes = text->answer_at = 0;
    }
    bool final = (rx->pdu.flags & ISCSI_FLAG_FINAL) != 0;
    bool continued = (rx->pdu.flags & ISCSI_FLAG_CONTINUE) != 0;
    if (!text->active || !prepare(text) || (final && continued) ||
        text->request_bytes + rx->pdu.data_bytes > TEXT_MAX) {
        text->active = false;
        rx->reply->used = false;
        rx->reply = NULL;
        return session_reject(conn, ISCSI_REJECT_PROTOCOL);
    }
    rx->dest[0] = (struct iovec){.iov_base = text->request + text->request_bytes,
                                 .iov_len = rx->pdu.data_bytes};
    rx->dest_count = rx->pdu.data_bytes ? 1 : 0;
    return RX_TAKE;
}

void text_end(struct iscsi_conn *conn)
{
    struct iscsi_text *text = &conn->text;
    const struct iscsi_pdu *pdu = &conn->rx.pdu;
    struct iscsi_reply *reply = take_ptr(&conn->rx.reply);
    if (!reply) return;
    text->request_bytes += pdu->data_bytes;
    uint8_t flags = 0;
    uint32_t tag = ANSWER_TAG;
    if (!(pdu->flags & ISCSI_FLAG_CONTINUE)) {
        bool sending = text->answer_at < text->answer_bytes;
        if (!sending && !answer_request(conn)) {
            text->active = false;
            reply->used = false;
            (void)session_reject(conn, ISCSI_REJECT_PROTOCOL);
            return;
        }
        text->request_bytes = 0;
        uint32_t left = text->answer_bytes - text->answer_at;
        reply->data = text->answer + text->answer_at;
        reply->data_bytes = min_of(left, conn->params.max_send_segment);
        text->answer_at += reply->data_bytes;
        if (text->answer_at < text->answer_bytes) {
            flags = ISCSI_FLAG_CONTINUE;
        } else if (pdu->flags & ISCSI_FLAG_FINAL) {
            flags = ISCSI_FLAG_FINAL;
            tag = ISCSI_TAG_NONE;
            text->active = false;
        }
    }
    reply->bhs[1] = flags;
    store_be32(reply->bhs + ISCSI_AT_ITT, pdu->itt);
    store_be32(reply->bhs + ISCSI_AT_TTT, tag);
    reply_send(conn, reply);
}

void text_fini(struct iscsi_conn *conn)
{
    free(conn->text.request);
    free(conn->text.answer);
    conn->text.request = conn->text.answer = NULL;
}
