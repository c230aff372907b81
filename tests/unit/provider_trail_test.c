/* The call trace's file: bounded, never touched while writes are held, shared by processes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/lib/tap.h"
#include "windows/provider/core/trail.h"

/* ---- A directory in memory, and processes that write to it ----------------------------------- */

enum { MAX_BYTES = 1000, FILES_MAX = 64, FILE_BYTES = 256 * 1024, PROCESSES = 2 };

struct process {
    struct trail_os os;
    struct trail trail;
    unsigned lock_depth;
};

static struct {
    char text[FILES_MAX][FILE_BYTES];
    size_t size[FILES_MAX];
    unsigned count, retired_count;
    int now, old; /* -1: there is none */
    bool is_held, is_stuck, is_full;
    unsigned touched_held, touched_unlocked, touched;
    struct process *other; /* adds a line just before somebody retires */
} dir;
static struct process processes[PROCESSES];

static void lock(struct trail_os *os)
{
    check(((struct process *)(void *)os)->lock_depth++ == 0);
}

static void unlock(struct trail_os *os)
{
    check(--((struct process *)(void *)os)->lock_depth == 0);
}

static bool is_held(struct trail_os *os)
{
    (void)os;
    return dir.is_held;
}

static void touch(struct trail_os *os)
{
    dir.touched++;
    dir.touched_held += dir.is_held;
    dir.touched_unlocked += ((struct process *)(void *)os)->lock_depth != 1;
}

static bool append(struct trail_os *os, const char *text, size_t size, uint64_t *ret_file_bytes)
{
    touch(os);
    if (dir.is_full) return false;
    if (dir.now == -1) {
        check(dir.count < FILES_MAX);
        dir.now = (int)dir.count++;
    }
    check(dir.size[dir.now] + size < FILE_BYTES);
    memcpy(dir.text[dir.now] + dir.size[dir.now], text, size);
    dir.size[dir.now] += size;
    *ret_file_bytes = dir.size[dir.now];
    return true;
}

static bool retire(struct trail_os *os, uint64_t least_bytes)
{
    touch(os);
    struct process *other = dir.other;
    dir.other = NULL;
    if (other) trail_add(&other->trail, "of the other\n");
    if (dir.now == -1 || dir.size[dir.now] < least_bytes) return true;
    if (dir.is_stuck) return false;
    dir.old = dir.now;
    dir.now = -1;
    dir.retired_count++;
    return true;
}

static void begin(void)
{
    dir.count = dir.retired_count = dir.touched_held = dir.touched_unlocked = dir.touched = 0;
    memset(dir.size, 0, sizeof dir.size);
    dir.now = dir.old = -1;
    dir.is_held = dir.is_stuck = dir.is_full = false;
    dir.other = NULL;
    for (unsigned i = 0; i < PROCESSES; i++) {
        struct process *p = &processes[i];
        *p = (struct process){.os = {lock, unlock, is_held, append, retire}};
        trail_init(&p->trail, &p->os, MAX_BYTES);
    }
}

static void add_number(unsigned number)
{
    char line[32];
    snprintf(line, sizeof line, "line %06u\n", number);
    trail_add(&processes[0].trail, line);
}

static size_t size_of(int file)
{
    return file == -1 ? 0 : dir.size[file];
}

/* Both files, one after the other. */
static const char *all(void)
{
    static char text[2 * FILE_BYTES];
    size_t used = 0;
    for (unsigned i = 0; i < 2; i++) {
        int file = i == 0 ? dir.old : dir.now;
        if (file == -1) continue;
        memcpy(text + used, dir.text[file], dir.size[file]);
        used += dir.size[file];
    }
    text[used] = '\0';
    return text;
}

/* The first number that is there; UINT32_MAX when they are not one after the other up to `last`. */
static uint32_t first_of_rising(uint32_t last)
{
    const char *at = all();
    unsigned first, number = 0, count = 0;
    if (sscanf(at, "line %u", &first) != 1) return UINT32_MAX;
    while (sscanf(at, "line %u", &number) == 1) {
        if (number != first + count++) return UINT32_MAX;
        at = strchr(at, '\n') + 1;
    }
    return *at == '\0' && number == last ? first : UINT32_MAX;
}

/* ---- One process ----------------------------------------------------------------------------- */

static void the_trace_is_bounded_and_keeps_its_end(void)
{
    begin();
    size_t most = 0, most_old = 0;
    for (unsigned i = 0; i < 1000; i++) {
        add_number(i);
        if (size_of(dir.now) > most) most = size_of(dir.now);
        if (size_of(dir.old) > most_old) most_old = size_of(dir.old);
    }
    expect(dir.retired_count > 5);
    expect(most <= MAX_BYTES && most_old <= MAX_BYTES + 12);
    uint32_t first = first_of_rising(999);
    expect(first != UINT32_MAX && (1000 - first) * 12 >= MAX_BYTES);
    expect_eq(dir.touched_unlocked, 0);
}

static void while_writes_are_held_nothing_is_touched(void)
{
    begin();
    for (unsigned i = 0; i < 80; i++)
        add_number(i); /* nearly full: the next few would retire it */
    unsigned touched = dir.touched;
    dir.is_held = true;
    for (unsigned i = 80; i < 300; i++)
        add_number(i);
    expect_eq(dir.touched, touched);
    dir.is_held = false;
    add_number(300);
    expect(dir.touched > touched && dir.retired_count == 1);
    expect_eq(dir.touched_held, 0);
    expect_eq(first_of_rising(300), 0);
}

static void lines_without_room_are_counted_where_they_are_missing(void)
{
    begin();
    dir.is_held = true;
    unsigned fit = TRAIL_PENDING_BYTES / 12;
    for (unsigned i = 0; i < fit + 5; i++)
        add_number(i);
    dir.is_held = false;
    add_number(fit + 5);
    add_number(fit + 6);
    const char *text = all(), *note = strstr(text, "event: ");
    require(note != NULL);
    expect(strncmp(note, "event: 6 lines of this trace were lost\r\nline ", 45) == 0);
    expect_eq((unsigned)(note - text), fit * 12);
    expect_eq((unsigned)strtoul(note + 45, NULL, 10), fit + 6);
}

static void a_disk_that_takes_nothing_costs_no_line_that_fits(void)
{
    begin();
    dir.is_full = true;
    for (unsigned i = 0; i < 50; i++)
        add_number(i);
    dir.is_full = false;
    add_number(50);
    expect_eq(first_of_rising(50), 0);
}

/* Somebody has it open in a way that forbids to rename it. */
static void a_file_that_cannot_be_retired_stops_at_twice_its_size(void)
{
    begin();
    dir.is_stuck = true;
    for (unsigned i = 0; i < 1000; i++)
        add_number(i);
    expect(size_of(dir.now) >= MAX_BYTES && size_of(dir.now) <= 2 * MAX_BYTES + 12);
    dir.is_stuck = false;
    add_number(1000);
    expect_eq(dir.retired_count, 2); /* what waited is more than a file has */
    expect(strstr(all(), "line 001000\n") != NULL);
}

/* ---- Several --------------------------------------------------------------------------------- */

/* Between this one's look at the size and its renaming, another one renames: its small file must not
 * become the predecessor. */
static void what_another_process_retired_is_not_retired_again(void)
{
    begin();
    for (unsigned i = 0; i < 83; i++)
        add_number(i);
    expect(dir.retired_count == 0);
    dir.other = &processes[1];
    add_number(83);
    expect_eq(dir.retired_count, 1);
    expect(size_of(dir.old) >= MAX_BYTES);
    expect(!processes[0].trail.is_overdue);
    trail_add(&processes[1].trail, "second of the other\n");
    expect_eq(size_of(dir.now), strlen("second of the other\n"));
    expect(strstr(all(), "line 000083\nof the other\nsecond of the other\n") != NULL);
}

int main(void)
{
    run(the_trace_is_bounded_and_keeps_its_end);
    run(while_writes_are_held_nothing_is_touched);
    run(lines_without_room_are_counted_where_they_are_missing);
    run(a_disk_that_takes_nothing_costs_no_line_that_fits);
    run(a_file_that_cannot_be_retired_stops_at_twice_its_size);
    run(what_another_process_retired_is_not_retired_again);
    return tap_done();
}
