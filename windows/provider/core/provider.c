/* provider.c - the calls that make a shadow copy set: BeginPrepareSnapshot to
 * PostFinalCommitSnapshots, AbortSnapshots. */
#include <stdio.h>

#include "windows/provider/core/provider_int.h"

void provider_init(struct provider *provider, struct provider_os *os, struct transport *transport,
                   const struct provider_config *config)
{
    *provider = (struct provider){.os = os, .transport = transport, .config = config};
}

/* ---- Asking ---------------------------------------------------------------------------------- */

void ask(struct provider *p, const char *method, unsigned timeout_ms, struct api_reply *ret_reply,
         const char *first, const char *second, const char *third)
{
    struct api_request request;
    *ret_reply = (struct api_reply){0};
    api_request_init(&request, method, timeout_ms);
    if (api_request_path(&request, first, second, third, NULL))
        api_exchange(p->transport, &request, ret_reply);
    api_request_fini(&request);
}

void ask_body(struct provider *p, const char *path, struct api_body *body, unsigned timeout_ms,
              struct api_reply *ret_reply)
{
    struct api_request request;
    *ret_reply = (struct api_reply){0};
    api_request_init(&request, "POST", timeout_ms);
    if (api_request_path(&request, path, NULL) && api_body_finish(body, &request))
        api_exchange(p->transport, &request, ret_reply);
    free(body->text);
    api_request_fini(&request);
}

bool reply_has_status(const struct api_reply *reply, const char *status)
{
    struct api_error e;
    if (reply->http == 0 || api_is_ok(reply)) return false;
    api_error_read(reply, &e);
    return strcmp(e.status, status) == 0;
}

/* ---- The set --------------------------------------------------------------------------------- */

static void id_text(const VSS_ID *id, char text[PROVIDER_ID_TEXT])
{
    const BYTE *d = id->Data4;
    snprintf(text, PROVIDER_ID_TEXT, "%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             (unsigned long)id->Data1, (unsigned)id->Data2, (unsigned)id->Data3, (unsigned)d[0],
             (unsigned)d[1], (unsigned)d[2], (unsigned)d[3], (unsigned)d[4], (unsigned)d[5],
             (unsigned)d[6], (unsigned)d[7]);
}

/* May this call come now?  *ret_state: where it leads; *ret_number: which set it is about. */
static bool may(struct provider *p, enum set_event what, const char *id, enum set_state *ret_state,
                unsigned *ret_number)
{
    lock(p);
    bool ok = strcmp(p->set.id, id) == 0 && set_next(p->set.state, what, ret_state);
    *ret_number = p->set_number;
    unlock(p);
    return ok;
}

/* The same, when a process that was started since is asked. */
static bool may_after_restart(struct provider *p, enum set_event what, const char *id,
                              enum set_state *ret_state, unsigned *ret_number)
{
    if (may(p, what, id, ret_state, ret_number)) return true;
    provider_find_open(p, id);
    return may(p, what, id, ret_state, ret_number);
}

/* The call has done its work; false: the set was aborted or replaced meanwhile. */
static bool arrive(struct provider *p, unsigned number, enum set_state state)
{
    lock(p);
    bool ok = p->set_number == number;
    if (ok) p->set.state = state;
    unlock(p);
    return ok;
}

/* Neither aborted nor replaced meanwhile. */
static bool is_still(struct provider *p, unsigned number)
{
    lock(p);
    bool ok = p->set_number == number;
    unlock(p);
    return ok;
}

static bool is_known(struct provider *p, const char *id)
{
    lock(p);
    bool known = strcmp(p->set.id, id) == 0;
    unlock(p);
    return known;
}

/* A call that may not come now. */
static HRESULT out_of_order(struct provider *p, enum set_event what, const char *id)
{
    if (!is_known(p, id)) return VSS_E_OBJECT_NOT_FOUND;
    lock(p);
    const char *state = set_state_name(p->set.state);
    unlock(p);
    return veto(p, EVENT_OUT_OF_ORDER, set_event_name(what), id, state);
}

/* Tells the server; nobody is interested in the answer: without one the lease ends it. */
static void abort_on_server(struct provider *p, const char *id)
{
    struct api_reply reply;
    ask(p, "POST", ASK_MS, &reply, "/v1/sets", id, "abort");
    api_reply_fini(&reply);
}

/* Gives the current set up.  *ret_id: what to abort on the server; "" = nothing. */
static void drop(struct provider *p, char ret_id[PROVIDER_ID_TEXT])
{
    lock(p);
    memcpy(ret_id, p->set.id, PROVIDER_ID_TEXT);
    if (!p->set.was_sent || p->set.state == SET_CREATED) ret_id[0] = '\0';
    p->set = (struct provider_set){0};
    p->set_number++;
    unlock(p);
}

bool provider_is_busy(struct provider *p)
{
    const uint64_t given_up_ms = 3600000;
    uint64_t now_ms = p->os->now_ms(p->os);
    lock(p);
    const struct provider_set *set = &p->set;
    bool is_busy = set->state > SET_PREPARING && set->state < SET_CREATED;
    if (set->state == SET_PREPARING) is_busy = now_ms < set->begun_ms + given_up_ms;
    unlock(p);
    return is_busy;
}

void provider_unload(struct provider *p)
{
    char id[PROVIDER_ID_TEXT];
    lock(p);
    bool is_complete = p->set.state == SET_CONFIRMED;
    unlock(p);
    drop(p, id);
    p->transport->interrupt(p->transport);
    p->transport->commit_close(p->transport);
    thaw(p);
    /* After PostCommitSnapshots the set is VSS's to finish, with another process of ours; if nobody
     * does, the server's lease ends it. */
    if (id[0] && !is_complete) abort_on_server(p, id);
}

/* ---- BeginPrepareSnapshot -------------------------------------------------------------------- */

/* A LUN may come again, with another volume on it: it is one member all the same. */
static bool add_member(struct provider_set *set, const struct lun_identity *source)
{
    for (unsigned i = 0; i < set->member_count; i++)
        if (strcmp(set->members[i].source.serial, source->serial) == 0) return true;
    if (set->member_count == PROVIDER_LUNS_MAX) return false;
    set->members[set->member_count++] = (struct set_member){.source = *source};
    return true;
}

/* All LUNs of a volume, or none of them. */
static HRESULT add_volume(struct provider_set *set, LONG context, LONG count,
                          const VDS_LUN_INFORMATION *luns)
{
    struct lun_identity identity;
    unsigned before = set->member_count;
    if (set->volume_count > 0 && set->context != context) return VSS_E_UNSUPPORTED_CONTEXT;
    if (set->volume_count == PROVIDER_VOLUMES_MAX) return VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED;
    for (LONG i = 0; i < count; i++) {
        bool ours = identity_read(&luns[i], &identity);
        if (ours && add_member(set, &identity)) continue;
        set->member_count = before;
        return ours ? VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED
                    : VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER;
    }
    set->context = context;
    set->volume_count++;
    return S_OK;
}

HRESULT provider_begin_prepare(struct provider *p, VSS_ID set, VSS_ID snapshot, LONG context,
                               LONG count, VSS_PWSZ *devices, VDS_LUN_INFORMATION *luns)
{
    char id[PROVIDER_ID_TEXT], old[PROVIDER_ID_TEXT];
    enum set_state state = SET_PREPARING;
    HRESULT result = S_OK;
    (void)snapshot, (void)devices;
    if (count <= 0 || !luns) return E_INVALIDARG;
    if (!provider_context_is_supported(context)) return VSS_E_UNSUPPORTED_CONTEXT;
    id_text(&set, id);
    if (!is_known(p, id)) {
        /* Another set: the one before was given up, or is complete. */
        drop(p, old);
        p->transport->commit_close(p->transport);
        thaw(p);
        if (old[0]) abort_on_server(p, old);
    }
    uint64_t now_ms = p->os->now_ms(p->os);
    lock(p);
    bool ok = set_next(p->set.state, SET_BEGIN, &state);
    if (ok) {
        result = add_volume(&p->set, context, count, luns);
        if (result == S_OK) {
            memcpy(p->set.id, id, sizeof p->set.id);
            p->set.state = state;
            p->set.begun_ms = now_ms;
        }
    }
    unlock(p);
    return ok ? result : out_of_order(p, SET_BEGIN, id);
}

/* ---- EndPrepareSnapshots --------------------------------------------------------------------- */

static bool prepare_body(struct provider *p, unsigned number, struct api_body *body)
{
    char text[PROVIDER_ID_TEXT], name[PROVIDER_ID_TEXT + 8];
    lock(p);
    bool ok = p->set_number == number;
    const LONG context = p->set.context;
    snprintf(name, sizeof name, "vss-%s", p->set.id);
    api_body_text(body, "uuid", p->set.id);
    api_body_text(body, "name", name);
    api_body_text(body, "host", p->config->host);
    api_body_begin_list(body, "disks");
    for (unsigned i = 0; i < p->set.member_count; i++)
        api_body_item(body, identity_id(&p->set.members[i].source, text));
    api_body_end_list(body);
    api_body_bool(body, "vss", true);
    api_body_bool(body, "volatile",
                  !(context & (VSS_VOLSNAP_ATTR_PERSISTENT | VSS_VOLSNAP_ATTR_TRANSPORTABLE)));
    api_body_bool(body, "transportable", (context & VSS_VOLSNAP_ATTR_TRANSPORTABLE) != 0);
    api_body_bool(body, "full", (context & VSS_VOLSNAP_ATTR_PLEX) != 0);
    if (ok) p->set.was_sent = true;
    unlock(p);
    return ok;
}

/* The one refusal that has a code of its own here. */
static HRESULT prepare_refused(struct provider *p, const char *id, const struct api_reply *reply)
{
    if (reply_has_status(reply, "POOL_FULL") || reply_has_status(reply, "NO_SPACE"))
        return no_room(p, reply);
    return veto_reply(p, EVENT_PREPARE_REFUSED, id, reply);
}

HRESULT provider_end_prepare(struct provider *p, VSS_ID set)
{
    char id[PROVIDER_ID_TEXT];
    enum set_state state;
    unsigned number;
    struct api_body body = {0};
    struct api_reply reply;
    HRESULT result = S_OK;
    id_text(&set, id);
    if (!may(p, SET_END_PREPARE, id, &state, &number)) return out_of_order(p, SET_END_PREPARE, id);
    if (!prepare_body(p, number, &body)) {
        free(body.text);
        return VSS_E_OBJECT_NOT_FOUND;
    }
    ask_body(p, "/v1/sets", &body, ASK_LONG_MS, &reply);
    if (!api_is_ok(&reply)) state = SET_FAILED;
    if (!arrive(p, number, state)) {
        /* Aborted meanwhile; our request may have come behind the abort's. */
        abort_on_server(p, id);
        result = VSS_E_OBJECT_NOT_FOUND;
    } else if (state == SET_FAILED) {
        result = prepare_refused(p, id, &reply);
    }
    api_reply_fini(&reply);
    return result;
}

/* ---- PreCommit, Commit, PostCommit ----------------------------------------------------------- */

/* The server holds the set armed for ten seconds; the request that commits it is sent but for its
 * body. */
static HRESULT arm(struct provider *p, const char *id, unsigned number)
{
    struct api_reply reply;
    struct api_request request;
    HRESULT result = S_OK;
    ask(p, "POST", ASK_SHORT_MS, &reply, "/v1/sets", id, "arm");
    if (!is_still(p, number))
        result = VSS_E_OBJECT_NOT_FOUND; /* aborted beside us: no veto, and no event in a freeze */
    else if (!api_is_ok(&reply))
        result = veto_reply(p, EVENT_ARM_REFUSED, id, &reply);
    api_reply_fini(&reply);
    if (result != S_OK) return result;
    api_request_init(&request, "POST", ASK_MS);
    struct api_body body = {0};
    bool ok = api_request_path(&request, "/v1/sets", id, "commit", NULL) &&
              api_body_finish(&body, &request) && p->transport->commit_open(p->transport, &request);
    api_request_fini(&request);
    return ok ? S_OK : veto(p, EVENT_NO_CHANNEL, id);
}

HRESULT provider_pre_commit(struct provider *p, VSS_ID set)
{
    char id[PROVIDER_ID_TEXT];
    enum set_state state;
    unsigned number;
    id_text(&set, id);
    if (!may_after_restart(p, SET_PRE_COMMIT, id, &state, &number))
        return out_of_order(p, SET_PRE_COMMIT, id);
    if (!freeze(p, number)) return VSS_E_OBJECT_NOT_FOUND;
    HRESULT result = arm(p, id, number);
    if (!arrive(p, number, result == S_OK ? state : SET_FAILED)) {
        p->transport->commit_close(p->transport);
        return VSS_E_OBJECT_NOT_FOUND;
    }
    return result;
}

/* Windows holds all writes now: no file, no log, no allocation. */
HRESULT provider_commit(struct provider *p, VSS_ID set)
{
    char id[PROVIDER_ID_TEXT];
    enum set_state state;
    unsigned number;
    id_text(&set, id);
    if (!may(p, SET_COMMIT, id, &state, &number)) return out_of_order(p, SET_COMMIT, id);
    unsigned http = p->transport->commit_send(p->transport);
    bool ok = http >= 200 && http < 300;
    if (!arrive(p, number, ok ? state : SET_FAILED)) return VSS_E_OBJECT_NOT_FOUND;
    if (ok) return S_OK;
    char status[12];
    snprintf(status, sizeof status, "%u", http);
    return veto(p, EVENT_NOT_COMMITTED, id,
                http ? "the Tarn server refused"
                     : "no answer from the Tarn server within four seconds",
                status);
}

HRESULT provider_post_commit(struct provider *p, VSS_ID set, LONG snapshot_count)
{
    char id[PROVIDER_ID_TEXT];
    enum set_state state;
    unsigned number;
    struct api_reply reply;
    HRESULT result = S_OK;
    id_text(&set, id);
    if (snapshot_count < 0) return E_INVALIDARG;
    if (!may_after_restart(p, SET_POST_COMMIT, id, &state, &number)) {
        result = out_of_order(p, SET_POST_COMMIT, id);
        thaw(p);
        return result;
    }
    p->transport->commit_close(p->transport);
    ask(p, "POST", ASK_SHORT_MS, &reply, "/v1/sets", id, "confirm");
    if (!api_is_ok(&reply)) state = SET_FAILED;
    if (!arrive(p, number, state))
        result = VSS_E_OBJECT_NOT_FOUND;
    else if (state == SET_FAILED)
        result = veto_reply(p, EVENT_CONFIRM_REFUSED, id, &reply);
    api_reply_fini(&reply);
    thaw(p);
    return result;
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Nothing is to be done: what auto-recovery writes goes to the snapshot's own branch.  A process
 * that does not know the set is one that was started since. */
static HRESULT final(struct provider *p, const VSS_ID *set)
{
    char id[PROVIDER_ID_TEXT];
    enum set_state state;
    unsigned number;
    id_text(set, id);
    if (!is_known(p, id) || may(p, SET_FINAL, id, &state, &number)) return S_OK;
    return out_of_order(p, SET_FINAL, id);
}

HRESULT provider_pre_final_commit(struct provider *p, VSS_ID set)
{
    return final(p, &set);
}

HRESULT provider_post_final_commit(struct provider *p, VSS_ID set)
{
    return final(p, &set);
}

/* At any time, also while EndPrepareSnapshots waits on another thread.  A set that is not ours in
 * the making is passed on by its id: this process may have been started since.  The server ignores
 * what it does not know, and what is complete. */
HRESULT provider_abort(struct provider *p, VSS_ID set)
{
    char id[PROVIDER_ID_TEXT], old[PROVIDER_ID_TEXT];
    enum set_state state;
    unsigned number;
    id_text(&set, id);
    if (!may(p, SET_ABORT, id, &state, &number)) {
        abort_on_server(p, id);
        return S_OK;
    }
    if (state == SET_CREATED) return S_OK;
    drop(p, old);
    p->transport->interrupt(p->transport);
    p->transport->commit_close(p->transport);
    thaw(p);
    if (old[0]) abort_on_server(p, old);
    return S_OK;
}
