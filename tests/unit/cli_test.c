/*
 * cli_test.c - the command line against an API server inside the test.
 */
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_int.h"
#include "tests/lib/fake_transport.h"
#include "tests/lib/man_page.h"
#include "tests/lib/tap.h"

static char *out_text, *err_text_;
static int exit_code;

static struct transport *connect_fake(void *arg)
{
    (void)arg;
    return fake_transport();
}

/* Runs one command line, words separated by one blank. */
static int tarn(const char *line)
{
    char words[1024], *argv[64] = {words};
    int argc = 0;
    size_t size;
    snprintf(words, sizeof words, "tarn %s", line);
    for (char *at = words; *at; at += strcspn(at, " ")) {
        if (*at == ' ') *at++ = '\0';
        if (*at) argv[argc++] = at;
    }
    free(out_text);
    free(err_text_);
    out_text = err_text_ = NULL;
    size_t err_size;
    FILE *out = open_memstream(&out_text, &size), *err = open_memstream(&err_text_, &err_size);
    struct cli_env env = {.out = out, .err = err, .connect = connect_fake};
    exit_code = cli_main(&env, argc, argv);
    fclose(out);
    fclose(err);
    return exit_code;
}

static bool printed(const char *text)
{
    if (strstr(out_text, text)) return true;
    printf("# printed: %s\n", out_text);
    return false;
}

static bool complained(const char *text)
{
    if (strstr(err_text_, text)) return true;
    printf("# complained: %s\n", err_text_);
    return false;
}

#define DISK                                                                                       \
    "{\"name\":\"mail\",\"uuid\":\"11111111-2222-4333-8444-555555555555\",\"pool\":\"main\","      \
    "\"state\":\"ready\",\"size_bytes\":10737418240,\"used_bytes\":1048576,\"serial\":\"5e71a1\"," \
    "\"naa\":\"3000000000000001\",\"created_at\":\"2026-11-22T15:44:47Z\",\"parent_snapshot\":"    \
    "null,"                                                                                        \
    "\"parent_disk\":null,\"depth\":0,\"snapshot_count\":2,\"maps\":[{\"host\":\"web1\",\"lun\":"  \
    "3,"                                                                                           \
    "\"read_only\":true}]}"

static void every_verb_of_the_table_is_reachable_and_explained(void)
{
    size_t count;
    const struct cli_row *rows = cli_rows(&count);
    unsigned verbs = 0;
    for (size_t i = 0; i < count; i++) {
        char line[256];
        if (rows[i].kind != CLI_ROW_VERB) continue;
        verbs++;
        snprintf(line, sizeof line, "%s %s --help", rows[i].noun, rows[i].verb);
        expect_eq(tarn(line), 0);
        expect(printed(rows[i].help));
        snprintf(line, sizeof line, "Usage: tarn %s %s", rows[i].noun, rows[i].verb);
        expect(printed(line));
        expect(cli_is_noun(rows[i].noun));
    }
    expect(verbs > 30);
}

static void every_path_parameter_can_be_typed(void)
{
    size_t count;
    const struct cli_row *rows = cli_rows(&count);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].kind != CLI_ROW_VERB) continue;
        for (const char *at = strchr(rows[i].path, '{'); at; at = strchr(at + 1, '{')) {
            char name[64];
            snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "}"), at + 1);
            expect(cli_is_positional(&rows[i], name));
        }
    }
}

/* The page of a noun names every verb and every option of it. */
static void every_verb_and_option_is_in_a_man_page(void)
{
    size_t count;
    const struct cli_row *rows = cli_rows(&count), *verb = NULL;
    char *page = NULL, name[128], option[64];
    for (size_t i = 0; i < count; i++) {
        if (rows[i].kind == CLI_ROW_VERB) {
            verb = &rows[i];
            snprintf(name, sizeof name, "tarn-%s.1", verb->noun);
            free(page);
            page = man_page(name);
            require(page);
            expect(man_page_has(page, "*tarn %s %s*", verb->noun, verb->verb));
        } else if (!cli_is_positional(verb, rows[i].name)) {
            expect(man_page_has(page, "*--%s*", cli_option_name(&rows[i], option)));
        }
    }
    free(page);
}

static void a_list_is_a_table_with_sizes_for_people(void)
{
    fake_reset();
    fake_answer("GET /v1/disks", 200, "{\"disks\":[" DISK "]}");
    expect_eq(tarn("disk list"), 0);
    expect(printed("NAME  POOL  STATE  SIZE  USED  SNAPSHOTS  SERVED TO\n"
                   "mail  main  ready   10G    1M          2  web1:3 ro\n"));
}

static void an_empty_list_says_what_to_do(void)
{
    fake_reset();
    fake_answer("GET /v1/disks", 200, "{\"disks\":[]}");
    expect_eq(tarn("disk list"), 0);
    expect(printed("tarn disk create NAME --size SIZE"));
}

static void json_is_the_servers_answer(void)
{
    fake_reset();
    fake_answer("GET /v1/disks/mail", 200, DISK);
    expect_eq(tarn("disk show mail --json"), 0);
    json_t *printed_json = json_loads(out_text, 0, NULL), *answer = json_loads(DISK, 0, NULL);
    expect(json_equal(printed_json, answer));
    json_decref(printed_json);
    json_decref(answer);
}

static void show_prints_labelled_lines_and_leaves_out_what_is_not_there(void)
{
    fake_reset();
    fake_answer("GET /v1/disks/mail", 200, DISK);
    expect_eq(tarn("disk show mail"), 0);
    expect(printed("size       10G\n"));
    expect(printed("served to  web1:3 ro\n"));
    expect(!strstr(out_text, "branch of"));
}

static void create_sends_the_arguments_as_json(void)
{
    fake_reset();
    fake_answer("POST /v1/disks", 201, DISK);
    expect_eq(tarn("disk create mail --size 10G --pool main"), 0);
    expect_eq(fake_call_count, 1);
    expect(strstr(fake_calls[0], "\"name\":\"mail\"") != NULL);
    expect(strstr(fake_calls[0], "\"size\":10737418240") != NULL);
    expect(strstr(fake_calls[0], "\"pool\":\"main\"") != NULL);
}

static void options_may_stand_anywhere(void)
{
    fake_reset();
    fake_answer("POST /v1/disks", 201, DISK);
    expect_eq(tarn("--json disk create --size 10G mail"), 0);
    expect_str(fake_calls[0], "POST /v1/disks {\"size\":10737418240,\"name\":\"mail\"}");
}

static void delete_puts_its_arguments_into_the_query(void)
{
    fake_reset();
    fake_answer("DELETE /v1/disks/a%20b?dry_run=true", 200,
                "{\"dry_run\":true,\"would\":[\"delete disk \\\"a b\\\"\"]}");
    char *argv[] = {(char[]){"tarn"}, (char[]){"disk"},      (char[]){"delete"},
                    (char[]){"a b"},  (char[]){"--dry-run"}, NULL};
    size_t size, err_size;
    free(out_text);
    free(err_text_);
    FILE *out = open_memstream(&out_text, &size), *err = open_memstream(&err_text_, &err_size);
    struct cli_env env = {.out = out, .err = err, .connect = connect_fake};
    expect_eq(cli_main(&env, 5, argv), 0);
    fclose(out);
    fclose(err);
    expect(printed("Nothing was changed. It would:\n  delete disk \"a b\"\n"));
}

static void hosts_may_have_several_initiators_and_a_secret_from_a_file(void)
{
    char path[] = "/tmp/cli_test.XXXXXX";
    int fd = mkstemp(path);
    require(fd >= 0);
    require(write(fd, "twelve-bytes-and-more\nsecond line\n", 34) == 34);
    close(fd);
    fake_reset();
    fake_answer("POST /v1/hosts", 201, "{\"name\":\"web1\",\"chap_secret\":\"drawn\"}");
    char line[256];
    snprintf(line, sizeof line,
             "host create web1 --initiator iqn.a --initiator iqn.b --chap-secret-file %s", path);
    expect_eq(tarn(line), 0);
    unlink(path);
    expect(strstr(fake_calls[0], "\"initiators\":[\"iqn.a\",\"iqn.b\"]") != NULL);
    expect(strstr(fake_calls[0], "\"chap_secret\":\"twelve-bytes-and-more\"") != NULL);
    expect(printed("CHAP secret"));
    expect_eq(tarn("host create web1 --initiator iqn.a --chap-secret-file /nonexistent"), 3);
}

static void map_add_finds_out_whether_it_is_a_disk_or_a_snapshot(void)
{
    fake_reset();
    fake_answer("GET /v1/disks/mail", 200, DISK);
    fake_answer("GET /v1/snapshots/nightly", 200, "{\"name\":\"nightly\"}");
    fake_answer("POST /v1/maps", 201,
                "{\"host\":\"web1\",\"lun\":1,\"kind\":\"disk\",\"object\":\"mail\"}");
    expect_eq(tarn("map add web1 mail --lun 1"), 0);
    expect(fake_was_called("POST /v1/maps {\"host\":\"web1\",\"lun\":1,\"disk\":\"mail\"}"));
    expect_eq(tarn("map add web1 nightly"), 0);
    expect(fake_was_called("POST /v1/maps {\"host\":\"web1\",\"snapshot\":\"nightly\"}"));
    expect_eq(tarn("map add web1 --snapshot nightly"), 0);
    expect_eq(tarn("map add web1 nothing"), 3);
    expect_eq(tarn("map add web1"), 2);
    expect_eq(tarn("map add web1 mail --disk mail"), 2);
}

static void map_add_asks_when_a_name_is_both(void)
{
    fake_reset();
    fake_answer("GET /v1/disks/x", 200, "{\"name\":\"x\"}");
    fake_answer("GET /v1/snapshots/x", 200, "{\"name\":\"x\"}");
    expect_eq(tarn("map add web1 x"), 3);
    expect(complained("--disk x or --snapshot x"));
    expect(!fake_was_called("POST /v1/maps {\"host\":\"web1\",\"disk\":\"x\"}"));
}

#define JOB(state, done, rest)                                                                     \
    "{\"id\":\"7\",\"verb\":\"pool create\",\"object\":\"main\",\"state\":\"" state                \
    "\",\"done_bytes\":" done ",\"total_bytes\":100" rest "}"

static void a_job_is_waited_for_and_its_result_shown(void)
{
    fake_reset();
    fake_answer("POST /v1/pools", 202, "{\"job\":" JOB("running", "0", "") "}");
    fake_answer_once("GET /v1/jobs/7?wait=1", 200, JOB("running", "50", ""));
    fake_answer("GET /v1/jobs/7?wait=1", 200,
                JOB("done", "100",
                    ",\"result\":{\"name\":\"main\",\"state\":\"ok\",\"size_bytes\":1073741824}"));
    expect_eq(tarn("pool create main --file /x --size 1G"), 0);
    expect(complained("50 %"));
    expect(printed("The pool is made and open.\n"));
    expect(printed("size           1G\n"));
    expect(strstr(fake_calls[0], "\"path\":\"/x\"") != NULL);
}

static void a_job_that_failed_is_an_error_with_its_reason(void)
{
    fake_reset();
    fake_answer("POST /v1/pools", 202, "{\"job\":" JOB("running", "0", "") "}");
    fake_answer("GET /v1/jobs/7?wait=1", 200,
                JOB("failed", "1",
                    ",\"error\":{\"status\":\"NO_SPACE\",\"message\":\"write through /x\","
                    "\"causes\":[\"no space left\"],\"next\":\"free some\"}"));
    expect_eq(tarn("pool create main --file /x --size 1G"), 1);
    expect(complained("tarn: write through /x: no space left\n  what to do: free some\n"));
}

static void no_wait_shows_the_job(void)
{
    fake_reset();
    fake_answer("POST /v1/pools", 202, "{\"job\":" JOB("running", "0", "") "}");
    expect_eq(tarn("pool create main --file /x --size 1G --no-wait"), 0);
    expect_eq(fake_call_count, 1);
    expect(printed("running"));
}

static void a_wait_that_is_too_long_is_a_timeout(void)
{
    fake_reset();
    fake_answer("GET /v1/jobs/7?wait=1", 200, JOB("running", "1", ""));
    expect_eq(tarn("job wait 7 --timeout 1"), 7);
    expect(complained("tarn job wait 7"));
}

static void exit_codes_follow_the_servers_status(void)
{
    static const struct {
        const char *status;
        int http, code;
    } rows[] = {{"NOT_FOUND", 404, 3},       {"EXISTS", 409, 4},
                {"CONFLICT", 409, 4},        {"DENIED", 403, 5},
                {"UNAUTHENTICATED", 401, 5}, {"BAD_REQUEST", 400, 2},
                {"INTERNAL", 500, 1},        {"TIMED_OUT", 504, 7},
                {"POOL_FULL", 507, 4},       {"not-of-this-version", 409, 4}};
    for (size_t i = 0; i < countof(rows); i++) {
        char body[256];
        fake_reset();
        snprintf(body, sizeof body,
                 "{\"error\":{\"status\":\"%s\",\"message\":\"m\",\"causes\":[],\"next\":null}}",
                 rows[i].status);
        fake_answer("GET /v1/disks/x", rows[i].http, body);
        expect_eq(tarn("disk show x"), rows[i].code);
        expect(complained("tarn: m\n"));
        expect_str(out_text, "");
    }
}

static void a_server_that_is_away_is_unreachable(void)
{
    fake_reset();
    fake_failure("GET /v1/disks", STATUS_UNREACHABLE);
    expect_eq(tarn("disk list"), 6);
    expect(complained("whether tarnd runs"));
    fake_reset();
    fake_failure("GET /v1/disks", STATUS_TIMED_OUT);
    expect_eq(tarn("disk list"), 7);
}

static void an_answer_that_is_not_json_is_an_error(void)
{
    fake_reset();
    fake_answer("GET /v1/disks", 200, "<html>");
    expect_eq(tarn("disk list"), 1);
    fake_reset();
    fake_answer("GET /v1/disks", 502, "<html>");
    expect_eq(tarn("disk list"), 1);
    expect(complained("HTTP code 502"));
}

static void mistakes_in_typing_send_nothing(void)
{
    static const char *const lines[] = {"disk create",
                                        "disk create a",
                                        "disk create a --size x",
                                        "disk create a --size",
                                        "disk create a b --size 1G",
                                        "disk create a --size 1G --bogus",
                                        "disk",
                                        "disk bogus",
                                        "bogus list",
                                        "--bogus",
                                        "map remove web1",
                                        "snapshot branch a",
                                        "snapshot create",
                                        "disk list --timeout x",
                                        "shadow create",
                                        "shadow create /x",
                                        "shadow create /x=a --timeout 99",
                                        "shadow create =a",
                                        "help bogus",
                                        "help disk bogus",
                                        "host create web1"};
    fake_reset();
    for (size_t i = 0; i < countof(lines); i++) {
        if (tarn(lines[i]) != 2) printf("# \"%s\" ended with %d\n", lines[i], exit_code);
        expect_eq(exit_code, 2);
        expect(err_text_[0] != '\0');
    }
    expect_eq(fake_call_count, 0);
}

static void a_near_miss_is_suggested(void)
{
    tarn("dsk list");
    expect(complained("did you mean \"disk\"?"));
}

static void names_cannot_steer_the_terminal(void)
{
    fake_reset();
    fake_answer("GET /v1/tokens", 200,
                "{\"tokens\":[{\"name\":\"a\\u001b[2Jb\",\"role\":\"viewer\"}]}");
    expect_eq(tarn("token list"), 0);
    expect(!strchr(out_text, '\033'));
}

static void completion_offers_nouns_verbs_and_options(void)
{
    expect_eq(tarn("__complete sna"), 0);
    expect_str(out_text, "snapshot\n");
    tarn("__complete disk gr");
    expect_str(out_text, "grow\n");
    tarn("__complete disk delete mail --wi");
    expect_str(out_text, "--with-snapshots\n");
}

int main(void)
{
    run(every_verb_of_the_table_is_reachable_and_explained);
    run(every_path_parameter_can_be_typed);
    run(every_verb_and_option_is_in_a_man_page);
    run(a_list_is_a_table_with_sizes_for_people);
    run(an_empty_list_says_what_to_do);
    run(json_is_the_servers_answer);
    run(show_prints_labelled_lines_and_leaves_out_what_is_not_there);
    run(create_sends_the_arguments_as_json);
    run(options_may_stand_anywhere);
    run(delete_puts_its_arguments_into_the_query);
    run(hosts_may_have_several_initiators_and_a_secret_from_a_file);
    run(map_add_finds_out_whether_it_is_a_disk_or_a_snapshot);
    run(map_add_asks_when_a_name_is_both);
    run(a_job_is_waited_for_and_its_result_shown);
    run(a_job_that_failed_is_an_error_with_its_reason);
    run(no_wait_shows_the_job);
    run(a_wait_that_is_too_long_is_a_timeout);
    run(exit_codes_follow_the_servers_status);
    run(a_server_that_is_away_is_unreachable);
    run(an_answer_that_is_not_json_is_an_error);
    run(mistakes_in_typing_send_nothing);
    run(a_near_miss_is_suggested);
    run(names_cannot_steer_the_terminal);
    run(completion_offers_nouns_verbs_and_options);
    free(out_text);
    free(err_text_);
    return tap_done();
}
