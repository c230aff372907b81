/*
 * shadow_create_test.c - the steps of a shadow copy and the way back from each, with a server, file
 * systems and writers that pretend.  The log of all of them in one order is what is looked at.
 */
#include <fcntl.h>
#include <signal.h>

#include "shadow/shadow.h"
#include "tests/lib/fake_freeze.h"
#include "tests/lib/tap.h"

/* ---- The server ---- */

static struct {
    const char *fails; /* the call that fails */
    bool abort_fails;
    const char *abort_answers;  /* the state of the set, where it is not "abort" */
    unsigned hold_in_commit_ms; /* the commit takes so long (the test's watchdog is shorter) */
    char disks[256], name[64];
    unsigned lease_s;
} server;

static json_t *set_json(const char *state)
{
    return json_pack("{s:s, s:s, s:s, s:[{s:s, s:s}]}", "name", "nightly", "uuid", "u1", "state",
                     state, "members", "disk", "data", "snapshot", "nightly-data");
}

static struct err *server_call(const char *what)
{
    fake_note(what);
    if (server.fails && strcmp(server.fails, what) == 0)
        return err_new(STATUS_CONFLICT, "the server refuses to %s", what);
    return NULL;
}

static struct err *server_prepare(void *arg, const struct shadow_request *request, json_t **ret_set)
{
    (void)arg;
    server.disks[0] = '\0';
    for (unsigned i = 0; i < request->disk_count; i++) {
        size_t used = strlen(server.disks);
        snprintf(server.disks + used, sizeof server.disks - used, "%s%s", used ? " " : "",
                 request->disks[i]);
    }
    snprintf(server.name, sizeof server.name, "%s", request->name);
    server.lease_s = request->lease_s;
    TRY(server_call("prepare"));
    *ret_set = set_json("prepared");
    return NULL;
}

static struct err *server_step(void *arg, const char *verb, json_t **ret_set)
{
    (void)arg;
    TRY(server_call(verb));
    if (server.abort_fails && strcmp(verb, "abort") == 0)
        return err_new(STATUS_UNREACHABLE, "gone");
    bool is_abort = strcmp(verb, "abort") == 0;
    if (ret_set)
        *ret_set = set_json(is_abort && server.abort_answers ? server.abort_answers : verb);
    return NULL;
}

static struct err *server_arm(void *arg, unsigned armed_ms, unsigned commit_timeout_ms)
{
    (void)arg;
    (void)armed_ms;
    (void)commit_timeout_ms;
    return server_call("arm");
}

static bool server_commit(void *arg, bool *ret_connection_reused)
{
    (void)arg;
    fake_note("commit");
    *ret_connection_reused = true;
    if (server.hold_in_commit_ms) (void)fake_all_thawed_soon();
    return !server.fails || strcmp(server.fails, "commit") != 0;
}

static struct err *server_outcome(void *arg, json_t **ret_set)
{
    (void)arg;
    (void)ret_set;
    return server.fails && strcmp(server.fails, "commit") == 0
               ? err_new(STATUS_TOO_LATE, "no longer armed")
               : NULL;
}

static const struct shadow_server_ops server_ops = {server_prepare, server_step, server_arm,
                                                    server_commit, server_outcome};
static const struct shadow_server fake_server = {&server_ops, NULL};

/* ---- A run ---- */

static struct shadow_mount mounts[4];
static struct shadow_options options;
static struct shadow_report report;
static struct err *failure;
static char failure_text[1024];

/* mountinfo of three ext4, one vfat and / ; fs1 is mounted twice, and / has a bind mount */
static bool write_mountinfo(void)
{
    char path[160];
    snprintf(path, sizeof path, "%s/proc", fake_root);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/proc/self", fake_root);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", fake_root);
    FILE *file = fopen(path, "we");
    if (!file) return false;
    fprintf(file,
            "1 0 8:1 / / rw - ext4 /dev/a rw\n"
            "2 1 8:2 / %s rw - ext4 /dev/b rw\n"
            "3 1 8:3 / %s rw - xfs /dev/c rw\n"
            "4 1 8:3 / %s rw - xfs /dev/c rw\n"
            "5 1 8:4 / %s rw - vfat /dev/d rw\n"
            "6 1 8:1 /srv %s/bound rw - ext4 /dev/a rw\n",
            fake_points[0], fake_points[1], fake_points[2], fake_points[3], fake_root);
    return fclose(file) == 0;
}

static void start_over(void)
{
    err_free(failure);
    failure = NULL;
    shadow_report_fini(&report);
    fake_start_over();
    memset(&server, 0, sizeof server);
    mounts[0] = (struct shadow_mount){fake_points[0], "data"};
    mounts[1] = (struct shadow_mount){fake_points[1], "wal"};
    options = (struct shadow_options){.mounts = mounts,
                                      .mount_count = 2,
                                      .name = "nightly",
                                      .writers_directory = fake_root,
                                      .server = &fake_server,
                                      .freeze_ops = &fake_freeze_ops,
                                      .sysroot = fake_root};
}

static bool make(void)
{
    failure = shadow_create(&options, &report);
    if (failure)
        err_text(failure, failure_text, sizeof failure_text);
    else
        failure_text[0] = '\0';
    expect(!fake_anything_frozen());
    return !failure;
}

/* A writer that notes what it is told in a file; `on` is the command that it answers with `answer`.
 */
static void writer(const char *name, const char *on, const char *answer)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", fake_root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    if (fd < 0) return;
    dprintf(fd,
            "#!/bin/sh\nwhile read -r c rest; do echo $c >> \"$0.log\"\n"
            "case $c in %s) %s ;; *) echo \"ok fine\" ;; esac; done\n",
            on, answer);
    close(fd);
    snprintf(path, sizeof path, "%s/%s.log", fake_root, name);
    unlink(path);
}

static bool writer_heard(const char *name, const char *wanted)
{
    char path[160], text[512];
    snprintf(path, sizeof path, "%s/%s.log", fake_root, name);
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    text[got > 0 ? got : 0] = '\0';
    for (char *at = text; *at; at++) {
        if (*at == '\n') *at = at[1] ? ' ' : '\0';
    }
    if (strcmp(text, wanted) == 0) return true;
    printf("# %s heard: %s\n", name, text);
    return false;
}

static const char *const one_writer[] = {"w1"}, *const two_writers[] = {"w1", "w2"};

/* ---- Behaviours ---- */

static void the_steps_come_in_order(void)
{
    start_over();
    expect(make());
    expect_str(fake_log(),
               "prepare, arm, freeze 1, freeze 0, commit, thaw 0, thaw 1, confirm, finish");
    expect_str(server.disks, "data wal");
    expect_str(server.name, "nightly");
    expect(server.lease_s > 0 && server.lease_s <= 120);
    expect_str(report.consistency, "file system");
    expect(report.frozen_ns > 0);
    expect(report.connection_reused);
}

static void the_report_has_all_figures(void)
{
    start_over();
    expect(make());
    json_t *json = shadow_report_json(&options, &report);
    expect(json_integer_value(json_object_get(json, "frozen_ns")) > 0);
    expect(json_is_integer(json_object_get(json, "commit_ns")));
    expect_eq(json_array_size(json_object_get(json, "file_systems")), 2);
    expect_eq(json_array_size(json_object_get(json, "members")), 1);
    expect(json_array_size(json_object_get(json, "phases")) >= 6);
    expect_str(json_string_value(json_object_get(json_object_get(json, "set"), "state")), "finish");
    json_decref(json);
}

static void a_file_system_named_twice_is_frozen_once(void)
{
    start_over();
    mounts[2] = (struct shadow_mount){fake_points[2], "wal2"};
    options.mount_count = 3;
    expect(make());
    expect_str(fake_log(),
               "prepare, arm, freeze 1, freeze 0, commit, thaw 0, thaw 1, confirm, finish");
    expect_str(server.disks, "data wal wal2");
}

static void the_root_of_the_system_is_refused(void)
{
    start_over();
    mounts[0].mount = "/";
    expect(!make());
    expect_eq(err_status(failure), STATUS_NOT_SUPPORTED);
    expect_str(fake_log(), "");
}

static void another_mount_of_the_root_is_refused_as_well(void)
{
    char bound[160];
    start_over();
    snprintf(bound, sizeof bound, "%s/bound", fake_root);
    mounts[0].mount = bound;
    expect(!make());
    expect_eq(err_status(failure), STATUS_NOT_SUPPORTED);
    expect_str(fake_log(), "");
}

static void what_is_no_mount_point_is_refused_with_the_one_that_holds_it(void)
{
    char inside[160];
    start_over();
    snprintf(inside, sizeof inside, "%s/sub", fake_points[0]);
    mounts[0].mount = inside;
    expect(!make());
    expect_eq(err_status(failure), STATUS_BAD_REQUEST);
    expect(strstr(err_next_text(failure), fake_points[0]) != NULL);
    expect_str(fake_log(), "");
}

static void a_kind_that_cannot_freeze_is_refused_before_anything_happens(void)
{
    start_over();
    mounts[1].mount = fake_points[3];
    expect(!make());
    expect(strstr(err_next_text(failure), "--allow-crash-consistent") != NULL);
    expect_str(fake_log(), "");
}

static void when_allowed_such_a_kind_makes_the_copy_crash_consistent(void)
{
    start_over();
    mounts[1].mount = fake_points[3];
    atomic_store(&fake_world->freeze_error[3], EOPNOTSUPP);
    options.allow_crash_consistent = true;
    expect(make());
    expect_str(report.consistency, "crash");
    expect(!report.members[0].is_frozen);
    expect(report.members[1].is_frozen);
}

static void without_freeze_nothing_is_frozen_and_it_is_said(void)
{
    start_over();
    options.no_freeze = true;
    expect(make());
    expect_str(fake_log(), "prepare, arm, commit, finish");
    expect_str(report.consistency, "crash");
    expect_eq(report.frozen_ns, 0);
}

static void a_thaw_that_proves_nothing_aborts_the_set(void)
{
    start_over();
    atomic_store(&fake_world->lost[0], 1);
    expect(!make());
    expect_str(fake_log(), "prepare, arm, freeze 1, freeze 0, commit, thaw 1, abort");
    expect_eq(err_status(failure), STATUS_TOO_LATE);
    expect(strstr(failure_text, "nothing was copied") != NULL);
}

static void a_commit_that_outlasts_the_hold_aborts_the_set(void)
{
    start_over();
    options.hold_ms = 60;
    server.hold_in_commit_ms = 1;
    expect(!make());
    expect_str(fake_log(), "prepare, arm, freeze 1, freeze 0, commit, thaw 0, thaw 1, abort");
    expect_eq(err_status(failure), STATUS_TOO_LATE);
    expect(report.watchdog_fired);
}

static void a_file_system_that_is_busy_aborts_before_the_cut(void)
{
    start_over();
    atomic_store(&fake_world->freeze_error[0], EBUSY);
    expect(!make());
    expect_str(fake_log(), "prepare, arm, freeze 1, thaw 1, abort");
}

static void a_refusal_of_the_server_leaves_nothing(void)
{
    static const struct {
        const char *fails, *log;
    } rows[] = {
        {"prepare", "prepare"},
        {"arm", "prepare, arm, abort"},
        {"commit", "prepare, arm, freeze 1, freeze 0, commit, thaw 0, thaw 1, abort"},
        {"confirm", "prepare, arm, freeze 1, freeze 0, commit, thaw 0, thaw 1, confirm, abort"},
        {"finish",
         "prepare, arm, freeze 1, freeze 0, commit, thaw 0, thaw 1, confirm, finish, abort"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        start_over();
        server.fails = rows[i].fails;
        expect(!make());
        expect_str(fake_log(), rows[i].log);
    }
}

static void an_abort_that_the_server_does_not_hear_is_told(void)
{
    start_over();
    server.fails = "commit";
    server.abort_fails = true;
    expect(!make());
    expect(strstr(failure_text, "did not hear") != NULL);
    expect_eq(err_status(failure), STATUS_TOO_LATE);
}

static void a_set_that_is_created_all_the_same_is_told(void)
{
    start_over();
    server.fails = "finish"; /* its answer was lost */
    server.abort_answers = "created";
    expect(!make());
    expect(strstr(failure_text, "the copy exists") != NULL);
    expect(strstr(err_next_text(failure), "tarn shadow delete nightly") != NULL);
}

static void writers_hear_every_step_and_make_it_application_consistent(void)
{
    start_over();
    writer("w1", "never", "");
    writer("w2", "never", "");
    options.writers = two_writers;
    options.writer_count = 2;
    expect(make());
    expect(writer_heard("w1", "identify prepare freeze thaw post"));
    expect(writer_heard("w2", "identify prepare freeze thaw post"));
    expect_str(report.consistency, "application");
    expect_str(json_string_value(json_object_get(json_array_get(report.writers, 0), "is")), "fine");
}

static void a_writer_that_cannot_prepare_stops_it_before_anything_is_frozen(void)
{
    start_over();
    writer("w1", "never", "");
    writer("w2", "prepare", "echo 'error no checkpoint'");
    options.writers = two_writers;
    options.writer_count = 2;
    expect(!make());
    expect_str(fake_log(), "prepare, abort");
    expect(strstr(failure_text, "no checkpoint") != NULL);
    expect(writer_heard("w1", "identify prepare abort"));
    expect(writer_heard("w2", "identify prepare abort"));
}

static void a_writer_that_cannot_freeze_stops_it(void)
{
    start_over();
    writer("w1", "freeze", "echo error");
    options.writers = one_writer;
    options.writer_count = 1;
    expect(!make());
    expect_str(fake_log(), "prepare, abort");
    expect(writer_heard("w1", "identify prepare freeze thaw abort"));
}

static void a_writer_that_dies_in_the_hold_aborts_the_set(void)
{
    start_over();
    writer("w1", "thaw", "exit 1");
    options.writers = one_writer;
    options.writer_count = 1;
    expect(!make());
    expect_str(fake_log(), "prepare, arm, freeze 1, freeze 0, commit, thaw 0, thaw 1, abort");
}

static void a_writer_that_fails_afterwards_does_not_undo_the_copy(void)
{
    start_over();
    writer("w1", "post", "exit 1");
    options.writers = one_writer;
    options.writer_count = 1;
    expect(make());
}

static void a_writer_that_is_not_there_aborts_the_set(void)
{
    static const char *const none[] = {"nosuch"};
    start_over();
    options.writers = none;
    options.writer_count = 1;
    expect(!make());
    expect_str(fake_log(), "prepare, abort");
}

static void an_interrupt_before_the_hold_gives_up(void)
{
    static volatile sig_atomic_t yes = 1;
    start_over();
    options.interrupted = &yes;
    expect(!make());
    expect_str(fake_log(), "prepare, abort");
    expect_eq(err_status(failure), STATUS_CANCELLED);
}

static bool wrote_while_frozen;

static ssize_t write_progress(void *cookie, const char *data, size_t size)
{
    (void)cookie;
    (void)data;
    if (fake_anything_frozen()) wrote_while_frozen = true;
    return (ssize_t)size;
}

static void nothing_is_written_while_anything_is_frozen(void)
{
    start_over();
    FILE *progress = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_progress});
    require(progress);
    setvbuf(progress, NULL, _IONBF, 0);
    wrote_while_frozen = false;
    options.progress = progress;
    writer("w1", "never", "");
    options.writers = one_writer;
    options.writer_count = 1;
    expect(make());
    expect(!wrote_while_frozen);
    fclose(progress);
}

static void a_hold_of_more_than_ten_seconds_is_refused(void)
{
    start_over();
    options.hold_ms = 11000;
    expect(!make());
    expect_str(fake_log(), "prepare, abort");
}

int main(void)
{
    char command[128];
    if (!fake_set_up() || !write_mountinfo()) return 1;
    run(the_steps_come_in_order);
    run(the_report_has_all_figures);
    run(a_file_system_named_twice_is_frozen_once);
    run(the_root_of_the_system_is_refused);
    run(another_mount_of_the_root_is_refused_as_well);
    run(what_is_no_mount_point_is_refused_with_the_one_that_holds_it);
    run(a_kind_that_cannot_freeze_is_refused_before_anything_happens);
    run(when_allowed_such_a_kind_makes_the_copy_crash_consistent);
    run(without_freeze_nothing_is_frozen_and_it_is_said);
    run(a_thaw_that_proves_nothing_aborts_the_set);
    run(a_commit_that_outlasts_the_hold_aborts_the_set);
    run(a_file_system_that_is_busy_aborts_before_the_cut);
    run(a_refusal_of_the_server_leaves_nothing);
    run(an_abort_that_the_server_does_not_hear_is_told);
    run(a_set_that_is_created_all_the_same_is_told);
    run(writers_hear_every_step_and_make_it_application_consistent);
    run(a_writer_that_cannot_prepare_stops_it_before_anything_is_frozen);
    run(a_writer_that_cannot_freeze_stops_it);
    run(a_writer_that_dies_in_the_hold_aborts_the_set);
    run(a_writer_that_fails_afterwards_does_not_undo_the_copy);
    run(a_writer_that_is_not_there_aborts_the_set);
    run(an_interrupt_before_the_hold_gives_up);
    run(nothing_is_written_while_anything_is_frozen);
    run(a_hold_of_more_than_ten_seconds_is_refused);
    start_over();
    snprintf(command, sizeof command, "rm -rf %s", fake_root);
    if (system(command) != 0) return 1; // NOLINT(cert-env33-c): a path of our own
    return tap_done();
}
