/* Which LUN is whose: records of VSS built from the bytes that the real device server answers, and
 * hostile ones. */
#include "base/text.h"
#include "scsi/scsi_int.h"
#include "tests/lib/scsi_rig.h"
#include "tests/lib/tap.h"
#include "tests/unit/provider_rig.h"

static struct rig rig;

/* As Windows would read it: INQUIRY and the two pages, from Tarn's own device server. */
static VDS_LUN_INFORMATION read_lun(void)
{
    static uint8_t inquiry[255], page80[255], page83[1024];
    memcpy(inquiry, rig_cdb(&rig, rig.nexus, 0, (uint8_t[]){0x12, 0, 0, 0, 255, 0}, 6)->data,
           sizeof inquiry);
    memcpy(page80, rig_cdb(&rig, rig.nexus, 0, (uint8_t[]){0x12, 1, 0x80, 0, 255, 0}, 6)->data,
           sizeof page80);
    memcpy(page83, rig_cdb(&rig, rig.nexus, 0, (uint8_t[]){0x12, 1, 0x83, 4, 0, 0}, 6)->data,
           sizeof page83);
    return rig_lun_from_bytes(inquiry, page80, page83);
}

static bool parsed(struct lun_identity *ret_identity)
{
    char naa[33];
    const struct scsi_identity *identity = &rig.lun->identity;
    text_format_hex(identity->naa, identity->naa_bytes, naa);
    return identity_parse(identity->serial, naa, ret_identity);
}

static void what_the_target_answers_is_ours(void)
{
    struct lun_identity read, from_api;
    VDS_LUN_INFORMATION lun = read_lun();
    expect(identity_is_tarn(&lun));
    require(identity_read(&lun, &read) && parsed(&from_api));
    expect_str(read.serial, from_api.serial);
    expect_eq(read.naa_bytes, from_api.naa_bytes);
    expect(memcmp(read.naa, from_api.naa, read.naa_bytes) == 0);
    rig_free_lun(&lun);
    expect_eq(rig_live_count(), 0);
}

/* I8 and I10: what GetTargetLuns says beforehand is what FillInLunInfo makes of the disk when it
 * arrives. */
static void the_record_told_beforehand_is_that_of_the_disk_that_arrives(void)
{
    struct lun_identity identity;
    VDS_LUN_INFORMATION told, arrived = read_lun();
    require(parsed(&identity) && identity_fill(&rig_memory, &identity, &told));
    require(identity_read(&arrived, &identity) &&
            identity_normalise(&rig_memory, &identity, &arrived));
    expect(rig_same_lun(&told, &arrived));
    expect(rig_is_whole(&told) && rig_is_whole(&arrived));
    rig_free_lun(&told);
    rig_free_lun(&arrived);
    expect_eq(rig_live_count(), 0);
    expect_eq(rig_wrong_free_count(), 0);
}

static void what_is_missing_is_filled_in_and_nothing_grows(void)
{
    struct lun_identity identity;
    VDS_LUN_INFORMATION lun = read_lun(), told;
    size_t vendor = strlen(lun.m_szVendorId), product = strlen(lun.m_szProductId);
    rig_memory.free(lun.m_szSerialNumber);
    rig_memory.free(lun.m_szProductRevision);
    lun.m_szSerialNumber = lun.m_szProductRevision = NULL;
    require(identity_read(&lun, &identity) && identity_normalise(&rig_memory, &identity, &lun));
    expect(strlen(lun.m_szVendorId) <= vendor && strlen(lun.m_szProductId) <= product);
    require(identity_fill(&rig_memory, &identity, &told));
    expect(rig_same_lun(&told, &lun));
    rig_free_lun(&lun);
    rig_free_lun(&told);
    expect_eq(rig_live_count(), 0);
}

static void every_failed_allocation_leaves_a_whole_record(void)
{
    struct lun_identity identity;
    for (unsigned k = 1;; k++) {
        VDS_LUN_INFORMATION lun = read_lun(), made = {0};
        require(identity_read(&lun, &identity));
        rig_memory.free(lun.m_szSerialNumber);
        lun.m_szSerialNumber = NULL;
        rig_fail_allocation(k);
        bool filled = identity_fill(&rig_memory, &identity, &made);
        if (filled) rig_fail_allocation(k);
        bool normal = identity_normalise(&rig_memory, &identity, &lun);
        rig_fail_allocation(0);
        expect(rig_is_whole(&made) && rig_is_whole(&lun));
        expect(filled || (!made.m_szVendorId && !made.m_deviceIdDescriptor.m_cIdentifiers));
        rig_free_lun(&made);
        rig_free_lun(&lun);
        if (filled && normal) break;
        require(k < 100);
    }
    expect_eq(rig_live_count(), 0);
    expect_eq(rig_wrong_free_count(), 0);
}

/* What a record that nearly looks like ours is: somebody else's. */
static void expect_foreign(VDS_LUN_INFORMATION lun)
{
    struct lun_identity identity;
    expect(!identity_read(&lun, &identity));
    rig_free_lun(&lun);
}

static void what_does_not_agree_with_itself_is_foreign(void)
{
    VDS_LUN_INFORMATION lun;
    expect_foreign(rig_foreign_lun());
    expect_foreign((VDS_LUN_INFORMATION){0});
    lun = rig_disk_lun(1);
    lun.m_szSerialNumber[5] ^= 1; /* another serial number than in page 83h */
    expect_foreign(lun);
    lun = rig_disk_lun(1);
    lun.m_szSerialNumber[0] = 'G';
    expect_foreign(lun);
    lun = rig_disk_lun(1);
    lun.m_szVendorId[4] = 'X';
    expect_foreign(lun);
    lun = rig_disk_lun(1);
    lun.m_deviceIdDescriptor.m_rgIdentifiers[0].m_rgbIdentifier[0] =
        0x5A; /* an NAA that we never give */
    expect_foreign(lun);
    lun = rig_disk_lun(1);
    lun.m_deviceIdDescriptor.m_rgIdentifiers[0].m_CodeSet = VDSStorageIdCodeSetAscii;
    expect_foreign(lun);
}

static void identities_of_the_api_are_checked(void)
{
    static const char serial[] = "0123456789abcdef0123456789abcdef";
    struct lun_identity identity;
    char id[IDENTITY_ID_TEXT];
    expect(identity_parse(serial, "3123456789abcdef", &identity));
    expect_str(identity_id(&identity, id), "01234567-89ab-cdef-0123-456789abcdef");
    expect(identity_parse(serial, "6123456789abcdef0123456789abcdef", &identity));
    expect(!identity_parse(serial, "5123456789abcdef", &identity));
    expect(!identity_parse(serial, "6123456789abcdef", &identity));
    expect(!identity_parse(serial, "3123456789abcde", &identity));
    expect(!identity_parse(serial, "3123456789abcdeg", &identity));
    expect(!identity_parse(serial, "", &identity));
    expect(!identity_parse("0123", "3123456789abcdef", &identity));
    expect(!identity_parse("0123456789ABCDEF0123456789abcdef", "3123456789abcdef", &identity));
}

int main(void)
{
    rig_init(&rig);
    run(what_the_target_answers_is_ours);
    run(the_record_told_beforehand_is_that_of_the_disk_that_arrives);
    run(what_is_missing_is_filled_in_and_nothing_grows);
    run(every_failed_allocation_leaves_a_whole_record);
    run(what_does_not_agree_with_itself_is_foreign);
    run(identities_of_the_api_are_checked);
    rig_fini(&rig);
    return tap_done();
}
