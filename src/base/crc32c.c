#include "base/crc32c.h"

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t seed, const void *data, size_t size_bytes)
{
    /* ISA-L neither inverts at the start nor at the end, takes an int length and no const. */
    const unsigned char *p = data;
    uint32_t crc = ~seed;
    while (size_bytes > 0) {
        size_t part = size_bytes < (1u << 30) ? size_bytes : (1u << 30);
        crc = crc32_iscsi((unsigned char *)(uintptr_t)p, (int)part, crc);
        p += part;
        size_bytes -= part;
    }
    return ~crc;
}
