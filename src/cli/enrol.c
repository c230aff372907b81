/*
 * enrol.c - the host's side of enrolment: a code in, host.json out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli_int.h"

static const char default_output[] = "/etc/tarn/host.json";

/* Made beside it with mode 0600, flushed, and put in its place in one step. */
static struct err *write_file(const char *path, const char *text)
{
    auto_free char *temporary = NULL;
    if (asprintf(&temporary, "%s.new", path) < 0) {
        temporary = NULL;
        return err_new(STATUS_NO_MEMORY, "write %s", path);
    }
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return err_from_errno("write %s", temporary);
    bool ok = dprintf(fd, "%s\n", text) > 0 && fsync(fd) == 0;
    struct err *e = ok ? NULL : err_from_errno("write %s", temporary);
    close(fd);
    if (!e && rename(temporary, path)) e = err_from_errno("write %s", path);
    if (e) unlink(temporary);
    return e;
}

/* Before the code is used up: can the file be written at all? */
static struct err *check_place(const char *path)
{
    auto_free char *directory = strdup(path);
    char *slash = directory ? strrchr(directory, '/') : NULL;
    if (!directory) return err_new(STATUS_NO_MEMORY, "look at %s", path);
    /* cppcheck-suppress memleak  ; auto_free */
    if (!slash || slash == directory) return NULL;
    *slash = '\0';
    if (strcmp(path, default_output) == 0 && mkdir(directory, 0755) && errno != EEXIST)
        return err_from_errno("make %s", directory);
    if (access(directory, W_OK)) return err_from_errno("write to %s", directory);
    return NULL;
}

static struct err *redeem(struct cli *cli, const json_t *arguments)
{
    const char *output = json_string_value(json_object_get(arguments, "output"));
    const char *code = json_string_value(json_object_get(arguments, "code"));
    json_t *config = NULL;
    if (!output) output = default_output;
    TRY(check_place(output));
    TRY(client_redeem(code ? code : "", &config));
    char *text = json_dumps(config, JSON_INDENT(2));
    struct err *e = text ? write_file(output, text) : err_new(STATUS_NO_MEMORY, "write %s", output);
    if (text) explicit_bzero(text, strlen(text));
    free(text);
    json_object_del(config, "key");
    json_object_set_new(config, "file", json_string(output));
    if (!e && cli->json) cli_print_json(cli, config);
    if (!e && !cli->json) {
        fprintf(cli->out, "Enrolled as host %s; the credential is in %s.\n",
                json_string_value(json_object_get(config, "host")), output);
    }
    json_decref(config);
    return e;
}

int cli_host_redeem(struct cli *cli, const struct cli_row *verb, int argc, char **argv)
{
    struct cli_words words;
    struct err *e = cli_parse(cli, verb, argc, argv, &words);
    if (e) return cli_fail_usage(cli, verb, e);
    if (words.help) {
        cli_help_verb(cli->out, verb);
    } else {
        e = redeem(cli, words.arguments);
    }
    json_decref(words.arguments);
    return e ? cli_fail(cli, e) : 0;
}
