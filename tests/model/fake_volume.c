/* The fake engine (fake_volume.h).  Simple and slow on purpose. */
#include "fake_volume.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "fake_things.h"
#include "litter.h"
#include "volume/volume.h"

enum { FAKE_LOG = 200000 };

/* clang-format off */
enum entry_kind {
    ENTRY_WRITE, ENTRY_ZERO, ENTRY_COMPARE, ENTRY_CREATE, ENTRY_GROW, ENTRY_DELETE, ENTRY_BRANCH, ENTRY_SPLIT,
    ENTRY_CUT, ENTRY_POINT_DELETE, ENTRY_REVERT, ENTRY_BASE
};
/* clang-format on */

struct entry {
    enum entry_kind kind;
    bool complete, dropped;
    struct uuid uuid, other, members[8][2];
    unsigned member_count;
    uint64_t sector, count;
    uint8_t *data; /* of WRITE; of COMPARE both halves */
    struct volume_io *io;
    volume_done_fn *done;
    void *arg;
    struct rt_timer timer;
};

struct volume_pool {
    struct rt *rt;
    struct volume_recovery recovery;
    volume_done_fn *open_done;
    void *open_arg;
    struct rt_timer open_timer;
};

struct volume {
    struct volume_pool *pool;
    struct uuid uuid;
    bool is_point;
};

struct later { /* reads, flushes and plain answers */
    struct rt_timer timer;
    struct volume_io *io;
    volume_done_fn *done;
    void *arg;
    size_t durable;
};

static struct {
    enum fake_bug bug;
    struct prng prng;
    struct entry **log;
    size_t count, applied, durable;
    uint64_t leaked;
    struct uuid undo_disk; /* what the newest write covered (CUT_MISSES_NEWEST) */
    uint64_t undo_sector, undo_count;
    uint8_t *undo;
} fake;

static bool bug(enum fake_bug which, unsigned one_in)
{
    return fake.bug == which && prng_chance(&fake.prng, 1, one_in);
}

/* ---- Applying the log ------------------------------------------------------------------------ */

static void apply_data(struct entry *e)
{
    struct thing *t = fake_find(&e->uuid);
    if (!t || e->dropped) return;
    uint64_t at = e->sector;
    if (bug(FAKE_WRONG_SECTOR, 60) && at + e->count + 8 <= t->sectors) at += 8;
    size_t size = (size_t)e->count * SECTOR_BYTES;
    free(fake.undo);
    fake.undo = malloc(size + 1);
    check(fake.undo != NULL);
    memcpy(fake.undo, t->data + at * SECTOR_BYTES, size);
    fake.undo_disk = e->uuid;
    fake.undo_sector = at;
    fake.undo_count = e->count;
    if (e->kind == ENTRY_ZERO)
        memset(t->data + at * SECTOR_BYTES, 0, size);
    else
        memcpy(t->data + at * SECTOR_BYTES, e->kind == ENTRY_COMPARE ? e->data + size : e->data,
               size);
    for (unsigned i = 0; i < FAKE_THINGS; i++) {
        struct thing *other = &fake_things[i];
        if (!other->used || e->kind != ENTRY_WRITE) continue;
        bool leaks =
            (other->is_point && uuid_equal(&other->disk, &t->uuid) && bug(FAKE_POINT_CHANGES, 5)) ||
            (!other->is_point && uuid_equal(&other->uuid, &t->parent) &&
             bug(FAKE_BRANCH_SHARES, 3));
        if (leaks && at + e->count <= other->sectors)
            memcpy(other->data + at * SECTOR_BYTES, e->data, size);
    }
}

static void apply_compare(struct entry *e)
{
    struct thing *t = fake_find(&e->uuid);
    size_t size = (size_t)e->count * SECTOR_BYTES;
    if (!t) return;
    const uint8_t *have = t->data + e->sector * SECTOR_BYTES;
    for (size_t i = 0; i < size; i++) {
        if (have[i] == e->data[i] || fake.bug == FAKE_COMPARE_IGNORED) continue;
        if (e->io) e->io->status = STATUS_MISCOMPARE, e->io->miscompare_offset = (uint32_t)i;
        return;
    }
    apply_data(e);
}

static void apply_cut_member(struct entry *e, unsigned i)
{
    struct thing *disk = fake_find(&e->members[i][0]);
    if (!disk || fake_find(&e->members[i][1])) return;
    struct thing *point = fake_thing_new(&e->members[i][1], disk->sectors, true);
    point->disk = disk->uuid;
    memcpy(point->data, disk->data, disk->sectors * SECTOR_BYTES);
    if (fake.bug == FAKE_CUT_MISSES_NEWEST && fake.undo && uuid_equal(&fake.undo_disk, &disk->uuid))
        memcpy(point->data + fake.undo_sector * SECTOR_BYTES, fake.undo,
               fake.undo_count * SECTOR_BYTES);
}

static void apply_revert(struct entry *e)
{
    struct thing *disk = fake_find(&e->uuid), *point = fake_find(&e->other);
    if (!disk || !point || fake_find(&e->members[0][0])) return;
    const struct thing *old = fake.bug == FAKE_UNDO_IS_NEW ? point : disk;
    struct thing *undo = fake_thing_new(&e->members[0][0], disk->sectors, true);
    undo->disk = disk->uuid;
    memcpy(undo->data, old->data, min_of(old->sectors, disk->sectors) * SECTOR_BYTES);
    disk->data = realloc(disk->data, point->sectors * SECTOR_BYTES);
    check(disk->data != NULL);
    size_t spared = fake.bug == FAKE_REVERT_SPARES_FIRST && disk->sectors >= 8 ? BLOCK_BYTES : 0;
    memcpy(disk->data + spared, point->data + spared, point->sectors * SECTOR_BYTES - spared);
    disk->sectors = point->sectors;
}

static void apply(struct entry *e)
{
    struct thing *t = fake_find(&e->uuid), *from;
    switch (e->kind) {
    case ENTRY_WRITE:
    case ENTRY_ZERO:
        apply_data(e);
        break;
    case ENTRY_COMPARE:
        apply_compare(e);
        break;
    case ENTRY_CREATE:
        fake_thing_new(&e->uuid, e->count, false);
        break;
    case ENTRY_GROW:
        t->data = realloc(t->data, e->count * SECTOR_BYTES);
        check(t->data != NULL);
        memset(t->data + t->sectors * SECTOR_BYTES, fake.bug == FAKE_GROW_DIRTY,
               (e->count - t->sectors) * SECTOR_BYTES);
        t->sectors = e->count;
        break;
    case ENTRY_DELETE:
    case ENTRY_POINT_DELETE:
        if (t && fake.bug == FAKE_SPACE_LEAK) fake.leaked += BLOCK_BYTES;
        if (t) fake_thing_free(t);
        break;
    case ENTRY_CUT:
        for (unsigned i = 0; i < e->member_count; i++)
            if (i == 0 || fake.bug != FAKE_CUT_LATE_MEMBER) apply_cut_member(e, i);
        break;
    case ENTRY_BRANCH:
        from = fake_find(&e->other);
        if (!from || e->dropped) break;
        t = fake_thing_new(&e->uuid, from->sectors, false);
        t->parent = from->disk;
        memcpy(t->data, from->data, from->sectors * SECTOR_BYTES);
        break;
    case ENTRY_REVERT:
        apply_revert(e);
        break;
    case ENTRY_SPLIT:
        if (t) t->parent = (struct uuid){{0}};
        break;
    case ENTRY_BASE:
        break;
    }
}

static void answer(struct entry *e)
{
    struct volume_io *io = take_ptr(&e->io);
    volume_done_fn *done = take_ptr(&e->done);
    if (io) {
        if (io->status == STATUS_AGAIN) io->status = STATUS_OK;
        io->done(io);
    }
    if (done) done(e->arg, NULL);
}

static void entry_finish(struct entry *e, size_t index)
{
    apply(e);
    if (e->io && (e->io->flags & VOLUME_FUA) && fake.bug != FAKE_FUA_LIES)
        fake.durable = max_of(fake.durable, index + 1);
    if (e->done && !(e->kind == ENTRY_CUT && fake.bug == FAKE_CUT_LIES) &&
        !(e->kind == ENTRY_REVERT && fake.bug == FAKE_REVERT_LIES))
        fake.durable = max_of(fake.durable, index + 1);
    if (e->kind == ENTRY_CUT && fake.bug == FAKE_CUT_LATE_MEMBER)
        for (unsigned i = 1; i < e->member_count; i++) { /* the next entry slips in between */
            if (index + i < fake.count && fake.log[index + i]->kind == ENTRY_WRITE &&
                !fake.log[index + i]->dropped && fake.log[index + i]->complete)
                apply(fake.log[index + i]);
            apply_cut_member(e, i);
        }
    answer(e);
}

static void publish(void)
{
    while (fake.applied < fake.count && fake.log[fake.applied]->complete) {
        size_t index = fake.applied++;
        entry_finish(fake.log[index], index);
    }
}

static void entry_complete(struct rt_timer *timer)
{
    struct entry *e = container_of(timer, struct entry, timer);
    e->complete = true;
    if (bug(FAKE_ACK_OUT_OF_ORDER, 8) && e->io && e->kind == ENTRY_WRITE) answer(e);
    publish();
}

static struct entry *append(struct volume_pool *pool, enum entry_kind kind, const struct uuid *uuid)
{
    check(fake.count < FAKE_LOG);
    struct entry *e = calloc(1, sizeof *e);
    check(e != NULL);
    e->kind = kind;
    e->uuid = *uuid;
    if (fake.log[fake.count]) { /* lost in a crash */
        free(fake.log[fake.count]->data);
        free(fake.log[fake.count]);
    }
    fake.log[fake.count++] = e;
    rt_timer_set(pool->rt, &e->timer, rt_now(pool->rt) + 1000 + prng_below(&fake.prng, 2 * RT_MS),
                 entry_complete);
    return e;
}

static void control(struct volume_pool *pool, enum entry_kind kind, const struct uuid *uuid,
                    uint64_t count, volume_done_fn *done, void *arg)
{
    struct entry *e = append(pool, kind, uuid);
    e->count = count;
    e->done = done;
    e->arg = arg;
}

/* ---- Host requests --------------------------------------------------------------------------- */

static void copy_iov(const struct iovec *iov, unsigned count, uint8_t *memory, bool to_iov)
{
    for (unsigned i = 0; i < count; i++) {
        if (to_iov)
            memcpy(iov[i].iov_base, memory, iov[i].iov_len);
        else
            memcpy(memory, iov[i].iov_base, iov[i].iov_len);
        memory += iov[i].iov_len;
    }
}

/* The rest of the blocks as it is now, around the data (RMW_RACE). */
static void widen(struct entry *e)
{
    struct thing *t = fake_find(&e->uuid);
    uint64_t start = e->sector / 8 * 8, end = (e->sector + e->count + 7) / 8 * 8;
    if (!t || end > t->sectors) return;
    uint8_t *data = malloc((end - start) * SECTOR_BYTES);
    check(data != NULL);
    memcpy(data, t->data + start * SECTOR_BYTES, (end - start) * SECTOR_BYTES);
    memcpy(data + (e->sector - start) * SECTOR_BYTES, e->data, e->count * SECTOR_BYTES);
    free(e->data);
    e->data = data;
    e->sector = start;
    e->count = end - start;
}

static void submit_change(struct volume *v, struct volume_io *io, enum entry_kind kind)
{
    struct entry *e = append(v->pool, kind, &v->uuid);
    e->io = io;
    io->status = STATUS_AGAIN;
    e->sector = io->sector;
    e->count = io->sector_count;
    if (io->op == VOLUME_UNMAP && fake.bug != FAKE_UNMAP_RAGGED) {
        uint64_t end = (e->sector + e->count) / 8 * 8;
        e->sector = (e->sector + 7) / 8 * 8;
        e->count = end > e->sector ? end - e->sector : 0;
    }
    if (kind != ENTRY_ZERO) {
        e->data = malloc(e->count * SECTOR_BYTES * 2);
        check(e->data != NULL);
        copy_iov(io->iov, io->iov_count, e->data, false);
    }
    if (kind == ENTRY_WRITE && fake.bug == FAKE_RMW_RACE) widen(e);
    e->dropped = kind == ENTRY_WRITE && bug(FAKE_LOSE_WRITE, 50);
}

static void later_fire(struct rt_timer *timer)
{
    struct later *l = container_of(timer, struct later, timer);
    struct volume_io *io = l->io;
    if (io && io->op == VOLUME_READ) {
        struct thing *t = fake_find(&io->volume->uuid);
        auto_free uint8_t *data = malloc(io->sector_count * SECTOR_BYTES);
        check(t != NULL && data != NULL);
        memcpy(data, t->data + io->sector * SECTOR_BYTES, io->sector_count * SECTOR_BYTES);
        if (bug(FAKE_STALE_READ, 20)) memset(data, 0, SECTOR_BYTES);
        copy_iov(io->iov, io->iov_count, data, true);
    }
    if (io && io->op == VOLUME_FLUSH && fake.bug != FAKE_FLUSH_LIES)
        fake.durable = max_of(fake.durable, l->durable);
    volume_done_fn *done = l->done;
    void *arg = l->arg;
    litter_free(l);
    if (io) io->status = STATUS_OK, io->done(io);
    if (done) done(arg, NULL);
}

static void answer_later(struct volume_pool *pool, struct volume_io *io, volume_done_fn *done,
                         void *arg)
{
    struct later *l = litter_new(sizeof *l);
    l->io = io;
    l->done = done;
    l->arg = arg;
    l->durable = fake.applied;
    rt_timer_set(pool->rt, &l->timer, rt_now(pool->rt) + 1000 + prng_below(&fake.prng, RT_MS),
                 later_fire);
}

struct query_later {
    struct rt_timer timer;
    struct volume_map_query *query;
};

static void query_fire(struct rt_timer *timer)
{
    struct query_later *l = container_of(timer, struct query_later, timer);
    struct volume_map_query *query = l->query;
    litter_free(l);
    query->done(query);
}

void volume_submit(struct volume *volume, struct volume_io *io)
{
    io->volume = volume;
    switch (io->op) {
    case VOLUME_READ:
    case VOLUME_FLUSH:
        answer_later(volume->pool, io, NULL, NULL);
        break;
    case VOLUME_WRITE:
        submit_change(volume, io, ENTRY_WRITE);
        break;
    case VOLUME_ZERO:
    case VOLUME_UNMAP:
        submit_change(volume, io, ENTRY_ZERO);
        break;
    case VOLUME_COMPARE_WRITE:
        submit_change(volume, io, ENTRY_COMPARE);
        break;
    }
}

void volume_map_status(struct volume *volume, struct volume_map_query *query)
{
    static const uint8_t zeroes[SECTOR_BYTES];
    struct query_later *l = litter_new(sizeof *l);
    struct thing *t = fake_find(&volume->uuid);
    query->mapped = memcmp(t->data + query->sector * SECTOR_BYTES, zeroes, SECTOR_BYTES) != 0;
    query->run_sectors = fake.bug == FAKE_MAP_LIES ? query->sector_count : 1;
    query->status = STATUS_OK;
    l->query = query;
    rt_timer_set(volume->pool->rt, &l->timer, rt_now(volume->pool->rt) + 1000, query_fire);
}

/* ---- Crash ----------------------------------------------------------------------------------- */

static void rebuild(void)
{
    for (unsigned i = 0; i < FAKE_THINGS; i++)
        if (fake_things[i].used) fake_thing_free(&fake_things[i]);
    for (size_t i = 0; i < fake.count; i++) {
        struct entry *e = fake.log[i];
        e->io = NULL;
        e->done = NULL;
        e->complete = true;
        apply(e);
        if (e->kind == ENTRY_CUT && fake.bug == FAKE_CUT_LATE_MEMBER)
            for (unsigned m = 1; m < e->member_count; m++)
                apply_cut_member(e, m);
    }
    fake.applied = fake.durable = fake.count;
}

/* Everything of one disk from a drawn place on is lost, of the others nothing. */
static void lose_tail_of_one_disk(size_t least)
{
    if (fake.count == least) return;
    size_t from = least + prng_below(&fake.prng, fake.count - least);
    struct uuid uuid = fake.log[from]->uuid;
    for (size_t i = from; i < fake.count; i++)
        if (uuid_equal(&fake.log[i]->uuid, &uuid) && fake.log[i]->kind == ENTRY_WRITE)
            fake.log[i]->kind = ENTRY_BASE;
}

static void break_log(size_t least)
{
    if (fake.bug == FAKE_PREFIX_PER_DISK) lose_tail_of_one_disk(least);
    struct entry *last = fake.count ? fake.log[fake.count - 1] : NULL;
    for (size_t i = fake.count; i-- > 0 && fake.bug == FAKE_HALF_SET;) {
        if (fake.log[i]->kind != ENTRY_CUT || fake.log[i]->member_count < 2) continue;
        fake.log[i]->member_count--;
        break;
    }
    for (size_t i = fake.count; i-- > 0 && fake.bug == FAKE_UNDELETE;) {
        if (fake.log[i]->kind != ENTRY_POINT_DELETE) continue;
        fake.log[i]->kind = ENTRY_BASE;
        break;
    }
    for (size_t i = fake.count; i-- > 0 && fake.bug == FAKE_FORGET_BRANCH;) {
        if (fake.log[i]->kind != ENTRY_BRANCH) continue;
        fake.log[i]->dropped = true;
        for (size_t j = i + 1; j < fake.count; j++) /* with all that was done to it */
            if (uuid_equal(&fake.log[j]->uuid, &fake.log[i]->uuid)) fake.log[j]->kind = ENTRY_BASE;
        break;
    }
    if (fake.bug == FAKE_TORN_BLOCK && last && last->kind == ENTRY_WRITE && last->count > 1)
        last->count /= 2;
    if (fake.bug == FAKE_HOLE_IN_LOG && fake.count > 6 &&
        fake.log[fake.count - 3]->kind == ENTRY_WRITE)
        fake.log[fake.count - 3]->kind = ENTRY_BASE;
}

void fake_volume_crashed(enum sim_crash kind)
{
    size_t end = fake.applied, least = kind == SIM_CRASH_POWER ? fake.durable : fake.applied;
    while (end < fake.count && fake.log[end]->complete)
        end++;
    if (fake.bug == FAKE_ACK_OUT_OF_ORDER) end = fake.applied;
    fake.count = least + prng_below(&fake.prng, end - least + 1);
    break_log(least);
}

void fake_volume_reset(enum fake_bug which, uint64_t seed)
{
    litter_sweep();
    for (size_t i = 0; fake.log && i < FAKE_LOG && fake.log[i]; i++) {
        free(fake.log[i]->data);
        free(take_ptr(&fake.log[i]));
    }
    if (!fake.log) fake.log = calloc(FAKE_LOG, sizeof *fake.log);
    check(fake.log != NULL);
    fake.bug = which;
    prng_init(&fake.prng, seed);
    fake.count = fake.applied = fake.durable = 0;
    fake.leaked = 0;
    free(take_ptr(&fake.undo));
    rebuild();
}

/* ---- The rest of volume.h -------------------------------------------------------------------- */

void volume_pool_create(struct rt *rt, const char *path, uint64_t size_bytes,
                        const struct uuid *pool, const struct volume_pool_options *options,
                        bool overwrite,
                        void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
                        volume_done_fn *done, void *arg)
{
    struct volume_pool temporary = {.rt = rt};
    answer_later(&temporary, NULL, done, arg);
}

static void opened(struct rt_timer *timer)
{
    struct volume_pool *pool = container_of(timer, struct volume_pool, open_timer);
    pool->open_done(pool->open_arg, NULL);
}

void volume_pool_open(struct rt *rt, const char *path, const struct volume_pool_options *options,
                      struct volume_pool **ret_pool, volume_done_fn *done, void *arg)
{
    rebuild();
    struct volume_pool *pool = calloc(1, sizeof *pool);
    check(pool != NULL);
    *pool =
        (struct volume_pool){.rt = rt, .recovery.clean = true, .open_done = done, .open_arg = arg};
    *ret_pool = pool;
    rt_timer_set(rt, &pool->open_timer, rt_now(rt) + 1000, opened);
}

void volume_pool_close(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    struct volume_pool temporary = *pool;
    free(pool);
    answer_later(&temporary, NULL, done, arg);
}

void volume_pool_abandon(struct volume_pool *pool)
{
    litter_sweep();
    free(pool);
}

enum volume_pool_state volume_pool_state(const struct volume_pool *pool)
{
    return VOLUME_POOL_OK;
}

const char *volume_pool_trouble(const struct volume_pool *pool)
{
    return "";
}

const struct volume_recovery *volume_pool_recovery(const struct volume_pool *pool)
{
    return &pool->recovery;
}

void volume_pool_usage(struct volume_pool *pool, struct volume_pool_usage *ret_usage)
{
    *ret_usage = (struct volume_pool_usage){
        .data_bytes = fake_things_blocks() * BLOCK_BYTES + fake.leaked, .free_bytes = GIB, .capacity_bytes = GIB};
}

void volume_pool_counters(const struct volume_pool *pool, struct volume_pool_counters *ret_counters)
{
    *ret_counters = (struct volume_pool_counters){0};
}

void volume_pool_settle(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    answer_later(pool, NULL, done, arg);
}

void volume_pool_checkpoint(struct volume_pool *pool, volume_done_fn *done, void *arg)
{
    answer_later(pool, NULL, done, arg);
}

void volume_pool_check(struct volume_pool *pool, struct volume_check_report *ret_report,
                       volume_done_fn *done, void *arg)
{
    (void)ret_report;
    answer_later(pool, NULL, done, arg);
}

void volume_disk_create(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                        volume_done_fn *done, void *arg)
{
    control(pool, ENTRY_CREATE, disk, size_bytes / SECTOR_BYTES, done, arg);
}

void volume_disk_resize(struct volume_pool *pool, const struct uuid *disk, uint64_t size_bytes,
                        volume_done_fn *done, void *arg)
{
    control(pool, ENTRY_GROW, disk, size_bytes / SECTOR_BYTES, done, arg);
}

struct refusal {
    struct rt_timer timer;
    volume_done_fn *done;
    void *arg;
    enum status status;
};

static void refuse_now(struct rt_timer *timer)
{
    struct refusal *r = container_of(timer, struct refusal, timer);
    r->done(r->arg, err_new(r->status, "refused"));
    litter_free(r);
}

static void refuse(struct volume_pool *pool, enum status status, volume_done_fn *done, void *arg)
{
    struct refusal *r = litter_new(sizeof *r);
    *r = (struct refusal){.done = done, .arg = arg, .status = status};
    rt_timer_set(pool->rt, &r->timer, rt_now(pool->rt) + 1000, refuse_now);
}

void volume_disk_delete(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                        void *arg)
{
    for (unsigned i = 0; i < FAKE_THINGS; i++) {
        const struct thing *t = &fake_things[i];
        if (!t->used || (!uuid_equal(&t->disk, disk) && !uuid_equal(&t->parent, disk))) continue;
        refuse(pool, STATUS_IN_USE, done, arg);
        return;
    }
    control(pool, ENTRY_DELETE, disk, 0, done, arg);
}

void volume_disks(struct volume_pool *pool,
                  void (*fn)(void *arg, const struct volume_disk_info *info), void *arg)
{
    for (unsigned i = 0; i < FAKE_THINGS; i++) {
        const struct thing *t = &fake_things[i];
        struct volume_disk_info info = {.uuid = t->uuid,
                                        .size_bytes = t->sectors * SECTOR_BYTES,
                                        .depth = !uuid_is_nil(&t->parent)};
        if (t->used && !t->is_point) fn(arg, &info);
    }
}

void volume_cut(struct volume_pool *pool, const struct volume_cut *cut,
                struct volume_cut_result *ret_result, volume_done_fn *done, void *arg)
{
    if (cut->deadline_ns && cut->deadline_ns <= rt_now(pool->rt)) {
        refuse(pool, STATUS_TOO_LATE, done, arg);
        return;
    }
    struct entry *e = append(pool, ENTRY_CUT, &cut->set);
    e->done = done;
    e->arg = arg;
    e->member_count = cut->member_count;
    for (unsigned i = 0; i < cut->member_count; i++) {
        e->members[i][0] = cut->members[i].disk;
        e->members[i][1] = cut->members[i].point;
    }
}

void volume_point_delete(struct volume_pool *pool, const struct uuid *point, volume_done_fn *done,
                         void *arg)
{
    control(pool, ENTRY_POINT_DELETE, point, 0, done, arg);
}

bool volume_point_find(struct volume_pool *pool, const struct uuid *point,
                       struct volume_point_info *ret_info)
{
    struct thing *t = fake_find(point);
    if (!t) return false;
    *ret_info = (struct volume_point_info){.uuid = *point,
                                           .disk = t->disk,
                                           .kind = VOLUME_POINT_UNDO,
                                           .size_bytes = t->sectors * SECTOR_BYTES};
    return true;
}

void volume_points(struct volume_pool *pool, const struct uuid *disk,
                   void (*fn)(void *arg, const struct volume_point_info *info), void *arg)
{
    struct volume_point_info info;
    for (unsigned i = 0; i < FAKE_THINGS; i++)
        if (fake_things[i].used && fake_things[i].is_point &&
            volume_point_find(pool, &fake_things[i].uuid, &info))
            fn(arg, &info);
}

void volume_branch(struct volume_pool *pool, const struct uuid *point, const struct uuid *new_disk,
                   volume_done_fn *done, void *arg)
{
    struct entry *e = append(pool, ENTRY_BRANCH, new_disk);
    e->other = *point;
    e->done = done;
    e->arg = arg;
}

void volume_revert(struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
                   const struct uuid *undo_point, volume_done_fn *done, void *arg)
{
    struct entry *e = append(pool, ENTRY_REVERT, disk);
    e->other = *point;
    e->members[0][0] = *undo_point;
    e->done = done;
    e->arg = arg;
}

struct replace_later {
    struct rt_timer timer;
    struct volume_replacement *job;
};

static void replacement_answered(void *arg, struct err *e)
{
    struct volume_replacement *job = arg;
    job->done(job, e);
}

static struct entry *append_replace(struct volume_replacement *job)
{
    struct entry *e = append(job->pool, ENTRY_REVERT, &job->disk);
    e->other = job->content->uuid;
    e->members[0][0] = job->undo_point;
    return e;
}

static void replace_fire(struct rt_timer *timer)
{
    struct replace_later *l = container_of(timer, struct replace_later, timer);
    struct volume_replacement *job = l->job;
    uint64_t total = volume_size_bytes(job->content);
    litter_free(l);
    job->progress(job, total, total);
    struct entry *e = append_replace(job);
    e->done = replacement_answered;
    e->arg = job;
}

void volume_replace(struct volume_pool *pool, struct volume_replacement *job)
{
    struct replace_later *l = litter_new(sizeof *l);
    job->pool = pool;
    l->job = job;
    if (fake.bug == FAKE_REPLACE_EARLY) append_replace(job);
    rt_timer_set(pool->rt, &l->timer, rt_now(pool->rt) + 1000 + prng_below(&fake.prng, 8 * RT_MS),
                 replace_fire);
}

void volume_replacement_cancel(struct volume_replacement *job) {}

static void promotion_answered(void *arg, struct err *e)
{
    struct volume_promotion *job = arg;
    job->done(job, e);
}

void volume_promote(struct volume_pool *pool, struct volume_promotion *job)
{
    answer_later(pool, NULL, promotion_answered, job);
}

void volume_promotion_cancel(struct volume_promotion *job) {}

void volume_split(struct volume_pool *pool, const struct uuid *disk, volume_done_fn *done,
                  void *arg)
{
    struct entry *e = append(pool, ENTRY_SPLIT, disk);
    e->done = done;
    e->arg = arg;
}

struct err *volume_open(struct volume_pool *pool, const struct uuid *disk, const struct uuid *point,
                        enum volume_mode mode, struct volume **ret_volume)
{
    const struct uuid *uuid = point ? point : disk;
    if (!fake_find(uuid)) return err_new(STATUS_NOT_FOUND, "no such view");
    struct volume *v = litter_new(sizeof *v);
    *v = (struct volume){.pool = pool, .uuid = *uuid, .is_point = point != NULL};
    *ret_volume = v;
    return NULL;
}

void volume_close(struct volume *volume)
{
    litter_free(volume);
}

uint64_t volume_size_bytes(const struct volume *volume)
{
    return fake_find(&volume->uuid)->sectors * SECTOR_BYTES;
}
