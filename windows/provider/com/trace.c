#include "windows/provider/com/trace.h"

#include <stdio.h>

#include "windows/provider/com/trail_file.h"

enum { LINE_BYTES = 1024 };

static CRITICAL_SECTION section;
static struct trail_file file;
static struct trail trail;
static struct provider *core;
static bool has_file;

static void lock(struct trail_os *os)
{
    EnterCriticalSection(&section);
}

static void unlock(struct trail_os *os)
{
    LeaveCriticalSection(&section);
}

static bool is_held(struct trail_os *os)
{
    core->os->lock(core->os);
    bool is = core->is_frozen;
    core->os->unlock(core->os);
    return is;
}

void trace_init(struct provider *provider, const wchar_t *path)
{
    InitializeCriticalSection(&section);
    core = provider;
    has_file = path && trail_file_init(&file, path);
    file.os.lock = lock;
    file.os.unlock = unlock;
    file.os.is_held = is_held;
    trail_init(&trail, &file.os, TRAIL_MAX_BYTES);
}

uint64_t trace_now_us(void)
{
    LARGE_INTEGER now, frequency;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    return (uint64_t)now.QuadPart / (uint64_t)frequency.QuadPart * 1000000u +
           (uint64_t)now.QuadPart % (uint64_t)frequency.QuadPart * 1000000u /
               (uint64_t)frequency.QuadPart;
}

void trace_call(struct provider *provider, const char *method, const char *arguments,
                HRESULT result, uint64_t duration_us)
{
    char line[LINE_BYTES];
    SYSTEMTIME now;
    GetSystemTime(&now);
    provider->os->lock(provider->os);
    const char *state = set_state_name(provider->set.state);
    provider->os->unlock(provider->os);
    snprintf(line, sizeof line,
             "%s %08lx state=%s us=%llu%s%s at=%04u-%02u-%02uT%02u:%02u:%02u.%03uZ\r\n", method,
             (unsigned long)result, state, (unsigned long long)duration_us, arguments[0] ? " " : "",
             arguments, (unsigned)now.wYear, (unsigned)now.wMonth, (unsigned)now.wDay,
             (unsigned)now.wHour, (unsigned)now.wMinute, (unsigned)now.wSecond,
             (unsigned)now.wMilliseconds);
    if (has_file) trail_add(&trail, line);
}

void trace_text(const char *text)
{
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "event: %.900s\r\n", text);
    if (has_file) trail_add(&trail, line);
}
