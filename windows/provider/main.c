/* tarn-vss - the VSS hardware provider of Tarn: a COM local server run as a service, and commands
 * for the administrator of the host. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "windows/provider/ops/commands.h"

int wmain(int argc, wchar_t **argv);

/* What has to be given stands beside the name, what may be behind the help. */
static void help(FILE *to)
{
    fputs("usage: tarn-vss COMMAND\n", to);
    for (const struct ops_command *c = ops_commands; c->name; c++) {
        bool is_optional = c->arguments[0] == '[';
        char call[32];
        bool is_beside = c->arguments[0] && !is_optional;
        snprintf(call, sizeof call, "%s%s%s", c->name, is_beside ? " " : "",
                 is_beside ? c->arguments : "");
        fprintf(to, "  %-10s  %s%s%s\n", call, c->help, is_optional ? ": " : "",
                is_optional ? c->arguments : "");
    }
    fputs(
        "More of each, and of what the doctor looks at: the man page tarn-vss(8), on the server\n",
        to);
}

static bool is_name(const wchar_t *typed, const char *name)
{
    while (*name && *typed == (wchar_t)*name)
        typed++, name++;
    return !*name && !*typed;
}

int wmain(int argc, wchar_t **argv)
{
    if (argc == 2 && (is_name(argv[1], "--help") || is_name(argv[1], "/?"))) {
        help(stdout);
        return 0;
    }
    for (const struct ops_command *c = ops_commands; argc >= 2 && c->name; c++) {
        if (!is_name(argv[1], c->name)) continue;
        int status = c->run(argc - 2, argv + 2);
        if (status != OPS_WRONG_CALL) return status;
        fprintf(stderr, "usage: tarn-vss %s%s%s\n", c->name, c->arguments[0] ? " " : "",
                c->arguments);
        return 2;
    }
    help(stderr);
    return 2;
}
