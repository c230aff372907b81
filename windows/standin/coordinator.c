/*
 * coordinator.c - the making of a shadow copy set, in the order of the documentation.
 *
 * To be read beside "The Shadow Copy Creation Process" and "Overview of Processing a Backup Under
 * VSS" in the Win32 documentation, and IVssProviderCreateSnapshotSet.  The documentation says the
 * order twice, and not the same twice: in a picture and in prose.  Both are tables here; which one
 * it is today is drawn from the seed.
 */
#include <stdio.h>
#include <time.h>

#include "windows/standin/coordinator_int.h"

static HRESULT call_all(struct coordinator *c, enum set_call which)
{
    HRESULT result = S_OK;
    for (unsigned i = 0; i < c->slot_count && result == S_OK; i++)
        if (c->slots[i].is_in_set) result = call_of_set(c, &c->slots[i], which);
    return result;
}

/* ---- EndPrepareSnapshots, and the marks ------------------------------------------------------ */

/* AbortSnapshots may come beside it, from now on and not before. */
static HRESULT end_prepare(struct coordinator *c)
{
    c->was_ended = true;
    atomic_store(&c->is_ending, true);
    HRESULT result = call_all(c, END_PREPARE);
    atomic_store(&c->is_ending, false);
    while (atomic_load(&c->cancel_depth) > 0)
        now_ms(c); /* the other thread is about to leave */
    return result;
}

static HRESULT mark_extent(struct coordinator *c, unsigned e, bool set_them)
{
    const struct set_extent *extent = &c->set->extents[e];
    unsigned seen = disks_find(&c->disks, &c->set->luns[extent->lun].source);
    if (seen == UINT32_MAX) return VSS_E_MISSING_DISK;
    const struct si_disk *disk = &c->disks.at[seen]->disk;
    enum si_io io = set_them ? si_gpt_mark(c->seams.machine, disk, &extent->partition)
                             : si_gpt_unmark(c->seams.machine, disk, &extent->partition);
    return windows_wrote(c, io, set_them ? "the marks of VSS" : "the marks of VSS off again");
}

/* Hidden, read-only, no drive letter, shadow copy: on the source, so that the copy has them. */
static HRESULT mark_sources(struct coordinator *c)
{
    HRESULT result = S_OK;
    c->are_marked = true;
    for (unsigned e = 0; result == S_OK && e < c->set->extent_count; e++)
        result = mark_extent(c, e, true);
    return result;
}

static HRESULT unmark_sources(struct coordinator *c)
{
    HRESULT result = S_OK;
    c->are_marked = false;
    for (unsigned e = 0; e < c->set->extent_count; e++) {
        HRESULT one = mark_extent(c, e, false);
        if (result == S_OK) result = one;
    }
    return result;
}

/* ---- Writers, and the writes of the host ----------------------------------------------------- */

static HRESULT freeze_writers(struct coordinator *c)
{
    if (c->set->context & VSS_VOLSNAP_ATTR_NO_WRITERS) return S_OK;
    c->are_frozen = true;
    c->frozen_ms = now_ms(c);
    return c->seams.host->freeze(c->seams.host) ? S_OK : VSS_E_WRITERERROR_NONRETRYABLE;
}

static HRESULT thaw_writers(struct coordinator *c)
{
    if (!c->are_frozen) return S_OK;
    c->are_frozen = false;
    c->seams.host->thaw(c->seams.host);
    uint64_t took_ms = now_ms(c) - c->frozen_ms;
    if (took_ms <= WRITERS_MAX_MS) return S_OK;
    rule_broken(c, RULE_freeze_over_sixty_seconds, "%llu ms", (unsigned long long)took_ms);
    return VSS_E_WRITERERROR_TIMEOUT;
}

/* IOCTL_VOLSNAP_FLUSH_AND_HOLD_WRITES */
static HRESULT hold_writes(struct coordinator *c)
{
    c->are_held = true;
    c->held_ms = now_ms(c);
    c->seams.host->hold(c->seams.host);
    return S_OK;
}

static uint64_t events(struct coordinator *c)
{
    struct si_host *h = c->seams.host;
    return h->event_count ? h->event_count(h) : 0;
}

/* Volumes are frozen no more: events may be written again, and whoever owes one writes it. */
static void end_quiet(struct coordinator *c)
{
    if (!c->is_quiet) return;
    c->is_quiet = false;
    if (events(c) != c->quiet_events)
        rule_broken(c, RULE_event_while_frozen, "%llu of them",
                    (unsigned long long)(events(c) - c->quiet_events));
}

static HRESULT release_writes(struct coordinator *c)
{
    if (!c->are_held) return S_OK;
    c->are_held = false;
    c->seams.host->release(c->seams.host);
    uint64_t took_ms = now_ms(c) - c->held_ms;
    end_quiet(c);
    if (took_ms <= COMMIT_MAX_MS) return S_OK;
    rule_broken(c, RULE_hold_over_ten_seconds, "%llu ms", (unsigned long long)took_ms);
    return VSS_E_HOLD_WRITES_TIMEOUT;
}

/* ---- The commit ------------------------------------------------------------------------------ */

static HRESULT pre_commit(struct coordinator *c)
{
    c->is_quiet = true;
    c->quiet_events = events(c);
    return call_all(c, PRE_COMMIT);
}

static HRESULT commit(struct coordinator *c)
{
    return call_all(c, COMMIT);
}

/* A process of the provider may end from here on; what it knew has to be elsewhere. */
static void let_providers_go(struct coordinator *c)
{
    for (unsigned i = 0; i < c->slot_count; i++) {
        if (!c->slots[i].is_in_set || !c->slots[i].hold_count) continue;
        slot_let_go(c, &c->slots[i]);
    }
}

static HRESULT post_commit(struct coordinator *c)
{
    HRESULT result = call_all(c, POST_COMMIT);
    if (result == S_OK) let_providers_go(c);
    return result;
}

/* ---- GetTargetLuns --------------------------------------------------------------------------- */

/* "Unique": on no LUN that this host sees or knows of. */
static void judge_unique(struct coordinator *c, unsigned index, const VDS_LUN_INFORMATION *target)
{
    const struct snapshot_set *set = c->set;
    for (unsigned i = 0; i < set->lun_count; i++) {
        if (record_shares_identity(target, &set->luns[i].source))
            rule_broken(c, RULE_target_is_source, "LUN %u of the set", i);
        if (i != index && record_shares_identity(target, &set->luns[i].target))
            rule_broken(c, RULE_targets_not_one_to_one, "LUNs %u and %u of the set", index, i);
    }
    unsigned seen = disks_find(&c->disks, target);
    if (seen != UINT32_MAX)
        rule_broken(c, RULE_target_not_unique, "it is LUN %u of this host too",
                    c->disks.at[seen]->disk.lun);
}

static void judge_target(struct coordinator *c, unsigned index, const VDS_LUN_INFORMATION *target)
{
    if (!target->m_szSerialNumber && target->m_deviceIdDescriptor.m_cIdentifiers == 0)
        rule_broken(c, RULE_target_empty, "LUN %u of the set", index);
    else if (!record_has_identity(target))
        rule_broken(c, RULE_target_without_identity, "LUN %u of the set", index);
    if (!guid_is_null(&target->m_diskSignature))
        rule_broken(c, RULE_target_disk_signature, "LUN %u of the set", index);
    judge_unique(c, index, target);
}

/* The record of a LUN is kept when it comes first, and compared when it comes again. */
static void keep_target(struct coordinator *c, unsigned index, VDS_LUN_INFORMATION *target)
{
    struct set_lun *lun = &c->set->luns[index];
    bool is_first =
        !lun->target.m_szSerialNumber && !lun->target.m_deviceIdDescriptor.m_cIdentifiers;
    if (is_first) {
        judge_target(c, index, target);
        lun->target = *target;
        return;
    }
    const char *difference = record_difference(target, &lun->target);
    if (difference)
        rule_broken(c, RULE_target_not_repeated, "LUN %u of the set: another %s", index,
                    difference);
    record_free(c->seams.memory, target);
}

struct target_call {
    LONG count;
    unsigned luns[VOLUME_EXTENTS_MAX];
    VDS_LUN_INFORMATION sources[VOLUME_EXTENTS_MAX], targets[VOLUME_EXTENTS_MAX];
    struct device_names names;
};

static bool has_lun(const struct target_call *call, unsigned lun)
{
    for (LONG i = 0; i < call->count; i++)
        if (call->luns[i] == lun) return true;
    return false;
}

/* The LUNs of one volume. */
static void make_target_call(const struct coordinator *c, unsigned snapshot,
                             struct target_call *call)
{
    for (unsigned e = 0; e < c->set->extent_count; e++) {
        const struct set_extent *extent = &c->set->extents[e];
        if (extent->snapshot != snapshot || has_lun(call, extent->lun)) continue;
        unsigned seen = disks_find(&c->disks, &c->set->luns[extent->lun].source);
        device_name(&call->names, (unsigned)call->count, seen == UINT32_MAX ? 0 : seen);
        call->luns[call->count] = extent->lun;
        call->sources[call->count++] = c->set->luns[extent->lun].source; /* borrowed: [in] */
    }
}

static HRESULT get_targets_of(struct coordinator *c, unsigned snapshot)
{
    struct provider_slot *slot = slot_find(c, &c->set->snapshots[snapshot].provider);
    struct target_call *call = calloc(1, sizeof *call);
    if (!call) return E_OUTOFMEMORY;
    make_target_call(c, snapshot, call);
    VSS_PWSZ *devices = draw(c, 4) == 1 ? NULL : call->names.at;
    HRESULT result =
        call_get_target_luns(c, slot, call->count, devices, call->sources, call->targets);
    for (LONG i = 0; i < call->count; i++)
        if (result == S_OK)
            keep_target(c, call->luns[i], &call->targets[i]);
        else
            record_free(c->seams.memory, &call->targets[i]);
    free(call);
    return result;
}

/* Once for each volume; a second time to see that the answer is no matter of chance. */
static HRESULT get_target_luns(struct coordinator *c)
{
    HRESULT result = S_OK;
    for (unsigned again = 0; again < 2; again++)
        for (unsigned i = 0; result == S_OK && i < c->set->snapshot_count; i++)
            result = get_targets_of(c, i);
    return result;
}

/* ---- Auto-import ----------------------------------------------------------------------------- */

static bool is_transportable(const struct snapshot_set *set)
{
    return (set->context & VSS_VOLSNAP_ATTR_TRANSPORTABLE) != 0;
}

static HRESULT auto_import(struct coordinator *c)
{
    if (is_transportable(c->set)) return S_OK;
    HRESULT result = arrive(c, c->set);
    return result == S_OK ? arrival_write_ids(c, c->set) : result;
}

/* Writers' auto-recovery: "a large number of writes" to the shadow copy. */
static HRESULT recover_writers(struct coordinator *c)
{
    HRESULT result = S_OK;
    for (unsigned e = 0; result == S_OK && e < c->set->extent_count; e++) {
        const struct set_lun *lun = &c->set->luns[c->set->extents[e].lun];
        if (lun->seen == UINT32_MAX) continue;
        const struct seen_disk *disk = c->disks.at[lun->seen];
        for (unsigned i = 0; result == S_OK && i < disk->table.count; i++)
            if (disk->table.partitions[i].first_lba == c->set->extents[e].first_lba)
                result = windows_wrote(
                    c, si_gpt_recover(c->seams.machine, &disk->disk, &disk->table.partitions[i].id),
                    "auto-recovery");
    }
    return result;
}

/* The picture has both with the import; the prose has them for every set. */
static bool has_finals(struct coordinator *c)
{
    return !is_transportable(c->set) || draw(c, 2) == 1;
}

static HRESULT finals(struct coordinator *c)
{
    bool is_imported = c->was_located;
    if (!has_finals(c)) return S_OK;
    HRESULT result = call_all(c, PRE_FINAL);
    if (result == S_OK && is_imported) result = recover_writers(c);
    return result == S_OK ? call_all(c, POST_FINAL) : result;
}

/* ---- The order ------------------------------------------------------------------------------- */

struct step {
    const char *name;
    HRESULT (*run)(struct coordinator *c);
};

static const struct step order_of_the_picture[] = {
    {"EndPrepareSnapshots", end_prepare},
    {"mark", mark_sources},
    {"freeze", freeze_writers},
    {"PreCommitSnapshots", pre_commit},
    {"hold", hold_writes},
    {"CommitSnapshots", commit},
    {"release", release_writes},
    {"unmark", unmark_sources},
    {"PostCommitSnapshots", post_commit},
    {"thaw", thaw_writers},
    {"GetTargetLuns", get_target_luns},
    {"LocateLuns", auto_import},
    {"PostFinalCommitSnapshots", finals},
    {NULL, NULL},
};

static const struct step order_of_the_prose[] = {
    {"EndPrepareSnapshots", end_prepare},
    {"mark", mark_sources},
    {"freeze", freeze_writers},
    {"PreCommitSnapshots", pre_commit},
    {"hold", hold_writes},
    {"CommitSnapshots", commit},
    {"release", release_writes},
    {"PostCommitSnapshots", post_commit},
    {"thaw", thaw_writers},
    {"unmark", unmark_sources},
    {"PostFinalCommitSnapshots", finals},
    {"GetTargetLuns", get_target_luns},
    {"LocateLuns", auto_import},
    {NULL, NULL},
};

static HRESULT run_step(struct coordinator *c, const struct step *step)
{
    if (atomic_load(&c->is_cancelled)) return VSS_S_ASYNC_CANCELLED;
    /* Another provider of the set failed: no partial commit, "any failure fails all". */
    if (fault_at(c, COORDINATOR_ABORT_BEFORE, step->name)) return VSS_E_PROVIDER_VETO;
    HRESULT result = step->run(c);
    if (result != S_OK) return result;
    if (fault_at(c, COORDINATOR_VANISH_AFTER, step->name)) {
        c->is_dead = true;
        return VSS_E_UNEXPECTED;
    }
    bool is_aborted = fault_at(c, COORDINATOR_ABORT_AFTER, step->name) || c->was_aborted;
    return is_aborted ? VSS_E_PROVIDER_VETO : S_OK;
}

/* ---- Abort ----------------------------------------------------------------------------------- */

/* What may be seen after it: all that was there before the set, and nothing else. */
static void judge_abort(struct coordinator *c)
{
    const struct seen_disk *lost = disks_lost(c, NULL, 0);
    if (lost) rule_broken(c, RULE_abort_took_another, "LUN %u", lost->disk.lun);
    for (unsigned i = 0; !c->was_located && i < c->disks.count; i++)
        if (disks_find(&c->before, &c->disks.at[i]->record) == UINT32_MAX)
            rule_broken(c, RULE_abort_left_lun, "LUN %u", c->disks.at[i]->disk.lun);
}

/* Only after DoSnapshotSet called EndPrepareSnapshots.  Before that a set is given up without a
 * word: the next sign is a BeginPrepareSnapshot for another one. */
static void abort_snapshots(struct coordinator *c)
{
    if (!c->was_ended || c->is_dead) return;
    unsigned times = c->was_aborted ? 0 : 1;
    for (times += draw(c, 3) == 1; times > 0; times--)
        for (unsigned i = 0; i < c->slot_count; i++)
            if (c->slots[i].is_in_set) call_of_set(c, &c->slots[i], ABORT);
    if (c->has_held_veto && c->seams.host->event_count && events(c) == c->quiet_events)
        rule_broken(c, RULE_veto_without_event,
                    "a veto while volumes were frozen, and none after it");
    if (disks_rescan(c)) judge_abort(c);
}

/* Windows takes back what it did, dead or alive: held writes and marks end by themselves. */
static void give_up(struct coordinator *c)
{
    release_writes(c);
    end_quiet(c);
    if (c->are_marked) unmark_sources(c);
    thaw_writers(c);
    abort_snapshots(c);
}

static void end_set(struct coordinator *c)
{
    let_providers_go(c);
    for (unsigned i = 0; i < c->slot_count; i++)
        c->slots[i].is_in_set = false;
    c->is_set_open = false;
}

/* ---- What the requester calls ---------------------------------------------------------------- */

static void drop_set(struct coordinator *c)
{
    end_set(c);
    set_destroy(c->seams.memory, c->set);
    c->set = NULL;
}

/* Nothing goes to a provider. */
HRESULT coordinator_start_set(struct coordinator *c, VSS_ID *ret_set)
{
    if (c->is_set_open && !atomic_load(&c->is_cancelled)) return VSS_E_SNAPSHOT_SET_IN_PROGRESS;
    drop_set(c);
    c->set = set_create();
    if (!c->set) return E_OUTOFMEMORY;
    if (!disks_rescan(c)) {
        drop_set(c);
        return VSS_E_UNEXPECTED;
    }
    c->seams.host->new_guid(c->seams.host, &c->set->id);
    c->set->context = c->context;
    memcpy(c->set->computer, c->seams.computer, sizeof c->set->computer);
    c->is_set_open = true;
    c->was_ended = c->was_aborted = c->was_located = false;
    c->are_marked = c->are_frozen = c->are_held = false;
    c->is_quiet = c->has_held_veto = false;
    atomic_store(&c->is_cancelled, false);
    if (ret_set) *ret_set = c->set->id;
    return S_OK;
}

/* The LUN of the set that this record is, or a new one of it. */
static unsigned add_lun(struct coordinator *c, const struct provider_slot *slot,
                        struct volume_luns *luns, unsigned disk)
{
    struct snapshot_set *set = c->set;
    const struct seen_disk *seen = c->disks.at[disk];
    for (unsigned i = 0; i < set->lun_count; i++)
        if (record_shares_identity(&set->luns[i].source, &seen->record)) return i;
    struct set_lun *lun = &set->luns[set->lun_count];
    for (LONG i = 0; i < luns->count; i++) {
        if (luns->disks[i] != disk) continue;
        lun->source = luns->at[i]; /* as the provider left it */
        luns->at[i] = (VDS_LUN_INFORMATION){0};
    }
    lun->provider = slot->registered.id;
    lun->disk_id = seen->table.disk_id;
    lun->block_count = seen->disk.block_count;
    lun->seen = UINT32_MAX;
    return set->lun_count++;
}

static void add_snapshot(struct coordinator *c, const struct provider_slot *slot,
                         const struct volume *volume, const VSS_ID *id, struct volume_luns *luns)
{
    struct snapshot_set *set = c->set;
    struct set_snapshot *snapshot = &set->snapshots[set->snapshot_count];
    *snapshot = (struct set_snapshot){
        .id = *id,
        .provider = slot->registered.id,
        .attributes = c->context | VSS_VOLSNAP_ATTR_HARDWARE_ASSISTED,
    };
    memcpy(snapshot->volume, volume->name, sizeof snapshot->volume);
    for (unsigned i = 0; i < volume->count; i++) {
        unsigned lun = add_lun(c, slot, luns, volume->extents[i].disk);
        set->extents[set->extent_count++] =
            (struct set_extent){set->snapshot_count, lun, volume->extents[i].partition,
                                volume->extents[i].first_lba, volume->extents[i].block_count};
    }
    set->snapshot_count++;
}

static HRESULT may_add(const struct coordinator *c, const struct volume *volume)
{
    const struct snapshot_set *set = c->set;
    for (unsigned i = 0; i < set->snapshot_count; i++)
        if (strcmp(set->snapshots[i].volume, volume->name) == 0) return VSS_E_OBJECT_ALREADY_EXISTS;
    bool is_full = set->snapshot_count == SET_VOLUMES_MAX ||
                   set->extent_count + volume->count > SET_EXTENTS_MAX ||
                   set->lun_count + volume->count > SET_LUNS_MAX;
    return is_full ? VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED : S_OK;
}

/* BeginPrepareSnapshot in the process that will hear all up to PostCommitSnapshots. */
static HRESULT begin_prepare(struct coordinator *c, struct provider_slot *slot,
                             const struct volume *volume, VSS_ID *ret_snapshot)
{
    struct volume_luns *luns;
    VSS_ID id;
    if (!volume_luns_make(c, volume, &luns)) return E_OUTOFMEMORY;
    bool is_first = !slot->is_in_set;
    if (is_first && !slot_hold(c, slot)) {
        volume_luns_free(c, luns);
        return VSS_E_UNEXPECTED_PROVIDER_ERROR;
    }
    c->seams.host->new_guid(c->seams.host, &id);
    VSS_PWSZ *devices = draw(c, 4) == 1 ? NULL : luns->names.at;
    HRESULT result = call_begin_prepare(c, slot, &id, luns->count, devices, luns->at);
    if (result == S_OK) {
        slot->is_in_set = true;
        add_snapshot(c, slot, volume, &id, luns);
        if (ret_snapshot) *ret_snapshot = id;
    } else if (is_first) {
        slot_let_go(c, slot);
    }
    volume_luns_free(c, luns);
    return result;
}

HRESULT coordinator_add_volume(struct coordinator *c, const char *name, const GUID *provider,
                               VSS_ID *ret_snapshot)
{
    struct volume volume;
    struct provider_slot *slot;
    if (!c->is_set_open || c->was_ended) return VSS_E_BAD_STATE;
    if (!volume_find(c, name, &volume)) return VSS_E_OBJECT_NOT_FOUND;
    HRESULT result = may_add(c, &volume);
    if (result == S_OK) result = select_provider(c, provider, &volume, &slot);
    if (result == S_OK) result = begin_prepare(c, slot, &volume, ret_snapshot);
    if (result == S_OK && fault_at(c, COORDINATOR_VANISH_AFTER, "BeginPrepareSnapshot"))
        c->is_dead = true;
    return result;
}

/* 100 ns since 1601. */
static int64_t filetime_now(void)
{
    return 116444736000000000 + (int64_t)time(NULL) * 10000000;
}

/* It is a set now: the document has it; and this host, if it was imported. */
static HRESULT keep_set(struct coordinator *c)
{
    const LONG kept = VSS_VOLSNAP_ATTR_PERSISTENT | VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE;
    c->set->created_filetime = filetime_now();
    if (is_transportable(c->set)) return S_OK;
    if (!arrival_surface(c, c->set)) return E_OUTOFMEMORY;
    if (!(c->set->context & kept) && c->volatile_count < HOST_SETS_MAX)
        c->volatile_sets[c->volatile_count++] = c->set->id;
    return S_OK;
}

HRESULT coordinator_do_set(struct coordinator *c)
{
    const struct step *step = draw(c, 2) ? order_of_the_prose : order_of_the_picture;
    HRESULT result = S_OK;
    if (c->is_dead || !c->is_set_open || c->set->snapshot_count == 0) return VSS_E_BAD_STATE;
    for (; step->name && result == S_OK; step++)
        result = run_step(c, step);
    if (result == S_OK) result = keep_set(c);
    if (result != S_OK) give_up(c);
    if (result == S_OK)
        end_set(c);
    else
        drop_set(c);
    return result;
}

void coordinator_cancel(struct coordinator *c)
{
    atomic_store(&c->is_cancelled, true);
    atomic_fetch_add(&c->cancel_depth, 1);
    for (unsigned i = 0; i < c->slot_count && atomic_load(&c->is_ending); i++)
        if (c->slots[i].is_in_set && c->slots[i].p) c->slots[i].p->abort(c->slots[i].p, c->set->id);
    atomic_fetch_sub(&c->cancel_depth, 1);
}
