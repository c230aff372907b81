/*
 * commands.h - what an administrator types: the commands of tarn-vss, in the order of verbs.def.
 *
 * Exit statuses: 0 = well, 1 = something is wrong, 2 = it was called wrongly.
 */
#ifndef TARN_WINDOWS_OPS_COMMANDS_H
#define TARN_WINDOWS_OPS_COMMANDS_H

#include <wchar.h>

/* Instead of an exit status: these arguments are none of the command's. */
enum { OPS_WRONG_CALL = -1 };

struct ops_command {
    const char *name, *arguments, *help;
    int (*run)(int argc, wchar_t **argv); /* without the names of program and command */
};

/* Ends with a name of NULL. */
extern const struct ops_command ops_commands[];

#endif
