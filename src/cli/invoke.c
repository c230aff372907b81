/*
 * invoke.c - one command: parse, send, wait for the job it may have started, print.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli_int.h"

/* ---- Errors ---- */

int cli_fail(struct cli *cli, struct err *e)
{
    enum { TEXT_MAX = 2048 };
    char text[TEXT_MAX];
    int code = status_info(err_status(e))->exit_code;
    if (code == 0) code = 1;
    fflush(cli->out);
    fprintf(cli->err, "tarn: %s\n", err_text(e, text, sizeof text));
    if (err_next_text(e)) fprintf(cli->err, "  what to do: %s\n", err_next_text(e));
    if (cli->json) {
        json_t *error =
            json_pack("{s:{s:s, s:s, s:s?}}", "error", "status", status_info(err_status(e))->name,
                      "message", text, "next", err_next_text(e));
        cli_print_json(cli, error);
        json_decref(error);
    }
    err_free(e);
    return code;
}

int cli_fail_usage(struct cli *cli, const struct cli_row *verb, struct err *e)
{
    int code = cli_fail(cli, e);
    if (code != CLI_EXIT_USAGE) return code; /* such as a secret file that cannot be read */
    if (verb) {
        fputs("  usage: ", cli->err);
        cli_usage_line(cli->err, verb);
        fprintf(cli->err, "\n  more: tarn help %s %s\n", verb->noun, verb->verb);
    } else {
        fputs("  more: tarn help\n", cli->err);
    }
    return code;
}

void cli_print_json(struct cli *cli, const json_t *answer)
{
    if (!answer) return;
    json_dumpf(answer, cli->out, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    fputc('\n', cli->out);
}

/* ---- Sending ---- */

struct err *cli_connect(struct cli *cli)
{
    if (cli->client) return NULL;
    if (cli->env->connect) {
        struct transport *transport = cli->env->connect(cli->env->arg);
        if (!transport) return err_new(STATUS_NO_MEMORY, "connect");
        TRY(client_create(transport, "the test server", &cli->client));
    } else {
        TRY(client_config_find(cli->config_path, &cli->config));
        TRY(client_open(&cli->config, &cli->client));
    }
    if (cli->timeout_s) client_set_timeout(cli->client, cli->timeout_s * 1000);
    return NULL;
}

/* The text of a value inside a path or query; NULL for what cannot be there. */
static char *encoded_value(const json_t *value)
{
    char number[32];
    if (json_is_string(value)) return client_encode_segment(json_string_value(value));
    if (json_is_boolean(value)) return strdup(json_is_true(value) ? "true" : "false");
    if (!json_is_integer(value)) return NULL;
    snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return strdup(number);
}

static bool is_in_path(const struct cli_row *verb, const char *name)
{
    char braced[80];
    snprintf(braced, sizeof braced, "{%s}", name);
    return strstr(verb->path, braced) != NULL;
}

static struct err *write_path(FILE *memory, const struct cli_row *verb, const json_t *arguments)
{
    for (const char *at = verb->path; *at;) {
        const char *close = *at == '{' ? strchr(at, '}') : NULL;
        if (!close) {
            fputc(*at++, memory);
            continue;
        }
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(close - at - 1), at + 1);
        auto_free char *encoded = encoded_value(json_object_get(arguments, name));
        if (!encoded) return err_new(STATUS_BAD_REQUEST, "%s is missing", name);
        fputs(encoded, memory);
        at = close + 1;
    }
    if (verb->method == CLI_POST) return NULL;
    const char *key;
    json_t *value;
    char separator = '?';
    json_object_foreach((json_t *)(uintptr_t)arguments, key, value)
    {
        if (is_in_path(verb, key)) continue;
        auto_free char *encoded = encoded_value(value);
        if (!encoded) continue;
        fprintf(memory, "%c%s=%s", separator, key, encoded);
        separator = '&';
    }
    return NULL;
}

struct err *cli_path_of(const struct cli_row *verb, const json_t *arguments, char **ret_path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) return err_new(STATUS_NO_MEMORY, "write a request");
    struct err *e = write_path(memory, verb, arguments);
    if (fclose(memory) != 0 && !e) e = err_new(STATUS_NO_MEMORY, "write a request");
    if (e) {
        free(text);
        return e;
    }
    *ret_path = text;
    return NULL;
}

/* The body of a POST: what is not in the path. */
static json_t *body_of(const struct cli_row *verb, json_t *arguments)
{
    if (verb->method != CLI_POST) return NULL;
    json_t *body = json_object();
    const char *key;
    json_t *value;
    json_object_foreach(arguments, key, value)
    {
        if (!is_in_path(verb, key)) json_object_set(body, key, value);
    }
    return body;
}

struct err *cli_send(struct cli *cli, const struct cli_row *verb, json_t *arguments,
                     json_t **ret_answer)
{
    static const char *const methods[] = {"GET", "POST", "DELETE", "GET"};
    auto_free char *path = NULL;
    TRY(cli_connect(cli));
    TRY(cli_path_of(verb, arguments, &path));
    json_t *body = body_of(verb, arguments);
    struct err *e = client_call(cli->client, methods[verb->method], path, body, ret_answer);
    json_decref(body);
    return e;
}

/* ---- Jobs ---- */

struct progress {
    struct cli *cli;
    bool is_terminal, shown;
    unsigned last_tenth;
};

static uint64_t number_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value < 0 ? 0 : (uint64_t)value;
}

void cli_job_progress(void *arg, const json_t *job)
{
    struct progress *p = arg;
    uint64_t done = number_of(job, "done_bytes"), total = number_of(job, "total_bytes");
    const char *id = json_string_value(json_object_get(job, "verb"));
    const char *object = json_string_value(json_object_get(job, "object"));
    char done_text[TEXT_SIZE_MAX], total_text[TEXT_SIZE_MAX];
    char verb[64];
    if (total == 0) return;
    snprintf(verb, sizeof verb, "%s", id ? id : "job");
    for (char *at = verb; *at; at++) {
        if (*at == '_') *at = ' '; /* pool_create */
    }
    unsigned percent = (unsigned)((double)done * 100.0 / (double)total);
    if (!p->is_terminal && p->shown && percent / 10 == p->last_tenth) return;
    p->last_tenth = percent / 10;
    p->shown = true;
    fprintf(p->cli->err, "%s%s %s: %u %% (%s of %s)%s", p->is_terminal ? "\r" : "", verb,
            object ? object : "", percent, text_format_size(done, done_text),
            text_format_size(total, total_text), p->is_terminal ? "   " : "\n");
    fflush(p->cli->err);
}

static struct err *wait_for(struct cli *cli, const char *id, json_t **ret_job)
{
    struct progress p = {.cli = cli, .is_terminal = isatty(fileno(cli->err)) == 1};
    struct err *e = client_wait_job(cli->client, id, (uint64_t)cli->timeout_s * 1000,
                                    cli->json ? NULL : cli_job_progress, &p, ret_job);
    if (p.is_terminal && p.shown) fputc('\n', cli->err);
    return e;
}

/* Replaces an answer {"job": ...} by the ended job's. */
static struct err *follow_job(struct cli *cli, json_t **answer)
{
    json_t *job = json_object_get(*answer, "job"), *ended = NULL;
    const char *id = json_string_value(json_object_get(job, "id"));
    char number[32];
    if (!job || cli->no_wait) return NULL;
    if (!id && json_is_integer(json_object_get(job, "id"))) {
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
                 json_integer_value(json_object_get(job, "id")));
        id = number;
    }
    if (!id) return NULL;
    TRY(wait_for(cli, id, &ended));
    json_decref(*answer);
    *answer = json_pack("{s:o}", "job", ended);
    return NULL;
}

int cli_job_wait(struct cli *cli, const struct cli_row *verb, int argc, char **argv)
{
    struct cli_words words;
    struct err *e = cli_parse(cli, verb, argc, argv, &words);
    if (e) return cli_fail_usage(cli, verb, e);
    json_t *job = NULL;
    const char *id = json_string_value(json_object_get(words.arguments, "name"));
    if (words.help) {
        cli_help_verb(cli->out, verb);
    } else {
        e = cli_connect(cli);
        if (!e) e = wait_for(cli, id, &job);
        if (!e && cli->json) cli_print_json(cli, job);
        if (!e && !cli->json) cli_view(cli->out, cli_find_verb("job", "show"), job);
    }
    json_decref(job);
    json_decref(words.arguments);
    return e ? cli_fail(cli, e) : 0;
}

int cli_invoke(struct cli *cli, const struct cli_row *verb, int argc, char **argv)
{
    const struct cli_form *form = cli_form_of(verb);
    if (form->handler) return form->handler(cli, verb, argc, argv);
    struct cli_words words;
    struct err *e = cli_parse(cli, verb, argc, argv, &words);
    if (e) return cli_fail_usage(cli, verb, e);
    json_t *answer = NULL;
    if (words.help) {
        cli_help_verb(cli->out, verb);
    } else {
        e = cli_send(cli, verb, words.arguments, &answer);
        if (!e) e = follow_job(cli, &answer);
        if (!e && cli->json) cli_print_json(cli, answer);
        if (!e && !cli->json) cli_view(cli->out, verb, answer);
    }
    json_decref(answer);
    json_decref(words.arguments);
    return e ? cli_fail(cli, e) : 0;
}
