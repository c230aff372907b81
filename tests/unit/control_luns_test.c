/* Numbers of LUNs over a long time, and which hosts hear of a change when (DESIGN's rules of the
 * front end: least recently freed first, ten minutes of rest, REPORT LUNS answered). */
#include <stdlib.h>

#include "base/limits.h"
#include "base/prng.h"
#include "control/control_int.h"
#include "tests/unit/control_lun.h"
#include "tests/unit/control_rig.h"

enum { ALLOCATIONS = 2000, SNAPSHOTS = 40, SESSIONS = 2, NUMBERS = LIMIT_LUNS_PER_HOST };

/* ---- A simple reference of the numbers of one host ---- */

struct number {
    int user; /* snapshot; -1 = free */
    bool used_before;
    uint64_t freed_at_ns, freed_order;
    bool told[SESSIONS]; /* REPORT LUNS answered to the session since it was freed */
};

static struct number numbers[NUMBERS];
static bool told_all[SESSIONS]; /* ... since the last change of the map */
static uint64_t order, counted_early;

static bool is_rested(const struct number *n, uint64_t now_ns)
{
    return !n->used_before ||
           (now_ns - n->freed_at_ns >= 600 * RT_SECOND && n->told[0] && n->told[1]);
}

/* What the server may give: never used, else least recently freed of those that have rested.  It
 * takes one that has rested only while every session knows the map as it is. */
static int expected_number(uint64_t now_ns)
{
    int best = -1;
    for (int i = 1; i < NUMBERS; i++) {
        const struct number *n = &numbers[i];
        if (n->user >= 0 || !is_rested(n, now_ns)) continue;
        if (n->used_before && !(told_all[0] && told_all[1])) continue;
        if (best < 0 || (n->used_before ? n->freed_order : 0) <
                            (numbers[best].used_before ? numbers[best].freed_order : 0)) {
            best = i;
        }
    }
    return best;
}

static void note_change(void)
{
    told_all[0] = told_all[1] = false;
}

static void note_report(unsigned session)
{
    told_all[session] = true;
    for (unsigned i = 0; i < NUMBERS; i++)
        numbers[i].told[session] = true;
}

/* ---- Two thousand of them ---- */

static struct rig *rig;

static const char *snapshot_name(unsigned i)
{
    static char name[16];
    snprintf(name, sizeof name, "s%02u", i);
    return name;
}

static int number_of(unsigned snapshot)
{
    for (int i = 1; i < NUMBERS; i++) {
        if (numbers[i].user == (int)snapshot) return i;
    }
    return -1;
}

/* True when a number was given. */
static bool map_one(unsigned snapshot)
{
    int wanted = expected_number(rt_now(rig->rt));
    json_t *arguments = json_pack("{s:s, s:s}", "host", "h", "snapshot", snapshot_name(snapshot));
    json_t *answer = rig_call(rig, "map_add", arguments);
    int given = answer ? (int)rig_number(answer, "lun") : -1;
    json_decref(answer);
    if (given != wanted) printf("# got LUN %d, expected %d\n", given, wanted);
    expect_eq(given, wanted);
    if (given < 0) {
        expect_eq(rig->status, STATUS_LIMIT_REACHED);
        return false;
    }
    expect(given >= 1 && given <= 254);
    if (!is_rested(&numbers[given], rt_now(rig->rt))) counted_early++;
    numbers[given].user = (int)snapshot;
    note_change();
    return true;
}

static void unmap_one(int number)
{
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", number));
    numbers[number] = (struct number){
        .user = -1, .used_before = true, .freed_at_ns = rt_now(rig->rt), .freed_order = ++order};
    note_change();
}

static void two_thousand_numbers_are_given_by_the_rules(void)
{
    struct lun_host *sessions[SESSIONS];
    struct prng prng;
    unsigned given = 0, refused = 0;
    prng_init(&prng, 2000);
    rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(rig_do(rig, "host_create", "{s:s, s:[s,s], s:s}", "name", "h", "initiators", "iqn.a",
                  "iqn.b", "auth", "none"));
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        expect(
            rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", snapshot_name(i)));
    for (unsigned i = 0; i < NUMBERS; i++)
        numbers[i].user = -1;
    sessions[0] = lun_login(rig, "iqn.a");
    sessions[1] = lun_login(rig, "iqn.b");
    for (unsigned step = 0; given < ALLOCATIONS && step < 20000; step++) {
        unsigned snapshot = (unsigned)prng_below(&prng, SNAPSHOTS);
        int number = number_of(snapshot);
        if (number >= 0) {
            unmap_one(number);
        } else if (map_one(snapshot)) {
            given++;
        } else {
            refused++;
        }
        for (unsigned i = 0; i < SESSIONS; i++) {
            if (!prng_chance(&prng, 1, 2)) continue;
            lun_report(sessions[i]);
            note_report(i);
        }
        if (prng_chance(&prng, 1, 3)) sim_run_for(rig->sim, prng_below(&prng, 20) * RT_SECOND);
    }
    printf("# %u numbers given, %u times none was free\n", given, refused);
    expect_eq(given, ALLOCATIONS);
    expect(refused > 0); /* the rules have bitten */
    expect_eq(counted_early, 0);
    lun_logout(sessions[0]);
    lun_logout(sessions[1]);
    rig_destroy(rig);
}

static void an_answer_to_one_session_does_not_free_a_number(void)
{
    rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(rig_do(rig, "host_create", "{s:s, s:[s,s], s:s}", "name", "h", "initiators", "iqn.a",
                  "iqn.b", "auth", "none"));
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "s"));
    struct lun_host *one = lun_login(rig, "iqn.a"), *other = lun_login(rig, "iqn.b");
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "s-a", "lun", 9));
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", 9));
    sim_run_for(rig->sim, 3600 * RT_SECOND); /* time alone is not enough */
    static const char add[] = "{s:s, s:s, s:i}";
    expect_eq(rig_fails(rig, "map_add", add, "host", "h", "snapshot", "s-b", "lun", 9),
              STATUS_CONFLICT);
    lun_report(one);
    expect_eq(rig_fails(rig, "map_add", add, "host", "h", "snapshot", "s-b", "lun", 9),
              STATUS_CONFLICT);
    lun_logout(other); /* a session that is gone need not be told */
    expect(rig_do(rig, "map_add", add, "host", "h", "snapshot", "s-b", "lun", 9));
    lun_logout(one);
    rig_destroy(rig);
}

/* ---- Unit attention ---- */

static struct lun_host *hosts[3]; /* two sessions of h, one of k */

static void attention_begin_on(enum rig_engine engine)
{
    rig = rig_create(engine);
    rig_furnish(rig);
    expect(rig_do(rig, "host_create", "{s:s, s:[s,s], s:s}", "name", "h", "initiators", "iqn.a",
                  "iqn.b", "auth", "none"));
    expect(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "k", "initiators", "iqn.k",
                  "auth", "none"));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", 1));
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "k", "disk", "b", "lun", 1));
    static const char *const initiators[] = {"iqn.a", "iqn.b", "iqn.k"};
    for (unsigned i = 0; i < 3; i++) {
        hosts[i] = lun_login(rig, initiators[i]);
        lun_attention(hosts[i], 1); /* power on */
        lun_report(hosts[i]);
    }
}

static void attention_begin(void)
{
    attention_begin_on(RIG_MEMORY);
}

static void attention_end(void)
{
    for (unsigned i = 0; i < 3; i++)
        lun_logout(hosts[i]);
    rig_destroy(rig);
}

static void make_set(const char *name)
{
    static const char *const steps[] = {"set_arm", "set_commit", "set_confirm", "set_finish"};
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s,s,s], s:s}", "name", name, "disks", "a", "b", "c",
                  "host", "h"));
    for (unsigned i = 0; i < countof(steps); i++)
        expect(rig_do(rig, steps[i], "{s:s}", "name", name));
}

static void only_hosts_whose_map_changed_hear_of_it_once_for_a_whole_set(void)
{
    attention_begin();
    make_set("s");
    for (unsigned i = 0; i < 3; i++)
        expect_eq(lun_poll(hosts[i], 1), 0); /* a set that is made changes no map */
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "h"));
    for (unsigned i = 0; i < 2; i++) { /* three LUNs came: one attention for each session */
        expect_eq(lun_poll(hosts[i], 1), 0x3F0E);
        expect_eq(lun_poll(hosts[i], 1), 0);
        for (unsigned lun = 2; lun <= 4; lun++) {
            expect_eq(lun_poll(hosts[i], lun), 0x2900); /* each is a new logical unit */
            expect_eq(lun_poll(hosts[i], lun), 0);
        }
    }
    expect_eq(lun_poll(hosts[2], 1), 0);
    expect(rig_do(rig, "set_mask", "{s:s}", "name", "s"));
    for (unsigned i = 0; i < 2; i++) {
        expect_eq(lun_poll(hosts[i], 1), 0x3F0E);
        expect_eq(lun_poll(hosts[i], 1), 0);
    }
    expect_eq(lun_poll(hosts[2], 1), 0);
    attention_end();
}

static void none_hears_of_it_while_one_of_its_sets_is_armed(void)
{
    attention_begin();
    make_set("s");
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "t", "disks", "a", "host", "h"));
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "t"));
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "s", "host", "h"));
    expect(rig_do(rig, "map_add", "{s:s, s:s}", "host", "k", "disk", "c"));
    expect_eq(lun_poll(hosts[0], 1), 0);
    expect_eq(lun_poll(hosts[2], 1), 0x3F0E); /* another host's sets hold nothing up */
    expect(rig_do(rig, "set_commit", "{s:s}", "name", "t"));
    expect_eq(lun_poll(hosts[0], 1), 0);
    expect_eq(lun_poll(hosts[1], 1), 0);
    expect(rig_do(rig, "set_confirm", "{s:s}", "name", "t"));
    for (unsigned i = 0; i < 2; i++) {
        expect_eq(lun_poll(hosts[i], 1), 0x3F0E);
        expect_eq(lun_poll(hosts[i], 1), 0);
    }
    attention_end();
}

/* The window ends by itself, and then it is told. */
static void an_armed_set_that_lapses_lets_it_be_heard(void)
{
    attention_begin();
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "t", "disks", "a", "host", "h"));
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "t"));
    expect(rig_do(rig, "map_add", "{s:s, s:s}", "host", "h", "disk", "c"));
    expect_eq(lun_poll(hosts[0], 1), 0);
    sim_run_for(rig->sim, 12 * RT_SECOND);
    expect_eq(lun_poll(hosts[0], 1), 0x3F0E);
    attention_end();
}

static void a_grown_disk_is_told_to_who_sees_it(void)
{
    attention_begin();
    expect(rig_do(rig, "disk_grow", "{s:s, s:s}", "name", "a", "size", "32M"));
    for (unsigned i = 0; i < 2; i++) {
        expect_eq(lun_poll(hosts[i], 1), 0x2A09); /* CAPACITY DATA HAS CHANGED */
        expect_eq(lun_poll(hosts[i], 1), 0);
    }
    expect_eq(lun_poll(hosts[2], 1), 0);
    attention_end();
}

static void a_reverted_disk_is_told_to_who_sees_it(void)
{
    attention_begin_on(RIG_REAL);
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "s"));
    expect(rig_do(rig, "disk_grow", "{s:s, s:s}", "name", "a", "size", "32M"));
    lun_attention(hosts[0], 1);
    expect(rig_do(rig, "disk_revert", "{s:s, s:s, s:b}", "name", "a", "to", "s", "force", 1));
    unsigned first = lun_poll(hosts[0], 1), second = lun_poll(hosts[0], 1);
    expect((first == 0x2800 && second == 0x2A09) || (first == 0x2A09 && second == 0x2800));
    expect_eq(lun_poll(hosts[0], 1), 0);
    expect_eq(lun_poll(hosts[2], 1), 0);
    attention_end();
}

int main(void)
{
    run(two_thousand_numbers_are_given_by_the_rules);
    run(an_answer_to_one_session_does_not_free_a_number);
    run(only_hosts_whose_map_changed_hear_of_it_once_for_a_whole_set);
    run(none_hears_of_it_while_one_of_its_sets_is_armed);
    run(an_armed_set_that_lapses_lets_it_be_heard);
    run(a_grown_disk_is_told_to_who_sees_it);
    run(a_reverted_disk_is_told_to_who_sees_it);
    return tap_done();
}
