/* The audit's chain: every way of tampering with the table is found and the first record named. */
#include <stdlib.h>

#include "base/attr.h"
#include "base/check.h"
#include "catalog/catalog_int.h"
#include "control/control_int.h"
#include "tests/unit/control_rig.h"

enum { RECORDS = 12 };

static struct sim *sim;
static struct sim_node *node;
static struct rt *rt;
static struct catalog *catalog;

static void open_catalog(void)
{
    struct err *e = catalog_open(rt, "/state", &catalog);
    check(!e);
}

static void append(const char *actor, const char *verb)
{
    struct catalog_audit audit = {
        .at_ns = rt_wall(rt), .actor = actor, .verb = verb, .arguments = "{}", .result = "OK"};
    struct err *e = catalog_transact(catalog, NULL, NULL, &audit);
    check(!e);
}

static void world_begin(void)
{
    sim = sim_create(&(struct sim_options){.seed = 7});
    node = sim_node_create(sim, "server");
    rt = sim_node_boot(node);
    open_catalog();
    for (unsigned i = 0; i < RECORDS; i++)
        append(i % 2 ? "admin" : "operator", "disk_create");
}

static void world_end(void)
{
    catalog_close(take_ptr(&catalog));
    sim_destroy(sim);
}

static struct catalog_audit_check verify(unsigned rows, const char *noted)
{
    struct catalog_audit_check check = {0};
    if (noted) {
        check.noted_sequence = strtoull(noted, NULL, 10);
        check(text_parse_hex(strchr(noted, ':') + 1, check.noted_chain, CATALOG_CHAIN_BYTES));
    }
    while (!check.ended) {
        struct err *e = catalog_audit_verify(catalog, &check, rows);
        check(!e);
    }
    return check;
}

static void sql(const char *text)
{
    struct err *e = catalog_run(catalog, text, "");
    if (e) printf("# %s: %s\n", text, err_frame(e, 0));
    expect(!e);
    err_free(e);
}

static void a_whole_audit_verifies_in_steps_of_any_size(void)
{
    world_begin();
    static const unsigned sizes[] = {1, 5, RECORDS, 1000};
    for (unsigned i = 0; i < countof(sizes); i++) {
        struct catalog_audit_check check = verify(sizes[i], NULL);
        expect(!check.is_broken);
        expect_eq(check.sequence, RECORDS);
    }
    catalog_close(take_ptr(&catalog));
    open_catalog();
    append("admin", "disk_delete");
    struct catalog_audit_check check = verify(3, NULL);
    expect(!check.is_broken);
    expect_eq(check.sequence, RECORDS + 1);
    world_end();
}

/* What somebody does to the file with sqlite3 and without our key. */
static const struct {
    const char *what, *sql;
    uint64_t named;
} tampers[] = {
    {"edit of the actor", "UPDATE audit SET actor = 'nobody' WHERE sequence = 5", 5},
    {"edit of the time", "UPDATE audit SET at_ns = at_ns + 1 WHERE sequence = 1", 1},
    {"edit of the arguments", "UPDATE audit SET arguments = '{ }' WHERE sequence = 12", 12},
    {"edit of the result", "UPDATE audit SET result = 'DENIED' WHERE sequence = 7", 7},
    {"text moved between fields",
     "UPDATE audit SET actor = actor || 'd', verb = substr(verb, 2) WHERE sequence = 4", 4},
    {"edit of the chain", "UPDATE audit SET chain = zeroblob(32) WHERE sequence = 3", 3},
    {"deletion in the middle", "DELETE FROM audit WHERE sequence = 6", 6},
    {"deletion of the first", "DELETE FROM audit WHERE sequence = 1", 1},
    {"deletion, and the rest renumbered",
     "DELETE FROM audit WHERE sequence = 6; UPDATE audit SET sequence = sequence - 1"
     " WHERE sequence > 6",
     6},
    {"two exchanged",
     "UPDATE audit SET sequence = -1 WHERE sequence = 8;"
     "UPDATE audit SET sequence = 8 WHERE sequence = 9;"
     "UPDATE audit SET sequence = 9 WHERE sequence = -1",
     8},
    {"insertion at the end",
     "INSERT INTO audit SELECT 13, at_ns, actor, verb, arguments, result, chain FROM audit"
     " WHERE sequence = 12",
     13},
    {"insertion before the first",
     "INSERT INTO audit SELECT 0, at_ns, actor, verb, arguments, result, chain FROM audit"
     " WHERE sequence = 1",
     1},
    {"the end cut off", "DELETE FROM audit WHERE sequence > 9", 10},
    {"everything removed", "DELETE FROM audit", 1},
    {"end cut off and head set back",
     "DELETE FROM audit WHERE sequence > 9;"
     "UPDATE audit_head SET sequence = 9, chain = (SELECT chain FROM audit WHERE sequence = 9)",
     9},
    {"head of another", "UPDATE audit_head SET mac = zeroblob(32)", 12},
};

static void every_tampering_is_found_at_the_first_record_that_is_wrong(void)
{
    for (unsigned i = 0; i < countof(tampers); i++) {
        world_begin();
        char statements[400];
        snprintf(statements, sizeof statements, "%s", tampers[i].sql);
        for (char *save = NULL, *one = strtok_r(statements, ";", &save); one;
             one = strtok_r(NULL, ";", &save)) {
            sql(one);
        }
        struct catalog_audit_check check = verify(5, NULL);
        if (!check.is_broken || check.broken_sequence != tampers[i].named) {
            printf("# %s: %d %llu %s\n", tampers[i].what, check.is_broken,
                   (unsigned long long)check.broken_sequence, check.reason);
        }
        expect(check.is_broken);
        expect_eq(check.broken_sequence, tampers[i].named);
        world_end();
    }
}

/* The server goes on after a tampering, and does not make it whole. */
static void later_records_do_not_heal_a_forged_head(void)
{
    world_begin();
    sql("DELETE FROM audit WHERE sequence > 9");
    sql("UPDATE audit_head SET sequence = 9, chain = (SELECT chain FROM audit WHERE sequence = 9)");
    append("admin", "disk_create");
    append("admin", "disk_create");
    struct catalog_audit_check check = verify(100, NULL);
    expect(check.is_broken);
    expect_eq(check.broken_sequence, 10);
    world_end();
}

static void copy_file(const char *from, const char *to)
{
    uint64_t size = sim_file_size(node, from);
    auto_free char *bytes = calloc(1, size + 1);
    check(bytes);
    sim_file_peek(node, from, 0, bytes, size);
    if (sim_file_size(node, to) == 0) sim_file_create(node, to, size);
    sim_file_poke(node, to, 0, bytes, size);
}

/* An older copy of the state directory is whole by itself: only a head noted elsewhere tells. */
static void a_noted_head_tells_of_an_old_copy(void)
{
    world_begin();
    catalog_close(take_ptr(&catalog)); /* leaves no write-ahead log */
    copy_file("/state/catalog.db", "/old/catalog.db");
    copy_file("/state/secret.key", "/old/secret.key");
    open_catalog();
    append("admin", "disk_delete");
    struct catalog_audit_check now = verify(100, NULL);
    char noted[100], hex[2 * CATALOG_CHAIN_BYTES + 1];
    snprintf(noted, sizeof noted, "%llu:%s", (unsigned long long)now.sequence,
             text_format_hex(now.chain, sizeof now.chain, hex));
    append("admin", "disk_delete");
    struct catalog_audit_check check = verify(4, noted);
    expect(!check.is_broken); /* it has grown since */
    catalog_close(take_ptr(&catalog));
    struct err *e = catalog_open(rt, "/old", &catalog);
    check(!e);
    check = verify(4, NULL);
    expect(!check.is_broken);
    check = verify(4, noted);
    expect(check.is_broken);
    append("somebody", "disk_create"); /* another record 13 */
    check = verify(4, noted);
    expect(check.is_broken);
    expect_eq(check.broken_sequence, RECORDS + 1);
    world_end();
}

/* ---- Through the verbs ---- */

static long long records_of(struct rig *rig, const char *verb, const char *result)
{
    json_t *list = rig_ok(rig, "audit_list", "{s:s, s:i}", "verb", verb, "limit", 1000);
    const json_t *records = json_object_get(list, "records");
    long long count = 0;
    for (size_t i = 0; i < json_array_size(records); i++)
        count += strcmp(rig_text(json_array_get(records, i), "result"), result) == 0;
    json_decref(list);
    return count;
}

static void the_verbs_list_filter_and_verify(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    json_t *list = rig_ok(rig, "audit_list", "{s:i}", "limit", 2);
    expect_eq(json_array_size(json_object_get(list, "records")), 2);
    expect_str(rig_text(list, "records.0.verb"), "disk_create");
    expect_str(rig_text(list, "records.0.actor"), "administrator");
    expect_str(rig_text(list, "records.0.arguments.name"), "c");
    expect_str(rig_text(list, "records.1.arguments.name"), "b");
    long long first = rig_number(list, "records.1.sequence");
    json_decref(list);
    list =
        rig_ok(rig, "audit_list", "{s:I, s:s}", "before", (json_int_t)first, "verb", "disk_create");
    expect_eq(json_array_size(json_object_get(list, "records")), 1);
    expect_str(rig_text(list, "records.0.arguments.name"), "a");
    json_decref(list);
    expect_eq(rig_fails(rig, "audit_list", "{s:i}", "limit", 0), STATUS_BAD_REQUEST);
    json_t *verified = rig_ok(rig, "audit_verify", NULL);
    char head[100];
    snprintf(head, sizeof head, "%s", rig_text(verified, "head"));
    json_decref(verified);
    expect(rig_do(rig, "disk_grow", "{s:s, s:s}", "name", "a", "size", "32M"));
    expect(rig_do(rig, "audit_verify", "{s:s}", "head", head));
    expect_eq(rig_fails(rig, "audit_verify", "{s:s}", "head", "7"), STATUS_BAD_REQUEST);
    struct err *e =
        catalog_run(rig->control->catalog, "UPDATE audit SET actor = 'x' WHERE sequence = 2", "");
    expect(!e);
    err_free(e);
    expect_eq(rig_fails(rig, "audit_verify", NULL), STATUS_BLOCK_CORRUPT);
    expect(strstr(rig->message, "record 2"));
    rig_destroy(rig);
}

static void each_start_is_recorded(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    expect_eq(records_of(rig, "start", "OK"), 1);
    expect(rig_restart(rig));
    expect_eq(records_of(rig, "start", "OK"), 2);
    expect(rig_do(rig, "audit_verify", NULL));
    rig_destroy(rig);
}

static void refusals_do_not_flood_it(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    for (unsigned i = 0; i < 200; i++) {
        json_decref(rig_call_as(rig, CONTROL_ROLE_VIEWER, "disk_delete",
                                json_pack("{s:s}", "name", "a"), NULL));
        expect_eq(rig->status, STATUS_DENIED);
    }
    json_decref(rig_call_as(rig, CONTROL_ROLE_OPERATOR, "disk_delete",
                            json_pack("{s:s}", "name", "a"), NULL));
    expect_eq(records_of(rig, "disk_delete", "DENIED"), 2); /* the first of each caller */
    sim_run_for(rig->sim, 70 * RT_SECOND);
    expect_eq(records_of(rig, "disk_delete", "DENIED"), 3);
    json_t *list = rig_ok(rig, "audit_list", "{s:s, s:i}", "verb", "disk_delete", "limit", 1);
    expect_eq(rig_number(list, "records.0.arguments.repeated"), 199);
    expect_str(rig_text(list, "records.0.actor"), "viewer");
    json_decref(list);
    json_decref(rig_call_as(rig, CONTROL_ROLE_VIEWER, "disk_delete",
                            json_pack("{s:s}", "name", "a"), NULL));
    expect_eq(records_of(rig, "disk_delete", "DENIED"), 4); /* a new minute */
    expect(rig_do(rig, "audit_verify", NULL));
    rig_destroy(rig);
}

static void refusals_of_more_actors_than_are_kept_apart_are_counted_together(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    for (unsigned i = 0; i < DENIALS_MAX + 9; i++) {
        struct control_actor actor = {.role = CONTROL_ROLE_VIEWER};
        snprintf(actor.name, sizeof actor.name, "viewer%u", i);
        json_decref(rig_call_actor(rig, &actor, "disk_delete", json_pack("{s:s}", "name", "a"), NULL));
        expect_eq(rig->status, STATUS_DENIED);
    }
    expect_eq(records_of(rig, "disk_delete", "DENIED"), DENIALS_MAX);
    sim_run_for(rig->sim, 70 * RT_SECOND);
    json_t *list = rig_ok(rig, "audit_list", "{s:s}", "verb", "several");
    expect_eq(json_array_size(json_object_get(list, "records")), 1);
    expect_eq(rig_number(list, "records.0.arguments.repeated"), 9);
    expect_str(rig_text(list, "records.0.actor"), "several");
    expect_str(rig_text(list, "records.0.result"), "DENIED");
    json_decref(list);
    sim_run_for(rig->sim, 70 * RT_SECOND);
    expect_eq(records_of(rig, "several", "DENIED"), 1);
    rig_destroy(rig);
}

int main(void)
{
    run(a_whole_audit_verifies_in_steps_of_any_size);
    run(every_tampering_is_found_at_the_first_record_that_is_wrong);
    run(later_records_do_not_heal_a_forged_head);
    run(a_noted_head_tells_of_an_old_copy);
    run(the_verbs_list_filter_and_verify);
    run(each_start_is_recorded);
    run(refusals_do_not_flood_it);
    run(refusals_of_more_actors_than_are_kept_apart_are_counted_together);
    return tap_done();
}
