/*
 * rt_linux_int.h - the parts of the Linux runtime.
 *
 * Completions carry a pointer and, in its low three bits, what it points to.  Callbacks run while
 * the completions of a turn are gone through, or from one of the lists of what became ready without
 * the ring; so never inside the call that started them.
 */
#ifndef TARN_RT_RT_LINUX_INT_H
#define TARN_RT_RT_LINUX_INT_H

#include <liburing.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "rt/rt_int.h"
#include "rt/rt_linux.h"

enum rt_linux_tag {
    TAG_NONE, /* nobody waits for it */
    TAG_FILE,
    TAG_SOCK,
    TAG_LISTENER,
    TAG_WAKE,
    TAG_SIGNAL,
    TAG_MASK = 7,
};

struct rt_linux {
    struct rt base;
    struct io_uring ring;
    bool ring_exists;
    bool ring_enabled; /* the loop has begun; before it, requests only gather */
    bool is_running;
    _Atomic(pthread_t) loop_thread;
    atomic_bool stop;

    /* From other threads. */
    pthread_mutex_t lock;
    struct list posted;     /* rt_message; under lock */
    struct list works_done; /* rt_work; under lock */
    atomic_bool mail;       /* one of the two is not empty */
    int wake_fd;
    bool wake_armed;
    uint64_t wake_value;

    /* Of the loop. */
    struct list ready_files;   /* rt_file_io: done without the ring */
    struct list ready_socks;   /* rt_sock_io */
    struct list waiting_files; /* for a place in the ring */
    struct list waiting_socks;
    struct list closing_socks; /* nothing in flight any more */
    struct list socks, listeners;
    bool listeners_unarmed;
    bool buffers_returned;

    int signal_fd;
    bool signal_armed;
    void (*signal_fn)(void *arg, int signal);
    void *signal_arg;
};

static inline struct rt_linux *rt_linux_of(struct rt *rt)
{
    return container_of(rt, struct rt_linux, base);
}

/* NULL when the ring is full and cannot be emptied now. */
struct io_uring_sqe *rt_linux_sqe(struct rt_linux *l);
void rt_linux_tag(struct io_uring_sqe *sqe, void *pointer, enum rt_linux_tag tag);
/* For works that are done: a worker hands them to the loop. */
void rt_linux_mail(struct rt_linux *l, struct list *to, struct list_node *node);

/* rt_linux_file.c */
struct err *rt_linux_file_open(struct rt *rt, const char *path, unsigned flags,
                               struct rt_file **ret_file, struct rt_file_info *ret_info);
void rt_linux_file_close(struct rt_file *file);
void rt_linux_file_submit(struct rt *rt, struct rt_file_io *io);
bool rt_linux_file_issue(struct rt_linux *l,
                         struct rt_file_io *io); /* false: no place in the ring */
void rt_linux_file_complete(struct rt_linux *l, struct rt_file_io *io, int result);

/* rt_linux_sock.c */
struct err *rt_linux_listen(struct rt *rt, const char *address, rt_accept_fn *fn, void *arg,
                            struct rt_listener **ret_listener);
void rt_linux_listener_close(struct rt_listener *listener);
void rt_linux_listener_complete(struct rt_linux *l, struct rt_listener *listener, int result);
void rt_linux_listeners_arm(struct rt_linux *l);
void rt_linux_sock_submit(struct rt *rt, struct rt_sock_io *io);
void rt_linux_sock_close(struct rt_sock *sock, void (*closed)(void *arg), void *arg);
bool rt_linux_sock_issue(struct rt_linux *l, struct rt_sock_io *io);
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
