/*
 * Random histories of cuts, branches, reverts, replaces, promotions and deletions, one step after
 * another, against arrays that are copied.  A replace stays open, paused, over any number of other
 * steps (E19); power cuts come in between.  tests/model has the same with everything under way at
 * once; here every step has one right answer.
 */
#include "engine_rig.h"

enum {
    DISKS = 5,
    POINTS = 12,
    PLACES = 64, /* blocks that are looked at */
    STRIDE = 61,
    STEPS = 300,
};

struct copy {
    uint8_t values[PLACES];
    uint64_t size_bytes;
};

struct thing {
    unsigned name;        /* of its uuid; 0: there is none */
    int disk;             /* of a point: its disk; of a disk: its parent, or -1 */
    unsigned depth, busy; /* busy: content of the replace under way */
    struct copy copy;
};

struct story {
    struct rig rig;
    struct prng prng;
    struct thing disks[DISKS], points[POINTS];
    unsigned names;
    struct volume_replacement job;
    int job_disk, job_point; /* -1: none is under way */
    unsigned job_undo, windows;
    bool job_is_over;
    enum status job_status;
    unsigned replaced, given_up;
};

static unsigned draw(struct story *s, unsigned below)
{
    return (unsigned)prng_below(&s->prng, below);
}

/* A random one that is there, or none (want 0), from a random place on; -1. */
static int pick(struct story *s, const struct thing *things, unsigned count, bool is_there)
{
    unsigned first = draw(s, count);
    for (unsigned n = 0; n < count; n++) {
        unsigned i = (first + n) % count;
        if ((things[i].name != 0) == is_there) return (int)i;
    }
    return -1;
}

static uint64_t place(unsigned i)
{
    return (uint64_t)i * STRIDE;
}

static void use(struct story *s, int disk)
{
    volume_close(take_ptr(&s->rig.volume));
    s->rig.disk = uuid_of(s->disks[disk].name);
    open_disk(&s->rig);
}

/* ---- Looking ---------------------------------------------------------------------------------- */

static bool view_is(struct story *s, struct volume *view, const struct copy *copy, const char *what,
                    unsigned name)
{
    struct rig r = s->rig;
    r.volume = view;
    bool ok = volume_size_bytes(view) == copy->size_bytes;
    if (!ok) printf("# the size of %s %u is wrong\n", what, name);
    for (unsigned i = 0; ok && i < PLACES; i++) {
        if (place(i) * BLOCK_BYTES >= copy->size_bytes) continue;
        ok = has(&r, place(i), copy->values[i]);
        if (!ok)
            printf("# %s %u: place %u holds %u, expected %u\n", what, name, i, memory[0],
                   copy->values[i]);
    }
    return ok;
}

static bool all_is_right(struct story *s)
{
    bool ok = true;
    for (int i = 0; ok && i < DISKS; i++) {
        if (!s->disks[i].name) continue;
        use(s, i);
        ok = view_is(s, s->rig.volume, &s->disks[i].copy, "disk", s->disks[i].name);
    }
    for (int i = 0; ok && i < POINTS; i++) {
        if (!s->points[i].name) continue;
        struct uuid uuid = uuid_of(s->points[i].name);
        struct volume *view;
        struct err *e = volume_open(s->rig.pool, NULL, &uuid, VOLUME_READ_ONLY, &view);
        check(!e);
        ok = view_is(s, view, &s->points[i].copy, "point", s->points[i].name);
        volume_close(view);
    }
    return ok;
}

/* ---- The replace under way -------------------------------------------------------------------- */

static void job_progressed(struct volume_replacement *job, uint64_t done_bytes, uint64_t total_bytes)
{
    struct story *s = container_of(job, struct story, job);
    (void)done_bytes;
    (void)total_bytes;
    if (s->windows > 0 && --s->windows == 0) volume_replacement_pause(job, true);
}

static void job_done(struct volume_replacement *job, struct err *e)
{
    struct story *s = container_of(job, struct story, job);
    s->job_is_over = true;
    s->job_status = err_status(e);
    err_free(e);
}

static bool job_is_over(void *arg)
{
    return ((struct story *)arg)->job_is_over;
}

static void begin_replace(struct story *s)
{
    int disk = pick(s, s->disks, DISKS, true), point = pick(s, s->points, POINTS, true);
    int undo = pick(s, s->points, POINTS, false);
    if (s->job_disk >= 0 || disk < 0 || point < 0 || undo < 0) return;
    struct uuid uuid = uuid_of(s->points[point].name);
    s->job = (struct volume_replacement){.disk = uuid_of(s->disks[disk].name),
                                         .undo_point = uuid_of(++s->names),
                                         .progress = job_progressed,
                                         .done = job_done};
    struct err *e =
        volume_open(s->rig.pool, NULL, &uuid, VOLUME_READ_ONLY, &s->job.content);
    check(!e);
    s->job_disk = disk;
    s->job_point = point;
    s->job_undo = s->names;
    s->job_is_over = false;
    s->windows = 1 + draw(s, 12);
    s->points[point].busy++;
    volume_replace(s->rig.pool, &s->job);
    sim_run_for(s->rig.sim, 100 * RT_MS);
}

/* It has ended, or is told to go on to its end. */
static bool end_replace(struct story *s, bool is_cancelled)
{
    if (s->job_disk < 0) return true;
    s->windows = 0;
    int undo = pick(s, s->points, POINTS, false);
    if (undo < 0 && !s->job_is_over) is_cancelled = true; /* no room for the undo point */
    struct thing *disk = &s->disks[s->job_disk], *point = &s->points[s->job_point];
    if (is_cancelled) volume_replacement_cancel(&s->job);
    if (!s->job_is_over) volume_replacement_pause(&s->job, false);
    check(sim_run_until(s->rig.sim, job_is_over, s, LIMIT_NS));
    volume_close(s->job.content);
    point->busy--;
    bool is_replaced = s->job_status == STATUS_OK;
    if (is_replaced) {
        if (undo < 0) return false;
        s->points[undo] =
            (struct thing){.name = s->job_undo, .disk = s->job_disk, .copy = disk->copy};
        disk->copy = point->copy;
    }
    s->replaced += is_replaced;
    s->given_up += !is_replaced;
    s->job_disk = s->job_point = -1;
    return is_replaced || s->job_status == STATUS_CANCELLED || s->job_status == STATUS_CONFLICT;
}

/* What ended by itself changed the disk when it ended: it is taken note of before the next step. */
static bool settle_replace(struct story *s)
{
    return s->job_disk < 0 || !s->job_is_over || end_replace(s, false);
}

/* ---- The steps -------------------------------------------------------------------------------- */

static bool change(struct story *s)
{
    int disk = pick(s, s->disks, DISKS, true);
    use(s, disk);
    for (unsigned n = draw(s, 8) + 1; n > 0; n--) {
        unsigned i = draw(s, PLACES), value = draw(s, 3) ? 1 + draw(s, 200) : 0;
        if (place(i) * BLOCK_BYTES >= s->disks[disk].copy.size_bytes) continue;
        enum status status = value ? put(&s->rig, place(i), 1, value)
                                   : do_io(&s->rig, VOLUME_UNMAP, place(i), 1, 0);
        if (status != STATUS_OK) return false;
        s->disks[disk].copy.values[i] = (uint8_t)value;
    }
    return true;
}

static bool cut_one(struct story *s)
{
    int disk = pick(s, s->disks, DISKS, true), point = pick(s, s->points, POINTS, false);
    if (point < 0) return true;
    use(s, disk);
    s->points[point] =
        (struct thing){.name = ++s->names, .disk = disk, .copy = s->disks[disk].copy};
    return cut(&s->rig, s->names) == STATUS_OK;
}

static bool branch_one(struct story *s)
{
    int disk = pick(s, s->disks, DISKS, false), point = pick(s, s->points, POINTS, true);
    if (disk < 0 || point < 0) return true;
    struct thing *p = &s->points[point];
    unsigned depth = s->disks[p->disk].depth + 1;
    if (depth > LIMIT_BRANCH_DEPTH) return true;
    struct uuid from = uuid_of(p->name), uuid = uuid_of(++s->names);
    volume_branch(s->rig.pool, &from, &uuid, call_done, &s->rig);
    s->disks[disk] =
        (struct thing){.name = s->names, .disk = p->disk, .depth = depth, .copy = p->copy};
    return finish(&s->rig) == STATUS_OK;
}

static bool revert_one(struct story *s)
{
    int point = pick(s, s->points, POINTS, true), undo = pick(s, s->points, POINTS, false);
    if (point < 0 || undo < 0) return true;
    struct thing *disk = &s->disks[s->points[point].disk];
    struct uuid uuid = uuid_of(disk->name), to = uuid_of(s->points[point].name),
                before = uuid_of(++s->names);
    volume_revert(s->rig.pool, &uuid, &to, &before, call_done, &s->rig);
    s->points[undo] =
        (struct thing){.name = s->names, .disk = s->points[point].disk, .copy = disk->copy};
    disk->copy = s->points[point].copy;
    return finish(&s->rig) == STATUS_OK;
}

static bool delete_one_point(struct story *s)
{
    int point = pick(s, s->points, POINTS, true);
    if (point < 0) return true;
    bool is_busy = s->points[point].busy;
    enum status status = delete_point(&s->rig, s->points[point].name);
    if (is_busy) return status == STATUS_IN_USE;
    s->points[point].name = 0;
    return status == STATUS_OK;
}

static bool delete_one_disk(struct story *s)
{
    int disk = pick(s, s->disks, DISKS, true), others = 0;
    bool is_needed = disk == s->job_disk;
    for (int i = 0; i < DISKS; i++) {
        others += i != disk && s->disks[i].name;
        is_needed = is_needed || (s->disks[i].name && s->disks[i].disk == disk);
    }
    for (int i = 0; i < POINTS; i++)
        is_needed = is_needed || (s->points[i].name && s->points[i].disk == disk);
    if (others == 0) return true;
    struct uuid uuid = uuid_of(s->disks[disk].name);
    volume_close(take_ptr(&s->rig.volume));
    volume_disk_delete(s->rig.pool, &uuid, call_done, &s->rig);
    enum status status = finish(&s->rig);
    if (!is_needed) s->disks[disk].name = 0;
    return status == (is_needed ? STATUS_IN_USE : STATUS_OK);
}

static bool grow_one(struct story *s)
{
    int disk = pick(s, s->disks, DISKS, true);
    struct copy *copy = &s->disks[disk].copy;
    struct uuid uuid = uuid_of(s->disks[disk].name);
    copy->size_bytes += draw(s, 4) * MIB;
    volume_disk_resize(s->rig.pool, &uuid, copy->size_bytes, call_done, &s->rig);
    return finish(&s->rig) == STATUS_OK;
}

static struct rig *promoting;

static void promoted(struct volume_promotion *job, struct err *e)
{
    (void)job;
    call_done(promoting, e);
}

static bool promote_one(struct story *s)
{
    int disk = pick(s, s->disks, DISKS, true);
    if (s->disks[disk].disk < 0) return true;
    struct volume_promotion job = {.disk = uuid_of(s->disks[disk].name), .done = promoted};
    promoting = &s->rig;
    volume_promote(s->rig.pool, &job);
    if (finish(&s->rig) != STATUS_OK) return false;
    if (draw(s, 2)) return true;
    volume_split(s->rig.pool, &job.disk, call_done, &s->rig);
    s->disks[disk].disk = -1;
    for (unsigned lap = 0; lap < DISKS; lap++)
        for (int i = 0; i < DISKS; i++)
            s->disks[i].depth =
                s->disks[i].disk < 0 ? 0 : s->disks[s->disks[i].disk].depth + 1;
    return finish(&s->rig) == STATUS_OK;
}

/* All that was answered is flushed first, so that there is one right state; a replace that is under
 * way leaves nothing. */
static bool crash_one(struct story *s)
{
    use(s, pick(s, s->disks, DISKS, true));
    if (do_io(&s->rig, VOLUME_FLUSH, 0, 0, 0) != STATUS_OK) return false;
    crash(&s->rig, draw(s, 2) ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
    if (s->job_disk >= 0) s->points[s->job_point].busy--;
    s->given_up += s->job_disk >= 0;
    s->job_disk = s->job_point = -1;
    if (open_pool(&s->rig, draw(s, 2) ? 64 * KIB : 0) != STATUS_OK) return false;
    use(s, pick(s, s->disks, DISKS, true));
    return all_is_right(s);
}

static bool rest_one(struct story *s)
{
    if (draw(s, 2)) return all_is_right(s) && check_pool(&s->rig) == STATUS_OK;
    volume_pool_checkpoint(s->rig.pool, call_done, &s->rig);
    return finish(&s->rig) == STATUS_OK;
}

static bool step(struct story *s)
{
    if (!settle_replace(s)) return false;
    unsigned way = draw(s, 64);
    if (way < 20) return change(s);
    if (way < 29) return cut_one(s);
    if (way < 34) return branch_one(s);
    if (way < 41) return revert_one(s);
    if (way < 47) return delete_one_point(s);
    if (way < 49) return delete_one_disk(s);
    if (way < 50) return grow_one(s);
    if (way < 52) return promote_one(s);
    if (way < 56) begin_replace(s);
    if (way < 56) return true;
    if (way < 60) return end_replace(s, draw(s, 4) == 0);
    if (way < 61) return crash_one(s);
    return rest_one(s);
}

static bool story_is_right(unsigned seed, unsigned *replaced, unsigned *given_up)
{
    struct story *s = calloc(1, sizeof *s);
    check(s != NULL);
    prng_init(&s->prng, seed);
    rig_create(&s->rig, seed, 16 * MIB, 0);
    s->names = 100;
    s->job_disk = s->job_point = -1;
    s->disks[0] = (struct thing){.name = 1, .disk = -1, .copy.size_bytes = 16 * MIB};
    bool ok = true;
    unsigned at = 0;
    for (; ok && at < STEPS; at++)
        ok = step(s);
    ok = ok && settle_replace(s) && end_replace(s, false) && all_is_right(s) &&
         check_pool(&s->rig) == STATUS_OK;
    if (!ok) printf("# seed %u, step %u\n", seed, at);
    *replaced += s->replaced;
    *given_up += s->given_up;
    rig_destroy(&s->rig);
    free(s);
    return ok;
}

static void histories_with_an_open_replace_read_right_and_keep_no_more(void)
{
    unsigned replaced = 0, given_up = 0;
    for (unsigned seed = 1; seed <= 40; seed++)
        expect(story_is_right(seed, &replaced, &given_up));
    printf("# %u replaces, %u given up\n", replaced, given_up);
    expect(replaced > 40 && given_up > 40);
}

int main(void)
{
    run(histories_with_an_open_replace_read_right_and_keep_no_more);
    return tap_done();
}
