/* Many, through control: 1,000 disks, and 4,096 snapshots of one disk: made, listed, there after a
 * restart, deleted.  The engine's own numbers: tests/model/many_test.c. */
#include "tests/unit/control_lun.h"

#include "base/check.h"
#include "base/limits.h"
#include "tests/lib/tell.h"

enum { DISKS = 1000, POINTS = LIMIT_POINTS_PER_DISK, SAMPLES = 16 };

static struct rig *roomy(const char *size)
{
    struct rig *rig = rig_create(RIG_REAL);
    json_t *job = rig_ok(rig, "pool_create", "{s:s, s:s, s:s, s:b}", "name", "p", "path", "/pool",
                         "size", size, "sparse", 1);
    json_t *end =
        rig_ok(rig, "job_show", "{s:s, s:i}", "name", rig_text(job, "job.id"), "wait", 30);
    check(strcmp(rig_text(end, "state"), "done") == 0);
    json_decref(job);
    json_decref(end);
    return rig;
}

/* How many a list has, each name once. */
static size_t listed(struct rig *rig, const char *verb, const char *key)
{
    json_t *list = rig_ok(rig, verb, NULL), *names = json_object();
    const json_t *array = json_object_get(list, key);
    for (size_t i = 0; i < json_array_size(array); i++) {
        json_object_set_new(names, rig_text(json_array_get(array, i), "name"), json_true());
    }
    size_t count = json_object_size(names);
    expect_eq(json_array_size(array), count);
    json_decref(list);
    json_decref(names);
    return count;
}

/* ---- 1,000 disks ----------------------------------------------------------------------------- */

static void a_thousand_disks_are_made_listed_restarted_and_deleted(void)
{
    char name[32];
    struct rig *rig = roomy("512M");
    double begin = seconds_now();
    for (unsigned i = 0; i < DISKS; i++) {
        snprintf(name, sizeof name, "d%u", i);
        require(rig_do(rig, "disk_create", "{s:s, s:s}", "name", name, "size", "16M"));
    }
    tell("disks created", DISKS, begin);
    begin = seconds_now();
    expect_eq(listed(rig, "disk_list", "disks"), DISKS);
    tell("disks listed", DISKS, begin);
    begin = seconds_now();
    require(rig_restart(rig));
    tell("disks stopped and started", DISKS, begin);
    expect_eq(listed(rig, "disk_list", "disks"), DISKS);
    begin = seconds_now();
    for (unsigned i = 0; i < DISKS; i++) {
        snprintf(name, sizeof name, "d%u", i);
        require(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", name, "now", 1));
    }
    tell("disks deleted", DISKS, begin);
    expect_eq(listed(rig, "disk_list", "disks"), 0);
    rig_destroy(rig);
}

/* ---- 4,096 snapshots ------------------------------------------------------------------------- */

static char byte_of(unsigned p)
{
    return (char)(p % 127 + 1);
}

/* Samples read as they were cut: block 0 is written before each. */
static unsigned wrong_samples(struct rig *rig, struct lun_host *host, int first_lun)
{
    char name[32];
    unsigned wrong = 0;
    for (unsigned i = 0; i < SAMPLES; i++) {
        unsigned p = i * (POINTS - 1) / (SAMPLES - 1);
        snprintf(name, sizeof name, "s%u", p);
        check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", name, "lun",
                     first_lun + (int)i));
        if (lun_get(host, (unsigned)first_lun + i, 0) != byte_of(p)) wrong++;
        check(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", first_lun + (int)i));
    }
    return wrong;
}

static void a_disk_has_4096_snapshots_made_listed_restarted_and_deleted(void)
{
    char name[32];
    struct rig *rig = roomy("512M");
    check(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "a", "size", "16M"));
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", 5));
    struct lun_host *host = lun_login(rig, "iqn.a");
    double begin = seconds_now();
    for (unsigned p = 0; p < POINTS; p++) {
        check(lun_put(host, 5, 0, byte_of(p)) == SCSI_STATUS_GOOD);
        snprintf(name, sizeof name, "s%u", p);
        require(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", name));
    }
    tell("snapshots of a disk created", POINTS, begin);
    expect_eq(rig_fails(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "more"),
              STATUS_LIMIT_REACHED);
    begin = seconds_now();
    expect_eq(listed(rig, "snapshot_list", "snapshots"), POINTS);
    tell("snapshots listed", POINTS, begin);
    begin = seconds_now();
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    tell("snapshots of a pool that is shown", POINTS, begin);
    expect_eq(rig_number(pool, "unclaimed_count"), 0);
    json_decref(pool);
    expect_eq(wrong_samples(rig, host, 20), 0);
    lun_logout(host);
    begin = seconds_now();
    require(rig_restart(rig));
    tell("snapshots stopped and started", POINTS, begin);
    host = lun_login(rig, "iqn.a");
    expect_eq(listed(rig, "snapshot_list", "snapshots"), POINTS);
    expect_eq(wrong_samples(rig, host, 60), 0);
    begin = seconds_now();
    for (unsigned p = 0; p < POINTS; p += 2) {
        snprintf(name, sizeof name, "s%u", p);
        require(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", name, "now", 1));
    }
    tell("snapshots deleted", POINTS / 2, begin);
    expect_eq(listed(rig, "snapshot_list", "snapshots"), POINTS / 2);
    begin = seconds_now();
    lun_logout(host);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", 5));
    expect(
        rig_do(rig, "disk_delete", "{s:s, s:b, s:b}", "name", "a", "with_snapshots", 1, "now", 1));
    tell("snapshots deleted with their disk", POINTS / 2, begin);
    expect_eq(listed(rig, "snapshot_list", "snapshots"), 0);
    expect_eq(listed(rig, "disk_list", "disks"), 0);
    rig_destroy(rig);
}

int main(void)
{
    run(a_thousand_disks_are_made_listed_restarted_and_deleted);
    run(a_disk_has_4096_snapshots_made_listed_restarted_and_deleted);
    return tap_done();
}
