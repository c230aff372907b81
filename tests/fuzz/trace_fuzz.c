/* trace_fuzz.c - the reader of the provider's call trace. */
#include <string.h>

#include "base/check.h"
#include "windows/provider/ops/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct log_line line, again;
    char text[LOG_LINE_SIZE], normal[LOG_LINE_SIZE];
    if (!log_parse((const char *)data, size, &line)) return 0;
    log_format(&line, text);
    if (!log_normalise(&line, text)) return 0;
    check(log_parse(text, strnlen(text, sizeof text), &again));
    check(again.is_call == line.is_call && log_normalise(&again, normal));
    check(strcmp(normal, text) == 0);
    return 0;
}
