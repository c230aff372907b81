#include "tests/unit/provider_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/endian.h"
#include "tests/unit/fake_api.h"

/* ---- The allocator --------------------------------------------------------------------------- */

enum { BLOCKS_MAX = 65536 };
static void *blocks[BLOCKS_MAX];
static unsigned live, wrong_frees, fail_after;

static void *tracked_alloc(size_t size_bytes)
{
    if (fail_after && --fail_after == 0) return NULL;
    unsigned slot = 0;
    while (slot < BLOCKS_MAX && blocks[slot])
        slot++;
    check(slot < BLOCKS_MAX);
    blocks[slot] = malloc(size_bytes ? size_bytes : 1);
    check(blocks[slot] != NULL);
    memset(blocks[slot], 0xA5, size_bytes);
    live++;
    return blocks[slot];
}

static bool is_live(const void *p)
{
    for (unsigned i = 0; i < BLOCKS_MAX; i++)
        if (blocks[i] == p) return true;
    return false;
}

static void tracked_free(void *p)
{
    if (!p) return;
    for (unsigned i = 0; i < BLOCKS_MAX; i++) {
        if (blocks[i] != p) continue;
        free(p);
        blocks[i] = NULL;
        live--;
        return;
    }
    wrong_frees++;
}

struct memory rig_memory = {.alloc = tracked_alloc, .free = tracked_free};

unsigned rig_live_count(void)
{
    return live;
}

unsigned rig_wrong_free_count(void)
{
    return wrong_frees;
}

void rig_fail_allocation(unsigned after)
{
    fail_after = after;
}

/* ---- LUNs ------------------------------------------------------------------------------------ */

static void *copy_bytes(const void *from, size_t size_bytes)
{
    void *to = tracked_alloc(size_bytes);
    check(to != NULL);
    memcpy(to, from, size_bytes);
    return to;
}

static char *copy_field(const uint8_t *from, size_t size_bytes)
{
    char *to = tracked_alloc(size_bytes + 1);
    check(to != NULL);
    memcpy(to, from, size_bytes);
    to[size_bytes] = '\0';
    return to;
}

VDS_LUN_INFORMATION rig_lun_from_bytes(const uint8_t *inquiry, const uint8_t *serial_page,
                                       const uint8_t *id_page)
{
    VDS_LUN_INFORMATION lun = {
        .m_version = 1,
        .m_DeviceType = inquiry[0] & 0x1F,
        .m_bCommandQueueing = (inquiry[7] & 2) != 0,
        .m_BusType = VDSBusTypeiScsi,
        .m_szVendorId = copy_field(inquiry + 8, 8),
        .m_szProductId = copy_field(inquiry + 16, 16),
        .m_szProductRevision = copy_field(inquiry + 32, 4),
        .m_szSerialNumber = copy_field(serial_page + 4, load_be16(serial_page + 2)),
    };
    lun.m_deviceIdDescriptor.m_version = 1;
    lun.m_deviceIdDescriptor.m_rgIdentifiers = tracked_alloc(16 * sizeof(VDS_STORAGE_IDENTIFIER));
    const uint8_t *end = id_page + 4 + load_be16(id_page + 2);
    for (const uint8_t *d = id_page + 4; d + 4 <= end; d += 4 + d[3]) {
        if ((d[1] >> 4 & 3) != 0) continue; /* VSS takes those of the logical unit */
        VDS_STORAGE_IDENTIFIER *id =
            &lun.m_deviceIdDescriptor.m_rgIdentifiers[lun.m_deviceIdDescriptor.m_cIdentifiers++];
        id->m_CodeSet = (VDS_STORAGE_IDENTIFIER_CODE_SET)(d[0] & 0xF);
        id->m_Type = (VDS_STORAGE_IDENTIFIER_TYPE)(d[1] & 0xF);
        id->m_cbIdentifier = d[3];
        id->m_rgbIdentifier = copy_bytes(d + 4, d[3]);
    }
    return lun;
}

static void put_designator(uint8_t **at, uint8_t code_set, uint8_t type, const void *bytes,
                           size_t size_bytes)
{
    uint8_t *d = *at;
    d[0] = code_set;
    d[1] = type;
    d[2] = 0;
    d[3] = (uint8_t)size_bytes;
    memcpy(d + 4, bytes, size_bytes);
    *at += 4 + size_bytes;
}

static VDS_LUN_INFORMATION make_lun(const char *vendor, const char *product, const char *serial,
                                    const uint8_t naa[8])
{
    uint8_t inquiry[36] = {0}, page80[64] = {0}, page83[256] = {0}, *at = page83 + 4;
    char t10[57], name[24] = {0};
    inquiry[7] = 2;
    snprintf((char *)inquiry + 8, 28, "%-8s%-16s%s", vendor, product, "000");
    inquiry[35] = '1';
    store_be16(page80 + 2, (uint16_t)strlen(serial));
    memcpy(page80 + 4, serial, strlen(serial));
    put_designator(&at, 1, 3, naa, 8);
    snprintf(t10, sizeof t10, "%-8s%-16s%s", vendor, product, serial);
    put_designator(&at, 2, 1, t10, strlen(t10));
    snprintf(name, sizeof name, "naa.%02x%02x%02x%02x%02x%02x%02x%02x", (unsigned)naa[0],
             (unsigned)naa[1], (unsigned)naa[2], (unsigned)naa[3], (unsigned)naa[4],
             (unsigned)naa[5], (unsigned)naa[6], (unsigned)naa[7]);
    put_designator(&at, 3, 8, name, sizeof name);
    put_designator(&at, 1, 0x14, "\0\0\0\1", 4); /* of the port */
    store_be16(page83 + 2, (uint16_t)(at - page83 - 4));
    VDS_LUN_INFORMATION lun = rig_lun_from_bytes(inquiry, page80, page83);
    lun.m_cInterconnects = 1;
    lun.m_rgInterconnects = tracked_alloc(sizeof(VDS_INTERCONNECT));
    lun.m_rgInterconnects[0] =
        (VDS_INTERCONNECT){VDS_IA_UNKNOWN, 4, copy_bytes("port", 4), 8, copy_bytes("10.0.0.1", 8)};
    return lun;
}

static void disk_serial(unsigned n, char serial[33])
{
    snprintf(serial, 33, "d%031x", n);
}

VDS_LUN_INFORMATION rig_disk_lun(unsigned n)
{
    char serial[33];
    disk_serial(n, serial);
    return make_lun("TARN", "VIRTUAL DISK", serial,
                    (uint8_t[]){0x3A, 0, 0, 0, 0, 0, 0, (uint8_t)n});
}

VDS_LUN_INFORMATION rig_foreign_lun(void)
{
    return make_lun("ACME", "VIRTUAL DISK", "0123456789abcdef0123456789abcdef",
                    (uint8_t[]){0x5A, 0, 0, 0, 0, 0, 0, 7});
}

static char *copy_string(const char *from)
{
    return from ? copy_bytes(from, strlen(from) + 1) : NULL;
}

VDS_LUN_INFORMATION rig_copy_lun(const VDS_LUN_INFORMATION *lun)
{
    VDS_LUN_INFORMATION copy = *lun;
    copy.m_szVendorId = copy_string(lun->m_szVendorId);
    copy.m_szProductId = copy_string(lun->m_szProductId);
    copy.m_szProductRevision = copy_string(lun->m_szProductRevision);
    copy.m_szSerialNumber = copy_string(lun->m_szSerialNumber);
    if (lun->m_deviceIdDescriptor.m_rgIdentifiers) {
        ULONG count = lun->m_deviceIdDescriptor.m_cIdentifiers;
        copy.m_deviceIdDescriptor.m_rgIdentifiers = copy_bytes(
            lun->m_deviceIdDescriptor.m_rgIdentifiers, count * sizeof(VDS_STORAGE_IDENTIFIER));
        for (ULONG i = 0; i < count; i++) {
            VDS_STORAGE_IDENTIFIER *id = &copy.m_deviceIdDescriptor.m_rgIdentifiers[i];
            if (id->m_rgbIdentifier)
                id->m_rgbIdentifier = copy_bytes(id->m_rgbIdentifier, id->m_cbIdentifier);
        }
    }
    if (lun->m_rgInterconnects) {
        copy.m_rgInterconnects =
            copy_bytes(lun->m_rgInterconnects, lun->m_cInterconnects * sizeof(VDS_INTERCONNECT));
        for (ULONG i = 0; i < lun->m_cInterconnects; i++) {
            VDS_INTERCONNECT *c = &copy.m_rgInterconnects[i];
            c->m_pbPort = copy_bytes(c->m_pbPort, c->m_cbPort);
            c->m_pbAddress = copy_bytes(c->m_pbAddress, c->m_cbAddress);
        }
    }
    return copy;
}

static bool same_string(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_identifiers(const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *a,
                             const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *b)
{
    if (a->m_version != b->m_version || a->m_cIdentifiers != b->m_cIdentifiers) return false;
    for (ULONG i = 0; i < a->m_cIdentifiers; i++) {
        const VDS_STORAGE_IDENTIFIER *x = &a->m_rgIdentifiers[i], *y = &b->m_rgIdentifiers[i];
        if (x->m_CodeSet != y->m_CodeSet || x->m_Type != y->m_Type ||
            x->m_cbIdentifier != y->m_cbIdentifier ||
            memcmp(x->m_rgbIdentifier, y->m_rgbIdentifier, x->m_cbIdentifier) != 0)
            return false;
    }
    return true;
}

static bool same_interconnects(const VDS_LUN_INFORMATION *a, const VDS_LUN_INFORMATION *b)
{
    if (a->m_cInterconnects != b->m_cInterconnects) return false;
    for (ULONG i = 0; i < a->m_cInterconnects; i++) {
        const VDS_INTERCONNECT *x = &a->m_rgInterconnects[i], *y = &b->m_rgInterconnects[i];
        if (x->m_cbPort != y->m_cbPort || x->m_cbAddress != y->m_cbAddress ||
            memcmp(x->m_pbPort, y->m_pbPort, x->m_cbPort) != 0 ||
            memcmp(x->m_pbAddress, y->m_pbAddress, x->m_cbAddress) != 0)
            return false;
    }
    return true;
}

bool rig_same_lun(const VDS_LUN_INFORMATION *a, const VDS_LUN_INFORMATION *b)
{
    return a->m_version == b->m_version && a->m_DeviceType == b->m_DeviceType &&
           a->m_DeviceTypeModifier == b->m_DeviceTypeModifier &&
           a->m_bCommandQueueing == b->m_bCommandQueueing && a->m_BusType == b->m_BusType &&
           same_string(a->m_szVendorId, b->m_szVendorId) &&
           same_string(a->m_szProductId, b->m_szProductId) &&
           same_string(a->m_szProductRevision, b->m_szProductRevision) &&
           same_string(a->m_szSerialNumber, b->m_szSerialNumber) &&
           memcmp(&a->m_diskSignature, &b->m_diskSignature, sizeof a->m_diskSignature) == 0 &&
           same_identifiers(&a->m_deviceIdDescriptor, &b->m_deviceIdDescriptor) &&
           same_interconnects(a, b);
}

/* The pointers of a record, in a list. */
static unsigned list_pointers(const VDS_LUN_INFORMATION *lun, const void *list[64])
{
    unsigned n = 0;
    list[n++] = lun->m_szVendorId;
    list[n++] = lun->m_szProductId;
    list[n++] = lun->m_szProductRevision;
    list[n++] = lun->m_szSerialNumber;
    list[n++] = lun->m_deviceIdDescriptor.m_rgIdentifiers;
    list[n++] = lun->m_rgInterconnects;
    for (ULONG i = 0; i < lun->m_deviceIdDescriptor.m_cIdentifiers && n < 60; i++)
        list[n++] = lun->m_deviceIdDescriptor.m_rgIdentifiers[i].m_rgbIdentifier;
    for (ULONG i = 0; i < lun->m_cInterconnects && n < 60; i++) {
        list[n++] = lun->m_rgInterconnects[i].m_pbPort;
        list[n++] = lun->m_rgInterconnects[i].m_pbAddress;
    }
    return n;
}

bool rig_is_whole(const VDS_LUN_INFORMATION *lun)
{
    const void *list[64];
    if (!lun->m_deviceIdDescriptor.m_rgIdentifiers && lun->m_deviceIdDescriptor.m_cIdentifiers)
        return false;
    if (!lun->m_rgInterconnects && lun->m_cInterconnects) return false;
    unsigned count = list_pointers(lun, list);
    for (unsigned i = 0; i < count; i++) {
        if (!list[i]) continue;
        if (!is_live(list[i])) return false;
        for (unsigned j = i + 1; j < count; j++)
            if (list[i] == list[j]) return false;
    }
    return true;
}

void rig_free_lun(VDS_LUN_INFORMATION *lun)
{
    const void *list[64];
    unsigned count = list_pointers(lun, list);
    for (unsigned i = count; i-- > 0;)
        tracked_free((void *)(uintptr_t)list[i]);
    *lun = (VDS_LUN_INFORMATION){0};
}

/* ---- The server ------------------------------------------------------------------------------ */

static struct fake_server *server_of(struct transport *t)
{
    return (struct fake_server *)(void *)((char *)t - offsetof(struct fake_server, transport));
}

static struct fake_server *server_of_os(struct provider_os *os)
{
    return (struct fake_server *)(void *)((char *)os - offsetof(struct fake_server, os));
}

struct fake_set *fake_find_set(struct fake_server *server, const char *id)
{
    for (unsigned i = 0; i < server->set_count; i++)
        if (strcmp(server->sets[i].id, id) == 0) return &server->sets[i];
    return NULL;
}

unsigned fake_snapshot_count(const struct fake_server *server)
{
    unsigned count = 0;
    for (unsigned i = 0; i < server->set_count; i++)
        for (unsigned d = 0;
             strcmp(server->sets[i].state, "aborted") != 0 && d < server->sets[i].disk_count; d++)
            count += !server->sets[i].snapshot_gone[d];
    return count;
}

/* A snapshot's id: made of its set's and its disk's numbers. */
static void snapshot_serial(unsigned set, unsigned disk, char serial[33])
{
    snprintf(serial, 33, "5%015x%016x", set, disk);
}

static void say_set(const struct fake_server *server, struct fake_text *text, unsigned index)
{
    const struct fake_set *set = &server->sets[index];
    fake_say(text,
             "{\"uuid\":\"%s\",\"state\":\"%s\",\"host\":\"%s\",\"vss\":%s,\"cut_wall_ns\":%u,"
             "\"members\":[",
             set->id, set->state, server->config.host, set->is_by_hand ? "false" : "true",
             1000 + index);
    for (unsigned i = 0; i < set->disk_count; i++) {
        char serial[33], id[IDENTITY_ID_TEXT], disk[33], disk_id[IDENTITY_ID_TEXT];
        disk_serial(set->disks[i], disk);
        fake_dashed(disk, disk_id);
        snapshot_serial(index, set->disks[i], serial);
        fake_dashed(serial, id);
        fake_say(
            text,
            "%s{\"disk_uuid\":\"%s\",\"snapshot_uuid\":\"%s\",\"serial\":\"%s\",\"naa\":\"3b000000%"
            "04x%04x\"}",
            i ? "," : "", disk_id, id, server->is_lying ? "nonsense" : serial, index,
            set->disks[i]);
    }
    fake_say(text, "]}");
}

static void say_maps(const struct fake_server *server, struct fake_text *text)
{
    const char *comma = "";
    fake_say(text, "{\"maps\":[");
    for (unsigned i = 0; i < server->host_disks; i++, comma = ",") {
        char serial[33];
        disk_serial(i, serial);
        fake_say(text, "%s{\"host\":\"%s\",\"lun\":%u,\"serial\":\"%s\"}", comma,
                 server->config.host, i, serial);
    }
    for (unsigned i = 0; i < FAKE_MAPS; i++) {
        char serial[IDENTITY_ID_TEXT];
        unsigned used = 0;
        for (const char *c = server->maps[i]; *c; c++)
            if (*c != '-') serial[used++] = *c;
        serial[used] = '\0';
        if (used)
            fake_say(text, "%s{\"host\":\"%s\",\"lun\":%u,\"serial\":\"%s\"}", comma,
                     server->config.host, 100 + i, serial);
        if (used) comma = ",";
    }
    fake_say(text, "]}");
}

static unsigned prepare(struct fake_server *server, const struct api_request *request,
                        struct fake_text *text)
{
    struct json body, disks, disk;
    struct fake_set set = {.state = "prepared"};
    bool is_dry = strstr(request->body, "\"dry_run\":true") != NULL;
    bool ok = json_parse(request->body, strlen(request->body), &body) &&
              (is_dry || json_text_member(body, "uuid", set.id, sizeof set.id)) &&
              json_member(body, "disks", &disks);
    check(ok);
    set.is_full = strstr(request->body, "\"full\":true") != NULL;
    if (server->is_full || (set.is_full && server->has_no_room_for_copies))
        return fake_refuse(text, 507, "POOL_FULL");
    for (size_t at = 0; json_next(disks, &at, &disk);) {
        char id[IDENTITY_ID_TEXT], serial[33], wanted[IDENTITY_ID_TEXT];
        ok = json_text(disk, id, sizeof id);
        check(ok && set.disk_count < FAKE_DISKS);
        unsigned n = 0;
        for (; n < FAKE_DISKS; n++) {
            disk_serial(n, serial);
            fake_dashed(serial, wanted);
            if (strcmp(id, wanted) == 0) break;
        }
        if (n == FAKE_DISKS) return fake_refuse(text, 404, "NOT_FOUND");
        set.disks[set.disk_count++] = n;
    }
    if (is_dry) {
        fake_say(text, "{\"dry_run\":true,\"would\":[]}");
        return 200;
    }
    if (!fake_find_set(server, set.id)) server->sets[server->set_count++] = set;
    say_set(server, text, (unsigned)(fake_find_set(server, set.id) - server->sets));
    return 200;
}

/* All snapshots of a set appear at the host, or none does. */
static void import_or_mask(struct fake_server *server, unsigned set, bool is_import)
{
    for (unsigned d = 0; d < server->sets[set].disk_count; d++) {
        char serial[33], id[IDENTITY_ID_TEXT];
        unsigned slot = FAKE_MAPS;
        snapshot_serial(set, server->sets[set].disks[d], serial);
        fake_dashed(serial, id);
        for (unsigned i = FAKE_MAPS; i-- > 0;) {
            if (strcmp(server->maps[i], id) == 0) {
                server->maps[i][0] = '\0';
                slot = i;
                break;
            }
            if (!server->maps[i][0]) slot = i;
        }
        if (!is_import || server->sets[set].snapshot_gone[d]) continue;
        check(slot < FAKE_MAPS);
        memcpy(server->maps[slot], id, sizeof id);
    }
}

static unsigned move(struct fake_server *server, const char *path, struct fake_text *text)
{
    char id[PROVIDER_ID_TEXT];
    snprintf(id, sizeof id, "%.36s", path + strlen("/v1/sets/"));
    struct fake_set *set = fake_find_set(server, id);
    const char *verb = strrchr(path, '/') + 1;
    if (!set) return fake_refuse(text, 404, "NOT_FOUND");
    if (strcmp(verb, id) == 0) { /* GET */
        say_set(server, text, (unsigned)(set - server->sets));
        return 200;
    }
    server->renewals += strcmp(verb, "renew") == 0;
    const char *next = fake_set_next(set->state, verb);
    if (!next) return fake_refuse(text, 409, "CONFLICT");
    bool is_import = strcmp(verb, "import") == 0;
    if (is_import || strcmp(verb, "mask") == 0)
        import_or_mask(server, (unsigned)(set - server->sets), is_import);
    snprintf(set->state, sizeof set->state, "%s", next);
    say_set(server, text, (unsigned)(set - server->sets));
    return 200;
}

/* The snapshot with this id: where its set keeps its end. */
static bool *find_snapshot(struct fake_server *server, const char *id, unsigned *ret_set)
{
    for (unsigned s = 0; s < server->set_count; s++) {
        for (unsigned d = 0; d < server->sets[s].disk_count; d++) {
            char serial[33], wanted[IDENTITY_ID_TEXT];
            snapshot_serial(s, server->sets[s].disks[d], serial);
            fake_dashed(serial, wanted);
            *ret_set = s;
            if (strcmp(wanted, id) == 0) return &server->sets[s].snapshot_gone[d];
        }
    }
    return NULL;
}

/* Its LUN goes away from the host that asks; a test says whether another one has it too. */
static unsigned delete_snapshot(struct fake_server *server, const struct api_request *request,
                                struct fake_text *text)
{
    const char *id = request->path + strlen("/v1/snapshots/");
    struct json body;
    char host[64];
    bool ok = request->body && json_parse(request->body, strlen(request->body), &body) &&
              json_text_member(body, "unmap_host", host, sizeof host) &&
              strcmp(host, server->config.host) == 0;
    check(ok);
    if (server->is_served_elsewhere) return fake_refuse(text, 409, "IN_USE");
    for (unsigned i = 0; i < FAKE_MAPS; i++)
        if (strcmp(server->maps[i], id) == 0) server->maps[i][0] = '\0';
    fake_say(text, "{}");
    return 200;
}

static unsigned snapshot(struct fake_server *server, const struct api_request *request,
                         struct fake_text *text)
{
    unsigned set;
    bool *gone = find_snapshot(server, request->path + strlen("/v1/snapshots/"), &set);
    if (!gone || *gone) return fake_refuse(text, 404, "NOT_FOUND");
    if (strcmp(request->method, "DELETE") == 0) {
        unsigned http = delete_snapshot(server, request, text);
        *gone = http == 200;
        return http;
    }
    char disk[33], disk_id[IDENTITY_ID_TEXT];
    disk_serial(server->sets[set].disks[gone - server->sets[set].snapshot_gone], disk);
    fake_dashed(disk, disk_id);
    fake_say(text, "{\"set_uuid\":\"%s\",\"disk_uuid\":\"%s\"}", server->sets[set].id, disk_id);
    return 200;
}

/* revert answers at once, replace with a job. */
static unsigned change_disk(struct fake_server *server, const struct api_request *request,
                            struct fake_text *text)
{
    bool is_revert = strstr(request->path, "/revert") != NULL;
    check(strstr(request->body, "\"resync\":true") &&
          strstr(request->body, "\"keep_vss_flags\":true"));
    if (strstr(request->body, "\"dry_run\":true")) {
        server->tries++;
        fake_say(text, "{\"dry_run\":true,\"would\":[]}");
        return 200;
    }
    server->reverts += is_revert;
    server->replaces += !is_revert;
    fake_say(text,
             is_revert ? "{\"name\":\"d\"}" : "{\"job\":{\"id\":\"j-%u\",\"state\":\"running\"}}",
             server->replaces);
    return is_revert ? 200 : 202;
}

static unsigned job(struct fake_server *server, const struct api_request *request,
                    struct fake_text *text)
{
    if (strstr(request->path, "/cancel")) {
        server->cancels++;
        server->job_state = "failed";
        server->job_status = "CANCELLED";
    }
    fake_say(text, "{\"state\":\"%s\",\"error\":", server->job_state);
    if (strcmp(server->job_state, "failed") == 0)
        fake_say(text, "{\"status\":\"%s\",\"message\":\"a reason\"}}", server->job_status);
    else
        fake_say(text, "null}");
    return 200;
}

static unsigned answer(struct fake_server *server, const struct api_request *request,
                       struct fake_text *text)
{
    const char *path = request->path;
    bool is_get = strcmp(request->method, "GET") == 0;
    if (server->fail && strstr(path, server->fail))
        return fake_refuse(text, server->fail_http, server->fail_status);
    if (strcmp(path, "/v1/maps") == 0 && is_get) {
        say_maps(server, text);
    } else if (strncmp(path, "/v1/hosts/", 10) == 0) {
        fake_say(text, "{\"session_count\":%u}", server->session_count);
    } else if (strcmp(path, "/v1/sets") == 0 && is_get) {
        fake_say(text, "{\"sets\":[");
        for (unsigned i = 0; i < server->set_count; i++) {
            if (i) fake_say(text, ",");
            say_set(server, text, i);
        }
        fake_say(text, "]}");
    } else if (strcmp(path, "/v1/sets") == 0) {
        return prepare(server, request, text);
    } else if (strncmp(path, "/v1/sets/", 9) == 0) {
        return move(server, path, text);
    } else if (strncmp(path, "/v1/disks/", 10) == 0) {
        return change_disk(server, request, text);
    } else if (strncmp(path, "/v1/jobs/", 9) == 0) {
        return job(server, request, text);
    } else if (strncmp(path, "/v1/snapshots/", 14) == 0) {
        return snapshot(server, request, text);
    } else {
        return fake_refuse(text, 404, "NOT_FOUND");
    }
    return 200;
}

static void exchange(struct transport *t, const struct api_request *request,
                     struct api_reply *ret_reply)
{
    struct fake_server *server = server_of(t);
    server->requests++;
    server->was_locked |= server->lock_depth != 0;
    snprintf(server->last_path, sizeof server->last_path, "%s", request->path);
    snprintf(server->last_body, sizeof server->last_body, "%s", request->body ? request->body : "");
    if (server->before) server->before(server, request);
    *ret_reply = (struct api_reply){0};
    if (server->is_away) return;
    struct fake_text text = fake_text_create(65536);
    ret_reply->http = answer(server, request, &text);
    ret_reply->body = text.at;
    ret_reply->size = text.used;
}

static bool commit_open(struct transport *t, const struct api_request *request)
{
    struct fake_server *server = server_of(t);
    snprintf(server->commit_path, sizeof server->commit_path, "%s", request->path);
    server->commit_is_open = !server->is_away;
    return server->commit_is_open;
}

static unsigned commit_send(struct transport *t)
{
    struct fake_server *server = server_of(t);
    struct fake_text text = fake_text_create(65536);
    check(server->commit_is_open);
    server->commits++;
    unsigned http = 0;
    if (!server->is_away) {
        http = server->fail && strstr(server->commit_path, server->fail)
                   ? server->fail_http
                   : move(server, server->commit_path, &text);
    }
    free(text.at);
    return http;
}

static void commit_close(struct transport *t)
{
    server_of(t)->commit_is_open = false;
}

static void interrupt(struct transport *t)
{
    server_of(t)->interrupts++;
}

static void chance(struct fake_server *server)
{
    if (server->beside && server->lock_depth + server->telling_depth == 0) server->beside(server);
}

static void os_lock(struct provider_os *os)
{
    check(server_of_os(os)->lock_depth++ == 0);
}

static void os_unlock(struct provider_os *os)
{
    check(--server_of_os(os)->lock_depth == 0);
    chance(server_of_os(os));
}

/* Outside of the other one: who has that does not wait for an event. */
static void os_lock_telling(struct provider_os *os)
{
    check(server_of_os(os)->lock_depth == 0);
    check(server_of_os(os)->telling_depth++ == 0);
}

static void os_unlock_telling(struct provider_os *os)
{
    check(server_of_os(os)->lock_depth == 0);
    check(--server_of_os(os)->telling_depth == 0);
    chance(server_of_os(os));
}

static uint64_t os_now(struct provider_os *os)
{
    return server_of_os(os)->now_ms;
}

/* Vetoes, and what is told besides. */
static void os_event(struct provider_os *os, const struct event *event)
{
    struct fake_server *server = server_of_os(os);
    bool is_veto = event_kind(event->id)->severity == EVENT_ERROR;
    server->held_events += server->is_held;
    if (is_veto)
        server->events++;
    else
        server->notes++;
    event_text(event, is_veto ? server->last_event : server->last_note);
}

void fake_init(struct fake_server *server)
{
    *server = (struct fake_server){
        .transport = {exchange, commit_open, commit_send, commit_close, interrupt},
        .os = {rig_memory, os_lock, os_unlock, os_now, os_event, os_lock_telling,
               os_unlock_telling},
        .config = {.host = "sql 1"},
        .now_ms = 1000000,
        .session_count = 1,
        .job_state = "running",
        .host_disks = FAKE_DISKS,
    };
}
