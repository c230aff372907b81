/*
 * endian.h - unaligned little- and big-endian loads and stores.  Everything on disk is little-endian,
 * everything on the wire (iSCSI, SCSI) big-endian; nothing is ever overlaid with a struct.
 */
#ifndef TARN_BASE_ENDIAN_H
#define TARN_BASE_ENDIAN_H

#include <stdint.h>
#include <string.h>

#define ENDIAN_DEFINE(bits, order, swap)                                                           \
    static inline uint##bits##_t load_##order##bits(const void *from)                              \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        memcpy(&value, from, sizeof value);                                                        \
        return swap(value);                                                                        \
    }                                                                                              \
    static inline void store_##order##bits(void *to, uint##bits##_t value)                         \
    {                                                                                              \
        value = swap(value);                                                                       \
        memcpy(to, &value, sizeof value);                                                          \
    }

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "only little-endian machines are supported"
#endif
#define ENDIAN_SAME(x) (x)
ENDIAN_DEFINE(16, le, ENDIAN_SAME)
ENDIAN_DEFINE(32, le, ENDIAN_SAME)
ENDIAN_DEFINE(64, le, ENDIAN_SAME)
ENDIAN_DEFINE(16, be, __builtin_bswap16)
ENDIAN_DEFINE(32, be, __builtin_bswap32)
ENDIAN_DEFINE(64, be, __builtin_bswap64)
#undef ENDIAN_SAME
#undef ENDIAN_DEFINE

static inline uint32_t load_be24(const void *from)
{
    const uint8_t *p = from;
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static inline void store_be24(void *to, uint32_t value)
{
    uint8_t *p = to;
    p[0] = (uint8_t)(value >> 16);
    p[1] = (uint8_t)(value >> 8);
    p[2] = (uint8_t)value;
}

static inline uint64_t load_le48(const void *from)
{
    const uint8_t *p = from;
    return load_le32(p) | (uint64_t)load_le16(p + 4) << 32;
}

static inline void store_le48(void *to, uint64_t value)
{
    uint8_t *p = to;
    store_le32(p, (uint32_t)value);
    store_le16(p + 4, (uint16_t)(value >> 32));
}

#endif
