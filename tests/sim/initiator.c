/* A session, its stream, its commands (initiator.h). */
#include "tests/sim/initiator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/text.h"
#include "iscsi/pdu.h"

enum { IN_BYTES = 512 * 1024, RETRY_MS = 200, LOGIN_FLAGS = 0x87, LOGIN_DONE = 0x83 };

struct out {
    struct list_node link;
    size_t bytes;
    uint8_t data[];
};

enum state { STATE_AWAY, STATE_CONNECTING, STATE_LOGIN, STATE_UP, STATE_CLOSING };

struct initiator {
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    char name[80], address[80], target[160];
    enum state state;
    bool wanted, is_receiving, is_sending;
    struct rt_sock *sock;
    struct rt_sock_io recv, send;
    struct iovec recv_iov, send_iov;
    struct rt_timer retry;
    uint8_t in[IN_BYTES];
    size_t in_bytes;
    struct list out;                       /* PDUs to send; the first is on its way */
    struct list waiting, running, doubted; /* requests */
    uint32_t cmd_sn, exp_stat_sn, max_cmd_sn, next_itt, segment_bytes;
    unsigned logins;
};

static void connect_now(struct initiator *i);
static void pump(struct initiator *i);

/* ---- Out ------------------------------------------------------------------------------------- */

static void send_next(struct initiator *i);

static void was_sent(struct rt_sock_io *io)
{
    struct initiator *i = container_of(io, struct initiator, send);
    i->is_sending = false;
    free(list_entry(list_pop_front(&i->out), struct out, link));
    if (io->status == STATUS_OK) send_next(i);
}

static void send_next(struct initiator *i)
{
    if (i->is_sending || list_is_empty(&i->out) || !i->sock) return;
    struct out *out = list_entry(list_front(&i->out), struct out, link);
    i->send_iov = (struct iovec){.iov_base = out->data, .iov_len = out->bytes};
    i->send = (struct rt_sock_io){
        .op = RT_SOCK_SEND, .sock = i->sock, .iov = &i->send_iov, .iov_count = 1, .done = was_sent};
    i->is_sending = true;
    rt_sock_submit(i->rt, &i->send);
}

static void send_pdu(struct initiator *i, uint8_t bhs[ISCSI_BHS_BYTES], const void *data,
                     uint32_t data_bytes)
{
    size_t bytes = ISCSI_BHS_BYTES + (size_t)data_bytes + iscsi_pdu_padding(data_bytes);
    struct out *out = calloc(1, sizeof *out + bytes);
    check(out != NULL);
    iscsi_pdu_set_data_bytes(bhs, data_bytes);
    memcpy(out->data, bhs, ISCSI_BHS_BYTES);
    if (data_bytes) memcpy(out->data + ISCSI_BHS_BYTES, data, data_bytes);
    out->bytes = bytes;
    list_push_back(&i->out, &out->link);
    send_next(i);
}

/* ---- The session ----------------------------------------------------------------------------- */

static void login(struct initiator *i)
{
    char text[700];
    uint8_t bhs[ISCSI_BHS_BYTES];
    int n = snprintf(text, sizeof text,
                     "InitiatorName=%s\nSessionType=Normal\nTargetName=%s\nHeaderDigest=None\n"
                     "DataDigest=None\nInitialR2T=No\nImmediateData=Yes\n"
                     "MaxRecvDataSegmentLength=262144\nMaxBurstLength=262144\n"
                     "FirstBurstLength=65536\nMaxOutstandingR2T=1\nErrorRecoveryLevel=0\n",
                     i->name, i->target);
    for (int at = 0; at < n; at++)
        if (text[at] == '\n') text[at] = '\0';
    iscsi_pdu_start(bhs, ISCSI_OP_LOGIN_REQUEST, LOGIN_FLAGS);
    bhs[0] |= ISCSI_OP_IMMEDIATE;
    memcpy(bhs + ISCSI_AT_ISID, (uint8_t[]){0x80, 0, 0, 1, 0, 0}, 6);
    store_be32(bhs + ISCSI_AT_CMDSN, i->cmd_sn);
    send_pdu(i, bhs, text, (uint32_t)n);
}

static void retry_due(struct rt_timer *timer)
{
    connect_now(container_of(timer, struct initiator, retry));
}

static void closed(void *arg)
{
    struct initiator *i = arg;
    i->sock = NULL;
    i->state = STATE_AWAY;
    if (i->wanted) rt_timer_set(i->rt, &i->retry, rt_now(i->rt) + RETRY_MS * RT_MS, retry_due);
}

static void drop_out(struct initiator *i)
{
    while (!list_is_empty(&i->out))
        free(list_entry(list_pop_front(&i->out), struct out, link));
}

static void drop(struct initiator *i)
{
    if (i->state == STATE_CLOSING || !i->sock) return;
    i->state = STATE_CLOSING;
    list_splice_back(&i->doubted, &i->running);
    rt_sock_close(i->sock, closed, i);
}

static void login_answered(struct initiator *i, const uint8_t *bhs, const uint8_t *text,
                           uint32_t bytes)
{
    static const char key[] = "MaxRecvDataSegmentLength=";
    uint64_t number = 8192;
    if (load_be16(bhs + ISCSI_AT_LOGIN_STATUS) != 0 || (bhs[1] & LOGIN_DONE) != LOGIN_DONE) {
        drop(i);
        return;
    }
    for (uint32_t at = 0; at < bytes;) {
        const char *pair = (const char *)text + at;
        size_t length = strnlen(pair, bytes - at);
        char value[24] = "";
        if (strncmp(pair, key, sizeof key - 1) == 0)
            snprintf(value, sizeof value, "%.*s", (int)(length - (sizeof key - 1)),
                     pair + sizeof key - 1);
        if (value[0]) text_parse_u64(value, &number);
        at += (uint32_t)length + 1;
    }
    i->segment_bytes = (uint32_t)min_of(number, (uint64_t)65536);
    i->exp_stat_sn = load_be32(bhs + ISCSI_AT_STATSN) + 1;
    i->max_cmd_sn = load_be32(bhs + ISCSI_AT_MAXCMDSN);
    i->state = STATE_UP;
    i->logins++;
    while (!list_is_empty(&i->doubted)) {
        struct initiator_request *r =
            list_entry(list_pop_front(&i->doubted), struct initiator_request, link);
        r->is_lost = true;
        r->done(r);
    }
    pump(i);
}

/* ---- Commands -------------------------------------------------------------------------------- */

static void send_command(struct initiator *i, struct initiator_request *r)
{
    uint8_t bhs[ISCSI_BHS_BYTES];
    uint8_t flags = ISCSI_FLAG_FINAL | 1; /* simple task */
    if (r->out_bytes) flags |= ISCSI_COMMAND_WRITE;
    if (r->in_bytes) flags |= ISCSI_COMMAND_READ;
    uint32_t now = min_of(r->out_bytes, i->segment_bytes);
    iscsi_pdu_start(bhs, ISCSI_OP_COMMAND, flags);
    bhs[ISCSI_AT_LUN + 1] = (uint8_t)r->lun;
    r->itt = i->next_itt++;
    store_be32(bhs + ISCSI_AT_ITT, r->itt);
    store_be32(bhs + ISCSI_AT_EDTL, r->out_bytes ? r->out_bytes : r->in_bytes);
    store_be32(bhs + ISCSI_AT_CMDSN, i->cmd_sn++);
    store_be32(bhs + ISCSI_AT_EXPSTATSN, i->exp_stat_sn);
    memcpy(bhs + ISCSI_AT_CDB, r->cdb, 16);
    send_pdu(i, bhs, r->data, now);
}

static void pump(struct initiator *i)
{
    while (i->state == STATE_UP && !list_is_empty(&i->waiting) &&
           !iscsi_sn_before(i->max_cmd_sn, i->cmd_sn)) {
        struct initiator_request *r =
            list_entry(list_pop_front(&i->waiting), struct initiator_request, link);
        list_push_back(&i->running, &r->link);
        send_command(i, r);
    }
}

static struct initiator_request *find(struct initiator *i, uint32_t itt)
{
    list_for_each (node, &i->running) {
        struct initiator_request *r = list_entry(node, struct initiator_request, link);
        if (r->itt == itt) return r;
    }
    return NULL;
}

static void finish(struct initiator_request *r, uint8_t status)
{
    r->status = status;
    list_remove(&r->link);
    r->done(r);
}

static void data_in(struct initiator *i, const uint8_t *bhs, const uint8_t *data, uint32_t bytes)
{
    struct initiator_request *r = find(i, load_be32(bhs + ISCSI_AT_ITT));
    uint32_t offset = load_be32(bhs + ISCSI_AT_BUFFER_OFFSET);
    check(r && offset + bytes <= r->in_bytes);
    memcpy(r->data + offset, data, bytes);
    r->got_bytes += bytes;
    if (bhs[1] & ISCSI_DATA_IN_STATUS) finish(r, bhs[3]);
}

static void response(struct initiator *i, const uint8_t *bhs, const uint8_t *data, uint32_t bytes)
{
    struct initiator_request *r = find(i, load_be32(bhs + ISCSI_AT_ITT));
    check(r != NULL);
    if (bytes >= 16) r->sense = (uint32_t)(data[4] & 15) << 16 | (uint32_t)data[14] << 8 | data[15];
    finish(r, bhs[3]);
}

static void answer_r2t(struct initiator *i, const uint8_t *r2t)
{
    struct initiator_request *r = find(i, load_be32(r2t + ISCSI_AT_ITT));
    uint32_t offset = load_be32(r2t + ISCSI_AT_BUFFER_OFFSET);
    uint32_t left = load_be32(r2t + ISCSI_AT_DESIRED_BYTES);
    check(r && offset + left <= r->out_bytes);
    for (uint32_t sn = 0; left > 0; sn++) {
        uint8_t bhs[ISCSI_BHS_BYTES];
        uint32_t n = min_of(left, i->segment_bytes);
        iscsi_pdu_start(bhs, ISCSI_OP_DATA_OUT, n == left ? ISCSI_FLAG_FINAL : 0);
        memcpy(bhs + ISCSI_AT_ITT, r2t + ISCSI_AT_ITT, 8); /* and the TTT */
        store_be32(bhs + ISCSI_AT_EXPSTATSN, i->exp_stat_sn);
        store_be32(bhs + ISCSI_AT_DATASN, sn);
        store_be32(bhs + ISCSI_AT_BUFFER_OFFSET, offset);
        send_pdu(i, bhs, r->data + offset, n);
        offset += n;
        left -= n;
    }
}

static void answer_nop(struct initiator *i, const uint8_t *nop)
{
    uint8_t bhs[ISCSI_BHS_BYTES];
    if (load_be32(nop + ISCSI_AT_TTT) == ISCSI_TAG_NONE) return;
    iscsi_pdu_start(bhs, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL);
    bhs[0] |= ISCSI_OP_IMMEDIATE;
    memcpy(bhs + ISCSI_AT_LUN, nop + ISCSI_AT_LUN, 8);
    store_be32(bhs + ISCSI_AT_ITT, ISCSI_TAG_NONE);
    memcpy(bhs + ISCSI_AT_TTT, nop + ISCSI_AT_TTT, 4);
    store_be32(bhs + ISCSI_AT_CMDSN, i->cmd_sn);
    store_be32(bhs + ISCSI_AT_EXPSTATSN, i->exp_stat_sn);
    send_pdu(i, bhs, NULL, 0);
}

/* ---- In -------------------------------------------------------------------------------------- */

static void take_pdu(struct initiator *i, const uint8_t *bhs, const uint8_t *data, uint32_t bytes)
{
    unsigned opcode = bhs[0] & ISCSI_OP_MASK;
    if (opcode == ISCSI_OP_LOGIN_RESPONSE) {
        login_answered(i, bhs, data, bytes);
        return;
    }
    bool has_stat_sn =
        opcode != ISCSI_OP_R2T && (opcode != ISCSI_OP_DATA_IN || (bhs[1] & ISCSI_DATA_IN_STATUS));
    if (has_stat_sn) i->exp_stat_sn = load_be32(bhs + ISCSI_AT_STATSN) + 1;
    uint32_t max_cmd_sn = load_be32(bhs + ISCSI_AT_MAXCMDSN);
    if (iscsi_sn_before(i->max_cmd_sn, max_cmd_sn)) i->max_cmd_sn = max_cmd_sn;
    switch (opcode) {
    case ISCSI_OP_DATA_IN:
        data_in(i, bhs, data, bytes);
        break;
    case ISCSI_OP_RESPONSE:
        response(i, bhs, data, bytes);
        break;
    case ISCSI_OP_R2T:
        answer_r2t(i, bhs);
        break;
    case ISCSI_OP_NOP_IN:
        answer_nop(i, bhs);
        break;
    case ISCSI_OP_ASYNC:
        drop(i);
        break;
    default:
        check(false); /* REJECT, or what nobody asked for */
    }
}

static void take_pdus(struct initiator *i)
{
    size_t at = 0;
    while (i->in_bytes - at >= ISCSI_BHS_BYTES && i->state != STATE_CLOSING) {
        const uint8_t *p = i->in + at;
        uint32_t data_bytes = load_be24(p + 5);
        size_t whole = ISCSI_BHS_BYTES + (size_t)data_bytes + iscsi_pdu_padding(data_bytes);
        check(whole <= IN_BYTES);
        if (i->in_bytes - at < whole) break;
        take_pdu(i, p, p + ISCSI_BHS_BYTES, data_bytes);
        at += whole;
    }
    i->in_bytes -= at;
    memmove(i->in, i->in + at, i->in_bytes);
}

static void received(struct rt_sock_io *io);

static void receive(struct initiator *i)
{
    i->recv_iov =
        (struct iovec){.iov_base = i->in + i->in_bytes, .iov_len = IN_BYTES - i->in_bytes};
    i->recv = (struct rt_sock_io){
        .op = RT_SOCK_RECV, .sock = i->sock, .iov = &i->recv_iov, .iov_count = 1, .done = received};
    rt_sock_submit(i->rt, &i->recv);
}

static void received(struct rt_sock_io *io)
{
    struct initiator *i = container_of(io, struct initiator, recv);
    if (i->state == STATE_CLOSING) return;
    if (io->status != STATUS_OK) {
        drop(i);
        return;
    }
    i->in_bytes += io->bytes;
    take_pdus(i);
    if (i->state == STATE_CLOSING) return;
    pump(i);
    receive(i);
}

static void connected(struct rt_sock_io *io)
{
    struct initiator *i = container_of(io, struct initiator, send);
    i->is_sending = false;
    if (io->status != STATUS_OK) {
        i->state = STATE_AWAY;
        if (i->wanted) rt_timer_set(i->rt, &i->retry, rt_now(i->rt) + RETRY_MS * RT_MS, retry_due);
        return;
    }
    i->sock = io->sock;
    if (!i->wanted) {
        drop(i);
        return;
    }
    i->state = STATE_LOGIN;
    i->in_bytes = 0;
    receive(i);
    login(i);
}

static void connect_now(struct initiator *i)
{
    if (!i->wanted || i->state != STATE_AWAY) return;
    drop_out(i);
    i->state = STATE_CONNECTING;
    i->cmd_sn = 100;
    i->is_sending = true; /* the request is in use */
    i->send = (struct rt_sock_io){.op = RT_SOCK_CONNECT, .address = i->address, .done = connected};
    rt_sock_submit(i->rt, &i->send);
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct initiator *initiator_create(struct sim *sim, struct sim_node *node, const char *name)
{
    struct initiator *i = calloc(1, sizeof *i);
    check(i != NULL);
    i->sim = sim;
    i->node = node;
    i->rt = sim_node_boot(node);
    snprintf(i->name, sizeof i->name, "%s", name);
    list_init(&i->out);
    list_init(&i->waiting);
    list_init(&i->running);
    list_init(&i->doubted);
    i->next_itt = 1;
    return i;
}

void initiator_connect(struct initiator *i, const char *address, const char *target_name)
{
    snprintf(i->address, sizeof i->address, "%s", address);
    snprintf(i->target, sizeof i->target, "%s", target_name);
    i->wanted = true;
    connect_now(i);
}

/* The node's program ends and begins again. */
static void start_over(struct initiator *i)
{
    sim_node_crash(i->node, SIM_CRASH_PROCESS);
    i->rt = sim_node_boot(i->node);
    i->sock = NULL;
    i->state = STATE_AWAY;
    i->is_sending = false;
    memset(&i->retry, 0, sizeof i->retry);
    drop_out(i);
}

static void unlink_all(struct list *list)
{
    while (!list_is_empty(list))
        list_pop_front(list);
}

void initiator_forget(struct initiator *i)
{
    start_over(i);
    i->wanted = false;
    unlink_all(&i->waiting);
    unlink_all(&i->running);
    unlink_all(&i->doubted);
}

void initiator_reboot(struct initiator *i)
{
    start_over(i);
    list_splice_back(&i->doubted, &i->running);
    if (i->wanted) rt_timer_set(i->rt, &i->retry, rt_now(i->rt) + RETRY_MS * RT_MS, retry_due);
}

void initiator_destroy(struct initiator *i)
{
    if (!i) return;
    initiator_forget(i);
    sim_node_crash(i->node, SIM_CRASH_PROCESS);
    free(i);
}

struct sim_node *initiator_node(const struct initiator *i)
{
    return i->node;
}

bool initiator_is_up(const struct initiator *i)
{
    return i->state == STATE_UP;
}

void initiator_submit(struct initiator *i, struct initiator_request *r)
{
    r->is_lost = false;
    r->got_bytes = r->sense = r->status = 0;
    list_push_back(&i->waiting, &r->link);
    pump(i);
}

unsigned initiator_login_count(const struct initiator *i)
{
    return i->logins;
}
