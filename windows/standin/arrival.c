/* arrival.c - how shadow copies come to a host: LocateLuns, the rescan, FillInLunInfo for each disk
 * that arrived, and what Windows writes to them then (Importing Transportable Shadow Copied
 * Volumes; LocateLuns; FillInLunInfo). */
#include <stdio.h>

#include "windows/standin/coordinator_int.h"

/* ---- LocateLuns ------------------------------------------------------------------------------ */

/* The targets of one provider, from `first` on; which of the set's LUNs each is. */
struct batch {
    LONG count;
    VDS_LUN_INFORMATION at[SET_LUNS_MAX];
};

static unsigned make_batch(const struct snapshot_set *set, const GUID *provider, unsigned first,
                           unsigned max, struct batch *ret_batch)
{
    ret_batch->count = 0;
    unsigned i = first;
    for (; i < set->lun_count && (unsigned)ret_batch->count < max; i++)
        if (!set->luns[i].is_gone && guid_same(&set->luns[i].provider, provider))
            ret_batch->at[ret_batch->count++] = set->luns[i].target; /* borrowed: [in] */
    return i;
}

/* All LUNs at once, or in several calls; and a call may come again. */
static HRESULT locate_provider(struct coordinator *c, struct provider_slot *slot,
                               const struct snapshot_set *set)
{
    HRESULT result = S_OK;
    struct batch *batch = calloc(1, sizeof *batch);
    if (!batch) return E_OUTOFMEMORY;
    unsigned max = draw(c, 3) == 1 ? 1 + draw(c, 4) : SET_LUNS_MAX;
    for (unsigned next = 0; result == S_OK && next < set->lun_count;) {
        next = make_batch(set, &slot->registered.id, next, max, batch);
        if (batch->count == 0) break;
        result = call_locate_luns(c, slot, batch->count, batch->at);
        if (result == S_OK && draw(c, 4) == 1)
            result = call_locate_luns(c, slot, batch->count, batch->at);
    }
    free(batch);
    return result;
}

static HRESULT locate(struct coordinator *c, const struct snapshot_set *set)
{
    HRESULT result = S_OK;
    c->was_located = true;
    for (unsigned i = 0; i < set->lun_count; i++) {
        if (!slot_find(c, &set->luns[i].provider)) return VSS_E_PROVIDER_NOT_REGISTERED;
        /* An old document's LUNs may be here because they were broken; those of a new set not. */
        unsigned seen = disks_find(&c->disks, &set->luns[i].target);
        if (set == c->set && seen != UINT32_MAX)
            rule_broken(c, RULE_served_before_locate, "LUN %u", c->disks.at[seen]->disk.lun);
    }
    for (unsigned i = 0; i < c->slot_count && result == S_OK; i++)
        result = locate_provider(c, &c->slots[i], set);
    return result;
}

/* ---- FillInLunInfo --------------------------------------------------------------------------- */

/* The LUN of the set that this disk is; by the disk's own bytes. */
static struct set_lun *lun_of_disk(struct snapshot_set *set, const struct seen_disk *disk)
{
    for (unsigned i = 0; i < set->lun_count; i++)
        if (!set->luns[i].is_gone && record_shares_identity(&disk->record, &set->luns[i].target))
            return &set->luns[i];
    return NULL;
}

static void judge_filled(struct coordinator *c, const struct seen_disk *disk, struct set_lun *lun,
                         const VDS_LUN_INFORMATION *filled, enum lun_answer answer, unsigned index)
{
    if (answer == LUN_IS_FOREIGN)
        rule_broken(c, RULE_fill_in_false_for_own, "LUN %u", disk->disk.lun);
    if (answer != LUN_IS_OWN) return;
    const char *difference = record_difference(filled, &lun->target);
    if (difference) {
        rule_broken(c, RULE_fill_in_differs, "LUN %u: the %s", disk->disk.lun, difference);
        return;
    }
    if (lun->seen != UINT32_MAX)
        rule_broken(c, RULE_lun_seen_twice, "LUNs %u and %u", c->disks.at[lun->seen]->disk.lun,
                    disk->disk.lun);
    lun->seen = index;
}

/* One disk that arrived: every provider of the set is asked whether it is its own. */
static bool identify_disk(struct coordinator *c, struct snapshot_set *set, unsigned index)
{
    struct seen_disk *disk = c->disks.at[index];
    struct set_lun *lun = lun_of_disk(set, disk);
    struct device_names *names = calloc(1, sizeof *names);
    bool ok = names != NULL;
    for (unsigned i = 0; ok && i < c->slot_count; i++) {
        VDS_LUN_INFORMATION filled;
        bool is_provider = lun && guid_same(&c->slots[i].registered.id, &lun->provider);
        ok = record_from_disk(c->seams.memory, &disk->disk, &disk->table.disk_id, &filled);
        if (!ok) break;
        device_name(names, 0, index);
        enum lun_answer answer = call_fill_in_lun_info(c, &c->slots[i], names->at[0], &filled);
        if (is_provider) judge_filled(c, disk, lun, &filled, answer, index);
        record_free(c->seams.memory, &filled);
    }
    free(names);
    return ok;
}

/* What is expected is asked for too: GetTargetLuns' record, which has to stay what it is. */
static bool identify_expected(struct coordinator *c, const struct set_lun *lun)
{
    VDS_LUN_INFORMATION copy;
    if (!record_copy(c->seams.memory, &lun->target, &copy)) return false;
    enum lun_answer answer = call_fill_in_lun_info(c, slot_find(c, &lun->provider), NULL, &copy);
    if (answer == LUN_IS_FOREIGN)
        rule_broken(c, RULE_fill_in_false_for_own, "the record of GetTargetLuns itself");
    else if (answer == LUN_IS_OWN && record_difference(&copy, &lun->target))
        rule_broken(c, RULE_fill_in_differs, "the record of GetTargetLuns itself: the %s",
                    record_difference(&copy, &lun->target));
    record_free(c->seams.memory, &copy);
    return true;
}

static bool identify(struct coordinator *c, struct snapshot_set *set)
{
    bool ok = true, is_backwards = draw(c, 2);
    for (unsigned n = 0; ok && n < c->disks.count; n++) {
        unsigned i = is_backwards ? c->disks.count - 1 - n : n;
        bool is_new = disks_find(&c->before, &c->disks.at[i]->record) == UINT32_MAX;
        if (is_new) ok = identify_disk(c, set, i);
    }
    for (unsigned i = 0; ok && i < set->lun_count; i++)
        if (!set->luns[i].is_gone) ok = identify_expected(c, &set->luns[i]);
    return ok;
}

/* ---- Arrival --------------------------------------------------------------------------------- */

/* The marks that VSS put on the source between EndPrepareSnapshots and CommitSnapshots are in every
 * point in time that was taken between hold and release, and in no other. */
static void judge_marks(struct coordinator *c, const struct snapshot_set *set)
{
    for (unsigned e = 0; e < set->extent_count; e++) {
        const struct set_lun *lun = &set->luns[set->extents[e].lun];
        if (lun->is_gone || lun->seen == UINT32_MAX) continue;
        const struct si_gpt *table = &c->disks.at[lun->seen]->table;
        bool has_marks = false;
        for (unsigned i = 0; i < table->count; i++)
            if (table->partitions[i].first_lba == set->extents[e].first_lba)
                has_marks = (table->partitions[i].attributes & SI_GPT_MARKS) == SI_GPT_MARKS;
        if (!has_marks)
            rule_broken(c, RULE_cut_outside_hold, "LUN %u is without the marks of VSS",
                        c->disks.at[lun->seen]->disk.lun);
    }
}

HRESULT arrive(struct coordinator *c, struct snapshot_set *set)
{
    unsigned wanted = 0, there = 0;
    if (!disks_rescan(c)) return VSS_E_UNEXPECTED;
    for (unsigned i = 0; i < set->lun_count; i++)
        set->luns[i].seen = UINT32_MAX;
    HRESULT result = locate(c, set);
    if (result != S_OK) return result;
    if (!disks_rescan(c)) return VSS_E_UNEXPECTED;
    if (!identify(c, set)) return E_OUTOFMEMORY;
    for (unsigned i = 0; i < set->lun_count; i++) {
        if (set->luns[i].is_gone) continue;
        wanted++;
        there += set->luns[i].seen != UINT32_MAX;
        if (disks_find(&c->disks, &set->luns[i].target) == UINT32_MAX)
            rule_broken(c, RULE_located_lun_missing, "LUN %u of the set", i);
    }
    judge_marks(c, set);
    if (there == wanted) return S_OK;
    return there ? VSS_S_SOME_SNAPSHOTS_NOT_IMPORTED : VSS_E_NO_SNAPSHOTS_IMPORTED;
}

/* The original may be visible here too: other ids for the disk and for its partitions. */
HRESULT arrival_write_ids(struct coordinator *c, struct snapshot_set *set)
{
    HRESULT result = S_OK;
    for (unsigned i = 0; result == S_OK && i < set->lun_count; i++) {
        struct set_lun *lun = &set->luns[i];
        if (lun->is_gone || lun->seen == UINT32_MAX) continue;
        struct seen_disk *disk = c->disks.at[lun->seen];
        result = windows_wrote(c, si_gpt_new_ids(c->seams.machine, &disk->disk, c->seams.host),
                               "new ids on an imported disk");
        if (si_gpt_read(c->seams.machine, &disk->disk, &disk->table) != SI_IO_OK)
            disk->table.count = 0;
    }
    return result;
}

static unsigned next_device(struct coordinator *c)
{
    struct si_host *h = c->seams.host;
    char text[24];
    char *kept = h->load(h, "next-device");
    unsigned n = kept ? (unsigned)strtoul(kept, NULL, 10) : 1;
    free(kept);
    snprintf(text, sizeof text, "%u", n + 1);
    h->save(h, "next-device", text);
    return n;
}

bool arrival_surface(struct coordinator *c, struct snapshot_set *set)
{
    for (unsigned i = 0; i < set->snapshot_count; i++)
        if (!set->snapshots[i].is_gone && !set->snapshots[i].device[0])
            snprintf(set->snapshots[i].device, sizeof set->snapshots[i].device,
                     "\\\\?\\GLOBALROOT\\Device\\HarddiskVolumeShadowCopy%u", next_device(c));
    set->is_imported = true;
    return host_save_set(c, set);
}
