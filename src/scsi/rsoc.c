/* What the device server can do, told to hosts: REPORT SUPPORTED OPERATION CODES, REPORT SUPPORTED TASK
 * MANAGEMENT FUNCTIONS, REPORT TARGET PORT GROUPS (SPC-4 6.35, 6.36, 6.37). */
#include "scsi/scsi_int.h"

enum { REPORT_ALL = 0, REPORT_OPCODE = 1, REPORT_SERVICE_ACTION = 2, REPORT_EITHER = 3 };

static void put_timeouts(struct buf_writer *w, const struct scsi_command *command)
{
    buf_put_be16(w, 10);
    buf_put_be16(w, 0);
    buf_put_be32(w, 0);
    buf_put_be32(w, command->timeout_s);
}

void scsi_rsoc_parse(struct scsi_task *task)
{
    bool known;
    unsigned option = task->cdb[2] & 0x07;
    const struct scsi_command *command =
        scsi_command_find(task->cdb[3], task->cdb[5] & 0x1F, &known);
    /* Is it an opcode with service actions?  Rows of one opcode agree. */
    bool has_actions = false;
    for (unsigned i = 0; i < scsi_command_count; i++) {
        if (scsi_commands[i].opcode != task->cdb[3]) continue;
        has_actions = scsi_commands[i].flags & SCSI_COMMAND_SERVICE_ACTION;
    }
    if (option > REPORT_EITHER) {
        scsi_fail_cdb(task, 2, 2);
    } else if (option == REPORT_OPCODE && has_actions) {
        scsi_fail_cdb(task, 2, 2);
    } else if (option == REPORT_SERVICE_ACTION && command && !has_actions) {
        scsi_fail_cdb(task, 2, 2);
    }
}

static void report_all(struct buf_writer *w, bool timeouts)
{
    uint8_t *header = buf_put(w, 4);
    for (unsigned i = 0; i < scsi_command_count; i++) {
        const struct scsi_command *command = &scsi_commands[i];
        bool actions = command->flags & SCSI_COMMAND_SERVICE_ACTION;
        uint8_t *p = buf_put(w, 8);
        p[0] = command->opcode;
        store_be16(p + 2, command->service_action);
        p[5] = (uint8_t)((timeouts ? 0x02 : 0) | (actions ? 0x01 : 0));
        store_be16(p + 6, command->cdb_bytes);
        if (timeouts) put_timeouts(w, command);
    }
    store_be32(header, (uint32_t)(buf_used(w) - 4));
}

static void report_one(struct buf_writer *w, const struct scsi_command *command, bool timeouts)
{
    uint8_t *p = buf_put(w, 4);
    p[1] = 0x01; /* not supported */
    if (!command) return;
    p[1] = (uint8_t)((timeouts ? 0x80 : 0) | 0x03); /* supported as in the standard */
    store_be16(p + 2, command->cdb_bytes);
    buf_put_bytes(w, command->usage, command->cdb_bytes);
    if (timeouts) put_timeouts(w, command);
}

void scsi_rsoc_run(struct scsi_task *task)
{
    struct buf_writer *w = &scsi_state(task)->reply;
    bool timeouts = task->cdb[2] & 0x80; /* RCTD */
    if ((task->cdb[2] & 0x07) == REPORT_ALL) {
        report_all(w, timeouts);
    } else {
        bool known;
        unsigned action = load_be16(task->cdb + 4);
        const struct scsi_command *command =
            scsi_command_find(task->cdb[3], (uint8_t)(action & 0x1F), &known);
        bool right = command &&
                     (action == command->service_action || (task->cdb[2] & 0x07) == REPORT_OPCODE);
        report_one(w, right ? command : NULL, timeouts);
    }
    scsi_reply_done(task);
}

void scsi_rstmf_run(struct scsi_task *task)
{
    bool extended = task->cdb[2] & 0x80; /* REPD: with timeouts, all of them not given */
    uint8_t *p = buf_put(&scsi_state(task)->reply, extended ? 16 : 4);
    p[0] = 0x80 | 0x40 | 0x10 | 0x08; /* ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LU RESET */
    if (extended) p[3] = 12;
    scsi_reply_done(task);
}

void scsi_rtpg_parse(struct scsi_task *task)
{
    if (task->cdb[1] >> 5 > 1) scsi_fail_cdb(task, 1, 7);
}

static void put_group(struct buf_writer *w, uint16_t group, uint16_t relative_port)
{
    uint8_t *p = buf_put(w, 12);
    p[0] = 0x00; /* active/optimized */
    p[1] = 0x01; /* AO_SUP */
    store_be16(p + 2, group);
    p[7] = 1; /* port */
    store_be16(p + 10, relative_port);
}

/* One group for each portal, always active/optimized. */
void scsi_rtpg_run(struct scsi_task *task)
{
    struct buf_writer *w = &scsi_state(task)->reply;
    const struct scsi_nexus *nexus = task->nexus;
    uint8_t *header = buf_put(w, 4);
    if (task->cdb[1] >> 5) buf_put_be32(w, 0x10000000); /* extended header, no transition time */
    for (unsigned i = 1; i <= nexus->portal_count; i++)
        put_group(w, (uint16_t)i, (uint16_t)i);
    if (!nexus->portal_count) {
        put_group(w, nexus->target_port_group, nexus->port.relative_target_port);
    }
    store_be32(header, (uint32_t)(buf_used(w) - 4));
    scsi_reply_done(task);
}
