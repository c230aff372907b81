#include "dsh/aliases.h"

#include <stdlib.h>
#include <string.h>

static struct dsh_alias *find(const struct dsh_aliases *aliases, const char *name)
{
    for (unsigned i = 0; i < aliases->count; i++) {
        if (dsh_same_word(aliases->list[i].name, name)) return &aliases->list[i];
    }
    return NULL;
}

const char *dsh_aliases_find(const struct dsh_aliases *aliases, const char *name)
{
    const struct dsh_alias *alias = find(aliases, name);
    return alias ? alias->value : NULL;
}

static struct err *grow(struct dsh_aliases *aliases)
{
    if (aliases->count < aliases->room) return NULL;
    if (aliases->count == DSH_ALIASES_MAX) {
        return err_new(STATUS_LIMIT_REACHED, "more than %d aliases", DSH_ALIASES_MAX);
    }
    unsigned room = aliases->room ? aliases->room * 2 : 16;
    struct dsh_alias *grown = realloc(aliases->list, room * sizeof *grown);
    if (!grown) return err_new(STATUS_NO_MEMORY, "keep an alias");
    aliases->list = grown;
    aliases->room = room;
    return NULL;
}

struct err *dsh_aliases_set(struct dsh_aliases *aliases, const char *name, const char *value)
{
    struct dsh_alias *known = find(aliases, name);
    if (!known) TRY(grow(aliases));
    char *copy = strdup(value);
    if (!copy) return err_new(STATUS_NO_MEMORY, "keep an alias");
    if (known) {
        free(known->value);
        known->value = copy;
        return NULL;
    }
    char *key = strdup(name);
    if (!key) {
        free(copy);
        return err_new(STATUS_NO_MEMORY, "keep an alias");
    }
    aliases->list[aliases->count].name = key;
    aliases->list[aliases->count++].value = copy;
    return NULL;
}

void dsh_aliases_fini(struct dsh_aliases *aliases)
{
    for (unsigned i = 0; i < aliases->count; i++) {
        free(aliases->list[i].name);
        free(aliases->list[i].value);
    }
    free(aliases->list);
    *aliases = (struct dsh_aliases){0};
}

static bool is_name(const char *from, const char *end)
{
    if (from == end) return false;
    for (; from < end; from++) {
        if (*from == ' ' || *from == '\t' || *from == '\\' || *from == '/' || *from == ':')
            return false;
    }
    return true;
}

static const char *value_of(const struct dsh_names *names, const char *name)
{
    const char *value = dsh_aliases_find(names->aliases, name);
    return value || !names->other ? value : names->other(names->context, name);
}

struct expansion {
    char text[DSH_TEXT_MAX_BYTES + 1];
    size_t used;
};

static struct err *put(struct expansion *out, const char *bytes, size_t size)
{
    if (size > DSH_TEXT_MAX_BYTES - out->used) {
        return err_new(STATUS_LIMIT_REACHED, "an argument is longer than %d bytes",
                       DSH_TEXT_MAX_BYTES);
    }
    memcpy(out->text + out->used, bytes, size);
    out->used += size;
    return NULL;
}

/* Puts the value of the name between from and end. */
static struct err *put_value(const struct dsh_names *names, struct expansion *out, const char *from,
                             const char *end)
{
    size_t size = (size_t)(end - from);
    auto_free char *name = malloc(size + 1);
    if (!name) return err_new(STATUS_NO_MEMORY, "replace a name");
    memcpy(name, from, size);
    name[size] = '\0';
    const char *value = value_of(names, name);
    if (!value) {
        return err_next(err_new(STATUS_NOT_FOUND, "nothing is called %%%s%%", name),
                        "aliases come from add volume ... alias, add alias and load metadata; "
                        "parameters of the script are %%DISKSH_PARAM_1%% and so on");
    }
    return put(out, value, strlen(value));
}

struct err *dsh_expand(const struct dsh_names *names, const char *text, char **ret_text)
{
    struct expansion out = {.used = 0};
    while (*text) {
        const char *percent = strchr(text, '%');
        size_t plain = percent ? (size_t)(percent - text) : strlen(text);
        TRY(put(&out, text, plain));
        text += plain;
        if (!percent) break;
        const char *end = strchr(text + 1, '%');
        if (end && is_name(text + 1, end)) {
            TRY(put_value(names, &out, text + 1, end));
            text = end + 1;
        } else {
            TRY(put(&out, text++, 1));
        }
    }
    out.text[out.used] = '\0';
    char *copy = strdup(out.text);
    if (!copy) return err_new(STATUS_NO_MEMORY, "replace a name");
    *ret_text = copy;
    return NULL;
}
