/* message_probe.c - the texts in the message DLL are those of the table, by their numbers and with
 * their inserts, and the event source leads to them; TAP. */
#include <stdio.h>

#include <windows.h>

#include "tests/lib/tap.h"
#include "windows/provider/core/event.h"

#define SOURCE_KEY "SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\TarnVss"

static HMODULE messages;

static void the_event_source_names_the_message_dll(void)
{
    char path[MAX_PATH];
    DWORD size = sizeof path, types = 0, types_size = sizeof types;
    require(RegGetValueA(HKEY_LOCAL_MACHINE, SOURCE_KEY, "EventMessageFile", RRF_RT_ANY, NULL, path,
                         &size) == ERROR_SUCCESS);
    messages = LoadLibraryExA(path, NULL, LOAD_LIBRARY_AS_DATAFILE);
    if (!messages) printf("# %s: error %lu\n", path, (unsigned long)GetLastError());
    expect(messages != NULL);
    RegGetValueA(HKEY_LOCAL_MACHINE, SOURCE_KEY, "TypesSupported", RRF_RT_REG_DWORD, NULL, &types,
                 &types_size);
    expect_eq(types, 7);
}

static bool message_text(const struct event *event, char *text, DWORD size)
{
    DWORD_PTR inserts[EVENT_INSERTS_MAX];
    for (unsigned i = 0; i < EVENT_INSERTS_MAX; i++)
        inserts[i] = (DWORD_PTR)event->inserts[i];
    if (!FormatMessageA(FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_ARGUMENT_ARRAY, messages,
                        event_message_id(event_kind(event->id)), 0x409, text, size,
                        (va_list *)inserts))
        return false;
    text[strcspn(text, "\r\n")] = '\0';
    return true;
}

static void every_event_has_its_text_in_the_dll(void)
{
    unsigned count;
    const struct event_kind *kinds = event_kinds(&count);
    expect(count > 20);
    for (unsigned i = 0; i < count; i++) {
        struct event event;
        char expected[EVENT_TEXT_SIZE], text[EVENT_TEXT_SIZE];
        event_init(&event, kinds[i].id,
                   (const char *const[EVENT_INSERTS_MAX]){"first", "second", "third"});
        event_text(&event, expected);
        require(message_text(&event, text, sizeof text));
        expect_str(text, expected);
    }
}

static void a_number_of_no_event_has_none(void)
{
    char text[64];
    expect(!FormatMessageA(FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_IGNORE_INSERTS, messages,
                           0xC000FFFF, 0x409, text, sizeof text, NULL));
}

int main(void)
{
    run(the_event_source_names_the_message_dll);
    run(every_event_has_its_text_in_the_dll);
    run(a_number_of_no_event_has_none);
    return tap_done();
}
