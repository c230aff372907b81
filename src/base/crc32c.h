/*
 * crc32c.h - the Castagnoli CRC of RFC 3720 B.4 (iSCSI digests) and of every block and page of a pool.
 *
 * crc32c(0, data, n) is the usual value (initial and final inversion included); it may be continued:
 * crc32c(crc32c(0, a, na), b, nb).  Threads: any.
 */
#ifndef TARN_BASE_CRC32C_H
#define TARN_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t seed, const void *data, size_t size_bytes);

#endif
