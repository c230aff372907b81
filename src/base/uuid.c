#include "base/uuid.h"

#include <string.h>

struct uuid uuid_from_random(const uint8_t random[16])
{
    struct uuid uuid;
    memcpy(uuid.bytes, random, sizeof uuid.bytes);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0F) | 0x40); /* RFC 9562 5.4: version 4 */
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3F) | 0x80); /* RFC 9562 4.1: variant 10b */
    return uuid;
}

char *uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *p = text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *p++ = '-';
        *p++ = digits[uuid->bytes[i] >> 4];
        *p++ = digits[uuid->bytes[i] & 15];
    }
    *p = '\0';
    return text;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool uuid_parse(const char *text, struct uuid *ret_uuid)
{
    struct uuid uuid;
    bool braces = *text == '{';
    if (braces) text++;
    for (int i = 0; i < 16; i++) {
        if (*text == '-' && (i == 4 || i == 6 || i == 8 || i == 10)) text++;
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0) return false;
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (braces && *text++ != '}') return false;
    if (*text != '\0') return false;
    *ret_uuid = uuid;
    return true;
}

int uuid_compare(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool uuid_is_nil(const struct uuid *uuid)
{
    static const struct uuid nil;
    return uuid_equal(uuid, &nil);
}

uint64_t uuid_hash(const struct uuid *uuid)
{
    uint64_t high, low;
    memcpy(&high, uuid->bytes, 8);
    memcpy(&low, uuid->bytes + 8, 8);
    return (high ^ (low * 0x9E3779B97F4A7C15u)) * 0xBF58476D1CE4E5B9u;
}
