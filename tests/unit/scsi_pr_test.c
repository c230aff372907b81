/* Reservations: SPC-2 RESERVE, persistent reservations: who may do what under each type, who hears of it. */
#include "base/endian.h"
#include "tests/lib/scsi_rig.h"
#include "tests/lib/tap.h"

static struct rig rig;
static struct scsi_nexus *a, *b, *c;

enum { REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE };
enum { CONFLICT = SCSI_STATUS_RESERVATION_CONFLICT };
static const uint8_t types[] = {1, 3, 5, 6, 7, 8};

static uint8_t pr_out_flags(struct scsi_nexus *nexus, uint8_t action, uint8_t type, uint64_t key,
                            uint64_t action_key, uint8_t flags)
{
    uint8_t list[24] = {0};
    store_be64(list, key);
    store_be64(list + 8, action_key);
    list[20] = flags;
    return rig_out(&rig, nexus, 0, (uint8_t[10]){0x5F, action, type, [8] = 24}, 10, list, 24)
        ->status;
}

static uint8_t pr_out(struct scsi_nexus *nexus, uint8_t action, uint8_t type, uint64_t key,
                      uint64_t action_key)
{
    return pr_out_flags(nexus, action, type, key, action_key, 0);
}

static struct reply *pr_in(struct scsi_nexus *nexus, uint8_t action)
{
    return rig_cdb(&rig, nexus, 0, (uint8_t[10]){0x5E, action, [7] = 0x40}, 10);
}

static uint8_t read_block(struct scsi_nexus *nexus)
{
    return rig_cdb(&rig, nexus, 0, (uint8_t[10]){0x28, [8] = 1}, 10)->status;
}

static uint8_t write_block(struct scsi_nexus *nexus)
{
    static const uint8_t block[512];
    return rig_out(&rig, nexus, 0, (uint8_t[10]){0x2A, [8] = 1}, 10, block, 512)->status;
}

static uint16_t attention(struct scsi_nexus *nexus)
{
    struct reply *r = rig_cdb(&rig, nexus, 0, (uint8_t[6]){0}, 6);
    return r->status == SCSI_STATUS_GOOD ? 0 : r->asc;
}

static uint32_t generation(void)
{
    return load_be32(pr_in(a, 0)->data);
}

/* No registration, no reservation, nothing pending. */
static void start_anew(void)
{
    pr_out(a, REGISTER_AND_IGNORE, 0, 0, 1);
    pr_out(a, CLEAR, 0, 1, 0);
    rig_settle(&rig, a, 0);
    rig_settle(&rig, b, 0);
    rig_settle(&rig, c, 0);
}

static void reserve_6_keeps_others_out_until_it_ends(void)
{
    static const uint8_t reserve[6] = {0x16}, release[6] = {0x17};
    start_anew();
    expect_eq(rig_cdb(&rig, a, 0, reserve, 6)->status, 0);
    expect_eq(rig_cdb(&rig, a, 0, reserve, 6)->status, 0);
    expect_eq(rig_cdb(&rig, b, 0, reserve, 6)->status, CONFLICT);
    expect_eq(rig_cdb(&rig, b, 0, release, 6)->status, 0); /* does nothing */
    expect_eq(rig_cdb(&rig, b, 0, (uint8_t[6]){0x1A, 0, 0x3F, 0, 255, 0}, 6)->status, CONFLICT);
    expect_eq(rig_cdb(&rig, a, 0, (uint8_t[6]){0x1A, 0, 0x3F, 0, 255, 0}, 6)->status, 0);
    expect_eq(read_block(b), CONFLICT);
    expect_eq(write_block(b), CONFLICT);
    expect_eq(rig_cdb(&rig, b, 0, (uint8_t[6]){0}, 6)->status, CONFLICT);
    expect_eq(pr_out(b, REGISTER, 0, 0, 5), CONFLICT);
    expect_eq(rig_cdb(&rig, b, 0, (uint8_t[6]){0x12, 0, 0, 0, 96, 0}, 6)->status, 0);
    expect_eq(rig_cdb(&rig, b, 0, (uint8_t[10]){0x25}, 10)->status, 0);
    expect_eq(rig_cdb(&rig, a, 0, release, 6)->status, 0);
    expect_eq(write_block(b), 0);
    /* The loss of the nexus and a reset end it too. */
    struct scsi_nexus *lost = rig_nexus(&rig, rig.map, "iqn.test:lost");
    rig_settle(&rig, lost, 0);
    expect_eq(rig_cdb(&rig, lost, 0, reserve, 6)->status, 0);
    expect_eq(write_block(b), CONFLICT);
    scsi_nexus_destroy(lost);
    expect_eq(write_block(b), 0);
    struct err *e = scsi_map_add(rig.map, 3, rig.lun); /* unmapping does, for who had it there */
    require(!e);
    expect_eq(rig_cdb(&rig, a, 0, reserve, 6)->status, 0x02);
    expect_eq(rig_cdb(&rig, a, 0, reserve, 6)->status, 0);
    scsi_map_remove(rig.map, 3, NULL, NULL);
    rig_run_idle(&rig);
    rig_settle(&rig, b, 0);
    expect_eq(write_block(b), 0);
    expect_eq(rig_cdb(&rig, a, 0, reserve, 6)->status, 0x02);
    expect_eq(rig_cdb(&rig, a, 0, reserve, 6)->status, 0);
    scsi_lun_reset(b, (uint8_t[8]){0});
    rig_settle(&rig, a, 0);
    rig_settle(&rig, b, 0);
    rig_settle(&rig, c, 0);
    expect_eq(write_block(b), 0);
}

static void the_two_kinds_of_reservation_do_not_mix(void)
{
    start_anew();
    expect_eq(pr_out(a, REGISTER, 0, 0, 1), 0);
    expect_eq(rig_cdb(&rig, a, 0, (uint8_t[6]){0x16}, 6)->status, CONFLICT);
    expect_eq(rig_cdb(&rig, b, 0, (uint8_t[6]){0x17}, 6)->status, CONFLICT);
}

static void registration_follows_its_key(void)
{
    start_anew();
    uint32_t before = generation();
    expect_eq(pr_out(a, REGISTER, 0, 9, 1), CONFLICT); /* not registered, key not 0 */
    expect_eq(pr_out(a, REGISTER, 0, 0, 0), 0);        /* nothing to do */
    expect_eq(generation(), before);
    expect_eq(pr_out(a, REGISTER, 0, 0, 0x1122334455667788), 0);
    expect_eq(generation(), before + 1);
    struct reply *r = pr_in(b, 0);
    expect_eq(r->size, 16);
    expect_eq(load_be32(r->data + 4), 8);
    expect_eq(load_be64(r->data + 8), 0x1122334455667788);
    expect_eq(pr_out(a, REGISTER, 0, 0, 5), CONFLICT); /* registered: the key must be right */
    expect_eq(pr_out(a, REGISTER, 0, 0x1122334455667788, 5), 0);
    expect_eq(load_be64(pr_in(b, 0)->data + 8), 5);
    expect_eq(pr_out(a, REGISTER_AND_IGNORE, 0, 77, 6), 0);
    expect_eq(load_be64(pr_in(b, 0)->data + 8), 6);
    expect_eq(pr_out(a, REGISTER, 0, 6, 0), 0);
    expect_eq(pr_in(b, 0)->size, 8);
    expect_eq(generation(), before + 4);
    /* The length is told in full when the list is cut. */
    pr_out(a, REGISTER, 0, 0, 5);
    r = rig_cdb(&rig, b, 0, (uint8_t[10]){0x5E, 0, [8] = 8}, 10);
    expect_eq(r->size, 8);
    expect_eq(load_be32(r->data + 4), 8);
}

static void only_registered_keys_may_act(void)
{
    start_anew();
    for (uint8_t action = RESERVE; action <= PREEMPT_AND_ABORT; action++) {
        expect_eq(pr_out(a, action, 1, 0, 0), CONFLICT);
        expect_eq(pr_out(a, action, 1, 5, 5), CONFLICT);
    }
    pr_out(a, REGISTER, 0, 0, 5);
    for (uint8_t action = RESERVE; action <= PREEMPT_AND_ABORT; action++) {
        expect_eq(pr_out(a, action, 1, 6, 5), CONFLICT);
    }
    expect_eq(load_be64(pr_in(a, 0)->data + 8), 5);
}

static void each_type_lets_in_whom_it_should(void)
{
    /* registered read, registered write, stranger's read, stranger's write */
    static const bool may[6][4] = {{1, 0, 1, 0}, {0, 0, 0, 0}, {1, 1, 1, 0},
                                   {1, 1, 0, 0}, {1, 1, 1, 0}, {1, 1, 0, 0}};
    for (unsigned i = 0; i < 6; i++) {
        start_anew();
        pr_out(a, REGISTER, 0, 0, 1);
        pr_out(b, REGISTER, 0, 0, 2);
        expect_eq(pr_out(a, RESERVE, types[i], 1, 0), 0);
        expect_eq(pr_out(a, RESERVE, types[i], 1, 0), 0); /* again is fine */
        expect_eq(pr_out(a, RESERVE, types[(i + 1) % 6], 1, 0), CONFLICT);
        expect_eq(pr_out(b, RESERVE, types[i], 2, 0), types[i] >= 7 ? 0 : CONFLICT);
        struct reply *r = pr_in(c, 1);
        expect_eq(r->size, 24);
        expect_eq(load_be64(r->data + 8), types[i] >= 7 ? 0 : 1);
        expect_eq(r->data[21], types[i]);
        expect_eq(read_block(a), 0);
        expect_eq(write_block(a), 0);
        expect_eq(read_block(b), may[i][0] ? 0 : CONFLICT);
        expect_eq(write_block(b), may[i][1] ? 0 : CONFLICT);
        expect_eq(read_block(c), may[i][2] ? 0 : CONFLICT);
        expect_eq(write_block(c), may[i][3] ? 0 : CONFLICT);
        expect_eq(rig_cdb(&rig, c, 0, (uint8_t[10]){0x42, [8] = 24}, 10)->status, CONFLICT);
        expect_eq(rig_cdb(&rig, c, 0, (uint8_t[16]){0x8F, [13] = 1}, 16)->status,
                  may[i][2] ? 0 : CONFLICT);
        expect_eq(attention(c), 0); /* TEST UNIT READY is free */
        expect_eq(rig_cdb(&rig, c, 0, (uint8_t[10]){0x25}, 10)->status, 0);
        expect_eq(pr_out(a, RELEASE, types[i], 1, 0), 0);
        expect_eq(attention(a), 0);
        expect_eq(attention(b), types[i] >= 5 ? 0x2A04 : 0);
        expect_eq(pr_in(c, 1)->size, 8);
        expect_eq(write_block(c), 0);
    }
}

static void release_needs_the_right_type(void)
{
    start_anew();
    pr_out(a, REGISTER, 0, 0, 1);
    pr_out(b, REGISTER, 0, 0, 2);
    expect_eq(pr_out(a, RELEASE, 1, 1, 0), 0); /* none: nothing to do */
    pr_out(a, RESERVE, 5, 1, 0);
    expect_eq(pr_out(b, RELEASE, 5, 2, 0), 0); /* not the holder: nothing happens */
    expect_eq(pr_in(c, 1)->size, 24);
    expect_eq(pr_out(a, RELEASE, 1, 1, 0), SCSI_STATUS_CHECK_CONDITION);
    expect_eq(rig.reply.asc, 0x2604);
    expect_eq(pr_in(c, 1)->size, 24);
}

static void the_holder_takes_the_reservation_with_it(void)
{
    for (unsigned i = 0; i < 6; i++) {
        start_anew();
        pr_out(a, REGISTER, 0, 0, 1);
        pr_out(b, REGISTER, 0, 0, 2);
        pr_out(a, RESERVE, types[i], 1, 0);
        expect_eq(pr_out(a, REGISTER, 0, 1, 0), 0);
        expect_eq(pr_in(a, 1)->size,
                  types[i] >= 7 ? 24 : 8); /* the last registrant holds it still */
        expect_eq(attention(a), 0);
        expect_eq(attention(b), types[i] == 5 || types[i] == 6 ? 0x2A04 : 0);
        if (types[i] < 7) continue;
        expect_eq(pr_out(b, RELEASE, types[i], 2, 0), 0);
        pr_out(b, RESERVE, types[i], 2, 0);
        pr_out(b, REGISTER, 0, 2, 0);
        expect_eq(pr_in(a, 1)->size, 8);
    }
}

static void the_holder_is_kept_when_others_unregister(void)
{
    start_anew();
    pr_out(a, REGISTER, 0, 0, 1);
    pr_out(b, REGISTER, 0, 0, 2);
    pr_out(c, REGISTER, 0, 0, 3);
    pr_out(c, RESERVE, 3, 3, 0);
    pr_out(a, REGISTER, 0, 1, 0);
    pr_out(b, REGISTER, 0, 2, 0);
    struct reply *r = pr_in(a, 1);
    expect_eq(load_be64(r->data + 8), 3);
    expect_eq(write_block(c), 0);
    expect_eq(write_block(b), CONFLICT);
    pr_out(c, CLEAR, 0, 3, 0);
}

static void clear_removes_all_and_tells_the_others(void)
{
    start_anew();
    pr_out(a, REGISTER, 0, 0, 1);
    pr_out(b, REGISTER, 0, 0, 2);
    pr_out(a, RESERVE, 3, 1, 0);
    expect_eq(pr_out(b, CLEAR, 0, 2, 0), 0);
    expect_eq(pr_in(b, 0)->size, 8);
    expect_eq(pr_in(b, 1)->size, 8);
    expect_eq(attention(a), 0x2A03);
    expect_eq(attention(b), 0);
    expect_eq(attention(c), 0);
}

static void preempt_takes_the_reservation_of_the_key(void)
{
    for (unsigned i = 0; i < 4; i++) { /* the types with one holder */
        start_anew();
        pr_out(a, REGISTER, 0, 0, 1);
        pr_out(b, REGISTER, 0, 0, 2);
        pr_out(c, REGISTER, 0, 0, 3);
        pr_out(a, RESERVE, types[i], 1, 0);
        uint32_t before = generation();
        expect_eq(pr_out(b, PREEMPT, 5, 2, 1), 0);
        expect_eq(attention(a), 0x2A05);
        expect_eq(attention(b), 0);
        expect_eq(attention(c), types[i] != 5 ? 0x2A04 : 0); /* told when the type changed */
        struct reply *r = pr_in(a, 1);
        expect_eq(load_be64(r->data + 8), 2);
        expect_eq(r->data[21], 5);
        expect_eq(pr_in(a, 0)->size, 8 + 16);
        expect_eq(generation(), before + 1);
        expect_eq(write_block(a), CONFLICT);
        expect_eq(write_block(b), 0);
        pr_out(b, CLEAR, 0, 2, 0);
    }
}

static void preempt_of_another_key_removes_registrations_only(void)
{
    start_anew();
    pr_out(a, REGISTER, 0, 0, 1);
    pr_out(b, REGISTER, 0, 0, 2);
    pr_out(c, REGISTER, 0, 0, 2);
    pr_out(a, RESERVE, 6, 1, 0);
    expect_eq(pr_out(a, PREEMPT, 1, 1, 77), CONFLICT);
    expect_eq(pr_out(a, PREEMPT, 1, 1, 0), SCSI_STATUS_CHECK_CONDITION);
    expect_eq(rig.reply.asc, 0x2600);
    expect_eq(pr_out(a, PREEMPT, 1, 1, 2), 0);
    expect_eq(attention(b), 0x2A05);
    expect_eq(attention(c), 0x2A05);
    struct reply *r = pr_in(a, 1);
    expect_eq(load_be64(r->data + 8), 1);
    expect_eq(r->data[21], 6);
    expect_eq(pr_in(a, 0)->size, 16);
}

static void preempt_of_all_registrants_with_key_0_leaves_the_sender_alone(void)
{
    start_anew();
    pr_out(a, REGISTER, 0, 0, 1);
    pr_out(b, REGISTER, 0, 0, 2);
    pr_out(c, REGISTER, 0, 0, 3);
    pr_out(a, RESERVE, 8, 1, 0);
    expect_eq(pr_out(c, PREEMPT, 8, 3, 2), 0); /* one of them */
    expect_eq(attention(b), 0x2A05);
    expect_eq(pr_in(c, 1)->data[21], 8);
    expect_eq(pr_out(c, PREEMPT, 3, 3, 0), 0);
    expect_eq(attention(a), 0x2A05);
    struct reply *r = pr_in(c, 1);
    expect_eq(load_be64(r->data + 8), 3);
    expect_eq(r->data[21], 3);
    pr_out(c, CLEAR, 0, 3, 0);
}

static void preempt_of_the_own_key_changes_the_type(void)
{
    start_anew();
    pr_out(a, REGISTER, 0, 0, 1);
    pr_out(a, RESERVE, 1, 1, 0);
    expect_eq(pr_out(a, PREEMPT, 3, 1, 1), 0);
    struct reply *r = pr_in(a, 1);
    expect_eq(load_be64(r->data + 8), 1);
    expect_eq(r->data[21], 3);
    expect_eq(attention(a), 0);
}

static void preempt_and_abort_waits_for_the_tasks_of_the_preempted(void)
{
    static struct rig_task running, begun, preempt;
    start_anew();
    pr_out(a, REGISTER, 0, 0, 1);
    pr_out(b, REGISTER, 0, 0, 2);
    pr_out(a, RESERVE, 5, 1, 0);
    memvol_hold(rig.pool, true);
    static uint8_t block[512], list[24] = {[7] = 2, [15] = 1};
    struct iovec v = {block, 512}, pv = {list, 24};
    uint8_t field[8] = {0};
    scsi_task_begin(&running.task, a, field, (uint8_t[10]){0x2F, 0, [7] = 8, 0},
                    10); /* VERIFY, steps */
    rig_execute(&running);
    scsi_task_begin(&begun.task, a, field, (uint8_t[10]){0x2A, [8] = 1}, 10);
    scsi_task_begin(&preempt.task, b, field, (uint8_t[10]){0x5F, 5, 5, [8] = 24}, 10);
    preempt.task.out_iov = &pv;
    preempt.task.out_iov_count = 1;
    preempt.task.out_bytes = 24;
    rig_execute(&preempt);
    rig_run_idle(&rig);
    expect(!preempt.done);
    memvol_hold(rig.pool, false);
    rig_run_idle(&rig);
    expect(running.done && preempt.done);
    expect_eq(running.task.scsi_status, SCSI_STATUS_TASK_ABORTED);
    expect_eq(preempt.task.scsi_status, 0);
    /* The write whose data comes now must not land. */
    uint64_t writes = memvol_counts(rig.pool).writes;
    begun.task.out_iov = &v;
    begun.task.out_iov_count = 1;
    begun.task.out_bytes = 512;
    rig_execute(&begun);
    rig_run_idle(&rig);
    expect_eq(begun.task.scsi_status, CONFLICT);
    expect_eq(memvol_counts(rig.pool).writes, writes);
    scsi_task_release(&running.task);
    scsi_task_release(&begun.task);
    scsi_task_release(&preempt.task);
    pr_out(b, CLEAR, 0, 2, 0);
}

static void begin_preempt_and_abort(struct rig_task *preempt, struct scsi_nexus *nexus,
                                    struct iovec *list)
{
    static const uint8_t field[8];
    scsi_task_begin(&preempt->task, nexus, field, (uint8_t[10]){0x5F, 5, 5, [8] = 24}, 10);
    preempt->task.out_iov = list;
    preempt->task.out_iov_count = 1;
    preempt->task.out_bytes = 24;
    rig_execute(preempt);
    rig_run_idle(&rig);
}

/* Challenge and defence of two nodes: the second cancels the first, which still waits. */
static void two_that_preempt_and_abort_each_other_both_end(void)
{
    static struct rig_task running, first, second;
    static uint8_t list_b[24] = {[7] = 2, [15] = 1}, list_a[24] = {[7] = 1, [15] = 2};
    static const uint8_t field[8];
    start_anew();
    pr_out(a, REGISTER, 0, 0, 1);
    pr_out(b, REGISTER, 0, 0, 2);
    pr_out(a, RESERVE, 5, 1, 0);
    memvol_hold(rig.pool, true);
    scsi_task_begin(&running.task, a, field, (uint8_t[10]){0x2F, 0, [7] = 8, 0}, 10);
    rig_execute(&running);
    begin_preempt_and_abort(&first, b, &(struct iovec){list_b, 24});
    expect_eq(attention(a), 0x2A05);
    expect_eq(pr_out(a, REGISTER, 0, 0, 1), 0);
    begin_preempt_and_abort(&second, a, &(struct iovec){list_a, 24});
    expect(!first.done && !second.done);
    memvol_hold(rig.pool, false);
    rig_run_idle(&rig);
    expect(running.done && first.done && second.done);
    expect_eq(second.task.scsi_status, 0);
    scsi_task_release(&running.task);
    scsi_task_release(&first.task);
    scsi_task_release(&second.task);
    expect_eq(attention(b), 0x2A05);
    pr_out(a, CLEAR, 0, 1, 0);
}

static void a_registration_outlives_its_session_and_belongs_to_the_port(void)
{
    start_anew();
    struct scsi_nexus *n = rig_nexus(&rig, rig.map, "iqn.test:back");
    rig_settle(&rig, n, 0);
    pr_out(n, REGISTER, 0, 0, 4);
    pr_out(n, RESERVE, 3, 4, 0);
    scsi_nexus_destroy(n);
    expect_eq(write_block(a), CONFLICT);
    n = rig_nexus(&rig, rig.map, "iqn.test:back");
    rig_settle(&rig, n, 0);
    expect_eq(write_block(n), 0);
    expect_eq(pr_out(n, CLEAR, 0, 4, 0), 0);
    scsi_nexus_destroy(n);
    /* Another ISID or port is another nexus. */
    struct scsi_nexus_options o = {.map = rig.map,
                                   .initiator_name = "iqn.test:a",
                                   .isid = {0x80, 1, 2, 3, 4, 6},
                                   .target_name = "iqn.x",
                                   .relative_target_port = 3};
    struct err *e = scsi_nexus_create(&o, &n);
    require(!e);
    rig_settle(&rig, n, 0);
    pr_out(a, REGISTER, 0, 0, 1);
    expect_eq(pr_out(n, RESERVE, 1, 1, 0), CONFLICT);
    scsi_nexus_destroy(n);
}

static void full_status_names_every_port(void)
{
    start_anew();
    pr_out(a, REGISTER, 0, 0, 1);
    pr_out(b, REGISTER, 0, 0, 2);
    pr_out(b, RESERVE, 3, 2, 0);
    struct reply *r = pr_in(c, 3);
    const uint8_t *p = r->data + 8;
    expect_eq(load_be32(r->data + 4), r->size - 8);
    expect_eq(load_be64(p), 1);
    expect_eq(p[12], 0);
    expect_eq(load_be16(p + 18), 3);
    expect_eq(p[24], 0x45);
    expect_str((const char *)p + 28, "iqn.test:a,i,0x800102030405");
    expect_eq(load_be16(p + 26), 28);
    expect_eq(load_be32(p + 20), 32);
    p += 24 + load_be32(p + 20);
    expect_eq(load_be64(p), 2);
    expect_eq(p[12], 1);
    expect_eq(p[13], 3);
    pr_out(b, CLEAR, 0, 2, 0);
}

static void capabilities_and_wrong_requests(void)
{
    start_anew();
    static const uint8_t expected[8] = {0, 8, 0, 0x80, 0xEA, 0x01};
    struct reply *r = pr_in(a, 2);
    expect_eq(r->size, 8);
    expect(memcmp(r->data, expected, 8) == 0);
    for (uint8_t action = 4; action < 0x20; action++) {
        r = pr_in(a, action);
        expect_eq(r->status, SCSI_STATUS_CHECK_CONDITION);
        expect_eq(r->asc, 0x2400);
    }
    expect_eq(pr_out(a, 7, 0, 0, 1), SCSI_STATUS_CHECK_CONDITION);
    for (uint8_t flag = 1; flag <= 8; flag = (uint8_t)(flag << 1)) {
        if (flag == 2) continue;
        expect_eq(pr_out_flags(a, REGISTER, 0, 0, 1, flag), SCSI_STATUS_CHECK_CONDITION);
        expect_eq(rig.reply.asc, 0x2600);
    }
    expect_eq(rig_cdb(&rig, a, 0, (uint8_t[10]){0x5F, 0, [8] = 23}, 10)->asc, 0x1A00);
    uint8_t list[24] = {0};
    expect_eq(rig_out(&rig, a, 0, (uint8_t[10]){0x5F, 0, [8] = 24}, 10, list, 20)->asc, 0x1A00);
    pr_out(a, REGISTER, 0, 0, 1);
    for (uint8_t type = 0; type < 16; type++) {
        bool valid = type == 1 || type == 3 || (type >= 5 && type <= 8);
        expect_eq(pr_out(a, RESERVE, type, 1, 0), valid ? 0 : SCSI_STATUS_CHECK_CONDITION);
        if (valid) expect_eq(pr_out(a, RELEASE, type, 1, 0), 0);
    }
    expect_eq(pr_out(a, RESERVE, 0x11, 1, 0), SCSI_STATUS_CHECK_CONDITION);
}

/* ---- What outlives a restart (APTPL) -------------------------------------------------------------- */

static struct {
    unsigned calls, count;
    struct scsi_registration first;
    void (*done)(void *arg, struct err *e);
    void *arg;
} keeper;

static void keep(void *arg, const struct uuid *object, const struct scsi_registration *registrations,
                 unsigned count, void (*done)(void *done_arg, struct err *e), void *done_arg)
{
    (void)arg, (void)object;
    keeper.calls++;
    keeper.count = count;
    if (count) keeper.first = registrations[0];
    keeper.done = done;
    keeper.arg = done_arg;
}

/* Begins PERSISTENT RESERVE OUT at LUN 3. */
static void begin_at_3(struct rig_task *task, struct scsi_nexus *nexus, uint8_t action, uint64_t key,
                       uint64_t action_key, uint8_t flags)
{
    static uint8_t list[24];
    static struct iovec out;
    store_be64(list, key);
    store_be64(list + 8, action_key);
    list[20] = flags;
    out = (struct iovec){.iov_base = list, .iov_len = sizeof list};
    memset(&task->task, 0, sizeof task->task);
    scsi_task_begin(&task->task, nexus, (uint8_t[8]){0, 3},
                    (uint8_t[10]){0x5F, action, 1, [8] = 24}, 10);
    check(!task->task.finished);
    task->task.out_iov = &out;
    task->task.out_iov_count = 1;
    task->task.out_bytes = sizeof list;
    rig_execute(task);
    rig_run_idle(&rig);
}

static void kept(struct err *e)
{
    keeper.done(keeper.arg, e);
    rig_run_idle(&rig);
}

static void what_is_to_be_kept_is_stored_before_it_is_answered(void)
{
    struct scsi_reservations *r = NULL;
    struct scsi_reservations_options options = {.store = keep};
    struct err *e = scsi_reservations_create(&options, &r);
    check(!e);
    struct scsi_lun *lun = NULL;
    struct scsi_lun_options lun_options = {
        .volume = rig.volume, .identity = {.naa_bytes = 8}, .reservations = r};
    e = scsi_lun_create(rig.rt, &lun_options, &lun);
    check(!e);
    e = scsi_map_add(rig.map, 3, lun);
    check(!e);
    rig_settle(&rig, a, 3);
    rig_settle(&rig, b, 3);
    static struct rig_task task, read;
    begin_at_3(&task, a, REGISTER, 0, 7, 1);
    expect(keeper.calls == 1 && keeper.count == 1 && !task.done);
    kept(NULL);
    expect(task.done && task.task.scsi_status == SCSI_STATUS_GOOD);
    scsi_task_release(&task.task);
    begin_at_3(&task, a, RESERVE, 7, 0, 0);
    expect(!task.done && keeper.first.holds == 1 && keeper.first.key == 7);
    expect_str(keeper.first.port.name, "iqn.test:a");
    kept(err_new(STATUS_OS_ERROR, "no")); /* it is in force, and must not be taken for kept */
    expect(task.done && task.task.scsi_status == SCSI_STATUS_CHECK_CONDITION);
    expect_eq(task.task.sense[2] & 0xF, 4);
    scsi_task_release(&task.task);
    /* A conflict changes nothing: nothing is stored. */
    unsigned calls = keeper.calls;
    begin_at_3(&task, b, RESERVE, 7, 0, 0);
    expect(task.done && keeper.calls == calls);
    expect_eq(task.task.scsi_status, CONFLICT);
    scsi_task_release(&task.task);
    begin_at_3(&task, b, REGISTER, 0, 9, 1);
    kept(NULL);
    scsi_task_release(&task.task);
    /* PREEMPT AND ABORT: stored first, then it waits for the tasks it ended. */
    memvol_hold(rig.pool, true);
    rig_start(&rig, &read, a, 3, (uint8_t[10]){0x28, [8] = 1}, 10);
    begin_at_3(&task, b, PREEMPT_AND_ABORT, 9, 7, 0);
    kept(NULL);
    expect(!task.done && keeper.count == 1);
    memvol_hold(rig.pool, false);
    rig_run_idle(&rig);
    expect(task.done && read.done && task.task.scsi_status == SCSI_STATUS_GOOD);
    scsi_task_release(&task.task);
    scsi_task_release(&read.task);
    /* The last REGISTER says 0: nothing is kept from now on. */
    begin_at_3(&task, b, REGISTER_AND_IGNORE, 0, 9, 0);
    expect_eq(keeper.count, 0);
    kept(NULL);
    scsi_task_release(&task.task);
    calls = keeper.calls;
    begin_at_3(&task, b, CLEAR, 9, 0, 0);
    expect(task.done && keeper.calls == calls);
    scsi_task_release(&task.task);
    scsi_map_remove(rig.map, 3, NULL, NULL);
    rig_run_idle(&rig);
    scsi_lun_destroy(lun);
    scsi_reservations_destroy(r);
}

static void registrations_are_bounded(void)
{
    start_anew();
    unsigned good = 0;
    for (unsigned i = 0; i < 70; i++) {
        char name[40];
        snprintf(name, sizeof name, "iqn.test:many%u", i);
        struct scsi_nexus *n = rig_nexus(&rig, rig.map, name);
        rig_settle(&rig, n, 0);
        if (pr_out(n, REGISTER, 0, 0, 100 + i) == 0) {
            good++;
        } else {
            expect_eq(rig.reply.asc, 0x5504);
        }
        scsi_nexus_destroy(n);
    }
    expect_eq(good, 64);
    expect_eq(pr_in(a, 0)->size, 8 + 64 * 8);
    struct reply *r = pr_in(a, 3);
    expect_eq(load_be32(r->data + 4), r->size - 8);
    struct scsi_nexus *n = rig_nexus(&rig, rig.map, "iqn.test:many3");
    rig_settle(&rig, n, 0);
    expect_eq(pr_out(n, CLEAR, 0, 103, 0), 0);
    scsi_nexus_destroy(n);
    expect_eq(pr_in(a, 0)->size, 8);
}

int main(void)
{
    rig_init(&rig);
    a = rig_nexus(&rig, rig.map, "iqn.test:a");
    b = rig_nexus(&rig, rig.map, "iqn.test:b");
    c = rig_nexus(&rig, rig.map, "iqn.test:c");
    rig_settle(&rig, a, 0);
    rig_settle(&rig, b, 0);
    rig_settle(&rig, c, 0);
    run(reserve_6_keeps_others_out_until_it_ends);
    run(the_two_kinds_of_reservation_do_not_mix);
    run(registration_follows_its_key);
    run(only_registered_keys_may_act);
    run(each_type_lets_in_whom_it_should);
    run(release_needs_the_right_type);
    run(the_holder_takes_the_reservation_with_it);
    run(the_holder_is_kept_when_others_unregister);
    run(clear_removes_all_and_tells_the_others);
    run(preempt_takes_the_reservation_of_the_key);
    run(preempt_of_another_key_removes_registrations_only);
    run(preempt_of_all_registrants_with_key_0_leaves_the_sender_alone);
    run(preempt_of_the_own_key_changes_the_type);
    run(preempt_and_abort_waits_for_the_tasks_of_the_preempted);
    run(two_that_preempt_and_abort_each_other_both_end);
    run(a_registration_outlives_its_session_and_belongs_to_the_port);
    run(full_status_names_every_port);
    run(capabilities_and_wrong_requests);
    run(what_is_to_be_kept_is_stored_before_it_is_answered);
    run(registrations_are_bounded);
    scsi_nexus_destroy(a);
    scsi_nexus_destroy(b);
    scsi_nexus_destroy(c);
    rig_fini(&rig);
    return tap_done();
}
