/*
 * pool_fuzz - whatever a pool's bytes are, opening it, reading from it and its parsers must not
 * crash.
 *
 * The first byte chooses: a parser on the rest of the input (leaf, tables, log records,
 * superblock), or an image of a small pool, damaged by the rest of the input as a list of places
 * and bytes and, half of the time, with its checksums put right again, which is then opened in a
 * simulated world.
 */
#include <stdlib.h>

#include "base/crc32c.h"
#include "pool/blob.h"
#include "pool/super.h"
#include "pool/wal.h"
#include "tests/sim/sim.h"
#include "timeline/engine.h"
#include "timeline/map.h"
#include "timeline/recover.h"
#include "timeline/tables.h"
#include "volume/volume.h"

#define POOL_PATH "/pool"
#define POOL_BYTES (64 * MIB)
#define WAL_BYTES (1 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- Parsers --------------------------------------------------------------------------------- */

static void fuzz_leaf(const uint8_t *data, size_t size)
{
    struct tl_disk disk = {.id = size > 0 ? data[0] : 0};
    struct leaf leaf = {.disk = &disk, .state = LEAF_READY};
    uint64_t applied;
    if (leaf_decode(&leaf, data, size, 512, POOL_BYTES / BLOCK_BYTES, &applied)) {
        uint64_t bytes;
        free(leaf_encode(&leaf, applied, &bytes));
    }
    free(leaf.versions);
}

static void fuzz_log(const uint8_t *data, size_t size)
{
    struct buf_reader r = buf_reader(data, size);
    struct wal_record record;
    while (wal_next(&r, &record))
        if (record.crcs)
            check(record.crcs >= data && record.crcs + 4 * record.count <= data + size);
}

static void fuzz_headers(const uint8_t *data, size_t size)
{
    uint8_t block[BLOCK_BYTES] = {0};
    struct super super;
    struct wal_header header;
    struct uuid uuid = {{0}};
    memcpy(block, data, min_of(size, sizeof block));
    store_le32(block + BLOCK_BYTES - 4, crc32c(0, block, BLOCK_BYTES - 4));
    (void)super_decode(block, POOL_BYTES / BLOCK_BYTES, &super);
    store_le32(block + FORMAT_WAL_HEADER_BYTES - 4, crc32c(0, block, FORMAT_WAL_HEADER_BYTES - 4));
    (void)wal_decode_header(block, &uuid, &header);
}

static void fuzz_tables(const uint8_t *data, size_t size)
{
    struct sim *sim = sim_create(&(struct sim_options){.seed = 1});
    struct rt *rt = sim_node_boot(sim_node_create(sim, "server"));
    struct tl_pool *p = pool_new(rt, NULL);
    uint64_t applied;
    alloc_init(&p->alloc, 512, POOL_BYTES / BLOCK_BYTES);
    p->bitmap_refs = calloc(alloc_page_count(&p->alloc), sizeof *p->bitmap_refs);
    check(p->bitmap_refs != NULL);
    list_init(&p->lru);
    list_init(&p->dirty);
    list_init(&p->sweep_leaves);
    (void)tables_decode(p, data, size, &applied);
    extents_fini(&p->ckpt.retiring);
    pool_free(p);
    sim_destroy(sim);
}

/* ---- A world with a pool --------------------------------------------------------------------- */

struct call {
    bool is_done;
    struct err *error;
};

static void call_done(void *arg, struct err *e)
{
    struct call *call = arg;
    call->is_done = true;
    call->error = e;
}

static void io_done(struct volume_io *io)
{
    io->link.next = NULL;
    io->iov_count = 0; /* marks the end */
}

static bool call_is_done(void *arg)
{
    return ((struct call *)arg)->is_done;
}

static bool io_is_done(void *arg)
{
    return ((struct volume_io *)arg)->iov_count == 0;
}

static bool finish(struct sim *sim, struct call *call)
{
    check(sim_run_until(sim, call_is_done, call, 1000 * RT_SECOND));
    bool good = call->error == NULL;
    err_free(call->error);
    *call = (struct call){0};
    return good;
}

static enum status do_io(struct sim *sim, struct volume *volume, enum volume_op op, uint64_t sector,
                         uint32_t sectors)
{
    static uint8_t memory[256 * KIB];
    struct iovec iov = {.iov_base = memory, .iov_len = (size_t)sectors * SECTOR_BYTES};
    struct volume_io io = {.op = op,
                           .sector = sector,
                           .sector_count = sectors,
                           .iov = &iov,
                           .iov_count = 1,
                           .done = io_done};
    if (op == VOLUME_WRITE) memset(memory, (int)sector | 1, iov.iov_len);
    volume_submit(volume, &io);
    check(sim_run_until(sim, io_is_done, &io, 1000 * RT_SECOND));
    return io.status;
}

static struct uuid uuid_of(unsigned n)
{
    struct uuid uuid = {{1}};
    uuid.bytes[15] = (uint8_t)n;
    return uuid;
}

static struct volume *open_disk(struct volume_pool *pool, const struct uuid *disk,
                                const struct uuid *point)
{
    struct volume *volume = NULL;
    struct err *e =
        volume_open(pool, disk, point, point ? VOLUME_READ_ONLY : VOLUME_READ_WRITE, &volume);
    err_free(e);
    return volume;
}

static void replaced(struct volume_replacement *job, struct err *e)
{
    err_free(e);
    volume_close(job->content);
    job->content = NULL;
}

static bool replace_is_done(void *arg)
{
    return ((struct volume_replacement *)arg)->content == NULL;
}

/* The disk takes what its branch had at point 4. */
static void replace(struct sim *sim, struct volume_pool *pool, unsigned undo)
{
    struct uuid point = uuid_of(4);
    struct volume_replacement job = {.disk = uuid_of(1),
                                     .undo_point = uuid_of(undo),
                                     .content = open_disk(pool, NULL, &point),
                                     .done = replaced};
    volume_replace(pool, &job);
    check(sim_run_until(sim, replace_is_done, &job, 1000 * RT_SECOND));
}

static void cut_disk(struct sim *sim, struct volume_pool *pool, unsigned disk, unsigned point)
{
    struct call call = {0};
    struct volume_cut_member member = {
        .disk = uuid_of(disk), .point = uuid_of(point), .kind = VOLUME_POINT_SNAPSHOT};
    struct volume_cut cut = {.set = uuid_of(point), .member_count = 1, .members = &member};
    struct volume_cut_result result;
    volume_cut(pool, &cut, &result, call_done, &call);
    check(finish(sim, &call));
}

static void fill_pool(struct sim *sim, struct volume_pool *pool)
{
    struct uuid disk = uuid_of(1), point = uuid_of(2), branch = uuid_of(3);
    struct call call = {0};
    volume_disk_create(pool, &disk, 16 * MIB, call_done, &call);
    check(finish(sim, &call));
    struct volume *volume = open_disk(pool, &disk, NULL);
    for (unsigned i = 0; i < 20; i++)
        do_io(sim, volume, VOLUME_WRITE, i * 1000, 8 + i);
    cut_disk(sim, pool, 1, 2);
    for (unsigned i = 0; i < 10; i++)
        do_io(sim, volume, i % 3 ? VOLUME_WRITE : VOLUME_UNMAP, i * 1000, 64);
    volume_branch(pool, &point, &branch, call_done, &call);
    check(finish(sim, &call));
    struct volume *changed = open_disk(pool, &branch, NULL);
    for (unsigned i = 0; i < 6; i++)
        do_io(sim, changed, i % 3 ? VOLUME_WRITE : VOLUME_UNMAP, i * 1500, 64);
    volume_close(changed);
    cut_disk(sim, pool, 3, 4);
    replace(sim, pool, 5);
    volume_pool_checkpoint(pool, call_done, &call);
    check(finish(sim, &call));
    for (unsigned i = 0; i < 20; i++)
        do_io(sim, volume, VOLUME_WRITE, i * 700, 16);
    replace(sim, pool, 6);
    do_io(sim, volume, VOLUME_WRITE, 2000, 16);
    volume_close(volume);
}

static uint8_t *image;            /* of the pool after a crash */
static size_t blocks[4096], used; /* of it that are not zero */

static bool is_zero(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, BLOCK_BYTES - 1) == 0;
}

static void make_image(void)
{
    struct sim *sim = sim_create(&(struct sim_options){.seed = 3});
    struct sim_node *node = sim_node_create(sim, "server");
    struct rt *rt = sim_node_boot(node);
    struct uuid uuid = uuid_of(9);
    struct call call = {0};
    struct volume_pool *pool = NULL;
    volume_pool_create(rt, POOL_PATH, POOL_BYTES, &uuid,
                       &(struct volume_pool_options){.sparse = true, .wal_bytes = WAL_BYTES}, false,
                       NULL, call_done, &call);
    check(finish(sim, &call));
    volume_pool_open(rt, POOL_PATH, NULL, &pool, call_done, &call);
    check(finish(sim, &call));
    fill_pool(sim, pool);
    sim_node_crash(node, SIM_CRASH_PROCESS);
    volume_pool_abandon(pool);
    image = malloc(POOL_BYTES);
    check(image != NULL);
    sim_file_peek(node, POOL_PATH, 0, image, POOL_BYTES);
    for (size_t b = 0; b < POOL_BYTES / BLOCK_BYTES; b++)
        if (!is_zero(image + b * BLOCK_BYTES) && used < countof(blocks)) blocks[used++] = b;
    sim_destroy(sim);
}

/* ---- Damage ---------------------------------------------------------------------------------- */

/* Makes the checksum of a changed superblock or log batch right again. */
static void put_right(uint8_t *block, size_t left)
{
    if (load_le64(block) == FORMAT_SUPER_MAGIC) {
        store_le32(block + BLOCK_BYTES - 4, crc32c(0, block, BLOCK_BYTES - 4));
    } else if (load_le64(block) == FORMAT_WAL_MAGIC) {
        uint32_t body = load_le32(block + 68);
        if (body <= left - FORMAT_WAL_HEADER_BYTES)
            store_le32(block + 72, crc32c(0, block + FORMAT_WAL_HEADER_BYTES, body));
        store_le32(block + FORMAT_WAL_HEADER_BYTES - 4,
                   crc32c(0, block, FORMAT_WAL_HEADER_BYTES - 4));
    }
}

static void use_pool(struct sim *sim, struct volume_pool *pool)
{
    struct call call = {0};
    for (unsigned i = 1; i <= 3; i++) {
        struct uuid uuid = uuid_of(i);
        struct volume *volume = open_disk(pool, i == 2 ? NULL : &uuid, i == 2 ? &uuid : NULL);
        if (!volume) continue;
        for (uint64_t at = 0;
             at + 512 <= min_of(volume_size_bytes(volume) / SECTOR_BYTES, (uint64_t)8192);
             at += 512)
            do_io(sim, volume, VOLUME_READ, at, 512);
        if (!volume_is_read_only(volume)) do_io(sim, volume, VOLUME_WRITE, 5, 20);
        volume_close(volume);
    }
    volume_pool_close(pool, call_done, &call);
    finish(sim, &call);
}

static void fuzz_image(bool with_checksums, const uint8_t *data, size_t size)
{
    struct sim *sim = sim_create(&(struct sim_options){.seed = 5});
    struct sim_node *node = sim_node_create(sim, "server");
    struct call call = {0};
    struct volume_pool *pool = NULL;
    sim_file_create(node, POOL_PATH, POOL_BYTES);
    for (size_t i = 0; i < used; i++)
        sim_file_poke(node, POOL_PATH, blocks[i] * BLOCK_BYTES, image + blocks[i] * BLOCK_BYTES,
                      BLOCK_BYTES);
    for (; size >= 5; data += 5, size -= 5) {
        uint8_t batch[FORMAT_BATCH_WAL_BLOCKS * BLOCK_BYTES];
        uint64_t at = (uint64_t)blocks[load_le16(data) % used] * BLOCK_BYTES;
        sim_file_peek(node, POOL_PATH, at, batch, sizeof batch);
        batch[load_le16(data + 2) % (data[2] & 1 ? 256u : BLOCK_BYTES)] = data[4];
        if (with_checksums) put_right(batch, sizeof batch);
        sim_file_poke(node, POOL_PATH, at, batch, sizeof batch);
    }
    struct rt *rt = sim_node_boot(node);
    volume_pool_open(rt, POOL_PATH, NULL, &pool, call_done, &call);
    if (finish(sim, &call)) use_pool(sim, pool);
    sim_destroy(sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    unsigned which = data[0]; /* an image takes much longer than a parser */
    if (which < 2) {
        if (!image) make_image();
        fuzz_image(which == 0, data + 1, min_of(size - 1, (size_t)200));
    } else if (which < 16) {
        fuzz_tables(data + 1, size - 1);
    } else if (which % 3 == 0) {
        fuzz_leaf(data + 1, size - 1);
    } else if (which % 3 == 1) {
        fuzz_log(data + 1, size - 1);
    } else {
        fuzz_headers(data + 1, size - 1);
    }
    return 0;
}
