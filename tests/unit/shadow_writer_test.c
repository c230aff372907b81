/*
 * shadow_writer_test.c - the line protocol with good, bad and dead writers (small shell scripts).
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shadow/writer.h"
#include "tests/lib/tap.h"

enum { LONG_MS = 20000, SHORT_MS = 100 };

static char directory[64];

static void script(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    if (fd < 0) return;
    dprintf(fd, "#!/bin/sh\n%s\n", text);
    close(fd);
}

static struct err *start(const char *spec, FILE *progress, struct writer **ret_writer)
{
    struct writer_environment environment = {.directory = directory,
                                             .set_name = "nightly",
                                             .mounts = "/srv/a\n/srv/b",
                                             .progress = progress};
    return writer_start(spec, &environment, ret_writer);
}

static struct writer *started(const char *spec)
{
    struct writer *w = NULL;
    err_free(start(spec, NULL, &w));
    return w;
}

#define expect_failure(error, wanted)                                                              \
    do {                                                                                           \
        struct err *failure_ = (error);                                                            \
        expect_eq(err_status(failure_), wanted);                                                   \
        err_free(failure_);                                                                        \
    } while (0)

static void a_good_writer_answers_each_command(void)
{
    script("good", "while read -r c; do echo \"ok $1 $c\"; done");
    struct writer *w = started("good:with an argument: x=y");
    char text[WRITER_LINE_MAX];
    require(w);
    expect(!writer_ask(w, "identify 1", LONG_MS, NULL, text));
    expect_str(text, "with an argument: x=y identify 1");
    expect(!writer_ask(w, "prepare", LONG_MS, NULL, NULL));
    writer_stop(w);
}

static void it_knows_the_set_and_the_mounts(void)
{
    script("env", "read -r c; echo \"ok $TARN_SET $(echo \"$TARN_MOUNTS\" | tr '\\n' ' ')\"");
    struct writer *w = started("env");
    char text[WRITER_LINE_MAX];
    require(w);
    expect(!writer_ask(w, "identify 1", LONG_MS, NULL, text));
    expect_str(text, "nightly /srv/a /srv/b ");
    writer_stop(w);
}

static void info_lines_are_shown_to_the_person(void)
{
    script("talks", "read -r c; echo 'info first'; echo 'info second'; echo ok");
    char *shown = NULL;
    size_t size;
    FILE *progress = open_memstream(&shown, &size);
    struct writer *w = NULL;
    expect_failure(start("talks", progress, &w), STATUS_OK);
    require(w);
    expect(!writer_ask(w, "prepare", LONG_MS, NULL, NULL));
    writer_stop(w);
    fclose(progress);
    expect_str(shown, "  talks: first\n  talks: second\n");
    free(shown);
}

static void a_refusal_carries_its_reason(void)
{
    script("refuses", "while read -r c; do echo 'error the moon is full'; done");
    struct writer *w = started("refuses");
    char text[512];
    require(w);
    struct err *e = writer_ask(w, "prepare", LONG_MS, NULL, NULL);
    expect_eq(err_status(e), STATUS_CONFLICT);
    expect(strstr(err_text(e, text, sizeof text), "the moon is full") != NULL);
    err_free(e);
    writer_stop(w);
}

static void a_writer_that_dies_is_an_error(void)
{
    script("dies", "read -r c; exit 3");
    struct writer *w = started("dies");
    require(w);
    expect_failure(writer_ask(w, "prepare", LONG_MS, NULL, NULL), STATUS_OS_ERROR);
    /* and it is not spoken to any more */
    expect_failure(writer_ask(w, "abort", LONG_MS, NULL, NULL), STATUS_OS_ERROR);
    writer_stop(w);
}

static void a_writer_that_has_ended_before_it_is_asked_is_an_error(void)
{
    script("gone", "exit 0");
    struct writer *w = started("gone");
    require(w);
    expect_failure(writer_ask(w, "identify 1", LONG_MS, NULL, NULL), STATUS_OS_ERROR);
    expect_failure(writer_ask(w, "prepare", LONG_MS, NULL, NULL), STATUS_OS_ERROR);
    writer_stop(w);
}

static void silence_is_a_timeout_and_the_writer_is_killed(void)
{
    script("sleeps", "trap '' TERM; echo $$ > \"$1\"; while :; do sleep 1000; done");
    char spec[200], pid_path[128];
    snprintf(pid_path, sizeof pid_path, "%s/pid", directory);
    snprintf(spec, sizeof spec, "sleeps:%s", pid_path);
    struct writer *w = started(spec);
    require(w);
    expect_failure(writer_ask(w, "freeze", SHORT_MS, NULL, NULL), STATUS_TIMED_OUT);
    int pid = 0;
    for (int i = 0; i < 1000 && pid == 0; i++) {
        FILE *file = fopen(pid_path, "re");
        if (file && fscanf(file, "%d", &pid) != 1) pid = 0;
        if (file) fclose(file);
        if (!pid) usleep(10000);
    }
    require(pid > 0);
    writer_stop(w);
    bool ended = false; /* dead, or waiting to be collected */
    for (int i = 0; i < 1000 && !ended; i++) {
        char path[64], state = 'Z';
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "re");
        if (file && fscanf(file, "%*d %*s %c", &state) != 1) state = 'Z';
        if (file) fclose(file);
        ended = state == 'Z';
        if (!ended) usleep(10000);
    }
    expect(ended);
}

static void nonsense_is_an_error(void)
{
    script("babbles", "while read -r c; do echo okay; done");
    struct writer *w = started("babbles");
    require(w);
    expect_failure(writer_ask(w, "prepare", LONG_MS, NULL, NULL), STATUS_OS_ERROR);
    writer_stop(w);
}

static void an_endless_line_is_an_error(void)
{
    script("long", "read -r c; head -c 100000 /dev/zero | tr '\\0' x; sleep 1000");
    struct writer *w = started("long");
    require(w);
    expect_failure(writer_ask(w, "prepare", LONG_MS, NULL, NULL), STATUS_OS_ERROR);
    writer_stop(w);
}

static void two_answers_in_one_piece_are_two_answers(void)
{
    script("eager", "printf 'ok one\\nok two\\n'; cat > /dev/null");
    struct writer *w = started("eager");
    char text[WRITER_LINE_MAX];
    require(w);
    expect(!writer_ask(w, "identify 1", LONG_MS, NULL, text));
    expect_str(text, "one");
    expect(!writer_ask(w, "prepare", LONG_MS, NULL, text));
    expect_str(text, "two");
    writer_stop(w);
}

static struct err *give_up(void *arg)
{
    (*(int *)arg)++;
    return err_new(STATUS_CANCELLED, "interrupted");
}

static void a_wait_can_be_interrupted(void)
{
    script("slow", "sleep 1000");
    int asked = 0;
    struct writer_tick tick = {give_up, &asked};
    struct writer *w = started("slow");
    require(w);
    expect_failure(writer_ask(w, "prepare", LONG_MS, &tick, NULL), STATUS_CANCELLED);
    expect_eq(asked, 1);
    /* It owes an answer: what it says next must not be taken for the answer to something else. */
    expect_failure(writer_ask(w, "abort", LONG_MS, NULL, NULL), STATUS_OS_ERROR);
    writer_stop(w);
}

static void what_is_not_there_is_not_found(void)
{
    struct writer *w = NULL;
    expect_failure(start("nosuch:x", NULL, &w), STATUS_NOT_FOUND);
    expect_failure(start("/nonexistent/program", NULL, &w), STATUS_NOT_FOUND);
    expect_failure(start(":x", NULL, &w), STATUS_BAD_REQUEST);
    expect(!w);
}

static void a_path_with_an_argument_is_run(void)
{
    char spec[200], text[WRITER_LINE_MAX];
    script("good", "while read -r c; do echo \"ok $1\"; done");
    snprintf(spec, sizeof spec, "%s/good:arg", directory);
    struct writer *w = started(spec);
    require(w);
    expect_str(writer_name(w), "good");
    expect(!writer_ask(w, "identify 1", LONG_MS, NULL, text));
    expect_str(text, "arg");
    writer_stop(w);
}

int main(void)
{
    char command[128];
    signal(SIGPIPE, SIG_IGN);
    snprintf(directory, sizeof directory, "/tmp/tarn-writers.XXXXXX");
    if (!mkdtemp(directory)) return 1;
    run(a_good_writer_answers_each_command);
    run(it_knows_the_set_and_the_mounts);
    run(info_lines_are_shown_to_the_person);
    run(a_refusal_carries_its_reason);
    run(a_writer_that_dies_is_an_error);
    run(a_writer_that_has_ended_before_it_is_asked_is_an_error);
    run(silence_is_a_timeout_and_the_writer_is_killed);
    run(nonsense_is_an_error);
    run(an_endless_line_is_an_error);
    run(two_answers_in_one_piece_are_two_answers);
    run(a_wait_can_be_interrupted);
    run(what_is_not_there_is_not_found);
    run(a_path_with_an_argument_is_run);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command) != 0) return 1; // NOLINT(cert-env33-c): a path of our own
    return tap_done();
}
