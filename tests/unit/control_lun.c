#include "tests/unit/control_lun.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/endian.h"
#include "base/limits.h"

struct lun_host {
    struct rig *rig;
    void *host;
    struct scsi_nexus *nexus;
    const char *initiator;
    struct scsi_task task;
    bool done;
    uint8_t data[BLOCK_BYTES];
    struct iovec out;
};

struct lun_host *lun_login(struct rig *rig, const char *initiator)
{
    struct control_host_access access;
    struct lun_host *host = calloc(1, sizeof *host);
    check(host && control_find_initiator(rig->control, initiator, &access) == STATUS_OK);
    host->rig = rig;
    host->host = access.host;
    host->initiator = initiator;
    struct err *e =
        scsi_nexus_create(&(struct scsi_nexus_options){.map = access.map,
                                                       .initiator_name = initiator,
                                                       .isid = {0x80, 1, 2, 3, 4, 5},
                                                       .target_name = "iqn.2026-11.local.tarn:x",
                                                       .target_port_group = 1,
                                                       .relative_target_port = 1},
                          &host->nexus);
    check(!e);
    control_session_changed(rig->control, access.host, initiator, true);
    return host;
}

void lun_logout(struct lun_host *host)
{
    scsi_nexus_destroy(host->nexus);
    control_session_changed(host->rig->control, host->host, host->initiator, false);
    free(host);
}

static void on_done(struct scsi_task *task)
{
    container_of(task, struct lun_host, task)->done = true;
}

static bool is_done(void *arg)
{
    return ((struct lun_host *)arg)->done;
}

/* GOOD, another status, or the ASC and ASCQ; the data-in is in host->data. */
static unsigned command(struct lun_host *host, unsigned lun, const uint8_t *cdb, unsigned cdb_size,
                        size_t out_bytes)
{
    uint8_t field[8] = {0, (uint8_t)lun};
    struct scsi_task *task = &host->task;
    memset(task, 0, sizeof *task);
    scsi_task_begin(task, host->nexus, field, cdb, cdb_size);
    if (!task->finished) {
        host->out = (struct iovec){.iov_base = host->data, .iov_len = out_bytes};
        if (out_bytes) {
            task->out_iov = &host->out;
            task->out_iov_count = 1;
            task->out_bytes = out_bytes;
        }
        host->done = false;
        scsi_task_execute(task, on_done);
        check(sim_run_until(host->rig->sim, is_done, host, 60 * RT_SECOND));
    }
    size_t at = 0;
    for (unsigned i = 0; i < task->in_iov_count && at < sizeof host->data; i++) {
        size_t part = min_of(task->in_iov[i].iov_len, sizeof host->data - at);
        memcpy(host->data + at, task->in_iov[i].iov_base, part);
        at += part;
    }
    unsigned result = task->scsi_status;
    if (result == SCSI_STATUS_CHECK_CONDITION)
        result = (unsigned)task->sense[12] << 8 | task->sense[13];
    scsi_task_release(task);
    return result;
}

unsigned lun_report(struct lun_host *host)
{
    uint8_t cdb[12] = {0xA0};
    store_be32(cdb + 6, sizeof host->data);
    check(command(host, 0, cdb, sizeof cdb, 0) == SCSI_STATUS_GOOD);
    return load_be32(host->data) / 8;
}

unsigned lun_poll(struct lun_host *host, unsigned lun)
{
    unsigned result = command(host, lun, (uint8_t[6]){0}, 6, 0);
    return result > 0xFF ? result : 0;
}

unsigned lun_attention(struct lun_host *host, unsigned lun)
{
    unsigned last = 0, now;
    while ((now = command(host, lun, (uint8_t[6]){0}, 6, 0)) > 0xFF)
        last = now;
    return last;
}

unsigned lun_put(struct lun_host *host, unsigned lun, uint64_t block, char byte)
{
    uint8_t cdb[16] = {0x8A};
    store_be64(cdb + 2, block * SECTORS_PER_BLOCK);
    store_be32(cdb + 10, SECTORS_PER_BLOCK);
    (void)lun_attention(host, lun);
    memset(host->data, byte, sizeof host->data);
    return command(host, lun, cdb, sizeof cdb, sizeof host->data);
}

int lun_get(struct lun_host *host, unsigned lun, uint64_t block)
{
    uint8_t cdb[16] = {0x88};
    store_be64(cdb + 2, block * SECTORS_PER_BLOCK);
    store_be32(cdb + 10, SECTORS_PER_BLOCK);
    (void)lun_attention(host, lun);
    if (command(host, lun, cdb, sizeof cdb, 0) != SCSI_STATUS_GOOD) return -2;
    for (size_t i = 1; i < sizeof host->data; i++) {
        if (host->data[i] != host->data[0]) return -1;
    }
    return host->data[0];
}

unsigned lun_pr_out(struct lun_host *host, unsigned lun, unsigned action, uint64_t key,
                    uint64_t new_key, bool aptpl)
{
    uint8_t cdb[10] = {0x5F, (uint8_t)action, 1, 0, 0, 0, 0, 0, 24};
    (void)lun_attention(host, lun);
    memset(host->data, 0, 24);
    store_be64(host->data, key);
    store_be64(host->data + 8, new_key);
    host->data[20] = aptpl;
    return command(host, lun, cdb, sizeof cdb, 24);
}

int lun_pr_keys(struct lun_host *host, unsigned lun)
{
    uint8_t cdb[10] = {0x5E, 0, [7] = 4};
    (void)lun_attention(host, lun);
    if (command(host, lun, cdb, sizeof cdb, 0) != SCSI_STATUS_GOOD) return -1;
    return (int)load_be32(host->data + 4) / 8;
}

unsigned lun_pr_capabilities(struct lun_host *host, unsigned lun)
{
    uint8_t cdb[10] = {0x5E, 2, [7] = 4};
    (void)lun_attention(host, lun);
    check(command(host, lun, cdb, sizeof cdb, 0) == SCSI_STATUS_GOOD);
    return (host->data[2] & 1U) * 10 + (host->data[3] & 1U);
}

bool lun_reserve(struct lun_host *host, unsigned lun, bool reserve)
{
    if (!reserve) return lun_pr_out(host, lun, LUN_PR_REGISTER, 7, 0, false) == SCSI_STATUS_GOOD;
    return lun_pr_out(host, lun, LUN_PR_REGISTER, 0, 7, false) == SCSI_STATUS_GOOD &&
           lun_pr_out(host, lun, LUN_PR_RESERVE, 7, 0, false) == SCSI_STATUS_GOOD;
}
