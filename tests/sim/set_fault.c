/*
 * set_fault.c - the catalog's or the pool's device fails at some write or flush while verbs run.  A
 * verb that fails has changed nothing that lasts: it may be called again, and at rest, after the
 * next start and after all leases there is no orphan (set_check.h).
 */
#include <stdlib.h>

#include "base/attr.h"
#include "base/text.h"
#include "tests/sim/set_check.h"

enum { ACTS = 14, TRIES = 4 };

static const struct {
    const char *verb, *arguments;
} acts[ACTS] = {
    {"set_prepare", "{\"name\":\"s\",\"disks\":[\"a\",\"b\"],\"host\":\"h\",\"lease_s\":60}"},
    {"set_arm", "{\"name\":\"s\"}"},
    {"set_commit", "{\"name\":\"s\"}"},
    {"set_confirm", "{\"name\":\"s\"}"},
    {"set_finish", "{\"name\":\"s\"}"},
    {"map_add", "{\"host\":\"h\",\"snapshot\":\"s-a\"}"},
    {"map_remove", "{\"host\":\"h\",\"lun\":1}"},
    {"snapshot_branch", "{\"name\":\"s-b\",\"new_name\":\"w\"}"},
    {"disk_delete", "{\"name\":\"w\",\"now\":true}"},
    {"set_delete", "{\"name\":\"s\",\"now\":true}"},
    {"snapshot_create", "{\"name\":\"n\",\"disks\":[\"a\",\"b\",\"c\"]}"},
    {"disk_create", "{\"name\":\"d\",\"size\":\"4M\"}"},
    {"disk_grow", "{\"name\":\"d\",\"size\":\"8M\"}"},
    {"disk_delete", "{\"name\":\"d\",\"now\":true}"},
};

/* How many acts failed at first. */
static unsigned act_all(struct rig *rig, const char *where, bool must_work_in_the_end)
{
    unsigned failed = 0;
    for (unsigned i = 0; i < ACTS; i++) {
        bool ok = false;
        for (unsigned try = 0; try < TRIES && !ok; try++) {
            json_t *answer = rig_call(rig, acts[i].verb, json_loads(acts[i].arguments, 0, NULL));
            ok = answer != NULL;
            json_decref(answer);
            /* A retry may find that the first try had got through after all. */
            if (try && (rig->status == STATUS_EXISTS || rig->status == STATUS_NOT_FOUND)) ok = true;
            failed += !ok;
        }
        if (!ok && must_work_in_the_end)
            printf("# %s: %s: %s\n", where, acts[i].verb, rig->message);
        MUST(ok || !must_work_in_the_end);
        if (!ok) break;
    }
    return failed;
}

static unsigned one_world(enum sim_fault_kind kind, const char *path, uint64_t place,
                          bool pool_fails)
{
    struct rig *rig = rig_create_seeded(RIG_REAL, 1 + place);
    char where[100];
    snprintf(where, sizeof where, "fault %d of %s at match %llu", (int)kind, path,
             (unsigned long long)place);
    rig_furnish(rig);
    MUST(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    sim_node_fault(rig->node, kind, path, place);
    unsigned failed = act_all(rig, where, !pool_fails);
    sim_heal(rig->sim);
    if (!pool_fails) check_world(rig, where, false);
    rig_crash(rig, SIM_CRASH_PROCESS);
    MUST(rig_boot(rig));
    check_world(rig, where, true);
    sim_run_for(rig->sim, 1000 * RT_SECOND);
    check_world(rig, where, false);
    rig_destroy(rig);
    return failed;
}

static void device(const char *name, enum sim_fault_kind kind, const char *path, unsigned places,
                   unsigned stride, bool pool_fails, bool verbs_must_fail)
{
    unsigned hits = 0;
    set_check_failed = false;
    for (unsigned place = 0; place < places * stride && !set_check_failed; place += stride) {
        hits += one_world(kind, path, place, pool_fails) > 0;
    }
    printf("# %u of %u faults made a verb fail\n", hits, places);
    tap_point(name, !set_check_failed && (hits > 0 || !verbs_must_fail));
}

int main(void)
{
    device("a_write_error_of_the_catalog_fails_a_verb_and_changes_nothing", SIM_FAULT_WRITE_ERROR,
           "/state/catalog.db-wal", 60, 3, false, true);
    device("a_flush_error_of_the_catalog_fails_a_verb_and_changes_nothing", SIM_FAULT_FLUSH_ERROR,
           "/state/catalog.db-wal", 30, 1, false, true);
    device("a_write_error_of_the_pool_is_put_right_by_the_next_start", SIM_FAULT_WRITE_ERROR,
           "/pool", 30, 1, true, false); /* a failed batch is written again */
    device("a_flush_error_of_the_pool_is_put_right_by_the_next_start", SIM_FAULT_FLUSH_ERROR,
           "/pool", 20, 1, true, true);
    return tap_done();
}
