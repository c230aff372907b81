/* The Linux runtime over io_uring. */
#include <liburing.h>

#include <errno.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rt/rt_linux_int.h"

enum {
    REAP_BATCH = 64,
    /* A device begins with the first requests while the next ones are made: on a
     * virtual disk at depth 32 this gave a sixth more reads than one submission
     * per turn. */
    SUBMIT_BATCH = 8,
};

struct uring {
    struct io_uring ring;
    struct list waiting_files; /* rt_file_io: for a place in the ring */
    struct list waiting_socks; /* rt_sock_io */
    uint64_t wake_value;
    bool wake_armed;
    bool signal_armed;
};

static struct uring *uring_of(struct rt_linux *l)
{
    return l->backend;
}

/* NULL when the ring is full and cannot be emptied now. */
static struct io_uring_sqe *next_sqe(struct rt_linux *l)
{
    struct io_uring *ring = &uring_of(l)->ring;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (!sqe && l->has_begun) {
        io_uring_submit(ring);
        sqe = io_uring_get_sqe(ring);
    }
    return sqe;
}

static void tag(struct io_uring_sqe *sqe, void *pointer, enum rt_linux_tag tag)
{
    io_uring_sqe_set_data64(sqe, rt_linux_tagged(pointer, tag));
}

/* ---- Requests ---- */

static void prepare_file(struct io_uring_sqe *sqe, const struct rt_file_io *io)
{
    int fd = rt_linux_fd_of(io);
    size_t done = io->private_[RT_FILE_PRIVATE_DONE];
    struct iovec part;
    unsigned count;
    const struct iovec *v = rt_linux_rest(io->iov, io->iov_count, done, &part, &count);
    if (count > 1) { /* so it is not part, which ends here */
        if (io->op == RT_FILE_READ) {
            io_uring_prep_readv(sqe, fd, v, count, io->offset + done);
        } else {
            io_uring_prep_writev(sqe, fd, v, count, io->offset + done);
        }
    } else if (io->op == RT_FILE_READ) {
        io_uring_prep_read(sqe, fd, v->iov_base, (unsigned)v->iov_len, io->offset + done);
    } else {
        io_uring_prep_write(sqe, fd, v->iov_base, (unsigned)v->iov_len, io->offset + done);
    }
}

static bool try_file(struct rt_linux *l, struct rt_file_io *io)
{
    struct uring *u = uring_of(l);
    struct io_uring_sqe *sqe = next_sqe(l);
    if (!sqe) return false;
    switch (io->op) {
    case RT_FILE_READ:
    case RT_FILE_WRITE:
        prepare_file(sqe, io);
        break;
    case RT_FILE_SYNC:
        io_uring_prep_fsync(sqe, rt_linux_fd_of(io), IORING_FSYNC_DATASYNC);
        break;
    case RT_FILE_DISCARD:
        /* On a block device this discards, too. */
        io_uring_prep_fallocate(sqe, rt_linux_fd_of(io), RT_LINUX_DISCARD_MODE, (off_t)io->offset,
                                (off_t)io->length);
        break;
    }
    tag(sqe, io, TAG_FILE);
    if (l->has_begun && io_uring_sq_ready(&u->ring) >= SUBMIT_BATCH) io_uring_submit(&u->ring);
    return true;
}

static void uring_file_issue(struct rt_linux *l, struct rt_file_io *io)
{
    struct uring *u = uring_of(l);
    if (list_is_empty(&u->waiting_files) && try_file(l, io)) return;
    list_push_back(&u->waiting_files, &io->link);
}

static void prepare_transfer(struct io_uring_sqe *sqe, struct rt_linux_sock *sock,
                             struct rt_sock_io *io)
{
    struct iovec part;
    unsigned count;
    const struct iovec *v = rt_linux_rest(io->iov, io->iov_count, io->bytes, &part, &count);
    bool is_send = io->op == RT_SOCK_SEND;
    int flags = is_send ? MSG_NOSIGNAL | MSG_WAITALL : 0;
    if (count == 1) {
        if (is_send) {
            io_uring_prep_send(sqe, sock->fd, v->iov_base, v->iov_len, flags);
        } else {
            io_uring_prep_recv(sqe, sock->fd, v->iov_base, v->iov_len, flags);
        }
        return;
    }
    struct msghdr *message = is_send ? &sock->send_message : &sock->recv_message;
    rt_linux_message(message, v, count);
    if (is_send) {
        io_uring_prep_sendmsg(sqe, sock->fd, message, (unsigned)flags);
    } else {
        io_uring_prep_recvmsg(sqe, sock->fd, message, (unsigned)flags);
    }
}

static bool try_sock(struct rt_linux *l, struct rt_sock_io *io)
{
    struct rt_linux_sock *sock = rt_linux_sock_of(io);
    struct io_uring_sqe *sqe = next_sqe(l);
    if (!sqe) return false;
    if (io->op == RT_SOCK_CONNECT) {
        io_uring_prep_connect(sqe, sock->fd, (struct sockaddr *)&sock->address,
                              sock->address_length);
    } else {
        prepare_transfer(sqe, sock, io);
    }
    tag(sqe, io, TAG_SOCK);
    return true;
}

static void uring_sock_issue(struct rt_linux *l, struct rt_sock_io *io)
{
    struct uring *u = uring_of(l);
    if (list_is_empty(&u->waiting_socks) && try_sock(l, io)) return;
    list_push_back(&u->waiting_socks, &io->link);
}

static bool uring_accept_issue(struct rt_linux *l, struct rt_linux_listener *listener)
{
    struct io_uring_sqe *sqe = next_sqe(l);
    if (!sqe) return false;
    io_uring_prep_accept(sqe, listener->fd, NULL, NULL, SOCK_CLOEXEC);
    tag(sqe, listener, TAG_LISTENER);
    return true;
}

/* ---- Turns of the loop ---- */

/* Requests that are always there, and those that found no place in the ring. */
static void uring_start(struct rt_linux *l)
{
    struct uring *u = uring_of(l);
    struct io_uring_sqe *sqe;
    if (!u->wake_armed && (sqe = next_sqe(l))) {
        io_uring_prep_read(sqe, l->wake_fd, &u->wake_value, sizeof u->wake_value, 0);
        tag(sqe, NULL, TAG_WAKE);
        u->wake_armed = true;
    }
    if (l->signal_fd >= 0 && !u->signal_armed && (sqe = next_sqe(l))) {
        io_uring_prep_poll_add(sqe, l->signal_fd, POLLIN);
        tag(sqe, NULL, TAG_SIGNAL);
        u->signal_armed = true;
    }
    while (!list_is_empty(&u->waiting_files)) {
        struct rt_file_io *io =
            list_entry(list_pop_front(&u->waiting_files), struct rt_file_io, link);
        if (try_file(l, io)) continue;
        list_push_front(&u->waiting_files, &io->link);
        break;
    }
    while (!list_is_empty(&u->waiting_socks)) {
        struct rt_sock_io *io =
            list_entry(list_pop_front(&u->waiting_socks), struct rt_sock_io, link);
        if (try_sock(l, io)) continue;
        list_push_front(&u->waiting_socks, &io->link);
        break;
    }
}

static void complete(struct rt_linux *l, uint64_t data, int result)
{
    void *pointer = rt_linux_tag_pointer(data);
    switch (rt_linux_tag_of(data)) {
    case TAG_FILE:
        rt_linux_file_complete(l, pointer, result);
        return;
    case TAG_SOCK:
        rt_linux_sock_complete(l, pointer, result);
        return;
    case TAG_LISTENER:
        rt_linux_listener_complete(l, pointer, result);
        return;
    case TAG_WAKE:
        uring_of(l)->wake_armed = false;
        return;
    case TAG_SIGNAL:
        uring_of(l)->signal_armed = false;
        rt_linux_take_signals(l);
        return;
    case TAG_NONE:
        return;
    case TAG_TIMER:
    case TAG_MASK:
        break;
    }
    unreachable("unknown completion");
}

/* Takes what has completed by now; what completes meanwhile waits for the next
 * turn. */
static void reap(struct rt_linux *l)
{
    struct io_uring *ring = &uring_of(l)->ring;
    struct io_uring_cqe *cqes[REAP_BATCH];
    unsigned left = io_uring_cq_ready(ring);
    while (left > 0) {
        uint64_t data[REAP_BATCH];
        int results[REAP_BATCH];
        unsigned n = io_uring_peek_batch_cqe(ring, cqes, min_of(left, (unsigned)REAP_BATCH));
        if (n == 0) return;
        for (unsigned i = 0; i < n; i++) {
            data[i] = cqes[i]->user_data;
            results[i] = cqes[i]->res;
        }
        io_uring_cq_advance(ring, n); /* callbacks may submit and so need room */
        for (unsigned i = 0; i < n; i++) {
            complete(l, data[i], results[i]);
        }
        left -= n;
    }
}

/* Submits everything in one call and sleeps in the same call. */
static void uring_wait(struct rt_linux *l, uint64_t deadline_ns)
{
    struct io_uring *ring = &uring_of(l)->ring;
    struct io_uring_cqe *cqe;
    bool has_limit = deadline_ns != UINT64_MAX;
    uint64_t now = has_limit && deadline_ns ? rt_now(&l->base) : 0;
    int code;
    if (deadline_ns <= now) {
        code = io_uring_submit_and_get_events(ring);
    } else if (has_limit) {
        uint64_t wait = deadline_ns - now;
        struct __kernel_timespec limit = {.tv_sec = (long long)(wait / RT_SECOND),
                                          .tv_nsec = (long long)(wait % RT_SECOND)};
        code = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &limit, NULL);
    } else {
        code = io_uring_submit_and_wait(ring, 1);
    }
    check(code >= 0 || code == -ETIME || code == -EINTR || code == -EAGAIN || code == -EBUSY);
    reap(l);
}

/* ---- Create and destroy ---- */

/* The ring belongs to the thread that enables it (liburing 2.3 forgets to
 * export the call). */
static void uring_begin(struct rt_linux *l)
{
    struct io_uring *ring = &uring_of(l)->ring;
    if (!(ring->flags & IORING_SETUP_R_DISABLED)) return;
    long code =
        syscall(__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    check(code == 0);
}

static void uring_destroy(struct rt_linux *l)
{
    struct uring *u = uring_of(l);
    io_uring_queue_exit(&u->ring);
    free(u);
}

static const struct rt_linux_ops uring_ops = {
    .name = "io_uring",
    .destroy = uring_destroy,
    .begin = uring_begin,
    .start = uring_start,
    .wait = uring_wait,
    .file_issue = uring_file_issue,
    .sock_issue = uring_sock_issue,
    .accept_issue = uring_accept_issue,
};

/* A filter may let the ring be made and refuse its use, and old kernels know
 * only a part.  A wait with a limit came last of what is needed (5.11). */
static int try_ring(struct io_uring *ring)
{
    if (!(ring->features & IORING_FEAT_EXT_ARG)) return ENOSYS;
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (!probe) return ENOSYS;
    io_uring_free_probe(probe);
    /* Of nothing: a ring that is not yet enabled says so. */
    if (syscall(__NR_io_uring_enter, ring->ring_fd, 0, 0, 0, NULL, 0) >= 0) return 0;
    return errno == EBADFD ? 0 : errno;
}

/* The fast flags came with 6.0 and 6.1; without them everything works, a little
 * slower. */
static int make_ring(struct io_uring *ring, unsigned queue_depth)
{
    static const unsigned flags[] = {
        IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0};
    int code = 0;
    for (unsigned i = 0; i < countof(flags); i++) {
        struct io_uring_params params = {.flags =
                                             flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                         .cq_entries = 4 * queue_depth};
        code = -io_uring_queue_init_params(queue_depth, ring, &params);
        if (code == 0) break;
    }
    if (code) return code;
    code = try_ring(ring);
    if (code) io_uring_queue_exit(ring);
    return code;
}

struct err *rt_uring_create(struct rt_linux *l, unsigned queue_depth, bool *ret_refused)
{
    struct uring *u = calloc(1, sizeof *u);
    if (!u) return err_new(STATUS_NO_MEMORY, "no memory for io_uring");
    int code = make_ring(&u->ring, queue_depth);
    if (code) {
        free(u);
        /* ENOMEM: before 5.12 rings counted against the limit of locked memory. */
        *ret_refused =
            code == EPERM || code == EACCES || code == ENOSYS || code == EINVAL || code == ENOMEM;
        return err_from_code(code, "set up io_uring");
    }
    list_init(&u->waiting_files);
    list_init(&u->waiting_socks);
    l->ops = &uring_ops;
    l->backend = u;
    return NULL;
}
