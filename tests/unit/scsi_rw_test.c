/* READ, WRITE, VERIFY, WRITE SAME, UNMAP, COMPARE AND WRITE, ORWRITE, GET LBA STATUS: good ways and bad. */
#include "base/endian.h"
#include "tests/lib/scsi_rig.h"
#include "tests/lib/tap.h"

static struct rig rig;
static uint8_t data[2 * 1024 * 1024], zeroes[2 * 1024 * 1024];

enum { END = RIG_DISK_SECTORS };

/* A CDB of `size` bytes with LBA and length where that size has them. */
static const uint8_t *range_cdb(uint8_t opcode, uint8_t flags, uint64_t lba, uint32_t count,
                                unsigned *ret_size)
{
    static uint8_t cdb[16];
    memset(cdb, 0, sizeof cdb);
    cdb[0] = opcode;
    cdb[1] = flags;
    switch (opcode >> 5) {
    case 0:
        store_be24(cdb + 1, (uint32_t)lba);
        cdb[4] = (uint8_t)count;
        *ret_size = 6;
        break;
    case 1:
    case 2:
        store_be32(cdb + 2, (uint32_t)lba);
        store_be16(cdb + 7, (uint16_t)count);
        *ret_size = 10;
        break;
    case 5:
        store_be32(cdb + 2, (uint32_t)lba);
        store_be32(cdb + 6, count);
        *ret_size = 12;
        break;
    default:
        store_be64(cdb + 2, lba);
        store_be32(cdb + 10, count);
        if (opcode == 0x89) cdb[13] = (uint8_t)count, cdb[12] = 0;
        *ret_size = 16;
        break;
    }
    return cdb;
}

static struct reply *in(uint8_t opcode, uint8_t flags, uint64_t lba, uint32_t count)
{
    unsigned size;
    const uint8_t *cdb = range_cdb(opcode, flags, lba, count, &size);
    return rig_cdb(&rig, rig.nexus, 0, cdb, size);
}

static struct reply *out(uint8_t opcode, uint8_t flags, uint64_t lba, uint32_t count,
                         const void *from, size_t bytes)
{
    unsigned size;
    const uint8_t *cdb = range_cdb(opcode, flags, lba, count, &size);
    return rig_out(&rig, rig.nexus, 0, cdb, size, from, bytes);
}

static bool is(const struct reply *r, uint8_t key, uint16_t asc)
{
    return r->status == SCSI_STATUS_CHECK_CONDITION && r->key == key && r->asc == asc;
}
#define LBA_OUT_OF_RANGE 5, 0x2100
#define INVALID_FIELD 5, 0x2400
#define INVALID_PARAMETER 5, 0x2600
#define LENGTH_ERROR 5, 0x1A00
#define MISCOMPARE 0xE, 0x1D00

static void fill(uint8_t seed, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(seed + i * 7 + i / 512 * 13);
}

static bool holds(uint64_t lba, const void *expected, uint32_t sectors)
{
    struct reply *r = in(0x88, 0, lba, sectors);
    return r->status == SCSI_STATUS_GOOD && r->size == sectors * 512 &&
           memcmp(r->data, expected, r->size) == 0;
}

static bool is_mapped(uint64_t lba)
{
    uint8_t cdb[16] = {0x9E, 0x12, [13] = 24};
    store_be64(cdb + 2, lba);
    struct reply *r = rig_cdb(&rig, rig.nexus, 0, cdb, 16);
    return r->size == 24 && load_be64(r->data + 8) == lba && r->data[20] == 0;
}

static void every_size_of_write_is_read_by_every_size_of_read(void)
{
    static const uint8_t writes[] = {0x0A, 0x2A, 0xAA, 0x8A}, reads[] = {0x08, 0x28, 0xA8, 0x88};
    for (unsigned w = 0; w < 4; w++) {
        fill((uint8_t)(w * 31), 9 * 512);
        rig.out_pieces = w * 700;
        struct reply *r = out(writes[w], 0, 1001 + w, 9, data, 9 * 512);
        expect_eq(r->status, SCSI_STATUS_GOOD);
        expect_eq(r->transfer, SCSI_TRANSFER_OUT);
        expect_eq(r->transfer_bytes, 9 * 512);
        for (unsigned i = 0; i < 4; i++) {
            r = in(reads[i], 0, 1001 + w, 9);
            expect_eq(r->transfer, SCSI_TRANSFER_IN);
            expect_eq(r->transfer_bytes, 9 * 512);
            expect_eq(r->size, 9 * 512);
            expect(memcmp(r->data, data, r->size) == 0);
        }
    }
    rig.out_pieces = 0;
}

static void length_0_is_256_blocks_for_6_byte_commands_and_none_for_others(void)
{
    expect_eq(in(0x08, 0, 0, 0)->size, 256 * 512);
    fill(1, 256 * 512);
    expect_eq(out(0x0A, 0, 0, 0, data, 256 * 512)->transfer_bytes, 256 * 512);
    static const uint8_t others[] = {0x28, 0xA8, 0x88, 0x2A, 0xAA, 0x8A,
                                     0x2F, 0x2E, 0x89, 0x8B, 0x34, 0x90};
    for (unsigned i = 0; i < sizeof others; i++) {
        struct reply *r = in(others[i], 0, END, 0);
        expect_eq(r->status, SCSI_STATUS_GOOD);
        expect_eq(r->transfer, SCSI_TRANSFER_NONE);
        expect(is(in(others[i], 0, END + 1, 0), LBA_OUT_OF_RANGE));
    }
}

static void ranges_beyond_the_end_are_refused_without_wrapping(void)
{
    static const uint8_t all[] = {0x28, 0xA8, 0x88, 0x2A, 0xAA, 0x8A, 0x2F, 0xAF, 0x8F, 0x2E,
                                  0xAE, 0x8E, 0x34, 0x90, 0x35, 0x91, 0x41, 0x93, 0x89, 0x8B};
    for (unsigned i = 0; i < sizeof all; i++) {
        expect(is(in(all[i], 0, END, 1), LBA_OUT_OF_RANGE));
        expect(is(in(all[i], 0, END - 1, 2), LBA_OUT_OF_RANGE));
        expect(is(in(all[i], 0, UINT32_MAX, 1), LBA_OUT_OF_RANGE));
        if (all[i] >> 5 != 4) continue; /* 16-byte CDBs */
        expect(is(in(all[i], 0, UINT64_MAX, 1), LBA_OUT_OF_RANGE));
        expect(is(in(all[i], 0, UINT64_MAX - 1, 2), LBA_OUT_OF_RANGE));
        expect(is(in(all[i], 0, (uint64_t)1 << 63, 1), LBA_OUT_OF_RANGE));
    }
    /* INFORMATION: the first block that is not there. */
    in(0x28, 0, END - 1, 5);
    expect_eq(rig.reply.sense[0], 0xF0);
    expect_eq(load_be32(rig.reply.sense + 3), END);
    expect(is(in(0x08, 0, END - 1, 2), LBA_OUT_OF_RANGE));
}

static void transfers_above_the_limit_are_refused(void)
{
    uint32_t most = LIMIT_TRANSFER_BYTES / 512;
    static const uint8_t all[] = {0x28, 0x88, 0xA8, 0x2A, 0x8A, 0xAA, 0x8E, 0x8B};
    for (unsigned i = 0; i < sizeof all; i++)
        expect(is(in(all[i], 0, 0, most + 1), INVALID_FIELD));
    expect(is(in(0x8F, 2, 0, most + 1), INVALID_FIELD));
    struct reply *r = in(0x88, 0, 0, most);
    expect_eq(r->status, SCSI_STATUS_GOOD);
    expect_eq(r->size, LIMIT_TRANSFER_BYTES);
}

static void protection_information_is_refused(void)
{
    static const uint8_t all[] = {0x28, 0x88, 0xA8, 0x2A, 0x8A, 0xAA, 0x2F, 0xAF,
                                  0x8F, 0x2E, 0xAE, 0x8E, 0x41, 0x93, 0x89, 0x8B};
    for (unsigned i = 0; i < sizeof all; i++) {
        for (unsigned protect = 1; protect < 8; protect++) {
            expect(is(in(all[i], (uint8_t)(protect << 5), 0, 1), INVALID_FIELD));
        }
    }
}

static void a_short_data_out_writes_the_whole_sectors_that_came(void)
{
    fill(5, 4 * 512);
    expect_eq(out(0x2A, 0, 500, 4, zeroes, 4 * 512)->status, SCSI_STATUS_GOOD);
    rig.out_pieces = 100;
    expect_eq(out(0x2A, 0, 500, 4, data, 2 * 512 + 300)->status, SCSI_STATUS_GOOD);
    rig.out_pieces = 0;
    expect(holds(500, data, 2));
    expect(holds(502, zeroes, 2));
    expect_eq(out(0x2A, 0, 500, 4, data, 511)->status, SCSI_STATUS_GOOD);
    expect_eq(out(0x2A, 0, 500, 4, data, 0)->status, SCSI_STATUS_GOOD);
}

static void fua_reaches_the_volume(void)
{
    struct memvol_counts before = memvol_counts(rig.pool);
    out(0x2A, 0x00, 0, 1, data, 512);
    out(0x2A, 0x10, 0, 1, data, 512); /* DPO */
    expect_eq(memvol_counts(rig.pool).fua, before.fua);
    out(0x2A, 0x08, 0, 1, data, 512);
    out(0x8A, 0x18, 0, 1, data, 512);
    out(0x2E, 0x00, 0, 1, data, 512); /* WRITE AND VERIFY */
    expect_eq(memvol_counts(rig.pool).fua, before.fua + 3);
    expect_eq(in(0x35, 0, 0, 0)->status, SCSI_STATUS_GOOD);
    expect_eq(in(0x91, 2, 7, 9)->status, SCSI_STATUS_GOOD);
    expect_eq(memvol_counts(rig.pool).flushes, before.flushes + 2);
}

static void failures_of_the_volume_become_sense(void)
{
    static const struct {
        enum status status;
        uint8_t key;
        uint16_t asc;
    } cases[] = {{STATUS_READ_FAILED, 3, 0x1100},
                 {STATUS_POOL_FULL, 7, 0x2707},
                 {STATUS_POOL_FAILED, 4, 0x4400},
                 {STATUS_WRITE_PROTECTED, 7, 0x2700},
                 {STATUS_BLOCK_CORRUPT, 3, 0x1100}};
    for (unsigned i = 0; i < countof(cases); i++) {
        memvol_fail(rig.pool, VOLUME_WRITE, cases[i].status);
        expect(is(out(0x2A, 0, 0, 1, data, 512), cases[i].key, cases[i].asc));
        memvol_fail(rig.pool, VOLUME_READ, cases[i].status);
        struct reply *r = in(0x28, 0, 0, 1);
        expect(is(r, cases[i].key, cases[i].asc));
        expect_eq(r->size, 0);
    }
    memvol_fail(rig.pool, VOLUME_WRITE, STATUS_AGAIN);
    expect_eq(out(0x2A, 0, 0, 1, data, 512)->status, SCSI_STATUS_BUSY);
    memvol_fail(rig.pool, VOLUME_FLUSH, STATUS_FLUSH_FAILED);
    expect(is(in(0x35, 0, 0, 0), 4, 0x4400));
}

static void verify_compares_what_it_is_told_to(void)
{
    static const uint8_t all[] = {0x2F, 0xAF, 0x8F};
    uint32_t sectors = 1200; /* more than one step */
    fill(9, sectors * 512);
    expect_eq(out(0x8A, 0, 2000, sectors, data, sectors * 512)->status, SCSI_STATUS_GOOD);
    for (unsigned i = 0; i < sizeof all; i++) {
        expect_eq(in(all[i], 0, 2000, sectors)->transfer, SCSI_TRANSFER_NONE);
        expect_eq(rig.reply.status, SCSI_STATUS_GOOD);
        rig.out_pieces = 77777;
        expect_eq(out(all[i], 2, 2000, sectors, data, sectors * 512)->status, SCSI_STATUS_GOOD);
        data[1100 * 512 + 3] ^= 1;
        expect(is(out(all[i], 2, 2000, sectors, data, sectors * 512), MISCOMPARE));
        data[1100 * 512 + 3] ^= 1;
        rig.out_pieces = 0;
        expect(is(out(all[i], 4, 2000, sectors, data, sectors * 512), INVALID_FIELD));
        /* Each block against one */
        struct reply *r = out(all[i], 6, 2000, 1, data, 512);
        expect_eq(r->status, SCSI_STATUS_GOOD);
        expect_eq(r->transfer_bytes, 512);
        expect(is(out(all[i], 6, 2000, 2, data, 512), MISCOMPARE));
    }
    memvol_fail(rig.pool, VOLUME_READ, STATUS_BLOCK_CORRUPT);
    expect(is(in(0x2F, 0, 2000, 1), 3, 0x1100));
    /* The whole disk is more than one transfer, but nothing is transferred. */
    expect_eq(in(0x8F, 0, 0, END)->status, SCSI_STATUS_GOOD);
}

static void write_and_verify_writes_and_reads_back(void)
{
    static const uint8_t all[] = {0x2E, 0xAE, 0x8E};
    for (unsigned i = 0; i < sizeof all; i++) {
        fill((uint8_t)(40 + i), 700 * 512);
        uint64_t reads = memvol_counts(rig.pool).reads;
        expect_eq(out(all[i], (uint8_t)(i % 2 * 2), 4000, 700, data, 700 * 512)->status,
                  SCSI_STATUS_GOOD);
        expect(memvol_counts(rig.pool).reads > reads);
        expect(holds(4000, data, 700));
        memvol_fail(rig.pool, VOLUME_WRITE, STATUS_POOL_FULL);
        expect(is(out(all[i], 0, 4000, 1, data, 512), 7, 0x2707));
        rig.out_pieces = 300;
        expect_eq(out(all[i], 2, 4000, 4, data, 3 * 512 - 1)->status, SCSI_STATUS_GOOD);
        rig.out_pieces = 0;
        expect(is(out(all[i], 6, 4000, 1, data, 512), INVALID_FIELD));
    }
}

static void write_same_repeats_one_block(void)
{
    static const uint8_t all[] = {0x41, 0x93};
    for (unsigned i = 0; i < 2; i++) {
        fill((uint8_t)(60 + i), 512);
        for (uint32_t k = 1; k < 1300; k++)
            memcpy(data + k * 512, data, 512);
        expect_eq(out(all[i], 0, 6001, 1300, data, 512)->transfer_bytes, 512);
        expect_eq(rig.reply.status, SCSI_STATUS_GOOD);
        expect(holds(6001, data, 1300));
        /* UNMAP with data that is not zero writes it (SBC-3 5.54). */
        expect_eq(out(all[i], 8, 9001, 5, data, 512)->status, SCSI_STATUS_GOOD);
        expect(holds(9001, data, 5));
        uint64_t writes = memvol_counts(rig.pool).writes;
        expect_eq(out(all[i], (uint8_t)(i * 8), 6001, 1300, zeroes, 512)->status, SCSI_STATUS_GOOD);
        expect_eq(memvol_counts(rig.pool).writes, writes);
        expect(holds(6001, zeroes, 1300));
        expect(!is_mapped(6008));
    }
}

static void write_same_without_a_number_goes_to_the_end(void)
{
    static const uint8_t all[] = {0x41, 0x93};
    for (unsigned i = 0; i < 2; i++) {
        fill(3, 512);
        expect_eq(out(all[i], 0, END - 8, 0, data, 512)->status, SCSI_STATUS_GOOD);
        expect(holds(END - 8, data, 1));
        expect(holds(END - 1, data, 1));
        /* With UNMAP that means to give it all up, whatever the block sent. */
        expect_eq(out(all[i], 8, END - 5, 0, data, 512)->status, SCSI_STATUS_GOOD);
        expect(holds(END - 6, data, 1));
        expect(holds(END - 5, zeroes, 5));
        expect_eq(out(all[i], 0, END, 0, data, 512)->status, SCSI_STATUS_GOOD);
    }
}

static void write_same_refuses_what_it_cannot(void)
{
    static const uint8_t all[] = {0x41, 0x93};
    for (unsigned i = 0; i < 2; i++) {
        expect(is(out(all[i], 0x10, 0, 1, zeroes, 512), INVALID_FIELD)); /* ANCHOR */
        expect(is(out(all[i], 0x18, 0, 1, zeroes, 512), INVALID_FIELD));
        expect(is(out(all[i], 0x02, 0, 1, zeroes, 512), INVALID_FIELD)); /* LBDATA */
        expect(is(out(all[i], 0x04, 0, 1, zeroes, 512), INVALID_FIELD));
        expect(is(out(all[i], 0, 0, 1, zeroes, 256), INVALID_FIELD)); /* less than a block */
        rig.out_offered = 1024;                                       /* more than a block */
        expect(is(out(all[i], 0, 0, 1, zeroes, 512), INVALID_FIELD));
        rig.out_offered = 0;
        expect(is(out(all[i], 0, END + 1, 0, zeroes, 512), LBA_OUT_OF_RANGE));
    }
    expect(is(out(0x41, 1, 0, 1, zeroes, 512), INVALID_FIELD));
    expect(is(out(0x93, 0, 0, 32769, zeroes, 512), LBA_OUT_OF_RANGE));
    /* NDOB: zeroes, and nothing is sent */
    fill(3, 512);
    expect_eq(out(0x2A, 0, END - 1, 1, data, 512)->status, SCSI_STATUS_GOOD);
    struct reply *r = out(0x93, 1, END - 8, 8, NULL, 0);
    expect_eq(r->status, SCSI_STATUS_GOOD);
    expect_eq(r->transfer, SCSI_TRANSFER_NONE);
    expect(holds(END - 8, zeroes, 8));
}

static struct reply *unmap(const uint64_t (*ranges)[2], unsigned count, unsigned list_bytes)
{
    static uint8_t list[70000];
    memset(list, 0, sizeof list);
    store_be16(list, (uint16_t)(count * 16 + 6));
    store_be16(list + 2, (uint16_t)(count * 16));
    for (unsigned i = 0; i < count; i++) {
        store_be64(list + 8 + i * 16, ranges[i % 8][0]);
        store_be32(list + 16 + i * 16, (uint32_t)ranges[i % 8][1]);
    }
    uint8_t cdb[10] = {0x42};
    store_be16(cdb + 7, (uint16_t)list_bytes);
    return rig_out(&rig, rig.nexus, 0, cdb, 10, list, list_bytes);
}

static void unmapped_blocks_read_as_zeroes_and_hold_no_space(void)
{
    for (unsigned start = 0; start < 9; start += 4) {
        for (uint32_t count = 1; count < 30; count += 7) {
            fill(77, 64 * 512);
            expect_eq(out(0x2A, 0, 10000, 64, data, 64 * 512)->status, SCSI_STATUS_GOOD);
            uint64_t ranges[8][2] = {{10000 + start, count}, {10050, 0}, {10056, 8}};
            expect_eq(unmap(ranges, 3, 56)->status, SCSI_STATUS_GOOD);
            memset(data + start * 512, 0, count * 512);
            memset(data + 56 * 512, 0, 8 * 512);
            expect(holds(10000, data, 64));
            expect(!is_mapped(10056));
            expect(is_mapped(10048));
        }
    }
}

static void unmap_checks_its_list_before_it_does_anything(void)
{
    fill(78, 8 * 512);
    expect_eq(out(0x2A, 0, 0, 8, data, 8 * 512)->status, SCSI_STATUS_GOOD);
    uint64_t bad[8][2] = {{0, 8}, {END, 1}};
    expect(is(unmap(bad, 2, 40), LBA_OUT_OF_RANGE));
    bad[1][0] = UINT64_MAX, bad[1][1] = 2;
    expect(is(unmap(bad, 2, 40), LBA_OUT_OF_RANGE));
    bad[1][0] = 0, bad[1][1] = 8;
    expect(is(unmap(bad, 2, 30), LENGTH_ERROR));
    expect(is(unmap(bad, 2, 7), LENGTH_ERROR));
    uint64_t many[8][2] = {{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}};
    expect(is(unmap(many, 257, 8 + 257 * 16), INVALID_PARAMETER));
    uint64_t much[8][2] = {{0, END}, {0, END}, {0, END}, {0, END},
                           {0, END}, {0, END}, {0, END}, {0, END}};
    expect(is(unmap(much, 33, 8 + 33 * 16), INVALID_PARAMETER));
    uint8_t anchor[10] = {0x42, 1};
    expect(is(rig_cdb(&rig, rig.nexus, 0, anchor, 10), INVALID_FIELD));
    expect(holds(0, data, 8));
    /* Nothing to do is fine. */
    expect_eq(unmap(many, 0, 0)->status, SCSI_STATUS_GOOD);
    expect_eq(unmap(many, 0, 8)->status, SCSI_STATUS_GOOD);
    uint64_t at_end[8][2] = {{END, 0}};
    expect_eq(unmap(at_end, 1, 24)->status, SCSI_STATUS_GOOD);
    expect_eq(unmap(many, 256, 8 + 256 * 16)->status, SCSI_STATUS_GOOD);
    expect(holds(0, zeroes, 8));
}

static void lba_status_tells_mapped_runs(void)
{
    uint64_t all[8][2] = {{0, END}};
    expect_eq(unmap(all, 1, 24)->status, SCSI_STATUS_GOOD);
    fill(1, 16 * 512);
    out(0x2A, 0, 64, 16, data, 16 * 512);
    uint8_t cdb[16] = {0x9E, 0x12, [12] = 1, [13] = 0};
    struct reply *r = rig_cdb(&rig, rig.nexus, 0, cdb, 16);
    expect_eq(r->size, 8 + 3 * 16);
    expect_eq(load_be32(r->data), 4 + 3 * 16);
    static const uint64_t runs[3][3] = {{0, 64, 1}, {64, 16, 0}, {80, END - 80, 1}};
    for (unsigned i = 0; i < 3; i++) {
        expect_eq(load_be64(r->data + 8 + 16 * i), runs[i][0]);
        expect_eq(load_be32(r->data + 16 + 16 * i), runs[i][1]);
        expect_eq(r->data[20 + 16 * i], runs[i][2]);
    }
    store_be64(cdb + 2, 70);
    cdb[12] = 0, cdb[13] = 24;
    r = rig_cdb(&rig, rig.nexus, 0, cdb, 16);
    expect_eq(r->size, 24);
    expect_eq(load_be64(r->data + 8), 70);
    expect_eq(load_be32(r->data + 16), 10);
    store_be64(cdb + 2, END);
    expect(is(rig_cdb(&rig, rig.nexus, 0, cdb, 16), LBA_OUT_OF_RANGE));
    store_be64(cdb + 2, UINT64_MAX);
    expect(is(rig_cdb(&rig, rig.nexus, 0, cdb, 16), LBA_OUT_OF_RANGE));
}

static void compare_and_write_writes_only_on_a_match(void)
{
    for (uint32_t n = 1; n <= 255; n += 127) {
        fill(90, n * 512);
        out(0x8A, 0, 3000, n, data, n * 512);
        memset(data + n * 512, 0xBB, n * 512);
        struct reply *r = out(0x89, 0, 3000, n, data, 2 * n * 512);
        expect_eq(r->status, SCSI_STATUS_GOOD);
        expect_eq(r->transfer_bytes, 2 * n * 512);
        expect(holds(3000, data + n * 512, n));
        memset(data, 0xBB, n * 512);
        data[n * 512 - 27] ^= 0x10;
        memset(data + n * 512, 0xCC, n * 512);
        rig.out_pieces = 4099;
        r = out(0x89, 0, 3000, n, data, 2 * n * 512);
        rig.out_pieces = 0;
        expect(is(r, MISCOMPARE));
        expect_eq(r->sense[0], 0xF0);
        expect_eq(load_be32(r->sense + 3), n * 512 - 27);
        memset(data, 0xBB, n * 512);
        expect(holds(3000, data, n));
    }
    uint64_t compares = memvol_counts(rig.pool).compares;
    expect(is(out(0x89, 0, 3000, 2, data, 2 * 512), INVALID_FIELD));
    expect_eq(memvol_counts(rig.pool).compares, compares);
    rig.out_offered = 5 * 512;
    expect(is(out(0x89, 0, 3000, 2, data, 4 * 512), INVALID_FIELD));
    rig.out_offered = 512 * 512; /* 256 blocks do not fit into the field */
    expect(is(out(0x89, 0, 3000, 0, data, 0), INVALID_FIELD));
    rig.out_offered = 0;
}

static void orwrite_adds_bits(void)
{
    uint32_t n = 300;
    fill(11, n * 512);
    static uint8_t expected[300 * 512];
    memcpy(expected, data, sizeof expected);
    out(0x8A, 0, 5000, n, data, n * 512);
    fill(200, n * 512);
    for (size_t i = 0; i < sizeof expected; i++)
        expected[i] |= data[i];
    rig.out_pieces = 5001;
    expect_eq(out(0x8B, 0, 5000, n, data, n * 512)->status, SCSI_STATUS_GOOD);
    rig.out_pieces = 0;
    expect(holds(5000, expected, n));
}

static void write_protection_comes_before_any_data(void)
{
    static const uint8_t writes[] = {0x0A, 0x2A, 0xAA, 0x8A, 0x2E, 0xAE,
                                     0x8E, 0x41, 0x93, 0x89, 0x8B};
    struct scsi_lun *lun = rig_lun(&rig, rig.volume, 2, true);
    struct err *e = scsi_map_add(rig.map, 1, lun);
    require(!e);
    rig_settle(&rig, rig.nexus, 1);
    for (unsigned i = 0; i < sizeof writes; i++) {
        unsigned size;
        const uint8_t *cdb = range_cdb(writes[i], 0, 0, 1, &size);
        struct reply *r = rig_cdb(&rig, rig.nexus, 1, cdb, size);
        expect(is(r, 7, 0x2700));
        expect(r->finished_in_begin);
        expect_eq(r->transfer_bytes, 0);
    }
    expect(is(rig_cdb(&rig, rig.nexus, 1, (uint8_t[10]){0x42, [8] = 24}, 10), 7, 0x2700));
    static const uint8_t reads[] = {0x08, 0x28, 0xA8, 0x88, 0x2F, 0xAF,
                                    0x8F, 0x34, 0x90, 0x35, 0x91};
    for (unsigned i = 0; i < sizeof reads; i++) {
        unsigned size;
        const uint8_t *cdb = range_cdb(reads[i], 0, 0, 1, &size);
        expect_eq(rig_cdb(&rig, rig.nexus, 1, cdb, size)->status, SCSI_STATUS_GOOD);
    }
    struct reply *r = rig_cdb(&rig, rig.nexus, 1, (uint8_t[6]){0x1A, 0, 0x3F, 0, 255, 0}, 6);
    expect_eq(r->data[2], 0x90);
    scsi_map_remove(rig.map, 1, NULL, NULL);
    rig_run_idle(&rig);
    scsi_lun_destroy(lun);
    rig_settle(&rig, rig.nexus, 0);
    r = rig_cdb(&rig, rig.nexus, 0, (uint8_t[6]){0x1A, 0, 0x3F, 0, 255, 0}, 6);
    expect_eq(r->data[2], 0x10);
}

static void buffers_run_out_and_come_back(void)
{
    /* 24 reads of 4 MiB want more than the runtime's 64 MiB; all of them end. */
    enum { COUNT = 24 };
    static struct rig_task tasks[COUNT];
    unsigned size;
    const uint8_t *cdb = range_cdb(0x88, 0, 0, LIMIT_TRANSFER_BYTES / 512, &size);
    for (unsigned i = 0; i < COUNT; i++)
        rig_start(&rig, &tasks[i], rig.nexus, 0, cdb, size);
    unsigned ended = 0;
    for (unsigned round = 0; round < 100000 && ended < COUNT; round++) {
        sim_step(rig.sim);
        for (unsigned i = 0; i < COUNT; i++) {
            if (!tasks[i].done) continue;
            expect_eq(tasks[i].task.in_bytes, LIMIT_TRANSFER_BYTES);
            scsi_task_release(&tasks[i].task);
            tasks[i].done = false;
            ended++;
        }
    }
    expect_eq(ended, COUNT);
    rig_run_idle(&rig);
    expect_eq(rt_buf_in_use_bytes(rig.rt), 0);
}

/* Each of the big ones gets a part of what the small ones give back, and none of them all it needs. */
static void tasks_that_hold_parts_do_not_wait_for_each_other_for_ever(void)
{
    enum { SMALL = 64, BIG = 24 }; /* 64 MiB come back in 64 parts: at most 3 of 4 for each */
    static struct rig_task small[SMALL], big[BIG];
    unsigned size;
    for (unsigned i = 0; i < SMALL; i++) {
        rig_start(&rig, &small[i], rig.nexus, 0, range_cdb(0x88, 0, 0, 2048, &size), 16);
    }
    for (unsigned i = 0; i < BIG; i++) {
        rig_start(&rig, &big[i], rig.nexus, 0, range_cdb(0x88, 0, 0, 8192, &size), 16);
    }
    for (unsigned i = 0; i < SMALL; i++) {
        while (!small[i].done)
            sim_step(rig.sim);
        scsi_task_release(&small[i].task);
        for (unsigned k = 0; k < 10; k++)
            sim_step(rig.sim);
    }
    unsigned ended = 0;
    for (unsigned round = 0; round < 100000 && ended < BIG; round++) {
        sim_step(rig.sim);
        for (unsigned i = 0; i < BIG; i++) {
            if (!big[i].done) continue;
            scsi_task_release(&big[i].task);
            big[i].done = false;
            ended++;
        }
    }
    expect_eq(ended, BIG);
    expect_eq(rt_buf_in_use_bytes(rig.rt), 0);
}

static void a_task_that_waits_for_buffers_can_be_released(void)
{
    static struct rig_task tasks[20];
    unsigned size;
    const uint8_t *cdb = range_cdb(0x88, 0, 0, LIMIT_TRANSFER_BYTES / 512, &size);
    memvol_hold(rig.pool, true);
    for (unsigned i = 0; i < 20; i++)
        rig_start(&rig, &tasks[i], rig.nexus, 0, cdb, size);
    /* The last ones hold nothing or a part. */
    for (unsigned i = 17; i < 20; i++)
        scsi_task_release(&tasks[i].task);
    memvol_hold(rig.pool, false);
    scsi_task_mark_aborted(&tasks[16].task);
    unsigned ended = 0;
    for (unsigned round = 0; round < 100000 && ended < 17; round++) {
        sim_step(rig.sim);
        for (unsigned i = 0; i < 17; i++) {
            if (!tasks[i].done) continue;
            if (i == 16) expect_eq(tasks[i].task.scsi_status, SCSI_STATUS_TASK_ABORTED);
            scsi_task_release(&tasks[i].task);
            tasks[i].done = false;
            ended++;
        }
    }
    expect_eq(ended, 17);
    expect_eq(rt_buf_in_use_bytes(rig.rt), 0);
}

int main(void)
{
    rig_init(&rig);
    run(every_size_of_write_is_read_by_every_size_of_read);
    run(length_0_is_256_blocks_for_6_byte_commands_and_none_for_others);
    run(ranges_beyond_the_end_are_refused_without_wrapping);
    run(transfers_above_the_limit_are_refused);
    run(protection_information_is_refused);
    run(a_short_data_out_writes_the_whole_sectors_that_came);
    run(fua_reaches_the_volume);
    run(failures_of_the_volume_become_sense);
    run(verify_compares_what_it_is_told_to);
    run(write_and_verify_writes_and_reads_back);
    run(write_same_repeats_one_block);
    run(write_same_without_a_number_goes_to_the_end);
    run(write_same_refuses_what_it_cannot);
    run(unmapped_blocks_read_as_zeroes_and_hold_no_space);
    run(unmap_checks_its_list_before_it_does_anything);
    run(lba_status_tells_mapped_runs);
    run(compare_and_write_writes_only_on_a_match);
    run(orwrite_adds_bits);
    run(write_protection_comes_before_any_data);
    run(buffers_run_out_and_come_back);
    run(tasks_that_hold_parts_do_not_wait_for_each_other_for_ever);
    run(a_task_that_waits_for_buffers_can_be_released);
    rig_fini(&rig);
    return tap_done();
}
