/*
 * dev.h - many reads and writes of the pool's file as one step, and the one place that flushes it.
 *
 * Words: a SET is a list of transfers, run a few at a time; done is called once, when all have
 * ended. The FLUSHER shares fdatasyncs among all who wait (E5): one is submitted after their
 * writes completed; who comes while one is under way waits for the next.  The next may be submitted
 * while one is under way, but counts only when that one has succeeded too.
 *
 * Threads: the loop.  Ownership: sets and requests are embedded in the caller's objects and must
 * stay until done.  Failures: the first bad status; the others still end.
 */
#ifndef TARN_POOL_DEV_H
#define TARN_POOL_DEV_H

#include "pool/format.h"
#include "rt/rt.h"

struct dev_item {
    enum rt_file_op op;
    uint64_t block;
    uint32_t blocks;
    void *memory;
    enum status status;
};

enum { DEV_SLOTS = 16 };

struct dev_slot {
    struct rt_file_io io;
    struct iovec iov;
    struct dev_set *set;
    struct dev_item *item;
};

struct dev_set {
    struct rt *rt;
    struct rt_file *file;
    struct dev_item *items;
    uint32_t count, capacity, next;
    unsigned active;
    enum status status;
    void (*done)(struct dev_set *set);
    struct rt_message message;
    struct dev_slot slots[DEV_SLOTS];
    bool slot_is_busy[DEV_SLOTS];
};

void dev_set_init(struct dev_set *set, struct rt *rt, struct rt_file *file);
void dev_set_fini(struct dev_set *set);
void dev_set_add(struct dev_set *set, enum rt_file_op op, uint64_t block, uint32_t blocks,
                 void *memory);
/* Runs what was added; afterwards the set can be filled again (dev_set_clear). */
void dev_set_run(struct dev_set *set, void (*done)(struct dev_set *set));
void dev_set_clear(struct dev_set *set);

struct flush_request {
    struct list_node link;
    unsigned number; /* the caller's */
    enum rt_flush_site site;
    void (*done)(struct flush_request *request, enum status status);
};

enum { FLUSH_SLOTS = 2 };

/* One fdatasync under way. */
struct flush_slot {
    struct rt_file_io io;
    struct flusher *flusher;
    struct list requests;
    uint64_t covers; /* what it will make durable */
    bool is_done;    /* but one before it is not */
};

struct flusher {
    struct rt *rt;
    struct rt_file *file;
    struct flush_slot slots[FLUSH_SLOTS]; /* a ring: active ones from `first` on, oldest first */
    unsigned first, active;
    struct list waiting;
    bool has_failed;                          /* nothing is submitted or answered any more */
    uint64_t (*complete)(void *arg);          /* the newest sequence with a complete prefix */
    void (*flushed)(void *arg, uint64_t seq); /* D is at least seq now; before the requests' done */
    void (*failed)(void *arg);
    void *arg;
    uint64_t flush_count;
};

void flusher_init(struct flusher *flusher, struct rt *rt, struct rt_file *file);
/* A flush that begins from now on; done comes from a later turn. */
void flusher_submit(struct flusher *flusher, struct flush_request *request, enum rt_flush_site site,
                    void (*done)(struct flush_request *request, enum status status));

#endif
