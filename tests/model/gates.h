/*
 * gates.h - dependent writes over several pools, cut again and again without being quiesced (E22).
 *
 * Words: a CHAIN writes the number n into its block of one pool, waits for the acknowledgement,
 * writes n into the next pool, and so on round; in every cut the numbers fall along the chain by at
 * most one in all.  An OBSERVER reads a block of one pool, which its writer counts up, and writes
 * what it has read into another: in every cut its number is not above the one it was read from.
 *
 * Each pool gets the calls of a gate late, by a delay of its own, and in order: as if it had a loop
 * of its own.  The same world runs simulated, with crashes, and on files of the machine.
 *
 * Threads: one.  gates_run returns false with the first failure as text.
 */
#ifndef TARN_TESTS_GATES_H
#define TARN_TESTS_GATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gates_crash { GATES_CRASH_NONE, GATES_CRASH_PROCESS, GATES_CRASH_POWER };

struct gates_options {
    uint64_t seed;
    unsigned pool_count; /* 2 or 3 */
    unsigned cuts;       /* of one run */
    enum gates_crash crash;
    unsigned runs;         /* each but the last ends with a crash; 0 = 1 */
    uint64_t crash_write;  /* the crash comes at this write behind the beginning of the last cut;
                              0 = anywhere */
    uint64_t limit_ns;     /* of a cut: it is given up then, at any step; 0 = one second */
    bool at_once;          /* calls of gates are not delayed */
    const char *directory; /* files of the machine; NULL: simulated */
};

struct gates_result {
    unsigned cuts_done, cuts_too_late, sets_checked, sets_undone, crashes;
    uint64_t closed_max_ns; /* the longest time that a gate was closed */
    bool crash_came;        /* with crash_write: the cut was not over before */
    char failure[400];
};

bool gates_run(const struct gates_options *options, struct gates_result *ret_result);
/* On files only: cuts until the process is killed; a byte goes to ready_fd behind the first one. */
void gates_run_until_killed(const struct gates_options *options, int ready_fd);
/* On files that such a process has left: opens them and checks every set that is there. */
bool gates_check_files(const struct gates_options *options, struct gates_result *ret_result);

#endif
