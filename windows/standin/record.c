#include "windows/standin/record.h"

#include <string.h>

#include "base/endian.h"

/* ---- Memory ---------------------------------------------------------------------------------- */

static void *copy_of(struct si_memory *memory, const void *from, size_t size)
{
    void *to = memory->alloc(memory, size ? size : 1);
    if (to && size) memcpy(to, from, size);
    return to;
}

static bool copy_string(struct si_memory *memory, const char *from, char **ret)
{
    if (!from) return true; /* "zero if the device has none" */
    *ret = copy_of(memory, from, strlen(from) + 1);
    return *ret != NULL;
}

static void release(struct si_memory *memory, void *block)
{
    if (block) memory->free(memory, block);
}

void record_free(struct si_memory *memory, VDS_LUN_INFORMATION *lun)
{
    VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &lun->m_deviceIdDescriptor;
    for (ULONG i = 0; ids->m_rgIdentifiers && i < ids->m_cIdentifiers; i++)
        release(memory, ids->m_rgIdentifiers[i].m_rgbIdentifier);
    for (ULONG i = 0; lun->m_rgInterconnects && i < lun->m_cInterconnects; i++) {
        release(memory, lun->m_rgInterconnects[i].m_pbPort);
        release(memory, lun->m_rgInterconnects[i].m_pbAddress);
    }
    release(memory, ids->m_rgIdentifiers);
    release(memory, lun->m_rgInterconnects);
    release(memory, lun->m_szVendorId);
    release(memory, lun->m_szProductId);
    release(memory, lun->m_szProductRevision);
    release(memory, lun->m_szSerialNumber);
    *lun = (VDS_LUN_INFORMATION){0};
}

static bool add_identifier(struct si_memory *memory, VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids,
                           const VDS_STORAGE_IDENTIFIER *from)
{
    VDS_STORAGE_IDENTIFIER *to = &ids->m_rgIdentifiers[ids->m_cIdentifiers];
    *to = *from;
    to->m_rgbIdentifier = copy_of(memory, from->m_rgbIdentifier, from->m_cbIdentifier);
    ids->m_cIdentifiers += to->m_rgbIdentifier != NULL;
    return to->m_rgbIdentifier != NULL;
}

static bool add_interconnect(struct si_memory *memory, VDS_LUN_INFORMATION *lun,
                             const VDS_INTERCONNECT *from)
{
    VDS_INTERCONNECT *to = &lun->m_rgInterconnects[lun->m_cInterconnects];
    *to = *from;
    to->m_pbPort = copy_of(memory, from->m_pbPort, from->m_cbPort);
    to->m_pbAddress = copy_of(memory, from->m_pbAddress, from->m_cbAddress);
    lun->m_cInterconnects++; /* also half: record_free takes either */
    return to->m_pbPort && to->m_pbAddress;
}

/* ---- From a disk ----------------------------------------------------------------------------- */

/* A field of INQUIRY (SPC-5 6.6.2) or page 80h (SPC-5 7.7.19), with the blanks that are in it. */
static bool field(struct si_memory *memory, const uint8_t *from, size_t size, char **ret)
{
    char *text = memory->alloc(memory, size + 1);
    if (!text) return false;
    memcpy(text, from, size);
    text[size] = '\0';
    *ret = text;
    return true;
}

/* The designators of the logical unit (association 0) of page 83h: SPC-5 7.7.6. */
static bool add_designators(struct si_memory *memory, const struct si_disk *disk,
                            VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids)
{
    uint8_t data[SI_PAGE_MAX];
    const uint8_t *page = disk->id_page;
    size_t end = 4 + (size_t)load_be16(page + 2);
    if (end > disk->id_page_size) end = disk->id_page_size;
    for (size_t at = 4; at + 4 <= end && at + 4 + page[at + 3] <= end &&
                        ids->m_cIdentifiers < RECORD_IDENTIFIERS_MAX;
         at += 4 + (size_t)page[at + 3]) {
        if ((page[at + 1] >> 4 & 3) != 0) continue;
        memcpy(data, page + at + 4, page[at + 3]);
        VDS_STORAGE_IDENTIFIER id = {(VDS_STORAGE_IDENTIFIER_CODE_SET)(page[at] & 0xF),
                                     (VDS_STORAGE_IDENTIFIER_TYPE)(page[at + 1] & 0xF),
                                     page[at + 3], data};
        if (!add_identifier(memory, ids, &id)) return false;
    }
    return true;
}

static bool are_pages_whole(const struct si_disk *disk)
{
    return disk->inquiry_size >= 36 && disk->inquiry_size <= SI_PAGE_MAX &&
           disk->serial_page_size >= 4 && disk->serial_page_size <= SI_PAGE_MAX &&
           disk->serial_page_size - 4 >= load_be16(disk->serial_page + 2) &&
           disk->id_page_size >= 4 && disk->id_page_size <= SI_PAGE_MAX;
}

static bool fill(struct si_memory *memory, const struct si_disk *disk, VDS_LUN_INFORMATION *lun)
{
    uint8_t port[] = {0, 1, 2}, address[] = {0, 0, (uint8_t)(disk->lun >> 8), (uint8_t)disk->lun};
    const VDS_INTERCONNECT interconnect = {VDS_IA_SCSI, sizeof port, port, sizeof address, address};
    const uint8_t *inquiry = disk->inquiry, *serial = disk->serial_page;
    if (!field(memory, inquiry + 8, 8, &lun->m_szVendorId) ||
        !field(memory, inquiry + 16, 16, &lun->m_szProductId) ||
        !field(memory, inquiry + 32, 4, &lun->m_szProductRevision) ||
        !field(memory, serial + 4, load_be16(serial + 2), &lun->m_szSerialNumber))
        return false;
    lun->m_deviceIdDescriptor.m_rgIdentifiers =
        memory->alloc(memory, RECORD_IDENTIFIERS_MAX * sizeof(VDS_STORAGE_IDENTIFIER));
    if (!lun->m_deviceIdDescriptor.m_rgIdentifiers ||
        !add_designators(memory, disk, &lun->m_deviceIdDescriptor))
        return false;
    lun->m_rgInterconnects = memory->alloc(memory, sizeof(VDS_INTERCONNECT));
    return lun->m_rgInterconnects && add_interconnect(memory, lun, &interconnect);
}

bool record_from_disk(struct si_memory *memory, const struct si_disk *disk, const GUID *disk_id,
                      VDS_LUN_INFORMATION *ret_lun)
{
    if (!are_pages_whole(disk)) return false;
    VDS_LUN_INFORMATION lun = {
        .m_version = 1, /* VER_VDS_LUN_INFORMATION */
        .m_DeviceType = disk->inquiry[0] & 0x1F,
        .m_bCommandQueueing = (disk->inquiry[7] & 2) != 0,
        .m_BusType = VDSBusTypeiScsi,
        .m_deviceIdDescriptor.m_version = 1,
    };
    if (disk_id) lun.m_diskSignature = *disk_id;
    if (!fill(memory, disk, &lun)) {
        record_free(memory, &lun);
        return false;
    }
    *ret_lun = lun;
    return true;
}

/* ---- A copy ---------------------------------------------------------------------------------- */

static bool copy_lists(struct si_memory *memory, const VDS_LUN_INFORMATION *from,
                       VDS_LUN_INFORMATION *to)
{
    const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &from->m_deviceIdDescriptor;
    if (ids->m_cIdentifiers > RECORD_IDENTIFIERS_MAX ||
        from->m_cInterconnects > RECORD_IDENTIFIERS_MAX)
        return false;
    if (ids->m_rgIdentifiers) {
        to->m_deviceIdDescriptor.m_rgIdentifiers =
            memory->alloc(memory, (ids->m_cIdentifiers + 1) * sizeof(VDS_STORAGE_IDENTIFIER));
        if (!to->m_deviceIdDescriptor.m_rgIdentifiers) return false;
        for (ULONG i = 0; i < ids->m_cIdentifiers; i++) {
            if (!add_identifier(memory, &to->m_deviceIdDescriptor, &ids->m_rgIdentifiers[i]))
                return false;
        }
    }
    if (from->m_rgInterconnects) {
        to->m_rgInterconnects =
            memory->alloc(memory, (from->m_cInterconnects + 1) * sizeof(VDS_INTERCONNECT));
        if (!to->m_rgInterconnects) return false;
        for (ULONG i = 0; i < from->m_cInterconnects; i++) {
            if (!add_interconnect(memory, to, &from->m_rgInterconnects[i])) return false;
        }
    }
    return true;
}

bool record_copy(struct si_memory *memory, const VDS_LUN_INFORMATION *lun,
                 VDS_LUN_INFORMATION *ret_lun)
{
    VDS_LUN_INFORMATION copy = *lun;
    copy.m_szVendorId = copy.m_szProductId = NULL;
    copy.m_szProductRevision = copy.m_szSerialNumber = NULL;
    copy.m_deviceIdDescriptor.m_cIdentifiers = 0;
    copy.m_deviceIdDescriptor.m_rgIdentifiers = NULL;
    copy.m_cInterconnects = 0;
    copy.m_rgInterconnects = NULL;
    if (!copy_string(memory, lun->m_szVendorId, &copy.m_szVendorId) ||
        !copy_string(memory, lun->m_szProductId, &copy.m_szProductId) ||
        !copy_string(memory, lun->m_szProductRevision, &copy.m_szProductRevision) ||
        !copy_string(memory, lun->m_szSerialNumber, &copy.m_szSerialNumber) ||
        !copy_lists(memory, lun, &copy)) {
        record_free(memory, &copy);
        return false;
    }
    *ret_lun = copy;
    return true;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static bool is_same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_same_identifier(const VDS_STORAGE_IDENTIFIER *a, const VDS_STORAGE_IDENTIFIER *b)
{
    return a->m_CodeSet == b->m_CodeSet && a->m_Type == b->m_Type &&
           a->m_cbIdentifier == b->m_cbIdentifier &&
           memcmp(a->m_rgbIdentifier, b->m_rgbIdentifier, a->m_cbIdentifier) == 0;
}

/* Bus type, disk signature and interconnects do not count, by the contract. */
const char *record_difference(const VDS_LUN_INFORMATION *a, const VDS_LUN_INFORMATION *b)
{
    const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *x = &a->m_deviceIdDescriptor,
                                           *y = &b->m_deviceIdDescriptor;
    if (a->m_version != b->m_version) return "version";
    if (a->m_DeviceType != b->m_DeviceType || a->m_DeviceTypeModifier != b->m_DeviceTypeModifier)
        return "device type";
    if (!a->m_bCommandQueueing != !b->m_bCommandQueueing) return "command queueing";
    if (!is_same_text(a->m_szVendorId, b->m_szVendorId)) return "vendor";
    if (!is_same_text(a->m_szProductId, b->m_szProductId)) return "product";
    if (!is_same_text(a->m_szProductRevision, b->m_szProductRevision)) return "revision";
    if (!is_same_text(a->m_szSerialNumber, b->m_szSerialNumber)) return "serial number";
    if (x->m_cIdentifiers != y->m_cIdentifiers) return "number of identifiers";
    for (ULONG i = 0; i < x->m_cIdentifiers; i++) {
        if (!is_same_identifier(&x->m_rgIdentifiers[i], &y->m_rgIdentifiers[i]))
            return "identifier";
    }
    return NULL;
}

const char *record_interconnect_difference(const VDS_LUN_INFORMATION *a,
                                           const VDS_LUN_INFORMATION *b)
{
    if (a->m_cInterconnects != b->m_cInterconnects) return "number of interconnects";
    for (ULONG i = 0; i < a->m_cInterconnects; i++) {
        const VDS_INTERCONNECT *x = &a->m_rgInterconnects[i], *y = &b->m_rgInterconnects[i];
        if (x->m_addressType != y->m_addressType || x->m_cbPort != y->m_cbPort ||
            x->m_cbAddress != y->m_cbAddress || memcmp(x->m_pbPort, y->m_pbPort, x->m_cbPort) ||
            memcmp(x->m_pbAddress, y->m_pbAddress, x->m_cbAddress))
            return "interconnect";
    }
    return NULL;
}

/* Of the types by which VSS finds a LUN again: T10 vendor, EUI-64, NAA, SCSI name string. */
static bool is_identity(const VDS_STORAGE_IDENTIFIER *id)
{
    return (id->m_Type == VDSStorageIdTypeVendorId || id->m_Type == VDSStorageIdTypeEUI64 ||
            id->m_Type == VDSStorageIdTypeFCPHName ||
            id->m_Type == VDSStorageIdTypeScsiNameString) &&
           id->m_cbIdentifier > 0;
}

bool record_shares_identity(const VDS_LUN_INFORMATION *a, const VDS_LUN_INFORMATION *b)
{
    const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *x = &a->m_deviceIdDescriptor,
                                           *y = &b->m_deviceIdDescriptor;
    for (ULONG i = 0; i < x->m_cIdentifiers; i++) {
        for (ULONG j = 0; is_identity(&x->m_rgIdentifiers[i]) && j < y->m_cIdentifiers; j++) {
            if (is_same_identifier(&x->m_rgIdentifiers[i], &y->m_rgIdentifiers[j])) return true;
        }
    }
    return false;
}

bool record_has_identity(const VDS_LUN_INFORMATION *lun)
{
    return record_shares_identity(lun, lun);
}

/* ---- Whose memory ---------------------------------------------------------------------------- */

static unsigned list_pointers(const VDS_LUN_INFORMATION *lun, const void *list[RECORD_POINTERS_MAX])
{
    const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &lun->m_deviceIdDescriptor;
    unsigned n = 0;
    list[n++] = lun->m_szVendorId;
    list[n++] = lun->m_szProductId;
    list[n++] = lun->m_szProductRevision;
    list[n++] = lun->m_szSerialNumber;
    list[n++] = ids->m_rgIdentifiers;
    list[n++] = lun->m_rgInterconnects;
    for (ULONG i = 0; i < ids->m_cIdentifiers; i++)
        list[n++] = ids->m_rgIdentifiers[i].m_rgbIdentifier;
    for (ULONG i = 0; i < lun->m_cInterconnects; i++) {
        list[n++] = lun->m_rgInterconnects[i].m_pbPort;
        list[n++] = lun->m_rgInterconnects[i].m_pbAddress;
    }
    return n;
}

_Static_assert(6 + 3 * RECORD_IDENTIFIERS_MAX <= RECORD_POINTERS_MAX, "every pointer has a place");

const char *record_fault(struct si_memory *memory, const VDS_LUN_INFORMATION *lun)
{
    const void *list[RECORD_POINTERS_MAX];
    if (lun->m_deviceIdDescriptor.m_cIdentifiers && !lun->m_deviceIdDescriptor.m_rgIdentifiers)
        return "a count of identifiers, and none there";
    if (lun->m_cInterconnects && !lun->m_rgInterconnects)
        return "a count of interconnects, and none there";
    if (lun->m_deviceIdDescriptor.m_cIdentifiers > RECORD_IDENTIFIERS_MAX ||
        lun->m_cInterconnects > RECORD_IDENTIFIERS_MAX)
        return "more identifiers or interconnects than a LUN can have";
    /* The arrays first: what is in them can be looked at only then. */
    const void *arrays[] = {lun->m_deviceIdDescriptor.m_rgIdentifiers, lun->m_rgInterconnects};
    for (unsigned i = 0; i < 2; i++) {
        if (arrays[i] && !memory->is_block(memory, arrays[i])) return "not a block of CoTaskMem";
    }
    unsigned count = list_pointers(lun, list);
    for (unsigned i = 0; i < count; i++) {
        if (!list[i]) continue;
        if (!memory->is_block(memory, list[i])) return "not a block of CoTaskMem";
        for (unsigned j = i + 1; j < count; j++) {
            if (list[i] == list[j]) return "one block twice";
        }
    }
    return NULL;
}
