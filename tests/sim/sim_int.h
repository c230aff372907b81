/*
 * sim_int.h - the parts of the simulated world: events, stored files, runtimes, streams.
 *
 * Everything that will happen is an event in one heap, ordered by (time, order of setting).  What a
 * node keeps over a crash hangs on the node (files); what dies with its program hangs on its
 * sim_rt.
 */
#ifndef TARN_TESTS_SIM_INT_H
#define TARN_TESTS_SIM_INT_H

#include "rt/rt_int.h"
#include "tests/sim/sim.h"

/* ---- Events ---- */

enum sim_event_kind {
    EVENT_TIMER = 1,
    EVENT_MAIL,
    EVENT_BUFFERS,
    EVENT_WORK,
    EVENT_WORK_DONE,
    EVENT_READ,
    EVENT_WRITE,
    EVENT_SYNC,
    EVENT_DISCARD,
    EVENT_LATE,
    EVENT_CONNECT,
    EVENT_ACCEPT,
    EVENT_SEGMENT,
    EVENT_RECV,
    EVENT_SEND,
    EVENT_RESET,
    EVENT_CLOSE,
    EVENT_CRASH,
};

struct sim_event {
    struct rt_timer timer; /* the heap of timers orders by time and order as well */
    struct sim *sim;
    enum sim_event_kind kind;
    unsigned node; /* for the trace */
    uint64_t size; /* for the trace */
};

struct sim {
    struct prng prng;
    struct sim_options options;
    uint64_t now_ns;
    struct rt_timers events;
    uint64_t trace;
    struct list nodes, listeners, cuts;
    unsigned node_count;
    unsigned next_port;
};

void sim_event_set(struct sim *sim, struct sim_event *event, enum sim_event_kind kind,
                   const struct sim_node *node, uint64_t size, uint64_t delay_ns,
                   void (*fn)(struct rt_timer *timer));
void sim_event_cancel(struct sim_event *event);
static inline bool sim_event_is_set(const struct sim_event *event)
{
    return rt_timer_is_pending(&event->timer);
}
void sim_trace(struct sim *sim, uint64_t value);
uint64_t sim_latency(struct sim *sim, uint64_t max_ns);

/* ---- Stored files (sim_store.c): what a device holds, and what it would hold after power loss ---- */

enum { IMAGE_CHUNK_BYTES = 16384, IMAGE_TABLE_CHUNKS = 1024 };

/* Sparse bytes; what was never written is zero. */
struct sim_image {
    uint8_t ***tables; /* tables of chunks; NULL where nothing was written */
    size_t table_count;
    uint64_t size_bytes;
};

enum sim_change_kind { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_DISCARD };

/* A change of a file that no sync has covered yet. */
struct sim_change {
    struct list_node link;
    enum sim_change_kind kind;
    uint64_t seq; /* order of completion; 0 = in flight */
    uint64_t offset, length;
    uint8_t *data; /* WRITE */
};

struct sim_file {
    struct list_node link; /* sim_node.files, or .limbo when its name was deleted */
    struct sim_node *node;
    char *path;
    bool is_directory;
    bool is_gone;             /* in limbo and its deletion is durable */
    unsigned handles;         /* open ones */
    struct sim_image current; /* what reads see */
    struct sim_image durable; /* what is certain to survive power loss */
    struct list changes;      /* completed, in order, not yet in durable */
    uint64_t completed_seq;
    struct list ops;  /* sim_op in flight */
    struct list late; /* sim_op of a program that is gone */
    const void *locked_by;
};

void sim_image_read(const struct sim_image *image, uint64_t offset, void *to, size_t size_bytes);
void sim_image_write(struct sim_image *image, uint64_t offset, const void *from, size_t size_bytes);

struct sim_file *sim_store_create(struct sim_node *node, const char *path);
struct sim_file *sim_store_find(const struct sim_node *node, const char *path);
void sim_store_drop_handle(struct sim_file *file);
void sim_store_free(struct sim_file *file);
/* Takes the name away; without sync it may come back after power loss. */
void sim_store_unlink(struct sim_file *file, bool sync_directory);
void sim_store_sync_names(struct sim_node *node);
struct sim_change *sim_change_new(enum sim_change_kind kind, uint64_t offset, uint64_t length);
void sim_change_free(struct sim_change *change);
/* The change completes: reads see it; takes it. */
void sim_store_complete(struct sim_file *file, struct sim_change *change);
/* All changes completed up to seq are durable. */
void sim_store_sync(struct sim_file *file, uint64_t seq);
/* Power loss: an arbitrary part of what no sync covers survives.  in_flight: changes, taken. */
void sim_store_lose_power(struct sim_file *file, struct prng *prng, struct list *in_flight);
/* Makes an arbitrary selection of sectors of a write; the rest does not happen.  Length may become
 * 0. */
void sim_change_tear(struct sim_change *change, struct prng *prng, struct list *ret_parts);

/* ---- Nodes and runtimes ---- */

struct sim_fault {
    struct list_node link;
    enum sim_fault_kind kind;
    char *path; /* NULL = any */
    uint64_t after_matches;
};

struct sim_node {
    struct list_node link; /* sim.nodes */
    struct sim *sim;
    char *name;
    unsigned number;
    struct sim_rt *rt; /* of the last boot; kept after a crash until the next */
    bool up;
    int64_t wall_offset_ns;
    struct list files, limbo, faults;
    struct list hung; /* sim_op */
    uint64_t write_count;
    uint64_t crash_at_count; /* 0 = never */
    enum sim_crash crash_kind;
    enum rt_flush_site ignored_site;
    struct sim_counters counters;
};

struct sim_rt {
    struct rt base;
    struct sim_node *node;
    struct list messages; /* rt_message */
    struct sim_event mail_event, timer_event, buffer_event;
    struct list workers, files, bfiles, listeners, socks, connects;
    bool on_worker;
    bool stop;
};

static inline struct sim_rt *sim_rt_of(struct rt *rt)
{
    return container_of(rt, struct sim_rt, base);
}

/* sim_worker.c */
struct err *sim_worker_create(struct rt *rt, const char *name, struct rt_worker **ret_worker);
void sim_worker_destroy(struct rt_worker *worker);
void sim_work(struct rt_worker *worker, struct rt_work *work);
void sim_workers_stop(struct sim_rt *srt);
void sim_workers_free(struct sim_rt *srt);

/* sim_file.c */
struct err *sim_file_open(struct rt *rt, const char *path, unsigned flags,
                          struct rt_file **ret_file, struct rt_file_info *ret_info);
void sim_file_close(struct rt_file *file);
void sim_file_submit(struct rt *rt, struct rt_file_io *io);
void sim_files_crash(struct sim_node *node, enum sim_crash kind);
void sim_files_heal(struct sim_node *node);
void sim_files_free(struct sim_rt *srt); /* handles */
void sim_node_free_files(struct sim_node *node);
/* Counts a write or sync; true if the node crashes at this one. */
bool sim_node_counts_write(struct sim_node *node);
/* The fault that strikes this operation, taken off the list; NULL when none. */
struct sim_fault *sim_fault_take(struct sim_node *node, const char *path, enum rt_file_op op);
void sim_fault_free(struct sim_fault *fault);

/* sim_bfile.c */
struct err *sim_bfile_open(struct rt *rt, const char *path, unsigned flags,
                           struct rt_bfile **ret_file);
struct err *sim_bfile_read(struct rt_bfile *file, uint64_t offset, void *to, size_t size_bytes,
                           size_t *ret_read);
struct err *sim_bfile_write(struct rt_bfile *file, uint64_t offset, const void *from,
                            size_t size_bytes);
struct err *sim_bfile_truncate(struct rt_bfile *file, uint64_t size_bytes);
struct err *sim_bfile_sync(struct rt_bfile *file, enum rt_flush_site site);
struct err *sim_bfile_size(struct rt_bfile *file, uint64_t *ret_size_bytes);
void sim_bfile_close(struct rt_bfile *file);
struct err *sim_path_delete(struct rt *rt, const char *path, bool sync_directory);
struct err *sim_path_rename(struct rt *rt, const char *from, const char *to);
bool sim_path_exists(struct rt *rt, const char *path);
struct err *sim_path_make_directory(struct rt *rt, const char *path);
void sim_bfiles_free(struct sim_rt *srt);

/* sim_net.c */
struct err *sim_listen(struct rt *rt, const char *address, rt_accept_fn *fn, void *arg,
                       struct rt_listener **ret_listener);
void sim_listener_close(struct rt_listener *listener);
void sim_sock_submit(struct rt *rt, struct rt_sock_io *io);
void sim_sock_close(struct rt_sock *sock, void (*closed)(void *arg), void *arg);
void sim_net_crash(struct sim_rt *srt, enum sim_crash kind);
void sim_net_free(struct sim_rt *srt);
void sim_net_heal(struct sim *sim);

#endif
