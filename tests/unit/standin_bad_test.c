/* Proof of the stand-in: providers that do one thing wrong are caught, each by the name of the rule;
 * and the good one lives through the same life. */
#include <stdlib.h>

#include "base/check.h"
#include "tests/lib/tap.h"
#include "tests/unit/standin_bad.h"

enum {
    PERSISTENT = VSS_VOLSNAP_ATTR_PERSISTENT | VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE,
    TRANSPORTABLE = PERSISTENT | VSS_VOLSNAP_ATTR_TRANSPORTABLE,
    DISK_BLOCKS = 256,
    VOLUMES = 3,     /* of the sets: two on one disk, one on another */
    SEEDS = 3,       /* of orders, for each bad provider; */
    GOOD_SEEDS = 12, /* and for the good one */
};

static struct world w;
static struct coordinator *a, *b;
static char names[8][SI_NAME_MAX];

/* ---- A life ---------------------------------------------------------------------------------- */

static HRESULT create(LONG context, VSS_ID *ret_set, VSS_ID snapshots[VOLUMES])
{
    coordinator_set_context(a, context);
    HRESULT result = coordinator_start_set(a, ret_set);
    for (unsigned i = 0; i < VOLUMES && result == S_OK; i++)
        result = coordinator_add_volume(a, names[i], NULL, &snapshots[i]);
    return result == S_OK ? coordinator_do_set(a) : result;
}

static HRESULT hand_over(struct coordinator *to)
{
    char *xml = coordinator_save_document(a);
    HRESULT result = xml ? coordinator_load_document(to, xml) : VSS_E_OBJECT_NOT_FOUND;
    free(xml);
    return result;
}

static void other_host(VSS_ID set)
{
    static struct coordinator_snapshot list[8];
    LONG deleted;
    VSS_ID not_deleted;
    if (hand_over(b) != S_OK) return;
    coordinator_import(b);
    coordinator_break(b, &set, false, VSS_BREAKEX_FLAG_MASK_LUNS);
    coordinator_import(b);
    /* The one volume of the second disk: the other LUN stays. */
    unsigned count = coordinator_query(b, list, 8);
    for (unsigned i = 0; i < count; i++)
        if (guid_same(&list[i].set, &set) && strcmp(list[i].volume, names[2]) == 0)
            coordinator_delete(b, &list[i].id, false, &deleted, &not_deleted);
    coordinator_break(b, &set, false, VSS_BREAKEX_FLAG_MAKE_READ_WRITE);
}

static void resync(const VSS_ID snapshots[VOLUMES])
{
    if (hand_over(a) != S_OK) return;
    coordinator_import(a);
    for (unsigned i = 0; i < VOLUMES; i++)
        coordinator_add_to_recovery_set(a, &snapshots[i], i == 2 ? names[3] : NULL);
    coordinator_recover_set(a, 0);
}

/* All that is ever done with shadow copies. */
static void live(uint64_t seed)
{
    VSS_ID first, set, snapshots[VOLUMES], not_deleted;
    LONG deleted;
    BOOL supported;
    a = world_coordinator(&w, HOST_A, seed);
    b = world_coordinator(&w, HOST_B, seed);
    unsigned count = coordinator_volumes(a, names, 8);
    check(count == VOLUMES + 1);
    coordinator_set_context(a, VSS_VOLSNAP_ATTR_DIFFERENTIAL | VSS_VOLSNAP_ATTR_PLEX);
    coordinator_is_volume_supported(a, NULL, names[0], &supported);
    create(PERSISTENT, &first, snapshots);
    coordinator_set_fault(a, COORDINATOR_ABORT_AFTER, "PostCommitSnapshots");
    create(PERSISTENT, &set, snapshots);
    coordinator_set_fault(a, COORDINATOR_ABORT_AFTER, NULL);
    if (create(TRANSPORTABLE, &set, snapshots) == S_OK) other_host(set);
    if (create(TRANSPORTABLE, &set, snapshots) == S_OK) resync(snapshots);
    /* Masking here too, where another set is. */
    coordinator_break(a, &set, false, VSS_BREAKEX_FLAG_MASK_LUNS);
    coordinator_delete(a, &first, true, &deleted, &not_deleted);
}

/* The first rule that was broken in a life; NULL: none. */
static const char *rule_of_life(void (*spoil)(struct si_provider *), uint64_t seed,
                                bool new_process_each_call, char what[SI_NAME_MAX])
{
    const char *seen = "";
    world_init(&w, seed);
    w.spoil = spoil;
    w.new_process_each_call = new_process_each_call;
    w.is_loud = getenv("LOUD") != NULL;
    world_add_disk(&w, HOST_A, DISK_BLOCKS, 2);
    world_add_disk(&w, HOST_A, DISK_BLOCKS, 1);
    world_add_disk(&w, HOST_A, 2 * DISK_BLOCKS, 1); /* a destination */
    world_add_disk(&w, HOST_A, DISK_BLOCKS, 0);
    w.stowaway = world_add_disk(&w, HOST_A, DISK_BLOCKS, 0);
    w.luns[w.stowaway].is_foreign = true;
    world_unserve(&w, HOST_A, w.stowaway);
    live(seed);
    const char *rule = coordinator_broken_rule(a, &seen);
    if (!rule) rule = coordinator_broken_rule(b, &seen);
    snprintf(what, SI_NAME_MAX, "%s", seen);
    coordinator_destroy(a);
    coordinator_destroy(b);
    world_fini(&w);
    return rule;
}

/* ---- The tests ------------------------------------------------------------------------------- */

static void the_good_provider_breaks_no_rule(void)
{
    char what[SI_NAME_MAX];
    for (uint64_t seed = 0; seed < GOOD_SEEDS; seed++) {
        for (unsigned mode = 0; mode < 2; mode++) {
            const char *rule = rule_of_life(NULL, seed, mode == 1, what);
            if (rule) printf("# seed %u: %s: %s\n", (unsigned)seed, rule, what);
            expect(!rule);
            expect_eq(world_live_count(), 0);
        }
    }
}

static const struct bad_provider *bad;

/* By this rule first, whatever else it breaks; in some order and both ways of processes. */
static void it_is_caught_by_name(void)
{
    char what[SI_NAME_MAX];
    for (unsigned mode = 0; mode < 2; mode++) {
        unsigned caught = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            const char *rule = rule_of_life(bad->spoil, seed, mode == 1, what);
            if (rule && strcmp(rule, bad->rule) != 0) {
                printf("# seed %u, mode %u: caught as %s: %s\n", (unsigned)seed, mode, rule, what);
                tap_failed = true;
            }
            caught += rule != NULL;
        }
        expect(caught > 0);
    }
}

/* A rule that no provider was seen to break may not be looked at at all. */
static void every_rule_is_broken_by_someone(void)
{
    static const char *const rules[] = {
#define RULE(name, text, page) #name,
#include "windows/standin/rules.def"
#undef RULE
    };
    for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++) {
        bool found = false;
        for (unsigned j = 0; j < bad_provider_count; j++)
            found |= strcmp(bad_providers[j].rule, rules[i]) == 0;
        if (!found) printf("# nobody breaks %s\n", rules[i]);
        expect(found);
    }
}

int main(int argc, char **argv)
{
    run(the_good_provider_breaks_no_rule);
    for (unsigned i = 0; i < bad_provider_count; i++) {
        char name[SI_NAME_MAX];
        bad = &bad_providers[i];
        if (argc > 1 && strcmp(argv[1], bad->rule) != 0) continue;
        snprintf(name, sizeof name, "a provider that %s is caught by %s", bad->what, bad->rule);
        tap_run(name, it_is_caught_by_name);
    }
    run(every_rule_is_broken_by_someone);
    return tap_done();
}
