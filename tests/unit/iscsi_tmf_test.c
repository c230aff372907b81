/* Task management of the iSCSI target: RFC 7143 4.2.3, 11.5, 11.6. */
#include "tests/unit/iscsi_rig.h"

static uint8_t data[65536];

static uint32_t start_write(struct wire *w, unsigned lun)
{
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x2A, 0, 8);
    return wire_command(w, 0x80 | ISCSI_COMMAND_WRITE, lun, cdb, 4096, data, 4096);
}

/* The response code, 0xFE when something else came. */
static uint8_t tmf_response(struct wire *w, uint32_t itt)
{
    struct wire_pdu p;
    return wire_expect(w, ISCSI_OP_TMF_RESPONSE, itt, &p) ? p.bhs[2] : 0xFE;
}

static void aborted_task_is_not_answered_and_waited_for(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    memvol_hold(rig.pool, true);
    uint32_t victim = start_write(w, 0), other = start_write(w, 0);
    uint32_t tmf = wire_tmf(w, ISCSI_TMF_ABORT_TASK, 0, victim);
    expect(wire_is_silent(w)); /* it still runs in the engine */
    memvol_hold(rig.pool, false);
    struct wire_pdu p;
    bool told = false;
    for (unsigned i = 0; i < 2; i++) {
        require(wire_next(w, &p));
        if (p.opcode == ISCSI_OP_TMF_RESPONSE) {
            told = p.itt == tmf && p.bhs[2] == ISCSI_TMF_COMPLETE;
        } else {
            expect_eq(p.opcode, ISCSI_OP_RESPONSE);
            expect_eq(p.itt, other);
        }
    }
    expect(told);
    expect(wire_is_silent(w));
    wire_close(w);
    rig_fini(&rig);
}

static void task_whose_data_is_coming_is_aborted_at_once(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu r2t;
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x2A, 0, 128);
    uint32_t itt = wire_command(w, 0x80 | ISCSI_COMMAND_WRITE, 0, cdb, 65536, NULL, 0);
    require(wire_expect(w, ISCSI_OP_R2T, itt, &r2t));
    expect_eq(tmf_response(w, wire_tmf(w, ISCSI_TMF_ABORT_TASK, 0, itt)), ISCSI_TMF_COMPLETE);
    /* Data that was on its way is let pass, also with the slot in use again. */
    uint32_t tag = load_be32(r2t.bhs + ISCSI_AT_TTT);
    wire_data_out(w, 0x00, itt, tag, 0, 0, data, 32768);
    expect(wire_is_silent(w));
    expect_eq(memvol_counts(rig.pool).writes, 0);
    expect_eq(wire_status(w, start_write(w, 0)), 0);
    wire_close(w);
    rig_fini(&rig);
}

static void half_received_segment_is_waited_for(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *one = wire_session(&rig, NULL), *two = wire_login(&rig, RIG_TWO, NULL);
    struct wire_pdu r2t;
    uint8_t cdb[16], bhs[ISCSI_BHS_BYTES];
    wire_cdb10(cdb, 0x2A, 0, 128);
    uint32_t itt = wire_command(one, 0x80 | ISCSI_COMMAND_WRITE, 0, cdb, 65536, NULL, 0);
    require(wire_expect(one, ISCSI_OP_R2T, itt, &r2t));
    iscsi_pdu_start(bhs, ISCSI_OP_DATA_OUT, 0x80);
    iscsi_pdu_set_data_bytes(bhs, 65536);
    store_be32(bhs + ISCSI_AT_ITT, itt);
    memcpy(bhs + ISCSI_AT_TTT, r2t.bhs + ISCSI_AT_TTT, 4);
    wire_send_bytes(one, bhs, sizeof bhs);
    wire_send_bytes(one, data, 30000);
    rig_run_ms(&rig, 100);
    /* Another session resets the unit while the kernel fills the task's memory. */
    uint32_t tmf = wire_tmf(two, ISCSI_TMF_LUN_RESET, 0, ISCSI_TAG_NONE);
    expect(wire_is_silent(two));
    wire_send_bytes(one, data, 65536 - 30000);
    expect_eq(tmf_response(two, tmf), ISCSI_TMF_COMPLETE);
    expect(wire_is_silent(one));
    expect_eq(memvol_counts(rig.pool).writes, 0);
    wire_close(one);
    wire_close(two);
    rig_fini(&rig);
}

static void abort_task_set_takes_the_units_tasks_of_this_session(void)
{
    static const uint8_t functions[] = {ISCSI_TMF_ABORT_TASK_SET, ISCSI_TMF_CLEAR_TASK_SET};
    for (unsigned i = 0; i < 2; i++) {
        struct rig rig;
        rig_init(&rig, 0);
        struct wire *w = wire_session(&rig, NULL);
        memvol_hold(rig.pool, true);
        start_write(w, 0);
        start_write(w, 0);
        uint32_t kept = start_write(w, 1);
        uint32_t tmf = wire_tmf(w, functions[i], 0, ISCSI_TAG_NONE);
        expect(wire_is_silent(w));
        memvol_hold(rig.pool, false);
        struct wire_pdu p;
        for (unsigned n = 0; n < 2; n++) {
            require(wire_next(w, &p));
            expect(p.itt == tmf || p.itt == kept);
        }
        expect(wire_is_silent(w));
        wire_close(w);
        rig_fini(&rig);
    }
}

static void unit_reset_reaches_every_session(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *one = wire_session(&rig, NULL), *two = wire_login(&rig, RIG_TWO, NULL);
    struct wire_pdu p;
    memvol_hold(rig.pool, true);
    start_write(one, 0);
    uint32_t kept = start_write(one, 1);
    rig_run_ms(&rig, 100);
    uint32_t tmf = wire_tmf(two, ISCSI_TMF_LUN_RESET, 0, ISCSI_TAG_NONE);
    expect(wire_is_silent(two));
    memvol_hold(rig.pool, false);
    expect_eq(tmf_response(two, tmf), ISCSI_TMF_COMPLETE);
    expect_eq(wire_status(one, kept), 0);
    /* The other session learns of it by a unit attention. */
    uint32_t itt = wire_read(one, 0, 1);
    require(wire_expect(one, ISCSI_OP_RESPONSE, itt, &p));
    expect_eq(wire_sense(&p) >> 8, 0x0629);
    wire_close(one);
    wire_close(two);
    rig_fini(&rig);
}

/* Answers that are queued behind others are taken back; what was begun to be sent is sent. */
static void answers_not_yet_sent_are_dropped(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p = {0};
    uint32_t next = 0;
    unsigned whole = 0;
    memvol_hold(rig.pool, true);
    for (unsigned i = 0; i < 20; i++)
        wire_read(w, 0, 512); /* 256 KiB each */
    rig_run_ms(&rig, 100);
    memvol_hold(rig.pool, false);
    rig_run_ms(&rig, 1);
    uint32_t tmf = wire_tmf(w, ISCSI_TMF_ABORT_TASK_SET, 0, ISCSI_TAG_NONE);
    while (p.opcode != ISCSI_OP_TMF_RESPONSE) {
        require(wire_next(w, &p));
        if (p.opcode != ISCSI_OP_DATA_IN) continue;
        expect_eq(load_be32(p.bhs + ISCSI_AT_BUFFER_OFFSET), next);
        next = p.flags & ISCSI_DATA_IN_STATUS ? 0 : next + p.data_bytes;
        if (p.flags & ISCSI_DATA_IN_STATUS) whole++;
    }
    expect_eq(p.itt, tmf);
    expect(whole > 0 && whole < 20);
    expect_eq(next, 0); /* none was left half-way */
    expect(wire_is_silent(w));
    expect_eq(wire_status(w, start_write(w, 0)), 0);
    wire_close(w);
    rig_fini(&rig);
}

static void target_reset_takes_all_units(void)
{
    for (unsigned cold = 0; cold < 2; cold++) {
        struct rig rig;
        rig_init(&rig, 0);
        struct wire *w = wire_session(&rig, NULL);
        memvol_hold(rig.pool, true);
        start_write(w, 0);
        start_write(w, 1);
        uint32_t tmf =
            wire_tmf(w, cold ? ISCSI_TMF_COLD_RESET : ISCSI_TMF_WARM_RESET, 0, ISCSI_TAG_NONE);
        expect(wire_is_silent(w));
        memvol_hold(rig.pool, false);
        expect_eq(tmf_response(w, tmf), ISCSI_TMF_COMPLETE);
        if (cold)
            expect(wire_is_gone(w));
        else
            expect(wire_is_silent(w));
        wire_close(w);
        rig_fini(&rig);
    }
}

static void what_cannot_be_done_is_said(void)
{
    static const struct {
        uint8_t function, response;
        unsigned lun;
    } rows[] = {
        {ISCSI_TMF_ABORT_TASK, ISCSI_TMF_NO_TASK, 0},
        {ISCSI_TMF_ABORT_TASK_SET, ISCSI_TMF_COMPLETE, 1},
        {ISCSI_TMF_ABORT_TASK_SET, ISCSI_TMF_NO_LUN, 7},
        {ISCSI_TMF_LUN_RESET, ISCSI_TMF_NO_LUN, 7},
        {ISCSI_TMF_CLEAR_ACA, ISCSI_TMF_NOT_SUPPORTED, 0},
        {ISCSI_TMF_TASK_REASSIGN, ISCSI_TMF_NO_REASSIGN, 0},
        {77, ISCSI_TMF_NOT_SUPPORTED, 0},
    };
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    for (unsigned i = 0; i < countof(rows); i++)
        expect_eq(tmf_response(w, wire_tmf(w, rows[i].function, rows[i].lun, 4711)),
                  rows[i].response);
    wire_close(w);
    rig_fini(&rig);
}

static void abort_of_a_task_of_another_unit_finds_nothing(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    memvol_hold(rig.pool, true);
    uint32_t itt = start_write(w, 0);
    expect_eq(tmf_response(w, wire_tmf(w, ISCSI_TMF_ABORT_TASK, 1, itt)), ISCSI_TMF_NO_TASK);
    memvol_hold(rig.pool, false);
    expect_eq(wire_status(w, itt), 0);
    wire_close(w);
    rig_fini(&rig);
}

static void several_functions_may_wait_for_one_task(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    memvol_hold(rig.pool, true);
    uint32_t itt = start_write(w, 0);
    uint32_t first = wire_tmf(w, ISCSI_TMF_ABORT_TASK, 0, itt);
    uint32_t second = wire_tmf(w, ISCSI_TMF_LUN_RESET, 0, ISCSI_TAG_NONE);
    expect(wire_is_silent(w));
    memvol_hold(rig.pool, false);
    expect_eq(tmf_response(w, first), ISCSI_TMF_COMPLETE);
    expect_eq(tmf_response(w, second), ISCSI_TMF_COMPLETE);
    wire_close(w);
    rig_fini(&rig);
}

static void asker_may_go_before_the_answer(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *one = wire_session(&rig, NULL), *two = wire_login(&rig, RIG_TWO, NULL);
    memvol_hold(rig.pool, true);
    start_write(one, 0);
    rig_run_ms(&rig, 100);
    wire_tmf(two, ISCSI_TMF_LUN_RESET, 0, ISCSI_TAG_NONE);
    rig_run_ms(&rig, 100);
    wire_close(two);
    rig_run_ms(&rig, 100);
    expect_eq(rig.downs, 1);
    memvol_hold(rig.pool, false);
    expect(wire_is_silent(one));
    wire_close(one);
    rig_fini(&rig);
}

/* More functions than there are slots and replies: the rest waits or is refused, nothing breaks. */
static void flood_of_functions_is_survived(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    memvol_hold(rig.pool, true);
    start_write(w, 0);
    for (unsigned i = 0; i < 100; i++)
        wire_tmf(w, ISCSI_TMF_LUN_RESET, 0, ISCSI_TAG_NONE);
    rig_run_ms(&rig, 1000);
    memvol_hold(rig.pool, false);
    for (unsigned i = 0; i < 100; i++) {
        require(wire_next(w, &p));
        expect_eq(p.opcode, ISCSI_OP_TMF_RESPONSE);
        expect_eq(p.bhs[2], ISCSI_TMF_COMPLETE);
    }
    wire_close(w);
    rig_fini(&rig);
}

int main(void)
{
    run(aborted_task_is_not_answered_and_waited_for);
    run(task_whose_data_is_coming_is_aborted_at_once);
    run(half_received_segment_is_waited_for);
    run(abort_task_set_takes_the_units_tasks_of_this_session);
    run(unit_reset_reaches_every_session);
    run(answers_not_yet_sent_are_dropped);
    run(target_reset_takes_all_units);
    run(what_cannot_be_done_is_said);
    run(abort_of_a_task_of_another_unit_finds_nothing);
    run(several_functions_may_wait_for_one_task);
    run(asker_may_go_before_the_answer);
    run(flood_of_functions_is_survived);
    return tap_done();
}
