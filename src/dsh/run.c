#include "dsh/run.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/uuid.h"
#include "dsh/aliases.h"

enum state {
    HAS_VOLUME = 1 << 0,
    IN_BACKUP = 1 << 1,  /* after begin backup */
    BACKUP_CUT = 1 << 2, /* and its create */
    LOADED = 1 << 3,     /* metadata */
    IN_RESTORE = 1 << 4,
    HAS_TARGET = 1 << 5, /* add shadow */
};

/* A shadow copy of this session. */
struct made {
    char id[DSH_ID_SIZE];
    bool is_volatile, is_away; /* away: transportable, not imported */
};

struct runner {
    const struct dsh_ops *ops;
    void *context;
    const char *const *parameters;
    unsigned parameter_count;
    unsigned state; /* enum state */
    struct dsh_set set;
    struct dsh_target targets[DSH_VOLUMES_MAX];
    unsigned target_count;
    struct dsh_aliases aliases;
    struct made *made;
    size_t made_count;
};

/* The arguments of one command, names replaced. */
struct words {
    char *subject, *object, *provider;
};

/* What must be (wanted) or must not be, before a command. */
static const struct rule {
    enum dsh_kind kind;
    unsigned state;
    bool wanted;
    const char *what, *next;
} rules[] = {
    {DSH_CREATE, HAS_VOLUME, true, "no volume was added", "write first: add volume VOLUME"},
    {DSH_ADD_VOLUME, BACKUP_CUT, false, "the backup before has not ended",
     "write first: end backup"},
    {DSH_BEGIN_BACKUP, IN_BACKUP, false, "a backup has begun already", "write first: end backup"},
    {DSH_END_BACKUP, IN_BACKUP, true, "no backup has begun", "write begin backup before create"},
    {DSH_END_BACKUP, BACKUP_CUT, true, "nothing was created since begin backup",
     "write first: create"},
    {DSH_IMPORT, LOADED, true, "no metadata is loaded", "write first: load metadata FILE.cab"},
    {DSH_BEGIN_RESTORE, LOADED, true, "no metadata is loaded",
     "write first: load metadata FILE.cab"},
    {DSH_BEGIN_RESTORE, IN_RESTORE, false, "a restore has begun already",
     "write first: end restore"},
    {DSH_END_RESTORE, IN_RESTORE, true, "no restore has begun", "write first: begin restore"},
    {DSH_SIMULATE_RESTORE, LOADED, true, "no metadata is loaded",
     "write first: load metadata FILE.cab"},
    {DSH_ADD_SHADOW, LOADED, true, "no metadata is loaded", "write first: load metadata FILE.cab"},
    {DSH_RESYNC, LOADED, true, "no metadata is loaded", "write first: load metadata FILE.cab"},
    {DSH_RESYNC, HAS_TARGET, true, "no shadow copy was added", "write first: add shadow SHADOW"},
};

static struct err *judge_state(const struct runner *r, enum dsh_kind kind)
{
    for (size_t i = 0; i < countof(rules); i++) {
        const struct rule *rule = &rules[i];
        if (rule->kind != kind || !!(r->state & rule->state) == rule->wanted) continue;
        return err_next(err_new(STATUS_CONFLICT, "%s", rule->what), "%s", rule->next);
    }
    return NULL;
}

static bool is_between(enum dsh_kind kind, enum dsh_kind first, enum dsh_kind last)
{
    return kind >= first && kind <= last;
}

/* Has the program what this command needs? */
static bool is_done(const struct dsh_ops *ops, enum dsh_kind kind)
{
    if (is_between(kind, DSH_DELETE_ALL, DSH_DELETE_EXPOSED)) return ops->delete_shadows;
    if (is_between(kind, DSH_LIST_WRITERS_METADATA, DSH_LIST_PROVIDERS)) return ops->list;
    const struct need {
        enum dsh_kind kind;
        bool met;
    } needs[] = {
        {DSH_SET_CONTEXT_CLIENT, false},
        {DSH_ADD_VOLUME, ops->check_volume && ops->create},
        {DSH_CREATE, ops->create},
        {DSH_WRITER_VERIFY, ops->create},
        {DSH_WRITER_EXCLUDE, ops->create},
        {DSH_BEGIN_BACKUP, ops->end_backup},
        {DSH_END_BACKUP, ops->end_backup},
        {DSH_LOAD_METADATA, ops->load_metadata},
        {DSH_BEGIN_RESTORE, ops->begin_restore && ops->end_restore},
        {DSH_END_RESTORE, ops->end_restore},
        {DSH_SIMULATE_RESTORE, ops->simulate_restore},
        {DSH_IMPORT, ops->import},
        {DSH_EXPOSE, ops->expose},
        {DSH_UNEXPOSE, ops->unexpose},
        {DSH_BREAK, ops->break_set},
        {DSH_MASK, ops->mask},
        {DSH_REVERT, ops->revert},
        {DSH_ADD_SHADOW, ops->resync},
        {DSH_RESYNC, ops->resync},
        {DSH_EXEC, ops->exec},
    };
    for (size_t i = 0; i < countof(needs); i++) {
        if (needs[i].kind == kind) return needs[i].met;
    }
    return true;
}

static struct err *judge_program(const struct dsh_ops *ops, const struct dsh_command *command)
{
    if (is_done(ops, command->kind)) return NULL;
    struct err *e =
        err_new(STATUS_NOT_SUPPORTED, "line %u: this program does not do \"%s\"; nothing was run",
                command->line, dsh_kind_words(command->kind));
    if (command->kind == DSH_SET_CONTEXT_CLIENT) {
        return err_next(e, "such copies are made by the provider of Windows itself; write: set "
                           "context persistent");
    }
    if (command->kind == DSH_REVERT) {
        return err_next(e, "a disk gets its content back by load metadata, add shadow and resync");
    }
    return err_next(e, "take the line out, or run the script with a program that does it");
}

static const char *other_name(void *context, const char *name)
{
    const struct runner *r = context;
    for (unsigned i = 0; i < r->parameter_count; i++) {
        char parameter[40];
        snprintf(parameter, sizeof parameter, "DISKSH_PARAM_%u", i + 1);
        if (dsh_same_word(parameter, name)) return r->parameters[i];
    }
    return r->ops->variable(r->context, name);
}

static struct err *expand_one(struct runner *r, const char *text, char **ret_text)
{
    struct dsh_names names = {&r->aliases, other_name, r};
    if (!text) return NULL;
    TRY(dsh_expand(&names, text, ret_text));
    if (**ret_text) return NULL;
    return err_new(STATUS_BAD_REQUEST, "\"%s\" is empty", text);
}

static void words_fini(struct words *words)
{
    free(words->subject);
    free(words->object);
    free(words->provider);
}

static struct err *judge_id(const char *what, const char *text)
{
    struct uuid uuid;
    if (!text || uuid_parse(text, &uuid)) return NULL;
    return err_new(STATUS_BAD_REQUEST, "%s: \"%s\" is not a GUID", what, text);
}

static struct err *expand(struct runner *r, const struct dsh_command *command, struct words *words)
{
    TRY(expand_one(r, command->subject, &words->subject));
    TRY(expand_one(r, command->object, &words->object));
    TRY(expand_one(r, command->provider, &words->provider));
    if (dsh_kind_wants_id(command->kind))
        TRY(judge_id(dsh_kind_words(command->kind), words->subject));
    return judge_id("provider", words->provider);
}

TARN_PRINTF(2, 3)
static void say(const struct runner *r, const char *format, ...)
{
    char line[DSH_TEXT_MAX_BYTES * 3 + 64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    r->ops->print(r->context, line);
}

/* What was said of the volumes before does not hold with other settings. */
static struct err *check_volumes(struct runner *r)
{
    for (unsigned i = 0; i < r->set.volume_count; i++)
        TRY(r->ops->check_volume(r->context, &r->set.settings, &r->set.volumes[i]));
    return NULL;
}

static struct err *do_set(struct runner *r, const struct dsh_command *command, struct words *words)
{
    struct dsh_settings *settings = &r->set.settings;
    settings->verbose = command->kind == DSH_SET_VERBOSE_ON ||
                        (settings->verbose && command->kind != DSH_SET_VERBOSE_OFF);
    if (command->kind == DSH_SET_METADATA) {
        free((void *)(uintptr_t)settings->metadata);
        settings->metadata = take_ptr(&words->subject);
        return NULL;
    }
    if (command->kind == DSH_SET_OPTION) {
        settings->options = command->flags;
        return check_volumes(r);
    }
    if (command->kind == DSH_SET_CONTEXT_PERSISTENT || command->kind == DSH_SET_CONTEXT_VOLATILE) {
        settings->persistent = command->kind == DSH_SET_CONTEXT_PERSISTENT;
        settings->nowriters = command->flags & DSH_NOWRITERS;
        return check_volumes(r);
    }
    return NULL;
}

static void show_settings(const struct runner *r)
{
    const struct dsh_settings *settings = &r->set.settings;
    say(r, "context: %s%s", settings->persistent ? "persistent" : "volatile",
        settings->nowriters ? " nowriters" : "");
    say(r, "option:%s%s%s%s%s%s%s", settings->options ? "" : " none",
        settings->options & DSH_DIFFERENTIAL ? " differential" : "",
        settings->options & DSH_PLEX ? " plex" : "",
        settings->options & DSH_TRANSPORTABLE ? " transportable" : "",
        settings->options & DSH_ROLLBACK_RECOVER ? " rollbackrecover" : "",
        settings->options & DSH_TXF_RECOVER ? " txfrecover" : "",
        settings->options & DSH_NO_AUTORECOVER ? " noautorecover" : "");
    say(r, "verbose: %s", settings->verbose ? "on" : "off");
    say(r, "metadata: %s",
        settings->metadata ? settings->metadata : "a name of the program's choice");
}

static struct err *do_add_volume(struct runner *r, struct words *words)
{
    struct dsh_set *set = &r->set;
    char standard[32];
    if (set->volume_count == DSH_VOLUMES_MAX) {
        return err_new(STATUS_LIMIT_REACHED, "more than %d volumes in a set", DSH_VOLUMES_MAX);
    }
    snprintf(standard, sizeof standard, "VSS_SHADOW_%u", set->volume_count + 1);
    const char *alias = words->object ? words->object : standard;
    for (unsigned i = 0; i < set->volume_count; i++) {
        if (dsh_same_word(set->volumes[i].volume, words->subject)) {
            return err_new(STATUS_EXISTS, "volume %s is in the set already", words->subject);
        }
        if (dsh_same_word(set->volumes[i].alias, alias)) {
            return err_new(STATUS_EXISTS, "alias %s is given to another volume already", alias);
        }
    }
    if (!words->object) words->object = strdup(standard);
    if (!words->object) return err_new(STATUS_NO_MEMORY, "add a volume");
    struct dsh_volume volume = {words->subject, words->object, words->provider, ""};
    TRY(r->ops->check_volume(r->context, &set->settings, &volume));
    set->volumes[set->volume_count++] = volume;
    *words = (struct words){0};
    r->state |= HAS_VOLUME;
    return NULL;
}

/* The set under construction is empty again; the settings stay. */
static void drop_set(struct runner *r)
{
    for (unsigned i = 0; i < r->set.volume_count; i++) {
        free((void *)(uintptr_t)r->set.volumes[i].volume);
        free((void *)(uintptr_t)r->set.volumes[i].alias);
        free((void *)(uintptr_t)r->set.volumes[i].provider);
    }
    for (unsigned i = 0; i < r->set.writer_count; i++)
        free((void *)(uintptr_t)r->set.writers[i].writer);
    r->set.volume_count = r->set.writer_count = 0;
    r->state &= ~(unsigned)HAS_VOLUME;
}

static struct err *note_made(struct runner *r)
{
    const struct dsh_set *set = &r->set;
    struct made *grown = realloc(r->made, (r->made_count + set->volume_count) * sizeof *grown);
    if (!grown) return err_new(STATUS_NO_MEMORY, "note the shadow copies");
    r->made = grown;
    for (unsigned i = 0; i < set->volume_count; i++) {
        const struct dsh_volume *volume = &set->volumes[i];
        struct made made = {"", !set->settings.persistent,
                            set->settings.options & DSH_TRANSPORTABLE};
        memcpy(made.id, volume->id, sizeof made.id);
        r->made[r->made_count++] = made;
        TRY(dsh_aliases_set(&r->aliases, volume->alias, volume->id));
        say(r, "Alias %s for shadow ID %s set as environment variable.", volume->alias, volume->id);
    }
    TRY(dsh_aliases_set(&r->aliases, "VSS_SHADOW_SET", set->id));
    say(r, "Alias VSS_SHADOW_SET for shadow set ID %s set as environment variable.", set->id);
    return NULL;
}

static struct err *do_create(struct runner *r)
{
    TRY(r->ops->create(r->context, &r->set));
    if (r->state & IN_BACKUP) r->state |= BACKUP_CUT;
    TRY(note_made(r));
    if (r->ops->created) TRY(r->ops->created(r->context, &r->set, &r->aliases));
    drop_set(r);
    return NULL;
}

static struct err *do_writer(struct runner *r, bool exclude, struct words *words)
{
    if (r->set.writer_count == DSH_WRITERS_MAX) {
        return err_new(STATUS_LIMIT_REACHED, "more than %d rules for writers", DSH_WRITERS_MAX);
    }
    r->set.writers[r->set.writer_count++] = (struct dsh_writer){take_ptr(&words->subject), exclude};
    return NULL;
}

static struct err *do_add_shadow(struct runner *r, struct words *words)
{
    if (r->target_count == DSH_VOLUMES_MAX) {
        return err_new(STATUS_LIMIT_REACHED, "more than %d shadow copies", DSH_VOLUMES_MAX);
    }
    r->targets[r->target_count++] =
        (struct dsh_target){take_ptr(&words->subject), take_ptr(&words->object)};
    r->state |= HAS_TARGET;
    return NULL;
}

static void drop_targets(struct runner *r)
{
    for (unsigned i = 0; i < r->target_count; i++) {
        free((void *)(uintptr_t)r->targets[i].id);
        free((void *)(uintptr_t)r->targets[i].volume);
    }
    r->target_count = 0;
    r->state &= ~(unsigned)HAS_TARGET;
}

static struct err *do_resync(struct runner *r, unsigned flags)
{
    TRY(r->ops->resync(r->context, r->targets, r->target_count, flags));
    drop_targets(r);
    return NULL;
}

static struct err *do_import(struct runner *r)
{
    TRY(r->ops->import(r->context));
    for (size_t i = 0; i < r->made_count; i++)
        r->made[i].is_away = false;
    return NULL;
}

static struct err *do_expose(struct runner *r, const struct words *words)
{
    for (size_t i = 0; i < r->made_count; i++) {
        if (!dsh_same_word(r->made[i].id, words->subject)) continue;
        if (r->made[i].is_volatile) {
            return err_next(err_new(STATUS_CONFLICT, "a volatile shadow copy cannot be exposed"),
                            "write before create: set context persistent");
        }
        if (r->made[i].is_away) {
            return err_next(
                err_new(STATUS_CONFLICT, "a transportable shadow copy is not on this host"),
                "write first: load metadata FILE.cab, import");
        }
    }
    return r->ops->expose(r->context, words->subject, words->object);
}

/* Everything of the session but the aliases and the settings. */
static struct err *do_reset(struct runner *r)
{
    drop_set(r);
    drop_targets(r);
    r->made_count = 0;
    r->state = 0;
    r->set.full_backup = false;
    return r->ops->reset ? r->ops->reset(r->context) : NULL;
}

static struct err *do_backup(struct runner *r, enum dsh_kind kind)
{
    bool begins = kind == DSH_BEGIN_BACKUP;
    if (!begins) TRY(r->ops->end_backup(r->context));
    r->set.full_backup = begins;
    r->state = begins ? r->state | IN_BACKUP : r->state & ~(unsigned)(IN_BACKUP | BACKUP_CUT);
    return NULL;
}

static struct err *do_restore(struct runner *r, enum dsh_kind kind)
{
    if (kind == DSH_SIMULATE_RESTORE) return r->ops->simulate_restore(r->context);
    bool begins = kind == DSH_BEGIN_RESTORE;
    TRY(begins ? r->ops->begin_restore(r->context) : r->ops->end_restore(r->context));
    r->state = begins ? r->state | IN_RESTORE : r->state & ~(unsigned)IN_RESTORE;
    return NULL;
}

static struct err *do_load(struct runner *r, const struct words *words)
{
    TRY(r->ops->load_metadata(r->context, words->subject, &r->aliases));
    r->state |= LOADED;
    return NULL;
}

static void show_names(const struct runner *r)
{
    for (unsigned i = 0; i < r->aliases.count; i++)
        say(r, "%%%s%% = %s", r->aliases.list[i].name, r->aliases.list[i].value);
    if (r->aliases.count == 0) say(r, "There are no aliases.");
}

static void show_help(const struct runner *r)
{
    for (unsigned kind = 0; kind < DSH_KIND_COUNT; kind++) {
        if (is_done(r->ops, (enum dsh_kind)kind)) say(r, "%s", dsh_kind_usage((enum dsh_kind)kind));
    }
}

/* The commands that only hand on. */
static struct err *do_plain(struct runner *r, const struct dsh_command *command,
                            struct words *words)
{
    const struct dsh_ops *ops = r->ops;
    enum dsh_kind kind = command->kind;
    if (is_between(kind, DSH_DELETE_ALL, DSH_DELETE_EXPOSED)) {
        return ops->delete_shadows(r->context, kind, words->subject);
    }
    if (is_between(kind, DSH_LIST_WRITERS_METADATA, DSH_LIST_PROVIDERS)) {
        return ops->list(r->context, kind, words->subject);
    }
    if (kind == DSH_UNEXPOSE) return ops->unexpose(r->context, words->subject);
    if (kind == DSH_MASK) return ops->mask(r->context, words->subject);
    if (kind == DSH_REVERT) return ops->revert(r->context, words->subject);
    if (kind == DSH_EXEC) return ops->exec(r->context, words->subject, &r->aliases);
    if (kind == DSH_BREAK) {
        return ops->break_set(r->context, words->subject, command->flags & DSH_WRITABLE);
    }
    if (kind == DSH_SET) show_settings(r);
    if (kind == DSH_ADD) show_names(r);
    if (kind == DSH_HELP) show_help(r);
    return NULL;
}

static struct err *run_words(struct runner *r, const struct dsh_command *command,
                             struct words *words)
{
    enum dsh_kind kind = command->kind;
    if (is_between(kind, DSH_SET_CONTEXT_CLIENT, DSH_SET_METADATA))
        return do_set(r, command, words);
    if (is_between(kind, DSH_BEGIN_BACKUP, DSH_END_BACKUP)) return do_backup(r, kind);
    if (is_between(kind, DSH_BEGIN_RESTORE, DSH_SIMULATE_RESTORE)) return do_restore(r, kind);
    if (is_between(kind, DSH_WRITER_VERIFY, DSH_WRITER_EXCLUDE)) {
        return do_writer(r, kind == DSH_WRITER_EXCLUDE, words);
    }
    if (kind == DSH_ADD_VOLUME) return do_add_volume(r, words);
    if (kind == DSH_ADD_ALIAS) return dsh_aliases_set(&r->aliases, words->subject, words->object);
    if (kind == DSH_ADD_SHADOW) return do_add_shadow(r, words);
    if (kind == DSH_CREATE) return do_create(r);
    if (kind == DSH_LOAD_METADATA) return do_load(r, words);
    if (kind == DSH_IMPORT) return do_import(r);
    if (kind == DSH_EXPOSE) return do_expose(r, words);
    if (kind == DSH_RESYNC) return do_resync(r, command->flags);
    if (kind == DSH_RESET) return do_reset(r);
    return do_plain(r, command, words);
}

static struct err *run_command(struct runner *r, const struct dsh_command *command)
{
    struct words words = {0};
    struct err *e = judge_state(r, command->kind);
    if (!e) e = expand(r, command, &words);
    if (!e) {
        say(r, "-> %s%s%s%s%s", dsh_kind_words(command->kind), words.subject ? " " : "",
            words.subject ? words.subject : "", words.object ? " " : "",
            words.object ? words.object : "");
        e = run_words(r, command, &words);
    }
    words_fini(&words);
    return e ? err_wrap(e, "line %u: %s", command->line, dsh_kind_words(command->kind)) : NULL;
}

static struct err *run_commands(struct runner *r, const struct dsh_script *script)
{
    for (size_t i = 0; i < dsh_script_count(script); i++) {
        const struct dsh_command *command = dsh_script_at(script, i);
        if (command->kind == DSH_EXIT) break;
        TRY(run_command(r, command));
    }
    return NULL;
}

struct err *dsh_run(const struct dsh_script *script, const struct dsh_ops *ops, void *context,
                    const char *const *parameters, unsigned parameter_count)
{
    for (size_t i = 0; i < dsh_script_count(script); i++)
        TRY(judge_program(ops, dsh_script_at(script, i)));
    struct runner *r = calloc(1, sizeof *r);
    if (!r) return err_new(STATUS_NO_MEMORY, "run the script");
    r->ops = ops;
    r->context = context;
    r->parameters = parameters;
    r->parameter_count = parameter_count;
    struct err *e = run_commands(r, script);
    struct err *at_end = do_reset(r);
    if (e)
        err_free(at_end);
    else if (at_end)
        e = err_wrap(at_end, "at the end of the script");
    dsh_aliases_fini(&r->aliases);
    free((void *)(uintptr_t)r->set.settings.metadata);
    free(r->made);
    free(r);
    return e;
}
