/*
 * shadow_probe.c - the Linux requester on real file systems, with a server that pretends.
 *
 *     shadow_probe make [--hold MS] [--allow] [--commit WHAT] [--tell FILE] MOUNT=DISK...
 *
 * WHAT, done while everything is frozen: nothing, wait (to be killed), sleep:MS, thaw:MOUNT, stop.
 * Before that, FILE is made.  Prints what happened in which order, then "made" or "failed".
 *
 *     shadow_probe frozen MOUNT
 *
 * Exit 0 when it is frozen.  The way to ask is to freeze it: not while another is about to.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "shadow/shadow.h"

static char calls[512];
static const char *in_commit = "nothing", *tell;
static const struct shadow_options *running;

static void note(const char *what)
{
    size_t used = strlen(calls);
    snprintf(calls + used, sizeof calls - used, "%s%s", used ? " " : "", what);
}

/* Frozen file systems answer EBUSY; one that was not is frozen and thawed at once. */
static bool is_frozen(const char *mount)
{
    int fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool busy = ioctl(fd, FIFREEZE, 0) != 0 && errno == EBUSY;
    if (!busy) (void)ioctl(fd, FITHAW, 0);
    close(fd);
    return busy;
}

static json_t *set_json(void)
{
    return json_pack("{s:s, s:s, s:[]}", "name", "probe", "uuid", "u1", "members");
}

static struct err *do_prepare(void *arg, const struct shadow_request *request, json_t **ret_set)
{
    (void)arg;
    (void)request;
    note("prepare");
    *ret_set = set_json();
    return NULL;
}

static struct err *do_step(void *arg, const char *verb, json_t **ret_set)
{
    (void)arg;
    note(verb);
    if (ret_set) *ret_set = set_json();
    return NULL;
}

static struct err *do_arm(void *arg, unsigned armed_ms, unsigned commit_timeout_ms)
{
    (void)arg;
    (void)armed_ms;
    (void)commit_timeout_ms;
    note("arm");
    return NULL;
}

static bool do_commit(void *arg, bool *ret_connection_reused)
{
    (void)arg;
    *ret_connection_reused = true;
    unsigned frozen = 0;
    for (unsigned i = 0; i < running->mount_count; i++)
        frozen += is_frozen(running->mounts[i].mount);
    note(frozen == running->mount_count ? "commit(all-frozen)"
         : frozen                       ? "commit(some-frozen)"
                                        : "commit(none-frozen)");
    if (tell) { /* on a file system that is not frozen */
        int fd = open(tell, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) close(fd);
    }
    while (strcmp(in_commit, "wait") == 0)
        pause();
    if (strncmp(in_commit, "sleep:", 6) == 0) {
        long ms = strtol(in_commit + 6, NULL, 10);
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
    }
    if (strncmp(in_commit, "thaw:", 5) == 0) {
        int fd = open(in_commit + 5, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            (void)ioctl(fd, FITHAW, 0);
            close(fd);
        }
    }
    if (strcmp(in_commit, "stop") == 0) raise(SIGSTOP);
    return true;
}

static struct err *do_outcome(void *arg, json_t **ret_set)
{
    (void)arg;
    (void)ret_set;
    return NULL;
}

static const struct shadow_server_ops ops = {do_prepare, do_step, do_arm, do_commit, do_outcome};

static int make(int argc, char **argv)
{
    struct shadow_mount mounts[8];
    struct shadow_server server = {&ops, NULL};
    struct shadow_options options = {.mounts = mounts, .server = &server, .name = "probe"};
    struct shadow_report report = {0};
    for (int i = 0; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (strcmp(argv[i], "--hold") == 0 && i + 1 < argc)
            options.hold_ms = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--allow") == 0)
            options.allow_crash_consistent = true;
        else if (strcmp(argv[i], "--commit") == 0 && i + 1 < argc)
            in_commit = argv[++i];
        else if (strcmp(argv[i], "--tell") == 0 && i + 1 < argc)
            tell = argv[++i];
        else if (equals && options.mount_count < 8) {
            *equals = '\0';
            mounts[options.mount_count++] = (struct shadow_mount){argv[i], equals + 1};
        }
    }
    running = &options;
    struct err *e = shadow_create(&options, &report);
    char text[1024];
    printf("calls %s\n", calls);
    for (unsigned i = 0; i < report.member_count; i++) {
        printf("member %u %s %s %s\n", i, report.members[i].mount, report.members[i].fs_type,
               report.members[i].is_frozen ? "frozen" : "not-frozen");
    }
    if (e)
        printf("failed %s\n", err_text(e, text, sizeof text));
    else
        printf("made %s frozen_ns %llu\n", report.consistency,
               (unsigned long long)report.frozen_ns);
    int code = e ? 1 : 0;
    err_free(e);
    shadow_report_fini(&report);
    return code;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "frozen") == 0) return is_frozen(argv[2]) ? 0 : 1;
    if (argc >= 3 && strcmp(argv[1], "make") == 0) return make(argc - 2, argv + 2);
    fprintf(stderr, "usage: shadow_probe make [OPTIONS] MOUNT=DISK... | frozen MOUNT\n");
    return 2;
}
