/*
 * tables.h - the disks and points of a pool, and the system pages that keep them.
 *
 * Admin records change the tables when they are appended (E2) and again, alike, in recovery
 * (tables_apply); a checkpoint writes the whole (tables_encode) at an instant without unpublished
 * admin batches (E11).  Threads: the pool's loop.
 */
#ifndef TARN_TIMELINE_TABLES_H
#define TARN_TIMELINE_TABLES_H

#include "timeline/timeline_int.h"

void tables_init(struct tl_pool *p);
void tables_fini(struct tl_pool *p);
struct tl_disk *disk_by_id(const struct tl_pool *p, uint32_t id); /* also deleted ones; NULL */
struct tl_disk *disk_find(struct tl_pool *p, const struct uuid *uuid);
struct tl_point *point_find(struct tl_pool *p, const struct uuid *uuid); /* not pins */
/* The newest state of the disk's retained views (E21). */
struct retained disk_retained(const struct tl_disk *disk);

/* Applies one admin record of batch seq; `set` carries the CUT record over to its members.  False:
 * the record does not fit the tables (a damaged log). */
bool tables_apply(struct tl_pool *p, const struct wal_record *record, uint64_t seq,
                  uint64_t wall_ns);
void disk_remove(struct tl_disk *disk); /* from the tables and from memory */
void disk_sweep_again(struct tl_disk *disk);
/* A lap of the sweep is over: records that say nothing any more go (silently: the views are the
 * same with and without them, so recovery may have them back). */
void disk_records_swept(struct tl_disk *disk);
bool disk_has_dead_records(const struct tl_disk *disk);
/* The view of the disk at a generation. */
struct view disk_view(const struct tl_disk *disk, uint64_t generation);

/* sets.c: sets over several pools. */
void sets_init(struct tl_pool *p);
void sets_fini(struct tl_pool *p);
/* A CUT POOL record; its members' come behind it.  False: it does not fit. */
bool sets_apply_pool(struct tl_pool *p, const struct wal_record *record, uint64_t seq);
void sets_join(struct tl_point *point);  /* a new point, if its set lies in several pools */
void sets_leave(struct tl_point *point); /* it goes or becomes a nameless pin; the last takes the set */
uint32_t sets_count(const struct tl_pool *p);
uint64_t sets_encoded_bytes(const struct tl_pool *p);
void sets_encode(const struct tl_pool *p, struct buf_writer *w);
bool sets_decode(struct tl_pool *p, struct buf_reader *r, uint32_t count); /* behind the disks */

/* malloc'ed payload of the system blob. */
uint8_t *tables_encode(struct tl_pool *p, uint64_t *ret_bytes);
/* Fills the tables of a pool that has none; directory pages get their references only. */
bool tables_decode(struct tl_pool *p, const uint8_t *payload, uint64_t bytes,
                   uint64_t *ret_applied_seq);

#endif
