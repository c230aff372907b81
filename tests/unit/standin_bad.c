/* standin_bad.c - each provider here does one thing wrong; most of these are real bugs of providers
 * that were published or shipped. */
#include "tests/unit/standin_bad.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static const struct si_provider *good(struct si_provider *p)
{
    return &world_provider_of(p)->good;
}

static struct world_host *host_of(struct si_provider *p)
{
    return world_provider_of(p)->host;
}

static struct world *world_of(struct si_provider *p)
{
    return host_of(p)->world;
}

static void *com_alloc(struct si_provider *p, size_t size)
{
    return host_of(p)->os.memory.alloc(size);
}

static void com_free(struct si_provider *p, void *block)
{
    host_of(p)->os.memory.free(block);
}

/* ---- What a shadow copy is on the server ----------------------------------------------------- */

static void serve_snapshots(struct si_provider *p, bool also_served)
{
    struct world *w = world_of(p);
    const struct world_set *set = &w->sets[w->set_count - 1];
    for (unsigned i = 0; i < set->member_count; i++)
        if (also_served || !world_is_served(w, host_of(p)->index, set->members[i].snapshot))
            world_serve(w, host_of(p)->index, set->members[i].snapshot);
}

static void unserve_snapshots(struct si_provider *p)
{
    struct world *w = world_of(p);
    for (unsigned i = 0; i < w->lun_count; i++)
        if (w->luns[i].is_snapshot) world_unserve(w, host_of(p)->index, i);
}

static void protect_snapshots(struct si_provider *p, bool protect, bool reserve)
{
    struct world *w = world_of(p);
    for (unsigned i = 0; i < w->lun_count; i++) {
        if (!w->luns[i].is_snapshot) continue;
        w->luns[i].is_write_protected |= protect;
        w->luns[i].is_reserved |= reserve;
    }
}

/* The record of another LUN: serial number and all three identifiers, in place. */
static void retag(VDS_LUN_INFORMATION *lun, const char *serial)
{
    const VDS_STORAGE_IDENTIFIER *ids = lun->m_deviceIdDescriptor.m_rgIdentifiers;
    check(lun->m_szSerialNumber && lun->m_deviceIdDescriptor.m_cIdentifiers == 3);
    memcpy(lun->m_szSerialNumber, serial, 32);
    for (unsigned i = 1; i < 8; i++) {
        unsigned value;
        sscanf(serial + 16 + 2 * i, "%2x", &value);
        ids[0].m_rgbIdentifier[i] = (BYTE)value;
    }
    memcpy(ids[1].m_rgbIdentifier + 24, serial, 32);
    memcpy(ids[2].m_rgbIdentifier + 6, serial + 18, 14);
}

/* ---- Memory and arguments -------------------------------------------------------------------- */

static HRESULT supported_without_interconnects(struct si_provider *p, LONG count, LONG context,
                                               VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns,
                                               BOOL *ret_supported)
{
    for (ULONG i = 0; i < luns->m_cInterconnects; i++) {
        com_free(p, luns->m_rgInterconnects[i].m_pbPort);
        com_free(p, luns->m_rgInterconnects[i].m_pbAddress);
    }
    com_free(p, luns->m_rgInterconnects);
    luns->m_rgInterconnects = NULL;
    luns->m_cInterconnects = 0;
    return good(p)->are_luns_supported(p, count, context, devices, luns, ret_supported);
}

static HRESULT supported_unwritten(struct si_provider *p, LONG count, LONG context,
                                   VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns,
                                   BOOL *ret_supported)
{
    BOOL supported;
    HRESULT result = good(p)->are_luns_supported(p, count, context, devices, luns, &supported);
    if (supported) *ret_supported = TRUE; /* and otherwise whatever was there */
    return result;
}

static HRESULT supported_whatever(struct si_provider *p, LONG count, LONG context,
                                  VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns, BOOL *ret_supported)
{
    (void)context;
    return good(p)->are_luns_supported(p, count, 0, devices, luns, ret_supported);
}

static HRESULT begin_longer(struct si_provider *p, VSS_ID set, VSS_ID snapshot, LONG context,
                            LONG count, VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns)
{
    HRESULT result = good(p)->begin_prepare(p, set, snapshot, context, count, devices, luns);
    size_t length = strlen(luns->m_szSerialNumber);
    char *longer = com_alloc(p, length + 6);
    snprintf(longer, length + 6, "%s-snap", luns->m_szSerialNumber);
    com_free(p, luns->m_szSerialNumber);
    luns->m_szSerialNumber = longer;
    return result;
}

static HRESULT fill_leaking(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                            BOOL *ret_supported)
{
    HRESULT result = good(p)->fill_in_lun_info(p, device, lun, ret_supported);
    char *copy = com_alloc(p, strlen(lun->m_szSerialNumber) + 1);
    memcpy(copy, lun->m_szSerialNumber, strlen(lun->m_szSerialNumber) + 1);
    lun->m_szSerialNumber = copy; /* and the one before? */
    return result;
}

static HRESULT targets_static(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                              VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    static char vendor[] = "TARN";
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    com_free(p, targets->m_szVendorId);
    targets->m_szVendorId = vendor;
    return result;
}

static HRESULT targets_shared(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                              VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    com_free(p, targets->m_szProductId);
    targets->m_szProductId = targets->m_szVendorId;
    return result;
}

static HRESULT targets_trimming(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                                VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    sources->m_szVendorId[4] = '\0';
    return result;
}

/* ---- Targets --------------------------------------------------------------------------------- */

/* Microsoft's sample: a random identifier at each call. */
static HRESULT targets_fresh(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                             VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    static unsigned fresh;
    char serial[33];
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    for (LONG i = 0; result == S_OK && i < count; i++) {
        snprintf(serial, sizeof serial, "ffffffffffffffffffff%012x", ++fresh);
        retag(&targets[i], serial);
    }
    return result;
}

/* Known by what Windows wrote on the disk, which is the same on the copy. */
static HRESULT targets_by_signature(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                                    VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    for (LONG i = 0; result == S_OK && i < count; i++)
        retag(&targets[i], sources[i].m_szSerialNumber);
    return result;
}

static HRESULT targets_signed(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                              VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    for (LONG i = 0; result == S_OK && i < count; i++)
        targets[i].m_diskSignature.Data1 = 0x4711;
    return result;
}

static HRESULT targets_all_one(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                               VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    for (LONG i = 0; result == S_OK && i < count; i++)
        retag(&targets[i], "500000000000000000000000000000ff");
    return result;
}

static HRESULT targets_of_another(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                                  VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    struct world *w = world_of(p);
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    if (strncmp(sources->m_szSerialNumber, w->luns[0].serial, 32) != 0) return result;
    for (unsigned i = 0; result == S_OK && i < w->lun_count; i++)
        if (!w->luns[i].is_snapshot && !w->luns[i].is_foreign && w->luns[i].volume_count == 0)
            retag(targets, w->luns[i].serial);
    return result;
}

static HRESULT targets_nothing(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                               VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    identity_clear(&host_of(p)->os.memory, targets);
    return result;
}

static HRESULT targets_nameless(struct si_provider *p, LONG count, VSS_PWSZ *devices,
                                VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets)
{
    HRESULT result = good(p)->get_target_luns(p, count, devices, sources, targets);
    VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &targets->m_deviceIdDescriptor;
    for (ULONG i = 0; i < ids->m_cIdentifiers; i++)
        com_free(p, ids->m_rgIdentifiers[i].m_rgbIdentifier);
    com_free(p, ids->m_rgIdentifiers);
    ids->m_rgIdentifiers = NULL;
    ids->m_cIdentifiers = 0;
    return result;
}

/* ---- The set --------------------------------------------------------------------------------- */

static HRESULT end_prepare_fails(struct si_provider *p, VSS_ID set)
{
    good(p)->abort(p, set);
    return HRESULT_(0x80004005u); /* E_FAIL */
}

static HRESULT end_prepare_vetoes(struct si_provider *p, VSS_ID set)
{
    good(p)->abort(p, set);
    return VSS_E_PROVIDER_VETO;
}

static HRESULT commit_vetoes(struct si_provider *p, VSS_ID set)
{
    (void)p, (void)set;
    return VSS_E_PROVIDER_VETO;
}

static HRESULT pre_commit_telling(struct si_provider *p, VSS_ID set)
{
    host_of(p)->events++;
    return good(p)->pre_commit(p, set);
}

/* Google's and Microsoft's: a log line in the middle of it. */
static HRESULT commit_logging(struct si_provider *p, VSS_ID set)
{
    host_of(p)->io++;
    return good(p)->commit(p, set);
}

/* QEMU's guest agent: waits for up to a minute. */
static HRESULT commit_waiting(struct si_provider *p, VSS_ID set)
{
    world_of(p)->now_ms += 12000;
    return good(p)->commit(p, set);
}

static HRESULT pre_commit_copying(struct si_provider *p, VSS_ID set)
{
    world_of(p)->now_ms += 61000;
    return good(p)->pre_commit(p, set);
}

static uint8_t *early[WORLD_LUNS_MAX];

static HRESULT end_prepare_cutting(struct si_provider *p, VSS_ID set)
{
    struct world *w = world_of(p);
    for (unsigned i = 0; i < w->lun_count; i++) {
        free(early[i]);
        early[i] = NULL;
        if (w->luns[i].is_snapshot) continue;
        early[i] = malloc(w->luns[i].block_count * WORLD_BLOCK);
        check(early[i] != NULL);
        memcpy(early[i], w->luns[i].data, w->luns[i].block_count * WORLD_BLOCK);
    }
    return good(p)->end_prepare(p, set);
}

/* The content is that of EndPrepareSnapshots. */
static HRESULT commit_early(struct si_provider *p, VSS_ID set)
{
    struct world *w = world_of(p);
    HRESULT result = good(p)->commit(p, set);
    const struct world_set *made = &w->sets[w->set_count - 1];
    for (unsigned i = 0; result == S_OK && i < made->member_count; i++) {
        const struct world_lun *snapshot = &w->luns[made->members[i].snapshot];
        memcpy(snapshot->data, early[made->members[i].source], snapshot->block_count * WORLD_BLOCK);
    }
    for (unsigned i = 0; i < WORLD_LUNS_MAX; i++) {
        free(early[i]);
        early[i] = NULL;
    }
    return result;
}

static HRESULT post_commit_serving(struct si_provider *p, VSS_ID set, LONG snapshot_count)
{
    HRESULT result = good(p)->post_commit(p, set, snapshot_count);
    serve_snapshots(p, false);
    return result;
}

/* Not deleted, but shown to the host. */
static HRESULT abort_serving(struct si_provider *p, VSS_ID set)
{
    (void)set;
    serve_snapshots(p, false);
    return S_OK;
}

/* Microsoft's sample does not look at the set's id. */
static HRESULT abort_all(struct si_provider *p, VSS_ID set)
{
    unserve_snapshots(p);
    return good(p)->abort(p, set);
}

static HRESULT unload_refused(struct si_provider *p, BOOL force)
{
    good(p)->on_unload(p, force);
    return S_FALSE; /* also when it is forced */
}

/* ---- Arrival --------------------------------------------------------------------------------- */

static HRESULT locate_nothing(struct si_provider *p, LONG count, VDS_LUN_INFORMATION *luns)
{
    (void)p, (void)count, (void)luns;
    return S_OK;
}

static HRESULT locate_protected(struct si_provider *p, LONG count, VDS_LUN_INFORMATION *luns)
{
    protect_snapshots(p, true, false);
    return good(p)->locate_luns(p, count, luns);
}

static HRESULT locate_reserved(struct si_provider *p, LONG count, VDS_LUN_INFORMATION *luns)
{
    protect_snapshots(p, false, true);
    return good(p)->locate_luns(p, count, luns);
}

/* A number for each call: the LUN is there twice when VSS asks again. */
static HRESULT locate_again(struct si_provider *p, LONG count, VDS_LUN_INFORMATION *luns)
{
    static uint64_t last;
    struct world *w = world_of(p);
    const struct world_set *set = &w->sets[w->set_count - 1];
    bool is_again = last == set->cut;
    last = set->cut;
    HRESULT result = good(p)->locate_luns(p, count, luns);
    if (is_again && result == S_OK) serve_snapshots(p, true);
    return result;
}

static HRESULT fill_false(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                          BOOL *ret_supported)
{
    (void)p, (void)device, (void)lun;
    *ret_supported = FALSE;
    return S_OK;
}

static HRESULT fill_failing(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                            BOOL *ret_supported)
{
    HRESULT result = good(p)->fill_in_lun_info(p, device, lun, ret_supported);
    return *ret_supported ? result : E_INVALIDARG;
}

static HRESULT fill_trimming(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                             BOOL *ret_supported)
{
    HRESULT result = good(p)->fill_in_lun_info(p, device, lun, ret_supported);
    lun->m_szVendorId[4] = '\0'; /* of every disk */
    return result;
}

static HRESULT fill_raw(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                        BOOL *ret_supported)
{
    struct lun_identity identity;
    (void)p, (void)device;
    *ret_supported = identity_read(lun, &identity); /* with all its blanks */
    return S_OK;
}

/* An own LUN that was asked about is taken away again. */
static HRESULT fill_withdrawing(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                                BOOL *ret_supported)
{
    HRESULT result = good(p)->fill_in_lun_info(p, device, lun, ret_supported);
    unserve_snapshots(p);
    return result;
}

/* ---- The end --------------------------------------------------------------------------------- */

static HRESULT empty_nothing(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun)
{
    (void)p, (void)device, (void)lun;
    return S_OK;
}

static HRESULT empty_all(struct si_provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun)
{
    unserve_snapshots(p);
    return good(p)->on_lun_empty(p, device, lun);
}

static HRESULT change_nothing(struct si_provider *p, VDS_LUN_INFORMATION *snapshots,
                              VDS_LUN_INFORMATION *originals, DWORD count, DWORD flags)
{
    if (!(flags & VSS_ONLUNSTATECHANGE_DO_MASK_LUNS))
        return good(p)->on_lun_state_change(p, snapshots, originals, count, flags);
    return S_OK;
}

static HRESULT mask_all(struct si_provider *p, VDS_LUN_INFORMATION *snapshots,
                        VDS_LUN_INFORMATION *originals, DWORD count, DWORD flags)
{
    if (flags & VSS_ONLUNSTATECHANGE_DO_MASK_LUNS) unserve_snapshots(p);
    return good(p)->on_lun_state_change(p, snapshots, originals, count, flags);
}

static HRESULT break_masking(struct si_provider *p, VDS_LUN_INFORMATION *snapshots,
                             VDS_LUN_INFORMATION *originals, DWORD count, DWORD flags)
{
    HRESULT result = good(p)->on_lun_state_change(p, snapshots, originals, count, flags);
    if (flags & VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE) unserve_snapshots(p);
    return result;
}

/* ---- Resynchronisation ----------------------------------------------------------------------- */

/* Google's: S_OK, and *ppAsync as it was. */
static HRESULT resync_without(struct si_provider *p, VDS_LUN_INFORMATION *sources,
                              VDS_LUN_INFORMATION *targets, DWORD count, void **ret_async)
{
    (void)p, (void)sources, (void)targets, (void)count, (void)ret_async;
    return S_OK;
}

static char no_async;

/* Says that it did, and did nothing. */
static HRESULT resync_nothing(struct si_provider *p, VDS_LUN_INFORMATION *sources,
                              VDS_LUN_INFORMATION *targets, DWORD count, void **ret_async)
{
    (void)p, (void)sources, (void)targets, (void)count;
    *ret_async = &no_async;
    return S_OK;
}

static HRESULT query_finished(struct si_provider *p, void *async, HRESULT *ret_result)
{
    (void)p, (void)async;
    *ret_result = VSS_S_ASYNC_FINISHED;
    return S_OK;
}

static HRESULT query_pending(struct si_provider *p, void *async, HRESULT *ret_result)
{
    (void)p, (void)async;
    *ret_result = VSS_S_ASYNC_PENDING;
    return S_OK;
}

/* Microsoft's sample: no code of an IVssAsync. */
static HRESULT query_ok(struct si_provider *p, void *async, HRESULT *ret_result)
{
    (void)p, (void)async;
    *ret_result = S_OK;
    return S_OK;
}

static HRESULT wait_nothing(struct si_provider *p, void *async, DWORD timeout_ms)
{
    (void)async;
    world_of(p)->now_ms += timeout_ms;
    return S_OK;
}

static void release_nothing(struct si_provider *p, void *async)
{
    (void)p, (void)async;
}

static void spoil_resync_nothing(struct si_provider *p)
{
    p->resync_luns = resync_nothing;
    p->async_wait = wait_nothing;
    p->async_query = query_finished;
    p->async_release = release_nothing;
}

static void spoil_resync_pending(struct si_provider *p)
{
    spoil_resync_nothing(p);
    p->async_query = query_pending;
}

static void spoil_resync_ok(struct si_provider *p)
{
    spoil_resync_nothing(p);
    p->async_query = query_ok;
}

/* The destination of the latest replacement is larger again. */
static void release_growing(struct si_provider *p, void *async)
{
    struct world *w = world_of(p);
    good(p)->async_release(p, async);
    for (unsigned i = 0; i < w->lun_count; i++) {
        struct world_lun *lun = &w->luns[i];
        if (lun->is_snapshot || lun->is_foreign || lun->volume_count == 0) continue;
        uint8_t *grown = realloc(lun->data, 2 * lun->block_count * WORLD_BLOCK);
        check(grown != NULL);
        memset(grown + lun->block_count * WORLD_BLOCK, 0, lun->block_count * WORLD_BLOCK);
        lun->data = grown;
        lun->block_count *= 2;
    }
}

/* It becomes the shadow copy, name and all. */
static void release_renaming(struct si_provider *p, void *async)
{
    struct world *w = world_of(p);
    good(p)->async_release(p, async);
    for (unsigned i = 0; i < w->lun_count; i++)
        if (!w->luns[i].is_snapshot && w->luns[i].volume_count) w->luns[i].serial[20] = 'e';
}

static void release_moving(struct si_provider *p, void *async)
{
    good(p)->async_release(p, async);
    unserve_snapshots(p);
}

/* ---- The table ------------------------------------------------------------------------------- */

#define SPOIL(name, member)                                                                        \
    static void spoil_##name(struct si_provider *p)                                                \
    {                                                                                              \
        p->member = name;                                                                          \
    }
SPOIL(supported_without_interconnects, are_luns_supported)
SPOIL(supported_unwritten, are_luns_supported)
SPOIL(supported_whatever, are_luns_supported)
SPOIL(begin_longer, begin_prepare)
SPOIL(fill_leaking, fill_in_lun_info)
SPOIL(fill_false, fill_in_lun_info)
SPOIL(fill_failing, fill_in_lun_info)
SPOIL(fill_trimming, fill_in_lun_info)
SPOIL(fill_raw, fill_in_lun_info)
SPOIL(fill_withdrawing, fill_in_lun_info)
SPOIL(targets_static, get_target_luns)
SPOIL(targets_shared, get_target_luns)
SPOIL(targets_trimming, get_target_luns)
SPOIL(targets_fresh, get_target_luns)
SPOIL(targets_by_signature, get_target_luns)
SPOIL(targets_signed, get_target_luns)
SPOIL(targets_all_one, get_target_luns)
SPOIL(targets_of_another, get_target_luns)
SPOIL(targets_nothing, get_target_luns)
SPOIL(targets_nameless, get_target_luns)
SPOIL(end_prepare_fails, end_prepare)
SPOIL(end_prepare_vetoes, end_prepare)
SPOIL(commit_vetoes, commit)
SPOIL(pre_commit_telling, pre_commit)
SPOIL(commit_logging, commit)
SPOIL(commit_waiting, commit)
SPOIL(pre_commit_copying, pre_commit)
SPOIL(post_commit_serving, post_commit)
SPOIL(abort_all, abort)
SPOIL(abort_serving, abort)
SPOIL(unload_refused, on_unload)
SPOIL(locate_nothing, locate_luns)
SPOIL(locate_protected, locate_luns)
SPOIL(locate_reserved, locate_luns)
SPOIL(locate_again, locate_luns)
SPOIL(empty_nothing, on_lun_empty)
SPOIL(empty_all, on_lun_empty)
SPOIL(change_nothing, on_lun_state_change)
SPOIL(mask_all, on_lun_state_change)
SPOIL(break_masking, on_lun_state_change)
SPOIL(resync_without, resync_luns)
SPOIL(release_growing, async_release)
SPOIL(release_renaming, async_release)
SPOIL(release_moving, async_release)

static void spoil_cut_early(struct si_provider *p)
{
    p->end_prepare = end_prepare_cutting;
    p->commit = commit_early;
}

const struct bad_provider bad_providers[] = {
    {"frees the interconnects", "interconnects_changed", spoil_supported_without_interconnects},
    {"does not write FALSE", "result_not_written", spoil_supported_unwritten},
    {"ignores the context", "impossible_context_supported", spoil_supported_whatever},
    {"makes a string longer", "record_grown", spoil_begin_longer},
    {"leaks a nested string", "memory_leaked", spoil_fill_leaking},
    {"hands out a static pointer", "memory_not_cotask", spoil_targets_static},
    {"hands out one block twice", "memory_not_cotask", spoil_targets_shared},
    {"changes [in] data", "in_data_changed", spoil_targets_trimming},
    {"returns E_FAIL", "code_not_allowed", spoil_end_prepare_fails},
    {"refuses a forced unload", "code_not_allowed", spoil_unload_refused},
    {"vetoes without an event", "veto_without_event", spoil_end_prepare_vetoes},
    {"vetoes the commit without an event", "veto_without_event", spoil_commit_vetoes},
    {"writes an event while frozen", "event_while_frozen", spoil_pre_commit_telling},
    {"logs inside the commit", "io_in_commit", spoil_commit_logging},
    {"waits inside the commit", "hold_over_ten_seconds", spoil_commit_waiting},
    {"copies while writers are frozen", "freeze_over_sixty_seconds", spoil_pre_commit_copying},
    {"leaves a target empty", "target_empty", spoil_targets_nothing},
    {"has a fresh id for each GetTargetLuns", "target_not_repeated", spoil_targets_fresh},
    {"knows LUNs by their disk signature", "target_is_source", spoil_targets_by_signature},
    {"has one target for all", "targets_not_one_to_one", spoil_targets_all_one},
    {"has an id that is taken", "target_not_unique", spoil_targets_of_another},
    {"has a target without page 83h", "target_without_identity", spoil_targets_nameless},
    {"tells a disk signature", "target_disk_signature", spoil_targets_signed},
    {"serves before LocateLuns", "served_before_locate", spoil_post_commit_serving},
    {"locates nothing", "located_lun_missing", spoil_locate_nothing},
    {"takes another LUN number when asked again", "lun_seen_twice", spoil_locate_again},
    {"fails FillInLunInfo for other disks", "fill_in_failed", spoil_fill_failing},
    {"does not know its own LUN", "fill_in_false_for_own", spoil_fill_false},
    {"changes the record of other disks", "fill_in_changed_foreign", spoil_fill_trimming},
    {"leaves the blanks in", "fill_in_differs", spoil_fill_raw},
    {"cuts in EndPrepareSnapshots", "cut_outside_hold", spoil_cut_early},
    {"serves write-protected LUNs", "write_protected", spoil_locate_protected},
    {"inherits a reservation", "write_reserved", spoil_locate_reserved},
    {"withdraws a LUN that has arrived", "write_failed", spoil_fill_withdrawing},
    {"aborts whatever it has", "abort_took_another", spoil_abort_all},
    {"leaves a LUN after an abort", "abort_left_lun", spoil_abort_serving},
    {"does not delete", "deleted_lun_remains", spoil_empty_nothing},
    {"deletes too much", "delete_took_another", spoil_empty_all},
    {"does not mask", "masked_lun_remains", spoil_change_nothing},
    {"masks too much", "mask_took_another", spoil_mask_all},
    {"masks what is broken", "broken_lun_lost", spoil_break_masking},
    {"leaves ppAsync unset", "async_missing", spoil_resync_without},
    {"is pending for ever", "async_never_ends", spoil_resync_pending},
    {"ends with S_OK", "async_never_ends", spoil_resync_ok},
    {"says finished and did nothing", "resync_untrue", spoil_resync_nothing},
    {"does not resize", "resync_size", spoil_release_growing},
    {"renames the destination", "resync_identity", spoil_release_renaming},
    {"takes the shadow copy away", "resync_took_snapshot", spoil_release_moving},
};
const unsigned bad_provider_count = sizeof bad_providers / sizeof *bad_providers;
