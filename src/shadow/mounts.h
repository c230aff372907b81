/*
 * mounts.h - which file systems are mounted here, and which stands on which.
 *
 * Words: an ENTRY is a line of /proc/self/mountinfo, in mount order; a file system STANDS ON
 * another when its block device ends, through partitions, device mapper or loop devices, in a file
 * or device of the other.  The inner one must be frozen first: the other way round its freeze would
 * wait for ever for the frozen outer one.
 *
 * Threads: any.  Ownership: the table owns its strings.  Failures: struct err.
 */
#ifndef TARN_SHADOW_MOUNTS_H
#define TARN_SHADOW_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct mount_entry {
    dev_t dev;
    char *mount_point, *fs_type;
};

struct mount_table {
    struct mount_entry *entries;
    size_t count;
};

/* Lines that make no sense are skipped: the kernel adds fields now and then. */
struct err *mount_table_parse(const char *text, struct mount_table *ret_table) MUST_CHECK;
struct err *mount_table_read(const char *sysroot, struct mount_table *ret_table) MUST_CHECK;
void mount_table_fini(struct mount_table *table);
/* The topmost mount at exactly this place, or NULL. */
const struct mount_entry *mount_table_find(const struct mount_table *table, const char *path);
/* The mount that a path lies in, or NULL. */
const struct mount_entry *mount_table_holder(const struct mount_table *table, const char *path);
/* Kinds of file systems that are known not to freeze. */
bool mount_cannot_freeze(const char *fs_type);
/* Puts devices in the order of freezing: inner ones first, else reverse mount order. */
void mount_order(const struct mount_table *table, const char *sysroot, dev_t *devices,
                 unsigned count);

#endif
