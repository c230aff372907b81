/*
 * control.h - what people and programs ask of the server: verbs on pools, disks, hosts, maps, sets,
 * snapshots, jobs and tokens; the catalog behind them; who may do what.
 *
 * Words: a VERB is a row of verbs.def.  A CALL is one request with an ACTOR (who) and JSON arguments.  The
 * catalog (SQLite) says what exists and how it is called; the engine is the truth for points (a point
 * exists if and only if its set is committed).
 *
 *     struct control *control;
 *     control_create(rt, &options, &control);  control_start(control, started, arg);
 *     call->verb = "disk_create"; call->arguments = json; call->done = answered;
 *     control_submit(control, call);
 *
 * Threads: ON_LOOP; each catalog step is one transaction in one function on one serial worker.  http.c is a
 * thin adapter: it authenticates, posts a call to the loop and turns its end into an answer.  The simulator
 * submits calls directly.
 * Ownership: a call is the caller's, in use until done; result and error belong to the caller afterwards.
 * Failures: struct err with a status of base/status.def (HTTP code, exit code) and, where known, what to do next.
 */
#ifndef TARN_CONTROL_CONTROL_H
#define TARN_CONTROL_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/signed_request.h"
#include "rt/rt.h"
#include "scsi/scsi.h"

/* The first four in order of power; a HOST has rights of another kind (access.c). */
enum control_role {
    CONTROL_ROLE_NONE,
    CONTROL_ROLE_VIEWER,
    CONTROL_ROLE_OPERATOR,
    CONTROL_ROLE_ADMIN,
    CONTROL_ROLE_HOST,
    CONTROL_ROLE_COUNT
};
enum { CONTROL_ACTOR_SIZE = LIMIT_NAME_BYTES + 8 };
const char *control_role_name(enum control_role role); /* "backup-operator" */

/* How pools are made and opened; tests put another engine in.  As volume_pool_create and volume_pool_open. */
struct control_engine {
    void (*pool_create)(struct rt *rt, const char *path, uint64_t size_bytes, const struct uuid *pool,
                        const struct volume_pool_options *options, bool overwrite,
                        void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
                        volume_done_fn *done, void *arg);
    void (*pool_open)(struct rt *rt, const char *path, const struct volume_pool_options *options,
                      struct volume_pool **ret_pool, volume_done_fn *done, void *arg);
};

struct control_options {
    const char *state_directory;  /* catalog.db, admin.token, key files */
    const struct control_engine *engine; /* NULL = volume.h's own */
    uint64_t cache_bytes;         /* per pool; 0 = default */
    uint64_t lease_tick_ns;       /* 0 = 1 s; tests pass less */
    /* Facts for `server show`; strings stay the caller's. */
    const char *server_name, *version, *target_name;
};

struct control;
struct err *control_create(struct rt *rt, const struct control_options *options,
                           struct control **ret_control) MUST_CHECK;
/* Opens the catalog (makes it when there is none), opens pools, reconciles sets with points, serves maps.  Waits for
 * pools that another process holds, 30 s at most; control_stop ends that (CANCELLED). */
void control_start(struct control *control, void (*started)(void *arg, struct err *e), void *arg);
/* Ends jobs, closes pools with a checkpoint.  No session may be left. */
void control_stop(struct control *control, void (*stopped)(void *arg), void *arg);
void control_destroy(struct control *control); /* after stop; or without it: abandons (simulated crash) */

struct control_actor {
    char name[CONTROL_ACTOR_SIZE]; /* token name, or "host:" and the host's, for the audit */
    enum control_role role;
    struct uuid host;            /* of the role HOST */
};

struct control_call {
    const char *verb;            /* id of verbs.def */
    struct control_actor actor;
    json_t *arguments;           /* object; path parameters under "name" ("host" and "lun" for maps) */
    char idempotency_key[64];    /* "" = none */
    void (*done)(struct control_call *call);
    void *arg;
    /* The answer: */
    json_t *result;              /* NULL on failure */
    struct err *error;
    struct rt_message message;   /* private */
    void *private_;
};
void control_submit(struct control *control, struct control_call *call);

struct control_signed {
    struct signed_request request;
    char body_hash[SIGNED_HASH_SIZE]; /* SHA-256 of the body inside */
};

/* Checks a bearer token or a signed request (used while `done` has not been called); answers ON_LOOP
 * through done.  STATUS_UNAUTHENTICATED when it is unknown, NONCE_STALE, REPLAYED. */
struct control_login {
    char token[128];
    const struct control_signed *signed_request; /* NULL: the token */
    bool nonce_only;                             /* asks for nothing but a nonce */
    char nonce[SIGNED_NONCE_SIZE];               /* answer: a new one, unless a token was given */
    struct control_actor actor;
    enum status status;
    void (*done)(struct control_login *login);
    void *arg;
    struct rt_work work;         /* private */
    struct rt_message message;   /* private */
    void *private_;
};
void control_authenticate(struct control *control, struct control_login *login);

/* A host exchanges its one-time secret for a credential; neither travels (0070-host-requests.md). */
struct control_enrol {
    char enrolment[SIGNED_ID_SIZE], client_nonce[SIGNED_NONCE_SIZE], proof[SIGNED_HASH_SIZE];
    void (*done)(struct control_enrol *enrol);
    void *arg;
    /* The answer: */
    struct err *error;           /* the caller's */
    char credential[SIGNED_ID_SIZE], server_nonce[SIGNED_NONCE_SIZE], confirm[SIGNED_HASH_SIZE];
    char host[LIMIT_NAME_BYTES + 1];
    struct rt_message message;   /* private */
    void *private_;
};
void control_redeem(struct control *control, struct control_enrol *enrol);

/* What an enrolment code says of this server: pins of its TLS key (and of the next one), and where
 * its API listens ("" = everywhere, then an administrator has to say). */
void control_set_api(struct control *control, const char *const *pins, unsigned pin_count,
                     const char *address);

/* ---- For the iSCSI target (tarnd connects the two) ------------------------------------------- */

enum control_auth { CONTROL_AUTH_NONE, CONTROL_AUTH_CHAP, CONTROL_AUTH_MUTUAL };
struct control_host_access {
    struct scsi_map *map;
    void *host;
    enum control_auth auth;
    const char *chap_user, *chap_secret, *mutual_user, *mutual_secret;
};
/* STATUS_NOT_FOUND when no host has this initiator. */
enum status control_find_initiator(struct control *control, const char *initiator_name,
                                   struct control_host_access *ret_access);
void control_session_changed(struct control *control, void *host, const char *initiator_name, bool up);
/* How control asks the target to end a host's sessions before the host goes; set by tarnd. */
struct control_target_ops {
    void (*drop_host)(void *arg, void *host, void (*done)(void *done_arg), void *done_arg);
    const char *(*portal_address)(void *arg, unsigned index); /* NULL past the end */
};
void control_set_target(struct control *control, const struct control_target_ops *ops, void *arg);
/* Known once started: the id that the default target name is made of. */
struct uuid control_server_uuid(const struct control *control);
void control_set_target_name(struct control *control, const char *target_name);

/* Prometheus text; malloc'ed.  ON_LOOP. */
char *control_metrics(struct control *control);
/* {"status","message","causes","next"} of a failure, for answers. */
json_t *control_failure_json(const struct err *e);

#endif
