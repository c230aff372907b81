/* session.c - one IVssBackupComponents: what it knows, and what it was asked to do wrong. */
#include <stdarg.h>
#include <stdio.h>

#include "windows/standin/coordinator_int.h"

/* ---- GUIDs as text --------------------------------------------------------------------------- */

const char *guid_format(const GUID *id, char text[GUID_TEXT_MAX])
{
    const uint8_t *d = id->Data4;
    snprintf(text, GUID_TEXT_MAX, "%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             (unsigned long)id->Data1, (unsigned)id->Data2, (unsigned)id->Data3, (unsigned)d[0],
             (unsigned)d[1], (unsigned)d[2], (unsigned)d[3], (unsigned)d[4], (unsigned)d[5],
             (unsigned)d[6], (unsigned)d[7]);
    return text;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool guid_parse(const char *text, GUID *ret_id)
{
    uint8_t b[16];
    bool has_brace = *text == '{';
    text += has_brace;
    for (unsigned i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-') return false;
        int high = hex_value(text[0]), low = high < 0 ? -1 : hex_value(text[1]);
        if (low < 0) return false;
        b[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (has_brace && *text++ != '}') return false;
    if (*text != '\0') return false;
    *ret_id = (GUID){(uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3],
                     (uint16_t)(b[4] << 8 | b[5]),
                     (uint16_t)(b[6] << 8 | b[7]),
                     {b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]}};
    return true;
}

bool guid_same(const GUID *a, const GUID *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool guid_is_null(const GUID *id)
{
    static const GUID null;
    return guid_same(id, &null);
}

/* ---- Rules, faults, chance ------------------------------------------------------------------- */

static const struct {
    const char *name, *text, *page;
} rules[] = {
#define RULE(name, text, page) {#name, text, page},
#include "windows/standin/rules.def"
#undef RULE
};

/* The first one is the cause of the others. */
void rule_broken(struct coordinator *c, enum rule rule, const char *format, ...)
{
    char what[WHAT_MAX], line[2 * WHAT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(line, sizeof line, "RULE %s: %s: %s (%s)", rules[rule].name, what, rules[rule].text,
             rules[rule].page);
    c->seams.host->say(c->seams.host, line);
    if (c->broken_rule) return;
    c->broken_rule = rules[rule].name;
    memcpy(c->broken_what, what, sizeof what);
}

const char *coordinator_broken_rule(const struct coordinator *c, const char **ret_what)
{
    if (ret_what) *ret_what = c->broken_what;
    return c->broken_rule;
}

/* splitmix64 */
unsigned draw(struct coordinator *c, unsigned choices)
{
    if (c->seams.order_seed == 0) return 0;
    uint64_t z = c->draw_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (unsigned)((z ^ z >> 31) % choices);
}

void coordinator_set_fault(struct coordinator *c, enum coordinator_fault fault, const char *step)
{
    c->fault = fault;
    snprintf(c->fault_step, sizeof c->fault_step, "%s", step ? step : "");
}

bool fault_at(const struct coordinator *c, enum coordinator_fault fault, const char *step)
{
    return c->fault_step[0] && c->fault == fault && strcmp(c->fault_step, step) == 0;
}

uint64_t now_ms(struct coordinator *c)
{
    return c->seams.host->now_ms(c->seams.host);
}

/* ---- Sets ------------------------------------------------------------------------------------ */

struct snapshot_set *set_create(void)
{
    return calloc(1, sizeof(struct snapshot_set));
}

void set_destroy(struct si_memory *memory, struct snapshot_set *set)
{
    if (!set) return;
    for (unsigned i = 0; i < set->lun_count; i++) {
        record_free(memory, &set->luns[i].source);
        record_free(memory, &set->luns[i].target);
    }
    free(set);
}

static void set_name(const VSS_ID *set, char name[SI_NAME_MAX])
{
    char text[GUID_TEXT_MAX];
    snprintf(name, SI_NAME_MAX, "set-%s", guid_format(set, text));
}

bool host_save_set(struct coordinator *c, const struct snapshot_set *set)
{
    char name[SI_NAME_MAX];
    set_name(&set->id, name);
    char *text = document_write(set);
    bool ok = text && c->seams.host->save(c->seams.host, name, text);
    free(text);
    return ok;
}

void host_forget_set(struct coordinator *c, const VSS_ID *set)
{
    char name[SI_NAME_MAX];
    set_name(set, name);
    c->seams.host->save(c->seams.host, name, NULL);
}

struct snapshot_set *host_load_set(struct coordinator *c, const VSS_ID *set)
{
    char name[SI_NAME_MAX];
    set_name(set, name);
    char *text = c->seams.host->load(c->seams.host, name);
    struct snapshot_set *found = text ? document_read(c->seams.memory, text) : NULL;
    free(text);
    return found;
}

unsigned host_list_sets(struct coordinator *c, VSS_ID ret[HOST_SETS_MAX])
{
    char(*names)[SI_NAME_MAX] = calloc(HOST_SETS_MAX, SI_NAME_MAX);
    unsigned count = 0;
    if (!names) return 0;
    unsigned all = c->seams.host->list(c->seams.host, names, HOST_SETS_MAX);
    for (unsigned i = 0; i < all && i < HOST_SETS_MAX; i++)
        if (strncmp(names[i], "set-", 4) == 0 && guid_parse(names[i] + 4, &ret[count])) count++;
    free(names);
    return count;
}

/* ---- The session ----------------------------------------------------------------------------- */

int coordinator_create(const struct coordinator_seams *seams, struct coordinator **ret)
{
    struct si_registered registered[SI_PROVIDERS_MAX];
    struct coordinator *c = calloc(1, sizeof *c);
    if (!c) return -1;
    c->seams = *seams;
    c->draw_state = seams->order_seed;
    unsigned count = seams->registry->list(seams->registry, registered);
    for (unsigned i = 0; i < count && i < SI_PROVIDERS_MAX; i++)
        if (registered[i].type == VSS_PROV_HARDWARE)
            c->slots[c->slot_count++].registered = registered[i];
    *ret = c;
    return 0;
}

/* Auto-release: what this session made, and nobody kept. */
static void delete_volatile(struct coordinator *c)
{
    for (unsigned i = 0; i < c->volatile_count && !c->is_dead; i++) {
        LONG deleted;
        VSS_ID not_deleted;
        coordinator_delete(c, &c->volatile_sets[i], true, &deleted, &not_deleted);
    }
}

void coordinator_destroy(struct coordinator *c)
{
    if (!c) return;
    delete_volatile(c);
    for (unsigned i = 0; i < c->slot_count; i++)
        slot_unload(c, &c->slots[i]);
    set_destroy(c->seams.memory, c->set);
    set_destroy(c->seams.memory, c->document);
    disks_forget(c, &c->disks);
    disks_forget(c, &c->before);
    free(c);
}

void coordinator_set_context(struct coordinator *c, LONG context)
{
    c->context = context;
}

char *coordinator_save_document(struct coordinator *c)
{
    const struct snapshot_set *set = c->set && !c->is_set_open ? c->set : c->document;
    return set ? document_write(set) : NULL;
}

HRESULT coordinator_load_document(struct coordinator *c, const char *xml)
{
    struct snapshot_set *set = document_read(c->seams.memory, xml);
    if (!set) return VSS_E_INVALID_XML_DOCUMENT;
    set_destroy(c->seams.memory, c->document);
    c->document = set;
    c->recovery_count = 0;
    return S_OK;
}

/* ---- What there is --------------------------------------------------------------------------- */

static void describe(struct coordinator *c, const struct snapshot_set *set, unsigned n,
                     struct coordinator_snapshot *ret)
{
    const struct set_snapshot *s = &set->snapshots[n];
    *ret = (struct coordinator_snapshot){
        .id = s->id,
        .set = set->id,
        .provider = s->provider,
        .set_count = set->snapshot_count,
        .attributes = s->attributes | (set->is_imported ? VSS_VOLSNAP_ATTR_IMPORTED : 0),
        .created_filetime = set->created_filetime,
        .lun = UINT32_MAX,
    };
    memcpy(ret->volume, s->volume, sizeof ret->volume);
    memcpy(ret->device, s->device, sizeof ret->device);
    memcpy(ret->origin, set->computer, sizeof ret->origin);
    for (unsigned e = set->extent_count; e-- > 0;) {
        if (set->extents[e].snapshot != n) continue;
        unsigned seen = disks_find(&c->disks, &set->luns[set->extents[e].lun].target);
        ret->lun = seen == UINT32_MAX ? UINT32_MAX : c->disks.at[seen]->disk.lun;
        ret->first_lba = set->extents[e].first_lba;
        ret->block_count = set->extents[e].block_count;
    }
}

unsigned coordinator_query(struct coordinator *c, struct coordinator_snapshot *ret, unsigned max)
{
    VSS_ID ids[HOST_SETS_MAX];
    unsigned count = host_list_sets(c, ids), found = 0;
    disks_rescan(c);
    for (unsigned i = 0; i < count; i++) {
        struct snapshot_set *set = host_load_set(c, &ids[i]);
        for (unsigned n = 0; set && n < set->snapshot_count && found < max; n++)
            if (!set->snapshots[n].is_gone) describe(c, set, n, &ret[found++]);
        set_destroy(c->seams.memory, set);
    }
    return found;
}

unsigned coordinator_volumes(struct coordinator *c, char ret_names[][SI_NAME_MAX], unsigned max)
{
    if (!disks_rescan(c)) return 0;
    return volume_list(c, ret_names, max);
}
