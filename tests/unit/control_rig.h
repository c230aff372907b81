/*
 * control_rig.h - a server's control plane in the simulated world, on the memory engine or on the
 * real one.
 *
 *     struct rig *rig = rig_create(RIG_MEMORY);
 *     json_t *disk = rig_ok(rig, "disk_create", "{s:s, s:s}", "name", "a", "size", "16M");   //
 * result, owned by caller expect_eq(rig_fails(rig, "disk_show", "{s:s}", "name", "b"),
 * STATUS_NOT_FOUND); rig_destroy(rig);
 */
#ifndef TARN_TESTS_CONTROL_RIG_H
#define TARN_TESTS_CONTROL_RIG_H

#include <jansson.h>

#include "control/control.h"
#include "tests/lib/tap.h"
#include "tests/sim/sim.h"

enum rig_engine { RIG_MEMORY, RIG_REAL };

struct rig {
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt;
    struct control *control;
    enum rig_engine engine;
    uint64_t lease_tick_ns;
    bool started;
    struct err *start_error;
    /* The last call: */
    enum status status;
    char message[400], next[400];
};

struct rig *rig_create(enum rig_engine engine);
struct rig *rig_create_seeded(enum rig_engine engine, uint64_t seed);
void rig_destroy(struct rig *rig);
bool rig_boot(struct rig *rig);                       /* false: crashed or failed while starting */
void rig_boot_begin(struct rig *rig);                 /* the two halves of rig_boot; */
bool rig_boot_end(struct rig *rig);                   /* between them nothing has run yet */
void rig_stop(struct rig *rig);                       /* orderly */
void rig_crash(struct rig *rig, enum sim_crash kind); /* and frees what was there */
bool rig_restart(struct rig *rig);
/* Moves the first bytes of a pool's file away, or back (one file at a time); the node is down. */
void rig_hide_pool(struct rig *rig, const char *path, bool hide);

/* NULL: it failed (status, message, next), or the node crashed (status CANCELLED). */
json_t *rig_call_as(struct rig *rig, enum control_role role, const char *verb, json_t *arguments,
                    const char *key);
json_t *rig_call_actor(struct rig *rig, const struct control_actor *actor, const char *verb,
                       json_t *arguments, const char *key);
json_t *rig_call(struct rig *rig, const char *verb, json_t *arguments); /* as administrator */
/* jansson's pack format; NULL = no arguments. */
json_t *rig_ok(struct rig *rig, const char *verb, const char *format, ...);
enum status rig_fails(struct rig *rig, const char *verb, const char *format, ...);
/* As rig_ok, and forgets the answer. */
bool rig_do(struct rig *rig, const char *verb, const char *format, ...);
/* Waits for the end of the job, ten times half a minute at most; prints what it is when it is not `state`. */
bool rig_job_ends(struct rig *rig, const char *id, const char *state);
/* What the engine of pool p has and the catalog does not know: points and disks. */
long long rig_unclaimed(struct rig *rig);
/* "pool" with a pool called p, disks a, b, c of 16 MiB. */
void rig_furnish(struct rig *rig);
const char *rig_text(const json_t *json, const char *path); /* "members.0.disk"; "" when absent */
long long rig_number(const json_t *json, const char *path); /* -1 when absent */
/* Of what the verb says of the object; otherwise it is told. */
bool rig_text_is(struct rig *rig, const char *verb, const char *name, const char *path,
                 const char *text);

#endif
