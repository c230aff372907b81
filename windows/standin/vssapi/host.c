/* The host: its clock, its memory of shadow copies in files, its disks through the native helper. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windows/standin/machine_tcp.h"
#include "windows/standin/vssapi/session.h"

enum { BESIDE_MS = 10 }; /* a call to tarnd takes about 50 under Wine */

struct standin_host {
    struct si_host host;
    struct si_machine *machine;
    bool has_machine;
    bool is_held;
};

static struct standin_host *of(struct si_host *h)
{
    return (struct standin_host *)h;
}

static uint64_t now_ms(struct si_host *h)
{
    (void)h;
    return GetTickCount64();
}

static void new_guid(struct si_host *h, GUID *ret)
{
    (void)h;
    if (FAILED(CoCreateGuid(ret))) memset(ret, 0, sizeof *ret);
}

/* ---- Writers --------------------------------------------------------------------------------- */

/* What writes to the disks of this host in tests is no application that knows VSS. */
static bool freeze(struct si_host *h)
{
    (void)h;
    return true;
}

static void thaw(struct si_host *h)
{
    (void)h;
}

static void hold(struct si_host *h)
{
    if (of(h)->has_machine) of(h)->is_held = machine_tcp_hold(of(h)->machine);
}

static void let_go(struct si_host *h)
{
    if (of(h)->is_held && !machine_tcp_release(of(h)->machine))
        h->say(h, "the hold was lost before it was released");
    of(h)->is_held = false;
}

/* ---- Beside each other ----------------------------------------------------------------------- */

struct other_thread {
    void (*run)(void *arg);
    void *arg;
};

static DWORD WINAPI run_other(void *arg)
{
    struct other_thread *other = arg;
    HRESULT result = CoInitializeEx(NULL, COINIT_MULTITHREADED);
    other->run(other->arg);
    if (SUCCEEDED(result)) CoUninitialize();
    return 0;
}

/* The second begins while the first is under way, unless that one is very quick. */
static void both(struct si_host *h, void (*first)(void *arg), void (*second)(void *arg), void *arg)
{
    struct other_thread other = {first, arg};
    HANDLE thread = CreateThread(NULL, 0, run_other, &other, 0, NULL);
    (void)h;
    if (!thread) first(arg);
    if (thread) WaitForSingleObject(thread, BESIDE_MS);
    second(arg);
    if (!thread) return;
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}

/* ---- Files ----------------------------------------------------------------------------------- */

void standin_state_path(const char *kind, const char *name, const char *end, char ret[MAX_PATH])
{
    char directory[SI_NAME_MAX];
    standin_setting("STANDIN_STATE", directory);
    if (!directory[0]) snprintf(directory, sizeof directory, "C:\\standin");
    CreateDirectoryA(directory, NULL);
    snprintf(ret, MAX_PATH, "%s\\%s", directory, kind);
    CreateDirectoryA(ret, NULL);
    snprintf(ret, MAX_PATH, "%s\\%s\\%s%s", directory, kind, name, end);
}

char *standin_file_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    if (size >= 0) text = malloc((size_t)size + 1);
    if (text && fread(text, 1, (size_t)size, file) == (size_t)size) {
        text[size] = '\0';
    } else {
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

/* The old text or the new, whatever happens in between. */
bool standin_file_write(const char *path, const char *text)
{
    char beside[MAX_PATH + 8];
    snprintf(beside, sizeof beside, "%s.new", path);
    FILE *file = fopen(beside, "wb");
    if (!file) return false;
    bool good = fwrite(text, 1, strlen(text), file) == strlen(text);
    good = fclose(file) == 0 && good;
    return good && MoveFileExA(beside, path, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH);
}

static char *load(struct si_host *h, const char *name)
{
    char path[MAX_PATH];
    (void)h;
    standin_state_path("sets", name, ".xml", path);
    return standin_file_read(path);
}

static bool save(struct si_host *h, const char *name, const char *text)
{
    char path[MAX_PATH];
    (void)h;
    standin_state_path("sets", name, ".xml", path);
    if (text) return standin_file_write(path, text);
    return DeleteFileA(path) || GetLastError() == ERROR_FILE_NOT_FOUND;
}

static unsigned list(struct si_host *h, char ret_names[][SI_NAME_MAX], unsigned max)
{
    char pattern[MAX_PATH];
    WIN32_FIND_DATAA found;
    unsigned count = 0;
    (void)h;
    standin_state_path("sets", "*", ".xml", pattern);
    HANDLE search = FindFirstFileA(pattern, &found);
    if (search == INVALID_HANDLE_VALUE) return 0;
    do {
        char *dot = strrchr(found.cFileName, '.');
        if (!dot || _stricmp(dot, ".xml") != 0 || count == max) continue;
        *dot = '\0';
        snprintf(ret_names[count++], SI_NAME_MAX, "%s", found.cFileName);
    } while (FindNextFileA(search, &found));
    FindClose(search);
    return count;
}

static void say(struct si_host *h, const char *line)
{
    char path[SI_NAME_MAX];
    (void)h;
    standin_setting("STANDIN_TRACE", path);
    FILE *file = path[0] ? fopen(path, "ab") : NULL;
    if (!file) return;
    fprintf(file, "%s\n", line);
    fclose(file);
}

/* ---- Disks ----------------------------------------------------------------------------------- */

static unsigned no_rescan(struct si_machine *m, struct si_disk ret[SI_DISKS_MAX])
{
    (void)m;
    (void)ret;
    return UINT_MAX;
}

static enum si_io no_read(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                          void *ret_data)
{
    (void)m, (void)handle, (void)lba, (void)blocks, (void)ret_data;
    return SI_IO_GONE;
}

static enum si_io no_write(struct si_machine *m, unsigned handle, uint64_t lba, uint32_t blocks,
                           const void *data)
{
    (void)m, (void)handle, (void)lba, (void)blocks, (void)data;
    return SI_IO_GONE;
}

static enum si_io no_flush(struct si_machine *m, unsigned handle)
{
    (void)m, (void)handle;
    return SI_IO_GONE;
}

static struct si_machine none = {no_rescan, no_read, no_write, no_flush};

/* ---- Coming and going ------------------------------------------------------------------------ */

struct si_host *standin_host_create(struct si_machine **ret_machine)
{
    struct standin_host *host = calloc(1, sizeof *host);
    unsigned port = standin_setting_number("STANDIN_MACHINE");
    if (!host) return NULL;
    *host = (struct standin_host){
        .host = {.now_ms = now_ms,
                 .new_guid = new_guid,
                 .freeze = freeze,
                 .hold = hold,
                 .release = let_go,
                 .thaw = thaw,
                 .load = load,
                 .save = save,
                 .list = list,
                 .say = say,
                 .beside = both},
        .machine = &none,
    };
    host->has_machine = port && machine_tcp_open((unsigned short)port, &host->machine);
    if (!host->has_machine) host->machine = &none;
    *ret_machine = host->machine;
    return &host->host;
}

void standin_host_destroy(struct si_host *h)
{
    if (of(h)->has_machine) machine_tcp_close(of(h)->machine);
    free(h);
}
