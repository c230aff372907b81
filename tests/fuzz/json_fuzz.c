/*
 * json_fuzz.c - any method, path and body against the path from HTTP to the arguments of a verb.
 *
 * Input: METHOD, a blank, the raw path, a newline, the body.  What comes through must be as the
 * table says.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"
#include "control/verbs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const json_t *value, enum verb_type type)
{
    switch (type) {
    case VERB_NAME:
        check(json_is_string(value) && text_is_valid_name(json_string_value(value)));
        break;
    case VERB_TEXT:
        check(json_is_string(value) && json_string_length(value) <= VERB_TEXT_MAX &&
              strlen(json_string_value(value)) == json_string_length(value));
        break;
    case VERB_SIZE:
    case VERB_UINT:
        check(json_is_integer(value) && json_integer_value(value) >= 0);
        break;
    case VERB_BOOL:
        check(json_is_boolean(value));
        break;
    case VERB_REFS: {
        check(json_array_size(value) >= 1 && json_array_size(value) <= VERB_REFS_MAX);
        for (size_t i = 0; i < json_array_size(value); i++) {
            check(text_is_valid_name(json_string_value(json_array_get(value, i))));
        }
        break;
    }
    default:
        unreachable("type");
    }
}

static void check_arguments(const struct verb *verb, json_t *arguments)
{
    for (unsigned i = 0; i < verb_arg_count; i++) {
        if (strcmp(verb_args[i].verb, verb->id) != 0) continue;
        const json_t *value = json_object_get(arguments, verb_args[i].name);
        check(value || !verb_args[i].required);
        if (value) check_value(value, verb_args[i].type);
    }
    if (strstr(verb->path, "{name}")) check_value(json_object_get(arguments, "name"), VERB_NAME);
    if (strstr(verb->path, "{lun}")) check_value(json_object_get(arguments, "lun"), VERB_UINT);
}

static struct err *take(const char *method, const char *path, const uint8_t *body, size_t size,
                        json_t **ret_given, json_t **ret_arguments)
{
    const struct verb *verb = NULL;
    TRY(verb_parse_body(body, size, ret_given));
    TRY(verb_route(method, path, *ret_given, &verb));
    TRY(verb_arguments(verb, *ret_given, ret_arguments));
    check_arguments(verb, *ret_arguments);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[2048];
    const uint8_t *end = memchr(data, '\n', size);
    size_t length = end ? (size_t)(end - data) : size;
    if (length >= sizeof line) return 0;
    memcpy(line, data, length);
    line[length] = '\0';
    char *path = strchr(line, ' ');
    if (path) *path++ = '\0';
    size_t used = end ? length + 1 : size;
    json_t *given = NULL, *arguments = NULL;
    struct err *e = take(line, path ? path : "", data + used, size - used, &given, &arguments);
    if (e) {
        enum status status = err_status(e);
        check(status == STATUS_BAD_REQUEST || status == STATUS_NOT_FOUND ||
              status == STATUS_NOT_SUPPORTED);
        check(err_frame(e, 0)[0] != '\0');
    }
    err_free(e);
    json_decref(given);
    json_decref(arguments);
    return 0;
}
