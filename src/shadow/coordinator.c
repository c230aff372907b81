/*
 * coordinator.c - the steps of one shadow copy, in order, and the way back from each of them
 * (shadow.h).
 *
 *   resolve  mounts -> file systems, in the order of freezing
 *   prepare  the server does all that can fail or take time; the lease starts
 *   writers  each is started, identified and prepares (no stall yet)
 *   sync     most of what the freeze would have to write is written now
 *   hold     writers freeze, arm, file systems freeze, COMMIT, file systems thaw, writers thaw
 *   confirm  only if every thaw proved that the hold lasted; finish
 * A failure after prepare aborts the set; what was started is ended in reverse.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "shadow/freeze.h"
#include "shadow/mounts.h"
#include "shadow/shadow.h"
#include "shadow/writer.h"

enum {
    LEASE_S = 60, /* short: if we are killed, the set goes soon */
    RENEW_MS = 20 * 1000,
    ARMED_MS = 10 * 1000,
    COMMIT_TIMEOUT_MS = 4000,
    WRITER_SHORT_MS = 10 * 1000,
    WRITER_LONG_MS = 600 * 1000,
    MOUNTS_TEXT_BYTES = 32 * 1024,
    PATH_BYTES = 4096,
};

struct run {
    const struct shadow_options *options;
    struct shadow_report *report;
    const struct shadow_server *server;
    char *points[SHADOW_MOUNTS_MAX]; /* one real path per file system, in the order of freezing */
    char *fs_types[SHADOW_MOUNTS_MAX];
    unsigned point_count;
    char mounts_text[MOUNTS_TEXT_BYTES];
    struct writer *writers[SHADOW_WRITERS_MAX];
    unsigned writer_count, prepared_writers;
    struct freezer *freezer;
    bool is_prepared; /* the server has a set of ours */
    bool all_freezable;
    uint64_t renewed_ns, phase_ns;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void begin_phase(struct run *run)
{
    run->phase_ns = now_ns();
}

static void end_phase(struct run *run, const char *name)
{
    check(run->report->phase_count < SHADOW_PHASES_MAX);
    run->report->phases[run->report->phase_count++] =
        (struct shadow_phase){name, now_ns() - run->phase_ns};
    run->phase_ns = now_ns();
}

static void say(const struct run *run, const char *text)
{
    if (!run->options->progress) return;
    fprintf(run->options->progress, "%s\n", text);
    fflush(run->options->progress);
}

static struct err *look_for_interrupt(const struct run *run)
{
    if (!run->options->interrupted || !*run->options->interrupted) return NULL;
    return err_new(STATUS_CANCELLED, "interrupted");
}

/* ---- Resolve ---- */

struct resolved {
    dev_t dev;
    char *point, *fs_type;
};

static struct err *resolve_one(const struct mount_table *table, const char *sysroot,
                               const char *given, struct resolved *ret_resolved)
{
    auto_free char *real = sysroot[0] ? strdup(given) : realpath(given, NULL);
    if (!real) return err_from_errno("look at %s", given);
    const struct mount_entry *entry = mount_table_find(table, real);
    if (!entry) {
        const struct mount_entry *holder = mount_table_holder(table, real);
        struct err *e = err_new(STATUS_BAD_REQUEST, "%s is not a mount point", given);
        return holder
                   ? err_next(
                         e,
                         "it lies on the file system at %s; name that, and the disk that holds it",
                         holder->mount_point)
                   : e;
    }
    if (strcmp(entry->mount_point, "/") == 0) {
        return err_next(
            err_new(STATUS_NOT_SUPPORTED,
                    "/ is the root of this system: freezing it would freeze this program too"),
            "keep the data on a file system of its own");
    }
    *ret_resolved = (struct resolved){entry->dev, strdup(real), strdup(entry->fs_type)};
    return ret_resolved->point && ret_resolved->fs_type
               ? NULL
               : err_new(STATUS_NO_MEMORY, "look at %s", given);
}

static struct err *check_kind(const struct shadow_options *options, const struct resolved *r)
{
    if (options->no_freeze || options->allow_crash_consistent || !mount_cannot_freeze(r->fs_type))
        return NULL;
    return err_next(
        err_new(STATUS_NOT_SUPPORTED, "%s is %s, which cannot be frozen", r->point, r->fs_type),
        "with --allow-crash-consistent it is copied as after a power failure");
}

/* Another mount of the root's file system: a bind mount, a subvolume. */
static struct err *check_not_root(const struct shadow_options *options,
                                  const struct mount_table *table, const struct resolved *r)
{
    const struct mount_entry *root = mount_table_find(table, "/");
    if (options->no_freeze || !root || root->dev != r->dev) return NULL;
    return err_next(
        err_new(STATUS_NOT_SUPPORTED,
                "%s is of the file system of /: freezing it would freeze this program too",
                r->point),
        "keep the data on a file system of its own");
}

/* Puts the file systems into run->points in the order of freezing; several disks may lie under one.
 */
static struct err *resolve_all(struct run *run, const struct mount_table *table,
                               struct resolved *found, unsigned *found_count)
{
    const struct shadow_options *options = run->options;
    const char *sysroot = options->sysroot ? options->sysroot : "";
    dev_t devices[SHADOW_MOUNTS_MAX];
    for (unsigned i = 0; i < options->mount_count; i++) {
        struct resolved one = {0};
        struct err *e = resolve_one(table, sysroot, options->mounts[i].mount, &one);
        bool seen = false;
        if (!e) e = check_not_root(options, table, &one);
        if (!e) e = check_kind(options, &one);
        for (unsigned other = 0; other < *found_count; other++)
            seen = seen || found[other].dev == one.dev;
        if (e || seen) {
            free(one.point);
            free(one.fs_type);
            if (e) return e;
            continue;
        }
        devices[*found_count] = one.dev;
        found[(*found_count)++] = one;
    }
    mount_order(table, sysroot, devices, *found_count);
    for (unsigned i = 0; i < *found_count; i++) {
        for (unsigned other = 0; other < *found_count; other++) {
            if (found[other].dev != devices[i] || !found[other].point) continue;
            run->points[i] = take_ptr(&found[other].point);
            run->fs_types[i] = take_ptr(&found[other].fs_type);
        }
    }
    run->point_count = *found_count;
    return NULL;
}

static void describe_members(struct run *run)
{
    size_t used = 0;
    run->report->member_count = run->point_count;
    for (unsigned i = 0; i < run->point_count; i++) {
        struct shadow_member *m = &run->report->members[i];
        snprintf(m->mount, sizeof m->mount, "%s", run->points[i]);
        snprintf(m->fs_type, sizeof m->fs_type, "%s", run->fs_types[i]);
        int wrote = snprintf(run->mounts_text + used, sizeof run->mounts_text - used, "%s%s",
                             used ? "\n" : "", run->points[i]);
        if (wrote > 0 && (size_t)wrote < sizeof run->mounts_text - used) used += (size_t)wrote;
    }
}

static struct err *resolve(struct run *run)
{
    struct mount_table table;
    struct resolved found[SHADOW_MOUNTS_MAX] = {{0}};
    unsigned found_count = 0;
    if (run->options->mount_count == 0)
        return err_new(STATUS_BAD_REQUEST, "no mount point was named");
    if (run->options->mount_count > SHADOW_MOUNTS_MAX) {
        return err_new(STATUS_LIMIT_REACHED, "more than %d mount points", SHADOW_MOUNTS_MAX);
    }
    TRY(mount_table_read(run->options->sysroot ? run->options->sysroot : "", &table));
    struct err *e = resolve_all(run, &table, found, &found_count);
    for (unsigned i = 0; i < found_count; i++) {
        free(found[i].point);
        free(found[i].fs_type);
    }
    mount_table_fini(&table);
    if (!e) describe_members(run);
    return e;
}

/* ---- Prepare ---- */

static struct err *prepare_server(struct run *run)
{
    const struct shadow_options *options = run->options;
    const char *disks[SHADOW_MOUNTS_MAX];
    unsigned count = 0;
    char name[64];
    time_t wall = time(NULL);
    struct tm parts;
    strftime(name, sizeof name, "shadow-%Y%m%dT%H%M%SZ", gmtime_r(&wall, &parts));
    for (unsigned i = 0; i < options->mount_count; i++) {
        bool seen = false;
        for (unsigned other = 0; other < count; other++)
            seen = seen || strcmp(disks[other], options->mounts[i].disk) == 0;
        if (!seen) disks[count++] = options->mounts[i].disk;
    }
    say(run, "Preparing the set on the server");
    struct shadow_request request = {disks, count, options->name ? options->name : name,
                                     options->host, LEASE_S};
    TRY(run->server->ops->prepare(run->server->arg, &request, &run->report->set));
    run->is_prepared = true;
    run->renewed_ns = now_ns();
    return NULL;
}

/* While writers take their time the lease is kept alive. */
static struct err *keep_alive(void *arg)
{
    struct run *run = arg;
    TRY(look_for_interrupt(run));
    if (now_ns() - run->renewed_ns < (uint64_t)RENEW_MS * 1000000u) return NULL;
    run->renewed_ns = now_ns();
    return run->server->ops->step(run->server->arg, "renew", NULL);
}

static struct err *prepare_writers(struct run *run)
{
    const struct shadow_options *options = run->options;
    struct writer_environment environment = {
        .directory = options->writers_directory,
        .set_name = json_string_value(json_object_get(run->report->set, "name")),
        .mounts = run->mounts_text,
        .progress = options->progress,
    };
    struct writer_tick tick = {keep_alive, run};
    char text[WRITER_LINE_MAX];
    if (options->writer_count > SHADOW_WRITERS_MAX) {
        return err_new(STATUS_LIMIT_REACHED, "more than %d writers", SHADOW_WRITERS_MAX);
    }
    run->report->writers = json_array();
    for (unsigned i = 0; i < options->writer_count; i++) {
        TRY(writer_start(options->writers[i], &environment, &run->writers[i]));
        run->writer_count = i + 1;
        TRY(writer_ask(run->writers[i], "identify 1", WRITER_SHORT_MS, &tick, text));
        json_array_append_new(
            run->report->writers,
            json_pack("{s:s, s:s+}", "name", writer_name(run->writers[i]), "is", text, ""));
    }
    for (unsigned i = 0; i < run->writer_count; i++) {
        if (options->progress)
            fprintf(options->progress, "Writer %s prepares\n", writer_name(run->writers[i]));
        run->prepared_writers = i + 1;
        TRY(writer_ask(run->writers[i], "prepare", WRITER_LONG_MS, &tick, NULL));
    }
    return NULL;
}

static struct err *sync_all(struct run *run)
{
    if (run->options->no_freeze && run->writer_count == 0) return NULL;
    say(run, "Writing out");
    for (unsigned i = 0; i < run->point_count; i++) {
        int fd = open(run->points[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) return err_from_errno("open %s", run->points[i]);
        int failed = syncfs(fd), code = errno;
        close(fd);
        if (failed) return err_from_code(code, "write out %s", run->points[i]);
    }
    return NULL;
}

/* ---- The hold ---- */

static struct err *tell_writers(struct run *run, const char *command, unsigned timeout_ms)
{
    for (unsigned i = 0; i < run->writer_count; i++) {
        TRY(writer_ask(run->writers[i], command, timeout_ms, NULL, NULL));
    }
    return NULL;
}

/* All are asked, also when one fails; the first failure is returned. */
static struct err *thaw_writers(struct run *run)
{
    struct err *first = NULL;
    for (unsigned i = run->writer_count; i > 0; i--) {
        struct err *e = writer_ask(run->writers[i - 1], "thaw", WRITER_SHORT_MS, NULL, NULL);
        if (!first)
            first = e;
        else
            err_free(e);
    }
    return first;
}

static struct err *make_freezer(struct run *run)
{
    const struct shadow_options *options = run->options;
    if (options->no_freeze) return NULL;
    unsigned hold_ms = options->hold_ms ? options->hold_ms : SHADOW_HOLD_DEFAULT_MS;
    if (hold_ms > SHADOW_HOLD_MAX_MS)
        return err_new(STATUS_BAD_REQUEST, "a hold is at most %d s", SHADOW_HOLD_MAX_MS / 1000);
    return freezer_create(options->freeze_ops, (const char *const *)run->points, run->point_count,
                          hold_ms, options->allow_crash_consistent, &run->freezer);
}

static void block_signals(sigset_t *before)
{
    static const int kinds[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < countof(kinds); i++)
        sigaddset(&set, kinds[i]);
    sigprocmask(SIG_BLOCK, &set, before);
}

/*
 * The only part during which others wait.  From the freeze to the thaw: no memory of ours is taken,
 * nothing is logged, no child is waited for, no file is touched; the clock is read and one prepared
 * request is sent.
 */
static struct err *hold_and_commit(struct run *run)
{
    struct shadow_report *report = run->report;
    const struct shadow_server_ops *ops = run->server->ops;
    enum status frozen = STATUS_OK;
    bool committed = false, held = true;
    sigset_t before;
    block_signals(&before);
    begin_phase(run);
    if (run->freezer) {
        frozen = freezer_freeze(run->freezer);
        end_phase(run, "freeze");
    }
    if (frozen == STATUS_OK) {
        committed = ops->commit(run->server->arg, &report->connection_reused);
        end_phase(run, "commit");
        report->commit_ns = report->phases[report->phase_count - 1].ns;
    }
    if (run->freezer) {
        held = freezer_thaw(run->freezer);
        end_phase(run, "thaw");
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    /* From here on everything goes on. */
    if (run->freezer) {
        report->frozen_ns = freezer_hold_ns(run->freezer);
        report->watchdog_fired = freezer_watchdog_fired(run->freezer);
    }
    if (frozen != STATUS_OK || !held) return freezer_explain(run->freezer);
    if (!committed) {
        struct err *e = ops->outcome(run->server->arg, NULL);
        return err_wrap(e ? e : err_new(STATUS_INTERNAL, "the server did not say why"),
                        "commit the set");
    }
    return NULL;
}

static void note_members(struct run *run)
{
    run->all_freezable = run->freezer != NULL;
    for (unsigned i = 0; run->freezer && i < run->point_count; i++) {
        struct freeze_result result;
        freezer_result(run->freezer, i, &result);
        run->report->members[i].is_frozen = result.was_frozen && result.thaw_error == 0;
        run->report->members[i].frozen_ns = result.frozen_ns;
        if (!result.was_frozen) run->all_freezable = false;
    }
}

static struct err *hold(struct run *run)
{
    TRY(look_for_interrupt(run));
    TRY(make_freezer(run));
    say(run, run->freezer ? "Holding writes and cutting" : "Cutting");
    begin_phase(run);
    struct err *e = tell_writers(run, "freeze", WRITER_SHORT_MS);
    if (run->writer_count) end_phase(run, "writers freeze");
    if (!e) e = run->server->ops->arm(run->server->arg, ARMED_MS, COMMIT_TIMEOUT_MS);
    end_phase(run, "arm");
    if (!e) e = hold_and_commit(run);
    begin_phase(run);
    struct err *thawed = run->writer_count ? thaw_writers(run) : NULL;
    if (run->writer_count) end_phase(run, "writers thaw");
    if (!e)
        e = thawed;
    else
        err_free(thawed);
    note_members(run);
    freezer_destroy(take_ptr(&run->freezer));
    return e;
}

/* ---- The whole ---- */

/* A confirm says that the hold held: what was not held for is finished without it. */
static struct err *finish(struct run *run, json_t **ret_set)
{
    const struct shadow_server_ops *ops = run->server->ops;
    if (run->all_freezable) TRY(ops->step(run->server->arg, "confirm", NULL));
    return ops->step(run->server->arg, "finish", ret_set);
}

static struct err *conclude(struct run *run)
{
    json_t *set = NULL;
    TRY(look_for_interrupt(run));
    begin_phase(run);
    TRY(finish(run, &set));
    end_phase(run, "confirm");
    json_decref(run->report->set);
    run->report->set = set;
    run->is_prepared = false; /* created: an abort would do nothing any more */
    run->report->consistency = !run->all_freezable ? "crash"
                               : run->writer_count ? "application"
                                                   : "file system";
    return NULL;
}

static struct err *make(struct run *run)
{
    begin_phase(run);
    TRY(resolve(run));
    end_phase(run, "look");
    TRY(prepare_server(run));
    end_phase(run, "prepare");
    TRY(prepare_writers(run));
    if (run->writer_count) end_phase(run, "writers prepare");
    TRY(sync_all(run));
    end_phase(run, "write out");
    TRY(keep_alive(run));
    TRY(hold(run));
    return conclude(run);
}

/* Leaves nothing behind; e is what went wrong. */
static struct err *give_up(struct run *run, struct err *e)
{
    for (unsigned i = run->prepared_writers; i > 0; i--) {
        err_free(writer_ask(run->writers[i - 1], "abort", WRITER_SHORT_MS, NULL, NULL));
    }
    if (!run->is_prepared) return e;
    json_t *set = NULL;
    struct err *failed = run->server->ops->step(run->server->arg, "abort", &set);
    if (failed) {
        err_free(failed);
        return err_wrap(
            e, "nothing was copied (the server did not hear of it; it drops the set within %d s)",
            LEASE_S);
    }
    /* An answer to finish may have been lost: a created set is not aborted any more. */
    const char *state = json_string_value(json_object_get(set, "state"));
    if (state && strcmp(state, "created") == 0) {
        e = err_wrap(e, "the copy exists, but it is not known to be good");
        e = err_next(e, "delete it with: tarn shadow delete %s",
                     run->options->name ? run->options->name : "NAME");
    } else {
        e = err_wrap(e, "nothing was copied");
    }
    json_decref(set);
    return e;
}

/* After the copy exists, a writer that fails is told about, and the copy stays. */
static void end_writers(struct run *run, bool is_made)
{
    for (unsigned i = 0; i < run->writer_count; i++) {
        if (is_made) {
            struct err *e = writer_ask(run->writers[i], "post", WRITER_LONG_MS, NULL, NULL);
            char text[512];
            if (e && run->options->progress) {
                fprintf(run->options->progress, "The copy is made, but: %s\n",
                        err_text(e, text, sizeof text));
            }
            err_free(e);
        }
        writer_stop(run->writers[i]);
    }
}

struct err *shadow_create(const struct shadow_options *options, struct shadow_report *report)
{
    struct run *run = calloc(1, sizeof *run);
    if (!run) return err_new(STATUS_NO_MEMORY, "make a shadow copy");
    run->options = options;
    run->report = report;
    run->server = options->server;
    struct err *e = make(run);
    bool is_made = !e;
    if (e) e = give_up(run, e);
    end_writers(run, is_made);
    freezer_destroy(run->freezer);
    for (unsigned i = 0; i < SHADOW_MOUNTS_MAX; i++) {
        free(run->points[i]);
        free(run->fs_types[i]);
    }
    free(run);
    return e;
}
