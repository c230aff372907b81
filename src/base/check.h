/*
 * check.h - assertions that stay on in release builds.
 *
 * check() states what the code guarantees by itself; a failure is a bug of ours, never a reaction to
 * data from disk, wire or a person (those are statuses and errors, see status.h and err.h).  Where a
 * check guards an engine invariant, cite its number: check(a->gen < b->gen);  (E2 in a comment).
 *
 * Threads: any.  Failure: prints the place to stderr, runs the panic hook, aborts.
 */
#ifndef TARN_BASE_CHECK_H
#define TARN_BASE_CHECK_H

#include <assert.h>

/* Prints and aborts.  Never returns. */
_Noreturn void check_failed(const char *file, int line, const char *function, const char *what);

/* Called once by check_failed before abort; may print state with async-signal-safe code. */
void check_set_panic_hook(void (*hook)(void));

#define check(cond) ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, __func__, #cond))
#define check_static(cond) static_assert(cond, #cond)
#define unreachable(why) check_failed(__FILE__, __LINE__, __func__, "unreachable: " why)

#endif
