#include "tarnd/config.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text.h"

struct parse {
    struct config *config;
    struct err *error;
    int line;
};

typedef struct err *set_fn(struct config *config, const char *value);

static struct err *set_state_dir(struct config *config, const char *value)
{
    if (value[0] != '/' || strlen(value) >= sizeof config->state_dir) {
        return err_new(STATUS_BAD_CONFIG, "must be an absolute path");
    }
    snprintf(config->state_dir, sizeof config->state_dir, "%s", value);
    return NULL;
}

static struct err *set_name(struct config *config, const char *value)
{
    if (!text_is_valid_name(value))
        return err_new(STATUS_BAD_CONFIG, "must be a name of 1 to 255 bytes");
    snprintf(config->name, sizeof config->name, "%s", value);
    return NULL;
}

static struct err *check_address(const char *value)
{
    const char *colon = strrchr(value, ':');
    uint64_t port;
    if (!colon || colon == value || strlen(value) >= CONFIG_ADDRESS_SIZE ||
        !text_parse_u64(colon + 1, &port) || port > 65535) {
        return err_new(STATUS_BAD_CONFIG, "\"%.100s\" is not ADDRESS:PORT, such as 127.0.0.1:3260",
                       value);
    }
    return NULL;
}

static struct err *set_api_listen(struct config *config, const char *value)
{
    TRY(check_address(value));
    snprintf(config->api_listen, sizeof config->api_listen, "%s", value);
    return NULL;
}

/* A list with commas and blanks. */
static struct err *take_list(const char *value, char (*list)[CONFIG_ADDRESS_SIZE],
                             unsigned *ret_count)
{
    unsigned count = 0;
    const char *p = value;
    while (*(p += strspn(p, ", \t")) != '\0') {
        size_t length = strcspn(p, ", \t");
        char address[CONFIG_ADDRESS_SIZE];
        if (count == CONFIG_PORTALS_MAX) {
            return err_new(STATUS_BAD_CONFIG, "has more than %d addresses", CONFIG_PORTALS_MAX);
        }
        snprintf(address, sizeof address, "%.*s", (int)length, p);
        TRY(check_address(address));
        memcpy(list[count++], address, sizeof address);
        p += length;
    }
    if (count == 0) return err_new(STATUS_BAD_CONFIG, "names no address");
    *ret_count = count;
    return NULL;
}

static struct err *set_portals(struct config *config, const char *value)
{
    return take_list(value, config->portals, &config->portal_count);
}

static struct err *set_advertise(struct config *config, const char *value)
{
    return take_list(value, config->advertise, &config->advertise_count);
}

static struct err *set_target_name(struct config *config, const char *value)
{
    if (strlen(value) > 223 || (strncmp(value, "iqn.", 4) != 0 && strncmp(value, "eui.", 4) != 0 &&
                                strncmp(value, "naa.", 4) != 0)) {
        return err_new(STATUS_BAD_CONFIG, "must be an iSCSI name (iqn.YEAR-MONTH.DOMAIN:NAME)");
    }
    snprintf(config->target_name, sizeof config->target_name, "%s", value);
    return NULL;
}

static struct err *set_level(struct config *config, const char *value)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (unsigned i = 0; i < countof(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            config->log_level = (enum log_level)i;
            return NULL;
        }
    }
    return err_new(STATUS_BAD_CONFIG, "must be error, warn, info or debug");
}

static struct err *take_size(const char *value, uint64_t minimum, uint64_t *ret_bytes)
{
    uint64_t bytes;
    if (!text_parse_size(value, &bytes) || bytes < minimum) {
        char text[TEXT_SIZE_MAX];
        return err_new(STATUS_BAD_CONFIG, "must be a size of at least %s, such as 256M",
                       text_format_size(minimum, text));
    }
    *ret_bytes = bytes;
    return NULL;
}

static struct err *set_cache(struct config *config, const char *value)
{
    return take_size(value, MIB, &config->cache_bytes);
}

static struct err *set_buffers(struct config *config, const char *value)
{
    return take_size(value, 16 * MIB, &config->buffer_bytes);
}

static const struct {
    const char *section, *key;
    set_fn *set;
} keys[] = {
    {"server", "state_dir", set_state_dir},
    {"server", "name", set_name},
    {"api", "listen", set_api_listen},
    {"iscsi", "listen", set_portals},
    {"iscsi", "advertise", set_advertise},
    {"iscsi", "target_name", set_target_name},
    {"log", "level", set_level},
    {"engine", "cache", set_cache},
    {"engine", "buffers", set_buffers},
};

static int on_key(void *arg, const char *section, const char *key, const char *value)
{
    struct parse *parse = arg;
    if (parse->error) return 1;
    for (unsigned i = 0; i < countof(keys); i++) {
        if (strcmp(section, keys[i].section) != 0 || strcmp(key, keys[i].key) != 0) continue;
        struct err *e = keys[i].set(parse->config, value);
        if (e) parse->error = err_wrap(e, "[%s] %s", section, key);
        return e == NULL;
    }
    parse->error =
        err_next(err_new(STATUS_BAD_CONFIG, "[%.60s] %.60s is not a setting", section, key),
                 "man 5 tarn.conf lists them");
    return 0;
}

void config_defaults(struct config *config)
{
    memset(config, 0, sizeof *config);
    snprintf(config->state_dir, sizeof config->state_dir, "/var/lib/tarn");
    if (gethostname(config->name, sizeof config->name - 1) || !text_is_valid_name(config->name)) {
        snprintf(config->name, sizeof config->name, "tarn");
    }
    snprintf(config->api_listen, sizeof config->api_listen, "0.0.0.0:7260");
    config->portal_count = 1;
    snprintf(config->portals[0], sizeof config->portals[0], "0.0.0.0:3260");
    config->log_level = LOG_LEVEL_INFO;
}

static struct err *outcome(const char *name, int line, struct parse *parse)
{
    struct err *e = parse->error;
    if (line > 0 && !e) e = err_new(STATUS_BAD_CONFIG, "neither [SECTION] nor KEY = VALUE");
    if (!e && parse->config->advertise_count &&
        parse->config->advertise_count != parse->config->portal_count) {
        return err_new(STATUS_BAD_CONFIG, "%s: [iscsi] advertise has %u addresses, listen has %u",
                       name, parse->config->advertise_count, parse->config->portal_count);
    }
    if (!e) return NULL;
    return line > 0 ? err_wrap(e, "%s line %d", name, line) : err_wrap(e, "%s", name);
}

struct err *config_load(const char *path, struct config *config)
{
    struct parse parse = {.config = config};
    FILE *file = fopen(path, "re");
    if (!file) return err_next(err_from_errno("configuration %s", path), "tarnd -c FILE");
    int line = ini_parse_file(file, on_key, &parse);
    fclose(file);
    return outcome(path, line, &parse);
}

struct err *config_parse(const char *name, const char *text, struct config *config)
{
    struct parse parse = {.config = config};
    return outcome(name, ini_parse_string(text, on_key, &parse), &parse);
}
