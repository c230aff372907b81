/* The catalog by itself: what it keeps, what it refuses, what it does with a strange file. */
#include "catalog/catalog.h"

#include <stdlib.h>

#include "base/attr.h"
#include "base/check.h"
#include "catalog/catalog_int.h"
#include "tests/lib/tap.h"
#include "tests/sim/sim.h"

static struct sim *sim;
static struct sim_node *node;
static struct rt *rt;
static struct catalog *catalog;

/* In the simulator the blocking calls may be made from here. */
static void world_begin(void)
{
    sim = sim_create(&(struct sim_options){.seed = 5});
    node = sim_node_create(sim, "server");
    rt = sim_node_boot(node);
    struct err *e = catalog_open(rt, "/state", &catalog);
    check(!e);
}

static void world_end(void)
{
    catalog_close(take_ptr(&catalog));
    sim_destroy(sim);
}

static bool reopen(enum status *ret_status)
{
    catalog_close(take_ptr(&catalog));
    struct err *e = catalog_open(rt, "/state", &catalog);
    if (ret_status) *ret_status = err_status(e);
    bool ok = e == NULL;
    err_free(e);
    return ok;
}

static struct catalog_pool pool_row(const char *name, const char *path)
{
    struct catalog_pool row = {.uuid = rt_uuid(rt), .state = CATALOG_READY, .created_ns = 7};
    snprintf(row.name, sizeof row.name, "%s", name);
    snprintf(row.path, sizeof row.path, "%s", path);
    return row;
}

static struct err *put_pool(struct catalog *c, void *arg)
{
    return catalog_put_pool(c, arg);
}

static enum status put(catalog_fn *fn, void *arg)
{
    struct err *e = catalog_transact(catalog, fn, arg, NULL);
    enum status status = err_status(e);
    err_free(e);
    return status;
}

static uint64_t count_of(const char *table)
{
    uint64_t count = 0;
    struct err *e = catalog_count(catalog, table, &count);
    check(!e);
    return count;
}

static void rows_survive_closing_and_opening(void)
{
    world_begin();
    struct uuid server = catalog_server_uuid(catalog);
    struct catalog_pool row = pool_row("p", "/p");
    expect_eq(put(put_pool, &row), STATUS_OK);
    expect(reopen(NULL));
    struct uuid again = catalog_server_uuid(catalog);
    expect(uuid_equal(&server, &again));
    expect_eq(count_of("pool"), 1);
    world_end();
}

static void names_are_unique_and_a_refused_row_changes_nothing(void)
{
    world_begin();
    struct catalog_pool first = pool_row("p", "/p"), second = pool_row("p", "/q"),
                        third = pool_row("r", "/p");
    expect_eq(put(put_pool, &first), STATUS_OK);
    expect_eq(put(put_pool, &second), STATUS_EXISTS);
    expect_eq(put(put_pool, &third), STATUS_EXISTS);
    expect_eq(count_of("pool"), 1);
    world_end();
}

static void a_transaction_that_failed_does_not_come_back_after_a_crash(void)
{
    world_begin();
    struct catalog_pool row = pool_row("p", "/p");
    sim_node_fault(node, SIM_FAULT_FLUSH_ERROR, "/state/catalog.db-wal", 0);
    expect(put(put_pool, &row) != STATUS_OK);
    expect_eq(count_of("pool"), 0);
    sim_node_crash(node, SIM_CRASH_PROCESS); /* everything that was written stays */
    catalog_close(take_ptr(&catalog));
    rt = sim_node_boot(node);
    expect(reopen(NULL));
    expect_eq(count_of("pool"), 0);
    world_end();
}

static struct err *put_disk_without_pool(struct catalog *c, void *arg)
{
    struct catalog_disk row = {
        .uuid = rt_uuid(rt), .pool = rt_uuid(rt), .size_bytes = 4096, .name = "d"};
    TRY(catalog_issue_identity(c, &row.uuid, 1, row.naa));
    return catalog_put_disk(c, &row);
}

static void a_disk_without_a_pool_is_refused_with_all_its_transaction(void)
{
    world_begin();
    expect_eq(put(put_disk_without_pool, NULL), STATUS_CONFLICT);
    expect_eq(count_of("identity_issued"), 0);
    world_end();
}

static struct err *issue(struct catalog *c, void *arg)
{
    struct uuid *object = arg;
    uint8_t naa[CATALOG_NAA_BYTES];
    TRY(catalog_issue_identity(c, object, 1, naa));
    return naa[0] >> 4 == 3 ? NULL : err_new(STATUS_INTERNAL, "not NAA 3h");
}

static void an_identity_is_issued_once(void)
{
    world_begin();
    struct uuid object = rt_uuid(rt);
    expect_eq(put(issue, &object), STATUS_OK);
    expect_eq(put(issue, &object), STATUS_EXISTS);
    expect_eq(count_of("identity_issued"), 1);
    world_end();
}

static struct catalog_host seen_host;

static struct err *see_host(void *arg, const struct catalog_host *row)
{
    seen_host = *row;
    return NULL;
}

static struct err *see_pool(void *arg, const struct catalog_pool *row)
{
    return NULL;
}

static struct err *load(void)
{
    struct catalog_reader reader = {.host = see_host, .pool = see_pool};
    return catalog_load(catalog, &reader, NULL);
}

static struct err *put_host(struct catalog *c, void *arg)
{
    return catalog_put_host(c, arg);
}

/* Is the text anywhere in the file? */
static bool file_holds(const char *path, const char *text)
{
    uint64_t size = sim_file_size(node, path);
    size_t length = strlen(text);
    auto_free char *bytes = calloc(1, size + 1);
    check(bytes);
    sim_file_peek(node, path, 0, bytes, size);
    for (uint64_t i = 0; i + length <= size; i++) {
        if (memcmp(bytes + i, text, length) == 0) return true;
    }
    return false;
}

static void secrets_are_sealed_and_need_their_key(void)
{
    world_begin();
    struct catalog_host row = {.uuid = rt_uuid(rt),
                               .name = "h",
                               .auth = "chap",
                               .chap_user = "u-visible",
                               .chap_secret = "very-secret-secret",
                               .initiator_count = 1,
                               .initiators = {"iqn.a"}};
    expect_eq(put(put_host, &row), STATUS_OK);
    struct err *e = load();
    expect(!e);
    expect_str(seen_host.chap_secret, "very-secret-secret");
    expect_str(seen_host.initiators[0], "iqn.a");
    expect(file_holds("/state/catalog.db-wal", "u-visible") ||
           file_holds("/state/catalog.db", "u-visible"));
    expect(!file_holds("/state/catalog.db-wal", "very-secret") &&
           !file_holds("/state/catalog.db", "very-secret"));
    uint8_t other[32] = {1};
    sim_file_poke(node, "/state/secret.key", 0, other, sizeof other);
    expect(reopen(NULL));
    e = load();
    expect_eq(err_status(e), STATUS_BAD_CONFIG);
    expect(e && err_next_text(e));
    err_free(e);
    world_end();
}

static void a_file_that_is_no_catalog_is_refused(void)
{
    world_begin();
    catalog_close(take_ptr(&catalog));
    static const char garbage[4096] = "this is not a database";
    sim_file_create(node, "/other/catalog.db", sizeof garbage);
    sim_file_poke(node, "/other/catalog.db", 0, garbage, sizeof garbage);
    struct err *e = catalog_open(rt, "/other", &catalog);
    expect_eq(err_status(e), STATUS_BLOCK_CORRUPT);
    err_free(e);
    catalog = NULL;
    world_end();
}

static struct err *raise_version(struct catalog *c, void *arg)
{
    return catalog_run(c, "PRAGMA user_version = 99", "");
}

static void a_newer_schema_is_refused(void)
{
    world_begin();
    struct err *e = catalog_transact(catalog, raise_version, NULL, NULL);
    expect(!e);
    err_free(e);
    enum status status;
    expect(!reopen(&status));
    expect_eq(status, STATUS_FORMAT_VERSION);
    world_end();
}

int main(void)
{
    run(rows_survive_closing_and_opening);
    run(names_are_unique_and_a_refused_row_changes_nothing);
    run(a_transaction_that_failed_does_not_come_back_after_a_crash);
    run(a_disk_without_a_pool_is_refused_with_all_its_transaction);
    run(an_identity_is_issued_once);
    run(secrets_are_sealed_and_need_their_key);
    run(a_file_that_is_no_catalog_is_refused);
    run(a_newer_schema_is_refused);
    return tap_done();
}
