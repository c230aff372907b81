/* Vital product data pages (SPC-4 7.8, SBC-3 6.5).  The bytes are a promise to hosts: MPIO and VSS find
 * disks by pages 80h and 83h, so that neither may ever change for a disk that exists. */
#include "scsi/scsi_int.h"

#include <stdio.h>

#include "base/text.h"

static void page_supported(struct scsi_task *task, struct buf_writer *w);

static void page_serial(struct scsi_task *task, struct buf_writer *w)
{
    buf_put_bytes(w, task->lun->identity.serial, 32);
}

/* ---- 83h Device Identification (SPC-4 7.8.6) ------------------------------------------------- */

enum { CODE_BINARY = 1, CODE_ASCII = 2, CODE_UTF8 = 3 };
enum { OF_UNIT = 0, OF_PORT = 1, OF_TARGET = 2 };
enum { TYPE_T10 = 1, TYPE_NAA = 3, TYPE_RELATIVE_PORT = 4, TYPE_PORT_GROUP = 5, TYPE_NAME = 8 };
enum { PROTOCOL_ISCSI = 5 };

static uint8_t *designator(struct buf_writer *w, unsigned code_set, unsigned of, unsigned type,
                           size_t size_bytes)
{
    /* The protocol is told for ports and targets only. */
    buf_put_u8(w, (uint8_t)((of == OF_UNIT ? 0 : PROTOCOL_ISCSI << 4) | code_set));
    buf_put_u8(w, (uint8_t)((of == OF_UNIT ? 0 : 0x80) | of << 4 | type));
    buf_put_u8(w, 0);
    buf_put_u8(w, (uint8_t)size_bytes);
    return buf_put(w, size_bytes);
}

/* Type 8: UTF-8, NUL terminated and padded to a multiple of 4 (SPC-4 7.8.6.11). */
static void name_designator(struct buf_writer *w, unsigned of, const char *name)
{
    size_t length = strlen(name);
    size_t padded = (length + 4) / 4 * 4;
    memcpy(designator(w, CODE_UTF8, of, TYPE_NAME, padded), name, length);
}

static void page_identification(struct scsi_task *task, struct buf_writer *w)
{
    const struct scsi_identity *identity = &task->lun->identity;
    const struct scsi_nexus *nexus = task->nexus;
    char text[SCSI_NAME_MAX + 16];

    memcpy(designator(w, CODE_BINARY, OF_UNIT, TYPE_NAA, identity->naa_bytes), identity->naa,
           identity->naa_bytes);
    uint8_t *t10 = designator(w, CODE_ASCII, OF_UNIT, TYPE_T10, 8 + 16 + 32);
    memcpy(t10, SCSI_VENDOR, 8);
    memcpy(t10 + 8, SCSI_PRODUCT, 16);
    memcpy(t10 + 24, identity->serial, 32);
    memcpy(text, "naa.", 4);
    text_format_hex(identity->naa, identity->naa_bytes, text + 4);
    name_designator(w, OF_UNIT, text);

    store_be16(designator(w, CODE_BINARY, OF_PORT, TYPE_RELATIVE_PORT, 4) + 2,
               nexus->port.relative_target_port);
    store_be16(designator(w, CODE_BINARY, OF_PORT, TYPE_PORT_GROUP, 4) + 2,
               nexus->target_port_group);
    /* RFC 7143 4.2.7.1 and 9.4: the target port's name is the target's, ",t,0x", portal group tag. */
    snprintf(text, sizeof text, "%s,t,0x%04x", nexus->target_name, nexus->target_port_group);
    name_designator(w, OF_PORT, text);
    name_designator(w, OF_TARGET, nexus->target_name);
}

/* ---- The other pages ------------------------------------------------------------------------- */

static void page_extended(struct scsi_task *task, struct buf_writer *w)
{
    uint8_t *p = buf_put(w, 60);
    p[5 - 4] = 0x07; /* HEADSUP, ORDSUP, SIMPSUP */
    p[6 - 4] = 0x01; /* V_SUP: a volatile cache */
    p[7 - 4] = 0x01; /* LUICLR */
}

static void page_mode_policy(struct scsi_task *task, struct buf_writer *w)
{
    buf_put_be32(w, 0x3FFF0000); /* all pages and subpages: shared (SPC-4 7.8.9) */
}

static void page_block_limits(struct scsi_task *task, struct buf_writer *w)
{
    uint8_t *p = buf_put(w, 60); /* fields at their place in the page, less the header of 4 */
    p[5 - 4] = SCSI_COMPARE_MAX_SECTORS;
    store_be16(p + 6 - 4, SECTORS_PER_BLOCK);              /* optimal transfer granularity */
    store_be32(p + 8 - 4, SCSI_TRANSFER_MAX_SECTORS);      /* maximum transfer */
    store_be32(p + 12 - 4, SCSI_TRANSFER_MAX_SECTORS / 4); /* optimal transfer */
    store_be32(p + 20 - 4, SCSI_UNMAP_MAX_SECTORS);
    store_be32(p + 24 - 4, SCSI_UNMAP_DESCRIPTORS_MAX);
    store_be32(p + 28 - 4, SECTORS_PER_BLOCK); /* optimal unmap granularity */
    store_be32(p + 32 - 4, 0x80000000);        /* UGAVALID, alignment 0 */
    store_be64(p + 36 - 4, SCSI_WRITE_SAME_MAX_SECTORS);
}

static void page_characteristics(struct scsi_task *task, struct buf_writer *w)
{
    uint8_t *p = buf_put(w, 60);
    store_be16(p, 1); /* non-rotating medium */
}

static void page_provisioning(struct scsi_task *task, struct buf_writer *w)
{
    buf_put_u8(w, 0);
    buf_put_u8(w, 0x80 | 0x40 | 0x20 | 0x04); /* LBPU, LBPWS, LBPWS10, LBPRZ */
    buf_put_u8(w, 0x02);                      /* thin */
    buf_put_u8(w, 0);
}

static const struct {
    uint8_t code;
    void (*put)(struct scsi_task *task, struct buf_writer *w);
} pages[] = {
    {0x00, page_supported},       {0x80, page_serial},       {0x83, page_identification},
    {0x86, page_extended},        {0x87, page_mode_policy},  {0xB0, page_block_limits},
    {0xB1, page_characteristics}, {0xB2, page_provisioning},
};

static void page_supported(struct scsi_task *task, struct buf_writer *w)
{
    unsigned count = task->lun ? countof(pages) : 1;
    for (unsigned i = 0; i < count; i++)
        buf_put_u8(w, pages[i].code);
}

void scsi_vpd_run(struct scsi_task *task)
{
    struct buf_writer *w = &scsi_state(task)->reply;
    for (unsigned i = 0; i < countof(pages); i++) {
        if (pages[i].code != task->cdb[2]) continue;
        if (!task->lun && i > 0) break; /* where there is no logical unit, only the list of pages */
        uint8_t *header = buf_put(w, 4);
        header[0] = task->lun ? 0x00 : 0x7F;
        header[1] = pages[i].code;
        pages[i].put(task, w);
        store_be16(header + 2, (uint16_t)(buf_used(w) - 4));
        scsi_reply_done(task);
        return;
    }
    scsi_fail_cdb(task, 2, -1);
    scsi_complete_later(task);
}
