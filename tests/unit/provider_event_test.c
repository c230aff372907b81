/* The table of events: every text says a cause and a remedy, and the code raises each of them, with
 * the inserts that its text has. */
#include <dirent.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/lib/tap.h"
#include "windows/provider/core/event.h"

static const struct event_kind *kinds;
static unsigned kind_count;
static char *source; /* all files of the provider, one after another */
static const char *source_directory;

/* ---- The texts ------------------------------------------------------------------------------- */

static void numbers_rise_and_say_the_severity(void)
{
    for (unsigned i = 0; i < kind_count; i++) {
        int number = (int)kinds[i].id;
        expect(i == 0 || number > (int)kinds[i - 1].id);
        expect(number >= 1 && number <= 0xFFFF);
        expect_eq(kinds[i].severity, number < EVENT_WARNING_FIRST ? EVENT_INFO
                                     : number < 200               ? EVENT_WARNING
                                                                  : EVENT_ERROR);
        expect(number < EVENT_WARNING_FIRST || number >= 200 ||
               number < EVENT_WARNING_FIRST + EVENT_WARNINGS_MAX);
    }
}

static bool is_one_sentence(const char *text)
{
    size_t length = strlen(text);
    return length >= 2 && text[length - 1] != '.' && text[length - 1] != ' ' && text[0] != ' ' &&
           !strchr(text, '\n') && length < 240;
}

static void every_event_has_a_cause_and_every_trouble_a_remedy(void)
{
    for (unsigned i = 0; i < kind_count; i++) {
        bool ok = is_one_sentence(kinds[i].cause) &&
                  (kinds[i].severity == EVENT_INFO ? kinds[i].remedy[0] == '\0'
                                                   : is_one_sentence(kinds[i].remedy));
        if (!ok) printf("# %s\n", kinds[i].name);
        expect(ok);
    }
}

/* Windows would take any other % for something of its own. */
static unsigned inserts_of(const char *text, unsigned used)
{
    for (; (text = strchr(text, '%')) != NULL; text++) {
        expect(text[1] >= '1' && text[1] <= '0' + EVENT_INSERTS_MAX);
        used |= 1u << (text[1] - '1');
    }
    return used;
}

static void a_text_uses_the_inserts_that_it_has(void)
{
    for (unsigned i = 0; i < kind_count; i++) {
        unsigned used = inserts_of(kinds[i].remedy, inserts_of(kinds[i].cause, 0));
        if (used != (1u << kinds[i].insert_count) - 1) printf("# %s\n", kinds[i].name);
        expect_eq(used, (1u << kinds[i].insert_count) - 1);
    }
}

static void a_text_is_made_of_cause_remedy_and_inserts(void)
{
    struct event event;
    char text[EVENT_TEXT_SIZE];
    event_init(&event, EVENT_PREPARE_REFUSED,
               (const char *const[EVENT_INSERTS_MAX]){"S-1", "no %1 room", "make room"});
    event_text(&event, text);
    expect_str(
        text, "The shadow copy could not be prepared: no %1 room (set S-1). What to do: make room");
    event_init(&event, EVENT_SERVER_BACK, (const char *const[EVENT_INSERTS_MAX]){NULL});
    event_text(&event, text);
    expect_str(text, "The Tarn server answers again");
}

static void inserts_that_are_too_long_are_cut_off(void)
{
    struct event event;
    char text[EVENT_TEXT_SIZE], large[2000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    for (unsigned i = 0; i < kind_count; i++) {
        event_init(&event, kinds[i].id,
                   (const char *const[EVENT_INSERTS_MAX]){large, large, large});
        event_text(&event, text);
        expect(strlen(text) < EVENT_TEXT_SIZE);
    }
    expect_eq(strlen(event.inserts[0]), EVENT_INSERT_SIZE - 1);
}

static void a_number_of_the_log_holds_the_severity(void)
{
    expect_eq(event_message_id(event_kind(EVENT_SET_CREATED)), 0x40000001);
    expect_eq(event_message_id(event_kind(EVENT_SERVER_AWAY)), 0x80000064);
    expect_eq(event_message_id(event_kind(EVENT_OUT_OF_ORDER)), 0xC00000C8);
}

/* ---- The code -------------------------------------------------------------------------------- */

static void add_file(const char *folder, const char *name)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s/%s", source_directory, folder, name);
    check(n > 0 && (size_t)n < sizeof path);
    FILE *file = fopen(path, "r");
    check(file != NULL);
    size_t used = source ? strlen(source) : 0;
    source = realloc(source, used + 1024 * 1024);
    check(source != NULL);
    source[used + fread(source + used, 1, 1024 * 1024 - 1, file)] = '\0';
    fclose(file);
}

static void read_sources(const char *folder)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", source_directory, folder);
    check(n > 0 && (size_t)n < sizeof path);
    DIR *dir = opendir(path);
    check(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".c") == 0) add_file(folder, entry->d_name);
    }
    closedir(dir);
}

static unsigned occurrences(const char *text)
{
    unsigned count = 0;
    for (const char *at = source; (at = strstr(at, text)) != NULL; at += strlen(text)) {
        char next = at[strlen(text)];
        count += !(next == '_' || (next >= 'A' && next <= 'Z'));
    }
    return count;
}

static void the_code_raises_every_event(void)
{
    for (unsigned i = 0; i < kind_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "EVENT_%s", kinds[i].name);
        if (!occurrences(name)) printf("# %s\n", name);
        expect(occurrences(name) > 0);
    }
}

/* So that none is without an event: the code is returned in one place. */
static void every_veto_goes_with_an_event(void)
{
    expect_eq(occurrences("VSS_E_PROVIDER_VETO"), 1);
    expect(occurrences("veto") > 10);
}

int main(int argc, char **argv)
{
    check(argc == 2);
    source_directory = argv[1];
    kinds = event_kinds(&kind_count);
    read_sources("core");
    read_sources("com");
    run(numbers_rise_and_say_the_severity);
    run(every_event_has_a_cause_and_every_trouble_a_remedy);
    run(a_text_uses_the_inserts_that_it_has);
    run(a_text_is_made_of_cause_remedy_and_inserts);
    run(inserts_that_are_too_long_are_cut_off);
    run(a_number_of_the_log_holds_the_severity);
    run(the_code_raises_every_event);
    run(every_veto_goes_with_an_event);
    free(source);
    return tap_done();
}
