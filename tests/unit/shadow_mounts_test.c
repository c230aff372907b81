/*
 * shadow_mounts_test.c - reading mountinfo, and the order of freezing on a tree that looks like
 * /sys.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shadow/mounts.h"
#include "tests/lib/tap.h"

static const char info[] =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "23 22 0:21 / /proc rw,nosuid - proc proc rw\n"
    "nonsense\n"
    "30 22 8:16 / /srv/outer rw - ext4 /dev/sdb rw\n"
    "31 30 7:0 / /srv/outer/in\\040side rw,noatime master:3 propagate_from:2 - xfs /dev/loop0 rw\n"
    "32 22 8:16 /sub /bind rw - ext4 /dev/sdb rw\n"
    "33 22 253:1 / /srv/lv rw - ext4 /dev/mapper/vg-lv rw\n"
    "34 22 8:33 / /srv/part rw - ext4 /dev/sdc1 rw\n"
    "35 22 0:50 / /srv/over rw - overlay overlay rw\n"
    "36 35 0:51 / /srv/over rw - fuse.sshfs host: rw\n";

static char root[64];
static struct mount_table table;

static void file_with(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *at = full + 1; *at; at++) {
        if (*at != '/') continue;
        *at = '\0';
        mkdir(full, 0700);
        *at = '/';
    }
    FILE *file = fopen(full, "we");
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

static void lines_are_read_and_nonsense_is_skipped(void)
{
    expect_eq(table.count, 9);
    const struct mount_entry *entry = mount_table_find(&table, "/srv/outer/in side");
    require(entry);
    expect_str(entry->fs_type, "xfs");
    expect_eq(entry->dev, makedev(7, 0));
    expect(!mount_table_find(&table, "/srv/outer/in"));
}

static void the_topmost_of_two_mounts_counts(void)
{
    const struct mount_entry *entry = mount_table_find(&table, "/srv/over");
    require(entry);
    expect_str(entry->fs_type, "fuse.sshfs");
    expect(mount_cannot_freeze(entry->fs_type));
}

static void a_path_is_found_in_the_mount_that_holds_it(void)
{
    expect_str(mount_table_holder(&table, "/srv/outer/in side/x")->fs_type, "xfs");
    expect_str(mount_table_holder(&table, "/srv/outer/in sideways")->mount_point, "/srv/outer");
    expect_str(mount_table_holder(&table, "/home")->mount_point, "/");
}

static void later_mounts_freeze_first(void)
{
    dev_t devices[] = {makedev(8, 16), makedev(8, 33), makedev(253, 1)};
    mount_order(&table, root, devices, 3);
    expect_eq(devices[0], makedev(8, 33));
    expect_eq(devices[1], makedev(253, 1));
    expect_eq(devices[2], makedev(8, 16));
}

/* Only the loop device says so: sdb is bind-mounted later than the inner one is mounted. */
static void what_stands_on_a_loop_device_freezes_before_what_holds_its_file(void)
{
    dev_t devices[] = {makedev(8, 16), makedev(7, 0)};
    file_with("/sys/dev/block/7:0/loop/backing_file", "/bind/image\n");
    mount_order(&table, root, devices, 2);
    expect_eq(devices[0], makedev(7, 0));
}

/* lv (mounted after outer) stands on loop0; here outer is told to stand on the logical volume. */
static void stacking_wins_over_mount_order(void)
{
    dev_t devices[] = {makedev(253, 1), makedev(8, 16)};
    file_with("/sys/dev/block/8:16/slaves/dm-1/dev", "253:1\n");
    mount_order(&table, root, devices, 2);
    expect_eq(devices[0], makedev(8, 16));
    expect_eq(devices[1], makedev(253, 1));
}

static void partitions_and_slaves_are_followed(void)
{
    /* sdc1, a partition of sdc, which is made of a loop device whose file lies on lv */
    dev_t devices[] = {makedev(253, 1), makedev(8, 33)};
    char path[256];
    file_with("/sys/devices/sdc/dev", "8:32\n");
    file_with("/sys/devices/sdc/sdc1/partition", "1\n");
    snprintf(path, sizeof path, "%s/sys/dev/block/8:33", root);
    expect(symlink("../../devices/sdc/sdc1", path) == 0);
    file_with("/sys/dev/block/8:32/slaves/loop5/dev", "7:5\n");
    file_with("/sys/dev/block/7:5/loop/backing_file", "/srv/lv/image\n");
    mount_order(&table, root, devices, 2);
    expect_eq(devices[0], makedev(8, 33));
}

static void a_circle_of_devices_ends(void)
{
    dev_t devices[] = {makedev(8, 1), makedev(9, 1), makedev(9, 2)};
    file_with("/sys/dev/block/9:1/slaves/x/dev", "9:2\n");
    file_with("/sys/dev/block/9:2/slaves/x/dev", "9:1\n");
    mount_order(&table, root, devices, 3);
    expect(devices[0] != devices[1] && devices[1] != devices[2] && devices[0] != devices[2]);
}

static void this_machines_list_can_be_read(void)
{
    struct mount_table own = {0};
    struct err *e = mount_table_read("", &own);
    expect(!e);
    expect(own.count > 0);
    expect(mount_table_find(&own, "/") != NULL);
    err_free(e);
    mount_table_fini(&own);
}

int main(void)
{
    char command[128];
    snprintf(root, sizeof root, "/tmp/tarn-mounts.XXXXXX");
    if (!mkdtemp(root)) return 1;
    struct err *e = mount_table_parse(info, &table);
    if (e) return 1;
    run(lines_are_read_and_nonsense_is_skipped);
    run(the_topmost_of_two_mounts_counts);
    run(a_path_is_found_in_the_mount_that_holds_it);
    run(later_mounts_freeze_first);
    run(what_stands_on_a_loop_device_freezes_before_what_holds_its_file);
    run(stacking_wins_over_mount_order);
    run(partitions_and_slaves_are_followed);
    run(a_circle_of_devices_ends);
    run(this_machines_list_can_be_read);
    mount_table_fini(&table);
    snprintf(command, sizeof command, "rm -rf %s", root);
    if (system(command) != 0) return 1; // NOLINT(cert-env33-c): a path of our own
    return tap_done();
}
