/*
 * text.h - the forms in which people read and write sizes and times.
 *
 * Sizes are binary: "512", "4K", "10G", "1T" (also KiB, GiB).  Times are RFC 3339 UTC.  Names of
 * objects are 1 to 255 bytes of valid UTF-8 without control characters.
 */
#ifndef TARN_BASE_TEXT_H
#define TARN_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_SIZE_MAX = 32, TEXT_TIME_MAX = 40, TEXT_NAME_MAX_BYTES = 255 };

bool text_parse_size(const char *text, uint64_t *ret_bytes);
/* "10G" where exact, else with one decimal: "1.5G". */
char *text_format_size(uint64_t bytes, char text[TEXT_SIZE_MAX]);
/* Wall-clock nanoseconds since 1970 as 2026-11-22T15:44:47Z (milliseconds when not zero). */
char *text_format_time(uint64_t wall_ns, char text[TEXT_TIME_MAX]);
/* 850 us, 12.3 ms, 4.2 s */
char *text_format_duration(uint64_t ns, char text[TEXT_SIZE_MAX]);
/* RFC 3339 in UTC: "2026-12-31T18:00:00Z", with a fraction or without; a date alone is its first
 * moment. */
bool text_parse_time(const char *text, uint64_t *ret_wall_ns);
/* "90s", "15m", "24h", "7d", "2w"; a number alone is seconds. */
bool text_parse_duration(const char *text, uint64_t *ret_ns);
/* Roughly, for people: "40 s", "12 min", "3 h", "5 days". */
char *text_format_age(uint64_t ns, char text[TEXT_SIZE_MAX]);
bool text_parse_u64(const char *text, uint64_t *ret_value);
bool text_is_valid_utf8(const char *text, size_t size_bytes);
bool text_is_valid_name(const char *text);
/* Lower-case hex of `size` bytes; text holds 2*size+1. */
char *text_format_hex(const void *data, size_t size_bytes, char *text);
bool text_parse_hex(const char *text, void *ret_data, size_t size_bytes);

#endif
