/*
 * parse.c - from words to JSON arguments, by the table: types are checked here, so that a typing
 * mistake is answered at once and nothing is sent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli_int.h"

enum { FIRST_ARG_OPTION = 2000, SECRET_FILE_MAX = 4096 };

const struct option cli_common_options[] = {
    {"config", required_argument, NULL, CLI_OPT_CONFIG},
    {"json", no_argument, NULL, CLI_OPT_JSON},
    {"no-wait", no_argument, NULL, CLI_OPT_NO_WAIT},
    {"timeout", required_argument, NULL, CLI_OPT_TIMEOUT},
    {"help", no_argument, NULL, CLI_OPT_HELP},
    {NULL, 0, NULL, 0},
};

bool cli_common_option(struct cli *cli, int option, const char *value, struct err **ret_error)
{
    uint64_t number;
    switch (option) {
    case CLI_OPT_CONFIG:
        cli->config_path = value;
        return true;
    case CLI_OPT_JSON:
        cli->json = true;
        return true;
    case CLI_OPT_NO_WAIT:
        cli->no_wait = true;
        return true;
    case CLI_OPT_HELP:
        cli->help = true;
        return true;
    case CLI_OPT_TIMEOUT:
        if (!text_parse_u64(value, &number) || number == 0 || number > 1000000) {
            *ret_error =
                err_new(STATUS_BAD_REQUEST, "--timeout %s is not a number of seconds", value);
        } else {
            cli->timeout_s = (unsigned)number;
        }
        return true;
    default:
        return false;
    }
}

/* The first line of a file, for secrets; "-" is standard input. */
static struct err *read_secret(const char *path, json_t **ret_value)
{
    char text[SECRET_FILE_MAX];
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_from_errno("read the secret in %s", path);
    ssize_t got = read(fd, text, sizeof text - 1);
    int code = errno;
    close(fd);
    if (got < 0) return err_from_code(code, "read the secret in %s", path);
    text[got] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    if (!text[0]) return err_new(STATUS_BAD_REQUEST, "%s holds no secret in its first line", path);
    *ret_value = json_string(text);
    explicit_bzero(text, sizeof text);
    return *ret_value ? NULL
                      : err_new(STATUS_BAD_REQUEST, "the secret in %s is not valid UTF-8", path);
}

/* One typed word as a JSON value of the argument's type. */
static struct err *value_of(const struct cli_row *arg, const char *shown, const char *word,
                            json_t **ret_value)
{
    uint64_t number;
    if (cli_option_is_file(arg)) return read_secret(word, ret_value);
    switch (arg->type) {
    case CLI_SIZE:
        if (!text_parse_size(word, &number) || number > INT64_MAX) {
            return err_next(err_new(STATUS_BAD_REQUEST, "%s: \"%s\" is not a size", shown, word),
                            "write 4K, 512M, 10G or 1T (binary units), or bytes");
        }
        *ret_value = json_integer((json_int_t)number);
        break;
    case CLI_UINT:
        if (!text_parse_u64(word, &number) || number > INT64_MAX) {
            return err_new(STATUS_BAD_REQUEST, "%s: \"%s\" is not a number", shown, word);
        }
        *ret_value = json_integer((json_int_t)number);
        break;
    case CLI_BOOL:
        *ret_value = json_true();
        break;
    case CLI_NAME:
    case CLI_REFS:
        if (!text_is_valid_name(word)) {
            return err_next(err_new(STATUS_BAD_REQUEST, "%s: \"%s\" is not a name", shown, word),
                            "names are 1 to %d bytes of UTF-8 without control characters",
                            TEXT_NAME_MAX_BYTES);
        }
        *ret_value = json_string(word);
        break;
    case CLI_TEXT:
        *ret_value = json_string(word);
        break;
    }
    return *ret_value ? NULL
                      : err_new(STATUS_BAD_REQUEST, "%s: \"%s\" is not valid UTF-8", shown, word);
}

static struct err *put(json_t *arguments, const struct cli_row *arg, const char *shown,
                       const char *word)
{
    json_t *value = NULL;
    TRY(value_of(arg, shown, word, &value));
    if (arg->type != CLI_REFS) {
        json_object_set_new(arguments, arg->name, value);
        return NULL;
    }
    json_t *list = json_object_get(arguments, arg->name);
    if (!list) {
        list = json_array();
        json_object_set_new(arguments, arg->name, list);
    }
    json_array_append_new(list, value);
    return NULL;
}

static const struct cli_row *arg_named(const struct cli_row *verb, const char *name)
{
    for (const struct cli_row *arg = cli_next_arg(verb, verb); arg; arg = cli_next_arg(verb, arg)) {
        if (strcmp(arg->name, name) == 0) return arg;
    }
    return NULL;
}

static struct err *take_positional(const struct cli_row *verb, json_t *arguments, unsigned index,
                                   const char *word)
{
    char name[64];
    bool rest;
    unsigned at = 0;
    /* A positional that takes the rest is the last one. */
    while (cli_positional(verb, at, name, &rest) && at < index && !rest)
        at++;
    if (!cli_positional(verb, at, name, &rest)) {
        return err_new(STATUS_BAD_REQUEST, "\"%s\" is one word too many", word);
    }
    /* Path parameters and the command line's own words are not rows: they are names. */
    struct cli_row plain = {.kind = CLI_ROW_ARG, .id = verb->id, .name = name, .type = CLI_NAME};
    const struct cli_row *arg = arg_named(verb, name);
    return put(arguments, arg ? arg : &plain, arg ? arg->name : name, word);
}

/* The options of a verb: its own first; a common one of the same name gives way. */
static void options_of(const struct cli_row *verb, struct option *options, char (*names)[64],
                       const struct cli_row **args)
{
    unsigned count = 0;
    for (const struct cli_row *arg = cli_next_arg(verb, verb); arg && count < CLI_ARGS_MAX;
         arg = cli_next_arg(verb, arg)) {
        if (cli_is_positional(verb, arg->name) && arg->type != CLI_REFS) continue;
        args[count] = arg;
        options[count] = (struct option){cli_option_name(arg, names[count]),
                                         arg->type == CLI_BOOL ? no_argument : required_argument,
                                         NULL, FIRST_ARG_OPTION + (int)count};
        count++;
    }
    unsigned own = count;
    for (const struct option *common = cli_common_options; common->name; common++) {
        bool taken = false;
        for (unsigned i = 0; i < own; i++)
            taken = taken || strcmp(options[i].name, common->name) == 0;
        if (!taken) options[count++] = *common;
    }
    options[count] = (struct option){0};
}

static struct err *bad_option(const char *word, int option)
{
    if (option == ':') return err_new(STATUS_BAD_REQUEST, "%s needs a value", word);
    return err_new(STATUS_BAD_REQUEST, "%s is not an option of this command", word);
}

static struct err *look_for_missing(const struct cli_row *verb, const json_t *arguments)
{
    char name[64], option[64];
    bool rest;
    for (unsigned i = 0; cli_positional(verb, i, name, &rest); i++) {
        const struct cli_row *arg = arg_named(verb, name);
        if ((arg && arg->need == CLI_OPTIONAL) || json_object_get(arguments, name)) continue;
        if (cli_form_of(verb)->handler && !arg) continue; /* the handler knows */
        return err_new(STATUS_BAD_REQUEST, "%s is missing", name);
    }
    for (const struct cli_row *arg = cli_next_arg(verb, verb); arg; arg = cli_next_arg(verb, arg)) {
        if (arg->need == CLI_OPTIONAL || json_object_get(arguments, arg->name)) continue;
        if (cli_is_positional(verb, arg->name)) continue;
        return err_new(STATUS_BAD_REQUEST, "--%s is missing: %s", cli_option_name(arg, option),
                       arg->help);
    }
    return NULL;
}

static struct err *parse_words(struct cli *cli, const struct cli_row *verb, int argc, char **argv,
                               json_t *arguments)
{
    struct option options[CLI_ARGS_MAX + 8];
    char names[CLI_ARGS_MAX][64];
    const struct cli_row *args[CLI_ARGS_MAX];
    options_of(verb, options, names, args);
    unsigned positional = 0;
    struct err *e = NULL;
    optind = 0; /* GNU: start anew, also after an earlier run in this process */
    opterr = 0;
    for (;;) {
        int at = optind ? optind : 1;
        int option = getopt_long(argc, argv, "-:h", options, NULL);
        if (option == -1) break;
        if (option == 'h') option = CLI_OPT_HELP;
        if (option == '?' || option == ':') return bad_option(argv[at], option);
        if (option == 1)
            TRY(take_positional(verb, arguments, positional++, optarg));
        else if (cli_common_option(cli, option, optarg, &e))
            TRY(e);
        else {
            char shown[66];
            const struct cli_row *arg = args[option - FIRST_ARG_OPTION];
            snprintf(shown, sizeof shown, "--%s", names[option - FIRST_ARG_OPTION]);
            TRY(put(arguments, arg, shown, optarg));
        }
    }
    while (optind < argc)
        TRY(take_positional(verb, arguments, positional++, argv[optind++])); /* after -- */
    return cli->help ? NULL : look_for_missing(verb, arguments);
}

struct err *cli_parse(struct cli *cli, const struct cli_row *verb, int argc, char **argv,
                      struct cli_words *ret_words)
{
    json_t *arguments = json_object();
    if (!arguments) return err_new(STATUS_NO_MEMORY, "read the command line");
    struct err *e = parse_words(cli, verb, argc, argv, arguments);
    if (e) {
        json_decref(arguments);
        return e;
    }
    ret_words->arguments = arguments;
    ret_words->help = cli->help;
    return NULL;
}
