#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool text_parse_u64(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (!isdigit((unsigned char)*text)) return false;
    for (; isdigit((unsigned char)*text); text++) {
        if (__builtin_mul_overflow(value, 10u, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) return false;
    }
    if (*text != '\0') return false;
    *ret_value = value;
    return true;
}

bool text_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "KMGTP";
    char digits[24];
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof digits) return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    uint64_t value;
    if (!text_parse_u64(digits, &value)) return false;

    const char *suffix = text + n;
    if (*suffix != '\0' && strcmp(suffix, "B") != 0) {
        const char *unit = strchr(units, toupper((unsigned char)*suffix));
        if (!unit) return false;
        if (suffix[1] != '\0' && strcmp(suffix + 1, "iB") != 0 && strcmp(suffix + 1, "B") != 0)
            return false;
        unsigned shift = 10u * (unsigned)(unit - units + 1);
        if (value > UINT64_MAX >> shift) return false;
        value <<= shift;
    }
    *ret_bytes = value;
    return true;
}

char *text_format_size(uint64_t bytes, char text[TEXT_SIZE_MAX])
{
    static const char units[] = " KMGTP";
    unsigned unit = 0;
    while (unit < 5 && bytes >> (10 * (unit + 1)) != 0) unit++;
    uint64_t whole = bytes >> (10 * unit);
    uint64_t rest = bytes - (whole << (10 * unit));
    if (unit == 0) {
        snprintf(text, TEXT_SIZE_MAX, "%llu", (unsigned long long)bytes);
    } else if (rest == 0) {
        snprintf(text, TEXT_SIZE_MAX, "%llu%c", (unsigned long long)whole, units[unit]);
    } else {
        double value = (double)bytes / (double)((uint64_t)1 << (10 * unit));
        snprintf(text, TEXT_SIZE_MAX, "%.1f%c", value, units[unit]);
    }
    return text;
}

char *text_format_time(uint64_t wall_ns, char text[TEXT_TIME_MAX])
{
    time_t seconds = (time_t)(wall_ns / 1000000000u);
    unsigned ms = (unsigned)(wall_ns / 1000000u % 1000u);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(text, TEXT_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    if (ms)
        snprintf(text + n, TEXT_TIME_MAX - n, ".%03uZ", ms);
    else
        snprintf(text + n, TEXT_TIME_MAX - n, "Z");
    return text;
}

char *text_format_duration(uint64_t ns, char text[TEXT_SIZE_MAX])
{
    double value = (double)ns;
    if (ns < 1000000u)
        snprintf(text, TEXT_SIZE_MAX, "%.0f us", value / 1e3);
    else if (ns < 1000000000u)
        snprintf(text, TEXT_SIZE_MAX, "%.1f ms", value / 1e6);
    else
        snprintf(text, TEXT_SIZE_MAX, "%.1f s", value / 1e9);
    return text;
}

/* Days since 1970 of a date of the Gregorian calendar; years 1970 to 2499. */
static bool days_of(unsigned year, unsigned month, unsigned day, uint64_t *ret_days)
{
    static const unsigned before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || year > 2499 || month < 1 || month > 12 || day < 1) return false;
    if (day > before[month] - before[month - 1] + (leap && month == 2)) return false;
    unsigned last = year - 1;
    uint64_t leaps = last / 4 - last / 100 + last / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    *ret_days =
        (uint64_t)(year - 1970) * 365 + leaps + before[month - 1] + (leap && month > 2) + day - 1;
    return true;
}

bool text_parse_time(const char *text, uint64_t *ret_wall_ns)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    unsigned fields[6] = {0}, field = 0, at = 0;
    uint64_t days;
    for (; text[at] != '\0' && form[at] != '\0'; at++) {
        bool is_digit = text[at] >= '0' && text[at] <= '9';
        if (form[at] == 'd' ? !is_digit : text[at] != form[at]) return false;
        if (is_digit)
            fields[field] = fields[field] * 10 + (unsigned)(text[at] - '0');
        else
            field++;
    }
    if (at != 10) { /* not a date alone */
        const char *rest = text + at;
        if (*rest == '.') rest += 1 + strspn(rest + 1, "0123456789");
        if (at != sizeof form - 1 || strcmp(rest, "Z") != 0) return false;
    }
    if (fields[3] > 23 || fields[4] > 59 || fields[5] > 59) return false;
    if (!days_of(fields[0], fields[1], fields[2], &days)) return false;
    *ret_wall_ns = (((days * 24 + fields[3]) * 60 + fields[4]) * 60 + fields[5]) * 1000000000u;
    return true;
}

bool text_parse_duration(const char *text, uint64_t *ret_ns)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    char digits[24];
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof digits) return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    uint64_t value, seconds = text[n] == '\0' ? 1 : 0;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (text[n] == units[i].unit && text[n + 1] == '\0') seconds = units[i].seconds;
    }
    if (seconds == 0 || !text_parse_u64(digits, &value)) return false;
    return !__builtin_mul_overflow(value, seconds * 1000000000u, ret_ns);
}

char *text_format_age(uint64_t ns, char text[TEXT_SIZE_MAX])
{
    unsigned long long s = ns / 1000000000u;
    if (s < 120)
        snprintf(text, TEXT_SIZE_MAX, "%llu s", s);
    else if (s < 7200)
        snprintf(text, TEXT_SIZE_MAX, "%llu min", s / 60);
    else if (s < 172800)
        snprintf(text, TEXT_SIZE_MAX, "%llu h", s / 3600);
    else
        snprintf(text, TEXT_SIZE_MAX, "%llu days", s / 86400);
    return text;
}

/* The length of one UTF-8 sequence (RFC 3629, no surrogates, no overlong forms), or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80) return 1;
    size_t n = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || left < n) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
    }
    if (p[0] == 0xE0 && p[1] < 0xA0) return 0;
    if (p[0] == 0xED && p[1] > 0x9F) return 0;
    if (p[0] == 0xF0 && p[1] < 0x90) return 0;
    if (p[0] == 0xF4 && p[1] > 0x8F) return 0;
    return n;
}

bool text_is_valid_utf8(const char *text, size_t size_bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    while (size_bytes > 0) {
        size_t n = utf8_sequence(p, size_bytes);
        if (n == 0) return false;
        p += n;
        size_bytes -= n;
    }
    return true;
}

bool text_is_valid_name(const char *text)
{
    size_t n = strlen(text);
    if (n == 0 || n > TEXT_NAME_MAX_BYTES) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7F) return false;
    }
    return text_is_valid_utf8(text, n);
}

char *text_format_hex(const void *data, size_t size_bytes, char *text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < size_bytes; i++) {
        text[2 * i] = digits[p[i] >> 4];
        text[2 * i + 1] = digits[p[i] & 15];
    }
    text[2 * size_bytes] = '\0';
    return text;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool text_parse_hex(const char *text, void *ret_data, size_t size_bytes)
{
    uint8_t *to = ret_data;
    if (strlen(text) != 2 * size_bytes) return false;
    for (size_t i = 0; i < size_bytes; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
