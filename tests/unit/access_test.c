/* Who may do what: the matrix of every verb by every role, and the finer points of a host's rights.
 */
#include <stdlib.h>

#include "base/attr.h"
#include "control/host_int.h"
#include "tests/unit/control_rig.h"

enum { ROLES = 8 };
static const char *const role_names[ROLES] = {"administrator", "backup operator", "viewer",
                                              "host own",      "host of group",   "other host",
                                              "granted host",  "nobody"};

static const struct row {
    const char *verb, *expectation, *arguments;
} rows[] = {
#define ROW(verb, expectation, arguments) {#verb, expectation, arguments},
#include "tests/unit/access_matrix.def"
};

/* ---- The world ---- */

static struct rig *rig;
static char job_id[UUID_TEXT_SIZE];

static void make_host(const char *name)
{
    char initiator[64];
    snprintf(initiator, sizeof initiator, "iqn.2026-11.x:%s", name);
    check(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", name, "initiators", initiator,
                 "auth", "none"));
}

static void make_set(const char *name, const char *disk, const char *host)
{
    static const char *const verbs_in_order[] = {"set_arm", "set_commit", "set_confirm",
                                                 "set_finish"};
    check(rig_do(rig, "set_prepare", "{s:s, s:[s], s:s*}", "name", name, "disks", disk, "host",
                 host));
    for (unsigned i = 0; i < countof(verbs_in_order); i++)
        check(rig_do(rig, verbs_in_order[i], "{s:s}", "name", name));
}

static void world_begin_on(enum rig_engine engine)
{
    rig = rig_create(engine);
    rig_furnish(rig);
    for (unsigned i = 1; i <= 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "h%u", i);
        make_host(name);
    }
    check(rig_do(rig, "group_create", "{s:s, s:[s,s]}", "name", "makers", "hosts", "h1", "h4"));
    check(rig_do(rig, "group_create", "{s:s, s:[s]}", "name", "readers", "hosts", "h2"));
    check(rig_do(rig, "grant_add", "{s:s, s:s}", "to", "readers", "from", "makers"));
    check(rig_do(rig, "map_add", "{s:s, s:s}", "host", "h1", "disk", "a"));
    check(rig_do(rig, "map_add", "{s:s, s:s}", "host", "h2", "disk", "b"));
    make_set("own", "a", "h1");
    struct job *job = container_of(list_entry(list_front(&rig->control->jobs), struct object, link),
                                   struct job, object);
    snprintf(job_id, sizeof job_id, "%s", job->name);
    static const char *const pins[] = {
        "699db1881bd2555c4b4d2374f4258ef30e0ae2424d1e39bbe252958302d69d91"};
    control_set_api(rig->control, pins, 1, "192.0.2.1:7260");
}

static void world_begin(void)
{
    world_begin_on(RIG_MEMORY);
}

static struct control_actor host_actor(const char *name)
{
    struct control_actor actor = {.role = CONTROL_ROLE_HOST};
    struct host *host = NULL;
    struct err *e = find_host(rig->control, name, &host);
    check(!e);
    actor.host = host->row.uuid;
    snprintf(actor.name, sizeof actor.name, "host:%s", name);
    return actor;
}

static struct control_actor actor_of(unsigned column)
{
    static const enum control_role roles[] = {CONTROL_ROLE_ADMIN, CONTROL_ROLE_OPERATOR,
                                              CONTROL_ROLE_VIEWER};
    static const char *const hosts[] = {"h1", "h4", "h3", "h2"};
    struct control_actor actor = {.role = CONTROL_ROLE_NONE, .name = "nobody"};
    if (column >= 3 && column < 7) return host_actor(hosts[column - 3]);
    if (column < 3) {
        actor.role = roles[column];
        snprintf(actor.name, sizeof actor.name, "%s", control_role_name(actor.role));
    }
    return actor;
}

/* The matrix is written with ' for ". */
static json_t *arguments_of(const char *text, const char *self)
{
    char json[400];
    size_t length = 0;
    for (const char *p = text; *p != '\0'; p++) {
        bool is_job = strncmp(p, "$JOB", 4) == 0;
        if (is_job || strncmp(p, "$SELF", 5) == 0) {
            length +=
                (size_t)snprintf(json + length, sizeof json - length, "%s", is_job ? job_id : self);
            p += is_job ? 3 : 4;
        } else {
            json[length++] = *p == '\'' ? '"' : *p;
        }
    }
    json[length] = '\0';
    json_t *arguments = json_loads(json, 0, NULL);
    check(arguments);
    return arguments;
}

static const char *self_of(const struct control_actor *actor)
{
    return actor->role == CONTROL_ROLE_HOST ? actor->name + strlen("host:") : "h1";
}

static enum status call(const struct control_actor *actor, const char *verb, const char *arguments)
{
    json_t *result =
        rig_call_actor(rig, actor, verb, arguments_of(arguments, self_of(actor)), NULL);
    json_decref(result);
    return rig->status;
}

static enum status call_host(const char *host, const char *verb, const char *arguments)
{
    struct control_actor actor = host_actor(host);
    return call(&actor, verb, arguments);
}

/* ---- The matrix ---- */

static const struct row *row_of(const char *verb)
{
    for (unsigned i = 0; i < countof(rows); i++) {
        if (strcmp(rows[i].verb, verb) == 0) return &rows[i];
    }
    return NULL;
}

static void check_cell(const struct row *row, unsigned column, bool wanted)
{
    struct control_actor actor = actor_of(column);
    bool changes = verb_find(row->verb)->method != VERB_GET;
    enum status status = call(&actor, row->verb, row->arguments);
    if ((status != STATUS_DENIED) != wanted) {
        printf("# %s as %s: %s %s\n", row->verb, role_names[column], status_info(status)->name,
               rig->message);
    }
    expect_eq(status != STATUS_DENIED, wanted);
    expect(status != STATUS_BAD_REQUEST); /* a row whose arguments are wrong shows nothing */
    if (status == STATUS_DENIED || !changes) return;
    rig_destroy(rig); /* it may have changed something */
    world_begin();
}

static void every_verb_by_every_role_is_as_the_matrix_says(void)
{
    world_begin();
    for (unsigned i = 0; i < verb_count; i++) {
        const struct row *row = row_of(verbs[i].id);
        if (!row) {
            printf("# %s has no row in tests/unit/access_matrix.def: who may call it?\n",
                   verbs[i].id);
        }
        expect(row != NULL);
        unsigned column = 0;
        for (const char *p = row ? row->expectation : ""; *p != '\0'; p++) {
            if (*p == ' ') continue;
            require(column < ROLES && (*p == 'A' || *p == 'd'));
            check_cell(row, column++, *p == 'A');
        }
        expect_eq(column, row ? ROLES : 0);
    }
    rig_destroy(rig);
}

static void the_matrix_has_no_row_without_a_verb(void)
{
    for (unsigned i = 0; i < countof(rows); i++) {
        if (!verb_find(rows[i].verb)) printf("# %s is no verb\n", rows[i].verb);
        expect(verb_find(rows[i].verb));
        expect_eq(row_of(rows[i].verb) - rows, i);
    }
}

/* ---- Finer points ---- */

static void a_host_prepares_for_itself_or_its_group_only(void)
{
    world_begin();
    struct control_actor h1 = host_actor("h1");
    json_t *set = rig_call_actor(rig, &h1, "set_prepare",
                                 arguments_of("{'disks':['a'],'name':'n1'}", "h1"), NULL);
    expect_str(rig_text(set, "host"), "h1");
    expect_str(rig_text(set, "owner"), "makers");
    expect_str(rig_text(set, "created_by"), "host:h1");
    char again[200];
    snprintf(again, sizeof again, "{'disks':['b'],'uuid':'%s'}", rig_text(set, "uuid"));
    json_decref(set);
    expect_eq(call_host("h4", "set_prepare", "{'disks':['a'],'host':'h1'}"), STATUS_OK);
    expect_eq(call_host("h1", "set_prepare", "{'disks':['a'],'host':'h2'}"), STATUS_DENIED);
    expect_eq(call_host("h1", "set_prepare", "{'disks':['a','b']}"), STATUS_DENIED);
    expect_eq(call_host("h2", "set_prepare", again), STATUS_DENIED); /* another's set, by its id */
    expect_eq(call_host("h2", "set_prepare", "{'disks':['b']}"), STATUS_OK);
    rig_destroy(rig);
}

static void what_was_imported_may_be_deleted_but_not_finished(void)
{
    world_begin();
    make_set("two", "a", "h1");
    expect_eq(call_host("h2", "set_delete", "{'name':'two','dry_run':true}"), STATUS_DENIED);
    expect_eq(call_host("h2", "set_mask", "{'name':'two'}"), STATUS_DENIED);
    expect_eq(call_host("h3", "set_import", "{'name':'two'}"), STATUS_DENIED);
    expect_eq(call_host("h2", "set_import", "{'name':'two','host':'h1'}"), STATUS_DENIED);
    expect_eq(call_host("h2", "set_import", "{'name':'two'}"), STATUS_OK);     /* to itself */
    expect_eq(call_host("h2", "set_delete", "{'name':'two'}"), STATUS_IN_USE); /* by itself */
    expect_eq(call_host("h2", "set_abort", "{'name':'two'}"), STATUS_DENIED);
    expect_eq(call_host("h2", "set_renew", "{'name':'two'}"), STATUS_DENIED);
    expect_eq(call_host("h3", "snapshot_delete", "{'name':'two-a'}"), STATUS_DENIED);
    check(rig_do(rig, "grant_remove", "{s:s, s:s}", "to", "readers", "from", "makers"));
    expect_eq(call_host("h2", "set_show", "{'name':'two'}"), STATUS_OK);     /* imported stays */
    expect_eq(call_host("h2", "set_show", "{'name':'own'}"), STATUS_DENIED); /* the grant is gone */
    expect_eq(call_host("h2", "set_mask", "{'name':'two'}"), STATUS_OK);
    expect_eq(call_host("h2", "set_import", "{'name':'two'}"), STATUS_DENIED);
    expect_eq(call_host("h2", "snapshot_delete", "{'name':'two-a','now':true}"), STATUS_DENIED);
    expect_eq(call_host("h2", "set_delete", "{'name':'two'}"), STATUS_OK);
    rig_destroy(rig);
}

static void a_disk_is_reverted_from_sets_that_are_ones_own_and_never_by_force(void)
{
    world_begin();
    make_set("bs", "b", NULL); /* nobody's */
    expect_eq(call_host("h1", "disk_revert", "{'name':'a','to':'own-a','dry_run':true}"),
              STATUS_OK);
    expect_eq(call_host("h4", "disk_revert", "{'name':'a','to':'own','dry_run':true}"), STATUS_OK);
    expect_eq(call_host("h1", "disk_revert", "{'name':'a','to':'own-a','force':true}"),
              STATUS_DENIED);
    expect_eq(call_host("h2", "disk_revert", "{'name':'a','to':'own-a'}"), STATUS_DENIED);
    expect_eq(call_host("h2", "disk_revert", "{'name':'b','to':'bs-b'}"), STATUS_DENIED);
    expect_eq(call_host("h2", "disk_revert", "{'name':'b','to':'bs'}"), STATUS_DENIED);
    rig_destroy(rig);
}

/* What VSS asks for at OnLunEmpty: one snapshot's LUN, and never a disk's. */
static void a_host_takes_away_luns_of_snapshots_and_never_of_disks(void)
{
    world_begin();
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h1", "snapshot", "own-a", "lun", 200));
    expect_eq(call_host("h1", "map_remove", "{'host':'h1','lun':1}"), STATUS_DENIED);
    expect_eq(call_host("h2", "map_remove", "{'host':'h1','lun':200}"), STATUS_DENIED);
    expect_eq(call_host("h1", "map_remove", "{'host':'h2','lun':1}"), STATUS_DENIED);
    expect_eq(call_host("h1", "map_remove", "{'host':'h1','lun':9}"), STATUS_NOT_FOUND);
    expect_eq(call_host("h4", "map_remove", "{'host':'h1','lun':200}"), STATUS_OK);
    rig_destroy(rig);
}

static void a_host_deletes_a_snapshot_that_no_other_host_has(void)
{
    world_begin();
    static const char by_h1[] = "{'name':'own-a','unmap_host':'h1'}",
                      by_h4[] = "{'name':'own-a','unmap_host':'h4'}";
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h1", "snapshot", "own-a", "lun", 200));
    expect_eq(call_host("h2", "snapshot_delete", by_h1), STATUS_DENIED);
    expect_eq(call_host("h4", "snapshot_delete", by_h4), STATUS_IN_USE); /* of its group even */
    expect_eq(call_host("h1", "snapshot_delete", by_h4), STATUS_IN_USE);
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h2", "snapshot", "own-a", "lun", 200));
    expect_eq(call_host("h1", "snapshot_delete", by_h1), STATUS_IN_USE);
    check(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h2", "lun", 200));
    expect_eq(call_host("h1", "snapshot_delete", by_h1), STATUS_OK);
    rig_destroy(rig);
}

static unsigned seen(const char *host, const char *verb, const char *key)
{
    struct control_actor actor = host_actor(host);
    json_t *answer = rig_call_actor(rig, &actor, verb, json_object(), NULL);
    size_t count = json_array_size(json_object_get(answer, key));
    json_decref(answer);
    return (unsigned)count;
}

static void lists_show_a_host_what_is_its_own(void)
{
    world_begin();
    make_set("bs", "b", "h2");
    static const struct {
        const char *host;
        unsigned disks, hosts, maps, sets;
    } wanted[] = {{"h1", 1, 2, 1, 1}, {"h4", 1, 2, 1, 1}, {"h2", 1, 1, 1, 2}, {"h3", 0, 1, 0, 0}};
    for (unsigned i = 0; i < countof(wanted); i++) {
        expect_eq(seen(wanted[i].host, "disk_list", "disks"), wanted[i].disks);
        expect_eq(seen(wanted[i].host, "host_list", "hosts"), wanted[i].hosts);
        expect_eq(seen(wanted[i].host, "map_list", "maps"), wanted[i].maps);
        expect_eq(seen(wanted[i].host, "set_list", "sets"), wanted[i].sets);
        expect_eq(seen(wanted[i].host, "snapshot_list", "snapshots"), wanted[i].sets);
    }
    rig_destroy(rig);
}

/* A prefix that fits several would tell a host the names of what others have. */
static void a_host_names_things_by_their_whole_name(void)
{
    world_begin();
    make_set("owl", "b", NULL);
    expect_eq(call_host("h1", "set_show", "{'name':'ow'}"), STATUS_NOT_FOUND);
    expect(!strstr(rig->message, "owl"));
    expect_eq(call_host("h1", "set_abort", "{'name':'ow'}"), STATUS_NOT_FOUND);
    expect_eq(call_host("h1", "snapshot_show", "{'name':'own-'}"), STATUS_NOT_FOUND);
    expect_eq(call_host("h1", "job_show", "{'name':'0'}"), STATUS_NOT_FOUND);
    expect_eq(call_host("h1", "set_show", "{'name':'own'}"), STATUS_OK);
    rig_destroy(rig);
}

/* A set that is past no longer has its name for itself: what a host asks for is looked at and done
 * with the same object, and not with another one whose name begins like that. */
static void the_name_of_a_past_set_is_no_way_to_what_others_have(void)
{
    world_begin();
    check(
        rig_do(rig, "set_prepare", "{s:s, s:[s], s:s}", "name", "se", "disks", "a", "host", "h1"));
    check(rig_do(rig, "set_abort", "{s:s}", "name", "se"));
    make_set("secret", "b", NULL); /* nobody's; its snapshot is secret-b */
    expect_eq(call_host("h1", "set_abort", "{'name':'se'}"), STATUS_OK); /* it is, already */
    expect(call_host("h1", "set_import", "{'name':'se'}") != STATUS_OK);
    expect(!strstr(rig->message, "secret"));
    expect(call_host("h1", "disk_replace", "{'name':'a','from':'se'}") != STATUS_OK);
    expect(!strstr(rig->message, "secret"));
    expect(call_host("h1", "disk_revert", "{'name':'a','to':'se'}") != STATUS_OK);
    expect(!strstr(rig->message, "secret"));
    call_host("h1", "set_delete", "{'name':'se','unmap':true}");
    expect(rig_do(rig, "set_import", "{s:s, s:s}", "name", "secret", "host", "h3")); /* is there */
    rig_destroy(rig);
}

/* Errors name the job that works on a disk, to whoever wants the disk: that is no right to end it.
 */
static void a_host_cancels_only_what_it_has_begun(void)
{
    world_begin_on(RIG_REAL);
    check(rig_do(rig, "map_add", "{s:s, s:s}", "host", "h1", "disk", "b"));
    struct control_actor h1 = host_actor("h1"),
                         admin = {.role = CONTROL_ROLE_ADMIN, .name = "admin"};
    const struct control_actor *const actors[] = {&h1, &admin};
    for (unsigned i = 0; i < countof(actors); i++) {
        char id[200];
        json_t *answer =
            rig_call_actor(rig, actors[i], "disk_replace",
                           json_pack("{s:s, s:s}", "name", "b", "from", "own-a"), NULL);
        require(answer);
        snprintf(id, sizeof id, "{'name':'%s'}", rig_text(answer, "job.id"));
        json_decref(answer);
        check(call(&admin, "job_pause", id) == STATUS_OK);
        expect_eq(call_host("h4", "job_cancel", id), STATUS_DENIED);
        expect_eq(call_host("h3", "job_cancel", id), STATUS_DENIED);
        expect_eq(call_host("h1", "job_cancel", id), i ? STATUS_DENIED : STATUS_OK);
        if (i) expect_eq(call(&admin, "job_cancel", id), STATUS_OK);
        sim_run_for(rig->sim, RT_SECOND);
    }
    rig_destroy(rig);
}

static void rights_end_with_what_they_came_from(void)
{
    world_begin();
    expect_eq(call_host("h4", "disk_show", "{'name':'a'}"), STATUS_OK);
    check(rig_do(rig, "group_remove", "{s:s, s:s}", "name", "makers", "host", "h4"));
    expect_eq(call_host("h4", "disk_show", "{'name':'a'}"), STATUS_DENIED);
    expect_eq(call_host("h4", "set_show", "{'name':'own'}"), STATUS_DENIED);
    struct control_actor h1 = host_actor("h1");
    expect_eq(call(&h1, "disk_show", "{'name':'a'}"), STATUS_OK);
    check(rig_do(rig, "map_remove", "{s:s, s:i}", "host", "h1", "lun", 1));
    expect_eq(call(&h1, "disk_show", "{'name':'a'}"), STATUS_DENIED);
    expect_eq(call(&h1, "set_show", "{'name':'own'}"), STATUS_OK); /* its set stays its set */
    check(rig_do(rig, "host_delete", "{s:s}", "name", "h1"));
    expect_eq(call(&h1, "set_show", "{'name':'own'}"), STATUS_DENIED);
    expect_eq(call(&h1, "server_show", "{}"), STATUS_DENIED);
    rig_destroy(rig);
}

struct waiting {
    struct control_call call;
    bool done;
};

static void on_done(struct control_call *call)
{
    ((struct waiting *)call->arg)->done = true;
}

static bool both_done(void *arg)
{
    struct waiting *two = arg;
    return two[0].done && two[1].done;
}

static void submit(struct waiting *waiting, const struct control_actor *actor, const char *verb,
                   const char *arguments)
{
    *waiting = (struct waiting){.call = {.verb = verb,
                                         .actor = *actor,
                                         .arguments = arguments_of(arguments, self_of(actor)),
                                         .done = on_done,
                                         .arg = waiting}};
    control_submit(rig->control, &waiting->call);
}

/* A call that waits for its turn behind the change that takes its right away is refused. */
static void rights_are_looked_at_again_when_the_turn_has_come(void)
{
    world_begin();
    struct control_actor admin = actor_of(0), h1 = host_actor("h1");
    struct waiting two[2];
    submit(&two[0], &admin, "map_remove", "{'host':'h1','lun':1}");
    submit(&two[1], &h1, "set_prepare", "{'disks':['a'],'name':'late'}");
    check(sim_run_until(rig->sim, both_done, two, 60 * RT_SECOND));
    expect_eq(err_status(two[0].call.error), STATUS_OK);
    expect_eq(err_status(two[1].call.error), STATUS_DENIED);
    for (unsigned i = 0; i < 2; i++) {
        json_decref(two[i].call.arguments);
        json_decref(two[i].call.result);
        err_free(two[i].call.error);
    }
    rig_destroy(rig);
}

/* ---- Dry runs ---- */

/* All that lists show, and the number of audit records. */
static char *state_text(bool with_audit)
{
    static const char *const lists[] = {
        "server_clock", "pool_list", "disk_list",     "host_list",   "group_list",
        "grant_list",   "map_list",  "set_list",      "trash_list",  "credential_list",
        "token_list",   "job_list",  "snapshot_list", "audit_verify"};
    struct control_actor admin = actor_of(0);
    json_t *all = json_array();
    for (unsigned i = 0; i < countof(lists) - !with_audit; i++) {
        json_t *answer = rig_call_actor(rig, &admin, lists[i], json_object(), NULL);
        check(answer);
        if (i == 0) json_object_clear(answer); /* time goes on */
        json_array_append_new(all, answer);
    }
    char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(all);
    return text;
}

static bool has_dry_run(const char *verb)
{
    for (unsigned i = 0; i < verb_arg_count; i++) {
        if (strcmp(verb_args[i].verb, verb) == 0 && strcmp(verb_args[i].name, "dry_run") == 0)
            return true;
    }
    return false;
}

/* With the matrix's arguments, by the administrator; a run that is refused changes nothing either.
 */
static void a_dry_run_changes_nothing_whatever_the_verb(void)
{
    unsigned said = 0;
    struct control_actor admin = actor_of(0);
    world_begin();
    for (unsigned r = 0; r < countof(rows); r++) {
        if (!has_dry_run(rows[r].verb)) continue;
        json_t *arguments = arguments_of(rows[r].arguments, "h1");
        json_object_set_new(arguments, "dry_run", json_true());
        auto_free char *before = state_text(true), *before_short = state_text(false);
        json_t *answer = rig_call_actor(rig, &admin, rows[r].verb, arguments, NULL);
        /* Only a refusal leaves a record. */
        auto_free char *after = state_text(answer != NULL);
        bool same = strcmp(after, answer ? before : before_short) == 0;
        bool says = !answer || json_is_array(json_object_get(answer, "would"));
        if (!same || !says) printf("# %s\n", rows[r].verb);
        expect(same && says);
        said += answer != NULL;
        json_decref(answer);
    }
    expect(said >= 14);
    rig_destroy(rig);
}

int main(void)
{
    run(every_verb_by_every_role_is_as_the_matrix_says);
    run(the_matrix_has_no_row_without_a_verb);
    run(a_host_prepares_for_itself_or_its_group_only);
    run(what_was_imported_may_be_deleted_but_not_finished);
    run(a_disk_is_reverted_from_sets_that_are_ones_own_and_never_by_force);
    run(a_host_takes_away_luns_of_snapshots_and_never_of_disks);
    run(a_host_deletes_a_snapshot_that_no_other_host_has);
    run(lists_show_a_host_what_is_its_own);
    run(a_host_names_things_by_their_whole_name);
    run(the_name_of_a_past_set_is_no_way_to_what_others_have);
    run(a_dry_run_changes_nothing_whatever_the_verb);
    run(a_host_cancels_only_what_it_has_begun);
    run(rights_end_with_what_they_came_from);
    run(rights_are_looked_at_again_when_the_turn_has_come);
    return tap_done();
}
