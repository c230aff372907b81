#include "tests/sim/set_check.h"

#include "base/limits.h"

bool set_check_failed, set_check_quiet;

struct view look(struct rig *rig)
{
    struct view view = {.pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p"),
                        .sets = rig_ok(rig, "set_list", NULL),
                        .snapshots = rig_ok(rig, "snapshot_list", NULL),
                        .disks = rig_ok(rig, "disk_list", NULL),
                        .maps = rig_ok(rig, "map_list", NULL)};
    return view;
}

void look_away(struct view *view)
{
    json_decref(view->pool);
    json_decref(view->sets);
    json_decref(view->snapshots);
    json_decref(view->disks);
    json_decref(view->maps);
}

const json_t *set_called(const struct view *view, const char *name, bool live)
{
    size_t i;
    json_t *set;
    const json_t *found = NULL;
    json_array_foreach(json_object_get(view->sets, "sets"), i, set)
    {
        bool aborted = strcmp(rig_text(set, "state"), "aborted") == 0;
        if (strcmp(rig_text(set, "name"), name) == 0 && aborted != live) found = set;
    }
    return found;
}

/* Members of a set that are ready; -1 when some are not. */
static long ready_members(const struct view *view, const json_t *set)
{
    size_t i;
    json_t *snapshot;
    long ready = 0, others = 0;
    json_array_foreach(json_object_get(view->snapshots, "snapshots"), i, snapshot)
    {
        if (strcmp(rig_text(snapshot, "set_uuid"), rig_text(set, "uuid")) != 0) continue;
        if (strcmp(rig_text(snapshot, "state"), "ready") == 0) {
            ready++;
        } else {
            others++;
        }
    }
    return others && ready ? -1 : ready;
}

static void check_sets(const struct view *view, const char *where, bool just_started)
{
    size_t i;
    json_t *set;
    bool taken[LIMIT_LUNS_PER_HOST] = {false};
    json_array_foreach(json_object_get(view->sets, "sets"), i, set)
    {
        const char *state = rig_text(set, "state");
        size_t members = json_array_size(json_object_get(set, "members"));
        long ready = ready_members(view, set);
        if (strcmp(state, "prepared") == 0 || (!just_started && strcmp(state, "armed") == 0)) {
            MUST(ready == 0 && members > 0);
        } else if (strcmp(state, "aborted") == 0) {
            MUST(members == 0);
        } else {
            MUST(strcmp(state, "committed") == 0 || strcmp(state, "confirmed") == 0 ||
                 strcmp(state, "created") == 0);
            MUST(ready == (long)members && members > 0); /* whole */
        }
        size_t j;
        json_t *member;
        json_array_foreach(json_object_get(set, "members"), j, member)
        {
            long long lun = rig_number(member, "lun");
            if (lun < 0) continue;
            MUST(lun > 0 && lun < LIMIT_LUNS_PER_HOST && !taken[lun]);
            taken[lun] = true;
        }
    }
}

void check_world(struct rig *rig, const char *where, bool just_started)
{
    struct view view = look(rig);
    MUST(view.pool && view.sets && view.snapshots && view.disks && view.maps);
    if (view.pool && view.sets && view.snapshots && view.disks && view.maps) {
        size_t i;
        json_t *item;
        MUST(strcmp(rig_text(view.pool, "state"), "ok") == 0);
        MUST(rig_number(view.pool, "unclaimed_count") == 0); /* no orphan point */
        MUST(rig_number(view.pool, "unclaimed_disk_count") == 0);
        json_array_foreach(json_object_get(view.snapshots, "snapshots"), i, item)
        {
            const char *state = rig_text(item, "state");
            MUST(strcmp(state, "ready") == 0 || strcmp(state, "pending") == 0);
        }
        json_array_foreach(json_object_get(view.disks, "disks"), i, item)
        {
            MUST(strcmp(rig_text(item, "state"), "ready") == 0);
        }
        json_array_foreach(json_object_get(view.maps, "maps"), i, item)
        {
            MUST(rig_number(item, "lun") > 0);
        }
        check_sets(&view, where, just_started);
    }
    look_away(&view);
}
