/* catalog_int.h - shared by the files of src/catalog only. */
#ifndef TARN_CATALOG_INT_H
#define TARN_CATALOG_INT_H

#include <sqlite3.h>

#include "catalog/catalog.h"

struct catalog_vfs;

struct catalog {
    struct rt *rt;
    struct catalog_vfs *vfs;
    sqlite3 *db;
    struct uuid server;
    uint8_t key[32];
};

/* A VFS of this catalog's own over rt's blocking files; no locks (the state directory is locked),
 * no shared memory (WAL with locking_mode=EXCLUSIVE). */
struct err *catalog_vfs_register(struct rt *rt, struct catalog_vfs **ret_vfs) MUST_CHECK;
const char *catalog_vfs_name(const struct catalog_vfs *vfs);
void catalog_vfs_unregister(struct catalog_vfs *vfs); /* accepts NULL */

/* Arguments by letters: u const struct uuid * (NULL or nil: NULL); t text (NULL: NULL); i uint64_t
 * or int64_t; b const void *, size_t. */
struct err *catalog_run(struct catalog *catalog, const char *sql, const char *types,
                        ...) MUST_CHECK;
struct err *catalog_query(struct catalog *catalog, sqlite3_stmt **ret_statement, const char *sql,
                          const char *types, ...) MUST_CHECK;
/* *ret_row false at the end. */
struct err *catalog_step(struct catalog *catalog, sqlite3_stmt *statement,
                         bool *ret_row) MUST_CHECK;
/* load.c: what rows hold.  A stored value that the schema's CHECKs do not allow means that somebody else
 * wrote the file. */
struct err *catalog_damaged(const char *what) MUST_CHECK;
void take_text(sqlite3_stmt *s, int column, char *to, size_t size);
bool take_uuid(sqlite3_stmt *s, int column, struct uuid *ret_uuid); /* NULL in the row: nil */
uint64_t take_u64(sqlite3_stmt *s, int column);
struct err *catalog_each_row(struct catalog *catalog, const char *sql,
                             struct err *(*fn)(void *arg, sqlite3_stmt *s), void *arg) MUST_CHECK;
struct err *catalog_sql_error(struct catalog *catalog, const char *what) MUST_CHECK;

/* audit.c; append within a transaction. */
struct err *catalog_audit_begin(struct catalog *catalog, const struct uuid *server) MUST_CHECK;
struct err *catalog_audit_append(struct catalog *catalog,
                                 const struct catalog_audit *audit) MUST_CHECK;

/* Seals under the key file; who and field are bound in.  An empty secret seals to nothing. */
enum {
    CATALOG_SEAL_EXTRA = 12 + 16,
    CATALOG_SEALED_MAX = CATALOG_SECRET_SIZE + CATALOG_SEAL_EXTRA
};
struct err *catalog_key_load(struct catalog *catalog, const char *directory) MUST_CHECK;
struct err *catalog_seal(struct catalog *catalog, const struct uuid *who, const char *field,
                         const char *secret, uint8_t ret_sealed[CATALOG_SEALED_MAX],
                         size_t *ret_size) MUST_CHECK;
struct err *catalog_unseal(struct catalog *catalog, const struct uuid *who, const char *field,
                           const void *sealed, size_t size,
                           char ret_secret[CATALOG_SECRET_SIZE]) MUST_CHECK;

#endif
