#include "dsh/decode.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dsh/dsh.h"

static const uint8_t mark_utf8[] = {0xEF, 0xBB, 0xBF}, mark_utf16le[] = {0xFF, 0xFE},
                     mark_utf16be[] = {0xFE, 0xFF};

static bool begins_with(const uint8_t *bytes, size_t size, const uint8_t *mark, size_t mark_size)
{
    return size >= mark_size && memcmp(bytes, mark, mark_size) == 0;
}

static char *put_utf8(char *at, uint32_t point)
{
    if (point < 0x80) {
        *at++ = (char)point;
        return at;
    }
    if (point < 0x800) {
        *at++ = (char)(0xC0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *at++ = (char)(0xE0 | point >> 12);
        } else {
            *at++ = (char)(0xF0 | point >> 18);
            *at++ = (char)(0x80 | (point >> 12 & 0x3F));
        }
        *at++ = (char)(0x80 | (point >> 6 & 0x3F));
    }
    *at++ = (char)(0x80 | (point & 0x3F));
    return at;
}

/* RFC 2781 2.2.  Three bytes of UTF-8 at most for two of UTF-16. */
static struct err *from_utf16(const uint8_t *bytes, size_t size, bool big, char *text,
                              char **ret_end)
{
    size_t i = 0;
    while (i + 1 < size) {
        uint32_t unit = (uint32_t)bytes[i + (big ? 0 : 1)] << 8 | bytes[i + (big ? 1 : 0)];
        i += 2;
        if (unit >= 0xD800 && unit < 0xE000) {
            uint32_t low = 0;
            if (i + 1 < size) {
                low = (uint32_t)bytes[i + (big ? 0 : 1)] << 8 | bytes[i + (big ? 1 : 0)];
            }
            if (unit >= 0xDC00 || low < 0xDC00 || low >= 0xE000) break;
            i += 2;
            unit = 0x10000 + ((unit & 0x3FF) << 10 | (low & 0x3FF));
        }
        text = put_utf8(text, unit);
    }
    if (i != size) return err_new(STATUS_BAD_REQUEST, "the script is not whole UTF-16");
    *ret_end = text;
    return NULL;
}

static struct err *fill(const uint8_t *bytes, size_t size, char *text, char **ret_end)
{
    bool little = begins_with(bytes, size, mark_utf16le, sizeof mark_utf16le);
    if (little || begins_with(bytes, size, mark_utf16be, sizeof mark_utf16be)) {
        return from_utf16(bytes + 2, size - 2, !little, text, ret_end);
    }
    if (begins_with(bytes, size, mark_utf8, sizeof mark_utf8)) {
        bytes += sizeof mark_utf8;
        size -= sizeof mark_utf8;
    }
    if (size) memcpy(text, bytes, size);
    *ret_end = text + size;
    return NULL;
}

struct err *dsh_decode(const void *bytes, size_t size_bytes, char **ret_text)
{
    if (size_bytes > DSH_SCRIPT_MAX_BYTES) {
        return err_new(STATUS_BAD_REQUEST, "the script has more than %d bytes",
                       DSH_SCRIPT_MAX_BYTES);
    }
    char *text = malloc(size_bytes * 3 / 2 + 1), *end = text;
    if (!text) return err_new(STATUS_NO_MEMORY, "read the script");
    struct err *e = fill(bytes, size_bytes, text, &end);
    if (!e && memchr(text, '\0', (size_t)(end - text))) {
        e = err_next(err_new(STATUS_BAD_REQUEST, "the script has a zero byte: it is not text"),
                     "save it as UTF-8, or as UTF-16 with a byte order mark");
    }
    if (e) {
        free(text);
        return e;
    }
    *end = '\0';
    *ret_text = text;
    return NULL;
}
