#include "base/status.h"

#include <string.h>

#include "base/check.h"

static const struct status_info table[STATUS_COUNT] = {
#define X(name_, class_, key_, asc_, ascq_, http_, exit_, text_)                                   \
    [STATUS_##name_] = {#name_, text_, STATUS_CLASS_##class_, key_, asc_, ascq_, http_, exit_},
#include "base/status.def"
#undef X
};

const struct status_info *status_info(enum status status)
{
    check((unsigned)status < STATUS_COUNT);
    return &table[status];
}

enum status status_from_name(const char *name)
{
    for (unsigned i = 0; i < STATUS_COUNT; i++) {
        if (strcmp(table[i].name, name) == 0) return (enum status)i;
    }
    return STATUS_INTERNAL;
}
