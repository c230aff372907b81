/* What a crash leaves behind can be freed: tasks in every phase, maps that were changing.  A sanitizer or
 * a check tells when it cannot. */
#include "tests/lib/scsi_rig.h"
#include "tests/lib/tap.h"

static struct rig rig;

enum { READS = 20, TASKS = READS + 6 };
static struct rig_task tasks[TASKS];

static void begin(struct rig_task *t, struct scsi_nexus *nexus, const uint8_t *cdb, unsigned size)
{
    scsi_task_begin(&t->task, nexus, (uint8_t[8]){0, 1}, cdb, size);
    check(!t->task.finished);
}

/* Reads that run, wait with a part of their buffers and without; a write that waits for its data; a
 * command that is done and not sent; one whose end is posted; a PREEMPT AND ABORT that waits. */
static void start_tasks(struct scsi_nexus *other)
{
    static uint8_t preempt[24] = {[7] = 2, [15] = 1};
    static struct iovec v = {preempt, 24};
    uint8_t list[24] = {0};
    list[15] = 1;
    rig_out(&rig, rig.nexus, 1, (uint8_t[10]){0x5F, 0, [8] = 24}, 10, list, 24);
    list[15] = 2;
    rig_out(&rig, other, 1, (uint8_t[10]){0x5F, 0, [8] = 24}, 10, list, 24);

    struct rig_task *t = tasks;
    begin(t, rig.nexus, (uint8_t[6]){0x12, 0, 0, 0, 96}, 6); /* done */
    rig_execute(t++);
    rig_run_idle(&rig);
    memvol_hold(rig.pool, true);
    for (unsigned i = 0; i < READS; i++) {
        begin(t, rig.nexus, (uint8_t[10]){0x28, [7] = 0x20}, 10);
        rig_execute(t++);
    }
    begin(t++, rig.nexus, (uint8_t[10]){0x2A, [8] = 1}, 10); /* its data has not come */
    begin(t++, rig.nexus, (uint8_t[10]){0x28, [8] = 1}, 10); /* not executed */
    begin(t, other, (uint8_t[10]){0x5F, 5, 1, [8] = 24}, 10);
    t->task.out_iov = &v;
    t->task.out_iov_count = 1;
    t->task.out_bytes = 24;
    rig_execute(t++);
    begin(t, other, (uint8_t[6]){0}, 6); /* its end is posted */
    rig_execute(t++);
    begin(t, other, (uint8_t[16]){0x9E, 0x12, [13] = 24}, 16); /* a query, or its buffer */
    rig_execute(t++);
    check(t == tasks + TASKS);
}

static void what_a_crash_leaves_can_be_freed(void)
{
    for (unsigned order = 0; order < 2; order++) {
        rig_init(&rig);
        struct scsi_lun *lun = rig_lun(&rig, rig.volume, 2, false);
        struct err *e = scsi_map_add(rig.map, 1, lun);
        require(!e);
        struct scsi_nexus *other = rig_nexus(&rig, rig.map, "iqn.test:other");
        rig_settle(&rig, rig.nexus, 1);
        rig_settle(&rig, other, 1);
        start_tasks(other);
        scsi_map_remove(rig.map, 1, NULL, NULL); /* waits for the tasks */
        scsi_map_remove(rig.map, 0, NULL, NULL); /* its end is posted */
        expect(rt_buf_in_use_bytes(rig.rt) > 0);

        sim_node_crash(rig.node, SIM_CRASH_PROCESS);
        for (unsigned i = 0; i < TASKS; i++) {
            scsi_task_release(&tasks[order ? TASKS - 1 - i : i].task);
        }
        expect_eq(rt_buf_in_use_bytes(rig.rt), 0);
        scsi_nexus_destroy(rig.nexus);
        scsi_nexus_destroy(other);
        scsi_map_destroy(rig.map);
        scsi_lun_destroy(lun);
        scsi_lun_destroy(rig.lun);
        volume_pool_abandon(rig.pool);
        sim_destroy(rig.sim);
    }
}

int main(void)
{
    run(what_a_crash_leaves_can_be_freed);
    return tap_done();
}
