#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "iscsi/iscsi_int.h"

/*
 * Reception: bytes to PDUs.  Small things are received into one buffer and copied; the rest of a
 * large data segment is received where it belongs.  The dispatcher of a PDU is asked when its
 * header is complete (where shall the data go?) and told when its data has come.
 *
 *     HEADER -> DISPATCH -> DATA -> TAIL (padding, digest) -> HEADER
 */

static void received(struct rt_sock_io *io);

static size_t available(const struct iscsi_rx *rx)
{
    return rx->end - rx->start;
}

static bool is_reading(const struct iscsi_conn *conn)
{
    return conn->state == CONN_LOGIN || conn->state == CONN_FULL;
}

/* ---- Steps ---- */

/* True when a whole header is there. */
static bool take_header(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    const uint8_t *p = rx->buffer + rx->start;
    if (available(rx) < ISCSI_BHS_BYTES) return false;
    size_t size_bytes = ISCSI_BHS_BYTES + p[4] * 4u;
    size_t whole_bytes = size_bytes + (rx->header_digest ? ISCSI_DIGEST_BYTES : 0u);
    if (available(rx) < whole_bytes) return false;

    /* Digests travel in little-endian order of their bytes (RFC 7143 13.1, the CRC's own bit
     * order). */
    if (rx->header_digest && load_le32(p + size_bytes) != crc32c(0, p, size_bytes)) {
        conn_fail(conn, "header digest mismatch");
        return false;
    }
    memcpy(rx->header, p, size_bytes);
    rx->start += whole_bytes;
    iscsi_pdu_decode(rx->header, &rx->pdu);
    rx->dest_count = rx->dest_index = 0;
    rx->task = NULL;
    rx->state = RX_DISPATCH;
    return true;
}

static bool dispatch(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    bool login = conn->state == CONN_LOGIN;
    if (rx->pdu.data_bytes >
        (login ? (uint32_t)LOGIN_SEGMENT_MAX : (uint32_t)ISCSI_MAX_RECV_SEGMENT)) {
        conn_fail(conn, "data segment longer than declared");
        return false;
    }
    enum rx_verdict verdict = login ? login_begin(conn) : session_begin(conn);
    if (verdict == RX_WAIT) rx->waiting = true;
    if (verdict != RX_TAKE) return false;
    rx->data_left = rx->pdu.data_bytes;
    rx->crc = 0;
    rx->state = RX_DATA;
    return true;
}

/* `size` bytes have arrived at the destination: in place (from NULL), or they are copied there. */
static void fill_dest(struct iscsi_rx *rx, const uint8_t *from, size_t size_bytes)
{
    while (size_bytes > 0 && rx->dest_index < rx->dest_count) {
        struct iovec *v = &rx->dest[rx->dest_index];
        size_t n = min_of(size_bytes, v->iov_len);
        if (from) {
            memcpy(v->iov_base, from, n);
            from += n;
        } else if (rx->data_digest) {
            rx->crc = crc32c(rx->crc, v->iov_base, n);
        }
        v->iov_base = (uint8_t *)v->iov_base + n;
        v->iov_len -= n;
        if (v->iov_len == 0) rx->dest_index++;
        size_bytes -= n;
    }
}

static bool take_data(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    size_t n = min_of(available(rx), (size_t)rx->data_left);
    const uint8_t *p = rx->buffer + rx->start;
    if (n > 0) {
        if (rx->data_digest) rx->crc = crc32c(rx->crc, p, n);
        fill_dest(rx, p, n);
        rx->start += n;
        rx->data_left -= (uint32_t)n;
    }
    if (rx->data_left > 0) return false;
    uint32_t data_bytes = rx->pdu.data_bytes;
    rx->tail_bytes = iscsi_pdu_padding(data_bytes);
    if (rx->data_digest && data_bytes > 0) rx->tail_bytes += ISCSI_DIGEST_BYTES;
    rx->state = RX_TAIL;
    return true;
}

static bool take_tail(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    const uint8_t *p = rx->buffer + rx->start;
    if (available(rx) < rx->tail_bytes) return false;
    rx->start += rx->tail_bytes;
    rx->state = RX_HEADER;
    if (rx->data_digest && rx->pdu.data_bytes > 0) {
        /* Padding is covered; with recovery level 0 a bad digest ends the connection (RFC
         * 7143 7.8). */
        unsigned padding = rx->tail_bytes - ISCSI_DIGEST_BYTES;
        if (load_le32(p + padding) != crc32c(rx->crc, p, padding)) {
            conn_fail(conn, "data digest mismatch");
            return false;
        }
    }
    if (conn->state == CONN_LOGIN)
        login_end(conn);
    else
        session_end(conn);
    return true;
}

/* ---- The socket ---- */

static size_t dest_bytes(const struct iscsi_rx *rx)
{
    size_t sum = 0;
    for (unsigned i = rx->dest_index; i < rx->dest_count; i++)
        sum += rx->dest[i].iov_len;
    return sum;
}

static void submit(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    if (rx->start > 0) {
        /* What is left is less than a header or a tail. */
        memmove(rx->buffer, rx->buffer + rx->start, available(rx));
        rx->end -= rx->start;
        rx->start = 0;
    }
    rx->iov_count = 0;
    rx->direct_bytes = 0;
    if (rx->state == RX_DATA && rx->end == 0) {
        size_t direct = dest_bytes(rx);
        check(direct <= rx->data_left);
        if (direct >= RX_DIRECT_BYTES) {
            rx->direct_bytes = direct;
            for (unsigned i = rx->dest_index; i < rx->dest_count; i++)
                rx->iov[rx->iov_count++] = rx->dest[i];
        }
    }
    check(rx->end < RX_BUFFER_BYTES);
    rx->iov[rx->iov_count++] =
        (struct iovec){.iov_base = rx->buffer + rx->end, .iov_len = RX_BUFFER_BYTES - rx->end};
    rx->io = (struct rt_sock_io){.op = RT_SOCK_RECV,
                                 .sock = conn->sock,
                                 .iov = rx->iov,
                                 .iov_count = rx->iov_count,
                                 .done = received};
    rx->receiving = true;
    rt_sock_submit(conn->rt, &rx->io);
}

static void process(struct iscsi_conn *conn)
{
    static bool (*const steps[])(struct iscsi_conn *) = {
        [RX_HEADER] = take_header,
        [RX_DISPATCH] = dispatch,
        [RX_DATA] = take_data,
        [RX_TAIL] = take_tail,
    };
    struct iscsi_rx *rx = &conn->rx;
    while (is_reading(conn) && steps[rx->state](conn)) {
    }
    if (is_reading(conn) && !rx->waiting && !rx->receiving) submit(conn);
}

static void received(struct rt_sock_io *io)
{
    struct iscsi_conn *conn = container_of(io, struct iscsi_conn, rx.io);
    struct iscsi_rx *rx = &conn->rx;
    rx->receiving = false;
    if (!conn_is_open(conn)) return;
    if (io->status != STATUS_OK) {
        conn_fail(conn, status_text(io->status));
        return;
    }
    conn->last_rx_ns = rt_now(conn->rt);
    conn->ping_pending = false;
    size_t direct = min_of(io->bytes, rx->direct_bytes);
    if (direct > 0) {
        fill_dest(rx, NULL, direct);
        rx->data_left -= (uint32_t)direct;
    }
    rx->end += io->bytes - direct;
    check(rx->end <= RX_BUFFER_BYTES);
    process(conn);
}

void receive_start(struct iscsi_conn *conn)
{
    process(conn);
}

static void resumed(struct rt_message *message)
{
    struct iscsi_conn *conn = container_of(message, struct iscsi_conn, resume_message);
    conn->resume_posted = false;
    if (!conn_is_open(conn)) {
        conn_reap(conn);
        return;
    }
    conn->rx.waiting = false;
    if (!conn->rx.receiving) process(conn);
}

void receive_resume(struct iscsi_conn *conn)
{
    if (conn->resume_posted || !conn_is_open(conn)) return;
    conn->resume_posted = true;
    rt_post(conn->rt, &conn->resume_message);
}

void receive_init(struct iscsi_conn *conn)
{
    conn->resume_message.fn = resumed;
}

/* ---- Bulk data ---- */

bool receive_into_bulk(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    if (!rx->bulk) {
        rx->bulk = rt_buf_get_for(conn->rt, rx->pdu.data_bytes, RT_BUF_TRANSFER);
        if (!rx->bulk) return false;
        rx->bulk_bytes = rx->pdu.data_bytes;
    }
    rx->dest[0] = (struct iovec){.iov_base = rx->bulk, .iov_len = rx->pdu.data_bytes};
    rx->dest_count = 1;
    rx->dest_index = 0;
    return true;
}

void receive_drop_bulk(struct iscsi_conn *conn)
{
    if (conn->rx.bulk) rt_buf_put(conn->rt, conn->rx.bulk, conn->rx.bulk_bytes);
    conn->rx.bulk = NULL;
}
