/* iscsi_rig.c - see iscsi_rig.h. */
#include "tests/unit/iscsi_rig.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"

uint8_t rig_pattern[4 * MIB];

/* tap.h counts in each file on its own: what goes wrong here is told by rig_end. */
static unsigned failures;

#define rig_expect_eq(a, b)                                                                        \
    do {                                                                                           \
        long long a_ = (long long)(a), b_ = (long long)(b);                                        \
        if (a_ != b_) {                                                                            \
            printf("# %s:%d: %s is %lld, expected %s = %lld\n", __FILE__, __LINE__, #a, a_, #b,    \
                   b_);                                                                            \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

#define PATIENCE_NS (100 * RT_SECOND)

/* ---- The world ---- */

static enum status find(void *arg, const char *initiator_name, struct iscsi_access *ret_access)
{
    struct rig *rig = arg;
    *ret_access = (struct iscsi_access){
        .map = rig->map,
        .host = &rig->host_one,
        .chap_user = "alice",
        .chap_secret = RIG_SECRET,
        .mutual_user = "tarn",
        .mutual_secret = RIG_OUR_SECRET,
    };
    if (strcmp(initiator_name, RIG_ONE) == 0) return STATUS_OK;
    if (strcmp(initiator_name, RIG_TWO) == 0) {
        ret_access->host = &rig->host_two;
        return STATUS_OK;
    }
    ret_access->auth = ISCSI_AUTH_CHAP;
    if (strcmp(initiator_name, RIG_CHAP) == 0) return STATUS_OK;
    ret_access->auth = ISCSI_AUTH_MUTUAL;
    return strcmp(initiator_name, RIG_MUTUAL) == 0 ? STATUS_OK : STATUS_NOT_FOUND;
}

static void session_changed(void *arg, void *host, const char *initiator_name, bool up)
{
    struct rig *rig = arg;
    if (up)
        rig->ups++;
    else
        rig->downs++;
}

static void must(struct err *e)
{
    char text[256];
    if (e) printf("# %s\n", err_text(e, text, sizeof text));
    check(!e);
}

static void add_lun(struct rig *rig, unsigned number)
{
    struct uuid uuid = {{(uint8_t)(number + 1)}};
    rig->volumes[number] = memvol_disk(rig->pool, &uuid, 16 * MIB, VOLUME_READ_WRITE);
    struct scsi_lun_options options = {
        .volume = rig->volumes[number],
        .identity = {.naa = {0x3A, 1, 2, 3, 4, 5, 6, (uint8_t)number},
                     .naa_bytes = 8,
                     .serial = "00112233445566778899aabbccddeeff"},
    };
    must(scsi_lun_create(rig->rt, &options, &rig->luns[number]));
    must(scsi_map_add(rig->map, number, rig->luns[number]));
}

static void fill_pattern(void)
{
    struct prng prng;
    prng_init(&prng, 5);
    prng_fill(&prng, rig_pattern, sizeof rig_pattern);
    rig_pattern[0] = 1; /* filled */
}

void rig_init(struct rig *rig, uint64_t buffer_bytes)
{
    if (!rig_pattern[0]) fill_pattern();
    *rig = (struct rig){0};
    rig->sim = sim_create(&(struct sim_options){.seed = 7, .buffer_bytes = buffer_bytes});
    rig->node = sim_node_create(rig->sim, "server");
    rig->rt = sim_node_boot(rig->node);
    rig->client = sim_node_boot(sim_node_create(rig->sim, "client"));
    rig->pool = memvol_pool_create(rig->rt);
    must(scsi_map_create(rig->rt, &rig->map));
    add_lun(rig, 0);
    add_lun(rig, 1);
    struct iscsi_server_options options = {
        .target_name = RIG_TARGET,
        .target_alias = "the rig",
        .portal_count = 3,
        .portals = {{.listen = "10.0.0.1:3260"},
                    {.listen = "10.0.0.2:3260", .advertise = "192.0.2.9:3333"},
                    {.listen = "0.0.0.0:3261"}},
    };
    const struct iscsi_access_ops ops = {.find = find, .session_changed = session_changed};
    must(iscsi_server_create(rig->rt, &options, &ops, rig, &rig->server));
    rig->idle_bytes = rt_buf_in_use_bytes(rig->rt);
}

static void server_closed(void *arg)
{
    ((struct rig *)arg)->closed = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

void rig_run_ms(struct rig *rig, uint64_t ms)
{
    sim_run_for(rig->sim, ms * RT_MS);
}

unsigned rig_end(struct rig *rig)
{
    if (rig->crashed) {
        iscsi_server_abandon(rig->server);
    } else {
        if (rig->server) iscsi_server_close(rig->server, server_closed, rig);
        check(sim_run_until(rig->sim, is_true, &rig->closed, PATIENCE_NS));
        rig_run_ms(rig, 10);
        /* Every buffer came back, every session that came up went down. */
        rig_expect_eq(rt_buf_in_use_bytes(rig->rt), rig->idle_bytes);
        rig_expect_eq(rig->ups, rig->downs);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (scsi_map_find(rig->map, i)) scsi_map_remove(rig->map, i, NULL, NULL);
    }
    if (!rig->crashed) rig_run_ms(rig, 10);
    scsi_map_destroy(rig->map);
    for (unsigned i = 0; i < 2; i++)
        scsi_lun_destroy(rig->luns[i]);
    volume_pool_abandon(rig->pool);
    sim_destroy(rig->sim);
    unsigned count = failures;
    failures = 0;
    return count;
}

/* ---- The stream ---- */

static void receive(struct wire *w);

static void received(struct rt_sock_io *io)
{
    struct wire *w = container_of(io, struct wire, recv);
    w->receiving = false;
    if (io->status != STATUS_OK) {
        w->gone = true;
        return;
    }
    w->end += io->bytes;
    receive(w);
}

static void receive(struct wire *w)
{
    check(w->end < WIRE_BUFFER_BYTES);
    w->recv_iov =
        (struct iovec){.iov_base = w->buffer + w->end, .iov_len = WIRE_BUFFER_BYTES - w->end};
    w->recv = (struct rt_sock_io){
        .op = RT_SOCK_RECV, .sock = w->sock, .iov = &w->recv_iov, .iov_count = 1, .done = received};
    w->receiving = true;
    rt_sock_submit(w->rig->client, &w->recv);
}

static void was_sent(struct rt_sock_io *io)
{
    container_of(io, struct wire, send)->sent = true;
}

struct wire *wire_connect(struct rig *rig)
{
    struct wire *w = calloc(1, sizeof *w);
    check(w && (w->buffer = malloc(WIRE_BUFFER_BYTES)));
    w->rig = rig;
    memcpy(w->isid, (uint8_t[]){0x80, 1, 2, 3, 4, 5}, 6);
    w->cmd_sn = 100;
    w->next_itt = 1;
    w->send = (struct rt_sock_io){.op = RT_SOCK_CONNECT,
                                  .address = iscsi_server_portal_address(rig->server, 0),
                                  .done = was_sent};
    rt_sock_submit(rig->client, &w->send);
    check(sim_run_until(rig->sim, is_true, &w->sent, PATIENCE_NS));
    check(w->send.status == STATUS_OK);
    w->sock = w->send.sock;
    receive(w);
    return w;
}

static void wire_closed(void *arg)
{
    ((struct wire *)arg)->gone = true;
}

void wire_close(struct wire *w)
{
    if (!w) return;
    w->gone = false;
    rt_sock_close(w->sock, wire_closed, w);
    check(sim_run_until(w->rig->sim, is_true, &w->gone, PATIENCE_NS));
    rig_run_ms(w->rig, 10);
    free(w->buffer);
    free(w);
}

bool wire_is_gone_within(struct wire *w, uint64_t seconds)
{
    return sim_run_until(w->rig->sim, is_true, &w->gone, seconds * RT_SECOND);
}

bool wire_is_gone(struct wire *w)
{
    return wire_is_gone_within(w, 5);
}

void wire_send_bytes(struct wire *w, const void *data, size_t size_bytes)
{
    if (w->gone || size_bytes == 0) return;
    union {
        const void *in;
        void *out;
    } base = {.in = data};
    w->send_iov = (struct iovec){.iov_base = base.out, .iov_len = size_bytes};
    w->send = (struct rt_sock_io){
        .op = RT_SOCK_SEND, .sock = w->sock, .iov = &w->send_iov, .iov_count = 1, .done = was_sent};
    w->sent = false;
    rt_sock_submit(w->rig->client, &w->send);
    check(sim_run_until(w->rig->sim, is_true, &w->sent, PATIENCE_NS));
}

void wire_send(struct wire *w, uint8_t bhs[ISCSI_BHS_BYTES], const void *data, uint32_t data_bytes)
{
    uint32_t padding = iscsi_pdu_padding(data_bytes);
    uint8_t *pdu = calloc(1, ISCSI_BHS_BYTES + 8 + (size_t)data_bytes + padding), *p = pdu;
    check(pdu);
    iscsi_pdu_set_data_bytes(bhs, data_bytes);
    memcpy(p, bhs, ISCSI_BHS_BYTES);
    p += ISCSI_BHS_BYTES;
    if (w->header_digest) {
        store_le32(p, crc32c(0, bhs, ISCSI_BHS_BYTES));
        p += 4;
    }
    if (data_bytes) {
        memcpy(p, data, data_bytes);
        p += data_bytes + padding;
        if (w->data_digest) {
            store_le32(p, crc32c(0, p - data_bytes - padding, data_bytes + padding));
            p += 4;
        }
    }
    wire_send_bytes(w, pdu, (size_t)(p - pdu));
    free(pdu);
}

struct waiting {
    struct wire *w;
    size_t whole;
};

static bool has_pdu(void *arg)
{
    struct waiting *wait = arg;
    const struct wire *w = wait->w;
    const uint8_t *p = w->buffer + w->start;
    size_t have = w->end - w->start;
    if (have < ISCSI_BHS_BYTES) return w->gone;
    uint32_t data_bytes = load_be24(p + 5);
    wait->whole = ISCSI_BHS_BYTES + (w->header_digest ? 4 : 0) + data_bytes +
                  iscsi_pdu_padding(data_bytes) + (w->data_digest && data_bytes ? 4 : 0);
    return have >= wait->whole || w->gone;
}

bool wire_next(struct wire *w, struct wire_pdu *ret_pdu)
{
    struct waiting wait = {.w = w, .whole = SIZE_MAX};
    if (!sim_run_until(w->rig->sim, has_pdu, &wait, 10 * RT_SECOND)) return false;
    if (w->end - w->start < wait.whole) return false;
    const uint8_t *p = w->buffer + w->start;
    memcpy(ret_pdu->bhs, p, ISCSI_BHS_BYTES);
    ret_pdu->opcode = p[0];
    ret_pdu->flags = p[1];
    ret_pdu->itt = load_be32(p + ISCSI_AT_ITT);
    ret_pdu->data_bytes = load_be24(p + 5);
    ret_pdu->data = p + ISCSI_BHS_BYTES + (w->header_digest ? 4 : 0);
    if (w->header_digest)
        rig_expect_eq(load_le32(p + ISCSI_BHS_BYTES), crc32c(0, p, ISCSI_BHS_BYTES));
    size_t padded = ret_pdu->data_bytes + iscsi_pdu_padding(ret_pdu->data_bytes);
    if (w->data_digest && padded)
        rig_expect_eq(load_le32(ret_pdu->data + padded), crc32c(0, ret_pdu->data, padded));
    /* StatSN counts without holes what takes one. */
    bool shows = p[0] == ISCSI_OP_R2T ||
                 (p[0] == ISCSI_OP_DATA_IN && !(p[1] & ISCSI_DATA_IN_STATUS)) ||
                 (p[0] == ISCSI_OP_NOP_IN && ret_pdu->itt == ISCSI_TAG_NONE);
    if (p[0] != ISCSI_OP_LOGIN_RESPONSE && !(shows && p[0] == ISCSI_OP_DATA_IN))
        rig_expect_eq(load_be32(p + ISCSI_AT_STATSN), w->exp_stat_sn);
    if (p[0] != ISCSI_OP_LOGIN_RESPONSE && !shows) w->exp_stat_sn++;
    for (size_t i = ret_pdu->data_bytes; i < padded; i++)
        rig_expect_eq(ret_pdu->data[i], 0);
    /* The window never goes back. */
    uint32_t max_cmd_sn = load_be32(p + ISCSI_AT_MAXCMDSN);
    if (w->tsih) rig_expect_eq(true, !iscsi_sn_before(max_cmd_sn, w->max_cmd_sn));
    w->max_cmd_sn = max_cmd_sn;
    w->start += wait.whole;
    return true;
}

bool wire_expect(struct wire *w, uint8_t opcode, uint32_t itt, struct wire_pdu *ret_pdu)
{
    if (!wire_next(w, ret_pdu)) {
        printf("# no PDU came, expected %02x\n", opcode);
        return false;
    }
    if (ret_pdu->opcode == opcode && ret_pdu->itt == itt) return true;
    printf("# PDU %02x for %x came, expected %02x for %x\n", ret_pdu->opcode, ret_pdu->itt, opcode,
           itt);
    return false;
}

bool wire_is_silent(struct wire *w)
{
    rig_run_ms(w->rig, 1000);
    return w->start == w->end && !w->gone;
}

/* ---- Login ---- */

void wire_login_send(struct wire *w, uint8_t flags, const char *text)
{
    uint8_t bhs[ISCSI_BHS_BYTES];
    size_t size_bytes = strlen(text);
    char *copy = malloc(size_bytes + 1);
    check(copy);
    for (size_t i = 0; i <= size_bytes; i++)
        copy[i] = text[i];
    for (size_t i = 0; i < size_bytes; i++) {
        if (copy[i] == '\n') copy[i] = '\0';
    }
    iscsi_pdu_start(bhs, ISCSI_OP_LOGIN_REQUEST, flags);
    bhs[0] |= ISCSI_OP_IMMEDIATE;
    memcpy(bhs + ISCSI_AT_ISID, w->isid, 6);
    store_be16(bhs + ISCSI_AT_TSIH, w->tsih);
    store_be16(bhs + ISCSI_AT_CID, w->cid);
    store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn);
    store_be32(bhs + ISCSI_AT_EXPSTATSN, w->exp_stat_sn);
    wire_send(w, bhs, copy, (uint32_t)size_bytes);
    free(copy);
}

bool wire_login_step(struct wire *w, uint8_t flags, const char *text)
{
    struct wire_pdu p;
    wire_login_send(w, flags, text);
    if (!wire_expect(w, ISCSI_OP_LOGIN_RESPONSE, 0, &p)) return false;
    w->login_flags = p.flags;
    w->login_status = load_be16(p.bhs + ISCSI_AT_LOGIN_STATUS);
    check(p.data_bytes < sizeof w->login_text);
    w->login_text_bytes = p.data_bytes;
    memcpy(w->login_text, p.data, p.data_bytes);
    w->login_text[p.data_bytes] = '\0';
    w->exp_stat_sn = load_be32(p.bhs + ISCSI_AT_STATSN) + 1;
    if (w->login_status == 0 && (p.flags & 0x83) == 0x83) {
        w->tsih = load_be16(p.bhs + ISCSI_AT_TSIH);
        const char *header = wire_answer(w, "HeaderDigest"), *data = wire_answer(w, "DataDigest");
        w->header_digest = header && strcmp(header, "CRC32C") == 0;
        w->data_digest = data && strcmp(data, "CRC32C") == 0;
    }
    return true;
}

const char *wire_answer(const struct wire *w, const char *name)
{
    size_t n = strlen(name);
    for (size_t at = 0; at < w->login_text_bytes; at += strlen(w->login_text + at) + 1) {
        const char *pair = w->login_text + at;
        if (strncmp(pair, name, n) == 0 && pair[n] == '=') return pair + n + 1;
    }
    return NULL;
}

static const char usual_keys[] =
    "HeaderDigest=None\nDataDigest=None\nInitialR2T=No\nImmediateData=Yes\n"
    "MaxRecvDataSegmentLength=262144\nMaxBurstLength=262144\n"
    "FirstBurstLength=65536\nMaxOutstandingR2T=4\nErrorRecoveryLevel=0\n";

struct wire *wire_login_isid(struct rig *rig, const char *initiator, const char *keys, uint8_t isid)
{
    char text[2048];
    struct wire *w = wire_connect(rig);
    w->isid[5] = isid;
    snprintf(text, sizeof text, "InitiatorName=%s\nSessionType=Normal\nTargetName=%s\n%s",
             initiator, RIG_TARGET, keys ? keys : usual_keys);
    bool good = wire_login_step(w, 0x87, text);
    check(good && w->login_status == 0 && w->tsih != 0);
    return w;
}

struct wire *wire_login(struct rig *rig, const char *initiator, const char *keys)
{
    return wire_login_isid(rig, initiator, keys, 5);
}

struct wire *wire_session(struct rig *rig, const char *keys)
{
    struct wire *w = wire_login(rig, RIG_ONE, keys);
    const uint8_t cdb[16] = {0};
    for (unsigned lun = 0; lun < 2; lun++) {
        unsigned tries = 0;
        while (wire_status(w, wire_command(w, 0x80, lun, cdb, 0, NULL, 0)) != 0)
            check(tries++ < 8);
    }
    return w;
}

/* ---- Commands ---- */

uint32_t wire_command(struct wire *w, uint8_t flags, unsigned lun, const uint8_t cdb[16],
                      uint32_t edtl, const void *immediate, uint32_t immediate_bytes)
{
    uint8_t bhs[ISCSI_BHS_BYTES];
    iscsi_pdu_start(bhs, ISCSI_OP_COMMAND, flags | 1);
    bhs[ISCSI_AT_LUN + 1] = (uint8_t)lun;
    store_be32(bhs + ISCSI_AT_ITT, w->next_itt);
    store_be32(bhs + ISCSI_AT_EDTL, edtl);
    store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn++);
    store_be32(bhs + ISCSI_AT_EXPSTATSN, w->exp_stat_sn);
    memcpy(bhs + ISCSI_AT_CDB, cdb, 16);
    wire_send(w, bhs, immediate, immediate_bytes);
    return w->next_itt++;
}

void wire_cdb10(uint8_t cdb[16], uint8_t opcode, uint32_t sector, uint16_t count)
{
    memset(cdb, 0, 16);
    cdb[0] = opcode;
    store_be32(cdb + 2, sector);
    store_be16(cdb + 7, count);
}

uint32_t wire_read(struct wire *w, uint32_t sector, uint16_t count)
{
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x28, sector, count);
    return wire_command(w, 0x80 | ISCSI_COMMAND_READ, 0, cdb, count * 512u, NULL, 0);
}

void wire_data_out(struct wire *w, uint8_t flags, uint32_t itt, uint32_t ttt, uint32_t data_sn,
                   uint32_t offset, const void *data, uint32_t size_bytes)
{
    uint8_t bhs[ISCSI_BHS_BYTES];
    iscsi_pdu_start(bhs, ISCSI_OP_DATA_OUT, flags);
    store_be32(bhs + ISCSI_AT_ITT, itt);
    store_be32(bhs + ISCSI_AT_TTT, ttt);
    store_be32(bhs + ISCSI_AT_EXPSTATSN, w->exp_stat_sn);
    store_be32(bhs + ISCSI_AT_DATASN, data_sn);
    store_be32(bhs + ISCSI_AT_BUFFER_OFFSET, offset);
    wire_send(w, bhs, data, size_bytes);
}

uint32_t wire_tmf(struct wire *w, uint8_t function, unsigned lun, uint32_t referenced)
{
    uint8_t bhs[ISCSI_BHS_BYTES];
    iscsi_pdu_start(bhs, ISCSI_OP_TMF_REQUEST, 0x80 | function);
    bhs[0] |= ISCSI_OP_IMMEDIATE;
    bhs[ISCSI_AT_LUN + 1] = (uint8_t)lun;
    store_be32(bhs + ISCSI_AT_ITT, w->next_itt);
    store_be32(bhs + ISCSI_AT_REFERENCED_TAG, referenced);
    store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn);
    store_be32(bhs + ISCSI_AT_EXPSTATSN, w->exp_stat_sn);
    wire_send(w, bhs, NULL, 0);
    return w->next_itt++;
}

uint8_t wire_status(struct wire *w, uint32_t itt)
{
    struct wire_pdu p;
    return wire_expect(w, ISCSI_OP_RESPONSE, itt, &p) ? p.bhs[3] : 0xFF;
}

uint32_t wire_sense(const struct wire_pdu *p)
{
    if (p->data_bytes < 16) return 0;
    const uint8_t *sense = p->data + 2;
    return (uint32_t)(sense[2] & 0x0F) << 16 | (uint32_t)sense[12] << 8 | sense[13];
}

/* The content of LUN 0 as a read sees it: true when equal to `expected`. */
bool wire_reads_as(struct wire *w, uint32_t sector, const void *expected, uint32_t size_bytes)
{
    struct wire_pdu p = {0};
    uint32_t at = 0, itt = wire_read(w, sector, (uint16_t)(size_bytes / 512));
    while (at < size_bytes) {
        if (!wire_expect(w, ISCSI_OP_DATA_IN, itt, &p)) return false;
        if (load_be32(p.bhs + ISCSI_AT_BUFFER_OFFSET) != at) return false;
        if (memcmp(p.data, (const uint8_t *)expected + at, p.data_bytes) != 0) return false;
        at += p.data_bytes;
    }
    return (p.flags & ISCSI_DATA_IN_STATUS) && p.bhs[3] == 0;
}

/* A write with everything immediate. */
uint8_t wire_write_now(struct wire *w, uint32_t sector, const void *data, uint32_t size_bytes)
{
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x2A, sector, (uint16_t)(size_bytes / 512));
    return wire_status(
        w, wire_command(w, 0x80 | ISCSI_COMMAND_WRITE, 0, cdb, size_bytes, data, size_bytes));
}

/* Sends what an R2T asks for, in segments. */
void wire_answer_r2t(struct wire *w, const struct wire_pdu *r2t, const uint8_t *data,
                     uint32_t segment)
{
    uint32_t offset = load_be32(r2t->bhs + ISCSI_AT_BUFFER_OFFSET);
    uint32_t left = load_be32(r2t->bhs + ISCSI_AT_DESIRED_BYTES), sn = 0;
    uint32_t tag = load_be32(r2t->bhs + ISCSI_AT_TTT);
    while (left > 0) {
        uint32_t n = min_of(left, segment);
        wire_data_out(w, n == left ? 0x80 : 0, r2t->itt, tag, sn++, offset, data + offset, n);
        offset += n;
        left -= n;
    }
}
