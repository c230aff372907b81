#include "windows/provider/ops/bundle.h"

#include <stdlib.h>
#include <string.h>

#include "windows/provider/ops/machine.h"

enum {
    COMMAND_MS = 20000,
    OUTPUT_MAX_BYTES = 1024 * 1024,
    TRACE_MAX_BYTES = 2 * TRAIL_MAX_BYTES, /* of each of its files */
};

static void heading(FILE *to, const char *text)
{
    fprintf(to, "\n==== %s ====\n", text);
}

/* ---- The registry: by name only, so that nothing gets in that nobody thought of --------------- */

static void put_value(FILE *to, const char *key, const char *name)
{
    BYTE value[2048];
    DWORD type, size = sizeof value - 1;
    if (RegGetValueA(HKEY_LOCAL_MACHINE, key, name[0] ? name : NULL, RRF_RT_ANY | RRF_NOEXPAND,
                     &type, value, &size) != ERROR_SUCCESS) {
        fprintf(to, "%s\\%s: not there\n", key, name);
        return;
    }
    value[size] = 0;
    if (type == REG_DWORD)
        fprintf(to, "%s\\%s: %lu\n", key, name, (unsigned long)*(DWORD *)(void *)value);
    else if (type == REG_SZ || type == REG_EXPAND_SZ)
        fprintf(to, "%s\\%s: %s\n", key, name, (const char *)value);
    else
        fprintf(to, "%s\\%s: %lu bytes, not shown\n", key, name, (unsigned long)size);
}

static void put_registry(FILE *to)
{
    static const char *const values[][2] = {
        {"SOFTWARE\\Tarn\\Host", "Host"},
        {"SOFTWARE\\Tarn\\Host", "Addresses"},
        {"SOFTWARE\\Tarn\\Host", "Pins"},
        {"SOFTWARE\\Classes\\CLSID\\{5c3be0f8-1d6a-4b0e-8f5d-3a7e2c914b66}", "AppID"},
        {"SYSTEM\\CurrentControlSet\\Services\\TarnVss", "ImagePath"},
        {"SYSTEM\\CurrentControlSet\\Services\\TarnVss", "Start"},
        {"SYSTEM\\CurrentControlSet\\Services\\VSS\\Providers\\"
         "{b1a9a2d4-6f0c-4e57-9a63-0d9c5f4f7e21}",
         ""},
        {"SYSTEM\\CurrentControlSet\\Services\\VSS\\Providers\\"
         "{b1a9a2d4-6f0c-4e57-9a63-0d9c5f4f7e21}",
         "Version"},
        {"SYSTEM\\CurrentControlSet\\Services\\VSS\\Providers\\"
         "{b1a9a2d4-6f0c-4e57-9a63-0d9c5f4f7e21}",
         "VersionId"},
        {"SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\TarnVss", "EventMessageFile"},
        {"SYSTEM\\CurrentControlSet\\Services\\partmgr\\Parameters", "SanPolicy"},
        {"SYSTEM\\CurrentControlSet\\Control\\ProductOptions", "ProductType"},
        {"SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", "ProductName"},
        {"SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", "CurrentBuildNumber"},
    };
    heading(to, "registry");
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
        put_value(to, values[i][0], values[i][1]);
}

/* ---- Files and commands ---------------------------------------------------------------------- */

/* The end of a file tells most. */
static void put_end(FILE *from, FILE *to)
{
    char text[4096];
    size_t size;
    fseek(from, 0, SEEK_END);
    long end = ftell(from);
    fseek(from, end > TRACE_MAX_BYTES ? end - TRACE_MAX_BYTES : 0, SEEK_SET);
    while ((size = fread(text, 1, sizeof text, from)) > 0)
        fwrite(text, 1, size, to);
}

static void put_trace(FILE *to)
{
    struct trail_file log;
    FILE *files[TRAIL_FILES] = {0};
    bool is_there = false;
    heading(to, "call trace");
    if (machine_log(&log)) trail_file_open(&log, files);
    for (unsigned i = 0; i < TRAIL_FILES; i++) {
        if (!files[i]) continue;
        put_end(files[i], to);
        fclose(files[i]);
        is_there = true;
    }
    if (!is_there) fputs("there is none\n", to);
}

static void copy_output(HANDLE pipe, FILE *to)
{
    char text[4096];
    DWORD size, total = 0;
    while (ReadFile(pipe, text, sizeof text, &size, NULL) && size > 0) {
        if (total < OUTPUT_MAX_BYTES) fwrite(text, 1, size, to);
        total += size;
    }
}

/* A command of Windows with its output; one that is not there is said. */
static void put_command(FILE *to, const wchar_t *command)
{
    wchar_t line[512];
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    HANDLE pipe, end;
    PROCESS_INFORMATION process;
    char title[512];
    WideCharToMultiByte(CP_UTF8, 0, command, -1, title, sizeof title, NULL, NULL);
    heading(to, title);
    if (!CreatePipe(&pipe, &end, &inherited, 0)) return;
    SetHandleInformation(pipe, HANDLE_FLAG_INHERIT, 0);
    STARTUPINFOW start = {
        .cb = sizeof start, .dwFlags = STARTF_USESTDHANDLES, .hStdOutput = end, .hStdError = end};
    wcscpy(line, command);
    BOOL is_started = CreateProcessW(NULL, line, NULL, NULL, TRUE, CREATE_NO_WINDOW, NULL, NULL,
                                     &start, &process);
    CloseHandle(end);
    if (is_started) {
        copy_output(pipe, to);
        if (WaitForSingleObject(process.hProcess, COMMAND_MS) != WAIT_OBJECT_0)
            TerminateProcess(process.hProcess, 1);
        CloseHandle(process.hThread);
        CloseHandle(process.hProcess);
    } else {
        fprintf(to, "not there (error %lu)\n", (unsigned long)GetLastError());
    }
    CloseHandle(pipe);
}

int bundle_write(const struct doctor_report *report, const wchar_t *path)
{
    static const wchar_t *const commands[] = {
        L"wevtutil qe Application /q:*[System[Provider[@Name='TarnVss']]] /rd:true /c:200 /f:text",
        L"wevtutil qe Application /q:*[System[Provider[@Name='VSS']]] /rd:true /c:100 /f:text",
        L"vssadmin list providers",
        L"vssadmin list writers",
        L"iscsicli SessionList",
        L"mpclaim -s -d",
        L"sc.exe qc TarnVss",
        L"systeminfo",
    };
    FILE *to = _wfopen(path, L"wb");
    if (!to) {
        fprintf(stderr, "tarn-vss: the file cannot be written\n  next: name one in a directory "
                        "that is there\n");
        return 1;
    }
    fputs("tarn-vss " TARN_VERSION "\n", to);
    heading(to, "doctor");
    doctor_print(report, false, to);
    put_registry(to);
    put_trace(to);
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
        put_command(to, commands[i]);
    heading(to, "end");
    if (fclose(to) != 0) {
        fprintf(stderr, "tarn-vss: the file could not be written to its end\n  next: see whether "
                        "the disk is full\n");
        return 1;
    }
    puts("written; it holds names and addresses of this host, and no secret");
    return 0;
}
