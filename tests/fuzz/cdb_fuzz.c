/*
 * cdb_fuzz.c - any CDB with any data-out against the device server on the memory engine.
 *
 * Input: commands one after another: [select] [CDB size] [16 bytes of CDB] [data-out size, 2 bytes, big
 * endian] [data-out].  select: bits 0-1 nexus, 2-4 LUN, 5 the first CDB byte is an index into the table of
 * commands and the second its service action, 6 data-out in small pieces, 7 the LUN 1 is mapped or
 * unmapped before.
 */
#include <stdlib.h>

#include "scsi/scsi_int.h"
#include "tests/lib/scsi_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COMMANDS_MAX = 64, SMALL_SECTORS = 2048 };

struct world {
    struct rig rig;
    struct scsi_lun *small, *locked;
    struct scsi_nexus *nexuses[4];
};

static void build(struct world *w)
{
    rig_init(&w->rig);
    struct volume *v =
        memvol_disk(w->rig.pool, &(struct uuid){{9}}, SMALL_SECTORS * 512, VOLUME_READ_WRITE);
    w->small = rig_lun(&w->rig, v, 2, false);
    w->locked = rig_lun(&w->rig, v, 3, true);
    struct err *e = scsi_map_add(w->rig.map, 1, w->small);
    check(!e);
    e = scsi_map_add(w->rig.map, 2, w->locked);
    check(!e);
    static const char *const names[] = {"iqn.test:0", "iqn.test:1", "iqn.test:2"};
    for (unsigned i = 0; i < 3; i++)
        w->nexuses[i] = rig_nexus(&w->rig, w->rig.map, names[i]);
    w->nexuses[3] = w->rig.nexus;
}

static void tear_down(struct world *w)
{
    for (unsigned i = 0; i < 3; i++)
        scsi_nexus_destroy(w->nexuses[i]);
    for (unsigned i = 1; i < 3; i++) {
        if (scsi_map_find(w->rig.map, i)) scsi_map_remove(w->rig.map, i, NULL, NULL);
    }
    rig_run_idle(&w->rig);
    scsi_lun_destroy(w->small);
    scsi_lun_destroy(w->locked);
    rig_fini(&w->rig);
}

static void toggle_map(struct world *w)
{
    if (scsi_map_find(w->rig.map, 1)) {
        scsi_map_remove(w->rig.map, 1, NULL, NULL);
    } else {
        struct err *e = scsi_map_add(w->rig.map, 1, w->small);
        check(!e);
    }
}

/* What must hold of every answer, whatever was asked. */
static void check_reply(const struct reply *r)
{
    check(r->transfer == SCSI_TRANSFER_IN || r->size == 0);
    check(r->size <= r->transfer_bytes);
    check(r->transfer_bytes <= UINT32_MAX);
    check(r->transfer != SCSI_TRANSFER_OUT || r->transfer_bytes <= LIMIT_TRANSFER_BYTES);
    check(r->transfer != SCSI_TRANSFER_NONE || r->transfer_bytes == 0);
    switch (r->status) {
    case SCSI_STATUS_GOOD:
    case SCSI_STATUS_RESERVATION_CONFLICT:
        check(r->sense_bytes == 0);
        break;
    case SCSI_STATUS_CHECK_CONDITION:
        check(r->sense_bytes >= 8 && r->sense_bytes == 8U + r->sense[7]);
        check(r->key != 0 && r->size == 0);
        break;
    default:
        unreachable("a status that nothing here can lead to");
    }
}

static bool next_command(struct world *w, struct buf_reader *in)
{
    uint8_t select = buf_take_u8(in), cdb_size = buf_take_u8(in) % 17;
    const uint8_t *given = buf_take(in, 16);
    size_t out_size = buf_take_be16(in);
    if (in->failed) return false;
    out_size = min_of(out_size, buf_left(in));
    uint8_t cdb[16];
    memcpy(cdb, given, 16);
    if (select & 0x20) {
        const struct scsi_command *command = &scsi_commands[cdb[0] % scsi_command_count];
        cdb[0] = command->opcode;
        if (command->flags & SCSI_COMMAND_SERVICE_ACTION) {
            cdb[1] = (uint8_t)((cdb[1] & 0xE0) | command->service_action);
        }
        cdb_size = command->cdb_bytes;
    }
    if (select & 0x80) toggle_map(w);
    w->rig.out_pieces = select & 0x40 ? out_size / 50 + 1 : 0;
    check_reply(rig_out(&w->rig, w->nexuses[select & 3], select >> 2 & 7, cdb, cdb_size,
                        buf_take(in, out_size), out_size));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct buf_reader in = buf_reader(data, size);
    build(&world);
    for (unsigned i = 0; i < COMMANDS_MAX && next_command(&world, &in); i++) {
    }
    tear_down(&world);
    return 0;
}
