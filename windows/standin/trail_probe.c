/*
 * trail_probe - the files of the call trace, written by several processes at once and read
 * meanwhile, as TAP.
 *
 *     trail_probe                     in a directory that may be written to
 *     trail_probe write WRITER LINES  (its own children)
 *
 * Each writer numbers its lines.  Whenever the two files are read, each writer's numbers go up by
 * one, from the first that is there: nothing between them is missing or there twice.  Wine looks for
 * the end of a file before it appends, which NTFS does as one thing; so appends wait for each other
 * here.  Retiring does not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/tap.h"
#include "windows/provider/com/trail_file.h"

enum { WRITERS = 3, LINES = 2500, MAX_BYTES = 16384, LINE_BYTES = 64 };

#define NAME L"trail_probe.log"
#define OLD_NAME L"trail_probe.old.log"

static struct trail_file file;
static struct trail trail;
static HANDLE appending;
static bool (*append_file)(struct trail_os *os, const char *text, size_t size,
                           uint64_t *ret_file_bytes);
/* ---- Writing --------------------------------------------------------------------------------- */

static void nothing(struct trail_os *os) {}

static bool is_held(struct trail_os *os)
{
    return false;
}

static bool append_alone(struct trail_os *os, const char *text, size_t size,
                         uint64_t *ret_file_bytes)
{
    WaitForSingleObject(appending, INFINITE);
    bool ok = append_file(os, text, size, ret_file_bytes);
    ReleaseMutex(appending);
    return ok;
}

static void open_trail(void)
{
    trail_file_init(&file, NAME);
    append_file = file.os.append;
    file.os.append = append_alone;
    file.os.lock = file.os.unlock = nothing;
    file.os.is_held = is_held;
    trail_init(&trail, &file.os, MAX_BYTES);
    appending = CreateMutexW(NULL, FALSE, L"trail_probe");
}

static int write_lines(const char *writer, unsigned count)
{
    char line[LINE_BYTES];
    for (unsigned i = 0; i < count; i++) {
        snprintf(line, sizeof line, "%s %u\r\n", writer, i);
        trail_add(&trail, line);
    }
    /* What could not be written is still in memory. */
    return trail.pending_bytes == 0 && trail.lost_count == 0 ? 0 : 1;
}

static HANDLE start_writer(const wchar_t *program, unsigned writer)
{
    wchar_t command[MAX_PATH + 64];
    STARTUPINFOW start = {.cb = sizeof start};
    PROCESS_INFORMATION process;
    swprintf(command, MAX_PATH + 64, L"\"%ls\" write %u %u", program, writer, (unsigned)LINES);
    if (!CreateProcessW(NULL, command, NULL, NULL, FALSE, 0, NULL, NULL, &start, &process))
        return NULL;
    CloseHandle(process.hThread);
    return process.hProcess;
}

/* ---- Reading --------------------------------------------------------------------------------- */

struct seen {
    long last[WRITERS]; /* -1: none */
    bool is_wrong;
};

static void look(FILE *from, struct seen *seen)
{
    char line[LINE_BYTES];
    unsigned writer;
    long number;
    while (from && fgets(line, sizeof line, from)) {
        if (!strchr(line, '\n')) break; /* while it is written */
        if (sscanf(line, "%u %ld", &writer, &number) != 2 || writer >= WRITERS) {
            seen->is_wrong = true;
            continue;
        }
        if (seen->last[writer] != -1 && number != seen->last[writer] + 1) seen->is_wrong = true;
        seen->last[writer] = number;
    }
}

static struct seen read_both(void)
{
    struct seen seen = {{-1, -1, -1}, false};
    FILE *files[TRAIL_FILES];
    trail_file_open(&file, files);
    for (unsigned i = 0; i < TRAIL_FILES; i++) {
        look(files[i], &seen);
        if (files[i]) fclose(files[i]);
    }
    return seen;
}

static uint64_t size_of(const wchar_t *path)
{
    WIN32_FILE_ATTRIBUTE_DATA data;
    if (!GetFileAttributesExW(path, GetFileExInfoStandard, &data)) return 0;
    return (uint64_t)data.nFileSizeHigh << 32 | data.nFileSizeLow;
}

/* ---- The test -------------------------------------------------------------------------------- */

static struct {
    unsigned reads, wrong, small, large, failed;
} found;

static void read_now(void)
{
    /* The predecessor is a full one, also when two processes want to retire at once. */
    uint64_t old = size_of(OLD_NAME), now = size_of(NAME);
    const uint64_t most = MAX_BYTES + WRITERS * TRAIL_PENDING_BYTES;
    found.wrong += read_both().is_wrong;
    found.small += old != 0 && old < MAX_BYTES;
    found.large += old > most || now > most;
    found.reads++;
}

static void several_processes_write_all_their_lines(void)
{
    wchar_t program[MAX_PATH];
    HANDLE writers[WRITERS];
    unsigned started = 0;
    require(GetModuleFileNameW(NULL, program, MAX_PATH));
    while (started < WRITERS && (writers[started] = start_writer(program, started)))
        started++;
    expect_eq(started, WRITERS);
    while (started && WaitForMultipleObjects(started, writers, TRUE, 0) == WAIT_TIMEOUT)
        read_now();
    for (unsigned i = 0; i < started; i++) {
        DWORD status = 1;
        GetExitCodeProcess(writers[i], &status);
        CloseHandle(writers[i]);
        found.failed += status != 0;
    }
    printf("# read %u times while it was written\n", found.reads);
    expect_eq(found.failed, 0);
}

static void what_is_read_meanwhile_has_no_gap_and_nothing_twice(void)
{
    expect(found.reads > 0);
    expect_eq(found.wrong, 0);
}

static void no_small_file_takes_the_place_of_a_full_predecessor(void)
{
    expect_eq(found.small, 0);
    expect(size_of(OLD_NAME) >= MAX_BYTES);
}

static void no_file_grows_without_bound(void)
{
    expect_eq(found.large, 0);
}

static void the_last_lines_are_there(void)
{
    struct seen seen = read_both();
    expect(!seen.is_wrong);
    for (unsigned i = 0; i < WRITERS; i++)
        expect(seen.last[i] == -1 || seen.last[i] == LINES - 1);
}

/* Somebody has it open without a thought for others. */
static void a_file_that_cannot_be_renamed_stops_at_twice_its_size(void)
{
    HANDLE rude = CreateFileW(NAME, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                              OPEN_ALWAYS, 0, NULL);
    uint64_t before = size_of(OLD_NAME);
    require(rude != INVALID_HANDLE_VALUE);
    write_lines("0", 4 * MAX_BYTES / 8);
    uint64_t most = size_of(NAME);
    expect_eq(size_of(OLD_NAME), before);
    expect(most >= 2 * MAX_BYTES && most < 2 * MAX_BYTES + LINE_BYTES);
    CloseHandle(rude);
    write_lines("0", 1); /* nobody forbids it any more */
    expect(trail.pending_bytes == 0 && size_of(OLD_NAME) >= most);
}

/* As `log --follow` does. */
static void a_polite_reader_does_not_hinder_and_sees_the_next_file(void)
{
    FILE *files[TRAIL_FILES], *next = NULL;
    char line[LINE_BYTES];
    write_lines("1", 1);
    trail_file_open(&file, files);
    FILE *opened = files[TRAIL_FILES - 1];
    if (files[0]) fclose(files[0]);
    require(opened);
    expect(!trail_file_next(&file, opened));
    for (unsigned i = 0; i < MAX_BYTES && !next; i++) {
        write_lines("2", 1);
        next = trail_file_next(&file, opened);
    }
    require(next);
    expect(fgets(line, sizeof line, next));
    fclose(next);
    fclose(opened);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    open_trail();
    if (argc == 4 && strcmp(argv[1], "write") == 0)
        return write_lines(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
    run(several_processes_write_all_their_lines);
    run(what_is_read_meanwhile_has_no_gap_and_nothing_twice);
    run(no_small_file_takes_the_place_of_a_full_predecessor);
    run(no_file_grows_without_bound);
    run(the_last_lines_are_there);
    run(a_file_that_cannot_be_renamed_stops_at_twice_its_size);
    run(a_polite_reader_does_not_hinder_and_sees_the_next_file);
    DeleteFileW(NAME);
    DeleteFileW(OLD_NAME);
    return tap_done();
}
