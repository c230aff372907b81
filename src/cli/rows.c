/*
 * rows.c - the table of commands: control/verbs.def and the few verbs that live only in the command
 * line.
 */
#include <string.h>

#include "cli/cli_int.h"

#define VERB_ROW(id_, noun_, verb_, method_, path_, role_, help_)                                  \
    {.kind = CLI_ROW_VERB,                                                                         \
     .id = #id_,                                                                                   \
     .noun = noun_,                                                                                \
     .verb = verb_,                                                                                \
     .method = CLI_##method_,                                                                      \
     .path = path_,                                                                                \
     .role = #role_,                                                                               \
     .help = help_},
#define ARG_ROW(id_, name_, type_, need_, help_)                                                   \
    {.kind = CLI_ROW_ARG,                                                                          \
     .id = #id_,                                                                                   \
     .name = name_,                                                                                \
     .type = CLI_##type_,                                                                          \
     .need = CLI_##need_,                                                                          \
     .help = help_},

/* Each .def takes VERB and ARG away again. */
static const struct cli_row rows[] = {
#define VERB VERB_ROW
#define ARG ARG_ROW
#include "control/verbs.def"

#define VERB VERB_ROW
#define ARG ARG_ROW
#include "cli/local_verbs.def"
};

const struct cli_row *cli_rows(size_t *ret_count)
{
    *ret_count = countof(rows);
    return rows;
}

const struct cli_row *cli_find_verb(const char *noun, const char *verb)
{
    for (size_t i = 0; i < countof(rows); i++) {
        if (rows[i].kind == CLI_ROW_VERB && strcmp(rows[i].noun, noun) == 0 &&
            strcmp(rows[i].verb, verb) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

const struct cli_row *cli_next_arg(const struct cli_row *verb, const struct cli_row *previous)
{
    for (const struct cli_row *row = previous + 1; row < rows + countof(rows); row++) {
        if (row->kind == CLI_ROW_VERB) return NULL;
        if (strcmp(row->id, verb->id) == 0) return row;
    }
    return NULL;
}

static const struct {
    const char *noun, *help;
} nouns[] = {
    {"server", "the server one is talking to"},
    {"pool", "files or devices that hold the data of many disks"},
    {"disk", "thin virtual disks"},
    {"host", "machines with their iSCSI initiators"},
    {"credential", "keys with which hosts sign what they ask for"},
    {"group", "hosts that work together and share their snapshot sets, such as a cluster"},
    {"grant", "which group's hosts may import the snapshot sets of another"},
    {"map", "which disk or snapshot is served to which host, and as which LUN"},
    {"snapshot", "points of disks, cut on request"},
    {"shadow", "application-consistent copies of the file systems of this Linux machine"},
    {"set", "snapshot sets, step by step (what shadow and VSS do underneath)"},
    {"trash", "what was deleted and can be had back"},
    {"event", "what the server did by itself, or is about to do"},
    {"job", "long work on the server"},
    {"token", "access for people and scripts"},
    {"audit", "who changed what, and whether that record is whole"},
};

const char *cli_noun(size_t index)
{
    return index < countof(nouns) ? nouns[index].noun : NULL;
}

const char *cli_noun_help(const char *noun)
{
    for (size_t i = 0; i < countof(nouns); i++) {
        if (strcmp(nouns[i].noun, noun) == 0) return nouns[i].help;
    }
    return "";
}

bool cli_is_noun(const char *text)
{
    return cli_noun_help(text)[0] != '\0';
}
