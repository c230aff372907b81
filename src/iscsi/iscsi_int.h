/*
 * iscsi_int.h - what the files of the iSCSI target share: a connection with its session (there is
 * one connection per session), its tasks, and its two directions.
 *
 *     server.c    portals, accept, teardown            login.c     login phase (keys.c, chap.c)
 *     receive.c   bytes -> PDUs, digests               session.c   full feature phase, CmdSN, NOP,
 * logout transmit.c  queue -> PDUs -> one sendmsg         text.c      SendTargets, text
 * continuation task.c      a SCSI command's life, data-out      tmf.c       task management
 *
 * Lifetime: a connection dies in two steps.  conn_fail or conn_close stops it at once and closes
 * the socket; when the socket has gone, nothing of it runs in the engine and no message is under
 * way, it is freed by conn_reap, which is the last thing any callback does.  Between the two steps
 * its tasks still own their memory: the kernel may be reading or writing it.
 *
 * Serial numbers: CmdSN orders commands; ExpCmdSN and MaxCmdSN tell the window; StatSN numbers
 * responses and is given out when a PDU is built, so that it follows the order on the wire.
 */
#ifndef TARN_ISCSI_INT_H
#define TARN_ISCSI_INT_H

#include "base/list.h"
#include "iscsi/chap.h"
#include "iscsi/iscsi.h"
#include "iscsi/keys.h"
#include "iscsi/pdu.h"

enum {
    WINDOW_COMMANDS = 128, /* commands an initiator may have open */
    IMMEDIATE_COMMANDS = 8,
    TX_TASKS_MAX = 64, /* answered, their last bytes still with the kernel */
    TASK_SLOTS = WINDOW_COMMANDS + IMMEDIATE_COMMANDS + TX_TASKS_MAX,
    TASK_BUCKETS = 256,
    /* COMPARE AND WRITE carries its data twice. */
    TASK_BUFFER_BYTES = 1024 * 1024,
    TASK_BUFFERS = 2 * LIMIT_TRANSFER_BYTES / TASK_BUFFER_BYTES,

    RX_BUFFER_BYTES = 128 * 1024,
    RX_DIRECT_BYTES = 8 * 1024,   /* from here on data is received in place instead of copied */
    TX_SCRATCH_BYTES = 12 * 1024, /* headers, digests, padding and sense of one sendmsg */
    TX_BATCH_BYTES = 2 * 1024 * 1024,
    REPLIES = 16,

    LOGIN_TEXT_MAX = 16 * 1024, /* all continued requests of one negotiation step */
    LOGIN_SEGMENT_MAX = 8192,   /* MaxRecvDataSegmentLength during login (RFC 7143 13.12) */
    TEXT_MAX = 8192,
    TMF_SLOTS = 32, /* of the whole server */

    /* Connections that have proved nothing: before the end of login, and discovery. */
    STRANGERS_MAX = 128,
    STRANGERS_PER_ADDRESS_MAX = 32,

    LOGIN_TIMEOUT_S = 15,
    DISCOVERY_LIFE_S = 60,
    NOP_DEFAULT_S = 15,
    DATA_TIMEOUT_S = 60, /* an initiator that leaves a write unfinished for so long is dropped */
    PARKED_TIMEOUT_S = 20,
    LOGOUT_REQUEST_S = 3,
};
#define BUFFER_PATIENCE_NS                                                                         \
    (50 * RT_MS) /* then a write that no memory was found for gets TASK SET FULL */

struct iscsi_conn;
struct iscsi_task;

/* ---- Transmission -------------------------------------------------------------------------------
 */

enum out_kind { OUT_REPLY, OUT_R2T, OUT_DATA, OUT_RESPONSE };

struct iscsi_out {
    struct list_node link; /* in conn->tx.queue or tx.flying */
    enum out_kind kind;
};

enum stat_use { STAT_NEXT, STAT_SHOW }; /* takes a StatSN, or only tells the next one */

enum reply_after { AFTER_NOTHING, AFTER_CLOSE, AFTER_LOGIN };

/* Everything that is neither Data-In, R2T nor SCSI Response. */
struct iscsi_reply {
    struct iscsi_out out;
    bool used;
    enum stat_use stat;
    enum reply_after after;
    uint8_t bhs[ISCSI_BHS_BYTES];
    uint8_t inline_data[ISCSI_BHS_BYTES]; /* Reject: the header */
    const void *data;
    uint32_t data_bytes;
    void *buffer; /* of rt_buf, given back when sent */
    size_t buffer_bytes;
};

struct iscsi_tx {
    struct list queue, flying;
    struct rt_sock_io io;
    struct iovec iov[RT_IOV_MAX];
    unsigned iov_count;
    uint8_t scratch[TX_SCRATCH_BYTES];
    size_t scratch_used;
    size_t batch_bytes;
    bool sending, posted;
    struct rt_message message;
    bool header_digest, data_digest;
};

/* ---- Reception ---- */

enum rx_state { RX_HEADER, RX_DISPATCH, RX_DATA, RX_TAIL };

/* What a dispatcher says about a PDU whose header has come. */
enum rx_verdict {
    RX_TAKE, /* the data segment goes to rx.dest, or nowhere */
    RX_WAIT, /* something is short: ask again later (receive_resume) */
    RX_STOP, /* the connection is closing */
};

struct iscsi_rx {
    uint8_t *buffer;
    size_t start, end;
    enum rx_state state;
    bool receiving, waiting;
    struct rt_sock_io io;
    struct iovec iov[TASK_BUFFERS + 1];
    unsigned iov_count;
    size_t direct_bytes; /* of the receive under way: how much goes to dest */
    uint8_t header[ISCSI_HEADER_MAX];
    struct iscsi_pdu pdu;
    uint32_t data_left;
    uint32_t crc;
    unsigned tail_bytes;
    /* Where the data segment goes: dest_iov from dest_at on, at most dest_left bytes, the rest is
     * dropped. */
    struct iovec dest[TASK_BUFFERS];
    unsigned dest_count, dest_index;
    struct iscsi_task *task; /* whose Data-Out or immediate data is coming in */
    void *bulk;              /* of rt_buf: the data segment of a NOP-Out */
    size_t bulk_bytes;
    struct iscsi_reply *reply; /* taken when the header came, sent when the data has */
    bool header_digest, data_digest;
};

/* ---- Tasks ---- */

enum task_state {
    TASK_FREE,
    TASK_PARKED,    /* a write that waits for memory; nothing was asked of the initiator */
    TASK_DATA_OUT,  /* its data is coming */
    TASK_EXECUTING, /* in the device server */
    TASK_SENDING,   /* its answer is queued or being sent */
};

struct iscsi_task {
    struct iscsi_out out;
    struct iscsi_conn *conn;
    uint16_t index, hash_next; /* hash_next: index + 1 */
    enum task_state state;
    uint32_t itt, edtl;
    uint32_t tmf_mask; /* the task management functions that wait for it */
    uint16_t sequence; /* of its slot, in the target transfer tag */
    uint8_t lun[8];
    bool read, write, immediate, aborted, answered;
    bool media; /* reads or writes blocks: counted */
    uint64_t started_ns;
    struct list_node parked_link;

    /* Data-out.  Everything comes in order (DataPDUInOrder, DataSequenceInOrder). */
    uint32_t expect;    /* min(EDTL, what the CDB asks for) */
    uint32_t received;  /* offset of the next byte */
    uint32_t segment;   /* of the data segment coming in */
    uint32_t burst_end; /* of the burst coming in */
    uint32_t asked;     /* offset up to which R2Ts were sent */
    uint32_t data_sn;   /* expected in this burst */
    uint32_t r2t_sent, r2t_done;
    bool unsolicited; /* more data comes unasked */
    bool burst_final; /* the segment coming in ends its burst */
    bool failed;      /* answered with `sense_*` or `refuse_status` when the data has passed */
    uint8_t sense_key, sense_asc, sense_ascq;
    uint8_t refuse_status;
    struct iovec buffers[TASK_BUFFERS];
    size_t buffer_sizes[TASK_BUFFERS];
    unsigned buffer_count;

    /* Data-in. */
    uint32_t send_bytes, sent, burst_sent, data_in_sn;
    unsigned in_index;
    size_t in_at;
    bool building; /* at least one PDU of the answer was built */

    struct scsi_task scsi;
};

/* ---- Task management ---- */

struct iscsi_tmf {
    bool used;
    struct iscsi_conn *conn; /* NULL: it has gone, nobody waits for the answer */
    uint8_t function;
    uint32_t itt;
    unsigned pending;
    uint8_t response;
    struct iscsi_reply *reply; /* held since the request came */
};

/* ---- Connections ---- */

enum conn_state {
    CONN_LOGIN,
    CONN_REINSTATING, /* login done, but an old session of the same nexus is still dying */
    CONN_FULL,
    CONN_LOGGED_OUT, /* the logout response is on its way; nothing more is read */
    CONN_CLOSING,
};

enum login_stage { STAGE_SECURITY = 0, STAGE_OPERATIONAL = 1, STAGE_FULL = 3, STAGE_NONE = 4 };

struct iscsi_login {
    enum login_stage stage;
    bool started, discovery, authenticated, method_chosen;
    bool told_portal_group;
    uint32_t itt;
    char *text; /* of continued requests, LOGIN_TEXT_MAX; with the answer behind it */
    uint32_t text_bytes;
    char *answer; /* LOGIN_SEGMENT_MAX */
    const struct iscsi_chap_algorithm *chap;
    uint8_t chap_id;
    uint8_t challenge[ISCSI_CHAP_DIGEST_MAX];
    struct iscsi_keys keys;
    struct iscsi_reply *held; /* the last response, while reinstating */
    char target_name[ISCSI_NAME_MAX + 1];
};

struct iscsi_text {
    char *request; /* TEXT_MAX, continued */
    uint32_t request_bytes;
    char *answer; /* TEXT_MAX, sent piece by piece */
    uint32_t answer_bytes, answer_at;
    uint32_t itt;
    bool active;
    struct iscsi_reply reply;
};

struct iscsi_conn {
    struct list_node link; /* in server->conns */
    struct iscsi_server *server;
    struct rt *rt;
    struct rt_sock *sock; /* NULL when it has gone */
    enum conn_state state;
    unsigned portal_index;
    bool sock_closed;
    bool resume_posted;
    struct rt_message resume_message;
    struct rt_timer timer;    /* login, pings, unfinished writes */
    struct rt_timer patience; /* BUFFER_PATIENCE_NS */
    struct rt_buf_waiter buf_waiter;
    bool buf_waiting, starved;
    struct iscsi_rx rx;
    struct iscsi_tx tx;
    struct iscsi_reply replies[REPLIES];
    struct iscsi_reply ping, notice; /* always there: NOP-In of our own, Async Message */
    struct iscsi_login login;
    struct iscsi_text text;

    /* The session. */
    char initiator_name[ISCSI_NAME_MAX + 1];
    struct iscsi_access access;
    bool has_access, announced;
    uint8_t isid[6];
    uint16_t tsih, cid;
    struct iscsi_params {
        bool initial_r2t, immediate_data;
        uint32_t max_send_segment, max_burst, first_burst, max_r2t;
    } params;
    uint32_t exp_cmd_sn, stat_sn;
    unsigned window_used, immediate_used;
    bool discovery;
    struct scsi_nexus *nexus;
    struct iscsi_task *tasks;
    uint16_t buckets[TASK_BUCKETS]; /* index + 1 */
    uint16_t free_slots[TASK_SLOTS];
    unsigned free_count, executing;
    struct list parked;
    uint64_t started_ns, last_rx_ns, ping_sent_ns, last_io_ns;
    bool ping_pending;
    uint64_t reads, writes, read_bytes, write_bytes;
};

struct iscsi_portal {
    struct iscsi_server *server;
    unsigned index;
    struct rt_listener *listener;
    char *listen, *advertise;
};

struct iscsi_drop {
    struct list_node link;
    void *host;
    void (*done)(void *arg);
    void *arg;
    struct iscsi_server *server;
    struct rt_message message;
};

struct iscsi_server {
    struct rt *rt;
    char *target_name, *target_alias;
    struct iscsi_access_ops ops;
    void *arg;
    unsigned portal_count;
    struct iscsi_portal portals[ISCSI_PORTALS_MAX];
    uint64_t nop_interval_ns, nop_timeout_ns;
    struct list conns;
    unsigned conn_count, session_count;
    uint16_t last_tsih;
    struct iscsi_tmf tmfs[TMF_SLOTS];
    struct list drops;
    uint64_t log_until_ns; /* guard.c */
    unsigned log_lines, log_suppressed;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    struct rt_timer close_timer;
    struct rt_message close_message;
};

/* server.c */
void conn_close(struct iscsi_conn *conn);
/* Closes after something the peer or the network did; says why in the log, once. */
void conn_fail(struct iscsi_conn *conn, const char *why);

/* guard.c: why a connection from this peer is not taken; NULL: it is. */
const char *guard_refusal(const struct iscsi_server *server, const char *peer);
/* Of what strangers do, a few lines are logged and the rest counted. */
bool guard_may_log(struct iscsi_server *server);
/* Frees a dead connection when nothing refers to it any more.  The last thing a callback does. */
void conn_reap(struct iscsi_conn *conn);
bool conn_is_open(const struct iscsi_conn *conn);

/* receive.c */
void receive_init(struct iscsi_conn *conn);
void receive_start(struct iscsi_conn *conn);
/* Something that a dispatcher waited for may be there: goes on in a later turn. */
void receive_resume(struct iscsi_conn *conn);
/* The bulk buffer for the data segment of this PDU as destination; false: memory is short. */
bool receive_into_bulk(struct iscsi_conn *conn);
void receive_drop_bulk(struct iscsi_conn *conn);

/* transmit.c */
void transmit_init(struct iscsi_conn *conn);
void transmit_kick(struct iscsi_conn *conn);
void transmit_queue(struct iscsi_conn *conn, struct iscsi_out *out);
/* A free reply with its header begun, or NULL (the dispatcher then waits). */
struct iscsi_reply *reply_get(struct iscsi_conn *conn, enum iscsi_opcode opcode, uint8_t flags);
/* The same for one that is kept for a purpose; false while it is on its way. */
bool reply_take(struct iscsi_reply *reply, enum iscsi_opcode opcode, uint8_t flags);
void reply_send(struct iscsi_conn *conn, struct iscsi_reply *reply);
void reply_release(struct iscsi_conn *conn, struct iscsi_reply *reply);
/* Fills StatSN, ExpCmdSN, MaxCmdSN. */
void put_serials(struct iscsi_conn *conn, uint8_t *bhs, enum stat_use use);
uint32_t max_cmd_sn(const struct iscsi_conn *conn);

/* login.c */
enum rx_verdict login_begin(struct iscsi_conn *conn);
void login_end(struct iscsi_conn *conn);
void login_fini(struct iscsi_conn *conn);
/* The last response went out: full feature phase. */
void login_sent(struct iscsi_conn *conn);
/* An old session has gone; those that waited for it may go on. */
void login_resume_waiting(struct iscsi_server *server);

/* session.c */
enum rx_verdict session_begin(struct iscsi_conn *conn);
void session_end(struct iscsi_conn *conn);
enum status session_init(struct iscsi_conn *conn);
void session_fini(struct iscsi_conn *conn);
void session_tick(struct rt_timer *timer);
/* Queues a Reject with the header of the PDU being received; RX_WAIT when no reply is free. */
enum rx_verdict session_reject(struct iscsi_conn *conn, enum iscsi_reject reason);
void session_request_logout(struct iscsi_conn *conn);

/* text.c */
enum rx_verdict text_begin(struct iscsi_conn *conn);
void text_end(struct iscsi_conn *conn);
void text_fini(struct iscsi_conn *conn);

/* task.c */
enum rx_verdict task_command_begin(struct iscsi_conn *conn);
enum rx_verdict task_data_begin(struct iscsi_conn *conn);
/* The data segment of rx.task has come. */
void task_segment_end(struct iscsi_conn *conn);
struct iscsi_task *task_find(struct iscsi_conn *conn, uint32_t itt);
void task_release(struct iscsi_task *task);
void task_abandon(struct iscsi_task *task); /* after a crash of the rt: only frees */
/* Its answer has gone to the kernel. */
void task_sent(struct iscsi_task *task);
/* Takes it out of the world; true when it has gone already, false when it must first end. */
bool task_abort(struct iscsi_task *task);
/* Goes on when some memory has come back: parked writes first, then reception. */
void task_wait_for_buffers(struct iscsi_conn *conn);
void task_buffers_came(struct iscsi_conn *conn);
/* Writes that no memory was found for in all this time get TASK SET FULL. */
void task_expire_parked(struct iscsi_conn *conn, uint64_t now_ns);
uint32_t task_transfer_tag(const struct iscsi_task *task, uint32_t r2t_sn);

/* tmf.c */
enum rx_verdict tmf_begin(struct iscsi_conn *conn);
void tmf_task_ended(struct iscsi_server *server, uint32_t mask);
void tmf_conn_closing(struct iscsi_conn *conn);

#endif
