#include "windows/standin/gpt.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

/* Of a header and of an entry: UEFI specification 2.10, 5.3.2 and 5.3.3. */
enum {
    HEADER_BYTES = 92,
    HEADER_CRC = 16,
    MY_LBA = 24,
    ALTERNATE_LBA = 32,
    DISK_ID = 56,
    ENTRIES_LBA = 72,
    ENTRY_COUNT = 80,
    ENTRY_BYTES = 84,
    ENTRIES_CRC = 88,

    ENTRY_ID = 16,
    ENTRY_FIRST = 32,
    ENTRY_LAST = 40,
    ENTRY_ATTRIBUTES = 48,
    ENTRY_NAME = 56,
    ENTRY_LEAST_BYTES = 128,

    GUID_BYTES = 16,
    TABLE_BYTES = 32768,
    BLOCK_MAX = 4096,
    BURST_WRITES = 256,
    BURST_BYTES = 16384,
};

/* One copy of the table. */
struct copy {
    uint8_t header[BLOCK_MAX];
    uint8_t entries[TABLE_BYTES];
    uint64_t lba; /* of the header */
    bool is_good, has_signature;
};

struct table {
    struct si_machine *machine;
    const struct si_disk *disk;
    struct copy primary, backup;
    struct copy *truth; /* the better one; NULL: none */
};

/* ---- Bytes ----------------------------------------------------------------------------------- */

static uint32_t crc32_of(const uint8_t *data, size_t size)
{
    /* Four bits at a time of the reflected polynomial EDB88320h. */
    static const uint32_t steps[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC,
                                       0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
                                       0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                       0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ steps[crc & 15];
        crc = crc >> 4 ^ steps[crc & 15];
    }
    return ~crc;
}

/* On a disk the first three fields of a GUID are little-endian (UEFI 2.10, appendix A). */
static GUID load_guid(const uint8_t *at)
{
    GUID id = {.Data1 = load_le32(at), .Data2 = load_le16(at + 4), .Data3 = load_le16(at + 6)};
    memcpy(id.Data4, at + 8, sizeof id.Data4);
    return id;
}

static void store_guid(uint8_t *at, const GUID *id)
{
    store_le32(at, (uint32_t)id->Data1);
    store_le16(at + 4, id->Data2);
    store_le16(at + 6, id->Data3);
    memcpy(at + 8, id->Data4, sizeof id->Data4);
}

static bool is_same_guid(const GUID *a, const GUID *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static size_t entries_bytes(const struct copy *c)
{
    return (size_t)load_le32(c->header + ENTRY_COUNT) * load_le32(c->header + ENTRY_BYTES);
}

static uint32_t blocks_of(const struct si_disk *disk, size_t bytes)
{
    return (uint32_t)((bytes + disk->block_bytes - 1) / disk->block_bytes);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool is_header_good(const struct si_disk *disk, struct copy *c)
{
    uint8_t header[BLOCK_MAX];
    uint32_t size = load_le32(c->header + 12), count = load_le32(c->header + ENTRY_COUNT),
             each = load_le32(c->header + ENTRY_BYTES);
    c->has_signature = memcmp(c->header, "EFI PART", 8) == 0;
    if (!c->has_signature || size < HEADER_BYTES || size > disk->block_bytes) return false;
    memcpy(header, c->header, size);
    store_le32(header + HEADER_CRC, 0);
    return crc32_of(header, size) == load_le32(c->header + HEADER_CRC) &&
           load_le64(c->header + MY_LBA) == c->lba && each >= ENTRY_LEAST_BYTES && each % 8 == 0 &&
           each <= TABLE_BYTES && count > 0 && count <= TABLE_BYTES / each;
}

static enum si_io read_copy(struct table *t, struct copy *c)
{
    const struct si_disk *disk = t->disk;
    if (c->lba == 0 || c->lba >= disk->block_count) return SI_IO_OK;
    enum si_io io = t->machine->read(t->machine, disk->handle, c->lba, 1, c->header);
    if (io != SI_IO_OK || !is_header_good(disk, c)) return io;
    uint64_t lba = load_le64(c->header + ENTRIES_LBA);
    uint32_t blocks = blocks_of(disk, entries_bytes(c));
    if (lba < 2 || lba >= disk->block_count || blocks > disk->block_count - lba) return SI_IO_OK;
    io = t->machine->read(t->machine, disk->handle, lba, blocks, c->entries);
    c->is_good = io == SI_IO_OK &&
                 crc32_of(c->entries, entries_bytes(c)) == load_le32(c->header + ENTRIES_CRC);
    return io;
}

/* Both copies.  The backup is where the primary says, or in the last block. */
static enum si_io read_table(struct si_machine *machine, const struct si_disk *disk,
                             struct table *ret)
{
    *ret = (struct table){.machine = machine, .disk = disk};
    if ((disk->block_bytes != 512 && disk->block_bytes != 4096) || disk->block_count < 64)
        return SI_IO_OK;
    ret->primary.lba = 1;
    enum si_io io = read_copy(ret, &ret->primary);
    if (io != SI_IO_OK) return io;
    ret->backup.lba = ret->primary.is_good ? load_le64(ret->primary.header + ALTERNATE_LBA)
                                           : disk->block_count - 1;
    io = read_copy(ret, &ret->backup);
    ret->truth = ret->primary.is_good ? &ret->primary : NULL;
    if (!ret->truth && ret->backup.is_good) ret->truth = &ret->backup;
    return io;
}

static struct table *open_table(struct si_machine *machine, const struct si_disk *disk,
                                enum si_io *ret_io)
{
    struct table *t = malloc(sizeof *t);
    *ret_io = t ? read_table(machine, disk, t) : SI_IO_ERROR;
    return t;
}

/* Where the entry is; NULL for an empty one. */
static uint8_t *entry(struct copy *c, uint32_t i)
{
    static const uint8_t zero[GUID_BYTES];
    uint8_t *at = c->entries + (size_t)i * load_le32(c->header + ENTRY_BYTES);
    return memcmp(at, zero, GUID_BYTES) == 0 ? NULL : at;
}

static void decode_entry(const uint8_t *at, struct si_partition *ret)
{
    uint64_t first = load_le64(at + ENTRY_FIRST), last = load_le64(at + ENTRY_LAST);
    *ret = (struct si_partition){.type = load_guid(at),
                                 .id = load_guid(at + ENTRY_ID),
                                 .first_lba = first,
                                 .block_count = last >= first ? last - first + 1 : 0,
                                 .attributes = load_le64(at + ENTRY_ATTRIBUTES)};
    for (unsigned i = 0; i + 1 < SI_GPT_NAME_CHARS; i++) {
        uint16_t unit = load_le16(at + ENTRY_NAME + 2u * i);
        ret->name[i] = (char)(unit < 0x80 ? unit : '?');
    }
}

static bool is_partition_sane(const struct si_disk *disk, const struct si_partition *p)
{
    return p->block_count > 0 && p->first_lba < disk->block_count &&
           p->block_count <= disk->block_count - p->first_lba;
}

static enum si_gpt_state state_of(const struct table *t)
{
    if (!t->truth)
        return t->primary.has_signature || t->backup.has_signature ? SI_GPT_DAMAGED : SI_GPT_NONE;
    if (!t->primary.is_good || !t->backup.is_good) return SI_GPT_HALF;
    size_t bytes = entries_bytes(&t->primary);
    bool is_equal =
        bytes == entries_bytes(&t->backup) &&
        memcmp(t->primary.entries, t->backup.entries, bytes) == 0 &&
        memcmp(t->primary.header + DISK_ID, t->backup.header + DISK_ID, GUID_BYTES) == 0;
    return is_equal ? SI_GPT_SOUND : SI_GPT_HALF;
}

enum si_io si_gpt_read(struct si_machine *machine, const struct si_disk *disk,
                       struct si_gpt *ret_table)
{
    enum si_io io;
    struct table *t = open_table(machine, disk, &io);
    if (io == SI_IO_OK) {
        struct si_gpt table = {.state = state_of(t)};
        if (t->truth) {
            uint32_t count = load_le32(t->truth->header + ENTRY_COUNT);
            table.disk_id = load_guid(t->truth->header + DISK_ID);
            for (uint32_t i = 0; i < count && table.count < SI_PARTITIONS_MAX; i++) {
                struct si_partition *p = &table.partitions[table.count];
                const uint8_t *at = entry(t->truth, i);
                if (!at) continue;
                decode_entry(at, p);
                table.count += is_partition_sane(disk, p);
            }
        }
        *ret_table = table;
    }
    free(t);
    return io;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void seal(struct copy *c)
{
    store_le32(c->header + ENTRIES_CRC, crc32_of(c->entries, entries_bytes(c)));
    store_le32(c->header + HEADER_CRC, 0);
    store_le32(c->header + HEADER_CRC, crc32_of(c->header, load_le32(c->header + 12)));
}

static enum si_io write_copy(struct table *t, const struct copy *c)
{
    struct si_machine *m = t->machine;
    unsigned handle = t->disk->handle;
    enum si_io io = m->write(m, handle, load_le64(c->header + ENTRIES_LBA),
                             blocks_of(t->disk, entries_bytes(c)), c->entries);
    if (io == SI_IO_OK) io = m->write(m, handle, c->lba, 1, c->header);
    return io == SI_IO_OK ? m->flush(m, handle) : io;
}

/* The other copy of what `from` says. */
static void make_other(const struct si_disk *disk, const struct copy *from, struct copy *to)
{
    uint32_t blocks = blocks_of(disk, entries_bytes(from));
    *to = *from;
    to->lba = load_le64(from->header + ALTERNATE_LBA);
    store_le64(to->header + MY_LBA, to->lba);
    store_le64(to->header + ALTERNATE_LBA, from->lba);
    store_le64(to->header + ENTRIES_LBA, to->lba == 1 ? 2 : to->lba - blocks);
}

/* Writes what t->truth says now, twice. */
static enum si_io write_table(struct table *t)
{
    struct copy *other = t->truth == &t->primary ? &t->backup : &t->primary;
    bool keep_place = other->is_good;
    uint64_t entries_lba = load_le64(other->header + ENTRIES_LBA);
    uint32_t blocks = blocks_of(t->disk, entries_bytes(t->truth));
    make_other(t->disk, t->truth, other);
    if (keep_place) store_le64(other->header + ENTRIES_LBA, entries_lba);
    entries_lba = load_le64(other->header + ENTRIES_LBA);
    if (other->lba == 0 || other->lba >= t->disk->block_count || entries_lba < 2 ||
        entries_lba > t->disk->block_count - blocks)
        return SI_IO_ERROR;
    seal(&t->primary);
    seal(&t->backup);
    enum si_io io = write_copy(t, &t->primary);
    return io == SI_IO_OK ? write_copy(t, &t->backup) : io;
}

struct change {
    const GUID *partition; /* NULL: all */
    uint64_t set, clear;
    const GUID *disk_id, *partition_id; /* NULL: as it was */
    struct si_host *fresh;              /* not NULL: all ids new, from it */
};

/* Returns how many partitions it was about. */
static unsigned change_entries(struct copy *c, const struct change *change)
{
    unsigned changed = 0;
    for (uint32_t i = 0; i < load_le32(c->header + ENTRY_COUNT); i++) {
        uint8_t *at = entry(c, i);
        GUID id;
        if (!at) continue;
        id = load_guid(at + ENTRY_ID);
        if (change->partition && !is_same_guid(&id, change->partition)) continue;
        uint64_t attributes = load_le64(at + ENTRY_ATTRIBUTES);
        store_le64(at + ENTRY_ATTRIBUTES, (attributes | change->set) & ~change->clear);
        if (change->fresh) change->fresh->new_guid(change->fresh, &id);
        if (change->partition_id) id = *change->partition_id;
        store_guid(at + ENTRY_ID, &id);
        changed++;
    }
    return changed;
}

static enum si_io apply(struct si_machine *machine, const struct si_disk *disk,
                        const struct change *change)
{
    enum si_io io;
    struct table *t = open_table(machine, disk, &io);
    if (io == SI_IO_OK && !t->truth) io = SI_IO_ERROR;
    if (io == SI_IO_OK) {
        unsigned changed = change_entries(t->truth, change);
        GUID disk_id = load_guid(t->truth->header + DISK_ID);
        if (change->fresh) change->fresh->new_guid(change->fresh, &disk_id);
        if (change->disk_id) disk_id = *change->disk_id;
        store_guid(t->truth->header + DISK_ID, &disk_id);
        io = change->partition && changed != 1 ? SI_IO_ERROR : write_table(t);
    }
    free(t);
    return io;
}

enum si_io si_gpt_mark(struct si_machine *machine, const struct si_disk *disk,
                       const GUID *partition)
{
    return apply(machine, disk, &(struct change){.partition = partition, .set = SI_GPT_MARKS});
}

enum si_io si_gpt_unmark(struct si_machine *machine, const struct si_disk *disk,
                         const GUID *partition)
{
    return apply(machine, disk, &(struct change){.partition = partition, .clear = SI_GPT_MARKS});
}

enum si_io si_gpt_new_ids(struct si_machine *machine, const struct si_disk *disk,
                          struct si_host *host)
{
    return apply(machine, disk, &(struct change){.fresh = host});
}

enum si_io si_gpt_set_disk_id(struct si_machine *machine, const struct si_disk *disk,
                              const GUID *disk_id)
{
    return apply(machine, disk, &(struct change){.disk_id = disk_id});
}

enum si_io si_gpt_set_partition_id(struct si_machine *machine, const struct si_disk *disk,
                                   const GUID *partition, const GUID *new_id)
{
    return apply(machine, disk, &(struct change){.partition = partition, .partition_id = new_id});
}

/* ---- A new table ----------------------------------------------------------------------------- */

static void encode_entry(uint8_t *at, const struct si_partition *p)
{
    store_guid(at, &p->type);
    store_guid(at + ENTRY_ID, &p->id);
    store_le64(at + ENTRY_FIRST, p->first_lba);
    store_le64(at + ENTRY_LAST, p->first_lba + p->block_count - 1);
    store_le64(at + ENTRY_ATTRIBUTES, p->attributes);
    for (unsigned i = 0; i + 1 < SI_GPT_NAME_CHARS && p->name[i]; i++)
        store_le16(at + ENTRY_NAME + 2u * i, (uint8_t)p->name[i]);
}

/* One partition of type EEh over the whole disk (UEFI 2.10, 5.2.3). */
static enum si_io write_protective_mbr(struct si_machine *m, const struct si_disk *disk)
{
    uint8_t block[BLOCK_MAX] = {0};
    uint64_t blocks = disk->block_count - 1;
    block[446 + 2] = 2;
    block[446 + 4] = 0xEE;
    memset(block + 446 + 5, 0xFF, 3);
    store_le32(block + 446 + 8, 1);
    store_le32(block + 446 + 12, blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
    store_le16(block + 510, 0xAA55);
    return m->write(m, disk->handle, 0, 1, block);
}

enum si_io si_gpt_create(struct si_machine *machine, const struct si_disk *disk,
                         const struct si_gpt *table)
{
    enum si_io io;
    struct table *t = open_table(machine, disk, &io); /* for its memory */
    if (io == SI_IO_OK) {
        uint32_t blocks = blocks_of(disk, (size_t)SI_PARTITIONS_MAX * ENTRY_LEAST_BYTES);
        uint8_t *header = t->primary.header;
        t->truth = &t->primary;
        t->primary = (struct copy){.lba = 1};
        t->backup = (struct copy){.lba = disk->block_count - 1};
        memcpy(header, "EFI PART", 8);
        store_le32(header + 8, 0x10000);
        store_le32(header + 12, HEADER_BYTES);
        store_le64(header + MY_LBA, 1);
        store_le64(header + ALTERNATE_LBA, disk->block_count - 1);
        store_le64(header + 40, 2 + blocks);                     /* first usable */
        store_le64(header + 48, disk->block_count - 2 - blocks); /* last usable */
        store_guid(header + DISK_ID, &table->disk_id);
        store_le64(header + ENTRIES_LBA, 2);
        store_le32(header + ENTRY_COUNT, SI_PARTITIONS_MAX);
        store_le32(header + ENTRY_BYTES, ENTRY_LEAST_BYTES);
        for (unsigned i = 0; i < table->count; i++)
            encode_entry(t->primary.entries + (size_t)i * ENTRY_LEAST_BYTES, &table->partitions[i]);
        io = write_protective_mbr(machine, disk);
        if (io == SI_IO_OK) io = write_table(t);
    }
    free(t);
    return io;
}

/* ---- The burst ------------------------------------------------------------------------------- */

static enum si_io rewrite(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks)
{
    uint8_t data[BURST_BYTES];
    enum si_io io = m->read(m, handle, lba, blocks, data);
    return io == SI_IO_OK ? m->write(m, handle, lba, blocks, data) : io;
}

enum si_io si_gpt_recover(struct si_machine *machine, const struct si_disk *disk,
                          const GUID *partition)
{
    struct si_gpt table;
    const struct si_partition *p = NULL;
    enum si_io io = si_gpt_read(machine, disk, &table);
    if (io != SI_IO_OK) return io;
    for (unsigned i = 0; i < table.count && !p; i++) {
        if (is_same_guid(&table.partitions[i].id, partition)) p = &table.partitions[i];
    }
    if (!p) return SI_IO_ERROR;
    uint32_t blocks = BURST_BYTES / disk->block_bytes;
    uint64_t step = p->block_count / BURST_WRITES;
    if (step < blocks) step = blocks;
    for (uint64_t at = 0; at < p->block_count && io == SI_IO_OK; at += step) {
        uint64_t left = p->block_count - at;
        io = rewrite(machine, disk->handle, p->first_lba + at,
                     left < blocks ? (uint32_t)left : blocks);
    }
    return io == SI_IO_OK ? machine->flush(machine, disk->handle) : io;
}
