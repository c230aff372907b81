/* Unit attentions: when they are raised, told once, merged, held; maps that change while tasks run. */
#include "base/endian.h"
#include "tests/lib/scsi_rig.h"
#include "tests/lib/tap.h"

static struct rig rig;

static uint16_t tur(struct scsi_nexus *nexus, unsigned lun)
{
    struct reply *r = rig_cdb(&rig, nexus, lun, (uint8_t[6]){0}, 6);
    return r->status == SCSI_STATUS_GOOD ? 0 : r->key == 6 ? r->asc : 0xFFFF;
}

static struct reply *report_luns(struct scsi_nexus *nexus)
{
    return rig_cdb(&rig, nexus, 0, (uint8_t[12]){0xA0, [8] = 16}, 12);
}

static void map(unsigned number)
{
    struct err *e = scsi_map_add(rig.map, number, rig.lun);
    check(!e);
}

static void count_done(void *arg)
{
    ++*(unsigned *)arg;
}

static void unmap(unsigned number)
{
    unsigned done = 0;
    scsi_map_remove(rig.map, number, count_done, &done);
    rig_run_idle(&rig);
    expect_eq(done, 1);
}

static void a_new_nexus_hears_power_on_once_for_each_lun(void)
{
    map(1);
    struct scsi_nexus *nexus = rig_nexus(&rig, rig.map, "iqn.test:new");
    expect_eq(tur(nexus, 0), 0x2900);
    expect_eq(tur(nexus, 0), 0);
    expect_eq(tur(nexus, 1), 0x2900);
    expect_eq(tur(nexus, 1), 0);
    scsi_nexus_destroy(nexus);
    unmap(1);
    rig_settle(&rig, rig.nexus, 0);
}

static void inquiry_and_report_luns_pass_and_leave_it(void)
{
    struct scsi_nexus *nexus = rig_nexus(&rig, rig.map, "iqn.test:new");
    expect_eq(rig_cdb(&rig, nexus, 0, (uint8_t[6]){0x12, 0, 0, 0, 96, 0}, 6)->size, 96);
    expect_eq(report_luns(nexus)->status, SCSI_STATUS_GOOD);
    expect_eq(tur(nexus, 0), 0x2900);
    scsi_nexus_destroy(nexus);
}

static void request_sense_returns_it_as_data(void)
{
    struct scsi_nexus *nexus = rig_nexus(&rig, rig.map, "iqn.test:new");
    struct reply *r = rig_cdb(&rig, nexus, 0, (uint8_t[6]){0x03, 0, 0, 0, 252, 0}, 6);
    expect_eq(r->status, SCSI_STATUS_GOOD);
    expect_eq(r->size, 18);
    expect_eq(r->data[2], 6);
    expect_eq(load_be16(r->data + 12), 0x2900);
    expect_eq(tur(nexus, 0), 0);
    r = rig_cdb(&rig, nexus, 0, (uint8_t[6]){0x03, 1, 0, 0, 252, 0}, 6); /* DESC */
    expect_eq(r->data[0], 0x72);
    expect_eq(load_be16(r->data + 2), 0);
    scsi_nexus_destroy(nexus);
}

static void a_change_of_the_map_is_told_once_to_each_nexus(void)
{
    struct scsi_nexus *other = rig_nexus(&rig, rig.map, "iqn.test:other");
    rig_settle(&rig, other, 0);
    map(4);
    map(5);
    unmap(4);
    expect_eq(tur(rig.nexus, 0), 0x3F0E);
    expect_eq(tur(rig.nexus, 0), 0);
    expect_eq(tur(rig.nexus, 5), 0x2900); /* a new logical unit */
    expect_eq(tur(rig.nexus, 5), 0);
    expect_eq(tur(other, 5), 0x2900);
    expect_eq(tur(other, 5), 0x3F0E); /* on whatever LUN it asks first */
    expect_eq(tur(other, 0), 0);
    unmap(5);
    rig_settle(&rig, rig.nexus, 0);
    scsi_nexus_destroy(other);
}

static void report_luns_clears_the_change(void)
{
    map(4);
    expect(!scsi_map_is_reported(rig.map));
    expect_eq(report_luns(rig.nexus)->size, 24);
    expect(scsi_map_is_reported(rig.map));
    expect_eq(tur(rig.nexus, 0), 0);
    unmap(4);
    expect(!scsi_map_is_reported(rig.map));
    expect_eq(report_luns(rig.nexus)->size, 16);
    expect_eq(tur(rig.nexus, 0), 0);
    expect(scsi_map_is_reported(rig.map));
}

static void every_live_nexus_must_have_read_the_list(void)
{
    struct scsi_nexus *other = rig_nexus(&rig, rig.map, "iqn.test:other");
    report_luns(rig.nexus);
    expect(!scsi_map_is_reported(rig.map));
    report_luns(other);
    expect(scsi_map_is_reported(rig.map));
    scsi_nexus_destroy(other);
}

static void a_held_map_tells_at_release(void)
{
    report_luns(rig.nexus);
    scsi_map_hold_attention(rig.map);
    scsi_map_hold_attention(rig.map);
    map(4);
    expect_eq(tur(rig.nexus, 0), 0);
    expect_eq(report_luns(rig.nexus)->size, 24); /* the list itself is always true */
    map(5);
    scsi_map_release_attention(rig.map);
    expect_eq(tur(rig.nexus, 0), 0);
    scsi_map_release_attention(rig.map);
    expect_eq(tur(rig.nexus, 0), 0x3F0E);
    expect_eq(tur(rig.nexus, 0), 0);
    /* Who read the list while it was held knows all. */
    scsi_map_hold_attention(rig.map);
    unmap(4);
    unmap(5);
    report_luns(rig.nexus);
    scsi_map_release_attention(rig.map);
    expect_eq(tur(rig.nexus, 0), 0);
    /* Nothing changed, nothing told. */
    scsi_map_hold_attention(rig.map);
    scsi_map_release_attention(rig.map);
    expect_eq(tur(rig.nexus, 0), 0);
}

static void events_of_the_volume_reach_every_map_and_merge(void)
{
    struct scsi_map *second;
    struct err *e = scsi_map_create(rig.rt, &second);
    require(!e);
    e = scsi_map_add(second, 9, rig.lun);
    require(!e);
    struct scsi_nexus *other = rig_nexus(&rig, second, "iqn.test:other");
    rig_settle(&rig, other, 9);
    volume_notify(rig.volume, VOLUME_EVENT_SIZE);
    volume_notify(rig.volume, VOLUME_EVENT_SIZE | VOLUME_EVENT_CONTENT);
    volume_notify(rig.volume, VOLUME_EVENT_STATE | VOLUME_EVENT_GONE);
    expect_eq(tur(rig.nexus, 0), 0x2800);
    expect_eq(tur(rig.nexus, 0), 0x2A09);
    expect_eq(tur(rig.nexus, 0), 0);
    expect_eq(tur(other, 9), 0x2800);
    expect_eq(tur(other, 9), 0x2A09);
    scsi_lun_set_threshold_reached(rig.lun, true);
    expect_eq(tur(other, 9), 0x3807);
    scsi_lun_set_threshold_reached(rig.lun, true);
    expect_eq(tur(rig.nexus, 0), 0x3807);
    expect_eq(tur(rig.nexus, 0), 0);
    scsi_nexus_destroy(other);
    other = rig_nexus(&rig, second, "iqn.test:other"); /* comes while it is reached */
    expect_eq(tur(other, 9), 0x2900);
    expect_eq(tur(other, 9), 0x3807);
    expect_eq(tur(other, 9), 0);
    scsi_nexus_destroy(other);
    scsi_lun_set_threshold_reached(rig.lun, false);
    other = rig_nexus(&rig, second, "iqn.test:other");
    expect_eq(tur(other, 9), 0x2900);
    expect_eq(tur(other, 9), 0);
    scsi_nexus_destroy(other);
    scsi_map_remove(second, 9, NULL, NULL);
    rig_run_idle(&rig);
    scsi_map_destroy(second);
}

static void resized(void *arg, struct err *e)
{
    check(!e);
}

static void a_grown_disk_says_so_and_shows_its_new_size(void)
{
    struct volume *volume = memvol_disk(rig.pool, &(struct uuid){{8}}, 2 * MIB, VOLUME_READ_WRITE);
    struct scsi_lun *lun = rig_lun(&rig, volume, 8, false);
    struct err *e = scsi_map_add(rig.map, 8, lun);
    require(!e);
    rig_settle(&rig, rig.nexus, 8);
    volume_disk_resize(rig.pool, &(struct uuid){{8}}, 4 * MIB, resized, NULL);
    rig_run_idle(&rig);
    expect_eq(tur(rig.nexus, 8), 0x2A09);
    struct reply *r = rig_cdb(&rig, rig.nexus, 8, (uint8_t[10]){0x25}, 10);
    expect_eq(load_be32(r->data), 4 * MIB / 512 - 1);
    scsi_map_remove(rig.map, 8, NULL, NULL);
    rig_run_idle(&rig);
    scsi_lun_destroy(lun);
    rig_settle(&rig, rig.nexus, 0);
}

static void resets_are_told_to_every_nexus_first(void)
{
    struct scsi_nexus *other = rig_nexus(&rig, rig.map, "iqn.test:other");
    rig_settle(&rig, other, 0);
    volume_notify(rig.volume, VOLUME_EVENT_CONTENT);
    expect(scsi_lun_reset(rig.nexus, (uint8_t[8]){0}));
    expect_eq(tur(other, 0), 0x2903);
    expect_eq(tur(other, 0), 0x2800);
    expect_eq(tur(rig.nexus, 0), 0x2903);
    expect_eq(tur(rig.nexus, 0), 0x2800);
    expect(!scsi_lun_reset(rig.nexus, (uint8_t[8]){0, 99}));
    /* Of a reset hears also who is kept out by a reservation; of the rest he does not. */
    expect_eq(rig_cdb(&rig, rig.nexus, 0, (uint8_t[6]){0x16}, 6)->status, SCSI_STATUS_GOOD);
    volume_notify(rig.volume, VOLUME_EVENT_CONTENT);
    expect_eq(tur(other, 0), 0xFFFF);
    expect_eq(rig.reply.status, SCSI_STATUS_RESERVATION_CONFLICT);
    struct scsi_nexus *third = rig_nexus(&rig, rig.map, "iqn.test:third");
    expect_eq(tur(third, 0), 0x2900);
    expect_eq(tur(third, 0), 0xFFFF);
    expect_eq(rig.reply.status, SCSI_STATUS_RESERVATION_CONFLICT);
    scsi_nexus_destroy(third);
    rig_settle(&rig, rig.nexus, 0);
    expect_eq(rig_cdb(&rig, rig.nexus, 0, (uint8_t[6]){0x17}, 6)->status, SCSI_STATUS_GOOD);
    expect_eq(tur(other, 0), 0x2800);
    scsi_target_reset(other);
    expect_eq(tur(rig.nexus, 0), 0x2903);
    scsi_nexus_destroy(other);
}

static void an_unmapped_lun_is_gone_at_once_and_done_waits_for_its_tasks(void)
{
    static struct rig_task task;
    unsigned done = 0;
    map(2);
    rig_settle(&rig, rig.nexus, 2);
    memvol_hold(rig.pool, true);
    rig_start(&rig, &task, rig.nexus, 2, (uint8_t[10]){0x28, [8] = 1}, 10);
    scsi_map_remove(rig.map, 2, count_done, &done);
    rig_run_idle(&rig);
    expect_eq(done, 0);
    expect(!task.done);
    expect_eq(tur(rig.nexus, 2), 0xFFFF);
    expect_eq(rig.reply.asc, 0x2500);
    map(2); /* the number can be taken anew */
    memvol_hold(rig.pool, false);
    rig_run_idle(&rig);
    expect_eq(done, 1);
    expect(task.done);
    expect_eq(task.task.scsi_status, SCSI_STATUS_GOOD);
    scsi_task_release(&task.task);
    unmap(2);
    rig_settle(&rig, rig.nexus, 0);
}

static void a_task_that_began_before_the_unmap_does_not_run_after_it(void)
{
    static struct rig_task t;
    unsigned done = 0;
    map(2);
    rig_settle(&rig, rig.nexus, 2);
    scsi_task_begin(&t.task, rig.nexus, (uint8_t[8]){0, 2}, (uint8_t[10]){0x2A, [8] = 1}, 10);
    expect(!t.task.finished);
    scsi_map_remove(rig.map, 2, count_done, &done);
    rig_run_idle(&rig);
    expect_eq(done, 0);
    uint64_t writes = memvol_counts(rig.pool).writes;
    static uint8_t block[512];
    struct iovec v = {block, 512};
    t.task.out_iov = &v;
    t.task.out_iov_count = 1;
    t.task.out_bytes = 512;
    rig_execute(&t);
    rig_run_idle(&rig);
    expect_eq(done, 1);
    expect(t.done);
    expect_eq(t.task.scsi_status, SCSI_STATUS_CHECK_CONDITION);
    expect_eq(load_be16(t.task.sense + 12), 0x2500);
    expect_eq(memvol_counts(rig.pool).writes, writes);
    scsi_task_release(&t.task);
    /* Released instead of executed, it ends too. */
    map(2);
    rig_settle(&rig, rig.nexus, 2);
    scsi_task_begin(&t.task, rig.nexus, (uint8_t[8]){0, 2}, (uint8_t[10]){0x2A, [8] = 1}, 10);
    scsi_map_remove(rig.map, 2, count_done, &done);
    rig_run_idle(&rig);
    expect_eq(done, 1);
    scsi_task_release(&t.task);
    rig_run_idle(&rig);
    expect_eq(done, 2);
    rig_settle(&rig, rig.nexus, 0);
}

static void a_replaced_lun_ends_what_it_has_begun_and_the_next_command_finds_the_new_one(void)
{
    static struct rig_task begun, running;
    unsigned done = 0;
    struct scsi_lun *protected = rig_lun(&rig, rig.volume, 9, true);
    struct err *e = scsi_map_add(rig.map, 3, protected);
    check(!e);
    rig_settle(&rig, rig.nexus, 3);
    memvol_hold(rig.pool, true);
    rig_start(&rig, &running, rig.nexus, 3, (uint8_t[10]){0x28, [8] = 1}, 10);
    scsi_task_begin(&begun.task, rig.nexus, (uint8_t[8]){0, 3}, (uint8_t[10]){0x28, [8] = 1}, 10);
    scsi_map_replace(rig.map, 3, rig.lun, count_done, &done);
    rig_run_idle(&rig);
    expect_eq(done, 0);
    rig_execute(&begun);
    memvol_hold(rig.pool, false);
    rig_run_idle(&rig);
    expect_eq(running.task.scsi_status, SCSI_STATUS_GOOD);
    expect_eq(begun.task.scsi_status, SCSI_STATUS_GOOD);
    scsi_task_release(&running.task);
    scsi_task_release(&begun.task);
    expect_eq(done, 1);
    expect_eq(tur(rig.nexus, 3), 0x2800);
    expect_eq(tur(rig.nexus, 3), 0x2A01);
    static const uint8_t block[512];
    expect_eq(rig_out(&rig, rig.nexus, 3, (uint8_t[10]){0x2A, [8] = 1}, 10, block, 512)->status,
              SCSI_STATUS_GOOD);
    scsi_lun_destroy(protected);
    unmap(3);
    rig_settle(&rig, rig.nexus, 0);
}

int main(void)
{
    rig_init(&rig);
    run(a_new_nexus_hears_power_on_once_for_each_lun);
    run(inquiry_and_report_luns_pass_and_leave_it);
    run(request_sense_returns_it_as_data);
    run(a_change_of_the_map_is_told_once_to_each_nexus);
    run(report_luns_clears_the_change);
    run(every_live_nexus_must_have_read_the_list);
    run(a_held_map_tells_at_release);
    run(events_of_the_volume_reach_every_map_and_merge);
    run(a_grown_disk_says_so_and_shows_its_new_size);
    run(resets_are_told_to_every_nexus_first);
    run(an_unmapped_lun_is_gone_at_once_and_done_waits_for_its_tasks);
    run(a_task_that_began_before_the_unmap_does_not_run_after_it);
    run(a_replaced_lun_ends_what_it_has_begun_and_the_next_command_finds_the_new_one);
    rig_fini(&rig);
    return tap_done();
}
