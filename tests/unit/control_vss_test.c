/* What was cut through VSS carries hidden, read-only volumes: where it is used outside of VSS they
 * are made visible, above the point, which never changes (S10).  On a disk that sgdisk and
 * mkntfs made. */
#include "tests/lib/whole.h"
#include "tests/unit/control_lun.h"
#include "tests/unit/gpt_rig.h"

#include "control/control_int.h"
#include "volume/volume_engine.h"

/* ---- Whole disks as images ------------------------------------------------------------------- */

static struct pool *the_pool(struct rig *rig)
{
    return container_of(list_entry(list_front(&rig->control->pools), struct object, link),
                        struct pool, object);
}

/* The whole of a disk or point from or to `image`. */
static bool transfer(struct rig *rig, const struct uuid *disk, const struct uuid *point,
                     enum volume_op op)
{
    struct volume *volume = NULL;
    struct err *e = volume_open(the_pool(rig)->engine, disk, point,
                                op == VOLUME_READ ? VOLUME_READ_ONLY : VOLUME_READ_WRITE, &volume);
    bool ok = !e;
    err_free(e);
    ok = ok && whole_volume(rig->sim, volume, op, image, IMAGE_BYTES);
    volume_close(volume);
    return ok;
}

static struct uuid id_of(struct rig *rig, const char *verb, const char *name)
{
    json_t *json = rig_ok(rig, verb, "{s:s}", "name", name);
    struct uuid uuid = {0};
    check(uuid_parse(rig_text(json, "uuid"), &uuid));
    json_decref(json);
    return uuid;
}

static bool disk_to_file(struct rig *rig, const char *disk, const char *file)
{
    struct uuid uuid = id_of(rig, "disk_show", disk);
    if (!transfer(rig, &uuid, NULL, VOLUME_READ)) return false;
    image_save(file);
    return true;
}

static bool point_to_file(struct rig *rig, const char *snapshot, const char *file)
{
    struct uuid uuid = id_of(rig, "snapshot_show", snapshot);
    if (!transfer(rig, NULL, &uuid, VOLUME_READ)) return false;
    image_save(file);
    return true;
}

/* ---- The world: disk a as Windows has it at the commit, and set "s" of it -------------------- */

static struct rig *furnished(bool vss)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "win", "initiators", "iqn.w",
                 "os", "windows"));
    image_load("marked");
    struct uuid a = id_of(rig, "disk_show", "a");
    check(transfer(rig, &a, NULL, VOLUME_WRITE));
    check(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s, s:b}", "disks", "a", "name", "s", "host",
                 "win", "vss", vss));
    static const char *const steps[] = {"set_arm", "set_commit", "set_confirm", "set_finish"};
    for (unsigned i = 0; i < countof(steps); i++)
        check(rig_do(rig, steps[i], "{s:s}", "name", "s"));
    return rig;
}

static bool is_clean(const char *file)
{
    return shell("sgdisk -v %s | grep -q 'No problems found' && "
                 "sgdisk -i 2 %s | grep -q 'Attribute flags: 0000000000000000' && "
                 "sgdisk -i 3 %s | grep -q 'Attribute flags: 1000000000000000' && "
                 "dd if=%s of=volume bs=512 skip=4096 count=12288 && "
                 "ntfscat volume report.txt | cmp - file",
                 file, file, file, file) == 0;
}

static bool is_marked(const char *file)
{
    return shell("cmp %s marked", file) == 0;
}

static bool ends_well(struct rig *rig, json_t *answer, json_t **ret_job)
{
    json_t *job =
        rig_ok(rig, "job_show", "{s:s, s:i}", "name", rig_text(answer, "job.id"), "wait", 30);
    bool done = strcmp(rig_text(job, "state"), "done") == 0;
    json_decref(answer);
    if (ret_job) {
        *ret_job = job;
    } else {
        json_decref(job);
    }
    return done;
}

static void a_branch_of_a_vss_snapshot_has_visible_volumes_and_the_point_stays(void)
{
    struct rig *rig = furnished(true);
    json_t *disk = rig_ok(rig, "snapshot_branch", "{s:s, s:s}", "name", "s-a", "new_name", "w");
    expect(strstr(rig_text(disk, "note"), "the marks were taken off") != NULL);
    json_decref(disk);
    expect(disk_to_file(rig, "w", "disk") && is_clean("disk"));
    expect(point_to_file(rig, "s-a", "disk") && is_marked("disk"));
    expect(rig_do(rig, "snapshot_branch", "{s:s, s:s, s:b}", "name", "s-a", "new_name", "kept",
                  "keep_vss_flags", 1));
    expect(disk_to_file(rig, "kept", "disk") && is_marked("disk"));
    rig_destroy(rig);
}

static void a_split_of_a_vss_snapshot_has_visible_volumes(void)
{
    struct rig *rig = furnished(true);
    json_t *job = NULL;
    expect(ends_well(rig, rig_ok(rig, "snapshot_split", "{s:s}", "name", "s-a"), &job));
    expect(rig_text(job, "result.disks.0.note")[0] != '\0');
    json_decref(job);
    expect(disk_to_file(rig, "s-a", "disk") && is_clean("disk"));
    rig_destroy(rig);
}

static void a_split_leaves_the_flags_when_asked_to(void)
{
    struct rig *rig = furnished(true);
    expect(ends_well(rig, rig_ok(rig, "set_split", "{s:s, s:b}", "name", "s", "keep_vss_flags", 1),
                     NULL));
    expect(disk_to_file(rig, "s-a", "disk") && is_marked("disk"));
    rig_destroy(rig);
}

static void a_revert_to_a_vss_snapshot_brings_visible_volumes(void)
{
    struct rig *rig = furnished(true);
    sim_run_for(rig->sim, 61 * RT_SECOND);
    expect(rig_do(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "s-a", "keep_vss_flags",
                  1));
    expect(disk_to_file(rig, "a", "disk") && is_marked("disk"));
    sim_run_for(rig->sim, 61 * RT_SECOND);
    json_t *job = NULL;
    expect(
        ends_well(rig, rig_ok(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "s-a"), &job));
    expect(rig_text(job, "result.note")[0] != '\0');
    json_decref(job);
    json_t *disk = rig_ok(rig, "disk_undo", "{s:s, s:b}", "name", "a", "list", 1);
    expect(strncmp(rig_text(disk, "undo_points.1.name"), "before-revert-", 14) == 0);
    expect_str(rig_text(disk, "undo_points.1.cause"), "revert to snapshot \"s-a\"");
    json_decref(disk);
    expect(disk_to_file(rig, "a", "disk") && is_clean("disk"));
    expect(point_to_file(rig, "s-a", "disk") && is_marked("disk"));
    rig_destroy(rig);
}

/* It is a job: the one that did it is the answer. */
static void a_revert_to_a_vss_snapshot_that_is_asked_for_again_is_not_made_again(void)
{
    struct rig *rig = furnished(true);
    sim_run_for(rig->sim, 61 * RT_SECOND);
    json_t *first = rig_ok(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "s-a");
    expect(ends_well(rig, json_incref(first), NULL));
    json_t *again = rig_ok(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "s-a");
    expect_str(rig_text(again, "job.id"), rig_text(first, "job.id"));
    expect_str(rig_text(again, "job.state"), "done");
    json_decref(first);
    json_decref(again);
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    expect_eq(json_array_size(json_object_get(disk, "undo_points")), 1);
    json_decref(disk);
    rig_destroy(rig);
}

/* VSS does all of that itself: import and break touch nothing. */
static void import_and_break_leave_the_flags_to_vss(void)
{
    struct rig *rig = furnished(true);
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "win"));
    expect(ends_well(rig, rig_ok(rig, "set_break", "{s:s}", "name", "s"), NULL));
    expect(disk_to_file(rig, "s-a", "disk") && is_marked("disk"));
    rig_destroy(rig);
}

static void a_vss_snapshot_served_to_windows_outside_of_vss_has_visible_volumes(void)
{
    struct rig *rig = furnished(true);
    json_t *map = rig_ok(rig, "map_add", "{s:s, s:s}", "host", "win", "snapshot", "s-a");
    expect(rig_text(map, "note")[0] != '\0');
    json_decref(map);
    struct uuid branch = id_of(rig, "snapshot_show", "s-a");
    expect(transfer(rig, &branch, NULL, VOLUME_READ));
    image_save("disk");
    expect(is_clean("disk"));
    expect(point_to_file(rig, "s-a", "disk") && is_marked("disk"));
    rig_destroy(rig);
}

/* ---- Hosts that are not Windows: they see what nothing is written to -------------------------------- */

static struct snapshot *snapshot_at(struct rig *rig, const char *name)
{
    struct snapshot *snapshot = NULL;
    struct err *e = find_snapshot(rig->control, name, &snapshot);
    check(!e);
    return snapshot;
}

/* What the LUN of the host shows, whatever stands behind it. */
static bool lun_to_file(struct rig *rig, const char *host_name, const char *file)
{
    struct host *host = NULL;
    struct err *e = find_host(rig->control, host_name, &host);
    check(!e);
    const struct map *map = list_entry(list_front(&host->maps), struct map, link);
    const struct served *served = map->disk               ? &map->disk->served
                                  : map->row.keep_vss_flags ? &map->snapshot->served
                                                            : &map->snapshot->view;
    if (!map->lun || !served->lun[1] || map->lun != served->lun[1]) return false;
    if (!whole_volume(rig->sim, served->volume, VOLUME_READ, image, IMAGE_BYTES)) return false;
    image_save(file);
    return true;
}

static void linux_host(struct rig *rig, const char *name, const char *initiator)
{
    check(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", name, "initiators", initiator, "os",
                 "linux"));
}

static bool verifies(struct rig *rig)
{
    json_t *job = NULL;
    bool ok = ends_well(rig, rig_ok(rig, "snapshot_verify", "{s:s}", "name", "s-a"), &job);
    json_decref(job);
    return ok;
}

static void a_host_that_is_not_windows_sees_visible_volumes_and_the_point_stays(void)
{
    struct rig *rig = furnished(true);
    linux_host(rig, "lin", "iqn.l");
    linux_host(rig, "raw", "iqn.r");
    expect(verifies(rig));
    json_t *map = rig_ok(rig, "map_add", "{s:s, s:s}", "host", "lin", "snapshot", "s-a");
    expect(strstr(rig_text(map, "note"), "the marks were taken off") != NULL);
    json_decref(map);
    expect(lun_to_file(rig, "lin", "disk") && is_clean("disk"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:b}", "host", "raw", "snapshot", "s-a", "keep_vss_flags", 1));
    expect(lun_to_file(rig, "raw", "disk") && is_marked("disk"));
    struct lun_host *lun = lun_login(rig, "iqn.l");
    expect_eq(lun_put(lun, 1, 100, 1), 0x2700); /* DATA PROTECT */
    lun_logout(lun);
    expect(point_to_file(rig, "s-a", "disk") && is_marked("disk"));
    expect(verifies(rig)); /* the same digest as before */
    require(rig_restart(rig));
    expect(lun_to_file(rig, "lin", "disk") && is_clean("disk"));
    expect(lun_to_file(rig, "raw", "disk") && is_marked("disk"));
    expect_eq(rig_unclaimed(rig), 0);
    json_t *snapshot = rig_ok(rig, "snapshot_show", "{s:s}", "name", "s-a");
    expect_eq(rig_number(snapshot, "branch_count"), 0);
    json_decref(snapshot);
    rig_destroy(rig);
}

static void an_imported_set_shows_visible_volumes_and_leaves_nothing_when_it_goes(void)
{
    struct rig *rig = furnished(true);
    linux_host(rig, "lin", "iqn.l");
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "lin"));
    expect(lun_to_file(rig, "lin", "disk") && is_clean("disk"));
    struct uuid view = snapshot_at(rig, "s-a")->row.view;
    struct volume_disk_info info;
    expect(volume_disk_find(the_pool(rig)->engine, &view, &info));
    expect(rig_do(rig, "set_mask", "{s:s}", "name", "s"));
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "lin")); /* the same again */
    expect(uuid_equal(&view, &snapshot_at(rig, "s-a")->row.view));
    expect(lun_to_file(rig, "lin", "disk") && is_clean("disk"));
    expect(rig_do(rig, "set_mask", "{s:s}", "name", "s"));
    expect(rig_do(rig, "set_import", "{s:s, s:s, s:b}", "name", "s", "host", "lin", "keep_vss_flags", 1));
    expect(lun_to_file(rig, "lin", "disk") && is_marked("disk"));
    expect(rig_do(rig, "set_mask", "{s:s}", "name", "s"));
    expect(rig_do(rig, "set_delete", "{s:s, s:b}", "name", "s", "now", 1));
    expect(!volume_disk_find(the_pool(rig)->engine, &view, &info));
    expect_eq(rig_unclaimed(rig), 0);
    rig_destroy(rig);
}

static void a_disk_goes_with_its_snapshots_and_their_views(void)
{
    struct rig *rig = furnished(true);
    linux_host(rig, "lin", "iqn.l");
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "lin"));
    expect(rig_do(rig, "set_mask", "{s:s}", "name", "s"));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b, s:b}", "name", "a", "with_snapshots", 1, "now", 1));
    expect_eq(rig_unclaimed(rig), 0);
    rig_destroy(rig);
}

static void a_split_keeps_the_lun_of_a_host_that_sees_the_view(void)
{
    struct rig *rig = furnished(true);
    linux_host(rig, "lin", "iqn.l");
    expect(rig_do(rig, "map_add", "{s:s, s:s}", "host", "lin", "snapshot", "s-a"));
    struct uuid view = snapshot_at(rig, "s-a")->row.view;
    struct volume_disk_info info;
    expect(ends_well(rig, rig_ok(rig, "snapshot_split", "{s:s}", "name", "s-a"), NULL));
    expect(lun_to_file(rig, "lin", "disk") && is_clean("disk"));
    expect(!volume_disk_find(the_pool(rig)->engine, &view, &info));
    expect_eq(rig_unclaimed(rig), 0);
    rig_destroy(rig);
}

static void a_view_that_crashes_while_it_is_made_is_made_the_next_time(void)
{
    unsigned there = 0, gone = 0;
    for (unsigned place = 1; place < 80; place += 4) {
        struct rig *rig = furnished(true);
        linux_host(rig, "lin", "iqn.l");
        sim_node_crash_at_write(rig->node, place, place % 8 == 1 ? SIM_CRASH_PROCESS : SIM_CRASH_POWER);
        json_decref(rig_call(rig, "set_import", json_pack("{s:s, s:s}", "name", "s", "host", "lin")));
        rig_crash(rig, SIM_CRASH_PROCESS);
        sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
        require(rig_boot(rig));
        json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "s");
        bool is_there = strcmp(rig_text(set, "imports.0.state"), "imported") == 0;
        json_decref(set);
        there += is_there;
        gone += !is_there;
        expect_eq(rig_unclaimed(rig), 0);
        expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "lin"));
        expect(lun_to_file(rig, "lin", "disk") && is_clean("disk"));
        expect(point_to_file(rig, "s-a", "disk") && is_marked("disk"));
        rig_destroy(rig);
    }
    printf("# %u there, %u not\n", there, gone);
    expect(there > 0 && gone > 0);
}

static void what_was_not_cut_through_vss_is_left_alone(void)
{
    struct rig *rig = furnished(false);
    expect(rig_do(rig, "snapshot_branch", "{s:s, s:s}", "name", "s-a", "new_name", "w"));
    expect(disk_to_file(rig, "w", "disk") && is_marked("disk"));
    rig_destroy(rig);
}

/* Crashes while it branches and clears: at the next start there is no disk, or one that is clean.
 */
static void a_branch_that_crashes_is_not_there_or_clean(void)
{
    unsigned there = 0, gone = 0;
    for (unsigned place = 1; place < 40; place += 2) {
        struct rig *rig = furnished(true);
        sim_node_crash_at_write(rig->node, place, SIM_CRASH_PROCESS);
        json_decref(rig_call(rig, "snapshot_branch",
                             json_pack("{s:s, s:s}", "name", "s-a", "new_name", "w")));
        rig_crash(rig, SIM_CRASH_PROCESS);
        sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
        require(rig_boot(rig));
        json_t *disk = rig_call(rig, "disk_show", json_pack("{s:s}", "name", "w"));
        there += disk != NULL;
        gone += disk == NULL;
        if (disk) {
            expect(disk_to_file(rig, "w", "disk"));
            expect(is_clean("disk"));
        }
        json_decref(disk);
        rig_destroy(rig);
    }
    expect(there > 0 && gone > 0);
}

/* No production disk is left with hidden volumes: a revert is made with its clearing, or not at
 * all. */
static void a_revert_that_crashes_is_finished_with_visible_volumes(void)
{
    unsigned made = 0, not_made = 0;
    for (unsigned place = 1; place < 48; place += 2) {
        struct rig *rig = furnished(true);
        struct uuid a = id_of(rig, "disk_show", "a");
        memset(image, 0, sizeof image);
        require(transfer(rig, &a, NULL, VOLUME_WRITE)); /* what the revert takes away */
        sim_run_for(rig->sim, 61 * RT_SECOND);
        sim_node_crash_at_write(rig->node, place,
                                place % 4 == 1 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        json_decref(
            rig_call(rig, "disk_revert", json_pack("{s:s, s:s}", "name", "a", "to", "s-a")));
        sim_run_for(rig->sim, 5 * RT_SECOND);
        sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
        rig_crash(rig, SIM_CRASH_PROCESS);
        require(rig_boot(rig));
        sim_run_for(rig->sim, 30 * RT_SECOND);
        require(disk_to_file(rig, "a", "disk"));
        bool is_made = shell("cmp -n 1048576 disk /dev/zero") != 0;
        if (is_made) expect(is_clean("disk"));
        made += is_made;
        not_made += !is_made;
        rig_destroy(rig);
    }
    expect(made > 0 && not_made > 0);
}

static const struct volume_engine_ops *true_ops;
static struct volume_engine_ops failing_ops;
static unsigned failures_due;

static struct err *failing_open(struct volume_pool *pool, const struct uuid *disk,
                                const struct uuid *point, enum volume_mode mode,
                                struct volume **ret_volume)
{
    if (mode == VOLUME_READ_WRITE && failures_due > 0) {
        failures_due--;
        return err_new(STATUS_POOL_FULL, "there is no room for that");
    }
    return true_ops->open(pool, disk, point, mode, ret_volume);
}

/* The next `count` attempts to open a disk for writing fail. */
static void fail_clearings(struct rig *rig, unsigned count)
{
    struct volume_pool *engine = the_pool(rig)->engine;
    true_ops = engine->ops;
    failing_ops = *true_ops;
    failing_ops.open = failing_open;
    engine->ops = &failing_ops;
    failures_due = count;
}

/* The revert is made; that its volumes are hidden still is said, and made good as soon as can be. */
static void flags_that_cannot_be_cleared_now_are_cleared_later(bool restarts)
{
    struct rig *rig = furnished(true);
    json_t *job = NULL;
    sim_run_for(rig->sim, 61 * RT_SECOND);
    fail_clearings(rig, restarts ? 1000 : 3);
    expect(ends_well(rig, rig_ok(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "s-a"), &job));
    const char *note = rig_text(job, "result.note"), *id = strstr(note, "tarn job show ");
    expect(strstr(note, "still hidden and read-only") && strstr(note, "no room"));
    require(id != NULL);
    char name[UUID_TEXT_SIZE];
    snprintf(name, sizeof name, "%s", id + strlen("tarn job show "));
    expect_str(rig_text(job, "result.undo_points.0.state"), "ready");
    json_decref(job);
    if (restarts) {
        expect(rig_restart(rig));
    } else {
        require(disk_to_file(rig, "a", "disk"));
        expect(is_marked("disk"));
        expect_eq(rig_fails(rig, "disk_undo", "{s:s}", "name", "a"), STATUS_IN_USE);
    }
    job = rig_ok(rig, "job_show", "{s:s, s:i}", "name", name, "wait", 30);
    expect_str(rig_text(job, "state"), "done");
    json_decref(job);
    require(disk_to_file(rig, "a", "disk"));
    expect(is_clean("disk"));
    expect(rig_do(rig, "disk_undo", "{s:s, s:b}", "name", "a", "force", 1));
    rig_destroy(rig);
}

static void a_revert_whose_flags_cannot_be_cleared_says_so_and_does_it_later(void)
{
    flags_that_cannot_be_cleared_now_are_cleared_later(false);
}

static void flags_that_are_still_to_be_cleared_are_so_after_a_restart(void)
{
    flags_that_cannot_be_cleared_now_are_cleared_later(true);
}

int main(void)
{
    if (!rig_disks_or_skip()) return 0;
    run(a_branch_of_a_vss_snapshot_has_visible_volumes_and_the_point_stays);
    run(a_split_of_a_vss_snapshot_has_visible_volumes);
    run(a_split_leaves_the_flags_when_asked_to);
    run(a_revert_to_a_vss_snapshot_brings_visible_volumes);
    run(a_revert_to_a_vss_snapshot_that_is_asked_for_again_is_not_made_again);
    run(import_and_break_leave_the_flags_to_vss);
    run(a_vss_snapshot_served_to_windows_outside_of_vss_has_visible_volumes);
    run(a_host_that_is_not_windows_sees_visible_volumes_and_the_point_stays);
    run(an_imported_set_shows_visible_volumes_and_leaves_nothing_when_it_goes);
    run(a_disk_goes_with_its_snapshots_and_their_views);
    run(a_split_keeps_the_lun_of_a_host_that_sees_the_view);
    run(a_view_that_crashes_while_it_is_made_is_made_the_next_time);
    run(what_was_not_cut_through_vss_is_left_alone);
    run(a_branch_that_crashes_is_not_there_or_clean);
    run(a_revert_that_crashes_is_finished_with_visible_volumes);
    run(a_revert_whose_flags_cannot_be_cleared_says_so_and_does_it_later);
    run(flags_that_are_still_to_be_cleared_are_so_after_a_restart);
    rig_directory_remove();
    return tap_done();
}
