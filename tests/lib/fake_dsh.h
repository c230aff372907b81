/*
 * fake_dsh.h - a program that does every command of a DiskShadow script, and only writes down what
 * it was asked for: one line a call, in dsh_fake_log.  Header-only, one per test program.
 */
#ifndef TARN_TESTS_FAKE_DSH_H
#define TARN_TESTS_FAKE_DSH_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dsh/aliases.h"

struct dsh_fake {
    char log[16384], printed[16384];
    unsigned ids;
    const char *fails; /* the call that fails, by its first word */
};

#define DSH_FAKE_ID "{00000000-0000-4000-8000-%012u}"

TARN_PRINTF(2, 3)
static inline struct err *dsh_fake_note(struct dsh_fake *fake, const char *format, ...)
{
    size_t used = strlen(fake->log);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fake->log + used, sizeof fake->log - used, format, arguments);
    va_end(arguments);
    if (fake->fails && strncmp(format, fake->fails, strlen(fake->fails)) == 0) {
        return err_new(STATUS_OS_ERROR, "the fake was told to fail");
    }
    return NULL;
}

static inline const char *dsh_fake_text(const char *text)
{
    return text ? text : "-";
}

static inline struct err *dsh_fake_check(void *context, const struct dsh_settings *settings,
                                         const struct dsh_volume *volume)
{
    return dsh_fake_note(context, "check %s%s %s\n",
                         settings->persistent ? "persistent" : "volatile",
                         settings->nowriters ? " nowriters" : "", volume->volume);
}

static inline struct err *dsh_fake_create(void *context, struct dsh_set *set)
{
    struct dsh_fake *fake = context;
    struct err *e = dsh_fake_note(fake, "create%s%s%s options=%x metadata=%s writers=%u:",
                                  set->settings.persistent ? " persistent" : " volatile",
                                  set->settings.nowriters ? " nowriters" : "",
                                  set->full_backup ? " full" : " copy", set->settings.options,
                                  dsh_fake_text(set->settings.metadata), set->writer_count);
    snprintf(set->id, sizeof set->id, DSH_FAKE_ID, ++fake->ids);
    for (unsigned i = 0; i < set->volume_count; i++) {
        struct dsh_volume *volume = &set->volumes[i];
        snprintf(volume->id, sizeof volume->id, DSH_FAKE_ID, ++fake->ids);
        err_free(dsh_fake_note(fake, " %s=%s", volume->alias, volume->volume));
    }
    err_free(dsh_fake_note(fake, "\n"));
    return e;
}

static inline struct err *dsh_fake_load(void *context, const char *file,
                                        struct dsh_aliases *aliases)
{
    TRY(dsh_fake_note(context, "load %s\n", file));
    TRY(dsh_aliases_set(aliases, "VSS_SHADOW_SET", "{00000000-0000-4000-8000-000000000100}"));
    TRY(dsh_aliases_set(aliases, "saved", "{00000000-0000-4000-8000-000000000101}"));
    TRY(dsh_aliases_set(aliases, "data", "{00000000-0000-4000-8000-000000000102}"));
    return dsh_aliases_set(aliases, "log", "{00000000-0000-4000-8000-000000000103}");
}

#define DSH_FAKE_PLAIN(name, word)                                                                 \
    static inline struct err *dsh_fake_##name(void *context)                                       \
    {                                                                                              \
        return dsh_fake_note(context, word "\n");                                                  \
    }
DSH_FAKE_PLAIN(end_backup, "end_backup")
DSH_FAKE_PLAIN(begin_restore, "begin_restore")
DSH_FAKE_PLAIN(end_restore, "end_restore")
DSH_FAKE_PLAIN(simulate_restore, "simulate_restore")
DSH_FAKE_PLAIN(import, "import")
DSH_FAKE_PLAIN(reset, "reset")

#define DSH_FAKE_ONE(name, word)                                                                   \
    static inline struct err *dsh_fake_##name(void *context, const char *what)                     \
    {                                                                                              \
        return dsh_fake_note(context, word " %s\n", what);                                         \
    }
DSH_FAKE_ONE(unexpose, "unexpose")
DSH_FAKE_ONE(mask, "mask")
DSH_FAKE_ONE(revert, "revert")

static inline struct err *dsh_fake_expose(void *context, const char *id, const char *target)
{
    return dsh_fake_note(context, "expose %s %s\n", id, target);
}

static inline struct err *dsh_fake_break(void *context, const char *set_id, bool writable)
{
    return dsh_fake_note(context, "break%s %s\n", writable ? " writable" : "", set_id);
}

static inline struct err *dsh_fake_resync(void *context, const struct dsh_target *targets,
                                          unsigned count, unsigned flags)
{
    struct err *e = dsh_fake_note(context, "resync flags=%x:", flags);
    for (unsigned i = 0; i < count; i++)
        err_free(
            dsh_fake_note(context, " %s->%s", targets[i].id, dsh_fake_text(targets[i].volume)));
    err_free(dsh_fake_note(context, "\n"));
    return e;
}

static inline struct err *dsh_fake_kind(void *context, enum dsh_kind kind, const char *what)
{
    return dsh_fake_note(context, "%s %s\n", dsh_kind_words(kind), dsh_fake_text(what));
}

static inline struct err *dsh_fake_exec(void *context, const char *file,
                                        const struct dsh_aliases *aliases)
{
    return dsh_fake_note(context, "exec %s aliases=%u\n", file, aliases->count);
}

static inline const char *dsh_fake_variable(void *context, const char *name)
{
    return dsh_same_word(name, "SystemDrive") ? "C:" : NULL;
}

static inline void dsh_fake_print(void *context, const char *line)
{
    struct dsh_fake *fake = context;
    size_t used = strlen(fake->printed);
    snprintf(fake->printed + used, sizeof fake->printed - used, "%s\n", line);
}

static inline struct dsh_ops dsh_fake_ops(void)
{
    return (struct dsh_ops){
        .check_volume = dsh_fake_check,
        .create = dsh_fake_create,
        .end_backup = dsh_fake_end_backup,
        .load_metadata = dsh_fake_load,
        .begin_restore = dsh_fake_begin_restore,
        .end_restore = dsh_fake_end_restore,
        .simulate_restore = dsh_fake_simulate_restore,
        .import = dsh_fake_import,
        .expose = dsh_fake_expose,
        .unexpose = dsh_fake_unexpose,
        .break_set = dsh_fake_break,
        .mask = dsh_fake_mask,
        .revert = dsh_fake_revert,
        .resync = dsh_fake_resync,
        .delete_shadows = dsh_fake_kind,
        .list = dsh_fake_kind,
        .exec = dsh_fake_exec,
        .reset = dsh_fake_reset,
        .variable = dsh_fake_variable,
        .print = dsh_fake_print,
    };
}

#endif
