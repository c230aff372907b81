/*
 * fake_api.h - what the two fake Tarn servers of the provider's tests have in common: provider_rig.c,
 * which a test steers, and standin_server.c, whose disks have content.
 *
 *     struct fake_text text = fake_text_create(65536);
 *     fake_say(&text, "{\"state\":\"%s\"}", state);      or: http = fake_refuse(&text, 404, "NOT_FOUND");
 *
 * The text is the caller's to free (text.at); one that does not fit ends the test.
 */
#ifndef TARN_TESTS_FAKE_API_H
#define TARN_TESTS_FAKE_API_H

#include "windows/provider/core/identity.h"

struct fake_text {
    char *at;
    size_t size, used;
};

struct fake_text fake_text_create(size_t size_bytes);
__attribute__((format(printf, 2, 3))) void fake_say(struct fake_text *text, const char *format,
                                                    ...);
/* An error, instead of all that was said; returns http. */
unsigned fake_refuse(struct fake_text *text, unsigned http, const char *status);

/* A serial as the id that the server has for it. */
void fake_dashed(const char serial[IDENTITY_SERIAL_CHARS + 1], char id[IDENTITY_ID_TEXT]);
/* The state that a set comes to by this verb; NULL: it is refused in the state that it has. */
const char *fake_set_next(const char *state, const char *verb);

#endif
