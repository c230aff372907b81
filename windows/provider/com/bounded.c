#include "windows/provider/com/bounded.h"

void bounded_enter(struct bounded *job)
{
    InterlockedIncrement(&job->users);
}

void bounded_leave(struct bounded *job)
{
    if (InterlockedDecrement(&job->users) != 0) return;
    if (job->changed) CloseHandle(job->changed);
    job->free(job);
}

static DWORD WINAPI work(void *arg)
{
    struct bounded *job = arg;
    job->run(job);
    InterlockedExchange(&job->is_finished, 1);
    SetEvent(job->changed);
    bounded_leave(job);
    return 0;
}

bool bounded_start(struct bounded *job, void (*run)(struct bounded *job),
                   void (*free)(struct bounded *job))
{
    HANDLE thread = NULL;
    *job = (struct bounded){.run = run, .free = free, .users = 2};
    job->changed = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (job->changed) thread = CreateThread(NULL, 0, work, job, 0, NULL);
    if (!thread) {
        job->users = 1;
        bounded_leave(job);
        return false;
    }
    CloseHandle(thread);
    return true;
}

bool bounded_wait(struct bounded *job, unsigned limit_ms)
{
    WaitForSingleObject(job->changed, limit_ms);
    return InterlockedCompareExchange(&job->is_finished, 1, 1) == 1;
}

void bounded_interrupt(struct bounded *job)
{
    SetEvent(job->changed);
}
