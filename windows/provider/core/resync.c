#include "windows/provider/core/resync.h"

#include <stdio.h>

#include "windows/provider/core/provider_int.h"

enum { JOB_ID_SIZE = 64 };

struct pair {
    char snapshot[PROVIDER_ID_TEXT], disk[PROVIDER_ID_TEXT];
    bool is_own;           /* the snapshot is one of that disk */
    char job[JOB_ID_SIZE]; /* "" = done */
};

struct resync {
    struct provider *provider;
    HRESULT result; /* VSS_S_ASYNC_PENDING until it is known */
    DWORD count;
    struct pair pairs[];
};

/* ---- Asking ---------------------------------------------------------------------------------- */

static HRESULT read_pair(struct provider *p, const VDS_LUN_INFORMATION *source,
                         const VDS_LUN_INFORMATION *target, struct pair *pair)
{
    struct lun_identity snapshot, disk;
    struct api_reply reply;
    char own[PROVIDER_ID_TEXT];
    HRESULT result = S_OK;
    if (!identity_read(source, &snapshot) || !identity_read(target, &disk))
        return veto(p, EVENT_RESYNC_FOREIGN);
    identity_id(&snapshot, pair->snapshot);
    identity_id(&disk, pair->disk);
    ask(p, "GET", ASK_MS, &reply, "/v1/snapshots", pair->snapshot, NULL);
    if (!api_is_ok(&reply) || !json_text_member(reply.value, "disk_uuid", own, sizeof own))
        result = veto_reply(p, EVENT_FIND_REFUSED, pair->snapshot, &reply);
    else
        pair->is_own = strcmp(own, pair->disk) == 0;
    api_reply_fini(&reply);
    return result;
}

/* One pair's request; only_try: everything but the change. */
static HRESULT ask_pair(struct provider *p, struct pair *pair, bool only_try)
{
    struct api_body body = {0};
    struct api_reply reply;
    struct json job;
    char path[PROVIDER_ID_TEXT + 32];
    HRESULT result = S_OK;
    snprintf(path, sizeof path, "/v1/disks/%s/%s", pair->disk, pair->is_own ? "revert" : "replace");
    api_body_text(&body, pair->is_own ? "to" : "from", pair->snapshot);
    api_body_bool(&body, "resync", true);
    api_body_bool(&body, "keep_vss_flags", true); /* in its own paths VSS sees to them */
    if (only_try) api_body_bool(&body, "dry_run", true);
    ask_body(p, path, &body, ASK_LONG_MS, &reply);
    if (reply_has_status(&reply, "POOL_FULL") || reply_has_status(&reply, "NO_SPACE"))
        result = no_room(p, &reply);
    else if (!api_is_ok(&reply))
        result = veto_reply(p, EVENT_RESYNC_REFUSED, pair->disk, &reply);
    else if (!only_try && json_member(reply.value, "job", &job) &&
             !json_text_member(job, "id", pair->job, sizeof pair->job))
        result = veto(p, EVENT_RESYNC_NO_JOB, pair->disk);
    api_reply_fini(&reply);
    return result;
}

HRESULT resync_begin(struct provider *p, VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *targets,
                     DWORD count, struct resync **ret_resync)
{
    if (count == 0 || count > PROVIDER_LUNS_MAX || !sources || !targets) return E_INVALIDARG;
    struct resync *resync = calloc(1, sizeof *resync + count * sizeof resync->pairs[0]);
    if (!resync) return E_OUTOFMEMORY;
    resync->provider = p;
    resync->count = count;
    resync->result = VSS_S_ASYNC_PENDING;
    HRESULT result = S_OK;
    for (DWORD i = 0; result == S_OK && i < count; i++)
        result = read_pair(p, &sources[i], &targets[i], &resync->pairs[i]);
    for (DWORD i = 0; result == S_OK && i < count; i++)
        result = ask_pair(p, &resync->pairs[i], true);
    for (DWORD i = 0; result == S_OK && i < count; i++)
        result = ask_pair(p, &resync->pairs[i], false);
    if (result != S_OK) {
        resync_cancel(resync); /* what was begun for those before */
        free(resync);
        return result;
    }
    *ret_resync = resync;
    return S_OK;
}

/* ---- How far it is --------------------------------------------------------------------------- */

static HRESULT job_failed(struct resync *resync, const struct pair *pair, struct json job)
{
    struct json error;
    char status[32] = "", message[API_TEXT_MAX] = "no reason was told";
    if (json_member(job, "error", &error)) {
        json_text_member(error, "status", status, sizeof status);
        json_text_member(error, "message", message, sizeof message);
    }
    if (strcmp(status, "CANCELLED") == 0) return VSS_S_ASYNC_CANCELLED;
    return veto(resync->provider, EVENT_RESYNC_FAILED, pair->disk, message);
}

/* VSS_S_ASYNC_PENDING, _FINISHED, or the end. */
static HRESULT query_job(struct resync *resync, struct pair *pair)
{
    struct api_reply reply;
    char state[16] = "";
    HRESULT result = VSS_S_ASYNC_PENDING;
    ask(resync->provider, "GET", ASK_MS, &reply, "/v1/jobs", pair->job, NULL);
    if (api_is_ok(&reply)) {
        json_text_member(reply.value, "state", state, sizeof state);
        if (strcmp(state, "failed") == 0) result = job_failed(resync, pair, reply.value);
        if (strcmp(state, "done") == 0) result = VSS_S_ASYNC_FINISHED;
    }
    api_reply_fini(&reply);
    return result;
}

HRESULT resync_query(struct resync *resync)
{
    if (resync->result != VSS_S_ASYNC_PENDING) return resync->result;
    for (DWORD i = 0; i < resync->count; i++) {
        struct pair *pair = &resync->pairs[i];
        if (!pair->job[0]) continue;
        HRESULT result = query_job(resync, pair);
        if (result == VSS_S_ASYNC_FINISHED) {
            pair->job[0] = '\0';
            continue;
        }
        if (result != VSS_S_ASYNC_PENDING) resync->result = result;
        return result;
    }
    resync->result = VSS_S_ASYNC_FINISHED;
    char count[12];
    snprintf(count, sizeof count, "%u", (unsigned)resync->count);
    note(resync->provider, EVENT_RESYNC_DONE, count);
    return resync->result;
}

void resync_cancel(struct resync *resync)
{
    for (DWORD i = 0; i < resync->count; i++) {
        struct api_reply reply;
        if (!resync->pairs[i].job[0]) continue;
        ask(resync->provider, "POST", ASK_MS, &reply, "/v1/jobs", resync->pairs[i].job, "cancel");
        api_reply_fini(&reply);
    }
}

void resync_destroy(struct resync *resync)
{
    free(resync);
}
