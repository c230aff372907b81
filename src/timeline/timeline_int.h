/*
 * timeline_int.h - what the files of the engine share: the pool object, disks, leaves, batches.
 *
 * The life of a write: submit -> admit.c (range lock, staging buffer, read of ragged edges) ->
 * batch.c (gather, close: E1 to E3; submit data and log in parallel; publish in order: E4) -> done.
 * The life of a read: read.c (look up, load leaves, read runs, verify, copy).
 * Everything else is an admin batch (admin.c), background work (reclaim.c, checkpoint.c) or
 * recovery.
 */
#ifndef TARN_TIMELINE_INT_H
#define TARN_TIMELINE_INT_H

#include "pool/alloc.h"
#include "pool/blob.h"
#include "pool/dev.h"
#include "pool/super.h"
#include "pool/wal.h"
#include "timeline/resolve.h"
#include "volume/volume_engine.h"

struct tl_pool;

/* ---- Points and disks (tables.c) ------------------------------------------------------------- */

/* A set that was cut over several pools, as long as one of its points is here (E23). */
struct tl_set {
    struct list_node hash_link; /* pool->set_hash */
    struct uuid uuid;
    unsigned pool_count, point_count;
    uint64_t seq; /* of its cut */
    struct uuid *pools; /* with this one */
};

struct tl_point {
    struct list_node hash_link; /* pool->point_hash */
    struct uuid uuid, set;
    struct tl_set *over_pools; /* NULL: its set lies in this pool only */
    struct tl_disk *disk;
    enum volume_point_kind kind;
    bool leased;
    uint64_t generation; /* = seq of its cut */
    uint64_t wall_ns, size_bytes;
    unsigned handle_count;
    unsigned branch_count;
};

struct tl_disk {
    struct tl_pool *pool;
    struct list_node link;      /* pool->disks, in order of creation */
    struct list_node hash_link; /* pool->disk_hash */
    uint32_t id;
    struct uuid uuid;
    uint64_t size_bytes;
    uint64_t created_seq;   /* visible outside when D >= it (E26) */
    struct tl_disk *parent; /* a branch falls through to (parent, parent_generation) */
    uint64_t parent_generation;
    uint64_t parent_size_bytes; /* E20: clipped there */
    struct uuid parent_point, parent_disk_uuid;
    unsigned depth, child_count;
    unsigned handle_count;
    bool deleted;                /* hidden; being swept */
    uint64_t own_blocks;         /* data blocks of its versions */
    struct tl_point **points;    /* rising generation */
    uint64_t *point_generations; /* the same, packed for retained_between */
    unsigned point_count, point_capacity;
    struct view_record *records; /* reverts, rising c (E19) */
    unsigned record_count, record_capacity;
    bool records_await_lap; /* one may go when the lap of the sweep is over */
    bool is_promoted;       /* since it was opened: no view falls through any more (E20) */
    bool is_promoting;
    bool is_replacing;
    uint64_t open_stage;   /* staged versions born after it wait for their record (E19); 0 = none */
    unsigned holds;        /* reverts under way: no request is begun (E19) */
    struct dir_page **dir; /* by page index; NULL = empty */
    uint64_t dir_count;
    struct list locks;   /* of frags: held and waiting, in order of arrival (E1) */
    uint64_t sweep_left; /* leaves still to pass since the last deletion (E29) */
    uint64_t sweep_cursor;
    uint64_t sweep_after; /* when this batch is published, and not before */
    bool lap_missed; /* a leaf could not be read in this lap of the sweep */
    /* Of a deleted disk: when its last lap began. */
    uint64_t bury_checkpoint, bury_blocks;
};

/* ---- Map (map.c, leaf.c) --------------------------------------------------------------------- */

enum leaf_state {
    LEAF_DELTA,   /* only what was written since it was evicted; the rest is on disk */
    LEAF_LOADING, /* its blob is being read */
    LEAF_READY,   /* complete */
    LEAF_BROKEN,  /* its blob cannot be read: everything on it fails */
};

/* A change to a leaf that is not loaded, in order of sequence. */
struct leaf_op {
    uint64_t seq, generation, phys;
    uint32_t crc;
    uint16_t first, count; /* data: count 1 */
    bool is_removal;
    uint8_t flags; /* version_flags */
};

struct leaf {
    struct tl_disk *disk;
    uint64_t index;
    enum leaf_state state;
    unsigned pins;
    bool dirty, needs_sweep, is_writing;
    uint64_t dirty_seq;        /* first batch that is not in its blob */
    uint64_t last_seq;         /* newest batch applied */
    uint32_t need_blocks;      /* counted in pool->leaf_need while dirty or pending */
    uint32_t pending_versions; /* of batches closed and not yet published */
    struct version *versions;
    uint32_t version_count, version_capacity;
    struct leaf_op *ops;
    uint32_t op_count, op_capacity;
    struct extents extents; /* of its blob, once known */
    uint64_t memory_bytes;
    struct list_node lru_link;   /* pool->lru */
    struct list_node dirty_link; /* pool->dirty */
    struct list_node sweep_link; /* pool->sweep_leaves */
    struct list waiters;         /* of leaf_waiter */
};

struct leaf_waiter {
    struct list_node link;
    void (*fn)(struct leaf_waiter *waiter, enum status status);
};

struct dir_entry {
    struct blob_ref ref;     /* block 0: no blob */
    uint64_t applied_seq;    /* of the blob (E11) */
    uint64_t max_generation; /* monotone */
    uint64_t
        oldest_superseded; /* generation of the oldest version that is not the newest; 0 = none */
    uint32_t version_count;
    uint64_t checkpoint; /* the first checkpoint that names this blob */
    bool needs_sweep;    /* something unneeded may be in it that no deletion tells of */
    struct leaf *leaf;
};

struct dir_page {
    struct blob_ref ref;  /* block 0: never written */
    uint64_t touched_seq; /* newest applied_seq of its entries */
    bool dirty;
    struct dir_entry entries[FORMAT_DIR_ENTRIES];
};

/* ---- Writes (admit.c, batch.c) --------------------------------------------------------------- */

enum frag_kind { FRAG_DATA, FRAG_HOLE };

enum { FRAG_COUNT = 1024, READ_COUNT = 192, BATCH_COUNT = 16, BATCH_HOST_MAX = 8, FRAG_LEAVES = 2 };

struct io_state; /* in volume_io.private_ */
enum { RECORDINGS = 16 };

/* A part of a host's request that one batch takes: at most 64 blocks of data, or one leaf of holes.
 */
struct frag {
    struct list_node link;      /* free list, buffer wait, ready list, batch */
    struct list_node lock_link; /* disk->locks */
    struct volume_io *io;
    struct tl_disk *disk;
    enum frag_kind kind;
    uint64_t lba;
    uint32_t blocks;
    uint64_t sector, sector_count; /* what the host wrote */
    unsigned blockers;             /* earlier overlapping locks */
    bool has_lock, is_early;
    uint8_t *buf;
    size_t buf_bytes;
    struct leaf *leaves[FRAG_LEAVES];
    unsigned leaf_count;
    struct leaf_waiter leaf_waiter;
    bool wants_leaves;                      /* look before it leaps: near full, or holes */
    bool is_counted;                        /* in its leaves' pending_versions */
    bool is_blind;                          /* closed without seeing what it superseded */
    uint32_t crcs[FORMAT_BATCH_MAX_BLOCKS]; /* of the bytes alone */
    uint64_t space_limit; /* checkpoint number after which a wait for space is over; 0 = none */
    uint32_t wal_bytes;   /* at most */
    struct read_frag *pre_image;
    uint32_t pre_image_step;
    enum status status;
};

enum batch_state { BATCH_FREE, BATCH_SUBMITTED, BATCH_COMPLETE };

enum { BATCH_RUNS = FORMAT_BATCH_MAX_BLOCKS, BATCH_TRIES = 3 };

struct batch_io {
    struct rt_file_io io;
    struct batch *batch;
    unsigned iov_first, iov_count;
    bool is_done;
};

struct batch {
    struct tl_pool *pool;
    struct list_node link; /* free list, or pool->in_flight in order of seq */
    enum batch_state state;
    struct wal_header header;
    uint8_t *wal; /* FORMAT_BATCH_WAL_BLOCKS */
    uint64_t end_position;
    struct list frags;
    unsigned io_count, pending, tries;
    bool has_failed;
    struct batch_io ios[BATCH_RUNS + 1]; /* the last one used is the log's */
    struct iovec iovs[FORMAT_BATCH_MAX_BLOCKS + 1];
    unsigned iov_count;
    uint32_t data_blocks;
    struct leaf **pinned; /* reclaim */
    unsigned pinned_count, pinned_capacity;
    bool is_shown; /* only with MUTATION_GATE_SHOWS */
    void (*published)(struct batch *batch, enum status status); /* admin, reclaim, note */
    void *arg;
};

/* ---- Reads (read.c) -------------------------------------------------------------------------- */

struct read_block {
    uint64_t phys, generation; /* phys 0: zero */
    uint32_t crc, disk;
};

struct read_frag {
    struct list_node link; /* free list or pool->readers (order of mark, E17) */
    struct tl_pool *pool;
    struct tl_disk *disk; /* where the look-up begins */
    uint64_t generation;
    uint64_t lba;
    uint32_t blocks;
    uint64_t mark, serial;
    uint32_t next;              /* block being looked up */
    struct tl_disk *level_disk; /* and where */
    uint64_t level_generation;
    struct leaf_waiter leaf_waiter;
    struct rt_buf_waiter buf_waiter;
    uint8_t *buf;
    size_t buf_bytes;
    bool map_only; /* look up, read nothing */
    bool is_reading;
    uint32_t bad; /* block whose checksum was wrong, and what it was mapped to */
    uint64_t bad_phys, bad_generation;
    unsigned pending, retries;
    enum status status;
    struct read_block map[FORMAT_BATCH_MAX_BLOCKS];
    struct read_run {
        struct rt_file_io io;
        struct iovec iov;
        struct read_frag *read;
    } runs[FORMAT_BATCH_MAX_BLOCKS];
    struct volume_io *io; /* host read: sectors [sector, +count) go to io's memory */
    uint64_t sector, sector_count;
    void (*done)(struct read_frag *read); /* internal read */
    void *arg;
};

/* What volume_io.private_ holds. */
struct io_state {
    uint64_t next_sector, left_sectors; /* not yet cut into frags */
    uint32_t outstanding;
    uint32_t status;
    uint64_t max_seq;
    uint64_t target;            /* FLUSH, FUA: D that it waits for */
    struct list_node wait_link; /* pool->flush_waiters */
};
check_static(sizeof(struct io_state) <= sizeof(((struct volume_io *)0)->private_));

static inline struct io_state *io_state(struct volume_io *io)
{
    return (struct io_state *)(void *)io->private_;
}

/* A request is cut into parts; when none was made it can still be held. */
static inline bool io_is_begun(const struct volume_io *io)
{
    return ((const struct io_state *)(const void *)io->private_)->next_sector != io->sector;
}
/* Behind a hold the disk may have become smaller. */
static inline bool io_fits(const struct volume_io *io)
{
    return io->sector + io->sector_count <= io->volume->size_bytes / SECTOR_BYTES;
}
/* Ends what is left of it before it was begun. */
static inline void io_refuse(struct volume_io *io, enum status status)
{
    io_state(io)->status = status;
    io_state(io)->left_sectors = 0;
}

struct bitmap_ref {
    uint64_t block; /* 0: the page is all zero */
    uint64_t applied_seq;
    uint32_t crc;
};

/* ---- The pool -------------------------------------------------------------------------------- */

struct tl_volume {
    struct volume base;
    struct tl_disk *disk;
    struct tl_point *point; /* NULL: live */
};

/* Somebody who waits for D, for an empty pipeline, or for a checkpoint. */
struct tl_waiter {
    struct list_node link;
    uint64_t seq;
    void (*fn)(struct tl_waiter *waiter, enum status status);
};

struct leaf_writer {
    unsigned tries;
    struct tl_pool *pool;
    struct leaf *leaf; /* NULL: idle */
    struct leaf_waiter load_waiter;
    struct dev_set set;
    uint8_t *memory;
    struct extents extents;
    struct blob_ref ref;
    uint64_t applied_seq;
    uint64_t oldest_superseded;
    uint32_t version_count;
    bool needs_sweep;
};
enum { LEAF_WRITERS = 4 };

enum { HASH_BUCKETS = 1024 };

enum checkpoint_phase {
    CHECKPOINT_IDLE,
    CHECKPOINT_LEAVES,  /* writing the leaves that were dirty when it began */
    CHECKPOINT_INSTANT, /* waiting for admin batches to be published */
    CHECKPOINT_PAGES,   /* writing and flushing directories, bitmap, system */
    CHECKPOINT_SUPER,   /* writing and flushing the superblock */
};

struct tl_checkpoint {
    enum checkpoint_phase phase;
    bool is_wanted, wants_instant;
    uint64_t number;      /* of the newest durable superblock */
    uint64_t next_number; /* the next directory image to be made */
    uint64_t replay_seq, replay_position;
    uint64_t new_replay_seq, new_replay_position;
    uint64_t previous_position; /* of the older superblock: the tail of the log */
    struct dev_set set;
    uint8_t *super_memory;
    uint8_t **memories; /* pages being written */
    unsigned memory_count, memory_capacity;
    struct flush_request flush;
    struct super super;
    uint64_t instant_seq;
    struct extents system_extents;
    struct extents releasing; /* retired before the newest durable instant; go at the next flip */
    struct extents retiring;  /* retired between the two newest instants */
    struct extents retired;   /* retired since the last instant */
    struct list waiters;      /* of tl_waiter */
    struct list next_waiters; /* for the checkpoint after the one under way */
};

struct tl_sweep {
    struct tl_pool *pool;
    struct tl_disk *disk;
    struct leaf *leaf;
    struct leaf_waiter waiter;
    struct batch *batch;
    bool is_active, is_posted;
    bool has_work;         /* false: nothing to look for, since the last look */
    uint32_t resume_block; /* the leaf is done below it */
    bool *needed;          /* scratch: per version of one block */
    unsigned needed_capacity;
};

/* The part of a cut over several pools that is under way (gate.c). */
struct tl_gate {
    struct list waiting;       /* of volume_gate.link: until its turn, or until there is room */
    struct volume_gate *gate;  /* prepared: it holds a batch and log space; NULL: none */
    struct batch *batch;       /* NULL: it has gone to the log */
    struct buf_writer records; /* of the batch, from close on */
    bool is_closed;            /* no host's write is acknowledged or published (E22) */
    bool holds_back;           /* and there is one that could be */
};

struct tl_pool {
    struct volume_pool base;
    struct rt *rt;
    struct rt_file *file;
    struct super super;
    struct volume_pool_options options;
    struct volume_recovery recovery;
    struct volume_pool_counters counters;
    struct alloc alloc;
    struct flusher flusher;
    bool is_open, is_closing;
    /* Log */
    uint64_t epoch, next_seq, last_closed_seq;
    uint64_t published_seq;      /* prefix complete and applied */
    uint64_t published_position; /* where the batch after it begins */
    uint64_t head_position;      /* where the next batch goes */
    uint64_t durable_seq;        /* D */
    uint64_t recorded_seq;       /* Drec */
    struct {
        uint64_t in, durable; /* batch `in` holds D = durable */
    } recording[RECORDINGS];
    unsigned recording_count;
    uint64_t unflushed_bytes;
    uint64_t flushing_bytes[FLUSH_SLOTS]; /* of them, by fdatasync under way, oldest first */
    unsigned flushing_count;
    struct rt_timer flush_timer;
    struct flush_request self_flush, admin_flush;
    bool self_flush_is_active, admin_flush_is_active;
    struct flush_request host_flushes[FLUSH_SLOTS];
    bool host_flush_is_active[FLUSH_SLOTS];
    uint64_t flush_begun_seq; /* what the newest fdatasync covers */
    struct list flush_waiters;   /* ios: FLUSH and FUA */
    struct list admin_waiters;   /* tl_waiter: D >= seq */
    struct list publish_waiters; /* tl_waiter: published >= seq */
    /* Disks */
    struct list disks;
    struct list disk_hash[HASH_BUCKETS], point_hash[HASH_BUCKETS], set_hash[HASH_BUCKETS];
    struct tl_disk **disk_by_id;
    uint32_t disk_by_id_count, next_disk_id;
    struct bitmap_ref *bitmap_refs; /* per bitmap page */
    uint64_t tables_applied;        /* recovery: applied_seq of the system pages; else 0 */
    unsigned admin_in_flight;
    /* Map */
    struct list lru, dirty, sweep_leaves, loads;
    uint64_t leaf_memory, cache_bytes;
    uint64_t leaf_need, dirty_dir_pages;
    uint64_t metadata_blocks;
    uint32_t largest_leaf_blocks;
    struct leaf_writer writers[LEAF_WRITERS];
    struct tl_checkpoint ckpt;
    struct tl_sweep sweep;
    struct rt_message sweep_message;
    bool trim_map_post;
    struct rt_message trim_map_message;
    /* Writes */
    struct frag *frags;
    struct list free_frags, admit_queue, buf_waiting, pre_image_waiting, ready, space_waiting,
        ending;
    bool is_waiting_for_buf;
    uint32_t ready_blocks;
    struct rt_buf_waiter buf_waiter;
    struct batch *batches;
    struct list free_batches, in_flight;
    unsigned batch_count, host_batches;
    struct rt_message pump_message;
    bool pump_is_posted;
    struct rt_message fail_message;
    bool fail_is_posted;
    struct list admin_queue,
        admin_running;   /* admin calls waiting for a batch or log space; under way */
    struct list reverts; /* admin calls that wait until their disk is idle */
    struct tl_gate gate;
    bool note_is_active;
    struct tl_waiter note_waiter;
    struct list trims;
    uint64_t trimming_blocks;
    /* Reads */
    struct read_frag *reads;
    struct list free_reads, readers, read_queue, query_queue;
    unsigned free_read_count;
    uint64_t read_serial;
    struct list promotions; /* of struct promote */
    struct list replaces;   /* of struct replace */
    /* Settle */
    struct list settle_waiters; /* of control_call */
    struct list calls;          /* checkpoints asked for */
    struct list checks;         /* of pool_check */
    struct tl_waiter settle_waiter, close_waiter;
    bool settle_is_waiting;
    unsigned settle_rounds;
    struct rt_timer close_timer;
    bool close_checkpoint_begun;
    volume_done_fn *close_done;
    void *close_arg;
    struct open_op *opening; /* while it is being opened */
    bool is_started;
};

static inline struct tl_pool *tl_pool(struct volume_pool *pool)
{
    return container_of(pool, struct tl_pool, base);
}
static inline const struct tl_pool *tl_pool_const(const struct volume_pool *pool)
{
    return (const struct tl_pool *)(const void *)pool;
}
check_static(offsetof(struct tl_pool, base) == 0);

static inline bool tl_is_ok(const struct tl_pool *p)
{
    return p->base.state == VOLUME_POOL_OK;
}

#endif
