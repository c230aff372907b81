/* luns.c - the calls that are about LUNs: which are ours, where they are mapped, and their end. */
#include <stdio.h>

#include "windows/provider/core/provider_int.h"

/* ---- AreLunsSupported, FillInLunInfo --------------------------------------------------------- */

bool provider_context_is_supported(LONG context)
{
    const LONG both = VSS_VOLSNAP_ATTR_DIFFERENTIAL | VSS_VOLSNAP_ATTR_PLEX;
    /* Shadow copies for shared folders live on the volume itself: the system provider's. */
    if (context & (VSS_VOLSNAP_ATTR_CLIENT_ACCESSIBLE | VSS_VOLSNAP_ATTR_FILE_SHARE)) return false;
    return (context & both) != both; /* which would be nonsense */
}

/* The server was away a moment ago: every requester asks for every volume, and none should wait for
 * it each time. */
static bool is_away(struct provider *p)
{
    uint64_t now = p->os->now_ms(p->os);
    lock(p);
    bool away = now < p->away_until_ms;
    unlock(p);
    return away;
}

static void note_away(struct provider *p, const struct api_reply *reply)
{
    uint64_t now = p->os->now_ms(p->os);
    lock(p);
    bool was_away = p->away_until_ms != 0;
    p->away_until_ms = reply->http == 0 ? now + PROVIDER_AWAY_MS : 0;
    unlock(p);
    if (reply->http == 0) warn(p, EVENT_SERVER_AWAY, NULL);
    if (reply->http != 0 && was_away) note(p, EVENT_SERVER_BACK);
}

/* A LUN is served to this host, as a disk. */
static bool is_served(struct provider *p, struct json maps, const struct lun_identity *identity)
{
    struct json map;
    char serial[IDENTITY_SERIAL_CHARS + 1], host[sizeof p->config->host];
    for (size_t at = 0; json_next(maps, &at, &map);)
        if (json_text_member(map, "serial", serial, sizeof serial) &&
            strcmp(serial, identity->serial) == 0 &&
            json_text_member(map, "host", host, sizeof host) && strcmp(host, p->config->host) == 0)
            return true;
    return false;
}

static unsigned left_ms(struct provider *p, uint64_t until_ms)
{
    uint64_t now_ms = p->os->now_ms(p->os);
    return now_ms + 100 < until_ms ? (unsigned)(until_ms - now_ms) : 100;
}

/* Windows would find the shadow copy's LUN only through a session of its own initiator. */
static bool has_session(struct provider *p, uint64_t until_ms)
{
    struct api_reply reply;
    struct json sessions;
    uint64_t count = 0;
    ask(p, "GET", left_ms(p, until_ms), &reply, "/v1/hosts", p->config->host, NULL);
    bool has = api_is_ok(&reply) && json_member(reply.value, "session_count", &sessions) &&
               json_u64(sessions, &count) && count > 0;
    api_reply_fini(&reply);
    return has;
}

static bool are_served(struct provider *p, LONG count, const VDS_LUN_INFORMATION *luns,
                       uint64_t until_ms)
{
    struct api_reply reply;
    struct lun_identity identity;
    struct json maps;
    ask(p, "GET", left_ms(p, until_ms), &reply, "/v1/maps", NULL, NULL);
    note_away(p, &reply);
    bool all = api_is_ok(&reply) && json_member(reply.value, "maps", &maps);
    for (LONG i = 0; all && i < count; i++) {
        all = identity_read(&luns[i], &identity) && is_served(p, maps, &identity);
        if (!all) warn(p, EVENT_NOT_SERVED, identity.serial);
    }
    api_reply_fini(&reply);
    return all;
}

/* One LUN that shows as two disks: multipath without MPIO; VSS would write through one and mount
 * the other. */
static bool shows_twice(struct provider *p, LONG count, const VDS_LUN_INFORMATION *luns)
{
    struct lun_identity a, b;
    for (LONG i = 0; i < count; i++)
        for (LONG j = i + 1; j < count; j++)
            if (identity_read(&luns[i], &a) && identity_read(&luns[j], &b) &&
                strcmp(a.serial, b.serial) == 0) {
                warn(p, EVENT_SHOWS_TWICE, a.serial);
                return true;
            }
    return false;
}

/* The server tries to prepare such a set and changes nothing: room, LUN numbers, limits.  What it
 * cannot do now another provider may. */
static bool can_be_prepared(struct provider *p, LONG count, LONG context,
                            const VDS_LUN_INFORMATION *luns, uint64_t until_ms)
{
    struct api_body body = {0};
    struct api_reply reply;
    struct lun_identity identity;
    char text[IDENTITY_ID_TEXT];
    api_body_text(&body, "host", p->config->host);
    api_body_begin_list(&body, "disks");
    for (LONG i = 0; i < count; i++)
        if (identity_read(&luns[i], &identity)) api_body_item(&body, identity_id(&identity, text));
    api_body_end_list(&body);
    api_body_bool(&body, "full", (context & VSS_VOLSNAP_ATTR_PLEX) != 0);
    api_body_bool(&body, "dry_run", true);
    ask_body(p, "/v1/sets", &body, left_ms(p, until_ms), &reply);
    bool can = api_is_ok(&reply);
    if (reply_has_status(&reply, "POOL_FULL") || reply_has_status(&reply, "NO_SPACE"))
        (void)no_room(p, &reply);
    else if (!can)
        note_away(p, &reply);
    api_reply_fini(&reply);
    return can;
}

HRESULT provider_are_luns_supported(struct provider *p, LONG count, LONG context, VSS_PWSZ *devices,
                                    VDS_LUN_INFORMATION *luns, BOOL *ret_supported)
{
    struct lun_identity identity;
    (void)devices;
    if (!ret_supported) return E_INVALIDARG;
    *ret_supported = FALSE;
    if (count <= 0 || !luns) return E_INVALIDARG;
    if (!provider_context_is_supported(context) || count > PROVIDER_LUNS_MAX) return S_OK;
    for (LONG i = 0; i < count; i++)
        if (!identity_read(&luns[i], &identity)) return S_OK; /* foreign: without any network */
    uint64_t until_ms = p->os->now_ms(p->os) + ASK_SHORT_MS;  /* all questions together */
    if (shows_twice(p, count, luns) || is_away(p) || !are_served(p, count, luns, until_ms))
        return S_OK;
    bool is_seen = (context & VSS_VOLSNAP_ATTR_TRANSPORTABLE) || has_session(p, until_ms);
    if (!is_seen) warn(p, EVENT_NO_SESSION, p->config->host);
    *ret_supported = is_seen && can_be_prepared(p, count, context, luns, until_ms);
    return S_OK;
}

/* For every disk that arrives, and before each deletion: it needs no network, so that it cannot
 * fail for one. */
HRESULT provider_fill_in_lun_info(struct provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun,
                                  BOOL *ret_supported)
{
    struct lun_identity identity;
    (void)device;
    if (!ret_supported) return E_INVALIDARG;
    *ret_supported = FALSE;
    if (!lun) return E_INVALIDARG;
    if (!identity_read(lun, &identity)) return S_OK;
    if (!identity_normalise(&p->os->memory, &identity, lun)) return E_OUTOFMEMORY;
    *ret_supported = TRUE;
    return S_OK;
}

/* ---- Sets of snapshots ----------------------------------------------------------------------- */

/* The set that a snapshot is of.  *ret_gone: there is no such snapshot (any more). */
static HRESULT find_set_of(struct provider *p, const struct lun_identity *identity,
                           char ret_set[PROVIDER_ID_TEXT], bool *ret_gone)
{
    struct api_reply reply;
    char id[IDENTITY_ID_TEXT];
    HRESULT result = S_OK;
    ask(p, "GET", ASK_MS, &reply, "/v1/snapshots", identity_id(identity, id), NULL);
    *ret_gone = reply_has_status(&reply, "NOT_FOUND");
    if (!*ret_gone && (!api_is_ok(&reply) ||
                       !json_text_member(reply.value, "set_uuid", ret_set, PROVIDER_ID_TEXT)))
        result = veto_reply(p, EVENT_FIND_REFUSED, id, &reply);
    api_reply_fini(&reply);
    return result;
}

/* import, mask or break of a set for this host; again is fine. */
static HRESULT act_on_set(struct provider *p, const char *set, const char *verb, enum event_id done,
                          enum event_id trouble)
{
    struct api_body body = {0};
    struct api_reply reply;
    char path[PROVIDER_ID_TEXT + 24];
    HRESULT result = S_OK;
    snprintf(path, sizeof path, "/v1/sets/%s/%s", set, verb);
    if (strcmp(verb, "break") == 0)
        api_body_bool(&body, "writable", true);
    else
        api_body_text(&body, "host", p->config->host);
    ask_body(p, path, &body, ASK_MS, &reply);
    if (api_is_ok(&reply))
        note(p, done, set);
    else
        result = veto_reply(p, trouble, set, &reply);
    api_reply_fini(&reply);
    return result;
}

/* ---- LocateLuns ------------------------------------------------------------------------------ */

/* The whole set of the snapshot appears at once.  A snapshot that is gone cannot be located. */
static HRESULT locate(struct provider *p, const VDS_LUN_INFORMATION *lun,
                      char done[PROVIDER_ID_TEXT])
{
    struct lun_identity identity;
    char set[PROVIDER_ID_TEXT] = "", id[IDENTITY_ID_TEXT];
    bool gone;
    if (!identity_read(lun, &identity)) return veto(p, EVENT_IMPORT_FOREIGN);
    HRESULT result = find_set_of(p, &identity, set, &gone);
    if (result != S_OK) return result;
    if (gone) return veto(p, EVENT_IMPORT_GONE, identity_id(&identity, id));
    if (strcmp(set, done) == 0) return S_OK;
    result = act_on_set(p, set, "import", EVENT_SET_IMPORTED, EVENT_IMPORT_REFUSED);
    if (result == S_OK) memcpy(done, set, PROVIDER_ID_TEXT);
    return result;
}

HRESULT provider_locate_luns(struct provider *p, LONG count, VDS_LUN_INFORMATION *luns)
{
    char done[PROVIDER_ID_TEXT] = "";
    if (count <= 0 || !luns) return E_INVALIDARG;
    for (LONG i = 0; i < count; i++) {
        HRESULT result = locate(p, &luns[i], done);
        if (result != S_OK) return result;
    }
    return S_OK;
}

/* ---- OnLunEmpty, OnLunStateChange ------------------------------------------------------------ */

/* Is the LUN served to this host?  false, too, when *ret_result is an error. */
static bool is_mapped(struct provider *p, const char *serial, HRESULT *ret_result)
{
    struct api_reply reply;
    struct json maps, map;
    bool found = false;
    *ret_result = S_OK;
    ask(p, "GET", ASK_MS, &reply, "/v1/maps", NULL, NULL);
    if (!api_is_ok(&reply) || !json_member(reply.value, "maps", &maps))
        *ret_result = veto_reply(p, EVENT_LIST_REFUSED, p->config->host, &reply);
    for (size_t at = 0; *ret_result == S_OK && !found && json_next(maps, &at, &map);) {
        char seen[IDENTITY_SERIAL_CHARS + 1], host[sizeof p->config->host];
        found = json_text_member(map, "serial", seen, sizeof seen) && strcmp(seen, serial) == 0 &&
                json_text_member(map, "host", host, sizeof host) &&
                strcmp(host, p->config->host) == 0;
    }
    api_reply_fini(&reply);
    return found;
}

/* The LUN goes away from this host, and what it showed with it, in one request: VSS asks for each LUN
 * of a set, and waits.  The server refuses while another host has the LUN. */
static void delete_snapshot(struct provider *p, const char *id, struct api_reply *ret_reply)
{
    struct api_request request;
    struct api_body body = {0};
    *ret_reply = (struct api_reply){0};
    api_request_init(&request, "DELETE", ASK_MS);
    api_body_text(&body, "unmap_host", p->config->host);
    if (api_request_path(&request, "/v1/snapshots", id, NULL) && api_body_finish(&body, &request))
        api_exchange(p->transport, &request, ret_reply);
    free(body.text);
    api_request_fini(&request);
}

/* The one call, besides an abort, that destroys data; what is gone already is fine. */
HRESULT provider_on_lun_empty(struct provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun)
{
    struct lun_identity identity;
    struct api_reply reply;
    char id[IDENTITY_ID_TEXT];
    HRESULT result = S_OK;
    (void)device;
    if (!lun) return E_INVALIDARG;
    if (!identity_read(lun, &identity)) return S_OK; /* not ours to delete */
    targets_forget(p);
    delete_snapshot(p, identity_id(&identity, id), &reply);
    if (api_is_ok(&reply))
        note(p, EVENT_SHADOW_DELETED, id);
    else if (!reply_has_status(&reply, "NOT_FOUND"))
        result = veto_reply(p, EVENT_DELETE_REFUSED, id, &reply);
    api_reply_fini(&reply);
    return result;
}

/* Both were asked for before, so that the set is being broken: it cannot be masked any more, and is
 * not served. */
static bool is_done(struct provider *p, const char *set, const struct lun_identity *identity,
                    DWORD flags)
{
    struct api_reply reply;
    char state[16] = "";
    HRESULT result;
    if (!(flags & VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE)) return false;
    ask(p, "GET", ASK_MS, &reply, "/v1/sets", set, NULL);
    if (api_is_ok(&reply)) json_text_member(reply.value, "state", state, sizeof state);
    api_reply_fini(&reply);
    return strcmp(state, "breaking") == 0 && !is_mapped(p, identity->serial, &result) &&
           result == S_OK;
}

/* To a set as a whole, once: what VSS says of LUNs it says of all LUNs of a set. */
static HRESULT change_state(struct provider *p, const struct lun_identity *identity, DWORD flags,
                            char done[PROVIDER_ID_TEXT])
{
    char set[PROVIDER_ID_TEXT] = "";
    bool gone;
    HRESULT result = find_set_of(p, identity, set, &gone);
    if (result != S_OK || gone || strcmp(set, done) == 0)
        return result; /* gone: it was broken, it is a disk now */
    /* Answered at once: the snapshots become independent disks in the background, and stay in full
     * use. */
    if ((flags & VSS_ONLUNSTATECHANGE_DO_MASK_LUNS) && !is_done(p, set, identity, flags))
        result = act_on_set(p, set, "mask", EVENT_SET_MASKED, EVENT_MASK_REFUSED);
    if (result == S_OK && (flags & VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE))
        result = act_on_set(p, set, "break", EVENT_SET_BROKEN, EVENT_BREAK_REFUSED);
    if (result == S_OK) memcpy(done, set, PROVIDER_ID_TEXT);
    return result;
}

HRESULT provider_on_lun_state_change(struct provider *p, VDS_LUN_INFORMATION *snapshots,
                                     VDS_LUN_INFORMATION *originals, DWORD count, DWORD flags)
{
    const DWORD acted_on =
        VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE | VSS_ONLUNSTATECHANGE_DO_MASK_LUNS;
    struct lun_identity identity;
    char done[PROVIDER_ID_TEXT] = "";
    (void)originals;
    if (count == 0 || !snapshots) return E_INVALIDARG;
    targets_forget(p);
    for (DWORD i = 0; (flags & acted_on) && i < count; i++) {
        if (!identity_read(&snapshots[i], &identity)) continue; /* another provider's */
        HRESULT result = change_state(p, &identity, flags, done);
        if (result != S_OK) return result;
    }
    return S_OK;
}
