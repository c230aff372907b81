/* Reservations: who may do what.  RESERVE and RELEASE of SPC-2; PERSISTENT RESERVE IN of SPC-4 6.15.  The
 * service actions that change something are in pr_out.c. */
#include "scsi/scsi_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

struct err *scsi_reservations_create(const struct scsi_reservations_options *options,
                                     struct scsi_reservations **ret_reservations)
{
    struct scsi_reservations *r = calloc(1, sizeof *r);
    if (!r) return err_new(STATUS_NO_MEMORY, "create the reservations of a logical unit");
    r->options = *options;
    list_init(&r->luns);
    list_init(&r->preempting);
    *ret_reservations = r;
    return NULL;
}

void scsi_reservations_destroy(struct scsi_reservations *reservations)
{
    if (!reservations) return;
    check(list_is_empty(&reservations->luns) && list_is_empty(&reservations->preempting));
    free(reservations->pr.registrations);
    free(reservations);
}

int scsi_pr_find(const struct scsi_pr *pr, const struct scsi_port *port)
{
    for (unsigned i = 0; i < pr->count; i++) {
        if (scsi_port_equal(&pr->registrations[i].port, port)) return (int)i;
    }
    return -1;
}

bool scsi_pr_is_holder(const struct scsi_pr *pr, int index)
{
    if (index < 0 || !pr->type) return false;
    return scsi_pr_all_registrants(pr->type) || (unsigned)index == pr->holder;
}

/* SPC-4 5.13.5 and table 67: WE 1, EA 3, WE registrants only 5, EA RO 6, WE all registrants 7, EA AR 8. */
static bool persistent_conflict(const struct scsi_pr *pr, enum scsi_access access, int index)
{
    if (!pr->type || scsi_pr_is_holder(pr, index)) return false;
    bool exclusive_access = pr->type == PR_EXCLUSIVE_ACCESS ||
                            pr->type == PR_EXCLUSIVE_ACCESS_REGISTRANTS ||
                            pr->type == PR_EXCLUSIVE_ACCESS_ALL;
    bool registrants_may = pr->type >= PR_WRITE_EXCLUSIVE_REGISTRANTS;
    if (registrants_may && index >= 0) return false;
    return access == SCSI_ACCESS_WRITE || (access == SCSI_ACCESS_READ && exclusive_access);
}

bool scsi_reservation_conflicts(const struct scsi_task *task)
{
    const struct scsi_command *command = task->command;
    const struct scsi_lun *lun = task->lun;
    enum scsi_access access = command->access;
    if (access == SCSI_ACCESS_FREE) return false;
    const struct scsi_reservations *r = lun->reservations;
    if (r->reserved_by && r->reserved_by != task->nexus) {
        return command->run !=
               scsi_release_run; /* a stranger's RELEASE is accepted and does nothing */
    }
    /* REPORT CAPABILITIES says CRH 0: the two kinds of reservation do not mix (SPC-4 5.13.3). */
    if (access == SCSI_ACCESS_RESERVE) return r->pr.count > 0;
    return persistent_conflict(&r->pr, access, scsi_pr_find(&r->pr, &task->nexus->port));
}

/* ---- RESERVE and RELEASE (SPC-2 7.21, 7.17): whole logical units only ------------------------ */

void scsi_release_reservations_of(struct scsi_nexus *nexus, struct scsi_lun *lun)
{
    struct scsi_reservations *r = lun->reservations;
    if (r->reserved_by == nexus) r->reserved_by = NULL;
}

/* A second RESERVE of the same initiator is fine. */
void scsi_reserve_run(struct scsi_task *task)
{
    task->lun->reservations->reserved_by = task->nexus;
    scsi_complete_later(task);
}

void scsi_release_run(struct scsi_task *task)
{
    scsi_release_reservations_of(task->nexus, task->lun);
    scsi_complete_later(task);
}

/* ---- PERSISTENT RESERVE IN ------------------------------------------------------------------- */

static uint8_t *put_header(struct scsi_task *task)
{
    uint8_t *header = buf_put(&scsi_state(task)->reply, 8);
    store_be32(header, task->lun->reservations->pr.generation);
    return header;
}

static void finish(struct scsi_task *task, uint8_t *header)
{
    store_be32(header + 4, (uint32_t)(buf_used(&scsi_state(task)->reply) - 8));
    scsi_reply_done(task);
}

void scsi_pr_read_keys_run(struct scsi_task *task)
{
    const struct scsi_pr *pr = &task->lun->reservations->pr;
    uint8_t *header = put_header(task);
    for (unsigned i = 0; i < pr->count; i++) {
        buf_put_be64(&scsi_state(task)->reply, pr->registrations[i].key);
    }
    finish(task, header);
}

void scsi_pr_read_reservation_run(struct scsi_task *task)
{
    const struct scsi_pr *pr = &task->lun->reservations->pr;
    uint8_t *header = put_header(task);
    if (pr->type) {
        uint8_t *p = buf_put(&scsi_state(task)->reply, 16);
        /* Held by all registrants: no one's key (SPC-4 6.15.3.3). */
        if (!scsi_pr_all_registrants(pr->type)) store_be64(p, pr->registrations[pr->holder].key);
        p[13] = pr->type; /* scope 0: the logical unit */
    }
    finish(task, header);
}

void scsi_pr_capabilities_run(struct scsi_task *task)
{
    uint8_t *p = buf_put(&scsi_state(task)->reply, 8);
    store_be16(p, 8);
    /* No CRH, SIP_C, ATP_C; PTPL_C where registrations can be kept, PTPL_A where they are (SPC-4 6.15.4.2); TMV
     * with the types 1, 3, 5, 6, 7 and 8. */
    const struct scsi_reservations *r = task->lun->reservations;
    p[2] = r->options.store ? 0x01 : 0;
    p[3] = r->pr.is_kept ? 0x81 : 0x80;
    p[4] = 0xEA;
    p[5] = 0x01;
    scsi_reply_done(task);
}

/* TransportID of an iSCSI initiator port: name, ",i,0x", ISID (SPC-4 7.6.4.6). */
static void put_transport_id(struct buf_writer *w, const struct scsi_port *port)
{
    char text[SCSI_NAME_MAX + 32], isid[13];
    text_format_hex(port->isid, 6, isid);
    int length = snprintf(text, sizeof text, "%s,i,0x%s", port->name, isid);
    unsigned padded = ((unsigned)length + 4) / 4 * 4;
    buf_put_u8(w, 0x45);
    buf_put_u8(w, 0);
    buf_put_be16(w, (uint16_t)padded);
    uint8_t *p = buf_put(w, padded);
    memset(p, 0, padded);
    memcpy(p, text, (size_t)length);
}

void scsi_pr_full_status_run(struct scsi_task *task)
{
    const struct scsi_pr *pr = &task->lun->reservations->pr;
    struct buf_writer *w = &scsi_state(task)->reply;
    uint8_t *header = put_header(task);
    for (unsigned i = 0; i < pr->count; i++) {
        const struct scsi_registration *registration = &pr->registrations[i];
        bool holds = scsi_pr_is_holder(pr, (int)i);
        uint8_t *p = buf_put(w, 24);
        store_be64(p, registration->key);
        p[12] = holds ? 0x01 : 0;
        p[13] = holds ? pr->type : 0;
        store_be16(p + 18, registration->port.relative_target_port);
        size_t before = buf_used(w);
        put_transport_id(w, &registration->port);
        store_be32(p + 20, (uint32_t)(buf_used(w) - before));
    }
    finish(task, header);
}
