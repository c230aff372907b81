#include "control/control.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "control/host_int.h"

const char *control_role_name(enum control_role role)
{
    static const char *const names[] = {"none",          "viewer", "backup-operator",
                                        "administrator", "host"};
    return names[role];
}

struct err *control_create(struct rt *rt, const struct control_options *options,
                           struct control **ret_control)
{
    if (!options->state_directory || options->state_directory[0] != '/') {
        return err_next(err_new(STATUS_BAD_CONFIG, "the state directory must be an absolute path"),
                        "set state_dir");
    }
    struct control *control = calloc(1, sizeof *control);
    if (!control) return err_new(STATUS_NO_MEMORY, "control");
    control->rt = rt;
    control->options = *options;
    static const struct control_engine engine = {volume_pool_create, volume_pool_open};
    if (!control->options.engine) control->options.engine = &engine;
    if (control->options.lease_tick_ns == 0) control->options.lease_tick_ns = RT_SECOND;
    snprintf(control->state_directory, sizeof control->state_directory, "%s",
             options->state_directory);
    snprintf(control->server_name, sizeof control->server_name, "%s",
             options->server_name ? options->server_name : "tarn");
    snprintf(control->version, sizeof control->version, "%s",
             options->version ? options->version : "");
    snprintf(control->target_name, sizeof control->target_name, "%s",
             options->target_name ? options->target_name : "");
    struct list *lists[] = {&control->pools,     &control->disks,  &control->hosts, &control->sets,
                            &control->snapshots, &control->tokens, &control->jobs,  &control->ops,
                            &control->gone_sets, &control->groups, &control->grants,
                            &control->credentials, &control->enrolments};
    for (unsigned i = 0; i < countof(lists); i++)
        list_init(lists[i]);
    list_init(&control->clearings);
    lane_init(&control->lane);
    struct err *e = rt_worker_create(rt, "catalog", &control->worker);
    if (e) {
        free(control);
        return e;
    }
    *ret_control = control;
    return NULL;
}

static void started(struct op *op)
{
    struct control *control = op->control;
    struct err *e = take_ptr(&op->error);
    if (!e) {
        control->started = true;
        control->started_ns = rt_wall(control->rt);
        rt_timer_set(control->rt, &control->lease_timer,
                     rt_now(control->rt) + control->options.lease_tick_ns, set_lease_tick);
        job_resume_all(control);
    }
    control->on_started(control->start_arg, e);
}

void control_start(struct control *control, void (*on_started)(void *arg, struct err *e), void *arg)
{
    static const struct op_plan plan = {
        .verb = "start", .lane = OP_LANE_GENERAL, .steps = start_steps};
    control->on_started = on_started;
    control->start_arg = arg;
    op_start_internal(control, &plan, NULL, started, NULL);
}

static void stopped(struct op *op)
{
    struct control *control = op->control;
    control->stopped = true;
    control->on_stopped(control->stop_arg);
}

void control_stop(struct control *control, void (*on_stopped)(void *arg), void *arg)
{
    static const struct op_plan plan = {.verb = "stop", .lane = OP_LANE_NONE, .steps = stop_steps};
    control->on_stopped = on_stopped;
    control->stop_arg = arg;
    control->stopping = true;
    rt_timer_cancel(control->rt, &control->lease_timer);
    job_wait_cancel_all(control);
    job_suspend_all(control);
    op_start_internal(control, &plan, NULL, stopped, NULL);
}

void control_destroy(struct control *control)
{
    if (!control) return;
    rt_worker_destroy(control->worker);
    list_for_each_safe (node, &control->ops)
        op_free(list_entry(node, struct op, link));
    inventory_free(control);
    catalog_close(control->catalog);
    free(control);
}

void control_set_target(struct control *control, const struct control_target_ops *ops, void *arg)
{
    control->target = ops;
    control->target_arg = arg;
}

void control_set_target_name(struct control *control, const char *target_name)
{
    snprintf(control->target_name, sizeof control->target_name, "%s", target_name);
}

struct uuid control_server_uuid(const struct control *control)
{
    return control->server;
}

/* ---- Tokens: SHA-256 of 256 random bits needs no salt and no slow hash ----------------------- */

static const struct token *token_of(struct control *control, const char *text)
{
    uint8_t hash[32];
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), hash)) return NULL;
    list_for_each (node, &control->tokens) {
        struct token *token =
            container_of(list_entry(node, struct object, link), struct token, object);
        if (gnutls_memcmp(token->row.hash, hash, sizeof hash) == 0) return token;
    }
    return NULL;
}

static void login_with_token(struct control *control, struct control_login *login)
{
    const struct token *token = token_of(control, login->token);
    login->status = STATUS_UNAUTHENTICATED;
    if (!token || token->role == CONTROL_ROLE_NONE) return;
    login->status = STATUS_OK;
    login->actor.role = token->role;
    snprintf(login->actor.name, sizeof login->actor.name, "%s", token->row.name);
}

static void login_with_signature(struct control *control, struct control_login *login)
{
    struct credential *credential = NULL;
    login->status = sign_check(control, login->signed_request, &credential);
    if (login->status != STATUS_OK) return;
    login->actor.role = CONTROL_ROLE_HOST;
    login->actor.host = credential->host->row.uuid;
    snprintf(login->actor.name, sizeof login->actor.name, "host:%s", credential->host->row.name);
}

static void login_on_loop(struct rt_message *message)
{
    struct control_login *login = container_of(message, struct control_login, message);
    struct control *control = login->private_;
    if (!control->started) {
        login->status = STATUS_AGAIN;
    } else if (login->nonce_only) {
        login->status = STATUS_OK;
    } else if (login->signed_request) {
        login_with_signature(control, login);
    } else {
        login_with_token(control, login);
    }
    if (login->nonce_only || login->signed_request) sign_nonce(control, login->nonce);
    if (login->status == STATUS_UNAUTHENTICATED) audit_refused_login(control);
    explicit_bzero(login->token, sizeof login->token);
    login->done(login);
}

void control_authenticate(struct control *control, struct control_login *login)
{
    login->private_ = control;
    login->message.fn = login_on_loop;
    rt_post(control->rt, &login->message);
}

/* ---- The target's questions ------------------------------------------------------------------ */

static enum control_auth auth_of(const struct host *host)
{
    if (strcmp(host->row.auth, "mutual") == 0) return CONTROL_AUTH_MUTUAL;
    return strcmp(host->row.auth, "none") == 0 ? CONTROL_AUTH_NONE : CONTROL_AUTH_CHAP;
}

/* Names that differ in case only are one (RFC 7143 4.2.7.2); the target asks in lower case. */
static bool has_initiator(const struct host *host, const char *name)
{
    for (unsigned i = 0; i < host->row.initiator_count; i++) {
        if (strcasecmp(host->row.initiators[i], name) == 0) return true;
    }
    return false;
}

enum status control_find_initiator(struct control *control, const char *initiator_name,
                                   struct control_host_access *ret_access)
{
    list_for_each (node, &control->hosts) {
        struct host *host =
            container_of(list_entry(node, struct object, link), struct host, object);
        if (host->leaving || !host->map || !has_initiator(host, initiator_name)) continue;
        *ret_access = (struct control_host_access){
            .map = host->map,
            .host = host,
            .auth = auth_of(host),
            .chap_user = host->row.chap_user,
            .chap_secret = host->row.chap_secret,
            .mutual_user = host->row.mutual_user,
            .mutual_secret = host->row.mutual_secret,
        };
        return STATUS_OK;
    }
    return STATUS_NOT_FOUND;
}

static struct session *session_of(struct host *host, const char *initiator_name)
{
    list_for_each (node, &host->sessions) {
        struct session *session = list_entry(node, struct session, link);
        if (strcmp(session->initiator, initiator_name) == 0) return session;
    }
    return NULL;
}

void control_session_changed(struct control *control, void *host_pointer,
                             const char *initiator_name, bool up)
{
    struct host *host = host_pointer;
    struct session *session = session_of(host, initiator_name);
    if (!session && up) {
        session = calloc(1, sizeof *session);
        check(session);
        snprintf(session->initiator, sizeof session->initiator, "%s", initiator_name);
        list_push_back(&host->sessions, &session->link);
    }
    if (!session) return;
    session->count = up ? session->count + 1 : session->count - 1;
    host->last_seen_ns = rt_now(control->rt);
    if (session->count == 0) {
        list_remove(&session->link);
        free(session);
    }
}
