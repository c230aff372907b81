/*
 * set_check.h - what must hold of every server at rest: no point that no snapshot names, no
 * snapshot without its point, no LUN number kept twice, each set in a legal state, a committed one
 * whole.
 */
#ifndef TARN_TESTS_SET_CHECK_H
#define TARN_TESTS_SET_CHECK_H

#include "tests/unit/control_rig.h"

extern bool set_check_failed;
extern bool set_check_quiet; /* a mutation is on: failures are what is wanted */

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            if (!set_check_quiet) printf("# %s: must hold: %s\n", where, #cond);                   \
            set_check_failed = true;                                                               \
        }                                                                                          \
    } while (0)

struct view {
    json_t *pool, *sets, *snapshots, *disks, *maps;
};

struct view look(struct rig *rig);
void look_away(struct view *view);
/* The newest set of that name, aborted or not; NULL. */
const json_t *set_called(const struct view *view, const char *name, bool live);
/* Sets set_check_failed when something does not hold, and says what. */
void check_world(struct rig *rig, const char *where, bool just_started);

#endif
