/* An exception ends a program without a word: Windows may have a dialogue for it, or nothing at all. */
#include <string.h>

#include "windows/shadow/shadow.h"

static LPTOP_LEVEL_EXCEPTION_FILTER filter_before;

/* The module, without its directories. */
static const char *module_of(const void *address, char path[MAX_PATH], size_t *ret_offset)
{
    HMODULE module = NULL;
    *ret_offset = (size_t)address;
    if (!GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                                GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                            address, &module) ||
        !GetModuleFileNameA(module, path, MAX_PATH))
        return "no module";
    *ret_offset = (size_t)((const char *)address - (const char *)module);
    const char *name = strrchr(path, '\\');
    return name ? name + 1 : path;
}

/* With nothing of the heap or of stdio: they may be what broke. */
static LONG WINAPI say(EXCEPTION_POINTERS *about)
{
    static char path[MAX_PATH], text[MAX_PATH + 256];
    const EXCEPTION_RECORD *record = about->ExceptionRecord;
    DWORD written;
    size_t offset;
    const char *module = module_of(record->ExceptionAddress, path, &offset);
    int length =
        snprintf(text, sizeof text,
                 "tarn-shadow ended by exception 0x%08lx at %s+0x%llx; what was made until "
                 "then is there: tarn-shadow list\r\n",
                 record->ExceptionCode, module, (unsigned long long)offset);
    if (length > 0) WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)length, &written, NULL);
    return filter_before ? filter_before(about) : EXCEPTION_CONTINUE_SEARCH;
}

void shadow_tell_crashes(void)
{
    filter_before = SetUnhandledExceptionFilter(say);
}
