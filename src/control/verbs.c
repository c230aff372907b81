#include "control/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"

/* verbs.def says ADMIN, VIEWER and so on; these make constants of the words. */
#define ROLE_VIEWER CONTROL_ROLE_VIEWER
#define ROLE_OPERATOR CONTROL_ROLE_OPERATOR
#define ROLE_ADMIN CONTROL_ROLE_ADMIN
#define NEED_REQUIRED true
#define NEED_OPTIONAL false

const struct verb verbs[] = {
#define VERB(id, noun, verb, method, path, role, help)                                             \
    {#id, noun, verb, VERB_##method, path, ROLE_##role, help},
#include "control/verbs.def"
};
const unsigned verb_count = countof(verbs);

const struct verb_arg verb_args[] = {
#define VERB(id, noun, verb, method, path, role, help)
#define ARG(id, name, type, need, help) {#id, name, VERB_##type, NEED_##need, help},
#include "control/verbs.def"
};
const unsigned verb_arg_count = countof(verb_args);

const struct verb *verb_find(const char *id)
{
    for (unsigned i = 0; i < verb_count; i++) {
        if (strcmp(verbs[i].id, id) == 0) return &verbs[i];
    }
    return NULL;
}

const char *verb_method_name(enum verb_method method)
{
    static const char *const names[] = {"GET", "POST", "DELETE"};
    return names[method];
}

struct err *verb_parse_body(const void *body, size_t size, json_t **ret_object)
{
    if (size > VERB_BODY_MAX) {
        return err_new(STATUS_BAD_REQUEST, "the request has more than %u bytes",
                       (unsigned)VERB_BODY_MAX);
    }
    if (size == 0) {
        *ret_object = json_object();
        return *ret_object ? NULL : err_new(STATUS_NO_MEMORY, "request");
    }
    json_error_t error;
    json_t *object = json_loadb(body, size, JSON_REJECT_DUPLICATES, &error);
    if (!object) {
        return err_new(STATUS_BAD_REQUEST, "the request is not JSON: line %d column %d: %s",
                       error.line, error.column, error.text);
    }
    if (!json_is_object(object)) {
        json_decref(object);
        return err_next(err_new(STATUS_BAD_REQUEST, "the request is not a JSON object"),
                        "send an object, such as {\"name\":\"a\"}");
    }
    *ret_object = object;
    return NULL;
}

/* ---- Types ----------------------------------------------------------------------------------- */

static struct err *bad(const char *name, const char *expected)
{
    return err_new(STATUS_BAD_REQUEST, "\"%s\" must be %s", name, expected);
}

/* Strings of JSON may hold NUL; ours never do. */
static const char *plain_text(const json_t *value, size_t max_bytes)
{
    if (!json_is_string(value)) return NULL;
    size_t length = json_string_length(value);
    const char *text = json_string_value(value);
    return length <= max_bytes && strlen(text) == length ? text : NULL;
}

static struct err *take_name(const char *name, const json_t *value, json_t **ret_value)
{
    const char *text = plain_text(value, TEXT_NAME_MAX_BYTES);
    if (!text || !text_is_valid_name(text)) {
        return bad(name, "a text of 1 to 255 bytes without control characters");
    }
    *ret_value = json_string(text);
    return NULL;
}

static struct err *take_text(const char *name, const json_t *value, json_t **ret_value)
{
    const char *text = plain_text(value, VERB_TEXT_MAX);
    if (!text) return bad(name, "a text of at most 4096 bytes");
    *ret_value = json_string(text);
    return NULL;
}

static struct err *take_number(const char *name, const json_t *value, bool is_size,
                               json_t **ret_value)
{
    uint64_t number = 0;
    const char *text = plain_text(value, VERB_TEXT_MAX);
    bool ok = text && (is_size ? text_parse_size(text, &number) : text_parse_u64(text, &number));
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        number = (uint64_t)json_integer_value(value);
        ok = true;
    }
    if (!ok || number > INT64_MAX) {
        return bad(name, is_size ? "a size: bytes, or text like \"10G\"" : "a number, 0 or more");
    }
    *ret_value = json_integer((json_int_t)number);
    return NULL;
}

static struct err *take_bool(const char *name, const json_t *value, json_t **ret_value)
{
    const char *text = plain_text(value, 8);
    if (json_is_true(value) || (text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0))) {
        *ret_value = json_true();
    } else if (json_is_false(value) ||
               (text && (strcmp(text, "false") == 0 || strcmp(text, "0") == 0))) {
        *ret_value = json_false();
    } else {
        return bad(name, "true or false");
    }
    return NULL;
}

static struct err *take_refs(const char *name, const json_t *value, json_t **ret_value)
{
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count == 0 || count > VERB_REFS_MAX) {
        return bad(name, "a list of 1 to 256 names");
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = plain_text(json_array_get(value, i), TEXT_NAME_MAX_BYTES);
        if (!text || !text_is_valid_name(text)) return bad(name, "a list of names");
    }
    *ret_value = json_copy((json_t *)(uintptr_t)value);
    return NULL;
}

static struct err *take_value(const char *name, enum verb_type type, const json_t *value,
                              json_t **ret_value)
{
    switch (type) {
    case VERB_NAME:
        return take_name(name, value, ret_value);
    case VERB_TEXT:
        return take_text(name, value, ret_value);
    case VERB_SIZE:
        return take_number(name, value, true, ret_value);
    case VERB_UINT:
        return take_number(name, value, false, ret_value);
    case VERB_BOOL:
        return take_bool(name, value, ret_value);
    case VERB_REFS:
        return take_refs(name, value, ret_value);
    default:
        unreachable("argument type");
        return NULL;
    }
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static bool is_path_parameter(const struct verb *verb, const char *name, size_t length)
{
    for (const char *p = strchr(verb->path, '{'); p; p = strchr(p + 1, '{')) {
        if (strncmp(p + 1, name, length) == 0 && p[1 + length] == '}') return true;
    }
    return false;
}

static const struct verb_arg *find_arg(const struct verb *verb, const char *name)
{
    for (unsigned i = 0; i < verb_arg_count; i++) {
        if (strcmp(verb_args[i].verb, verb->id) == 0 && strcmp(verb_args[i].name, name) == 0) {
            return &verb_args[i];
        }
    }
    return NULL;
}

static struct err *check_one(const struct verb *verb, const char *name, const json_t *value,
                             json_t *to)
{
    enum verb_type type = VERB_NAME;
    const struct verb_arg *arg = find_arg(verb, name);
    if (arg) {
        type = arg->type;
        if (json_is_null(value)) return NULL; /* as if left out */
    } else if (!is_path_parameter(verb, name, strlen(name))) {
        return err_next(err_new(STATUS_BAD_REQUEST, "%s %s has no argument \"%.100s\"", verb->noun,
                                verb->verb, name),
                        "tarn %s %s --help", verb->noun, verb->verb);
    } else if (strcmp(name, "lun") == 0) {
        type = VERB_UINT;
    }
    json_t *taken = NULL;
    TRY(take_value(name, type, value, &taken));
    if (!taken || json_object_set_new(to, name, taken))
        return err_new(STATUS_NO_MEMORY, "arguments");
    return NULL;
}

static struct err *check_missing(const struct verb *verb, const json_t *arguments)
{
    for (unsigned i = 0; i < verb_arg_count; i++) {
        const struct verb_arg *arg = &verb_args[i];
        if (!arg->required || strcmp(arg->verb, verb->id) != 0) continue;
        if (!json_object_get(arguments, arg->name)) {
            return err_next(
                err_new(STATUS_BAD_REQUEST, "\"%s\" is missing: %s", arg->name, arg->help),
                "tarn %s %s --help", verb->noun, verb->verb);
        }
    }
    for (const char *p = strchr(verb->path, '{'); p; p = strchr(p + 1, '{')) {
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(p + 1, "}"), p + 1);
        if (!json_object_get(arguments, name)) {
            return err_new(STATUS_BAD_REQUEST, "which %s? \"%s\" is missing", verb->noun, name);
        }
    }
    return NULL;
}

struct err *verb_arguments(const struct verb *verb, json_t *given, json_t **ret_arguments)
{
    json_t *arguments = json_object();
    if (!arguments) return err_new(STATUS_NO_MEMORY, "arguments");
    struct err *e = NULL;
    const char *name;
    json_t *value;
    json_object_foreach(given, name, value)
    {
        e = check_one(verb, name, value, arguments);
        if (e) break;
    }
    if (!e) e = check_missing(verb, arguments);
    if (e) {
        json_decref(arguments);
        return e;
    }
    *ret_arguments = arguments;
    return NULL;
}

/* ---- Routes ---------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool verb_percent_decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_digit(from[1]);
        int low = high >= 0 ? hex_digit(from[2]) : -1;
        if (low < 0 || (high == 0 && low == 0)) return false;
        *to++ = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
    return true;
}

/* Compares a template with a path; puts what stands for {name} into `to` (NULL: only compares). */
static struct err *match_path(const char *pattern, const char *path, json_t *to, bool *ret_matches)
{
    *ret_matches = false;
    while (*pattern != '\0') {
        if (*pattern != '{') {
            if (*pattern++ != *path++) return NULL;
            continue;
        }
        size_t name_length = strcspn(pattern + 1, "}");
        size_t length = strcspn(path, "/");
        if (length == 0) return NULL;
        if (to) {
            char name[32], value[3 * TEXT_NAME_MAX_BYTES + 1];
            snprintf(name, sizeof name, "%.*s", (int)name_length, pattern + 1);
            if (length >= sizeof value) return err_new(STATUS_BAD_REQUEST, "the name is too long");
            memcpy(value, path, length);
            value[length] = '\0';
            json_t *text = verb_percent_decode(value) ? json_string(value) : NULL;
            if (!text)
                return err_new(STATUS_BAD_REQUEST, "the name in the path is not valid UTF-8");
            json_object_set_new(to, name, text);
        }
        pattern += name_length + 2;
        path += length;
    }
    *ret_matches = *path == '\0';
    return NULL;
}

struct err *verb_route(const char *method, const char *path, json_t *arguments,
                       const struct verb **ret_verb)
{
    bool path_known = false;
    for (unsigned i = 0; i < verb_count; i++) {
        bool matches = false;
        TRY(match_path(verbs[i].path, path, NULL, &matches));
        if (!matches) continue;
        path_known = true;
        if (strcmp(verb_method_name(verbs[i].method), method) != 0) continue;
        TRY(match_path(verbs[i].path, path, arguments, &matches));
        *ret_verb = &verbs[i];
        return NULL;
    }
    if (path_known) {
        return err_new(STATUS_NOT_SUPPORTED, "%.20s is not possible on %.200s", method, path);
    }
    return err_next(err_new(STATUS_NOT_FOUND, "there is nothing at %.200s", path),
                    "the API is described in doc/openapi.yaml");
}
