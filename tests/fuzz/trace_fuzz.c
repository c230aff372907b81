/* trace_fuzz.c - the reader of the provider's call trace. */
#include <string.h>

#include "base/check.h"
#include "windows/provider/ops/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct log_line line;
    char text[LOG_LINE_SIZE];
    if (!log_parse((const char *)data, size, &line)) return 0;
    log_format(&line, text);
    /* Hostile lines may have a normal form that is no line again; it always ends. */
    if (log_normalise(&line, text)) check(strnlen(text, sizeof text) < sizeof text);
    return 0;
}
