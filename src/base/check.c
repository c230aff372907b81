#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

static void (*panic_hook)(void);

void check_set_panic_hook(void (*hook)(void))
{
    panic_hook = hook;
}

void check_failed(const char *file, int line, const char *function, const char *what)
{
    fprintf(stderr, "<2>panic: %s:%d: %s: check failed: %s\n", file, line, function, what);
    void (*hook)(void) = panic_hook;
    panic_hook = NULL; /* A hook that fails a check must not recurse. */
    if (hook) hook();
    fflush(stderr);
    abort();
}
