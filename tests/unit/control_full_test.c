/* Sets whose members get copies of their own (PLEX of VSS): cut at once like any other, copied in the
 * background once they are created; on the real engine. */
#include "tests/unit/control_lun.h"

#include "base/attr.h"
#include "base/check.h"
#include "control/control_int.h"

enum { LUN = 5, VIEW = 9, BLOCKS = 32 };

static struct rig *rig;
static struct lun_host *host;

/* Disk a is LUN 5 of the Windows host w; its blocks hold 1. */
static void begin(void)
{
    rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "w", "initiators", "iqn.w", "os",
                 "windows"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "w", "disk", "a", "lun", LUN));
    host = lun_login(rig, "iqn.w");
    for (unsigned i = 0; i < BLOCKS; i++)
        check(lun_put(host, LUN, i * 32, 1) == SCSI_STATUS_GOOD);
}

static void end(void)
{
    if (host) lun_logout(host);
    rig_destroy(rig);
}

static bool step(const char *verb)
{
    return rig_do(rig, verb, "{s:s}", "name", "s");
}

static bool prepare(void)
{
    return rig_do(rig, "set_prepare", "{s:[s,s], s:s, s:s, s:b, s:b, s:b}", "disks", "a", "b",
                  "name", "s", "host", "w", "vss", 1, "transportable", 1, "full", 1);
}

static size_t job_count(char id[64])
{
    json_t *list = rig_ok(rig, "job_list", NULL);
    const json_t *jobs = json_object_get(list, "jobs");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i);
        if (strcmp(rig_text(job, "verb"), "set_promote") != 0) continue;
        count++;
        snprintf(id, 64, "%s", rig_text(job, "id"));
    }
    json_decref(list);
    return count;
}

/* Created, and its copy is paused; then disk a holds 2. */
static void make(char id[64])
{
    check(prepare() && step("set_arm") && step("set_commit") && step("set_confirm") &&
          step("set_finish"));
    check(job_count(id) == 1 && rig_do(rig, "job_pause", "{s:s}", "name", id));
    for (unsigned i = 0; i < BLOCKS; i++)
        check(lun_put(host, LUN, i * 32, 2) == SCSI_STATUS_GOOD);
}

static bool job_ends_as(const char *id, const char *state)
{
    for (unsigned i = 0; i < 4; i++)
        json_decref(rig_ok(rig, "job_show", "{s:s, s:i}", "name", id, "wait", 30));
    return rig_text_is(rig, "job_show", id, "state", state);
}

static bool is_intact(const char *disk)
{
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "w", "disk", disk, "lun", VIEW));
    bool ok = true;
    for (unsigned i = 0; i < BLOCKS; i++)
        ok = ok && lun_get(host, VIEW, i * 32) == 1;
    check(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "w", "lun", VIEW));
    return ok;
}

static long long pool_number(const char *path)
{
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    long long number = rig_number(pool, path);
    json_decref(pool);
    return number;
}

static void a_full_set_is_cut_at_once_and_copied_once_it_is_created(void)
{
    char id[64];
    begin();
    expect(prepare() && step("set_arm") && step("set_commit") && step("set_confirm"));
    expect_eq(job_count(id), 0);
    json_t *set = rig_ok(rig, "set_finish", "{s:s}", "name", "s");
    expect_str(rig_text(set, "state"), "created");
    expect(json_is_true(json_object_get(set, "full")));
    json_decref(set);
    require(job_count(id) == 1);
    expect(rig_text_is(rig, "snapshot_show", "s-a", "type", "differential"));
    expect(job_ends_as(id, "done"));
    expect(rig_text_is(rig, "snapshot_show", "s-a", "type", "full"));
    expect(rig_text_is(rig, "snapshot_show", "s-b", "type", "full"));
    json_t *snapshot = rig_ok(rig, "snapshot_show", "{s:s}", "name", "s-a");
    expect_eq(rig_number(snapshot, "branch_bytes"), BLOCKS * 4096);
    json_decref(snapshot);
    expect(step("set_finish")); /* again: it is there */
    expect_eq(job_count(id), 1);
    end();
}

static void an_aborted_full_set_copies_nothing(void)
{
    char id[64];
    begin();
    expect(prepare() && step("set_arm") && step("set_commit") && step("set_confirm") &&
           step("set_abort"));
    expect_eq(job_count(id), 0);
    expect_eq(pool_number("snapshot_count"), 0);
    end();
}

static void what_a_set_wants_outlives_a_restart_and_so_does_its_copy(void)
{
    char id[64];
    begin();
    expect(prepare() && step("set_arm") && step("set_commit") && step("set_confirm"));
    lun_logout(host);
    require(rig_restart(rig));
    host = lun_login(rig, "iqn.w");
    expect(step("set_finish"));
    require(job_count(id) == 1);
    lun_logout(host);
    host = NULL;
    rig_crash(rig, SIM_CRASH_POWER);
    require(rig_boot(rig));
    expect(job_ends_as(id, "done"));
    expect(rig_text_is(rig, "snapshot_show", "s-b", "type", "full"));
    end();
}

static void a_host_uses_its_lun_while_it_is_copied(void)
{
    char id[64];
    begin();
    make(id);
    json_t *set = rig_ok(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "w");
    unsigned lun = (unsigned)rig_number(set, "members.0.lun");
    json_decref(set);
    (void)lun_attention(host, lun);
    expect_eq(lun_put(host, lun, 0, 7), SCSI_STATUS_GOOD);
    expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
    expect(job_ends_as(id, "done"));
    expect_eq(lun_get(host, lun, 0), 7);
    expect_eq(lun_get(host, lun, 32), 1);
    end();
}

/* OnLunEmpty is never refused for a copy. */
static void a_snapshot_is_deleted_while_it_is_copied(void)
{
    char id[64];
    begin();
    make(id);
    json_t *dry = rig_ok(rig, "snapshot_delete", "{s:s, s:b}", "name", "s-a", "dry_run", 1);
    expect(strstr(rig_text(dry, "would.0"), "give up the copy") != NULL);
    json_decref(dry);
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "s-a", "now", 1));
    expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
    expect(job_ends_as(id, "failed"));
    expect(rig_text_is(rig, "job_show", id, "error.status", "CANCELLED"));
    expect(rig_text_is(rig, "snapshot_show", "s-b", "type", "full")); /* the other was copied all the same */
    expect(rig_do(rig, "set_delete", "{s:s, s:b}", "name", "s", "now", 1));
    expect_eq(pool_number("unclaimed_disk_count") + pool_number("unclaimed_count"), 0);
    end();
}

static void a_set_is_deleted_at_any_moment_of_its_copy(void)
{
    for (unsigned step_us = 0; step_us < 4000; step_us += 250) {
        char id[64];
        begin();
        make(id);
        expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
        sim_run_for(rig->sim, step_us * RT_SECOND / 1000000);
        expect(rig_do(rig, "set_delete", "{s:s, s:b}", "name", "s", "now", 1));
        json_decref(rig_ok(rig, "job_show", "{s:s, s:i}", "name", id, "wait", 30));
        expect_eq(pool_number("snapshot_count") + pool_number("unclaimed_disk_count") +
                      pool_number("unclaimed_count"),
                  0);
        lun_logout(host);
        require(rig_restart(rig));
        host = lun_login(rig, "iqn.w");
        end();
        require(!tap_failed);
    }
}

/* A break is answered at once; it takes the copy over. */
static void a_break_takes_the_copy_over(void)
{
    for (unsigned restart = 0; restart < 3; restart++) {
        char id[64], other[64];
        begin();
        make(id);
        if (restart == 2) expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
        json_t *answer = rig_ok(rig, "set_break", "{s:s}", "name", "s");
        snprintf(other, sizeof other, "%s", rig_text(answer, "job.id"));
        json_decref(answer);
        expect(strcmp(id, other) != 0);
        if (restart) {
            lun_logout(host);
            rig_crash(rig, SIM_CRASH_PROCESS);
            require(rig_boot(rig));
            host = lun_login(rig, "iqn.w");
        }
        expect(job_ends_as(other, "done"));
        if (restart != 2) expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
        expect(job_ends_as(id, "failed"));
        expect(is_intact("s-a"));
        expect(rig_do(rig, "disk_show", "{s:s}", "name", "s-b"));
        expect_eq(pool_number("snapshot_count"), 0);
        end();
    }
}

static void a_pool_without_room_for_copies_is_known_at_prepare(void)
{
    begin();
    expect(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "big", "size", "64M"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "w", "disk", "big", "lun", VIEW));
    long long free_bytes = pool_number("free_bytes");
    for (unsigned i = 0; i < free_bytes * 6 / 10 / 4096; i++)
        require(lun_put(host, VIEW, i, 3) == SCSI_STATUS_GOOD);
    expect_eq(
        rig_fails(rig, "set_prepare", "{s:[s], s:s, s:b}", "disks", "big", "name", "s", "full", 1),
        STATUS_POOL_FULL);
    expect(rig_do(rig, "set_prepare", "{s:[s], s:s}", "disks", "big", "name", "s"));
    end();
}

static void a_dry_run_of_prepare_prepares_nothing(void)
{
    begin();
    json_t *dry = rig_ok(rig, "set_prepare", "{s:[s,s], s:s, s:b, s:b}", "disks", "a", "b", "name",
                         "s", "full", 1, "dry_run", 1);
    expect_str(rig_text(dry, "would.0"), "prepare set \"s\"");
    expect(strstr(rig_text(dry, "would.2"), "copied in full") != NULL);
    json_decref(dry);
    expect_eq(rig_fails(rig, "set_show", "{s:s}", "name", "s"), STATUS_NOT_FOUND);
    expect_eq(rig_fails(rig, "set_prepare", "{s:[s], s:s, s:b}", "disks", "none", "name", "s",
                        "dry_run", 1),
              STATUS_NOT_FOUND);
    end();
}

/* ---- What stays ------------------------------------------------------------------------------ */

static void make_as(const char *name, const char *disk, const char *attribute)
{
    static const char *const steps[] = {"set_arm", "set_commit", "set_confirm", "set_finish"};
    check(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s, s:b, s:b}", "disks", disk, "name", name,
                 "host", "w", "vss", 1, attribute, 1));
    for (unsigned i = 0; i < countof(steps); i++)
        check(rig_do(rig, steps[i], "{s:s}", "name", name));
}

/* After created nothing ends a set but VSS or a person: no lease, no restart, no host that was not
 * heard of for a month (DESIGN of sets; E23). */
static void thirty_days_without_a_word_take_nothing_away(void)
{
    char uuid[UUID_TEXT_SIZE];
    begin();
    lun_logout(host);
    rig->lease_tick_ns = 600 * RT_SECOND;
    require(rig_restart(rig));
    host = lun_login(rig, "iqn.w");
    make_as("imported", "a", "volatile");
    make_as("broken", "b", "volatile");
    make_as("moved", "c", "transportable");
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "imported", "host", "w"));
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "broken", "host", "w"));
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "imported");
    unsigned lun = (unsigned)rig_number(set, "members.0.lun");
    json_decref(set);
    set = rig_ok(rig, "set_show", "{s:s}", "name", "broken");
    unsigned production = (unsigned)rig_number(set, "members.0.lun");
    snprintf(uuid, sizeof uuid, "%s", rig_text(set, "uuid"));
    json_decref(set);
    /* A plain break tells nobody: "broken" is a production disk that we take for a shadow copy. */
    (void)lun_attention(host, production);
    expect_eq(lun_put(host, production, 0, 7), SCSI_STATUS_GOOD);
    /* One that is only half made goes, so that it is seen that time passes. */
    expect(
        rig_do(rig, "set_prepare", "{s:[s], s:s, s:s}", "disks", "a", "name", "half", "host", "w"));
    lun_logout(host);
    for (unsigned day = 0; day < 30; day++) {
        sim_run_for(rig->sim, DAY_NS);
        if (day == 0) expect(rig_text_is(rig, "set_show", "half", "state", "aborted"));
        if (day == 10) require(rig_restart(rig));
        if (day == 20) {
            rig_crash(rig, SIM_CRASH_POWER);
            require(rig_boot(rig));
        }
    }
    expect(rig_text_is(rig, "set_show", "moved", "state", "created"));
    expect(rig_text_is(rig, "set_show", "imported", "state", "created"));
    expect(rig_text_is(rig, "set_show", uuid, "state", "created"));
    set = rig_ok(rig, "set_show", "{s:s}", "name", uuid);
    expect(json_is_true(json_object_get(set, "stale")));
    json_decref(set);
    host = lun_login(rig, "iqn.w");
    expect_eq(lun_get(host, lun, 0), 1);
    expect_eq(lun_get(host, production, 0), 7);
    expect_eq(lun_put(host, production, 0, 8), SCSI_STATUS_GOOD);
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "moved", "host", "w"));
    end();
}

int main(void)
{
    run(a_full_set_is_cut_at_once_and_copied_once_it_is_created);
    run(an_aborted_full_set_copies_nothing);
    run(what_a_set_wants_outlives_a_restart_and_so_does_its_copy);
    run(a_host_uses_its_lun_while_it_is_copied);
    run(a_snapshot_is_deleted_while_it_is_copied);
    run(a_set_is_deleted_at_any_moment_of_its_copy);
    run(a_break_takes_the_copy_over);
    run(a_pool_without_room_for_copies_is_known_at_prepare);
    run(a_dry_run_of_prepare_prepares_nothing);
    run(thirty_days_without_a_word_take_nothing_away);
    return tap_done();
}
