/*
 * shadow.c - tarn shadow create: from MOUNT=DISK words to the requester (shadow/shadow.h) and back
 * to a report.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_int.h"
#include "shadow/shadow.h"

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* A signal asks to give up in good order; what is frozen is thawed first. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = note_signal};
    interrupted = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

struct words {
    struct shadow_mount mounts[SHADOW_MOUNTS_MAX];
    char *copies[SHADOW_MOUNTS_MAX]; /* "MOUNT\0DISK" */
    unsigned mount_count;
    const char *writers[SHADOW_WRITERS_MAX];
    unsigned writer_count;
};

static struct err *split_mounts(const json_t *list, struct words *words)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        if (words->mount_count == SHADOW_MOUNTS_MAX) {
            return err_new(STATUS_BAD_REQUEST, "more than %d mount points", SHADOW_MOUNTS_MAX);
        }
        char *copy = strdup(word), *equals = copy ? strrchr(copy, '=') : NULL;
        if (!copy) return err_new(STATUS_NO_MEMORY, "read the command line");
        words->copies[words->mount_count] = copy;
        if (!equals || equals == copy || !equals[1]) {
            free(copy);
            words->copies[words->mount_count] = NULL;
            return err_next(
                err_new(STATUS_BAD_REQUEST, "\"%s\" is not MOUNT=DISK", word),
                "write the mount point here and the disk that holds it: /srv/data=data");
        }
        *equals = '\0';
        words->mounts[words->mount_count++] = (struct shadow_mount){copy, equals + 1};
    }
    return NULL;
}

static struct err *read_words(const json_t *arguments, struct words *words)
{
    const json_t *writers = json_object_get(arguments, "writer");
    TRY(split_mounts(json_object_get(arguments, "mounts"), words));
    for (size_t i = 0; i < json_array_size(writers); i++) {
        if (words->writer_count == SHADOW_WRITERS_MAX) {
            return err_new(STATUS_BAD_REQUEST, "more than %d writers", SHADOW_WRITERS_MAX);
        }
        words->writers[words->writer_count++] = json_string_value(json_array_get(writers, i));
    }
    const json_t *timeout = json_object_get(arguments, "timeout");
    if (timeout && (json_integer_value(timeout) < 1 ||
                    json_integer_value(timeout) > SHADOW_HOLD_MAX_MS / 1000)) {
        return err_new(STATUS_BAD_REQUEST,
                       "--timeout is 1 to %d seconds: who writes waits that long at most",
                       SHADOW_HOLD_MAX_MS / 1000);
    }
    return NULL;
}

static struct err *run_shadow(struct cli *cli, const json_t *arguments, const struct words *words)
{
    struct shadow_server server;
    struct shadow_api *api;
    struct shadow_report report = {0};
    TRY(cli_connect(cli));
    TRY(shadow_server_open(cli->client, &api, &server));
    struct shadow_options options = {
        .mounts = words->mounts,
        .mount_count = words->mount_count,
        .name = json_string_value(json_object_get(arguments, "name")),
        .host = json_string_value(json_object_get(arguments, "host")),
        .writers = words->writers,
        .writer_count = words->writer_count,
        .hold_ms = (unsigned)json_integer_value(json_object_get(arguments, "timeout")) * 1000,
        .no_freeze = json_is_true(json_object_get(arguments, "no_freeze")),
        .allow_crash_consistent =
            json_is_true(json_object_get(arguments, "allow_crash_consistent")),
        .server = &server,
        .progress = cli->json ? NULL : cli->err,
        .interrupted = &interrupted,
    };
    catch_signals();
    struct err *e = shadow_create(&options, &report);
    shadow_server_close(api);
    if (!e && cli->json) {
        json_t *figures = shadow_report_json(&options, &report);
        cli_print_json(cli, figures);
        json_decref(figures);
    } else if (!e) {
        shadow_report_print(cli->out, &options, &report);
    }
    shadow_report_fini(&report);
    return e;
}

int cli_shadow_create(struct cli *cli, const struct cli_row *verb, int argc, char **argv)
{
    struct cli_words typed;
    struct words words = {0};
    struct err *e = cli_parse(cli, verb, argc, argv, &typed);
    if (e) return cli_fail_usage(cli, verb, e);
    int code = 0;
    if (typed.help) {
        cli_help_verb(cli->out, verb);
    } else {
        e = read_words(typed.arguments, &words);
        if (e)
            code = cli_fail_usage(cli, verb, e);
        else if ((e = run_shadow(cli, typed.arguments, &words)))
            code = cli_fail(cli, e);
    }
    for (unsigned i = 0; i < SHADOW_MOUNTS_MAX; i++)
        free(words.copies[i]);
    json_decref(typed.arguments);
    return code;
}
