/*
 * rt.h - the seam to the outside: the only source of I/O, time, randomness and threads.
 *
 * Three implementations stand behind it: Linux over io_uring, Linux over epoll and threads (both
 * rt_linux.h) and simulated (tests: sim/sim.h: one thread, seeded, with crashes and faults).  One contract
 * test holds them all (tests/unit/rt_contract.c).
 *
 * Words: the LOOP is the one thread that runs rt_run(); all callbacks run on it, one at a time, to
 * completion, never from inside the call that started the operation (always from a later turn of the
 * loop), so no caller has to guard against re-entry.  A WORKER is a thread that may block.
 *
 * Ownership: request structs (rt_timer, rt_message, rt_work, rt_file_io, rt_sock_io) are embedded in the
 * caller's objects; they belong to rt from the call until their callback has begun.  Timers, messages,
 * works and waiters must be zeroed before their first use.
 * Failures: a status in the request; blocking calls return struct err *.
 * Limits: limits.h.
 *
 *     struct rt *rt; TRY(rt_linux_create(&rt));
 *     io->op = RT_FILE_WRITE; io->file = f; io->offset = 0; io->iov = &v; io->iov_count = 1;
 *     io->done = written;  rt_file_submit(rt, io);
 *     rt_run(rt);          // until rt_stop()
 */
#ifndef TARN_RT_RT_H
#define TARN_RT_RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/list.h"
#include "base/status.h"
#include "base/uuid.h"

struct rt;

#define RT_MS ((uint64_t)1000000)
#define RT_SECOND ((uint64_t)1000000000)

/* ---- Time and randomness --------------------------------------------------------------------- */

ANY_THREAD uint64_t rt_now(struct rt *rt);  /* monotonic nanoseconds, never goes back */
ANY_THREAD uint64_t rt_wall(struct rt *rt); /* nanoseconds since 1970; may jump either way */
ANY_THREAD void rt_random(struct rt *rt, void *to, size_t size_bytes); /* fit for keys; seeded in the sim */
ANY_THREAD struct uuid rt_uuid(struct rt *rt);

/* ---- The loop -------------------------------------------------------------------------------- */

/* Runs callbacks until rt_stop.  In the simulator the world is stepped instead (sim_step). */
void rt_run(struct rt *rt);
ANY_THREAD void rt_stop(struct rt *rt);
ANY_THREAD bool rt_on_loop(struct rt *rt);

/* One-shot timer at an absolute rt_now() time; setting a pending timer moves it. */
struct rt_timer {
    void (*fn)(struct rt_timer *timer);
    uint64_t deadline_ns;
    uint64_t order;  /* private: equal deadlines fire in the order they were set */
    unsigned heap_index; /* private: 1-based, 0 = not pending */
};
ON_LOOP void rt_timer_set(struct rt *rt, struct rt_timer *timer, uint64_t deadline_ns,
                          void (*fn)(struct rt_timer *timer));
ON_LOOP void rt_timer_cancel(struct rt *rt, struct rt_timer *timer); /* fine when not pending */
static inline bool rt_timer_is_pending(const struct rt_timer *timer)
{
    return timer->heap_index != 0;
}

/* Runs fn on the loop in a later turn; FIFO per sender.  The message belongs to rt until fn begins. */
struct rt_message {
    struct list_node link;
    void (*fn)(struct rt_message *message);
};
ANY_THREAD void rt_post(struct rt *rt, struct rt_message *message);

/* ---- Workers --------------------------------------------------------------------------------- */

/* A serial worker: work runs one after another in order of submission.  In the simulator fn runs on the
 * one thread at a later step. */
struct rt_worker;
struct rt_work {
    struct list_node link;
    void (*fn)(struct rt_work *work);   /* ON_WORKER, may block */
    void (*done)(struct rt_work *work); /* ON_LOOP afterwards; may be NULL */
    struct rt *rt;                      /* private */
};
struct err *rt_worker_create(struct rt *rt, const char *name, struct rt_worker **ret_worker) MUST_CHECK;
void rt_worker_destroy(struct rt_worker *worker); /* waits for the work queued; accepts NULL */
ON_LOOP void rt_work(struct rt_worker *worker, struct rt_work *work);

/* ---- Files: asynchronous, for pools ---------------------------------------------------------- */

struct rt_file;

enum rt_open_flags {
    RT_OPEN_READ_ONLY = 1 << 0,
    RT_OPEN_CREATE = 1 << 1,    /* fails with STATUS_EXISTS when it is there */
    RT_OPEN_LOCK = 1 << 2,      /* exclusive open-file-description lock until closed; STATUS_LOCKED (E15) */
    RT_OPEN_DIRECT = 1 << 3,    /* O_DIRECT where the file system knows it */
};

struct rt_file_info {
    uint64_t size_bytes;
    uint32_t alignment_bytes; /* of memory, offset and length, when opened direct; else 1 */
    bool is_block_device;
};

/* Every flush has a name, so that the simulated device can ignore one kind per run and the suite must
 * notice (E30).  Add a row where a new flush is added. */
enum rt_flush_site {
    RT_FLUSH_NONE = 0,
#define X(name, why) RT_FLUSH_##name,
#include "rt/flush_sites.def"
#undef X
    RT_FLUSH_SITE_COUNT
};
const char *rt_flush_site_name(enum rt_flush_site site);

enum rt_file_op { RT_FILE_READ, RT_FILE_WRITE, RT_FILE_SYNC, RT_FILE_DISCARD };

struct rt_file_io {
    enum rt_file_op op;
    enum rt_flush_site site; /* SYNC only: why */
    struct rt_file *file;
    uint64_t offset;         /* bytes */
    uint64_t length;         /* DISCARD: bytes.  READ, WRITE: set by rt_file_submit from the iovecs */
    const struct iovec *iov; /* READ, WRITE: memory of the caller until done; array too */
    unsigned iov_count;      /* at most RT_IOV_MAX */
    void (*done)(struct rt_file_io *io);
    enum status status;      /* OK only if the whole length was done; READ_FAILED, WRITE_FAILED, FLUSH_FAILED */
    struct list_node link;   /* private */
    uint64_t private_[6];    /* private to the implementation */
};
enum { RT_IOV_MAX = 64 };

/* Blocking: at start-up or on a worker. */
struct err *rt_file_open(struct rt *rt, const char *path, unsigned flags, struct rt_file **ret_file,
                         struct rt_file_info *ret_info) MUST_CHECK;
/* No I/O may be in flight.  Accepts NULL. */
void rt_file_close(struct rt_file *file);
/* Sync covers every write that had completed (done called) before it was submitted; nothing else.
 * Discard is best effort and completes with OK where not supported. */
ON_LOOP void rt_file_submit(struct rt *rt, struct rt_file_io *io);

/* ---- Files: blocking, for SQLite, configuration, keys ---------------------------------------- */

struct rt_bfile;
enum rt_bopen_flags {
    RT_BOPEN_READ_ONLY = 1 << 0,
    RT_BOPEN_CREATE = 1 << 1, /* if missing, with mode 0600 */
    RT_BOPEN_EXCLUSIVE = 1 << 2, /* with CREATE: fail if it exists */
};
ON_WORKER struct err *rt_bfile_open(struct rt *rt, const char *path, unsigned flags,
                                    struct rt_bfile **ret_file) MUST_CHECK;
/* Reads up to size; fewer only at the end of the file. */
ON_WORKER struct err *rt_bfile_read(struct rt_bfile *file, uint64_t offset, void *to, size_t size_bytes,
                                    size_t *ret_read) MUST_CHECK;
ON_WORKER struct err *rt_bfile_write(struct rt_bfile *file, uint64_t offset, const void *from,
                                     size_t size_bytes) MUST_CHECK;
ON_WORKER struct err *rt_bfile_truncate(struct rt_bfile *file, uint64_t size_bytes) MUST_CHECK;
ON_WORKER struct err *rt_bfile_sync(struct rt_bfile *file, enum rt_flush_site site) MUST_CHECK;
ON_WORKER struct err *rt_bfile_size(struct rt_bfile *file, uint64_t *ret_size_bytes) MUST_CHECK;
ON_WORKER void rt_bfile_close(struct rt_bfile *file); /* accepts NULL */
ON_WORKER struct err *rt_path_delete(struct rt *rt, const char *path, bool sync_directory) MUST_CHECK;
/* And syncs the directory. */
ON_WORKER struct err *rt_path_rename(struct rt *rt, const char *from, const char *to) MUST_CHECK;
ON_WORKER bool rt_path_exists(struct rt *rt, const char *path);
ON_WORKER struct err *rt_path_make_directory(struct rt *rt, const char *path) MUST_CHECK; /* 0700; fine if there */

/* ---- Byte streams ---------------------------------------------------------------------------- */

enum { RT_ADDRESS_MAX = 96 }; /* "127.0.0.1:3260", "[::1]:3260" */

struct rt_listener;
struct rt_sock;

/* The accepted socket belongs to fn. */
typedef void rt_accept_fn(void *arg, struct rt_sock *sock);

ON_LOOP struct err *rt_listen(struct rt *rt, const char *address, rt_accept_fn *fn, void *arg,
                              struct rt_listener **ret_listener) MUST_CHECK;
ON_LOOP void rt_listener_close(struct rt_listener *listener); /* accepts NULL; no fn afterwards */
/* The bound address (the real port when 0 was asked for). */
ON_LOOP const char *rt_listener_address(const struct rt_listener *listener);

enum rt_sock_op { RT_SOCK_RECV, RT_SOCK_SEND, RT_SOCK_CONNECT };

struct rt_sock_io {
    enum rt_sock_op op;
    struct rt_sock *sock;    /* CONNECT: set before done is called when the status is OK */
    const struct iovec *iov; /* RECV, SEND: memory of the caller until done; array too */
    unsigned iov_count;      /* at most RT_IOV_MAX */
    const char *address;     /* CONNECT: a literal address; gives up after about 15 s */
    void (*done)(struct rt_sock_io *io);
    enum status status;      /* RECV at the end of the stream: PEER_CLOSED */
    size_t bytes;            /* RECV: how many came (>= 1).  SEND: all of them when the status is OK */
    struct list_node link;   /* private */
    uint64_t private_[6];
};

/* At most one RECV and one SEND per socket at a time.  RECV completes as soon as something came; SEND
 * when everything has been handed to the kernel. */
ON_LOOP void rt_sock_submit(struct rt *rt, struct rt_sock_io *io);
/* Ends the socket: requests in flight complete with CANCELLED, then closed(arg) is called once and the
 * socket is gone.  closed may be NULL. */
ON_LOOP void rt_sock_close(struct rt_sock *sock, void (*closed)(void *arg), void *arg);
ON_LOOP const char *rt_sock_peer(const struct rt_sock *sock);
ON_LOOP const char *rt_sock_local(const struct rt_sock *sock);

/* ---- Memory for I/O -------------------------------------------------------------------------- */

/* Buffers aligned to BLOCK_BYTES from a bounded pool (rt's creator sets the bound); size is rounded up
 * to a power of two between 4 KiB and 1 MiB.  NULL means back-pressure: wait with rt_buf_wait. */
ON_LOOP void *rt_buf_get(struct rt *rt, size_t size_bytes);
/* Who stands nearer to the host may take less, so that what he holds can always be finished below: a
 * write that waits with all its data for the engine never holds the memory that the engine waits for. */
enum rt_buf_use {
    RT_BUF_ENGINE,   /* all of it: what rt_buf_get takes */
    RT_BUF_COMMAND,  /* three quarters: data-in and working memory of a command */
    RT_BUF_TRANSFER, /* half: data on its way from a host */
};
ON_LOOP void *rt_buf_get_for(struct rt *rt, size_t size_bytes, enum rt_buf_use use);
ON_LOOP void rt_buf_put(struct rt *rt, void *buf, size_t size_bytes); /* the same size as in get */
struct rt_buf_waiter {
    struct list_node link;
    void (*fn)(struct rt_buf_waiter *waiter);
};
/* fn is called once, after some buffer has come back; FIFO. */
ON_LOOP void rt_buf_wait(struct rt *rt, struct rt_buf_waiter *waiter,
                         void (*fn)(struct rt_buf_waiter *waiter));
ON_LOOP void rt_buf_wait_cancel(struct rt *rt, struct rt_buf_waiter *waiter);
ON_LOOP uint64_t rt_buf_in_use_bytes(struct rt *rt);

#endif
