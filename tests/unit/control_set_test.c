/* Snapshot sets on the memory engine: the way through, leases, lateness, aborting, deleting. */
#include "tests/unit/control_rig.h"

#include "base/limits.h"
#include "catalog/catalog.h"
#include "control/control_int.h"

static unsigned points(struct rig *rig)
{
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    unsigned unclaimed = (unsigned)rig_number(pool, "unclaimed_count");
    json_decref(pool);
    json_t *snapshots = rig_ok(rig, "snapshot_list", NULL);
    unsigned count = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(snapshots, "snapshots")); i++) {
        const json_t *s = json_array_get(json_object_get(snapshots, "snapshots"), i);
        count += strcmp(rig_text(s, "state"), "ready") == 0;
    }
    json_decref(snapshots);
    return unclaimed + count;
}

static bool state_is(struct rig *rig, const char *set, const char *state)
{
    json_t *json = rig_ok(rig, "set_show", "{s:s}", "name", set);
    bool same = strcmp(rig_text(json, "state"), state) == 0;
    json_decref(json);
    return same;
}

static bool prepare(struct rig *rig, const char *name)
{
    return rig_do(rig, "set_prepare", "{s:s, s:[s,s]}", "name", name, "disks", "a", "b");
}

static bool step(struct rig *rig, const char *verb, const char *set)
{
    return rig_do(rig, verb, "{s:s}", "name", set);
}

static void a_set_goes_from_prepared_to_created(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    json_t *set = rig_ok(rig, "set_prepare", "{s:s, s:[s,s]}", "name", "s", "disks", "a", "b");
    expect_str(rig_text(set, "state"), "prepared");
    expect_str(rig_text(set, "members.1.snapshot"), "s-b");
    expect_eq(rig_text(set, "members.0.naa")[0], '3');
    expect(rig_number(set, "lease_left_ms") > 899000);
    expect_eq(points(rig), 0);
    char naa[40];
    snprintf(naa, sizeof naa, "%s", rig_text(set, "members.0.naa"));
    json_decref(set);
    expect(step(rig, "set_arm", "s"));
    set = rig_ok(rig, "set_commit", "{s:s}", "name", "s");
    expect_str(rig_text(set, "state"), "committed");
    expect(rig_number(set, "generation") > 0);
    expect(rig_number(set, "commit_ns") >= 0);
    expect(rig_number(set, "cut_wall_ns") > 0);
    json_decref(set);
    expect_eq(points(rig), 2);
    expect(step(rig, "set_confirm", "s"));
    set = rig_ok(rig, "set_finish", "{s:s}", "name", "s");
    expect_str(rig_text(set, "state"), "created");
    expect_eq(rig_number(set, "application_consistent"), 1);
    expect_str(rig_text(set, "members.0.naa"), naa);
    expect_str(rig_text(set, "history.4.state"), "created");
    expect(json_is_null(json_object_get(set, "lease_left_ms")));
    json_decref(set);
    sim_run_for(rig->sim, 3600 * RT_SECOND); /* no lease holds a created set */
    expect(state_is(rig, "s", "created"));
    rig_destroy(rig);
}

static void without_a_confirm_a_set_is_created_as_crash_consistent(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(prepare(rig, "s"));
    expect(step(rig, "set_arm", "s"));
    expect(step(rig, "set_commit", "s"));
    json_t *set = rig_ok(rig, "set_finish", "{s:s}", "name", "s");
    expect_str(rig_text(set, "state"), "created");
    expect_eq(rig_number(set, "application_consistent"), 0);
    json_decref(set);
    expect(step(rig, "set_confirm", "s")); /* too late to claim it */
    expect(state_is(rig, "s", "created"));
    set = rig_ok(rig, "set_show", "{s:s}", "name", "s");
    expect_eq(rig_number(set, "application_consistent"), 0);
    json_decref(set);
    rig_destroy(rig);
}

static void each_step_may_be_repeated(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(prepare(rig, "s"));
    static const char *const verbs_in_order[] = {
        "set_renew",   "set_arm",     "set_arm",    "set_renew",  "set_commit", "set_commit",
        "set_confirm", "set_confirm", "set_finish", "set_finish", "set_commit", "set_abort"};
    for (unsigned i = 0; i < countof(verbs_in_order); i++)
        expect(step(rig, verbs_in_order[i], "s"));
    expect(state_is(rig, "s", "created")); /* the late abort was ignored */
    expect_eq(points(rig), 2);
    rig_destroy(rig);
}

static void steps_out_of_order_are_refused_and_say_what_to_do(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(prepare(rig, "s"));
    expect_eq(rig_fails(rig, "set_commit", "{s:s}", "name", "s"), STATUS_CONFLICT);
    expect_str(rig->next, "arm it first");
    expect_eq(rig_fails(rig, "set_confirm", "{s:s}", "name", "s"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "set_finish", "{s:s}", "name", "s"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "set_delete", "{s:s}", "name", "s"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s}", "name", "s-a"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "disk_delete", "{s:s, s:b}", "name", "a", "with_snapshots", 1),
              STATUS_IN_USE);
    expect(state_is(rig, "s", "prepared"));
    rig_destroy(rig);
}

static void an_aborted_set_leaves_nothing_but_its_history(void)
{
    static const char *const way[] = {"set_arm", "set_commit", "set_confirm"};
    for (unsigned length = 0; length <= countof(way); length++) {
        struct rig *rig = rig_create(RIG_MEMORY);
        rig_furnish(rig);
        expect(prepare(rig, "s"));
        for (unsigned i = 0; i < length; i++)
            expect(step(rig, way[i], "s"));
        json_t *set = rig_ok(rig, "set_abort", "{s:s}", "name", "s");
        expect_str(rig_text(set, "state"), "aborted");
        json_decref(set);
        expect(step(rig, "set_abort", "s"));
        expect_eq(points(rig), 0);
        json_t *snapshots = rig_ok(rig, "snapshot_list", NULL);
        expect_eq(json_array_size(json_object_get(snapshots, "snapshots")), 0);
        json_decref(snapshots);
        expect(prepare(rig, "s")); /* the name is free again */
        expect(rig_do(rig, "disk_delete", "{s:s}", "name", "c"));
        rig_destroy(rig);
    }
}

static void a_lease_that_ends_aborts_the_set(void)
{
    static const char *const way[] = {"set_arm", "set_commit", "set_confirm"};
    for (unsigned length = 0; length <= countof(way); length++) {
        if (length == 1) continue; /* armed: see below */
        struct rig *rig = rig_create(RIG_MEMORY);
        rig_furnish(rig);
        expect(rig_do(rig, "set_prepare", "{s:s, s:[s], s:i}", "name", "s", "disks", "a", "lease_s",
                      20));
        for (unsigned i = 0; i < length; i++)
            expect(step(rig, way[i], "s"));
        sim_run_for(rig->sim, 15 * RT_SECOND);
        expect(step(rig, "set_renew", "s"));
        sim_run_for(rig->sim, 15 * RT_SECOND);
        expect(!state_is(rig, "s", "aborted")); /* renewed in time */
        sim_run_for(rig->sim, 10 * RT_SECOND);
        expect(state_is(rig, "s", "aborted"));
        expect_eq(points(rig), 0);
        rig_destroy(rig);
    }
}

static void a_set_stays_armed_for_ten_seconds_at_most(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(prepare(rig, "s"));
    expect_eq(rig_fails(rig, "set_arm", "{s:s, s:i}", "name", "s", "armed_ms", 10001),
              STATUS_BAD_REQUEST);
    expect(step(rig, "set_arm", "s"));
    sim_run_for(rig->sim, 9 * RT_SECOND);
    expect(state_is(rig, "s", "armed"));
    sim_run_for(rig->sim, 2 * RT_SECOND);
    expect(state_is(rig, "s", "aborted"));
    expect_eq(rig_fails(rig, "set_commit", "{s:s}", "name", "s"), STATUS_CONFLICT);
    expect_eq(points(rig), 0);
    rig_destroy(rig);
}

static void a_commit_just_after_its_time_cuts_nothing(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig->lease_tick_ns = 60 * RT_SECOND; /* the tick does not come before the commit */
    expect(rig_restart(rig));
    rig_furnish(rig);
    expect(prepare(rig, "s"));
    expect(rig_do(rig, "set_arm", "{s:s, s:i}", "name", "s", "armed_ms", 50));
    sim_run_for(rig->sim, 51 * RT_MS);
    expect_eq(rig_fails(rig, "set_commit", "{s:s}", "name", "s"), STATUS_TOO_LATE);
    expect_eq(points(rig), 0);
    sim_run_for(rig->sim, 120 * RT_SECOND);
    expect(state_is(rig, "s", "aborted"));
    rig_destroy(rig);
}

static void prepare_refuses_what_cannot_work(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s,s]}", "disks", "a", "a"), STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s]}", "disks", "nothing"), STATUS_NOT_FOUND);
    expect_eq(rig_fails(rig, "set_prepare", "{s:[]}", "disks"), STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s], s:i}", "disks", "a", "lease_s", 0),
              STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s], s:s}", "disks", "a", "uuid", "x"),
              STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s], s:s}", "disks", "a", "host", "h"),
              STATUS_NOT_FOUND);
    expect(prepare(rig, "s"));
    expect_eq(rig_fails(rig, "set_prepare", "{s:s, s:[s]}", "name", "s", "disks", "c"),
              STATUS_EXISTS);
    expect(prepare(rig, "t")); /* no exclusive hold: several sets over one disk */
    rig_destroy(rig);
}

static bool branch_off(struct rig *rig, unsigned depth)
{
    char snapshot[8], branch[8];
    snprintf(snapshot, sizeof snapshot, "p%u", depth);
    snprintf(branch, sizeof branch, "w%u", depth + 1);
    return rig_do(rig, "snapshot_branch", "{s:s, s:s}", "name", snapshot, "new_name", branch);
}

static bool cut_one(struct rig *rig, const char *disk, unsigned depth)
{
    char snapshot[8];
    snprintf(snapshot, sizeof snapshot, "p%u", depth);
    return rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", disk, "name", snapshot);
}

/* What could not be branched off afterwards is refused before anything is frozen (design 6.3). */
static void prepare_refuses_a_disk_that_is_too_deep(void)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    char disk[8] = "a";
    for (unsigned depth = 0; depth < LIMIT_BRANCH_DEPTH; depth++) {
        expect(cut_one(rig, disk, depth));
        expect(branch_off(rig, depth));
        snprintf(disk, sizeof disk, "w%u", depth + 1);
    }
    unsigned before = points(rig);
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s,s], s:s}", "disks", "b", disk, "name", "s"),
              STATUS_LIMIT_REACHED);
    expect(strstr(rig->message, disk) != NULL);
    expect_eq(rig_fails(rig, "set_show", "{s:s}", "name", "s"), STATUS_NOT_FOUND);
    expect_eq(points(rig), before);
    rig_destroy(rig);
}

static void prepare_refuses_a_pool_without_room(void)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    long long room = rig_number(pool, "free_bytes");
    json_decref(pool);
    expect(room > 3 * (long long)MIB);
    json_t *disks = json_pack("[s,s,s]", "a", "b", "c");
    /* Each member wants 1 MiB: as many disks as there are MiB free, and one more. */
    for (long long i = 3; i < room / (long long)MIB + 1; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%lld", i);
        expect(rig_do(rig, "disk_create", "{s:s, s:s}", "name", name, "size", "1M"));
        json_array_append_new(disks, json_string(name));
    }
    json_t *answer = rig_call(rig, "set_prepare", json_pack("{s:o, s:s}", "disks", disks, "name", "s"));
    expect(answer == NULL);
    expect_eq(rig->status, STATUS_POOL_FULL);
    expect(rig->next[0] != '\0');
    json_decref(answer);
    expect_eq(rig_fails(rig, "set_show", "{s:s}", "name", "s"), STATUS_NOT_FOUND);
    expect(prepare(rig, "s")); /* two disks have room */
    rig_destroy(rig);
}

static void the_same_uuid_prepares_the_same_set(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    static const char uuid[] = "01234567-89ab-4cde-8f01-23456789abcd";
    json_t *first = rig_ok(rig, "set_prepare", "{s:[s], s:s}", "disks", "a", "uuid", uuid);
    json_t *second = rig_ok(rig, "set_prepare", "{s:[s], s:s}", "disks", "a", "uuid", uuid);
    expect_str(rig_text(first, "uuid"), uuid);
    expect_str(rig_text(first, "members.0.snapshot_uuid"),
               rig_text(second, "members.0.snapshot_uuid"));
    json_decref(first);
    json_decref(second);
    expect(step(rig, "set_arm", uuid));
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s], s:s}", "disks", "a", "uuid", uuid),
              STATUS_EXISTS);
    rig_destroy(rig);
}

static void snapshot_create_is_a_whole_set_that_is_not_application_consistent(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    json_t *one = rig_ok(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "one");
    expect_str(rig_text(one, "snapshots.0.name"), "one");
    expect_str(rig_text(one, "snapshots.0.state"), "ready");
    expect_str(rig_text(one, "set.state"), "created");
    expect_eq(rig_number(one, "set.application_consistent"), 0);
    json_decref(one);
    json_t *two =
        rig_ok(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "two");
    expect_str(rig_text(two, "snapshots.1.name"), "two-b");
    expect_eq(rig_number(two, "snapshots.0.generation"), rig_number(two, "snapshots.1.generation"));
    json_decref(two);
    json_t *list = rig_ok(rig, "snapshot_list", NULL);
    expect_str(rig_text(list, "snapshots.0.name"), "one"); /* oldest first */
    expect_eq(json_array_size(json_object_get(list, "snapshots")), 3);
    json_decref(list);
    expect(rig_do(rig, "snapshot_rename", "{s:s, s:s}", "name", "two-b", "new_name", "renamed"));
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "renamed", "dry_run", 1));
    expect_eq(points(rig), 3);
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "renamed", "now", 1));
    expect_eq(points(rig), 2);
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "two-a", "now", 1));
    expect_eq(rig_fails(rig, "set_show", "{s:s}", "name", "two"),
              STATUS_NOT_FOUND); /* went with its last member */
    expect(rig_do(rig, "set_delete", "{s:s, s:b}", "name", "one", "now", 1));
    expect_eq(points(rig), 0);
    rig_destroy(rig);
}

static void branches_stand_over_snapshots(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "one"));
    json_t *branch = rig_ok(rig, "snapshot_branch", "{s:s, s:s}", "name", "one", "new_name", "w");
    expect_str(rig_text(branch, "parent_snapshot"), "one");
    expect_str(rig_text(branch, "parent_disk"), "a");
    expect_eq(rig_number(branch, "depth"), 1);
    json_decref(branch);
    expect_eq(rig_fails(rig, "disk_delete", "{s:s, s:b}", "name", "a", "with_snapshots", 1),
              STATUS_IN_USE);
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "w", "now", 1));
    expect_eq(rig_fails(rig, "disk_delete", "{s:s}", "name", "a"), STATUS_IN_USE);
    expect(
        rig_do(rig, "disk_delete", "{s:s, s:b, s:b}", "name", "a", "with_snapshots", 1, "now", 1));
    expect_eq(rig_fails(rig, "snapshot_show", "{s:s}", "name", "one"), STATUS_NOT_FOUND);
    rig_destroy(rig);
}

static void a_snapshot_of_a_set_in_the_making_is_not_handed_out(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(
        rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.2026-11.x:h"));
    expect(prepare(rig, "s"));
    expect(step(rig, "set_arm", "s"));
    expect(step(rig, "set_commit", "s"));
    expect_eq(rig_fails(rig, "map_add", "{s:s, s:s}", "host", "h", "snapshot", "s-a"),
              STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "snapshot_branch", "{s:s, s:s}", "name", "s-a", "new_name", "w"),
              STATUS_CONFLICT);
    expect(step(rig, "set_confirm", "s"));
    expect(step(rig, "set_finish", "s"));
    expect(rig_do(rig, "map_add", "{s:s, s:s}", "host", "h", "snapshot", "s-a"));
    expect_eq(rig_fails(rig, "set_delete", "{s:s}", "name", "s"), STATUS_IN_USE);
    rig_destroy(rig);
}

int main(void)
{
    run(a_set_goes_from_prepared_to_created);
    run(without_a_confirm_a_set_is_created_as_crash_consistent);
    run(each_step_may_be_repeated);
    run(steps_out_of_order_are_refused_and_say_what_to_do);
    run(an_aborted_set_leaves_nothing_but_its_history);
    run(a_lease_that_ends_aborts_the_set);
    run(a_set_stays_armed_for_ten_seconds_at_most);
    run(a_commit_just_after_its_time_cuts_nothing);
    run(prepare_refuses_what_cannot_work);
    run(prepare_refuses_a_disk_that_is_too_deep);
    run(prepare_refuses_a_pool_without_room);
    run(the_same_uuid_prepares_the_same_set);
    run(snapshot_create_is_a_whole_set_that_is_not_application_consistent);
    run(branches_stand_over_snapshots);
    run(a_snapshot_of_a_set_in_the_making_is_not_handed_out);
    return tap_done();
}
