/* Blocking files: every call takes no time and is an event of nobody, but writes count and crash.
 */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "tests/sim/sim_int.h"

struct sim_bhandle {
    struct rt_bfile base;
    struct list_node link; /* sim_rt.bfiles */
    struct sim_file *file;
    bool read_only;
};

static struct sim_bhandle *handle_of(struct rt_bfile *file)
{
    return container_of(file, struct sim_bhandle, base);
}

static struct err *down(void)
{
    return err_new(STATUS_OS_ERROR, "the node is down");
}

struct err *sim_bfile_open(struct rt *rt, const char *path, unsigned flags,
                           struct rt_bfile **ret_file)
{
    struct sim_rt *srt = sim_rt_of(rt);
    if (rt->dead) return down();
    struct sim_file *file = sim_store_find(srt->node, path);
    if (!file && !(flags & RT_BOPEN_CREATE))
        return err_new(STATUS_NOT_FOUND, "open %s: not found", path);
    if (file && (flags & RT_BOPEN_CREATE) && (flags & RT_BOPEN_EXCLUSIVE))
        return err_new(STATUS_EXISTS, "create %s: exists", path);
    if (file && file->is_directory) return err_new(STATUS_OS_ERROR, "open %s: a directory", path);
    if (!file) {
        file = sim_store_create(srt->node, path);
        sim_store_sync_names(srt->node);
    }
    struct sim_bhandle *handle = calloc(1, sizeof *handle);
    check(handle != NULL);
    handle->base.rt = rt;
    handle->file = file;
    handle->read_only = flags & RT_BOPEN_READ_ONLY;
    file->handles++;
    list_push_back(&srt->bfiles, &handle->link);
    *ret_file = &handle->base;
    return NULL;
}

/* NULL, or why this operation fails. */
static struct err *strike(struct sim_bhandle *handle, enum rt_file_op op)
{
    if (handle->base.rt->dead) return down();
    if (handle->read_only && op == RT_FILE_WRITE)
        return err_new(STATUS_OS_ERROR, "write %s: opened read-only", handle->file->path);
    struct sim_fault *fault = sim_fault_take(handle->file->node, handle->file->path, op);
    if (!fault) return NULL;
    sim_fault_free(fault);
    return err_new(STATUS_OS_ERROR, "%s: input/output error", handle->file->path);
}

struct err *sim_bfile_read(struct rt_bfile *base, uint64_t offset, void *to, size_t size_bytes,
                           size_t *ret_read)
{
    struct sim_bhandle *handle = handle_of(base);
    TRY(strike(handle, RT_FILE_READ));
    uint64_t end = handle->file->current.size_bytes;
    size_t n = offset < end ? (size_t)min_of((uint64_t)size_bytes, end - offset) : 0;
    sim_image_read(&handle->file->current, offset, to, n);
    *ret_read = n;
    return NULL;
}

/* A change that a crash strikes: it happens in full, in part or not at all. */
static void complete_part(struct sim_file *file, struct sim_change *change)
{
    struct prng *prng = &file->node->sim->prng;
    struct list parts;
    list_init(&parts);
    switch (prng_below(prng, 3)) {
    case 0:
        sim_change_free(change);
        return;
    case 1:
        list_push_back(&parts, &change->link);
        break;
    default:
        sim_change_tear(change, prng, &parts);
        break;
    }
    while (!list_is_empty(&parts)) {
        sim_store_complete(file, list_entry(list_pop_front(&parts), struct sim_change, link));
    }
}

static struct err *complete(struct sim_bhandle *handle, struct sim_change *change)
{
    struct sim_node *node = handle->file->node;
    if (!sim_node_counts_write(node)) {
        sim_store_complete(handle->file, change);
        return NULL;
    }
    complete_part(handle->file, change);
    sim_node_crash(node, node->crash_kind);
    return down();
}

struct err *sim_bfile_write(struct rt_bfile *base, uint64_t offset, const void *from,
                            size_t size_bytes)
{
    struct sim_bhandle *handle = handle_of(base);
    TRY(strike(handle, RT_FILE_WRITE));
    if (size_bytes == 0) return NULL;
    struct sim_change *change = sim_change_new(CHANGE_WRITE, offset, size_bytes);
    memcpy(change->data, from, size_bytes);
    return complete(handle, change);
}

struct err *sim_bfile_truncate(struct rt_bfile *base, uint64_t size_bytes)
{
    struct sim_bhandle *handle = handle_of(base);
    TRY(strike(handle, RT_FILE_WRITE));
    return complete(handle, sim_change_new(CHANGE_TRUNCATE, size_bytes, 0));
}

struct err *sim_bfile_sync(struct rt_bfile *base, enum rt_flush_site site)
{
    struct sim_bhandle *handle = handle_of(base);
    struct sim_node *node = handle->file->node;
    check(site != RT_FLUSH_NONE && site < RT_FLUSH_SITE_COUNT);
    TRY(strike(handle, RT_FILE_SYNC));
    if (sim_node_counts_write(node)) {
        sim_node_crash(node, node->crash_kind);
        return down();
    }
    if (site != node->ignored_site) sim_store_sync(handle->file, handle->file->completed_seq);
    return NULL;
}

struct err *sim_bfile_size(struct rt_bfile *base, uint64_t *ret_size_bytes)
{
    struct sim_bhandle *handle = handle_of(base);
    if (base->rt->dead) return down();
    *ret_size_bytes = handle->file->current.size_bytes;
    return NULL;
}

static void free_handle(struct sim_bhandle *handle)
{
    sim_store_drop_handle(handle->file);
    list_remove(&handle->link);
    free(handle);
}

void sim_bfile_close(struct rt_bfile *base)
{
    if (!base->rt->dead) free_handle(handle_of(base));
}

void sim_bfiles_free(struct sim_rt *srt)
{
    while (!list_is_empty(&srt->bfiles)) {
        free_handle(list_entry(list_front(&srt->bfiles), struct sim_bhandle, link));
    }
}

struct err *sim_path_delete(struct rt *rt, const char *path, bool sync_directory)
{
    struct sim_node *node = sim_rt_of(rt)->node;
    if (rt->dead) return down();
    struct sim_file *file = sim_store_find(node, path);
    if (!file) return err_new(STATUS_NOT_FOUND, "delete %s: not found", path);
    if (file->is_directory) return err_new(STATUS_OS_ERROR, "delete %s: a directory", path);
    sim_store_unlink(file, sync_directory);
    return NULL;
}

/* Atomic and, with the flush of the directory, durable. */
struct err *sim_path_rename(struct rt *rt, const char *from, const char *to)
{
    struct sim_node *node = sim_rt_of(rt)->node;
    if (rt->dead) return down();
    struct sim_file *file = sim_store_find(node, from);
    if (!file) return err_new(STATUS_NOT_FOUND, "rename %s: not found", from);
    struct sim_file *old = sim_store_find(node, to);
    if (old == file) return NULL;
    if (old) sim_store_unlink(old, false);
    char *path = strdup(to);
    check(path != NULL);
    free(file->path);
    file->path = path;
    sim_store_sync_names(node);
    return NULL;
}

bool sim_path_exists(struct rt *rt, const char *path)
{
    return !rt->dead && sim_store_find(sim_rt_of(rt)->node, path) != NULL;
}

struct err *sim_path_make_directory(struct rt *rt, const char *path)
{
    struct sim_node *node = sim_rt_of(rt)->node;
    if (rt->dead) return down();
    struct sim_file *file = sim_store_find(node, path);
    if (file && !file->is_directory) return err_new(STATUS_EXISTS, "make directory %s", path);
    if (!file) sim_store_create(node, path)->is_directory = true;
    return NULL;
}
