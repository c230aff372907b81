#include "tests/unit/control_rig.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "tests/lib/memvol.h"

#define CALL_LIMIT_NS (120 * RT_SECOND)

/* ---- The memory engine in place of a pool file ----------------------------------------------- */

static void memory_create(struct rt *rt, const char *path, uint64_t size_bytes,
                          const struct uuid *pool, const struct volume_pool_options *options,
                          bool overwrite,
                          void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
                          volume_done_fn *done, void *arg);
static void memory_open(struct rt *rt, const char *path, const struct volume_pool_options *options,
                        struct volume_pool **ret_pool, volume_done_fn *done, void *arg);

struct later {
    struct rt_message message;
    volume_done_fn *done;
    void *arg;
    struct err *e;
};

static void later_fire(struct rt_message *message)
{
    struct later *later = container_of(message, struct later, message);
    struct later copy = *later;
    free(later);
    copy.done(copy.arg, copy.e);
}

static void later(struct rt *rt, volume_done_fn *done, void *arg, struct err *e)
{
    struct later *l = calloc(1, sizeof *l);
    check(l);
    *l = (struct later){.message.fn = later_fire, .done = done, .arg = arg, .e = e};
    rt_post(rt, &l->message);
}

static struct uuid memory_uuid;

static void memory_create(struct rt *rt, const char *path, uint64_t size_bytes,
                          const struct uuid *pool, const struct volume_pool_options *options,
                          bool overwrite,
                          void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
                          volume_done_fn *done, void *arg)
{
    memory_uuid = *pool;
    struct err *e = strstr(path, "refused") ? err_new(STATUS_OS_ERROR, "no such device") : NULL;
    later(rt, done, arg, e);
}

static void memory_open(struct rt *rt, const char *path, const struct volume_pool_options *options,
                        struct volume_pool **ret_pool, volume_done_fn *done, void *arg)
{
    *ret_pool = memvol_pool_create(rt);
    (*ret_pool)->uuid = memory_uuid;
    later(rt, done, arg, NULL);
}

static const struct control_engine memory_engine = {memory_create, memory_open};

/* ---- Life ------------------------------------------------------------------------------------ */

static void on_started(void *arg, struct err *e)
{
    struct rig *rig = arg;
    rig->started = true;
    rig->start_error = e;
}

static bool started_or_down(void *arg)
{
    struct rig *rig = arg;
    return rig->started || !sim_node_is_up(rig->node);
}

void rig_boot_begin(struct rig *rig)
{
    rig->rt = sim_node_boot(rig->node);
    rig->started = false;
    rig->start_error = NULL;
    struct control_options options = {.state_directory = "/state",
                                      .engine = rig->engine == RIG_MEMORY ? &memory_engine : NULL,
                                      .lease_tick_ns = rig->lease_tick_ns,
                                      .server_name = "test",
                                      .version = "0",
                                      .target_name = "iqn.2026-11.local.tarn:test"};
    struct err *e = control_create(rig->rt, &options, &rig->control);
    check(!e);
    control_start(rig->control, on_started, rig);
}

bool rig_boot_end(struct rig *rig)
{
    sim_run_until(rig->sim, started_or_down, rig, CALL_LIMIT_NS);
    if (rig->start_error) {
        char text[400];
        printf("# start: %s\n", err_text(rig->start_error, text, sizeof text));
        err_free(rig->start_error);
        return false;
    }
    return rig->started && sim_node_is_up(rig->node);
}

bool rig_boot(struct rig *rig)
{
    rig_boot_begin(rig);
    return rig_boot_end(rig);
}

struct rig *rig_create_seeded(enum rig_engine engine, uint64_t seed)
{
    struct rig *rig = calloc(1, sizeof *rig);
    check(rig);
    log_set_level(LOG_LEVEL_ERROR);
    rig->engine = engine;
    rig->sim = sim_create(&(struct sim_options){.seed = seed});
    rig->node = sim_node_create(rig->sim, "server");
    rig->lease_tick_ns = RT_SECOND / 4;
    check(rig_boot(rig));
    return rig;
}

struct rig *rig_create(enum rig_engine engine)
{
    return rig_create_seeded(engine, 1);
}

static void on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

void rig_stop(struct rig *rig)
{
    bool stopped = false;
    control_stop(rig->control, on_stopped, &stopped);
    check(sim_run_until(rig->sim, is_true, &stopped, CALL_LIMIT_NS));
    control_destroy(rig->control);
    rig->control = NULL;
}

void rig_crash(struct rig *rig, enum sim_crash kind)
{
    if (sim_node_is_up(rig->node)) sim_node_crash(rig->node, kind);
    control_destroy(rig->control);
    rig->control = NULL;
}

bool rig_restart(struct rig *rig)
{
    rig_stop(rig);
    sim_node_crash(rig->node, SIM_CRASH_PROCESS);
    return rig_boot(rig);
}

void rig_destroy(struct rig *rig)
{
    if (rig->control && sim_node_is_up(rig->node)) rig_stop(rig);
    control_destroy(rig->control);
    sim_destroy(rig->sim);
    free(rig);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

struct rig_wait {
    struct rig *rig;
    bool done;
};

static void on_done(struct control_call *call)
{
    ((struct rig_wait *)call->arg)->done = true;
}

static bool done_or_down(void *arg)
{
    struct rig_wait *wait = arg;
    return wait->done || !sim_node_is_up(wait->rig->node);
}

json_t *rig_call_as(struct rig *rig, enum control_role role, const char *verb, json_t *arguments,
                    const char *key)
{
    struct control_actor actor = {.role = role};
    snprintf(actor.name, sizeof actor.name, "%s", control_role_name(role));
    return rig_call_actor(rig, &actor, verb, arguments, key);
}

json_t *rig_call_actor(struct rig *rig, const struct control_actor *actor, const char *verb,
                       json_t *arguments, const char *key)
{
    struct control_call call;
    memset(&call, 0, sizeof call);
    struct rig_wait wait = {.rig = rig};
    call.verb = verb;
    call.actor = *actor;
    call.arguments = arguments;
    snprintf(call.idempotency_key, sizeof call.idempotency_key, "%s", key ? key : "");
    call.done = on_done;
    call.arg = &wait;
    control_submit(rig->control, &call);
    bool ended = sim_run_until(rig->sim, done_or_down, &wait, CALL_LIMIT_NS);
    if (!ended) printf("# %s did not end\n", verb);
    rig->status = STATUS_CANCELLED;
    rig->message[0] = rig->next[0] = '\0';
    if (wait.done) {
        rig->status = err_status(call.error);
        if (call.error) {
            err_text(call.error, rig->message, sizeof rig->message);
            const char *next = err_next_text(call.error);
            snprintf(rig->next, sizeof rig->next, "%s", next ? next : "");
        }
        err_free(call.error);
    } else if (sim_node_is_up(rig->node)) {
        unreachable("a call must end");
    }
    json_decref(arguments);
    return wait.done ? call.result : NULL;
}

json_t *rig_call(struct rig *rig, const char *verb, json_t *arguments)
{
    return rig_call_as(rig, CONTROL_ROLE_ADMIN, verb, arguments, NULL);
}

static json_t *pack(const char *format, va_list list)
{
    if (!format) return json_object();
    json_error_t error;
    json_t *json = json_vpack_ex(&error, 0, format, list);
    if (!json) printf("# pack: %s\n", error.text);
    check(json);
    return json;
}

json_t *rig_ok(struct rig *rig, const char *verb, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    json_t *arguments = pack(format, list);
    va_end(list);
    json_t *result = rig_call(rig, verb, arguments);
    if (!result) printf("# %s: %s: %s\n", verb, status_info(rig->status)->name, rig->message);
    return result;
}

bool rig_do(struct rig *rig, const char *verb, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    json_t *arguments = pack(format, list);
    va_end(list);
    json_t *result = rig_call(rig, verb, arguments);
    if (!result) printf("# %s: %s: %s\n", verb, status_info(rig->status)->name, rig->message);
    bool ok = result != NULL;
    json_decref(result);
    return ok;
}

enum status rig_fails(struct rig *rig, const char *verb, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    json_t *arguments = pack(format, list);
    va_end(list);
    json_t *result = rig_call(rig, verb, arguments);
    if (result) {
        char *text = json_dumps(result, JSON_COMPACT);
        printf("# %s should have failed: %.200s\n", verb, text);
        free(text);
        json_decref(result);
    }
    return rig->status;
}

void rig_furnish(struct rig *rig)
{
    json_t *job = rig_ok(rig, "pool_create", "{s:s, s:s, s:s, s:b}", "name", "p", "path", "/pool",
                         "size", "64M", "sparse", 1);
    json_t *end =
        rig_ok(rig, "job_show", "{s:s, s:i}", "name", rig_text(job, "job.id"), "wait", 30);
    if (strcmp(rig_text(end, "state"), "done") != 0) {
        char *text = json_dumps(end, JSON_COMPACT);
        printf("# pool_create: %s\n", text);
        free(text);
        unreachable("the pool was made");
    }
    json_decref(job);
    json_decref(end);
    static const char *const names[] = {"a", "b", "c"};
    for (unsigned i = 0; i < countof(names); i++) {
        check(rig_do(rig, "disk_create", "{s:s, s:s}", "name", names[i], "size", "16M"));
    }
}

/* ---- Reading answers ------------------------------------------------------------------------- */

static const json_t *walk(const json_t *json, const char *path)
{
    while (json && *path != '\0') {
        char part[64];
        size_t length = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, path);
        uint64_t index;
        json = json_is_array(json) && text_parse_u64(part, &index) ? json_array_get(json, index)
                                                                   : json_object_get(json, part);
        path += length + (path[length] == '.');
    }
    return json;
}

const char *rig_text(const json_t *json, const char *path)
{
    const char *text = json_string_value(walk(json, path));
    return text ? text : "";
}

long long rig_number(const json_t *json, const char *path)
{
    const json_t *value = walk(json, path);
    if (json_is_boolean(value)) return json_is_true(value);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

bool rig_text_is(struct rig *rig, const char *verb, const char *name, const char *path,
                 const char *text)
{
    json_t *json = rig_ok(rig, verb, "{s:s}", "name", name);
    bool same = strcmp(rig_text(json, path), text) == 0;
    if (!same) printf("# %s %s: %s is \"%s\"\n", verb, name, path, rig_text(json, path));
    json_decref(json);
    return same;
}

bool rig_job_ends(struct rig *rig, const char *id, const char *state)
{
    json_t *job = NULL;
    for (unsigned i = 0; i < 10; i++) {
        json_decref(job);
        job = rig_ok(rig, "job_show", "{s:s, s:i}", "name", id, "wait", 30);
        if (strcmp(rig_text(job, "state"), "running") != 0) break;
    }
    bool same = strcmp(rig_text(job, "state"), state) == 0;
    if (!same) {
        char *text = job ? json_dumps(job, JSON_COMPACT) : NULL;
        printf("# job: %s\n", text ? text : rig->message);
        free(text);
    }
    json_decref(job);
    return same;
}

long long rig_unclaimed(struct rig *rig)
{
    json_t *pool = rig_ok(rig, "pool_show", "{s:s}", "name", "p");
    long long n = rig_number(pool, "unclaimed_count") + rig_number(pool, "unclaimed_disk_count");
    json_decref(pool);
    return n;
}

void rig_hide_pool(struct rig *rig, const char *path, bool hide)
{
    static uint8_t kept[1 << 20], zeroes[sizeof kept];
    if (hide) sim_file_peek(rig->node, path, 0, kept, sizeof kept);
    sim_file_poke(rig->node, path, 0, hide ? zeroes : kept, sizeof kept);
}
