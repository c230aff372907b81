/*
 * engine.h - what the files of the engine call of each other, beside map.h and tables.h.
 * Threads: the pool's loop.
 */
#ifndef TARN_TIMELINE_ENGINE_H
#define TARN_TIMELINE_ENGINE_H

#include "timeline/timeline_int.h"

/* engine.c */
void pool_fail(struct tl_pool *p, const char *why); /* E5: sticky until opened anew */
void pool_free(struct tl_pool *p);
uint64_t pool_reserve_blocks(const struct tl_pool *p); /* the recycling reserve (E28) */
uint64_t
pool_checkpoint_need(const struct tl_pool *p); /* blocks that the next checkpoint may take */
uint64_t pool_free_bytes(const struct tl_pool *p); /* what host writes can still take */
bool pool_is_sweeping(struct tl_pool *p);
bool disks_to_sweep(struct tl_pool *p);
void settle_poke(struct tl_pool *p);
extern const struct volume_engine_ops timeline_ops;

/* poolcheck.c */
void pool_check(struct volume_pool *pool, struct volume_check_report *ret_report,
                volume_done_fn *done, void *arg);
void pool_check_free_node(struct list_node *node);
bool pool_check_is_active(const struct tl_pool *p); /* a turn or a read of one is still to come */
/* What is published while a check walks: an INSERT or REMOVE that was applied; a leaf whose blob is about to
 * be replaced by one in `now`. */
void pool_check_follow_record(const struct tl_disk *disk, const struct wal_record *r);
void pool_check_follow_leaf(const struct leaf *leaf, const struct extents *now);

/* batch.c */
void batch_init(struct tl_pool *p);
void batch_fini(struct tl_pool *p);
void pump_soon(struct tl_pool *p);
/* A batch slot for the engine's own records, or NULL; its body begins at the returned writer. */
struct batch *batch_get(struct tl_pool *p);
void batch_put(struct batch *b);
bool log_has_room(const struct tl_pool *p, enum wal_kind kind, uint32_t blocks);
/* Closes (numbers) and submits; published is called in order of seq (E2, E4). */
void batch_close(struct batch *b, enum wal_kind kind, const struct buf_writer *w);
/* Applies an INSERT or REMOVE; in recovery by the applied_seq of each page (E11). */
bool apply_record(struct tl_pool *p, const struct wal_record *record, uint64_t seq);
void batch_fail_all(struct tl_pool *p);
/* Publishes what is complete and held back no more; only from a callback of rt. */
void batch_publish(struct tl_pool *p);
/* Data of the engine's own: a run that goes to a block that was taken for it. */
void batch_add_data(struct batch *b, uint64_t block, uint8_t *from, uint32_t blocks);

/* Merges removals of neighbouring versions into one record; marks each VERSION_REMOVING. */
struct removals {
    struct buf_writer *w;
    struct wal_record run;
};
void removals_add(struct removals *r, uint32_t disk, uint64_t lba, struct version *v);
void removals_flush(struct removals *r);

/* flush.c */
void flush_init(struct tl_pool *p);
void flush_fini(struct tl_pool *p);
void flush_io(struct volume_io *io, uint64_t target); /* completes io when D >= target (E5) */
void flush_wait(struct tl_pool *p, struct tl_waiter *waiter, uint64_t seq,
                void (*fn)(struct tl_waiter *waiter, enum status status)); /* site ADMIN (E26) */
void flush_note_batch(struct tl_pool *p, const struct batch *b); /* D went into a header */
void flush_note_published(struct tl_pool *p, uint64_t bytes);
void flush_pump(struct tl_pool *p);
void flush_fail_all(struct tl_pool *p);
void queue_release(struct tl_pool *p); /* E18's queue */
void trims_each(struct tl_pool *p, void (*fn)(void *arg, uint64_t block, uint32_t count), void *arg);
void recycle_kick(struct tl_pool *p);  /* moves Drec forward: an empty batch and flushes (E6) */

/* admit.c */
void admit_init(struct tl_pool *p);
void admit_io(struct volume_io *io);
void admit_pump(struct tl_pool *p);
void frag_end(struct frag *frag, enum status status,
              uint64_t seq);              /* unlocks, releases, completes */
void frag_load_leaves(struct frag *frag); /* comes back through the ready list */
void admit_buf_came(struct rt_buf_waiter *waiter);
void admit_fail_all(struct tl_pool *p);
bool admit_is_idle(const struct tl_disk *disk); /* no write is under way; those held are not */

/* read.c */
void read_init(struct tl_pool *p);
void read_io(struct volume_io *io);
void read_pump(struct tl_pool *p);
void query_io(struct volume_map_query *query);
struct read_frag *read_get(struct tl_pool *p);
/* Reads blocks of a view into buf (whole blocks); done when read->status is set. */
void read_start(struct read_frag *read);
void read_put(struct read_frag *read);
bool read_is_over(const struct tl_pool *p, uint64_t serial); /* those up to this serial */
bool read_is_idle(const struct tl_disk *disk); /* no read of the live view is under way */
uint64_t read_oldest_mark(const struct tl_pool *p);

/* admin.c */
void admin_pump(struct tl_pool *p);
void admin_fail_all(struct tl_pool *p);
void admin_fini(struct tl_pool *p);
/* Closes an admin batch and changes the tables accordingly. */
void admin_append(struct tl_pool *p, struct batch *b, const struct buf_writer *w);
void admin_disk_create(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                       volume_done_fn *done, void *arg);
void admin_disk_resize(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                       volume_done_fn *done, void *arg);
void admin_disk_delete(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                       void *arg);
void admin_cut(struct volume_pool *pool, const struct volume_cut *cut,
               struct volume_cut_result *ret_result, volume_done_fn *done, void *arg);
void admin_point_delete(struct volume_pool *pool, const struct uuid *point, volume_done_fn *done,
                        void *arg);
void admin_branch(struct volume_pool *pool, const struct uuid *point, const struct uuid *new_disk,
                  volume_done_fn *done, void *arg);
void admin_revert(struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
                  const struct uuid *undo, volume_done_fn *done, void *arg);

void admin_split(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done, void *arg);
/* The records of a cut; gate (or NULL): with those of its other pools. */
struct err *admin_put_cut(struct tl_pool *p, const struct volume_cut *cut,
                          const struct volume_gate *gate, struct buf_writer *w) MUST_CHECK;
/* Appends records that were put before; done when they are durable. */
void admin_cut_now(struct tl_pool *p, struct batch *b, const struct buf_writer *records,
                   struct volume_cut_result *ret_result, volume_done_fn *done, void *arg);

/* gate.c */
enum { GATE_LOG_BLOCKS = 2 * FORMAT_BATCH_WAL_BLOCKS }; /* with what it may skip at the ring's end */
void gate_init(struct tl_pool *p);
void gate_pump(struct tl_pool *p);
void gate_fail_all(struct tl_pool *p);
void gate_prepare(struct volume_pool *pool, struct volume_gate *gate);
void gate_close(struct volume_pool *pool, struct volume_gate *gate);
void gate_cut(struct volume_pool *pool, struct volume_gate *gate);
void gate_open(struct volume_pool *pool, struct volume_gate *gate);
void gate_put_others(const struct volume_gate *gate, struct buf_writer *w);

/* Undo points and reverts of the disk are bounded. */
struct err *admin_may_revert(struct tl_disk *disk, const struct uuid *undo);
/* The disk becomes what it was at `base` (0: nothing at all) with its stage over it (E19). */
struct admin_flip {
    struct uuid undo;
    uint64_t base, stage, size_bytes; /* stage 0: none */
};
void admin_replace(struct tl_disk *disk, const struct admin_flip *flip, volume_done_fn *done,
                   void *arg);

/* replace.c */
void replace_begin(struct volume_pool *pool, struct volume_replacement *job);
void replace_poke(struct volume_pool *pool, struct volume_replacement *job);
void replace_pump(struct tl_pool *p);
void replace_fail_all(struct tl_pool *p);
void replace_abandon(struct tl_pool *p);

/* promote.c */
void promote_begin(struct volume_pool *pool, struct volume_promotion *job);
void promote_pump(struct tl_pool *p);
void promote_fail_all(struct tl_pool *p);
void promote_abandon(struct tl_pool *p);

/* reclaim.c */
void reclaim_init(struct tl_pool *p);
void reclaim_fini(struct tl_pool *p);
void reclaim_poke(struct tl_pool *p);
void reclaim_note_leaf(struct leaf *leaf);

/* checkpoint.c */
void checkpoint_init(struct tl_pool *p);
void checkpoint_fini(struct tl_pool *p);
void checkpoint_want(struct tl_pool *p);
void checkpoint_poke(struct tl_pool *p);
void checkpoint_wait(struct tl_pool *p, struct tl_waiter *waiter,
                     void (*fn)(struct tl_waiter *waiter,
                                enum status status)); /* a whole one from now on */
void checkpoint_fail_all(struct tl_pool *p);
void retire_block(struct tl_pool *p,
                  uint64_t block); /* a page that the newest image does not name */
uint64_t retired_blocks(const struct tl_pool *p);
void checkpoint_encode_dir(const struct tl_disk *disk, uint64_t page_index, uint64_t applied_seq,
                           uint8_t memory[BLOCK_BYTES]);
bool checkpoint_decode_dir(struct tl_disk *disk, uint64_t page_index,
                           const uint8_t memory[BLOCK_BYTES]);

#endif
