/*
 * document.c - the backup components document: what carries a shadow copy set from host to host,
 * and what a host keeps of it.
 *
 * XML of elements and attributes only:
 *
 *     <snapshotSet id context computer created imported>
 *       <lun provider diskId blocks gone>
 *         <source type ... vendor product revision serial><identifier codeSet type bytes/></source>
 *         <target ...>...</target>
 *       </lun>
 *       <snapshot id provider volume device attributes gone/>
 *       <extent snapshot lun partition firstLba blocks/>
 *     </snapshotSet>
 *
 * It comes from wherever the requester kept it: every number is looked at before it is used.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "windows/standin/coordinator_int.h"

/* ---- Writing --------------------------------------------------------------------------------- */

struct out {
    char *text;
    size_t used, size;
    bool failed;
};

static void put_bytes(struct out *out, const char *text, size_t size)
{
    if (out->failed) return;
    if (out->used + size + 1 > out->size) {
        size_t grown = 2 * (out->used + size + 1) + 1024;
        char *more = realloc(out->text, grown);
        if (!more) {
            out->failed = true;
            return;
        }
        out->text = more;
        out->size = grown;
    }
    memcpy(out->text + out->used, text, size);
    out->used += size;
    out->text[out->used] = '\0';
}

static void put(struct out *out, const char *text)
{
    put_bytes(out, text, strlen(text));
}

static void put_text(struct out *out, const char *key, const char *value)
{
    if (!value) return; /* no such string is not an empty one */
    put(out, " ");
    put(out, key);
    put(out, "=\"");
    for (; *value; value++) {
        char escaped[8];
        unsigned char ch = (unsigned char)*value;
        if (ch < 0x20 || ch > 0x7E || strchr("<>&\"'", ch)) {
            snprintf(escaped, sizeof escaped, "&#x%02X;", (unsigned)ch);
            put(out, escaped);
        } else {
            put_bytes(out, value, 1);
        }
    }
    put(out, "\"");
}

static void put_number(struct out *out, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    put_text(out, key, text);
}

static void put_guid(struct out *out, const char *key, const GUID *id)
{
    char text[GUID_TEXT_MAX];
    put_text(out, key, guid_format(id, text));
}

static void put_identifier(struct out *out, const VDS_STORAGE_IDENTIFIER *id)
{
    put(out, "<identifier");
    put_number(out, "codeSet", (uint64_t)id->m_CodeSet);
    put_number(out, "type", (uint64_t)id->m_Type);
    put(out, " bytes=\"");
    for (ULONG i = 0; i < id->m_cbIdentifier; i++) {
        char hex[3];
        snprintf(hex, sizeof hex, "%02x", (unsigned)id->m_rgbIdentifier[i]);
        put(out, hex);
    }
    put(out, "\"/>");
}

static void put_record(struct out *out, const char *name, const VDS_LUN_INFORMATION *lun)
{
    put(out, "<");
    put(out, name);
    put_number(out, "type", lun->m_DeviceType);
    put_number(out, "modifier", lun->m_DeviceTypeModifier);
    put_number(out, "queueing", lun->m_bCommandQueueing != 0);
    put_number(out, "bus", (uint64_t)lun->m_BusType);
    put_guid(out, "signature", &lun->m_diskSignature);
    put_text(out, "vendor", lun->m_szVendorId);
    put_text(out, "product", lun->m_szProductId);
    put_text(out, "revision", lun->m_szProductRevision);
    put_text(out, "serial", lun->m_szSerialNumber);
    put(out, ">");
    for (ULONG i = 0; i < lun->m_deviceIdDescriptor.m_cIdentifiers; i++)
        put_identifier(out, &lun->m_deviceIdDescriptor.m_rgIdentifiers[i]);
    put(out, "</");
    put(out, name);
    put(out, ">\n");
}

static void put_lun(struct out *out, const struct set_lun *lun)
{
    put(out, "<lun");
    put_guid(out, "provider", &lun->provider);
    put_guid(out, "diskId", &lun->disk_id);
    put_number(out, "blocks", lun->block_count);
    put_number(out, "gone", lun->is_gone);
    put(out, ">\n");
    put_record(out, "source", &lun->source);
    put_record(out, "target", &lun->target);
    put(out, "</lun>\n");
}

static void put_snapshot(struct out *out, const struct set_snapshot *snapshot)
{
    put(out, "<snapshot");
    put_guid(out, "id", &snapshot->id);
    put_guid(out, "provider", &snapshot->provider);
    put_text(out, "volume", snapshot->volume);
    put_text(out, "device", snapshot->device);
    put_number(out, "attributes", (uint32_t)snapshot->attributes);
    put_number(out, "gone", snapshot->is_gone);
    put(out, "/>\n");
}

static void put_extent(struct out *out, const struct set_extent *extent)
{
    put(out, "<extent");
    put_number(out, "snapshot", extent->snapshot);
    put_number(out, "lun", extent->lun);
    put_guid(out, "partition", &extent->partition);
    put_number(out, "firstLba", extent->first_lba);
    put_number(out, "blocks", extent->block_count);
    put(out, "/>\n");
}

char *document_write(const struct snapshot_set *set)
{
    struct out out = {0};
    put(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<snapshotSet");
    put_guid(&out, "id", &set->id);
    put_number(&out, "context", (uint32_t)set->context);
    put_text(&out, "computer", set->computer);
    put_number(&out, "created", (uint64_t)set->created_filetime);
    put_number(&out, "imported", set->is_imported);
    put(&out, ">\n");
    for (unsigned i = 0; i < set->lun_count; i++)
        put_lun(&out, &set->luns[i]);
    for (unsigned i = 0; i < set->snapshot_count; i++)
        put_snapshot(&out, &set->snapshots[i]);
    for (unsigned i = 0; i < set->extent_count; i++)
        put_extent(&out, &set->extents[i]);
    put(&out, "</snapshotSet>\n");
    if (!out.failed) return out.text;
    free(out.text);
    return NULL;
}

/* ---- Tags ------------------------------------------------------------------------------------ */

enum { TEXT_MAX = 1024, NAME_MAX_CHARS = 24 };

/* One tag: <name attributes> or </name>. */
struct tag {
    char name[NAME_MAX_CHARS];
    bool is_end, is_empty;
    const char *at, *end; /* its attributes */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The end of a tag: a > that is not in quotes.  NULL: there is none. */
static const char *tag_end(const char *at)
{
    bool quoted = false;
    for (; *at; at++) {
        if (*at == '"') quoted = !quoted;
        if (*at == '>' && !quoted) return at;
    }
    return NULL;
}

/* The next tag after *at; false: no more, or no XML that we write. */
static bool next_tag(const char **at, struct tag *ret_tag)
{
    const char *c = *at;
    struct tag tag = {.name = ""};
    while (is_blank(*c))
        c++;
    if (strncmp(c, "<?xml", 5) == 0) {
        c = strstr(c, "?>");
        if (!c) return false;
        for (c += 2; is_blank(*c);)
            c++;
    }
    if (*c++ != '<') return false;
    tag.is_end = *c == '/';
    c += tag.is_end;
    unsigned length = 0;
    while (is_name(*c) && length < NAME_MAX_CHARS - 1)
        tag.name[length++] = *c++;
    tag.at = c;
    tag.end = tag_end(c);
    if (length == 0 || !tag.end) return false;
    *at = tag.end + 1;
    tag.is_empty = tag.end > tag.at && tag.end[-1] == '/';
    *ret_tag = tag;
    return true;
}

/* &#x41; and nothing else; only that is written. */
static bool take_char(const char **at, char *ret)
{
    const char *c = *at;
    if (*c != '&') {
        *ret = *c;
        *at = c + 1;
        return true;
    }
    unsigned value = 0, digits = 0;
    if (strncmp(c, "&#x", 3) != 0) return false;
    for (c += 3; *c != ';'; c++, digits++) {
        const char *hex = "0123456789ABCDEF", *found = *c ? strchr(hex, *c) : NULL;
        if (!found || digits == 2) return false;
        value = value * 16 + (unsigned)(found - hex);
    }
    if (digits == 0 || value == 0) return false;
    *ret = (char)(unsigned char)value;
    *at = c + 1;
    return true;
}

/* An attribute's value; false: there is none, or it does not fit. */
static bool attribute(const struct tag *tag, const char *key, char *ret, size_t size)
{
    size_t key_length = strlen(key);
    for (const char *c = tag->at; c < tag->end;) {
        while (c < tag->end && is_blank(*c))
            c++;
        const char *name = c;
        while (c < tag->end && is_name(*c))
            c++;
        size_t length = (size_t)(c - name);
        if (length == 0 || c + 1 >= tag->end || c[0] != '=' || c[1] != '"') return false;
        const char *value = c + 2;
        const char *end = memchr(value, '"', (size_t)(tag->end - value));
        if (!end) return false;
        c = end + 1;
        if (length != key_length || strncmp(name, key, length) != 0) continue;
        size_t used = 0;
        while (value < end) {
            if (used + 1 >= size || !take_char(&value, &ret[used++])) return false;
        }
        ret[used] = '\0';
        return true;
    }
    return false;
}

static bool number(const struct tag *tag, const char *key, uint64_t max, uint64_t *ret)
{
    char text[24], *end;
    if (!attribute(tag, key, text, sizeof text) || text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || *end || value > max) return false;
    *ret = value;
    return true;
}

static bool flag(const struct tag *tag, const char *key, bool *ret)
{
    uint64_t value;
    if (!number(tag, key, 1, &value)) return false;
    *ret = value == 1;
    return true;
}

static bool guid(const struct tag *tag, const char *key, GUID *ret)
{
    char text[GUID_TEXT_MAX];
    return attribute(tag, key, text, sizeof text) && guid_parse(text, ret);
}

/* ---- Records --------------------------------------------------------------------------------- */

/* What the reader is in the middle of. */
struct reading {
    struct si_memory *memory;
    struct snapshot_set *set;
    VDS_LUN_INFORMATION *record; /* source or target; NULL: in neither */
    bool is_in_set, is_in_lun, is_done;
};

/* NULL where there is none. */
static bool string(struct reading *r, const struct tag *tag, const char *key, char **ret)
{
    char text[TEXT_MAX];
    if (!attribute(tag, key, text, sizeof text)) return true;
    *ret = r->memory->alloc(r->memory, strlen(text) + 1);
    if (*ret) memcpy(*ret, text, strlen(text) + 1);
    return *ret != NULL;
}

static bool read_record(struct reading *r, const struct tag *tag)
{
    VDS_LUN_INFORMATION *lun = r->record;
    uint64_t type, modifier, bus;
    bool queueing;
    if (lun->m_version) return false; /* twice */
    if (!number(tag, "type", 255, &type) || !number(tag, "modifier", 255, &modifier) ||
        !number(tag, "bus", 255, &bus) || !flag(tag, "queueing", &queueing) ||
        !guid(tag, "signature", &lun->m_diskSignature))
        return false;
    lun->m_version = 1;
    lun->m_DeviceType = (BYTE)type;
    lun->m_DeviceTypeModifier = (BYTE)modifier;
    lun->m_BusType = (VDS_STORAGE_BUS_TYPE)bus;
    lun->m_bCommandQueueing = queueing;
    lun->m_deviceIdDescriptor.m_version = 1;
    return string(r, tag, "vendor", &lun->m_szVendorId) &&
           string(r, tag, "product", &lun->m_szProductId) &&
           string(r, tag, "revision", &lun->m_szProductRevision) &&
           string(r, tag, "serial", &lun->m_szSerialNumber);
}

static int digit(char c)
{
    const char *hex = "0123456789abcdef", *found = c ? strchr(hex, c) : NULL;
    return found ? (int)(found - hex) : -1;
}

static bool read_bytes(struct reading *r, const struct tag *tag, VDS_STORAGE_IDENTIFIER *id)
{
    char text[TEXT_MAX];
    if (!attribute(tag, "bytes", text, sizeof text) || strlen(text) % 2 || !text[0]) return false;
    size_t size = strlen(text) / 2;
    id->m_rgbIdentifier = r->memory->alloc(r->memory, size);
    if (!id->m_rgbIdentifier) return false;
    id->m_cbIdentifier = (ULONG)size;
    for (size_t i = 0; i < size; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        id->m_rgbIdentifier[i] = (BYTE)(high << 4 | low);
    }
    return true;
}

static bool read_identifier(struct reading *r, const struct tag *tag)
{
    VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &r->record->m_deviceIdDescriptor;
    uint64_t code_set, type;
    if (ids->m_cIdentifiers == RECORD_IDENTIFIERS_MAX) return false;
    if (!ids->m_rgIdentifiers)
        ids->m_rgIdentifiers =
            r->memory->alloc(r->memory, RECORD_IDENTIFIERS_MAX * sizeof(VDS_STORAGE_IDENTIFIER));
    if (!ids->m_rgIdentifiers) return false;
    VDS_STORAGE_IDENTIFIER *id = &ids->m_rgIdentifiers[ids->m_cIdentifiers++];
    memset(id, 0, sizeof *id);
    if (!number(tag, "codeSet", 15, &code_set) || !number(tag, "type", 15, &type)) return false;
    id->m_CodeSet = (VDS_STORAGE_IDENTIFIER_CODE_SET)code_set;
    id->m_Type = (VDS_STORAGE_IDENTIFIER_TYPE)type;
    return read_bytes(r, tag, id);
}

/* ---- The set --------------------------------------------------------------------------------- */

static bool read_set(struct reading *r, const struct tag *tag)
{
    uint64_t context, created;
    if (!guid(tag, "id", &r->set->id) || !number(tag, "context", UINT32_MAX, &context) ||
        !number(tag, "created", INT64_MAX, &created) ||
        !flag(tag, "imported", &r->set->is_imported) ||
        !attribute(tag, "computer", r->set->computer, sizeof r->set->computer))
        return false;
    r->set->context = (LONG)(uint32_t)context;
    r->set->created_filetime = (int64_t)created;
    r->is_in_set = true;
    return true;
}

static bool read_lun(struct reading *r, const struct tag *tag)
{
    if (r->set->lun_count == SET_LUNS_MAX) return false;
    struct set_lun *lun = &r->set->luns[r->set->lun_count++];
    lun->seen = UINT32_MAX;
    r->is_in_lun = true;
    return guid(tag, "provider", &lun->provider) && guid(tag, "diskId", &lun->disk_id) &&
           number(tag, "blocks", UINT64_MAX, &lun->block_count) && flag(tag, "gone", &lun->is_gone);
}

static bool read_snapshot(struct reading *r, const struct tag *tag)
{
    uint64_t attributes;
    if (r->set->snapshot_count == SET_VOLUMES_MAX) return false;
    struct set_snapshot *s = &r->set->snapshots[r->set->snapshot_count++];
    if (!guid(tag, "id", &s->id) || !guid(tag, "provider", &s->provider) ||
        !attribute(tag, "volume", s->volume, sizeof s->volume) ||
        !attribute(tag, "device", s->device, sizeof s->device) ||
        !number(tag, "attributes", UINT32_MAX, &attributes) || !flag(tag, "gone", &s->is_gone))
        return false;
    s->attributes = (LONG)(uint32_t)attributes;
    return true;
}

static bool read_extent(struct reading *r, const struct tag *tag)
{
    uint64_t snapshot, lun;
    if (r->set->extent_count == SET_EXTENTS_MAX || r->set->snapshot_count == 0 ||
        r->set->lun_count == 0)
        return false;
    struct set_extent *e = &r->set->extents[r->set->extent_count++];
    if (!number(tag, "snapshot", r->set->snapshot_count - 1, &snapshot) ||
        !number(tag, "lun", r->set->lun_count - 1, &lun) ||
        !guid(tag, "partition", &e->partition) ||
        !number(tag, "firstLba", INT64_MAX, &e->first_lba) ||
        !number(tag, "blocks", INT64_MAX, &e->block_count))
        return false;
    e->snapshot = (unsigned)snapshot;
    e->lun = (unsigned)lun;
    return true;
}

static bool read_end(struct reading *r, const struct tag *tag)
{
    if (r->record) {
        r->record = NULL;
        return strcmp(tag->name, "source") == 0 || strcmp(tag->name, "target") == 0;
    }
    if (r->is_in_lun) {
        r->is_in_lun = false;
        return strcmp(tag->name, "lun") == 0;
    }
    r->is_done = r->is_in_set;
    return r->is_done && strcmp(tag->name, "snapshotSet") == 0;
}

static bool read_tag(struct reading *r, const struct tag *tag)
{
    if (tag->is_end) return read_end(r, tag);
    if (!r->is_in_set) return strcmp(tag->name, "snapshotSet") == 0 && read_set(r, tag);
    if (r->record)
        return strcmp(tag->name, "identifier") == 0 && tag->is_empty && read_identifier(r, tag);
    if (r->is_in_lun) {
        struct set_lun *lun = &r->set->luns[r->set->lun_count - 1];
        if (strcmp(tag->name, "source") == 0)
            r->record = &lun->source;
        else if (strcmp(tag->name, "target") == 0)
            r->record = &lun->target;
        return r->record && read_record(r, tag);
    }
    if (strcmp(tag->name, "lun") == 0) return !tag->is_empty && read_lun(r, tag);
    if (strcmp(tag->name, "snapshot") == 0) return tag->is_empty && read_snapshot(r, tag);
    return strcmp(tag->name, "extent") == 0 && tag->is_empty && read_extent(r, tag);
}

/* Every shadow copy lies somewhere, and every LUN of it is known. */
static bool is_whole(const struct snapshot_set *set)
{
    for (unsigned i = 0; i < set->lun_count; i++)
        if (!set->luns[i].source.m_version || !set->luns[i].target.m_version) return false;
    for (unsigned i = 0; i < set->snapshot_count; i++) {
        bool found = false;
        for (unsigned e = 0; e < set->extent_count && !found; e++)
            found = set->extents[e].snapshot == i;
        if (!found) return false;
    }
    return set->snapshot_count > 0;
}

struct snapshot_set *document_read(struct si_memory *memory, const char *xml)
{
    struct reading r = {.memory = memory, .set = set_create()};
    struct tag tag;
    bool ok = r.set != NULL;
    while (ok && !r.is_done)
        ok = next_tag(&xml, &tag) && read_tag(&r, &tag);
    while (ok && is_blank(*xml))
        xml++;
    if (ok && *xml == '\0' && is_whole(r.set)) return r.set;
    set_destroy(memory, r.set);
    return NULL;
}
