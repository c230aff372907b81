/*
 * set_world.c - snapshot sets in the simulated world on the real engine: clients that die at every
 * step, servers that crash (process and power) at every write, starts that crash too.  Afterwards
 * there is no orphan: no point that no snapshot names, no snapshot without its point, no LUN number
 * kept for nothing; each set is in a legal state, and a committed one is whole or gone.  What was
 * answered holds.
 *
 *     set_world [SEED [CRASHES]]      CRASHES: at most so many crash places for each world
 * (default: all)
 */
#include <stdlib.h>

#include "base/attr.h"
#include "base/limits.h"
#include "base/text.h"
#include "tests/sim/set_check.h"

enum { STORY_MAX = 12, STARTS_MAX = 6 };

static uint64_t seed = 1;
static uint64_t places_max = 1000000;
static enum rt_flush_site ignored_site;

/* ---- Stories: what a client does ------------------------------------------------------------- */

struct act {
    const char *verb;
    const char *arguments; /* JSON */
};

struct story {
    const char *name;
    struct act acts[STORY_MAX];
};

static const struct story stories[] = {
    {"made_served_and_deleted",
     {{"set_prepare", "{\"name\":\"s\",\"disks\":[\"a\",\"b\"],\"host\":\"h\",\"lease_s\":60}"},
      {"set_arm", "{\"name\":\"s\"}"},
      {"set_commit", "{\"name\":\"s\"}"},
      {"set_confirm", "{\"name\":\"s\"}"},
      {"set_finish", "{\"name\":\"s\"}"},
      {"map_add", "{\"host\":\"h\",\"snapshot\":\"s-a\"}"},
      {"map_remove", "{\"host\":\"h\",\"lun\":1}"},
      {"set_delete", "{\"name\":\"s\",\"now\":true}"}}},
    {"aborted_after_the_cut",
     {{"set_prepare",
       "{\"name\":\"s\",\"disks\":[\"a\",\"b\",\"c\"],\"host\":\"h\",\"lease_s\":60}"},
      {"set_arm", "{\"name\":\"s\"}"},
      {"set_commit", "{\"name\":\"s\"}"},
      {"set_abort", "{\"name\":\"s\"}"}}},
    {"snapshot_branch_and_disks",
     {{"snapshot_create", "{\"name\":\"n\",\"disks\":[\"a\",\"b\"]}"},
      {"snapshot_branch", "{\"name\":\"n-a\",\"new_name\":\"w\"}"},
      {"disk_create", "{\"name\":\"d\",\"size\":\"4M\"}"},
      {"disk_delete", "{\"name\":\"w\",\"now\":true}"},
      {"snapshot_delete", "{\"name\":\"n-a\",\"now\":true}"},
      {"disk_delete", "{\"name\":\"b\",\"with_snapshots\":true,\"now\":true}"}}},
    {"reverted_trashed_and_restored",
     {{"snapshot_create", "{\"name\":\"n\",\"disks\":[\"a\",\"b\"]}"},
      {"disk_revert", "{\"name\":\"a\",\"to\":\"n\"}"},
      {"disk_undo", "{\"name\":\"a\"}"},
      {"snapshot_delete", "{\"name\":\"n-a\"}"},
      {"disk_delete", "{\"name\":\"b\",\"with_snapshots\":true}"},
      {"trash_restore", "{\"name\":\"b\"}"},
      {"trash_restore", "{\"name\":\"n-a\"}"},
      {"set_delete", "{\"name\":\"n\"}"},
      {"trash_empty", "{}"}}},
};

static bool act(struct rig *rig, const struct act *a)
{
    json_t *answer = rig_call(rig, a->verb, json_loads(a->arguments, 0, NULL));
    bool ok = answer != NULL;
    if (!ok && rig->status != STATUS_CANCELLED && sim_node_is_up(rig->node)) {
        printf("# %s: %s: %s\n", a->verb, status_info(rig->status)->name, rig->message);
    }
    json_decref(answer);
    return ok;
}

/* What was answered before the crash holds after it. */
static void check_answers(struct rig *rig, const char *where, const struct story *story,
                          unsigned answered)
{
    struct view view = look(rig);
    const json_t *live = view.sets ? set_called(&view, "s", true) : NULL;
    for (unsigned i = 0; view.sets && i < answered; i++) {
        const char *verb = story->acts[i].verb;
        bool last = i + 1 == answered;
        const char *state = live ? rig_text(live, "state") : "";
        if (strcmp(verb, "set_prepare") == 0 && last) MUST(live != NULL);
        if (strcmp(verb, "set_commit") == 0 && last && !strstr(story->name, "abort"))
            MUST(live != NULL);
        if (strcmp(verb, "set_commit") == 0 && live) MUST(strcmp(state, "prepared") != 0);
        if (strcmp(verb, "set_confirm") == 0 && last)
            MUST(!strcmp(state, "confirmed") || !strcmp(state, "created"));
        if (strcmp(verb, "set_finish") == 0 && last) MUST(!strcmp(state, "created"));
        if (strcmp(verb, "set_abort") == 0 || strcmp(verb, "set_delete") == 0) MUST(live == NULL);
        if (strcmp(verb, "map_add") == 0 && last) {
            /* the next act, unanswered, may have taken it away */
            MUST(live != NULL);
        }
    }
    look_away(&view);
}

/* Once every lease has ended nothing is left of sets that were being made, and their numbers are
 * free. */
static void check_after_leases(struct rig *rig, const char *where)
{
    sim_run_for(rig->sim, 1000 * RT_SECOND); /* snapshot_create leaves the default lease, 900 s */
    check_world(rig, where, false);
    struct view view = look(rig);
    size_t i;
    json_t *set;
    bool created = false;
    json_array_foreach(json_object_get(view.sets, "sets"), i, set)
    {
        const char *state = rig_text(set, "state");
        MUST(strcmp(state, "created") == 0 || strcmp(state, "aborted") == 0);
        created = created || strcmp(state, "created") == 0;
    }
    look_away(&view);
    json_t *next =
        rig_ok(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "next", "disks", "a", "host", "h");
    MUST(next != NULL);
    /* 1 to 3 were kept for members at most; a number that was never served is free at once. */
    if (!created) MUST(rig_number(next, "members.0.lun") <= 2);
    json_decref(next);
    MUST(rig_do(rig, "set_arm", "{s:s}", "name", "next"));
    MUST(rig_do(rig, "set_commit", "{s:s}", "name", "next"));
    MUST(rig_do(rig, "set_abort", "{s:s}", "name", "next"));
    check_world(rig, where, false);
}

/* ---- Worlds ---------------------------------------------------------------------------------- */

static struct rig *furnished(void)
{
    struct rig *rig = rig_create_seeded(RIG_REAL, seed);
    rig_furnish(rig);
    if (!rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.2026-11.x:h"))
        abort();
    return rig;
}

/* The client dies after so many acts: nobody renews, confirms or aborts any more. */
static void a_client_dies_at_every_step(const struct story *story)
{
    for (unsigned length = 0; length <= STORY_MAX && (length == 0 || story->acts[length - 1].verb);
         length++) {
        struct rig *rig = furnished();
        char where[100];
        snprintf(where, sizeof where, "%s, client dead after %u acts", story->name, length);
        for (unsigned i = 0; i < length; i++)
            MUST(act(rig, &story->acts[i]));
        check_world(rig, where, false);
        check_after_leases(rig, where);
        rig_destroy(rig);
    }
}

static uint64_t writes_of(const struct story *story)
{
    struct rig *rig = furnished();
    uint64_t before = sim_node_write_count(rig->node);
    for (unsigned i = 0; i < STORY_MAX && story->acts[i].verb; i++)
        act(rig, &story->acts[i]);
    uint64_t count = sim_node_write_count(rig->node) - before;
    rig_destroy(rig);
    return count;
}

/* Starts again until a start gets through; each but the last is crashed at a write of its own. */
static bool start_again(struct rig *rig, enum sim_crash kind, uint64_t place)
{
    for (unsigned i = 0; i < STARTS_MAX; i++) {
        rig_crash(rig, kind);
        bool crash_too = i < 2 && (place + i) % 3 == 0;
        if (crash_too) sim_node_crash_at_write(rig->node, 1 + (place * 7 + i * 13) % 40, kind);
        bool up = rig_boot(rig);
        sim_node_crash_at_write(rig->node, 0, kind);
        if (up) return true;
    }
    return false;
}

static void crash_at(const struct story *story, enum sim_crash kind, uint64_t place)
{
    struct rig *rig = furnished();
    char where[120];
    snprintf(where, sizeof where, "%s, %s crash at write %llu, seed %llu", story->name,
             kind == SIM_CRASH_POWER ? "power" : "process", (unsigned long long)place,
             (unsigned long long)seed);
    sim_node_ignore_flush(rig->node, ignored_site);
    sim_node_crash_at_write(rig->node, place, kind);
    unsigned answered = 0;
    while (answered < STORY_MAX && story->acts[answered].verb && act(rig, &story->acts[answered]))
        answered++;
    bool up = start_again(rig, kind, place);
    MUST(up);
    if (up) {
        check_world(rig, where, true);
        check_answers(rig, where, story, answered);
        check_after_leases(rig, where);
    }
    rig_destroy(rig);
}

static void a_server_crashes_at_every_write(const struct story *story, enum sim_crash kind)
{
    uint64_t writes = writes_of(story);
    uint64_t stride = writes > places_max ? (writes + places_max - 1) / places_max : 1;
    uint64_t done = 0;
    for (uint64_t place = 1; place <= writes + 1 && !set_check_failed; place += stride, done++) {
        crash_at(story, kind, place);
    }
    printf("# %s: %llu of %llu places\n", story->name, (unsigned long long)done,
           (unsigned long long)writes);
}

/* The proof that this suite sees anything: a flush that does nothing turns it red. */
static void a_flush_that_does_nothing_is_noticed(enum rt_flush_site site)
{
    char name[100];
    set_check_quiet = true;
    ignored_site = site;
    set_check_failed = false;
    for (unsigned i = 0; i < countof(stories) && !set_check_failed; i++) {
        uint64_t writes = writes_of(&stories[i]);
        for (uint64_t place = 1; place <= writes + 1 && !set_check_failed; place++) {
            crash_at(&stories[i], SIM_CRASH_POWER, place);
        }
    }
    ignored_site = RT_FLUSH_NONE;
    set_check_quiet = false;
    snprintf(name, sizeof name, "ignoring_the_flush_%s_is_noticed", rt_flush_site_name(site));
    tap_point(name, set_check_failed);
}

int main(int argc, char **argv)
{
    if (argc > 1) text_parse_u64(argv[1], &seed);
    if (argc > 2) text_parse_u64(argv[2], &places_max);
    for (unsigned i = 0; i < countof(stories); i++) {
        char name[120];
        set_check_failed = false;
        a_client_dies_at_every_step(&stories[i]);
        snprintf(name, sizeof name, "%s_and_the_client_dies_at_every_step", stories[i].name);
        tap_point(name, !set_check_failed);
        for (unsigned kind = SIM_CRASH_PROCESS; kind <= SIM_CRASH_POWER; kind++) {
            set_check_failed = false;
            a_server_crashes_at_every_write(&stories[i], (enum sim_crash)kind);
            snprintf(name, sizeof name, "%s_and_the_%s_at_every_write", stories[i].name,
                     kind == SIM_CRASH_POWER ? "power_fails" : "process_dies");
            tap_point(name, !set_check_failed);
        }
    }
    a_flush_that_does_nothing_is_noticed(RT_FLUSH_CATALOG);
    a_flush_that_does_nothing_is_noticed(RT_FLUSH_ADMIN);
    return tap_done();
}
