/*
 * catalog.h - what exists and how it is called: one SQLite database in the state directory.
 *
 * Words: a ROW is one object as stored.  A TRANSACTION is one function given to catalog_transact:
 * all of its changes and its audit record are durable together, or none is.  The engine is the
 * truth for points; the catalog only names them.
 *
 *     static struct err *write_disk(struct catalog *catalog, void *arg) { return
 * catalog_put_disk(catalog, arg); } TRY(catalog_transact(catalog, write_disk, &row, &audit));
 *
 * Threads: ON_WORKER (one serial worker) throughout; catalog_close also after the worker has gone.
 * Ownership: rows are the caller's and copied.  Failures: struct err *; a broken constraint is
 * EXISTS or CONFLICT and changes nothing.  A transaction answers when it is on stable storage
 * (synchronous=FULL). Secrets of hosts are sealed under a key file beside the database (secret.c).
 */
#ifndef TARN_CATALOG_CATALOG_H
#define TARN_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "rt/rt.h"

enum {
    CATALOG_NAME_SIZE = LIMIT_NAME_BYTES + 1,
    CATALOG_PATH_SIZE = 1024,
    CATALOG_SECRET_SIZE = 256,
    CATALOG_INITIATOR_SIZE = 224, /* RFC 7143 4.2.7.1: 223 bytes */
    CATALOG_INITIATORS_MAX = 16,  /* per host */
    CATALOG_NAA_BYTES = 8,
    CATALOG_WARN_PERCENT = 90,
    CATALOG_CHAIN_BYTES = 32, /* SHA-256 */
    CATALOG_CAUSE_SIZE = LIMIT_NAME_BYTES + 64,
};

enum catalog_state { CATALOG_CREATING, CATALOG_READY, CATALOG_DELETING, CATALOG_TRASHED };
enum catalog_kind { CATALOG_DISK, CATALOG_SNAPSHOT };
enum catalog_set_state {
    SET_PREPARED,
    SET_ARMED,
    SET_COMMITTED,
    SET_CONFIRMED,
    SET_CREATED,
    SET_ABORTED,
    SET_DELETING,
    SET_TRASHED,
    SET_BREAKING, /* its snapshots become disks of their own */
    SET_BROKEN,   /* they are; the row is history */
    SET_STATE_COUNT
};
enum catalog_job_state { JOB_RUNNING, JOB_PAUSED, JOB_DONE, JOB_FAILED, JOB_STATE_COUNT };
enum catalog_os { OS_WINDOWS, OS_LINUX, OS_VMWARE, OS_OTHER, OS_COUNT };
enum catalog_import_state { IMPORT_IMPORTED, IMPORT_MASKED, IMPORT_STATE_COUNT };

const char *catalog_state_name(enum catalog_state state);
const char *catalog_kind_name(enum catalog_kind kind);
const char *catalog_set_state_name(enum catalog_set_state state);
const char *catalog_job_state_name(enum catalog_job_state state);
const char *catalog_os_name(enum catalog_os os);
const char *catalog_import_state_name(enum catalog_import_state state);

struct catalog_pool {
    struct uuid uuid;
    char name[CATALOG_NAME_SIZE];
    char path[CATALOG_PATH_SIZE];
    enum catalog_state state;
    unsigned warn_percent; /* so much used is nearly full */
    uint64_t created_ns;
};

struct catalog_disk {
    struct uuid uuid, pool;
    char name[CATALOG_NAME_SIZE];
    enum catalog_state state;
    uint64_t size_bytes;
    uint8_t naa[CATALOG_NAA_BYTES];
    struct uuid parent_point; /* nil unless a branch */
    uint64_t created_ns;
    uint64_t trashed_ns, expires_ns; /* in the trash since, and until by the server's own clock */
};

struct catalog_host {
    struct uuid uuid;
    char name[CATALOG_NAME_SIZE];
    enum catalog_os os;
    char auth[8]; /* none, chap, mutual */
    char chap_user[CATALOG_NAME_SIZE], chap_secret[CATALOG_SECRET_SIZE];
    char mutual_user[CATALOG_NAME_SIZE], mutual_secret[CATALOG_SECRET_SIZE];
    unsigned initiator_count;
    char initiators[CATALOG_INITIATORS_MAX][CATALOG_INITIATOR_SIZE];
    uint64_t created_ns;
};

struct catalog_map {
    struct uuid host;
    unsigned lun;
    enum catalog_kind kind;
    struct uuid object;
    bool read_only;
    bool keep_vss_flags; /* of a snapshot cut through VSS: shows the point, not the view */
    uint64_t created_ns;
};

/* A registration of a persistent reservation that outlives a restart. */
struct catalog_registration {
    struct uuid object;
    char initiator[CATALOG_INITIATOR_SIZE];
    uint8_t isid[6];
    uint16_t port; /* relative target port */
    uint64_t key;
    uint8_t holds; /* type of the reservation; 0 = none */
};

/* A LUN number that was given back. */
struct catalog_slot {
    struct uuid host;
    unsigned lun;
    struct uuid object;      /* who had it last */
    uint64_t freed_sequence; /* set by catalog_free_slot */
    uint64_t freed_ns;
};

struct catalog_set {
    struct uuid uuid, pool;
    char name[CATALOG_NAME_SIZE];
    enum catalog_set_state state;
    struct uuid host; /* nil = none */
    uint64_t lease_s;
    uint64_t generation, cut_ns, commit_ns; /* 0 before the cut */
    bool application_consistent;
    char created_by[64];
    uint64_t created_ns;
    bool is_volatile, transportable, vss, wants_full; /* what the requester asked for */
};

struct catalog_import {
    struct uuid set, host;
    enum catalog_import_state state;
    uint64_t at_ns;
};

struct catalog_event {
    struct uuid set;
    unsigned sequence; /* 0 = prepared */
    enum catalog_set_state state;
    uint64_t at_ns;
};

enum catalog_snapshot_state {
    SNAPSHOT_PENDING,
    SNAPSHOT_READY,
    SNAPSHOT_DELETING,
    SNAPSHOT_TRASHED
};
const char *catalog_snapshot_state_name(enum catalog_snapshot_state state);

struct catalog_snapshot {
    struct uuid uuid, set, disk;
    char name[CATALOG_NAME_SIZE];
    enum catalog_snapshot_state state;
    uint64_t size_bytes;
    uint8_t naa[CATALOG_NAA_BYTES];
    int lun;           /* kept for the set's host; -1 = none */
    unsigned position; /* within the set */
    struct uuid point; /* of the engine; at first the same as uuid */
    struct uuid other_point;         /* nil, or the next or last one while it is updated */
    struct uuid view; /* nil, or the branch that hosts but Windows see; catalog_put_snapshot leaves it alone */
    uint64_t trashed_ns, expires_ns; /* as of disks */
    uint64_t retain_until_ns;        /* on the server's own clock; only grows */
    bool has_sha256;
    uint8_t sha256[CATALOG_CHAIN_BYTES];
    uint64_t verified_ns;
    bool is_full;      /* promoted: its private branch reads nothing from the disk any more */
    bool branch_used;  /* the private branch was served to a host: its content counts */
};

/* What a disk was before a revert or replace; a row of a point of kind undo. */
struct catalog_undo {
    struct uuid uuid, disk;
    char name[CATALOG_NAME_SIZE];
    enum catalog_snapshot_state state;
    char cause[CATALOG_CAUSE_SIZE];
    uint64_t size_bytes;
    uint64_t made_ns;
    uint64_t expires_ns; /* on the server's own clock */
};

enum catalog_level { LEVEL_INFO, LEVEL_WARNING, LEVEL_ALERT, LEVEL_COUNT };
const char *catalog_level_name(enum catalog_level level);

/* What the server did by itself, or is about to do. */
struct catalog_notice {
    uint64_t sequence; /* given by the catalog */
    uint64_t at_ns;
    enum catalog_level level;
    const char *kind, *object, *text;
};

/* How the server treats what is deleted, and what it keeps free. */
struct catalog_settings {
    uint64_t trash_s;
    uint64_t remove_stale_s; /* volatile sets whose hosts are away so long are removed; 0 = never */
    uint64_t recovery_bytes; /* most that is kept free for writers, per disk of a Windows set */
};

/* The clock that retention and expiry run on. */
struct catalog_clock {
    uint64_t now_ns, slack_ns;
};

struct catalog_token {
    struct uuid uuid;
    char name[64];
    char role[24]; /* administrator, backup-operator, viewer */
    uint8_t hash[32];
    uint64_t created_ns;
};

struct catalog_job {
    struct uuid uuid;
    char verb[32];
    char object[CATALOG_NAME_SIZE];
    enum catalog_job_state state;
    uint64_t started_ns, finished_ns;
    const char *answer; /* JSON; "" while running */
    const char *work;   /* JSON: what to begin again after a restart; "" = nothing */
};

struct catalog_audit {
    uint64_t at_ns;
    const char *actor, *verb, *arguments, *result;
};

struct catalog_idempotency {
    const char *key, *actor, *request; /* request: verb and arguments */
    const char *status, *answer;
    uint64_t at_ns;
};

struct catalog;

/* Opens or makes DIRECTORY/catalog.db and DIRECTORY/secret.key. */
ON_WORKER struct err *catalog_open(struct rt *rt, const char *directory,
                                   struct catalog **ret_catalog) MUST_CHECK;
void catalog_close(struct catalog *catalog); /* accepts NULL */
struct uuid catalog_server_uuid(const struct catalog *catalog);

/* One call for each row, in an order in which references are known.  A callback's error ends the
 * load. */
struct catalog_reader {
    struct err *(*pool)(void *arg, const struct catalog_pool *row);
    struct err *(*disk)(void *arg, const struct catalog_disk *row);
    struct err *(*host)(void *arg, const struct catalog_host *row);
    struct err *(*set)(void *arg, const struct catalog_set *row);
    struct err *(*event)(void *arg, const struct catalog_event *row);
    struct err *(*snapshot)(void *arg, const struct catalog_snapshot *row);
    struct err *(*undo)(void *arg, const struct catalog_undo *row);
    struct err *(*clock)(void *arg, const struct catalog_clock *row);
    struct err *(*settings)(void *arg, const struct catalog_settings *row);
    struct err *(*map)(void *arg, const struct catalog_map *row);
    struct err *(*slot)(void *arg, const struct catalog_slot *row);
    struct err *(*token)(void *arg, const struct catalog_token *row);
    struct err *(*job)(void *arg, const struct catalog_job *row);
    struct err *(*import)(void *arg, const struct catalog_import *row);
    struct err *(*registration)(void *arg, const struct catalog_registration *row); /* or NULL */
};
ON_WORKER struct err *catalog_load(struct catalog *catalog, const struct catalog_reader *reader,
                                   void *arg) MUST_CHECK;

/* Runs fn (may be NULL) and, if audit is not NULL, appends the audit record, as one transaction. */
typedef struct err *catalog_fn(struct catalog *catalog, void *arg);
ON_WORKER struct err *catalog_transact(struct catalog *catalog, catalog_fn *fn, void *arg,
                                       const struct catalog_audit *audit) MUST_CHECK;

/* ---- Within a transaction.  put inserts or updates by key. ----------------------------------- */

struct err *catalog_put_pool(struct catalog *catalog, const struct catalog_pool *row) MUST_CHECK;
struct err *catalog_put_disk(struct catalog *catalog, const struct catalog_disk *row) MUST_CHECK;
struct err *catalog_put_host(struct catalog *catalog, const struct catalog_host *row) MUST_CHECK;
struct err *catalog_put_set(struct catalog *catalog, const struct catalog_set *row) MUST_CHECK;
/* In the place of all that the object had. */
struct err *catalog_put_registrations(struct catalog *catalog, const struct uuid *object,
                                      const struct catalog_registration *rows,
                                      unsigned count) MUST_CHECK;
struct err *catalog_put_snapshot_view(struct catalog *catalog, const struct uuid *snapshot,
                                      const struct uuid *view) MUST_CHECK;
struct err *catalog_put_snapshot(struct catalog *catalog,
                                 const struct catalog_snapshot *row) MUST_CHECK;
struct err *catalog_put_undo(struct catalog *catalog, const struct catalog_undo *row) MUST_CHECK;
struct err *catalog_put_clock(struct catalog *catalog, const struct catalog_clock *row) MUST_CHECK;
struct err *catalog_put_settings(struct catalog *catalog,
                                 const struct catalog_settings *row) MUST_CHECK;
struct err *catalog_add_notice(struct catalog *catalog,
                               const struct catalog_notice *row) MUST_CHECK;
/* The newest `limit`, newest first. */
struct err *catalog_notices(struct catalog *catalog, uint64_t limit,
                            void (*fn)(void *arg, const struct catalog_notice *row),
                            void *arg) MUST_CHECK;
struct err *catalog_put_token(struct catalog *catalog, const struct catalog_token *row) MUST_CHECK;
struct err *catalog_put_job(struct catalog *catalog, const struct catalog_job *row) MUST_CHECK;
struct err *catalog_add_event(struct catalog *catalog, const struct catalog_event *row) MUST_CHECK;
struct err *catalog_put_import(struct catalog *catalog,
                               const struct catalog_import *row) MUST_CHECK;
struct err *catalog_add_map(struct catalog *catalog, const struct catalog_map *row) MUST_CHECK;
/* The private branch of a snapshot became the disk of the same id: so do its maps. */
struct err *catalog_maps_become_disk(struct catalog *catalog, const struct uuid *object,
                                     bool writable) MUST_CHECK;
/* Takes the map away and remembers the number as freed; sets slot->freed_sequence. */
struct err *catalog_remove_map(struct catalog *catalog, struct catalog_slot *slot) MUST_CHECK;

struct err *catalog_delete_pool(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;
struct err *catalog_delete_disk(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;
struct err *catalog_delete_host(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;
struct err *catalog_delete_set(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;
struct err *catalog_delete_snapshot(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;
struct err *catalog_delete_undo(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;
struct err *catalog_delete_token(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;
struct err *catalog_delete_job(struct catalog *catalog, const struct uuid *uuid) MUST_CHECK;

/* Draws an identity for an object (serial = its uuid in hex) that was never issued before, and
 * records it for ever. */
struct err *catalog_issue_identity(struct catalog *catalog, const struct uuid *object,
                                   uint64_t now_ns, uint8_t ret_naa[CATALOG_NAA_BYTES]) MUST_CHECK;

/* *ret_answer (and *ret_request, *ret_status) are malloc'ed, NULL when the key is unknown or older
 * than 24 h. */
struct err *catalog_find_idempotency(struct catalog *catalog, const char *key, const char *actor,
                                     uint64_t now_ns, char **ret_request, char **ret_status,
                                     char **ret_answer) MUST_CHECK;
struct err *catalog_put_idempotency(struct catalog *catalog,
                                    const struct catalog_idempotency *row) MUST_CHECK;

/* ---- The audit (audit.c): rows are appended by catalog_transact ---- */

struct catalog_audit_query {
    uint64_t before; /* sequence; newest first from there */
    unsigned limit;
    const char *actor, *verb; /* NULL: any */
};
typedef void catalog_audit_fn(void *arg, uint64_t sequence, const struct catalog_audit *row);
struct err *catalog_audit_list(struct catalog *catalog, const struct catalog_audit_query *query,
                               catalog_audit_fn *fn, void *arg) MUST_CHECK;
struct err *catalog_audit_head(struct catalog *catalog, uint64_t *ret_sequence,
                               uint8_t ret_chain[CATALOG_CHAIN_BYTES]) MUST_CHECK;

/* A verification goes on in steps; begin with zeroes and, to compare a head that was noted
 * elsewhere, its sequence and chain.  It is over when `ended`. */
struct catalog_audit_check {
    uint64_t noted_sequence;
    uint8_t noted_chain[CATALOG_CHAIN_BYTES];
    bool begun, ended, is_broken;
    uint64_t sequence; /* of the last good record */
    uint8_t chain[CATALOG_CHAIN_BYTES];
    uint64_t broken_sequence;
    char reason[100];
};
struct err *catalog_audit_verify(struct catalog *catalog, struct catalog_audit_check *check,
                                 unsigned rows) MUST_CHECK;

/* For tests: rows of a table. */
struct err *catalog_count(struct catalog *catalog, const char *table,
                          uint64_t *ret_count) MUST_CHECK;

#endif
