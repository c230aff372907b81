#include "windows/provider/core/json.h"

#include <string.h>

enum { DEPTH_MAX = 32 };

struct scan {
    const char *at, *end;
};

static bool value(struct scan *s, unsigned depth);

static void blanks(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static bool take(struct scan *s, char c)
{
    if (s->at == s->end || *s->at != c) return false;
    s->at++;
    return true;
}

static bool word(struct scan *s, const char *text)
{
    size_t length = strlen(text);
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, text, length) != 0) return false;
    s->at += length;
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* ---- Checking -------------------------------------------------------------------------------- */

/* The four digits after \u; -1 when they are none. */
static int four_digits(const struct scan *s)
{
    int code = 0;
    if (s->end - s->at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(s->at[i]);
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    return code;
}

static bool escape(struct scan *s)
{
    if (s->at == s->end) return false;
    char c = *s->at++;
    if (c != 'u') return strchr("\"\\/bfnrt", c) != NULL && c != '\0';
    if (four_digits(s) < 0) return false;
    s->at += 4;
    return true;
}

static bool string(struct scan *s)
{
    if (!take(s, '"')) return false;
    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at++;
        if (c == '"') return true;
        if (c < 0x20) return false;
        if (c == '\\' && !escape(s)) return false;
    }
    return false;
}

static bool digits(struct scan *s)
{
    const char *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > from;
}

static bool number(struct scan *s)
{
    take(s, '-');
    if (!take(s, '0') && !digits(s)) return false;
    if (take(s, '.') && !digits(s)) return false;
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+')) take(s, '-');
        return digits(s);
    }
    return true;
}

static bool member(struct scan *s, unsigned depth)
{
    if (!string(s)) return false;
    blanks(s);
    if (!take(s, ':')) return false;
    return value(s, depth);
}

/* An object or an array, whose first character was taken. */
static bool items(struct scan *s, char end, unsigned depth,
                  bool (*item)(struct scan *s, unsigned depth))
{
    blanks(s);
    if (take(s, end)) return true;
    for (;;) {
        blanks(s);
        if (!item(s, depth)) return false;
        blanks(s);
        if (take(s, end)) return true;
        if (!take(s, ',')) return false;
    }
}

static bool value(struct scan *s, unsigned depth)
{
    blanks(s);
    if (s->at == s->end || depth > DEPTH_MAX) return false;
    switch (*s->at) {
    case '{':
        s->at++;
        return items(s, '}', depth + 1, member);
    case '[':
        s->at++;
        return items(s, ']', depth + 1, value);
    case '"':
        return string(s);
    case 't':
        return word(s, "true");
    case 'f':
        return word(s, "false");
    case 'n':
        return word(s, "null");
    default:
        return number(s);
    }
}

bool json_parse(const char *text, size_t size, struct json *ret_value)
{
    struct scan s = {text, text + size};
    blanks(&s);
    const char *from = s.at;
    if (!value(&s, 0)) return false;
    const char *end = s.at;
    blanks(&s);
    if (s.at != s.end) return false;
    *ret_value = (struct json){from, (size_t)(end - from)};
    return true;
}

/* ---- Finding: the text was checked ----------------------------------------------------------- */

static struct json piece(struct scan *s)
{
    blanks(s);
    const char *from = s->at;
    if (!value(s, 0)) return (struct json){from, 0};
    return (struct json){from, (size_t)(s->at - from)};
}

static bool is_key(struct json key, const char *name)
{
    return key.size == strlen(name) + 2 && memcmp(key.at + 1, name, key.size - 2) == 0;
}

bool json_member(struct json object, const char *name, struct json *ret_value)
{
    struct scan s = {object.at, object.at + object.size};
    if (!take(&s, '{')) return false;
    for (;;) {
        struct json key = piece(&s);
        if (key.size == 0) return false; /* the end */
        blanks(&s);
        take(&s, ':');
        struct json found = piece(&s);
        if (is_key(key, name)) {
            *ret_value = found;
            return true;
        }
        blanks(&s);
        if (!take(&s, ',')) return false;
    }
}

bool json_next(struct json array, size_t *at, struct json *ret_item)
{
    struct scan s = {array.at + *at, array.at + array.size};
    if (array.size == 0 || array.at[0] != '[') return false;
    if (*at == 0) s.at++;
    blanks(&s);
    take(&s, ',');
    struct json item = piece(&s);
    if (item.size == 0) return false;
    *at = (size_t)(s.at - array.at);
    *ret_item = item;
    return true;
}

bool json_is_null(struct json v)
{
    return v.size == 4 && memcmp(v.at, "null", 4) == 0;
}

bool json_u64(struct json v, uint64_t *ret_number)
{
    uint64_t n = 0;
    if (v.size == 0 || v.size > 19) return false; /* 19 digits never overflow */
    for (size_t i = 0; i < v.size; i++) {
        if (v.at[i] < '0' || v.at[i] > '9') return false;
        n = n * 10 + (uint64_t)(v.at[i] - '0');
    }
    *ret_number = n;
    return true;
}

bool json_bool(struct json v, bool *ret_truth)
{
    if (v.size == 4 && memcmp(v.at, "true", 4) == 0)
        *ret_truth = true;
    else if (v.size == 5 && memcmp(v.at, "false", 5) == 0)
        *ret_truth = false;
    else
        return false;
    return true;
}

/* ---- Strings --------------------------------------------------------------------------------- */

/* The code point after a backslash; surrogates in pairs.  0 = not usable. */
static uint32_t unescape(struct scan *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = *s->at++;
    if (c != 'u') return (uint32_t)to[strchr(from, c) - from];
    uint32_t code = (uint32_t)four_digits(s);
    s->at += 4;
    if (code < 0xD800 || code > 0xDFFF) return code;
    if (code > 0xDBFF || s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u') return 0;
    s->at += 2;
    uint32_t low = (uint32_t)four_digits(s);
    s->at += 4;
    return low >= 0xDC00 && low <= 0xDFFF ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : 0;
}

static unsigned put_utf8(uint32_t code, char to[4])
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    unsigned count = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (unsigned i = count - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3F));
    to[0] = (char)(leads[count] | code);
    return count;
}

bool json_text(struct json v, char *to, size_t to_size)
{
    if (v.size < 2 || v.at[0] != '"') return false;
    struct scan s = {v.at + 1, v.at + v.size - 1};
    size_t used = 0;
    while (s.at < s.end) {
        char bytes[4] = {*s.at};
        unsigned count = 1;
        if (*s.at++ == '\\') {
            uint32_t code = unescape(&s);
            if (code == 0) return false;
            count = put_utf8(code, bytes);
        }
        if (used + count >= to_size) return false;
        memcpy(to + used, bytes, count);
        used += count;
    }
    if (used >= to_size) return false;
    to[used] = '\0';
    return true;
}

bool json_text_member(struct json object, const char *name, char *to, size_t to_size)
{
    struct json found;
    return json_member(object, name, &found) && json_text(found, to, to_size);
}
