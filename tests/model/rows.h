/*
 * rows.h - helpers of the suites: a row is a kind of world that runs over a number of seeds, each in a child
 * process so that an assertion of the engine is one red row and not the end of the suite.
 *
 * TARN_TEST_SCALE (percent, default 100) scales the number of seeds; sanitizer builds use a small one.
 */
#ifndef TARN_TESTS_ROWS_H
#define TARN_TESTS_ROWS_H

#include "ops.h"

enum row_result {
    ROW_GREEN,
    ROW_RED,     /* the model disagreed */
    ROW_DIED,    /* an assertion, a signal, a sanitizer */
    ROW_HUNG,
};

/* Runs fn(arg) in a child; true = green.  What the child prints is passed on. */
enum row_result rows_run_child(bool (*fn)(const void *arg), const void *arg, unsigned limit_s);
unsigned rows_scaled(unsigned count); /* at least 1 */
/* One world; prints its failure and how to see it again. */
bool rows_world_is_green(const struct world_options *options);
/* The command that runs the same world; text of at least 400 bytes. */
char *rows_command(const struct world_options *options, char *text, size_t size);

#endif
