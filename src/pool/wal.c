/* wal.c - encode and decode of the write-ahead log. */
#include "pool/wal.h"

#include "base/check.h"
#include "base/crc32c.h"

enum { HEADER_CRC_OFFSET = FORMAT_WAL_HEADER_BYTES - 4, LBA_BITS = 44 };

/* 48 bits. */
static void put_le48(struct buf_writer *w, uint64_t value)
{
    uint8_t *p = buf_put(w, 6);
    check(value <= FORMAT_GENERATION_MAX);
    if (p) store_le48(p, value);
}

static uint64_t take_le48(struct buf_reader *r)
{
    const uint8_t *p = buf_take(r, 6);
    return p ? load_le48(p) : 0;
}

uint32_t wal_block_crc(uint32_t crc_of_data, uint32_t disk, uint64_t lba, uint64_t generation)
{
    uint8_t place[20];
    store_le32(place, disk);
    store_le64(place + 4, lba);
    store_le64(place + 12, generation);
    return crc32c(crc_of_data, place, sizeof place);
}

struct buf_writer wal_body(void *batch, size_t size_bytes)
{
    struct buf_writer w = buf_writer(batch, size_bytes);
    buf_put(&w, FORMAT_WAL_HEADER_BYTES);
    return w;
}

static void put_head(struct buf_writer *w, const struct wal_record *r)
{
    check(r->count < 1u << (64 - LBA_BITS) && r->lba < (uint64_t)1 << LBA_BITS);
    buf_put_u8(w, (uint8_t)r->type);
    buf_put_u8(w, r->flags);
    buf_put_le16(w, r->reserved);
    buf_put_le32(w, r->disk);
}

uint8_t *wal_put_insert(struct buf_writer *w, const struct wal_record *r)
{
    put_head(w, r);
    buf_put_le64(w, r->lba | (uint64_t)r->count << LBA_BITS);
    put_le48(w, r->phys);
    if (r->flags & WAL_FILED) put_le48(w, r->generation);
    return r->flags & WAL_HOLE ? NULL : buf_put(w, r->count * sizeof(uint32_t));
}

void wal_put_remove(struct buf_writer *w, const struct wal_record *r)
{
    put_head(w, r);
    buf_put_le64(w, r->lba | (uint64_t)r->count << LBA_BITS);
    put_le48(w, r->generation);
    put_le48(w, r->phys);
}

void wal_put_admin(struct buf_writer *w, const struct wal_record *r)
{
    put_head(w, r);
    switch (r->type) {
    case WAL_DISK_CREATE:
        buf_put_uuid(w, &r->uuid);
        buf_put_le64(w, r->size_bytes);
        buf_put_le32(w, r->parent);
        buf_put_le64(w, r->generation);
        buf_put_uuid(w, &r->uuid2);
        buf_put_le64(w, r->parent_size_bytes);
        break;
    case WAL_DISK_RESIZE:
        buf_put_le64(w, r->size_bytes);
        break;
    case WAL_DISK_DELETE:
    case WAL_DISK_GONE:
    case WAL_SPLIT:
        break;
    case WAL_CUT:
        buf_put_uuid(w, &r->uuid2);
        buf_put_u8(w, r->leased);
        buf_put_le32(w, r->count);
        break;
    case WAL_CUT_MEMBER:
        buf_put_uuid(w, &r->uuid);
        buf_put_uuid(w, &r->uuid2);
        buf_put_u8(w, r->kind);
        buf_put_u8(w, r->leased);
        buf_put_le64(w, r->size_bytes);
        break;
    case WAL_CUT_POOL:
        buf_put_uuid(w, &r->uuid);
        buf_put_uuid(w, &r->uuid2);
        buf_put_le32(w, r->count);
        break;
    case WAL_CUT_ABROAD:
        buf_put_uuid(w, &r->uuid);
        buf_put_uuid(w, &r->uuid2);
        break;
    case WAL_POINT_DELETE:
        buf_put_uuid(w, &r->uuid);
        break;
    case WAL_REVERT:
        buf_put_uuid(w, &r->uuid);
        buf_put_le64(w, r->generation);
        buf_put_le64(w, r->size_bytes);
        buf_put_le64(w, r->stage);
        break;
    case WAL_OPEN_RECORD:
        buf_put_le64(w, r->generation);
        buf_put_le64(w, r->durable);
        buf_put_le64(w, r->epoch);
        break;
    case WAL_INSERT:
    case WAL_REMOVE:
        unreachable("not an admin record");
    }
}

uint32_t wal_blocks_for(const struct buf_writer *w)
{
    return (uint32_t)((buf_used(w) + BLOCK_BYTES - 1) / BLOCK_BYTES);
}

void wal_seal(void *batch, const struct buf_writer *w, struct wal_header *h)
{
    uint8_t *bytes = batch;
    struct buf_writer hw = buf_writer(batch, FORMAT_WAL_HEADER_BYTES);
    check(!w->failed);
    h->body_bytes = (uint32_t)buf_used(w) - FORMAT_WAL_HEADER_BYTES;
    h->blocks = wal_blocks_for(w);
    memset(bytes + buf_used(w), 0, (size_t)h->blocks * BLOCK_BYTES - buf_used(w));
    h->body_crc = crc32c(0, bytes + FORMAT_WAL_HEADER_BYTES, h->body_bytes);
    memset(bytes, 0, FORMAT_WAL_HEADER_BYTES);
    buf_put_le64(&hw, FORMAT_WAL_MAGIC);
    buf_put_uuid(&hw, &h->uuid);
    buf_put_le64(&hw, h->epoch);
    buf_put_le64(&hw, h->seq);
    buf_put_le64(&hw, h->prev_seq);
    buf_put_le64(&hw, h->durable);
    buf_put_le64(&hw, h->position);
    buf_put_le32(&hw, h->blocks);
    buf_put_le32(&hw, h->body_bytes);
    buf_put_le32(&hw, h->body_crc);
    buf_put_le16(&hw, (uint16_t)h->kind);
    buf_put_le16(&hw, 0);
    buf_put_le64(&hw, h->wall_ns);
    store_le32(bytes + HEADER_CRC_OFFSET, crc32c(0, bytes, HEADER_CRC_OFFSET));
}

bool wal_decode_header(const uint8_t *block, const struct uuid *uuid, struct wal_header *ret_header)
{
    struct wal_header h;
    struct buf_reader r = buf_reader(block, FORMAT_WAL_HEADER_BYTES);
    if (buf_take_le64(&r) != FORMAT_WAL_MAGIC) return false;
    if (load_le32(block + HEADER_CRC_OFFSET) != crc32c(0, block, HEADER_CRC_OFFSET)) return false;
    h.uuid = buf_take_uuid(&r);
    h.epoch = buf_take_le64(&r);
    h.seq = buf_take_le64(&r);
    h.prev_seq = buf_take_le64(&r);
    h.durable = buf_take_le64(&r);
    h.position = buf_take_le64(&r);
    h.blocks = buf_take_le32(&r);
    h.body_bytes = buf_take_le32(&r);
    h.body_crc = buf_take_le32(&r);
    uint16_t kind = buf_take_le16(&r);
    buf_take_le16(&r);
    h.wall_ns = buf_take_le64(&r);
    if (!uuid_equal(&h.uuid, uuid) || kind < WAL_DATA || kind > WAL_NOTE) return false;
    h.kind = (enum wal_kind)kind;
    if (h.blocks < 1 || h.blocks > FORMAT_BATCH_WAL_BLOCKS || h.seq > FORMAT_GENERATION_MAX ||
        h.seq <= h.prev_seq || h.durable >= h.seq ||
        (uint64_t)h.body_bytes + FORMAT_WAL_HEADER_BYTES > (uint64_t)h.blocks * BLOCK_BYTES)
        return false;
    *ret_header = h;
    return true;
}

bool wal_body_is_good(const uint8_t *batch, const struct wal_header *header)
{
    return crc32c(0, batch + FORMAT_WAL_HEADER_BYTES, header->body_bytes) == header->body_crc;
}

struct buf_reader wal_records(const uint8_t *batch, const struct wal_header *header)
{
    return buf_reader(batch + FORMAT_WAL_HEADER_BYTES, header->body_bytes);
}

static void take_extent(struct buf_reader *r, struct wal_record *record)
{
    uint64_t v = buf_take_le64(r);
    record->lba = v & (((uint64_t)1 << LBA_BITS) - 1);
    record->count = (uint32_t)(v >> LBA_BITS);
    uint64_t first = record->lba % FORMAT_LEAF_BLOCKS;
    if (record->count == 0 || first + record->count > FORMAT_LEAF_BLOCKS) r->failed = true;
}

static void take_admin(struct buf_reader *r, struct wal_record *record)
{
    switch (record->type) {
    case WAL_DISK_CREATE:
        record->uuid = buf_take_uuid(r);
        record->size_bytes = buf_take_le64(r);
        record->parent = buf_take_le32(r);
        record->generation = buf_take_le64(r);
        record->uuid2 = buf_take_uuid(r);
        record->parent_size_bytes = buf_take_le64(r);
        break;
    case WAL_DISK_RESIZE:
        record->size_bytes = buf_take_le64(r);
        break;
    case WAL_DISK_DELETE:
    case WAL_DISK_GONE:
    case WAL_SPLIT:
        break;
    case WAL_CUT:
        record->uuid2 = buf_take_uuid(r);
        record->leased = buf_take_u8(r) != 0;
        record->count = buf_take_le32(r);
        break;
    case WAL_CUT_MEMBER:
        record->uuid = buf_take_uuid(r);
        record->uuid2 = buf_take_uuid(r);
        record->kind = buf_take_u8(r);
        record->leased = buf_take_u8(r) != 0;
        record->size_bytes = buf_take_le64(r);
        break;
    case WAL_CUT_POOL:
        record->uuid = buf_take_uuid(r);
        record->uuid2 = buf_take_uuid(r);
        record->count = buf_take_le32(r);
        break;
    case WAL_CUT_ABROAD:
        record->uuid = buf_take_uuid(r);
        record->uuid2 = buf_take_uuid(r);
        break;
    case WAL_POINT_DELETE:
        record->uuid = buf_take_uuid(r);
        break;
    case WAL_REVERT:
        record->uuid = buf_take_uuid(r);
        record->generation = buf_take_le64(r);
        record->size_bytes = buf_take_le64(r);
        record->stage = buf_take_le64(r);
        break;
    case WAL_OPEN_RECORD:
        record->generation = buf_take_le64(r);
        record->durable = buf_take_le64(r);
        record->epoch = buf_take_le64(r);
        break;
    case WAL_INSERT:
    case WAL_REMOVE:
    default:
        r->failed = true;
    }
}

bool wal_next(struct buf_reader *r, struct wal_record *ret_record)
{
    struct wal_record record = {0};
    if (r->failed || buf_left(r) == 0) return false;
    record.type = (enum wal_record_type)buf_take_u8(r);
    record.flags = buf_take_u8(r);
    record.reserved = buf_take_le16(r);
    record.disk = buf_take_le32(r);
    if (record.type == WAL_INSERT) {
        take_extent(r, &record);
        record.phys = take_le48(r);
        if (record.flags & WAL_FILED) record.generation = take_le48(r);
        if (!r->failed && !(record.flags & WAL_HOLE))
            record.crcs = buf_take(r, record.count * sizeof(uint32_t));
    } else if (record.type == WAL_REMOVE) {
        take_extent(r, &record);
        record.generation = take_le48(r);
        record.phys = take_le48(r);
    } else {
        take_admin(r, &record);
    }
    if (r->failed) return false;
    *ret_record = record;
    return true;
}
