/*
 * Bytes from an initiator, before or after login, against a whole server in a simulated world.  The
 * first byte says what went before; what follows is cut into PDUs whose fields are put right where
 * otherwise hardly any input would get far (lengths, CmdSN, task tags), or taken raw.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "tests/unit/iscsi_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAW = 1, LOGGED_IN = 2, DIGESTS = 4, HELD = 8, STRICT = 16 };

/* One PDU made of up to 24 bytes of input; returns how many were used. */
static size_t send_shaped(struct wire *w, const uint8_t *data, size_t size)
{
    static const uint8_t opcodes[] = {
        ISCSI_OP_NOP_OUT,  ISCSI_OP_COMMAND, ISCSI_OP_TMF_REQUEST,  ISCSI_OP_TEXT_REQUEST,
        ISCSI_OP_DATA_OUT, ISCSI_OP_COMMAND, ISCSI_OP_DATA_OUT,     ISCSI_OP_LOGOUT_REQUEST,
        ISCSI_OP_SNACK,    ISCSI_OP_COMMAND, ISCSI_OP_LOGIN_REQUEST};
    uint8_t in[24] = {0}, bhs[ISCSI_BHS_BYTES], payload[9000];
    size_t used = size < sizeof in ? size : sizeof in;
    memcpy(in, data, used);
    iscsi_pdu_start(bhs, opcodes[in[0] % sizeof opcodes], in[1]);
    if (in[0] & 0x80) bhs[0] |= ISCSI_OP_IMMEDIATE;
    bhs[ISCSI_AT_LUN + 1] = in[2] % 3;
    store_be32(bhs + ISCSI_AT_ITT, in[3] % 8);
    memcpy(bhs + ISCSI_AT_TTT, in + 4, 4); /* also EDTL and the referenced tag */
    if (bhs[0] == ISCSI_OP_DATA_OUT && in[4] & 1) {
        /* A tag that may be right: slot, use of the slot, R2T. */
        store_be32(bhs + ISCSI_AT_TTT,
                   (uint32_t)(in[5] % 4) << 24 | (uint32_t)(in[6] % 4) << 8 | in[7] % 3);
    } else if ((bhs[0] & ISCSI_OP_MASK) == ISCSI_OP_COMMAND) {
        bhs[ISCSI_AT_EDTL] = 0;
    } else if (in[4] & 2) {
        store_be32(bhs + ISCSI_AT_TTT, in[4] & 4 ? ISCSI_TAG_NONE : in[5] % 8);
    }
    store_be32(bhs + ISCSI_AT_CMDSN, w->cmd_sn + (in[8] == 0xFF ? in[9] : 0));
    memcpy(bhs + ISCSI_AT_CDB, in + 10, 14);
    static const uint8_t cdbs[] = {0x28, 0x2A, 0x2A, 0x8A, 0x41, 0x42, 0x12, 0x89, 0x93, 0x08};
    if ((bhs[0] & ISCSI_OP_MASK) == ISCSI_OP_COMMAND && in[9] & 1) {
        uint8_t cdb = cdbs[in[10] % sizeof cdbs];
        wire_cdb10(bhs + ISCSI_AT_CDB, cdb, in[11] % 64, in[12]);
    }
    if (bhs[0] == ISCSI_OP_DATA_OUT) {
        store_be32(bhs + ISCSI_AT_DATASN, in[10] % 3);
        store_be32(bhs + ISCSI_AT_BUFFER_OFFSET, (in[11] % 32) * 512u);
    }
    uint32_t data_bytes = in[22] & 1 ? 0 : in[22] * 32u + (in[23] & 0xF0 ? 0 : in[23]);
    memset(payload, in[23], sizeof payload);
    memcpy(payload, "SendTargets=All\0X=1", 19);
    wire_send(w, bhs, payload, data_bytes);
    bool numbered = (bhs[0] & ISCSI_OP_IMMEDIATE) == 0 && bhs[0] <= ISCSI_OP_LOGOUT_REQUEST &&
                    bhs[0] != ISCSI_OP_DATA_OUT;
    if (numbered) w->cmd_sn++;
    return used;
}

static struct wire *begin(struct rig *rig, uint8_t how)
{
    if (!(how & LOGGED_IN)) return wire_connect(rig);
    if (how & DIGESTS)
        return wire_session(
            rig, "HeaderDigest=CRC32C\nDataDigest=CRC32C\nInitialR2T=No\nMaxBurstLength=4096\n");
    if (how & STRICT)
        return wire_session(rig,
                            "InitialR2T=Yes\nImmediateData=No\nMaxRecvDataSegmentLength=512\n");
    return wire_session(
        rig, "InitialR2T=No\nMaxBurstLength=8192\nFirstBurstLength=4096\nMaxOutstandingR2T=4\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 4096) return 0;
    uint8_t how = data[0];
    log_set_level(LOG_LEVEL_ERROR);
    struct rig rig;
    rig_init(&rig, 4 * MIB);
    struct wire *w = begin(&rig, how);
    memvol_hold(rig.pool, how & HELD);
    data++, size--;
    if (how & RAW || !(how & LOGGED_IN)) {
        wire_send_bytes(w, data, size);
    } else {
        while (size > 0 && !w->gone) {
            size_t used = send_shaped(w, data, size);
            data += used;
            size -= used;
        }
    }
    rig_run_ms(&rig, 50);
    wire_close(w);
    memvol_hold(rig.pool, false);
    rig_fini(&rig);
    check(!tap_failed); /* rig_fini: buffers and sessions have all come back */
    return 0;
}
