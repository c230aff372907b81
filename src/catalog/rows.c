/* One function per kind of row: writing and deleting, within a transaction. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "catalog/catalog_int.h"

enum { IDENTITY_TRIES = 16 };
#define IDEMPOTENCY_NS (24 * 3600 * RT_SECOND)

static const char *const state_names[] = {"creating", "ready", "deleting", "trashed"};
static const char *const kind_names[] = {"disk", "snapshot"};
static const char *const set_state_names[] = {"prepared", "armed",   "committed", "confirmed",
                                              "created",  "aborted", "deleting",  "trashed",
                                              "breaking", "broken"};
static const char *const snapshot_state_names[] = {"pending", "ready", "deleting", "trashed"};
static const char *const job_state_names[] = {"running", "paused", "done", "failed"};
static const char *const os_names[] = {"windows", "linux", "vmware", "other"};
static const char *const import_state_names[] = {"imported", "masked"};
check_static(countof(set_state_names) == SET_STATE_COUNT);
check_static(countof(job_state_names) == JOB_STATE_COUNT && countof(os_names) == OS_COUNT);

const char *catalog_state_name(enum catalog_state state)
{
    return state_names[state];
}

const char *catalog_kind_name(enum catalog_kind kind)
{
    return kind_names[kind];
}

const char *catalog_set_state_name(enum catalog_set_state state)
{
    return set_state_names[state];
}

const char *catalog_snapshot_state_name(enum catalog_snapshot_state state)
{
    return snapshot_state_names[state];
}

const char *catalog_job_state_name(enum catalog_job_state state)
{
    return job_state_names[state];
}

const char *catalog_os_name(enum catalog_os os)
{
    return os_names[os];
}

const char *catalog_import_state_name(enum catalog_import_state state)
{
    return import_state_names[state];
}

static char *naa_text(const uint8_t naa[CATALOG_NAA_BYTES], char text[2 * CATALOG_NAA_BYTES + 1])
{
    return text_format_hex(naa, CATALOG_NAA_BYTES, text);
}

struct err *catalog_put_pool(struct catalog *catalog, const struct catalog_pool *row)
{
    return catalog_run(
        catalog,
        "INSERT INTO pool(uuid, name, path, state, created_ns, warn_percent) VALUES(?,?,?,?,?,?)"
        " ON CONFLICT(uuid) DO UPDATE SET name = excluded.name, state = excluded.state,"
        " warn_percent = excluded.warn_percent",
        "utttii", &row->uuid, row->name, row->path, state_names[row->state], row->created_ns,
        (uint64_t)(row->warn_percent ? row->warn_percent : CATALOG_WARN_PERCENT));
}

struct err *catalog_put_disk(struct catalog *catalog, const struct catalog_disk *row)
{
    char naa[2 * CATALOG_NAA_BYTES + 1];
    return catalog_run(
        catalog,
        "INSERT INTO disk(uuid, pool, name, state, size_bytes, naa, parent_point,"
        " created_ns, trashed_ns, expires_ns) VALUES(?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT(uuid) DO UPDATE SET name = excluded.name, state = excluded.state,"
        " size_bytes = excluded.size_bytes, trashed_ns = excluded.trashed_ns,"
        " expires_ns = excluded.expires_ns, parent_point = excluded.parent_point",
        "uuttituiii", &row->uuid, &row->pool, row->name, state_names[row->state], row->size_bytes,
        naa_text(row->naa, naa), &row->parent_point, row->created_ns, row->trashed_ns,
        row->expires_ns);
}

struct err *catalog_put_host(struct catalog *catalog, const struct catalog_host *row)
{
    uint8_t chap[CATALOG_SEALED_MAX], mutual[CATALOG_SEALED_MAX];
    size_t chap_size = 0, mutual_size = 0;
    TRY(catalog_seal(catalog, &row->uuid, "chap", row->chap_secret, chap, &chap_size));
    TRY(catalog_seal(catalog, &row->uuid, "mutual", row->mutual_secret, mutual, &mutual_size));
    TRY(catalog_run(catalog,
                    "INSERT INTO host(uuid, name, auth, chap_user, chap_secret, mutual_user,"
                    " mutual_secret, created_ns, os) VALUES(?,?,?,?,?,?,?,?,?)"
                    " ON CONFLICT(uuid) DO UPDATE SET name = excluded.name, auth = excluded.auth,"
                    " chap_user = excluded.chap_user, chap_secret = excluded.chap_secret,"
                    " mutual_user = excluded.mutual_user, mutual_secret = excluded.mutual_secret,"
                    " os = excluded.os",
                    "utttbtbit", &row->uuid, row->name, row->auth, row->chap_user, chap, chap_size,
                    row->mutual_user, mutual, mutual_size, row->created_ns, os_names[row->os]));
    TRY(catalog_run(catalog, "DELETE FROM initiator WHERE host = ?", "u", &row->uuid));
    for (unsigned i = 0; i < row->initiator_count; i++) {
        TRY(catalog_run(catalog, "INSERT INTO initiator(name, host) VALUES(?,?)", "tu",
                        row->initiators[i], &row->uuid));
    }
    return NULL;
}

struct err *catalog_put_set(struct catalog *catalog, const struct catalog_set *row)
{
    return catalog_run(
        catalog,
        "INSERT INTO point_set(uuid, pool, name, state, host, lease_s, generation, cut_ns, "
        "commit_ns,"
        " application_consistent, created_by, created_ns, volatile, transportable, vss,"
        " wants_full) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT(uuid) DO UPDATE SET name = excluded.name, state = excluded.state,"
        " host = excluded.host, generation = excluded.generation, cut_ns = excluded.cut_ns,"
        " commit_ns = excluded.commit_ns, application_consistent = excluded.application_consistent",
        "uuttuiiiiitiiiii", &row->uuid, &row->pool, row->name, set_state_names[row->state], &row->host,
        row->lease_s, row->generation, row->cut_ns, row->commit_ns,
        (uint64_t)row->application_consistent, row->created_by, row->created_ns,
        (uint64_t)row->is_volatile, (uint64_t)row->transportable, (uint64_t)row->vss, (uint64_t)row->wants_full);
}

struct err *catalog_put_snapshot(struct catalog *catalog, const struct catalog_snapshot *row)
{
    char naa[2 * CATALOG_NAA_BYTES + 1];
    return catalog_run(
        catalog,
        "INSERT INTO snapshot(uuid, point_set, disk, name, state, size_bytes, naa, lun, position,"
        " point, other_point, trashed_ns, expires_ns, retain_until_ns, sha256, verified_ns,"
        " is_full, branch_used) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " ON CONFLICT(uuid) DO UPDATE SET name = excluded.name, state = excluded.state,"
        " lun = excluded.lun, size_bytes = excluded.size_bytes, point = excluded.point,"
        " other_point = excluded.other_point, trashed_ns = excluded.trashed_ns,"
        " expires_ns = excluded.expires_ns, retain_until_ns = excluded.retain_until_ns,"
        " sha256 = excluded.sha256, verified_ns = excluded.verified_ns,"
        " is_full = excluded.is_full, branch_used = excluded.branch_used",
        "uuuttitiiuuiiibiii", &row->uuid, &row->set, &row->disk, row->name,
        snapshot_state_names[row->state], row->size_bytes, naa_text(row->naa, naa),
        (int64_t)row->lun, (uint64_t)row->position, &row->point, &row->other_point, row->trashed_ns,
        row->expires_ns, row->retain_until_ns, row->sha256,
        row->has_sha256 ? sizeof row->sha256 : 0, row->verified_ns,
        (uint64_t)row->is_full, (uint64_t)row->branch_used);
}

struct err *catalog_put_snapshot_view(struct catalog *catalog, const struct uuid *snapshot,
                                      const struct uuid *view)
{
    return catalog_run(catalog, "UPDATE snapshot SET view = ? WHERE uuid = ?", "uu", view, snapshot);
}

struct err *catalog_put_token(struct catalog *catalog, const struct catalog_token *row)
{
    return catalog_run(
        catalog, "INSERT INTO token(uuid, name, role, hash, created_ns) VALUES(?,?,?,?,?)", "uttbi",
        &row->uuid, row->name, row->role, row->hash, sizeof row->hash, row->created_ns);
}

struct err *catalog_put_job(struct catalog *catalog, const struct catalog_job *row)
{
    return catalog_run(
        catalog,
        "INSERT INTO job(uuid, verb, object, state, started_ns, finished_ns, answer, work)"
        " VALUES(?,?,?,?,?,?,?,?) ON CONFLICT(uuid) DO UPDATE SET state = excluded.state,"
        " finished_ns = excluded.finished_ns, answer = excluded.answer",
        "utttiitt", &row->uuid, row->verb, row->object, job_state_names[row->state], row->started_ns,
        row->finished_ns, row->answer ? row->answer : "", row->work ? row->work : "");
}

struct err *catalog_add_event(struct catalog *catalog, const struct catalog_event *row)
{
    return catalog_run(
        catalog,
        "INSERT OR REPLACE INTO set_history(point_set, sequence, state, at_ns) VALUES(?,?,?,?)",
        "uiti", &row->set, (uint64_t)row->sequence, set_state_names[row->state], row->at_ns);
}

struct err *catalog_add_map(struct catalog *catalog, const struct catalog_map *row)
{
    TRY(catalog_run(catalog, "DELETE FROM lun_slot WHERE host = ? AND lun = ?", "ui", &row->host,
                    (uint64_t)row->lun));
    return catalog_run(catalog,
                       "INSERT INTO map(host, lun, kind, object, read_only, created_ns,"
                       " keep_vss_flags) VALUES(?,?,?,?,?,?,?)",
                       "uituiii", &row->host, (uint64_t)row->lun, kind_names[row->kind],
                       &row->object, (uint64_t)row->read_only, row->created_ns,
                       (uint64_t)row->keep_vss_flags);
}

struct err *catalog_maps_become_disk(struct catalog *catalog, const struct uuid *object,
                                     bool writable)
{
    return catalog_run(catalog,
                       "UPDATE map SET kind = 'disk',"
                       " read_only = CASE WHEN ? THEN 0 ELSE read_only END WHERE object = ?",
                       "iu", (uint64_t)writable, object);
}

struct err *catalog_put_import(struct catalog *catalog, const struct catalog_import *row)
{
    return catalog_run(
        catalog, "INSERT OR REPLACE INTO set_import(point_set, host, state, at_ns) VALUES(?,?,?,?)",
        "uuti", &row->set, &row->host, import_state_names[row->state], row->at_ns);
}

struct err *catalog_remove_map(struct catalog *catalog, struct catalog_slot *slot)
{
    TRY(catalog_run(catalog, "DELETE FROM map WHERE host = ? AND lun = ?", "ui", &slot->host,
                    (uint64_t)slot->lun));
    TRY(catalog_run(catalog, "UPDATE server SET freed_sequence = freed_sequence + 1", ""));
    sqlite3_stmt *statement = NULL;
    TRY(catalog_query(catalog, &statement, "SELECT freed_sequence FROM server", ""));
    bool row = false;
    struct err *e = catalog_step(catalog, statement, &row);
    if (!e && row) slot->freed_sequence = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    if (e) return e;
    return catalog_run(
        catalog,
        "INSERT OR REPLACE INTO lun_slot(host, lun, object, freed_sequence, freed_ns)"
        " VALUES(?,?,?,?,?)",
        "uiuii", &slot->host, (uint64_t)slot->lun, &slot->object, slot->freed_sequence,
        slot->freed_ns);
}

struct err *catalog_delete_pool(struct catalog *catalog, const struct uuid *uuid)
{
    TRY(catalog_run(catalog, "DELETE FROM point_set WHERE pool = ? AND state IN ('aborted', 'broken')", "u",
                    uuid));
    /* A set over several pools whose members here have gone. */
    TRY(catalog_run(catalog,
                    "UPDATE point_set SET pool = (SELECT disk.pool FROM snapshot JOIN disk"
                    " ON disk.uuid = snapshot.disk WHERE snapshot.point_set = point_set.uuid"
                    " ORDER BY snapshot.position LIMIT 1) WHERE pool = ?",
                    "u", uuid));
    return catalog_run(catalog, "DELETE FROM pool WHERE uuid = ?", "u", uuid);
}

struct err *catalog_delete_disk(struct catalog *catalog, const struct uuid *uuid)
{
    TRY(catalog_put_registrations(catalog, uuid, NULL, 0));
    return catalog_run(catalog, "DELETE FROM disk WHERE uuid = ?", "u", uuid);
}

struct err *catalog_delete_host(struct catalog *catalog, const struct uuid *uuid)
{
    TRY(catalog_run(catalog,
                    "UPDATE snapshot SET lun = -1"
                    " WHERE point_set IN (SELECT uuid FROM point_set WHERE host = ?)",
                    "u", uuid));
    TRY(catalog_run(catalog, "UPDATE point_set SET host = NULL WHERE host = ?", "u", uuid));
    return catalog_run(catalog, "DELETE FROM host WHERE uuid = ?", "u", uuid);
}

struct err *catalog_delete_set(struct catalog *catalog, const struct uuid *uuid)
{
    return catalog_run(catalog, "DELETE FROM point_set WHERE uuid = ?", "u", uuid);
}

struct err *catalog_delete_snapshot(struct catalog *catalog, const struct uuid *uuid)
{
    return catalog_run(catalog, "DELETE FROM snapshot WHERE uuid = ?", "u", uuid);
}

struct err *catalog_delete_token(struct catalog *catalog, const struct uuid *uuid)
{
    return catalog_run(catalog, "DELETE FROM token WHERE uuid = ?", "u", uuid);
}

struct err *catalog_delete_job(struct catalog *catalog, const struct uuid *uuid)
{
    return catalog_run(catalog, "DELETE FROM job WHERE uuid = ?", "u", uuid);
}

struct err *catalog_issue_identity(struct catalog *catalog, const struct uuid *object,
                                   uint64_t now_ns, uint8_t ret_naa[CATALOG_NAA_BYTES])
{
    char serial[33], text[2 * CATALOG_NAA_BYTES + 1];
    text_format_hex(object->bytes, sizeof object->bytes, serial);
    for (unsigned i = 0; i < IDENTITY_TRIES; i++) {
        uint8_t naa[CATALOG_NAA_BYTES];
        rt_random(catalog->rt, naa, sizeof naa);
        naa[0] = (uint8_t)(0x30 | (naa[0] & 0x0F)); /* NAA 3h: locally assigned, SPC-4 7.8.6.6.4 */
        struct err *e = catalog_run(catalog,
                                    "INSERT INTO identity_issued(naa, serial, object, issued_ns)"
                                    " VALUES(?,?,?,?)",
                                    "ttui", naa_text(naa, text), serial, object, now_ns);
        if (!e) {
            memcpy(ret_naa, naa, sizeof naa);
            return NULL;
        }
        if (err_status(e) != STATUS_EXISTS) return e;
        err_free(e);
    }
    return err_new(STATUS_EXISTS, "an identity was already issued for serial %s", serial);
}

static char *column_copy(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return strdup(text ? text : "");
}

struct err *catalog_find_idempotency(struct catalog *catalog, const char *key, const char *actor,
                                     uint64_t now_ns, char **ret_request, char **ret_status,
                                     char **ret_answer)
{
    uint64_t oldest = now_ns > IDEMPOTENCY_NS ? now_ns - IDEMPOTENCY_NS : 0;
    sqlite3_stmt *statement = NULL;
    TRY(catalog_query(catalog, &statement,
                      "SELECT request, status, answer FROM idempotency"
                      " WHERE key = ? AND actor = ? AND at_ns >= ?",
                      "tti", key, actor, oldest));
    bool row = false;
    struct err *e = catalog_step(catalog, statement, &row);
    *ret_request = !e && row ? column_copy(statement, 0) : NULL;
    *ret_status = !e && row ? column_copy(statement, 1) : NULL;
    *ret_answer = !e && row ? column_copy(statement, 2) : NULL;
    sqlite3_finalize(statement);
    return e;
}

struct err *catalog_put_idempotency(struct catalog *catalog, const struct catalog_idempotency *row)
{
    uint64_t oldest = row->at_ns > IDEMPOTENCY_NS ? row->at_ns - IDEMPOTENCY_NS : 0;
    TRY(catalog_run(catalog, "DELETE FROM idempotency WHERE at_ns < ?", "i", oldest));
    return catalog_run(
        catalog,
        "INSERT OR REPLACE INTO idempotency(key, actor, request, status, answer, at_ns)"
        " VALUES(?,?,?,?,?,?)",
        "ttttti", row->key, row->actor, row->request, row->status, row->answer, row->at_ns);
}
