/* Full feature phase of the iSCSI target: commands, data, numbering, keep-alive, and connections
 * that die. */
#include "tests/unit/iscsi_rig.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/prng.h"

#define KEYS "InitialR2T=No\nImmediateData=Yes\nMaxRecvDataSegmentLength=262144\n"

enum {
    READ = 0x80 | ISCSI_COMMAND_READ,
    WRITE = 0x80 | ISCSI_COMMAND_WRITE,
    MORE = ISCSI_COMMAND_WRITE
};

/* ---- Numbering ---- */

static void commands_outside_the_window_are_ignored(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    uint32_t good = w->cmd_sn;
    const uint8_t cdb[16] = {0};
    static const int32_t offsets[] = {-1, -100, 128, 1000, INT32_MIN};
    for (unsigned i = 0; i < countof(offsets); i++) {
        w->cmd_sn = good + (uint32_t)offsets[i];
        wire_command(w, 0x80, 0, cdb, 0, NULL, 0);
        expect(wire_is_silent(w));
    }
    w->cmd_sn = good;
    expect_eq(wire_status(w, wire_command(w, 0x80, 0, cdb, 0, NULL, 0)), 0);
    wire_close(w);
    rig_fini(&rig);
}

static void skipped_number_ends_the_connection(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    w->cmd_sn += 3;
    wire_read(w, 0, 1);
    expect(wire_is_gone(w));
    wire_close(w);
    rig_fini(&rig);
}

static void window_closes_and_opens(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    memvol_hold(rig.pool, true);
    uint32_t first = w->next_itt;
    for (unsigned i = 0; i < 140; i++)
        wire_read(w, i, 1);
    rig_run_ms(&rig, 100);
    expect_eq(memvol_held_count(rig.pool), 128);
    memvol_hold(rig.pool, false);
    for (unsigned i = 0; i < 128; i++)
        require(wire_expect(w, ISCSI_OP_DATA_IN, first + i, &p));
    expect(wire_is_silent(w)); /* the twelve that were too many were ignored */
    w->cmd_sn -= 12;
    expect_eq(w->max_cmd_sn, w->cmd_sn + 127);
    expect(wire_reads_as(w, 0, (uint8_t[512]){0}, 512));
    wire_close(w);
    rig_fini(&rig);
}

static void task_tag_in_use_is_rejected(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    memvol_hold(rig.pool, true);
    uint32_t itt = wire_read(w, 0, 1);
    w->next_itt = itt;
    wire_read(w, 0, 1);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    expect_eq(p.bhs[2], ISCSI_REJECT_TASK_IN_PROGRESS);
    memvol_hold(rig.pool, false);
    require(wire_expect(w, ISCSI_OP_DATA_IN, itt, &p));
    expect(wire_reads_as(w, 0, (uint8_t[512]){0}, 512)); /* its number was used up */
    wire_close(w);
    rig_fini(&rig);
}

static void immediate_commands_have_their_own_limit(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    memvol_hold(rig.pool, true);
    for (unsigned i = 0; i < 9; i++) {
        uint8_t bhs[ISCSI_BHS_BYTES];
        iscsi_pdu_start(bhs, ISCSI_OP_COMMAND, READ | 1);
        bhs[0] |= ISCSI_OP_IMMEDIATE;
        store_be32(bhs + ISCSI_AT_ITT, 1000 + i);
        store_be32(bhs + ISCSI_AT_EDTL, 512);
        store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn);
        wire_cdb10(bhs + ISCSI_AT_CDB, 0x28, 0, 1);
        wire_send(w, bhs, NULL, 0);
    }
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    expect_eq(p.bhs[2], ISCSI_REJECT_TOO_MANY_IMMEDIATE);
    memvol_hold(rig.pool, false);
    for (unsigned i = 0; i < 8; i++)
        require(wire_expect(w, ISCSI_OP_DATA_IN, 1000 + i, &p));
    wire_close(w);
    rig_fini(&rig);
}

static void odd_commands_are_rejected(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x28, 0, 1);
    wire_command(w, READ | ISCSI_COMMAND_WRITE, 0, cdb, 512, NULL, 0);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    expect_eq(p.bhs[2], ISCSI_REJECT_INVALID_FIELD);
    wire_command(w, READ, 0, cdb, 512, rig_pattern, 512);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    w->next_itt = ISCSI_TAG_NONE;
    wire_command(w, READ, 0, cdb, 512, NULL, 0);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    static const uint8_t opcodes[] = {0x07, 0x1C, 0x20, 0x21, 0x3E};
    for (unsigned i = 0; i < countof(opcodes); i++) {
        uint8_t bhs[ISCSI_BHS_BYTES] = {opcodes[i], 0x80};
        wire_send(w, bhs, rig_pattern, 100);
        require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
        expect_eq(p.bhs[2], ISCSI_REJECT_NOT_SUPPORTED);
    }
    uint8_t bhs[ISCSI_BHS_BYTES] = {ISCSI_OP_SNACK, 0x80};
    wire_send(w, bhs, NULL, 0);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    expect_eq(p.bhs[2], ISCSI_REJECT_SNACK);
    w->next_itt = 50;
    expect(wire_reads_as(w, 0, (uint8_t[512]){0}, 512));
    wire_close(w);
    rig_fini(&rig);
}

/* ---- NOP, logout, time ---- */

static void nop_out_is_echoed(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, "MaxRecvDataSegmentLength=2048\n");
    struct wire_pdu p;
    static const uint32_t sizes[] = {0, 1, 511, 2048, 5000, 262144};
    for (unsigned i = 0; i < countof(sizes); i++) {
        uint8_t bhs[ISCSI_BHS_BYTES];
        iscsi_pdu_start(bhs, ISCSI_OP_NOP_OUT, 0x80);
        store_be32(bhs + ISCSI_AT_ITT, 500 + i);
        store_be32(bhs + ISCSI_AT_TTT, ISCSI_TAG_NONE);
        store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn++);
        wire_send(w, bhs, rig_pattern, sizes[i]);
        require(wire_expect(w, ISCSI_OP_NOP_IN, 500 + i, &p));
        expect_eq(p.data_bytes, min_of(sizes[i], 2048u));
        expect_eq(memcmp(p.data, rig_pattern, p.data_bytes), 0);
        expect_eq(load_be32(p.bhs + ISCSI_AT_TTT), ISCSI_TAG_NONE);
    }
    wire_close(w);
    rig_fini(&rig);
}

static void answer_ping(struct wire *w, const struct wire_pdu *ping)
{
    uint8_t bhs[ISCSI_BHS_BYTES];
    iscsi_pdu_start(bhs, ISCSI_OP_NOP_OUT, 0x80);
    bhs[0] |= ISCSI_OP_IMMEDIATE;
    store_be32(bhs + ISCSI_AT_ITT, ISCSI_TAG_NONE);
    memcpy(bhs + ISCSI_AT_TTT, ping->bhs + ISCSI_AT_TTT, 4);
    store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn);
    wire_send(w, bhs, NULL, 0);
}

static void idle_initiator_is_pinged_and_then_dropped(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    for (unsigned i = 0; i < 3; i++) {
        rig_run_ms(&rig, 16000);
        require(wire_expect(w, ISCSI_OP_NOP_IN, ISCSI_TAG_NONE, &p));
        answer_ping(w, &p);
    }
    rig_run_ms(&rig, 16000);
    require(wire_expect(w, ISCSI_OP_NOP_IN, ISCSI_TAG_NONE, &p));
    expect(!w->gone);
    rig_run_ms(&rig, 16000);
    expect(w->gone);
    wire_close(w);
    rig_fini(&rig);
}

static void unfinished_write_is_not_waited_for_for_ever(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x2A, 0, 512);
    require(wire_expect(w, ISCSI_OP_R2T, wire_command(w, WRITE, 0, cdb, 512 * 512, NULL, 0), &p));
    uint64_t before = sim_now(rig.sim);
    while (!w->gone && sim_now(rig.sim) - before < 200 * RT_SECOND) {
        rig_run_ms(&rig, 5000);
        if (w->gone) break;
        uint8_t bhs[ISCSI_BHS_BYTES] = {ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, 0x80};
        store_be32(bhs + ISCSI_AT_ITT, ISCSI_TAG_NONE);
        wire_send(w, bhs, NULL, 0);
    }
    expect(w->gone);
    wire_close(w);
    rig_fini(&rig);
}

static void logout_ends_the_session(void)
{
    static const struct {
        uint8_t reason, answer;
        uint16_t cid;
        bool ends;
    } rows[] = {{0, 0, 9, true}, {1, 0, 0, true}, {1, 1, 9, false}, {2, 2, 0, false}};
    for (unsigned i = 0; i < countof(rows); i++) {
        struct rig rig;
        rig_init(&rig, 0);
        struct wire *w = wire_session(&rig, NULL);
        struct wire_pdu p;
        uint8_t bhs[ISCSI_BHS_BYTES];
        iscsi_pdu_start(bhs, ISCSI_OP_LOGOUT_REQUEST, 0x80 | rows[i].reason);
        store_be32(bhs + ISCSI_AT_ITT, 900);
        store_be16(bhs + ISCSI_AT_CID, rows[i].cid);
        store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn++);
        wire_send(w, bhs, NULL, 0);
        require(wire_expect(w, ISCSI_OP_LOGOUT_RESPONSE, 900, &p));
        expect_eq(p.bhs[2], rows[i].answer);
        if (rows[i].ends)
            expect(wire_is_gone(w));
        else
            expect(wire_reads_as(w, 0, (uint8_t[512]){0}, 512));
        wire_close(w);
        rig_fini(&rig);
    }
}

/* ---- Connections that die ---- */

static void connection_cut_at_every_byte_of_a_write_leaves_nothing(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    enum { DATA = 12288, STREAM = ISCSI_BHS_BYTES + 512 + ISCSI_BHS_BYTES + DATA - 512 };
    uint8_t *stream = calloc(1, STREAM);
    struct wire *w = wire_session(&rig, KEYS);
    uint64_t idle = rt_buf_in_use_bytes(rig.rt);
    for (unsigned cut = 0; cut <= STREAM; cut += cut < 700 || cut > STREAM - 60 ? 1 : 97) {
        uint8_t *p = stream;
        iscsi_pdu_start(p, ISCSI_OP_COMMAND, MORE | 1);
        iscsi_pdu_set_data_bytes(p, 512);
        store_be32(p + ISCSI_AT_ITT, w->next_itt);
        store_be32(p + ISCSI_AT_EDTL, DATA);
        store_be32(p + ISCSI_AT_CMDSN, w->cmd_sn);
        wire_cdb10(p + ISCSI_AT_CDB, 0x2A, 0, DATA / 512);
        memset(p + ISCSI_BHS_BYTES, 'x', 512);
        p += ISCSI_BHS_BYTES + 512;
        iscsi_pdu_start(p, ISCSI_OP_DATA_OUT, 0x80);
        iscsi_pdu_set_data_bytes(p, DATA - 512);
        store_be32(p + ISCSI_AT_ITT, w->next_itt);
        store_be32(p + ISCSI_AT_TTT, ISCSI_TAG_NONE);
        store_be32(p + ISCSI_AT_BUFFER_OFFSET, 512);
        memset(p + ISCSI_BHS_BYTES, 'x', DATA - 512);
        wire_send_bytes(w, stream, cut);
        rig_run_ms(&rig, 20);
        if (cut < STREAM) expect_eq(memvol_counts(rig.pool).writes, 0);
        wire_close(w);
        rig_run_ms(&rig, 50);
        expect_eq(rt_buf_in_use_bytes(rig.rt), idle);
        w = wire_session(&rig, KEYS);
    }
    expect_eq(memvol_counts(rig.pool).writes, 1);
    wire_close(w);
    free(stream);
    rig_fini(&rig);
}

static void connection_cut_in_a_ping_leaves_nothing(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, KEYS);
    uint8_t bhs[ISCSI_BHS_BYTES];
    iscsi_pdu_start(bhs, ISCSI_OP_NOP_OUT, 0x80);
    iscsi_pdu_set_data_bytes(bhs, 100000);
    store_be32(bhs + ISCSI_AT_ITT, 900);
    store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn);
    wire_send_bytes(w, bhs, sizeof bhs);
    wire_send_bytes(w, rig_pattern, 50000);
    rig_run_ms(&rig, 100);
    expect(rt_buf_in_use_bytes(rig.rt) > rig.idle_bytes);
    wire_close(w);
    rig_fini(&rig);
}

static void connection_may_die_with_echoes_queued(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, KEYS);
    for (unsigned i = 0; i < 10; i++) {
        uint8_t bhs[ISCSI_BHS_BYTES];
        iscsi_pdu_start(bhs, ISCSI_OP_NOP_OUT, 0x80);
        store_be32(bhs + ISCSI_AT_ITT, 900 + i);
        store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn++);
        wire_send(w, bhs, rig_pattern, 200000);
    }
    wire_close(w);
    rig_fini(&rig);
}

static void connection_may_die_with_tasks_in_the_engine(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, KEYS);
    uint8_t cdb[16];
    memvol_hold(rig.pool, true);
    for (unsigned i = 0; i < 20; i++) {
        wire_read(w, i, 8);
        wire_cdb10(cdb, 0x2A, i, 8);
        wire_command(w, WRITE, 0, cdb, 4096, rig_pattern, 4096);
    }
    rig_run_ms(&rig, 100);
    expect_eq(memvol_held_count(rig.pool), 40);
    wire_close(w);
    rig_run_ms(&rig, 1000);
    expect_eq(rig.downs, 0); /* its tasks still run */
    memvol_hold(rig.pool, false);
    rig_run_ms(&rig, 100);
    expect_eq(rig.downs, 1);
    rig_fini(&rig);
}

static void slow_reader_is_dropped_with_its_answers_queued(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, KEYS);
    for (unsigned i = 0; i < 60; i++)
        wire_read(w, 0, 512); /* 15 MiB asked for */
    wire_close(w);
    rig_run_ms(&rig, 1000);
    rig_fini(&rig);
}

static void set_true(void *arg)
{
    *(bool *)arg = true;
}

static void dropping_a_host_waits_for_its_tasks(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *one = wire_session(&rig, NULL), *two = wire_login(&rig, RIG_TWO, NULL);
    bool done = false, again = false;
    memvol_hold(rig.pool, true);
    wire_read(one, 0, 8);
    rig_run_ms(&rig, 100);
    iscsi_server_drop_host(rig.server, &rig.host_one, set_true, &done);
    expect(wire_is_gone(one));
    rig_run_ms(&rig, 1000);
    expect(!done);
    memvol_hold(rig.pool, false);
    rig_run_ms(&rig, 100);
    expect(done);
    iscsi_server_drop_host(rig.server, &rig.host_one, set_true, &again); /* nobody there */
    rig_run_ms(&rig, 100);
    expect(again);
    expect(wire_is_silent(two));
    wire_close(one);
    wire_close(two);
    rig_fini(&rig);
}

static void closing_server_asks_for_logout_first(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    iscsi_server_close(take_ptr(&rig.server), set_true, &rig.closed);
    require(wire_expect(w, ISCSI_OP_ASYNC, ISCSI_TAG_NONE, &p));
    expect_eq(p.bhs[ISCSI_AT_ASYNC_EVENT], 1);
    expect(!rig.closed);
    expect(wire_is_gone(w));
    rig_run_ms(&rig, 100);
    expect(rig.closed);
    wire_close(w);
    rig_fini(&rig);
}

static void lun_may_go_under_a_write_that_is_coming_in(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, KEYS);
    struct wire_pdu p;
    uint8_t cdb[16];
    bool gone = false;
    wire_cdb10(cdb, 0x2A, 0, 8);
    uint32_t itt = wire_command(w, WRITE, 0, cdb, 4096, NULL, 0);
    require(wire_expect(w, ISCSI_OP_R2T, itt, &p));
    scsi_map_remove(rig.map, 0, set_true, &gone);
    rig_run_ms(&rig, 100);
    expect(!gone);
    wire_answer_r2t(w, &p, rig_pattern, 4096);
    require(wire_expect(w, ISCSI_OP_RESPONSE, itt, &p));
    expect_eq(wire_sense(&p), 0x052500);
    rig_run_ms(&rig, 100);
    expect(gone);
    expect_eq(memvol_counts(rig.pool).writes, 0);
    wire_close(w);
    rig_fini(&rig);
}

/* ---- Memory ---- */

static void writes_without_memory_wait_or_are_told_to_come_again(void)
{
    struct rig rig;
    rig_init(&rig, 2 * MIB); /* half of it is for transfers */
    struct wire *w = wire_session(&rig, KEYS "FirstBurstLength=262144\n");
    struct wire_pdu p;
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x2A, 0, 2048);
    uint32_t first = wire_command(w, WRITE, 0, cdb, MIB, NULL, 0); /* takes all there is */
    require(wire_expect(w, ISCSI_OP_R2T, first, &p));
    wire_cdb10(cdb, 0x2A, 4096, 8);
    uint32_t parked = wire_command(w, WRITE, 0, cdb, 4096, NULL, 0);
    expect(wire_is_silent(w));
    /* Its data is on the wire: it cannot wait for ever, since what frees memory comes behind it. */
    uint32_t refused = wire_command(w, MORE, 0, cdb, 4096, rig_pattern, 512);
    wire_data_out(w, 0x80, refused, ISCSI_TAG_NONE, 0, 512, rig_pattern, 4096 - 512);
    expect_eq(wire_status(w, refused), SCSI_STATUS_TASK_SET_FULL);
    /* The connection has waited once; it does not wait again for each command. */
    uint64_t before_ns = sim_now(rig.sim);
    for (unsigned i = 0; i < 20; i++) {
        refused = wire_command(w, MORE, 0, cdb, 4096, rig_pattern, 512);
        wire_data_out(w, 0x80, refused, ISCSI_TAG_NONE, 0, 512, rig_pattern, 4096 - 512);
        expect_eq(wire_status(w, refused), SCSI_STATUS_TASK_SET_FULL);
    }
    expect(sim_now(rig.sim) - before_ns < RT_SECOND);
    wire_answer_r2t(w, &p, rig_pattern, 262144);
    unsigned r2ts = 0, responses = 0;
    while (responses < 2) {
        require(wire_next(w, &p));
        if (p.opcode == ISCSI_OP_R2T) {
            r2ts++;
            wire_answer_r2t(w, &p, rig_pattern, 262144);
        }
        if (p.opcode == ISCSI_OP_RESPONSE) {
            responses++;
            expect(p.itt == first || p.itt == parked);
            expect_eq(p.bhs[3], 0);
        }
    }
    expect_eq(r2ts, 4); /* three more of the first, one of the parked */
    wire_close(w);
    rig_fini(&rig);
}

static void write_larger_than_all_memory_is_refused_in_the_end(void)
{
    struct rig rig;
    rig_init(&rig, 1 * MIB);
    struct wire *w = wire_session(&rig, KEYS);
    struct wire_pdu p;
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x2A, 0, 4096);
    uint32_t itt = wire_command(w, WRITE, 0, cdb, 2 * MIB, NULL, 0);
    bool came = false;
    for (unsigned i = 0; i < 12 && !came; i++) {
        if (!wire_next(w, &p)) continue;
        came = p.opcode != ISCSI_OP_NOP_IN;
        if (!came) answer_ping(w, &p);
    }
    require(came);
    expect_eq(p.itt, itt);
    expect_eq(p.bhs[3], SCSI_STATUS_TASK_SET_FULL);
    wire_close(w);
    rig_fini(&rig);
}

static void crash_leaves_nothing_to_free(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, KEYS);
    uint8_t cdb[16];
    memvol_hold(rig.pool, true);
    wire_read(w, 0, 8);
    wire_cdb10(cdb, 0x2A, 0, 512);
    wire_command(w, WRITE, 0, cdb, 512 * 512, rig_pattern, 512);
    rig_run_ms(&rig, 100);
    sim_node_crash(rig.node, SIM_CRASH_PROCESS);
    rig.crashed = true;
    expect(wire_is_gone(w));
    wire_close(w);
    rig_fini(&rig); /* under the address sanitizer: nothing leaks */
}

static void count_sessions(void *arg, const struct iscsi_session_info *info)
{
    struct iscsi_session_info *sum = arg;
    expect_str(info->initiator_name, RIG_ONE);
    *sum = *info;
}

static void sessions_are_counted(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct iscsi_session_info info = {0};
    iscsi_server_sessions(rig.server, count_sessions, &info);
    expect_eq(info.last_io_ns, 0); /* TEST UNIT READY is no I/O */
    expect(info.host == &rig.host_one);
    expect_eq(wire_write_now(w, 0, rig_pattern, 8192), 0);
    expect(wire_reads_as(w, 0, rig_pattern, 4096));
    iscsi_server_sessions(rig.server, count_sessions, &info);
    expect_eq(info.writes, 1);
    expect_eq(info.write_bytes, 8192);
    expect_eq(info.reads, 1);
    expect_eq(info.read_bytes, 4096);
    expect(info.last_io_ns > 0);
    wire_close(w);
    rig_fini(&rig);
}

int main(void)
{
    run(commands_outside_the_window_are_ignored);
    run(skipped_number_ends_the_connection);
    run(window_closes_and_opens);
    run(task_tag_in_use_is_rejected);
    run(immediate_commands_have_their_own_limit);
    run(odd_commands_are_rejected);
    run(nop_out_is_echoed);
    run(idle_initiator_is_pinged_and_then_dropped);
    run(unfinished_write_is_not_waited_for_for_ever);
    run(logout_ends_the_session);
    run(connection_cut_at_every_byte_of_a_write_leaves_nothing);
    run(connection_cut_in_a_ping_leaves_nothing);
    run(connection_may_die_with_echoes_queued);
    run(connection_may_die_with_tasks_in_the_engine);
    run(slow_reader_is_dropped_with_its_answers_queued);
    run(dropping_a_host_waits_for_its_tasks);
    run(closing_server_asks_for_logout_first);
    run(lun_may_go_under_a_write_that_is_coming_in);
    run(writes_without_memory_wait_or_are_told_to_come_again);
    run(write_larger_than_all_memory_is_refused_in_the_end);
    run(crash_leaves_nothing_to_free);
    run(sessions_are_counted);
    return tap_done();
}
