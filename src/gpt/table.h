/*
 * table.h - the bytes of a GUID Partition Table (UEFI specification 2.10, section 5): pure, no I/O.
 *
 * Words: a COPY of the table is a header (one sector) and an array of entries; there are two, the
 * PRIMARY with its header in sector 1 and the BACKUP elsewhere, usually at the end of the disk.  A
 * MARK is the set of attribute bits that VSS puts on a volume (gpt.h).  All bytes may be hostile:
 * what gpt_header_parse lets pass lies within the disk and is bounded, and copies are only written
 * where gpt_copies_are_disjoint. Threads: any.  Ownership: all memory is the caller's.
 */
#ifndef TARN_GPT_TABLE_H
#define TARN_GPT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    GPT_SECTOR_MAX_BYTES = 4096,
    GPT_ENTRIES_MAX_BYTES = 1024 * 1024,
    GPT_PRIMARY_LBA = 1,
};

struct gpt_geometry {
    uint32_t sector_bytes;
    uint64_t sector_count;
};

enum gpt_mbr {
    GPT_MBR_ABSENT,     /* nothing, or the boot sector of a file system */
    GPT_MBR_PARTITIONS, /* an MBR with at least one partition of its own kind only */
    GPT_MBR_PROTECTIVE, /* the sign that a GPT is meant (5.2.3) */
};
/* sector: the first of the disk.  *ret_signature is set for GPT_MBR_PARTITIONS. */
enum gpt_mbr gpt_mbr_parse(const uint8_t *sector, uint32_t *ret_signature);

struct gpt_header {
    uint64_t lba, alternate_lba;
    uint64_t first_usable_lba, last_usable_lba;
    uint64_t entries_lba, entries_sectors;
    uint32_t header_bytes, entry_bytes, entry_count, entries_bytes, entries_crc;
};

enum gpt_state {
    GPT_ABSENT, /* no signature */
    GPT_BAD,
    GPT_GOOD,
};
/* A header that was read from sector `lba`; *ret_header is set only for GPT_GOOD.  That its entries
 * are what it says is gpt_entries_match's to tell. */
enum gpt_state gpt_header_parse(const uint8_t *sector, const struct gpt_geometry *geometry,
                                uint64_t lba, struct gpt_header *ret_header);
bool gpt_entries_match(const struct gpt_header *header, const uint8_t *entries);

struct gpt_tally {
    unsigned used, marked;
};
struct gpt_tally gpt_entries_count(const struct gpt_header *header, const uint8_t *entries);
/* Takes all marks off; the header has to be sealed afterwards. */
void gpt_entries_clear(const struct gpt_header *header, uint8_t *entries);

/* Writes the places and checksums of `header` and `entries` into a raw header. */
void gpt_header_seal(uint8_t *sector, struct gpt_header *header, const uint8_t *entries);
/* The header of the other copy, to be made anew: at `lba`, its entries at `entries_lba`. */
struct gpt_header gpt_header_mirror(const struct gpt_header *header, uint64_t lba,
                                    uint64_t entries_lba);
/* Does a copy lie on the disk, outside of the partitions' sectors and not on its own header or the
 * MBR? */
bool gpt_header_is_placed(const struct gpt_header *header, const struct gpt_geometry *geometry);
bool gpt_copies_are_disjoint(const struct gpt_header *a, const struct gpt_header *b);

#endif
