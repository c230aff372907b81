/* The life of a task: begin, buffers, run, done. */
#include "scsi/scsi_int.h"

/* How long a task may sit on some of its buffers while it waits for the rest.  Then it gives them back and
 * starts anew, so that tasks that wait for each other's buffers cannot wait for ever. */
#define BUFFER_PATIENCE_NS (50 * RT_MS)

/* ---- Begin ----------------------------------------------------------------------------------- */

/* Unit attention and reservations; false: the task has ended.  SAM-5 5.3.3: conditions of a reset come
 * before RESERVATION CONFLICT, all others after it. */
static bool may_enter(struct scsi_task *task)
{
    const struct scsi_command *command = task->command;
    bool passes = command && command->flags & SCSI_COMMAND_PASSES_ATTENTION;
    struct scsi_sense sense;
    if (task->lun && !passes &&
        scsi_attention_take(task->nexus, task->lun_number, SCSI_ATTENTION_RESETS, &sense)) {
        scsi_fail_sense(task, &sense);
        return false;
    }
    if (task->lun && command && scsi_reservation_conflicts(task)) {
        scsi_fail_status(task, SCSI_STATUS_RESERVATION_CONFLICT);
        return false;
    }
    if (task->lun && !passes &&
        scsi_attention_take(task->nexus, task->lun_number, 0xFFFF, &sense)) {
        scsi_fail_sense(task, &sense);
        return false;
    }
    return true;
}

/* ALLOCATION LENGTH: how much parameter data at most (SPC-4 4.2.5.6). */
static void parse_allocation(struct scsi_task *task)
{
    const struct scsi_command *command = task->command;
    const uint8_t *at = task->cdb + command->allocation_at;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < command->allocation_bytes; i++)
        bytes = bytes << 8 | at[i];
    scsi_state(task)->allocation_bytes = bytes;
    scsi_state(task)->need_bytes = command->reply_bytes;
    task->transfer = bytes ? SCSI_TRANSFER_IN : SCSI_TRANSFER_NONE;
    task->transfer_bytes = bytes;
}

static void parse(struct scsi_task *task, bool opcode_known)
{
    const struct scsi_command *command = task->command;
    if (!task->lun && !(command && command->flags & SCSI_COMMAND_ANY_LUN)) {
        scsi_fail(task, STATUS_LUN_NOT_SUPPORTED);
        return;
    }
    if (!may_enter(task)) return;
    if (!command) {
        if (opcode_known) {
            scsi_fail_cdb(task, 1, 4);
        } else {
            scsi_fail(task, STATUS_INVALID_OPCODE);
        }
        return;
    }
    if (task->cdb_size < command->cdb_bytes) {
        scsi_fail_cdb(task, 0, -1);
        return;
    }
    /* SAM-5 5.2: NACA, which standard INQUIRY data says is not supported. */
    if (task->cdb[command->cdb_bytes - 1] & 0x04) {
        scsi_fail_cdb(task, command->cdb_bytes - 1U, 2);
        return;
    }
    if (command->flags & SCSI_COMMAND_WRITES && scsi_lun_is_write_protected(task->lun)) {
        scsi_fail(task, STATUS_WRITE_PROTECTED);
        return;
    }
    if (command->allocation_bytes) parse_allocation(task);
    if (command->parse) command->parse(task);
}

void scsi_task_begin(struct scsi_task *task, struct scsi_nexus *nexus, const uint8_t lun_field[8],
                     const uint8_t *cdb, unsigned cdb_size)
{
    struct scsi_task_state *state = scsi_state(task);
    memset(state, 0, sizeof task->private_);
    task->transfer = SCSI_TRANSFER_NONE;
    task->transfer_bytes = task->out_bytes = task->out_offered_bytes = task->in_bytes = 0;
    task->out_iov = task->in_iov = NULL;
    task->out_iov_count = task->in_iov_count = 0;
    task->scsi_status = SCSI_STATUS_GOOD;
    task->sense_bytes = 0;
    task->aborted = task->finished = false;
    task->done = NULL;
    task->nexus = nexus;
    task->cdb_size = min_of(cdb_size, (unsigned)SCSI_CDB_MAX);
    memset(task->cdb, 0, sizeof task->cdb);
    if (task->cdb_size) memcpy(task->cdb, cdb, task->cdb_size);
    list_node_init(&task->lun_link);
    list_node_init(&task->waiter.link);

    state->rt = nexus->map->rt;
    struct scsi_map_entry *entry = scsi_map_lookup(nexus->map, lun_field, &task->lun_number);
    task->lun = entry ? entry->lun : NULL;
    bool opcode_known = false;
    task->command = scsi_command_find(task->cdb[0], task->cdb[1] & 0x1F, &opcode_known);
    parse(task, opcode_known);
    if (scsi_has_failed(task)) {
        task->finished = true;
        task->lun = NULL;
        task->transfer = SCSI_TRANSFER_NONE;
        task->transfer_bytes = 0;
        state->phase = SCSI_PHASE_DONE;
        return;
    }
    state->entry = entry;
    if (entry) {
        scsi_map_entry_hold(entry);
        list_push_back(&task->lun->tasks, &task->lun_link);
    }
    nexus->running++;
}

/* ---- Buffers --------------------------------------------------------------------------------- */

static uint32_t chunk_bytes(const struct scsi_task_state *state, uint32_t at)
{
    return min_of((uint32_t)SCSI_CHUNK_BYTES, state->need_bytes - at);
}

static void put_buffers(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    unsigned i = 0;
    for (uint32_t at = 0; at < state->have_bytes; i++) {
        uint32_t size = chunk_bytes(state, at);
        rt_buf_put(state->rt, task->iov[i].iov_base, size);
        at += size;
    }
    state->have_bytes = 0;
}

static bool get_buffers(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    unsigned i = state->have_bytes / SCSI_CHUNK_BYTES;
    while (state->have_bytes < state->need_bytes) {
        uint32_t size = chunk_bytes(state, state->have_bytes);
        void *buf = rt_buf_get_for(state->rt, size, RT_BUF_COMMAND);
        if (!buf) return false;
        task->iov[i++] = (struct iovec){.iov_base = buf, .iov_len = size};
        state->have_bytes += size;
    }
    return true;
}

static void run_command(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    state->phase = SCSI_PHASE_RUNNING;
    const struct scsi_command *command = task->command;
    if (command->allocation_bytes && command->reply_bytes) {
        memset(task->iov[0].iov_base, 0, command->reply_bytes);
        state->reply = buf_writer(task->iov[0].iov_base, command->reply_bytes);
    }
    command->run(task);
}

static void buffer_came(struct rt_buf_waiter *waiter);

static void patience_ended(struct rt_timer *timer)
{
    struct scsi_task_state *state = container_of(timer, struct scsi_task_state, patience);
    struct scsi_task *task = container_of(state, struct scsi_task, private_);
    rt_buf_wait_cancel(state->rt, &task->waiter);
    put_buffers(task);
    rt_buf_wait(state->rt, &task->waiter, buffer_came);
}

static void wait_for_buffers(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    state->phase = SCSI_PHASE_BUFFERS;
    if (state->have_bytes && !rt_timer_is_pending(&state->patience)) {
        rt_timer_set(state->rt, &state->patience, rt_now(state->rt) + BUFFER_PATIENCE_NS,
                     patience_ended);
    }
    rt_buf_wait(state->rt, &task->waiter, buffer_came);
}

static void buffer_came(struct rt_buf_waiter *waiter)
{
    struct scsi_task *task = container_of(waiter, struct scsi_task, waiter);
    struct scsi_task_state *state = scsi_state(task);
    if (scsi_is_aborted(task)) {
        rt_timer_cancel(state->rt, &state->patience);
        scsi_fail_status(task, SCSI_STATUS_TASK_ABORTED);
        scsi_complete(task);
        return;
    }
    if (!get_buffers(task)) {
        wait_for_buffers(task);
        return;
    }
    rt_timer_cancel(state->rt, &state->patience);
    run_command(task);
}

/* ---- Execute --------------------------------------------------------------------------------- */

/* What changed since begin: the data-out may have taken its time. */
static bool may_still_run(struct scsi_task *task)
{
    const struct scsi_task_state *state = scsi_state(task);
    if (state->entry && state->entry->removed && !state->entry->replaced) {
        scsi_fail(task, STATUS_LUN_NOT_SUPPORTED);
    } else if (task->lun && scsi_reservation_conflicts(task)) {
        /* A fenced initiator's late write must not land after the PREEMPT was answered. */
        scsi_fail_status(task, SCSI_STATUS_RESERVATION_CONFLICT);
    } else if (scsi_is_aborted(task)) {
        scsi_fail_status(task, SCSI_STATUS_TASK_ABORTED);
    }
    return !scsi_has_failed(task);
}

void scsi_task_execute(struct scsi_task *task, void (*done)(struct scsi_task *task))
{
    check(!task->finished && !task->done);
    task->done = done;
    if (!may_still_run(task)) {
        scsi_complete_later(task);
    } else if (get_buffers(task)) {
        run_command(task);
    } else {
        wait_for_buffers(task);
    }
}

/* Nothing of the task is bound to LUN or nexus any more. */
static void detach(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    state->phase = SCSI_PHASE_DONE;
    task->nexus->running--;
    if (state->entry) {
        list_remove(&task->lun_link);
        if (state->preempting) list_remove(&task->query.link); /* only after a crash */
        scsi_pr_task_ended(task->lun);
        scsi_map_entry_drop(state->entry);
    }
    state->entry = NULL;
    task->lun = NULL;
    task->nexus = NULL;
}

void scsi_complete(struct scsi_task *task)
{
    detach(task);
    task->done(task);
}

static void completed_later(struct rt_message *message)
{
    scsi_complete(container_of(message, struct scsi_task, message));
}

void scsi_complete_later(struct scsi_task *task)
{
    scsi_state(task)->phase = SCSI_PHASE_RUNNING;
    task->message = (struct rt_message){.fn = completed_later};
    rt_post(scsi_state(task)->rt, &task->message);
}

void scsi_task_release(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    if (state->phase == SCSI_PHASE_BUFFERS) {
        rt_buf_wait_cancel(state->rt, &task->waiter);
        rt_timer_cancel(state->rt, &state->patience);
    }
    if (state->phase != SCSI_PHASE_DONE) detach(task);
    put_buffers(task);
}

/* ---- Data ------------------------------------------------------------------------------------ */

bool scsi_out_copy(const struct scsi_task *task, uint64_t offset, void *to, size_t size_bytes)
{
    if (offset > task->out_bytes || size_bytes > task->out_bytes - offset) return false;
    uint8_t *at = to;
    for (unsigned i = 0; i < task->out_iov_count && size_bytes; i++) {
        const struct iovec *v = &task->out_iov[i];
        if (offset >= v->iov_len) {
            offset -= v->iov_len;
            continue;
        }
        size_t part = min_of(size_bytes, v->iov_len - (size_t)offset);
        memcpy(at, (const uint8_t *)v->iov_base + offset, part);
        at += part;
        size_bytes -= part;
        offset = 0;
    }
    return size_bytes == 0;
}

unsigned scsi_iov_slice(const struct iovec *iov, unsigned iov_count, uint64_t offset,
                        uint64_t size_bytes, struct iovec *to, unsigned max)
{
    unsigned count = 0;
    for (unsigned i = 0; i < iov_count && size_bytes; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        if (count == max) return 0;
        uint64_t part = min_of(size_bytes, iov[i].iov_len - offset);
        to[count++] = (struct iovec){.iov_base = (uint8_t *)iov[i].iov_base + offset,
                                     .iov_len = (size_t)part};
        size_bytes -= part;
        offset = 0;
    }
    return size_bytes ? 0 : count;
}

void scsi_reply_done(struct scsi_task *task)
{
    struct scsi_task_state *state = scsi_state(task);
    check(!state->reply.failed);
    task->in_bytes = min_of((uint64_t)buf_used(&state->reply), state->allocation_bytes);
    task->iov[0].iov_len = (size_t)task->in_bytes;
    task->in_iov = task->iov;
    task->in_iov_count = task->in_bytes ? 1 : 0;
    scsi_complete_later(task);
}
