/* create.c - a new pool: an empty system blob, one superblock, and zeroes through the whole file.
 */
#include <stdlib.h>

#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/recover.h"
#include "timeline/tables.h"

enum { CHUNK_BLOCKS = 256, WAL_SHARE = 16, WAL_MIN_BLOCKS = 256, PROBE_BLOCKS = 256 };
#define WAL_MAX_BYTES (1 * GIB)

struct create_op {
    struct rt *rt;
    char *path;
    uint64_t size_bytes;
    struct volume_pool_options options;
    bool overwrite, is_ours; /* is_ours: the file was made by this call */
    void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    volume_done_fn *done;
    void *arg;
    struct rt_message message;
    struct rt_file *file;
    struct dev_set set;
    struct flusher flusher;
    struct flush_request flush;
    struct super super;
    uint8_t *memory;
    uint64_t at_block, end_block; /* what is still to be zeroed */
};

static void create_end(struct create_op *op, struct err *e)
{
    volume_done_fn *done = op->done;
    void *arg = op->arg;
    rt_file_close(op->file);
    if (e) {
        e = err_wrap(e, "create pool %s", op->path);
        if (op->is_ours) err_free(rt_path_delete(op->rt, op->path, false));
    }
    dev_set_fini(&op->set);
    free(op->memory);
    free(op->path);
    free(op);
    done(arg, e);
}

static bool ended_badly(struct create_op *op, enum status status, const char *what)
{
    if (status == STATUS_OK) return false;
    create_end(op, err_new(status, "%s", what));
    return true;
}

static void super_flushed(struct flush_request *request, enum status status)
{
    struct create_op *op = container_of(request, struct create_op, flush);
    if (ended_badly(op, status, "the device failed to flush")) return;
    create_end(op, NULL);
}

static void super_written(struct dev_set *set)
{
    struct create_op *op = container_of(set, struct create_op, set);
    if (ended_badly(op, set->status, "the superblock could not be written")) return;
    flusher_submit(&op->flusher, &op->flush, RT_FLUSH_POOL_CREATE, super_flushed);
}

/* Everything that the superblock names is durable before it is. */
static void body_flushed(struct flush_request *request, enum status status)
{
    struct create_op *op = container_of(request, struct create_op, flush);
    if (ended_badly(op, status, "the device failed to flush")) return;
    super_encode(&op->super, op->memory);
    dev_set_clear(&op->set);
    dev_set_add(&op->set, RT_FILE_WRITE, op->super.checkpoint % 2 ? FORMAT_SUPER_B : FORMAT_SUPER_A,
                1, op->memory);
    dev_set_run(&op->set, super_written);
}

static void system_written(struct dev_set *set)
{
    struct create_op *op = container_of(set, struct create_op, set);
    if (ended_badly(op, set->status, "the system pages could not be written")) return;
    flusher_submit(&op->flusher, &op->flush, RT_FLUSH_POOL_CREATE, body_flushed);
}

/* Tables without disks. */
static void write_system(struct create_op *op)
{
    struct tl_pool *p = pool_new(op->rt, &op->options);
    struct extents extents = {0};
    uint64_t bytes;
    pool_start(p);
    alloc_init(&p->alloc, op->super.data_start, op->super.size_blocks);
    p->bitmap_refs = calloc(alloc_page_count(&p->alloc), sizeof *p->bitmap_refs);
    check(p->bitmap_refs != NULL);
    uint8_t *payload = tables_encode(p, &bytes);
    bool taken = blob_take(&p->alloc, bytes, &extents);
    check(taken && extents.count == 1 && extents.items[0].blocks <= CHUNK_BLOCKS);
    op->super.system = blob_encode(&extents, FORMAT_SYSTEM_MAGIC, payload, bytes, op->memory);
    dev_set_clear(&op->set);
    dev_set_add(&op->set, RT_FILE_WRITE, extents.items[0].block, extents.items[0].blocks,
                op->memory);
    free(payload);
    extents_fini(&extents);
    pool_free(p);
    dev_set_run(&op->set, system_written);
}

static void zero_next(struct create_op *op);

static void zeroed(struct dev_set *set)
{
    struct create_op *op = container_of(set, struct create_op, set);
    if (set->status != STATUS_OK) {
        create_end(op,
                   err_next(err_new(STATUS_NO_SPACE, "it could not be written through to its end"),
                            "see that there is enough space, or choose a smaller size"));
        return;
    }
    if (op->progress)
        op->progress(op->arg, op->at_block * BLOCK_BYTES, op->end_block * BLOCK_BYTES);
    if (op->at_block < op->end_block)
        zero_next(op);
    else
        write_system(op);
}

static void zero_next(struct create_op *op)
{
    dev_set_clear(&op->set);
    for (unsigned i = 0; i < 4 && op->at_block < op->end_block; i++) {
        uint64_t n = min_of((uint64_t)CHUNK_BLOCKS, op->end_block - op->at_block);
        dev_set_add(&op->set, RT_FILE_WRITE, op->at_block, (uint32_t)n, op->memory);
        op->at_block += n;
    }
    dev_set_run(&op->set, zeroed);
}

static struct err *lay_out(struct create_op *op, uint64_t device_bytes)
{
    struct super *s = &op->super;
    if (op->size_bytes == 0) op->size_bytes = device_bytes;
    uint64_t wal = op->options.wal_bytes ? op->options.wal_bytes
                                         : min_of(op->size_bytes / WAL_SHARE, WAL_MAX_BYTES);
    if (op->size_bytes < LIMIT_POOL_MIN_BYTES)
        return err_next(err_new(STATUS_BAD_REQUEST, "%llu bytes are too few for a pool",
                                (unsigned long long)op->size_bytes),
                        "give it at least 64M");
    if (wal / BLOCK_BYTES < WAL_MIN_BLOCKS || wal > op->size_bytes / 2)
        return err_next(err_new(STATUS_BAD_REQUEST,
                                "a log of %llu bytes does not fit a pool of %llu",
                                (unsigned long long)wal, (unsigned long long)op->size_bytes),
                        "choose between 1M and half of the pool");
    s->checkpoint = 1;
    s->size_blocks = op->size_bytes / BLOCK_BYTES;
    s->wal_start = FORMAT_WAL_START;
    s->wal_blocks = wal / BLOCK_BYTES;
    s->data_start = s->wal_start + s->wal_blocks;
    s->next_seq = 1;
    s->wall_ns = rt_wall(op->rt);
    s->flags = op->options.sparse ? SUPER_SPARSE : 0;
    return NULL;
}

static void write_all(struct create_op *op, bool is_block_device)
{
    memset(op->memory, 0, (size_t)CHUNK_BLOCKS * BLOCK_BYTES);
    op->at_block = 0;
    op->end_block = op->super.size_blocks;
    if (op->options.sparse || is_block_device) {
        /* The superblocks of what was there; the last block gives a file its size. */
        op->end_block = FORMAT_WAL_START;
        dev_set_add(&op->set, RT_FILE_WRITE, op->super.size_blocks - 1, 1, op->memory);
        dev_set_add(&op->set, RT_FILE_WRITE, 0, FORMAT_WAL_START, op->memory);
        op->at_block = op->end_block;
        dev_set_run(&op->set, zeroed);
        return;
    }
    zero_next(op);
}

static void probed(struct dev_set *set)
{
    struct create_op *op = container_of(set, struct create_op, set);
    if (ended_badly(op, set->status, "the device could not be read")) return;
    for (size_t i = 0; i < (size_t)PROBE_BLOCKS * BLOCK_BYTES; i++) {
        if (op->memory[i] == 0) continue;
        create_end(op, err_next(err_new(STATUS_EXISTS, "the device is not empty"),
                                "say that it may be overwritten, if nothing on it is needed"));
        return;
    }
    dev_set_clear(set);
    write_all(op, true);
}

static struct err *open_file(struct create_op *op, struct rt_file_info *ret_info)
{
    unsigned flags = RT_OPEN_LOCK | RT_OPEN_DIRECT;
    struct err *e = NULL;
    if (op->size_bytes)
        e = rt_file_open(op->rt, op->path, flags | RT_OPEN_CREATE, &op->file, ret_info);
    op->is_ours = op->size_bytes && !e;
    if (op->is_ours) return NULL;
    if (e && err_status(e) != STATUS_EXISTS) return e;
    err_free(e);
    TRY(rt_file_open(op->rt, op->path, flags, &op->file, ret_info));
    if (!ret_info->is_block_device && !op->overwrite)
        return err_next(err_new(STATUS_EXISTS, "the file exists already"), "choose another name");
    if (ret_info->is_block_device && op->size_bytes > ret_info->size_bytes)
        return err_new(STATUS_BAD_REQUEST, "the device has only %llu bytes",
                       (unsigned long long)ret_info->size_bytes);
    return NULL;
}

static void create_begin(struct rt_message *message)
{
    struct create_op *op = container_of(message, struct create_op, message);
    struct rt_file_info info = {0};
    struct err *e = open_file(op, &info);
    if (!e) e = lay_out(op, info.size_bytes);
    if (e) {
        create_end(op, e);
        return;
    }
    op->memory = aligned_alloc(BLOCK_BYTES, (size_t)CHUNK_BLOCKS * BLOCK_BYTES);
    check(op->memory != NULL);
    dev_set_init(&op->set, op->rt, op->file);
    flusher_init(&op->flusher, op->rt, op->file);
    if (info.is_block_device && !op->overwrite) {
        dev_set_add(&op->set, RT_FILE_READ, 0, PROBE_BLOCKS, op->memory);
        dev_set_run(&op->set, probed);
        return;
    }
    write_all(op, info.is_block_device);
}

void timeline_pool_create(struct rt *rt, const char *path, uint64_t size_bytes,
                          const struct uuid *pool, const struct volume_pool_options *options,
                          bool overwrite,
                          void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
                          volume_done_fn *done, void *arg)
{
    struct create_op *op = calloc(1, sizeof *op);
    check(op != NULL);
    op->rt = rt;
    op->path = strdup(path);
    check(op->path != NULL);
    op->size_bytes = size_bytes;
    if (options) op->options = *options;
    op->super.uuid = *pool;
    op->overwrite = overwrite;
    op->progress = progress;
    op->done = done;
    op->arg = arg;
    op->message.fn = create_begin;
    rt_post(rt, &op->message);
}
