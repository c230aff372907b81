/* Taking the marks of VSS off partitions, on images that sgdisk, fdisk and mkntfs made, on the
 * memory engine. */
#include "gpt/gpt.h"

#include "base/endian.h"
#include "gpt/table.h"
#include "tests/lib/memvol.h"
#include "tests/lib/whole.h"
#include "tests/sim/sim.h"
#include "tests/unit/gpt_rig.h"

struct world {
    struct sim *sim;
    struct volume_pool *pool;
    struct volume *volume;
    struct gpt_clearing op;
    enum status status;
    bool is_done, was_ordered;
};

static void whole_image(struct world *w, enum volume_op op)
{
    check(whole_volume(w->sim, w->volume, op, image, IMAGE_BYTES));
}

static void cleared(struct gpt_clearing *op, struct err *e)
{
    struct world *w = op->arg;
    w->is_done = true;
    w->status = err_status(e);
    err_free(e);
}

/* A disk with the image on it. */
static void begin(struct world *w)
{
    *w = (struct world){.was_ordered = true};
    w->sim = sim_create(&(struct sim_options){.seed = 1});
    w->pool = memvol_pool_create(sim_node_boot(sim_node_create(w->sim, "server")));
    w->volume = memvol_disk(w->pool, &(struct uuid){{1}}, IMAGE_BYTES, VOLUME_READ_WRITE);
    whole_image(w, VOLUME_WRITE);
}

static void end(struct world *w)
{
    volume_close(w->volume);
    volume_pool_abandon(w->pool);
    sim_destroy(w->sim);
}

static void clear(struct world *w, uint32_t sector_bytes, bool only_look)
{
    uint64_t before = memvol_counts(w->pool).writes, flushes = memvol_counts(w->pool).flushes;
    w->op = (struct gpt_clearing){.volume = w->volume,
                                  .sector_bytes = sector_bytes,
                                  .only_look = only_look,
                                  .done = cleared,
                                  .arg = w};
    w->is_done = false;
    gpt_clear(&w->op);
    expect(!w->is_done); /* never from inside the call */
    while (!w->is_done) {
        check(sim_step(w->sim));
        struct memvol_counts now = memvol_counts(w->pool);
        if (now.writes - before > 2 && now.flushes == flushes) w->was_ordered = false;
    }
}

/* The image as it is on the disk now, into the file `disk`. */
static void save(struct world *w)
{
    whole_image(w, VOLUME_READ);
    image_save("disk");
}

static uint64_t writes(struct world *w)
{
    return memvol_counts(w->pool).writes - IMAGE_BYTES / MIB;
}

static void the_marks_of_an_ntfs_volume_are_cleared_in_both_tables(void)
{
    struct world w;
    char text[GPT_TEXT_MAX];
    image_load("marked");
    begin(&w);
    clear(&w, 512, false);
    expect_eq(w.status, STATUS_OK);
    expect_eq(w.op.finding, GPT_CLEARED);
    expect_eq(w.op.cleared_partitions, 1);
    expect_eq(w.op.partition_count, 4);
    expect(!w.op.is_repaired);
    expect(w.was_ordered);
    expect_eq(writes(&w), 4);
    expect_str(gpt_text(&w.op, text),
               "1 of 4 partitions is marked by VSS; the marks were taken off");
    save(&w);
    /* Byte for byte the disk that was never marked: in both tables, with all four checksums. */
    expect(shell("cmp disk clean") == 0);
    expect(shell("sgdisk -v disk && sgdisk -v disk | grep -q 'No problems found'") == 0);
    expect(shell("sgdisk -i 2 disk | grep -q 'Attribute flags: 0000000000000000'") == 0);
    expect(shell("dd if=disk of=volume bs=512 skip=4096 count=12288 && ntfsinfo -m volume && "
                 "ntfscat volume report.txt | cmp - file") == 0);
    end(&w);
}

static void what_an_administrator_set_stays(void)
{
    struct world w;
    image_load("marked");
    begin(&w);
    clear(&w, 512, false);
    save(&w);
    expect(shell("sgdisk -i 3 disk | grep -q 'Attribute flags: 1000000000000000'") == 0);
    expect(shell("sgdisk -i 4 disk | grep -q 'Attribute flags: 8000000000000000'") == 0);
    end(&w);
}

static void three_marks_without_the_fourth_are_vss_too(void)
{
    struct world w;
    require(shell("cp clean disk && sgdisk -A 2:set:60 -A 2:set:62 -A 2:set:63 disk") == 0);
    image_load("disk");
    begin(&w);
    clear(&w, 512, false);
    expect_eq(w.op.cleared_partitions, 1);
    end(&w);
}

static void a_disk_without_marks_is_not_written_to(void)
{
    struct world w;
    char text[GPT_TEXT_MAX];
    image_load("clean");
    begin(&w);
    clear(&w, 512, false);
    expect_eq(w.op.finding, GPT_NOTHING_TO_DO);
    expect_eq(writes(&w), 0);
    expect_str(gpt_text(&w.op, text), "none of 4 partitions is marked by VSS");
    end(&w);
}

static void only_looking_tells_and_writes_nothing(void)
{
    struct world w;
    char text[GPT_TEXT_MAX];
    image_load("marked");
    begin(&w);
    clear(&w, 512, true);
    expect_eq(w.op.finding, GPT_CLEARED);
    expect_eq(w.op.cleared_partitions, 1);
    expect_eq(writes(&w), 0);
    expect_str(gpt_text(&w.op, text), "1 of 4 partitions is marked by VSS");
    end(&w);
}

static void entries_may_lie_anywhere_and_be_many(void)
{
    struct world w;
    require(
        shell("rm -f disk && truncate -s 16M disk && sgdisk -j 1000 -S 1024 -n 1:4096:+2M -t "
              "1:0700 disk "
              "&& cp disk before && sgdisk -A 1:set:60 -A 1:set:61 -A 1:set:62 -A 1:set:63 disk") ==
        0);
    image_load("disk");
    begin(&w);
    clear(&w, 512, false);
    expect_eq(w.op.finding, GPT_CLEARED);
    save(&w);
    expect(shell("cmp disk before") == 0);
    end(&w);
}

/* A loop device with sectors of 4 KiB is what sgdisk needs for such a table. */
static bool have_4k_loop(void)
{
    return shell("truncate -s 16M disk && dev=$(losetup -f --show -b 4096 disk) && losetup -d "
                 "$dev") == 0;
}

static void sectors_of_4_kib(void)
{
    struct world w;
    require(shell("rm -f disk && truncate -s 16M disk && dev=$(losetup -f --show -b 4096 disk) && "
                  "sgdisk -n 1:512:+2M -t 1:0700 $dev && sync $dev && cp disk before && "
                  "sgdisk -A 1:set:60 -A 1:set:61 -A 1:set:62 -A 1:set:63 $dev && sync $dev; "
                  "status=$?; losetup -d $dev; exit $status") == 0);
    image_load("disk");
    expect_eq(load_le64(image + 4096), 0x5452415020494645); /* "EFI PART" */
    begin(&w);
    clear(&w, 4096, false);
    expect_eq(w.op.finding, GPT_CLEARED);
    expect_eq(w.op.cleared_partitions, 1);
    save(&w);
    expect(shell("cmp disk before") == 0);
    expect(shell("dev=$(losetup -f --show -b 4096 disk) && sgdisk -v $dev | grep -q 'No problems "
                 "found'; "
                 "status=$?; losetup -d $dev; exit $status") == 0);
    end(&w);
}

static void a_damaged_copy_is_rewritten_from_the_good_one(void)
{
    static const uint64_t places[] = {
        512 + 50,                          /* primary header */
        1024 + 128 + 56,                   /* primary entries: a name */
        IMAGE_BYTES - 512 + 50,            /* backup header */
        IMAGE_BYTES - 33 * 512 + 128 + 56, /* backup entries */
    };
    for (unsigned i = 0; i < countof(places); i++) {
        struct world w;
        char text[GPT_TEXT_MAX];
        image_load("marked");
        image[places[i]] ^= 0x40;
        begin(&w);
        clear(&w, 512, false);
        expect_eq(w.op.finding, GPT_CLEARED);
        expect(w.op.is_repaired && w.was_ordered);
        expect_str(gpt_text(&w.op, text),
                   "1 of 4 partitions is marked by VSS; the marks were taken off; a damaged "
                   "copy of the partition table was written anew");
        whole_image(&w, VOLUME_READ);
        image_save("disk");
        expect(shell("cmp disk clean") == 0);
        end(&w);
    }
}

/* The image with something done to it is left as it is, and the finding is this. */
static void left_alone(enum gpt_finding finding, const char *trouble)
{
    struct world w;
    begin(&w);
    clear(&w, 512, false);
    expect_eq(w.status, STATUS_OK);
    expect_eq(w.op.finding, finding);
    expect_str(w.op.trouble, trouble);
    expect_eq(writes(&w), 0);
    end(&w);
}

static void two_damaged_copies_are_left_alone(void)
{
    image_load("marked");
    image[512 + 50] ^= 1;
    image[IMAGE_BYTES - 512 + 50] ^= 1;
    left_alone(GPT_DAMAGED, "neither copy of the partition table is sound");
}

static void a_copy_that_is_not_there_is_not_made(void)
{
    image_load("marked");
    memset(image + IMAGE_BYTES - 512, 0, 512);
    left_alone(GPT_DAMAGED, "one of the two copies of the partition table is missing");
    image_load("marked");
    memset(image + 512, 0, 512);
    left_alone(GPT_DAMAGED, "one of the two copies of the partition table is missing");
    image_load("clean");
    memset(image + IMAGE_BYTES - 512, 0, 512); /* without marks it is not ours to judge */
    left_alone(GPT_NOTHING_TO_DO, "");
}

/* The header anew, as somebody hostile would seal it. */
static void seal(uint8_t *sector, const uint8_t *entries)
{
    struct gpt_header header;
    const struct gpt_geometry geometry = {512, IMAGE_BYTES / 512};
    require(gpt_header_parse(sector, &geometry, load_le64(sector + 24), &header) == GPT_GOOD);
    header.entries_lba = (uint64_t)(entries - image) / 512;
    gpt_header_seal(sector, &header, entries);
}

static void copies_that_share_their_entries_are_left_alone(void)
{
    image_load("marked");
    seal(image + IMAGE_BYTES - 512, image + 1024);
    left_alone(GPT_DAMAGED, "the two copies of the partition table overlap");
}

static void a_damaged_copy_that_would_lie_on_the_good_one_is_left_alone(void)
{
    image_load("marked");
    seal(image + 512, image + IMAGE_BYTES - 33 * 512); /* where the backup's entries belong */
    image[IMAGE_BYTES - 512 + 50] ^= 1;
    left_alone(
        GPT_DAMAGED,
        "one of the two copies of the partition table is damaged, and there is no safe place to "
        "write it anew");
}

static void an_mbr_disk_is_told_with_its_signature(void)
{
    char text[GPT_TEXT_MAX];
    struct world w;
    memset(image, 0, sizeof image);
    store_le32(image + 440, 0xCAFE1234);
    image[446] = 0x80;
    image[450] = 0x07;
    store_le32(image + 454, 2048);
    store_le32(image + 458, 8192);
    store_le16(image + 510, 0xAA55);
    left_alone(GPT_MBR, "");
    begin(&w);
    clear(&w, 512, false);
    expect_eq(w.op.mbr_signature, 0xCAFE1234);
    gpt_text(&w.op, text);
    expect(strstr(text, "CAFE1234") && strstr(text, "attributes volume clear hidden"));
    end(&w);
}

static void a_disk_without_a_table_is_none(void)
{
    memset(image, 0, sizeof image);
    left_alone(GPT_NONE, "");
    image_load("ntfs"); /* a volume without partitions has the same magic at its end */
    left_alone(GPT_NONE, "");
    image_load("clean");
    memset(image, 0, 512); /* a table that no protective MBR announces is nobody's */
    left_alone(GPT_NONE, "");
}

static void failures_of_the_disk_come_back(void)
{
    static const enum volume_op ops[] = {VOLUME_READ, VOLUME_WRITE, VOLUME_FLUSH};
    static const enum status statuses[] = {STATUS_READ_FAILED, STATUS_POOL_FULL,
                                           STATUS_FLUSH_FAILED};
    image_load("marked");
    for (unsigned i = 0; i < countof(ops); i++) {
        struct world w;
        begin(&w);
        memvol_fail(w.pool, ops[i], statuses[i]);
        clear(&w, 512, false);
        expect_eq(w.status, statuses[i]);
        clear(&w, 512, false); /* again, and it is done */
        expect_eq(w.status, STATUS_OK);
        expect_eq(w.op.finding, GPT_CLEARED);
        end(&w);
    }
}

int main(void)
{
    if (!rig_disks_or_skip()) return 0;
    run(the_marks_of_an_ntfs_volume_are_cleared_in_both_tables);
    run(what_an_administrator_set_stays);
    run(three_marks_without_the_fourth_are_vss_too);
    run(a_disk_without_marks_is_not_written_to);
    run(only_looking_tells_and_writes_nothing);
    run(entries_may_lie_anywhere_and_be_many);
    if (have_4k_loop())
        run(sectors_of_4_kib);
    else
        tap_skip("sectors_of_4_kib", "no loop device with sectors of 4 KiB here");
    run(a_damaged_copy_is_rewritten_from_the_good_one);
    run(two_damaged_copies_are_left_alone);
    run(a_copy_that_is_not_there_is_not_made);
    run(copies_that_share_their_entries_are_left_alone);
    run(a_damaged_copy_that_would_lie_on_the_good_one_is_left_alone);
    run(an_mbr_disk_is_told_with_its_signature);
    run(a_disk_without_a_table_is_none);
    run(failures_of_the_disk_come_back);
    rig_directory_remove();
    return tap_done();
}
