#include "windows/provider/com/trace.h"

#include <stdio.h>
#include <string.h>

enum { PENDING_BYTES = 65536, LINE_BYTES = 1024 };

static CRITICAL_SECTION section;
static wchar_t file_path[MAX_PATH];
static char pending[PENDING_BYTES];
static size_t pending_used;

void trace_init(const wchar_t *path)
{
    InitializeCriticalSection(&section);
    if (path) wcsncpy(file_path, path, MAX_PATH - 1);
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

static void write_pending(void)
{
    DWORD written;
    if (pending_used == 0 || !file_path[0]) return;
    HANDLE file = CreateFileW(file_path, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                              OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return;
    if (WriteFile(file, pending, (DWORD)pending_used, &written, NULL)) pending_used = 0;
    CloseHandle(file);
}

static void add(struct provider *provider, const char *line)
{
    size_t length = strlen(line);
    provider->os->lock(provider->os);
    bool is_frozen = provider->is_frozen;
    provider->os->unlock(provider->os);
    EnterCriticalSection(&section);
    if (pending_used + length <= sizeof pending) {
        memcpy(pending + pending_used, line, length);
        pending_used += length;
    }
    if (!is_frozen) write_pending();
    LeaveCriticalSection(&section);
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
    add(provider, line);
}

void trace_text(struct provider *provider, const char *text)
{
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "event: %.900s\r\n", text);
    add(provider, line);
}
