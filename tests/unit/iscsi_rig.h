/*
 * iscsi_rig.h - an iSCSI server in a simulated world, and an initiator that speaks raw PDUs to it.
 *
 *     struct rig rig; rig_init(&rig, 0);
 *     struct wire *w = wire_login(&rig, "iqn.2026-11.test:one", NULL);
 *     struct wire_pdu p;
 *     uint32_t itt = wire_read(w, 0, 8);  require(wire_next(w, &p)); ...
 *     wire_close(w); rig_fini(&rig);          // checks that nothing is left
 *
 * The server has two disks of 16 MiB, LUN 0 and 1 of one map; host "chap" must authenticate.
 */
#ifndef TARN_TESTS_UNIT_ISCSI_RIG_H
#define TARN_TESTS_UNIT_ISCSI_RIG_H

#include "iscsi/iscsi.h"
#include "iscsi/keys.h"
#include "iscsi/pdu.h"
#include "tests/lib/memvol.h"
#include "tests/lib/tap.h"
#include "tests/sim/sim.h"

#define RIG_TARGET "iqn.2026-11.local.tarn:rig"
#define RIG_ONE "iqn.2026-11.test:one"
#define RIG_TWO "iqn.2026-11.test:two"
#define RIG_CHAP "iqn.2026-11.test:chap"
#define RIG_MUTUAL "iqn.2026-11.test:mutual"
#define RIG_SECRET "correct horse battery"
#define RIG_OUR_SECRET "staple of our own"

struct rig {
    struct sim *sim;
    struct sim_node *node;
    struct rt *rt, *client;
    struct volume_pool *pool;
    struct volume *volumes[2];
    struct scsi_lun *luns[2];
    struct scsi_map *map;
    struct iscsi_server *server;
    unsigned ups, downs;
    int host_one, host_two; /* their addresses name the hosts */
    bool closed, crashed;
    uint64_t idle_bytes; /* of rt_buf */
};

extern uint8_t rig_pattern[4 * MIB]; /* random bytes to write */

enum { WIRE_BUFFER_BYTES = 6 * 1024 * 1024 };

struct wire {
    struct rig *rig;
    struct rt_sock *sock;
    struct rt_sock_io recv, send;
    struct iovec recv_iov, send_iov;
    uint8_t *buffer;
    size_t start, end;
    bool receiving, sent, gone; /* gone: the server closed the stream */
    bool header_digest, data_digest;
    uint32_t cmd_sn, exp_stat_sn, max_cmd_sn, next_itt;
    uint8_t isid[6];
    uint16_t tsih, cid;
    uint8_t login_flags; /* of the last login response */
    uint16_t login_status;
    char login_text[16384];
    uint32_t login_text_bytes;
};

struct wire_pdu {
    uint8_t bhs[ISCSI_BHS_BYTES];
    uint8_t opcode, flags;
    uint32_t itt, data_bytes;
    const uint8_t *data; /* until the next wire_next */
};

void rig_init(struct rig *rig, uint64_t buffer_bytes);
/* Ends it all; returns how much went wrong below: digests, serial numbers, what was left over. */
unsigned rig_end(struct rig *rig);
static inline void rig_fini(struct rig *rig)
{
    expect_eq(rig_end(rig), 0);
}
void rig_run_ms(struct rig *rig, uint64_t ms);

struct wire *wire_connect(struct rig *rig);
void wire_close(struct wire *w);
/* The server ends the stream: soon (long before it would miss a ping), or within some time. */
bool wire_is_gone(struct wire *w);
bool wire_is_gone_within(struct wire *w, uint64_t seconds);

/* Raw bytes, whole PDUs, headers. */
void wire_send_bytes(struct wire *w, const void *data, size_t size_bytes);
void wire_send(struct wire *w, uint8_t bhs[ISCSI_BHS_BYTES], const void *data, uint32_t data_bytes);
bool wire_next(struct wire *w, struct wire_pdu *ret_pdu);
/* The next PDU has this opcode and ITT. */
bool wire_expect(struct wire *w, uint8_t opcode, uint32_t itt, struct wire_pdu *ret_pdu);
bool wire_is_silent(struct wire *w); /* nothing comes for a second */

/* Login.  Text is given with '\n' for NUL; keys of the answer are found by wire_answer. */
void wire_login_send(struct wire *w, uint8_t flags, const char *text);
bool wire_login_step(struct wire *w, uint8_t flags, const char *text);
const char *wire_answer(const struct wire *w, const char *name);
/* A normal session without security; keys NULL = a usual set. */
struct wire *wire_login(struct rig *rig, const char *initiator, const char *keys);
struct wire *wire_login_isid(struct rig *rig, const char *initiator, const char *keys,
                             uint8_t isid);
/* The same, and TEST UNIT READY until the power-on attention is gone. */
struct wire *wire_session(struct rig *rig, const char *keys);

/* Commands.  Returns the ITT. */
uint32_t wire_command(struct wire *w, uint8_t flags, unsigned lun, const uint8_t cdb[16],
                      uint32_t edtl, const void *immediate, uint32_t immediate_bytes);
uint32_t wire_read(struct wire *w, uint32_t sector, uint16_t count);
void wire_data_out(struct wire *w, uint8_t flags, uint32_t itt, uint32_t ttt, uint32_t data_sn,
                   uint32_t offset, const void *data, uint32_t size_bytes);
uint32_t wire_tmf(struct wire *w, uint8_t function, unsigned lun, uint32_t referenced);
uint8_t wire_status(struct wire *w,
                    uint32_t itt); /* of the SCSI Response that must come next, or 0xFF */
void wire_cdb10(uint8_t cdb[16], uint8_t opcode, uint32_t sector, uint16_t count);
/* The content of LUN 0 as a read sees it: true when equal to `expected`. */
bool wire_reads_as(struct wire *w, uint32_t sector, const void *expected, uint32_t size_bytes);
/* A write to LUN 0 with everything immediate; its status. */
uint8_t wire_write_now(struct wire *w, uint32_t sector, const void *data, uint32_t size_bytes);
/* Sends what an R2T asks for, in segments. */
void wire_answer_r2t(struct wire *w, const struct wire_pdu *r2t, const uint8_t *data,
                     uint32_t segment);
/* Sense key << 16 | ASC << 8 | ASCQ of a SCSI Response. */
uint32_t wire_sense(const struct wire_pdu *p);

#endif
