/*
 * bounded.h - work that is waited for so long and no longer, whatever it hangs on.
 *
 * WinHTTP has time-outs of its own, but they are those of a connection and of each step, not of the
 * whole, and a resolver, a certificate chain or a lock of the system's may have none at all.  While
 * Windows holds all writes nobody can wait for that.  So what may hang runs on a thread of its own; who
 * asked waits for it until the time is over and then leaves it to itself.
 *
 *     struct fetch { struct bounded job; ... };            // the first member
 *     if (bounded_start(&f->job, fetch_run, fetch_free))   // else: freed
 *         is_done = bounded_wait(&f->job, 4000);           // true: what fetch_run made can be read
 *     bounded_leave(&f->job);                              // not touched any more
 *
 * Threads: run is on the worker; all else on the caller's, but bounded_interrupt, which ends a wait
 * from any thread as long as the caller has not left.  Ownership: free is called once, by whoever is
 * the last of the two to leave.
 */
#ifndef TARN_WINDOWS_COM_BOUNDED_H
#define TARN_WINDOWS_COM_BOUNDED_H

#include <stdbool.h>

#include <windows.h>

struct bounded {
    void (*run)(struct bounded *job);
    void (*free)(struct bounded *job);
    HANDLE changed; /* set: it is finished, or the wait is interrupted */
    LONG users;
    volatile LONG is_finished;
};

/* false: there is no thread for it; it was freed. */
bool bounded_start(struct bounded *job, void (*run)(struct bounded *job),
                   void (*free)(struct bounded *job));
/* true: finished. */
bool bounded_wait(struct bounded *job, unsigned limit_ms);
void bounded_interrupt(struct bounded *job);
/* One more of those who have to leave. */
void bounded_enter(struct bounded *job);
void bounded_leave(struct bounded *job);

#endif
