#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "iscsi/iscsi_int.h"

/*
 * Transmission: a queue of answers becomes PDUs only when they can be sent, as many as fit into one
 * sendmsg. Headers, digests, padding and sense are written to the batch's scratch; data stays where
 * it is.  What was queued in one turn of the loop goes out in the next, together.
 */

enum {
    PDU_SCRATCH_MAX =
        ISCSI_BHS_BYTES + ISCSI_DIGEST_BYTES + 2 + SCSI_SENSE_MAX + 3 + ISCSI_DIGEST_BYTES
};

static void sent(struct rt_sock_io *io);

uint32_t max_cmd_sn(const struct iscsi_conn *conn)
{
    /* Never goes back: a command that comes takes one from the window and adds one to ExpCmdSN. */
    return conn->exp_cmd_sn + WINDOW_COMMANDS - conn->window_used - 1;
}

void put_serials(struct iscsi_conn *conn, uint8_t *bhs, enum stat_use use)
{
    store_be32(bhs + ISCSI_AT_STATSN, conn->stat_sn);
    if (use == STAT_NEXT) conn->stat_sn++;
    store_be32(bhs + ISCSI_AT_EXPCMDSN, conn->exp_cmd_sn);
    store_be32(bhs + ISCSI_AT_MAXCMDSN, max_cmd_sn(conn));
}

/* ---- The batch ---- */

static void add_iov(struct iscsi_tx *tx, const void *data, size_t size_bytes)
{
    struct iovec *last = tx->iov_count ? &tx->iov[tx->iov_count - 1] : NULL;
    tx->batch_bytes += size_bytes;
    if (last && (uint8_t *)last->iov_base + last->iov_len == data) {
        last->iov_len += size_bytes;
        return;
    }
    check(tx->iov_count < RT_IOV_MAX);
    /* sendmsg does not write through it. */
    union {
        const void *in;
        void *out;
    } base = {.in = data};
    tx->iov[tx->iov_count++] = (struct iovec){.iov_base = base.out, .iov_len = size_bytes};
}

static uint8_t *scratch_take(struct iscsi_tx *tx, size_t size_bytes)
{
    check(tx->scratch_used + size_bytes <= TX_SCRATCH_BYTES);
    uint8_t *p = tx->scratch + tx->scratch_used;
    tx->scratch_used += size_bytes;
    return p;
}

/* Room for a header, one piece of data and a tail. */
static bool has_room(const struct iscsi_tx *tx)
{
    return tx->iov_count + 3 <= RT_IOV_MAX &&
           tx->scratch_used + PDU_SCRATCH_MAX <= TX_SCRATCH_BYTES &&
           tx->batch_bytes < TX_BATCH_BYTES;
}

/* The finished header with its digest; data_bytes is set here. */
static void add_header(struct iscsi_tx *tx, const uint8_t bhs[ISCSI_BHS_BYTES], uint32_t data_bytes)
{
    uint8_t *p = scratch_take(tx, ISCSI_BHS_BYTES + (tx->header_digest ? ISCSI_DIGEST_BYTES : 0u));
    memcpy(p, bhs, ISCSI_BHS_BYTES);
    iscsi_pdu_set_data_bytes(p, data_bytes);
    size_t size_bytes = ISCSI_BHS_BYTES;
    if (tx->header_digest) {
        store_le32(p + ISCSI_BHS_BYTES, crc32c(0, p, ISCSI_BHS_BYTES));
        size_bytes += ISCSI_DIGEST_BYTES;
    }
    add_iov(tx, p, size_bytes);
}

/* Padding and digest behind data_bytes of data whose CRC is given. */
static void add_tail(struct iscsi_tx *tx, uint32_t data_bytes, uint32_t crc)
{
    unsigned padding = iscsi_pdu_padding(data_bytes);
    unsigned size_bytes = padding + (tx->data_digest ? ISCSI_DIGEST_BYTES : 0u);
    if (data_bytes == 0 || size_bytes == 0) return;
    uint8_t *p = scratch_take(tx, size_bytes);
    memset(p, 0, padding);
    if (tx->data_digest) store_le32(p + padding, crc32c(crc, p, padding));
    add_iov(tx, p, size_bytes);
}

static void add_data(struct iscsi_tx *tx, const void *data, uint32_t data_bytes)
{
    if (data_bytes == 0) return;
    add_iov(tx, data, data_bytes);
    add_tail(tx, data_bytes, tx->data_digest ? crc32c(0, data, data_bytes) : 0);
}

/* ---- One item of the queue; true when nothing more of it is to be built ---- */

static bool build_reply(struct iscsi_conn *conn, struct iscsi_reply *reply)
{
    struct iscsi_tx *tx = &conn->tx;
    put_serials(conn, reply->bhs, reply->stat);
    add_header(tx, reply->bhs, reply->data_bytes);
    add_data(tx, reply->data, reply->data_bytes);
    if (reply->after == AFTER_LOGIN) {
        /* Digests begin behind the last Login Response (RFC 7143 13.1). */
        tx->header_digest = conn->login.keys.values[ISCSI_KEY_HEADER_DIGEST] == 1;
        tx->data_digest = conn->login.keys.values[ISCSI_KEY_DATA_DIGEST] == 1;
    }
    list_push_back(&tx->flying, &reply->out.link);
    return true;
}

static bool build_r2t(struct iscsi_conn *conn, struct iscsi_task *task)
{
    uint8_t bhs[ISCSI_BHS_BYTES];
    while (!task->failed && task->asked < task->expect &&
           task->r2t_sent - task->r2t_done < conn->params.max_r2t) {
        if (!has_room(&conn->tx)) return false;
        uint32_t size_bytes = min_of(conn->params.max_burst, task->expect - task->asked);
        iscsi_pdu_start(bhs, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
        memcpy(bhs + ISCSI_AT_LUN, task->lun, sizeof task->lun);
        store_be32(bhs + ISCSI_AT_ITT, task->itt);
        store_be32(bhs + ISCSI_AT_TTT, task_transfer_tag(task, task->r2t_sent));
        put_serials(conn, bhs, STAT_SHOW);
        store_be32(bhs + ISCSI_AT_R2TSN, task->r2t_sent);
        store_be32(bhs + ISCSI_AT_BUFFER_OFFSET, task->asked);
        store_be32(bhs + ISCSI_AT_DESIRED_BYTES, size_bytes);
        add_header(&conn->tx, bhs, 0);
        task->asked += size_bytes;
        task->r2t_sent++;
    }
    return true;
}

/* How much the command wanted to move, against what the initiator expected (RFC 7143 11.4.5). */
static void put_residual(const struct iscsi_task *task, uint8_t *bhs)
{
    const struct scsi_task *scsi = &task->scsi;
    uint64_t moved = 0;
    if (task->failed || scsi->finished)
        moved = task->read ? 0 : task->edtl;
    else if (scsi->transfer == SCSI_TRANSFER_OUT)
        moved = scsi->transfer_bytes;
    else
        moved = scsi->in_bytes;
    uint64_t residual = 0;
    if (moved > task->edtl) {
        bhs[1] |= ISCSI_RESIDUAL_OVERFLOW;
        residual = moved - task->edtl;
    } else if (moved < task->edtl) {
        bhs[1] |= ISCSI_RESIDUAL_UNDERFLOW;
        residual = task->edtl - moved;
    }
    store_be32(bhs + ISCSI_AT_RESIDUAL, (uint32_t)min_of(residual, (uint64_t)UINT32_MAX));
}

static void mark_answered(struct iscsi_task *task)
{
    if (task->answered) return;
    task->answered = true;
    if (task->immediate)
        task->conn->immediate_used--;
    else
        task->conn->window_used--;
}

static bool build_response(struct iscsi_conn *conn, struct iscsi_task *task)
{
    struct iscsi_tx *tx = &conn->tx;
    const struct scsi_task *scsi = &task->scsi;
    uint8_t bhs[ISCSI_BHS_BYTES];
    if (!has_room(tx)) return false;
    mark_answered(task);
    iscsi_pdu_start(bhs, ISCSI_OP_RESPONSE, ISCSI_FLAG_FINAL);
    bhs[3] = scsi->scsi_status;
    store_be32(bhs + ISCSI_AT_ITT, task->itt);
    put_serials(conn, bhs, STAT_NEXT);
    store_be32(bhs + ISCSI_AT_EXPDATASN, task->write ? task->r2t_sent : task->data_in_sn);
    put_residual(task, bhs);
    /* Sense data, with its length in front (RFC 7143 11.4.7). */
    uint32_t sense_bytes = scsi->sense_bytes;
    add_header(tx, bhs, sense_bytes ? sense_bytes + 2 : 0);
    if (sense_bytes) {
        uint8_t *p = scratch_take(tx, sense_bytes + 2);
        store_be16(p, (uint16_t)sense_bytes);
        memcpy(p + 2, scsi->sense, sense_bytes);
        add_data(tx, p, sense_bytes + 2);
    }
    list_push_back(&tx->flying, &task->out.link);
    return true;
}

/* The pieces of data-in for at most `want` bytes, as many as there are iovecs for. */
static uint32_t add_pieces(struct iscsi_tx *tx, struct iscsi_task *task, uint32_t want,
                           uint32_t *ret_crc)
{
    uint32_t taken = 0, crc = 0;
    while (taken < want && tx->iov_count < RT_IOV_MAX - 1) {
        check(task->in_index < task->scsi.in_iov_count);
        const struct iovec *v = &task->scsi.in_iov[task->in_index];
        uint32_t n = (uint32_t)min_of((size_t)(want - taken), v->iov_len - task->in_at);
        const uint8_t *p = (const uint8_t *)v->iov_base + task->in_at;
        if (n > 0) add_iov(tx, p, n);
        if (n > 0 && tx->data_digest) crc = crc32c(crc, p, n);
        taken += n;
        task->in_at += n;
        if (task->in_at == v->iov_len) {
            task->in_index++;
            task->in_at = 0;
        }
    }
    *ret_crc = crc;
    return taken;
}

static void build_data_in(struct iscsi_conn *conn, struct iscsi_task *task)
{
    struct iscsi_tx *tx = &conn->tx;
    uint32_t want = min_of(task->send_bytes - task->sent, conn->params.max_send_segment);
    want = min_of(want, conn->params.max_burst - task->burst_sent);

    /* The length is known only after the pieces were counted: the header's place is taken first. */
    uint8_t *bhs =
        scratch_take(tx, ISCSI_BHS_BYTES + (tx->header_digest ? ISCSI_DIGEST_BYTES : 0u));
    add_iov(tx, bhs, ISCSI_BHS_BYTES + (tx->header_digest ? ISCSI_DIGEST_BYTES : 0u));
    uint32_t crc;
    uint32_t size_bytes = add_pieces(tx, task, want, &crc);
    bool last = task->sent + size_bytes == task->send_bytes;
    bool burst_end = last || task->burst_sent + size_bytes == conn->params.max_burst;

    iscsi_pdu_start(bhs, ISCSI_OP_DATA_IN, burst_end ? ISCSI_FLAG_FINAL : 0);
    iscsi_pdu_set_data_bytes(bhs, size_bytes);
    memcpy(bhs + ISCSI_AT_LUN, task->lun, sizeof task->lun);
    store_be32(bhs + ISCSI_AT_ITT, task->itt);
    store_be32(bhs + ISCSI_AT_TTT, ISCSI_TAG_NONE);
    store_be32(bhs + ISCSI_AT_DATASN, task->data_in_sn++);
    store_be32(bhs + ISCSI_AT_BUFFER_OFFSET, task->sent);
    if (last && task->scsi.scsi_status == SCSI_STATUS_GOOD) {
        /* Good status travels with the last data (RFC 7143 11.7.1). */
        mark_answered(task);
        bhs[1] |= ISCSI_DATA_IN_STATUS;
        put_residual(task, bhs);
        put_serials(conn, bhs, STAT_NEXT);
    } else {
        put_serials(conn, bhs, STAT_SHOW);
        store_be32(bhs + ISCSI_AT_STATSN, 0);
    }
    if (tx->header_digest) store_le32(bhs + ISCSI_BHS_BYTES, crc32c(0, bhs, ISCSI_BHS_BYTES));
    add_tail(tx, size_bytes, crc);
    task->sent += size_bytes;
    task->burst_sent = burst_end ? 0 : task->burst_sent + size_bytes;
}

static bool build_data(struct iscsi_conn *conn, struct iscsi_task *task)
{
    while (task->sent < task->send_bytes) {
        if (!has_room(&conn->tx)) return false;
        task->building = true;
        build_data_in(conn, task);
    }
    if (task->answered) {
        list_push_back(&conn->tx.flying, &task->out.link);
        return true;
    }
    task->out.kind = OUT_RESPONSE;
    return build_response(conn, task);
}

/* Takes the front of the queue as far as there is room; false: stop. */
static bool build_next(struct iscsi_conn *conn)
{
    struct iscsi_tx *tx = &conn->tx;
    struct list_node *node = list_pop_front(&tx->queue);
    if (!node) return false;
    struct iscsi_out *out = list_entry(node, struct iscsi_out, link);
    bool done = false;
    switch (out->kind) {
    case OUT_REPLY:
        done = build_reply(conn, container_of(out, struct iscsi_reply, out));
        break;
    case OUT_R2T:
        done = build_r2t(conn, container_of(out, struct iscsi_task, out));
        break;
    case OUT_DATA:
        done = build_data(conn, container_of(out, struct iscsi_task, out));
        break;
    case OUT_RESPONSE:
        done = build_response(conn, container_of(out, struct iscsi_task, out));
        break;
    }
    if (!done) list_push_front(&tx->queue, node);
    return done;
}

static void send_batch(struct iscsi_conn *conn)
{
    struct iscsi_tx *tx = &conn->tx;
    if (tx->sending || !conn_is_open(conn) || list_is_empty(&tx->queue)) return;
    tx->iov_count = 0;
    tx->scratch_used = 0;
    tx->batch_bytes = 0;
    for (unsigned count = 0; count < TX_TASKS_MAX && has_room(tx); count++) {
        if (!build_next(conn)) break;
    }
    if (tx->iov_count == 0) return; /* an R2T that is not needed any more */
    tx->io = (struct rt_sock_io){.op = RT_SOCK_SEND,
                                 .sock = conn->sock,
                                 .iov = tx->iov,
                                 .iov_count = tx->iov_count,
                                 .done = sent};
    tx->sending = true;
    rt_sock_submit(conn->rt, &tx->io);
}

static void reply_sent(struct iscsi_conn *conn, struct iscsi_reply *reply)
{
    enum reply_after after = reply->after;
    reply_release(conn, reply);
    if (after == AFTER_CLOSE) conn_close(conn);
    if (after == AFTER_LOGIN) login_sent(conn);
}

static void sent(struct rt_sock_io *io)
{
    struct iscsi_conn *conn = container_of(io, struct iscsi_conn, tx.io);
    conn->tx.sending = false;
    if (!conn_is_open(conn)) return;
    if (io->status != STATUS_OK) {
        conn_fail(conn, status_text(io->status));
        return;
    }
    /* A slow reader that reads is alive; its answer to a ping is far behind what it reads. */
    if (conn->ping_pending) conn->ping_sent_ns = rt_now(conn->rt);
    struct list_node *node;
    while (conn_is_open(conn) && (node = list_pop_front(&conn->tx.flying))) {
        struct iscsi_out *out = list_entry(node, struct iscsi_out, link);
        if (out->kind == OUT_REPLY)
            reply_sent(conn, container_of(out, struct iscsi_reply, out));
        else
            task_sent(container_of(out, struct iscsi_task, out));
    }
    send_batch(conn);
}

static void kicked(struct rt_message *message)
{
    struct iscsi_conn *conn = container_of(message, struct iscsi_conn, tx.message);
    conn->tx.posted = false;
    send_batch(conn);
    conn_reap(conn);
}

void transmit_init(struct iscsi_conn *conn)
{
    list_init(&conn->tx.queue);
    list_init(&conn->tx.flying);
    conn->tx.message.fn = kicked;
}

void transmit_kick(struct iscsi_conn *conn)
{
    if (conn->tx.sending || conn->tx.posted || !conn_is_open(conn)) return;
    conn->tx.posted = true;
    rt_post(conn->rt, &conn->tx.message);
}

void transmit_queue(struct iscsi_conn *conn, struct iscsi_out *out)
{
    list_push_back(&conn->tx.queue, &out->link);
    transmit_kick(conn);
}

/* ---- Replies ---- */

static void reply_begin(struct iscsi_reply *reply, enum iscsi_opcode opcode, uint8_t flags)
{
    check(!reply->used);
    reply->used = true;
    reply->out.kind = OUT_REPLY;
    reply->stat = STAT_NEXT;
    reply->after = AFTER_NOTHING;
    reply->data = NULL;
    reply->data_bytes = 0;
    reply->buffer = NULL;
    iscsi_pdu_start(reply->bhs, opcode, flags);
}

struct iscsi_reply *reply_get(struct iscsi_conn *conn, enum iscsi_opcode opcode, uint8_t flags)
{
    for (unsigned i = 0; i < REPLIES; i++) {
        if (conn->replies[i].used) continue;
        reply_begin(&conn->replies[i], opcode, flags);
        return &conn->replies[i];
    }
    return NULL;
}

bool reply_take(struct iscsi_reply *reply, enum iscsi_opcode opcode, uint8_t flags)
{
    if (reply->used) return false;
    reply_begin(reply, opcode, flags);
    return true;
}

void reply_send(struct iscsi_conn *conn, struct iscsi_reply *reply)
{
    transmit_queue(conn, &reply->out);
}

void reply_release(struct iscsi_conn *conn, struct iscsi_reply *reply)
{
    if (reply->buffer) rt_buf_put(conn->rt, reply->buffer, reply->buffer_bytes);
    reply->buffer = NULL;
    reply->used = false;
    if (conn->rx.waiting) receive_resume(conn);
}
