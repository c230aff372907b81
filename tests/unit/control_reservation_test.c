/* Persistent reservations: of the disk, whatever LUNs stand for it, and over restarts where the host asked for that
 * (APTPL, SPC-4 5.13.5); on the real engine. */
#include "tests/unit/control_lun.h"

#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

enum { LUN = 5, CONFLICT = SCSI_STATUS_RESERVATION_CONFLICT };

static struct lun_host *a, *b;

/* Disk a is LUN 5 of the hosts a and b, and write-protected LUN 5 of c. */
static struct rig *furnished(void)
{
    static const char *const names[] = {"a", "b", "c"};
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    for (unsigned i = 0; i < countof(names); i++) {
        char initiator[16];
        snprintf(initiator, sizeof initiator, "iqn.%s", names[i]);
        check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", names[i], "initiators", initiator));
        check(rig_do(rig, "map_add", "{s:s, s:s, s:i, s:b}", "host", names[i], "disk", "a", "lun", LUN,
                     "read_only", i == 2));
    }
    a = lun_login(rig, "iqn.a");
    b = lun_login(rig, "iqn.b");
    return rig;
}

static bool take(struct lun_host *host, uint64_t key, bool aptpl)
{
    return lun_pr_out(host, LUN, LUN_PR_REGISTER, 0, key, aptpl) == SCSI_STATUS_GOOD &&
           lun_pr_out(host, LUN, LUN_PR_RESERVE, key, 0, false) == SCSI_STATUS_GOOD;
}

static void restart(struct rig *rig, bool crashes)
{
    if (crashes) {
        lun_logout(a);
        lun_logout(b);
        rig_crash(rig, SIM_CRASH_POWER);
        check(rig_boot(rig));
    } else {
        lun_logout(a);
        lun_logout(b);
        check(rig_restart(rig));
    }
    a = lun_login(rig, "iqn.a");
    b = lun_login(rig, "iqn.b");
}

static void end(struct rig *rig)
{
    lun_logout(a);
    lun_logout(b);
    rig_destroy(rig);
}

static void what_a_host_asked_to_keep_is_there_after_a_restart_and_a_power_cut(void)
{
    struct rig *rig = furnished();
    expect_eq(lun_pr_capabilities(a, LUN), 10);
    expect(take(a, 7, true));
    expect_eq(lun_pr_capabilities(a, LUN), 11);
    for (unsigned i = 0; i < 2; i++) {
        restart(rig, i);
        expect_eq(lun_pr_keys(b, LUN), 1);
        expect_eq(lun_pr_capabilities(b, LUN), 11);
        expect_eq(lun_put(b, LUN, 0, 1), CONFLICT);
        expect_eq(lun_put(a, LUN, 0, 1), SCSI_STATUS_GOOD);
    }
    /* What is answered is stored: no second of grace. */
    expect_eq(lun_pr_out(b, LUN, LUN_PR_REGISTER, 0, 9, true), SCSI_STATUS_GOOD);
    restart(rig, true);
    expect_eq(lun_pr_keys(a, LUN), 2);
    expect_eq(lun_pr_out(a, LUN, LUN_PR_RELEASE, 7, 0, false), SCSI_STATUS_GOOD);
    restart(rig, true);
    expect_eq(lun_pr_keys(a, LUN), 2);
    expect_eq(lun_put(b, LUN, 0, 2), SCSI_STATUS_GOOD);
    end(rig);
}

static void what_nobody_asked_to_keep_is_gone_after_a_restart(void)
{
    struct rig *rig = furnished();
    expect(take(a, 7, false));
    expect_eq(lun_put(b, LUN, 0, 1), CONFLICT);
    restart(rig, false);
    expect_eq(lun_pr_keys(a, LUN), 0);
    expect_eq(lun_put(b, LUN, 0, 1), SCSI_STATUS_GOOD);
    /* The last REGISTER decides for all (5.13.5). */
    expect(take(a, 7, true));
    expect_eq(lun_pr_out(b, LUN, LUN_PR_REGISTER, 0, 9, false), SCSI_STATUS_GOOD);
    expect_eq(lun_pr_capabilities(b, LUN), 10);
    restart(rig, false);
    expect_eq(lun_pr_keys(a, LUN), 0);
    end(rig);
}

static void a_host_that_is_served_the_disk_write_protected_sees_the_reservation_too(void)
{
    struct rig *rig = furnished();
    struct lun_host *c = lun_login(rig, "iqn.c");
    expect(take(a, 7, false));
    expect_eq(lun_pr_keys(c, LUN), 1);
    expect_eq(lun_pr_out(c, LUN, LUN_PR_RESERVE, 1, 0, false), CONFLICT);
    expect_eq(lun_pr_out(c, LUN, LUN_PR_REGISTER, 0, 3, false), SCSI_STATUS_GOOD);
    expect_eq(lun_pr_keys(b, LUN), 2);
    lun_logout(c);
    end(rig);
}

static void a_host_that_is_not_served_the_disk_any_more_holds_nothing(void)
{
    struct rig *rig = furnished();
    expect(take(a, 7, true));
    lun_logout(a);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "a", "lun", LUN));
    expect_eq(lun_pr_keys(b, LUN), 0);
    expect_eq(lun_put(b, LUN, 0, 1), SCSI_STATUS_GOOD);
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "a", "disk", "a", "lun", LUN + 1));
    a = lun_login(rig, "iqn.a");
    restart(rig, true);
    expect_eq(lun_pr_keys(b, LUN), 0); /* nor does a restart bring it back */
    end(rig);
}

static void a_reservation_that_is_kept_guards_the_disk_after_a_restart(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "one"));
    expect(take(a, 7, true));
    restart(rig, true);
    sim_run_for(rig->sim, 60 * RT_SECOND);
    expect_eq(rig_fails(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "one"), STATUS_IN_USE);
    expect(strstr(rig->message, "reservation") != NULL);
    end(rig);
}

int main(void)
{
    run(what_a_host_asked_to_keep_is_there_after_a_restart_and_a_power_cut);
    run(what_nobody_asked_to_keep_is_gone_after_a_restart);
    run(a_host_that_is_served_the_disk_write_protected_sees_the_reservation_too);
    run(a_host_that_is_not_served_the_disk_any_more_holds_nothing);
    run(a_reservation_that_is_kept_guards_the_disk_after_a_restart);
    return tap_done();
}
