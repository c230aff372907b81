/*
 * cli.c - from argv to a row of the table (cli.h).
 */
#include "cli/cli.h"

#include <locale.h>
#include <string.h>

#include "cli/cli_int.h"

#ifndef TARN_VERSION
#define TARN_VERSION "unknown"
#endif

static int show_version(struct cli *cli)
{
    if (cli->json)
        fprintf(cli->out, "{\"version\": \"%s\"}\n", TARN_VERSION);
    else
        fprintf(cli->out, "tarn %s\n", TARN_VERSION);
    return 0;
}

/* Whether one letter more, less or other makes one word of the other, or it is only the beginning.
 */
static bool is_near(const char *typed, const char *word)
{
    size_t a = strlen(typed), b = strlen(word), head = 0, tail = 0;
    while (typed[head] && typed[head] == word[head])
        head++;
    while (tail < a - head && tail + head < b && typed[a - tail - 1] == word[b - tail - 1])
        tail++;
    return head + tail + 1 >= max_of(a, b) || (a > 1 && head == a);
}

static int unknown_noun(struct cli *cli, const char *word)
{
    fprintf(cli->err, "tarn: there is no \"%s\"", word);
    for (size_t i = 0; cli_noun(i); i++) {
        if (is_near(word, cli_noun(i))) fprintf(cli->err, "; did you mean \"%s\"?", cli_noun(i));
    }
    fputs("\n  nouns:", cli->err);
    for (size_t i = 0; cli_noun(i); i++)
        fprintf(cli->err, " %s", cli_noun(i));
    fputs("\n  more: tarn help\n", cli->err);
    return CLI_EXIT_USAGE;
}

static int unknown_verb(struct cli *cli, const char *noun, const char *word)
{
    size_t count;
    const struct cli_row *rows = cli_rows(&count);
    fprintf(cli->err, "tarn: \"%s\" is not something to do with a %s\n  verbs:", word, noun);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].kind == CLI_ROW_VERB && strcmp(rows[i].noun, noun) == 0)
            fprintf(cli->err, " %s", rows[i].verb);
    }
    fprintf(cli->err, "\n  more: tarn help %s\n", noun);
    return CLI_EXIT_USAGE;
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
    if (argc == 0 || (argc == 1 && cli->help)) {
        if (argc == 1 && cli_is_noun(argv[0]))
            cli_help_noun(cli->out, argv[0]);
        else
            cli_help_all(cli->out);
        return 0;
    }
    if (strcmp(argv[0], "help") == 0) return cli_help(cli, argc - 1, argv + 1);
    if (strcmp(argv[0], "version") == 0) return show_version(cli);
    if (strcmp(argv[0], "__complete") == 0) return cli_complete(cli->out, argc - 1, argv + 1);
    if (strcmp(argv[0], "__man") == 0 && argc == 2 && cli_is_noun(argv[1])) {
        cli_man(cli->out, argv[1]);
        return 0;
    }
    if (!cli_is_noun(argv[0])) return unknown_noun(cli, argv[0]);
    if (argc == 1 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_help_noun(argc == 1 ? cli->err : cli->out, argv[0]);
        return argc == 1 ? CLI_EXIT_USAGE : 0;
    }
    const struct cli_row *verb = cli_find_verb(argv[0], argv[1]);
    if (!verb) return unknown_verb(cli, argv[0], argv[1]);
    return cli_invoke(cli, verb, argc - 1,
                      argv + 1); /* the verb stands where getopt expects the program */
}

/* Options before the noun. */
static int leading_options(struct cli *cli, int argc, char **argv, int *ret_exit)
{
    static const struct option version[] = {{"version", no_argument, NULL, 'V'}};
    struct option options[8];
    size_t count = 0;
    for (const struct option *common = cli_common_options; common->name; common++)
        options[count++] = *common;
    options[count++] = version[0];
    options[count] = (struct option){0};
    optind = 0;
    opterr = 0;
    for (;;) {
        struct err *e = NULL;
        int at = optind ? optind : 1;
        int option = getopt_long(argc, argv, "+:hV", options, NULL);
        if (option == -1) return optind;
        if (option == 'h') option = CLI_OPT_HELP;
        if (option == 'V') {
            *ret_exit = show_version(cli);
            return -1;
        }
        if (!cli_common_option(cli, option, optarg, &e)) {
            e = err_new(STATUS_BAD_REQUEST,
                        option == ':' ? "%s needs a value" : "%s is not an option", argv[at]);
        }
        if (e) {
            *ret_exit = cli_fail_usage(cli, NULL, e);
            return -1;
        }
    }
}

int cli_main(const struct cli_env *env, int argc, char **argv)
{
    struct cli cli = {.env = env, .out = env->out, .err = env->err};
    int code = 0;
    setlocale(LC_CTYPE, "");
    int first = leading_options(&cli, argc, argv, &code);
    if (first >= 0) code = dispatch(&cli, argc - first, argv + first);
    client_destroy(cli.client);
    client_config_fini(&cli.config);
    if (fflush(cli.out) != 0 && code == 0) {
        fputs("tarn: the output could not be written\n", cli.err);
        code = 1;
    }
    return code;
}
