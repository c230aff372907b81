/*
 * client_fuzz.c - a configuration file, and an error that a server (or what pretends to be one)
 * answers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "client/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client_config config;
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    struct err *e = client_config_parse(text, &config);
    if (!e) {
        check(config.server != NULL && config.pin_count <= CLIENT_PINS_MAX);
        client_config_fini(&config);
    }
    err_free(e);
    json_t *root = json_loads(text, 0, NULL);
    if (root) {
        e = client_error_of(json_object_get(root, "error"), 400);
        check(e != NULL);
        err_free(e);
        json_decref(root);
    }
    char *segment = client_encode_segment(text);
    check(!segment || (!strchr(segment, '/') && !strchr(segment, '?')));
    free(segment);
    free(text);
    return 0;
}
