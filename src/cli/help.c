/*
 * help.c - help that teaches, the man pages' source and completion, all from the table of commands.
 */
#include <ctype.h>
#include <string.h>

#include "cli/cli_int.h"

static void put_upper(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc(*text == '_' ? '-' : toupper((unsigned char)*text), out);
}

static const char *value_word(const struct cli_row *arg)
{
    switch (arg->type) {
    case CLI_SIZE:
        return "SIZE";
    case CLI_UINT:
        return "N";
    case CLI_NAME:
        return "NAME";
    case CLI_TEXT:
        return "TEXT";
    case CLI_REFS:
        return "NAME";
    case CLI_BOOL:
        return "";
    }
    return "";
}

static bool is_option(const struct cli_row *verb, const struct cli_row *arg)
{
    return !cli_is_positional(verb, arg->name);
}

/* What stands for the value of an option where its type says too little. */
static const char *shown_value(const struct cli_row *arg, const char *option)
{
    static const struct {
        const char *option, *shown;
    } words[] = {{"file", "FILE"},
                 {"writer", "SPEC"},
                 {"initiator", "IQN"},
                 {"timeout", "SECONDS"},
                 {"role", "ROLE"}};
    if (cli_option_is_file(arg)) return "FILE";
    for (size_t i = 0; i < countof(words); i++) {
        if (strcmp(words[i].option, option) == 0) return words[i].shown;
    }
    return value_word(arg);
}

static void put_option(FILE *out, const struct cli_row *arg)
{
    char name[64];
    fprintf(out, "--%s", cli_option_name(arg, name));
    if (arg->type != CLI_BOOL) fprintf(out, " %s", shown_value(arg, name));
}

/* Paragraphs are broken for a terminal of 100 columns. */
static void put_paragraph(FILE *out, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column > 0 && column + 1 + length > 96) {
            fputc('\n', out);
            column = 0;
        }
        column += (size_t)fprintf(out, "%s%.*s", column ? " " : "", (int)length, text);
        text += length;
        text += *text == ' ';
    }
    fputc('\n', out);
}

void cli_usage_line(FILE *out, const struct cli_row *verb)
{
    const struct cli_form *form = cli_form_of(verb);
    char name[64];
    bool rest;
    fprintf(out, "tarn %s %s", verb->noun, verb->verb);
    if (form->shown) fprintf(out, " %s", form->shown);
    for (unsigned i = 0; !form->shown && cli_positional(verb, i, name, &rest); i++) {
        fputc(' ', out);
        /* A list of disks is shown as DISK... */
        if (rest && name[strlen(name) - 1] == 's') name[strlen(name) - 1] = '\0';
        put_upper(out, strcmp(name, "name") == 0 ? "name" : name);
        if (rest) fputs("...", out);
    }
    for (const struct cli_row *arg = cli_next_arg(verb, verb); arg; arg = cli_next_arg(verb, arg)) {
        if (!is_option(verb, arg)) continue;
        fputs(arg->need == CLI_REQUIRED ? " " : " [", out);
        put_option(out, arg);
        if (arg->type == CLI_REFS) fputs("...", out);
        if (arg->need == CLI_OPTIONAL) fputc(']', out);
    }
}

static void put_noun_verbs(FILE *out, const char *noun)
{
    size_t count;
    const struct cli_row *rows = cli_rows(&count);
    struct cli_table *table = cli_table_create(2);
    for (size_t i = 0; i < count; i++) {
        char line[128];
        if (rows[i].kind != CLI_ROW_VERB || strcmp(rows[i].noun, noun) != 0) continue;
        snprintf(line, sizeof line, "tarn %s %s", noun, rows[i].verb);
        cli_table_add(table, line);
        cli_table_add(table, rows[i].help);
    }
    cli_table_print(table, out, "  ");
    cli_table_destroy(table);
}

void cli_help_all(FILE *out)
{
    fputs("tarn - virtual disks, snapshots and shadow copies\n\nUsage: tarn NOUN VERB [WORD...] "
          "[--OPTION...]\n\n",
          out);
    struct cli_table *table = cli_table_create(2);
    for (size_t i = 0; cli_noun(i); i++) {
        cli_table_add(table, cli_noun(i));
        cli_table_add(table, cli_noun_help(cli_noun(i)));
    }
    cli_table_print(table, out, "  ");
    cli_table_destroy(table);
    fputs("\nA first session:\n"
          "  tarn pool create main --file /var/lib/tarn/main.pool --size 10G\n"
          "  tarn disk create mail --size 4G\n"
          "  tarn host create web1 --initiator IQN --auth none\n"
          "  tarn map add web1 mail\n"
          "  tarn snapshot create mail --name first\n"
          "\nEvery command takes: --json (the server's answer, for programs), --config FILE, "
          "--timeout SECONDS,\n"
          "  --no-wait (do not wait for jobs), --help\n"
          "Objects are named by name, id or a unique beginning of either; sizes are written 512M, "
          "10G, 1T.\n"
          "More: tarn help NOUN, tarn help NOUN VERB, man tarn, tarn version\n",
          out);
}

void cli_help_noun(FILE *out, const char *noun)
{
    fprintf(out, "tarn %s - %s\n\n", noun, cli_noun_help(noun));
    put_noun_verbs(out, noun);
    fprintf(out, "\nMore: tarn help %s VERB\n", noun);
}

static const char *role_text(const char *role)
{
    if (strcmp(role, "ADMIN") == 0) return "administrator";
    if (strcmp(role, "OPERATOR") == 0) return "backup operator";
    return "viewer";
}

void cli_help_verb(FILE *out, const struct cli_row *verb)
{
    const struct cli_form *form = cli_form_of(verb);
    fprintf(out, "%s.\n\nUsage: ", verb->help);
    cli_usage_line(out, verb);
    fputs("\n", out);
    struct cli_table *table = cli_table_create(2);
    bool any = false;
    for (const struct cli_row *arg = cli_next_arg(verb, verb); arg; arg = cli_next_arg(verb, arg)) {
        char text[80], name[64];
        if (is_option(verb, arg))
            snprintf(text, sizeof text, "--%s", cli_option_name(arg, name));
        else
            snprintf(text, sizeof text, "%s", arg->name);
        cli_table_add(table, text);
        cli_table_add(table, arg->help);
        any = true;
    }
    if (any) {
        fputs("\n", out);
        cli_table_print(table, out, "  ");
    }
    cli_table_destroy(table);
    if (form->note) {
        fputc('\n', out);
        put_paragraph(out, form->note);
    }
    if (form->examples[0]) fputs("\nExamples:\n", out);
    for (size_t i = 0; i < countof(form->examples) && form->examples[i]; i++) {
        fprintf(out, "  %s\n", form->examples[i]);
    }
    fprintf(out, "\nAllowed to: %s\n", role_text(verb->role));
}

int cli_help(struct cli *cli, int argc, char **argv)
{
    if (argc == 0) {
        cli_help_all(cli->out);
        return 0;
    }
    if (!cli_is_noun(argv[0])) {
        return cli_fail_usage(
            cli, NULL, err_new(STATUS_BAD_REQUEST, "there is no \"%s\" to help with", argv[0]));
    }
    if (argc == 1) {
        cli_help_noun(cli->out, argv[0]);
        return 0;
    }
    const struct cli_row *verb = cli_find_verb(argv[0], argv[1]);
    if (!verb) {
        fprintf(cli->err, "tarn: there is no verb \"%s\" of %s\n\n", argv[1], argv[0]);
        put_noun_verbs(cli->err, argv[0]);
        return CLI_EXIT_USAGE;
    }
    cli_help_verb(cli->out, verb);
    return 0;
}

/* ---- Man pages: scdoc source of one noun ---- */

/* scdoc reads _ and * as markup. */
static void put_scd(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("_*\\<>#[]~", *text)) fputc('\\', out);
        fputc(*text, out);
    }
}

static void man_verb(FILE *out, const struct cli_row *verb)
{
    const struct cli_form *form = cli_form_of(verb);
    char line[1024] = "";
    FILE *memory = fmemopen(line, sizeof line - 1, "w");
    if (!memory) return;
    cli_usage_line(memory, verb);
    fclose(memory);
    size_t head = strlen("tarn ") + strlen(verb->noun) + 1 + strlen(verb->verb);
    fprintf(out, "*tarn %s %s*", verb->noun, verb->verb);
    put_scd(out, line + head);
    fputs("\n\t", out);
    put_scd(out, verb->help);
    fprintf(out, ". For: %s.\n", role_text(verb->role));
    if (form->note) {
        fputs("\n\t", out);
        put_scd(out, form->note);
        fputs("\n", out);
    }
    for (const struct cli_row *arg = cli_next_arg(verb, verb); arg; arg = cli_next_arg(verb, arg)) {
        char name[64];
        if (!is_option(verb, arg)) continue;
        fprintf(out, "\n\t*--%s*: ", cli_option_name(arg, name));
        put_scd(out, arg->help);
        fputs("\n", out);
    }
    fputs("\n", out);
}

void cli_man(FILE *out, const char *noun)
{
    size_t count;
    const struct cli_row *rows = cli_rows(&count);
    fprintf(out, "tarn-%s(1)\n\n# NAME\n\ntarn-%s - %s\n\n# COMMANDS\n\n", noun, noun,
            cli_noun_help(noun));
    for (size_t i = 0; i < count; i++) {
        if (rows[i].kind == CLI_ROW_VERB && strcmp(rows[i].noun, noun) == 0)
            man_verb(out, &rows[i]);
    }
    fputs("# EXAMPLES\n\n```\n", out);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].kind != CLI_ROW_VERB || strcmp(rows[i].noun, noun) != 0) continue;
        const struct cli_form *form = cli_form_of(&rows[i]);
        for (size_t n = 0; n < countof(form->examples) && form->examples[n]; n++) {
            fprintf(out, "%s\n", form->examples[n]);
        }
    }
    fputs("```\n\n# SEE ALSO\n\n*tarn*(1): options that every command takes, configuration, exit "
          "codes, files.\n",
          out);
}

/* ---- Completion ---- */

static void offer(FILE *out, const char *prefix, const char *dashes, const char *word)
{
    size_t skip = strlen(dashes), length = strlen(prefix);
    if (length < skip ? strncmp(dashes, prefix, length) != 0
                      : strncmp(prefix, dashes, skip) != 0 ||
                            strncmp(word, prefix + skip, length - skip) != 0) {
        return;
    }
    fprintf(out, "%s%s\n", dashes, word);
}

static void offer_nouns(FILE *out, const char *prefix)
{
    for (size_t i = 0; cli_noun(i); i++)
        offer(out, prefix, "", cli_noun(i));
}

static void offer_verbs(FILE *out, const char *prefix, const char *noun)
{
    size_t count;
    const struct cli_row *rows = cli_rows(&count);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].kind != CLI_ROW_VERB || strcmp(rows[i].noun, noun) != 0) continue;
        offer(out, prefix, "", rows[i].verb);
    }
}

static void offer_options(FILE *out, const char *prefix, const struct cli_row *verb)
{
    char name[64];
    if (!verb) return;
    for (const struct cli_row *arg = cli_next_arg(verb, verb); arg; arg = cli_next_arg(verb, arg)) {
        if (is_option(verb, arg)) offer(out, prefix, "--", cli_option_name(arg, name));
    }
    for (const struct option *common = cli_common_options; common->name; common++) {
        offer(out, prefix, "--", common->name);
    }
}

/* Candidates for the last of the words (which may be empty), one a line. */
int cli_complete(FILE *out, int argc, char **argv)
{
    const char *last = argc > 0 ? argv[argc - 1] : "";
    bool is_help = argc > 1 && strcmp(argv[0], "help") == 0;
    if (argc <= 1) {
        offer_nouns(out, last);
        offer(out, last, "", "help");
        offer(out, last, "", "version");
        return 0;
    }
    /* "help" stands before what is completed as usual. */
    if (is_help) {
        if (argc == 2) offer_nouns(out, last);
        if (argc == 3) offer_verbs(out, last, argv[1]);
        return 0;
    }
    if (argc == 2)
        offer_verbs(out, last, argv[0]);
    else if (last[0] == '-')
        offer_options(out, last, cli_find_verb(argv[0], argv[1]));
    return 0;
}
