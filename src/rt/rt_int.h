/*
 * rt_int.h - what the two runtimes share: the operations that rt.c dispatches to, the heap of
 * timers and the pool of buffers.  Only for implementations of rt.h (src/rt, tests/sim).
 *
 * An implementation embeds struct rt as its first member, calls rt_init, and gives every rt_file,
 * rt_sock... it hands out the base struct below as first member.
 * Threads: as rt.h says; timers and buffers belong to the loop.
 */
#ifndef TARN_RT_RT_INT_H
#define TARN_RT_RT_INT_H

#include "rt/rt.h"

struct rt_ops {
    uint64_t (*now)(struct rt *rt);
    uint64_t (*wall)(struct rt *rt);
    void (*random)(struct rt *rt, void *to, size_t size_bytes);

    void (*run)(struct rt *rt);
    void (*stop)(struct rt *rt);
    bool (*on_loop)(struct rt *rt);
    void (*timers_changed)(struct rt *rt);   /* the earliest deadline may be another one now */
    void (*buffers_returned)(struct rt *rt); /* call rt_buffers_run_waiters in a later turn */
    void (*post)(struct rt *rt, struct rt_message *message);

    struct err *(*worker_create)(struct rt *rt, const char *name, struct rt_worker **ret_worker);
    void (*worker_destroy)(struct rt_worker *worker);
    void (*work)(struct rt_worker *worker, struct rt_work *work);

    struct err *(*file_open)(struct rt *rt, const char *path, unsigned flags,
                             struct rt_file **ret_file, struct rt_file_info *ret_info);
    void (*file_close)(struct rt_file *file);
    void (*file_submit)(struct rt *rt, struct rt_file_io *io);

    struct err *(*bfile_open)(struct rt *rt, const char *path, unsigned flags,
                              struct rt_bfile **ret_file);
    struct err *(*bfile_read)(struct rt_bfile *file, uint64_t offset, void *to, size_t size_bytes,
                              size_t *ret_read);
    struct err *(*bfile_write)(struct rt_bfile *file, uint64_t offset, const void *from,
                               size_t size_bytes);
    struct err *(*bfile_truncate)(struct rt_bfile *file, uint64_t size_bytes);
    struct err *(*bfile_sync)(struct rt_bfile *file, enum rt_flush_site site);
    struct err *(*bfile_size)(struct rt_bfile *file, uint64_t *ret_size_bytes);
    void (*bfile_close)(struct rt_bfile *file);
    struct err *(*path_delete)(struct rt *rt, const char *path, bool sync_directory);
    struct err *(*path_rename)(struct rt *rt, const char *from, const char *to);
    bool (*path_exists)(struct rt *rt, const char *path);
    struct err *(*path_make_directory)(struct rt *rt, const char *path);

    struct err *(*listen)(struct rt *rt, const char *address, rt_accept_fn *fn, void *arg,
                          struct rt_listener **ret_listener);
    void (*listener_close)(struct rt_listener *listener);
    void (*sock_submit)(struct rt *rt, struct rt_sock_io *io);
    void (*sock_close)(struct rt_sock *sock, void (*closed)(void *arg), void *arg);
};

/* ---- Timers (timers.c): a binary heap by (deadline, order) ---- */

struct rt_timers {
    struct rt_timer **heap; /* [0] is the earliest */
    unsigned count, capacity;
    uint64_t next_order;
};
struct rt_timer *rt_timers_first(const struct rt_timers *timers); /* NULL when none */
void rt_timers_set(struct rt_timers *timers, struct rt_timer *timer, uint64_t deadline_ns);
void rt_timers_remove(struct rt_timers *timers, struct rt_timer *timer);
/* Fires what is due, but nothing that is set meanwhile. */
void rt_timers_run(struct rt_timers *timers, uint64_t now_ns);

/* ---- Buffers (buffers.c) ---- */

enum { RT_BUF_CLASSES = 9 }; /* 4 KiB << 0 ... 4 KiB << 8 = 1 MiB */

/* All buffers of one size: a range of reserved addresses, of which `fresh` have ever been used. */
struct rt_buf_class {
    uint8_t *base;
    uint32_t *next; /* per buffer: index + 1 of the next free one */
    uint32_t hot;   /* head of the free ones that still have memory, index + 1 */
    uint32_t cold;  /* head of those whose memory went back to the kernel */
    uint32_t fresh, count;
};
struct rt_buffers {
    struct rt_buf_class classes[RT_BUF_CLASSES];
    uint64_t bound_bytes, in_use_bytes, held_bytes; /* held = in use + hot */
    struct list waiters;
    bool wake_pending;
};
struct err *rt_buffers_init(struct rt_buffers *buffers, uint64_t bound_bytes) MUST_CHECK;
void rt_buffers_fini(struct rt_buffers *buffers);
/* NULL where more than limit_bytes would be in use; limit_bytes is at most the bound. */
void *rt_buffers_get(struct rt_buffers *buffers, size_t size_bytes, uint64_t limit_bytes);
void rt_buffers_put(struct rt_buffers *buffers, void *buf, size_t size_bytes);
/* Wakes waiters in order while anything is free. */
void rt_buffers_run_waiters(struct rt_buffers *buffers);

/* ---- The shared part of every runtime ---- */

struct rt {
    const struct rt_ops *ops;
    struct rt_timers timers;
    struct rt_buffers buffers;
    bool dead; /* simulator: its node has crashed; nothing has an effect any more */
};
struct err *rt_init(struct rt *rt, const struct rt_ops *ops, uint64_t buffer_bytes) MUST_CHECK;
void rt_fini(struct rt *rt);

struct rt_worker {
    struct rt *rt;
};
struct rt_file {
    struct rt *rt;
};
struct rt_bfile {
    struct rt *rt;
};
struct rt_listener {
    struct rt *rt;
    char address[RT_ADDRESS_MAX];
};
struct rt_sock {
    struct rt *rt;
    char peer[RT_ADDRESS_MAX], local[RT_ADDRESS_MAX];
};

/* The place `done` bytes into an array of iovecs: the iovec it lies in and how far.  False at the
 * end. */
bool rt_iov_seek(const struct iovec *iov, unsigned iov_count, size_t done, unsigned *ret_index,
                 size_t *ret_skip);
size_t rt_iov_length(const struct iovec *iov, unsigned iov_count);

#endif
