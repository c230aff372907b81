/* Which Linux runtime is taken, above all where io_uring is refused.  Each try is a child of its
 * own, since a filter of system calls stays. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rt/rt_linux.h"
#include "tests/lib/tap.h"
#include "tests/unit/deny.h"

/* How a child ends. */
enum answer { ANSWER_URING = 10, ANSWER_EPOLL, ANSWER_ERROR, ANSWER_WRONG, ANSWER_NO_FILTER };

struct attempt {
    enum rt_linux_backend backend;
    const char *environment; /* TARN_RT; NULL: not set */
    unsigned denied;         /* system call, where errno_value is not 0 */
    unsigned errno_value;
    bool no_descriptors;
    enum status status; /* of the error, where one is expected */
    bool no_next;       /* and it does not know what to do */
};

static bool has_filters;
static struct rt *rt;

static void stop(struct rt_message *message)
{
    rt_stop(rt);
}

static enum answer judge_error(struct err *e, const struct attempt *attempt)
{
    char text[256];
    bool right = err_status(e) == attempt->status && !err_next_text(e) == attempt->no_next;
    if (!right) printf("# %s\n", err_text(e, text, sizeof text));
    err_free(e);
    return right ? ANSWER_ERROR : ANSWER_WRONG;
}

static enum answer try_it(const struct attempt *attempt)
{
    struct rt_message last = {.fn = stop};
    struct rlimit none = {0};
    unsetenv("TARN_RT");
    if (attempt->environment) setenv("TARN_RT", attempt->environment, 1);
    if (attempt->no_descriptors) setrlimit(RLIMIT_NOFILE, &none);
    if (attempt->errno_value && !deny_call(attempt->denied, attempt->errno_value))
        return ANSWER_NO_FILTER;
    struct err *e = rt_linux_create(&(struct rt_linux_options){.backend = attempt->backend}, &rt);
    if (e) return judge_error(e, attempt);
    rt_post(rt, &last); /* a turn, to see that it lives */
    rt_run(rt);
    bool is_epoll = strcmp(rt_linux_backend_name(rt), "epoll") == 0;
    bool should_say_why = is_epoll && attempt->errno_value;
    bool says_why = rt_linux_refusal(rt) && err_next_text(rt_linux_refusal(rt));
    rt_linux_destroy(rt);
    if (says_why != should_say_why) return ANSWER_WRONG;
    return is_epoll ? ANSWER_EPOLL : ANSWER_URING;
}

static int answer_of(struct attempt attempt)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return -1;
    if (child == 0) {
        enum answer answer = try_it(&attempt);
        fflush(stdout);
        _exit((int)answer);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

static void auto_takes_epoll_however_io_uring_is_refused(void)
{
    static const unsigned codes[] = {EPERM, EACCES, ENOSYS, EINVAL, ENOMEM};
    for (unsigned i = 0; i < countof(codes); i++) {
        expect_eq(
            answer_of((struct attempt){.denied = __NR_io_uring_setup, .errno_value = codes[i]}),
            ANSWER_EPOLL);
    }
}

static void auto_takes_epoll_where_a_ring_is_made_but_not_of_use(void)
{
    static const unsigned calls[] = {__NR_io_uring_enter, __NR_io_uring_register};
    for (unsigned i = 0; i < countof(calls); i++) {
        expect_eq(answer_of((struct attempt){.denied = calls[i], .errno_value = EPERM}),
                  ANSWER_EPOLL);
    }
}

static void who_asks_for_io_uring_is_told_that_it_is_refused(void)
{
    struct attempt a = {.backend = RT_LINUX_URING,
                        .denied = __NR_io_uring_setup,
                        .errno_value = EPERM,
                        .status = STATUS_DENIED};
    expect_eq(answer_of(a), ANSWER_ERROR);
    a.backend = RT_LINUX_AUTO;
    a.environment = "uring";
    expect_eq(answer_of(a), ANSWER_ERROR);
}

static void a_failure_of_another_kind_is_no_refusal(void)
{
    struct attempt a = {.denied = __NR_io_uring_setup,
                        .errno_value = EMFILE,
                        .status = STATUS_OS_ERROR,
                        .no_next = true};
    expect_eq(answer_of(a), ANSWER_ERROR);
}

static void the_environment_takes_the_place_of_auto_only(void)
{
    expect_eq(answer_of((struct attempt){.environment = "epoll"}), ANSWER_EPOLL);
    expect_eq(answer_of((struct attempt){.backend = RT_LINUX_EPOLL, .environment = "uring"}),
              ANSWER_EPOLL);
    expect_eq(answer_of((struct attempt){.environment = "kqueue", .status = STATUS_BAD_CONFIG}),
              ANSWER_ERROR);
}

static void without_descriptors_there_is_an_error_and_nothing_else(void)
{
    for (int i = RT_LINUX_AUTO; i <= RT_LINUX_EPOLL; i++) {
        struct attempt a = {.backend = (enum rt_linux_backend)i,
                            .no_descriptors = true,
                            .status = STATUS_OS_ERROR,
                            .no_next = true};
        expect_eq(answer_of(a), ANSWER_ERROR);
    }
}

/* ---- A flush is a flush ---- */

static void sync_done(struct rt_file_io *io)
{
    rt_stop(rt);
}

/* What a sync says when the kernel's call fails; STATUS_OK would mean that nobody made the call. */
static enum status sync_without_fdatasync(void)
{
    char path[] = "/var/tmp/rt_refusal.XXXXXX";
    int fd = mkstemp(path);
    struct rt_file_io io = {.op = RT_FILE_SYNC, .site = RT_FLUSH_HOST, .done = sync_done};
    if (!deny_call(__NR_fdatasync, EIO)) return STATUS_INTERNAL; /* before there are threads */
    auto_err struct err *e =
        rt_linux_create(&(struct rt_linux_options){.backend = RT_LINUX_EPOLL}, &rt);
    if (fd < 0 || e) return STATUS_INTERNAL;
    close(fd);
    auto_err struct err *failed = rt_file_open(rt, path, 0, &io.file, NULL);
    unlink(path);
    if (failed) return STATUS_INTERNAL;
    rt_file_submit(rt, &io);
    rt_run(rt);
    rt_file_close(io.file);
    rt_linux_destroy(rt);
    return io.status;
}

static void a_sync_whose_system_call_fails_has_failed(void)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit((int)sync_without_fdatasync());
    require(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    expect_eq(WEXITSTATUS(status), STATUS_FLUSH_FAILED);
}

static void run_filtered(const char *name, void (*test)(void))
{
    if (has_filters) {
        tap_run(name, test);
    } else {
        tap_skip(name, "this machine allows no filters of system calls");
    }
}

int main(void)
{
    struct attempt harmless = {.backend = RT_LINUX_EPOLL, /* and what it denies nobody calls */
                               .denied = __NR_acct,
                               .errno_value = EPERM};
    has_filters = answer_of(harmless) != ANSWER_NO_FILTER;
    run_filtered("auto_takes_epoll_however_io_uring_is_refused",
                 auto_takes_epoll_however_io_uring_is_refused);
    run_filtered("auto_takes_epoll_where_a_ring_is_made_but_not_of_use",
                 auto_takes_epoll_where_a_ring_is_made_but_not_of_use);
    run_filtered("who_asks_for_io_uring_is_told_that_it_is_refused",
                 who_asks_for_io_uring_is_told_that_it_is_refused);
    run_filtered("a_failure_of_another_kind_is_no_refusal",
                 a_failure_of_another_kind_is_no_refusal);
    run_filtered("a_sync_whose_system_call_fails_has_failed",
                 a_sync_whose_system_call_fails_has_failed);
    run(the_environment_takes_the_place_of_auto_only);
    run(without_descriptors_there_is_an_error_and_nothing_else);
    return tap_done();
}
