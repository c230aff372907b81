/*
 * iscsi.h - the iSCSI target (RFC 7143 over TCP): portals, login, sessions, tasks.
 *
 * One target per server; which LUNs an initiator sees is its host's map (scsi.h).  Error recovery
 * level 0, one connection per session, MaxConnections 1.
 *
 *     struct iscsi_server *server;
 *     TRY(iscsi_server_create(rt, &options, &access_ops, arg, &server));
 *     ... rt_run ...;  iscsi_server_close(server, closed, arg);
 *
 * Threads: ON_LOOP.  Ownership: the server owns its connections; maps belong to the answerer of
 * find(). Failures: of a connection: the connection (logged once).  Limits: below. What the target
 * needs of the catalog it declares here as struct iscsi_access_ops; tarnd connects it.
 */
#ifndef TARN_ISCSI_ISCSI_H
#define TARN_ISCSI_ISCSI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "rt/rt.h"
#include "scsi/scsi.h"

enum {
    ISCSI_NAME_MAX = 223, /* RFC 7143 4.2.7.1 */
    ISCSI_PORTALS_MAX = 16,
    ISCSI_SESSIONS_MAX = 1024,
    ISCSI_CHAP_SECRET_MIN = 12, /* bytes; RFC 7143 12.1.3: 96 bits where IPsec is not used */
    ISCSI_CHAP_TEXT_MAX = 255,
};

/* For normal sessions.  Discovery tells the target's name and addresses to any known initiator. */
enum iscsi_auth { ISCSI_AUTH_NONE, ISCSI_AUTH_CHAP, ISCSI_AUTH_MUTUAL };

/* What an initiator is and may see.  The strings and the map must stay valid until the session has
 * ended or iscsi_server_drop_host was called for it. */
struct iscsi_access {
    struct scsi_map *map;
    void *host; /* names the host for iscsi_server_drop_host */
    enum iscsi_auth auth;
    const char *chap_user, *chap_secret;     /* what the initiator must know */
    const char *mutual_user, *mutual_secret; /* what we answer with (MUTUAL) */
};

struct iscsi_access_ops {
    /* STATUS_OK; NOT_FOUND: no host has this initiator (login ends with 0202h authorization
     * failure). */
    enum status (*find)(void *arg, const char *initiator_name, struct iscsi_access *ret_access);
    /* A normal session has come up or gone; for `host show` and for stale sets.  May be NULL. */
    void (*session_changed)(void *arg, void *host, const char *initiator_name, bool up);
};

struct iscsi_portal_options {
    const char *listen;    /* "127.0.0.1:3260", "[::]:3260", port 0 allowed */
    const char *advertise; /* told in discovery; NULL = the address the initiator came to */
};

struct iscsi_server_options {
    const char *target_name;  /* iqn.2026-11.local.tarn:<server uuid> */
    const char *target_alias; /* NULL = none */
    unsigned portal_count;
    struct iscsi_portal_options portals[ISCSI_PORTALS_MAX];
    unsigned nop_interval_s; /* ping an idle initiator; 0 = 15 */
    unsigned nop_timeout_s;  /* then drop it; 0 = 15 */
};

struct iscsi_server;
struct err *iscsi_server_create(struct rt *rt, const struct iscsi_server_options *options,
                                const struct iscsi_access_ops *ops, void *arg,
                                struct iscsi_server **ret_server) MUST_CHECK;
/* Bound address of portal `index` (the real port). */
const char *iscsi_server_portal_address(const struct iscsi_server *server, unsigned index);
/* Stops listening, asks sessions to log out, drops them, then closed(arg); the server is gone. */
void iscsi_server_close(struct iscsi_server *server, void (*closed)(void *arg), void *arg);
/* Frees everything without I/O (simulated crash). */
void iscsi_server_abandon(struct iscsi_server *server);
/* Ends every session of this host; done(arg) when they have gone and none of their tasks runs. */
void iscsi_server_drop_host(struct iscsi_server *server, void *host, void (*done)(void *arg),
                            void *arg);

struct iscsi_session_info {
    const char *initiator_name;
    const char *peer_address, *local_address;
    uint64_t started_ns; /* rt_now */
    uint64_t reads, writes, read_bytes, write_bytes, last_io_ns;
    void *host;
};
void iscsi_server_sessions(struct iscsi_server *server,
                           void (*fn)(void *arg, const struct iscsi_session_info *info), void *arg);

#endif
