/* Groups, grants, owners, credentials and enrolments: writing and reading. */
#include "catalog/host.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "catalog/catalog_int.h"

struct err *catalog_put_group(struct catalog *catalog, const struct catalog_group *row)
{
    return catalog_run(catalog,
                       "INSERT INTO host_group(uuid, name, created_ns) VALUES(?,?,?)"
                       " ON CONFLICT(uuid) DO UPDATE SET name = excluded.name",
                       "uti", &row->uuid, row->name, row->created_ns);
}

struct err *catalog_delete_group(struct catalog *catalog, const struct uuid *uuid)
{
    return catalog_run(catalog, "DELETE FROM host_group WHERE uuid = ?", "u", uuid);
}

struct err *catalog_put_member(struct catalog *catalog, const struct uuid *host,
                               const struct uuid *group)
{
    if (!group) return catalog_run(catalog, "DELETE FROM group_member WHERE host = ?", "u", host);
    return catalog_run(catalog, "INSERT OR REPLACE INTO group_member(host, host_group) VALUES(?,?)",
                       "uu", host, group);
}

struct err *catalog_put_grant(struct catalog *catalog, const struct catalog_grant *row)
{
    return catalog_run(
        catalog, "INSERT OR IGNORE INTO import_grant(grantee, owner, created_ns) VALUES(?,?,?)",
        "uui", &row->to, &row->from, row->created_ns);
}

struct err *catalog_delete_grant(struct catalog *catalog, const struct uuid *to,
                                 const struct uuid *from)
{
    return catalog_run(catalog, "DELETE FROM import_grant WHERE grantee = ? AND owner = ?", "uu",
                       to, from);
}

struct err *catalog_put_owner(struct catalog *catalog, const struct uuid *set,
                              const struct uuid *owner)
{
    return catalog_run(catalog, "INSERT OR REPLACE INTO set_owner(point_set, owner) VALUES(?,?)",
                       "uu", set, owner);
}

/* ---- Keys ---- */

static struct err *seal_key(struct catalog *catalog, const struct uuid *who, const char *field,
                            const uint8_t key[CATALOG_KEY_BYTES],
                            uint8_t ret_sealed[CATALOG_SEALED_MAX], size_t *ret_size)
{
    char text[2 * CATALOG_KEY_BYTES + 1];
    text_format_hex(key, CATALOG_KEY_BYTES, text);
    struct err *e = catalog_seal(catalog, who, field, text, ret_sealed, ret_size);
    explicit_bzero(text, sizeof text);
    return e;
}

static struct err *unseal_key(struct catalog *catalog, const struct uuid *who, const char *field,
                              sqlite3_stmt *s, int column, uint8_t ret_key[CATALOG_KEY_BYTES])
{
    char text[CATALOG_SECRET_SIZE];
    TRY(catalog_unseal(catalog, who, field, sqlite3_column_blob(s, column),
                       (size_t)sqlite3_column_bytes(s, column), text));
    bool ok =
        strlen(text) == 2 * CATALOG_KEY_BYTES && text_parse_hex(text, ret_key, CATALOG_KEY_BYTES);
    explicit_bzero(text, sizeof text);
    return ok ? NULL : err_new(STATUS_BLOCK_CORRUPT, "the catalog holds an impossible %s", field);
}

struct err *catalog_put_credential(struct catalog *catalog, const struct catalog_credential *row)
{
    uint8_t sealed[CATALOG_SEALED_MAX];
    size_t size = 0;
    TRY(seal_key(catalog, &row->uuid, "credential", row->key, sealed, &size));
    return catalog_run(catalog,
                       "INSERT INTO credential(uuid, host, sealed_key, created_ns) VALUES(?,?,?,?)",
                       "uubi", &row->uuid, &row->host, sealed, size, row->created_ns);
}

struct err *catalog_delete_credential(struct catalog *catalog, const struct uuid *uuid)
{
    return catalog_run(catalog, "DELETE FROM credential WHERE uuid = ?", "u", uuid);
}

struct err *catalog_put_enrolment(struct catalog *catalog, const struct catalog_enrolment *row)
{
    uint8_t sealed[CATALOG_SEALED_MAX];
    size_t size = 0;
    TRY(seal_key(catalog, &row->uuid, "enrolment", row->secret, sealed, &size));
    return catalog_run(catalog,
                       "INSERT INTO enrolment(uuid, host, sealed_secret, replaces, expires_ns,"
                       " created_ns) VALUES(?,?,?,?,?,?)",
                       "uubiii", &row->uuid, &row->host, sealed, size, (uint64_t)row->replace,
                       row->expires_ns, row->created_ns);
}

struct err *catalog_delete_enrolment(struct catalog *catalog, const struct uuid *uuid)
{
    return catalog_run(catalog, "DELETE FROM enrolment WHERE uuid = ?", "u", uuid);
}

/* ---- Loading ---- */

struct load {
    struct catalog *catalog;
    const struct catalog_host_reader *reader;
    void *arg;
};

static struct err *load_group(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_group row = {.created_ns = take_u64(s, 2)};
    if (!take_uuid(s, 0, &row.uuid)) return catalog_damaged("group");
    snprintf(row.name, sizeof row.name, "%s", (const char *)sqlite3_column_text(s, 1));
    return load->reader->group(load->arg, &row);
}

static struct err *load_member(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct uuid host, group;
    if (!take_uuid(s, 0, &host) || !take_uuid(s, 1, &group))
        return catalog_damaged("member of a group");
    return load->reader->member(load->arg, &host, &group);
}

static struct err *load_grant(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_grant row = {.created_ns = take_u64(s, 2)};
    if (!take_uuid(s, 0, &row.to) || !take_uuid(s, 1, &row.from)) return catalog_damaged("grant");
    return load->reader->grant(load->arg, &row);
}

static struct err *load_owner(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct uuid set, owner;
    if (!take_uuid(s, 0, &set) || !take_uuid(s, 1, &owner))
        return catalog_damaged("owner of a set");
    return load->reader->owner(load->arg, &set, &owner);
}

static struct err *load_credential(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_credential row = {.created_ns = take_u64(s, 3)};
    if (!take_uuid(s, 0, &row.uuid) || !take_uuid(s, 1, &row.host))
        return catalog_damaged("credential");
    TRY(unseal_key(load->catalog, &row.uuid, "credential", s, 2, row.key));
    struct err *e = load->reader->credential(load->arg, &row);
    explicit_bzero(row.key, sizeof row.key);
    return e;
}

static struct err *load_enrolment(void *arg, sqlite3_stmt *s)
{
    struct load *load = arg;
    struct catalog_enrolment row = {
        .replace = take_u64(s, 3) != 0, .expires_ns = take_u64(s, 4), .created_ns = take_u64(s, 5)};
    if (!take_uuid(s, 0, &row.uuid) || !take_uuid(s, 1, &row.host))
        return catalog_damaged("enrolment");
    TRY(unseal_key(load->catalog, &row.uuid, "enrolment", s, 2, row.secret));
    struct err *e = load->reader->enrolment(load->arg, &row);
    explicit_bzero(row.secret, sizeof row.secret);
    return e;
}

struct err *catalog_load_hosts(struct catalog *catalog, const struct catalog_host_reader *reader,
                               void *arg)
{
    struct load load = {.catalog = catalog, .reader = reader, .arg = arg};
    TRY(catalog_each_row(catalog,
                         "SELECT uuid, name, created_ns FROM host_group ORDER BY created_ns, uuid",
                         load_group, &load));
    TRY(catalog_each_row(catalog, "SELECT host, host_group FROM group_member", load_member, &load));
    TRY(catalog_each_row(catalog,
                         "SELECT grantee, owner, created_ns FROM import_grant ORDER BY created_ns",
                         load_grant, &load));
    TRY(catalog_each_row(catalog, "SELECT point_set, owner FROM set_owner", load_owner, &load));
    TRY(catalog_each_row(catalog,
                         "SELECT uuid, host, sealed_key, created_ns FROM credential"
                         " ORDER BY created_ns, uuid",
                         load_credential, &load));
    return catalog_each_row(catalog,
                            "SELECT uuid, host, sealed_secret, replaces, expires_ns, created_ns"
                            " FROM enrolment ORDER BY created_ns, uuid",
                            load_enrolment, &load);
}
