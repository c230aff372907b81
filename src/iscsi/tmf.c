#include "base/check.h"
#include "iscsi/iscsi_int.h"

#include <string.h>

/*
 * Task management (RFC 7143 4.2.3, 11.5, 11.6).  The answer waits until every affected task has
 * ended in the engine; those tasks are not answered themselves.  Each nexus has its own task set
 * (control mode page TST = 001b), so ABORT TASK SET and CLEAR TASK SET are the same; a reset
 * reaches the tasks of every session.
 */

typedef bool match_fn(const struct iscsi_conn *conn, const struct iscsi_task *task,
                      const void *what);

struct reset_match {
    const struct iscsi_conn *conn; /* who asked */
    const uint8_t *lun_field;
    const struct scsi_lun *lun; /* may be NULL */
};

/* Marks bit `bit` on each matching task that must first end; returns how many. */
static unsigned abort_matching(struct iscsi_conn *conn, unsigned bit, match_fn *match,
                               const void *what)
{
    unsigned pending = 0;
    for (unsigned i = 0; conn->tasks && i < TASK_SLOTS; i++) {
        struct iscsi_task *task = &conn->tasks[i];
        if (task->state == TASK_FREE || !match(conn, task, what)) continue;
        if (task_abort(task)) continue;
        task->tmf_mask |= 1u << bit;
        pending++;
    }
    return pending;
}

static unsigned abort_everywhere(struct iscsi_server *server, unsigned bit, match_fn *match,
                                 const void *what)
{
    unsigned pending = 0;
    list_for_each (node, &server->conns) {
        pending += abort_matching(list_entry(node, struct iscsi_conn, link), bit, match, what);
    }
    return pending;
}

static bool is_of_lun_field(const struct iscsi_conn *conn, const struct iscsi_task *task,
                            const void *what)
{
    return memcmp(task->lun, what, sizeof task->lun) == 0;
}

static bool is_of_unit(const struct iscsi_conn *conn, const struct iscsi_task *task,
                       const void *what)
{
    const struct reset_match *reset = what;
    if (reset->lun && task->scsi.lun == reset->lun) return true;
    return conn == reset->conn && memcmp(task->lun, reset->lun_field, sizeof task->lun) == 0;
}

/* Any unit on the map of the one who asked. */
static bool is_of_map(const struct iscsi_conn *conn, const struct iscsi_task *task,
                      const void *what)
{
    const struct iscsi_conn *asker = what;
    if (conn->access.map == asker->access.map) return true;
    for (unsigned i = 0; task->scsi.lun && i < LIMIT_LUNS_PER_HOST; i++) {
        if (scsi_map_find(asker->access.map, i) == task->scsi.lun) return true;
    }
    return false;
}

/* Peripheral and flat addressing (SAM-5 4.7). */
static const struct scsi_lun *find_unit(const struct iscsi_conn *conn, const uint8_t field[8])
{
    unsigned method = field[0] >> 6, number = (field[0] & 0x3Fu) << 8 | field[1];
    if (method > 1 || number >= LIMIT_LUNS_PER_HOST) return NULL;
    return scsi_map_find(conn->access.map, number);
}

static void finish(struct iscsi_tmf *tmf)
{
    struct iscsi_conn *conn = tmf->conn;
    tmf->used = false;
    if (!conn) return;
    tmf->reply->bhs[2] = tmf->response;
    reply_send(conn, tmf->reply);
}

void tmf_task_ended(struct iscsi_server *server, uint32_t mask)
{
    for (unsigned i = 0; i < TMF_SLOTS; i++) {
        struct iscsi_tmf *tmf = &server->tmfs[i];
        if (!(mask & 1u << i)) continue;
        check(tmf->used && tmf->pending > 0);
        if (--tmf->pending == 0) finish(tmf);
    }
}

void tmf_conn_closing(struct iscsi_conn *conn)
{
    for (unsigned i = 0; i < TMF_SLOTS; i++) {
        struct iscsi_tmf *tmf = &conn->server->tmfs[i];
        if (tmf->used && tmf->conn == conn) tmf->conn = NULL;
    }
}

static void abort_task(struct iscsi_conn *conn, struct iscsi_tmf *tmf, unsigned bit)
{
    const uint8_t *bhs = conn->rx.pdu.bhs;
    struct iscsi_task *task = task_find(conn, load_be32(bhs + ISCSI_AT_REFERENCED_TAG));
    if (!task || memcmp(task->lun, bhs + ISCSI_AT_LUN, sizeof task->lun) != 0) {
        tmf->response = ISCSI_TMF_NO_TASK;
        return;
    }
    if (task_abort(task)) return;
    task->tmf_mask |= 1u << bit;
    tmf->pending = 1;
}

static void reset_unit(struct iscsi_conn *conn, struct iscsi_tmf *tmf, unsigned bit)
{
    const uint8_t *field = conn->rx.pdu.bhs + ISCSI_AT_LUN;
    const struct reset_match match = {
        .conn = conn, .lun_field = field, .lun = find_unit(conn, field)};
    if (!scsi_lun_reset(conn->nexus, field)) {
        tmf->response = ISCSI_TMF_NO_LUN;
        return;
    }
    tmf->pending = abort_everywhere(conn->server, bit, is_of_unit, &match);
}

static void run(struct iscsi_conn *conn, struct iscsi_tmf *tmf, unsigned bit)
{
    const uint8_t *field = conn->rx.pdu.bhs + ISCSI_AT_LUN;
    switch (tmf->function) {
    case ISCSI_TMF_ABORT_TASK:
        abort_task(conn, tmf, bit);
        break;
    case ISCSI_TMF_ABORT_TASK_SET:
    case ISCSI_TMF_CLEAR_TASK_SET:
        if (scsi_nexus_has_lun(conn->nexus, field))
            tmf->pending = abort_matching(conn, bit, is_of_lun_field, field);
        else
            tmf->response = ISCSI_TMF_NO_LUN;
        break;
    case ISCSI_TMF_LUN_RESET:
        reset_unit(conn, tmf, bit);
        break;
    case ISCSI_TMF_WARM_RESET:
    case ISCSI_TMF_COLD_RESET:
        scsi_target_reset(conn->nexus);
        tmf->pending = abort_everywhere(conn->server, bit, is_of_map, conn);
        break;
    case ISCSI_TMF_TASK_REASSIGN:
        tmf->response = ISCSI_TMF_NO_REASSIGN; /* recovery level 0 (RFC 7143 11.6.1) */
        break;
    default:
        tmf->response = ISCSI_TMF_NOT_SUPPORTED; /* CLEAR ACA: NormACA is 0 */
        break;
    }
}

enum rx_verdict tmf_begin(struct iscsi_conn *conn)
{
    const struct iscsi_pdu *pdu = &conn->rx.pdu;
    struct iscsi_server *server = conn->server;
    struct iscsi_reply *reply = reply_get(conn, ISCSI_OP_TMF_RESPONSE, ISCSI_FLAG_FINAL);
    if (!reply) return RX_WAIT;
    store_be32(reply->bhs + ISCSI_AT_ITT, pdu->itt);
    unsigned bit = 0;
    while (bit < TMF_SLOTS && server->tmfs[bit].used)
        bit++;
    if (bit == TMF_SLOTS) {
        reply->bhs[2] = ISCSI_TMF_REJECTED;
        reply_send(conn, reply);
        return RX_TAKE;
    }
    struct iscsi_tmf *tmf = &server->tmfs[bit];
    *tmf = (struct iscsi_tmf){.used = true,
                              .conn = conn,
                              .function = pdu->flags & 0x7F,
                              .response = ISCSI_TMF_COMPLETE,
                              .reply = reply};
    /* RFC 7143 11.5.1: all connections end with a cold reset; ours reaches the host that asked. */
    if (tmf->function == ISCSI_TMF_COLD_RESET) reply->after = AFTER_CLOSE;
    run(conn, tmf, bit);
    if (tmf->pending == 0) finish(tmf);
    return RX_TAKE;
}
