/*
 * Persistent reservations that outlive a restart (SPC-4 5.13.5): the device server has them (scsi.h), the catalog keeps
 * what the last REGISTER of a logical unit asked to keep.  They belong to the disk, or to the private branch of a
 * snapshot, whatever LUNs stand for it; who is not served it any more has none.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_int.h"

struct storing {
    struct uuid object;
    unsigned count;
    struct catalog_registration *rows;
    void (*done)(void *arg, struct err *e);
    void *arg;
};

static struct err *write_rows(struct catalog *catalog, void *arg)
{
    const struct storing *storing = ((struct op *)arg)->finish_arg;
    return catalog_put_registrations(catalog, &storing->object, storing->rows, storing->count);
}

static void step_store(struct op *op)
{
    op_catalog(op, write_rows);
}

static void storing_free(void *arg)
{
    struct storing *storing = arg;
    free(storing->rows);
    free(storing);
}

static void is_stored(struct op *op)
{
    struct storing *storing = op->finish_arg;
    if (op->error) log_failure("a persistent reservation could not be stored", op->error);
    storing->done(storing->arg, take_ptr(&op->error));
    storing_free(storing);
}

/* Operations without a lane reach the catalog's worker in the order in which they begin. */
static void store(void *arg, const struct uuid *object,
                  const struct scsi_registration *registrations, unsigned count,
                  void (*done)(void *done_arg, struct err *e), void *done_arg)
{
    static op_step *const steps[] = {step_store, NULL};
    static const struct op_plan plan = {
        .verb = "reservation", .lane = OP_LANE_NONE, .steps = steps};
    struct storing *storing = calloc(1, sizeof *storing);
    check(storing);
    *storing = (struct storing){.object = *object, .count = count, .done = done, .arg = done_arg};
    storing->rows = calloc(count + 1, sizeof *storing->rows);
    check(storing->rows);
    for (unsigned i = 0; i < count; i++) {
        const struct scsi_registration *from = &registrations[i];
        struct catalog_registration *row = &storing->rows[i];
        *row = (struct catalog_registration){.object = *object,
                                             .port = from->port.relative_target_port,
                                             .key = from->key,
                                             .holds = from->holds};
        snprintf(row->initiator, sizeof row->initiator, "%s", from->port.name);
        memcpy(row->isid, from->port.isid, sizeof row->isid);
    }
    op_start_owning(arg, &plan, NULL, is_stored, storing, storing_free);
}

struct err *reservations_of(struct control *control, struct served *served,
                            const struct uuid *object)
{
    struct scsi_reservations_options options = {.object = *object, .store = store, .arg = control};
    if (served->reservations) return NULL;
    return scsi_reservations_create(&options, &served->reservations);
}

void reservations_forget(struct map *map)
{
    struct served *served = map->disk            ? &map->disk->served
                            : map->row.read_only ? NULL
                                                 : &map->snapshot->branch;
    if (!served || !served->reservations) return;
    for (unsigned i = 0; i < map->host->row.initiator_count; i++)
        scsi_reservations_forget(served->reservations, map->host->row.initiators[i]);
}

static bool host_has(const struct host *host, const char *initiator)
{
    for (unsigned i = 0; i < host->row.initiator_count; i++) {
        if (strcmp(host->row.initiators[i], initiator) == 0) return true;
    }
    return false;
}

static bool is_served(struct control *control, const struct uuid *object, const char *initiator)
{
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        if (host_map_of(host, object) && host_has(host, initiator)) return true;
    }
    return false;
}

struct err *reservations_load(struct control *control, const struct catalog_registration *row)
{
    struct disk *disk = inventory_disk(control, &row->object);
    struct snapshot *snapshot = inventory_snapshot(control, &row->object);
    struct served *served = disk ? &disk->served : snapshot ? &snapshot->branch : NULL;
    if (!served || !is_served(control, &row->object, row->initiator)) return NULL;
    TRY(reservations_of(control, served, &row->object));
    struct scsi_registration registration = {
        .port = {.relative_target_port = row->port}, .key = row->key, .holds = row->holds};
    snprintf(registration.port.name, sizeof registration.port.name, "%s", row->initiator);
    memcpy(registration.port.isid, row->isid, sizeof registration.port.isid);
    scsi_reservations_restore(served->reservations, &registration);
    return NULL;
}
