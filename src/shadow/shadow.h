/*
 * shadow.h - the Linux requester: quiesces applications and file systems of this machine, has the
 * server cut all their disks at one instant, lets everything go on, and says whether the quiet
 * held.
 *
 * Words: a MOUNT is a mount point and the disk that holds it; a WRITER is a program that quiesces
 * an application (doc/writers.md); the HOLD is the time between the first freeze and the last thaw;
 * the WATCHDOG is a process of its own that thaws when the hold is too long or we are gone.
 *
 *     struct shadow_options options = {.mounts = mounts, .mount_count = 2, .server = &server};
 *     struct shadow_report report = {0};
 *     struct err *e = shadow_create(&options, &report);
 *
 * Order of one copy: look at the mounts; server prepare; writers prepare; sync; writers freeze;
 * arm; freeze, inner file systems first; commit; thaw in reverse; writers thaw; confirm; finish.
 * The thaw's return value is the only proof that the hold held: if one fails, the set is aborted
 * and nothing is left.
 *
 * Threads: one caller; one helper thread freezes, because that can block.
 * Ownership: options stay the caller's; the report is filled also on failure (shadow_report_fini).
 * Failures: whatever fails, nothing stays frozen and the set is aborted, by us or by its lease;
 * that is also so when this process is killed at any point. Limits: 64 file systems, 16 writers, a
 * hold of at most 10 s.
 */
#ifndef TARN_SHADOW_SHADOW_H
#define TARN_SHADOW_SHADOW_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct client;

enum {
    SHADOW_MOUNTS_MAX = 64,
    SHADOW_WRITERS_MAX = 16,
    SHADOW_PHASES_MAX = 16,
    SHADOW_HOLD_DEFAULT_MS = 8000,
    SHADOW_HOLD_MAX_MS = 10000,
};

struct shadow_mount {
    const char *mount, *disk;
};

struct shadow_request {
    const char *const *disks;
    unsigned disk_count;
    const char *name, *host; /* host may be NULL */
    unsigned lease_s;
};

/* What the requester asks of the server; the real one is shadow_server_open. */
struct shadow_server_ops {
    /* Answers the set as JSON, the caller's. */
    struct err *(*prepare)(void *arg, const struct shadow_request *request, json_t **ret_set);
    /* "renew", "confirm", "finish", "abort" of the prepared set; ret_set may be NULL. */
    struct err *(*step)(void *arg, const char *verb, json_t **ret_set);
    /* Arms, and makes the commit ready: after this, commit allocates nothing of ours. */
    struct err *(*arm)(void *arg, unsigned armed_ms, unsigned commit_timeout_ms);
    /* Called while file systems are frozen. */
    bool (*commit)(void *arg, bool *ret_connection_reused);
    /* Why the commit failed, or NULL; called after the thaw. */
    struct err *(*outcome)(void *arg, json_t **ret_set);
};

struct shadow_server {
    const struct shadow_server_ops *ops;
    void *arg;
};

/* The control API over a client (borrowed).  The set's id is remembered inside. */
struct shadow_api;
struct err *shadow_server_open(struct client *client, struct shadow_api **ret_api,
                               struct shadow_server *ret_server) MUST_CHECK;
void shadow_server_close(struct shadow_api *api);

/* The two calls that a test may want to answer itself; NULL = FIFREEZE and FITHAW.  They return 0
 * or errno. */
struct freeze_ops {
    int (*freeze)(int fd);
    int (*thaw)(int fd);
};

struct shadow_options {
    const struct shadow_mount *mounts;
    unsigned mount_count;
    const char *name;           /* NULL: shadow-TIME */
    const char *host;           /* for whom, or NULL: LUN numbers are kept for it */
    const char *const *writers; /* "postgresql:DSN", "/path/of/program:ARGUMENT" */
    unsigned writer_count;
    const char *writers_directory; /* NULL: $TARN_WRITERS, then where they were installed */
    unsigned hold_ms;              /* 0 = default */
    bool no_freeze, allow_crash_consistent;
    const struct shadow_server *server;
    const struct freeze_ops *freeze_ops;
    const char *sysroot; /* "" = this machine; tests have a tree of their own */
    FILE *progress;      /* or NULL; never written to while anything is frozen */
    const volatile sig_atomic_t
        *interrupted; /* or NULL: set by a signal handler, asks to give up */
};

struct shadow_phase {
    const char *name;
    uint64_t ns;
};

struct shadow_member {
    char mount[256], fs_type[32];
    bool is_frozen; /* it was, and the thaw proved it */
    uint64_t frozen_ns;
};

struct shadow_report {
    json_t *set;             /* the server's, at the end */
    const char *consistency; /* "application", "file system", "crash" */
    uint64_t frozen_ns;      /* first freeze begun to last thaw ended; 0 = nothing was frozen */
    uint64_t commit_ns;      /* as seen from here */
    bool connection_reused, watchdog_fired;
    struct shadow_phase phases[SHADOW_PHASES_MAX];
    unsigned phase_count;
    struct shadow_member
        members[SHADOW_MOUNTS_MAX]; /* one per file system, in the order of freezing */
    unsigned member_count;
    json_t *writers; /* [{"name","is"}] */
};

struct err *shadow_create(const struct shadow_options *options,
                          struct shadow_report *report) MUST_CHECK;
void shadow_report_fini(struct shadow_report *report);
/* All figures, for programs. */
json_t *shadow_report_json(const struct shadow_options *options,
                           const struct shadow_report *report);
void shadow_report_print(FILE *out, const struct shadow_options *options,
                         const struct shadow_report *report);

#endif
