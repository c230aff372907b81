/* VERIFY and WRITE AND VERIFY (SBC-3 5.33 to 5.35, 5.50 to 5.52).  To verify is to read: the engine checks
 * the checksum of every block that it reads. */
#include "scsi/scsi_int.h"

/* BYTCHK */
enum { COMPARE_NONE = 0, COMPARE_ALL = 1, COMPARE_ONE_BLOCK = 3 };

void scsi_verify_parse(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    state->compare = task->cdb[1] >> 1 & 3;
    if (!scsi_check_protect(task) || !scsi_parse_range(task)) return;
    if (state->compare == 2) {
        scsi_fail_cdb(task, 1, 2);
        return;
    }
    if (state->compare == COMPARE_ALL && !scsi_check_transfer(task)) return;
    if (!state->sectors) return;
    if (state->compare != COMPARE_NONE) {
        task->transfer = SCSI_TRANSFER_OUT;
        task->transfer_bytes = (state->compare == COMPARE_ALL ? state->sectors : 1) * SECTOR_BYTES;
    }
    state->need_bytes = (uint32_t)min_of((uint64_t)SCSI_CHUNK_BYTES, state->sectors * SECTOR_BYTES);
}

static bool differs(const struct scsi_task *task, uint64_t out_offset, const uint8_t *data,
                    size_t size)
{
    uint64_t offset = out_offset;
    for (unsigned i = 0; i < task->out_iov_count && size; i++) {
        const struct iovec *v = &task->out_iov[i];
        if (offset >= v->iov_len) {
            offset -= v->iov_len;
            continue;
        }
        size_t part = min_of(size, v->iov_len - (size_t)offset);
        if (memcmp(data, (const uint8_t *)v->iov_base + offset, part) != 0) return true;
        data += part;
        size -= part;
        offset = 0;
    }
    return size != 0;
}

static bool step_differs(const struct scsi_task *task, const struct scsi_task_state *state)
{
    const uint8_t *data = task->iov[0].iov_base;
    switch (state->compare) {
    case COMPARE_ALL:
        return differs(task, state->progress * SECTOR_BYTES, data,
                       (size_t)(state->step * SECTOR_BYTES));
    case COMPARE_ONE_BLOCK:
        for (uint64_t i = 0; i < state->step; i++) {
            if (differs(task, 0, data + i * SECTOR_BYTES, SECTOR_BYTES)) return true;
        }
        return false;
    default:
        return false;
    }
}

static void verify_next(struct scsi_task *task);

static void verify_read(struct volume_io *io)
{
    struct scsi_task *task = scsi_task_of_io(io);
    struct scsi_task_state *state = scsi_state(task);
    if (scsi_io_ended(task)) return;
    if (step_differs(task, state)) {
        scsi_fail(task, STATUS_MISCOMPARE);
        scsi_complete(task);
        return;
    }
    state->progress += state->step;
    if (state->progress == state->sectors) {
        scsi_complete(task);
    } else {
        verify_next(task);
    }
}

static void verify_next(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    state->step =
        min_of(state->sectors - state->progress, (uint64_t)state->need_bytes / SECTOR_BYTES);
    task->iov[0].iov_len = (size_t)(state->step * SECTOR_BYTES);
    scsi_submit(task, VOLUME_READ, state->lba + state->progress, state->step, task->iov, 1,
                verify_read);
}

void scsi_verify_run(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    if (state->compare == COMPARE_ALL) {
        state->sectors = min_of(state->sectors, task->out_bytes / SECTOR_BYTES);
    } else if (state->compare == COMPARE_ONE_BLOCK && task->out_bytes < SECTOR_BYTES) {
        state->sectors = 0;
    }
    if (state->sectors) {
        verify_next(task);
    } else {
        scsi_complete_later(task);
    }
}

/* ---- WRITE AND VERIFY ------------------------------------------------------------------------ */

void scsi_write_verify_parse(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    state->compare = task->cdb[1] >> 1 & 3;
    state->fua = true; /* what is verified is the medium */
    if (!scsi_check_protect(task) || !scsi_parse_range(task) || !scsi_check_transfer(task)) return;
    if (state->compare > COMPARE_ALL) {
        scsi_fail_cdb(task, 1, 2);
        return;
    }
    if (!state->sectors) return;
    task->transfer = SCSI_TRANSFER_OUT;
    task->transfer_bytes = state->sectors * SECTOR_BYTES;
    state->need_bytes = (uint32_t)min_of((uint64_t)SCSI_CHUNK_BYTES, task->transfer_bytes);
}

static void write_verify_written(struct volume_io *io)
{
    struct scsi_task *task = scsi_task_of_io(io);
    if (!scsi_io_ended(task)) verify_next(task);
}

void scsi_write_verify_run(struct scsi_task *task)
{
    scsi_submit_write(task, 1, write_verify_written); /* iov[0] is for reading back */
}
