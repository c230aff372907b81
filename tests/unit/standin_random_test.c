/*
 * Random lives of two hosts under the stand-in for VSS: everything that may be done, in any order,
 * with faults, the orders of calls drawn too; a small model says what must be there after each.
 *
 *     standin_random_test             so many seeds
 *     standin_random_test SEED MODE   that one again, with the calls (mode 1: a process for each)
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/prng.h"
#include "tests/lib/tap.h"
#include "tests/unit/standin_world.h"

enum {
    DISK_BLOCKS = 256,
    SEEDS = 40,
    STEPS = 30,
    SETS_MAX = 40,
    VOLUMES_MAX = 8,
    KEPT = VSS_VOLSNAP_ATTR_PERSISTENT | VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE,
};

/* ---- The model ------------------------------------------------------------------------------- */

enum set_place { NOWHERE, ON_A, ON_B, BROKEN, GONE };

struct model_set {
    VSS_ID id, snapshots[VOLUMES_MAX];
    enum set_place place;
    unsigned maker, count;
    unsigned volumes[VOLUMES_MAX]; /* of the maker */
    bool is_deleted[VOLUMES_MAX];
    bool is_volatile;
    uint64_t number;
    char *document; /* transportable; else NULL */
};

/* A volume of a host: on which disks, as bits. */
struct model_volume {
    char name[SI_NAME_MAX];
    unsigned disks;
};

static struct world w;
static struct prng prng;
static struct coordinator *hosts[WORLD_HOSTS];
static struct model_volume volumes[WORLD_HOSTS][VOLUMES_MAX];
static unsigned volume_count[WORLD_HOSTS];
static struct model_set sets[SETS_MAX];
static unsigned set_count, orphan_count;
static uint64_t current_seed;

static unsigned below(unsigned bound)
{
    return (unsigned)prng_below(&prng, bound);
}

/* How many LUNs the set has on the server. */
static unsigned lun_count(const struct model_set *set)
{
    unsigned disks = 0, count = 0;
    for (unsigned i = 0; i < set->count; i++)
        if (!set->is_deleted[i]) disks |= volumes[set->maker][set->volumes[i]].disks;
    for (; disks; disks &= disks - 1)
        count++;
    return set->place == GONE ? 0 : count;
}

static bool is_partial(const struct model_set *set)
{
    for (unsigned i = 0; i < set->count; i++)
        if (set->is_deleted[i]) return true;
    return false;
}

static enum set_place place_of(unsigned host)
{
    return host == HOST_A ? ON_A : ON_B;
}

/* ---- What must hold after each step ---------------------------------------------------------- */

static void expect_snapshot(unsigned host, const struct coordinator_snapshot *seen)
{
    for (unsigned s = 0; s < set_count; s++) {
        if (!guid_same(&sets[s].id, &seen->set)) continue;
        unsigned lun = world_lun_of_number(&w, host, seen->lun);
        unsigned volume = (unsigned)(seen->first_lba - WORLD_FIRST_LBA) / WORLD_VOLUME_BLOCKS;
        expect(sets[s].place == place_of(host));
        require(lun != UINT32_MAX);
        expect_eq(world_number_of(&w, lun, volume), sets[s].number);
        return;
    }
    expect_str("a set that is known", "a set that nobody made");
}

static void expect_host(unsigned host)
{
    static struct coordinator_snapshot seen[SETS_MAX * VOLUMES_MAX];
    unsigned expected = 0, count = coordinator_query(hosts[host], seen, SETS_MAX * VOLUMES_MAX);
    for (unsigned s = 0; s < set_count; s++)
        for (unsigned i = 0; i < sets[s].count; i++)
            expected += sets[s].place == place_of(host) && !sets[s].is_deleted[i];
    expect_eq(count, expected);
    for (unsigned i = 0; i < count; i++)
        expect_snapshot(host, &seen[i]);
}

static void expect_all(void)
{
    unsigned luns = orphan_count;
    for (unsigned s = 0; s < set_count; s++)
        luns += lun_count(&sets[s]);
    expect_eq(world_snapshot_count(&w), luns);
    expect_eq(world_open_set_count(&w), 0);
    for (unsigned host = 0; host < WORLD_HOSTS; host++) {
        const char *what, *rule = coordinator_broken_rule(hosts[host], &what);
        expect_host(host);
        if (rule) printf("# %s: %s\n", rule, what);
        expect(!rule);
    }
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static void open_session(unsigned host)
{
    hosts[host] = world_coordinator(&w, host, 1 + below(1000000));
}

static void close_session(unsigned host)
{
    for (unsigned s = 0; s < set_count; s++)
        if (sets[s].is_volatile && sets[s].place == place_of(host)) sets[s].place = GONE;
    coordinator_destroy(hosts[host]);
    open_session(host);
}

static const char *const early_steps[] = {"EndPrepareSnapshots",
                                          "mark",
                                          "freeze",
                                          "PreCommitSnapshots",
                                          "hold",
                                          "CommitSnapshots",
                                          "release",
                                          "PostCommitSnapshots"};
static const char *const late_steps[] = {"GetTargetLuns", "LocateLuns", "PostFinalCommitSnapshots"};
static const char *const calls[] = {
    "BeginPrepareSnapshot", "EndPrepareSnapshots",     "PreCommitSnapshots",
    "CommitSnapshots",      "PostCommitSnapshots",     "GetTargetLuns",
    "FillInLunInfo",        "PreFinalCommitSnapshots", "PostFinalCommitSnapshots"};
#define ONE_OF(list) list[below(sizeof list / sizeof *list)]

/* true: after it the identities may be out already, and the LUNs stay on the server. */
static bool draw_fault(struct coordinator *c)
{
    switch (below(8)) {
    case 0:
        coordinator_set_fault(c, COORDINATOR_ABORT_BEFORE, ONE_OF(early_steps));
        break;
    case 1:
        coordinator_set_fault(c, COORDINATOR_ABORT_AFTER, ONE_OF(early_steps));
        break;
    case 2:
        coordinator_set_fault(c, COORDINATOR_ABORT_DURING, calls[1 + below(4)]);
        break;
    case 3:
        coordinator_set_fault(c, COORDINATOR_KILL_BEFORE, ONE_OF(calls));
        break;
    case 4:
        coordinator_set_fault(c, COORDINATOR_KILL_AFTER, ONE_OF(calls));
        break;
    case 5:
        coordinator_set_fault(c, COORDINATOR_ABORT_AFTER, ONE_OF(late_steps));
        return true;
    default:
        break;
    }
    return false;
}

/* Some volumes of the host. */
static HRESULT add_volumes(unsigned host, struct model_set *set)
{
    HRESULT result = S_OK;
    unsigned wanted = 1 + below((1u << volume_count[host]) - 1);
    for (unsigned v = 0; v < volume_count[host] && result == S_OK; v++) {
        if (!(wanted >> v & 1)) continue;
        set->volumes[set->count] = v;
        result = coordinator_add_volume(hosts[host], volumes[host][v].name, NULL,
                                        &set->snapshots[set->count]);
        set->count++;
    }
    return result;
}

static void create(unsigned host)
{
    static const LONG contexts[] = {0, KEPT, KEPT, KEPT | VSS_VOLSNAP_ATTR_TRANSPORTABLE,
                                    KEPT | VSS_VOLSNAP_ATTR_TRANSPORTABLE};
    if (set_count == SETS_MAX) return;
    struct model_set set = {.maker = host, .place = place_of(host)};
    LONG context = ONE_OF(contexts);
    unsigned before = world_snapshot_count(&w);
    bool may_leave = draw_fault(hosts[host]);
    coordinator_set_context(hosts[host], context);
    HRESULT result = coordinator_start_set(hosts[host], &set.id);
    if (result == S_OK) result = add_volumes(host, &set);
    if (result == S_OK) result = coordinator_do_set(hosts[host]);
    coordinator_set_fault(hosts[host], COORDINATOR_ABORT_BEFORE, NULL);
    if (result != S_OK) {
        coordinator_cancel(hosts[host]);
        if (may_leave) orphan_count += world_snapshot_count(&w) - before;
        return;
    }
    set.number = w.number_at_hold;
    set.is_volatile = context == 0;
    if (context & VSS_VOLSNAP_ATTR_TRANSPORTABLE) {
        set.place = NOWHERE;
        set.document = coordinator_save_document(hosts[host]);
        check(set.document != NULL);
    }
    sets[set_count++] = set;
}

static struct model_set *draw_set(bool with_document)
{
    for (unsigned i = 0; i < 8 && set_count; i++) {
        struct model_set *set = &sets[below(set_count)];
        if (set->place != GONE && (!with_document || set->document)) return set;
    }
    return NULL;
}

static void import(unsigned host)
{
    struct model_set *set = draw_set(true);
    if (!set || is_partial(set)) return;
    require(coordinator_load_document(hosts[host], set->document) == S_OK);
    HRESULT result = coordinator_import(hosts[host]);
    if (set->place == place_of(host))
        expect_eq(result, VSS_E_NO_SNAPSHOTS_IMPORTED);
    else if (set->place != NOWHERE)
        expect(FAILED(result)); /* it is another host's, or a disk */
    else
        expect_eq(result, S_OK);
    if (result == S_OK) set->place = place_of(host);
}

/* The host that has the set; UINT_MAX: none. */
static unsigned host_of(const struct model_set *set)
{
    if (!set || (set->place != ON_A && set->place != ON_B)) return UINT32_MAX;
    return set->place == ON_A ? HOST_A : HOST_B;
}

static void mask(void)
{
    struct model_set *set = draw_set(true);
    unsigned host = host_of(set);
    if (host == UINT32_MAX) return;
    expect_eq(coordinator_break(hosts[host], &set->id, false, VSS_BREAKEX_FLAG_MASK_LUNS), S_OK);
    set->place = NOWHERE;
}

/* Not one over several LUNs: a broken copy beside its original would be one volume with it, by the
 * partitions' name, which is all that the stand-in knows of spans. */
static bool has_span(const struct model_set *set)
{
    for (unsigned i = 0; i < set->count; i++) {
        unsigned disks = volumes[set->maker][set->volumes[i]].disks;
        if (disks & (disks - 1)) return true;
    }
    return false;
}

static void break_set(void)
{
    struct model_set *set = draw_set(false);
    unsigned host = host_of(set);
    if (host == UINT32_MAX || has_span(set)) return;
    bool is_plain = below(2);
    expect_eq(coordinator_break(hosts[host], &set->id, is_plain,
                                is_plain ? 0 : VSS_BREAKEX_FLAG_MAKE_READ_WRITE),
              S_OK);
    set->place = BROKEN;
}

static void delete_one(void)
{
    struct model_set *set = draw_set(false);
    unsigned host = host_of(set);
    LONG deleted;
    VSS_ID not_deleted;
    if (host == UINT32_MAX) return;
    unsigned i = below(set->count);
    HRESULT result =
        coordinator_delete(hosts[host], &set->snapshots[i], false, &deleted, &not_deleted);
    expect_eq(result, set->is_deleted[i] ? VSS_E_OBJECT_NOT_FOUND : S_OK);
    set->is_deleted[i] = true;
    if (lun_count(set) == 0) set->place = GONE;
}

static void delete_set(void)
{
    struct model_set *set = draw_set(false);
    unsigned host = host_of(set);
    LONG deleted;
    VSS_ID not_deleted;
    if (host == UINT32_MAX) return;
    expect_eq(coordinator_delete(hosts[host], &set->id, true, &deleted, &not_deleted), S_OK);
    set->place = GONE;
}

/* All volumes of the set, onto the disks where they came from. */
static void resync(void)
{
    struct model_set *set = draw_set(true);
    if (!set || set->place == BROKEN || is_partial(set)) return;
    struct coordinator *c = hosts[set->maker];
    require(coordinator_load_document(c, set->document) == S_OK);
    for (unsigned i = 0; i < set->count; i++)
        expect_eq(coordinator_add_to_recovery_set(c, &set->snapshots[i], NULL), S_OK);
    expect_eq(coordinator_recover_set(c, VSS_RECOVERY_NO_VOLUME_CHECK), S_OK);
    for (unsigned i = 0; i < set->count; i++)
        for (unsigned lun = 0; lun < w.lun_count && lun < 32; lun++)
            if (volumes[set->maker][set->volumes[i]].disks >> lun & 1)
                expect_eq(world_number_of(&w, lun, 0), set->number);
}

static void step(void)
{
    unsigned host = below(WORLD_HOSTS);
    switch (below(12)) {
    case 0:
    case 1:
    case 2:
        create(host);
        break;
    case 3:
    case 4:
        import(host);
        break;
    case 5:
        mask();
        break;
    case 6:
        break_set();
        break;
    case 7:
        delete_one();
        break;
    case 8:
        delete_set();
        break;
    case 9:
        resync();
        break;
    case 10:
        close_session(host);
        break;
    default:
        world_write_number(&w);
        break;
    }
}

/* ---- A life ---------------------------------------------------------------------------------- */

static void learn_volumes(unsigned host)
{
    static char names[VOLUMES_MAX][SI_NAME_MAX];
    volume_count[host] = coordinator_volumes(hosts[host], names, VOLUMES_MAX);
    for (unsigned i = 0; i < volume_count[host]; i++)
        memcpy(volumes[host][i].name, names[i], SI_NAME_MAX);
}

/* A: two volumes, one, and one over two disks; B: one, and two. */
static void make_world(uint64_t seed, bool new_process_each_call)
{
    world_init(&w, seed);
    w.new_process_each_call = new_process_each_call;
    w.has_other_provider = seed % 3 == 0;
    prng_init(&prng, seed);
    set_count = orphan_count = 0;
    unsigned a0 = world_add_disk(&w, HOST_A, DISK_BLOCKS, 2),
             a1 = world_add_disk(&w, HOST_A, DISK_BLOCKS, 1),
             a2 = world_add_span_disk(&w, HOST_A, DISK_BLOCKS, "span:s"),
             a3 = world_add_span_disk(&w, HOST_A, DISK_BLOCKS, "span:s"),
             b0 = world_add_disk(&w, HOST_B, DISK_BLOCKS, 1),
             b1 = world_add_disk(&w, HOST_B, DISK_BLOCKS, 2);
    for (unsigned host = 0; host < WORLD_HOSTS; host++) {
        open_session(host);
        learn_volumes(host);
    }
    check(volume_count[HOST_A] == 4 && volume_count[HOST_B] == 3);
    volumes[HOST_A][0].disks = volumes[HOST_A][1].disks = 1u << a0;
    volumes[HOST_A][2].disks = 1u << a1;
    volumes[HOST_A][3].disks = 1u << a2 | 1u << a3;
    volumes[HOST_B][0].disks = 1u << b0;
    volumes[HOST_B][1].disks = volumes[HOST_B][2].disks = 1u << b1;
}

static bool live(uint64_t seed, bool new_process_each_call, bool is_loud)
{
    bool had_failed = tap_failed;
    tap_failed = false;
    current_seed = seed;
    make_world(seed, new_process_each_call);
    w.is_loud = is_loud;
    for (unsigned i = 0; i < STEPS && !tap_failed; i++) {
        step();
        expect_all();
    }
    for (unsigned host = 0; host < WORLD_HOSTS; host++)
        coordinator_destroy(hosts[host]);
    for (unsigned s = 0; s < set_count; s++)
        free(sets[s].document);
    world_fini(&w);
    expect_eq(world_live_count(), 0);
    expect_eq(world_wrong_free_count(), 0);
    bool ok = !tap_failed;
    if (!ok)
        printf("# again with: standin_random_test %llu %d\n", (unsigned long long)seed,
               new_process_each_call);
    tap_failed = tap_failed || had_failed;
    return ok;
}

static void random_lives_with_one_process(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        if (!live(seed, false, false)) return;
}

static void random_lives_with_a_process_for_each_call(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        if (!live(seed, true, false)) return;
}

int main(int argc, char **argv)
{
    if (argc > 2) return !live(strtoull(argv[1], NULL, 10), argv[2][0] == '1', true);
    printf("# seeds 1 to %d\n", SEEDS);
    run(random_lives_with_one_process);
    run(random_lives_with_a_process_for_each_call);
    return tap_done();
}
