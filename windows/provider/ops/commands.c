#include "windows/provider/ops/commands.h"

#include <stdio.h>
#include <string.h>

#include "windows/provider/com/enrol.h"
#include "windows/provider/com/ids.h"
#include "windows/provider/com/service.h"
#include "windows/provider/ops/bundle.h"
#include "windows/provider/ops/log.h"
#include "windows/provider/ops/machine.h"

/* ---- enrol, and its other end ---------------------------------------------------------------- */

static int run_enrol(int argc, wchar_t **argv)
{
    char code[2048];
    if (argc != 1) return OPS_WRONG_CALL;
    if (!WideCharToMultiByte(CP_UTF8, 0, argv[0], -1, code, sizeof code, NULL, NULL))
        return OPS_WRONG_CALL;
    return enrol_redeem(code);
}

/* The server still has its half. */
static int run_forget(int argc, wchar_t **argv)
{
    if (argc != 0) return OPS_WRONG_CALL;
    DWORD error = credential_forget();
    if (error) {
        fprintf(stderr, "tarn-vss: the credential could not be removed: error %lu\n",
                (unsigned long)error);
        return 1;
    }
    puts("this host is not enrolled any more; on the server: tarn credential revoke");
    return 0;
}

/* ---- status, doctor, repair ------------------------------------------------------------------ */

static void examine(struct doctor_report *report)
{
    struct machine machine;
    machine_init(&machine);
    doctor_examine(&machine.os, report);
    machine_fini(&machine);
}

static int run_status(int argc, wchar_t **argv)
{
    struct doctor_report report;
    if (argc != 0) return OPS_WRONG_CALL;
    int status = enrol_status();
    puts("tarn-vss " TARN_VERSION);
    examine(&report);
    for (unsigned i = 0; i < report.count; i++) {
        const struct doctor_finding *f = &report.findings[i];
        if (strcmp(f->check, "service") == 0 || strcmp(f->check, "vss") == 0 ||
            (strcmp(f->check, "sessions") == 0 && status == 0))
            puts(f->text);
    }
    return status;
}

static int run_doctor(int argc, wchar_t **argv)
{
    const wchar_t *bundle = NULL;
    bool is_json = false;
    struct doctor_report report;
    for (int i = 0; i < argc; i++) {
        if (wcscmp(argv[i], L"--json") == 0)
            is_json = true;
        else if (wcscmp(argv[i], L"--bundle") == 0 && i + 1 < argc)
            bundle = argv[++i];
        else
            return OPS_WRONG_CALL;
    }
    examine(&report);
    int status = doctor_print(&report, is_json, stdout);
    return bundle && bundle_write(&report, bundle) != 0 ? 1 : status;
}

/* Registering again changes nothing that is right. */
static int run_repair(int argc, wchar_t **argv)
{
    static const char *const parts[] = {"service", "vss", "events"};
    struct doctor_report report;
    int status = 0;
    if (argc != 0) return OPS_WRONG_CALL;
    examine(&report);
    for (unsigned i = 0; i < report.count; i++)
        for (unsigned p = 0; p < sizeof parts / sizeof *parts; p++)
            if (strcmp(report.findings[i].check, parts[p]) == 0 &&
                report.findings[i].kind != DOCTOR_OK)
                printf("found: %s\n", report.findings[i].text);
    if (service_register() != 0) return 1;
    examine(&report);
    for (unsigned i = 0; i < report.count; i++)
        for (unsigned p = 0; p < sizeof parts / sizeof *parts; p++)
            if (strcmp(report.findings[i].check, parts[p]) == 0) {
                printf("now: %s\n", report.findings[i].text);
                if (report.findings[i].kind == DOCTOR_WRONG) status = 1;
            }
    return status;
}

/* ---- log ------------------------------------------------------------------------------------- */

/* The trace in the order in which it was written. */
struct trace {
    struct trail_file log;
    FILE *files[TRAIL_FILES];
};

static bool open_trace(struct trace *trace)
{
    *trace = (struct trace){0};
    if (machine_log(&trace->log)) trail_file_open(&trace->log, trace->files);
    for (unsigned i = 0; i < TRAIL_FILES; i++)
        if (trace->files[i]) return true;
    fputs("tarn-vss: there is no call trace yet\n  next: it begins when VSS first calls the "
          "provider\n",
          stderr);
    return false;
}

static void close_trace(struct trace *trace)
{
    for (unsigned i = 0; i < TRAIL_FILES; i++)
        if (trace->files[i]) fclose(trace->files[i]);
}

static void print_trace(struct trace *trace, bool is_normal)
{
    for (unsigned i = 0; i < TRAIL_FILES; i++)
        if (trace->files[i]) log_print(trace->files[i], is_normal, stdout);
}

/* Until it is ended from outside.  Another file takes the place of one that is full. */
static void __attribute__((noreturn)) follow(struct trace *trace)
{
    FILE **newest = &trace->files[TRAIL_FILES - 1];
    for (;;) {
        fflush(stdout);
        Sleep(500);
        FILE *next = trail_file_next(&trace->log, *newest);
        if (*newest) {
            clearerr(*newest);
            log_print(*newest, false, stdout);
        }
        if (!next) continue;
        log_print(next, false, stdout);
        if (*newest) fclose(*newest);
        *newest = next;
    }
}

static int compare(struct trace *trace, const wchar_t *path)
{
    FILE *expected = _wfopen(path, L"rb");
    if (!expected) {
        fputs("tarn-vss: the expected trace cannot be read\n", stderr);
        return 2;
    }
    int status = log_compare(expected, trace->files, TRAIL_FILES, stdout);
    fclose(expected);
    if (status == 0) puts("the trace is as expected");
    if (status == 2) fputs("tarn-vss: the traces are too long to be compared\n", stderr);
    return status;
}

static int run_log(int argc, wchar_t **argv)
{
    bool is_normal = argc == 1 && wcscmp(argv[0], L"--normal") == 0;
    bool is_followed = argc == 1 && wcscmp(argv[0], L"--follow") == 0;
    bool is_compared = argc == 2 && wcscmp(argv[0], L"--compare") == 0;
    struct trace trace;
    int status = 0;
    if (argc != 0 && !is_normal && !is_followed && !is_compared) return OPS_WRONG_CALL;
    if (!open_trace(&trace)) return 1;
    if (is_compared)
        status = compare(&trace, argv[1]);
    else
        print_trace(&trace, is_normal);
    if (is_followed) follow(&trace);
    close_trace(&trace);
    return status;
}

/* ---- idle ------------------------------------------------------------------------------------ */

/* Asked of the service itself: a set that VSS is still adding volumes to is known to nobody else. */
static int run_idle(int argc, wchar_t **argv)
{
    SERVICE_STATUS status;
    DWORD error = NO_ERROR;
    if (argc != 0) return OPS_WRONG_CALL;
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT);
    SC_HANDLE service =
        manager ? OpenServiceW(manager, TARN_SERVICE_NAME, SERVICE_USER_DEFINED_CONTROL) : NULL;
    HANDLE busy = OpenEventW(SYNCHRONIZE, FALSE, TARN_BUSY_EVENT);
    if (service && !ControlService(service, SERVICE_CONTROL_IDLE, &status))
        error = GetLastError();
    else if (busy && WaitForSingleObject(busy, 0) == WAIT_OBJECT_0)
        error = ERROR_BUSY;
    if (busy) CloseHandle(busy);
    if (service) CloseServiceHandle(service);
    if (manager) CloseServiceHandle(manager);
    if (error == NO_ERROR || error == ERROR_SERVICE_NOT_ACTIVE) {
        puts("idle: no shadow copy set is being made");
        return 0;
    }
    if (error != ERROR_BUSY) {
        fprintf(stderr, "tarn-vss: the service did not answer: error %lu\n", (unsigned long)error);
        return 1;
    }
    fputs("tarn-vss: a shadow copy set is being made now\n  next: wait until it is done; a few "
          "minutes at most\n",
          stderr);
    return 1;
}

/* ---- Service and version --------------------------------------------------------------------- */

static int run_register(int argc, wchar_t **argv)
{
    (void)argv;
    return argc == 0 ? service_register() : OPS_WRONG_CALL;
}

static int run_unregister(int argc, wchar_t **argv)
{
    (void)argv;
    return argc == 0 ? service_unregister() : OPS_WRONG_CALL;
}

static int run_service(int argc, wchar_t **argv)
{
    (void)argv;
    return argc == 0 ? service_run() : OPS_WRONG_CALL;
}

static int run_version(int argc, wchar_t **argv)
{
    (void)argv;
    if (argc != 0) return OPS_WRONG_CALL;
    puts("tarn-vss " TARN_VERSION);
    return 0;
}

const struct ops_command ops_commands[] = {
#define VERB(name, arguments, help) {#name, arguments, help, run_##name},
#include "windows/provider/ops/verbs.def"
    {NULL, NULL, NULL, NULL}};
