/* Snapshots that are kept until a time, and snapshots that are cut anew; on the real engine. */
#include "tests/unit/control_lun.h"

#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

enum { LUN_A = 5, LUN_B = 6, LUN_COPY = 9 };

/* Block 0 of disks a and b holds 1, then snapshots n-a and n-b of set n, then 2. */
static struct rig *furnished(struct lun_host **ret_host)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", LUN_A));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "b", "lun", LUN_B));
    struct lun_host *host = lun_login(rig, "iqn.a");
    check(!lun_put(host, LUN_A, 0, 1) && !lun_put(host, LUN_B, 0, 1));
    check(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "n"));
    check(!lun_put(host, LUN_A, 0, 2) && !lun_put(host, LUN_B, 0, 2));
    *ret_host = host;
    return rig;
}

/* What a snapshot holds in block 0. */
static int content(struct rig *rig, struct lun_host *host, const char *snapshot)
{
    static unsigned count;
    unsigned lun = 21 + count++ % 200; /* a number rests when it was used */
    if (!rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", snapshot, "lun",
                (int)lun)) {
        return -3;
    }
    int byte = lun_get(host, lun, 0);
    check(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", (int)lun));
    return byte;
}

static long long unclaimed(struct rig *rig)
{
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    long long n = rig_number(pool, "unclaimed_count");
    json_decref(pool);
    return n;
}

static void end(struct rig *rig, struct lun_host *host)
{
    lun_logout(host);
    rig_destroy(rig);
}

/* ---- Retention ------------------------------------------------------------------------------- */

static void a_kept_snapshot_is_deleted_by_nobody_before_its_time(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "snapshot_retain", "{s:s, s:s}", "name", "n-a", "for", "2h"));
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s}", "name", "n-a"), STATUS_CONFLICT);
    expect(strstr(rig->message, "is kept until 20") != NULL);
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s, s:b}", "name", "n-a", "now", 1),
              STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "set_delete", "{s:s}", "name", "n"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "set_update", "{s:s}", "name", "n"), STATUS_CONFLICT);
    lun_logout(host);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", LUN_A));
    expect_eq(rig_fails(rig, "disk_delete", "{s:s, s:b, s:b}", "name", "a", "with_snapshots", 1,
                        "now", 1),
              STATUS_CONFLICT);
    expect(rig_restart(rig));
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s}", "name", "n-a"), STATUS_CONFLICT);
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-b")); /* not kept */
    sim_run_for(rig->sim, 2 * HOUR_NS + RT_SECOND);
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a"));
    rig_destroy(rig);
}

static void the_time_only_grows(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    json_t *would = rig_ok(rig, "snapshot_retain", "{s:s, s:s, s:b}", "name", "n-a", "for", "30d",
                           "dry_run", 1);
    expect(strstr(rig_text(would, "would.0"), "keep snapshot \"n-a\" until") != NULL);
    json_decref(would);
    expect(rig_do(rig, "snapshot_retain", "{s:s, s:s}", "name", "n-a", "for", "2d"));
    expect_eq(rig_fails(rig, "snapshot_retain", "{s:s, s:s}", "name", "n-a", "for", "1d"),
              STATUS_CONFLICT);
    json_t *s = rig_ok(rig, "snapshot_retain", "{s:s, s:s}", "name", "n-a", "for", "3d");
    char until[40];
    snprintf(until, sizeof until, "%s", rig_text(s, "retain_until"));
    json_decref(s);
    s = rig_ok(rig, "snapshot_show", "{s:s}", "name", "n-a");
    expect_str(rig_text(s, "retain_until"), until);
    json_decref(s);
    static const char *const bad[][2] = {{"for", "never"},
                                         {"until", "tomorrow"},
                                         {"for", "100000d"},
                                         {"until", "2001-01-01"},
                                         {"until", "2400-01-01"}};
    for (unsigned i = 0; i < countof(bad); i++) {
        expect_eq(
            rig_fails(rig, "snapshot_retain", "{s:s, s:s}", "name", "n-b", bad[i][0], bad[i][1]),
            STATUS_BAD_REQUEST);
    }
    expect_eq(rig_fails(rig, "snapshot_retain", "{s:s}", "name", "n-b"), STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "snapshot_retain", "{s:s, s:s, s:s}", "name", "n-b", "for", "1d",
                        "until", "2027-01-01"),
              STATUS_BAD_REQUEST);
    end(rig, host);
}

static void a_wall_clock_that_is_set_forward_frees_nothing(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "snapshot_retain", "{s:s, s:s}", "name", "n-a", "for", "30d"));
    sim_node_wall_jump(rig->node, (int64_t)(60 * DAY_NS));
    sim_run_for(rig->sim, 5 * RT_SECOND);
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s}", "name", "n-a"), STATUS_CONFLICT);
    sim_node_wall_jump(rig->node, -(int64_t)(600 * DAY_NS));
    lun_logout(host);
    expect(rig_restart(rig));
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s}", "name", "n-a"), STATUS_CONFLICT);
    rig_destroy(rig);
}

/* ---- Update ---------------------------------------------------------------------------------- */

static void an_update_shows_the_disk_as_it_is_now_under_the_same_identity(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "one"));
    expect_eq(lun_put(host, LUN_A, 0, 3), SCSI_STATUS_GOOD);
    json_t *before = rig_ok(rig, "snapshot_show", "{s:s}", "name", "one");
    json_t *would = rig_ok(rig, "snapshot_update", "{s:s, s:b}", "name", "one", "dry_run", 1);
    expect(strstr(rig_text(would, "would.0"), "goes for good") != NULL);
    json_decref(would);
    expect_eq(content(rig, host, "one"), 2);
    json_t *after = rig_ok(rig, "snapshot_update", "{s:s}", "name", "one");
    expect_str(rig_text(after, "uuid"), rig_text(before, "uuid"));
    expect_str(rig_text(after, "naa"), rig_text(before, "naa"));
    expect_str(rig_text(after, "state"), "ready");
    expect(rig_number(after, "generation") > rig_number(before, "generation"));
    json_decref(before);
    json_decref(after);
    expect_eq(content(rig, host, "one"), 3);
    expect_eq(content(rig, host, "n-a"), 1); /* others stay */
    expect_eq(unclaimed(rig), 0);
    lun_logout(host);
    expect(rig_restart(rig));
    host = lun_login(rig, "iqn.a");
    expect_eq(content(rig, host, "one"), 3);
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "one", "now", 1));
    expect_eq(unclaimed(rig), 0);
    end(rig, host);
}

static void snapshots_that_were_cut_together_are_updated_together(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect_eq(rig_fails(rig, "snapshot_update", "{s:s}", "name", "n-a"), STATUS_CONFLICT);
    expect_str(rig->next, "update them together: tarn set update n");
    expect(rig_do(rig, "set_update", "{s:s}", "name", "n"));
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "n");
    expect_eq(rig_number(set, "application_consistent"), 0);
    json_decref(set);
    expect_eq(content(rig, host, "n-a"), 2);
    expect_eq(content(rig, host, "n-b"), 2);
    end(rig, host);
}

static void what_is_served_or_branched_is_safe_from_an_update(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(
        rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "n-a", "lun", LUN_COPY));
    expect_eq(rig_fails(rig, "set_update", "{s:s}", "name", "n"), STATUS_IN_USE);
    expect_eq(lun_get(host, LUN_COPY, 0), 1);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", LUN_COPY));
    expect(rig_do(rig, "snapshot_branch", "{s:s, s:s}", "name", "n-a", "new_name", "w"));
    expect(rig_do(rig, "set_update", "{s:s}", "name", "n"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "w", "lun", 20));
    expect_eq(lun_get(host, 20, 0), 1); /* a branch keeps what it was made of */
    expect_eq(content(rig, host, "n-a"), 2);
    end(rig, host);
}

static void a_crash_at_any_write_leaves_the_whole_set_updated_or_none_of_it(void)
{
    unsigned updated = 0, not_updated = 0;
    for (uint64_t place = 1; place < 40; place++) {
        struct lun_host *host;
        struct rig *rig = furnished(&host);
        lun_logout(host);
        sim_node_crash_at_write(rig->node, place, place % 2 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        json_decref(rig_call(rig, "set_update", json_pack("{s:s}", "name", "n")));
        bool answered = rig->status == STATUS_OK;
        sim_node_crash_at_write(rig->node, 0, SIM_CRASH_POWER);
        rig_crash(rig, SIM_CRASH_POWER);
        require(rig_boot(rig));
        expect_eq(unclaimed(rig), 0);
        host = lun_login(rig, "iqn.a");
        int a = content(rig, host, "n-a"), b = content(rig, host, "n-b");
        expect(a == b && (a == 2 || (a == 1 && !answered)));
        updated += a == 2;
        not_updated += a == 1;
        lun_logout(host);
        expect(rig_restart(rig));
        expect_eq(unclaimed(rig), 0);
        expect(rig_do(rig, "set_update", "{s:s}", "name", "n"));
        expect_eq(unclaimed(rig), 0);
        rig_destroy(rig);
    }
    expect(updated > 0 && not_updated > 0);
}

static void a_pool_that_fails_during_an_update_leaves_no_point_without_a_name(void)
{
    for (unsigned lap = 0; lap < 32; lap++) {
        struct lun_host *host;
        struct rig *rig = furnished(&host);
        lun_logout(host);
        for (unsigned i = 0; i < lap; i++) /* what the loss of power leaves */
            prng_u64(sim_prng(rig->sim));
        sim_node_fault(rig->node, SIM_FAULT_FLUSH_ERROR, "/pool", lap % 4);
        json_decref(rig_call(rig, "set_update", json_pack("{s:s}", "name", "n")));
        rig_crash(rig, SIM_CRASH_POWER);
        sim_heal(rig->sim);
        require(rig_boot(rig));
        expect_eq(unclaimed(rig), 0);
        host = lun_login(rig, "iqn.a");
        expect_eq(content(rig, host, "n-a"), content(rig, host, "n-b"));
        lun_logout(host);
        rig_destroy(rig);
    }
}

int main(void)
{
    run(a_kept_snapshot_is_deleted_by_nobody_before_its_time);
    run(the_time_only_grows);
    run(a_wall_clock_that_is_set_forward_frees_nothing);
    run(an_update_shows_the_disk_as_it_is_now_under_the_same_identity);
    run(snapshots_that_were_cut_together_are_updated_together);
    run(what_is_served_or_branched_is_safe_from_an_update);
    run(a_pool_that_fails_during_an_update_leaves_no_point_without_a_name);
    run(a_crash_at_any_write_leaves_the_whole_set_updated_or_none_of_it);
    return tap_done();
}
