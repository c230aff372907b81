/*
 * Every verb of verbs.def that can take something away says before what it would do, changes
 * nothing by that, and then does what it said: the sentences of the dry run are held against what
 * is there before and after the deed.  On the real engine.
 */
#include "tests/unit/control_rig.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "control/host_int.h"

static struct rig *rig;
static char job_id[64], code_id[64];

/* What these change is added, or changed back by the same verb; no content, right, or name goes. */
static const char *const destroys_nothing[] = {
    "server_show",     "server_set",      "pool_list",       "pool_show",     "pool_check",
    "pool_set",        "disk_create",     "disk_list",       "disk_show",     "disk_grow",
    "disk_rename",     "host_create",     "host_list",       "host_show",     "host_set",
    "group_create",    "group_list",      "group_show",      "group_add",     "grant_add",
    "grant_list",      "map_add",         "map_list",        "set_renew",
    "set_arm",         "set_commit",      "set_confirm",     "set_finish",    "set_list",
    "set_show",        "set_import",      "snapshot_list",   "snapshot_show", "snapshot_create",
    "snapshot_rename", "snapshot_branch", "snapshot_verify", "trash_list",    "event_list",
    "job_list",        "job_show",        "job_pause",       "job_resume",    "token_create",
    "token_list",      "credential_list", "audit_list",      "audit_verify",
};

/* $JOB and $CODE stand for ids; ' for ". */
static const struct deed {
    const char *verb, *arguments;
} deeds[] = {
    {"server_clock", "{'confirm':true}"},
    {"pool_create", "{'name':'r','path':'/r','size':'64M','sparse':true}"},
    {"pool_forget", "{'name':'q'}"},
    {"disk_promote", "{'name':'w'}"},
    {"disk_split", "{'name':'w'}"},
    {"disk_delete", "{'name':'e'}"},
    {"disk_delete", "{'name':'d','with_snapshots':true}"},
    {"disk_delete", "{'name':'d','with_snapshots':true,'now':true}"},
    {"disk_revert", "{'name':'a','to':'n'}"},
    {"disk_replace", "{'name':'b','from':'small'}"},
    {"disk_undo", "{'name':'c'}"},
    {"host_delete", "{'name':'h'}"},
    {"host_enrol", "{'name':'h','replace':true}"},
    {"credential_revoke", "{'name':'$CODE'}"},
    {"credential_revoke", "{'name':'cc000000-0000-0000-0000-000000000000'}"},
    {"group_remove", "{'name':'g','host':'h'}"},
    {"group_delete", "{'name':'k'}"},
    {"grant_remove", "{'to':'k','from':'g'}"},
    {"map_remove", "{'host':'h','lun':5}"},
    {"set_prepare", "{'disks':['a','b'],'name':'fresh','full':true}"},
    {"set_abort", "{'name':'made'}"},
    {"set_mask", "{'name':'n'}"},
    {"set_promote", "{'name':'n'}"},
    {"set_split", "{'name':'n'}"},
    {"set_break", "{'name':'n','writable':true}"},
    {"set_update", "{'name':'m'}"},
    {"set_delete", "{'name':'m'}"},
    {"set_delete", "{'name':'n','unmap':true,'now':true}"},
    {"snapshot_promote", "{'name':'n-a'}"},
    {"snapshot_split", "{'name':'n-a'}"},
    {"snapshot_retain", "{'name':'n-a','for':'30d'}"},
    {"snapshot_update", "{'name':'small'}"},
    {"snapshot_delete", "{'name':'small'}"},
    {"snapshot_delete", "{'name':'small','now':true}"},
    {"snapshot_delete", "{'name':'n-a','unmap':true,'now':true}"},
    {"trash_restore", "{'name':'old'}"},
    {"trash_empty", "{}"},
    {"trash_empty", "{'name':'gone'}"},
    {"trash_empty", "{'undo':true}"},
    {"job_cancel", "{'name':'$JOB'}"},
    {"token_delete", "{'name':'t'}"},
};

/* ---- The world: something for each deed ---- */

static void wait_for_jobs(void)
{
    json_t *list = rig_ok(rig, "job_list", NULL);
    const json_t *jobs = json_object_get(list, "jobs");
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i);
        if (strcmp(rig_text(job, "state"), "running") != 0) continue;
        check(rig_do(rig, "job_show", "{s:s, s:i}", "name", rig_text(job, "id"), "wait", 30));
    }
    json_decref(list);
}

static void make_api(void)
{
    static const char *const pins[] = {
        "699db1881bd2555c4b4d2374f4258ef30e0ae2424d1e39bbe252958302d69d91"};
    control_set_api(rig->control, pins, 1, "192.0.2.1:7260");
    /* As if the host had redeemed a code; sign_test has the exchange itself. */
    struct catalog_credential row = {.uuid = {.bytes = {0xCC}}, .created_ns = 1};
    struct host *host = NULL;
    struct err *e = find_host(rig->control, "h", &host);
    check(!e);
    row.host = host->row.uuid;
    credential_add(rig->control, &row);
}

static void make_groups(void)
{
    check(rig_do(rig, "host_create", "{s:s, s:[s], s:s}", "name", "h", "initiators", "iqn.a",
                 "auth", "none"));
    check(rig_do(rig, "group_create", "{s:s, s:[s]}", "name", "g", "hosts", "h"));
    check(rig_do(rig, "group_create", "{s:s}", "name", "k"));
    check(rig_do(rig, "grant_add", "{s:s, s:s}", "to", "k", "from", "g"));
    check(rig_do(rig, "token_create", "{s:s, s:s}", "name", "t", "role", "viewer"));
    make_api();
    check(rig_do(rig, "host_enrol", "{s:s, s:i}", "name", "h", "expires_s", 604800));
    json_t *list = rig_ok(rig, "credential_list", NULL);
    check(strcmp(rig_text(list, "credentials.1.kind"), "code") == 0);
    snprintf(code_id, sizeof code_id, "%s", rig_text(list, "credentials.1.id"));
    json_decref(list);
}

static void snapshot(const char *name, const char *disk)
{
    check(rig_do(rig, "snapshot_create", "{s:[s], s:s}", "disks", disk, "name", name));
}

static void world_begin(void)
{
    rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    json_decref(rig_ok(rig, "pool_create", "{s:s, s:s, s:s, s:b}", "name", "q", "path", "/q",
                       "size", "64M", "sparse", 1));
    wait_for_jobs();
    static const char *const more[] = {"d", "e", "old", "y"};
    for (unsigned i = 0; i < countof(more); i++) {
        check(rig_do(rig, "disk_create", "{s:s, s:s, s:s}", "name", more[i], "size", "8M", "pool",
                     "p"));
    }
    make_groups();
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "a", "lun", 5));
    check(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "b", "name", "n"));
    check(rig_do(rig, "set_import", "{s:s, s:s}", "name", "n", "host", "h"));
    check(rig_do(rig, "snapshot_create", "{s:[s,s], s:s}", "disks", "a", "c", "name", "m"));
    snapshot("small", "y");
    snapshot("of-d", "d");
    snapshot("gone", "c");
    snapshot("under", "y");
    check(rig_do(rig, "snapshot_branch", "{s:s, s:s}", "name", "under", "new_name", "w"));
    check(rig_do(rig, "snapshot_delete", "{s:s}", "name", "gone"));
    check(rig_do(rig, "disk_delete", "{s:s}", "name", "old"));
    check(rig_do(rig, "disk_revert", "{s:s, s:s}", "name", "c", "to", "m"));
    check(rig_do(rig, "set_prepare", "{s:[s], s:s, s:i}", "disks", "y", "name", "made", "lease_s",
                 3600));
    json_t *job = rig_ok(rig, "snapshot_verify", "{s:s}", "name", "under");
    snprintf(job_id, sizeof job_id, "%s", rig_text(job, "job.id"));
    json_decref(job);
    check(rig_do(rig, "job_pause", "{s:s}", "name", job_id));
    sim_run_for(rig->sim, 40 * RT_SECOND); /* nobody uses a disk any more */
    sim_node_wall_jump(rig->node, (int64_t)(100 * HOUR_NS));
    sim_run_for(rig->sim, 2 * RT_SECOND);
}

static json_t *arguments_of(const char *text, bool dry_run)
{
    char json[400];
    size_t length = 0;
    for (const char *p = text; *p != '\0'; p++) {
        bool is_job = strncmp(p, "$JOB", 4) == 0;
        if (*p == '$') {
            length += (size_t)snprintf(json + length, sizeof json - length, "%s",
                                       is_job ? job_id : code_id);
            p += is_job ? strlen("JOB") : strlen("CODE");
        } else {
            json[length++] = *p == '\'' ? '"' : *p;
        }
    }
    json[length] = '\0';
    json_t *arguments = json_loads(json, 0, NULL);
    check(arguments);
    if (dry_run) json_object_set_new(arguments, "dry_run", json_true());
    return arguments;
}

/* ---- All that is there ---- */

/* Times that pass by themselves. */
static void without_times(json_t *json)
{
    static const char *const passing[] = {"clock_at", "wall_at", "expires_in_ms", "jump_s",
                                          "recovery"};
    void *next;
    const char *key;
    json_t *value;
    size_t i;
    for (unsigned j = 0; json_is_object(json) && j < countof(passing); j++)
        json_object_del(json, passing[j]);
    json_object_foreach_safe(json, next, key, value) without_times(value);
    json_array_foreach(json, i, value) without_times(value);
}

/* Every answer of every verb that lists or shows; the audit too, by which a dry run is no change.
 */
static json_t *everything(void)
{
    static const struct {
        const char *list, *key, *show;
    } kinds[] = {
        {"pool_list", "pools", "pool_show"},
        {"disk_list", "disks", "disk_show"},
        {"host_list", "hosts", "host_show"},
        {"group_list", "groups", "group_show"},
        {"set_list", "sets", "set_show"},
        {"snapshot_list", "snapshots", "snapshot_show"},
        {"job_list", "jobs", NULL},
        {"grant_list", "grants", NULL},
        {"map_list", "maps", NULL},
        {"trash_list", "trash", NULL},
        {"credential_list", "credentials", NULL},
        {"token_list", "tokens", NULL},
        {"event_list", "events", NULL},
        {"audit_list", "records", NULL},
        {"server_clock", "none", NULL},
    };
    json_t *all = json_object();
    for (unsigned i = 0; i < countof(kinds); i++) {
        json_t *list = rig_ok(rig, kinds[i].list, NULL);
        const json_t *array = json_object_get(list, kinds[i].key);
        for (size_t j = 0; kinds[i].show && j < json_array_size(array); j++) {
            const char *name = rig_text(json_array_get(array, j), "name");
            char key[300];
            snprintf(key, sizeof key, "%s %s", kinds[i].show, name);
            json_object_set_new(all, key, rig_ok(rig, kinds[i].show, "{s:s}", "name", name));
        }
        json_object_set_new(all, kinds[i].list, list);
    }
    without_times(all);
    return all;
}

/* ---- What there is, as lines such as "disk a"; a deed takes lines away and brings some ---- */

static void add_line(json_t *lines, int by, const char *what, const char *name)
{
    char line[600];
    snprintf(line, sizeof line, "%s %s", what, name);
    json_int_t count = json_integer_value(json_object_get(lines, line)) + by;
    if (count == 0) {
        json_object_del(lines, line);
    } else {
        json_object_set_new(lines, line, json_integer(count));
    }
}

static void add_list(json_t *lines, int by, const json_t *all, const char *list, const char *key,
                     const char *kind, const char *field)
{
    const json_t *array = json_object_get(json_object_get(all, list), key);
    for (size_t i = 0; i < json_array_size(array); i++)
        add_line(lines, by, kind, rig_text(json_array_get(array, i), field));
}

static void add_lines(json_t *lines, int by, const json_t *all)
{
    static const struct {
        const char *list, *key, *kind, *field;
    } kinds[] = {
        {"pool_list", "pools", "pool", "name"},
        {"disk_list", "disks", "disk", "name"},
        {"host_list", "hosts", "host", "name"},
        {"group_list", "groups", "group", "name"},
        {"grant_list", "grants", "grant", "to"},
        {"map_list", "maps", "lun", "object"},
        {"snapshot_list", "snapshots", "snapshot", "name"},
        {"trash_list", "trash", "trash", "name"},
        {"token_list", "tokens", "token", "name"},
        {"credential_list", "credentials", "credential", "host"},
    };
    for (unsigned i = 0; i < countof(kinds); i++)
        add_list(lines, by, all, kinds[i].list, kinds[i].key, kinds[i].kind, kinds[i].field);
    const json_t *sets = json_object_get(json_object_get(all, "set_list"), "sets");
    for (size_t i = 0; i < json_array_size(sets); i++) {
        const json_t *set = json_array_get(sets, i);
        const char *state = rig_text(set, "state"); /* of some only a record is left */
        if (strcmp(state, "aborted") != 0 && strcmp(state, "broken") != 0)
            add_line(lines, by, "set", rig_text(set, "name"));
    }
    const json_t *groups = json_object_get(json_object_get(all, "group_list"), "groups");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *group = json_array_get(groups, i);
        for (size_t j = 0; j < json_array_size(json_object_get(group, "hosts")); j++)
            add_line(lines, by, "member", rig_text(group, "name"));
    }
    const json_t *jobs = json_object_get(json_object_get(all, "job_list"), "jobs");
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i);
        if (strcmp(rig_text(job, "state"), "paused") == 0)
            add_line(lines, by, "job", rig_text(job, "verb"));
    }
}

/* What became of an object that was there before and is there after. */
static void add_changes(json_t *lines, const json_t *before, const json_t *after)
{
    char line[400], text[TEXT_SIZE_MAX];
    const char *name = rig_text(after, "name");
    bool is_disk = json_object_get(after, "undo_points") != NULL;
    int undos = (int)json_array_size(json_object_get(after, "undo_points")) -
                (int)json_array_size(json_object_get(before, "undo_points"));
    if (undos) add_line(lines, undos, "undo", name);
    if (is_disk && rig_number(before, "size_bytes") != rig_number(after, "size_bytes")) {
        snprintf(line, sizeof line, "%s %s", name,
                 text_format_size((uint64_t)rig_number(after, "size_bytes"), text));
        add_line(lines, 1, "size", line);
    }
    if (is_disk && rig_number(before, "depth") > 0 && rig_number(after, "depth") == 0)
        add_line(lines, 1, "independent", name);
    if (strcmp(rig_text(before, "cut_at"), rig_text(after, "cut_at")) != 0 && !is_disk &&
        json_object_get(after, "set"))
        add_line(lines, 1, "cut", name);
    if (strcmp(rig_text(before, "type"), rig_text(after, "type")) != 0)
        add_line(lines, 1, rig_text(after, "type"), name);
    if (strcmp(rig_text(before, "retain_until"), rig_text(after, "retain_until")) != 0)
        add_line(lines, 1, "retained", name);
}

/* Lines with +1 came, with -1 went. */
static json_t *what_was_done(json_t *before, const json_t *after)
{
    json_t *lines = json_object();
    const char *key;
    json_t *value;
    add_lines(lines, -1, before);
    add_lines(lines, 1, after);
    json_object_foreach(before, key, value)
    {
        const json_t *later = json_object_get(after, key);
        if (strstr(key, "_show ") && later) add_changes(lines, value, later);
    }
    return lines;
}

/* ---- What the dry run said, as the same lines ---- */

enum { CAPTURE_SIZE = 300 };

/* Each * takes what is there up to the next ". */
static bool matches(const char *pattern, const char *text, char captures[2][CAPTURE_SIZE])
{
    unsigned count = 0;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '*') {
            if (*text++ != *pattern) return false;
            continue;
        }
        size_t length = strcspn(text, "\"");
        check(count < 2 && length < CAPTURE_SIZE);
        snprintf(captures[count++], CAPTURE_SIZE, "%.*s", (int)length, text);
        text += length;
    }
    return true;
}

/* Which: 1 or 2 for what was captured, 0 for the object of the call, -1: it tells what stays. */
static const struct {
    const char *pattern;
    int by;
    const char *kind;
    int which;
} sentences[] = {
    {"prepare set \"*\"", 1, "set", 1},
    {"prepare snapshot \"*\"", 1, "snapshot", 1},
    {"give up the copy that job ", 0, "", -1},
    {"delete snapshot \"*\" of disk", -1, "snapshot", 1},
    {"delete disk \"*\" and its data", -1, "disk", 1},
    {"delete set \"*\"", -1, "set", 1},
    {"delete for good disk \"*\"", -1, "trash", 1},
    {"delete for good snapshot \"*\"", -1, "trash", 1},
    {"delete for good undo point \"*\" of disk \"*\"", -1, "undo", 2},
    {"delete undo point \"*\" of disk \"*\"", -1, "undo", 2},
    {"restore disk \"*\"", 1, "disk", 1},
    {"restore disk \"*\"", -1, "trash", 1},
    {"forget snapshot \"*\"", -1, "snapshot", 1},
    {"forget host \"*\"", -1, "host", 1},
    {"make disk \"*\" of it", 1, "disk", 1},
    {"make disk \"*\" independent", 1, "independent", 1},
    {"make pool \"*\"", 1, "pool", 1},
    {"make a code for host \"*\"", 1, "credential", 1},
    {"close pool \"*\"", -1, "pool", 1},
    {"cut disk \"*\" anew for snapshot \"*\"", 1, "cut", 2},
    {"copy what snapshot \"*\" still reads", 1, "full", 1},
    {"take away everything that was written to it since; keep that for 24 hours as undo", 1, "undo",
     0},
    {"then take away everything that disk \"*\" holds; keep that for 24 hours", 1, "undo", 1},
    {"take LUN 1 (snapshot \"*\") away from host", -1, "lun", 1},
    {"take LUN 2 (snapshot \"*\") away from host", -1, "lun", 1},
    {"take LUN 5 (disk \"*\") away from host", -1, "lun", 1},
    {"take snapshot \"*\" away from 1 host", -1, "lun", 1},
    {"take host \"*\" out of group \"*\"", -1, "member", 2},
    {"revoke token \"*\"", -1, "token", 1},
    {"end its enrolment code", -1, "credential", 0},
    {"end the enrolment code *\"*\"", -1, "credential", 2},
    {"end the credential *\"*\": the next request", -1, "credential", 2},
    {"end its credential", -1, "credential", 0},
    {"when that code is used", 0, "", -1},
    {"end its code", -1, "credential", 0},
    {"end the grant that \"*\" imports", -1, "grant", 1},
    {"delete group \"*\"", -1, "group", 1},
    {"abort set \"*\"", -1, "set", 1},
    {"give up snapshot \"*\"", -1, "snapshot", 1},
    {"let go of set \"*\"", -1, "set", 1},
    {"keep snapshot \"*\" until", 1, "retained", 1},
    {"end job ", -1, "job", -2},
    {"change its size from 16M to *", 1, "size", -3},
    {"set this server's own clock forward by 4 d", 0, "", -1},
    {"fail, and change nothing, if there is something already", 0, "", -1},
    {"copy what branch \"*\" still reads", 0, "", -1},
    {"copy snapshot \"*\" of disk", 0, "", -1},
    {"give disk \"*\" the content it had", 0, "", -1},
    {"change it under host", 0, "", -1},
    {"keep ", 0, "", -1},
    {"leave ", 0, "", -1},
};

static bool add_sentence(json_t *lines, const char *text, const char *object)
{
    bool known = false;
    for (unsigned i = 0; i < countof(sentences); i++) {
        char captures[2][CAPTURE_SIZE], line[CAPTURE_SIZE + 40];
        if (!matches(sentences[i].pattern, text, captures)) continue;
        bool is_of_snapshot = strcmp(sentences[i].kind, "retained") == 0;
        if (known && sentences[i].which == -1 && !is_of_snapshot) continue;
        known = true;
        int which = sentences[i].which;
        snprintf(line, sizeof line, "%s",
                 which > 0     ? captures[which - 1]
                 : which == -2 ? "snapshot_verify"
                               : object);
        if (which == -3) snprintf(line, sizeof line, "%s %s", object, captures[0]);
        if (which != -1) add_line(lines, sentences[i].by, sentences[i].kind, line);
        bool is_thing = strncmp(text, "delete s", 8) == 0 || strncmp(text, "delete d", 8) == 0;
        bool is_set = strncmp(text, "delete set", 10) == 0;
        if (is_thing && !is_set && strstr(text, "(in the trash")) add_line(lines, 1, "trash", line);
    }
    if (!known) printf("# a sentence that the test does not know: %s\n", text);
    return known;
}

static json_t *what_was_said(const json_t *answer, const char *object)
{
    json_t *lines = json_object();
    const json_t *would = json_object_get(answer, "would");
    for (size_t i = 0; i < json_array_size(would); i++)
        expect(add_sentence(lines, json_string_value(json_array_get(would, i)), object));
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(lines, next, key, value)
    { /* full, and then a disk */
        char gone[CAPTURE_SIZE + 40];
        if (strncmp(key, "full ", 5) != 0) continue;
        snprintf(gone, sizeof gone, "snapshot %s", key + 5);
        if (json_object_get(lines, gone)) json_object_del(lines, key);
    }
    return lines;
}

/* ---- The tests ---- */

static void print(const char *what, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    printf("# %s %s\n", what, text);
    free(text);
}

static void say_difference(json_t *before, const json_t *after)
{
    const char *key;
    json_t *value;
    json_object_foreach(before, key, value)
    {
        const json_t *later = json_object_get(after, key);
        if (json_equal(value, later)) continue;
        print(key, value);
        print("is now", later);
    }
}

/* The name of an undo point and the identity of a disk are new, and those that were said. */
static void hold_to_names(const json_t *answer, const json_t *between, const json_t *after)
{
    static const char *const before_it[] = {"24 hours as undo point \"", "identity (NAA "};
    char *earlier = json_dumps(json_object_get(between, "disk_list"), 0);
    char *later = json_dumps(json_object_get(after, "disk_list"), 0);
    const json_t *would = json_object_get(answer, "would");
    for (size_t i = 0; i < json_array_size(would); i++) {
        const char *text = json_string_value(json_array_get(would, i));
        for (unsigned j = 0; j < countof(before_it); j++) {
            char name[CAPTURE_SIZE];
            const char *at = strstr(text, before_it[j]);
            if (!at) continue;
            at += strlen(before_it[j]);
            snprintf(name, sizeof name, "\"%.*s\"", (int)strcspn(at, "\")"), at);
            if (!strstr(later, name)) printf("# %s is not there: %s\n", name, text);
            expect(strstr(later, name) && !strstr(earlier, name));
        }
    }
    free(earlier);
    free(later);
}

static void hold_to_its_word(const struct deed *deed)
{
    world_begin();
    json_t *before = everything();
    json_t *given = arguments_of(deed->arguments, true);
    json_t *answer = rig_call(rig, deed->verb, given);
    if (!answer) printf("# %s %s: %s\n", deed->verb, deed->arguments, rig->message);
    expect(json_is_true(json_object_get(answer, "dry_run")));
    expect(json_array_size(json_object_get(answer, "would")) > 0);
    wait_for_jobs();
    json_t *between = everything();
    expect(json_equal(before, between));
    if (!json_equal(before, between)) say_difference(before, between);
    given = arguments_of(deed->arguments, false);
    json_t *said = what_was_said(answer, rig_text(given, "name"));
    json_t *result = rig_call(rig, deed->verb, given);
    if (!result) printf("# %s %s: %s\n", deed->verb, deed->arguments, rig->message);
    expect(result != NULL);
    wait_for_jobs();
    sim_run_for(rig->sim, 3 * RT_SECOND); /* expiry goes once a second */
    json_t *after = everything();
    json_t *done = what_was_done(before, after);
    expect(json_equal(said, done));
    if (!json_equal(said, done)) {
        print(deed->verb, answer);
        print("said:", said);
        print("done:", done);
    }
    hold_to_names(answer, between, after);
    expect(!json_equal(between, after)); /* else it shows nothing */
    json_decref(before);
    json_decref(between);
    json_decref(after);
    json_decref(answer);
    json_decref(result);
    json_decref(said);
    json_decref(done);
    rig_destroy(rig);
}

/* Without what tells of the start itself. */
static json_t *restarted(void)
{
    expect(rig_restart(rig));
    make_api();
    sim_run_for(rig->sim, 2 * RT_SECOND);
    json_t *all = everything();
    json_object_del(all, "event_list");
    json_object_del(all, "audit_list");
    return all;
}

/* What is in the catalog is what the next start finds. */
static void after_all_dry_runs_the_next_start_finds_what_the_last_one_did(void)
{
    world_begin();
    json_t *before = restarted();
    for (unsigned i = 0; i < countof(deeds); i++) {
        json_t *answer = rig_call(rig, deeds[i].verb, arguments_of(deeds[i].arguments, true));
        if (!answer) printf("# %s: %s\n", deeds[i].verb, rig->message);
        expect(answer != NULL);
        json_decref(answer);
    }
    json_t *after = restarted();
    expect(json_equal(before, after));
    if (!json_equal(before, after)) say_difference(before, after);
    json_decref(before);
    json_decref(after);
    rig_destroy(rig);
}

static void a_dry_run_changes_nothing_and_says_what_the_deed_then_does(void)
{
    for (unsigned i = 0; i < countof(deeds); i++)
        hold_to_its_word(&deeds[i]);
}

static bool has_dry_run(const char *verb)
{
    for (unsigned i = 0; i < verb_arg_count; i++) {
        if (strcmp(verb_args[i].verb, verb) == 0 && strcmp(verb_args[i].name, "dry_run") == 0)
            return true;
    }
    return false;
}

static unsigned deeds_of(const char *verb)
{
    unsigned count = 0;
    for (unsigned i = 0; i < countof(deeds); i++)
        count += strcmp(deeds[i].verb, verb) == 0;
    return count;
}

static bool is_harmless(const char *verb)
{
    for (unsigned i = 0; i < countof(destroys_nothing); i++) {
        if (strcmp(destroys_nothing[i], verb) == 0) return true;
    }
    return false;
}

static void every_verb_destroys_nothing_or_has_a_dry_run(void)
{
    for (unsigned i = 0; i < verb_count; i++) {
        const char *verb = verbs[i].id;
        bool listed = is_harmless(verb), dry = has_dry_run(verb);
        if (listed == dry) printf("# %s: does it destroy anything?\n", verb);
        expect(listed != dry);
        expect_eq(deeds_of(verb) > 0, dry);
    }
    for (unsigned i = 0; i < countof(destroys_nothing); i++)
        expect(verb_find(destroys_nothing[i]));
}

int main(void)
{
    run(every_verb_destroys_nothing_or_has_a_dry_run);
    run(after_all_dry_runs_the_next_start_finds_what_the_last_one_did);
    run(a_dry_run_changes_nothing_and_says_what_the_deed_then_does);
    return tap_done();
}
