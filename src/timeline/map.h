/*
 * map.h - the map of a disk: directory pages and leaves; loading, writing, evicting.
 *
 * A leaf is 3.5 MiB of LBA.  In memory it is complete (READY) or a list of changes (DELTA) whose base
 * is on disk, so that a write need not load it.  A merge drops nothing (E10).  Threads: the pool's
 * loop.
 */
#ifndef TARN_TIMELINE_MAP_H
#define TARN_TIMELINE_MAP_H

#include "timeline/timeline_int.h"

/* leaf.c: the versions of one leaf, and its form on disk. */

/* The versions of `block`, newest first; returns how many. */
unsigned leaf_versions(const struct leaf *leaf, unsigned block, struct version **ret_first);
void leaf_insert(struct leaf *leaf, unsigned block, uint64_t generation, uint64_t phys,
                 uint32_t crc, uint8_t flags);
bool leaf_remove(struct leaf *leaf, unsigned block, uint64_t generation);
void leaf_push_op(struct leaf *leaf, const struct leaf_op *op);
/* Applies the list of changes to the complete leaf, those above applied_seq; empties it. */
void leaf_merge_ops(struct leaf *leaf, uint64_t applied_seq);
/* malloc'ed payload of the blob. */
uint8_t *leaf_encode(const struct leaf *leaf, uint64_t applied_seq, uint64_t *ret_bytes);
/* Fills an empty leaf; false (leaf unchanged) when the payload is malformed. */
bool leaf_decode(struct leaf *leaf, const uint8_t *payload, uint64_t bytes, uint64_t data_start,
                 uint64_t data_end, uint64_t *ret_applied_seq);
uint64_t leaf_oldest_superseded(const struct leaf *leaf);
uint64_t leaf_bytes_for(uint64_t version_count);

/* map.c */
struct dir_entry *map_entry(struct tl_disk *disk, uint64_t leaf_index); /* NULL: no such page */
struct dir_entry *map_entry_create(struct tl_disk *disk, uint64_t leaf_index);
struct dir_page *map_page_create(struct tl_disk *disk, uint64_t page_index);
void map_dirty_page(struct tl_disk *disk, uint64_t leaf_index);
/* The leaf in memory, made when it is not there; complete at once when it has no blob. */
struct leaf *map_leaf(struct tl_disk *disk, uint64_t leaf_index);
struct leaf *map_leaf_peek(struct tl_disk *disk, uint64_t leaf_index); /* in memory, or NULL */
/* True when neither memory nor disk knows anything of it. */
bool map_leaf_is_absent(struct tl_disk *disk, uint64_t leaf_index);
/* For a leaf that is neither READY nor BROKEN: calls fn when it is. */
void map_load(struct leaf *leaf, struct leaf_waiter *waiter,
              void (*fn)(struct leaf_waiter *waiter, enum status status));
void map_pin(struct leaf *leaf);
void map_unpin(struct leaf *leaf);
void map_dirty(struct leaf *leaf, uint64_t seq);
/* Call when versions or changes were added or removed: memory and reserve accounting. */
void map_account(struct leaf *leaf);
/* How much more a checkpoint would have to write if n versions were added. */
uint32_t map_extra_need(struct leaf *leaf, uint32_t n);
void map_expect(struct leaf *leaf, uint32_t n); /* n versions will be published */
void map_unexpect(struct leaf *leaf, uint32_t n);
void map_touch(struct leaf *leaf);
/* Evicts and spills until the limit is kept; posted by itself. */
void map_trim_soon(struct tl_pool *p);
/* Starts writing a dirty leaf if a writer is idle. */
bool map_write(struct leaf *leaf);
bool map_writers_are_idle(const struct tl_pool *p);
/* Frees an extent list that held metadata: at once if no superblock can know it, else by E12. */
void map_retire(struct tl_pool *p, struct extents *extents, uint64_t checkpoint);
void map_free_disk(struct tl_disk *disk); /* memory only */
void map_free_leaf(struct leaf *leaf);
void map_init(struct tl_pool *p);
void map_fini(struct tl_pool *p);

#endif
