#include "windows/standin/standin_file.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MAX = 8192 };

/* ---- COM's allocator ------------------------------------------------------------------------- */

static void *task_alloc(struct si_memory *m, size_t size)
{
    return CoTaskMemAlloc(size);
}

static void task_free(struct si_memory *m, void *block)
{
    CoTaskMemFree(block);
}

static bool task_is_block(struct si_memory *m, const void *block)
{
    IMalloc *allocator;
    if (FAILED(CoGetMalloc(1, &allocator))) return false;
    bool is_block = allocator->lpVtbl->DidAlloc(allocator, (void *)(uintptr_t)block) != 0;
    allocator->lpVtbl->Release(allocator);
    return is_block;
}

struct si_memory *standin_memory(void)
{
    static struct si_memory memory = {task_alloc, task_free, task_is_block, NULL};
    return &memory;
}

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

static bool read_hex(FILE *file, uint8_t page[SI_PAGE_MAX], uint16_t *ret_size)
{
    char line[LINE_MAX];
    uint16_t n = 0;
    unsigned value;
    if (!fgets(line, sizeof line, file)) return false;
    while (n < SI_PAGE_MAX && sscanf(line + 2 * n, "%2x", &value) == 1)
        page[n++] = (uint8_t)value;
    *ret_size = n;
    return n > 0;
}

bool standin_read_disk(FILE *file, VDS_LUN_INFORMATION *ret_lun)
{
    const GUID id = {0x12345678, 1, 2, {3, 4, 5, 6, 7, 8, 9, 10}}; /* of what is on it */
    struct si_disk disk = {0};
    return read_hex(file, disk.inquiry, &disk.inquiry_size) &&
           read_hex(file, disk.serial_page, &disk.serial_page_size) &&
           read_hex(file, disk.id_page, &disk.id_page_size) &&
           record_from_disk(standin_memory(), &disk, &id, ret_lun);
}

/* ---- The document ---------------------------------------------------------------------------- */

static void put_bytes(FILE *file, const void *data, size_t size)
{
    const uint8_t *bytes = data;
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

void standin_write_record(FILE *file, const VDS_LUN_INFORMATION *lun)
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

bool standin_read_record(FILE *file, VDS_LUN_INFORMATION *ret_lun)
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
