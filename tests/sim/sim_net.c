/*
 * Byte streams.  What is sent travels in segments of drawn sizes, each with a latency of its own
 * but in order; a window bounds what is under way and unread, so that senders feel slow readers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "tests/sim/sim_int.h"

enum { WINDOW_BYTES = 256 * 1024 };

struct sim_listener {
    struct rt_listener base;
    struct list_node link;       /* sim_rt.listeners */
    struct list_node world_link; /* sim.listeners */
    rt_accept_fn *fn;
    void *arg;
};

struct sim_segment {
    struct sim_event event;
    struct list_node link; /* of the receiver */
    struct sim_sock *to;
    bool is_end;
    size_t length;
    uint8_t data[];
};

struct sim_sock {
    struct rt_sock base;
    struct list_node link; /* sim_rt.socks */
    struct sim_rt *srt;
    struct sim_sock *other;        /* NULL when it is gone or the way is cut */
    struct sim_listener *listener; /* accepted, but fn does not know yet */
    struct list segments;          /* under way to here */
    size_t under_way;
    uint64_t last_arrival_ns;
    uint8_t *ring; /* arrived, unread */
    size_t head, count;
    bool ended;   /* the peer's end has arrived */
    bool reset;   /* the stream is broken */
    bool severed; /* cut, but this side does not know yet: what it sends is lost */
    struct rt_sock_io *recv, *send;
    struct sim_event recv_event, send_event, reset_event, accept_event, close_event;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct sim_connect {
    struct sim_event event;
    struct list_node link; /* sim_rt.connects */
    struct sim_rt *srt;
    struct rt_sock_io *io;
};

struct sim_cut {
    struct list_node link; /* sim.cuts */
    struct sim_node *a, *b;
};

static struct sim_sock *sock_of(struct rt_sock *sock)
{
    return container_of(sock, struct sim_sock, base);
}

static struct sim *sim_of(const struct sim_sock *sock)
{
    return sock->srt->node->sim;
}

static bool is_cut(const struct sim *sim, const struct sim_node *a, const struct sim_node *b)
{
    list_for_each (n, &sim->cuts) {
        const struct sim_cut *cut = list_entry(n, struct sim_cut, link);
        if ((cut->a == a && cut->b == b) || (cut->a == b && cut->b == a)) return true;
    }
    return false;
}

/* ---- Receiving ---- */

static void pump(struct sim_sock *sock);

static size_t take_bytes(struct sim_sock *sock, const struct rt_sock_io *io)
{
    size_t done = 0;
    for (unsigned i = 0; i < io->iov_count && sock->count > 0; i++) {
        uint8_t *to = io->iov[i].iov_base;
        size_t want = io->iov[i].iov_len;
        while (want > 0 && sock->count > 0) {
            size_t n = min_of(want, sock->count);
            n = min_of(n, WINDOW_BYTES - sock->head);
            memcpy(to, sock->ring + sock->head, n);
            sock->head = (sock->head + n) % WINDOW_BYTES;
            sock->count -= n;
            to += n;
            want -= n;
            done += n;
        }
    }
    return done;
}

static void recv_due(struct rt_timer *timer)
{
    struct sim_sock *sock = container_of(timer, struct sim_sock, recv_event.timer);
    struct rt_sock_io *io = take_ptr(&sock->recv);
    if (sock->reset) {
        io->status = STATUS_SOCKET_FAILED;
    } else if (sock->count > 0) {
        io->bytes = take_bytes(sock, io);
        if (sock->other) pump(sock->other);
    } else {
        io->status = STATUS_PEER_CLOSED;
    }
    io->done(io);
}

static void recv_if_ready(struct sim_sock *sock)
{
    if (!sock->recv || sock->closing || sim_event_is_set(&sock->recv_event)) return;
    if (sock->count == 0 && !sock->ended && !sock->reset) return;
    sim_event_set(sim_of(sock), &sock->recv_event, EVENT_RECV, sock->srt->node, sock->count, 0,
                  recv_due);
}

static void free_segment(struct sim_segment *segment)
{
    sim_event_cancel(&segment->event);
    segment->to->under_way -= segment->length;
    list_remove(&segment->link);
    free(segment);
}

static void segment_due(struct rt_timer *timer)
{
    struct sim_segment *segment = container_of(timer, struct sim_segment, event.timer);
    struct sim_sock *sock = segment->to;
    if (!sock->ring) sock->ring = malloc(WINDOW_BYTES);
    check(sock->ring && sock->count + segment->length <= WINDOW_BYTES);
    for (size_t done = 0; done < segment->length;) {
        size_t at = (sock->head + sock->count) % WINDOW_BYTES;
        size_t n = min_of(segment->length - done, WINDOW_BYTES - at);
        memcpy(sock->ring + at, segment->data + done, n);
        sock->count += n;
        done += n;
    }
    if (segment->is_end) sock->ended = true;
    free_segment(segment);
    recv_if_ready(sock);
}

/* ---- Sending ---- */

static struct sim_segment *send_segment(struct sim_sock *to, size_t length, bool is_end)
{
    struct sim *sim = sim_of(to);
    struct sim_segment *segment = calloc(1, sizeof *segment + length);
    check(segment != NULL);
    segment->to = to;
    segment->length = length;
    segment->is_end = is_end;
    to->under_way += length;
    list_push_back(&to->segments, &segment->link);
    uint64_t arrival = sim->now_ns + sim_latency(sim, sim->options.net_latency_max_ns);
    to->last_arrival_ns = max_of(arrival, to->last_arrival_ns);
    sim_event_set(sim, &segment->event, EVENT_SEGMENT, to->srt->node, length,
                  to->last_arrival_ns - sim->now_ns, segment_due);
    return segment;
}

static void send_due(struct rt_timer *timer)
{
    struct sim_sock *sock = container_of(timer, struct sim_sock, send_event.timer);
    struct rt_sock_io *io = take_ptr(&sock->send);
    size_t length = rt_iov_length(io->iov, io->iov_count);
    if (sock->reset) {
        io->status = STATUS_SOCKET_FAILED;
    } else if (!sock->other && !sock->severed && io->bytes < length) {
        io->status = STATUS_PEER_CLOSED;
    } else {
        io->bytes = length;
    }
    io->done(io);
}

static void copy_out(const struct rt_sock_io *io, size_t skip, uint8_t *to, size_t length)
{
    for (unsigned i = 0; i < io->iov_count && length > 0; i++) {
        if (skip >= io->iov[i].iov_len) {
            skip -= io->iov[i].iov_len;
            continue;
        }
        size_t n = min_of(length, io->iov[i].iov_len - skip);
        memcpy(to, (const uint8_t *)io->iov[i].iov_base + skip, n);
        to += n;
        length -= n;
        skip = 0;
    }
}

/* Hands over as much as the window allows; the request is done when all is handed over. */
static void pump(struct sim_sock *sock)
{
    struct rt_sock_io *io = sock->send;
    if (!io || sock->closing || sim_event_is_set(&sock->send_event)) return;
    size_t length = rt_iov_length(io->iov, io->iov_count);
    struct sim_sock *to = sock->other;
    while (to && !sock->reset && io->bytes < length) {
        size_t room = WINDOW_BYTES - to->count - to->under_way;
        size_t n = min_of(room, length - io->bytes);
        if (n == 0) return; /* goes on when the reader has read */
        if (prng_chance(&sim_of(sock)->prng, 1, 4)) n = 1 + prng_below(&sim_of(sock)->prng, n);
        struct sim_segment *segment = send_segment(to, n, false);
        copy_out(io, io->bytes, segment->data, n);
        io->bytes += n;
    }
    sim_event_set(sim_of(sock), &sock->send_event, EVENT_SEND, sock->srt->node, io->bytes, 0,
                  send_due);
}

/* ---- Life of a socket ---- */

static struct sim_sock *make_sock(struct sim_rt *srt, const char *local, const char *peer)
{
    struct sim_sock *sock = calloc(1, sizeof *sock);
    check(sock != NULL);
    sock->base.rt = &srt->base;
    sock->srt = srt;
    snprintf(sock->base.local, sizeof sock->base.local, "%s", local);
    snprintf(sock->base.peer, sizeof sock->base.peer, "%s", peer);
    list_init(&sock->segments);
    list_push_back(&srt->socks, &sock->link);
    return sock;
}

static void cancel_events(struct sim_sock *sock)
{
    sim_event_cancel(&sock->recv_event);
    sim_event_cancel(&sock->send_event);
    sim_event_cancel(&sock->reset_event);
    sim_event_cancel(&sock->accept_event);
    sim_event_cancel(&sock->close_event);
    while (!list_is_empty(&sock->segments)) {
        free_segment(list_entry(list_front(&sock->segments), struct sim_segment, link));
    }
}

static void detach(struct sim_sock *sock)
{
    if (sock->other) sock->other->other = NULL;
    sock->other = NULL;
}

static void free_sock(struct sim_sock *sock)
{
    cancel_events(sock);
    detach(sock);
    list_remove(&sock->link);
    free(sock->ring);
    free(sock);
}

static void reset_due(struct rt_timer *timer)
{
    struct sim_sock *sock = container_of(timer, struct sim_sock, reset_event.timer);
    sock->reset = true;
    sock->count = 0;
    recv_if_ready(sock);
    pump(sock);
}

/* The way to the peer is gone; this side notices after a while. */
static void sever(struct sim_sock *sock, uint64_t notice_max_ns)
{
    sock->severed = true;
    sock->other = NULL;
    while (!list_is_empty(&sock->segments)) {
        free_segment(list_entry(list_front(&sock->segments), struct sim_segment, link));
    }
    if (sock->closing || sock->reset) return;
    sim_event_set(sim_of(sock), &sock->reset_event, EVENT_RESET, sock->srt->node, 0,
                  sim_latency(sim_of(sock), notice_max_ns), reset_due);
    pump(sock);
}

static void close_due(struct rt_timer *timer)
{
    struct sim_sock *sock = container_of(timer, struct sim_sock, close_event.timer);
    struct rt *rt = sock->base.rt;
    struct rt_sock_io *ios[] = {take_ptr(&sock->recv), take_ptr(&sock->send)};
    for (unsigned i = 0; i < countof(ios); i++) {
        if (!ios[i]) continue;
        ios[i]->status = STATUS_CANCELLED;
        ios[i]->done(ios[i]);
        if (rt->dead) return;
    }
    void (*closed)(void *arg) = sock->closed;
    void *arg = sock->closed_arg;
    free_sock(sock);
    if (closed) closed(arg);
}

void sim_sock_close(struct rt_sock *base, void (*closed)(void *arg), void *arg)
{
    struct sim_sock *sock = sock_of(base);
    if (base->rt->dead) return;
    check(rt_on_loop(base->rt) && !sock->closing);
    sock->closing = true;
    sock->closed = closed;
    sock->closed_arg = arg;
    sim_event_cancel(&sock->recv_event);
    sim_event_cancel(&sock->send_event);
    sim_event_cancel(&sock->reset_event);
    struct sim_sock *other = sock->other;
    if (other) {
        send_segment(other, 0, true);
        detach(sock);
        pump(other); /* what it is sending has nobody to go to */
    }
    sim_event_set(sim_of(sock), &sock->close_event, EVENT_CLOSE, sock->srt->node, 0, 0, close_due);
}

/* ---- Connecting ---- */

static struct sim_listener *find_listener(const struct sim *sim, const char *address)
{
    list_for_each (n, &sim->listeners) {
        struct sim_listener *listener = list_entry(n, struct sim_listener, world_link);
        if (strcmp(listener->base.address, address) == 0) return listener;
    }
    return NULL;
}

static void accept_due(struct rt_timer *timer)
{
    struct sim_sock *sock = container_of(timer, struct sim_sock, accept_event.timer);
    struct sim_listener *listener = take_ptr(&sock->listener);
    listener->fn(listener->arg, &sock->base);
}

static struct sim_sock *connect_to(struct sim_rt *srt, struct sim_listener *listener)
{
    struct sim *sim = srt->node->sim;
    char local[RT_ADDRESS_MAX];
    snprintf(local, sizeof local, "127.0.0.1:%u", sim->next_port++);
    struct sim_rt *server = sim_rt_of(listener->base.rt);
    struct sim_sock *near = make_sock(srt, local, listener->base.address);
    struct sim_sock *far = make_sock(server, listener->base.address, local);
    near->other = far;
    far->other = near;
    far->listener = listener;
    sim_event_set(sim, &far->accept_event, EVENT_ACCEPT, server->node, 0,
                  sim_latency(sim, sim->options.net_latency_max_ns), accept_due);
    return near;
}

static void connect_due(struct rt_timer *timer)
{
    struct sim_connect *connect = container_of(timer, struct sim_connect, event.timer);
    struct sim_rt *srt = connect->srt;
    struct sim *sim = srt->node->sim;
    struct rt_sock_io *io = connect->io;
    struct sim_listener *listener = find_listener(sim, io->address);
    if (!strrchr(io->address, ':')) {
        io->status = STATUS_BAD_REQUEST;
    } else if (!listener || is_cut(sim, srt->node, sim_rt_of(listener->base.rt)->node)) {
        io->status = STATUS_UNREACHABLE;
    } else {
        io->sock = &connect_to(srt, listener)->base;
    }
    list_remove(&connect->link);
    free(connect);
    io->done(io);
}

void sim_sock_submit(struct rt *rt, struct rt_sock_io *io)
{
    struct sim_rt *srt = sim_rt_of(rt);
    if (rt->dead) return;
    check(rt_on_loop(rt));
    if (io->op == RT_SOCK_CONNECT) {
        struct sim *sim = srt->node->sim;
        struct sim_connect *connect = calloc(1, sizeof *connect);
        check(connect != NULL);
        connect->srt = srt;
        connect->io = io;
        list_push_back(&srt->connects, &connect->link);
        sim_event_set(sim, &connect->event, EVENT_CONNECT, srt->node, 0,
                      sim_latency(sim, sim->options.net_latency_max_ns), connect_due);
        return;
    }
    struct sim_sock *sock = sock_of(io->sock);
    struct rt_sock_io **slot = io->op == RT_SOCK_SEND ? &sock->send : &sock->recv;
    check(!*slot && !sock->closing);
    *slot = io;
    if (io->op == RT_SOCK_SEND) {
        pump(sock);
    } else {
        recv_if_ready(sock);
    }
}

static struct err *choose_address(struct sim *sim, const char *asked, char text[RT_ADDRESS_MAX])
{
    uint64_t port = 0;
    const char *colon = strrchr(asked, ':');
    if (!colon || !text_parse_u64(colon + 1, &port) || port > UINT16_MAX ||
        strlen(asked) >= RT_ADDRESS_MAX) {
        return err_next(err_new(STATUS_BAD_REQUEST, "\"%s\" is not an address", asked),
                        "write it as 192.0.2.1:3260 or [2001:db8::1]:3260");
    }
    if (port == 0) port = sim->next_port++;
    snprintf(text, RT_ADDRESS_MAX, "%.*s:%u", (int)(colon - asked), asked, (unsigned)port);
    if (find_listener(sim, text)) return err_new(STATUS_IN_USE, "listen on %s: in use", text);
    return NULL;
}

struct err *sim_listen(struct rt *rt, const char *address, rt_accept_fn *fn, void *arg,
                       struct rt_listener **ret_listener)
{
    char text[RT_ADDRESS_MAX];
    struct sim_rt *srt = sim_rt_of(rt);
    if (rt->dead) return err_new(STATUS_OS_ERROR, "the node is down");
    TRY(choose_address(srt->node->sim, address, text));
    struct sim_listener *listener = calloc(1, sizeof *listener);
    check(listener != NULL);
    listener->base.rt = rt;
    memcpy(listener->base.address, text, sizeof text);
    listener->fn = fn;
    listener->arg = arg;
    list_push_back(&srt->listeners, &listener->link);
    list_push_back(&srt->node->sim->listeners, &listener->world_link);
    *ret_listener = &listener->base;
    return NULL;
}

void sim_listener_close(struct rt_listener *base)
{
    struct sim_listener *listener = container_of(base, struct sim_listener, base);
    if (base->rt->dead) return;
    list_for_each_safe (n, &sim_rt_of(base->rt)->socks) {
        struct sim_sock *sock = list_entry(n, struct sim_sock, link);
        if (sock->listener != listener) continue;
        struct sim_sock *other = sock->other;
        if (other) sever(other, sim_of(sock)->options.net_latency_max_ns);
        sock->other = NULL;
        free_sock(sock);
    }
    list_remove(&listener->link);
    list_remove(&listener->world_link);
    free(listener);
}

/* ---- Crashes and partitions ---- */

/* Peers of a dead program hear of it soon; peers of a dead machine only when their patience ends.
 */
void sim_net_crash(struct sim_rt *srt, enum sim_crash kind)
{
    uint64_t notice_ns = srt->node->sim->options.net_latency_max_ns;
    if (kind == SIM_CRASH_POWER) notice_ns = 2 * RT_SECOND;
    list_for_each (n, &srt->socks) {
        struct sim_sock *sock = list_entry(n, struct sim_sock, link);
        struct sim_sock *other = sock->other;
        if (other) {
            sock->other = NULL;
            if (other->srt == srt) {
                other->other = NULL;
            } else {
                sever(other, notice_ns);
            }
        }
        cancel_events(sock);
    }
    list_for_each (n, &srt->connects) {
        sim_event_cancel(&list_entry(n, struct sim_connect, link)->event);
    }
    list_for_each (n, &srt->listeners) {
        list_remove(&list_entry(n, struct sim_listener, link)->world_link);
    }
}

void sim_net_free(struct sim_rt *srt)
{
    while (!list_is_empty(&srt->socks)) {
        free_sock(list_entry(list_front(&srt->socks), struct sim_sock, link));
    }
    while (!list_is_empty(&srt->connects)) {
        free(list_entry(list_pop_front(&srt->connects), struct sim_connect, link));
    }
    while (!list_is_empty(&srt->listeners)) {
        free(list_entry(list_pop_front(&srt->listeners), struct sim_listener, link));
    }
}

void sim_partition(struct sim *sim, struct sim_node *a, struct sim_node *b)
{
    struct sim_cut *cut = calloc(1, sizeof *cut);
    check(cut && a != b);
    cut->a = a;
    cut->b = b;
    list_push_back(&sim->cuts, &cut->link);
    if (!a->up) return;
    list_for_each (n, &a->rt->socks) {
        struct sim_sock *sock = list_entry(n, struct sim_sock, link);
        struct sim_sock *other = sock->other;
        if (!other || other->srt->node != b) continue;
        sever(sock, sim->options.net_latency_max_ns);
        sever(other, sim->options.net_latency_max_ns);
    }
}

void sim_net_heal(struct sim *sim)
{
    while (!list_is_empty(&sim->cuts)) {
        free(list_entry(list_pop_front(&sim->cuts), struct sim_cut, link));
    }
}
