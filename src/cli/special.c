/*
 * special.c - verbs that need more than one request.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli_int.h"

/* Whether the server knows an object of this name; other failures than "not found" are returned. */
static struct err *look_up(struct cli *cli, const char *collection, const char *name,
                           bool *ret_found)
{
    auto_free char *encoded = client_encode_segment(name), *path = NULL;
    if (!encoded || asprintf(&path, "/v1/%s/%s", collection, encoded) < 0) {
        path = NULL;
        return err_new(STATUS_NO_MEMORY, "look for %s", name);
    }
    struct err *e = client_call(cli->client, "GET", path, NULL, NULL);
    *ret_found = !e;
    if (err_status(e) == STATUS_NOT_FOUND) {
        err_free(e);
        return NULL;
    }
    return e;
}

/* Turns "object" into "disk" or "snapshot". */
static struct err *find_object(struct cli *cli, json_t *arguments)
{
    const char *object = json_string_value(json_object_get(arguments, "object"));
    bool is_disk, is_snapshot;
    if (!object) return NULL;
    TRY(cli_connect(cli));
    TRY(look_up(cli, "disks", object, &is_disk));
    TRY(look_up(cli, "snapshots", object, &is_snapshot));
    if (is_disk && is_snapshot) {
        return err_next(err_new(STATUS_AMBIGUOUS, "\"%s\" is a disk and a snapshot", object),
                        "say which: --disk %s or --snapshot %s", object, object);
    }
    if (!is_disk && !is_snapshot) {
        return err_next(
            err_new(STATUS_NOT_FOUND, "there is no disk and no snapshot \"%s\"", object),
            "see tarn disk list and tarn snapshot list");
    }
    json_object_set_new(arguments, is_disk ? "disk" : "snapshot", json_string(object));
    json_object_del(arguments, "object");
    return NULL;
}

static struct err *look_for_map_words(const json_t *arguments)
{
    int named = 0;
    static const char *const ways[] = {"object", "disk", "snapshot"};
    if (!json_object_get(arguments, "host"))
        return err_new(STATUS_BAD_REQUEST, "the host is missing");
    for (size_t i = 0; i < countof(ways); i++)
        named += json_object_get(arguments, ways[i]) != NULL;
    if (named == 0) return err_new(STATUS_BAD_REQUEST, "the disk or snapshot is missing");
    if (named > 1) return err_new(STATUS_BAD_REQUEST, "one disk or snapshot at a time");
    return NULL;
}

int cli_map_add(struct cli *cli, const struct cli_row *verb, int argc, char **argv)
{
    struct cli_words words;
    struct err *e = cli_parse(cli, verb, argc, argv, &words);
    if (!e && !words.help) {
        e = look_for_map_words(words.arguments);
        if (e) json_decref(words.arguments);
    }
    if (e) return cli_fail_usage(cli, verb, e);
    json_t *answer = NULL;
    if (words.help) {
        cli_help_verb(cli->out, verb);
    } else {
        e = find_object(cli, words.arguments);
        if (!e) e = cli_send(cli, verb, words.arguments, &answer);
        if (!e && cli->json) cli_print_json(cli, answer);
        if (!e && !cli->json) cli_view(cli->out, verb, answer);
    }
    json_decref(answer);
    json_decref(words.arguments);
    return e ? cli_fail(cli, e) : 0;
}
