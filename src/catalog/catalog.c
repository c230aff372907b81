#include "catalog/catalog.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "catalog/catalog_int.h"

enum { SCHEMA_VERSION = 3, APPLICATION_ID = 0x5461726E /* "Tarn" */ };

static const char schema[] =
#include "catalog/schema.sql.inc"
    ;

/* ---- Statements ------------------------------------------------------------------------------ */

struct err *catalog_sql_error(struct catalog *catalog, const char *what)
{
    enum status status = STATUS_OS_ERROR;
    int code = sqlite3_extended_errcode(catalog->db);
    switch (code & 0xFF) {
    case SQLITE_CONSTRAINT:
        status = code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY
                     ? STATUS_EXISTS
                     : STATUS_CONFLICT;
        break;
    case SQLITE_FULL:
        status = STATUS_NO_SPACE;
        break;
    case SQLITE_NOMEM:
        status = STATUS_NO_MEMORY;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        status = STATUS_BLOCK_CORRUPT;
        break;
    default:
        break;
    }
    struct err *e = err_new(status, "catalog: %s: %s", what, sqlite3_errmsg(catalog->db));
    if (status == STATUS_BLOCK_CORRUPT) err_next(e, "restore catalog.db from a backup");
    return e;
}

static int bind_one(sqlite3_stmt *statement, int index, char type, va_list *arguments)
{
    char text[UUID_TEXT_SIZE];
    switch (type) {
    case 'u': {
        const struct uuid *uuid = va_arg(*arguments, const struct uuid *);
        if (!uuid || uuid_is_nil(uuid)) return sqlite3_bind_null(statement, index);
        return sqlite3_bind_text(statement, index, uuid_format(uuid, text), -1, SQLITE_TRANSIENT);
    }
    case 't': {
        const char *value = va_arg(*arguments, const char *);
        if (!value) return sqlite3_bind_null(statement, index);
        return sqlite3_bind_text(statement, index, value, -1, SQLITE_TRANSIENT);
    }
    case 'i':
        return sqlite3_bind_int64(statement, index, va_arg(*arguments, sqlite3_int64));
    case 'b': {
        const void *data = va_arg(*arguments, const void *);
        size_t size = va_arg(*arguments, size_t);
        if (size == 0) return sqlite3_bind_null(statement, index);
        return sqlite3_bind_blob(statement, index, data, (int)size, SQLITE_TRANSIENT);
    }
    default:
        unreachable("type letter");
        return SQLITE_MISUSE;
    }
}

static struct err *query_list(struct catalog *catalog, sqlite3_stmt **ret_statement,
                              const char *sql, const char *types, va_list *arguments)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(catalog->db, sql, -1, &statement, NULL) != SQLITE_OK) {
        return catalog_sql_error(catalog, sql);
    }
    for (int i = 0; types[i] != '\0'; i++) {
        if (bind_one(statement, i + 1, types[i], arguments) != SQLITE_OK) {
            struct err *e = catalog_sql_error(catalog, sql);
            sqlite3_finalize(statement);
            return e;
        }
    }
    *ret_statement = statement;
    return NULL;
}

struct err *catalog_query(struct catalog *catalog, sqlite3_stmt **ret_statement, const char *sql,
                          const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    struct err *e = query_list(catalog, ret_statement, sql, types, &arguments);
    va_end(arguments);
    return e;
}

struct err *catalog_step(struct catalog *catalog, sqlite3_stmt *statement, bool *ret_row)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        return catalog_sql_error(catalog, sqlite3_sql(statement));
    }
    *ret_row = code == SQLITE_ROW;
    return NULL;
}

struct err *catalog_run(struct catalog *catalog, const char *sql, const char *types, ...)
{
    sqlite3_stmt *statement = NULL;
    va_list arguments;
    va_start(arguments, types);
    struct err *e = query_list(catalog, &statement, sql, types, &arguments);
    va_end(arguments);
    if (e) return e;
    bool row;
    do {
        e = catalog_step(catalog, statement, &row);
    } while (!e && row);
    sqlite3_finalize(statement);
    return e;
}

static struct err *execute(struct catalog *catalog, const char *sql)
{
    if (sqlite3_exec(catalog->db, sql, NULL, NULL, NULL) == SQLITE_OK) return NULL;
    return catalog_sql_error(catalog, strlen(sql) < 100 ? sql : "set up");
}

static struct err *query_number(struct catalog *catalog, const char *sql, uint64_t *ret_number)
{
    sqlite3_stmt *statement = NULL;
    TRY(catalog_query(catalog, &statement, sql, ""));
    bool row = false;
    struct err *e = catalog_step(catalog, statement, &row);
    if (!e && row) *ret_number = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return e;
}

/* ---- Transactions ---------------------------------------------------------------------------- */

/*
 * A COMMIT whose flush failed is rolled back in memory, but its frames, complete, are in the log: a
 * crash now would bring back what was answered as failed.  The next transaction writes over them;
 * so one that means nothing is made at once (SQLite writes nothing when nothing changes).
 */
static void bury_failed_commit(struct catalog *catalog)
{
    struct err *e = execute(catalog, "BEGIN IMMEDIATE");
    if (!e) e = catalog_run(catalog, "UPDATE server SET freed_sequence = freed_sequence + 1", "");
    if (!e) e = execute(catalog, "COMMIT");
    if (!e) return;
    sqlite3_exec(catalog->db, "ROLLBACK", NULL, NULL, NULL);
    log_failure("the catalog cannot be written; after a crash a failed change may come back", e);
    err_free(e);
}

struct err *catalog_transact(struct catalog *catalog, catalog_fn *fn, void *arg,
                             const struct catalog_audit *audit)
{
    TRY(execute(catalog, "BEGIN IMMEDIATE"));
    struct err *e = fn ? fn(catalog, arg) : NULL;
    if (!e && audit) e = catalog_audit_append(catalog, audit);
    bool whole = e == NULL;
    if (whole) e = execute(catalog, "COMMIT");
    if (!e) return NULL;
    sqlite3_exec(catalog->db, "ROLLBACK", NULL, NULL, NULL);
    if (whole) bury_failed_commit(catalog);
    return e;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static struct err *make_schema(struct catalog *catalog, void *arg)
{
    TRY(execute(catalog, schema));
    struct uuid server = rt_uuid(catalog->rt);
    TRY(catalog_run(catalog, "INSERT INTO server(one, uuid, created_ns) VALUES(1, ?, ?)", "ui",
                    &server, rt_wall(catalog->rt)));
    TRY(catalog_audit_begin(catalog, &server));
    char pragma[64];
    snprintf(pragma, sizeof pragma, "PRAGMA application_id = %d", APPLICATION_ID);
    TRY(execute(catalog, pragma));
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", SCHEMA_VERSION);
    return execute(catalog, pragma);
}

static struct err *check_version(struct catalog *catalog, const char *path)
{
    uint64_t version = 0, application = 0, tables = 0;
    TRY(query_number(catalog, "PRAGMA user_version", &version));
    TRY(query_number(catalog, "PRAGMA application_id", &application));
    TRY(query_number(catalog, "SELECT count(*) FROM sqlite_schema", &tables));
    if (tables == 0) return catalog_transact(catalog, make_schema, NULL, NULL);
    if (application != APPLICATION_ID) {
        return err_next(
            err_new(STATUS_BAD_CONFIG, "%s is a database, but not a catalog of Tarn", path),
            "set another state_dir");
    }
    if (version < SCHEMA_VERSION) {
        return err_next(err_new(STATUS_FORMAT_VERSION,
                                "%s was made by an earlier development version (schema %u, this"
                                " program knows %u)",
                                path, (unsigned)version, (unsigned)SCHEMA_VERSION),
                        "use the program that made it, or begin with a new state_dir");
    }
    if (version > SCHEMA_VERSION) {
        return err_next(err_new(STATUS_FORMAT_VERSION,
                                "%s has schema version %u, this program knows %u", path,
                                (unsigned)version, (unsigned)SCHEMA_VERSION),
                        "use the newer program");
    }
    return NULL;
}

static struct err *read_server(struct catalog *catalog)
{
    sqlite3_stmt *statement = NULL;
    TRY(catalog_query(catalog, &statement, "SELECT uuid FROM server", ""));
    bool row = false;
    struct err *e = catalog_step(catalog, statement, &row);
    if (!e &&
        (!row || !uuid_parse((const char *)sqlite3_column_text(statement, 0), &catalog->server))) {
        e = err_new(STATUS_BLOCK_CORRUPT, "the catalog does not say which server it is");
    }
    sqlite3_finalize(statement);
    return e;
}

static struct err *open_database(struct catalog *catalog, const char *directory)
{
    char path[CATALOG_PATH_SIZE];
    snprintf(path, sizeof path, "%s/catalog.db", directory);
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (sqlite3_open_v2(path, &catalog->db, flags, catalog_vfs_name(catalog->vfs)) != SQLITE_OK) {
        return catalog_sql_error(catalog, "open");
    }
    sqlite3_extended_result_codes(catalog->db, 1);
    /* Exclusive before WAL: then the index of the log is in memory and needs no shared memory. */
    TRY(execute(catalog,
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY;"
                "PRAGMA mmap_size = 0; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF"));
    TRY(check_version(catalog, path));
    return read_server(catalog);
}

struct err *catalog_open(struct rt *rt, const char *directory, struct catalog **ret_catalog)
{
    if (strlen(directory) > CATALOG_PATH_SIZE - 32) {
        return err_new(STATUS_BAD_CONFIG, "the path of the state directory is too long");
    }
    struct catalog *catalog = calloc(1, sizeof *catalog);
    if (!catalog) return err_new(STATUS_NO_MEMORY, "catalog");
    catalog->rt = rt;
    struct err *e = rt_path_make_directory(rt, directory);
    if (!e) e = catalog_vfs_register(rt, &catalog->vfs);
    if (!e) e = catalog_key_load(catalog, directory); /* a new database needs it */
    if (!e) e = open_database(catalog, directory);
    if (e) {
        catalog_close(catalog);
        return err_wrap(e, "open the catalog in %s", directory);
    }
    *ret_catalog = catalog;
    return NULL;
}

void catalog_close(struct catalog *catalog)
{
    if (!catalog) return;
    if (catalog->db) sqlite3_close(catalog->db);
    catalog_vfs_unregister(catalog->vfs);
    explicit_bzero(catalog->key, sizeof catalog->key);
    free(catalog);
}

struct uuid catalog_server_uuid(const struct catalog *catalog)
{
    return catalog->server;
}

struct err *catalog_count(struct catalog *catalog, const char *table, uint64_t *ret_count)
{
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    return query_number(catalog, sql, ret_count);
}
