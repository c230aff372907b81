/*
 * trash.h - what goes: into the trash and out of it, or for good.
 *
 * To DOOM is to delete for good: marked in the catalog first (audited), then in the engine, then the
 * rows go; a start goes on with what a crash left half done.
 */
#ifndef TARN_CONTROL_TRASH_H
#define TARN_CONTROL_TRASH_H

#include "control/op.h"

/* ---- For good -------------------------------------------------------------------------------- */

/* doomed.c: deleting snapshots, whole sets and disks: mark, engine, rows. */
struct doomed {
    /* The next to be deleted in the engine: of snapshots, undos, disks.  The rows are copies for the worker. */
    unsigned snapshot_count, next, set_count;
    unsigned undo_count, next_undo, disk_count, next_disk;
    struct undo **undos;
    struct catalog_undo *undo_rows;
    struct snapshot **snapshots;
    struct set **sets; /* those that go whole */
    struct disk **disks;
    struct catalog_snapshot *snapshot_rows;
    struct catalog_set *set_rows;
    struct catalog_disk *disk_rows;
    bool tolerant; /* at start: what fails is logged and stays for the next start */
};
struct doomed *doom_begin(struct op *op); /* becomes op->data */
void doom_free(void *data);               /* data_free of a struct that begins with a doomed */
void doom_snapshot(struct doomed *doomed, struct snapshot *snapshot); /* the last: with its set */
void doom_set(struct doomed *doomed, struct set *set);                /* with all members */
void doom_record(struct doomed *doomed, struct set *set); /* whose members are doomed */
void doom_disk(struct doomed *doomed, struct disk *disk); /* with its undo points */
void doom_undo(struct doomed *doomed, struct undo *undo);
void doomed_fini(struct doomed *doomed);
void doom_run(struct op *op);       /* goes on with these steps, or ends: nothing was doomed */
extern op_step *const doom_steps[]; /* mark (audited), points, undo points, disks, rows */
void doom_step_points(struct op *op);
void doom_step_disks(struct op *op);
void doom_step_rows(struct op *op);
void doom_step_forget(struct op *op);
/* IN_USE while a host has it (unserved), and while a job works on it, too (unused). */
struct err *check_snapshot_unused(const struct snapshot *snapshot) MUST_CHECK;
struct err *check_snapshot_unserved(const struct snapshot *snapshot) MUST_CHECK;
/* branch_private.c: IN_USE while a job works on it. */
struct err *check_disk_idle(const struct disk *disk) MUST_CHECK;
struct err *check_snapshot_idle(const struct snapshot *snapshot) MUST_CHECK;

/* plan_import.c.  Takes the LUNs of snapshots away from all hosts, and begins the operation anew. */
void unmap_snapshots(struct op *op, struct snapshot *const *snapshots, unsigned count);
/* IN_USE when a host calls and another group's host has it, or when a host other than "unmap_host" has. */
struct err *unmap_check(struct op *op, const struct snapshot *snapshot) MUST_CHECK;

/* ---- The trash ------------------------------------------------------------------------------- */

/* trash.c: what goes into the trash or comes out of it in one transaction. */
struct trashing_snapshot {
    struct snapshot *snapshot;
    struct catalog_snapshot row;
};
struct trashing_disk {
    struct disk *disk;
    struct catalog_disk row;
};
struct trashing_set {
    struct set *set;
    struct catalog_set row;
    struct catalog_event event;
};
struct trashing {
    uint64_t trashed_ns, expires_ns;
    unsigned snapshot_count, disk_count, set_count;
    struct trashing_snapshot *snapshots;
    struct trashing_disk *disks;
    struct trashing_set *sets; /* whose last member goes, or whose first comes back */
};
struct trashing *trash_begin(struct op *op, uint64_t trash_s); /* becomes op->data */
void trash_snapshot(struct trashing *trashing, struct snapshot *snapshot);
void trash_disk(struct trashing *trashing, struct disk *disk);
void untrash_snapshot(struct trashing *trashing, struct snapshot *snapshot);
void untrash_disk(struct trashing *trashing, struct disk *disk);
/* Sets follow their members; CONFLICT when one may not now (it is breaking).  trash_steps does it, too: for
 * who wants to see trashing->sets before. */
struct err *trash_decide_sets(struct op *op, struct trashing *trashing) MUST_CHECK;
extern op_step *const trash_steps[]; /* write (audited), apply */
/* plan_trash.c: out of the trash for good; what cannot go now stays. */
void trash_doom_snapshot(struct op *op, struct doomed *doomed, struct snapshot *snapshot);
bool trash_doom_disk(struct op *op, struct doomed *doomed, struct disk *disk);
/* plan_delete.c */
void delete_step_set(struct op *op); /* "name", "unmap" */
/* CONFLICT until its time is over. */
struct err *snapshot_check_not_retained(struct control *control,
                                        const struct snapshot *snapshot) MUST_CHECK;

#endif
