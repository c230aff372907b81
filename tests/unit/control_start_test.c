/* Starting again, on the real engine: what was there is there; what is missing is shown and touched
 * by nobody. */
#include "tests/unit/control_rig.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"

/* A pool that is being made when the node crashes cannot be abandoned: volume.h gives no handle on
 * it. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:timeline_pool_create\n";
}

static struct rig *furnished(void)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    check(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "n"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", 5));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "n-a", "lun", 6));
    return rig;
}

static bool lun_is_served(struct rig *rig, unsigned lun)
{
    struct control_host_access access;
    return control_find_initiator(rig->control, "iqn.a", &access) == STATUS_OK &&
           scsi_map_find(access.map, lun) != NULL;
}

static bool same_answer(struct rig *rig, const char *verb, const char *name, json_t **kept)
{
    json_t *now = rig_ok(rig, verb, "{s:s}", "name", name);
    json_object_del(now, "pools"); /* what is free there changes with each checkpoint */
    if (!*kept) {
        *kept = now;
        return now != NULL;
    }
    bool same = json_equal(*kept, now);
    if (!same) {
        char *text = json_dumps(now, JSON_COMPACT);
        printf("# %s\n", text);
        free(text);
    }
    json_decref(now);
    return same;
}

static void a_host_is_told_what_is_left_for_it(void)
{
    struct rig *rig = furnished();
    json_t *host = rig_ok(rig, "host_show", "{s:s}", "name", "h");
    expect_eq(rig_number(host, "free_lun_count"), LIMIT_LUNS_PER_HOST - 1 - 2);
    json_t *pool = json_array_get(json_object_get(host, "pools"), 0);
    expect_eq(json_array_size(json_object_get(host, "pools")), 1);
    expect(rig_number(pool, "free_bytes") > 0);
    expect(rig_number(pool, "free_bytes") <= rig_number(pool, "capacity_bytes"));
    expect(json_is_false(json_object_get(pool, "is_nearly_full")));
    json_decref(host);
    check(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", 6));
    host = rig_ok(rig, "host_show", "{s:s}", "name", "h");
    /* The number rests. */
    expect_eq(rig_number(host, "free_lun_count"), LIMIT_LUNS_PER_HOST - 1 - 2);
    json_decref(host);
    rig_destroy(rig);
}

static void everything_is_there_after_a_restart_and_after_a_crash(void)
{
    struct rig *rig = furnished();
    json_t *disk = NULL, *host = NULL, *set = NULL, *snapshot = NULL;
    for (unsigned i = 0; i < 4; i++) {
        expect(same_answer(rig, "disk_show", "a", &disk));
        expect(same_answer(rig, "host_show", "h", &host));
        expect(same_answer(rig, "set_show", "n", &set));
        expect(same_answer(rig, "snapshot_show", "n-a", &snapshot));
        expect(lun_is_served(rig, 5) && lun_is_served(rig, 6) && !lun_is_served(rig, 7));
        if (i == 0) {
            expect(rig_restart(rig));
        } else {
            rig_crash(rig, i == 1 ? SIM_CRASH_PROCESS : SIM_CRASH_POWER);
            expect(rig_boot(rig));
        }
    }
    json_decref(disk);
    json_decref(host);
    json_decref(set);
    json_decref(snapshot);
    rig_destroy(rig);
}

static void an_armed_set_falls_back_to_prepared(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s]}", "name", "s", "disks", "a"));
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "s"));
    rig_crash(rig, SIM_CRASH_PROCESS);
    expect(rig_boot(rig));
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "s");
    expect_str(rig_text(set, "state"), "prepared");
    expect(rig_number(set, "lease_left_ms") > 890000); /* in full */
    json_decref(set);
    expect_eq(rig_fails(rig, "set_commit", "{s:s}", "name", "s"), STATUS_CONFLICT);
    rig_destroy(rig);
}

static void a_committed_set_goes_on_with_its_lease_in_full(void)
{
    struct rig *rig = furnished();
    expect(
        rig_do(rig, "set_prepare", "{s:s, s:[s], s:i}", "name", "s", "disks", "a", "lease_s", 60));
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "s"));
    expect(rig_do(rig, "set_commit", "{s:s}", "name", "s"));
    sim_run_for(rig->sim, 50 * RT_SECOND);
    rig_crash(rig, SIM_CRASH_POWER);
    expect(rig_boot(rig));
    sim_run_for(rig->sim, 50 * RT_SECOND);
    expect(rig_do(rig, "set_confirm", "{s:s}", "name", "s"));
    expect(rig_do(rig, "set_finish", "{s:s}", "name", "s"));
    rig_destroy(rig);
}

/* Moves the pool's first bytes away, or back. */
static void hide_pool(struct rig *rig, uint8_t *kept, size_t size, bool hide)
{
    auto_free uint8_t *zeroes = calloc(1, size);
    check(zeroes);
    if (hide) sim_file_peek(rig->node, "/pool", 0, kept, size);
    sim_file_poke(rig->node, "/pool", 0, hide ? zeroes : kept, size);
}

/* How many alerts there are of the pool that contain the word. */
static unsigned alerts(struct rig *rig, const char *word)
{
    json_t *answer = rig_ok(rig, "event_list", NULL), *event;
    unsigned count = 0;
    size_t i;
    json_array_foreach(json_object_get(answer, "events"), i, event)
        count += strcmp(rig_text(event, "kind"), "pool") == 0 &&
                 strcmp(rig_text(event, "level"), "alert") == 0 &&
                 strcmp(rig_text(event, "object"), "p") == 0 && strstr(rig_text(event, "text"), word);
    json_decref(answer);
    return count;
}

static void a_pool_that_fails_at_work_is_one_event_and_right_after_the_next_start(void)
{
    struct rig *rig = furnished();
    expect_eq(alerts(rig, "failed"), 0);
    sim_node_fault(rig->node, SIM_FAULT_FLUSH_ERROR, "/pool", 0);
    expect_eq(rig_fails(rig, "disk_create", "{s:s, s:s}", "name", "x", "size", "1M"),
              STATUS_POOL_FAILED);
    expect_eq(rig_fails(rig, "disk_create", "{s:s, s:s}", "name", "y", "size", "1M"),
              STATUS_CONFLICT);
    expect_eq(alerts(rig, "failed"), 1);
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    expect_str(rig_text(pool, "state"), "failed");
    json_decref(pool);
    rig_crash(rig, SIM_CRASH_PROCESS);
    expect(rig_boot(rig));
    expect(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "y", "size", "1M"));
    expect_eq(alerts(rig, "failed"), 1);
    rig_destroy(rig);
}

/* The row that says "ready" cannot be written, nor can the engine take the disk back. */
static void a_disk_that_could_be_neither_made_nor_unmade_is_known_at_the_next_start(void)
{
    unsigned failed = 0;
    for (unsigned lap = 0; lap < 30; lap++) {
        struct rig *rig = furnished();
        for (unsigned i = 0; i < lap / 3; i++) /* what the power leaves is drawn anew */
            expect(rig_do(rig, "disk_grow", "{s:s, s:I}", "name", "c", "size", (32 + i) * 1048576LL));
        sim_node_fault(rig->node, SIM_FAULT_FLUSH_ERROR, "/state/catalog.db-wal", 1);
        sim_node_fault(rig->node, SIM_FAULT_FLUSH_ERROR, "/pool", lap % 3);
        expect(rig_fails(rig, "disk_create", "{s:s, s:s}", "name", "x", "size", "1M"));
        json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
        failed += strcmp(rig_text(pool, "state"), "failed") == 0;
        json_decref(pool);
        rig_crash(rig, SIM_CRASH_POWER);
        require(rig_boot(rig));
        expect_eq(rig_unclaimed(rig), 0);
        rig_destroy(rig);
    }
    expect(failed > 1);
}

static void a_pool_that_is_missing_is_shown_and_its_sets_wait(void)
{
    struct rig *rig = furnished();
    expect(
        rig_do(rig, "set_prepare", "{s:s, s:[s], s:i}", "name", "s", "disks", "a", "lease_s", 5));
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "s"));
    expect(rig_do(rig, "set_commit", "{s:s}", "name", "s"));
    rig_stop(rig);
    sim_node_crash(rig->node, SIM_CRASH_PROCESS);
    static uint8_t kept[1 << 20];
    hide_pool(rig, kept, sizeof kept, true);
    expect(rig_boot(rig));
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    expect_str(rig_text(pool, "state"), "missing");
    expect(rig_text(pool, "trouble")[0] != '\0');
    expect_eq(alerts(rig, "could not be opened"), 1);
    json_decref(pool);
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    expect_str(rig_text(disk, "state"), "missing");
    json_decref(disk);
    expect(!lun_is_served(rig, 5));
    static const char *const refused[] = {"set_abort", "set_confirm", "disk_delete",
                                          "snapshot_delete", "set_delete"};
    static const char *const names[] = {"s", "s", "c", "n-b", "n"};
    for (unsigned i = 0; i < countof(refused); i++) {
        enum status status = rig_fails(rig, refused[i], "{s:s}", "name", names[i]);
        if (status != STATUS_CONFLICT) printf("# %s: %s\n", refused[i], rig->message);
        expect_eq(status, STATUS_CONFLICT);
    }
    expect_eq(rig_fails(rig, "disk_create", "{s:s, s:s}", "name", "x", "size", "1M"),
              STATUS_CONFLICT);
    sim_run_for(rig->sim, 60 * RT_SECOND); /* no lease ends while the pool is away */
    rig_stop(rig);
    sim_node_crash(rig->node, SIM_CRASH_PROCESS);
    hide_pool(rig, kept, sizeof kept, false);
    expect(rig_boot(rig));
    expect(lun_is_served(rig, 5) && lun_is_served(rig, 6));
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "s");
    expect_str(rig_text(set, "state"), "committed");
    json_decref(set);
    rig_destroy(rig);
}

static void a_pool_that_was_being_made_is_there_whole_or_forgotten(void)
{
    unsigned whole = 0, forgotten = 0;
    for (uint64_t place = 1; place < 40; place += 3) {
        struct rig *rig = rig_create(RIG_REAL);
        sim_node_crash_at_write(rig->node, place, SIM_CRASH_POWER);
        json_t *job = rig_call(rig, "pool_create",
                               json_pack("{s:s, s:s, s:s, s:b}", "name", "p", "path", "/pool",
                                         "size", "64M", "sparse", 1));
        json_decref(job);
        sim_run_for(rig->sim, 10 * RT_SECOND);
        rig_crash(rig, SIM_CRASH_POWER);
        expect(rig_boot(rig));
        json_t *pools = rig_ok(rig, "pool_list", NULL);
        const char *state = rig_text(pools, "pools.0.state");
        expect(strcmp(state, "") == 0 || strcmp(state, "ok") == 0);
        if (*state) {
            whole++;
            expect(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "a", "size", "1M"));
        } else {
            forgotten++;
        }
        json_decref(pools);
        json_t *jobs = rig_ok(rig, "job_list", NULL);
        expect(strcmp(rig_text(jobs, "jobs.0.state"), "running") != 0);
        json_decref(jobs);
        rig_destroy(rig);
    }
    expect(whole > 0 && forgotten > 0);
}

static void a_point_that_the_catalog_does_not_know_is_shown_and_kept(void)
{
    struct rig *rig = furnished();
    rig_stop(rig);
    sim_node_crash(rig->node, SIM_CRASH_PROCESS);
    /* The catalog of an earlier day: without the snapshots. */
    uint64_t size = sim_file_size(rig->node, "/state/catalog.db");
    auto_free uint8_t *old = calloc(1, size + 1);
    check(old);
    sim_file_peek(rig->node, "/state/catalog.db", 0, old, size);
    expect(rig_boot(rig));
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "c", "name", "late"));
    rig_stop(rig);
    sim_node_crash(rig->node, SIM_CRASH_PROCESS);
    expect_eq(sim_file_size(rig->node, "/state/catalog.db-wal"), 0);
    sim_file_poke(rig->node, "/state/catalog.db", 0, old, size);
    expect(rig_boot(rig));
    sim_run_for(rig->sim, 2000 * RT_SECOND);
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    expect_eq(rig_number(pool, "unclaimed_count"), 1);
    expect(rig_number(pool, "unclaimed.0.generation") > 0);
    json_decref(pool);
    expect_eq(rig_fails(rig, "disk_delete", "{s:s}", "name", "c"), STATUS_IN_USE);
    rig_destroy(rig);
}

/* ---- Pools that another process holds -------------------------------------------------------- */

/* A server that was stopped, with pool p (disk a at LUN 5), q (disk d at LUN 7), r (disk e at LUN 8). */
static struct rig *with_three_pools(void)
{
    struct rig *rig = furnished();
    static const char *const pools[] = {"q", "r"}, *const paths[] = {"/q", "/r"},
                             *const disks[] = {"d", "e"};
    for (unsigned i = 0; i < countof(pools); i++) {
        json_t *job = rig_ok(rig, "pool_create", "{s:s, s:s, s:s, s:b}", "name", pools[i], "path",
                             paths[i], "size", "64M", "sparse", 1);
        check(rig_job_ends(rig, rig_text(job, "job.id"), "done"));
        json_decref(job);
        check(rig_do(rig, "disk_create", "{s:s, s:s, s:s}", "name", disks[i], "size", "16M", "pool",
                     pools[i]));
        check(
            rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", disks[i], "lun", 7 + i));
    }
    rig_stop(rig);
    sim_node_crash(rig->node, SIM_CRASH_PROCESS);
    return rig;
}

/* From the server's first moment on. */
static struct rt_file *hold(struct rig *rig, const char *path)
{
    struct rt_file *file = NULL;
    struct err *e = rt_file_open(rig->rt, path, RT_OPEN_LOCK, &file, NULL);
    check(!e);
    return file;
}

/* What the server says on stderr from here to log_count. */
static FILE *log_file;
static int log_saved;

static void log_keep(void)
{
    log_file = tmpfile();
    log_saved = dup(STDERR_FILENO);
    check(log_file && log_saved >= 0 && dup2(fileno(log_file), STDERR_FILENO) >= 0);
    log_set_level(LOG_LEVEL_INFO);
}

static void log_let_be(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    check(dup2(log_saved, STDERR_FILENO) >= 0);
    close(log_saved);
}

static unsigned log_count(const char *what, const char *pool)
{
    char line[2048], name[32];
    unsigned count = 0;
    snprintf(name, sizeof name, "pool=\"%s\"", pool);
    rewind(log_file);
    while (fgets(line, sizeof line, log_file))
        count += strstr(line, what) && strstr(line, name);
    return count;
}

static bool pool_is(struct rig *rig, const char *name, const char *state)
{
    return rig_text_is(rig, "pool_show", name, "state", state);
}

static void a_pool_is_waited_for_until_its_holder_lets_go(void)
{
    struct rig *rig = with_three_pools();
    log_keep();
    rig_boot_begin(rig);
    struct rt_file *holder = hold(rig, "/q");
    uint64_t begun_ns = rt_now(rig->rt);
    sim_run_for(rig->sim, 2 * RT_SECOND);
    expect(!rig->started);
    expect_eq(log_count("held by another process; the start waits", "q"), 1);
    expect_eq(log_count("pool open", "p"), 1); /* meanwhile the others are opened */
    expect_eq(log_count("pool open", "r"), 1);
    rt_file_close(holder);
    require(rig_boot_end(rig));
    expect(rt_now(rig->rt) - begun_ns < 3 * RT_SECOND);
    log_let_be();
    expect(pool_is(rig, "q", "ok"));
    expect(lun_is_served(rig, 5) && lun_is_served(rig, 7) && lun_is_served(rig, 8));
    expect_eq(log_count("held by another process; the start waits", "q"), 1);
    expect_eq(log_count("has let go of a pool", "q"), 1);
    expect_eq(log_count("the start waits", "p") + log_count("the start waits", "r"), 0);
    fclose(log_file);
    rig_destroy(rig);
}

static void a_pool_that_was_let_go_just_before_the_end_is_open(void)
{
    struct rig *rig = with_three_pools();
    rig_boot_begin(rig);
    struct rt_file *holder = hold(rig, "/q");
    sim_run_for(rig->sim, 29 * RT_SECOND);
    expect(!rig->started);
    rt_file_close(holder);
    require(rig_boot_end(rig));
    expect(pool_is(rig, "q", "ok") && lun_is_served(rig, 7));
    rig_destroy(rig);
}

static void pools_that_nobody_lets_go_of_keep_a_start_for_thirty_seconds_in_all(void)
{
    struct rig *rig = with_three_pools();
    rig_boot_begin(rig);
    struct rt_file *holders[] = {hold(rig, "/pool"), hold(rig, "/q")};
    uint64_t begun_ns = rt_now(rig->rt);
    require(rig_boot_end(rig));
    uint64_t took_ns = rt_now(rig->rt) - begun_ns;
    expect(took_ns >= 30 * RT_SECOND);
    expect(took_ns < 32 * RT_SECOND);
    expect(pool_is(rig, "p", "missing") && pool_is(rig, "q", "missing") && pool_is(rig, "r", "ok"));
    expect(!lun_is_served(rig, 5) && !lun_is_served(rig, 7) && lun_is_served(rig, 8));
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    const char *trouble = rig_text(pool, "trouble");
    if (!strstr(trouble, "held by another process")) printf("# %s\n", trouble);
    expect(strstr(trouble, "held by another process") != NULL);
    expect(strstr(trouble, "restart tarnd") != NULL);
    json_decref(pool);
    expect_eq(alerts(rig, "held by another process"), 1);
    for (unsigned i = 0; i < countof(holders); i++)
        rt_file_close(holders[i]);
    require(rig_restart(rig));
    expect(pool_is(rig, "p", "ok") && pool_is(rig, "q", "ok"));
    expect(lun_is_served(rig, 5) && lun_is_served(rig, 7));
    rig_destroy(rig);
}

static void one_that_nobody_lets_go_of_does_not_keep_another_from_being_opened(void)
{
    struct rig *rig = with_three_pools();
    log_keep();
    rig_boot_begin(rig);
    struct rt_file *for_ever = hold(rig, "/pool"), *holder = hold(rig, "/q");
    sim_run_for(rig->sim, 2 * RT_SECOND);
    rt_file_close(holder);
    sim_run_for(rig->sim, RT_SECOND);
    expect(!rig->started);
    expect_eq(log_count("pool open", "q"), 1);
    require(rig_boot_end(rig));
    log_let_be();
    fclose(log_file);
    expect(pool_is(rig, "p", "missing") && pool_is(rig, "q", "ok"));
    expect(lun_is_served(rig, 7));
    rt_file_close(for_ever);
    rig_destroy(rig);
}

static void a_server_that_waits_for_a_pool_can_be_stopped(void)
{
    struct rig *rig = with_three_pools();
    rig_boot_begin(rig);
    struct rt_file *holder = hold(rig, "/q");
    sim_run_for(rig->sim, 2 * RT_SECOND);
    require(!rig->started);
    uint64_t told_ns = rt_now(rig->rt);
    rig_stop(rig);
    expect(rt_now(rig->rt) - told_ns < RT_SECOND);
    expect(rig->started && rig->start_error);
    expect_eq(err_status(rig->start_error), STATUS_CANCELLED);
    err_free(rig->start_error);
    rt_file_close(holder);
    sim_node_crash(rig->node, SIM_CRASH_PROCESS);
    require(rig_boot(rig)); /* and nothing was changed */
    expect(lun_is_served(rig, 5) && lun_is_served(rig, 7) && lun_is_served(rig, 8));
    rig_destroy(rig);
}

static void a_server_that_waits_for_a_pool_can_be_killed(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct rig *rig = with_three_pools();
        rig_boot_begin(rig);
        hold(rig, "/q");
        sim_run_for(rig->sim, 2 * RT_SECOND);
        require(!rig->started);
        rig_crash(rig, i ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        require(rig_boot(rig)); /* the dead one's lock has gone */
        expect(lun_is_served(rig, 5) && lun_is_served(rig, 7));
        rig_destroy(rig);
    }
}

int main(void)
{
    run(a_host_is_told_what_is_left_for_it);
    run(everything_is_there_after_a_restart_and_after_a_crash);
    run(an_armed_set_falls_back_to_prepared);
    run(a_committed_set_goes_on_with_its_lease_in_full);
    run(a_pool_that_fails_at_work_is_one_event_and_right_after_the_next_start);
    run(a_disk_that_could_be_neither_made_nor_unmade_is_known_at_the_next_start);
    run(a_pool_that_is_missing_is_shown_and_its_sets_wait);
    run(a_pool_that_was_being_made_is_there_whole_or_forgotten);
    run(a_point_that_the_catalog_does_not_know_is_shown_and_kept);
    run(a_pool_is_waited_for_until_its_holder_lets_go);
    run(a_pool_that_was_let_go_just_before_the_end_is_open);
    run(pools_that_nobody_lets_go_of_keep_a_start_for_thirty_seconds_in_all);
    run(one_that_nobody_lets_go_of_does_not_keep_another_from_being_opened);
    run(a_server_that_waits_for_a_pool_can_be_stopped);
    run(a_server_that_waits_for_a_pool_can_be_killed);
    return tap_done();
}
