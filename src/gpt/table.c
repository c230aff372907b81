#include "gpt/table.h"

#include <string.h>

#include <isa-l/crc.h>

#include "base/attr.h"
#include "base/endian.h"

/* Offsets within the MBR (5.2.1), the header (5.3.2, table 5-5) and an entry (5.3.3, table 5-6). */
enum {
    MBR_SIGNATURE = 440,
    MBR_PARTITIONS = 446,
    MBR_PARTITION_BYTES = 16,
    MBR_MAGIC = 510,
    MBR_TYPE_PROTECTIVE = 0xEE,

    HEADER_SIZE = 12,
    HEADER_CRC = 16,
    HEADER_LBA = 24,
    HEADER_ALTERNATE = 32,
    HEADER_FIRST_USABLE = 40,
    HEADER_LAST_USABLE = 48,
    HEADER_ENTRIES = 72,
    HEADER_ENTRY_COUNT = 80,
    HEADER_ENTRY_BYTES = 84,
    HEADER_ENTRIES_CRC = 88,
    HEADER_MIN_BYTES = 92,

    ENTRY_ATTRIBUTES = 48,
    ENTRY_MIN_BYTES = 128,
};

#define MARK_READ_ONLY ((uint64_t)1 << 60)
#define MARK_SHADOW_COPY ((uint64_t)1 << 61)
#define MARK_HIDDEN ((uint64_t)1 << 62)
#define MARK_NO_LETTER ((uint64_t)1 << 63)
#define MARK_OTHERS (MARK_READ_ONLY | MARK_HIDDEN | MARK_NO_LETTER)
#define MARKS (MARK_OTHERS | MARK_SHADOW_COPY)

/* Bits 48 to 63 have a meaning that each type defines; these are of the basic data partition only.
 */
static const uint8_t basic_data[16] = {0xA2, 0xA0, 0xD0, 0xEB, 0xE5, 0xB9, 0x33, 0x44,
                                       0x87, 0xC0, 0x68, 0xB6, 0xB7, 0x26, 0x99, 0xC7};
static const uint8_t unused[16];

/* CRC-32 as in Ethernet and gzip, which is the one of UEFI. */
static uint32_t crc32_of(const uint8_t *data, uint32_t size_bytes)
{
    return crc32_gzip_refl(0, data, size_bytes);
}

/* ---- The MBR --------------------------------------------------------------------------------- */

/* A boot sector of a file system ends with the same magic, and its code may look like partitions.
 */
static bool is_boot_sector(const uint8_t *sector)
{
    static const char *const names[] = {"NTFS    ", "EXFAT   ", "MSDOS5.0", "mkfs.fat",
                                        "ReFS\0\0\0\0"};
    for (unsigned i = 0; i < countof(names); i++)
        if (memcmp(sector + 3, names[i], 8) == 0) return true;
    return false;
}

enum gpt_mbr gpt_mbr_parse(const uint8_t *sector, uint32_t *ret_signature)
{
    bool any = false;
    if (load_le16(sector + MBR_MAGIC) != 0xAA55 || is_boot_sector(sector)) return GPT_MBR_ABSENT;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *partition = sector + MBR_PARTITIONS + i * MBR_PARTITION_BYTES;
        if (partition[0] & 0x7F) return GPT_MBR_ABSENT; /* neither active nor not */
        if (partition[4] == MBR_TYPE_PROTECTIVE) return GPT_MBR_PROTECTIVE;
        any |= partition[4] != 0 && load_le32(partition + 12) != 0;
    }
    if (!any) return GPT_MBR_ABSENT;
    *ret_signature = load_le32(sector + MBR_SIGNATURE);
    return GPT_MBR_PARTITIONS;
}

/* ---- Headers --------------------------------------------------------------------------------- */

static uint32_t header_crc(const uint8_t *sector, uint32_t header_bytes)
{
    uint8_t copy[GPT_SECTOR_MAX_BYTES];
    memcpy(copy, sector, header_bytes);
    store_le32(copy + HEADER_CRC, 0); /* it is computed with itself as zero */
    return crc32_of(copy, header_bytes);
}

static bool read_sizes(const uint8_t *sector, const struct gpt_geometry *geometry,
                       struct gpt_header *h)
{
    h->entry_count = load_le32(sector + HEADER_ENTRY_COUNT);
    h->entry_bytes = load_le32(sector + HEADER_ENTRY_BYTES);
    h->entries_crc = load_le32(sector + HEADER_ENTRIES_CRC);
    /* 128 x 2^n bytes (5.3.2) */
    if (h->entry_bytes < ENTRY_MIN_BYTES || (h->entry_bytes & (h->entry_bytes - 1)) != 0)
        return false;
    if (h->entry_count == 0 || h->entry_count > GPT_ENTRIES_MAX_BYTES / h->entry_bytes)
        return false;
    h->entries_bytes = h->entry_count * h->entry_bytes;
    h->entries_sectors = (h->entries_bytes + geometry->sector_bytes - 1) / geometry->sector_bytes;
    return true;
}

bool gpt_header_is_placed(const struct gpt_header *h, const struct gpt_geometry *geometry)
{
    uint64_t count = geometry->sector_count;
    if (h->lba == 0 || h->lba >= count || h->entries_lba < 2 || h->entries_sectors > count ||
        h->entries_lba > count - h->entries_sectors)
        return false;
    if (h->first_usable_lba > h->last_usable_lba || h->last_usable_lba >= count) return false;
    uint64_t entries_last = h->entries_lba + h->entries_sectors - 1;
    if (h->lba >= h->entries_lba && h->lba <= entries_last) return false;
    if (h->lba >= h->first_usable_lba && h->lba <= h->last_usable_lba) return false;
    return entries_last < h->first_usable_lba || h->entries_lba > h->last_usable_lba;
}

enum gpt_state gpt_header_parse(const uint8_t *sector, const struct gpt_geometry *geometry,
                                uint64_t lba, struct gpt_header *ret_header)
{
    struct gpt_header h = {
        .lba = load_le64(sector + HEADER_LBA),
        .alternate_lba = load_le64(sector + HEADER_ALTERNATE),
        .first_usable_lba = load_le64(sector + HEADER_FIRST_USABLE),
        .last_usable_lba = load_le64(sector + HEADER_LAST_USABLE),
        .entries_lba = load_le64(sector + HEADER_ENTRIES),
        .header_bytes = load_le32(sector + HEADER_SIZE),
    };
    if (memcmp(sector, "EFI PART", 8) != 0) return GPT_ABSENT;
    if (h.header_bytes < HEADER_MIN_BYTES || h.header_bytes > geometry->sector_bytes)
        return GPT_BAD;
    if (header_crc(sector, h.header_bytes) != load_le32(sector + HEADER_CRC)) return GPT_BAD;
    if (h.lba != lba || !read_sizes(sector, geometry, &h) || !gpt_header_is_placed(&h, geometry))
        return GPT_BAD;
    *ret_header = h;
    return GPT_GOOD;
}

void gpt_header_seal(uint8_t *sector, struct gpt_header *header, const uint8_t *entries)
{
    header->entries_crc = crc32_of(entries, header->entries_bytes);
    store_le64(sector + HEADER_LBA, header->lba);
    store_le64(sector + HEADER_ALTERNATE, header->alternate_lba);
    store_le64(sector + HEADER_ENTRIES, header->entries_lba);
    store_le32(sector + HEADER_ENTRIES_CRC, header->entries_crc);
    store_le32(sector + HEADER_CRC, header_crc(sector, header->header_bytes));
}

struct gpt_header gpt_header_mirror(const struct gpt_header *header, uint64_t lba,
                                    uint64_t entries_lba)
{
    struct gpt_header mirror = *header;
    mirror.lba = lba;
    mirror.alternate_lba = header->lba;
    mirror.entries_lba = entries_lba;
    return mirror;
}

static bool ranges_overlap(uint64_t a, uint64_t a_count, uint64_t b, uint64_t b_count)
{
    return a < b + b_count && b < a + a_count;
}

bool gpt_copies_are_disjoint(const struct gpt_header *a, const struct gpt_header *b)
{
    return a->lba != b->lba && !ranges_overlap(a->lba, 1, b->entries_lba, b->entries_sectors) &&
           !ranges_overlap(b->lba, 1, a->entries_lba, a->entries_sectors) &&
           !ranges_overlap(a->entries_lba, a->entries_sectors, b->entries_lba, b->entries_sectors);
}

/* ---- Entries --------------------------------------------------------------------------------- */

bool gpt_entries_match(const struct gpt_header *header, const uint8_t *entries)
{
    return crc32_of(entries, header->entries_bytes) == header->entries_crc;
}

static bool is_marked(const uint8_t *entry)
{
    uint64_t attributes = load_le64(entry + ENTRY_ATTRIBUTES);
    if (memcmp(entry, basic_data, sizeof basic_data) != 0) return false;
    return (attributes & MARK_SHADOW_COPY) || (attributes & MARK_OTHERS) == MARK_OTHERS;
}

struct gpt_tally gpt_entries_count(const struct gpt_header *header, const uint8_t *entries)
{
    struct gpt_tally tally = {0};
    for (uint32_t i = 0; i < header->entry_count; i++) {
        const uint8_t *entry = entries + (size_t)i * header->entry_bytes;
        if (memcmp(entry, unused, sizeof unused) != 0) tally.used++;
        if (is_marked(entry)) tally.marked++;
    }
    return tally;
}

void gpt_entries_clear(const struct gpt_header *header, uint8_t *entries)
{
    for (uint32_t i = 0; i < header->entry_count; i++) {
        uint8_t *entry = entries + (size_t)i * header->entry_bytes;
        if (!is_marked(entry)) continue;
        store_le64(entry + ENTRY_ATTRIBUTES, load_le64(entry + ENTRY_ATTRIBUTES) & ~MARKS);
    }
}
