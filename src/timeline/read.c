/* read.c - look up, load leaves, read runs, verify, copy; with a grace mark all the while (E14,
 * E17, E20). */
#include <stdlib.h>

#include "base/crc32c.h"
#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/mutation.h"
#include "timeline/tables.h"

enum {
    READ_RETRIES = 8,
    READS_FOR_EDGES = 16, /* kept for writes, which hold buffers that host reads may wait for */
};

static void look_up(struct read_frag *read);

struct read_frag *read_get(struct tl_pool *p)
{
    struct read_frag *read = list_entry(list_pop_front(&p->free_reads), struct read_frag, link);
    p->free_read_count--;
    read->io = NULL;
    read->buf = NULL;
    read->buf_bytes = 0;
    read->map_only = read->is_reading = false;
    read->retries = 0;
    read->bad_phys = 0;
    read->status = STATUS_OK;
    return read;
}

void read_put(struct read_frag *read)
{
    struct tl_pool *p = read->pool;
    check(!read->is_reading);
    list_push_back(&p->free_reads, &read->link);
    p->free_read_count++;
    pump_soon(p);
}

uint64_t read_oldest_mark(const struct tl_pool *p)
{
    if (list_is_empty(&p->readers) || mutation_is(MUTATION_NO_GRACE)) return UINT64_MAX;
    return list_entry(p->readers.head.next, struct read_frag, link)->mark;
}

/* ---- The end of a read ----------------------------------------------------------------------- */

static void copy_to_io(struct volume_io *io, uint64_t offset, const uint8_t *from, size_t bytes)
{
    for (unsigned i = 0; i < io->iov_count && bytes > 0; i++) {
        const struct iovec *v = &io->iov[i];
        if (offset >= v->iov_len) {
            offset -= v->iov_len;
            continue;
        }
        size_t n = min_of(bytes, v->iov_len - (size_t)offset);
        if (from) {
            memcpy((uint8_t *)v->iov_base + offset, from, n);
            from += n;
        } else {
            memset((uint8_t *)v->iov_base + offset, 0, n);
        }
        bytes -= n;
        offset = 0;
    }
    check(bytes == 0);
}

static void read_end(struct read_frag *read, enum status status)
{
    struct tl_pool *p = read->pool;
    struct volume_io *io = read->io;
    read->status = status;
    read->is_reading = false;
    list_remove(&read->link);
    queue_release(p); /* its mark is gone (E17) */
    if (!io) {
        read->done(read);
        return;
    }
    if (status == STATUS_OK) {
        uint64_t skip = read->sector * SECTOR_BYTES - read->lba * BLOCK_BYTES;
        copy_to_io(io, (read->sector - io->sector) * SECTOR_BYTES,
                   read->buf ? read->buf + skip : NULL, (size_t)read->sector_count * SECTOR_BYTES);
    }
    if (read->buf) rt_buf_put(p->rt, read->buf, read->buf_bytes);
    read->buf = NULL;
    read_put(read);
    struct io_state *s = io_state(io);
    if (status != STATUS_OK && s->status == STATUS_OK) {
        s->status = status;
        s->left_sectors = 0;
    }
    check(s->outstanding > 0);
    if (--s->outstanding == 0 && !list_is_linked(&io->link))
        volume_io_complete(io, (enum status)s->status);
}

/* ---- Verify ---------------------------------------------------------------------------------- */

static void verify(struct read_frag *read)
{
    struct tl_pool *p = read->pool;
    for (uint32_t i = 0; i < read->blocks; i++) {
        const struct read_block *b = &read->map[i];
        if (b->phys == 0) continue;
        uint32_t crc = wal_block_crc(crc32c(0, read->buf + (size_t)i * BLOCK_BYTES, BLOCK_BYTES),
                                     b->disk, read->lba + i, b->generation);
        if (crc == b->crc || mutation_is(MUTATION_SERVE_UNVERIFIED)) continue;
        /* E17: look again; an error only if the mapping is what it was. */
        bool is_same =
            read->bad_phys == b->phys && read->bad == i && read->bad_generation == b->generation;
        if (is_same || read->retries++ >= READ_RETRIES) {
            p->counters.checksum_errors++;
            read_end(read, STATUS_BLOCK_CORRUPT);
            return;
        }
        p->counters.checksum_retries++;
        read->bad = i;
        read->bad_phys = b->phys;
        read->bad_generation = b->generation;
        read->next = 0;
        read->level_disk = read->disk;
        read->level_generation = read->generation;
        look_up(read);
        return;
    }
    read_end(read, STATUS_OK);
}

static void run_done(struct rt_file_io *io)
{
    struct read_frag *read = container_of(io, struct read_run, io)->read;
    if (io->status != STATUS_OK) read->status = STATUS_READ_FAILED;
    check(read->pending > 0);
    if (--read->pending > 0) return;
    if (read->status != STATUS_OK)
        read_end(read, read->status);
    else
        verify(read);
}

/* ---- Read runs ------------------------------------------------------------------------------- */

static void read_runs(struct read_frag *read)
{
    struct tl_pool *p = read->pool;
    unsigned count = 0;
    for (uint32_t i = 0; i < read->blocks;) {
        uint32_t n = 1;
        uint8_t *to = read->buf + (size_t)i * BLOCK_BYTES;
        if (read->map[i].phys == 0) {
            memset(to, 0, BLOCK_BYTES);
            i++;
            continue;
        }
        while (i + n < read->blocks && read->map[i + n].phys == read->map[i].phys + n)
            n++;
        struct read_run *run = &read->runs[count++];
        *run = (struct read_run){.read = read};
        run->iov = (struct iovec){.iov_base = to, .iov_len = (size_t)n * BLOCK_BYTES};
        run->io = (struct rt_file_io){.op = RT_FILE_READ,
                                      .file = p->file,
                                      .offset = read->map[i].phys * BLOCK_BYTES,
                                      .iov = &run->iov,
                                      .iov_count = 1,
                                      .done = run_done};
        i += n;
    }
    read->pending = count;
    if (count == 0) {
        read_end(read, STATUS_OK);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        rt_file_submit(p->rt, &read->runs[i].io);
}

static void buf_came(struct rt_buf_waiter *waiter);

static void mapped(struct read_frag *read)
{
    bool is_zero = true;
    for (uint32_t i = 0; i < read->blocks; i++)
        is_zero = is_zero && read->map[i].phys == 0;
    if (read->map_only || (is_zero && read->io)) {
        read_end(read, STATUS_OK);
        return;
    }
    if (!read->buf) {
        read->buf_bytes = (size_t)read->blocks * BLOCK_BYTES;
        read->buf = rt_buf_get(read->pool->rt, read->buf_bytes);
        if (!read->buf) {
            rt_buf_wait(read->pool->rt, &read->buf_waiter, buf_came);
            return;
        }
    }
    read_runs(read);
}

static void buf_came(struct rt_buf_waiter *waiter)
{
    mapped(container_of(waiter, struct read_frag, buf_waiter));
}

/* ---- Look up --------------------------------------------------------------------------------- */

static void leaf_loaded(struct leaf_waiter *waiter, enum status status)
{
    struct read_frag *read = container_of(waiter, struct read_frag, leaf_waiter);
    if (status != STATUS_OK)
        read_end(read, status);
    else
        look_up(read);
}

/* The next block begins at the top again. */
static void found(struct read_frag *read, uint64_t phys, uint64_t generation, uint32_t crc)
{
    read->map[read->next++] = (struct read_block){
        .phys = phys, .generation = generation, .crc = crc, .disk = read->level_disk->id};
    read->level_disk = read->disk;
    read->level_generation = read->generation;
}

/* E20: what the view does not have is the parent's at the branch's birth, within the parent's size
 * then. */
static void fall_through(struct read_frag *read, uint64_t lba)
{
    struct tl_disk *disk = read->level_disk;
    if (!disk->parent || lba >= disk->parent_size_bytes / BLOCK_BYTES) {
        found(read, 0, 0, 0);
        return;
    }
    read->level_generation = disk->parent_generation;
    read->level_disk = disk->parent;
}

static void look_up(struct read_frag *read)
{
    struct tl_pool *p = read->pool;
    while (read->next < read->blocks) {
        uint64_t lba = read->lba + read->next, index = lba / FORMAT_LEAF_BLOCKS;
        struct tl_disk *disk = read->level_disk;
        p->counters.lookup_steps++;
        struct view view = disk_view(disk, read->level_generation);
        if (map_leaf_is_absent(disk, index)) {
            if (view_resolve(NULL, 0, &view) == RESOLVE_ZERO)
                found(read, 0, 0, 0);
            else
                fall_through(read, lba);
            continue;
        }
        struct leaf *leaf = map_leaf(disk, index);
        if (leaf->state == LEAF_BROKEN) {
            read_end(read, STATUS_BLOCK_CORRUPT);
            return;
        }
        if (leaf->state != LEAF_READY) {
            map_load(leaf, &read->leaf_waiter, leaf_loaded);
            return;
        }
        struct version *versions;
        unsigned count = leaf_versions(leaf, (unsigned)(lba % FORMAT_LEAF_BLOCKS), &versions);
        int i = view_resolve(versions, count, &view);
        if (i == RESOLVE_NONE)
            fall_through(read, lba);
        else if (i == RESOLVE_ZERO || (versions[i].flags & VERSION_HOLE))
            found(read, 0, 0, 0);
        else
            found(read, version_phys(&versions[i]), version_generation(&versions[i]),
                  versions[i].crc);
    }
    mapped(read);
}

void read_start(struct read_frag *read)
{
    struct tl_pool *p = read->pool;
    read->mark = p->alloc.clock; /* E17 */
    read->serial = ++p->read_serial;
    list_push_back(&p->readers, &read->link);
    read->is_reading = true;
    read->next = 0;
    read->level_disk = read->disk;
    read->level_generation = read->generation;
    look_up(read);
}

/* ---- Host reads ------------------------------------------------------------------------------ */

void read_io(struct volume_io *io)
{
    struct tl_pool *p = tl_pool(io->volume->pool);
    *io_state(io) = (struct io_state){.next_sector = io->sector, .left_sectors = io->sector_count};
    p->counters.host_reads++;
    p->counters.host_read_bytes += io->sector_count * SECTOR_BYTES;
    list_push_back(&p->read_queue, &io->link);
    pump_soon(p);
}

static struct tl_volume *volume_of(const struct volume_io *io)
{
    return container_of(io->volume, struct tl_volume, base);
}

bool read_is_over(const struct tl_pool *p, uint64_t serial)
{
    struct list_node *node = p->readers.head.next;
    return list_is_empty(&p->readers) || list_entry(node, struct read_frag, link)->serial > serial;
}

bool read_is_idle(const struct tl_disk *disk)
{
    struct tl_pool *p = disk->pool;
    list_for_each (node, &p->readers) {
        const struct read_frag *read = list_entry(node, struct read_frag, link);
        if (read->disk == disk && read->generation == FORMAT_LIVE) return false;
    }
    list_for_each (node, &p->read_queue) {
        struct volume_io *io = list_entry(node, struct volume_io, link);
        if (volume_of(io)->disk == disk && !volume_of(io)->point && io_is_begun(io)) return false;
    }
    return true;
}

static void start_part(struct volume_io *io)
{
    struct tl_pool *p = tl_pool(io->volume->pool);
    struct tl_volume *volume = container_of(io->volume, struct tl_volume, base);
    struct io_state *s = io_state(io);
    struct read_frag *read = read_get(p);
    uint64_t end = s->next_sector + s->left_sectors;
    read->io = io;
    read->disk = volume->disk;
    read->generation = volume->point ? volume->point->generation : FORMAT_LIVE;
    read->lba = s->next_sector / SECTORS_PER_BLOCK;
    uint64_t stop = (end + SECTORS_PER_BLOCK - 1) / SECTORS_PER_BLOCK;
    read->blocks = (uint32_t)min_of(stop - read->lba, (uint64_t)FORMAT_BATCH_MAX_BLOCKS);
    read->sector = s->next_sector;
    uint64_t part_end = min_of(end, (read->lba + read->blocks) * SECTORS_PER_BLOCK);
    read->sector_count = part_end - read->sector;
    s->next_sector = part_end;
    s->left_sectors = end - part_end;
    s->outstanding++;
    read_start(read);
}

/* ---- Map queries ----------------------------------------------------------------------------- */

struct query_state {
    uint64_t next_lba, end_lba;
    bool is_known;
};
check_static(sizeof(struct query_state) <= sizeof(((struct volume_map_query *)0)->private_));

enum { QUERY_LEAVES = 256 }; /* absent leaves passed per step */

static struct query_state *query_state(struct volume_map_query *query)
{
    return (struct query_state *)(void *)query->private_;
}

void query_io(struct volume_map_query *query)
{
    struct tl_pool *p = tl_pool(query->volume->pool);
    *query_state(query) = (struct query_state){
        .next_lba = query->sector / SECTORS_PER_BLOCK,
        .end_lba =
            (query->sector + query->sector_count + SECTORS_PER_BLOCK - 1) / SECTORS_PER_BLOCK};
    list_push_back(&p->query_queue, &query->link);
    pump_soon(p);
}

static void query_end(struct volume_map_query *query, enum status status)
{
    struct query_state *s = query_state(query);
    uint64_t reach = min_of(s->next_lba * SECTORS_PER_BLOCK, query->sector + query->sector_count);
    query->run_sectors = reach - query->sector;
    volume_query_complete(query, status);
}

/* False: the state changed here. */
static bool query_extend(struct volume_map_query *query, bool is_mapped, uint64_t blocks)
{
    struct query_state *s = query_state(query);
    if (!s->is_known) query->mapped = is_mapped;
    s->is_known = true;
    if (query->mapped != is_mapped) return false;
    s->next_lba = min_of(s->next_lba + blocks, s->end_lba);
    return true;
}

static void query_window_done(struct read_frag *read)
{
    struct volume_map_query *query = read->arg;
    struct tl_pool *p = read->pool;
    enum status status = read->status;
    bool goes_on = status == STATUS_OK;
    for (uint32_t i = 0; goes_on && i < read->blocks; i++)
        goes_on = query_extend(query, read->map[i].phys != 0, 1);
    read_put(read);
    if (goes_on && query_state(query)->next_lba < query_state(query)->end_lba)
        list_push_back(&p->query_queue, &query->link);
    else
        query_end(query, status);
}

static void query_step(struct volume_map_query *query)
{
    struct tl_pool *p = tl_pool(query->volume->pool);
    struct tl_volume *volume = container_of(query->volume, struct tl_volume, base);
    struct query_state *s = query_state(query);
    for (unsigned i = 0; i < QUERY_LEAVES && s->next_lba < s->end_lba; i++) {
        uint64_t index = s->next_lba / FORMAT_LEAF_BLOCKS;
        if (volume->disk->parent || !map_leaf_is_absent(volume->disk, index)) break;
        if (!query_extend(query, false, (index + 1) * FORMAT_LEAF_BLOCKS - s->next_lba)) {
            query_end(query, STATUS_OK);
            return;
        }
    }
    if (s->next_lba >= s->end_lba) {
        query_end(query, STATUS_OK);
        return;
    }
    struct read_frag *read = read_get(p);
    read->map_only = true;
    read->disk = volume->disk;
    read->generation = volume->point ? volume->point->generation : FORMAT_LIVE;
    read->lba = s->next_lba;
    read->blocks = (uint32_t)min_of(s->end_lba - s->next_lba, (uint64_t)FORMAT_BATCH_MAX_BLOCKS);
    read->done = query_window_done;
    read->arg = query;
    read_start(read);
}

static bool query_is_held(const struct volume_map_query *query)
{
    const struct tl_volume *volume = container_of(query->volume, struct tl_volume, base);
    return !volume->point && volume->disk->holds > 0;
}

static void query_pump(struct tl_pool *p)
{
    struct list queries;
    list_init(&queries);
    list_splice_back(&queries, &p->query_queue);
    for (struct list_node *node;
         p->free_read_count > READS_FOR_EDGES && (node = list_pop_front(&queries));) {
        struct volume_map_query *query = list_entry(node, struct volume_map_query, link);
        if (query_is_held(query))
            list_push_back(&p->query_queue, node);
        else if (query->sector + query->sector_count > query->volume->size_bytes / SECTOR_BYTES)
            volume_query_complete(query, STATUS_OUT_OF_RANGE); /* smaller since a revert */
        else
            query_step(query);
    }
    list_splice_back(&p->query_queue, &queries);
}

void read_pump(struct tl_pool *p)
{
    /* Those of a disk that is being reverted wait, and are passed. */
    struct list held;
    list_init(&held);
    while (!list_is_empty(&p->read_queue) && p->free_read_count > READS_FOR_EDGES) {
        struct volume_io *io = list_entry(list_front(&p->read_queue), struct volume_io, link);
        struct io_state *s = io_state(io);
        if (!io_is_begun(io) && !volume_of(io)->point && volume_of(io)->disk->holds > 0) {
            list_remove(&io->link);
            list_push_back(&held, &io->link);
            continue;
        }
        if (!io_is_begun(io) && !io_fits(io)) io_refuse(io, STATUS_OUT_OF_RANGE);
        if (s->left_sectors > 0) {
            start_part(io);
            continue;
        }
        list_remove(&io->link);
        if (s->outstanding == 0) volume_io_complete(io, (enum status)s->status);
    }
    list_splice_back(&held, &p->read_queue); /* older ones first */
    list_splice_back(&p->read_queue, &held);
    query_pump(p);
}

void read_init(struct tl_pool *p)
{
    list_init(&p->free_reads);
    list_init(&p->readers);
    list_init(&p->read_queue);
    list_init(&p->query_queue);
    p->reads = calloc(READ_COUNT, sizeof *p->reads);
    check(p->reads != NULL);
    for (unsigned i = 0; i < READ_COUNT; i++) {
        p->reads[i].pool = p;
        list_push_back(&p->free_reads, &p->reads[i].link);
        p->free_read_count++;
    }
}
