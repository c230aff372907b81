/* INQUIRY and vital product data to the byte, LUN addressing, what an unmapped LUN answers, REPORT LUNS,
 * capacities, the command table as it is told to hosts. */
#include "base/endian.h"
#include "tests/lib/scsi_rig.h"
#include "tests/lib/tap.h"

static struct rig rig;

static struct reply *cdb6(unsigned lun, uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint8_t e,
                          uint8_t f)
{
    return rig_cdb(&rig, rig.nexus, lun, (uint8_t[]){a, b, c, d, e, f}, 6);
}

static struct reply *vpd(unsigned lun, uint8_t page)
{
    return cdb6(lun, 0x12, 1, page, 4, 0, 0);
}

static struct reply *report_luns(uint8_t select)
{
    uint8_t cdb[12] = {0xA0, 0, select, 0, 0, 0, 0, 0, 0x10, 0};
    return rig_cdb(&rig, rig.nexus, 0, cdb, 12);
}

static bool is_illegal(const struct reply *r, uint16_t asc)
{
    return r->status == SCSI_STATUS_CHECK_CONDITION && r->key == 5 && r->asc == asc;
}

static void standard_inquiry_is_exact(void)
{
    static const uint8_t expected[36] =
        "\x00\x00\x06\x12\x5B\x10\x10\x02TARN    VIRTUAL DISK    0001";
    struct reply *r = cdb6(0, 0x12, 0, 0, 0, 255, 0);
    expect_eq(r->status, SCSI_STATUS_GOOD);
    expect_eq(r->size, 96);
    expect_eq(r->transfer, SCSI_TRANSFER_IN);
    expect_eq(r->transfer_bytes, 255);
    expect(memcmp(r->data, expected, 36) == 0);
    expect_eq(load_be16(r->data + 58), 0x00A0);
    expect_eq(load_be16(r->data + 60), 0x0460);
    expect_eq(load_be16(r->data + 62), 0x04C0);
}

static void allocation_length_cuts_the_answer(void)
{
    for (unsigned i = 0; i < 96; i++) {
        expect_eq(cdb6(0, 0x12, 0, 0, 0, (uint8_t)i, 0)->size, i);
    }
    expect_eq(cdb6(0, 0x12, 0, 0, 0, 0, 0)->transfer, SCSI_TRANSFER_NONE);
    expect_eq(cdb6(0, 0x12, 0, 0, 2, 0, 0)->size, 96);
}

static void inquiry_refuses_a_page_without_evpd(void)
{
    struct reply *r = cdb6(0, 0x12, 0, 1, 0, 255, 0);
    expect(is_illegal(r, 0x2400));
    expect(r->finished_in_begin);
    /* Field pointer: byte 2 of the CDB. */
    expect_eq(r->sense[15], 0xC0);
    expect_eq(load_be16(r->sense + 16), 2);
}

static void unknown_pages_are_refused(void)
{
    expect(is_illegal(vpd(0, 0x85), 0x2400));
    expect(is_illegal(vpd(0, 0xFF), 0x2400));
}

static void every_listed_page_answers_with_its_own_code(void)
{
    static const uint8_t expected[] = {0x00, 0x80, 0x83, 0x86, 0x87, 0xB0, 0xB1, 0xB2};
    struct reply *r = vpd(0, 0);
    expect_eq(load_be16(r->data + 2), sizeof expected);
    expect(memcmp(r->data + 4, expected, sizeof expected) == 0);
    for (unsigned i = 0; i < sizeof expected; i++) {
        r = vpd(0, expected[i]);
        expect_eq(r->status, SCSI_STATUS_GOOD);
        expect_eq(r->data[1], expected[i]);
        expect_eq(r->size, load_be16(r->data + 2) + 4U);
    }
}

static void serial_page_has_32_digits(void)
{
    struct reply *r = vpd(0, 0x80);
    expect_eq(r->size, 36);
    expect(memcmp(r->data + 4, "00112233445566778899aabbccddee01", 32) == 0);
}

static void identification_page_is_exact(void)
{
    static const char expected[] =
        "\x00\x83\x00\xC0"
        "\x01\x03\x00\x08\x3A\x01\x02\x03\x04\x05\x06\x01"
        "\x02\x01\x00\x38TARN    VIRTUAL DISK    00112233445566778899aabbccddee01"
        "\x03\x08\x00\x18naa.3a01020304050601\0\0\0\0"
        "\x51\x94\x00\x04\0\0\0\x03"
        "\x51\x95\x00\x04\0\0\0\x07"
        "\x53\x98\x00\x24iqn.2026-11.local.tarn:x,t,0x0007\0\0\0"
        "\x53\xA8\x00\x1Ciqn.2026-11.local.tarn:x\0\0\0";
    struct reply *r = vpd(0, 0x83);
    expect_eq(r->size, sizeof expected);
    expect(memcmp(r->data + 4, expected + 4, min_of(r->size, sizeof expected) - 4) == 0);
    expect_eq(load_be16(r->data + 2), sizeof expected - 4);
}

static void block_limits_say_what_holds(void)
{
    struct reply *r = vpd(0, 0xB0);
    expect_eq(r->size, 64);
    expect_eq(r->data[4], 0); /* not WSNZ */
    expect_eq(r->data[5], 255);
    expect_eq(load_be16(r->data + 6), 8);
    expect_eq(load_be32(r->data + 8), LIMIT_TRANSFER_BYTES / 512);
    expect(load_be32(r->data + 20) > 0 && load_be32(r->data + 20) <= LIMIT_UNMAP_BYTES / 512);
    expect_eq(load_be32(r->data + 24), 256);
    expect_eq(load_be32(r->data + 28), 8);
    expect_eq(load_be32(r->data + 32), 0x80000000);
    expect_eq(load_be64(r->data + 36), 32768);
}

static void provisioning_pages_agree(void)
{
    struct reply *r = vpd(0, 0xB1);
    expect_eq(r->size, 64);
    expect_eq(load_be16(r->data + 4), 1);
    r = vpd(0, 0xB2);
    expect_eq(r->size, 8);
    expect_eq(r->data[5], 0xE4);
    expect_eq(r->data[6], 2);
    r = rig_cdb(&rig, rig.nexus, 0, (uint8_t[16]){0x9E, 0x10, [13] = 32}, 16);
    expect_eq(r->size, 32);
    expect_eq(load_be64(r->data), RIG_DISK_SECTORS - 1);
    expect_eq(load_be32(r->data + 8), 512);
    expect_eq(r->data[13], 3);
    expect_eq(r->data[14], 0xC0);
}

static void capacity_10_saturates(void)
{
    struct volume *big = memvol_disk(rig.pool, &(struct uuid){{2}}, 4 * TIB, VOLUME_READ_WRITE);
    struct scsi_lun *lun = rig_lun(&rig, big, 2, false);
    struct err *e = scsi_map_add(rig.map, 5, lun);
    require(!e);
    rig_settle(&rig, rig.nexus, 5);
    struct reply *r = rig_cdb(&rig, rig.nexus, 5, (uint8_t[10]){0x25}, 10);
    expect_eq(load_be32(r->data), 0xFFFFFFFF);
    expect_eq(rig_cdb(&rig, rig.nexus, 0, (uint8_t[10]){0x25}, 10)->transfer_bytes, 8);
    expect_eq(load_be32(rig.reply.data), RIG_DISK_SECTORS - 1);
    expect_eq(load_be32(rig.reply.data + 4), 512);
    /* An LBA without PMI */
    expect(is_illegal(rig_cdb(&rig, rig.nexus, 0, (uint8_t[10]){0x25, 0, 0, 0, 0, 1}, 10), 0x2400));
    scsi_map_remove(rig.map, 5, NULL, NULL);
    rig_run_idle(&rig);
    scsi_lun_destroy(lun);
    rig_settle(&rig, rig.nexus, 0);
}

static void an_unmapped_lun_is_no_device(void)
{
    struct reply *r = cdb6(9, 0x12, 0, 0, 0, 255, 0);
    expect_eq(r->status, SCSI_STATUS_GOOD);
    expect_eq(r->data[0], 0x7F);
    expect(is_illegal(cdb6(9, 0, 0, 0, 0, 0, 0), 0x2500));
    expect(is_illegal(cdb6(9, 0x28, 0, 0, 0, 0, 0), 0x2500));
    r = cdb6(9, 0x03, 0, 0, 0, 18, 0);
    expect_eq(r->status, SCSI_STATUS_GOOD);
    expect_eq(r->data[2], 5);
    expect_eq(load_be16(r->data + 12), 0x2500);
    expect(!scsi_nexus_has_lun(rig.nexus, (uint8_t[8]){0, 9}));
    expect(scsi_nexus_has_lun(rig.nexus, (uint8_t[8]){0, 0}));
}

static void lun_0_stands_in_when_it_is_unmapped(void)
{
    scsi_map_remove(rig.map, 0, NULL, NULL);
    rig_run_idle(&rig);
    struct err *e = scsi_map_add(rig.map, 3, rig.lun);
    require(!e);
    expect_eq(cdb6(0, 0x12, 0, 0, 0, 255, 0)->data[0], 0x7F);
    struct reply *r = vpd(0, 0);
    expect_eq(r->status, SCSI_STATUS_GOOD);
    expect_eq(r->size, 5);
    expect(is_illegal(vpd(0, 0x83), 0x2400));
    expect(is_illegal(cdb6(0, 0, 0, 0, 0, 0, 0), 0x2500));
    expect(scsi_nexus_has_lun(rig.nexus, (uint8_t[8]){0}));
    r = report_luns(0);
    expect_eq(r->status, SCSI_STATUS_GOOD);
    expect_eq(r->size, 16);
    expect_eq(load_be32(r->data), 8);
    expect_eq(load_be64(r->data + 8), 0x0003000000000000);
    scsi_map_remove(rig.map, 3, NULL, NULL);
    rig_run_idle(&rig);
    e = scsi_map_add(rig.map, 0, rig.lun);
    require(!e);
    rig_settle(&rig, rig.nexus, 0);
}

static void luns_are_addressed_by_bus_0_and_flat_space_only(void)
{
    static const struct {
        uint8_t field[8];
        bool there;
    } cases[] = {
        {{0x00, 0x00}, true},
        {{0x40, 0x00}, true},
        {{0x01, 0x00}, false},
        {{0x80, 0x00}, false},
        {{0xC1, 0x01}, false},
        {{0x00, 0x00, 0, 1}, false},
        {{0, 0, 0, 0, 0, 0, 0, 1}, false},
        {{0x41, 0x00}, false},
        {{0x00, 0xFF}, false},
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        struct scsi_task task;
        scsi_task_begin(&task, rig.nexus, cases[i].field, (uint8_t[6]){0}, 6);
        expect_eq(task.finished, !cases[i].there);
        scsi_task_release(&task);
    }
}

static void report_luns_lists_by_kind(void)
{
    struct reply *r = report_luns(0);
    expect_eq(r->size, 16);
    expect_eq(report_luns(2)->size, 16);
    r = report_luns(1); /* well-known ones: none */
    expect_eq(r->size, 8);
    expect_eq(load_be32(r->data), 0);
    expect(is_illegal(report_luns(3), 0x2400));
}

static void report_luns_holds_a_full_map(void)
{
    for (unsigned i = 1; i < LIMIT_LUNS_PER_HOST; i++) {
        struct err *e = scsi_map_add(rig.map, i, rig.lun);
        require(!e);
    }
    struct err *e = scsi_map_add(rig.map, LIMIT_LUNS_PER_HOST, rig.lun);
    expect_eq(err_status(e), STATUS_BAD_REQUEST);
    err_free(e);
    e = scsi_map_add(rig.map, 7, rig.lun);
    expect_eq(err_status(e), STATUS_EXISTS);
    err_free(e);
    struct reply *r = report_luns(0);
    expect_eq(load_be32(r->data), LIMIT_LUNS_PER_HOST * 8);
    expect_eq(r->size, LIMIT_LUNS_PER_HOST * 8 + 8);
    expect_eq(r->data[8 + 8 * 254 + 1], 254);
    for (unsigned i = 1; i < LIMIT_LUNS_PER_HOST; i++)
        scsi_map_remove(rig.map, i, NULL, NULL);
    rig_run_idle(&rig);
    rig_settle(&rig, rig.nexus, 0);
}

static struct reply *rsoc(uint8_t option, uint8_t opcode, uint16_t action)
{
    uint8_t cdb[12] = {0xA3, 0x0C, option, opcode, (uint8_t)(action >> 8), (uint8_t)action,
                       0,    0,    0xFF,   0xFF};
    return rig_cdb(&rig, rig.nexus, 0, cdb, 12);
}

static void supported_opcodes_agree_with_what_is_answered(void)
{
    struct reply *r = rsoc(0x80, 0, 0);
    unsigned count = load_be32(r->data) / 20;
    expect_eq(load_be32(r->data) % 20, 0);
    expect(count > 35);
    static uint8_t list[8192];
    memcpy(list, r->data + 4, r->size - 4);
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *d = list + i * 20;
        bool actions = d[5] & 1;
        expect(i == 0 || memcmp(d - 20, d, 4) < 0); /* in order, none twice */
        expect(d[5] & 2);
        expect_eq(load_be16(d + 8), 10);
        expect_eq(is_illegal(rsoc(1, d[0], load_be16(d + 2)), 0x2400), actions);
        expect_eq(is_illegal(rsoc(2, d[0], load_be16(d + 2)), 0x2400), !actions);
        r = rsoc(3, d[0], load_be16(d + 2));
        expect_eq(r->data[1], 3);
        expect_eq(load_be16(r->data + 2), load_be16(d + 6));
        expect_eq(r->size, 4U + load_be16(d + 6));
        expect_eq(r->data[4], d[0]);
        if (actions) expect_eq(r->data[5] & 0x1F, d[3]);
        /* What is listed is not answered with INVALID OPCODE. */
        uint8_t cdb[16] = {d[0], d[3]};
        expect(!is_illegal(rig_cdb(&rig, rig.nexus, 0, cdb, 16), 0x2000));
        rig_settle(&rig, rig.nexus, 0);
    }
    expect_eq(rsoc(3, 0x9E, 0x11)->data[1], 1);
    expect_eq(rsoc(1, 0xEE, 0)->data[1], 1);
    expect(is_illegal(rsoc(4, 0, 0), 0x2400));
}

static void unknown_commands_are_refused(void)
{
    expect(is_illegal(cdb6(0, 0xEE, 0, 0, 0, 0, 0), 0x2000));
    uint8_t cdb[16] = {0x9E, 0x1F};
    expect(is_illegal(rig_cdb(&rig, rig.nexus, 0, cdb, 16), 0x2400));
    /* A CDB that ends too early, NACA */
    expect(is_illegal(rig_cdb(&rig, rig.nexus, 0, cdb, 0), 0x2400));
    expect(is_illegal(cdb6(0, 0x28, 0, 0, 0, 0, 0), 0x2400));
    expect(is_illegal(cdb6(0, 0, 0, 0, 0, 0, 4), 0x2400));
}

static void port_groups_and_task_management_are_reported(void)
{
    uint8_t cdb[12] = {0xA3, 0x0A, [9] = 64};
    struct reply *r = rig_cdb(&rig, rig.nexus, 0, cdb, 12);
    static const uint8_t plain[] = {0, 0, 0, 12, 0, 1, 0, 7, 0, 0, 0, 1, 0, 0, 0, 3};
    expect_eq(r->size, 16);
    expect(memcmp(r->data, plain, sizeof plain) == 0);
    cdb[1] = 0x2A;
    r = rig_cdb(&rig, rig.nexus, 0, cdb, 12);
    expect_eq(r->size, 20);
    expect_eq(load_be32(r->data), 16);
    expect_eq(r->data[4], 0x10);
    struct scsi_nexus *n = NULL;
    struct err *e = scsi_nexus_create(&(struct scsi_nexus_options){.map = rig.map,
                                                                   .initiator_name = "iqn.test:x",
                                                                   .target_name = "iqn.x",
                                                                   .target_port_group = 2,
                                                                   .relative_target_port = 2,
                                                                   .portal_count = 3},
                                      &n);
    require(!e);
    cdb[1] = 0x0A;
    rig_settle(&rig, n, 0);
    r = rig_cdb(&rig, n, 0, cdb, 12);
    expect_eq(r->size, 4 + 3 * 12);
    expect_eq(load_be16(r->data + 4 + 24 + 2), 3);
    expect_eq(load_be16(r->data + 4 + 24 + 10), 3);
    scsi_nexus_destroy(n);
    cdb[1] = 0x0D;
    r = rig_cdb(&rig, rig.nexus, 0, cdb, 12);
    expect_eq(r->size, 4);
    expect_eq(r->data[0], 0xD8);
}

int main(void)
{
    rig_init(&rig);
    run(standard_inquiry_is_exact);
    run(allocation_length_cuts_the_answer);
    run(inquiry_refuses_a_page_without_evpd);
    run(unknown_pages_are_refused);
    run(every_listed_page_answers_with_its_own_code);
    run(serial_page_has_32_digits);
    run(identification_page_is_exact);
    run(block_limits_say_what_holds);
    run(provisioning_pages_agree);
    run(capacity_10_saturates);
    run(an_unmapped_lun_is_no_device);
    run(lun_0_stands_in_when_it_is_unmapped);
    run(luns_are_addressed_by_bus_0_and_flat_space_only);
    run(report_luns_lists_by_kind);
    run(report_luns_holds_a_full_map);
    run(supported_opcodes_agree_with_what_is_answered);
    run(unknown_commands_are_refused);
    run(port_groups_and_task_management_are_reported);
    rig_fini(&rig);
    return tap_done();
}
