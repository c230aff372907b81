/* Full feature phase of the iSCSI target: commands, data, numbering, keep-alive, and connections
 * that die. */
#include "tests/unit/iscsi_rig.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/prng.h"

#define KEYS "InitialR2T=No\nImmediateData=Yes\nMaxRecvDataSegmentLength=262144\n"

enum {
    READ = 0x80 | ISCSI_COMMAND_READ,
    WRITE = 0x80 | ISCSI_COMMAND_WRITE,
    MORE = ISCSI_COMMAND_WRITE
};

/* ---- Reading ---- */

static void good_status_travels_with_the_last_data(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    uint32_t itt = wire_read(w, 0, 8);
    require(wire_expect(w, ISCSI_OP_DATA_IN, itt, &p));
    expect_eq(p.flags, 0x81);
    expect_eq(p.data_bytes, 4096);
    expect_eq(load_be32(p.bhs + ISCSI_AT_TTT), ISCSI_TAG_NONE);
    expect_eq(load_be32(p.bhs + ISCSI_AT_RESIDUAL), 0);
    expect(wire_is_silent(w));
    wire_close(w);
    rig_fini(&rig);
}

static void data_in_keeps_to_segment_and_burst(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, "MaxRecvDataSegmentLength=3000\nMaxBurstLength=8192\n");
    struct wire_pdu p;
    uint32_t at = 0, sn = 0, burst = 0, itt = wire_read(w, 0, 64);
    while (at < 32768) {
        require(wire_expect(w, ISCSI_OP_DATA_IN, itt, &p));
        expect_eq(load_be32(p.bhs + ISCSI_AT_DATASN), sn++);
        expect_eq(load_be32(p.bhs + ISCSI_AT_BUFFER_OFFSET), at);
        expect(p.data_bytes <= 3000);
        at += p.data_bytes;
        burst += p.data_bytes;
        expect(burst <= 8192);
        expect_eq((p.flags & 0x80) != 0, burst == 8192);
        if (burst == 8192) burst = 0;
    }
    expect_eq(p.flags, 0x81);
    wire_close(w);
    rig_fini(&rig);
}

/* A Data-Out with digests whose header and data arrive apart. */
static void send_slowly(struct wire *w, const struct wire_pdu *r2t, uint32_t size_bytes)
{
    uint8_t head[ISCSI_BHS_BYTES + 4], digest[4];
    uint32_t offset = load_be32(r2t->bhs + ISCSI_AT_BUFFER_OFFSET);
    iscsi_pdu_start(head, ISCSI_OP_DATA_OUT, 0x80);
    iscsi_pdu_set_data_bytes(head, size_bytes);
    store_be32(head + ISCSI_AT_ITT, r2t->itt);
    memcpy(head + ISCSI_AT_TTT, r2t->bhs + ISCSI_AT_TTT, 4);
    store_be32(head + ISCSI_AT_BUFFER_OFFSET, offset);
    store_le32(head + ISCSI_BHS_BYTES, crc32c(0, head, ISCSI_BHS_BYTES));
    wire_send_bytes(w, head, sizeof head);
    rig_run_ms(w->rig, 100);
    wire_send_bytes(w, rig_pattern + offset, size_bytes);
    store_le32(digest, crc32c(0, rig_pattern + offset, size_bytes));
    wire_send_bytes(w, digest, sizeof digest);
}

static void digests_cover_headers_and_data(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(
        &rig, KEYS "MaxBurstLength=65536\nHeaderDigest=CRC32C\nDataDigest=CRC32C,None\n");
    require(w->header_digest && w->data_digest);
    expect_eq(wire_write_now(w, 3, rig_pattern, 512 * 3), 0);
    expect(wire_reads_as(w, 3, rig_pattern, 512 * 3)); /* wire_next checks the digests */
    /* Long data that comes after its header is received in place. */
    uint8_t cdb[16];
    struct wire_pdu p;
    wire_cdb10(cdb, 0x2A, 50, 256);
    uint32_t itt = wire_command(w, WRITE, 0, cdb, 131072, NULL, 0);
    for (unsigned i = 0; i < 2; i++) {
        require(wire_expect(w, ISCSI_OP_R2T, itt, &p));
        send_slowly(w, &p, 65536);
    }
    expect_eq(wire_status(w, itt), 0);
    expect(wire_reads_as(w, 50, rig_pattern, 131072));
    wire_close(w);
    rig_fini(&rig);
}

static void wrong_digests_end_the_connection(void)
{
    for (unsigned kind = 0; kind < 2; kind++) {
        struct rig rig;
        rig_init(&rig, 0);
        struct wire *w = wire_session(&rig, KEYS "HeaderDigest=CRC32C\nDataDigest=CRC32C\n");
        uint8_t all[ISCSI_BHS_BYTES + 4 + 512 + 4] = {0};
        iscsi_pdu_start(all, ISCSI_OP_COMMAND, WRITE | 1);
        iscsi_pdu_set_data_bytes(all, 512);
        store_be32(all + ISCSI_AT_ITT, 77);
        store_be32(all + ISCSI_AT_EDTL, 512);
        store_be32(all + ISCSI_AT_CMDSN, w->cmd_sn);
        wire_cdb10(all + ISCSI_AT_CDB, 0x2A, 0, 1);
        store_le32(all + ISCSI_BHS_BYTES, crc32c(0, all, ISCSI_BHS_BYTES) ^ (kind == 0));
        memset(all + ISCSI_BHS_BYTES + 4, 'x', 512);
        store_le32(all + sizeof all - 4, crc32c(0, all + ISCSI_BHS_BYTES + 4, 512) ^ (kind == 1));
        wire_send_bytes(w, all, sizeof all);
        expect(wire_is_gone(w));
        wire_close(w);
        expect_eq(memvol_counts(rig.pool).writes, 0);
        rig_fini(&rig);
    }
}

/* ---- Writing ---- */

static void immediate_data_is_written(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    expect_eq(wire_write_now(w, 7, rig_pattern, 65536), 0);
    expect(wire_reads_as(w, 7, rig_pattern, 65536));
    wire_close(w);
    rig_fini(&rig);
}

static void solicited_data_comes_by_several_r2ts(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, "InitialR2T=Yes\nImmediateData=No\nMaxBurstLength=65536\n"
                                        "MaxOutstandingR2T=3\nMaxRecvDataSegmentLength=262144\n");
    uint8_t cdb[16];
    struct wire_pdu r2t;
    const uint32_t size_bytes = 65536 * 9 + 512;
    wire_cdb10(cdb, 0x2A, 100, size_bytes / 512);
    uint32_t itt = wire_command(w, WRITE, 0, cdb, size_bytes, NULL, 0);
    /* Three at once, then no more before one is answered. */
    struct wire_pdu open[3];
    for (unsigned i = 0; i < 3; i++)
        require(wire_expect(w, ISCSI_OP_R2T, itt, &open[i]));
    expect(wire_is_silent(w));
    for (unsigned i = 0; i < 10; i++) {
        r2t = open[i % 3];
        expect_eq(load_be32(r2t.bhs + ISCSI_AT_R2TSN), i);
        expect_eq(load_be32(r2t.bhs + ISCSI_AT_BUFFER_OFFSET), i * 65536);
        expect_eq(load_be32(r2t.bhs + ISCSI_AT_DESIRED_BYTES), i == 9 ? 512 : 65536);
        wire_answer_r2t(w, &r2t, rig_pattern, 20000);
        if (i + 3 < 10) require(wire_expect(w, ISCSI_OP_R2T, itt, &open[i % 3]));
    }
    expect_eq(wire_status(w, itt), 0);
    expect(wire_reads_as(w, 100, rig_pattern, size_bytes));
    wire_close(w);
    rig_fini(&rig);
}

static void unsolicited_and_solicited_data_follow_each_other(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, KEYS "FirstBurstLength=16384\nMaxBurstLength=16384\n");
    uint8_t cdb[16];
    struct wire_pdu r2t;
    wire_cdb10(cdb, 0x2A, 9, 64);
    uint32_t itt = wire_command(w, MORE, 0, cdb, 32768, rig_pattern, 4096);
    wire_data_out(w, 0x00, itt, ISCSI_TAG_NONE, 0, 4096, rig_pattern + 4096, 8192);
    wire_data_out(w, 0x80, itt, ISCSI_TAG_NONE, 1, 12288, rig_pattern + 12288, 4096);
    require(wire_expect(w, ISCSI_OP_R2T, itt, &r2t));
    expect_eq(load_be32(r2t.bhs + ISCSI_AT_BUFFER_OFFSET), 16384);
    wire_answer_r2t(w, &r2t, rig_pattern, 16384);
    expect_eq(wire_status(w, itt), 0);
    expect(wire_reads_as(w, 9, rig_pattern, 32768));
    wire_close(w);
    rig_fini(&rig);
}

/* Runs a write of 16 KiB whose data breaks a rule; returns the sense, *ret_reject whether a Reject
 * came. */
struct violation {
    const char *keys;
    uint8_t flags; /* of the command */
    uint32_t immediate_bytes;
    bool solicited;
    uint32_t sn, offset, size_bytes;
    bool final;
    enum { TAG_RIGHT, TAG_NEXT, TAG_NONE } tag;
};

static uint32_t run_violation(const struct violation *v, bool *ret_reject)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, v->keys);
    uint8_t cdb[16];
    struct wire_pdu p;
    uint32_t tag = ISCSI_TAG_NONE, sense = 0;
    wire_cdb10(cdb, 0x2A, 0, 32);
    *ret_reject = false;
    uint32_t itt = wire_command(w, v->flags, 0, cdb, 16384, rig_pattern, v->immediate_bytes);
    if (v->solicited) {
        if (!wire_expect(w, ISCSI_OP_R2T, itt, &p)) return 1;
        tag = load_be32(p.bhs + ISCSI_AT_TTT);
    }
    if (v->tag == TAG_NEXT) tag++; /* the R2T behind the one that is due */
    if (v->tag == TAG_NONE) tag = ISCSI_TAG_NONE;
    if (v->size_bytes)
        wire_data_out(w, v->final ? 0x80 : 0, itt, tag, v->sn, v->offset, rig_pattern,
                      v->size_bytes);
    if (!v->final && v->size_bytes)
        wire_data_out(w, 0x80, itt, tag, v->sn + 1, v->offset + v->size_bytes, NULL, 0);
    while (wire_next(w, &p)) {
        if (p.opcode == ISCSI_OP_REJECT) *ret_reject = true;
        if (p.opcode == ISCSI_OP_R2T) break; /* accepted */
        if (p.opcode != ISCSI_OP_RESPONSE) continue;
        expect_eq(p.itt, itt);
        sense = wire_sense(&p);
        break;
    }
    expect_eq(memvol_counts(rig.pool).writes, 0);
    expect(wire_reads_as(w, 0, (uint8_t[512]){0}, 512)); /* the session goes on */
    wire_close(w);
    rig_fini(&rig);
    return sense;
}

static void data_that_breaks_the_rules_fails_its_command(void)
{
    static const char no[] = "InitialR2T=Yes\nImmediateData=No\nMaxRecvDataSegmentLength=262144\n";
    static const char small[] = KEYS "FirstBurstLength=4096\nMaxBurstLength=8192\n";
    static const struct {
        struct violation v;
        uint32_t sense;
        bool reject;
    } rows[] = {
        {{no, WRITE, 512, false, 0, 0, 0, true, TAG_RIGHT},
         0x0B0C0C,
         false}, /* immediate data not agreed */
        {{no, MORE, 0, false, 0, 0, 512, true, TAG_RIGHT},
         0x0B0C0C,
         false}, /* unsolicited not agreed */
        {{small, WRITE, 8192, false, 0, 0, 0, true, TAG_RIGHT},
         0x0B0C0D,
         false}, /* above FirstBurstLength */
        {{small, MORE, 0, false, 0, 0, 8192, true, TAG_RIGHT},
         0x0B0C0D,
         true}, /* the same, unsolicited */
        {{small, MORE, 0, false, 1, 0, 512, true, TAG_RIGHT}, 0x0B4B00, true},   /* DataSN */
        {{small, MORE, 0, false, 0, 512, 512, true, TAG_RIGHT}, 0x0B4B00, true}, /* offset */
        {{no, WRITE, 0, true, 0, 0, 16384, true, TAG_NEXT}, 0x0B0C0C, true},
        {{no, WRITE, 0, true, 0, 0, 16384, true, TAG_NONE}, 0x0B0C0C, true},
        {{no, WRITE, 0, true, 3, 0, 16384, true, TAG_RIGHT}, 0x0B4B00, true}, /* DataSN */
        {{no, WRITE, 0, true, 0, 4, 16384, true, TAG_RIGHT}, 0x0B4B00, true}, /* offset */
        {{no, WRITE, 0, true, 0, 0, 20000, true, TAG_RIGHT},
         0x0B0C0D,
         true}, /* more than asked for */
        {{no, WRITE, 0, true, 0, 0, 512, true, TAG_RIGHT}, 0x0B0C0D, true}, /* less */
        {{no, WRITE, 0, true, 0, 0, 16384, false, TAG_RIGHT},
         0x0B0C0D,
         true}, /* all, but no F bit */
    };
    for (unsigned i = 0; i < countof(rows); i++) {
        bool reject;
        uint32_t sense = run_violation(&rows[i].v, &reject);
        if (sense != rows[i].sense || reject != rows[i].reject) printf("# row %u\n", i);
        expect_eq(sense, rows[i].sense);
        expect_eq(reject, rows[i].reject);
    }
}

static void put_data_out(uint8_t *pdu, const struct wire_pdu *r2t, uint32_t size_bytes)
{
    iscsi_pdu_start(pdu, ISCSI_OP_DATA_OUT, 0x80);
    iscsi_pdu_set_data_bytes(pdu, size_bytes);
    store_be32(pdu + ISCSI_AT_ITT, r2t->itt);
    memcpy(pdu + ISCSI_AT_TTT, r2t->bhs + ISCSI_AT_TTT, 4);
    memcpy(pdu + ISCSI_AT_BUFFER_OFFSET, r2t->bhs + ISCSI_AT_BUFFER_OFFSET, 4);
    memset(pdu + ISCSI_BHS_BYTES, 'x', size_bytes);
}

/* Found by pdu_fuzz: the next R2T was queued, not yet sent, when the same data came once more. */
static void burst_sent_twice_fails_its_command(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, "InitialR2T=Yes\nImmediateData=No\nMaxBurstLength=512\n");
    struct wire_pdu p;
    uint8_t cdb[16], both[2 * (ISCSI_BHS_BYTES + 512)];
    wire_cdb10(cdb, 0x2A, 0, 8);
    uint32_t itt = wire_command(w, WRITE, 0, cdb, 4096, NULL, 0);
    require(wire_expect(w, ISCSI_OP_R2T, itt, &p));
    put_data_out(both, &p, 512);
    put_data_out(both + sizeof both / 2, &p, 512);
    wire_send_bytes(w, both, sizeof both);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    require(wire_expect(w, ISCSI_OP_RESPONSE, itt, &p));
    expect_eq(wire_sense(&p), 0x0B0C0C);
    expect_eq(memvol_counts(rig.pool).writes, 0);
    expect(wire_reads_as(w, 0, (uint8_t[512]){0}, 512));
    wire_close(w);
    rig_fini(&rig);
}

static void data_for_nobody_is_rejected(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    static const uint32_t tags[] = {0, 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xE0000000, 0xC8000100};
    for (unsigned i = 0; i < countof(tags); i++) {
        wire_data_out(w, 0x80, 4711, tags[i], 0, 0, rig_pattern, 5000);
        require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
        expect_eq(p.bhs[2], ISCSI_REJECT_INVALID_FIELD);
        expect_eq(p.data_bytes, ISCSI_BHS_BYTES);
        expect_eq(load_be32(p.data + ISCSI_AT_TTT), tags[i]);
    }
    /* The right slot, another task. */
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x2A, 0, 512);
    uint32_t itt = wire_command(w, WRITE, 0, cdb, 512 * 512, rig_pattern, 512);
    require(wire_expect(w, ISCSI_OP_R2T, itt, &p));
    wire_data_out(w, 0x80, itt + 1, load_be32(p.bhs + ISCSI_AT_TTT), 0, 512, rig_pattern, 512);
    require(wire_expect(w, ISCSI_OP_REJECT, ISCSI_TAG_NONE, &p));
    expect_eq(p.bhs[2], ISCSI_REJECT_INVALID_FIELD);
    wire_close(w);
    rig_fini(&rig);
}

/* ---- Residuals and status ---- */

static void residuals_tell_both_ways(void)
{
    static const struct {
        uint8_t opcode;
        uint16_t sectors;
        uint32_t edtl;
        uint8_t flag;
        uint32_t residual, moved;
    } rows[] = {
        {0x28, 2, 1024, 0, 0, 1024},
        {0x28, 2, 4096, ISCSI_RESIDUAL_UNDERFLOW, 3072, 1024},
        {0x28, 8, 512, ISCSI_RESIDUAL_OVERFLOW, 3584, 512},
        {0x28, 8, 0, ISCSI_RESIDUAL_OVERFLOW, 4096, 0},
        {0x2A, 2, 1024, 0, 0, 1024},
        {0x2A, 2, 4096, ISCSI_RESIDUAL_UNDERFLOW, 3072, 1024},
        {0x2A, 8, 512, ISCSI_RESIDUAL_OVERFLOW, 3584, 512},
        {0x00, 0, 512, ISCSI_RESIDUAL_UNDERFLOW, 512, 0}, /* TEST UNIT READY moves nothing */
    };
    for (unsigned i = 0; i < countof(rows); i++) {
        struct rig rig;
        rig_init(&rig, 0);
        struct wire *w = wire_session(&rig, NULL);
        struct wire_pdu p;
        uint8_t cdb[16];
        bool write = rows[i].opcode == 0x2A;
        wire_cdb10(cdb, rows[i].opcode, 0, rows[i].sectors);
        uint32_t itt = wire_command(w, write ? WRITE : READ, 0, cdb, rows[i].edtl, rig_pattern,
                                    write ? rows[i].edtl : 0);
        require(wire_next(w, &p));
        expect_eq(p.itt, itt);
        expect_eq(p.bhs[3], 0);
        expect_eq(p.flags & 6, rows[i].flag);
        expect_eq(load_be32(p.bhs + ISCSI_AT_RESIDUAL), rows[i].residual);
        if (!write) expect_eq(p.data_bytes, rows[i].moved);
        if (write) expect(wire_reads_as(w, 0, rig_pattern, rows[i].moved));
        wire_close(w);
        rig_fini(&rig);
    }
}

static void sense_data_comes_with_the_response(void)
{
    struct rig rig;
    rig_init(&rig, 0);
    struct wire *w = wire_session(&rig, NULL);
    struct wire_pdu p;
    uint32_t itt = wire_read(w, 0xFFFFFF00, 8);
    require(wire_expect(w, ISCSI_OP_RESPONSE, itt, &p));
    expect_eq(p.bhs[3], SCSI_STATUS_CHECK_CONDITION);
    expect_eq(load_be16(p.data), p.data_bytes - 2);
    expect_eq(wire_sense(&p), 0x052100);
    /* An engine error ends a read that has no data. */
    memvol_fail(rig.pool, VOLUME_READ, STATUS_BLOCK_CORRUPT);
    itt = wire_read(w, 0, 8);
    require(wire_expect(w, ISCSI_OP_RESPONSE, itt, &p));
    expect_eq(wire_sense(&p) >> 16, 3);
    wire_close(w);
    rig_fini(&rig);
}

int main(void)
{
    run(good_status_travels_with_the_last_data);
    run(data_in_keeps_to_segment_and_burst);
    run(digests_cover_headers_and_data);
    run(wrong_digests_end_the_connection);
    run(immediate_data_is_written);
    run(solicited_data_comes_by_several_r2ts);
    run(unsolicited_and_solicited_data_follow_each_other);
    run(data_that_breaks_the_rules_fails_its_command);
    run(burst_sent_twice_fails_its_command);
    run(data_for_nobody_is_rejected);
    run(residuals_tell_both_ways);
    run(sense_data_comes_with_the_response);
    return tap_done();
}
