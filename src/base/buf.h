/*
 * buf.h - bounded reader and writer over memory of the caller, for everything that is parsed from disk
 * or wire.  A read or write past the end sets `failed`, returns zero and changes nothing more; test
 * `failed` once at the end.  Threads: one at a time.  Ownership: the memory stays the caller's.
 */
#ifndef TARN_BASE_BUF_H
#define TARN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"
#include "base/uuid.h"

struct buf_reader {
    const uint8_t *at, *end;
    bool failed;
};

struct buf_writer {
    uint8_t *start, *at, *end;
    bool failed;
};

static inline struct buf_reader buf_reader(const void *data, size_t size_bytes)
{
    const uint8_t *p = data;
    return (struct buf_reader){.at = p, .end = p + size_bytes};
}

static inline size_t buf_left(const struct buf_reader *r)
{
    return r->failed ? 0 : (size_t)(r->end - r->at);
}

/* `size` bytes in place, or NULL (and failed). */
static inline const uint8_t *buf_take(struct buf_reader *r, size_t size_bytes)
{
    if (r->failed || (size_t)(r->end - r->at) < size_bytes) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += size_bytes;
    return p;
}

static inline struct buf_writer buf_writer(void *data, size_t size_bytes)
{
    uint8_t *p = data;
    return (struct buf_writer){.start = p, .at = p, .end = p + size_bytes};
}

static inline size_t buf_used(const struct buf_writer *w)
{
    return (size_t)(w->at - w->start);
}

/* Room for `size` bytes, or NULL (and failed). */
static inline uint8_t *buf_put(struct buf_writer *w, size_t size_bytes)
{
    if (w->failed || (size_t)(w->end - w->at) < size_bytes) {
        w->failed = true;
        return NULL;
    }
    uint8_t *p = w->at;
    w->at += size_bytes;
    return p;
}

#define BUF_DEFINE(bits, order, suffix)                                                            \
    static inline uint##bits##_t buf_take_##suffix(struct buf_reader *r)                           \
    {                                                                                              \
        const uint8_t *p = buf_take(r, bits / 8);                                                  \
        return p ? load_##order##bits(p) : 0;                                                      \
    }                                                                                              \
    static inline void buf_put_##suffix(struct buf_writer *w, uint##bits##_t value)                \
    {                                                                                              \
        uint8_t *p = buf_put(w, bits / 8);                                                         \
        if (p) store_##order##bits(p, value);                                                      \
    }
BUF_DEFINE(16, le, le16)
BUF_DEFINE(32, le, le32)
BUF_DEFINE(64, le, le64)
BUF_DEFINE(16, be, be16)
BUF_DEFINE(32, be, be32)
BUF_DEFINE(64, be, be64)
#undef BUF_DEFINE

static inline uint8_t buf_take_u8(struct buf_reader *r)
{
    const uint8_t *p = buf_take(r, 1);
    return p ? *p : 0;
}

static inline void buf_put_u8(struct buf_writer *w, uint8_t value)
{
    uint8_t *p = buf_put(w, 1);
    if (p) *p = value;
}

static inline void buf_put_bytes(struct buf_writer *w, const void *data, size_t size_bytes)
{
    uint8_t *p = buf_put(w, size_bytes);
    if (p && size_bytes) memcpy(p, data, size_bytes);
}

static inline void buf_put_zeroes(struct buf_writer *w, size_t size_bytes)
{
    uint8_t *p = buf_put(w, size_bytes);
    if (p && size_bytes) memset(p, 0, size_bytes);
}

static inline struct uuid buf_take_uuid(struct buf_reader *r)
{
    struct uuid uuid = {{0}};
    const uint8_t *p = buf_take(r, sizeof uuid.bytes);
    if (p) memcpy(uuid.bytes, p, sizeof uuid.bytes);
    return uuid;
}

static inline void buf_put_uuid(struct buf_writer *w, const struct uuid *uuid)
{
    buf_put_bytes(w, uuid->bytes, sizeof uuid->bytes);
}

#endif
