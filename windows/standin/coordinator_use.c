/* coordinator_use.c - what is done with shadow copies that exist: import, deletion, break, mask
 * (Importing Transportable Shadow Copied Volumes; DeleteSnapshots; Breaking Shadow Copies). */
#include <stdio.h>

#include "windows/standin/coordinator_int.h"

static const LONG kept = VSS_VOLSNAP_ATTR_PERSISTENT | VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE;

/* ---- Import ---------------------------------------------------------------------------------- */

HRESULT coordinator_import(struct coordinator *c)
{
    struct snapshot_set *set = c->document;
    if (c->is_dead || !set) return VSS_E_BAD_STATE;
    if (!(set->context & VSS_VOLSNAP_ATTR_TRANSPORTABLE)) return VSS_E_NONTRANSPORTABLE_BCD;
    struct snapshot_set *known = host_load_set(c, &set->id);
    if (known) {
        /* "A shadow copy set may only be imported once." */
        set_destroy(c->seams.memory, known);
        return VSS_E_NO_SNAPSHOTS_IMPORTED;
    }
    for (unsigned i = 0; i < set->snapshot_count; i++)
        set->snapshots[i].device[0] = '\0';
    HRESULT result = arrive(c, set);
    if (FAILED(result)) return result; /* VSS does not clean up after it */
    HRESULT written = arrival_write_ids(c, set);
    if (written != S_OK) return written;
    if (!arrival_surface(c, set)) return E_OUTOFMEMORY;
    if (!(set->context & kept) && c->volatile_count < HOST_SETS_MAX)
        c->volatile_sets[c->volatile_count++] = set->id;
    return result;
}

/* ---- Deletion -------------------------------------------------------------------------------- */

/* No shadow copy that is still wanted is on it. */
static bool is_empty(const struct snapshot_set *set, unsigned lun)
{
    for (unsigned e = 0; e < set->extent_count; e++)
        if (set->extents[e].lun == lun && !set->snapshots[set->extents[e].snapshot].is_gone)
            return false;
    return true;
}

static void judge_empty(struct coordinator *c, const VDS_LUN_INFORMATION *target)
{
    if (!disks_rescan(c)) return;
    unsigned seen = disks_find(&c->disks, target);
    if (seen != UINT32_MAX)
        rule_broken(c, RULE_deleted_lun_remains, "LUN %u", c->disks.at[seen]->disk.lun);
    const struct seen_disk *lost = disks_lost(c, target, 1);
    if (lost) rule_broken(c, RULE_delete_took_another, "LUN %u", lost->disk.lun);
}

/* FillInLunInfo, then OnLunEmpty with what it made of the record; the disk is dismounted before,
 * and looked for after. */
static HRESULT empty_lun(struct coordinator *c, struct set_lun *lun)
{
    struct device_names *names = calloc(1, sizeof *names);
    struct provider_slot *slot = slot_find(c, &lun->provider);
    VDS_LUN_INFORMATION record;
    unsigned seen = disks_find(&c->disks, &lun->target);
    bool ok = names && slot &&
              (seen == UINT32_MAX ? record_copy(c->seams.memory, &lun->target, &record)
                                  : record_from_disk(c->seams.memory, &c->disks.at[seen]->disk,
                                                     &c->disks.at[seen]->table.disk_id, &record));
    if (!ok) {
        free(names);
        return slot ? E_OUTOFMEMORY : VSS_E_PROVIDER_NOT_REGISTERED;
    }
    if (seen != UINT32_MAX) device_name(names, 0, seen);
    HRESULT result = VSS_E_PROVIDER_VETO;
    enum lun_answer answer = call_fill_in_lun_info(c, slot, names->at[0], &record);
    if (answer == LUN_IS_OWN)
        result = call_on_lun_empty(c, slot, names->at[0], &record);
    else if (answer == LUN_IS_FOREIGN)
        rule_broken(c, RULE_fill_in_false_for_own, "before OnLunEmpty");
    if (result == S_OK && draw(c, 4) == 1) result = call_on_lun_empty(c, slot, NULL, &record);
    record_free(c->seams.memory, &record);
    free(names);
    if (result == S_OK) judge_empty(c, &lun->target);
    return result;
}

static HRESULT empty_luns(struct coordinator *c, struct snapshot_set *set)
{
    HRESULT result = S_OK;
    for (unsigned i = 0; i < set->lun_count && result == S_OK; i++) {
        if (set->luns[i].is_gone || !is_empty(set, i)) continue;
        result = empty_lun(c, &set->luns[i]);
        set->luns[i].is_gone = result == S_OK;
    }
    return result;
}

static void keep_rest(struct coordinator *c, const struct snapshot_set *set)
{
    for (unsigned i = 0; i < set->snapshot_count; i++) {
        if (set->snapshots[i].is_gone) continue;
        host_save_set(c, set);
        return;
    }
    host_forget_set(c, &set->id);
}

/* A shadow copy of the set, or with `id` NULL all of them. */
static HRESULT delete_of(struct coordinator *c, struct snapshot_set *set, const VSS_ID *id,
                         LONG *deleted, VSS_ID *not_deleted)
{
    for (unsigned i = 0; i < set->snapshot_count; i++) {
        struct set_snapshot *snapshot = &set->snapshots[i];
        if (snapshot->is_gone || (id && !guid_same(id, &snapshot->id))) continue;
        snapshot->is_gone = true;
        HRESULT result = empty_luns(c, set);
        if (result != S_OK) {
            snapshot->is_gone = false;
            *not_deleted = snapshot->id;
            keep_rest(c, set);
            return result;
        }
        ++*deleted;
    }
    keep_rest(c, set);
    return S_OK;
}

static bool has_snapshot(const struct snapshot_set *set, const VSS_ID *id)
{
    for (unsigned i = 0; i < set->snapshot_count; i++)
        if (!set->snapshots[i].is_gone && guid_same(&set->snapshots[i].id, id)) return true;
    return false;
}

HRESULT coordinator_delete(struct coordinator *c, const VSS_ID *id, bool is_set, LONG *ret_deleted,
                           VSS_ID *ret_not_deleted)
{
    VSS_ID ids[HOST_SETS_MAX];
    LONG deleted = 0;
    VSS_ID not_deleted = {0};
    HRESULT result = VSS_E_OBJECT_NOT_FOUND;
    unsigned count = c->is_dead || !disks_rescan(c) ? 0 : host_list_sets(c, ids);
    for (unsigned i = 0; i < count && result == VSS_E_OBJECT_NOT_FOUND; i++) {
        if (is_set && !guid_same(&ids[i], id)) continue;
        struct snapshot_set *set = host_load_set(c, &ids[i]);
        if (set && (is_set || has_snapshot(set, id)))
            result = delete_of(c, set, is_set ? NULL : id, &deleted, &not_deleted);
        set_destroy(c->seams.memory, set);
    }
    if (ret_deleted) *ret_deleted = deleted;
    if (ret_not_deleted) *ret_not_deleted = not_deleted;
    return result;
}

/* ---- Break and mask -------------------------------------------------------------------------- */

/* The records of one provider's LUNs of a set, and of their originals. */
struct pairs {
    DWORD count;
    VDS_LUN_INFORMATION snapshots[SET_LUNS_MAX], originals[SET_LUNS_MAX];
};

static HRESULT change_state(struct coordinator *c, const struct snapshot_set *set, DWORD flags)
{
    struct pairs *pairs = malloc(sizeof *pairs);
    HRESULT result = pairs ? S_OK : E_OUTOFMEMORY;
    for (unsigned s = 0; s < c->slot_count && result == S_OK; s++) {
        pairs->count = 0;
        for (unsigned i = 0; i < set->lun_count; i++) {
            const struct set_lun *lun = &set->luns[i];
            if (lun->is_gone || !guid_same(&lun->provider, &c->slots[s].registered.id)) continue;
            pairs->snapshots[pairs->count] = lun->target; /* borrowed: [in] */
            pairs->originals[pairs->count++] = lun->source;
        }
        if (pairs->count == 0) continue;
        result = call_on_lun_state_change(c, &c->slots[s], pairs->snapshots, pairs->originals,
                                          pairs->count, flags);
    }
    free(pairs);
    return result;
}

static void judge_masked(struct coordinator *c, const struct snapshot_set *set)
{
    VDS_LUN_INFORMATION *may_go = calloc(SET_LUNS_MAX, sizeof *may_go);
    unsigned count = 0;
    for (unsigned i = 0; may_go && i < set->lun_count; i++) {
        unsigned seen = disks_find(&c->disks, &set->luns[i].target);
        if (seen != UINT32_MAX)
            rule_broken(c, RULE_masked_lun_remains, "LUN %u", c->disks.at[seen]->disk.lun);
        may_go[count++] = set->luns[i].target;
    }
    const struct seen_disk *lost = may_go ? disks_lost(c, may_go, count) : NULL;
    if (lost) rule_broken(c, RULE_mask_took_another, "LUN %u", lost->disk.lun);
    free(may_go);
}

static HRESULT mask(struct coordinator *c, struct snapshot_set *set)
{
    HRESULT result = change_state(c, set, VSS_ONLUNSTATECHANGE_DO_MASK_LUNS);
    if (result != S_OK) return result;
    if (disks_rescan(c)) judge_masked(c, set);
    host_forget_set(c, &set->id);
    return S_OK;
}

static void judge_broken(struct coordinator *c, const struct snapshot_set *set)
{
    if (!disks_rescan(c)) return;
    for (unsigned i = 0; i < set->lun_count; i++)
        if (!set->luns[i].is_gone && disks_count(&c->disks, &set->luns[i].target) != 1)
            rule_broken(c, RULE_broken_lun_lost, "LUN %u of the set is seen %u times", i,
                        disks_count(&c->disks, &set->luns[i].target));
}

/* The ids that are on the original disks: not where one of these is visible. */
static bool originals_are_visible(const struct coordinator *c, const struct snapshot_set *set)
{
    for (unsigned i = 0; i < set->lun_count; i++)
        if (!set->luns[i].is_gone && disks_find(&c->disks, &set->luns[i].source) != UINT32_MAX)
            return true;
    return false;
}

static HRESULT write_broken(struct coordinator *c, const struct snapshot_set *set, DWORD flags)
{
    HRESULT result = S_OK;
    for (unsigned i = 0; i < set->lun_count && result == S_OK; i++) {
        unsigned seen = disks_find(&c->disks, &set->luns[i].target);
        if (set->luns[i].is_gone || seen == UINT32_MAX) continue;
        const struct si_disk *disk = &c->disks.at[seen]->disk;
        result = windows_wrote(c, si_gpt_unmark(c->seams.machine, disk, NULL),
                               "the marks of VSS off a broken disk");
        if (result == S_OK && (flags & VSS_BREAKEX_FLAG_REVERT_IDENTITY_ALL))
            result =
                windows_wrote(c, si_gpt_set_disk_id(c->seams.machine, disk, &set->luns[i].disk_id),
                              "the original's id on a broken disk");
    }
    return result;
}

static HRESULT break_set(struct coordinator *c, struct snapshot_set *set, bool is_plain,
                         DWORD flags)
{
    HRESULT result = S_OK;
    if ((flags & VSS_BREAKEX_FLAG_REVERT_IDENTITY_ALL) && originals_are_visible(c, set))
        return VSS_E_BREAK_REVERT_ID_FAILED;
    if (!is_plain && (flags & VSS_BREAKEX_FLAG_MAKE_READ_WRITE))
        result = change_state(c, set, VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE);
    if (result != S_OK) return result;
    judge_broken(c, set);
    result = write_broken(c, set, flags);
    host_forget_set(c, &set->id);
    return result;
}

HRESULT coordinator_break(struct coordinator *c, const VSS_ID *id, bool is_plain, DWORD flags)
{
    const DWORD both = VSS_BREAKEX_FLAG_REVERT_IDENTITY_ALL | VSS_BREAKEX_FLAG_REVERT_IDENTITY_NONE;
    if (c->is_dead || !disks_rescan(c)) return VSS_E_BAD_STATE;
    if ((flags & both) == both) return E_INVALIDARG;
    /* The LUNs go: there is nothing to make writable, and no id to write. */
    if ((flags & VSS_BREAKEX_FLAG_MASK_LUNS) && flags != VSS_BREAKEX_FLAG_MASK_LUNS)
        return E_INVALIDARG;
    struct snapshot_set *set = host_load_set(c, id);
    if (!set) return VSS_E_OBJECT_NOT_FOUND; /* not imported here */
    HRESULT result = !is_plain && (flags & VSS_BREAKEX_FLAG_MASK_LUNS)
                         ? mask(c, set)
                         : break_set(c, set, is_plain, is_plain ? 0 : flags);
    set_destroy(c->seams.memory, set);
    return result;
}
