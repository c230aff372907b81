/* select.c - which provider makes the shadow copy of a volume (Selecting Providers). */
#include <stdio.h>

#include "windows/standin/coordinator_int.h"

struct provider_slot *slot_find(struct coordinator *c, const GUID *provider)
{
    for (unsigned i = 0; i < c->slot_count; i++)
        if (guid_same(&c->slots[i].registered.id, provider)) return &c->slots[i];
    return NULL;
}

void volume_luns_free(struct coordinator *c, struct volume_luns *luns)
{
    if (!luns) return;
    for (LONG i = 0; i < luns->count; i++)
        record_free(c->seams.memory, &luns->at[i]);
    free(luns);
}

static bool has_disk(const struct volume_luns *luns, unsigned disk)
{
    for (LONG i = 0; i < luns->count; i++)
        if (luns->disks[i] == disk) return true;
    return false;
}

/* Each LUN once in a call. */
bool volume_luns_make(struct coordinator *c, const struct volume *volume,
                      struct volume_luns **ret_luns)
{
    struct volume_luns *luns = calloc(1, sizeof *luns);
    for (unsigned i = 0; luns && i < volume->count; i++) {
        unsigned disk = volume->extents[i].disk;
        const struct seen_disk *seen = c->disks.at[disk];
        if (has_disk(luns, disk)) continue;
        if (!record_from_disk(c->seams.memory, &seen->disk, &seen->table.disk_id,
                              &luns->at[luns->count])) {
            volume_luns_free(c, luns);
            return false;
        }
        luns->disks[luns->count] = disk;
        device_name(&luns->names, (unsigned)luns->count, disk);
        luns->count++;
    }
    if (luns) *ret_luns = luns;
    return luns != NULL;
}

/* The device names may be left out (in, unique). */
static HRESULT ask(struct coordinator *c, struct provider_slot *slot, const struct volume *volume,
                   LONG context, bool *ret_supported)
{
    struct volume_luns *luns;
    if (!volume_luns_make(c, volume, &luns)) return E_OUTOFMEMORY;
    VSS_PWSZ *devices = draw(c, 4) == 1 ? NULL : luns->names.at;
    HRESULT result =
        call_are_luns_supported(c, slot, context, luns->count, devices, luns->at, ret_supported);
    volume_luns_free(c, luns);
    return result;
}

/* All LUNs of the volume, or none. */
static bool is_willing(struct coordinator *c, struct provider_slot *slot,
                       const struct volume *volume)
{
    const LONG both = VSS_VOLSNAP_ATTR_DIFFERENTIAL | VSS_VOLSNAP_ATTR_PLEX;
    bool supported = false;
    for (unsigned again = 0; again <= draw(c, 2); again++)
        if (ask(c, slot, volume, c->context, &supported) != S_OK) return false;
    if (supported && (c->context & both) == both)
        rule_broken(c, RULE_impossible_context_supported, "%s", slot->registered.name);
    return supported;
}

HRESULT select_provider(struct coordinator *c, const GUID *provider, const struct volume *volume,
                        struct provider_slot **ret_slot)
{
    struct provider_slot *chosen = NULL;
    if (provider && !guid_is_null(provider)) {
        chosen = slot_find(c, provider);
        if (!chosen) return VSS_E_PROVIDER_NOT_REGISTERED;
        if (!is_willing(c, chosen, volume)) return VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER;
        *ret_slot = chosen;
        return S_OK;
    }
    /* Every registered hardware provider is asked; which of the willing ones it is, is undefined. */
    unsigned first = c->slot_count ? draw(c, c->slot_count) : 0;
    for (unsigned i = 0; i < c->slot_count; i++) {
        struct provider_slot *slot = &c->slots[(first + i) % c->slot_count];
        if (is_willing(c, slot, volume) && !chosen) chosen = slot;
    }
    if (!chosen) return VSS_E_VOLUME_NOT_SUPPORTED; /* there is no system provider here */
    *ret_slot = chosen;
    return S_OK;
}

HRESULT coordinator_is_volume_supported(struct coordinator *c, const GUID *provider,
                                        const char *name, BOOL *ret_supported)
{
    struct volume volume;
    struct provider_slot *slot;
    if (!ret_supported) return E_INVALIDARG;
    *ret_supported = FALSE;
    if (!disks_rescan(c) || !volume_find(c, name, &volume)) return VSS_E_OBJECT_NOT_FOUND;
    HRESULT result = select_provider(c, provider, &volume, &slot);
    if (result == VSS_E_PROVIDER_NOT_REGISTERED) return result;
    *ret_supported = result == S_OK;
    return S_OK;
}
