/* Who may do what; hosts and their LUNs; idempotency; the audit; bad arguments. */
#include "tests/unit/control_rig.h"

#include <stdlib.h>

#include "base/limits.h"
#include "control/control_int.h"

/* ---- Roles ----------------------------------------------------------------------------------- */

static void the_backup_operator_serves_snapshots_but_no_disks(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(
        rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.2026-11.x:h"));
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "s"));
    json_decref(rig_call_as(rig, CONTROL_ROLE_OPERATOR, "map_add",
                            json_pack("{s:s, s:s}", "host", "h", "disk", "a"), NULL));
    expect_eq(rig->status, STATUS_DENIED);
    json_decref(rig_call_as(rig, CONTROL_ROLE_OPERATOR, "map_add",
                            json_pack("{s:s, s:s}", "host", "h", "snapshot", "s"), NULL));
    expect_eq(rig->status, STATUS_OK);
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", 7));
    json_decref(rig_call_as(rig, CONTROL_ROLE_OPERATOR, "map_remove",
                            json_pack("{s:s, s:i}", "host", "h", "lun", 7), NULL));
    expect_eq(rig->status, STATUS_DENIED);
    rig_destroy(rig);
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static void on_login(struct control_login *login)
{
    *(bool *)login->arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static enum status login(struct rig *rig, const char *token, enum control_role *ret_role)
{
    bool done = false;
    struct control_login login;
    memset(&login, 0, sizeof login);
    snprintf(login.token, sizeof login.token, "%s", token);
    login.done = on_login;
    login.arg = &done;
    control_authenticate(rig->control, &login);
    sim_run_until(rig->sim, is_true, &done, RT_SECOND);
    *ret_role = login.actor.role;
    return login.status;
}

static void tokens_open_until_they_are_revoked(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    char admin[70] = "";
    enum control_role role;
    sim_file_peek(rig->node, "/state/admin.token", 0, admin, 69);
    expect_eq(login(rig, admin, &role), STATUS_OK);
    expect_eq(role, CONTROL_ROLE_ADMIN);
    expect_eq(login(rig, "", &role), STATUS_UNAUTHENTICATED);
    expect_eq(login(rig, "tarn_0000", &role), STATUS_UNAUTHENTICATED);
    json_t *token = rig_ok(rig, "token_create", "{s:s, s:s}", "name", "t", "role", "viewer");
    expect_eq(login(rig, rig_text(token, "token"), &role), STATUS_OK);
    expect_eq(role, CONTROL_ROLE_VIEWER);
    expect(rig_restart(rig));
    expect_eq(login(rig, rig_text(token, "token"), &role), STATUS_OK);
    expect(rig_do(rig, "token_delete", "{s:s}", "name", "t"));
    expect_eq(login(rig, rig_text(token, "token"), &role), STATUS_UNAUTHENTICATED);
    json_decref(token);
    expect_eq(rig_fails(rig, "token_delete", "{s:s}", "name", "admin"),
              STATUS_CONFLICT); /* the last one */
    expect_eq(rig_fails(rig, "token_create", "{s:s, s:s}", "name", "u", "role", "root"),
              STATUS_BAD_REQUEST);
    rig_destroy(rig);
}

/* ---- Hosts and LUNs -------------------------------------------------------------------------- */

static void hosts_are_found_by_their_initiators(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    json_t *host = rig_ok(rig, "host_create", "{s:s, s:[s,s], s:s}", "name", "h", "initiators",
                          "iqn.2026-11.x:1", "iqn.2026-11.x:2", "auth", "mutual");
    expect_eq(strlen(rig_text(host, "chap_secret")), 24);
    expect_str(rig_text(host, "mutual_user"), "iqn.2026-11.local.tarn:test");
    struct control_host_access access;
    for (unsigned round = 0; round < 2; round++) { /* and after a restart: secrets survive sealed */
        expect_eq(control_find_initiator(rig->control, "iqn.2026-11.x:2", &access), STATUS_OK);
        expect_eq(access.auth, CONTROL_AUTH_MUTUAL);
        expect_str(access.chap_user, "h");
        expect_str(access.chap_secret, rig_text(host, "chap_secret"));
        expect_str(access.mutual_secret, rig_text(host, "mutual_secret"));
        expect_eq(control_find_initiator(rig->control, "iqn.2026-11.x:3", &access),
                  STATUS_NOT_FOUND);
        expect(rig_restart(rig));
    }
    json_decref(host);
    control_find_initiator(rig->control, "iqn.2026-11.x:2", &access);
    control_session_changed(rig->control, access.host, "iqn.2026-11.x:2", true);
    json_t *shown = rig_ok(rig, "host_show", "{s:s}", "name", "h");
    expect_eq(rig_number(shown, "session_count"), 1);
    expect(!json_object_get(shown, "chap_secret"));
    json_decref(shown);
    control_session_changed(rig->control, access.host, "iqn.2026-11.x:2", false);
    expect(rig_do(rig, "host_delete", "{s:s}", "name", "h"));
    expect_eq(control_find_initiator(rig->control, "iqn.2026-11.x:2", &access), STATUS_NOT_FOUND);
    rig_destroy(rig);
}

/* The target asks with the name in its normal form, which is lower case. */
static void initiators_are_found_whatever_the_case_they_were_written_in(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    struct control_host_access access;
    expect(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators",
                  "iqn.1998-01.com.vmware:ESX01-Prod"));
    for (unsigned round = 0; round < 2; round++) {
        expect_eq(
            control_find_initiator(rig->control, "iqn.1998-01.com.vmware:esx01-prod", &access),
            STATUS_OK);
        expect(rig_restart(rig));
    }
    expect_eq(rig_fails(rig, "host_create", "{s:s, s:[s]}", "name", "i", "initiators",
                        "iqn.1998-01.com.vmware:esx01-prod"),
              STATUS_EXISTS);
    expect_eq(rig_fails(rig, "host_create", "{s:s, s:[s,s]}", "name", "j", "initiators", "iqn.a",
                        "iqn.A"),
              STATUS_BAD_REQUEST);
    rig_destroy(rig);
}

static void bad_hosts_are_refused(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    static const struct {
        const char *initiators[2], *auth, *chap_secret, *mutual_secret;
    } bad[] = {
        {{"x"}, NULL, NULL, NULL},
        {{"iqn.a b"}, NULL, NULL, NULL},
        {{"iqn.a", "iqn.a"}, NULL, NULL, NULL},
        {{"iqn.a"}, "md5", NULL, NULL},
        {{"iqn.a"}, "none", "123456789012", NULL},
        {{"iqn.a"}, NULL, "short", NULL},
        {{"iqn.a"}, "mutual", "123456789012", "123456789012"},
    };
    for (unsigned i = 0; i < countof(bad); i++) {
        expect_eq(rig_fails(rig, "host_create", "{s:s, s:[s, s*], s:s*, s:s*, s:s*}", "name", "h",
                            "initiators", bad[i].initiators[0], bad[i].initiators[1], "auth",
                            bad[i].auth, "chap_secret", bad[i].chap_secret, "mutual_secret",
                            bad[i].mutual_secret),
                  STATUS_BAD_REQUEST);
    }
    expect(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    expect_eq(rig_fails(rig, "host_create", "{s:s, s:[s]}", "name", "i", "initiators", "iqn.a"),
              STATUS_EXISTS);
    rig_destroy(rig);
}

static long long map_lun(struct rig *rig, const char *kind, const char *object)
{
    json_t *map = rig_ok(rig, "map_add", "{s:s, s:s}", "host", "h", kind, object);
    long long lun = rig_number(map, "lun");
    json_decref(map);
    return lun;
}

static void lun_numbers_rest_before_something_else_gets_them(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    expect(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "s"));
    expect_eq(map_lun(rig, "disk", "a"), 1);
    expect_eq(map_lun(rig, "disk", "a"), 1); /* asked twice */
    expect_eq(map_lun(rig, "snapshot", "s-a"), 2);
    expect_eq(rig_fails(rig, "disk_delete", "{s:s}", "name", "a"), STATUS_IN_USE);
    expect_eq(rig_fails(rig, "snapshot_delete", "{s:s}", "name", "s-a"), STATUS_IN_USE);
    expect_eq(
        rig_fails(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "s-b", "lun", 0),
        STATUS_BAD_REQUEST);
    expect_eq(
        rig_fails(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "s-b", "lun", 255),
        STATUS_BAD_REQUEST);
    expect_eq(
        rig_fails(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "s-b", "lun", 2),
        STATUS_IN_USE);
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", 2));
    expect_eq(rig_fails(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", 2), STATUS_NOT_FOUND);
    expect_eq(
        rig_fails(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "s-b", "lun", 2),
        STATUS_CONFLICT);
    expect_eq(map_lun(rig, "snapshot", "s-b"), 3);
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "snapshot", "s-a", "lun",
                  2)); /* the same again */
    expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", 2));
    sim_run_for(rig->sim, 601 * RT_SECOND);
    expect(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "b", "lun", 2));
    rig_destroy(rig);
}

static void snapshots_take_the_number_that_was_freed_first(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    expect(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", "a", "name", "s"));
    for (int i = 1; i <= 254; i++) { /* every number once */
        expect_eq(map_lun(rig, "snapshot", "s"), i);
        expect(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h", "lun", i));
    }
    expect_eq(rig_fails(rig, "map_add", "{s:s, s:s}", "host", "h", "snapshot", "s"),
              STATUS_LIMIT_REACHED);
    sim_run_for(rig->sim, 601 * RT_SECOND);
    expect_eq(map_lun(rig, "snapshot", "s"), 1);
    rig_destroy(rig);
}

static void prepare_keeps_a_number_for_each_member(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    json_t *set = rig_ok(rig, "set_prepare", "{s:s, s:[s,s], s:s}", "name", "s", "disks", "a", "b",
                         "host", "h");
    expect_eq(rig_number(set, "members.0.lun"), 1);
    expect_eq(rig_number(set, "members.1.lun"), 2);
    json_decref(set);
    expect_eq(map_lun(rig, "disk", "c"), 3);
    expect_eq(rig_fails(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", 1),
              STATUS_IN_USE);
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "s"));
    expect(rig_do(rig, "set_commit", "{s:s}", "name", "s"));
    expect(rig_do(rig, "set_confirm", "{s:s}", "name", "s"));
    expect(rig_do(rig, "set_finish", "{s:s}", "name", "s"));
    expect_eq(map_lun(rig, "snapshot", "s-b"), 2);
    expect_eq(map_lun(rig, "snapshot", "s-a"), 1);
    rig_destroy(rig);
}

static void a_host_that_goes_keeps_no_numbers(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "s", "disks", "a", "host", "h"));
    expect(rig_do(rig, "host_delete", "{s:s}", "name", "h"));
    json_t *set = rig_ok(rig, "set_show", "{s:s}", "name", "s");
    expect(json_is_null(json_object_get(set, "host")));
    expect_eq(rig_number(set, "members.0.lun"), -1);
    json_decref(set);
    rig_destroy(rig);
}

static void no_unit_attention_comes_between_arm_and_confirm(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    expect(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    expect_eq(map_lun(rig, "disk", "a"), 1);
    struct control_host_access access;
    require(control_find_initiator(rig->control, "iqn.a", &access) == STATUS_OK);
    struct set *set;
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s]}", "name", "s", "disks", "a"));
    set = container_of(list_entry(list_front(&rig->control->sets), struct object, link), struct set,
                       object);
    expect_eq(set->holder_count, 0);
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "s"));
    expect_eq(set->holder_count, 1);
    expect(rig_do(rig, "set_commit", "{s:s}", "name", "s"));
    expect_eq(set->holder_count, 1);
    expect(rig_do(rig, "set_confirm", "{s:s}", "name", "s"));
    expect_eq(set->holder_count, 0);
    /* a set that is never confirmed lets go when it is created */
    expect(rig_do(rig, "set_prepare", "{s:s, s:[s]}", "name", "t", "disks", "a"));
    struct list_node *last = rig->control->sets.head.prev;
    set = container_of(list_entry(last, struct object, link), struct set, object);
    expect(rig_do(rig, "set_arm", "{s:s}", "name", "t"));
    expect(rig_do(rig, "set_commit", "{s:s}", "name", "t"));
    expect_eq(set->holder_count, 1);
    expect(rig_do(rig, "set_finish", "{s:s}", "name", "t"));
    expect_eq(set->holder_count, 0);
    rig_destroy(rig);
}

/* ---- Idempotency, audit ---------------------------------------------------------------------- */

static json_t *keyed(struct rig *rig, const char *key, const char *name)
{
    return rig_call_as(rig, CONTROL_ROLE_ADMIN, "disk_create",
                       json_pack("{s:s, s:s}", "name", name, "size", "1M"), key);
}

static void the_same_key_gives_the_same_answer(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    json_t *first = keyed(rig, "k1", "x"), *second = keyed(rig, "k1", "x");
    require(first && second);
    expect_str(rig_text(first, "uuid"), rig_text(second, "uuid"));
    json_decref(first);
    json_decref(second);
    json_decref(keyed(rig, "k1", "y"));
    expect_eq(rig->status, STATUS_CONFLICT);
    json_decref(keyed(rig, "k2", "x"));
    expect_eq(rig->status, STATUS_EXISTS);
    expect(rig_do(rig, "disk_delete", "{s:s}", "name", "x"));
    json_decref(keyed(rig, "k2", "x")); /* failures are kept too */
    expect_eq(rig->status, STATUS_EXISTS);
    sim_run_for(rig->sim, 25 * 3600 * RT_SECOND);
    json_t *later = keyed(rig, "k2", "x");
    expect(later != NULL);
    json_decref(later);
    rig_destroy(rig);
}

static bool file_holds(struct rig *rig, const char *path, const char *text)
{
    uint64_t size = sim_file_size(rig->node, path);
    auto_free char *bytes = calloc(1, size + 1);
    if (!bytes) return true;
    sim_file_peek(rig->node, path, 0, bytes, size);
    return memmem(bytes, size, text, strlen(text)) != NULL;
}

static void no_secret_is_stored_in_the_clear(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    json_t *given = json_pack("{s:s, s:[s], s:s}", "name", "seen", "initiators", "iqn.a",
                              "chap_secret", "given-secret");
    json_t *host = rig_call_as(rig, CONTROL_ROLE_ADMIN, "host_create", given, "key-1");
    expect(host != NULL);
    json_decref(host);
    given = json_pack("{s:s, s:[s]}", "name", "drawn", "initiators", "iqn.b");
    host = rig_call_as(rig, CONTROL_ROLE_ADMIN, "host_create", given, "key-2");
    char drawn[64];
    snprintf(drawn, sizeof drawn, "%s", rig_text(host, "chap_secret"));
    expect_eq(strlen(drawn), 24);
    json_decref(host);
    json_t *token = rig_call_as(rig, CONTROL_ROLE_ADMIN, "token_create",
                                json_pack("{s:s, s:s}", "name", "t", "role", "viewer"), "key-3");
    static const char *const files[] = {"/state/catalog.db", "/state/catalog.db-wal"};
    bool seen = false;
    for (unsigned i = 0; i < countof(files); i++) {
        seen = seen || file_holds(rig, files[i], "seen");
        expect(!file_holds(rig, files[i], "given-secret"));
        expect(!file_holds(rig, files[i], drawn));
        expect(!file_holds(rig, files[i], rig_text(token, "token")));
    }
    expect(seen); /* the search works */
    json_decref(token);
    rig_destroy(rig);
}

static uint64_t audit_rows(struct rig *rig)
{
    uint64_t count = 0;
    struct err *e = catalog_count(rig->control->catalog, "audit", &count);
    expect(!e);
    err_free(e);
    return count;
}

static void every_change_leaves_an_audit_record(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    static const struct {
        const char *verb, *arguments;
    } changes[] = {
        {"disk_grow", "{\"name\":\"a\",\"size\":\"32M\"}"},
        {"disk_rename", "{\"name\":\"c\",\"new_name\":\"d\"}"},
        {"host_create", "{\"name\":\"h\",\"initiators\":[\"iqn.a\"]}"},
        {"map_add", "{\"host\":\"h\",\"disk\":\"a\"}"},
        {"map_remove", "{\"host\":\"h\",\"lun\":1}"},
        {"host_delete", "{\"name\":\"h\"}"},
        {"set_prepare", "{\"name\":\"s\",\"disks\":[\"a\"]}"},
        {"set_arm", "{\"name\":\"s\"}"},
        {"set_commit", "{\"name\":\"s\"}"},
        {"set_confirm", "{\"name\":\"s\"}"},
        {"set_finish", "{\"name\":\"s\"}"},
        {"snapshot_rename", "{\"name\":\"s-a\",\"new_name\":\"t\"}"},
        {"snapshot_branch", "{\"name\":\"t\",\"new_name\":\"w\"}"},
        {"disk_delete", "{\"name\":\"w\"}"},
        {"set_delete", "{\"name\":\"s\"}"},
        {"token_create", "{\"name\":\"t\",\"role\":\"viewer\"}"},
        {"token_delete", "{\"name\":\"t\"}"},
        {"pool_check", "{\"name\":\"p\"}"},
    };
    for (unsigned i = 0; i < countof(changes); i++) {
        uint64_t before = audit_rows(rig);
        json_decref(rig_call(rig, changes[i].verb, json_loads(changes[i].arguments, 0, NULL)));
        if (rig->status != STATUS_OK) printf("# %s: %s\n", changes[i].verb, rig->message);
        expect_eq(rig->status, STATUS_OK);
        sim_run_for(rig->sim, RT_SECOND); /* a commit is recorded after its answer */
        if (audit_rows(rig) != before + 1) printf("# %s\n", changes[i].verb);
        expect_eq(audit_rows(rig), before + 1);
    }
    uint64_t before = audit_rows(rig);
    expect_eq(rig_fails(rig, "disk_create", "{s:s, s:s}", "name", "a", "size", "1M"),
              STATUS_EXISTS);
    expect_eq(audit_rows(rig), before + 1); /* refusals too */
    rig_destroy(rig);
}

/* ---- Bad arguments --------------------------------------------------------------------------- */

static void bad_arguments_are_named(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    static const struct {
        const char *verb, *arguments, *says;
    } bad[] = {
        {"disk_create", "{\"name\":\"x\"}", "\"size\" is missing"},
        {"disk_create", "{\"size\":\"1M\"}", "\"name\" is missing"},
        {"disk_create", "{\"name\":\"x\",\"size\":\"1M\",\"colour\":1}", "no argument \"colour\""},
        {"disk_create", "{\"name\":5,\"size\":\"1M\"}", "\"name\" must be"},
        {"disk_create", "{\"name\":\"\",\"size\":\"1M\"}", "\"name\" must be"},
        {"disk_create", "{\"name\":\"a\\u0000b\",\"size\":\"1M\"}", "\"name\" must be"},
        {"disk_create", "{\"name\":\"a\\nb\",\"size\":\"1M\"}", "\"name\" must be"},
        {"disk_create", "{\"name\":\"x\",\"size\":-1}", "\"size\" must be"},
        {"disk_create", "{\"name\":\"x\",\"size\":\"much\"}", "\"size\" must be"},
        {"disk_create", "{\"name\":\"x\",\"size\":1.5}", "\"size\" must be"},
        {"disk_delete", "{\"name\":\"a\",\"dry_run\":\"perhaps\"}", "\"dry_run\" must be"},
        {"set_prepare", "{\"disks\":\"a\"}", "\"disks\" must be"},
        {"set_prepare", "{\"disks\":[1]}", "\"disks\" must be"},
        {"map_remove", "{\"host\":\"h\",\"lun\":\"x\"}", "\"lun\" must be"},
        {"map_add", "{\"host\":\"h\"}", "no host"},
        {"pool_create", "{\"name\":\"q\",\"path\":\"relative\",\"size\":\"64M\"}", "absolute"},
        {"pool_create", "{\"name\":\"q\",\"path\":\"/q\",\"size\":\"1M\"}", "at least 64M"},
        {"pool_create", "{\"name\":\"q\",\"path\":\"/pool\",\"size\":\"64M\"}", "already"},
    };
    for (unsigned i = 0; i < countof(bad); i++) {
        json_decref(rig_call(rig, bad[i].verb, json_loads(bad[i].arguments, JSON_ALLOW_NUL, NULL)));
        expect(rig->status != STATUS_OK);
        if (!strstr(rig->message, bad[i].says))
            printf("# %s: %s\n", bad[i].arguments, rig->message);
        expect(strstr(rig->message, bad[i].says));
    }
    json_t *disks = rig_ok(rig, "disk_list", NULL);
    expect_eq(json_array_size(json_object_get(disks, "disks")), 3);
    json_decref(disks);
    rig_destroy(rig);
}

static void names_ids_and_unique_prefixes_are_understood(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    rig_furnish(rig);
    json_t *disk = rig_ok(rig, "disk_create", "{s:s, s:s}", "name", "mail-data", "size", "1M");
    expect(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "mail-log", "size", "1M"));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", rig_text(disk, "uuid")));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", "mail-d"));
    expect_eq(rig_fails(rig, "disk_show", "{s:s}", "name", "mail"), STATUS_AMBIGUOUS);
    expect(strstr(rig->message, "mail-data") && strstr(rig->message, "mail-log"));
    expect_eq(rig_fails(rig, "disk_show", "{s:s}", "name", "mall"), STATUS_NOT_FOUND);
    expect_str(rig->next, "tarn disk list");
    char prefix[9];
    snprintf(prefix, sizeof prefix, "%.8s", rig_text(disk, "uuid"));
    expect(rig_do(rig, "disk_show", "{s:s}", "name", prefix));
    json_decref(disk);
    rig_destroy(rig);
}

static void a_pool_that_cannot_be_made_leaves_nothing(void)
{
    struct rig *rig = rig_create(RIG_MEMORY);
    json_t *job = rig_ok(rig, "pool_create", "{s:s, s:s, s:s}", "name", "q", "path", "/refused",
                         "size", "64M");
    json_t *end =
        rig_ok(rig, "job_show", "{s:s, s:i}", "name", rig_text(job, "job.id"), "wait", 30);
    expect_str(rig_text(end, "state"), "failed");
    expect_str(rig_text(end, "error.causes.0"), "no such device");
    json_decref(job);
    json_decref(end);
    json_t *pools = rig_ok(rig, "pool_list", NULL);
    expect_eq(json_array_size(json_object_get(pools, "pools")), 0);
    json_decref(pools);
    rig_furnish(rig);
    expect_eq(rig_fails(rig, "pool_forget", "{s:s}", "name", "p"), STATUS_IN_USE);
    static const char *const disks[] = {"a", "b", "c"};
    for (unsigned i = 0; i < 3; i++)
        expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", disks[i], "now", 1));
    expect(rig_do(rig, "pool_forget", "{s:s}", "name", "p"));
    rig_destroy(rig);
}

int main(void)
{
    run(the_backup_operator_serves_snapshots_but_no_disks);
    run(tokens_open_until_they_are_revoked);
    run(hosts_are_found_by_their_initiators);
    run(initiators_are_found_whatever_the_case_they_were_written_in);
    run(bad_hosts_are_refused);
    run(lun_numbers_rest_before_something_else_gets_them);
    run(snapshots_take_the_number_that_was_freed_first);
    run(prepare_keeps_a_number_for_each_member);
    run(a_host_that_goes_keeps_no_numbers);
    run(no_unit_attention_comes_between_arm_and_confirm);
    run(the_same_key_gives_the_same_answer);
    run(no_secret_is_stored_in_the_clear);
    run(every_change_leaves_an_audit_record);
    run(bad_arguments_are_named);
    run(names_ids_and_unique_prefixes_are_understood);
    run(a_pool_that_cannot_be_made_leaves_nothing);
    return tap_done();
}
