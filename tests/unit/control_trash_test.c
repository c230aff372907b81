/* What is deleted can be had back for a while; on the real engine. */
#include "tests/unit/control_lun.h"

#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

static struct rig *furnished(void)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "n"));
    return rig;
}

static size_t count(struct rig *rig, const char *verb, const char *key)
{
    json_t *list = rig_ok(rig, verb, NULL);
    size_t n = json_array_size(json_object_get(list, key));
    json_decref(list);
    return n;
}

static bool set_is(struct rig *rig, const char *state)
{
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "n");
    bool same = strcmp(rig_text(set, "state"), state) == 0;
    json_decref(set);
    return same;
}

static void a_deleted_snapshot_comes_back_with_its_identity(void)
{
    struct rig *rig = furnished();
    json_t *before = rig_ok(rig, "snapshot_show", "{s:s}", "name", "n-a");
    json_t *answer = rig_ok(rig, "snapshot_delete", "{s:s}", "name", "n-a");
    expect(rig_text(answer, "expires_at")[0] != '\0');
    json_decref(answer);
    expect_eq(count(rig, "snapshot_list", "snapshots"), 1);
    expect_eq(count(rig, "trash_list", "trash"), 1);
    expect(set_is(rig, "created"));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a")); /* twice is once */
    expect_eq(rig_fails(rig, "snapshot_branch", "{s:s, s:s}", "name", "n-a", "new_name", "w"),
              STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "n-a"),
              STATUS_CONFLICT);
    expect(rig_restart(rig));
    expect_eq(count(rig, "trash_list", "trash"), 1);
    expect(rig_do(rig, "trash_restore", "{s:s}", "name", "n-a"));
    json_t *after = rig_ok(rig, "snapshot_show", "{s:s}", "name", "n-a");
    expect(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "n-a"), STATUS_NOT_FOUND);
    rig_destroy(rig);
}

static void a_set_goes_and_comes_whole_or_member_by_member(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "set_delete", "{s:s}", "name", "n"));
    expect(set_is(rig, "trashed"));
    expect_eq(count(rig, "set_list", "sets"), 0);
    expect_eq(count(rig, "trash_list", "trash"), 2);
    expect(rig_do(rig, "trash_restore", "{s:s}", "name", "n"));
    expect(set_is(rig, "created"));
    expect_eq(count(rig, "snapshot_list", "snapshots"), 2);
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a"));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-b"));
    expect(set_is(rig, "trashed"));
    expect(rig_do(rig, "trash_restore", "{s:s}", "name", "n-b"));
    expect(set_is(rig, "created"));
    expect_eq(count(rig, "trash_list", "trash"), 1);
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "n");
    expect_eq(json_array_size(json_object_get(set, "members")), 1);
    expect_str(rig_text(set, "history.6.state"), "created");
    json_decref(set);
    rig_destroy(rig);
}

static void a_name_in_the_trash_is_free_and_a_restore_asks_for_another(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "set_delete", "{s:s}", "name", "n"));
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "n"));
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "n"), STATUS_EXISTS);
    expect(strstr(rig->next, "--new-name") != NULL);
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "n-a"), STATUS_EXISTS);
    expect(rig_do(rig, "set_delete", "{s:s}", "name", "n"));
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "n-a"), STATUS_AMBIGUOUS);
    expect(rig_restart(rig));
    json_t *list = rig_ok(rig, "trash_list", NULL);
    expect_eq(json_array_size(json_object_get(list, "trash")), 4);
    expect(rig_do(rig, "trash_restore", "{s:s, s:s}", "name", rig_text(list, "trash.0.uuid"),
                  "new_name", "back"));
    json_decref(list);
    expect(rig_do(rig, "snapshot_show", "{s:s}", "name", "back"));
    expect(rig_do(rig, "disk_delete", "{s:s}", "name", "c"));
    expect(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "c", "size", "4M"));
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "c"), STATUS_EXISTS);
    expect(rig_do(rig, "trash_restore", "{s:s, s:s}", "name", "c", "new_name", "c2"));
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "c2");
    expect_eq(rig_number(disk, "size_bytes"), 16 << 20);
    json_decref(disk);
    rig_destroy(rig);
}

static void a_disk_comes_back_with_its_content_and_the_snapshots_that_went_with_it(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", 5));
    struct lun_host *host = lun_login(rig, "iqn.a");
    expect_eq(lun_put(host, 5, 3, 7), SCSI_STATUS_GOOD);
    json_t *before = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    char naa[40];
    snprintf(naa, sizeof naa, "%s", rig_text(before, "naa"));
    json_decref(before);
    expect_eq(rig_fails(rig, "disk_delete", "{s:s, s:b}", "name", "a", "with_snapshots", 1),
              STATUS_IN_USE);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", 5));
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "early"));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "early"));
    sim_run_for(rig->sim, RT_SECOND);
    expect_eq(rig_fails(rig, "disk_delete", "{s:s}", "name", "a"), STATUS_IN_USE); /* n-a lives */
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "a", "with_snapshots", 1));
    expect_eq(count(rig, "disk_list", "disks"), 2);
    expect_eq(count(rig, "trash_list", "trash"), 3);
    expect_eq(rig_unclaimed(rig), 0);
    expect_eq(rig_fails(rig, "map_add", "{s:s, s:s}", "host", "h", "disk", "a"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s]}", "disks", "a"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "pool_forget", "{s:s}", "name", "p"), STATUS_IN_USE);
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "early"), STATUS_CONFLICT);
    json_t *would = rig_ok(rig, "trash_restore", "{s:s, s:b}", "name", "a", "dry_run", 1);
    expect_str(rig_text(would, "would.1"), "restore snapshot \"n-a\" of disk \"a\"");
    json_decref(would);
    expect(rig_do(rig, "trash_restore", "{s:s}", "name", "a"));
    expect_eq(count(rig, "trash_list", "trash"), 1); /* "early" went before */
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", 5));
    expect_eq(lun_get(host, 5, 3), 7);
    json_t *after = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    expect_str(rig_text(after, "naa"), naa);
    json_decref(after);
    lun_logout(host);
    rig_destroy(rig);
}

static void the_trash_gives_its_space_back_after_a_day_by_itself(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a"));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "b", "with_snapshots", 1));
    sim_run_for(rig->sim, 23 * HOUR_NS);
    expect_eq(count(rig, "trash_list", "trash"), 3);
    sim_run_for(rig->sim, HOUR_NS + 5 * RT_SECOND);
    expect_eq(count(rig, "trash_list", "trash"), 0);
    expect_eq(rig_fails(rig, "set_show", "{s:s}", "name", "n"), STATUS_NOT_FOUND);
    expect_eq(rig_fails(rig, "disk_show", "{s:s}", "name", "b"), STATUS_NOT_FOUND);
    expect_eq(rig_unclaimed(rig), 0);
    expect(rig_restart(rig));
    expect_eq(rig_unclaimed(rig), 0);
    rig_destroy(rig);
}

static void how_long_it_keeps_can_be_set_and_none_deletes_at_once(void)
{
    struct rig *rig = furnished();
    expect_eq(rig_fails(rig, "server_set", "{s:s}", "trash", "soon"), STATUS_BAD_REQUEST);
    expect(rig_do(rig, "server_set", "{s:s}", "trash", "2h"));
    expect(rig_restart(rig));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a"));
    sim_run_for(rig->sim, HOUR_NS);
    expect_eq(count(rig, "trash_list", "trash"), 1);
    sim_run_for(rig->sim, HOUR_NS + 5 * RT_SECOND);
    expect_eq(count(rig, "trash_list", "trash"), 0);
    expect(rig_do(rig, "server_set", "{s:s}", "trash", "0"));
    json_t *answer = rig_ok(rig, "snapshot_delete", "{s:s}", "name", "n-b");
    expect_str(rig_text(answer, "expires_at"), "");
    json_decref(answer);
    expect_eq(count(rig, "trash_list", "trash"), 0);
    rig_destroy(rig);
}

static enum status as_operator(struct rig *rig, const char *verb, json_t *arguments)
{
    json_decref(rig_call_as(rig, CONTROL_ROLE_OPERATOR, verb, arguments, NULL));
    return rig->status;
}

static void only_an_administrator_deletes_past_the_trash(void)
{
    struct rig *rig = furnished();
    expect_eq(as_operator(rig, "snapshot_delete", json_pack("{s:s, s:b}", "name", "n-a", "now", 1)),
              STATUS_DENIED);
    expect_eq(as_operator(rig, "snapshot_delete", json_pack("{s:s}", "name", "n-a")), STATUS_OK);
    expect_eq(as_operator(rig, "trash_empty", json_object()), STATUS_DENIED);
    expect_eq(as_operator(rig, "server_set", json_pack("{s:s}", "trash", "0")), STATUS_DENIED);
    expect_eq(count(rig, "trash_list", "trash"), 1);
    expect(
        rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "n-a", "now", 1)); /* from the trash */
    expect_eq(count(rig, "trash_list", "trash"), 0);
    expect_eq(rig_unclaimed(rig), 0);
    rig_destroy(rig);
}

static void emptying_says_what_goes_and_takes_one_or_all(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "c", "name", "kept"));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a"));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "b", "with_snapshots", 1));
    json_t *would = rig_ok(rig, "trash_empty", "{s:b}", "dry_run", 1);
    expect_eq(json_array_size(json_object_get(would, "would")), 3);
    expect_str(rig_text(would, "would.0"), "delete for good disk \"b\"");
    json_decref(would);
    expect_eq(count(rig, "trash_list", "trash"), 3);
    expect_eq(rig_fails(rig, "trash_empty", "{s:s}", "name", "kept"), STATUS_NOT_FOUND);
    expect(rig_do(rig, "trash_empty", "{s:s}", "name", "n-a"));
    expect_eq(count(rig, "trash_list", "trash"), 2);
    expect(rig_do(rig, "trash_empty", NULL));
    expect_eq(count(rig, "trash_list", "trash"), 0);
    expect_eq(count(rig, "snapshot_list", "snapshots"), 1);
    expect_eq(rig_unclaimed(rig), 0);
    rig_destroy(rig);
}

static long long undo_count(struct rig *rig, const char *disk)
{
    json_t *list = rig_ok(rig, "disk_undo", "{s:s, s:b}", "name", disk, "list", 1);
    long long n = (long long)json_array_size(json_object_get(list, "undo_points"));
    json_decref(list);
    return n;
}

/* It would be there again after the next start. */
static void what_is_in_a_pool_that_has_failed_is_not_said_to_be_emptied(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a"));
    expect(rig_do(rig, "disk_delete", "{s:s}", "name", "c"));
    sim_node_fault(rig->node, SIM_FAULT_FLUSH_ERROR, "/pool", 0);
    expect_eq(rig_fails(rig, "disk_create", "{s:s, s:s}", "name", "x", "size", "1M"),
              STATUS_POOL_FAILED);
    expect_eq(rig_fails(rig, "trash_empty", "{s:s}", "name", "n-a"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "trash_empty", "{s:s}", "name", "c"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "trash_empty", "{s:s, s:b}", "name", "a", "undo", 1), STATUS_CONFLICT);
    expect_eq(count(rig, "trash_list", "trash"), 2);
    rig_crash(rig, SIM_CRASH_POWER);
    expect(rig_boot(rig));
    expect_eq(count(rig, "trash_list", "trash"), 2);
    expect(rig_do(rig, "trash_empty", "{s:s}", "name", "n-a"));
    expect(rig_do(rig, "trash_empty", "{s:s}", "name", "c"));
    expect_eq(count(rig, "trash_list", "trash"), 0);
    rig_destroy(rig);
}

static void undo_points_go_only_when_asked_for_and_the_disks_stay(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "n-a"));
    expect(rig_do(rig, "disk_revert", "{s:s, s:s}", "name", "b", "to", "n-b"));
    expect(rig_do(rig, "trash_empty", NULL));
    expect_eq(undo_count(rig, "a"), 1);
    json_t *would = rig_ok(rig, "trash_empty", "{s:b, s:b}", "undo", 1, "dry_run", 1);
    expect_eq(json_array_size(json_object_get(would, "would")), 2);
    expect(strstr(rig_text(would, "would.0"), "delete for good undo point \"") != NULL);
    json_decref(would);
    expect_eq(rig_fails(rig, "trash_empty", "{s:b, s:s}", "undo", 1, "name", "nosuch"),
              STATUS_NOT_FOUND);
    expect(rig_do(rig, "trash_empty", "{s:b, s:s}", "undo", 1, "name", "a"));
    expect_eq(undo_count(rig, "a"), 0);
    expect_eq(undo_count(rig, "b"), 1);
    expect_eq(rig_fails(rig, "disk_undo", "{s:s}", "name", "a"), STATUS_NOT_FOUND);
    expect(rig_do(rig, "trash_empty", "{s:b}", "undo", 1));
    expect_eq(undo_count(rig, "b"), 0);
    expect_eq(count(rig, "snapshot_list", "snapshots"), 2);
    expect_eq(rig_unclaimed(rig), 0);
    rig_destroy(rig);
}

static void a_dry_run_of_a_delete_names_the_trash_or_its_absence(void)
{
    struct rig *rig = furnished();
    json_t *would = rig_ok(rig, "set_delete", "{s:s, s:b}", "name", "n", "dry_run", 1);
    expect(strstr(rig_text(would, "would.0"), "in the trash until ") != NULL);
    expect(strstr(rig_text(would, "would.2"), "delete set \"n\" (in the trash") != NULL);
    json_decref(would);
    would = rig_ok(rig, "set_delete", "{s:s, s:b, s:b}", "name", "n", "dry_run", 1, "now", 1);
    expect_str(rig_text(would, "would.0"), "delete snapshot \"n-a\" of disk \"a\"");
    json_decref(would);
    expect(set_is(rig, "created"));
    rig_destroy(rig);
}

int main(void)
{
    run(a_deleted_snapshot_comes_back_with_its_identity);
    run(what_is_in_a_pool_that_has_failed_is_not_said_to_be_emptied);
    run(undo_points_go_only_when_asked_for_and_the_disks_stay);
    run(a_set_goes_and_comes_whole_or_member_by_member);
    run(a_name_in_the_trash_is_free_and_a_restore_asks_for_another);
    run(a_disk_comes_back_with_its_content_and_the_snapshots_that_went_with_it);
    run(the_trash_gives_its_space_back_after_a_day_by_itself);
    run(how_long_it_keeps_can_be_set_and_none_deletes_at_once);
    run(only_an_administrator_deletes_past_the_trash);
    run(emptying_says_what_goes_and_takes_one_or_all);
    run(a_dry_run_of_a_delete_names_the_trash_or_its_absence);
    return tap_done();
}
