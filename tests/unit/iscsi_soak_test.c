/*
 * Random sessions against a plain model: keys drawn anew for each session, writes of every size
 * whose data comes immediate, unsolicited and solicited in segments and pieces of drawn sizes,
 * reads compared byte for byte, aborts, and connections that are cut in the middle.
 *
 *     iscsi_soak_test [SEED [COUNT]]        replays one seed
 */
#include "tests/unit/iscsi_rig.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/prng.h"

enum { DISK_SECTORS = 4096, WRITE_SECTORS_MAX = 2048 };

static struct prng prng;
static uint8_t model[DISK_SECTORS * SECTOR_BYTES];

struct session {
    struct wire *w;
    bool initial_r2t, immediate;
    uint32_t first_burst, max_burst;
};

static uint32_t draw(uint32_t low, uint32_t high)
{
    return low + (uint32_t)prng_below(&prng, high - low + 1);
}

static const char *draw_word(const char *a, const char *b)
{
    return prng_chance(&prng, 1, 2) ? a : b;
}

static void begin_session(struct rig *rig, struct session *s)
{
    char keys[512];
    snprintf(keys, sizeof keys,
             "HeaderDigest=%s\nDataDigest=%s\nInitialR2T=%s\nImmediateData=%s\n"
             "MaxRecvDataSegmentLength=%u\nMaxBurstLength=%u\nFirstBurstLength=%u\n"
             "MaxOutstandingR2T=%u\n",
             draw_word("None", "CRC32C"), draw_word("None", "CRC32C"), draw_word("Yes", "No"),
             draw_word("Yes", "No"), draw(512, 300000), draw(512, 300000), draw(512, 100000),
             draw(1, 6));
    s->w = wire_session(rig, keys);
    s->initial_r2t = strcmp(wire_answer(s->w, "InitialR2T"), "Yes") == 0;
    s->immediate = strcmp(wire_answer(s->w, "ImmediateData"), "Yes") == 0;
    s->max_burst = (uint32_t)atoi(wire_answer(s->w, "MaxBurstLength"));
    s->first_burst = (uint32_t)atoi(wire_answer(s->w, "FirstBurstLength"));
    s->first_burst = min_of(s->first_burst, s->max_burst);
}

/* Data of one burst in segments of drawn sizes. */
static void send_burst(struct wire *w, uint32_t itt, uint32_t tag, const uint8_t *data,
                       uint32_t from, uint32_t to)
{
    for (uint32_t sn = 0; from < to; sn++) {
        uint32_t n = min_of(to - from, draw(1, 90000));
        wire_data_out(w, from + n == to ? 0x80 : 0, itt, tag, sn, from, data + from, n);
        from += n;
    }
}

/* A write as the session allows it; false when the stream ended or an answer was wrong. */
static bool write_blocks(struct session *s, uint32_t sector, uint32_t count, const uint8_t *data)
{
    struct wire *w = s->w;
    struct wire_pdu p;
    uint8_t cdb[16];
    uint32_t size_bytes = count * SECTOR_BYTES, limit = min_of(s->first_burst, size_bytes);
    uint32_t now = s->immediate ? draw(0, limit) : 0;
    bool more = !s->initial_r2t && now < limit && prng_chance(&prng, 1, 2);
    wire_cdb10(cdb, 0x2A, sector, (uint16_t)count);
    uint32_t itt =
        wire_command(w, ISCSI_COMMAND_WRITE | (more ? 0 : 0x80), 0, cdb, size_bytes, data, now);
    if (more) send_burst(w, itt, ISCSI_TAG_NONE, data, now, draw(now + 1, limit));
    for (;;) {
        if (!wire_next(w, &p) || p.itt != itt) return false;
        if (p.opcode == ISCSI_OP_RESPONSE) return p.bhs[3] == SCSI_STATUS_GOOD;
        if (p.opcode != ISCSI_OP_R2T) return false;
        uint32_t from = load_be32(p.bhs + ISCSI_AT_BUFFER_OFFSET);
        uint32_t n = load_be32(p.bhs + ISCSI_AT_DESIRED_BYTES);
        if (n == 0 || n > s->max_burst || from + n > size_bytes) return false;
        send_burst(w, itt, load_be32(p.bhs + ISCSI_AT_TTT), data, from, from + n);
    }
}

/* The start of a write and then nothing: the disk must stay as it is. */
static void cut_a_write(struct session *s)
{
    struct wire_pdu p;
    uint8_t cdb[16];
    uint32_t count = draw(2, WRITE_SECTORS_MAX);
    wire_cdb10(cdb, 0x2A, draw(0, DISK_SECTORS - count), (uint16_t)count);
    uint32_t now = s->immediate ? min_of(draw(0, s->first_burst), (uint32_t)SECTOR_BYTES) : 0;
    uint32_t itt = wire_command(s->w, 0x80 | ISCSI_COMMAND_WRITE, 0, cdb, count * SECTOR_BYTES,
                                rig_pattern, now);
    if (!wire_next(s->w, &p) || p.opcode != ISCSI_OP_R2T) return;
    uint8_t bhs[ISCSI_BHS_BYTES];
    iscsi_pdu_start(bhs, ISCSI_OP_DATA_OUT, 0x80);
    iscsi_pdu_set_data_bytes(bhs, load_be32(p.bhs + ISCSI_AT_DESIRED_BYTES));
    store_be32(bhs + ISCSI_AT_ITT, itt);
    memcpy(bhs + ISCSI_AT_TTT, p.bhs + ISCSI_AT_TTT, 4);
    memcpy(bhs + ISCSI_AT_BUFFER_OFFSET, p.bhs + ISCSI_AT_BUFFER_OFFSET, 4);
    wire_send_bytes(s->w, bhs, draw(1, sizeof bhs));
}

static bool abort_a_write(struct session *s)
{
    struct wire_pdu p;
    uint8_t cdb[16];
    wire_cdb10(cdb, 0x2A, 0, 1024);
    uint32_t itt =
        wire_command(s->w, 0x80 | ISCSI_COMMAND_WRITE, 0, cdb, 1024 * SECTOR_BYTES, NULL, 0);
    uint32_t tmf = wire_tmf(s->w, ISCSI_TMF_ABORT_TASK, 0, itt);
    while (wire_next(s->w, &p)) {
        if (p.opcode == ISCSI_OP_TMF_RESPONSE)
            return p.itt == tmf && p.bhs[2] == ISCSI_TMF_COMPLETE;
        if (p.opcode != ISCSI_OP_R2T) return false;
    }
    return false;
}

static bool step(struct rig *rig, struct session *s)
{
    uint32_t count = draw(1, prng_chance(&prng, 1, 4) ? WRITE_SECTORS_MAX : 64);
    uint32_t sector = draw(0, DISK_SECTORS - count);
    uint8_t *data = model + (size_t)sector * SECTOR_BYTES;
    switch (prng_below(&prng, 12)) {
    case 0:
        if (prng_chance(&prng, 1, 2)) cut_a_write(s);
        wire_close(s->w);
        begin_session(rig, s);
        return true;
    case 1:
        return abort_a_write(s);
    case 2:
    case 3:
    case 4:
    case 5:
        return wire_reads_as(s->w, sector, data, count * SECTOR_BYTES);
    default:
        prng_fill(&prng, data, (size_t)count * SECTOR_BYTES);
        return write_blocks(s, sector, count, data);
    }
}

static bool run_seed(uint64_t seed, unsigned steps)
{
    struct rig rig;
    struct session s;
    prng_init(&prng, seed);
    memset(model, 0, sizeof model);
    rig_init(&rig, 0);
    begin_session(&rig, &s);
    bool good = true;
    unsigned done = 0;
    for (; good && done < steps; done++)
        good = step(&rig, &s);
    if (good) good = wire_reads_as(s.w, 0, model, sizeof model);
    if (!good) printf("# seed %llu fails at step %u\n", (unsigned long long)seed, done);
    wire_close(s.w);
    return rig_end(&rig) == 0 && good;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        unsigned steps = argc > 2 ? (unsigned)atoi(argv[2]) : 60;
        tap_point(argv[1], run_seed(strtoull(argv[1], NULL, 0), steps));
        return tap_done();
    }
    bool good = true;
    for (uint64_t seed = 1; seed <= 24 && good; seed++)
        good = run_seed(seed, 60);
    tap_point("random_sessions_match_the_model", good);
    return tap_done();
}
