/* provider_int.h - what the files of the provider's core share. */
#ifndef TARN_WINDOWS_CORE_PROVIDER_INT_H
#define TARN_WINDOWS_CORE_PROVIDER_INT_H

#include <stdlib.h>
#include <string.h>

#include "windows/provider/core/provider.h"

enum { ASK_MS = 4000, ASK_SHORT_MS = 2000, ASK_LONG_MS = 120000 };

static inline void lock(struct provider *p)
{
    p->os->lock(p->os);
}

static inline void unlock(struct provider *p)
{
    p->os->unlock(p->os);
}

/* One event, now or after the freeze; and the code that goes with it.  veto(p, EVENT_..., inserts...) */
#define veto(p, id, ...) veto_event(p, id, (const char *const[EVENT_INSERTS_MAX]){__VA_ARGS__})
HRESULT veto_event(struct provider *p, enum event_id id,
                   const char *const inserts[EVENT_INSERTS_MAX]);
/* The same for a refusal of the server: the inserts are what it is about, the server's message, and
 * its advice. */
HRESULT veto_reply(struct provider *p, enum event_id id, const char *about,
                   const struct api_reply *reply);
/* The server has no room: a warning, and the code that VSS has for it. */
HRESULT no_room(struct provider *p, const struct api_reply *reply);
/* An event that is no veto. */
#define note(p, id, ...) note_event(p, id, (const char *const[EVENT_INSERTS_MAX]){__VA_ARGS__})
void note_event(struct provider *p, enum event_id id, const char *const inserts[EVENT_INSERTS_MAX]);
/* A warning, once in ten minutes; about may be NULL. */
void warn(struct provider *p, enum event_id id, const char *about);
/* No event is told when it returns, nor before thaw.  false, and nothing is frozen: the set of this
 * number was aborted or replaced, and nobody would thaw. */
bool freeze(struct provider *p, unsigned number);
/* Nothing is frozen any more: tells what waited. */
void thaw(struct provider *p);

/* METHOD PATH with an empty object as body (none for GET and DELETE); ret_reply needs
 * api_reply_fini. */
void ask(struct provider *p, const char *method, unsigned timeout_ms, struct api_reply *ret_reply,
         const char *first, const char *second, const char *third);
/* With a body; which is taken. */
void ask_body(struct provider *p, const char *path, struct api_body *body, unsigned timeout_ms,
              struct api_reply *ret_reply);
/* targets.c: what the server says of the LUNs of a set. */
struct targets {
    unsigned count;
    struct set_member members[PROVIDER_LUNS_MAX];
};
bool targets_read(struct json set, struct targets *ret_targets);
/* What was kept of them may not be true any more. */
void targets_forget(struct provider *p);

/* open.c: takes up a set of this host that the server knows as being made, when there is no other:
 * another process began it. */
void provider_find_open(struct provider *p, const char *id);

bool reply_has_status(const struct api_reply *reply, const char *status);

#endif
