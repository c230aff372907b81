#include "windows/provider/ops/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "windows/provider/core/provider_int.h"
#include "windows/provider/ops/doctor_int.h"

static const struct {
    const char *name;
    doctor_check *check;
} checks[] = {
    {"administrator", check_administrator},
    {"windows", check_windows},
    {"service", check_service},
    {"vss", check_vss},
    {"events", check_events},
    {"san-policy", check_san_policy},
    {"initiator", check_initiator},
    {"mpio", check_mpio},
    {"cluster", check_cluster},
    {"enrolment", check_enrolment},
    {"server", check_server},
    {"version", check_version},
    {"clock", check_clock},
    {"initiator-name", check_initiator_name},
    {"sessions", check_sessions},
    {"lun-numbers", check_lun_numbers},
    {"pools", check_pools},
};
_Static_assert(sizeof checks / sizeof *checks <= DOCTOR_CHECKS_MAX, "they fit into a report");

void found_ok(struct doctor_finding *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    f->kind = DOCTOR_OK;
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
}

void found(struct doctor_finding *f, enum doctor_kind kind, const char *remedy, const char *format,
           ...)
{
    va_list args;
    va_start(args, format);
    f->kind = kind;
    vsnprintf(f->text, sizeof f->text, format, args);
    snprintf(f->remedy, sizeof f->remedy, "%s", remedy);
    va_end(args);
}

static void get(struct doctor *d, const char *path, const char *name, struct api_reply *ret_reply)
{
    struct api_request request;
    api_request_init(&request, "GET", ASK_MS);
    if (d->os->transport && api_request_path(&request, path, name, NULL))
        api_exchange(d->os->transport, &request, ret_reply);
    api_request_fini(&request);
}

void doctor_examine(struct doctor_os *os, struct doctor_report *ret_report)
{
    struct doctor d = {.os = os};
    *ret_report = (struct doctor_report){0};
    if (os->host) get(&d, "/v1/server", NULL, &d.server);
    if (api_is_ok(&d.server)) get(&d, "/v1/hosts", os->host, &d.host);
    for (unsigned i = 0; i < sizeof checks / sizeof *checks; i++) {
        struct doctor_finding *finding = &ret_report->findings[ret_report->count++];
        finding->check = checks[i].name;
        checks[i].check(&d, finding);
        ret_report->kinds[finding->kind]++;
    }
    api_reply_fini(&d.server);
    api_reply_fini(&d.host);
}

/* ---- Telling it ------------------------------------------------------------------------------ */

static const char *kind_name(enum doctor_kind kind)
{
    static const char *const names[DOCTOR_KINDS] = {"ok", "warning", "wrong", "unknown"};
    return names[kind];
}

static void put_json_text(const char *key, const char *text, FILE *to)
{
    fprintf(to, "\"%s\": \"", key);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == '"' || c == '\\')
            fprintf(to, "\\u%04x", (unsigned)c);
        else
            fputc(c, to);
    }
    fputc('"', to);
}

static void print_json(const struct doctor_report *report, FILE *to)
{
    fputs("{\"checks\": [", to);
    for (unsigned i = 0; i < report->count; i++) {
        const struct doctor_finding *f = &report->findings[i];
        fputs(i ? ",\n  {" : "\n  {", to);
        put_json_text("check", f->check, to);
        fputs(", ", to);
        put_json_text("result", kind_name(f->kind), to);
        fputs(", ", to);
        put_json_text("text", f->text, to);
        fputs(", ", to);
        put_json_text("remedy", f->remedy, to);
        fputs("}", to);
    }
    fprintf(to, "],\n \"wrong\": %u, \"warnings\": %u, \"unknown\": %u}\n",
            report->kinds[DOCTOR_WRONG], report->kinds[DOCTOR_WARNING],
            report->kinds[DOCTOR_UNKNOWN]);
}

int doctor_print(const struct doctor_report *report, bool is_json, FILE *to)
{
    int status = report->kinds[DOCTOR_WRONG] ? 1 : 0;
    if (is_json) {
        print_json(report, to);
        return status;
    }
    for (unsigned i = 0; i < report->count; i++) {
        const struct doctor_finding *f = &report->findings[i];
        fprintf(to, "%-8s %-15s %s\n", kind_name(f->kind), f->check, f->text);
        if (f->remedy[0]) fprintf(to, "%24s next: %s\n", "", f->remedy);
    }
    if (status)
        fprintf(to, "\n%u wrong: shadow copies will fail until that is put right\n",
                report->kinds[DOCTOR_WRONG]);
    else
        fprintf(to, "\nnothing is wrong; %u warnings, %u unknown\n", report->kinds[DOCTOR_WARNING],
                report->kinds[DOCTOR_UNKNOWN]);
    return status;
}
