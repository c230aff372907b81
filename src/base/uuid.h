/*
 * uuid.h - 16-byte identifiers (RFC 9562, version 4 when drawn by us).  Text form is lower case with
 * dashes.  Threads: any.
 */
#ifndef TARN_BASE_UUID_H
#define TARN_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

struct uuid {
    uint8_t bytes[16];
};

enum { UUID_TEXT_SIZE = 37 }; /* with the terminating NUL */

/* Sets version and variant bits on 16 random bytes. */
struct uuid uuid_from_random(const uint8_t random[16]);
char *uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE]); /* returns text */
/* Accepts dashes or none, upper or lower case, optional braces. */
bool uuid_parse(const char *text, struct uuid *ret_uuid);
int uuid_compare(const struct uuid *a, const struct uuid *b);
bool uuid_is_nil(const struct uuid *uuid);
uint64_t uuid_hash(const struct uuid *uuid);

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return uuid_compare(a, b) == 0;
}

#endif
