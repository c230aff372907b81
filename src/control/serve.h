/*
 * serve.h - what hosts see: LUNs and their numbers, reservations, the branches and views that stand
 * behind them, and who uses a disk.
 *
 * Threads: the loop.  A volume is open while a map uses it, and closed when its last task has ended.
 */
#ifndef TARN_CONTROL_SERVE_H
#define TARN_CONTROL_SERVE_H

#include "control/op.h"

/* ---- LUNs ------------------------------------------------------------------------------------ */

/* reservation.c: persistent reservations that outlive a restart. */
struct err *reservations_of(struct control *control, struct served *served,
                            const struct uuid *object) MUST_CHECK; /* made when there are none */
void reservations_forget(struct map *map); /* the host is about to lose it */
struct err *reservations_load(struct control *control,
                              const struct catalog_registration *row) MUST_CHECK;

/* serve.c */
struct err *serve_map(struct control *control,
                      struct map *map) MUST_CHECK; /* takes a LUN and shows it in the host's map */
/* Takes it from the host's map; done when its last task has ended and the view is closed if unused.
 */
void unserve_map(struct map *map, void (*done)(void *arg), void *arg);
/* The map's row, disk and snapshot say what it shows from now on; `old` is what stood behind its LUN.
 * Commands see the one or the other; done when nothing uses the old one through this map. */
struct err *serve_switch(struct control *control, struct map *map, struct served *old,
                         void (*done)(void *arg), void *arg) MUST_CHECK;
/* How many requests of hosts may have changed what it shows. */
uint64_t serve_change_count(const struct served *served);
void serve_free(struct served *served); /* a simulated crash: without waiting */
/* Numbers that could be given to it now. */
unsigned host_free_lun_count(struct control *control, struct host *host);
/* taken (may be NULL): numbers that the caller has chosen already, LIMIT_LUNS_PER_HOST of them. */
struct err *choose_lun(struct control *control, struct host *host, const struct uuid *object,
                       enum catalog_kind kind, const bool *taken, unsigned *ret_lun) MUST_CHECK;
struct err *check_lun(struct control *control, struct host *host, const struct uuid *object,
                      enum catalog_kind kind, uint64_t lun) MUST_CHECK;
struct map *host_map_of(struct host *host, const struct uuid *object); /* NULL */
struct map *host_map_at(struct host *host, uint64_t lun);

/* ---- Private branches and views of snapshots ------------------------------------------------- */

/* branch_private.c: the writable branch of a snapshot that Windows gets, with the snapshot's identity. */
bool snapshot_branch_find(const struct snapshot *snapshot, struct volume_disk_info *ret_info);
struct err *snapshot_check_branch(const struct snapshot *snapshot) MUST_CHECK; /* can one be made? */
/* Makes it if there is none; done later either way. */
void snapshot_branch_make(struct snapshot *snapshot, volume_done_fn *done, void *arg);
bool host_wants_branch(const struct host *host);
/* IN_USE when another host, outside of this one's group, has the branch. */
struct err *branch_check_host(struct control *control, const struct snapshot *snapshot,
                              const struct host *host) MUST_CHECK;

enum { VSS_TEXT_MAX = 320 };
/* view.c: the write-protected view of a snapshot cut through VSS for hosts that are not Windows. */
struct snapshot_viewing { /* the caller's, until done */
    struct snapshot *snapshot;
    struct uuid view;
    char text[VSS_TEXT_MAX]; /* what was found and done */
    volume_done_fn *done;
    void *arg;
};
bool snapshot_needs_view(const struct snapshot *snapshot, bool keeps_flags);
struct err *snapshot_check_view(const struct snapshot *snapshot) MUST_CHECK; /* can it be made? */
bool snapshot_view_find(const struct snapshot *snapshot, struct volume_disk_info *ret_info);
/* Makes it if there is none; done later either way.  The caller holds the general lane. */
void snapshot_view_make(struct control *control, struct snapshot *snapshot,
                        struct snapshot_viewing *viewing, volume_done_fn *done, void *arg);
struct snapshot *inventory_snapshot_of_view(struct control *control, const struct uuid *view);

/* vss_flags.c: clears what VSS leaves in the partition table of what it cuts (hidden, read-only,
 * shadow copy, no drive letter), by ordinary writes to the live view of a disk; done later.  text
 * (may be NULL): what was found and done, for people, when done comes without an error. */
void vss_flags_clear(struct control *control, struct volume_pool *engine, const struct uuid *disk,
                     char text[VSS_TEXT_MAX], volume_done_fn *done, void *arg);
void vss_flags_abandon(struct control *control); /* after the pools: what a crash leaves */

/* ---- Who uses it ----------------------------------------------------------------------------- */

/* use.c */
struct disk_use {
    unsigned map_count, session_count;
    uint64_t last_use_ns; /* how long ago; UINT64_MAX = never */
    bool is_reserved;
    const struct host *host; /* one that is served it; NULL */
};
void disk_use(struct control *control, struct disk *disk, struct disk_use *ret_use);
/* IN_USE while a host uses it or holds a reservation, unless "force", or "resync" of its only host;
 * CONFLICT while a set cuts it. */
struct err *disk_check_quiet(struct op *op, struct disk *disk) MUST_CHECK;
/* The host that asks for a resync; NULL: none does. */
const struct uuid *op_resync_by(const struct op *op);
/* The same, asked by nobody who could force it; resync_by (or NULL): the host that asked for a resync. */
struct err *disk_check_use(struct control *control, struct disk *disk,
                           const struct uuid *resync_by) MUST_CHECK;
void disk_say_who_uses(struct op *op, struct disk *disk, json_t *would); /* for dry runs */

#endif
