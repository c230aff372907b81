/* disks.c - the disks and volumes of this host, as its own initiator sees them. */
#include <stdio.h>

#include "windows/standin/coordinator_int.h"

/* PARTITION_BASIC_DATA_GUID: the only partitions that are volumes with a name. */
static const GUID basic_data = {
    0xEBD0A0A2, 0xB9E5, 0x4433, {0x87, 0xC0, 0x68, 0xB6, 0xB7, 0x26, 0x99, 0xC7}};

/* ---- The rescan ------------------------------------------------------------------------------ */

static void forget_disk(struct coordinator *c, struct seen_disk *disk)
{
    record_free(c->seams.memory, &disk->record);
    free(disk);
}

void disks_forget(struct coordinator *c, struct seen_disks *disks)
{
    for (unsigned i = 0; i < disks->count; i++)
        forget_disk(c, disks->at[i]);
    disks->count = 0;
}

static struct seen_disk *look_at(struct coordinator *c, const struct si_disk *disk)
{
    struct seen_disk *seen = calloc(1, sizeof *seen);
    if (!seen) return NULL;
    seen->disk = *disk;
    if (si_gpt_read(c->seams.machine, disk, &seen->table) != SI_IO_OK)
        seen->table = (struct si_gpt){.state = SI_GPT_NONE};
    const GUID *disk_id =
        seen->table.count || seen->table.state == SI_GPT_SOUND ? &seen->table.disk_id : NULL;
    if (record_from_disk(c->seams.memory, disk, disk_id, &seen->record)) return seen;
    free(seen); /* no disk: a LUN without pages, or not mapped any more */
    return NULL;
}

bool disks_rescan(struct coordinator *c)
{
    struct si_disk *found = calloc(SI_DISKS_MAX, sizeof *found);
    if (!found) return false;
    unsigned count = c->seams.machine->rescan(c->seams.machine, found);
    if (count == UINT32_MAX) {
        free(found);
        return false;
    }
    disks_forget(c, &c->before);
    c->before = c->disks;
    c->disks.count = 0;
    for (unsigned i = 0; i < count && i < SI_DISKS_MAX; i++) {
        struct seen_disk *seen = look_at(c, &found[i]);
        if (seen) c->disks.at[c->disks.count++] = seen;
    }
    free(found);
    return true;
}

unsigned disks_find(const struct seen_disks *disks, const VDS_LUN_INFORMATION *lun)
{
    for (unsigned i = 0; i < disks->count; i++)
        if (record_shares_identity(&disks->at[i]->record, lun)) return i;
    return UINT32_MAX;
}

unsigned disks_count(const struct seen_disks *disks, const VDS_LUN_INFORMATION *lun)
{
    unsigned count = 0;
    for (unsigned i = 0; i < disks->count; i++)
        count += record_shares_identity(&disks->at[i]->record, lun);
    return count;
}

const struct seen_disk *disks_lost(const struct coordinator *c, const VDS_LUN_INFORMATION *may_go,
                                   unsigned may_go_count)
{
    for (unsigned i = 0; i < c->before.count; i++) {
        const VDS_LUN_INFORMATION *lun = &c->before.at[i]->record;
        bool may = disks_find(&c->disks, lun) != UINT32_MAX;
        for (unsigned j = 0; !may && j < may_go_count; j++)
            may = record_shares_identity(lun, &may_go[j]);
        if (!may) return c->before.at[i];
    }
    return NULL;
}

/* ---- Volumes --------------------------------------------------------------------------------- */

static bool is_volume(const struct si_partition *p)
{
    return guid_same(&p->type, &basic_data) && !(p->attributes & SI_GPT_SHADOW_COPY);
}

/* Partitions of several disks with one name "span:..." are one volume. */
static bool is_span(const struct si_partition *p)
{
    return strncmp(p->name, "span:", 5) == 0;
}

static void add_extent(struct volume *volume, unsigned disk, const struct si_partition *p)
{
    if (volume->count == VOLUME_EXTENTS_MAX) return;
    volume->extents[volume->count].disk = disk;
    volume->extents[volume->count].partition = p->id;
    volume->extents[volume->count].first_lba = p->first_lba;
    volume->extents[volume->count].block_count = p->block_count;
    volume->count++;
}

/* The first partition of a span has the volume's name; the others have none of their own. */
static bool is_first_of_span(const struct coordinator *c, unsigned disk,
                             const struct si_partition *p)
{
    for (unsigned d = 0; d <= disk; d++) {
        const struct si_gpt *table = &c->disks.at[d]->table;
        for (unsigned i = 0; i < table->count; i++) {
            const struct si_partition *other = &table->partitions[i];
            if (other == p) return true;
            if (is_volume(other) && strcmp(other->name, p->name) == 0) return false;
        }
    }
    return true;
}

static void make_volume(const struct coordinator *c, unsigned disk, const struct si_partition *p,
                        struct volume *ret)
{
    char id[GUID_TEXT_MAX];
    *ret = (struct volume){0};
    snprintf(ret->name, sizeof ret->name, "\\\\?\\Volume{%s}\\", guid_format(&p->id, id));
    if (!is_span(p)) {
        add_extent(ret, disk, p);
        return;
    }
    for (unsigned d = 0; d < c->disks.count; d++) {
        const struct si_gpt *table = &c->disks.at[d]->table;
        for (unsigned i = 0; i < table->count; i++)
            if (is_volume(&table->partitions[i]) && strcmp(table->partitions[i].name, p->name) == 0)
                add_extent(ret, d, &table->partitions[i]);
    }
}

/* The nth volume of this host. */
static bool nth_volume(const struct coordinator *c, unsigned n, struct volume *ret)
{
    for (unsigned d = 0; d < c->disks.count; d++) {
        const struct si_gpt *table = &c->disks.at[d]->table;
        for (unsigned i = 0; i < table->count; i++) {
            const struct si_partition *p = &table->partitions[i];
            if (!is_volume(p) || (is_span(p) && !is_first_of_span(c, d, p)) || n-- > 0) continue;
            make_volume(c, d, p, ret);
            return true;
        }
    }
    return false;
}

static bool same_name(const char *a, const char *b)
{
    size_t x = strlen(a), y = strlen(b);
    if (x && a[x - 1] == '\\') x--;
    if (y && b[y - 1] == '\\') y--;
    return x == y && strncmp(a, b, x) == 0;
}

bool volume_find(struct coordinator *c, const char *name, struct volume *ret_volume)
{
    struct volume volume;
    for (unsigned n = 0; nth_volume(c, n, &volume); n++) {
        if (!same_name(volume.name, name)) continue;
        *ret_volume = volume;
        return true;
    }
    return false;
}

unsigned volume_list(struct coordinator *c, char ret_names[][SI_NAME_MAX], unsigned max)
{
    struct volume volume;
    unsigned n = 0;
    for (; n < max && nth_volume(c, n, &volume); n++)
        memcpy(ret_names[n], volume.name, SI_NAME_MAX);
    return n;
}

void device_name(struct device_names *names, unsigned i, unsigned disk)
{
    char text[DEVICE_CHARS];
    int length = snprintf(text, sizeof text, "\\\\?\\PhysicalDrive%u", disk);
    for (int n = 0; n <= length; n++)
        names->text[i][n] = (WCHAR)text[n];
    names->at[i] = names->text[i];
}

/* ---- Writing --------------------------------------------------------------------------------- */

HRESULT windows_wrote(struct coordinator *c, enum si_io io, const char *what)
{
    switch (io) {
    case SI_IO_OK:
        return S_OK;
    case SI_IO_DATA_PROTECT:
        rule_broken(c, RULE_write_protected, "%s: DATA PROTECT", what);
        break;
    case SI_IO_RESERVATION_CONFLICT:
        rule_broken(c, RULE_write_reserved, "%s: RESERVATION CONFLICT", what);
        break;
    case SI_IO_NO_SPACE:
        return VSS_E_INSUFFICIENT_STORAGE;
    case SI_IO_GONE:
        rule_broken(c, RULE_write_failed, "%s: the LUN is gone", what);
        break;
    case SI_IO_ERROR:
        rule_broken(c, RULE_write_failed, "%s: an error", what);
        break;
    }
    return VSS_E_UNEXPECTED;
}
