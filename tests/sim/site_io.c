/* Host commands: drawn, sent over iSCSI, their answers held against the model (site.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/endian.h"
#include "tests/sim/site_int.h"

enum {
    UNFLUSHED_MAX = 60,
    REPLACE_WRITES_MAX = 80,
    SENSE_MEDIUM_ERROR = 3,
    SENSE_HARDWARE_ERROR = 4,
    SENSE_UNIT_ATTENTION = 6,
    SENSE_MISCOMPARE = 0xE,
    NO_SUCH_LUN = 0x052500,
    POOL_IS_FULL = 0x072707,
    WRITE_PROTECTED = 0x072700,
    OUT_OF_RANGE = 0x052100,
};

static const char *const op_names[] = {"read", "write", "zero", "unmap", "flush", "compare-write"};

static bool slot_is_free(struct site *site)
{
    for (unsigned i = 0; i < SITE_SLOTS; i++)
        if (!site->slots[i].busy) return true;
    return false;
}

static struct site_slot *slot_get(struct site *site)
{
    if (!site_wait(site, slot_is_free, "a command")) return NULL;
    for (unsigned i = 0; i < SITE_SLOTS; i++) {
        if (site->slots[i].busy) continue;
        site->slots[i] = (struct site_slot){.site = site, .disk = -1, .point = -1};
        return &site->slots[i];
    }
    return NULL;
}

void site_slot_drop(struct site_slot *slot)
{
    free(slot->data);
    *slot = (struct site_slot){.site = slot->site};
}

/* ---- Answers --------------------------------------------------------------------------------- */

static struct model_view *view_of(struct site_slot *slot)
{
    return slot->point >= 0 ? &slot->site->points[slot->point].view
                            : &slot->site->disks[slot->disk].view;
}

static void check_content(struct site_slot *slot)
{
    struct site *site = slot->site;
    struct model_bound bound = {.floor = slot->submitted, .count_seen = true};
    if (slot->point >= 0) bound.floor = site->sets[site->points[slot->point].set].submitted;
    if (model_check_read(site->model, view_of(slot), slot->sector, slot->count, slot->data, &bound))
        return;
    site_fail(site, "host %d: %s of %s %s, sectors %u+%u, submitted at %u: %s", slot->host,
              op_names[slot->op], slot->point >= 0 ? "snapshot" : "disk",
              slot->point >= 0 ? site->points[slot->point].name : site->disks[slot->disk].name,
              slot->sector, slot->count, slot->submitted, model_problem(site->model));
}

static void write_ended(struct site_slot *slot, bool ok)
{
    struct site *site = slot->site;
    if (!slot->write) return;
    model_write_done(site->model, slot->write, ok);
    if (!ok || !slot->fua) return;
    model_write_durable(site->model, slot->write);
    site_made_durable(site, site->disks[slot->disk].pool, slot->submitted);
}

/* Was not carried out, as the target says. */
static void write_refused(struct site_slot *slot)
{
    struct site *site = slot->site;
    if (!slot->write) return;
    model_write_done(site->model, slot->write, false);
    model_write_void(site->model, &site->disks[slot->disk].view, slot->write);
}

static void miscompared(struct site_slot *slot)
{
    struct site *site = slot->site;
    struct model_view *view = &site->disks[slot->disk].view;
    struct model_bound bound = {.floor = slot->submitted, .count_seen = true};
    write_refused(slot);
    for (uint32_t i = 0; i < slot->count; i++)
        if (model_cell_may_differ(site->model, view, slot->sector + i, &bound,
                                  slot->data + (size_t)i * SECTOR_BYTES))
            return;
    site_fail(site, "compare-write of disk %s sector %u failed, but the data cannot differ",
              site->disks[slot->disk].name, slot->sector);
}

static bool lun_may_be_gone(const struct site_slot *slot)
{
    const struct site *site = slot->site;
    if (slot->point >= 0) {
        const struct site_point *p = &site->points[slot->point];
        return p->mapping[slot->host] || p->lun[slot->host] != (int)slot->request.lun ||
               p->state != SITE_THERE;
    }
    const struct site_disk *d = &site->disks[slot->disk];
    return d->mapping[slot->host] || d->lun[slot->host] != (int)slot->request.lun ||
           d->state != SITE_THERE;
}

static bool may_be_full(const struct site_slot *slot)
{
    const struct site *site = slot->site;
    struct volume_pool_usage usage;
    volume_pool_usage(site->pools[site->disks[slot->disk].pool].engine, &usage);
    return usage.free_bytes < usage.capacity_bytes / 4 || usage.reclaiming_bytes ||
           usage.reclaim_pending;
}

static void refused(struct site_slot *slot)
{
    struct site *site = slot->site;
    const struct initiator_request *r = &slot->request;
    if (slot->op == SITE_COMPARE_WRITE && r->status == SCSI_STATUS_CHECK_CONDITION &&
        r->sense >> 16 == SENSE_MISCOMPARE) {
        miscompared(slot);
        return;
    }
    unsigned key = r->sense >> 16;
    if (site->lossy && r->status == SCSI_STATUS_CHECK_CONDITION &&
        (key == SENSE_MEDIUM_ERROR || key == SENSE_HARDWARE_ERROR)) {
        write_ended(slot, false); /* it is there or not */
        return;
    }
    bool is_protected = r->sense == WRITE_PROTECTED && site->lossy; /* mapped while a pool is ill */
    site->full += r->sense == POOL_IS_FULL;
    bool is_one_part = slot->op == SITE_WRITE || slot->op == SITE_COMPARE_WRITE;
    if (r->sense == POOL_IS_FULL && !is_one_part)
        write_ended(slot, false); /* some of its parts may be there */
    else
        write_refused(slot);
    bool fine =
        r->status == SCSI_STATUS_BUSY || r->status == SCSI_STATUS_TASK_SET_FULL ||
        r->status == SCSI_STATUS_RESERVATION_CONFLICT ||
        (r->status == SCSI_STATUS_CHECK_CONDITION &&
         (r->sense >> 16 == SENSE_UNIT_ATTENTION || is_protected ||
          (r->sense == NO_SUCH_LUN && lun_may_be_gone(slot)) ||
          (r->sense == POOL_IS_FULL && slot->write && may_be_full(slot)) ||
          (r->sense == OUT_OF_RANGE && slot->disk >= 0 && site->disks[slot->disk].resizing)));
    if (!fine)
        site_fail(site, "host %d: %s of %s %s ended with status %02x, sense %06x", slot->host,
                  op_names[slot->op], slot->point >= 0 ? "snapshot" : "disk",
                  slot->point >= 0 ? site->points[slot->point].name : site->disks[slot->disk].name,
                  r->status, r->sense);
}

static void carried_out(struct site_slot *slot)
{
    struct site *site = slot->site;
    const struct initiator_request *r = &slot->request;
    if (slot->op == SITE_READ && r->got_bytes != r->in_bytes) {
        site_fail(site, "a read of %u bytes brought %u", r->in_bytes, r->got_bytes);
        return;
    }
    switch (slot->op) {
    case SITE_READ:
        check_content(slot);
        return;
    case SITE_FLUSH:
        site_made_durable(site, site->disks[slot->disk].pool, slot->submitted);
        return;
    case SITE_COMPARE_WRITE:
        check_content(slot);
        write_ended(slot, true);
        return;
    case SITE_WRITE:
    case SITE_ZERO:
    case SITE_UNMAP:
        write_ended(slot, true);
        return;
    }
}

static void submit_chain(struct site *site, const struct site_slot *previous);

/* A point is in use while its private branch is. */
static void disk_is_used(struct site *site, int disk)
{
    int point = site->disks[disk].private_of;
    site->disks[disk].busy++;
    if (point >= 0) site->points[point].busy++;
}

static void disk_was_used(struct site *site, int disk)
{
    int point = site->disks[disk].private_of;
    site->disks[disk].busy--;
    if (point >= 0) site->points[point].busy--;
}

static void answered(struct initiator_request *request)
{
    struct site_slot *slot = container_of(request, struct site_slot, request);
    struct site *site = slot->site;
    model_tick(site->model);
    site_trace(site, "  host %d: %s %u+%u of %s (write %u, from %u): %s, status %02x, sense %06x",
               slot->host, op_names[slot->op], slot->sector, slot->count,
               slot->point >= 0 ? site->points[slot->point].name : site->disks[slot->disk].name,
               slot->write, slot->submitted, request->is_lost ? "lost" : "answered",
               request->status, request->sense);
    bool ok = !request->is_lost && request->status == SCSI_STATUS_GOOD;
    if (request->is_lost)
        site->lost++, write_ended(slot, false); /* it is there or not, and changes no more */
    else if (ok)
        carried_out(slot);
    else
        refused(slot);
    if (slot->disk >= 0) site_guard_touched(site, slot, ok);
    if (slot->disk >= 0) disk_was_used(site, slot->disk);
    if (slot->point >= 0) site->points[slot->point].busy--;
    struct site_slot ended = *slot;
    site_slot_drop(slot);
    if (ok && ended.chain_left && !site->failed) submit_chain(site, &ended);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void cdb_set(struct initiator_request *r, uint8_t opcode, uint32_t sector, uint32_t count)
{
    memset(r->cdb, 0, sizeof r->cdb);
    r->cdb[0] = opcode;
    if (opcode == 0x89) { /* COMPARE AND WRITE */
        store_be64(r->cdb + 2, sector);
        r->cdb[13] = (uint8_t)count;
    } else {
        store_be32(r->cdb + 2, sector);
        store_be16(r->cdb + 7, (uint16_t)count);
    }
}

static void take_data(struct site_slot *slot, size_t bytes)
{
    slot->data = calloc(1, bytes);
    check(slot->data != NULL);
    slot->request.data = slot->data;
}

static void fill_unmap(struct site_slot *slot)
{
    enum { LIST_BYTES = 24 };
    struct initiator_request *r = &slot->request;
    take_data(slot, LIST_BYTES);
    store_be16(slot->data, LIST_BYTES - 2);
    store_be16(slot->data + 2, LIST_BYTES - 8);
    store_be64(slot->data + 8, slot->sector);
    store_be32(slot->data + 16, slot->count);
    memset(r->cdb, 0, sizeof r->cdb);
    r->cdb[0] = 0x42;
    store_be16(r->cdb + 7, LIST_BYTES);
    r->out_bytes = LIST_BYTES;
}

/* What the model is told, before the command goes out. */
static void note_write(struct site_slot *slot)
{
    struct site *site = slot->site;
    struct site_disk *disk = &site->disks[slot->disk];
    slot->write = model_write_submit(
        site->model, &disk->view,
        &(struct model_write_options){.disk = disk->number,
                                      .sector = slot->sector,
                                      .sector_count = slot->count,
                                      .horizon = site_horizon(site, slot->disk),
                                      .zero = slot->op == SITE_ZERO || slot->op == SITE_UNMAP,
                                      .atomic = slot->op == SITE_COMPARE_WRITE});
    slot->submitted = model_write_submitted_at(site->model, slot->write);
    site->pools[disk->pool].unflushed++;
    if (site_is_replacing(disk) && ++disk->replace_writes > REPLACE_WRITES_MAX)
        disk->frozen = true; /* the model remembers all of them until the job has ended */
}

static void prepare(struct site_slot *slot)
{
    struct site *site = slot->site;
    struct initiator_request *r = &slot->request;
    size_t bytes = (size_t)slot->count * SECTOR_BYTES;
    switch (slot->op) {
    case SITE_READ:
        take_data(slot, bytes);
        cdb_set(r, 0x28, slot->sector, slot->count);
        r->in_bytes = (uint32_t)bytes;
        return;
    case SITE_WRITE:
        note_write(slot);
        take_data(slot, bytes);
        model_fill(site->model, slot->write, slot->sector, slot->count, slot->data);
        cdb_set(r, 0x2A, slot->sector, slot->count);
        if (slot->fua) r->cdb[1] = 0x08;
        r->out_bytes = (uint32_t)bytes;
        return;
    case SITE_ZERO: /* WRITE SAME of one sector of zeroes */
        note_write(slot);
        take_data(slot, SECTOR_BYTES);
        cdb_set(r, 0x41, slot->sector, slot->count);
        r->out_bytes = SECTOR_BYTES;
        return;
    case SITE_UNMAP:
        note_write(slot);
        fill_unmap(slot);
        return;
    case SITE_FLUSH:
        cdb_set(r, 0x35, 0, 0);
        return;
    case SITE_COMPARE_WRITE:
        take_data(slot, 2 * bytes);
        for (uint32_t i = 0; i < slot->count; i++) {
            uint32_t write = 0;
            struct model_view *view = &site->disks[slot->disk].view;
            if (!model_cell_certain(site->model, view, slot->sector + i, &write)) write = 0;
            model_fill(site->model, write, slot->sector + i, 1,
                       slot->data + (size_t)i * SECTOR_BYTES);
        }
        note_write(slot);
        model_fill(site->model, slot->write, slot->sector, slot->count, slot->data + bytes);
        cdb_set(r, 0x89, slot->sector, slot->count);
        r->out_bytes = (uint32_t)(2 * bytes);
        return;
    }
}

static void send(struct site_slot *slot)
{
    struct site *site = slot->site;
    prepare(slot);
    if (!slot->submitted) slot->submitted = model_tick(site->model);
    slot->busy = true;
    slot->sent_ns = sim_now(site->sim);
    slot->request.done = answered;
    if (slot->point >= 0) {
        slot->request.lun = (unsigned)site->points[slot->point].lun[slot->host];
        site->points[slot->point].busy++;
    } else {
        slot->request.lun = (unsigned)site->disks[slot->disk].lun[slot->host];
        disk_is_used(site, slot->disk);
        if (slot->write && site->disks[slot->disk].private_of >= 0)
            site_count(site, SITE_COUNT_PRIVATE_WRITE);
    }
    site->commands++;
    site_trace(site, "host %d: %s %u+%u of %s%s, write %u, at %u", slot->host, op_names[slot->op],
               slot->sector, slot->count,
               slot->point >= 0 ? site->points[slot->point].name : site->disks[slot->disk].name,
               slot->fua ? " FUA" : "", slot->write, slot->submitted);
    initiator_submit(site->hosts[slot->host], &slot->request);
}

/* ---- Drawing --------------------------------------------------------------------------------- */

enum { BIG_SECTORS = 496 }; /* one batch */

static bool is_usable(const struct site_disk *disk, int host)
{
    return disk->state == SITE_THERE && disk->lun[host] >= 0 && !disk->mapping[host] &&
           !disk->frozen;
}

/* A disk that this host sees, or -1. */
static int pick_disk(struct site *site, int host)
{
    unsigned count = site->options.verbs ? SITE_DISKS : SITE_OWN_DISKS;
    unsigned first = (unsigned)prng_below(&site->prng, count);
    for (unsigned n = 0; n < count; n++) {
        int i = (int)((first + n) % count);
        if (is_usable(&site->disks[i], host)) return i;
    }
    return -1;
}

static int pick_point(struct site *site, int host)
{
    unsigned first = (unsigned)prng_below(&site->prng, SITE_POINTS);
    for (unsigned n = 0; n < SITE_POINTS; n++) {
        int i = (int)((first + n) % SITE_POINTS);
        const struct site_point *p = &site->points[i];
        if (p->state == SITE_THERE && p->lun[host] >= 0 && !p->mapping[host] &&
            !site_wants_branch(site, host) &&
            !(p->is_becoming && site_private_of(site, i) >= 0)) /* some time it is the branch */
            return i;
    }
    return -1;
}

static void draw_extent(struct site *site, struct site_slot *slot, uint32_t sectors)
{
    struct prng *prng = &site->prng;
    static const uint32_t maxima[] = {8, 16, 64, 128};
    slot->count = 1 + (uint32_t)prng_below(prng, maxima[prng_below(prng, countof(maxima))]);
    if (prng_chance(prng, 1, 2)) slot->count = (slot->count + 7) / 8 * 8;
    if (slot->op == SITE_COMPARE_WRITE) slot->count = min_of(slot->count, (uint32_t)24);
    if (prng_chance(prng, site->options.full ? 14 : 1, 20) && slot->op != SITE_COMPARE_WRITE)
        slot->count = 1 + (uint32_t)prng_below(prng, BIG_SECTORS);
    slot->count = min_of(slot->count, sectors);
    bool is_hot = prng_chance(prng, site->options.full ? 1 : 4, 8);
    uint32_t span = is_hot ? min_of(sectors, (uint32_t)192) : sectors;
    slot->sector = (uint32_t)prng_below(prng, span);
    if (prng_chance(prng, 3, 4)) slot->sector -= slot->sector % SECTORS_PER_BLOCK;
    slot->sector = min_of(slot->sector, sectors - slot->count);
}

static enum site_op draw_op(struct site *site)
{
    static const struct {
        unsigned weight;
        enum site_op op;
    } table[] = {{48, SITE_WRITE}, {28, SITE_READ}, {6, SITE_ZERO},
                 {8, SITE_UNMAP},  {6, SITE_FLUSH}, {4, SITE_COMPARE_WRITE}};
    unsigned left = (unsigned)prng_below(&site->prng, 100);
    for (unsigned i = 0; i < countof(table); i++) {
        if (left < table[i].weight) return table[i].op;
        left -= table[i].weight;
    }
    return SITE_READ;
}

static void flush_if_due(struct site *site, int disk, int host)
{
    struct site_pool *pool = &site->pools[site->disks[disk].pool];
    if (pool->unflushed < UNFLUSHED_MAX) return;
    struct site_slot *slot = slot_get(site);
    if (!slot || !is_usable(&site->disks[disk], host)) return;
    pool->unflushed = 0;
    slot->host = host;
    slot->disk = disk;
    slot->op = SITE_FLUSH;
    send(slot);
    site_wait(site, site_is_idle, "a flush");
}

/* The next of a row of dependent writes, issued when the one before was acknowledged, to another
 * disk: of another pool as often as not. */
static void submit_chain(struct site *site, const struct site_slot *previous)
{
    int host = (int)prng_below(&site->prng, SITE_HOSTS);
    int disk = pick_disk(site, host);
    if (disk < 0 || !slot_is_free(site) || site->disks[disk].is_protected[host]) return;
    struct site_slot *slot = slot_get(site);
    slot->host = host;
    slot->disk = disk;
    slot->op = SITE_WRITE;
    slot->chain_left = previous->chain_left - 1;
    slot->sector = (previous->write * 40503u) % 96;
    slot->count = 1 + previous->write % 9;
    send(slot);
}

void site_dependent_writes(struct site *site)
{
    enum { ROWS = 6, WRITES = 24 };
    const struct site_slot first = {.chain_left = WRITES, .write = site->commands};
    for (unsigned i = 0; i < ROWS && slot_is_free(site); i++)
        submit_chain(site, &first);
}

void site_command(struct site *site)
{
    int host = (int)prng_below(&site->prng, SITE_HOSTS);
    int point = prng_chance(&site->prng, 1, 12) ? pick_point(site, host) : -1;
    int disk = pick_disk(site, host);
    if (disk >= 0 && point < 0) flush_if_due(site, disk, host);
    struct site_slot *slot = site->failed || site->crashed ? NULL : slot_get(site);
    if (!slot) return;
    slot->host = host;
    if (point >= 0 && site->points[point].state == SITE_THERE &&
        site->points[point].lun[host] >= 0 && !site->points[point].mapping[host]) {
        slot->point = point;
        slot->op = SITE_READ;
        draw_extent(site, slot, site->points[point].view.sector_count);
        send(slot);
        return;
    }
    disk = pick_disk(site, host);
    if (disk < 0) return;
    slot->disk = disk;
    slot->op = site->disks[disk].is_protected[host] ? SITE_READ : draw_op(site);
    if (slot->op == SITE_FLUSH) site->pools[site->disks[disk].pool].unflushed = 0;
    draw_extent(site, slot, site->disks[disk].view.sector_count);
    slot->fua = slot->op == SITE_WRITE && prng_chance(&site->prng, 1, 16);
    if (slot->op == SITE_WRITE && prng_chance(&site->prng, 1, 8))
        slot->chain_left = 1 + (unsigned)prng_below(&site->prng, 6);
    send(slot);
}
