/* The part of the runtime that is the same everywhere, and the dispatch to the rest. */
#include "rt/rt.h"

#include <stdlib.h>

#include "rt/rt_int.h"

struct err *rt_init(struct rt *rt, const struct rt_ops *ops, uint64_t buffer_bytes)
{
    *rt = (struct rt){.ops = ops};
    return rt_buffers_init(&rt->buffers, buffer_bytes);
}

void rt_fini(struct rt *rt)
{
    rt_buffers_fini(&rt->buffers);
    free(rt->timers.heap);
    rt->timers = (struct rt_timers){0};
}

const char *rt_flush_site_name(enum rt_flush_site site)
{
    static const char *const names[] = {
        "NONE",
#define X(name, why) #name,
#include "rt/flush_sites.def"
#undef X
    };
    return site < countof(names) ? names[site] : "?";
}

size_t rt_iov_length(const struct iovec *iov, unsigned iov_count)
{
    size_t length = 0;
    for (unsigned i = 0; i < iov_count; i++) {
        length += iov[i].iov_len;
    }
    return length;
}

bool rt_iov_seek(const struct iovec *iov, unsigned iov_count, size_t done, unsigned *ret_index,
                 size_t *ret_skip)
{
    for (unsigned i = 0; i < iov_count; i++) {
        if (done < iov[i].iov_len) {
            *ret_index = i;
            *ret_skip = done;
            return true;
        }
        done -= iov[i].iov_len;
    }
    return false;
}

/* ---- Time, randomness, loop ---- */

uint64_t rt_now(struct rt *rt)
{
    return rt->ops->now(rt);
}

uint64_t rt_wall(struct rt *rt)
{
    return rt->ops->wall(rt);
}

void rt_random(struct rt *rt, void *to, size_t size_bytes)
{
    rt->ops->random(rt, to, size_bytes);
}

struct uuid rt_uuid(struct rt *rt)
{
    uint8_t random[16];
    rt_random(rt, random, sizeof random);
    return uuid_from_random(random);
}

void rt_run(struct rt *rt)
{
    rt->ops->run(rt);
}

void rt_stop(struct rt *rt)
{
    rt->ops->stop(rt);
}

bool rt_on_loop(struct rt *rt)
{
    return rt->ops->on_loop(rt);
}

void rt_timer_set(struct rt *rt, struct rt_timer *timer, uint64_t deadline_ns,
                  void (*fn)(struct rt_timer *timer))
{
    timer->fn = fn;
    if (rt->dead) {
        timer->heap_index = 0;
        return;
    }
    check(rt_on_loop(rt));
    rt_timers_set(&rt->timers, timer, deadline_ns);
    rt->ops->timers_changed(rt);
}

void rt_timer_cancel(struct rt *rt, struct rt_timer *timer)
{
    if (rt->dead || timer->heap_index == 0) {
        timer->heap_index = 0;
        return;
    }
    check(rt_on_loop(rt));
    rt_timers_remove(&rt->timers, timer);
    rt->ops->timers_changed(rt);
}

void rt_post(struct rt *rt, struct rt_message *message)
{
    rt->ops->post(rt, message);
}

/* ---- Workers ---- */

struct err *rt_worker_create(struct rt *rt, const char *name, struct rt_worker **ret_worker)
{
    return rt->ops->worker_create(rt, name, ret_worker);
}

void rt_worker_destroy(struct rt_worker *worker)
{
    if (worker) worker->rt->ops->worker_destroy(worker);
}

void rt_work(struct rt_worker *worker, struct rt_work *work)
{
    work->rt = worker->rt;
    worker->rt->ops->work(worker, work);
}

/* ---- Files ---- */

struct err *rt_file_open(struct rt *rt, const char *path, unsigned flags, struct rt_file **ret_file,
                         struct rt_file_info *ret_info)
{
    return rt->ops->file_open(rt, path, flags, ret_file, ret_info);
}

void rt_file_close(struct rt_file *file)
{
    if (file) file->rt->ops->file_close(file);
}

void rt_file_submit(struct rt *rt, struct rt_file_io *io)
{
    check(io->done && io->file && io->file->rt == rt);
    if (io->op == RT_FILE_READ || io->op == RT_FILE_WRITE) {
        check(io->iov_count >= 1 && io->iov_count <= RT_IOV_MAX);
        io->length = rt_iov_length(io->iov, io->iov_count);
    }
    if (io->op == RT_FILE_SYNC) {
        check(io->site != RT_FLUSH_NONE && io->site < RT_FLUSH_SITE_COUNT);
        io->length = 0;
    }
    list_node_init(&io->link);
    io->status = STATUS_OK;
    rt->ops->file_submit(rt, io);
}

struct err *rt_bfile_open(struct rt *rt, const char *path, unsigned flags,
                          struct rt_bfile **ret_file)
{
    return rt->ops->bfile_open(rt, path, flags, ret_file);
}

struct err *rt_bfile_read(struct rt_bfile *file, uint64_t offset, void *to, size_t size_bytes,
                          size_t *ret_read)
{
    return file->rt->ops->bfile_read(file, offset, to, size_bytes, ret_read);
}

struct err *rt_bfile_write(struct rt_bfile *file, uint64_t offset, const void *from,
                           size_t size_bytes)
{
    return file->rt->ops->bfile_write(file, offset, from, size_bytes);
}

struct err *rt_bfile_truncate(struct rt_bfile *file, uint64_t size_bytes)
{
    return file->rt->ops->bfile_truncate(file, size_bytes);
}

struct err *rt_bfile_sync(struct rt_bfile *file, enum rt_flush_site site)
{
    return file->rt->ops->bfile_sync(file, site);
}

struct err *rt_bfile_size(struct rt_bfile *file, uint64_t *ret_size_bytes)
{
    return file->rt->ops->bfile_size(file, ret_size_bytes);
}

void rt_bfile_close(struct rt_bfile *file)
{
    if (file) file->rt->ops->bfile_close(file);
}

struct err *rt_path_delete(struct rt *rt, const char *path, bool sync_directory)
{
    return rt->ops->path_delete(rt, path, sync_directory);
}

struct err *rt_path_rename(struct rt *rt, const char *from, const char *to)
{
    return rt->ops->path_rename(rt, from, to);
}

bool rt_path_exists(struct rt *rt, const char *path)
{
    return rt->ops->path_exists(rt, path);
}

struct err *rt_path_make_directory(struct rt *rt, const char *path)
{
    return rt->ops->path_make_directory(rt, path);
}

/* ---- Streams ---- */

struct err *rt_listen(struct rt *rt, const char *address, rt_accept_fn *fn, void *arg,
                      struct rt_listener **ret_listener)
{
    return rt->ops->listen(rt, address, fn, arg, ret_listener);
}

void rt_listener_close(struct rt_listener *listener)
{
    if (listener) listener->rt->ops->listener_close(listener);
}

const char *rt_listener_address(const struct rt_listener *listener)
{
    return listener->address;
}

void rt_sock_submit(struct rt *rt, struct rt_sock_io *io)
{
    check(io->done);
    if (io->op == RT_SOCK_CONNECT) {
        io->sock = NULL;
    } else {
        check(io->sock && io->sock->rt == rt);
        check(io->iov_count >= 1 && io->iov_count <= RT_IOV_MAX);
        check(rt_iov_length(io->iov, io->iov_count) > 0);
    }
    list_node_init(&io->link);
    io->status = STATUS_OK;
    io->bytes = 0;
    rt->ops->sock_submit(rt, io);
}

void rt_sock_close(struct rt_sock *sock, void (*closed)(void *arg), void *arg)
{
    sock->rt->ops->sock_close(sock, closed, arg);
}

const char *rt_sock_peer(const struct rt_sock *sock)
{
    return sock->peer;
}

const char *rt_sock_local(const struct rt_sock *sock)
{
    return sock->local;
}

/* ---- Buffers ---- */

void *rt_buf_get(struct rt *rt, size_t size_bytes)
{
    return rt_buf_get_for(rt, size_bytes, RT_BUF_ENGINE);
}

void *rt_buf_get_for(struct rt *rt, size_t size_bytes, enum rt_buf_use use)
{
    if (rt->dead) return NULL;
    uint64_t quarter = rt->buffers.bound_bytes / 4;
    return rt_buffers_get(&rt->buffers, size_bytes, rt->buffers.bound_bytes - use * quarter);
}

void rt_buf_put(struct rt *rt, void *buf, size_t size_bytes)
{
    rt_buffers_put(&rt->buffers, buf, size_bytes);
    if (rt->dead || rt->buffers.wake_pending || list_is_empty(&rt->buffers.waiters)) return;
    rt->buffers.wake_pending = true;
    rt->ops->buffers_returned(rt);
}

void rt_buf_wait(struct rt *rt, struct rt_buf_waiter *waiter,
                 void (*fn)(struct rt_buf_waiter *waiter))
{
    if (rt->dead) return;
    waiter->fn = fn;
    list_push_back(&rt->buffers.waiters, &waiter->link);
}

void rt_buf_wait_cancel(struct rt *rt, struct rt_buf_waiter *waiter)
{
    if (rt->dead) {
        list_node_init(&waiter->link);
    } else if (list_is_linked(&waiter->link)) {
        list_remove(&waiter->link);
    }
}

uint64_t rt_buf_in_use_bytes(struct rt *rt)
{
    return rt->buffers.in_use_bytes;
}
