/* MODE SENSE and MODE SELECT: pages, masks, what may change and what it does; LOG SENSE, START STOP. */
#include "base/endian.h"
#include "tests/lib/scsi_rig.h"
#include "tests/lib/tap.h"

static struct rig rig;

static struct reply *sense6(uint8_t flags, uint8_t page, uint8_t subpage, uint8_t bytes)
{
    return rig_cdb(&rig, rig.nexus, 0, (uint8_t[]){0x1A, flags, page, subpage, bytes, 0}, 6);
}

static struct reply *sense10(uint8_t flags, uint8_t page)
{
    return rig_cdb(&rig, rig.nexus, 0, (uint8_t[10]){0x5A, flags, page, [7] = 1}, 10);
}

static struct reply *select6(const void *list, uint8_t bytes)
{
    return rig_out(&rig, rig.nexus, 0, (uint8_t[]){0x15, 0x10, 0, 0, bytes, 0}, 6, list, bytes);
}

static struct reply *select10(const void *list, uint8_t bytes)
{
    return rig_out(&rig, rig.nexus, 0, (uint8_t[10]){0x55, 0x10, [8] = bytes}, 10, list, bytes);
}

static bool is_illegal(const struct reply *r, uint16_t asc)
{
    return r->status == SCSI_STATUS_CHECK_CONDITION && r->key == 5 && r->asc == asc;
}

static const uint8_t caching[20] = {0x08, 0x12, 0x04};
static const uint8_t control[12] = {0x0A, 0x0A, 0x22, 0x10, 0, 0, 0, 0, 0xFF, 0xFF};
static const uint8_t exceptions[12] = {0x1C, 0x0A, 0x08};

static void all_pages_come_in_order_behind_the_block_descriptor(void)
{
    for (unsigned subpage = 0; subpage < 256; subpage += 255) {
        struct reply *r = sense6(0, 0x3F, (uint8_t)subpage, 255);
        expect_eq(r->size, 4 + 8 + 44);
        expect_eq(r->data[0], r->size - 1);
        expect_eq(r->data[2], 0x10); /* DPOFUA, not WP */
        expect_eq(r->data[3], 8);
        expect_eq(load_be32(r->data + 4), RIG_DISK_SECTORS);
        expect_eq(load_be32(r->data + 8), 512);
        expect(memcmp(r->data + 12, caching, 20) == 0);
        expect(memcmp(r->data + 32, control, 12) == 0);
        expect(memcmp(r->data + 44, exceptions, 12) == 0);
    }
}

static void ten_byte_form_has_its_own_header(void)
{
    struct reply *r = sense10(0x08, 0x08); /* DBD */
    expect_eq(r->size, 8 + 20);
    expect_eq(load_be16(r->data), 26);
    expect_eq(r->data[3], 0x10);
    expect_eq(load_be16(r->data + 6), 0);
    expect(memcmp(r->data + 8, caching, 20) == 0);
    r = sense10(0x10, 0x0A); /* LLBAA */
    expect_eq(r->size, 8 + 16 + 12);
    expect_eq(r->data[4], 1);
    expect_eq(load_be16(r->data + 6), 16);
    expect_eq(load_be64(r->data + 8), RIG_DISK_SECTORS);
    expect_eq(load_be32(r->data + 20), 512);
}

static void page_control_selects_masks_and_defaults(void)
{
    struct reply *r = sense6(8, 0x40 | 0x3F, 0, 255);
    static const uint8_t masks[44] = {0x08, 0x12, 0x04, [20] = 0x0A, 0x0A,
                                      0x04, 0,    0x08, [32] = 0x1C, 0x0A};
    expect_eq(r->size, 48);
    expect(memcmp(r->data + 4, masks, 44) == 0);
    r = sense6(8, 0x80 | 0x08, 0, 255);
    expect(memcmp(r->data + 4, caching, 20) == 0);
    expect(is_illegal(sense6(8, 0xC0 | 0x08, 0, 255), 0x3900));
}

static void what_there_is_not_is_refused(void)
{
    expect(is_illegal(sense6(0, 0x02, 0, 255), 0x2400));
    expect(is_illegal(sense6(0, 0x0A, 1, 255), 0x2400));
    expect(is_illegal(rig_cdb(&rig, rig.nexus, 0, (uint8_t[]){0x15, 0x11, 0, 0, 4, 0}, 6), 0x2400));
    expect_eq(sense6(0, 0x3F, 0, 4)->size, 4);
    expect_eq(rig.reply.data[0], 55); /* the length does not depend on what was asked for */
}

static void without_a_write_cache_every_write_is_fua(void)
{
    struct scsi_nexus *other = rig_nexus(&rig, rig.map, "iqn.test:other");
    rig_settle(&rig, other, 0);
    uint8_t list[4 + 20] = {0};
    memcpy(list + 4, caching, 20);
    list[6] = 0;
    struct memvol_counts before = memvol_counts(rig.pool);
    expect_eq(select6(list, sizeof list)->status, SCSI_STATUS_GOOD);
    expect_eq(memvol_counts(rig.pool).flushes, before.flushes + 1);
    uint8_t block[512] = {1};
    rig_out(&rig, rig.nexus, 0, (uint8_t[10]){0x2A, [8] = 1}, 10, block, 512);
    rig_out(&rig, rig.nexus, 0, (uint8_t[10]){0x41, [8] = 1}, 10, block, 512);
    expect_eq(memvol_counts(rig.pool).fua, before.fua + 2);
    expect_eq(sense6(8, 0x08, 0, 255)->data[6], 0);
    /* The others hear of it, who did it does not. */
    expect_eq(rig_cdb(&rig, other, 0, (uint8_t[6]){0}, 6)->asc, 0x2A01);
    expect_eq(rig_settle(&rig, other, 0), 0);
    /* No change, no attention. */
    expect_eq(select6(list, sizeof list)->status, SCSI_STATUS_GOOD);
    expect_eq(rig_settle(&rig, other, 0), 0);
    list[6] = 4;
    expect_eq(select6(list, sizeof list)->status, SCSI_STATUS_GOOD);
    rig_out(&rig, rig.nexus, 0, (uint8_t[10]){0x2A, [8] = 1}, 10, block, 512);
    expect_eq(memvol_counts(rig.pool).fua, before.fua + 2);
    scsi_nexus_destroy(other);
}

static void software_write_protect_is_write_protection(void)
{
    uint8_t list[8 + 12] = {0};
    memcpy(list + 8, control, 12);
    list[12] = 0x08;
    expect_eq(select10(list, sizeof list)->status, SCSI_STATUS_GOOD);
    struct reply *r = rig_cdb(&rig, rig.nexus, 0, (uint8_t[10]){0x2A, [8] = 1}, 10);
    expect_eq(r->key, 7);
    expect_eq(r->asc, 0x2700);
    expect_eq(sense6(8, 0x08, 0, 255)->data[2], 0x90);
    /* A reset brings the defaults back. */
    scsi_lun_reset(rig.nexus, (uint8_t[8]){0});
    rig_settle(&rig, rig.nexus, 0);
    expect_eq(sense6(8, 0x08, 0, 255)->data[2], 0x10);
}

static void sense_has_the_format_that_was_set(void)
{
    uint8_t list[8 + 12] = {0};
    memcpy(list + 8, control, 12);
    list[10] = 0x26;
    expect_eq(select10(list, sizeof list)->status, SCSI_STATUS_GOOD);
    uint8_t cdb[16] = {0x88, 0, 0, 0, 1, [13] = 1};
    struct reply *r = rig_cdb(&rig, rig.nexus, 0, cdb, 16);
    expect_eq(r->sense[0], 0x72);
    expect_eq(r->key, 5);
    expect_eq(r->asc, 0x2100);
    expect_eq(r->sense_bytes, 20);
    expect_eq(r->sense[7], 12);
    expect_eq(r->sense[10], 0x80);
    expect_eq(load_be64(r->sense + 12), (uint64_t)1 << 40);
    r = rig_cdb(&rig, rig.nexus, 0, (uint8_t[6]){0x12, 0, 1, 0, 96, 0}, 6);
    expect_eq(r->sense_bytes, 16);
    expect_eq(r->sense[8], 2);
    expect_eq(r->sense[12], 0xC0);
    list[10] = 0x22;
    expect_eq(select10(list, sizeof list)->status, SCSI_STATUS_GOOD);
    r = rig_cdb(&rig, rig.nexus, 0, cdb, 16);
    expect_eq(r->sense[0], 0x70); /* 2^40 does not fit: not valid */
}

static void lists_that_are_wrong_change_nothing(void)
{
    uint8_t list[8 + 8 + 20] = {0};
    memcpy(list + 4, caching, 20);
    list[6] = 0;
    for (uint8_t bytes = 1; bytes < 24; bytes++) {
        if (bytes != 4) expect(is_illegal(select6(list, bytes), 0x1A00));
    }
    list[7] = 0x01; /* a bit that is not changeable, far behind one that is */
    expect(is_illegal(select6(list, 24), 0x2600));
    expect_eq(load_be16(rig.reply.sense + 16), 7);
    list[7] = 0;
    list[4] = 0x02;
    expect(is_illegal(select6(list, 24), 0x2600));
    list[4] = 0x48;
    expect(is_illegal(select6(list, 24), 0x2600));
    list[4] = 0x08, list[5] = 0x11;
    expect(is_illegal(select6(list, 23), 0x2600));
    list[5] = 0xFF;
    expect(is_illegal(select6(list, 24), 0x1A00));
    list[5] = 0x12, list[3] = 7;
    expect(is_illegal(select6(list, 24), 0x2600));
    list[3] = 8;
    expect(is_illegal(select6(list, 6), 0x1A00));
    uint8_t descriptor[4 + 8 + 20] = {0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 4, 0};
    memcpy(descriptor + 12, caching, 20);
    expect(is_illegal(select6(descriptor, 32), 0x2600)); /* 1024-byte blocks */
    descriptor[10] = 2;
    expect_eq(select6(descriptor, 32)->status, SCSI_STATUS_GOOD);
    expect(is_illegal(rig_cdb(&rig, rig.nexus, 0, (uint8_t[10]){0x55, 0x10, [7] = 4}, 10), 0x1A00));
    expect(is_illegal(
        rig_out(&rig, rig.nexus, 0, (uint8_t[]){0x15, 0x10, 0, 0, 24, 0}, 6, list, 10), 0x1A00));
    expect_eq(select6(list, 0)->status, SCSI_STATUS_GOOD);
    expect_eq(sense6(8, 0x08, 0, 255)->data[6], 4);
}

static void small_commands_of_a_fixed_disk(void)
{
    struct reply *r = rig_cdb(&rig, rig.nexus, 0, (uint8_t[10]){0x4D, [8] = 64}, 10);
    expect_eq(r->size, 5);
    r = rig_cdb(&rig, rig.nexus, 0, (uint8_t[10]){0x37, 0, 0x1D, [8] = 64}, 10);
    expect_eq(r->size, 4);
    expect_eq(load_be32(r->data), 0x001D0000);
    r = rig_cdb(&rig, rig.nexus, 0, (uint8_t[12]){0xB7, 0x08, [9] = 64}, 12);
    expect_eq(r->size, 8);
    expect_eq(load_be64(r->data), 0x0008000000000000);
    expect(is_illegal(rig_cdb(&rig, rig.nexus, 0, (uint8_t[10]){0x4D, 0, 0x0D, [8] = 64}, 10),
                      0x2400));
    expect_eq(rig_cdb(&rig, rig.nexus, 0, (uint8_t[6]){0x1B, 0, 0, 0, 1}, 6)->status,
              SCSI_STATUS_GOOD);
    expect_eq(rig_cdb(&rig, rig.nexus, 0, (uint8_t[6]){0x1B, 0, 0, 0, 0}, 6)->status,
              SCSI_STATUS_GOOD);
    expect(is_illegal(rig_cdb(&rig, rig.nexus, 0, (uint8_t[6]){0x1B, 0, 0, 0, 2}, 6), 0x2400));
    expect(is_illegal(rig_cdb(&rig, rig.nexus, 0, (uint8_t[6]){0x1E, 0, 0, 0, 1}, 6), 0x2000));
}

int main(void)
{
    rig_init(&rig);
    run(all_pages_come_in_order_behind_the_block_descriptor);
    run(ten_byte_form_has_its_own_header);
    run(page_control_selects_masks_and_defaults);
    run(what_there_is_not_is_refused);
    run(without_a_write_cache_every_write_is_fua);
    run(software_write_protect_is_write_protection);
    run(sense_has_the_format_that_was_set);
    run(lists_that_are_wrong_change_nothing);
    run(small_commands_of_a_fixed_disk);
    rig_fini(&rig);
    return tap_done();
}
