#include "iscsi/pdu.h"

#include <string.h>

#include "base/buf.h"

enum { AHS_EXTENDED_CDB = 0x01, CDB_IN_BHS = 16 };

void iscsi_pdu_decode(const uint8_t *bhs, struct iscsi_pdu *ret_pdu)
{
    ret_pdu->opcode = bhs[0] & ISCSI_OP_MASK;
    ret_pdu->immediate = (bhs[0] & ISCSI_OP_IMMEDIATE) != 0;
    ret_pdu->flags = bhs[1];
    ret_pdu->ahs_bytes = bhs[4] * 4u;
    ret_pdu->data_bytes = load_be24(bhs + 5);
    ret_pdu->itt = load_be32(bhs + ISCSI_AT_ITT);
    ret_pdu->bhs = bhs;
}

void iscsi_pdu_start(uint8_t bhs[ISCSI_BHS_BYTES], enum iscsi_opcode opcode, uint8_t flags)
{
    memset(bhs, 0, ISCSI_BHS_BYTES);
    bhs[0] = (uint8_t)opcode;
    bhs[1] = flags;
}

unsigned iscsi_pdu_cdb(const struct iscsi_pdu *pdu, uint8_t *ret_cdb, unsigned cdb_max)
{
    struct buf_reader r = buf_reader(pdu->bhs + ISCSI_BHS_BYTES, pdu->ahs_bytes);
    const uint8_t *extension = NULL;
    unsigned extension_bytes = 0;

    while (buf_left(&r) > 0) {
        /* AHSLength counts the bytes after AHSType, at least the reserved or specific one. */
        unsigned length = buf_take_be16(&r);
        uint8_t type = buf_take_u8(&r);
        const uint8_t *body = buf_take(&r, length);
        unsigned used = 3 + length;
        (void)buf_take(&r, -used & 3);
        if (r.failed || length < 1) return 0;
        if (type != AHS_EXTENDED_CDB || extension) return 0;
        extension = body + 1;
        extension_bytes = length - 1;
    }
    if (r.failed || CDB_IN_BHS + extension_bytes > cdb_max) return 0;
    memcpy(ret_cdb, pdu->bhs + ISCSI_AT_CDB, CDB_IN_BHS);
    if (extension_bytes) memcpy(ret_cdb + CDB_IN_BHS, extension, extension_bytes);
    return CDB_IN_BHS + extension_bytes;
}
