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

static void slot_done(struct rt_file_io *io)
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
        slot->io.done = slot_done;
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

/* ---- The flusher
 * ----------------------------------------------------------------------------------- */

void flusher_init(struct flusher *f, struct rt *rt, struct rt_file *file)
{
    *f = (struct flusher){.rt = rt, .file = file};
    list_init(&f->waiting);
    list_init(&f->current);
}

static void flusher_start(struct flusher *f);

static void flusher_done(struct rt_file_io *io)
{
    struct flusher *f = container_of(io, struct flusher, io);
    enum status status = io->status;
    struct list done;
    list_init(&done);
    list_splice_back(&done, &f->current);
    f->is_active = false;
    if (status == STATUS_OK) {
        f->flush_count++;
        if (f->flushed) f->flushed(f->arg, f->covers);
    } else {
        f->has_failed = true;
        list_splice_back(&done, &f->waiting);
        if (f->failed) f->failed(f->arg); /* E5: sticky, never tried again */
    }
    /* Whoever is told last may free the flusher. */
    if (!list_is_empty(&f->waiting)) flusher_start(f);
    for (struct list_node *node; (node = list_pop_front(&done));) {
        struct flush_request *r = list_entry(node, struct flush_request, link);
        r->done(r, status);
    }
}

static void flusher_start(struct flusher *f)
{
    struct flush_request *first = list_entry(list_front(&f->waiting), struct flush_request, link);
    list_splice_back(&f->current, &f->waiting);
    f->is_active = true;
    f->covers = f->complete ? f->complete(f->arg) : 0; /* E5: reaped before this submission */
    f->io = (struct rt_file_io){
        .op = RT_FILE_SYNC, .site = first->site, .file = f->file, .done = flusher_done};
    rt_file_submit(f->rt, &f->io);
}

void flusher_submit(struct flusher *f, struct flush_request *request, enum rt_flush_site site,
                    void (*done)(struct flush_request *request, enum status status))
{
    request->site = site;
    request->done = done;
    list_node_init(&request->link);
    list_push_back(&f->waiting, &request->link);
    if (!f->is_active && !f->has_failed) flusher_start(f);
}
