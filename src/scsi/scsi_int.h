/*
 * scsi_int.h - what the files of the device server share.  Private to src/scsi.
 *
 * Life of a task:  begin (LUN, unit attention, reservation, table row, parse) -> execute -> [buffers] ->
 * run -> {volume requests} -> scsi_complete -> done.  `parse` and `run` are columns of the command table.
 * parse may end the task (scsi_fail...); run must end it, at once or later, with scsi_complete.
 */
#ifndef TARN_SCSI_SCSI_INT_H
#define TARN_SCSI_SCSI_INT_H

#include "base/buf.h"
#include "base/check.h"
#include "base/endian.h"
#include "base/limits.h"
#include "scsi/scsi.h"

/* ---- Bounds, told in VPD page B0h ------------------------------------------------------------ */

enum {
    SCSI_CHUNK_BYTES = 256 * 1024, /* buffers are taken in pieces of this size */
    SCSI_TRANSFER_MAX_SECTORS = LIMIT_TRANSFER_BYTES / SECTOR_BYTES,
    SCSI_UNMAP_DESCRIPTORS_MAX = 256,
    /* Half of LIMIT_UNMAP_BYTES: initiators (and libiscsi's suite) call more than 2^20 blocks insane. */
    SCSI_UNMAP_MAX_SECTORS = 1024 * 1024,
    SCSI_WRITE_SAME_MAX_SECTORS = 32768, /* 16 MiB: bounds the time of one command with a pattern */
    SCSI_COMPARE_MAX_SECTORS = 255, /* one byte in the CDB; fits one batch of the engine (E4) */
    SCSI_REPLY_SMALL = 4096,
    SCSI_REPLY_LARGE = 32768,
    SCSI_PORTALS_MAX = 64,
};

/* ---- Sense ----------------------------------------------------------------------------------- */

enum {
    SENSE_NO_SENSE = 0x0,
    SENSE_NOT_READY = 0x2,
    SENSE_HARDWARE_ERROR = 0x4,
    SENSE_ILLEGAL_REQUEST = 0x5,
    SENSE_UNIT_ATTENTION = 0x6,
    SENSE_ABORTED_COMMAND = 0xB,
    SENSE_MISCOMPARE = 0xE,
};

#define SCSI_ASC(asc, ascq) ((uint16_t)((asc) << 8 | (ascq)))

struct scsi_sense {
    uint8_t key;
    uint16_t asc_ascq;
    bool has_information;
    uint64_t information;
    /* Sense key specific: field pointer (SPC-4 4.5.2.4.2). */
    bool has_field, field_in_cdb, has_bit;
    uint16_t field;
    uint8_t bit;
};
struct scsi_sense scsi_sense_of_status(enum status status);
/* Returns the length; `to` has SCSI_SENSE_MAX bytes. */
unsigned scsi_sense_encode(const struct scsi_sense *sense, bool descriptor_format, uint8_t *to);

/* ---- Unit attentions ------------------------------------------------------------------------- */

/* One bit per condition, the most urgent first; a condition that is pending already merges.  The order is
 * SAM-5's: resets before everything else. */
#define SCSI_ATTENTIONS(X)                                                                         \
    X(POWER_ON, 0x29, 0x00)                                                                        \
    X(RESET, 0x29, 0x03)                                                                           \
    X(RESERVATIONS_PREEMPTED, 0x2A, 0x03)                                                          \
    X(RESERVATIONS_RELEASED, 0x2A, 0x04)                                                           \
    X(REGISTRATIONS_PREEMPTED, 0x2A, 0x05)                                                         \
    X(CONTENT, 0x28, 0x00)                                                                         \
    X(CAPACITY, 0x2A, 0x09)                                                                        \
    X(MODE_PARAMETERS, 0x2A, 0x01)                                                                 \
    X(THRESHOLD, 0x38, 0x07)

enum scsi_attention {
#define X(name, asc, ascq) SCSI_ATTENTION_##name,
    SCSI_ATTENTIONS(X)
#undef X
        SCSI_ATTENTION_COUNT
};
enum { SCSI_ATTENTION_RESETS = 1 << SCSI_ATTENTION_POWER_ON | 1 << SCSI_ATTENTION_RESET };

/* ---- Objects --------------------------------------------------------------------------------- */

bool scsi_port_equal(const struct scsi_port *a, const struct scsi_port *b);

/* Persistent reservations: a plain value. */
struct scsi_pr {
    uint32_t generation;
    unsigned count;
    struct scsi_registration
        *registrations; /* SCSI_REGISTRATIONS_MAX, allocated by the first REGISTER */
    uint8_t type;       /* 0 = no reservation */
    unsigned holder;    /* index; meaningless for the all-registrants types */
    bool is_kept;       /* APTPL of the last REGISTER: it outlives a restart */
};

/* Of one logical unit, whichever LUNs stand for it (a disk is served write-protected to one host and not to
 * another): what one host holds is in force for all. */
struct scsi_reservations {
    struct scsi_reservations_options options;
    struct scsi_pr pr;
    struct scsi_nexus *reserved_by; /* SPC-2 RESERVE */
    struct list luns;               /* scsi_lun.reservations_link */
    struct list preempting; /* PREEMPT AND ABORTs that wait for the tasks they cancelled */
};

enum {
    PR_WRITE_EXCLUSIVE = 1,
    PR_EXCLUSIVE_ACCESS = 3,
    PR_WRITE_EXCLUSIVE_REGISTRANTS = 5,
    PR_EXCLUSIVE_ACCESS_REGISTRANTS = 6,
    PR_WRITE_EXCLUSIVE_ALL = 7,
    PR_EXCLUSIVE_ACCESS_ALL = 8,
};
static inline bool scsi_pr_all_registrants(uint8_t type)
{
    return type >= PR_WRITE_EXCLUSIVE_ALL;
}
int scsi_pr_find(const struct scsi_pr *pr, const struct scsi_port *port); /* -1: not registered */
bool scsi_pr_is_holder(const struct scsi_pr *pr, int index);

struct scsi_mode_state {
    bool write_cache, descriptor_sense, software_write_protect;
};

struct scsi_lun {
    struct rt *rt;
    struct volume *volume;
    struct scsi_identity identity;
    bool write_protected, threshold_is_reached;
    struct scsi_mode_state mode;
    struct scsi_reservations *reservations;
    struct list_node reservations_link;
    bool owns_reservations;
    struct volume_watch watch;
    struct list entries;    /* map entries */
    struct list tasks;      /* begun and not done, in order of arrival */
    uint64_t last_use_ns;   /* rt_now of the last request for blocks; 0 = none */
};

struct scsi_map_entry {
    struct scsi_map *map;
    struct scsi_lun *lun;
    struct list_node lun_link, leaving_link;
    unsigned number;
    unsigned running; /* tasks that hold this entry */
    bool removed;
    bool replaced; /* besides: what has begun still runs here */
    void (*done)(void *arg);
    void *arg;
    struct rt_message message;
};

struct scsi_map {
    struct rt *rt;
    struct scsi_map_entry *entries[LIMIT_LUNS_PER_HOST];
    struct list nexuses;
    struct list leaving; /* removed entries whose last task or answer is under way */
    unsigned held;
    bool changed_while_held;
};

struct scsi_nexus {
    struct scsi_map *map;
    struct list_node map_link;
    struct scsi_port port;
    char target_name[SCSI_NAME_MAX];
    uint16_t target_port_group;
    unsigned portal_count;
    unsigned running;
    bool luns_changed;   /* 3Fh/0Eh pending: once for the nexus, not for each LUN */
    bool inventory_seen; /* REPORT LUNS was answered since the last change */
    uint16_t attention[LIMIT_LUNS_PER_HOST]; /* bits of enum scsi_attention */
};

/* ---- Commands -------------------------------------------------------------------------------- */

/* How a command meets reservations: SPC-4 table 67, SBC-3 table 13 (persistent), SPC-2 table 10 and
 * SBC-2 table 10 (RESERVE). */
enum scsi_access {
    SCSI_ACCESS_FREE,    /* never in conflict */
    SCSI_ACCESS_QUERY,   /* conflicts only with another's RESERVE */
    SCSI_ACCESS_READ,    /* and with exclusive access */
    SCSI_ACCESS_WRITE,   /* and with write exclusive */
    SCSI_ACCESS_RESERVE, /* RESERVE and RELEASE: not while anyone is registered */
    SCSI_ACCESS_PR_OUT,  /* has rules of its own */
};

enum scsi_command_flags {
    SCSI_COMMAND_SERVICE_ACTION = 1 << 0,   /* told apart by CDB byte 1, bits 0 to 4 */
    SCSI_COMMAND_WRITES = 1 << 1,           /* DATA PROTECT on a write-protected logical unit */
    SCSI_COMMAND_PASSES_ATTENTION = 1 << 2, /* runs while a unit attention is pending */
    SCSI_COMMAND_ANY_LUN = 1 << 3,          /* answered where there is no logical unit */
};

struct scsi_command {
    const char *name;
    uint8_t opcode, service_action, cdb_bytes;
    uint8_t access; /* enum scsi_access */
    uint8_t flags;
    uint8_t allocation_at,
        allocation_bytes; /* where the CDB has its ALLOCATION LENGTH; bytes 0: nowhere */
    uint16_t reply_bytes; /* bound of the parameter data it returns */
    uint16_t timeout_s;   /* recommended, for REPORT SUPPORTED OPERATION CODES */
    void (*parse)(struct scsi_task *task); /* may be NULL */
    void (*run)(struct scsi_task *task);
    uint8_t usage[16]; /* CDB usage bitmap */
};
extern const struct scsi_command scsi_commands[];
extern const unsigned scsi_command_count;
/* NULL: not supported; *ret_opcode_known tells whether the service action is what is unknown. */
const struct scsi_command *scsi_command_find(uint8_t opcode, uint8_t service_action,
                                             bool *ret_opcode_known);

/* ---- A task's private state ------------------------------------------------------------------ */

enum scsi_task_phase { SCSI_PHASE_BEGUN, SCSI_PHASE_BUFFERS, SCSI_PHASE_RUNNING, SCSI_PHASE_DONE };

struct scsi_task_state {
    struct rt *rt;
    struct scsi_map_entry *entry; /* NULL: no logical unit */
    enum scsi_task_phase phase;
    uint64_t lba, sectors; /* the range of the CDB */
    uint64_t allocation_bytes;
    uint32_t need_bytes; /* buffers to have before run: iov[0..], SCSI_CHUNK_BYTES each */
    uint32_t have_bytes;
    struct rt_timer patience;
    struct buf_writer reply;
    bool fua, unmap_to_end;
    bool cancelled;    /* its initiator was preempted: do nothing more */
    bool preempting;   /* on lun->reservations->preempting, by query.link */
    uint8_t compare;   /* BYTCHK */
    uint64_t progress; /* sectors, descriptors...: the command's own */
    uint64_t step;
    uint64_t spare[2];
};
check_static(sizeof(struct scsi_task_state) <= sizeof((struct scsi_task *)0)->private_);

static inline struct scsi_task_state *scsi_state(struct scsi_task *task)
{
    return (struct scsi_task_state *)(void *)task->private_;
}
static inline const struct scsi_command *scsi_command_of(const struct scsi_task *task)
{
    return (const struct scsi_command *)task->command;
}

/* ---- Ending a task (task.c, sense.c) --------------------------------------------------------- */

/* These set status and sense only.  In parse that ends the task; in run, scsi_complete must follow. */
void scsi_fail_sense(struct scsi_task *task, const struct scsi_sense *sense);
void scsi_fail(struct scsi_task *task, enum status status);
void scsi_fail_asc(struct scsi_task *task, uint8_t key, uint16_t asc_ascq);
void scsi_fail_cdb(struct scsi_task *task, unsigned byte, int bit); /* bit < 0: the whole byte */
void scsi_fail_parameter(struct scsi_task *task, unsigned byte);
void scsi_fail_lba(struct scsi_task *task, uint64_t lba);
void scsi_fail_status(struct scsi_task *task, uint8_t scsi_status);

void scsi_complete(struct scsi_task *task);       /* from a callback of rt */
void scsi_complete_later(struct scsi_task *task); /* from run */
static inline bool scsi_has_failed(const struct scsi_task *task)
{
    return task->scsi_status != SCSI_STATUS_GOOD;
}

/* ---- Data (task.c) --------------------------------------------------------------------------- */

/* Copies data-out bytes [offset, +size) to `to`; false when they did not come. */
bool scsi_out_copy(const struct scsi_task *task, uint64_t offset, void *to, size_t size_bytes);
/* Describes bytes [offset, +size) of iov in `to` (at most max entries); returns the count, 0 = too many. */
unsigned scsi_iov_slice(const struct iovec *iov, unsigned iov_count, uint64_t offset,
                        uint64_t size_bytes, struct iovec *to, unsigned max);
/* Parameter data: run writes to scsi_state(task)->reply, then this cuts it to the allocation length. */
void scsi_reply_done(struct scsi_task *task);

/* ---- Ranges (rw.c) --------------------------------------------------------------------------- */

uint64_t scsi_lun_sectors(const struct scsi_lun *lun);
/* Reads LBA and length by the CDB's size into the state and checks them against the capacity. */
bool scsi_parse_range(struct scsi_task *task);
bool scsi_check_range(struct scsi_task *task, uint64_t lba, uint64_t sectors);
bool scsi_check_protect(
    struct scsi_task *task); /* RDPROTECT, WRPROTECT, VRPROTECT: none supported */
bool scsi_check_transfer(struct scsi_task *task); /* LIMIT_TRANSFER_BYTES */
void scsi_submit(struct scsi_task *task, enum volume_op op, uint64_t lba, uint64_t sectors,
                 const struct iovec *iov, unsigned iov_count, void (*done)(struct volume_io *io));
/* Writes what came of the task's data to its range; the first entries of task->iov are kept as they are. */
void scsi_submit_write(struct scsi_task *task, unsigned kept, void (*done)(struct volume_io *io));
static inline struct scsi_task *scsi_task_of_io(struct volume_io *io)
{
    return container_of(io, struct scsi_task, io);
}
/* The end of a command of one volume request. */
void scsi_io_done(struct volume_io *io);
/* Is there no point in going on? */
static inline bool scsi_is_aborted(struct scsi_task *task)
{
    return task->aborted || scsi_state(task)->cancelled;
}
/* Ends the task when its request failed or the task was aborted in between; true = ended. */
bool scsi_io_ended(struct scsi_task *task);
unsigned scsi_write_flags(struct scsi_task *task);

/* ---- Parts ----------------------------------------------------------------------------------- */

struct scsi_map_entry *scsi_map_lookup(const struct scsi_map *map, const uint8_t lun_field[8],
                                       unsigned *ret_number);
void scsi_map_entry_hold(struct scsi_map_entry *entry);
void scsi_map_entry_drop(struct scsi_map_entry *entry);

/* Raises a condition on every nexus that sees the LUN, but `except` (may be NULL). */
void scsi_lun_raise(struct scsi_lun *lun, enum scsi_attention attention,
                    const struct scsi_nexus *except);
/* For a nexus and a LUN that are new to each other: these bits, and what lasts. */
uint16_t scsi_attention_first(const struct scsi_lun *lun, unsigned bits);
void scsi_lun_raise_for_port(struct scsi_lun *lun, enum scsi_attention attention,
                             const struct scsi_port *port);
bool scsi_lun_is_write_protected(const struct scsi_lun *lun);
void scsi_mode_reset(struct scsi_mode_state *mode);

/* Takes the most urgent condition of the mask (0xFFFF = all); false when there is none. */
bool scsi_attention_take(struct scsi_nexus *nexus, unsigned number, unsigned mask,
                         struct scsi_sense *ret_sense);

/* Is the command refused by a reservation of another nexus? */
bool scsi_reservation_conflicts(const struct scsi_task *task);
/* A task that may have been cancelled has ended. */
void scsi_pr_task_ended(struct scsi_lun *lun);
void scsi_release_reservations_of(struct scsi_nexus *nexus, struct scsi_lun *lun);

void scsi_vpd_run(struct scsi_task *task);

/* The handlers named in the command table. */
/* clang-format off */
#define SCSI_HANDLERS(X)                                                                           \
    X(inquiry_parse) X(inquiry_run) X(test_unit_ready_run) X(request_sense_run)                    \
    X(report_luns_parse) X(report_luns_run) X(read_capacity_10_parse) X(read_capacity_10_run)      \
    X(read_capacity_16_run) X(read_parse) X(read_run) X(write_parse) X(write_run)                  \
    X(sync_parse) X(sync_run) X(prefetch_parse) X(nothing_run) X(start_stop_parse)                 \
    X(mode_sense_parse) X(mode_sense_run) X(mode_select_parse) X(mode_select_run)                  \
    X(log_sense_parse) X(log_sense_run) X(verify_parse) X(verify_run) X(write_verify_parse)        \
    X(write_verify_run) X(write_same_parse) X(write_same_run) X(unmap_parse) X(unmap_run)          \
    X(lba_status_parse) X(lba_status_run) X(compare_write_parse) X(compare_write_run)              \
    X(or_write_parse) X(or_write_run) X(reserve_run) X(release_run) X(rsoc_parse) X(rsoc_run)      \
    X(defect_data_run) X(rstmf_run) X(rtpg_parse) X(rtpg_run) X(pr_read_keys_run) X(pr_read_reservation_run)          \
    X(pr_capabilities_run) X(pr_full_status_run) X(pr_out_parse) X(pr_out_run)
#define X(name) void scsi_##name(struct scsi_task *task);
SCSI_HANDLERS(X)
#undef X
/* clang-format on */

#endif
