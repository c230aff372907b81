/* Reading everything at start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/text.h"
#include "catalog/catalog_int.h"

struct err *catalog_damaged(const char *what)
{
    return err_next(err_new(STATUS_BLOCK_CORRUPT, "the catalog holds an impossible %s", what),
                    "restore catalog.db from a backup");
}

void take_text(sqlite3_stmt *s, int column, char *to, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    snprintf(to, size, "%s", text ? text : "");
}

bool take_uuid(sqlite3_stmt *s, int column, struct uuid *ret_uuid)
{
    memset(ret_uuid, 0, sizeof *ret_uuid);
    const char *text = (const char *)sqlite3_column_text(s, column);
    return !text || uuid_parse(text, ret_uuid);
}

uint64_t take_u64(sqlite3_stmt *s, int column)
{
    return (uint64_t)sqlite3_column_int64(s, column);
}

static bool take_naa(sqlite3_stmt *s, int column, uint8_t ret_naa[CATALOG_NAA_BYTES])
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    return text && text_parse_hex(text, ret_naa, CATALOG_NAA_BYTES);
}

/* Index of the text in a table of names given by a function; count when there is none. */
#define TAKE_NAME(s, column, name_of, count)                                                       \
    ({                                                                                             \
        const char *take_text_ = (const char *)sqlite3_column_text(s, column);                     \
        unsigned take_i_ = 0;                                                                      \
        while (take_i_ < (count) && (!take_text_ || strcmp(take_text_, name_of(take_i_)) != 0)) {  \
            take_i_++;                                                                             \
        }                                                                                          \
        take_i_;                                                                                   \
    })

struct load {
    struct catalog *catalog;
    const struct catalog_reader *reader;
    void *arg;
};

struct err *catalog_each_row(struct catalog *catalog, const char *sql,
                             struct err *(*fn)(void *arg, sqlite3_stmt *s), void *arg)
{
    sqlite3_stmt *s = NULL;
    TRY(catalog_query(catalog, &s, sql, ""));
    bool row = false;
    struct err *e = catalog_step(catalog, s, &row);
    while (!e && row) {
        e = fn(arg, s);
        if (!e) e = catalog_step(catalog, s, &row);
    }
    sqlite3_finalize(s);
    return e;
}

static struct err *load_pool(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_pool row = {.created_ns = take_u64(s, 4),
                               .warn_percent = (unsigned)take_u64(s, 5)};
    take_text(s, 1, row.name, sizeof row.name);
    take_text(s, 2, row.path, sizeof row.path);
    row.state = (enum catalog_state)TAKE_NAME(s, 3, catalog_state_name, 3);
    if (!take_uuid(s, 0, &row.uuid) || (unsigned)row.state == 3) return catalog_damaged("pool");
    return load->reader->pool(load->arg, &row);
}

static struct err *load_disk(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_disk row = {.size_bytes = take_u64(s, 4),
                               .created_ns = take_u64(s, 7),
                               .trashed_ns = take_u64(s, 8),
                               .expires_ns = take_u64(s, 9)};
    take_text(s, 2, row.name, sizeof row.name);
    row.state = (enum catalog_state)TAKE_NAME(s, 3, catalog_state_name, 4);
    if (!take_uuid(s, 0, &row.uuid) || !take_uuid(s, 1, &row.pool) || !take_naa(s, 5, row.naa) ||
        !take_uuid(s, 6, &row.parent_point) || (unsigned)row.state == 4) {
        return catalog_damaged("disk");
    }
    return load->reader->disk(load->arg, &row);
}

static struct err *load_initiators(struct load *load, struct catalog_host *row)
{
    sqlite3_stmt *s = NULL;
    TRY(catalog_query(load->catalog, &s, "SELECT name FROM initiator WHERE host = ? ORDER BY rowid",
                      "u", &row->uuid));
    bool more = false;
    struct err *e = catalog_step(load->catalog, s, &more);
    while (!e && more && row->initiator_count < CATALOG_INITIATORS_MAX) {
        take_text(s, 0, row->initiators[row->initiator_count++], CATALOG_INITIATOR_SIZE);
        e = catalog_step(load->catalog, s, &more);
    }
    sqlite3_finalize(s);
    return e;
}

static struct err *load_host(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_host row = {.created_ns = take_u64(s, 7)};
    take_text(s, 1, row.name, sizeof row.name);
    take_text(s, 2, row.auth, sizeof row.auth);
    take_text(s, 3, row.chap_user, sizeof row.chap_user);
    take_text(s, 5, row.mutual_user, sizeof row.mutual_user);
    row.os = (enum catalog_os)TAKE_NAME(s, 8, catalog_os_name, OS_COUNT);
    if (!take_uuid(s, 0, &row.uuid) || row.os == OS_COUNT) return catalog_damaged("host");
    TRY(catalog_unseal(load->catalog, &row.uuid, "chap", sqlite3_column_blob(s, 4),
                       (size_t)sqlite3_column_bytes(s, 4), row.chap_secret));
    TRY(catalog_unseal(load->catalog, &row.uuid, "mutual", sqlite3_column_blob(s, 6),
                       (size_t)sqlite3_column_bytes(s, 6), row.mutual_secret));
    struct err *e = load_initiators(load, &row);
    if (!e) e = load->reader->host(load->arg, &row);
    explicit_bzero(&row, sizeof row); /* CHAP secrets */
    return e;
}

static struct err *load_set(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_set row = {.lease_s = take_u64(s, 5),
                              .generation = take_u64(s, 6),
                              .cut_ns = take_u64(s, 7),
                              .commit_ns = take_u64(s, 8),
                              .application_consistent = take_u64(s, 9) != 0,
                              .created_ns = take_u64(s, 11),
                              .is_volatile = take_u64(s, 12) != 0,
                              .transportable = take_u64(s, 13) != 0,
                              .vss = take_u64(s, 14) != 0,
                              .wants_full = take_u64(s, 15) != 0};
    take_text(s, 2, row.name, sizeof row.name);
    take_text(s, 10, row.created_by, sizeof row.created_by);
    row.state = (enum catalog_set_state)TAKE_NAME(s, 3, catalog_set_state_name, SET_STATE_COUNT);
    if (!take_uuid(s, 0, &row.uuid) || !take_uuid(s, 1, &row.pool) || !take_uuid(s, 4, &row.host) ||
        row.state == SET_STATE_COUNT) {
        return catalog_damaged("set");
    }
    return load->reader->set(load->arg, &row);
}

static struct err *load_event(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_event row = {.sequence = (unsigned)take_u64(s, 1), .at_ns = take_u64(s, 3)};
    row.state = (enum catalog_set_state)TAKE_NAME(s, 2, catalog_set_state_name, SET_STATE_COUNT);
    if (!take_uuid(s, 0, &row.set) || row.state == SET_STATE_COUNT)
        return catalog_damaged("set history");
    return load->reader->event(load->arg, &row);
}

static struct err *load_snapshot(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_snapshot row = {.size_bytes = take_u64(s, 5),
                                   .lun = sqlite3_column_int(s, 7),
                                   .position = (unsigned)take_u64(s, 8),
                                   .trashed_ns = take_u64(s, 11),
                                   .expires_ns = take_u64(s, 12),
                                   .retain_until_ns = take_u64(s, 13),
                                   .has_sha256 = sqlite3_column_bytes(s, 14) == sizeof row.sha256,
                                   .verified_ns = take_u64(s, 15),
                                   .is_full = take_u64(s, 16) != 0,
                                   .branch_used = take_u64(s, 17) != 0};
    if (row.has_sha256) memcpy(row.sha256, sqlite3_column_blob(s, 14), sizeof row.sha256);
    take_text(s, 3, row.name, sizeof row.name);
    row.state = (enum catalog_snapshot_state)TAKE_NAME(s, 4, catalog_snapshot_state_name, 4);
    if (!take_uuid(s, 0, &row.uuid) || !take_uuid(s, 1, &row.set) || !take_uuid(s, 2, &row.disk) ||
        !take_naa(s, 6, row.naa) || !take_uuid(s, 9, &row.point) ||
        !take_uuid(s, 10, &row.other_point) || !take_uuid(s, 18, &row.view) || (unsigned)row.state == 4) {
        return catalog_damaged("snapshot");
    }
    return load->reader->snapshot(load->arg, &row);
}

static struct err *load_undo(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_undo row = {
        .size_bytes = take_u64(s, 5), .made_ns = take_u64(s, 6), .expires_ns = take_u64(s, 7)};
    take_text(s, 2, row.name, sizeof row.name);
    take_text(s, 4, row.cause, sizeof row.cause);
    row.state = (enum catalog_snapshot_state)TAKE_NAME(s, 3, catalog_snapshot_state_name, 3);
    if (!take_uuid(s, 0, &row.uuid) || !take_uuid(s, 1, &row.disk) || (unsigned)row.state == 3) {
        return catalog_damaged("undo point");
    }
    return load->reader->undo(load->arg, &row);
}

static struct err *load_clock(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_clock row = {.now_ns = take_u64(s, 0), .slack_ns = take_u64(s, 1)};
    return load->reader->clock ? load->reader->clock(load->arg, &row) : NULL;
}

static struct err *load_settings(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_settings row = {.trash_s = take_u64(s, 0),
                                   .recovery_bytes = take_u64(s, 1),
                                   .remove_stale_s = take_u64(s, 2)};
    return load->reader->settings ? load->reader->settings(load->arg, &row) : NULL;
}

static struct err *load_map(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_map row = {.lun = (unsigned)take_u64(s, 1),
                              .read_only = take_u64(s, 4) != 0,
                              .keep_vss_flags = take_u64(s, 6) != 0,
                              .created_ns = take_u64(s, 5)};
    row.kind = (enum catalog_kind)TAKE_NAME(s, 2, catalog_kind_name, 2);
    if (!take_uuid(s, 0, &row.host) || !take_uuid(s, 3, &row.object) || (unsigned)row.kind == 2) {
        return catalog_damaged("map");
    }
    return load->reader->map(load->arg, &row);
}

static struct err *load_slot(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_slot row = {.lun = (unsigned)take_u64(s, 1),
                               .freed_sequence = take_u64(s, 3),
                               .freed_ns = take_u64(s, 4)};
    if (!take_uuid(s, 0, &row.host) || !take_uuid(s, 2, &row.object))
        return catalog_damaged("LUN number");
    return load->reader->slot(load->arg, &row);
}

static struct err *load_token(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_token row = {.created_ns = take_u64(s, 4)};
    take_text(s, 1, row.name, sizeof row.name);
    take_text(s, 2, row.role, sizeof row.role);
    if (!take_uuid(s, 0, &row.uuid) || sqlite3_column_bytes(s, 3) != sizeof row.hash) {
        return catalog_damaged("token");
    }
    memcpy(row.hash, sqlite3_column_blob(s, 3), sizeof row.hash);
    return load->reader->token(load->arg, &row);
}

static struct err *load_job(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_job row = {.started_ns = take_u64(s, 4), .finished_ns = take_u64(s, 5)};
    take_text(s, 1, row.verb, sizeof row.verb);
    take_text(s, 2, row.object, sizeof row.object);
    row.state = (enum catalog_job_state)TAKE_NAME(s, 3, catalog_job_state_name, JOB_STATE_COUNT);
    row.answer = (const char *)sqlite3_column_text(s, 6);
    row.work = (const char *)sqlite3_column_text(s, 7);
    if (!take_uuid(s, 0, &row.uuid) || row.state == JOB_STATE_COUNT) return catalog_damaged("job");
    return load->reader->job(load->arg, &row);
}

static struct err *load_import(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_import row = {.at_ns = take_u64(s, 3)};
    row.state =
        (enum catalog_import_state)TAKE_NAME(s, 2, catalog_import_state_name, IMPORT_STATE_COUNT);
    if (!take_uuid(s, 0, &row.set) || !take_uuid(s, 1, &row.host) ||
        row.state == IMPORT_STATE_COUNT) {
        return catalog_damaged("import of a set");
    }
    return load->reader->import(load->arg, &row);
}

static struct err *load_registration(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_registration row = {.port = (uint16_t)take_u64(s, 3),
                                       .holds = (uint8_t)take_u64(s, 5)};
    char key_text[17];
    uint8_t key[8];
    take_text(s, 1, row.initiator, sizeof row.initiator);
    take_text(s, 4, key_text, sizeof key_text);
    if (!take_uuid(s, 0, &row.object) || sqlite3_column_bytes(s, 2) != sizeof row.isid ||
        !text_parse_hex(key_text, key, sizeof key)) {
        return catalog_damaged("registration");
    }
    memcpy(row.isid, sqlite3_column_blob(s, 2), sizeof row.isid);
    row.key = load_be64(key);
    return load->reader->registration ? load->reader->registration(load->arg, &row) : NULL;
}

struct err *catalog_load(struct catalog *catalog, const struct catalog_reader *reader, void *arg)
{
    struct load load = {.catalog = catalog, .reader = reader, .arg = arg};
    static const struct {
        const char *sql;
        struct err *(*fn)(void *arg, sqlite3_stmt *s);
    } tables[] = {
        {"SELECT uuid, name, path, state, created_ns, warn_percent FROM pool ORDER BY created_ns, "
         "uuid",
         load_pool},
        {"SELECT uuid, pool, name, state, size_bytes, naa, parent_point, created_ns, trashed_ns,"
         " expires_ns FROM disk"
         " ORDER BY created_ns, uuid",
         load_disk},
        {"SELECT uuid, name, auth, chap_user, chap_secret, mutual_user, mutual_secret, created_ns,"
         " os FROM host ORDER BY created_ns, uuid",
         load_host},
        {"SELECT uuid, pool, name, state, host, lease_s, generation, cut_ns, commit_ns,"
         " application_consistent, created_by, created_ns, volatile, transportable, vss, wants_full"
         " FROM point_set"
         " ORDER BY created_ns, uuid",
         load_set},
        {"SELECT point_set, sequence, state, at_ns FROM set_history ORDER BY point_set, sequence",
         load_event},
        {"SELECT uuid, point_set, disk, name, state, size_bytes, naa, lun, position,"
         " point, other_point, trashed_ns, expires_ns, retain_until_ns, sha256, verified_ns,"
         " is_full, branch_used, view FROM snapshot"
         " ORDER BY point_set, position",
         load_snapshot},
        {"SELECT uuid, disk, name, state, cause, size_bytes, made_ns, expires_ns FROM undo"
         " ORDER BY made_ns, uuid",
         load_undo},
        {"SELECT clock_ns, clock_slack_ns FROM server", load_clock},
        {"SELECT trash_s, recovery_bytes, remove_stale_s FROM server", load_settings},
        {"SELECT host, lun, kind, object, read_only, created_ns, keep_vss_flags FROM map ORDER BY host, lun",
         load_map},
        {"SELECT host, lun, object, freed_sequence, freed_ns FROM lun_slot", load_slot},
        {"SELECT uuid, name, role, hash, created_ns FROM token ORDER BY created_ns, uuid",
         load_token},
        {"SELECT uuid, verb, object, state, started_ns, finished_ns, answer, work FROM job"
         " ORDER BY started_ns, uuid",
         load_job},
        {"SELECT point_set, host, state, at_ns FROM set_import", load_import},
        {"SELECT object, initiator, isid, port, key, holds FROM registration"
         " ORDER BY object, position",
         load_registration},
    };
    for (unsigned i = 0; i < countof(tables); i++)
        TRY(catalog_each_row(catalog, tables[i].sql, tables[i].fn, &load));
    return NULL;
}
