/* checkpoint.c - leaves, then one instant for directories, bitmap and tables, then the superblock
 * (E11, E12). */
#include <stdlib.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"
#include "timeline/tables.h"

/* ---- Directory pages ------------------------------------------------------------------------- */

enum { ENTRY_NEEDS_SWEEP = 1 << 0 };

void checkpoint_encode_dir(const struct tl_disk *disk, uint64_t page_index, uint64_t applied_seq,
                           uint8_t memory[BLOCK_BYTES])
{
    const struct dir_page *page = disk->dir[page_index];
    struct buf_writer w = buf_writer(memory, BLOCK_BYTES);
    buf_put_le32(&w, FORMAT_DIR_MAGIC);
    buf_put_le32(&w, disk->id);
    buf_put_le64(&w, page_index);
    buf_put_le64(&w, applied_seq);
    buf_put_zeroes(&w, FORMAT_DIR_HEADER_BYTES - buf_used(&w));
    for (unsigned i = 0; i < FORMAT_DIR_ENTRIES; i++) {
        const struct dir_entry *e = &page->entries[i];
        bool known = e->ref.block != 0;
        buf_put_le64(&w, e->ref.block);
        buf_put_le32(&w, known ? e->ref.blocks : 0);
        buf_put_le32(&w, known ? e->ref.crc : 0);
        buf_put_le64(&w, known ? e->applied_seq : 0);
        buf_put_le64(&w, e->max_generation);
        buf_put_le64(&w, known ? e->oldest_superseded : 0);
        buf_put_le32(&w, known ? e->version_count : 0);
        buf_put_le32(&w, known && e->needs_sweep ? ENTRY_NEEDS_SWEEP : 0);
        buf_put_le64(&w, 0); /* reserved: foreign generation of replicated writes */
    }
    buf_put_zeroes(&w, BLOCK_BYTES - buf_used(&w));
    check(!w.failed);
}

bool checkpoint_decode_dir(struct tl_disk *disk, uint64_t page_index,
                           const uint8_t memory[BLOCK_BYTES])
{
    struct dir_page *page = disk->dir[page_index];
    struct buf_reader r = buf_reader(memory, BLOCK_BYTES);
    if (crc32c(0, memory, BLOCK_BYTES) != page->ref.crc) return false;
    if (buf_take_le32(&r) != FORMAT_DIR_MAGIC || buf_take_le32(&r) != disk->id ||
        buf_take_le64(&r) != page_index)
        return false;
    buf_take(&r, FORMAT_DIR_HEADER_BYTES - 16);
    for (unsigned i = 0; i < FORMAT_DIR_ENTRIES; i++) {
        struct dir_entry *e = &page->entries[i];
        e->ref.block = buf_take_le64(&r);
        e->ref.blocks = buf_take_le32(&r);
        e->ref.crc = buf_take_le32(&r);
        e->applied_seq = buf_take_le64(&r);
        e->max_generation = buf_take_le64(&r);
        e->oldest_superseded = buf_take_le64(&r);
        e->version_count = buf_take_le32(&r);
        e->needs_sweep = buf_take_le32(&r) & ENTRY_NEEDS_SWEEP;
        buf_take_le64(&r);
        page->touched_seq = max_of(page->touched_seq, e->applied_seq);
        if (e->ref.block && !blob_ref_is_sane(&e->ref, &disk->pool->alloc)) return false;
    }
    return !r.failed;
}

/* ---- Pages that a new image replaces --------------------------------------------------------- */

void retire_block(struct tl_pool *p, uint64_t block)
{
    extents_push(&p->ckpt.retired, block, 1);
    p->metadata_blocks--;
}

uint64_t retired_blocks(const struct tl_pool *p)
{
    return extents_blocks(&p->ckpt.retired) + extents_blocks(&p->ckpt.retiring) +
           extents_blocks(&p->ckpt.releasing);
}

static uint8_t *memory_for(struct tl_pool *p, uint64_t blocks)
{
    struct tl_checkpoint *c = &p->ckpt;
    if (c->memory_count == c->memory_capacity) {
        c->memory_capacity = c->memory_capacity ? c->memory_capacity * 2 : 64;
        c->memories = realloc(c->memories, c->memory_capacity * sizeof *c->memories);
        check(c->memories != NULL);
    }
    uint8_t *memory = aligned_alloc(BLOCK_BYTES, blocks * BLOCK_BYTES);
    check(memory != NULL);
    c->memories[c->memory_count++] = memory;
    return memory;
}

static void free_memories(struct tl_checkpoint *c)
{
    for (unsigned i = 0; i < c->memory_count; i++)
        free(c->memories[i]);
    c->memory_count = 0;
}

/* Takes a block for a page of the new image and queues its write; 0 when there is none. */
static uint64_t put_page(struct tl_pool *p, uint8_t *memory)
{
    uint64_t block;
    if (alloc_take(&p->alloc, 1, &block) == 0) return 0;
    p->metadata_blocks++;
    dev_set_add(&p->ckpt.set, RT_FILE_WRITE, block, 1, memory);
    return block;
}

static bool page_is_empty(const struct dir_page *page)
{
    for (unsigned i = 0; i < FORMAT_DIR_ENTRIES; i++)
        if (page->entries[i].ref.block) return false;
    return true;
}

static bool encode_dirs(struct tl_pool *p)
{
    list_for_each (node, &p->disks) {
        struct tl_disk *disk = list_entry(node, struct tl_disk, link);
        for (uint64_t i = 0; i < disk->dir_count; i++) {
            struct dir_page *page = disk->dir[i];
            if (!page || !page->dirty) continue;
            page->dirty = false;
            p->dirty_dir_pages--;
            if (page->ref.block) retire_block(p, page->ref.block);
            page->ref = (struct blob_ref){0};
            if (page_is_empty(page)) continue;
            uint8_t *memory = memory_for(p, 1);
            checkpoint_encode_dir(disk, i, p->published_seq, memory);
            page->ref.crc = crc32c(0, memory, BLOCK_BYTES);
            page->ref.blocks = 1;
            page->ref.block = put_page(p, memory);
            if (!page->ref.block) return false;
        }
    }
    return true;
}

static bool encode_bitmap(struct tl_pool *p)
{
    static const uint8_t zeroes[BLOCK_BYTES];
    for (uint64_t i = 0; i < alloc_page_count(&p->alloc); i++) {
        const uint64_t *bits = p->alloc.written + i * (FORMAT_BITMAP_BITS / 64);
        struct bitmap_ref *ref = &p->bitmap_refs[i];
        if (!p->alloc.page_is_dirty[i]) continue;
        p->alloc.page_is_dirty[i] = false;
        if (ref->block) retire_block(p, ref->block);
        *ref = (struct bitmap_ref){.applied_seq = p->published_seq};
        if (memcmp(bits, zeroes, BLOCK_BYTES) == 0) continue;
        uint8_t *memory = memory_for(p, 1);
        memcpy(memory, bits, BLOCK_BYTES);
        ref->crc = crc32c(0, memory, BLOCK_BYTES);
        ref->block = put_page(p, memory);
        if (!ref->block) return false;
    }
    return true;
}

static bool encode_tables(struct tl_pool *p)
{
    struct tl_checkpoint *c = &p->ckpt;
    uint64_t bytes, at = 0;
    for (uint32_t i = 0; i < c->system_extents.count; i++) {
        extents_push(&c->retired, c->system_extents.items[i].block,
                     c->system_extents.items[i].blocks);
        p->metadata_blocks -= c->system_extents.items[i].blocks;
    }
    extents_fini(&c->system_extents);
    check(c->releasing.count == 0);
    c->releasing = c->retiring; /* what only the superblock before the previous one named */
    c->retiring = c->retired;
    c->retired = (struct extents){0};
    uint8_t *payload = tables_encode(p, &bytes);
    if (!blob_take(&p->alloc, bytes, &c->system_extents)) {
        free(payload);
        return false;
    }
    uint64_t blocks = extents_blocks(&c->system_extents);
    p->metadata_blocks += blocks;
    uint8_t *memory = memory_for(p, blocks);
    c->super.system = blob_encode(&c->system_extents, FORMAT_SYSTEM_MAGIC, payload, bytes, memory);
    free(payload);
    for (uint32_t i = 0; i < c->system_extents.count; i++) {
        struct extent *e = &c->system_extents.items[i];
        dev_set_add(&c->set, RT_FILE_WRITE, e->block, e->blocks, memory + at);
        at += (uint64_t)e->blocks * BLOCK_BYTES;
    }
    return true;
}

/* ---- The phases ------------------------------------------------------------------------------ */

static void flip(struct tl_pool *p)
{
    struct tl_checkpoint *c = &p->ckpt;
    for (uint32_t i = 0; i < c->releasing.count; i++)
        alloc_give_back(&p->alloc, c->releasing.items[i].block,
                        c->releasing.items[i].blocks); /* E12 */
    extents_fini(&c->releasing);
    free_memories(c);
    dev_set_clear(&c->set);
    c->number = c->super.checkpoint;
    c->previous_position = c->replay_position;
    c->replay_seq = c->new_replay_seq;
    c->replay_position = c->new_replay_position;
    p->super = c->super;
    c->phase = CHECKPOINT_IDLE;
    p->counters.checkpoints++;
    struct list done;
    list_init(&done);
    list_splice_back(&done, &c->waiters);
    for (struct list_node *node; (node = list_pop_front(&done));) {
        struct tl_waiter *w = list_entry(node, struct tl_waiter, link);
        w->fn(w, STATUS_OK);
    }
    reclaim_poke(p);
    pump_soon(p);
    checkpoint_poke(p);
}

static void stop(struct tl_pool *p, const char *why)
{
    p->ckpt.wants_instant = false;
    pool_fail(p, why);
}

static void super_flushed(struct flush_request *request, enum status status)
{
    struct tl_pool *p = container_of(request, struct tl_pool, ckpt.flush);
    if (status == STATUS_OK && tl_is_ok(p)) flip(p);
}

static void super_written(struct dev_set *set)
{
    struct tl_pool *p = container_of(set, struct tl_pool, ckpt.set);
    if (set->status != STATUS_OK)
        stop(p, "the superblock could not be written");
    else
        flusher_submit(&p->flusher, &p->ckpt.flush, RT_FLUSH_CHECKPOINT_SUPER, super_flushed);
}

static void pages_flushed(struct flush_request *request, enum status status)
{
    struct tl_pool *p = container_of(request, struct tl_pool, ckpt.flush);
    struct tl_checkpoint *c = &p->ckpt;
    if (status != STATUS_OK || !tl_is_ok(p)) return;
    check(p->durable_seq >= c->instant_seq); /* E11 */
    c->phase = CHECKPOINT_SUPER;
    c->super.durable = p->durable_seq;
    c->super.next_seq = p->next_seq;
    c->super.wall_ns = rt_wall(p->rt);
    super_encode(&c->super, c->super_memory);
    dev_set_clear(&c->set);
    dev_set_add(&c->set, RT_FILE_WRITE, c->super.checkpoint % 2 ? FORMAT_SUPER_B : FORMAT_SUPER_A,
                1, c->super_memory);
    dev_set_run(&c->set, super_written);
}

static void pages_written(struct dev_set *set)
{
    struct tl_pool *p = container_of(set, struct tl_pool, ckpt.set);
    if (set->status != STATUS_OK)
        stop(p, "a write of metadata failed");
    else
        flusher_submit(&p->flusher, &p->ckpt.flush, RT_FLUSH_CHECKPOINT_PAGES, pages_flushed);
}

/* Only for MUTATION_RELEASE_BEFORE_FLIP. */
static void release_early(struct tl_pool *p)
{
    struct extents *lists[] = {&p->ckpt.releasing, &p->ckpt.retiring};
    for (unsigned i = 0; i < countof(lists); i++) {
        for (uint32_t j = 0; j < lists[i]->count; j++)
            alloc_give_back(&p->alloc, lists[i]->items[j].block, lists[i]->items[j].blocks);
        lists[i]->count = 0;
    }
    p->ckpt.replay_position = p->ckpt.previous_position = p->ckpt.new_replay_position;
}

static void take_instant(struct tl_pool *p)
{
    struct tl_checkpoint *c = &p->ckpt;
    check(p->admin_in_flight == 0); /* E11: the tables hold nothing above published_seq */
    c->wants_instant = false;
    c->instant_seq = p->published_seq;
    c->super = p->super;
    c->super.checkpoint = c->next_number++;
    c->super.replay_seq = c->new_replay_seq;
    c->super.replay_position = c->new_replay_position;
    c->super.epoch = p->epoch;
    c->phase = CHECKPOINT_PAGES;
    if (!encode_dirs(p) || !encode_bitmap(p) || !encode_tables(p)) {
        stop(p, "no space was left for metadata");
        return;
    }
    if (mutation_is(MUTATION_RELEASE_BEFORE_FLIP)) release_early(p);
    dev_set_run(&c->set, pages_written);
    pump_soon(p);
}

/* True when no leaf that was dirty at the beginning is left. */
static bool write_leaves(struct tl_pool *p)
{
    bool is_done = true;
    list_for_each_safe (node, &p->dirty) {
        struct leaf *leaf = list_entry(node, struct leaf, dirty_link);
        if (leaf->dirty_seq > p->ckpt.new_replay_seq) break;
        is_done = false;
        if (leaf->is_writing) continue;
        if (!map_write(leaf) || !tl_is_ok(p)) return false;
    }
    return is_done && map_writers_are_idle(p);
}

static bool begin(struct tl_pool *p)
{
    struct tl_checkpoint *c = &p->ckpt;
    struct batch *b;
    if (!log_has_room(p, WAL_NOTE, 1) || !(b = batch_get(p))) return false;
    c->is_wanted = false;
    c->phase = CHECKPOINT_LEAVES;
    c->new_replay_seq = p->published_seq;
    c->new_replay_position = p->published_position;
    list_splice_back(&c->waiters, &c->next_waiters);
    /* So that there is a batch behind replay_seq: by it an older superblock is judged (E12). */
    struct buf_writer w = wal_body(b->wal, BLOCK_BYTES);
    batch_close(b, WAL_NOTE, &w);
    return true;
}

void checkpoint_poke(struct tl_pool *p)
{
    struct tl_checkpoint *c = &p->ckpt;
    if (!p->is_open || !tl_is_ok(p)) return;
    if (c->phase == CHECKPOINT_IDLE && (!c->is_wanted || !begin(p))) return;
    if (c->phase == CHECKPOINT_LEAVES && write_leaves(p)) {
        c->phase = CHECKPOINT_INSTANT;
        c->wants_instant = true;
    }
    if (tl_is_ok(p) && c->phase == CHECKPOINT_INSTANT && p->admin_in_flight == 0) take_instant(p);
}

void checkpoint_want(struct tl_pool *p)
{
    if (p->ckpt.phase != CHECKPOINT_IDLE) {
        /* Already under way; what needs another asks again when it is over. */
        return;
    }
    p->ckpt.is_wanted = true;
    checkpoint_poke(p);
}

void checkpoint_wait(struct tl_pool *p, struct tl_waiter *waiter,
                     void (*fn)(struct tl_waiter *waiter, enum status status))
{
    waiter->fn = fn;
    list_node_init(&waiter->link);
    list_push_back(&p->ckpt.next_waiters, &waiter->link);
    p->ckpt.is_wanted = true;
    checkpoint_poke(p);
}

void checkpoint_fail_all(struct tl_pool *p)
{
    struct list *lists[] = {&p->ckpt.waiters, &p->ckpt.next_waiters};
    for (unsigned i = 0; i < countof(lists); i++) {
        for (struct list_node *node; (node = list_pop_front(lists[i]));) {
            struct tl_waiter *w = list_entry(node, struct tl_waiter, link);
            w->fn(w, STATUS_POOL_FAILED);
        }
    }
}

void checkpoint_init(struct tl_pool *p)
{
    list_init(&p->ckpt.waiters);
    list_init(&p->ckpt.next_waiters);
    dev_set_init(&p->ckpt.set, p->rt, p->file);
    p->ckpt.super_memory = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
    check(p->ckpt.super_memory != NULL);
}

void checkpoint_fini(struct tl_pool *p)
{
    struct tl_checkpoint *c = &p->ckpt;
    free_memories(c);
    free(c->memories);
    free(c->super_memory);
    dev_set_fini(&c->set);
    extents_fini(&c->system_extents);
    extents_fini(&c->releasing);
    extents_fini(&c->retiring);
    extents_fini(&c->retired);
}
