/*
 * gpt_fuzz.c - any bytes as a disk: what is written stays within the tables, and a second run finds
 * nothing to do.
 *
 * Input: [flags] and pieces of 512 bytes for the start of: sector 0, sector 1, sector 2, the sector
 * in which the backup's entries usually begin, the last sector; zeroes elsewhere.  flags: bit 0
 * sectors of 4 KiB, 1 all checksums are made right before (so that the fuzzer need not guess them).
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "gpt/gpt.h"
#include "gpt/table.h"
#include "tests/lib/memvol.h"
#include "tests/lib/whole.h"
#include "tests/sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DISK_BYTES = 1024 * 1024, PIECES = 5, PIECE_BYTES = 512, ENTRIES_BYTES = 16384 };

struct world {
    struct sim *sim;
    struct volume_pool *pool;
    struct volume *volume;
    uint8_t disk[DISK_BYTES], seen[DISK_BYTES];
    bool is_done;
    struct gpt_clearing op;
};

static void cleared(struct gpt_clearing *op, struct err *e)
{
    check(!e); /* whatever the bytes say: that is a finding */
    ((struct world *)op->arg)->is_done = true;
}

static enum gpt_finding clear(struct world *w, uint32_t sector_bytes)
{
    w->op = (struct gpt_clearing){
        .volume = w->volume, .sector_bytes = sector_bytes, .done = cleared, .arg = w};
    w->is_done = false;
    gpt_clear(&w->op);
    while (!w->is_done)
        check(sim_step(w->sim));
    return w->op.finding;
}

/* Makes a header and its entries pass, as far as their fields allow it. */
static void seal(uint8_t *disk, uint64_t lba, uint32_t sector_bytes)
{
    uint8_t *sector = disk + lba * sector_bytes;
    uint64_t entries_lba = load_le64(sector + 72);
    struct gpt_header h = {
        .lba = lba,
        .alternate_lba = load_le64(sector + 32),
        .entries_lba = entries_lba,
        .header_bytes = load_le32(sector + 12),
    };
    uint64_t bytes = (uint64_t)load_le32(sector + 80) * load_le32(sector + 84);
    if (h.header_bytes < 92 || h.header_bytes > sector_bytes || bytes > DISK_BYTES) return;
    if (entries_lba > (DISK_BYTES - bytes) / sector_bytes) return;
    h.entries_bytes = (uint32_t)bytes;
    gpt_header_seal(sector, &h, disk + entries_lba * sector_bytes);
}

static void check_untouched(const struct world *w, uint32_t sector_bytes)
{
    /* All that may have changed: attribute bytes of entries and checksums, unless a copy was made
     * anew. */
    uint64_t changed = 0;
    for (size_t i = 0; i < DISK_BYTES; i++)
        changed += w->disk[i] != w->seen[i];
    if (w->op.finding != GPT_CLEARED) check(changed == 0);
    if (!w->op.is_repaired) check(changed <= 2 * (8 + (uint64_t)w->op.cleared_partitions));
    check(memcmp(w->disk, w->seen, sector_bytes) == 0); /* the MBR */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    if (size == 0) return 0;
    uint8_t flags = data[0];
    uint32_t sector_bytes = flags & 1 ? 4096 : 512;
    const uint64_t last = DISK_BYTES / sector_bytes - 1;
    const uint64_t lbas[PIECES] = {0, 1, 2, last - ENTRIES_BYTES / sector_bytes, last};
    memset(w.disk, 0, sizeof w.disk);
    for (size_t i = 0, at = 1; i < PIECES && at < size; i++, at += PIECE_BYTES)
        memcpy(w.disk + lbas[i] * sector_bytes, data + at, min_of(size - at, (size_t)PIECE_BYTES));
    if (flags & 2) {
        seal(w.disk, 1, sector_bytes);
        seal(w.disk, last, sector_bytes);
    }
    w.sim = sim_create(&(struct sim_options){.seed = 1});
    w.pool = memvol_pool_create(sim_node_boot(sim_node_create(w.sim, "server")));
    w.volume = memvol_disk(w.pool, &(struct uuid){{1}}, DISK_BYTES, VOLUME_READ_WRITE);
    check(whole_volume(w.sim, w.volume, VOLUME_WRITE, w.disk, DISK_BYTES));
    clear(&w, sector_bytes);
    check(whole_volume(w.sim, w.volume, VOLUME_READ, w.seen, DISK_BYTES));
    check_untouched(&w, sector_bytes);
    if (w.op.finding == GPT_CLEARED) check(clear(&w, sector_bytes) == GPT_NOTHING_TO_DO);
    volume_close(w.volume);
    volume_pool_abandon(w.pool);
    sim_destroy(w.sim);
    return 0;
}
