/* Groups of hosts, grants between them, and whose a set is. */
#include "tests/unit/control_rig.h"

#include "control/host_int.h"

static void make_hosts(struct rig *rig)
{
    static const char *const names[] = {"h1", "h2", "h3"};
    for (unsigned i = 0; i < countof(names); i++) {
        char initiator[64];
        snprintf(initiator, sizeof initiator, "iqn.2026-11.x:%s", names[i]);
        expect(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", names[i], "initiators",
                      initiator, "auth", "none"));
    }
}

static struct host *host(struct rig *rig, const char *name)
{
    struct host *found = NULL;
    struct err *e = find_host(rig->control, name, &found);
    check(!e);
    return found;
}

static struct uuid owner_of(struct rig *rig, const char *name)
{
    struct set *set = NULL;
    struct err *e = find_set(rig->control, name, &set);
    check(!e);
    return set->owner;
}

static void a_host_is_in_one_group_at_most(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    make_hosts(rig);
    json_t *group = rig_ok(rig, "group_create", "{s:s, s:[s,s]}", "name", "g", "hosts", "h1", "h2");
    expect_str(rig_text(group, "hosts.0"), "h1");
    expect_str(rig_text(group, "hosts.1"), "h2");
    json_decref(group);
    expect_eq(rig_fails(rig, "group_create", "{s:s}", "name", "g"), STATUS_EXISTS);
    expect_eq(rig_fails(rig, "group_create", "{s:s, s:[s]}", "name", "k", "hosts", "h1"),
              STATUS_CONFLICT);
    expect(strstr(rig->next, "tarn group remove g h1"));
    expect(rig_do(rig, "group_create", "{s:s}", "name", "k"));
    expect_eq(rig_fails(rig, "group_add", "{s:s, s:s}", "name", "k", "host", "h1"),
              STATUS_CONFLICT);
    expect(rig_do(rig, "group_add", "{s:s, s:s}", "name", "k", "host", "h3"));
    expect(rig_do(rig, "group_add", "{s:s, s:s}", "name", "k", "host", "h3")); /* so it is */
    expect_eq(rig_fails(rig, "group_remove", "{s:s, s:s}", "name", "g", "host", "h3"),
              STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "group_add", "{s:s, s:s}", "name", "k", "host", "h9"),
              STATUS_NOT_FOUND);
    expect(rig_restart(rig));
    json_t *shown = rig_ok(rig, "host_show", "{s:s}", "name", "h3");
    expect_str(rig_text(shown, "group"), "k");
    json_decref(shown);
    expect(rig_do(rig, "group_remove", "{s:s, s:s}", "name", "k", "host", "h3"));
    expect(rig_do(rig, "group_remove", "{s:s, s:s}", "name", "k", "host", "h3"));
    expect(rig_do(rig, "host_delete", "{s:s}", "name", "h1"));
    shown = rig_ok(rig, "group_show", "{s:s}", "name", "g");
    expect_eq(json_array_size(json_object_get(shown, "hosts")), 1);
    json_decref(shown);
    rig_destroy(rig);
}

static void a_group_with_hosts_is_not_deleted(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    make_hosts(rig);
    expect(rig_do(rig, "group_create", "{s:s, s:[s]}", "name", "g", "hosts", "h1"));
    expect(rig_do(rig, "group_create", "{s:s}", "name", "k"));
    expect(rig_do(rig, "grant_add", "{s:s, s:s}", "to", "k", "from", "g"));
    expect(
        rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "s", "disks", "a", "host", "h1"));
    expect_eq(rig_fails(rig, "group_delete", "{s:s}", "name", "g"), STATUS_IN_USE);
    expect(rig_do(rig, "group_remove", "{s:s, s:s}", "name", "g", "host", "h1"));
    json_t *dry = rig_ok(rig, "group_delete", "{s:s, s:b}", "name", "g", "dry_run", 1);
    expect_str(rig_text(dry, "would.0"), "delete group \"g\"");
    expect_str(rig_text(dry, "would.1"), "end the grant that \"k\" imports from \"g\"");
    expect_str(rig_text(dry, "would.2"), "leave 1 set to administrators and backup operators");
    json_decref(dry);
    expect(rig_do(rig, "group_delete", "{s:s}", "name", "g"));
    for (unsigned round = 0; round < 2; round++) {
        json_t *grants = rig_ok(rig, "grant_list", NULL);
        expect_eq(json_array_size(json_object_get(grants, "grants")), 0);
        json_decref(grants);
        json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "s");
        expect(json_is_null(json_object_get(set, "owner")));
        json_decref(set);
        expect(rig_restart(rig));
    }
    rig_destroy(rig);
}

static void a_set_belongs_to_the_group_of_its_host(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    make_hosts(rig);
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s]}", "name", "nobodys", "disks", "a"));
    expect(
        rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "own", "disks", "a", "host", "h1"));
    expect(rig_do(rig, "group_create", "{s:s, s:[s,s]}", "name", "g", "hosts", "h1", "h2"));
    json_t *set = rig_ok(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "shared", "disks", "a",
                         "host", "h1");
    expect_str(rig_text(set, "owner"), "g");
    json_decref(set);
    for (unsigned round = 0; round < 2; round++) {
        struct control *control = rig->control;
        struct uuid nobodys = owner_of(rig, "nobodys"), own = owner_of(rig, "own"),
                    shared = owner_of(rig, "shared");
        expect(!host_owns(control, host(rig, "h1"), &nobodys));
        expect(host_owns(control, host(rig, "h1"), &own));
        expect(host_owns(control, host(rig, "h2"), &own)); /* h1 has joined its group */
        expect(!host_owns(control, host(rig, "h3"), &own));
        expect(host_owns(control, host(rig, "h1"), &shared));
        expect(host_owns(control, host(rig, "h2"), &shared));
        expect(!host_owns(control, host(rig, "h3"), &shared));
        expect(rig_restart(rig));
    }
    expect(rig_do(rig, "group_remove", "{s:s, s:s}", "name", "g", "host", "h1"));
    struct uuid own = owner_of(rig, "own"), shared = owner_of(rig, "shared");
    expect(host_owns(rig->control, host(rig, "h1"), &own));
    expect(!host_owns(rig->control, host(rig, "h2"), &own));
    expect(!host_owns(rig->control, host(rig, "h1"), &shared)); /* stays with the group */
    expect(host_owns(rig->control, host(rig, "h2"), &shared));
    rig_destroy(rig);
}

static void a_grant_goes_one_way_and_ends(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    make_hosts(rig);
    expect(
        rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "own", "disks", "a", "host", "h1"));
    expect(rig_do(rig, "group_create", "{s:s, s:[s]}", "name", "makers", "hosts", "h1"));
    expect(rig_do(rig, "group_create", "{s:s, s:[s]}", "name", "readers", "hosts", "h2"));
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "shared", "disks", "a", "host",
                  "h1"));
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "back", "disks", "a", "host",
                  "h2"));
    expect_eq(rig_fails(rig, "grant_add", "{s:s, s:s}", "to", "makers", "from", "makers"),
              STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "grant_add", "{s:s, s:s}", "to", "nobody", "from", "makers"),
              STATUS_NOT_FOUND);
    struct uuid own = owner_of(rig, "own"), shared = owner_of(rig, "shared"),
                back = owner_of(rig, "back");
    expect(!host_is_granted(rig->control, host(rig, "h2"), &shared));
    expect(rig_do(rig, "grant_add", "{s:s, s:s}", "to", "readers", "from", "makers"));
    expect(rig_do(rig, "grant_add", "{s:s, s:s}", "to", "readers", "from", "makers"));
    for (unsigned round = 0; round < 2; round++) {
        expect(host_is_granted(rig->control, host(rig, "h2"), &shared));
        expect(host_is_granted(rig->control, host(rig, "h2"), &own));
        expect(!host_is_granted(rig->control, host(rig, "h1"), &back));
        expect(!host_is_granted(rig->control, host(rig, "h3"), &shared));
        json_t *group = rig_ok(rig, "group_show", "{s:s}", "name", "readers");
        expect_str(rig_text(group, "imports_from.0"), "makers");
        json_decref(group);
        expect(rig_restart(rig));
    }
    json_t *grants = rig_ok(rig, "grant_list", NULL);
    expect_eq(json_array_size(json_object_get(grants, "grants")), 1);
    json_decref(grants);
    expect(rig_do(rig, "grant_remove", "{s:s, s:s}", "to", "readers", "from", "makers"));
    expect_eq(rig_fails(rig, "grant_remove", "{s:s, s:s}", "to", "readers", "from", "makers"),
              STATUS_NOT_FOUND);
    expect(!host_is_granted(rig->control, host(rig, "h2"), &shared));
    rig_destroy(rig);
}

int main(void)
{
    run(a_host_is_in_one_group_at_most);
    run(a_group_with_hosts_is_not_deleted);
    run(a_set_belongs_to_the_group_of_its_host);
    run(a_grant_goes_one_way_and_ends);
    return tap_done();
}
