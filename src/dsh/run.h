/*
 * run.h - runs the commands of a script over a table of operations.
 *
 *     e = dsh_run(script, &ops, context, parameters, count);
 *
 * The interpreter has what the language says: settings, the set under construction, aliases, what
 * must come before what.  An operation has what the program does about it; one that is NULL is not
 * done by this program, and a script that needs it is refused before its first command is run.
 * Running ends at the first command that fails; its line is in the error.  However it ends, `reset`
 * is called last.
 *
 * Words: a set is the shadow copies of one `create`.  Ids are GUIDs in braces, as the program gave
 * them. Threads: one at a time; operations are called from inside dsh_run. Ownership: what an
 * operation is given is valid until it returns. Limits: DSH_VOLUMES_MAX volumes in a set (VSS has
 * the same), DSH_ALIASES_MAX, DSH_TEXT_MAX_BYTES.
 */
#ifndef TARN_DSH_RUN_H
#define TARN_DSH_RUN_H

#include "dsh/dsh.h"

enum {
    DSH_VOLUMES_MAX = 64,
    DSH_WRITERS_MAX = 64,
    DSH_ALIASES_MAX = 1024,
    DSH_TEXT_MAX_BYTES = 4096, /* of an argument, once its names are replaced */
    DSH_ID_SIZE = 39,          /* {GUID} and the NUL */
};

struct dsh_settings {
    bool persistent; /* else the copies go with `reset` */
    bool nowriters;
    bool verbose;
    unsigned options;     /* enum dsh_flag; 0: what the provider takes by itself */
    const char *metadata; /* NULL: a name of the program's choice */
};

struct dsh_volume {
    const char *volume, *alias, *provider; /* provider may be NULL */
    char id[DSH_ID_SIZE];                  /* of its shadow copy, from `create` */
};

struct dsh_writer {
    const char *writer;
    bool exclude; /* else it must take part */
};

struct dsh_set {
    struct dsh_settings settings;
    struct dsh_volume volumes[DSH_VOLUMES_MAX];
    unsigned volume_count;
    struct dsh_writer writers[DSH_WRITERS_MAX];
    unsigned writer_count;
    bool full_backup; /* `begin backup` came before: else the writers are told of a copy */
    char id[DSH_ID_SIZE];
};

struct dsh_target {
    const char *id, *volume; /* volume NULL: where the shadow copy is from */
};

struct dsh_aliases; /* dsh/aliases.h */

struct dsh_ops {
    /* Is this volume fit for the set, with these settings?  Changes nothing. */
    struct err *(*check_volume)(void *context, const struct dsh_settings *settings,
                                const struct dsh_volume *volume);
    /* Fills the ids of the set and of its shadow copies. */
    struct err *(*create)(void *context, struct dsh_set *set);
    /* Optional: the set is made and has its names; aliases are all of the script's. */
    struct err *(*created)(void *context, const struct dsh_set *set,
                           const struct dsh_aliases *aliases);
    struct err *(*end_backup)(void *context); /* tells the writers that the backup is complete */
    /* Restores the aliases that were saved. */
    struct err *(*load_metadata)(void *context, const char *file, struct dsh_aliases *aliases);
    struct err *(*begin_restore)(void *context);
    struct err *(*end_restore)(void *context);
    struct err *(*simulate_restore)(void *context);
    struct err *(*import)(void *context);
    struct err *(*expose)(void *context, const char *id, const char *target);
    struct err *(*unexpose)(void *context, const char *id_or_target);
    struct err *(*break_set)(void *context, const char *set_id, bool writable);
    struct err *(*mask)(void *context, const char *set_id);
    struct err *(*revert)(void *context, const char *id);
    struct err *(*resync)(void *context, const struct dsh_target *targets, unsigned count,
                          unsigned flags);
    /* DSH_DELETE_*, DSH_LIST_*: what is NULL where the command has none. */
    struct err *(*delete_shadows)(void *context, enum dsh_kind kind, const char *what);
    struct err *(*list)(void *context, enum dsh_kind kind, const char *id);
    /* Fails when the program ends with another code than 0; aliases belong in its environment. */
    struct err *(*exec)(void *context, const char *file, const struct dsh_aliases *aliases);
    /* Drops what belongs to this session: volatile shadow copies, a backup that did not end. */
    struct err *(*reset)(void *context);
    /* Always there: a variable of the environment (NULL: no such), and a line for the person. */
    const char *(*variable)(void *context, const char *name);
    void (*print)(void *context, const char *line);
};

/* Parameters are %DISKSH_PARAM_1% and so on. */
struct err *dsh_run(const struct dsh_script *script, const struct dsh_ops *ops, void *context,
                    const char *const *parameters, unsigned parameter_count) MUST_CHECK;

#endif
