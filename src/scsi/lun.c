/* Logical units: a volume with an identity. */
#include "scsi/scsi_int.h"

#include <stdlib.h>

static void volume_changed(struct volume_watch *watch, unsigned events)
{
    struct scsi_lun *lun = container_of(watch, struct scsi_lun, watch);
    if (events & VOLUME_EVENT_SIZE) scsi_lun_raise(lun, SCSI_ATTENTION_CAPACITY, NULL);
    if (events & VOLUME_EVENT_CONTENT) scsi_lun_raise(lun, SCSI_ATTENTION_CONTENT, NULL);
}

void scsi_mode_reset(struct scsi_mode_state *mode)
{
    *mode = (struct scsi_mode_state){.write_cache = true};
}

struct err *scsi_lun_create(struct rt *rt, const struct scsi_lun_options *options,
                            struct scsi_lun **ret_lun)
{
    check(options->identity.naa_bytes == 8 || options->identity.naa_bytes == 16);
    struct scsi_lun *lun = calloc(1, sizeof *lun);
    if (!lun) return err_new(STATUS_NO_MEMORY, "create a logical unit");
    lun->rt = rt;
    lun->volume = options->volume;
    lun->identity = options->identity;
    lun->write_protected = options->write_protected;
    scsi_mode_reset(&lun->mode);
    list_init(&lun->entries);
    list_init(&lun->tasks);
    lun->reservations = options->reservations;
    lun->owns_reservations = !lun->reservations;
    if (lun->owns_reservations) {
        struct scsi_reservations_options none = {0};
        struct err *e = scsi_reservations_create(&none, &lun->reservations);
        if (e) {
            free(lun);
            return e;
        }
    }
    list_push_back(&lun->reservations->luns, &lun->reservations_link);
    lun->watch.fn = volume_changed;
    volume_watch_add(lun->volume, &lun->watch);
    *ret_lun = lun;
    return NULL;
}

void scsi_lun_destroy(struct scsi_lun *lun)
{
    if (!lun) return;
    check(list_is_empty(&lun->entries) && list_is_empty(&lun->tasks));
    volume_watch_remove(&lun->watch);
    list_remove(&lun->reservations_link);
    if (lun->owns_reservations) scsi_reservations_destroy(lun->reservations);
    free(lun);
}

bool scsi_lun_is_write_protected(const struct scsi_lun *lun)
{
    return lun->write_protected || lun->mode.software_write_protect ||
           volume_is_read_only(lun->volume);
}

void scsi_lun_set_threshold_reached(struct scsi_lun *lun, bool is_reached)
{
    if (is_reached && !lun->threshold_is_reached)
        scsi_lun_raise(lun, SCSI_ATTENTION_THRESHOLD, NULL);
    lun->threshold_is_reached = is_reached;
}

uint64_t scsi_lun_last_use_ns(const struct scsi_lun *lun)
{
    return lun->last_use_ns;
}

/* A cluster node that is only registered counts too: it may take the disk at any moment. */
bool scsi_lun_is_reserved(const struct scsi_lun *lun)
{
    const struct scsi_reservations *r = lun->reservations;
    return r->reserved_by || r->pr.type || r->pr.count;
}

static void reset(struct scsi_lun *lun)
{
    lun->reservations->reserved_by = NULL;
    list_for_each (node, &lun->reservations->luns) {
        struct scsi_lun *one = list_entry(node, struct scsi_lun, reservations_link);
        scsi_mode_reset(&one->mode);
        scsi_lun_raise(one, SCSI_ATTENTION_RESET, NULL);
    }
}

bool scsi_lun_reset(struct scsi_nexus *nexus, const uint8_t lun_field[8])
{
    unsigned number;
    struct scsi_map_entry *entry = scsi_map_lookup(nexus->map, lun_field, &number);
    if (entry) reset(entry->lun);
    return entry || number == 0;
}

void scsi_target_reset(struct scsi_nexus *nexus)
{
    for (unsigned i = 0; i < LIMIT_LUNS_PER_HOST; i++) {
        struct scsi_lun *lun = scsi_map_find(nexus->map, i);
        if (lun) reset(lun);
    }
}
