/* doc/openapi.yaml says what verbs.def says: paths, methods, roles, arguments.  The file keeps one
 * fact a line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "control/verbs.h"
#include "tests/lib/tap.h"

static char *text;

static bool read_all(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    size_t size = 0, n;
    text = calloc(1, 1 << 20);
    while (text && (n = fread(text + size, 1, (1 << 20) - 1 - size, file)) > 0)
        size += n;
    fclose(file);
    return text && size > 0;
}

/* The part of the file that describes the verb: from its method line to the next method or path. */
static char *section_of(const struct verb *verb)
{
    char path[200], method[32];
    snprintf(path, sizeof path, "\n  %s:\n", verb->path);
    char *start = strstr(text, path);
    if (!start) return NULL;
    start += strlen(path);
    char *path_end = start;
    while (strncmp(path_end, "    ", 4) == 0)
        path_end = strchr(path_end, '\n') + 1;
    snprintf(method, sizeof method, "    %s:\n",
             verb->method == VERB_GET    ? "get"
             : verb->method == VERB_POST ? "post"
                                         : "delete");
    for (char *line = start; line < path_end; line = strchr(line, '\n') + 1) {
        if (strncmp(line, method, strlen(method)) != 0) continue;
        char *end = line + strlen(method);
        while (end < path_end && strncmp(end, "      ", 6) == 0)
            end = strchr(end, '\n') + 1;
        return strndup(line, (size_t)(end - line));
    }
    return NULL;
}

static void every_verb_is_described(void)
{
    for (unsigned i = 0; i < verb_count; i++) {
        auto_free char *section = section_of(&verbs[i]);
        char line[200];
        if (!section) printf("# %s is missing\n", verbs[i].id);
        expect(section);
        if (!section) continue;
        snprintf(line, sizeof line, "operationId: %s\n", verbs[i].id);
        expect(strstr(section, line));
        snprintf(line, sizeof line, "x-role: %s\n", control_role_name(verbs[i].role));
        expect(strstr(section, line));
    }
}

static void every_argument_is_described(void)
{
    for (unsigned i = 0; i < verb_arg_count; i++) {
        const struct verb *verb = verb_find(verb_args[i].verb);
        require(verb);
        auto_free char *section = section_of(verb);
        char line[200];
        if (verb->method == VERB_POST) {
            snprintf(line, sizeof line, "                %s: {", verb_args[i].name);
        } else {
            snprintf(line, sizeof line, "{name: %s, in: query", verb_args[i].name);
        }
        if (!section || !strstr(section, line)) printf("# %s %s\n", verb->id, verb_args[i].name);
        expect(section && strstr(section, line));
    }
}

static void nothing_is_described_that_is_not_there(void)
{
    unsigned described = 0;
    for (char *p = strstr(text, "operationId: "); p; p = strstr(p + 1, "operationId: ")) {
        char id[64];
        snprintf(id, sizeof id, "%.*s", (int)strcspn(p + 13, "\n"), p + 13);
        if (!verb_find(id)) printf("# %s is no verb\n", id);
        expect(verb_find(id));
        described++;
    }
    expect_eq(described, verb_count);
    unsigned arguments = 0;
    for (unsigned i = 0; i < verb_count; i++) {
        auto_free char *section = section_of(&verbs[i]);
        for (char *p = section; p && (p = strchr(p, '\n')); p++) {
            arguments += strncmp(p, "\n                ", 17) == 0 && p[17] != ' ';
            arguments += strncmp(p, "\n        - {name: ", 18) == 0 && strstr(p, "in: query") &&
                         strstr(p, "in: query") < strchr(p + 1, '\n');
        }
    }
    expect_eq(arguments, verb_arg_count);
}

int main(int argc, char **argv)
{
    if (argc < 2 || !read_all(argv[1])) {
        printf("Bail out! usage: control_openapi_test doc/openapi.yaml\n");
        return 1;
    }
    run(every_verb_is_described);
    run(every_argument_is_described);
    run(nothing_is_described_that_is_not_there);
    free(text);
    return tap_done();
}
