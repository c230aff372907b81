/* The doctor with a machine and a server in memory, good and bad; and the reader of the call trace. */
#include <stdlib.h>

#include "base/check.h"
#include "tests/lib/man_page.h"
#include "tests/lib/tap.h"
#include "windows/provider/ops/doctor.h"
#include "windows/provider/ops/log.h"

/* ---- A machine in memory --------------------------------------------------------------------- */

struct fake {
    struct doctor_os os;
    struct transport transport;
    const char *product, *build, *registered_version, *devices, *initiator;
    unsigned san_policy, persistent_logins;
    bool is_administrator, has_class, has_source, is_server_away;
    struct doctor_service initiator_service, tarn, vss, mpio, cluster;
    bool has_tarn, has_mpio, has_cluster;
    uint64_t wall_ns;
    const char *server, *host; /* answers */
    unsigned http;
};

static struct fake fake;
static struct doctor_report report;

static bool number(struct doctor_os *os, const char *key, const char *name, uint32_t *ret_number)
{
    *ret_number = fake.san_policy;
    return strcmp(name, "SanPolicy") == 0;
}

static bool text(struct doctor_os *os, const char *key, const char *name, char *to, size_t size)
{
    const char *value = strcmp(name, "ProductType") == 0          ? fake.product
                        : strcmp(name, "CurrentBuildNumber") == 0 ? fake.build
                        : strcmp(name, "Version") == 0            ? fake.registered_version
                        : strstr(key, "Providers")                ? fake.registered_version
                        : strstr(name, "DeviceList")              ? fake.devices
                        : strcmp(name, "AppID") == 0              ? (fake.has_class ? "{x}" : NULL)
                                                                  : NULL;
    if (value) snprintf(to, size, "%s", value);
    return value != NULL;
}

static bool service(struct doctor_os *os, const char *name, struct doctor_service *ret_service)
{
    *ret_service = strcmp(name, "MSiSCSI") == 0   ? fake.initiator_service
                   : strcmp(name, "TarnVss") == 0 ? fake.tarn
                   : strcmp(name, "VSS") == 0     ? fake.vss
                   : strcmp(name, "mpio") == 0    ? fake.mpio
                                                  : fake.cluster;
    return strcmp(name, "TarnVss") == 0   ? fake.has_tarn
           : strcmp(name, "mpio") == 0    ? fake.has_mpio
           : strcmp(name, "ClusSvc") == 0 ? fake.has_cluster
                                          : true;
}

static bool is_administrator(struct doctor_os *os)
{
    return fake.is_administrator;
}

static bool initiator_name(struct doctor_os *os, char *name, size_t size)
{
    if (fake.initiator) snprintf(name, size, "%s", fake.initiator);
    return fake.initiator != NULL;
}

static bool persistent_login_count(struct doctor_os *os, unsigned *ret_count)
{
    *ret_count = fake.persistent_logins;
    return true;
}

static uint64_t wall_ns(struct doctor_os *os)
{
    return fake.wall_ns;
}

static bool is_event_source(struct doctor_os *os)
{
    return fake.has_source;
}

static void exchange(struct transport *t, const struct api_request *request,
                     struct api_reply *ret_reply)
{
    const char *body = strcmp(request->path, "/v1/server") == 0 ? fake.server : fake.host;
    expect_str(request->method, "GET");
    if (fake.is_server_away) return;
    ret_reply->http = fake.http;
    ret_reply->size = strlen(body);
    ret_reply->body = malloc(ret_reply->size + 1);
    check(ret_reply->body != NULL);
    memcpy(ret_reply->body, body, ret_reply->size + 1);
}

#define HOST(sessions, free, low)                                                                  \
    "{\"name\":\"db1\",\"initiators\":[\"iqn.x\",\"iqn.db1\"],\"session_count\":" sessions         \
    ",\"free_lun_count\":" free ",\"pools\":[{\"name\":\"p\",\"is_nearly_full\":" low "}]}"

/* Where nothing is wrong. */
static void begin(void)
{
    fake = (struct fake){
        .os = {number, text, service, is_administrator, initiator_name, persistent_login_count,
               wall_ns, is_event_source, "0.1.0", "db1", &fake.transport},
        .transport = {.exchange = exchange},
        .product = "ServerNT",
        .build = "17763",
        .registered_version = "0.1.0",
        .initiator = "iqn.db1",
        .san_policy = 1,
        .persistent_logins = 1,
        .is_administrator = true,
        .has_class = true,
        .has_source = true,
        .has_tarn = true,
        .initiator_service = {true, DOCTOR_START_AUTO},
        .tarn = {false, DOCTOR_START_DEMAND},
        .vss = {false, DOCTOR_START_DEMAND},
        .wall_ns = 1700000000000000000u,
        .http = 200,
        .server = "{\"name\":\"s\",\"version\":\"0.1.7\",\"now_wall_ns\":1700000005000000000}",
        .host = HOST("1", "250", "false"),
    };
}

/* What the doctor says of one check. */
static const struct doctor_finding *says(const char *name)
{
    doctor_examine(&fake.os, &report);
    for (unsigned i = 0; i < report.count; i++)
        if (strcmp(report.findings[i].check, name) == 0) return &report.findings[i];
    check(false);
    return NULL;
}

#define finds(name, expected)                                                                      \
    do {                                                                                           \
        const struct doctor_finding *f_ = says(name);                                              \
        if (f_->kind != (expected)) printf("# %s\n", f_->text);                                    \
        expect_eq(f_->kind, expected);                                                             \
        expect(f_->text[0] != '\0');                                                               \
        expect(f_->kind == DOCTOR_OK || f_->kind == DOCTOR_UNKNOWN || f_->remedy[0] != '\0');      \
    } while (0)

/* ---- The doctor ------------------------------------------------------------------------------ */

static void a_host_without_faults_gets_none(void)
{
    begin();
    doctor_examine(&fake.os, &report);
    for (unsigned i = 0; i < report.count; i++)
        if (report.findings[i].kind != DOCTOR_OK) printf("# %s\n", report.findings[i].text);
    expect_eq(report.kinds[DOCTOR_OK], report.count);
    expect(report.count >= 17);
}

static void a_client_windows_and_an_old_server_are_wrong(void)
{
    begin();
    fake.product = "WinNT";
    finds("windows", DOCTOR_WRONG);
    fake.product = "LanmanNT"; /* a domain controller */
    finds("windows", DOCTOR_OK);
    fake.build = "9600";
    finds("windows", DOCTOR_WRONG);
    fake.product = NULL;
    finds("windows", DOCTOR_UNKNOWN);
}

static void a_client_windows_is_told_once_and_not_to_repair_what_it_cannot_have(void)
{
    begin();
    fake.product = "WinNT";
    fake.has_tarn = fake.has_class = fake.has_source = false;
    fake.registered_version = NULL;
    finds("windows", DOCTOR_WRONG);
    finds("service", DOCTOR_OK);
    finds("vss", DOCTOR_OK);
    finds("events", DOCTOR_OK);
    expect_eq(report.kinds[DOCTOR_WRONG], 1);
}

static void somebody_who_is_no_administrator_is_warned(void)
{
    begin();
    fake.is_administrator = false;
    finds("administrator", DOCTOR_WARNING);
}

static void policies_that_leave_disks_offline_are_warned_of(void)
{
    static const enum doctor_kind expected[] = {DOCTOR_UNKNOWN, DOCTOR_OK, DOCTOR_WARNING,
                                                DOCTOR_WARNING, DOCTOR_OK, DOCTOR_UNKNOWN};
    begin();
    for (unsigned policy = 0; policy < sizeof expected / sizeof *expected; policy++) {
        fake.san_policy = policy;
        finds("san-policy", expected[policy]);
    }
}

static void an_initiator_that_does_not_run_is_wrong(void)
{
    begin();
    fake.initiator_service.start = DOCTOR_START_DEMAND;
    finds("initiator", DOCTOR_WARNING);
    fake.initiator_service.is_running = false;
    finds("initiator", DOCTOR_WRONG);
}

static void several_sessions_without_mpio_are_wrong(void)
{
    begin();
    fake.host = HOST("2", "250", "false");
    finds("mpio", DOCTOR_WRONG);
    fake.has_mpio = true;
    fake.devices = "ACME    DISK            ";
    finds("mpio", DOCTOR_WRONG);
    fake.devices = "ACME    DISK            \nTARN    VIRTUAL DISK    ";
    finds("mpio", DOCTOR_OK);
    fake.devices = "MSFT2005iSCSIBusType_0x9";
    finds("mpio", DOCTOR_OK);
}

static void a_service_that_cannot_be_started_is_wrong(void)
{
    begin();
    fake.tarn.start = DOCTOR_START_DISABLED;
    finds("service", DOCTOR_WRONG);
    begin();
    fake.has_class = false;
    finds("service", DOCTOR_WRONG);
    begin();
    fake.has_tarn = false;
    finds("service", DOCTOR_WRONG);
}

static void a_provider_that_vss_does_not_know_is_wrong(void)
{
    begin();
    fake.registered_version = NULL;
    finds("vss", DOCTOR_WRONG);
    fake.registered_version = "0.0.9";
    finds("vss", DOCTOR_WARNING);
    fake.vss.start = DOCTOR_START_DISABLED;
    finds("vss", DOCTOR_WRONG);
}

static void events_without_texts_and_clusters_are_warned_of(void)
{
    begin();
    fake.has_source = false;
    finds("events", DOCTOR_WARNING);
    fake.has_cluster = true;
    finds("cluster", DOCTOR_WARNING);
}

static void a_host_that_is_not_enrolled_is_told_what_to_do(void)
{
    begin();
    fake.os.host = NULL;
    fake.os.transport = NULL;
    finds("enrolment", DOCTOR_WRONG);
    expect(strstr(says("enrolment")->remedy, "tarn-vss enrol CODE"));
    finds("server", DOCTOR_UNKNOWN);
    finds("pools", DOCTOR_UNKNOWN);
}

static void a_server_that_is_away_or_refuses_is_wrong(void)
{
    begin();
    fake.is_server_away = true;
    finds("server", DOCTOR_WRONG);
    finds("clock", DOCTOR_UNKNOWN);
    begin();
    fake.http = 401;
    fake.server = "{\"error\":{\"status\":\"UNAUTHORIZED\",\"message\":\"the credential was "
                  "revoked\",\"next\":\"enrol again\"}}";
    finds("server", DOCTOR_WRONG);
    expect_str(says("server")->text, "the credential was revoked");
    expect_str(says("server")->remedy, "enrol again");
}

static void versions_that_do_not_go_together_are_warned_of(void)
{
    begin();
    fake.server = "{\"version\":\"0.10.0\"}";
    finds("version", DOCTOR_WARNING);
    fake.server = "{\"version\":\"1.1.0\"}";
    finds("version", DOCTOR_WARNING);
    fake.server = "{}";
    finds("version", DOCTOR_UNKNOWN);
}

static void clocks_that_disagree_are_warned_of(void)
{
    begin();
    fake.wall_ns += 3600000000000u;
    finds("clock", DOCTOR_WARNING);
    expect(strstr(says("clock")->text, "ahead of"));
    fake.wall_ns -= 7200000000000u;
    finds("clock", DOCTOR_WARNING);
    expect(strstr(says("clock")->text, "behind"));
}

static void another_initiator_than_the_servers_is_wrong(void)
{
    begin();
    fake.initiator = "iqn.other";
    finds("initiator-name", DOCTOR_WRONG);
    fake.initiator = NULL;
    finds("initiator-name", DOCTOR_UNKNOWN);
}

static void no_session_is_wrong_and_one_for_now_a_warning(void)
{
    begin();
    fake.persistent_logins = 0;
    finds("sessions", DOCTOR_WARNING);
    fake.host = HOST("0", "250", "false");
    finds("sessions", DOCTOR_WRONG);
}

static void what_runs_out_on_the_server_is_told(void)
{
    begin();
    fake.host = HOST("1", "63", "false");
    finds("lun-numbers", DOCTOR_WARNING);
    fake.host = HOST("1", "0", "true");
    finds("lun-numbers", DOCTOR_WRONG);
    finds("pools", DOCTOR_WARNING);
    fake.host = "{\"pools\":[]}";
    finds("pools", DOCTOR_WARNING);
    fake.host = "{}";
    finds("pools", DOCTOR_UNKNOWN);
    finds("lun-numbers", DOCTOR_UNKNOWN);
}

static char *printed(bool is_json, int *ret_status)
{
    char *out = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&out, &size);
    check(to != NULL);
    doctor_examine(&fake.os, &report);
    *ret_status = doctor_print(&report, is_json, to);
    fclose(to);
    return out;
}

static void what_is_wrong_decides_the_exit_status(void)
{
    int status;
    begin();
    fake.san_policy = 2;
    char *out = printed(false, &status);
    expect_eq(status, 0);
    expect(strstr(out, "nothing is wrong; 1 warnings"));
    expect(strstr(out, "next: bring them online by hand"));
    free(out);
    fake.has_tarn = false;
    out = printed(false, &status);
    expect_eq(status, 1);
    free(out);
}

static void json_has_each_check(void)
{
    int status;
    struct json value, checks, item;
    unsigned count = 0;
    char name[64];
    begin();
    fake.host = "{\"name\":\"a \\\"quoted\\\" name\"}";
    char *out = printed(true, &status);
    require(json_parse(out, strlen(out), &value) && json_member(value, "checks", &checks));
    for (size_t at = 0; json_next(checks, &at, &item); count++)
        expect(json_text_member(item, "check", name, sizeof name));
    expect_eq(count, report.count);
    free(out);
}

/* ---- The call trace -------------------------------------------------------------------------- */

#define CALL "CommitSnapshots 00000000 state=committed us=5210 luns=2 at=2026-11-22T21:00:00.123Z"

static void a_call_is_read(void)
{
    struct log_line line;
    require(log_parse(CALL, strlen(CALL), &line));
    expect(line.is_call);
    expect_str(line.method, "CommitSnapshots");
    expect_eq(line.result, 0);
    expect_str(line.state, "committed");
    expect_eq(line.duration_us, 5210);
    expect_str(line.arguments, "luns=2");
    expect_str(line.at, "2026-11-22T21:00:00.123Z");
}

static void lines_that_are_none_are_refused(void)
{
    static const char *const lines[] = {"",
                                        "CommitSnapshots",
                                        "X 123",
                                        "X 0000000g",
                                        "X 00000000 us=-1",
                                        "X 00000000 us=99999999999999999999",
                                        "X 00000000 word",
                                        " event: 00000000",
                                        "X 00000000 state=muchmuchmuchtoolong"};
    struct log_line line;
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
        bool ok = !log_parse(lines[i], strlen(lines[i]), &line);
        if (!ok) printf("# %s\n", lines[i]);
        expect(ok);
    }
}

static void a_line_is_shown_in_plain_words(void)
{
    struct log_line line;
    char shown[LOG_LINE_SIZE];
    require(log_parse(CALL, strlen(CALL), &line));
    log_format(&line, shown);
    expect(strstr(shown, "2026-11-22T21:00:00.123Z   CommitSnapshots"));
    expect(strstr(shown, "5.2 ms  ok"));
    line.result = 0x80042306;
    log_format(&line, shown);
    expect(strstr(shown, "VETO"));
    line.result = 0x80001234;
    log_format(&line, shown);
    expect(strstr(shown, "error 80001234"));
}

static void the_normal_form_has_no_times_and_ids(void)
{
    static const char veto[] = "event: No (set 0A1b2c3d-1234-5678-9abc-0123456789ab) was found";
    struct log_line line;
    char shown[LOG_LINE_SIZE];
    require(log_parse(CALL, strlen(CALL), &line) && log_normalise(&line, shown));
    expect_str(shown, "CommitSnapshots 00000000 state=committed luns=2");
    require(log_parse(veto, strlen(veto), &line) && log_normalise(&line, shown));
    expect_str(shown, "event: No (set <id>) was found");
    static const char any[] = "AreLunsSupported 00000000 state=idle us=1";
    require(log_parse(any, strlen(any), &line));
    expect(!log_normalise(&line, shown));
    static const char empty[] = "OnLunEmpty 00000000 state=created us=3 luns=1";
    require(log_parse(empty, strlen(empty), &line) && log_normalise(&line, shown));
    expect_str(shown, "OnLunEmpty 00000000 luns=1");
}

static void a_normal_form_is_a_line_and_its_own_normal_form(void)
{
    static const char *const lines[] = {
        CALL,
        "event: ",
        "event: (set 0A1b2c3d-1234-5678-9abc-0123456789ab)",
        "CommitSnapshots 00000000",
        "CommitSnapshots 00000000 state=",
        /* Arguments as long as they may be, and no state. */
        "CommitSnapshots 00000000 state= "
        "a=34567890123456789012345678901234567890123456789012345678901234567890123456789012345678901"
        "234",
    };
    struct log_line line;
    char normal[LOG_LINE_SIZE], again[LOG_LINE_SIZE];
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
        require(log_parse(lines[i], strlen(lines[i]), &line) && log_normalise(&line, normal));
        require(log_parse(normal, strlen(normal), &line) && log_normalise(&line, again));
        expect_str(again, normal);
    }
}

/* Where the actual trace goes on in another file. */
#define FILE_ENDS "<end>"

static int difference(const char *expected, const char *actual, char **ret_out)
{
    size_t size = 0;
    FILE *a = tmpfile(), *b = tmpfile(), *c = tmpfile(), *to = open_memstream(ret_out, &size);
    check(a && b && c && to);
    const char *second = strstr(actual, FILE_ENDS);
    fputs(expected, a);
    fwrite(actual, 1, second ? (size_t)(second - actual) : strlen(actual), b);
    if (second) fputs(second + strlen(FILE_ENDS), c);
    rewind(a);
    rewind(b);
    rewind(c);
    int status = second ? log_compare(a, (FILE *[]){b, c}, 2, to)
                        : log_compare(a, (FILE *[]){NULL, b}, 2, to);
    fclose(a);
    fclose(b);
    fclose(c);
    fclose(to);
    return status;
}

static void traces_that_differ_in_times_only_are_the_same(void)
{
    char *out;
    expect_eq(difference("A 00000000 state=idle us=1\nB 00000000 state=idle us=2\n",
                         "A 00000000 state=idle us=100 at=x\r\nFillInLunInfo 00000000 state=idle "
                         "us=1\r\nB 00000000 state=idle us=1\r\n",
                         &out),
              0);
    expect_str(out, "");
    free(out);
}

static void a_trace_in_two_files_is_one(void)
{
    static const char expected[] = "A 00000000 state=idle us=1\nB 00000000 state=idle us=2\n";
    char *out;
    expect_eq(difference(expected,
                         "A 00000000 state=idle us=9\n" FILE_ENDS "B 00000000 state=idle us=9\n",
                         &out),
              0);
    free(out);
    expect_eq(difference(expected,
                         "B 00000000 state=idle us=9\n" FILE_ENDS "A 00000000 state=idle us=9\n",
                         &out),
              1);
    free(out);
}

static void what_differs_is_shown_line_by_line(void)
{
    char *out;
    expect_eq(difference("A 00000000 state=idle us=1\nB 00000000 state=idle us=2\nC 00000000 "
                         "state=idle us=2\n",
                         "A 00000000 state=idle us=1\nC 80042306 state=idle us=2\nC 00000000 "
                         "state=idle us=2\nD 00000000 state=idle us=1\n",
                         &out),
              1);
    expect_str(out, "- B 00000000 state=idle\n+ C 80042306 state=idle\n+ D 00000000 state=idle\n");
    free(out);
}

/* ---- The man page ---------------------------------------------------------------------------- */

static const struct {
    const char *name, *arguments;
} verbs[] = {
#define VERB(name, arguments, help) {#name, arguments},
#include "windows/provider/ops/verbs.def"
};

static void every_command_and_option_is_in_the_man_page(void)
{
    char *page = man_page("tarn-vss.8");
    require(page);
    for (unsigned i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        expect(man_page_has(page, "*tarn-vss %s*", verbs[i].name));
        for (const char *at = strstr(verbs[i].arguments, "--"); at; at = strstr(at + 1, "--"))
            expect(man_page_has(page, "*%.*s*:", (int)strcspn(at, " ]"), at));
    }
    free(page);
}

static void every_check_is_in_the_man_page(void)
{
    char *page = man_page("tarn-vss.8");
    require(page);
    begin();
    doctor_examine(&fake.os, &report);
    for (unsigned i = 0; i < report.count; i++)
        expect(man_page_has(page, "*%s*", report.findings[i].check));
    free(page);
}

int main(void)
{
    run(a_host_without_faults_gets_none);
    run(a_client_windows_and_an_old_server_are_wrong);
    run(a_client_windows_is_told_once_and_not_to_repair_what_it_cannot_have);
    run(somebody_who_is_no_administrator_is_warned);
    run(policies_that_leave_disks_offline_are_warned_of);
    run(an_initiator_that_does_not_run_is_wrong);
    run(several_sessions_without_mpio_are_wrong);
    run(a_service_that_cannot_be_started_is_wrong);
    run(a_provider_that_vss_does_not_know_is_wrong);
    run(events_without_texts_and_clusters_are_warned_of);
    run(a_host_that_is_not_enrolled_is_told_what_to_do);
    run(a_server_that_is_away_or_refuses_is_wrong);
    run(versions_that_do_not_go_together_are_warned_of);
    run(clocks_that_disagree_are_warned_of);
    run(another_initiator_than_the_servers_is_wrong);
    run(no_session_is_wrong_and_one_for_now_a_warning);
    run(what_runs_out_on_the_server_is_told);
    run(what_is_wrong_decides_the_exit_status);
    run(json_has_each_check);
    run(a_call_is_read);
    run(lines_that_are_none_are_refused);
    run(a_line_is_shown_in_plain_words);
    run(the_normal_form_has_no_times_and_ids);
    run(a_normal_form_is_a_line_and_its_own_normal_form);
    run(traces_that_differ_in_times_only_are_the_same);
    run(a_trace_in_two_files_is_one);
    run(what_differs_is_shown_line_by_line);
    run(every_command_and_option_is_in_the_man_page);
    run(every_check_is_in_the_man_page);
    return tap_done();
}
