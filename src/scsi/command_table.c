/*
 * The one table of commands: dispatch, REPORT SUPPORTED OPERATION CODES, reservations, write protection.
 *
 * Rows stand in order of opcode and service action.  A row's usage bitmap is CDB USAGE DATA (SPC-4
 * 6.35.3): a set bit is one that the device server reads.
 */
#include "scsi/scsi_int.h"

#define SA SCSI_COMMAND_SERVICE_ACTION
#define WRITES SCSI_COMMAND_WRITES
#define PASSES SCSI_COMMAND_PASSES_ATTENTION
#define ANY_LUN SCSI_COMMAND_ANY_LUN
#define FREE SCSI_ACCESS_FREE
#define QUERY SCSI_ACCESS_QUERY
#define READ SCSI_ACCESS_READ
#define WRITE SCSI_ACCESS_WRITE
#define NO_ALLOCATION 0, 0, 0
#define FF 0xFF
#define LBA4 FF, FF, FF, FF
#define LBA8 LBA4, LBA4

/* clang-format off */
#define PR_OUT_ROW(action_name, action)                                                            \
    {"PERSISTENT RESERVE OUT, " action_name, 0x5F, action, 10, SCSI_ACCESS_PR_OUT, SA,             \
     NO_ALLOCATION, 10, scsi_pr_out_parse, scsi_pr_out_run, {0x5F, action, FF, 0, 0, LBA4, 0x04}}

/* name; opcode, service action, CDB bytes; access, flags; allocation length at, bytes, bound of the reply;
 * timeout; parse, run; usage */
const struct scsi_command scsi_commands[] = {
    {"TEST UNIT READY", 0x00, 0, 6, QUERY, 0, NO_ALLOCATION, 10, NULL, scsi_test_unit_ready_run,
     {0x00, 0, 0, 0, 0, 0x04}},
    {"REQUEST SENSE", 0x03, 0, 6, FREE, PASSES | ANY_LUN, 4, 1, SCSI_REPLY_SMALL, 10, NULL,
     scsi_request_sense_run, {0x03, 0x01, 0, 0, FF, 0x04}},
    {"READ(6)", 0x08, 0, 6, READ, 0, NO_ALLOCATION, 30, scsi_read_parse, scsi_read_run,
     {0x08, 0x1F, FF, FF, FF, 0x04}},
    {"WRITE(6)", 0x0A, 0, 6, WRITE, WRITES, NO_ALLOCATION, 30, scsi_write_parse, scsi_write_run,
     {0x0A, 0x1F, FF, FF, FF, 0x04}},
    {"INQUIRY", 0x12, 0, 6, FREE, PASSES | ANY_LUN, 3, 2, SCSI_REPLY_SMALL, 10, scsi_inquiry_parse,
     scsi_inquiry_run, {0x12, 0x01, FF, FF, FF, 0x04}},
    {"MODE SELECT(6)", 0x15, 0, 6, WRITE, 0, NO_ALLOCATION, 10, scsi_mode_select_parse,
     scsi_mode_select_run, {0x15, 0x11, 0, 0, FF, 0x04}},
    {"RESERVE(6)", 0x16, 0, 6, SCSI_ACCESS_RESERVE, 0, NO_ALLOCATION, 10, NULL, scsi_reserve_run,
     {0x16, 0, 0, 0, 0, 0x04}},
    {"RELEASE(6)", 0x17, 0, 6, SCSI_ACCESS_RESERVE, 0, NO_ALLOCATION, 10, NULL, scsi_release_run,
     {0x17, 0, 0, 0, 0, 0x04}},
    {"MODE SENSE(6)", 0x1A, 0, 6, WRITE, 0, 4, 1, SCSI_REPLY_SMALL, 10, scsi_mode_sense_parse,
     scsi_mode_sense_run, {0x1A, 0x08, FF, FF, FF, 0x04}},
    {"START STOP UNIT", 0x1B, 0, 6, QUERY, 0, NO_ALLOCATION, 10, scsi_start_stop_parse,
     scsi_nothing_run, {0x1B, 0x01, 0, 0x0F, 0xF7, 0x04}},
    {"READ CAPACITY(10)", 0x25, 0, 10, FREE, 0, NO_ALLOCATION, 10, scsi_read_capacity_10_parse,
     scsi_read_capacity_10_run, {0x25, 0, LBA4, 0, 0, 0x01, 0x04}},
    {"READ(10)", 0x28, 0, 10, READ, 0, NO_ALLOCATION, 30, scsi_read_parse, scsi_read_run,
     {0x28, 0xFA, LBA4, 0, FF, FF, 0x04}},
    {"WRITE(10)", 0x2A, 0, 10, WRITE, WRITES, NO_ALLOCATION, 30, scsi_write_parse, scsi_write_run,
     {0x2A, 0xFA, LBA4, 0, FF, FF, 0x04}},
    {"WRITE AND VERIFY(10)", 0x2E, 0, 10, WRITE, WRITES, NO_ALLOCATION, 30, scsi_write_verify_parse,
     scsi_write_verify_run, {0x2E, 0xF6, LBA4, 0, FF, FF, 0x04}},
    {"VERIFY(10)", 0x2F, 0, 10, READ, 0, NO_ALLOCATION, 60, scsi_verify_parse, scsi_verify_run,
     {0x2F, 0xF6, LBA4, 0, FF, FF, 0x04}},
    {"PRE-FETCH(10)", 0x34, 0, 10, READ, 0, NO_ALLOCATION, 10, scsi_prefetch_parse,
     scsi_nothing_run, {0x34, 0x02, LBA4, 0, FF, FF, 0x04}},
    {"SYNCHRONIZE CACHE(10)", 0x35, 0, 10, WRITE, 0, NO_ALLOCATION, 60, scsi_sync_parse,
     scsi_sync_run, {0x35, 0x06, LBA4, 0, FF, FF, 0x04}},
    {"READ DEFECT DATA(10)", 0x37, 0, 10, QUERY, 0, 7, 2, SCSI_REPLY_SMALL, 10, NULL,
     scsi_defect_data_run, {0x37, 0, 0x1F, 0, 0, 0, 0, FF, FF, 0x04}},
    {"WRITE SAME(10)", 0x41, 0, 10, WRITE, WRITES, NO_ALLOCATION, 60, scsi_write_same_parse,
     scsi_write_same_run, {0x41, 0xF8, LBA4, 0, FF, FF, 0x04}},
    {"UNMAP", 0x42, 0, 10, WRITE, WRITES, NO_ALLOCATION, 60, scsi_unmap_parse, scsi_unmap_run,
     {0x42, 0x01, 0, 0, 0, 0, 0, FF, FF, 0x04}},
    {"LOG SENSE", 0x4D, 0, 10, QUERY, 0, 7, 2, SCSI_REPLY_SMALL, 10, scsi_log_sense_parse,
     scsi_log_sense_run, {0x4D, 0x01, FF, FF, 0, 0, 0, FF, FF, 0x04}},
    {"MODE SELECT(10)", 0x55, 0, 10, WRITE, 0, NO_ALLOCATION, 10, scsi_mode_select_parse,
     scsi_mode_select_run, {0x55, 0x11, 0, 0, 0, 0, 0, FF, FF, 0x04}},
    {"MODE SENSE(10)", 0x5A, 0, 10, WRITE, 0, 7, 2, SCSI_REPLY_SMALL, 10, scsi_mode_sense_parse,
     scsi_mode_sense_run, {0x5A, 0x18, FF, FF, 0, 0, 0, FF, FF, 0x04}},
    {"PERSISTENT RESERVE IN, READ KEYS", 0x5E, 0, 10, QUERY, SA, 7, 2, SCSI_REPLY_SMALL, 10, NULL,
     scsi_pr_read_keys_run, {0x5E, 0x00, 0, 0, 0, 0, 0, FF, FF, 0x04}},
    {"PERSISTENT RESERVE IN, READ RESERVATION", 0x5E, 1, 10, QUERY, SA, 7, 2, SCSI_REPLY_SMALL, 10,
     NULL, scsi_pr_read_reservation_run, {0x5E, 0x01, 0, 0, 0, 0, 0, FF, FF, 0x04}},
    {"PERSISTENT RESERVE IN, REPORT CAPABILITIES", 0x5E, 2, 10, QUERY, SA, 7, 2, SCSI_REPLY_SMALL,
     10, NULL, scsi_pr_capabilities_run, {0x5E, 0x02, 0, 0, 0, 0, 0, FF, FF, 0x04}},
    {"PERSISTENT RESERVE IN, READ FULL STATUS", 0x5E, 3, 10, QUERY, SA, 7, 2, SCSI_REPLY_LARGE, 10,
     NULL, scsi_pr_full_status_run, {0x5E, 0x03, 0, 0, 0, 0, 0, FF, FF, 0x04}},
    PR_OUT_ROW("REGISTER", 0),
    PR_OUT_ROW("RESERVE", 1),
    PR_OUT_ROW("RELEASE", 2),
    PR_OUT_ROW("CLEAR", 3),
    PR_OUT_ROW("PREEMPT", 4),
    PR_OUT_ROW("PREEMPT AND ABORT", 5),
    PR_OUT_ROW("REGISTER AND IGNORE EXISTING KEY", 6),
    {"READ(16)", 0x88, 0, 16, READ, 0, NO_ALLOCATION, 30, scsi_read_parse, scsi_read_run,
     {0x88, 0xFA, LBA8, LBA4, 0, 0x04}},
    {"COMPARE AND WRITE", 0x89, 0, 16, WRITE, WRITES, NO_ALLOCATION, 30, scsi_compare_write_parse,
     scsi_compare_write_run, {0x89, 0xFA, LBA8, 0, 0, 0, FF, 0, 0x04}},
    {"WRITE(16)", 0x8A, 0, 16, WRITE, WRITES, NO_ALLOCATION, 30, scsi_write_parse, scsi_write_run,
     {0x8A, 0xFA, LBA8, LBA4, 0, 0x04}},
    {"ORWRITE", 0x8B, 0, 16, WRITE, WRITES, NO_ALLOCATION, 30, scsi_or_write_parse,
     scsi_or_write_run, {0x8B, 0xFA, LBA8, LBA4, 0, 0x04}},
    {"WRITE AND VERIFY(16)", 0x8E, 0, 16, WRITE, WRITES, NO_ALLOCATION, 30, scsi_write_verify_parse,
     scsi_write_verify_run, {0x8E, 0xF6, LBA8, LBA4, 0, 0x04}},
    {"VERIFY(16)", 0x8F, 0, 16, READ, 0, NO_ALLOCATION, 60, scsi_verify_parse, scsi_verify_run,
     {0x8F, 0xF6, LBA8, LBA4, 0, 0x04}},
    {"PRE-FETCH(16)", 0x90, 0, 16, READ, 0, NO_ALLOCATION, 10, scsi_prefetch_parse,
     scsi_nothing_run, {0x90, 0x02, LBA8, LBA4, 0, 0x04}},
    {"SYNCHRONIZE CACHE(16)", 0x91, 0, 16, WRITE, 0, NO_ALLOCATION, 60, scsi_sync_parse,
     scsi_sync_run, {0x91, 0x06, LBA8, LBA4, 0, 0x04}},
    {"WRITE SAME(16)", 0x93, 0, 16, WRITE, WRITES, NO_ALLOCATION, 60, scsi_write_same_parse,
     scsi_write_same_run, {0x93, 0xF9, LBA8, LBA4, 0, 0x04}},
    {"READ CAPACITY(16)", 0x9E, 0x10, 16, FREE, SA, 10, 4, SCSI_REPLY_SMALL, 10, NULL,
     scsi_read_capacity_16_run, {0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, LBA4, 0, 0x04}},
    {"GET LBA STATUS", 0x9E, 0x12, 16, READ, SA, 10, 4, SCSI_REPLY_SMALL, 30, scsi_lba_status_parse,
     scsi_lba_status_run, {0x9E, 0x12, LBA8, LBA4, 0, 0x04}},
    {"REPORT LUNS", 0xA0, 0, 12, FREE, PASSES | ANY_LUN, 6, 4, SCSI_REPLY_SMALL, 10,
     scsi_report_luns_parse, scsi_report_luns_run, {0xA0, 0, FF, 0, 0, 0, LBA4, 0, 0x04}},
    {"REPORT TARGET PORT GROUPS", 0xA3, 0x0A, 12, FREE, SA, 6, 4, SCSI_REPLY_SMALL, 10,
     scsi_rtpg_parse, scsi_rtpg_run, {0xA3, 0xEA, 0, 0, 0, 0, LBA4, 0, 0x04}},
    {"REPORT SUPPORTED OPERATION CODES", 0xA3, 0x0C, 12, QUERY, SA, 6, 4, SCSI_REPLY_SMALL, 10,
     scsi_rsoc_parse, scsi_rsoc_run, {0xA3, 0x0C, 0x87, FF, FF, FF, LBA4, 0, 0x04}},
    {"REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", 0xA3, 0x0D, 12, QUERY, SA, 6, 4,
     SCSI_REPLY_SMALL, 10, NULL, scsi_rstmf_run, {0xA3, 0x0D, 0x80, 0, 0, 0, LBA4, 0, 0x04}},
    {"READ(12)", 0xA8, 0, 12, READ, 0, NO_ALLOCATION, 30, scsi_read_parse, scsi_read_run,
     {0xA8, 0xFA, LBA4, LBA4, 0, 0x04}},
    {"WRITE(12)", 0xAA, 0, 12, WRITE, WRITES, NO_ALLOCATION, 30, scsi_write_parse, scsi_write_run,
     {0xAA, 0xFA, LBA4, LBA4, 0, 0x04}},
    {"WRITE AND VERIFY(12)", 0xAE, 0, 12, WRITE, WRITES, NO_ALLOCATION, 30, scsi_write_verify_parse,
     scsi_write_verify_run, {0xAE, 0xF6, LBA4, LBA4, 0, 0x04}},
    {"VERIFY(12)", 0xAF, 0, 12, READ, 0, NO_ALLOCATION, 60, scsi_verify_parse, scsi_verify_run,
     {0xAF, 0xF6, LBA4, LBA4, 0, 0x04}},
    {"READ DEFECT DATA(12)", 0xB7, 0, 12, QUERY, 0, 6, 4, SCSI_REPLY_SMALL, 10, NULL,
     scsi_defect_data_run, {0xB7, 0x1F, LBA4, LBA4, 0, 0x04}},
};
/* clang-format on */
const unsigned scsi_command_count = countof(scsi_commands);

/* The first row that is not before the opcode. */
static unsigned lower_bound(uint8_t opcode)
{
    unsigned from = 0, to = countof(scsi_commands);
    while (from < to) {
        unsigned middle = (from + to) / 2;
        if (scsi_commands[middle].opcode < opcode) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

const struct scsi_command *scsi_command_find(uint8_t opcode, uint8_t service_action,
                                             bool *ret_opcode_known)
{
    *ret_opcode_known = false;
    for (unsigned i = lower_bound(opcode); i < countof(scsi_commands); i++) {
        const struct scsi_command *command = &scsi_commands[i];
        if (command->opcode != opcode) break;
        *ret_opcode_known = true;
        if (!(command->flags & SA) || command->service_action == service_action) return command;
    }
    return NULL;
}
