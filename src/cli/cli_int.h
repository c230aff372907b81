/*
 * cli_int.h - inside the command line: the table of commands, what was typed, and how answers are
 * printed.
 *
 * Words: a ROW is a verb or an argument of control/verbs.def (or of the few verbs that only the
 * command line has); a FORM says how people type a verb (which arguments are positional, how
 * options are called).
 */
#ifndef TARN_CLI_CLI_INT_H
#define TARN_CLI_CLI_INT_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/cli.h"
#include "client/client.h"

enum { CLI_ARGS_MAX = 24, CLI_EXIT_USAGE = 2 };

enum cli_row_kind { CLI_ROW_VERB, CLI_ROW_ARG };
enum cli_type { CLI_NAME, CLI_TEXT, CLI_SIZE, CLI_UINT, CLI_BOOL, CLI_REFS };
enum cli_need { CLI_REQUIRED, CLI_OPTIONAL };
enum cli_method { CLI_GET, CLI_POST, CLI_DELETE, CLI_LOCAL };

struct cli_row {
    enum cli_row_kind kind;
    const char *id;
    const char *noun, *verb; /* verb rows */
    enum cli_method method;
    const char *path, *role;
    const char *name; /* argument rows */
    enum cli_type type;
    enum cli_need need;
    const char *help;
};

struct cli;

/* How a verb is typed.  positionals: argument or path names, the last may end in "..." */
struct cli_form {
    const char *id;
    const char *positionals;
    const char *shown; /* as in "HOST DISK|SNAPSHOT"; NULL = made from positionals */
    const char *examples[3];
    const char *note; /* a paragraph for help and man page, or NULL */
    int (*handler)(struct cli *cli, const struct cli_row *verb, int argc, char **argv);
};

struct cli {
    const struct cli_env *env;
    FILE *out, *err;
    bool json, no_wait, help;
    const char *config_path;
    unsigned timeout_s; /* 0 = default */
    struct client_config config;
    struct client *client;
};

/* ---- rows.c ---- */
const struct cli_row *cli_rows(size_t *ret_count);
const struct cli_row *cli_find_verb(const char *noun, const char *verb);
/* Argument rows of a verb follow it; returns the next one, start with the verb's own row. */
const struct cli_row *cli_next_arg(const struct cli_row *verb, const struct cli_row *previous);
bool cli_is_noun(const char *text);
/* Nouns in order of the table; NULL past the end. */
const char *cli_noun(size_t index);
const char *cli_noun_help(const char *noun);

/* ---- forms.c ---- */
const struct cli_form *cli_form_of(const struct cli_row *verb); /* never NULL */
/* The option of an argument ("with-snapshots"), or NULL when it is only positional. */
const char *cli_option_name(const struct cli_row *arg, char buf[64]);
/* Secrets are read from files, never from the command line. */
bool cli_option_is_file(const struct cli_row *arg);
bool cli_is_positional(const struct cli_row *verb, const char *name);
/* The index-th positional; *ret_rest when it takes all that is left.  False past the end. */
bool cli_positional(const struct cli_row *verb, unsigned index, char name[64], bool *ret_rest);

/* ---- help.c ---- */
void cli_help_all(FILE *out);
int cli_help(struct cli *cli, int argc, char **argv);
void cli_help_noun(FILE *out, const char *noun);
void cli_help_verb(FILE *out, const struct cli_row *verb);
void cli_usage_line(FILE *out, const struct cli_row *verb);
void cli_man(FILE *out, const char *noun);
int cli_complete(FILE *out, int argc, char **argv);

/* ---- parse.c ---- */
struct cli_words {
    json_t *arguments; /* object: argument or path name -> value */
    bool help;
};
/* Options that every command takes; returns false when `option` is none of them. */
bool cli_common_option(struct cli *cli, int option, const char *value, struct err **ret_error);
extern const struct option cli_common_options[];
enum cli_common {
    CLI_OPT_CONFIG = 1000,
    CLI_OPT_JSON,
    CLI_OPT_NO_WAIT,
    CLI_OPT_TIMEOUT,
    CLI_OPT_HELP
};
struct err *cli_parse(struct cli *cli, const struct cli_row *verb, int argc, char **argv,
                      struct cli_words *ret_words) MUST_CHECK;

/* ---- invoke.c ---- */
struct err *cli_connect(struct cli *cli) MUST_CHECK;
/* The path with {name} replaced, and the query string of GET and DELETE. */
struct err *cli_path_of(const struct cli_row *verb, const json_t *arguments,
                        char **ret_path) MUST_CHECK;
int cli_invoke(struct cli *cli, const struct cli_row *verb, int argc, char **argv);
struct err *cli_send(struct cli *cli, const struct cli_row *verb, json_t *arguments,
                     json_t **ret_answer) MUST_CHECK;
/* Prints the error (taken) and returns the exit code. */
int cli_fail(struct cli *cli, struct err *e);
int cli_fail_usage(struct cli *cli, const struct cli_row *verb, struct err *e);
void cli_print_json(struct cli *cli, const json_t *answer);
void cli_job_progress(void *arg, const json_t *job);

/* ---- special.c ---- */
int cli_map_add(struct cli *cli, const struct cli_row *verb, int argc, char **argv);
int cli_host_redeem(struct cli *cli, const struct cli_row *verb, int argc, char **argv);
int cli_job_wait(struct cli *cli, const struct cli_row *verb, int argc, char **argv);
int cli_shadow_create(struct cli *cli, const struct cli_row *verb, int argc, char **argv);

/* ---- views.c ---- */
/* Prints an answer for people; `wide` false drops columns that say nothing. */
void cli_view(FILE *out, const struct cli_row *verb, const json_t *answer);

/* ---- table.c ---- */
enum { CLI_CELL_MAX = 512 };
struct cli_table;
struct cli_table *cli_table_create(unsigned columns);
/* The text is copied; cells fill rows from the left. */
void cli_table_add(struct cli_table *table, const char *text);
void cli_table_set_right(struct cli_table *table, unsigned column);
/* Drops a column in which every cell but the title is "" or "-". */
void cli_table_drop_if_empty(struct cli_table *table, unsigned column);
void cli_table_print(const struct cli_table *table, FILE *out, const char *indent);
void cli_table_destroy(struct cli_table *table);

#endif
