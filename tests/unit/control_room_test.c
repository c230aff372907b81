/* A pool that fills up gives back what is expendable, in order, and says so before; on the real
 * engine. */
#include "tests/unit/control_lun.h"

#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

enum { LUN_A = 5, LUN_B = 6, LUN_FILLER = 7, BLOCKS = 4096, LAYER = 1024 };

static void fill(struct lun_host *host, unsigned lun, unsigned count, char byte)
{
    for (unsigned i = 0; i < count; i++)
        check(lun_put(host, lun, i, byte) == SCSI_STATUS_GOOD);
}

static struct rig *furnished(struct lun_host **ret_host)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", LUN_A));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "b", "lun", LUN_B));
    *ret_host = lun_login(rig, "iqn.a");
    return rig;
}

static long long pool_number(struct rig *rig, const char *key)
{
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    long long n = rig_number(pool, key);
    json_decref(pool);
    return n;
}

static bool is_short(struct rig *rig)
{
    return pool_number(rig, "free_bytes") + pool_number(rig, "reclaiming_bytes") <
           pool_number(rig, "capacity_bytes") / 20;
}

/* Writes to disk b, then to disk a, until less than a twentieth is free. */
static void use_up(struct rig *rig, struct lun_host *host)
{
    for (unsigned i = 0; i < 2 * BLOCKS && !is_short(rig); i += 32) {
        for (unsigned j = i; j < i + 32; j++)
            check(!lun_put(host, j < BLOCKS ? LUN_B : LUN_A, j % BLOCKS, 8));
    }
}

static size_t count(struct rig *rig, const char *verb, const char *key)
{
    json_t *list = rig_ok(rig, verb, NULL);
    size_t n = json_array_size(json_object_get(list, key));
    json_decref(list);
    return n;
}

/* The kinds of the events, newest first. */
static void kinds(struct rig *rig, char text[200])
{
    text[0] = '\0';
    json_t *list = rig_ok(rig, "event_list", NULL);
    for (size_t i = 0; i < json_array_size(json_object_get(list, "events")); i++) {
        const json_t *event = json_array_get(json_object_get(list, "events"), i);
        size_t used = strlen(text);
        snprintf(text + used, 200 - used, "%s ", rig_text(event, "kind"));
        expect(rig_text(event, "text")[0] != '\0' && rig_text(event, "at")[0] != '\0');
    }
    json_decref(list);
}

static void undo_points_go_first_then_the_trash_and_never_a_snapshot(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    fill(host, LUN_A, BLOCKS, 1);
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "keep"));
    fill(host, LUN_A, BLOCKS, 2);
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "gone"));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "gone"));
    expect(rig_do(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "keep", "force", 1));
    use_up(rig, host);
    expect(is_short(rig));
    sim_run_for(rig->sim, 120 * RT_SECOND);
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    expect_eq(json_array_size(json_object_get(disk, "undo_points")), 0);
    json_decref(disk);
    expect_eq(count(rig, "trash_list", "trash"), 0);
    expect_eq(count(rig, "snapshot_list", "snapshots"), 1);
    expect(!is_short(rig));
    char text[200];
    kinds(rig, text);
    expect(strstr(text, "trash undo ") != NULL); /* newest first */
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "keep", "lun", 9));
    expect_eq(lun_get(host, 9, BLOCKS - 1), 1);
    lun_logout(host);
    rig_destroy(rig);
}

static void nothing_goes_while_there_is_room(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    fill(host, LUN_A, 64, 1);
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "keep"));
    expect(rig_do(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "keep", "force", 1));
    expect(rig_do(rig, "snapshot_delete", "{s:s}", "name", "keep"));
    sim_run_for(rig->sim, 60 * RT_SECOND);
    expect_eq(count(rig, "trash_list", "trash"), 1);
    expect_eq(count(rig, "event_list", "events"), 0);
    lun_logout(host);
    rig_destroy(rig);
}

static void when_nothing_is_left_it_says_so_once(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    fill(host, LUN_A, BLOCKS, 1);
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "one"));
    fill(host, LUN_A, BLOCKS, 2);
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "two"));
    use_up(rig, host);
    expect(is_short(rig));
    sim_run_for(rig->sim, 300 * RT_SECOND);
    expect_eq(count(rig, "snapshot_list", "snapshots"), 2);
    json_t *list = rig_ok(rig, "event_list", NULL);
    unsigned alerts = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(list, "events")); i++) {
        alerts += strcmp(rig_text(json_array_get(json_object_get(list, "events"), i), "level"),
                         "alert") == 0;
    }
    expect_eq(alerts, 1);
    json_decref(list);
    /* Deleting always works, and makes room. */
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "one", "now", 1));
    sim_run_for(rig->sim, 60 * RT_SECOND);
    expect(!is_short(rig));
    lun_logout(host);
    rig_destroy(rig);
}

static void the_level_of_warning_is_set_for_each_pool(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect_eq(pool_number(rig, "warn_percent"), 90);
    expect_eq(rig_fails(rig, "pool_set", "{s:s, s:i}", "name", "p", "warn", 0), STATUS_BAD_REQUEST);
    expect_eq(rig_fails(rig, "pool_set", "{s:s, s:i}", "name", "p", "warn", 100),
              STATUS_BAD_REQUEST);
    expect(rig_do(rig, "pool_set", "{s:s, s:i}", "name", "p", "warn", 75));
    lun_logout(host);
    expect(rig_restart(rig));
    expect_eq(pool_number(rig, "warn_percent"), 75);
    rig_destroy(rig);
}

/* ---- The order, one step at a time ----------------------------------------------------------- */

/* Disk a holds, above snapshot keep (kept for a month), in layers of 4 MiB: what is left of aborted
 * set "rest" when `with_rest`, snapshot "gone" in the trash, an undo point, and what it is now. */
struct layers {
    struct rig *rig;
    struct lun_host *host;
    struct volume *reader; /* holds what is left of the set */
    unsigned filled;       /* blocks of the filler */
};

static void abort_with_a_reader(struct layers *l)
{
    static const char *const way[] = {"set_arm", "set_commit"};
    struct rig *rig = l->rig;
    json_t *set = rig_ok(rig, "set_prepare", "{s:s, s:[s]}", "name", "rest", "disks", "a");
    struct uuid uuid;
    check(uuid_parse(rig_text(set, "members.0.snapshot_uuid"), &uuid));
    json_decref(set);
    for (unsigned i = 0; i < countof(way); i++)
        check(rig_do(rig, way[i], "{s:s}", "name", "rest"));
    struct snapshot *s = inventory_snapshot(rig->control, &uuid);
    check(s);
    struct err *e =
        volume_open(s->disk->pool->engine, NULL, &s->row.point, VOLUME_READ_ONLY, &l->reader);
    check(!e);
    expect_eq(rig_fails(rig, "set_abort", "{s:s}", "name", "rest"), STATUS_IN_USE);
}

static struct layers layered(bool with_rest)
{
    struct layers l = {0};
    l.rig = furnished(&l.host);
    check(rig_do(l.rig, "disk_create", "{s:s, s:s}", "name", "f", "size", "64M"));
    check(rig_do(l.rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "f", "lun", LUN_FILLER));
    fill(l.host, LUN_A, LAYER, 1);
    check(rig_do(l.rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "keep"));
    check(rig_do(l.rig, "snapshot_retain", "{s:s, s:s}", "name", "keep", "for", "30d"));
    fill(l.host, LUN_A, LAYER, 2);
    if (with_rest) abort_with_a_reader(&l);
    fill(l.host, LUN_A, LAYER, 3);
    check(rig_do(l.rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "gone"));
    check(rig_do(l.rig, "snapshot_delete", "{s:s}", "name", "gone"));
    fill(l.host, LUN_A, LAYER, 4);
    check(rig_do(l.rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "keep", "force", 1));
    fill(l.host, LUN_A, LAYER, 5);
    return l;
}

static void fill_until_short(struct layers *l)
{
    for (; !is_short(l->rig); l->filled++)
        check(lun_put(l->host, LUN_FILLER, l->filled, 'f') == SCSI_STATUS_GOOD);
}

/* Makes the pool short once and gives it time. */
static void make_short(struct layers *l)
{
    fill_until_short(l);
    sim_run_for(l->rig->sim, 30 * RT_SECOND);
}

static size_t undo_count(struct rig *rig)
{
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    size_t n = json_array_size(json_object_get(disk, "undo_points"));
    json_decref(disk);
    return n;
}

static size_t rest_count(struct rig *rig)
{
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "rest");
    expect_str(rig_text(set, "state"), "aborted");
    size_t n = json_array_size(json_object_get(set, "members"));
    json_decref(set);
    return n;
}

static bool keep_is_whole(struct layers *l)
{
    check(rig_do(l->rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "keep", "lun", 9));
    for (unsigned i = 0; i < LAYER; i++) {
        if (lun_get(l->host, 9, i) != 1) return false;
    }
    return true;
}

static void end(struct layers *l)
{
    lun_logout(l->host);
    rig_destroy(l->rig);
}

static void what_aborted_sets_left_goes_first_and_what_is_kept_never(void)
{
    struct layers l = layered(true);
    volume_close(l.reader);
    expect_eq(rest_count(l.rig), 1);
    make_short(&l);
    expect_eq(rest_count(l.rig), 0);
    expect_eq(undo_count(l.rig), 1);
    expect_eq(count(l.rig, "trash_list", "trash"), 1);
    expect(!is_short(l.rig));
    make_short(&l);
    expect_eq(undo_count(l.rig), 0);
    expect_eq(count(l.rig, "trash_list", "trash"), 1);
    expect(!is_short(l.rig));
    make_short(&l);
    expect_eq(count(l.rig, "trash_list", "trash"), 0);
    expect(!is_short(l.rig));
    make_short(&l);
    expect(is_short(l.rig));
    expect_eq(count(l.rig, "snapshot_list", "snapshots"), 1);
    expect(keep_is_whole(&l));
    end(&l);
}

static void a_rest_that_cannot_go_does_not_stand_before_the_others(void)
{
    struct layers l = layered(true);
    make_short(&l);
    expect_eq(rest_count(l.rig), 1); /* somebody reads it */
    expect_eq(undo_count(l.rig), 0);
    expect(!is_short(l.rig));
    volume_close(l.reader);
    sim_run_for(l.rig->sim, 60 * RT_SECOND);
    make_short(&l);
    expect_eq(rest_count(l.rig), 0); /* tried again, and before the trash */
    expect_eq(count(l.rig, "trash_list", "trash"), 1);
    expect(keep_is_whole(&l));
    end(&l);
}

/* The server looks every ten minutes here, so that a time passes and room goes between two looks.
 */
static void what_has_expired_goes_before_what_has_not(void)
{
    struct layers l = layered(false);
    expect(rig_do(l.rig, "server_set", "{s:s}", "trash", "90s"));
    fill(l.host, LUN_A, LAYER, 6);
    expect(rig_do(l.rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "over"));
    fill(l.host, LUN_A, LAYER, 7);
    expect(rig_do(l.rig, "snapshot_delete", "{s:s}", "name", "over"));
    lun_logout(l.host);
    l.rig->lease_tick_ns = 600 * RT_SECOND;
    expect(rig_restart(l.rig));
    l.host = lun_login(l.rig, "iqn.a");
    sim_run_for(l.rig->sim, 300 * RT_SECOND);
    expect_eq(count(l.rig, "trash_list", "trash"), 2);
    fill_until_short(&l);
    expect_eq(count(l.rig, "trash_list", "trash"), 2);
    sim_run_for(l.rig->sim, 400 * RT_SECOND);
    json_t *list = rig_ok(l.rig, "trash_list", NULL);
    expect_eq(json_array_size(json_object_get(list, "trash")), 1);
    expect_str(rig_text(list, "trash.0.name"), "gone"); /* went in before, and has time left */
    json_decref(list);
    expect_eq(undo_count(l.rig), 1);
    char text[200];
    kinds(l.rig, text);
    expect(!strstr(text, "undo") && !strstr(text, "trash")); /* nothing went before its time */
    expect(!is_short(l.rig));
    expect(keep_is_whole(&l));
    end(&l);
}

int main(void)
{
    run(undo_points_go_first_then_the_trash_and_never_a_snapshot);
    run(nothing_goes_while_there_is_room);
    run(when_nothing_is_left_it_says_so_once);
    run(what_aborted_sets_left_goes_first_and_what_is_kept_never);
    run(a_rest_that_cannot_go_does_not_stand_before_the_others);
    run(what_has_expired_goes_before_what_has_not);
    run(the_level_of_warning_is_set_for_each_pool);
    return tap_done();
}
