/*
 * gpt.h - what Windows reads and writes of a GPT disk while VSS works: volumes, the four marks on the
 * source, new ids on what is imported, the disk's id after a resync.
 *
 * For the stand-in only; it shares no code with the provider or the server.
 *
 *     struct si_gpt table;
 *     io = si_gpt_read(machine, &disk, &table);          // table.partitions: the volumes
 *     io = si_gpt_mark(machine, &disk, &table.partitions[0].id);
 *     ... the commit ...
 *     io = si_gpt_unmark(machine, &disk, &table.partitions[0].id);
 *
 * A change writes, as Windows does, both copies of the table: the primary's entries and header, a
 * flush, the backup's entries and header, a flush.  A copy that is damaged (a crash between the two)
 * is made anew from the other one.
 *
 * Words: a mark is one of the four attribute bits of a partition that VSS sets on the source between
 * EndPrepareSnapshots and PreCommitSnapshots (PARTITION_INFORMATION_GPT in the Windows SDK).
 * Threads: one.  Ownership: nothing is kept.  Failures: the first enum si_io that is not SI_IO_OK;
 * a disk without a usable table, or a partition that is not there, is SI_IO_ERROR on a change, and
 * table.state on a read.  Limits: SI_PARTITIONS_MAX partitions, tables of at most 32 KiB, blocks of
 * 512 or 4096 bytes.
 */
#ifndef TARN_WINDOWS_STANDIN_GPT_H
#define TARN_WINDOWS_STANDIN_GPT_H

#include "windows/standin/seams.h"

enum { SI_PARTITIONS_MAX = 128 };

#define SI_GPT_READ_ONLY 0x1000000000000000u
#define SI_GPT_SHADOW_COPY 0x2000000000000000u
#define SI_GPT_HIDDEN 0x4000000000000000u
#define SI_GPT_NO_DRIVE_LETTER 0x8000000000000000u
#define SI_GPT_MARKS                                                                               \
    (SI_GPT_READ_ONLY | SI_GPT_SHADOW_COPY | SI_GPT_HIDDEN | SI_GPT_NO_DRIVE_LETTER)

enum { SI_GPT_NAME_CHARS = 37 };

struct si_partition {
    GUID type, id;
    uint64_t first_lba, block_count, attributes;
    char name[SI_GPT_NAME_CHARS]; /* "span:..." is a part of a volume over several disks; ASCII */
};

enum si_gpt_state {
    SI_GPT_NONE,    /* no table */
    SI_GPT_SOUND,   /* both copies are good and equal */
    SI_GPT_HALF,    /* one copy is good, or they differ: the table is that of the better one */
    SI_GPT_DAMAGED, /* there is a table, and no copy of it is good */
};

struct si_gpt {
    enum si_gpt_state state;
    GUID disk_id;
    unsigned count; /* 0 unless SI_GPT_SOUND or SI_GPT_HALF */
    struct si_partition partitions[SI_PARTITIONS_MAX];
};

enum si_io si_gpt_read(struct si_machine *machine, const struct si_disk *disk,
                       struct si_gpt *ret_table);

/* The four marks of a partition; all partitions with NULL. */
enum si_io si_gpt_mark(struct si_machine *machine, const struct si_disk *disk,
                       const GUID *partition);
enum si_io si_gpt_unmark(struct si_machine *machine, const struct si_disk *disk,
                         const GUID *partition);
/* At import, because the original is visible too: a new id for the disk and for each partition. */
enum si_io si_gpt_new_ids(struct si_machine *machine, const struct si_disk *disk,
                          struct si_host *host);
/* After a resync, and by VSS_BREAKEX_FLAG_REVERT_IDENTITY_ALL. */
enum si_io si_gpt_set_disk_id(struct si_machine *machine, const struct si_disk *disk,
                              const GUID *disk_id);
/* ... and a partition's. */
enum si_io si_gpt_set_partition_id(struct si_machine *machine, const struct si_disk *disk,
                                   const GUID *partition, const GUID *new_id);
/* Partitions a disk: what Disk Management does, for tests. */
enum si_io si_gpt_create(struct si_machine *machine, const struct si_disk *disk,
                         const struct si_gpt *table);
/* "A large number of writes" between PreFinalCommitSnapshots and PostFinalCommitSnapshots: spread
 * over the partition, each what was there before, so that files stay what they were. */
enum si_io si_gpt_recover(struct si_machine *machine, const struct si_disk *disk,
                          const GUID *partition);

#endif
