/* A crash at every write of the clearing, on the whole engine: one copy of the table is always
 * good, nothing else of the disk changes, and calling it again finishes. */
#include "gpt/gpt.h"
#include "gpt/table.h"
#include "tests/unit/engine_rig.h"
#include "tests/unit/gpt_rig.h"

static const struct gpt_geometry geometry = {SECTOR_BYTES, IMAGE_BYTES / SECTOR_BYTES};

static void whole_image(struct rig *r, enum volume_op op)
{
    for (uint64_t at = 0; at < IMAGE_BYTES; at += sizeof memory) {
        if (op == VOLUME_WRITE) memcpy(memory, image + at, sizeof memory);
        check(do_io(r, op, at / BLOCK_BYTES, sizeof memory / BLOCK_BYTES, 0) == STATUS_OK);
        if (op == VOLUME_READ) memcpy(image + at, memory, sizeof memory);
    }
}

struct clearing {
    struct gpt_clearing op;
    struct rig *rig;
    bool is_done;
};

static void cleared(struct gpt_clearing *op, struct err *e)
{
    container_of(op, struct clearing, op)->is_done = true;
    err_free(e);
}

static bool is_over(void *arg)
{
    struct clearing *c = arg;
    return c->is_done || !sim_node_is_up(c->rig->node);
}

/* False when the node went down before it was done. */
static bool clear(struct rig *r, struct clearing *c)
{
    *c = (struct clearing){
        .op = {.volume = r->volume, .sector_bytes = SECTOR_BYTES, .done = cleared}, .rig = r};
    gpt_clear(&c->op);
    check(sim_run_until(r->sim, is_over, c, LIMIT_NS));
    return c->is_done;
}

static bool is_good(uint64_t lba)
{
    struct gpt_header header;
    return gpt_header_parse(image + lba * SECTOR_BYTES, &geometry, lba, &header) == GPT_GOOD &&
           gpt_entries_match(&header, image + header.entries_lba * SECTOR_BYTES);
}

/* The image without the two copies of its table. */
static bool is_same_beside_the_table(const uint8_t *as)
{
    const size_t first = 34 * SECTOR_BYTES, last = IMAGE_BYTES - 33 * SECTOR_BYTES;
    return memcmp(image, as, SECTOR_BYTES) == 0 &&
           memcmp(image + first, as + first, last - first) == 0;
}

/* Returns false when the clearing ended before the crash came. */
static bool crash_at(uint64_t k, enum sim_crash kind)
{
    static uint8_t marked[IMAGE_BYTES];
    struct rig r;
    struct clearing c;
    image_load("marked");
    memcpy(marked, image, sizeof marked);
    rig_create(&r, 100 + k, IMAGE_BYTES, 0);
    whole_image(&r, VOLUME_WRITE);
    check(do_io(&r, VOLUME_FLUSH, 0, 0, 0) == STATUS_OK);
    sim_node_crash_at_write(r.node, k, kind);
    bool ended = clear(&r, &c);
    sim_node_crash_at_write(r.node, 0, kind);
    crash(&r, kind);
    gpt_abandon(&c.op);
    check(open_pool(&r, 0) == STATUS_OK);
    open_disk(&r);
    whole_image(&r, VOLUME_READ);
    expect(is_good(1) || is_good(geometry.sector_count - 1));
    expect(is_same_beside_the_table(marked));
    expect(clear(&r, &c));
    whole_image(&r, VOLUME_READ);
    image_save("disk");
    expect(shell("cmp disk clean") == 0);
    rig_destroy(&r);
    return !ended;
}

static void every_crash(enum sim_crash kind)
{
    uint64_t k = 1;
    while (crash_at(k, kind))
        k++;
    expect(k > 8); /* four writes and two flushes made that many of the device */
}

static void the_table_survives_a_power_cut_at_every_write(void)
{
    every_crash(SIM_CRASH_POWER);
}

static void the_table_survives_a_killed_process_at_every_write(void)
{
    every_crash(SIM_CRASH_PROCESS);
}

int main(void)
{
    if (!rig_disks_or_skip()) return 0;
    run(the_table_survives_a_power_cut_at_every_write);
    run(the_table_survives_a_killed_process_at_every_write);
    rig_directory_remove();
    return tap_done();
}
