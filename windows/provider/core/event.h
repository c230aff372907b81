/*
 * event.h - what the provider tells the administrator: an event of the table, with its inserts.
 *
 * The table is windows/messages/events.def: number, severity, cause and remedy.  On Windows an
 * event goes to the application log by its number and inserts, where the message DLL made of the
 * same table has its text; event_text makes that text for the trace, and where there is no such
 * log.
 *
 *     struct event event;
 *     event_init(&event, EVENT_NO_CHANNEL, (const char *const[EVENT_INSERTS_MAX]){set_id});
 *     event_text(&event, text);
 *
 * Threads: any.  Ownership: values; nothing allocates.  Limits: longer inserts are cut off.
 */
#ifndef TARN_WINDOWS_CORE_EVENT_H
#define TARN_WINDOWS_CORE_EVENT_H

#include <stdint.h>

enum event_severity { EVENT_INFO = 1, EVENT_WARNING, EVENT_ERROR };

/* EVENT_SET_CREATED and so on: the name in the table behind EVENT_ */
enum event_id {
#define EVENT(name, number, severity, insert_count, cause, remedy) EVENT_##name = number,
#include "windows/messages/events.def"
};

enum {
    EVENT_INSERTS_MAX = 3,
    EVENT_INSERT_SIZE = 264, /* what an answer of the server may say, and its end */
    EVENT_TEXT_SIZE = 1024,
    EVENT_WARNING_FIRST = 100,
    EVENT_WARNINGS_MAX = 8,
};

struct event {
    enum event_id id;
    char inserts[EVENT_INSERTS_MAX][EVENT_INSERT_SIZE];
};

/* A row of the table. */
struct event_kind {
    enum event_id id;
    enum event_severity severity;
    unsigned insert_count;
    const char *name, *cause, *remedy;
};

/* All of them, in the order of their numbers. */
const struct event_kind *event_kinds(unsigned *ret_count);
const struct event_kind *event_kind(enum event_id id);
/* As in the message DLL: the severity in the two highest bits, then the number. */
uint32_t event_message_id(const struct event_kind *kind);
/* inserts: up to EVENT_INSERTS_MAX, NULL = none. */
void event_init(struct event *event, enum event_id id,
                const char *const inserts[EVENT_INSERTS_MAX]);
/* "CAUSE. What to do: REMEDY" */
void event_text(const struct event *event, char text[EVENT_TEXT_SIZE]);

#endif
