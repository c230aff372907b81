/* INQUIRY (SPC-4 6.6); the vital product data pages are in vpd.c. */
#include "scsi/scsi_int.h"

enum { STANDARD_BYTES = 96 };

void scsi_inquiry_parse(struct scsi_task *task)
{
    if (!(task->cdb[1] & 0x01) && task->cdb[2]) scsi_fail_cdb(task, 2, -1);
    if (task->cdb[1] & 0x02) scsi_fail_cdb(task, 1, 1); /* CMDDT, obsolete */
}

static void standard_inquiry(struct scsi_task *task)
{
    struct buf_writer *w = &scsi_state(task)->reply;
    uint8_t *p = buf_put(w, STANDARD_BYTES);
    p[0] = task->lun ? 0x00 : 0x7F; /* qualifier 011b: the target cannot have a device there */
    p[2] = 0x06;                    /* SPC-4 */
    p[3] = 0x12;                    /* HISUP, response data format 2 */
    p[4] = STANDARD_BYTES - 5;
    p[5] = 0x10; /* TPGS: implicit asymmetric access */
    p[6] = 0x10; /* MULTIP */
    p[7] = 0x02; /* CMDQUE */
    memcpy(p + 8, SCSI_VENDOR, 8);
    memcpy(p + 16, SCSI_PRODUCT, 16);
    memcpy(p + 32, SCSI_REVISION, 4);
    /* Version descriptors: SAM-5, SPC-4, SBC-3, iSCSI, without claim of a revision. */
    static const uint16_t versions[] = {0x00A0, 0x0460, 0x04C0, 0x0960};
    for (unsigned i = 0; i < countof(versions); i++)
        store_be16(p + 58 + 2 * i, versions[i]);
}

void scsi_inquiry_run(struct scsi_task *task)
{
    if (task->cdb[1] & 0x01) {
        scsi_vpd_run(task);
        return;
    }
    standard_inquiry(task);
    scsi_reply_done(task);
}
