/* targets.c - GetTargetLuns: what became of the LUNs of a set.
 *
 * VSS asks for each volume, one after the other.  The server tells the identities of all snapshots of
 * a set when it is finished; they are kept with the set and are good for TARGETS_KEPT_MS.  After that
 * the newest set is asked for: another process may have made one since.  They are forgotten when
 * another set begins, at OnUnload, when a snapshot is deleted, and when its LUN changes its state. */
#include <stdio.h>

#include "windows/provider/core/provider_int.h"

/* From the first question for a set to the last. */
enum { TARGETS_KEPT_MS = 60000 };

/* ---- The answer of the server ---------------------------------------------------------------- */

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

/* ---- What is kept ---------------------------------------------------------------------------- */

void targets_forget(struct provider *p)
{
    lock(p);
    p->set.targets_until_ms = 0;
    unlock(p);
}

/* Without asking anybody. */
static bool find_kept(struct provider *p, LONG count, const VDS_LUN_INFORMATION *sources,
                      struct targets *targets)
{
    uint64_t now_ms = p->os->now_ms(p->os);
    lock(p);
    bool is_kept = p->set.state == SET_CREATED && now_ms < p->set.targets_until_ms;
    targets->count = p->set.member_count;
    memcpy(targets->members, p->set.members, sizeof targets->members);
    unlock(p);
    return is_kept && has_all(targets, count, sources);
}

/* With the set that this process made; or in the place of one that is over, or of none.  `number` is
 * of the set that was known when they were asked for: beside another one they are not kept. */
static void keep(struct provider *p, const char *id, const struct targets *targets, unsigned number)
{
    uint64_t now_ms = p->os->now_ms(p->os);
    lock(p);
    if (p->set_number == number && (p->set.state == SET_IDLE || p->set.state == SET_CREATED)) {
        p->set.state = SET_CREATED;
        p->set.was_sent = true;
        snprintf(p->set.id, sizeof p->set.id, "%s", id);
        p->set.member_count = targets->count;
        memcpy(p->set.members, targets->members, sizeof p->set.members);
        p->set.targets_until_ms = now_ms + TARGETS_KEPT_MS;
    }
    unlock(p);
}

/* ---- Which set it is ------------------------------------------------------------------------- */

static bool is_of_vss(struct json set)
{
    struct json field;
    bool is = false;
    return json_member(set, "vss", &field) && json_bool(field, &is) && is;
}

/* This process did not make it, or long ago: the newest of this host that was cut through VSS.  One
 * that lacks a source is still it (this process was told of a part of its volumes only): an older one
 * would be given out as the copy that was made just now.  So would one be when `own`, which this
 * process made last ("" = none), is gone. */
static bool find_newest(struct provider *p, const char *own, LONG count,
                        const VDS_LUN_INFORMATION *sources, struct targets *targets,
                        char ret_id[PROVIDER_ID_TEXT])
{
    struct api_reply reply;
    struct json sets, set, field;
    uint64_t cut = 0, newest = 0;
    bool found = false, has_own = !own[0];
    ask(p, "GET", ASK_MS, &reply, "/v1/sets", NULL, NULL);
    bool ok = api_is_ok(&reply) && json_member(reply.value, "sets", &sets);
    for (size_t at = 0; ok && json_next(sets, &at, &set);) {
        char state[16], host[sizeof p->config->host], id[PROVIDER_ID_TEXT];
        if (!json_text_member(set, "state", state, sizeof state) ||
            (strcmp(state, "confirmed") != 0 && strcmp(state, "created") != 0))
            continue;
        if (!json_text_member(set, "host", host, sizeof host) || strcmp(host, p->config->host) != 0)
            continue;
        if (!is_of_vss(set)) continue;
        if (!json_text_member(set, "uuid", id, sizeof id)) continue;
        if (strcmp(id, own) == 0) has_own = true;
        if (!json_member(set, "cut_wall_ns", &field) || !json_u64(field, &cut) || cut < newest)
            continue;
        found = targets_read(set, targets) && has_all(targets, count, sources);
        memcpy(ret_id, id, PROVIDER_ID_TEXT);
        newest = cut;
    }
    api_reply_fini(&reply);
    return found && has_own;
}

static enum set_state look(struct provider *p, struct targets *targets,
                           char ret_id[PROVIDER_ID_TEXT], unsigned *ret_number)
{
    lock(p);
    enum set_state state = p->set.state;
    targets->count = p->set.member_count;
    memcpy(targets->members, p->set.members, sizeof targets->members);
    memcpy(ret_id, p->set.id, PROVIDER_ID_TEXT);
    *ret_number = p->set_number;
    unlock(p);
    return state;
}

/* The set that VSS means; false: there is none. */
static bool find_set(struct provider *p, LONG count, const VDS_LUN_INFORMATION *sources,
                     struct targets *targets, char ret_id[PROVIDER_ID_TEXT], unsigned *ret_number)
{
    char own[PROVIDER_ID_TEXT];
    enum set_state state = look(p, targets, ret_id, ret_number);
    bool has_sources = has_all(targets, count, sources);
    if (state == SET_CONFIRMED) return has_sources; /* it, and no other */
    bool is_over = state == SET_IDLE || state == SET_CREATED;
    if (!is_over && has_sources) return false; /* it is not that far yet */
    memcpy(own, state == SET_CREATED ? ret_id : "", state == SET_CREATED ? sizeof own : 1);
    return find_newest(p, own, count, sources, targets, ret_id);
}

/* ---- GetTargetLuns --------------------------------------------------------------------------- */

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

static HRESULT ask_for_targets(struct provider *p, LONG count, const VDS_LUN_INFORMATION *sources,
                               struct targets *targets)
{
    char id[PROVIDER_ID_TEXT];
    struct lun_identity identity;
    unsigned number;
    if (!find_set(p, count, sources, targets, id, &number))
        return veto(p, EVENT_NO_SET, serial_of(&sources[0], &identity));
    HRESULT result = load_targets(p, id, targets);
    if (result == S_OK) keep(p, id, targets, number);
    return result;
}

HRESULT provider_get_target_luns(struct provider *p, LONG count, VSS_PWSZ *devices,
                                 VDS_LUN_INFORMATION *sources, VDS_LUN_INFORMATION *ret_targets)
{
    HRESULT result = S_OK;
    (void)devices;
    if (count <= 0 || !sources || !ret_targets) return E_INVALIDARG;
    struct targets *targets = calloc(1, sizeof *targets);
    if (!targets) return E_OUTOFMEMORY;
    if (!find_kept(p, count, sources, targets))
        result = ask_for_targets(p, count, sources, targets);
    if (result == S_OK) result = fill_targets(p, targets, count, sources, ret_targets);
    free(targets);
    return result;
}
