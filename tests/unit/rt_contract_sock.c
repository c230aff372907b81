/* Byte streams. */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/prng.h"
#include "tests/unit/rt_contract.h"

bool sock_cases_failed(void)
{
    bool failed = tap_failed;
    tap_failed = false;
    return failed;
}

enum { BIG_BYTES = 8 * 1024 * 1024 };
static uint8_t outgoing[BIG_BYTES], incoming[BIG_BYTES];

static struct rt_listener *listener;
static struct rt_sock *accepted, *connected;
static unsigned accept_count;
static unsigned waiting; /* callbacks to come; the run stops with the last */

static void one_less(void)
{
    if (--waiting == 0) rt_stop(rt);
}

static void on_accept(void *arg, struct rt_sock *sock)
{
    came();
    expect(arg == &accept_count);
    accept_count++;
    accepted = sock;
    one_less();
}

static void io_done(struct rt_sock_io *io)
{
    came();
    one_less();
}

static void start(struct rt_sock_io *io)
{
    io->done = io_done;
    waiting++;
    STARTING(rt_sock_submit(rt, io));
}

static void on_closed(void *arg)
{
    came();
    (*(unsigned *)arg)++;
    one_less();
}

static unsigned closed_count;

static void start_close(struct rt_sock *sock)
{
    waiting++;
    STARTING(rt_sock_close(sock, on_closed, &closed_count));
}

static bool begin_at(const char *address)
{
    listener = NULL;
    accepted = connected = NULL;
    accept_count = waiting = closed_count = 0;
    struct err *e = NULL;
    STARTING(e = rt_listen(rt, address, on_accept, &accept_count, &listener));
    expect_status(e, STATUS_OK);
    return listener != NULL;
}

static bool connect_pair(void)
{
    struct rt_sock_io io = {.op = RT_SOCK_CONNECT, .address = rt_listener_address(listener)};
    waiting = 1; /* the accept */
    start(&io);
    rt_run(rt);
    expect_eq(io.status, STATUS_OK);
    connected = io.sock;
    return connected && accepted;
}

static bool begin(void)
{
    return begin_at("127.0.0.1:0") && connect_pair();
}

static void finish(void)
{
    if (connected) start_close(connected);
    if (accepted) start_close(accepted);
    if (waiting) rt_run(rt);
    STARTING(rt_listener_close(listener));
}

static void both_ends_know_the_addresses(void)
{
    require(begin());
    expect_eq(accept_count, 1);
    expect(strcmp(rt_listener_address(listener), "127.0.0.1:0") != 0);
    expect_str(rt_sock_peer(connected), rt_listener_address(listener));
    expect_str(rt_sock_local(accepted), rt_listener_address(listener));
    expect_str(rt_sock_local(connected), rt_sock_peer(accepted));
    finish();
    expect_eq(closed_count, 2);
    rt_listener_close(NULL);
}

static void bytes_go_both_ways(void)
{
    char a[16] = "", b[16] = "";
    struct iovec to_b[] = {{(void *)outgoing, 3}, {(void *)(outgoing + 10), 4}}; /* in pieces */
    struct iovec from_a[] = {{b, 2}, {b + 2, 14}}, to_a = {outgoing + 20, 6}, from_b = {a, 16};
    memcpy(outgoing, "abcxxxxxxxdefgxxxxxxsecond", 26);
    require(begin());
    struct rt_sock_io ios[] = {
        {.op = RT_SOCK_SEND, .sock = connected, .iov = to_b, .iov_count = 2},
        {.op = RT_SOCK_RECV, .sock = connected, .iov = &from_b, .iov_count = 1},
        {.op = RT_SOCK_SEND, .sock = accepted, .iov = &to_a, .iov_count = 1},
        {.op = RT_SOCK_RECV, .sock = accepted, .iov = from_a, .iov_count = 2},
    };
    for (unsigned i = 0; i < 4; i++) {
        start(&ios[i]);
    }
    rt_run(rt);
    for (unsigned i = 0; i < 4; i++) {
        expect_eq(ios[i].status, STATUS_OK);
        expect(ios[i].bytes >= 1);
    }
    expect_eq(ios[0].bytes, 7);
    expect_eq(ios[2].bytes, 6);
    /* A receive may have come with less than all. */
    size_t n = ios[3].bytes;
    while (n < 7) {
        struct iovec rest = {b + n, 16 - n};
        ios[3].iov = &rest;
        ios[3].iov_count = 1;
        start(&ios[3]);
        rt_run(rt);
        require(ios[3].status == STATUS_OK);
        n += ios[3].bytes;
    }
    n = ios[1].bytes;
    while (n < 6) {
        struct iovec rest = {a + n, 16 - n};
        ios[1].iov = &rest;
        start(&ios[1]);
        rt_run(rt);
        require(ios[1].status == STATUS_OK);
        n += ios[1].bytes;
    }
    expect_str(b, "abcdefg");
    expect_str(a, "second");
    finish();
}

/* ---- Much data ---- */

static struct rt_sock_io reader;
static struct iovec reader_iov;
static size_t read_bytes;
static size_t read_step; /* at most so many at a time */

static void read_on(struct rt_sock_io *io)
{
    came();
    if (io->status != STATUS_OK) {
        one_less();
        return;
    }
    expect(io->bytes >= 1 && io->bytes <= reader_iov.iov_len);
    read_bytes += io->bytes;
    reader_iov = (struct iovec){incoming + read_bytes, min_of(read_step, BIG_BYTES - read_bytes)};
    if (read_bytes < BIG_BYTES) {
        STARTING(rt_sock_submit(rt, io));
    } else {
        one_less();
    }
}

static void start_reader(struct rt_sock *sock, size_t step)
{
    read_bytes = 0;
    read_step = step;
    reader_iov = (struct iovec){incoming, step};
    reader = (struct rt_sock_io){
        .op = RT_SOCK_RECV, .sock = sock, .iov = &reader_iov, .iov_count = 1, .done = read_on};
    waiting++;
    STARTING(rt_sock_submit(rt, &reader));
}

static void a_big_send_arrives_whole_and_in_order(void)
{
    struct prng prng;
    prng_init(&prng, 5);
    prng_fill(&prng, outgoing, BIG_BYTES);
    memset(incoming, 0, BIG_BYTES);
    require(begin());
    struct iovec v[RT_IOV_MAX];
    size_t piece = BIG_BYTES / RT_IOV_MAX;
    for (unsigned i = 0; i < RT_IOV_MAX; i++) {
        v[i] = (struct iovec){outgoing + i * piece, piece};
    }
    struct rt_sock_io send = {
        .op = RT_SOCK_SEND, .sock = connected, .iov = v, .iov_count = RT_IOV_MAX};
    start(&send);
    start_reader(accepted, 100000);
    rt_run(rt);
    expect_eq(send.status, STATUS_OK);
    expect_eq(send.bytes, BIG_BYTES);
    expect_eq(read_bytes, BIG_BYTES);
    expect(memcmp(outgoing, incoming, BIG_BYTES) == 0);
    finish();
}

static void the_end_comes_after_the_data(void)
{
    require(begin());
    struct iovec v = {outgoing, 50000};
    struct rt_sock_io send = {.op = RT_SOCK_SEND, .sock = accepted, .iov = &v, .iov_count = 1};
    start(&send);
    rt_run(rt);
    expect_eq(send.status, STATUS_OK);
    start_close(accepted);
    accepted = NULL;
    start_reader(connected, 7000);
    rt_run(rt);
    expect_eq(read_bytes, 50000);
    expect_eq(reader.status, STATUS_PEER_CLOSED);
    expect_eq(closed_count, 1);
    finish();
}

static void sending_to_a_peer_that_has_gone_fails(void)
{
    require(begin());
    start_close(accepted);
    accepted = NULL;
    rt_run(rt);
    struct iovec v = {outgoing, 65536};
    struct rt_sock_io send = {.op = RT_SOCK_SEND, .sock = connected, .iov = &v, .iov_count = 1};
    for (unsigned i = 0; i < 100; i++) { /* the first ones may not know it yet */
        start(&send);
        rt_run(rt);
        if (send.status != STATUS_OK) break;
    }
    expect_eq(send.status, STATUS_PEER_CLOSED);
    finish();
}

/* ---- Close ---- */

static unsigned order, recv_order, send_order, closed_order;

static void cancelled_recv(struct rt_sock_io *io)
{
    came();
    recv_order = ++order;
    one_less();
}

static void cancelled_send(struct rt_sock_io *io)
{
    came();
    send_order = ++order;
    one_less();
}

static void closed_last(void *arg)
{
    came();
    closed_order = ++order;
    one_less();
}

static void close_cancels_what_is_in_flight(void)
{
    require(begin());
    order = recv_order = send_order = closed_order = 0;
    struct iovec in = {incoming, 100}, out = {outgoing, BIG_BYTES};
    struct rt_sock_io recv = {
        .op = RT_SOCK_RECV, .sock = connected, .iov = &in, .iov_count = 1, .done = cancelled_recv};
    struct rt_sock_io send = {.op = RT_SOCK_SEND, /* nobody reads it */
                              .sock = connected,
                              .iov = &out,
                              .iov_count = 1,
                              .done = cancelled_send};
    STARTING(rt_sock_submit(rt, &recv));
    STARTING(rt_sock_submit(rt, &send));
    /* Another connection is made meanwhile, so that both are really under way. */
    struct rt_sock_io other = {.op = RT_SOCK_CONNECT, .address = rt_listener_address(listener)};
    struct rt_sock *first = accepted;
    waiting = 1; /* its accept */
    start(&other);
    rt_run(rt);
    waiting = 3;
    STARTING(rt_sock_close(connected, closed_last, NULL));
    connected = other.sock;
    rt_run(rt);
    expect_eq(recv.status, STATUS_CANCELLED);
    expect_eq(send.status, STATUS_CANCELLED);
    expect_eq(closed_order, 3);
    expect(recv_order && send_order);
    start_close(first);
    finish();
}

static void close_both(struct rt_message *message)
{
    came();
    start_close(take_ptr(&connected));
    start_close(take_ptr(&accepted));
}

static void receives_that_wait_hold_nothing_up(void)
{
    require(begin());
    struct iovec v[2] = {{incoming, 100}, {incoming + 100, 100}};
    struct rt_sock_io recv[2] = {
        {.op = RT_SOCK_RECV, .sock = connected, .iov = &v[0], .iov_count = 1},
        {.op = RT_SOCK_RECV, .sock = accepted, .iov = &v[1], .iov_count = 1}};
    struct rt_message message = {.fn = close_both};
    for (unsigned i = 0; i < 2; i++) {
        start(&recv[i]);
    }
    STARTING(rt_post(rt, &message));
    rt_run(rt);
    expect_eq(recv[0].status, STATUS_CANCELLED);
    expect_eq(recv[1].status, STATUS_CANCELLED);
    expect_eq(closed_count, 2);
    finish();
}

static void closing_without_a_callback_is_fine(void)
{
    require(begin());
    STARTING(rt_sock_close(connected, NULL, NULL));
    connected = NULL;
    start_reader(accepted, 10);
    rt_run(rt);
    expect_eq(reader.status, STATUS_PEER_CLOSED);
    finish();
}

static void close_own_sock(struct rt_sock_io *io)
{
    came();
    start_close(io->sock);
    one_less();
}

static void a_socket_may_be_closed_in_its_own_callback(void)
{
    require(begin());
    struct iovec in = {incoming, 100}, out = {outgoing, 1};
    struct rt_sock_io recv = {
        .op = RT_SOCK_RECV, .sock = connected, .iov = &in, .iov_count = 1, .done = close_own_sock};
    struct rt_sock_io send = {.op = RT_SOCK_SEND, .sock = accepted, .iov = &out, .iov_count = 1};
    waiting++;
    STARTING(rt_sock_submit(rt, &recv));
    start(&send);
    connected = NULL;
    rt_run(rt);
    expect_eq(recv.status, STATUS_OK);
    expect_eq(closed_count, 1);
    finish();
}

/* Between fork and exec a child holds all that is open.  The connection ends all the same, and what
 * happens to its other half does not come back to the socket that has gone. */
static void a_child_that_holds_a_socket_open_changes_nothing(void)
{
    require(begin());
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    start_close(accepted);
    accepted = NULL;
    rt_run(rt);
    expect_eq(closed_count, 1);
    start_reader(connected, 10);
    rt_run(rt);
    expect_eq(reader.status, STATUS_PEER_CLOSED);
    start_close(connected);
    connected = NULL;
    rt_run(rt);
    expect(connect_pair()); /* some turns, in which events would come */
    finish();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* ---- Listeners and connects that fail ---- */

static void a_closed_listener_accepts_nobody(void)
{
    require(begin());
    char address[RT_ADDRESS_MAX];
    snprintf(address, sizeof address, "%s", rt_listener_address(listener));
    struct rt_listener *second = NULL;
    struct err *e = rt_listen(rt, address, on_accept, &accept_count, &second);
    expect_status(e, STATUS_IN_USE);
    expect(second == NULL);
    STARTING(rt_listener_close(take_ptr(&listener)));
    struct rt_sock_io io = {.op = RT_SOCK_CONNECT, .address = address};
    start(&io);
    rt_run(rt);
    expect_eq(io.status, STATUS_UNREACHABLE);
    expect(io.sock == NULL);
    expect_eq(accept_count, 1);
    finish();
}

static void bad_addresses_are_refused(void)
{
    static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:x"};
    for (unsigned i = 0; i < countof(bad); i++) {
        struct rt_listener *none = NULL;
        expect_status(rt_listen(rt, bad[i], on_accept, NULL, &none), STATUS_BAD_REQUEST);
        expect(none == NULL);
    }
    struct rt_sock_io io = {.op = RT_SOCK_CONNECT, .address = "nonsense"};
    start(&io);
    rt_run(rt);
    expect_eq(io.status, STATUS_BAD_REQUEST);
}

static void ipv6_addresses_work(void)
{
    require(begin_at("[::1]:0"));
    expect(strncmp(rt_listener_address(listener), "[::1]:", 6) == 0);
    require(connect_pair());
    expect_str(rt_sock_peer(connected), rt_listener_address(listener));
    finish();
}

static void many_connections_are_all_accepted(void)
{
    enum { MANY = 40 };
    static struct rt_sock_io ios[MANY];
    require(begin_at("127.0.0.1:0"));
    waiting = MANY;
    for (unsigned i = 0; i < MANY; i++) {
        ios[i] =
            (struct rt_sock_io){.op = RT_SOCK_CONNECT, .address = rt_listener_address(listener)};
        start(&ios[i]);
    }
    rt_run(rt);
    expect_eq(accept_count, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        expect_eq(ios[i].status, STATUS_OK);
        if (ios[i].sock) start_close(ios[i].sock);
    }
    rt_run(rt);
    expect_eq(closed_count, MANY);
    /* What was accepted and is never closed goes with the runtime; here only the last is known. */
    finish();
}

const struct contract_case sock_cases[] = {
    CASE(both_ends_know_the_addresses),
    CASE(bytes_go_both_ways),
    CASE(a_big_send_arrives_whole_and_in_order),
    CASE(the_end_comes_after_the_data),
    CASE(sending_to_a_peer_that_has_gone_fails),
    CASE(close_cancels_what_is_in_flight),
    CASE(receives_that_wait_hold_nothing_up),
    CASE(closing_without_a_callback_is_fine),
    CASE(a_socket_may_be_closed_in_its_own_callback),
    CASE(a_child_that_holds_a_socket_open_changes_nothing),
    CASE(a_closed_listener_accepts_nobody),
    CASE(bad_addresses_are_refused),
    CASE(ipv6_addresses_work),
    CASE(many_connections_are_all_accepted),
};
const unsigned sock_case_count = countof(sock_cases);
