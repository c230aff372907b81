/* main.c - the program tarn. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    struct cli_env env = {.out = stdout, .err = stderr};
    return cli_main(&env, argc, argv);
}
