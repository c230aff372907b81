/*
 * cli.h - the command `tarn NOUN VERB`: a table-driven client of the control API for people and
 * scripts.
 *
 *     struct cli_env env = {.out = stdout, .err = stderr};
 *     return cli_main(&env, argc, argv);
 *
 * Answers go to `out`: tables for eyes, with --json exactly what the server answered.  Errors go to
 * `err` in plain words: what, why, what to do. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4
 * refused or conflict, 5 denied, 6 unreachable, 7 timeout. Threads: one.  Ownership: streams stay
 * the caller's; a transport that `connect` returns belongs to the command.
 */
#ifndef TARN_CLI_CLI_H
#define TARN_CLI_CLI_H

#include <stdio.h>

#include "client/transport.h"

struct cli_env {
    FILE *out, *err;
    /* Tests put a fake server here; NULL = configuration and HTTPS. */
    struct transport *(*connect)(void *arg);
    void *arg;
};

int cli_main(const struct cli_env *env, int argc, char **argv);

#endif
