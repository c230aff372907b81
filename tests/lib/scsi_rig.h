/*
 * scsi_rig.h - a device server on a simulated runtime and the memory engine, and one-line commands for it.
 *
 *     struct rig rig; rig_init(&rig);
 *     struct reply *r = rig_cdb(&rig, rig.nexus, 0, (uint8_t[]){0x12, 0, 0, 0, 96, 0}, 6);
 *     expect_eq(r->status, SCSI_STATUS_GOOD); ... r->data, r->size ...
 *     rig_fini(&rig);
 *
 * The rig has one map, one disk of 16 MiB as LUN 0 and one nexus whose power-on attentions were taken.
 */
#ifndef TARN_TESTS_LIB_SCSI_RIG_H
#define TARN_TESTS_LIB_SCSI_RIG_H

#include "scsi/scsi.h"
#include "tests/lib/memvol.h"
#include "tests/sim/sim.h"

enum { RIG_DATA_MAX = 8 * 1024 * 1024, RIG_DISK_SECTORS = 32768 };

struct reply {
    uint8_t status, key;
    uint16_t asc; /* ASC << 8 | ASCQ */
    bool finished_in_begin;
    enum scsi_transfer transfer;
    uint64_t transfer_bytes;
    uint8_t sense[SCSI_SENSE_MAX];
    unsigned sense_bytes;
    size_t size;
    uint8_t data[RIG_DATA_MAX];
};

struct rig {
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct volume_pool *pool;
    struct volume *volume;
    struct scsi_lun *lun;
    struct scsi_map *map;
    struct scsi_nexus *nexus;
    const void *out; /* data-out of the next command; the initiator sends out_size bytes */
    size_t out_size, out_offered;
    size_t out_pieces;  /* the data-out comes in pieces of this size; 0 = one */
    struct reply reply; /* last: big */
};

void rig_init(struct rig *rig);
void rig_fini(struct rig *rig);
struct scsi_nexus *rig_nexus(struct rig *rig, struct scsi_map *map, const char *initiator);
struct scsi_lun *rig_lun(struct rig *rig, struct volume *volume, uint8_t id, bool write_protected);
/* Takes what is pending with TEST UNIT READY until it is good; returns how many attentions there were. */
unsigned rig_settle(struct rig *rig, struct scsi_nexus *nexus, unsigned lun);

struct reply *rig_cdb(struct rig *rig, struct scsi_nexus *nexus, unsigned lun, const uint8_t *cdb,
                      unsigned cdb_size);
/* With data-out. */
struct reply *rig_out(struct rig *rig, struct scsi_nexus *nexus, unsigned lun, const uint8_t *cdb,
                      unsigned cdb_size, const void *data, size_t size);
void rig_run_idle(struct rig *rig); /* until nothing is left to do */

/* An asynchronous command: started, then waited for. */
struct rig_task {
    struct scsi_task task;
    bool done;
};
void rig_start(struct rig *rig, struct rig_task *task, struct scsi_nexus *nexus, unsigned lun,
               const uint8_t *cdb, unsigned cdb_size);
/* Executes a task that the test began. */
void rig_execute(struct rig_task *task);

#endif
