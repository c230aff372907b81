/* Asynchronous files, faults, crashes of files, and the direct access of checkers. */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/limits.h"
#include "tests/sim/sim_int.h"

struct sim_handle {
    struct rt_file base;
    struct list_node link; /* sim_rt.files */
    struct sim_file *file;
    bool read_only, direct;
};

/* An I/O in flight; owns its data, since a crashed program's memory goes before its writes do. */
struct sim_op {
    struct sim_event event;
    struct list_node link; /* sim_file.ops or .late, or sim_node.hung */
    struct sim_file *file;
    struct rt_file_io *io; /* NULL when the program is gone */
    enum rt_file_op op;
    struct sim_change *change; /* WRITE, DISCARD */
    uint64_t cover_seq;        /* SYNC */
    bool ignored;              /* SYNC, LOST_WRITE: does nothing */
    bool hung;
    bool is_short, is_doubled, stalls;
    enum status status;
};

static struct err *down(void)
{
    return err_new(STATUS_OS_ERROR, "the node is down");
}

/* ---- Faults ---- */

static bool fault_matches(const struct sim_fault *fault, const char *path, enum rt_file_op op)
{
    if (fault->path && strcmp(fault->path, path) != 0) return false;
    switch (fault->kind) {
    case SIM_FAULT_READ_ERROR:
    case SIM_FAULT_SHORT_READ:
    case SIM_FAULT_SLOW_READ:
        return op == RT_FILE_READ;
    case SIM_FAULT_WRITE_ERROR:
    case SIM_FAULT_LOST_WRITE:
    case SIM_FAULT_MISDIRECTED_WRITE:
    case SIM_FAULT_DUPLICATE_WRITE:
        return op == RT_FILE_WRITE;
    case SIM_FAULT_FLUSH_ERROR:
        return op == RT_FILE_SYNC;
    case SIM_FAULT_HANG:
    case SIM_FAULT_STALL:
        return true;
    }
    unreachable("fault kind");
}

void sim_fault_free(struct sim_fault *fault)
{
    if (!fault) return;
    if (list_is_linked(&fault->link)) list_remove(&fault->link);
    free(fault->path);
    free(fault);
}

struct sim_fault *sim_fault_take(struct sim_node *node, const char *path, enum rt_file_op op)
{
    list_for_each_safe (n, &node->faults) {
        struct sim_fault *fault = list_entry(n, struct sim_fault, link);
        if (!fault_matches(fault, path, op)) continue;
        if (fault->after_matches-- > 0) continue;
        list_remove(&fault->link);
        return fault;
    }
    return NULL;
}

void sim_node_fault(struct sim_node *node, enum sim_fault_kind kind, const char *path,
                    uint64_t after_matches)
{
    struct sim_fault *fault = calloc(1, sizeof *fault);
    check(fault != NULL);
    fault->kind = kind;
    fault->path = path ? strdup(path) : NULL;
    fault->after_matches = after_matches;
    list_push_back(&node->faults, &fault->link);
}

/* ---- Operations ---- */

static void free_op(struct sim_op *op)
{
    sim_event_cancel(&op->event);
    if (list_is_linked(&op->link)) list_remove(&op->link);
    sim_change_free(op->change);
    free(op);
}

static void to_iovecs(const struct sim_file *file, const struct rt_file_io *io)
{
    uint64_t offset = io->offset;
    for (unsigned i = 0; i < io->iov_count; i++) {
        sim_image_read(&file->current, offset, io->iov[i].iov_base, io->iov[i].iov_len);
        offset += io->iov[i].iov_len;
    }
}

/* The memory of a write belongs to the device until done: it may take the bytes at any moment. */
static void check_unchanged(const struct sim_op *op)
{
    const uint8_t *taken = op->change->data;
    for (unsigned i = 0; i < op->io->iov_count; i++) {
        size_t n = op->io->iov[i].iov_len;
        check(memcmp(taken, op->io->iov[i].iov_base, n) == 0);
        taken += n;
    }
}

static void late_due(struct rt_timer *timer);

/* The device keeps a copy of the write, and will write it again. */
static void double_op(const struct sim_op *op)
{
    enum { LATER = 40 }; /* times the latency, at most */
    struct sim *sim = op->file->node->sim;
    struct sim_op *again = calloc(1, sizeof *again);
    check(again != NULL);
    again->file = op->file;
    again->op = RT_FILE_WRITE;
    again->change = sim_change_new(CHANGE_WRITE, op->change->offset, op->change->length);
    memcpy(again->change->data, op->change->data, op->change->length);
    list_push_back(&op->file->late, &again->link);
    sim_event_set(sim, &again->event, EVENT_LATE, op->file->node, again->change->length,
                  sim_latency(sim, LATER * sim->options.file_latency_max_ns), late_due);
}

/* A transfer that ends early: the bytes up to some sector are right. */
static void read_a_part(struct sim_op *op)
{
    struct prng *prng = &op->file->node->sim->prng;
    uint64_t left = SECTOR_BYTES * prng_below(prng, op->io->length / SECTOR_BYTES + 1);
    uint64_t offset = op->io->offset;
    for (unsigned i = 0; i < op->io->iov_count && left > 0; i++) {
        size_t n = (size_t)min_of((uint64_t)op->io->iov[i].iov_len, left);
        sim_image_read(&op->file->current, offset, op->io->iov[i].iov_base, n);
        offset += n;
        left -= n;
    }
}

static void op_due(struct rt_timer *timer)
{
    struct sim_op *op = container_of(timer, struct sim_op, event.timer);
    struct sim_file *file = op->file;
    struct rt_file_io *io = op->io;
    enum status status = op->status;
    if (op->op == RT_FILE_READ && status == STATUS_OK) {
        if (io->offset + io->length > file->current.size_bytes) {
            status = STATUS_READ_FAILED;
        } else {
            to_iovecs(file, io);
        }
    }
    if (op->is_short) read_a_part(op);
    if (op->op == RT_FILE_WRITE && op->change && status == STATUS_OK) check_unchanged(op);
    if (op->is_doubled) double_op(op);
    if (op->change && !op->ignored) sim_store_complete(file, take_ptr(&op->change));
    if (op->op == RT_FILE_SYNC && !op->ignored && status == STATUS_OK)
        sim_store_sync(file, op->cover_seq);
    free_op(op);
    io->status = status;
    io->done(io);
}

static enum sim_event_kind event_kind(enum rt_file_op op)
{
    static const enum sim_event_kind kinds[] = {
        [RT_FILE_READ] = EVENT_READ,
        [RT_FILE_WRITE] = EVENT_WRITE,
        [RT_FILE_SYNC] = EVENT_SYNC,
        [RT_FILE_DISCARD] = EVENT_DISCARD,
    };
    return kinds[op];
}

#define STALL_MAX_NS (30 * RT_SECOND)

static void schedule(struct sim_op *op)
{
    struct sim_node *node = op->file->node;
    uint64_t latency_ns = op->stalls ? STALL_MAX_NS : node->sim->options.file_latency_max_ns;
    sim_event_set(node->sim, &op->event, event_kind(op->op), node, op->io->length,
                  sim_latency(node->sim, latency_ns), op_due);
}

static struct sim_change *change_of(const struct rt_file_io *io)
{
    struct sim_change *change = sim_change_new(
        io->op == RT_FILE_WRITE ? CHANGE_WRITE : CHANGE_DISCARD, io->offset, io->length);
    size_t done = 0;
    for (unsigned i = 0; io->op == RT_FILE_WRITE && i < io->iov_count; i++) {
        memcpy(change->data + done, io->iov[i].iov_base, io->iov[i].iov_len);
        done += io->iov[i].iov_len;
    }
    return change;
}

static enum status failed_status(enum rt_file_op op)
{
    switch (op) {
    case RT_FILE_READ:
        return STATUS_READ_FAILED;
    case RT_FILE_WRITE:
        return STATUS_WRITE_FAILED;
    case RT_FILE_SYNC:
        return STATUS_FLUSH_FAILED;
    case RT_FILE_DISCARD:
        return STATUS_OK;
    }
    unreachable("file operation");
}

static bool is_aligned(const struct rt_file_io *io)
{
    uint64_t all = io->offset | io->length;
    for (unsigned i = 0; i < io->iov_count; i++) {
        all |= (uintptr_t)io->iov[i].iov_base | io->iov[i].iov_len;
    }
    return all % BLOCK_BYTES == 0;
}

static void apply_fault(struct sim_op *op, const struct sim_fault *fault, struct prng *prng)
{
    struct sim_change *change = op->change;
    switch (fault->kind) {
    case SIM_FAULT_WRITE_ERROR:
        change->length = min_of(change->length,
                                SECTOR_BYTES * prng_below(prng, change->length / SECTOR_BYTES + 1));
        op->status = STATUS_WRITE_FAILED;
        break;
    case SIM_FAULT_SHORT_READ:
        op->is_short = true;
        op->status = failed_status(op->op);
        break;
    case SIM_FAULT_DUPLICATE_WRITE:
        op->is_doubled = true;
        break;
    case SIM_FAULT_READ_ERROR:
    case SIM_FAULT_FLUSH_ERROR:
        op->status = failed_status(op->op);
        break;
    case SIM_FAULT_LOST_WRITE:
        op->ignored = true;
        break;
    case SIM_FAULT_MISDIRECTED_WRITE: {
        uint64_t blocks = op->file->current.size_bytes / BLOCK_BYTES;
        uint64_t length = (change->length + BLOCK_BYTES - 1) / BLOCK_BYTES;
        if (blocks > length) change->offset = BLOCK_BYTES * prng_below(prng, blocks - length);
        break;
    }
    case SIM_FAULT_HANG:
        op->hung = true;
        break;
    case SIM_FAULT_STALL:
    case SIM_FAULT_SLOW_READ:
        op->stalls = true;
        break;
    }
}

static void count(struct sim_node *node, const struct rt_file_io *io)
{
    struct sim_counters *c = &node->counters;
    switch (io->op) {
    case RT_FILE_READ:
        c->reads++;
        c->read_bytes += io->length;
        break;
    case RT_FILE_WRITE:
        c->writes++;
        c->write_bytes += io->length;
        break;
    case RT_FILE_SYNC:
        c->syncs++;
        break;
    case RT_FILE_DISCARD:
        c->discards++;
        break;
    }
}

/* Whoever looks before a read is done shall not find something plausible. */
static void spoil(const struct rt_file_io *io)
{
    for (unsigned i = 0; i < io->iov_count; i++) {
        memset(io->iov[i].iov_base, 0xA5, io->iov[i].iov_len);
    }
}

static struct sim_op *make_op(struct sim_handle *handle, struct rt_file_io *io)
{
    struct sim_op *op = calloc(1, sizeof *op);
    check(op != NULL);
    op->file = handle->file;
    op->io = io;
    op->op = io->op;
    if (io->op == RT_FILE_SYNC) {
        op->cover_seq = op->file->completed_seq;
        op->ignored = io->site == op->file->node->ignored_site;
        return op;
    }
    bool changes = io->op == RT_FILE_WRITE || io->op == RT_FILE_DISCARD;
    if ((changes && handle->read_only) ||
        (handle->direct && io->op != RT_FILE_DISCARD && !is_aligned(io))) {
        op->status = failed_status(io->op);
    } else if (io->op == RT_FILE_WRITE ||
               (io->op == RT_FILE_DISCARD && prng_chance(&op->file->node->sim->prng, 1, 2))) {
        op->change = change_of(io);
    }
    return op;
}

void sim_file_submit(struct rt *rt, struct rt_file_io *io)
{
    if (rt->dead) return;
    check(rt_on_loop(rt));
    struct sim_handle *handle = container_of(io->file, struct sim_handle, base);
    struct sim_node *node = handle->file->node;
    struct sim_op *op = make_op(handle, io);
    if (io->op == RT_FILE_READ) spoil(io);
    count(node, io);
    struct sim_fault *fault =
        op->status == STATUS_OK ? sim_fault_take(node, handle->file->path, io->op) : NULL;
    if (fault) apply_fault(op, fault, &node->sim->prng);
    sim_fault_free(fault);
    bool crashes =
        (io->op == RT_FILE_WRITE || io->op == RT_FILE_SYNC) && sim_node_counts_write(node);
    list_push_back(op->hung ? &node->hung : &op->file->ops, &op->link);
    if (crashes) {
        sim_node_crash(node, node->crash_kind);
    } else if (!op->hung) {
        schedule(op);
    }
}

void sim_files_heal(struct sim_node *node)
{
    while (!list_is_empty(&node->faults)) {
        sim_fault_free(list_entry(list_front(&node->faults), struct sim_fault, link));
    }
    while (!list_is_empty(&node->hung)) {
        struct sim_op *op = list_entry(list_pop_front(&node->hung), struct sim_op, link);
        list_push_back(&op->file->ops, &op->link);
        if (node->up) schedule(op);
    }
}

/* ---- Open and close ---- */

static void late_due(struct rt_timer *timer)
{
    struct sim_op *op = container_of(timer, struct sim_op, event.timer);
    sim_store_complete(op->file, take_ptr(&op->change));
    free_op(op);
}

/* Who gets the lock knows that nothing of the dead program can land any more (E15): what was on its
 * way has landed, or never will. */
static void settle_late(struct sim_file *file)
{
    struct prng *prng = &file->node->sim->prng;
    while (!list_is_empty(&file->late)) {
        struct sim_op *op = list_entry(list_front(&file->late), struct sim_op, link);
        if (prng_chance(prng, 1, 2)) sim_store_complete(file, take_ptr(&op->change));
        free_op(op);
    }
}

static struct err *find_or_create(struct sim_node *node, const char *path, unsigned flags,
                                  struct sim_file **ret_file)
{
    struct sim_file *file = sim_store_find(node, path);
    if (file && (flags & RT_OPEN_CREATE)) return err_new(STATUS_EXISTS, "create %s: exists", path);
    if (!file && !(flags & RT_OPEN_CREATE))
        return err_new(STATUS_NOT_FOUND, "open %s: not found", path);
    if (file && file->is_directory)
        return err_new(STATUS_BAD_REQUEST, "%s is neither a regular file nor a block device", path);
    if (file && (flags & RT_OPEN_LOCK) && file->locked_by)
        return err_next(err_new(STATUS_LOCKED, "%s is held by another process", path),
                        "stop the other process, or wait until it has ended");
    if (!file) {
        file = sim_store_create(node, path);
        sim_store_sync_names(node);
    }
    *ret_file = file;
    return NULL;
}

struct err *sim_file_open(struct rt *rt, const char *path, unsigned flags,
                          struct rt_file **ret_file, struct rt_file_info *ret_info)
{
    struct sim_rt *srt = sim_rt_of(rt);
    struct sim_file *file = NULL;
    if (rt->dead) return down();
    TRY(find_or_create(srt->node, path, flags, &file));
    struct sim_handle *handle = calloc(1, sizeof *handle);
    check(handle != NULL);
    handle->base.rt = rt;
    handle->file = file;
    handle->read_only = flags & RT_OPEN_READ_ONLY;
    handle->direct = flags & RT_OPEN_DIRECT;
    file->handles++;
    if (flags & RT_OPEN_LOCK) {
        file->locked_by = handle;
        settle_late(file);
    }
    list_push_back(&srt->files, &handle->link);
    *ret_file = &handle->base;
    if (ret_info)
        *ret_info = (struct rt_file_info){.size_bytes = file->current.size_bytes,
                                          .alignment_bytes = handle->direct ? BLOCK_BYTES : 1};
    return NULL;
}

static void free_handle(struct sim_handle *handle)
{
    if (handle->file->locked_by == handle) handle->file->locked_by = NULL;
    sim_store_drop_handle(handle->file);
    list_remove(&handle->link);
    free(handle);
}

void sim_file_close(struct rt_file *base)
{
    struct sim_handle *handle = container_of(base, struct sim_handle, base);
    if (base->rt->dead) return;
    list_for_each(n, &handle->file->ops)
    {
        check(list_entry(n, struct sim_op, link)->io->file != base); /* no I/O may be in flight */
    }
    free_handle(handle);
}

void sim_files_free(struct sim_rt *srt)
{
    while (!list_is_empty(&srt->files)) {
        free_handle(list_entry(list_front(&srt->files), struct sim_handle, link));
    }
}

/* ---- Crashes ---- */

static void lose_power(struct sim_file *file, struct prng *prng)
{
    struct list in_flight, *sources[] = {&file->ops, &file->late};
    list_init(&in_flight);
    for (unsigned i = 0; i < countof(sources); i++) {
        while (!list_is_empty(sources[i])) {
            struct sim_op *op = list_entry(list_front(sources[i]), struct sim_op, link);
            if (op->change && !op->ignored)
                list_push_back(&in_flight, &take_ptr(&op->change)->link);
            free_op(op);
        }
    }
    sim_store_lose_power(file, prng, &in_flight);
}

/* A write in flight when its program dies: it may never happen, have happened, or happen later. */
static void orphan(struct sim_op *op)
{
    struct sim_file *file = op->file;
    struct sim *sim = file->node->sim;
    uint64_t choice = prng_below(&sim->prng, 3);
    if (!op->change || op->ignored || choice == 0) {
        free_op(op);
        return;
    }
    if (choice == 1) {
        struct list parts;
        list_init(&parts);
        struct sim_change *change = take_ptr(&op->change);
        free_op(op);
        if (prng_chance(&sim->prng, 1, 4)) {
            sim_change_tear(change, &sim->prng, &parts);
        } else {
            list_push_back(&parts, &change->link);
        }
        while (!list_is_empty(&parts)) {
            sim_store_complete(file, list_entry(list_pop_front(&parts), struct sim_change, link));
        }
        return;
    }
    list_remove(&op->link);
    op->io = NULL;
    list_push_back(&file->late, &op->link);
    sim_event_set(sim, &op->event, EVENT_LATE, file->node, op->change->length,
                  sim_latency(sim, 10 * sim->options.file_latency_max_ns), late_due);
}

static void crash_file(struct sim_file *file, enum sim_crash kind)
{
    file->locked_by = NULL;
    if (kind == SIM_CRASH_POWER) {
        lose_power(file, &file->node->sim->prng);
        return;
    }
    while (!list_is_empty(&file->ops)) {
        orphan(list_entry(list_front(&file->ops), struct sim_op, link));
    }
}

/* An unsynced deletion may be undone by power loss; else it is certain from then on. */
static void settle_names(struct sim_node *node)
{
    list_for_each_safe (n, &node->limbo) {
        struct sim_file *file = list_entry(n, struct sim_file, link);
        if (file->is_gone || sim_store_find(node, file->path)) continue;
        if (!prng_chance(&node->sim->prng, 1, 2)) continue;
        list_remove(&file->link);
        list_push_back(&node->files, &file->link);
    }
    sim_store_sync_names(node);
}

void sim_files_crash(struct sim_node *node, enum sim_crash kind)
{
    while (!list_is_empty(&node->hung)) {
        struct sim_op *op = list_entry(list_pop_front(&node->hung), struct sim_op, link);
        list_push_back(&op->file->ops, &op->link);
    }
    struct list *lists[] = {&node->files, &node->limbo};
    for (unsigned i = 0; i < countof(lists); i++) {
        list_for_each (n, lists[i]) {
            crash_file(list_entry(n, struct sim_file, link), kind);
        }
    }
    if (kind == SIM_CRASH_POWER) settle_names(node);
}

void sim_node_free_files(struct sim_node *node)
{
    struct list *lists[] = {&node->files, &node->limbo};
    for (unsigned i = 0; i < countof(lists); i++) {
        while (!list_is_empty(lists[i])) {
            struct sim_file *file = list_entry(list_front(lists[i]), struct sim_file, link);
            struct list *ops[] = {&file->ops, &file->late};
            for (unsigned j = 0; j < countof(ops); j++) {
                while (!list_is_empty(ops[j])) {
                    free_op(list_entry(list_front(ops[j]), struct sim_op, link));
                }
            }
            sim_store_free(file);
        }
    }
}

/* ---- Direct access ---- */

uint64_t sim_file_size(struct sim_node *node, const char *path)
{
    struct sim_file *file = sim_store_find(node, path);
    return file ? file->current.size_bytes : 0;
}

void sim_file_create(struct sim_node *node, const char *path, uint64_t size_bytes)
{
    check(!sim_store_find(node, path));
    struct sim_file *file = sim_store_create(node, path);
    file->current.size_bytes = file->durable.size_bytes = size_bytes;
}

void sim_file_peek(struct sim_node *node, const char *path, uint64_t offset, void *to,
                   size_t size_bytes)
{
    struct sim_file *file = sim_store_find(node, path);
    check(file != NULL);
    sim_image_read(&file->current, offset, to, size_bytes);
}

void sim_file_poke(struct sim_node *node, const char *path, uint64_t offset, const void *from,
                   size_t size_bytes)
{
    struct sim_file *file = sim_store_find(node, path);
    check(file != NULL);
    sim_image_write(&file->current, offset, from, size_bytes);
    sim_image_write(&file->durable, offset, from, size_bytes);
}

/* At least half of all hits are in the first 512 bytes, where headers are. */
bool sim_file_rot(struct sim_node *node, const char *path, struct prng *prng, uint64_t *ret_block,
                  unsigned *ret_bit)
{
    uint64_t blocks = sim_file_size(node, path) / BLOCK_BYTES;
    uint8_t block[BLOCK_BYTES];
    for (unsigned tries = 0; tries < 400; tries++) {
        uint64_t at = prng_below(prng, blocks);
        sim_file_peek(node, path, at * BLOCK_BYTES, block, sizeof block);
        if (load_le64(block) == 0) continue;
        unsigned bit = (unsigned)prng_below(prng, prng_chance(prng, 1, 2) ? 4096 : 32768);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        sim_file_poke(node, path, at * BLOCK_BYTES, block, sizeof block);
        *ret_block = at;
        *ret_bit = bit;
        return true;
    }
    return false;
}
