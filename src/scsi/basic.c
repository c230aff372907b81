/* The small commands: TEST UNIT READY, REQUEST SENSE, REPORT LUNS, READ CAPACITY, START STOP UNIT, LOG
 * SENSE, READ DEFECT DATA. */
#include "scsi/scsi_int.h"

void scsi_test_unit_ready_run(struct scsi_task *task)
{
    scsi_complete_later(task);
}

/* SPC-4 6.39: returns, and clears, what a CHECK CONDITION would tell. */
void scsi_request_sense_run(struct scsi_task *task)
{
    struct scsi_sense sense = {0};
    if (!task->lun) {
        sense = scsi_sense_of_status(STATUS_LUN_NOT_SUPPORTED);
    } else {
        (void)scsi_attention_take(task->nexus, task->lun_number, 0xFFFF, &sense);
    }
    uint8_t bytes[SCSI_SENSE_MAX];
    unsigned size = scsi_sense_encode(&sense, task->cdb[1] & 0x01, bytes);
    buf_put_bytes(&scsi_state(task)->reply, bytes, size);
    scsi_reply_done(task);
}

/* ---- REPORT LUNS (SPC-4 6.33) ---------------------------------------------------------------- */

void scsi_report_luns_parse(struct scsi_task *task)
{
    if (task->cdb[2] > 0x02) scsi_fail_cdb(task, 2, -1);
}

void scsi_report_luns_run(struct scsi_task *task)
{
    struct buf_writer *w = &scsi_state(task)->reply;
    struct scsi_nexus *nexus = task->nexus;
    uint8_t *header = buf_put(w, 8);
    /* 01h asks for well-known logical units only: there are none. */
    for (unsigned i = 0; i < LIMIT_LUNS_PER_HOST && task->cdb[2] != 0x01; i++) {
        if (!nexus->map->entries[i]) continue;
        uint8_t *field = buf_put(w, 8);
        field[1] = (uint8_t)i; /* peripheral device addressing */
    }
    store_be32(header, (uint32_t)(buf_used(w) - 8));
    nexus->luns_changed = false;
    nexus->inventory_seen = true;
    scsi_reply_done(task);
}

/* ---- READ CAPACITY (SBC-3 5.15, 5.16) -------------------------------------------------------- */

void scsi_read_capacity_10_parse(struct scsi_task *task)
{
    if (!(task->cdb[8] & 0x01) && load_be32(task->cdb + 2)) { /* LBA without PMI */
        scsi_fail_cdb(task, 2, -1);
        return;
    }
    task->transfer = SCSI_TRANSFER_IN;
    task->transfer_bytes = 8;
    scsi_state(task)->need_bytes = SCSI_REPLY_SMALL;
    scsi_state(task)->allocation_bytes = 8;
}

void scsi_read_capacity_10_run(struct scsi_task *task)
{
    struct buf_writer *w = &scsi_state(task)->reply;
    *w = buf_writer(task->iov[0].iov_base, 8);
    uint64_t last = scsi_lun_sectors(task->lun) - 1;
    buf_put_be32(w, last > UINT32_MAX ? UINT32_MAX : (uint32_t)last);
    buf_put_be32(w, SECTOR_BYTES);
    scsi_reply_done(task);
}

void scsi_read_capacity_16_run(struct scsi_task *task)
{
    uint8_t *p = buf_put(&scsi_state(task)->reply, 32);
    store_be64(p, scsi_lun_sectors(task->lun) - 1);
    store_be32(p + 8, SECTOR_BYTES);
    p[13] = 3;    /* 2^3 logical blocks per physical block */
    p[14] = 0xC0; /* LBPME, LBPRZ; lowest aligned LBA 0 */
    scsi_reply_done(task);
}

/* ---- START STOP UNIT, LOG SENSE -------------------------------------------------------------- */

/* There is no medium to load and no power to save: everything else is accepted and has no effect. */
void scsi_start_stop_parse(struct scsi_task *task)
{
    if (!(task->cdb[4] & 0xF0) && task->cdb[4] & 0x02) scsi_fail_cdb(task, 4, 1); /* LOEJ */
}

void scsi_log_sense_parse(struct scsi_task *task)
{
    if (task->cdb[1] & 0x01) {
        scsi_fail_cdb(task, 1, 0); /* SP: nothing can be saved */
    } else if (task->cdb[2] & 0x3F) {
        scsi_fail_cdb(task, 2, 5);
    } else if (task->cdb[3]) {
        scsi_fail_cdb(task, 3, -1);
    }
}

/* Only page 00h, the list of pages. */
void scsi_log_sense_run(struct scsi_task *task)
{
    static const uint8_t page[] = {0x00, 0x00, 0x00, 0x01, 0x00};
    buf_put_bytes(&scsi_state(task)->reply, page, sizeof page);
    scsi_reply_done(task);
}

/* SBC-3 5.17, 5.18: lists of the asked kind and format, with no defects in them. */
void scsi_defect_data_run(struct scsi_task *task)
{
    bool is_10 = task->cdb[0] == 0x37;
    uint8_t *p = buf_put(&scsi_state(task)->reply, is_10 ? 4 : 8);
    p[1] = task->cdb[is_10 ? 2 : 1] & 0x1F; /* PLISTV, GLISTV, format as requested */
    scsi_reply_done(task);
}
