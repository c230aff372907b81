/*
 * gpt_rig.h - images of disks as the usual programs make them (sgdisk, fdisk, mkntfs), for the
 * tests of src/gpt: a directory of its own with image files, and shell commands run in it.
 */
#ifndef TARN_TESTS_GPT_RIG_H
#define TARN_TESTS_GPT_RIG_H

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"
#include "tests/lib/tap.h"

#define IMAGE_BYTES (16 * MIB)

static uint8_t image[IMAGE_BYTES];
static char directory[] = "/tmp/tarn-gpt-XXXXXX";

/* The exit status of a shell command run in the directory; its output goes to the file `out`. */
static inline TARN_PRINTF(1, 2) int shell(const char *format, ...)
{
    char command[1024], line[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    snprintf(line, sizeof line, "cd %s && PATH=$PATH:/usr/sbin:/sbin && { %s; } > out 2>&1",
             directory, command);
    fflush(stdout);
    return system(line); /* NOLINT(cert-env33-c): our own words */
}

static inline void rig_directory(void)
{
    check(mkdtemp(directory) != NULL);
}

static inline void rig_directory_remove(void)
{
    int status = shell("rm -rf '%s'", directory);
    (void)status;
}

static inline void image_load(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    check(file != NULL);
    memset(image, 0, sizeof image);
    check(fread(image, 1, sizeof image, file) > 0);
    fclose(file);
}

static inline void image_save(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    check(file != NULL);
    check(fwrite(image, 1, sizeof image, file) == sizeof image);
    check(fclose(file) == 0);
}

/* Makes the files `clean`, a disk as Windows sets one up: a reserved partition and an NTFS volume
 * with a file; then a volume that an administrator made read-only and a partition of another system
 * with a bit of its own; and `marked`, what VSS makes of it before the commit.  False when the
 * programs for it are not here. */
static inline bool rig_make_disks(void)
{
    if (shell("command -v sgdisk mkntfs ntfscp") != 0) return false;
    check(shell("truncate -s 16M clean && truncate -s 6M ntfs && "
                "sgdisk -n 1:2048:4095 -t 1:0C01 -n 2:4096:+6M -t 2:0700 -n 3:0:+1M -t 3:0700 -A "
                "3:set:60 "
                "-n 4:0:+1M -t 4:8300 -A 4:set:63 clean && mkntfs -F -Q -s 512 -p 4096 -H 16 -S 63 "
                "ntfs && "
                "seq 1 20000 > file && ntfscp ntfs file report.txt && "
                "dd if=ntfs of=clean bs=512 seek=4096 conv=notrunc && cp clean marked && "
                "sgdisk -A 2:set:60 -A 2:set:61 -A 2:set:62 -A 2:set:63 marked") == 0);
    return true;
}

/* The directory with these files; or the whole test is skipped: false. */
static inline bool rig_disks_or_skip(void)
{
    rig_directory();
    if (rig_make_disks()) return true;
    printf("1..0 # SKIP sgdisk or ntfs-3g is not installed (tools/deps install check)\n");
    rig_directory_remove();
    return false;
}

#endif
