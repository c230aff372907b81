/* Rows of what snapshots and disks go through: undo points, the clock of retention,
 * events. */
#include <string.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/endian.h"
#include "base/text.h"
#include "catalog/catalog_int.h"

struct err *catalog_put_undo(struct catalog *catalog, const struct catalog_undo *row)
{
    return catalog_run(
        catalog,
        "INSERT INTO undo(uuid, disk, name, state, cause, size_bytes, made_ns, expires_ns)"
        " VALUES(?,?,?,?,?,?,?,?) ON CONFLICT(uuid) DO UPDATE SET state = excluded.state,"
        " size_bytes = excluded.size_bytes, expires_ns = excluded.expires_ns",
        "uutttiii", &row->uuid, &row->disk, row->name, catalog_snapshot_state_name(row->state),
        row->cause, row->size_bytes, row->made_ns, row->expires_ns);
}

struct err *catalog_delete_undo(struct catalog *catalog, const struct uuid *uuid)
{
    return catalog_run(catalog, "DELETE FROM undo WHERE uuid = ?", "u", uuid);
}

struct err *catalog_put_clock(struct catalog *catalog, const struct catalog_clock *row)
{
    return catalog_run(catalog, "UPDATE server SET clock_ns = ?, clock_slack_ns = ?", "ii",
                       row->now_ns, row->slack_ns);
}

struct err *catalog_put_settings(struct catalog *catalog, const struct catalog_settings *row)
{
    return catalog_run(catalog, "UPDATE server SET trash_s = ?, recovery_bytes = ?, remove_stale_s = ?",
                       "iii", row->trash_s, row->recovery_bytes, row->remove_stale_s);
}

struct err *catalog_put_registrations(struct catalog *catalog, const struct uuid *object,
                                      const struct catalog_registration *rows, unsigned count)
{
    TRY(catalog_run(catalog, "DELETE FROM registration WHERE object = ?", "u", object));
    for (unsigned i = 0; i < count; i++) {
        uint8_t key[8];
        char text[2 * sizeof key + 1];
        store_be64(key, rows[i].key);
        TRY(catalog_run(catalog,
                        "INSERT INTO registration(object, position, initiator, isid, port, key, holds)"
                        " VALUES(?,?,?,?,?,?,?)",
                        "uitbiti", object, (uint64_t)i, rows[i].initiator, rows[i].isid,
                        sizeof rows[i].isid, (uint64_t)rows[i].port,
                        text_format_hex(key, sizeof key, text), (uint64_t)rows[i].holds));
    }
    return NULL;
}

/* ---- Events ---- */

enum { NOTICES_KEPT = 10000 };

static const char *const level_names[] = {"info", "warning", "alert"};
check_static(countof(level_names) == LEVEL_COUNT);

const char *catalog_level_name(enum catalog_level level)
{
    return level_names[level];
}

struct err *catalog_add_notice(struct catalog *catalog, const struct catalog_notice *row)
{
    TRY(catalog_run(
        catalog, "INSERT INTO event(at_ns, level, kind, object, text) VALUES(?,?,?,?,?)", "itttt",
        row->at_ns, level_names[row->level], row->kind, row->object, row->text));
    return catalog_run(catalog,
                       "DELETE FROM event WHERE sequence <= (SELECT max(sequence) FROM event) - ?",
                       "i", (uint64_t)NOTICES_KEPT);
}

static const char *text_of(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text ? text : "";
}

static void give_notice(sqlite3_stmt *statement,
                        void (*fn)(void *arg, const struct catalog_notice *row), void *arg)
{
    struct catalog_notice row = {.sequence = (uint64_t)sqlite3_column_int64(statement, 0),
                                 .at_ns = (uint64_t)sqlite3_column_int64(statement, 1),
                                 .kind = text_of(statement, 3),
                                 .object = text_of(statement, 4),
                                 .text = text_of(statement, 5)};
    while (row.level < LEVEL_ALERT && strcmp(text_of(statement, 2), level_names[row.level]) != 0)
        row.level++;
    fn(arg, &row);
}

struct err *catalog_notices(struct catalog *catalog, uint64_t limit,
                            void (*fn)(void *arg, const struct catalog_notice *row), void *arg)
{
    sqlite3_stmt *statement = NULL;
    TRY(catalog_query(catalog, &statement,
                      "SELECT sequence, at_ns, level, kind, object, text FROM event"
                      " ORDER BY sequence DESC LIMIT ?",
                      "i", limit));
    bool row = false;
    struct err *e = catalog_step(catalog, statement, &row);
    while (!e && row) {
        give_notice(statement, fn, arg);
        e = catalog_step(catalog, statement, &row);
    }
    sqlite3_finalize(statement);
    return e;
}
