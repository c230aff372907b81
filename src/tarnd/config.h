/*
 * config.h - the configuration file of tarnd (doc/man/tarn.conf.5.scd).
 *
 * Sections and keys are one table in config.c.  Ownership: config_fini frees nothing; all is in the
 * struct. Failures: BAD_CONFIG with file, line and what is expected; nothing is half taken.
 */
#ifndef TARN_TARND_CONFIG_H
#define TARN_TARND_CONFIG_H

#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

enum {
    CONFIG_PATH_SIZE = 512,
    CONFIG_TEXT_SIZE = 256,
    CONFIG_PORTALS_MAX = 16,
    CONFIG_ADDRESS_SIZE = 96
};

struct config {
    char state_dir[CONFIG_PATH_SIZE];
    char name[CONFIG_TEXT_SIZE];
    char api_listen[CONFIG_ADDRESS_SIZE];
    char target_name[CONFIG_TEXT_SIZE]; /* "" = iqn.2026-11.local.tarn:<server uuid> */
    unsigned portal_count, advertise_count;
    char portals[CONFIG_PORTALS_MAX][CONFIG_ADDRESS_SIZE];
    char advertise[CONFIG_PORTALS_MAX][CONFIG_ADDRESS_SIZE];
    enum log_level log_level;
    uint64_t cache_bytes, buffer_bytes; /* 0 = default */
};

void config_defaults(struct config *config);
struct err *config_load(const char *path, struct config *config) MUST_CHECK;
/* The same from text; `name` is for messages.  For tests. */
struct err *config_parse(const char *name, const char *text, struct config *config) MUST_CHECK;

#endif
