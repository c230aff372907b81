/* WRITE SAME(10) and (16) (SBC-3 5.54, 5.55): zeroes become one VOLUME_ZERO, anything else writes of a
 * buffer full of the pattern.  UNMAP asks for deallocation where the result reads the same, which is what
 * VOLUME_ZERO does anyway; a pattern is written in spite of it.  But UNMAP without a number of blocks, "to
 * the end of the disk", deallocates whatever the pattern: other targets do so, and libiscsi's suite asks
 * for it. */
#include "scsi/scsi_int.h"

void scsi_write_same_parse(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    bool is_16 = scsi_command_of(task)->cdb_bytes == 16;
    if (!scsi_check_protect(task)) return;
    if (task->cdb[1] & 0x10) {
        scsi_fail_cdb(task, 1, 4); /* ANCHOR: B2h says ANC_SUP 0 */
        return;
    }
    if (task->cdb[1] & 0x06) {
        scsi_fail_cdb(task, 1, 2); /* PBDATA, LBDATA: obsolete in SBC-3 */
        return;
    }
    if (!is_16 && task->cdb[1] & 0x01) {
        scsi_fail_cdb(task, 1, 0);
        return;
    }
    if (!scsi_parse_range(task)) return;
    if (!state->sectors) { /* SBC-3 5.54: no number means to the end (WSNZ is 0) */
        state->sectors = scsi_lun_sectors(task->lun) - state->lba;
        state->unmap_to_end = task->cdb[1] & 0x08;
    }
    if (state->sectors > SCSI_WRITE_SAME_MAX_SECTORS) {
        scsi_fail_cdb(task, is_16 ? 10 : 7, -1);
        return;
    }
    if (is_16 && task->cdb[1] & 0x01) return; /* NDOB: zeroes, nothing is sent */
    task->transfer = SCSI_TRANSFER_OUT;
    task->transfer_bytes = SECTOR_BYTES;
    state->need_bytes = (uint32_t)min_of((uint64_t)SCSI_CHUNK_BYTES,
                                         max_of(state->sectors, (uint64_t)1) * SECTOR_BYTES);
}

static void pattern_next(struct scsi_task *task);

static void pattern_written(struct volume_io *io)
{
    struct scsi_task *task = scsi_task_of_io(io);
    struct scsi_task_state *state = scsi_state(task);
    if (scsi_io_ended(task)) return;
    state->progress += state->step;
    if (state->progress == state->sectors) {
        scsi_complete(task);
    } else {
        pattern_next(task);
    }
}

static void pattern_next(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    state->step =
        min_of(state->sectors - state->progress, (uint64_t)state->need_bytes / SECTOR_BYTES);
    task->iov[0].iov_len = (size_t)(state->step * SECTOR_BYTES);
    scsi_submit(task, VOLUME_WRITE, state->lba + state->progress, state->step, task->iov, 1,
                pattern_written);
}

void scsi_write_same_run(struct scsi_task *task)
{
    static const uint8_t zeroes[SECTOR_BYTES];
    struct scsi_task_state *state = scsi_state(task);
    uint8_t *pattern = NULL;
    if (task->transfer_bytes) {
        pattern = task->iov[0].iov_base;
        if (task->out_offered_bytes > SECTOR_BYTES ||
            !scsi_out_copy(task, 0, pattern, SECTOR_BYTES)) {
            scsi_fail(task, STATUS_INVALID_FIELD); /* not one block of data */
            scsi_complete_later(task);
            return;
        }
    }
    if (!state->sectors) {
        scsi_complete_later(task);
    } else if (!pattern || state->unmap_to_end || memcmp(pattern, zeroes, SECTOR_BYTES) == 0) {
        scsi_submit(task, VOLUME_ZERO, state->lba, state->sectors, NULL, 0, scsi_io_done);
    } else {
        for (uint32_t at = SECTOR_BYTES; at < state->need_bytes; at += SECTOR_BYTES) {
            memcpy(pattern + at, pattern, SECTOR_BYTES);
        }
        pattern_next(task);
    }
}
