/*
 * pdu.h - the iSCSI protocol data units as bytes: field offsets, reading and writing of basic
 * header segments (BHS), additional header segments.  Pure: no I/O, no state.  RFC 7143 section 11.
 *
 *     struct iscsi_pdu pdu;
 *     iscsi_pdu_decode(bhs, &pdu);                    // any 48 bytes decode; the meaning is judged
 * later iscsi_pdu_start(bhs, ISCSI_OP_R2T, ISCSI_FLAG_FINAL); store_be32(bhs + ISCSI_AT_ITT, itt);
 *
 * Threads: any.  Ownership: the caller's memory.  Limits: a header with all its additional segments
 * is at most ISCSI_HEADER_MAX bytes, a data segment at most 2^24 - 1.
 */
#ifndef TARN_ISCSI_PDU_H
#define TARN_ISCSI_PDU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endian.h"

enum {
    ISCSI_BHS_BYTES = 48,
    ISCSI_AHS_MAX = 255 * 4, /* TotalAHSLength is one byte of 4-byte words */
    ISCSI_DIGEST_BYTES = 4,
    ISCSI_HEADER_MAX = ISCSI_BHS_BYTES + ISCSI_AHS_MAX + ISCSI_DIGEST_BYTES,
};

#define ISCSI_TAG_NONE 0xFFFFFFFFu

enum iscsi_opcode { /* RFC 7143 11.2.1.2 */
                    ISCSI_OP_NOP_OUT = 0x00,
                    ISCSI_OP_COMMAND = 0x01,
                    ISCSI_OP_TMF_REQUEST = 0x02,
                    ISCSI_OP_LOGIN_REQUEST = 0x03,
                    ISCSI_OP_TEXT_REQUEST = 0x04,
                    ISCSI_OP_DATA_OUT = 0x05,
                    ISCSI_OP_LOGOUT_REQUEST = 0x06,
                    ISCSI_OP_SNACK = 0x10,
                    ISCSI_OP_NOP_IN = 0x20,
                    ISCSI_OP_RESPONSE = 0x21,
                    ISCSI_OP_TMF_RESPONSE = 0x22,
                    ISCSI_OP_LOGIN_RESPONSE = 0x23,
                    ISCSI_OP_TEXT_RESPONSE = 0x24,
                    ISCSI_OP_DATA_IN = 0x25,
                    ISCSI_OP_LOGOUT_RESPONSE = 0x26,
                    ISCSI_OP_R2T = 0x31,
                    ISCSI_OP_ASYNC = 0x32,
                    ISCSI_OP_REJECT = 0x3F,
};
enum { ISCSI_OP_MASK = 0x3F, ISCSI_OP_IMMEDIATE = 0x40 };

/* Byte 1 of the BHS. */
enum {
    ISCSI_FLAG_FINAL = 0x80,
    ISCSI_FLAG_CONTINUE = 0x40, /* Login and Text */
    ISCSI_LOGIN_TRANSIT = 0x80,
    ISCSI_COMMAND_READ = 0x40,
    ISCSI_COMMAND_WRITE = 0x20,
    ISCSI_DATA_IN_STATUS = 0x01,
    ISCSI_RESIDUAL_OVERFLOW = 0x04,
    ISCSI_RESIDUAL_UNDERFLOW = 0x02,
};

/* Offsets of the 32-bit fields of the BHS; several names for one place, as the RFC has them. */
enum {
    ISCSI_AT_LUN = 8,
    ISCSI_AT_ISID = 8,
    ISCSI_AT_TSIH = 14,
    ISCSI_AT_ITT = 16,
    ISCSI_AT_TTT = 20,
    ISCSI_AT_CID = 20,
    ISCSI_AT_EDTL = 20,
    ISCSI_AT_REFERENCED_TAG = 20,
    ISCSI_AT_CMDSN = 24,
    ISCSI_AT_STATSN = 24,
    ISCSI_AT_EXPSTATSN = 28,
    ISCSI_AT_EXPCMDSN = 28,
    ISCSI_AT_CDB = 32,
    ISCSI_AT_REFCMDSN = 32,
    ISCSI_AT_MAXCMDSN = 32,
    ISCSI_AT_DATASN = 36,
    ISCSI_AT_R2TSN = 36,
    ISCSI_AT_EXPDATASN = 36,
    ISCSI_AT_LOGIN_STATUS = 36,
    ISCSI_AT_ASYNC_EVENT = 36,
    ISCSI_AT_ASYNC_PARAMETER3 = 42,
    ISCSI_AT_BUFFER_OFFSET = 40,
    ISCSI_AT_TIME2WAIT = 40,
    ISCSI_AT_TIME2RETAIN = 42,
    ISCSI_AT_DESIRED_BYTES = 44,
    ISCSI_AT_RESIDUAL = 44,
};

enum iscsi_reject { /* RFC 7143 11.17.1 */
                    ISCSI_REJECT_SNACK = 0x03,
                    ISCSI_REJECT_PROTOCOL = 0x04,
                    ISCSI_REJECT_NOT_SUPPORTED = 0x05,
                    ISCSI_REJECT_TOO_MANY_IMMEDIATE = 0x06,
                    ISCSI_REJECT_TASK_IN_PROGRESS = 0x07,
                    ISCSI_REJECT_INVALID_FIELD = 0x09,
};

enum iscsi_tmf_function { /* RFC 7143 11.5.1 */
                          ISCSI_TMF_ABORT_TASK = 1,
                          ISCSI_TMF_ABORT_TASK_SET = 2,
                          ISCSI_TMF_CLEAR_ACA = 3,
                          ISCSI_TMF_CLEAR_TASK_SET = 4,
                          ISCSI_TMF_LUN_RESET = 5,
                          ISCSI_TMF_WARM_RESET = 6,
                          ISCSI_TMF_COLD_RESET = 7,
                          ISCSI_TMF_TASK_REASSIGN = 8,
};

enum iscsi_tmf_response { /* RFC 7143 11.6.1 */
                          ISCSI_TMF_COMPLETE = 0,
                          ISCSI_TMF_NO_TASK = 1,
                          ISCSI_TMF_NO_LUN = 2,
                          ISCSI_TMF_NO_REASSIGN = 4,
                          ISCSI_TMF_NOT_SUPPORTED = 5,
                          ISCSI_TMF_REJECTED = 255,
};

/* What every header has, in host order. */
struct iscsi_pdu {
    uint8_t opcode; /* without the immediate bit */
    bool immediate;
    uint8_t flags; /* byte 1 */
    unsigned ahs_bytes;
    uint32_t data_bytes;
    uint32_t itt;
    const uint8_t *bhs; /* the 48 bytes; the additional segments follow them directly */
};

void iscsi_pdu_decode(const uint8_t *bhs, struct iscsi_pdu *ret_pdu);

/* Clears the 48 bytes and sets opcode and byte 1. */
void iscsi_pdu_start(uint8_t bhs[ISCSI_BHS_BYTES], enum iscsi_opcode opcode, uint8_t flags);

static inline void iscsi_pdu_set_data_bytes(uint8_t bhs[ISCSI_BHS_BYTES], uint32_t data_bytes)
{
    store_be24(bhs + 5, data_bytes);
}

/* Data segments are padded to whole words (RFC 7143 11.2.3). */
static inline unsigned iscsi_pdu_padding(uint32_t data_bytes)
{
    return -data_bytes & 3;
}

/* The command descriptor block of a SCSI Command: 16 bytes of the BHS, more from an extended-CDB
 * segment (RFC 7143 11.2.2.3).  Returns the size, 0 when the additional segments are malformed or
 * unknown. */
unsigned iscsi_pdu_cdb(const struct iscsi_pdu *pdu, uint8_t *ret_cdb, unsigned cdb_max);

/* Serial numbers compare in 32-bit arithmetic (RFC 1982, RFC 7143 4.2.2): is a before b? */
static inline bool iscsi_sn_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

#endif
