/*
 * limits.h - every bound of the product in one place, with its reason.  Module-private sizes live
 * in the modules; what a person or another module can meet lives here.
 */
#ifndef TARN_BASE_LIMITS_H
#define TARN_BASE_LIMITS_H

#include <stdint.h>

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

enum {
    SECTOR_BYTES = 512, /* logical block that hosts see */
    BLOCK_BYTES = 4096, /* physical block: unit of mapping, checksum and allocation */
    SECTORS_PER_BLOCK = BLOCK_BYTES / SECTOR_BYTES,

    LIMIT_SET_MEMBERS = 256, /* 64 volumes may lie on more disks */
    LIMIT_DISKS_PER_POOL = 4096,
    LIMIT_POINTS_PER_DISK = 4096,
    LIMIT_REVERTS_PER_DISK = 256, /* whose undo points were not yet deleted and swept (E19) */
    LIMIT_BRANCH_DEPTH = 8,       /* E20 */
    LIMIT_LUNS_PER_HOST = 255,    /* what Windows sees on one target: LUN 0 to 254 */
    LIMIT_NAME_BYTES = 255,
    LIMIT_TRANSFER_BYTES = 4 * 1024 * 1024, /* one READ or WRITE; told in VPD page B0h */
};

#define LIMIT_POOL_MIN_BYTES (64 * MIB)
#define LIMIT_DISK_MIN_BYTES (1 * MIB)
#define LIMIT_DISK_MAX_BYTES (256 * TIB)
#define LIMIT_UNMAP_BYTES (1 * GIB)     /* E4: one UNMAP batch */
#define LIMIT_COMPARE_BYTES (256 * KIB) /* E4: compare-and-write fits one batch */

#endif
