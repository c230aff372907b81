/* Sense data: fixed and descriptor format (SPC-4 4.5), from base/status.def. */
#include "scsi/scsi_int.h"

struct scsi_sense scsi_sense_of_status(enum status status)
{
    const struct status_info *info = status_info(status);
    return (struct scsi_sense){.key = info->sense_key, .asc_ascq = SCSI_ASC(info->asc, info->ascq)};
}

/* Sense key specific bytes of ILLEGAL REQUEST: SKSV, C/D, BPV, bit pointer, field pointer. */
static void encode_field(const struct scsi_sense *sense, uint8_t *to)
{
    to[0] = (uint8_t)(0x80 | (sense->field_in_cdb ? 0x40 : 0) |
                      (sense->has_bit ? 0x08 | (sense->bit & 7) : 0));
    store_be16(to + 1, sense->field);
}

static unsigned encode_descriptors(const struct scsi_sense *sense, uint8_t *to)
{
    to[0] = 0x72; /* current, descriptor format */
    to[1] = sense->key;
    store_be16(to + 2, sense->asc_ascq);
    unsigned at = 8;
    if (sense->has_information) { /* SPC-4 4.5.2.2 */
        to[at] = 0x00;
        to[at + 1] = 0x0A;
        to[at + 2] = 0x80;
        store_be64(to + at + 4, sense->information);
        at += 12;
    }
    if (sense->has_field) { /* SPC-4 4.5.2.4 */
        to[at] = 0x02;
        to[at + 1] = 0x06;
        encode_field(sense, to + at + 4);
        at += 8;
    }
    to[7] = (uint8_t)(at - 8);
    return at;
}

unsigned scsi_sense_encode(const struct scsi_sense *sense, bool descriptor_format, uint8_t *to)
{
    memset(to, 0, SCSI_SENSE_MAX);
    if (descriptor_format) return encode_descriptors(sense, to);
    to[0] = 0x70; /* current, fixed format */
    /* SPC-4 4.5.3: what does not fit into four bytes is not valid. */
    if (sense->has_information && sense->information <= UINT32_MAX) {
        to[0] |= 0x80;
        store_be32(to + 3, (uint32_t)sense->information);
    }
    to[2] = sense->key;
    to[7] = 10;
    store_be16(to + 12, sense->asc_ascq);
    if (sense->has_field) encode_field(sense, to + 15);
    return 18;
}

unsigned scsi_sense_fixed(enum status status, uint8_t sense[SCSI_SENSE_MAX])
{
    struct scsi_sense s = scsi_sense_of_status(status);
    return scsi_sense_encode(&s, false, sense);
}

void scsi_fail_sense(struct scsi_task *task, const struct scsi_sense *sense)
{
    bool descriptors = task->lun && task->lun->mode.descriptor_sense;
    task->scsi_status = SCSI_STATUS_CHECK_CONDITION;
    task->sense_bytes = (uint8_t)scsi_sense_encode(sense, descriptors, task->sense);
    task->in_bytes = 0;
    task->in_iov_count = 0;
}

void scsi_fail_status(struct scsi_task *task, uint8_t scsi_status)
{
    task->scsi_status = scsi_status;
    task->sense_bytes = 0;
    task->in_bytes = 0;
    task->in_iov_count = 0;
}

void scsi_fail(struct scsi_task *task, enum status status)
{
    if (status == STATUS_AGAIN) { /* no sense: come again */
        scsi_fail_status(task, SCSI_STATUS_BUSY);
        return;
    }
    struct scsi_sense sense = scsi_sense_of_status(status);
    scsi_fail_sense(task, &sense);
}

void scsi_fail_asc(struct scsi_task *task, uint8_t key, uint16_t asc_ascq)
{
    scsi_fail_sense(task, &(struct scsi_sense){.key = key, .asc_ascq = asc_ascq});
}

void scsi_fail_cdb(struct scsi_task *task, unsigned byte, int bit)
{
    struct scsi_sense sense = scsi_sense_of_status(STATUS_INVALID_FIELD);
    sense.has_field = sense.field_in_cdb = true;
    sense.field = (uint16_t)byte;
    sense.has_bit = bit >= 0;
    sense.bit = (uint8_t)(bit >= 0 ? bit : 0);
    scsi_fail_sense(task, &sense);
}

void scsi_fail_parameter(struct scsi_task *task, unsigned byte)
{
    struct scsi_sense sense = scsi_sense_of_status(STATUS_INVALID_PARAMETER);
    sense.has_field = true;
    sense.field = (uint16_t)byte;
    scsi_fail_sense(task, &sense);
}

void scsi_fail_lba(struct scsi_task *task, uint64_t lba)
{
    struct scsi_sense sense = scsi_sense_of_status(STATUS_OUT_OF_RANGE);
    sense.has_information = true;
    sense.information = lba;
    scsi_fail_sense(task, &sense);
}
