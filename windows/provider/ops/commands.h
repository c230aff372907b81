/*
 * commands.h - what an administrator types: tarn-vss status, doctor, repair, log, idle.
 *
 * Exit statuses: 0 = well, 1 = something is wrong, 2 = it was called wrongly.
 */
#ifndef TARN_WINDOWS_OPS_COMMANDS_H
#define TARN_WINDOWS_OPS_COMMANDS_H

#include <wchar.h>

struct ops_command {
    const wchar_t *name;
    int (*run)(int argc, wchar_t **argv); /* without the names of program and command */
};

/* Ends with a name of NULL. */
extern const struct ops_command ops_commands[];

#endif
