/* Sets over several pools, on the real engine: made, served, deleted; whole or not at all after a
 * crash; undecided while a pool is away (E23). */
#include "tests/unit/control_rig.h"

#include <stdlib.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"
#include "control/control_int.h"

static void make_pool(struct rig *rig, const char *name, const char *path)
{
    json_t *job = rig_ok(rig, "pool_create", "{s:s, s:s, s:s, s:b}", "name", name, "path", path,
                         "size", "64M", "sparse", 1);
    json_t *end =
        rig_ok(rig, "job_show", "{s:s, s:i}", "name", rig_text(job, "job.id"), "wait", 30);
    check(strcmp(rig_text(end, "state"), "done") == 0);
    json_decref(job);
    json_decref(end);
}

/* a, b, c in pool p; x, y in pool q; a host h. */
static struct rig *furnished(void)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    make_pool(rig, "q", "/other");
    check(rig_do(rig, "disk_create", "{s:s, s:s, s:s}", "name", "x", "size", "16M", "pool", "q"));
    check(rig_do(rig, "disk_create", "{s:s, s:s, s:s}", "name", "y", "size", "16M", "pool", "q"));
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    return rig;
}

static bool has(struct rig *rig, const char *verb, const char *name, const char *path,
                const char *value)
{
    json_t *answer = rig_ok(rig, verb, "{s:s}", "name", name);
    bool same = strcmp(rig_text(answer, path), value) == 0;
    if (!same)
        printf("# %s of %s is \"%s\", not \"%s\"\n", path, name, rig_text(answer, path), value);
    json_decref(answer);
    return same;
}

static long long number_of(struct rig *rig, const char *verb, const char *name, const char *path)
{
    json_t *answer = rig_ok(rig, verb, "{s:s}", "name", name);
    long long number = rig_number(answer, path);
    json_decref(answer);
    return number;
}

/* Points that no snapshot names, in either pool. */
static long long unclaimed(struct rig *rig)
{
    return number_of(rig, "pool_show", "p", "unclaimed_count") +
           number_of(rig, "pool_show", "q", "unclaimed_count");
}

static size_t list_size(struct rig *rig, const char *verb, const char *key)
{
    json_t *answer = rig_ok(rig, verb, NULL);
    size_t size = json_array_size(json_object_get(answer, key));
    json_decref(answer);
    return size;
}

static void power_off(struct rig *rig)
{
    rig_stop(rig);
    sim_node_crash(rig->node, SIM_CRASH_PROCESS);
}

static void hide_q(struct rig *rig, bool hide)
{
    rig_hide_pool(rig, "/other", hide);
}

static void a_snapshot_of_disks_in_two_pools_is_one_set(void)
{
    struct rig *rig = furnished();
    json_t *made =
        rig_ok(rig, "snapshot_create", "{s:[s,s,s], s:s}", "disks", "a", "x", "b", "name", "n");
    expect_str(rig_text(made, "set.state"), "created");
    expect_str(rig_text(made, "set.pools.0"), "p");
    expect_str(rig_text(made, "set.pools.1"), "q");
    json_decref(made);
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "n-x", "lun", 6));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "n-b", "lun", 7));
    for (unsigned i = 0; i < 2; i++) {
        expect(has(rig, "snapshot_show", "n-a", "state", "ready"));
        expect(has(rig, "snapshot_show", "n-x", "state", "ready"));
        expect(has(rig, "snapshot_show", "n-x", "pool", "q"));
        expect(has(rig, "set_show", "n", "undecided", ""));
        rig_crash(rig, SIM_CRASH_POWER);
        expect(rig_boot(rig));
    }
    expect_eq(unclaimed(rig), 0);
    rig_destroy(rig);
}

static void a_set_over_two_pools_goes_its_whole_way(void)
{
    static const char *const steps[] = {"set_arm", "set_commit", "set_confirm", "set_finish"};
    static const char *const states[] = {"armed", "committed", "confirmed", "created"};
    struct rig *rig = furnished();
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s,s], s:s}", "name", "s", "disks", "a", "y", "host",
                  "h"));
    for (unsigned i = 0; i < countof(steps); i++) {
        expect(rig_do(rig, steps[i], "{s:s}", "name", "s"));
        expect(has(rig, "set_show", "s", "state", states[i]));
    }
    expect_eq(number_of(rig, "set_show", "s", "application_consistent"), 1);
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s,s]}", "name", "t", "disks", "a", "x"));
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "t"));
    expect(rig_do(rig, "set_commit", "{s:s}", "name", "t"));
    expect(rig_do(rig, "set_abort", "{s:s}", "name", "t"));
    expect_eq(list_size(rig, "snapshot_list", "snapshots"), 2);
    expect_eq(unclaimed(rig), 0); /* nothing of it is left in either */
    rig_destroy(rig);
}

static void a_member_that_was_deleted_is_no_half_set_at_the_next_start(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "x", "name", "n"));
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "n-a", "now", 1));
    expect(rig_restart(rig));
    expect(has(rig, "snapshot_show", "n-x", "state", "ready"));
    expect(has(rig, "set_show", "n", "state", "created"));
    expect_eq(unclaimed(rig), 0);
    rig_destroy(rig);
}

static void a_pool_goes_when_the_members_of_its_sets_have_gone(void)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "x", "a", "name", "n"));
    expect(rig_do(rig, "snapshot_delete", "{s:s, s:b}", "name", "n-x", "now", 1));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "x", "now", 1));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "y", "now", 1));
    expect(rig_do(rig, "pool_forget", "{s:s}", "name", "q"));
    expect(has(rig, "set_show", "n", "pool", "p"));
    expect(rig_restart(rig));
    expect(has(rig, "set_show", "n", "pools.0", "p"));
    expect(has(rig, "snapshot_show", "n-a", "state", "ready"));
    rig_destroy(rig);
}

/* ---- Crashes ------------------------------------------------------------------------------------
 */

struct tally {
    unsigned undecided, lost, kept;
};

/* The name of the set that was being made; false when there is none (any more). */
static bool the_set(struct rig *rig, char *ret_name, size_t size, char *ret_state,
                    size_t state_size)
{
    json_t *sets = rig_ok(rig, "set_list", NULL);
    const json_t *list = json_object_get(sets, "sets");
    bool found = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *set = json_array_get(list, i);
        if (strcmp(rig_text(set, "state"), "aborted") == 0) continue;
        snprintf(ret_name, size, "%s", rig_text(set, "uuid"));
        snprintf(ret_state, state_size, "%s", rig_text(set, "state"));
        found = true;
    }
    json_decref(sets);
    return found;
}

/* With q away, a set that is in p may be committed or not: it waits, and nobody is served from it.
 */
static bool look_while_q_is_away(struct rig *rig)
{
    char name[64], state[32];
    if (!the_set(rig, name, sizeof name, state, sizeof state)) return false;
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", name);
    bool undecided = rig_text(set, "undecided")[0] != '\0';
    json_decref(set);
    if (!undecided) return false;
    expect(strcmp(state, "prepared") == 0 || strcmp(state, "armed") == 0);
    expect_eq(rig_fails(rig, "map_add", "{s:s, s:s}", "host", "h", "snapshot", "n-a"),
              STATUS_CONFLICT);
    expect_eq(rig_fails(rig, "set_finish", "{s:s}", "name", name), STATUS_CONFLICT);
    sim_run_for(rig->sim, 1000 * RT_SECOND); /* no lease ends it */
    expect(the_set(rig, name, sizeof name, state, sizeof state));
    return true;
}

/* Whole in both pools, or in none. */
static void look_at_the_end(struct rig *rig, bool was_undecided, struct tally *tally)
{
    char name[64], state[32];
    size_t snapshots = list_size(rig, "snapshot_list", "snapshots");
    expect_eq(unclaimed(rig), 0);
    bool found = the_set(rig, name, sizeof name, state, sizeof state);
    bool is_cut = found && strcmp(state, "prepared") != 0;
    if (is_cut) {
        expect_eq(snapshots, 2);
        expect(has(rig, "snapshot_show", "n-a", "state", "ready"));
        expect(has(rig, "snapshot_show", "n-x", "state", "ready"));
    } else {
        expect_eq(snapshots, found ? 2 : 0); /* pending, or gone */
    }
    if (!was_undecided) return;
    tally->undecided++;
    if (is_cut) tally->kept++;
    if (!found) tally->lost++;
}

/* False: the call had ended before. */
static bool crash_at(uint64_t place, enum sim_crash kind, bool hide, struct tally *tally)
{
    struct rig *rig = furnished();
    sim_node_crash_at_write(rig->node, place, kind);
    json_t *made = rig_call(rig, "snapshot_create",
                            json_pack("{s:[s,s], s:s}", "disks", "a", "x", "name", "n"));
    bool crashed = !sim_node_is_up(rig->node), was_undecided = false;
    bool answered = made != NULL;
    json_decref(made);
    sim_node_crash_at_write(rig->node, 0, kind);
    rig_crash(rig, kind);
    if (hide) {
        hide_q(rig, true);
        expect(rig_boot(rig));
        was_undecided = look_while_q_is_away(rig);
        power_off(rig);
        hide_q(rig, false);
    }
    expect(rig_boot(rig));
    look_at_the_end(rig, was_undecided, tally);
    if (answered) expect_eq(list_size(rig, "snapshot_list", "snapshots"), 2);
    rig_destroy(rig);
    return crashed;
}

static void a_power_cut_at_any_write_leaves_a_set_in_both_pools_or_in_none(void)
{
    struct tally tally = {0};
    uint64_t place = 1;
    while (crash_at(place, SIM_CRASH_POWER, false, &tally))
        place++;
    printf("# %llu writes\n", (unsigned long long)place - 1);
    expect(place > 10);
}

static void a_killed_server_leaves_a_set_in_both_pools_or_in_none(void)
{
    struct tally tally = {0};
    uint64_t place = 1;
    while (crash_at(place, SIM_CRASH_PROCESS, false, &tally))
        place++;
    expect(place > 10);
}

static void while_a_pool_is_away_its_sets_are_undecided_and_decided_when_it_is_back(void)
{
    struct tally tally = {0};
    uint64_t place = 1;
    while (crash_at(place, place % 2 ? SIM_CRASH_PROCESS : SIM_CRASH_POWER, true, &tally))
        place++;
    printf("# %u undecided, of which %u were whole and %u were not\n", tally.undecided, tally.kept,
           tally.lost);
    expect(tally.kept > 0 && tally.lost > 0);
}

/* The points of n-a and n-x, as the engine knows them. */
static void points_of(struct rig *rig, struct uuid points[2])
{
    list_for_each (node, &rig->control->snapshots) {
        const struct snapshot *s =
            container_of(list_entry(node, struct object, link), struct snapshot, object);
        if (strcmp(s->row.name, "n-a") == 0) points[0] = s->row.point;
        if (strcmp(s->row.name, "n-x") == 0) points[1] = s->row.point;
    }
}

/* An update that a crash interrupts, and then q is away for one start.  False: it had ended before. */
static bool update_crashes_at(uint64_t place, unsigned *made, unsigned *not_made)
{
    struct rig *rig = furnished();
    struct uuid before[2] = {0}, after[2] = {0};
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "x", "name", "n"));
    points_of(rig, before);
    sim_node_crash_at_write(rig->node, place, SIM_CRASH_PROCESS);
    json_decref(rig_call(rig, "set_update", json_pack("{s:s}", "name", "n")));
    bool crashed = !sim_node_is_up(rig->node);
    sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
    rig_crash(rig, SIM_CRASH_PROCESS);
    hide_q(rig, true);
    expect(rig_boot(rig));
    expect_eq(number_of(rig, "pool_show", "p", "unclaimed_count"), 0);
    expect(rig_do(rig, "snapshot_retain", "{s:s, s:s}", "name", "n-a", "for", "1s")); /* its row */
    power_off(rig);
    hide_q(rig, false);
    expect(rig_boot(rig));
    points_of(rig, after);
    bool first = !uuid_equal(&before[0], &after[0]), second = !uuid_equal(&before[1], &after[1]);
    if (first != second) printf("# a crash at write %llu\n", (unsigned long long)place);
    expect(first == second);
    expect_eq(unclaimed(rig), 0);
    *made += first;
    *not_made += !first;
    rig_destroy(rig);
    return crashed;
}

static void while_a_pool_is_away_an_update_of_its_sets_is_undecided(void)
{
    unsigned made = 0, not_made = 0;
    uint64_t place = 1;
    while (update_crashes_at(place, &made, &not_made))
        place++;
    printf("# %u made, %u not\n", made, not_made);
    expect(made > 1 && not_made > 0);
}

/* Deletes, and crashes at that write; q is away for one start.  False: it had ended before. */
static bool delete_crashes_at(uint64_t place, const char *verb, const char *name)
{
    struct rig *rig = furnished();
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "x", "name", "n"));
    sim_node_crash_at_write(rig->node, place, SIM_CRASH_PROCESS);
    json_decref(rig_call(rig, verb, json_pack("{s:s, s:b}", "name", name, "now", 1)));
    bool crashed = !sim_node_is_up(rig->node), answered = rig->status == STATUS_OK;
    sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
    rig_crash(rig, SIM_CRASH_PROCESS);
    hide_q(rig, true);
    expect(rig_boot(rig));
    sim_run_for(rig->sim, 100 * RT_SECOND);
    power_off(rig);
    hide_q(rig, false);
    expect(rig_boot(rig));
    if (unclaimed(rig) != 0)
        printf("# %s, a crash at write %llu\n", verb, (unsigned long long)place);
    expect_eq(unclaimed(rig), 0);
    size_t left = list_size(rig, "snapshot_list", "snapshots");
    expect(left == (strcmp(verb, "set_delete") == 0 ? 0 : 1) || (left == 2 && !answered));
    rig_destroy(rig);
    return crashed;
}

static void what_is_deleted_while_its_pool_goes_away_leaves_no_point_without_a_name(void)
{
    for (uint64_t place = 1; delete_crashes_at(place, "snapshot_delete", "n-x");)
        place++;
    for (uint64_t place = 1; delete_crashes_at(place, "set_delete", "n");)
        place++;
}

/* The record of the cut gets through, and its flush fails, in the one pool or the other; then q is
 * away for one start. */
static void a_cut_that_failed_leaves_no_point_when_its_pool_comes_back_later(void)
{
    unsigned failed = 0;
    for (unsigned lap = 0; lap < 8; lap++) {
        struct rig *rig = furnished();
        sim_run_for(rig->sim, RT_SECOND);
        sim_node_fault(rig->node, SIM_FAULT_FLUSH_ERROR, lap % 2 ? "/pool" : "/other", lap / 2);
        json_decref(rig_call(rig, "snapshot_create",
                             json_pack("{s:[s,s], s:s}", "disks", "a", "x", "name", "n")));
        failed += rig->status == STATUS_POOL_FAILED;
        rig_crash(rig, SIM_CRASH_PROCESS);
        hide_q(rig, true);
        expect(rig_boot(rig));
        power_off(rig);
        hide_q(rig, false);
        expect(rig_boot(rig));
        expect_eq(unclaimed(rig), 0);
        rig_destroy(rig);
    }
    expect(failed > 0);
}

static void an_undecided_set_can_be_aborted_and_leaves_nothing_when_the_pool_is_back(void)
{
    struct tally tally = {0};
    unsigned aborted = 0;
    for (uint64_t place = 1; place < 60 && aborted < 3; place++) {
        struct rig *rig = furnished();
        sim_node_crash_at_write(rig->node, place, SIM_CRASH_PROCESS);
        json_decref(rig_call(rig, "snapshot_create",
                             json_pack("{s:[s,s], s:s}", "disks", "a", "x", "name", "n")));
        sim_node_crash_at_write(rig->node, 0, SIM_CRASH_PROCESS);
        rig_crash(rig, SIM_CRASH_PROCESS);
        hide_q(rig, true);
        expect(rig_boot(rig));
        char name[64], state[32];
        if (the_set(rig, name, sizeof name, state, sizeof state) && look_while_q_is_away(rig)) {
            expect(rig_do(rig, "set_abort", "{s:s}", "name", name));
            aborted++;
        }
        power_off(rig);
        hide_q(rig, false);
        expect(rig_boot(rig));
        look_at_the_end(rig, false, &tally);
        rig_destroy(rig);
    }
    expect(aborted > 0);
}

int main(void)
{
    run(a_snapshot_of_disks_in_two_pools_is_one_set);
    run(a_set_over_two_pools_goes_its_whole_way);
    run(a_member_that_was_deleted_is_no_half_set_at_the_next_start);
    run(a_pool_goes_when_the_members_of_its_sets_have_gone);
    run(a_power_cut_at_any_write_leaves_a_set_in_both_pools_or_in_none);
    run(a_killed_server_leaves_a_set_in_both_pools_or_in_none);
    run(while_a_pool_is_away_its_sets_are_undecided_and_decided_when_it_is_back);
    run(while_a_pool_is_away_an_update_of_its_sets_is_undecided);
    run(what_is_deleted_while_its_pool_goes_away_leaves_no_point_without_a_name);
    run(a_cut_that_failed_leaves_no_point_when_its_pool_comes_back_later);
    run(an_undecided_set_can_be_aborted_and_leaves_nothing_when_the_pool_is_back);
    return tap_done();
}
