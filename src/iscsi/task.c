#include <string.h>

#include "base/check.h"
#include "iscsi/iscsi_int.h"

/*
 * The life of a SCSI command:
 *
 *     FREE -> PARKED (no memory) -> DATA_OUT (immediate, unsolicited, solicited data) -> EXECUTING
 *          -> SENDING (Data-In, R2T and Response are built by transmit.c) -> FREE
 *
 * A write takes all its memory when it begins, so that it never waits half-way.  A command that
 * breaks a rule is not ended at once: its data is let pass until what was begun has ended, then it
 * is answered.
 */

struct fault {
    uint8_t key, asc, ascq;
};
/* RFC 7143 11.4.7.2; 4Bh is SPC-4's for a data phase error. */
static const struct fault unexpected_data = {0x0B, 0x0C, 0x0C};
static const struct fault wrong_amount = {0x0B, 0x0C, 0x0D};
static const struct fault data_phase = {0x0B, 0x4B, 0x00};

static void proceed(struct iscsi_task *task);

/* ---- Slots and tags ---- */

static unsigned bucket_of(uint32_t itt)
{
    return itt * 0x9E3779B1u >> 24;
}

struct iscsi_task *task_find(struct iscsi_conn *conn, uint32_t itt)
{
    for (unsigned next = conn->buckets[bucket_of(itt)]; next;
         next = conn->tasks[next - 1].hash_next) {
        if (conn->tasks[next - 1].itt == itt) return &conn->tasks[next - 1];
    }
    return NULL;
}

/* Slot, its use and the R2T: a tag that is stale is known as such (see task_data_begin). */
uint32_t task_transfer_tag(const struct iscsi_task *task, uint32_t r2t_sn)
{
    check_static(TASK_SLOTS < 0xE0);
    return (uint32_t)task->index << 24 | (uint32_t)task->sequence << 8 | (r2t_sn & 0xFF);
}

static struct iscsi_task *task_take(struct iscsi_conn *conn)
{
    struct iscsi_task *task = &conn->tasks[conn->free_slots[--conn->free_count]];
    uint16_t index = task->index, sequence = (uint16_t)(task->sequence + 1);
    if (sequence == 0) sequence = 1; /* 0: this slot was never used */
    size_t head = offsetof(struct iscsi_task, scsi);
    memset((void *)task, 0, head); /* the large rest is scsi_task_begin's */
    task->conn = conn;
    task->index = index;
    task->sequence = sequence;
    task->itt = conn->rx.pdu.itt;
    uint16_t *bucket = &conn->buckets[bucket_of(task->itt)];
    task->hash_next = *bucket;
    *bucket = (uint16_t)(index + 1);
    return task;
}

static void unhash(struct iscsi_task *task)
{
    struct iscsi_conn *conn = task->conn;
    uint16_t *at = &conn->buckets[bucket_of(task->itt)];
    while (*at != task->index + 1)
        at = &conn->tasks[*at - 1].hash_next;
    *at = task->hash_next;
}

/* ---- Memory for data-out ---- */

static void put_buffers(struct iscsi_task *task)
{
    for (unsigned i = 0; i < task->buffer_count; i++)
        rt_buf_put(task->conn->rt, task->buffers[i].iov_base, task->buffer_sizes[i]);
    task->buffer_count = 0;
}

/* All or nothing. */
static bool get_buffers(struct iscsi_task *task)
{
    uint32_t left = task->expect;
    while (left > 0) {
        uint32_t size_bytes = min_of(left, (uint32_t)TASK_BUFFER_BYTES);
        check(task->buffer_count < TASK_BUFFERS);
        void *buffer = rt_buf_get_for(task->conn->rt, size_bytes, RT_BUF_TRANSFER);
        if (!buffer) {
            put_buffers(task);
            return false;
        }
        task->buffer_sizes[task->buffer_count] = size_bytes;
        task->buffers[task->buffer_count++] =
            (struct iovec){.iov_base = buffer, .iov_len = size_bytes};
        left -= size_bytes;
    }
    return true;
}

static void buffers_came(struct rt_buf_waiter *waiter)
{
    struct iscsi_conn *conn = container_of(waiter, struct iscsi_conn, buf_waiter);
    conn->buf_waiting = false;
    task_buffers_came(conn);
}

void task_wait_for_buffers(struct iscsi_conn *conn)
{
    if (conn->buf_waiting) return;
    conn->buf_waiting = true;
    rt_buf_wait(conn->rt, &conn->buf_waiter, buffers_came);
}

void task_buffers_came(struct iscsi_conn *conn)
{
    struct list_node *node;
    while ((node = list_front(&conn->parked))) {
        struct iscsi_task *task = list_entry(node, struct iscsi_task, parked_link);
        if (!get_buffers(task)) break;
        list_remove(node);
        task->state = TASK_DATA_OUT;
        task->started_ns = rt_now(conn->rt);
        proceed(task);
    }
    if (!list_is_empty(&conn->parked)) task_wait_for_buffers(conn);
    if (conn->rx.waiting) receive_resume(conn);
}

/* The data of this write is on the wire and no memory came in time. */
static void patience_ended(struct rt_timer *timer)
{
    struct iscsi_conn *conn = container_of(timer, struct iscsi_conn, patience);
    conn->starved = true;
    receive_resume(conn);
}

/* ---- The end of a task ---- */

void task_release(struct iscsi_task *task)
{
    struct iscsi_conn *conn = task->conn;
    uint32_t mask = task->tmf_mask;
    check(task->state != TASK_FREE && task->state != TASK_EXECUTING);
    if (list_is_linked(&task->out.link)) list_remove(&task->out.link);
    if (list_is_linked(&task->parked_link)) list_remove(&task->parked_link);
    put_buffers(task);
    scsi_task_release(&task->scsi);
    unhash(task);
    if (!task->answered) {
        if (task->immediate)
            conn->immediate_used--;
        else
            conn->window_used--;
    }
    task->state = TASK_FREE;
    conn->free_slots[conn->free_count++] = task->index;
    if (conn->rx.waiting) receive_resume(conn);
    if (mask) tmf_task_ended(conn->server, mask);
}

void task_abandon(struct iscsi_task *task)
{
    if (task->state == TASK_FREE) return;
    put_buffers(task);
    scsi_task_release(&task->scsi);
}

void task_sent(struct iscsi_task *task)
{
    task_release(task);
}

bool task_abort(struct iscsi_task *task)
{
    struct iscsi_conn *conn = task->conn;
    if (task->state == TASK_SENDING && task->building) return true; /* too late: it was answered */
    if (task->state == TASK_EXECUTING) {
        task->aborted = true;
        scsi_task_mark_aborted(&task->scsi);
        return false;
    }
    if (conn->rx.task == task) {
        task->aborted = true; /* the kernel may be filling its memory */
        return false;
    }
    /* In the batch being sent: its bytes cannot be taken back. */
    if (task->state == TASK_SENDING && task->answered) return true;
    task_release(task);
    return true;
}

/* ---- Execution ---- */

static void answer(struct iscsi_task *task)
{
    struct scsi_task *scsi = &task->scsi;
    task->state = TASK_SENDING;
    task->send_bytes = 0;
    if (task->read && !task->failed)
        task->send_bytes = (uint32_t)min_of((uint64_t)task->edtl, scsi->in_bytes);
    /* An R2T may still be queued when a command fails. */
    if (list_is_linked(&task->out.link)) list_remove(&task->out.link);
    task->out.kind = task->send_bytes > 0 ? OUT_DATA : OUT_RESPONSE;
    transmit_queue(task->conn, &task->out);
}

static void count(struct iscsi_task *task)
{
    struct iscsi_conn *conn = task->conn;
    if (!task->media) return;
    conn->last_io_ns = rt_now(conn->rt);
    if (task->scsi.transfer == SCSI_TRANSFER_OUT) {
        conn->writes++;
        conn->write_bytes += task->scsi.out_bytes;
    } else {
        conn->reads++;
        conn->read_bytes += task->scsi.in_bytes;
    }
}

static void executed(struct scsi_task *scsi)
{
    struct iscsi_task *task = container_of(scsi, struct iscsi_task, scsi);
    struct iscsi_conn *conn = task->conn;
    check(task->state == TASK_EXECUTING);
    conn->executing--;
    count(task);
    put_buffers(task);
    task->state = TASK_SENDING;
    if (task->aborted || !conn_is_open(conn)) {
        task_release(task);
        conn_reap(conn);
        return;
    }
    answer(task);
}

static void execute(struct iscsi_task *task)
{
    struct scsi_task *scsi = &task->scsi;
    uint32_t left = min_of(task->received, task->expect);
    scsi->out_iov = task->buffers;
    scsi->out_iov_count = 0;
    scsi->out_bytes = left;
    scsi->out_offered_bytes = task->write ? task->edtl : 0;
    while (left > 0) {
        struct iovec *v = &task->buffers[scsi->out_iov_count++];
        v->iov_len = min_of(v->iov_len, (size_t)left);
        left -= (uint32_t)v->iov_len;
    }
    task->state = TASK_EXECUTING;
    task->conn->executing++;
    scsi_task_execute(scsi, executed);
}

static void answer_failure(struct iscsi_task *task)
{
    struct scsi_task *scsi = &task->scsi;
    if (task->refuse_status) {
        scsi->scsi_status = task->refuse_status;
        scsi->sense_bytes = 0;
    } else {
        /* Fixed format, current (SPC-4 4.5.3). */
        memset(scsi->sense, 0, 18);
        scsi->sense[0] = 0x70;
        scsi->sense[2] = task->sense_key;
        scsi->sense[7] = 10;
        scsi->sense[12] = task->sense_asc;
        scsi->sense[13] = task->sense_ascq;
        scsi->sense_bytes = 18;
        scsi->scsi_status = SCSI_STATUS_CHECK_CONDITION;
    }
    scsi->in_bytes = 0;
    answer(task);
}

static void proceed(struct iscsi_task *task)
{
    struct iscsi_conn *conn = task->conn;
    if (task->unsolicited) return;
    if (task->failed) {
        if (task->r2t_done == task->r2t_sent) answer_failure(task);
        return;
    }
    if (task->received >= task->expect) {
        if (task->scsi.finished)
            answer(task);
        else
            execute(task);
        return;
    }
    if (task->r2t_sent == 0) {
        task->asked = task->received;
        task->burst_end = min_of(task->received + conn->params.max_burst, task->expect);
        task->data_sn = 0;
    }
    if (task->asked < task->expect && !list_is_linked(&task->out.link)) {
        task->out.kind = OUT_R2T;
        transmit_queue(conn, &task->out);
    }
}

static void fail(struct iscsi_task *task, struct fault fault)
{
    if (task->failed) return;
    task->failed = true;
    task->sense_key = fault.key;
    task->sense_asc = fault.asc;
    task->sense_ascq = fault.ascq;
}

void task_expire_parked(struct iscsi_conn *conn, uint64_t now_ns)
{
    struct list_node *node;
    while ((node = list_front(&conn->parked))) {
        struct iscsi_task *task = list_entry(node, struct iscsi_task, parked_link);
        if (now_ns - task->started_ns < PARKED_TIMEOUT_S * RT_SECOND) return;
        list_remove(node);
        task->refuse_status = SCSI_STATUS_TASK_SET_FULL;
        fail(task, data_phase);
        proceed(task);
    }
}

/* ---- Commands ---- */

/* READ and WRITE of every size, and what else changes blocks: shown per session, and asked by
 * revert. */
static bool is_media_opcode(uint8_t opcode)
{
    static const uint8_t opcodes[] = {0x08, 0x0A, 0x28, 0x2A, 0x2E, 0x41, 0x42, 0x88,
                                      0x89, 0x8A, 0x8E, 0x93, 0xA8, 0xAA, 0xAE};
    return memchr(opcodes, opcode, sizeof opcodes) != NULL;
}

/* The data segment coming in is [received, received + size) of the task's data-out. */
static void set_dest(struct iscsi_task *task, uint32_t size_bytes)
{
    struct iscsi_rx *rx = &task->conn->rx;
    uint64_t at = task->received,
             end = min_of((uint64_t)task->received + size_bytes, (uint64_t)task->expect);
    rx->dest_count = rx->dest_index = 0;
    task->segment = size_bytes;
    rx->task = task;
    if (task->failed || task->aborted || task->buffer_count == 0) return;
    while (at < end) {
        uint64_t index = at / TASK_BUFFER_BYTES, offset = at % TASK_BUFFER_BYTES;
        uint64_t n = min_of(end - at, TASK_BUFFER_BYTES - offset);
        rx->dest[rx->dest_count++] = (struct iovec){
            .iov_base = (uint8_t *)task->buffers[index].iov_base + offset, .iov_len = n};
        at += n;
    }
}

/* RFC 7143 13.10, 13.11, 13.14: what may come unasked. */
static void judge_unsolicited(struct iscsi_task *task, uint32_t immediate_bytes)
{
    const struct iscsi_params *params = &task->conn->params;
    uint32_t limit = min_of(params->first_burst, task->edtl);
    if (immediate_bytes > 0 && !params->immediate_data) fail(task, unexpected_data);
    if (task->unsolicited && params->initial_r2t) fail(task, unexpected_data);
    if (immediate_bytes > limit) fail(task, wrong_amount);
    task->burst_end = limit;
}

/* A new task for the command, or NULL with the verdict. */
static struct iscsi_task *begin_task(struct iscsi_conn *conn, enum rx_verdict *ret_verdict)
{
    const struct iscsi_pdu *pdu = &conn->rx.pdu;
    uint8_t cdb[SCSI_CDB_MAX];
    bool read = (pdu->flags & ISCSI_COMMAND_READ) != 0,
         write = (pdu->flags & ISCSI_COMMAND_WRITE) != 0;
    unsigned cdb_bytes = iscsi_pdu_cdb(pdu, cdb, sizeof cdb);

    *ret_verdict = RX_WAIT;
    if (pdu->itt != ISCSI_TAG_NONE && task_find(conn, pdu->itt)) {
        *ret_verdict = session_reject(conn, ISCSI_REJECT_TASK_IN_PROGRESS);
        return NULL;
    }
    /* No bidirectional commands, no immediate data without a write. */
    if (cdb_bytes == 0 || pdu->itt == ISCSI_TAG_NONE || (read && write) ||
        (pdu->data_bytes > 0 && !write)) {
        *ret_verdict = session_reject(conn, ISCSI_REJECT_INVALID_FIELD);
        return NULL;
    }
    if (pdu->immediate && conn->immediate_used == IMMEDIATE_COMMANDS) {
        *ret_verdict = session_reject(conn, ISCSI_REJECT_TOO_MANY_IMMEDIATE);
        return NULL;
    }
    if (conn->free_count == 0) return NULL;

    struct iscsi_task *task = task_take(conn);
    task->state = TASK_PARKED;
    task->read = read;
    task->write = write;
    task->immediate = pdu->immediate;
    task->edtl = load_be32(pdu->bhs + ISCSI_AT_EDTL);
    task->unsolicited = write && !(pdu->flags & ISCSI_FLAG_FINAL);
    task->media = is_media_opcode(cdb[0]);
    task->started_ns = conn->last_rx_ns;
    memcpy(task->lun, pdu->bhs + ISCSI_AT_LUN, sizeof task->lun);
    if (task->immediate)
        conn->immediate_used++;
    else
        conn->window_used++;
    scsi_task_begin(&task->scsi, conn->nexus, task->lun, cdb, cdb_bytes);
    if (write && task->scsi.transfer == SCSI_TRANSFER_OUT && !task->scsi.finished)
        task->expect = (uint32_t)min_of((uint64_t)task->edtl, task->scsi.transfer_bytes);
    check(task->expect <= TASK_BUFFERS * TASK_BUFFER_BYTES);
    judge_unsolicited(task, pdu->data_bytes);
    return task;
}

enum rx_verdict task_command_begin(struct iscsi_conn *conn)
{
    struct iscsi_rx *rx = &conn->rx;
    enum rx_verdict verdict;
    struct iscsi_task *task = rx->task ? rx->task : begin_task(conn, &verdict);
    if (!task) return verdict;

    rx->task = task;
    bool wants = task->expect > 0 && !task->failed && !task->aborted;
    if (wants && !get_buffers(task)) {
        bool data_comes = rx->pdu.data_bytes > 0 || task->unsolicited;
        if (!data_comes) {
            rx->task = NULL;
            list_push_back(&conn->parked, &task->parked_link);
            task_wait_for_buffers(conn);
            return RX_TAKE;
        }
        if (!conn->starved) {
            task_wait_for_buffers(conn);
            if (!rt_timer_is_pending(&conn->patience))
                rt_timer_set(conn->rt, &conn->patience, rt_now(conn->rt) + BUFFER_PATIENCE_NS,
                             patience_ended);
            return RX_WAIT;
        }
        fail(task, data_phase);
        task->refuse_status = SCSI_STATUS_TASK_SET_FULL;
    } else if (wants) {
        conn->starved = false;
    }
    /* Patience is had once, not once per command: what frees memory may stand behind them all. */
    rt_timer_cancel(conn->rt, &conn->patience);
    task->state = TASK_DATA_OUT;
    task->burst_final = !task->unsolicited;
    set_dest(task, rx->pdu.data_bytes);
    return RX_TAKE;
}

/* ---- Data-Out ---- */

/* Whether the header breaks a rule of its burst. */
static const struct fault *judge_data(const struct iscsi_task *task, const struct iscsi_pdu *pdu)
{
    uint32_t tag = load_be32(pdu->bhs + ISCSI_AT_TTT);
    bool solicited = tag != ISCSI_TAG_NONE;
    bool final = (pdu->flags & ISCSI_FLAG_FINAL) != 0;
    uint64_t end = (uint64_t)task->received + pdu->data_bytes;
    if (solicited == task->unsolicited) return &unexpected_data;
    if (solicited &&
        (task->r2t_done == task->r2t_sent || tag != task_transfer_tag(task, task->r2t_done)))
        return &unexpected_data;
    if (load_be32(pdu->bhs + ISCSI_AT_DATASN) != task->data_sn) return &data_phase;
    if (load_be32(pdu->bhs + ISCSI_AT_BUFFER_OFFSET) != task->received) return &data_phase;
    if (end > task->burst_end || (solicited && final != (end == task->burst_end)))
        return &wrong_amount;
    return NULL;
}

/* The task a Data-Out belongs to; NULL with *ret_stale: it was aborted meanwhile, its data passes.
 */
static struct iscsi_task *find_by_tag(struct iscsi_conn *conn, bool *ret_stale)
{
    const struct iscsi_pdu *pdu = &conn->rx.pdu;
    uint32_t tag = load_be32(pdu->bhs + ISCSI_AT_TTT);
    struct iscsi_task *task;
    *ret_stale = false;
    if (tag == ISCSI_TAG_NONE) {
        task = task_find(conn, pdu->itt);
        *ret_stale = !task;
        return task;
    }
    if (tag >> 24 >= TASK_SLOTS) return NULL;
    task = &conn->tasks[tag >> 24];
    if (task->sequence != (uint16_t)(tag >> 8) || task->itt != pdu->itt || task->sequence == 0)
        return NULL;
    *ret_stale = task->state == TASK_FREE;
    return *ret_stale ? NULL : task;
}

enum rx_verdict task_data_begin(struct iscsi_conn *conn)
{
    const struct iscsi_pdu *pdu = &conn->rx.pdu;
    bool stale;
    struct iscsi_task *task = find_by_tag(conn, &stale);
    if (!task && stale) return RX_TAKE;
    if (!task) return session_reject(conn, ISCSI_REJECT_INVALID_FIELD);
    if (task->state != TASK_DATA_OUT) return session_reject(conn, ISCSI_REJECT_PROTOCOL);

    const struct fault *fault = task->failed ? NULL : judge_data(task, pdu);
    if (fault) {
        /* The PDU is rejected and its task ends with CHECK CONDITION (RFC 7143 7.3, 11.17.1). */
        enum rx_verdict verdict = session_reject(conn, ISCSI_REJECT_PROTOCOL);
        if (verdict != RX_TAKE) return verdict;
        fail(task, *fault);
    }
    task->data_sn++;
    task->burst_final = (pdu->flags & ISCSI_FLAG_FINAL) != 0;
    set_dest(task, pdu->data_bytes);
    return RX_TAKE;
}

void task_segment_end(struct iscsi_conn *conn)
{
    struct iscsi_task *task = take_ptr(&conn->rx.task);
    if (!task) return;
    if (task->aborted) {
        task_release(task);
        return;
    }
    task->received += min_of(task->segment, UINT32_MAX - task->received);
    if (task->burst_final && conn->rx.pdu.opcode == ISCSI_OP_DATA_OUT) {
        if (task->unsolicited) {
            task->unsolicited = false;
        } else if (task->r2t_done < task->r2t_sent) {
            task->r2t_done++;
            task->data_sn = 0;
            task->burst_end = min_of(task->received + conn->params.max_burst, task->expect);
        }
    }
    proceed(task);
}
