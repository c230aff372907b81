/* Reservations: who may do what.  RESERVE and RELEASE of SPC-2; persistent ones in pr_in.c, pr_out.c. */
#include "scsi/scsi_int.h"

#include <stdlib.h>

void scsi_pr_fini(struct scsi_pr *pr)
{
    free(pr->registrations);
    *pr = (struct scsi_pr){0};
}

void scsi_release_reservations_of(struct scsi_nexus *nexus, struct scsi_lun *lun)
{
    if (lun->reserved_by == nexus) lun->reserved_by = NULL;
}

bool scsi_reservation_conflicts(const struct scsi_task *task)
{
    const struct scsi_command *command = task->command;
    const struct scsi_lun *lun = task->lun;
    enum scsi_access access = command->access;
    if (access == SCSI_ACCESS_FREE) return false;
    if (lun->reserved_by && lun->reserved_by != task->nexus) {
        return command->opcode != 0x17; /* RELEASE of a stranger is accepted and does nothing */
    }
    return false;
}

/* SPC-2 7.21: whole logical units only; a second RESERVE of the same initiator is fine. */
void scsi_reserve_run(struct scsi_task *task)
{
    task->lun->reserved_by = task->nexus;
    scsi_complete_later(task);
}

void scsi_release_run(struct scsi_task *task)
{
    scsi_release_reservations_of(task->nexus, task->lun);
    scsi_complete_later(task);
}
