/* I_T nexuses and their unit attentions (SAM-5 5.14). */
#include "scsi/scsi_int.h"

#include <stdlib.h>

bool scsi_port_equal(const struct scsi_port *a, const struct scsi_port *b)
{
    return a->relative_target_port == b->relative_target_port &&
           memcmp(a->isid, b->isid, sizeof a->isid) == 0 && strcmp(a->name, b->name) == 0;
}

struct err *scsi_nexus_create(const struct scsi_nexus_options *options,
                              struct scsi_nexus **ret_nexus)
{
    if (strlen(options->initiator_name) >= SCSI_NAME_MAX ||
        strlen(options->target_name) >= SCSI_NAME_MAX) {
        return err_new(STATUS_BAD_REQUEST, "an iSCSI name is longer than 223 bytes");
    }
    struct scsi_nexus *nexus = calloc(1, sizeof *nexus);
    if (!nexus) return err_new(STATUS_NO_MEMORY, "create a nexus");
    nexus->map = options->map;
    memcpy(nexus->port.name, options->initiator_name, strlen(options->initiator_name) + 1);
    memcpy(nexus->port.isid, options->isid, sizeof options->isid);
    nexus->port.relative_target_port = options->relative_target_port;
    memcpy(nexus->target_name, options->target_name, strlen(options->target_name) + 1);
    nexus->target_port_group = options->target_port_group;
    check(options->portal_count <= SCSI_PORTALS_MAX);
    nexus->portal_count = options->portal_count;
    for (unsigned i = 0; i < LIMIT_LUNS_PER_HOST; i++) {
        const struct scsi_lun *lun = scsi_map_find(options->map, i);
        nexus->attention[i] = scsi_attention_first(lun, 1 << SCSI_ATTENTION_POWER_ON);
    }
    list_push_back(&options->map->nexuses, &nexus->map_link);
    *ret_nexus = nexus;
    return NULL;
}

void scsi_nexus_destroy(struct scsi_nexus *nexus)
{
    if (!nexus) return;
    check(nexus->running == 0);
    list_remove(&nexus->map_link);
    /* SPC-2 5.5.1: the loss of the nexus ends its reservations.  Persistent ones stay. */
    for (unsigned i = 0; i < LIMIT_LUNS_PER_HOST; i++) {
        struct scsi_lun *lun = scsi_map_find(nexus->map, i);
        if (lun) scsi_release_reservations_of(nexus, lun);
    }
    free(nexus);
}

bool scsi_nexus_has_lun(const struct scsi_nexus *nexus, const uint8_t lun_field[8])
{
    unsigned number;
    return scsi_map_lookup(nexus->map, lun_field, &number) || number == 0;
}

static const uint16_t attention_codes[] = {
#define X(name, asc, ascq) [SCSI_ATTENTION_##name] = SCSI_ASC(asc, ascq),
    SCSI_ATTENTIONS(X)
#undef X
};
check_static(SCSI_ATTENTION_COUNT <= 16);

bool scsi_attention_take(struct scsi_nexus *nexus, unsigned number, unsigned mask,
                         struct scsi_sense *ret_sense)
{
    check(number < LIMIT_LUNS_PER_HOST);
    unsigned pending = nexus->attention[number] & mask;
    for (unsigned i = 0; pending && i < SCSI_ATTENTION_COUNT; i++) {
        if (!(pending & 1U << i)) continue;
        nexus->attention[number] = (uint16_t)(nexus->attention[number] & ~(1U << i));
        *ret_sense =
            (struct scsi_sense){.key = SENSE_UNIT_ATTENTION, .asc_ascq = attention_codes[i]};
        return true;
    }
    if (mask == 0xFFFF && nexus->luns_changed) {
        nexus->luns_changed = false;
        *ret_sense =
            (struct scsi_sense){.key = SENSE_UNIT_ATTENTION, .asc_ascq = SCSI_ASC(0x3F, 0x0E)};
        return true;
    }
    return false;
}

/* SBC-3 4.7.3.7: every I_T nexus is told of the soft threshold; one that comes later has not been. */
uint16_t scsi_attention_first(const struct scsi_lun *lun, unsigned bits)
{
    if (lun && lun->threshold_is_reached) bits |= 1U << SCSI_ATTENTION_THRESHOLD;
    return (uint16_t)bits;
}

static void raise_in_map(struct scsi_map_entry *entry, enum scsi_attention attention,
                         const struct scsi_nexus *except, const struct scsi_port *only)
{
    list_for_each (node, &entry->map->nexuses) {
        struct scsi_nexus *nexus = list_entry(node, struct scsi_nexus, map_link);
        if ((except && nexus == except) || (only && !scsi_port_equal(&nexus->port, only))) continue;
        uint16_t *pending = &nexus->attention[entry->number];
        *pending = (uint16_t)(*pending | 1U << attention);
    }
}

void scsi_lun_raise(struct scsi_lun *lun, enum scsi_attention attention,
                    const struct scsi_nexus *except)
{
    list_for_each (node, &lun->entries) {
        struct scsi_map_entry *entry = list_entry(node, struct scsi_map_entry, lun_link);
        if (!entry->removed) raise_in_map(entry, attention, except, NULL);
    }
}

void scsi_lun_raise_for_port(struct scsi_lun *lun, enum scsi_attention attention,
                             const struct scsi_port *port)
{
    list_for_each (node, &lun->entries) {
        struct scsi_map_entry *entry = list_entry(node, struct scsi_map_entry, lun_link);
        if (!entry->removed) raise_in_map(entry, attention, NULL, port);
    }
}
