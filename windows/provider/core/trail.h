/*
 * trail.h - the file of the call trace: of bounded size, and untouched while writes are held.
 *
 * Words: lines are *pending* in memory until they are written.  A file that has reached max_bytes is
 * *retired*: it takes the place of its predecessor, and the next line begins a new file.  So there
 * are two at most, and together they always have the last max_bytes of the trace.
 *
 *     trail_init(&trail, &os, TRAIL_MAX_BYTES);
 *     trail_add(&trail, "CommitSnapshots 00000000 ...\r\n");
 *
 * While is_held says so, no function of os but lock and unlock is called: lines wait.  It is asked
 * under the trail's lock; so whoever sets it and then adds a line knows that nobody is at the file
 * any more: the end of PreCommitSnapshots does.
 *
 * Several processes may write to one file: each append is one write of whole lines, and whether a
 * file is large enough to be retired is looked at and done as one thing, by `retire`.
 *
 * Threads: any.  Ownership: os lives as long as the trail; nothing allocates.  Failures: a file that
 * cannot be retired grows to twice its size at most; lines that find no room in memory are lost, and
 * a line says how many.  Limits: a file is larger than max_bytes by TRAIL_PENDING_BYTES at most, for
 * each process that writes.
 */
#ifndef TARN_WINDOWS_CORE_TRAIL_H
#define TARN_WINDOWS_CORE_TRAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRAIL_MAX_BYTES = 4 * 1024 * 1024, TRAIL_PENDING_BYTES = 65536 };

struct trail_os {
    void (*lock)(struct trail_os *os);
    void (*unlock)(struct trail_os *os);
    /* Windows may hold all writes: nothing may touch a file. */
    bool (*is_held)(struct trail_os *os);
    /* Puts it behind what the file has, and makes one when there is none. */
    bool (*append)(struct trail_os *os, const char *text, size_t size, uint64_t *ret_file_bytes);
    /* Makes the file the predecessor, if it has at least so much.  true: what is there now is
     * smaller, whoever did that. */
    bool (*retire)(struct trail_os *os, uint64_t least_bytes);
};

struct trail {
    struct trail_os *os;
    uint64_t max_bytes;
    /* Under the lock: */
    char pending[TRAIL_PENDING_BYTES];
    size_t pending_bytes;
    unsigned lost_count;
    bool is_overdue;     /* to be retired, which failed */
    uint64_t file_bytes; /* when it was written last */
};

void trail_init(struct trail *trail, struct trail_os *os, uint64_t max_bytes);
/* A whole line, with its end. */
void trail_add(struct trail *trail, const char *line);

#endif
