/* provider_int.h - what the files of the provider's core share. */
#ifndef TARN_WINDOWS_CORE_PROVIDER_INT_H
#define TARN_WINDOWS_CORE_PROVIDER_INT_H

#include <stdlib.h>
#include <string.h>

#include "windows/provider/core/provider.h"

#if defined(__MINGW32__)
#define PROVIDER_PRINTF(f, a) __attribute__((format(gnu_printf, f, a)))
#else
#define PROVIDER_PRINTF(f, a) __attribute__((format(printf, f, a)))
#endif

enum { ASK_MS = 4000, ASK_SHORT_MS = 2000, ASK_LONG_MS = 120000 };

static inline void lock(struct provider *p)
{
    p->os->lock(p->os);
}

static inline void unlock(struct provider *p)
{
    p->os->unlock(p->os);
}

/* One event, now or after the freeze; the code that goes with it. */
HRESULT veto(struct provider *p, const char *format, ...) PROVIDER_PRINTF(2, 3);
/* The same for a refusal of the server: "WHAT: MESSAGE. NEXT". */
HRESULT veto_reply(struct provider *p, const char *what, const struct api_reply *reply);

/* METHOD PATH with an empty object as body (none for GET and DELETE); ret_reply needs
 * api_reply_fini. */
void ask(struct provider *p, const char *method, unsigned timeout_ms, struct api_reply *ret_reply,
         const char *first, const char *second, const char *third);
/* With a body; which is taken. */
void ask_body(struct provider *p, const char *path, struct api_body *body, unsigned timeout_ms,
              struct api_reply *ret_reply);
bool reply_has_status(const struct api_reply *reply, const char *status);

#endif
