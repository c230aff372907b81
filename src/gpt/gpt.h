/*
 * gpt.h - takes the marks of a VSS shadow copy off the partitions of a disk.
 *
 * Between EndPrepareSnapshots and CommitSnapshots Windows marks the volumes of a set as hidden,
 * read-only, shadow copy and without drive letter, on the source disk itself, and takes the marks
 * off again after the commit.  So whatever was cut in between carries them, and a disk made of it
 * would come up with invisible, read-only volumes.  On a GPT disk the marks are attribute bits of
 * the partition entries (in PARTITION_INFORMATION_GPT: 63 no drive letter, 62 hidden, 61 shadow
 * copy, 60 read-only).  On an MBR disk they are where only Windows knows; there a person has to
 * take them off (gpt_text says how).
 *
 *     op->volume = volume; op->sector_bytes = SECTOR_BYTES; op->done = cleared;
 *     gpt_clear(op);                       // later: cleared(op, e), with op->finding
 *
 * What is changed: of basic data partitions that VSS has marked (bit 61, or the three others
 * together; a partition that an administrator made read-only or hid keeps what he set) the four
 * bits, and the checksums over them, in the primary and in the backup table.  Ordinary writes and
 * flushes; nothing else of the disk is touched, and a disk without marks is not written to.
 *
 * Crashes: a copy of the table is rewritten only while the other one is good on stable storage.
 * After a crash call it again; it finishes.  For that it rewrites a copy that is damaged from the
 * good one, as any partitioning program does; but never one whose place does not look like a table
 * (GPT_DAMAGED then).
 *
 * Threads: ON_LOOP of the volume's rt.  Ownership: the operation is the caller's again when done is
 * called; the volume must stay open until then, and nobody else may write to the table meanwhile
 * (hosts that have the disk mapped keep it in memory: clear before it is served). Failures: done's
 * error is one of the volume's (read, write, flush, write-protected); what the bytes of the disk
 * say is a finding and never an error. Limits: tables of at most GPT_ENTRIES_MAX_BYTES (8,192
 * partitions; usual are 128).
 */
#ifndef TARN_GPT_GPT_H
#define TARN_GPT_GPT_H

#include "volume/volume.h"

enum gpt_finding {
    GPT_NONE,          /* no partition table: an empty disk, or a file system without one */
    GPT_MBR,           /* an MBR: see mbr_signature; nothing was changed */
    GPT_NOTHING_TO_DO, /* a sound table without marks */
    GPT_CLEARED, /* partitions were cleared, or a damaged copy was rewritten; with only_look: would
                    be */
    GPT_DAMAGED, /* no sound table, or it cannot be changed safely; nothing was changed; see trouble
                  */
};

struct gpt_clearing {
    struct volume *volume; /* open for writing, unless only_look */
    uint32_t sector_bytes; /* of the LUN: 512 or 4096; it decides where the table is */
    bool only_look;        /* changes nothing: for dry runs */
    void (*done)(struct gpt_clearing *op, struct err *e);
    void *arg; /* the caller's */

    /* Answers, when done is called without an error. */
    enum gpt_finding finding;
    unsigned partition_count;    /* entries in use */
    unsigned cleared_partitions; /* that carried marks */
    bool is_repaired;            /* a damaged copy of the table was rewritten from the good one */
    uint32_t mbr_signature;      /* GPT_MBR: as diskpart and Disk Management show it */
    const char *trouble;         /* GPT_DAMAGED: a sentence without its full stop; else "" */

    struct gpt_run *run; /* private */
};

void gpt_clear(struct gpt_clearing *op);
/* Frees what a crash leaves: after the volume's pool was abandoned.  Fine when nothing is under
 * way. */
void gpt_abandon(struct gpt_clearing *op);

enum { GPT_TEXT_MAX = 320 };
/* What was found and done, in a sentence for people; for an MBR with what to type on Windows. */
char *gpt_text(const struct gpt_clearing *op, char text[GPT_TEXT_MAX]);

#endif
