/*
 * log.h - the provider's call trace (com/trace.h), read again: for people, and to compare two.
 *
 *     CommitSnapshots 00000000 state=committed us=5210 luns=2 at=2026-11-22T21:00:00.123Z
 *     event: The shadow copy could not be prepared: ... What to do: ...
 *
 * The *normal form* of a line has nothing that differs from run to run: no times, no ids, no state
 * where a call is of no open set, and not the calls that Windows makes as often as it likes.  Two
 * runs of one scenario have the same normal form, under Wine and on Windows, or one of the
 * assumptions about VSS is wrong.
 *
 * Threads: any.  Nothing allocates but log_compare.  Limits: lines of LOG_LINE_SIZE.
 */
#ifndef TARN_WINDOWS_OPS_LOG_H
#define TARN_WINDOWS_OPS_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { LOG_LINE_SIZE = 1280, LOG_LINES_MAX = 4000 };

struct log_line {
    bool is_call; /* else text has an event */
    char method[48], state[16], arguments[96], at[32];
    uint32_t result;
    uint64_t duration_us;
    char text[LOG_LINE_SIZE];
};

/* One line, without its end.  false: it is neither. */
bool log_parse(const char *line, size_t size, struct log_line *ret_line);
/* For people. */
void log_format(const struct log_line *line, char text[LOG_LINE_SIZE]);
/* false: the line has no place in a comparison.  A normal form is a line too, and its own normal
 * form: a comparison reads those of a file as it reads a trace. */
bool log_normalise(const struct log_line *line, char text[LOG_LINE_SIZE]);

/* Reads `from` to its end; writes its lines to `to`, for people or in the normal form. */
void log_print(FILE *from, bool is_normal, FILE *to);
/* Compares the normal forms, and writes what differs: "-" is missing, "+" is new.  `actual` are
 * files of one trace, the oldest first; NULL is none.  0: the same; 1: not; 2: too long, or out of
 * memory. */
int log_compare(FILE *expected, FILE *const *actual, unsigned actual_count, FILE *to);

#endif
