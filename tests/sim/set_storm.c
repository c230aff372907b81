/*
 * set_storm.c - many clients at once call verbs on the same few objects, in any order, while leases
 * end and the server crashes now and then (process and power, starts too).  Whenever it is at rest,
 * what set_check.h says holds; and no call ends with an internal error or not at all.
 *
 *     set_storm [SEED [WORLDS]]       a failing world prints its seed
 */
#include <stdlib.h>

#include "base/attr.h"
#include "base/limits.h"
#include "base/prng.h"
#include "base/text.h"
#include "tests/sim/set_check.h"

enum { CLIENTS = 6, ROUNDS = 6, CALLS_PER_ROUND = 60 };

struct storm;

struct client {
    struct storm *storm;
    struct control_call call;
    char verb[32];
    bool busy;
};

struct storm {
    struct rig *rig;
    struct prng prng;
    struct client clients[CLIENTS];
    unsigned calls_left, ok, refused;
    const char *where;
};

/* ---- What a client may want ------------------------------------------------------------------ */

static const char *pick(struct storm *storm, const char *const *names, unsigned count)
{
    return names[prng_below(&storm->prng, count)];
}

static const char *disk(struct storm *storm)
{
    static const char *const names[] = {"a", "b", "c", "w0", "w1"};
    return pick(storm, names, countof(names));
}

static const char *set(struct storm *storm)
{
    static const char *const names[] = {"s0", "s1", "s2"};
    return pick(storm, names, countof(names));
}

static const char *snapshot(struct storm *storm)
{
    static const char *const names[] = {"s0-a", "s1-b", "s2-c", "n0", "n1", "s0-b", "s1-a"};
    return pick(storm, names, countof(names));
}

static json_t *disks(struct storm *storm)
{
    static const char *const names[] = {"a", "b", "c"};
    json_t *array = json_array();
    uint64_t mask = 1 + prng_below(&storm->prng, 7);
    for (unsigned i = 0; i < 3; i++) {
        if (mask >> i & 1) json_array_append_new(array, json_string(names[i]));
    }
    return array;
}

static json_t *set_arguments(struct storm *storm, char verb[32])
{
    static const char *const verbs[] = {"set_arm",    "set_commit", "set_commit", "set_confirm",
                                        "set_finish", "set_finish", "set_abort",  "set_renew",
                                        "set_delete", "set_arm"};
    snprintf(verb, 32, "%s", pick(storm, verbs, countof(verbs)));
    return json_pack("{s:s}", "name", set(storm));
}

static json_t *disk_arguments(struct storm *storm, char verb[32])
{
    switch (prng_below(&storm->prng, 4)) {
    case 0:
        snprintf(verb, 32, "disk_create");
        return json_pack("{s:s, s:s}", "name", disk(storm), "size", "4M");
    case 1:
        snprintf(verb, 32, "disk_delete");
        return json_pack("{s:s, s:b, s:b}", "name", disk(storm), "with_snapshots",
                         (int)prng_below(&storm->prng, 2), "now", (int)prng_below(&storm->prng, 2));
    case 2:
        snprintf(verb, 32, "disk_grow");
        return json_pack("{s:s, s:I}", "name", disk(storm), "size",
                         (json_int_t)(4 + prng_below(&storm->prng, 8)) << 20);
    default:
        snprintf(verb, 32, "snapshot_branch");
        return json_pack("{s:s, s:s}", "name", snapshot(storm), "new_name",
                         prng_below(&storm->prng, 2) ? "w0" : "w1");
    }
}

/* Back and forth: reverts, and what comes out of the trash. */
static json_t *life_arguments(struct storm *storm, char verb[32])
{
    switch (prng_below(&storm->prng, 6)) {
    case 0:
    case 1:
        snprintf(verb, 32, "disk_revert");
        return json_pack("{s:s, s:s, s:b}", "name", disk(storm), "to", snapshot(storm), "force", 1);
    case 2:
        snprintf(verb, 32, "disk_undo");
        return json_pack("{s:s, s:b}", "name", disk(storm), "force", 1);
    case 3:
        snprintf(verb, 32, "trash_restore");
        return json_pack("{s:s}", "name", disk(storm));
    case 4:
        snprintf(verb, 32, "trash_restore");
        return json_pack("{s:s}", "name", snapshot(storm));
    default:
        snprintf(verb, 32, "trash_empty");
        return json_object();
    }
}

static json_t *map_arguments(struct storm *storm, char verb[32])
{
    switch (prng_below(&storm->prng, 5)) {
    case 0:
        snprintf(verb, 32, "host_create");
        return json_pack("{s:s, s:[s]}", "name", "h", "initiators", "iqn.a");
    case 1:
        snprintf(verb, 32, prng_below(&storm->prng, 4) ? "map_list" : "host_delete");
        return strcmp(verb, "map_list") == 0 ? json_object() : json_pack("{s:s}", "name", "h");
    case 2:
        snprintf(verb, 32, "map_remove");
        return json_pack("{s:s, s:i}", "host", "h", "lun", (int)(1 + prng_below(&storm->prng, 8)));
    case 3:
        snprintf(verb, 32, "map_add");
        return json_pack("{s:s, s:s}", "host", "h", "disk", disk(storm));
    default:
        snprintf(verb, 32, "map_add");
        return json_pack("{s:s, s:s}", "host", "h", "snapshot", snapshot(storm));
    }
}

static json_t *random_arguments(struct storm *storm, char verb[32])
{
    switch (prng_below(&storm->prng, 12)) {
    case 0:
    case 1:
        snprintf(verb, 32, "set_prepare");
        return json_pack("{s:s, s:o, s:i, s:s*}", "name", set(storm), "disks", disks(storm),
                         "lease_s", (int)(1 + prng_below(&storm->prng, 5)), "host",
                         prng_below(&storm->prng, 2) ? "h" : NULL);
    case 2:
        snprintf(verb, 32, "snapshot_create");
        return json_pack("{s:s, s:[s]}", "name", prng_below(&storm->prng, 2) ? "n0" : "n1", "disks",
                         disk(storm));
    case 3:
        snprintf(verb, 32, "snapshot_delete");
        return json_pack("{s:s, s:b}", "name", snapshot(storm), "now",
                         (int)prng_below(&storm->prng, 2));
    case 4:
        return disk_arguments(storm, verb);
    case 5:
        return map_arguments(storm, verb);
    case 6:
    case 7:
        return life_arguments(storm, verb);
    default:
        return set_arguments(storm, verb);
    }
}

/* ---- Calling --------------------------------------------------------------------------------- */

static void next_call(struct client *client);

static void on_done(struct control_call *call)
{
    struct client *client = call->arg;
    struct storm *storm = client->storm;
    const char *where = storm->where;
    if (call->error) {
        storm->refused++;
        enum status status = err_status(call->error);
        if (status == STATUS_INTERNAL || status == STATUS_OS_ERROR) {
            char text[300];
            printf("# %s: %s: %s\n", where, client->verb, err_text(call->error, text, sizeof text));
        }
        /* After the crash write blocking calls fail until the node is frozen. */
        MUST(status != STATUS_INTERNAL);
    } else {
        storm->ok++;
    }
    err_free(call->error);
    json_decref(call->result);
    json_decref(call->arguments);
    client->busy = false;
    next_call(client);
}

static void next_call(struct client *client)
{
    struct storm *storm = client->storm;
    if (storm->calls_left == 0) return;
    storm->calls_left--;
    memset(&client->call, 0, sizeof client->call);
    client->call.arguments = random_arguments(storm, client->verb);
    client->call.verb = client->verb;
    client->call.actor.role = CONTROL_ROLE_ADMIN;
    snprintf(client->call.actor.name, sizeof client->call.actor.name, "storm");
    client->call.done = on_done;
    client->call.arg = client;
    client->busy = true;
    control_submit(storm->rig->control, &client->call);
}

static bool at_rest(void *arg)
{
    struct storm *storm = arg;
    if (!sim_node_is_up(storm->rig->node)) return true;
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (storm->clients[i].busy) return false;
    }
    return true;
}

static void forget_calls(struct storm *storm)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &storm->clients[i];
        if (client->busy) json_decref(client->call.arguments);
        client->busy = false;
    }
}

static void start_again(struct storm *storm, enum sim_crash kind)
{
    const char *where = storm->where;
    bool up = false;
    for (unsigned i = 0; i < 5 && !up; i++) {
        rig_crash(storm->rig, kind);
        forget_calls(storm);
        if (i < 2 && prng_chance(&storm->prng, 1, 3)) {
            sim_node_crash_at_write(storm->rig->node, 1 + prng_below(&storm->prng, 60), kind);
        }
        up = rig_boot(storm->rig);
        sim_node_crash_at_write(storm->rig->node, 0, kind);
    }
    MUST(up);
    check_world(storm->rig, where, true);
}

static void one_round(struct storm *storm)
{
    const char *where = storm->where;
    enum sim_crash kind = prng_chance(&storm->prng, 1, 2) ? SIM_CRASH_POWER : SIM_CRASH_PROCESS;
    bool crash = prng_chance(&storm->prng, 1, 2);
    if (crash) sim_node_crash_at_write(storm->rig->node, 1 + prng_below(&storm->prng, 600), kind);
    storm->calls_left = CALLS_PER_ROUND;
    for (unsigned i = 0; i < CLIENTS; i++)
        next_call(&storm->clients[i]);
    MUST(sim_run_until(storm->rig->sim, at_rest, storm, 600 * RT_SECOND)); /* every call ends */
    if (!sim_node_is_up(storm->rig->node)) {
        start_again(storm, kind);
        return;
    }
    sim_node_crash_at_write(storm->rig->node, 0, kind);
    sim_run_for(storm->rig->sim, prng_below(&storm->prng, 12) * RT_SECOND); /* leases end */
    check_world(storm->rig, where, false);
}

static void one_world(uint64_t seed, unsigned *ok, unsigned *refused)
{
    struct storm storm = {.rig = rig_create_seeded(RIG_REAL, seed)};
    char where[40];
    snprintf(where, sizeof where, "seed %llu", (unsigned long long)seed);
    storm.where = where;
    prng_init(&storm.prng, seed);
    for (unsigned i = 0; i < CLIENTS; i++)
        storm.clients[i].storm = &storm;
    rig_furnish(storm.rig);
    MUST(rig_do(storm.rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    for (unsigned i = 0; i < ROUNDS && !set_check_failed; i++)
        one_round(&storm);
    if (!set_check_failed) {
        sim_run_for(storm.rig->sim, 1000 * RT_SECOND);
        check_world(storm.rig, where, false);
    }
    *ok += storm.ok;
    *refused += storm.refused;
    rig_destroy(storm.rig);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, worlds = 60;
    unsigned ok = 0, refused = 0;
    if (argc > 1) text_parse_u64(argv[1], &seed);
    if (argc > 2) text_parse_u64(argv[2], &worlds);
    for (uint64_t i = 0; i < worlds && !set_check_failed; i++)
        one_world(seed + i, &ok, &refused);
    printf("# %u calls did something, %u were refused\n", ok, refused);
    tap_point("clients_at_once_and_crashes_leave_the_server_sound", !set_check_failed);
    tap_point("enough_calls_did_something", ok > 10 * worlds);
    return tap_done();
}
