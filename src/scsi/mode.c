/* MODE SENSE and MODE SELECT (SPC-4 6.11 to 6.14): caching 08h, control 0Ah, informational exceptions
 * 1Ch.  Changeable: WCE, D_SENSE, SWP.  Nothing is saved; a reset brings the defaults back. */
#include "scsi/scsi_int.h"

enum {
    PAGE_CACHING = 0x08,
    PAGE_CONTROL = 0x0A,
    PAGE_EXCEPTIONS = 0x1C,
    PAGE_ALL = 0x3F,
    PAGE_BYTES_MAX = 20,
    PARAMETERS_MAX = 512,
};

enum page_control { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };

static const struct {
    uint8_t code, bytes;
} pages[] = {{PAGE_CACHING, 20}, {PAGE_CONTROL, 12}, {PAGE_EXCEPTIONS, 12}};

/* The page's bytes under `mode`; with `changeable` the mask of what MODE SELECT may change. */
static void build_page(unsigned index, const struct scsi_mode_state *mode, bool changeable,
                       uint8_t *p)
{
    memset(p, 0, pages[index].bytes);
    p[0] = pages[index].code;
    p[1] = (uint8_t)(pages[index].bytes - 2);
    switch (pages[index].code) {
    case PAGE_CACHING: /* SBC-3 6.4.5 */
        p[2] = changeable || mode->write_cache ? 0x04 : 0;
        break;
    case PAGE_CONTROL: /* SPC-4 7.5.8 */
        p[2] = changeable || mode->descriptor_sense ? 0x04 : 0;
        p[4] = changeable || mode->software_write_protect ? 0x08 : 0;
        if (changeable) break;
        p[2] |= 0x22;              /* TST=001b: a task set per nexus (tmf.c); GLTSD */
        p[3] = 0x10;               /* commands may be reordered */
        store_be16(p + 8, 0xFFFF); /* busy for any time */
        break;
    default:                          /* SPC-4 7.5.17 */
        if (!changeable) p[2] = 0x08; /* DEXCPT: no informational exceptions */
        break;
    }
}

/* ---- MODE SENSE ------------------------------------------------------------------------------ */

static bool page_is_known(unsigned code)
{
    if (code == PAGE_ALL) return true;
    for (unsigned i = 0; i < countof(pages); i++) {
        if (pages[i].code == code) return true;
    }
    return false;
}

void scsi_mode_sense_parse(struct scsi_task *task)
{
    unsigned subpage = task->cdb[3];
    if (task->cdb[2] >> 6 == PC_SAVED) {
        scsi_fail_asc(task, SENSE_ILLEGAL_REQUEST, SCSI_ASC(0x39, 0x00));
    } else if (!page_is_known(task->cdb[2] & 0x3F)) {
        scsi_fail_cdb(task, 2, 5);
    } else if (subpage != 0x00 && subpage != 0xFF) {
        scsi_fail_cdb(task, 3, -1);
    }
}

static unsigned put_block_descriptor(struct scsi_task *task, bool is_long)
{
    struct buf_writer *w = &scsi_state(task)->reply;
    uint64_t sectors = scsi_lun_sectors(task->lun);
    if (is_long) { /* SBC-3 6.4.2.3 */
        buf_put_be64(w, sectors);
        buf_put_be32(w, 0);
        buf_put_be32(w, SECTOR_BYTES);
        return 16;
    }
    buf_put_be32(w, sectors > UINT32_MAX ? UINT32_MAX : (uint32_t)sectors);
    buf_put_be32(w, SECTOR_BYTES);
    return 8;
}

static void put_pages(struct scsi_task *task)
{
    struct scsi_mode_state defaults;
    scsi_mode_reset(&defaults);
    enum page_control pc = task->cdb[2] >> 6;
    const struct scsi_mode_state *mode = pc == PC_DEFAULT ? &defaults : &task->lun->mode;
    unsigned wanted = task->cdb[2] & 0x3F;
    for (unsigned i = 0; i < countof(pages); i++) {
        if (wanted != PAGE_ALL && wanted != pages[i].code) continue;
        build_page(i, mode, pc == PC_CHANGEABLE, buf_put(&scsi_state(task)->reply, pages[i].bytes));
    }
}

void scsi_mode_sense_run(struct scsi_task *task)
{
    struct buf_writer *w = &scsi_state(task)->reply;
    bool is_short = task->cdb[0] == 0x1A;
    /* WP and DPOFUA */
    uint8_t device = (uint8_t)((scsi_lun_is_write_protected(task->lun) ? 0x80 : 0) | 0x10);
    uint8_t *header = buf_put(w, is_short ? 4 : 8);
    bool with_descriptor = !(task->cdb[1] & 0x08);                      /* DBD */
    bool is_long = with_descriptor && !is_short && task->cdb[1] & 0x10; /* LLBAA */
    unsigned descriptor_bytes = with_descriptor ? put_block_descriptor(task, is_long) : 0;
    put_pages(task);
    if (is_short) {
        header[0] = (uint8_t)(buf_used(w) - 1);
        header[2] = device;
        header[3] = (uint8_t)descriptor_bytes;
    } else {
        store_be16(header, (uint16_t)(buf_used(w) - 2));
        header[3] = device;
        header[4] = is_long ? 0x01 : 0;
        store_be16(header + 6, (uint16_t)descriptor_bytes);
    }
    scsi_reply_done(task);
}

/* ---- MODE SELECT ----------------------------------------------------------------------------- */

void scsi_mode_select_parse(struct scsi_task *task)
{
    if (task->cdb[1] & 0x01) {
        scsi_fail_cdb(task, 1, 0); /* SP: nothing can be saved */
        return;
    }
    unsigned bytes = task->cdb[0] == 0x15 ? task->cdb[4] : load_be16(task->cdb + 7);
    if (bytes > PARAMETERS_MAX) {
        scsi_fail(task, STATUS_PARAMETER_LENGTH);
        return;
    }
    task->transfer = bytes ? SCSI_TRANSFER_OUT : SCSI_TRANSFER_NONE;
    task->transfer_bytes = bytes;
}

/* Checks one page against what may change and takes it into *mode. */
static bool take_page(struct scsi_task *task, const uint8_t *page, unsigned at,
                      struct scsi_mode_state *mode)
{
    uint8_t current[PAGE_BYTES_MAX], mask[PAGE_BYTES_MAX];
    for (unsigned i = 0; i < countof(pages); i++) {
        if ((page[0] & 0x7F) != pages[i].code) continue;
        build_page(i, mode, false, current);
        build_page(i, mode, true, mask);
        for (unsigned b = 1; b < pages[i].bytes; b++) {
            if ((page[b] ^ current[b]) & (b == 1 ? 0xFF : (uint8_t)~mask[b])) {
                scsi_fail_parameter(task, at + b);
                return false;
            }
        }
        if (pages[i].code == PAGE_CACHING) mode->write_cache = page[2] & 0x04;
        if (pages[i].code == PAGE_CONTROL) {
            mode->descriptor_sense = page[2] & 0x04;
            mode->software_write_protect = page[4] & 0x08;
        }
        return true;
    }
    scsi_fail_parameter(task, at);
    return false;
}

/* Header and block descriptor; returns where the pages begin, 0 = failed. */
static unsigned take_header(struct scsi_task *task, const uint8_t *data, unsigned bytes)
{
    bool is_short = task->cdb[0] == 0x15;
    unsigned header_bytes = is_short ? 4 : 8;
    if (bytes < header_bytes) {
        scsi_fail(task, STATUS_PARAMETER_LENGTH);
        return 0;
    }
    unsigned descriptor = is_short ? data[3] : load_be16(data + 6);
    unsigned expected = !is_short && data[4] & 0x01 ? 16 : 8;
    if (descriptor != 0 && descriptor != expected) {
        scsi_fail_parameter(task, is_short ? 3 : 6);
        return 0;
    }
    if (descriptor > bytes - header_bytes) {
        scsi_fail(task, STATUS_PARAMETER_LENGTH);
        return 0;
    }
    if (descriptor) {
        /* The capacity cannot be changed here, nor the block size. */
        unsigned at = header_bytes + descriptor - 4;
        uint32_t block_bytes = load_be32(data + at) & (descriptor == 8 ? 0xFFFFFF : 0xFFFFFFFF);
        if (block_bytes != SECTOR_BYTES) {
            scsi_fail_parameter(task, at);
            return 0;
        }
    }
    return header_bytes + descriptor;
}

static bool take_parameters(struct scsi_task *task, const uint8_t *data, unsigned bytes,
                            struct scsi_mode_state *mode)
{
    unsigned at = take_header(task, data, bytes);
    if (!at) return false;
    while (at < bytes) {
        /* SPF or a list that ends inside of a page */
        if (data[at] & 0x40) {
            scsi_fail_parameter(task, at);
            return false;
        }
        if (bytes - at < 2 || bytes - at < data[at + 1] + 2U) {
            scsi_fail(task, STATUS_PARAMETER_LENGTH);
            return false;
        }
        uint8_t page[PAGE_BYTES_MAX] = {0};
        memcpy(page, data + at, min_of(data[at + 1] + 2U, (unsigned)PAGE_BYTES_MAX));
        if (!take_page(task, page, at, mode)) return false;
        at += data[at + 1] + 2U;
    }
    return true;
}

void scsi_mode_select_run(struct scsi_task *task)
{
    uint8_t data[PARAMETERS_MAX];
    struct scsi_lun *lun = task->lun;
    struct scsi_mode_state mode = lun->mode;
    unsigned bytes = (unsigned)task->transfer_bytes;
    if (!bytes) {
        scsi_complete_later(task);
        return;
    }
    if (!scsi_out_copy(task, 0, data, bytes)) {
        scsi_fail(task, STATUS_PARAMETER_LENGTH);
        scsi_complete_later(task);
        return;
    }
    if (!take_parameters(task, data, bytes, &mode)) {
        scsi_complete_later(task);
        return;
    }
    bool flush = lun->mode.write_cache && !mode.write_cache;
    bool changed = mode.write_cache != lun->mode.write_cache ||
                   mode.descriptor_sense != lun->mode.descriptor_sense ||
                   mode.software_write_protect != lun->mode.software_write_protect;
    lun->mode = mode;
    if (changed) scsi_lun_raise(lun, SCSI_ATTENTION_MODE_PARAMETERS, task->nexus);
    if (flush) { /* from now on nothing may be in a volatile cache */
        scsi_submit(task, VOLUME_FLUSH, 0, 0, NULL, 0, scsi_io_done);
    } else {
        scsi_complete_later(task);
    }
}
