/* calls.c - the methods of a provider, each called in one place only, with all that has to hold of
 * every call of it: arguments, memory, codes, events, and whose process it is. */
#include <stdio.h>

#include "windows/standin/coordinator_int.h"

/* ---- The codes of each method ---------------------------------------------------------------- */

enum method {
    ARE_LUNS_SUPPORTED,
    FILL_IN_LUN_INFO,
    BEGIN_PREPARE_SNAPSHOT,
    GET_TARGET_LUNS,
    LOCATE_LUNS,
    ON_LUN_EMPTY,
    ON_LUN_STATE_CHANGE,
    RESYNC_LUNS,
    END_PREPARE_SNAPSHOTS,
    PRE_COMMIT_SNAPSHOTS,
    COMMIT_SNAPSHOTS,
    POST_COMMIT_SNAPSHOTS,
    PRE_FINAL_COMMIT_SNAPSHOTS,
    POST_FINAL_COMMIT_SNAPSHOTS,
    ABORT_SNAPSHOTS,
};

/* Besides S_OK, E_OUTOFMEMORY, E_INVALIDARG and VSS_E_PROVIDER_VETO, which each may return. */
static const struct {
    const char *name;
    HRESULT codes[4];
} methods[] = {
    [ARE_LUNS_SUPPORTED] = {"AreLunsSupported", {0}},
    [FILL_IN_LUN_INFO] = {"FillInLunInfo", {0}},
    [BEGIN_PREPARE_SNAPSHOT] = {"BeginPrepareSnapshot",
                                {VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED, VSS_E_NESTED_VOLUME_LIMIT,
                                 VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                                 VSS_E_UNSUPPORTED_CONTEXT}},
    [GET_TARGET_LUNS] = {"GetTargetLuns", {0}},
    [LOCATE_LUNS] = {"LocateLuns", {0}},
    [ON_LUN_EMPTY] = {"OnLunEmpty", {0}},
    [ON_LUN_STATE_CHANGE] = {"OnLunStateChange", {0}},
    [RESYNC_LUNS] = {"ResyncLuns", {VSS_E_INSUFFICIENT_STORAGE, E_NOTIMPL}},
    [END_PREPARE_SNAPSHOTS] = {"EndPrepareSnapshots",
                               {VSS_E_INSUFFICIENT_STORAGE, VSS_E_OBJECT_NOT_FOUND}},
    [PRE_COMMIT_SNAPSHOTS] = {"PreCommitSnapshots", {VSS_E_OBJECT_NOT_FOUND}},
    [COMMIT_SNAPSHOTS] = {"CommitSnapshots", {VSS_E_OBJECT_NOT_FOUND}},
    [POST_COMMIT_SNAPSHOTS] = {"PostCommitSnapshots", {VSS_E_OBJECT_NOT_FOUND}},
    [PRE_FINAL_COMMIT_SNAPSHOTS] = {"PreFinalCommitSnapshots", {0}},
    [POST_FINAL_COMMIT_SNAPSHOTS] = {"PostFinalCommitSnapshots", {0}},
    [ABORT_SNAPSHOTS] = {"AbortSnapshots", {VSS_E_OBJECT_NOT_FOUND}},
};

static bool is_allowed(enum method method, HRESULT result)
{
    if (result == S_OK || result == E_OUTOFMEMORY || result == E_INVALIDARG ||
        result == VSS_E_PROVIDER_VETO)
        return true;
    for (unsigned i = 0; i < sizeof methods[method].codes / sizeof *methods[method].codes; i++)
        if (methods[method].codes[i] && methods[method].codes[i] == result) return true;
    return false;
}

/* The provider's process died in the call: RPC's codes, which no provider chose. */
static bool is_death(HRESULT result)
{
    uint32_t code = (uint32_t)result;
    return code >> 16 == 0x8001u ||
           (code >> 16 == 0x8007u && (code & 0xFFFF) >= 1700 && (code & 0xFFFF) <= 1900);
}

/* ---- Processes ------------------------------------------------------------------------------- */

static uint64_t event_count(struct coordinator *c)
{
    struct si_host *h = c->seams.host;
    return h->event_count ? h->event_count(h) : 0;
}

static void say_goodbye(struct coordinator *c, struct si_provider *p)
{
    /* Asked first, then told (OnUnload: bForceUnload). */
    HRESULT result = p->on_unload(p, FALSE);
    if (result != S_OK && result != S_FALSE && !is_death(result))
        rule_broken(c, RULE_code_not_allowed, "OnUnload(FALSE) returned %08lx",
                    (unsigned long)(uint32_t)result);
    if (result != S_OK) result = p->on_unload(p, TRUE);
    if (result != S_OK && !is_death(result))
        rule_broken(c, RULE_code_not_allowed, "OnUnload(TRUE) returned %08lx",
                    (unsigned long)(uint32_t)result);
}

void slot_unload(struct coordinator *c, struct provider_slot *slot)
{
    struct si_provider *p = slot->p;
    if (!p) return;
    slot->p = NULL;
    if (!c->is_dead) say_goodbye(c, p);
    p->release(p);
}

static bool slot_load(struct coordinator *c, struct provider_slot *slot)
{
    if (slot->p) return true;
    slot->p = c->seams.registry->load(c->seams.registry, &slot->registered);
    if (!slot->p) return false;
    if (slot->p->on_load(slot->p) == S_OK) return true;
    slot->p->release(slot->p);
    slot->p = NULL;
    return false;
}

bool slot_hold(struct coordinator *c, struct provider_slot *slot)
{
    if (!slot_load(c, slot)) return false;
    slot->hold_count++;
    return true;
}

/* "Frequently loaded and unloaded": in that mode, after every call. */
void slot_let_go(struct coordinator *c, struct provider_slot *slot)
{
    if (slot->hold_count) slot->hold_count--;
    bool is_due = c->seams.new_process_each_call || draw(c, 4) == 1;
    if (slot->hold_count || c->is_dead || !is_due || !slot->p) return;
    struct si_provider *p = slot->p;
    slot->p = NULL;
    /* Some processes are told that they end, and some are not. */
    if (draw(c, 3) != 1) say_goodbye(c, p);
    if (c->seams.new_process_each_call && p->die) p->die(p);
    p->release(p);
}

/* ---- Around every call ----------------------------------------------------------------------- */

struct call {
    struct coordinator *c;
    struct provider_slot *slot;
    struct si_provider *p;
    enum method method;
    uint64_t events, io;
    unsigned live;
};

static void kill_process(struct call *call)
{
    if (call->p->die) call->p->die(call->p);
}

static bool call_begin(struct coordinator *c, struct provider_slot *slot, enum method method,
                       struct call *ret_call)
{
    if (c->is_dead || !slot_hold(c, slot)) return false;
    struct si_host *h = c->seams.host;
    struct call call = {.c = c, .slot = slot, .p = slot->p, .method = method};
    if (fault_at(c, COORDINATOR_KILL_BEFORE, methods[method].name)) kill_process(&call);
    call.events = event_count(c);
    call.io = h->io_count ? h->io_count(h) : 0;
    call.live = c->seams.memory->live_count ? c->seams.memory->live_count(c->seams.memory) : 0;
    *ret_call = call;
    return true;
}

/* While volumes are frozen the event waits; it is looked for when they are not (coordinator.c). */
static void judge_veto(struct call *call, HRESULT result)
{
    struct coordinator *c = call->c;
    if (result != VSS_E_PROVIDER_VETO || !c->seams.host->event_count) return;
    if (c->is_quiet)
        c->has_held_veto = true;
    else if (event_count(c) == call->events)
        rule_broken(c, RULE_veto_without_event, "%s", methods[call->method].name);
}

/* The code as the requester gets it. */
static HRESULT call_end(struct call *call, HRESULT result)
{
    struct coordinator *c = call->c;
    struct si_host *h = c->seams.host;
    char line[2 * WHAT_MAX];
    const char *name = methods[call->method].name;
    snprintf(line, sizeof line, "%s: %s -> %08lx", call->slot->registered.name, name,
             (unsigned long)(uint32_t)result);
    h->say(h, line);
    judge_veto(call, result);
    if (call->method == COMMIT_SNAPSHOTS && h->io_count && h->io_count(h) != call->io)
        rule_broken(c, RULE_io_in_commit, "%s wrote", call->slot->registered.name);
    if (!is_allowed(call->method, result)) {
        if (!is_death(result))
            rule_broken(c, RULE_code_not_allowed, "%s returned %08lx", name,
                        (unsigned long)(uint32_t)result);
        /* Error Handling: others are logged and translated, but for AbortSnapshots. */
        result = VSS_E_UNEXPECTED_PROVIDER_ERROR;
    }
    if (fault_at(c, COORDINATOR_KILL_AFTER, name)) kill_process(call);
    slot_let_go(c, call->slot);
    return result;
}

/* ---- Records --------------------------------------------------------------------------------- */

static uint64_t hash(uint64_t seed, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; data && i < size; i++)
        seed = (seed ^ bytes[i]) * 0x100000001B3u;
    return seed;
}

static size_t length_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* What can be compared of a record before a call and after it. */
struct shape {
    uint64_t all, interconnects;
    size_t strings[4];
    ULONG identifiers, sizes[RECORD_IDENTIFIERS_MAX];
    unsigned blocks;
};

static void measure_strings(const VDS_LUN_INFORMATION *lun, struct shape *shape)
{
    const char *strings[4] = {lun->m_szVendorId, lun->m_szProductId, lun->m_szProductRevision,
                              lun->m_szSerialNumber};
    for (unsigned i = 0; i < 4; i++) {
        shape->strings[i] = length_of(strings[i]);
        shape->all = hash(shape->all, strings[i], shape->strings[i]);
        shape->blocks += strings[i] != NULL;
    }
}

static struct shape measure(const VDS_LUN_INFORMATION *lun)
{
    struct shape shape = {.all = 0xCBF29CE484222325u, .interconnects = 0xCBF29CE484222325u};
    const VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &lun->m_deviceIdDescriptor;
    measure_strings(lun, &shape);
    shape.all = hash(shape.all, &lun->m_diskSignature, sizeof lun->m_diskSignature);
    shape.identifiers = ids->m_cIdentifiers;
    shape.blocks += ids->m_rgIdentifiers != NULL;
    for (ULONG i = 0; i < ids->m_cIdentifiers && i < RECORD_IDENTIFIERS_MAX; i++) {
        const VDS_STORAGE_IDENTIFIER *id = &ids->m_rgIdentifiers[i];
        shape.sizes[i] = id->m_cbIdentifier;
        shape.all = hash(shape.all, id->m_rgbIdentifier, id->m_cbIdentifier);
        shape.blocks += id->m_rgbIdentifier != NULL;
    }
    shape.blocks += lun->m_rgInterconnects != NULL;
    shape.interconnects = hash(shape.interconnects, &lun->m_cInterconnects, sizeof(ULONG));
    for (ULONG i = 0; i < lun->m_cInterconnects; i++) {
        const VDS_INTERCONNECT *x = &lun->m_rgInterconnects[i];
        shape.interconnects = hash(shape.interconnects, x->m_pbPort, x->m_cbPort);
        shape.interconnects = hash(shape.interconnects, x->m_pbAddress, x->m_cbAddress);
        shape.blocks += (x->m_pbPort != NULL) + (x->m_pbAddress != NULL);
    }
    shape.all = hash(shape.all, &shape.interconnects, sizeof shape.interconnects);
    return shape;
}

/* Of the records of one argument. */
struct shapes {
    LONG count;
    struct shape *at;
    VDS_LUN_INFORMATION *shallow;
    unsigned blocks;
};

static void shapes_fini(struct shapes *shapes)
{
    free(shapes->at);
    free(shapes->shallow);
}

static bool shapes_init(const VDS_LUN_INFORMATION *luns, LONG count, struct shapes *ret)
{
    size_t n = (size_t)count;
    struct shapes shapes = {count, calloc(n, sizeof *shapes.at), calloc(n, sizeof *luns), 0};
    if (!shapes.at || !shapes.shallow) {
        shapes_fini(&shapes);
        return false;
    }
    memcpy(shapes.shallow, luns, n * sizeof *luns);
    for (LONG i = 0; i < count; i++) {
        shapes.at[i] = measure(&luns[i]);
        shapes.blocks += shapes.at[i].blocks;
    }
    *ret = shapes;
    return true;
}

/* [in]: not a bit is another one, also where it points. */
static void judge_in(struct call *call, const struct shapes *shapes,
                     const VDS_LUN_INFORMATION *luns)
{
    bool same = memcmp(shapes->shallow, luns, (size_t)shapes->count * sizeof *luns) == 0;
    for (LONG i = 0; same && i < shapes->count; i++)
        same = measure(&luns[i]).all == shapes->at[i].all;
    if (!same)
        rule_broken(call->c, RULE_in_data_changed, "%s changed what it was given",
                    methods[call->method].name);
}

/* A pointer that is no block of ours must not be freed: it is taken out of the record. */
static void scrub(struct si_memory *m, void **member)
{
    if (*member && !m->is_block(m, *member)) *member = NULL;
}

static void scrub_record(struct si_memory *m, VDS_LUN_INFORMATION *lun)
{
    char **strings[] = {&lun->m_szVendorId, &lun->m_szProductId, &lun->m_szProductRevision,
                        &lun->m_szSerialNumber};
    VDS_STORAGE_DEVICE_ID_DESCRIPTOR *ids = &lun->m_deviceIdDescriptor;
    for (unsigned i = 0; i < sizeof strings / sizeof *strings; i++) {
        if (*strings[i] && !m->is_block(m, *strings[i])) *strings[i] = NULL;
        for (unsigned j = 0; j < i; j++)
            if (*strings[i] == *strings[j]) *strings[i] = NULL;
    }
    if (!ids->m_rgIdentifiers || !m->is_block(m, ids->m_rgIdentifiers)) {
        ids->m_rgIdentifiers = NULL;
        ids->m_cIdentifiers = 0;
    }
    for (ULONG i = 0; i < ids->m_cIdentifiers; i++) {
        void *bytes = ids->m_rgIdentifiers[i].m_rgbIdentifier;
        scrub(m, &bytes);
        ids->m_rgIdentifiers[i].m_rgbIdentifier = bytes;
        if (!bytes) ids->m_rgIdentifiers[i].m_cbIdentifier = 0;
    }
    if (!lun->m_rgInterconnects || !m->is_block(m, lun->m_rgInterconnects)) {
        lun->m_rgInterconnects = NULL;
        lun->m_cInterconnects = 0;
    }
}

/* false: something hangs on a record that VSS would crash on. */
static bool judge_memory(struct call *call, VDS_LUN_INFORMATION *luns, LONG count)
{
    bool ok = true;
    for (LONG i = 0; i < count; i++) {
        const char *fault = record_fault(call->c->seams.memory, &luns[i]);
        if (!fault) continue;
        rule_broken(call->c, RULE_memory_not_cotask, "%s: LUN %ld: %s", methods[call->method].name,
                    (long)i, fault);
        scrub_record(call->c->seams.memory, &luns[i]);
        ok = false;
    }
    return ok;
}

static void judge_leak(struct call *call, unsigned blocks_before, unsigned blocks_after)
{
    struct si_memory *m = call->c->seams.memory;
    if (!m->live_count) return;
    long grown = (long)m->live_count(m) - (long)call->live,
         expected = (long)blocks_after - (long)blocks_before;
    if (grown != expected)
        rule_broken(call->c, RULE_memory_leaked, "%s: %ld blocks more than hang on the records",
                    methods[call->method].name, grown - expected);
}

static bool has_grown(const struct shape *before, const struct shape *after)
{
    for (unsigned i = 0; i < 4; i++)
        if (before->strings[i] && after->strings[i] > before->strings[i]) return true;
    if (before->identifiers && after->identifiers > before->identifiers) return true;
    for (ULONG i = 0; i < RECORD_IDENTIFIERS_MAX; i++)
        if (before->sizes[i] && after->sizes[i] > before->sizes[i]) return true;
    return false;
}

/* [in, out]: whole, not longer, the interconnects as they were; on failure too. */
static void judge_in_out(struct call *call, const struct shapes *shapes, VDS_LUN_INFORMATION *luns)
{
    unsigned blocks = 0;
    if (!judge_memory(call, luns, shapes->count)) return;
    for (LONG i = 0; i < shapes->count; i++) {
        struct shape after = measure(&luns[i]);
        blocks += after.blocks;
        if (after.interconnects != shapes->at[i].interconnects)
            rule_broken(call->c, RULE_interconnects_changed, "%s, LUN %ld",
                        methods[call->method].name, (long)i);
        if (has_grown(&shapes->at[i], &after))
            rule_broken(call->c, RULE_record_grown, "%s, LUN %ld", methods[call->method].name,
                        (long)i);
    }
    judge_leak(call, shapes->blocks, blocks);
}

/* ---- The methods ----------------------------------------------------------------------------- */

enum { NEITHER = 42 }; /* neither TRUE nor FALSE */

HRESULT call_are_luns_supported(struct coordinator *c, struct provider_slot *slot, LONG context,
                                LONG count, VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns,
                                bool *ret_supported)
{
    struct call call;
    struct shapes shapes;
    BOOL supported = NEITHER;
    *ret_supported = false;
    if (!shapes_init(luns, count, &shapes)) return E_OUTOFMEMORY;
    if (!call_begin(c, slot, ARE_LUNS_SUPPORTED, &call)) {
        shapes_fini(&shapes);
        return VSS_E_UNEXPECTED_PROVIDER_ERROR;
    }
    HRESULT result = call.p->are_luns_supported(call.p, count, context, devices, luns, &supported);
    judge_in_out(&call, &shapes, luns);
    shapes_fini(&shapes);
    if (supported == NEITHER && !is_death(result))
        rule_broken(c, RULE_result_not_written, "AreLunsSupported");
    *ret_supported = result == S_OK && supported == TRUE;
    return call_end(&call, result);
}

enum lun_answer call_fill_in_lun_info(struct coordinator *c, struct provider_slot *slot,
                                      VSS_PWSZ device, VDS_LUN_INFORMATION *lun)
{
    struct call call;
    struct shapes shapes;
    BOOL supported = NEITHER;
    if (!shapes_init(lun, 1, &shapes)) return LUN_UNANSWERED;
    if (!call_begin(c, slot, FILL_IN_LUN_INFO, &call)) {
        shapes_fini(&shapes);
        return LUN_UNANSWERED;
    }
    HRESULT result = call.p->fill_in_lun_info(call.p, device, lun, &supported);
    judge_in_out(&call, &shapes, lun);
    if (result != S_OK && !is_death(result))
        rule_broken(c, RULE_fill_in_failed, "it returned %08lx", (unsigned long)(uint32_t)result);
    if (supported == NEITHER && !is_death(result))
        rule_broken(c, RULE_result_not_written, "FillInLunInfo");
    if (supported == FALSE && measure(lun).all != shapes.at[0].all)
        rule_broken(c, RULE_fill_in_changed_foreign, "serial number %s",
                    lun->m_szSerialNumber ? lun->m_szSerialNumber : "none");
    shapes_fini(&shapes);
    call_end(&call, result); /* ignored since Windows Server 2008 */
    if (result != S_OK || supported == NEITHER) return LUN_UNANSWERED;
    return supported == TRUE ? LUN_IS_OWN : LUN_IS_FOREIGN;
}

HRESULT call_begin_prepare(struct coordinator *c, struct provider_slot *slot,
                           const VSS_ID *snapshot, LONG count, VSS_PWSZ *devices,
                           VDS_LUN_INFORMATION *luns)
{
    struct call call;
    struct shapes shapes;
    if (!shapes_init(luns, count, &shapes)) return E_OUTOFMEMORY;
    if (!call_begin(c, slot, BEGIN_PREPARE_SNAPSHOT, &call)) {
        shapes_fini(&shapes);
        return VSS_E_UNEXPECTED_PROVIDER_ERROR;
    }
    HRESULT result =
        call.p->begin_prepare(call.p, c->set->id, *snapshot, c->set->context, count, devices, luns);
    judge_in_out(&call, &shapes, luns);
    shapes_fini(&shapes);
    return call_end(&call, result);
}

HRESULT call_get_target_luns(struct coordinator *c, struct provider_slot *slot, LONG count,
                             VSS_PWSZ *devices, VDS_LUN_INFORMATION *sources,
                             VDS_LUN_INFORMATION *ret_targets)
{
    struct call call;
    struct shapes shapes;
    unsigned blocks = 0;
    if (!shapes_init(sources, count, &shapes)) return E_OUTOFMEMORY;
    if (!call_begin(c, slot, GET_TARGET_LUNS, &call)) {
        shapes_fini(&shapes);
        return VSS_E_UNEXPECTED_PROVIDER_ERROR;
    }
    HRESULT result = call.p->get_target_luns(call.p, count, devices, sources, ret_targets);
    judge_in(&call, &shapes, sources);
    shapes_fini(&shapes);
    bool ok = judge_memory(&call, ret_targets, count);
    for (LONG i = 0; i < count; i++)
        blocks += measure(&ret_targets[i]).blocks;
    if (ok) judge_leak(&call, 0, blocks);
    return call_end(&call, result);
}

HRESULT call_locate_luns(struct coordinator *c, struct provider_slot *slot, LONG count,
                         VDS_LUN_INFORMATION *luns)
{
    struct call call;
    struct shapes shapes;
    if (!shapes_init(luns, count, &shapes)) return E_OUTOFMEMORY;
    if (!call_begin(c, slot, LOCATE_LUNS, &call)) {
        shapes_fini(&shapes);
        return VSS_E_UNEXPECTED_PROVIDER_ERROR;
    }
    HRESULT result = call.p->locate_luns(call.p, count, luns);
    judge_in(&call, &shapes, luns);
    judge_leak(&call, 0, 0);
    shapes_fini(&shapes);
    return call_end(&call, result);
}

HRESULT call_on_lun_empty(struct coordinator *c, struct provider_slot *slot, VSS_PWSZ device,
                          VDS_LUN_INFORMATION *lun)
{
    struct call call;
    struct shapes shapes;
    if (!shapes_init(lun, 1, &shapes)) return E_OUTOFMEMORY;
    if (!call_begin(c, slot, ON_LUN_EMPTY, &call)) {
        shapes_fini(&shapes);
        return VSS_E_UNEXPECTED_PROVIDER_ERROR;
    }
    HRESULT result = call.p->on_lun_empty(call.p, device, lun);
    judge_in(&call, &shapes, lun);
    judge_leak(&call, 0, 0);
    shapes_fini(&shapes);
    return call_end(&call, result);
}

HRESULT call_on_lun_state_change(struct coordinator *c, struct provider_slot *slot,
                                 VDS_LUN_INFORMATION *snapshots, VDS_LUN_INFORMATION *originals,
                                 DWORD count, DWORD flags)
{
    struct call call;
    struct shapes of_snapshots, of_originals;
    if (!shapes_init(snapshots, (LONG)count, &of_snapshots)) return E_OUTOFMEMORY;
    if (!shapes_init(originals, (LONG)count, &of_originals)) {
        shapes_fini(&of_snapshots);
        return E_OUTOFMEMORY;
    }
    HRESULT result = VSS_E_UNEXPECTED_PROVIDER_ERROR;
    if (call_begin(c, slot, ON_LUN_STATE_CHANGE, &call)) {
        result = call.p->on_lun_state_change(call.p, snapshots, originals, count, flags);
        judge_in(&call, &of_snapshots, snapshots);
        judge_in(&call, &of_originals, originals);
        judge_leak(&call, 0, 0);
        result = call_end(&call, result);
    }
    shapes_fini(&of_snapshots);
    shapes_fini(&of_originals);
    return result;
}

/* ---- ResyncLuns ------------------------------------------------------------------------------ */

enum { RESYNC_WAIT_MS = 1000, RESYNC_MAX_MS = 600000, RESYNC_WAITS_MAX = 100000 };

/* What it ended with; nothing that is still pending is taken for an end. */
static HRESULT follow(struct coordinator *c, struct si_provider *p, void *async)
{
    uint64_t start_ms = now_ms(c);
    for (unsigned i = 0; i < RESYNC_WAITS_MAX; i++) {
        HRESULT result = VSS_E_UNEXPECTED, asked;
        if (c->is_cancelled) p->async_cancel(p, async);
        p->async_wait(p, async, RESYNC_WAIT_MS);
        asked = p->async_query(p, async, &result);
        if (asked != S_OK) return VSS_E_UNEXPECTED_PROVIDER_ERROR;
        if (result == VSS_S_ASYNC_FINISHED) return S_OK;
        if (result != VSS_S_ASYNC_PENDING) {
            /* S_OK and the like are no end of an IVssAsync. */
            if (SUCCEEDED(result) && result != VSS_S_ASYNC_CANCELLED)
                rule_broken(c, RULE_async_never_ends, "QueryStatus said %08lx",
                            (unsigned long)(uint32_t)result);
            return SUCCEEDED(result) && result != VSS_S_ASYNC_CANCELLED
                       ? VSS_E_UNEXPECTED_PROVIDER_ERROR
                       : result;
        }
        if (now_ms(c) - start_ms > RESYNC_MAX_MS) break;
    }
    rule_broken(c, RULE_async_never_ends, "pending for ten minutes");
    return VSS_E_UNEXPECTED_PROVIDER_ERROR;
}

static HRESULT begin_resync(struct call *call, VDS_LUN_INFORMATION *sources,
                            VDS_LUN_INFORMATION *targets, DWORD count)
{
    static char unset;
    void *async = &unset;
    HRESULT result = call->p->resync_luns(call->p, sources, targets, count, &async);
    if (is_death(result)) return result;
    bool has_async = async && async != &unset;
    if (async == &unset || has_async != (result == S_OK))
        rule_broken(call->c, RULE_async_missing, "ResyncLuns returned %08lx and %s",
                    (unsigned long)(uint32_t)result,
                    async == &unset ? "did not write ppAsync"
                                    : (has_async ? "an IVssAsync" : "no IVssAsync"));
    if (!has_async) return result == S_OK ? VSS_E_UNEXPECTED_PROVIDER_ERROR : result;
    if (result == S_OK) result = follow(call->c, call->p, async);
    call->p->async_release(call->p, async);
    return result;
}

HRESULT call_resync_luns(struct coordinator *c, struct provider_slot *slot,
                         VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets, DWORD count)
{
    struct call call;
    struct shapes of_sources, of_targets;
    if (!shapes_init(sources, (LONG)count, &of_sources)) return E_OUTOFMEMORY;
    if (!shapes_init(targets, (LONG)count, &of_targets)) {
        shapes_fini(&of_sources);
        return E_OUTOFMEMORY;
    }
    HRESULT result = VSS_E_UNEXPECTED_PROVIDER_ERROR;
    if (call_begin(c, slot, RESYNC_LUNS, &call)) {
        result = begin_resync(&call, sources, targets, count);
        judge_in(&call, &of_sources, sources);
        judge_in(&call, &of_targets, targets);
        judge_leak(&call, 0, 0);
        /* Of the IVssAsync: the end of a resync is no return value of a method. */
        HRESULT returned = call_end(&call, result == VSS_S_ASYNC_CANCELLED ? S_OK : result);
        if (result == E_NOTIMPL)
            result = VSS_E_LEGACY_PROVIDER; /* AddSnapshotToRecoverySet: return values */
        else if (result != VSS_S_ASYNC_CANCELLED)
            result = returned;
    }
    shapes_fini(&of_sources);
    shapes_fini(&of_targets);
    return result;
}

/* ---- IVssProviderCreateSnapshotSet ----------------------------------------------------------- */

struct set_calling {
    struct call *call;
    enum set_call which;
    HRESULT result, abort_result;
};

static HRESULT invoke(struct si_provider *p, const struct coordinator *c, enum set_call which)
{
    const VSS_ID set = c->set->id;
    switch (which) {
    case END_PREPARE:
        return p->end_prepare(p, set);
    case PRE_COMMIT:
        return p->pre_commit(p, set);
    case COMMIT:
        return p->commit(p, set);
    case POST_COMMIT:
        return p->post_commit(p, set, (LONG)c->set->snapshot_count);
    case PRE_FINAL:
        return p->pre_final_commit(p, set);
    case POST_FINAL:
        return p->post_final_commit(p, set);
    case ABORT:
        return p->abort(p, set);
    }
    return VSS_E_UNEXPECTED;
}

static void invoke_first(void *arg)
{
    struct set_calling *calling = arg;
    calling->result = invoke(calling->call->p, calling->call->c, calling->which);
}

static void invoke_abort(void *arg)
{
    struct set_calling *calling = arg;
    calling->abort_result = invoke(calling->call->p, calling->call->c, ABORT);
}

static void invoke_beside_abort(struct set_calling *calling)
{
    struct coordinator *c = calling->call->c;
    struct si_host *h = c->seams.host;
    if (h->beside) {
        h->beside(h, invoke_first, invoke_abort, calling);
    } else {
        invoke_first(calling);
        invoke_abort(calling);
    }
    c->was_aborted = true;
    h->say(h, "AbortSnapshots beside it");
}

HRESULT call_of_set(struct coordinator *c, struct provider_slot *slot, enum set_call which)
{
    static const enum method of[] = {
        END_PREPARE_SNAPSHOTS, PRE_COMMIT_SNAPSHOTS,       COMMIT_SNAPSHOTS,
        POST_COMMIT_SNAPSHOTS, PRE_FINAL_COMMIT_SNAPSHOTS, POST_FINAL_COMMIT_SNAPSHOTS,
        ABORT_SNAPSHOTS};
    struct call call;
    if (!call_begin(c, slot, of[which], &call)) return VSS_E_UNEXPECTED_PROVIDER_ERROR;
    struct set_calling calling = {.call = &call, .which = which};
    if (fault_at(c, COORDINATOR_ABORT_DURING, methods[of[which]].name))
        invoke_beside_abort(&calling);
    else
        invoke_first(&calling);
    if (!c->is_quiet) judge_leak(&call, 0, 0);
    return call_end(&call, calling.result);
}
