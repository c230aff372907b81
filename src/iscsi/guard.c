/*
 * What keeps strangers from crowding out the hosts: connections that have proved nothing are few,
 * in all and from one address, end soon, and do not fill the log.
 */
#include <string.h>

#include "base/log.h"
#include "iscsi/iscsi_int.h"

/* Lines about refusals and failed logins in LOG_WINDOW_NS; more are counted. */
enum { LOG_LINES = 10 };
#define LOG_WINDOW_NS (10 * RT_SECOND)

/* Without its port. */
static size_t address_bytes(const char *peer)
{
    const char *colon = strrchr(peer, ':');
    return colon ? (size_t)(colon - peer) : strlen(peer);
}

static bool is_stranger(const struct iscsi_conn *conn)
{
    return conn->discovery || conn->state == CONN_LOGIN || conn->state == CONN_LOGGED_OUT;
}

const char *guard_refusal(const struct iscsi_server *server, const char *peer)
{
    unsigned strangers = 0, from_here = 0;
    size_t bytes = address_bytes(peer);
    list_for_each (node, &server->conns) {
        const struct iscsi_conn *conn = list_entry(node, struct iscsi_conn, link);
        if (!is_stranger(conn) || !conn_is_open(conn)) continue;
        const char *other = rt_sock_peer(conn->sock);
        strangers++;
        from_here += address_bytes(other) == bytes && memcmp(other, peer, bytes) == 0;
    }
    if (server->conn_count >= ISCSI_SESSIONS_MAX + STRANGERS_MAX) return "too many connections";
    if (strangers >= STRANGERS_MAX) return "too many connections that have not logged in";
    if (from_here >= STRANGERS_PER_ADDRESS_MAX)
        return "too many connections of this address that have not logged in";
    return NULL;
}

bool guard_may_log(struct iscsi_server *server)
{
    uint64_t now = rt_now(server->rt);
    if (now >= server->log_until_ns) {
        if (server->log_suppressed) {
            log_warn("iscsi: more connections and logins were refused", "count=%u",
                     server->log_suppressed);
        }
        server->log_until_ns = now + LOG_WINDOW_NS;
        server->log_lines = server->log_suppressed = 0;
    }
    if (server->log_lines < LOG_LINES) {
        server->log_lines++;
        return true;
    }
    server->log_suppressed++;
    return false;
}
