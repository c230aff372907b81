#include "tests/unit/fake_api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct fake_text fake_text_create(size_t size_bytes)
{
    struct fake_text text = {malloc(size_bytes), size_bytes, 0};
    check(text.at != NULL);
    return text;
}

void fake_say(struct fake_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text->at + text->used, text->size - text->used, format, args);
    va_end(args);
    check(n >= 0 && (size_t)n < text->size - text->used);
    text->used += (size_t)n;
}

unsigned fake_refuse(struct fake_text *text, unsigned http, const char *status)
{
    text->used = 0;
    fake_say(text,
             "{\"error\":{\"status\":\"%s\",\"message\":\"because of "
             "\\\"%s\\\"\",\"causes\":[],\"next\":\"do this\"}}",
             status, status);
    return http;
}

void fake_dashed(const char serial[IDENTITY_SERIAL_CHARS + 1], char id[IDENTITY_ID_TEXT])
{
    snprintf(id, IDENTITY_ID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", serial, serial + 8, serial + 12,
             serial + 16, serial + 20);
}

/* doc/sets.md, as far as a provider goes. */
static const struct {
    const char *verb, *from, *to;
} moves[] = {
    {"renew", "prepared", "prepared"},   {"renew", "armed", "armed"},
    {"renew", "committed", "committed"}, {"renew", "confirmed", "confirmed"},
    {"arm", "prepared", "armed"},        {"arm", "armed", "armed"},
    {"commit", "armed", "committed"},    {"confirm", "committed", "confirmed"},
    {"finish", "confirmed", "created"},  {"finish", "created", "created"},
    {"abort", "prepared", "aborted"},    {"abort", "armed", "aborted"},
    {"abort", "committed", "aborted"},   {"abort", "confirmed", "aborted"},
    {"abort", "aborted", "aborted"},     {"abort", "created", "created"},
    {"abort", "breaking", "breaking"},   {"import", "created", "created"},
    {"mask", "created", "created"},      {"break", "created", "breaking"},
    {"break", "breaking", "breaking"},
};

const char *fake_set_next(const char *state, const char *verb)
{
    for (unsigned i = 0; i < sizeof moves / sizeof *moves; i++)
        if (strcmp(moves[i].verb, verb) == 0 && strcmp(moves[i].from, state) == 0)
            return moves[i].to;
    return NULL;
}
