/* site_int.h - what the files of verbs share (site.h). */
#ifndef TARN_TESTS_SITE_INT_H
#define TARN_TESTS_SITE_INT_H

#include "tests/sim/site.h"

/* ---- What the server lists, and what its views hold ---- */

struct listing {
    json_t *disks, *snapshots, *sets, *maps, *pools, *trash, *jobs;
};
bool site_list_all(struct site *site, struct listing *l);
void site_unlist(struct listing *l);
bool site_resolve_sets(struct site *site);
/* Live disks while nothing is written; pool -1: of all pools, together. */
bool site_resolve_live(struct site *site, int pool, struct model_bound *bound, const char *when);
bool site_verify_exact_points(struct site *site);

/* ---- Verbs ---- */

unsigned site_draw(struct site *site, unsigned below);
void site_call_start(struct site_call *call, const char *verb, json_t *arguments,
                     site_answer_fn *answer); /* takes arguments */

int site_free_set(const struct site *site); /* -1 */
unsigned site_free_points(const struct site *site);
int site_new_set(struct site *site, const char *prefix);
/* Points to come, named as the server will; is_single: as the set. */
void site_add_points(struct site *site, int set, const int *disks, unsigned count, bool is_single);
/* Up to four disks, of several pools as well; none twice. */
unsigned site_draw_disks(struct site *site, int disks[SITE_MEMBERS]);
/* Several pools: the gate has something to hold. */
void site_stir(struct site *site, const int *disks, unsigned count);
json_t *site_names_of(const struct site *site, const int *disks, unsigned count);
/* All of a set's points are there, as its call answers. */
void site_set_was_cut(struct site *site, int set);
/* The engine's ids, as an answer lists them. */
void site_take_ids(struct site *site, int set, const json_t *array, const char *name_key,
                   const char *id_key);
void site_forget_points(struct site *site, int set);
bool site_point_is_mapped(const struct site_point *p);

int site_pick_disk(struct site *site); /* -1 */
int site_free_disk(const struct site *site);
/* A point of a set that nothing will take away. */
int site_pick_point(struct site *site, bool with_undo);
int site_free_point(const struct site *site);
int site_new_point(struct site *site, int set, int disk);
bool site_is_undo(const struct site *site, int point);
/* The undo point's content: the disk without the revert that is under way. */
void site_fill_undo_view(struct site *site, int disk);

void site_do_revert(struct site *site, struct site_call *call);
void site_do_replace(struct site *site, struct site_call *call);
void site_do_trash(struct site *site, struct site_call *call);
void site_do_promote(struct site *site, struct site_call *call);
void site_do_job(struct site *site, struct site_call *call);
void site_do_set_step(struct site *site, struct site_call *call);
void site_do_set_delete(struct site *site, struct site_call *call);

/* What is counted where it happens, in the last rows of the table of verbs. */
enum site_count {
    SITE_COUNT_PRIVATE,
    SITE_COUNT_PRIVATE_WRITE,
    SITE_COUNT_BROKEN_PRIVATE,
    SITE_COUNT_UNFORCED,
    SITE_COUNT_REFUSED,
    SITE_COUNT_WAITED,
    SITE_COUNTS,
};
void site_count(struct site *site, enum site_count what);

enum { SITE_LEASE_S = 60 };

/* ---- Who is in the way of a revert that is not forced (site_guard.c) ---- */

void site_guard_map_changes(struct site *site, int disk, int host);
/* A host's command has ended. */
void site_guard_touched(struct site *site, const struct site_slot *slot, bool ok);
/* Until nobody is in the way. */
bool site_guard_rest(struct site *site);
/* Before a revert, undo or replace of call->disk is asked for. */
void site_guard_ask(struct site *site, struct site_call *call, bool is_forced);
/* Is the answer right?  True: it was done, or begun. */
bool site_guard_judge(struct site *site, struct site_call *call, bool ok);
void site_guard_replace_goes_on(struct site *site, int disk, const json_t *job, uint64_t asked_ns);
void site_guard_replace_done(struct site *site, int disk);
/* The server died: it knows nothing of before. */
void site_guard_forget(struct site *site, int disk);

/* ---- Whole sets at hosts; kept, verified, updated snapshots (site_use.c) ---- */

void site_do_import(struct site *site, struct site_call *call);
void site_do_mask(struct site *site, struct site_call *call);
void site_do_retain(struct site *site, struct site_call *call);
void site_do_snapshot_verify(struct site *site, struct site_call *call);
void site_do_break(struct site *site, struct site_call *call);
void site_do_update(struct site *site, struct site_call *call);
void site_snapshot_id(const struct site *site, int point, struct uuid *ret_uuid);
void site_update_dropped(struct site_call *call);
/* The engine's id of a point that the server has. */
void site_point_identify(struct site *site, int point);
/* It may go: nobody asked to keep it until later. */
bool site_check_kept(struct site *site, int point);
/* No verification found another content. */
bool site_check_verified(struct site *site, const json_t *jobs);
/* After a crash: imports, masks and updates in doubt are whole or not at all. */
bool site_decide_use(struct site *site, int set);

/* ---- What a Windows host has of snapshots (site_private.c) ---- */

bool site_wants_branch(const struct site *site, int host);
/* The disk that stands for it; -1: it never had it. */
int site_private_of(const struct site *site, int point);
/* May be shown to the Windows host: the points are exact, and there is room for their branches. */
bool site_private_room(const struct site *site, const int *points, unsigned count);
/* The point is that disk now: with its branch's content, when it had one. */
void site_private_becomes(struct site *site, int point, int disk);
/* After points were mapped, or are being mapped. */
void site_private_sync(struct site *site);

#endif
