/*
 * scsi.h - the SCSI device server: logical units over volumes, the inventories that hosts see, and the
 * execution of commands.  SPC-4, SBC-3, SAM-5.
 *
 * Words: a LUN (struct scsi_lun) is a logical unit: a volume with an identity.  A MAP is one host's
 * inventory: LUN number -> logical unit; every initiator of the host sees the same map.  A NEXUS is one
 * initiator port with one target port (an iSCSI session); it has its own unit attentions.  A TASK is one
 * command.
 *
 *     scsi_task_begin(task, nexus, lun_field, cdb, cdb_size);     // parses; says what it wants
 *     if (task->transfer == SCSI_TRANSFER_OUT) ... transport fetches task->transfer_bytes of data-out
 *     scsi_task_execute(task, done);                              // done: status, sense, data-in
 *     ... send ...;  scsi_task_release(task);
 *
 * Threads: ON_LOOP throughout.  Ownership: see each function; a task's buffers belong to it until
 * scsi_task_release.  Failures: SCSI status and sense in the task, from base/status.def.
 * The data path allocates only from rt_buf; where there is none the task waits.
 */
#ifndef TARN_SCSI_SCSI_H
#define TARN_SCSI_SCSI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "rt/rt.h"
#include "volume/volume.h"

#define SCSI_VENDOR "TARN    "          /* 8 bytes, for ever (MPIO claims by it) */
#define SCSI_PRODUCT "VIRTUAL DISK    " /* 16 bytes, for ever, disks and snapshots alike */
#define SCSI_REVISION "0001"            /* 4 bytes, for ever */

enum {
    SCSI_CDB_MAX = 32,
    SCSI_SENSE_MAX = 252,
    SCSI_STATUS_GOOD = 0x00,
    SCSI_STATUS_CHECK_CONDITION = 0x02,
    SCSI_STATUS_BUSY = 0x08,
    SCSI_STATUS_RESERVATION_CONFLICT = 0x18,
    SCSI_STATUS_TASK_SET_FULL = 0x28,
    SCSI_STATUS_TASK_ABORTED = 0x40,
};

/* ---- Reservations ---------------------------------------------------------------------------- */

enum {
    SCSI_REGISTRATIONS_MAX = 64, /* persistent reservations per logical unit */
    SCSI_NAME_MAX = 224,         /* of iSCSI, and a NUL */
};

/* Names an I_T nexus across sessions (SPC-4 5.13.1: initiator port and relative target port). */
struct scsi_port {
    char name[SCSI_NAME_MAX];
    uint8_t isid[6];
    uint16_t relative_target_port;
};

struct scsi_registration {
    struct scsi_port port;
    uint64_t key;
    uint8_t holds; /* to be stored and restored: the type of the reservation that it holds; 0 = none */
};

struct scsi_reservations_options {
    struct uuid object; /* whose they are */
    /* Stores all registrations of the object in the place of those before (count 0: none); done comes in a later
     * turn, and only then is the command answered.  The registrations are valid during the call.  NULL: nothing is
     * kept over a restart, and REPORT CAPABILITIES says so. */
    void (*store)(void *arg, const struct uuid *object,
                  const struct scsi_registration *registrations, unsigned count,
                  void (*done)(void *done_arg, struct err *e), void *done_arg);
    void *arg;
};

struct scsi_reservations;
struct err *scsi_reservations_create(const struct scsi_reservations_options *options,
                                     struct scsi_reservations **ret_reservations) MUST_CHECK;
void scsi_reservations_destroy(struct scsi_reservations *reservations); /* no LUN has it; accepts NULL */
/* One of those that were stored, in their order; before any LUN has it. */
void scsi_reservations_restore(struct scsi_reservations *reservations,
                               const struct scsi_registration *registration);
/* The initiator is not served the logical unit any more: what it holds and its registrations end. */
void scsi_reservations_forget(struct scsi_reservations *reservations, const char *initiator);

/* ---- Logical units --------------------------------------------------------------------------- */

/* Fixed for life at creation (doc/design/0020-device-server.md). */
struct scsi_identity {
    uint8_t naa[16];    /* NAA 3h: 8 bytes used; NAA 6h: 16 */
    unsigned naa_bytes; /* 8 or 16 */
    char serial[33];    /* 32 hex digits */
};

struct scsi_lun_options {
    struct volume *volume; /* stays the caller's; must outlive the LUN */
    struct scsi_identity identity;
    bool write_protected; /* MODE SENSE WP and DATA PROTECT 27h/00h */
    /* Of the logical unit, shared with other LUNs that stand for it; must outlive them.  NULL: its own. */
    struct scsi_reservations *reservations;
};

struct scsi_lun;
struct err *scsi_lun_create(struct rt *rt, const struct scsi_lun_options *options,
                            struct scsi_lun **ret_lun) MUST_CHECK;
/* Must be on no map, with no task running (scsi_map_remove's done tells).  Accepts NULL. */
void scsi_lun_destroy(struct scsi_lun *lun);
/* While its thin provisioning soft threshold is reached, every nexus is told once (38h/07h): those
 * that are there now, and those that come. */
void scsi_lun_set_threshold_reached(struct scsi_lun *lun, bool is_reached);
/* Does anybody use it?  rt_now of the last command that read or changed blocks (0 = none since it
 * was made), and whether a host holds a reservation or is registered for one. */
uint64_t scsi_lun_last_use_ns(const struct scsi_lun *lun);
bool scsi_lun_is_reserved(const struct scsi_lun *lun);

/* ---- Maps ------------------------------------------------------------------------------------ */

struct scsi_map;
struct err *scsi_map_create(struct rt *rt, struct scsi_map **ret_map) MUST_CHECK;
void scsi_map_destroy(struct scsi_map *map); /* empty, no nexus; accepts NULL */
/* The LUN appears at number (0 to LIMIT_LUNS_PER_HOST - 1): REPORTED LUNS DATA HAS CHANGED for each nexus, once.
 * A lun may stand in several maps. */
struct err *scsi_map_add(struct scsi_map *map, unsigned number, struct scsi_lun *lun) MUST_CHECK;
/* New commands find nothing at once; done(arg) when the last running task there has ended. */
void scsi_map_remove(struct scsi_map *map, unsigned number, void (*done)(void *arg), void *arg);
/* Another logical unit stands at the number from now on; commands that have begun end at the old one, and
 * none finds nothing between.  The nexuses are told that content and mode parameters have changed
 * (28h/00h, 2Ah/01h); done(arg) when the last running task at the old one has ended. */
void scsi_map_replace(struct scsi_map *map, unsigned number, struct scsi_lun *lun,
                      void (*done)(void *arg), void *arg);
struct scsi_lun *scsi_map_find(const struct scsi_map *map, unsigned number);
/* While held, changes raise no unit attention; they are raised (once) on release.  Counts. */
void scsi_map_hold_attention(struct scsi_map *map);
void scsi_map_release_attention(struct scsi_map *map);
/* REPORT LUNS was answered to every live nexus since the last change (LUN numbers may be reused). */
bool scsi_map_is_reported(const struct scsi_map *map);

/* ---- Nexus ----------------------------------------------------------------------------------- */

struct scsi_nexus_options {
    struct scsi_map *map;
    const char *initiator_name; /* iSCSI name */
    uint8_t isid[6];
    const char *target_name;    /* iSCSI name of the target */
    uint16_t target_port_group; /* one per portal */
    uint16_t relative_target_port;
    /* Portals of the target, for REPORT TARGET PORT GROUPS: groups 1 to portal_count, each with the
     * relative port of the same number.  0: this nexus's own group is all that is told. */
    unsigned portal_count;
};
struct scsi_nexus;
/* Starts with 29h/00h (power on, reset) pending for each LUN. */
struct err *scsi_nexus_create(const struct scsi_nexus_options *options,
                              struct scsi_nexus **ret_nexus) MUST_CHECK;
void scsi_nexus_destroy(struct scsi_nexus *nexus); /* no task running; accepts NULL */

/* ---- Tasks ----------------------------------------------------------------------------------- */

enum scsi_transfer { SCSI_TRANSFER_NONE, SCSI_TRANSFER_IN, SCSI_TRANSFER_OUT };

struct scsi_task {
    /* After scsi_task_begin: */
    enum scsi_transfer transfer;
    uint64_t transfer_bytes; /* what the CDB asks for; bounded, else the task is already failed */
    bool finished; /* failed while parsing: status and sense are set; only release it */

    /* Data-out, set by the transport before scsi_task_execute; its memory until done.  Fewer bytes than
     * transfer_bytes is legal (residual overflow): only whole sectors that came are written. */
    struct iovec *out_iov;
    unsigned out_iov_count;
    uint64_t out_bytes;
    /* What the initiator said it would send (iSCSI: Expected Data Transfer Length), where that differs
     * from out_bytes; 0 = out_bytes.  More than transfer_bytes is an error for commands whose data is not
     * a run of blocks (WRITE SAME, COMPARE AND WRITE). */
    uint64_t out_offered_bytes;

    /* After done: */
    uint8_t scsi_status;
    uint8_t sense_bytes;
    uint8_t sense[SCSI_SENSE_MAX];
    struct iovec *in_iov; /* data-in, the task's own memory until release */
    unsigned in_iov_count;
    uint64_t in_bytes;

    /* Private to scsi. */
    void (*done)(struct scsi_task *task);
    struct scsi_nexus *nexus;
    struct scsi_lun *lun;
    struct list_node lun_link;
    unsigned lun_number;
    uint8_t cdb[SCSI_CDB_MAX];
    unsigned cdb_size;
    bool aborted;
    const void *command; /* row of the command table */
    struct volume_io io;
    struct volume_map_query query;
    struct rt_buf_waiter waiter;
    struct rt_message message;
    struct iovec iov[RT_IOV_MAX];
    uint64_t private_[32];
};

/* lun_field: the 8-byte LUN of SAM-5 4.7.  Never calls back; may set finished. */
void scsi_task_begin(struct scsi_task *task, struct scsi_nexus *nexus, const uint8_t lun_field[8],
                     const uint8_t *cdb, unsigned cdb_size);
/* done comes in a later turn of the loop. */
void scsi_task_execute(struct scsi_task *task, void (*done)(struct scsi_task *task));
/* Gives the buffers back.  After done, or instead of execute.  At any other time only after a crash of the
 * rt (it calls back no more), to free what the crash left. */
void scsi_task_release(struct scsi_task *task);
/* The command named an LBA range that a task management function wants gone: the task still runs to done
 * (an engine request cannot be taken back), the transport drops its response. */
static inline void scsi_task_mark_aborted(struct scsi_task *task)
{
    task->aborted = true;
}

/* ---- Task management (the transport knows its tasks; this is what the logical unit does) ----- */

/* LOGICAL UNIT RESET: reservations of SPC-2 released, mode pages reset, 29h/03h to every nexus, the
 * sender's too (SAM-5 6.3.3).  false: no such LUN for this nexus. */
bool scsi_lun_reset(struct scsi_nexus *nexus, const uint8_t lun_field[8]);
/* TARGET WARM or COLD RESET for all LUNs the nexus sees. */
void scsi_target_reset(struct scsi_nexus *nexus);
/* Does this LUN exist for the nexus (also true for the stand-in LUN 0)? */
bool scsi_nexus_has_lun(const struct scsi_nexus *nexus, const uint8_t lun_field[8]);

/* Writes fixed-format sense for a status of base/status.def; returns the length. */
unsigned scsi_sense_fixed(enum status status, uint8_t sense[SCSI_SENSE_MAX]);

#endif
