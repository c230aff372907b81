/*
 * standin_fuzz.c - any disk against the stand-in's own readers: partition tables, and the record of a
 * LUN.
 *
 * Input: [flags] [three sizes, 2 bytes each, little-endian] the pages INQUIRY, 80h, 83h, then the
 * blocks of a small disk from its beginning.  Bit 0: the headers get their checksums, so that what is
 * behind them is reached; bit 1: the backup is a copy of the primary.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/endian.h"
#include "windows/standin/gpt.h"
#include "windows/standin/record.h"

enum { BLOCKS = 256, BLOCK = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t image[BLOCKS * BLOCK];
static unsigned live;

static enum si_io disk_read(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                            void *ret_data)
{
    check(lba < BLOCKS && blocks <= BLOCKS - lba);
    memcpy(ret_data, image + lba * BLOCK, (size_t)blocks * BLOCK);
    return SI_IO_OK;
}

static enum si_io disk_write(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                             const void *data)
{
    check(lba < BLOCKS && blocks <= BLOCKS - lba);
    memcpy(image + lba * BLOCK, data, (size_t)blocks * BLOCK);
    return SI_IO_OK;
}

static enum si_io disk_flush(struct si_machine *m, unsigned handle)
{
    return SI_IO_OK;
}

static void *counted_alloc(struct si_memory *m, size_t size)
{
    live++;
    return malloc(size);
}

static void counted_free(struct si_memory *m, void *block)
{
    live--;
    free(block);
}

static bool any_block(struct si_memory *m, const void *block)
{
    return true;
}

static uint16_t take_page(struct buf_reader *in, uint8_t page[SI_PAGE_MAX], uint16_t wanted)
{
    uint16_t size = wanted % (SI_PAGE_MAX + 1);
    const uint8_t *bytes = buf_take(in, size);
    if (!bytes) return 0;
    memcpy(page, bytes, size);
    return size;
}

static uint32_t crc32_of(const uint8_t *data, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

/* A header that is right but for what it says. */
static void seal(uint64_t lba, uint64_t other)
{
    uint8_t *header = image + lba * BLOCK;
    memcpy(header, "EFI PART", 8);
    store_le32(header + 12, 92);
    store_le64(header + 24, lba);
    store_le64(header + 32, other);
    uint64_t entries = load_le64(header + 72) % BLOCKS;
    uint32_t bytes = load_le32(header + 80) % 256 * 128;
    store_le64(header + 72, entries);
    store_le32(header + 80, bytes / 128);
    store_le32(header + 84, 128);
    if (entries * BLOCK + bytes <= sizeof image)
        store_le32(header + 88, crc32_of(image + entries * BLOCK, bytes));
    store_le32(header + 16, 0);
    store_le32(header + 16, crc32_of(header, 92));
}

static void records(const struct si_disk *disk)
{
    struct si_memory memory = {counted_alloc, counted_free, any_block, NULL};
    VDS_LUN_INFORMATION lun, copy;
    if (!record_from_disk(&memory, disk, NULL, &lun)) return;
    check(record_fault(&memory, &lun) == NULL);
    check(record_copy(&memory, &lun, &copy));
    check(record_difference(&lun, &copy) == NULL);
    check(record_has_identity(&lun) == record_shares_identity(&copy, &lun));
    record_free(&memory, &lun);
    record_free(&memory, &copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct si_machine machine = {NULL, disk_read, disk_write, disk_flush};
    struct si_disk disk = {.block_bytes = BLOCK, .block_count = BLOCKS};
    struct buf_reader in = buf_reader(data, size);
    struct si_gpt table;
    uint8_t flags = buf_take_u8(&in);
    uint16_t sizes[3];
    for (unsigned i = 0; i < 3; i++)
        sizes[i] = buf_take_le16(&in);
    disk.inquiry_size = take_page(&in, disk.inquiry, sizes[0]);
    disk.serial_page_size = take_page(&in, disk.serial_page, sizes[1]);
    disk.id_page_size = take_page(&in, disk.id_page, sizes[2]);
    records(&disk);
    check(live == 0);

    size_t left = buf_left(&in);
    if (left > sizeof image) left = sizeof image;
    memset(image, 0, sizeof image);
    if (left) memcpy(image, buf_take(&in, left), left);
    if (flags & 2) memcpy(image + (BLOCKS - 1) * BLOCK, image + BLOCK, BLOCK);
    if (flags & 1) {
        seal(1, BLOCKS - 1);
        seal(BLOCKS - 1, 1);
    }
    check(si_gpt_read(&machine, &disk, &table) == SI_IO_OK);
    bool is_usable = table.state == SI_GPT_SOUND || table.state == SI_GPT_HALF;
    check(is_usable || table.count == 0);
    bool was_marked = si_gpt_mark(&machine, &disk, NULL) == SI_IO_OK;
    check(is_usable || !was_marked);
    for (unsigned i = 0; i < table.count; i++)
        (void)si_gpt_recover(&machine, &disk, &table.partitions[i].id);
    return 0;
}
