/*
 * dsh_fuzz.c - whatever a script holds, it is read without harm, and every command is whole.
 */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "dsh/dsh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dsh_script *script;
    struct err *e = dsh_parse(data, size, &script);
    if (e) {
        err_free(e);
        return 0;
    }
    size_t texts = 0;
    for (size_t i = 0; i < dsh_script_count(script); i++) {
        const struct dsh_command *command = dsh_script_at(script, i);
        check(command->kind < DSH_KIND_COUNT);
        check(i == 0 || command->line > dsh_script_at(script, i - 1)->line);
        check(command->subject || !command->object);
        if (command->subject) texts += strlen(command->subject);
        if (command->object) texts += strlen(command->object);
        if (command->provider) texts += strlen(command->provider);
    }
    check(texts <= size * 2);
    dsh_script_destroy(script);
    return 0;
}
