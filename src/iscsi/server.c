#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/log.h"
#include "iscsi/iscsi_int.h"

static void server_changed(struct iscsi_server *server);

/* ---- Connections ---- */

bool conn_is_open(const struct iscsi_conn *conn)
{
    return conn->state != CONN_CLOSING;
}

static void conn_free(struct iscsi_conn *conn)
{
    login_fini(conn);
    text_fini(conn);
    free(conn->rx.buffer);
    free(conn);
}

void conn_reap(struct iscsi_conn *conn)
{
    if (conn->state != CONN_CLOSING || !conn->sock_closed) return;
    if (conn->executing > 0 || conn->tx.posted || conn->resume_posted) return;
    struct iscsi_server *server = conn->server;
    if (conn->nexus) {
        log_info("iscsi session down", "initiator=%s", conn->initiator_name);
        session_fini(conn);
    }
    list_remove(&conn->link);
    server->conn_count--;
    conn_free(conn);
    server_changed(server);
}

static void conn_put_replies(struct iscsi_conn *conn)
{
    for (unsigned i = 0; i < REPLIES; i++) {
        struct iscsi_reply *reply = &conn->replies[i];
        if (reply->buffer) rt_buf_put(conn->rt, reply->buffer, reply->buffer_bytes);
        reply->buffer = NULL;
    }
}

static void sock_closed(void *arg)
{
    struct iscsi_conn *conn = arg;
    conn->sock = NULL;
    conn->sock_closed = true;
    conn->rx.task = NULL;
    receive_drop_bulk(conn);
    conn_put_replies(conn);
    for (unsigned i = 0; conn->tasks && i < TASK_SLOTS; i++) {
        struct iscsi_task *task = &conn->tasks[i];
        if (task->state != TASK_FREE && task->state != TASK_EXECUTING) task_release(task);
    }
    conn_reap(conn);
}

void conn_close(struct iscsi_conn *conn)
{
    if (!conn_is_open(conn)) return;
    conn->state = CONN_CLOSING;
    rt_timer_cancel(conn->rt, &conn->timer);
    rt_timer_cancel(conn->rt, &conn->patience);
    if (conn->buf_waiting) rt_buf_wait_cancel(conn->rt, &conn->buf_waiter);
    conn->buf_waiting = false;
    tmf_conn_closing(conn);
    rt_sock_close(conn->sock, sock_closed, conn);
}

void conn_fail(struct iscsi_conn *conn, const char *why)
{
    if (!conn_is_open(conn)) return;
    if (conn->nexus || guard_may_log(conn->server)) {
        log_info("iscsi connection ended", "initiator=%s peer=%s reason=\"%s\"",
                 conn->initiator_name[0] ? conn->initiator_name : "-", rt_sock_peer(conn->sock),
                 why);
    }
    conn_close(conn);
}

static struct iscsi_conn *conn_create(struct iscsi_portal *portal, struct rt_sock *sock)
{
    struct iscsi_conn *conn = calloc(1, sizeof *conn);
    if (!conn) return NULL;
    conn->server = portal->server;
    conn->rt = portal->server->rt;
    conn->sock = sock;
    conn->portal_index = portal->index;
    conn->rx.buffer = malloc(RX_BUFFER_BYTES);
    conn->login.text = malloc(LOGIN_TEXT_MAX);
    conn->login.answer = malloc(LOGIN_SEGMENT_MAX);
    if (!conn->rx.buffer || !conn->login.text || !conn->login.answer) {
        conn_free(conn);
        return NULL;
    }
    list_init(&conn->parked);
    iscsi_keys_init(&conn->login.keys);
    transmit_init(conn);
    receive_init(conn);
    return conn;
}

static void accepted(void *arg, struct rt_sock *sock)
{
    struct iscsi_portal *portal = arg;
    struct iscsi_server *server = portal->server;
    const char *why = guard_refusal(server, rt_sock_peer(sock));
    struct iscsi_conn *conn = server->closing || why ? NULL : conn_create(portal, sock);
    if (!conn) {
        if (!server->closing && guard_may_log(server))
            log_warn("iscsi connection refused", "peer=%s reason=\"%s\"", rt_sock_peer(sock),
                     why ? why : "out of memory");
        rt_sock_close(sock, NULL, NULL);
        return;
    }
    list_push_back(&server->conns, &conn->link);
    server->conn_count++;
    conn->last_rx_ns = rt_now(conn->rt);
    rt_timer_set(conn->rt, &conn->timer, conn->last_rx_ns + LOGIN_TIMEOUT_S * RT_SECOND,
                 session_tick);
    receive_start(conn);
}

/* ---- Server ---- */

static void server_free(struct iscsi_server *server)
{
    for (unsigned i = 0; i < server->portal_count; i++) {
        rt_listener_close(server->portals[i].listener);
        free(server->portals[i].listen);
        free(server->portals[i].advertise);
    }
    free(server->target_name);
    free(server->target_alias);
    free(server);
}

static bool copy_text(const char *from, char **ret_to)
{
    if (!from) return true;
    *ret_to = strdup(from);
    return *ret_to != NULL;
}

static struct err *open_portals(struct iscsi_server *server,
                                const struct iscsi_server_options *options)
{
    for (unsigned i = 0; i < options->portal_count; i++) {
        struct iscsi_portal *portal = &server->portals[i];
        const struct iscsi_portal_options *o = &options->portals[i];
        server->portal_count = i + 1;
        portal->server = server;
        portal->index = i;
        if (!copy_text(o->listen, &portal->listen) || !copy_text(o->advertise, &portal->advertise))
            return err_new(STATUS_NO_MEMORY, "open iSCSI portal %s", o->listen);
        struct err *e = rt_listen(server->rt, o->listen, accepted, portal, &portal->listener);
        if (e) return err_wrap(e, "open iSCSI portal %s", o->listen);
    }
    return NULL;
}

static struct err *check_options(const struct iscsi_server_options *options)
{
    size_t name_bytes = options->target_name ? strlen(options->target_name) : 0;
    if (name_bytes == 0 || name_bytes > ISCSI_NAME_MAX)
        return err_new(STATUS_BAD_CONFIG, "the iSCSI target name must have 1 to %u characters",
                       (unsigned)ISCSI_NAME_MAX);
    if (options->portal_count == 0 || options->portal_count > ISCSI_PORTALS_MAX)
        return err_new(STATUS_BAD_CONFIG, "there must be 1 to %u iSCSI portals, not %u",
                       (unsigned)ISCSI_PORTALS_MAX, options->portal_count);
    return NULL;
}

struct err *iscsi_server_create(struct rt *rt, const struct iscsi_server_options *options,
                                const struct iscsi_access_ops *ops, void *arg,
                                struct iscsi_server **ret_server)
{
    TRY(check_options(options));
    struct iscsi_server *server = calloc(1, sizeof *server);
    if (!server) return err_new(STATUS_NO_MEMORY, "create the iSCSI server");
    server->rt = rt;
    server->ops = *ops;
    server->arg = arg;
    list_init(&server->conns);
    list_init(&server->drops);
    unsigned interval_s = options->nop_interval_s ? options->nop_interval_s : NOP_DEFAULT_S;
    unsigned timeout_s = options->nop_timeout_s ? options->nop_timeout_s : NOP_DEFAULT_S;
    server->nop_interval_ns = interval_s * RT_SECOND;
    server->nop_timeout_ns = timeout_s * RT_SECOND;
    rt_random(rt, &server->last_tsih, sizeof server->last_tsih);
    struct err *e = NULL;
    if (!copy_text(options->target_name, &server->target_name) ||
        !copy_text(options->target_alias, &server->target_alias))
        e = err_new(STATUS_NO_MEMORY, "create the iSCSI server");
    if (!e) e = open_portals(server, options);
    if (e) {
        server_free(server);
        return e;
    }
    *ret_server = server;
    return NULL;
}

const char *iscsi_server_portal_address(const struct iscsi_server *server, unsigned index)
{
    check(index < server->portal_count);
    return rt_listener_address(server->portals[index].listener);
}

/* ---- Dropping a host ---- */

static bool has_host(const struct iscsi_server *server, const void *host)
{
    list_for_each (node, &server->conns) {
        const struct iscsi_conn *conn = list_entry(node, struct iscsi_conn, link);
        if (conn->has_access && conn->access.host == host) return true;
    }
    return false;
}

static void dropped(struct rt_message *message)
{
    struct iscsi_drop *drop = container_of(message, struct iscsi_drop, message);
    drop->done(drop->arg);
    free(drop);
}

/* Posts the answers of those drops whose host has no connection left. */
static void finish_drops(struct iscsi_server *server)
{
    list_for_each_safe (node, &server->drops) {
        struct iscsi_drop *drop = list_entry(node, struct iscsi_drop, link);
        if (has_host(server, drop->host)) continue;
        list_remove(&drop->link);
        drop->message.fn = dropped;
        rt_post(server->rt, &drop->message);
    }
}

void iscsi_server_drop_host(struct iscsi_server *server, void *host, void (*done)(void *arg),
                            void *arg)
{
    struct iscsi_drop *drop = calloc(1, sizeof *drop);
    check(drop); /* a few bytes on the control path: without them nothing else works either */
    drop->host = host;
    drop->done = done;
    drop->arg = arg;
    list_push_back(&server->drops, &drop->link);
    list_for_each (node, &server->conns) {
        struct iscsi_conn *conn = list_entry(node, struct iscsi_conn, link);
        if (conn->has_access && conn->access.host == host) conn_close(conn);
    }
    finish_drops(server);
}

/* ---- Closing ---- */

static void close_finished(struct rt_message *message)
{
    struct iscsi_server *server = container_of(message, struct iscsi_server, close_message);
    void (*closed)(void *arg) = server->closed;
    void *arg = server->closed_arg;
    server_free(server);
    if (closed) closed(arg);
}

/* A connection has gone. */
static void server_changed(struct iscsi_server *server)
{
    finish_drops(server);
    login_resume_waiting(server);
    if (!server->closing || server->conn_count > 0) return;
    rt_timer_cancel(server->rt, &server->close_timer);
    server->close_message.fn = close_finished;
    rt_post(server->rt, &server->close_message);
}

static void close_all(struct rt_timer *timer)
{
    struct iscsi_server *server = container_of(timer, struct iscsi_server, close_timer);
    list_for_each (node, &server->conns) {
        conn_close(list_entry(node, struct iscsi_conn, link));
    }
}

void iscsi_server_close(struct iscsi_server *server, void (*closed)(void *arg), void *arg)
{
    check(!server->closing);
    server->closing = true;
    server->closed = closed;
    server->closed_arg = arg;
    for (unsigned i = 0; i < server->portal_count; i++) {
        rt_listener_close(server->portals[i].listener);
        server->portals[i].listener = NULL;
    }
    list_for_each (node, &server->conns) {
        struct iscsi_conn *conn = list_entry(node, struct iscsi_conn, link);
        if (conn->state == CONN_FULL)
            session_request_logout(conn);
        else
            conn_close(conn);
    }
    rt_timer_set(server->rt, &server->close_timer,
                 rt_now(server->rt) + LOGOUT_REQUEST_S * RT_SECOND, close_all);
    if (server->conn_count == 0) server_changed(server);
}

void iscsi_server_abandon(struct iscsi_server *server)
{
    if (!server) return;
    struct list_node *node;
    while ((node = list_pop_front(&server->conns))) {
        struct iscsi_conn *conn = list_entry(node, struct iscsi_conn, link);
        conn_put_replies(conn);
        receive_drop_bulk(conn);
        for (unsigned i = 0; conn->tasks && i < TASK_SLOTS; i++)
            task_abandon(&conn->tasks[i]);
        scsi_nexus_destroy(conn->nexus);
        free(conn->tasks);
        conn_free(conn);
    }
    for (unsigned i = 0; i < server->portal_count; i++)
        server->portals[i].listener = NULL;
    while ((node = list_pop_front(&server->drops)))
        free(list_entry(node, struct iscsi_drop, link));
    server_free(server);
}

/* ---- What is there ---- */

void iscsi_server_sessions(struct iscsi_server *server,
                           void (*fn)(void *arg, const struct iscsi_session_info *info), void *arg)
{
    list_for_each (node, &server->conns) {
        const struct iscsi_conn *conn = list_entry(node, struct iscsi_conn, link);
        if (conn->state != CONN_FULL || conn->discovery) continue;
        const struct iscsi_session_info info = {
            .initiator_name = conn->initiator_name,
            .peer_address = rt_sock_peer(conn->sock),
            .local_address = rt_sock_local(conn->sock),
            .started_ns = conn->started_ns,
            .reads = conn->reads,
            .writes = conn->writes,
            .read_bytes = conn->read_bytes,
            .write_bytes = conn->write_bytes,
            .last_io_ns = conn->last_io_ns,
            .host = conn->access.host,
        };
        fn(arg, &info);
    }
}
