#include "tests/unit/standin_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/endian.h"

/* ---- LUNs ------------------------------------------------------------------------------------ */

void world_lun_free(struct world_lun *lun)
{
    free(lun->data);
    lun->data = NULL;
    lun->is_gone = true;
}

void world_serve(struct world *w, unsigned host, unsigned lun)
{
    for (unsigned i = 0; i < WORLD_MAPS_MAX; i++) {
        if (w->maps[i].is_used) continue;
        w->maps[i] = (struct world_map){true, host, ++w->next_number[host], lun};
        return;
    }
    unreachable("more maps than the world has");
}

void world_unserve(struct world *w, unsigned host, unsigned lun)
{
    for (unsigned i = 0; i < WORLD_MAPS_MAX; i++)
        if (w->maps[i].is_used && w->maps[i].lun == lun && w->maps[i].host == host)
            w->maps[i].is_used = false;
}

bool world_is_served(const struct world *w, unsigned host, unsigned lun)
{
    for (unsigned i = 0; i < WORLD_MAPS_MAX; i++)
        if (w->maps[i].is_used && w->maps[i].lun == lun && w->maps[i].host == host) return true;
    return false;
}

unsigned world_lun_of_number(const struct world *w, unsigned host, unsigned number)
{
    for (unsigned i = 0; i < WORLD_MAPS_MAX; i++)
        if (w->maps[i].is_used && w->maps[i].host == host && w->maps[i].number == number)
            return w->maps[i].lun;
    return UINT32_MAX;
}

unsigned world_snapshot_count(const struct world *w)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->lun_count; i++)
        count += w->luns[i].is_snapshot && !w->luns[i].is_gone;
    return count;
}

unsigned world_open_set_count(const struct world *w)
{
    static const char *const open[] = {"prepared", "armed", "committed", "confirmed"};
    unsigned count = 0;
    for (unsigned i = 0; i < w->set_count; i++)
        for (unsigned j = 0; j < sizeof open / sizeof *open; j++)
            count += strcmp(w->sets[i].state, open[j]) == 0;
    return count;
}

static uint64_t volume_offset(unsigned volume)
{
    return (uint64_t)(WORLD_FIRST_LBA + volume * WORLD_VOLUME_BLOCKS) * WORLD_BLOCK;
}

uint64_t world_number_of(const struct world *w, unsigned lun, unsigned volume)
{
    return load_le64(w->luns[lun].data + volume_offset(volume));
}

void world_write_number(struct world *w)
{
    w->number++;
    for (unsigned i = 0; i < w->lun_count; i++)
        for (unsigned v = 0; !w->luns[i].is_snapshot && v < w->luns[i].volume_count; v++)
            store_le64(w->luns[i].data + volume_offset(v), w->number);
}

/* ---- Partition tables ------------------------------------------------------------------------ */

static uint32_t crc32_of(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

/* Fewer entries than Windows makes: checksums are most of what these tests do. */
enum { ENTRIES = 32, ENTRY_BYTES = 128, TABLE_BLOCKS = ENTRIES * ENTRY_BYTES / WORLD_BLOCK };

/* UEFI 5.3.2 */
static void put_header(struct world_lun *lun, uint64_t at, uint64_t other, uint64_t entries,
                       unsigned disk)
{
    uint8_t *h = lun->data + at * WORLD_BLOCK;
    memcpy(h, "EFI PART", 8);
    store_le32(h + 8, 0x10000);
    store_le32(h + 12, 92);
    store_le64(h + 24, at);
    store_le64(h + 32, other);
    store_le64(h + 40, 2 + TABLE_BLOCKS);
    store_le64(h + 48, lun->block_count - TABLE_BLOCKS - 2);
    memset(h + 56, 0xD1, 16);
    store_le32(h + 56, disk);
    store_le64(h + 72, entries);
    store_le32(h + 80, ENTRIES);
    store_le32(h + 84, ENTRY_BYTES);
    store_le32(h + 88, crc32_of(lun->data + entries * WORLD_BLOCK, ENTRIES * ENTRY_BYTES));
    store_le32(h + 16, crc32_of(h, 92));
}

static void put_entry(uint8_t *entry, unsigned disk, unsigned volume, const char *name)
{
    static const uint8_t basic_data[16] = {0xA2, 0xA0, 0xD0, 0xEB, 0xE5, 0xB9, 0x33, 0x44,
                                           0x87, 0xC0, 0x68, 0xB6, 0xB7, 0x26, 0x99, 0xC7};
    uint64_t first = WORLD_FIRST_LBA + (uint64_t)volume * WORLD_VOLUME_BLOCKS;
    memcpy(entry, basic_data, 16);
    memset(entry + 16, 0xE2, 16);
    store_le32(entry + 16, disk);
    store_le32(entry + 20, volume);
    store_le64(entry + 32, first);
    store_le64(entry + 40, first + WORLD_VOLUME_BLOCKS - 1);
    for (unsigned i = 0; name && name[i]; i++)
        entry[56 + 2 * i] = (uint8_t)name[i];
}

static unsigned add_disk(struct world *w, unsigned host, uint64_t blocks, unsigned volumes,
                         const char *span)
{
    check(w->lun_count < WORLD_LUNS_MAX &&
          WORLD_FIRST_LBA + volumes * WORLD_VOLUME_BLOCKS + TABLE_BLOCKS + 1 <= blocks);
    unsigned n = w->lun_count++;
    struct world_lun *lun = &w->luns[n];
    *lun = (struct world_lun){
        .data = calloc(blocks, WORLD_BLOCK), .block_count = blocks, .volume_count = volumes};
    check(lun->data != NULL);
    snprintf(lun->serial, sizeof lun->serial, "d%031x", n);
    uint64_t backup = blocks - 1 - TABLE_BLOCKS;
    for (unsigned v = 0; v < volumes; v++)
        put_entry(lun->data + 2 * WORLD_BLOCK + (size_t)v * ENTRY_BYTES, n, v, span);
    memcpy(lun->data + backup * WORLD_BLOCK, lun->data + 2 * WORLD_BLOCK, ENTRIES * ENTRY_BYTES);
    uint8_t *mbr = lun->data + 446; /* the protective MBR, UEFI 5.2.3 */
    mbr[4] = 0xEE;
    store_le32(mbr + 8, 1);
    store_le32(mbr + 12, (uint32_t)blocks - 1);
    lun->data[510] = 0x55;
    lun->data[511] = 0xAA;
    put_header(lun, 1, blocks - 1, 2, n);
    put_header(lun, blocks - 1, 1, backup, n);
    world_serve(w, host, n);
    return n;
}

unsigned world_add_disk(struct world *w, unsigned host, uint64_t blocks, unsigned volumes)
{
    return add_disk(w, host, blocks, volumes, NULL);
}

unsigned world_add_span_disk(struct world *w, unsigned host, uint64_t blocks, const char *span)
{
    return add_disk(w, host, blocks, 1, span);
}

/* ---- The machine ----------------------------------------------------------------------------- */

#define HOST_OF(member_pointer, member)                                                            \
    ((struct world_host *)(void *)((char *)(member_pointer)-offsetof(struct world_host, member)))

static uint8_t *put_designator(uint8_t *d, uint8_t code_set, uint8_t type, const void *bytes,
                               size_t size)
{
    d[0] = code_set;
    d[1] = type;
    d[3] = (uint8_t)size;
    memcpy(d + 4, bytes, size);
    return d + 4 + size;
}

static void describe(const struct world_lun *lun, unsigned number, struct si_disk *ret)
{
    char t10[57], name[24] = {0};
    uint8_t naa[8], *at = ret->id_page + 4;
    *ret = (struct si_disk){.handle = number, .lun = number, .block_bytes = WORLD_BLOCK};
    ret->block_count = lun->block_count;
    memset(ret->inquiry + 8, ' ', 28);
    memcpy(ret->inquiry + 8, lun->is_foreign ? "ACME" : "TARN", 4);
    memcpy(ret->inquiry + 16, "VIRTUAL DISK", 12);
    memcpy(ret->inquiry + 32, "0001", 4);
    ret->inquiry[4] = 31;
    ret->inquiry[7] = 2;
    ret->inquiry_size = 36;
    ret->serial_page[1] = 0x80;
    store_be16(ret->serial_page + 2, 32);
    memcpy(ret->serial_page + 4, lun->serial, 32);
    ret->serial_page_size = 36;
    /* 3a and the last 14 digits of the serial number, as the server says it. */
    snprintf(name, sizeof name, "naa.3a%s", lun->serial + 18);
    for (unsigned i = 0; i < 8; i++) {
        unsigned byte = 0;
        for (unsigned j = 0; j < 2; j++) {
            char c = name[4 + 2 * i + j];
            byte = byte * 16 + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        naa[i] = (uint8_t)byte;
    }
    at = put_designator(at, 1, 3, naa, sizeof naa);
    snprintf(t10, sizeof t10, "%-8s%-16s%s", lun->is_foreign ? "ACME" : "TARN", "VIRTUAL DISK",
             lun->serial);
    at = put_designator(at, 2, 1, t10, 56);
    at = put_designator(at, 3, 8, name, sizeof name);
    at = put_designator(at, 1, 0x14, "\0\0\0\1", 4); /* of the port */
    ret->id_page[1] = 0x83;
    store_be16(ret->id_page + 2, (uint16_t)(at - ret->id_page - 4));
    ret->id_page_size = (uint16_t)(at - ret->id_page);
}

static unsigned rescan(struct si_machine *m, struct si_disk ret[SI_DISKS_MAX])
{
    struct world_host *host = HOST_OF(m, machine);
    struct world *w = host->world;
    unsigned count = 0;
    for (unsigned i = 0; i < WORLD_MAPS_MAX && count < SI_DISKS_MAX; i++)
        if (w->maps[i].is_used && w->maps[i].host == host->index)
            describe(&w->luns[w->maps[i].lun], w->maps[i].number, &ret[count++]);
    return count;
}

static struct world_lun *lun_at(struct si_machine *m, unsigned handle, uint64_t lba,
                                uint32_t blocks)
{
    struct world_host *host = HOST_OF(m, machine);
    unsigned lun = world_lun_of_number(host->world, host->index, handle);
    if (lun == UINT32_MAX) return NULL;
    check(lba + blocks <= host->world->luns[lun].block_count);
    return &host->world->luns[lun];
}

static enum si_io read_blocks(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                              void *ret_data)
{
    const struct world_lun *lun = lun_at(m, handle, lba, blocks);
    if (!lun) return SI_IO_GONE;
    memcpy(ret_data, lun->data + lba * WORLD_BLOCK, (size_t)blocks * WORLD_BLOCK);
    return SI_IO_OK;
}

static enum si_io write_blocks(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                               const void *data)
{
    struct world_lun *lun = lun_at(m, handle, lba, blocks);
    if (!lun) return SI_IO_GONE;
    if (lun->is_write_protected) return SI_IO_DATA_PROTECT;
    if (lun->is_reserved) return SI_IO_RESERVATION_CONFLICT;
    memcpy(lun->data + lba * WORLD_BLOCK, data, (size_t)blocks * WORLD_BLOCK);
    return SI_IO_OK;
}

static enum si_io flush(struct si_machine *m, unsigned handle)
{
    return lun_at(m, handle, 0, 0) ? SI_IO_OK : SI_IO_GONE;
}

/* ---- The host -------------------------------------------------------------------------------- */

static uint64_t host_now(struct si_host *h)
{
    return HOST_OF(h, host)->world->now_ms;
}

static void host_guid(struct si_host *h, GUID *ret)
{
    struct world *w = HOST_OF(h, host)->world;
    *ret = (GUID){(uint32_t)++w->guid_count, 0x4711, (uint16_t)(w->seed & 0xFFFF), {0xC, 0, 0xF}};
}

static bool freeze(struct si_host *h)
{
    world_write_number(HOST_OF(h, host)->world);
    return !HOST_OF(h, host)->are_writers_stubborn;
}

static void hold(struct si_host *h)
{
    struct world *w = HOST_OF(h, host)->world;
    world_write_number(w);
    w->number_at_hold = w->number;
}

static void release_or_thaw(struct si_host *h)
{
    world_write_number(HOST_OF(h, host)->world);
}

static char *load_text(struct si_host *h, const char *name)
{
    struct world_host *host = HOST_OF(h, host);
    for (unsigned i = 0; i < WORLD_TEXTS_MAX; i++)
        if (host->texts[i].text && strcmp(host->texts[i].name, name) == 0)
            return strdup(host->texts[i].text);
    return NULL;
}

static bool save_text(struct si_host *h, const char *name, const char *text)
{
    struct world_host *host = HOST_OF(h, host);
    unsigned slot = WORLD_TEXTS_MAX;
    for (unsigned i = WORLD_TEXTS_MAX; i-- > 0;) {
        if (!host->texts[i].text) slot = i;
        if (!host->texts[i].text || strcmp(host->texts[i].name, name) != 0) continue;
        free(host->texts[i].text);
        host->texts[i].text = NULL;
        slot = i;
        break;
    }
    if (!text) return true;
    check(slot < WORLD_TEXTS_MAX);
    snprintf(host->texts[slot].name, SI_NAME_MAX, "%s", name);
    host->texts[slot].text = strdup(text);
    return true;
}

static unsigned list_texts(struct si_host *h, char ret_names[][SI_NAME_MAX], unsigned max)
{
    struct world_host *host = HOST_OF(h, host);
    unsigned count = 0;
    for (unsigned i = 0; i < WORLD_TEXTS_MAX && count < max; i++)
        if (host->texts[i].text) memcpy(ret_names[count++], host->texts[i].name, SI_NAME_MAX);
    return count;
}

static void say(struct si_host *h, const char *line)
{
    if (HOST_OF(h, host)->world->is_loud) printf("# %s %s\n", HOST_OF(h, host)->name, line);
}

static uint64_t event_count(struct si_host *h)
{
    return HOST_OF(h, host)->events;
}

static uint64_t io_count(struct si_host *h)
{
    return HOST_OF(h, host)->io;
}

/* The other thread comes in the middle of the first request; or after all, if there is none. */
static void beside(struct si_host *h, void (*first)(void *arg), void (*second)(void *arg),
                   void *arg)
{
    struct world *w = HOST_OF(h, host)->world;
    w->beside = second;
    w->beside_arg = arg;
    first(arg);
    if (!w->beside) return;
    w->beside = NULL;
    second(arg);
}

/* ---- The provider's surroundings ------------------------------------------------------------- */

static bool commit_open(struct transport *t, const struct api_request *request)
{
    struct world_host *host = HOST_OF(t, transport);
    snprintf(host->commit_path, sizeof host->commit_path, "%s", request->path);
    host->is_commit_open = !host->is_away;
    return host->is_commit_open;
}

static unsigned commit_send(struct transport *t)
{
    struct world_host *host = HOST_OF(t, transport);
    check(host->is_commit_open);
    return world_server_commit(host);
}

static void commit_close(struct transport *t)
{
    HOST_OF(t, transport)->is_commit_open = false;
}

static void interrupt(struct transport *t)
{
    (void)t;
}

static void os_lock(struct provider_os *os)
{
    check(HOST_OF(os, os)->lock_depth++ == 0);
}

static void os_unlock(struct provider_os *os)
{
    check(--HOST_OF(os, os)->lock_depth == 0);
}

static void os_lock_telling(struct provider_os *os)
{
    check(HOST_OF(os, os)->lock_depth == 0);
    check(HOST_OF(os, os)->telling_depth++ == 0);
}

static void os_unlock_telling(struct provider_os *os)
{
    check(--HOST_OF(os, os)->telling_depth == 0);
}

static uint64_t os_now(struct provider_os *os)
{
    return HOST_OF(os, os)->world->now_ms;
}

static void os_event(struct provider_os *os, const struct event *event)
{
    struct world_host *host = HOST_OF(os, os);
    host->io++;
    host->events += event_kind(event->id)->severity == EVENT_ERROR;
    event_text(event, host->last_event);
    if (host->world->is_loud) printf("# %s EVENT %s\n", host->name, host->last_event);
}

/* ---- The provider as a process --------------------------------------------------------------- */

struct world_provider *world_provider_of(struct si_provider *p)
{
    return (struct world_provider *)(void *)p;
}

static struct provider *core_of(struct si_provider *p)
{
    return &world_provider_of(p)->core;
}

static void start(struct world_provider *p)
{
    provider_init(&p->core, &p->host->os, &p->host->transport, &p->host->config);
}

static HRESULT on_load(struct si_provider *p)
{
    world_provider_of(p)->host->process_count++;
    return S_OK;
}

static HRESULT on_unload(struct si_provider *p, BOOL force)
{
    (void)force;
    provider_unload(core_of(p));
    return S_OK;
}

static HRESULT are_luns_supported(struct si_provider *p, LONG count, LONG context,
                                  VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns, BOOL *ret_supported)
{
    return provider_are_luns_supported(core_of(p), count, context, devices, luns, ret_supported);
}

static HRESULT fill_in_lun_info(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                                BOOL *ret_supported)
{
    if (world_provider_of(p)->host->is_dead)
        return (HRESULT)0x800706BA; /* RPC_S_SERVER_UNAVAILABLE */
    return provider_fill_in_lun_info(core_of(p), device, lun, ret_supported);
}

static HRESULT begin_prepare(struct si_provider *p, VSS_ID set, VSS_ID snapshot, LONG context,
                             LONG count, VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns)
{
    return provider_begin_prepare(core_of(p), set, snapshot, context, count, devices, luns);
}

static HRESULT get_target_luns(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                               VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *ret_targets)
{
    return provider_get_target_luns(core_of(p), count, devices, sources, ret_targets);
}

static HRESULT locate_luns(struct si_provider *p, LONG count, VDS_LUN_INFORMATION *luns)
{
    return provider_locate_luns(core_of(p), count, luns);
}

static HRESULT on_lun_empty(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun)
{
    return provider_on_lun_empty(core_of(p), device, lun);
}

static HRESULT on_lun_state_change(struct si_provider *p, VDS_LUN_INFORMATION *snapshots,
                                   VDS_LUN_INFORMATION *originals, DWORD count, DWORD flags)
{
    return provider_on_lun_state_change(core_of(p), snapshots, originals, count, flags);
}

static HRESULT resync_luns(struct si_provider *p, VDS_LUN_INFORMATION *sources,
                           VDS_LUN_INFORMATION *targets, DWORD count, void **ret_async)
{
    struct resync *resync = NULL;
    HRESULT result = resync_begin(core_of(p), sources, targets, count, &resync);
    *ret_async = resync;
    return result;
}

static HRESULT async_wait(struct si_provider *p, void *async, DWORD timeout_ms)
{
    if (resync_query(async) == VSS_S_ASYNC_PENDING)
        world_provider_of(p)->host->world->now_ms += timeout_ms;
    return S_OK;
}

static HRESULT async_query(struct si_provider *p, void *async, HRESULT *ret_result)
{
    (void)p;
    *ret_result = resync_query(async);
    return S_OK;
}

static HRESULT async_cancel(struct si_provider *p, void *async)
{
    (void)p;
    resync_cancel(async);
    return S_OK;
}

static void async_release(struct si_provider *p, void *async)
{
    (void)p;
    resync_destroy(async);
}

static HRESULT end_prepare(struct si_provider *p, VSS_ID set)
{
    return provider_end_prepare(core_of(p), set);
}

static HRESULT pre_commit(struct si_provider *p, VSS_ID set)
{
    return provider_pre_commit(core_of(p), set);
}

static HRESULT commit(struct si_provider *p, VSS_ID set)
{
    return provider_commit(core_of(p), set);
}

static HRESULT post_commit(struct si_provider *p, VSS_ID set, LONG snapshot_count)
{
    return provider_post_commit(core_of(p), set, snapshot_count);
}

static HRESULT pre_final_commit(struct si_provider *p, VSS_ID set)
{
    return provider_pre_final_commit(core_of(p), set);
}

static HRESULT post_final_commit(struct si_provider *p, VSS_ID set)
{
    return provider_post_final_commit(core_of(p), set);
}

static HRESULT abort_set(struct si_provider *p, VSS_ID set)
{
    return provider_abort(core_of(p), set);
}

/* All that it knew is gone; its connections break. */
static void die(struct si_provider *p)
{
    struct world_host *host = world_provider_of(p)->host;
    host->is_dead = host->does_death_last;
    host->is_commit_open = false;
    start(world_provider_of(p));
}

static void release(struct si_provider *p)
{
    free(world_provider_of(p));
}

static const struct si_provider tarn = {
    on_load,
    on_unload,
    are_luns_supported,
    fill_in_lun_info,
    begin_prepare,
    get_target_luns,
    locate_luns,
    on_lun_empty,
    on_lun_state_change,
    resync_luns,
    async_wait,
    async_query,
    async_cancel,
    async_release,
    end_prepare,
    pre_commit,
    commit,
    post_commit,
    pre_final_commit,
    post_final_commit,
    abort_set,
    die,
    release,
};

static const GUID tarn_id = {0x7A12, 1, 2, {3}};

const GUID *world_provider_id(void)
{
    return &tarn_id;
}

/* Another maker's, for other LUNs than these. */
static const GUID other_id = {0x07E4, 1, 2, {3}};

static HRESULT other_supports_none(struct si_provider *p, LONG count, LONG context,
                                   VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns,
                                   BOOL *ret_supported)
{
    (void)count, (void)context, (void)devices, (void)luns;
    world_provider_of(p)->host->world->other_asked++;
    *ret_supported = FALSE;
    return S_OK;
}

static HRESULT other_knows_none(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                                BOOL *ret_supported)
{
    (void)p, (void)device, (void)lun;
    *ret_supported = FALSE;
    return S_OK;
}

static unsigned list_providers(struct si_registry *r, struct si_registered ret[SI_PROVIDERS_MAX])
{
    unsigned count = 0;
    if (HOST_OF(r, registry)->world->has_other_provider)
        ret[count++] =
            (struct si_registered){.id = other_id, .type = VSS_PROV_HARDWARE, .name = "Other"};
    ret[count++] = (struct si_registered){.id = tarn_id, .type = VSS_PROV_HARDWARE, .name = "Tarn"};
    return count;
}

static struct si_provider *load_provider(struct si_registry *r, const struct si_registered *which)
{
    struct world_host *host = HOST_OF(r, registry);
    if (host->is_dead) return NULL;
    struct world_provider *p = calloc(1, sizeof *p);
    check(p != NULL);
    p->host = host;
    p->si = p->good = tarn;
    start(p);
    if (guid_same(&which->id, &other_id)) {
        p->si.are_luns_supported = other_supports_none;
        p->si.fill_in_lun_info = other_knows_none;
    } else if (host->world->spoil) {
        host->world->spoil(&p->si);
    }
    return &p->si;
}

/* ---- The world ------------------------------------------------------------------------------- */

static void init_host(struct world *w, unsigned index)
{
    struct world_host *host = &w->hosts[index];
    host->world = w;
    host->index = index;
    snprintf(host->name, sizeof host->name, "host%c", (char)('a' + index));
    host->transport = (struct transport){world_server_exchange, commit_open, commit_send,
                                         commit_close, interrupt};
    host->os = (struct provider_os){world_com_memory, os_lock,         os_unlock,        os_now,
                                    os_event,         os_lock_telling, os_unlock_telling};
    snprintf(host->config.host, sizeof host->config.host, "%s", host->name);
    host->machine = (struct si_machine){rescan, read_blocks, write_blocks, flush};
    host->host = (struct si_host){
        host_now,  host_guid,  freeze, hold,        release_or_thaw, release_or_thaw, load_text,
        save_text, list_texts, say,    event_count, io_count,        beside};
    host->registry = (struct si_registry){list_providers, load_provider};
}

void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){
        .memory = world_memory,
        .now_ms = 1000000,
        .seed = seed,
        .stowaway = UINT32_MAX,
    };
    for (unsigned i = 0; i < WORLD_HOSTS; i++)
        init_host(w, i);
}

void world_fini(struct world *w)
{
    for (unsigned i = 0; i < w->lun_count; i++)
        free(w->luns[i].data);
    for (unsigned h = 0; h < WORLD_HOSTS; h++)
        for (unsigned i = 0; i < WORLD_TEXTS_MAX; i++)
            free(w->hosts[h].texts[i].text);
}

struct coordinator *world_coordinator(struct world *w, unsigned host, uint64_t order_seed)
{
    struct coordinator *c;
    struct coordinator_seams seams = {
        .registry = &w->hosts[host].registry,
        .memory = &w->memory,
        .machine = &w->hosts[host].machine,
        .host = &w->hosts[host].host,
        .new_process_each_call = w->new_process_each_call,
        .order_seed = order_seed,
    };
    snprintf(seams.computer, sizeof seams.computer, "%s", w->hosts[host].name);
    int failed = coordinator_create(&seams, &c);
    check(failed == 0);
    return c;
}
