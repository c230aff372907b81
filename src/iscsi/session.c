#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "iscsi/iscsi_int.h"

/*
 * Full feature phase: command numbering, dispatch by opcode, NOP, logout, keep-alive.
 */

enum status session_init(struct iscsi_conn *conn)
{
    conn->started_ns = rt_now(conn->rt);
    if (conn->discovery) return STATUS_OK;
    const struct scsi_nexus_options options = {
        .map = conn->access.map,
        .initiator_name = conn->initiator_name,
        .target_name = conn->server->target_name,
        .target_port_group = (uint16_t)(conn->portal_index + 1),
        .relative_target_port = (uint16_t)(conn->portal_index + 1),
        .portal_count = conn->server->portal_count,
    };
    struct scsi_nexus_options with_isid = options;
    memcpy(with_isid.isid, conn->isid, sizeof conn->isid);
    struct iscsi_task *tasks = calloc(TASK_SLOTS, sizeof *tasks);
    if (!tasks) return STATUS_NO_MEMORY;
    struct err *e = scsi_nexus_create(&with_isid, &conn->nexus);
    if (e) {
        enum status status = err_status(e);
        err_free(e);
        free(tasks);
        return status;
    }
    conn->tasks = tasks;
    for (unsigned i = 0; i < TASK_SLOTS; i++) {
        tasks[i].conn = conn;
        tasks[i].index = (uint16_t)i;
        conn->free_slots[conn->free_count++] = (uint16_t)(TASK_SLOTS - 1 - i);
    }
    conn->announced = true;
    conn->server->session_count++;
    if (conn->server->ops.session_changed)
        conn->server->ops.session_changed(conn->server->arg, conn->access.host,
                                          conn->initiator_name, true);
    return STATUS_OK;
}

void session_fini(struct iscsi_conn *conn)
{
    scsi_nexus_destroy(conn->nexus);
    conn->nexus = NULL;
    free(conn->tasks);
    conn->tasks = NULL;
    if (conn->announced) conn->server->session_count--;
    if (conn->announced && conn->server->ops.session_changed)
        conn->server->ops.session_changed(conn->server->arg, conn->access.host,
                                          conn->initiator_name, false);
    conn->announced = false;
}

enum rx_verdict session_reject(struct iscsi_conn *conn, enum iscsi_reject reason)
{
    struct iscsi_reply *reply = reply_get(conn, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
    if (!reply) return RX_WAIT;
    reply->bhs[2] = (uint8_t)reason;
    store_be32(reply->bhs + ISCSI_AT_ITT, ISCSI_TAG_NONE);
    memcpy(reply->inline_data, conn->rx.pdu.bhs, ISCSI_BHS_BYTES);
    reply->data = reply->inline_data;
    reply->data_bytes = ISCSI_BHS_BYTES;
    reply_send(conn, reply);
    return RX_TAKE;
}

/* ---- NOP ---- */

static enum rx_verdict nop_begin(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    /* Without a task tag it wants no answer: it is one, to a ping of ours (RFC 7143 11.18). */
    if (rx->pdu.itt == ISCSI_TAG_NONE) return RX_TAKE;
    /* A discovery session has shown no secret: none of the memory of I/O for it. */
    if (conn->discovery && rx->pdu.data_bytes > 0)
        return session_reject(conn, ISCSI_REJECT_PROTOCOL);
    if (rx->pdu.data_bytes > 0 && !receive_into_bulk(conn)) {
        task_wait_for_buffers(conn);
        return RX_WAIT;
    }
    rx->reply = reply_get(conn, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    if (!rx->reply) return RX_WAIT;
    memcpy(rx->reply->bhs + ISCSI_AT_LUN, rx->pdu.bhs + ISCSI_AT_LUN, 8);
    store_be32(rx->reply->bhs + ISCSI_AT_ITT, rx->pdu.itt);
    store_be32(rx->reply->bhs + ISCSI_AT_TTT, ISCSI_TAG_NONE);
    return RX_TAKE;
}

static void nop_end(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    struct iscsi_reply *reply = take_ptr(&rx->reply);
    if (!reply) return;
    if (rx->bulk) {
        /* The ping data comes back, as much as the initiator takes (RFC 7143 11.18.4). */
        reply->data = reply->buffer = take_ptr(&rx->bulk);
        reply->buffer_bytes = rx->bulk_bytes;
        reply->data_bytes = min_of(rx->pdu.data_bytes, conn->params.max_send_segment);
    }
    reply_send(conn, reply);
}

static void send_ping(struct iscsi_conn *conn)
{
    if (!reply_take(&conn->ping, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL)) return;
    conn->ping.stat = STAT_SHOW; /* RFC 7143 11.19.2: StatSN is not advanced */
    store_be32(conn->ping.bhs + ISCSI_AT_ITT, ISCSI_TAG_NONE);
    store_be32(conn->ping.bhs + ISCSI_AT_TTT, 0xF0000000u);
    conn->ping_pending = true;
    conn->ping_sent_ns = rt_now(conn->rt);
    reply_send(conn, &conn->ping);
}

/* ---- Logout ---- */

enum { LOGOUT_SESSION = 0, LOGOUT_CONNECTION = 1, LOGOUT_RECOVERY = 2 };

static enum rx_verdict logout_begin(struct iscsi_conn *conn)
{
    const struct iscsi_pdu *pdu = &conn->rx.pdu;
    struct iscsi_reply *reply = reply_get(conn, ISCSI_OP_LOGOUT_RESPONSE, ISCSI_FLAG_FINAL);
    if (!reply) return RX_WAIT;
    unsigned reason = pdu->flags & 0x7F;
    bool ends = reason == LOGOUT_SESSION;
    uint8_t answer = 0;
    if (reason == LOGOUT_CONNECTION) {
        ends = load_be16(pdu->bhs + ISCSI_AT_CID) == conn->cid;
        answer = ends ? 0 : 1; /* CID not found */
    } else if (!ends) {
        answer = 2; /* connection recovery is not supported (RFC 7143 11.15.1) */
    }
    reply->bhs[2] = answer;
    store_be32(reply->bhs + ISCSI_AT_ITT, pdu->itt);
    store_be16(reply->bhs + ISCSI_AT_TIME2WAIT, 0);
    store_be16(reply->bhs + ISCSI_AT_TIME2RETAIN, 0);
    if (ends) reply->after = AFTER_CLOSE;
    if (ends && !pdu->immediate) conn->exp_cmd_sn++; /* otherwise the dispatcher counts it */
    reply_send(conn, reply);
    if (!ends) return RX_TAKE;
    conn->state = CONN_LOGGED_OUT;
    return RX_STOP;
}

void session_request_logout(struct iscsi_conn *conn)
{
    enum { REQUEST_LOGOUT = 1 };
    if (!reply_take(&conn->notice, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL)) return;
    store_be32(conn->notice.bhs + ISCSI_AT_ITT, ISCSI_TAG_NONE);
    conn->notice.bhs[ISCSI_AT_ASYNC_EVENT] = REQUEST_LOGOUT;
    store_be16(conn->notice.bhs + ISCSI_AT_ASYNC_PARAMETER3, LOGOUT_REQUEST_S);
    reply_send(conn, &conn->notice);
}

/* ---- Dispatch ---- */

enum order { ORDER_TAKE, ORDER_DROP, ORDER_GAP };

/* RFC 7143 4.2.2.1: outside the window: silently ignored.  Inside, one connection delivers in
 * order, so a gap can only be the initiator's fault and nothing will ever fill it. */
static enum order check_order(const struct iscsi_conn *conn)
{
    uint32_t cmd_sn = load_be32(conn->rx.pdu.bhs + ISCSI_AT_CMDSN);
    if (conn->rx.pdu.immediate || cmd_sn == conn->exp_cmd_sn) {
        /* A full window has MaxCmdSN = ExpCmdSN - 1. */
        bool open = conn->rx.pdu.immediate || !iscsi_sn_before(max_cmd_sn(conn), cmd_sn);
        return open ? ORDER_TAKE : ORDER_DROP;
    }
    if (iscsi_sn_before(cmd_sn, conn->exp_cmd_sn) || iscsi_sn_before(max_cmd_sn(conn), cmd_sn))
        return ORDER_DROP;
    return ORDER_GAP;
}

typedef enum rx_verdict begin_fn(struct iscsi_conn *conn);

/* What carries a CmdSN. */
static begin_fn *const numbered[] = {
    [ISCSI_OP_NOP_OUT] = nop_begin,           [ISCSI_OP_COMMAND] = task_command_begin,
    [ISCSI_OP_TMF_REQUEST] = tmf_begin,       [ISCSI_OP_TEXT_REQUEST] = text_begin,
    [ISCSI_OP_LOGOUT_REQUEST] = logout_begin,
};

static enum rx_verdict begin_numbered(struct iscsi_conn *conn, begin_fn *begin)
{
    struct iscsi_rx *rx = &conn->rx;
    /* A command that waits for memory was counted when it came. */
    if (rx->task) return begin(conn);
    switch (check_order(conn)) {
    case ORDER_TAKE:
        break;
    case ORDER_DROP:
        rx->pdu.opcode = ISCSI_OP_MASK; /* nothing to do at its end */
        return RX_TAKE;
    case ORDER_GAP:
        conn_fail(conn, "command sequence number skipped");
        return RX_STOP;
    }
    bool immediate = rx->pdu.immediate;
    bool scsi = begin == task_command_begin || begin == tmf_begin;
    enum rx_verdict verdict =
        scsi && conn->discovery ? session_reject(conn, ISCSI_REJECT_PROTOCOL) : begin(conn);
    if ((verdict == RX_TAKE || rx->task) && !immediate) conn->exp_cmd_sn++;
    return verdict;
}

enum rx_verdict session_begin(struct iscsi_conn *conn)
{
    const struct iscsi_pdu *pdu = &conn->rx.pdu;
    enum iscsi_opcode opcode = pdu->opcode;
    /* A discovery session has no SCSI: only SendTargets, NOP and logout (RFC 7143 4.3). */
    if (opcode == ISCSI_OP_DATA_OUT && !conn->discovery) return task_data_begin(conn);
    if (opcode < countof(numbered) && numbered[opcode])
        return begin_numbered(conn, numbered[opcode]);
    if (opcode == ISCSI_OP_LOGIN_REQUEST) {
        conn_fail(conn, "login request in full feature phase");
        return RX_STOP;
    }
    /* Recovery level 0 knows no SNACK (RFC 7143 11.16). */
    return session_reject(conn, opcode == ISCSI_OP_SNACK ? ISCSI_REJECT_SNACK
                                                         : ISCSI_REJECT_NOT_SUPPORTED);
}

void session_end(struct iscsi_conn *conn)
{
    switch (conn->rx.pdu.opcode) {
    case ISCSI_OP_NOP_OUT:
        nop_end(conn);
        break;
    case ISCSI_OP_TEXT_REQUEST:
        text_end(conn);
        break;
    case ISCSI_OP_COMMAND:
    case ISCSI_OP_DATA_OUT:
        task_segment_end(conn);
        break;
    default:
        break;
    }
}

/* ---- Time ---- */

static bool has_stale_write(const struct iscsi_conn *conn, uint64_t now_ns)
{
    for (unsigned i = 0; conn->tasks && i < TASK_SLOTS; i++) {
        const struct iscsi_task *task = &conn->tasks[i];
        if (task->state == TASK_DATA_OUT && now_ns - task->started_ns > DATA_TIMEOUT_S * RT_SECOND)
            return true;
    }
    return false;
}

void session_tick(struct rt_timer *timer)
{
    struct iscsi_conn *conn = container_of(timer, struct iscsi_conn, timer);
    const struct iscsi_server *server = conn->server;
    uint64_t now_ns = rt_now(conn->rt);
    if (conn->state == CONN_LOGIN || conn->state == CONN_REINSTATING ||
        conn->state == CONN_LOGGED_OUT) {
        conn_fail(conn,
                  conn->state == CONN_LOGGED_OUT ? "logout took too long" : "login took too long");
        return;
    }
    if (conn->discovery && now_ns - conn->started_ns >= DISCOVERY_LIFE_S * RT_SECOND) {
        conn_fail(conn, "a discovery session is for asking, not for staying");
        return;
    }
    if (conn->ping_pending && now_ns - conn->ping_sent_ns >= server->nop_timeout_ns) {
        conn_fail(conn, "no answer to a ping");
        return;
    }
    if (has_stale_write(conn, now_ns)) {
        conn_fail(conn, "the data of a write never came");
        return;
    }
    task_expire_parked(conn, now_ns);
    if (!conn->ping_pending && now_ns - conn->last_rx_ns >= server->nop_interval_ns)
        send_ping(conn);
    uint64_t next_ns = conn->ping_pending ? conn->ping_sent_ns + server->nop_timeout_ns
                                          : conn->last_rx_ns + server->nop_interval_ns;
    rt_timer_set(conn->rt, &conn->timer, max_of(next_ns, now_ns + RT_SECOND / 4), session_tick);
}
