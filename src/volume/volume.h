/*
 * volume.h - the one interface between front ends or control and the engines that store disks.
 *
 * Words: a POOL holds DISKS; a disk's blocks change over GENERATIONS; a POINT is a retained (disk,
 * generation); a VIEW is what one reads: the live disk or a point; a BRANCH is a writable disk
 * whose unwritten blocks fall through to a point of its parent.  A CUT makes points on any number
 * of disks of a pool at one instant.
 *
 *     volume_open(pool, &disk, NULL, VOLUME_READ_WRITE, &volume)       // a handle on the live view
 *     io->op = VOLUME_WRITE; io->sector = 8; io->sector_count = 8; io->iov = ...; io->done =
 * written; volume_submit(volume, io); volume_cut(pool, &cut, &result, cut_done, arg); // one
 * instant for all members
 *
 * Threads: ON_LOOP of the pool's rt throughout.
 * Ownership: requests and the memory they name belong to the engine until done was called; done
 * comes from a later turn of the loop, never from inside the call. Failures: data path: enum
 * status.  Control path: struct err * (owned by the callee of done). The choke point volume.c
 * checks range, mode and state of every call before an engine sees it; engines contain no checks of
 * the caller.  What an engine cannot do is a capability bit, never an emulation.
 *
 * Order and durability that every engine keeps: a completed write is in every later cut and
 * survives a crash of the process; a completed flush covers all writes completed before it was
 * submitted; a completed cut is on stable storage with everything it covers; writes never wait for
 * a cut.
 */
#ifndef TARN_VOLUME_VOLUME_H
#define TARN_VOLUME_VOLUME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/uuid.h"
#include "rt/rt.h"

struct volume_pool; /* an open pool */
struct volume;      /* an open handle on a view */

/* done callbacks of control calls; e is NULL on success and belongs to the callee. */
typedef void volume_done_fn(void *arg, struct err *e);

/* ---- Pools ----------------------------------------------------------------------------------- */

enum volume_capability {
    VOLUME_CAP_CUT = 1 << 0,
    VOLUME_CAP_BRANCH = 1 << 1,
    VOLUME_CAP_REVERT = 1 << 2,
    VOLUME_CAP_CDP = 1 << 3,
    VOLUME_CAP_TAIL = 1 << 4,
    VOLUME_CAP_REPLACE = 1 << 5,
};

enum volume_pool_state {
    VOLUME_POOL_OK,
    VOLUME_POOL_DAMAGED, /* open read-only: acknowledged state could not be recovered (E9) */
    VOLUME_POOL_FAILED,  /* a write or flush failed for good: reads go on, the rest fails (E5) */
};
const char *volume_pool_state_name(enum volume_pool_state state);

struct volume_pool_options {
    uint64_t cache_bytes;    /* bound of leaf memory; 0 = 256 MiB */
    bool sparse;             /* create: do not write through; the file may be punched */
    uint64_t wal_bytes;      /* create: 0 = 1/16 of the pool, at most 1 GiB */
    uint64_t flush_after_ns; /* bound on un-flushed age; 0 = 200 ms (E5) */
    bool lock_at_once;       /* open: STATUS_LOCKED at once, not after 10 s (E15) */
};

/* Makes a pool on a new file of size_bytes, or on an existing block device (size_bytes 0 or its
 * size; an existing pool or other content is refused unless `overwrite`).  Written through unless
 * sparse; progress (may be NULL) gets bytes done of total. */
void volume_pool_create(struct rt *rt, const char *path, uint64_t size_bytes,
                        const struct uuid *pool, const struct volume_pool_options *options,
                        bool overwrite,
                        void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
                        volume_done_fn *done, void *arg);

/* What opening found and did; for the log and for `tarn pool show`. */
struct volume_recovery {
    bool clean; /* nothing had to be replayed */
    uint64_t batches_replayed, blocks_verified, bytes_scanned;
    uint64_t batches_cut; /* incomplete ones behind the cut, never acknowledged as flushed */
    uint64_t duration_ns;
};

/* Opens and recovers.  *ret_pool is set before done is called without an error; a damaged pool
 * opens read-only with state VOLUME_POOL_DAMAGED and an explanation in volume_pool_trouble(). */
void volume_pool_open(struct rt *rt, const char *path, const struct volume_pool_options *options,
                      struct volume_pool **ret_pool, volume_done_fn *done, void *arg);
/* Flushes, writes a checkpoint, closes.  All handles must have been closed. */
void volume_pool_close(struct volume_pool *pool, volume_done_fn *done, void *arg);
/* Frees everything without any further I/O and without calling any pending done: what a crash
 * leaves. Handles of the pool become invalid.  For simulated crashes and for a failed pool. */
void volume_pool_abandon(struct volume_pool *pool);

struct volume_pool_usage {
    uint64_t size_bytes;
    uint64_t capacity_bytes; /* for data and metadata: size less superblocks and WAL */
    uint64_t used_bytes;     /* data blocks referenced by any version, plus metadata */
    uint64_t data_bytes;     /* data blocks referenced by any version */
    uint64_t
        metadata_bytes; /* leaves, directories, bitmap and system pages of the newest checkpoint */
    uint64_t reclaiming_bytes; /* freed but still in E18's queue; counted as used */
    uint64_t reserved_bytes;   /* held back for the engine (recycling, checkpoint) */
    uint64_t free_bytes;       /* what host writes can still take */
    bool reclaim_pending;      /* deletions whose sweep has not finished */
};
const struct uuid *volume_pool_uuid(const struct volume_pool *pool);
enum volume_pool_state volume_pool_state(const struct volume_pool *pool);
const char *volume_pool_trouble(const struct volume_pool *pool); /* "" when fine */
void volume_pool_usage(struct volume_pool *pool, struct volume_pool_usage *ret_usage);
/* fn(arg) in a later turn whenever free_bytes falls below low_bytes or rises to it again; at once if
 * it is below already.  One per pool: the last call counts; fn NULL ends it. */
void volume_pool_watch_space(struct volume_pool *pool, uint64_t low_bytes, void (*fn)(void *arg),
                             void *arg);
/* fn(arg) in a later turn when the open pool has failed.  One per pool; fn NULL ends it. */
void volume_pool_watch_state(struct volume_pool *pool, void (*fn)(void *arg), void *arg);
const struct volume_recovery *volume_pool_recovery(const struct volume_pool *pool);
unsigned volume_pool_capabilities(const struct volume_pool *pool);
/* Counters for metrics, the bench and its deterministic twins. */
struct volume_pool_counters {
    uint64_t host_writes, host_write_bytes, host_reads, host_read_bytes, host_flushes;
    uint64_t batches, batch_blocks, device_flushes, wal_bytes, data_bytes, leaf_loads, leaf_writes;
    uint64_t lookup_steps, checkpoints, reclaimed_blocks, checksum_retries, checksum_errors;
};
void volume_pool_counters(const struct volume_pool *pool,
                          struct volume_pool_counters *ret_counters);
/* Tests and shutdown: done when everything durable is durable, deletions are swept and E18's queue
 * is empty; afterwards usage is exact ("at rest"). */
void volume_pool_settle(struct volume_pool *pool, volume_done_fn *done, void *arg);
/* Forces a checkpoint (E12). */
void volume_pool_checkpoint(struct volume_pool *pool, volume_done_fn *done, void *arg);
/* What a check has seen. */
struct volume_check_report {
    uint64_t leaves; /* of all maps */
    /* Of them: whether they keep what no view needs could not be said, since the sweep of their disk, or
     * of the leaf, did not end while the check looked again and again. */
    uint64_t unjudged_leaves;
    /* Stored metadata that was read back: tables, pages, and leaves that were in memory. */
    uint64_t pages;
    uint64_t unjudged_pages; /* more, which a checkpoint replaced whenever they were looked at */
};
/* Compares bitmap, map, and per-disk counters exhaustively, as they are at one instant near its end (E27), looks
 * whether anything is kept that no view needs (E21), and reads stored metadata back through its checksums.  It
 * holds up nobody, and ends however much is written meanwhile.  ret_report: NULL, or valid until done, and
 * untouched when something is wrong (BLOCK_CORRUPT) or the pool fails. */
void volume_pool_check(struct volume_pool *pool, struct volume_check_report *ret_report,
                       volume_done_fn *done, void *arg);

/* ---- Disks ----------------------------------------------------------------------------------- */

struct volume_disk_info {
    struct uuid uuid;
    uint64_t size_bytes;
    uint64_t own_bytes;       /* blocks of this disk's own versions, all generations */
    struct uuid parent_point; /* nil unless a branch */
    struct uuid parent_disk;
    unsigned depth; /* 0 = no parent */
    bool is_promoted; /* reads nothing from its parent any more; found out again after the pool was opened */
    unsigned point_count;
    unsigned handle_count;
};

void volume_disk_create(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                        volume_done_fn *done, void *arg);
/* Grow only in this version; the size is part of the view. */
void volume_disk_resize(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                        volume_done_fn *done, void *arg);
/* Refused with IN_USE while handles are open or points or branches depend on it. */
void volume_disk_delete(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                        void *arg);
bool volume_disk_find(struct volume_pool *pool, const struct uuid *disk,
                      struct volume_disk_info *ret_info);
/* Calls fn for each disk, in order of creation; fn must not change the pool. */
void volume_disks(struct volume_pool *pool,
                  void (*fn)(void *arg, const struct volume_disk_info *info), void *arg);

/* ---- Points and cuts ------------------------------------------------------------------------- */

enum volume_point_kind {
    VOLUME_POINT_SNAPSHOT = 1,
    VOLUME_POINT_ROLLBACK = 2,
    VOLUME_POINT_MARKER = 3,
    VOLUME_POINT_PIN = 4,  /* nameless: keeps what a branch needs after its point was deleted */
    VOLUME_POINT_UNDO = 5, /* what a disk was before a revert */
};

struct volume_point_info {
    struct uuid uuid, disk, set;
    enum volume_point_kind kind;
    uint64_t generation;
    uint64_t wall_ns;
    uint64_t size_bytes; /* of the disk at the point */
    unsigned branch_count, handle_count;
    bool leased; /* may lapse by itself (E23); control decides */
};

struct volume_cut_member {
    struct uuid disk, point;
    enum volume_point_kind kind;
};

struct volume_cut {
    struct uuid set;      /* the WAL record {set, members} is the commit (E23) */
    uint64_t deadline_ns; /* rt_now after which nothing may be cut: TOO_LATE; 0 = none */
    bool leased;
    unsigned member_count;                   /* 1 to LIMIT_SET_MEMBERS */
    const struct volume_cut_member *members; /* the caller's until done */
};

struct volume_cut_result {
    uint64_t generation;
    uint64_t wall_ns;
};

/* done without error: the record and all it covers are on stable storage (E26).  With an error:
 * nothing was cut. */
void volume_cut(struct volume_pool *pool, const struct volume_cut *cut,
                struct volume_cut_result *ret_result, volume_done_fn *done, void *arg);
/* One part of a cut over several pools: the same set in all, each with its own members. */
struct volume_cut_part {
    struct volume_pool *pool;
    struct volume_cut cut;
    struct volume_cut_result result;
};
/* Cuts all parts at one instant (E22): the gates of all pools are closed (acknowledgements and
 * publication), all records are appended, all gates are opened; each pool's record names all pools
 * and members (E23).  limit_ns: how long gates may stay closed; then nothing is cut: TOO_LATE.
 * done without error: all records are durable.  With one part: as volume_cut, without a gate.
 * The parts are the caller's until done. */
void volume_cut_pools(struct volume_cut_part *parts, unsigned count, uint64_t limit_ns,
                      volume_done_fn *done, void *arg);
/* The sets that were cut over several pools and still have a point in this one. */
struct volume_set_info {
    struct uuid set;
    unsigned pool_count; /* with this one */
    const struct uuid *pools;
};
void volume_pool_sets(struct volume_pool *pool,
                      void (*fn)(void *arg, const struct volume_set_info *info), void *arg);

/* O(1) and durable; space comes back in the background.  IN_USE while a handle is open on it; with
 * branches it turns into a nameless pin. */
void volume_point_delete(struct volume_pool *pool, const struct uuid *point, volume_done_fn *done,
                         void *arg);
bool volume_point_find(struct volume_pool *pool, const struct uuid *point,
                       struct volume_point_info *ret_info);
/* All points of a disk (disk NULL: of the pool) in order of generation. */
void volume_points(struct volume_pool *pool, const struct uuid *disk,
                   void (*fn)(void *arg, const struct volume_point_info *info), void *arg);
/* A new writable disk over a point (E20); its size is the point's. */
void volume_branch(struct volume_pool *pool, const struct uuid *point, const struct uuid *new_disk,
                   volume_done_fn *done, void *arg);

/* The live view of the disk becomes what the disk was at one of its points, size included (E19);
 * what it was before is kept as a new point of kind UNDO: reverting to that one is the undo.  O(1).
 * Handles stay open and are told (CONTENT, and SIZE if it changed).  Requests that were under way
 * come before it; later ones wait until it is durable, milliseconds, and fail with OUT_OF_RANGE
 * when the disk has become too small for them.  Cuts never wait.  LIMIT_REACHED: too many reverts
 * that could still be undone. */
void volume_revert(struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
                   const struct uuid *undo_point, volume_done_fn *done, void *arg);

/* Copies into a branch, in the background, what it reads from its parent (E20).  Handles, cuts and
 * writes go on as ever.  After a crash, an error or a cancel: begin again; what was copied stays.
 */
struct volume_promotion {
    struct uuid disk;
    void (*progress)(struct volume_promotion *job, uint64_t done_bytes,
                     uint64_t total_bytes);                    /* or NULL */
    void (*done)(struct volume_promotion *job, struct err *e); /* the job is the caller's again */
    /* or NULL: it ends.  The pool is too full to go on; true: the job pauses, with all that it has copied, and
     * looks for space again after volume_promotion_pause(job, false).  false: it ends with POOL_FULL. */
    bool (*full)(struct volume_promotion *job);
    bool is_paused, is_cancelled; /* see volume_promotion_pause and _cancel */
    struct volume_pool *pool;
    void *private_;
};
void volume_promote(struct volume_pool *pool, struct volume_promotion *job);
void volume_promotion_pause(struct volume_promotion *job, bool is_paused);
void volume_promotion_cancel(struct volume_promotion *job); /* done follows, with CANCELLED */
/* A branch that was promoted becomes a disk of its own; its parent's point is free of it. CONFLICT:
 * it was not promoted since the pool was opened. */
void volume_split(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                  void *arg);

/* Gives a disk the content of any other view (E19): a point of another disk, or of a branch of its
 * own, from the same or another pool or engine.  A background job copies what differs into a hidden
 * stage, then one record makes it visible and keeps what the disk was as the undo point.  Until
 * then the destination is untouched and fully usable; what is written to it meanwhile belongs to
 * what it was.  Its size becomes the content's; handles are told as by volume_revert.  After a
 * crash, an error or a cancel nothing has changed: begin again.  IN_USE: one at a time for a disk,
 * and it cannot be deleted meanwhile.  CONFLICT: the branch was split off meanwhile.  POOL_FULL:
 * there is no room for the copy, and `full` does not wait for it. */
struct volume_replacement {
    struct uuid disk, undo_point;
    struct volume *content; /* a handle on a point (READ_ONLY), open until done */
    void (*progress)(struct volume_replacement *job, uint64_t done_bytes,
                     uint64_t total_bytes); /* or NULL */
    void (*done)(struct volume_replacement *job, struct err *e);
    /* or NULL: always.  Asked right before the one record; false: the job pauses, with all that it has
     * copied, and asks again after volume_replacement_pause(job, false). */
    bool (*may_take)(struct volume_replacement *job);
    bool (*full)(struct volume_replacement *job); /* as of a promotion */
    bool is_paused, is_cancelled; /* see volume_replacement_pause and _cancel */
    struct volume_pool *pool;
    void *private_;
};
void volume_replace(struct volume_pool *pool, struct volume_replacement *job);
void volume_replacement_pause(struct volume_replacement *job, bool is_paused);
void volume_replacement_cancel(struct volume_replacement *job); /* done follows, with CANCELLED */

/* ---- Views and I/O --------------------------------------------------------------------------- */

enum volume_mode { VOLUME_READ_ONLY, VOLUME_READ_WRITE };

/* point NULL: the live view of the disk; else the view at that point (READ_ONLY only; disk may be
 * NULL). */
struct err *volume_open(struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
                        enum volume_mode mode, struct volume **ret_volume) MUST_CHECK;
/* No request may be in flight.  Accepts NULL. */
void volume_close(struct volume *volume);
uint64_t volume_size_bytes(const struct volume *volume);
bool volume_is_read_only(const struct volume *volume);
/* How many requests of this handle may have changed the content. */
uint64_t volume_change_count(const struct volume *volume);

enum volume_op {
    VOLUME_READ,  /* iov: where to */
    VOLUME_WRITE, /* iov: from where */
    VOLUME_ZERO,  /* WRITE SAME with zeroes: reads zero, holds no space where whole blocks */
    VOLUME_UNMAP, /* whole blocks become holes that read zero; ragged edges are left alone */
    VOLUME_FLUSH, /* covers every write completed before it was submitted (E5) */
    VOLUME_COMPARE_WRITE, /* iov: compare data, then write data, sector_count each; atomic */
};

enum volume_io_flags { VOLUME_FUA = 1 << 0 };

struct volume_io {
    enum volume_op op;
    unsigned flags;
    uint64_t sector;         /* of SECTOR_BYTES */
    uint64_t sector_count;   /* READ, WRITE: at most LIMIT_TRANSFER_BYTES; UNMAP: LIMIT_UNMAP_BYTES;
                                ZERO: any */
    const struct iovec *iov; /* exactly sector_count sectors in total; any alignment */
    unsigned iov_count;
    void (*done)(struct volume_io *io);
    enum status status;         /* MISCOMPARE: see miscompare_offset */
    uint32_t miscompare_offset; /* bytes from the start of the compare data */
    struct volume *volume;      /* set by volume_submit */
    struct list_node link;      /* private to the engine from here on */
    uint64_t private_[24];
};

void volume_submit(struct volume *volume, struct volume_io *io);

/* Is [sector, +count) mapped?  For GET LBA STATUS and for sparse export: sets the state of the
 * first sector and how far it reaches (block granularity; at most to sector_count). */
struct volume_map_query {
    uint64_t sector, sector_count;
    bool mapped;
    uint64_t run_sectors;
    void (*done)(struct volume_map_query *query);
    enum status status;
    struct volume *volume;
    struct list_node link;
    uint64_t private_[24];
};
void volume_map_status(struct volume *volume, struct volume_map_query *query);

/* Something changed under an open handle; the front end turns it into unit attentions. */
enum volume_event {
    VOLUME_EVENT_SIZE = 1 << 0,
    VOLUME_EVENT_CONTENT = 1 << 1, /* revert, replace */
    VOLUME_EVENT_GONE = 1 << 2,
    VOLUME_EVENT_STATE = 1 << 3, /* read-only, failed, full, not any more */
};
struct volume_watch {
    struct list_node link;
    void (*fn)(struct volume_watch *watch, unsigned events);
};
void volume_watch_add(struct volume *volume, struct volume_watch *watch);
void volume_watch_remove(struct volume_watch *watch); /* fine when not added */

#endif
