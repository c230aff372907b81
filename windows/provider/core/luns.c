/* luns.c - the calls that are about LUNs: which are ours, which became of them, where they are
 * mapped, and their end. */
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
    uint64_t until_ms = p->os->now_ms(p->os) + ASK_SHORT_MS; /* all questions together */
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

/* ---- GetTargetLuns --------------------------------------------------------------------------- */

bool targets_read(struct json set, struct targets *ret_targets)
{
    struct json members, member;
    struct targets targets = {0};
    char disk[PROVIDER_ID_TEXT], serial[IDENTITY_SERIAL_CHARS + 1],
        naa[2 * IDENTITY_NAA_MAX_BYTES + 1];
    if (!json_member(set, "members", &members)) return false;
    for (size_t at = 0; json_next(members, &at, &member);) {
        struct set_member *m = &targets.members[targets.count];
        if (targets.count == PROVIDER_LUNS_MAX ||
            !json_text_member(member, "disk_uuid", disk, sizeof disk) ||
            !json_text_member(member, "serial", serial, sizeof serial) ||
            !json_text_member(member, "naa", naa, sizeof naa) ||
            !identity_parse(serial, naa, &m->target))
            return false;
        size_t used = 0;
        for (const char *c = disk; *c && used < IDENTITY_SERIAL_CHARS; c++)
            if (*c != '-') m->source.serial[used++] = *c;
        m->source.serial[used] = '\0';
        targets.count++;
    }
    *ret_targets = targets;
    return targets.count > 0;
}

static const struct set_member *find_target(const struct targets *targets,
                                            const VDS_LUN_INFORMATION *source)
{
    struct lun_identity identity;
    if (!identity_read(source, &identity)) return NULL;
    for (unsigned i = 0; i < targets->count; i++)
        if (strcmp(targets->members[i].source.serial, identity.serial) == 0)
            return &targets->members[i];
    return NULL;
}

static bool has_all(const struct targets *targets, LONG count, const VDS_LUN_INFORMATION *sources)
{
    for (LONG i = 0; i < count; i++)
        if (!find_target(targets, &sources[i])) return false;
    return true;
}

/* A process that was started since does not know which set it is: the newest of this host that was
 * cut through VSS.  One that lacks a source is still it (this process was told of a part of its
 * volumes only): an older one would be given out as the copy that was made just now. */
static bool find_set(struct provider *p, LONG count, const VDS_LUN_INFORMATION *sources,
                     struct targets *targets, char ret_id[PROVIDER_ID_TEXT])
{
    struct api_reply reply;
    struct json sets, set, field;
    uint64_t cut = 0, newest = 0;
    bool found = false;
    ask(p, "GET", ASK_MS, &reply, "/v1/sets", NULL, NULL);
    bool ok = api_is_ok(&reply) && json_member(reply.value, "sets", &sets);
    for (size_t at = 0; ok && json_next(sets, &at, &set);) {
        char state[16], host[sizeof p->config->host];
        if (!json_text_member(set, "state", state, sizeof state) ||
            (strcmp(state, "confirmed") != 0 && strcmp(state, "created") != 0))
            continue;
        if (!json_text_member(set, "host", host, sizeof host) || strcmp(host, p->config->host) != 0)
            continue;
        if (!json_member(set, "cut_wall_ns", &field) || !json_u64(field, &cut) || cut < newest)
            continue;
        found = targets_read(set, targets) && has_all(targets, count, sources) &&
                json_text_member(set, "uuid", ret_id, PROVIDER_ID_TEXT);
        newest = cut;
    }
    api_reply_fini(&reply);
    return found;
}

/* VSS asks for the identities of the set that this process has confirmed, and of no other. */
static bool is_confirmed(struct provider *p)
{
    lock(p);
    bool is = p->set.state == SET_CONFIRMED;
    unlock(p);
    return is;
}

/* The set in the making, when it has these sources. */
static bool is_current(struct provider *p, LONG count, const VDS_LUN_INFORMATION *sources,
                       struct targets *targets, char ret_id[PROVIDER_ID_TEXT])
{
    enum set_state state;
    lock(p);
    bool ok = p->set.id[0] && set_next(p->set.state, SET_TARGETS, &state);
    targets->count = p->set.member_count;
    memcpy(targets->members, p->set.members, sizeof targets->members);
    memcpy(ret_id, p->set.id, PROVIDER_ID_TEXT);
    unlock(p);
    return ok && has_all(targets, count, sources);
}

/* The identities: the server hands them out once the set is finished, and always the same. */
static HRESULT load_targets(struct provider *p, const char *id, struct targets *targets)
{
    struct api_reply reply;
    HRESULT result = S_OK;
    ask(p, "POST", ASK_MS, &reply, "/v1/sets", id, "finish");
    if (!api_is_ok(&reply))
        result = veto_reply(p, EVENT_FINISH_REFUSED, id, &reply);
    else if (!targets_read(reply.value, targets))
        result = veto(p, EVENT_NO_IDENTITIES, id);
    api_reply_fini(&reply);
    if (result != S_OK) return result;
    lock(p);
    bool is_first = strcmp(p->set.id, id) == 0 && p->set.state != SET_CREATED;
    if (is_first) p->set.state = SET_CREATED;
    unlock(p);
    char count_text[12];
    snprintf(count_text, sizeof count_text, "%u", targets->count);
    if (is_first) note(p, EVENT_SET_CREATED, id, count_text);
    return S_OK;
}

/* For an event. */
static const char *serial_of(const VDS_LUN_INFORMATION *lun, struct lun_identity *identity)
{
    return identity_read(lun, identity) ? identity->serial : "of another storage";
}

static HRESULT fill_targets(struct provider *p, const struct targets *targets, LONG count,
                            const VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *luns)
{
    struct lun_identity identity;
    for (LONG i = 0; i < count; i++) {
        const struct set_member *member = find_target(targets, &sources[i]);
        if (member && identity_fill(&p->os->memory, &member->target, &luns[i])) continue;
        for (LONG done = i; done-- > 0;)
            identity_clear(&p->os->memory, &luns[done]);
        return member ? E_OUTOFMEMORY
                      : veto(p, EVENT_NOT_IN_SET, serial_of(&sources[i], &identity));
    }
    return S_OK;
}

HRESULT provider_get_target_luns(struct provider *p, LONG count, VSS_PWSZ *devices,
                                 VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *ret_targets)
{
    char id[PROVIDER_ID_TEXT];
    struct lun_identity identity;
    (void)devices;
    if (count <= 0 || !sources || !ret_targets) return E_INVALIDARG;
    struct targets *targets = calloc(1, sizeof *targets);
    if (!targets) return E_OUTOFMEMORY;
    HRESULT result;
    if (!is_current(p, count, sources, targets, id) &&
        (is_confirmed(p) || !find_set(p, count, sources, targets, id)))
        result = veto(p, EVENT_NO_SET, serial_of(&sources[0], &identity));
    else
        result = load_targets(p, id, targets);
    if (result == S_OK) result = fill_targets(p, targets, count, sources, ret_targets);
    free(targets);
    return result;
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

/* The number of the LUN in this host's map.  false: it is not mapped here, or *ret_result is an
 * error. */
static bool find_lun(struct provider *p, const char *serial, char number[24], HRESULT *ret_result)
{
    struct api_reply reply;
    struct json maps, map, lun;
    uint64_t n = 0;
    bool found = false;
    *ret_result = S_OK;
    ask(p, "GET", ASK_MS, &reply, "/v1/maps", NULL, NULL);
    if (!api_is_ok(&reply) || !json_member(reply.value, "maps", &maps))
        *ret_result = veto_reply(p, EVENT_LIST_REFUSED, p->config->host, &reply);
    for (size_t at = 0; *ret_result == S_OK && !found && json_next(maps, &at, &map);) {
        char seen[IDENTITY_SERIAL_CHARS + 1], host[sizeof p->config->host];
        found = json_text_member(map, "serial", seen, sizeof seen) && strcmp(seen, serial) == 0 &&
                json_text_member(map, "host", host, sizeof host) &&
                strcmp(host, p->config->host) == 0 && json_member(map, "lun", &lun) &&
                json_u64(lun, &n);
    }
    api_reply_fini(&reply);
    snprintf(number, 24, "%llu", (unsigned long long)n);
    return found;
}

/* Takes the LUN away from this host; one that is not there is fine. */
static HRESULT unmap(struct provider *p, const struct lun_identity *identity)
{
    struct api_reply reply;
    char number[24];
    HRESULT result;
    if (!find_lun(p, identity->serial, number, &result)) return result;
    ask(p, "DELETE", ASK_MS, &reply, "/v1/maps", p->config->host, number);
    if (!api_is_ok(&reply) && !reply_has_status(&reply, "NOT_FOUND"))
        result = veto_reply(p, EVENT_UNMAP_REFUSED, identity->serial, &reply);
    api_reply_fini(&reply);
    return result;
}

/* The one call, besides an abort, that destroys data; what is gone already is fine. */
HRESULT provider_on_lun_empty(struct provider *p, VSS_PWSZ device, VDS_LUN_INFORMATION *lun)
{
    struct lun_identity identity;
    struct api_reply reply;
    char id[IDENTITY_ID_TEXT];
    (void)device;
    if (!lun) return E_INVALIDARG;
    if (!identity_read(lun, &identity)) return S_OK; /* not ours to delete */
    HRESULT result = unmap(p, &identity);
    if (result != S_OK) return result;
    ask(p, "DELETE", ASK_MS, &reply, "/v1/snapshots", identity_id(&identity, id), NULL);
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
    char state[16] = "", number[24];
    HRESULT result;
    if (!(flags & VSS_ONLUNSTATECHANGE_NOTIFY_READ_WRITE)) return false;
    ask(p, "GET", ASK_MS, &reply, "/v1/sets", set, NULL);
    if (api_is_ok(&reply)) json_text_member(reply.value, "state", state, sizeof state);
    api_reply_fini(&reply);
    return strcmp(state, "breaking") == 0 && !find_lun(p, identity->serial, number, &result) &&
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
    for (DWORD i = 0; (flags & acted_on) && i < count; i++) {
        if (!identity_read(&snapshots[i], &identity)) continue; /* another provider's */
        HRESULT result = change_state(p, &identity, flags, done);
        if (result != S_OK) return result;
    }
    return S_OK;
}
