/* COMPARE AND WRITE and ORWRITE (SBC-3 5.2, 5.8): read-modify-write that no other command comes between. */
#include "scsi/scsi_int.h"

void scsi_compare_write_parse(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    if (!scsi_check_protect(task)) return;
    state->fua = task->cdb[1] & 0x08;
    state->lba = load_be64(task->cdb + 2);
    state->sectors = task->cdb[13];
    if (!scsi_check_range(task, state->lba, state->sectors)) return;
    if (!state->sectors) return;
    task->transfer = SCSI_TRANSFER_OUT;
    task->transfer_bytes = 2 * state->sectors * SECTOR_BYTES; /* what to compare, what to write */
}

static void compared(struct volume_io *io)
{
    struct scsi_task *task = scsi_task_of_io(io);
    if (io->status == STATUS_MISCOMPARE) { /* INFORMATION: where the first different byte is */
        struct scsi_sense sense = scsi_sense_of_status(io->status);
        sense.has_information = true;
        sense.information = io->miscompare_offset;
        scsi_fail_sense(task, &sense);
        scsi_complete(task);
        return;
    }
    scsi_io_done(io);
}

void scsi_compare_write_run(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    if (task->out_bytes != task->transfer_bytes || task->out_offered_bytes > task->transfer_bytes) {
        scsi_fail(task, STATUS_INVALID_FIELD); /* less or more than two times the range */
        scsi_complete_later(task);
    } else if (!state->sectors) {
        scsi_complete_later(task);
    } else {
        scsi_submit(task, VOLUME_COMPARE_WRITE, state->lba, state->sectors, task->out_iov,
                    task->out_iov_count, compared);
    }
}

/* ---- ORWRITE --------------------------------------------------------------------------------- */

/* In steps: read, OR, and write if nothing was written in between, else again. */
enum { OR_STEP_SECTORS = 128 };

void scsi_or_write_parse(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    scsi_write_parse(task);
    state->need_bytes =
        (uint32_t)(2 * SECTOR_BYTES * min_of(state->sectors, (uint64_t)OR_STEP_SECTORS));
}

static void or_next(struct scsi_task *task);

static void or_written(struct volume_io *io)
{
    struct scsi_task *task = scsi_task_of_io(io);
    struct scsi_task_state *state = scsi_state(task);
    if (io->status == STATUS_MISCOMPARE && !scsi_is_aborted(task)) {
        or_next(task);
        return;
    }
    if (scsi_io_ended(task)) return;
    state->progress += state->step;
    if (state->progress == state->sectors) {
        scsi_complete(task);
    } else {
        or_next(task);
    }
}

static void or_read(struct volume_io *io)
{
    struct scsi_task *task = scsi_task_of_io(io);
    struct scsi_task_state *state = scsi_state(task);
    if (scsi_io_ended(task)) return;
    size_t bytes = (size_t)(state->step * SECTOR_BYTES);
    uint8_t *old = task->iov[0].iov_base, *new = old + bytes;
    bool there = scsi_out_copy(task, state->progress * SECTOR_BYTES, new, bytes);
    check(there);
    for (size_t i = 0; i < bytes; i++)
        new[i] |= old[i];
    task->iov[0].iov_len = 2 * bytes;
    scsi_submit(task, VOLUME_COMPARE_WRITE, state->lba + state->progress, state->step, task->iov, 1,
                or_written);
}

static void or_next(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    state->step = min_of(state->sectors - state->progress, (uint64_t)OR_STEP_SECTORS);
    task->iov[0].iov_len = (size_t)(state->step * SECTOR_BYTES);
    scsi_submit(task, VOLUME_READ, state->lba + state->progress, state->step, task->iov, 1,
                or_read);
}

void scsi_or_write_run(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    state->sectors = min_of(state->sectors, task->out_bytes / SECTOR_BYTES);
    if (state->sectors) {
        or_next(task);
    } else {
        scsi_complete_later(task);
    }
}
