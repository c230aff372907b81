/* coordinator_resync.c - LUN resynchronisation: disks take the content of shadow copies again
 * (AddSnapshotToRecoverySet, RecoverSet; ResyncLuns). */
#include <stdio.h>

#include "windows/standin/coordinator_int.h"

/* ---- The pairs ------------------------------------------------------------------------------- */

HRESULT coordinator_add_to_recovery_set(struct coordinator *c, const VSS_ID *snapshot,
                                        const char *volume)
{
    if (c->is_dead || !c->document) return VSS_E_BAD_STATE;
    bool is_known = false;
    for (unsigned i = 0; i < c->document->snapshot_count; i++)
        is_known |= guid_same(&c->document->snapshots[i].id, snapshot);
    if (!is_known) return VSS_E_OBJECT_NOT_FOUND;
    for (unsigned i = 0; i < c->recovery_count; i++)
        if (guid_same(&c->recovery[i].snapshot, snapshot)) return VSS_E_OBJECT_ALREADY_EXISTS;
    if (c->recovery_count == SET_VOLUMES_MAX) return VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED;
    struct recovery_pair *pair = &c->recovery[c->recovery_count++];
    pair->snapshot = *snapshot;
    snprintf(pair->volume, sizeof pair->volume, "%s", volume ? volume : "");
    return S_OK;
}

/* A LUN of a shadow copy, and the disk that is to become it. */
struct lun_pair {
    unsigned lun;  /* of the document */
    unsigned disk; /* of coordinator.disks, before */
    struct si_gpt before;
    VDS_LUN_INFORMATION record; /* of the destination, before */
};

struct recovery {
    unsigned count;
    struct lun_pair *at[SET_LUNS_MAX];
};

static void recovery_free(struct coordinator *c, struct recovery *recovery)
{
    for (unsigned i = 0; i < recovery->count; i++) {
        record_free(c->seams.memory, &recovery->at[i]->record);
        free(recovery->at[i]);
    }
    free(recovery);
}

/* Two volumes of one LUN are one pair; but not with two destinations. */
static HRESULT add_pair(struct coordinator *c, struct recovery *recovery, unsigned lun,
                        unsigned disk)
{
    if (disk == UINT32_MAX) return VSS_E_MISSING_DISK;
    for (unsigned i = 0; i < recovery->count; i++) {
        if (recovery->at[i]->lun == lun && recovery->at[i]->disk == disk) return S_OK;
        if (recovery->at[i]->lun == lun || recovery->at[i]->disk == disk) return E_INVALIDARG;
    }
    struct lun_pair *pair = calloc(1, sizeof *pair);
    if (!pair) return E_OUTOFMEMORY;
    const struct seen_disk *seen = c->disks.at[disk];
    pair->lun = lun;
    pair->disk = disk;
    pair->before = seen->table;
    if (!record_from_disk(c->seams.memory, &seen->disk, &seen->table.disk_id, &pair->record)) {
        free(pair);
        return E_OUTOFMEMORY;
    }
    recovery->at[recovery->count++] = pair;
    return S_OK;
}

/* Where the nth LUN of the shadow copy goes. */
static unsigned destination(struct coordinator *c, const struct recovery_pair *pair, unsigned lun,
                            unsigned n)
{
    struct volume volume;
    if (!pair->volume[0]) return disks_find(&c->disks, &c->document->luns[lun].source);
    if (!volume_find(c, pair->volume, &volume) || n >= volume.count) return UINT32_MAX;
    return volume.extents[n].disk;
}

static HRESULT add_snapshot(struct coordinator *c, struct recovery *recovery,
                            const struct recovery_pair *pair)
{
    const struct snapshot_set *set = c->document;
    HRESULT result = S_OK;
    unsigned n = 0;
    for (unsigned e = 0; result == S_OK && e < set->extent_count; e++) {
        const struct set_extent *extent = &set->extents[e];
        if (!guid_same(&set->snapshots[extent->snapshot].id, &pair->snapshot)) continue;
        if (set->luns[extent->lun].is_gone) return VSS_E_OBJECT_NOT_FOUND;
        result = add_pair(c, recovery, extent->lun, destination(c, pair, extent->lun, n++));
    }
    return result;
}

static const char *original_name(const struct snapshot_set *set, const VSS_ID *snapshot)
{
    for (unsigned i = 0; i < set->snapshot_count; i++)
        if (guid_same(&set->snapshots[i].id, snapshot)) return set->snapshots[i].volume;
    return "";
}

static bool is_selected(struct coordinator *c, const char *name)
{
    struct volume volume;
    for (unsigned i = 0; i < c->recovery_count; i++) {
        const struct recovery_pair *pair = &c->recovery[i];
        const char *wanted =
            pair->volume[0] ? pair->volume : original_name(c->document, &pair->snapshot);
        if (volume_find(c, wanted, &volume) && strcmp(volume.name, name) == 0) return true;
    }
    return false;
}

/* The whole LUN is reverted: another volume on it would be lost with it. */
static bool has_unselected(struct coordinator *c, const struct recovery *recovery)
{
    char(*names)[SI_NAME_MAX] = calloc(SI_DISKS_MAX, SI_NAME_MAX);
    unsigned count = names ? volume_list(c, names, SI_DISKS_MAX) : 0;
    bool found = false;
    for (unsigned i = 0; i < count && !found; i++) {
        struct volume volume;
        if (!volume_find(c, names[i], &volume) || is_selected(c, names[i])) continue;
        for (unsigned e = 0; e < volume.count; e++)
            for (unsigned p = 0; p < recovery->count; p++)
                found |= recovery->at[p]->disk == volume.extents[e].disk;
    }
    free(names);
    return found;
}

/* ---- Is it true? ----------------------------------------------------------------------------- */

enum { CHUNK_BYTES = 65536, WHOLE_MAX_BYTES = 64 * 1024 * 1024, SAMPLES = 256 };

static bool read_chunk(struct coordinator *c, const struct si_disk *disk, uint64_t lba,
                       uint32_t blocks, uint8_t *to)
{
    return c->seams.machine->read(c->seams.machine, disk->handle, lba, blocks, to) == SI_IO_OK;
}

/* All of a small disk, samples of a large one. */
static bool same_content(struct coordinator *c, const struct si_disk *a, const struct si_disk *b)
{
    uint64_t count = a->block_count < b->block_count ? a->block_count : b->block_count;
    uint32_t chunk = CHUNK_BYTES / a->block_bytes;
    uint64_t step = chunk;
    if (count > WHOLE_MAX_BYTES / a->block_bytes) step = count / SAMPLES / chunk * chunk;
    uint8_t *x = malloc(CHUNK_BYTES), *y = malloc(CHUNK_BYTES);
    bool same = x && y && a->block_bytes == b->block_bytes;
    for (uint64_t lba = 0; same && lba < count; lba += step) {
        uint32_t blocks = count - lba < chunk ? (uint32_t)(count - lba) : chunk;
        same = read_chunk(c, a, lba, blocks, x) && read_chunk(c, b, lba, blocks, y) &&
               memcmp(x, y, (size_t)blocks * a->block_bytes) == 0;
    }
    free(x);
    free(y);
    return same;
}

/* The partitions of the shadow copy are where they were. */
static bool has_partitions(const struct snapshot_set *set, unsigned lun, const struct si_gpt *table)
{
    for (unsigned e = 0; e < set->extent_count; e++) {
        if (set->extents[e].lun != lun) continue;
        bool found = false;
        for (unsigned i = 0; i < table->count; i++)
            found |= table->partitions[i].first_lba == set->extents[e].first_lba &&
                     (table->partitions[i].attributes & SI_GPT_MARKS) == SI_GPT_MARKS;
        if (!found) return false;
    }
    return true;
}

static void judge_pair(struct coordinator *c, const struct lun_pair *pair)
{
    const struct set_lun *lun = &c->document->luns[pair->lun];
    unsigned there = disks_find(&c->disks, &pair->record),
             snapshot = disks_find(&c->disks, &lun->target);
    if (there == UINT32_MAX || disks_count(&c->disks, &pair->record) != 1) {
        rule_broken(c, RULE_resync_identity, "the destination is not there any more");
        return;
    }
    const struct seen_disk *disk = c->disks.at[there];
    if (record_difference(&disk->record, &pair->record))
        rule_broken(c, RULE_resync_identity, "LUN %u: another %s", disk->disk.lun,
                    record_difference(&disk->record, &pair->record));
    if (disk->disk.block_count != lun->block_count)
        rule_broken(c, RULE_resync_size, "LUN %u has %llu blocks, the shadow copy %llu",
                    disk->disk.lun, (unsigned long long)disk->disk.block_count,
                    (unsigned long long)lun->block_count);
    bool is_true = snapshot == UINT32_MAX
                       ? has_partitions(c->document, pair->lun, &disk->table)
                       : same_content(c, &disk->disk, &c->disks.at[snapshot]->disk);
    if (!is_true) rule_broken(c, RULE_resync_untrue, "LUN %u is something else", disk->disk.lun);
    bool was_there = disks_find(&c->before, &lun->target) != UINT32_MAX;
    if (was_there && snapshot == UINT32_MAX)
        rule_broken(c, RULE_resync_took_snapshot, "it was LUN %u of this host", disk->disk.lun);
}

/* ---- What Windows writes then ---------------------------------------------------------------- */

static bool is_disk_id_seen(const struct coordinator *c, const GUID *id, unsigned but)
{
    for (unsigned i = 0; i < c->disks.count; i++)
        if (i != but && c->disks.at[i]->table.count &&
            guid_same(&c->disks.at[i]->table.disk_id, id))
            return true;
    return false;
}

/* The id of a partition that began there: volumes keep their names. */
static const GUID *partition_before(const struct si_gpt *table, uint64_t first_lba)
{
    for (unsigned i = 0; i < table->count; i++)
        if (table->partitions[i].first_lba == first_lba) return &table->partitions[i].id;
    return NULL;
}

/* The disk's id: its own from before, or with the flag the original's; no marks; names as before. */
static HRESULT settle_disk(struct coordinator *c, const struct lun_pair *pair, DWORD flags)
{
    const struct set_lun *lun = &c->document->luns[pair->lun];
    unsigned there = disks_find(&c->disks, &pair->record);
    if (there == UINT32_MAX) return VSS_E_MISSING_DISK;
    const struct seen_disk *disk = c->disks.at[there];
    struct si_machine *m = c->seams.machine;
    bool is_revert = (flags & VSS_RECOVERY_REVERT_IDENTITY_ALL) != 0;
    const GUID *id =
        is_revert || guid_is_null(&pair->before.disk_id) ? &lun->disk_id : &pair->before.disk_id;
    if (is_revert && is_disk_id_seen(c, id, there)) return VSS_E_CANNOT_REVERT_DISKID;
    HRESULT result =
        windows_wrote(c, si_gpt_set_disk_id(m, &disk->disk, id), "the disk's id after a resync");
    for (unsigned i = 0; result == S_OK && i < disk->table.count; i++) {
        const struct si_partition *p = &disk->table.partitions[i];
        const GUID *name = partition_before(&pair->before, p->first_lba);
        if (name && !guid_same(name, &p->id))
            result = windows_wrote(c, si_gpt_set_partition_id(m, &disk->disk, &p->id, name),
                                   "a partition's id after a resync");
    }
    if (result != S_OK) return result;
    return windows_wrote(c, si_gpt_unmark(m, &disk->disk, NULL),
                         "the marks of VSS off after a resync");
}

/* ---- RecoverSet ------------------------------------------------------------------------------ */

struct arguments {
    DWORD count;
    VDS_LUN_INFORMATION sources[SET_LUNS_MAX], targets[SET_LUNS_MAX];
};

static HRESULT resync(struct coordinator *c, const struct recovery *recovery)
{
    struct arguments *arguments = malloc(sizeof *arguments);
    HRESULT result = arguments ? S_OK : E_OUTOFMEMORY;
    for (unsigned s = 0; s < c->slot_count && result == S_OK; s++) {
        arguments->count = 0;
        for (unsigned i = 0; i < recovery->count; i++) {
            const struct set_lun *lun = &c->document->luns[recovery->at[i]->lun];
            if (!guid_same(&lun->provider, &c->slots[s].registered.id)) continue;
            arguments->sources[arguments->count] = lun->target; /* borrowed: [in] */
            arguments->targets[arguments->count++] = recovery->at[i]->record;
        }
        if (arguments->count)
            result = call_resync_luns(c, &c->slots[s], arguments->sources, arguments->targets,
                                      arguments->count);
    }
    free(arguments);
    return result;
}

static HRESULT recover(struct coordinator *c, struct recovery *recovery, DWORD flags)
{
    HRESULT result = S_OK;
    for (unsigned i = 0; i < c->recovery_count && result == S_OK; i++)
        result = add_snapshot(c, recovery, &c->recovery[i]);
    if (result != S_OK) return result;
    if (!(flags & VSS_RECOVERY_NO_VOLUME_CHECK) && has_unselected(c, recovery))
        return VSS_E_UNSELECTED_VOLUME;
    for (unsigned i = 0; i < recovery->count; i++)
        if (!slot_find(c, &c->document->luns[recovery->at[i]->lun].provider))
            return VSS_E_PROVIDER_NOT_REGISTERED;
    result = resync(c, recovery);
    if (result != S_OK) return result;
    if (!disks_rescan(c)) return VSS_E_UNEXPECTED;
    for (unsigned i = 0; i < recovery->count; i++)
        judge_pair(c, recovery->at[i]);
    for (unsigned i = 0; i < recovery->count && result == S_OK; i++)
        result = settle_disk(c, recovery->at[i], flags);
    return result;
}

HRESULT coordinator_recover_set(struct coordinator *c, DWORD flags)
{
    if (c->is_dead || !c->document || c->recovery_count == 0) return VSS_E_BAD_STATE;
    if (!disks_rescan(c)) return VSS_E_UNEXPECTED;
    struct recovery *recovery = calloc(1, sizeof *recovery);
    if (!recovery) return E_OUTOFMEMORY;
    HRESULT result = recover(c, recovery, flags);
    recovery_free(c, recovery);
    c->recovery_count = 0;
    return result;
}
