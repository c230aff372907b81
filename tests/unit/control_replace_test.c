/* disk replace: from any disk, to a larger or smaller one, over restarts and crashes; on the real
 * engine. */
#include "tests/unit/control_lun.h"

#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

enum { LUN = 5, BLOCKS = 40 };

static void make_q(struct rig *rig)
{
    json_t *made = rig_ok(rig, "pool_create", "{s:s, s:s, s:s, s:b}", "name", "q", "path",
                          "/pool2", "size", "64M", "sparse", 1);
    check(rig_job_ends(rig, rig_text(made, "job.id"), "done"));
    json_decref(made);
}

/* Pool p; disk "small" (8 MiB, in that pool) holds 7 in BLOCKS blocks and has snapshot "from"; disk a
 * (16 MiB, in p) holds 1 in block 0 and is LUN 5. */
static struct rig *furnished_in(const char *pool, struct lun_host **ret_host)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    if (strcmp(pool, "q") == 0) make_q(rig);
    check(rig_do(rig, "disk_create", "{s:s, s:s, s:s}", "name", "small", "size", "8M", "pool", pool));
    check(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "h", "initiators", "iqn.a", "os",
                 "linux"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", LUN));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "small", "lun", 6));
    struct lun_host *host = lun_login(rig, "iqn.a");
    for (unsigned i = 0; i < BLOCKS; i++)
        check(lun_put(host, 6, i * 3, 7) == SCSI_STATUS_GOOD);
    check(lun_put(host, LUN, 0, 1) == SCSI_STATUS_GOOD);
    check(lun_put(host, LUN, 3000, 1) == SCSI_STATUS_GOOD); /* beyond the end of the smaller one */
    check(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "small", "name", "from"));
    check(lun_put(host, 6, 0, 9) == SCSI_STATUS_GOOD); /* later: not in the snapshot */
    sim_run_for(rig->sim, 61 * RT_SECOND);
    *ret_host = host;
    return rig;
}

static struct rig *furnished(struct lun_host **ret_host)
{
    return furnished_in("p", ret_host);
}

/* The id of the job; "" when it was refused. */
static void begin(struct rig *rig, char id[64])
{
    json_t *answer = rig_ok(rig, "disk_replace", "{s:s, s:s}", "name", "a", "from", "from");
    snprintf(id, 64, "%s", rig_text(answer, "job.id"));
    json_decref(answer);
}

static bool is_replaced(struct lun_host *host)
{
    for (unsigned i = 0; i < BLOCKS * 3; i++) {
        if (lun_get(host, LUN, i) != (i % 3 ? 0 : 7)) return false;
    }
    return lun_get(host, LUN, 3000) == -2;
}

static bool is_as_before(struct lun_host *host)
{
    return lun_get(host, LUN, 0) == 1 && lun_get(host, LUN, 3) == 0 &&
           lun_get(host, LUN, 3000) == 1;
}

static void a_disk_takes_content_and_size_of_another_ones_snapshot(void)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    json_t *before = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    begin(rig, id);
    expect(rig_job_ends(rig, id, "done"));
    expect_eq(lun_attention(host, LUN), 0x2A09); /* the capacity, after 28h/00h */
    expect(is_replaced(host));
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    expect_str(rig_text(disk, "naa"), rig_text(before, "naa"));
    expect_eq(rig_number(disk, "size_bytes"), 8 << 20);
    expect_str(rig_text(disk, "undo_points.0.state"), "ready");
    expect_str(rig_text(disk, "undo_points.0.cause"), "replace by snapshot \"from\"");
    json_decref(before);
    json_decref(disk);
    expect_eq(rig_unclaimed(rig), 0);
    sim_run_for(rig->sim, 61 * RT_SECOND);
    expect(rig_do(rig, "disk_undo", "{s:s}", "name", "a"));
    expect(is_as_before(host));
    lun_logout(host);
    rig_destroy(rig);
}

static void what_cannot_be_is_refused_and_changes_nothing(void)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect_eq(rig_fails(rig, "disk_replace", "{s:s, s:s}", "name", "small", "from", "from"),
              STATUS_CONFLICT);
    expect(strstr(rig->next, "tarn disk revert small --to from") != NULL);
    expect_eq(lun_put(host, LUN, 0, 1), SCSI_STATUS_GOOD);
    expect_eq(rig_fails(rig, "disk_replace", "{s:s, s:s}", "name", "a", "from", "from"),
              STATUS_IN_USE);
    json_t *would = rig_ok(rig, "disk_replace", "{s:s, s:s, s:b, s:b}", "name", "a", "from", "from",
                           "dry_run", 1, "force", 1);
    expect(strstr(rig_text(would, "would.0"), "copy snapshot \"from\" of disk \"small\"") != NULL);
    expect(strstr(rig_text(would, "would.2"), "change its size from 16") != NULL);
    json_decref(would);
    expect(is_as_before(host));
    sim_run_for(rig->sim, 61 * RT_SECOND);
    begin(rig, id);
    /* While it runs neither end goes away. */
    expect(rig_fails(rig, "disk_replace", "{s:s, s:s}", "name", "a", "from", "from") != STATUS_OK);
    expect(rig_fails(rig, "snapshot_delete", "{s:s}", "name", "from") != STATUS_OK);
    expect(rig_job_ends(rig, id, "done"));
    lun_logout(host);
    rig_destroy(rig);
}

static void a_paused_job_stays_paused_over_a_restart_and_a_cancelled_one_leaves_nothing(void)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    begin(rig, id);
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    sim_run_for(rig->sim, 60 * RT_SECOND);
    lun_logout(host);
    expect(rig_restart(rig));
    host = lun_login(rig, "iqn.a");
    json_t *job = rig_ok(rig, "job_show", "{s:s}", "name", id);
    expect_str(rig_text(job, "state"), "paused");
    json_decref(job);
    expect(is_as_before(host));
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "failed"));
    expect(is_as_before(host));
    expect_eq(rig_unclaimed(rig), 0);
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    expect_eq(json_array_size(json_object_get(disk, "undo_points")), 0);
    json_decref(disk);
    sim_run_for(rig->sim, 61 * RT_SECOND);
    begin(rig, id);
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "done"));
    expect(is_replaced(host));
    lun_logout(host);
    rig_destroy(rig);
}

static void a_crash_at_any_write_leaves_it_before_or_behind_and_the_job_goes_on(void)
{
    unsigned went_on = 0, never_begun = 0;
    for (uint64_t place = 1; place < 60; place += 2) {
        char id[64] = "";
        struct lun_host *host;
        struct rig *rig = furnished(&host);
        lun_logout(host);
        sim_node_crash_at_write(rig->node, place,
                                place % 4 == 1 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        json_t *answer =
            rig_call(rig, "disk_replace", json_pack("{s:s, s:s}", "name", "a", "from", "from"));
        if (answer) snprintf(id, sizeof id, "%s", rig_text(answer, "job.id"));
        json_decref(answer);
        sim_run_for(rig->sim, 20 * RT_SECOND);
        sim_node_crash_at_write(rig->node, 0, SIM_CRASH_POWER);
        rig_crash(rig, SIM_CRASH_POWER);
        require(rig_boot(rig));
        json_t *jobs = rig_ok(rig, "job_list", NULL);
        for (size_t i = 0; i < json_array_size(json_object_get(jobs, "jobs")); i++) {
            const json_t *job = json_array_get(json_object_get(jobs, "jobs"), i);
            if (strcmp(rig_text(job, "verb"), "disk_replace") == 0)
                snprintf(id, sizeof id, "%s", rig_text(job, "id"));
        }
        json_decref(jobs);
        if (*id) expect(rig_job_ends(rig, id, "done"));
        host = lun_login(rig, "iqn.a");
        expect(*id ? is_replaced(host) : is_as_before(host));
        expect_eq(rig_unclaimed(rig), 0);
        went_on += *id != '\0';
        never_begun += *id == '\0';
        json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
        expect_eq(json_array_size(json_object_get(disk, "undo_points")), *id ? 1 : 0);
        json_decref(disk);
        if (*id) {
            expect(rig_do(rig, "disk_undo", "{s:s, s:b}", "name", "a", "force", 1));
            expect(is_as_before(host));
        }
        lun_logout(host);
        rig_destroy(rig);
    }
    expect(went_on > 0 && never_begun > 0);
}

static void another_pool_is_no_obstacle(void)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    make_q(rig);
    expect(rig_do(rig, "disk_create", "{s:s, s:s, s:s}", "name", "far", "size", "1M", "pool", "q"));
    json_t *answer = rig_ok(rig, "disk_replace", "{s:s, s:s}", "name", "far", "from", "from");
    snprintf(id, sizeof id, "%s", rig_text(answer, "job.id"));
    json_decref(answer);
    expect(rig_job_ends(rig, id, "done"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "far", "lun", 8));
    for (unsigned i = 0; i < BLOCKS * 3; i++)
        expect_eq(lun_get(host, 8, i), i % 3 ? 0 : 7);
    lun_logout(host);
    rig_destroy(rig);
}

/* The guard at the start is long past when the copy is complete. */
static void a_disk_that_is_used_again_meanwhile_is_taken_when_that_is_over(void)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    begin(rig, id);
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    expect_eq(lun_put(host, LUN, 0, 1), SCSI_STATUS_GOOD); /* mounted again */
    expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
    sim_run_for(rig->sim, 20 * RT_SECOND);
    expect(is_as_before(host)); /* read: used for half a minute more */
    json_t *job = rig_ok(rig, "job_show", "{s:s}", "name", id);
    expect_str(rig_text(job, "state"), "running");
    expect(strstr(rig_text(job, "trouble"), "host \"h\" read or wrote it") != NULL);
    json_decref(job);
    sim_run_for(rig->sim, 20 * RT_SECOND);
    expect(is_as_before(host));
    lun_logout(host);
    expect(rig_restart(rig));
    host = lun_login(rig, "iqn.a");
    expect(lun_reserve(host, LUN, true));
    sim_run_for(rig->sim, 60 * RT_SECOND);
    job = rig_ok(rig, "job_show", "{s:s}", "name", id);
    expect(strstr(rig_text(job, "trouble"), "reservation") != NULL);
    json_decref(job);
    expect(lun_reserve(host, LUN, false));
    expect(rig_job_ends(rig, id, "done"));
    expect(is_replaced(host));
    job = rig_ok(rig, "job_show", "{s:s}", "name", id);
    expect_str(rig_text(job, "trouble"), "");
    json_decref(job);
    lun_logout(host);
    rig_destroy(rig);
}

static void a_job_that_waits_for_its_disk_is_cancelled_and_leaves_nothing(void)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    begin(rig, id);
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    expect(lun_reserve(host, LUN, true));
    expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
    sim_run_for(rig->sim, 5 * RT_SECOND);
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "failed"));
    expect(is_as_before(host));
    expect_eq(rig_unclaimed(rig), 0);
    lun_logout(host);
    rig_destroy(rig);
}

static void a_forced_job_does_not_wait(void)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect_eq(lun_put(host, LUN, 0, 1), SCSI_STATUS_GOOD);
    json_t *answer = rig_ok(rig, "disk_replace", "{s:s, s:s, s:b}", "name", "a", "from", "from",
                            "force", 1);
    snprintf(id, sizeof id, "%s", rig_text(answer, "job.id"));
    json_decref(answer);
    sim_run_for(rig->sim, 5 * RT_SECOND);
    expect(is_replaced(host));
    expect(rig_job_ends(rig, id, "done"));
    lun_logout(host);
    rig_destroy(rig);
}

static unsigned space_events(struct rig *rig)
{
    unsigned count = 0;
    json_t *list = rig_ok(rig, "event_list", NULL);
    const json_t *events = json_object_get(list, "events");
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        if (strcmp(rig_text(event, "kind"), "job") == 0 && strcmp(rig_text(event, "object"), "a") == 0 &&
            strstr(rig_text(event, "text"), "waits for space") != NULL)
            count++;
    }
    json_decref(list);
    return count;
}

static bool waits_for_space(struct rig *rig, const char *id)
{
    json_t *job = rig_ok(rig, "job_show", "{s:s}", "name", id);
    bool waits = strcmp(rig_text(job, "state"), "running") == 0 &&
                 strstr(rig_text(job, "trouble"), "waits for space in pool \"p\"") != NULL;
    if (!waits) printf("# job: %s: %s\n", rig_text(job, "state"), rig_text(job, "trouble"));
    json_decref(job);
    return waits;
}

static struct lun_host *fill_pool(struct rig *rig, struct lun_host *host)
{
    unsigned block = 0;
    check(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "ballast", "size", "64M"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "ballast", "lun", 7));
    while (block < 16384 && lun_put(host, 7, block, 3) == SCSI_STATUS_GOOD)
        block++;
    check(block < 16384);
    return host;
}

static void a_full_pool_is_waited_for_with_an_event_and_over_a_restart(void)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    fill_pool(rig, host);
    begin(rig, id);
    sim_run_for(rig->sim, 100 * RT_SECOND);
    expect(waits_for_space(rig, id));
    expect_eq(space_events(rig), 1); /* however often it looked */
    expect(is_as_before(host));
    lun_logout(host);
    require(rig_restart(rig));
    host = lun_login(rig, "iqn.a");
    sim_run_for(rig->sim, 40 * RT_SECOND);
    expect(waits_for_space(rig, id));
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", 7));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "ballast", "now", 1));
    expect(rig_job_ends(rig, id, "done"));
    expect(is_replaced(host));
    json_t *job = rig_ok(rig, "job_show", "{s:s}", "name", id);
    expect_str(rig_text(job, "trouble"), "");
    json_decref(job);
    expect_eq(rig_unclaimed(rig), 0);
    lun_logout(host);
    rig_destroy(rig);
}

static void a_job_that_waits_for_space_is_paused_and_cancelled_and_gives_back_what_it_took(void)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    fill_pool(rig, host);
    begin(rig, id);
    sim_run_for(rig->sim, 40 * RT_SECOND);
    expect(waits_for_space(rig, id));
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    sim_run_for(rig->sim, 40 * RT_SECOND);
    expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
    sim_run_for(rig->sim, 10 * RT_SECOND);
    expect(waits_for_space(rig, id));
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "failed"));
    expect(is_as_before(host));
    expect_eq(rig_unclaimed(rig), 0);
    lun_logout(host);
    rig_destroy(rig);
}

/* ---- A pool that is away --------------------------------------------------------------------- */

static size_t undo_points(struct rig *rig, const char *state)
{
    size_t i, count = 0;
    const json_t *undo;
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    json_array_foreach(json_object_get(disk, "undo_points"), i, undo)
        count += strcmp(rig_text(undo, "state"), state) == 0;
    json_decref(disk);
    return count;
}

/* Points without a name, in both pools. */
static long long unclaimed(struct rig *rig)
{
    json_t *q = rig_ok(rig, "pool_show", "{s:s}", "name", "q");
    long long n = rig_number(q, "unclaimed_count") + rig_number(q, "unclaimed_disk_count");
    json_decref(q);
    return n + rig_unclaimed(rig);
}

struct tally {
    unsigned before, behind;
};

/* As it was, or as the snapshot and with what it was as an undo point. */
static void look_at_the_end(struct rig *rig, uint64_t place, struct tally *tally)
{
    struct lun_host *host = lun_login(rig, "iqn.a");
    bool before = is_as_before(host), behind = is_replaced(host);
    size_t points = undo_points(rig, "ready");
    tally->before += before;
    tally->behind += behind;
    if (before == behind || points != behind || undo_points(rig, "pending") > 0 || unclaimed(rig) > 0)
        printf("# crash at write %llu: %s, %zu undo points, %lld points without a name\n",
               (unsigned long long)place, before ? "as before" : behind ? "replaced" : "neither",
               points, unclaimed(rig));
    expect(before != behind);
    expect_eq(points, behind);
    expect_eq(undo_points(rig, "pending"), 0);
    expect_eq(unclaimed(rig), 0);
    if (behind) {
        expect(rig_do(rig, "disk_undo", "{s:s, s:b}", "name", "a", "force", 1));
        expect(is_as_before(host));
    }
    lun_logout(host);
}

/* Another host has its private branch of the snapshot, and wrote what is there already. */
static void let_windows_write(struct rig *rig)
{
    check(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "w", "initiators", "iqn.w", "os",
                 "windows"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "w", "snapshot", "from", "lun", 9));
    struct lun_host *windows = lun_login(rig, "iqn.w");
    check(lun_put(windows, 9, 3, 7) == SCSI_STATUS_GOOD);
    lun_logout(windows);
}

static void count_point(void *arg, const struct volume_point_info *info)
{
    (void)info;
    ++*(unsigned *)arg;
}

/* Points of the private branch of "from": no list shows them. */
static unsigned branch_points(struct rig *rig)
{
    struct snapshot *from = NULL;
    unsigned count = 0;
    struct err *e = find_snapshot_of(rig->control, "from", NULL, &from);
    check(!e);
    volume_points(from->disk->pool->engine, &from->row.uuid, count_point, &count);
    return count;
}

/* A crash at that write of a replace over two pools, a start without one of them, a power cut, and all
 * is back.  False: it had ended before. */
static bool crashes_and_starts_without(const char *path, uint64_t place, bool of_branch,
                                       struct tally *tally)
{
    struct lun_host *host;
    struct rig *rig = furnished_in("q", &host);
    lun_logout(host);
    if (of_branch) let_windows_write(rig);
    sim_node_crash_at_write(rig->node, place, SIM_CRASH_PROCESS);
    json_decref(rig_call(rig, "disk_replace", json_pack("{s:s, s:s}", "name", "a", "from", "from")));
    sim_run_for(rig->sim, 20 * RT_SECOND);
    bool crashed = !sim_node_is_up(rig->node);
    sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
    rig_crash(rig, SIM_CRASH_PROCESS);
    rig_hide_pool(rig, path, true);
    check(rig_boot(rig));
    sim_run_for(rig->sim, 20 * RT_SECOND);
    rig_crash(rig, SIM_CRASH_POWER);
    rig_hide_pool(rig, path, false);
    check(rig_boot(rig));
    sim_run_for(rig->sim, 20 * RT_SECOND);
    look_at_the_end(rig, place, tally);
    if (branch_points(rig) > 0) printf("# crash at write %llu\n", (unsigned long long)place);
    expect_eq(branch_points(rig), 0);
    rig_destroy(rig);
    return crashed;
}

static void a_start_without_the_snapshots_pool_keeps_the_undo_point_of_what_was_done(void)
{
    struct tally tally = {0};
    for (uint64_t place = 1; crashes_and_starts_without("/pool2", place, false, &tally);)
        place++;
    expect(tally.before > 0 && tally.behind > 0);
}

static void a_start_without_the_disks_pool_keeps_the_undo_point_of_what_was_done(void)
{
    struct tally tally = {0};
    for (uint64_t place = 1; crashes_and_starts_without("/pool", place, false, &tally);)
        place++;
    expect(tally.before > 0 && tally.behind > 0);
}

/* The content is that of a point of the private branch, which is made for it, and goes with the job. */
static void a_start_without_the_snapshots_pool_leaves_no_point_of_its_branch(void)
{
    struct tally tally = {0};
    for (uint64_t place = 1; crashes_and_starts_without("/pool2", place, true, &tally);)
        place += 3;
    expect(tally.before > 0 && tally.behind > 0);
}

static bool has_state(struct rig *rig, const char *id, const char *state)
{
    json_t *job = rig_ok(rig, "job_show", "{s:s}", "name", id);
    bool has = strcmp(rig_text(job, "state"), state) == 0;
    json_decref(job);
    return has;
}

/* How long a replace takes when nothing is in its way. */
static uint64_t time_of_a_replace(void)
{
    char id[64];
    uint64_t took_ns = 0;
    struct lun_host *host;
    struct rig *rig = furnished_in("q", &host);
    lun_logout(host);
    begin(rig, id);
    for (; !has_state(rig, id, "done"); took_ns += RT_MS)
        sim_run_for(rig->sim, RT_MS);
    rig_destroy(rig);
    return took_ns;
}

/* The job is paused when its last record is under way, and the server dies at that write; then it is cancelled.
 * True: what it was to do was done by then. */
static bool is_paused_too_late(uint64_t after_ns, uint64_t place, struct tally *tally)
{
    char id[64];
    struct lun_host *host;
    struct rig *rig = furnished_in("q", &host);
    lun_logout(host);
    begin(rig, id);
    sim_run_for(rig->sim, after_ns);
    sim_node_crash_at_write(rig->node, place, SIM_CRASH_PROCESS);
    json_decref(rig_call(rig, "job_pause", json_pack("{s:s}", "name", id)));
    sim_run_for(rig->sim, RT_SECOND);
    sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
    rig_crash(rig, SIM_CRASH_PROCESS);
    check(rig_boot(rig));
    bool is_paused = has_state(rig, id, "paused"), is_late = is_paused && undo_points(rig, "ready") > 0;
    if (is_paused) {
        expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
        expect(rig_job_ends(rig, id, is_late ? "done" : "failed"));
    }
    sim_run_for(rig->sim, 20 * RT_SECOND);
    look_at_the_end(rig, place, tally);
    rig_destroy(rig);
    return is_late;
}

static void a_job_that_was_paused_too_late_and_is_cancelled_keeps_its_undo_point(void)
{
    struct tally tally = {0};
    unsigned late = 0;
    uint64_t took_ns = time_of_a_replace();
    for (uint64_t t = took_ns - 8 * RT_MS; t <= took_ns + 2 * RT_MS; t += RT_MS) {
        for (uint64_t place = 8; place < 16; place += 3)
            late += is_paused_too_late(t, place, &tally);
    }
    expect(late > 0);
}

/* ---- What a Windows host wrote into its shadow copy ------------------------------------------ */

static void a_revert_takes_what_a_host_wrote_into_the_snapshot_unless_as_cut(void)
{
    struct lun_host *host;
    struct rig *rig = furnished(&host);
    expect(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "w", "initiators", "iqn.w", "os",
                  "windows"));
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "copy"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "w", "snapshot", "copy", "lun", 9));
    struct lun_host *windows = lun_login(rig, "iqn.w");
    expect_eq(lun_put(windows, 9, 1, 5), SCSI_STATUS_GOOD);
    expect_eq(lun_put(host, LUN, 0, 3), SCSI_STATUS_GOOD);
    sim_run_for(rig->sim, 61 * RT_SECOND);
    json_t *answer = rig_ok(rig, "disk_revert", "{s:s, s:s}", "name", "a", "to", "copy");
    expect(rig_job_ends(rig, rig_text(answer, "job.id"), "done"));
    json_decref(answer);
    expect_eq(lun_get(host, LUN, 0), 1);
    expect_eq(lun_get(host, LUN, 1), 5);
    expect_eq(lun_get(windows, 9, 1), 5);
    expect_eq(rig_unclaimed(rig), 0);
    sim_run_for(rig->sim, 61 * RT_SECOND);
    expect(rig_do(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "copy", "as_cut", 1));
    expect_eq(lun_get(host, LUN, 1), 0);
    lun_logout(windows);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "w", "lun", 9));
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "copy", "now", 1));
    expect_eq(rig_unclaimed(rig), 0);
    lun_logout(host);
    rig_destroy(rig);
}

int main(void)
{
    run(a_disk_takes_content_and_size_of_another_ones_snapshot);
    run(what_cannot_be_is_refused_and_changes_nothing);
    run(a_paused_job_stays_paused_over_a_restart_and_a_cancelled_one_leaves_nothing);
    run(a_crash_at_any_write_leaves_it_before_or_behind_and_the_job_goes_on);
    run(another_pool_is_no_obstacle);
    run(a_disk_that_is_used_again_meanwhile_is_taken_when_that_is_over);
    run(a_job_that_waits_for_its_disk_is_cancelled_and_leaves_nothing);
    run(a_forced_job_does_not_wait);
    run(a_full_pool_is_waited_for_with_an_event_and_over_a_restart);
    run(a_job_that_waits_for_space_is_paused_and_cancelled_and_gives_back_what_it_took);
    run(a_start_without_the_snapshots_pool_keeps_the_undo_point_of_what_was_done);
    run(a_start_without_the_disks_pool_keeps_the_undo_point_of_what_was_done);
    run(a_start_without_the_snapshots_pool_leaves_no_point_of_its_branch);
    run(a_job_that_was_paused_too_late_and_is_cancelled_keeps_its_undo_point);
    run(a_revert_takes_what_a_host_wrote_into_the_snapshot_unless_as_cut);
    return tap_done();
}
