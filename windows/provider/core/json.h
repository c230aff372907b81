/*
 * json.h - reads the answers of the server (RFC 8259), in place and without allocating.
 *
 * json_parse checks the whole text once; the values found afterwards are pieces of it.
 *
 *     struct json reply, members, member;
 *     if (!json_parse(text, size, &reply)) ...
 *     if (!json_member(reply, "members", &members)) ...
 *     for (size_t at = 0; json_next(members, &at, &member);) json_text_member(member, "serial",
 * serial, sizeof serial);
 *
 * Limits: 32 levels; numbers are read as unsigned 64-bit integers or not at all; of members with
 * the same name the first counts.  Threads: any.  Ownership: the text is the caller's and outlives
 * the values.
 */
#ifndef TARN_WINDOWS_CORE_JSON_H
#define TARN_WINDOWS_CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    const char *at; /* first character of the value */
    size_t size;    /* its characters, no blanks around it */
};

/* Exactly one value, with nothing but blanks behind it. */
bool json_parse(const char *text, size_t size, struct json *ret_value);
bool json_member(struct json object, const char *name, struct json *ret_value);
/* The items of an array, one after another; *at begins as 0. */
bool json_next(struct json array, size_t *at, struct json *ret_item);
bool json_is_null(struct json value);
/* A string, decoded, with NUL; false when it is none, does not fit, or holds a NUL. */
bool json_text(struct json value, char *to, size_t to_size);
bool json_u64(struct json value, uint64_t *ret_number);
bool json_bool(struct json value, bool *ret_truth);
bool json_text_member(struct json object, const char *name, char *to, size_t to_size);

#endif
