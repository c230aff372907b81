/* UNMAP and GET LBA STATUS (SBC-3 5.28, 5.6). */
#include "scsi/scsi_int.h"

enum { HEADER_BYTES = 8, DESCRIPTOR_BYTES = 16 };

void scsi_unmap_parse(struct scsi_task *task)
{
    if (task->cdb[1] & 0x01) {
        scsi_fail_cdb(task, 1, 0); /* ANCHOR */
        return;
    }
    task->transfer_bytes = load_be16(task->cdb + 7);
    if (task->transfer_bytes) task->transfer = SCSI_TRANSFER_OUT;
}

/* Reads descriptor `index` into the state. */
static void load_descriptor(struct scsi_task *task, uint64_t index)
{
    struct scsi_task_state *state = scsi_state(task);
    uint8_t d[DESCRIPTOR_BYTES];
    bool there = scsi_out_copy(task, HEADER_BYTES + index * DESCRIPTOR_BYTES, d, sizeof d);
    check(there);
    state->lba = load_be64(d);
    state->sectors = load_be32(d + 8);
}

/* Checks the whole list before anything is done; returns the number of descriptors, -1 = failed. */
static int check_list(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    uint8_t header[HEADER_BYTES];
    if (!scsi_out_copy(task, 0, header, sizeof header)) {
        scsi_fail(task, STATUS_PARAMETER_LENGTH);
        return -1;
    }
    unsigned bytes = load_be16(header + 2);
    if (bytes > task->out_bytes - HEADER_BYTES) {
        scsi_fail(task, STATUS_PARAMETER_LENGTH);
        return -1;
    }
    unsigned count = bytes / DESCRIPTOR_BYTES; /* SBC-3 5.28.2: an incomplete last one is ignored */
    if (count > SCSI_UNMAP_DESCRIPTORS_MAX) {
        scsi_fail_parameter(task, 2);
        return -1;
    }
    uint64_t total = 0;
    for (unsigned i = 0; i < count; i++) {
        load_descriptor(task, i);
        if (!scsi_check_range(task, state->lba, state->sectors)) return -1;
        total += state->sectors;
        if (total > SCSI_UNMAP_MAX_SECTORS) {
            scsi_fail_parameter(task, HEADER_BYTES + i * DESCRIPTOR_BYTES + 8);
            return -1;
        }
    }
    return (int)count;
}

static void unmap_next(struct scsi_task *task, bool in_run);

static void unmap_done(struct volume_io *io)
{
    struct scsi_task *task = scsi_task_of_io(io);
    struct scsi_task_state *state = scsi_state(task);
    if (scsi_io_ended(task)) return;
    state->lba += io->sector_count;
    state->sectors -= io->sector_count;
    unmap_next(task, false);
}

/* Whole physical blocks are unmapped; the ragged edges of a range are zeroed, because LBPRZ promises that
 * every block the host gave up reads as zeroes.  state->step = descriptors in all, progress = begun. */
static void unmap_next(struct scsi_task *task, bool in_run)
{
    struct scsi_task_state *state = scsi_state(task);
    while (!state->sectors && state->progress < state->step) {
        load_descriptor(task, state->progress++);
    }
    if (!state->sectors) {
        if (in_run) {
            scsi_complete_later(task);
        } else {
            scsi_complete(task);
        }
        return;
    }
    uint64_t ragged = state->lba % SECTORS_PER_BLOCK;
    if (!ragged && state->sectors >= SECTORS_PER_BLOCK) {
        scsi_submit(task, VOLUME_UNMAP, state->lba,
                    state->sectors / SECTORS_PER_BLOCK * SECTORS_PER_BLOCK, NULL, 0, unmap_done);
    } else {
        scsi_submit(task, VOLUME_ZERO, state->lba,
                    min_of(state->sectors, SECTORS_PER_BLOCK - ragged), NULL, 0, unmap_done);
    }
}

void scsi_unmap_run(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    int count = task->transfer_bytes ? check_list(task) : 0;
    if (count < 0) {
        scsi_complete_later(task);
        return;
    }
    state->step = (uint64_t)count;
    state->progress = state->lba = state->sectors = 0;
    unmap_next(task, true);
}

/* ---- GET LBA STATUS -------------------------------------------------------------------------- */

enum { STATUS_DESCRIPTORS_MAX = 64, STATUS_QUERIES_MAX = 256 };

void scsi_lba_status_parse(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    uint64_t capacity = scsi_lun_sectors(task->lun);
    state->lba = load_be64(task->cdb + 2);
    if (state->lba >= capacity) scsi_fail_lba(task, state->lba);
}

static void status_query(struct scsi_task *task);

/* Adds a run; joins it to the last descriptor where it goes on in the same state. */
static void put_run(struct buf_writer *w, uint64_t lba, uint64_t run, bool mapped)
{
    uint8_t provisioning = mapped ? 0 : 1; /* mapped, deallocated */
    if (buf_used(w) > HEADER_BYTES) {
        uint8_t *last = w->at - DESCRIPTOR_BYTES;
        uint64_t joined = load_be32(last + 8) + run;
        if (last[12] == provisioning && joined <= UINT32_MAX) {
            store_be32(last + 8, (uint32_t)joined);
            return;
        }
    }
    uint8_t *p = buf_put(w, DESCRIPTOR_BYTES);
    store_be64(p, lba);
    store_be32(p + 8, (uint32_t)run);
    p[12] = provisioning;
}

static void status_known(struct volume_map_query *query)
{
    struct scsi_task *task = container_of(query, struct scsi_task, query);
    struct scsi_task_state *state = scsi_state(task);
    struct buf_writer *w = &state->reply;
    if (query->status != STATUS_OK) {
        scsi_fail(task, query->status);
        scsi_complete(task);
        return;
    }
    uint64_t run = min_of(query->run_sectors, (uint64_t)UINT32_MAX);
    check(run > 0);
    put_run(w, state->lba, run, query->mapped);
    state->lba += run;
    uint64_t wanted = state->allocation_bytes > HEADER_BYTES + DESCRIPTOR_BYTES
                          ? (state->allocation_bytes - HEADER_BYTES) / DESCRIPTOR_BYTES
                          : 1;
    uint64_t have = (buf_used(w) - HEADER_BYTES) / DESCRIPTOR_BYTES;
    if (state->lba < scsi_lun_sectors(task->lun) && !scsi_is_aborted(task) &&
        have < min_of(wanted, (uint64_t)STATUS_DESCRIPTORS_MAX) &&
        ++state->progress < STATUS_QUERIES_MAX) {
        status_query(task);
        return;
    }
    store_be32(w->start, (uint32_t)(buf_used(w) - 4));
    scsi_reply_done(task);
}

static void status_query(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    struct volume_map_query *query = &task->query;
    query->sector = state->lba;
    query->sector_count = scsi_lun_sectors(task->lun) - state->lba;
    query->done = status_known;
    list_node_init(&query->link);
    volume_map_status(task->lun->volume, query);
}

void scsi_lba_status_run(struct scsi_task *task)
{
    buf_put_zeroes(&scsi_state(task)->reply, HEADER_BYTES);
    status_query(task);
}
