#include "windows/provider/core/identity.h"

#include <stdio.h>
#include <string.h>

static const char vendor[] = "TARN", product[] = "VIRTUAL DISK", revision[] = "0001";

/* Vendor, product and serial number as in page 83h: blanks fill the first two up to 8 and 16. */
enum { T10_BYTES = 8 + 16 + IDENTITY_SERIAL_CHARS, IDENTIFIERS = 3 };
_Static_assert(4 + 2 * IDENTITY_NAA_MAX_BYTES + 4 <= T10_BYTES,
               "the name string fits where the T10 one does");

/* ---- Text ------------------------------------------------------------------------------------ */

/* Equal but for blanks around it: INQUIRY pads with them, and who passes it on may cut them off. */
static bool is_padded(const char *text, const char *wanted)
{
    if (!text) return false;
    while (*text == ' ')
        text++;
    size_t length = strlen(wanted);
    if (strncmp(text, wanted, length) != 0) return false;
    for (text += length; *text; text++)
        if (*text != ' ') return false;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static bool copy_serial(const char *from, size_t length, struct lun_identity *identity)
{
    while (length && *from == ' ')
        from++, length--;
    while (length && from[length - 1] == ' ')
        length--;
    if (length != IDENTITY_SERIAL_CHARS) return false;
    for (size_t i = 0; i < length; i++)
        if (hex_digit(from[i]) < 0) return false;
    memcpy(identity->serial, from, length);
    identity->serial[length] = '\0';
    return true;
}

static bool is_naa(const uint8_t *naa, size_t size_bytes)
{
    return (size_bytes == 8 && naa[0] >> 4 == 3) || (size_bytes == 16 && naa[0] >> 4 == 6);
}

bool identity_parse(const char *serial, const char *naa, struct lun_identity *ret_identity)
{
    struct lun_identity identity = {0};
    size_t length = strlen(naa);
    if (!copy_serial(serial, strlen(serial), &identity) || length % 2 ||
        length / 2 > sizeof identity.naa)
        return false;
    for (size_t i = 0; i < length; i += 2) {
        int high = hex_digit(naa[i]), low = hex_digit(naa[i + 1]);
        if (high < 0 || low < 0) return false;
        identity.naa[i / 2] = (uint8_t)(high << 4 | low);
    }
    identity.naa_bytes = (unsigned)length / 2;
    if (!is_naa(identity.naa, identity.naa_bytes)) return false;
    *ret_identity = identity;
    return true;
}

char *identity_id(const struct lun_identity *identity, char text[IDENTITY_ID_TEXT])
{
    const char *s = identity->serial;
    snprintf(text, IDENTITY_ID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", s, s + 8, s + 12, s + 16, s + 20);
    return text;
}

/* ---- Identifiers ----------------------------------------------------------------------------- */

struct wanted {
    VDS_STORAGE_IDENTIFIER_CODE_SET code_set;
    VDS_STORAGE_IDENTIFIER_TYPE type;
    ULONG size_bytes;
    BYTE bytes[T10_BYTES]; /* the longest of them */
};

/* The designators of a LUN of this identity, in the order of page 83h. */
static void make_wanted(const struct lun_identity *identity, struct wanted wanted[IDENTIFIERS])
{
    memset(wanted, 0, IDENTIFIERS * sizeof *wanted);
    wanted[0] = (struct wanted){
        VDSStorageIdCodeSetBinary, VDSStorageIdTypeFCPHName, identity->naa_bytes, {0}};
    memcpy(wanted[0].bytes, identity->naa, identity->naa_bytes);
    wanted[1] = (struct wanted){VDSStorageIdCodeSetAscii, VDSStorageIdTypeVendorId, T10_BYTES, {0}};
    memset(wanted[1].bytes, ' ', 24);
    memcpy(wanted[1].bytes, vendor, sizeof vendor - 1);
    memcpy(wanted[1].bytes + 8, product, sizeof product - 1);
    memcpy(wanted[1].bytes + 24, identity->serial, IDENTITY_SERIAL_CHARS);
    /* "naa." and hex, ended by at least one NUL, in a multiple of four (SPC-4 7.8.6.11). */
    ULONG length = 4 + 2 * identity->naa_bytes;
    wanted[2] = (struct wanted){
        VDSStorageIdCodeSetUtf8, VDSStorageIdTypeScsiNameString, (length + 4) / 4 * 4, {0}};
    memcpy(wanted[2].bytes, "naa.", 4);
    for (unsigned i = 0; i < identity->naa_bytes; i++) {
        wanted[2].bytes[4 + 2 * i] = (BYTE) "0123456789abcdef"[identity->naa[i] >> 4];
        wanted[2].bytes[5 + 2 * i] = (BYTE) "0123456789abcdef"[identity->naa[i] & 0xF];
    }
}

static bool is_wanted(const VDS_STORAGE_IDENTIFIER *id, const struct wanted *wanted)
{
    return id->m_CodeSet == wanted->code_set && id->m_Type == wanted->type &&
           id->m_cbIdentifier == wanted->size_bytes && id->m_rgbIdentifier &&
           memcmp(id->m_rgbIdentifier, wanted->bytes, wanted->size_bytes) == 0;
}

static bool has_identifier(const VDS_LUN_INFORMATION *lun, const struct wanted *wanted)
{
    const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &lun->m_deviceIdDescriptor;
    for (ULONG i = 0; ids->m_rgIdentifiers && i < ids->m_cIdentifiers; i++)
        if (is_wanted(&ids->m_rgIdentifiers[i], wanted)) return true;
    return false;
}

/* ---- Reading --------------------------------------------------------------------------------- */

bool identity_is_tarn(const VDS_LUN_INFORMATION *lun)
{
    return is_padded(lun->m_szVendorId, vendor) && is_padded(lun->m_szProductId, product);
}

static bool find_naa(const VDS_LUN_INFORMATION *lun, struct lun_identity *identity)
{
    const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &lun->m_deviceIdDescriptor;
    for (ULONG i = 0; ids->m_rgIdentifiers && i < ids->m_cIdentifiers; i++) {
        const VDS_STORAGE_IDENTIFIER *id = &ids->m_rgIdentifiers[i];
        if (id->m_Type != VDSStorageIdTypeFCPHName || id->m_CodeSet != VDSStorageIdCodeSetBinary)
            continue;
        if (!id->m_rgbIdentifier || !is_naa(id->m_rgbIdentifier, id->m_cbIdentifier)) continue;
        memcpy(identity->naa, id->m_rgbIdentifier, id->m_cbIdentifier);
        identity->naa_bytes = id->m_cbIdentifier;
        return true;
    }
    return false;
}

/* Page 80h may be missing; the T10 designator has the serial number too. */
static bool find_serial(const VDS_LUN_INFORMATION *lun, struct lun_identity *identity)
{
    const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &lun->m_deviceIdDescriptor;
    if (lun->m_szSerialNumber)
        return copy_serial(lun->m_szSerialNumber, strlen(lun->m_szSerialNumber), identity);
    for (ULONG i = 0; ids->m_rgIdentifiers && i < ids->m_cIdentifiers; i++) {
        const VDS_STORAGE_IDENTIFIER *id = &ids->m_rgIdentifiers[i];
        if (id->m_Type != VDSStorageIdTypeVendorId || id->m_cbIdentifier != T10_BYTES ||
            !id->m_rgbIdentifier)
            continue;
        return copy_serial((const char *)id->m_rgbIdentifier + 24, IDENTITY_SERIAL_CHARS, identity);
    }
    return false;
}

bool identity_read(const VDS_LUN_INFORMATION *lun, struct lun_identity *ret_identity)
{
    struct lun_identity identity = {0};
    struct wanted wanted[IDENTIFIERS];
    if (!identity_is_tarn(lun) || !find_naa(lun, &identity) || !find_serial(lun, &identity))
        return false;
    /* What page 83h says of itself has to agree: the serial number alone could be anybody's. */
    make_wanted(&identity, wanted);
    if (!has_identifier(lun, &wanted[1])) return false;
    *ret_identity = identity;
    return true;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void free_identifiers(const struct memory *memory, VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids)
{
    for (ULONG i = 0; ids->m_rgIdentifiers && i < ids->m_cIdentifiers; i++)
        memory->free(ids->m_rgIdentifiers[i].m_rgbIdentifier);
    memory->free(ids->m_rgIdentifiers);
    *ids = (VDS_STORAGE_DEVICE_ID_DESCRIPTOR){0};
}

static void free_interconnects(const struct memory *memory, VDS_LUN_INFORMATION *lun)
{
    for (ULONG i = 0; lun->m_rgInterconnects && i < lun->m_cInterconnects; i++) {
        memory->free(lun->m_rgInterconnects[i].m_pbPort);
        memory->free(lun->m_rgInterconnects[i].m_pbAddress);
    }
    memory->free(lun->m_rgInterconnects);
}

void identity_clear(const struct memory *memory, VDS_LUN_INFORMATION *lun)
{
    memory->free(lun->m_szVendorId);
    memory->free(lun->m_szProductId);
    memory->free(lun->m_szProductRevision);
    memory->free(lun->m_szSerialNumber);
    free_identifiers(memory, &lun->m_deviceIdDescriptor);
    free_interconnects(memory, lun);
    *lun = (VDS_LUN_INFORMATION){0};
}

static bool make_identifiers(const struct memory *memory, const struct lun_identity *identity,
                             VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ret_ids)
{
    struct wanted wanted[IDENTIFIERS];
    VDS_STORAGE_DEVICE_ID_DESCRIPTOR ids = {.m_version = 1};
    make_wanted(identity, wanted);
    ids.m_rgIdentifiers = memory->alloc(IDENTIFIERS * sizeof *ids.m_rgIdentifiers);
    if (!ids.m_rgIdentifiers) return false;
    for (unsigned i = 0; i < IDENTIFIERS; i++) {
        BYTE *bytes = memory->alloc(wanted[i].size_bytes);
        if (!bytes) {
            free_identifiers(memory, &ids);
            return false;
        }
        memcpy(bytes, wanted[i].bytes, wanted[i].size_bytes);
        ids.m_rgIdentifiers[i] = (VDS_STORAGE_IDENTIFIER){wanted[i].code_set, wanted[i].type,
                                                          wanted[i].size_bytes, bytes};
        ids.m_cIdentifiers = i + 1;
    }
    *ret_ids = ids;
    return true;
}

static char *make_string(const struct memory *memory, const char *text)
{
    char *copy = memory->alloc(strlen(text) + 1);
    if (copy) memcpy(copy, text, strlen(text) + 1);
    return copy;
}

static void set_fixed(VDS_LUN_INFORMATION *lun)
{
    lun->m_version = 1;
    lun->m_DeviceType = 0; /* direct access */
    lun->m_DeviceTypeModifier = 0;
    lun->m_bCommandQueueing = TRUE;
    lun->m_BusType = VDSBusTypeiScsi;
    lun->m_diskSignature = (GUID){0}; /* Windows writes it on the disk: it is nobody's identity */
}

bool identity_fill(const struct memory *memory, const struct lun_identity *identity,
                   VDS_LUN_INFORMATION *lun)
{
    VDS_LUN_INFORMATION made = {0};
    set_fixed(&made);
    made.m_szVendorId = make_string(memory, vendor);
    made.m_szProductId = make_string(memory, product);
    made.m_szProductRevision = make_string(memory, revision);
    made.m_szSerialNumber = make_string(memory, identity->serial);
    bool ok = made.m_szVendorId && made.m_szProductId && made.m_szProductRevision &&
              made.m_szSerialNumber &&
              make_identifiers(memory, identity, &made.m_deviceIdDescriptor);
    if (!ok) identity_clear(memory, &made);
    *lun = made;
    return ok;
}

/* In place: a string of an [in,out] struct may become shorter, never longer, because COM writes it
 * back into the memory that the caller gave. */
static void trim(char *text)
{
    size_t length = strlen(text), start = 0;
    while (length && text[length - 1] == ' ')
        length--;
    while (start < length && text[start] == ' ')
        start++;
    memmove(text, text + start, length - start);
    text[length - start] = '\0';
}

/* The member's string, trimmed; or a new one where there was none, which is kept in *new too. */
static bool settle_string(const struct memory *memory, char **member, const char *text, char **new)
{
    if (*member) {
        trim(*member);
        return true;
    }
    *new = make_string(memory, text);
    return *new != NULL;
}

static void settle(char **member, char *new)
{
    if (new) *member = new;
}

bool identity_normalise(const struct memory *memory, const struct lun_identity *identity,
                        VDS_LUN_INFORMATION *lun)
{
    VDS_STORAGE_DEVICE_ID_DESCRIPTOR ids = {0};
    char *rev = NULL, *serial = NULL;
    bool ok = settle_string(memory, &lun->m_szProductRevision, revision, &rev) &&
              settle_string(memory, &lun->m_szSerialNumber, identity->serial, &serial);
    /* Fewer than there are now, never more; vendor and product were there, or it would not be ours.
     */
    if (ok && lun->m_deviceIdDescriptor.m_cIdentifiers >= IDENTIFIERS)
        ok = make_identifiers(memory, identity, &ids);
    if (!ok) {
        memory->free(rev);
        memory->free(serial);
        return false;
    }
    trim(lun->m_szVendorId);
    trim(lun->m_szProductId);
    settle(&lun->m_szProductRevision, rev);
    settle(&lun->m_szSerialNumber, serial);
    if (ids.m_rgIdentifiers) {
        free_identifiers(memory, &lun->m_deviceIdDescriptor);
        lun->m_deviceIdDescriptor = ids;
    }
    set_fixed(lun);
    return true;
}
