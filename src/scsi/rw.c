/* Ranges, READ, WRITE, SYNCHRONIZE CACHE, PRE-FETCH (SBC-3 5). */
#include "scsi/scsi_int.h"

uint64_t scsi_lun_sectors(const struct scsi_lun *lun)
{
    return volume_size_bytes(lun->volume) / SECTOR_BYTES;
}

/* SBC-3 4.6: written so that LBA + count cannot wrap.  A range of no blocks may begin at the end. */
bool scsi_check_range(struct scsi_task *task, uint64_t lba, uint64_t sectors)
{
    uint64_t capacity = scsi_lun_sectors(task->lun);
    if (lba <= capacity && sectors <= capacity - lba) return true;
    scsi_fail_lba(task, max_of(lba, capacity));
    return false;
}

static void decode_range(const struct scsi_task *task, uint64_t *ret_lba, uint64_t *ret_sectors)
{
    const uint8_t *cdb = task->cdb;
    switch (scsi_command_of(task)->cdb_bytes) {
    case 6:
        *ret_lba = load_be24(cdb + 1) & 0x1FFFFF;
        *ret_sectors = cdb[4] ? cdb[4] : 256; /* SBC-3 5.7: READ(6), WRITE(6) */
        break;
    case 10:
        *ret_lba = load_be32(cdb + 2);
        *ret_sectors = load_be16(cdb + 7);
        break;
    case 12:
        *ret_lba = load_be32(cdb + 2);
        *ret_sectors = load_be32(cdb + 6);
        break;
    default:
        *ret_lba = load_be64(cdb + 2);
        *ret_sectors = load_be32(cdb + 10);
        break;
    }
}

bool scsi_parse_range(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    decode_range(task, &state->lba, &state->sectors);
    return scsi_check_range(task, state->lba, state->sectors);
}

bool scsi_check_protect(struct scsi_task *task)
{
    if (!(task->cdb[1] & 0xE0)) return true;
    scsi_fail_cdb(task, 1, 7); /* no protection information (SBC-3 5.10, table 48) */
    return false;
}

bool scsi_check_transfer(struct scsi_task *task)
{
    if (scsi_state(task)->sectors <= SCSI_TRANSFER_MAX_SECTORS) return true;
    scsi_fail_cdb(task, scsi_command_of(task)->cdb_bytes == 16 ? 10 : 6, -1); /* SBC-3 6.5.3 */
    return false;
}

unsigned scsi_write_flags(struct scsi_task *task)
{
    bool fua = scsi_state(task)->fua || !task->lun->mode.write_cache;
    return fua ? VOLUME_FUA : 0;
}

void scsi_submit(struct scsi_task *task, enum volume_op op, uint64_t lba, uint64_t sectors,
                 const struct iovec *iov, unsigned iov_count, void (*done)(struct volume_io *io))
{
    struct volume_io *io = &task->io;
    io->op = op;
    io->flags = op == VOLUME_READ || op == VOLUME_FLUSH ? 0 : scsi_write_flags(task);
    io->sector = lba;
    io->sector_count = sectors;
    io->iov = iov;
    io->iov_count = iov_count;
    io->done = done;
    io->status = STATUS_OK;
    io->miscompare_offset = 0;
    list_node_init(&io->link);
    if (op != VOLUME_FLUSH) task->lun->last_use_ns = rt_now(task->lun->rt);
    volume_submit(task->lun->volume, io);
}

bool scsi_io_ended(struct scsi_task *task)
{
    if (task->io.status != STATUS_OK) {
        scsi_fail(task, task->io.status);
    } else if (scsi_is_aborted(task)) {
        scsi_fail_status(task, SCSI_STATUS_TASK_ABORTED);
    } else {
        return false;
    }
    scsi_complete(task);
    return true;
}

void scsi_io_done(struct volume_io *io)
{
    struct scsi_task *task = scsi_task_of_io(io);
    if (io->status != STATUS_OK) scsi_fail(task, io->status);
    scsi_complete(task);
}

void scsi_nothing_run(struct scsi_task *task)
{
    scsi_complete_later(task);
}

/* ---- READ ------------------------------------------------------------------------------------ */

void scsi_read_parse(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    if (task->cdb[0] != 0x08 && !scsi_check_protect(task)) return;
    if (!scsi_parse_range(task) || !scsi_check_transfer(task)) return;
    if (!state->sectors) return;
    task->transfer = SCSI_TRANSFER_IN;
    task->transfer_bytes = state->sectors * SECTOR_BYTES;
    state->need_bytes = (uint32_t)task->transfer_bytes;
}

static void read_done(struct volume_io *io)
{
    struct scsi_task *task = scsi_task_of_io(io);
    if (io->status == STATUS_OK) {
        task->in_iov = task->iov;
        task->in_iov_count = io->iov_count;
        task->in_bytes = io->sector_count * SECTOR_BYTES;
    }
    scsi_io_done(io);
}

void scsi_read_run(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    if (!state->sectors) {
        scsi_complete_later(task);
        return;
    }
    unsigned chunks = (state->need_bytes + SCSI_CHUNK_BYTES - 1) / SCSI_CHUNK_BYTES;
    scsi_submit(task, VOLUME_READ, state->lba, state->sectors, task->iov, chunks, read_done);
}

/* ---- WRITE ----------------------------------------------------------------------------------- */

void scsi_write_parse(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    if (task->cdb[0] != 0x0A) {
        if (!scsi_check_protect(task)) return;
        state->fua = task->cdb[1] & 0x08;
    }
    if (!scsi_parse_range(task) || !scsi_check_transfer(task)) return;
    if (!state->sectors) return;
    task->transfer = SCSI_TRANSFER_OUT;
    task->transfer_bytes = state->sectors * SECTOR_BYTES;
}

void scsi_submit_write(struct scsi_task *task, unsigned kept, void (*done)(struct volume_io *io))
{
    struct scsi_task_state *state = scsi_state(task);
    /* RFC 7143 11.4.5.2: after residual overflow only what came is written. */
    state->sectors = min_of(state->sectors, task->out_bytes / SECTOR_BYTES);
    if (!state->sectors) {
        scsi_complete_later(task);
        return;
    }
    const struct iovec *iov = task->out_iov;
    unsigned iov_count = task->out_iov_count;
    if (task->out_bytes != state->sectors * SECTOR_BYTES) {
        iov_count = scsi_iov_slice(iov, iov_count, 0, state->sectors * SECTOR_BYTES,
                                   task->iov + kept, RT_IOV_MAX - kept);
        iov = task->iov + kept;
        if (!iov_count) { /* in more pieces than a request takes */
            scsi_fail(task, STATUS_INTERNAL);
            scsi_complete_later(task);
            return;
        }
    }
    scsi_submit(task, VOLUME_WRITE, state->lba, state->sectors, iov, iov_count, done);
}

void scsi_write_run(struct scsi_task *task)
{
    scsi_submit_write(task, 0, scsi_io_done);
}

/* ---- SYNCHRONIZE CACHE, PRE-FETCH ------------------------------------------------------------ */

/* The range is checked, then the whole volume is flushed.  IMMED is not used: the answer comes after the
 * flush, which is within what SBC-3 5.22 allows to expect. */
void scsi_sync_parse(struct scsi_task *task)
{
    (void)scsi_parse_range(task);
}

void scsi_sync_run(struct scsi_task *task)
{
    scsi_submit(task, VOLUME_FLUSH, 0, 0, NULL, 0, scsi_io_done);
}

void scsi_prefetch_parse(struct scsi_task *task)
{
    (void)scsi_parse_range(task);
}
