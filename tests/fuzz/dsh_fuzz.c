/*
 * dsh_fuzz.c - whatever a script holds, it is read and run without harm: every
 * command is whole, and the session is closed once, last.
 */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "tests/lib/fake_dsh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned resets;

static struct err *count_reset(void *context)
{
    resets++;
    return dsh_fake_reset(context);
}

static void run_script(const struct dsh_script *script)
{
    static const char *const parameters[] = {"m.cab", "%x%"};
    static struct dsh_fake fake;
    struct dsh_ops ops = dsh_fake_ops();
    unsigned before = resets;
    fake.log[0] = fake.printed[0] = '\0';
    fake.ids = 0;
    ops.reset = count_reset;
    struct err *e = dsh_run(script, &ops, &fake, parameters, 2);
    check(resets > before || err_status(e) == STATUS_NOT_SUPPORTED);
    err_free(e);
}

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
    run_script(script);
    dsh_script_destroy(script);
    return 0;
}
