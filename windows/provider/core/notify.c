/* notify.c - events: now, or after the freeze; and the vetoes that go with them. */
#include <stdio.h>

#include "windows/provider/core/provider_int.h"

/* How long a warning that every call would bring is not told again. */
enum { WARNING_PAUSE_MS = 600000 };

/* Between PreCommit and PostCommit it waits; only the first veto is kept, which is the cause of
 * the others.  Whether it waits is decided under the lock under which it is told: so when `freeze`
 * has that lock, nobody is at the log any more. */
static void tell(struct provider *p, const struct event *event)
{
    p->os->lock_telling(p->os);
    lock(p);
    bool now = !p->is_frozen;
    bool is_veto = event_kind(event->id)->severity == EVENT_ERROR;
    bool has_veto = p->has_held_event && event_kind(p->held_event.id)->severity == EVENT_ERROR;
    if (!now && !has_veto && (is_veto || !p->has_held_event)) {
        p->held_event = *event;
        p->has_held_event = true;
    }
    unlock(p);
    if (now) p->os->event(p->os, event);
    p->os->unlock_telling(p->os);
}

bool freeze(struct provider *p, unsigned number)
{
    p->os->lock_telling(p->os);
    lock(p);
    bool is_still = p->set_number == number;
    if (is_still) p->is_frozen = true;
    unlock(p);
    p->os->unlock_telling(p->os);
    return is_still;
}

void thaw(struct provider *p)
{
    struct event event;
    p->os->lock_telling(p->os);
    lock(p);
    bool has_one = p->has_held_event;
    if (has_one) event = p->held_event;
    p->has_held_event = false;
    p->is_frozen = false;
    unlock(p);
    if (has_one) p->os->event(p->os, &event);
    p->os->unlock_telling(p->os);
}

HRESULT veto_event(struct provider *p, enum event_id id,
                   const char *const inserts[EVENT_INSERTS_MAX])
{
    struct event event;
    event_init(&event, id, inserts);
    tell(p, &event);
    return VSS_E_PROVIDER_VETO;
}

HRESULT veto_reply(struct provider *p, enum event_id id, const char *about,
                   const struct api_reply *reply)
{
    struct api_error e;
    api_error_read(reply, &e);
    if (reply->http == 0)
        snprintf(e.next, sizeof e.next,
                 "see that the server runs and can be reached from here: tarn-vss doctor");
    else if (!e.next[0])
        snprintf(e.next, sizeof e.next,
                 "try again; if it fails again, see what the server says: tarn event list");
    return veto(p, id, about, e.message, e.next);
}

HRESULT no_room(struct provider *p, const struct api_reply *reply)
{
    struct api_error e;
    api_error_read(reply, &e);
    warn(p, EVENT_POOL_FULL, e.message);
    return VSS_E_INSUFFICIENT_STORAGE;
}

void note_event(struct provider *p, enum event_id id, const char *const inserts[EVENT_INSERTS_MAX])
{
    struct event event;
    event_init(&event, id, inserts);
    tell(p, &event);
}

void warn(struct provider *p, enum event_id id, const char *about)
{
    uint64_t now = p->os->now_ms(p->os), *until = &p->quiet_until_ms[id - EVENT_WARNING_FIRST];
    lock(p);
    bool tell_it = now >= *until;
    if (tell_it) *until = now + WARNING_PAUSE_MS;
    unlock(p);
    if (tell_it) note(p, id, about);
}
