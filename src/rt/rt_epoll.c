/*
 * The Linux runtime over epoll, and over threads for files.
 *
 * Sockets are watched once, edge-triggered.  A request is on the list `ready`
 * while it is worth a try; when the try says EAGAIN it is on no list, and the
 * next edge puts it back.  Tries come after the edges of the same turn have
 * been taken, and only they run callbacks: so no event of a turn can speak of a
 * socket that a callback has freed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "rt/rt_epoll_pool.h"
#include "rt/rt_linux_int.h"

enum { EVENT_BATCH = 64 };

struct epoll {
    int fd;
    int timer_fd;
    uint64_t timer_ns; /* when timer_fd fires; UINT64_MAX: not */
    bool signal_watched;
    struct rt_epoll_pool *pool;
    struct list ready_socks;     /* rt_sock_io */
    struct list ready_listeners; /* rt_linux_listener.ready; each is armed */
};

static struct epoll *epoll_of(struct rt_linux *l)
{
    return l->backend;
}

static bool watch_for(struct epoll *p, int fd, uint32_t events, uint64_t tagged)
{
    struct epoll_event event = {.events = events, .data.u64 = tagged};
    return epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool epoll_watch(struct rt_linux *l, int fd, uint64_t tagged)
{
    return watch_for(epoll_of(l), fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, tagged);
}

/* By hand, since a child between fork and exec may hold the file open still. */
static void epoll_unwatch(struct rt_linux *l, int fd)
{
    epoll_ctl(epoll_of(l)->fd, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- Tries ---- */

static ssize_t try_transfer(struct rt_linux_sock *sock, const struct rt_sock_io *io)
{
    struct iovec part;
    struct msghdr message;
    unsigned count;
    const struct iovec *v = rt_linux_rest(io->iov, io->iov_count, io->bytes, &part, &count);
    rt_linux_message(&message, v, count);
    if (io->op == RT_SOCK_SEND) return sendmsg(sock->fd, &message, MSG_NOSIGNAL);
    return recvmsg(sock->fd, &message, 0);
}

/* Asking again is how to learn what has become of a connect. */
static int try_connect(struct rt_linux_sock *sock)
{
    int code = connect(sock->fd, (struct sockaddr *)&sock->address, sock->address_length);
    if (code < 0 && (errno == EINPROGRESS || errno == EALREADY)) errno = EAGAIN;
    return code;
}

static void try_sock(struct rt_linux *l, struct rt_sock_io *io)
{
    struct rt_linux_sock *sock = rt_linux_sock_of(io);
    ssize_t result = io->op == RT_SOCK_CONNECT ? try_connect(sock) : try_transfer(sock, io);
    if (result < 0 && errno == EAGAIN) return; /* until the next edge */
    rt_linux_sock_complete(l, io, result < 0 ? -errno : (int)result);
}

static void try_listener(struct rt_linux *l, struct rt_linux_listener *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && errno == EAGAIN) return;
    rt_linux_listener_complete(l, listener, fd < 0 ? -errno : fd);
}

static void epoll_sock_issue(struct rt_linux *l, struct rt_sock_io *io)
{
    list_push_back(&epoll_of(l)->ready_socks, &io->link);
}

static bool epoll_accept_issue(struct rt_linux *l, struct rt_linux_listener *listener)
{
    list_push_back(&epoll_of(l)->ready_listeners, &listener->ready);
    return true;
}

static void epoll_file_issue(struct rt_linux *l, struct rt_file_io *io)
{
    rt_epoll_pool_add(epoll_of(l)->pool, io);
}

/* ---- Turns of the loop ---- */

static void epoll_start(struct rt_linux *l)
{
    struct epoll *p = epoll_of(l);
    struct list socks, listeners;
    list_init(&socks);
    list_init(&listeners);
    list_splice_back(&socks, &p->ready_socks);
    list_splice_back(&listeners, &p->ready_listeners);
    while (!list_is_empty(&socks)) {
        try_sock(l, list_entry(list_pop_front(&socks), struct rt_sock_io, link));
    }
    while (!list_is_empty(&listeners)) {
        try_listener(l, list_entry(list_pop_front(&listeners), struct rt_linux_listener, ready));
    }
    rt_epoll_pool_flush(p->pool);
}

static void make_ready(struct epoll *p, struct rt_sock_io *io)
{
    if (io && !list_is_linked(&io->link)) list_push_back(&p->ready_socks, &io->link);
}

static void sock_edge(struct epoll *p, struct rt_linux_sock *sock, uint32_t events)
{
    const uint32_t both = EPOLLERR | EPOLLHUP;
    if (events & (both | EPOLLIN | EPOLLRDHUP)) make_ready(p, sock->recv);
    if (events & (both | EPOLLOUT)) {
        make_ready(p, sock->send);
        make_ready(p, sock->connect);
    }
}

static void listener_edge(struct epoll *p, struct rt_linux_listener *listener)
{
    if (listener->armed && !list_is_linked(&listener->ready)) {
        list_push_back(&p->ready_listeners, &listener->ready);
    }
}

/* Returns whether a signal came. */
static bool take_event(struct epoll *p, const struct epoll_event *event)
{
    void *pointer = rt_linux_tag_pointer(event->data.u64);
    switch (rt_linux_tag_of(event->data.u64)) {
    case TAG_SOCK:
        sock_edge(p, pointer, event->events);
        return false;
    case TAG_LISTENER:
        listener_edge(p, pointer);
        return false;
    case TAG_TIMER:
        p->timer_ns = UINT64_MAX;
        return false;
    case TAG_WAKE: /* the loop looks for mail anyway */
        return false;
    case TAG_SIGNAL:
        return true;
    case TAG_NONE:
    case TAG_FILE:
    case TAG_MASK:
        break;
    }
    unreachable("unknown event");
}

/* A timerfd, since old kernels wait in whole milliseconds only.  It may fire
 * too early for a timer that has been moved; then it is set anew. */
static void set_timer(struct epoll *p, uint64_t deadline_ns)
{
    if (deadline_ns >= p->timer_ns) return;
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(deadline_ns / RT_SECOND),
                                           .tv_nsec = (long)(deadline_ns % RT_SECOND)}};
    check(timerfd_settime(p->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
    p->timer_ns = deadline_ns;
}

static void epoll_wait_turn(struct rt_linux *l, uint64_t deadline_ns)
{
    struct epoll *p = epoll_of(l);
    struct epoll_event events[EVENT_BATCH];
    bool sleeps =
        deadline_ns > 0 && list_is_empty(&p->ready_socks) && list_is_empty(&p->ready_listeners);
    bool has_signal = false;
    if (l->signal_fd >= 0 && !p->signal_watched) {
        p->signal_watched = watch_for(p, l->signal_fd, EPOLLIN, rt_linux_tagged(NULL, TAG_SIGNAL));
    }
    if (sleeps && deadline_ns != UINT64_MAX) set_timer(p, deadline_ns);
    int count = epoll_wait(p->fd, events, EVENT_BATCH, sleeps ? -1 : 0);
    check(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++) {
        has_signal |= take_event(p, &events[i]);
    }
    if (has_signal) rt_linux_take_signals(l);
}

/* ---- Create and destroy ---- */

static void epoll_begin(struct rt_linux *l)
{
    /* Nothing belongs to one thread here. */
}

static void destroy(struct epoll *p)
{
    rt_epoll_pool_destroy(p->pool);
    if (p->fd >= 0) close(p->fd);
    if (p->timer_fd >= 0) close(p->timer_fd);
    free(p);
}

static void epoll_destroy(struct rt_linux *l)
{
    destroy(epoll_of(l));
}

static const struct rt_linux_ops epoll_ops = {
    .name = "epoll",
    .socket_flags = SOCK_NONBLOCK,
    .destroy = epoll_destroy,
    .begin = epoll_begin,
    .start = epoll_start,
    .wait = epoll_wait_turn,
    .file_issue = epoll_file_issue,
    .sock_issue = epoll_sock_issue,
    .accept_issue = epoll_accept_issue,
    .watch = epoll_watch,
    .unwatch = epoll_unwatch,
};

/* Edge-triggered, wake_fd need never be read: every write is an edge. */
static struct err *make_fds(struct rt_linux *l, struct epoll *p)
{
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0) return err_from_errno("create an epoll");
    p->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (p->timer_fd < 0) return err_from_errno("create a timerfd");
    if (!watch_for(p, l->wake_fd, EPOLLIN | EPOLLET, rt_linux_tagged(NULL, TAG_WAKE)) ||
        !watch_for(p, p->timer_fd, EPOLLIN | EPOLLET, rt_linux_tagged(NULL, TAG_TIMER))) {
        return err_from_errno("watch an eventfd and a timerfd");
    }
    return NULL;
}

struct err *rt_epoll_create(struct rt_linux *l)
{
    struct epoll *p = calloc(1, sizeof *p);
    if (!p) return err_new(STATUS_NO_MEMORY, "no memory for epoll");
    p->fd = p->timer_fd = -1;
    p->timer_ns = UINT64_MAX;
    list_init(&p->ready_socks);
    list_init(&p->ready_listeners);
    struct err *e = make_fds(l, p);
    if (!e) e = rt_epoll_pool_create(l, &p->pool);
    if (e) {
        destroy(p);
        return e;
    }
    l->ops = &epoll_ops;
    l->backend = p;
    return NULL;
}
