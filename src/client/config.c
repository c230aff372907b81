/*
 * config.c - where the server is and how to be believed by it: looking for the file and reading it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

enum { CONFIG_FILE_MAX = 64 * 1024 };

void client_config_fini(struct client_config *config)
{
    free(config->path);
    free(config->server);
    for (unsigned i = 0; i < config->other_count; i++)
        free(config->others[i]);
    if (config->token) explicit_bzero(config->token, strlen(config->token));
    free(config->token);
    free(config->credential);
    if (config->key) explicit_bzero(config->key, strlen(config->key));
    free(config->key);
    for (unsigned i = 0; i < config->pin_count; i++)
        free(config->pins[i]);
    *config = (struct client_config){0};
}

static struct err *add_pin(struct client_config *config, const json_t *value)
{
    const char *text = json_string_value(value);
    if (!text || strlen(text) != 64 || strspn(text, "0123456789abcdefABCDEF") != 64) {
        return err_new(STATUS_BAD_CONFIG,
                       "\"pin\" is not 64 hexadecimal digits (SHA-256 of the server's public key)");
    }
    if (config->pin_count == CLIENT_PINS_MAX) {
        return err_new(STATUS_BAD_CONFIG, "more than %d pins", CLIENT_PINS_MAX);
    }
    config->pins[config->pin_count] = strdup(text);
    if (!config->pins[config->pin_count]) return err_new(STATUS_NO_MEMORY, "read a configuration");
    config->pin_count++;
    return NULL;
}

static struct err *copy_text(const json_t *root, const char *key, char **ret_text)
{
    const json_t *value = json_object_get(root, key);
    if (!value) return NULL;
    if (!json_is_string(value)) return err_new(STATUS_BAD_CONFIG, "\"%s\" is not a string", key);
    *ret_text = strdup(json_string_value(value));
    return *ret_text ? NULL : err_new(STATUS_NO_MEMORY, "read a configuration");
}

/* host.json lists all addresses of the code, the one that was enrolled at among them. */
static struct err *add_servers(struct client_config *config, const json_t *servers)
{
    if (!servers) return NULL;
    if (!json_is_array(servers) || json_array_size(servers) > CLIENT_SERVERS_MAX) {
        return err_new(STATUS_BAD_CONFIG, "\"servers\" is not a list of at most %d addresses",
                       CLIENT_SERVERS_MAX);
    }
    for (size_t i = 0; i < json_array_size(servers); i++) {
        const char *text = json_string_value(json_array_get(servers, i));
        if (!text)
            return err_new(STATUS_BAD_CONFIG, "\"servers\" holds something that is not a string");
        char **to = config->server ? &config->others[config->other_count] : &config->server;
        if (config->server && strcmp(text, config->server) == 0) continue;
        *to = strdup(text);
        if (!*to) return err_new(STATUS_NO_MEMORY, "read a configuration");
        if (to != &config->server) config->other_count++;
    }
    return NULL;
}

static struct err *fill(struct client_config *config, const json_t *root)
{
    if (!json_is_object(root)) return err_new(STATUS_BAD_CONFIG, "it is not a JSON object");
    TRY(copy_text(root, "server", &config->server));
    TRY(add_servers(config, json_object_get(root, "servers")));
    TRY(copy_text(root, "token", &config->token));
    TRY(copy_text(root, "credential", &config->credential));
    TRY(copy_text(root, "key", &config->key));
    const json_t *pin = json_object_get(root, "pin");
    if (json_is_array(pin)) {
        for (size_t i = 0; i < json_array_size(pin); i++)
            TRY(add_pin(config, json_array_get(pin, i)));
    } else if (pin) {
        TRY(add_pin(config, pin));
    }
    if (!config->server) return err_new(STATUS_BAD_CONFIG, "\"server\" is missing");
    if (!config->credential != !config->key)
        return err_new(STATUS_BAD_CONFIG, "\"credential\" and \"key\" belong together");
    if (config->credential && config->pin_count == 0)
        return err_new(STATUS_BAD_CONFIG, "a credential needs the server's \"pin\"");
    return NULL;
}

struct err *client_config_parse(const char *text, struct client_config *ret_config)
{
    json_error_t where;
    json_t *root = json_loads(text, 0, &where);
    if (!root) return err_new(STATUS_BAD_CONFIG, "line %d: %s", where.line, where.text);
    struct client_config config = {0};
    struct err *e = fill(&config, root);
    json_decref(root);
    if (e) {
        client_config_fini(&config);
        return e;
    }
    *ret_config = config;
    return NULL;
}

static struct err *read_file(FILE *file, const char *path, char *text)
{
    size_t got = fread(text, 1, CONFIG_FILE_MAX + 1, file);
    if (ferror(file)) return err_new(STATUS_OS_ERROR, "%s cannot be read", path);
    if (got > CONFIG_FILE_MAX) {
        return err_new(STATUS_BAD_CONFIG, "%s is too large to be a configuration", path);
    }
    text[got] = '\0';
    return NULL;
}

static struct err *read_all(const char *path, char **ret_text)
{
    FILE *file = fopen(path, "re");
    if (!file) return err_from_errno("read %s", path);
    char *text = calloc(1, CONFIG_FILE_MAX + 2);
    struct err *e = text ? read_file(file, path, text) : err_new(STATUS_NO_MEMORY, "read %s", path);
    fclose(file);
    if (e)
        free(text);
    else
        *ret_text = text;
    return e;
}

static struct err *load(const char *path, struct client_config *ret_config)
{
    auto_free char *text = NULL;
    TRY(read_all(path, &text));
    struct err *e = client_config_parse(text, ret_config);
    if (e)
        return err_next(
            err_wrap(e, "%s", path),
            "it should read {\"server\":\"https://HOST:PORT\",\"pin\":\"...\",\"token\":\"...\"}");
    ret_config->path = strdup(path);
    return NULL;
}

struct err *client_config_find(const char *explicit_path, struct client_config *ret_config)
{
    const char *named = explicit_path ? explicit_path : getenv("TARN_CONFIG");
    if (named && named[0]) {
        struct err *e = load(named, ret_config);
        if (err_status(e) != STATUS_NOT_FOUND) return e;
        err_free(e); /* "not found" is for objects of the server */
        return err_new(STATUS_BAD_CONFIG, "the configuration %s is not there", named);
    }

    const char *config_home = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    auto_free char *own = NULL;
    int wrote = 0;
    if (config_home && config_home[0] == '/')
        wrote = asprintf(&own, "%s/tarn/client.json", config_home);
    else if (home)
        wrote = asprintf(&own, "%s/.config/tarn/client.json", home);
    if (wrote < 0) {
        own = NULL;
        return err_new(STATUS_NO_MEMORY, "look for a configuration");
    }
    const char *places[] = {own, "/etc/tarn/host.json", "/var/lib/tarn/client.json"};
    for (size_t i = 0; i < countof(places); i++) {
        if (!places[i]) continue;
        struct err *e = load(places[i], ret_config);
        if (!e || err_status(e) != STATUS_NOT_FOUND) return e;
        err_free(e);
    }
    return err_next(err_new(STATUS_BAD_CONFIG, "no client configuration was found"),
                    "name one with --config FILE or TARN_CONFIG; tarnd writes client.json into its "
                    "state directory "
                    "(also looked at: ~/.config/tarn/client.json, /etc/tarn/host.json, "
                    "/var/lib/tarn/client.json)");
}
