/*
 * views.c - what people see of each answer: lists as tables, objects as labelled lines, changes as
 * a sentence.
 *
 * One row per column or line; a cell is the text that a formatter makes of one member of the
 * object.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/cli_int.h"

enum cell_flags { RIGHT = 1, IF_ANY = 2 };

typedef void format_fn(const json_t *object, const char *key, char text[CLI_CELL_MAX]);

struct cell {
    const char *title, *key;
    format_fn *format;
    unsigned flags;
};

struct section {
    const char *title, *key; /* an array of objects inside the object shown */
    const struct cell *cells;
};

struct view {
    const char *noun, *list_key;
    const struct cell *columns, *lines;
    struct section sections[3];
    const char *when_empty;
};

/* ---- Formatters ---- */

static void put_text(char text[CLI_CELL_MAX], const char *value)
{
    snprintf(text, CLI_CELL_MAX, "%s", value ? value : "");
}

static void as_text(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    const json_t *value = json_object_get(object, key);
    text[0] = '\0';
    if (json_is_string(value))
        put_text(text, json_string_value(value));
    else if (json_is_integer(value)) {
        snprintf(text, CLI_CELL_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    }
}

/* "pool_create" as it is typed */
static void as_verb(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    as_text(object, key, text);
    for (char *at = text; *at; at++) {
        if (*at == '_') *at = ' ';
    }
}

static void as_size(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    char size[TEXT_SIZE_MAX];
    const json_t *value = json_object_get(object, key);
    put_text(text, json_is_integer(value)
                       ? text_format_size((uint64_t)json_integer_value(value), size)
                       : NULL);
}

/* Before the cut there is nothing to be consistent. */
static void as_consistency(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    const json_t *value = json_object_get(object, key);
    bool is_cut = json_is_string(json_object_get(object, "cut_at"));
    put_text(text, json_is_true(value) ? "application" : is_cut ? "crash" : NULL);
}

static void as_access(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    put_text(text, json_is_true(json_object_get(object, key)) ? "read-only" : "read-write");
}

static void as_ms(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    char duration[TEXT_SIZE_MAX];
    const json_t *value = json_object_get(object, key);
    put_text(text,
             json_is_integer(value)
                 ? text_format_duration((uint64_t)json_integer_value(value) * 1000000, duration)
                 : NULL);
}

static void as_ns(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    char duration[TEXT_SIZE_MAX];
    const json_t *value = json_object_get(object, key);
    put_text(text, json_is_integer(value)
                       ? text_format_duration((uint64_t)json_integer_value(value), duration)
                       : NULL);
}

static void as_percent(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    as_text(object, key, text);
    if (text[0])
        snprintf(text, CLI_CELL_MAX, "%" JSON_INTEGER_FORMAT " %%",
                 json_integer_value(json_object_get(object, key)));
}

static void as_seconds(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    char age[TEXT_SIZE_MAX];
    const json_t *value = json_object_get(object, key);
    put_text(text, json_is_integer(value)
                       ? text_format_age((uint64_t)json_integer_value(value) * 1000000000, age)
                       : NULL);
}

/* "2026-11-22T15:44:47Z (12 min ago)" */
static void as_time(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    const char *value = json_string_value(json_object_get(object, key));
    struct tm parts = {0};
    put_text(text, value);
    if (!value || !strptime(value, "%Y-%m-%dT%H:%M:%S", &parts)) return;
    long long age = (long long)time(NULL) - (long long)timegm(&parts);
    size_t used = strlen(text);
    if (age < 0 || used > CLI_CELL_MAX - 40) return;
    const char *unit = age < 120 ? "s" : age < 7200 ? "min" : age < 172800 ? "h" : "days";
    long long count = age < 120      ? age
                      : age < 7200   ? age / 60
                      : age < 172800 ? age / 3600
                                     : age / 86400;
    snprintf(text + used, CLI_CELL_MAX - used, " (%lld %s ago)", count, unit);
}

static void as_used(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    char size[TEXT_SIZE_MAX];
    const json_t *used = json_object_get(object, key),
                 *capacity = json_object_get(object, "capacity_bytes");
    text[0] = '\0';
    if (!json_is_integer(used)) return;
    text_format_size((uint64_t)json_integer_value(used), size);
    if (json_integer_value(capacity) > 0) {
        double percent =
            100.0 * (double)json_integer_value(used) / (double)json_integer_value(capacity);
        snprintf(text, CLI_CELL_MAX, "%s (%.0f %%)", size, percent);
    } else {
        put_text(text, size);
    }
}

/* "data, wal"; of a list of objects the member "disk" or "initiator", of a list of maps "web1:3 ro"
 */
static void as_names(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    const json_t *list = json_object_get(object, key);
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(list) && used < CLI_CELL_MAX - 1; i++) {
        const json_t *item = json_array_get(list, i);
        const char *name = json_string_value(item);
        const char *host = json_string_value(json_object_get(item, "host"));
        const char *comma = used ? ", " : "";
        int wrote;
        if (host) {
            wrote = snprintf(text + used, CLI_CELL_MAX - used, "%s%s:%" JSON_INTEGER_FORMAT "%s",
                             comma, host, json_integer_value(json_object_get(item, "lun")),
                             json_is_true(json_object_get(item, "read_only")) ? " ro" : "");
        } else {
            wrote = snprintf(text + used, CLI_CELL_MAX - used, "%s%s", comma, name ? name : "?");
        }
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

static void as_count(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    snprintf(text, CLI_CELL_MAX, "%zu", json_array_size(json_object_get(object, key)));
}

/* Of a job: "42 %" or its error. */
static void as_progress(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    const json_t *error = json_object_get(object, "error");
    json_int_t done = json_integer_value(json_object_get(object, key));
    json_int_t total = json_integer_value(json_object_get(object, "total_bytes"));
    text[0] = '\0';
    if (json_is_object(error))
        put_text(text, json_string_value(json_object_get(error, "message")));
    else if (total > 0)
        snprintf(text, CLI_CELL_MAX, "%.0f %%", 100.0 * (double)done / (double)total);
}

/* "3600 s: confirm it with ..." */
static void as_jump(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    text[0] = '\0';
    if (!json_is_true(json_object_get(object, "jump_pending"))) return;
    snprintf(text, CLI_CELL_MAX,
             "the wall clock is %" JSON_INTEGER_FORMAT
             " s ahead; if that is right: tarn server clock --confirm",
             json_integer_value(json_object_get(object, key)));
}

static void as_from(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    as_text(object, key, text);
    if (!text[0]) as_text(object, "parent_disk", text);
}

/* Of a pool: "clean", or what was replayed. */
static void as_recovery(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    const json_t *r = json_object_get(object, key);
    char duration[TEXT_SIZE_MAX];
    text[0] = '\0';
    if (!json_is_object(r)) return;
    snprintf(text, CLI_CELL_MAX,
             "%s; %" JSON_INTEGER_FORMAT " batches replayed, %" JSON_INTEGER_FORMAT
             " blocks verified, %" JSON_INTEGER_FORMAT " cut, in %s",
             json_is_true(json_object_get(r, "clean")) ? "after a clean stop" : "after a crash",
             json_integer_value(json_object_get(r, "batches_replayed")),
             json_integer_value(json_object_get(r, "blocks_verified")),
             json_integer_value(json_object_get(r, "batches_cut")),
             text_format_duration((uint64_t)json_integer_value(json_object_get(r, "duration_ns")),
                                  duration));
}

static void as_json(const json_t *object, const char *key, char text[CLI_CELL_MAX])
{
    char *dump = json_dumps(json_object_get(object, key), JSON_COMPACT | JSON_SORT_KEYS);
    put_text(text, dump);
    free(dump);
}

/* ---- The views ---- */

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, NULL, 0                                                                        \
    }

static const struct cell server_lines[] = {{"name", "name", as_text, 0},
                                           {"version", "version", as_text, 0},
                                           {"id", "uuid", as_text, 0},
                                           {"iSCSI target", "target_name", as_text, 0},
                                           {"portals", "portals", as_names, 0},
                                           {"started", "started_at", as_time, 0},
                                           {"pools", "pool_count", as_text, 0},
                                           {"disks", "disk_count", as_text, 0},
                                           {"hosts", "host_count", as_text, 0},
                                           {"sessions", "session_count", as_text, 0},
                                           {"trash kept for", "trash_kept_s", as_seconds, 0},
                                           END};

static const struct cell clock_lines[] = {{"server's clock", "clock_at", as_time, 0},
                                          {"wall clock", "wall_at", as_time, 0},
                                          {"unconfirmed jump", "jump_s", as_jump, IF_ANY},
                                          END};

static const struct cell pool_columns[] = {{"NAME", "name", as_text, 0},
                                           {"STATE", "state", as_text, 0},
                                           {"SIZE", "size_bytes", as_size, RIGHT},
                                           {"USED", "used_bytes", as_used, RIGHT},
                                           {"FREE", "free_bytes", as_size, RIGHT},
                                           {"DISKS", "disk_count", as_text, RIGHT},
                                           {"SNAPSHOTS", "snapshot_count", as_text, RIGHT},
                                           {"FILE", "path", as_text, 0},
                                           {"TROUBLE", "trouble", as_text, IF_ANY},
                                           END};
static const struct cell pool_lines[] = {{"name", "name", as_text, 0},
                                         {"id", "uuid", as_text, 0},
                                         {"state", "state", as_text, 0},
                                         {"trouble", "trouble", as_text, IF_ANY},
                                         {"file", "path", as_text, 0},
                                         {"size", "size_bytes", as_size, 0},
                                         {"for data", "capacity_bytes", as_size, 0},
                                         {"used", "used_bytes", as_used, 0},
                                         {"  data", "data_bytes", as_size, 0},
                                         {"  metadata", "metadata_bytes", as_size, 0},
                                         {"  coming back", "reclaiming_bytes", as_size, 0},
                                         {"reserved", "reserved_bytes", as_size, 0},
                                         {"free", "free_bytes", as_size, 0},
                                         {"warns at", "warn_percent", as_percent, IF_ANY},
                                         {"disks", "disk_count", as_text, 0},
                                         {"snapshots", "snapshot_count", as_text, 0},
                                         {"made", "created_at", as_time, 0},
                                         {"last start", "recovery", as_recovery, IF_ANY},
                                         END};
static const struct cell unclaimed_columns[] = {
    {"POINT", "uuid", as_text, 0},        {"DISK", "disk_uuid", as_text, 0},
    {"SET", "set_uuid", as_text, IF_ANY}, {"GENERATION", "generation", as_text, RIGHT},
    {"CUT", "cut_at", as_time, 0},        END};

static const struct cell disk_columns[] = {{"NAME", "name", as_text, 0},
                                           {"POOL", "pool", as_text, 0},
                                           {"STATE", "state", as_text, 0},
                                           {"SIZE", "size_bytes", as_size, RIGHT},
                                           {"USED", "used_bytes", as_size, RIGHT},
                                           {"SNAPSHOTS", "snapshot_count", as_text, RIGHT},
                                           {"BRANCH OF", "parent_snapshot", as_from, IF_ANY},
                                           {"SERVED TO", "maps", as_names, 0},
                                           END};
static const struct cell disk_lines[] = {{"name", "name", as_text, 0},
                                         {"note", "note", as_text, IF_ANY},
                                         {"id", "uuid", as_text, 0},
                                         {"pool", "pool", as_text, 0},
                                         {"state", "state", as_text, 0},
                                         {"size", "size_bytes", as_size, 0},
                                         {"used", "used_bytes", as_size, 0},
                                         {"serial", "serial", as_text, 0},
                                         {"NAA", "naa", as_text, 0},
                                         {"branch of", "parent_snapshot", as_text, IF_ANY},
                                         {"of disk", "parent_disk", as_text, IF_ANY},
                                         {"snapshots", "snapshot_count", as_text, 0},
                                         {"served to", "maps", as_names, IF_ANY},
                                         {"made", "created_at", as_time, 0},
                                         END};
static const struct cell undo_columns[] = {{"NAME", "name", as_text, 0},
                                           {"MADE", "made_at", as_time, 0},
                                           {"BEFORE", "cause", as_text, 0},
                                           {"SIZE", "size_bytes", as_size, RIGHT},
                                           {"KEPT UNTIL", "expires_at", as_time, 0},
                                           END};

static const struct cell host_columns[] = {{"NAME", "name", as_text, 0},
                                           {"OS", "os", as_text, IF_ANY},
                                           {"AUTH", "auth", as_text, 0},
                                           {"SESSIONS", "session_count", as_text, RIGHT},
                                           {"LUNS", "luns", as_count, RIGHT},
                                           {"INITIATORS", "initiators", as_names, 0},
                                           END};
static const struct cell host_lines[] = {{"name", "name", as_text, 0},
                                         {"id", "uuid", as_text, 0},
                                         {"system", "os", as_text, IF_ANY},
                                         {"initiators", "initiators", as_names, 0},
                                         {"login", "auth", as_text, 0},
                                         {"CHAP user", "chap_user", as_text, IF_ANY},
                                         {"CHAP secret", "chap_secret", as_text, IF_ANY},
                                         {"mutual user", "mutual_user", as_text, IF_ANY},
                                         {"mutual secret", "mutual_secret", as_text, IF_ANY},
                                         {"group", "group", as_text, IF_ANY},
                                         {"sessions", "session_count", as_text, 0},
                                         {"made", "created_at", as_time, 0},
                                         END};
static const struct cell host_lun_columns[] = {{"LUN", "lun", as_text, RIGHT},
                                               {"KIND", "kind", as_text, 0},
                                               {"SERVES", "object", as_text, 0},
                                               {"ACCESS", "read_only", as_access, 0},
                                               END};
static const struct cell host_session_columns[] = {{"INITIATOR", "initiator", as_text, 0}, END};

static const struct cell map_columns[] = {
    {"HOST", "host", as_text, 0},          {"LUN", "lun", as_text, RIGHT},
    {"KIND", "kind", as_text, 0},          {"SERVES", "object", as_text, 0},
    {"ACCESS", "read_only", as_access, 0}, {"SIZE", "size_bytes", as_size, RIGHT},
    {"SERIAL", "serial", as_text, 0},      END};
static const struct cell map_lines[] = {{"host", "host", as_text, 0},
                                        {"note", "note", as_text, IF_ANY},
                                        {"LUN", "lun", as_text, 0},
                                        {"serves", "object", as_text, 0},
                                        {"kind", "kind", as_text, 0},
                                        {"access", "read_only", as_access, 0},
                                        {"size", "size_bytes", as_size, 0},
                                        {"serial", "serial", as_text, 0},
                                        {"NAA", "naa", as_text, 0},
                                        END};

static const struct cell set_columns[] = {
    {"NAME", "name", as_text, 0},
    {"STATE", "state", as_text, 0},
    {"DISKS", "disks", as_names, 0},
    {"UNDECIDED", "undecided", as_text, IF_ANY},
    {"HOST", "host", as_text, IF_ANY},
    {"CUT", "cut_at", as_time, 0},
    {"CONSISTENT", "application_consistent", as_consistency, 0},
    {"LEASE LEFT", "lease_left_ms", as_ms, IF_ANY},
    END};
static const struct cell set_lines[] = {
    {"name", "name", as_text, 0},
    {"id", "uuid", as_text, 0},
    {"state", "state", as_text, 0},
    {"undecided", "undecided", as_text, IF_ANY},
    {"pool", "pools", as_names, 0},
    {"host", "host", as_text, IF_ANY},
    {"cut", "cut_at", as_time, IF_ANY},
    {"commit took", "commit_ns", as_ns, IF_ANY},
    {"consistent", "application_consistent", as_consistency, IF_ANY},
    {"generation", "generation", as_text, IF_ANY},
    {"lease left", "lease_left_ms", as_ms, IF_ANY},
    {"armed for", "armed_left_ms", as_ms, IF_ANY},
    {"belongs to", "owner", as_text, IF_ANY},
    {"made by", "created_by", as_text, 0},
    {"made", "created_at", as_time, 0},
    END};
static const struct cell member_columns[] = {
    {"DISK", "disk", as_text, 0},           {"SNAPSHOT", "snapshot", as_text, 0},
    {"SIZE", "size_bytes", as_size, RIGHT}, {"LUN", "lun", as_text, RIGHT | IF_ANY},
    {"SERIAL", "serial", as_text, 0},       END};
static const struct cell import_columns[] = {{"HOST", "host", as_text, 0},
                                             {"STATE", "state", as_text, 0},
                                             {"SINCE", "at", as_time, 0},
                                             END};
static const struct cell history_columns[] = {
    {"STATE", "state", as_text, 0}, {"SINCE", "at", as_time, 0}, END};

static const struct cell snapshot_columns[] = {
    {"NAME", "name", as_text, 0},
    {"DISK", "disk", as_text, 0},
    {"STATE", "state", as_text, 0},
    {"TYPE", "type", as_text, IF_ANY},
    {"SIZE", "size_bytes", as_size, RIGHT},
    {"CUT", "cut_at", as_time, 0},
    {"CONSISTENT", "application_consistent", as_consistency, 0},
    {"BRANCHES", "branch_count", as_text, RIGHT},
    {"SERVED TO", "maps", as_names, IF_ANY},
    END};
static const struct cell snapshot_lines[] = {
    {"name", "name", as_text, 0},
    {"id", "uuid", as_text, 0},
    {"disk", "disk", as_text, 0},
    {"pool", "pool", as_text, 0},
    {"state", "state", as_text, 0},
    {"set", "set", as_text, IF_ANY},
    {"set is", "set_state", as_text, IF_ANY},
    {"size", "size_bytes", as_size, 0},
    {"cut", "cut_at", as_time, IF_ANY},
    {"generation", "generation", as_text, IF_ANY},
    {"consistent", "application_consistent", as_consistency, IF_ANY},
    {"serial", "serial", as_text, 0},
    {"NAA", "naa", as_text, 0},
    {"type", "type", as_text, IF_ANY},
    {"its own", "branch_bytes", as_size, IF_ANY},
    {"branches", "branch_count", as_text, 0},
    {"kept until", "retain_until", as_time, IF_ANY},
    {"verified", "verified_at", as_time, IF_ANY},
    {"SHA-256", "sha256", as_text, IF_ANY},
    {"served to", "maps", as_names, IF_ANY},
    END};

static const struct cell trash_columns[] = {{"NAME", "name", as_text, 0},
                                            {"KIND", "kind", as_text, 0},
                                            {"OF DISK", "disk", as_text, IF_ANY},
                                            {"POOL", "pool", as_text, 0},
                                            {"SIZE", "size_bytes", as_size, RIGHT},
                                            {"DELETED", "trashed_at", as_time, 0},
                                            {"KEPT UNTIL", "expires_at", as_time, 0},
                                            END};

static const struct cell event_columns[] = {
    {"AT", "at", as_time, 0},       {"LEVEL", "level", as_text, 0}, {"ABOUT", "kind", as_text, 0},
    {"NAME", "object", as_text, 0}, {"WHAT", "text", as_text, 0},   END};

static const struct cell job_columns[] = {{"ID", "id", as_text, 0},
                                          {"WORK", "verb", as_verb, 0},
                                          {"OBJECT", "object", as_text, 0},
                                          {"STATE", "state", as_text, 0},
                                          {"PROGRESS", "done_bytes", as_progress, 0},
                                          {"STARTED", "started_at", as_time, 0},
                                          END};
static const struct cell job_lines[] = {{"id", "id", as_text, 0},
                                        {"work", "verb", as_verb, 0},
                                        {"object", "object", as_text, 0},
                                        {"state", "state", as_text, 0},
                                        {"progress", "done_bytes", as_progress, IF_ANY},
                                        {"trouble", "trouble", as_text, IF_ANY},
                                        {"started", "started_at", as_time, 0},
                                        {"ended", "finished_at", as_time, IF_ANY},
                                        END};

static const struct cell token_columns[] = {{"NAME", "name", as_text, 0},
                                            {"ROLE", "role", as_text, 0},
                                            {"MADE", "created_at", as_time, 0},
                                            END};
static const struct cell token_lines[] = {{"name", "name", as_text, 0},
                                          {"role", "role", as_text, 0},
                                          {"token", "token", as_text, IF_ANY},
                                          {"made", "created_at", as_time, 0},
                                          END};

static const struct cell code_lines[] = {{"host", "host", as_text, 0},
                                         {"code", "code", as_text, 0},
                                         {"good until", "expires_at", as_text, 0},
                                         END};
static const struct cell credential_columns[] = {{"ID", "id", as_text, 0},
                                                 {"HOST", "host", as_text, 0},
                                                 {"KIND", "kind", as_text, 0},
                                                 {"MADE", "created_at", as_time, 0},
                                                 {"USED", "used_at", as_time, IF_ANY},
                                                 {"GOOD FOR", "expires_in_ms", as_ms, IF_ANY},
                                                 END};

static const struct cell group_columns[] = {{"NAME", "name", as_text, 0},
                                            {"HOSTS", "hosts", as_names, 0},
                                            {"IMPORTS FROM", "imports_from", as_names, IF_ANY},
                                            END};
static const struct cell group_lines[] = {{"name", "name", as_text, 0},
                                          {"id", "uuid", as_text, 0},
                                          {"hosts", "hosts", as_names, 0},
                                          {"imports from", "imports_from", as_names, IF_ANY},
                                          {"made", "created_at", as_time, 0},
                                          END};
static const struct cell grant_columns[] = {{"MAY IMPORT", "to", as_text, 0},
                                            {"SETS OF", "from", as_text, 0},
                                            {"SINCE", "created_at", as_time, 0},
                                            END};

static const struct cell audit_columns[] = {{"RECORD", "sequence", as_text, RIGHT},
                                            {"TIME", "at", as_time, 0},
                                            {"WHO", "actor", as_text, 0},
                                            {"WHAT", "verb", as_verb, 0},
                                            {"RESULT", "result", as_text, 0},
                                            {"ARGUMENTS", "arguments", as_json, 0},
                                            END};
static const struct cell audit_lines[] = {{"records", "records", as_text, 0},
                                          {"head", "head", as_text, 0},
                                          END};

static const struct view views[] = {
    {"server", NULL, NULL, server_lines, {{0}}, NULL},
    {"undo", "undo_points", undo_columns, NULL, {{0}}, "Nothing to undo."},
    {"clock", NULL, NULL, clock_lines, {{0}}, NULL},
    {"pool",
     "pools",
     pool_columns,
     pool_lines,
     {{"Points that the catalog does not know", "unclaimed", unclaimed_columns}},
     "No pool yet. Make one: tarn pool create NAME --file FILE --size SIZE"},
    {"disk",
     "disks",
     disk_columns,
     disk_lines,
     {{"Undo points", "undo_points", undo_columns}},
     "No disk yet. Make one: tarn disk create NAME --size SIZE"},
    {"host",
     "hosts",
     host_columns,
     host_lines,
     {{"Serves", "luns", host_lun_columns}, {"Sessions", "sessions", host_session_columns}},
     "No host yet. Register one: tarn host create NAME --initiator IQN"},
    {"map",
     "maps",
     map_columns,
     map_lines,
     {{0}},
     "Nothing is served. Serve a disk: tarn map add HOST DISK"},
    {"set",
     "sets",
     set_columns,
     set_lines,
     {{"Members", "members", member_columns},
      {"Hosts", "imports", import_columns},
      {"History", "history", history_columns}},
     "No snapshot set."},
    {"shadow",
     "sets",
     set_columns,
     set_lines,
     {{"Snapshots", "members", member_columns}},
     "No shadow copy yet. Make one: tarn shadow create MOUNT=DISK"},
    {"snapshot",
     "snapshots",
     snapshot_columns,
     snapshot_lines,
     {{0}},
     "No snapshot yet. Cut one: tarn snapshot create DISK --name NAME"},
    {"trash", "trash", trash_columns, NULL, {{0}}, "The trash is empty."},
    {"event", "events", event_columns, NULL, {{0}}, "No events."},
    {"job", "jobs", job_columns, job_lines, {{0}}, "No jobs."},
    {"token", "tokens", token_columns, token_lines, {{0}}, "No tokens."},
    {"code", NULL, NULL, code_lines, {{0}}, NULL},
    {"credential",
     "credentials",
     credential_columns,
     credential_columns,
     {{0}},
     "No host has a credential. Make a code for one: tarn host enrol HOST"},
    {"group",
     "groups",
     group_columns,
     group_lines,
     {{0}},
     "No group yet. Make one: tarn group create NAME --hosts HOST"},
    {"grant", "grants", grant_columns, grant_columns, {{0}}, "No group imports from another."},
    {"audit", "records", audit_columns, audit_lines, {{0}}, "No such record."},
};

static const struct view *view_of(const char *noun)
{
    for (size_t i = 0; i < countof(views); i++) {
        if (strcmp(views[i].noun, noun) == 0) return &views[i];
    }
    return NULL;
}

/* ---- Printing ---- */

static void print_rows(FILE *out, const struct cell *cells, const json_t *list, const char *indent)
{
    unsigned count = 0;
    while (cells[count].title)
        count++;
    struct cli_table *table = cli_table_create(count);
    for (unsigned c = 0; c < count; c++) {
        cli_table_add(table, cells[c].title);
        if (cells[c].flags & RIGHT) cli_table_set_right(table, c);
        if (cells[c].flags & IF_ANY) cli_table_drop_if_empty(table, c);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        for (unsigned c = 0; c < count; c++) {
            char text[CLI_CELL_MAX];
            cells[c].format(json_array_get(list, i), cells[c].key, text);
            cli_table_add(table, text);
        }
    }
    cli_table_print(table, out, indent);
    cli_table_destroy(table);
}

static void print_object(FILE *out, const struct view *view, const json_t *object)
{
    struct cli_table *table = cli_table_create(2);
    for (const struct cell *line = view->lines; line->title; line++) {
        char text[CLI_CELL_MAX];
        line->format(object, line->key, text);
        if (!text[0] && (line->flags & IF_ANY)) continue;
        cli_table_add(table, line->title);
        cli_table_add(table, text);
    }
    cli_table_print(table, out, "");
    cli_table_destroy(table);
    for (size_t i = 0; i < countof(view->sections) && view->sections[i].key; i++) {
        const json_t *list = json_object_get(object, view->sections[i].key);
        if (json_array_size(list) == 0) continue;
        fprintf(out, "\n%s\n", view->sections[i].title);
        print_rows(out, view->sections[i].cells, list, "  ");
    }
}

static void print_list(FILE *out, const struct view *view, const json_t *list)
{
    if (json_array_size(list) > 0)
        print_rows(out, view->columns, list, "");
    else
        fprintf(out, "%s\n", view->when_empty);
}

/* What came out of the trash, or went for good. */
static bool print_moved(FILE *out, const json_t *answer)
{
    const json_t *restored = json_object_get(answer, "restored"),
                 *emptied = json_object_get(answer, "emptied");
    const json_t *list = restored ? restored : emptied;
    if (!json_is_array(list)) return false;
    if (json_array_size(list) == 0) fputs("The trash is empty.\n", out);
    for (size_t i = 0; i < json_array_size(list); i++) {
        fprintf(out, "%s %s.\n", restored ? "Restored" : "Deleted for good:",
                json_string_value(json_array_get(list, i)) ?: "?");
    }
    return true;
}

static bool print_removed(FILE *out, const json_t *answer)
{
    const json_t *deleted = json_object_get(answer, "deleted");
    if (json_is_true(json_object_get(answer, "dry_run"))) {
        const json_t *would = json_object_get(answer, "would");
        bool is_empty = json_array_size(would) == 0;
        fputs(is_empty ? "It would change nothing.\n" : "Nothing was changed. It would:\n", out);
        for (size_t i = 0; i < json_array_size(would); i++) {
            fprintf(out, "  %s\n", json_string_value(json_array_get(would, i)) ?: "?");
        }
        return true;
    }
    if (print_moved(out, answer)) return true;
    if (!json_is_object(deleted)) return false;
    const char *kind = json_string_value(json_object_get(deleted, "kind"));
    const char *name = json_string_value(json_object_get(deleted, "name"));
    const char *host = json_string_value(json_object_get(deleted, "host"));
    if (host) {
        fprintf(out, "LUN %" JSON_INTEGER_FORMAT " is no longer served to %s.\n",
                json_integer_value(json_object_get(deleted, "lun")), host);
    } else {
        fprintf(out, "Deleted %s %s.\n", kind ? kind : "it:", name ? name : "");
    }
    const char *until = json_string_value(json_object_get(answer, "expires_at"));
    if (until) {
        fprintf(out, "It can be had back until %s: tarn trash restore %s\n", until,
                name ? name : "");
    }
    return true;
}

/* What follows a change, by verb: one sentence before the object. */
static const struct {
    const char *id, *sentence;
} sentences[] = {
    {"pool_create", "The pool is made and open."},
    {"disk_create", "The disk is made; serve it with: tarn map add HOST DISK"},
    {"disk_grow", "The disk is larger now."},
    {"disk_rename", "The disk has a new name."},
    {"disk_revert", "The disk has the content of the snapshot. To take that back: tarn disk undo"},
    {"disk_replace", "The disk has the content of the snapshot. To take that back: tarn disk undo"},
    {"disk_undo", "Undone. To take that back: tarn disk undo"},
    {"host_create", "The host may log in; serve it a disk with: tarn map add HOST DISK"},
    {"host_enrol", "On the host: tarn host redeem, or tarn-vss enrol. The code is shown only now:"},
    {"map_add", "Served."},
    {"set_prepare", "The set is prepared; next: tarn set arm, or tarn set abort"},
    {"snapshot_rename", "The snapshot has a new name."},
    {"snapshot_retain", "Kept."},
    {"snapshot_update", "Cut anew:"},
    {"set_update", "Cut anew:"},
    {"snapshot_branch", "The branch is made; it is a writable disk."},
    {"snapshot_create", "Cut:"},
    {"snapshot_promote", "The snapshot has a copy of its own of everything:"},
    {"snapshot_split", "The snapshot is an independent disk now:"},
    {"set_promote", "The snapshots have copies of their own of everything:"},
    {"set_split", "The snapshots are independent disks now:"},
    {"set_break", "The set is broken; its LUNs show independent disks:"},
    {"disk_promote", "The branch reads nothing from its snapshot any more:"},
    {"disk_split", "The disk is independent now:"},
    {"token_create", "The token is shown only now:"},
    {"audit_verify", "Every record is as it was written."},
};

/* What is wrong fails the job; here all that was judged is right. */
static void print_check(FILE *out, const json_t *result)
{
    long long unjudged = json_integer_value(json_object_get(result, "unjudged_leaves"));
    long long pages = json_integer_value(json_object_get(result, "unjudged_pages"));
    fprintf(out, "Clean: the allocation map and the block maps agree.\n");
    if (unjudged > 0 || pages > 0)
        fprintf(out,
                "Not judged: whether %lld leaves of maps keep what nothing needs; %lld stored pages. "
                "Check again later.\n",
                unjudged, pages);
}

static void print_job_result(FILE *out, const struct cli_row *verb, const json_t *job)
{
    const json_t *result = json_object_get(job, "result");
    if (json_is_object(result) && json_object_get(result, "clean")) {
        print_check(out, result);
    } else if (json_is_array(json_object_get(result, "disks"))) {
        size_t i;
        const json_t *disk;
        print_list(out, view_of("disk"), json_object_get(result, "disks"));
        json_array_foreach(json_object_get(result, "disks"), i, disk)
        {
            const char *note = json_string_value(json_object_get(disk, "note"));
            if (note)
                fprintf(out, "%s: %s\n", json_string_value(json_object_get(disk, "name")), note);
        }
    } else if (json_is_array(json_object_get(result, "snapshots"))) {
        print_list(out, view_of("snapshot"), json_object_get(result, "snapshots"));
    } else if (json_is_object(result)) {
        print_object(out, view_of(verb->noun), result);
    } else {
        print_object(out, view_of("job"), job);
    }
}

/* Answers that show something else than the verb's noun. */
static const struct view *view_of_answer(const struct cli_row *verb, const json_t *answer)
{
    if (strcmp(verb->id, "host_enrol") == 0) return view_of("code");
    if (strcmp(verb->id, "snapshot_branch") == 0) return view_of("disk"); /* a branch is a disk */
    if (strcmp(verb->id, "server_clock") == 0) return view_of("clock");
    if (strcmp(verb->id, "disk_undo") == 0 && !json_object_get(answer, "uuid"))
        return view_of("undo");
    return view_of(verb->noun);
}

void cli_view(FILE *out, const struct cli_row *verb, const json_t *answer)
{
    const struct view *view = view_of_answer(verb, answer);
    const json_t *list = view && view->list_key ? json_object_get(answer, view->list_key) : NULL;
    const json_t *job = json_object_get(answer, "job");
    if (print_removed(out, answer)) return;
    bool is_running =
        json_is_object(job) &&
        strcmp(json_string_value(json_object_get(job, "state")) ?: "", "running") == 0;
    for (size_t i = 0; i < countof(sentences) && !is_running && view != view_of("undo"); i++) {
        if (strcmp(sentences[i].id, verb->id) == 0) fprintf(out, "%s\n", sentences[i].sentence);
    }
    if (json_is_object(job))
        print_job_result(out, verb, job);
    else if (json_is_array(list))
        print_list(out, view, list);
    else if (view)
        print_object(out, view, answer);
}
