/* dev.c - sets of transfers and the shared flush. */
#include "pool/dev.h"

#include <stdlib.h>

void dev_set_init(struct dev_set *set, struct rt *rt, struct rt_file *file)
{
    *set = (struct dev_set){.rt = rt, .file = file};
}

void dev_set_fini(struct dev_set *set)
{
    free(set->items);
    set->items = NULL;
}

void dev_set_clear(struct dev_set *set)
{
    check(set->active == 0);
    set->count = set->next = 0;
    set->status = STATUS_OK;
}

void dev_set_add(struct dev_set *set, enum rt_file_op op, uint64_t block, uint32_t blocks,
                 void *memory)
{
    if (set->count == set->capacity) {
        set->capacity = set->capacity ? set->capacity * 2 : 16;
        set->items = realloc(set->items, set->capacity * sizeof *set->items);
        check(set->items != NULL);
    }
    set->items[set->count++] =
        (struct dev_item){.op = op, .block = block, .blocks = blocks, .memory = memory};
}

static void set_pump(struct dev_set *set);

static void transfer_done(struct rt_file_io *io)
{
    struct dev_slot *slot = container_of(io, struct dev_slot, io);
    struct dev_set *set = slot->set;
    slot->item->status = io->status;
    if (io->status != STATUS_OK && set->status == STATUS_OK) set->status = io->status;
    set->slot_is_busy[slot - set->slots] = false;
    set->active--;
    set_pump(set);
}

static void set_pump(struct dev_set *set)
{
    for (unsigned i = 0; i < DEV_SLOTS && set->next < set->count; i++) {
        if (set->slot_is_busy[i]) continue;
        struct dev_slot *slot = &set->slots[i];
        struct dev_item *item = &set->items[set->next++];
        *slot = (struct dev_slot){.set = set, .item = item};
        slot->iov =
            (struct iovec){.iov_base = item->memory, .iov_len = (size_t)item->blocks * BLOCK_BYTES};
        slot->io.op = item->op;
        slot->io.file = set->file;
        slot->io.offset = item->block * BLOCK_BYTES;
        slot->io.iov = &slot->iov;
        slot->io.iov_count = 1;
        slot->io.done = transfer_done;
        set->slot_is_busy[i] = true;
        set->active++;
        rt_file_submit(set->rt, &slot->io);
    }
    if (set->active == 0 && set->next == set->count) set->done(set);
}

static void set_empty_done(struct rt_message *message)
{
    struct dev_set *set = container_of(message, struct dev_set, message);
    set->done(set);
}

void dev_set_run(struct dev_set *set, void (*done)(struct dev_set *set))
{
    set->done = done;
    if (set->count == 0) {
        set->message.fn = set_empty_done;
        rt_post(set->rt, &set->message);
        return;
    }
    set_pump(set);
}

/* ---- The flusher ----------------------------------------------------------------------------- */

void flusher_init(struct flusher *f, struct rt *rt, struct rt_file *file)
{
    *f = (struct flusher){.rt = rt, .file = file};
    list_init(&f->waiting);
    for (unsigned i = 0; i < FLUSH_SLOTS; i++) {
        f->slots[i].flusher = f;
        list_init(&f->slots[i].requests);
    }
}

static void slot_start(struct flusher *f);

static void answer(struct list *requests, enum status status)
{
    for (struct list_node *node; (node = list_pop_front(requests));) {
        struct flush_request *r = list_entry(node, struct flush_request, link);
        r->done(r, status);
    }
}

/* A device may forget what it failed to flush once: whoever came later has failed too (E5). */
static void fail_flusher(struct flusher *f, struct list *done)
{
    if (f->has_failed) return;
    f->has_failed = true;
    list_splice_back(done, &f->waiting);
    if (f->failed) f->failed(f->arg); /* sticky, never tried again */
}

/* Whoever is told last may free the flusher. */
static void slot_done(struct rt_file_io *io)
{
    struct flush_slot *slot = container_of(io, struct flush_slot, io);
    struct flusher *f = slot->flusher;
    struct list good, bad;
    enum status failure = STATUS_POOL_FAILED;
    list_init(&good);
    list_init(&bad);
    slot->is_done = true;
    while (f->active > 0 && f->slots[f->first].is_done) {
        slot = &f->slots[f->first];
        f->first = (f->first + 1) % FLUSH_SLOTS;
        f->active--;
        if (slot->io.status == STATUS_OK && !f->has_failed) {
            f->flush_count++;
            if (f->flushed) f->flushed(f->arg, slot->covers);
            list_splice_back(&good, &slot->requests);
        } else {
            if (slot->io.status != STATUS_OK) failure = slot->io.status;
            list_splice_back(&bad, &slot->requests);
            fail_flusher(f, &bad);
        }
    }
    if (!list_is_empty(&f->waiting) && f->active < FLUSH_SLOTS) slot_start(f);
    answer(&good, STATUS_OK);
    answer(&bad, failure);
}

static void slot_start(struct flusher *f)
{
    struct flush_slot *slot = &f->slots[(f->first + f->active++) % FLUSH_SLOTS];
    struct flush_request *oldest = list_entry(list_front(&f->waiting), struct flush_request, link);
    list_splice_back(&slot->requests, &f->waiting);
    slot->is_done = false;
    slot->covers = f->complete ? f->complete(f->arg) : 0; /* E5: reaped before this submission */
    slot->io = (struct rt_file_io){
        .op = RT_FILE_SYNC, .site = oldest->site, .file = f->file, .done = slot_done};
    rt_file_submit(f->rt, &slot->io);
}

void flusher_submit(struct flusher *f, struct flush_request *request, enum rt_flush_site site,
                    void (*done)(struct flush_request *request, enum status status))
{
    request->site = site;
    request->done = done;
    list_node_init(&request->link);
    list_push_back(&f->waiting, &request->link);
    if (f->active < FLUSH_SLOTS && !f->has_failed) slot_start(f);
}
