/* super.c - encode and decode of the superblock. */
#include "pool/super.h"

#include "base/buf.h"
#include "base/crc32c.h"

enum { SUPER_CRC_OFFSET = BLOCK_BYTES - 4 };

void super_encode(const struct super *s, uint8_t block[BLOCK_BYTES])
{
    struct buf_writer w = buf_writer(block, SUPER_CRC_OFFSET);
    memset(block, 0, BLOCK_BYTES);
    buf_put_le64(&w, FORMAT_SUPER_MAGIC);
    buf_put_le32(&w, FORMAT_VERSION);
    buf_put_le32(&w, s->flags);
    buf_put_le64(&w, 0); /* features that only matter for writing */
    buf_put_le64(&w, 0); /* features without which the pool must not be opened */
    buf_put_uuid(&w, &s->uuid);
    buf_put_le64(&w, s->checkpoint);
    buf_put_le64(&w, s->size_blocks);
    buf_put_le64(&w, s->wal_start);
    buf_put_le64(&w, s->wal_blocks);
    buf_put_le64(&w, s->data_start);
    buf_put_le64(&w, s->replay_seq);
    buf_put_le64(&w, s->replay_position);
    buf_put_le64(&w, s->epoch);
    buf_put_le64(&w, s->durable);
    buf_put_le64(&w, s->next_seq);
    buf_put_le64(&w, s->wall_ns);
    buf_put_le64(&w, s->system.block);
    buf_put_le32(&w, s->system.blocks);
    buf_put_le32(&w, s->system.crc);
    store_le32(block + SUPER_CRC_OFFSET, crc32c(0, block, SUPER_CRC_OFFSET));
}

static bool is_sane(const struct super *s, uint64_t device_blocks)
{
    return s->size_blocks <= device_blocks && s->size_blocks <= FORMAT_PHYS_MAX &&
           s->wal_start == FORMAT_WAL_START && s->wal_blocks >= 64 &&
           s->wal_blocks < s->size_blocks && s->data_start == s->wal_start + s->wal_blocks &&
           s->data_start < s->size_blocks && s->replay_seq <= s->durable &&
           s->next_seq > s->replay_seq && s->next_seq <= FORMAT_GENERATION_MAX &&
           s->system.block >= s->data_start && s->system.block < s->size_blocks &&
           s->system.blocks >= 1 && s->system.blocks <= FORMAT_EXTENT_MAX_BLOCKS &&
           s->system.blocks <= s->size_blocks - s->system.block && s->checkpoint >= 1;
}

enum status super_decode(const uint8_t block[BLOCK_BYTES], uint64_t device_blocks,
                         struct super *ret_super)
{
    struct buf_reader r = buf_reader(block, SUPER_CRC_OFFSET);
    struct super s = {0};
    if (buf_take_le64(&r) != FORMAT_SUPER_MAGIC) return STATUS_NOT_A_POOL;
    if (load_le32(block + SUPER_CRC_OFFSET) != crc32c(0, block, SUPER_CRC_OFFSET))
        return STATUS_NOT_A_POOL;
    if (buf_take_le32(&r) != FORMAT_VERSION) return STATUS_FORMAT_VERSION;
    s.flags = buf_take_le32(&r);
    uint64_t write_features = buf_take_le64(&r), open_features = buf_take_le64(&r);
    if (write_features || open_features) return STATUS_FORMAT_VERSION;
    s.uuid = buf_take_uuid(&r);
    s.checkpoint = buf_take_le64(&r);
    s.size_blocks = buf_take_le64(&r);
    s.wal_start = buf_take_le64(&r);
    s.wal_blocks = buf_take_le64(&r);
    s.data_start = buf_take_le64(&r);
    s.replay_seq = buf_take_le64(&r);
    s.replay_position = buf_take_le64(&r);
    s.epoch = buf_take_le64(&r);
    s.durable = buf_take_le64(&r);
    s.next_seq = buf_take_le64(&r);
    s.wall_ns = buf_take_le64(&r);
    s.system.block = buf_take_le64(&r);
    s.system.blocks = buf_take_le32(&r);
    s.system.crc = buf_take_le32(&r);
    if (!is_sane(&s, device_blocks)) return STATUS_NOT_A_POOL;
    *ret_super = s;
    return STATUS_OK;
}
