#include "bench/load.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/endian.h"

struct load_slot {
    struct load *load;
    struct volume_io io;
    struct rt_file_io file_io;
    struct rt_timer timer;
    struct iovec iov;
    uint64_t begin_ns;
};

static void slot_begin(struct load_slot *slot);

static unsigned io_blocks(const struct load *load)
{
    return load->io_blocks ? load->io_blocks : 1;
}

static void slot_ended(struct load *load)
{
    check(load->active > 0);
    if (--load->active > 0) return;
    load->elapsed_ns = rt_now(load->rt) - load->begin_ns;
    load->ended(load);
}

static bool is_over(struct load *load, uint64_t now)
{
    if (load->is_ending) return true;
    load->is_ending =
        (load->duration_ns && now - load->begin_ns >= load->duration_ns) ||
        (load->count && load->submitted >= load->count) ||
        (load->is_sequential && load->next_block + io_blocks(load) > load->range_blocks);
    return load->is_ending;
}

static void restart_all(struct rt_file_io *sync)
{
    struct load *load = container_of(sync, struct load, sync);
    uint64_t now = rt_now(load->rt);
    unsigned held = load->held;
    if (sync->status != STATUS_OK) {
        load->status = sync->status;
        load->is_ending = true;
    }
    load->held = 0;
    for (unsigned i = 0; i < held; i++)
        hist_add(&load->latency, now - load->slots[i].begin_ns);
    load->done_count += held;
    for (unsigned i = 0; i < held; i++)
        slot_begin(&load->slots[i]);
}

static void slot_done(struct load_slot *slot, enum status status)
{
    struct load *load = slot->load;
    if (status != STATUS_OK) {
        load->status = status;
        load->is_ending = true;
    }
    if (load->sync_all) {
        if (++load->held < load->depth) return;
        load->sync = (struct rt_file_io){
            .op = RT_FILE_SYNC, .site = RT_FLUSH_HOST, .file = load->file, .done = restart_all};
        rt_file_submit(load->rt, &load->sync);
        return;
    }
    hist_add(&load->latency, rt_now(load->rt) - slot->begin_ns);
    load->done_count++;
    slot_begin(slot);
}

static void volume_done(struct volume_io *io)
{
    slot_done(container_of(io, struct load_slot, io), io->status);
}

static void file_done(struct rt_file_io *io)
{
    slot_done(container_of(io, struct load_slot, file_io), io->status);
}

static void slot_submit(struct load_slot *slot)
{
    struct load *load = slot->load;
    uint64_t block = load->is_sequential
                         ? load->next_block
                         : prng_below(&load->prng, load->range_blocks - io_blocks(load) + 1);
    load->next_block += io_blocks(load);
    slot->begin_ns = rt_now(load->rt);
    if (!load->is_read) store_le64(slot->iov.iov_base, prng_u64(&load->prng));
    if (load->file) {
        slot->file_io = (struct rt_file_io){.op = load->is_read ? RT_FILE_READ : RT_FILE_WRITE,
                                            .file = load->file,
                                            .offset = block * BLOCK_BYTES,
                                            .iov = &slot->iov,
                                            .iov_count = 1,
                                            .done = file_done};
        rt_file_submit(load->rt, &slot->file_io);
        return;
    }
    unsigned at =
        load->volume_count > 1 ? (unsigned)prng_below(&load->prng, load->volume_count) : 0;
    slot->io = (struct volume_io){.op = load->is_read ? VOLUME_READ : VOLUME_WRITE,
                                  .flags = load->is_fua ? VOLUME_FUA : 0,
                                  .sector = block * SECTORS_PER_BLOCK,
                                  .sector_count = io_blocks(load) * (uint64_t)SECTORS_PER_BLOCK,
                                  .iov = &slot->iov,
                                  .iov_count = 1,
                                  .done = volume_done};
    volume_submit(load->volumes[at], &slot->io);
}

static void jitter_over(struct rt_timer *timer)
{
    slot_submit(container_of(timer, struct load_slot, timer));
}

static void slot_begin(struct load_slot *slot)
{
    struct load *load = slot->load;
    uint64_t now = rt_now(load->rt);
    if (is_over(load, now)) {
        slot_ended(load);
        return;
    }
    if (load->every && load->submitted % load->every == 0) load->on_every(load);
    load->submitted++;
    if (load->jitter_ns)
        rt_timer_set(load->rt, &slot->timer, now + prng_below(&load->prng, load->jitter_ns),
                     jitter_over);
    else
        slot_submit(slot);
}

void load_start(struct load *load)
{
    size_t bytes = (size_t)io_blocks(load) * BLOCK_BYTES;
    check(load->depth > 0 && load->range_blocks >= io_blocks(load));
    check(!load->sync_all || !(load->count % load->depth));
    prng_init(&load->prng, load->seed);
    load->slots = calloc(load->depth, sizeof *load->slots);
    check(load->slots != NULL);
    load->begin_ns = rt_now(load->rt);
    load->active = load->depth;
    for (unsigned i = 0; i < load->depth; i++) {
        struct load_slot *slot = &load->slots[i];
        slot->load = load;
        slot->iov = (struct iovec){.iov_base = aligned_alloc(BLOCK_BYTES, bytes), .iov_len = bytes};
        check(slot->iov.iov_base != NULL);
        prng_fill(&load->prng, slot->iov.iov_base, bytes);
    }
    for (unsigned i = 0; i < load->depth; i++)
        slot_begin(&load->slots[i]);
}

void load_fini(struct load *load)
{
    check(load->active == 0);
    for (unsigned i = 0; i < load->depth; i++)
        free(load->slots[i].iov.iov_base);
    free(load->slots);
    load->slots = NULL;
}

double load_iops(const struct load *load)
{
    return load->elapsed_ns ? (double)load->done_count * 1e9 / (double)load->elapsed_ns : 0;
}
