/* Rows of what snapshots and disks go through: undo points, the clock of retention. */
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
    return catalog_run(catalog, "UPDATE server SET trash_s = ?, recovery_bytes = ?", "ii",
                       row->trash_s, row->recovery_bytes);
}
