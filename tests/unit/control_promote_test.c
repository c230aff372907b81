/* Promote, split and break: durable jobs that a crash, a restart, a pause or a cancel leaves whole; on the
 * real engine. */
#include "tests/unit/control_lun.h"

#include <stdlib.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

enum { LUN = 5, VIEW = 6, BLOCKS = 64 };

/* Disk a is LUN 5 of host h; its blocks hold 1, then set "n" (snapshots n-a, n-b), then 2. */
static struct rig *furnished(struct lun_host **ret_host)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", LUN));
    struct lun_host *host = lun_login(rig, "iqn.a");
    for (unsigned i = 0; i < BLOCKS; i++)
        check(lun_put(host, LUN, i * 32, 1) == SCSI_STATUS_GOOD);
    check(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "n"));
    for (unsigned i = 0; i < BLOCKS; i++)
        check(lun_put(host, LUN, i * 32, 2) == SCSI_STATUS_GOOD);
    *ret_host = host;
    return rig;
}

static bool all_blocks_are(struct lun_host *host, unsigned lun, int byte)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (lun_get(host, lun, i * 32) != byte) return false;
    }
    return true;
}

/* The id of a job that was started; "" when it was not. */
static void job_of(json_t *answer, char id[64])
{
    snprintf(id, 64, "%s", rig_text(answer, "job.id"));
    json_decref(answer);
}

static bool runs(struct rig *rig, const char *verb, const char *name)
{
    char id[64];
    job_of(rig_ok(rig, verb, "{s:s}", "name", name), id);
    return rig_job_ends(rig, id, "done");
}

static unsigned engine_points(struct rig *rig)
{
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    long long known = rig_number(pool, "snapshot_count"),
              more = rig_number(pool, "unclaimed_count");
    long long disks = rig_number(pool, "unclaimed_disk_count");
    json_decref(pool);
    return (unsigned)(known + more + disks);
}

static void promote_makes_a_snapshot_full_and_leaves_it_a_snapshot(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_text_is(rig, "snapshot_show", "n-a", "type", "differential"));
    expect(runs(rig, "snapshot_promote", "n-a"));
    expect(rig_text_is(rig, "snapshot_show", "n-a", "type", "full"));
    json_t *snapshot = rig_ok(rig, "snapshot_show", "{s:s}", "name", "n-a");
    expect_eq(rig_number(snapshot, "branch_bytes"), BLOCKS * 4096);
    expect_eq(rig_number(snapshot, "branch_count"), 0); /* its own is not counted */
    json_decref(snapshot);
    expect_eq(engine_points(rig), 2);
    json_t *disks = rig_ok(rig, "disk_list", NULL);
    expect_eq(json_array_size(json_object_get(disks, "disks")), 3); /* nor listed */
    json_decref(disks);
    expect(runs(rig, "snapshot_promote", "n-a")); /* again: nothing to do */
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a"));
    expect_eq(engine_points(rig), 1);
    lun_logout(host);
    rig_destroy(rig);
}

static void split_makes_a_disk_with_the_identity_of_the_snapshot(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    json_t *before = rig_ok(rig, "snapshot_show", "{s:s}", "name", "n-a");
    char id[64];
    job_of(rig_ok(rig, "snapshot_split", "{s:s, s:s}", "name", "n-a", "new_name", "copy"), id);
    expect(rig_job_ends(rig, id, "done"));
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "copy");
    expect_str(rig_text(disk, "naa"), rig_text(before, "naa"));
    expect_str(rig_text(disk, "serial"), rig_text(before, "serial"));
    expect_eq(rig_number(disk, "depth"), 0);
    expect_eq(rig_number(disk, "used_bytes"), BLOCKS * 4096);
    json_decref(disk);
    json_decref(before);
    expect_eq(rig_fails(rig, "snapshot_show", "{s:s}", "name", "n-a"), STATUS_NOT_FOUND);
    expect_eq(engine_points(rig), 1); /* n-b; nothing is left over */
    /* It holds what the snapshot held, whatever becomes of the disk that it was cut from. */
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "copy", "lun", VIEW));
    expect(all_blocks_are(host, VIEW, 1));
    expect_eq(lun_put(host, VIEW, 0, 7), SCSI_STATUS_GOOD);
    expect_eq(lun_get(host, LUN, 0), 2);
    lun_logout(host);
    rig_destroy(rig);
}

/* A host that reads the snapshot goes on reading the same; its LUN stays, write-protected. */
static void a_split_keeps_the_luns_of_hosts_that_read_the_snapshot(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "n-a", "lun", VIEW));
    (void)lun_attention(host, VIEW);
    expect(all_blocks_are(host, VIEW, 1));
    expect(runs(rig, "snapshot_split", "n-a"));
    expect_eq(lun_attention(host, VIEW), 0x2A01);
    expect(all_blocks_are(host, VIEW, 1));
    expect_eq(lun_put(host, VIEW, 0, 9), 0x2700);
    expect(rig_text_is(rig, "disk_show", "n-a", "maps.0.host", "h"));
    lun_logout(host);
    expect(rig_restart(rig));
    host = lun_login(rig, "iqn.a");
    expect(all_blocks_are(host, VIEW, 1));
    expect_eq(lun_put(host, VIEW, 0, 9), 0x2700);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", VIEW));
    lun_logout(host);
    expect(rig_do(rig, "disk_delete", "{s:s}", "name", "n-a"));
    rig_destroy(rig);
}

static struct snapshot *snapshot_named(struct rig *rig, const char *name)
{
    struct object *object = NULL;
    struct err *e = object_find(&rig->control->snapshots, "snapshot", name, &object);
    check(!e);
    return container_of(object, struct snapshot, object);
}

/* The disk has the id of the snapshot, whose last rest could not be deleted yet. */
static void the_lun_of_a_split_disk_outlives_what_is_left_of_its_snapshot(void)
{
    struct lun_host *host;
    char id[64];
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "n-a", "lun", VIEW));
    job_of(rig_ok(rig, "snapshot_split", "{s:s, s:s}", "name", "n-a", "new_name", "copy"), id);
    const struct snapshot *snapshot = snapshot_named(rig, "n-a");
    struct volume *reader;
    struct err *e = volume_open(snapshot->disk->pool->engine, NULL, &snapshot->row.point,
                                VOLUME_READ_ONLY, &reader);
    expect(!e);
    expect(rig_job_ends(rig, id, "failed"));
    volume_close(reader);
    (void)lun_attention(host, VIEW);
    expect(rig_do(rig, "set_mask", "{s:s, s:s}", "name", "n", "host", "h"));
    bool is_there = rig_text_is(rig, "disk_show", "copy", "maps.0.host", "h");
    expect(is_there);
    expect(is_there && all_blocks_are(host, VIEW, 1));
    expect(
        rig_do(rig, "set_import", "{s:s, s:s}", "name", "n", "host", "h")); /* what is left of it */
    expect(rig_do(rig, "set_delete", "{s:s, s:b, s:b}", "name", "n", "unmap", 1, "now", 1));
    is_there = rig_text_is(rig, "disk_show", "copy", "maps.0.host", "h");
    expect(is_there);
    expect(is_there && all_blocks_are(host, VIEW, 1));
    lun_logout(host);
    expect(rig_restart(rig));
    expect(rig_text_is(rig, "disk_show", "copy", "maps.0.host", "h"));
    expect_eq(engine_points(rig), 0);
    rig_destroy(rig);
}

/* "n-a" becomes disk "copy", but its last rest is still there: somebody reads the point. */
static void split_with_a_rest(struct rig *rig)
{
    char id[64];
    job_of(rig_ok(rig, "snapshot_split", "{s:s, s:s}", "name", "n-a", "new_name", "copy"), id);
    const struct snapshot *snapshot = snapshot_named(rig, "n-a");
    struct volume *reader;
    struct err *e = volume_open(snapshot->disk->pool->engine, NULL, &snapshot->row.point,
                                VOLUME_READ_ONLY, &reader);
    check(!e);
    check(rig_job_ends(rig, id, "failed"));
    volume_close(reader);
}

static void what_is_left_of_a_split_snapshot_stops_no_break(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    split_with_a_rest(rig);
    expect(runs(rig, "set_break", "n"));
    expect(rig_text_is(rig, "set_show", "n", "state", "broken"));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", "n-b"));
    lun_logout(host);
    expect(rig_restart(rig));
    expect_eq(engine_points(rig), 0);
    rig_destroy(rig);
}

/* Such a set counted as created, and the trash did not know its name. */
static void a_set_with_nothing_but_the_trash_and_a_rest_is_not_broken(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    split_with_a_rest(rig);
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-b"));
    expect(rig_text_is(rig, "set_show", "n", "state", "trashed"));
    expect_eq(rig_fails(rig, "set_break", "{s:s}", "name", "n"), STATUS_CONFLICT);
    expect(rig_do(rig, "trash_restore", "{s:s}", "name", "n-b"));
    expect(rig_text_is(rig, "set_show", "n", "state", "created"));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-b"));
    lun_logout(host);
    expect(rig_restart(rig));
    expect(rig_text_is(rig, "set_show", "n", "state", "trashed"));
    expect(rig_do(rig, "trash_restore", "{s:s}", "name", "n"));
    expect(rig_text_is(rig, "snapshot_show", "n-b", "state", "ready"));
    rig_destroy(rig);
}

/* It came back as a snapshot with the id of the disk, which a host could be served a second time. */
static void what_is_left_of_a_split_snapshot_does_not_go_into_the_trash(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    split_with_a_rest(rig);
    expect(rig_do(rig, "set_delete", "{s:s}", "name", "n"));
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "n-a"), STATUS_NOT_FOUND);
    expect(rig_do(rig, "trash_restore", "{s:s}", "name", "n"));
    expect(rig_text_is(rig, "snapshot_show", "n-b", "state", "ready"));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a"));
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "n-a"), STATUS_NOT_FOUND);
    lun_logout(host);
    expect(rig_restart(rig));
    expect_eq(rig_fails(rig, "snapshot_show", "{s:s}", "name", "n-a"), STATUS_NOT_FOUND);
    expect(rig_do(rig, "disk_show", "{s:s}", "name", "copy"));
    expect_eq(engine_points(rig), 1);
    rig_destroy(rig);
}

static void a_set_whose_last_member_is_split_is_broken(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "n");
    char uuid[UUID_TEXT_SIZE];
    snprintf(uuid, sizeof uuid, "%s", rig_text(set, "uuid"));
    json_decref(set);
    expect(runs(rig, "snapshot_split", "n-a"));
    expect(rig_text_is(rig, "set_show", "n", "state", "created"));
    expect(runs(rig, "snapshot_split", "n-b"));
    expect(rig_text_is(rig, "set_show", uuid, "state", "broken"));
    expect_eq(engine_points(rig), 0);
    /* Its name is free again, and only a record is deleted with it. */
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "n"));
    expect(rig_do(rig, "set_delete", "{s:s}", "name", uuid));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", "n-a"));
    lun_logout(host);
    rig_destroy(rig);
}

static void a_set_is_split_as_a_whole(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    json_t *dry = rig_ok(rig, "set_split", "{s:s, s:b}", "name", "n", "dry_run", 1);
    expect(strstr(rig_text(dry, "would.0"), "copy what snapshot \"n-a\" still reads") != NULL);
    expect(strstr(rig_text(dry, "would.1"), "make disk \"n-a\" of it") != NULL);
    json_decref(dry);
    expect(rig_text_is(rig, "snapshot_show", "n-a", "type", "differential"));
    expect(runs(rig, "set_promote", "n"));
    expect(rig_text_is(rig, "snapshot_show", "n-b", "type", "full"));
    for (unsigned i = 0; i < 2;
         i++) { /* after a promotion there is nothing left to copy; nor after a restart */
        dry = rig_ok(rig, "set_split", "{s:s, s:b}", "name", "n", "dry_run", 1);
        expect_str(rig_text(dry, "would.0"),
                   "copy nothing: snapshot \"n-a\" has all that it reads");
        json_decref(dry);
        if (i == 1) break;
        lun_logout(host);
        require(rig_restart(rig));
        host = lun_login(rig, "iqn.a");
    }
    expect(runs(rig, "set_split", "n"));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", "n-a"));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", "n-b"));
    expect_eq(engine_points(rig), 0);
    lun_logout(host);
    rig_destroy(rig);
}

static void a_branch_is_split_from_its_snapshot(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "snapshot_branch", "{s:s, s:s}", "name", "n-a", "new_name", "w"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "w", "lun", VIEW));
    expect_eq(lun_put(host, VIEW, 0, 5), SCSI_STATUS_GOOD);
    expect_eq(rig_fails(rig, "disk_split", "{s:s}", "name", "a"), STATUS_CONFLICT);
    json_t *dry = rig_ok(rig, "disk_split", "{s:s, s:b}", "name", "w", "dry_run", 1);
    expect(strstr(rig_text(dry, "would.0"), "copy what branch \"w\" still reads") != NULL);
    json_decref(dry);
    expect(runs(rig, "disk_promote", "w"));
    dry = rig_ok(rig, "disk_split", "{s:s, s:b}", "name", "w", "dry_run", 1);
    expect_str(rig_text(dry, "would.0"), "copy nothing: branch \"w\" has all that it reads");
    json_decref(dry);
    expect(rig_text_is(rig, "disk_show", "w", "parent_snapshot", "n-a"));
    expect(runs(rig, "disk_split", "w"));
    expect(rig_text_is(rig, "disk_show", "w", "parent_snapshot", ""));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-a"));
    expect_eq(lun_get(host, VIEW, 0), 5);
    expect_eq(lun_get(host, VIEW, 32), 1);
    lun_logout(host);
    expect(rig_restart(rig));
    expect(rig_text_is(rig, "disk_show", "w", "parent_snapshot", ""));
    rig_destroy(rig);
}

static void what_a_job_works_on_cannot_be_deleted(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    char id[64];
    job_of(rig_ok(rig, "snapshot_split", "{s:s}", "name", "n-a"), id);
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s}", "name", "n-a"), STATUS_IN_USE);
    expect_eq(rig_fails(rig, "set_delete", "{s:s}", "name", "n"), STATUS_IN_USE);
    expect_eq(rig_fails(rig, "snapshot_promote", "{s:s}", "name", "n-a"), STATUS_IN_USE);
    /* The same again is the same job. */
    char again[64];
    job_of(rig_ok(rig, "snapshot_split", "{s:s}", "name", "n-a"), again);
    expect_str(again, id);
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "failed"));
    expect(rig_text_is(rig, "snapshot_show", "n-a", "state", "ready"));
    expect_eq(rig_fails(rig, "job_cancel", "{s:s}", "name", id), STATUS_CONFLICT);
    expect(rig_do(rig, "set_delete", "{s:s}", "name", "n"));
    expect_eq(engine_points(rig), 0);
    lun_logout(host);
    rig_destroy(rig);
}

static void a_paused_job_stays_paused_over_a_restart_and_then_goes_on(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    char id[64];
    job_of(rig_ok(rig, "set_split", "{s:s}", "name", "n"), id);
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    lun_logout(host);
    expect(rig_restart(rig));
    sim_run_for(rig->sim, 10 * RT_SECOND);
    expect(rig_text_is(rig, "job_show", id, "state", "paused"));
    expect(rig_text_is(rig, "set_show", "n", "state", "created"));
    expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "done"));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", "n-a"));
    expect_eq(engine_points(rig), 0);
    rig_destroy(rig);
}

static void a_job_that_runs_goes_on_after_a_restart(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    char id[64];
    job_of(rig_ok(rig, "set_split", "{s:s}", "name", "n"), id);
    lun_logout(host);
    expect(rig_restart(rig));
    expect(rig_job_ends(rig, id, "done"));
    expect_eq(engine_points(rig), 0);
    rig_destroy(rig);
}

static void break_is_answered_at_once_and_a_cancelled_one_can_be_repeated(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    char id[64];
    job_of(rig_ok(rig, "set_break", "{s:s}", "name", "n"), id);
    expect(rig_text_is(rig, "set_show", "n", "state", "breaking"));
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    expect_eq(rig_fails(rig, "set_delete", "{s:s}", "name", "n"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "map_add", "{s:s, s:s}", "host", "h", "snapshot", "n-a"),
              STATUS_CONFLICT);
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "failed"));
    expect(rig_text_is(rig, "set_show", "n", "state", "created"));
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "n");
    char uuid[UUID_TEXT_SIZE];
    snprintf(uuid, sizeof uuid, "%s", rig_text(set, "uuid"));
    json_decref(set);
    expect(runs(rig, "set_break", "n"));
    expect(rig_text_is(rig, "set_show", uuid, "state", "broken"));
    /* Asked for again: the answer is the job that did it. */
    job_of(rig_ok(rig, "set_break", "{s:s}", "name", uuid), id);
    expect(rig_job_ends(rig, id, "done"));
    lun_logout(host);
    rig_destroy(rig);
}

/* Its job is over, the catalog does not know: it can be done again, and nothing else with the set. */
static void a_break_whose_end_could_not_be_written_can_be_repeated(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    char id[64];
    job_of(rig_ok(rig, "set_break", "{s:s}", "name", "n"), id);
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    sim_node_fault(rig->node, SIM_FAULT_FLUSH_ERROR, "/state/catalog.db-wal", 1);
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "failed"));
    expect(rig_text_is(rig, "set_show", "n", "state", "breaking"));
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s}", "name", "n-b"), STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s, s:b}", "name", "n-b", "now", 1),
              STATUS_CONFLICT);
    expect(runs(rig, "set_break", "n"));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", "n-b"));
    lun_logout(host);
    rig_destroy(rig);
}

static void what_is_in_the_trash_stays_a_snapshot_when_its_set_is_broken(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    char id[64];
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-b"));
    job_of(rig_ok(rig, "set_break", "{s:s}", "name", "n"), id);
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "n-b"), STATUS_CONFLICT);
    expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "done"));
    expect(rig_text_is(rig, "set_show", "n", "state", "broken"));
    lun_logout(host);
    expect(rig_restart(rig));
    expect(rig_do(rig, "trash_restore", "{s:s}", "name", "n-b"));
    expect(rig_text_is(rig, "set_show", "n", "state", "created"));
    expect(rig_text_is(rig, "snapshot_show", "n-b", "state", "ready"));
    expect(runs(rig, "set_break", "n"));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", "n-b"));
    expect(rig_text_is(rig, "set_show", "n", "state", "broken"));
    rig_destroy(rig);
}

static void the_record_of_a_broken_set_goes_with_what_is_in_the_trash_only_for_good(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "n-b"));
    expect(runs(rig, "set_break", "n"));
    expect_eq(rig_fails(rig, "set_delete", "{s:s}", "name", "n"), STATUS_CONFLICT);
    expect(rig_do(rig, "trash_restore", "{s:s, s:b}", "name", "n-b", "dry_run", 1));
    expect(rig_do(rig, "set_delete", "{s:s, s:b}", "name", "n", "now", 1));
    expect_eq(rig_fails(rig, "set_show", "{s:s}", "name", "n"), STATUS_NOT_FOUND);
    expect_eq(rig_fails(rig, "trash_restore", "{s:s}", "name", "n-b"), STATUS_NOT_FOUND);
    expect_eq(engine_points(rig), 0);
    lun_logout(host);
    expect(rig_restart(rig));
    expect_eq(rig_fails(rig, "set_show", "{s:s}", "name", "n"), STATUS_NOT_FOUND);
    rig_destroy(rig);
}

static void break_writable_makes_protected_luns_writable(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "n-a", "lun", VIEW));
    (void)lun_attention(host, VIEW);
    char id[64];
    job_of(rig_ok(rig, "set_break", "{s:s, s:b}", "name", "n", "writable", 1), id);
    expect(rig_job_ends(rig, id, "done"));
    (void)lun_attention(host, VIEW);
    expect_eq(lun_put(host, VIEW, 0, 9), SCSI_STATUS_GOOD);
    lun_logout(host);
    expect(rig_restart(rig));
    host = lun_login(rig, "iqn.a");
    expect_eq(lun_get(host, VIEW, 0), 9);
    expect_eq(lun_put(host, VIEW, 0, 8), SCSI_STATUS_GOOD);
    lun_logout(host);
    rig_destroy(rig);
}

static void a_name_that_is_taken_is_refused_and_changes_nothing(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect_eq(rig_fails(rig, "snapshot_split", "{s:s, s:s}", "name", "n-a", "new_name", "b"),
              STATUS_EXISTS);
    expect_eq(rig_fails(rig, "snapshot_split", "{s:s}", "name", "none"), STATUS_NOT_FOUND);
    expect(rig_text_is(rig, "snapshot_show", "n-a", "state", "ready"));
    lun_logout(host);
    rig_destroy(rig);
}

/* Crashes after each of many device writes of a split; the job goes on at the next start. */
static void a_split_that_crashes_anywhere_is_finished_at_the_next_start(void)
{
    unsigned crashed = 0;
    for (unsigned step = 1; step < 400; step += 13) {
        struct lun_host *host;
        struct rig *rig = furnished(&host);
        char id[64];
        job_of(rig_ok(rig, "snapshot_split", "{s:s, s:s}", "name", "n-a", "new_name", "copy"), id);
        lun_logout(host);
        sim_run_for(rig->sim, step * RT_MS / 40);
        json_t *job = rig_ok(rig, "job_show", "{s:s}", "name", id);
        bool is_over = strcmp(rig_text(job, "state"), "done") == 0;
        json_decref(job);
        crashed += !is_over;
        rig_crash(rig, step % 2 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        require(rig_boot(rig));
        expect(rig_job_ends(rig, id, "done"));
        expect_eq(rig_fails(rig, "snapshot_show", "{s:s}", "name", "n-a"), STATUS_NOT_FOUND);
        expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "copy", "lun", VIEW));
        host = lun_login(rig, "iqn.a");
        expect(all_blocks_are(host, VIEW, 1));
        /* What no flush covered may be gone with the power. */
        if (step % 2 == 0) expect(all_blocks_are(host, LUN, 2));
        lun_logout(host);
        expect_eq(engine_points(rig), 1);
        rig_destroy(rig);
        if (is_over) break;
    }
    expect(crashed > 5);
}

/* A break is never refused for space: the LUNs are in use, and the job goes on when there is some. */
static void a_break_waits_for_space_and_then_goes_on(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    char id[64];
    expect(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "ballast", "size", "64M"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "ballast", "lun", VIEW));
    unsigned block = 0;
    while (block < 16384 && lun_put(host, VIEW, block, 3) == SCSI_STATUS_GOOD)
        block++;
    require(block < 16384);
    job_of(rig_ok(rig, "set_break", "{s:s}", "name", "n"), id);
    sim_run_for(rig->sim, 90 * RT_SECOND);
    json_t *job = rig_ok(rig, "job_show", "{s:s}", "name", id);
    expect_str(rig_text(job, "state"), "running");
    expect(strstr(rig_text(job, "trouble"), "waits for space") != NULL);
    json_decref(job);
    expect(rig_text_is(rig, "set_show", "n", "state", "breaking"));
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", VIEW));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "ballast", "now", 1));
    expect(rig_job_ends(rig, id, "done"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "n-a", "lun", VIEW + 1));
    expect(all_blocks_are(host, VIEW + 1, 1));
    lun_logout(host);
    rig_destroy(rig);
}

static void a_break_that_crashes_anywhere_is_finished_at_the_next_start(void)
{
    unsigned crashed = 0;
    for (unsigned place = 2; place < 90; place += 4) {
        struct lun_host *host;
        struct rig *rig = furnished(&host);
        char id[64];
        job_of(rig_ok(rig, "set_break", "{s:s}", "name", "n"), id);
        lun_logout(host);
        sim_node_crash_at_write(rig->node, place, place % 8 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        sim_run_for(rig->sim, 20 * RT_SECOND);
        if (!sim_node_is_up(rig->node)) crashed++;
        rig_crash(rig, SIM_CRASH_PROCESS);
        sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
        require(rig_boot(rig));
        expect(rig_job_ends(rig, id, "done"));
        expect(rig_do(rig, "disk_show", "{s:s}", "name", "n-a"));
        expect(rig_do(rig, "disk_show", "{s:s}", "name", "n-b"));
        expect(rig_text_is(rig, "set_show", "n", "state", "broken"));
        expect_eq(engine_points(rig), 0);
        require(rig_restart(rig));
        expect_eq(engine_points(rig), 0);
        rig_destroy(rig);
    }
    expect(crashed > 10);
}

int main(void)
{
    run(promote_makes_a_snapshot_full_and_leaves_it_a_snapshot);
    run(split_makes_a_disk_with_the_identity_of_the_snapshot);
    run(a_split_keeps_the_luns_of_hosts_that_read_the_snapshot);
    run(the_lun_of_a_split_disk_outlives_what_is_left_of_its_snapshot);
    run(what_is_left_of_a_split_snapshot_stops_no_break);
    run(a_set_with_nothing_but_the_trash_and_a_rest_is_not_broken);
    run(what_is_left_of_a_split_snapshot_does_not_go_into_the_trash);
    run(a_set_whose_last_member_is_split_is_broken);
    run(a_set_is_split_as_a_whole);
    run(a_branch_is_split_from_its_snapshot);
    run(what_a_job_works_on_cannot_be_deleted);
    run(a_paused_job_stays_paused_over_a_restart_and_then_goes_on);
    run(a_job_that_runs_goes_on_after_a_restart);
    run(break_is_answered_at_once_and_a_cancelled_one_can_be_repeated);
    run(a_break_whose_end_could_not_be_written_can_be_repeated);
    run(what_is_in_the_trash_stays_a_snapshot_when_its_set_is_broken);
    run(the_record_of_a_broken_set_goes_with_what_is_in_the_trash_only_for_good);
    run(break_writable_makes_protected_luns_writable);
    run(a_name_that_is_taken_is_refused_and_changes_nothing);
    run(a_split_that_crashes_anywhere_is_finished_at_the_next_start);
    run(a_break_waits_for_space_and_then_goes_on);
    run(a_break_that_crashes_anywhere_is_finished_at_the_next_start);
    return tap_done();
}
