/* Private branches of snapshots, import and mask, what is kept free for writers, and the flags of VSS; on
 * the real engine. */
#include "tests/unit/control_lun.h"

#include <stdlib.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

enum { LUN = 5 };

static struct lun_host *windows, *other, *plain;

/* Disks a and b of host "win" hold 1 in block 0; Windows hosts win and win2, Linux host lin. */
static struct rig *furnished(void)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "win", "initiators", "iqn.w", "os",
                 "windows"));
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "win2", "initiators",
                 "iqn.1991-05.com.microsoft:w2"));
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "lin", "initiators",
                 "iqn.1993-08.org.debian:l"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "win", "disk", "a", "lun", LUN));
    windows = lun_login(rig, "iqn.w");
    other = lun_login(rig, "iqn.1991-05.com.microsoft:w2");
    plain = lun_login(rig, "iqn.1993-08.org.debian:l");
    check(lun_put(windows, LUN, 0, 1) == SCSI_STATUS_GOOD);
    return rig;
}

static void logout_all(void)
{
    lun_logout(windows);
    lun_logout(other);
    lun_logout(plain);
}

static void login_all(struct rig *rig)
{
    windows = lun_login(rig, "iqn.w");
    other = lun_login(rig, "iqn.1991-05.com.microsoft:w2");
    plain = lun_login(rig, "iqn.1993-08.org.debian:l");
}

/* A created set "s" of disks a and b, made for host win through VSS. */
static void make_set(struct rig *rig)
{
    check(rig_do(rig, "set_prepare", "{s:[s,s], s:s, s:s, s:b, s:b}", "disks", "a", "b", "name", "s",
                 "host", "win", "vss", 1, "transportable", 1));
    static const char *const steps[] = {"set_arm", "set_commit", "set_confirm", "set_finish"};
    for (unsigned i = 0; i < countof(steps); i++)
        check(rig_do(rig, steps[i], "{s:s}", "name", "s"));
}

static int lun_of(struct rig *rig, const char *host, const char *snapshot)
{
    int lun = -1;
    json_t *json = rig_ok(rig, "snapshot_show", "{s:s}", "name", snapshot);
    const json_t *maps = json_object_get(json, "maps");
    for (size_t i = 0; i < json_array_size(maps); i++) {
        const json_t *map = json_array_get(maps, i);
        if (strcmp(rig_text(map, "host"), host) == 0) lun = (int)rig_number(map, "lun");
    }
    json_decref(json);
    return lun;
}

static bool import(struct rig *rig, const char *host)
{
    return rig_do(rig, "set_import", "{s:s, s:s}", "name", "s", "host", host);
}

static bool mask(struct rig *rig, const char *host)
{
    return rig_do(rig, "set_mask", "{s:s, s:s}", "name", "s", "host", host);
}

static void the_os_of_a_host_is_known_by_its_initiator_or_said(void)
{
    struct rig *rig = furnished();
    expect(rig_text_is(rig, "host_show", "win", "os", "windows"));
    expect(rig_text_is(rig, "host_show", "win2", "os", "windows"));
    expect(rig_text_is(rig, "host_show", "lin", "os", "linux"));
    expect_eq(rig_fails(rig, "host_set", "{s:s, s:s}", "name", "lin", "os", "plan9"),
              STATUS_BAD_REQUEST);
    expect(rig_do(rig, "host_set", "{s:s, s:s}", "name", "lin", "os", "vmware"));
    logout_all();
    expect(rig_restart(rig));
    expect(rig_text_is(rig, "host_show", "lin", "os", "vmware"));
    rig_destroy(rig);
}

static void windows_gets_a_writable_branch_and_the_point_stays(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(import(rig, "win"));
    int lun = lun_of(rig, "win", "s-a");
    require(lun > 0);
    expect_eq(lun_get(windows, (unsigned)lun, 0), 1);
    expect_eq(lun_put(windows, (unsigned)lun, 0, 7), SCSI_STATUS_GOOD);
    expect_eq(lun_get(windows, (unsigned)lun, 0), 7);
    expect_eq(lun_get(windows, LUN, 0), 1);
    /* Linux sees the point, write-protected, and never what Windows wrote. */
    expect(import(rig, "lin"));
    int view = lun_of(rig, "lin", "s-a");
    require(view > 0);
    expect_eq(lun_get(plain, (unsigned)view, 0), 1);
    expect_eq(lun_put(plain, (unsigned)view, 0, 9), 0x2700);
    json_t *disks = rig_ok(rig, "disk_list", NULL);
    expect_eq(json_array_size(json_object_get(disks, "disks")), 3);
    json_decref(disks);
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    expect_eq(rig_number(pool, "unclaimed_disk_count"), 0);
    json_decref(pool);
    logout_all();
    rig_destroy(rig);
}

static void the_branch_has_the_identity_that_the_set_handed_out(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "s");
    expect(import(rig, "win"));
    json_t *maps = rig_ok(rig, "map_list", NULL);
    unsigned found = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(maps, "maps")); i++) {
        const json_t *map = json_array_get(json_object_get(maps, "maps"), i);
        if (strcmp(rig_text(map, "object"), "s-a") != 0) continue;
        found++;
        expect_str(rig_text(map, "naa"), rig_text(set, "members.0.naa"));
        expect_str(rig_text(map, "serial"), rig_text(set, "members.0.serial"));
        expect_eq(rig_number(map, "lun"), rig_number(set, "members.0.lun"));
        expect_eq(rig_number(map, "read_only"), 0);
    }
    expect_eq(found, 1);
    json_decref(maps);
    json_decref(set);
    logout_all();
    rig_destroy(rig);
}

static void one_unit_attention_tells_of_a_whole_set(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    (void)lun_attention(windows, LUN);
    expect(import(rig, "win"));
    expect_eq(lun_attention(windows, LUN), 0x3F0E);
    expect_eq(lun_attention(windows, LUN), 0);
    expect(mask(rig, "win"));
    expect_eq(lun_attention(windows, LUN), 0x3F0E);
    expect_eq(lun_attention(windows, LUN), 0);
    logout_all();
    rig_destroy(rig);
}

static unsigned refusals_noted(struct rig *rig)
{
    unsigned count = 0;
    json_t *list = rig_ok(rig, "event_list", NULL);
    const json_t *events = json_object_get(list, "events");
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        count += strcmp(rig_text(event, "object"), "s") == 0 &&
                 strcmp(rig_text(event, "text"), "host \"win2\" asked for it and was refused: it is writable"
                                                 " on host \"win\"") == 0;
    }
    json_decref(list);
    return count;
}

static void another_windows_host_is_refused_until_the_set_is_masked(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(import(rig, "win"));
    int lun = lun_of(rig, "win", "s-a");
    expect_eq(lun_put(windows, (unsigned)lun, 0, 7), SCSI_STATUS_GOOD);
    expect_eq(rig_fails(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "win2"), STATUS_IN_USE);
    expect(strstr(rig->message, "\"win\"") != NULL);
    expect(strstr(rig->next, "tarn set mask s --host win") != NULL);
    expect_eq(refusals_noted(rig), 1);
    expect_eq(rig_fails(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "win2"), STATUS_IN_USE);
    expect_eq(refusals_noted(rig), 1); /* who asks all the time does not fill the list */
    sim_run_for(rig->sim, 61 * RT_SECOND);
    expect_eq(rig_fails(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "win2"), STATUS_IN_USE);
    expect_eq(refusals_noted(rig), 2);
    expect_eq(rig_fails(rig, "map_add", "{s:s, s:s}", "host", "win2", "snapshot", "s-a"),
              STATUS_IN_USE);
    expect_eq(lun_of(rig, "win2", "s-a"), -1);
    expect(mask(rig, "win"));
    expect(rig_text_is(rig, "set_show", "s", "imports.0.state", "masked"));
    expect_eq(lun_of(rig, "win", "s-a"), -1);
    /* The content of the branch goes along. */
    expect(import(rig, "win2"));
    lun = lun_of(rig, "win2", "s-a");
    require(lun > 0);
    expect_eq(lun_get(other, (unsigned)lun, 0), 7);
    expect(rig_do(rig, "set_mask", "{s:s}", "name", "s"));
    expect(import(rig, "win"));
    logout_all();
    rig_destroy(rig);
}

static void hosts_of_a_group_may_have_it_together(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "group_create", "{s:s}", "name", "cluster"));
    expect(rig_do(rig, "group_add", "{s:s, s:s}", "name", "cluster", "host", "win"));
    expect(rig_do(rig, "group_add", "{s:s, s:s}", "name", "cluster", "host", "win2"));
    make_set(rig);
    expect(import(rig, "win"));
    expect(import(rig, "win2"));
    int lun = lun_of(rig, "win", "s-a"), second = lun_of(rig, "win2", "s-a");
    require(lun > 0 && second > 0);
    expect_eq(lun_put(windows, (unsigned)lun, 0, 6), SCSI_STATUS_GOOD);
    expect_eq(lun_get(other, (unsigned)second, 0), 6);
    logout_all();
    rig_destroy(rig);
}

static void import_and_mask_may_be_repeated(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(mask(rig, "win")); /* nothing to take away */
    expect(rig_text_is(rig, "set_show", "s", "imports.0.state", ""));
    expect(import(rig, "win"));
    int lun = lun_of(rig, "win", "s-b");
    expect(import(rig, "win"));
    expect_eq(lun_of(rig, "win", "s-b"), lun);
    expect(rig_text_is(rig, "set_show", "s", "imports.0.state", "imported"));
    expect(mask(rig, "win"));
    expect(mask(rig, "win"));
    expect(rig_text_is(rig, "set_show", "s", "imports.0.state", "masked"));
    expect_eq(rig_fails(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "nobody"),
              STATUS_NOT_FOUND);
    expect(rig_do(rig, "set_prepare", "{s:[s], s:s}", "disks", "c", "name", "young"));
    expect_eq(rig_fails(rig, "set_import", "{s:s, s:s}", "name", "young", "host", "win"),
              STATUS_CONFLICT);
    logout_all();
    rig_destroy(rig);
}

static void an_import_survives_a_restart_and_a_crash_with_number_and_content(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(import(rig, "win"));
    int lun = lun_of(rig, "win", "s-a");
    expect_eq(lun_put(windows, (unsigned)lun, 0, 7), SCSI_STATUS_GOOD);
    logout_all();
    for (unsigned i = 0; i < 2; i++) {
        if (i == 0) {
            require(rig_restart(rig));
        } else {
            rig_crash(rig, SIM_CRASH_PROCESS);
            require(rig_boot(rig));
        }
        login_all(rig);
        expect_eq(lun_of(rig, "win", "s-a"), lun);
        expect_eq(lun_get(windows, (unsigned)lun, 0), 7);
        expect_eq(lun_put(windows, (unsigned)lun, 1, 8), SCSI_STATUS_GOOD);
        expect(rig_text_is(rig, "set_show", "s", "imports.0.state", "imported"));
        logout_all();
    }
    rig_destroy(rig);
}

/* An import that crashes anywhere is there whole or not at all, and can be asked for again. */
static void an_import_that_crashes_is_whole_or_not_there(void)
{
    unsigned none = 0, whole = 0;
    for (unsigned step = 0; step < 40; step++) {
        struct rig *rig = furnished();
        make_set(rig);
        logout_all();
        enum sim_crash kind = step % 2 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS;
        sim_node_crash_at_write(rig->node, step, kind);
        json_decref(rig_call(rig, "set_import",
                             json_pack("{s:s, s:s}", "name", "s", "host", "win")));
        rig_crash(rig, kind);
        require(rig_boot(rig));
        int a = lun_of(rig, "win", "s-a"), b = lun_of(rig, "win", "s-b");
        expect((a > 0) == (b > 0));
        none += a < 0;
        whole += a > 0;
        expect(import(rig, "win"));
        expect(lun_of(rig, "win", "s-a") > 0);
        rig_destroy(rig);
    }
    expect(none > 0 && whole > 0);
}

static void a_mask_that_crashes_is_whole_or_not_there(void)
{
    unsigned none = 0, whole = 0;
    for (unsigned place = 1; place < 60; place += 2) {
        struct rig *rig = furnished();
        make_set(rig);
        check(import(rig, "win"));
        logout_all();
        enum sim_crash kind = place % 4 == 1 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS;
        sim_node_crash_at_write(rig->node, place, kind);
        json_decref(rig_call(rig, "set_mask", json_pack("{s:s}", "name", "s")));
        rig_crash(rig, kind);
        sim_node_crash_at_write(rig->node, 0, kind);
        require(rig_boot(rig));
        int a = lun_of(rig, "win", "s-a"), b = lun_of(rig, "win", "s-b");
        expect((a > 0) == (b > 0));
        expect(rig_text_is(rig, "set_show", "s", "imports.0.state", a > 0 ? "imported" : "masked"));
        none += a > 0;
        whole += a < 0;
        expect(mask(rig, "win"));
        expect(import(rig, "win2"));
        rig_destroy(rig);
    }
    if (none == 0 || whole == 0) printf("# none %u, whole %u\n", none, whole);
    expect(none > 0 && whole > 0);
}

static void a_break_keeps_the_luns_of_windows_and_what_they_hold(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(import(rig, "win"));
    int lun = lun_of(rig, "win", "s-a");
    expect_eq(lun_put(windows, (unsigned)lun, 0, 7), SCSI_STATUS_GOOD);
    while (lun_attention(windows, (unsigned)lun))
        continue;
    json_t *job = rig_ok(rig, "set_break", "{s:s}", "name", "s");
    expect_eq(lun_put(windows, (unsigned)lun, 1, 8), SCSI_STATUS_GOOD); /* in full use meanwhile */
    expect(rig_do(rig, "job_show", "{s:s, s:i}", "name", rig_text(job, "job.id"), "wait", 30));
    json_decref(job);
    expect_eq(lun_attention(windows, (unsigned)lun), 0);
    expect_eq(lun_get(windows, (unsigned)lun, 0), 7);
    expect_eq(lun_put(windows, (unsigned)lun, 2, 9), SCSI_STATUS_GOOD);
    expect(rig_text_is(rig, "disk_show", "s-a", "maps.0.host", "win"));
    logout_all();
    require(rig_restart(rig));
    login_all(rig);
    expect_eq(lun_get(windows, (unsigned)lun, 0), 7);
    expect_eq(lun_get(windows, (unsigned)lun, 2), 9);
    logout_all();
    rig_destroy(rig);
}

static void what_is_imported_cannot_be_deleted_and_the_branch_goes_with_it(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(import(rig, "win"));
    expect_eq(rig_fails(rig, "set_delete", "{s:s}", "name", "s"), STATUS_IN_USE);
    expect_eq(rig_fails(rig, "host_set", "{s:s, s:s}", "name", "win", "os", "linux"), STATUS_IN_USE);
    expect(mask(rig, "win"));
    expect(rig_do(rig, "set_delete", "{s:s, s:b}", "name", "s", "now", 1));
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    expect_eq(rig_number(pool, "unclaimed_disk_count"), 0);
    expect_eq(rig_number(pool, "unclaimed_count"), 0);
    json_decref(pool);
    expect(rig_do(rig, "host_set", "{s:s, s:s}", "name", "win", "os", "linux"));
    logout_all();
    require(rig_restart(rig));
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "win", "lun", LUN));
    expect(rig_do(rig, "disk_delete", "{s:s}", "name", "a"));
    rig_destroy(rig);
}

/* What a requester's delete comes to (OnLunEmpty): the LUN goes, and what was private to it. */
static void a_delete_takes_the_luns_away_when_asked_to(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(import(rig, "win"));
    expect(import(rig, "lin"));
    (void)lun_attention(windows, LUN);
    json_t *dry =
        rig_ok(rig, "set_delete", "{s:s, s:b, s:b}", "name", "s", "unmap", 1, "dry_run", 1);
    expect(strstr(rig_text(dry, "would.0"), "away from 2 hosts") != NULL);
    json_decref(dry);
    expect(lun_of(rig, "win", "s-a") > 0);
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "s-a", "unmap", 1));
    expect_eq(lun_attention(windows, LUN), 0x3F0E);
    expect(lun_of(rig, "win", "s-b") > 0); /* the other one stays */
    expect(rig_do(rig, "set_delete", "{s:s, s:b, s:b}", "name", "s", "unmap", 1, "now", 1));
    json_t *maps = rig_ok(rig, "map_list", NULL);
    expect_eq(json_array_size(json_object_get(maps, "maps")), 1);
    json_decref(maps);
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    expect_eq(rig_number(pool, "unclaimed_disk_count"), 0);
    json_decref(pool);
    logout_all();
    expect(rig_restart(rig));
    rig_destroy(rig);
}

/* VSS says that one host has no use for the LUN any more; what another one does with it, it cannot know. */
static void a_delete_for_one_host_is_refused_while_another_has_the_lun(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(import(rig, "win"));
    expect(import(rig, "lin"));
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s, s:s}", "name", "s-a", "unmap_host", "win"),
              STATUS_IN_USE);
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s, s:s}", "name", "s-a", "unmap_host", "none"),
              STATUS_NOT_FOUND);
    expect(lun_of(rig, "win", "s-a") > 0 && lun_of(rig, "lin", "s-a") > 0);
    expect(mask(rig, "lin"));
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s, s:s}", "name", "s-a", "unmap_host", "lin"),
              STATUS_IN_USE);
    (void)lun_attention(windows, LUN);
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:s}", "name", "s-a", "unmap_host", "win"));
    expect_eq(lun_attention(windows, LUN), 0x3F0E);
    expect(rig_text_is(rig, "snapshot_show", "s-a", "state", "trashed"));
    expect(lun_of(rig, "win", "s-b") > 0);
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:s}", "name", "s-a", "unmap_host", "win"));
    logout_all();
    expect(rig_restart(rig));
    rig_destroy(rig);
}

static void a_deleted_set_comes_back_from_the_trash_with_what_windows_wrote(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(import(rig, "win"));
    int lun = lun_of(rig, "win", "s-a");
    expect_eq(lun_put(windows, (unsigned)lun, 0, 7), SCSI_STATUS_GOOD);
    expect(rig_do(rig, "set_delete", "{s:s, s:b}", "name", "s", "unmap", 1));
    logout_all();
    expect(rig_restart(rig));
    login_all(rig);
    expect(rig_do(rig, "trash_restore", "{s:s}", "name", "s"));
    expect(rig_text_is(rig, "set_show", "s", "imports.0.state", "masked"));
    expect(import(rig, "win2"));
    lun = lun_of(rig, "win2", "s-a");
    require(lun > 0);
    expect_eq(lun_get(other, (unsigned)lun, 0), 7);
    logout_all();
    rig_destroy(rig);
}

static void what_is_retained_is_not_split(void)
{
    struct rig *rig = furnished();
    make_set(rig);
    expect(rig_do(rig, "snapshot_retain", "{s:s, s:s}", "name", "s-b", "for", "1h"));
    expect_eq(rig_fails(rig, "snapshot_split", "{s:s}", "name", "s-b"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "set_break", "{s:s}", "name", "s"), STATUS_CONFLICT);
    expect(rig_text_is(rig, "set_show", "s", "state", "created"));
    expect(rig_do(rig, "snapshot_promote", "{s:s}", "name", "s-b"));
    logout_all();
    rig_destroy(rig);
}

static unsigned stale_sets(struct rig *rig)
{
    json_t *list = rig_ok(rig, "set_list", "{s:b}", "stale", 1);
    unsigned count = (unsigned)json_array_size(json_object_get(list, "sets"));
    json_decref(list);
    return count;
}

/* After created no lease removes anything (S2); what is left over is only shown. */
static void a_volatile_set_without_hosts_is_stale_after_a_day_and_stays(void)
{
    struct rig *rig = furnished();
    check(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s, s:b, s:i}", "disks", "a", "name", "s", "host",
                 "win", "volatile", 1, "lease_s", 60));
    check(rig_do(rig, "set_arm", "{s:s}", "name", "s"));
    check(rig_do(rig, "set_commit", "{s:s}", "name", "s"));
    check(rig_do(rig, "set_finish", "{s:s}", "name", "s"));
    expect(import(rig, "win"));
    lun_logout(windows);
    sim_run_for(rig->sim, 23 * 3600 * RT_SECOND);
    expect_eq(stale_sets(rig), 0);
    sim_run_for(rig->sim, 2 * 3600 * RT_SECOND);
    expect_eq(stale_sets(rig), 1);
    expect(lun_of(rig, "win", "s-a") > 0); /* nothing was taken away */
    windows = lun_login(rig, "iqn.w");
    expect_eq(stale_sets(rig), 0);
    logout_all();
    rig_destroy(rig);
}

static unsigned set_events(struct rig *rig, const char *with)
{
    unsigned count = 0;
    json_t *list = rig_ok(rig, "event_list", NULL);
    const json_t *events = json_object_get(list, "events");
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        count += strcmp(rig_text(event, "object"), "s") == 0 && strstr(rig_text(event, "text"), with);
    }
    json_decref(list);
    return count;
}

/* An administrator's choice, and none of the server's own. */
static void a_volatile_set_without_hosts_is_removed_where_that_was_decided(void)
{
    struct rig *rig = furnished();
    expect_eq(rig_fails(rig, "server_set", "{s:s}", "remove_stale", "1h"), STATUS_BAD_REQUEST);
    expect(rig_do(rig, "server_set", "{s:s}", "remove_stale", "2d"));
    check(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s, s:b}", "disks", "a", "name", "s", "host", "win",
                 "volatile", 1));
    check(rig_do(rig, "set_arm", "{s:s}", "name", "s"));
    check(rig_do(rig, "set_commit", "{s:s}", "name", "s"));
    check(rig_do(rig, "set_finish", "{s:s}", "name", "s"));
    expect(import(rig, "win"));
    check(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "b", "name", "lasting"));
    lun_logout(windows);
    sim_run_for(rig->sim, 47 * 3600 * RT_SECOND);
    expect_eq(stale_sets(rig), 1);
    expect_eq(set_events(rig, "a volatile set is removed"), 0);
    sim_run_for(rig->sim, 2 * 3600 * RT_SECOND);
    expect_eq(stale_sets(rig), 0);
    expect_eq(set_events(rig, "none of its hosts was there for 2 days"), 1);
    expect_eq(rig_fails(rig, "set_show", "{s:s}", "name", "s"), STATUS_NOT_FOUND);
    expect_eq(lun_of(rig, "win", "s-a"), -1);
    expect_eq(rig_unclaimed(rig), 0);
    json_t *audit = rig_ok(rig, "audit_list", "{s:i}", "limit", 1);
    expect_str(rig_text(audit, "records.0.verb"), "set_delete");
    expect_str(rig_text(audit, "records.0.actor"), "tarnd");
    json_decref(audit);
    expect(rig_do(rig, "snapshot_show", "{s:s}", "name", "lasting")); /* it is nobody's session's */
    windows = lun_login(rig, "iqn.w");
    logout_all();
    rig_destroy(rig);
}

/* Kept free per disk: 1 %, at most the setting; until the set is created or aborted. */
static void a_set_for_windows_keeps_room_for_writers_to_recover(void)
{
    struct rig *rig = furnished();
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    long long room = rig_number(pool, "free_bytes");
    json_decref(pool);
    /* Thin disks so large that 1 % of one is three quarters of the room. */
    json_t *size = json_integer((room / 4 * 3 * 100 / 4096 + 1) * 4096);
    expect(rig_do(rig, "disk_create", "{s:s, s:o}", "name", "big", "size", json_incref(size)));
    expect(rig_do(rig, "disk_create", "{s:s, s:o}", "name", "huge", "size", size));
    expect(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s}", "disks", "big", "name", "l", "host", "lin"));
    expect(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s}", "disks", "big", "name", "w", "host", "win"));
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s], s:s, s:s}", "disks", "huge", "name", "x", "host",
                        "win"),
              STATUS_POOL_FULL);
    expect(strstr(rig->message, "for writers to recover") != NULL);
    expect_eq(rig_fails(rig, "set_show", "{s:s}", "name", "x"), STATUS_NOT_FOUND);
    expect(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s}", "disks", "huge", "name", "y", "host", "lin"));
    expect(rig_do(rig, "set_abort", "{s:s}", "name", "w")); /* and it is free again */
    expect(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s}", "disks", "huge", "name", "x", "host", "win"));
    expect(rig_do(rig, "server_set", "{s:s}", "recovery_reserve", "1M"));
    expect(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s}", "disks", "big", "name", "w", "host", "win"));
    logout_all();
    rig_destroy(rig);
}

int main(void)
{
    run(a_set_for_windows_keeps_room_for_writers_to_recover);
    run(the_os_of_a_host_is_known_by_its_initiator_or_said);
    run(windows_gets_a_writable_branch_and_the_point_stays);
    run(the_branch_has_the_identity_that_the_set_handed_out);
    run(one_unit_attention_tells_of_a_whole_set);
    run(another_windows_host_is_refused_until_the_set_is_masked);
    run(hosts_of_a_group_may_have_it_together);
    run(import_and_mask_may_be_repeated);
    run(an_import_survives_a_restart_and_a_crash_with_number_and_content);
    run(an_import_that_crashes_is_whole_or_not_there);
    run(a_mask_that_crashes_is_whole_or_not_there);
    run(a_break_keeps_the_luns_of_windows_and_what_they_hold);
    run(what_is_imported_cannot_be_deleted_and_the_branch_goes_with_it);
    run(a_delete_takes_the_luns_away_when_asked_to);
    run(a_delete_for_one_host_is_refused_while_another_has_the_lun);
    run(a_deleted_set_comes_back_from_the_trash_with_what_windows_wrote);
    run(what_is_retained_is_not_split);
    run(a_volatile_set_without_hosts_is_stale_after_a_day_and_stays);
    run(a_volatile_set_without_hosts_is_removed_where_that_was_decided);
    return tap_done();
}
