/* A host's inventory: LUN number -> logical unit, and who must be told that it changed. */
#include "scsi/scsi_int.h"

#include <stdlib.h>

struct err *scsi_map_create(struct rt *rt, struct scsi_map **ret_map)
{
    struct scsi_map *map = calloc(1, sizeof *map);
    if (!map) return err_new(STATUS_NO_MEMORY, "create a LUN map");
    map->rt = rt;
    list_init(&map->nexuses);
    list_init(&map->leaving);
    *ret_map = map;
    return NULL;
}

void scsi_map_destroy(struct scsi_map *map)
{
    if (!map) return;
    check(list_is_empty(&map->nexuses));
    /* Only after a crash of the rt, which answers no more. */
    for (struct list_node *node; (node = list_pop_front(&map->leaving));) {
        struct scsi_map_entry *entry = list_entry(node, struct scsi_map_entry, leaving_link);
        if (list_is_linked(&entry->lun_link)) list_remove(&entry->lun_link);
        free(entry);
    }
    for (unsigned i = 0; i < LIMIT_LUNS_PER_HOST; i++)
        check(!map->entries[i]);
    free(map);
}

static void raise_luns_changed(struct scsi_map *map)
{
    list_for_each (node, &map->nexuses) {
        struct scsi_nexus *nexus = list_entry(node, struct scsi_nexus, map_link);
        /* Who has read the list since the change knows already. */
        if (!nexus->inventory_seen) nexus->luns_changed = true;
    }
}

static void note_change(struct scsi_map *map)
{
    list_for_each (node, &map->nexuses) {
        list_entry(node, struct scsi_nexus, map_link)->inventory_seen = false;
    }
    if (map->held) {
        map->changed_while_held = true;
    } else {
        raise_luns_changed(map);
    }
}

void scsi_map_hold_attention(struct scsi_map *map)
{
    map->held++;
}

void scsi_map_release_attention(struct scsi_map *map)
{
    check(map->held > 0);
    if (--map->held || !map->changed_while_held) return;
    map->changed_while_held = false;
    raise_luns_changed(map);
}

bool scsi_map_is_reported(const struct scsi_map *map)
{
    list_for_each (node, &map->nexuses) {
        if (!list_entry(node, struct scsi_nexus, map_link)->inventory_seen) return false;
    }
    return true;
}

struct err *scsi_map_add(struct scsi_map *map, unsigned number, struct scsi_lun *lun)
{
    if (number >= LIMIT_LUNS_PER_HOST) {
        return err_new(STATUS_BAD_REQUEST, "LUN %u is out of range: 0 to %d", number,
                       LIMIT_LUNS_PER_HOST - 1);
    }
    if (map->entries[number]) return err_new(STATUS_EXISTS, "LUN %u is in use", number);
    struct scsi_map_entry *entry = calloc(1, sizeof *entry);
    if (!entry) return err_new(STATUS_NO_MEMORY, "map LUN %u", number);
    entry->map = map;
    entry->lun = lun;
    entry->number = number;
    list_push_back(&lun->entries, &entry->lun_link);
    map->entries[number] = entry;
    /* A new logical unit for these nexuses: nothing that was kept of the number holds any more. */
    list_for_each (node, &map->nexuses) {
        list_entry(node, struct scsi_nexus, map_link)->attention[number] =
            scsi_attention_first(lun, 1 << SCSI_ATTENTION_POWER_ON);
    }
    note_change(map);
    return NULL;
}

static void entry_gone(struct rt_message *message)
{
    struct scsi_map_entry *entry = container_of(message, struct scsi_map_entry, message);
    void (*done)(void *arg) = entry->done;
    void *arg = entry->arg;
    list_remove(&entry->leaving_link);
    free(entry);
    if (done) done(arg);
}

static void entry_leave(struct scsi_map_entry *entry)
{
    list_remove(&entry->lun_link);
    entry->message.fn = entry_gone;
    rt_post(entry->map->rt, &entry->message);
}

void scsi_map_remove(struct scsi_map *map, unsigned number, void (*done)(void *arg), void *arg)
{
    check(number < LIMIT_LUNS_PER_HOST && map->entries[number]);
    struct scsi_map_entry *entry = map->entries[number];
    map->entries[number] = NULL;
    list_push_back(&map->leaving, &entry->leaving_link);
    entry->removed = true;
    entry->done = done;
    entry->arg = arg;
    list_for_each (node, &map->nexuses) {
        scsi_release_reservations_of(list_entry(node, struct scsi_nexus, map_link), entry->lun);
    }
    note_change(map);
    if (!entry->running) entry_leave(entry);
}

void scsi_map_replace(struct scsi_map *map, unsigned number, struct scsi_lun *lun,
                      void (*done)(void *arg), void *arg)
{
    check(number < LIMIT_LUNS_PER_HOST && map->entries[number]);
    struct scsi_map_entry *old = map->entries[number];
    struct scsi_map_entry *entry = calloc(1, sizeof *entry);
    check(entry);
    *entry = (struct scsi_map_entry){.map = map, .lun = lun, .number = number};
    list_push_back(&lun->entries, &entry->lun_link);
    map->entries[number] = entry;
    list_push_back(&map->leaving, &old->leaving_link);
    old->removed = old->replaced = true;
    old->done = done;
    old->arg = arg;
    list_for_each (node, &map->nexuses) {
        struct scsi_nexus *nexus = list_entry(node, struct scsi_nexus, map_link);
        scsi_release_reservations_of(nexus, old->lun);
        nexus->attention[number] = scsi_attention_first(
            lun, 1 << SCSI_ATTENTION_CONTENT | 1 << SCSI_ATTENTION_MODE_PARAMETERS);
    }
    if (!old->running) entry_leave(old);
}

void scsi_map_entry_hold(struct scsi_map_entry *entry)
{
    entry->running++;
}

void scsi_map_entry_drop(struct scsi_map_entry *entry)
{
    check(entry->running > 0);
    if (--entry->running == 0 && entry->removed) entry_leave(entry);
}

struct scsi_lun *scsi_map_find(const struct scsi_map *map, unsigned number)
{
    if (number >= LIMIT_LUNS_PER_HOST || !map->entries[number]) return NULL;
    return map->entries[number]->lun;
}

/* SAM-5 4.7: one level, peripheral device (bus 0) or flat space addressing. */
static bool parse_lun(const uint8_t field[8], unsigned *ret_number)
{
    for (unsigned i = 2; i < 8; i++) {
        if (field[i]) return false;
    }
    unsigned high = field[0] & 0x3F;
    switch (field[0] >> 6) {
    case 0:
        if (high) return false; /* another bus */
        *ret_number = field[1];
        return true;
    case 1:
        *ret_number = high << 8 | field[1];
        return true;
    default:
        return false;
    }
}

/* NULL: no logical unit there; *ret_number is UINT_MAX where the field names none. */
struct scsi_map_entry *scsi_map_lookup(const struct scsi_map *map, const uint8_t lun_field[8],
                                       unsigned *ret_number)
{
    if (!parse_lun(lun_field, ret_number)) {
        *ret_number = ~0U;
        return NULL;
    }
    return *ret_number < LIMIT_LUNS_PER_HOST ? map->entries[*ret_number] : NULL;
}
