/* Every verb on the memory engine: what it does, what it refuses, who may call it. */
#include "tests/unit/control_rig.h"

static void a_fresh_server_has_nothing_but_an_administrators_token(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    json_t *server = rig_ok(rig, "server_show", NULL);
    expect_str(rig_text(server, "name"), "test");
    expect_eq(rig_number(server, "pool_count"), 0);
    json_decref(server);
    json_t *tokens = rig_ok(rig, "token_list", NULL);
    expect_str(rig_text(tokens, "tokens.0.role"), "administrator");
    json_decref(tokens);
    expect_eq(sim_file_size(rig->node, "/state/admin.token"), 69);
    rig_destroy(rig);
}

static void disks_are_made_shown_grown_renamed_and_deleted(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    json_t *disk =
        rig_ok(rig, "disk_create", "{s:s, s:I}", "name", "d", "size", (json_int_t)1 << 20);
    expect_str(rig_text(disk, "state"), "ready");
    expect_eq(strlen(rig_text(disk, "naa")), 16);
    expect_eq(rig_text(disk, "naa")[0], '3');
    json_decref(disk);
    expect_eq(rig_fails(rig, "disk_create", "{s:s, s:s}", "name", "d", "size", "1M"),
              STATUS_EXISTS);
    expect_eq(rig_fails(rig, "disk_create", "{s:s, s:i}", "name", "e", "size", 1048577),
              STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "disk_create", "{s:s, s:s}", "name", "e", "size", "4K"),
              STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "disk_grow", "{s:s, s:s}", "name", "a", "size", "1M"),
              STATUS_BAD_REQUEST);
    disk = rig_ok(rig, "disk_grow", "{s:s, s:s}", "name", "a", "size", "32M");
    expect_eq(rig_number(disk, "size_bytes"), 32 << 20);
    json_decref(disk);
    expect(rig_do(rig, "disk_rename", "{s:s, s:s}", "name", "d", "new_name", "x"));
    expect_eq(rig_fails(rig, "disk_rename", "{s:s, s:s}", "name", "x", "new_name", "a"),
              STATUS_EXISTS);
    expect_eq(rig_fails(rig, "disk_show", "{s:s}", "name", "d"), STATUS_NOT_FOUND);
    json_t *dry = rig_ok(rig, "disk_delete", "{s:s, s:b}", "name", "x", "dry_run", 1);
    expect_eq(rig_number(dry, "dry_run"), 1);
    json_decref(dry);
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "x", "now", 1));
    expect_eq(rig_fails(rig, "disk_delete", "{s:s}", "name", "x"), STATUS_NOT_FOUND);
    rig_destroy(rig);
}

int main(void)
{
    run(a_fresh_server_has_nothing_but_an_administrators_token);
    run(disks_are_made_shown_grown_renamed_and_deleted);
    return tap_done();
}
