/*
 * verbs.h - the table of verbs.def in C, and the one check of arguments.
 *
 * Threads: any (the table is constant).  Ownership: verb_arguments makes a new object for the
 * caller. Failures: BAD_REQUEST with the name of the field and what is expected.  Parses hostile
 * bytes: fuzzed.
 */
#ifndef TARN_CONTROL_VERBS_H
#define TARN_CONTROL_VERBS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "control/control.h"

enum verb_method { VERB_GET, VERB_POST, VERB_DELETE };
enum verb_type { VERB_NAME, VERB_TEXT, VERB_SIZE, VERB_UINT, VERB_BOOL, VERB_REFS };
enum {
    VERB_BODY_MAX = 256 * 1024,
    VERB_TEXT_MAX = 4096,
    VERB_REFS_MAX = 256,
    VERB_PATH_PARAMETERS = 2
};

struct verb_arg {
    const char *verb, *name;
    enum verb_type type;
    bool required;
    const char *help;
};

struct verb {
    const char *id, *noun, *verb;
    enum verb_method method;
    const char *path;
    enum control_role role;
    const char *help;
};

extern const struct verb verbs[];
extern const unsigned verb_count;
extern const struct verb_arg verb_args[];
extern const unsigned verb_arg_count;

const struct verb *verb_find(const char *id); /* NULL */
const char *verb_method_name(enum verb_method method);
/* The body as one JSON object; an empty body is {}. */
struct err *verb_parse_body(const void *body, size_t size, json_t **ret_object) MUST_CHECK;
/* Checks `given` (an object) against the table: unknown fields, missing ones, types.  Numbers and
 * booleans may come as text (from a query string); the answer has them as JSON has them, sizes in
 * bytes. */
struct err *verb_arguments(const struct verb *verb, json_t *given,
                           json_t **ret_arguments) MUST_CHECK;

/* HTTP: finds the verb of a method and a raw (still percent-encoded) path and puts its path
 * parameters into `arguments`.  NOT_FOUND, or NOT_SUPPORTED for another method of a known path. */
struct err *verb_route(const char *method, const char *path, json_t *arguments,
                       const struct verb **ret_verb) MUST_CHECK;
/* Decodes %XX in place; false when it is malformed or holds a NUL. */
bool verb_percent_decode(char *text);

#endif
