#include "windows/standin/record.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MAX = 8192, PAGE_MAX = 1024 };

static void *must_alloc(size_t size)
{
    void *memory = CoTaskMemAlloc(size ? size : 1);
    if (!memory) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void *copy_of(const void *from, size_t size)
{
    return memcpy(must_alloc(size), from, size);
}

/* ---- From a disk ----------------------------------------------------------------------------- */

static bool read_hex(FILE *file, BYTE page[PAGE_MAX], size_t *ret_size)
{
    char line[LINE_MAX];
    size_t n = 0;
    unsigned value;
    if (!fgets(line, sizeof line, file)) return false;
    while (n < PAGE_MAX && sscanf(line + 2 * n, "%2x", &value) == 1)
        page[n++] = (BYTE)value;
    *ret_size = n;
    return n > 0;
}

/* A field of INQUIRY or page 80h, with the blanks that are in it, and a NUL. */
static char *field(const BYTE *from, size_t size)
{
    char *text = must_alloc(size + 1);
    memcpy(text, from, size);
    text[size] = '\0';
    return text;
}

static unsigned be16(const BYTE *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* The designators of the logical unit (association 0) in page 83h. */
static void add_designators(const BYTE *page, size_t size, VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids)
{
    size_t end = 4 + be16(page + 2) < size ? 4 + be16(page + 2) : size;
    ids->m_version = 1;
    ids->m_rgIdentifiers = must_alloc(32 * sizeof(VDS_STORAGE_IDENTIFIER));
    for (size_t at = 4; at + 4 <= end && at + 4 + page[at + 3] <= end && ids->m_cIdentifiers < 32;
         at += 4 + (size_t)page[at + 3]) {
        if ((page[at + 1] >> 4 & 3) != 0) continue;
        ids->m_rgIdentifiers[ids->m_cIdentifiers++] =
            (VDS_STORAGE_IDENTIFIER){(VDS_STORAGE_IDENTIFIER_CODE_SET)(page[at] & 0xF),
                                     (VDS_STORAGE_IDENTIFIER_TYPE)(page[at + 1] & 0xF),
                                     page[at + 3], copy_of(page + at + 4, page[at + 3])};
    }
}

bool record_from_disk(FILE *file, VDS_LUN_INFORMATION *ret_lun)
{
    BYTE inquiry[PAGE_MAX], serial[PAGE_MAX], ids[PAGE_MAX];
    size_t inquiry_size, serial_size, ids_size;
    if (!read_hex(file, inquiry, &inquiry_size) || !read_hex(file, serial, &serial_size) ||
        !read_hex(file, ids, &ids_size))
        return false;
    if (inquiry_size < 36 || serial_size < 4 || serial_size < 4 + be16(serial + 2) || ids_size < 4)
        return false;
    VDS_LUN_INFORMATION lun = {
        .m_version = 1,
        .m_DeviceType = inquiry[0] & 0x1F,
        .m_bCommandQueueing = (inquiry[7] & 2) != 0,
        .m_BusType = VDSBusTypeiScsi,
        .m_szVendorId = field(inquiry + 8, 8),
        .m_szProductId = field(inquiry + 16, 16),
        .m_szProductRevision = field(inquiry + 32, 4),
        .m_szSerialNumber = field(serial + 4, be16(serial + 2)),
        .m_diskSignature = {0x12345678,
                            1,
                            2,
                            {3, 4, 5, 6, 7, 8, 9, 10}}, /* of what is on it: no identity */
        .m_cInterconnects = 1,
    };
    add_designators(ids, ids_size, &lun.m_deviceIdDescriptor);
    lun.m_rgInterconnects = must_alloc(sizeof(VDS_INTERCONNECT));
    lun.m_rgInterconnects[0] =
        (VDS_INTERCONNECT){VDS_IA_SCSI, 3, copy_of("\0\1\2", 3), 2, copy_of("\3\4", 2)};
    *ret_lun = lun;
    return true;
}

/* ---- The document ---------------------------------------------------------------------------- */

static void put_bytes(FILE *file, const void *data, size_t size)
{
    const BYTE *bytes = data;
    fputc('-', file); /* so that nothing is something too */
    for (size_t i = 0; i < size; i++)
        fprintf(file, "%02x", (unsigned)bytes[i]);
    fputc('\n', file);
}

static BYTE *get_bytes(FILE *file, size_t *ret_size)
{
    char line[LINE_MAX];
    BYTE bytes[LINE_MAX / 2];
    size_t n = 0;
    unsigned value;
    if (!fgets(line, sizeof line, file) || line[0] != '-') return NULL;
    while (sscanf(line + 1 + 2 * n, "%2x", &value) == 1)
        bytes[n++] = (BYTE)value;
    bytes[n] = 0;
    *ret_size = n;
    return copy_of(bytes, n + 1); /* a string's NUL */
}

static void put_string(FILE *file, const char *text)
{
    put_bytes(file, text ? text : "", text ? strlen(text) : 0);
}

void record_write(FILE *file, const VDS_LUN_INFORMATION *lun)
{
    fprintf(file, "lun %u %d %u\n", (unsigned)lun->m_DeviceType, lun->m_bCommandQueueing,
            (unsigned)lun->m_deviceIdDescriptor.m_cIdentifiers);
    put_string(file, lun->m_szVendorId);
    put_string(file, lun->m_szProductId);
    put_string(file, lun->m_szProductRevision);
    put_string(file, lun->m_szSerialNumber);
    for (ULONG i = 0; i < lun->m_deviceIdDescriptor.m_cIdentifiers; i++) {
        const VDS_STORAGE_IDENTIFIER *id = &lun->m_deviceIdDescriptor.m_rgIdentifiers[i];
        fprintf(file, "id %d %d\n", (int)id->m_CodeSet, (int)id->m_Type);
        put_bytes(file, id->m_rgbIdentifier, id->m_cbIdentifier);
    }
}

bool record_read(FILE *file, VDS_LUN_INFORMATION *ret_lun)
{
    unsigned type, count;
    int queueing, code_set, id_type;
    size_t size;
    VDS_LUN_INFORMATION lun = {.m_version = 1, .m_BusType = VDSBusTypeiScsi};
    if (fscanf(file, "lun %u %d %u\n", &type, &queueing, &count) != 3 || count > 32) return false;
    lun.m_DeviceType = (BYTE)type;
    lun.m_bCommandQueueing = queueing;
    lun.m_szVendorId = (char *)get_bytes(file, &size);
    lun.m_szProductId = (char *)get_bytes(file, &size);
    lun.m_szProductRevision = (char *)get_bytes(file, &size);
    lun.m_szSerialNumber = (char *)get_bytes(file, &size);
    lun.m_deviceIdDescriptor.m_version = 1;
    lun.m_deviceIdDescriptor.m_rgIdentifiers = must_alloc(count * sizeof(VDS_STORAGE_IDENTIFIER));
    for (unsigned i = 0; i < count; i++) {
        if (fscanf(file, "id %d %d\n", &code_set, &id_type) != 2) return false;
        BYTE *bytes = get_bytes(file, &size);
        if (!bytes) return false;
        lun.m_deviceIdDescriptor.m_rgIdentifiers[i] =
            (VDS_STORAGE_IDENTIFIER){(VDS_STORAGE_IDENTIFIER_CODE_SET)code_set,
                                     (VDS_STORAGE_IDENTIFIER_TYPE)id_type, (ULONG)size, bytes};
        lun.m_deviceIdDescriptor.m_cIdentifiers = i + 1;
    }
    *ret_lun = lun;
    return true;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
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
    if (!same(a->m_szVendorId, b->m_szVendorId)) return "vendor";
    if (!same(a->m_szProductId, b->m_szProductId)) return "product";
    if (!same(a->m_szProductRevision, b->m_szProductRevision)) return "revision";
    if (!same(a->m_szSerialNumber, b->m_szSerialNumber)) return "serial number";
    if (x->m_cIdentifiers != y->m_cIdentifiers) return "number of identifiers";
    for (ULONG i = 0; i < x->m_cIdentifiers; i++) {
        const VDS_STORAGE_IDENTIFIER *p = &x->m_rgIdentifiers[i], *q = &y->m_rgIdentifiers[i];
        if (p->m_CodeSet != q->m_CodeSet || p->m_Type != q->m_Type ||
            p->m_cbIdentifier != q->m_cbIdentifier ||
            memcmp(p->m_rgbIdentifier, q->m_rgbIdentifier, p->m_cbIdentifier) != 0)
            return "identifier";
    }
    return NULL;
}

static unsigned list_pointers(const VDS_LUN_INFORMATION *lun, const void *list[128])
{
    unsigned n = 0;
    list[n++] = lun->m_szVendorId;
    list[n++] = lun->m_szProductId;
    list[n++] = lun->m_szProductRevision;
    list[n++] = lun->m_szSerialNumber;
    list[n++] = lun->m_deviceIdDescriptor.m_rgIdentifiers;
    list[n++] = lun->m_rgInterconnects;
    for (ULONG i = 0; i < lun->m_deviceIdDescriptor.m_cIdentifiers && n < 64; i++)
        list[n++] = lun->m_deviceIdDescriptor.m_rgIdentifiers[i].m_rgbIdentifier;
    for (ULONG i = 0; i < lun->m_cInterconnects && n < 126; i++) {
        list[n++] = lun->m_rgInterconnects[i].m_pbPort;
        list[n++] = lun->m_rgInterconnects[i].m_pbAddress;
    }
    return n;
}

const char *record_fault(const VDS_LUN_INFORMATION *lun)
{
    const void *list[128];
    IMalloc *allocator;
    const char *fault = NULL;
    if (lun->m_deviceIdDescriptor.m_cIdentifiers && !lun->m_deviceIdDescriptor.m_rgIdentifiers)
        return "no identifiers";
    if (lun->m_cInterconnects && !lun->m_rgInterconnects) return "no interconnects";
    if (FAILED(CoGetMalloc(1, &allocator))) return "no allocator";
    unsigned count = list_pointers(lun, list);
    for (unsigned i = 0; i < count && !fault; i++) {
        if (!list[i]) continue;
        if (allocator->lpVtbl->DidAlloc(allocator, (void *)(uintptr_t)list[i]) == 0)
            fault = "not CoTaskMem";
        for (unsigned j = i + 1; j < count; j++)
            if (list[i] == list[j]) fault = "one block twice";
    }
    allocator->lpVtbl->Release(allocator);
    return fault;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static char *copy_string(const char *text)
{
    return text ? copy_of(text, strlen(text) + 1) : NULL;
}

VDS_LUN_INFORMATION record_copy(const VDS_LUN_INFORMATION *lun)
{
    VDS_LUN_INFORMATION copy = *lun;
    ULONG count = lun->m_deviceIdDescriptor.m_cIdentifiers;
    copy.m_szVendorId = copy_string(lun->m_szVendorId);
    copy.m_szProductId = copy_string(lun->m_szProductId);
    copy.m_szProductRevision = copy_string(lun->m_szProductRevision);
    copy.m_szSerialNumber = copy_string(lun->m_szSerialNumber);
    copy.m_deviceIdDescriptor.m_rgIdentifiers =
        copy_of(lun->m_deviceIdDescriptor.m_rgIdentifiers, count * sizeof(VDS_STORAGE_IDENTIFIER));
    for (ULONG i = 0; i < count; i++) {
        VDS_STORAGE_IDENTIFIER *id = &copy.m_deviceIdDescriptor.m_rgIdentifiers[i];
        id->m_rgbIdentifier = copy_of(id->m_rgbIdentifier, id->m_cbIdentifier);
    }
    copy.m_cInterconnects = 0;
    copy.m_rgInterconnects = NULL;
    return copy;
}

void record_free(VDS_LUN_INFORMATION *lun)
{
    const void *list[128];
    for (unsigned i = list_pointers(lun, list); i-- > 0;)
        CoTaskMemFree((void *)(uintptr_t)list[i]);
    *lun = (VDS_LUN_INFORMATION){0};
}
