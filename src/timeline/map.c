/* map.c - directory pages; leaves in memory: load, write, evict. */
#include "timeline/map.h"

#include <stdlib.h>

#include "timeline/engine.h"

/* ---- Directory ------------------------------------------------------------------------------- */

struct dir_page *map_page_create(struct tl_disk *disk, uint64_t page_index)
{
    if (page_index >= disk->dir_count) {
        uint64_t count = max_of(page_index + 1, disk->dir_count * 2);
        disk->dir = realloc(disk->dir, count * sizeof *disk->dir);
        check(disk->dir != NULL);
        memset(disk->dir + disk->dir_count, 0, (count - disk->dir_count) * sizeof *disk->dir);
        disk->dir_count = count;
    }
    if (!disk->dir[page_index]) {
        disk->dir[page_index] = calloc(1, sizeof *disk->dir[page_index]);
        check(disk->dir[page_index] != NULL);
    }
    return disk->dir[page_index];
}

struct dir_entry *map_entry(struct tl_disk *disk, uint64_t leaf_index)
{
    uint64_t page = leaf_index / FORMAT_DIR_ENTRIES;
    if (page >= disk->dir_count || !disk->dir[page]) return NULL;
    return &disk->dir[page]->entries[leaf_index % FORMAT_DIR_ENTRIES];
}

struct dir_entry *map_entry_create(struct tl_disk *disk, uint64_t leaf_index)
{
    struct dir_page *page = map_page_create(disk, leaf_index / FORMAT_DIR_ENTRIES);
    return &page->entries[leaf_index % FORMAT_DIR_ENTRIES];
}

void map_dirty_page(struct tl_disk *disk, uint64_t leaf_index)
{
    struct dir_page *page = disk->dir[leaf_index / FORMAT_DIR_ENTRIES];
    if (page->dirty) return;
    page->dirty = true;
    disk->pool->dirty_dir_pages++;
}

bool map_leaf_is_absent(struct tl_disk *disk, uint64_t leaf_index)
{
    struct dir_entry *entry = map_entry(disk, leaf_index);
    return !entry || (entry->ref.block == 0 && !entry->leaf);
}

/* ---- Leaves in memory ------------------------------------------------------------------------ */

struct leaf *map_leaf_peek(struct tl_disk *disk, uint64_t leaf_index)
{
    struct dir_entry *entry = map_entry(disk, leaf_index);
    return entry ? entry->leaf : NULL;
}

static struct dir_entry *entry_of(const struct leaf *leaf)
{
    return map_entry(leaf->disk, leaf->index);
}

struct leaf *map_leaf(struct tl_disk *disk, uint64_t leaf_index)
{
    struct dir_entry *entry = map_entry_create(disk, leaf_index);
    if (!entry->leaf) {
        struct leaf *leaf = calloc(1, sizeof *leaf);
        check(leaf != NULL);
        leaf->disk = disk;
        leaf->index = leaf_index;
        leaf->state = entry->ref.block ? LEAF_DELTA : LEAF_READY;
        list_init(&leaf->waiters);
        list_push_back(&disk->pool->lru, &leaf->lru_link);
        entry->leaf = leaf;
        map_account(leaf);
    }
    map_touch(entry->leaf);
    return entry->leaf;
}

void map_touch(struct leaf *leaf)
{
    list_remove(&leaf->lru_link);
    list_push_back(&leaf->disk->pool->lru, &leaf->lru_link);
}

void map_pin(struct leaf *leaf)
{
    leaf->pins++;
}

void map_unpin(struct leaf *leaf)
{
    check(leaf->pins > 0);
    leaf->pins--;
    if (leaf->pins == 0) map_trim_soon(leaf->disk->pool);
}

static uint64_t version_estimate(struct leaf *leaf)
{
    if (leaf->state == LEAF_READY) return leaf->version_count + leaf->pending_versions;
    uint64_t n = entry_of(leaf)->version_count + leaf->pending_versions;
    for (uint32_t i = 0; i < leaf->op_count; i++)
        if (!leaf->ops[i].is_removal) n += leaf->ops[i].count;
    return n;
}

uint32_t map_extra_need(struct leaf *leaf, uint32_t n)
{
    uint64_t blocks = blob_blocks_for(leaf_bytes_for(version_estimate(leaf) + n)) + 1;
    return blocks > leaf->need_blocks ? (uint32_t)(blocks - leaf->need_blocks) : 0;
}

void map_account(struct leaf *leaf)
{
    struct tl_pool *p = leaf->disk->pool;
    uint64_t bytes = sizeof *leaf + leaf->version_capacity * sizeof *leaf->versions +
                     leaf->op_capacity * sizeof *leaf->ops;
    p->leaf_memory = p->leaf_memory - leaf->memory_bytes + bytes;
    leaf->memory_bytes = bytes;
    if (leaf->dirty || leaf->pending_versions) {
        uint32_t extra = map_extra_need(leaf, 0);
        leaf->need_blocks += extra;
        p->leaf_need += extra;
        p->largest_leaf_blocks = max_of(p->largest_leaf_blocks, leaf->need_blocks);
    }
    if (p->leaf_memory > p->cache_bytes) map_trim_soon(p);
}

void map_dirty(struct leaf *leaf, uint64_t seq)
{
    leaf->last_seq = max_of(leaf->last_seq, seq);
    if (leaf->dirty) return;
    leaf->dirty = true;
    leaf->dirty_seq = seq;
    list_push_back(&leaf->disk->pool->dirty, &leaf->dirty_link);
}

/* Nothing is to be written for it, but for what is still to be published. */
static void forget_need(struct leaf *leaf)
{
    leaf->disk->pool->leaf_need -= leaf->need_blocks;
    leaf->need_blocks = 0;
    if (leaf->pending_versions) map_account(leaf);
}

static void clean(struct leaf *leaf)
{
    if (!leaf->dirty) return;
    leaf->dirty = false;
    list_remove(&leaf->dirty_link);
    forget_need(leaf);
}

void map_expect(struct leaf *leaf, uint32_t n)
{
    leaf->pending_versions += n;
    map_account(leaf);
}

void map_unexpect(struct leaf *leaf, uint32_t n)
{
    check(leaf->pending_versions >= n);
    leaf->pending_versions -= n;
    if (!leaf->pending_versions && !leaf->dirty) forget_need(leaf);
}

void map_free_leaf(struct leaf *leaf)
{
    struct tl_pool *p = leaf->disk->pool;
    clean(leaf);
    if (list_is_linked(&leaf->sweep_link)) list_remove(&leaf->sweep_link);
    list_remove(&leaf->lru_link);
    p->leaf_memory -= leaf->memory_bytes;
    entry_of(leaf)->leaf = NULL;
    free(leaf->versions);
    free(leaf->ops);
    extents_fini(&leaf->extents);
    free(leaf);
}

void map_free_disk(struct tl_disk *disk)
{
    for (uint64_t i = 0; i < disk->dir_count; i++) {
        if (!disk->dir[i]) continue;
        for (unsigned j = 0; j < FORMAT_DIR_ENTRIES; j++)
            if (disk->dir[i]->entries[j].leaf) map_free_leaf(disk->dir[i]->entries[j].leaf);
        if (disk->dir[i]->dirty) disk->pool->dirty_dir_pages--;
        free(disk->dir[i]);
    }
    free(disk->dir);
    disk->dir = NULL;
    disk->dir_count = 0;
}

/* ---- Loading --------------------------------------------------------------------------------- */

struct load {
    struct list_node link; /* pool->loads */
    struct leaf *leaf;
    struct rt_file_io io;
    struct iovec iov;
    struct blob_ref ref;
    struct extents extents;
    uint8_t *memory; /* of one extent */
    uint8_t *payload;
    uint64_t bytes;
};

enum { LOAD_TRIES = 3 }; /* of a checkpoint, which fails the pool if it must */

static void load_free(struct load *l)
{
    list_remove(&l->link);
    extents_fini(&l->extents);
    free(l->memory);
    free(l->payload);
    free(l);
}

static void load_end(struct load *l, enum status status)
{
    struct leaf *leaf = l->leaf;
    struct tl_pool *p = leaf->disk->pool;
    uint64_t applied = 0;
    if (status == STATUS_OK &&
        !leaf_decode(leaf, l->payload, l->bytes, p->alloc.start, p->alloc.end, &applied))
        status = STATUS_BLOCK_CORRUPT;
    if (status == STATUS_OK) {
        uint32_t op_count = leaf->op_count;
        leaf_merge_ops(leaf, applied);
        extents_fini(&leaf->extents);
        leaf->extents = l->extents;
        l->extents = (struct extents){0};
        leaf->state = LEAF_READY;
        /* What the changes superseded is found now, and removed by a record (E10). */
        if (op_count) reclaim_note_leaf(leaf);
    } else {
        /* A wrong checksum stays wrong; what could not be read may be readable later. */
        leaf->state = status == STATUS_BLOCK_CORRUPT ? LEAF_BROKEN : LEAF_DELTA;
        if (status == STATUS_BLOCK_CORRUPT) p->counters.checksum_errors++;
    }
    load_free(l);
    map_account(leaf);
    map_pin(leaf);
    struct list waiters;
    list_init(&waiters);
    list_splice_back(&waiters, &leaf->waiters);
    for (struct list_node *node; (node = list_pop_front(&waiters));) {
        struct leaf_waiter *w = list_entry(node, struct leaf_waiter, link);
        w->fn(w, status);
    }
    map_unpin(leaf);
}

static void load_extent(struct load *l);

static void load_extent_done(struct rt_file_io *io)
{
    struct load *l = container_of(io, struct load, io);
    const uint8_t *payload;
    uint32_t bytes;
    struct blob_ref next;
    if (io->status != STATUS_OK) {
        load_end(l, io->status);
        return;
    }
    if (!blob_decode(l->memory, &l->ref, FORMAT_LEAF_MAGIC, &l->leaf->disk->pool->alloc, &payload,
                     &bytes, &next) ||
        l->extents.count > 1u << 20) {
        load_end(l, STATUS_BLOCK_CORRUPT);
        return;
    }
    l->payload = realloc(l->payload, l->bytes + bytes + 1);
    check(l->payload != NULL);
    memcpy(l->payload + l->bytes, payload, bytes);
    l->bytes += bytes;
    extents_push(&l->extents, l->ref.block, l->ref.blocks);
    l->ref = next;
    if (next.block == 0)
        load_end(l, STATUS_OK);
    else
        load_extent(l);
}

static void load_extent(struct load *l)
{
    struct tl_pool *p = l->leaf->disk->pool;
    size_t bytes = (size_t)l->ref.blocks * BLOCK_BYTES;
    free(l->memory);
    l->memory = aligned_alloc(BLOCK_BYTES, bytes);
    check(l->memory != NULL);
    l->iov = (struct iovec){.iov_base = l->memory, .iov_len = bytes};
    l->io = (struct rt_file_io){.op = RT_FILE_READ,
                                .file = p->file,
                                .offset = l->ref.block * BLOCK_BYTES,
                                .iov = &l->iov,
                                .iov_count = 1,
                                .done = load_extent_done};
    rt_file_submit(p->rt, &l->io);
}

void map_load(struct leaf *leaf, struct leaf_waiter *waiter,
              void (*fn)(struct leaf_waiter *waiter, enum status status))
{
    struct tl_pool *p = leaf->disk->pool;
    check(leaf->state == LEAF_DELTA || leaf->state == LEAF_LOADING);
    waiter->fn = fn;
    list_node_init(&waiter->link);
    list_push_back(&leaf->waiters, &waiter->link);
    if (leaf->state == LEAF_LOADING) return;
    struct load *l = calloc(1, sizeof *l);
    check(l != NULL);
    leaf->state = LEAF_LOADING;
    l->leaf = leaf;
    l->ref = entry_of(leaf)->ref;
    list_push_back(&p->loads, &l->link);
    p->counters.leaf_loads++;
    load_extent(l);
}

/* ---- Writing --------------------------------------------------------------------------------- */

void map_retire(struct tl_pool *p, struct extents *extents, uint64_t checkpoint)
{
    bool is_unknown = checkpoint == p->ckpt.next_number; /* no superblock will ever name it */
    for (uint32_t i = 0; i < extents->count; i++) {
        struct extent *e = &extents->items[i];
        p->metadata_blocks -= e->blocks;
        if (is_unknown)
            alloc_give_back(&p->alloc, e->block, e->blocks);
        else
            extents_push(&p->ckpt.retired, e->block, e->blocks);
    }
    extents->count = 0;
}

static void writer_end(struct leaf_writer *w)
{
    struct tl_pool *p = w->pool;
    struct leaf *leaf = w->leaf;
    leaf->is_writing = false;
    free(w->memory);
    w->memory = NULL;
    w->leaf = NULL;
    map_unpin(leaf);
    map_trim_soon(p);
    checkpoint_poke(p);
}

static void writer_install(struct leaf_writer *w)
{
    struct tl_pool *p = w->pool;
    struct leaf *leaf = w->leaf;
    struct dir_entry *entry = entry_of(leaf);
    pool_check_follow_leaf(leaf, &w->extents);
    for (uint32_t i = 0; i < leaf->extents.count; i++)
        alloc_unmark_written(&p->alloc, leaf->extents.items[i].block,
                             leaf->extents.items[i].blocks);
    map_retire(p, &leaf->extents, entry->checkpoint);
    extents_fini(&leaf->extents);
    leaf->extents = w->extents;
    w->extents = (struct extents){0};
    for (uint32_t i = 0; i < leaf->extents.count; i++)
        alloc_mark_written(&p->alloc, leaf->extents.items[i].block, leaf->extents.items[i].blocks);
    p->metadata_blocks += extents_blocks(&leaf->extents);
    entry->ref = w->ref;
    check(w->applied_seq >= entry->applied_seq); /* E11 */
    entry->applied_seq = w->applied_seq;
    entry->oldest_superseded = w->oldest_superseded;
    entry->version_count = w->version_count;
    entry->needs_sweep = w->needs_sweep;
    entry->checkpoint = p->ckpt.next_number;
    struct dir_page *page = leaf->disk->dir[leaf->index / FORMAT_DIR_ENTRIES];
    page->touched_seq = max_of(page->touched_seq, w->applied_seq);
    map_dirty_page(leaf->disk, leaf->index);
    p->counters.leaf_writes++;
}

static void writer_written(struct dev_set *set)
{
    struct leaf_writer *w = container_of(set, struct leaf_writer, set);
    if (set->status != STATUS_OK) {
        for (uint32_t i = 0; i < w->extents.count; i++)
            alloc_give_back(&w->pool->alloc, w->extents.items[i].block, w->extents.items[i].blocks);
        extents_fini(&w->extents);
        pool_fail(w->pool, "a write of metadata failed");
    } else {
        writer_install(w);
    }
    dev_set_clear(set);
    writer_end(w);
}

static void writer_encode(struct leaf_writer *w)
{
    struct tl_pool *p = w->pool;
    struct leaf *leaf = w->leaf;
    w->applied_seq = p->published_seq;
    w->oldest_superseded = leaf_oldest_superseded(leaf);
    w->version_count = leaf->version_count;
    w->needs_sweep = leaf->needs_sweep;
    for (uint32_t i = 0; i < leaf->version_count && !w->needs_sweep; i++)
        w->needs_sweep = leaf->versions[i].flags & VERSION_REMOVING;
    w->ref = (struct blob_ref){0};
    clean(leaf);
    if (leaf->version_count > 0) {
        uint64_t bytes, at = 0;
        uint8_t *payload = leaf_encode(leaf, w->applied_seq, &bytes);
        if (!blob_take(&p->alloc, bytes, &w->extents)) {
            free(payload);
            map_dirty(leaf, leaf->last_seq);
            pool_fail(p, "no space was left for metadata");
            writer_end(w);
            return;
        }
        w->memory = aligned_alloc(BLOCK_BYTES, extents_blocks(&w->extents) * BLOCK_BYTES);
        check(w->memory != NULL);
        w->ref = blob_encode(&w->extents, FORMAT_LEAF_MAGIC, payload, bytes, w->memory);
        free(payload);
        for (uint32_t i = 0; i < w->extents.count; i++) {
            dev_set_add(&w->set, RT_FILE_WRITE, w->extents.items[i].block,
                        w->extents.items[i].blocks, w->memory + at);
            at += (uint64_t)w->extents.items[i].blocks * BLOCK_BYTES;
        }
    }
    dev_set_run(&w->set, writer_written);
}

static void writer_loaded(struct leaf_waiter *waiter, enum status status)
{
    struct leaf_writer *w = container_of(waiter, struct leaf_writer, load_waiter);
    if (status != STATUS_OK && w->leaf->state == LEAF_DELTA && ++w->tries < LOAD_TRIES) {
        map_load(w->leaf, &w->load_waiter, writer_loaded);
        return;
    }
    if (status != STATUS_OK) {
        pool_fail(w->pool, "a leaf of the map cannot be read");
        writer_end(w);
        return;
    }
    writer_encode(w);
}

bool map_write(struct leaf *leaf)
{
    struct tl_pool *p = leaf->disk->pool;
    check(!leaf->is_writing);
    if (leaf->state == LEAF_BROKEN) {
        pool_fail(p, "a leaf of the map cannot be read");
        return false;
    }
    for (unsigned i = 0; i < LEAF_WRITERS; i++) {
        struct leaf_writer *w = &p->writers[i];
        if (w->leaf) continue;
        w->leaf = leaf;
        w->tries = 0;
        leaf->is_writing = true;
        map_pin(leaf);
        if (leaf->state == LEAF_READY)
            writer_encode(w);
        else
            map_load(leaf, &w->load_waiter, writer_loaded);
        return true;
    }
    return false;
}

bool map_writers_are_idle(const struct tl_pool *p)
{
    for (unsigned i = 0; i < LEAF_WRITERS; i++)
        if (p->writers[i].leaf) return false;
    return true;
}

/* ---- Eviction -------------------------------------------------------------------------------- */

static bool can_evict(const struct leaf *leaf)
{
    return leaf->pins == 0 && !leaf->is_writing && leaf->state != LEAF_LOADING &&
           list_is_empty(&leaf->waiters);
}

static void trim(struct rt_message *message)
{
    struct tl_pool *p = container_of(message, struct tl_pool, trim_map_message);
    p->trim_map_post = false;
    unsigned looks = 0;
    list_for_each_safe (node, &p->lru) {
        struct leaf *leaf = list_entry(node, struct leaf, lru_link);
        if (p->leaf_memory <= p->cache_bytes || looks++ > 4096) break;
        if (!can_evict(leaf)) continue;
        if (!leaf->dirty) {
            map_free_leaf(leaf);
        } else if (tl_is_ok(p) && p->is_open && p->ckpt.phase != CHECKPOINT_LEAVES) {
            map_write(leaf); /* E13: spilled; unreachable until the next flip */
        }
    }
}

void map_trim_soon(struct tl_pool *p)
{
    if (p->trim_map_post || p->leaf_memory <= p->cache_bytes) return;
    p->trim_map_post = true;
    p->trim_map_message.fn = trim;
    rt_post(p->rt, &p->trim_map_message);
}

void map_init(struct tl_pool *p)
{
    list_init(&p->lru);
    list_init(&p->dirty);
    list_init(&p->sweep_leaves);
    list_init(&p->loads);
    for (unsigned i = 0; i < LEAF_WRITERS; i++) {
        p->writers[i].pool = p;
        dev_set_init(&p->writers[i].set, p->rt, p->file);
    }
}

void map_fini(struct tl_pool *p)
{
    list_for_each_safe (node, &p->loads)
        load_free(list_entry(node, struct load, link));
    for (unsigned i = 0; i < LEAF_WRITERS; i++) {
        free(p->writers[i].memory);
        extents_fini(&p->writers[i].extents);
        dev_set_fini(&p->writers[i].set);
    }
}
