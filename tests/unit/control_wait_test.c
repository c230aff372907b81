/* A job whose pool is not there at a start has neither failed nor ended: it waits, over restarts and power cuts, and
 * goes on when the pool is back.  Disk a lies in pool p; disk src in pool q is as Windows has it at a commit of VSS,
 * with set "s" of it. */
#include "tests/lib/whole.h"
#include "tests/unit/control_lun.h"
#include "tests/unit/gpt_rig.h"

#include "control/control_int.h"

enum { FILL = 0x5A, PIECE_BYTES = 256 * 1024 };

static uint8_t clean[IMAGE_BYTES], marked[IMAGE_BYTES];

static bool is_empty(const uint8_t *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* The whole disk into `image`, or what is not empty of it onto the disk. */
static bool transfer(struct rig *rig, const char *name, enum volume_op op)
{
    struct disk *disk = NULL;
    struct volume *volume = NULL;
    struct err *e = find_disk(rig->control, name, &disk);
    if (!e)
        e = volume_open(disk->pool->engine, &disk->row.uuid, NULL,
                        op == VOLUME_READ ? VOLUME_READ_ONLY : VOLUME_READ_WRITE, &volume);
    bool ok = !e;
    err_free(e);
    for (size_t at = 0; ok && at < IMAGE_BYTES; at += PIECE_BYTES) {
        if (op == VOLUME_WRITE && is_empty(image + at, PIECE_BYTES)) continue;
        ok = whole_piece(rig->sim, volume, op, at, image + at, PIECE_BYTES);
    }
    volume_close(volume);
    return ok;
}

static void make_set(struct rig *rig)
{
    static const char *const steps[] = {"set_arm", "set_commit", "set_confirm", "set_finish"};
    check(rig_do(rig, "set_prepare", "{s:[s], s:s, s:s, s:b}", "disks", "src", "name", "s", "host", "win", "vss", 1));
    for (unsigned i = 0; i < countof(steps); i++)
        check(rig_do(rig, steps[i], "{s:s}", "name", "s"));
}

static struct rig *furnished(void)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    json_t *made = rig_ok(rig, "pool_create", "{s:s, s:s, s:s, s:b}", "name", "q", "path", "/pool2", "size", "64M",
                          "sparse", 1);
    check(rig_job_ends(rig, rig_text(made, "job.id"), "done"));
    json_decref(made);
    check(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "win", "initiators", "iqn.w", "os", "windows"));
    check(rig_do(rig, "disk_create", "{s:s, s:s, s:s}", "name", "src", "size", "16M", "pool", "q"));
    image_load("marked");
    check(transfer(rig, "src", VOLUME_WRITE));
    make_set(rig);
    memset(image, 0, sizeof image);
    memset(image, FILL, PIECE_BYTES);
    check(transfer(rig, "a", VOLUME_WRITE));
    sim_run_for(rig->sim, 61 * RT_SECOND);
    return rig;
}

static bool holds(struct rig *rig, const char *name, const uint8_t *content)
{
    return transfer(rig, name, VOLUME_READ) && memcmp(image, content, IMAGE_BYTES) == 0;
}

static bool is_as_before(struct rig *rig)
{
    if (!transfer(rig, "a", VOLUME_READ)) return false;
    for (size_t i = 0; i < PIECE_BYTES; i++) {
        if (image[i] != FILL) return false;
    }
    return is_empty(image + PIECE_BYTES, sizeof image - PIECE_BYTES);
}

static size_t undo_points(struct rig *rig, const char *state)
{
    size_t i, count = 0;
    const json_t *undo;
    json_t *disk = rig_ok(rig, "disk_show", "{s:s}", "name", "a");
    json_array_foreach(json_object_get(disk, "undo_points"), i, undo)
        count += !state || strcmp(rig_text(undo, "state"), state) == 0;
    json_decref(disk);
    return count;
}

static size_t records(struct rig *rig, const char *verb)
{
    json_t *list = rig_ok(rig, "audit_list", "{s:s, s:i}", "verb", verb, "limit", 1000);
    size_t count = json_array_size(json_object_get(list, "records"));
    json_decref(list);
    return count;
}

/* The job of the verb, if it was recorded before the crash. */
static bool find_job_of(struct rig *rig, const char *verb, char id[64], char state[16])
{
    size_t i;
    const json_t *job;
    *id = *state = '\0';
    json_t *list = rig_ok(rig, "job_list", NULL);
    json_array_foreach(json_object_get(list, "jobs"), i, job)
    {
        if (strcmp(rig_text(job, "verb"), verb) != 0) continue;
        snprintf(id, 64, "%s", rig_text(job, "id"));
        snprintf(state, 16, "%s", rig_text(job, "state"));
    }
    json_decref(list);
    return *id != '\0';
}

static void start_without(struct rig *rig, const char *path, enum sim_crash kind)
{
    rig_crash(rig, kind);
    rig_hide_pool(rig, path, true);
    check(rig_boot(rig));
    sim_run_for(rig->sim, 20 * RT_SECOND);
}

static void start_with(struct rig *rig, const char *path)
{
    rig_crash(rig, SIM_CRASH_POWER);
    rig_hide_pool(rig, path, false);
    check(rig_boot(rig));
    sim_run_for(rig->sim, 20 * RT_SECOND);
}

/* The answer to a call that the server may not survive. */
static void call_and_crash(struct rig *rig, const char *verb, json_t *arguments, uint64_t place)
{
    sim_node_crash_at_write(rig->node, place, SIM_CRASH_PROCESS);
    json_decref(rig_call(rig, verb, arguments));
    sim_run_for(rig->sim, 20 * RT_SECOND);
}

static bool crashed(struct rig *rig)
{
    bool down = !sim_node_is_up(rig->node);
    sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
    return down;
}

static bool says_it_waits(struct rig *rig, const char *id, const char *pool, const char *which_is)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "waits for pool \"%s\", which is %s", pool, which_is);
    json_t *job = rig_ok(rig, "job_show", "{s:s}", "name", id);
    bool waits = strcmp(rig_text(job, "state"), "running") == 0 && strstr(rig_text(job, "trouble"), wanted) != NULL &&
                 strstr(rig_text(job, "trouble"), "start the server again") != NULL;
    if (!waits) printf("# job: %s: %s\n", rig_text(job, "state"), rig_text(job, "trouble"));
    json_decref(job);
    return waits;
}

/* It waits on after a power cut and one more start without the pool. */
static void expect_wait_over_power_cut(struct rig *rig, const char *id, const char *pool)
{
    rig_crash(rig, SIM_CRASH_POWER);
    check(rig_boot(rig));
    sim_run_for(rig->sim, 20 * RT_SECOND);
    expect(says_it_waits(rig, id, pool, "missing"));
}

static bool refuses_cancel(struct rig *rig, const char *id)
{
    return rig_fails(rig, "job_cancel", "{s:s}", "name", id) == STATUS_CONFLICT &&
           strstr(rig->message, "cannot be cancelled while pool") != NULL && strstr(rig->next, "bring the pool back") &&
           rig_fails(rig, "job_cancel", "{s:s, s:b}", "name", id, "dry_run", 1) == STATUS_CONFLICT;
}

static size_t wait_events(struct rig *rig)
{
    size_t i, count = 0;
    const json_t *event;
    json_t *list = rig_ok(rig, "event_list", NULL);
    json_array_foreach(json_object_get(list, "events"), i, event)
        count += strcmp(rig_text(event, "kind"), "job") == 0 && strstr(rig_text(event, "text"), "waits for pool");
    json_decref(list);
    return count;
}

/* ---- Replace --------------------------------------------------------------------------------- */

struct tally {
    unsigned waited, behind, gone;
};

/* The disk has the content with visible volumes, and what it was can be had back; one record says so. */
static void expect_replaced(struct rig *rig, const char *id, uint64_t place, size_t records_before)
{
    bool is_right = rig_job_ends(rig, id, "done") && holds(rig, "a", clean) && undo_points(rig, "ready") == 1 &&
                    undo_points(rig, NULL) == 1;
    if (!is_right) printf("# place %llu\n", (unsigned long long)place);
    expect(is_right);
    if (records_before == 0) expect_eq(records(rig, "disk_replaced"), 1);
    expect_eq(rig_unclaimed(rig), 0);
    expect(rig_do(rig, "disk_undo", "{s:s, s:b}", "name", "a", "force", 1));
    expect(is_as_before(rig));
}

/* The server dies at that write of a replace, and starts twice without the pool.  False: it had ended before. */
static bool replace_waits(const char *path, const char *pool, uint64_t place, struct tally *tally)
{
    char id[64], state[16];
    struct rig *rig = furnished();
    call_and_crash(rig, "disk_replace", json_pack("{s:s, s:s}", "name", "a", "from", "s-src"), place);
    bool goes_on = crashed(rig);
    start_without(rig, path, SIM_CRASH_PROCESS);
    bool there = find_job_of(rig, "disk_replace", id, state), waits = strcmp(state, "running") == 0;
    size_t before = there ? records(rig, "disk_replaced") : 0;
    expect(strcmp(state, "failed") != 0);
    if (waits) {
        expect(says_it_waits(rig, id, pool, "missing"));
        if (strcmp(pool, "p") == 0) expect(refuses_cancel(rig, id));
        expect(rig_do(rig, "job_pause", "{s:s}", "name", id)); /* and back: it looks again, and waits on */
        expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
        sim_run_for(rig->sim, RT_SECOND);
        expect_eq(wait_events(rig), 1);
        expect_wait_over_power_cut(rig, id, pool);
    }
    start_with(rig, path);
    if (there) expect_replaced(rig, id, place, before);
    tally->waited += waits;
    tally->behind += there && !waits;
    tally->gone += !there;
    rig_destroy(rig);
    return goes_on;
}

static void a_replace_waits_for_the_pool_of_its_disk_and_clears_the_marks_of_vss(void)
{
    struct tally tally = {0};
    for (uint64_t place = 1; replace_waits("/pool", "p", place, &tally);)
        place += 3;
    printf("# %u waited, %u had ended, %u were never begun\n", tally.waited, tally.behind, tally.gone);
    expect(tally.waited > 2 && tally.behind > 0 && tally.gone > 0);
}

static void a_replace_waits_for_the_pool_of_its_snapshot(void)
{
    struct tally tally = {0};
    for (uint64_t place = 1; replace_waits("/pool2", "q", place, &tally);)
        place += 7;
    printf("# %u waited, %u had ended, %u were never begun\n", tally.waited, tally.behind, tally.gone);
    expect(tally.waited > 0 && tally.behind > 0 && tally.gone > 0);
}

static void begin(struct rig *rig, const char *verb, const char *name, char id[64])
{
    bool replaces = strcmp(verb, "disk_replace") == 0;
    json_t *answer = rig_call(rig, verb, replaces ? json_pack("{s:s, s:s}", "name", name, "from", "s-src")
                                                  : json_pack("{s:s}", "name", name));
    snprintf(id, 64, "%s", rig_text(answer, "job.id"));
    json_decref(answer);
    check(*id);
}

/* Paused when its record was on its way already: nobody knows that but the pool. */
static void a_paused_replace_is_not_cancelled_without_the_pool_of_its_disk(void)
{
    char id[64];
    struct rig *rig = furnished();
    begin(rig, "disk_replace", "a", id);
    expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    start_without(rig, "/pool", SIM_CRASH_POWER);
    expect(rig_text_is(rig, "job_show", id, "state", "paused"));
    expect(refuses_cancel(rig, id));
    expect(rig_text_is(rig, "job_show", id, "state", "paused"));
    start_with(rig, "/pool");
    expect(rig_text_is(rig, "job_show", id, "state", "paused"));
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "failed"));
    expect(is_as_before(rig));
    expect_eq(undo_points(rig, NULL), 0);
    expect_eq(rig_unclaimed(rig), 0);
    rig_destroy(rig);
}

static bool is_short_of_space(struct rig *rig)
{
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    bool is_short = rig_number(pool, "free_bytes") + rig_number(pool, "reclaiming_bytes") <
                    rig_number(pool, "capacity_bytes") / 20;
    json_decref(pool);
    return is_short;
}

/* Until pool p gives back what is expendable, for five minutes; then there is room again. */
static void be_short_of_space_for_a_while(struct rig *rig)
{
    struct disk *disk = NULL;
    struct volume *volume = NULL;
    check(rig_do(rig, "disk_create", "{s:s, s:s, s:s}", "name", "fat", "size", "64M", "pool", "p"));
    struct err *e = find_disk(rig->control, "fat", &disk);
    if (!e) e = volume_open(disk->pool->engine, &disk->row.uuid, NULL, VOLUME_READ_WRITE, &volume);
    check(!e);
    memset(image, FILL, PIECE_BYTES);
    for (uint64_t at = 0; !is_short_of_space(rig); at += PIECE_BYTES)
        check(whole_piece(rig->sim, volume, VOLUME_WRITE, at, image, PIECE_BYTES));
    volume_close(volume);
    sim_run_for(rig->sim, 300 * RT_SECOND);
    expect(is_short_of_space(rig));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "fat", "now", 1));
}

/* Paused while it waited, when its record was there: the undo point says that it was made. */
static bool undo_point_is_kept_for(uint64_t place, bool fills, unsigned *kept)
{
    char id[64], state[16];
    struct rig *rig = furnished();
    call_and_crash(rig, "disk_replace", json_pack("{s:s, s:s}", "name", "a", "from", "s-src"), place);
    bool goes_on = crashed(rig);
    start_without(rig, "/pool", SIM_CRASH_PROCESS);
    bool waits = find_job_of(rig, "disk_replace", id, state) && strcmp(state, "running") == 0;
    size_t before = records(rig, "disk_replaced");
    if (waits) expect(rig_do(rig, "job_pause", "{s:s}", "name", id));
    rig->lease_tick_ns = fills ? RT_SECOND : 60 * RT_SECOND;
    start_with(rig, "/pool");
    bool was_made = undo_points(rig, "ready") == 1 && waits;
    if (was_made) {
        ++*kept;
        expect(rig_do(rig, "trash_empty", "{s:b}", "undo", 1));
        if (fills)
            be_short_of_space_for_a_while(rig);
        else
            sim_run_for(rig->sim, 25 * 3600 * RT_SECOND);
        expect_eq(undo_points(rig, "ready"), 1);
        expect(rig_do(rig, "job_resume", "{s:s}", "name", id));
        expect_replaced(rig, id, place, before);
    }
    rig_destroy(rig);
    return goes_on;
}

static void an_undo_point_is_kept_until_its_job_has_ended(void)
{
    unsigned kept = 0;
    for (uint64_t place = 30; undo_point_is_kept_for(place, false, &kept);)
        place += 5;
    printf("# %u kept\n", kept);
    expect(kept > 0);
}

static void a_nearly_full_pool_leaves_the_undo_point_of_a_job_that_has_not_ended(void)
{
    unsigned kept = 0;
    for (uint64_t place = 30; kept == 0 && undo_point_is_kept_for(place, true, &kept);)
        place += 5;
    expect_eq(kept, 1);
}

/* The disk's own pool tells that nothing was done. */
static void a_replace_that_waits_for_the_pool_of_its_snapshot_can_be_cancelled(void)
{
    char id[64];
    struct rig *rig = furnished();
    begin(rig, "disk_replace", "a", id);
    start_without(rig, "/pool2", SIM_CRASH_POWER);
    expect(says_it_waits(rig, id, "q", "missing"));
    expect_eq(rig_fails(rig, "disk_delete", "{s:s}", "name", "a"), STATUS_IN_USE);
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "failed"));
    expect(is_as_before(rig));
    expect_eq(undo_points(rig, NULL), 0);
    start_with(rig, "/pool2");
    expect(rig_text_is(rig, "job_show", id, "state", "failed"));
    expect(is_as_before(rig));
    begin(rig, "disk_replace", "a", id);
    expect_replaced(rig, id, 0, 1); /* that it was cancelled is one, too */
    rig_destroy(rig);
}

/* The first request of that kind after `after` others fails, and with it the pool: the next start goes on. */
static bool replace_meets_a_fault(enum sim_fault_kind kind, uint64_t after, unsigned *waited)
{
    char id[64];
    struct rig *rig = furnished();
    begin(rig, "disk_replace", "a", id);
    sim_node_fault(rig->node, kind, "/pool", after);
    sim_run_for(rig->sim, 20 * RT_SECOND);
    struct disk *disk = NULL;
    struct err *e = find_disk(rig->control, "a", &disk);
    check(!e);
    char found[64], state[16];
    bool failed = !pool_is_writable(disk->pool);
    expect(find_job_of(rig, "disk_replace", found, state) && strcmp(state, "failed") != 0);
    sim_heal(rig->sim);
    if (failed && strcmp(state, "running") == 0) {
        ++*waited;
        expect(says_it_waits(rig, id, "p", "failed"));
        expect(refuses_cancel(rig, id));
    }
    if (failed) {
        rig_crash(rig, SIM_CRASH_POWER);
        check(rig_boot(rig));
        sim_run_for(rig->sim, 20 * RT_SECOND); /* what failed when the marks were cleared is done by a job of its own */
    }
    expect_replaced(rig, id, after, 1);
    rig_destroy(rig);
    return failed;
}

static void a_replace_whose_pool_fails_at_work_goes_on_at_the_next_start(void)
{
    unsigned waited = 0;
    for (uint64_t after = 0; after < 40 && replace_meets_a_fault(SIM_FAULT_WRITE_ERROR, after, &waited);)
        after += 3;
    for (uint64_t after = 0; after < 8 && replace_meets_a_fault(SIM_FAULT_FLUSH_ERROR, after, &waited);)
        after++;
    printf("# %u waited\n", waited);
    expect(waited > 2);
}

/* ---- Break, split, promote, full copies ------------------------------------------------------ */

static long long unclaimed_of_q(struct rig *rig)
{
    json_t *q = rig_ok(rig, "pool_show", "{s:s}", "name", "q");
    long long n = rig_number(q, "unclaimed_count") + rig_number(q, "unclaimed_disk_count");
    json_decref(q);
    return n;
}

/* The server dies at that write of a break or split, and starts without the pool.  False: it had ended before. */
static bool split_waits(const char *verb, const uint8_t *content, uint64_t place, struct tally *tally)
{
    char id[64], state[16], naa[64];
    struct rig *rig = furnished();
    json_t *snapshot = rig_ok(rig, "snapshot_show", "{s:s}", "name", "s-src");
    snprintf(naa, sizeof naa, "%s", rig_text(snapshot, "naa"));
    json_decref(snapshot);
    call_and_crash(rig, verb, json_pack("{s:s}", "name", "s"), place);
    bool goes_on = crashed(rig);
    start_without(rig, "/pool2", SIM_CRASH_PROCESS);
    bool there = find_job_of(rig, verb, id, state), waits = strcmp(state, "running") == 0;
    size_t before = there ? records(rig, "split_settle") : 0;
    expect(strcmp(state, "failed") != 0);
    if (waits) {
        expect(says_it_waits(rig, id, "q", "missing"));
        expect(refuses_cancel(rig, id));
        expect_wait_over_power_cut(rig, id, "q");
    }
    start_with(rig, "/pool2");
    if (there) {
        expect(rig_job_ends(rig, id, "done"));
        expect(rig_text_is(rig, "set_show", "s", "state", "broken"));
        expect(rig_text_is(rig, "disk_show", "s-src", "naa", naa));
        expect(holds(rig, "s-src", content));
        if (before == 0) expect_eq(records(rig, "split_settle"), 1);
    }
    expect_eq(unclaimed_of_q(rig), 0);
    tally->waited += waits;
    tally->behind += there && !waits;
    tally->gone += !there;
    rig_destroy(rig);
    return goes_on;
}

static void a_split_waits_for_its_pool_and_clears_the_marks_of_vss(void)
{
    struct tally tally = {0};
    for (uint64_t place = 1; split_waits("set_split", clean, place, &tally);)
        place += 4;
    printf("# %u waited, %u had ended, %u were never begun\n", tally.waited, tally.behind, tally.gone);
    expect(tally.waited > 2 && tally.gone > 0);
}

/* VSS changes the marks itself. */
static void a_break_waits_for_its_pool(void)
{
    struct tally tally = {0};
    for (uint64_t place = 1; split_waits("set_break", marked, place, &tally);)
        place += 5;
    printf("# %u waited, %u had ended, %u were never begun\n", tally.waited, tally.behind, tally.gone);
    expect(tally.waited > 2 && tally.gone > 0);
}

/* Members in both pools, of which one is not there: what is there goes on, and the rest when it is back. */
static void split_of_two_waits_for(const char *verb, const char *path, const char *pool)
{
    char id[64], state[16];
    struct rig *rig = furnished();
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "src", "name", "two"));
    begin(rig, verb, "two", id);
    start_without(rig, path, SIM_CRASH_PROCESS);
    expect(find_job_of(rig, verb, id, state));
    expect(says_it_waits(rig, id, pool, "missing"));
    expect(refuses_cancel(rig, id));
    expect_wait_over_power_cut(rig, id, pool);
    start_with(rig, path);
    expect(rig_job_ends(rig, id, "done"));
    expect(rig_text_is(rig, "set_show", "two", "state", "broken"));
    expect(holds(rig, "two-src", marked));
    expect(transfer(rig, "two-a", VOLUME_READ) && image[0] == FILL && image[PIECE_BYTES] == 0);
    expect_eq(rig_unclaimed(rig), 0);
    expect_eq(unclaimed_of_q(rig), 0);
    require(rig_restart(rig));
    expect(rig_text_is(rig, "set_show", "two", "state", "broken"));
    expect_eq(rig_unclaimed(rig) + unclaimed_of_q(rig), 0);
    rig_destroy(rig);
}

static void a_split_over_two_pools_waits_for_either(void)
{
    split_of_two_waits_for("set_split", "/pool", "p");
    split_of_two_waits_for("set_split", "/pool2", "q");
}

static void a_break_over_two_pools_waits_for_either(void)
{
    split_of_two_waits_for("set_break", "/pool", "p");
    split_of_two_waits_for("set_break", "/pool2", "q");
}

static void a_promotion_waits_for_its_pool(void)
{
    char id[64];
    struct rig *rig = furnished();
    begin(rig, "snapshot_promote", "s-src", id);
    start_without(rig, "/pool2", SIM_CRASH_PROCESS);
    expect(says_it_waits(rig, id, "q", "missing"));
    require(rig_restart(rig)); /* an orderly stop does not wait for it */
    sim_run_for(rig->sim, 20 * RT_SECOND);
    expect(says_it_waits(rig, id, "q", "missing"));
    start_with(rig, "/pool2");
    expect(rig_job_ends(rig, id, "done"));
    expect(rig_text_is(rig, "snapshot_show", "s-src", "type", "full"));
    expect_eq(records(rig, "promote_settle"), 1);
    expect_eq(unclaimed_of_q(rig), 0);
    rig_destroy(rig);
}

/* It only copies: whatever it has done stays, and is right. */
static void a_promotion_that_waits_for_its_pool_can_be_cancelled(void)
{
    char id[64];
    struct rig *rig = furnished();
    begin(rig, "snapshot_promote", "s-src", id);
    start_without(rig, "/pool2", SIM_CRASH_PROCESS);
    expect(says_it_waits(rig, id, "q", "missing"));
    expect(rig_do(rig, "job_cancel", "{s:s}", "name", id));
    expect(rig_job_ends(rig, id, "failed"));
    start_with(rig, "/pool2");
    expect(rig_text_is(rig, "snapshot_show", "s-src", "state", "ready"));
    begin(rig, "snapshot_promote", "s-src", id);
    expect(rig_job_ends(rig, id, "done"));
    expect_eq(unclaimed_of_q(rig), 0);
    rig_destroy(rig);
}

static void a_full_copy_waits_for_its_pool(void)
{
    static const char *const steps[] = {"set_arm", "set_commit", "set_confirm", "set_finish"};
    char id[64], state[16];
    struct rig *rig = furnished();
    expect(rig_do(rig, "set_prepare", "{s:[s], s:s, s:b}", "disks", "src", "name", "f", "full", 1));
    for (unsigned i = 0; i < countof(steps); i++)
        expect(rig_do(rig, steps[i], "{s:s}", "name", "f"));
    start_without(rig, "/pool2", SIM_CRASH_PROCESS);
    require(find_job_of(rig, "set_promote", id, state));
    expect(says_it_waits(rig, id, "q", "missing"));
    start_with(rig, "/pool2");
    expect(rig_job_ends(rig, id, "done"));
    expect(rig_text_is(rig, "snapshot_show", "f-src", "type", "full"));
    expect_eq(unclaimed_of_q(rig), 0);
    rig_destroy(rig);
}

int main(void)
{
    if (!rig_disks_or_skip()) return 0;
    image_load("clean");
    memcpy(clean, image, sizeof clean);
    image_load("marked");
    memcpy(marked, image, sizeof marked);
    run(a_replace_waits_for_the_pool_of_its_disk_and_clears_the_marks_of_vss);
    run(a_replace_waits_for_the_pool_of_its_snapshot);
    run(a_paused_replace_is_not_cancelled_without_the_pool_of_its_disk);
    run(an_undo_point_is_kept_until_its_job_has_ended);
    run(a_nearly_full_pool_leaves_the_undo_point_of_a_job_that_has_not_ended);
    run(a_replace_that_waits_for_the_pool_of_its_snapshot_can_be_cancelled);
    run(a_replace_whose_pool_fails_at_work_goes_on_at_the_next_start);
    run(a_split_waits_for_its_pool_and_clears_the_marks_of_vss);
    run(a_break_waits_for_its_pool);
    run(a_split_over_two_pools_waits_for_either);
    run(a_break_over_two_pools_waits_for_either);
    run(a_promotion_waits_for_its_pool);
    run(a_promotion_that_waits_for_its_pool_can_be_cancelled);
    run(a_full_copy_waits_for_its_pool);
    rig_directory_remove();
    return tap_done();
}
