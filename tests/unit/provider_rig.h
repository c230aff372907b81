/*
 * provider_rig.h - what the provider's core needs around it, for its tests: an allocator that keeps
 * account, VSS's records of LUNs, and a Tarn server in memory that speaks the API.
 */
#ifndef TARN_TESTS_PROVIDER_RIG_H
#define TARN_TESTS_PROVIDER_RIG_H

#include "windows/provider/core/provider.h"

/* ---- The allocator: what VSS would own ---------------------------------------------------------
 */

extern struct memory rig_memory;
unsigned rig_live_count(void);            /* blocks that were allocated and not freed */
unsigned rig_wrong_free_count(void);      /* of something else, or twice */
void rig_fail_allocation(unsigned after); /* the one after so many fails; 0 = none does */

/* ---- LUNs as VSS sees them ---------------------------------------------------------------------
 */

/* Built from raw INQUIRY, 80h and 83h bytes, with all their blanks, as VSS does; by code of its
 * own. */
VDS_LUN_INFORMATION rig_lun_from_bytes(const uint8_t *inquiry, const uint8_t *serial_page,
                                       const uint8_t *id_page);
/* Disk number n of the fake server; and somebody else's. */
VDS_LUN_INFORMATION rig_disk_lun(unsigned n);
VDS_LUN_INFORMATION rig_foreign_lun(void);
VDS_LUN_INFORMATION rig_copy_lun(const VDS_LUN_INFORMATION *lun);
bool rig_same_lun(const VDS_LUN_INFORMATION *a, const VDS_LUN_INFORMATION *b);
/* Every pointer of it is a live block of the allocator, and no two are the same. */
bool rig_is_whole(const VDS_LUN_INFORMATION *lun);
void rig_free_lun(VDS_LUN_INFORMATION *lun);

/* ---- The server --------------------------------------------------------------------------------
 */

enum { FAKE_DISKS = 8, FAKE_SETS = 8, FAKE_MAPS = 32 };

struct fake_set {
    char id[PROVIDER_ID_TEXT], state[16];
    bool is_by_hand; /* not cut through VSS */
    unsigned disks[FAKE_DISKS], disk_count;
    bool snapshot_gone[FAKE_DISKS];
    bool is_full;
};

struct fake_server {
    struct transport transport;
    struct provider_os os;
    struct provider_config config;
    uint64_t now_ms;
    unsigned session_count;
    unsigned host_disks; /* disks 0 to this less one are served to the host */
    struct fake_set sets[FAKE_SETS];
    unsigned set_count;
    char maps[FAKE_MAPS][IDENTITY_ID_TEXT]; /* snapshots served to the host; LUN = 100 + index */
    const char *job_state;                  /* of replaces: "running", "done", "failed" */
    const char *job_status;                 /* with failed */
    unsigned reverts, replaces, tries, cancels;
    bool is_away, commit_is_open, is_lying;
    bool is_full, has_no_room_for_copies; /* the pool */
    bool is_served_elsewhere;             /* snapshots: to another host too */
    unsigned renewals, asked_ms;
    const char *fail; /* a request whose path has this in it gets the next two */
    unsigned fail_http;
    const char *fail_status;
    void (*before)(struct fake_server *server,
                   const struct api_request *request); /* another thread's chance */
    unsigned requests, commits, interrupts, lock_depth, events, notes;
    char last_note[EVENT_TEXT_SIZE], last_event[EVENT_TEXT_SIZE], last_path[API_PATH_MAX],
        last_body[4096], commit_path[API_PATH_MAX];
    bool was_locked; /* a request was made under the lock */
    /* The chance of another thread: each time that a lock is let go of and nobody has one. */
    void (*beside)(struct fake_server *server);
    unsigned telling_depth;
    bool is_held;         /* Windows holds writes; the test says so */
    unsigned held_events; /* that were told meanwhile */
};

void fake_init(struct fake_server *server);
struct fake_set *fake_find_set(struct fake_server *server, const char *id);
unsigned fake_snapshot_count(const struct fake_server *server); /* of sets that were not aborted */

#endif
