#include "shadow/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef TARN_WRITERS_DIRECTORY
#define TARN_WRITERS_DIRECTORY "/usr/libexec/tarn/writers"
#endif

enum { PATH_BYTES = 4096, TICK_MS = 1000, STOP_MS = 2000, STOP_STEP_MS = 20 };

struct writer {
    char name[64], path[PATH_BYTES], *argument;
    pid_t pid;
    int input, output; /* its stdin and stdout, our ends */
    FILE *progress;
    char line[WRITER_LINE_MAX];
    size_t used;
    bool is_broken; /* it said nonsense, or nothing in time: not spoken to any more */
};

const char *writer_name(const struct writer *writer)
{
    return writer->name;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- Finding and starting ---- */

/* Beside the program, as in a build tree; then where it was installed. */
static bool find_program(struct writer *w, const char *directory)
{
    char self[PATH_BYTES / 2] = "";
    const char *named = directory ? directory : getenv("TARN_WRITERS");
    if (named) {
        snprintf(w->path, sizeof w->path, "%s/%s", named, w->name);
        return access(w->path, X_OK) == 0;
    }
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = length > 0 ? strrchr(self, '/') : NULL;
    if (slash) {
        *slash = '\0';
        snprintf(w->path, sizeof w->path, "%s/../shadow/writers/%s", self, w->name);
        if (access(w->path, X_OK) == 0) return true;
    }
    snprintf(w->path, sizeof w->path, "%s/%s", TARN_WRITERS_DIRECTORY, w->name);
    return access(w->path, X_OK) == 0;
}

/* NAME[:ARGUMENT] or /PATH[:ARGUMENT] */
static struct err *parse_spec(struct writer *w, const char *spec, const char *directory)
{
    const char *colon = strchr(spec, ':');
    size_t length = colon ? (size_t)(colon - spec) : strlen(spec);
    if (length == 0 || length >= sizeof w->path)
        return err_new(STATUS_BAD_REQUEST, "\"%s\" names no writer", spec);
    w->argument = strdup(colon ? colon + 1 : "");
    if (!w->argument) return err_new(STATUS_NO_MEMORY, "start writer %s", spec);
    bool is_path = memchr(spec, '/', length) != NULL;
    snprintf(w->path, sizeof w->path, "%.*s", (int)length, spec);
    const char *base = is_path ? strrchr(w->path, '/') + 1 : w->path;
    snprintf(w->name, sizeof w->name, "%.60s", base);
    if (is_path) {
        if (access(w->path, X_OK) == 0) return NULL;
        return err_from_errno("start writer %s", w->path);
    }
    if (find_program(w, directory)) return NULL;
    return err_next(
        err_new(STATUS_NOT_FOUND, "there is no writer \"%s\" (looked for %s)", w->name, w->path),
        "writers are named by their path, or lie in the directory TARN_WRITERS; see "
        "doc/writers.md");
}

_Noreturn static void run_program(const struct writer *w, int input, int output)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid(); /* the interrupt key is for us: a writer hears of it as an abort */
    if (dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0) {
        execl(w->path, w->path, w->argument, (char *)NULL);
    }
    _exit(127);
}

static struct err *spawn(struct writer *w, const struct writer_environment *environment)
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) != 0) return err_from_errno("start writer %s", w->name);
    if (pipe2(from, O_CLOEXEC) != 0) {
        close(to[0]);
        close(to[1]);
        return err_from_errno("start writer %s", w->name);
    }
    setenv("TARN_SET", environment->set_name ? environment->set_name : "", 1);
    setenv("TARN_MOUNTS", environment->mounts ? environment->mounts : "", 1);
    w->pid = fork();
    if (w->pid == 0) run_program(w, to[0], from[1]);
    int code = errno;
    close(to[0]);
    close(from[1]);
    w->input = to[1];
    w->output = from[0];
    return w->pid < 0 ? err_from_code(code, "start writer %s", w->name) : NULL;
}

struct err *writer_start(const char *spec, const struct writer_environment *environment,
                         struct writer **ret_writer)
{
    struct writer *w = calloc(1, sizeof *w);
    if (!w) return err_new(STATUS_NO_MEMORY, "start writer %s", spec);
    w->input = w->output = -1;
    w->progress = environment->progress;
    struct err *e = parse_spec(w, spec, environment->directory);
    if (!e) e = spawn(w, environment);
    if (e) {
        writer_stop(w);
        return e;
    }
    *ret_writer = w;
    return NULL;
}

void writer_stop(struct writer *w)
{
    if (!w) return;
    if (w->input >= 0) close(w->input);
    if (w->pid > 0) {
        bool ended = false;
        for (int waited = 0; waited < STOP_MS && !ended; waited += STOP_STEP_MS) {
            ended = waitpid(w->pid, NULL, WNOHANG) == w->pid;
            if (!ended) nanosleep(&(struct timespec){.tv_nsec = STOP_STEP_MS * 1000000L}, NULL);
        }
        kill(-w->pid, SIGKILL); /* its session: also what it left behind */
        /* A writer that sleeps in the kernel cannot be waited for; whoever comes after us will. */
        if (!ended) (void)waitpid(w->pid, NULL, WNOHANG);
    }
    if (w->output >= 0) close(w->output);
    free(w->argument);
    free(w);
}

/* ---- Speaking ---- */

static struct err *broken(struct writer *w, enum status status, const char *what)
{
    w->is_broken = true;
    return err_new(status, "writer %s %s", w->name, what);
}

/* Takes the next line out of what was read; false when there is none yet. */
static bool take_line(struct writer *w, char line[WRITER_LINE_MAX])
{
    char *newline = memchr(w->line, '\n', w->used);
    if (!newline) return false;
    size_t length = (size_t)(newline - w->line);
    memcpy(line, w->line, length);
    line[length] = '\0';
    if (length > 0 && line[length - 1] == '\r') line[length - 1] = '\0';
    w->used -= length + 1;
    memmove(w->line, newline + 1, w->used);
    return true;
}

static struct err *read_more(struct writer *w, int64_t deadline_ms, const struct writer_tick *tick)
{
    for (;;) {
        int64_t left = deadline_ms - now_ms();
        if (left <= 0) return broken(w, STATUS_TIMED_OUT, "did not answer in time");
        struct pollfd look = {.fd = w->output, .events = POLLIN};
        int count = poll(&look, 1, (int)min_of(left, (int64_t)TICK_MS));
        struct err *e = tick && tick->fn ? tick->fn(tick->arg) : NULL;
        if (e) {
            w->is_broken = true; /* it still owes an answer: the end of its input is its abort */
            return e;
        }
        if (count == 0 || (count < 0 && errno == EINTR)) continue;
        if (w->used == sizeof w->line)
            return broken(w, STATUS_OS_ERROR, "sent a line that is too long");
        ssize_t got = read(w->output, w->line + w->used, sizeof w->line - w->used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return broken(w, STATUS_OS_ERROR, "ended without an answer");
        w->used += (size_t)got;
        return NULL;
    }
}

static bool has_word(const char *line, const char *word, const char **ret_text)
{
    size_t length = strlen(word);
    if (strncmp(line, word, length) != 0 || (line[length] != ' ' && line[length] != '\0'))
        return false;
    *ret_text = line[length] ? line + length + 1 : line + length;
    return true;
}

static struct err *send_line(struct writer *w, const char *command)
{
    char line[WRITER_LINE_MAX];
    int length = snprintf(line, sizeof line, "%s\n", command);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGPIPE, &ignore, &before);
    ssize_t wrote = write(w->input, line, (size_t)length);
    sigaction(SIGPIPE, &before, NULL);
    return wrote == length ? NULL : broken(w, STATUS_OS_ERROR, "is gone");
}

struct err *writer_ask(struct writer *w, const char *command, unsigned timeout_ms,
                       const struct writer_tick *tick, char ret_text[WRITER_LINE_MAX])
{
    char line[WRITER_LINE_MAX];
    const char *text;
    if (w->is_broken) return err_new(STATUS_OS_ERROR, "writer %s failed before", w->name);
    TRY(send_line(w, command));
    int64_t deadline_ms = now_ms() + timeout_ms;
    for (;;) {
        while (!take_line(w, line)) {
            struct err *e = read_more(w, deadline_ms, tick);
            if (e) return err_wrap(e, "%s", command);
        }
        if (has_word(line, "ok", &text)) {
            if (ret_text) snprintf(ret_text, WRITER_LINE_MAX, "%s", text);
            return NULL;
        }
        if (has_word(line, "error", &text)) {
            return err_new(STATUS_CONFLICT, "writer %s refused to %s: %s", w->name, command,
                           text[0] ? text : "it does not say why");
        }
        if (!has_word(line, "info", &text))
            return broken(w, STATUS_OS_ERROR, "said something that is neither ok, error nor info");
        if (w->progress) fprintf(w->progress, "  %s: %s\n", w->name, text);
    }
}
