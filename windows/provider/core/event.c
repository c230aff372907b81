#include "windows/provider/core/event.h"

#include <stdio.h>
#include <string.h>

static const struct event_kind kinds[] = {
#define EVENT(name, number, severity, insert_count, cause, remedy)                                 \
    {EVENT_##name, EVENT_##severity, insert_count, #name, cause, remedy},
#include "windows/messages/events.def"
};

const struct event_kind *event_kinds(unsigned *ret_count)
{
    *ret_count = sizeof kinds / sizeof *kinds;
    return kinds;
}

const struct event_kind *event_kind(enum event_id id)
{
    unsigned i = 0;
    while (kinds[i].id != id)
        i++;
    return &kinds[i];
}

uint32_t event_message_id(const struct event_kind *kind)
{
    return (uint32_t)kind->severity << 30 | (uint32_t)kind->id;
}

void event_init(struct event *event, enum event_id id, const char *const inserts[EVENT_INSERTS_MAX])
{
    *event = (struct event){.id = id};
    for (unsigned i = 0; i < EVENT_INSERTS_MAX; i++)
        if (inserts[i]) snprintf(event->inserts[i], EVENT_INSERT_SIZE, "%s", inserts[i]);
}

/* Puts the inserts in, as FormatMessage does. */
static size_t expand(const struct event *event, const char *from, char *to, size_t size)
{
    size_t used = 0;
    for (; *from && used + 1 < size; from++) {
        if (from[0] == '%' && from[1] >= '1' && from[1] <= '0' + EVENT_INSERTS_MAX) {
            const char *insert = event->inserts[from[1] - '1'];
            size_t length = strlen(insert);
            if (length > size - used - 1) length = size - used - 1;
            memcpy(to + used, insert, length);
            used += length;
            from++;
        } else {
            to[used++] = *from;
        }
    }
    to[used] = '\0';
    return used;
}

void event_text(const struct event *event, char text[EVENT_TEXT_SIZE])
{
    const struct event_kind *kind = event_kind(event->id);
    size_t used = expand(event, kind->cause, text, EVENT_TEXT_SIZE);
    if (!kind->remedy[0]) return;
    used += expand(event, ". What to do: ", text + used, EVENT_TEXT_SIZE - used);
    expand(event, kind->remedy, text + used, EVENT_TEXT_SIZE - used);
}
