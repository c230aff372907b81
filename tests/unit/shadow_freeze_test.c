/*
 * shadow_freeze_test.c - the hold and its watchdog, on file systems that pretend
 * (tests/lib/fake_freeze.h).
 */
#include <signal.h>
#include <sys/wait.h>

#include "shadow/freeze.h"
#include "tests/lib/fake_freeze.h"
#include "tests/lib/tap.h"

enum { LONG_MS = 10000, SHORT_MS = 60 };

static const char *points[FAKE_FS_COUNT];

static struct freezer *make(unsigned count, unsigned hold_ms, bool allow)
{
    struct freezer *f = NULL;
    struct err *e = freezer_create(&fake_freeze_ops, points, count, hold_ms, allow, &f);
    expect(!e);
    err_free(e);
    return f;
}

static void file_systems_freeze_in_order_and_thaw_in_reverse(void)
{
    fake_start_over();
    struct freezer *f = make(3, LONG_MS, false);
    require(f);
    expect_eq(freezer_freeze(f), STATUS_OK);
    expect(fake_anything_frozen());
    expect(freezer_thaw(f));
    expect_str(fake_log(), "freeze 0, freeze 1, freeze 2, thaw 2, thaw 1, thaw 0");
    expect(freezer_hold_ns(f) > 0);
    expect(!freezer_watchdog_fired(f));
    freezer_destroy(f);
}

static void busy_is_a_failure_and_thaws_what_was_frozen(void)
{
    fake_start_over();
    atomic_store(&fake_world->freeze_error[1], EBUSY);
    struct freezer *f = make(3, LONG_MS, true);
    require(f);
    expect(freezer_freeze(f) != STATUS_OK);
    (void)freezer_thaw(f);
    expect_str(fake_log(), "freeze 0, thaw 0");
    struct err *e = freezer_explain(f);
    expect(err_next_text(e) != NULL);
    expect(strstr(err_frame(e, 0), "someone else") != NULL);
    err_free(e);
    freezer_destroy(f);
}

static void what_cannot_freeze_is_refused_unless_allowed(void)
{
    fake_start_over();
    atomic_store(&fake_world->freeze_error[0], EOPNOTSUPP);
    struct freezer *f = make(2, LONG_MS, false);
    require(f);
    expect(freezer_freeze(f) != STATUS_OK);
    (void)freezer_thaw(f);
    struct err *e = freezer_explain(f);
    expect_eq(err_status(e), STATUS_NOT_SUPPORTED);
    err_free(e);
    freezer_destroy(f);

    fake_start_over();
    atomic_store(&fake_world->freeze_error[0], EOPNOTSUPP);
    f = make(2, LONG_MS, true);
    require(f);
    expect_eq(freezer_freeze(f), STATUS_OK);
    expect(freezer_thaw(f));
    struct freeze_result result;
    freezer_result(f, 0, &result);
    expect(!result.was_frozen);
    freezer_result(f, 1, &result);
    expect(result.was_frozen);
    freezer_destroy(f);
}

static void the_watchdog_ends_a_hold_that_is_too_long_and_the_thaw_tells(void)
{
    fake_start_over();
    struct freezer *f = make(3, SHORT_MS, false);
    require(f);
    expect_eq(freezer_freeze(f), STATUS_OK);
    expect(fake_all_thawed_soon());
    expect(!freezer_thaw(f));
    expect(freezer_watchdog_fired(f));
    struct err *e = freezer_explain(f);
    expect_eq(err_status(e), STATUS_TOO_LATE);
    err_free(e);
    expect_str(fake_log(), "freeze 0, freeze 1, freeze 2, thaw 2, thaw 1, thaw 0");
    freezer_destroy(f);
}

static void a_thaw_by_someone_else_is_noticed(void)
{
    fake_start_over();
    atomic_store(&fake_world->lost[1], 1);
    struct freezer *f = make(2, LONG_MS, false);
    require(f);
    expect_eq(freezer_freeze(f), STATUS_OK);
    expect(!freezer_thaw(f));
    expect(!fake_anything_frozen());
    struct err *e = freezer_explain(f);
    char text[512];
    expect(strstr(err_text(e, text, sizeof text), "something else thawed it") != NULL);
    err_free(e);
    freezer_destroy(f);
}

static void a_thaw_that_fails_is_tried_again_before_the_watchdog_goes(void)
{
    fake_start_over();
    atomic_store(&fake_world->thaw_failures[0], 3);
    struct freezer *f = make(2, LONG_MS, false);
    require(f);
    expect_eq(freezer_freeze(f), STATUS_OK);
    expect(!freezer_thaw(f));
    expect(fake_anything_frozen());
    struct err *e = freezer_explain(f);
    expect(e && strstr(err_frame(e, 0), "thaw") != NULL);
    err_free(e);
    freezer_destroy(f);
    expect(!fake_anything_frozen());
}

/* The stacked case in the wrong order: the freeze of the inner one waits for the frozen outer one.
 */
static void a_freeze_that_blocks_ends_with_the_hold_and_leaves_nothing_frozen(void)
{
    fake_start_over();
    atomic_store(&fake_world->waits_for[1], 1 + 0);
    struct freezer *f = make(2, SHORT_MS, false);
    require(f);
    expect(freezer_freeze(f) != STATUS_OK || freezer_watchdog_fired(f));
    expect(!freezer_thaw(f));
    expect(!fake_anything_frozen());
    struct err *e = freezer_explain(f);
    expect(err_status(e) == STATUS_TIMED_OUT || err_status(e) == STATUS_TOO_LATE);
    err_free(e);
    freezer_destroy(f);
    expect(!fake_anything_frozen());
}

/* A child that freezes and is killed, with its helper thread, by SIGKILL. */
static void die_in_the_hold(unsigned count)
{
    pid_t child = fork();
    if (child == 0) {
        struct freezer *f = NULL;
        err_free(freezer_create(&fake_freeze_ops, points, count, LONG_MS, false, &f));
        if (f) (void)freezer_freeze(f);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
}

static void when_the_requester_is_killed_the_watchdog_thaws_at_once(void)
{
    fake_start_over();
    die_in_the_hold(3);
    expect(fake_all_thawed_soon());
    expect_str(fake_log(), "freeze 0, freeze 1, freeze 2, thaw 2, thaw 1, thaw 0");
}

static void when_the_requester_is_killed_during_a_freeze_nothing_stays_frozen(void)
{
    fake_start_over();
    atomic_store(&fake_world->waits_for[1], 1 + 0); /* so the second freeze is still under way */
    pid_t child = fork();
    if (child == 0) {
        struct freezer *f = NULL;
        err_free(freezer_create(&fake_freeze_ops, points, 2, LONG_MS, false, &f));
        if (f) (void)freezer_freeze(f);
        _exit(0);
    }
    for (int ms = 0; ms < FAKE_WAIT_MS && !atomic_load(&fake_world->frozen[0]); ms++)
        fake_sleep_ms(1);
    expect(atomic_load(&fake_world->frozen[0]) == 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    expect(fake_all_thawed_soon());
}

static pid_t only_child(void)
{
    char path[64];
    int pid = -1;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    if (!file) return -1;
    if (fscanf(file, "%d", &pid) != 1) pid = -1;
    fclose(file);
    return pid;
}

static void without_a_watchdog_nothing_is_frozen(void)
{
    fake_start_over();
    struct freezer *f = make(2, LONG_MS, false);
    require(f);
    pid_t watchdog = only_child();
    require(watchdog > 0);
    {
        siginfo_t info;
        kill(watchdog, SIGKILL);
        waitid(P_PID, (id_t)watchdog, &info, WEXITED | WNOWAIT);
        expect(freezer_freeze(f) != STATUS_OK);
        expect(!freezer_thaw(f));
        expect_str(fake_log(), "");
        struct err *e = freezer_explain(f);
        expect(strstr(err_frame(e, 0), "watchdog") != NULL);
        err_free(e);
    }
    freezer_destroy(f);
}

static void the_watchdog_shrugs_off_polite_signals(void)
{
    fake_start_over();
    struct freezer *f = make(2, SHORT_MS, false);
    require(f);
    pid_t watchdog = only_child();
    require(watchdog > 0);
    {
        kill(watchdog, SIGTERM);
        kill(watchdog, SIGINT);
        kill(watchdog, SIGHUP);
    }
    expect_eq(freezer_freeze(f), STATUS_OK);
    expect(fake_all_thawed_soon());
    (void)freezer_thaw(f);
    freezer_destroy(f);
}

static void a_mount_point_that_is_not_there_is_an_error(void)
{
    const char *nowhere[] = {"/nonexistent/tarn"};
    struct freezer *f = NULL;
    struct err *e = freezer_create(&fake_freeze_ops, nowhere, 1, LONG_MS, false, &f);
    expect_eq(err_status(e), STATUS_NOT_FOUND);
    expect(!f);
    err_free(e);
}

int main(void)
{
    if (!fake_set_up()) return 1;
    for (unsigned i = 0; i < FAKE_FS_COUNT; i++)
        points[i] = fake_points[i];
    run(file_systems_freeze_in_order_and_thaw_in_reverse);
    run(busy_is_a_failure_and_thaws_what_was_frozen);
    run(what_cannot_freeze_is_refused_unless_allowed);
    run(the_watchdog_ends_a_hold_that_is_too_long_and_the_thaw_tells);
    run(a_thaw_by_someone_else_is_noticed);
    run(a_thaw_that_fails_is_tried_again_before_the_watchdog_goes);
    run(a_freeze_that_blocks_ends_with_the_hold_and_leaves_nothing_frozen);
    run(when_the_requester_is_killed_the_watchdog_thaws_at_once);
    run(when_the_requester_is_killed_during_a_freeze_nothing_stays_frozen);
    run(without_a_watchdog_nothing_is_frozen);
    run(the_watchdog_shrugs_off_polite_signals);
    run(a_mount_point_that_is_not_there_is_an_error);
    fake_tear_down();
    return tap_done();
}
