/*
 * clear.c - the operation: read both copies of the table, decide, write one copy after the other.
 *
 * The steps are a table; each submits one I/O, or none.  What is written and in which order is
 * decided in one place, choose(), before the first write.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpt/gpt.h"
#include "gpt/table.h"

enum { PRIMARY, BACKUP, SIDES };

struct side {
    enum gpt_state state;
    bool has_header; /* header is as the disk says; with GPT_BAD: only its entries do not match */
    struct gpt_header header;
    uint8_t sector[GPT_SECTOR_MAX_BYTES];
    uint8_t *entries; /* whole sectors; NULL until they are read */
    struct gpt_tally tally;
};

struct gpt_run {
    struct gpt_clearing *op;
    struct gpt_geometry geometry;
    struct side sides[SIDES];
    struct side *writes[SIDES]; /* in this order; NULL = nothing */
    unsigned step;
    bool is_over;
    struct err *error;
    struct volume_io io;
    struct iovec iov;
    uint8_t first[GPT_SECTOR_MAX_BYTES]; /* sector 0 */
};

static void io_done(struct volume_io *io);

static void over(struct gpt_run *run, enum gpt_finding finding, const char *trouble)
{
    run->is_over = true;
    run->op->finding = finding;
    run->op->trouble = trouble;
}

static void submit(struct gpt_run *run, enum volume_op kind, uint64_t lba, uint64_t sectors,
                   void *memory)
{
    uint64_t per = run->geometry.sector_bytes / SECTOR_BYTES;
    run->iov = (struct iovec){.iov_base = memory, .iov_len = sectors * run->geometry.sector_bytes};
    run->io = (struct volume_io){.op = kind,
                                 .sector = lba * per,
                                 .sector_count = sectors * per,
                                 .iov = &run->iov,
                                 .iov_count = kind == VOLUME_FLUSH ? 0 : 1,
                                 .done = io_done};
    volume_submit(run->op->volume, &run->io);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool read_mbr(struct gpt_run *run)
{
    submit(run, VOLUME_READ, 0, 1, run->first);
    return true;
}

static bool read_primary_header(struct gpt_run *run)
{
    switch (gpt_mbr_parse(run->first, &run->op->mbr_signature)) {
    case GPT_MBR_ABSENT:
        over(run, GPT_NONE, "");
        return false;
    case GPT_MBR_PARTITIONS:
        over(run, GPT_MBR, "");
        return false;
    case GPT_MBR_PROTECTIVE:
        break;
    }
    submit(run, VOLUME_READ, GPT_PRIMARY_LBA, 1, run->sides[PRIMARY].sector);
    return true;
}

static void parse_header(struct gpt_run *run, struct side *side, uint64_t lba)
{
    side->state = gpt_header_parse(side->sector, &run->geometry, lba, &side->header);
    side->has_header = side->state == GPT_GOOD;
}

static bool read_entries(struct gpt_run *run, struct side *side)
{
    if (!side->has_header) return false;
    side->entries = malloc(side->header.entries_sectors * run->geometry.sector_bytes);
    if (!side->entries) {
        run->is_over = true;
        run->error = err_new(STATUS_NO_MEMORY, "no memory for the partition table");
        return false;
    }
    submit(run, VOLUME_READ, side->header.entries_lba, side->header.entries_sectors, side->entries);
    return true;
}

static void judge_entries(struct side *side)
{
    if (!side->has_header) return;
    if (!gpt_entries_match(&side->header, side->entries)) side->state = GPT_BAD;
    side->tally = gpt_entries_count(&side->header, side->entries);
}

/* Where the primary says; without one, where the standard wants it (5.3.1): in the last sector. */
static uint64_t backup_lba(const struct gpt_run *run)
{
    const struct side *primary = &run->sides[PRIMARY];
    uint64_t last = run->geometry.sector_count - 1;
    return primary->has_header ? primary->header.alternate_lba : last;
}

static bool read_primary_entries(struct gpt_run *run)
{
    parse_header(run, &run->sides[PRIMARY], GPT_PRIMARY_LBA);
    return read_entries(run, &run->sides[PRIMARY]);
}

static bool read_backup_header(struct gpt_run *run)
{
    judge_entries(&run->sides[PRIMARY]);
    if (backup_lba(run) <= GPT_PRIMARY_LBA || backup_lba(run) >= run->geometry.sector_count)
        return false;
    submit(run, VOLUME_READ, backup_lba(run), 1, run->sides[BACKUP].sector);
    return true;
}

static bool read_backup_entries(struct gpt_run *run)
{
    parse_header(run, &run->sides[BACKUP], backup_lba(run)); /* zeroes, when it was not read */
    return read_entries(run, &run->sides[BACKUP]);
}

/* ---- Deciding -------------------------------------------------------------------------------- */

/* Both are good: each keeps its own content less the marks, the backup first. */
static void choose_both(struct gpt_run *run)
{
    struct side *primary = &run->sides[PRIMARY], *backup = &run->sides[BACKUP];
    unsigned count = 0;
    if (!gpt_copies_are_disjoint(&primary->header, &backup->header)) {
        over(run, GPT_DAMAGED, "the two copies of the partition table overlap");
        return;
    }
    if (backup->tally.marked) run->writes[count++] = backup;
    if (primary->tally.marked) run->writes[count++] = primary;
    if (count == 0) over(run, GPT_NOTHING_TO_DO, "");
}

/* Makes the damaged copy anew from the good one, in memory; false when there is no safe place for
 * it. */
static bool rebuild(struct gpt_run *run, struct side *bad, const struct side *good)
{
    bool is_primary = bad == &run->sides[PRIMARY];
    uint64_t lba = is_primary ? GPT_PRIMARY_LBA : good->header.alternate_lba;
    uint64_t usual = is_primary ? 2 : lba - good->header.entries_sectors;
    struct gpt_header header =
        gpt_header_mirror(&good->header, lba, bad->has_header ? bad->header.entries_lba : usual);
    if (!gpt_header_is_placed(&header, &run->geometry) ||
        !gpt_copies_are_disjoint(&header, &good->header))
        return false;
    size_t entries_bytes = header.entries_sectors * run->geometry.sector_bytes;
    uint8_t *entries = malloc(entries_bytes);
    if (!entries) {
        run->is_over = true;
        run->error = err_new(STATUS_NO_MEMORY, "no memory for the partition table");
        return true;
    }
    memcpy(entries, good->entries, entries_bytes);
    memcpy(bad->sector, good->sector, run->geometry.sector_bytes);
    free(bad->entries);
    bad->entries = entries;
    bad->header = header;
    bad->tally = good->tally;
    return true;
}

/* One copy is good.  The other is made anew first, so that at every moment one is good. */
static void choose_one(struct gpt_run *run, struct side *good, struct side *other)
{
    if (other->state == GPT_ABSENT) {
        if (good->tally.marked == 0 && good == &run->sides[PRIMARY])
            over(run, GPT_NOTHING_TO_DO, "");
        else
            over(run, GPT_DAMAGED, "one of the two copies of the partition table is missing");
        return;
    }
    if (!rebuild(run, other, good)) {
        over(run, GPT_DAMAGED,
             "one of the two copies of the partition table is damaged, and there is no "
             "safe place to write it anew");
        return;
    }
    run->op->is_repaired = true;
    run->writes[0] = other;
    if (good->tally.marked) run->writes[1] = good;
}

static void clear_side(struct side *side)
{
    gpt_entries_clear(&side->header, side->entries);
    gpt_header_seal(side->sector, &side->header, side->entries);
}

static bool choose(struct gpt_run *run)
{
    struct side *primary = &run->sides[PRIMARY], *backup = &run->sides[BACKUP];
    struct gpt_clearing *op = run->op;
    judge_entries(backup);
    if (primary->state == GPT_GOOD && backup->state == GPT_GOOD)
        choose_both(run);
    else if (primary->state == GPT_GOOD)
        choose_one(run, primary, backup);
    else if (backup->state == GPT_GOOD)
        choose_one(run, backup, primary);
    else
        over(run, GPT_DAMAGED, "neither copy of the partition table is sound");
    op->partition_count = (primary->state == GPT_GOOD ? primary : backup)->tally.used;
    if (run->is_over) return false;
    for (unsigned i = 0; i < SIDES && run->writes[i]; i++) {
        op->cleared_partitions = max_of(op->cleared_partitions, run->writes[i]->tally.marked);
        clear_side(run->writes[i]);
    }
    op->finding = GPT_CLEARED;
    run->is_over = op->only_look;
    return false;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static bool write_entries(struct gpt_run *run, struct side *side)
{
    if (side)
        submit(run, VOLUME_WRITE, side->header.entries_lba, side->header.entries_sectors,
               side->entries);
    return side != NULL;
}

static bool write_header(struct gpt_run *run, struct side *side)
{
    if (side) submit(run, VOLUME_WRITE, side->header.lba, 1, side->sector);
    return side != NULL;
}

static bool write_first_entries(struct gpt_run *run)
{
    return write_entries(run, run->writes[0]);
}

static bool write_first_header(struct gpt_run *run)
{
    return write_header(run, run->writes[0]);
}

static bool write_second_entries(struct gpt_run *run)
{
    return write_entries(run, run->writes[1]);
}

static bool write_second_header(struct gpt_run *run)
{
    return write_header(run, run->writes[1]);
}

/* Between the copies, and at the end: what was answered as cleared stays cleared. */
static bool flush_after(struct gpt_run *run, const struct side *side)
{
    if (side) submit(run, VOLUME_FLUSH, 0, 0, NULL);
    return side != NULL;
}

static bool flush_first(struct gpt_run *run)
{
    return flush_after(run, run->writes[0]);
}

static bool flush_second(struct gpt_run *run)
{
    return flush_after(run, run->writes[1]);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* Each returns true when it submitted an I/O. */
static const struct {
    const char *what; /* failed */
    bool (*fn)(struct gpt_run *run);
} steps[] = {
    {"read the first sector", read_mbr},
    {"read the primary partition table", read_primary_header},
    {"read the primary partition table", read_primary_entries},
    {"read the backup partition table", read_backup_header},
    {"read the backup partition table", read_backup_entries},
    {"decide", choose},
    {"write the partition table", write_first_entries},
    {"write the partition table", write_first_header},
    {"flush the partition table", flush_first},
    {"write the partition table", write_second_entries},
    {"write the partition table", write_second_header},
    {"flush the partition table", flush_second},
};

static void run_free(struct gpt_run *run)
{
    for (unsigned i = 0; i < SIDES; i++)
        free(run->sides[i].entries);
    free(run);
}

static void finish(struct gpt_run *run)
{
    struct gpt_clearing *op = run->op;
    struct err *e = run->error;
    run_free(take_ptr(&op->run));
    op->done(op, e);
}

static void advance(struct gpt_run *run)
{
    while (!run->is_over && run->step < countof(steps))
        if (steps[run->step++].fn(run)) return;
    finish(run);
}

static void io_done(struct volume_io *io)
{
    struct gpt_run *run = container_of(io, struct gpt_run, io);
    if (io->status != STATUS_OK) {
        run->is_over = true;
        run->error = err_new(io->status, "%s", steps[run->step - 1].what);
    }
    advance(run);
}

void gpt_clear(struct gpt_clearing *op)
{
    check(op->sector_bytes == 512 || op->sector_bytes == GPT_SECTOR_MAX_BYTES);
    struct gpt_run *run = calloc(1, sizeof *run);
    check(run != NULL);
    run->op = op;
    run->geometry = (struct gpt_geometry){
        .sector_bytes = op->sector_bytes,
        .sector_count = volume_size_bytes(op->volume) / op->sector_bytes,
    };
    op->run = run;
    op->finding = GPT_NONE;
    op->partition_count = op->cleared_partitions = 0;
    op->is_repaired = false;
    op->mbr_signature = 0;
    op->trouble = "";
    advance(run);
}

void gpt_abandon(struct gpt_clearing *op)
{
    if (!op->run) return;
    err_free(op->run->error);
    run_free(take_ptr(&op->run));
}

static void cleared_text(const struct gpt_clearing *op, char text[GPT_TEXT_MAX])
{
    int n = snprintf(text, GPT_TEXT_MAX, "%u of %u partitions %s marked by VSS%s",
                     op->cleared_partitions, op->partition_count,
                     op->cleared_partitions == 1 ? "is" : "are",
                     op->only_look ? "" : "; the marks were taken off");
    if (op->is_repaired && n > 0 && n < GPT_TEXT_MAX)
        snprintf(text + n, GPT_TEXT_MAX - (size_t)n, "; a damaged copy of the partition table %s",
                 op->only_look ? "would be written anew" : "was written anew");
}

char *gpt_text(const struct gpt_clearing *op, char text[GPT_TEXT_MAX])
{
    switch (op->finding) {
    case GPT_NONE:
        snprintf(text, GPT_TEXT_MAX, "no partition table");
        break;
    case GPT_MBR:
        snprintf(text, GPT_TEXT_MAX,
                 "the disk has an MBR (signature %08X), whose volumes only Windows can show again: "
                 "there, in "
                 "diskpart: select volume N; attributes volume clear hidden readonly "
                 "nodefaultdriveletter "
                 "shadowcopy",
                 (unsigned)op->mbr_signature);
        break;
    case GPT_NOTHING_TO_DO:
        snprintf(text, GPT_TEXT_MAX, "none of %u partitions is marked by VSS", op->partition_count);
        break;
    case GPT_CLEARED:
        cleared_text(op, text);
        break;
    case GPT_DAMAGED:
        snprintf(text, GPT_TEXT_MAX, "%s; nothing was changed", op->trouble);
        break;
    }
    return text;
}
