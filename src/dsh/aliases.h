/*
 * aliases.h - the names that a script gives to ids, and replacing %NAME% in its arguments.
 * Names are the same in either case.  Ownership: the table has copies of all it holds.
 * Threads: one at a time.  Limits: those of dsh/run.h.
 */
#ifndef TARN_DSH_ALIASES_H
#define TARN_DSH_ALIASES_H

#include "dsh/run.h"

struct dsh_aliases {
    struct dsh_alias {
        char *name, *value;
    } * list;
    unsigned count, room;
};

/* A later value takes the place of an earlier. */
struct err *dsh_aliases_set(struct dsh_aliases *aliases, const char *name,
                            const char *value) MUST_CHECK;
const char *dsh_aliases_find(const struct dsh_aliases *aliases,
                             const char *name); /* NULL: no such */
void dsh_aliases_fini(struct dsh_aliases *aliases);

/* Who knows a name that is not an alias; NULL: nobody. */
struct dsh_names {
    const struct dsh_aliases *aliases;
    const char *(*other)(void *context, const char *name);
    void *context;
};

/*
 * Replaces every %NAME%; a % without a second, or with other than a name between them, stays.  The
 * text is the caller's (free).
 */
struct err *dsh_expand(const struct dsh_names *names, const char *text, char **ret_text) MUST_CHECK;

#endif
