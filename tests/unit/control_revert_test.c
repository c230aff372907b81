/* disk revert and disk undo, their guards, and the clock that undo points expire by; on the real
 * engine. */
#include "tests/unit/control_lun.h"

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

enum { LUN = 5 };

/* Disk a is served as LUN 5; block 0 holds 1, then snapshot "one", then 2. */
static struct rig *furnished(struct lun_host **ret_host)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", LUN));
    struct lun_host *host = lun_login(rig, "iqn.a");
    check(lun_put(host, LUN, 0, 1) == SCSI_STATUS_GOOD);
    check(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "one"));
    check(lun_put(host, LUN, 0, 2) == SCSI_STATUS_GOOD);
    *ret_host = host;
    return rig;
}

static void quiet(struct rig *rig)
{
    sim_run_for(rig->sim, 61 * RT_SECOND);
}

static bool revert(struct rig *rig, const char *to)
{
    quiet(rig);
    return rig_do(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", to);
}

static bool undo(struct rig *rig)
{
    quiet(rig);
    return rig_do(rig, "disk_undo", "{s:s}", "name", "a");
}

static long long undo_count(struct rig *rig)
{
    json_t *list = rig_ok(rig, "disk_undo", "{s:s, s:b}", "name", "a", "list", 1);
    long long count = (long long)json_array_size(json_object_get(list, "undo_points"));
    json_decref(list);
    return count;
}

static void a_revert_brings_the_snapshots_content_back_and_an_undo_takes_it_back(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(revert(rig, "one"));
    expect_eq(lun_attention(host, LUN), 0x2800);
    expect_eq(lun_get(host, LUN, 0), 1);
    expect_eq(lun_put(host, LUN, 0, 3), SCSI_STATUS_GOOD);
    expect(undo(rig));
    expect_eq(lun_get(host, LUN, 0), 2);
    expect(undo(rig)); /* the undo is undone */
    expect_eq(lun_get(host, LUN, 0), 3);
    expect_eq(undo_count(rig), 3);
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    expect_str(rig_text(disk, "undo_points.0.cause"), "revert to snapshot \"one\"");
    expect(strncmp(rig_text(disk, "undo_points.0.name"), "before-revert-", 14) == 0);
    expect(rig_do(rig, "disk_undo", "{s:s, s:s, s:b}", "name", "a", "to",
                  rig_text(disk, "undo_points.0.name"), "force", 1));
    json_decref(disk);
    expect_eq(lun_get(host, LUN, 0), 2);
    lun_logout(host);
    rig_destroy(rig);
}

/* Its answer was lost, say: undo must still lead back to what was there before the first. */
static void a_revert_that_is_asked_for_again_is_answered_and_not_made_again(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(revert(rig, "one"));
    expect_eq(lun_attention(host, LUN), 0x2800);
    expect_eq(lun_get(host, LUN, 0), 1); /* read since: no matter, nothing was written */
    json_t *disk = rig_ok(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "one");
    expect_str(rig_text(disk, "name"), "a");
    expect(strstr(rig_text(disk, "note"), "has that content already") != NULL);
    json_decref(disk);
    json_t *would = rig_ok(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "one", "dry_run", 1);
    expect(strstr(rig_text(would, "would.0"), "change nothing") != NULL);
    json_decref(would);
    expect_eq(undo_count(rig), 1);
    expect(undo(rig));
    expect_eq(lun_get(host, LUN, 0), 2);
    expect(revert(rig, "one")); /* the undo lies between */
    expect_eq(lun_get(host, LUN, 0), 1);
    expect_eq(undo_count(rig), 3);
    expect_eq(lun_put(host, LUN, 0, 7), SCSI_STATUS_GOOD);
    expect(revert(rig, "one")); /* a write does */
    expect_eq(lun_get(host, LUN, 0), 1);
    expect_eq(undo_count(rig), 4);
    lun_logout(host);
    rig_destroy(rig);
}

static void writes_before_the_lun_was_taken_away_count_too(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(revert(rig, "one"));
    expect_eq(lun_attention(host, LUN), 0x2800);
    expect_eq(lun_put(host, LUN, 0, 7), SCSI_STATUS_GOOD);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", LUN));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", LUN));
    expect(revert(rig, "one"));
    expect_eq(undo_count(rig), 2);
    lun_logout(host);
    rig_destroy(rig);
}

static void a_snapshot_is_found_by_its_set_too(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "friday"));
    expect_eq(lun_put(host, LUN, 0, 4), SCSI_STATUS_GOOD);
    expect(revert(rig, "friday"));
    expect_eq(lun_get(host, LUN, 0), 2);
    expect_eq(rig_fails(rig, "disk_revert", "{s:s, s:s}", "name", "c", "to", "friday"),
              STATUS_NOT_FOUND);
    expect_eq(rig_fails(rig, "disk_revert", "{s:s, s:s}", "name", "c", "to", "one"),
              STATUS_CONFLICT);
    expect_str(rig->next, "tarn disk replace c --from one");
    lun_logout(host);
    rig_destroy(rig);
}

static void a_disk_in_use_is_not_reverted_unless_forced(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect_eq(rig_fails(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "one"), STATUS_IN_USE);
    expect(strstr(rig->message, "host \"h\" read or wrote it") != NULL);
    sim_run_for(rig->sim, 20 * RT_SECOND);
    expect_eq(lun_get(host, LUN, 0), 2); /* a read counts too, for a minute (S7) */
    sim_run_for(rig->sim, 59 * RT_SECOND);
    expect_eq(rig_fails(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "one"), STATUS_IN_USE);
    expect(lun_reserve(host, LUN, true));
    quiet(rig);
    expect_eq(rig_fails(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "one"), STATUS_IN_USE);
    expect(strstr(rig->message, "reservation") != NULL);
    expect_eq(undo_count(rig), 0);
    expect_eq(lun_get(host, LUN, 0), 2);
    expect(rig_do(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "one", "force", 1));
    expect_eq(lun_get(host, LUN, 0), 1);
    expect_eq(rig_fails(rig, "disk_undo", "{s:s}", "name", "a"), STATUS_IN_USE);
    expect(lun_reserve(host, LUN, false));
    expect(undo(rig));
    lun_logout(host);
    rig_destroy(rig);
}

/* LUN resync of VSS: the host that asks has locked its volumes, right after it read and wrote them.
 */
static enum status resync(struct rig *rig, bool is_resync)
{
    struct control_actor actor = {.role = CONTROL_ROLE_HOST, .name = "host:h"};
    struct host *host = NULL;
    struct err *e = find_host(rig->control, "h", &host);
    check(!e);
    actor.host = host->row.uuid;
    json_t *arguments = json_pack("{s:s, s:s, s:b}", "name", "a", "to", "s", "resync", is_resync);
    json_decref(rig_call_actor(rig, &actor, "disk_revert", arguments, NULL));
    return rig->status;
}

static void a_resync_is_not_kept_by_the_use_of_the_one_host_that_asks(void)
{
    static const char *const steps[] = {"set_arm", "set_commit", "set_confirm", "set_finish"};
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "s", "disks", "a", "host", "h"));
    for (unsigned i = 0; i < countof(steps); i++)
        expect(rig_do(rig, steps[i], "{s:s}", "name", "s"));
    expect_eq(lun_put(host, LUN, 0, 9), SCSI_STATUS_GOOD);
    expect_eq(resync(rig, false), STATUS_IN_USE);
    expect_eq(rig_fails(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "s", "resync", 1),
              STATUS_IN_USE); /* of no host, it says nothing */
    expect_eq(resync(rig, true), STATUS_OK);
    expect_eq(lun_get(host, LUN, 0), 2);
    expect(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "other", "initiators",
                  "iqn.2026-11.x:other", "auth", "none"));
    expect(rig_do(rig, "map_add", "{s:s, s:s}", "host", "other", "disk", "a"));
    expect_eq(lun_put(host, LUN, 0, 9), SCSI_STATUS_GOOD);
    expect_eq(resync(rig, true), STATUS_IN_USE); /* it may have been the other one */
    lun_logout(host);
    rig_destroy(rig);
}

static void a_disk_that_is_being_cut_is_not_reverted_even_by_force(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    quiet(rig);
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s]}", "name", "s", "disks", "a"));
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "s"));
    expect_eq(
        rig_fails(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "one", "force", 1),
        STATUS_CONFLICT);
    expect(rig_do(rig, "set_abort", "{s:s}", "name", "s"));
    expect(revert(rig, "one"));
    lun_logout(host);
    rig_destroy(rig);
}

static bool would(const json_t *answer, const char *text)
{
    const json_t *list = json_object_get(answer, "would");
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strstr(json_string_value(json_array_get(list, i)), text)) return true;
    }
    return false;
}

static void a_dry_run_says_what_goes_what_stays_and_who_sees_it(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "newer"));
    expect(rig_do(rig, "disk_grow", "{s:s, s:s}", "name", "a", "size", "32M"));
    quiet(rig);
    json_t *answer =
        rig_ok(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "one", "dry_run", 1);
    expect(would(answer, "give disk \"a\" the content it had at 20"));
    expect(would(answer, "as undo point \"before-revert-"));
    expect(would(answer, "change its size from 32"));
    expect(would(answer, "keep snapshot \"newer\", which is newer"));
    expect(!would(answer, "snapshot \"one\""));
    expect(would(answer, "host \"h\", which sees it as LUN 5"));
    json_decref(answer);
    expect_eq(lun_get(host, LUN, 0), 2);
    answer = rig_ok(rig, "disk_revert", "{s:s, s:s, s:b, s:b}", "name", "a", "to", "one", "dry_run",
                    1, "force", 1);
    expect(would(answer, "although it was read or written 0 s ago"));
    json_decref(answer);
    expect_eq(undo_count(rig), 0);
    lun_logout(host);
    rig_destroy(rig);
}

static void the_size_goes_back_with_the_content(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "disk_grow", "{s:s, s:s}", "name", "a", "size", "32M"));
    expect(revert(rig, "one"));
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    expect_eq(rig_number(disk, "size_bytes"), 16 << 20);
    expect_eq(rig_number(disk, "undo_points.0.size_bytes"), 32 << 20);
    json_decref(disk);
    expect(undo(rig));
    disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    expect_eq(rig_number(disk, "size_bytes"), 32 << 20);
    json_decref(disk);
    lun_logout(host);
    rig_destroy(rig);
}

static void a_crash_at_any_write_leaves_the_revert_made_or_not_and_nothing_unnamed(void)
{
    unsigned made = 0, not_made = 0;
    for (uint64_t place = 1; place < 24; place++) {
        struct lun_host *host;
        struct rig *rig = furnished(&host);
        quiet(rig);
        lun_logout(host);
        sim_node_crash_at_write(rig->node, place, place % 2 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        json_decref(
            rig_call(rig, "disk_revert", json_pack("{s:s, s:s}", "name", "a", "to", "one")));
        bool answered = rig->status == STATUS_OK;
        sim_node_crash_at_write(rig->node, 0, SIM_CRASH_POWER);
        rig_crash(rig, SIM_CRASH_POWER);
        require(rig_boot(rig));
        json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
        expect_eq(rig_number(pool, "unclaimed_count"), 0);
        json_decref(pool);
        host = lun_login(rig, "iqn.a");
        int byte = lun_get(host, LUN, 0);
        long long count = undo_count(rig);
        expect((byte == 1 && count == 1) || (byte == 2 && count == 0 && !answered));
        if (byte == 1) {
            made++;
            expect(undo(rig));
            expect_eq(lun_get(host, LUN, 0), 2);
        } else {
            not_made++;
        }
        lun_logout(host);
        rig_destroy(rig);
    }
    expect(made > 0 && not_made > 0);
}

static void undo_points_expire_and_their_space_comes_back(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(revert(rig, "one"));
    sim_run_for(rig->sim, 23 * HOUR_NS);
    expect_eq(undo_count(rig), 1);
    sim_run_for(rig->sim, HOUR_NS + 2 * RT_SECOND);
    expect_eq(undo_count(rig), 0);
    expect_eq(rig_fails(rig, "disk_undo", "{s:s}", "name", "a"), STATUS_NOT_FOUND);
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    expect_eq(rig_number(pool, "unclaimed_count"), 0);
    json_decref(pool);
    lun_logout(host);
    rig_destroy(rig);
}

static void a_disk_that_has_only_undo_points_is_deleted_with_them(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(revert(rig, "one"));
    lun_logout(host);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", LUN));
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "one", "now", 1));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "a", "now", 1));
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    expect_eq(rig_number(pool, "unclaimed_count"), 0);
    expect_eq(rig_number(pool, "unclaimed_disk_count"), 0);
    json_decref(pool);
    rig_destroy(rig);
}

/* ---- The clock ------------------------------------------------------------------------------- */

static bool jump_pending(struct rig *rig)
{
    json_t *clock = rig_ok(rig, "server_clock", NULL);
    bool pending = rig_number(clock, "jump_pending") == 1;
    json_decref(clock);
    return pending;
}

static void a_wall_clock_set_back_prolongs_nothing_and_shortens_nothing(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(revert(rig, "one"));
    lun_logout(host);
    sim_node_wall_jump(rig->node, -(int64_t)(100 * HOUR_NS));
    sim_run_for(rig->sim, 12 * HOUR_NS);
    expect(rig_restart(rig));
    sim_run_for(rig->sim, 11 * HOUR_NS);
    expect_eq(undo_count(rig), 1);
    sim_run_for(rig->sim, HOUR_NS + 120 * RT_SECOND);
    expect_eq(undo_count(rig), 0);
    rig_destroy(rig);
}

static void a_wall_clock_set_forward_expires_nothing_until_it_is_confirmed(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(revert(rig, "one"));
    lun_logout(host);
    expect(!jump_pending(rig));
    sim_node_wall_jump(rig->node, (int64_t)(100 * HOUR_NS));
    sim_run_for(rig->sim, 5 * RT_SECOND);
    expect_eq(undo_count(rig), 1);
    expect(jump_pending(rig));
    expect(rig_restart(rig));
    sim_run_for(rig->sim, 5 * RT_SECOND);
    expect_eq(undo_count(rig), 1);
    json_decref(rig_call_as(rig, CONTROL_ROLE_OPERATOR, "server_clock",
                            json_pack("{s:b}", "confirm", 1), NULL));
    expect_eq(rig->status, STATUS_DENIED);
    expect(rig_do(rig, "server_clock", "{s:b}", "confirm", 1));
    expect(!jump_pending(rig));
    sim_run_for(rig->sim, 5 * RT_SECOND);
    expect_eq(undo_count(rig), 0);
    rig_destroy(rig);
}

static void many_small_steps_forward_expire_nothing_either(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(revert(rig, "one"));
    lun_logout(host);
    for (unsigned i = 0; i < 60; i++) {
        sim_node_wall_jump(rig->node, (int64_t)(HOUR_NS / 2));
        sim_run_for(rig->sim, 2 * RT_SECOND);
    }
    expect_eq(undo_count(rig), 1);
    expect(jump_pending(rig));
    rig_destroy(rig);
}

int main(void)
{
    run(a_revert_brings_the_snapshots_content_back_and_an_undo_takes_it_back);
    run(a_revert_that_is_asked_for_again_is_answered_and_not_made_again);
    run(writes_before_the_lun_was_taken_away_count_too);
    run(a_snapshot_is_found_by_its_set_too);
    run(a_disk_in_use_is_not_reverted_unless_forced);
    run(a_resync_is_not_kept_by_the_use_of_the_one_host_that_asks);
    run(a_disk_that_is_being_cut_is_not_reverted_even_by_force);
    run(a_dry_run_says_what_goes_what_stays_and_who_sees_it);
    run(the_size_goes_back_with_the_content);
    run(a_crash_at_any_write_leaves_the_revert_made_or_not_and_nothing_unnamed);
    run(undo_points_expire_and_their_space_comes_back);
    run(a_disk_that_has_only_undo_points_is_deleted_with_them);
    run(a_wall_clock_set_back_prolongs_nothing_and_shortens_nothing);
    run(a_wall_clock_set_forward_expires_nothing_until_it_is_confirmed);
    run(many_small_steps_forward_expire_nothing_either);
    return tap_done();
}
