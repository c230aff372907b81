/*
 * rt_linux_int.h - the parts of the Linux runtime.
 *
 * rt_linux.c runs the loop; rt_linux_file.c and rt_linux_sock.c know files and sockets.  They issue requests
 * to a backend (rt_uring.c, rt_epoll.c), which behaves as the kernel does in both: it hands each request back
 * with a result as of the system call (negative errno), maybe after a part of the length only.
 *
 * Callbacks run while the backend's results of a turn are gone through, or from one of the lists of what
 * became ready without it; so never inside the call that started them.
 */
#ifndef TARN_RT_RT_LINUX_INT_H
#define TARN_RT_RT_LINUX_INT_H

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "rt/rt_int.h"
#include "rt/rt_linux.h"

struct rt_linux {
    struct rt base;
    const struct rt_linux_ops *ops;
    void *backend;       /* of ops; NULL before and after it exists */
    struct err *refusal; /* why io_uring was not taken */
    bool has_begun;      /* before the loop's first turn, requests only gather */
    bool is_running;
    _Atomic(pthread_t) loop_thread;
    atomic_bool stop;

    /* From other threads. */
    pthread_mutex_t lock;
    struct list posted;     /* rt_message; under lock */
    struct list works_done; /* rt_work; under lock */
    struct list files_done; /* rt_file_io with a result; under lock */
    atomic_bool mail;       /* one of the three is not empty */
    int wake_fd;            /* eventfd: the backend awaits it */

    /* Of the loop. */
    struct list ready_socks;   /* rt_sock_io: done without the backend */
    struct list closing_socks; /* nothing in flight any more */
    struct list socks, listeners;
    bool listeners_unarmed;
    bool buffers_returned;

    int signal_fd; /* -1: nobody asked */
    void (*signal_fn)(void *arg, int signal);
    void *signal_arg;
};

struct rt_linux_file {
    struct rt_file base;
    int fd;
    unsigned in_flight;
};

struct rt_linux_sock {
    struct rt_sock base;
    struct list_node link; /* rt_linux.socks or .closing_socks */
    int fd;
    struct rt_sock_io *recv, *send, *connect; /* in flight */
    struct msghdr recv_message, send_message; /* rt_uring.c: memory of requests in flight */
    struct sockaddr_storage address;          /* CONNECT: of the peer */
    socklen_t address_length;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct rt_linux_listener {
    struct rt_listener base;
    struct list_node link;  /* rt_linux.listeners */
    struct list_node ready; /* rt_epoll.c */
    int fd;
    bool armed; /* an accept is in flight */
    bool closing;
    struct rt_timer retry;
    rt_accept_fn *fn;
    void *arg;
};

/* Where requests keep what is between two turns. */
enum { RT_FILE_PRIVATE_DONE = 0 /* bytes */, RT_FILE_PRIVATE_RESULT = 1 /* files_done */ };
enum { RT_SOCK_PRIVATE_SOCK = 0 /* CONNECT: the socket in the making */ };

static inline struct rt_linux *rt_linux_of(struct rt *rt)
{
    return container_of(rt, struct rt_linux, base);
}

static inline struct rt_linux_sock *rt_linux_sock_of(struct rt_sock_io *io)
{
    if (io->op == RT_SOCK_CONNECT) return (void *)(uintptr_t)io->private_[RT_SOCK_PRIVATE_SOCK];
    return container_of(io->sock, struct rt_linux_sock, base);
}

/* fallocate's way to discard; also block devices know it. */
enum { RT_LINUX_DISCARD_MODE = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };

static inline int rt_linux_fd_of(const struct rt_file_io *io)
{
    return container_of(io->file, struct rt_linux_file, base)->fd;
}

/* ---- What a backend is ---- */

/* All on the loop's thread (or the creator's, before the loop has begun). */
struct rt_linux_ops {
    const char *name;
    int socket_flags; /* of sockets that are made */
    void (*destroy)(struct rt_linux *l); /* what is in flight never comes back */
    void (*begin)(struct rt_linux *l);   /* once, before the first turn */
    /* Starts what was issued.  May complete. */
    void (*start)(struct rt_linux *l);
    /* Sleeps until something completes, mail comes, or deadline_ns (0: does not sleep), and completes.
     * When mail has come it only returns. */
    void (*wait)(struct rt_linux *l, uint64_t deadline_ns);

    /* rt_linux_file_complete, rt_linux_sock_complete or rt_linux_listener_complete follows. */
    void (*file_issue)(struct rt_linux *l, struct rt_file_io *io);
    void (*sock_issue)(struct rt_linux *l, struct rt_sock_io *io);
    bool (*accept_issue)(struct rt_linux *l, struct rt_linux_listener *listener); /* false: later */

    /* A socket or listener has come to be (false: no resources), or goes.  NULL where only requests
     * matter.  A shutdown of fd must bring back what is in flight. */
    bool (*watch)(struct rt_linux *l, int fd, uint64_t tagged);
    void (*unwatch)(struct rt_linux *l, int fd);
};

/* What a backend awaits, as a number that comes back with the event: a pointer and, in its low three
 * bits, what it points to. */
enum rt_linux_tag {
    TAG_NONE, /* nobody waits for it */
    TAG_FILE,
    TAG_SOCK,
    TAG_LISTENER,
    TAG_WAKE,
    TAG_SIGNAL,
    TAG_TIMER,
    TAG_MASK = 7,
};

static inline uint64_t rt_linux_tagged(void *pointer, enum rt_linux_tag tag)
{
    check(((uintptr_t)pointer & TAG_MASK) == 0);
    return (uintptr_t)pointer | tag;
}

static inline void *rt_linux_tag_pointer(uint64_t data)
{
    return (void *)(uintptr_t)(data & ~(uint64_t)TAG_MASK);
}

static inline enum rt_linux_tag rt_linux_tag_of(uint64_t data)
{
    return (enum rt_linux_tag)(data & TAG_MASK);
}

/* Each sets l->ops and l->backend.  ret_refused (may be NULL): whether the failure is one that epoll may
 * not have. */
struct err *rt_uring_create(struct rt_linux *l, unsigned queue_depth, bool *ret_refused) MUST_CHECK;
struct err *rt_epoll_create(struct rt_linux *l) MUST_CHECK;

/* ---- For the backends ---- */

/* What is left of a transfer when `done` bytes are: the rest of a begun iovec alone (made in part), else
 * the iovecs that follow. */
const struct iovec *rt_linux_rest(const struct iovec *iov, unsigned iov_count, size_t done,
                                  struct iovec *part, unsigned *ret_count);
void rt_linux_message(struct msghdr *message, const struct iovec *iov, unsigned iov_count);
/* Hands something to the loop: a node to one of the lists under lock. */
void rt_linux_mail(struct rt_linux *l, struct list *to, struct list_node *node);
void rt_linux_take_signals(struct rt_linux *l);
/* A thread of rt's own: no signals, and named in lists of threads. */
struct err *rt_linux_thread_start(const char *name, void *(*fn)(void *arg), void *arg,
                                  pthread_t *ret_thread) MUST_CHECK;

/* rt_linux_file.c */
struct err *rt_linux_file_open(struct rt *rt, const char *path, unsigned flags,
                               struct rt_file **ret_file, struct rt_file_info *ret_info);
void rt_linux_file_close(struct rt_file *file);
void rt_linux_file_submit(struct rt *rt, struct rt_file_io *io);
void rt_linux_file_complete(struct rt_linux *l, struct rt_file_io *io, int result);

/* rt_linux_sock.c */
struct err *rt_linux_listen(struct rt *rt, const char *address, rt_accept_fn *fn, void *arg,
                            struct rt_listener **ret_listener);
void rt_linux_listener_close(struct rt_listener *listener);
void rt_linux_listener_complete(struct rt_linux *l, struct rt_linux_listener *listener, int result);
void rt_linux_listeners_arm(struct rt_linux *l);
void rt_linux_sock_submit(struct rt *rt, struct rt_sock_io *io);
void rt_linux_sock_close(struct rt_sock *sock, void (*closed)(void *arg), void *arg);
void rt_linux_sock_complete(struct rt_linux *l, struct rt_sock_io *io, int result);
void rt_linux_socks_run_closing(struct rt_linux *l);
void rt_linux_socks_destroy(struct rt_linux *l);

/* rt_linux_worker.c */
struct err *rt_linux_worker_create(struct rt *rt, const char *name, struct rt_worker **ret_worker);
void rt_linux_worker_destroy(struct rt_worker *worker);
void rt_linux_work(struct rt_worker *worker, struct rt_work *work);

/* rt_bfile.c */
struct err *rt_linux_bfile_open(struct rt *rt, const char *path, unsigned flags,
                                struct rt_bfile **ret_file);
struct err *rt_linux_bfile_read(struct rt_bfile *file, uint64_t offset, void *to, size_t size_bytes,
                                size_t *ret_read);
struct err *rt_linux_bfile_write(struct rt_bfile *file, uint64_t offset, const void *from,
                                 size_t size_bytes);
struct err *rt_linux_bfile_truncate(struct rt_bfile *file, uint64_t size_bytes);
struct err *rt_linux_bfile_sync(struct rt_bfile *file, enum rt_flush_site site);
struct err *rt_linux_bfile_size(struct rt_bfile *file, uint64_t *ret_size_bytes);
void rt_linux_bfile_close(struct rt_bfile *file);
struct err *rt_linux_path_delete(struct rt *rt, const char *path, bool sync_directory);
struct err *rt_linux_path_rename(struct rt *rt, const char *from, const char *to);
bool rt_linux_path_exists(struct rt *rt, const char *path);
struct err *rt_linux_path_make_directory(struct rt *rt, const char *path);
/* Makes the entry of a path durable. */
struct err *rt_linux_sync_directory_of(const char *path);

#endif
