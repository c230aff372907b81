/*
 * The audit: a table that only grows, each row bound to all before it.
 *
 *   chain(0) = SHA-256("tarn audit 1" NUL server id)
 *   chain(n) = SHA-256(chain(n-1) sequence at_ns  length actor  length verb  length arguments
 *              length result), numbers big-endian, 64 bits, lengths 32 bits
 *   head     = sequence and chain of the last row, with an HMAC-SHA-256 under the key file
 *
 * Sequences have no gaps.  What an edit of the table alone changes is found: the chain of that row
 * does not fit.  An edit of table and chain, or rows cut off at the end, does not fit the head, and
 * a head cannot be made without the key file.  What cannot be found from the inside: both files
 * rewritten with the key in hand, or both replaced by older copies of themselves; for those a head
 * that was noted elsewhere is compared (catalog_audit_verify's `noted`).
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "catalog/catalog_int.h"

static struct err *hash_error(int code)
{
    return err_new(STATUS_INTERNAL, "audit: %s", gnutls_strerror(code));
}

static struct err *chain_first(const struct uuid *server, uint8_t ret_chain[CATALOG_CHAIN_BYTES])
{
    static const char label[] = "tarn audit 1";
    uint8_t text[sizeof label + sizeof server->bytes];
    memcpy(text, label, sizeof label);
    memcpy(text + sizeof label, server->bytes, sizeof server->bytes);
    int code = gnutls_hash_fast(GNUTLS_DIG_SHA256, text, sizeof text, ret_chain);
    return code ? hash_error(code) : NULL;
}

static int hash_text(gnutls_hash_hd_t hash, const char *text)
{
    uint8_t length[4];
    size_t size = strlen(text);
    store_be32(length, (uint32_t)size);
    int code = gnutls_hash(hash, length, sizeof length);
    return code ? code : gnutls_hash(hash, text, size);
}

static struct err *chain_next(uint8_t chain[CATALOG_CHAIN_BYTES], uint64_t sequence,
                              const struct catalog_audit *row)
{
    gnutls_hash_hd_t hash;
    uint8_t numbers[16];
    store_be64(numbers, sequence);
    store_be64(numbers + 8, row->at_ns);
    int code = gnutls_hash_init(&hash, GNUTLS_DIG_SHA256);
    if (code) return hash_error(code);
    code = gnutls_hash(hash, chain, CATALOG_CHAIN_BYTES);
    if (!code) code = gnutls_hash(hash, numbers, sizeof numbers);
    const char *const texts[] = {row->actor, row->verb, row->arguments, row->result};
    for (unsigned i = 0; i < 4 && !code; i++)
        code = hash_text(hash, texts[i]);
    gnutls_hash_deinit(hash, chain);
    return code ? hash_error(code) : NULL;
}

/* ---- The head ---- */

struct head {
    uint64_t sequence;
    uint8_t chain[CATALOG_CHAIN_BYTES];
};

static struct err *head_mac(const struct catalog *catalog, const struct head *head,
                            uint8_t ret_mac[CATALOG_CHAIN_BYTES])
{
    static const char label[] = "tarn audit head 1";
    uint8_t text[sizeof label + 8 + CATALOG_CHAIN_BYTES];
    memcpy(text, label, sizeof label);
    store_be64(text + sizeof label, head->sequence);
    memcpy(text + sizeof label + 8, head->chain, sizeof head->chain);
    int code = gnutls_hmac_fast(GNUTLS_MAC_SHA256, catalog->key, sizeof catalog->key, text,
                                sizeof text, ret_mac);
    return code ? hash_error(code) : NULL;
}

static struct err *head_damaged(const char *what)
{
    return err_next(err_new(STATUS_BLOCK_CORRUPT, "the audit's head %s", what),
                    "tarn audit verify; compare with a backup of the state directory");
}

static bool take_chain(sqlite3_stmt *s, int column, uint8_t ret_chain[CATALOG_CHAIN_BYTES])
{
    if (sqlite3_column_bytes(s, column) != CATALOG_CHAIN_BYTES) return false;
    memcpy(ret_chain, sqlite3_column_blob(s, column), CATALOG_CHAIN_BYTES);
    return true;
}

static struct err *head_read(struct catalog *catalog, struct head *ret_head, bool *ret_is_ours)
{
    sqlite3_stmt *s = NULL;
    uint8_t mac[CATALOG_CHAIN_BYTES] = {0}, expected[CATALOG_CHAIN_BYTES] = {0};
    bool row = false;
    TRY(catalog_query(catalog, &s, "SELECT sequence, chain, mac FROM audit_head", ""));
    struct err *e = catalog_step(catalog, s, &row);
    if (!e && row) {
        ret_head->sequence = (uint64_t)sqlite3_column_int64(s, 0);
        row = take_chain(s, 1, ret_head->chain) && take_chain(s, 2, mac);
    }
    sqlite3_finalize(s);
    if (!e && !row) e = head_damaged("is missing");
    if (!e) e = head_mac(catalog, ret_head, expected);
    if (!e) *ret_is_ours = gnutls_memcmp(mac, expected, sizeof mac) == 0;
    return e;
}

static struct err *head_write(struct catalog *catalog, const struct head *head)
{
    uint8_t mac[CATALOG_CHAIN_BYTES];
    TRY(head_mac(catalog, head, mac));
    return catalog_run(catalog,
                       "INSERT OR REPLACE INTO audit_head(one, sequence, chain, mac)"
                       " VALUES(1, ?, ?, ?)",
                       "ibb", head->sequence, head->chain, sizeof head->chain, mac, sizeof mac);
}

struct err *catalog_audit_begin(struct catalog *catalog, const struct uuid *server)
{
    struct head head = {0};
    TRY(chain_first(server, head.chain));
    return head_write(catalog, &head);
}

/* A change goes on when the head was tampered with: the verification tells, and it stays told,
 * because the chain goes on from what is there. */
struct err *catalog_audit_append(struct catalog *catalog, const struct catalog_audit *audit)
{
    struct head head = {0};
    bool is_ours = false;
    TRY(head_read(catalog, &head, &is_ours));
    head.sequence++;
    if (!is_ours) head.chain[0] ^= 0xFF; /* a head of somebody else's is not made whole by us */
    TRY(chain_next(head.chain, head.sequence, audit));
    TRY(catalog_run(catalog,
                    "INSERT INTO audit(sequence, at_ns, actor, verb, arguments, result, chain)"
                    " VALUES(?,?,?,?,?,?,?)",
                    "iittttb", head.sequence, audit->at_ns, audit->actor, audit->verb,
                    audit->arguments, audit->result, head.chain, sizeof head.chain));
    return head_write(catalog, &head);
}

struct err *catalog_audit_head(struct catalog *catalog, uint64_t *ret_sequence,
                               uint8_t ret_chain[CATALOG_CHAIN_BYTES])
{
    struct head head = {0};
    bool is_ours = false;
    TRY(head_read(catalog, &head, &is_ours));
    *ret_sequence = head.sequence;
    memcpy(ret_chain, head.chain, sizeof head.chain);
    return NULL;
}

/* ---- Reading ---- */

static const char *column_text(sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    return text ? text : "";
}

static void take_row(sqlite3_stmt *s, struct catalog_audit *row, uint64_t *ret_sequence)
{
    *ret_sequence = (uint64_t)sqlite3_column_int64(s, 0);
    *row = (struct catalog_audit){.at_ns = (uint64_t)sqlite3_column_int64(s, 1),
                                  .actor = column_text(s, 2),
                                  .verb = column_text(s, 3),
                                  .arguments = column_text(s, 4),
                                  .result = column_text(s, 5)};
}

struct err *catalog_audit_list(struct catalog *catalog, const struct catalog_audit_query *query,
                               catalog_audit_fn *fn, void *arg)
{
    sqlite3_stmt *s = NULL;
    TRY(catalog_query(catalog, &s,
                      "SELECT sequence, at_ns, actor, verb, arguments, result FROM audit"
                      " WHERE sequence < ?1 AND (?2 IS NULL OR actor = ?2)"
                      " AND (?3 IS NULL OR verb = ?3) ORDER BY sequence DESC LIMIT ?4",
                      "itti", query->before, query->actor, query->verb, (uint64_t)query->limit));
    bool more = false;
    struct err *e = catalog_step(catalog, s, &more);
    while (!e && more) {
        struct catalog_audit row;
        uint64_t sequence;
        take_row(s, &row, &sequence);
        fn(arg, sequence, &row);
        e = catalog_step(catalog, s, &more);
    }
    sqlite3_finalize(s);
    return e;
}

/* ---- Verifying ---- */

static void broken(struct catalog_audit_check *check, uint64_t sequence, const char *reason)
{
    check->is_broken = check->ended = true;
    check->broken_sequence = sequence;
    snprintf(check->reason, sizeof check->reason, "%s", reason);
}

static struct err *check_row(struct catalog_audit_check *check, sqlite3_stmt *s)
{
    struct catalog_audit row;
    uint64_t sequence;
    uint8_t stored[CATALOG_CHAIN_BYTES];
    take_row(s, &row, &sequence);
    if (sequence != check->sequence + 1) {
        broken(check, check->sequence + 1,
               sequence > check->sequence + 1 ? "the record is missing"
                                              : "a record was inserted before it");
        return NULL;
    }
    TRY(chain_next(check->chain, sequence, &row));
    if (!take_chain(s, 6, stored) || memcmp(stored, check->chain, sizeof stored) != 0) {
        broken(check, sequence, "the record, or the order, was changed");
        return NULL;
    }
    check->sequence = sequence;
    if (sequence == check->noted_sequence &&
        memcmp(check->chain, check->noted_chain, sizeof stored) != 0) {
        broken(check, sequence, "it is not the record that the noted head was of");
    }
    return NULL;
}

static struct err *check_head(struct catalog *catalog, struct catalog_audit_check *check)
{
    struct head head = {0};
    bool is_ours = false;
    TRY(head_read(catalog, &head, &is_ours));
    check->ended = true;
    if (!is_ours) {
        broken(check, head.sequence, "the head was not written by this server");
    } else if (head.sequence > check->sequence) {
        broken(check, check->sequence + 1, "records are missing at the end");
    } else if (head.sequence < check->sequence) {
        broken(check, head.sequence + 1, "records were added at the end");
    } else if (memcmp(head.chain, check->chain, sizeof head.chain) != 0) {
        broken(check, head.sequence, "the records were rewritten: they do not lead to the head");
    } else if (check->noted_sequence > check->sequence) {
        broken(check, check->sequence + 1, "the noted head is newer than the last record");
    }
    return NULL;
}

struct err *catalog_audit_verify(struct catalog *catalog, struct catalog_audit_check *check,
                                 unsigned rows)
{
    if (!check->begun) TRY(chain_first(&catalog->server, check->chain));
    check->begun = true;
    sqlite3_stmt *s = NULL;
    TRY(catalog_query(catalog, &s,
                      "SELECT sequence, at_ns, actor, verb, arguments, result, chain FROM audit"
                      " WHERE sequence > ? OR ? = 0 ORDER BY sequence LIMIT ?",
                      "iii", check->sequence, check->sequence, (uint64_t)rows));
    bool more = false;
    unsigned count = 0;
    struct err *e = catalog_step(catalog, s, &more);
    while (!e && more && !check->ended) {
        count++;
        e = check_row(check, s);
        if (!e && !check->ended) e = catalog_step(catalog, s, &more);
    }
    sqlite3_finalize(s);
    if (!e && !check->ended && count < rows) e = check_head(catalog, check);
    return e;
}
