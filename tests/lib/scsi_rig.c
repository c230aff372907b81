/* scsi_rig.c - see scsi_rig.h. */
#include "tests/lib/scsi_rig.h"

#include <stdlib.h>

#include "base/endian.h"

void rig_init(struct rig *rig)
{
    memset(rig, 0, offsetof(struct rig, reply.data));
    rig->sim = sim_create(&(struct sim_options){.seed = 1});
    rig->node = sim_node_create(rig->sim, "server");
    rig->rt = sim_node_boot(rig->node);
    rig->pool = memvol_pool_create(rig->rt);
    rig->volume = memvol_disk(rig->pool, &(struct uuid){{1}}, 16 * MIB, VOLUME_READ_WRITE);
    rig->lun = rig_lun(rig, rig->volume, 1, false);
    struct err *e = scsi_map_create(rig->rt, &rig->map);
    check(!e);
    e = scsi_map_add(rig->map, 0, rig->lun);
    check(!e);
    rig->nexus = rig_nexus(rig, rig->map, "iqn.2026-11.test:one");
    rig_settle(rig, rig->nexus, 0);
}

void rig_fini(struct rig *rig)
{
    scsi_nexus_destroy(rig->nexus);
    for (unsigned i = 0; i < LIMIT_LUNS_PER_HOST; i++) {
        if (scsi_map_find(rig->map, i)) scsi_map_remove(rig->map, i, NULL, NULL);
    }
    rig_run_idle(rig);
    scsi_map_destroy(rig->map);
    scsi_lun_destroy(rig->lun);
    volume_pool_abandon(rig->pool);
    sim_destroy(rig->sim);
}

struct scsi_nexus *rig_nexus(struct rig *rig, struct scsi_map *map, const char *initiator)
{
    struct scsi_nexus *nexus = NULL;
    struct err *e =
        scsi_nexus_create(&(struct scsi_nexus_options){.map = map,
                                                       .initiator_name = initiator,
                                                       .isid = {0x80, 1, 2, 3, 4, 5},
                                                       .target_name = "iqn.2026-11.local.tarn:x",
                                                       .target_port_group = 7,
                                                       .relative_target_port = 3},
                          &nexus);
    check(!e);
    return nexus;
}

struct scsi_lun *rig_lun(struct rig *rig, struct volume *volume, uint8_t id, bool write_protected)
{
    struct scsi_lun_options options = {.volume = volume, .write_protected = write_protected};
    struct scsi_lun *lun = NULL;
    options.identity.naa_bytes = 8;
    memcpy(options.identity.naa, (uint8_t[]){0x3A, 1, 2, 3, 4, 5, 6, id}, 8);
    memcpy(options.identity.serial, "00112233445566778899aabbccddee00", 33);
    options.identity.serial[31] = (char)('0' + id % 10);
    struct err *e = scsi_lun_create(rig->rt, &options, &lun);
    check(!e);
    return lun;
}

unsigned rig_settle(struct rig *rig, struct scsi_nexus *nexus, unsigned lun)
{
    unsigned count = 0;
    while (rig_cdb(rig, nexus, lun, (uint8_t[6]){0}, 6)->status != SCSI_STATUS_GOOD) {
        check(rig->reply.key == 6 && ++count < 20);
    }
    return count;
}

static void set_done(struct scsi_task *task)
{
    container_of(task, struct rig_task, task)->done = true;
}

static void lun_field(unsigned lun, uint8_t field[8])
{
    memset(field, 0, 8);
    field[0] = (uint8_t)(lun > 255 ? 0x40 | lun >> 8 : 0);
    field[1] = (uint8_t)lun;
}

void rig_start(struct rig *rig, struct rig_task *task, struct scsi_nexus *nexus, unsigned lun,
               const uint8_t *cdb, unsigned cdb_size)
{
    uint8_t field[8];
    lun_field(lun, field);
    memset(&task->task, 0xA5, sizeof task->task); /* begin must not count on what was there */
    task->done = false;
    scsi_task_begin(&task->task, nexus, field, cdb, cdb_size);
    if (task->task.finished) {
        task->done = true;
        return;
    }
    rig_execute(task);
}

void rig_execute(struct rig_task *task)
{
    task->done = false;
    scsi_task_execute(&task->task, set_done);
}

static bool is_done(void *arg)
{
    return ((struct rig_task *)arg)->done;
}

/* Describes the data-out in pieces, each its own allocation so that a sanitizer sees overruns. */
static unsigned out_pieces(struct rig *rig, struct iovec *iov, unsigned max, size_t size)
{
    unsigned count = 0;
    size_t piece = rig->out_pieces ? rig->out_pieces : size;
    for (size_t at = 0; at < size; at += piece) {
        size_t part = min_of(piece, size - at);
        check(count < max);
        iov[count].iov_base = malloc(part);
        iov[count].iov_len = part;
        memcpy(iov[count++].iov_base, (const uint8_t *)rig->out + at, part);
    }
    return count;
}

struct reply *rig_cdb(struct rig *rig, struct scsi_nexus *nexus, unsigned lun, const uint8_t *cdb,
                      unsigned cdb_size)
{
    struct reply *reply = &rig->reply;
    struct rig_task *t = calloc(1, sizeof *t);
    struct iovec iov[64];
    unsigned iov_count = 0;
    uint8_t field[8];
    lun_field(lun, field);
    memset(&t->task, 0xA5, sizeof t->task);
    scsi_task_begin(&t->task, nexus, field, cdb, cdb_size);
    reply->finished_in_begin = t->task.finished;
    reply->transfer = t->task.transfer;
    reply->transfer_bytes = t->task.transfer_bytes;
    if (!t->task.finished) {
        if (t->task.transfer == SCSI_TRANSFER_OUT) {
            size_t size = min_of(rig->out_size, (size_t)t->task.transfer_bytes);
            iov_count = out_pieces(rig, iov, countof(iov), size);
            t->task.out_iov = iov;
            t->task.out_iov_count = iov_count;
            t->task.out_bytes = size;
        }
        t->task.out_offered_bytes = rig->out_offered;
        scsi_task_execute(&t->task, set_done);
        check(!t->done); /* never from inside the call */
        bool ended = sim_run_until(rig->sim, is_done, t, 3600 * RT_SECOND);
        check(ended);
    }
    reply->status = t->task.scsi_status;
    reply->sense_bytes = t->task.sense_bytes;
    memcpy(reply->sense, t->task.sense, sizeof reply->sense);
    bool has_sense = reply->status == SCSI_STATUS_CHECK_CONDITION;
    bool descriptor = (reply->sense[0] & 0x7F) == 0x72;
    reply->key = has_sense ? reply->sense[descriptor ? 1 : 2] & 0x0F : 0;
    reply->asc = has_sense ? load_be16(reply->sense + (descriptor ? 2 : 12)) : 0;
    reply->size = 0;
    check(t->task.in_bytes <= RIG_DATA_MAX);
    for (unsigned i = 0; i < t->task.in_iov_count; i++) {
        memcpy(reply->data + reply->size, t->task.in_iov[i].iov_base, t->task.in_iov[i].iov_len);
        reply->size += t->task.in_iov[i].iov_len;
    }
    check(reply->size == t->task.in_bytes);
    scsi_task_release(&t->task);
    for (unsigned i = 0; i < iov_count; i++)
        free(iov[i].iov_base);
    free(t);
    return reply;
}

struct reply *rig_out(struct rig *rig, struct scsi_nexus *nexus, unsigned lun, const uint8_t *cdb,
                      unsigned cdb_size, const void *data, size_t size)
{
    rig->out = data;
    rig->out_size = size;
    struct reply *reply = rig_cdb(rig, nexus, lun, cdb, cdb_size);
    rig->out_size = 0;
    return reply;
}

void rig_run_idle(struct rig *rig)
{
    while (sim_step(rig->sim)) {
    }
}
