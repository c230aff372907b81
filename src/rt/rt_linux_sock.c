#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "rt/rt_linux_int.h"

enum {
    LISTEN_BACKLOG = 128,
    CONNECT_SYN_RETRIES = 3, /* gives up after about 15 s, not after two minutes */
    ACCEPT_RETRY_MS = 100,
};

static struct rt_linux_sock *sock_of(struct rt_sock *sock)
{
    return container_of(sock, struct rt_linux_sock, base);
}

/* ---- Addresses ---- */

/* "127.0.0.1:3260", "[::1]:3260"; only literals, since looking names up would
 * block. */
static bool parse_address(const char *text, struct sockaddr_storage *ret_address,
                          socklen_t *ret_length)
{
    char host[RT_ADDRESS_MAX];
    uint64_t port;
    const char *colon = strrchr(text, ':');
    if (!colon || strlen(text) >= sizeof host) return false;
    if (!text_parse_u64(colon + 1, &port) || port > UINT16_MAX) return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    memset(ret_address, 0, sizeof *ret_address);
    size_t length = strlen(host);
    if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
        struct sockaddr_in6 *v6 = (void *)ret_address;
        host[length - 1] = '\0';
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *ret_length = sizeof *v6;
        return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
    }
    struct sockaddr_in *v4 = (void *)ret_address;
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    *ret_length = sizeof *v4;
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

static void format_address(const struct sockaddr_storage *address, char text[RT_ADDRESS_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, RT_ADDRESS_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const void *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, RT_ADDRESS_MAX, "%s:%u", host, ntohs(v4->sin_port));
    }
}

static void local_address(int fd, char text[RT_ADDRESS_MAX])
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    socklen_t length = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &length);
    format_address(&address, text);
}

static void peer_address(int fd, char text[RT_ADDRESS_MAX])
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    socklen_t length = sizeof address;
    getpeername(fd, (struct sockaddr *)&address, &length);
    format_address(&address, text);
}

/* ---- Sockets ---- */

static bool watch(struct rt_linux *l, int fd, uint64_t tagged)
{
    return !l->ops->watch || l->ops->watch(l, fd, tagged);
}

static void unwatch_and_close(struct rt *rt, int fd)
{
    struct rt_linux *l = rt_linux_of(rt);
    if (l->backend && l->ops->unwatch) l->ops->unwatch(l, fd);
    close(fd);
}

static struct rt_linux_sock *make_sock(struct rt_linux *l, int fd)
{
    struct rt_linux_sock *sock = calloc(1, sizeof *sock);
    if (!sock) return NULL;
    if (!watch(l, fd, rt_linux_tagged(sock, TAG_SOCK))) {
        free(sock);
        return NULL;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    sock->base.rt = &l->base;
    sock->fd = fd;
    list_push_back(&l->socks, &sock->link);
    return sock;
}

static void free_sock(struct rt_linux_sock *sock)
{
    list_remove(&sock->link);
    unwatch_and_close(sock->base.rt, sock->fd);
    free(sock);
}

static bool is_idle(const struct rt_linux_sock *sock)
{
    return !sock->recv && !sock->send && !sock->connect;
}

static enum status start_connect(struct rt_linux *l, struct rt_sock_io *io)
{
    struct sockaddr_storage address;
    socklen_t length;
    if (!parse_address(io->address, &address, &length)) return STATUS_BAD_REQUEST;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | l->ops->socket_flags, 0);
    if (fd < 0) return STATUS_SOCKET_FAILED;
    int retries = CONNECT_SYN_RETRIES;
    setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &retries, sizeof retries);
    struct rt_linux_sock *sock = make_sock(l, fd);
    if (!sock) {
        close(fd);
        return STATUS_NO_MEMORY;
    }
    sock->address = address;
    sock->address_length = length;
    sock->connect = io;
    io->private_[RT_SOCK_PRIVATE_SOCK] = (uintptr_t)sock;
    return STATUS_OK;
}

void rt_linux_sock_submit(struct rt *rt, struct rt_sock_io *io)
{
    struct rt_linux *l = rt_linux_of(rt);
    check(rt_on_loop(rt));
    if (io->op == RT_SOCK_CONNECT) {
        io->status = start_connect(l, io);
        if (io->status != STATUS_OK) {
            list_push_back(&l->ready_socks, &io->link);
            return;
        }
    } else {
        struct rt_linux_sock *sock = sock_of(io->sock);
        struct rt_sock_io **slot = io->op == RT_SOCK_SEND ? &sock->send : &sock->recv;
        check(!*slot && !sock->closing);
        *slot = io;
    }
    l->ops->sock_issue(l, io);
}

static enum status transfer_status(const struct rt_linux_sock *sock, const struct rt_sock_io *io,
                                   int result)
{
    if (sock->closing) return STATUS_CANCELLED;
    if (result == 0) return STATUS_PEER_CLOSED;
    if (result < 0)
        return result == -EPIPE || result == -ECONNRESET ? STATUS_PEER_CLOSED
                                                         : STATUS_SOCKET_FAILED;
    return STATUS_OK;
}

static enum status connect_status(int result)
{
    switch (-result) {
    case 0:
        return STATUS_OK;
    case ETIMEDOUT:
        return STATUS_TIMED_OUT;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return STATUS_UNREACHABLE;
    default:
        return STATUS_SOCKET_FAILED;
    }
}

static void connected(struct rt_linux_sock *sock, struct rt_sock_io *io, int result)
{
    sock->connect = NULL;
    io->status = connect_status(result);
    if (io->status == STATUS_OK) {
        format_address(&sock->address, sock->base.peer);
        local_address(sock->fd, sock->base.local);
        io->sock = &sock->base;
    } else {
        free_sock(sock);
    }
    io->done(io);
}

void rt_linux_sock_complete(struct rt_linux *l, struct rt_sock_io *io, int result)
{
    struct rt_linux_sock *sock = rt_linux_sock_of(io);
    if (io->op == RT_SOCK_CONNECT) {
        connected(sock, io, result);
        return;
    }
    bool again = (result == -EINTR || result == -EAGAIN) && !sock->closing;
    if (result > 0) {
        io->bytes += (size_t)result;
        again = io->op == RT_SOCK_SEND && !sock->closing &&
                io->bytes < rt_iov_length(io->iov, io->iov_count);
    }
    if (again) {
        l->ops->sock_issue(l, io);
        return;
    }
    io->status = transfer_status(sock, io, result);
    *(io->op == RT_SOCK_SEND ? &sock->send : &sock->recv) = NULL;
    if (sock->closing && is_idle(sock)) {
        list_remove(&sock->link);
        list_push_back(&l->closing_socks, &sock->link);
    }
    io->done(io);
}

/* Shutting down makes the kernel complete what is in flight, however it waits.
 */
void rt_linux_sock_close(struct rt_sock *base, void (*closed)(void *arg), void *arg)
{
    struct rt_linux_sock *sock = sock_of(base);
    struct rt_linux *l = rt_linux_of(base->rt);
    check(rt_on_loop(base->rt) && !sock->closing);
    sock->closing = true;
    sock->closed = closed;
    sock->closed_arg = arg;
    shutdown(sock->fd, SHUT_RDWR);
    if (!is_idle(sock)) return;
    list_remove(&sock->link);
    list_push_back(&l->closing_socks, &sock->link);
}

void rt_linux_socks_run_closing(struct rt_linux *l)
{
    struct list closing;
    list_init(&closing);
    list_splice_back(&closing, &l->closing_socks);
    while (!list_is_empty(&closing)) {
        struct rt_linux_sock *sock = list_entry(list_front(&closing), struct rt_linux_sock, link);
        void (*closed)(void *arg) = sock->closed;
        void *arg = sock->closed_arg;
        free_sock(sock);
        if (closed) closed(arg);
    }
}

/* ---- Listeners ---- */

static void free_listener(struct rt_linux_listener *listener)
{
    list_remove(&listener->link);
    unwatch_and_close(listener->base.rt, listener->fd);
    free(listener);
}

static struct err *bind_listener(struct rt_linux *l, const char *address_text, int *ret_fd)
{
    struct sockaddr_storage address;
    socklen_t length;
    if (!parse_address(address_text, &address, &length)) {
        return err_next(err_new(STATUS_BAD_REQUEST, "\"%s\" is not an address", address_text),
                        "write it as 192.0.2.1:3260 or [2001:db8::1]:3260");
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | l->ops->socket_flags, 0);
    if (fd < 0) return err_from_errno("make a socket for %s", address_text);
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        struct err *e = err_from_errno("listen on %s", address_text);
        close(fd);
        return e;
    }
    *ret_fd = fd;
    return NULL;
}

struct err *rt_linux_listen(struct rt *rt, const char *address, rt_accept_fn *fn, void *arg,
                            struct rt_listener **ret_listener)
{
    struct rt_linux *l = rt_linux_of(rt);
    int fd = -1;
    TRY(bind_listener(l, address, &fd));
    struct rt_linux_listener *listener = calloc(1, sizeof *listener);
    if (!listener || !watch(l, fd, rt_linux_tagged(listener, TAG_LISTENER))) {
        free(listener);
        close(fd);
        return err_new(STATUS_NO_MEMORY, "no memory to listen on %s", address);
    }
    listener->base.rt = rt;
    listener->fd = fd;
    listener->fn = fn;
    listener->arg = arg;
    local_address(fd, listener->base.address);
    list_push_back(&l->listeners, &listener->link);
    l->listeners_unarmed = true;
    *ret_listener = &listener->base;
    return NULL;
}

void rt_linux_listeners_arm(struct rt_linux *l)
{
    list_for_each (node, &l->listeners) {
        struct rt_linux_listener *listener = list_entry(node, struct rt_linux_listener, link);
        if (listener->armed || rt_timer_is_pending(&listener->retry)) continue;
        if (!l->ops->accept_issue(l, listener)) return;
        listener->armed = true;
    }
    l->listeners_unarmed = false;
}

static void retry_accept(struct rt_timer *timer)
{
    struct rt_linux_listener *listener = container_of(timer, struct rt_linux_listener, retry);
    rt_linux_of(listener->base.rt)->listeners_unarmed = true;
}

void rt_linux_listener_complete(struct rt_linux *l, struct rt_linux_listener *listener, int result)
{
    struct rt *rt = &l->base;
    listener->armed = false;
    if (listener->closing) {
        if (result >= 0) close(result);
        free_listener(listener);
        return;
    }
    l->listeners_unarmed = true;
    /* Out of descriptors or memory, most likely; asking again at once would not
     * end. */
    if (result < 0 && result != -ECONNABORTED && result != -EINTR) {
        rt_timer_set(rt, &listener->retry, rt_now(rt) + ACCEPT_RETRY_MS * RT_MS, retry_accept);
    }
    if (result < 0) return; /* the one that came has gone already */
    struct rt_linux_sock *sock = make_sock(l, result);
    if (!sock) {
        close(result);
        return;
    }
    peer_address(result, sock->base.peer);
    local_address(result, sock->base.local);
    listener->fn(listener->arg, &sock->base);
}

/* The struct goes when its accept has come back. */
void rt_linux_listener_close(struct rt_listener *base)
{
    struct rt_linux_listener *listener = container_of(base, struct rt_linux_listener, base);
    check(rt_on_loop(base->rt) && !listener->closing);
    rt_timer_cancel(base->rt, &listener->retry);
    if (!listener->armed) {
        free_listener(listener);
        return;
    }
    listener->closing = true;
    shutdown(listener->fd, SHUT_RDWR);
}

/* After the backend has gone: nothing can come back any more. */
void rt_linux_socks_destroy(struct rt_linux *l)
{
    while (!list_is_empty(&l->closing_socks)) {
        free_sock(list_entry(list_front(&l->closing_socks), struct rt_linux_sock, link));
    }
    while (!list_is_empty(&l->socks)) {
        free_sock(list_entry(list_front(&l->socks), struct rt_linux_sock, link));
    }
    while (!list_is_empty(&l->listeners)) {
        free_listener(list_entry(list_front(&l->listeners), struct rt_linux_listener, link));
    }
}
