#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/uuid.h"
#include "dsh/decode.h"
#include "dsh/dsh.h"

struct dsh_script {
    char *text; /* what the commands point into */
    struct dsh_command *commands;
    size_t count, room;
};

enum form {
    FORM_NONE,
    FORM_ONE,
    FORM_TWO,
    FORM_ONE_TWO,
    FORM_CONTEXT,
    FORM_OPTION,
    FORM_VOLUME,
    FORM_BREAK,
    FORM_RESYNC,
};

static const struct syntax {
    const char *words;
    enum form form;
    const char *usage;
} syntaxes[] = {
#define COMMAND(name, words, form, usage) {words, FORM_##form, usage},
#include "dsh/commands.def"
};
check_static(countof(syntaxes) == DSH_KIND_COUNT);

static const struct option {
    const char *word;
    unsigned flag, excludes;
} options[] = {
    {"differential", DSH_DIFFERENTIAL, DSH_PLEX},
    {"plex", DSH_PLEX, DSH_DIFFERENTIAL},
    {"transportable", DSH_TRANSPORTABLE, 0},
    {"rollbackrecover", DSH_ROLLBACK_RECOVER, DSH_NO_AUTORECOVER},
    {"txfrecover", DSH_TXF_RECOVER, DSH_NO_AUTORECOVER},
    {"noautorecover", DSH_NO_AUTORECOVER, DSH_ROLLBACK_RECOVER | DSH_TXF_RECOVER},
    {NULL, 0, 0},
};
static const struct option of_context[] = {{"nowriters", DSH_NOWRITERS, 0}, {NULL, 0, 0}};
static const struct option of_break[] = {{"writable", DSH_WRITABLE, 0}, {NULL, 0, 0}};
static const struct option of_resync[] = {{"novolcheck", DSH_NO_VOLUME_CHECK, 0},
                                          {"revert_originalsig", DSH_ORIGINAL_SIGNATURE, 0},
                                          {NULL, 0, 0}};

const char *dsh_kind_words(enum dsh_kind kind)
{
    return syntaxes[kind].words;
}

const char *dsh_kind_usage(enum dsh_kind kind)
{
    return syntaxes[kind].usage;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* A keyword of the table ends at a blank or its end. */
static bool is_keyword(const char *keyword, const char *word)
{
    while (*word && lower(*word) == lower(*keyword)) {
        word++;
        keyword++;
    }
    return *word == '\0' && (*keyword == '\0' || *keyword == ' ');
}

bool dsh_same_word(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts one word off, in place: quotes go, what they hold stays together.  Returns where to go on.
 */
static struct err *take_word(char **at, char **ret_word)
{
    char *from = *at, *to = *at;
    bool quoted = false;
    *ret_word = to;
    while (*from && (quoted || !is_blank(*from))) {
        if (*from == '"')
            quoted = !quoted;
        else
            *to++ = *from;
        from++;
    }
    if (quoted) {
        return err_next(err_new(STATUS_BAD_REQUEST, "a quote is not closed"),
                        "write the second \" on the same line");
    }
    if (*from) from++;
    *to = '\0';
    *at = from;
    return NULL;
}

static struct err *split(char *line, char **words, unsigned *ret_count)
{
    unsigned count = 0;
    for (;;) {
        while (is_blank(*line))
            line++;
        if (*line == '\0' || (count == 0 && *line == '#')) break;
        if (count == DSH_WORDS_MAX) {
            return err_new(STATUS_BAD_REQUEST, "more than %d words", DSH_WORDS_MAX);
        }
        TRY(take_word(&line, &words[count]));
        count++;
    }
    *ret_count = count;
    return NULL;
}

/* How many words of the line are the keywords of this syntax; 0: it is another command. */
static unsigned match(const struct syntax *syntax, char **words, unsigned count)
{
    const char *keyword = syntax->words;
    for (unsigned i = 0; i < count; i++) {
        if (!is_keyword(keyword, words[i])) return 0;
        keyword = strchr(keyword, ' ');
        if (!keyword) return i + 1;
        keyword++;
    }
    return 0;
}

static struct err *misused(enum dsh_kind kind, const char *what)
{
    return err_next(err_new(STATUS_BAD_REQUEST, "%s: %s", syntaxes[kind].words, what), "it is: %s",
                    syntaxes[kind].usage);
}

static struct err *misused_word(enum dsh_kind kind, const char *word)
{
    return err_next(
        err_new(STATUS_BAD_REQUEST, "%s: \"%s\" is not known here", syntaxes[kind].words, word),
        "it is: %s", syntaxes[kind].usage);
}

static struct err *take_flags(struct dsh_command *command, const struct option *known, char **words,
                              unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct option *option = known;
        while (option->word && !dsh_same_word(option->word, words[i]))
            option++;
        if (!option->word) return misused_word(command->kind, words[i]);
        if (command->flags & option->excludes) {
            return misused(command->kind, "two options that exclude each other");
        }
        command->flags |= option->flag;
    }
    return NULL;
}

static struct err *take_volume(struct dsh_command *command, char **words, unsigned count)
{
    if (count % 2 == 0) return misused(command->kind, count ? "a value is missing" : "no volume");
    command->subject = words[0];
    for (unsigned i = 1; i < count; i += 2) {
        const char **value = dsh_same_word(words[i], "alias")      ? &command->object
                             : dsh_same_word(words[i], "provider") ? &command->provider
                                                                   : NULL;
        if (!value) return misused_word(command->kind, words[i]);
        if (*value) return misused(command->kind, "the same option twice");
        *value = words[i + 1];
    }
    return NULL;
}

static struct err *take_break(struct dsh_command *command, char **words, unsigned count)
{
    if (count == 0) return misused(command->kind, "no shadow copy set");
    command->subject = words[count - 1];
    return take_flags(command, of_break, words, count - 1);
}

static struct err *take_plain(struct dsh_command *command, char **words, unsigned count,
                              unsigned least, unsigned most)
{
    if (count < least) return misused(command->kind, "an argument is missing");
    if (count > most) return misused(command->kind, "too many words");
    if (count > 0) command->subject = words[0];
    if (count > 1) command->object = words[1];
    return NULL;
}

static struct err *take_arguments(struct dsh_command *command, char **words, unsigned count)
{
    switch (syntaxes[command->kind].form) {
    case FORM_NONE:
        return take_plain(command, words, count, 0, 0);
    case FORM_ONE:
        return take_plain(command, words, count, 1, 1);
    case FORM_TWO:
        return take_plain(command, words, count, 2, 2);
    case FORM_ONE_TWO:
        return take_plain(command, words, count, 1, 2);
    case FORM_CONTEXT:
        return take_flags(command, of_context, words, count);
    case FORM_OPTION:
        if (count == 0) return misused(command->kind, "no option");
        return take_flags(command, options, words, count);
    case FORM_VOLUME:
        return take_volume(command, words, count);
    case FORM_BREAK:
        return take_break(command, words, count);
    case FORM_RESYNC:
        return take_flags(command, of_resync, words, count);
    }
    unreachable("no such form");
}

/* Ids are GUIDs; those that come out of a %NAME% are judged when the command is run. */
bool dsh_kind_wants_id(enum dsh_kind kind)
{
    return kind == DSH_ADD_SHADOW || kind == DSH_EXPOSE || kind == DSH_BREAK || kind == DSH_MASK ||
           kind == DSH_REVERT || kind == DSH_DELETE_SET || kind == DSH_DELETE_ID ||
           kind == DSH_LIST_SHADOWS_SET || kind == DSH_LIST_SHADOWS_ID;
}

static struct err *judge_id(enum dsh_kind kind, const char *word)
{
    struct uuid uuid;
    if (!word || strchr(word, '%') || uuid_parse(word, &uuid)) return NULL;
    return err_next(
        err_new(STATUS_BAD_REQUEST, "%s: \"%s\" is not a GUID", syntaxes[kind].words, word),
        "write {xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}, or the name of an alias: %%NAME%%");
}

static bool is_alias_name(const char *name)
{
    if (*name == '\0') return false;
    for (; *name; name++) {
        char c = lower(*name);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
    }
    return true;
}

static struct err *judge(const struct dsh_command *command)
{
    const char *name = command->kind == DSH_ADD_ALIAS    ? command->subject
                       : command->kind == DSH_ADD_VOLUME ? command->object
                                                         : NULL;
    if (name && !is_alias_name(name)) {
        return err_next(err_new(STATUS_BAD_REQUEST, "\"%s\" is not a name for an alias", name),
                        "use letters, digits, _ and -");
    }
    if (command->subject && command->subject[0] == '\0') {
        return misused(command->kind, "an argument is empty");
    }
    if (dsh_kind_wants_id(command->kind)) TRY(judge_id(command->kind, command->subject));
    return judge_id(command->kind, command->provider);
}

static struct err *unknown(char **words, unsigned count)
{
    if (count > 1 && dsh_same_word(words[0], "set") && dsh_same_word(words[1], "context")) {
        return err_next(err_new(STATUS_BAD_REQUEST, "set context: there is no such context"),
                        "it is: set context {persistent [nowriters] | volatile [nowriters]}; "
                        "transportable is an option: set option transportable");
    }
    for (unsigned kind = 0; kind < DSH_KIND_COUNT; kind++) {
        if (!is_keyword(syntaxes[kind].words, words[0])) continue;
        char known[512] = "";
        for (unsigned i = kind; i < DSH_KIND_COUNT; i++) {
            if (!is_keyword(syntaxes[i].words, words[0])) continue;
            size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                     syntaxes[i].words);
        }
        return err_next(err_new(STATUS_BAD_REQUEST, "\"%s %s\" is not a command", words[0],
                                count > 1 ? words[1] : ""),
                        "those that begin so: %s", known);
    }
    return err_next(err_new(STATUS_BAD_REQUEST, "\"%s\" is not a command", words[0]),
                    "comments begin with #");
}

/* What only lists or sets without words of its own takes no more: "add volum" is a slip of "add".
 */
static bool is_slip(enum dsh_kind kind, unsigned keywords, unsigned count)
{
    return (kind == DSH_SET || kind == DSH_ADD || kind == DSH_LIST_WRITERS) && count > keywords;
}

static struct err *parse_words(char **words, unsigned count, struct dsh_command *ret_command)
{
    for (unsigned kind = 0; kind < DSH_KIND_COUNT; kind++) {
        unsigned keywords = match(&syntaxes[kind], words, count);
        if (keywords == 0) continue;
        if (is_slip((enum dsh_kind)kind, keywords, count)) break;
        ret_command->kind = (enum dsh_kind)kind;
        TRY(take_arguments(ret_command, words + keywords, count - keywords));
        return judge(ret_command);
    }
    return unknown(words, count);
}

static struct err *add_line(struct dsh_script *script, char *line, unsigned number)
{
    char *words[DSH_WORDS_MAX];
    unsigned count = 0;
    TRY(split(line, words, &count));
    if (count == 0) return NULL;
    if (script->count == DSH_COMMANDS_MAX) {
        return err_new(STATUS_BAD_REQUEST, "more than %d commands", DSH_COMMANDS_MAX);
    }
    if (script->count == script->room) {
        size_t room = script->room ? script->room * 2 : 16;
        struct dsh_command *grown = realloc(script->commands, room * sizeof *grown);
        if (!grown) return err_new(STATUS_NO_MEMORY, "read the script");
        script->commands = grown;
        script->room = room;
    }
    struct dsh_command command = {.line = number};
    TRY(parse_words(words, count, &command));
    script->commands[script->count++] = command;
    return NULL;
}

static struct err *add_lines(struct dsh_script *script)
{
    char *line = script->text;
    for (unsigned number = 1; line; number++) {
        char *end = strchr(line, '\n');
        if (end) *end = '\0';
        struct err *e = add_line(script, line, number);
        if (e) return err_wrap(e, "line %u", number);
        line = end ? end + 1 : NULL;
    }
    return NULL;
}

struct err *dsh_parse(const void *bytes, size_t size_bytes, struct dsh_script **ret_script)
{
    struct dsh_script *script = calloc(1, sizeof *script);
    if (!script) return err_new(STATUS_NO_MEMORY, "read the script");
    struct err *e = dsh_decode(bytes, size_bytes, &script->text);
    if (!e) e = add_lines(script);
    if (e) {
        dsh_script_destroy(script);
        return e;
    }
    *ret_script = script;
    return NULL;
}

void dsh_script_destroy(struct dsh_script *script)
{
    if (!script) return;
    free(script->commands);
    free(script->text);
    free(script);
}

size_t dsh_script_count(const struct dsh_script *script)
{
    return script->count;
}

const struct dsh_command *dsh_script_at(const struct dsh_script *script, size_t index)
{
    check(index < script->count);
    return &script->commands[index];
}
